//! Planned evacuations in virtual time: under any faults, commands and crashes nothing that must always hold is broken, and once
//! everything works again the zone is left by whoever can leave it, or each says why not.

#[path = "../dice/mod.rs"]
mod dice;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mainstay_engine::evacuate::{self, PartIs};
use mainstay_engine::machine::EvacuationState;
use mainstay_engine::state::State;
use mainstay_engine::{Body, Command, status};
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::Health;
use mainstay_plan::routing::TargetState;
use mainstay_plan::{ComponentIx, Plan};
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Crash, CrashKind, Server, World};

use dice::Dice;

fn plan() -> Plan {
    let compiled = mainstay_plan::config::compile("plan.yaml", include_str!("hall.yaml"), Path::new("/"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn evacuate(world: &World, graceful: Option<bool>, long: Duration) -> Command {
    let (place, reason) = ("hall-1".to_owned(), "the test".to_owned());
    Command::Evacuate { place, until: Some(world.now + long), graceful, reason }
}

fn end() -> Command {
    Command::EndEvacuation { place: "hall-1".to_owned(), reason: "the test".to_owned() }
}

fn state(world: &World) -> &State {
    world.engine().expect("the agent runs").state()
}

/// Says it if it would be taken now.
fn say(world: &mut World, command: Command) {
    let taken = world.engine().is_some_and(|it| it.check_command(&command, "operator").is_ok());
    if taken {
        world.say(Duration::ZERO, command);
    }
}

/// Who is bound to an instance in hall 1.
fn inside(world: &World) -> Vec<String> {
    let state = state(world);
    let lives = |it: &ComponentIx| {
        let bound = state.plan.instance(state.components[it.index()].bound);
        bound.location.zone.as_deref() == Some("hall-1")
    };
    let all = (0u32..).map(ComponentIx).take(state.components.len());
    all.filter(lives).map(|it| state.plan.component(it).name.clone()).collect()
}

/// Every component is healthy, nothing is open, and its clients are served.
fn everybody_serves(world: &World) {
    let state = state(world);
    for ix in (0u32..).map(ComponentIx).take(state.components.len()) {
        let bound = state.components[ix.index()].bound;
        let (name, waits) = (&state.plan.component(ix).name, status::waiting(state, ix));
        assert_eq!(state.instances[bound.index()].health, Health::Healthy, "{name}: {waits:?}");
        assert!(waits.is_none(), "{name}: {waits:?}");
    }
    for route in &world.table.routes {
        let serves = route.targets.iter().any(|it| it.state == TargetState::Serving);
        assert!(serves, "nobody serves {}: {route:?}", route.name);
    }
}

/// Room in hall 2 is for three, and a fourth has another way out: everybody can leave.
#[test]
fn everybody_leaves_and_it_replays() {
    let mut world = World::new(plan());
    world.run_for(seconds(5));
    let command = evacuate(&world, None, seconds(60));
    world.say(Duration::ZERO, command);
    world.run_for(seconds(20));
    assert_eq!(inside(&world), Vec::<String>::new());
    let it = state(&world).evacuating.values().next().expect("it stands");
    assert_eq!((it.status, it.moved), (EvacuationState::Settled, 4));
    world.run_for(seconds(60));
    assert!(state(&world).evacuating.is_empty(), "its time is over");
    let told = |it: &Body| matches!(it, Body::EvacuationExpires { .. } | Body::EvacuationEnded { .. });
    assert_eq!(world.journal().iter().filter(|it| told(&it.1.body)).count(), 2);
    everybody_serves(&world);
    replays(world.stored(), &world.plan);
}

/// Random faults and commands from a seed, then healing.
fn play(seed: u64) {
    let mut dice = Dice(seed);
    let mut world = World::new(plan());
    world.run_for(seconds(3));
    let names: Vec<String> = world.servers.keys().cloned().collect();
    for _ in 0..=dice.below(10) {
        match dice.below(14) {
            0..=3 => {
                let command = evacuate(&world, dice.pick(&[None, Some(false), Some(true)]), dice.millis(60_000));
                say(&mut world, command);
            }
            4 => say(&mut world, end()),
            5 | 6 => {
                let how = dice.pick(&[Server::Dead, Server::Hung, Server::Up]);
                world.fault(Duration::ZERO, Fault::Server(dice.pick(&names), how));
            }
            7 => world.fault(Duration::ZERO, Fault::OwnPath(dice.below(2) == 0)),
            8 => world.fault(Duration::ZERO, Fault::Traffic(dice.below(2) == 0)),
            9 => world.fault(Duration::ZERO, Fault::AgentKilled(dice.millis(3000))),
            10 => {
                let lag = dice.pick(&[None, Some(seconds(60)), Some(Duration::from_millis(700)), Some(Duration::ZERO)]);
                world.fault(Duration::ZERO, Fault::Lag(dice.pick(&names), lag));
            }
            11 => {
                let outcomes = [Outcome::Unknown("the wire was cut".to_owned()), Outcome::Failed("no".to_owned())];
                world.fault(Duration::ZERO, Fault::Outcome(dice.pick(&outcomes)));
            }
            12 => {
                let (until, reason) = (world.now + dice.millis(20_000), "a hunch".to_owned());
                say(&mut world, Command::Pause { component: Some("app".to_owned()), until, reason, owner: None });
            }
            _ => {
                let instance = dice.pick(&names);
                say(
                    &mut world,
                    Command::Adopt {
                        instance,
                        role: None,
                        anyway: false,
                        two_writers: false,
                        address: None,
                        reason: "a hunch".to_owned(),
                    },
                );
            }
        }
        let pause = dice.millis(4000);
        world.run_for(pause);
    }
    for name in names {
        world.fault(Duration::ZERO, Fault::Server(name.clone(), Server::Up));
        world.fault(Duration::ZERO, Fault::Lag(name, Some(Duration::ZERO)));
    }
    world.fault(Duration::ZERO, Fault::OwnPath(false));
    world.fault(Duration::ZERO, Fault::Traffic(true));
    world.run_for(seconds(100));
    assert!(state(&world).evacuating.is_empty(), "evacuations end by themselves");
    // Whoever was displaced is whole again; whoever lives there leaves, or says why not.
    let command = evacuate(&world, None, seconds(600));
    world.say(Duration::ZERO, command);
    world.run_for(seconds(60));
    everybody_serves(&world);
    let left = inside(&world);
    let it = state(&world).evacuating.values().next().expect("it stands");
    assert_eq!((it.status, it.settled.as_ref()), (EvacuationState::Settled, Some(&left)));
    for part in evacuate::parts(state(&world), it, world.now) {
        match part.is {
            PartIs::Gone { .. } => {}
            PartIs::Stays(why, since) => assert!(!why.to_string().is_empty() && since <= world.now),
            PartIs::Moves { .. } | PartIs::Next => panic!("{:?} after a minute", part.is),
        }
    }
    let quiet = world.journal().len();
    world.run_for(seconds(60));
    assert!(world.journal().len() < quiet + 4, "it goes on writing: {:?}", &world.journal()[quiet..]);
    replays(world.stored(), &world.plan);
}

#[test]
fn evacuations_under_faults() {
    // A tenth of the seeds that other schedules play: each is some minutes of four components.
    dice::explore("evacuations", |seed| {
        if seed % 10 == 0 || std::env::var_os("MAINSTAY_SEEDS").is_some() {
            play(seed);
        }
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Fails,
    TimesOut,
    UnknownNotDone,
    UnknownButDone,
    Crash(CrashKind),
}

const TROUBLES: [Trouble; 7] = [
    Trouble::Fails,
    Trouble::TimesOut,
    Trouble::UnknownNotDone,
    Trouble::UnknownButDone,
    Trouble::Crash(CrashKind::BeforeSync),
    Trouble::Crash(CrashKind::AfterRecord),
    Trouble::Crash(CrashKind::BeforeOutcome),
];

fn begun(graceful: bool) -> World {
    let mut world = World::new(plan());
    world.run_for(seconds(5));
    let command = evacuate(&world, Some(graceful), seconds(600));
    world.say(Duration::ZERO, command);
    world
}

/// Whatever happens to any step of any move: everybody serves, and has left or says why not; and nobody else was held up.
#[test]
fn whatever_happens_to_any_step_of_any_move() {
    let mut ends: BTreeMap<(Trouble, usize), u32> = BTreeMap::new();
    for graceful in [true, false] {
        let mut whole = begun(graceful);
        whole.run_for(seconds(60));
        let step = |(seq, record): (u64, mainstay_engine::Record)| {
            if let Body::StepStarted { name, .. } = record.body { Some((seq, name)) } else { None }
        };
        let steps: Vec<(u64, String)> = whole.journal().into_iter().filter_map(step).collect();
        assert!(steps.len() > 12, "{steps:?}");
        for (seq, name) in &steps {
            for trouble in TROUBLES {
                let mut world = begun(graceful);
                match trouble {
                    Trouble::Fails => world.outcome_of(*seq, Outcome::Failed("exit status 1".to_owned()), false),
                    Trouble::TimesOut => world.never_ends(*seq),
                    Trouble::UnknownNotDone => world.outcome_of(*seq, Outcome::Unknown("no answer".to_owned()), false),
                    Trouble::UnknownButDone => world.outcome_of(*seq, Outcome::Unknown("no answer".to_owned()), true),
                    Trouble::Crash(kind) => world.crash_at(Crash { seq: *seq, kind, down_for: seconds(2) }),
                }
                world.run_for(seconds(20));
                // What was lost before it was durable was never said.
                if state(&world).evacuating.is_empty() {
                    let command = evacuate(&world, Some(graceful), seconds(600));
                    world.say(Duration::ZERO, command);
                }
                world.run_for(seconds(60));
                let left = inside(&world);
                everybody_serves(&world);
                let it = state(&world).evacuating.values().next().expect("it stands");
                assert_eq!(it.settled.as_ref(), Some(&left), "{trouble:?} at {seq}, {name}");
                assert!(left.len() <= 1, "{trouble:?} at {seq}, {name}, holds others up: {left:?}");
                *ends.entry((trouble, left.len())).or_default() += 1;
                replays(world.stored(), &world.plan);
            }
        }
    }
    println!("{ends:#?}");
    let left_behind: u32 = ends.iter().filter(|it| it.0.1 > 0).map(|it| it.1).sum();
    assert!(left_behind > 0, "no trouble keeps anybody: {ends:?}");
}
