//! A real PostgreSQL server whose backups the agent takes and tests by itself, while it is killed, while somebody else takes them, and
//! when one is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use mainstay_api as api;
use mainstay_engine::Body;
use mainstay_pgkit::{PASSWORD, Server, bin};
use mainstay_plan::backup::KeepingJob;

use super::site::{Net, PROGRAM, Site, mainstay, until};

/// A server that archives into a folder, and an agent that keeps it as its plan says.
struct Kept {
    site: Site,
    server: Server,
}

impl Kept {
    /// What its plan says of the series: how often, and how often one is tested.
    fn new(every: &str, restore_test: &str) -> Kept {
        let server = Server::primary(&[("archive_mode", "on"), ("archive_command", "exit 1")]);
        let archive = server.folder("backups");
        let program = server.lend(Path::new(PROGRAM));
        let command = format!("{} postgres archive \"%p\" %f --to {}", program.display(), archive.display());
        server.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"));
        server.sql("SELECT pg_reload_conf()");
        server.sql("CREATE TABLE entries AS SELECT n FROM generate_series(1, 100) n");
        let mut site = Site::new(|net, dir| plan(&server, net, dir, every, restore_test));
        site.agents_program = program;
        site.start_servers(&["gateway"]);
        Kept { site, server }
    }

    fn base(&self) -> PathBuf {
        self.server.path("backups").join("base")
    }

    /// The series, once `ready` says so of it.
    #[track_caller]
    fn until_series(&self, what: &str, ready: impl Fn(&api::Series) -> bool) -> api::Series {
        let of = |it: &api::Status| it.components[0].backups[0].clone();
        let status = self.site.until_status(what, |it| ready(&of(it)));
        of(&status)
    }

    /// How many were taken that have a name.
    fn taken(&self) -> usize {
        let names = fs::read_dir(self.base()).into_iter().flatten().flatten().map(|it| it.file_name());
        names.filter(|it| !it.to_string_lossy().starts_with('.')).count()
    }

    fn is_under_way(&self) -> bool {
        let names = fs::read_dir(self.base()).into_iter().flatten().flatten().map(|it| it.file_name());
        names.into_iter().any(|it| it.to_string_lossy().starts_with(".taking"))
    }
}

fn plan(server: &Server, net: &Net, dir: &Path, every: &str, restore_test: &str) -> String {
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
        every: {every}
        takes: 10m
        archive_lag: 1m
        keep: 14d
        location: {{ region: here, zone: rack-b }}
        restore_test: {restore_test}
        postgres: {{ to: {:?}, check: select count(*) >= 100 from entries }}
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
        net.servers["gateway"],
        net.proxy,
        server.address()
    )
}

fn is_failure(body: &Body, of: KeepingJob) -> bool {
    matches!(body, Body::KeepingFailed { job, .. } if *job == of)
}

#[test]
fn the_agent_takes_and_tests_by_itself_and_a_kill_in_the_middle_harms_nothing() {
    let mut it = Kept::new("12s", "8s");
    it.site.start_agent();
    it.site.until_whole();
    let first = it.until_series("one is taken and restored", |it| it.newest.is_some() && it.tested.is_some());
    assert_eq!(first.kept_by, "the agent");
    assert!(!first.trouble.iter().any(|it| it.contains("failed")), "{first:?}");
    let (newest, tested) = (first.newest.expect("it is there"), first.tested.expect("it was"));
    assert!(newest.bytes > 1_000_000 && newest.took_ns > 0 && newest.role == "primary", "{newest:?}");
    assert!(tested.took_ns > 0 && tested.longest_ns >= tested.took_ns, "{tested:?}");
    let told = it.site.says(&["status", "orders"]);
    told.tells(0, &["nightly, kept by the agent", "restored"]);

    // Dead while it copies: what it had begun is no backup, and the next one is.
    until("another one is under way", || it.is_under_way().then_some(()));
    it.site.kill_agent();
    let before = it.taken();
    it.site.start_agent();
    until("it is taken again", || (it.taken() > before).then_some(()));
    it.until_series("and said", |it| it.newest.as_ref().is_some_and(|it| it.name != newest.name));
    assert!(!it.site.recorded(|it| matches!(it, Body::KeepingFailed { .. })), "nothing failed");
    let listed = mainstay(it.site.path(), &["backups", "plan.yaml"]);
    assert!(listed.out.contains("ago, in "), "{listed:?}");
    it.site.stop_agent();
    it.site.check_journal();
}

#[test]
fn what_somebody_else_took_counts() {
    let mut it = Kept::new("1d", "7d");
    it.site.agents_program = it.server.lend(Path::new(PROGRAM));
    let taken = mainstay(it.site.path(), &["backup", "plan.yaml", "orders"]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    it.site.start_agent();
    let series = it.until_series("it is restored", |it| it.tested.is_some());
    assert_eq!(it.taken(), 1, "{series:?}");
    let waits: Vec<_> = series.jobs.iter().map(|it| it.waits.as_deref()).collect();
    assert_eq!(waits, [Some("not_due"), Some("not_due")], "{series:?}");
    assert!(
        it.site.recorded(|it| matches!(it, Body::KeepingCompleted { job: KeepingJob::Backup, seen, .. } if !seen.done))
    );
    it.site.stop_agent();
    it.site.check_journal();
}

#[test]
fn a_restore_test_that_fails_is_told_and_shown() {
    let mut it = Kept::new("1d", "2s");
    it.site.start_agent();
    it.until_series("one is restored", |it| it.tested.is_some());
    let name = fs::read_dir(it.base()).expect("read").flatten().next().expect("one is there").path();
    let control = name.join("data/global/pg_control");
    let mut bytes = fs::read(&control).expect("it is there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&control, bytes).expect("damaged");
    let series = it.until_series("it is shown", |it| !it.trouble.is_empty());
    let test = series.jobs.iter().find(|it| it.job == "restore_test").expect("the plan asks for it");
    assert_eq!(test.waits.as_deref(), Some("again"), "{test:?}");
    assert!(series.trouble[0].starts_with("the last restore test failed: it is not whole: "), "{series:?}");
    assert!(it.site.recorded(|it| is_failure(it, KeepingJob::RestoreTest)));
    it.site.says(&["notices"]).tells(0, &["the restore test of orders `nightly` failed"]);
    it.site.says(&["status"]).tells(0, &["the last restore test failed"]);
    it.site.stop_agent();
    it.site.check_journal();
}
