//! A client that writes every five milliseconds, one write after the other, and remembers each that it was told is there, and by whom.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::{Client, NoTls};

use super::machines::{Machine, Running};
use super::servers::{CLIENT, DATABASE, TABLE};

const EVERY: Duration = Duration::from_millis(5);

/// How long it waits for a connection or an answer before it begins anew.
const GIVES_UP_AFTER: Duration = Duration::from_secs(1);

const TRIES_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// So many writes in a row show that all is well.
const WELL: usize = 100;

/// Of the clock that all processes of this machine share.
pub(crate) fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Prints a line for each acknowledged write: its number, when it was asked for, when it was acknowledged, and by whom.
/// Numbers are counted from `number` in steps of `step`.
pub(crate) fn write(at: SocketAddr, mut number: i64, step: i64) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        loop {
            if let Ok(Some(client)) = timeout(GIVES_UP_AFTER, connect(at)).await {
                let mut pace = interval(EVERY);
                pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
                loop {
                    pace.tick().await;
                    number += step;
                    let asked = now_ns();
                    let statement = format!("INSERT INTO {TABLE} VALUES ($1) RETURNING host(inet_server_addr())");
                    let Ok(Ok(row)) = timeout(GIVES_UP_AFTER, client.query_one(&statement, &[&number])).await else {
                        break;
                    };
                    println!("{number} {asked} {} {}", now_ns(), row.get::<_, String>(0));
                }
            }
            sleep(TRIES_AGAIN_AFTER).await;
        }
    })
}

async fn connect(at: SocketAddr) -> Option<Client> {
    let mut config = tokio_postgres::Config::new();
    config.user(CLIENT).dbname(DATABASE);
    let stream = TcpStream::connect(at).await.ok()?;
    let (client, connection) = config.connect_raw(stream, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

/// An acknowledged write.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) number: i64,
    pub(crate) asked_ns: i64,
    pub(crate) at_ns: i64,
    pub(crate) by: Machine,
}

/// The client on its machine.
pub(crate) struct Writer {
    _process: Running,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Writer {
    /// The `nth` of so many, each with connections and numbers of its own.
    pub(crate) fn start(at: SocketAddr, nth: usize, of: usize) -> Writer {
        let program = std::env::current_exe().expect("a program has a path");
        let mut command = Machine::Clients.command(&program.display().to_string());
        let mut child = command
            .args(["writer", &at.to_string(), &nth.to_string(), &of.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip starts");
        let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(it) = read(&line) {
                    heard.lock().expect("nobody panics").push(it);
                }
            }
        });
        Writer { _process: Running(child), told }
    }

    /// Whether one server has acknowledged the newest writes.
    pub(crate) fn is_served_by(&self, machine: Machine) -> bool {
        let told = self.told.lock().expect("nobody panics");
        told.len() >= WELL && told.iter().rev().take(WELL).all(|it| it.by == machine)
    }

    /// Whether a write was asked for after a moment, and acknowledged by one of these.
    pub(crate) fn is_served_after(&self, ns: i64, by: &[Machine]) -> bool {
        let told = self.told.lock().expect("nobody panics");
        told.iter().any(|it| it.asked_ns > ns && by.contains(&it.by))
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().expect("nobody panics").clone()
    }
}

fn read(line: &str) -> Option<Told> {
    let words: Vec<&str> = line.split(' ').collect();
    let [number, asked, at, by] = words[..] else { return None };
    let by: IpAddr = by.parse().ok()?;
    let by = Machine::ALL.into_iter().find(|it| IpAddr::V4(it.ip()) == by)?;
    Some(Told { number: number.parse().ok()?, asked_ns: asked.parse().ok()?, at_ns: at.parse().ok()?, by })
}
