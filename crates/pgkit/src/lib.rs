//! Real PostgreSQL servers for tests and for the demo: a primary and as many standbys as are wanted, each in a temporary folder, on a free port of the loopback,
//! run by an unprivileged user, and ended with its value.
//!
//! Servers are fast to start and small, but their disks are synced: what was
//! acknowledged is there. What Mainstay may do is what `docs/postgresql.sql` grants; everything else that a test wants is done by
//! the superuser over the socket in the server's folder.

mod owner;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use self::owner::Owner;

/// The password of the role `mainstay`.
pub const PASSWORD: &str = "correct horse";

/// The password of the role `replicator`.
pub const REPLICATION_PASSWORD: &str = "battery: staple";

/// What is granted to the role `mainstay`.
const GRANTS: &str = include_str!("../../../docs/postgresql.sql");

/// How long anything here may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Where the programs of PostgreSQL 15 or later are, or `None`: they are not installed.
pub fn bin() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|it| it.path());
    let number = |it: &Path| it.file_name().and_then(|it| it.to_str()).and_then(|it| it.parse::<u32>().ok());
    let newest = versions.filter(|it| number(it).is_some_and(|it| it >= 15)).max_by_key(|it| number(it));
    newest.map(|it| it.join("bin")).filter(|it| it.join("initdb").is_file())
}

/// A server. It runs, unless it was ended.
pub struct Server {
    name: String,
    /// Holds `data`, the socket, the log and the passfile.
    folder: TempDir,
    port: u16,
    owner: Owner,
    child: Option<Child>,
}

impl Server {
    /// A new primary with settings of its own beside the kit's.
    ///
    /// # Panics
    /// Where PostgreSQL is not installed, or does not start.
    pub fn primary(settings: &[(&str, &str)]) -> Server {
        Server::try_primary(settings).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same.
    ///
    /// # Errors
    /// Where PostgreSQL is not installed, or does not start: which program said what.
    pub fn try_primary(settings: &[(&str, &str)]) -> Result<Server, String> {
        let mut server = Server::empty("primary")?;
        server.program(
            "initdb",
            &["--no-sync", "--encoding=UTF8", "--no-locale", "--username=postgres", "--auth=trust"],
        )?;
        server.write("data/pg_hba.conf", HBA);
        server.settle(settings);
        server.try_start()?;
        server.try_sql(GRANTS)?;
        server.try_sql(&format!("ALTER ROLE mainstay PASSWORD '{PASSWORD}'"))?;
        server.try_sql(&format!("CREATE ROLE replicator LOGIN REPLICATION PASSWORD '{REPLICATION_PASSWORD}'"))?;
        server.try_sql(REWIND_GRANTS)?;
        server.passfile();
        Ok(server)
    }

    /// A new standby of this server, which streams from it when this returns. With a slot, which is named after it (with `_` for `-`), the leader keeps
    /// what it has not got yet.
    ///
    /// # Panics
    /// As [`Server::primary`].
    pub fn standby(&self, name: &str, with_slot: bool, settings: &[(&str, &str)]) -> Server {
        self.try_standby(name, with_slot, settings).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same.
    ///
    /// # Errors
    /// As [`Server::try_primary`].
    pub fn try_standby(&self, name: &str, with_slot: bool, settings: &[(&str, &str)]) -> Result<Server, String> {
        let mut server = Server::empty(name)?;
        server.copy(self, with_slot, settings)?;
        Ok(server)
    }

    /// Throws away what it has, and makes it a standby of another server, at its own address, which streams when this returns.
    ///
    /// # Errors
    /// As [`Server::try_primary`].
    pub fn try_rebuild(&mut self, leader: &Server, settings: &[(&str, &str)]) -> Result<(), String> {
        self.kill();
        fs::remove_dir_all(self.data()).map_err(|it| format!("{}: {it}", self.data().display()))?;
        self.copy(leader, false, settings)
    }

    fn copy(&mut self, leader: &Server, with_slot: bool, settings: &[(&str, &str)]) -> Result<(), String> {
        self.passfile();
        let name = self.name.clone();
        let follows = format!(
            "host=127.0.0.1 port={} user=replicator passfile={} application_name={name}",
            leader.port,
            self.path("pgpass").display()
        );
        let slot_name = name.replace('-', "_");
        let slot = ["--create-slot", "--slot", &slot_name];
        let mut arguments = vec![
            "--dbname",
            &follows,
            "--checkpoint=fast",
            "--wal-method=stream",
            "--no-sync",
            "--write-recovery-conf",
        ];
        arguments.extend(slot.iter().filter(|_| with_slot));
        self.program("pg_basebackup", &arguments)?;
        self.settle(settings);
        self.try_start()?;
        let streams = format!("SELECT state FROM pg_stat_replication WHERE application_name = '{name}'");
        try_until(&format!("{name} streams"), || Ok(leader.try_sql(&streams)? == "streaming"))
    }

    fn empty(name: &str) -> Result<Server, String> {
        let owner = Owner::of_servers()?;
        let folder =
            tempfile::Builder::new().prefix("pgkit-").tempdir().map_err(|it| format!("a temporary folder: {it}"))?;
        owner.take(folder.path());
        Ok(Server { name: name.to_owned(), folder, port: free_port(), owner, child: None })
    }

    fn settle(&self, settings: &[(&str, &str)]) {
        let mut text = String::new();
        let own = [
            ("listen_addresses", "127.0.0.1"),
            ("port", &self.port.to_string()),
            ("unix_socket_directories", &self.folder.path().display().to_string()),
            ("cluster_name", &self.name),
        ];
        for (name, value) in own.iter().chain(SETTINGS).chain(settings) {
            text.push_str(&format!("{name} = '{value}'\n"));
        }
        self.write("data/postgresql.conf", &text);
    }

    /// Starts it, and waits until it lets clients in.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(&mut self) {
        self.try_start().unwrap_or_else(|why| panic!("{why}"));
    }

    fn try_start(&mut self) -> Result<(), String> {
        self.start_without_waiting();
        let what = format!("{} to let clients in", self.name);
        try_until(&what, || {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                return Err(format!("{} ended with {status}: {}", self.name, self.log()));
            }
            let own = self.child.as_ref().and_then(|it| i32::try_from(it.id()).ok());
            // The file of one that was killed is still there.
            Ok(self.first() == own && self.status().is_some_and(|it| it == "ready" || it == "standby"))
        })
    }

    /// Starts it, and does not look what becomes of it.
    ///
    /// # Panics
    /// Where the program is not there.
    pub fn start_without_waiting(&mut self) {
        self.reap();
        let log = fs::File::options().create(true).append(true).open(self.path("log")).expect("its log");
        let data = self.data().display().to_string();
        let mut command = self.owner.command(&program_path("postgres"), &["-D", &data]);
        command.stdout(log.try_clone().expect("a second handle")).stderr(log).stdin(Stdio::null());
        self.child = Some(command.spawn().expect("the server starts"));
    }

    /// Stops it in order: everything that it has acknowledged is with every standby that streams.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&mut self) {
        self.signal_first(Signal::INT);
        self.wait_for_end();
    }

    /// SIGKILL to all its processes, and waits until they are gone.
    ///
    /// # Panics
    /// When they stay.
    pub fn kill(&mut self) {
        wait_until("its processes to go", || {
            let left = self.processes();
            left.iter().for_each(|it| send(*it, Signal::KILL));
            self.reap();
            // The first one is a corpse only a moment after it has left its directory.
            left.is_empty() && self.child.is_none()
        });
    }

    /// SIGSTOP to all its processes: the kernel accepts connections, and nobody answers.
    pub fn freeze(&self) {
        self.processes().iter().for_each(|it| send(*it, Signal::STOP));
    }

    /// Takes [`Server::freeze`] back.
    pub fn thaw(&self) {
        self.processes().iter().for_each(|it| send(*it, Signal::CONT));
    }

    /// SIGKILL to its first process alone, which its others notice by and by.
    pub fn kill_first(&self) {
        self.signal_first(Signal::KILL);
    }

    fn signal_first(&self, signal: Signal) {
        self.first().into_iter().for_each(|it| send(it, signal));
    }

    fn wait_for_end(&mut self) {
        wait_until("its processes to go", || {
            self.reap();
            self.processes().is_empty()
        });
    }

    fn reap(&mut self) {
        if let Some(Ok(Some(_))) = self.child.as_mut().map(Child::try_wait) {
            self.child = None;
        }
    }

    /// Its first process, as `postmaster.pid` has it.
    pub fn first(&self) -> Option<i32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// All processes that work in its data directory.
    ///
    /// # Panics
    /// Where there is no `/proc`.
    pub fn processes(&self) -> Vec<i32> {
        let Ok(data) = fs::metadata(self.data()) else { return Vec::new() };
        let all = fs::read_dir("/proc").expect("processes").flatten().map(|it| it.path());
        let works_here = |it: &PathBuf| {
            fs::metadata(it.join("cwd")).is_ok_and(|it| (it.dev(), it.ino()) == (data.dev(), data.ino()))
        };
        let number = |it: PathBuf| it.file_name()?.to_str()?.parse().ok();
        all.filter(|it| number(it.clone()).is_some_and(|_: i32| true)).filter(works_here).filter_map(number).collect()
    }

    /// What `postmaster.pid` says that it does: `starting`, `stopping`, `ready`, `standby`.
    fn status(&self) -> Option<String> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        Some(text.lines().nth(7)?.trim().to_owned())
    }

    /// What a statement of the superuser gives, columns apart by `|`.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, statement: &str) -> String {
        self.try_sql(statement).unwrap_or_else(|why| panic!("{}: {statement}: {why}", self.name))
    }

    /// The same.
    ///
    /// # Errors
    /// What `psql` said.
    ///
    /// # Panics
    /// Where there is no `psql`.
    pub fn try_sql(&self, statement: &str) -> Result<String, String> {
        let port = self.port.to_string();
        let folder = self.folder.path().display().to_string();
        let arguments = [
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &folder,
            "-p",
            &port,
            "-U",
            "postgres",
            "-c",
            statement,
        ];
        let ended =
            Command::new(program_path("psql")).args(arguments).stdin(Stdio::null()).output().expect("psql runs");
        match ended.status.success() {
            true => Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned()),
        }
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Something in its folder, beside its data.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The system's user that it runs as; `None`: whoever runs this program.
    pub fn run_as(&self) -> Option<&str> {
        self.owner.name()
    }

    /// A folder in its folder that belongs to it.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("the folder is made");
        self.owner.take(&path);
        path
    }

    /// A program where the user that it runs as can run it, too: its own place may be below somebody's home.
    ///
    /// # Panics
    /// When it can't be put there.
    pub fn lend(&self, program: &Path) -> PathBuf {
        let lent = self.path(&program.file_name().expect("a program has a name").to_string_lossy());
        if !lent.exists() && fs::hard_link(program, &lent).is_err() {
            // By another process: one that is started meanwhile would inherit our open file, and a file that is open can't be run.
            let copied = Command::new("cp").arg(program).arg(&lent).status();
            assert!(copied.is_ok_and(|it| it.success()), "{} can't be copied", program.display());
        }
        lent
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A file in its folder that it can read, and nobody else.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("the file is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours alone");
        self.owner.take(&path);
        path
    }

    /// Adds to a file in its folder.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn append(&self, name: &str, content: &str) {
        let before = fs::read_to_string(self.path(name)).expect("the file is there");
        self.write(name, &(before + content));
    }

    /// A passfile with which it can follow any server of the kit.
    pub fn passfile(&self) -> PathBuf {
        let password = REPLICATION_PASSWORD.replace(':', "\\:");
        self.write("pgpass", &format!("127.0.0.1:*:*:replicator:{password}\n"))
    }

    fn program(&self, name: &str, arguments: &[&str]) -> Result<(), String> {
        let data = self.data().display().to_string();
        let all: Vec<&str> = ["-D", &data].into_iter().chain(arguments.iter().copied()).collect();
        let program = bin().ok_or_else(|| NOT_INSTALLED.to_owned())?.join(name);
        let ended = self.owner.command(&program, &all).stdin(Stdio::null()).output();
        let ended = ended.map_err(|it| format!("{}: {it}", program.display()))?;
        match ended.status.success() {
            true => Ok(()),
            false => Err(format!("{name}: {}", String::from_utf8_lossy(&ended.stderr).trim())),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of {}\n{}", self.name, self.log());
            // Where somebody else has started it since.
            if let Ok(later) = fs::read_to_string(self.path("data/mainstay-start.log")) {
                eprintln!("--- and later\n{later}");
            }
        }
        let before = Instant::now();
        while before.elapsed() < PATIENCE {
            let left = self.processes();
            left.iter().for_each(|it| send(*it, Signal::KILL));
            self.reap();
            if left.is_empty() {
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
        forget_shared_memory(&self.path(""));
    }
}

/// Removes what killed servers leave in the kernel until it is full: a segment of shared memory each, whose key is the inode of their data directory. Those of
/// `folder` are looked for, once nothing runs there.
pub fn forget_shared_memory(folder: &Path) {
    let Ok(table) = fs::read_to_string("/proc/sysvipc/shm") else { return };
    // A key has 32 bits.
    let key_of = |inode: u64| i64::try_from(inode % (1 << 32)).ok();
    let inodes = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|it| it.metadata().ok());
    let keys: Vec<i64> = inodes.filter_map(|it| key_of(it.ino())).collect();
    for line in table.lines().skip(1) {
        let [key, id, _, _, _, _, attached, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
        let is_its = key.parse().is_ok_and(|it: i64| keys.contains(&it.rem_euclid(1 << 32)));
        if is_its && attached == "0" {
            let _gone = Command::new("ipcrm").args(["-m", id]).stderr(Stdio::null()).status();
        }
    }
}

/// Who may come in: over the loopback with a password, over the socket in the server's folder as anybody.
const HBA: &str = "local all all trust\nhost all mainstay 127.0.0.1/32 scram-sha-256\n\
                   host all replicator 127.0.0.1/32 scram-sha-256\n\
                   host all all 127.0.0.1/32 trust\nhost replication replicator 127.0.0.1/32 scram-sha-256\n";

/// What `pg_rewind` asks its source for.
const REWIND_GRANTS: &str = "GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), \
                             pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO replicator";

/// Small and quick to start. Disks are synced.
const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "16MB"),
    ("max_connections", "40"),
    ("max_wal_senders", "8"),
    ("wal_keep_size", "64MB"),
    ("wal_log_hints", "on"),
    ("hot_standby", "on"),
    ("wal_retrieve_retry_interval", "200ms"),
    ("max_parallel_workers", "0"),
    ("max_logical_replication_workers", "0"),
    ("log_line_prefix", "%m [%p] "),
];

const NOT_INSTALLED: &str = "PostgreSQL 15 or later is not installed: on Debian, `apt-get install postgresql`";

fn program_path(name: &str) -> PathBuf {
    bin().expect(NOT_INSTALLED).join(name)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A process that has ended meanwhile needs no signal.
fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ended = rustix::process::kill_process(pid, signal);
    }
}

/// Looks until it is so.
///
/// # Panics
/// When it never is.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    try_until(what, || Ok(is_so())).unwrap_or_else(|why| panic!("{why}"));
}

fn try_until(what: &str, mut is_so: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let begun = Instant::now();
    while !is_so()? {
        if begun.elapsed() > PATIENCE {
            return Err(format!("waited too long for {what}"));
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}
