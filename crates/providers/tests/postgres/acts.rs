//! Promoting and following.

use mainstay_pgkit::{REPLICATION_PASSWORD, Server, wait_until};

use super::*;

#[tokio::test]
async fn a_standby_is_promoted_once_however_often_it_is_asked() {
    let secrets = Secrets::right();
    let mut primary = Server::primary(&[]);
    let standby = primary.standby("b", true, &[]);
    primary.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    // In order, so that the standby gets everything.
    primary.stop();
    assert_eq!(promote(secrets.of(&standby), LONG).await, Outcome::Done);
    // It takes writes as soon as that is said.
    standby.sql("INSERT INTO t VALUES (2)");
    assert_eq!(standby.sql("SELECT count(*) FROM t"), "2");
    let timeline = standby.sql("SELECT pg_walfile_name(pg_current_wal_lsn())");
    assert_eq!(promote(secrets.of(&standby), LONG).await, Outcome::Done);
    assert_eq!(standby.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")[..8], timeline[..8], "the same timeline");
    assert_eq!(ask(secrets.of(&standby)).await.role.as_deref(), Some("primary"));
}

/// Its own configuration is that of the old primary, or nobody's; what the plan says holds from its first write on.
#[tokio::test]
async fn a_new_primary_waits_for_whom_the_plan_says() {
    let secrets = Secrets::right();
    let mut primary = Server::primary(&[]);
    let second = primary.standby("b", false, &[]);
    let whom = r#"ANY 1 (primary, b, "orders-c")"#;
    let server = || PostgresServer { synchronous: Some(whom.to_owned()), ..secrets.of(&second) };
    primary.sql("REVOKE ALTER SYSTEM ON PARAMETER synchronous_standby_names FROM mainstay");
    let may = "SELECT has_parameter_privilege('mainstay', 'synchronous_standby_names', 'ALTER SYSTEM')";
    wait_until("the standby to know", || second.sql(may) == "f");
    let Outcome::Failed(why) = promote(server(), LONG).await else { panic!("it may not") };
    assert!(why.contains("may not set synchronous_standby_names"), "{why}");
    assert_eq!(second.sql("SELECT pg_is_in_recovery()"), "t", "it does not go on without");
    primary.sql("GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO mainstay");
    wait_until("the standby to know", || second.sql(may) == "t");
    primary.stop();
    for _ in 0..2 {
        assert_eq!(promote(server(), LONG).await, Outcome::Done);
        assert_eq!(second.sql("SHOW synchronous_standby_names"), whom);
    }
    // Nobody follows, so nobody is told that it is saved.
    let mut waits = client(second.address().port(), "CREATE TABLE t (n int)");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_until("a write that waits", || second.sql(waiting) == "1");
    assert_eq!(ask(secrets.of(&second)).await.answer, Answer::Good, "its probe waits for no standby");
    waits.kill().expect("it is ours");
    waits.wait().expect("it is ours");
}

/// Rights on functions are a database's: what was granted in another one is missed before it is needed.
#[tokio::test]
async fn a_right_that_is_missing_in_its_database_is_missed_beforehand() {
    let secrets = Secrets::right();
    let primary = Server::primary(&[]);
    primary.sql("CREATE DATABASE ledger");
    let mut standby = primary.standby("b", false, &[]);
    let prepared = async |database: &str, op: PostgresOp| {
        let server = PostgresServer { database: database.to_owned(), ..secrets.of(&standby) };
        Providers::new().prepare_action(&Action::Postgres(Box::new(PostgresAction { server, op }))).await
    };
    let leader = Box::new(secrets.of(&primary));
    for (op, right) in [(PostgresOp::Promote, "pg_promote"), (PostgresOp::Follow { leader }, "pg_reload_conf")] {
        prepared("postgres", op.clone()).await.expect("it was granted there");
        let why = prepared("ledger", op).await.expect_err("and not here").to_string();
        assert!(why.contains(right) && why.contains("in the database ledger: run postgresql.sql"), "{why}");
    }
    // Whoever can't be asked now may have every right.
    standby.kill();
    let gone = PostgresServer { database: "ledger".to_owned(), ..secrets.of(&standby) };
    let promote = Action::Postgres(Box::new(PostgresAction { server: gone, op: PostgresOp::Promote }));
    Providers::new().prepare_action(&promote).await.expect("its probes tell of that");
}

#[tokio::test]
async fn what_was_not_seen_is_not_called_done() {
    let secrets = Secrets::right();
    let primary = Server::primary(&[]);
    let mut standby = primary.standby("b", false, &[]);
    standby.freeze();
    let Outcome::Failed(why) = promote(secrets.of(&standby), SHORT).await else { panic!("it is frozen") };
    assert!(why.contains("nothing was done"), "{why}");
    standby.thaw();
    // A role without the right to do it.
    primary.sql("REVOKE EXECUTE ON FUNCTION pg_promote(boolean, integer) FROM mainstay");
    wait_until("the standby to know", || {
        standby.sql("SELECT has_function_privilege('mainstay', 'pg_promote(boolean, integer)', 'EXECUTE')") == "f"
    });
    let Outcome::Failed(why) = promote(secrets.of(&standby), LONG).await else { panic!("it may not") };
    assert!(why.contains("pg_promote") && why.contains("postgresql.sql"), "{why}");
    standby.kill();
    let Outcome::Failed(why) = promote(secrets.of(&standby), LONG).await else { panic!("it is gone") };
    assert!(why.contains("connection refused"), "{why}");
}

#[tokio::test]
async fn the_third_server_follows_the_new_primary() {
    let secrets = Secrets::right();
    let mut primary = Server::primary(&[]);
    primary.sql("ALTER ROLE mainstay REPLICATION");
    let second = primary.standby("b", true, &[]);
    let third = primary.standby("c", true, &[]);
    primary.sql("CREATE TABLE t (n int)");
    for standby in [&second, &third] {
        wait_until("the table", || standby.sql("SELECT to_regclass('t')") == "t");
    }
    primary.kill();
    assert_eq!(promote(secrets.of(&second), LONG).await, Outcome::Done);
    let leader = || PostgresServer {
        follow: Some(PostgresFollow { user: "replicator".to_owned(), passfile: Some(third.path("pgpass")) }),
        ..secrets.of(&second)
    };
    for _ in 0..2 {
        assert_eq!(follow(secrets.of(&third), leader(), LONG).await, Outcome::Done);
    }
    second.sql("INSERT INTO t VALUES (7)");
    wait_until("the row", || third.sql("SELECT count(*) FROM t") == "1");
    // It keeps its name and its place there.
    let replication = "SELECT application_name, s.slot_name FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid";
    assert_eq!(second.sql(replication), "c|c");
}

#[tokio::test]
async fn a_primary_follows_nobody() {
    let secrets = Secrets::right();
    let (one, other) = (Server::primary(&[]), Server::primary(&[]));
    let Outcome::Failed(why) = follow(secrets.of(&one), secrets.of(&other), LONG).await else { panic!("it can't") };
    assert!(why.contains("it is a primary"), "{why}");
}

/// The password of the one who follows stands in the server's own settings, if its owner put it there. It stays there, and goes nowhere else.
#[tokio::test]
async fn a_leader_that_is_not_there_is_not_streamed_from_and_no_secret_is_told() {
    let secrets = Secrets::right();
    let primary = Server::primary(&[]);
    let standby = primary.standby("b", false, &[]);
    let port = primary.address().port();
    let own = format!("host=127.0.0.1 port={port} user=replicator password='{REPLICATION_PASSWORD}'");
    standby.sql(&format!("ALTER SYSTEM SET primary_conninfo = '{}'", own.replace('\'', "''")));
    standby.sql("SELECT pg_reload_conf()");
    wait_until("its settings", || standby.sql("SHOW primary_conninfo") == own);
    let nowhere = secrets.at(([127, 0, 0, 1], 1).into());
    let outcome = follow(secrets.of(&standby), nowhere.clone(), SHORT * 4).await;
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains("streaming from 127.0.0.1:1")), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains("battery"), "{outcome:?}");
    assert!(standby.sql("SHOW primary_conninfo").contains("battery"), "what its owner says stays");
    // Without the right to it nothing is set, and what it was is not told.
    primary.sql("REVOKE ALTER SYSTEM ON PARAMETER primary_conninfo FROM mainstay");
    let back = secrets.of(&primary);
    let outcome = follow(secrets.of(&standby), back.clone(), SHORT * 4).await;
    // It follows nobody any more, so that it has not learnt of it.
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    wait_until("the standby to know", || {
        standby.sql("SELECT has_parameter_privilege('mainstay', 'primary_conninfo', 'ALTER SYSTEM')") == "f"
    });
    let outcome = follow(secrets.of(&standby), nowhere, LONG).await;
    let Outcome::Failed(why) = outcome else { panic!("it may not: {outcome:?}") };
    assert!(why.contains("may not set primary_conninfo") && !why.contains("battery"), "{why}");
}
