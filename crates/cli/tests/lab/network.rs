//! Machines as network namespaces, on a switch whose paths can be broken.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

/// The machines of a lab, in the order of their ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Machine {
    Agent,
    A,
    B,
    Client,
    /// Only in a lab with three servers.
    C,
}

impl Machine {
    pub(crate) const ALL: [Machine; 4] = [Machine::Agent, Machine::A, Machine::B, Machine::Client];

    pub(crate) const WITH_THREE_SERVERS: [Machine; 5] =
        [Machine::Agent, Machine::A, Machine::B, Machine::Client, Machine::C];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Machine::Agent => "agent",
            Machine::A => "a",
            Machine::B => "b",
            Machine::Client => "client",
            Machine::C => "c",
        }
    }

    pub(crate) fn ip(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 10 + self.port())
    }

    const fn port(self) -> u8 {
        self as u8
    }
}

/// What is wrong with the path from one machine to another, in that direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    Cut,
    /// Half of all frames are lost.
    Loss,
    /// All arrive half a second later.
    Delay,
}

/// What names of this process begin with. Namespaces of processes share the names, and not the numbers of processes: what a killed one has
/// left must not be in the way.
static OURS: LazyLock<String> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    format!("mainstay-lab-{}-{:x}", std::process::id(), now.as_micros())
});

/// Machines and the switch between them. Everything in it is ended with it.
pub(crate) struct Network {
    name: String,
    machines: Vec<Machine>,
    switch: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Network {
    /// Whether this process may make namespaces: root may, and then they must work.
    pub(crate) fn is_possible() -> bool {
        if !rustix::process::geteuid().is_root() {
            return false;
        }
        static TRIES: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-try-{}", *OURS, TRIES.fetch_add(1, Ordering::Relaxed));
        let made = quiet(Command::new("ip").args(["netns", "add", &name]));
        assert!(made, "root can't make a network namespace: is `ip` (iproute2) here?");
        quiet(Command::new("ip").args(["netns", "del", &name]))
    }

    pub(crate) fn build(machines: &[Machine]) -> Network {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", *OURS, LABS.fetch_add(1, Ordering::Relaxed));
        let switch = format!("{name}-switch");
        run(&["ip", "netns", "add", &switch]);
        for machine in machines.iter().copied() {
            let (space, port) = (format!("{name}-{}", machine.word()), format!("p{}", machine.port()));
            run(&["ip", "netns", "add", &space]);
            run(&[
                "ip", "link", "add", "eth0", "netns", &space, "type", "veth", "peer", "name", &port, "netns", &switch,
            ]);
            run(&[
                "ip",
                "-n",
                &space,
                "link",
                "set",
                "eth0",
                "address",
                &format!("02:00:00:00:00:0{}", machine.port()),
            ]);
            run(&["ip", "-n", &space, "addr", "add", &format!("{}/24", machine.ip()), "dev", "eth0"]);
            run(&["ip", "-n", &space, "link", "set", "eth0", "up"]);
            run(&["ip", "-n", &space, "link", "set", "lo", "up"]);
            run(&["ip", "-n", &switch, "link", "set", &port, "up"]);
            run(&["ip", "netns", "exec", &space, "python3", &script(), "--plain", "eth0"]);
            // Nobody is looked for when paths are broken.
            for other in machines.iter().filter(|it| **it != machine) {
                let (ip, address) = (other.ip().to_string(), format!("02:00:00:00:00:0{}", other.port()));
                run(&["ip", "-n", &space, "neigh", "add", &ip, "lladdr", &address, "dev", "eth0", "nud", "permanent"]);
            }
        }
        let mut child = Command::new("ip")
            .args(["netns", "exec", &switch, "python3", &script()])
            .args(machines.iter().map(|it| format!("p{}", it.port())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let orders = child.stdin.take().expect("it is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("it is piped"));
        assert_eq!(line(&mut answers), "ready");
        Network { name, machines: machines.to_vec(), switch: child, orders, answers }
    }

    /// Breaks the path from one machine to another, in this direction.
    pub(crate) fn trouble(&mut self, from: Machine, to: Machine, what: Trouble) {
        let (from, to) = (from.port(), to.port());
        self.order(&match what {
            Trouble::Cut => format!("cut {from} {to}"),
            Trouble::Loss => format!("loss {from} {to} 0.5"),
            Trouble::Delay => format!("delay {from} {to} 0.5"),
        });
    }

    /// All paths work again.
    pub(crate) fn heal(&mut self) {
        self.order("heal");
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the switch runs");
        assert_eq!(line(&mut self.answers), "ok", "{order}");
    }

    /// A command on a machine, in a process group of its own.
    pub(crate) fn on(&self, machine: Machine, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{}", self.name, machine.word())]).arg(program).process_group(0);
        command
    }

    /// Everything that runs on a machine.
    pub(crate) fn pids(&self, machine: Machine) -> Vec<Pid> {
        pids(&format!("{}-{}", self.name, machine.word()))
    }

    /// What the kernel would do to a machine: to each of its processes at once.
    pub(crate) fn signal(&self, machine: Machine, signal: Signal) {
        for pid in self.pids(machine) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in self.machines.iter().copied() {
            for _ in 0..50 {
                let left = self.pids(machine);
                if left.is_empty() {
                    break;
                }
                for pid in left {
                    let _ = kill_process(pid, Signal::KILL);
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        let _ = self.switch.kill();
        let _ = self.switch.wait();
        let spaces = self.machines.iter().map(|it| it.word()).chain(["switch"]);
        for space in spaces {
            quiet(Command::new("ip").args(["netns", "del", &format!("{}-{space}", self.name)]));
        }
    }
}

fn pids(space: &str) -> Vec<Pid> {
    let listed = Command::new("ip").args(["netns", "pids", space]).stderr(Stdio::null()).output().expect("ip is there");
    let text = String::from_utf8_lossy(&listed.stdout);
    text.lines().filter_map(|it| it.trim().parse().ok()).filter_map(Pid::from_raw).collect()
}

fn script() -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/lab/switch.py").display().to_string()
}

fn line(from: &mut impl BufRead) -> String {
    let mut text = String::new();
    from.read_line(&mut text).expect("the switch speaks");
    text.trim().to_owned()
}

fn run(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output().expect("it is there");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn quiet(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
}

/// Where a process writes what it says.
pub(crate) fn log(path: &Path) -> (Stdio, Stdio) {
    let file = File::options().create(true).append(true).open(path).expect("the folder is there");
    (file.try_clone().expect("a descriptor").into(), file.into())
}
