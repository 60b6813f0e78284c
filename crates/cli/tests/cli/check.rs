//! `init` and `check`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::golden::golden;
use super::{Said, mainstay, within};

const PLAN: &str = include_str!("../../../sim/tests/plans/database.yaml");

#[test]
fn a_plan_is_proved() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("shop.yaml"), PLAN).expect("writes");
    let said = within(dir.path(), &["check", "shop.yaml"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    golden("check.txt", &said.out);
    let brief = within(dir.path(), &["check", "--no-proof", "shop.yaml"]);
    assert!(said.out.ends_with(&brief.out[brief.out.rfind("plan is").expect("a summary")..]), "{brief:#?}");
    assert!(!brief.out.contains("rests on"), "{}", brief.out);
}

#[test]
fn a_wrong_plan_is_no() {
    let dir = tempfile::tempdir().expect("a directory");
    let wrong = PLAN.replace("timeout: 200ms, fall: 3", "timeuot: 200ms, fall: 3").replace("need: 1", "need: 2");
    fs::write(dir.path().join("shop.yaml"), wrong).expect("writes");
    let said = within(dir.path(), &["check", "shop.yaml"]);
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""));
    golden("check-wrong.txt", &said.out);
    let json = within(dir.path(), &["check", "--json", "shop.yaml"]);
    assert_eq!(json.code, Some(1));
    assert_eq!(json.json()["valid"], false);
    assert_eq!(json.json()["findings"][0]["severity"], "error");
    assert!(json.json()["proof"].is_null());
}

#[test]
fn warnings_are_no_where_they_are_denied() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(within(dir.path(), &["init", "sound.yaml"]).code, Some(0));
    let sound = fs::read_to_string(dir.path().join("sound.yaml")).expect("it was written");
    let weak = sound.replace("rto: 1m", "rto: 1s");
    assert_ne!(weak, sound);
    fs::write(dir.path().join("weak.yaml"), weak).expect("writes");
    let code = |args: &[&str]| within(dir.path(), &[&["check"], args].concat()).code;
    assert_eq!(code(&["weak.yaml"]), Some(0));
    for how in ["--no-proof", "--json", "--sarif"] {
        assert_eq!(code(&["--deny-warnings", how, "weak.yaml"]), Some(1), "{how}");
        assert_eq!(code(&["--deny-warnings", how, "sound.yaml"]), Some(0), "{how}");
    }
    let said = within(dir.path(), &["check", "--deny-warnings", "--no-proof", "weak.yaml"]);
    assert!(said.out.trim_end().ends_with("; warnings are denied"), "{}", said.out);
}

#[test]
fn findings_are_sarif_where_that_is_wanted() {
    let dir = tempfile::tempdir().expect("a directory");
    let here = dir.path().canonicalize().expect("it is there");
    let wrong = PLAN.replace("timeout: 200ms, fall: 3", "timeuot: 200ms, fall: 3").replace("need: 1", "need: 2");
    fs::write(here.join("the shop.yaml"), wrong).expect("writes");
    let said = within(&here, &["check", "--sarif", "the shop.yaml"]);
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""));
    let absolute = here.join("the shop.yaml").display().to_string();
    assert_eq!(within(&here, &["check", "--sarif", &absolute]).out, said.out, "named by its place in the repository");
    let mut document = said.json();
    let driver = &mut document["runs"][0]["tool"]["driver"];
    assert!(driver["rules"].as_array().expect("rules").len() > 40);
    // These change with every release, and with every code.
    for field in ["rules", "version", "semanticVersion"] {
        driver[field].take();
    }
    golden("check-sarif.txt", &(serde_json::to_string_pretty(&document).expect("it is JSON") + "\n"));
    fs::write(here.join("sound.yaml"), PLAN).expect("writes");
    assert_eq!(within(&here, &["check", "--sarif", "sound.yaml"]).code, Some(0));
    assert_eq!(within(&here, &["check", "--sarif", "--json", "sound.yaml"]).code, Some(2));
    assert_eq!(within(&here, &["check", "--sarif", "absent.yaml"]).code, Some(2));
}

#[test]
fn a_plan_can_come_by_a_pipe() {
    let mut child = mainstay(&["check", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("a pipe").write_all(PLAN.as_bytes()).expect("it reads");
    let said = Said::from(child.wait_with_output().expect("it ends"));
    assert_eq!(said.code, Some(0));
    assert_eq!(said.json()["file"], "standard input");
    assert!(!said.json()["proof"].as_array().expect("cells").is_empty());
}

#[test]
fn a_file_that_is_none_is_usage() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |file: &str| within(dir.path(), &["check", file]);
    check("shop.yaml")
        .fails(2, "error: there is no file `shop.yaml`\nhelp: `mainstay init shop.yaml` writes a plan to start from\n");
    check(".").fails(2, "error: `.` is a directory\nhelp: name the plan's file in it\n");
    fs::write(dir.path().join("latin1.yaml"), b"version: 2\nsite: caf\xe9\n").expect("writes");
    check("latin1.yaml")
        .fails(2, "error: `latin1.yaml` is not UTF-8: byte 20, on line 2, is not text\nhelp: save the file as UTF-8\n");
    let secret = dir.path().join("secret.yaml");
    fs::write(&secret, PLAN).expect("writes");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).expect("changes the mode");
    if fs::read(&secret).is_err() {
        check("secret.yaml").fails(2, "error: no permission to read `secret.yaml`\n");
    }
}

#[test]
fn init_writes_a_sound_plan_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = within(dir.path(), &["init", "shop.yaml"]);
    assert_eq!(said.code, Some(0));
    golden("init.txt", &said.out);
    assert_eq!(within(dir.path(), &["check", "shop.yaml"]).code, Some(0));
    within(dir.path(), &["init", "shop.yaml"]).fails(
        4,
        "error: `shop.yaml` is there already; nothing was written\nhelp: name another file, or move this one away\n",
    );
    assert_eq!(within(dir.path(), &["init", "no/such/place.yaml"]).code, Some(2));
}

#[test]
fn a_large_plan_is_proved_on_one_page() {
    let plan = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/five-hundred/plan.yaml");
    let dir = tempfile::tempdir().expect("a directory");
    let said = within(dir.path(), &["check", plan]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let page = said.out.find("  failure   without").expect("a summary");
    golden("check-large.txt", &said.out[page..]);
    let one = within(dir.path(), &["check", "--component", "cart-lb-01", plan]);
    assert!(one.out.contains("\ncart-lb-01 (load_balancer") && !one.out.contains("\ncart-lb-02 ("), "{}", one.out);
    let all = within(dir.path(), &["check", "--all", plan]);
    assert_eq!(all.out.matches("\n  failure ").count(), 500);
    let none = within(dir.path(), &["check", "--component", "cart-lb-99", plan]);
    assert_eq!(none.code, Some(2));
    assert!(none.err.starts_with("error: there is no component `cart-lb-99`\nhelp: the plan has "), "{}", none.err);
}

#[test]
fn a_secret_is_shown_by_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = PLAN.replace(
        "version: 2\n",
        "version: 2\nvariables: { token: { env: SECRET_OF_THE_TEST, secret: true } }\nnotifications:\n  told: { send: { webhook: { url: \"http://10.0.9.9/\", headers: { authorization: \"${token}\" }, body: \"${token}\" } } }\n",
    );
    let plan = plan.replace(
        "    activate:\n",
        "    activate:\n      - trigger_file: { path: /run/x, content: \"${token}\" }\n      - command: { run: [x], env: { T: \"${token}\" } }\n",
    );
    assert!(plan.matches("${token}").count() >= 4, "{plan}");
    fs::write(dir.path().join("shop.yaml"), &plan).expect("writes");
    for args in [
        &["check", "shop.yaml"][..],
        &["check", "--json", "shop.yaml"],
        &["check", "--print-effective", "shop.yaml"],
        &["check", "--sarif", "shop.yaml"],
        &["plan", "shop.yaml"],
        &["plan", "--json", "shop.yaml"],
        &["plan", "--dot", "shop.yaml"],
        &["plan", "--svg", "shop.yaml"],
        &["assess", "shop.yaml"],
    ] {
        let mut command = mainstay(args);
        let said: Said =
            command.current_dir(dir.path()).env("SECRET_OF_THE_TEST", "hush-hush").output().expect("it starts").into();
        assert_eq!(said.code, Some(0), "{args:?}: {}{}", said.out, said.err);
        assert!(!said.out.contains("hush-hush") && !said.err.contains("hush-hush"), "{args:?}: {}", said.out);
    }
}
