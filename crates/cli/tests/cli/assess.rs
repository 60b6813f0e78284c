//! `assess`.

use std::fs;

use super::golden::golden;
use super::within;

const PLAN: &str = include_str!("../../../sim/tests/plans/database.yaml");

#[test]
fn a_plan_is_assessed_as_text_markdown_and_data() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("shop.yaml"), PLAN).expect("writes");
    let said = within(dir.path(), &["assess", "shop.yaml"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    golden("assess.txt", &said.out);
    let markdown = within(dir.path(), &["assess", "--markdown", "shop.yaml"]);
    assert_eq!(markdown.code, Some(0));
    assert!(markdown.out.starts_with("# ") && markdown.out.contains("\n- [ ] "), "{}", markdown.out);
    let json = within(dir.path(), &["assess", "--json", "shop.yaml"]).json();
    assert_eq!(json["valid"], true);
    assert!(json["findings"].is_null(), "{json:#}");
    let assessment = &json["assessment"];
    assert_eq!(assessment["strategies"]["components"][0]["zone"]["lost"], "zone");
    assert_eq!(assessment["readiness"]["lines"].as_array().expect("lines").len(), 20);
}

#[test]
fn without_a_plan_there_is_nothing_to_assess() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("shop.yaml"), PLAN.replace("version: 2", "version: 7")).expect("writes");
    let said = within(dir.path(), &["assess", "shop.yaml"]);
    // Standard output may be on its way into a runbook.
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.contains("there is no plan: 1 error"), "{}", said.err);
    let json = within(dir.path(), &["assess", "--json", "shop.yaml"]);
    assert_eq!((json.code, &json.json()["assessment"]), (Some(1), &serde_json::Value::Null));
    assert_eq!(json.json()["findings"][0]["severity"], "error");
    within(dir.path(), &["assess", "none.yaml"])
        .fails(2, "error: there is no file `none.yaml`\nhelp: `mainstay init none.yaml` writes a plan to start from\n");
    assert_eq!(within(dir.path(), &["assess", "--json", "--markdown", "shop.yaml"]).code, Some(2));
}
