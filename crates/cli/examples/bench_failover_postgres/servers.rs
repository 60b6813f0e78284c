//! PostgreSQL servers on their machines, run by the system's user `postgres`.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::machines::{Machine, Running};

pub(crate) const PORT: u16 = 5432;
pub(crate) const DATABASE: &str = "postgres";
pub(crate) const CLIENT: &str = "client";
pub(crate) const TABLE: &str = "written";

/// The password of every role that has one.
pub(crate) const PASSWORD: &str = "bench";

/// The user that servers run as.
const USER: &str = "postgres";

const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever comes from these machines is let in; Mainstay shows its password.
pub(crate) const HBA: &str = "local all all trust\nhost all mainstay 10.77.0.0/24 scram-sha-256\nhost all all 10.77.0.0/24 trust\nhost \
                              replication all 10.77.0.0/24 trust\n";

/// The same for both: disks are synced, a wire that is cut is noticed soon.
pub(crate) const SETTINGS: [(&str, &str); 9] = [
    ("shared_buffers", "32MB"),
    ("max_connections", "50"),
    ("max_wal_senders", "8"),
    ("wal_keep_size", "64MB"),
    ("wal_log_hints", "on"),
    ("hot_standby", "on"),
    ("wal_retrieve_retry_interval", "200ms"),
    ("wal_receiver_timeout", "3s"),
    ("wal_sender_timeout", "3s"),
];

/// What the bench needs, and what Mainstay is granted.
pub(crate) const PREPARE: &str = concat!(
    "SET synchronous_commit = local;",
    include_str!("../../../../docs/postgresql.sql"),
    ";ALTER ROLE mainstay PASSWORD 'bench';",
    "CREATE TABLE written (n bigint PRIMARY KEY);",
    "CREATE ROLE client LOGIN; GRANT SELECT, INSERT ON written TO client;",
);

/// Where the programs of PostgreSQL are.
pub(crate) fn bin() -> PathBuf {
    mainstay_pgkit::bin().expect("PostgreSQL 15 or later is installed")
}

/// A name that any of three servers may have: one of the others has every write before its client is told.
pub(crate) const SYNCHRONOUS: &str = "ANY 1 (\"first\", \"second\", \"third\")";

/// What a small disk holds, in MiB: the server, and little more.
const SMALL: u64 = 400;

/// Its data directory on its machine.
pub(crate) struct Server {
    pub(crate) on: Machine,
    pub(crate) data: PathBuf,
    /// Nothing else is on its disk.
    has_own_disk: bool,
}

/// A command on a machine, as the user that servers run as.
pub(crate) fn as_user(on: Machine, program: &Path) -> Command {
    let mut command = on.command("setpriv");
    command.arg(format!("--reuid={USER}")).arg(format!("--regid={USER}")).arg("--clear-groups").arg(program);
    command.env("HOME", "/tmp");
    command
}

/// Makes a folder that belongs to that user.
pub(crate) fn folder(path: &Path) {
    fs::create_dir_all(path).expect("a temporary folder can be made");
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let status = Command::new("chown").arg("-R").arg(format!("{USER}:{USER}")).arg(path).status();
    assert!(status.is_ok_and(|it| it.success()), "{} can't be given to {USER}", path.display());
}

fn succeeds(output: &Output, what: &str) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    /// With an empty data directory, on a small disk of its own if it is to have one.
    pub(crate) fn empty(on: Machine, home: &Path, has_own_disk: bool) -> Server {
        let server = Server { on, data: home.join(format!("{}-data", on.name())), has_own_disk };
        fs::create_dir_all(&server.data).expect("a temporary folder can be made");
        if has_own_disk {
            let size = format!("size={SMALL}m");
            let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&server.data).status();
            assert!(mounted.is_ok_and(|it| it.success()), "a disk in memory can be mounted");
        }
        folder(&server.data);
        server
    }

    /// Makes a primary that is not started.
    pub(crate) fn primary(on: Machine, home: &Path, has_own_disk: bool, synchronous: bool) -> Server {
        let server = Server::empty(on, home, has_own_disk);
        let output = as_user(on, &bin().join("initdb"))
            .args(["--no-sync", "--encoding=UTF8", "--no-locale", "--username=postgres", "--auth=trust", "-D"])
            .arg(&server.data)
            .output();
        succeeds(&output.expect("setpriv is there"), "initdb");
        fs::write(server.data.join("pg_hba.conf"), HBA).expect("it is ours");
        server.settle(synchronous);
        server
    }

    /// Makes a standby as a copy of `leader`, which is not started. It follows whoever is behind the route at `route`.
    pub(crate) fn standby(on: Machine, home: &Path, leader: Machine, route: Machine, synchronous: bool) -> Server {
        let server = Server::empty(on, home, false);
        let conninfo = format!("host={} port={PORT} user=postgres application_name={}", leader.ip(), on.name());
        let output = as_user(on, &bin().join("pg_basebackup"))
            .args([
                "--checkpoint=fast",
                "--wal-method=stream",
                "--no-sync",
                "--write-recovery-conf",
                "--dbname",
                &conninfo,
                "-D",
            ])
            .arg(&server.data)
            .output();
        succeeds(&output.expect("setpriv is there"), "pg_basebackup");
        let follows = format!(
            "primary_conninfo = 'host={} port={PORT} user=postgres application_name={}'\n",
            route.ip(),
            on.name()
        );
        let settings = File::options().append(true).open(server.data.join("postgresql.auto.conf"));
        settings.and_then(|mut it| it.write_all(follows.as_bytes())).expect("it is ours");
        server.settle(synchronous);
        server
    }

    fn settle(&self, synchronous: bool) {
        let own = [("listen_addresses", self.on.ip().to_string()), ("unix_socket_directories", String::new())];
        let names = synchronous.then(|| ("synchronous_standby_names", SYNCHRONOUS.to_owned()));
        let own = own.into_iter().chain(names).map(|(name, value)| format!("{name} = '{value}'\n"));
        let both = SETTINGS.iter().map(|(name, value)| format!("{name} = '{value}'\n"));
        let text: String = own.chain(both).collect();
        fs::write(self.data.join("postgresql.conf"), text).expect("it is ours");
    }

    /// Starts it, and waits until it lets clients in.
    pub(crate) fn start(&self, log: &Path) -> Running {
        let appended = File::options().create(true).append(true).open(log).expect("a temporary folder can be written");
        let mut command = as_user(self.on, &bin().join("postgres"));
        let child =
            command.arg("-D").arg(&self.data).stdout(Stdio::null()).stderr(appended).spawn().expect("setpriv is there");
        let begun = Instant::now();
        while self.sql("SELECT 1").is_err() {
            let said = || fs::read_to_string(log).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "the server on {} does not start: {}", self.on.name(), said());
            sleep(Duration::from_millis(50));
        }
        Running(child)
    }

    /// What a statement of the superuser gives.
    pub(crate) fn sql(&self, statement: &str) -> Result<String, String> {
        let mut command = self.on.command(&bin().join("psql").display().to_string());
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", DATABASE, "-h"]);
        command.env("PGCONNECT_TIMEOUT", "3");
        let output = command.arg(self.on.ip().to_string()).args(["-c", statement]).output().expect("ip is there");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }

    /// Whether so many stream from it.
    pub(crate) fn is_followed_by(&self, standbys: usize) -> bool {
        let streaming = self.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'");
        streaming.is_ok_and(|it| it == standbys.to_string())
    }

    /// Fills its disk, which is its own.
    pub(crate) fn fill_disk(&self) {
        assert!(self.has_own_disk, "others live on that disk");
        let mut file = File::create(self.data.join("other-data")).expect("it is ours");
        let block = vec![1; 1 << 16];
        let blocks = (SMALL << 20) / (1 << 16) + 1;
        let written = (0..blocks).try_for_each(|_| file.write_all(&block)).and_then(|()| file.sync_all());
        assert!(written.is_err(), "the disk is not full");
        // What is left in pieces smaller than a block.
        while file.write_all(&block[..512]).is_ok() {}
    }

    /// SIGKILL to all its processes.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// SIGSTOP to all its processes.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Takes [`Server::stop`] back.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        for _ in 0..3 {
            self.processes().into_iter().filter_map(Pid::from_raw).for_each(|it| {
                let _gone = kill_process(it, signal);
            });
        }
    }

    /// All processes that work in its data directory.
    fn processes(&self) -> Vec<i32> {
        let Ok(data) = fs::metadata(&self.data) else { return Vec::new() };
        let all = fs::read_dir("/proc").expect("processes").flatten().map(|it| it.path());
        let works_here = |it: &PathBuf| {
            fs::metadata(it.join("cwd")).is_ok_and(|it| (it.dev(), it.ino()) == (data.dev(), data.ino()))
        };
        all.filter(works_here).filter_map(|it| it.file_name()?.to_str()?.parse().ok()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let begun = Instant::now();
        while !self.processes().is_empty() && begun.elapsed() < PATIENCE {
            self.kill();
            sleep(Duration::from_millis(20));
        }
        if self.has_own_disk {
            let _unmounted = Command::new("umount").arg("--lazy").arg(&self.data).status();
        }
    }
}
