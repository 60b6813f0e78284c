//! Trials with hosts: one agent, hosts on other machines that hold leases and serve routes, and all that can happen between them.
//! The connections break one way or both, or are slow; host processes are killed or stopped for longer than their lease; machines lose
//! power; the agent is killed or stopped; clocks run at different rates.
//!
//! They are drawn apart from the other trials, so that a seed of those keeps its meaning.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use mainstay_engine::replay::replay;
use mainstay_plan::Plan;
use mainstay_plan::observation::Health;

use crate::broken::Pace;
use crate::checkers::Checkers;
use crate::dice::Dice;
use crate::trial::{Violation, caught, people};
use crate::world::{Fault, HostFault, HostTrouble, Server, Way, World};

/// One seed in so many has a trial with hosts.
const ONE_IN: u64 = 4;

/// The longest script.
const LONGEST: u64 = 8;

/// How long all may take to be well once everything works.
const HEALED: Duration = Duration::from_secs(300);

const LEASED: &str = include_str!("../../engine/tests/timelines/plans/leased.yaml");

/// Names, and what is changed in the plan.
const VARIANTS: [(&str, &[(&str, &str)]); 4] = [
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
];

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
    rates: Vec<u32>,
    /// What happens, and how long after the one before.
    pub script: Vec<(Duration, Fault)>,
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
    /// Recoveries that ended.
    pub recoveries: u64,
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
        let (name, plan) = PLANS.iter().find(|it| it.0 == name).expect("there is such a plan").clone();
        // 8 s of a lease and its end, and 200 ms of drift: 2.4 %.
        let rates = plan.hosts.iter().map(|_| 980 + u32::try_from(dice.below(41)).unwrap_or(0)).collect();
        let mut script = Vec::new();
        for _ in 0..=dice.below(LONGEST) {
            let after = if dice.once_in(3) { dice.millis(20_000) } else { dice.millis(3_000) };
            script.push((after, fault(dice, &plan)));
        }
        Hosted { seed, name, plan, rates, script, wrong: None }
    }

    /// Plays it.
    pub fn run(&self) -> Ended {
        let mut world = World::of(self.plan.clone(), Pace::Quick);
        world.host_clocks(&self.rates);
        self.wrong.into_iter().for_each(|it| world.hosts_do_wrong(it));
        let violation = caught(|| self.play(&mut world)).err();
        Ended { violation, lease_ends: world.lease_ends(), recoveries: world.checkers.census.recoveries }
    }

    fn play(&self, world: &mut World) {
        world.run_for(Duration::from_secs(12));
        for (after, fault) in &self.script {
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
            let (passed, _) = smaller.script.remove(at);
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
        let mut text = format!("seed {}, with hosts, plan {}, clocks {:?}\n", self.seed, self.name, self.rates);
        let mut at = Duration::from_secs(12);
        for (after, fault) in &self.script {
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

fn fault(dice: &mut Dice, plan: &Plan) -> Fault {
    let host = || plan.hosts.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    let instances: Vec<String> = plan.instances.iter().map(|it| it.name.clone()).collect();
    let of_host = |dice: &mut Dice, trouble| Fault::Host(dice.pick(&host()).unwrap_or_default(), trouble);
    let instance = |dice: &mut Dice| dice.pick(&instances).unwrap_or_default();
    match dice.below(14) {
        0 => of_host(dice, HostTrouble::Way(Way::Cut)),
        1 => of_host(dice, HostTrouble::Way(Way::ToAgent)),
        2 => of_host(dice, HostTrouble::Way(Way::ToHost)),
        3 => {
            let by = dice.millis(4_000);
            of_host(dice, HostTrouble::Way(Way::Slow(by)))
        }
        4 | 5 => of_host(dice, HostTrouble::Way(Way::Whole)),
        6 => of_host(dice, HostTrouble::Runs(false)),
        7 => of_host(dice, HostTrouble::Runs(true)),
        8 => of_host(dice, HostTrouble::PowerCut),
        9 => Fault::AgentKilled(dice.millis(10_000)),
        10 => Fault::AgentStops(dice.millis(10_000)),
        11 => Fault::Server(instance(dice), Server::Hung),
        12 => Fault::Server(instance(dice), Server::Dead),
        _ => Fault::Server(instance(dice), Server::Up),
    }
}
