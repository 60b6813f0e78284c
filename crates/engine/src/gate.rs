//! Record before act, enforced in one place: whatever touches the world waits here until the record that justifies it is
//! durable.

use std::collections::VecDeque;

use mainstay_plan::action::{Action, ServiceOp};
use mainstay_plan::strategy::StepKind;

use crate::effect::{Effect, Notice, Order};
use crate::outbox::notice;
use crate::record::{Body, StepRef};
use crate::route;
use crate::state::State;

/// Effects that wait for a record to be durable, in order.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    durable: u64,
    waiting: VecDeque<(u64, Effect)>,
}

impl Gate {
    /// Nothing waits; records up to `durable` were read back from the journal.
    pub(crate) fn new(durable: u64) -> Gate {
        Gate { durable, waiting: VecDeque::new() }
    }

    /// Everything up to `seq` is durable.
    pub(crate) fn recorded(&mut self, seq: u64) {
        self.durable = self.durable.max(seq);
    }

    /// Lets out what may go.
    pub(crate) fn release(&mut self, effects: &mut Vec<Effect>) {
        while self.waiting.front().is_some_and(|it| it.0 <= self.durable) {
            if let Some((_, effect)) = self.waiting.pop_front() {
                effects.push(effect);
            }
        }
    }

    /// Sends the newest table once more, behind everything recorded so far.
    pub(crate) fn send_table(&mut self, state: &State) {
        self.waiting.retain(|it| !matches!(it.1, Effect::Route(_)));
        self.waiting.push_back((state.seq, Effect::Route(route::table(state))));
    }

    /// Derives what a record justifies. `state` has folded it already.
    pub(crate) fn justify(&mut self, seq: u64, body: &Body, state: &State) {
        match body {
            Body::StepStarted { step, key, .. } => {
                if let Some(order) = order(state, *step, key) {
                    self.waiting.push_back((seq, Effect::Act(order)));
                }
            }
            Body::TablePublished { .. } => self.send_table(state),
            Body::StepTimedOut { step, .. } => self.waiting.push_back((seq, Effect::Cancel(*step))),
            Body::SwitchUndone { recovery, .. } => {
                // Whatever of it still runs must not go on beside its undoing.
                let last = state.open_recovery(*recovery).and_then(|it| it.steps.last());
                if let Some(log) = last.filter(|it| it.ended.is_none()) {
                    self.waiting.push_back((seq, Effect::Cancel(log.step)));
                }
            }
            Body::RecoveryFailed { recovery, .. } => {
                // An aborted recovery may leave an action running; whoever runs it ends it, if it still runs.
                let ended = state.history.iter().rev().find(|it| it.id == *recovery);
                for log in ended.iter().flat_map(|it| &it.steps).filter(|it| it.ended.is_none()) {
                    self.waiting.push_back((seq, Effect::Cancel(log.step)));
                }
            }
            Body::AgentStarted { .. }
            | Body::AgentStopped { .. }
            | Body::PlanAdopted { .. }
            | Body::HealthChanged { .. }
            | Body::OwnLateness { .. }
            | Body::WitnessesAnswered { .. }
            | Body::PositionFrozen { .. }
            | Body::StepEnded { .. }
            | Body::RouteApplied { .. }
            | Body::RouteRefused { .. }
            | Body::TrafficAhead { .. }
            | Body::Commanded { .. }
            | Body::JournalLost { .. }
            | Body::CanaryChanged { .. }
            | Body::InStepChanged { .. }
            | Body::SwitchStarted { .. }
            | Body::BreakerChanged { .. }
            | Body::FailureDetected { .. }
            | Body::Held { .. }
            | Body::RecoveryInitiated { .. }
            | Body::RungSkipped { .. }
            | Body::RungStarted { .. }
            | Body::RungFailed { .. }
            | Body::Bound { .. }
            | Body::Rejoined { .. }
            | Body::RecoveryCompleted { .. } => {}
        }
        if let Some((level, text)) = notice(body) {
            self.waiting.push_back((
                seq,
                Effect::Notify(Notice { key: format!("{}/{seq}", state.plan.site.name), level, text }),
            ));
        }
    }
}

fn order(state: &State, step: StepRef, key: &str) -> Option<Order> {
    // A routing step that is converged when it begins ends in the same tick, and then does not run any more.
    let planned = state.running(step)?;
    let (instance, action) = match &planned.kind {
        // A fence does not ask nicely: what does not answer may not obey either.
        StepKind::Stop { from, service } => (*from, Action::Service { op: ServiceOp::Kill, service: service.clone() }),
        StepKind::Act { on, action } => (*on, action.clone()),
        StepKind::CutTraffic { .. }
        | StepKind::TakeOver { .. }
        | StepKind::CatchUp { .. }
        | StepKind::Verify { .. } => return None,
    };
    Some(Order {
        step,
        instance: state.plan.instance(instance).name.clone(),
        action,
        key: key.to_owned(),
        timeout: planned.timeout,
    })
}
