//! Why a rung does not survive.

use std::fmt;
use std::time::Duration;

use super::Said;
use crate::action::Plane;
use crate::backup::MEASURED_MARGIN;
use crate::config::scalar::show_duration;
use crate::location::FailureDomain;
use crate::strategy::Step;
use crate::{ComponentIx, InstanceIx, Plan, ProbeIx, RouteIx};

/// A step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepAt {
    /// Of this component.
    pub component: ComponentIx,
    /// Of this rung.
    pub rung: u32,
    /// The binding that the play is for.
    pub from: InstanceIx,
    /// The step of the play.
    pub step: u32,
}

impl StepAt {
    /// The step itself.
    pub fn of<'p>(&self, plan: &'p Plan) -> &'p Step {
        &plan.component(self.component).ladder[self.rung as usize].plays[&self.from].steps[self.step as usize]
    }
}

/// A reason, and the rung that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Because {
    /// Whose ladder.
    pub component: ComponentIx,
    /// The rung, from 0; `None`: it concerns all of them.
    pub rung: Option<usize>,
    /// Why.
    pub why: Reason,
}

/// Why something does not survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The agent is in the lost domain.
    AgentLost(FailureDomain),
    /// The agent's host is gone.
    AgentsHostGone,
    /// The agent reaches nothing that could tell it that it may act, or that it would act on.
    AgentsPathGone,
    /// Too few witnesses can answer.
    Witnesses {
        /// So many must.
        need: usize,
        /// So many can.
        left: usize,
    },
    /// The failed instance's probes ask by name, and names do not resolve: nobody sees that it is down.
    NotSeenDown(InstanceIx),
    /// A lost host may go on serving this route, as far as anybody knows.
    ServedOn(RouteIx),
    /// Its host asks this probe of it, and is lost with it: unknown, and never down.
    AskedByTheLost(InstanceIx, ProbeIx),
    /// Too few probes of different kinds can say that the failed instance is down.
    Signals {
        /// So many must.
        need: u32,
        /// So many can.
        have: u32,
    },
    /// With so many components lost at once, the blast radius lets none of them be recovered.
    BlastRadius {
        /// So many are lost.
        lost: u32,
        /// So many may be down or moved.
        allowed: u32,
    },
    /// There is no ladder.
    NoLadder,
    /// The rung has no way to act on this instance.
    NoPlay(InstanceIx),
    /// The machine that the rung needs is lost.
    MachineLost(FailureDomain),
    /// What the backup is restored to is lost.
    RestoredToLost(FailureDomain),
    /// The plan does not say that the rung works elsewhere.
    NotElsewhere(FailureDomain),
    /// The standby may be lost too.
    StandbyLost(InstanceIx, FailureDomain),
    /// The standby lives on a part that the failed instance lives on, by its place among the standby's.
    StandbyShares(InstanceIx, u32),
    /// The standby can't be started.
    StandbyCold(InstanceIx),
    /// The standby is stopped, and nothing starts it.
    NeverStarted(InstanceIx),
    /// The standby's probe can't be asked, so nobody sees that it is fit.
    StandbyUnseen(InstanceIx, ProbeIx),
    /// The standby never says how far it is behind.
    LagUnknown(InstanceIx),
    /// The standby can't be asked how far it is behind while it is stopped.
    LagStopped(InstanceIx),
    /// The standby says so too seldom.
    LagTooSeldom(InstanceIx, Duration),
    /// An agent that restarts has forgotten where the active instance was, and the standby says no more than where it is itself.
    PlaceTooOld(InstanceIx, Duration),
    /// The step's control plane is gone.
    ControlGone(StepAt, Plane),
    /// The step may be half done when the agent dies.
    NotIdempotent(StepAt),
    /// An earlier rung's step may end without anyone knowing whether it was done.
    Waits(StepAt),
    /// The step would act on the wrong machine.
    OutOfReach(StepAt),
    /// The old owner can't be seen stopped.
    StopUnconfirmed(InstanceIx, FailureDomain),
    /// What the step needs (by place in the plan's list) is lost too.
    NeedLost(StepAt, u32),
    /// The step reaches somebody by name.
    ActsByName(StepAt),
    /// What verifies asks by name.
    VerifiesByName(ProbeIx),
    /// A good answer may come too late to count.
    VerifiesTooBriefly(StepAt, Duration),
    /// Clients of this route would have to resolve its name anew.
    RouteStuck(RouteIx),
    /// The backup (by place in the component's list) is lost at all its places.
    BackupLost(ComponentIx, u32),
    /// The plan does not say where the backup is.
    BackupUnplaced,
    /// The last restore test of the backup (by place in the component's list) failed.
    RestoreTestFailed(ComponentIx, u32),
    /// What was measured of the backup, with its margin, is longer than the step may take.
    RestoreTooSlow(ComponentIx, u32, StepAt),
    /// A precondition (by place in the rung's list) does not hold then.
    Unmet(ComponentIx, u32, u32),
    /// An earlier rung's step is undone first, and it is not known that this works.
    UndoWaits(StepAt),
}

impl Because {
    /// In the plan's names.
    pub fn said<'a>(&'a self, plan: &'a Plan) -> Said<'a, Because> {
        Said { plan, it: self }
    }
}

impl fmt::Display for Said<'_, Because> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plan, it) = (self.plan, self.it);
        let component = plan.component(it.component);
        if let Some(rung) = it.rung.and_then(|it| component.ladder.get(it)) {
            write!(f, "{}: ", rung.strategy.word())?;
        }
        let instance = |ix: InstanceIx| plan.instance(ix);
        let step = |at: StepAt| at.of(plan).name.as_str();
        match it.why {
            Reason::AgentLost(failure) => {
                write!(f, "the agent ({}) is lost with the {}", plan.site.location, failure.word())
            }
            Reason::AgentsHostGone => {
                f.write_str("nobody decides while the agent's host is gone, and the traffic process there is gone too")
            }
            Reason::AgentsPathGone => f.write_str(
                "an agent that reaches nothing outside its own machine may itself be what is broken, so it does nothing",
            ),
            Reason::Witnesses { need, left } => {
                write!(f, "{need} of its witnesses must answer, and {left} of them can")
            }
            Reason::ServedOn(route) => write!(
                f,
                "a host that is lost serves `{}` too, and says that it keeps on in silence: no cut there can be confirmed",
                plan.route(route).name
            ),
            Reason::AskedByTheLost(ix, probe) => write!(
                f,
                "`{}` is asked by the host of `{}`, which is lost too: what it would say is unknown, and unknown is never down",
                plan.probe(probe).name,
                instance(ix).name
            ),
            Reason::NotSeenDown(ix) => write!(
                f,
                "nobody sees that `{}` is down: too few of its probes can be asked without resolving a name",
                instance(ix).name
            ),
            Reason::Signals { need, have } => write!(
                f,
                "{need} probes of different kinds must find `{}` down, and it has {have} that can",
                component.name
            ),
            Reason::BlastRadius { lost, allowed } => write!(
                f,
                "{lost} of {} components are lost together, and the blast radius allows {allowed}",
                plan.components.len()
            ),
            Reason::NoLadder => write!(f, "`{}` has no `recovery`", component.name),
            Reason::NoPlay(ix) => write!(f, "`{}` has no service to act on", instance(ix).name),
            Reason::MachineLost(failure) => {
                write!(f, "it works only where the instance is, which is lost with the {}", failure.word())
            }
            Reason::RestoredToLost(failure) => write!(f, "what it restores to is lost with the {}", failure.word()),
            Reason::NotElsewhere(failure) => {
                write!(f, "the plan does not say that it works outside the lost {}", failure.word())
            }
            Reason::StandbyLost(ix, failure) => {
                let it = instance(ix);
                write!(f, "standby `{}` ({}) may be lost with the {}", it.name, it.location, failure.word())
            }
            Reason::StandbyShares(ix, part) => {
                let part = &instance(ix).shares[part as usize];
                write!(
                    f,
                    "standby `{}` and the failed instance live on the same {} `{}`",
                    instance(ix).name,
                    part.kind.word(),
                    part.name
                )
            }
            Reason::StandbyCold(ix) => {
                write!(f, "standby `{}` is cold: starting it needs a control plane", instance(ix).name)
            }
            Reason::NeverStarted(ix) => {
                write!(f, "standby `{}` is cold, and nothing in its `activate` starts it", instance(ix).name)
            }
            Reason::StandbyUnseen(ix, probe) => write!(
                f,
                "nobody sees whether standby `{}` is fit: `{}` needs DNS",
                instance(ix).name,
                plan.probe(probe).name
            ),
            Reason::LagUnknown(ix) => write!(
                f,
                "standby `{}` does not report its lag, so the RPO guard keeps it from taking over",
                instance(ix).name
            ),
            Reason::LagStopped(ix) => write!(
                f,
                "standby `{}` is cold and does not report its lag while it is stopped, so the RPO guard keeps it from \
                 taking over: only a `command` or `file` that is asked elsewhere could",
                instance(ix).name
            ),
            Reason::LagTooSeldom(ix, age) => write!(
                f,
                "what standby `{}` reported of its lag may be {} old when the failure is seen, more than the rpo",
                instance(ix).name,
                show_duration(age)
            ),
            Reason::PlaceTooOld(ix, age) => write!(
                f,
                "what an agent that restarts on the way knows of where the active one was, beside standby `{}`, may be {} old, more than \
                 the rpo",
                instance(ix).name,
                show_duration(age)
            ),
            Reason::ControlGone(at, plane) => write!(f, "`{}` needs {}", step(at), plane_words(plane)),
            Reason::NotIdempotent(at) => {
                write!(f, "`{}` may be half done when the agent dies, and is not idempotent", step(at))
            }
            Reason::Waits(at) => write!(
                f,
                "`{}` is tried before; if it ends unknown, it waits for a person, because it is not idempotent",
                step(at)
            ),
            Reason::OutOfReach(at) => {
                let host = host_of(plan, at);
                write!(f, "`{}` would act on the agent's machine: Mainstay has no hands on {host}", step(at))
            }
            Reason::StopUnconfirmed(ix, failure) => {
                write!(f, "a stop of `{}` can't be confirmed while its {} is lost", instance(ix).name, failure.word())
            }
            Reason::NeedLost(at, prepared) => {
                let it = &plan.prepared[prepared as usize];
                write!(f, "`{}` needs {} `{}` ({}), which is lost", step(at), it.kind.word(), it.name, it.location)
            }
            Reason::ActsByName(at) => write!(f, "`{}` has to resolve a name", step(at)),
            Reason::VerifiesByName(probe) => {
                write!(f, "`{}`, which verifies it, needs DNS", plan.probe(probe).name)
            }
            Reason::VerifiesTooBriefly(at, needs) => write!(
                f,
                "a good answer may take {}, and `verify_within` is {}",
                show_duration(needs),
                show_duration(at.of(plan).timeout)
            ),
            Reason::RouteStuck(route) => write!(
                f,
                "clients of `{}` know its name alone, and can't ask for its address again",
                plan.route(route).name
            ),
            Reason::BackupLost(of, at) => {
                write!(f, "no place of backup `{}` survives", plan.component(of).backups[at as usize].name)
            }
            Reason::RestoreTestFailed(of, at) => {
                write!(f, "the last restore test of backup `{}` failed", plan.component(of).backups[at as usize].name)
            }
            Reason::RestoreTooSlow(of, at, step) => {
                let backup = &plan.component(of).backups[at as usize];
                let longest = backup.measured.and_then(|it| it.good).unwrap_or_default().0;
                write!(
                    f,
                    "restoring backup `{}` was measured to take {}, and {} times that is longer than the {} that it may take",
                    backup.name,
                    show_duration(longest),
                    MEASURED_MARGIN,
                    show_duration(step.of(plan).timeout)
                )
            }
            Reason::BackupUnplaced => f.write_str("the plan does not say where its backup is"),
            Reason::Unmet(of, rung, nth) => {
                let precondition = &plan.component(of).ladder[rung as usize].only_if[nth as usize];
                write!(f, "it is tried only if `{}` is {}", precondition.of.name(plan), precondition.health.word())
            }
            Reason::UndoWaits(at) => write!(
                f,
                "`{}` is tried before and undone; if that does not work, it waits for a person",
                step(at)
            ),
        }
    }
}

fn plane_words(plane: Plane) -> &'static str {
    match plane {
        Plane::RegionalControl => "a regional control plane",
        Plane::GlobalControl => "a global control plane",
        Plane::Local | Plane::Data | Plane::RecoveryControl | Plane::ServiceRun => plane.word(),
    }
}

fn host_of(plan: &Plan, at: StepAt) -> &str {
    use crate::strategy::StepKind;
    let on = match &at.of(plan).kind {
        StepKind::Stop { from, .. } => *from,
        StepKind::Act { on, .. } => *on,
        StepKind::CutTraffic { .. }
        | StepKind::EndLease { .. }
        | StepKind::CatchUp { .. }
        | StepKind::Manual { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Verify { .. } => at.from,
    };
    plan.instance(on).location.host.as_deref().unwrap_or("its host")
}
