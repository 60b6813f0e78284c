//! A crash loop: a server that dies again and again soon after each start. Another restart would not help it, so the rung that
//! restarts is passed over for the next one.
//!
//! As systemd counts starts (`StartLimitBurst` within `StartLimitIntervalSec`) and Pacemaker failures (`migration-threshold` within
//! `failure-timeout`): so many within a time that moves on. A restart is one that a rung began, whatever became of it; further tries of
//! the same rung are the same restart. Whoever acknowledges the component has looked, and the count begins anew.

use std::collections::VecDeque;
use std::time::Duration;

use mainstay_plan::action::{Action, ServiceOp};
use mainstay_plan::strategy::{RestartLimit, Rung, Step};
use mainstay_plan::{InstanceIx, Time};

use crate::command::Override;
use crate::planted::{Fault, planted};
use crate::record::StepRef;
use crate::state::{Recovery, State};
use crate::waiting::{WaitingOn, plainly};

/// An instance that was restarted as often as its rung lets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Looping {
    instance: InstanceIx,
    restarts: u32,
    limit: RestartLimit,
    /// When it may be restarted again.
    pub(crate) until: Time,
}

/// The instance that the first try of a step restarts, if it is the restart of a rung that does nothing else.
pub(crate) fn restarts(state: &State, recovery: &Recovery, at: StepRef, step: &Step) -> Option<InstanceIx> {
    let rung = state.plan.component(recovery.component).ladder.get(at.rung)?;
    rung.restarts.filter(|_| at.attempt == 1 && recovery.planned().is_none())?;
    let (on, action) = step.kind.action()?;
    matches!(action, Action::Service { op: ServiceOp::Restart, .. }).then_some(on)
}

/// Notes a restart. No plan asks for more of them than are kept.
pub(crate) fn note(restarts: &mut VecDeque<Time>, at: Time) {
    if restarts.len() == RestartLimit::MOST as usize {
        restarts.pop_front();
    }
    restarts.push_back(at);
}

/// Whether what a rung would restart was restarted too often of late. Nothing is, where a person says that it is restarted all the
/// same.
pub(crate) fn found(state: &State, recovery: &Recovery, rung: &Rung, now: Time) -> Option<Looping> {
    let limit = rung.restarts?;
    let instance = state.components[recovery.component.index()].bound;
    let restarts = &state.instances[instance.index()].restarts;
    // The oldest of the newest `at_most`: when that is out of the window there is room for one more.
    let oldest = restarts.get(restarts.len().checked_sub(limit.at_most as usize)?)?;
    let until = *oldest + limit.within;
    let overruled = recovery.overrides.contains(&Override::CrashLoop) || planted(Fault::CrashLoopIgnored);
    let within = restarts.iter().filter(|it| **it + limit.within > now).count();
    let restarts = u32::try_from(within).unwrap_or(u32::MAX);
    (until > now && !overruled).then_some(Looping { instance, restarts, limit, until })
}

impl Looping {
    /// Why the rung is passed over now.
    pub(crate) fn why(&self, state: &State, now: Time) -> String {
        let times = if self.restarts == 1 { "once".to_owned() } else { format!("{} times", self.restarts) };
        format!(
            "`{}` is in a crash loop: it was restarted {times} within {}, and may be again in {}",
            state.plan.instance(self.instance).name,
            plainly(self.limit.within),
            roughly(self.until.since(now))
        )
    }

    /// The wait where nothing else is left; `reasons` says for each other rung why not.
    pub(crate) fn waiting(&self, state: &State, reasons: &[String]) -> WaitingOn {
        WaitingOn::CrashLoop {
            instance: state.plan.instance(self.instance).name.clone(),
            restarts: self.restarts,
            within_ns: u64::try_from(self.limit.within.as_nanos()).unwrap_or(u64::MAX),
            others: reasons.to_vec(),
            until: self.until,
        }
    }
}

/// A time that is left, rounded up: in minutes, or in seconds where it is short.
fn roughly(left: Duration) -> String {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    if seconds > 120 { format!("{}m", seconds.div_ceil(60)) } else { format!("{seconds}s") }
}
