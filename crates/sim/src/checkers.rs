//! What must always hold, checked after every step against a small model that knows the truth.
//!
//! Each check carries the number of its invariant (S1, S2, …) and panics with it: a violated invariant ends the run.

mod evacuations;
mod routes;
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mainstay_engine::codec::Encoded;
use mainstay_engine::command::{Command, Override};
use mainstay_engine::effect::{Order, Telling};
use mainstay_engine::record::{Ended, StepRef};
use mainstay_engine::replay::{Replayed, replay};
use mainstay_engine::{Body, NoticeId, Record, RecoveryId};
use mainstay_plan::Plan;
use mainstay_plan::action::Action;
use mainstay_plan::observation::Health;
use mainstay_plan::routing::{RouteEntry, RoutingTable, TargetState};

/// The model.
#[derive(Debug, Default)]
pub struct Checkers {
    /// Component → needed witnesses.
    witnesses: BTreeMap<String, usize>,
    /// Component → its RPO is guarded.
    guarded_rpo: BTreeSet<String>,
    /// Steps whose intent is durable, and the record that says so.
    begun: BTreeMap<StepRef, u64>,
    /// Tables whose record is durable.
    published: BTreeSet<u64>,
    /// Components with an open recovery.
    open: BTreeMap<String, RecoveryId>,
    /// Recovery → the instance that failed.
    failed: BTreeMap<RecoveryId, String>,
    /// Instance → it went down at this record.
    went_down: BTreeMap<String, u64>,
    /// Rule → it fired at this record.
    fired: BTreeMap<String, u64>,
    /// Component → witnesses answered at this record.
    witnessed: BTreeMap<String, u64>,
    overridden: BTreeMap<RecoveryId, BTreeSet<Override>>,
    /// Instances that were really stopped or cut off since they last owned a route.
    fenced: BTreeSet<(String, String, IpAddr)>,
    stopped: BTreeSet<String>,
    /// Route → the instance that owns it, and where its clients really are.
    owner: BTreeMap<String, (String, IpAddr)>,
    /// Instances of which a person, or a new plan, said that they are elsewhere.
    said: BTreeSet<String>,
    /// Component → the instance that took over last.
    bound: BTreeMap<String, String>,
    /// Non-idempotent actions that were done and not seen to fail.
    once: BTreeSet<(RecoveryId, usize, usize, bool)>,
    /// Messages whose record is durable.
    messages: BTreeSet<(NoticeId, u32)>,
    highest_order: u64,
    served: u64,
    frozen: BTreeMap<String, Option<u64>>,
    accepts_two_writers: bool,
    site: site::Site,
    routes: routes::Routes,
    evacuations: evacuations::Evacuations,
}

impl Checkers {
    /// Knows what the plan promises.
    pub fn new(plan: &Plan) -> Checkers {
        let named = |it: &mainstay_plan::component::Component| (it.name.clone(), it.witnesses.need);
        Checkers {
            witnesses: plan.components.iter().map(named).collect(),
            guarded_rpo: plan
                .components
                .iter()
                .filter(|it| it.objectives.rpo.is_some())
                .map(|it| it.name.clone())
                .collect(),
            accepts_two_writers: (plan.components.iter().flat_map(|it| &it.ladder))
                .flat_map(|it| it.plays.values())
                .any(|it| it.accepts_two_writers),
            site: site::Site::new(plan),
            routes: routes::Routes::new(plan),
            evacuations: evacuations::Evacuations::new(plan),
            ..Checkers::default()
        }
    }

    /// Another plan promises something else. What was done stays done.
    pub fn plan_changed(&mut self, plan: &Plan) {
        let promises = Checkers::new(plan);
        self.witnesses = promises.witnesses;
        self.guarded_rpo = promises.guarded_rpo;
        self.accepts_two_writers = promises.accepts_two_writers;
        self.said.extend(plan.instances.iter().map(|it| it.name.clone()));
        self.site.under(plan);
        self.routes.under(plan);
        self.evacuations.under(plan);
    }

    /// The record under which a step was begun.
    pub fn begun_at(&self, step: StepRef) -> Option<u64> {
        self.begun.get(&step).copied()
    }

    /// An agent started: orders begin anew, epochs do not.
    pub fn agent_started(&mut self) {
        self.highest_order = 0;
    }

    /// The journal is gone: what it said no longer counts, what was done still does.
    pub fn forget_journal(&mut self) {
        self.open.clear();
        self.begun.clear();
        self.published.clear();
        self.once.clear();
        self.site.forget_journal();
        self.routes.forget_journal();
        self.evacuations.forget_journal();
        self.messages.clear();
    }

    /// An operator knows that the step of a recovery that may be done only once was not done.
    pub fn was_not_done(&mut self, recovery: RecoveryId) {
        self.once.retain(|it| it.0 != recovery);
    }

    /// A record is durable.
    pub fn recorded(&mut self, seq: u64, record: &Record) {
        self.site.recorded(seq, record);
        self.routes.recorded(seq, record);
        self.evacuations.recorded(seq, record);
        match &record.body {
            Body::FailureDetected { component, instance, rule, .. } => {
                if let Some(fired) = rule.as_ref().and_then(|it| self.fired.get(it)) {
                    self.went_down.insert(instance.clone(), *fired);
                }
                self.failed.insert(RecoveryId(seq), instance.clone());
                let before = self.open.insert(component.clone(), RecoveryId(seq));
                assert!(before.is_none(), "S1: a second recovery on {component} while {before:?} is open");
            }
            Body::SwitchStarted { component, from, .. } => {
                self.failed.insert(RecoveryId(seq), from.clone());
                let before = self.open.insert(component.clone(), RecoveryId(seq));
                assert!(before.is_none(), "S1: a planned move of {component} while {before:?} is open");
            }
            Body::RecoveryCompleted { recovery, .. } | Body::RecoveryFailed { recovery, .. } => {
                self.open.retain(|_, it| it != recovery);
            }
            Body::PlanAdopted { .. } => self.open.clear(),
            Body::HealthChanged { instance, to: Health::Down, .. } => {
                self.went_down.insert(instance.clone(), seq);
            }
            Body::RuleFired { rule, .. } => {
                self.fired.insert(rule.clone(), seq);
            }
            Body::WitnessesAnswered { component, .. } => {
                self.witnessed.insert(component.clone(), seq);
            }
            Body::PositionFrozen { instance, loss_ns } => {
                self.frozen.insert(instance.clone(), *loss_ns);
            }
            Body::Commanded { command: Command::Approve { recovery, overrides, .. }, .. } => {
                self.overridden.entry(*recovery).or_default().extend(overrides);
            }
            Body::RecoveryInitiated { recovery, .. } => self.initiated(*recovery),
            Body::RungStarted { recovery, to, .. } => self.takes_over(*recovery, to),
            Body::Bound { component, instance, .. } => {
                self.bound.insert(component.clone(), instance.clone());
            }
            Body::StepStarted { step, .. } | Body::UndoStarted { step, .. } => {
                self.begun.insert(*step, seq);
            }
            Body::StepEnded { step, ended: Ended::Failed(_) } => {
                self.once.retain(|it| (it.0, it.1, it.2) != (step.recovery, step.rung, step.step));
            }
            // An operator knows what may be done once more.
            Body::Commanded { command: Command::Retry { recovery, .. }, .. } => {
                self.once.retain(|it| it.0 != *recovery);
            }
            Body::Commanded { command: Command::Adopt { instance, address: Some(_), .. }, .. } => {
                self.said.insert(instance.clone());
            }
            Body::TablePublished { epoch, .. } => {
                self.published.insert(*epoch);
            }
            Body::AgentStarted { .. }
            | Body::AgentStopped { .. }
            | Body::HealthChanged { .. }
            | Body::OwnLateness { .. }
            | Body::SignalsSeen { .. }
            | Body::StepEnded { .. }
            | Body::RouteApplied { .. }
            | Body::RouteRefused { .. }
            | Body::TrafficAhead { .. }
            | Body::Commanded { .. }
            | Body::JournalLost { .. }
            | Body::CanaryChanged { .. }
            | Body::InStepChanged { .. }
            | Body::SwitchUndone { .. }
            | Body::EvacuationHeld { .. }
            | Body::EvacuationSettled { .. }
            | Body::EvacuationExpires { .. }
            | Body::EvacuationEnded { .. }
            | Body::BreakerChanged { .. }
            | Body::Impaired { .. }
            | Body::ImpairmentEnded { .. }
            | Body::RuleCleared { .. }
            | Body::NeighbourAnswered { .. }
            | Body::DependencyAnswered { .. }
            | Body::Classified { .. }
            | Body::IncidentOpened { .. }
            | Body::IncidentEnded { .. }
            | Body::IncidentRecovered { .. }
            | Body::Held { .. }
            | Body::RungSkipped { .. }
            | Body::StepTimedOut { .. }
            | Body::FenceConfirmed { .. }
            | Body::FencePassedOver { .. }
            | Body::RetryScheduled { .. }
            | Body::RollbackStarted { .. }
            | Body::BudgetExceeded { .. }
            | Body::RungFailed { .. }
            | Body::RouteHeld { .. }
            | Body::RouteFreed { .. }
            | Body::Rejoined { .. }
            | Body::AddressChanged { .. }
            | Body::LeaseChanged { .. }
            | Body::ObserversAnswered { .. }
            | Body::PeerOrder { .. }
            | Body::Told { .. } => {}
            Body::NoticeSent { notice, nth, .. } => {
                self.messages.insert((*notice, *nth));
            }
            Body::NoticeResent { notice, nth, .. } => {
                assert!(self.messages.contains(&(*notice, *nth)), "{notice}/{nth} is sent again and never was");
            }
        }
    }

    fn initiated(&self, recovery: RecoveryId) {
        let Some((component, _)) = self.open.iter().find(|it| *it.1 == recovery) else { return };
        let overridden = self.overridden.get(&recovery).is_some_and(|it| it.contains(&Override::Witnesses));
        if self.witnesses[component] > 0 && !overridden {
            let down = self.failed.get(&recovery).and_then(|it| self.went_down.get(it));
            let seen = self.witnessed.get(component);
            assert!(seen > down, "S8: {recovery} was initiated although no witness answered since {component} failed");
        }
    }

    fn takes_over(&self, recovery: RecoveryId, to: &str) {
        let Some((component, _)) = self.open.iter().find(|it| *it.1 == recovery) else { return };
        let stays = self.bound.get(component).or(self.failed.get(&recovery)).is_some_and(|it| it == to);
        let owner = stays || self.owner.values().any(|it| it.0 == to);
        let overridden = self.overridden.get(&recovery).is_some_and(|it| it.contains(&Override::Rpo));
        if self.guarded_rpo.contains(component) && !owner && !overridden {
            assert!(self.frozen.get(to).is_some_and(Option::is_some), "S5: {to} takes over at an unknown position");
        }
    }

    /// An action is about to be done.
    pub fn acted(&mut self, order: &Order) {
        assert!(self.begun.contains_key(&order.step), "S2: {:?} is done before its record is durable", order.step);
        if let Action::Service { op, .. } = &order.action {
            use mainstay_plan::action::ServiceOp;
            match op {
                ServiceOp::Kill | ServiceOp::Stop => self.stopped.insert(order.instance.clone()),
                ServiceOp::Start | ServiceOp::Restart => self.stopped.remove(&order.instance),
            };
        }
        // What brought an instance elsewhere and is undone leaves nobody there.
        if order.address.is_some() && order.key.contains("/undo/") {
            self.stopped.insert(order.instance.clone());
        }
        if !order.action.is_idempotent() {
            let undoes = order.key.contains("/undo/");
            let step = (order.step.recovery, order.step.rung, order.step.step, undoes);
            assert!(self.once.insert(step), "S7: {step:?} is done twice and may be done only once");
        }
    }

    /// People are told something.
    pub fn told(&self, telling: &Telling) {
        let message = (telling.notice, telling.nth);
        assert!(self.messages.contains(&message), "S2: {message:?} is told before its record is durable");
    }

    /// A table is sent to the traffic process.
    pub fn ordered(&mut self, table: &RoutingTable) {
        assert!(
            self.published.contains(&table.epoch),
            "S2: epoch {} is sent before its record is durable",
            table.epoch
        );
        assert!(table.epoch >= self.highest_order, "S9: epoch {} is sent after {}", table.epoch, self.highest_order);
        self.highest_order = table.epoch;
    }

    /// A table is served from now on.
    pub fn applied(&mut self, table: &RoutingTable) {
        assert!(table.epoch >= self.served, "S9: epoch {} is served after {}", table.epoch, self.served);
        self.served = table.epoch;
        table.validate().expect("S1: a table with two owners");
        for route in table.routes.iter().filter(|it| it.exclusive) {
            self.ownership(route);
        }
    }

    fn ownership(&mut self, route: &RouteEntry) {
        for target in &route.targets {
            let at = (route.name.clone(), target.instance.clone(), target.address.ip());
            match target.state {
                TargetState::Fenced => self.fenced.insert(at),
                TargetState::Serving | TargetState::Standby | TargetState::Draining | TargetState::Down => false,
            };
        }
        let Some(serving) = route.targets.iter().find(|it| it.state == TargetState::Serving) else { return };
        let now = (serving.instance.clone(), serving.address.ip());
        let before = self.owner.insert(route.name.clone(), now.clone());
        if let Some((before, at)) = before.filter(|it| *it != now) {
            // Clients of a DNS name may know the old address still: only the proxy's is theirs alone.
            let cut = route.proxy.is_some() && self.fenced.contains(&(route.name.clone(), before.clone(), at));
            let said = before == now.0 && self.said.contains(&before);
            let fenced = cut || said || self.stopped.contains(&before) || self.accepts_two_writers;
            let (instance, place) = &now;
            assert!(
                fenced,
                "S3: {instance} at {place} takes {} over from {before} at {at}, which is not fenced",
                route.name
            );
        }
        self.fenced.remove(&(route.name.clone(), now.0, now.1));
        self.stopped.remove(&serving.instance);
        self.said.remove(&serving.instance);
    }

    /// After every step: a fenced target is nowhere an owner.
    pub fn after_step(&self, table: &RoutingTable) {
        for route in table.routes.iter().filter(|it| it.exclusive) {
            let serving = route.targets.iter().filter(|it| it.state == TargetState::Serving).count();
            assert!(serving <= 1, "S1: {} has {serving} owners", route.name);
        }
    }
}

/// S10: the journal replays to the same decisions.
pub fn replays(stored: impl IntoIterator<Item = (u64, Encoded)>, plan: &Plan) -> Replayed {
    match replay(stored, |_, _| Some(plan.clone())) {
        Ok(replayed) => {
            assert!(replayed.misfits.is_empty(), "S10: records came where they can't come: {:?}", replayed.misfits);
            replayed
        }
        Err(error) => panic!("S10: {error}"),
    }
}
