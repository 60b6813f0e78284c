//! A friendly world in virtual time: what is asked answers, what is done works, what is recorded lasts. Timelines overrule it
//! line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::codec::{Encoded, decode, encode};
use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::effect::{Order, Telling};
use mainstay_engine::record::{ReportedTarget, StepRef};
use mainstay_engine::state::LOCAL_PROCESS;
use mainstay_engine::{Engine, Input, Record};
use mainstay_plan::action::{Action, LostWrites, Outcome, ServiceOp, read_address};
use mainstay_plan::component::Temperature;
use mainstay_plan::location::{FailureDomain, Location};
use mainstay_plan::observation::{Answer, Concerns, LogPosition, Observation};
use mainstay_plan::probe::Watches;
use mainstay_plan::routing::{RoutingTable, TargetEntry, TargetState};
use mainstay_plan::strategy::Strategy;
use mainstay_plan::{InstanceIx, Plan, ProbeIx, RouteIx, Time};

use crate::hosts::Hosts;
use crate::line::{Ends, Store};

/// How long things take unless a timeline says otherwise.
const ANSWER: Duration = Duration::from_millis(5);
const SYNC: Duration = Duration::from_millis(1);
const APPLY: Duration = Duration::from_millis(1);
pub(crate) const ACTION: Duration = Duration::from_millis(100);
const CARRY: Duration = Duration::from_millis(50);
/// Where whoever says something else than an address has really brought an instance.
const UNTOLD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
const CARRIER_TIMEOUT: Duration = Duration::from_secs(10);

/// What came out of the engine, for the text.
pub(crate) enum Came {
    /// A record was handed over: its number, and what.
    Record(u64, Box<Record>),
    /// Something is to be done. Probes are not told.
    Todo(Box<Todo>),
}

#[derive(Clone, Debug)]
enum Event {
    Wake,
    Answer(Observation),
    Synced,
    SecondFile(u64),
    Done(Order),
    Ended(StepRef, Outcome),
    Told(Box<Input>),
    Applied(RoutingTable),
    /// The traffic process of a host serves a table.
    AppliedBy(String, RoutingTable),
    /// Nothing is heard of a host since then.
    HostIsSilent(String, Time),
    StartAgent,
}

/// The world.
pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) now: Time,
    /// By instance, witness or `route NAME`: what it answers; absent: good.
    pub(crate) answers: BTreeMap<String, Answer>,
    /// The same of single probes, which goes before.
    pub(crate) probe_answers: BTreeMap<ProbeIx, Answer>,
    pub(crate) latency: BTreeMap<ProbeIx, Duration>,
    pub(crate) lag: BTreeMap<String, Option<Duration>>,
    /// Instances that say how far their data goes; they say nothing of a lag.
    pub(crate) reaches: BTreeMap<String, LogPosition>,
    /// What instances say that they are; empty: nothing.
    pub(crate) roles: BTreeMap<String, String>,
    /// Instances whose certificate expires soon.
    pub(crate) expiring: BTreeSet<String>,
    /// Instances whose log is not archived.
    pub(crate) unarchived: BTreeSet<String>,
    pub(crate) own_path_broken: bool,
    pub(crate) next_action: Option<Ends>,
    pub(crate) actions: BTreeMap<Option<String>, Ends>,
    pub(crate) action_takes: Duration,
    /// Where instances really are, if not where the plan says.
    pub(crate) homes: BTreeMap<String, IpAddr>,
    /// Instances of which an old self still answers where it was.
    pub(crate) ghosts: BTreeSet<String>,
    /// What the next action says that brings an address.
    pub(crate) next_address: Option<String>,
    /// What the coordination store says; `None`: the plan has one, and nothing connects the agent to it.
    pub(crate) store: Option<Store>,
    /// How messages over a channel end, if not well; `None`: it never answers.
    pub(crate) channels: BTreeMap<String, Option<Outcome>>,
    pub(crate) disk_works: bool,
    pub(crate) traffic_answers: bool,
    pub(crate) traffic_refuses: Option<String>,
    pub(crate) traffic_takes: Duration,
    /// What the traffic process serves.
    pub(crate) table: RoutingTable,
    pub(crate) hosts: Hosts,
    /// What came out, and when, until someone takes it.
    pub(crate) came: Vec<(Time, Came)>,
    queue: BTreeMap<(Time, u64), Event>,
    ticket: u64,
    wake: Option<(Time, u64)>,
    driver: Option<Driver>,
    durable: Vec<Encoded>,
    unsynced: Vec<Encoded>,
    syncing: bool,
    cancelled: BTreeSet<StepRef>,
    /// Where actions under way bring their instances.
    arriving: BTreeMap<StepRef, IpAddr>,
    brought: u8,
    journal_lost: bool,
    /// While it sleeps: until then, and what it will find.
    asleep: Option<(Time, Vec<Event>)>,
}

impl World {
    /// Everything is well, and the agent starts at once.
    pub(crate) fn new(plan: Plan, now: Time) -> World {
        let plan = Arc::new(plan);
        let mut world = World {
            now,
            answers: BTreeMap::new(),
            probe_answers: BTreeMap::new(),
            latency: BTreeMap::new(),
            lag: BTreeMap::new(),
            reaches: BTreeMap::new(),
            roles: roles_at_first(&plan),
            expiring: BTreeSet::new(),
            unarchived: BTreeSet::new(),
            own_path_broken: false,
            next_action: None,
            actions: BTreeMap::new(),
            action_takes: ACTION,
            homes: BTreeMap::new(),
            ghosts: BTreeSet::new(),
            next_address: None,
            arriving: BTreeMap::new(),
            brought: 0,
            channels: BTreeMap::new(),
            store: plan.agents.iter().any(|it| it.name == "ops-2").then_some(Store::Grants(1)),
            disk_works: true,
            traffic_answers: true,
            traffic_refuses: None,
            traffic_takes: APPLY,
            table: RoutingTable::empty(&plan.site.name),
            hosts: Hosts::default(),
            came: Vec::new(),
            queue: BTreeMap::new(),
            ticket: 0,
            wake: None,
            driver: None,
            durable: Vec::new(),
            unsynced: Vec::new(),
            syncing: false,
            cancelled: BTreeSet::new(),
            journal_lost: false,
            asleep: None,
            plan,
        };
        world.stop_the_cold();
        world.at(Duration::ZERO, Event::StartAgent);
        world
    }

    /// The engine of the agent that runs.
    pub(crate) fn engine(&self) -> Option<&Engine> {
        self.driver.as_ref().map(Driver::engine)
    }

    /// The records on the disk.
    pub(crate) fn stored(&self) -> Vec<(u64, Encoded)> {
        (1..).zip(self.durable.iter().cloned()).collect()
    }

    /// Lets time pass.
    pub(crate) fn run_until(&mut self, until: Time) {
        while let Some((&(at, ticket), _)) = self.queue.first_key_value()
            && at <= until
        {
            let event = self.queue.remove(&(at, ticket)).expect("it was just seen");
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    /// Something comes in to the agent, if it runs. While it sleeps it comes in when it wakes up.
    pub(crate) fn tell(&mut self, input: Input) {
        self.turn(vec![input]);
    }

    /// The agent's process ends, and another starts later.
    pub(crate) fn kill(&mut self, down_for: Duration) {
        self.driver = None;
        self.journal_lost = false;
        self.unsynced.clear();
        self.syncing = false;
        self.asleep = None;
        // What the dead agent had asked for may still happen to the world, but nobody hears of it.
        self.queue.retain(|_, event| matches!(event, Event::Applied(_) | Event::Done(_)));
        self.at(down_for, Event::StartAgent);
    }

    /// The same, and its disk is empty.
    pub(crate) fn lose_journal(&mut self, down_for: Duration) {
        self.durable.clear();
        self.kill(down_for);
    }

    /// The agent is suspended.
    pub(crate) fn sleep(&mut self, span: Duration) {
        self.asleep = Some((self.now + span, Vec::new()));
        self.at(span, Event::Wake);
    }

    /// The journal can't be written any more: records go to the second file, which counts for this agent alone.
    pub(crate) fn lose_disk(&mut self) {
        let Some(driver) = &self.driver else { return };
        let all = driver.engine().state().seq;
        self.journal_lost = true;
        self.unsynced.clear();
        self.turn(vec![Input::JournalLost { reason: "the disk is gone".to_owned() }, Input::Recorded(all)]);
    }

    pub(crate) fn set_disk(&mut self, works: bool) {
        self.disk_works = works;
        self.sync();
    }

    pub(crate) fn set_traffic(&mut self, answers: bool) {
        self.traffic_answers = answers;
        if answers {
            self.greet_traffic();
        }
    }

    /// Takes another plan, as the agent does: one that the engine finds unfit is not used, and says why.
    pub(crate) fn reload(&mut self, plan: Plan) -> Result<(), String> {
        if let Some(engine) = self.engine() {
            engine.check_plan(&plan).map_err(|it| it.to_string())?;
        }
        self.plan = Arc::new(plan);
        self.stop_the_cold();
        let plan = self.plan.clone();
        self.tell(Input::NewPlan { plan, base_dir: "/".to_owned() });
        Ok(())
    }

    fn stop_the_cold(&mut self) {
        let cold = self.plan.instances.iter().filter(|it| it.temperature == Temperature::Cold);
        for instance in cold {
            let stopped = Answer::Refused("connection refused".to_owned());
            self.answers.entry(instance.name.clone()).or_insert(stopped);
        }
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.ticket += 1;
        self.queue.insert((self.now + after, self.ticket), event);
    }

    fn happen(&mut self, event: Event) {
        if let Some((until, found)) = &mut self.asleep {
            let of_the_agent = !matches!(event, Event::StartAgent | Event::Synced | Event::Done(_) | Event::Applied(_));
            if self.now < *until && of_the_agent {
                found.push(event);
                return;
            }
            if self.now >= *until {
                let found = std::mem::take(found);
                self.asleep = None;
                for late in found {
                    self.happen(late);
                }
            }
        }
        match event {
            Event::Wake => self.turn(Vec::new()),
            Event::Answer(observation) => {
                let answered = Observation { ended: self.now, ..observation };
                self.turn(vec![Input::Observation(answered)]);
            }
            Event::Synced if self.journal_lost => {}
            Event::Synced => self.synced(),
            Event::SecondFile(last) => self.turn(vec![Input::Recorded(last)]),
            Event::Done(order) => {
                if let Action::EndLease { component } = &order.action {
                    self.hosts.over(component, &order.instance);
                }
                self.change(&order);
            }
            Event::Ended(step, outcome) => {
                if !self.cancelled.contains(&step) {
                    self.turn(vec![Input::Outcome { step, outcome }]);
                }
            }
            Event::Told(input) => self.turn(vec![*input]),
            Event::Applied(table) => self.apply(table),
            Event::AppliedBy(host, table) => self.apply_on(host, table),
            Event::HostIsSilent(host, since) => {
                if self.hosts.silent.get(&host) == Some(&since) {
                    self.turn(vec![Input::TrafficSilent { process: host, since }]);
                }
            }
            Event::StartAgent => self.start(),
        }
    }

    fn start(&mut self) {
        let records: Vec<Record> =
            self.durable.iter().map(|it| decode(it).expect("what this engine wrote it can read")).collect();
        let engine = Engine::new(self.plan.clone(), "/", "test", (1..).zip(&records), self.now);
        let engine = if self.store.is_some() { engine.coordinated() } else { engine };
        self.driver = Some(Driver::new(engine));
        if self.traffic_answers {
            self.greet_traffic();
        }
        self.hosts.agent_started(self.now);
        let serving: Vec<String> = self.plan.serving_hosts().map(|it| it.name.clone()).collect();
        for host in serving {
            match self.hosts.silent.get(&host).copied() {
                None => self.tell(self.hosts.greeting(&self.plan, &host)),
                Some(_) => self.silence_is_noticed(&host, self.now),
            }
        }
        self.turn(Vec::new());
    }

    /// A link over which nothing comes is given up after as long as a lease lasts.
    fn silence_is_noticed(&mut self, host: &str, since: Time) {
        let expires = self.plan.link.as_ref().map(|it| it.lease.expires).unwrap_or_default();
        self.hosts.silent.insert(host.to_owned(), since);
        self.at(expires, Event::HostIsSilent(host.to_owned(), since));
    }

    /// A host falls silent, or is there again.
    pub(crate) fn set_host(&mut self, host: &str, there: bool) {
        self.hosts.says(&self.plan, host, there, self.now);
        let serves = self.plan.serving_hosts().any(|it| it.name == host);
        if !there {
            self.silence_is_noticed(host, self.now);
        } else if serves {
            self.tell(self.hosts.greeting(&self.plan, host));
        }
    }

    fn apply_on(&mut self, host: String, table: RoutingTable) {
        if self.hosts.silent.contains_key(&host) {
            return;
        }
        let epoch = table.epoch;
        self.hosts.tables.insert(host.clone(), table);
        self.tell(Input::RouteApplied { process: host, epoch });
    }

    fn greet_traffic(&mut self) {
        let (epoch, targets) = (self.table.epoch, ReportedTarget::all_of(&self.table));
        self.tell(Input::TrafficServes { process: LOCAL_PROCESS.to_owned(), epoch, targets });
    }

    fn turn(&mut self, inputs: Vec<Input>) {
        let Some(driver) = &mut self.driver else { return };
        let turn = driver.turn(self.now, inputs);
        let wake = driver.engine().next_wakeup();
        let last = turn.first_seq + turn.append.len() as u64 - 1;
        let written: Vec<Encoded> = turn.append.iter().map(encode).collect();
        for (seq, encoded) in (turn.first_seq..).zip(&written) {
            let record = decode(encoded).expect("what this engine wrote it can read");
            self.came.push((self.now, Came::Record(seq, Box::new(record))));
        }
        if self.journal_lost {
            if !written.is_empty() {
                self.at(Duration::ZERO, Event::SecondFile(last));
            }
        } else {
            self.unsynced.extend(written);
        }
        self.sync();
        for todo in turn.todo {
            self.perform(todo);
        }
        self.wake_at(wake.map(|it| it.0));
    }

    fn sync(&mut self) {
        if self.disk_works && !self.unsynced.is_empty() && !self.syncing {
            self.syncing = true;
            self.at(SYNC, Event::Synced);
        }
    }

    fn synced(&mut self) {
        self.syncing = false;
        if self.disk_works {
            self.durable.append(&mut self.unsynced);
            self.turn(vec![Input::Recorded(self.durable.len() as u64)]);
        }
    }

    /// The agent sleeps until one moment, and a new one replaces the old.
    fn wake_at(&mut self, at: Option<Time>) {
        if let Some(before) = self.wake.take() {
            self.queue.remove(&before);
        }
        let Some(at) = at else { return };
        self.at(at.since(self.now), Event::Wake);
        self.wake = Some((self.now.max(at), self.ticket));
    }

    fn perform(&mut self, todo: Todo) {
        match &todo {
            Todo::Probe(probe, at) => return self.ask(*probe, *at),
            Todo::Act(order) => self.act(order),
            Todo::Cancel(step) => {
                self.cancelled.insert(*step);
            }
            Todo::Route(table) => {
                if self.traffic_answers {
                    self.at(self.traffic_takes, Event::Applied(table.clone()));
                }
                let serving: Vec<String> = self.plan.serving_hosts().map(|it| it.name.clone()).collect();
                for host in serving {
                    if !self.hosts.silent.contains_key(&host) {
                        self.at(self.traffic_takes, Event::AppliedBy(host, table.clone()));
                    }
                }
            }
            Todo::Log(_) => {}
            Todo::AskLease => return self.ask_store(),
            Todo::Grant(grants) => {
                self.hosts.wants(&self.plan, grants, self.now);
                if grants.is_empty() && self.plan.hosts.is_empty() {
                    return;
                }
            }
            Todo::HearTraffic(_) => return self.greet_traffic(),
            Todo::Notify(telling) => self.carry(telling),
        }
        self.came.push((self.now, Came::Todo(Box::new(todo))));
    }

    /// Told of only when the answer changes something, so that a lease which is renewed fills no pages.
    fn ask_store(&mut self) {
        let asked = self.now;
        let answer = match self.store.clone() {
            None | Some(Store::Gone) => Input::StoreGone { reason: "no route to it".to_owned() },
            Some(Store::Grants(epoch)) => Input::LeaseGranted { epoch, asked },
            Some(Store::Held(by, epoch)) => Input::LeaseHeld { by, epoch },
        };
        self.at(ANSWER, Event::Told(Box::new(answer)));
    }

    fn carry(&mut self, telling: &Telling) {
        let (channel, notice, nth) = (telling.channel.clone(), telling.notice, telling.nth);
        let (took, outcome) = match self.channels.get(&channel) {
            None => (CARRY, Outcome::Done),
            Some(Some(outcome)) => (CARRY, outcome.clone()),
            Some(None) => (CARRIER_TIMEOUT, Outcome::Unknown("no answer in time".to_owned())),
        };
        self.at(took, Event::Told(Box::new(Input::Told { channel, notice, nth, outcome })));
    }

    fn apply(&mut self, table: RoutingTable) {
        if !self.traffic_answers || table.epoch < self.table.epoch {
            return;
        }
        let (process, epoch) = (LOCAL_PROCESS.to_owned(), table.epoch);
        if let Some(reason) = self.traffic_refuses.clone() {
            return self.tell(Input::RouteRefused { process, epoch, reason });
        }
        self.table = table;
        self.tell(Input::RouteApplied { process, epoch });
    }

    fn ask(&mut self, ix: ProbeIx, at: Option<IpAddr>) {
        let plan = self.plan.clone();
        let probe = plan.probe(ix);
        let answer = self.answer(ix, at);
        let took = match &answer {
            Answer::TimedOut => probe.timing.timeout,
            Answer::Good | Answer::Refused(_) | Answer::Wrong(_) | Answer::CouldNotAsk(_) => {
                self.latency.get(&ix).copied().unwrap_or(ANSWER)
            }
        };
        // What takes longer than it may has not answered.
        let (answer, took) =
            if took > probe.timing.timeout { (Answer::TimedOut, probe.timing.timeout) } else { (answer, took) };
        let says =
            if answer == Answer::Good { probe.kind.reports_lag() } else { probe.kind.reports_lag_when_stopped() };
        let position = match probe.watches {
            Watches::Instance(instance) if says => self.reaches.get(&plan.instance(instance).name).cloned(),
            Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) | Watches::Route(_) => None,
        };
        let lag = match probe.watches {
            Watches::Instance(_) if position.is_some() => None,
            Watches::Instance(instance) if says => {
                self.lag.get(&plan.instance(instance).name).copied().unwrap_or(Some(Duration::ZERO))
            }
            Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) | Watches::Route(_) => None,
        };
        let role = match probe.watches {
            Watches::Instance(instance) if answer == Answer::Good && probe.kind.reports_role() => {
                self.roles.get(&plan.instance(instance).name).filter(|it| !it.is_empty()).cloned()
            }
            Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) | Watches::Route(_) => None,
        };
        let expiring = match probe.watches {
            Watches::Instance(it) if answer == Answer::Good && probe.kind.reports_expiry() => {
                let soon = self.expiring.contains(&plan.instance(it).name);
                soon.then(|| "its certificate is valid until Mon, 14 Dec 2026 10:00:00 GMT only".to_owned())
            }
            Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) | Watches::Route(_) => None,
        };
        let upkeep = match probe.watches {
            Watches::Instance(it) if answer == Answer::Good && probe.kind.reports_upkeep() => {
                let fails = self.unarchived.contains(&plan.instance(it).name);
                fails.then(|| "its log is not archived since 0000000100000000000000A7".to_owned())
            }
            Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) | Watches::Route(_) => None,
        };
        let (ended, concerns) = (self.now + took, Concerns { expiring, upkeep });
        let observation = Observation { probe: ix, started: self.now, ended, answer, lag, role, concerns, position };
        self.at(took, Event::Answer(observation));
    }

    fn answer(&self, ix: ProbeIx, at: Option<IpAddr>) -> Answer {
        if let Some(host) = self.plan.asks(self.plan.probe(ix)).map(|it| self.plan.host(it).name.clone())
            && let Some(since) = self.hosts.silent.get(&host)
        {
            return Answer::CouldNotAsk(format!("host {host} is silent for {:?}", self.now.since(*since)));
        }
        if let Some(answer) = self.probe_answers.get(&ix) {
            return answer.clone();
        }
        let plan = &self.plan;
        let (name, location) = match plan.probe(ix).watches {
            Watches::Instance(it) => (plan.instance(it).name.clone(), Some(&plan.instance(it).location)),
            Watches::Witness(it) => (plan.witness(it).name.clone(), Some(&plan.witness(it).location)),
            Watches::Control(it) => (crate::play::control_name(plan.control(it)), None),
            Watches::Route(it) => (format!("route {}", plan.route(it).name), None),
        };
        let elsewhere = |it: &Location| !plan.site.location.shares(it, FailureDomain::Host);
        if self.own_path_broken && location.is_some_and(elsewhere) {
            return Answer::TimedOut;
        }
        if let Watches::Instance(_) = plan.probe(ix).watches {
            return self.met(&name, at);
        }
        match (self.answers.get(&name), plan.probe(ix).watches) {
            (Some(answer), _) => answer.clone(),
            (None, Watches::Route(route)) => self.behind(route),
            (None, Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_)) => Answer::Good,
        }
    }

    /// What is met at an address of an instance, `None` being the plan's: nobody is where it is not, but for an old self.
    fn met(&self, name: &str, at: Option<IpAddr>) -> Answer {
        match (self.homes.get(name).copied() == at, at, self.ghosts.contains(name)) {
            (true, _, _) => self.answers.get(name).cloned().unwrap_or(Answer::Good),
            (false, None, true) => Answer::Good,
            (false, _, _) => Answer::Refused("nobody is there".to_owned()),
        }
    }

    /// What a client of the route meets: the proxy goes on to the next target that it may try when one refuses.
    fn behind(&self, route: RouteIx) -> Answer {
        let refused = || Answer::Refused("connection refused".to_owned());
        let name = &self.plan.route(route).name;
        let Some(entry) = self.table.routes.iter().find(|it| it.name == *name && self.traffic_answers) else {
            return refused();
        };
        let planned = self.plan.route(route);
        let elsewhere = |it: &TargetEntry| {
            let plans = planned.targets.iter().find(|its| self.plan.instance(its.instance).name == it.instance);
            Some(it.address.ip()).filter(|ip| plans.is_none_or(|its| its.address.ip() != *ip))
        };
        let all_in = |state| entry.targets.iter().filter(move |it| it.state == state);
        let fails_open = !entry.exclusive && all_in(TargetState::Serving).next().is_none();
        let open = all_in(if fails_open { TargetState::Down } else { TargetState::Serving });
        let answers = open.map(|it| self.met(&it.instance, elsewhere(it)));
        let mut tried = answers.skip_while(|it| matches!(it, Answer::Refused(_)));
        tried.next().unwrap_or_else(refused)
    }

    fn act(&mut self, order: &Order) {
        if let Some((at, outcome)) = self.hosts.ends(&self.plan, order, self.now) {
            self.at(at.since(self.now), Event::Done(order.clone()));
            self.at(at.since(self.now), Event::Ended(order.step, outcome));
            return;
        }
        let is_refused = order.needs_lease && !self.hosts.holds(&self.plan, &order.instance, self.now);
        if is_refused {
            let why = format!("{} does not hold the lease", order.instance);
            self.at(ANSWER, Event::Ended(order.step, Outcome::Failed(why)));
            return;
        }
        let named = self.actions.get(&Some(order.instance.clone())).or_else(|| self.actions.get(&None)).cloned();
        let brings = order.action.reports_address().then(|| self.next_address.take().unwrap_or_else(|| self.brought()));
        let (outcome, done) = match self.next_action.take().or(named) {
            None => (Some(Outcome::Done), true),
            Some(Ends::With(outcome)) => (Some(outcome), false),
            Some(Ends::Never) => (None, false),
            Some(Ends::WithoutEffect) => (Some(Outcome::Done), false),
            Some(Ends::Losing(transactions)) => (Some(Outcome::DoneLosing(self.lost(transactions))), true),
            Some(Ends::UnknownButDone(why)) => (Some(Outcome::Unknown(why)), true),
        };
        let late = self.action_takes > order.timeout;
        let (took, outcome) = match outcome {
            Some(_) if late => (order.timeout, Some(Outcome::Unknown("no answer in time".to_owned()))),
            outcome => (self.action_takes, outcome),
        };
        let outcome = match (outcome, brings.as_deref().map(|it| read_address(Some(it)))) {
            (Some(Outcome::Done), Some(Ok(address))) if done => Some(Outcome::DoneAt(address)),
            (Some(Outcome::Done), Some(Err(why))) if done => Some(Outcome::Unknown(why)),
            (outcome, _) => outcome,
        };
        if let Some(address) = brings.filter(|_| done).map(|it| it.parse().unwrap_or(UNTOLD)) {
            self.arriving.insert(order.step, address);
        }
        if done {
            self.at(self.action_takes, Event::Done(order.clone()));
        }
        if let Some(outcome) = outcome {
            self.at(took, Event::Ended(order.step, outcome));
        }
    }

    /// What was written in the last second, a hundred bytes each.
    fn lost(&self, transactions: u64) -> LostWrites {
        let last = self.now.as_nanos() / 1_000_000_000;
        let committed = Some((last.saturating_sub(1), last)).filter(|_| transactions > 0);
        LostWrites { bytes: transactions * 100, transactions, committed, kept_at: Some("/srv/lost".into()) }
    }

    fn brought(&mut self) -> String {
        self.brought += 1;
        format!("10.9.0.{}", self.brought)
    }

    /// What an action does to its server.
    fn change(&mut self, order: &Order) {
        let repairs = self.engine().is_some_and(|it| it.state().open_repair(order.step.recovery).is_some());
        if repairs {
            self.roles.insert(order.instance.clone(), "standby".to_owned());
            self.answers.remove(&order.instance);
            return;
        }
        self.make_active(order);
        let name = &order.instance;
        if let Some(address) = self.arriving.remove(&order.step) {
            self.homes.insert(name.clone(), address);
            self.answers.remove(name);
            return;
        }
        let runs = match &order.action {
            Action::Service { op: ServiceOp::Start | ServiceOp::Restart, .. } => true,
            Action::Service { op: ServiceOp::Stop | ServiceOp::Kill, .. } | Action::EndLease { .. } => false,
            Action::Command { .. } | Action::TriggerFile { .. } | Action::Webhook { .. } | Action::Postgres(_) => {
                let builds_anew = matches!(
                    self.strategy_of(order),
                    Some(Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut)
                );
                let cold = |it: InstanceIx| self.plan.instance(it).temperature == Temperature::Cold;
                if !builds_anew && !self.plan.instance_named(name).is_some_and(cold) {
                    return;
                }
                true
            }
        };
        if runs {
            self.answers.remove(name);
        } else {
            self.answers.insert(name.clone(), Answer::Refused("connection refused".to_owned()));
        }
    }

    /// A move's own actions make the new owner active and the old one a standby; an undo makes a standby, too.
    fn make_active(&mut self, order: &Order) {
        if let Action::Service { .. } | Action::EndLease { .. } = order.action {
            return;
        }
        let state = self.engine().map(Engine::state);
        let open = state.and_then(|it| Some((it, it.open_recovery(order.step.recovery)?)));
        let Some((to, from)) = open.and_then(|(state, it)| Some((state.play(it)?.to, it.progress.as_ref()?.from)))
        else {
            return;
        };
        let is_new = self.plan.instance(to).name == order.instance && !order.key.contains("/undo/");
        if to != from || !is_new {
            self.roles.insert(order.instance.clone(), if is_new { "active" } else { "standby" }.to_owned());
        }
    }

    fn strategy_of(&self, order: &Order) -> Option<Strategy> {
        let recovery = self.engine()?.state().open_recovery(order.step.recovery)?;
        Some(self.plan.component(recovery.component).ladder.get(order.step.rung)?.strategy)
    }
}

fn roles_at_first(plan: &Plan) -> BTreeMap<String, String> {
    let original = |it: InstanceIx| plan.component(plan.instance(it).component).original() == it;
    let role = |it: InstanceIx| if original(it) { "active" } else { "standby" }.to_owned();
    let all = (0u32..).map(InstanceIx).take(plan.instances.len());
    all.map(|it| (plan.instance(it).name.clone(), role(it))).collect()
}
