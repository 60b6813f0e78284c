//! A site with its authority, and hosts that have joined it, each in a folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_host::daemon::Entry;
use mainstay_plan::action::{Action, Plane, Service};
use mainstay_store::Reader;
use mainstay_wire::trust::{Authority, Gate, Joining, Terms, Wall};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAM: &str = env!("CARGO_BIN_EXE_mainstay");

pub(crate) struct Site {
    dir: tempfile::TempDir,
    pub(crate) authority: Arc<Authority>,
}

impl Site {
    pub(crate) fn new() -> Site {
        Site::with(Terms::default())
    }

    pub(crate) fn with(terms: Terms) -> Site {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let addresses = ["127.0.0.1".to_owned()];
        let (state, wall) = (dir.path().join("agent"), Wall::system());
        Authority::create(&state, "shop-a", &addresses, Terms::default(), &wall).expect("it is made");
        let authority = Arc::new(Authority::open(&state, terms, &wall).expect("it is there"));
        let site = Site { dir, authority };
        // Does what it is told, and writes down that it did.
        let script = format!(
            "#!/bin/sh\necho \"$MAINSTAY_IDEMPOTENCY_KEY\" >> {}\nexec ${{1:-true}} $2\n",
            site.done_file().display()
        );
        site.write_program(&site.program(), &script);
        // Starts a process that goes on, after a while if it is told so.
        let script = format!(
            "#!/bin/sh\necho \"$MAINSTAY_IDEMPOTENCY_KEY\" >> {}\nsleep $1\nsetsid sh -c \"trap $2 TERM; while :; do sleep 1; done\" \
             </dev/null >/dev/null 2>&1 &\necho $! > {}\n",
            site.done_file().display(),
            site.pid_file().display()
        );
        site.write_program(&site.starter(), &script);
        site
    }

    fn write_program(&self, path: &Path, script: &str) {
        fs::write(path, script).expect("it is written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it may be run");
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn gate(&self) -> Gate {
        self.authority.gate().expect("the agent has a certificate")
    }

    /// The program that hosts may run.
    pub(crate) fn program(&self) -> PathBuf {
        self.path().join("act")
    }

    fn starter(&self) -> PathBuf {
        self.path().join("start")
    }

    /// Of the service that hosts may operate.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.path().join("service.pid")
    }

    /// A file that hosts may write.
    pub(crate) fn trigger(&self) -> PathBuf {
        self.path().join("trigger")
    }

    /// That service. Its start takes so many seconds; a stop waits for so long before it uses force.
    pub(crate) fn service(&self, starts_in: &str, stop_grace: Duration, deaf: bool) -> Service {
        let on_term = if deaf { "true" } else { "exit" };
        let start = [&self.starter().display().to_string(), starts_in, on_term].map(str::to_owned).to_vec();
        Service::Declared { start, stop: None, status: None, pid_file: Some(self.pid_file()), stop_grace }
    }

    /// The process of that service, if it runs.
    pub(crate) fn serving(&self) -> Option<Pid> {
        let pid = fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok().and_then(Pid::from_raw)?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        (!stat.contains(") Z ")).then_some(pid)
    }

    fn done_file(&self) -> PathBuf {
        self.path().join("done")
    }

    /// The keys of what was done, one for each time.
    pub(crate) fn done(&self) -> Vec<String> {
        fs::read_to_string(self.done_file()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Runs that program with these arguments.
    pub(crate) fn act(&self, args: &[&str]) -> Action {
        let mut argv = vec![self.program().display().to_string()];
        argv.extend(args.iter().map(|it| (*it).to_owned()));
        let env = std::collections::BTreeMap::new();
        Action::Command { argv, env, plane: Plane::Local, idempotent: false, reports_address: false }
    }

    /// Of an order: no other test's, as what an order leaves running is looked for by its key, on the whole machine.
    pub(crate) fn key(&self) -> String {
        self.path().file_name().expect("it has a name").to_string_lossy().into_owned()
    }

    pub(crate) fn state_of(&self, host: &str) -> PathBuf {
        self.path().join(host)
    }

    /// A host of that name joins, and looks for its agent at this port.
    pub(crate) fn join(&self, name: &str, port: u16) {
        let joining = Joining::begin(self.authority.site(), name).expect("a key");
        let (signed, _) = self.authority.sign_host(name, joining.request()).expect("it is signed");
        joining.finish(&signed, &self.state_of(name)).expect("it is written");
        self.write_file(name, port);
    }

    pub(crate) fn write_file(&self, name: &str, port: u16) {
        let text = format!(
            "version: 1\nagents: [\"127.0.0.1:{port}\"]\nstate: {name}\nmay:\n  commands: [[{}, \"*\"], [{}, \"*\"]]\n  \
             services: [{{ pid_file: {} }}]\n  files: [{}]\n",
            self.program().display(),
            self.starter().display(),
            self.pid_file().display(),
            self.trigger().display(),
        );
        fs::write(self.file_of(name), text).expect("it is written");
    }

    /// The host guards the service: instance `NAME-app` of a component of that name.
    pub(crate) fn let_it_guard(&self, name: &str) {
        let mut text = fs::read_to_string(self.file_of(name)).expect("it was written");
        let pid_file = self.pid_file();
        text.push_str(&format!(
            "guards:\n  {name}-app: {{ component: {name}-app, stop: {{ pid_file: {} }} }}\n",
            pid_file.display()
        ));
        fs::write(self.file_of(name), text).expect("it is written");
    }

    /// Keepers go on when their host has ended.
    fn keepers(&self) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").expect("the list of processes").flatten();
        let is_keeper = |pid: &String| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("--keeper") && line.contains(&self.path().display().to_string())
        };
        let pids = processes.filter_map(|it| it.file_name().into_string().ok()).filter(is_keeper);
        pids.filter_map(|it| Pid::from_raw(it.parse().ok()?)).collect()
    }

    pub(crate) fn file_of(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.yaml"))
    }

    /// Starts a host that has joined.
    pub(crate) fn start(&self, name: &str) -> HostProcess {
        self.start_to_die(name, "never")
    }

    /// The same; it ends by SIGKILL at that moment.
    pub(crate) fn start_to_die(&self, name: &str, moment: &str) -> HostProcess {
        self.spawn(name, Command::new(PROGRAM).env("MAINSTAY_HOST_CRASH", moment))
    }

    /// The same, in a container: it sees no process that was there before it. `None`: nobody may make one here.
    pub(crate) fn start_in_container(&self, name: &str) -> Option<HostProcess> {
        let apart = ["--user", "--map-root-user", "--pid", "--mount-proc", "--fork", "--kill-child"];
        let may = Command::new("unshare").args(apart).arg("true").status().is_ok_and(|it| it.success());
        may.then(|| self.spawn(name, Command::new("unshare").args(apart).arg(PROGRAM)))
    }

    fn spawn(&self, name: &str, program: &mut Command) -> HostProcess {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_of(name)).expect("a log");
        let host = program.arg("host").arg(self.file_of(name)).stdin(Stdio::null()).stderr(log);
        HostProcess(host.spawn().expect("the program is there"))
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.log"))
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.log_of(name)).unwrap_or_default()
    }

    /// What the host has journaled.
    pub(crate) fn journal(&self, name: &str) -> Vec<Entry> {
        let reader = Reader::open(&self.state_of(name)).expect("it has a journal");
        let read = |it: Result<mainstay_store::Record, _>| {
            serde_json::from_slice(&it.unwrap_or_else(|_| panic!("the chain holds")).entry.payload).expect("an entry")
        };
        reader.records(1).map(read).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for pid in self.keepers().into_iter().chain(self.serving()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

pub(crate) struct HostProcess(Child);

impl HostProcess {
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(crate) fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it runs");
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.0.try_wait().expect("it is ours").is_none() {
            assert!(Instant::now() < until, "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
