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
mod handover;
mod hello;
mod listeners;
mod live;
mod lobby;
mod notify;
mod proxy;
mod slow_start;
mod stream;

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_plan::routing::RoutingTable;
use mainstay_web::Trouble;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use crate::apply::Applier;
use crate::control::Control;
use crate::disk::{Loaded, OpenError, StateDir};
pub use crate::handover::Successor;
use crate::handover::{Heir, Inherited, LOOK_INTERVAL, Parted, STEP_TIMEOUT};
use crate::live::{Live, Served};

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
    /// Take over from the process that runs, if one does.
    pub take_over: bool,
    /// The agent is on another machine: what is said here of when it was heard is its word, and nothing else is, a table included,
    /// which may have been under way for long. Until then it was never heard.
    pub follows: bool,
    /// How a process that takes over from this one is started; `None`: it can't be asked to.
    pub successor: Option<Successor>,
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
    /// The process that runs does not hand over; it goes on.
    #[error("the traffic process at {} does not hand over", path.display())]
    HandOver {
        /// Its control socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Signals can't be received.
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
}

/// Serves until SIGTERM, SIGINT or a `Stop` request; SIGHUP is ignored. Serves what is on disk before anything is asked.
/// A process that takes over ends it, too, when the connections that it has are at their end.
///
/// It is meant to be all that its process does: it takes over the process's signals and raises its limit of open files
/// to what the system allows. It must run inside a Tokio runtime with I/O and time. When the future is dropped,
/// listeners and connections are closed.
///
/// # Errors
///
/// [`TrafficError`], all at the start: once it serves, nothing but a signal, a request or another process ends it.
pub async fn run(options: Options) -> Result<(), TrafficError> {
    raise_file_limit();
    let mut signals = Signals::new().map_err(TrafficError::Signals)?;
    let trouble = Arc::new(Trouble::default());
    let Beginning { live, applier, control: listener, closes: _closes } = begin(&options, &trouble).await?;
    let stop = CancellationToken::new();
    let _stops: DropGuard = stop.clone().drop_guard();
    let (heirs, mut asking) = mpsc::channel(1);
    let control = Arc::new(Control {
        live: Arc::clone(&live),
        trouble,
        applier: Mutex::new(applier),
        stop: stop.clone(),
        heirs,
        successor: options.successor.clone(),
    });
    let socket_error = |source| TrafficError::Socket { path: options.socket_path(), source };
    let mut clients = Clients::of(&control, listener).map_err(socket_error)?;
    loop {
        let handed_over = async {
            loop {
                let Some(asks) = asking.recv().await else { return pending().await };
                if let Some(handed_over) = hand_over(&control, asks, &mut clients).await {
                    return handed_over;
                }
            }
        };
        let upkeep = async { tokio::join!(live.watch_silence(), mend(&control), notify::notify(&live)) };
        let (heir, small) = tokio::select! {
            _ = upkeep => break,
            () = stop.cancelled() => break,
            () = signals.ends() => break,
            handed_over = handed_over => handed_over,
        };
        let parted = tokio::select! {
            parted = heir.follow(&live, &control.applier, small) => parted,
            () = signals.ends() => Parted::ToldToEnd,
        };
        if parted != Parted::Bereft {
            live.close();
            live.cuts_done(CLOSE_TIMEOUT).await;
            return Ok(());
        }
        info!("the process that had taken over is dead: this one serves again");
        live.resume();
        control.applier.lock().await.resume().await;
        clients.resume(&control);
    }
    stop.cancel();
    // The listeners go before the connections: nobody is let in to be thrown out.
    let listeners_closed = async {
        clients.end().await;
        control.applier.lock().await.close().await;
    };
    if timeout(CLOSE_TIMEOUT, listeners_closed).await.is_err() {
        warn!("some listeners did not close in time");
    }
    live.close();
    if !live.cuts_done(CLOSE_TIMEOUT).await {
        warn!("some connections did not close in time");
    }
    control.applier.lock().await.part().await;
    remove_socket(&options.socket_path());
    Ok(())
}

/// What a process serves when it begins, from its disk or from the process before it.
struct Beginning {
    live: Arc<Live>,
    applier: Applier,
    control: UnixListener,
    closes: CloseOnDrop,
}

async fn begin(options: &Options, trouble: &Arc<Trouble>) -> Result<Beginning, TrafficError> {
    let socket = options.socket_path();
    let deadline = Instant::now() + STEP_TIMEOUT;
    let disk = loop {
        if options.take_over {
            let refused = |source| TrafficError::HandOver { path: socket.clone(), source };
            if let Some(inherited) = Inherited::ask(&socket).await.map_err(refused)? {
                return inherit(options, trouble, inherited).await;
            }
        }
        let path = options.state_dir.clone();
        match StateDir::open(&path) {
            Ok(disk) => break disk,
            // It is beginning, or ending: its lock outlives its socket by a moment.
            Err(OpenError::Locked { .. }) if options.take_over && Instant::now() < deadline => {
                sleep(LOOK_INTERVAL).await
            }
            Err(OpenError::Locked { pid }) => return Err(TrafficError::Locked { path, pid }),
            Err(OpenError::Io(source)) => return Err(TrafficError::StateDir { path, source }),
        }
    };
    let (served, is_saved) = last_table(options, &disk, trouble)?;
    info!(epoch = served.table.epoch, site = options.site, "serving the table from disk");
    let live = Live::new(served);
    if options.follows {
        live.follow();
    }
    let closes = CloseOnDrop(Arc::clone(&live));
    let applier = Applier::start(Arc::clone(&live), Arc::clone(trouble), disk, is_saved).await;
    let control = control::bind(&socket).map_err(|source| TrafficError::Socket { path: socket, source })?;
    Ok(Beginning { live, applier, control, closes })
}

async fn inherit(
    options: &Options,
    trouble: &Arc<Trouble>,
    mut inherited: Inherited,
) -> Result<Beginning, TrafficError> {
    let path = options.socket_path();
    let refused = |source| TrafficError::HandOver { path: path.clone(), source };
    let (lock, control) = (inherited.lock.try_clone(), inherited.control.try_clone());
    let (lock, control) = (lock.map_err(refused)?, control.map_err(refused)?);
    let estate = &inherited.estate;
    if estate.table.site != options.site {
        let (path, site) = (options.state_dir.clone(), options.site.clone());
        return Err(TrafficError::OtherSite { path, found: estate.table.site.clone(), site });
    }
    let served = Served::new(estate.table.clone(), None).map_err(|reason| refused(io::Error::other(reason)))?;
    let (served, is_saved) = (served.aged(estate.age_ms, estate.is_fallback), estate.is_saved);
    let (epoch, word_at_ms) = (served.table.epoch, estate.word_at_ms);
    let live = Live::new(served);
    let closes = CloseOnDrop(Arc::clone(&live));
    if options.follows {
        live.follow();
    }
    live.spoken_to_last_at(word_at_ms);
    let disk = StateDir::inherited(&options.state_dir, lock);
    let sockets = std::mem::take(&mut inherited.sockets);
    let mut applier = Applier::new(Arc::clone(&live), Arc::clone(trouble), disk, is_saved);
    let bound = applier.adopt(sockets);
    let predecessor = inherited.begin(&live).await.map_err(refused)?;
    applier.follow(predecessor, bound).await;
    let control = control::inherited(control).map_err(|source| TrafficError::Socket { path: path.clone(), source })?;
    info!(epoch, site = options.site, "serving the table of the process before");
    Ok(Beginning { live, applier, control, closes })
}

/// Hands everything over to a process that asks for it, and returns what ends when the clients of everything but proxies have.
/// `None`: this one goes on alone.
async fn hand_over(control: &Control, asks: UnixStream, clients: &mut Clients) -> Option<(Heir, Vec<JoinHandle<()>>)> {
    let Ok(mut applier) = timeout(STEP_TIMEOUT, control.applier.lock()).await else {
        let _ = Heir::refuse(asks, "a table is being applied".to_owned()).await;
        return None;
    };
    let (estate, mut sockets) = match applier.estate() {
        Ok(estate) => estate,
        Err(reason) => {
            let _ = Heir::refuse(asks, reason).await;
            return None;
        }
    };
    sockets.insert(1, clients.socket.as_fd());
    match Heir::offer(asks, estate, &sockets).await {
        // The lock is still held: no table comes in between.
        Ok(heir) => {
            clients.end().await;
            let small = applier.retire();
            control.live.retire();
            Some((heir, small))
        }
        Err(error) => {
            warn!(%error, "a new process has not taken over: this one goes on");
            None
        }
    }
}

/// The clients of the control socket.
struct Clients {
    /// Lent to the process that takes over.
    socket: OwnedFd,
    ends: CancellationToken,
    task: JoinHandle<()>,
}

impl Clients {
    fn of(control: &Arc<Control>, listener: UnixListener) -> io::Result<Clients> {
        let (socket, ends) = (listener.as_fd().try_clone_to_owned()?, control.stop.child_token());
        let task = tokio::spawn(control::serve(Arc::clone(control), listener, ends.clone()));
        Ok(Clients { socket, ends, task })
    }

    /// Forgets all of them.
    async fn end(&mut self) {
        self.ends.cancel();
        let _ = (&mut self.task).await;
    }

    /// Serves them again, after the process that had taken over.
    fn resume(&mut self, control: &Arc<Control>) {
        match self.socket.try_clone().and_then(control::inherited).and_then(|it| Clients::of(control, it)) {
            Ok(clients) => *self = clients,
            Err(error) => control.trouble.note("control", format!("control socket: can't be served again: {error}")),
        }
    }
}

/// What the system says to a process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until it is told to end.
    async fn ends(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hangup.recv() => {}
            }
        }
        info!("told to end");
    }
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
