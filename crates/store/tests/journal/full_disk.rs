//! A disk that is really full: a small tmpfs in a mount namespace of our own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mainstay_store::journal::{AppendError, JOURNAL_FILE, Loss, WaitReason};
use mainstay_store::{Event, Options, Reader, StateDir, StateDirError};

use crate::fixture::{Events, entry, inner_dir, open, run_inner, skip, small};

const RESERVE_BYTES: u64 = 1 << 20;

/// The ways into a mount namespace: as root, and as a user where the kernel lets users have one.
const NAMESPACES: [&str; 2] = ["-m", "-rm"];

#[test]
fn a_full_disk_is_survived() {
    let dir = tempfile::tempdir().expect("a directory");
    let mount = format!("mount -t tmpfs -o size=6m tmpfs '{}'", dir.path().display());
    let permitted = NAMESPACES.iter().find(|flags| {
        let probe = Command::new("unshare").args([flags, "sh", "-c", &mount]).output();
        probe.is_ok_and(|probe| probe.status.success())
    });
    let Some(flags) = permitted else {
        return skip("a_full_disk_is_survived", "no permission to mount a tmpfs in a mount namespace");
    };
    let mut command = Command::new("unshare");
    command.args([flags, "sh", "-c", format!("{mount} && exec \"$@\"").as_str(), "sh"]);
    let output = run_inner(&mut command, "full_disk::inner_fill_the_disk", dir.path());
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "runs inside a_full_disk_is_survived"]
fn inner_fill_the_disk() {
    let Some(disk) = inner_dir() else { return };
    let state = disk.join("state");
    drop(StateDir::open(&state).expect("opens"));
    let acknowledged = run_on_the_reserve(&disk, &state);
    let acknowledged = start_on_a_full_disk(&disk, &state, acknowledged);
    read_on_a_read_only_disk(&disk, &state, acknowledged);
}

fn filler(disk: &Path) -> PathBuf {
    disk.join("filler")
}

fn fill(disk: &Path) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(filler(disk)).expect("opens");
    while file.write_all(&[1; 4096]).is_ok() {}
}

/// Appends until the journal waits for `reason`; returns the last number given out.
fn append_until(journal: &mainstay_store::Journal, events: &Events, reason: WaitReason) -> u64 {
    for _ in 0..1000 {
        let last = *journal.append(vec![entry(1, 16_000)]).expect("is not lost").end();
        match events.next() {
            Event::Durable { seq } => assert_eq!(seq, last),
            Event::Waiting { reason: found, .. } => {
                assert_eq!(found, reason);
                return last;
            }
            Event::Lost { reason } => panic!("the journal was lost: {reason}"),
        }
    }
    panic!("the disk does not become full");
}

fn patient() -> Options {
    Options {
        reserve_bytes: RESERVE_BYTES,
        reserve_retry: Duration::ZERO,
        full_patience: Duration::from_secs(3600),
        // No wait here is the disk's own.
        sync_deadline: Duration::from_secs(3600),
        ..small()
    }
}

/// Fills the disk under a journal, goes on, fills it again, makes room: nothing is lost and the reserve comes back.
fn run_on_the_reserve(disk: &Path, state: &Path) -> u64 {
    let (journal, _, events) = open(state, patient());
    assert!(journal.reserve_held());
    fill(disk);
    let last = append_until(&journal, &events, WaitReason::OnReserve);
    assert!(!journal.reserve_held());
    events.wait_durable(last);
    fill(disk);
    let last = append_until(&journal, &events, WaitReason::DiskFull);
    assert_eq!(journal.head().0, last - 1);
    fs::remove_file(filler(disk)).expect("makes room");
    events.wait_durable(last);
    let (head, _) = journal.close(Duration::from_secs(120)).expect("closes");
    assert_eq!(head, last);
    assert_eq!(fs::metadata(state.join("reserve")).expect("is there again").len(), RESERVE_BYTES);
    last
}

/// Starts where nothing but the reserve is left, and loses the journal, but no record, when that is used up.
fn start_on_a_full_disk(disk: &Path, state: &Path, acknowledged: u64) -> u64 {
    fill(disk);
    let (journal, found, events) = open(state, Options { full_patience: Duration::ZERO, ..patient() });
    assert_eq!(found.len() as u64, acknowledged);
    assert!(!journal.reserve_held(), "opening took it");
    let mut acknowledged = acknowledged;
    let reason = loop {
        // It may be lost by now; then that is told below.
        let _refused = journal.append(vec![entry(1, 16_000)]);
        fill(disk);
        match events.next() {
            Event::Durable { seq } => acknowledged = seq,
            Event::Waiting { .. } => {}
            Event::Lost { reason } => break reason,
        }
    };
    assert_eq!(reason, Loss::DiskFull);
    assert_eq!(journal.append(vec![entry(1, 1)]), Err(AppendError::Lost { reason }));
    assert_eq!(journal.head().0, acknowledged);
    drop(journal);
    fs::remove_file(filler(disk)).expect("makes room");
    let (journal, found, events) = open(state, patient());
    assert_eq!(found.len() as u64, acknowledged);
    let last = *journal.append(vec![entry(1, 10)]).expect("there is room").end();
    events.wait_durable(last);
    journal.close(Duration::from_secs(120)).expect("closes");
    last
}

fn read_on_a_read_only_disk(disk: &Path, state: &Path, acknowledged: u64) {
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(disk).status().expect("starts");
    if !remount.success() {
        return skip("read_on_a_read_only_disk", "no permission to remount");
    }
    assert!(!state.join(format!("{JOURNAL_FILE}-wal")).exists());
    let verified = Reader::open(state).expect("opens").verify(None).expect("holds");
    assert_eq!(verified.records, acknowledged);
    let error = StateDir::open(state).expect_err("can't be written");
    assert!(matches!(error, StateDirError::ReadOnly { .. }), "{error:?}");
}
