//! Traffic: serves the last routing table that it accepted, and goes on when everything else of Mainstay is dead.
//!
//! It knows no reasons and decides nothing. A table comes in over a UNIX socket ([`mainstay_plan::routing`] holds the
//! protocol), is written to disk, served in one swap and then acknowledged. Clients reach the targets of its routes
//! through a TCP proxy, authoritative DNS, HTTP beacons, or a HAProxy that asks its agent-check answers.
//!
//! What an acknowledgement promises: the table outlives a power cut, its listeners are bound, every new client is sent
//! where it says, and every connection that it cuts is closed. `apply` keeps this order; `live` keeps connections
//! and table together; `choice` alone decides who may reach what.
//!
//! This crate depends on `mainstay-plan` and on nothing else of Mainstay.

mod agent_check;
mod apply;
mod beacon;
mod choice;
mod clock;
mod control;
mod disk;
mod dns;
mod dns_rate;
mod dns_sockets;
mod forward;
mod greeting;
mod hello;
mod listeners;
mod live;
mod lobby;
mod notify;
mod proxy;
mod trouble;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_plan::routing::RoutingTable;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use crate::apply::Applier;
use crate::control::Control;
use crate::disk::{Loaded, OpenError, StateDir};
use crate::live::{Live, Served};
use crate::trouble::Trouble;

/// How often addresses that could not be bound are tried again.
const MEND_INTERVAL: Duration = Duration::from_secs(1);
/// For open connections to close when the process ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a traffic process needs to know; everything else stands in its routing table.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the routing table, the lock and the socket are. Created if it is missing, for this user alone.
    pub state_dir: PathBuf,
    /// The site that it serves; tables of other sites are refused.
    pub site: String,
    /// The control socket; `traffic.sock` in the state directory if `None`.
    pub socket: Option<PathBuf>,
}

impl Options {
    /// The control socket's path.
    pub fn socket_path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.state_dir.join("traffic.sock"))
    }
}

/// Why a traffic process can't start.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// The state directory can't be used.
    #[error("state directory {} can't be used", path.display())]
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another traffic process uses the state directory.
    #[error("state directory {} belongs to another traffic process (pid {pid}): stop it, or name another directory", path.display())]
    Locked {
        /// Which.
        path: PathBuf,
        /// The other process, or `unknown`.
        pid: String,
    },
    /// The state directory holds another site's routing table.
    #[error("state directory {} holds the routing table of site `{found}`, not of `{site}`: name another directory", path.display())]
    OtherSite {
        /// Which.
        path: PathBuf,
        /// Whose table it is.
        found: String,
        /// Who we are.
        site: String,
    },
    /// The control socket can't be bound.
    #[error("control socket {} can't be bound", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Signals can't be received.
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
}

/// Serves until SIGTERM, SIGINT or a `Stop` request; SIGHUP is ignored. Serves what is on disk before anything is asked.
///
/// It is meant to be all that its process does: it takes over the process's signals and raises its limit of open files
/// to what the system allows. It must run inside a Tokio runtime with I/O and time. When the future is dropped,
/// listeners and connections are closed.
///
/// # Errors
///
/// [`TrafficError`], all at the start: once it serves, nothing but a signal or a request ends it.
pub async fn run(options: Options) -> Result<(), TrafficError> {
    raise_file_limit();
    let mut terminate = signal(SignalKind::terminate()).map_err(TrafficError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(TrafficError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(TrafficError::Signals)?;

    let path = &options.state_dir;
    let disk = StateDir::open(path).map_err(|error| match error {
        OpenError::Locked { pid } => TrafficError::Locked { path: path.clone(), pid },
        OpenError::Io(source) => TrafficError::StateDir { path: path.clone(), source },
    })?;
    let trouble = Arc::new(Trouble::default());
    let (served, is_saved) = last_table(&options, &disk, &trouble)?;
    info!(epoch = served.table.epoch, site = options.site, "serving the table from disk");
    let live = Live::new(served);
    let _closes = CloseOnDrop(Arc::clone(&live));
    let applier = Applier::start(Arc::clone(&live), Arc::clone(&trouble), disk, is_saved).await;

    let socket = options.socket_path();
    let listener = control::bind(&socket).map_err(|source| TrafficError::Socket { path: socket.clone(), source })?;
    let stop = CancellationToken::new();
    let _stops: DropGuard = stop.clone().drop_guard();
    let control =
        Arc::new(Control { live: Arc::clone(&live), trouble, applier: Mutex::new(applier), stop: stop.clone() });
    let clients = tokio::spawn(control::serve(Arc::clone(&control), listener));
    let upkeep = async { tokio::join!(live.watch_silence(), mend(&control), notify::notify(&live)) };
    let ignored = async { while hangup.recv().await.is_some() {} };
    tokio::select! {
        _ = async { tokio::join!(upkeep, ignored) } => {}
        () = stop.cancelled() => {}
        _ = terminate.recv() => info!("told to end"),
        _ = interrupt.recv() => info!("told to end"),
    }
    stop.cancel();
    // The listeners go before the connections: nobody is let in to be thrown out.
    let listeners_closed = async {
        let _ = clients.await;
        control.applier.lock().await.close().await;
    };
    if timeout(CLOSE_TIMEOUT, listeners_closed).await.is_err() {
        warn!("some listeners did not close in time");
    }
    live.close();
    if !live.cuts_done(CLOSE_TIMEOUT).await {
        warn!("some connections did not close in time");
    }
    remove_socket(&socket);
    Ok(())
}

/// Ends the connections' tasks when [`run`] is given up half-way.
struct CloseOnDrop(Arc<Live>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The table to begin with, and whether the disk holds it as the current one.
fn last_table(options: &Options, disk: &StateDir, trouble: &Trouble) -> Result<(Served, bool), TrafficError> {
    let Loaded { table, age_ms, is_fallback, trouble: damage } = disk.load();
    if let Some(damage) = damage {
        trouble.note("disk", damage);
    }
    if let Some(table) = table {
        if table.site != options.site {
            let (path, site) = (options.state_dir.clone(), options.site.clone());
            return Err(TrafficError::OtherSite { path, found: table.site, site });
        }
        match Served::new(table, None) {
            Ok(served) => return Ok((served.aged(age_ms, is_fallback), !is_fallback)),
            Err(reason) => trouble.note("table", format!("the table on disk can't be served: {reason}")),
        }
    }
    let empty = Served::new(RoutingTable::empty(&options.site), None);
    Ok((empty.expect("a table without routes has no name that could be wrong"), false))
}

async fn mend(control: &Control) {
    loop {
        sleep(MEND_INTERVAL).await;
        control.applier.lock().await.mend().await;
    }
}

/// Each connection takes two descriptors, and the usual soft limit of 1024 is there for `select`, which nobody uses here.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        warn!(%error, "the limit of open files can't be raised");
    }
}

fn remove_socket(path: &Path) {
    // Left behind, it is replaced at the next start.
    if let Err(error) = std::fs::remove_file(path) {
        warn!(%error, "the control socket can't be removed");
    }
}
