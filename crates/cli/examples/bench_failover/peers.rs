//! Who stands before the origins: Mainstay, HAProxy and keepalived, at one pace.

use std::fmt::Write;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mainstay_api as api;
use tempfile::TempDir;

use super::clients::PORT;
use super::machines::{GATEWAY, Machine, Machines, Running};

/// The address that keepalived moves.
const SHARED: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

/// How often everybody asks, and how long an answer may take.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) interval: Duration,
    in_doubt: Duration,
    timeout: Duration,
}

impl Pace {
    pub(crate) fn of(interval: Duration) -> Pace {
        Pace { interval, in_doubt: interval / 2, timeout: interval / 2 }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Peer {
    /// An exclusive route: one origin at a time, a fence between the two.
    Mainstay,
    Haproxy,
    /// The same where a client that fails makes it ask sooner.
    HaproxyObserving,
    Keepalived,
}

/// One that runs.
pub(crate) struct Standing {
    peer: Peer,
    dir: TempDir,
    processes: Vec<Running>,
}

impl Drop for Standing {
    fn drop(&mut self) {
        match self.peer {
            Peer::Haproxy | Peer::HaproxyObserving => {}
            // It takes the shared address away when it ends in order.
            Peer::Keepalived => self.processes.iter_mut().for_each(Running::end_in_order),
            Peer::Mainstay => {
                self.processes.clear();
                // The traffic process outlives its agent on purpose.
                let stop = Command::new(mainstay()).args(["traffic", "--stop", "--state"]).arg(self.state()).output();
                assert!(stop.is_ok_and(|it| it.status.success()), "{}", self.log());
            }
        }
    }
}

impl Peer {
    pub(crate) const ALL: [Peer; 4] = [Peer::Mainstay, Peer::Haproxy, Peer::HaproxyObserving, Peer::Keepalived];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Mainstay => "Mainstay",
            Peer::Haproxy => "HAProxy",
            Peer::HaproxyObserving => "HAProxy, observing",
            Peer::Keepalived => "keepalived",
        }
    }

    /// Where clients find it.
    pub(crate) fn address(self) -> SocketAddr {
        let ip = match self {
            Peer::Mainstay | Peer::Haproxy | Peer::HaproxyObserving => Machine::Before.ip(),
            Peer::Keepalived => SHARED,
        };
        SocketAddr::new(IpAddr::V4(ip), PORT)
    }

    pub(crate) fn start(self, machines: &Machines, pace: Pace) -> Standing {
        let dir = TempDir::new_in(machines.dir.path()).expect("a temporary folder can be made");
        let at = dir.path();
        let processes = match self {
            Peer::Mainstay => {
                let plan = write(at, "plan.yaml", &plan(at, pace));
                let witness = Running(
                    Command::new(std::env::current_exe().expect("a program has a path"))
                        .args(["origin", "switch"])
                        .spawn()
                        .expect("it starts"),
                );
                vec![witness, spawn(at, Machine::Before, &mainstay(), &["run", &plan])]
            }
            Peer::Haproxy => vec![haproxy(at, pace, "")],
            Peer::HaproxyObserving => {
                vec![haproxy(at, pace, " observe layer4 error-limit 1 on-error fastinter")]
            }
            Peer::Keepalived => {
                let of = |machine| keepalived(at, machine, pace);
                vec![of(Machine::First), of(Machine::Second)]
            }
        };
        Standing { peer: self, dir, processes }
    }
}

impl Standing {
    /// Whether it would take over if it had to. The peers don't say; their first probes are waited for.
    pub(crate) fn is_ready(&self) -> bool {
        if !matches!(self.peer, Peer::Mainstay) {
            return true;
        }
        let said = Command::new(mainstay()).args(["status", "--json", "--state"]).arg(self.state()).output();
        let Ok(status) = serde_json::from_slice::<api::Status>(&said.expect("mainstay starts").stdout) else {
            return false;
        };
        let can = |it: &api::Component| matches!(it.recoverable, api::Recoverable::By { .. });
        status
            .components
            .iter()
            .all(|it| it.health == "healthy" && it.instances.iter().all(|it| it.health == "healthy") && can(it))
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// All that it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

/// The program under test, which `cargo xtask bench` has built.
fn mainstay() -> String {
    std::env::var("MAINSTAY_PROGRAM").expect("`cargo xtask bench` says where the program is")
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).expect("a temporary folder can be written");
    path.display().to_string()
}

fn spawn(dir: &Path, on: Machine, program: &str, args: &[&str]) -> Running {
    let log =
        File::options().create(true).append(true).open(dir.join("log")).expect("a temporary folder can be written");
    let mut command = on.command(program);
    command.args(args).stdout(log.try_clone().expect("a file can be shared")).stderr(log);
    Running(command.spawn().unwrap_or_else(|error| panic!("{program} can't be started: {error}")))
}

fn plan(dir: &Path, pace: Pace) -> String {
    let ms = |it: Duration| format!("{}ms", it.as_millis());
    let (interval, in_doubt, timeout) = (ms(pace.interval), ms(pace.in_doubt), ms(pace.timeout));
    let probe = |machine: Machine| {
        format!(
            "[{{ http: {{ url: \"http://{}:{PORT}/\", interval: {interval}, fast_interval: {in_doubt}, timeout: {timeout}, fall: 3 }} }}]",
            machine.ip()
        )
    };
    let mut text = format!(
        "version: 2\nsite: {{ name: bench, region: r, zone: before, host: before }}\nstate: {}\n",
        dir.join("state").display()
    );
    let [first, second, before] = [Machine::First, Machine::Second, Machine::Before].map(Machine::ip);
    write!(
        text,
        "components:
  web:
    type: database
    location: {{ region: r, zone: a, host: first }}
    probes: {}
    guards: {{ cool_down: 0s }}
    recovery:
      - failover_to_standby: {{ standby: web-b, verify_within: 5s }}
standbys:
  web-b:
    temperature: hot
    location: {{ region: r, zone: b, host: second }}
    probes: {}
witnesses:
  gateway:
    location: {{ region: r, zone: c }}
    probe:
      tcp: {{ address: \"{GATEWAY}:{PORT}\", interval: {interval}, fast_interval: {in_doubt}, timeout: {timeout} }}
routes:
  web:
    exclusive: {{ fence: traffic_cut }}
    proxy: {{ listen: \"{before}:{PORT}\", connect_timeout: {timeout} }}
    targets:
      - {{ component: web, address: \"{first}:{PORT}\" }}
      - {{ standby: web-b, address: \"{second}:{PORT}\" }}
",
        probe(Machine::First),
        probe(Machine::Second),
    )
    .expect("a string takes all");
    text
}

fn haproxy(dir: &Path, pace: Pace, more: &str) -> Running {
    let [interval, in_doubt, timeout] = [pace.interval, pace.in_doubt, pace.timeout].map(|it| it.as_millis());
    let config = format!(
        "global\n nbthread 1\ndefaults\n mode tcp\n option redispatch\n timeout connect {timeout}ms\n timeout check {timeout}ms\n timeout client \
         60s\n timeout server 60s\nlisten web\n bind {before}:{PORT}\n option httpchk GET /\n default-server check inter {interval}ms \
         fastinter {in_doubt}ms fall 3 rise 2{more}\n server first {first}:{PORT}\n server second {second}:{PORT} backup\n",
        before = Machine::Before.ip(),
        first = Machine::First.ip(),
        second = Machine::Second.ip(),
    );
    spawn(dir, Machine::Before, "haproxy", &["-db", "-f", &write(dir, "haproxy.cfg", &config)])
}

/// Scripts run once a second at most: that is its shortest interval for them.
fn keepalived(dir: &Path, on: Machine, pace: Pace) -> Running {
    let (state, priority) = if on == Machine::First { ("MASTER", 254) } else { ("BACKUP", 253) };
    let (name, seconds) = (on.name(), pace.interval.as_secs_f64());
    let config = format!(
        "global_defs {{\n router_id {name}\n vrrp_version 3\n script_user root\n enable_script_security\n}}\nvrrp_script web {{\n script \
         \"/usr/bin/curl -sf -o /dev/null -m {} http://127.0.0.1:{PORT}/\"\n interval 1\n timeout 1\n fall 3\n rise 2\n}}\nvrrp_instance \
         web {{\n state {state}\n interface eth0\n virtual_router_id 51\n priority {priority}\n advert_int {seconds}\n \
         virtual_ipaddress {{\n  {SHARED}/24\n }}\n track_script {{\n  web\n }}\n}}\n",
        pace.timeout.as_secs_f64(),
    );
    let file = write(dir, &format!("{name}.conf"), &config);
    let pids = ["keepalived", "vrrp"].map(|it| dir.join(format!("{name}-{it}.pid")).display().to_string());
    spawn(
        dir,
        on,
        "keepalived",
        &["--dont-fork", "--log-console", "--vrrp", "-f", &file, "-p", &pids[0], "-r", &pids[1]],
    )
}
