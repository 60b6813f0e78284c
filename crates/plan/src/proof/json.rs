//! The proof as JSON: a list of cells with names in place of indices, and milliseconds for durations.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{Bound, Cell, Change, DataLoss, NoRecovery, Proof, Recovery, RestsOn};
use crate::{Plan, RouteIx};

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
    completed_ms: u64,
    data_loss: DataLossJson,
    rests_on: Vec<RestsOnJson<'a>>,
}

#[derive(Serialize)]
struct RestsOnJson<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    text: String,
}

#[derive(Serialize)]
struct NoRecoveryJson<'a> {
    because: Vec<String>,
    change: String,
    changes: Vec<ChangeJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<DependencyJson<'a>>,
}

#[derive(Serialize)]
struct ChangeJson {
    kind: &'static str,
    text: String,
}

#[derive(Serialize)]
struct DependencyJson<'a> {
    on: &'a str,
    root: &'a str,
}

#[derive(Serialize)]
struct BoundJson<'a> {
    route: Option<&'a str>,
    total_ms: u64,
    detect_ms: u64,
    decide_ms: u64,
    dependencies_ms: u64,
    turn_ms: u64,
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

impl Serialize for Proof<'_> {
    /// A list of cells.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.cells().map(|cell| CellJson {
            component: &self.plan.component(cell.component).name,
            failure: cell.failure.word(),
            condition: cell.condition.word(),
            recovery: cell.verdict.as_ref().ok().map(|it| recovery_json(self.plan, it)),
            no_recovery: cell.verdict.as_ref().err().map(|it| self.no_recovery_json(&cell, it)),
        }))
    }
}

fn recovery_json<'a>(plan: &'a Plan, recovery: &'a Recovery) -> RecoveryJson<'a> {
    let bound = |(route, bound): &(Option<RouteIx>, Bound)| BoundJson {
        route: route.map(|it| plan.route(it).name.as_str()),
        total_ms: millis(bound.total()),
        detect_ms: millis(bound.detect),
        decide_ms: millis(bound.decide),
        dependencies_ms: millis(bound.dependencies),
        turn_ms: millis(bound.turn),
        earlier_rungs_ms: millis(bound.earlier_rungs),
        fence_ms: millis(bound.fence),
        act_ms: millis(bound.act),
        converge_ms: millis(bound.converge),
    };
    let rests_on = |it: &'a RestsOn| RestsOnJson {
        kind: it.kind(plan),
        name: it.name(plan),
        location: it.location(plan).map(ToString::to_string),
        text: it.said(plan).to_string(),
    };
    RecoveryJson {
        rung: recovery.rung,
        strategy: recovery.strategy.word(),
        to: &plan.instance(recovery.to).name,
        plane: recovery.plane.word(),
        bounds: recovery.bounds.iter().map(bound).collect(),
        completed_ms: millis(recovery.completed),
        data_loss: match recovery.data_loss {
            DataLoss::NoState => DataLossJson::NoState,
            DataLoss::AtMost(most) => DataLossJson::AtMostMs(millis(most)),
            DataLoss::Unknown => DataLossJson::Unknown,
        },
        rests_on: recovery.rests_on.iter().map(rests_on).collect(),
    }
}

impl Proof<'_> {
    fn no_recovery_json<'a>(&'a self, cell: &Cell<'a>, none: &'a NoRecovery) -> NoRecoveryJson<'a> {
        let reasons = self.reasons(cell, none);
        let changes = self.nearest_changes(cell);
        let said = |it: &Change| it.said(self.plan).to_string();
        NoRecoveryJson {
            because: reasons,
            change: self.change(cell),
            changes: changes.iter().map(|it| ChangeJson { kind: it.kind(), text: said(it) }).collect(),
            dependencies: (none.dependencies.iter())
                .map(|it| DependencyJson {
                    on: &self.plan.component(it.on).name,
                    root: &self.plan.component(it.root).name,
                })
                .collect(),
        }
    }
}
