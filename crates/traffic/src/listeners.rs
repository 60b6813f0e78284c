//! The addresses that clients reach. A listener outlives the tables that share it; it is bound before the table that
//! needs it is accepted, and closed after the table that had it is gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use mainstay_plan::routing::RoutingTable;
use mainstay_web::Trouble;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixListener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::live::Live;
use crate::stream::{Entrance, Listener};
use crate::{agent_check, beacon, dns_sockets, proxy, stream};

/// One address and what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Front {
    Proxy(SocketAddr),
    ProxyUnix(PathBuf),
    Dns(SocketAddr),
    Beacon(SocketAddr),
    AgentCheck(SocketAddr),
}

impl Front {
    fn address(&self) -> Entrance {
        match self {
            Front::Proxy(it) | Front::Dns(it) | Front::Beacon(it) | Front::AgentCheck(it) => Entrance::Tcp(*it),
            Front::ProxyUnix(path) => Entrance::Unix(path.clone()),
        }
    }

    fn port(&self) -> Option<u16> {
        match self {
            Front::Proxy(it) | Front::Dns(it) | Front::Beacon(it) | Front::AgentCheck(it) => Some(it.port()),
            Front::ProxyUnix(_) => None,
        }
    }

    /// How many sockets it has.
    pub(crate) fn sockets(&self) -> usize {
        match self {
            Front::Proxy(_) | Front::ProxyUnix(_) | Front::Beacon(_) | Front::AgentCheck(_) => 1,
            Front::Dns(_) => 2,
        }
    }
}

impl fmt::Display for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Front::Proxy(_) | Front::ProxyUnix(_) => "proxy",
            Front::Dns(_) => "dns",
            Front::Beacon(_) => "beacon",
            Front::AgentCheck(_) => "agent-check",
        };
        write!(f, "{what} address {}", self.address())
    }
}

/// Every front that a table needs. Fails when two need one address.
pub(crate) fn fronts(table: &RoutingTable) -> Result<BTreeSet<Front>, String> {
    let targets = table.routes.iter().flat_map(|it| &it.targets);
    let proxies = || table.routes.iter().filter_map(|it| it.proxy.as_ref());
    let all = (proxies().map(|it| Front::Proxy(it.listen)))
        .chain(proxies().filter_map(|it| it.unix.clone()).map(Front::ProxyUnix))
        .chain(table.dns_listen.map(Front::Dns))
        .chain(table.beacon_listen.map(Front::Beacon))
        .chain(targets.filter_map(|it| it.agent_check).map(Front::AgentCheck));
    let mut fronts = BTreeSet::new();
    let mut addresses = BTreeMap::new();
    for front in all {
        // Proxies share an address where server names tell their routes apart, which is checked with the table.
        let other = addresses.insert(front.address(), front.clone());
        if let Some(other) = other.filter(|it| !matches!(it, Front::Proxy(_) | Front::ProxyUnix(_)) || *it != front) {
            return Err(format!("{front} is also the {other}"));
        }
        fronts.insert(front);
    }
    Ok(fronts)
}

/// A front that is bound; clients may already queue, nobody serves them until it is started.
pub(crate) struct Bound {
    front: Front,
    sockets: Vec<OwnedFd>,
    serve: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// A front that is served.
#[derive(Debug)]
struct Open {
    task: JoinHandle<()>,
    /// Lent to the process that takes over.
    sockets: Vec<OwnedFd>,
}

/// The fronts that are served.
#[derive(Debug)]
pub(crate) struct Listeners {
    live: Arc<Live>,
    trouble: Arc<Trouble>,
    open: BTreeMap<Front, Open>,
    /// Cancelled when nobody is accepted any more.
    retires: CancellationToken,
    /// What was served until then.
    kept: Vec<(Front, Vec<OwnedFd>)>,
}

impl Listeners {
    pub(crate) fn new(live: Arc<Live>, trouble: Arc<Trouble>) -> Listeners {
        let (retires, kept) = (CancellationToken::new(), Vec::new());
        Listeners { live, trouble, open: BTreeMap::new(), retires, kept }
    }

    /// Fronts on sockets that are bound already. One that is none is left to be bound anew.
    pub(crate) fn adopt(&self, sockets: Vec<(Front, Vec<OwnedFd>)>) -> Vec<Bound> {
        let mut bound = Vec::new();
        for (front, sockets) in sockets {
            match self.ready(front.clone(), sockets) {
                Ok(it) => bound.push(it),
                Err(error) => self.not_bound(&front, &error),
            }
        }
        bound
    }

    /// Whether nobody is accepted any more.
    pub(crate) fn is_retired(&self) -> bool {
        self.retires.is_cancelled()
    }

    /// What is served, with its sockets in the order that [`Listeners::adopt`] takes.
    pub(crate) fn sockets(&self) -> (Vec<Front>, Vec<BorrowedFd<'_>>) {
        let sockets = self.open.values().flat_map(|it| &it.sockets).map(AsFd::as_fd);
        (self.open.keys().cloned().collect(), sockets.collect())
    }

    /// Accepts nobody any more. What is returned ends when the clients have; those of proxies live apart.
    pub(crate) fn retire(&mut self) -> Vec<JoinHandle<()>> {
        self.retires.cancel();
        let (mut tasks, mut kept) = (Vec::new(), Vec::new());
        for (front, Open { task, sockets }) in std::mem::take(&mut self.open) {
            tasks.push(task);
            kept.push((front, sockets));
        }
        self.kept = kept;
        tasks
    }

    /// Closes the sockets of all other fronts that it had before it retired.
    pub(crate) fn keep(&mut self, fronts: &BTreeSet<Front>) {
        self.kept.retain(|it| fronts.contains(&it.0));
    }

    /// Accepts again, on the sockets that it has kept.
    pub(crate) fn resume(&mut self) {
        self.retires = CancellationToken::new();
        let kept = std::mem::take(&mut self.kept);
        let bound = self.adopt(kept);
        self.start(bound);
    }

    /// Which of `wanted` are not served. A listener whose task has died counts as not served.
    pub(crate) fn missing(&mut self, wanted: &BTreeSet<Front>) -> Vec<Front> {
        self.open.retain(|_, it| !it.task.is_finished());
        wanted.iter().filter(|it| !self.open.contains_key(it)).cloned().collect()
    }

    /// Binds what `wanted` needs and `before` didn't have, without serving it yet. All or nothing: the error names the
    /// first that fails. An address that couldn't be bound before either is tried, and stays a trouble: it must not keep
    /// a fence of some other route from being acknowledged.
    ///
    /// Where one of our own listeners that `wanted` no longer has holds the port (an address that becomes more or less
    /// specific, a port that changes its use), it is closed first; [`Listeners::rebind`] brings it back if the table
    /// is refused after all.
    pub(crate) async fn bind_missing(
        &mut self,
        wanted: &BTreeSet<Front>,
        before: &BTreeSet<Front>,
    ) -> Result<Vec<Bound>, String> {
        let mut bound = Vec::new();
        for front in self.missing(wanted) {
            let mut result = self.bind(&front).await;
            if matches!(&result, Err(error) if error.kind() == io::ErrorKind::AddrInUse)
                && let Some(port) = front.port()
            {
                self.close(|it| it.port() == Some(port) && !wanted.contains(it)).await;
                result = self.bind(&front).await;
            }
            match result {
                Ok(it) => bound.push(it),
                Err(error) if before.contains(&front) => self.not_bound(&front, &error),
                Err(error) => return Err(format!("{front} can't be bound: {error}")),
            }
        }
        Ok(bound)
    }

    /// Serves what was bound.
    pub(crate) fn start(&mut self, bound: Vec<Bound>) {
        for Bound { front, sockets, serve } in bound {
            let task = tokio::spawn(serve);
            self.trouble.clear(&front.to_string());
            self.open.insert(front, Open { task, sockets });
        }
    }

    /// Binds and serves whatever can be; what can't is said in the trouble.
    pub(crate) async fn rebind(&mut self, wanted: &BTreeSet<Front>) {
        for front in self.missing(wanted) {
            match self.bind(&front).await {
                Ok(bound) => self.start(vec![bound]),
                Err(error) => self.not_bound(&front, &error),
            }
        }
    }

    /// Closes what `wanted` doesn't have.
    pub(crate) async fn keep_only(&mut self, wanted: &BTreeSet<Front>, before: &BTreeSet<Front>) {
        self.close(|front| !wanted.contains(front)).await;
        for gone in before.difference(wanted) {
            self.trouble.clear(&gone.to_string());
        }
    }

    fn not_bound(&self, front: &Front, error: &io::Error) {
        self.trouble.note(&front.to_string(), format!("{front} can't be bound: {error}; trying again"));
    }

    async fn bind(&self, front: &Front) -> io::Result<Bound> {
        let sockets = match front {
            Front::ProxyUnix(path) => vec![stream::listen_at(path).await?],
            Front::Proxy(address) | Front::Beacon(address) | Front::AgentCheck(address) => {
                vec![bind_tcp(*address).await?]
            }
            Front::Dns(address) => {
                vec![bind_tcp(*address).await?, UdpSocket::bind(*address).await?.into_std()?.into()]
            }
        };
        self.ready(front.clone(), sockets)
    }

    /// TCP first.
    fn ready(&self, front: Front, sockets: Vec<OwnedFd>) -> io::Result<Bound> {
        let (live, trouble, retires) = (Arc::clone(&self.live), Arc::clone(&self.trouble), self.retires.clone());
        let mut own = sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<VecDeque<_>>>()?;
        let mut next = || own.pop_front().ok_or(io::Error::from(io::ErrorKind::InvalidData));
        let first = next()?;
        let serve: Pin<Box<dyn Future<Output = ()> + Send>> = match &front {
            Front::Proxy(address) => {
                let listener = Listener::Tcp(TcpListener::from_std(first.into())?);
                Box::pin(proxy::serve(live, trouble, Entrance::Tcp(*address), listener, retires))
            }
            Front::ProxyUnix(path) => {
                let listener = Listener::Unix(UnixListener::from_std(first.into())?);
                Box::pin(proxy::serve(live, trouble, Entrance::Unix(path.clone()), listener, retires))
            }
            Front::Beacon(address) => {
                let tcp = TcpListener::from_std(first.into())?;
                Box::pin(beacon::serve(live, trouble, *address, tcp, retires))
            }
            Front::AgentCheck(address) => {
                let tcp = TcpListener::from_std(first.into())?;
                Box::pin(agent_check::serve(live, trouble, *address, tcp, retires))
            }
            Front::Dns(address) => {
                let (tcp, udp) = (TcpListener::from_std(first.into())?, UdpSocket::from_std(next()?.into())?);
                Box::pin(dns_sockets::serve(live, trouble, *address, udp, tcp, retires))
            }
        };
        Ok(Bound { front, sockets, serve })
    }

    /// Closes everything.
    pub(crate) async fn close_all(&mut self) {
        self.close(|_| true).await;
    }

    async fn close(&mut self, goes: impl Fn(&Front) -> bool) {
        let going: Vec<_> = self.open.keys().filter(|it| goes(it)).cloned().collect();
        for front in going {
            if let Some(Open { task, sockets }) = self.open.remove(&front) {
                drop(sockets);
                task.abort();
                // The port is free when the task is gone, and it yields at every client.
                let _ = task.await;
            }
            if let Front::ProxyUnix(path) = &front {
                // Left behind, it is replaced when somebody listens there again.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

async fn bind_tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    Ok(TcpListener::bind(address).await?.into_std()?.into())
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for it in self.open.values() {
            it.task.abort();
        }
    }
}

/// Closes a connection with a reset: the peer learns at once, and bytes still queued are thrown away.
pub(crate) fn reset(stream: TcpStream) {
    // A socket that has lost its peer refuses the option; closing it is then enough.
    let _ = stream.set_zero_linger();
}
