//! A real PostgreSQL server whose backups the agent takes and tests by itself, or has its host take, while it is killed, while somebody
//! else takes them, and when one is damaged.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mainstay_api as api;
use mainstay_engine::Body;
use mainstay_engine::record::{Ended, RecoveryId};
use mainstay_host::daemon::Entry;
use mainstay_pgkit::{PASSWORD, Server, bin};
use mainstay_plan::backup::KeepingJob;
use mainstay_store::Reader;
use rustix::process::{Pid, Signal, kill_process};

use super::site::{Net, PROGRAM, Site, mainstay, until};

/// A server that archives into a folder, and an agent that keeps it as its plan says.
struct Kept {
    site: Site,
    server: Server,
}

impl Kept {
    /// What its plan says of the series: how often, and how often one is tested.
    fn new(every: &str, restore_test: &str) -> Kept {
        Kept::with(every, restore_test, |plan, _| plan)
    }

    /// The same with a plan that is changed before it is written.
    fn with(every: &str, restore_test: &str, change: impl FnOnce(String, &Net) -> String) -> Kept {
        let server = Server::primary(&[("archive_mode", "on"), ("archive_command", "exit 1")]);
        let archive = server.folder("backups");
        let program = server.lend(Path::new(PROGRAM));
        let command = format!("{} postgres archive \"%p\" %f --to {}", program.display(), archive.display());
        server.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"));
        server.sql("SELECT pg_reload_conf()");
        server.sql("CREATE TABLE entries AS SELECT n FROM generate_series(1, 100) n");
        let mut site = Site::new(|net, dir| change(plan(&server, net, dir, every, restore_test), net));
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

/// The process of the host on the machine where the series is kept.
struct Vault {
    child: Child,
    state: PathBuf,
}

impl Vault {
    /// Joins the agent, which has to run, and starts.
    fn join(it: &Kept, at: SocketAddr) -> Vault {
        let site = it.site.path();
        until("hosts can connect", || it.site.whole_log("agent").contains("hosts can connect").then_some(()));
        let token = mainstay(site, &["enroll", "token", "vault", "--state", "state"]);
        let token = token.out.split_whitespace().find(|it| it.len() > 40).expect("a token").to_owned();
        let at = at.to_string();
        let joined = mainstay(site, &["enroll", "join", "--agent", &at, "--token", &token, "--state", "vault"]);
        assert_eq!(joined.code, Some(0), "{joined:?}");
        let file = format!(
            "version: 1\nagents: [\"{at}\"]\nstate: vault\nmay:\n  files: [{:?}]\n  backups: [{:?}]\n  network: true\n",
            site.join("password"),
            it.server.path("backups"),
        );
        fs::write(site.join("vault.yaml"), file).expect("it is written");
        let log = fs::File::create(site.join("vault.log")).expect("a log");
        // What it restores is given the log by the same program, as another user.
        let mut command = Command::new(it.server.lend(Path::new(PROGRAM)));
        command.arg("host").arg(site.join("vault.yaml")).stdin(Stdio::null()).stderr(log);
        Vault { child: command.spawn().expect("the program starts"), state: site.join("vault") }
    }

    /// What it has journaled.
    fn journal(&self) -> Vec<Entry> {
        let reader = Reader::open(&self.state).expect("it has a journal");
        let payloads = reader.records(1).map(|it| it.expect("the chain holds").entry.payload);
        payloads.map(|it| serde_json::from_slice(&it).expect("an entry")).collect()
    }

    /// How often it began what it was ordered under that key.
    fn begun(&self, of: &str) -> usize {
        self.journal().iter().filter(|it| matches!(it, Entry::OrderBegun { key, .. } if key == of)).count()
    }
}

impl Drop for Vault {
    /// In order, so that it ends what it runs.
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _gone = pid.map(|it| kill_process(it, Signal::TERM));
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until && self.child.try_wait().is_ok_and(|it| it.is_none()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What the agent began, and how its machine said that it ended; `None`: it has not.
fn keepings(site: &Site, of: KeepingJob) -> Vec<(RecoveryId, Option<Ended>)> {
    let journal = site.journal();
    let ended = |id: RecoveryId| {
        let mut all = journal.iter().rev();
        all.find_map(|it| {
            if let Body::StepEnded { step, ended } = &it.1.body {
                (step.recovery == id).then(|| ended.clone())
            } else {
                None
            }
        })
    };
    let begun = |it: &(u64, mainstay_engine::Record)| {
        matches!(it.1.body, Body::KeepingStarted { job, .. } if job == of).then_some(RecoveryId(it.0))
    };
    journal.iter().filter_map(begun).map(|it| (it, ended(it))).collect()
}

/// The agent is dead while its host takes a backup: the host goes on, and tells the next agent, which has nothing taken twice.
#[test]
fn a_host_takes_what_is_due_and_answers_the_next_agent() {
    let mut at = None;
    let mut it = Kept::with("8s", "20s", |plan, net| {
        let free = TcpListener::bind((net.proxy.ip(), 0)).and_then(|it| it.local_addr()).expect("a free port");
        at = Some(free);
        let hosts = format!(
            "link: {{ listen: \"{free}\" }}\nhosts: {{ vault: {{ region: here, zone: rack-b }} }}\ncomponents:"
        );
        let kept = "location: { region: here, zone: rack-b, host: vault }\n        restore_test";
        let changed = plan.replace("components:", &hosts);
        changed.replace("location: { region: here, zone: rack-b }\n        restore_test", kept)
    });
    let at = at.expect("the plan was written");
    let enrolled = mainstay(it.site.path(), &["enroll", "init", "plan.yaml", "--state", "state"]);
    assert_eq!(enrolled.code, Some(0), "{enrolled:?}");
    it.site.start_agent();
    let vault = Vault::join(&it, at);
    let first = it.until_series("one is taken and restored", |it| it.newest.is_some() && it.tested.is_some());
    assert_eq!(first.kept_by, "host vault", "{first:?}");

    // The agent is dead before the host has done; where that was done sooner, the next one has its turn.
    let (open, taken) = until("the agent dies while its host takes one", || {
        until("another one is under way", || it.is_under_way().then_some(()));
        let taken = it.taken();
        it.site.kill_agent();
        let open = keepings(&it.site, KeepingJob::Backup).pop().filter(|it| it.1.is_none());
        let open = open.filter(|_| it.is_under_way() && it.taken() == taken);
        if open.is_none() {
            it.site.start_agent();
        }
        open.map(|it| (it.0, taken))
    });
    until("its host goes on", || (it.taken() == taken + 1 && !it.is_under_way()).then_some(()));
    it.site.start_agent();
    let key = format!("e2e/{open}/keeping");
    let answer = until("the next agent hears of it", || {
        let all = keepings(&it.site, KeepingJob::Backup);
        all.into_iter().find(|it| it.0 == open).and_then(|it| it.1)
    });
    let Ended::Kept(seen) = &answer else { panic!("{answer:?}") };
    assert!(seen.done && seen.newest.is_some(), "{seen:?}");
    assert_eq!(vault.begun(&key), 1, "{:#?}", vault.journal());
    let asked = |it: &Body| matches!(it, Body::StepStarted { step, .. } if step.recovery == open);
    assert_eq!(it.site.journal().iter().filter(|it| asked(&it.1.body)).count(), 2, "it was asked by both agents");

    // Whatever lies there was said to have been taken, each by one order.
    it.until_series("it goes on", |it| {
        it.newest.as_ref().is_some_and(|it| Some(&it.name) != seen.newest.as_ref().map(|it| &it.name))
    });
    it.site.stop_agent();
    let all = keepings(&it.site, KeepingJob::Backup);
    let taken = |it: &Option<Ended>| {
        if let Some(Ended::Kept(seen)) = it {
            seen.newest.as_ref().filter(|_| seen.done).map(|it| it.name.clone())
        } else {
            None
        }
    };
    let taken: Vec<String> = all.iter().filter_map(|it| taken(&it.1)).collect();
    let (named, done) = (taken.iter().collect::<BTreeSet<_>>(), taken.len());
    assert_eq!(named.len(), done, "each order took one of its own: {all:?}");
    assert!(all.iter().all(|(id, _)| vault.begun(&format!("e2e/{id}/keeping")) <= 1));
    drop(vault);
    assert!((done..=done + 1).contains(&it.taken()), "{} lie there, {done} were said", it.taken());
    it.site.check_journal();
}
