//! What is looked at first: components whose state changed, the most critical before all others.
//!
//! A tick decides in three rounds over them. Restoring service comes first, for all of them; then repair, which makes what
//! was displaced fit again; then the routing table, where what is down leaves and what is back returns. So neither repair nor
//! hygiene delays the recovery of anything else, and where a guard lets only some begin, the most critical begin.

use std::collections::BTreeSet;

use mainstay_plan::component::Criticality;
use mainstay_plan::{ComponentIx, Plan};

/// Components that have to be looked at.
#[derive(Clone, Debug)]
pub(crate) struct Agenda {
    rank: Vec<Criticality>,
    restore: BTreeSet<(Criticality, ComponentIx)>,
    repair: BTreeSet<ComponentIx>,
}

/// What to look at next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Whether it failed, and how far its recovery is.
    Restore(ComponentIx),
    /// Whether something of it became fit again.
    Repair(ComponentIx),
}

impl Agenda {
    pub(crate) fn new(plan: &Plan) -> Agenda {
        Agenda {
            rank: plan.components.iter().map(|it| it.criticality).collect(),
            restore: BTreeSet::new(),
            repair: BTreeSet::new(),
        }
    }

    pub(crate) fn insert(&mut self, component: ComponentIx) {
        self.restore.insert((self.rank[component.index()], component));
        self.repair.insert(component);
    }

    pub(crate) fn extend(&mut self, components: impl IntoIterator<Item = ComponentIx>) {
        for component in components {
            self.insert(component);
        }
    }

    /// All components of the plan.
    pub(crate) fn insert_all(&mut self) {
        self.extend((0u32..).map(ComponentIx).take(self.rank.len()));
    }

    /// The next of those whose service may have to be restored.
    pub(crate) fn next_to_restore(&mut self) -> Option<ComponentIx> {
        self.restore.pop_first().map(|it| it.1)
    }

    /// The next of those of which something may have become fit again.
    pub(crate) fn next_to_repair(&mut self) -> Option<ComponentIx> {
        self.repair.pop_first()
    }

    /// Its own decision put it here again, and has been looked at.
    pub(crate) fn done(&mut self, look: Look) {
        match look {
            Look::Restore(component) => {
                self.restore.remove(&(self.rank[component.index()], component));
            }
            Look::Repair(component) => {
                self.repair.remove(&component);
            }
        }
    }

    /// Everything that has to be looked at.
    pub(crate) fn all(&self) -> impl Iterator<Item = ComponentIx> {
        self.restore.iter().map(|it| it.1).chain(self.repair.iter().copied())
    }
}
