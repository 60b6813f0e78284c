//! Two agents, a store that grants one lease, and everything that can come between them: partitions, agents that sleep, clocks
//! that run apart, answers that come late. At no moment do two act, and none acts outside its lease.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::codec::{Encoded, decode, encode};
use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::lease::Role;
use mainstay_engine::record::ReportedTarget;
use mainstay_engine::replay::replay;
use mainstay_engine::state::LOCAL_PROCESS;
use mainstay_engine::{Body, Engine, Input, Record};
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::{Answer, Concerns, Health, Observation};
use mainstay_plan::probe::Watches;
use mainstay_plan::routing::RoutingTable;
use mainstay_plan::{Plan, Time};

const COORDINATED: &str = "
agents:
  ops-2: { role: successor, region: r1, zone: z2, host: ops-2 }
coordination:
  store: etcd
  location: { region: r1 }
  lease: { renew: 1s, expires: 5s, drift: 500ms }
";

const NAMES: [&str; 2] = ["ops", "ops-2"];

/// Between two looks at everybody.
const STEP: u64 = 20;

/// SplitMix64, as in `schedules.rs`.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The store, which has the true time.
#[derive(Default)]
struct Store {
    epoch: u64,
    holder: Option<usize>,
    until_ms: u64,
}

impl Store {
    fn ask(&mut self, agent: usize, now_ms: u64, expires_ms: u64) -> Result<u64, (usize, u64)> {
        match self.holder {
            Some(holder) if holder != agent && now_ms < self.until_ms => return Err((holder, self.epoch)),
            Some(holder) if holder == agent && now_ms < self.until_ms => {}
            Some(_) | None => self.epoch += 1,
        }
        self.holder = Some(agent);
        self.until_ms = now_ms + expires_ms;
        Ok(self.epoch)
    }
}

struct Agent {
    driver: Driver,
    journal: Vec<Encoded>,
    /// What its clock is ahead, and how fast it runs, in parts per thousand.
    ahead_ms: u64,
    rate: u64,
    asleep_until: u64,
    cut_off: bool,
    /// By the true time: what comes in.
    mail: BTreeMap<(u64, u64), Input>,
    acted: u64,
}

struct Two {
    plan: Arc<Plan>,
    now_ms: u64,
    store: Store,
    agents: Vec<Agent>,
    dead: Vec<String>,
    table: RoutingTable,
    ticket: u64,
    promoted: u64,
}

impl Two {
    fn new(plan: Plan, clocks: [(u64, u64); 2]) -> Two {
        let plan = Arc::new(plan);
        let agent = |(ahead_ms, rate): (u64, u64)| {
            let now = Time::from_millis(1_000_000 + ahead_ms);
            let none: Vec<(u64, &Record)> = Vec::new();
            let engine = Engine::new(plan.clone(), ".", "test", none, now).coordinated();
            Agent {
                driver: Driver::new(engine),
                journal: Vec::new(),
                ahead_ms,
                rate,
                asleep_until: 0,
                cut_off: false,
                mail: BTreeMap::new(),
                acted: 0,
            }
        };
        let table = RoutingTable::empty(&plan.site.name);
        let agents = clocks.into_iter().map(agent).collect();
        let mut two =
            Two { plan, now_ms: 0, store: Store::default(), agents, dead: Vec::new(), table, ticket: 0, promoted: 0 };
        for nth in 0..2 {
            two.greet(nth);
        }
        two
    }

    fn clock(&self, nth: usize) -> Time {
        let agent = &self.agents[nth];
        Time::from_millis(1_000_000 + agent.ahead_ms + self.now_ms * agent.rate / 1000)
    }

    fn post(&mut self, nth: usize, after_ms: u64, input: Input) {
        self.ticket += 1;
        let at = (self.now_ms + after_ms, self.ticket);
        self.agents[nth].mail.insert(at, input);
    }

    fn greet(&mut self, nth: usize) {
        let (process, epoch) = (LOCAL_PROCESS.to_owned(), self.table.epoch);
        let targets = ReportedTarget::all_of(&self.table);
        self.post(nth, 1, Input::TrafficServes { process, epoch, targets });
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / STEP {
            self.now_ms += STEP;
            for nth in 0..2 {
                if self.now_ms < self.agents[nth].asleep_until {
                    continue;
                }
                let rest = self.agents[nth].mail.split_off(&(self.now_ms + 1, 0));
                let mail = std::mem::replace(&mut self.agents[nth].mail, rest);
                self.turn(nth, mail.into_values().collect());
            }
        }
    }

    fn turn(&mut self, nth: usize, inputs: Vec<Input>) {
        let mut inputs = inputs;
        loop {
            let now = self.clock(nth);
            let agent = &mut self.agents[nth];
            let turn = agent.driver.turn(now, inputs);
            let recorded = !turn.append.is_empty();
            agent.journal.extend(turn.append.iter().map(encode));
            let durable = agent.journal.len() as u64;
            for todo in turn.todo {
                self.perform(nth, todo);
            }
            if !recorded {
                return;
            }
            inputs = vec![Input::Recorded(durable)];
        }
    }

    fn perform(&mut self, nth: usize, todo: Todo) {
        match todo {
            Todo::Probe(ix, _) => {
                let started = self.clock(nth);
                let name = match self.plan.probe(ix).watches {
                    Watches::Instance(it) => self.plan.instance(it).name.clone(),
                    Watches::Witness(_) | Watches::Control(_) => String::new(),
                    Watches::Route(_) => self.table.routes.first().map_or_else(String::new, |route| {
                        let serving = mainstay_plan::routing::TargetState::Serving;
                        route
                            .targets
                            .iter()
                            .find(|it| it.state == serving)
                            .map(|it| it.instance.clone())
                            .unwrap_or_default()
                    }),
                };
                let answer = match self.dead.contains(&name) {
                    true => Answer::Refused("connection refused".to_owned()),
                    false => Answer::Good,
                };
                let ended = started + Duration::from_millis(2);
                let lag = Some(Duration::ZERO);
                self.post(
                    nth,
                    2,
                    Input::Observation(Observation {
                        probe: ix,
                        started,
                        ended,
                        answer,
                        lag,
                        role: None,
                        concerns: Concerns::NONE,
                        position: None,
                    }),
                );
            }
            Todo::Grant(_) => {}
            Todo::AskLease => {
                if self.agents[nth].cut_off {
                    self.post(nth, 300, Input::StoreGone { reason: "no route to it".to_owned() });
                    return;
                }
                let (asked, expires) = (self.clock(nth), 5000);
                match self.store.ask(nth, self.now_ms, expires) {
                    Ok(epoch) => self.post(nth, 40, Input::LeaseGranted { epoch, asked }),
                    Err((by, epoch)) => self.post(nth, 40, Input::LeaseHeld { by: NAMES[by].to_owned(), epoch }),
                }
            }
            Todo::Act(order) => {
                self.acts(nth, order.epoch);
                assert_eq!(order.epoch, self.store.epoch, "{} orders under an old epoch", NAMES[nth]);
                self.promoted += 1;
                self.post(nth, 60, Input::Outcome { step: order.step, outcome: Outcome::Done });
            }
            Todo::Route(table) => {
                self.acts(nth, mainstay_lease_of(table.epoch));
                if table.epoch >= self.table.epoch {
                    self.table = table;
                    let (process, epoch) = (LOCAL_PROCESS.to_owned(), self.table.epoch);
                    self.post(nth, 5, Input::RouteApplied { process, epoch });
                }
            }
            Todo::HearTraffic(_) => self.greet(nth),
            Todo::Cancel(_) | Todo::Log(_) | Todo::Notify(_) => {}
        }
    }

    /// Whoever acts holds the lease at this very moment, by the store's own clock, and acts under its epoch.
    fn acts(&mut self, nth: usize, epoch: u64) {
        let (holder, until) = (self.store.holder, self.store.until_ms);
        assert_eq!(holder, Some(nth), "{} acts while {holder:?} holds the lease", NAMES[nth]);
        assert!(self.now_ms < until, "{} acts {} ms after its lease", NAMES[nth], self.now_ms - until);
        assert!(epoch <= self.store.epoch, "{} acts under an epoch that nobody was granted", NAMES[nth]);
        self.agents[nth].acted += 1;
    }

    fn role(&self, nth: usize) -> Role {
        self.agents[nth].driver.engine().state().leadership.role
    }

    fn replays(&self) {
        for agent in &self.agents {
            let stored = (1..).zip(agent.journal.iter().cloned());
            replay(stored, |_, _| Some((*self.plan).clone())).unwrap_or_else(|error| panic!("S10: {error}"));
        }
    }
}

/// As in the table's epoch: the lease, then the number of the table.
const fn mainstay_lease_of(epoch: u64) -> u64 {
    epoch >> 32
}

fn plan() -> Plan {
    let text = include_str!("plans/database.yaml").replace("idempotent: false", "idempotent: true");
    let compiled = mainstay_plan::config::compile("plan.yaml", &format!("{text}{COORDINATED}"), Path::new("/"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

#[test]
fn one_of_two_leads_and_recovers_while_the_other_only_observes() {
    let mut two = Two::new(plan(), [(0, 1000), (70_000, 1000)]);
    two.run(4000);
    let roles = [two.role(0), two.role(1)];
    assert!(roles.contains(&Role::Leader) && roles.contains(&Role::Follower), "{roles:?}");
    two.dead.push("orders-db".to_owned());
    two.run(6000);
    let leader = usize::from(two.role(1) == Role::Leader);
    assert_eq!(two.promoted, 1);
    assert_eq!(two.agents[1 - leader].acted, 0);
    assert!(two.agents[1 - leader].driver.engine().state().open_recoveries().next().is_none());
    two.replays();
}

#[test]
fn a_leader_that_sleeps_is_succeeded_and_lays_everything_down_when_it_wakes_up() {
    let mut two = Two::new(plan(), [(0, 1000), (70_000, 1000)]);
    two.run(4000);
    let leader = usize::from(two.role(1) == Role::Leader);
    two.agents[leader].asleep_until = two.now_ms + 20_000;
    two.dead.push("orders-db".to_owned());
    two.run(18_000);
    assert_eq!(two.role(1 - leader), Role::Leader);
    assert_eq!(two.promoted, 1);
    two.greet(leader);
    two.run(6000);
    assert_eq!(two.role(leader), Role::Follower);
    assert_eq!(two.promoted, 1, "it did again what its successor had done");
    two.replays();
}

#[test]
fn whoever_is_cut_off_from_the_store_does_nothing_and_says_so() {
    let mut two = Two::new(plan(), [(0, 1000), (70_000, 1000)]);
    two.run(4000);
    for agent in &mut two.agents {
        agent.cut_off = true;
    }
    two.run(8000);
    assert_eq!([two.role(0), two.role(1)], [Role::Alone, Role::Alone]);
    two.dead.push("orders-db".to_owned());
    two.run(10_000);
    assert_eq!(two.promoted, 0);
    for agent in &two.agents {
        let state = agent.driver.engine().state();
        let open = state.open_recoveries().next().expect("it is known to be down");
        let held = open.held.as_ref().map(|it| it.0.code());
        assert_eq!(held, Some("lease"));
    }
    for agent in &mut two.agents {
        agent.cut_off = false;
    }
    two.run(20_000);
    assert_eq!(two.promoted, 1);
    two.replays();
}

#[test]
fn whoever_is_alone_sends_no_table_with_an_exclusive_route_again() {
    let coordinated = format!("{COORDINATED}  alone: shared_only\n");
    let text = include_str!("plans/database.yaml");
    let compiled = mainstay_plan::config::compile("plan.yaml", &format!("{text}{coordinated}"), Path::new("/"));
    let mut two = Two::new(compiled.plan.expect("a valid plan"), [(0, 1000), (70_000, 1000)]);
    two.run(4000);
    for agent in &mut two.agents {
        agent.cut_off = true;
    }
    two.run(8000);
    assert_eq!([two.role(0), two.role(1)], [Role::Alone, Role::Alone]);
    let published = two.table.clone();
    assert!(published.epoch > 0);
    two.table = RoutingTable::empty("database");
    let acted = two.agents[0].acted + two.agents[1].acted;
    for nth in 0..2 {
        two.greet(nth);
    }
    two.run(1000);
    assert_eq!(two.agents[0].acted + two.agents[1].acted, acted);
    assert_eq!(two.table.epoch, 0);
    two.replays();
}

#[test]
fn something_critical_waits_for_another_agent_that_sees_it_down() {
    let text = include_str!("plans/database.yaml").replace("cool_down: 10s", "cool_down: 10s, observers: { need: 2 }");
    let compiled = mainstay_plan::config::compile("plan.yaml", &format!("{text}{COORDINATED}"), Path::new("/"));
    let mut two = Two::new(compiled.plan.expect("a valid plan"), [(0, 1000), (0, 1000)]);
    two.agents[1].cut_off = true;
    two.run(4000);
    two.dead.push("orders-db".to_owned());
    two.run(4000);
    let held = |two: &Two| {
        let state = two.agents[0].driver.engine().state();
        let open = state.open_recoveries().next().expect("it is open");
        open.held.as_ref().map(|it| it.0.to_string())
    };
    assert_eq!(held(&two).as_deref(), Some("1 of 2 agents see it down, and 2 must"));
    let says = |two: &mut Two, health| {
        let (agent, instance, asked) = ("ops-2".to_owned(), "orders-db".to_owned(), two.clock(0));
        two.post(0, 1, Input::PeerObserved { agent, instance, health, asked });
    };
    says(&mut two, Health::Healthy);
    two.run(1000);
    assert_eq!(held(&two).as_deref(), Some("ops-2 see it healthy"));
    assert_eq!(two.promoted, 0);
    says(&mut two, Health::Down);
    two.run(3000);
    assert_eq!(two.promoted, 1);
    two.replays();
}

#[test]
fn a_lower_epoch_is_refused_and_a_higher_one_ends_a_leadership() {
    let mut two = Two::new(plan(), [(0, 1000), (0, 1000)]);
    two.agents[1].cut_off = true;
    two.run(4000);
    assert_eq!(two.role(0), Role::Leader);
    let order = |epoch| Input::PeerOrder { from: "ops-2".to_owned(), epoch, what: "promote b".to_owned() };
    two.post(0, 1, order(0));
    two.run(200);
    assert_eq!(two.role(0), Role::Leader);
    two.post(0, 1, order(7));
    two.run(40);
    assert_eq!(two.role(0), Role::Candidate);
    let taken: Vec<bool> = (two.agents[0].journal.iter())
        .filter_map(|it| {
            let Body::PeerOrder { taken, .. } = decode(it).expect("it was written here").body else { return None };
            Some(taken)
        })
        .collect();
    assert_eq!(taken, [false, true]);
    two.replays();
}

#[test]
fn at_most_one_acts_whatever_comes_between_them() {
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let clock = |dice: &mut Dice| (dice.below(100_000), 970 + dice.below(61));
        let mut two = Two::new(plan(), [clock(&mut dice), clock(&mut dice)]);
        two.run(3000);
        for _ in 0..12 {
            let nth = usize::try_from(dice.below(2)).expect("small");
            match dice.below(6) {
                0 => two.agents[nth].cut_off = true,
                1 => two.agents[nth].cut_off = false,
                2 => two.agents[nth].asleep_until = two.now_ms + dice.below(12_000),
                3 => two.dead.push(["orders-db", "orders-db-b"][nth].to_owned()),
                4 => two.dead.clear(),
                _ => two.greet(nth),
            }
            let pause = dice.below(5000);
            two.run(pause);
        }
        for agent in &mut two.agents {
            agent.cut_off = false;
        }
        two.dead.clear();
        two.run(40_000);
        let roles = [two.role(0), two.role(1)];
        assert!(roles.contains(&Role::Leader) && roles.contains(&Role::Follower), "seed {seed}: {roles:?}");
        two.replays();
    }
}
