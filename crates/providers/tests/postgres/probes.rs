//! Each answer of the probe.

use mainstay_pgkit::{Server, wait_until};

use super::*;

fn says(answer: &Answer, part: &str) {
    assert!(answer.detail().is_some_and(|it| it.contains(part)), "{answer:?} does not say {part:?}");
}

#[tokio::test]
async fn a_pair_says_what_it_is() {
    let secrets = Secrets::right();
    let primary = Server::primary(&[]);
    let standby = primary.standby("b", true, &[]);
    let of_primary = ask(secrets.of(&primary)).await;
    assert_eq!((of_primary.answer, of_primary.role.as_deref()), (Answer::Good, Some("primary")));
    let of_standby = ask(secrets.of(&standby)).await;
    assert_eq!((of_standby.answer, of_standby.role.as_deref()), (Answer::Good, Some("standby")));
    // Whoever serves a route takes writes.
    let probe = PostgresProbe { server: secrets.of(&standby), writes: true, only_primary: true };
    let answer = Providers::new().probe(&ProbeKind::Postgres(Box::new(probe)), LONG).await.answer;
    assert!(matches!(answer, Answer::Wrong(_)), "{answer:?}");
    says(&answer, "takes no writes");
}

/// A standby that has it all is where its primary is; one that is cut off stays where it was, and a new primary begins a line of its own.
#[tokio::test]
async fn everybody_says_where_they_are() {
    let secrets = Secrets::right();
    let mut primary = Server::primary(&[]);
    let standby = primary.standby("b", true, &[]);
    primary.sql("CREATE TABLE t (n int)");
    let quiet = |server: &Server| {
        ProbeKind::Postgres(Box::new(PostgresProbe { server: secrets.of(server), writes: false, only_primary: false }))
    };
    let providers = Providers::new();
    let at = async |server: &Server| providers.probe(&quiet(server), LONG).await.position.expect("it says where it is");
    let of_primary = at(&primary).await;
    assert_eq!(of_primary.system, primary.sql("SELECT system_identifier FROM pg_control_system()"));
    assert_eq!(of_primary.timeline, 1);
    let mut of_standby = at(&standby).await;
    while of_standby.at < of_primary.at {
        of_standby = at(&standby).await;
    }
    assert!(of_standby.is_comparable(&of_primary), "{of_standby:?} {of_primary:?}");
    primary.sql("INSERT INTO t VALUES (1)");
    assert!(at(&primary).await.at > of_primary.at);
    primary.stop();
    let last = at(&standby).await;
    assert!(last.is_comparable(&of_primary) && last.at > of_primary.at, "{last:?}");
    assert_eq!(promote(secrets.of(&standby), LONG).await, Outcome::Done);
    let promoted = at(&standby).await;
    assert_eq!((&promoted.system, promoted.timeline), (&of_primary.system, 2));
    assert!(promoted.at >= last.at && !promoted.is_comparable(&last));
}

#[tokio::test]
async fn a_primary_shows_that_it_writes_and_changes_no_table() {
    let secrets = Secrets::right();
    let primary = Server::primary(&[]);
    let position = || primary.sql("SELECT pg_current_wal_flush_lsn() - '0/0'").parse::<u64>().expect("a number");
    let before = position();
    assert_eq!(ask(secrets.of(&primary)).await.answer, Answer::Good);
    assert!(position() > before, "a record is on its disk");
    assert_eq!(primary.sql("SELECT count(*) FROM pg_class WHERE relowner = 'mainstay'::regrole"), "0");
    // Standbys that it should wait for and that are not there are no reason not to answer.
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    primary.sql("SELECT pg_reload_conf()");
    wait_until("the setting", || primary.sql("SHOW synchronous_standby_names") == "nobody");
    assert_eq!(ask(secrets.of(&primary)).await.answer, Answer::Good);
}

#[tokio::test]
async fn what_hangs_or_is_gone_is_found_out_in_time() {
    let secrets = Secrets::right();
    let mut primary = Server::primary(&[]);
    primary.freeze();
    for _ in 0..3 {
        let begun = std::time::Instant::now();
        assert_eq!(ask_in_vain(secrets.of(&primary)).await, Answer::TimedOut);
        assert!(begun.elapsed() < SHORT * 4, "{:?}", begun.elapsed());
    }
    primary.thaw();
    assert_eq!(ask(secrets.of(&primary)).await.answer, Answer::Good);
    primary.kill();
    let answer = ask(secrets.of(&primary)).await.answer;
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
}

/// Whoever accepts and says nothing, and whoever takes no packet at all: a listener whose queue is full drops what comes.
#[tokio::test]
async fn a_black_hole_times_out() {
    let secrets = Secrets::right();
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let full = socket.listen(1).expect("it listens");
    let address = full.local_addr().expect("it is bound");
    assert_eq!(ask_in_vain(secrets.at(address)).await, Answer::TimedOut);
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    let begun = std::time::Instant::now();
    assert_eq!(ask_in_vain(secrets.at(address)).await, Answer::TimedOut);
    assert!(begun.elapsed() < SHORT * 4, "{:?}", begun.elapsed());
    let Outcome::Failed(why) = promote(secrets.at(address), SHORT).await else { panic!("it was promoted") };
    assert!(why.contains("nothing was done"), "{why}");
}

#[tokio::test]
async fn who_is_not_let_in_says_nothing_about_the_server() {
    let primary = Server::primary(&[]);
    let wrong = Secrets::new("hunter2-hunter2");
    let answer = ask(wrong.of(&primary)).await.answer;
    assert!(matches!(answer, Answer::CouldNotAsk(_)), "{answer:?}");
    says(&answer, "does not let `mainstay` in");
    assert!(!format!("{answer:?}").contains("hunter2"), "{answer:?}");
    let none = PostgresServer { password: None, ..wrong.of(&primary) };
    let answer = ask(none).await.answer;
    assert!(matches!(answer, Answer::CouldNotAsk(_)), "{answer:?}");
    says(&answer, "wants a password");
    let missing = PostgresServer { password: Some(Password::File("/nowhere/password".into())), ..wrong.of(&primary) };
    says(&ask(missing).await.answer, "/nowhere/password");
    let right = Secrets::right();
    let database = PostgresServer { database: "orders".to_owned(), ..right.of(&primary) };
    let answer = ask(database).await.answer;
    assert!(matches!(answer, Answer::CouldNotAsk(_)), "{answer:?}");
    says(&answer, "orders");
}

#[tokio::test]
async fn a_changed_password_is_read_again() {
    let primary = Server::primary(&[]);
    let secrets = Secrets::new("an old one");
    let providers = Providers::new();
    let kind = question(secrets.of(&primary));
    assert!(matches!(providers.probe(&kind, LONG).await.answer, Answer::CouldNotAsk(_)));
    std::fs::write(secrets.file(), PASSWORD).expect("it is written");
    assert_eq!(providers.probe(&kind, LONG).await.answer, Answer::Good);
    // The same by a passfile.
    std::fs::write(secrets.file(), format!("127.0.0.1:*:*:mainstay:{PASSWORD}\n")).expect("it is written");
    let passfile = PostgresServer { password: Some(Password::Passfile(secrets.file())), ..secrets.of(&primary) };
    assert_eq!(ask(passfile).await.answer, Answer::Good);
}

#[tokio::test]
async fn a_server_that_can_serve_nobody_is_wrong() {
    let secrets = Secrets::right();
    let primary = Server::primary(&[("max_connections", "5"), ("superuser_reserved_connections", "2")]);
    let port = primary.address().port();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(client(port, "SELECT pg_sleep(600)"));
    }
    wait_until("three clients", || {
        primary.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND query LIKE 'SELECT pg_sleep%'") == "3"
    });
    let answer = ask(secrets.of(&primary)).await.answer;
    assert!(matches!(answer, Answer::Wrong(_)), "{answer:?}");
    says(&answer, "lets nobody in");
    primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'");
    for mut it in clients {
        it.wait().expect("it ends");
    }
    assert_eq!(ask(secrets.of(&primary)).await.answer, Answer::Good);
}

#[tokio::test]
async fn a_server_that_starts_says_so() {
    let secrets = Secrets::right();
    let primary = Server::primary(&[]);
    let mut standby = primary.standby("b", false, &[]);
    standby.stop();
    standby.append("data/postgresql.conf", "restore_command = 'sleep 600'\n");
    standby.start_without_waiting();
    let says_so = |answer: &Answer| matches!(answer, Answer::Wrong(why) if why == "it is starting up");
    let mut answer = ask(secrets.of(&standby)).await.answer;
    while matches!(answer, Answer::Refused(_)) {
        answer = ask(secrets.of(&standby)).await.answer;
    }
    assert!(says_so(&answer), "{answer:?}");
    // What it can't do while it starts is not done.
    let Outcome::Failed(why) = promote(secrets.of(&standby), LONG).await else { panic!("it was promoted") };
    assert_eq!(why, "nothing was done: it is starting up");
    standby.kill();
    standby.append("data/postgresql.conf", "restore_command = ''\nhot_standby = off\n");
    standby.start_without_waiting();
    while !matches!(&answer, Answer::Wrong(why) if why.contains("not accepting connections")) {
        assert!(matches!(answer, Answer::Refused(_)) || says_so(&answer), "{answer:?}");
        answer = ask(secrets.of(&standby)).await.answer;
    }
}

#[tokio::test]
async fn what_is_to_be_done_beside_the_work_is_said_and_is_no_failure() {
    let settings = [("archive_mode", "on"), ("archive_command", "/bin/false"), ("max_wal_size", "32MB")];
    let server = Server::primary(&settings);
    let secrets = Secrets::right();
    let said = async || {
        let got = ask(secrets.of(&server)).await;
        assert_eq!(got.answer, Answer::Good);
        got.concerns.upkeep
    };
    assert_eq!(said().await, None);

    server.sql("SELECT pg_switch_wal()");
    wait_until("the archive fails", || server.sql("SELECT failed_count > 0 FROM pg_stat_archiver") == "t");
    let first = said().await;
    assert!(first.as_deref().is_some_and(|it| it.starts_with("its log is not archived since 0000000100")), "{first:?}");

    server.sql("ALTER SYSTEM SET archive_command = '/bin/true'");
    server.sql("SELECT pg_reload_conf()");
    server.sql("CREATE TABLE rows (it int); SELECT pg_switch_wal()");
    let archived = "SELECT last_archived_time > last_failed_time FROM pg_stat_archiver";
    wait_until("the archive works", || server.sql(archived) == "t");
    assert_eq!(said().await, None);

    server.sql("SELECT pg_create_physical_replication_slot('gone', true)");
    for it in 0..4 {
        server.sql(&format!("INSERT INTO rows VALUES ({it}); SELECT pg_switch_wal()"));
    }
    let kept = said().await;
    assert_eq!(kept.as_deref(), Some("slot gone is used by nobody and keeps more than max_wal_size of the log"));
    server.sql("SELECT pg_drop_replication_slot('gone')");
    assert_eq!(said().await, None);
}
