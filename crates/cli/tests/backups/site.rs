//! A server that archives, a plan that names a series of its backups, and the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mainstay_pgkit::{PASSWORD, Server, bin, wait_until};
use serde_json::Value;

const MAINSTAY: &str = env!("CARGO_BIN_EXE_mainstay");

/// How long a command may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked of a restored server.
pub(crate) const CHECK: &str = "select count(*) >= 100 from entries";

pub(crate) struct Site {
    pub(crate) primary: Server,
    pub(crate) standby: Option<Server>,
    dir: tempfile::TempDir,
}

impl Site {
    /// A primary with a hundred entries, whose log is archived.
    pub(crate) fn new() -> Site {
        let primary = Server::primary(&[("archive_mode", "on"), ("archive_command", "exit 1")]);
        let folder = primary.folder("backups");
        let program = primary.lend(Path::new(MAINSTAY));
        let command = format!("{} postgres archive \"%p\" %f --to {}", program.display(), folder.display());
        primary.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"));
        primary.sql("SELECT pg_reload_conf()");
        primary.sql("CREATE TABLE entries (n bigint PRIMARY KEY, said text NOT NULL)");
        let site = Site { primary, standby: None, dir: tempfile::tempdir().expect("a temporary folder") };
        site.insert(1..101);
        site.write_plan();
        site
    }

    pub(crate) fn with_standby(mut self) -> Site {
        self.standby = Some(self.primary.standby("orders-b", true, &[]));
        self.write_plan();
        self
    }

    fn write_plan(&self) {
        let password = self.dir.path().join("password");
        fs::write(&password, PASSWORD).expect("it is written");
        let instance = |server: &Server, rack: &str| {
            let bin = bin().expect("PostgreSQL is installed");
            let run_as = server.run_as().map(|it| format!(", run_as: {it}")).unwrap_or_default();
            format!(
                "    location: {{ region: here, zone: {rack} }}
    postgres: {{ address: \"{}\", password_file: {password:?}, data: {:?}, bin: {bin:?}{run_as}, follow: {{ user: replicator, passfile: {:?} }} }}
    probes: [{{ postgres: {{ interval: 1s, timeout: 500ms }} }}]
",
                server.address(),
                server.data(),
                self.primary.path("pgpass")
            )
        };
        let mut plan = format!(
            "version: 2
site: {{ name: backups, region: here, zone: desk }}
state: state
components:
  orders:
    type: database
    constraint: {{ reason: one writer at a time, kind: technical }}
{}    backups:
      nightly:
        every: 1d
        takes: 10m
        archive_lag: 1m
        keep: 14d
        location: {{ region: here, zone: rack-c }}
        restore_test: 7d
        postgres: {{ to: {:?}, check: \"{CHECK}\" }}
    recovery:
      - restart_service: {{ timeout: 10s }}
",
            instance(&self.primary, "rack-a"),
            self.folder()
        );
        if let Some(standby) = &self.standby {
            plan.push_str("      - failover_to_standby: { standby: orders-b, accept_risk: [two_writers] }\n");
            plan.push_str(&format!("standbys:\n  orders-b:\n{}", instance(standby, "rack-b")));
        }
        fs::write(self.plan(), plan).expect("the plan is written");
    }

    pub(crate) fn plan(&self) -> PathBuf {
        self.dir.path().join("plan.yaml")
    }

    /// The folder of the series.
    pub(crate) fn folder(&self) -> PathBuf {
        self.primary.path("backups")
    }

    pub(crate) fn insert(&self, numbers: std::ops::Range<u32>) {
        let (first, last) = (numbers.start, numbers.end - 1);
        self.primary
            .sql(&format!("INSERT INTO entries SELECT n, 'entry ' || n FROM generate_series({first}, {last}) n"));
    }

    /// Ends the segment that is written, and waits until the archive has it.
    pub(crate) fn archive_all(&self) {
        // A segment in which nothing is written is not ended.
        self.primary.sql("SELECT pg_logical_emit_message(true, 'test', 'archived')");
        let name = self.primary.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
        self.primary.sql("SELECT pg_switch_wal()");
        let file = self.folder().join("wal").join(name);
        wait_until(&format!("{} to be archived", file.display()), || file.is_file());
    }

    /// A moment, by the server's clock, after all that is committed.
    pub(crate) fn moment(&self) -> String {
        self.primary.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    }

    /// The program under test, where the server's user can run it.
    pub(crate) fn program(&self) -> PathBuf {
        self.primary.lend(Path::new(MAINSTAY))
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.arg(args[0]).arg(self.plan()).arg("orders").args(&args[1..]);
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Starts what is going to be killed.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
    }

    /// The answer of a command that works.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = ended(self.command(args).arg("--json"));
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).expect("it is JSON")
    }

    /// What a command says that does not work.
    pub(crate) fn refusal(&self, args: &[&str]) -> String {
        let output = ended(&mut self.command(args));
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
        text(&output)
    }

    /// What `mainstay backups` says of the series.
    pub(crate) fn listed(&self) -> Value {
        let output = ended(self.command(&["backups"]).arg("--json"));
        let mut all: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        all["series"][0].take()
    }

    /// A folder where a server can be restored.
    pub(crate) fn beside(&self, name: &str) -> Beside {
        Beside { data: self.primary.folder("restored").join(name), run_as: self.primary.run_as().map(str::to_owned) }
    }
}

/// A restored server, which ends with its value.
pub(crate) struct Beside {
    pub(crate) data: PathBuf,
    run_as: Option<String>,
}

impl Beside {
    pub(crate) fn path(&self) -> &str {
        self.data.to_str().expect("it is text")
    }

    pub(crate) fn sql(&self, statement: &str) -> String {
        let psql = bin().expect("it is installed").join("psql");
        let mut command = Command::new(psql);
        command.args(["-X", "-q", "-A", "-t", "-U", "postgres", "-h", self.path(), "-c", statement]);
        let output = ended(&mut command);
        assert!(output.status.success(), "{statement}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Everything that is in the table.
    pub(crate) fn entries(&self) -> String {
        self.sql(ENTRIES)
    }
}

pub(crate) const ENTRIES: &str =
    "SELECT count(*) || ' ' || coalesce(md5(string_agg(n || said, ',' ORDER BY n)), '') FROM entries";

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.data.join("postmaster.pid").exists() {
            return;
        }
        if thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.data.join("mainstay-restore.log")).unwrap_or_default());
        }
        let pg_ctl = bin().expect("it is installed").join("pg_ctl");
        let as_user = self.run_as.iter().flat_map(|it| ["runuser", "-u", it, "--"]).map(PathBuf::from);
        let argv: Vec<PathBuf> = as_user.chain([pg_ctl]).collect();
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).args(["-D", self.path(), "-m", "immediate", "stop"]).current_dir("/");
        let _ended = ended(&mut command);
    }
}

/// Runs it to its end, which comes within a minute.
pub(crate) fn ended(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let pid = child.id();
    let (done, is_done) = std::sync::mpsc::sync_channel(1);
    let watch = thread::spawn(move || {
        let begun = Instant::now();
        if is_done.recv_timeout(PATIENCE).is_err() && begun.elapsed() >= PATIENCE {
            kill(pid);
        }
    });
    let output = child.wait_with_output().expect("it ends");
    let _nobody_waits = done.send(());
    watch.join().expect("it watches");
    output
}

pub(crate) fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    let _ended = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
