//! What is measured: who keeps a primary and a standby, and where clients find the one that takes writes.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use mainstay_api as api;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::machines::{GATEWAY, Machine, Machines, Running};
use super::servers::{HBA, PASSWORD, PORT, PREPARE, SETTINGS, Server, TABLE, as_user, bin, folder};

/// Where Patroni answers who it is.
const REST: u16 = 8008;

/// Where Mainstay's agent listens for its hosts.
const LINK: u16 = 7400;

/// Where the witness of the switch listens.
const WITNESS: u16 = 7;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rig {
    Mainstay,
    Patroni,
}

/// What stands there before anything fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// One or two.
    pub(crate) standbys: usize,
    /// No write is acknowledged before a standby has it.
    pub(crate) synchronous: bool,
    /// The primary's disk is its own, and small.
    pub(crate) has_small_disk: bool,
}

impl Shape {
    fn standbys(self) -> &'static [Machine] {
        &[Machine::Second, Machine::Third][..self.standbys]
    }
}

/// One that runs.
pub(crate) struct Standing {
    rig: Rig,
    shape: Shape,
    processes: Vec<(Machine, Running)>,
    /// Who keeps the first server on its own machine.
    keeper: Running,
    /// Who decides, where that is not the keeper.
    agent: Option<Running>,
    servers: Vec<Server>,
    dir: TempDir,
}

impl Rig {
    pub(crate) const ALL: [Rig; 2] = [Rig::Mainstay, Rig::Patroni];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Rig::Mainstay => "Mainstay",
            Rig::Patroni => "Patroni",
        }
    }

    /// Where clients come in.
    pub(crate) fn address(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Machine::Before.ip()), PORT)
    }

    pub(crate) fn start(self, machines: &Machines, shape: Shape) -> Standing {
        let dir = TempDir::new_in(machines.dir.path()).expect("a temporary folder can be made");
        for path in [machines.dir.path(), dir.path()] {
            // The user that servers run as goes through them.
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
        }
        match self {
            Rig::Mainstay => mainstay(dir, shape),
            Rig::Patroni => patroni(dir, shape),
        }
    }
}

impl Standing {
    /// The server that is the primary at first.
    pub(crate) fn first(&self) -> &Server {
        &self.servers[0]
    }

    /// All that it has said.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Whether it would take over if it had to.
    pub(crate) fn is_ready(&self) -> bool {
        if !self.first().is_followed_by(self.shape.standbys) {
            return false;
        }
        match self.rig {
            Rig::Mainstay => {
                let said = Command::new(program())
                    .args(["status", "--json", "--state"])
                    .arg(self.dir.path().join("state"))
                    .output();
                let Ok(status) = serde_json::from_slice::<api::Status>(&said.expect("mainstay starts").stdout) else {
                    return false;
                };
                let can = |it: &api::Component| matches!(it.recoverable, api::Recoverable::By { .. });
                let healthy = |it: &api::Component| it.instances.iter().all(|it| it.health == "healthy");
                status.components.iter().all(|it| it.health == "healthy" && healthy(it) && can(it))
            }
            Rig::Patroni => {
                let is = |on: Machine, role: &str| {
                    let url = format!("http://{}:{REST}/{role}", on.ip());
                    let status =
                        Machine::Before.command("curl").args(["-sf", "-o", "/dev/null", "-m", "1", &url]).status();
                    status.is_ok_and(|it| it.success())
                };
                is(Machine::First, "primary") && self.shape.standbys().iter().all(|it| is(*it, "replica"))
            }
        }
    }

    /// SIGKILL to everything on the first machine.
    pub(crate) fn kill_first_machine(&self) {
        self.kill_first_keeper();
        self.first().kill();
    }

    /// SIGKILL to what keeps the server on the first machine, and not to the server.
    pub(crate) fn kill_first_keeper(&self) {
        if let Some(pid) = i32::try_from(self.keeper.0.id()).ok().and_then(Pid::from_raw) {
            let _gone = kill_process(pid, Signal::KILL);
        }
    }

    /// Stops whoever decides, or lets it go on.
    pub(crate) fn signal_decider(&self, signal: Signal) {
        self.agent.as_ref().unwrap_or(&self.keeper).signal(signal);
    }

    /// The numbers that are written there, in order.
    pub(crate) fn written(&self, on: Machine) -> Vec<i64> {
        let server = self.servers.iter().find(|it| it.on == on).expect("it is there");
        let text = server.sql(&format!("SELECT n FROM {TABLE} ORDER BY n")).expect("it answers");
        text.lines().filter_map(|it| it.parse().ok()).collect()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        // Before the servers: somebody could start them again.
        let _gone = self.keeper.0.kill();
        self.agent = None;
        self.processes.clear();
        match self.rig {
            Rig::Patroni => {
                let _unmounted = Command::new("umount").arg("--lazy").arg(self.dir.path().join("patroni")).status();
            }
            // The traffic process outlives its agent on purpose.
            Rig::Mainstay => {
                let state = self.dir.path().join("state");
                let _stopped = Command::new(program()).args(["traffic", "--stop", "--state"]).arg(state).output();
            }
        }
    }
}

/// The program under test, which `cargo xtask bench` has built.
fn program() -> String {
    std::env::var("MAINSTAY_PROGRAM").expect("`cargo xtask bench` says where the program is")
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("a temporary folder can be written");
    path
}

fn log(dir: &Path) -> File {
    File::options().create(true).append(true).open(dir.join("log")).expect("a temporary folder can be written")
}

fn spawn(dir: &Path, mut command: Command) -> Running {
    command.stdout(log(dir)).stderr(log(dir));
    Running(command.spawn().expect("ip is there"))
}

/// A host on each machine with a server, which sees at once that its process is gone or that its disk is full.
fn mainstay(dir: TempDir, shape: Shape) -> Standing {
    let at = dir.path();
    let first = Server::primary(Machine::First, at, shape.has_small_disk, shape.synchronous);
    let mut processes = vec![(Machine::First, first.start(&at.join("log")))];
    first.sql(PREPARE).expect("it is prepared");
    let mut servers = vec![first];
    for on in shape.standbys() {
        let server = Server::standby(*on, at, Machine::First, Machine::Before, shape.synchronous);
        processes.push((*on, server.start(&at.join("log"))));
        servers.push(server);
    }
    let password = write(at, "password", PASSWORD);
    let plan = write(at, "plan.yaml", &plan(at, &servers, &password));
    let mut witness = Command::new(std::env::current_exe().expect("a program has a path"));
    witness.args(["witness", &format!("{GATEWAY}:{WITNESS}")]);
    processes.push((Machine::Before, spawn(at, witness)));
    succeeds(Machine::Before.command(&program()).args(["enroll", "init"]).arg(&plan));
    let mut agent = Machine::Before.command(&program());
    agent.arg("run").arg(&plan);
    let agent = Some(spawn(at, agent));
    let mut hosts = servers.iter().map(|it| spawn(at, host(at, &plan, it.on)));
    let keeper = hosts.next().expect("there is a first server");
    processes.extend(shape.standbys().iter().copied().zip(hosts));
    Standing { rig: Rig::Mainstay, shape, processes, keeper, agent, servers, dir }
}

/// Joins, and would then run.
fn host(at: &Path, plan: &Path, on: Machine) -> Command {
    let token = succeeds(Machine::Before.command(&program()).args(["enroll", "token", on.name(), "--plan"]).arg(plan));
    let token = token.lines().next().expect("a token").to_owned();
    let agent = format!("{}:{LINK}", Machine::Before.ip());
    let state = at.join(format!("{}-host", on.name()));
    let begun = std::time::Instant::now();
    loop {
        let mut join = on.command(&program());
        join.args(["enroll", "join", "--agent", &agent, "--token", &token, "--state"]).arg(&state);
        let output = join.output().expect("ip is there");
        if output.status.success() {
            break;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(begun.elapsed() < super::PATIENCE, "{} can't join: {said}", on.name());
        std::thread::sleep(super::LOOK_AGAIN);
    }
    let text = format!("version: 1\nagents: [\"{agent}\"]\nstate: {}\n", state.display());
    let mut host = on.command(&program());
    host.arg("host").arg(write(at, &format!("{}-host.yaml", on.name()), &text));
    host
}

/// What it prints.
fn succeeds(command: &mut Command) -> String {
    let output = command.output().expect("ip is there");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn plan(at: &Path, servers: &[Server], password: &Path) -> String {
    let before = Machine::Before.ip();
    let instance = |server: &Server| {
        let (name, ip, data) = (server.on.name(), server.on.ip(), server.data.display());
        format!(
            "
    location: {{ region: r, zone: {name}, host: {name} }}
    postgres: {{ address: \"{ip}:{PORT}\", password_file: {password} }}
    probes:
      - postgres: {{ interval: 500ms, timeout: 500ms, fall: 6 }}
      - process: {{ pid_file: {data}/postmaster.pid, interval: 250ms, timeout: 250ms, fall: 2 }}
      - disk: {{ path: {data}, free_mib: 1, interval: 500ms, timeout: 500ms, fall: 2 }}",
            password = password.display()
        )
    };
    let standbys = &servers[1..];
    let names: Vec<String> = standbys.iter().map(|it| format!("db-{}", it.on.name())).collect();
    let described: String =
        standbys.iter().zip(&names).map(|(it, name)| format!("\n  {name}:{}", instance(it))).collect();
    let hosts: String = servers.iter().map(|it| format!("\n  {0}: {{ region: r, zone: {0} }}", it.on.name())).collect();
    let targets: String = standbys
        .iter()
        .zip(&names)
        .map(|(it, name)| format!("\n      - {{ standby: {name}, address: \"{}:{PORT}\" }}", it.on.ip()))
        .collect();
    format!(
        "version: 2
site: {{ name: bench, region: r, zone: before, host: before }}
state: {state}
link: {{ listen: \"{before}:{LINK}\" }}
hosts:{hosts}
components:
  db:
    type: database{primary}
    objectives: {{ rpo: 10s }}
    guards: {{ cool_down: 0s }}
    recovery:
      - failover_to_standby: {{ {choice}, verify_within: 5s }}
standbys:{described}
witnesses:
  gateway:
    location: {{ region: r, zone: switch }}
    probe: {{ tcp: {{ address: \"{GATEWAY}:{WITNESS}\", interval: 500ms, timeout: 500ms }} }}
routes:
  db:
    exclusive: {{ fence: traffic_cut }}
    proxy: {{ listen: \"{before}:{PORT}\", connect_timeout: 500ms, retry_for: 1s }}
    targets:
      - {{ component: db, address: \"{one}:{PORT}\" }}{targets}
",
        state = at.join("state").display(),
        primary = instance(&servers[0]),
        one = servers[0].on.ip(),
        choice = match &names[..] {
            [one] => format!("standby: {one}"),
            several => format!("standbys: [{}]", several.join(", ")),
        },
    )
}

/// Patroni on each machine with a server, etcd and HAProxy before them.
fn patroni(dir: TempDir, shape: Shape) -> Standing {
    let at = dir.path();
    let before = Machine::Before.ip();
    let mut etcd = Machine::Before.command("etcd");
    let (client, peer) = (format!("http://{before}:2379"), format!("http://{before}:2380"));
    etcd.args(["--data-dir", &at.join("etcd").display().to_string(), "--log-level", "error"]);
    etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client, "--listen-peer-urls", &peer]);
    etcd.args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}")]);
    let mut processes = vec![(Machine::Before, spawn(at, etcd))];
    let machines: Vec<Machine> = [Machine::First].into_iter().chain(shape.standbys().iter().copied()).collect();
    let haproxy = write(at, "haproxy.cfg", &haproxy(&machines));
    let mut command = Machine::Before.command("haproxy");
    command.arg("-db").arg("-f").arg(haproxy);
    processes.push((Machine::Before, spawn(at, command)));
    let python = readable_python(at);
    let mut servers = Vec::new();
    for on in machines {
        let home = at.join(on.name());
        folder(&home);
        let server = Server::empty(on, at, shape.has_small_disk && on == Machine::First);
        let config = write(at, &format!("{}.yaml", on.name()), &patroni_config(&server, &home, shape));
        let mut command = as_user(on, &python);
        command.args(["-m", "patroni"]).arg(config);
        processes.push((on, spawn(at, command)));
        let begun = std::time::Instant::now();
        let is_standby = if on == Machine::First { "f" } else { "t" };
        let is_there = || server.sql("SELECT pg_is_in_recovery()").is_ok_and(|it| it == is_standby);
        while !is_there() {
            let said = fs::read_to_string(at.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < super::PATIENCE, "Patroni does not start: {said}");
            std::thread::sleep(super::LOOK_AGAIN);
        }
        if on == Machine::First {
            server.sql(PREPARE).expect("it is prepared");
        }
        servers.push(server);
    }
    let nth = processes.iter().position(|it| it.0 == Machine::First).expect("it was started");
    let (_, keeper) = processes.remove(nth);
    Standing { rig: Rig::Patroni, shape, processes, keeper, agent: None, servers, dir }
}

/// Patroni's Python, where the user that servers run as can read it: its own place may be below somebody's home.
fn readable_python(at: &Path) -> PathBuf {
    let python = std::env::var("MAINSTAY_PATRONI_PYTHON").expect("`cargo xtask bench` says where Patroni is");
    let tools = Path::new(&python).ancestors().nth(2).expect("it is in a folder of its own");
    let here = at.join("patroni");
    fs::create_dir(&here).expect("a temporary folder can be made");
    let bound = Command::new("mount").arg("--bind").arg(tools).arg(&here).status();
    assert!(bound.is_ok_and(|it| it.success()), "{} can't be shown at {}", tools.display(), here.display());
    here.join("bin/python")
}

/// As Patroni's documentation has it, and quicker.
fn haproxy(machines: &[Machine]) -> String {
    let before = Machine::Before.ip();
    let servers: String = machines.iter().map(|it| format!(" server {} {}:{PORT}\n", it.name(), it.ip())).collect();
    format!(
        "global\n nbthread 1\ndefaults\n mode tcp\n timeout connect 500ms\n timeout check 500ms\n timeout client 60s\n timeout server 60s\n\
         listen primary\n bind {before}:{PORT}\n option httpchk OPTIONS /primary\n http-check expect status 200\n default-server check port \
         {REST} inter 500ms fall 3 rise 1 on-marked-down shutdown-sessions\n{servers}"
    )
}

fn patroni_config(server: &Server, home: &Path, shape: Shape) -> String {
    let (on, ip) = (server.on, server.on.ip());
    let parameters: String = SETTINGS.iter().map(|(name, value)| format!("        {name}: \"{value}\"\n")).collect();
    let hba: String = HBA.lines().map(|it| format!("    - {it}\n")).collect();
    format!(
        "scope: bench
name: {name}
restapi: {{ listen: \"{ip}:{REST}\", connect_address: \"{ip}:{REST}\" }}
etcd3: {{ host: \"{before}:2379\" }}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    maximum_lag_on_failover: 104857600
    primary_start_timeout: 0
    synchronous_mode: {synchronous}
    postgresql:
      use_pg_rewind: false
      use_slots: false
      parameters:
{parameters}  initdb: [ {{ encoding: UTF8 }}, no-locale, no-sync ]
postgresql:
  listen: \"{ip}:{PORT}\"
  connect_address: \"{ip}:{PORT}\"
  data_dir: {data}
  bin_dir: {bin}
  pgpass: {pgpass}
  pg_hba:
{hba}  parameters: {{ unix_socket_directories: \"{home}\" }}
  authentication:
    superuser: {{ username: postgres, password: {PASSWORD} }}
    replication: {{ username: replicator, password: {PASSWORD} }}
watchdog: {{ mode: \"off\" }}
",
        name = on.name(),
        synchronous = if shape.synchronous { "quorum" } else { "false" },
        before = Machine::Before.ip(),
        data = server.data.display(),
        bin = bin().display(),
        pgpass = home.join("pgpass").display(),
        home = home.display(),
    )
}
