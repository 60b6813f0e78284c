//! Random faults from a seed, then healing: nothing that must always hold is broken on the way, and in the end somebody
//! serves or the wait says why not.
//!
//! `MAINSTAY_SEEDS=1000..1100 cargo test -p mainstay-sim --test schedules` explores other seeds; a failing seed is printed
//! and is one number to play again.

use std::path::Path;
use std::time::Duration;

use mainstay_engine::status;
use mainstay_plan::observation::Health;
use mainstay_plan::routing::TargetState;
use mainstay_plan::{ComponentIx, Plan};
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Server, World};

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
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

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("small")].clone()
    }

    fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}

fn plan(text: &str) -> Plan {
    let text = text.replace("rejoin: by_hand", "rejoin: when_healthy").replace("idempotent: false", "idempotent: true");
    mainstay_plan::config::compile("plan.yaml", &text, Path::new("/")).plan.expect("a valid plan")
}

fn play(seed: u64, text: &str) {
    let mut dice = Dice(seed);
    let mut world = World::new(plan(text));
    world.run_for(Duration::from_secs(3));
    let names: Vec<String> = world.servers.keys().cloned().collect();
    for _ in 0..=dice.below(8) {
        let fault = match dice.below(10) {
            0..=3 => Fault::Server(dice.pick(&names), dice.pick(&[Server::Dead, Server::Hung])),
            4 => Fault::Server(dice.pick(&names), Server::Up),
            5 => Fault::OwnPath(dice.below(2) == 0),
            6 => Fault::Traffic(dice.below(2) == 0),
            7 => Fault::AgentStops(dice.millis(3000)),
            8 => Fault::AgentKilled(dice.millis(3000)),
            _ => Fault::Lag(dice.pick(&names), dice.pick(&[None, Some(Duration::from_secs(60)), Some(Duration::ZERO)])),
        };
        world.fault(Duration::ZERO, fault);
        let pause = dice.millis(4000);
        world.run_for(pause);
    }
    // Healing: everything works again, and everybody was there all along.
    for name in names {
        world.fault(Duration::ZERO, Fault::Server(name.clone(), Server::Up));
        world.fault(Duration::ZERO, Fault::Lag(name, Some(Duration::ZERO)));
    }
    world.fault(Duration::ZERO, Fault::OwnPath(false));
    world.fault(Duration::ZERO, Fault::Traffic(true));
    world.run_for(Duration::from_secs(120));

    let state = world.engine().expect("the agent runs").state();
    let bound = state.components[0].bound;
    let waits = status::waiting(state, ComponentIx(0));
    assert_eq!(state.instances[bound.index()].health, Health::Healthy, "{waits:?}");
    assert!(waits.is_none(), "{waits:?}");
    let targets = &world.table.routes[0].targets;
    let serving = targets.iter().find(|it| it.state == TargetState::Serving).map(|it| it.instance.as_str());
    assert_eq!(serving, Some(state.plan.instance(bound).name.as_str()));
    replays(world.stored(), &world.plan);
}

fn seeds() -> std::ops::Range<u64> {
    let named = std::env::var("MAINSTAY_SEEDS").ok();
    let range = named.as_deref().and_then(|it| it.split_once("..")).map(|(from, to)| (from.parse(), to.parse()));
    match range {
        Some((Ok(from), Ok(to))) => from..to,
        Some(_) => panic!("MAINSTAY_SEEDS is a range like 0..300"),
        None => 0..300,
    }
}

fn explore(text: &str) {
    for seed in seeds() {
        let run = std::panic::catch_unwind(|| play(seed, text));
        if let Err(panic) = run {
            eprintln!(
                "seed {seed} fails: MAINSTAY_SEEDS={seed}..{} cargo test -p mainstay-sim --test schedules",
                seed + 1
            );
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_database_behind_a_proxy() {
    explore(include_str!("plans/database.yaml"));
}

#[test]
fn a_file_server_behind_dns() {
    explore(include_str!("plans/files.yaml"));
}
