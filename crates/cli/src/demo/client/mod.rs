//! Clients that measure outages from their own side.
//!
//! The loop is open: a new request starts every few milliseconds whatever became of those before, so that a server that hangs costs
//! as many requests as one that refuses. Each request has a connection of its own, so that it shows where the route leads
//! *now*.

mod history;
mod postgres;
mod resolver;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::Method;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{self, MissedTickBehavior};

use crate::demo::http::{self, Failure};
pub(crate) use history::{Outage, Request, lost_orders, two_writers};
use resolver::Resolver;

/// From the start of one request to the start of the next.
const SPACING: Duration = Duration::from_millis(5);

/// The same with PostgreSQL, which makes a process for each connection.
const SPACING_OF_POSTGRES: Duration = Duration::from_millis(20);

/// So many in a row without a good answer are an outage, and no jitter.
const NOTICEABLE: u32 = 4;

/// How long one request may take, with resolving and connecting.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Requests under way at a time; those whose turn comes then are skipped.
const MAX_UNDER_WAY: usize = 300;

/// Requests that are remembered: eight minutes of them. After that, all are skipped.
const MAX_HISTORY: usize = 100_000;

/// How the clients reach the server.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    /// They know one address.
    Proxy(SocketAddr),
    /// They ask `server` for the addresses of `name`.
    Dns { server: SocketAddr, name: String, port: u16 },
    /// They know one address, behind which are PostgreSQL servers of these ports and names.
    Postgres { proxy: SocketAddr, names: [(u16, &'static str); 2] },
}

impl Path {
    fn spacing(&self) -> Duration {
        match self {
            Path::Proxy(_) | Path::Dns { .. } => SPACING,
            Path::Postgres { .. } => SPACING_OF_POSTGRES,
        }
    }
}

/// Numbers for orders, unique among all clients that share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids(Arc<AtomicU64>);

impl Ids {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Clients at work on one path. Dropping it ends them.
pub(crate) struct Client {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    sending: JoinHandle<()>,
}

/// What came of all requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Good and failed ones.
    pub(crate) requests: usize,
    pub(crate) good: usize,
    pub(crate) failed: usize,
    /// Never sent, because too many were under way.
    pub(crate) skipped: u64,
    /// Failed ones by what they met.
    pub(crate) failures: BTreeMap<Failure, usize>,
}

struct Shared {
    target: Target,
    spacing: Duration,
    ids: Ids,
    /// In the order in which the requests ended.
    history: Mutex<Vec<Request>>,
    /// The history's length.
    ended: watch::Sender<usize>,
    skipped: AtomicU64,
}

enum Target {
    Fixed(SocketAddr),
    Named { resolver: Resolver, port: u16 },
    Postgres { proxy: SocketAddr, names: [(u16, &'static str); 2] },
}

impl Client {
    /// Starts to send.
    ///
    /// # Errors
    /// When the path's name is no DNS name.
    pub(crate) fn start(path: Path, ids: Ids) -> anyhow::Result<Client> {
        let spacing = path.spacing();
        let target = match path {
            Path::Proxy(address) => Target::Fixed(address),
            Path::Dns { server, name, port } => Target::Named { resolver: Resolver::new(server, &name)?, port },
            Path::Postgres { proxy, names } => Target::Postgres { proxy, names },
        };
        let (history, ended) = (Mutex::default(), watch::Sender::new(0));
        let shared = Arc::new(Shared { target, spacing, ids, history, ended, skipped: AtomicU64::new(0) });
        let (stop, stopped) = watch::channel(false);
        let sending = tokio::spawn(send_all(Arc::clone(&shared), stopped));
        Ok(Client { shared, stop, sending })
    }

    /// The longest interval without a good answer that ended after `mark`, if it is longer than a few requests.
    pub(crate) fn outage_since(&self, mark: Instant) -> Option<Outage> {
        history::outage_since(&self.shared.history(), mark, self.shared.spacing * NOTICEABLE)
    }

    /// All requests that have ended, in the order in which they did.
    pub(crate) fn history(&self) -> Vec<Request> {
        self.shared.history().clone()
    }

    /// Waits for a good answer to a request that started after `instant`: when it came, or `None` at the deadline.
    pub(crate) async fn wait_good_after(&self, instant: Instant, deadline: Instant) -> Option<Instant> {
        let mut good = None;
        let found = |request: &Request| {
            if request.result.is_ok() && request.started > instant {
                good = Some(request.ended);
            }
            good.is_some()
        };
        self.wait(0, found, deadline).await;
        good
    }

    /// Waits for `count` good answers in a row from now on; false when the deadline comes first.
    pub(crate) async fn wait_steady(&self, count: usize, deadline: Instant) -> bool {
        let mut row = 0;
        let from = self.shared.history().len();
        let long_enough = |request: &Request| {
            row = if request.result.is_ok() { row + 1 } else { 0 };
            row >= count
        };
        self.wait(from, long_enough, deadline).await
    }

    /// Ends the sending, waits for the requests under way, and sums up. The history stays.
    pub(crate) async fn stop(&mut self) -> Summary {
        self.stop.send_replace(true);
        if !self.sending.is_finished() {
            // Its panic would be the only error, and has been said.
            let _panicked = (&mut self.sending).await;
        }
        let mut summary = Summary { skipped: self.shared.skipped.load(Ordering::Relaxed), ..Summary::default() };
        for request in self.shared.history().iter() {
            summary.requests += 1;
            match &request.result {
                Ok(_by) => summary.good += 1,
                Err(failure) => {
                    summary.failed += 1;
                    *summary.failures.entry(*failure).or_default() += 1;
                }
            }
        }
        summary
    }

    /// Shows `found` each request from the index on, those to come too, until it says yes or the deadline comes.
    async fn wait(&self, from: usize, mut found: impl FnMut(&Request) -> bool, deadline: Instant) -> bool {
        let mut ended = self.shared.ended.subscribe();
        let look = async {
            let mut seen = from;
            loop {
                ended.mark_unchanged();
                {
                    let history = self.shared.history();
                    if history[seen..].iter().any(&mut found) {
                        return true;
                    }
                    seen = history.len();
                }
                if ended.changed().await.is_err() {
                    return false;
                }
            }
        };
        time::timeout_at(deadline.into(), look).await.unwrap_or(false)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

/// Starts requests in their turns until it is stopped, then waits for those under way.
async fn send_all(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut under_way = JoinSet::new();
    let mut turns = time::interval(shared.spacing);
    // A client that was held up itself would otherwise send all that it missed at once.
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _stop = stopped.wait_for(|stopped| *stopped) => break,
            _turn = turns.tick() => {}
        }
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= MAX_UNDER_WAY || shared.history().len() + under_way.len() >= MAX_HISTORY {
            shared.skipped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let shared = Arc::clone(&shared);
        under_way.spawn(async move { shared.send_one().await });
    }
    while under_way.join_next().await.is_some() {}
}

impl Shared {
    async fn send_one(&self) {
        let id = self.ids.next();
        let started = Instant::now();
        let result = time::timeout(TIMEOUT, self.order(id)).await.unwrap_or(Err(Failure::TimedOut));
        let mut history = self.history();
        // Stamped under the lock, so that the history is in order.
        history.push(Request { id, started, ended: Instant::now(), result });
        self.ended.send_replace(history.len());
    }

    /// Who acknowledged the order.
    async fn order(&self, id: u64) -> Result<Arc<str>, Failure> {
        let address = match &self.target {
            Target::Fixed(address) => *address,
            Target::Named { resolver, port } => SocketAddr::new(resolver.resolve().await?, *port),
            Target::Postgres { proxy, names } => return postgres::order(*proxy, names, id).await,
        };
        let reply = http::ask(address, Method::POST, "/orders", id.to_string()).await?;
        reply.good().map(Arc::from)
    }

    fn history(&self) -> MutexGuard<'_, Vec<Request>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::demo::app::{self, Server};

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    async fn serve() -> SocketAddr {
        let server = Server::bind(ANY, "primary".to_owned(), None).await.expect("a free port");
        let address = server.address();
        tokio::spawn(server.serve());
        address
    }

    async fn post(address: SocketAddr, path: &str, body: String) {
        let reply = http::ask(address, Method::POST, path, body).await.expect("an answer");
        reply.good().expect("done");
    }

    #[tokio::test]
    async fn an_outage_is_seen_from_the_clients_side() {
        let primary = serve().await;
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut client = Client::start(Path::Proxy(primary), Ids::default()).expect("started");
        assert!(client.wait_steady(20, soon()).await);
        post(primary, "/follow", nobody.to_string()).await;
        let broken = Instant::now();
        while client.history().iter().filter(|it| it.started > broken && it.result.is_err()).count() < 20 {
            time::sleep(SPACING).await;
        }
        assert!(!client.wait_steady(1, Instant::now()).await, "the deadline has come");
        let repaired = Instant::now();
        post(primary, "/activate", String::new()).await;
        let good = client.wait_good_after(repaired, soon()).await.expect("a good answer");
        assert!(client.wait_steady(20, soon()).await);

        let outage = client.outage_since(broken).expect("an outage");
        assert!(outage.last_good_before < repaired, "{outage:?}");
        assert!((repaired..=good).contains(&outage.first_good_after), "{outage:?}");
        assert!(outage.failed >= 20, "{outage:?}");

        let summary = client.stop().await;
        assert_eq!(summary.requests, summary.good + summary.failed);
        assert_eq!(summary.failures.keys().copied().collect::<Vec<_>>(), [Failure::Status(503u16.try_into().unwrap())]);
        assert_eq!(client.stop().await, summary, "it has stopped");

        let kept = app::acknowledged(primary, TIMEOUT).await.expect("a list");
        let lost = lost_orders(&client.history(), &kept);
        assert!(lost.len() >= 20, "what was taken before it became a standby was dropped: {lost:?}");
        assert!(two_writers(&client.history(), &["primary"]).is_none());
    }

    #[tokio::test]
    async fn clients_follow_a_name() {
        let primary = serve().await;
        let (server, asked) = resolver::tests::server(|number, reply| {
            if number > 0 {
                resolver::tests::add_address(reply, Ipv4Addr::LOCALHOST, 60);
            }
        })
        .await;
        let path = Path::Dns { server, name: "orders.internal".to_owned(), port: primary.port() };
        let mut client = Client::start(path, Ids::default()).expect("started");
        assert!(client.wait_steady(20, soon()).await);
        let summary = client.stop().await;
        assert_eq!(summary.failures.get(&Failure::NoAddress), Some(&1), "the first answer had no address");
        assert!(asked.load(Ordering::SeqCst) < summary.requests, "answers are kept");
    }

    #[tokio::test]
    async fn orders_are_numbered_across_clients() {
        let primary = serve().await;
        let ids = Ids::default();
        let mut clients = [(); 2].map(|()| Client::start(Path::Proxy(primary), ids.clone()).expect("started"));
        for client in &clients {
            assert!(client.wait_steady(5, soon()).await);
        }
        let mut numbers = Vec::new();
        for client in &mut clients {
            client.stop().await;
            numbers.extend(client.history().into_iter().filter(|it| it.result.is_ok()).map(|it| it.id));
        }
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }
}
