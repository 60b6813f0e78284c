//! The control socket: one JSON object a line, each answered by one line.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_plan::routing::{FAILURES_WITHIN_MS, TrafficReply, TrafficReport, TrafficRequest};
use mainstay_web::Trouble;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::apply::Applier;
use crate::clock::boot_ms;
use crate::handover::{FORMAT, Successor};
use crate::live::Live;
use crate::proxy;

/// The longest request, in bytes, its newline included.
const LINE_MAX_BYTES: u64 = 8 << 20;
const CLIENTS: usize = 32;
/// As in the standard library.
const BACKLOG: i32 = 128;
/// A client that says nothing for so long is forgotten; agents speak every few seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every client of the socket reaches.
pub(crate) struct Control {
    pub(crate) live: Arc<Live>,
    pub(crate) trouble: Arc<Trouble>,
    pub(crate) applier: Mutex<Applier>,
    /// Cancelled when the process is to end.
    pub(crate) stop: CancellationToken,
    /// Where connections go that ask for everything.
    pub(crate) heirs: mpsc::Sender<UnixStream>,
    pub(crate) successor: Option<Successor>,
}

/// The socket of the process before this one. Clients see from now on that it is ours.
pub(crate) fn inherited(socket: OwnedFd) -> io::Result<UnixListener> {
    // Listening again puts our process id in the place of the other's (unix(7), SO_PEERCRED).
    rustix::net::listen(&socket, BACKLOG)?;
    UnixListener::from_std(socket.into())
}

/// Binds the socket at `path`, for this user alone, in place of one that a dead process left there.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    // Bound beside and renamed: at no instant can anyone connect with more rights than the mode gives.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&beside)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&beside, path)?;
    Ok(listener)
}

/// Serves clients until `ends`, which also forgets those that are connected.
pub(crate) async fn serve(control: Arc<Control>, listener: UnixListener, ends: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CLIENTS));
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = ends.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let client = match accepted {
            Ok((client, _)) => client,
            Err(error) => {
                control.trouble.note("control", format!("control socket: clients can't be accepted: {error}"));
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        control.trouble.clear("control");
        while clients.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let control = Arc::clone(&control);
        clients.spawn(async move {
            // A client that breaks off has its reason; what it asked for is done or not done, and it can ask.
            let _ = serve_client(&control, client).await;
            drop(slot);
        });
    }
    clients.shutdown().await;
}

async fn serve_client(control: &Control, client: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = client.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        timeout(IDLE_TIMEOUT, read_line(&mut reader, &mut line)).await??;
        if line.is_empty() {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let reason = format!("a request ends with a newline within {LINE_MAX_BYTES} bytes");
            return write(&mut writer, &refusal(control, reason)).await;
        }
        match serde_json::from_slice(&line) {
            Ok(TrafficRequest::HandOver { format: FORMAT }) => {
                let stream = reader.into_inner().reunite(writer).map_err(io::Error::other)?;
                // One at a time: a second one is closed, and says so.
                return control.heirs.try_send(stream).map_err(io::Error::other);
            }
            Ok(request) => {
                let reply = answer(control, request).await;
                write(&mut writer, &reply).await?;
                if reply == (TrafficReply::Stopping {}) {
                    info!("asked to stop");
                    control.stop.cancel();
                    return Ok(());
                }
            }
            Err(error) => write(&mut writer, &refusal(control, format!("not a request: {error}"))).await?,
        }
    }
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<usize> {
    reader.take(LINE_MAX_BYTES).read_until(b'\n', line).await
}

async fn write(writer: &mut OwnedWriteHalf, reply: &TrafficReply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply).map_err(io::Error::other)?;
    line.push(b'\n');
    timeout(WRITE_TIMEOUT, writer.write_all(&line)).await?
}

async fn answer(control: &Control, request: TrafficRequest) -> TrafficReply {
    // Reported before the word counts: otherwise nobody could ever see that a route was cut for silence.
    let cut = control.live.cut_routes();
    match &request {
        TrafficRequest::Look { heard_ms } => control.live.heard_at(boot_ms().saturating_sub(*heard_ms)),
        TrafficRequest::Failures {} => {}
        TrafficRequest::Apply { .. }
        | TrafficRequest::Report {}
        | TrafficRequest::Restart {}
        | TrafficRequest::HandOver { .. }
        | TrafficRequest::Stop {} => control.live.word(),
    }
    match request {
        TrafficRequest::Apply { table } => control.applier.lock().await.apply(*table).await,
        TrafficRequest::Report {} | TrafficRequest::Look { .. } => TrafficReply::Report(Box::new(report(control, cut))),
        TrafficRequest::Failures {} => {
            let instances = control.live.failures(Duration::from_millis(FAILURES_WITHIN_MS)).await;
            TrafficReply::Failures { instances }
        }
        TrafficRequest::Restart {} => restart(control),
        TrafficRequest::HandOver { format } => {
            refusal(control, format!("the other process hands over in format {format}, this one in {FORMAT}"))
        }
        TrafficRequest::Stop {} => TrafficReply::Stopping {},
    }
}

fn restart(control: &Control) -> TrafficReply {
    match control.successor.as_ref().map(Successor::start) {
        Some(Ok(pid)) => TrafficReply::Restarting { pid },
        Some(Err(error)) => refusal(control, format!("the new process can't be started: {error}")),
        None => refusal(control, "this process does not know how to start another".to_owned()),
    }
}

fn report(control: &Control, cut: Vec<String>) -> TrafficReport {
    let served = control.live.served();
    proxy::look_for_room(&control.live, &control.trouble);
    let mut trouble = control.trouble.list();
    trouble.extend(cut);
    TrafficReport {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        table: served.table.clone(),
        age_ms: served.age_ms(),
        counters: control.live.counters(),
        trouble,
    }
}

fn refusal(control: &Control, reason: String) -> TrafficReply {
    TrafficReply::Refused { epoch: control.live.served().table.epoch, reason }
}
