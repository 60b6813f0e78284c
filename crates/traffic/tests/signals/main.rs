//! Signals belong to a whole process, so this test has one of its own.

use std::time::Duration;

use mainstay_traffic::{Options, run};
use rustix::process::{Signal, getpid, kill_process};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_is_ignored_and_sigterm_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        state_dir: dir.path().to_owned(),
        site: "here".into(),
        socket: None,
        take_over: false,
        follows: false,
        successor: None,
    };
    let socket = options.socket_path();
    let running = tokio::spawn(run(options));
    let ends = async {
        while UnixStream::connect(&socket).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..3 {
            kill_process(getpid(), Signal::HUP).unwrap();
            UnixStream::connect(&socket).await.unwrap();
        }
        kill_process(getpid(), Signal::TERM).unwrap();
        running.await.unwrap().unwrap();
    };
    timeout(Duration::from_secs(30), ends).await.unwrap();
    assert!(!socket.exists());
}
