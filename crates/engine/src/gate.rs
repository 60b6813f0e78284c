//! Record before act, enforced in one place: whatever touches the world waits here until the record that justifies it is
//! durable.

use std::collections::VecDeque;

use mainstay_plan::InstanceIx;
use mainstay_plan::action::{Action, ServiceOp};
use mainstay_plan::strategy::StepKind;

use crate::command::Command;
use crate::effect::{Effect, Grant, Line, Order, Telling};
use crate::grants;
use crate::lease::May;
use crate::outbox;
use crate::planted::{Fault, planted};
use crate::record::{Body, StepRef};
use crate::route;
use crate::state::State;
use crate::state::notices::Message;

/// Effects that wait for a record to be durable, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    durable: u64,
    waiting: VecDeque<(u64, Effect)>,
    /// What may be held, as it was said last.
    granted: Option<Vec<Grant>>,
}

impl Gate {
    /// Nothing waits; records up to `durable` were read back from the journal.
    pub(crate) fn new(durable: u64) -> Gate {
        Gate { durable, waiting: VecDeque::new(), granted: None }
    }

    /// Everything up to `seq` is durable.
    pub(crate) fn recorded(&mut self, seq: u64) {
        self.durable = self.durable.max(seq);
    }

    /// Lets out what may go.
    pub(crate) fn release(&mut self, effects: &mut Vec<Effect>) {
        while self.waiting.front().is_some_and(|it| it.0 <= self.durable || planted(Fault::ActBeforeRecord)) {
            if let Some((_, effect)) = self.waiting.pop_front() {
                let is_over = matches!(effect, Effect::Grant(_)) && self.is_granted_otherwise();
                effects.extend((!is_over).then_some(effect));
            }
        }
    }

    /// Whether others may hold leases with what goes out next, before anything is done: nobody is granted one for a moment.
    fn is_granted_otherwise(&self) -> bool {
        let mut next = self.waiting.iter().take_while(|it| it.0 <= self.durable).map(|it| &it.1);
        next.find(|it| matches!(it, Effect::Grant(_) | Effect::Act(_))).is_some_and(|it| matches!(it, Effect::Grant(_)))
    }

    /// Sends the newest table once more, behind everything recorded so far.
    pub(crate) fn send_table(&mut self, state: &State) {
        self.waiting.retain(|it| !matches!(it.1, Effect::Route(_)));
        self.waiting.push_back((state.seq, Effect::Route(route::table(state))));
    }

    /// Has the traffic processes say anew what they serve, behind everything recorded so far.
    pub(crate) fn hear_traffic(&mut self, state: &State) {
        self.waiting.push_back((state.seq, Effect::HearTraffic(state.leadership.table_floor())));
    }

    /// Says who may hold a lease, where that has changed. Whoever may not any more is told before anything else is done.
    fn grant(&mut self, seq: u64, body: &Body, state: &State) {
        if (state.leased.is_empty() && self.granted.is_none()) || !grants::may_change(body) {
            return;
        }
        let wanted = grants::wanted(state);
        let is_start = matches!(body, Body::AgentStarted { .. });
        if is_start || self.granted.as_ref() != Some(&wanted) {
            let seq = if planted(Fault::GrantBeforeRecord) { 0 } else { seq };
            self.waiting.push_back((seq, Effect::Grant(wanted.clone())));
            self.granted = Some(wanted);
        }
    }

    /// Calls back what was being done under a plan that is not in force any more.
    pub(crate) fn call_back(&mut self, seq: u64, steps: Vec<StepRef>) {
        self.waiting.extend(steps.into_iter().map(|it| (seq, Effect::Cancel(it))));
    }

    /// Derives what a record justifies. `state` has folded it already.
    pub(crate) fn justify(&mut self, seq: u64, body: &Body, state: &State) {
        self.grant(seq, body, state);
        match body {
            Body::StepStarted { step, key, .. } | Body::UndoStarted { step, key, .. } => {
                if let Some(order) = order(state, *step, key) {
                    self.waiting.push_back((seq, Effect::Act(order)));
                }
            }
            Body::RepairFailed { running: Some(step), .. } | Body::KeepingGaveWay { running: Some(step), .. } => {
                self.waiting.push_back((seq, Effect::Cancel(*step)))
            }
            Body::TablePublished { .. } => self.send_table(state),
            Body::StepTimedOut { step, .. } => self.waiting.push_back((seq, Effect::Cancel(*step))),
            Body::Commanded { command: Command::Halt { .. }, .. } => {
                // What was given up is not begun any more, and is ended where it runs.
                let given_up = state.site.halted.as_ref().map_or(&[][..], |it| &it.given_up);
                self.waiting.retain(|it| !matches!(&it.1, Effect::Act(order) if given_up.contains(&order.step)));
                self.waiting.extend(given_up.iter().map(|it| (seq, Effect::Cancel(*it))));
            }
            // What was being done when it was given up is not waited for.
            Body::RollbackStarted { recovery, .. } | Body::SwitchUndone { recovery, .. } => {
                let open = state.open_recovery(*recovery);
                let given_up = open.iter().flat_map(|it| &it.steps).filter(|it| it.given_up);
                self.waiting.extend(given_up.map(|it| (seq, Effect::Cancel(it.step))));
            }
            Body::RungFailed { recovery, rung, .. } => {
                // A rung that is given up, because what it works on is lost, may leave actions running.
                let closed = || state.history.iter().rev().find(|it| it.id == *recovery);
                let steps = state.open_recovery(*recovery).or_else(closed).map(|it| it.steps.as_slice());
                let running = steps.unwrap_or_default().iter().filter(|it| it.step.rung == *rung && it.ended.is_none());
                self.waiting.extend(running.map(|it| (seq, Effect::Cancel(it.step))));
            }
            Body::RecoveryFailed { recovery, .. } => {
                // An aborted recovery may leave an action running; whoever runs it ends it, if it still runs.
                let ended = state.history.iter().rev().find(|it| it.id == *recovery);
                for log in ended.iter().flat_map(|it| &it.steps).filter(|it| it.ended.is_none()) {
                    self.waiting.push_back((seq, Effect::Cancel(log.step)));
                }
            }
            Body::AgentStarted { .. } => {
                for (channel, message) in state.notices.under_way() {
                    self.waiting.push_back((seq, Effect::Notify(telling(state, channel, message))));
                }
            }
            Body::NoticeSent { notice, nth, to, .. } => {
                for channel in to {
                    let given_out = state.notices.given_out(channel);
                    if let Some(message) = given_out.filter(|it| (it.notice, it.nth) == (*notice, *nth)) {
                        self.waiting.push_back((seq, Effect::Notify(telling(state, channel, message))));
                    }
                }
            }
            Body::Told { channel, .. } | Body::NoticeResent { channel, .. } => {
                if let Some(message) = state.notices.given_out(channel) {
                    self.waiting.push_back((seq, Effect::Notify(telling(state, channel, message))));
                }
            }
            // Whatever was not let out yet was decided under a lease that is over; what runs is called back.
            Body::LeaseChanged { .. } => {
                if state.leadership.may(&state.plan) != May::Everything {
                    let drops = |it: &Effect| matches!(it, Effect::Act(_) | Effect::Route(_));
                    self.waiting.retain(|it| !drops(&it.1) || planted(Fault::OverLeaseStillActs));
                    for recovery in state.open_recoveries() {
                        for log in recovery.steps.iter().rev().take(8) {
                            self.waiting.push_back((seq, Effect::Cancel(log.step)));
                        }
                    }
                    for (_, repair) in state.open_repairs() {
                        // It was begun before it was interrupted.
                        self.waiting.push_back((seq, Effect::Cancel(repair.step_ref())));
                    }
                    for (.., keeping) in state.open_keepings() {
                        self.waiting.push_back((seq, Effect::Cancel(keeping.step_ref())));
                    }
                }
                // What is served may be another one's table: it is heard before anything is published.
                if state.leadership.may(&state.plan) != May::Nothing {
                    self.hear_traffic(state);
                }
            }
            Body::PeerOrder { .. } | Body::HostRefused { .. } => {}
            Body::AgentStopped { .. }
            | Body::PlanAdopted { .. }
            | Body::HealthChanged { .. }
            | Body::OwnLateness { .. }
            | Body::WitnessesAnswered { .. }
            | Body::SignalsSeen { .. }
            | Body::ObserversAnswered { .. }
            | Body::NeighbourAnswered { .. }
            | Body::DependencyAnswered { .. }
            | Body::PositionFrozen { .. }
            | Body::StepEnded { .. }
            | Body::RouteApplied { .. }
            | Body::RouteRefused { .. }
            | Body::TrafficSilent { .. }
            | Body::CutBySilence { .. }
            | Body::TrafficAhead { .. }
            | Body::Commanded { .. }
            | Body::JournalLost { .. }
            | Body::CanaryChanged { .. }
            | Body::InStepChanged { .. }
            | Body::SwitchStarted { .. }
            | Body::EvacuationHeld { .. }
            | Body::EvacuationSettled { .. }
            | Body::EvacuationExpires { .. }
            | Body::EvacuationEnded { .. }
            | Body::RoleSeen { .. }
            | Body::SeenElsewhere { .. }
            | Body::ElsewhereOver { .. }
            | Body::AdoptionStarted { .. }
            | Body::BreakerChanged { .. }
            | Body::Impaired { .. }
            | Body::ImpairmentEnded { .. }
            | Body::RuleFired { .. }
            | Body::RuleCleared { .. }
            | Body::FailureDetected { .. }
            | Body::Classified { .. }
            | Body::IncidentOpened { .. }
            | Body::IncidentEnded { .. }
            | Body::IncidentRecovered { .. }
            | Body::Held { .. }
            | Body::RecoveryInitiated { .. }
            | Body::RungSkipped { .. }
            | Body::RungStarted { .. }
            | Body::FenceConfirmed { .. }
            | Body::FencePassedOver { .. }
            | Body::RetryScheduled { .. }
            | Body::BudgetExceeded { .. }
            | Body::Bound { .. }
            | Body::Rejoined { .. }
            | Body::RepairStarted { .. }
            | Body::RepairFailed { .. }
            | Body::RepairCompleted { .. }
            | Body::KeepingStarted { .. }
            | Body::KeepingCompleted { .. }
            | Body::KeepingFailed { .. }
            | Body::KeepingGaveWay { .. }
            | Body::KeepingOverdue { .. }
            | Body::AddressChanged { .. }
            | Body::RouteHeld { .. }
            | Body::RouteFreed { .. }
            | Body::RecoveryCompleted { .. } => {}
        }
        if let Some((level, text)) = outbox::line(state, body) {
            self.waiting.push_back((seq, Effect::Log(Line { level, text })));
        }
    }
}

fn telling(state: &State, channel: &str, message: &Message) -> Telling {
    Telling {
        channel: channel.to_owned(),
        notice: message.notice,
        nth: message.nth,
        key: message.key(&state.plan.site.name),
        level: message.level,
        text: message.text.clone(),
    }
}

fn order(state: &State, step: StepRef, key: &str) -> Option<Order> {
    if let Some((component, action, host, timeout)) = state.keeping(step) {
        let instance = state.plan.instance(state.plan.component(component).original()).name.clone();
        let (key, epoch) = (key.to_owned(), state.leadership.epoch);
        return Some(Order { step, instance, host, address: None, needs_lease: false, action, key, timeout, epoch });
    }
    // A routing step that is converged when it begins ends in the same tick, and then does not run any more.
    let running = state.running(step).or_else(|| state.repairing(step).map(|it| it.1));
    let (planned, undoes) = match running {
        Some(planned) => (planned, None),
        None => state.undoing(step).and_then(|it| Some((it, Some(it.undo.as_deref()?))))?,
    };
    let (instance, action, timeout) = match (&planned.kind, undoes) {
        // A fence does not ask nicely: what does not answer may not obey either.
        (StepKind::Stop { from, service, .. }, None) => {
            (*from, Action::Service { op: ServiceOp::Kill, service: service.as_ref().clone() }, planned.timeout)
        }
        (StepKind::EndLease { from }, None) => {
            let component = state.plan.component(state.plan.instance(*from).component).name.clone();
            (*from, Action::EndLease { component }, planned.timeout)
        }
        (StepKind::Act { on, action }, None) => (*on, action.as_ref().clone(), planned.timeout),
        (StepKind::Act { on, .. }, Some(undo)) => (*on, undo.action.clone(), undo.timeout),
        (StepKind::Stop { .. } | StepKind::EndLease { .. }, Some(_))
        | (
            StepKind::CutTraffic { .. }
            | StepKind::CatchUp { .. }
            | StepKind::Manual { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Verify { .. },
            _,
        ) => return None,
    };
    let epoch = state.leadership.epoch;
    let address = state.address(instance);
    let host = planned.host.map(|it| state.plan.host(it).name.clone());
    let needs_lease =
        undoes.is_none() && makes_active(state, step, instance, &planned.kind) && !planted(Fault::PromotedWithoutLease);
    let instance = state.plan.instance(instance).name.clone();
    Some(Order { step, instance, host, address, needs_lease, action, key: key.to_owned(), timeout, epoch })
}

/// Whether a step makes an instance active that has to hold a lease for that.
fn makes_active(state: &State, step: StepRef, on: InstanceIx, kind: &StepKind) -> bool {
    let play = state.open_recovery(step.recovery).and_then(|it| state.play(it));
    matches!(kind, StepKind::Act { .. })
        && state.plan.is_leased(state.plan.instance(on).component)
        && play.is_some_and(|it| it.to == on)
}
