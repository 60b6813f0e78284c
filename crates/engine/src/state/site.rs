//! What holds of the site as a whole: counted while records are folded, so that no decision has to look at all components.

use std::collections::{BTreeSet, VecDeque};

use mainstay_plan::policy::StormBrake;
use mainstay_plan::{ComponentIx, Time};

use crate::record::{IncidentId, StepRef};

/// How many beginnings are remembered: as many as a storm brake can count.
const BEGUN: usize = 100_000;

/// How many incidents are remembered.
const INCIDENTS: usize = 1000;

/// What holds of the site as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Set while an operator has stopped all action.
    pub halted: Option<Halt>,
    /// When recoveries began, the newest last. Those of one incident count once, as the first of them.
    begun: VecDeque<Time>,
    /// The incidents that count.
    incidents: BTreeSet<IncidentId>,
    /// Components that are down, in recovery, or not whole again after one.
    touched: BTreeSet<ComponentIx>,
    /// Components whose recovery waits to begin.
    held: BTreeSet<ComponentIx>,
    /// Whether anything that they wait for together changed since the last look.
    changed: bool,
}

/// All action is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub since: Time,
    /// Steps that were running then, and are given up because they may be done again.
    pub(crate) given_up: Vec<StepRef>,
}

impl Site {
    /// How many components are down, in recovery or not whole again, if `component` is one of them.
    pub fn touched_with(&self, component: ComponentIx) -> usize {
        self.touched.len() + usize::from(!self.touched.contains(&component))
    }

    /// When the next recovery may begin, if that is after `now`.
    pub fn brake_frees(&self, brake: StormBrake, now: Time) -> Option<Time> {
        let nth = self.begun.len().checked_sub(brake.at_most as usize)?;
        let until = *self.begun.get(nth)? + brake.within;
        (until > now).then_some(until)
    }

    /// The components whose recovery waits to begin, if anything that they wait for together changed since this was asked last.
    /// For better or for worse: a guard that objects now is what they wait for from now on.
    pub(crate) fn take_changed(&mut self) -> Option<&BTreeSet<ComponentIx>> {
        std::mem::take(&mut self.changed).then_some(&self.held)
    }

    /// Whether the recoveries of an incident have been counted: it is one failure, however many of them begin.
    pub fn counts(&self, incident: IncidentId) -> bool {
        self.incidents.contains(&incident)
    }

    pub(super) fn begins(&mut self, at: Time, incident: Option<IncidentId>) {
        self.changed = true;
        if incident.is_some_and(|it| !self.incidents.insert(it)) {
            return;
        }
        if self.incidents.len() > INCIDENTS {
            self.incidents.pop_first();
        }
        if self.begun.len() == BEGUN {
            self.begun.pop_front();
        }
        self.begun.push_back(at);
    }

    pub(super) fn set_touched(&mut self, component: ComponentIx, touched: bool) {
        self.changed |= if touched { self.touched.insert(component) } else { self.touched.remove(&component) };
    }

    pub(super) fn set_held(&mut self, component: ComponentIx, held: bool) {
        if held {
            self.held.insert(component);
        } else {
            self.held.remove(&component);
        }
    }

    /// Whether a component counts as down, in recovery, or not whole.
    pub(super) fn is_touched(&self, component: ComponentIx) -> bool {
        self.touched.contains(&component)
    }

    /// What goes on under another plan, whose components have other places.
    pub(super) fn without_components(self) -> Site {
        Site { touched: BTreeSet::new(), held: BTreeSet::new(), ..self }
    }
}
