//! Probes and actions against real PostgreSQL servers, logged in as the role that `docs/postgresql.sql` makes.

mod acts;
mod conformance;
mod probes;
mod rejoins;
mod secured;
mod services;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay_pgkit::{PASSWORD, Server};
use mainstay_plan::action::{Action, Outcome};
use mainstay_plan::observation::Answer;
use mainstay_plan::postgres::{
    Password, PostgresAction, PostgresFiles, PostgresFollow, PostgresOp, PostgresProbe, PostgresServer,
};
use mainstay_plan::probe::{Address, ProbeKind};
use mainstay_providers::{Order, ProbeAnswer, Providers};

/// For what must not time out.
const LONG: Duration = Duration::from_secs(60);

/// For what must time out.
const SHORT: Duration = Duration::from_millis(300);

/// A folder with the password of the role, which goes with its value.
struct Secrets(tempfile::TempDir);

impl Secrets {
    fn new(password: &str) -> Secrets {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("password"), format!("{password}\n")).expect("it is written");
        Secrets(folder)
    }

    fn right() -> Secrets {
        Secrets::new(PASSWORD)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("password")
    }

    fn at(&self, address: SocketAddr) -> PostgresServer {
        PostgresServer {
            address: Address::Socket(address),
            user: "mainstay".to_owned(),
            database: "postgres".to_owned(),
            password: Some(Password::File(self.file())),
            tls: None,
            files: None,
            follow: Some(PostgresFollow { user: "replicator".to_owned(), passfile: None }),
            synchronous: None,
        }
    }

    fn of(&self, server: &Server) -> PostgresServer {
        self.at(server.address())
    }
}

fn question(server: PostgresServer) -> ProbeKind {
    ProbeKind::Postgres(Box::new(PostgresProbe { server, writes: true, only_primary: false }))
}

async fn ask(server: PostgresServer) -> ProbeAnswer {
    Providers::new().probe(&question(server), LONG).await
}

async fn ask_in_vain(server: PostgresServer) -> Answer {
    Providers::new().probe(&question(server), SHORT).await.answer
}

async fn promote(server: PostgresServer, timeout: Duration) -> Outcome {
    act(PostgresAction { server, op: PostgresOp::Promote }, timeout).await
}

async fn follow(server: PostgresServer, leader: PostgresServer, timeout: Duration) -> Outcome {
    act(PostgresAction { server, op: PostgresOp::Follow { leader: Box::new(leader) } }, timeout).await
}

async fn act(action: PostgresAction, timeout: Duration) -> Outcome {
    ordered(action, timeout, "recovery-7/step-2").await
}

async fn ordered(action: PostgresAction, timeout: Duration, key: &str) -> Outcome {
    let order = Order { idempotency_key: key.to_owned(), timeout, address: None };
    Providers::new().act(&Action::Postgres(Box::new(action)), &order).await
}

/// A client that asks one thing.
fn client(port: u16, statement: &str) -> Child {
    let psql = mainstay_pgkit::bin().expect("it is installed").join("psql");
    let port = port.to_string();
    Command::new(psql)
        .args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-c", statement])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql runs")
}
