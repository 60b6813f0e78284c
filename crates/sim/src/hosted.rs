//! Trials with hosts: one agent, hosts on other machines that hold leases and serve routes, and all that can happen between them.
//! The connections break one way or both, or are slow; host processes and keepers are killed or stopped for longer than their lease;
//! machines lose power; the agent is killed or stopped; clocks run at different rates.
//!
//! They are drawn apart from the other trials, so that a seed of those keeps its meaning.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use mainstay_engine::replay::replay;
use mainstay_plan::observation::Health;
use mainstay_plan::{ComponentIx, Plan};

use crate::broken::Pace;
use crate::checkers::Checkers;
use crate::dice::Dice;
use crate::trial::{Coverage, Violation, caught, people};
use crate::world::{Fault, HostFault, HostTrouble, KEEPER_IS_MISSED, Server, Way, World};

/// One seed in so many has a trial with hosts.
const ONE_IN: u64 = 4;

/// The longest script.
const LONGEST: u64 = 8;

/// How long all may take to be well once everything works.
const HEALED: Duration = Duration::from_secs(300);

const LEASED: &str = include_str!("../../engine/tests/timelines/plans/leased.yaml");

/// The component may stay what it is without the agent.
const STAYS: [(&str, &str); 3] = [
    ("zone: z1 }\n  db-2", "zone: z1, peer_address: \"10.0.1.10:7401\" }\n  db-2"),
    ("zone: z2 }\ncomponents", "zone: z2, peer_address: \"10.0.2.10:7401\" }\ncomponents"),
    ("    rejoin: when_healthy\n", "    rejoin: when_healthy\n    on_agent_loss: hold\n"),
];

/// Names, and what is changed in the plan.
const VARIANTS: [(&str, &[(&str, &str)]); 7] = [
    ("leased, stays", &STAYS),
    (
        "leased, stays, three",
        &[
            STAYS[0],
            STAYS[1],
            STAYS[2],
            ("\ncomponents:", "\n  db-3: { region: r1, zone: z4, peer_address: \"10.0.4.10:7401\" }\ncomponents:"),
            (
                "standbys:\n",
                "standbys:\n  orders-db-c:\n    location: { region: r1, zone: z4, host: db-3 }\n    probes:\n      - http: { url: \"http://10.0.4.10:8008/\", interval: 500ms, fast_interval: 200ms, timeout: 200ms, fall: 3, rise: 2, lag_header: lag }\n    activate:\n      - command: { run: [promote, c], idempotent: true, timeout: 2s }\n    demote:\n      - command: { run: [demote, c], idempotent: true, timeout: 2s }\n",
            ),
            (
                "verify_within: 5s }\nstandbys",
                "verify_within: 5s }\n      - failover_to_standby: { standby: orders-db-c, verify_within: 5s }\nstandbys",
            ),
            (
                "\"10.0.2.10:5432\" }\n",
                "\"10.0.2.10:5432\" }\n      - { standby: orders-db-c, address: \"10.0.4.10:5432\" }\n",
            ),
        ],
    ),
    ("leased", &[]),
    (
        "leased, hosts serve",
        &[
            ("zone: z1 }\n  db-2", "zone: z1, serves: true }\n  db-2"),
            ("zone: z2 }\ncomponents", "zone: z2, serves: true }\ncomponents"),
        ],
    ),
    (
        "cut, hosts serve",
        &[
            ("zone: z1 }\n  db-2", "zone: z1, serves: true }\n  db-2"),
            ("zone: z2 }\ncomponents", "zone: z2, serves: true }\ncomponents"),
            (
                "exclusive: { fence: lease }",
                "exclusive: { fence: traffic_cut }\n    on_silence: { cut: { after: 8s } }",
            ),
        ],
    ),
    (
        "leased, without a proxy",
        &[
            ("    proxy: { listen: \"10.0.9.1:6432\" }\n", "    dns: { name: orders.db., ttl: 0s }\n"),
            ("state: ./state", "state: ./state\ntraffic: { dns: \"10.0.9.1:53\" }"),
        ],
    ),
    // So much that a keeper that stands still is replaced, and then stops by force what it keeps.
    ("leased, with time for another keeper", &[("demote: 2s", "demote: 4s")]),
];

macro_rules! kinds {
    ($($(#[doc = $about:literal])+ $name:ident = $word:literal,)+) => {
        /// A kind of what happens between an agent and its hosts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum TroubleKind {
            $($(#[doc = $about])+ $name,)+
        }

        impl TroubleKind {
            /// All of them.
            pub const ALL: &'static [TroubleKind] = &[$(TroubleKind::$name),+];

            /// The word for it.
            pub const fn word(self) -> &'static str {
                match self { $(TroubleKind::$name => $word,)+ }
            }
        }
    };
}

kinds! {
    /// A server dies, hangs or is back.
    Server = "server",
    /// A host's process is killed, and started again.
    HostKilled = "host-killed",
    /// A host's process is stopped, and goes on.
    HostStopped = "host-stopped",
    /// A keeper is stopped while its host runs.
    KeeperStopped = "keeper-stopped",
    /// Host and keeper are stopped, and what they keep goes on.
    Suspended = "host-and-keeper-stopped",
    /// A host's machine loses power.
    PowerCut = "host-loses-power",
    /// The way between a host and the agent is cut, or whole again.
    WayCut = "way-cut",
    /// It works in one direction alone, or is whole again.
    WayOneSided = "way-one-sided",
    /// It is slow, or as fast as ever.
    WaySlow = "way-slow",
    /// The paths between a host and the others are cut, or whole again.
    HostsApart = "hosts-apart",
    /// The agent reaches nothing at all, or everything again.
    AgentApart = "agent-apart",
    /// The clocks of hosts run at different rates.
    ClockDrift = "host-clock-drift",
    /// The agent is killed.
    AgentKilled = "agent-killed",
    /// The agent is stopped, and goes on.
    AgentStopped = "agent-stopped",
}

static PLANS: LazyLock<Vec<(&'static str, Arc<Plan>)>> = LazyLock::new(|| {
    let plan = |(name, changes): &(&'static str, &[(&str, &str)])| {
        let text = changes.iter().fold(LEASED.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{name}: the plan does not say {from}");
            text.replace(from, to)
        });
        let compiled = mainstay_plan::config::compile("plan.yaml", &text, Path::new("/"));
        (*name, Arc::new(compiled.plan.unwrap_or_else(|| panic!("{name}: {:#?}", compiled.findings))))
    };
    VARIANTS.iter().map(plan).collect()
});

/// A trial with hosts.
#[derive(Clone, Debug)]
pub struct Hosted {
    /// All of it follows from this.
    pub seed: u64,
    /// What its plan is called here.
    pub name: &'static str,
    plan: Arc<Plan>,
    /// How fast the clocks of its hosts run, in parts per thousand.
    rates: Vec<u32>,
    /// Whether what they guard runs on a leash.
    leashed: bool,
    /// What happens, and how long after the one before.
    pub script: Vec<(Duration, TroubleKind, Fault)>,
    /// What hosts or the book do wrong.
    pub wrong: Option<HostFault>,
}

/// What came of it.
#[derive(Debug)]
pub struct Ended {
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// How often a lease ended because its host let go, because it ran out, and because nobody held it.
    pub lease_ends: [u64; 3],
    /// How often a lease went on by the word of other hosts.
    pub agreements: u64,
    /// Recoveries that ended.
    pub recoveries: u64,
    /// What was reached.
    pub coverage: Coverage,
}

impl Hosted {
    /// The trial with hosts that a seed has, if it has one.
    pub fn of(seed: u64) -> Option<Hosted> {
        let mut dice = Dice::named(seed, "hosts");
        dice.once_in(ONE_IN).then(|| Hosted::drawn(seed, &mut dice))
    }

    /// Draws one for this seed, whether it has one or not.
    pub fn drawn(seed: u64, dice: &mut Dice) -> Hosted {
        let nth = usize::try_from(dice.below(VARIANTS.len() as u64)).unwrap_or(0);
        Hosted::on(PLANS[nth].0, seed, dice)
    }

    /// Draws one on the plan of this name.
    ///
    /// # Panics
    /// If there is no such plan.
    pub fn on(name: &str, seed: u64, dice: &mut Dice) -> Hosted {
        // Few kinds together go deeper than all of them at once.
        let share = 1 + dice.below(3);
        let kinds = TroubleKind::ALL.iter().copied().filter(|_| dice.once_in(share)).collect();
        Hosted::among(name, seed, kinds, dice)
    }

    /// Draws one on the plan of this name, with these kinds of trouble, as far as the plan can stand them, and the failure of servers.
    ///
    /// # Panics
    /// If there is no such plan.
    pub fn among(name: &str, seed: u64, mut kinds: BTreeSet<TroubleKind>, dice: &mut Dice) -> Hosted {
        let (name, plan) = PLANS.iter().find(|it| it.0 == name).expect("there is such a plan").clone();
        let leashed = dice.once_in(2);
        kinds.insert(TroubleKind::Server);
        let stays = stays(&plan);
        if !stays {
            // It is there for those alone who may stay by the word of others.
            kinds.remove(&TroubleKind::HostsApart);
            kinds.remove(&TroubleKind::AgentApart);
        }
        if !leashed {
            what_nothing_could_end(&plan, &mut kinds);
        }
        let drifts = kinds.remove(&TroubleKind::ClockDrift);
        // 8 s of a lease and its end, and 200 ms of drift: 2.4 %.
        let rate = |dice: &mut Dice| 980 + u32::try_from(dice.below(41)).unwrap_or(0);
        let rates = plan.hosts.iter().map(|_| if drifts { rate(dice) } else { 1000 }).collect();
        let kinds: Vec<TroubleKind> = kinds.into_iter().collect();
        let mut script = Vec::new();
        for _ in 0..=dice.below(LONGEST) {
            let after = if dice.once_in(3) { dice.millis(20_000) } else { dice.millis(3_000) };
            let kind = dice.pick(&kinds).expect("servers fail at least");
            script.push((after, kind, fault(kind, dice, &plan)));
        }
        if stays && dice.once_in(3) {
            script.extend(alone_and_found_again(dice, &plan));
        }
        Hosted { seed, name, plan, rates, leashed, script, wrong: None }
    }

    /// What happens in it, each once.
    pub(crate) fn kinds(&self) -> BTreeSet<TroubleKind> {
        let drift = self.rates.iter().any(|it| *it != 1000).then_some(TroubleKind::ClockDrift);
        self.script.iter().map(|it| it.1).chain(drift).collect()
    }

    /// Plays it.
    pub fn run(&self) -> Ended {
        let mut world = World::of(self.plan.clone(), Pace::Quick);
        world.host_clocks(&self.rates);
        if self.leashed {
            world.on_a_leash();
        }
        self.wrong.into_iter().for_each(|it| world.hosts_do_wrong(it));
        let violation = caught(|| self.play(&mut world)).err();
        let mut coverage = Coverage::default();
        coverage.ended_with_hosts(&world, self);
        let (lease_ends, recoveries) = (world.lease_ends(), world.checkers.census.recoveries);
        Ended { violation, lease_ends, agreements: world.agreements(), recoveries, coverage }
    }

    fn play(&self, world: &mut World) {
        world.run_for(Duration::from_secs(12));
        for (after, _, fault) in &self.script {
            world.run_for(*after);
            world.fault(Duration::ZERO, fault.clone());
            world.run_for(Duration::ZERO);
            look(world);
        }
        world.run_for(Duration::from_secs(15));
        look(world);
        world.heal();
        self.becomes_well(world);
        let compile = |_: &str, _: &str| Some((*self.plan).clone());
        match replay(world.stored(), compile) {
            Ok(it) => assert!(it.misfits.is_empty(), "S10: records came where they can't come: {:?}", it.misfits),
            Err(error) => panic!("S10: {error}"),
        }
    }

    fn becomes_well(&self, world: &mut World) {
        let until = world.now + HEALED;
        while world.now < until && !self.is_well(world) {
            world.supervisors_start();
            world.run_for(Duration::from_secs(1));
            look(world);
            let Some(engine) = world.engine() else { continue };
            let done = |key: &str| world.done.iter().any(|(it, _)| it.contains(key));
            for (command, by) in people::as_asked(engine, done) {
                // Refused, where the agent would refuse it.
                drop(world.speak(command, by));
            }
        }
        let engine = world.engine().expect("an agent that was killed is started again");
        Checkers::after_healing(engine);
        let state = engine.state();
        let bound = &state.instances[state.components[0].bound.index()];
        let waits = state.components[0].recovery.as_ref().and_then(|it| it.held.clone());
        assert!(
            self.is_well(world),
            "L1: everything works for {HEALED:?}, and {} is {}, {waits:?}",
            self.plan.components[0].name,
            bound.health.word()
        );
    }

    fn is_well(&self, world: &World) -> bool {
        let Some(engine) = world.engine() else { return false };
        let state = engine.state();
        state.open_recoveries().next().is_none()
            && state.components.iter().all(|it| state.instances[it.bound.index()].health == Health::Healthy)
            && state.routes_converged()
    }

    /// A smaller trial that violates the same invariant.
    pub fn shrink(&self, violation: &Violation) -> Hosted {
        let mut best = self.clone();
        let mut at = 0;
        while at < best.script.len() {
            let mut smaller = best.clone();
            let (passed, ..) = smaller.script.remove(at);
            if let Some(next) = smaller.script.get_mut(at) {
                next.0 += passed;
            }
            if smaller.run().violation.is_some_and(|it| it.code == violation.code) {
                best = smaller;
            } else {
                at += 1;
            }
        }
        best
    }

    /// What happens in it, line by line.
    pub fn tell(&self) -> String {
        let leash = if self.leashed { ", on a leash" } else { "" };
        let mut text = format!("seed {}, with hosts, plan {}{leash}, clocks {:?}\n", self.seed, self.name, self.rates);
        let mut at = Duration::from_secs(12);
        for (after, _, fault) in &self.script {
            at += *after;
            text += &format!("{at:>10.3?}  {}\n", fault.told());
        }
        text
    }
}

fn look(world: &World) {
    if let Some(engine) = world.engine().filter(|_| !world.is_asleep()) {
        Checkers::look(engine, world.clock());
    }
}

/// Takes out what is ended in time on a leash alone: a keeper and its host that stand still together, and a keeper that can't be
/// replaced within the time that ending may take.
fn what_nothing_could_end(plan: &Plan, kinds: &mut BTreeSet<TroubleKind>) {
    kinds.remove(&TroubleKind::Suspended);
    let demote = plan.link.as_ref().map(|it| it.lease.demote).unwrap_or_default();
    if demote < plan.allowances.forced_stop + KEEPER_IS_MISSED {
        kinds.remove(&TroubleKind::KeeperStopped);
    }
    if kinds.contains(&TroubleKind::KeeperStopped) {
        kinds.remove(&TroubleKind::HostKilled);
        kinds.remove(&TroubleKind::HostStopped);
    }
}

fn fault(kind: TroubleKind, dice: &mut Dice, plan: &Plan) -> Fault {
    let hosts: Vec<String> = plan.hosts.iter().map(|it| it.name.clone()).collect();
    let instances: Vec<String> = plan.instances.iter().map(|it| it.name.clone()).collect();
    let of_host = |dice: &mut Dice, trouble| Fault::Host(dice.pick(&hosts).unwrap_or_default(), trouble);
    let way = |dice: &mut Dice, ways: &[Way]| {
        let way = dice.pick(ways).unwrap_or(Way::Whole);
        of_host(dice, HostTrouble::Way(way))
    };
    // Shorter than a lease, or longer.
    let span = |dice: &mut Dice| if dice.once_in(3) { dice.millis(4_000) } else { dice.millis(20_000) };
    match kind {
        TroubleKind::Server => {
            let how = dice.pick(&[Server::Hung, Server::Dead, Server::Dead, Server::Up]).unwrap_or(Server::Dead);
            Fault::Server(dice.pick(&instances).unwrap_or_default(), how)
        }
        TroubleKind::HostKilled => {
            let down_for = span(dice);
            of_host(dice, HostTrouble::Killed(down_for))
        }
        TroubleKind::HostStopped => {
            let span = span(dice);
            of_host(dice, HostTrouble::Stopped(span))
        }
        TroubleKind::KeeperStopped => {
            let span = span(dice);
            of_host(dice, HostTrouble::KeeperStopped(span))
        }
        TroubleKind::Suspended => {
            let span = span(dice);
            of_host(dice, HostTrouble::Suspended(span))
        }
        TroubleKind::PowerCut => of_host(dice, HostTrouble::PowerCut),
        TroubleKind::WayCut => way(dice, &[Way::Cut, Way::Cut, Way::Whole]),
        TroubleKind::WayOneSided => way(dice, &[Way::ToAgent, Way::ToHost, Way::Whole]),
        TroubleKind::WaySlow => {
            let by = dice.millis(4_000);
            way(dice, &[Way::Slow(by), Way::Slow(by), Way::Whole])
        }
        TroubleKind::AgentKilled => Fault::AgentKilled(dice.millis(10_000)),
        TroubleKind::AgentStopped => Fault::AgentStops(dice.millis(10_000)),
        TroubleKind::HostsApart => {
            let apart = !dice.once_in(3);
            of_host(dice, HostTrouble::ApartFromHosts(apart))
        }
        TroubleKind::AgentApart => Fault::OwnPath(!dice.once_in(3)),
        TroubleKind::ClockDrift => unreachable!("it goes on all the time, and does not happen"),
    }
}

fn stays(plan: &Plan) -> bool {
    (0u32..).map(ComponentIx).take(plan.components.len()).any(|it| plan.stays(it))
}

/// The agent loses all hosts, so that whoever holds the lease may stay; that one hangs; and the agent finds the others again, and not
/// him.
fn alone_and_found_again(dice: &mut Dice, plan: &Plan) -> Vec<(Duration, TroubleKind, Fault)> {
    let component = &plan.components[0];
    let holder = plan.instance(dice.pick(&component.instances).unwrap_or(component.original()));
    let way = |host: &str, way| Fault::Host(host.to_owned(), HostTrouble::Way(way));
    let all = plan.hosts.iter().map(|it| (dice.millis(500), TroubleKind::WayCut, way(&it.name, Way::Cut)));
    let mut script: Vec<(Duration, TroubleKind, Fault)> = all.collect();
    script.push((dice.millis(12_000), TroubleKind::Server, Fault::Server(holder.name.clone(), Server::Hung)));
    let others = plan.hosts.iter().filter(|it| Some(&it.name) != holder.location.host.as_ref());
    let others: Vec<&str> = others.map(|it| it.name.as_str()).collect();
    script.extend(others.into_iter().map(|it| (dice.millis(8_000), TroubleKind::WayCut, way(it, Way::Whole))));
    script
}
