//! Origins that say who they are, and clients that note when they were answered, by whom.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::machines::{Machine, Running};

pub(crate) const PORT: u16 = 8080;

/// From one client to the next, whatever became of the ones before.
const EVERY: Duration = Duration::from_millis(5);

/// How long one waits.
const GIVES_UP_AFTER: Duration = Duration::from_secs(10);

/// So many good answers in a row show that all is well.
const WELL: usize = 40;

/// Of the clock that all processes of this machine share.
pub(crate) fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn block_on(work: impl Future<Output = ()>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(work);
    ExitCode::SUCCESS
}

/// Answers each request with its own name, for ever.
pub(crate) fn serve(name: &str) -> ExitCode {
    let answer = format!("HTTP/1.0 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{name}", name.len());
    block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await.expect("the port is free");
        loop {
            let Ok((mut client, _)) = listener.accept().await else { continue };
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                if client.read(&mut request).await.is_ok_and(|it| it > 0) {
                    let _gone = client.write_all(answer.as_bytes()).await;
                }
            });
        }
    })
}

/// Prints a line for each good answer: when it was asked for, when it was there, and whose it is.
pub(crate) fn ask(at: SocketAddr) -> ExitCode {
    block_on(async {
        let mut pace = interval(EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            pace.tick().await;
            tokio::spawn(async move {
                let began = now_ns();
                if let Ok(Ok(Some(name))) = timeout(GIVES_UP_AFTER, get(at)).await {
                    println!("{began} {} {name}", now_ns());
                }
            });
        }
    })
}

async fn get(at: SocketAddr) -> io::Result<Option<String>> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split_once("\r\n\r\n").map(|it| it.1.to_owned()).filter(|it| !it.is_empty()))
}

fn own(on: Machine, args: &[&str]) -> std::process::Command {
    let program = std::env::current_exe().expect("a program has a path");
    let mut command = on.command(&program.display().to_string());
    command.args(args);
    command
}

/// An origin on a machine.
pub(crate) struct Origin(Running);

impl Origin {
    pub(crate) fn start(on: Machine) -> Origin {
        let child = own(on, &["origin", on.name()]).stdout(Stdio::null()).spawn().expect("ip starts");
        Origin(Running(child))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.0.signal(signal);
    }
}

struct Answer {
    asked_ns: i64,
    at_ns: i64,
    by: String,
}

/// Clients on their machine.
pub(crate) struct Client {
    _process: Running,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Client {
    pub(crate) fn start(at: SocketAddr) -> Client {
        let mut command = own(Machine::Clients, &["client", &at.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("ip starts");
        let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&answers);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let words: Vec<&str> = line.split(' ').collect();
                let [asked, at, by] = words[..] else { continue };
                let (Ok(asked_ns), Ok(at_ns)) = (asked.parse(), at.parse()) else { continue };
                heard.lock().expect("nobody panics").push(Answer { asked_ns, at_ns, by: by.to_owned() });
            }
        });
        Client { _process: Running(child), answers }
    }

    /// Whether it alone has answered for a while.
    pub(crate) fn is_served_by(&self, machine: Machine) -> bool {
        let answers = self.answers.lock().expect("nobody panics");
        answers.len() >= WELL && answers.iter().rev().take(WELL).all(|it| it.by == machine.name())
    }

    /// When it first answered whoever asked after that time.
    pub(crate) fn first_answer_of(&mut self, machine: Machine, after_ns: i64) -> Option<i64> {
        let answers = self.answers.lock().expect("nobody panics");
        let of = answers.iter().filter(|it| it.by == machine.name() && it.asked_ns >= after_ns);
        of.map(|it| it.at_ns).min()
    }
}
