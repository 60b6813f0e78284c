//! The link to the traffic process of this machine: starts it where none runs, finds it again where one does, and gives
//! it tables.
//!
//! The process outlives us on purpose: it is in its own process group and nothing here ends it. When its connection
//! breaks, it is looked for again, and started again if it is gone; when it does not answer twice, it is ended by force first,
//! because a traffic process that hangs serves nobody and holds its ports.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_plan::routing::{RoutingTable, TrafficReply, TrafficReport, TrafficRequest};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::clock::boot_ns;
use crate::hands::{Hands, Report};

/// The socket's file name in the state directory.
pub const SOCKET: &str = "traffic.sock";

/// How often the process is asked what it serves; this is also the word from the agent that it waits for.
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// After this long without an answer the process hangs.
const HANGS_AFTER: Duration = Duration::from_secs(3);

/// A table may take far longer than that: it is synced to a disk, and connections are cut. While it does, the process shows
/// on a second connection that it doesn't hang; it gives up by itself before this.
const APPLIES_WITHIN: Duration = Duration::from_secs(60);

/// A table that was refused (a port that is taken, a full disk) is offered again after this long, then after twice that...
const OFFER_AGAIN: Duration = Duration::from_millis(500);

/// ...up to this.
const OFFER_AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// How long a process that was just started may take until its socket answers.
const STARTS_WITHIN: Duration = Duration::from_secs(5);

/// Between two looks for a socket that is not there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Between two starts, so that a process that ends at once is not started without pause.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// How to start the process.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Where its socket and its log are.
    pub state_dir: PathBuf,
}

/// Hands tables to the process. Only the newest matters.
#[derive(Clone, Debug)]
pub struct TrafficLink {
    newest: watch::Sender<Option<RoutingTable>>,
}

impl TrafficLink {
    /// Keeps a link from now on, in a task of its own, and reports through `hands`.
    /// What is reported is reported of `process`.
    pub fn keep(launch: Launch, hands: Hands, process: &str) -> TrafficLink {
        let (newest, wanted) = watch::channel(None);
        TrafficLink::start(launch, Teller { hands, process: process.to_owned(), heard: None }, newest, wanted)
    }

    /// The same for an agent on another machine: the process is told when that one was last `heard`, in nanoseconds of
    /// `CLOCK_BOOTTIME`, and takes no word of this process for one of the agent's.
    pub(crate) fn keep_for(launch: Launch, hands: Hands, process: &str, heard: Arc<AtomicU64>) -> TrafficLink {
        let (newest, wanted) = watch::channel(None);
        TrafficLink::start(launch, Teller { hands, process: process.to_owned(), heard: Some(heard) }, newest, wanted)
    }

    fn start(
        launch: Launch,
        teller: Teller,
        newest: watch::Sender<Option<RoutingTable>>,
        wanted: watch::Receiver<Option<RoutingTable>>,
    ) -> TrafficLink {
        tokio::spawn(keep(launch, teller, wanted));
        TrafficLink { newest }
    }

    /// Serves this table as soon as it goes; the acknowledgement is reported.
    pub fn serve(&self, table: RoutingTable) {
        self.newest.send_replace(Some(table));
    }
}

/// Reports in the name of one process.
#[derive(Clone)]
struct Teller {
    hands: Hands,
    process: String,
    /// When an agent on another machine was last heard.
    heard: Option<Arc<AtomicU64>>,
}

impl Teller {
    /// How the process is asked what it serves.
    fn question(&self) -> TrafficRequest {
        match &self.heard {
            None => TrafficRequest::Report {},
            Some(heard) => {
                let silent_ns = boot_ns().saturating_sub(heard.load(Ordering::Relaxed));
                TrafficRequest::Look { heard_ms: silent_ns / 1_000_000 }
            }
        }
    }
}

async fn keep(launch: Launch, teller: Teller, mut wanted: watch::Receiver<Option<RoutingTable>>) {
    let mut last_start: Option<Instant> = None;
    // One answer that is missing may be our own lateness (this process, or the machine, was suspended): only a process
    // that does not answer a new connection either hangs.
    let mut doubted = false;
    while wanted.has_changed().is_ok() {
        let connection = match Connection::open(&launch.state_dir).await {
            Ok(connection) => Ok(connection),
            Err(_) => start(&launch, &mut last_start).await,
        };
        let reason = match connection {
            Ok(mut connection) => match serve(&mut connection, &teller, &mut wanted, &mut doubted).await {
                Ok(()) => return,
                Err(error) => {
                    if error.kind() == io::ErrorKind::TimedOut && std::mem::replace(&mut doubted, true) {
                        connection.end_by_force();
                        doubted = false;
                    }
                    error.to_string()
                }
            },
            Err(error) => error.to_string(),
        };
        let process = teller.process.clone();
        teller.hands.report(Report::TrafficLost { process, reason }).await;
        // What was asked for before the break is superseded by what the engine says once the process is back.
        wanted.mark_unchanged();
        sleep(LOOK_AGAIN).await;
    }
}

/// Talks to one process until it is lost (`Err`) or nobody has anything to say any more (`Ok`).
async fn serve(
    connection: &mut Connection,
    teller: &Teller,
    wanted: &mut watch::Receiver<Option<RoutingTable>>,
    doubted: &mut bool,
) -> io::Result<()> {
    let report = connection.report(&teller.question()).await?;
    *doubted = false;
    let process = || teller.process.clone();
    teller.hands.report(Report::TrafficServes { process: process(), report }).await;
    let mut listening = JoinSet::new();
    listening.spawn(hear_failures(connection.state_dir.clone(), teller.hands.clone()));
    let mut keep_alive = interval(KEEP_ALIVE);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    keep_alive.tick().await;
    let mut offer = Offer::default();
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                offer = Offer { table: wanted.borrow_and_update().clone(), ..Offer::default() };
                offer.make(connection, teller).await?;
            }
            _ = keep_alive.tick() => {
                if offer.again.is_some_and(|it| it <= Instant::now()) {
                    offer.make(connection, teller).await?;
                }
                let report = connection.report(&teller.question()).await?;
                teller.hands.report(Report::TrafficStands { process: process(), report }).await;
            }
            lost = connection.closed() => return Err(lost),
        }
    }
}

/// Reports what clients met, heard on a connection of its own, until the process says no more. One of an older version does
/// not know the question: probes alone look then.
async fn hear_failures(state_dir: PathBuf, hands: Hands) {
    let Ok(mut connection) = Connection::open(&state_dir).await else { return };
    while let Ok(TrafficReply::Failures { instances }) = connection.exchange(&TrafficRequest::Failures {}).await {
        if !instances.is_empty() {
            hands.report(Report::ClientsFailed { instances }).await;
        }
    }
}

/// A table that the process does not serve yet.
#[derive(Default)]
struct Offer {
    table: Option<RoutingTable>,
    /// Why it was refused; said once.
    refused: Option<String>,
    pause: Duration,
    again: Option<Instant>,
}

impl Offer {
    async fn make(&mut self, connection: &mut Connection, teller: &Teller) -> io::Result<()> {
        let Some(table) = self.table.clone() else { return Ok(()) };
        let report = connection.apply(table, &teller.process).await?;
        if let Report::TrafficRefused { reason, .. } = &report {
            self.pause = (self.pause * 2).clamp(OFFER_AGAIN, OFFER_AGAIN_AT_MOST);
            self.again = Some(Instant::now() + self.pause);
            if self.refused.replace(reason.clone()).as_ref() == Some(reason) {
                return Ok(());
            }
        } else {
            *self = Offer::default();
        }
        teller.hands.report(report).await;
        Ok(())
    }
}

async fn start(launch: &Launch, last_start: &mut Option<Instant>) -> io::Result<Connection> {
    if let Some(last) = *last_start {
        tokio::time::sleep_until(last + RESTART_PAUSE).await;
    }
    *last_start = Some(Instant::now());
    let log = OpenOptions::new().create(true).append(true).open(launch.state_dir.join("traffic.log"))?;
    let mut child = tokio::process::Command::new(&launch.program)
        .args(&launch.args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(false)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("the traffic process can't be started: {error}")))?;
    tracing::info!(pid = child.id(), "started the traffic process");
    let deadline = Instant::now() + STARTS_WITHIN;
    loop {
        if let Ok(connection) = Connection::open(&launch.state_dir).await {
            // Waited for, so that it does not stay a zombie when it ends before us.
            tokio::spawn(async move { child.wait().await });
            return Ok(connection);
        }
        if let Some(status) = child.try_wait()? {
            let log = launch.state_dir.join("traffic.log");
            let text = format!("the traffic process ended at once ({status}): {}", last_line(&log));
            return Err(io::Error::other(text));
        }
        if Instant::now() >= deadline {
            let text = format!("the traffic process did not answer within {STARTS_WITHIN:?} of its start");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().map_or_else(|| format!("see {}", log.display()), str::to_owned)
}

/// One connection to a traffic process: a line of JSON each way.
struct Connection {
    state_dir: PathBuf,
    stream: BufReader<UnixStream>,
    pid: Option<u32>,
}

impl Connection {
    async fn open(state_dir: &Path) -> io::Result<Connection> {
        let stream = UnixStream::connect(state_dir.join(SOCKET)).await?;
        let pid = stream.peer_cred().ok().and_then(|it| it.pid()).and_then(|it| u32::try_from(it).ok());
        Ok(Connection { state_dir: state_dir.to_owned(), stream: BufReader::new(stream), pid })
    }

    async fn report(&mut self, question: &TrafficRequest) -> io::Result<Box<TrafficReport>> {
        match self.ask(question).await? {
            TrafficReply::Report(report) => Ok(report),
            TrafficReply::Applied { .. }
            | TrafficReply::Refused { .. }
            | TrafficReply::Failures { .. }
            | TrafficReply::Restarting { .. }
            | TrafficReply::Stopping {} => Err(unexpected()),
        }
    }

    async fn apply(&mut self, table: RoutingTable, process: &str) -> io::Result<Report> {
        let process = process.to_owned();
        let (epoch, checksum) = (table.epoch, table.checksum());
        match self.ask_patiently(&TrafficRequest::Apply { table: Box::new(table) }).await? {
            TrafficReply::Applied { epoch: served, checksum: sum } if served == epoch && sum == checksum => {
                Ok(Report::TrafficApplied { process, epoch })
            }
            TrafficReply::Applied { epoch: served, .. } => {
                let reason = format!("it acknowledged another table, of epoch {served}");
                Ok(Report::TrafficRefused { process, epoch, reason })
            }
            TrafficReply::Refused { reason, .. } => Ok(Report::TrafficRefused { process, epoch, reason }),
            TrafficReply::Report(_)
            | TrafficReply::Failures { .. }
            | TrafficReply::Restarting { .. }
            | TrafficReply::Stopping {} => Err(unexpected()),
        }
    }

    async fn ask(&mut self, request: &TrafficRequest) -> io::Result<TrafficReply> {
        timeout(HANGS_AFTER, self.exchange(request)).await.unwrap_or_else(|_| Err(hangs()))
    }

    /// Waits for as long as the process answers others.
    async fn ask_patiently(&mut self, request: &TrafficRequest) -> io::Result<TrafficReply> {
        let (state_dir, deadline) = (self.state_dir.clone(), Instant::now() + APPLIES_WITHIN);
        let exchange = self.exchange(request);
        tokio::pin!(exchange);
        loop {
            if let Ok(reply) = timeout(HANGS_AFTER, &mut exchange).await {
                return reply;
            }
            if Instant::now() >= deadline {
                return Err(io::Error::other(format!("a routing table took longer than {APPLIES_WITHIN:?}")));
            }
            let another = async {
                Box::pin(Connection::open(&state_dir).await?.report(&TrafficRequest::Look { heard_ms: u64::MAX })).await
            };
            timeout(HANGS_AFTER, another).await.unwrap_or_else(|_| Err(hangs()))?;
        }
    }

    async fn exchange(&mut self, request: &TrafficRequest) -> io::Result<TrafficReply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.write_all(&line).await?;
        let mut answer = Vec::new();
        if self.stream.read_until(b'\n', &mut answer).await? == 0 {
            return Err(closed());
        }
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Ends when the process closes the connection, which it does only by ending.
    async fn closed(&mut self) -> io::Error {
        match self.stream.fill_buf().await {
            Ok([]) => closed(),
            Ok(_) => unexpected(),
            Err(error) => error,
        }
    }

    fn end_by_force(&self) {
        let Some(pid) = self.pid.and_then(|it| i32::try_from(it).ok()).and_then(Pid::from_raw) else { return };
        tracing::warn!(pid = pid.as_raw_nonzero().get(), "the traffic process hangs and is ended by force");
        let ended = pidfd_open(pid, PidfdFlags::empty()).and_then(|it| pidfd_send_signal(it, Signal::KILL));
        if let Err(error) = ended {
            tracing::warn!(%error, "the traffic process can't be ended");
        }
    }
}

fn hangs() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the traffic process does not answer for {HANGS_AFTER:?}"))
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the traffic process ended")
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the traffic process said something that is no answer to what was asked")
}

#[cfg(test)]
mod tests {
    use mainstay_plan::Time;
    use tokio::net::UnixListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::clock::Clock;

    fn table(epoch: u64) -> RoutingTable {
        RoutingTable { epoch, ..RoutingTable::empty("here") }
    }

    /// A traffic process that answers reports at once, and each table as `answer` says, by its number from 0.
    fn process(dir: &Path, answer: impl Fn(usize, &RoutingTable) -> (Duration, TrafficReply) + Send + Clone + 'static) {
        let listener = UnixListener::bind(dir.join(SOCKET)).unwrap();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut client = BufReader::new(client);
                    let (mut line, mut tables) = (String::new(), 0);
                    while client.read_line(&mut line).await.unwrap_or(0) > 0 {
                        let reply = match serde_json::from_str(&line).unwrap() {
                            TrafficRequest::Apply { table } => {
                                let (after, reply) = answer(tables, &table);
                                tables += 1;
                                sleep(after).await;
                                reply
                            }
                            TrafficRequest::Report {}
                            | TrafficRequest::Look { .. }
                            | TrafficRequest::Failures {}
                            | TrafficRequest::Restart {}
                            | TrafficRequest::HandOver { .. }
                            | TrafficRequest::Stop {} => TrafficReply::Report(Box::new(TrafficReport {
                                pid: 0,
                                version: String::new(),
                                table: table(0),
                                age_ms: 0,
                                counters: Vec::new(),
                                trouble: Vec::new(),
                            })),
                        };
                        let reply = serde_json::to_string(&reply).unwrap() + "\n";
                        client.write_all(reply.as_bytes()).await.unwrap();
                        line.clear();
                    }
                });
            }
        });
    }

    fn applied(table: &RoutingTable) -> TrafficReply {
        TrafficReply::Applied { epoch: table.epoch, checksum: table.checksum() }
    }

    /// What is reported of tables, in words, until one is served.
    async fn until_served(dir: &Path, epoch: u64) -> Vec<String> {
        let (reports, mut heard) = mpsc::channel(64);
        let launch = Launch { program: "false".into(), args: Vec::new(), state_dir: dir.to_owned() };
        let link = TrafficLink::keep(launch, Hands::new(Clock::start(Time::ZERO), reports, dir), "here");
        let mut told = Vec::new();
        while let Some(report) = heard.recv().await {
            match report {
                Report::TrafficServes { .. } => link.serve(table(epoch)),
                Report::TrafficApplied { epoch, .. } => {
                    told.push(format!("applied {epoch}"));
                    break;
                }
                Report::TrafficRefused { reason, .. } | Report::TrafficLost { reason, .. } => told.push(reason),
                Report::TrafficStands { .. }
                | Report::ClientsFailed { .. }
                | Report::Observed(_)
                | Report::AllObserved(_)
                | Report::Ended { .. }
                | Report::Told { .. }
                | Report::HostRefused { .. }
                | Report::TrafficSilent { .. }
                | Report::Unprepared { .. } => {}
            }
        }
        told
    }

    #[tokio::test]
    async fn a_refused_table_is_offered_again() {
        let dir = tempfile::tempdir().unwrap();
        process(dir.path(), |nth, table| {
            let refused = TrafficReply::Refused { epoch: 0, reason: "the port is taken".to_owned() };
            (Duration::ZERO, if nth < 2 { refused } else { applied(table) })
        });
        assert_eq!(until_served(dir.path(), 3).await, ["the port is taken", "applied 3"]);
    }

    #[tokio::test]
    async fn a_process_whose_disk_is_slow_does_not_hang() {
        let dir = tempfile::tempdir().unwrap();
        process(dir.path(), |_, table| (HANGS_AFTER + Duration::from_millis(200), applied(table)));
        assert_eq!(until_served(dir.path(), 3).await, ["applied 3"]);
    }
}
