//! The whole of it: a real agent, a real host, and what lives there.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mainstay_api as api;
use rustix::process::{Pid, Signal, kill_process};

use crate::site::{PATIENCE, Site};

struct AgentProcess(Child);

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A component on host `db-a` whose service is a process of its pid file.
fn plan(site: &Site, at: SocketAddr) {
    let start = site.path().join("start");
    let pid_file = site.path().join("service.pid");
    let script = format!("#!/bin/sh\nsleep 1000 > /dev/null 2>&1 &\necho $! > {}\n", pid_file.display());
    fs::write(&start, script).expect("it is written");
    fs::set_permissions(&start, fs::Permissions::from_mode(0o755)).expect("it may be run");
    let text = format!(
        "version: 2
site: {{ name: shop-a, region: eu, zone: b, host: agent-1 }}
state: ./agent
link: {{ listen: \"{at}\" }}
hosts: {{ db-a: {{ region: eu, zone: a }} }}
components:
  app:
    type: application_server
    location: {{ region: eu, zone: a, host: db-a }}
    constraint: {{ kind: technical, reason: a test }}
    service: {{ start: [{act}, {start}], pid_file: {pid_file}, stop_grace: 1s }}
    probes: [{{ process: {{ pid_file: {pid_file}, interval: 200ms, timeout: 200ms, fall: 2, rise: 1 }} }}]
    guards: {{ cool_down: 0s }}
    recovery: [{{ restart_service: {{ timeout: 30s }} }}]
",
        act = site.program().display(),
        start = start.display(),
        pid_file = pid_file.display(),
    );
    fs::write(site.path().join("plan.yaml"), text).expect("it is written");
}

fn agent(site: &Site) -> AgentProcess {
    let log = fs::OpenOptions::new().create(true).append(true).open(site.path().join("agent.log")).expect("a log");
    let child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(["run", "plan.yaml"])
        .current_dir(site.path())
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the program is there");
    AgentProcess(child)
}

fn ask<T: serde::de::DeserializeOwned>(site: &Site, what: &str) -> Option<T> {
    let asked = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args([what, "--json", "--state", "agent"])
        .current_dir(site.path())
        .output()
        .expect("the program is there");
    serde_json::from_slice(&asked.stdout).ok()
}

fn host(site: &Site) -> Option<api::Host> {
    ask::<api::Hosts>(site, "hosts")?.hosts.into_iter().next()
}

fn health(site: &Site) -> String {
    let status = ask::<api::Status>(site, "status");
    let component = status.and_then(|it| it.components.into_iter().next());
    component.and_then(|it| it.instances.into_iter().next()).map(|it| it.health).unwrap_or_default()
}

fn until(site: &Site, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        let log = || fs::read_to_string(site.path().join("agent.log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "{what}: {:?}\n{}\n{}", host(site), log(), site.log("db-a"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn service(site: &Site) -> Option<Pid> {
    let text = fs::read_to_string(site.path().join("service.pid")).ok()?;
    text.trim().parse().ok().and_then(Pid::from_raw)
}

/// The service outlives its host process.
struct Service<'a>(&'a Site);

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if let Some(pid) = service(self.0) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn an_agent_recovers_what_lives_on_another_machine() {
    let site = Site::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    drop(listener);
    site.join("db-a", at.port());
    plan(&site, at);
    let _service = Service(&site);
    let mut first = agent(&site);
    until(&site, "the agent answers", || host(&site).is_some_and(|it| it.state == "never_seen"));
    let _host = site.start("db-a");
    until(&site, "the host is connected", || host(&site).is_some_and(|it| it.state == "connected"));
    let seen = host(&site).expect("it is in the plan");
    assert_eq!(seen.lacks, Vec::<String>::new());
    assert!(seen.may.iter().any(|it| it.starts_with("process of ")), "{seen:?}");

    // Nothing runs there yet: it is started by a recovery, on the host and nowhere else.
    until(&site, "it is started", || health(&site) == "healthy");
    let was = service(&site).expect("it runs");
    kill_process(was, Signal::KILL).expect("it runs");
    until(&site, "it is started again", || service(&site) != Some(was) && health(&site) == "healthy");

    // An agent that was killed finds its host again.
    let _ = first.0.kill();
    let _ = first.0.wait();
    let _second = agent(&site);
    until(&site, "the host comes back", || host(&site).is_some_and(|it| it.state == "connected"));
    until(&site, "it is seen again", || health(&site) == "healthy");
    let done = site.journal("db-a").iter().filter(|it| it.kind() == "order_ended").count();
    assert!(done >= 2, "each restart was an order: {done}");

    // Who is revoked is turned away, with a line in the journal.
    site.authority.revoke("db-a").expect("it is written");
    let shown = || {
        let shown = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(["journal", "show", "--state", "agent"])
            .current_dir(site.path())
            .output()
            .expect("the program is there");
        String::from_utf8_lossy(&shown.stdout).into_owned()
    };
    until(&site, "it is in the journal", || {
        let text = shown();
        text.contains("came as a host and was turned away") && text.contains("was revoked at")
    });
    until(&site, "it is silent", || host(&site).is_some_and(|it| it.state == "silent"));
}
