//! A program under a lease: the kernel ends it, whatever stands still.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay_host::clock::boot_ns;
use mainstay_host::lease::book::Holding;
use mainstay_host::lease::held::Leases;
use rustix::process::{Pid, Signal, kill_process};

const TERM: Duration = Duration::from_millis(1500);

fn files() -> Holding {
    Holding { component: "files".to_owned(), instance: "files-a".to_owned() }
}

fn held(state: &Path, term: Duration) -> Leases {
    let leases = Leases::open(&state.join("leases")).expect("it is writable");
    let until = boot_ns() + u64::try_from(term.as_nanos()).expect("it is short");
    assert!(leases.extend(&files(), until, (0, 0), boot_ns()).expect("it is written"));
    leases
}

fn leash(state: &Path, script: &str) -> Child {
    leash_with(state, &[], script)
}

fn leash_with(state: &Path, options: &[&str], script: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(["leash", "--instance", "files-a", "--state"])
        .arg(state)
        .args(options)
        .args(["--", "/bin/sh", "-c", script])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is there")
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

fn until(what: impl Fn() -> bool) -> bool {
    (0..500).any(|_| {
        what() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }
    })
}

fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("it runs");
}

fn pid_in(file: &Path) -> u32 {
    assert!(until(|| lines(file) > 0), "the program says its pid");
    std::fs::read_to_string(file).expect("it is there").trim().parse().expect("a number")
}

#[test]
fn without_a_lease_nothing_is_started() {
    let state = tempfile::tempdir().expect("a folder for the test");
    let nowhere = leash(state.path(), "touch \"$0\"").wait_with_output().expect("it ends");
    assert_eq!(nowhere.status.code(), Some(3));
    assert!(!state.path().join("leases").exists(), "a folder that was named wrongly is not made");
    Leases::open(&state.path().join("leases")).expect("it is writable");
    let left = leash(state.path(), "touch \"$0\"").wait_with_output().expect("it ends");
    assert_eq!(left.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&left.stderr).contains("`files-a` holds no lease"), "{left:?}");
}

#[test]
fn what_ends_by_itself_says_how_and_signals_reach_it() {
    let state = tempfile::tempdir().expect("a folder for the test");
    held(state.path(), Duration::from_secs(60));
    assert_eq!(leash(state.path(), "exit 7").wait().expect("it ends").code(), Some(7));
    let ready = state.path().join("ready");
    let mut child =
        leash(state.path(), &format!("trap 'exit 9' TERM; echo 1 > {}; while :; do sleep 0.01; done", ready.display()));
    assert!(until(|| lines(&ready) == 1));
    send(child.id(), Signal::TERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(9));
}

#[test]
fn a_lease_that_is_taken_back_ends_it_and_one_that_is_renewed_does_not() {
    let state = tempfile::tempdir().expect("a folder for the test");
    let leases = held(state.path(), TERM);
    let mut child = leash(state.path(), "while :; do sleep 0.01; done");
    let later = boot_ns() + 60_000_000_000;
    assert!(leases.extend(&files(), later, (0, 0), boot_ns()).expect("it is written"));
    std::thread::sleep(TERM + Duration::from_millis(300));
    assert!(child.try_wait().expect("it is ours").is_none(), "it was renewed");
    leases.revoke(&files()).expect("it is written");
    assert_eq!(child.wait().expect("it ends").code(), Some(4));
}

#[test]
fn a_standby_runs_without_a_lease_and_ends_with_the_first_that_it_had() {
    let state = tempfile::tempdir().expect("a folder for the test");
    Leases::open(&state.path().join("leases")).expect("it is writable");
    let mut child = leash_with(state.path(), &["--standby"], "while :; do sleep 0.01; done");
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().expect("it is ours").is_none(), "a standby needs none");
    held(state.path(), TERM);
    std::thread::sleep(TERM / 2);
    assert!(child.try_wait().expect("it is ours").is_none(), "it holds it");
    std::thread::sleep(TERM);
    assert!(child.try_wait().expect("it is ours").is_some(), "it held it");
    let again = leash_with(state.path(), &["--standby"], "exit 0").wait().expect("it ends");
    assert_eq!(again.code(), Some(4), "its lease is over and not ended yet");
}

/// What a machine does that is stopped for longer than its leases, and then goes on.
#[test]
fn what_was_stopped_beyond_its_lease_does_nothing_more_when_it_goes_on() {
    let state = tempfile::tempdir().expect("a folder for the test");
    held(state.path(), TERM);
    let (pid_file, written) = (state.path().join("pid"), state.path().join("written"));
    let script = format!("echo $$ > {}; while :; do echo x >> {}; done", pid_file.display(), written.display());
    let mut child = leash(state.path(), &script);
    let program = pid_in(&pid_file);
    assert!(until(|| lines(&written) > 100), "it works");
    send(child.id(), Signal::STOP);
    send(program, Signal::STOP);
    std::thread::sleep(Duration::from_millis(50));
    let then = lines(&written);
    std::thread::sleep(TERM + Duration::from_millis(300));
    // The leash is gone, although it was stopped; the program was killed with it.
    assert!(child.wait().expect("it is ended").code().is_none());
    let _ = kill_process(Pid::from_raw(i32::try_from(program).expect("a pid")).expect("a pid"), Signal::CONT);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(lines(&written), then, "it wrote after its lease");
}

#[test]
fn a_leash_that_is_killed_takes_the_program_with_it() {
    let state = tempfile::tempdir().expect("a folder for the test");
    held(state.path(), Duration::from_secs(60));
    let (pid_file, written) = (state.path().join("pid"), state.path().join("written"));
    let script = format!("echo $$ > {}; while :; do echo x >> {}; done", pid_file.display(), written.display());
    let mut child = leash(state.path(), &script);
    pid_in(&pid_file);
    assert!(until(|| lines(&written) > 100), "it works");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    std::thread::sleep(Duration::from_millis(50));
    let then = lines(&written);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(lines(&written), then);
}
