//! Clients that write to every server all the time, whoever takes it, from a machine of their own: each write is a row with a number of its own.
//!
//! They are a process of this very test, begun on the clients' machine. Each acknowledgement becomes a line in a file: the server, when the
//! row was sent and when it was acknowledged, both in nanoseconds since the machine started, and its number.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::network::{Machine, Network};

/// Between two writes.
const EVERY: Duration = Duration::from_millis(5);

/// Between two tries to find out whether somebody takes writes.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a write may take before the client gives it up.
const PATIENCE: Duration = Duration::from_millis(700);

const VARIABLE: &str = "MAINSTAY_LAB_WRITES";

/// Begins them.
pub(super) fn start(network: &Network, to: &Path, servers: &[(&str, String)]) -> Child {
    let program = std::env::current_exe().expect("the test itself");
    let servers: Vec<String> = servers.iter().map(|(name, address)| format!("{name}={address}")).collect();
    network
        .on(Machine::Client, &program)
        .args(["--exact", "servers::writer::is_what_the_clients_run", "--ignored", "--nocapture"])
        .env(VARIABLE, format!("{};{}", to.display(), servers.join(";")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it is there")
}

#[test]
#[ignore = "the process of the clients, which ends with their machine"]
fn is_what_the_clients_run() {
    let said = std::env::var(VARIABLE).expect("it is started by a trial");
    let mut said = said.split(';');
    let file = File::options().create(true).append(true).open(said.next().expect("a file")).expect("it is writable");
    let file = Arc::new(Mutex::new(file));
    let servers = said.enumerate().map(|(nth, server)| {
        let (name, address) = server.split_once('=').expect("NAME=ADDRESS");
        let client =
            Client { name: name.to_owned(), address: address.parse().expect("an address"), file: Arc::clone(&file) };
        std::thread::spawn(move || client.write(nth))
    });
    let servers: Vec<_> = servers.collect();
    // Somebody who answers: who reaches this machine has a path that works.
    let witness = TcpListener::bind("0.0.0.0:9").expect("a machine of its own");
    std::thread::spawn(move || witness.incoming().for_each(drop));
    servers.into_iter().for_each(|it| it.join().expect("it goes on"));
}

struct Client {
    name: String,
    address: SocketAddr,
    file: Arc<Mutex<File>>,
}

impl Client {
    fn write(&self, nth: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut number = i64::try_from(nth).expect("it is small");
        runtime.block_on(async {
            loop {
                if let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(self.address)).await {
                    self.on(stream, &mut number).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// Writes over one connection, until it fails.
    async fn on(&self, stream: TcpStream, number: &mut i64) {
        let mut config = tokio_postgres::Config::new();
        config.user("client").dbname("postgres");
        let opened = timeout(PATIENCE, config.connect_raw(stream, NoTls)).await;
        let Ok(Ok((client, connection))) = opened else { return };
        let driver = tokio::spawn(connection);
        loop {
            // One that was not acknowledged may be there nevertheless: it is never written again.
            *number += 3;
            let (statement, sent) = (format!("INSERT INTO written VALUES ({number})"), now());
            match timeout(PATIENCE, client.batch_execute(&statement)).await {
                Ok(Ok(())) => {
                    let line = format!("{} {sent} {} {number}\n", self.name, now());
                    self.file.lock().expect("nobody panicked").write_all(line.as_bytes()).expect("it is writable");
                    tokio::time::sleep(EVERY).await;
                }
                // A standby says so at once, and may be a primary soon.
                Ok(Err(error)) if error.code().is_some_and(|it| it.code() == "25006") => {
                    tokio::time::sleep(PAUSE).await
                }
                Ok(Err(_)) | Err(_) => break,
            }
        }
        driver.abort();
    }
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).expect("it is later") * 1_000_000_000 + u64::try_from(now.tv_nsec).expect("it is less")
}
