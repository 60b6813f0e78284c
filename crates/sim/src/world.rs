//! The world: servers that die and hang, a disk that syncs late and loses what was not synced, a traffic process, and an
//! agent that can be killed between any two effects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::codec::{Encoded, decode};
use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::effect::{Line, Order, Telling};
use mainstay_engine::record::{ReportedTarget, StepRef};
use mainstay_engine::state::LOCAL_PROCESS;
use mainstay_engine::{Command, Engine, Input, Record};
use mainstay_plan::action::{Action, Outcome, Plane, ServiceOp};
use mainstay_plan::component::Temperature;
use mainstay_plan::control::ControlPlane;
use mainstay_plan::location::FailureDomain;
use mainstay_plan::observation::{Answer, Observation};
use mainstay_plan::probe::Watches;
use mainstay_plan::routing::{RoutingTable, TargetState};
use mainstay_plan::strategy::Strategy;
use mainstay_plan::{ComponentIx, InstanceIx, Plan, ProbeIx, RouteIx, Time};

use crate::broken::{Broken, Pace, WithoutDns, without_dns};
use crate::checkers::Checkers;
use crate::gray::{Gray, Grays};

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Answers.
    Up,
    /// Refuses.
    Dead,
    /// Accepts and never answers.
    Hung,
}

/// Where an agent is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// This record is durable; nothing that follows from it has happened.
    AfterRecord,
    /// This record was handed over, but the power went before it was synced: it is lost.
    BeforeSync,
    /// The action that this record (`step_started`) justifies was done, its outcome was not heard.
    BeforeOutcome,
}

/// A crash that waits for its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// At which record.
    pub seq: u64,
    /// Where.
    pub kind: CrashKind,
    /// How long until the agent is started again.
    pub down_for: Duration,
}

#[derive(Clone, Debug)]
enum Event {
    Wake,
    Answer(Box<Observation>),
    Synced,
    SecondFile(u64),
    /// What an action does to its server, whoever hears of it.
    Effect(String, Server),
    ActionEnded(StepRef, Outcome),
    Applied(RoutingTable),
    /// A message reaches somebody, whoever hears of it.
    Arrives(Box<Telling>),
    /// The host says what became of a message.
    Told(Box<Input>),
    StartAgent,
    Fault(Fault),
    Say(Command),
}

/// How long a message takes, and how long whoever carries it waits for an answer.
const CARRIED_IN: Duration = Duration::from_millis(50);
const CARRIER_TIMEOUT: Duration = Duration::from_secs(10);

/// How a notification channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// It carries.
    Works,
    /// It refuses.
    Fails,
    /// It accepts and never answers.
    Hangs,
}

/// Something that happens to the world.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A notification channel changes.
    Channel(String, Carrier),
    /// A server changes.
    Server(String, Server),
    /// The path from the agent to everything outside its own machine breaks, or is whole again.
    OwnPath(bool),
    /// The traffic process dies, or is back (with the table from its disk).
    Traffic(bool),
    /// The agent is stopped for a while, and wakes up late.
    AgentStops(Duration),
    /// How a standby's replication lags from now on.
    Lag(String, Option<Duration>),
    /// The next action has this outcome instead of what really happened to it.
    Outcome(Outcome),
    /// The agent's process is killed and started again later.
    AgentKilled(Duration),
    /// An instance or witness can't be asked (no descriptor, no route of ours), or can again.
    CannotAsk(String, bool),
    /// The journal can't be written any more, until the agent is started again.
    JournalLost,
    /// The agent reads another plan.
    Reload(Box<Plan>),
    /// From now on this is broken, and nothing else.
    Breaks(Box<Broken>),
    /// The agent's machine is gone, with the traffic process on it.
    AgentsMachineGone,
    /// A server is neither up nor down.
    Gray(Gray),
}

/// The world.
#[derive(Debug)]
pub struct World {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Now.
    pub now: Time,
    /// By instance or witness name.
    pub servers: BTreeMap<String, Server>,
    /// By instance name.
    pub lag: BTreeMap<String, Duration>,
    /// Every action that was really done: its key, and what.
    pub done: Vec<(String, String)>,
    /// Everything that was written into the log for people.
    pub told: Vec<Line>,
    /// Everything that reached somebody over a channel, whether the agent heard of that or not.
    pub arrived: Vec<Telling>,
    channels: BTreeMap<String, Carrier>,
    /// What the traffic process serves.
    pub table: RoutingTable,
    /// Checked after every step.
    pub checkers: Checkers,
    queue: BTreeMap<(Time, u64), Event>,
    ticket: u64,
    wake: Option<(Time, u64)>,
    driver: Option<Driver>,
    durable: Vec<Encoded>,
    unsynced: Vec<Encoded>,
    syncing: bool,
    in_flight: BTreeSet<ProbeIx>,
    traffic_up: bool,
    own_path_broken: bool,
    frozen_until: Option<Time>,
    late: Vec<Event>,
    crash: Option<Crash>,
    fake_outcome: Option<Outcome>,
    /// What becomes of the action of a record: `None`: nobody ever says; and whether it is done.
    scripted: BTreeMap<u64, (Option<Outcome>, bool)>,
    broken_commands: BTreeSet<String>,
    cannot_ask: BTreeSet<String>,
    journal_lost: bool,
    crashes: u32,
    broken: Broken,
    pace: Pace,
    agents_machine_gone: bool,
    grays: Grays,
}

impl World {
    /// All servers are up but the cold standbys; the agent starts at once. Nothing takes long.
    pub fn new(plan: Plan) -> World {
        World::at_pace(plan, Pace::Quick)
    }

    /// The same at another pace.
    pub fn at_pace(plan: Plan, pace: Pace) -> World {
        let plan = Arc::new(plan);
        let names = plan.instances.iter().map(|it| &it.name).chain(plan.witnesses.iter().map(|it| &it.name));
        let mut world = World {
            now: Time::from_millis(1_000_000),
            servers: names.map(|it| (it.clone(), at_first(&plan, it))).collect(),
            lag: plan.instances.iter().map(|it| (it.name.clone(), Duration::ZERO)).collect(),
            done: Vec::new(),
            told: Vec::new(),
            arrived: Vec::new(),
            channels: BTreeMap::new(),
            table: RoutingTable::empty(&plan.site.name),
            checkers: Checkers::new(&plan),
            queue: BTreeMap::new(),
            ticket: 0,
            wake: None,
            driver: None,
            durable: Vec::new(),
            unsynced: Vec::new(),
            syncing: false,
            in_flight: BTreeSet::new(),
            traffic_up: true,
            own_path_broken: false,
            frozen_until: None,
            late: Vec::new(),
            crash: None,
            fake_outcome: None,
            scripted: BTreeMap::new(),
            broken_commands: BTreeSet::new(),
            cannot_ask: BTreeSet::new(),
            journal_lost: false,
            crashes: 0,
            broken: Broken::default(),
            pace,
            agents_machine_gone: false,
            grays: Grays::default(),
            plan,
        };
        world.at(Duration::ZERO, Event::StartAgent);
        world
    }

    /// Kills the agent at a moment that comes by itself.
    pub fn crash_at(&mut self, crash: Crash) {
        self.crash = Some(crash);
    }

    /// The action that this record (`step_started`) justifies ends so, and is done or not.
    pub fn outcome_of(&mut self, seq: u64, outcome: Outcome, is_done: bool) {
        self.scripted.insert(seq, (Some(outcome), is_done));
    }

    /// Nobody ever says how the action that this record justifies ended, and it is not done.
    pub fn never_ends(&mut self, seq: u64) {
        self.scripted.insert(seq, (None, false));
    }

    /// A command with this program fails from now on, and so does what is done to a service by it.
    pub fn breaks_command(&mut self, program: &str) {
        self.broken_commands.insert(program.to_owned());
    }

    /// How often the agent was killed by [`World::crash_at`].
    pub fn crashes(&self) -> u32 {
        self.crashes
    }

    /// Lets something happen after a while.
    pub fn fault(&mut self, after: Duration, fault: Fault) {
        self.at(after, Event::Fault(fault));
    }

    /// Lets a server be gray from now on.
    pub fn suffer_gray(&mut self, gray: Gray) {
        self.grays.suffer(gray);
    }

    /// Lets an operator say something after a while. A command that is refused at that moment is a broken test.
    pub fn say(&mut self, after: Duration, command: Command) {
        self.at(after, Event::Say(command));
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(((at, ticket), _)) = self.queue.first_key_value()
            && *at <= until
        {
            let (at, ticket) = (*at, *ticket);
            let event = self.queue.remove(&(at, ticket)).expect("it was just seen");
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    /// The records on the disk.
    pub fn journal(&self) -> Vec<(u64, Record)> {
        (1..).zip(self.durable.iter().map(|it| decode(it).expect("what this engine wrote it can read"))).collect()
    }

    /// The records on the disk as they stand there.
    pub fn stored(&self) -> Vec<(u64, Encoded)> {
        (1..).zip(self.durable.iter().cloned()).collect()
    }

    /// The engine of the agent that runs.
    pub fn engine(&self) -> Option<&Engine> {
        self.driver.as_ref().map(Driver::engine)
    }

    /// Loses the journal: the agent dies and its disk is empty.
    pub fn lose_journal(&mut self, down_for: Duration) {
        self.durable.clear();
        self.checkers.forget_journal();
        self.kill(down_for);
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.ticket += 1;
        self.queue.insert((self.now + after, self.ticket), event);
    }

    fn happen(&mut self, event: Event) {
        if let Some(until) = self.frozen_until {
            let concerns_agent = !matches!(
                event,
                Event::Fault(_) | Event::StartAgent | Event::Synced | Event::Effect(..) | Event::Arrives(_)
            );
            if self.now < until && concerns_agent {
                self.late.push(event);
                return;
            }
            if self.now >= until {
                self.frozen_until = None;
                for late in std::mem::take(&mut self.late) {
                    self.happen(late);
                }
            }
        }
        match event {
            Event::Wake => self.turn(Vec::new()),
            Event::Answer(observation) => {
                if self.in_flight.remove(&observation.probe) {
                    let answered = Observation { ended: self.now, ..*observation };
                    self.turn(vec![Input::Observation(answered)]);
                }
            }
            Event::Synced if self.journal_lost => {}
            Event::Synced => self.synced(),
            Event::SecondFile(last) => self.turn(vec![Input::Recorded(last)]),
            Event::Effect(name, server) => {
                self.servers.insert(name, server);
            }
            Event::ActionEnded(step, outcome) => {
                let begun = self.checkers.begun_at(step);
                if self.strikes(CrashKind::BeforeOutcome, |seq| begun == Some(seq)) {
                    return;
                }
                self.turn(vec![Input::Outcome { step, outcome }]);
            }
            Event::Applied(table) => self.apply(table),
            Event::Arrives(telling) => self.arrived.push(*telling),
            Event::Told(input) => self.turn(vec![*input]),
            Event::StartAgent => self.start(),
            Event::Fault(fault) => self.suffer(fault),
            Event::Say(command) => {
                let driver = self.driver.as_ref().expect("an operator speaks to a running agent");
                driver.engine().check_command(&command, "operator").expect("the test says something acceptable");
                self.turn(vec![Input::Command { command, by: "operator".to_owned() }]);
            }
        }
    }

    fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Server(name, state) => {
                self.servers.insert(name, state);
            }
            Fault::Channel(name, carrier) => {
                self.channels.insert(name, carrier);
            }
            Fault::OwnPath(broken) => self.own_path_broken = broken,
            Fault::Traffic(up) => {
                self.traffic_up = up;
                if up {
                    self.greet_traffic();
                }
            }
            Fault::AgentStops(span) => {
                self.frozen_until = Some(self.now + span);
                self.at(span, Event::Wake);
            }
            Fault::Lag(name, lag) => {
                match lag {
                    Some(lag) => self.lag.insert(name, lag),
                    None => self.lag.remove(&name),
                };
            }
            Fault::Outcome(outcome) => self.fake_outcome = Some(outcome),
            Fault::AgentKilled(down_for) => self.kill(down_for),
            Fault::CannotAsk(name, cannot) => {
                if cannot {
                    self.cannot_ask.insert(name);
                } else {
                    self.cannot_ask.remove(&name);
                }
            }
            Fault::JournalLost => self.lose_disk(),
            Fault::Reload(plan) => self.reload(*plan),
            Fault::Breaks(broken) => self.broken = *broken,
            Fault::Gray(gray) => self.grays.suffer(gray),
            Fault::AgentsMachineGone => {
                self.agents_machine_gone = true;
                self.traffic_up = false;
                self.kill(Duration::ZERO);
            }
        }
    }

    /// What was not synced goes to the second file, and so does everything from here on.
    fn lose_disk(&mut self) {
        let Some(driver) = &self.driver else { return };
        let all = driver.engine().state().seq;
        self.journal_lost = true;
        let first = self.durable.len() as u64 + 1;
        let unsynced = std::mem::take(&mut self.unsynced);
        self.second_file(first, &unsynced);
        self.turn(vec![Input::JournalLost { reason: "the disk is gone".to_owned() }, Input::Recorded(all)]);
    }

    /// What is written there counts for this agent, and is not read by the next.
    fn second_file(&mut self, first_seq: u64, records: &[Encoded]) {
        for (seq, encoded) in (first_seq..).zip(records) {
            self.checkers.recorded(seq, &decode(encoded).expect("what this engine wrote it can read"));
        }
    }

    /// As the agent does it: a plan that the engine finds unfit is not used.
    fn reload(&mut self, plan: Plan) {
        if self.engine().is_some_and(|it| it.check_plan(&plan).is_err()) {
            return;
        }
        self.plan = Arc::new(plan);
        let names = self.plan.instances.iter().map(|it| &it.name).chain(self.plan.witnesses.iter().map(|it| &it.name));
        for name in names {
            self.servers.entry(name.clone()).or_insert_with(|| at_first(&self.plan, name));
            self.lag.entry(name.clone()).or_insert(Duration::ZERO);
        }
        self.checkers.plan_changed(&self.plan);
        let plan = self.plan.clone();
        self.turn(vec![Input::NewPlan { plan, base_dir: ".".to_owned() }]);
    }

    fn start(&mut self) {
        if self.agents_machine_gone {
            return;
        }
        let records = self.journal();
        let folded = records.iter().map(|(seq, record)| (*seq, record));
        let engine = Engine::new(self.plan.clone(), ".", "sim", folded, self.now);
        self.driver = Some(Driver::new(engine));
        self.checkers.agent_started();
        if self.traffic_up {
            self.greet_traffic();
        }
        self.turn(Vec::new());
    }

    fn greet_traffic(&mut self) {
        let targets = ReportedTarget::all_of(&self.table);
        let epoch = self.table.epoch;
        self.turn(vec![Input::TrafficServes { process: LOCAL_PROCESS.to_owned(), epoch, targets }]);
    }

    fn kill(&mut self, down_for: Duration) {
        self.driver = None;
        self.journal_lost = false;
        self.unsynced.clear();
        self.syncing = false;
        self.in_flight.clear();
        self.frozen_until = None;
        self.late.clear();
        // What the dead agent had asked for may still happen to the world, but nobody hears of it.
        self.queue.retain(|_, event| {
            matches!(event, Event::Fault(_) | Event::Say(_) | Event::Applied(_) | Event::Effect(..) | Event::Arrives(_))
        });
        self.at(down_for, Event::StartAgent);
    }

    /// Kills the agent if the awaited moment is this one.
    fn strikes(&mut self, kind: CrashKind, here: impl Fn(u64) -> bool) -> bool {
        let Some(crash) = self.crash.filter(|it| it.kind == kind && here(it.seq)) else { return false };
        self.crash = None;
        self.crashes += 1;
        self.kill(crash.down_for);
        true
    }

    fn turn(&mut self, inputs: Vec<Input>) {
        let Some(driver) = &mut self.driver else { return };
        let turn = driver.turn(self.now, inputs);
        let wake = driver.engine().next_wakeup();
        let last = turn.first_seq + turn.append.len() as u64;
        if self.journal_lost {
            if !turn.append.is_empty() {
                self.second_file(turn.first_seq, &turn.append);
                self.at(Duration::ZERO, Event::SecondFile(last - 1));
            }
        } else {
            self.unsynced.extend(turn.append);
        }
        if self.strikes(CrashKind::BeforeSync, |seq| (turn.first_seq..last).contains(&seq)) {
            return;
        }
        if !self.unsynced.is_empty() && !self.syncing {
            self.syncing = true;
            self.at(self.pace.sync(&self.plan), Event::Synced);
        }
        for todo in turn.todo {
            self.perform(todo);
        }
        self.checkers.after_step(&self.table);
        self.wake_at(wake.map(|it| it.0));
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

    fn synced(&mut self) {
        let before = self.durable.len() as u64;
        self.durable.append(&mut self.unsynced);
        self.syncing = false;
        let now_durable = self.durable.len() as u64;
        for (seq, encoded) in (before + 1..).zip(&self.durable[usize::try_from(before).expect("fits")..]) {
            self.checkers.recorded(seq, &decode(encoded).expect("what this engine wrote it can read"));
        }
        if self.strikes(CrashKind::AfterRecord, |seq| (before + 1..=now_durable).contains(&seq)) {
            return;
        }
        self.turn(vec![Input::Recorded(now_durable)]);
    }

    fn perform(&mut self, todo: Todo) {
        match todo {
            Todo::Probe(probe) => self.ask(probe),
            Todo::Act(order) => self.act(order),
            Todo::Cancel(step) => {
                self.queue.retain(|_, it| !matches!(it, Event::ActionEnded(of, _) if *of == step));
            }
            Todo::Route(table) => {
                self.checkers.ordered(&table);
                if self.traffic_up {
                    self.at(self.pace.apply(&self.plan), Event::Applied(table));
                }
            }
            // One agent alone asks no store.
            Todo::AskLease => {}
            Todo::Log(line) => self.told.push(line),
            Todo::Notify(telling) => self.carry(telling),
        }
    }

    fn carry(&mut self, telling: Telling) {
        self.checkers.told(&telling);
        let (took, outcome) = match self.channels.get(&telling.channel).copied().unwrap_or(Carrier::Works) {
            Carrier::Works => (CARRIED_IN, Outcome::Done),
            Carrier::Fails => (CARRIED_IN, Outcome::Failed("connection refused".to_owned())),
            Carrier::Hangs => (CARRIER_TIMEOUT, Outcome::Unknown("no answer in time".to_owned())),
        };
        if outcome == Outcome::Done {
            self.at(took, Event::Arrives(Box::new(telling.clone())));
        }
        let Telling { channel, notice, nth, .. } = telling;
        self.at(took, Event::Told(Box::new(Input::Told { channel, notice, nth, outcome })));
    }

    fn apply(&mut self, table: RoutingTable) {
        if !self.traffic_up || table.epoch < self.table.epoch {
            return;
        }
        self.checkers.applied(&table);
        let epoch = table.epoch;
        self.table = table;
        self.turn(vec![Input::RouteApplied { process: LOCAL_PROCESS.to_owned(), epoch }]);
    }

    fn ask(&mut self, ix: ProbeIx) {
        let plan = self.plan.clone();
        let probe = plan.probe(ix);
        let (server, lag) = match probe.watches {
            Watches::Instance(instance) => {
                let name = &plan.instance(instance).name;
                let server = self.servers[name];
                let reports = match server {
                    Server::Up => probe.kind.reports_lag(),
                    Server::Dead | Server::Hung => probe.kind.reports_lag_when_stopped(),
                };
                (server, reports.then(|| self.lag.get(name).copied()).flatten())
            }
            Watches::Witness(witness) => (self.servers[&plan.witness(witness).name], None),
            // A canary goes with its plane, and with its own name.
            Watches::Control(control) => (self.plane_of(plan.control(control)), None),
            Watches::Route(route) => (self.behind(route), None),
        };
        let names = if self.broken.dns { without_dns(&plan, probe) } else { WithoutDns::Works };
        let cut_off = self.own_path_broken && !self.is_local(probe.watches);
        let server = if cut_off || names == WithoutDns::TimesOut { Server::Hung } else { server };
        let name = match probe.watches {
            Watches::Instance(instance) => plan.instance(instance).name.as_str(),
            Watches::Witness(witness) => plan.witness(witness).name.as_str(),
            Watches::Route(_) | Watches::Control(_) => "",
        };
        let unaskable = self.cannot_ask.contains(name);
        let server = self.grays.meets(name, probe, server);
        let takes = self.grays.takes(name, probe).unwrap_or(self.pace.answer(probe));
        let (answer, took) = match server {
            _ if unaskable => (Answer::CouldNotAsk("no descriptor is left".to_owned()), self.pace.refusal()),
            _ if names == WithoutDns::CannotAsk => {
                (Answer::CouldNotAsk("the name does not resolve".to_owned()), self.pace.refusal())
            }
            Server::Up => (Answer::Good, takes),
            Server::Dead => (Answer::Refused("connection refused".to_owned()), self.pace.refusal()),
            Server::Hung => (Answer::TimedOut, probe.timing.timeout),
        };
        let observation = Observation { probe: ix, started: self.now, ended: self.now + took, answer, lag };
        self.in_flight.insert(ix);
        self.at(took, Event::Answer(Box::new(observation)));
    }

    /// Whether what a probe watches is on the agent's own machine. Routes are served there, by whoever serves them.
    fn is_local(&self, watches: Watches) -> bool {
        let here = &self.plan.site.location;
        let local = |instance: InstanceIx| here.shares(&self.plan.instance(instance).location, FailureDomain::Host);
        match watches {
            Watches::Instance(instance) => local(instance),
            Watches::Witness(witness) => here.shares(&self.plan.witness(witness).location, FailureDomain::Host),
            Watches::Control(_) => false,
            Watches::Route(route) => {
                let open = self.open_to_clients(route);
                open.iter().filter_map(|it| self.plan.instance_named(it)).any(local)
            }
        }
    }

    /// How a control plane answers.
    fn plane_of(&self, control: &ControlPlane) -> Server {
        let named = self.servers.get(&format!("{} in {}", control.service, control.region)).copied();
        match self.broken.planes.contains(&control.plane) {
            true if self.broken.hangs => Server::Hung,
            true => Server::Dead,
            false => named.unwrap_or(Server::Up),
        }
    }

    /// What a client of the route meets: the proxy goes on to the next target that it may try when one refuses.
    fn behind(&self, route: RouteIx) -> Server {
        let open = self.traffic_up.then(|| self.open_to_clients(route)).into_iter().flatten();
        open.map(|it| self.servers[it]).find(|it| *it != Server::Dead).unwrap_or(Server::Dead)
    }

    /// The instances that clients of a route may reach: those that serve, and on a shared route where none does those that
    /// are down, because it fails open.
    pub fn open_to_clients(&self, route: RouteIx) -> Vec<&str> {
        let name = &self.plan.route(route).name;
        let Some(entry) = self.table.routes.iter().find(|it| it.name == *name) else { return Vec::new() };
        let all_in = |state: TargetState| {
            entry.targets.iter().filter(move |it| it.state == state).map(|it| it.instance.as_str()).collect()
        };
        let serving: Vec<&str> = all_in(TargetState::Serving);
        if serving.is_empty() && !entry.exclusive { all_in(TargetState::Down) } else { serving }
    }

    fn act(&mut self, order: Order) {
        self.checkers.acted(&order);
        let rung = self.rung_of(&order);
        let step = self.engine().and_then(|it| it.state().running(order.step));
        // Whatever its own plane is: to start a cold standby needs one.
        let takes_over = matches!(rung, Some((_, _, Strategy::FailoverToStandby)));
        let is_stopped = is_cold(&self.plan, &order.instance) && self.servers[&order.instance] != Server::Up;
        let cannot_start = takes_over && is_stopped && self.broken.planes.contains(&Plane::RegionalControl);
        let needs = step.and_then(|it| it.control).map(|it| self.plane_of(self.plan.control(it)));
        let plane_down = needs.is_some_and(|it| it != Server::Up);
        let broken = cannot_start || plane_down || self.broken.breaks(&order.instance, &order.action, rung, step);
        let what = match &order.action {
            Action::Service { op, .. } => format!("{} {}", op.word(), order.instance),
            Action::Command { argv, .. } => argv.join(" "),
            Action::TriggerFile { path, .. } => format!("write {}", path.display()),
            Action::Webhook { url, .. } => format!("call {url}"),
        };
        let effect = match &order.action {
            Action::Service { op, .. } => Some(match op {
                ServiceOp::Start | ServiceOp::Restart => Server::Up,
                ServiceOp::Stop | ServiceOp::Kill => Server::Dead,
            }),
            Action::Command { .. } | Action::TriggerFile { .. } | Action::Webhook { .. } => match rung {
                Some((_, _, Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut)) => {
                    Some(Server::Up)
                }
                // Whatever else it does, the activation of a cold standby starts it.
                Some((_, _, Strategy::FailoverToStandby)) if is_cold(&self.plan, &order.instance) => Some(Server::Up),
                Some((_, _, Strategy::RestartService | Strategy::FailoverToStandby)) | None => None,
            },
        };
        if let Some((outcome, is_done)) = self.checkers.begun_at(order.step).and_then(|it| self.scripted.remove(&it)) {
            if is_done {
                self.done.push((order.key.clone(), what));
                if let Some(effect) = effect {
                    self.at(Duration::ZERO, Event::Effect(order.instance.clone(), effect));
                }
            }
            if let Some(outcome) = outcome {
                self.at(self.pace.action(order.timeout), Event::ActionEnded(order.step, outcome));
            }
            return;
        }
        if !self.is_broken(&order.action) {
            self.done.push((order.key.clone(), what));
        }
        let broken = broken || self.is_broken(&order.action);
        if broken {
            let (outcome, took) = if self.broken.hangs {
                (Outcome::Unknown("no answer in time".to_owned()), order.timeout)
            } else {
                (Outcome::Failed("it can't be reached".to_owned()), self.pace.refusal())
            };
            self.at(took, Event::ActionEnded(order.step, outcome));
            return;
        }
        let took = self.pace.action(order.timeout);
        if let Some(effect) = effect {
            self.at(self.pace.effect(order.timeout), Event::Effect(order.instance.clone(), effect));
        }
        let outcome = self.fake_outcome.take().unwrap_or(Outcome::Done);
        self.at(took, Event::ActionEnded(order.step, outcome));
    }

    fn is_broken(&self, action: &Action) -> bool {
        let program = match action {
            Action::Command { argv, .. } => argv.first(),
            Action::Service { service: mainstay_plan::action::Service::Declared { start, .. }, op } => {
                start.first().filter(|_| matches!(op, ServiceOp::Start | ServiceOp::Restart))
            }
            Action::Service { .. } | Action::TriggerFile { .. } | Action::Webhook { .. } => None,
        };
        program.is_some_and(|it| self.broken_commands.contains(it))
    }

    /// The rung that an order belongs to.
    fn rung_of(&self, order: &Order) -> Option<(ComponentIx, usize, Strategy)> {
        let recovery = self.engine()?.state().open_recovery(order.step.recovery)?;
        if recovery.planned().is_some() {
            return Some((recovery.component, usize::MAX, Strategy::FailoverToStandby));
        }
        let rung = self.plan.component(recovery.component).ladder.get(order.step.rung)?;
        Some((recovery.component, order.step.rung, rung.strategy))
    }
}

fn is_cold(plan: &Plan, name: &str) -> bool {
    plan.instance_named(name).is_some_and(|it| plan.instance(it).temperature == Temperature::Cold)
}

fn at_first(plan: &Plan, name: &str) -> Server {
    if is_cold(plan, name) { Server::Dead } else { Server::Up }
}
