//! Probes of processes and files on this machine.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{DiskProbe, ProbeKind};

use crate::fixtures::*;

fn process(pid_file: &Path) -> ProbeKind {
    ProbeKind::Process { pid_file: pid_file.to_owned() }
}

fn freshness(path: &Path, max_age: Duration) -> ProbeKind {
    ProbeKind::FileFreshness { path: path.to_owned(), max_age }
}

#[tokio::test]
async fn a_process_that_runs_is_good_and_one_that_ended_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut sleeper = Sleeper::start();
    let pid_file = sleeper.pid_file(directory.path());
    assert_eq!(probe(&process(&pid_file)).await.answer, Answer::Good);
    sleeper.freeze().await;
    assert_eq!(probe(&process(&pid_file)).await.answer, Answer::Good, "stopped is not gone");
    rustix::process::kill_process(rustix::process::Pid::from_child(&sleeper.0), rustix::process::Signal::KILL)
        .expect("it can be killed");
    let stat = format!("/proc/{}/stat", sleeper.pid());
    until(|| fs::read_to_string(&stat).is_ok_and(|text| text.contains(") Z "))).await;
    assert_refused(&probe(&process(&pid_file)).await.answer, "is gone");
    assert_eq!(sleeper.signal_that_ended_it(), Some(9));
    assert_refused(&probe(&process(&pid_file)).await.answer, "is gone");
}

#[tokio::test]
async fn a_pid_file_may_be_missing_or_hold_anything() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid_file = directory.path().join("pid");
    assert_refused(&probe(&process(&pid_file)).await.answer, "there is no");
    for content in ["", "\n", "postgres", "-1", "0", "99999999999999"] {
        fs::write(&pid_file, content).expect("written");
        assert_wrong(&probe(&process(&pid_file)).await.answer, "holds no process id");
    }
    assert!(matches!(probe(&process(directory.path())).await.answer, Answer::CouldNotAsk(_)), "a directory");
}

#[tokio::test]
async fn the_age_of_a_file_is_judged_and_reported() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backup");
    assert_refused(&probe(&freshness(&path, LONG)).await.answer, "no such file");
    let file = File::create(&path).expect("made");
    let hour = Duration::from_secs(3600);
    file.set_modified(SystemTime::now() - hour).expect("aged");
    let old = probe(&freshness(&path, LONG)).await;
    assert_wrong(&old.answer, "ago");
    assert!(old.lag.is_some_and(|lag| lag >= hour));
    assert_eq!(probe(&freshness(&path, 2 * hour)).await.answer, Answer::Good);
    file.set_modified(SystemTime::now() + hour).expect("set to the future");
    let future = probe(&freshness(&path, Duration::ZERO)).await;
    assert_eq!((future.answer, future.lag), (Answer::Good, Some(Duration::ZERO)));
}

#[tokio::test]
async fn a_file_that_hangs_times_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let fifo = directory.path().join("pid");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a FIFO");
    let providers = mainstay_providers::Providers::new();
    for _ in 0..3 {
        // Opening a FIFO waits for somebody to write to it, as a dead network file system waits for its server.
        let answer = providers.probe(&process(&fifo), SHORT).await.answer;
        assert!(matches!(answer, Answer::TimedOut | Answer::CouldNotAsk(_)), "{answer:?}");
    }
    // The thread that waits must not outlive the test.
    let mut released = File::options().read(true).write(true).open(&fifo).expect("a writer");
    std::io::Write::write_all(&mut released, b"x\n").expect("written");
}

#[tokio::test]
async fn a_disk_has_room_or_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = |path: &Path, free_mib, free_ppm, free_inodes| {
        ProbeKind::Disk(DiskProbe { path: path.to_owned(), free_mib, free_ppm, free_inodes })
    };
    assert_eq!(probe(&disk(directory.path(), Some(0), Some(0), Some(0))).await.answer, Answer::Good);
    assert_wrong(&probe(&disk(directory.path(), Some(u32::MAX), None, None)).await.answer, "MiB");
    assert_wrong(&probe(&disk(directory.path(), None, Some(1_000_001), None)).await.answer, "%");
    assert_refused(&probe(&disk(Path::new("/no/such/place"), None, Some(1), None)).await.answer, "no such file");
}
