//! A site with every guard and every rule of routes, struck by chance: what they promise holds at every record, and after
//! healing, and a word from a person where one is asked for, all of it serves again.
//!
//! `MAINSTAY_SEEDS=1000..1100 cargo test -p mainstay-sim --test storms` explores other seeds.

mod dice;

use std::path::Path;
use std::time::Duration;

use mainstay_engine::command::{Command, Drained, Override};
use mainstay_engine::route::rules::RouteRule;
use mainstay_engine::status;
use mainstay_plan::ComponentIx;
use mainstay_plan::observation::Health;
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Server, World};

use dice::Dice;

const SHOP: &str = include_str!("plans/shop.yaml");

fn reason() -> String {
    "the dice say so".to_owned()
}

/// What an operator may say at this moment, if it is taken.
fn says(world: &mut World, dice: &mut Dice) {
    let Some(engine) = world.engine() else { return };
    let component = dice.pick(&["orders-db", "web", "search", "mail"]).to_owned();
    let open: Vec<_> = engine.state().open_recoveries().map(|it| it.id).collect();
    let until = world.now + dice.millis(20_000);
    let command = match dice.below(12) {
        0 => Command::Halt { reason: reason() },
        1 | 2 => Command::Continue { reason: reason() },
        3 => Command::Acknowledge { what: component, reason: reason() },
        4 => Command::Drain { what: Drained::Instance("web".to_owned()), until, reason: reason() },
        5 => Command::Drain { what: Drained::Zone("z2".to_owned()), until, reason: reason() },
        6 => Command::Undrain { what: Drained::Zone("r1/z2".to_owned()) },
        7 => Command::RouteOverride { route: "shop".to_owned(), rule: dice.pick(&RouteRule::ALL), reason: reason() },
        8 => Command::Pause { component: Some(component), until, reason: reason(), owner: Some("nobody".to_owned()) },
        9 => Command::Recover { component, reason: reason() },
        _ if open.is_empty() => return,
        10 => Command::Abort { recovery: dice.pick(&open), reason: reason() },
        _ => Command::Approve {
            recovery: dice.pick(&open),
            overrides: vec![dice.pick(&Override::ALL)],
            outcome: None,
            reason: reason(),
        },
    };
    if engine.check_command(&command, "operator").is_ok() {
        world.say(Duration::ZERO, command);
        world.run_for(Duration::ZERO);
    }
}

fn storm(seed: u64) {
    let mut dice = Dice(seed);
    let plan = mainstay_plan::config::compile("shop.yaml", SHOP, Path::new("/")).plan.expect("a valid plan");
    let mut world = World::new(plan);
    world.run_for(Duration::from_secs(3));
    let names: Vec<String> = world.servers.keys().cloned().collect();
    for _ in 0..dice.below(14) {
        match dice.below(10) {
            0..=4 => {
                let how = dice.pick(&[Server::Dead, Server::Hung, Server::Up]);
                world.fault(Duration::ZERO, Fault::Server(dice.pick(&names), how));
            }
            5 => world.fault(Duration::ZERO, Fault::AgentKilled(dice.millis(3000))),
            6 => world.fault(Duration::ZERO, Fault::AgentStops(dice.millis(3000))),
            7 => world.fault(Duration::ZERO, Fault::Traffic(dice.below(2) == 0)),
            _ => says(&mut world, &mut dice),
        }
        let pause = dice.millis(5000);
        world.run_for(pause);
    }
    for name in names {
        world.fault(Duration::ZERO, Fault::Server(name, Server::Up));
    }
    world.fault(Duration::ZERO, Fault::Traffic(true));
    world.run_for(Duration::from_secs(10));
    for component in ["orders-db", "web", "search", "mail"] {
        let command = Command::Acknowledge { what: component.to_owned(), reason: reason() };
        for command in [command, Command::Continue { reason: reason() }] {
            if world.engine().is_some_and(|it| it.check_command(&command, "operator").is_ok()) {
                world.say(Duration::ZERO, command);
                world.run_for(Duration::ZERO);
            }
        }
    }
    world.run_for(Duration::from_secs(180));
    all_serve(&world);
    replays(world.stored(), &world.plan);
}

fn all_serve(world: &World) {
    let state = world.engine().expect("the agent runs").state();
    for (ix, component) in (0u32..).map(ComponentIx).zip(&state.components) {
        let name = &state.plan.component(ix).name;
        let waits = status::waiting(state, ix);
        assert_eq!(state.instances[component.bound.index()].health, Health::Healthy, "{name}: {waits:?}");
        assert!(waits.is_none(), "{name}: {waits:?}");
    }
    assert!(state.routing.held.is_empty(), "{:?}", state.routing.held);
    for route in (0u32..).map(mainstay_plan::RouteIx).take(state.plan.routes.len()) {
        assert!(!world.open_to_clients(route).is_empty());
    }
}

#[test]
fn guards_and_rules_hold_through_storms() {
    dice::explore("storms", storm);
}
