//! A site with its authority, and hosts that have joined it, each in a folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_host::daemon::Entry;
use mainstay_plan::action::{Action, Plane};
use mainstay_store::Reader;
use mainstay_wire::trust::{Authority, Gate, Joining, Terms, Wall};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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
        fs::write(site.program(), script).expect("it is written");
        fs::set_permissions(site.program(), fs::Permissions::from_mode(0o755)).expect("it may be run");
        site
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
            "version: 1\nagents: [\"127.0.0.1:{port}\"]\nstate: {name}\nmay:\n  commands: [[{}, \"*\"]]\n  services: [{{ pid_file: {} }}]\n",
            self.program().display(),
            self.path().join("service.pid").display(),
        );
        fs::write(self.file_of(name), text).expect("it is written");
    }

    fn file_of(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.yaml"))
    }

    /// Starts a host that has joined.
    pub(crate) fn start(&self, name: &str) -> HostProcess {
        self.start_to_die(name, "never")
    }

    /// The same; it ends by SIGKILL at that moment.
    pub(crate) fn start_to_die(&self, name: &str, moment: &str) -> HostProcess {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_of(name)).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .arg("host")
            .arg(self.file_of(name))
            .env("MAINSTAY_HOST_CRASH", moment)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program is there");
        HostProcess(child)
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
