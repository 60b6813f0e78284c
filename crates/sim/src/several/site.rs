//! The site that several agents look after: servers, a traffic process, the store, and the ways between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::codec::{Encoded, encode};
use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::effect::Order;
use mainstay_engine::lease::{May, Role};
use mainstay_engine::record::{ReportedTarget, StepRef};
use mainstay_engine::state::LOCAL_PROCESS;
use mainstay_engine::{Command, Engine, Input, Record};
use mainstay_plan::action::{Action, Outcome, ServiceOp};
use mainstay_plan::component::Temperature;
use mainstay_plan::observation::{Answer, Concerns, Health, Observation, SeenRole};
use mainstay_plan::probe::Watches;
use mainstay_plan::routing::{RoutingTable, TargetState};
use mainstay_plan::strategy::Strategy;
use mainstay_plan::{ComponentIx, Plan, ProbeIx, Time};

use super::agent::{Agent, SYNC};
use super::mischief::{Mischief, Whom};
use super::store::Store;
use crate::checkers::Among;
use crate::world::Server;

/// Where true time begins.
pub(super) const BEGIN: Time = Time::from_millis(1_000_000);

/// How long anything is on its way, there or back.
const WAY: Duration = Duration::from_millis(1);

/// How long an action takes, and a traffic process for a table.
const ACTION: Duration = Duration::from_millis(20);
const APPLY: Duration = Duration::from_millis(6);

/// How long an agent waits for the store.
const STORE_TIMEOUT: Duration = Duration::from_millis(300);

/// So many events at one moment are a loop.
const RESTLESS: u32 = 20_000;

/// How long it takes at most until an agent asks a traffic process again how it stands.
const STANDS: Duration = Duration::from_millis(500);
/// How often agents tell each other what they see.
const TELLS: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) enum Event {
    Start(usize),
    Wake(usize),
    Synced(usize, u32),
    /// Something reaches an agent that is as old as then.
    Arrives(usize, u32, Input),
    /// An action of an agent ends.
    Ended(usize, u32, StepRef, Outcome),
    /// A probe is answered.
    Answer(usize, u32, ProbeIx, Time, Answer, Option<Duration>),
    /// A table reaches the traffic process.
    Table(usize, u32, RoutingTable),
    /// The traffic process answers, on the connection of this number.
    Serves(usize, u32, Input),
    /// The traffic process says how it stands, on the connection of this number.
    Stands(usize, u32),
    /// The store is asked; when, on the clock of whoever asks.
    Asked(usize, u32, Time),
    /// Agents tell each other what they see.
    Tell,
}

/// Everything that several agents act on, and they themselves.
#[derive(Debug)]
pub struct Site {
    plan: Arc<Plan>,
    /// The true time.
    pub now: Time,
    agents: Vec<Agent>,
    servers: BTreeMap<String, Server>,
    roles: BTreeMap<String, SeenRole>,
    /// What the traffic process serves, if it is there.
    table: RoutingTable,
    /// It takes no table below this.
    floor: u64,
    traffic_up: bool,
    store: Store,
    /// Ways that do not work: from whom to whom, and whether it is the way back.
    broken: BTreeSet<(usize, Whom, bool)>,
    cut_off: BTreeSet<usize>,
    slow: Duration,
    delays: crate::dice::Dice,
    outcome: Option<Option<Outcome>>,
    /// Keys of everything that was really done.
    done: Vec<String>,
    checks: Among,
    queue: BTreeMap<(Time, u64), Event>,
    ticket: u64,
    /// How many events there were at this moment.
    at_once: u32,
    /// What happened, by the true time.
    pub happened: Vec<(Time, String)>,
}

impl Site {
    pub(super) fn new(plan: Arc<Plan>, rates: &[u64]) -> Site {
        let names = ["ops".to_owned()].into_iter().chain(plan.agents.iter().map(|it| it.name.clone()));
        let agents: Vec<Agent> = names.zip(rates).map(|(name, rate)| Agent::new(name, *rate)).collect();
        let is_cold =
            |name: &str| plan.instance_named(name).is_some_and(|it| plan.instance(it).temperature == Temperature::Cold);
        let everybody = plan.instances.iter().map(|it| &it.name).chain(plan.witnesses.iter().map(|it| &it.name));
        let first = |name: &String| if is_cold(name) { Server::Dead } else { Server::Up };
        let original = |name: &str| plan.components.iter().any(|it| plan.instance(it.original()).name == name);
        let role = |name: &String| if original(name) { SeenRole::Active } else { SeenRole::Standby };
        let mut site = Site {
            now: BEGIN,
            servers: everybody.map(|it| (it.clone(), first(it))).collect(),
            roles: plan.instances.iter().map(|it| (it.name.clone(), role(&it.name))).collect(),
            table: RoutingTable::empty(&plan.site.name),
            floor: 0,
            traffic_up: true,
            store: Store::default(),
            broken: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            slow: Duration::ZERO,
            delays: crate::dice::Dice::named(rates.iter().sum(), "delays"),
            outcome: None,
            done: Vec::new(),
            checks: Among::new(&plan),
            queue: BTreeMap::new(),
            ticket: 0,
            at_once: 0,
            happened: Vec::new(),
            agents,
            plan,
        };
        for nth in 0..site.agents.len() {
            site.at(WAY * u32::try_from(nth).unwrap_or(0), Event::Start(nth));
        }
        site.at(TELLS, Event::Tell);
        site
    }

    pub(super) fn agents(&self) -> usize {
        self.agents.len()
    }

    pub(super) fn name(&self, nth: usize) -> String {
        self.agents[nth].name.clone()
    }

    pub(super) fn engine(&self, nth: usize) -> Option<&Engine> {
        self.agents[nth].driver.as_ref().map(Driver::engine)
    }

    pub(super) fn role(&self, nth: usize) -> Option<Role> {
        Some(self.engine(nth)?.state().leadership.role)
    }

    /// Who leads, if one does alone.
    pub(super) fn leader(&self) -> Option<usize> {
        let mut lead = (0..self.agents()).filter(|it| self.role(*it) == Some(Role::Leader));
        lead.next().filter(|_| lead.next().is_none())
    }

    pub(super) fn clock(&self, nth: usize) -> Time {
        self.agents[nth].clock(self.now)
    }

    pub(super) fn sleeps(&self, nth: usize) -> bool {
        self.agents[nth].asleep_until.is_some()
    }

    pub(super) fn stored(&self, nth: usize) -> Vec<(u64, Encoded)> {
        (1..).zip(self.agents[nth].durable.iter().map(encode)).collect()
    }

    /// The records of an agent, each with the moment on its own clock.
    pub(super) fn told(&self, nth: usize) -> Vec<(Time, u64, Record)> {
        (1..).zip(&self.agents[nth].durable).map(|(seq, record)| (record.at, seq, record.clone())).collect()
    }

    /// Every record of every agent.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> + use<'_> {
        self.agents.iter().flat_map(|it| &it.durable)
    }

    pub(super) fn was_done(&self, key: &str) -> bool {
        self.done.iter().any(|it| it.contains(key))
    }

    /// Somebody says something to an agent; refused, where the agent would refuse it.
    pub(super) fn speak(&mut self, nth: usize, command: Command, by: &str) {
        let taken = self.engine(nth).is_some_and(|it| it.check_command(&command, by).is_ok());
        if taken && !self.sleeps(nth) {
            self.turn(nth, vec![Input::Command { command, by: by.to_owned() }]);
        }
    }

    pub(super) fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= until
        {
            let ((at, _), event) = entry.remove_entry();
            self.at_once = if at == self.now { self.at_once + 1 } else { 0 };
            assert!(self.at_once < RESTLESS, "L2: it never comes to rest: {event:?}");
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.ticket += 1;
        self.queue.insert((self.now + after, self.ticket), event);
    }

    /// How long something is on its way.
    fn way(&mut self) -> Duration {
        let slow = u64::try_from(self.slow.as_millis()).unwrap_or(0);
        WAY + self.delays.millis(slow + 1)
    }

    fn reaches(&self, nth: usize, whom: &Whom) -> bool {
        !self.cut_off.contains(&nth) && !self.broken.contains(&(nth, whom.clone(), false))
    }

    fn is_heard(&self, nth: usize, whom: &Whom) -> bool {
        !self.cut_off.contains(&nth) && !self.broken.contains(&(nth, whom.clone(), true))
    }

    fn happen(&mut self, event: Event) {
        if let Event::Wake(nth)
        | Event::Arrives(nth, ..)
        | Event::Ended(nth, ..)
        | Event::Answer(nth, ..)
        | Event::Serves(nth, ..)
        | Event::Stands(nth, ..) = &event
            && let nth = *nth
            && let Some(until) = self.agents[nth].asleep_until
        {
            if self.now < until {
                self.agents[nth].late.push(event);
                return;
            }
            self.agents[nth].asleep_until = None;
            for late in std::mem::take(&mut self.agents[nth].late) {
                self.happen(late);
            }
        }
        match event {
            Event::Start(nth) => self.start(nth),
            Event::Wake(nth) => self.turn(nth, Vec::new()),
            Event::Synced(nth, life) => self.synced(nth, life),
            Event::Arrives(nth, life, input) => self.hears(nth, life, input),
            Event::Ended(nth, life, step, outcome) => self.hears(nth, life, Input::Outcome { step, outcome }),
            Event::Answer(nth, life, probe, started, answer, lag) => {
                let role = self.told_role(probe).filter(|_| answer == Answer::Good);
                let ended = self.clock(nth);
                let observation =
                    Observation { probe, started, ended, answer, lag, role, concerns: Concerns::NONE, position: None };
                self.hears(nth, life, Input::Observation(observation));
            }
            Event::Table(nth, connection, table) => self.table_arrives(nth, connection, table),
            Event::Asked(nth, life, asked) => self.store_is_asked(nth, life, asked),
            Event::Serves(nth, connection, input) => {
                if self.agents[nth].connection == connection {
                    self.turn(nth, vec![input]);
                }
            }
            Event::Stands(nth, connection) => self.stands(nth, connection),
            Event::Tell => self.tell_each_other(),
        }
    }

    fn hears(&mut self, nth: usize, life: u32, input: Input) {
        if self.agents[nth].life == life {
            self.turn(nth, vec![input]);
        }
    }

    fn start(&mut self, nth: usize) {
        let (now, plan) = (self.now, self.plan.clone());
        let agent = &mut self.agents[nth];
        if agent.driver.is_some() {
            return;
        }
        agent.life += 1;
        agent.set_clock(now);
        let folded = (1..).zip(&agent.durable);
        let engine = Engine::new(plan, ".", "sim", folded, agent.clock(now)).coordinated();
        agent.driver = Some(Driver::new(engine));
        self.greet(nth, 0);
        self.turn(nth, Vec::new());
    }

    fn ends(&mut self, nth: usize, down_for: Duration) {
        let agent = &mut self.agents[nth];
        agent.driver = None;
        agent.connection += 1;
        agent.unsynced.clear();
        agent.syncing = false;
        agent.asleep_until = None;
        agent.late.clear();
        agent.wake = None;
        self.at(down_for, Event::Start(nth));
    }

    /// The traffic process says to an agent what it serves: when the connection is new, and when it is asked.
    fn greet(&mut self, nth: usize, floor: u64) {
        self.agents[nth].connection += 1;
        let hears = self.reaches(nth, &Whom::Traffic) && self.is_heard(nth, &Whom::Traffic);
        if !self.traffic_up || !hears || self.agents[nth].driver.is_none() {
            return;
        }
        self.floor = self.floor.max(floor);
        let (process, epoch) = (LOCAL_PROCESS.to_owned(), self.table.epoch);
        let targets = ReportedTarget::all_of(&self.table);
        let (way, connection) = (self.way(), self.agents[nth].connection);
        self.at(way, Event::Serves(nth, connection, Input::TrafficServes { process, epoch, targets }));
    }

    fn turn(&mut self, nth: usize, inputs: Vec<Input>) {
        let now = self.clock(nth);
        let agent = &mut self.agents[nth];
        let Some(driver) = &mut agent.driver else { return };
        let turn = driver.turn(now, inputs);
        let wake = driver.engine().next_wakeup().map(|it| it.0);
        agent.unsynced.extend(turn.append);
        if !agent.unsynced.is_empty() && !agent.syncing {
            agent.syncing = true;
            let (takes, life) = (agent.sync_takes, agent.life);
            self.at(takes, Event::Synced(nth, life));
        }
        for todo in turn.todo {
            self.perform(nth, todo);
        }
        if let Some(before) = self.agents[nth].wake.take() {
            self.queue.remove(&before);
        }
        if let Some(wake) = wake {
            let after = self.agents[nth].really(wake).since(self.now);
            self.at(after, Event::Wake(nth));
            self.agents[nth].wake = Some((self.now + after, self.ticket));
        }
    }

    fn synced(&mut self, nth: usize, life: u32) {
        let agent = &mut self.agents[nth];
        if agent.life != life || agent.driver.is_none() {
            return;
        }
        agent.keep(usize::MAX);
        agent.syncing = false;
        let last = agent.durable.len() as u64;
        // A process that is stopped hears of it when it wakes up.
        self.happen(Event::Arrives(nth, life, Input::Recorded(last)));
    }

    fn perform(&mut self, nth: usize, todo: Todo) {
        let life = self.agents[nth].life;
        match todo {
            Todo::Probe(probe, _) => self.ask(nth, probe),
            Todo::Act(order) => self.act(nth, &order),
            Todo::Cancel(step) => {
                self.queue.retain(|_, it| !matches!(it, Event::Ended(of, _, which, _) if *of == nth && *which == step));
            }
            Todo::Grant(_) => {}
            Todo::AskLease => {
                let asked = self.clock(nth);
                let way = self.way();
                if self.store.is_gone || !self.reaches(nth, &Whom::Store) {
                    let reason = "no answer in time".to_owned();
                    self.at(STORE_TIMEOUT, Event::Arrives(nth, life, Input::StoreGone { reason }));
                } else {
                    self.at(way, Event::Asked(nth, life, asked));
                }
            }
            Todo::Route(table) => {
                let epoch = table.epoch >> 32;
                self.may(nth, epoch, "sends a table", |it| it.is_shared_as_before(&table, &self.table));
                self.agents[nth].records.ordered(&table);
                if self.reaches(nth, &Whom::Traffic) && self.traffic_up {
                    let (way, connection) = (self.way(), self.agents[nth].connection);
                    self.at(way + APPLY, Event::Table(nth, connection, table));
                }
            }
            Todo::HearTraffic(floor) => {
                self.greet(nth, floor);
            }
            Todo::Log(_) => {}
            Todo::Notify(telling) => {
                self.agents[nth].records.told(&telling);
                let (channel, notice, number) = (telling.channel, telling.notice, telling.nth);
                let told = Input::Told { channel, notice, nth: number, outcome: Outcome::Done };
                self.at(WAY, Event::Arrives(nth, life, told));
            }
        }
    }

    /// Whoever acts holds the lease at this very moment, by the store's own clock; who is alone may do what the plan leaves to it.
    fn may(&self, nth: usize, epoch: u64, what: &str, alone_may: impl Fn(&Among) -> bool) {
        let Some(engine) = self.engine(nth) else { return };
        let state = engine.state();
        let is_alone = state.leadership.role == Role::Alone && state.leadership.may(&self.plan) == May::Shared;
        let name = &self.agents[nth].name;
        if is_alone {
            assert!(alone_may(&self.checks), "S1: {name} {what}, is alone, and another one may do the same");
            return;
        }
        let holder = self.store.holder.map(|it| self.agents[it].name.as_str());
        let holds = self.store.is_held_by(nth, self.now);
        assert!(
            holds,
            "S1: {name} {what}, and {holder:?} holds the lease until {:?} (now {:?})",
            self.store.until, self.now
        );
        assert!(epoch <= self.store.epoch, "S9: {name} {what} under epoch {epoch}, which nobody was granted");
    }

    fn store_is_asked(&mut self, nth: usize, life: u32, asked: Time) {
        let expires = self.plan.coordination.as_ref().map_or(Duration::ZERO, |it| it.lease.expires);
        let answer = match self.store.ask(nth, self.now, expires) {
            Ok(epoch) => Input::LeaseGranted { epoch, asked },
            Err((by, epoch)) => Input::LeaseHeld { by: self.agents[by].name.clone(), epoch },
        };
        let way = self.way();
        if self.is_heard(nth, &Whom::Store) {
            self.at(way, Event::Arrives(nth, life, answer));
        } else {
            let reason = "no answer in time".to_owned();
            self.at(STORE_TIMEOUT, Event::Arrives(nth, life, Input::StoreGone { reason }));
        }
    }

    fn table_arrives(&mut self, nth: usize, connection: u32, table: RoutingTable) {
        if !self.traffic_up {
            return;
        }
        let (process, epoch) = (LOCAL_PROCESS.to_owned(), table.epoch);
        let differs = epoch == self.table.epoch && table != self.table;
        let answer = if differs || epoch < self.table.epoch.max(self.floor) {
            let reason = format!("epoch {} is served, and none below {} is taken", self.table.epoch, self.floor);
            Input::RouteRefused { process, epoch, reason }
        } else {
            self.checks.applied(&table);
            self.table = table;
            for other in (0..self.agents()).filter(|it| *it != nth) {
                self.at(STANDS, Event::Stands(other, self.agents[other].connection));
            }
            Input::RouteApplied { process, epoch }
        };
        if self.is_heard(nth, &Whom::Traffic) {
            let way = self.way();
            self.at(way, Event::Serves(nth, connection, answer));
        }
    }

    /// An agent that acts hears that another one's table is served.
    fn stands(&mut self, nth: usize, connection: u32) {
        let hears = self.reaches(nth, &Whom::Traffic) && self.is_heard(nth, &Whom::Traffic);
        let overtaken = self.engine(nth).is_some_and(|it| it.is_overtaken_by(self.table.epoch));
        if self.traffic_up && hears && overtaken && self.agents[nth].connection == connection {
            let (process, epoch) = (LOCAL_PROCESS.to_owned(), self.table.epoch);
            let targets = ReportedTarget::all_of(&self.table);
            self.turn(nth, vec![Input::TrafficServes { process, epoch, targets }]);
        }
    }

    fn ask(&mut self, nth: usize, ix: ProbeIx) {
        let plan = self.plan.clone();
        let probe = plan.probe(ix);
        let (name, server) = match probe.watches {
            Watches::Instance(it) => (plan.instance(it).name.clone(), self.servers[&plan.instance(it).name]),
            Watches::Witness(it) => (plan.witness(it).name.clone(), self.servers[&plan.witness(it).name]),
            Watches::Control(_) => (String::new(), Server::Up),
            Watches::Route(it) => {
                let open = if self.traffic_up { self.open_to_clients(&plan.route(it).name) } else { Vec::new() };
                let met = open.iter().map(|it| self.servers[*it]).find(|it| *it != Server::Dead);
                (String::new(), met.unwrap_or(Server::Dead))
            }
        };
        let whom = if name.is_empty() { Whom::Traffic } else { Whom::Server(name.clone()) };
        let hears = self.reaches(nth, &whom) && self.is_heard(nth, &whom);
        let there_and_back = self.way() + self.way();
        let (answer, took) = match server {
            _ if !hears || there_and_back > probe.timing.timeout => (Answer::TimedOut, probe.timing.timeout),
            Server::Up => (Answer::Good, there_and_back),
            Server::Dead => (Answer::Refused("connection refused".to_owned()), there_and_back),
            Server::Hung => (Answer::TimedOut, probe.timing.timeout),
        };
        let lag = (probe.kind.reports_lag() && answer == Answer::Good).then_some(Duration::ZERO);
        let (started, life) = (self.clock(nth), self.agents[nth].life);
        self.at(took, Event::Answer(nth, life, ix, started, answer, lag));
    }

    fn told_role(&self, ix: ProbeIx) -> Option<String> {
        let probe = self.plan.probe(ix);
        let Watches::Instance(instance) = probe.watches else { return None };
        let role = self.roles.get(&self.plan.instance(instance).name).filter(|_| probe.kind.reports_role());
        role.map(|it| it.word().to_owned())
    }

    fn open_to_clients(&self, route: &str) -> Vec<&str> {
        let Some(entry) = self.table.routes.iter().find(|it| it.name == route) else { return Vec::new() };
        let in_state = |state: TargetState| {
            entry.targets.iter().filter(move |it| it.state == state).map(|it| it.instance.as_str()).collect()
        };
        let serving: Vec<&str> = in_state(TargetState::Serving);
        if serving.is_empty() && !entry.exclusive { in_state(TargetState::Down) } else { serving }
    }

    fn act(&mut self, nth: usize, order: &Order) {
        let component = self.component_of(order);
        self.may(nth, order.epoch, "does something", |it| component.is_some_and(|ix| it.is_not_exclusive(ix)));
        self.agents[nth].records.acted(order);
        for other in (0..self.agents()).filter(|it| *it != nth) {
            let whom = Whom::Agent(other);
            if self.reaches(nth, &whom) && self.is_heard(other, &Whom::Agent(nth)) {
                let (from, what) = (self.agents[nth].name.clone(), order.key.clone());
                let (life, way) = (self.agents[other].life, self.way());
                self.at(way, Event::Arrives(other, life, Input::PeerOrder { from, epoch: order.epoch, what }));
            }
        }
        let life = self.agents[nth].life;
        let whom = Whom::Server(order.instance.clone());
        let unknown = || Outcome::Unknown("no answer in time".to_owned());
        if !self.reaches(nth, &whom) {
            self.at(order.timeout, Event::Ended(nth, life, order.step, unknown()));
            return;
        }
        self.done.push(order.key.clone());
        self.checks.done(order);
        self.has_effect(nth, component, order);
        match self.outcome.take() {
            Some(None) => {}
            Some(Some(outcome)) => self.at(ACTION, Event::Ended(nth, life, order.step, outcome)),
            None if self.is_heard(nth, &whom) => self.at(ACTION, Event::Ended(nth, life, order.step, Outcome::Done)),
            None => self.at(order.timeout, Event::Ended(nth, life, order.step, unknown())),
        }
    }

    /// Whose instance it acts on: the recovery that ordered it may be over when the order leaves.
    fn component_of(&self, order: &Order) -> Option<ComponentIx> {
        self.plan.instance_named(&order.instance).map(|it| self.plan.instance(it).component)
    }

    fn has_effect(&mut self, nth: usize, component: Option<ComponentIx>, order: &Order) {
        let strategy =
            component.and_then(|it| self.plan.component(it).ladder.get(order.step.rung)).map(|it| it.strategy);
        let is_cold = self
            .plan
            .instance_named(&order.instance)
            .is_some_and(|it| self.plan.instance(it).temperature == Temperature::Cold);
        let effect = match (&order.action, strategy) {
            (Action::Service { op: ServiceOp::Start | ServiceOp::Restart, .. }, _)
            | (_, Some(Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut)) => {
                Some(Server::Up)
            }
            (Action::Service { op: ServiceOp::Stop | ServiceOp::Kill, .. }, _) => Some(Server::Dead),
            (_, Some(Strategy::FailoverToStandby)) if is_cold => Some(Server::Up),
            (_, Some(Strategy::RestartService | Strategy::FailoverToStandby) | None) => None,
        };
        if let Some(effect) = effect {
            self.servers.insert(order.instance.clone(), effect);
        }
        let leads_there = || {
            let state = self.engine(nth)?.state();
            let play = state.play(state.open_recovery(order.step.recovery)?)?;
            Some(self.plan.instance(play.to).name == order.instance && !order.key.contains("/undo/"))
        };
        if !matches!(order.action, Action::Service { .. }) && strategy == Some(Strategy::FailoverToStandby) {
            let role = if leads_there() == Some(true) { SeenRole::Active } else { SeenRole::Standby };
            if role == SeenRole::Active {
                self.checks.activated(&order.instance, order.epoch);
            }
            self.roles.insert(order.instance.clone(), role);
        }
    }

    /// Each agent tells each other one that hears it what it sees, and when it asked, on that one's clock.
    fn tell_each_other(&mut self) {
        self.at(TELLS, Event::Tell);
        if !self.plan.components.iter().any(|it| it.guards.observers.is_some()) {
            return;
        }
        let mut told = Vec::new();
        for (from, to) in (0..self.agents()).flat_map(|from| (0..self.agents()).map(move |to| (from, to))) {
            let hears = self.reaches(from, &Whom::Agent(to)) && self.is_heard(to, &Whom::Agent(from));
            let Some(engine) = self.engine(from).filter(|_| from != to && hears && !self.sleeps(from)) else {
                continue;
            };
            let state = engine.state();
            for (planned, instance) in self.plan.instances.iter().zip(&state.instances) {
                let watches = planned.probes.iter().map(|it| engine.soft().watch(*it));
                let asked = match instance.health {
                    Health::Down => watches.filter_map(|it| it.last_failed).max(),
                    Health::Healthy => watches.filter_map(|it| it.last_good_asked).min(),
                    Health::Suspect | Health::Unknown => None,
                };
                let Some(asked) = asked else { continue };
                let asked = self.agents[to].clock(self.agents[from].really(asked));
                let (agent, health) = (self.agents[from].name.clone(), instance.health);
                told.push((to, Input::PeerObserved { agent, instance: planned.name.clone(), health, asked }));
            }
        }
        for (to, input) in told {
            let (life, way) = (self.agents[to].life, self.way());
            self.at(way, Event::Arrives(to, life, input));
        }
    }

    pub(super) fn suffer(&mut self, what: &Mischief) {
        self.happened.push((self.now, format!("! {}", what.told(|it| self.name(it)))));
        match what.clone() {
            Mischief::Server(name, how) => drop(self.servers.insert(name, how)),
            Mischief::Way(nth, whom, there, back) => {
                for (works, direction) in [(there, false), (back, true)] {
                    let way = (nth, whom.clone(), direction);
                    if works {
                        self.broken.remove(&way)
                    } else {
                        self.broken.insert(way)
                    };
                }
                if whom == Whom::Traffic {
                    self.greet(nth, 0);
                }
            }
            Mischief::CutOff(nth, true) => drop(self.cut_off.insert(nth)),
            Mischief::CutOff(nth, false) => {
                self.cut_off.remove(&nth);
                self.greet(nth, 0);
            }
            Mischief::StoreGone(gone) => self.store.is_gone = gone,
            Mischief::Slow(takes) => self.slow = takes,
            Mischief::Sleeps(nth, span) => {
                if self.agents[nth].driver.is_some() {
                    self.agents[nth].asleep_until = Some(self.now + span);
                    self.at(span, Event::Wake(nth));
                }
            }
            Mischief::Killed(nth, keeps, down_for) => {
                self.agents[nth].keep(keeps);
                self.ends(nth, down_for);
            }
            Mischief::JournalGone(nth, down_for) => {
                self.agents[nth].forgets();
                self.ends(nth, down_for);
            }
            Mischief::SlowDisk(nth, takes) => self.agents[nth].sync_takes = SYNC + takes,
            Mischief::Clock(nth, by) => self.agents[nth].wall_ms += by,
            Mischief::Traffic(up) => {
                self.traffic_up = up;
                (0..self.agents()).for_each(|it| self.greet(it, 0));
            }
            Mischief::Outcome(outcome) => self.outcome = Some(outcome),
        }
    }

    /// Everything works from now on, and everybody is there. What the agents believe, and what they have done, stays.
    pub(super) fn heal(&mut self) {
        self.happened.push((self.now, "! everything works".to_owned()));
        self.servers.values_mut().for_each(|it| *it = Server::Up);
        self.broken.clear();
        self.cut_off.clear();
        self.slow = Duration::ZERO;
        self.outcome = None;
        self.store.is_gone = false;
        self.traffic_up = true;
        self.agents.iter_mut().for_each(|it| it.sync_takes = SYNC);
        (0..self.agents()).for_each(|it| self.greet(it, 0));
    }

    /// Clients are served by whoever its component is bound to, as the leader sees it.
    pub(super) fn serves_what_is_bound(&self) {
        let Some(state) = self.leader().and_then(|it| self.engine(it)).map(Engine::state) else { return };
        for (ix, component) in (0u32..).map(ComponentIx).zip(&state.components) {
            let bound = &self.plan.instance(component.bound).name;
            let routes = self.plan.component(ix).routes.iter().map(|it| self.plan.route(*it));
            for route in routes.filter(|_| component.recovery.is_none()) {
                let open = self.open_to_clients(&route.name);
                assert!(
                    open.contains(&bound.as_str()),
                    "L1: everything works, and {} is served by {open:?}",
                    route.name
                );
            }
        }
    }
}

/// For the hash of a trial: everything that was recorded, and what is served.
impl Site {
    /// FNV-1a over what every agent recorded and when, and what is served in the end.
    pub fn hash(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for encoded in self.records().map(encode) {
            add(&encoded.at_ns.to_le_bytes());
            add(encoded.kind.as_bytes());
            add(&encoded.payload);
        }
        add(format!("{:?} {:?} {:?} {}", self.done, self.table, self.now, self.ticket).as_bytes());
        hash
    }
}
