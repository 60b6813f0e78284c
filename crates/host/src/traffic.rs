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
use std::time::Duration;

use mainstay_plan::routing::{RoutingTable, TrafficReply, TrafficReport, TrafficRequest};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::hands::{Hands, Report};

/// The socket's file name in the state directory.
pub const SOCKET: &str = "traffic.sock";

/// How often the process is asked what it serves; this is also the word from the agent that it waits for.
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// After this long without an answer the process hangs.
const HANGS_AFTER: Duration = Duration::from_secs(3);

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
    tables: mpsc::Sender<RoutingTable>,
}

impl TrafficLink {
    /// Keeps a link from now on, in a task of its own, and reports through `hands`.
    pub fn keep(launch: Launch, hands: Hands) -> TrafficLink {
        let (tables, wanted) = mpsc::channel(64);
        tokio::spawn(keep(launch, hands, wanted));
        TrafficLink { tables }
    }

    /// Serves this table as soon as it goes; the acknowledgement is reported.
    pub fn serve(&self, table: RoutingTable) {
        // A full queue means that the process has not answered for 64 tables: it will be asked what it serves when it
        // is back, and given the newest.
        let _ = self.tables.try_send(table);
    }
}

async fn keep(launch: Launch, hands: Hands, mut wanted: mpsc::Receiver<RoutingTable>) {
    let mut last_start: Option<Instant> = None;
    // One answer that is missing may be our own lateness (this process, or the machine, was suspended): only a process
    // that does not answer a new connection either hangs.
    let mut doubted = false;
    while !wanted.is_closed() {
        let connection = match Connection::open(&launch.state_dir).await {
            Ok(connection) => Ok(connection),
            Err(_) => start(&launch, &mut last_start).await,
        };
        let reason = match connection {
            Ok(mut connection) => match serve(&mut connection, &hands, &mut wanted, &mut doubted).await {
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
        hands.report(Report::TrafficLost { reason }).await;
        // What was asked for before the break is superseded by what the engine says once the process is back.
        while wanted.try_recv().is_ok() {}
        sleep(LOOK_AGAIN).await;
    }
}

/// Talks to one process until it is lost (`Err`) or nobody has anything to say any more (`Ok`).
async fn serve(
    connection: &mut Connection,
    hands: &Hands,
    wanted: &mut mpsc::Receiver<RoutingTable>,
    doubted: &mut bool,
) -> io::Result<()> {
    let report = connection.report().await?;
    *doubted = false;
    hands.report(Report::TrafficServes(Box::new(report))).await;
    let mut keep_alive = interval(KEEP_ALIVE);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    keep_alive.tick().await;
    let mut refused: Option<Refused> = None;
    loop {
        tokio::select! {
            table = wanted.recv() => {
                let Some(mut table) = table else { return Ok(()) };
                while let Ok(newer) = wanted.try_recv() {
                    table = newer;
                }
                refused = offer(connection, hands, table, None).await?;
            }
            _ = keep_alive.tick() => {
                // A port that someone else had, a disk that was full: what was in the way may be gone.
                if let Some(Refused { table, reason }) = refused.take() {
                    refused = offer(connection, hands, table, Some(reason)).await?;
                }
                let report = connection.report().await?;
                hands.report(Report::TrafficStands(Box::new(report))).await;
            }
            lost = connection.closed() => return Err(lost),
        }
    }
}

/// A table that the process would not take.
struct Refused {
    table: RoutingTable,
    reason: String,
}

/// Offers a table; given back if it is refused. `known` is the reason of the last refusal, which is not reported again.
async fn offer(
    connection: &mut Connection,
    hands: &Hands,
    table: RoutingTable,
    known: Option<String>,
) -> io::Result<Option<Refused>> {
    let epoch = table.epoch;
    let Err(reason) = connection.apply(table.clone()).await? else {
        hands.report(Report::TrafficApplied { epoch }).await;
        return Ok(None);
    };
    if known.as_ref() != Some(&reason) {
        hands.report(Report::TrafficRefused { epoch, reason: reason.clone() }).await;
    }
    Ok(Some(Refused { table, reason }))
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
    stream: BufReader<UnixStream>,
    pid: Option<u32>,
}

impl Connection {
    async fn open(state_dir: &Path) -> io::Result<Connection> {
        let stream = UnixStream::connect(state_dir.join(SOCKET)).await?;
        let pid = stream.peer_cred().ok().and_then(|it| it.pid()).and_then(|it| u32::try_from(it).ok());
        Ok(Connection { stream: BufReader::new(stream), pid })
    }

    async fn report(&mut self) -> io::Result<TrafficReport> {
        match self.ask(&TrafficRequest::Report {}).await? {
            TrafficReply::Report(report) => Ok(report),
            TrafficReply::Applied { .. } | TrafficReply::Refused { .. } | TrafficReply::Stopping {} => {
                Err(unexpected())
            }
        }
    }

    /// Whether the process serves this table from now on, or why not.
    async fn apply(&mut self, table: RoutingTable) -> io::Result<Result<(), String>> {
        let (epoch, checksum) = (table.epoch, table.checksum());
        match self.ask(&TrafficRequest::Apply { table }).await? {
            TrafficReply::Applied { epoch: served, checksum: sum } if served == epoch && sum == checksum => Ok(Ok(())),
            TrafficReply::Applied { epoch: served, .. } => {
                Ok(Err(format!("it acknowledged another table, of epoch {served}")))
            }
            TrafficReply::Refused { reason, .. } => Ok(Err(reason)),
            TrafficReply::Report(_) | TrafficReply::Stopping {} => Err(unexpected()),
        }
    }

    async fn ask(&mut self, request: &TrafficRequest) -> io::Result<TrafficReply> {
        let exchange = async {
            let mut line = serde_json::to_vec(request)?;
            line.push(b'\n');
            self.stream.write_all(&line).await?;
            let mut answer = Vec::new();
            if self.stream.read_until(b'\n', &mut answer).await? == 0 {
                return Err(closed());
            }
            Ok(serde_json::from_slice(&answer)?)
        };
        let hangs = || {
            io::Error::new(io::ErrorKind::TimedOut, format!("the traffic process does not answer for {HANGS_AFTER:?}"))
        };
        timeout(HANGS_AFTER, exchange).await.unwrap_or_else(|_| Err(hangs()))
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

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the traffic process ended")
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the traffic process said something that is no answer to what was asked")
}
