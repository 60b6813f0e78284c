//! Five machines on one switch, each a network namespace. The namespace that this program runs in is the switch.

use std::fs;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Machine {
    /// Serves, until it fails.
    First,
    /// Takes over.
    Second,
    /// Could take over, too.
    Third,
    /// Where a proxy runs.
    Before,
    Clients,
}

impl Machine {
    pub(crate) const ALL: [Machine; 5] =
        [Machine::First, Machine::Second, Machine::Third, Machine::Before, Machine::Clients];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Machine::First => "first",
            Machine::Second => "second",
            Machine::Third => "third",
            Machine::Before => "before",
            Machine::Clients => "clients",
        }
    }

    pub(crate) fn ip(self) -> Ipv4Addr {
        let last = match self {
            Machine::First => 11,
            Machine::Second => 12,
            Machine::Third => 13,
            Machine::Before => 3,
            Machine::Clients => 2,
        };
        Ipv4Addr::new(10, 77, 0, last)
    }

    /// A command that runs on it.
    pub(crate) fn command(self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(), program]).stdin(Stdio::null());
        command
    }

    /// What carries its cable at the switch.
    fn port(self) -> String {
        format!("to-{}", self.name())
    }
}

/// The address of the switch, which never fails: who doubts his own network asks here.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// All of them.
pub(crate) struct Machines {
    /// For configurations, logs and state.
    pub(crate) dir: TempDir,
}

impl Machines {
    pub(crate) fn make() -> Machines {
        // The names of our namespaces are nobody else's.
        fs::create_dir_all("/run/netns").expect("we are root");
        run("mount", "--make-rprivate /");
        run("mount", "-t tmpfs tmpfs /run/netns");
        run("ip", "link set lo up");
        run("ip", "link add switch type bridge forward_delay 0");
        run("ip", &format!("address add {GATEWAY}/24 dev switch"));
        run("ip", "link set switch up");
        for machine in Machine::ALL {
            let (name, port, ip) = (machine.name(), machine.port(), machine.ip());
            run("ip", &format!("netns add {name}"));
            run("ip", &format!("link add {port} type veth peer name eth0 netns {name}"));
            run("ip", &format!("link set {port} master switch up"));
            run("ip", &format!("-n {name} address add {ip}/24 dev eth0"));
            run("ip", &format!("-n {name} link set eth0 up"));
            run("ip", &format!("-n {name} link set lo up"));
        }
        Machines { dir: TempDir::new().expect("a temporary folder can be made") }
    }

    /// Pulls its cable.
    #[expect(clippy::unused_self, reason = "there are machines only after they were made")]
    pub(crate) fn cut(&self, machine: Machine) {
        run("ip", &format!("link set {} down", machine.port()));
    }

    /// From now on nothing that it says arrives; it hears everything.
    #[expect(clippy::unused_self, reason = "there are machines only after they were made")]
    pub(crate) fn silence(&self, machine: Machine) {
        for ip in everybody_but(machine) {
            run("ip", &format!("-n {} neighbour replace {ip} lladdr {NOBODY} dev eth0 nud permanent", machine.name()));
        }
    }

    /// It is heard again.
    #[expect(clippy::unused_self, reason = "there are machines only after they were made")]
    pub(crate) fn unsilence(&self, machine: Machine) {
        for ip in everybody_but(machine) {
            run("ip", &format!("-n {} neighbour delete {ip} dev eth0", machine.name()));
        }
    }

    /// Puts it in again.
    #[expect(clippy::unused_self, reason = "there are machines only after they were made")]
    pub(crate) fn heal(&self, machine: Machine) {
        run("ip", &format!("link set {} up", machine.port()));
    }
}

/// A hardware address that no machine has.
const NOBODY: &str = "02:00:00:00:00:99";

fn everybody_but(machine: Machine) -> impl Iterator<Item = Ipv4Addr> {
    Machine::ALL.into_iter().filter(move |it| *it != machine).map(Machine::ip).chain([GATEWAY])
}

fn run(program: &str, args: &str) {
    let status = Command::new(program).args(args.split(' ')).status();
    let status = status.unwrap_or_else(|error| panic!("{program} can't be started: {error}"));
    assert!(status.success(), "{program} {args}: {status}");
}

/// A process that is killed when it is not needed any more.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it runs and is ours");
    }

    /// Asked to, and waited for.
    pub(crate) fn end_in_order(&mut self) {
        self.signal(Signal::TERM);
        self.0.wait().expect("it is ours");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}
