//! `plan`.

use std::fs;
use std::path::{Path, PathBuf};

use mainstay_plan::{Plan, compile};

use super::golden::golden;
use super::within;

/// The examples that come with the program, by name.
fn examples() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let files = fs::read_dir(folder).expect("there are examples").map(|it| it.expect("can be listed").path());
    let plans = files.filter(|it| it.extension().is_some_and(|ext| ext == "yaml"));
    let mut all: Vec<(String, PathBuf)> =
        plans.map(|it| (it.file_stem().expect("has a name").to_string_lossy().into_owned(), it)).collect();
    all.sort();
    assert!(all.len() >= 3, "{all:?}");
    all
}

fn compiled(file: &Path) -> Plan {
    let text = fs::read_to_string(file).expect("can be read");
    compile("example", &text, Path::new("/etc/mainstay")).plan.expect("is a plan")
}

fn shown(file: &Path, more: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let file = fs::canonicalize(file).expect("is there");
    let said = within(dir.path(), &[&["plan"], more, &[file.to_str().expect("is text")]].concat());
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    said.out
}

#[test]
fn examples_are_walked_through() {
    for (name, file) in examples() {
        let text = shown(&file, &[]);
        golden(&format!("plan-{name}.txt"), &text);
        assert!(text.lines().all(|it| it.chars().count() <= 100 && it.trim_end() == it), "{text}");
    }
}

#[test]
fn no_step_is_left_out() {
    for (_, file) in examples() {
        let (plan, text) = (compiled(&file), shown(&file, &[]));
        let mut lines = text.lines();
        for component in &plan.components {
            assert!(lines.any(|it| it.starts_with(&component.name)), "{} is missing", component.name);
            for bound in &component.instances {
                let heading = format!("hen bound to {} in ", plan.instance(*bound).name);
                assert!(lines.any(|it| it.contains(&heading)), "{heading} is missing, or in the wrong order");
                for (rung, number) in component.ladder.iter().zip(1..) {
                    let heading = format!("    Rung {number}: {}, ", rung.strategy.word());
                    assert!(lines.any(|it| it.starts_with(&heading)), "{heading} is missing, or in the wrong order");
                    for (step, number) in rung.plays[bound].steps.iter().zip(1..) {
                        let mark = if step.kind.is_irreversible() { "*" } else { " " };
                        // A long name goes on in the next line.
                        let head = format!("      {:<4}", format!("{number}{mark}"));
                        let begins = |it: &str| it.split("  ").next().is_some_and(|it| step.name.starts_with(it));
                        let there = lines.any(|it| it.strip_prefix(&head).is_some_and(begins));
                        assert!(there, "{head}{} is missing, or in the wrong order", step.name);
                    }
                }
            }
        }
    }
}

#[test]
fn the_data_say_the_same_by_name() {
    for (_, file) in examples() {
        let plan = compiled(&file);
        let data: serde_json::Value = serde_json::from_str(&shown(&file, &["--json"])).expect("is JSON");
        assert_eq!(data["plan"], plan.hash.as_str());
        for (component, walk) in plan.components.iter().zip(data["components"].as_array().expect("a list")) {
            assert_eq!(walk["name"], component.name.as_str());
            for (bound, binding) in component.instances.iter().zip(walk["bindings"].as_array().expect("a list")) {
                assert_eq!(binding["instance"], plan.instance(*bound).name.as_str());
                for (rung, told) in component.ladder.iter().zip(binding["rungs"].as_array().expect("a list")) {
                    let steps = &rung.plays[bound].steps;
                    let told = told["steps"].as_array().expect("a list");
                    assert_eq!(told.len(), steps.len());
                    for (step, told) in steps.iter().zip(told) {
                        assert_eq!(told["name"], step.name.as_str());
                        assert_eq!(told["plane"], step.plane.word());
                        assert_eq!(told["timeout_ms"], u64::try_from(step.timeout.as_millis()).expect("is short"));
                        assert_eq!(told["idempotent"], step.idempotent);
                        // A new binding alone needs nothing but the journal.
                        let alone = told["kind"] == "take_over" && component.routes.is_empty();
                        assert!(alone || !told["needs"].as_array().expect("a list").is_empty(), "{told}");
                    }
                }
            }
        }
    }
}

#[test]
fn one_component_can_be_asked_for() {
    let (_, file) = examples().into_iter().find(|it| it.0 == "zone-bound-cache").expect("is there");
    let one = shown(&file, &["--component", "catalogue-app"]);
    assert!(one.contains("\ncatalogue-app  ") && !one.contains("\ncatalogue-cache  "), "{one}");
    let both = shown(&file, &["--component", "catalogue-app", "--component", "catalogue-cache"]);
    assert_eq!(both, shown(&file, &[]));
    let dir = tempfile::tempdir().expect("a directory");
    let file = fs::canonicalize(file).expect("is there");
    within(dir.path(), &["plan", "--component", "cache", file.to_str().expect("is text")])
        .fails(2, "error: there is no component `cache`\nhelp: the plan has catalogue-app, catalogue-cache\n");
}

#[test]
fn a_picture_comes_alone() {
    for (_, file) in examples() {
        assert!(shown(&file, &["--svg"]).starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" "));
        assert!(shown(&file, &["--dot"]).starts_with("digraph plan {\n"));
    }
    let dir = tempfile::tempdir().expect("a directory");
    for pair in [["--svg", "--dot"], ["--svg", "--json"], ["--dot", "--json"]] {
        assert_eq!(within(dir.path(), &["plan", pair[0], pair[1], "x.yaml"]).code, Some(2));
    }
}

#[test]
fn without_a_plan_there_is_nothing_to_show() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("shop.yaml"), "version: 1\nsite: { name: shop, region: here }\n").expect("writes");
    let checked = within(dir.path(), &["check", "shop.yaml"]);
    for form in [&["plan", "shop.yaml"][..], &["plan", "--svg", "shop.yaml"], &["plan", "--json", "shop.yaml"]] {
        within(dir.path(), form).fails(1, &checked.out);
    }
    within(dir.path(), &["plan", "none.yaml"])
        .fails(2, "error: there is no file `none.yaml`\nhelp: `mainstay init none.yaml` writes a plan to start from\n");
}
