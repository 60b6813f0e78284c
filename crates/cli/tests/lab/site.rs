//! A site on the machines of a lab: an agent, two hosts with an instance each, and clients that write to both.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mainstay_api as api;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::judge;
use crate::network::{Machine, Network, log};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mainstay");

/// How long whoever supervises a machine takes to start again what has died there.
pub(crate) const SUPERVISED: Duration = Duration::from_millis(500);

/// How long an instance that died stays away: nobody starts a database again at once.
const AWAY: Duration = Duration::from_secs(6);

/// How long anything may take that nothing hinders.
const PATIENCE: Duration = Duration::from_secs(40);

/// Every bound that the plan states, added up: detect, decide, the whole lease, promote, verify, with room for a machine that
/// does a dozen of these at a time.
pub(crate) const RECOVERS_WITHIN: Duration = Duration::from_secs(25);

/// A site. Everything in it ends with it.
pub(crate) struct Site {
    pub(crate) network: Network,
    pub(crate) dir: TempDir,
    agent: Kept,
    /// On which machine, and with which state directory.
    agent_is_on: (Machine, &'static str),
    hosts: [Kept; 2],
    instances: [Kept; 2],
    _clients: Child,
}

/// A process that is started again when it has died.
pub(crate) struct Kept {
    pub(crate) child: Option<Child>,
    died: Option<Instant>,
    /// While it is held back it is not started.
    pub(crate) held_back: bool,
}

impl Kept {
    pub(crate) const fn new() -> Kept {
        Kept { child: None, died: None, held_back: false }
    }

    /// Whether it is time to start it.
    pub(crate) fn is_due(&mut self, after: Duration) -> bool {
        if let Some(child) = &mut self.child {
            if child.try_wait().is_ok_and(|it| it.is_none()) {
                return false;
            }
            self.child = None;
            self.died = Some(Instant::now());
        }
        !self.held_back && self.died.is_none_or(|it| it.elapsed() >= after)
    }
}

/// What an instance is started as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Active,
    Standby,
}

pub(crate) const HOSTS: [Machine; 2] = [Machine::A, Machine::B];

/// What keeps two instances from acting at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fenced {
    /// Nothing: the plan accepts that two may write.
    Not,
    ByLease,
    /// A lease, and without the agent whoever holds it stays if the other one agrees.
    ByLeaseOrWord,
}

const fn instance(host: usize) -> &'static str {
    ["orders", "orders-b"][host]
}

impl Site {
    /// Builds it, enrols its hosts, and waits until all is well.
    pub(crate) fn build() -> Site {
        Site::build_fenced(Fenced::ByLease)
    }

    /// The same, fenced in that way.
    pub(crate) fn build_fenced(fenced: Fenced) -> Site {
        let mut site = Site::begin(fenced);
        site.until("all is well", |site| site.is_whole() && (0..2).any(|it| site.holds_lease(it)));
        if fenced == Fenced::ByLeaseOrWord {
            site.until("both know what to do alone", Site::both_know_what_to_do_alone);
        }
        site
    }

    /// The same without a fence: the plan accepts that two may write.
    pub(crate) fn build_unfenced() -> Site {
        let mut site = Site::begin(Fenced::Not);
        site.until("all is well", Site::is_whole);
        site
    }

    fn begin(fenced: Fenced) -> Site {
        let (network, dir) = (Network::build(&Machine::ALL), tempfile::tempdir().expect("a folder"));
        fs::write(dir.path().join("plan.yaml"), plan(fenced, Machine::Agent)).expect("it is written");
        for (host, machine) in HOSTS.into_iter().enumerate() {
            let folder = dir.path().join(machine.word());
            fs::create_dir_all(folder.join("state/leases")).expect("it is writable");
            fs::write(folder.join("host.yaml"), host_file(dir.path(), host)).expect("it is written");
        }
        let clients = clients(&network, dir.path());
        let new = || [Kept::new(), Kept::new()];
        let mut site = Site {
            network,
            dir,
            agent: Kept::new(),
            agent_is_on: (Machine::Agent, "state"),
            hosts: new(),
            instances: new(),
            _clients: clients,
        };
        site.run(Machine::Agent, &["enroll", "init", "plan.yaml", "--state", "state"]);
        // The first time, before there is any lease.
        site.start_instance(0, Start::Active, true);
        site.start_instance(1, Start::Standby, true);
        site.start_agent();
        site.until("hosts can connect", |site| {
            fs::read_to_string(site.dir.path().join("agent.log")).is_ok_and(|it| it.contains("hosts can connect"))
        });
        for host in HOSTS {
            let token = site.run(Machine::Agent, &["enroll", "token", host.word(), "--state", "state"]);
            let token = token.split_whitespace().find(|it| it.len() > 40).expect("a token").to_owned();
            let state = format!("{}/state", host.word());
            site.run(
                host,
                &["enroll", "join", "--agent", &agent_address(Machine::Agent), "--token", &token, "--state", &state],
            );
        }
        site
    }

    /// Starts again what has died and is not held back.
    pub(crate) fn supervise(&mut self) {
        if self.agent.is_due(SUPERVISED) {
            self.start_agent();
        }
        for host in 0..2 {
            if self.hosts[host].is_due(SUPERVISED) {
                self.start_host(host);
            }
            if self.instances[host].is_due(AWAY) {
                self.start_again(host);
            }
        }
    }

    /// Who starts an instance again looks first: it is a standby if another one is the component, and active only under its
    /// lease.
    fn start_again(&mut self, host: usize) {
        let Some(status) = self.status() else { return };
        let is_bound = status.components.iter().any(|it| it.bound_to == instance(host));
        if !is_bound || self.holds_lease(host) {
            let start = if is_bound { Start::Active } else { Start::Standby };
            self.start_instance(host, start, !is_bound);
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.supervise();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for something that has to come.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Site) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "{what} did not come about: {}", self.stands());
            self.pass(Duration::from_millis(100));
        }
    }

    pub(crate) fn status(&self) -> Option<api::Status> {
        let (machine, state) = self.agent_is_on;
        let output = self.command(machine, &["status", "--json", "--state", state]).output().ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Whether the component and its standby are healthy, and nothing is under way.
    pub(crate) fn is_whole(&self) -> bool {
        self.status().is_some_and(|status| {
            status.components.iter().all(|it| {
                let well =
                    |it: &api::Instance| it.health == "healthy" && ["active", "standby"].contains(&it.state.as_str());
                it.waiting.is_none() && it.instances.iter().all(well)
            })
        })
    }

    /// See [`judge::unexplained`].
    pub(crate) fn unexplained(&self) -> Vec<String> {
        self.status().map_or_else(Vec::new, |it| judge::unexplained(&it))
    }

    /// The agent's machine is lost, and another agent begins on the machine of the second host, with the copy that is there.
    pub(crate) fn take_over(&mut self) {
        self.hold_back(Machine::Agent, true);
        self.network.signal(Machine::Agent, Signal::KILL);
        let next = self.dir.path().join("next");
        fs::create_dir_all(next.join("pki")).expect("it is writable");
        // The one thing that was kept elsewhere beforehand.
        let authority = self.dir.path().join("state/pki/authority.pem");
        fs::copy(authority, next.join("pki/authority.pem")).expect("a copy of it is kept");
        fs::set_permissions(next.join("pki"), fs::Permissions::from_mode(0o700)).expect("it is ours");
        fs::write(self.dir.path().join("next.yaml"), plan(Fenced::ByLease, Machine::B)).expect("it is written");
        self.agent_is_on = (Machine::B, "next");
        self.run(Machine::B, &["enroll", "init", "next.yaml", "--state", "next"]);
        let args = ["takeover", "--from", "b/state", "--state", "next", "--by", "the test", "next.yaml"];
        self.agent.child = Some(self.started(Machine::B, &args, "next.log"));
    }

    /// Says something to the agent, and waits until it is acknowledged.
    pub(crate) fn says(&self, args: &[&str]) {
        let (machine, state) = self.agent_is_on;
        self.run(machine, &[args, &["--state", state]].concat());
    }

    /// How often another instance may have become the owner: with each binding, and there and back with each rung that failed after
    /// it had activated the new one.
    pub(crate) fn moves(&self) -> usize {
        let journal = self.journal();
        let count = |kind: &str| journal.iter().filter(|it| it["kind"] == kind).count();
        count("bound") + 2 * count("rung_failed")
    }

    /// Ends the process of the agent or of a host at once.
    pub(crate) fn kill(&mut self, machine: Machine) {
        let kept = match machine {
            Machine::Agent | Machine::Client => &mut self.agent,
            Machine::A => &mut self.hosts[0],
            Machine::B | Machine::C => &mut self.hosts[1],
        };
        if let Some(child) = &mut kept.child {
            child.kill().expect("it is ours");
        }
    }

    /// Ends an instance at once.
    pub(crate) fn kill_instance(&mut self, host: usize) {
        if let Some(child) = &mut self.instances[host].child {
            child.kill().expect("it is ours");
        }
    }

    /// Whether an instance runs.
    pub(crate) fn acts(&mut self, host: usize) -> bool {
        self.instances[host].child.as_mut().is_some_and(|it| it.try_wait().is_ok_and(|it| it.is_none()))
    }

    /// Whether a machine's processes are started again when they have died.
    pub(crate) fn hold_back(&mut self, machine: Machine, held_back: bool) {
        for (nth, _) in HOSTS.iter().enumerate().filter(|it| *it.1 == machine) {
            self.hosts[nth].held_back = held_back;
            self.instances[nth].held_back = held_back;
        }
        if machine == Machine::Agent {
            self.agent.held_back = held_back;
        }
    }

    /// Stops or continues the process of a host, and not what else runs on its machine.
    pub(crate) fn signal_host(&self, host: usize, signal: Signal) {
        let pid = self.hosts[host].child.as_ref().and_then(|it| i32::try_from(it.id()).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Moves the wall clock of a machine, as its processes see it, by so many seconds.
    pub(crate) fn move_clock(&self, machine: Machine, seconds: i64) {
        fs::write(self.clock(machine), format!("{seconds:+}\n")).expect("it is written");
    }

    /// What was acknowledged: the server, when it was sent, and when that was heard.
    pub(crate) fn acknowledged(&self) -> Vec<(String, u64, u64)> {
        let text = fs::read_to_string(self.dir.path().join("acknowledged")).unwrap_or_default();
        let read = |line: &str| {
            let mut words = line.split(' ');
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        text.lines().filter_map(read).collect()
    }

    /// The journal's records, one line of JSON each.
    pub(crate) fn journal(&self) -> Vec<serde_json::Value> {
        let (machine, state) = self.agent_is_on;
        let text = self.run(machine, &["journal", "export", "--state", state]);
        text.lines().filter_map(|it| serde_json::from_str(it).ok()).collect()
    }

    /// The whole journal in sentences, and how everything stands.
    pub(crate) fn tells(&self) -> String {
        let (machine, state) = self.agent_is_on;
        self.run(machine, &["journal", "show", "--state", state]) + &self.stands()
    }

    /// How everything stands, and the last that each process said: for whoever reads why a test failed.
    pub(crate) fn stands(&self) -> String {
        let mut text = match self.status() {
            Some(status) => format!("{:#?}", status.components),
            None => "the agent does not answer".to_owned(),
        };
        for log in [
            "agent.log",
            "a/host.log",
            "b/host.log",
            "a/state/leases/keeper.log",
            "b/state/leases/keeper.log",
            "a/orders.log",
            "b/orders.log",
        ] {
            let said = fs::read_to_string(self.dir.path().join(log)).unwrap_or_default();
            let lines: Vec<&str> = said.lines().rev().take(12).collect();
            text += &format!("\n--- {log}\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        text
    }

    fn start_agent(&mut self) {
        self.agent.child = Some(self.started(Machine::Agent, &["run", "plan.yaml"], "agent.log"));
    }

    fn start_host(&mut self, host: usize) {
        let word = HOSTS[host].word();
        let child = self.started(HOSTS[host], &["host", &format!("{word}/host.yaml")], &format!("{word}/host.log"));
        self.hosts[host].child = Some(child);
    }

    /// An active one that needs its lease from the beginning is not started by the leash if that has just ended.
    fn start_instance(&mut self, host: usize, start: Start, without_lease: bool) {
        let (word, name) = (HOSTS[host].word(), instance(host));
        let (state, pid_file) = (format!("{word}/state"), format!("{word}/orders.pid"));
        let (listen, other) = (address(host), address(1 - host));
        let mut args = vec!["leash", "--state", &state, "--instance", name];
        args.extend(without_lease.then_some("--standby"));
        args.extend(["--", PROGRAM, "demo-app"]);
        args.extend(["--listen", &listen, "--name", name, "--pid-file", &pid_file]);
        if start == Start::Standby {
            args.extend(["--standby-of", &other]);
        }
        let child = self.started(HOSTS[host], &args, &format!("{word}/orders.log"));
        self.instances[host].child = Some(child);
    }

    pub(crate) fn holds_lease(&self, host: usize) -> bool {
        let folder = self.dir.path().join(HOSTS[host].word()).join("state/leases");
        folder.join(format!("{}.json", instance(host))).exists()
    }

    /// Whether both hosts have heard, since the lease was granted, who may stay what it is without the agent.
    fn both_know_what_to_do_alone(&self) -> bool {
        let read = |host: usize, file: &str| -> serde_json::Value {
            let file = self.dir.path().join(HOSTS[host].word()).join("state").join(file);
            serde_json::from_slice(&fs::read(file).unwrap_or_default()).unwrap_or_default()
        };
        let least =
            (0..2).filter_map(|it| read(it, &format!("leases/{}.json", instance(it)))["stance"][1].as_u64()).max();
        let knows = |host: usize| read(host, "stance.json")["stance"]["nth"].as_u64() >= least;
        least.is_some() && (0..2).all(knows)
    }

    fn started(&self, machine: Machine, args: &[&str], says: &str) -> Child {
        let (out, err) = log(&self.dir.path().join(says));
        self.command(machine, args).stdin(Stdio::piped()).stdout(out).stderr(err).spawn().expect("the program is there")
    }

    fn run(&self, machine: Machine, args: &[&str]) -> String {
        let output = self.command(machine, args).output().expect("the program is there");
        assert!(output.status.success(), "{args:?}: {}{}", String::from_utf8_lossy(&output.stderr), self.stands());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, machine: Machine, args: &[&str]) -> Command {
        let mut command = self.network.on(machine, Path::new(PROGRAM));
        command.args(args).current_dir(self.dir.path()).env_remove("MAINSTAY_STATE");
        if let Some(library) = faketime() {
            let clock = self.clock(machine);
            if !clock.exists() {
                fs::write(&clock, "+0\n").expect("it is written");
            }
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", clock);
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command
    }

    fn clock(&self, machine: Machine) -> PathBuf {
        self.dir.path().join(format!("{}.clock", machine.word()))
    }
}

/// The library that lets the wall clock of one process be moved, if it is here.
pub(crate) fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|it| Some(it.ok()?.path()));
    folders.map(|it| it.join("faketime/libfaketimeMT.so.1")).find(|it| it.exists())
}

fn clients(network: &Network, dir: &Path) -> Child {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/lab/writer.py");
    network
        .on(Machine::Client, Path::new("python3"))
        .arg(script)
        .arg(dir.join("acknowledged"))
        .args((0..2).map(|host| format!("{}={}", instance(host), address(host))))
        .stdin(Stdio::null())
        .spawn()
        .expect("python3 is there")
}

fn address(host: usize) -> String {
    format!("{}:8080", HOSTS[host].ip())
}

/// Where the agent listens for hosts, on that machine.
fn agent_address(machine: Machine) -> String {
    format!("{}:7400", machine.ip())
}

/// Where a host takes the questions of the other one.
fn peer_address(host: usize) -> String {
    format!("{}:7401", HOSTS[host].ip())
}

fn plan(fenced: Fenced, agent: Machine) -> String {
    let (fence, alone, expires) = match fenced {
        Fenced::Not => ("accept_risk: [two_writers]", "demote", "2s"),
        Fenced::ByLease => ("fence: lease", "demote", "2s"),
        Fenced::ByLeaseOrWord => ("fence: lease", "hold", "3s"),
    };
    let alone = if fenced == Fenced::Not { String::new() } else { format!("    on_agent_loss: {alone}\n") };
    let timing = "interval: 300ms, fast_interval: 200ms, timeout: 150ms, fall: 4, rise: 2";
    let probes = |host| {
        format!(
            "[{{ http: {{ url: \"http://{}/health\", lag_header: x-replication-lag, role_header: x-role, {timing} }} }}]",
            address(host)
        )
    };
    let activate =
        |host: usize| format!("[{{ command: {{ run: {}, idempotent: true, timeout: 2s }} }}]", promote(host));
    format!(
        r#"version: 2
site: {{ name: lab, region: here, zone: ops, host: ops-1 }}
state: state
allowances: {{ lateness: 500ms, journal_sync: 500ms, agent_restart: 2s, forced_stop: 1s }}
link: {{ listen: "{listen}", lease: {{ renew: 300ms, expires: {expires}, demote: 1s, drift: 100ms }} }}
hosts:
  a: {{ region: here, zone: za, peer_address: "{peer_a}" }}
  b: {{ region: here, zone: zb, peer_address: "{peer_b}", keeps_journal: true }}
components:
  orders:
    type: database
    location: {{ region: here, zone: za, host: a }}
    constraint: {{ reason: one writer at a time, kind: technical }}
    objectives: {{ rto: 60s }}
    probes: {probes_a}
    rejoin: when_healthy
{alone}    guards: {{ cool_down: 1s }}
    activate: {activate_a}
    recovery:
      - failover_to_standby: {{ standby: orders-b, {fence}, verify_within: 5s }}
standbys:
  orders-b:
    location: {{ region: here, zone: zb, host: b }}
    probes: {probes_b}
    activate: {activate_b}
witnesses:
  clients:
    location: {{ region: here, zone: zc }}
    probe: {{ tcp: {{ address: "{client}:9", interval: 400ms, timeout: 150ms }} }}
"#,
        listen = agent_address(agent),
        peer_a = peer_address(0),
        peer_b = peer_address(1),
        probes_a = probes(0),
        probes_b = probes(1),
        activate_a = activate(0),
        activate_b = activate(1),
        client = Machine::Client.ip(),
    )
}

fn promote(host: usize) -> String {
    format!("[/usr/bin/curl, -sf, -m, \"1\", -X, POST, \"http://{}/activate\"]", address(host))
}

fn host_file(dir: &Path, host: usize) -> String {
    let folder = dir.join(HOSTS[host].word());
    format!(
        r#"version: 1
agents: ["{agent}", "{next}"]
listen: "{listen}"
state: {state}
keeps_journal: {keeps}
may:
  commands: [{promote}]
guards:
  {instance}: {{ component: orders, stop: {{ pid_file: {pid} }} }}
"#,
        agent = agent_address(Machine::Agent),
        listen = peer_address(host),
        next = agent_address(Machine::B),
        keeps = host == 1,
        state = folder.join("state").display(),
        promote = promote(host),
        instance = instance(host),
        pid = folder.join("orders.pid").display(),
    )
}
