//! A real PostgreSQL server whose data is destroyed, and what a rung makes of its backup and archive.

use std::fs;
use std::path::{Path, PathBuf};

use mainstay_engine::Body;
use mainstay_pgkit::{PASSWORD, Server, bin};

use super::site::{Net, PROGRAM, Site, mainstay, until};

/// A server that archives, with a backup and rows that came after it. The agent ends first: it would see the server go.
struct Destroyed {
    site: Site,
    server: Server,
    rows: String,
}

/// How many segments of the log the check fills.
const WRITTEN_BY_THE_CHECK: u64 = 2;

const ROWS: &str = "SELECT count(*) || ' ' || md5(string_agg(n::text, ',' ORDER BY n)) FROM entries";

impl Destroyed {
    fn new() -> Destroyed {
        let server = Server::primary(&[("archive_mode", "on"), ("archive_command", "exit 1")]);
        let archive = server.folder("backups");
        let program = server.lend(Path::new(PROGRAM));
        let command = format!("{} postgres archive \"%p\" %f --to {}", program.display(), archive.display());
        server.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"));
        server.sql("SELECT pg_reload_conf()");
        server.sql("CREATE TABLE entries AS SELECT n FROM generate_series(1, 100) n");
        let mut site = Site::new(|net, dir| plan(&server, net, dir));
        site.agents_program = program;
        let taken = mainstay(site.path(), &["backup", "plan.yaml", "orders"]);
        assert_eq!(taken.code, Some(0), "{taken:?}");
        server.sql("INSERT INTO entries SELECT generate_series(101, 5000)");
        let rows = server.sql(ROWS);
        let last = server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
        server.sql("SELECT pg_switch_wal()");
        until("all of it is archived", || archive.join("wal").join(&last).is_file().then_some(()));
        site.start_servers(&["gateway"]);
        site.start_agent();
        site.until_whole();
        Destroyed { site, server, rows }
    }

    fn destroy(&mut self) {
        self.server.kill();
        fs::remove_dir_all(self.server.data().join("base")).expect("it is destroyed");
    }

    fn beside(&self) -> PathBuf {
        self.server.path("data.mainstay-restored")
    }

    /// Until it is restored, and what is to be seen then.
    fn restored(&mut self) {
        until("its recovery is over", || {
            self.site
                .recorded(|it| matches!(it, Body::RecoveryCompleted { .. } | Body::RecoveryFailed { .. }))
                .then_some(())
        });
        assert!(self.site.recorded(|it| matches!(it, Body::RecoveryCompleted { .. })), "{:?}", self.site.recoveries());
        assert_eq!(self.server.sql(ROWS), self.rows);
        self.server.sql("INSERT INTO entries VALUES (0)");
        assert_eq!(self.server.sql("SELECT current_setting('archive_mode')"), "on", "its own configuration");
        let folder = self.server.data().parent().expect("its folder").to_owned();
        let names = fs::read_dir(folder).expect("read").map(|it| it.expect("an entry").file_name());
        let names: Vec<String> = names.map(|it| it.to_string_lossy().into_owned()).collect();
        let kept = names.iter().filter(|it| it.starts_with("data.before-restore-")).count();
        assert_eq!(kept, 1, "the old data is kept, once: {names:?}");
        assert!(!names.iter().any(|it| it.contains("mainstay-restored")), "{names:?}");
        let archive = self.server.path("backups").join("wal");
        until("its new timeline is archived", || archive.join("00000002.history").is_file().then_some(()));
        let written = self.server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
        let number = |name: &str| u64::from_str_radix(&name[16..24], 16).expect("a segment's name");
        let began = fs::read_to_string(archive.join("00000002.history")).expect("read");
        let began = began.lines().last().and_then(|it| it.split_whitespace().nth(1)?.split_once('/')).expect("a place");
        let began = u64::from_str_radix(began.1, 16).expect("a place") / (16 << 20);
        assert!(number(&written) >= began + WRITTEN_BY_THE_CHECK, "{began}, {written}");
        for number in began..number(&written) {
            let file = archive.join(format!("00000002{:08X}{number:08X}", 0));
            until("what it wrote while it was looked at is archived", || file.is_file().then_some(()));
        }
        self.site.check_journal();
    }
}

fn plan(server: &Server, net: &Net, dir: &Path) -> String {
    let password = dir.join("password");
    fs::write(&password, PASSWORD).expect("it is written");
    let bin = bin().expect("PostgreSQL is installed");
    let run_as = server.run_as().map(|it| format!(", run_as: {it}")).unwrap_or_default();
    format!(
        "version: 2
site: {{ name: e2e, region: here, zone: desk }}
state: state
allowances: {{ lateness: 1s, journal_sync: 100ms, route_apply: 500ms, agent_restart: 2s, forced_stop: 2s }}
components:
  orders:
    type: database
    location: {{ region: here, zone: rack-a }}
    constraint: {{ reason: one writer at a time, kind: technical }}
    objectives: {{ rto: 5m, rpo: 5m }}
    guards: {{ cool_down: 1s }}
    postgres: {{ address: \"{}\", password_file: {password:?}, data: {:?}, bin: {bin:?}{run_as}, follow: {{ user: replicator, passfile: {:?} }} }}
    probes: [{{ postgres: {{ interval: 250ms, fast_interval: 250ms, timeout: 250ms, fall: 3, rise: 2 }} }}]
    backups:
      nightly:
        every: 1d
        takes: 10m
        archive_lag: 1m
        keep: 14d
        location: {{ region: here, zone: rack-b }}
        postgres: {{ to: {:?}, check: \"select count(*) >= 100 and pg_logical_emit_message(false, 'test', repeat('x', {})) > '0/0' from entries\" }}
    recovery:
      - restore_from_backup: {{ backup: nightly, to: latest, timeout: 50s, verify_within: 10s }}
witnesses:
  gateway:
    location: {{ region: here, zone: desk }}
    probe:
      http: {{ url: \"http://{}/health\", interval: 250ms, timeout: 250ms }}
routes:
  orders:
    exclusive: {{ fence: traffic_cut }}
    proxy: {{ listen: \"{}\" }}
    targets:
      - {{ component: orders, address: \"{}\" }}
",
        server.address(),
        server.data(),
        server.path("pgpass"),
        server.path("backups"),
        WRITTEN_BY_THE_CHECK * (16 << 20),
        net.servers["gateway"],
        net.proxy,
        server.address()
    )
}

#[test]
fn a_destroyed_server_is_restored_in_its_place() {
    let mut it = Destroyed::new();
    it.destroy();
    it.restored();
}

#[test]
fn an_agent_that_is_killed_in_the_middle_ends_it_once() {
    let mut it = Destroyed::new();
    it.site.expect_errors();
    it.destroy();
    until("it is being restored", || it.beside().join("postmaster.pid").exists().then_some(()));
    it.site.kill_agent();
    it.site.start_agent();
    it.restored();
}
