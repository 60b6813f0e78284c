//! The engine's contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mainstay_plan::action::Outcome;
use mainstay_plan::route::Route;
use mainstay_plan::{ComponentIx, ControlIx, DomainIx, InstanceIx, Plan, Time};

use crate::agenda::{Agenda, Look};
use crate::command::{Command, Refusal};
use crate::effect::Effect;
use crate::evacuation::Rank;
use crate::gate::Gate;
use crate::input::Input;
use crate::lease::{May, Role, Tenure};
use crate::machine::Standing;
use crate::observe::Soft;
use crate::planted::{Fault, planted};
use crate::record::{Body, Ended, LastPlaces, Record, ReportedTarget};
use crate::route::rules as route_rules;
use crate::rules::{Present, Rules};
use crate::scenario::{self, Question};
use crate::state::State;
use crate::state::concerned::Concerned;
use crate::{ENGINE_VERSION, breaker, decide, elsewhere, evacuate, keeping, lease, outbox, repair, route};

/// How many decisions one component may take in one tick. A ladder of a hundred rungs passes over all of them within it;
/// whatever needs more is a loop, and goes on at the next tick rather than never ending this one.
const DECISIONS_A_TICK: usize = 256;

/// Decides for one workload.
///
/// There are four kinds of method:
///
/// - **Starting**: [`Engine::new`] folds the journal's records. There is no other way to get an engine, so that the state
///   after a crash is the state before it. Recorded decisions are folded, never made again.
/// - **Folding**: [`Engine::fold`] takes in a fact. It never decides and has no effects.
/// - **Ticking**: [`Engine::tick`] decides: observe → decide → recover → route, always in this order. All effects come out
///   here. Call it after folding, and when [`Engine::next_wakeup`] says so.
/// - **Asking**: [`Engine::next_wakeup`], [`Engine::state`], [`Engine::check_command`] and the views of [`crate::status`]
///   change nothing.
///
/// Time comes from the caller and never goes back. `Record` effects are numbered from the last record's number on, in the
/// order in which they come out; once a record is durable the caller folds `Recorded`, and only then the effects that it
/// justifies come out of the next tick. Probes never wait for anything.
#[derive(Clone, Debug)]
pub struct Engine {
    core: Core,
    soft: Soft,
    rules: Rules,
    gate: Gate,
    inbox: Vec<Pending>,
    tenure: Tenure,
    /// When the last tick asked to be called again: being called much later means that we were late.
    wake_by: Option<(Time, WakeReason)>,
    /// Whether something was folded since then.
    has_folded: bool,
}

/// Why the engine wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeReason {
    /// A probe is due.
    ProbeDue,
    /// A rule may become true, or cease to be.
    RuleDue,
    /// A wait or a step of this component ends.
    Deadline(ComponentIx),
    /// The window ends in which a failure may be part of a larger one.
    Correlation,
    /// A rule of a route, or a drain, ends.
    RouteRule,
    /// An evacuation ends, or what one of its components waits for.
    Evacuation,
    /// People are to be told something, or a channel is tried again.
    NoticeDue,
    /// The lease is to be renewed, or laid down.
    Lease,
}

#[derive(Clone, Debug)]
enum Pending {
    Fact(Body),
    NewPlan(Arc<Plan>, String),
}

impl Engine {
    /// Folds the journal's records under `plan`. `now` is not before the newest of them. `version` is the program's, for the
    /// record; `base_dir` the folder against which the plan's relative paths were resolved.
    pub fn new<'a>(
        plan: Arc<Plan>,
        base_dir: &str,
        version: &str,
        records: impl IntoIterator<Item = (u64, &'a Record)>,
        now: Time,
    ) -> Engine {
        let mut core = Core::new(plan.clone());
        for (seq, record) in records {
            core.state.apply(seq, record);
        }
        core.state.forget_notes();
        let adopt = (core.state.adopted.as_deref() != Some(plan.hash.as_str()))
            .then(|| Pending::NewPlan(plan.clone(), base_dir.to_owned()));
        let (engine, version) = (ENGINE_VERSION, version.to_owned());
        let started = Pending::Fact(Body::AgentStarted { engine, version, coordinated: false, places: Vec::new() });
        Engine {
            tenure: Tenure::new(core.state.leadership.clone(), now),
            gate: Gate::new(core.state.seq),
            core,
            soft: Soft::new(&plan, now),
            rules: Rules::new(&plan, now),
            inbox: adopt.into_iter().chain([started]).collect(),
            wake_by: None,
            has_folded: true,
        }
    }

    /// This agent asks a store who may decide, as the plan's `coordination` says. Without a call of this it is the only one
    /// that decides. Call it before the first tick.
    #[must_use]
    pub fn coordinated(mut self) -> Engine {
        let coordinates = self.core.state.plan.coordination.is_some();
        for pending in &mut self.inbox {
            if let Pending::Fact(Body::AgentStarted { coordinated, .. }) = pending {
                *coordinated = coordinates;
            }
        }
        self.tenure.start(coordinates);
        self
    }

    /// What was kept of where active instances were, in the words of [`Engine::places`], with moments on the timeline of this agent: none
    /// later than it was. Without a call of this nothing is known. Call it before the first tick.
    #[must_use]
    pub fn remembering(mut self, last: Vec<LastPlaces>) -> Engine {
        for pending in &mut self.inbox {
            if let Pending::Fact(Body::AgentStarted { places, .. }) = pending {
                places.clone_from(&last);
            }
        }
        self
    }

    /// Where the active instances that say so were, for an agent after this one: the newest places, and some older ones.
    pub fn places(&self) -> Vec<LastPlaces> {
        self.soft.places(&self.core.state)
    }

    /// Takes in a fact; never decides.
    pub fn fold(&mut self, now: Time, input: Input) {
        self.has_folded = true;
        let fact = match input {
            Input::Observation(observation) => {
                let probe = observation.probe;
                if let Some(taken) = self.soft.take(&self.core.state, now, observation) {
                    self.rules.answered(probe, &taken);
                }
                return;
            }
            Input::ClientsFailed { instance } => {
                self.soft.clients_failed(&self.core.state.plan, instance, now);
                return;
            }
            Input::Recorded(seq) => {
                self.gate.recorded(seq);
                return;
            }
            Input::NewPlan { plan, base_dir } => {
                self.inbox.push(Pending::NewPlan(plan, base_dir));
                return;
            }
            Input::TrafficServes { process, epoch, targets } => self.on_traffic(process, epoch, targets),
            Input::TrafficSilent { process, since } => {
                let known = self.core.state.routing.silent.get(&process).is_some_and(|it| it.since >= since);
                if known || !self.core.state.processes().any(|it| it == process) {
                    return;
                }
                Body::TrafficSilent { process, since }
            }
            Input::Outcome { step, outcome } => Body::StepEnded { step, ended: ended(outcome) },
            Input::RouteApplied { process, epoch } => Body::RouteApplied { process, epoch },
            Input::RouteRefused { process, epoch, reason } => {
                self.on_refusal(&process);
                Body::RouteRefused { process, epoch, reason }
            }
            Input::Command { command, by } => Body::Commanded { command, by },
            Input::JournalLost { reason } => Body::JournalLost { reason },
            Input::Told { channel, notice, nth, outcome } => {
                // What is not on its way any more was answered before, or belongs to a plan before.
                let given_out = self.core.state.notices.given_out(&channel);
                if given_out.is_none_or(|it| (it.notice, it.nth) != (notice, nth)) {
                    return;
                }
                Body::Told { channel, notice, nth, ended: ended(outcome) }
            }
            Input::LeaseGranted { epoch, asked } => {
                let changed = self.tenure.granted(&self.core.state.plan, now, epoch, asked);
                self.inbox.extend(changed.map(Pending::Fact));
                return;
            }
            Input::LeaseHeld { by, epoch } => {
                let changed = self.tenure.held(&by, epoch);
                self.inbox.extend(changed.map(Pending::Fact));
                return;
            }
            Input::StoreGone { reason } => {
                let changed = self.tenure.store_gone(&reason);
                self.inbox.extend(changed.map(Pending::Fact));
                return;
            }
            Input::PeerObserved { agent, instance, health, asked } => {
                self.soft.take_peer(&self.core.state, agent, &instance, health, asked);
                return;
            }
            Input::PeerOrder { from, epoch, what } => {
                let (taken, changed) = self.tenure.seen(epoch, &format!("an order of {from}"));
                self.inbox.extend(changed.map(Pending::Fact));
                Body::PeerOrder { from, epoch, what, taken }
            }
            Input::HostRefused { who, why } => Body::HostRefused { who, why },
            Input::Stopping { reason } => Body::AgentStopped { reason },
        };
        self.inbox.push(Pending::Fact(fact));
    }

    /// A process that is behind is sent the newest table; one that is ahead, or serves something else under our epoch, knows
    /// more than our journal does. One that serves what we published is sent it once more: only the answer to a table says
    /// that the connections which it cuts are closed, so a report counts for the epoch before.
    fn on_traffic(&mut self, process: String, epoch: u64, mut targets: Vec<ReportedTarget>) -> Body {
        let state = &self.core.state;
        targets.sort_by(|a, b| (&a.route, &a.instance).cmp(&(&b.route, &b.instance)));
        for target in &mut targets {
            target.address =
                target.address.filter(|it| !route::is_planned_at(state, &target.route, &target.instance, *it));
        }
        let mut ours = route::published(state);
        ours.sort_by(|a, b| (&a.route, &a.instance).cmp(&(&b.route, &b.instance)));
        let ahead = epoch > state.routing.epoch && !planted(Fault::TrafficAheadIgnored);
        if ahead || (epoch > 0 && epoch == state.routing.epoch && !same(&targets, &ours)) {
            let what = format!("the table that traffic process `{process}` serves");
            let lease = lease::of_table(epoch);
            // What is heard first may be anybody's, and that one gone; what is published since is somebody's who acts.
            let overtakes = state.traffic_was_heard();
            let changed =
                if overtakes { self.tenure.overtaken(lease, &what) } else { self.tenure.seen(lease, &what).1 };
            self.inbox.extend(changed.map(Pending::Fact));
            return Body::TrafficAhead { process, epoch, targets };
        }
        if state.routing.epoch > 0 && self.tenure.may(&state.plan).routes(&state.plan) {
            self.gate.send_table(state);
        }
        let done = if epoch == state.routing.epoch { epoch.saturating_sub(1) } else { epoch };
        Body::RouteApplied { process, epoch: done }
    }

    /// Whether a traffic process that serves a table of this epoch knows more than this agent, and this agent would act on what
    /// it knows: [`Input::TrafficServes`] is to be said then.
    pub fn is_overtaken_by(&self, epoch: u64) -> bool {
        let state = &self.core.state;
        epoch > state.routing.epoch && state.leadership.may(&state.plan) != May::Nothing
    }

    /// A table that is refused may be older than another agent's. What is served is heard then, once for each table: a process may
    /// have other reasons to refuse it.
    fn on_refusal(&mut self, process: &str) {
        let state = &self.core.state;
        let is_first = state.standing(process) != Standing::Refuses;
        if is_first && state.leadership.role != Role::Sole && state.leadership.may(&state.plan) != May::Nothing {
            self.gate.hear_traffic(state);
        }
    }

    /// Decides, and says what is to be done. `now` must not be before the last call's.
    pub fn tick(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.notice_lateness(now);
        let before = self.core.state.seq;
        let over = self.tenure.look(&self.core.state.plan, now);
        self.inbox.extend(over.map(Pending::Fact));
        for pending in std::mem::take(&mut self.inbox) {
            match pending {
                Pending::Fact(fact) => self.record(now, fact, effects),
                Pending::NewPlan(plan, base_dir) => self.adopt(now, plan, base_dir, effects),
            }
        }
        self.look_again_at_the_doubted(now);
        let mut seen = self.soft.seen();
        seen.extend(std::mem::take(&mut self.core.state.to_look_at));
        for fact in self.soft.health_changes(&self.core.state, &seen) {
            self.record(now, fact, effects);
        }
        for fact in self.soft.canary_changes(&self.core.state) {
            self.record(now, fact, effects);
        }
        for fact in self.soft.impairments(&self.core.state) {
            self.record(now, fact, effects);
        }
        self.look_at_rules(now, &seen, effects);
        let awaiting = self.core.awaiting();
        for fact in self.soft.answers_awaited(&self.core.state, &awaiting, now) {
            self.record(now, fact, effects);
        }
        self.decide(now, effects);
        self.look_again_at_the_doubted(now);
        self.note_what_was_done(now);
        // A verification that began in this tick is asked in this tick. Where nothing was recorded nothing began.
        if self.core.state.seq > before {
            let awaiting = self.core.awaiting();
            // The next rung waits for nothing but what it would lose.
            let is_measured = awaiting.iter().any(|it| self.core.state.components[it.index()].loss_anew);
            for fact in self.soft.answers_awaited(&self.core.state, &awaiting, now) {
                self.record(now, fact, effects);
            }
            if is_measured {
                self.decide(now, effects);
            }
        }
        self.gate.release(effects);
        if self.tenure.asks(&self.core.state.plan, now) {
            effects.push(Effect::AskLease);
        }
        self.soft.emit_due(&self.core.state, now, effects);
        self.wake_by = self.first_wakeup();
        self.has_folded = false;
    }

    fn decide(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for (seq, record) in self.core.decide(now) {
            self.gate.justify(seq, &record.body, &self.core.state);
            effects.push(Effect::Record(record));
        }
    }

    /// When to tick next if nothing comes in before, and why.
    pub fn next_wakeup(&self) -> Option<(Time, WakeReason)> {
        if self.has_folded { self.first_wakeup() } else { self.wake_by }
    }

    fn first_wakeup(&self) -> Option<(Time, WakeReason)> {
        let probe = self.soft.next_due().map(|at| (at, WakeReason::ProbeDue));
        let deadline = self.core.timers.first().map(|(at, component)| (*at, WakeReason::Deadline(*component)));
        let rule = self.rules.next_due().map(|at| (at, WakeReason::RuleDue));
        let notice = outbox::next_time(&self.core.state).map(|at| (at, WakeReason::NoticeDue));
        let lease = self.tenure.wakes(&self.core.state.plan).map(|at| (at, WakeReason::Lease));
        let route = self.core.route_timer.map(|at| (at, WakeReason::RouteRule));
        let evacuation = self.core.evacuation_timer.map(|at| (at, WakeReason::Evacuation));
        let window = self.core.domain_timers.first().map(|it| (it.0, WakeReason::Correlation));
        [probe, rule, deadline, notice, lease, route, evacuation, window].into_iter().flatten().min()
    }

    /// What lasts.
    pub fn state(&self) -> &State {
        &self.core.state
    }

    /// What was seen lately.
    pub fn soft(&self) -> &Soft {
        &self.soft
    }

    /// Whether this engine's journal can go on under `plan`.
    pub fn check_plan(&self, plan: &Plan) -> Result<(), Refusal> {
        match self.core.state.lost_owner(plan) {
            None => Ok(()),
            Some((component, owner)) => Err(Refusal::OwnerMissing { component, owner }),
        }
    }

    /// What an evacuation would do if it was said now.
    pub fn foresee(&self, command: &Command, by: &str, now: Time) -> Result<evacuate::Preview, Refusal> {
        let state = &self.core.state;
        evacuate::preview(state, command, by, now, |it| self.soft.is_nearly_in_step(&state.plan, it))
    }

    /// Whether a command of that person would be taken.
    pub fn check_command(&self, command: &Command, by: &str) -> Result<(), Refusal> {
        let state = &self.core.state;
        crate::status::check_command(state, command, by)?;
        let (component, to, graceful) = match command {
            Command::Switch { component, to, graceful, .. } => (component, state.instance(to), *graceful),
            Command::Failback { component, .. } => {
                let original = state.component(component).map(|it| state.plan.component(it).original());
                (component, original, true)
            }
            Command::Recover { .. }
            | Command::Approve { .. }
            | Command::Abort { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::PauseRecovery { .. }
            | Command::ResumeRecovery { .. }
            | Command::Skip { .. }
            | Command::Retry { .. }
            | Command::ApproveInAdvance { .. }
            | Command::Revoke { .. }
            | Command::Acknowledge { .. }
            | Command::Breaker { .. }
            | Command::Drain { .. }
            | Command::Undrain { .. }
            | Command::Evacuate { .. }
            | Command::EndEvacuation { .. }
            | Command::RouteOverride { .. }
            | Command::Halt { .. }
            | Command::Continue { .. }
            | Command::Repair { .. }
            | Command::Adopt { .. } => return Ok(()),
        };
        let Some(to) = to.filter(|_| graceful) else { return Ok(()) };
        match self.soft.far_behind(&state.plan, to) {
            None => Ok(()),
            Some(missing) => {
                let to = state.plan.instance(to).name.clone();
                Err(Refusal::NotWhole { component: component.clone(), to, missing })
            }
        }
    }

    fn record(&mut self, now: Time, fact: Body, effects: &mut Vec<Effect>) {
        let record = Record { at: now, body: fact };
        let seq = self.core.take(&record);
        if let Body::AgentStarted { places, .. } = &record.body {
            self.soft.remember(&self.core.state, places, now);
        }
        self.gate.justify(seq, &record.body, &self.core.state);
        effects.push(Effect::Record(record));
    }

    fn adopt(&mut self, now: Time, plan: Arc<Plan>, base_dir: String, effects: &mut Vec<Effect>) {
        let fact = Body::PlanAdopted { hash: plan.hash.clone(), source: plan.source.to_string(), base_dir };
        let mut given_up = Vec::new();
        if self.core.state.plan.hash != plan.hash {
            given_up.extend(self.core.state.open_keepings().map(|it| it.2.step_ref()));
            self.core.replace_plan(plan.clone(), now);
            self.soft = Soft::new(&plan, now);
            self.rules = Rules::new(&plan, now);
        }
        self.record(now, fact, effects);
        self.gate.call_back(self.core.state.seq, given_up);
    }

    fn notice_lateness(&mut self, now: Time) {
        let Some((by, _)) = self.wake_by else { return };
        let late = now.since(by);
        if late > self.core.state.plan.allowances.lateness {
            self.soft.distrust(&self.core.state, now);
            self.rules.distrust(now);
            let late_ns = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
            self.inbox.push(Pending::Fact(Body::OwnLateness { late_ns }));
        }
    }

    fn look_again_at_the_doubted(&mut self, now: Time) {
        for (instance, why) in std::mem::take(&mut self.core.state.doubted) {
            self.soft.look_again(&self.core.state.plan, instance, why, now);
        }
    }

    /// What was done to an instance makes worthless what rules remember of it; a component that is another instance now is
    /// looked at anew.
    fn note_what_was_done(&mut self, now: Time) {
        for instance in std::mem::take(&mut self.core.state.acted_on) {
            self.rules.forget(&self.core.state.plan, instance, now);
        }
        for component in std::mem::take(&mut self.core.state.rebound) {
            self.rules.rebound(component, now);
        }
    }

    /// Rules that fired or ceased. The witnesses of whom a rule accuses are asked at once, as after a failed answer.
    fn look_at_rules(&mut self, now: Time, seen: &BTreeSet<InstanceIx>, effects: &mut Vec<Effect>) {
        self.note_what_was_done(now);
        for fact in self.rules.facts(&self.core.state, &self.soft, seen, now) {
            let fired = if let Body::RuleFired { rule, .. } = &fact { self.core.state.rule(rule) } else { None };
            self.record(now, fact, effects);
            if let Some(fired) = fired.and_then(|it| self.core.state.fired(it))
                && let Some(accused) = fired.accused
            {
                self.soft.ask_witnesses_since(&self.core.state.plan, accused, fired.since, now);
            }
        }
    }

    /// Every rule as it is at the moment.
    pub fn present_rules(&self, now: Time) -> Vec<Present> {
        self.rules.present(&self.core.state, &self.soft, now)
    }
}

/// Whether two tables give the same instances the same states. Another address under the same epoch is another plan's.
fn same(these: &[ReportedTarget], those: &[ReportedTarget]) -> bool {
    let told = |it: &ReportedTarget| (it.route.clone(), it.instance.clone(), it.state);
    these.iter().map(told).eq(those.iter().map(told))
}

fn ended(outcome: Outcome) -> Ended {
    match outcome {
        Outcome::Done => Ended::Done,
        Outcome::DoneAt(address) => Ended::DoneAt(address),
        Outcome::LeaseOver(how) => Ended::LeaseOver(how),
        Outcome::DoneLosing(lost) => Ended::DoneLosing(lost),
        Outcome::Kept(seen) => Ended::Kept(seen),
        Outcome::Failed(why) => Ended::Failed(why),
        Outcome::Unknown(why) => Ended::Unknown(why),
    }
}

/// State, and what of it has to be looked at. Shared by the engine and by [`crate::replay`]: both decide by the same code
/// from the same records.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    pub(crate) state: State,
    agenda: Agenda,
    controls_dirty: BTreeSet<ControlIx>,
    dirty_domains: BTreeSet<DomainIx>,
    /// When time alone may make a domain lost.
    domain_timers: BTreeSet<(Time, DomainIx)>,
    domain_timer_of: BTreeMap<DomainIx, Time>,
    /// Components that could begin to be recovered as part of an evacuation.
    in_turn: BTreeSet<(Rank, ComponentIx)>,
    everybody_was_asked: bool,
    /// Components that wait for the word of a domain, by when they failed.
    asking: BTreeSet<(DomainIx, Time, ComponentIx)>,
    asking_of: BTreeMap<ComponentIx, (DomainIx, Time)>,
    routes_dirty: bool,
    pub(crate) timers: BTreeSet<(Time, ComponentIx)>,
    timer_of: BTreeMap<ComponentIx, Time>,
    /// When a rule of a route, or a drain, ends.
    pub(crate) route_timer: Option<Time>,
    evacuations_dirty: bool,
    /// When an evacuation ends, or what one of its components waits for.
    pub(crate) evacuation_timer: Option<Time>,
    dependents: Vec<Vec<ComponentIx>>,
}

impl Core {
    pub(crate) fn new(plan: Arc<Plan>) -> Core {
        let mut dependents = vec![Vec::new(); plan.components.len()];
        for (component, ix) in plan.components.iter().zip((0u32..).map(ComponentIx)) {
            for on in &component.depends_on {
                dependents[on.index()].push(ix);
            }
        }
        for (gate, component) in plan.routes.iter().flat_map(|it| gated(&plan, it)) {
            dependents[gate.index()].push(component);
        }
        let mut core = Core {
            agenda: Agenda::new(&plan),
            state: State::new(plan),
            controls_dirty: BTreeSet::new(),
            dirty_domains: BTreeSet::new(),
            domain_timers: BTreeSet::new(),
            domain_timer_of: BTreeMap::new(),
            in_turn: BTreeSet::new(),
            everybody_was_asked: false,
            asking: BTreeSet::new(),
            asking_of: BTreeMap::new(),
            routes_dirty: true,
            timers: BTreeSet::new(),
            timer_of: BTreeMap::new(),
            route_timer: None,
            evacuations_dirty: true,
            evacuation_timer: None,
            dependents,
        };
        core.all_dirty();
        core
    }

    /// The same facts under another plan.
    pub(crate) fn replace_plan(&mut self, plan: Arc<Plan>, now: Time) {
        let mut next = Core::new(plan.clone());
        let before = std::mem::replace(&mut self.state, State::new(plan.clone()));
        next.state = before.with_plan(plan, now);
        *self = next;
    }

    /// Folds a record under the next number, and notes what it may change.
    pub(crate) fn take(&mut self, record: &Record) -> u64 {
        let seq = self.state.seq + 1;
        let concerned = self.state.concerned(&record.body);
        let settled = self.settled_around(concerned);
        self.note_controls(&record.body);
        self.state.apply(seq, record);
        match concerned {
            Concerned::All => self.all_dirty(),
            Concerned::Component(component) => {
                self.agenda.insert(component);
                self.agenda.extend(self.dependents[component.index()].iter().copied());
                self.look_at_domains_of(component);
                self.ask_what_is_open_again(&settled);
            }
            Concerned::Domain(domain) => self.on_domain(domain, &record.body),
            Concerned::Open => {
                self.agenda.extend(self.state.open_recoveries().map(|it| it.component));
                self.agenda.extend(self.state.to_repair.iter().copied());
            }
            Concerned::Nobody => {}
            Concerned::Outbox => return seq,
        }
        self.agenda.extend(self.state.next_in_turn());
        if repair::may_let_go_on(&record.body) {
            self.agenda.extend(self.state.to_repair.iter().copied());
        }
        if keeping::may_let_go_on(&record.body) {
            self.agenda.extend(self.state.kept.iter().copied());
        }
        if std::mem::take(&mut self.state.room_freed) {
            self.agenda.extend(self.state.short_of_room.iter().copied());
        }
        self.routes_dirty = true;
        self.evacuations_dirty = true;
        seq
    }

    /// The component that a record is about, if it is about one.
    pub(crate) fn component_of(&self, body: &Body) -> Option<ComponentIx> {
        match self.state.concerned(body) {
            Concerned::Component(component) => Some(component),
            Concerned::All | Concerned::Domain(_) | Concerned::Open | Concerned::Nobody | Concerned::Outbox => None,
        }
    }

    /// Components with a failure that something is awaited for.
    pub(crate) fn awaiting(&self) -> Vec<ComponentIx> {
        let open = self.state.open_recoveries().map(|it| it.component);
        let mut all: Vec<ComponentIx> = open.chain(self.agenda.all()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Decides whatever can be decided now; the records come out in order, folded already.
    pub(crate) fn decide(&mut self, now: Time) -> Vec<(u64, Record)> {
        let mut decided = Vec::new();
        if self.timers.first().is_some_and(|it| it.0 <= now) {
            let expired: Vec<ComponentIx> = self.timers.range(..=(now, ComponentIx(u32::MAX))).map(|it| it.1).collect();
            for component in expired {
                self.agenda.insert(component);
                self.look_at_domains_of(component);
            }
        }
        let asked = self.domain_timers.iter().take_while(|it| it.0 <= now).map(|it| it.1);
        self.dirty_domains.extend(asked);
        if self.route_timer.is_some_and(|it| it <= now) {
            self.routes_dirty = true;
        }
        self.evacuations_dirty |= self.evacuation_timer.is_some_and(|it| it <= now);
        if self.is_anything_to_look_at() {
            self.look(now, &mut decided);
        }
        // People are told last: nothing that restores service waits for it.
        while let Some(body) = outbox::next(&self.state, now) {
            self.push(now, body, &mut decided);
        }
        decided
    }

    /// Looks at components, evacuations and routes until nothing follows any more.
    fn look(&mut self, now: Time, decided: &mut Vec<(u64, Record)>) {
        loop {
            while let Some(look) = self.next_look(now, decided) {
                for _ in 0..DECISIONS_A_TICK {
                    let next = match look {
                        Look::Restore(component) => decide::next(&self.state, component, now),
                        Look::Repair(component) => decide::repair(&self.state, component, now),
                    };
                    let Some(body) = next else { break };
                    if let Look::Restore(component) = look
                        && self.goes_in_turn(component, &body)
                    {
                        break;
                    }
                    self.push(now, body, decided);
                    self.move_breakers(now, decided);
                }
                self.agenda.done(look);
                match look {
                    Look::Restore(component) => {
                        self.set_timer(component, now);
                        self.note_question(component, now);
                    }
                    Look::Repair(component) => self.set_timer(component, now),
                }
            }
            // Nothing that is planned goes before what restores or repairs.
            if std::mem::take(&mut self.evacuations_dirty) {
                for body in evacuate::next(&self.state, now) {
                    self.push(now, body, decided);
                }
                if self.evacuations_dirty {
                    continue;
                }
                self.evacuation_timer = evacuate::next_time(&self.state, now);
            }
            if !std::mem::take(&mut self.routes_dirty) {
                let first = elsewhere::first_table_waits(&self.state, now);
                self.route_timer = route_rules::next_time(&self.state, now).into_iter().chain(first).min();
                break;
            }
            if let Some(body) = route::next(&self.state, now) {
                self.push(now, body, decided);
            }
        }
    }

    /// Whether something was folded, or has become due, since everything was looked at.
    fn is_anything_to_look_at(&self) -> bool {
        self.routes_dirty
            || self.evacuations_dirty
            || self.agenda.all().next().is_some()
            || !self.in_turn.is_empty()
            || !self.dirty_domains.is_empty()
            || !self.controls_dirty.is_empty()
    }

    fn move_breakers(&mut self, now: Time, decided: &mut Vec<(u64, Record)>) {
        while let Some(control) = self.controls_dirty.pop_first() {
            if let Some(body) = breaker::next(&self.state, control, now) {
                self.push(now, body, decided);
            }
        }
    }

    /// Notes which breakers a record may move.
    fn note_controls(&mut self, body: &Body) {
        if let Body::StepEnded { step, .. } | Body::StepTimedOut { step, .. } = body {
            self.controls_dirty.extend(self.state.control_of(*step));
        }
        if let Body::CanaryChanged { service, region, .. } | Body::BreakerChanged { service, region, .. } = body {
            self.controls_dirty.extend(self.state.plan.control_named(service, region));
        }
        if let Body::Commanded { command: Command::Breaker { .. }, .. } | Body::AgentStarted { .. } = body {
            self.controls_dirty.extend((0u32..).map(ControlIx).take(self.state.controls.len()));
        }
    }

    /// Domains come first: what is lost with its zone is looked at as part of that.
    fn next_look(&mut self, now: Time, decided: &mut Vec<(u64, Record)>) -> Option<Look> {
        if planted(Fault::RepairFirst)
            && let Some(component) = self.agenda.next_to_repair()
        {
            return Some(Look::Repair(component));
        }
        self.move_breakers(now, decided);
        while let Some(domain) = self.dirty_domains.pop_first() {
            if let Some(body) = scenario::next(&self.state, domain, now) {
                self.push(now, body, decided);
            }
            if scenario::is_settled(&self.state, domain) {
                self.ask_again(domain, Time::MAX);
            }
            if let Some(before) = self.domain_timer_of.remove(&domain) {
                self.domain_timers.remove(&(before, domain));
            }
            if let Some(at) = scenario::next_time(&self.state, domain, now) {
                self.domain_timers.insert((at, domain));
                self.domain_timer_of.insert(domain, at);
            }
        }
        self.look_at_what_waits_for_the_site();
        if let Some(component) = self.agenda.next_to_restore() {
            self.everybody_was_asked = false;
            return Some(Look::Restore(component));
        }
        self.everybody_was_asked = true;
        let in_turn = self.in_turn.pop_first().map(|it| Look::Restore(it.1));
        in_turn.or_else(|| self.agenda.next_to_repair().map(Look::Repair))
    }

    /// What waits for the site as a whole is looked at as soon as that has changed.
    fn look_at_what_waits_for_the_site(&mut self) {
        let guards = &self.state.plan.guards;
        let is_guarded = guards.storm_brake.is_some() || guards.blast_radius.is_some();
        if let Some(held) = self.state.site.take_changed().filter(|_| is_guarded) {
            self.agenda.extend(held.iter().copied());
        }
    }

    /// Who begins in an evacuation is settled when everybody who could has been looked at.
    fn goes_in_turn(&mut self, component: ComponentIx, body: &Body) -> bool {
        if self.everybody_was_asked || !matches!(body, Body::RecoveryInitiated { .. }) {
            return false;
        }
        let rank = self.state.rank(component);
        self.in_turn.extend(rank.map(|it| (it, component)));
        rank.is_some()
    }

    fn look_at_domains_of(&mut self, component: ComponentIx) {
        for instance in &self.state.plan.component(component).instances {
            self.dirty_domains.extend(self.state.topology.place(*instance).domains());
        }
    }

    /// Whoever waits for a domain, and failed before something there answered, can go on; an incident concerns all that is
    /// recovered there.
    fn on_domain(&mut self, ix: DomainIx, body: &Body) {
        let answered = self.state.domains[ix.index()].answered;
        let parent = self.state.topology.domain(ix).parent;
        for domain in [Some(ix), parent].into_iter().flatten() {
            self.dirty_domains.insert(domain);
            self.ask_again(domain, answered);
        }
        if matches!(body, Body::IncidentOpened { .. } | Body::IncidentEnded { .. }) {
            self.dirty_domains.extend(&self.state.topology.domain(ix).parts);
            // Whoever lives elsewhere may have a rung that leads there.
            self.agenda.extend(self.state.open_recoveries().map(|it| it.component));
        }
    }

    /// The zones and regions around a component from which no answer is awaited.
    fn settled_around(&self, concerned: Concerned) -> Vec<DomainIx> {
        let Concerned::Component(component) = concerned else { return Vec::new() };
        let instances = self.state.plan.component(component).instances.iter();
        let domains = instances.flat_map(|it| self.state.topology.place(*it).domains());
        let is_settled =
            |it: &DomainIx| self.state.topology.domain(*it).is_told_apart && scenario::is_settled(&self.state, *it);
        domains.filter(is_settled).collect()
    }

    /// Something there is not known to be down any more, so that its answer may say what failed: whoever is recovered there
    /// is asked about again, now and not when something else concerns it.
    fn ask_what_is_open_again(&mut self, settled: &[DomainIx]) {
        for domain in settled.iter().filter(|it| !scenario::is_settled(&self.state, **it)) {
            self.agenda.extend(self.state.open_in(*domain));
        }
    }

    fn ask_again(&mut self, domain: DomainIx, failed_by: Time) {
        let those = (domain, Time::ZERO, ComponentIx(0))..=(domain, failed_by, ComponentIx(u32::MAX));
        self.agenda.extend(self.asking.range(those).map(|it| it.2));
    }

    fn note_question(&mut self, component: ComponentIx, now: Time) {
        if let Some((domain, since)) = self.asking_of.remove(&component) {
            self.asking.remove(&(domain, since, component));
        }
        if self.state.components[component.index()].recovery.is_some()
            && let Some(Question::Lives(domain)) = scenario::question(&self.state, component, now)
        {
            let since = self.state.instances[self.state.components[component.index()].bound.index()].since;
            self.asking.insert((domain, since, component));
            self.asking_of.insert(component, (domain, since));
        }
    }

    fn push(&mut self, now: Time, body: Body, decided: &mut Vec<(u64, Record)>) {
        let record = Record { at: now, body };
        decided.push((self.take(&record), record));
    }

    fn set_timer(&mut self, component: ComponentIx, now: Time) {
        if let Some(before) = self.timer_of.remove(&component) {
            self.timers.remove(&(before, component));
        }
        if let Some(at) = decide::next_time(&self.state, component, now) {
            self.timers.insert((at, component));
            self.timer_of.insert(component, at);
        }
    }

    fn all_dirty(&mut self) {
        self.agenda.insert_all();
        self.dirty_domains.extend((0u32..).map(DomainIx).take(self.state.domains.len()));
    }
}

/// What waits for the gates of a route: each gate with each component that is reached by the route.
fn gated<'a>(plan: &'a Plan, route: &'a Route) -> impl Iterator<Item = (ComponentIx, ComponentIx)> + 'a {
    let on_it: BTreeSet<ComponentIx> = route.targets.iter().map(|it| plan.instance(it.instance).component).collect();
    route.rules.gates.iter().flat_map(move |gate| on_it.clone().into_iter().map(move |it| (*gate, it)))
}
