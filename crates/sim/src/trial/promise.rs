//! L1: a lasting failure with a proved rung and open guards is recovered within its computed bound.

use std::time::Duration;

use mainstay_engine::record::Completion;
use mainstay_engine::state::RecoveryStatus;
use mainstay_engine::{Body, status};
use mainstay_plan::location::FailureDomain;
use mainstay_plan::policy::Mode;
use mainstay_plan::proof::{Condition, RestsOn};
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{ComponentIx, Plan, Proof};

use crate::world::{Fault, Server, World};

/// What the proof says of the failure of one instance, where nobody has to be asked.
#[derive(Clone, Debug)]
pub struct Promise {
    /// The component that loses its instance.
    pub component: ComponentIx,
    /// Within so long it is recovered.
    pub bound: Duration,
    /// How far its standbys may lag meanwhile.
    pub lags: Vec<(String, Duration)>,
}

/// What came of a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Recovered within the bound.
    InTime,
    /// A guard held it back, so that nothing was promised.
    Guarded(&'static str),
}

pub(super) fn promises(plan: &Plan) -> Vec<Promise> {
    if plan.mode != Mode::Act {
        return Vec::new();
    }
    let proof = Proof::of(plan);
    let of = |component: ComponentIx| {
        let planned = plan.component(component);
        let mut steps = planned.ladder.iter().flat_map(|it| it.plays.values()).flat_map(|it| &it.steps);
        let asks = planned.guards.approval.is_some() || steps.any(|it| matches!(it.kind, StepKind::Manual { .. }));
        let cell = proof.cell(component, FailureDomain::Instance, Condition::None)?;
        let recovery = cell.verdict.as_ref().ok().filter(|_| !asks)?;
        let lag = |it: &RestsOn| {
            if let RestsOn::StandbyLag(ix, most) = it { Some((plan.instance(*ix).name.clone(), *most)) } else { None }
        };
        let lags = recovery.rests_on.iter().filter_map(lag).collect();
        Some(Promise { component, bound: recovery.completed, lags })
    };
    (0u32..).map(ComponentIx).take(plan.components.len()).filter_map(of).collect()
}

/// Fails the instance in a world where all is well, and watches. The agent and everything else are left alone.
pub(super) fn keep(world: &mut World, promise: &Promise, how: Server) -> Kept {
    let plan = world.plan.clone();
    for (name, lag) in &promise.lags {
        world.fault(Duration::ZERO, Fault::Lag(name.clone(), Some(*lag)));
    }
    let slowest = plan.probes.iter().map(|it| it.timing.interval).max().unwrap_or_default();
    world.run_for(slowest * 4);
    let name = plan.instance(plan.component(promise.component).original()).name.clone();
    let (failed, seen) = (world.now, world.journal().len());
    world.fault(Duration::ZERO, Fault::Server(name.clone(), how));
    let mut done = false;
    while !done && world.now.since(failed) <= promise.bound {
        world.run_for(Duration::from_millis(250));
        let recoveries = world.engine().map(|it| status::recoveries(it.state())).unwrap_or_default();
        done = recoveries.iter().any(|it| {
            let by_rung = matches!(it.completion, Some(Completion::ByRung { .. }));
            it.component == promise.component && it.status == RecoveryStatus::RecoveryCompleted && by_rung
        });
    }
    let held = world.journal().into_iter().skip(seen).find_map(|(_, record)| {
        let Body::Held { waiting, .. } = record.body else { return None };
        let code = waiting.code();
        GUARDS.contains(&code).then_some(code)
    });
    match (done, held) {
        (true, _) => Kept::InTime,
        (false, Some(guard)) => Kept::Guarded(guard),
        (false, None) => {
            panic!("L1: {name} failed, and is not recovered within the {:?} that are proved", promise.bound)
        }
    }
}

/// Guards that the proof takes to be open.
const GUARDS: [&str; 9] = [
    "paused",
    "cool_down",
    "acknowledgement",
    "approval",
    "blast_radius",
    "storm_brake",
    "halted",
    "route",
    "no_rung_possible",
];
