//! Starting, stopping and killing by the server's own programs.

use mainstay_pgkit::{Server, bin, wait_until};
use mainstay_plan::action::{Service, ServiceOp};

use super::*;

pub(crate) fn files(server: &Server) -> PostgresFiles {
    PostgresFiles {
        data: server.data(),
        bin: bin(),
        config_file: None,
        run_as: server.run_as().map(str::to_owned),
        stop_grace: LONG,
    }
}

pub(crate) async fn operate(server: &Server, op: ServiceOp) -> Outcome {
    let service = Service::Postgres(Box::new(files(server)));
    let order = Order { idempotency_key: "recovery-7/step-2".to_owned(), timeout: LONG, address: None };
    Providers::new().act(&Action::Service { op, service }, &order).await
}

#[tokio::test]
async fn a_server_is_stopped_started_and_restarted() {
    let mut server = Server::primary(&[]);
    let service = Service::Postgres(Box::new(files(&server)));
    let action = Action::Service { op: ServiceOp::Start, service };
    Providers::new().prepare_action(&action).await.expect("its programs are there");
    server.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    for _ in 0..2 {
        assert_eq!(operate(&server, ServiceOp::Stop).await, Outcome::Done);
        assert!(server.processes().is_empty());
    }
    assert!(server.log().contains("received fast shutdown request"), "{}", server.log());
    server.stop();
    for op in [ServiceOp::Start, ServiceOp::Start, ServiceOp::Restart] {
        assert_eq!(operate(&server, op).await, Outcome::Done);
        assert_eq!(server.sql("SELECT n FROM t"), "1");
    }
}

/// Nobody has buried the one that was killed: here its parent, who does not look; in a container that may stay so.
#[tokio::test]
async fn a_server_is_started_beside_the_corpse_of_the_one_before() {
    let server = Server::primary(&[]);
    let first = server.first().expect("it runs");
    assert_eq!(operate(&server, ServiceOp::Kill).await, Outcome::Done);
    let stat = std::fs::read_to_string(format!("/proc/{first}/stat")).expect("its corpse");
    assert!(stat.contains(") Z "), "{stat}");
    assert_eq!(operate(&server, ServiceOp::Start).await, Outcome::Done);
    assert_eq!(server.sql("SELECT 1"), "1");
}

/// `postgres --single`, which only replays the log, writes the negative of its number, and was killed.
#[tokio::test]
async fn a_lock_of_one_that_only_replayed_its_log_keeps_nobody_away() {
    let mut server = Server::primary(&[]);
    server.stop();
    server.write("data/postmaster.pid", &format!("-4194000\n{}\n", server.data().display()));
    for op in [ServiceOp::Stop, ServiceOp::Start] {
        assert_eq!(operate(&server, op).await, Outcome::Done);
    }
    assert_eq!(server.sql("SELECT 1"), "1");
}

/// The first process alone is not all of it.
#[tokio::test]
async fn a_server_is_killed_with_all_its_processes_also_when_it_hangs() {
    let mut server = Server::primary(&[]);
    server.freeze();
    assert!(server.processes().len() > 3);
    for _ in 0..2 {
        assert_eq!(operate(&server, ServiceOp::Kill).await, Outcome::Done);
        assert!(server.processes().is_empty());
    }
    server.start();
    // Its first process is gone, and somebody who is busy has not noticed yet.
    let mut busy = client(server.address().port(), "DO $$ BEGIN LOOP END LOOP; END $$");
    let is_busy =
        || server.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'DO %'") == "1";
    wait_until("somebody who is busy", is_busy);
    server.kill_first();
    wait_until("the others to go", || server.processes().len() == 1);
    assert_eq!(operate(&server, ServiceOp::Kill).await, Outcome::Done);
    assert!(server.processes().is_empty());
    busy.wait().expect("it has lost its server");
    // And another server on this machine is left alone.
    let other = Server::primary(&[]);
    assert_eq!(operate(&server, ServiceOp::Kill).await, Outcome::Done);
    assert_eq!(other.sql("SELECT 1"), "1");
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let mut server = Server::primary(&[]);
    server.stop();
    server.append("data/postgresql.conf", "shared_preload_libraries = 'of_nobody'\n");
    let Outcome::Failed(why) = operate(&server, ServiceOp::Start).await else { panic!("it does not start") };
    assert!(why.contains("could not access file \"of_nobody\""), "{why}");
}

#[tokio::test]
async fn a_server_whose_port_is_taken_says_which() {
    let mut server = Server::primary(&[]);
    server.stop();
    let _taken = std::net::TcpListener::bind(server.address()).expect("it is free");
    let Outcome::Failed(why) = operate(&server, ServiceOp::Start).await else { panic!("it does not start") };
    assert!(why.contains("could not create any TCP/IP sockets"), "{why}");
    assert!(why.contains(&format!("already running on port {}?", server.address().port())), "{why}");
}
