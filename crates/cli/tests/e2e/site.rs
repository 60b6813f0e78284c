//! A site: servers, an agent and its traffic process, in one temporary directory and on loopback addresses of its own.
//!
//! Whatever was started is ended when the site is dropped, by its process id. No line of a log may be an ERROR unless the
//! test says that it expects some.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use mainstay_api as api;
use mainstay_engine::codec::{Encoded, decode};
use mainstay_engine::{Body, Record};
use mainstay_store::Reader;
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::clients;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mainstay");

/// How long anything may take on a machine that has better things to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

const LOOK_AGAIN: Duration = Duration::from_millis(15);

/// The names of the servers, each with the one that it copies.
pub(crate) const SERVERS: [(&str, Option<&str>); 5] =
    [("gateway", None), ("orders", None), ("orders-b", Some("orders")), ("files", None), ("files-b", Some("files"))];

/// The component behind the proxy, with its standby.
pub(crate) const ORDERS: [&str; 3] = ["gateway", "orders", "orders-b"];

/// The component behind DNS, with its standby.
pub(crate) const FILES: [&str; 3] = ["gateway", "files", "files-b"];

/// Both.
pub(crate) const ALL: [&str; 5] = ["gateway", "orders", "orders-b", "files", "files-b"];

/// Addresses that no other site of this machine uses.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub(crate) servers: BTreeMap<&'static str, SocketAddr>,
    pub(crate) proxy: SocketAddr,
    pub(crate) dns: SocketAddr,
}

impl Net {
    /// Each site has three loopback addresses to itself, told apart by process and number: a port that is free there stays
    /// free, because nobody else listens there and no client's own port is taken from them.
    fn find() -> Net {
        static SITES: AtomicU16 = AtomicU16::new(0);
        let nth = SITES.fetch_add(1, Ordering::Relaxed);
        let [.., low, lowest] = std::process::id().wrapping_mul(97).wrapping_add(u32::from(nth)).to_be_bytes();
        let ip = |last| IpAddr::V4(Ipv4Addr::new(127, low, lowest, last));
        let free = |last| TcpListener::bind((ip(last), 0)).expect("a free port");
        let at = |listener: &TcpListener| listener.local_addr().expect("an address");
        let held: Vec<TcpListener> = (0..4).map(|_| free(11)).collect();
        let files = free(12);
        // One port at two addresses, because a client of a name knows the port already.
        let files_b = TcpListener::bind((ip(13), at(&files).port())).expect("a free port");
        let (dns, _udp) = loop {
            let udp = UdpSocket::bind((ip(11), 0)).expect("a free port");
            let address = udp.local_addr().expect("an address");
            if TcpListener::bind(address).is_ok() {
                break (address, udp);
            }
        };
        let servers = [
            ("gateway", at(&held[0])),
            ("orders", at(&held[1])),
            ("orders-b", at(&held[2])),
            ("files", at(&files)),
            ("files-b", at(&files_b)),
        ];
        Net { servers: servers.into(), proxy: at(&held[3]), dns }
    }
}

/// See the module.
pub(crate) struct Site {
    dir: TempDir,
    pub(crate) net: Net,
    servers: BTreeMap<&'static str, Child>,
    agent: Option<Child>,
    /// Where the agent is started from.
    pub(crate) agents_program: PathBuf,
    errors_expected: bool,
    mounted: bool,
}

impl Site {
    /// Addresses and a directory; nothing runs. `plan` writes the plan's text.
    pub(crate) fn new(plan: impl FnOnce(&Net, &Path) -> String) -> Site {
        Site::within(tempfile::tempdir().expect("a directory"), plan)
    }

    /// The same in a directory that is there already.
    pub(crate) fn within(dir: TempDir, plan: impl FnOnce(&Net, &Path) -> String) -> Site {
        let net = Net::find();
        let text = plan(&net, dir.path());
        let (servers, agents_program) = (BTreeMap::new(), PROGRAM.into());
        let site = Site { dir, net, servers, agent: None, agents_program, errors_expected: false, mounted: false };
        fs::write(site.plan(), text).expect("the plan is written");
        site
    }

    /// The same with these servers and an agent, once all of it is well.
    pub(crate) fn running(servers: &[&str], plan: impl FnOnce(&Net, &Path) -> String) -> Site {
        let mut site = Site::new(plan);
        site.start_servers(servers);
        site.start_agent();
        site.until_whole();
        site
    }

    /// This test breaks something of which the agent is right to log an ERROR.
    pub(crate) fn expect_errors(&mut self) {
        self.errors_expected = true;
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn plan(&self) -> PathBuf {
        self.dir.path().join("plan.yaml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Gives the state directory a small disk of its own. Only in a mount namespace of our own.
    pub(crate) fn mount_state(&mut self, size: &str) {
        fs::create_dir(self.state()).expect("a directory");
        let options = format!("size={size},mode=700");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(self.state()).status();
        assert!(mount.expect("mount is there").success());
        self.mounted = true;
    }

    /// Changes the plan's file.
    pub(crate) fn edit_plan(&self, edit: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.plan()).expect("the plan is there");
        fs::write(self.plan(), edit(text)).expect("the plan is written");
    }

    pub(crate) fn start_servers(&mut self, names: &[&str]) {
        for (name, source) in SERVERS.into_iter().filter(|it| names.contains(&it.0)) {
            self.start_server(name, source);
        }
    }

    /// Starts a server and waits until it answers.
    pub(crate) fn start_server(&mut self, name: &'static str, copies: Option<&str>) {
        let at = self.net.servers[name];
        let mut command = Command::new(PROGRAM);
        command.args(["demo-app", "--listen", &at.to_string(), "--name", name, "--pid-file"]);
        command.arg(self.path().join(format!("{name}.pid")));
        if let Some(source) = copies {
            command.args(["--standby-of", &self.net.servers[source].to_string()]);
        }
        // It ends when this pipe is closed, so it can't outlive the test.
        let mut child = self.spawn(command, name, Stdio::piped());
        until(&format!("{name} answers"), || {
            assert!(child.try_wait().expect("it is ours").is_none(), "{name} ended: {}", self.log(name));
            clients::get(at, "/health").is_ok().then_some(())
        });
        self.servers.insert(name, child);
    }

    /// Kills a server at once.
    pub(crate) fn kill_server(&mut self, name: &str) {
        let mut server = self.servers.remove(name).expect("it runs");
        server.kill().expect("it is ours");
        server.wait().expect("it is ours");
    }

    /// Sends a signal to a server.
    pub(crate) fn signal_server(&self, name: &str, signal: Signal) {
        send(self.servers[name].id(), signal);
    }

    pub(crate) fn start_agent(&mut self) {
        self.start_agent_with(None);
    }

    /// Starts the agent, with a crash point if there is one.
    pub(crate) fn start_agent_with(&mut self, crash: Option<&str>) {
        assert!(self.agent.is_none(), "an agent runs already");
        let mut command = Command::new(&self.agents_program);
        command.args(["run", "--log-format", "json"]).arg(self.plan());
        command.env_remove("MAINSTAY_STATE").env_remove("MAINSTAY_LOG").env_remove("MAINSTAY_CRASH");
        command.envs(crash.map(|it| ("MAINSTAY_CRASH", it)));
        self.agent = Some(self.spawn(command, "agent", Stdio::null()));
    }

    fn spawn(&self, mut command: Command, name: &str, stdin: Stdio) -> Child {
        let log = self.path().join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log).expect("a log");
        command.stdin(stdin).stdout(log.try_clone().expect("a log")).stderr(log).process_group(0);
        command.spawn().expect("the program starts")
    }

    pub(crate) fn agent_pid(&self) -> u32 {
        self.agent.as_ref().expect("the agent runs").id()
    }

    pub(crate) fn signal_agent(&self, signal: Signal) {
        send(self.agent_pid(), signal);
    }

    /// How the agent ended by itself, if it did.
    pub(crate) fn agent_ended(&mut self) -> Option<ExitStatus> {
        let ended = self.agent.as_mut()?.try_wait().expect("it is ours");
        if ended.is_some() {
            self.agent = None;
        }
        ended
    }

    /// Kills the agent as a power cut would.
    pub(crate) fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().expect("it is ours");
            agent.wait().expect("it is ours");
        }
    }

    /// Ends the agent in order.
    pub(crate) fn stop_agent(&mut self) {
        self.signal_agent(Signal::TERM);
        let ended = until("the agent ends", || self.agent_ended());
        assert_eq!(ended.code(), Some(0), "{}", self.log("agent"));
    }

    /// The process that serves the routes, as its lock file names it.
    pub(crate) fn traffic_pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.state().join("traffic.lock")).ok()?;
        text.trim().parse().ok().filter(|pid| belongs_to(*pid, &self.state()))
    }

    pub(crate) fn signal_traffic(&self, signal: Signal) -> u32 {
        let pid = self.traffic_pid().expect("the traffic process runs");
        send(pid, signal);
        pid
    }

    /// The end of what a process said.
    pub(crate) fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path().join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// All that a process said.
    pub(crate) fn whole_log(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// What `mainstay` says on this state directory.
    pub(crate) fn says(&self, args: &[&str]) -> Said {
        let mut command = Command::new(PROGRAM);
        command.args(args).arg("--state").arg(self.state()).env_remove("MAINSTAY_STATE").stdin(Stdio::null());
        command.output().expect("the program starts").into()
    }

    fn asks<T: DeserializeOwned>(&self, what: &str) -> Option<T> {
        serde_json::from_str(&self.says(&[what, "--json"]).out).ok()
    }

    /// `None` while no agent answers.
    pub(crate) fn status(&self) -> Option<api::Status> {
        self.asks("status")
    }

    /// The newest first.
    pub(crate) fn recoveries(&self) -> Vec<api::Recovery> {
        self.asks::<api::Recoveries>("recoveries").map(|it| it.recoveries).unwrap_or_default()
    }

    /// The status, once `ready` says so of it.
    #[track_caller]
    pub(crate) fn until_status(&self, what: &str, ready: impl Fn(&api::Status) -> bool) -> api::Status {
        let last = RefCell::new(None);
        let stands = || format!("{:#?}\n{}\n{}", last.borrow(), self.log("agent"), self.traffic_log());
        let look = || {
            *last.borrow_mut() = self.status();
            last.borrow().clone().filter(&ready)
        };
        until_or(what, look, stands)
    }

    pub(crate) fn traffic_log(&self) -> String {
        fs::read_to_string(self.state().join("traffic.log")).unwrap_or_default()
    }

    /// All is well, and what is not well could be recovered at this moment.
    #[track_caller]
    pub(crate) fn until_whole(&self) -> api::Status {
        self.until_status("all is well", |it| {
            // In any other mode a person has to be asked first, and that is what the agent answers.
            let ready = |of: &api::Component| it.mode != "act" || matches!(of.recoverable, api::Recoverable::By { .. });
            serves_newest(it) && it.components.iter().all(|of| is_whole(of) && ready(of))
        })
    }

    /// `instance` has taken over, nothing is open, and the traffic process serves so.
    #[track_caller]
    pub(crate) fn until_owned_by(&self, component: &str, instance: &str) -> api::Status {
        self.until_status(&format!("{instance} takes over"), |it| {
            let of = it.components.iter().find(|it| it.name == component).expect("it is in the plan");
            of.bound_to == instance
                && of.health == "healthy"
                && of.waiting.is_none()
                && serves_newest(it)
                && self.recoveries().iter().filter(|it| it.component == component).all(|it| it.ended_ns.is_some())
        })
    }

    /// Everything that the journal holds, read from its file.
    pub(crate) fn journal(&self) -> Vec<(u64, Record)> {
        let reader = Reader::open(&self.state()).expect("there is a journal");
        let record = |it: mainstay_store::Record| {
            let encoded = Encoded {
                at_ns: it.entry.wall_ns.cast_unsigned(),
                kind: it.entry.kind,
                version: it.entry.version,
                payload: it.entry.payload,
            };
            (it.seq, decode(&encoded).expect("it can be read"))
        };
        reader.records(1).map(|it| record(it.expect("the chain holds"))).collect()
    }

    /// Whether the journal holds a record like that.
    pub(crate) fn recorded(&self, like: impl Fn(&Body) -> bool) -> bool {
        self.journal().iter().any(|it| like(&it.1.body))
    }

    /// The journal is what was written, every decision can be made again, and nothing was done on a guess.
    pub(crate) fn check_journal(&self) {
        let verified = self.says(&["journal", "verify"]);
        assert_eq!(verified.code, Some(0), "{verified:#?}");
        let replayed = self.says(&["journal", "replay"]);
        assert_eq!(replayed.code, Some(0), "{replayed:#?}");
        let mut seen = true;
        for (seq, record) in self.journal() {
            seen &= !matches!(record.body, Body::AgentStarted { .. });
            seen |= matches!(record.body, Body::HealthChanged { .. });
            // A cut can be taken back; waiting until somebody is in step, and a verification, do nothing but ask.
            if let Body::StepStarted { name, .. } = &record.body
                && !name.starts_with("cut")
                && !name.starts_with("wait until")
                && name != "verify"
            {
                assert!(seen, "record {seq} begins `{name}` before anything was observed");
            }
        }
    }

    /// Who answers clients of the proxy.
    pub(crate) fn serves_through_proxy(&self) -> Option<String> {
        clients::get(self.net.proxy, "/").ok()
    }

    fn check_logs(&self) {
        for line in self.whole_log("agent").lines() {
            let value: serde_json::Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: no JSON in the agent's log: {line}"));
            assert!(self.errors_expected || value["level"] != "ERROR", "{line}");
        }
        let traffic = self.traffic_log();
        let error = traffic.lines().find(|it| it.contains(" ERROR ") || it.contains("panicked"));
        assert!(self.errors_expected || error.is_none(), "{error:?}");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _gone = agent.kill();
            let _reaped = agent.wait();
        }
        end_all_of(&self.state());
        for server in self.servers.values_mut() {
            let _gone = server.kill();
            let _reaped = server.wait();
        }
        if !std::thread::panicking() {
            self.check_logs();
        }
        if self.mounted {
            let _left_behind = Command::new("umount").arg("--lazy").arg(self.state()).status();
        }
    }
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes| String::from_utf8(bytes).expect("its output is text");
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// It ended with this code, and told a person each of these.
    #[track_caller]
    pub(crate) fn tells(&self, code: i32, parts: &[&str]) {
        let all = format!("{}\n{}", self.out, self.err);
        let missing: Vec<_> = parts.iter().filter(|it| !all.contains(**it)).collect();
        assert!(self.code == Some(code) && missing.is_empty(), "wanted {code} and {missing:?}: {self:#?}");
    }
}

/// Runs `mainstay` in a directory.
pub(crate) fn mainstay(dir: &Path, args: &[&str]) -> Said {
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir(dir).env_remove("MAINSTAY_STATE").stdin(Stdio::null());
    command.output().expect("the program starts").into()
}

fn is_whole(component: &api::Component) -> bool {
    let well = |it: &api::Instance| it.health == "healthy" && (it.state == "active" || it.state == "standby");
    component.health == "healthy" && component.waiting.is_none() && component.instances.iter().all(well)
}

/// The traffic process serves the newest table.
pub(crate) fn serves_newest(status: &api::Status) -> bool {
    status.traffic.as_ref().is_some_and(|it| it.epoch > 0 && it.serves_epoch == Some(it.epoch))
}

/// Tries until there is something; a test that waits in vain says for what.
#[track_caller]
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_or(what, look, String::new)
}

#[track_caller]
fn until_or<T>(what: &str, mut look: impl FnMut() -> Option<T>, stands: impl Fn() -> String) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen within {PATIENCE:?} that {what}: {}", stands());
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it runs and is ours");
}

/// Whether a process was started with `state` as an argument.
fn belongs_to(pid: u32, state: &Path) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|it| *it == 0).any(|it| it == state.as_os_str().as_encoded_bytes())
}

/// Kills every process that was started on this state directory, and waits until all are gone. The directory's name is
/// this site's alone.
fn end_all_of(state: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
        let ours: Vec<u32> = pids.filter(|it| belongs_to(*it, state)).collect();
        if ours.is_empty() {
            return;
        }
        for pid in ours {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _gone = kill_process(pid, Signal::KILL);
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
