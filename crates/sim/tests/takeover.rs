//! The takeover protocol (lease, epoch, fence, route), searched in full within bounds: two agents over the real engine, a store
//! that grants one lease, one crash, one partition and one late message, in every order and at every moment of a clock that
//! goes in steps of a second. States that were seen are not searched again.
//!
//! `leases.rs` plays the same two agents by chance, with clocks that run apart, in steps of 20 ms.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::codec::{decode, encode};
use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::lease::Role;
use mainstay_engine::planted::{Fault, plant};
use mainstay_engine::record::ReportedTarget;
use mainstay_engine::state::LOCAL_PROCESS;
use mainstay_engine::{Body, Engine, Input, Record};
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::{Answer, Concerns, Observation};
use mainstay_plan::probe::Watches;
use mainstay_plan::routing::{RoutingTable, TargetState};
use mainstay_plan::{Plan, Time};

const COORDINATED: &str = "
agents:
  ops-2: { role: successor, region: r1, zone: z2, host: ops-2 }
coordination:
  store: etcd
  location: { region: r1 }
  lease: { renew: 1s, expires: 4s, drift: 500ms }
";

const NAMES: [&str; 2] = ["ops", "ops-2"];
const EXPIRES: u64 = 4000;
/// One step of the clock, in milliseconds.
const STEP: u64 = 1000;
/// The component dies at the end of this step.
const DIES: u64 = 3;

/// What may go wrong on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Budget {
    crashes: u8,
    cuts: u8,
    delays: u8,
}

/// Something on its way to an agent, or from one to the world.
#[derive(Clone, Debug)]
enum Message {
    /// The store's answer.
    Grant {
        to: usize,
        epoch: u64,
        asked: Time,
    },
    Held {
        to: usize,
        by: usize,
        epoch: u64,
    },
    /// A table on its way to the traffic process.
    Table {
        from: usize,
        table: Box<RoutingTable>,
    },
    /// An order on its way to the host of the other agent.
    Order {
        from: usize,
        epoch: u64,
    },
}

#[derive(Clone, Debug)]
struct Agent {
    /// `None`: it has crashed.
    driver: Option<Driver>,
    journal: Vec<Record>,
    down_until: u64,
    cut_until: u64,
    mail: Vec<Input>,
    /// What the engine does not show: the newest grant, and when the store was asked.
    granted: Option<(u64, Time)>,
    asked: u64,
    /// FNV-1a over the journal.
    written: u64,
}

#[derive(Clone, Debug)]
struct Two {
    step: u64,
    left: Budget,
    /// Who holds the lease, until when, under which epoch.
    holder: Option<usize>,
    until: u64,
    epoch: u64,
    agents: [Agent; 2],
    table: RoutingTable,
    /// And in which step it arrives.
    sent: Vec<(u64, Message)>,
    /// The epochs under which something was done to the standby.
    promoted: Vec<u64>,
}

/// One thing that may happen in a step beside what has to.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Nothing,
    Crash { nth: usize, steps: u64 },
    Cut { nth: usize, steps: u64 },
    Delay { message: usize, steps: u64 },
}

impl Two {
    fn new(plan: &Arc<Plan>, left: Budget) -> Two {
        let agent = || Agent {
            driver: None,
            journal: Vec::new(),
            down_until: 0,
            cut_until: 0,
            mail: Vec::new(),
            granted: None,
            asked: 0,
            written: FNV,
        };
        let table = RoutingTable::empty(&plan.site.name);
        let agents = [agent(), agent()];
        Two { step: 0, left, holder: None, until: 0, epoch: 0, agents, table, sent: Vec::new(), promoted: Vec::new() }
    }

    fn ms(&self) -> u64 {
        self.step * STEP
    }

    fn now(&self) -> Time {
        Time::from_millis(1_000_000 + self.ms())
    }

    fn choices(&self) -> Vec<Choice> {
        let mut all = vec![Choice::Nothing];
        for nth in 0..2 {
            if self.left.crashes > 0 && self.agents[nth].driver.is_some() {
                all.extend([2, 7].map(|steps| Choice::Crash { nth, steps }));
            }
            if self.left.cuts > 0 {
                all.extend([2, 8].map(|steps| Choice::Cut { nth, steps }));
            }
        }
        if self.left.delays > 0 {
            for message in 0..self.sent.len() {
                all.extend([1, 3].map(|steps| Choice::Delay { message, steps }));
            }
        }
        all
    }

    /// One step: what was sent arrives, unless it is late; then both agents look, one after the other.
    fn go(&mut self, plan: &Arc<Plan>, choice: Choice, first: usize) -> Result<(), String> {
        self.step += 1;
        match choice {
            Choice::Nothing => {}
            Choice::Crash { nth, steps } => {
                self.left.crashes -= 1;
                let agent = &mut self.agents[nth];
                (agent.driver, agent.down_until) = (None, self.step + steps);
                agent.mail.clear();
            }
            Choice::Cut { nth, steps } => {
                self.left.cuts -= 1;
                self.agents[nth].cut_until = self.step + steps;
            }
            Choice::Delay { message, steps } => {
                self.left.delays -= 1;
                self.sent[message].0 = self.step + steps;
            }
        }
        for (at, message) in std::mem::take(&mut self.sent) {
            if at > self.step {
                self.sent.push((at, message));
            } else {
                self.arrives(message);
            }
        }
        for nth in [first, 1 - first] {
            self.start(plan, nth);
            self.look(plan, nth)?;
        }
        self.holds()
    }

    fn start(&mut self, plan: &Arc<Plan>, nth: usize) {
        if self.agents[nth].driver.is_some() || self.step < self.agents[nth].down_until {
            return;
        }
        let now = self.now();
        let folded: Vec<(u64, &Record)> = (1..).zip(&self.agents[nth].journal).collect();
        let engine = Engine::new(plan.clone(), ".", "test", folded, now).coordinated();
        self.agents[nth].driver = Some(Driver::new(engine));
        let (process, epoch) = (LOCAL_PROCESS.to_owned(), self.table.epoch);
        let targets = ReportedTarget::all_of(&self.table);
        self.agents[nth].mail.push(Input::TrafficServes { process, epoch, targets });
    }

    fn arrives(&mut self, message: Message) {
        match message {
            Message::Grant { to, epoch, asked } => {
                self.agents[to].granted = Some((epoch, asked));
                self.agents[to].mail.push(Input::LeaseGranted { epoch, asked });
            }
            Message::Held { to, by, epoch } => {
                self.agents[to].mail.push(Input::LeaseHeld { by: NAMES[by].to_owned(), epoch });
            }
            Message::Table { from, table } => {
                let (process, epoch) = (LOCAL_PROCESS.to_owned(), table.epoch);
                if table.epoch >= self.table.epoch {
                    self.table = *table;
                    self.agents[from].mail.push(Input::RouteApplied { process, epoch });
                } else {
                    let reason = "it is older than what is served".to_owned();
                    self.agents[from].mail.push(Input::RouteRefused { process, epoch, reason });
                }
            }
            Message::Order { from, epoch } => {
                let (from, what) = (NAMES[from].to_owned(), "promote".to_owned());
                let to = usize::from(from == NAMES[0]);
                self.agents[to].mail.push(Input::PeerOrder { from, epoch, what });
            }
        }
    }

    /// An agent takes its mail in, and everything that answers within the step answers.
    fn look(&mut self, plan: &Arc<Plan>, nth: usize) -> Result<(), String> {
        let now = self.now();
        let mut mail = std::mem::take(&mut self.agents[nth].mail);
        for _ in 0..40 {
            let Some(driver) = &mut self.agents[nth].driver else { return Ok(()) };
            let known = driver.engine().state().leadership.epoch;
            let turn = driver.turn(now, mail);
            mail = Vec::new();
            for encoded in turn.append.iter().map(encode) {
                let record = decode(&encoded).map_err(|it| it.to_string())?;
                if let Body::PeerOrder { epoch, taken: true, .. } = &record.body
                    && *epoch < known
                {
                    return Err(format!("S9: {} takes an order of epoch {epoch}, and knows of {known}", NAMES[nth]));
                }
                let agent = &mut self.agents[nth];
                agent.written = fnv(agent.written, &encoded.payload);
                agent.written = fnv(agent.written, &encoded.at_ns.to_le_bytes());
                agent.journal.push(record);
            }
            if !turn.append.is_empty() {
                mail.push(Input::Recorded(self.agents[nth].journal.len() as u64));
            }
            for todo in turn.todo {
                self.perform(plan, nth, todo, &mut mail)?;
            }
            if mail.is_empty() {
                return Ok(());
            }
        }
        Err(format!("L2: {} never comes to rest", NAMES[nth]))
    }

    fn perform(&mut self, plan: &Plan, nth: usize, todo: Todo, mail: &mut Vec<Input>) -> Result<(), String> {
        let (now, ms) = (self.now(), self.ms());
        if todo == Todo::AskLease {
            self.agents[nth].asked = ms;
        }
        match todo {
            Todo::Probe(ix, _) => {
                let name = match plan.probe(ix).watches {
                    Watches::Instance(it) => plan.instance(it).name.as_str(),
                    Watches::Witness(_) | Watches::Control(_) => "",
                    Watches::Route(_) => {
                        let targets = self.table.routes.first().map(|it| it.targets.as_slice()).unwrap_or_default();
                        targets.iter().find(|it| it.state == TargetState::Serving).map_or("", |it| it.instance.as_str())
                    }
                };
                let dead = self.step > DIES && name == "orders-db";
                let answer = if dead { Answer::Refused("connection refused".to_owned()) } else { Answer::Good };
                let lag = Some(Duration::ZERO);
                mail.push(Input::Observation(Observation {
                    probe: ix,
                    started: now,
                    ended: now,
                    answer,
                    lag,
                    role: None,
                    concerns: Concerns::NONE,
                    position: None,
                }));
            }
            Todo::Grant(_) => {}
            Todo::AskLease if self.step < self.agents[nth].cut_until => {
                mail.push(Input::StoreGone { reason: "no route to it".to_owned() });
            }
            Todo::AskLease => match self.holder {
                Some(by) if by != nth && ms < self.until => {
                    self.send(Message::Held { to: nth, by, epoch: self.epoch });
                }
                Some(_) | None => {
                    if self.holder != Some(nth) || ms >= self.until {
                        self.epoch += 1;
                    }
                    (self.holder, self.until) = (Some(nth), ms + EXPIRES);
                    self.send(Message::Grant { to: nth, epoch: self.epoch, asked: now });
                }
            },
            Todo::Act(order) => {
                self.may_act(nth, "does something")?;
                self.send(Message::Order { from: nth, epoch: order.epoch });
                self.promoted.push(order.epoch);
                mail.push(Input::Outcome { step: order.step, outcome: Outcome::Done });
            }
            Todo::Route(table) => {
                self.may_act(nth, "sends a table")?;
                self.send(Message::Table { from: nth, table: Box::new(table) });
            }
            Todo::HearTraffic(_) => {
                let (process, epoch) = (LOCAL_PROCESS.to_owned(), self.table.epoch);
                mail.push(Input::TrafficServes { process, epoch, targets: ReportedTarget::all_of(&self.table) });
            }
            Todo::Cancel(_) | Todo::Log(_) | Todo::Notify(_) => {}
        }
        Ok(())
    }

    fn send(&mut self, message: Message) {
        self.sent.push((self.step + 1, message));
    }

    fn may_act(&self, nth: usize, what: &str) -> Result<(), String> {
        let holds = self.holder == Some(nth) && self.ms() < self.until;
        let holder = self.holder.map(|it| NAMES[it]);
        if holds { Ok(()) } else { Err(format!("S1: {} {what}, and {holder:?} holds the lease", NAMES[nth])) }
    }

    /// Nobody who has just looked believes to have a lease that is another's, and no table has two owners.
    fn holds(&self) -> Result<(), String> {
        for (nth, agent) in self.agents.iter().enumerate() {
            let leads = agent.driver.as_ref().is_some_and(|it| it.engine().state().leadership.role == Role::Leader);
            if leads {
                self.may_act(nth, "believes to lead")?;
            }
        }
        let ascending = self.promoted.is_sorted();
        if !ascending {
            return Err(format!("S9: orders under the epochs {:?}", self.promoted));
        }
        self.table.validate().map_err(|it| format!("S1: {it}"))
    }

    /// Over all that decides what comes: the lasting state of an agent is its journal, and the rest is what it saw.
    fn hash(&self) -> u64 {
        let of = |it: &Agent| {
            let soft = it.driver.as_ref().map(|it| (it.engine().soft(), it.engine().next_wakeup()));
            let rest = (it.down_until, it.cut_until, &it.mail, it.granted, it.asked, it.written);
            format!("{rest:?} {soft:?}")
        };
        let both = self.agents.each_ref().map(of);
        let world =
            (self.step, self.left, self.holder, self.until, self.epoch, &self.table, &self.sent, &self.promoted);
        fnv(FNV, format!("{both:?} {world:?}").as_bytes())
    }
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn plan() -> Arc<Plan> {
    let text = include_str!("plans/database.yaml")
        .replace("idempotent: false", "idempotent: true")
        .replace("interval: 500ms, fast_interval: 200ms", "interval: 1s, fast_interval: 1s")
        .replace("fall: 3", "fall: 1");
    let compiled = mainstay_plan::config::compile("plan.yaml", &format!("{text}{COORDINATED}"), Path::new("/"));
    Arc::new(compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings)))
}

/// Every path of so many steps. How many states there are, how many paths ended, and the first path
/// on which something did not hold.
fn search(left: Budget, steps: u64) -> (usize, usize, Option<String>) {
    let plan = plan();
    let mut seen = BTreeSet::new();
    let mut layer = vec![(Two::new(&plan, left), String::new())];
    let mut states = 0;
    for _ in 0..steps {
        let mut next = Vec::new();
        for (two, path) in &layer {
            for choice in two.choices() {
                for (first, name) in NAMES.iter().enumerate() {
                    let mut then = two.clone();
                    let path = || format!("{path}\n{:>3}: {choice:?}, {name} first", two.step + 1);
                    if let Err(why) = then.go(&plan, choice, first) {
                        return (states, 0, Some(format!("{why}{}", path())));
                    }
                    if seen.insert(then.hash()) {
                        states += 1;
                        next.push((then, path()));
                    }
                }
            }
        }
        layer = next;
    }
    let serves = |it: &Two| {
        let targets = it.table.routes.first().map(|it| it.targets.as_slice()).unwrap_or_default();
        targets.iter().any(|it| it.state == TargetState::Serving && it.instance == "orders-db-b")
    };
    // Then nothing more goes wrong, until somebody has taken over.
    let ends = layer.len();
    for (mut two, path) in layer {
        for _ in 0..PATIENCE {
            if serves(&two) {
                break;
            }
            if let Err(why) = two.go(&plan, Choice::Nothing, 0) {
                return (states, ends, Some(format!("{why}{path}\n and then nothing more")));
            }
        }
        if !serves(&two) {
            return (states, ends, Some(format!("L1: nobody has taken over{path}\n and then nothing more")));
        }
    }
    (states, ends, None)
}

/// Until then things may go wrong.
const STEPS: u64 = 10;

/// So long after that somebody has to have taken over.
const PATIENCE: u64 = 40;

const CRASH_AND_CUT: Budget = Budget { crashes: 1, cuts: 1, delays: 0 };
const CUT_AND_DELAY: Budget = Budget { crashes: 0, cuts: 1, delays: 1 };

#[test]
fn whatever_comes_between_them_at_most_one_acts_and_one_takes_over() {
    for left in [CRASH_AND_CUT, CUT_AND_DELAY] {
        let (states, ends, wrong) = search(left, STEPS);
        eprintln!("{left:?}: {states} states, {ends} ends");
        assert_eq!(wrong, None);
        assert!(states > 1000, "it searched {states} states only");
    }
}

#[test]
fn the_search_finds_faults_in_the_protocol() {
    for (fault, left) in [
        (Fault::LeaseNeverOver, CRASH_AND_CUT),
        (Fault::LeaseCountedFromGrant, CUT_AND_DELAY),
        (Fault::LeaseEpochNotCompared, CUT_AND_DELAY),
    ] {
        plant(Some(fault));
        let (states, _, wrong) = search(left, STEPS);
        plant(None);
        let wrong = wrong.unwrap_or_else(|| panic!("{} is not found in {states} states", fault.word()));
        eprintln!("{}: after {states} states: {wrong}", fault.word());
    }
}
