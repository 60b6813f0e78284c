//! Making a standby of what was a primary: rewound or copied, with what it alone had counted and kept.

use std::fs;
use std::path::PathBuf;

use mainstay_pgkit::{Server, wait_until};
use mainstay_plan::action::{LostWrites, ServiceOp};
use mainstay_plan::postgres::{FreshCopy, OldData, RejoinHow};

use super::*;

const REWOUND: RejoinHow = RejoinHow { copy: FreshCopy::Never, old_data: OldData::Keep };
const COPIED: RejoinHow = RejoinHow { copy: FreshCopy::WhenNeeded, old_data: OldData::Keep };

/// An old primary, which has written a row that nobody else has, and a new one with another row.
struct Parted {
    secrets: Secrets,
    old: Server,
    new: Server,
}

impl Parted {
    async fn new(settings: &[(&str, &str)]) -> Parted {
        let secrets = Secrets::right();
        let mut old = Server::primary(settings);
        let mut new = old.standby("b", false, settings);
        old.sql("CREATE TABLE t (n int)");
        wait_until("the table", || new.sql("SELECT to_regclass('t')") == "t");
        // It goes on writing without its standby.
        new.stop();
        old.sql("INSERT INTO t VALUES (1)");
        // What a probe does is nobody's write.
        assert_eq!(ask(secrets.of(&old)).await.answer, Answer::Good);
        old.kill();
        new.start();
        assert_eq!(promote(secrets.of(&new), LONG).await, Outcome::Done);
        new.sql("INSERT INTO t VALUES (2)");
        fs::create_dir(new.path("data/conf.d")).expect("made");
        new.write("data/conf.d/its_own.conf", "port = 5432");
        Parted { secrets, old, new }
    }

    fn rejoin(&self, how: RejoinHow) -> PostgresAction {
        rejoin(&self.secrets, &self.old, &self.new, how)
    }

    fn follows(&self) {
        wait_until("the rows of the new primary", || self.old.sql("SELECT n FROM t") == "2");
        assert_eq!(self.old.sql("SELECT pg_is_in_recovery()"), "t");
        // Its own settings are its own.
        assert_eq!(self.old.sql("SHOW cluster_name"), "primary");
        assert!(!self.old.path("data/conf.d/its_own.conf").exists(), "what the leader says of itself is not brought");
    }

    /// What lies beside its data, by how the names go on.
    fn beside(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.old.path("")).expect("its folder").map(|it| it.expect("an entry").path());
        all.filter(|it| it.to_string_lossy().contains("/data.")).collect()
    }
}

fn rejoin(secrets: &Secrets, server: &Server, leader: &Server, how: RejoinHow) -> PostgresAction {
    let follow = Some(PostgresFollow { user: "replicator".to_owned(), passfile: Some(server.path("pgpass")) });
    let leader = Box::new(PostgresServer { follow, ..secrets.of(leader) });
    let server = PostgresServer { files: Some(services::files(server)), ..secrets.of(server) };
    PostgresAction { server, op: PostgresOp::Rejoin { leader, how } }
}

fn lost(outcome: Outcome) -> LostWrites {
    let Outcome::DoneLosing(lost) = outcome else { panic!("something was lost: {outcome:?}") };
    lost
}

/// A primary that was killed has written what nobody else has; that is counted, kept and taken back, and it follows the new one.
#[tokio::test]
async fn an_old_primary_is_rewound_and_what_it_had_alone_is_told() {
    let parted = Parted::new(&[]).await;
    Providers::new().prepare_action(&Action::Postgres(Box::new(parted.rejoin(REWOUND)))).await.expect("it can be done");
    let counted = lost(act(parted.rejoin(REWOUND), LONG).await);
    parted.follows();
    assert_eq!(counted.transactions, 1);
    assert!((50..100_000).contains(&counted.bytes), "{counted:?}");
    let (first, last) = counted.committed.expect("one was committed");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_secs();
    assert!(first == last && (now - 60..=now).contains(&first), "{counted:?}");
    let kept = counted.kept_at.clone().expect("it is kept");
    let readme = fs::read_to_string(kept.join("README")).expect("it is explained");
    assert!(readme.contains("1 transactions"), "{readme}");
    let transactions = fs::read_to_string(kept.join("transactions.txt")).expect("they are listed");
    assert_eq!(transactions.lines().filter(|it| it.contains("COMMIT")).count(), 2, "with the probe's: {transactions}");
    assert!(kept.join("000000010000000000000003").is_file(), "the log itself");
    // The same order again, as after a restart, tells the same; a later one has nothing to tell.
    assert_eq!(lost(act(parted.rejoin(REWOUND), LONG).await), counted);
    assert_eq!(ordered(parted.rejoin(REWOUND), LONG, "recovery-9/step-1").await, Outcome::Done);
    assert_eq!(ask(parted.secrets.of(&parted.old)).await.role.as_deref(), Some("standby"));
}

/// Nobody has buried the one that was killed, and `pg_rewind` takes away the file that tells of it.
#[tokio::test]
async fn a_corpse_is_rewound_and_started() {
    let secrets = Secrets::right();
    let old = Server::primary(&[]);
    let new = old.standby("b", false, &[]);
    let first = old.first().expect("it runs");
    assert_eq!(services::operate(&old, ServiceOp::Kill).await, Outcome::Done);
    let stat = fs::read_to_string(format!("/proc/{first}/stat")).expect("its corpse");
    assert!(stat.contains(") Z "), "{stat}");
    assert_eq!(promote(secrets.of(&new), LONG).await, Outcome::Done);
    lost(act(rejoin(&secrets, &old, &new, REWOUND), LONG).await);
    assert_eq!(old.sql("SELECT pg_is_in_recovery()"), "t");
}

/// Who had nothing alone is told to have lost nothing, and nothing is kept.
#[tokio::test]
async fn nothing_lost_is_counted_too() {
    let secrets = Secrets::right();
    let mut old = Server::primary(&[]);
    let new = old.standby("b", false, &[]);
    old.sql("CREATE TABLE t (n int)");
    old.stop();
    assert_eq!(promote(secrets.of(&new), LONG).await, Outcome::Done);
    let counted = lost(act(rejoin(&secrets, &old, &new, REWOUND), LONG).await);
    assert_eq!((counted.transactions, counted.committed, counted.kept_at), (0, None, None));
}

#[tokio::test]
async fn what_cannot_be_rewound_gets_a_fresh_copy_where_it_may() {
    let parted = Parted::new(&[("wal_log_hints", "off")]).await;
    let why = Providers::new().prepare_action(&Action::Postgres(Box::new(parted.rejoin(REWOUND)))).await;
    assert!(why.expect_err("it can't be rewound").to_string().contains("wal_log_hints"));
    let Outcome::Failed(why) = act(parted.rejoin(REWOUND), LONG).await else { panic!("it can't be rewound") };
    assert!(why.contains("it is stopped") && why.contains("only a fresh copy"), "{why}");
    assert_eq!(parted.old.processes(), Vec::<i32>::new());
    // Somebody was killed while a copy was made, and what it had started goes on.
    let half = parted.old.path("data.mainstay-copy");
    let orphan = slow_copy(&parted, &half);
    wait_until("half a copy", || half.join("PG_VERSION").is_file());
    assert_eq!(lost(act(parted.rejoin(COPIED), LONG).await).transactions, 1);
    assert!(!orphan.wait_with_output().expect("it was started").status.success(), "it was ended");
    parted.follows();
    let [aside, kept] = parted.beside().try_into().expect("old data, and what was lost");
    let (aside, kept) = if aside.to_string_lossy().contains(".old-") { (aside, kept) } else { (kept, aside) };
    assert!(aside.join("PG_VERSION").is_file() && kept.ends_with("data.lost"), "{aside:?} {kept:?}");
}

/// `pg_rewind` is ended in the middle; what it leaves is not started, not rewound again, and not taken for the server's own.
#[tokio::test]
async fn what_was_half_rewound_gets_a_fresh_copy_where_it_may() {
    let parted = Parted::new(&[]).await;
    let mut hanging = parted.rejoin(REWOUND);
    let files = hanging.server.files.as_mut().expect("it has files");
    files.bin = Some(bin_with_a_rewind_that_hangs(&parted.old));
    let Outcome::Failed(why) = act(hanging, Duration::from_secs(10)).await else { panic!("it hangs") };
    assert!(why.contains("pg_rewind did not end in time"), "{why}");
    let Outcome::Failed(why) = services::operate(&parted.old, ServiceOp::Start).await else { panic!("it is neither") };
    assert!(why.contains("data.mainstay-rewind"), "{why}");
    let Outcome::Failed(why) = act(parted.rejoin(REWOUND), LONG).await else { panic!("it is neither") };
    assert!(why.contains("did not end") && why.contains("only a fresh copy"), "{why}");
    assert_eq!(parted.old.processes(), Vec::<i32>::new());
    assert_eq!(lost(act(parted.rejoin(COPIED), LONG).await).transactions, 1, "as it was counted before");
    parted.follows();
    assert!(!parted.beside().iter().any(|it| it.ends_with("data.mainstay-rewind")), "{:?}", parted.beside());
}

/// PostgreSQL's programs, but that its `pg_rewind`, once it writes, brings a configuration of the leader, and never ends.
fn bin_with_a_rewind_that_hangs(server: &Server) -> PathBuf {
    let (real, bin) = (mainstay_pgkit::bin().expect("it is installed"), server.path("bin"));
    fs::create_dir(&bin).expect("made");
    for entry in fs::read_dir(&real).expect("its programs") {
        let path = entry.expect("an entry").path();
        std::os::unix::fs::symlink(&path, bin.join(path.file_name().expect("a name"))).expect("linked");
    }
    let rewind = bin.join("pg_rewind");
    fs::remove_file(&rewind).expect("the link");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--dry-run*) exec {}/pg_rewind \"$@\";; esac\necho port = 5432 > {}/postgresql.auto.conf\nexec sleep 60\n",
        real.display(),
        server.data().display()
    );
    fs::write(&rewind, script).expect("written");
    fs::set_permissions(&rewind, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it can be run");
    bin
}

#[tokio::test]
async fn old_data_is_removed_only_where_it_is_said() {
    let parted = Parted::new(&[]).await;
    let always = RejoinHow { copy: FreshCopy::Always, old_data: OldData::Remove };
    assert_eq!(lost(act(parted.rejoin(always), LONG).await).transactions, 1);
    parted.follows();
    let [kept] = parted.beside().try_into().expect("what was lost, and nothing else");
    assert!(kept.ends_with("data.lost"), "{kept:?}");
}

/// Killed between the two renames, there is no data, and a copy that is known to be whole.
#[tokio::test]
async fn a_whole_copy_takes_its_place_later() {
    let mut parted = Parted::new(&[]).await;
    let always = RejoinHow { copy: FreshCopy::Always, old_data: OldData::Keep };
    lost(act(parted.rejoin(always), LONG).await);
    parted.old.kill();
    fs::rename(parted.old.data(), parted.old.path("data.mainstay-whole")).expect("it is renamed");
    lost(act(parted.rejoin(always), LONG).await);
    parted.follows();
    assert_eq!(parted.beside().len(), 2, "it was not copied again: {:?}", parted.beside());
}

/// A standby that was away for long waits for what is not there any more; a fresh copy ends that.
#[tokio::test]
async fn who_missed_too_much_gets_a_fresh_copy() {
    let secrets = Secrets::right();
    let primary = Server::primary(&[("wal_keep_size", "0"), ("max_wal_size", "32MB"), ("min_wal_size", "32MB")]);
    let mut standby = primary.standby("b", false, &[]);
    standby.stop();
    for _ in 0..6 {
        primary.sql("CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1)");
        primary.sql("SELECT pg_switch_wal()");
        primary.sql("CHECKPOINT");
    }
    assert_eq!(act(rejoin(&secrets, &standby, &primary, COPIED), LONG).await, Outcome::Done);
    wait_until("the rows", || standby.sql("SELECT count(*) FROM t") == "6");
}

/// One that was killed needs no more than a start, whether its leader stayed or another standby took over from it meanwhile.
#[tokio::test]
async fn a_standby_that_was_killed_is_started_again() {
    let secrets = Secrets::right();
    let mut old = Server::primary(&[]);
    let (new, mut standby) = (old.standby("b", false, &[]), old.standby("c", false, &[]));
    standby.kill();
    assert_eq!(act(rejoin(&secrets, &standby, &old, REWOUND), LONG).await, Outcome::Done);
    old.sql("CREATE TABLE t (n int)");
    wait_until("the table", || [&new, &standby].iter().all(|it| it.sql("SELECT to_regclass('t')") == "t"));
    standby.kill();
    old.kill();
    assert_eq!(promote(secrets.of(&new), LONG).await, Outcome::Done);
    let outcome = act(rejoin(&secrets, &standby, &new, REWOUND), LONG).await;
    assert_eq!(lost(outcome).transactions, 0);
    new.sql("INSERT INTO t VALUES (2)");
    wait_until("the row", || standby.sql("SELECT n FROM t") == "2");
}

/// A standby has what the one that took over never got, and was killed: its log is replayed to its end before it is rewound.
#[tokio::test]
async fn a_standby_that_was_killed_and_had_gone_too_far_is_rewound() {
    let secrets = Secrets::right();
    let mut old = Server::primary(&[]);
    let (mut new, mut ahead) = (old.standby("b", false, &[]), old.standby("c", false, &[]));
    old.sql("CREATE TABLE t (n int)");
    wait_until("the table", || [&new, &ahead].iter().all(|it| it.sql("SELECT to_regclass('t')") == "t"));
    new.stop();
    old.sql("INSERT INTO t VALUES (1)");
    wait_until("the row", || ahead.sql("SELECT n FROM t") == "1");
    ahead.kill();
    old.kill();
    new.start();
    assert_eq!(promote(secrets.of(&new), LONG).await, Outcome::Done);
    new.sql("INSERT INTO t VALUES (2)");
    assert_eq!(lost(act(rejoin(&secrets, &ahead, &new, REWOUND), LONG).await).transactions, 1);
    wait_until("the other row", || ahead.sql("SELECT n FROM t") == "2");
}

/// A primary that dies before its first checkpoint is still on the timeline before by its control file's first word.
#[tokio::test]
async fn who_was_a_primary_for_a_moment_has_it_counted() {
    let secrets = Secrets::right();
    let mut old = Server::primary(&[]);
    let (mut new, mut newer) = (old.standby("b", false, &[]), old.standby("c", false, &[]));
    old.sql("CREATE TABLE t (n int)");
    wait_until("the table", || [&new, &newer].iter().all(|it| it.sql("SELECT to_regclass('t')") == "t"));
    old.kill();
    let checkpointer = new.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    signal(checkpointer.parse().expect("a number"), "STOP");
    assert_eq!(promote(secrets.of(&new), LONG).await, Outcome::Done);
    let follow = Some(PostgresFollow { user: "replicator".to_owned(), passfile: Some(newer.path("pgpass")) });
    let leader = PostgresServer { follow, ..secrets.of(&new) };
    assert_eq!(super::follow(secrets.of(&newer), leader, LONG).await, Outcome::Done);
    newer.stop();
    new.sql("INSERT INTO t VALUES (1)");
    new.kill();
    newer.start();
    assert_eq!(promote(secrets.of(&newer), LONG).await, Outcome::Done);
    newer.sql("INSERT INTO t VALUES (2)");
    assert_eq!(lost(act(rejoin(&secrets, &new, &newer, REWOUND), LONG).await).transactions, 1);
    wait_until("the other row", || new.sql("SELECT n FROM t") == "2");
}

/// Each of two that never heard of each other gave its timeline the next number: what one of them wrote is not on the other's.
#[tokio::test]
async fn two_timelines_of_one_number_are_two() {
    let secrets = Secrets::right();
    let mut old = Server::primary(&[]);
    let (mut new, newer) = (old.standby("b", false, &[]), old.standby("c", false, &[]));
    old.sql("CREATE TABLE t (n int)");
    wait_until("the table", || [&new, &newer].iter().all(|it| it.sql("SELECT to_regclass('t')") == "t"));
    old.kill();
    for server in [&new, &newer] {
        assert_eq!(promote(secrets.of(server), LONG).await, Outcome::Done);
    }
    new.sql("INSERT INTO t VALUES (1)");
    newer.sql("INSERT INTO t VALUES (2)");
    new.kill();
    let Outcome::Failed(why) = act(rejoin(&secrets, &new, &newer, REWOUND), LONG).await else { panic!("it is not") };
    assert!(why.contains("it was a primary on timeline 2, and so is the one to follow"), "{why}");
    assert_eq!(act(rejoin(&secrets, &new, &newer, COPIED), LONG).await, Outcome::Done);
    wait_until("the other row", || new.sql("SELECT n FROM t") == "2");
    let beside = fs::read_dir(new.path("")).expect("its folder").flatten();
    assert!(beside.into_iter().any(|it| it.file_name().to_string_lossy().starts_with("data.old-")), "it is kept");
}

/// Its log begins long before they went apart, and nobody but us asks it to keep that.
#[tokio::test]
async fn the_log_that_is_needed_is_not_removed_before() {
    let secrets = Secrets::right();
    let sparing = [("wal_keep_size", "0"), ("min_wal_size", "32MB"), ("max_wal_size", "1GB")];
    let mut old = Server::primary(&sparing);
    let mut new = old.standby("b", false, &sparing);
    old.sql("CREATE TABLE t (n int)");
    old.sql("CHECKPOINT");
    for _ in 0..5 {
        old.sql("INSERT INTO t VALUES (0)");
        old.sql("SELECT pg_switch_wal()");
    }
    wait_until("the rows", || new.sql("SELECT count(*) FROM t") == "5");
    new.stop();
    old.sql("INSERT INTO t VALUES (1)");
    old.kill();
    new.start();
    assert_eq!(promote(secrets.of(&new), LONG).await, Outcome::Done);
    new.sql("INSERT INTO t VALUES (2)");
    assert_eq!(lost(act(rejoin(&secrets, &old, &new, REWOUND), LONG).await).transactions, 1);
    wait_until("the other row", || old.sql("SELECT sum(n) FROM t") == "2");
}

/// What stands in its own configuration of how it follows stays, but for whom.
#[tokio::test]
async fn it_follows_under_its_own_name() {
    let secrets = Secrets::right();
    let mut old = Server::primary(&[]);
    let (new, mut standby) = (old.standby("b", false, &[]), old.standby("c", false, &[]));
    standby.stop();
    standby.write("data/postgresql.auto.conf", "");
    let passfile = standby.path("pgpass");
    let port = old.address().port();
    standby.append(
        "data/postgresql.conf",
        &format!(
            "primary_conninfo = 'host=127.0.0.1 port={port} user=replicator passfile={} application_name=its_own'\n",
            passfile.display()
        ),
    );
    old.kill();
    assert_eq!(promote(secrets.of(&new), LONG).await, Outcome::Done);
    let mut follows = rejoin(&secrets, &standby, &new, REWOUND);
    if let PostgresOp::Rejoin { leader, .. } = &mut follows.op {
        // The passfile that it has stays, too.
        leader.follow = Some(PostgresFollow { user: "replicator".to_owned(), passfile: None });
    }
    lost(act(follows, LONG).await);
    assert_eq!(new.sql("SELECT application_name FROM pg_stat_replication"), "its_own");
}

fn signal(process: i32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Without somebody to follow nothing is done.
#[tokio::test]
async fn nothing_is_stopped_for_a_leader_that_is_not_there() {
    let secrets = Secrets::right();
    let old = Server::primary(&[]);
    let server = PostgresServer { files: Some(services::files(&old)), ..secrets.of(&old) };
    let op = PostgresOp::Rejoin { leader: Box::new(secrets.at(([127, 0, 0, 1], 1).into())), how: REWOUND };
    let outcome = act(PostgresAction { server, op }, LONG).await;
    assert!(matches!(&outcome, Outcome::Failed(why) if why.contains("nothing was done")), "{outcome:?}");
    assert_eq!(old.sql("SELECT pg_is_in_recovery()"), "f");
}

/// Another database is never replaced.
#[tokio::test]
async fn another_database_is_left_alone() {
    let secrets = Secrets::right();
    let (one, other) = (Server::primary(&[]), Server::primary(&[]));
    let always = RejoinHow { copy: FreshCopy::Always, old_data: OldData::Remove };
    let outcome = act(rejoin(&secrets, &one, &other, always), LONG).await;
    assert!(matches!(&outcome, Outcome::Failed(why) if why.contains("another database")), "{outcome:?}");
    assert!(one.data().join("PG_VERSION").is_file());
}

fn slow_copy(parted: &Parted, to: &std::path::Path) -> Child {
    let program = mainstay_pgkit::bin().expect("it is installed").join("pg_basebackup");
    let files = services::files(&parted.old);
    let port = parted.new.address().port();
    let from = format!("host=127.0.0.1 port={port} user=replicator passfile={}", parted.old.path("pgpass").display());
    let (to, from) = (format!("--pgdata={}", to.display()), format!("--dbname={from}"));
    let argv =
        PostgresFiles { bin: None, ..files }.command(&program.display().to_string(), &[&to, &from, "--max-rate=32k"]);
    Command::new(&argv[0]).args(&argv[1..]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is there")
}
