//! The proof: for each component, each failure and each further condition, the first recovery that survives it and its
//! worst case, or why there is none and what would mend it.
//!
//! It is a computation over the plan alone. A recovery survives when the instance that it leads to, everything that its
//! steps touch and whoever decides are outside the lost failure domain, its planes survive the condition, its fence can
//! be confirmed, its guards let it pass, no rung before it can leave the ladder waiting for a person, and what the
//! component depends on is recovered too. The worst case adds what the plan allows each part to take; it is what a
//! simulated or real recovery is measured against.

mod json;
mod judge;
mod losses;
mod mend;
mod prove;
mod reasons;
mod rests_on;
mod summary;
mod survives;
mod text;
mod times;
mod turns;

use std::collections::BTreeSet;
use std::time::Duration;

pub use mend::Change;
pub use reasons::{Because, Reason, StepAt};
pub use rests_on::RestsOn;

use crate::action::Plane;
use crate::location::FailureDomain;
use crate::strategy::Strategy;
use crate::{ComponentIx, InstanceIx, Plan, RouteIx};

/// Components along a chain of dependencies whose changes are shown with a cell.
const NEAREST: usize = 16;

/// What else is missing while a failure is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Nothing else.
    None,
    /// No regional control plane answers.
    RegionalControlGone,
    /// No global control plane answers.
    GlobalControlGone,
    /// The agent's own host is gone, and stays so.
    AgentsHostGone,
    /// The agent reaches nothing outside its own machine. It can't tell that from a failure of everything else, so it does
    /// nothing that its witnesses do not vouch for.
    AgentsPathGone,
    /// The store over which several deciding agents agree is gone. A single deciding agent needs none.
    CoordinationStoreGone,
    /// Nobody resolves a name, except our own traffic process the names that it serves.
    DnsGone,
    /// The place of the backup that a restore would use is gone.
    BackupsLocationGone,
    /// The agent is killed once during the recovery, and is started again within `allowances.agent_restart`.
    AgentRestarts,
}

impl Condition {
    /// All of them.
    pub const ALL: [Condition; 9] = [
        Condition::None,
        Condition::RegionalControlGone,
        Condition::GlobalControlGone,
        Condition::AgentsHostGone,
        Condition::AgentsPathGone,
        Condition::CoordinationStoreGone,
        Condition::DnsGone,
        Condition::BackupsLocationGone,
        Condition::AgentRestarts,
    ];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Condition::None => "none",
            Condition::RegionalControlGone => "regional_control_gone",
            Condition::GlobalControlGone => "global_control_gone",
            Condition::AgentsHostGone => "agents_host_gone",
            Condition::AgentsPathGone => "agents_path_gone",
            Condition::CoordinationStoreGone => "coordination_store_gone",
            Condition::DnsGone => "dns_gone",
            Condition::BackupsLocationGone => "backups_location_gone",
            Condition::AgentRestarts => "agent_restarts",
        }
    }

    /// What is missing, in words that fit after "without".
    pub const fn missing(self) -> &'static str {
        match self {
            Condition::None => "-",
            Condition::RegionalControlGone => "regional control",
            Condition::GlobalControlGone => "global control",
            Condition::AgentsHostGone => "the agent's host",
            Condition::AgentsPathGone => "the agent's path",
            Condition::CoordinationStoreGone => "coordination store",
            Condition::DnsGone => "DNS",
            Condition::BackupsLocationGone => "the backup's place",
            Condition::AgentRestarts => "the agent, for a while",
        }
    }

    const fn at(self) -> usize {
        self as usize
    }
}

/// The worst case of a recovery, by its parts. They add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// From the last good answer to the verdict *down*.
    pub detect: Duration,
    /// To the first step: witnesses, and the decision on the disk.
    pub decide: Duration,
    /// Further, until what the component depends on is recovered.
    pub dependencies: Duration,
    /// Further, until it is its turn in an evacuation.
    pub turn: Duration,
    /// For rungs that are tried before and fail.
    pub earlier_rungs: Duration,
    /// Until the old owner can't act any more.
    pub fence: Duration,
    /// Until the new owner serves.
    pub act: Duration,
    /// Until a client gets a good answer.
    pub converge: Duration,
}

impl Bound {
    /// The whole of it: the worst-case time to recover.
    pub fn total(&self) -> Duration {
        self.parts().iter().map(|(_, it)| *it).sum()
    }

    /// Its parts with their names, in order.
    pub fn parts(&self) -> [(&'static str, Duration); 8] {
        [
            ("detect", self.detect),
            ("decide", self.decide),
            ("dependencies", self.dependencies),
            ("turn", self.turn),
            ("earlier rungs", self.earlier_rungs),
            ("fence", self.fence),
            ("act", self.act),
            ("converge", self.converge),
        ]
    }
}

/// How much acknowledged work a recovery may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataLoss {
    /// The plan states no recovery point objective: the component keeps no state.
    NoState,
    /// Up to this: a standby that is further behind does not take over, a backup is not older.
    AtMost(Duration),
    /// Nothing bounds it.
    Unknown,
}

/// A recovery that survives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Its place in the component's ladder, from 0.
    pub rung: usize,
    /// What it does.
    pub strategy: Strategy,
    /// The instance that is the component afterwards.
    pub to: InstanceIx,
    /// The worst plane of its steps.
    pub plane: Plane,
    /// By route, for those who come by it; `None` for a component that has no route.
    pub bounds: Vec<(Option<RouteIx>, Bound)>,
    /// From the failure until the agent has recorded it as completed: what dependents wait for. What clients and whoever
    /// polls take after that is part of `bounds` alone.
    pub completed: Duration,
    /// How much it may lose.
    pub data_loss: DataLoss,
    /// What must be there for it to work, besides the instance's own probes.
    pub rests_on: Vec<RestsOn>,
}

impl Recovery {
    /// The bound of the slowest route.
    pub fn worst(&self) -> Bound {
        self.bounds.iter().map(|(_, bound)| *bound).max_by_key(Bound::total).unwrap_or_default()
    }
}

/// A dependency that is lost with a component and not recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unrecovered {
    /// The dependency.
    pub on: ComponentIx,
    /// The one at the end of the chain, whose own ladder does not recover it: `on` itself, or what `on` waits for.
    pub root: ComponentIx,
}

/// Why nothing survives, and the smallest change to the plan that would mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRecovery {
    /// The reasons in the component itself, rung by rung where they differ. Empty when only dependencies keep it from
    /// being recovered.
    pub because: Vec<Because>,
    /// What to change so that the component itself is recovered: all of it. [`Proof::changes`] adds what its dependencies
    /// need.
    pub changes: Vec<Change>,
    /// Dependencies that are not recovered.
    pub dependencies: Vec<Unrecovered>,
}

/// The first recovery that survives, or why there is none.
pub type Verdict = Result<Recovery, NoRecovery>;

/// The answer for one component, one failure and one condition.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    /// Which component. It is bound to its original instance.
    pub component: ComponentIx,
    /// What is lost around that instance.
    pub failure: FailureDomain,
    /// What else is missing.
    pub condition: Condition,
    /// The answer.
    pub verdict: &'a Verdict,
}

/// The cells of one component: most of them say the same, so each points to one of a few verdicts.
#[derive(Clone, Debug)]
pub(crate) struct OfComponent {
    verdicts: Vec<Verdict>,
    cells: [[u8; Condition::ALL.len()]; FailureDomain::ALL.len()],
}

/// All answers for one plan.
#[derive(Clone, Debug)]
pub struct Proof<'p> {
    plan: &'p Plan,
    components: Vec<OfComponent>,
}

impl<'p> Proof<'p> {
    /// Proves a plan: a cell for each component, failure and condition.
    pub fn of(plan: &'p Plan) -> Proof<'p> {
        Proof { plan, components: prove::all(plan, &Condition::ALL) }
    }

    /// The cells without a further condition, which is what findings are about. The other cells repeat them.
    pub(crate) fn without_conditions(plan: &'p Plan) -> Proof<'p> {
        Proof { plan, components: prove::all(plan, &[Condition::None]) }
    }

    /// The plan that is proved.
    pub const fn plan(&self) -> &'p Plan {
        self.plan
    }

    /// By component, then failure, then condition, each in the order of its `ALL`.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let components = (0u32..).map(ComponentIx).take(self.components.len());
        components.flat_map(move |component| {
            FailureDomain::ALL.into_iter().flat_map(move |failure| {
                Condition::ALL.into_iter().filter_map(move |condition| self.cell(component, failure, condition))
            })
        })
    }

    /// The answer for one component, failure and condition. `None` for a component of another plan.
    pub fn cell(&self, component: ComponentIx, failure: FailureDomain, condition: Condition) -> Option<Cell<'_>> {
        let verdict = self.components.get(component.index())?.verdict(failure, condition);
        Some(Cell { component, failure, condition, verdict })
    }

    /// The worst-case time to recover for those who come by `route`, or for the slowest route when it is `None`. `None`
    /// when nothing survives, or when the component is not on that route.
    pub fn bound(
        &self,
        component: ComponentIx,
        failure: FailureDomain,
        condition: Condition,
        route: Option<RouteIx>,
    ) -> Option<Bound> {
        let recovery = self.cell(component, failure, condition)?.verdict.as_ref().ok()?;
        match route {
            None => Some(recovery.worst()),
            Some(_) => recovery.bounds.iter().find(|(it, _)| *it == route).map(|(_, bound)| *bound),
        }
    }

    /// Everything that has to change for this cell to be proved: what the component needs, and what those dependencies need
    /// that are not recovered, each change once. Empty for a cell that is proved.
    pub fn changes(&self, component: ComponentIx, failure: FailureDomain, condition: Condition) -> Vec<Change> {
        self.changes_of(component, failure, condition, usize::MAX)
    }

    /// The same for people: of the chain of dependencies behind a cell only the nearest, so that the text of a plan grows
    /// with its size.
    fn nearest_changes(&self, cell: &Cell<'_>) -> Vec<Change> {
        self.changes_of(cell.component, cell.failure, cell.condition, NEAREST)
    }

    /// The same in one line.
    pub(crate) fn change(&self, cell: &Cell<'_>) -> String {
        let each: Vec<String> = self.nearest_changes(cell).iter().map(|it| it.said(self.plan).to_string()).collect();
        each.join("; ")
    }

    fn changes_of(
        &self,
        component: ComponentIx,
        failure: FailureDomain,
        condition: Condition,
        most: usize,
    ) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![component];
        while let Some(next) = open.pop()
            && seen.len() < most
        {
            let Some(cell) = self.cell(next, failure, condition).filter(|_| seen.insert(next)) else { continue };
            let Err(none) = cell.verdict else { continue };
            for change in &none.changes {
                change.add_to(&mut changes, self.plan);
            }
            open.extend(none.dependencies.iter().map(|it| it.on));
        }
        changes
    }

    /// As plain text: a table for each component, at most 100 columns wide.
    pub fn text(&self) -> String {
        self.tables().chain(std::iter::once(Proof::foot())).collect()
    }

    /// The tables one by one: of a large plan all of them together are many megabytes.
    pub fn tables(&self) -> impl Iterator<Item = String> {
        (0u32..).map(ComponentIx).take(self.components.len()).map(|it| self.table(it))
    }

    /// The table of one component.
    pub fn table(&self, component: ComponentIx) -> String {
        text::table_of(self, component)
    }

    /// What stands under the tables.
    pub fn foot() -> String {
        text::foot()
    }

    /// On one page: how many components survive what, the slowest of them, and why the others don't.
    pub fn summary(&self) -> String {
        summary::summary(self)
    }
}

impl OfComponent {
    fn verdict(&self, failure: FailureDomain, condition: Condition) -> &Verdict {
        &self.verdicts[usize::from(self.cells[failure as usize][condition.at()])]
    }
}

/// Says a typed part of a proof in the names of its plan.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a, T> {
    plan: &'a Plan,
    it: &'a T,
}
