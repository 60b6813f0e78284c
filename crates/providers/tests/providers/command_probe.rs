//! Probes that run a command.

use std::time::Duration;

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::ProbeKind;
use mainstay_providers::{PrepareError, Providers};

use crate::fixtures::*;

fn command(argv: Vec<String>) -> ProbeKind {
    ProbeKind::Command { argv, reports_lag: true, reports_role: false }
}

fn shell(text: &str) -> ProbeKind {
    command(script(text, &[]))
}

#[tokio::test]
async fn the_exit_code_decides_and_the_last_line_explains() {
    assert_eq!(probe(&shell("exit 0")).await.answer, Answer::Good);
    let failed = probe(&shell("echo first; echo 'standby is gone' >&2; echo >&2; exit 3")).await.answer;
    assert_eq!(failed, Answer::Refused("exited with 3: standby is gone".to_owned()));
    assert_refused(&probe(&shell("kill -9 $$")).await.answer, "killed by signal 9");
}

#[tokio::test]
async fn the_last_line_is_the_lag_where_it_is_one() {
    let told = probe(&shell("echo connecting; echo 250ms; echo")).await;
    assert_eq!((told.answer, told.lag), (Answer::Good, Some(Duration::from_millis(250))));
    let untold = probe(&shell("echo fine")).await;
    assert_eq!((untold.answer, untold.lag), (Answer::Good, None));
    let unasked = ProbeKind::Command { argv: words(&["echo", "3s"]), reports_lag: false, reports_role: false };
    assert_eq!(probe(&unasked).await.lag, None);
}

#[tokio::test]
async fn the_last_line_is_the_role_where_it_is_asked_for() {
    let with =
        |text: &str, reports_lag| ProbeKind::Command { argv: script(text, &[]), reports_lag, reports_role: true };
    assert_eq!(probe(&with("echo connecting; echo replica", false)).await.role.as_deref(), Some("replica"));
    let both = probe(&with("echo role=active lag=1.5s", true)).await;
    assert_eq!((both.role.as_deref(), both.lag), (Some("active"), Some(Duration::from_millis(1500))));
    let failed = probe(&with("echo active; exit 1", false)).await;
    assert_eq!(failed.role, None, "{:?}", failed.answer);
}

#[tokio::test]
async fn endless_output_is_bounded_and_its_end_is_kept() {
    let told = probe(&shell("i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done; echo 2s")).await;
    assert_eq!((told.answer, told.lag), (Answer::Good, Some(Duration::from_secs(2))));
}

#[tokio::test]
async fn a_command_that_cannot_be_run_says_nothing_about_the_component() {
    let directory = tempfile::tempdir().expect("a directory");
    let plain = directory.path().join("not-executable");
    std::fs::write(&plain, "").expect("written");
    for argv in [words(&["no-such-command-at-all"]), words(&[&plain.display().to_string()]), Vec::new()] {
        let kind = command(argv);
        assert!(matches!(probe(&kind).await.answer, Answer::CouldNotAsk(_)));
        let prepared = Providers::new().prepare_probe(&kind).await;
        assert!(matches!(prepared, Err(PrepareError::Command { .. })), "{prepared:?}");
    }
    Providers::new().prepare_probe(&shell("exit 0")).await.expect("sh is there");
}

#[tokio::test]
async fn a_timeout_ends_the_whole_process_group() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid = directory.path().join("pid");
    let kind = command(script("sleep 1000 & echo $! > $1.new; mv $1.new $1; wait", &[&pid]));
    let providers = Providers::new();
    // The probe must live until its child is there, and then be given up; how long that takes is this machine's affair.
    let child = tokio::select! {
        _ = providers.probe(&kind, LONG) => panic!("it never ends by itself"),
        child = Stranger::of(&pid) => child,
    };
    until(|| child.is_gone()).await;
    assert_eq!(probe_in_vain(&shell("sleep 1000 & wait")).await, Answer::TimedOut);
}

#[tokio::test]
async fn what_a_probe_leaves_running_is_ended_and_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid = directory.path().join("pid");
    // It holds the pipe open, and would hold the probe up if the end of the pipe were waited for.
    let kind =
        command(script("sleep 1000 & echo $! > $1; read gate < $2; echo 1s", &[&pid, &directory.path().join("gate")]));
    let gate = directory.path().join("gate");
    rustix::fs::mknodat(rustix::fs::CWD, &gate, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a FIFO");
    let open_gate = async {
        let child = Stranger::of(&pid).await;
        tokio::fs::write(&gate, "go\n").await.expect("the gate opens");
        child
    };
    let (told, child) = tokio::join!(probe(&kind), open_gate);
    assert_eq!((told.answer, told.lag), (Answer::Good, Some(Duration::from_secs(1))));
    until(|| child.is_gone()).await;
}
