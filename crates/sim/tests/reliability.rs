//! The model of a plan: against closed forms where it is small enough to have one, against the proof where it is not.

use std::fs;
use std::path::Path;

use mainstay_plan::{Plan, Proof, Surroundings};
use mainstay_sim::reliability::compare::{Comparison, candidates};
use mainstay_sim::reliability::history::Outage;
use mainstay_sim::reliability::model::{Loss, Member, Model, Part, Source, Unit, Way};
use mainstay_sim::reliability::rates::Kind;
use mainstay_sim::reliability::trials::{self, Tally};
use mainstay_sim::reliability::{Distribution, Options, Rates, Redundancy, Report, rates_file};

/// Seconds.
const HOUR: f64 = 3600.0;

const OPTIONS: Options = Options { trials: 400, years: 1.0, seed: 20_260_104, confidence: 0.99 };

fn rates(text: &str) -> Rates {
    Rates::of(rates_file::read(text).expect("the rates are right"))
}

fn plans() -> Vec<(String, Plan)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let entries = fs::read_dir(dir).expect("there are examples").map(|it| it.expect("readable").path());
    let mut paths: Vec<_> = entries.filter(|it| it.extension().is_some_and(|it| it == "yaml")).collect();
    paths.sort();
    let around = Surroundings {
        read: &|_| Err("it stands alone".to_owned()),
        variable: &|it| (it == "SHOP_PAGER_TOKEN").then(|| "hush".to_owned()),
        needs_secrets: true,
    };
    let read = |it: &std::path::PathBuf| {
        let name = it.file_stem().and_then(|it| it.to_str()).expect("a name").to_owned();
        let text = fs::read_to_string(it).expect("readable");
        let compiled = mainstay_plan::compile_in("plan.yaml", text, Path::new("/"), &around);
        (name, compiled.plan.expect("it is a plan"))
    };
    paths.iter().map(read).collect()
}

fn model(plan: &Plan, text: &str) -> Model {
    Model::of(&Proof::of(plan), rates(text)).expect("the rates fit")
}

/// One component of so many units that fail and are repaired; a takeover takes no time and always works.
fn pair(units: usize, crews: usize) -> Model {
    let rates = rates(&format!("crews: {crews}\ndetected: 100"));
    let source = |at: usize| Source {
        name: format!("instance {at}"),
        kind: Kind::Instance,
        fails: Distribution::Exponential { mean: 1000.0 * HOUR },
        repair: Distribution::Exponential { mean: 10.0 * HOUR },
        only_while_serving: None,
    };
    let unit = |at: usize| Unit { name: format!("unit {at}"), sources: vec![at], hot: true };
    let way = |to: usize| Way {
        rung: 0,
        strategy: mainstay_plan::strategy::Strategy::FailoverToStandby,
        to,
        times: Vec::new(),
        tail: 0.0,
        failing: 0.0,
        works: 1.0,
        loss: Loss::NoState,
    };
    let ways: Vec<Way> = (1..units).map(way).collect();
    let member = Member {
        name: "pair".to_owned(),
        units: (0..units).collect(),
        needs: Vec::new(),
        waits_for: Vec::new(),
        ways: [ways, Vec::new(), Vec::new(), Vec::new()],
        proved: [None; 4],
        rto: [None; 4],
        rpo: None,
        slo_ppm: None,
        cool_down: 0.0,
        approval: false,
        odds: rates.odds("pair"),
        clients_need: true,
    };
    Model {
        sources: (0..units).map(source).collect(),
        units: (0..units).map(unit).collect(),
        members: vec![member],
        agent: Vec::new(),
        rates,
        left_out: Vec::new(),
    }
}

/// Hundreds of years each, so that it makes no difference that all of them begin whole.
fn unavailability(model: &Model) -> mainstay_sim::reliability::Estimate {
    let options = Options { trials: 150, years: 300.0, ..OPTIONS };
    let report = Report::of(model, &options, &trials::play(model, &options));
    let up = report.site.downtime.expect("there are histories").availability;
    mainstay_sim::reliability::Estimate { value: 1.0 - up.value, low: 1.0 - up.high, high: 1.0 - up.low }
}

#[test]
fn small_models_have_closed_forms_and_keep_to_them() {
    for (units, crews, books) in [(1, 1, 1.0 / 1.01), (2, 1, 0.999_803_960), (2, 2, 0.999_901_970)] {
        let exact = Redundancy::k_of_n(1, units, 1.0 / 1000.0, 1.0 / 10.0, crews).long_run().unavailability;
        let played = unavailability(&pair(units, crews));
        assert!(played.holds(exact) && played.holds(1.0 - books), "{units}, {crews}: {exact:e} is not in {played:?}");
        assert!((played.high - played.low) < 0.4 * exact, "{units}, {crews}: {played:?} holds anything");
    }
    // It can fail: a second crew halves it.
    assert!(!unavailability(&pair(2, 1)).holds(1.0 - 0.999_901_970));
}

/// With everything working, seen and repaired by nobody else, no recovery by the ladder is longer than the proof says.
#[test]
fn what_works_keeps_the_proof() {
    const WELL: &str =
        "starts: 100\nrestarts: 100\nrestores: 100\ndetected: 100\npeople: { approve: 0s }\nphases: { all: bound }";
    let mut met = 0;
    for (name, plan) in plans() {
        let model = model(&plan, WELL);
        let tally = trials::play(&model, &OPTIONS);
        for outage in tally.outages.iter().flatten().filter(|it| it.way == Some(0)) {
            let member = &model.members[outage.member];
            let proved = member.proved[outage.kind.domain() as usize].expect("there is no way without a proof");
            let all = outage.total() - outage.parts[Part::Held as usize];
            assert!(
                all <= proved + 1e-6,
                "{name}: {}, {:?}: {all} s, and {proved} is proved",
                member.name,
                outage.kind
            );
            met += 1;
        }
        // Nothing is recovered that the proof does not prove.
        let unproved = |it: &&Outage| model.members[it.member].proved[it.kind.domain() as usize].is_none();
        assert!(tally.outages.iter().flatten().filter(unproved).all(|it| it.way.is_none()), "{name}");
    }
    assert!(met > 5000, "{met}");
}

/// Worked out without trials: it lies in their interval, or next to it by what overlapping failures make.
#[test]
fn what_is_worked_out_is_what_is_played() {
    let (mut compared, mut outside) = (0, Vec::new());
    for (name, plan) in plans() {
        let model = model(&plan, "traffic: several");
        let options = Options { trials: 3000, ..OPTIONS };
        let report = Report::of(&model, &options, &trials::play(&model, &options));
        for it in &report.components {
            let (Some(own), Some(expected)) = (&it.own, it.expected_minutes_a_year) else { continue };
            compared += 1;
            let played = own.minutes_a_year;
            if expected < played.low * 0.95 || expected > played.high * 1.05 {
                outside.push(format!("{name}: {}: {expected} minutes, played {played:?}", it.name));
            }
        }
    }
    assert!(compared >= 12, "{compared}");
    assert!(outside.is_empty(), "{outside:#?}");
}

fn one(name: &str) -> Plan {
    plans().into_iter().find(|it| it.0 == name).expect("there is that example").1
}

#[test]
fn a_seed_gives_the_same_report_however_many_threads_there_are() {
    let model = model(&one("warm-standby"), "crews: 2");
    let report = |seed, threads| {
        let options = Options { seed, ..OPTIONS };
        let tally = trials::play_on(&model, &options, threads);
        serde_json::to_string(&Report::of(&model, &options, &tally)).expect("it is data")
    };
    assert_eq!(report(1, 1), report(1, 5));
    assert_ne!(report(1, 1), report(2, 1));
}

/// The bytes of a whole report. They may depend on nothing but the seed: not on the build, not on the machine.
#[test]
fn a_report_is_pinned() {
    let model = pair(2, 1);
    let report = Report::of(&model, &OPTIONS, &trials::play(&model, &OPTIONS));
    let text = serde_json::to_string(&report).expect("it is data");
    // FNV-1a: any change shows.
    let hash =
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, it| (hash ^ u64::from(it)).wrapping_mul(0x0100_0000_01b3));
    assert_eq!(hash, 0x03c2_e45b_1b4f_8e25, "{hash:#x}");
}

fn own_minutes(plan: &Plan, text: &str, name: &str) -> f64 {
    let model = model(plan, text);
    let tally: Tally = trials::play(&model, &OPTIONS);
    let at = model.members.iter().position(|it| it.name == name).expect("it is there");
    tally.own[at].iter().sum::<f64>() / 60.0 / OPTIONS.trials as f64
}

/// Each number of the file does what it says, and in the right direction.
#[test]
fn what_is_worse_costs_more() {
    let plan = one("single-database");
    let base = own_minutes(&plan, "", "orders-db");
    for worse in [
        "failures: { instance: { mttf: 1d } }",
        "failures: { region: { mttf: 1y } }",
        "failures: { region: { repair: 3d } }",
        "common_cause: { zone: 30, region: 30 }",
        "detected: 90",
        "starts: 50\nrestarts: 50",
        "replication_lag: { lognormal: { median: 4s, p95: 1m } }\nrestarts: 10",
        "crews: 1\nfailures: { instance: { mttf: 3d, repair: 3d } }",
    ] {
        let it = own_minutes(&plan, worse, "orders-db");
        assert!(it > base * 1.1, "{worse}: {it} and {base} without");
    }
    let by_hand = own_minutes(&plan, "restarts: 0\nstarts: 0\npeople: { recover: 5m }", "orders-db");
    let by_nobody = own_minutes(&plan, "restarts: 0\nstarts: 0", "orders-db");
    assert!(by_hand < by_nobody, "{by_hand} {by_nobody}");
    let well = "starts: 100\nrestarts: 100\ndetected: 100\nfailures: { region: { mttf: 9000y } }";
    let bound = own_minutes(&plan, &format!("{well}\nphases: {{ all: bound }}"), "orders-db");
    let half = own_minutes(&plan, well, "orders-db");
    assert!(bound > half, "{bound} {half}");
}

/// A restart loses nothing, a takeover what the standby had not received, a restore what is not in the archive.
#[test]
fn what_is_lost_is_what_the_way_loses() {
    let model = model(&one("single-database"), "restarts: 50\nstarts: 50\nfailures: { instance: { mttf: 20d } }");
    let tally = trials::play(&model, &OPTIONS);
    let mut seen = [0; 3];
    for outage in tally.outages.iter().flatten().filter(|it| model.members[it.member].rpo.is_some()) {
        let Some(way) = outage.way else { continue };
        let way = &model.members[outage.member].ways[outage.kind.domain() as usize][way];
        let loss = outage.loss.expect("it keeps state");
        let (at, holds) = match &way.loss {
            Loss::Nothing => (0, loss.abs() < 1e-12),
            Loss::Lag(..) => (1, loss > 0.0 && loss <= 5.0),
            Loss::Copy(_) => (2, loss > 0.0 && loss <= 60.0),
            Loss::NoState | Loss::Unknown => (0, false),
        };
        assert!(holds, "{way:?}: {loss}");
        seen[at] += 1;
    }
    assert!(seen.iter().all(|it| *it > 100), "{seen:?}");
}

#[test]
fn a_component_that_nobody_has_is_named() {
    let plan = one("single-database");
    let error = Model::of(&Proof::of(&plan), rates("components: { order-db: { starts: 90 } }"));
    assert_eq!(error, Err("the rates speak of `order-db`, and the plan has orders-db".to_owned()));
}

/// Each strategy is dearer than the one before, and loses less time.
#[test]
fn strategies_are_in_the_order_of_their_price() {
    let names = ["backup-restore", "pilot-light", "warm-standby", "active-active"].map(str::to_owned);
    for (name, plan) in plans() {
        let rates = rates("");
        let all = candidates(&names, &rates).expect("they are known");
        let compared = Comparison::of(&plan, &rates, &all, &OPTIONS).expect("the rates fit");
        for pair in compared.strategies.windows(2) {
            let minutes = |at: usize| pair[at].downtime.as_ref().map_or(0.0, |it| it.minutes_a_year.value);
            assert!(minutes(0) > minutes(1), "{name}: {} {}", pair[0].name, pair[1].name);
            assert!(pair[0].cost.total < pair[1].cost.total, "{name}: {} {}", pair[0].name, pair[1].name);
            let rto = |at: usize| pair[at].rto.as_ref().map_or(0.0, |it| it.p50.value);
            assert!(rto(0) > rto(1), "{name}: {} {}", pair[0].name, pair[1].name);
        }
    }
    let none = candidates(&["cold-site".to_owned()], &rates("")).expect_err("there is none");
    assert!(none.contains("`cold-site` is no strategy; there are backup-restore, "), "{none}");
}

#[test]
fn prices_make_money_of_it() {
    let plan = one("single-database");
    let text = "prices: { currency: EUR, instance_month: 400, storage_month: 30, down_hour: 900 }";
    let rates = rates(text);
    let all = candidates(&["warm-standby".to_owned()], &rates).expect("it is known");
    let compared = Comparison::of(&plan, &rates, &all, &OPTIONS).expect("the rates fit");
    let (it, cost) = (&compared.strategies[0], compared.strategies[0].cost);
    let down = it.downtime.as_ref().expect("histories").minutes_a_year.value / 60.0 / 12.0 * 900.0;
    assert_eq!(compared.unit_of_cost, "EUR a month");
    assert!((cost.home - 400.0).abs() < 1e-9 && (cost.elsewhere - 230.0).abs() < 1e-9);
    assert!((cost.total - 630.0 - down).abs() < 1e-6, "{cost:?} {down}");
}
