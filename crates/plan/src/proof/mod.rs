//! The proof: for each component, each failure and each further condition, the first recovery that survives it and its
//! worst case, or why there is none.
//!
//! It is a computation over the plan alone. A recovery survives when the instance that it leads to, everything that its
//! steps touch and whoever decides are outside the lost failure domain, its planes survive the condition, its fence can
//! be confirmed and its guards let it pass. The worst case adds what the plan allows each part to take; it is what a
//! simulated or real recovery is measured against.

mod judge;
mod text;

use std::time::Duration;

use serde::{Serialize, Serializer};

pub(crate) use judge::cell;

use crate::action::Plane;
use crate::location::FailureDomain;
use crate::strategy::Strategy;
use crate::{ComponentIx, InstanceIx, Plan, RouteIx};

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
    /// The agent is killed once during the recovery, and is started again within `allowances.agent_restart`.
    AgentRestarts,
}

impl Condition {
    /// All of them.
    pub const ALL: [Condition; 5] = [
        Condition::None,
        Condition::RegionalControlGone,
        Condition::GlobalControlGone,
        Condition::AgentsHostGone,
        Condition::AgentRestarts,
    ];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Condition::None => "none",
            Condition::RegionalControlGone => "regional_control_gone",
            Condition::GlobalControlGone => "global_control_gone",
            Condition::AgentsHostGone => "agents_host_gone",
            Condition::AgentRestarts => "agent_restarts",
        }
    }
}

/// The worst case of a recovery, by its parts. They add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// From the last good answer to the verdict *down*.
    pub detect: Duration,
    /// To the first step: witnesses, and the decision on the disk.
    pub decide: Duration,
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
    pub fn parts(&self) -> [(&'static str, Duration); 6] {
        [
            ("detect", self.detect),
            ("decide", self.decide),
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
    /// Up to this: a standby that is further behind does not take over.
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
    /// How much it may lose.
    pub data_loss: DataLoss,
    /// What must be there for it to work, besides the instance's own probes.
    pub rests_on: Vec<String>,
}

impl Recovery {
    /// The bound of the slowest route.
    pub fn worst(&self) -> Bound {
        self.bounds.iter().map(|(_, bound)| *bound).max_by_key(Bound::total).unwrap_or_default()
    }
}

/// Why nothing survives, and the smallest change to the plan that would mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRecovery {
    /// The reasons, rung by rung where they differ.
    pub because: Vec<String>,
    /// What to change.
    pub change: String,
}

/// The answer for one component, one failure and one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Which component. It is bound to its original instance.
    pub component: ComponentIx,
    /// What is lost around that instance.
    pub failure: FailureDomain,
    /// What else is missing.
    pub condition: Condition,
    /// The first recovery that survives, or why there is none.
    pub verdict: Result<Recovery, NoRecovery>,
}

/// All answers for one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// By component, then failure, then condition, each in the order of its `ALL`.
    pub cells: Vec<Cell>,
    names: Names,
}

/// What the indices of the plan are called: a proof is read after its plan is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    /// With type, criticality and objectives, as a heading.
    headings: Vec<String>,
    components: Vec<String>,
    instances: Vec<String>,
    routes: Vec<String>,
}

impl Proof {
    /// Proves a plan: a cell for each component, failure and condition.
    pub fn of(plan: &Plan) -> Proof {
        let mut cells = Vec::with_capacity(plan.components.len() * FailureDomain::ALL.len() * Condition::ALL.len());
        for at in 0..plan.components.len() {
            let component = ComponentIx(u32::try_from(at).expect("a component has an index"));
            for failure in FailureDomain::ALL {
                for condition in Condition::ALL {
                    cells.push(cell(plan, component, failure, condition));
                }
            }
        }
        let names = Names {
            headings: plan.components.iter().map(text::heading).collect(),
            components: plan.components.iter().map(|it| it.name.clone()).collect(),
            instances: plan.instances.iter().map(|it| it.name.clone()).collect(),
            routes: plan.routes.iter().map(|it| it.name.clone()).collect(),
        };
        Proof { cells, names }
    }

    /// The answer for one component, failure and condition. `None` for a component of another plan.
    pub fn cell(&self, component: ComponentIx, failure: FailureDomain, condition: Condition) -> Option<&Cell> {
        let failure_at = FailureDomain::ALL.iter().position(|it| *it == failure)?;
        let condition_at = Condition::ALL.iter().position(|it| *it == condition)?;
        let at = (component.index() * FailureDomain::ALL.len() + failure_at) * Condition::ALL.len() + condition_at;
        self.cells.get(at)
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

    /// As plain text: a table for each component.
    pub fn text(&self) -> String {
        text::proof(self)
    }
}

/// Milliseconds, rounded up: a bound must not look better than it is.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
struct CellJson<'a> {
    component: &'a str,
    failure: &'a str,
    condition: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<RecoveryJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_recovery: Option<NoRecoveryJson<'a>>,
}

#[derive(Serialize)]
struct RecoveryJson<'a> {
    rung: usize,
    strategy: &'a str,
    to: &'a str,
    plane: &'a str,
    bounds: Vec<BoundJson<'a>>,
    data_loss: DataLossJson,
    rests_on: &'a [String],
}

#[derive(Serialize)]
struct NoRecoveryJson<'a> {
    because: &'a [String],
    change: &'a str,
}

#[derive(Serialize)]
struct BoundJson<'a> {
    route: Option<&'a str>,
    total_ms: u64,
    detect_ms: u64,
    decide_ms: u64,
    earlier_rungs_ms: u64,
    fence_ms: u64,
    act_ms: u64,
    converge_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum DataLossJson {
    NoState,
    AtMostMs(u64),
    Unknown,
}

impl Serialize for Proof {
    /// A list of cells with names in place of indices and milliseconds for durations.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.cells.iter().map(|cell| CellJson {
            component: &self.names.components[cell.component.index()],
            failure: cell.failure.word(),
            condition: cell.condition.word(),
            recovery: cell.verdict.as_ref().ok().map(|it| self.recovery_json(it)),
            no_recovery:
                cell.verdict.as_ref().err().map(|it| NoRecoveryJson { because: &it.because, change: &it.change }),
        }))
    }
}

impl Proof {
    fn recovery_json<'a>(&'a self, recovery: &'a Recovery) -> RecoveryJson<'a> {
        let bound = |(route, bound): &(Option<RouteIx>, Bound)| BoundJson {
            route: route.map(|it| self.names.routes[it.index()].as_str()),
            total_ms: millis(bound.total()),
            detect_ms: millis(bound.detect),
            decide_ms: millis(bound.decide),
            earlier_rungs_ms: millis(bound.earlier_rungs),
            fence_ms: millis(bound.fence),
            act_ms: millis(bound.act),
            converge_ms: millis(bound.converge),
        };
        RecoveryJson {
            rung: recovery.rung,
            strategy: recovery.strategy.word(),
            to: &self.names.instances[recovery.to.index()],
            plane: recovery.plane.word(),
            bounds: recovery.bounds.iter().map(bound).collect(),
            data_loss: match recovery.data_loss {
                DataLoss::NoState => DataLossJson::NoState,
                DataLoss::AtMost(most) => DataLossJson::AtMostMs(millis(most)),
                DataLoss::Unknown => DataLossJson::Unknown,
            },
            rests_on: &recovery.rests_on,
        }
    }
}
