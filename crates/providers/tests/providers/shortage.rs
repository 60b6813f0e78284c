//! What is said when we are the ones who lack something.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use mainstay_plan::probe::{Address, DnsRecord, ProbeKind};
use mainstay_providers::Providers;
use rustix::process::{Resource, Rlimit};

use crate::fixtures::*;

/// Runs the test below in a process of its own, because a limit holds for a whole process.
#[test]
fn without_descriptors_nothing_looks_dead() {
    let test = std::env::current_exe().expect("this test");
    let output = Command::new(test)
        .args(["--exact", "shortage::in_a_process_without_descriptors", "--ignored", "--nocapture"])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[tokio::test]
#[ignore = "spends all descriptors of its process"]
async fn in_a_process_without_descriptors() {
    let listener = TcpListener::bind(ANY_PORT).expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("its address");
    let open = std::fs::read_dir("/proc/self/fd").expect("our descriptors").count();
    let spent = u64::try_from(open).expect("few");
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: Some(spent) }).expect("a limit");
    let kinds = [
        ProbeKind::Tcp { address: Address::Socket(address) },
        ProbeKind::Dns { server: address, name: "a.example.".to_owned(), record: DnsRecord::A, expect: None },
        ProbeKind::Command { argv: words(&["true"]), reports_lag: false, reports_role: false },
        ProbeKind::Process { pid_file: "/proc/self/stat".into() },
    ];
    for kind in kinds {
        let answer = Providers::new().probe(&kind, LONG).await.answer;
        assert_could_not_ask(&answer, "too many open files");
    }
}
