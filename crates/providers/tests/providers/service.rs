//! Starting and stopping services; above all, what counts as stopped.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use mainstay_plan::action::{Action, Outcome, Service, ServiceOp};

use crate::fixtures::*;

/// Starts a daemon that prints, and returns.
const START: &str = "(echo up; echo up >&2; exec sleep 1000) & echo $! > $1.new; mv $1.new $1";

fn daemon(pid_file: &Path, stop_grace: Duration) -> Service {
    Service::Declared {
        start: script(START, &[pid_file]),
        stop: None,
        status: None,
        pid_file: Some(pid_file.to_owned()),
        stop_grace,
    }
}

/// A service that is a file: it runs while the file is there.
fn flag(path: &Path) -> Service {
    Service::Declared {
        start: script("echo >> $1.starts; touch $1", &[path]),
        stop: Some(script("rm $1", &[path])),
        status: Some(script("test -e $1", &[path])),
        pid_file: None,
        stop_grace: LONG,
    }
}

fn unseeable(start: &str, stop: Option<&str>) -> Service {
    Service::Declared {
        start: script(start, &[]),
        stop: stop.map(|stop| script(stop, &[])),
        status: None,
        pid_file: None,
        stop_grace: LONG,
    }
}

fn with(op: ServiceOp, service: Service) -> Action {
    Action::Service { op, service }
}

#[tokio::test]
async fn a_daemon_is_started_left_behind_and_stopped() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid_file = directory.path().join("pid");
    let service = daemon(&pid_file, LONG);
    assert_eq!(act(&with(ServiceOp::Start, service.clone())).await, Outcome::Done);
    let started = Stranger::of(&pid_file).await;
    assert_eq!(act(&with(ServiceOp::Start, service.clone())).await, Outcome::Done, "it runs already");
    assert!(!started.is_gone(), "what was started stays");
    assert_eq!(act(&with(ServiceOp::Restart, service.clone())).await, Outcome::Done);
    assert!(started.is_gone());
    let restarted = Stranger::of(&pid_file).await;
    assert_eq!(act(&with(ServiceOp::Stop, service.clone())).await, Outcome::Done);
    assert!(restarted.is_gone());
    assert_eq!(act(&with(ServiceOp::Stop, service)).await, Outcome::Done, "stopping what is stopped");
}

#[tokio::test]
async fn a_stop_is_orderly_where_that_works_and_forced_where_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut willing = Sleeper::start();
    let pid_file = willing.pid_file(directory.path());
    assert_eq!(act(&with(ServiceOp::Stop, daemon(&pid_file, LONG))).await, Outcome::Done);
    assert_eq!(willing.signal_that_ended_it(), Some(15));

    let mut frozen = Sleeper::start();
    let pid_file = frozen.pid_file(directory.path());
    frozen.freeze().await;
    assert_eq!(act(&with(ServiceOp::Stop, daemon(&pid_file, Duration::from_millis(20)))).await, Outcome::Done);
    assert_eq!(frozen.signal_that_ended_it(), Some(9));

    let mut killed = Sleeper::start();
    let pid_file = killed.pid_file(directory.path());
    assert_eq!(act(&with(ServiceOp::Kill, daemon(&pid_file, LONG))).await, Outcome::Done);
    assert_eq!(killed.signal_that_ended_it(), Some(9));
}

#[tokio::test]
async fn a_frozen_process_runs_whatever_the_status_command_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut frozen = Sleeper::start();
    let pid_file = frozen.pid_file(directory.path());
    frozen.freeze().await;
    let service = Service::Declared {
        start: words(&["false"]),
        stop: Some(words(&["false"])),
        status: Some(words(&["false"])),
        pid_file: Some(pid_file),
        stop_grace: LONG,
    };
    assert_eq!(act(&with(ServiceOp::Stop, service)).await, Outcome::Done);
    assert_eq!(frozen.signal_that_ended_it(), Some(9));
}

#[tokio::test]
async fn a_number_that_is_another_process_s_by_now_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut innocent = Sleeper::start();
    let pid_file = innocent.pid_file(directory.path());
    let before_its_start = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&pid_file).and_then(|file| file.set_modified(before_its_start)).expect("aged");
    for op in [ServiceOp::Stop, ServiceOp::Kill] {
        assert_failed(&act(&with(op, daemon(&pid_file, LONG))).await, "left alone");
    }
    assert!(innocent.0.try_wait().expect("its state").is_none(), "it runs");
}

#[tokio::test]
async fn a_process_that_comes_back_is_not_stopped() {
    let directory = tempfile::tempdir().expect("a directory");
    let old = Sleeper::start();
    let pid_file = old.pid_file(directory.path());
    let revive = "old=$(cat $1); sleep 1000 & echo $! > $1.new; mv $1.new $1; kill $old";
    let service = Service::Declared {
        start: words(&["true"]),
        stop: Some(script(revive, &[&pid_file])),
        status: None,
        pid_file: Some(pid_file.clone()),
        stop_grace: LONG,
    };
    assert_failed(&act(&with(ServiceOp::Stop, service)).await, "came back");
    let _ends_with_the_test = Stranger::of(&pid_file).await;
}

#[tokio::test]
async fn a_status_command_is_asked_before_and_after() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("running");
    for op in [ServiceOp::Start, ServiceOp::Start, ServiceOp::Restart] {
        assert_eq!(act(&with(op, flag(&path))).await, Outcome::Done, "{op:?}");
        assert!(path.exists());
    }
    let starts = fs::read_to_string(path.with_extension("starts")).expect("it was started");
    assert_eq!(starts.lines().count(), 2, "what runs is not started again");
    for op in [ServiceOp::Stop, ServiceOp::Stop, ServiceOp::Kill] {
        assert_eq!(act(&with(op, flag(&path))).await, Outcome::Done, "{op:?}");
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_stop_that_was_not_seen_is_not_done() {
    let deaf = Service::Declared {
        start: words(&["true"]),
        stop: Some(words(&["true"])),
        status: Some(words(&["true"])),
        pid_file: None,
        stop_grace: Duration::ZERO,
    };
    assert!(matches!(act_in_vain(&with(ServiceOp::Stop, deaf)).await, Outcome::Unknown(_) | Outcome::Failed(_)));
    for op in [ServiceOp::Stop, ServiceOp::Kill] {
        assert_unknown(&act(&with(op, unseeable("exit 0", Some("exit 0")))).await, "add status or pid_file");
        assert_failed(&act(&with(op, unseeable("exit 0", Some("echo no; exit 1")))).await, "exited with 1: no");
        assert_failed(&act(&with(op, unseeable("exit 0", None))).await, "neither a stop command nor a pid file");
    }
    assert_eq!(act(&with(ServiceOp::Restart, unseeable("exit 0", Some("exit 0")))).await, Outcome::Done);
}

#[tokio::test]
async fn a_status_command_that_cannot_say_confirms_nothing() {
    // 255 is what ssh says when it could not even ask.
    for status in [words(&["no-such-command-at-all"]), script("kill -9 $$", &[]), script("exit 255", &[])] {
        let service = Service::Declared {
            start: words(&["true"]),
            stop: Some(words(&["true"])),
            status: Some(status),
            pid_file: None,
            stop_grace: LONG,
        };
        assert_failed(&act(&with(ServiceOp::Stop, service)).await, "nothing was done");
    }
}

#[tokio::test]
async fn a_start_that_fails_or_was_not_seen_has_failed() {
    assert_failed(&act(&with(ServiceOp::Start, unseeable("exit 4", None))).await, "exited with 4");
    let directory = tempfile::tempdir().expect("a directory");
    let service = Service::Declared {
        start: words(&["true"]),
        stop: None,
        status: None,
        pid_file: Some(directory.path().join("never")),
        stop_grace: LONG,
    };
    let action = with(ServiceOp::Start, service);
    // On a machine that is too busy, even the first look does not end in time; that has failed as well.
    assert!(matches!(act_in_vain(&action).await, Outcome::Failed(_) | Outcome::Unknown(_)));
}

#[tokio::test]
async fn an_unreadable_pid_file_confirms_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid_file = directory.path().join("pid");
    fs::write(&pid_file, "?").expect("written");
    assert_failed(&act(&with(ServiceOp::Stop, daemon(&pid_file, LONG))).await, "holds no process id");
}

#[tokio::test]
async fn a_start_that_is_given_up_ends_with_its_group() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid_file = directory.path().join("pid");
    let service = Service::Declared {
        start: script("sleep 1000 & echo $! > $1.new; mv $1.new $1; wait", &[&pid_file]),
        stop: None,
        status: Some(words(&["false"])),
        pid_file: None,
        stop_grace: LONG,
    };
    let action = with(ServiceOp::Start, service);
    let child = tokio::select! {
        outcome = act(&action) => panic!("it never ends by itself: {outcome:?}"),
        child = Stranger::of(&pid_file) => child,
    };
    until(|| child.is_gone()).await;
}

#[tokio::test]
async fn systemd_that_does_not_run_here_is_said_so() {
    if Path::new("/run/systemd/system").is_dir() {
        return;
    }
    let action = with(ServiceOp::Start, Service::Systemd { unit: "postgresql.service".to_owned() });
    assert_failed(&act(&action).await, "systemd does not run here");
    let prepared = mainstay_providers::Providers::new().prepare_action(&action).await;
    assert!(matches!(prepared, Err(mainstay_providers::PrepareError::Systemd(_))), "{prepared:?}");
}
