//! Three PostgreSQL servers on machines of their own, each with a host, an agent, and clients that write to all three all the time.
//!
//! Each trial copies three servers from one template, plays a schedule of faults drawn from its seed, mends everything, and asks: did two servers
//! ever acknowledge writes at the same time, is everything there that was acknowledged longer before a takeover than the plan promises,
//! does somebody acknowledge writes again, could each wait be explained?
//!
//! `MAINSTAY_PG_SEEDS=0..200 MAINSTAY_LABS=4 cargo test -p mainstay-cli --test lab servers` plays more. It needs root and PostgreSQL; without them
//! nothing is played, and that is said. Nothing loses power here, so the servers don't sync their disks.

mod faults;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mainstay_api as api;
use mainstay_pgkit::{PASSWORD, REPLICATION_PASSWORD, Server};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::judge::{self, one_at_a_time};
use crate::network::{Machine, Network, Trouble, log};
use crate::schedule::Dice;
use crate::site::{Kept, PROGRAM, SUPERVISED};
use faults::Schedule;

/// What is played where nobody asks for more.
const SEEDS: Range<u64> = 0..2;

const SERVERS: [Machine; 3] = [Machine::A, Machine::B, Machine::C];

const NAMES: [&str; 3] = ["orders", "orders-b", "orders-c"];

/// What the plan promises: nothing is lost that was acknowledged longer before.
const RPO: Duration = Duration::from_secs(10);

/// How often it is looked for servers that died.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a server that died stays away, unless Mainstay starts it.
const AWAY: Duration = Duration::from_secs(2);

/// The worst case that the proof gives for a lost host, with the agent away for a while.
const RECOVERS_WITHIN: Duration = Duration::from_secs(43);

/// How long anything may take that nothing hinders.
const PATIENCE: Duration = Duration::from_secs(45);

#[test]
fn no_schedule_of_faults_loses_more_than_promised_or_gives_two_primaries() {
    let Some(template) = Template::new() else { return };
    let seeds = crate::seeds_of("MAINSTAY_PG_SEEDS", SEEDS);
    let labs = std::env::var("MAINSTAY_LABS").ok().and_then(|it| it.parse().ok()).unwrap_or(2);
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..labs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    // What one of them shows says nothing of the others.
                    match std::panic::catch_unwind(|| trial(&template, seed)) {
                        Ok(told) => eprintln!("seed {seed}: {told}"),
                        Err(_told) => failed.lock().expect("nobody panics with it").push(seed),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panicked with it");
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

/// The judge can find it: without the lease, a primary that the agent alone can't reach goes on beside the new one.
#[test]
fn without_a_fence_two_primaries_are_found() {
    let Some(template) = Template::new() else { return };
    let mut trio = Trio::build(&template, Fenced::Not);
    for other in [Machine::Agent, Machine::B, Machine::C] {
        trio.network.trouble(other, Machine::A, Trouble::Cut);
        trio.network.trouble(Machine::A, other, Trouble::Cut);
    }
    trio.until("a standby takes over", |trio| trio.owner().is_some_and(|it| it != 0));
    trio.until("two are found", |trio| one_at_a_time(&trio.who_acknowledged(), trio.moves()).is_err());
}

fn trial(template: &Template, seed: u64) -> String {
    let mut trio = Trio::build(template, Fenced::ByLease);
    let mut dice = Dice::new(seed);
    let schedule = Schedule::drawn(&mut dice);
    eprintln!("seed {seed}: {:?}", schedule.0);
    let mut unexplained = Vec::new();
    schedule.play(&mut trio, &mut |trio| unexplained.extend(trio.unexplained()));
    let healed = Instant::now();
    let failed = |what: &str, trio: &Trio| -> ! { panic!("seed {seed}: {what}\n{schedule:#?}\n{}", trio.tells()) };
    let before = trio.acknowledged().len();
    while trio.acknowledged().len() < before + 10 {
        if healed.elapsed() > RECOVERS_WITHIN {
            failed("nobody acknowledges writes although nothing is wrong any more", &trio);
        }
        trio.pass(Duration::from_millis(100));
    }
    let recovered = healed.elapsed();
    while !trio.is_settled() {
        if healed.elapsed() > RECOVERS_WITHIN * 2 {
            failed("it did not settle", &trio);
        }
        trio.pass(Duration::from_millis(500));
        unexplained.extend(trio.unexplained());
    }
    if let Some(wait) = unexplained.first() {
        failed(&format!("a wait is not explained: {wait}"), &trio);
    }
    if std::env::var_os("MAINSTAY_TELL").is_some() {
        eprintln!("{}", trio.tells());
    }
    let changes = match one_at_a_time(&trio.who_acknowledged(), trio.moves()) {
        Ok(changes) => changes,
        Err(what) => failed(&what, &trio),
    };
    let (all, lost, oldest) = match trio.lost() {
        Ok(lost) => lost,
        Err(what) => failed(&what, &trio),
    };
    format!(
        "{changes} changes of owner, served again {:.1} s after the last fault; {all} writes acknowledged, {lost} lost, the oldest {} ms before the last",
        recovered.as_secs_f64(),
        oldest.as_millis()
    )
}

/// A server that was shut down in order, to be copied.
struct Template {
    server: Server,
}

impl Template {
    /// `None`: nothing can be played here, and that was said.
    fn new() -> Option<Template> {
        if !Network::is_possible() {
            eprintln!("NOT PLAYED: network namespaces need root");
            return None;
        }
        if mainstay_pgkit::bin().is_none() {
            eprintln!("NOT PLAYED: PostgreSQL is not installed");
            return None;
        }
        let mut server = Server::primary(&[]);
        server.sql("CREATE TABLE written (n bigint PRIMARY KEY)");
        server.sql("CREATE ROLE client LOGIN; GRANT SELECT, INSERT ON written TO client");
        server.stop();
        Some(Template { server })
    }

    fn user(&self) -> &str {
        self.server.run_as().expect("root runs the test")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fenced {
    /// The plan accepts that two may write.
    Not,
    ByLease,
}

/// What everybody has, removed when the network has ended all that runs in it.
struct Dir(TempDir);

impl Dir {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        for server in SERVERS {
            mainstay_pgkit::forget_shared_memory(&self.path().join(server.word()));
        }
    }
}

/// Everything in it ends with it.
struct Trio {
    network: Network,
    dir: Dir,
    user: String,
    agent: Kept,
    hosts: [Kept; 3],
    /// When it was looked for servers that died.
    looked: Option<Instant>,
    /// Since when nothing of it runs.
    died: [Option<Instant>; 3],
    /// The first process of each that we started, until it has died.
    started: [Option<Child>; 3],
    held_back: [bool; 3],
    _clients: Child,
}

impl Trio {
    /// Builds it, enrols its hosts, and waits until all is well.
    ///
    /// On a machine that does too much, a server may seem dead before anything has begun, and is replaced; that is not the subject here.
    fn build(template: &Template, fenced: Fenced) -> Trio {
        for _ in 0..4 {
            let mut trio = Trio::begin(template, fenced);
            let began = Instant::now();
            let needs_lease = fenced == Fenced::ByLease;
            while began.elapsed() < PATIENCE && trio.owner().is_none_or(|it| it == 0) {
                // Without a lease its host has nothing to end.
                let is_held = trio.dir.path().join("a/state/leases/orders.json").exists();
                if trio.is_whole() && (is_held || !needs_lease) {
                    // Until each has said where it is more than once: a place is known by what the primary had before.
                    trio.pass(Duration::from_secs(2));
                    return trio;
                }
                trio.pass(Duration::from_millis(500));
            }
        }
        panic!("all is never well, however often it begins");
    }

    fn begin(template: &Template, fenced: Fenced) -> Trio {
        let (network, dir) =
            (Network::build(&Machine::WITH_THREE_SERVERS), Dir(tempfile::tempdir().expect("a folder")));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::write(dir.path().join("password"), PASSWORD).expect("it is written");
        fs::write(dir.path().join("plan.yaml"), plan(dir.path(), template, fenced)).expect("it is written");
        for nth in 0..3 {
            lay_out(dir.path(), template, nth);
        }
        let servers: Vec<_> = (0..3).map(|nth| (NAMES[nth], address(nth))).collect();
        let clients = writer::start(&network, &dir.path().join("acknowledged"), &servers);
        let mut trio = Trio {
            network,
            dir,
            user: template.user().to_owned(),
            agent: Kept::new(),
            hosts: [Kept::new(), Kept::new(), Kept::new()],
            looked: None,
            died: [None; 3],
            started: [None, None, None],
            held_back: [false; 3],
            _clients: clients,
        };
        trio.run(Machine::Agent, &["enroll", "init", "plan.yaml", "--state", "state"]);
        (0..3).for_each(|it| trio.start_server(it));
        trio.start_agent();
        trio.until("hosts can connect", |trio| trio.said("agent.log").contains("hosts can connect"));
        for machine in SERVERS {
            trio.join(machine);
        }
        trio
    }

    /// Whose answer was lost tries again, with a new token.
    fn join(&self, machine: Machine) {
        let state = format!("{}/state", machine.word());
        for _ in 0..3 {
            let token = self.run(Machine::Agent, &["enroll", "token", machine.word(), "--state", "state"]);
            let token = token.split_whitespace().find(|it| it.len() > 40).expect("a token").to_owned();
            let args = ["enroll", "join", "--agent", &agent_address(), "--token", &token, "--state", &state];
            let output = self.command(machine, &args).output().expect("the program is there");
            if output.status.success() {
                return;
            }
            eprintln!("{} does not join: {}", machine.word(), String::from_utf8_lossy(&output.stderr));
        }
        panic!("{} can't join: {}", machine.word(), self.tells());
    }

    /// Starts again what has died and is not held back.
    fn supervise(&mut self) {
        if self.agent.is_due(SUPERVISED) {
            self.start_agent();
        }
        for (nth, machine) in SERVERS.into_iter().enumerate() {
            if self.hosts[nth].is_due(SUPERVISED) {
                let word = machine.word();
                let args = ["host", &format!("{word}/host.yaml")];
                self.hosts[nth].child = Some(self.begun(machine, &args, &format!("{word}/host.log")));
            }
        }
        if self.looked.is_none_or(|it| it.elapsed() > LOOK_EVERY) {
            self.looked = Some(Instant::now());
            (0..3).for_each(|it| self.look_after(it));
        }
    }

    /// Whoever supervises a machine starts a standby again. What was a primary is Mainstay's, or nobody's.
    fn look_after(&mut self, nth: usize) {
        if let Some(Ok(Some(_))) = self.started[nth].as_mut().map(Child::try_wait) {
            self.started[nth] = None;
        }
        if !self.processes(nth, "").is_empty() {
            self.died[nth] = None;
            return;
        }
        let died = *self.died[nth].get_or_insert_with(Instant::now);
        if !self.held_back[nth] && died.elapsed() > AWAY && self.data(nth).join("standby.signal").exists() {
            self.start_server(nth);
            self.died[nth] = None;
        }
    }

    fn start_server(&mut self, nth: usize) {
        let (out, err) = log(&self.dir.path().join(SERVERS[nth].word()).join("server.log"));
        let postgres = mainstay_pgkit::bin().expect("it is installed").join("postgres");
        let child = self
            .network
            .on(SERVERS[nth], Path::new("setpriv"))
            .args(["--reuid", &self.user, "--regid", &self.user, "--clear-groups"])
            .arg(postgres)
            .arg("-D")
            .arg(self.data(nth))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .expect("it is installed");
        self.started[nth] = Some(child);
    }

    fn start_agent(&mut self) {
        self.agent.child = Some(self.begun(Machine::Agent, &["run", "plan.yaml"], "agent.log"));
    }

    fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.supervise();
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Trio) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "{what} did not come about: {}", self.tells());
            self.pass(Duration::from_millis(200));
        }
    }

    fn status(&self) -> Option<api::Status> {
        let output = self.command(Machine::Agent, &["status", "--json", "--state", "state"]).output().ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Which server the component is.
    fn owner(&self) -> Option<usize> {
        let status = self.status()?;
        let bound = &status.components.first()?.bound_to;
        NAMES.iter().position(|it| it == bound)
    }

    /// Whether all three are healthy, and nothing is under way.
    fn is_whole(&self) -> bool {
        self.has(|it| it.health == "healthy" && ["active", "standby"].contains(&it.state.as_str()))
    }

    /// Whether the owner is healthy and nothing is under way. An old primary needs a person.
    fn is_settled(&self) -> bool {
        self.has(|it| it.state != "recovering" && (it.state != "active" || it.health == "healthy"))
    }

    fn has(&self, well: impl Fn(&api::Instance) -> bool) -> bool {
        let component = |it: &api::Component| it.waiting.is_none() && it.instances.iter().all(&well);
        self.status().is_some_and(|it| it.components.iter().all(component))
    }

    /// See [`judge::unexplained`].
    fn unexplained(&self) -> Vec<String> {
        self.status().map_or_else(Vec::new, |it| judge::unexplained(&it))
    }

    fn signal_host(&self, nth: usize, signal: Signal) {
        let pid = self.hosts[nth].child.as_ref().and_then(|it| i32::try_from(it.id()).ok());
        pid.and_then(Pid::from_raw).into_iter().for_each(|it| send(it, signal));
    }

    /// To the processes of a server whose titles hold that.
    fn signal_server(&self, nth: usize, titled: &str, signal: Signal) {
        self.processes(nth, titled).into_iter().for_each(|it| send(it, signal));
    }

    fn processes(&self, nth: usize, titled: &str) -> Vec<Pid> {
        let is_ours = |it: &Pid| {
            let process = PathBuf::from(format!("/proc/{}", it.as_raw_nonzero()));
            let title = fs::read(process.join("cmdline")).unwrap_or_default();
            let works_here = fs::read_link(process.join("cwd")).is_ok_and(|it| it == self.data(nth));
            works_here && String::from_utf8_lossy(&title).contains(titled)
        };
        let number = |it: fs::DirEntry| it.file_name().to_str()?.parse().ok().and_then(Pid::from_raw);
        let all = fs::read_dir("/proc").expect("processes").flatten().filter_map(number);
        all.filter(is_ours).collect()
    }

    fn kill_agent(&mut self) {
        if let Some(child) = &mut self.agent.child {
            child.kill().expect("it is ours");
        }
    }

    fn hold_back(&mut self, nth: usize, held_back: bool) {
        self.hosts[nth].held_back = held_back;
        self.held_back[nth] = held_back;
    }

    /// How often another server may have become the primary: with each binding, and with each rung that failed after it had promoted one.
    fn moves(&self) -> usize {
        let journal = self.run(Machine::Agent, &["journal", "export", "--state", "state"]);
        let journal: Vec<serde_json::Value> = journal.lines().filter_map(|it| serde_json::from_str(it).ok()).collect();
        let bound = journal.iter().filter(|it| it["kind"] == "bound").count();
        // The first rung starts the same one again.
        let failed = journal.iter().filter(|it| it["kind"] == "rung_failed" && it["payload"]["rung"] != 0).count();
        bound + 2 * failed
    }

    /// What was acknowledged: by whom, when it was sent, when that was heard, and what.
    fn acknowledged(&self) -> Vec<(String, u64, u64, i64)> {
        let read = |line: &str| {
            let mut words = line.split(' ');
            Some((
                words.next()?.to_owned(),
                words.next()?.parse().ok()?,
                words.next()?.parse().ok()?,
                words.next()?.parse().ok()?,
            ))
        };
        let text = fs::read_to_string(self.dir.path().join("acknowledged")).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter_map(read).collect()
    }

    fn who_acknowledged(&self) -> Vec<(String, u64, u64)> {
        self.acknowledged().into_iter().map(|it| (it.0, it.1, it.2)).collect()
    }

    /// How many writes were acknowledged, how many of them the present primary lacks, and how long before the last acknowledgement of its server the
    /// oldest of those was acknowledged.
    fn lost(&self) -> Result<(usize, usize, Duration), String> {
        let all = self.acknowledged();
        let owner = self.owner().ok_or("the agent does not say who is bound")?;
        let there: BTreeSet<i64> =
            self.sql(owner, "SELECT n FROM written").lines().filter_map(|it| it.parse().ok()).collect();
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for (server, _, heard, _) in &all {
            let entry = last.entry(server).or_default();
            *entry = (*entry).max(*heard);
        }
        let (mut lost, mut oldest) = (0, Duration::ZERO);
        for (server, _, heard, number) in all.iter().filter(|it| !there.contains(&it.3)) {
            let age = Duration::from_nanos(last[server.as_str()] - heard);
            if age > RPO {
                return Err(format!("{number} is lost, which {server} acknowledged {age:?} before its last"));
            }
            if server == NAMES[owner] {
                return Err(format!("{number} is lost, which {server} acknowledged, and it is the primary"));
            }
            (lost, oldest) = (lost + 1, oldest.max(age));
        }
        Ok((all.len(), lost, oldest))
    }

    fn sql(&self, nth: usize, statement: &str) -> String {
        let folder = self.dir.path().join(SERVERS[nth].word());
        let psql = mainstay_pgkit::bin().expect("it is installed").join("psql");
        let mut command = Command::new(psql);
        command
            .args(["-X", "-q", "-A", "-t", "-U", "postgres", "-p", "5432", "-h"])
            .arg(folder)
            .args(["-c", statement]);
        let output = command.stdin(Stdio::null()).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn data(&self, nth: usize) -> PathBuf {
        data(self.dir.path(), nth)
    }

    fn said(&self, log: &str) -> String {
        fs::read_to_string(self.dir.path().join(log)).unwrap_or_default()
    }

    /// The journal in sentences, how everything stands, and the last that each process said: for whoever reads why a trial failed.
    fn tells(&self) -> String {
        let journal = self.command(Machine::Agent, &["journal", "show", "--state", "state"]).output();
        let mut text = journal.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default();
        text += &match self.status() {
            Some(status) => format!("{:#?}", status.components),
            None => "the agent does not answer".to_owned(),
        };
        let of_servers = SERVERS.into_iter().flat_map(|it| {
            ["host.log", "server.log", "data/mainstay-start.log"].map(|log| format!("{}/{log}", it.word()))
        });
        for log in ["agent.log".to_owned()].into_iter().chain(of_servers) {
            let said = self.said(&log);
            let lines: Vec<&str> = said.lines().rev().take(12).collect();
            text += &format!("\n--- {log}\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        text
    }

    fn begun(&self, machine: Machine, args: &[&str], says: &str) -> Child {
        let (out, err) = log(&self.dir.path().join(says));
        self.command(machine, args).stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("the program is there")
    }

    fn run(&self, machine: Machine, args: &[&str]) -> String {
        let output = self.command(machine, args).output().expect("the program is there");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, machine: Machine, args: &[&str]) -> Command {
        let mut command = self.network.on(machine, Path::new(PROGRAM));
        command.args(args).current_dir(self.dir.path()).env_remove("MAINSTAY_STATE");
        command
    }
}

/// A process that has ended meanwhile needs no signal.
fn send(pid: Pid, signal: Signal) {
    let _ended = kill_process(pid, signal);
}

fn data(dir: &Path, nth: usize) -> PathBuf {
    dir.join(SERVERS[nth].word()).join("data")
}

fn address(nth: usize) -> String {
    format!("{}:5432", SERVERS[nth].ip())
}

fn agent_address() -> String {
    format!("{}:7400", Machine::Agent.ip())
}

/// Where the standbys find whoever is the primary.
fn route() -> String {
    format!("{}:6432", Machine::Agent.ip())
}

/// The folder of a machine: a copy of the server, the host's file, the passfile.
fn lay_out(dir: &Path, template: &Template, nth: usize) {
    let folder = dir.join(SERVERS[nth].word());
    fs::create_dir_all(folder.join("state")).expect("it is writable");
    let (from, to) = (template.server.data(), data(dir, nth));
    let copied = Command::new("cp").arg("-a").args([&from, &to]).status().expect("cp is there");
    assert!(copied.success(), "{from:?} is copied");
    let owner = fs::metadata(&from).expect("it is there");
    let (user, group) = {
        use std::os::unix::fs::MetadataExt;
        (owner.uid(), owner.gid())
    };
    let write = |path: &Path, text: &str| {
        fs::write(path, text).expect("it is written");
        chown(path, Some(user), Some(group)).expect("root may");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("root may");
    };
    chown(&folder, Some(user), Some(group)).expect("root may");
    let passfile = folder.join("pgpass");
    write(&passfile, &format!("*:*:*:replicator:{}\n", REPLICATION_PASSWORD.replace(':', "\\:")));
    let (ip, name) = (Machine::Agent.ip(), NAMES[nth]);
    let before = fs::read_to_string(to.join("postgresql.conf")).expect("it is there");
    let settings = format!(
        "{before}listen_addresses = '*'\nport = 5432\nunix_socket_directories = '{}'\ncluster_name = '{name}'\nfsync = off\n\
         wal_receiver_timeout = '3s'\nwal_sender_timeout = '3s'\nautovacuum = off\n\
         primary_conninfo = 'host={ip} port=6432 user=replicator passfile={} application_name={name} connect_timeout=2'\n",
        folder.display(),
        passfile.display()
    );
    write(&to.join("postgresql.conf"), &settings);
    let net = "10.77.0.0/24";
    let access = format!(
        "local all all trust\nhost all mainstay {net} scram-sha-256\nhost replication replicator {net} scram-sha-256\n\
         host all replicator {net} scram-sha-256\nhost all client {net} trust\n"
    );
    write(&to.join("pg_hba.conf"), &access);
    if nth > 0 {
        write(&to.join("standby.signal"), "");
    }
    fs::write(folder.join("host.yaml"), host_file(dir, nth)).expect("it is written");
}

fn host_file(dir: &Path, nth: usize) -> String {
    let folder = dir.join(SERVERS[nth].word());
    let data = data(dir, nth);
    format!(
        "version: 1
agents: [\"{agent}\"]
state: {state}
may:
  services: [{{ postgres: {data} }}]
guards:
  {instance}: {{ component: orders, stop: {{ postgres: {data} }} }}
",
        agent = agent_address(),
        state = folder.join("state").display(),
        data = data.display(),
        instance = NAMES[nth],
    )
}

fn plan(dir: &Path, template: &Template, fenced: Fenced) -> String {
    let (fence, risk, alone) = match fenced {
        Fenced::Not => ("", "accept_risk: [two_writers], ", ""),
        Fenced::ByLease => ("fence: lease", "", "    on_agent_loss: demote\n"),
    };
    let bin = mainstay_pgkit::bin().expect("it is installed");
    let server = |nth: usize| {
        format!(
            "    postgres: {{ address: \"{}\", password_file: {:?}, data: {:?}, bin: {bin:?}, run_as: {} }}
    probes: [{{ postgres: {{ interval: 500ms, fast_interval: 400ms, timeout: 400ms, fall: 4, rise: 2 }} }}]
",
            address(nth),
            dir.join("password"),
            data(dir, nth),
            template.user()
        )
    };
    format!(
        "version: 2
site: {{ name: lab, region: here, zone: ops, host: ops-1 }}
state: state
allowances: {{ lateness: 500ms, journal_sync: 500ms, route_apply: 500ms, agent_restart: 2s, forced_stop: 2s }}
link: {{ listen: \"{agent}\", lease: {{ renew: 300ms, expires: 2s, demote: 2s, drift: 100ms }} }}
hosts:
  a: {{ region: here, zone: za }}
  b: {{ region: here, zone: zb }}
  c: {{ region: here, zone: zc }}
components:
  orders:
    type: database
    location: {{ region: here, zone: za, host: a }}
    constraint: {{ reason: one writer at a time, kind: technical }}
    objectives: {{ rto: 60s, rpo: {rpo}s }}
{a}{alone}    guards: {{ cool_down: 1s }}
    recovery:
      - restart_service: {{ timeout: 5s, verify_within: 3s }}
      - failover_to_standby: {{ standbys: [orders-b, orders-c], {risk}verify_within: 5s }}
standbys:
  orders-b:
    location: {{ region: here, zone: zb, host: b }}
{b}  orders-c:
    location: {{ region: here, zone: zc, host: c }}
{c}witnesses:
  clients:
    location: {{ region: here, zone: zd }}
    probe: {{ tcp: {{ address: \"{client}:9\", interval: 400ms, timeout: 150ms }} }}
routes:
  orders:
    exclusive: {{ {fence} }}
    proxy: {{ listen: \"{route}\" }}
    targets:
      - {{ component: orders, address: \"{at_a}\" }}
      - {{ standby: orders-b, address: \"{at_b}\" }}
      - {{ standby: orders-c, address: \"{at_c}\" }}
",
        agent = agent_address(),
        rpo = RPO.as_secs(),
        a = server(0),
        b = server(1),
        c = server(2),
        client = Machine::Client.ip(),
        route = route(),
        at_a = address(0),
        at_b = address(1),
        at_c = address(2),
    )
}
