//! `simulate`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_plan::compile;
use mainstay_sim::world::Fault;
use mainstay_sim::{Server, World};
use mainstay_store::Entry;

use super::golden::golden;
use super::journal::journal;
use super::{on, within};

const PLAN: &str = include_str!("../../../../examples/single-database.yaml");

fn example(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    fs::canonicalize(path).expect("it is there").display().to_string()
}

const RATES: &str = "\
failures:
  instance: { mttf: 60d, repair: { lognormal: { median: 30m, p95: 4h } } }
  host: { mttf: { weibull: { shape: 0.9, scale: 4y } }, repair: { empirical: [2h, 3h30m, 5h, 1d] } }
common_cause: { zone: 2 }
crews: 2
starts: 99.5
replication_lag: { lognormal: { median: 300ms, p95: 3s } }
phases: { all: uniform, act: { lognormal: { median: 2s, p95: 4s } }, converge: bound }
traffic: several
prices: { currency: EUR, instance_month: 400, storage_month: 30, down_hour: 2000 }
";

#[test]
fn two_examples_are_played() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("rates.yaml"), RATES).expect("writes");
    for (name, more) in [("single-database", &[][..]), ("warm-standby", &["--rates", "rates.yaml", "--seed", "7"])] {
        let plan = example(&format!("{name}.yaml"));
        let args = [&["simulate", &plan, "--trials", "1000"][..], more].concat();
        let said = within(dir.path(), &args);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
        assert!(said.out.lines().all(|it| it.chars().count() <= 110 && it.trim_end() == it), "{}", said.out);
        golden(&format!("simulate-{name}.txt"), &said.out);
        assert_eq!(said.out, within(dir.path(), &args).out, "the same seed gives the same bytes");
    }
}

/// Three restarts stand in the journal, each quicker than its bound by far.
#[test]
fn a_journal_measures_recoveries() {
    let plan = compile("plan.yaml", PLAN, Path::new("/")).plan.expect("the plan is sound");
    let mut world = World::new(plan);
    world.run_for(Duration::from_secs(3));
    for _ in 0..3 {
        world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Dead));
        world.run_for(Duration::from_secs(3600));
    }
    let entry = |it: mainstay_engine::codec::Encoded| Entry {
        wall_ns: it.at_ns.cast_signed(),
        mono_ns: 0,
        kind: it.kind,
        version: it.version,
        payload: it.payload,
    };
    let dir = journal(world.stored().into_iter().map(|(_, it)| entry(it)).collect());
    fs::write(dir.path().join("shop.yaml"), PLAN).expect("writes");
    let file = dir.path().join("shop.yaml").display().to_string();
    let half = |more: &[&str]| {
        let said = on(dir.path(), &[&["simulate", "--trials", "500", "--json", &file][..], more].concat());
        assert_eq!(said.code, Some(0), "{said:#?}");
        let json = said.json();
        let assumptions = json["report"]["assumptions"].as_array().expect("a list").clone();
        let measured =
            assumptions.iter().filter(|it| it["what"].as_str().is_some_and(|it| it.contains("was measured")));
        let measured: Vec<String> = measured.map(|it| format!("{}: {}", it["what"], it["value"])).collect();
        (json["report"]["components"][0]["rto"][0]["seconds"]["p50"]["value"].as_f64().expect("a time"), measured)
    };
    let ((assumed, none), (quick, three)) = (half(&[]), half(&["--measured"]));
    assert_eq!(none, Vec::<String>::new());
    assert_eq!(three, ["\"orders-db: restart_service was measured\": \"3 times\""]);
    assert!(quick < assumed / 2.0, "{quick} {assumed}");
    let said = on(dir.path(), &["simulate", "--trials", "20", "--json", &file, "--measured-failures"]).json();
    let mut rates = said["report"]["assumptions"].as_array().expect("a list").iter();
    let fails = rates.find(|it| it["what"] == "orders-db fails").expect("it is taken");
    let value = fails["value"].as_str().expect("text");
    assert_eq!(value, "3 times in 2h of being healthy, up to the last record: after 40m2s on average");
    let often = said["report"]["components"][0]["failures_a_year"].as_f64().expect("a number");
    assert!(often > 8_000.0, "once in forty minutes while it is whole: {often}");
    let empty = tempfile::tempdir().expect("a directory");
    for flag in ["--measured", "--measured-failures"] {
        assert_eq!(on(empty.path(), &["simulate", flag, &file]).code, Some(3));
    }
}

#[test]
fn strategies_are_compared() {
    const ALL: &str = "backup-restore,pilot-light,warm-standby,active-active";
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("rates.yaml"), RATES).expect("writes");
    let plan = example("warm-standby.yaml");
    let relative = within(dir.path(), &["simulate", &plan, "--trials", "1000", "--compare", ALL]);
    assert_eq!((relative.code, relative.err.as_str()), (Some(0), ""));
    golden("simulate-compare.txt", &relative.out);
    let args = ["simulate", &plan, "--trials", "500", "--compare", "active-active", "--rates", "rates.yaml", "--json"];
    let json = within(dir.path(), &args).json();
    let compared = &json["comparison"];
    assert_eq!(compared["unit_of_cost"], "EUR a month");
    assert_eq!(compared["strategies"][0]["name"], "active-active");
    assert_eq!(compared["strategies"][0]["cost"]["home"], 800.0);
}

#[test]
fn of_a_large_plan_the_costliest_are_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = example("five-hundred/plan.yaml");
    let said = within(dir.path(), &["simulate", &plan, "--trials", "5"]);
    assert_eq!(said.out.matches(" failures a year\n").count(), 10, "{}", said.out);
    assert!(said.out.contains(" more spend less: `--component NAME` shows one, `--all` all\n"), "{}", said.out);
    let one = within(dir.path(), &["simulate", &plan, "--trials", "5", "--component", "cart-lb-01"]);
    assert!(one.out.contains("\ncart-lb-01: ") && one.out.matches(" failures a year\n").count() == 1, "{}", one.out);
    within(dir.path(), &["simulate", &plan, "--component", "cart"]).fails(2, "error: there is no component `cart`\n");
}

#[test]
fn the_data_say_what_the_text_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = example("single-database.yaml");
    let args = ["simulate", &plan, "--trials", "500", "--years", "2", "--seed", "3", "--json"];
    let json = within(dir.path(), &args).json();
    let report = &json["report"];
    assert_eq!((&report["seed"], &report["trials"], &report["years"]), (&3.into(), &500.into(), &2.0.into()));
    let orders = &report["components"][0];
    assert_eq!(orders["name"], "orders-db");
    assert_eq!(orders["rto"][0]["lost"], "instance");
    assert!(orders["slo"]["met"]["value"].as_f64().is_some_and(|it| it > 0.0 && it < 1.0), "{orders:#}");
    let (low, value) = (&orders["own"]["minutes_a_year"]["low"], &orders["own"]["minutes_a_year"]["value"]);
    assert!(low.as_f64() < value.as_f64(), "{orders:#}");
    assert!(report["assumptions"].as_array().is_some_and(|it| it.iter().all(|it| it["given"] == false)));
}

#[test]
fn a_failure_is_played_and_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = example("single-database.yaml");
    for (golden_name, scenario) in [
        ("zone", "zone-loss:us-east-1a"),
        ("path", "instance-loss:orders-db+agents_path_gone"),
        ("region", "region-loss:us-east-1"),
        ("list", "list"),
    ] {
        let said = within(dir.path(), &["simulate", &plan, "--scenario", scenario]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
        assert!(said.out.lines().all(|it| it.chars().count() <= 105 && it.trim_end() == it), "{}", said.out);
        golden(&format!("simulate-scenario-{golden_name}.txt"), &said.out);
    }
    let args = ["simulate", &plan, "--scenario", "zone-loss:us-east-1a", "--json"];
    let json = within(dir.path(), &args);
    assert_eq!(json.out, within(dir.path(), &args).out, "the same question gives the same bytes");
    let told = &json.json()["scenario"];
    assert_eq!((&told["scenario"], &told["failure"]), (&"zone-loss:us-east-1a".into(), &"zone".into()));
    assert_eq!(told["components"][0]["recovered_in"], told["ways"]);
    assert_eq!(told["timeline"][0]["stage"], "lost");
    let all = within(dir.path(), &["simulate", &plan, "--scenario", "list", "--json"]).json();
    assert_eq!(all["sayable"]["scenarios"][0]["scenario"], "instance-loss:orders-db");
}

#[test]
fn what_is_no_scenario_lists_what_could_be_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = example("single-database.yaml");
    for (scenario, why) in [
        ("zone", "`zone` is no scenario: one is `instance-loss:NAME`"),
        ("zone-loss:us-east-1z", "the plan has no zone `us-east-1z`: there are us-east-1a, us-east-1b, us-east-1c"),
        ("zone-loss:us-east-1a+rain", "`rain` is no condition of the proof: there are regional_control_gone"),
    ] {
        let said = within(dir.path(), &["simulate", &plan, "--scenario", scenario]);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{scenario}");
        assert!(said.err.contains(why) && said.err.contains("\nhelp: `--scenario list`"), "{scenario}: {}", said.err);
    }
    let both = within(dir.path(), &["simulate", &plan, "--scenario", "zone-loss:us-east-1a", "--trials", "5"]);
    assert!(both.code == Some(2) && both.err.contains("--trials"), "{}", both.err);
}

/// What is on the page is tested where it is made.
#[test]
fn each_answer_has_a_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = example("single-database.yaml");
    for (asked, title) in [
        (&["--trials", "50"][..], "shop: how often, how long, and what for"),
        (&["--trials", "50", "--compare", "pilot-light,warm-standby"], "shop: strategies side by side"),
        (&["--scenario", "zone-loss:us-east-1a"], "shop: zone-loss:us-east-1a"),
    ] {
        let said = within(dir.path(), &[&["simulate", &plan, "--html", "page.html"], asked].concat());
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "written to page.html\n", ""));
        let page = fs::read_to_string(dir.path().join("page.html")).expect("it was written");
        assert!(page.starts_with("<!DOCTYPE html>\n") && page.contains(&format!("<h1>{title}</h1>")), "{title}");
        let piped = within(dir.path(), &[&["simulate", &plan, "--html", "-"], asked].concat());
        assert!(piped.out == page, "{title}: the same question gives the same bytes");
    }
    let nowhere = within(dir.path(), &["simulate", &plan, "--trials", "50", "--html", "none/page.html"]);
    assert_eq!((nowhere.code, nowhere.out.as_str()), (Some(3), ""));
    assert!(nowhere.err.starts_with("error: can't write `none/page.html`"), "{}", nowhere.err);
}

/// The same story as the developers' explorer tells of the seed; with a plan, it is played on that.
#[test]
fn a_trial_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let story = within(dir.path(), &["simulate", "--seed", "7", "--story"]);
    assert_eq!((story.code, story.err.as_str()), (Some(0), ""));
    assert_eq!(story.out, mainstay_sim::trial::Trial::of(7).told(true).1);
    let short = within(dir.path(), &["simulate", "--seed", "7"]);
    assert_eq!(short.out.lines().count(), 2);
    assert!(story.out.starts_with(short.out.lines().next().expect("a line")), "{}", short.out);
    let mine = within(dir.path(), &["simulate", &example("single-database.yaml"), "--story", "--seed", "3"]);
    assert!(mine.code == Some(0) && mine.out.starts_with("seed 3: shop, with "), "{}", mine.out);
    assert!(mine.out.ends_with("all is well\n"), "{}", mine.out);
    assert_eq!(within(dir.path(), &["simulate"]).code, Some(2));
}

#[test]
fn what_is_wrong_with_rates_is_said_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = example("single-database.yaml");
    let with = |text: &str| {
        fs::write(dir.path().join("rates.yaml"), text).expect("writes");
        within(dir.path(), &["simulate", &plan, "--rates", "rates.yaml"])
    };
    for (text, why) in [
        ("failures:\n  instance: { mttf: 90 }\n", "line 2"),
        ("failures: { instances: { mttf: 90d } }\n", "instances"),
        ("starts: 995\n", "`starts` is a percentage"),
        ("components: { order-db: { starts: 90 } }\n", "the plan has orders-db"),
    ] {
        let said = with(text);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{text}");
        assert!(said.err.contains(why) && said.err.contains("\nhelp: docs/simulate.md"), "{text}: {}", said.err);
    }
    let none = within(dir.path(), &["simulate", &plan, "--rates", "none.yaml"]);
    assert!(
        none.code == Some(2) && none.err.starts_with("error: there is no file `none.yaml`\nhelp: docs/simulate.md")
    );
    let strategy = within(dir.path(), &["simulate", &plan, "--compare", "cold-site"]);
    assert!(strategy.code == Some(2) && strategy.err.contains("`cold-site` is no strategy"), "{}", strategy.err);
    fs::write(dir.path().join("shop.yaml"), "version: 1\nsite: { name: shop, region: here }\n").expect("writes");
    assert_eq!(within(dir.path(), &["simulate", "shop.yaml"]).code, Some(1));
}
