//! Commands and trigger files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mainstay_plan::action::{Action, Outcome, Plane};
use mainstay_providers::{Order, PrepareError, Providers};

use crate::fixtures::*;

fn command(argv: Vec<String>) -> Action {
    let env = BTreeMap::from([("ROLE".to_owned(), "standby".to_owned())]);
    Action::Command { argv, env, plane: Plane::Local, idempotent: true, reports_address: false }
}

/// A command that says where its instance is from then on.
fn bringing(argv: Vec<String>) -> Action {
    let env = BTreeMap::new();
    Action::Command { argv, env, plane: Plane::Local, idempotent: true, reports_address: true }
}

fn trigger(path: &Path, content: &str) -> Action {
    Action::TriggerFile { path: path.to_owned(), content: content.to_owned() }
}

#[tokio::test]
async fn a_command_gets_its_environment_and_the_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("out");
    let action = command(script("echo \"$ROLE $MAINSTAY_IDEMPOTENCY_KEY $HOME\" > $1", &[&out]));
    assert_eq!(act(&action).await, Outcome::Done);
    let home = std::env::var("HOME").unwrap_or_default();
    let told = fs::read_to_string(&out).expect("it was written");
    assert_eq!(told.trim_end(), format!("standby recovery-7/step-2 {home}").trim_end());
}

#[tokio::test]
async fn a_command_that_fails_says_why() {
    let failed = act(&command(script("echo 'no standby here' >&2; exit 5", &[]))).await;
    assert_eq!(failed, Outcome::Failed("exited with 5: no standby here".to_owned()));
    assert_failed(&act(&command(words(&["no-such-command-at-all"]))).await, "no such file");
    assert_failed(&act(&command(Vec::new())).await, "empty");
    assert_unknown(&act(&command(script("kill -9 $$", &[]))).await, "killed by signal 9");
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed_and_nobody_knows() {
    assert_unknown(&act_in_vain(&command(script("sleep 1000 & wait", &[]))).await, "did not end");
    let directory = tempfile::tempdir().expect("a directory");
    let pid = directory.path().join("pid");
    let action = command(script("sleep 1000 & echo $! > $1.new; mv $1.new $1; wait", &[&pid]));
    let child = tokio::select! {
        outcome = act(&action) => panic!("it never ends by itself: {outcome:?}"),
        child = Stranger::of(&pid) => child,
    };
    until(|| child.is_gone()).await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_stays_and_is_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid = directory.path().join("pid");
    assert_eq!(act(&command(script("sleep 1000 & echo $! > $1", &[&pid]))).await, Outcome::Done);
    assert!(!Stranger::of(&pid).await.is_gone());
}

#[tokio::test]
async fn a_trigger_file_is_replaced_whole_and_can_carry_the_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("promote");
    assert_eq!(act(&trigger(&path, "now\n")).await, Outcome::Done);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "now\n");
    fs::write(directory.path().join(".promote.mainstay-new"), "what a crash left").expect("written");
    assert_eq!(act(&trigger(&path, "key={idempotency_key}\n")).await, Outcome::Done);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "key=recovery-7/step-2\n");
    let names: Vec<_> =
        fs::read_dir(directory.path()).expect("listed").map(|entry| entry.expect("read").file_name()).collect();
    assert_eq!(names, ["promote"], "nothing else is left");
}

#[tokio::test]
async fn a_trigger_file_that_cannot_be_written_has_failed() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = trigger(&directory.path().join("missing/promote"), "now");
    assert_failed(&act(&nowhere).await, "no such file");
    assert!(matches!(Providers::new().prepare_action(&nowhere).await, Err(PrepareError::Directory { .. })));
    fs::create_dir(directory.path().join("taken")).expect("made");
    assert!(matches!(act(&trigger(&directory.path().join("taken"), "now")).await, Outcome::Failed(_)));
    assert_failed(&act(&trigger(Path::new("/"), "now")).await, "names no file");
    assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1, "nothing is left beside");
}

#[tokio::test]
async fn the_last_line_is_where_the_instance_is() {
    let restored = bringing(script("echo 'restoring 3 of 3'; echo; echo 10.0.3.7; echo", &[]));
    assert_eq!(act(&restored).await, Outcome::DoneAt([10, 0, 3, 7].into()));
    let six = act(&bringing(script("echo 2001:db8::7", &[]))).await;
    assert_eq!(six, Outcome::DoneAt("2001:db8::7".parse().expect("an address")));
    let ordinary = act(&command(script("echo 10.0.3.7", &[]))).await;
    assert_eq!(ordinary, Outcome::Done, "nobody asked where it is");
}

#[tokio::test]
async fn whoever_says_no_address_is_not_known_to_be_anywhere() {
    assert_unknown(&act(&bringing(script("true", &[]))).await, "said no address");
    assert_unknown(&act(&bringing(script("echo 10.0.3.7:5432", &[]))).await, "`10.0.3.7:5432`");
    let secret = act(&bringing(script("echo 10.0.3.7; echo 'password: hunter2'", &[]))).await;
    assert_unknown(&secret, "17 characters");
    assert!(!format!("{secret:?}").contains("hunter2"));
    assert_failed(&act(&bringing(script("echo 10.0.3.7; exit 4", &[]))).await, "exited with 4");
}

#[tokio::test]
async fn commands_are_told_where_the_instance_is_that_is_not_where_the_plan_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("out");
    let says = command(script("echo \"$MAINSTAY_ADDRESS.\" > $1", &[&out]));
    let told = || fs::read_to_string(&out).expect("it was written").trim_end().to_owned();
    act(&says).await;
    assert_eq!(told(), ".", "nothing is said of one that is where the plan says");
    let order = Order { address: Some([10, 0, 3, 7].into()), ..order(LONG) };
    assert_eq!(Providers::new().act(&says, &order).await, Outcome::Done);
    assert_eq!(told(), "10.0.3.7.");
}
