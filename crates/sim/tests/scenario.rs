//! Scenarios on the examples: what can be said, that each comes out as the proof says, and what is told of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mainstay_plan::location::FailureDomain;
use mainstay_plan::proof::Condition;
use mainstay_plan::{Plan, Proof, Surroundings, compile_in};
use mainstay_sim::reliability::Shown;
use mainstay_sim::scenario::{Options, Sayable, Scenario, Stage, Told, Unsayable, places};

fn examples() -> Vec<(String, Plan)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let entries = fs::read_dir(dir).expect("there are examples").map(|it| it.expect("readable").path());
    let mut paths: Vec<_> = entries.filter(|it| it.extension().is_some_and(|it| it == "yaml")).collect();
    paths.sort();
    let name = |it: &Path| it.file_stem().and_then(|it| it.to_str()).expect("a name").to_owned();
    paths.iter().map(|it| (name(it), compiled(&fs::read_to_string(it).expect("readable")))).collect()
}

fn compiled(text: &str) -> Plan {
    let around = Surroundings {
        read: &|_| Err("it stands alone".to_owned()),
        variable: &|it| (it == "SHOP_PAGER_TOKEN").then(|| "hush".to_owned()),
        needs_secrets: true,
    };
    let compiled = compile_in("plan.yaml", text, Path::new("/"), &around);
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

fn shop() -> Plan {
    compiled(include_str!("../../../examples/single-database.yaml"))
}

fn told(plan: &Plan, scenario: &str, options: &Options) -> Told {
    let proof = Proof::of(plan);
    let scenario = Scenario::parse(scenario, plan).expect("it can be said");
    Told::of(&proof, &scenario, options).expect("nothing is violated")
}

/// With people who approve at once, what is proved happens in every way and within its bound. Conditions are played on single
/// instances of one example alone: the test of the proof plays every cell of all.
#[test]
fn whatever_can_be_said_of_an_example_comes_out_as_it_is_proved() {
    let (mut played, mut proved) = (0, 0);
    for (name, plan) in examples() {
        let proof = Proof::of(&plan);
        for failure in FailureDomain::ALL {
            let all_of_them = name == "hybrid" && failure == FailureDomain::Instance;
            let conditions = if all_of_them { &Condition::ALL[..] } else { &Condition::ALL[..1] };
            let all = places(&plan, failure);
            for (place, condition) in all.iter().flat_map(|it| conditions.iter().map(move |other| (it, *other))) {
                let scenario = Scenario { failure, place: place.clone(), condition };
                let told = Told::of(&proof, &scenario, &Options { people: Some(Duration::ZERO) })
                    .expect("nothing is violated");
                let said = scenario.name();
                assert_eq!(Scenario::parse(&said, &plan).as_ref(), Ok(&scenario), "{said} reads as it is written");
                played += 1;
                for it in told.components.iter().filter(|it| it.lost && it.proved.is_some()) {
                    proved += 1;
                    assert!(it.agrees, "{name}: {said}: {it:#?}\n{}", told.text(&name, &Shown::All));
                }
            }
        }
    }
    assert!(played > 100 && proved > 40, "{played} scenarios, {proved} proved components");
}

#[test]
fn what_is_told_is_in_order_and_the_same_again() {
    let plan = shop();
    let first = told(&plan, "zone-loss:us-east-1a", &Options::default());
    assert_eq!(first, told(&plan, "zone_loss:us-east-1/us-east-1a", &Options::default()));
    assert!(first.timeline.is_sorted_by(|a, b| a.at_s <= b.at_s), "{:#?}", first.timeline);
    let at = |stage: Stage| first.timeline.iter().position(|it| it.stage == stage).expect("it happened");
    let order = [Stage::Lost, Stage::Detect, Stage::Guard, Stage::Decide, Stage::Fence, Stage::Recovered].map(at);
    assert!(order.is_sorted(), "{order:?}");
    let [orders] = first.components.as_slice() else { panic!("one is lost") };
    let parts: f64 = orders.parts.iter().map(|it| it.seconds).sum();
    assert!((parts - orders.seconds.expect("recovered")).abs() < 1e-6, "the parts are the whole: {orders:#?}");
    assert_eq!((orders.by.as_deref(), orders.to.as_deref()), (Some("failover_to_standby"), Some("orders-db-b")));
    assert_eq!(orders.data_lost_s, Some(5.0), "a standby as far behind as the proof lets it be");
    let [route] = first.routes.as_slice() else { panic!("one route") };
    let away = route.away[0].to_s.expect("its clients are back");
    assert!(away <= orders.seconds.expect("recovered"), "clients are back before the agent is sure: {route:?}");
}

#[test]
fn nobody_approves_unless_people_are_asked_for() {
    let text = include_str!("plans/database.yaml");
    let plan = compiled(&text.replace("cool_down: 10s", "cool_down: 1s, approval: { expires: 5m }"));
    let scenario = "instance-loss:orders-db";
    let alone = told(&plan, scenario, &Options::default());
    let [of] = alone.components.as_slice() else { panic!("one is lost") };
    assert_eq!((of.recovered_in, of.agrees), (0, false));
    assert_eq!(of.held.last().map(|it| it.guard), Some("approval"));
    assert!(of.way_out.as_ref().is_some_and(|it| it.contains("mainstay approve r")), "{:?}", of.way_out);
    assert!(alone.taken.iter().any(|it| it.contains("`--people 5m`")), "{:?}", alone.taken);
    let asked = told(&plan, scenario, &Options { people: Some(Duration::from_secs(90)) });
    let [of] = asked.components.as_slice() else { panic!("one is lost") };
    assert_eq!(of.recovered_in, asked.ways);
    let held = of.held.iter().find(|it| it.guard == "approval").expect("it was asked");
    assert!((held.to_s.expect("it was given") - held.from_s - 90.0).abs() < 0.2, "{held:?}");
}

#[test]
fn without_the_agent_nobody_decides() {
    let plan = shop();
    let gone = told(&plan, "instance-loss:orders-db+agents-host-gone", &Options::default());
    assert!(gone.agent && gone.scenario.ends_with("+agents_host_gone"));
    let [of] = gone.components.as_slice() else { panic!("one is lost") };
    assert_eq!((of.recovered_in, of.agrees), (0, true));
    assert_eq!(of.why_not.as_deref(), Some("the agent's machine is gone, and nobody else decides"));
    assert!(!of.unproved.is_empty() && gone.routes[0].away[0].to_s.is_none());
}

#[test]
fn a_lost_standby_asks_for_nothing() {
    let told = told(&shop(), "instance-loss:orders-db-b", &Options::default());
    assert!(told.components.is_empty() && told.routes.is_empty());
    assert!(told.text("shop", &Shown::Usual).contains("no component lost the instance that it is bound to"));
    assert!(!told.instances[0].active);
}

#[test]
fn what_the_world_can_not_play_is_said() {
    let plan = shop();
    let store = told(&plan, "instance-loss:orders-db+coordination_store_gone", &Options::default());
    assert_eq!(store.not_played, ["the plan has no coordination store, so its loss changes nothing"]);
    let active = compiled(include_str!("../../../examples/active-active.yaml"));
    let any = places(&active, FailureDomain::Instance)[0].name.clone();
    let polled = told(&active, &format!("instance-loss:{any}"), &Options::default());
    assert!(polled.not_played.iter().any(|it| it.contains("added from the proof")), "{:?}", polled.not_played);
}

#[test]
fn what_is_no_scenario_is_answered_with_what_there_is() {
    let plan = shop();
    let why = |text: &str| Scenario::parse(text, &plan).expect_err("it is none").to_string();
    assert!(why("zone").contains("`zone-loss:NAME`"));
    assert!(why("rack-loss:a").contains("`rack-loss:a` is no scenario"));
    assert_eq!(
        why("zone-loss:us-east-1z"),
        "the plan has no zone `us-east-1z`: there are us-east-1a, us-east-1b, us-east-1c"
    );
    assert_eq!(why("host-loss:db-9"), "the plan has no host `db-9`: there are db-1, db-2, ops-1");
    assert!(
        why("zone-loss:us-east-1a+rain")
            .starts_with("`rain` is no condition of the proof: there are regional_control_gone")
    );
    let twice = compiled(&include_str!("../../../examples/single-database.yaml").replace(
        "location: { region: us-west-2 }\n        restore",
        "location: { region: us-west-2, zone: us-east-1a }\n        restore",
    ));
    assert_eq!(
        Scenario::parse("zone-loss:us-east-1a", &twice),
        Err(Unsayable::Ambiguous {
            name: "us-east-1a".to_owned(),
            which: vec!["us-east-1/us-east-1a".to_owned(), "us-west-2/us-east-1a".to_owned()]
        })
    );
    assert!(Scenario::parse("zone-loss:us-west-2/us-east-1a", &twice).is_ok());
}

#[test]
fn all_that_can_be_said_is_listed() {
    let plan = shop();
    let all = Sayable::of(&Proof::of(&plan));
    let of = |it: FailureDomain| places(&plan, it).len();
    assert_eq!(all.scenarios.len(), FailureDomain::ALL.map(of).iter().sum::<usize>());
    assert_eq!(all.conditions.len(), Condition::ALL.len() - 1);
    for it in &all.scenarios {
        let scenario = Scenario::parse(&it.scenario, &plan).expect("what is listed can be said");
        assert_eq!(scenario.loss(&plan).components().count(), it.components.len());
    }
}
