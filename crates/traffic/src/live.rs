//! What is served right now, and the connections that it lets live.
//!
//! One lock holds the table and the register of connections together. A connection is registered before its target is
//! even dialled, and only if the table allows it; a swap replaces the table and gives every registered connection its
//! order under the same lock. So there is no instant at which a connection to a target that was just fenced is unknown,
//! and an acknowledgement that waits until the register holds no connection with the order to end is true.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use mainstay_plan::routing::{ProxyEntry, RouteCounters, RouteEntry, RoutingTable, TargetEntry};
use rustix::process::{Resource, getrlimit};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::choice::{self, Verdict};
use crate::clock::boot_ms;
use crate::dns::Zones;
use crate::lobby::Lobby;
use crate::slow_start::SlowStart;
use crate::stream::Entrance;

/// How late a machine that was suspended may be to notice that a route's silence is over its limit.
const SILENCE_CHECK_MS: u64 = 200;

/// What a route has counted since the process began.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    pub(crate) unserved: AtomicU64,
    pub(crate) cut: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) queued: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) overdue: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) dns_answers: AtomicU64,
}

/// Descriptors that proxied connections never take: a table that cuts them must still be received and written to disk.
const RESERVED_DESCRIPTORS: u64 = 1024;

/// Pipes for streams; each takes two of the reserved descriptors.
const PIPES: usize = 128;

/// Clients that have not said yet what they want, of one listener.
const FOYER: usize = 1024;

/// How many clients all proxies may have together: each takes two descriptors, its own and its target's.
fn places() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let reserved = RESERVED_DESCRIPTORS.min(limit / 2);
    usize::try_from((limit - reserved) / 2).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// Adds one to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One route of the served table.
#[derive(Debug)]
pub(crate) struct ServedRoute {
    pub(crate) entry: RouteEntry,
    pub(crate) counts: Arc<Counts>,
    pub(crate) lobby: Arc<Lobby>,
    pub(crate) slow_start: SlowStart,
}

/// A proxy's address: what its clients must say before it is known which route they want, and the routes behind it.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// Whose clients begin with a PROXY protocol header.
    pub(crate) proxies: Vec<IpNet>,
    /// Whether some target wants to know for whom a connection comes.
    pub(crate) tells_ends: bool,
    pub(crate) hello_timeout_ms: u64,
    /// For clients that say no name of the others.
    rest: Option<usize>,
    /// By the whole name.
    names: HashMap<String, usize>,
    /// By the name without its first label.
    below: HashMap<String, usize>,
    /// Counts the clients that are gone before they said what they want.
    first: usize,
}

impl Door {
    /// Whether clients are told apart by the TLS server name that they say.
    pub(crate) fn hears_names(&self) -> bool {
        !self.names.is_empty() || !self.below.is_empty()
    }

    /// Whether it may take time until it is known what a client wants.
    pub(crate) fn hears(&self) -> bool {
        self.hears_names() || !self.proxies.is_empty()
    }

    fn add(&mut self, ix: usize, proxy: &ProxyEntry) {
        if self.is_new() {
            (self.first, self.proxies) = (ix, proxy.proxy_protocol_from.clone());
            self.hello_timeout_ms = proxy.hello_timeout_ms;
        }
        self.tells_ends |= proxy.proxy_protocol_to.is_some();
        if proxy.server_names.is_empty() {
            self.rest = Some(ix);
        }
        for name in &proxy.server_names {
            match name.as_str().strip_prefix("*.") {
                Some(parent) => self.below.insert(parent.to_owned(), ix),
                None => self.names.insert(name.as_str().to_owned(), ix),
            };
        }
    }

    fn is_new(&self) -> bool {
        self.rest.is_none() && !self.hears_names()
    }

    /// The route for clients that say this name, or none.
    fn leads_to(&self, name: Option<&str>) -> Option<usize> {
        let named = name.and_then(|name| {
            let below = || self.below.get(name.split_once('.')?.1);
            self.names.get(name).or_else(below)
        });
        named.copied().or(self.rest)
    }
}

/// A routing table, ready to be served.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) table: RoutingTable,
    pub(crate) checksum: String,
    pub(crate) zones: Zones,
    /// It is older than what was acknowledged last: its exclusive routes must wait for the agent.
    pub(crate) is_fallback: bool,
    /// Milliseconds that had passed since it was accepted when this process took it up at `taken_boot_ms`.
    age_before_ms: u64,
    taken_boot_ms: u64,
    routes: Vec<ServedRoute>,
    by_name: HashMap<String, usize>,
    doors: HashMap<SocketAddr, Arc<Door>>,
    /// The addresses whose doors UNIX sockets lead to.
    sockets: HashMap<PathBuf, SocketAddr>,
}

impl Served {
    /// Prepares a table; `before` hands its counters on. Fails on a DNS name that isn't one.
    pub(crate) fn new(table: RoutingTable, before: Option<&Served>) -> Result<Served, String> {
        let zones = Zones::new(&table)?;
        let same = |name: &str| before.and_then(|it| it.named(name));
        let routes: Vec<_> = table
            .routes
            .iter()
            .map(|entry| ServedRoute {
                entry: entry.clone(),
                counts: same(&entry.name).map(|it| Arc::clone(&it.counts)).unwrap_or_default(),
                lobby: same(&entry.name).map(|it| Arc::clone(&it.lobby)).unwrap_or_default(),
                slow_start: SlowStart::new(
                    entry,
                    same(&entry.name).map(|it| (&it.entry, &it.slow_start)),
                    Instant::now(),
                ),
            })
            .collect();
        let by_name = routes.iter().enumerate().map(|(ix, it)| (it.entry.name.clone(), ix)).collect();
        let mut doors: HashMap<SocketAddr, Door> = HashMap::new();
        let mut sockets = HashMap::new();
        for (ix, route) in routes.iter().enumerate() {
            if let Some(proxy) = &route.entry.proxy {
                doors.entry(proxy.listen).or_default().add(ix, proxy);
                sockets.extend(proxy.unix.clone().map(|it| (it, proxy.listen)));
            }
        }
        let doors = doors.into_iter().map(|(listen, door)| (listen, Arc::new(door))).collect();
        let checksum = table.checksum();
        let (is_fallback, age_before_ms, taken_boot_ms) = (false, 0, boot_ms());
        Ok(Served {
            table,
            checksum,
            zones,
            is_fallback,
            age_before_ms,
            taken_boot_ms,
            routes,
            by_name,
            doors,
            sockets,
        })
    }

    /// The same table, as it was found on disk.
    pub(crate) fn aged(self, age_ms: u64, is_fallback: bool) -> Served {
        Served { age_before_ms: age_ms, is_fallback, ..self }
    }

    /// Milliseconds since it was accepted.
    pub(crate) fn age_ms(&self) -> u64 {
        self.age_before_ms.saturating_add(boot_ms().saturating_sub(self.taken_boot_ms))
    }

    /// All routes, in the table's order.
    pub(crate) fn routes(&self) -> &[ServedRoute] {
        &self.routes
    }

    /// The route of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&ServedRoute> {
        self.by_name.get(name).map(|ix| &self.routes[*ix])
    }

    /// What clients meet who connect there.
    pub(crate) fn door(&self, entrance: &Entrance) -> Option<&Arc<Door>> {
        match entrance {
            Entrance::Tcp(listen) => self.doors.get(listen),
            Entrance::Unix(path) => self.doors.get(self.sockets.get(path)?),
        }
    }

    /// The route for clients that connect there and say this name.
    pub(crate) fn behind(&self, entrance: &Entrance, name: Option<&str>) -> Option<&ServedRoute> {
        self.door(entrance)?.leads_to(name).map(|ix| &self.routes[ix])
    }

    /// The route that counts the clients who connect there and don't say what they want.
    pub(crate) fn first_behind(&self, entrance: &Entrance) -> Option<&ServedRoute> {
        self.door(entrance).map(|it| &self.routes[it.first])
    }

    /// Each proxied route has the places that its plan gives it.
    fn resize(&self) {
        for route in &self.routes {
            if let Some(proxy) = &route.entry.proxy {
                route.lobby.resize(proxy.max_connections);
            }
        }
    }

    /// The target whose agent-check is answered there, and its route.
    pub(crate) fn agent_checked_at(&self, listen: SocketAddr) -> Option<(&ServedRoute, &TargetEntry)> {
        self.routes.iter().find_map(|route| {
            let target = route.entry.targets.iter().find(|it| it.agent_check == Some(listen))?;
            Some((route, target))
        })
    }
}

/// What a connection has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Carry on.
    Go,
    /// Carry on until then.
    GoUntil(Instant),
    /// End now, both sides reset.
    Cut,
    /// End now, in order: the process ends.
    Close,
}

#[derive(Debug)]
struct Connection {
    route: String,
    instance: String,
    address: SocketAddr,
    drain_ms: u64,
    counts: Arc<Counts>,
    order: watch::Sender<Order>,
}

#[derive(Debug)]
struct State {
    served: Arc<Served>,
    connections: HashMap<u64, Connection>,
    next_id: u64,
    is_closed: bool,
    /// Another process serves new clients; this one carries what it has to its end.
    is_retired: bool,
}

/// The served table, the register of connections, and the last word from the agent.
#[derive(Debug)]
pub(crate) struct Live {
    state: Mutex<State>,
    places: Arc<Semaphore>,
    pipes: Arc<Semaphore>,
    all_places: usize,
    last_word_ms: AtomicU64,
    /// Whether the agent is on another machine, so that nobody who asks here is it.
    follows: AtomicBool,
    ended: Notify,
    swapped: Notify,
    changed: Notify,
    /// Targets that clients could not reach, until the agent is told.
    unreached: Mutex<BTreeSet<String>>,
    failed: Notify,
}

/// A registered connection. It must outlive its sockets: the register is what an acknowledgement believes.
#[derive(Debug)]
pub(crate) struct Permit {
    live: Arc<Live>,
    id: u64,
    /// What it was registered with.
    pub(crate) granted: Order,
    pub(crate) order: watch::Receiver<Order>,
}

impl Permit {
    /// Where it is registered.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.live.state().connections.remove(&self.id);
        self.live.ended.notify_waiters();
    }
}

impl Live {
    /// Serves `served`; the agent's silence begins now.
    pub(crate) fn new(served: Served) -> Arc<Live> {
        served.resize();
        let state = State {
            served: Arc::new(served),
            connections: HashMap::new(),
            next_id: 0,
            is_closed: false,
            is_retired: false,
        };
        Arc::new(Live {
            state: Mutex::new(state),
            places: Arc::new(Semaphore::new(places())),
            pipes: Arc::new(Semaphore::new(PIPES.min(places() / 8))),
            all_places: places(),
            last_word_ms: AtomicU64::new(boot_ms()),
            follows: AtomicBool::new(false),
            ended: Notify::new(),
            swapped: Notify::new(),
            changed: Notify::new(),
            unreached: Mutex::default(),
            failed: Notify::new(),
        })
    }

    /// The table that is served.
    pub(crate) fn served(&self) -> Arc<Served> {
        Arc::clone(&self.state().served)
    }

    /// A place for one more client of any proxy, while there is one.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A place for one more pipe, while there is one.
    pub(crate) fn pipe(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.pipes).try_acquire_owned().ok()
    }

    /// Clients of one listener that may be there before it is known what they want.
    pub(crate) fn foyer(&self) -> usize {
        (self.all_places / 8).clamp(1, FOYER)
    }

    /// Whether a route that has so many clients would take a place that others may need: the last quarter of all places is
    /// for routes that have less than an equal share.
    pub(crate) fn is_greedy(&self, served: &Served, present: u32) -> bool {
        let proxied = served.routes.iter().filter(|it| it.entry.proxy.is_some()).count().max(1);
        self.places.available_permits() < self.all_places / 4
            && usize::try_from(present).unwrap_or(usize::MAX) > self.all_places / proxied
    }

    /// Whoever asks here is not the agent, which was never heard yet.
    pub(crate) fn follow(&self) {
        self.follows.store(true, Ordering::Relaxed);
        self.last_word_ms.store(0, Ordering::Relaxed);
    }

    /// Somebody said something: the agent, unless that is on another machine.
    pub(crate) fn word(&self) {
        if !self.follows.load(Ordering::Relaxed) {
            self.last_word_ms.fetch_max(boot_ms(), Ordering::Relaxed);
        }
    }

    /// When the agent said something last, by the machine's clock.
    pub(crate) fn word_at_ms(&self) -> u64 {
        self.last_word_ms.load(Ordering::Relaxed)
    }

    /// The agent said something then.
    pub(crate) fn heard_at(&self, at_ms: u64) {
        self.last_word_ms.fetch_max(at_ms, Ordering::Relaxed);
    }

    /// The agent has said nothing since then.
    pub(crate) fn spoken_to_last_at(&self, at_ms: u64) {
        self.last_word_ms.store(at_ms, Ordering::Relaxed);
    }

    /// Every connection, also one that is registered later, goes on for the drain time of its route at most.
    pub(crate) fn retire(&self) {
        let mut state = self.state();
        state.is_retired = true;
        self.give_orders(&state);
    }

    /// Connections go on as before [`Live::retire`].
    pub(crate) fn resume(&self) {
        let mut state = self.state();
        state.is_retired = false;
        self.give_orders(&state);
    }

    /// Whether no proxy has a client.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.available_permits() == self.all_places
    }

    /// Whether the route serves nobody: the agent was silent for too long, or the table may be out of date.
    pub(crate) fn is_cut(&self, served: &Served, route: &RouteEntry) -> bool {
        let stale = served.is_fallback && route.exclusive;
        stale || self.silence_left_ms(route) == Some(0)
    }

    /// Milliseconds until the route is cut for silence.
    fn silence_left_ms(&self, route: &RouteEntry) -> Option<u64> {
        let silent = boot_ms().saturating_sub(self.last_word_ms.load(Ordering::Relaxed));
        route.cut_after_silence_ms.map(|limit| limit.saturating_sub(silent))
    }

    /// Registers a connection to a target, unless the table that is served now doesn't allow it (any more).
    pub(crate) fn register(self: &Arc<Self>, route: &str, target: &TargetEntry) -> Option<Permit> {
        let mut state = self.state();
        let served = Arc::clone(&state.served);
        let found = served.named(route)?;
        let verdict = choice::judge(&found.entry, &target.instance, target.address);
        if state.is_closed || verdict != Verdict::Open || self.is_cut(&served, &found.entry) {
            return None;
        }
        let drain_ms = found.entry.proxy.as_ref().map_or(0, |it| it.drain_ms);
        let drained = Order::GoUntil(Instant::now() + Duration::from_millis(drain_ms));
        let granted = if state.is_retired { drained } else { Order::Go };
        let (sender, order) = watch::channel(granted);
        let id = state.next_id;
        state.next_id += 1;
        let connection = Connection {
            route: route.to_owned(),
            instance: target.instance.clone(),
            address: target.address,
            drain_ms,
            counts: Arc::clone(&found.counts),
            order: sender,
        };
        state.connections.insert(id, connection);
        Some(Permit { live: Arc::clone(self), id, granted, order })
    }

    /// Serves another table and gives every connection its order under it.
    pub(crate) fn swap(&self, served: Served) {
        let mut state = self.state();
        served.resize();
        state.served = Arc::new(served);
        self.give_orders(&state);
        drop(state);
        self.swapped.notify_one();
        self.changed.notify_one();
    }

    /// Waits until every connection that has to end has ended. Returns `false` when `limit` is over first.
    pub(crate) async fn cuts_done(&self, limit: Duration) -> bool {
        let done = async {
            loop {
                let ended = self.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                let pending =
                    self.state().connections.values().any(|it| matches!(*it.order.borrow(), Order::Cut | Order::Close));
                if !pending {
                    return;
                }
                ended.await;
            }
        };
        timeout(limit, done).await.is_ok()
    }

    /// Waits until another table is served; for one waiter.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A client could not reach this target.
    pub(crate) fn target_failed(&self, counts: &Counts, instance: &str) {
        count(&counts.failed);
        if self.unreached().insert(instance.to_owned()) {
            self.failed.notify_one();
        }
    }

    /// Targets that clients could not reach since this was last asked: as soon as there is one, or none after `limit`.
    pub(crate) async fn failures(&self, limit: Duration) -> Vec<String> {
        let one = async {
            loop {
                let failed = std::mem::take(&mut *self.unreached());
                if !failed.is_empty() {
                    return failed.into_iter().collect();
                }
                self.failed.notified().await;
            }
        };
        timeout(limit, one).await.unwrap_or_default()
    }

    fn unreached(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unreached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts routes whose agent is silent for too long, for as long as it is polled.
    pub(crate) async fn watch_silence(&self) {
        loop {
            let left = {
                let state = self.state();
                let left = state.served.routes().iter().filter_map(|it| self.silence_left_ms(&it.entry)).min();
                if left == Some(0) {
                    self.give_orders(&state);
                }
                left
            };
            match left.map(|ms| ms.clamp(1, SILENCE_CHECK_MS)) {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                None => self.swapped.notified().await,
            }
        }
    }

    /// Which routes are cut, in words.
    pub(crate) fn cut_routes(&self) -> Vec<String> {
        let served = self.served();
        let cut = served.routes().iter().filter(|it| self.is_cut(&served, &it.entry));
        cut.map(|it| match it.entry.cut_after_silence_ms {
            Some(limit) if self.silence_left_ms(&it.entry) == Some(0) => {
                format!("route `{}` was cut after {limit} ms without a word from the agent", it.entry.name)
            }
            _ => format!("route `{}` is cut until a table is applied: the last one is lost", it.entry.name),
        })
        .collect()
    }

    /// Ends every connection in order and registers no more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        for connection in state.connections.values() {
            connection.order.send_replace(Order::Close);
        }
    }

    /// The counters of all routes.
    pub(crate) fn counters(&self) -> Vec<RouteCounters> {
        let served = self.served();
        let get = |it: &AtomicU64| it.load(Ordering::Relaxed);
        served
            .routes()
            .iter()
            .map(|route| {
                let (inside, waiting) = route.lobby.numbers();
                RouteCounters {
                    route: route.entry.name.clone(),
                    accepted: get(&route.counts.accepted),
                    open: inside.into(),
                    unserved: get(&route.counts.unserved),
                    cut: get(&route.counts.cut),
                    failed: get(&route.counts.failed),
                    waiting: waiting.into(),
                    queued: get(&route.counts.queued),
                    refused: get(&route.counts.refused),
                    overdue: get(&route.counts.overdue),
                    retried: get(&route.counts.retried),
                    bytes_in: get(&route.counts.bytes_in),
                    bytes_out: get(&route.counts.bytes_out),
                    dns_answers: get(&route.counts.dns_answers),
                }
            })
            .collect()
    }

    fn give_orders(&self, state: &State) {
        for connection in state.connections.values() {
            let route = state.served.named(&connection.route);
            let verdict = match route {
                Some(route) if self.is_cut(&state.served, &route.entry) => Verdict::Cut,
                Some(route) => choice::judge(&route.entry, &connection.instance, connection.address),
                None => Verdict::Drain,
            };
            let verdict = if state.is_retired && verdict == Verdict::Open { Verdict::Drain } else { verdict };
            let drain_ms = route.and_then(|it| it.entry.proxy.as_ref()).map_or(connection.drain_ms, |it| it.drain_ms);
            connection.order.send_if_modified(|order| {
                let next = match (*order, verdict) {
                    (Order::Cut | Order::Close, _) => return false,
                    (_, Verdict::Open) => Order::Go,
                    (_, Verdict::Cut) => Order::Cut,
                    // A second table must not give a drain a second life.
                    (Order::GoUntil(until), Verdict::Drain) => Order::GoUntil(until),
                    (Order::Go, Verdict::Drain) => Order::GoUntil(Instant::now() + Duration::from_millis(drain_ms)),
                };
                if next == Order::Cut {
                    count(&connection.counts.cut);
                }
                let changed = *order != next;
                *order = next;
                changed
            });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment or one insert, so a panic leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use mainstay_plan::routing::RoutingTable;
    use mainstay_plan::routing::TargetState::{self, Fenced, Serving, Standby};

    use super::*;

    /// A table with one exclusive, proxied route to two targets in these states.
    pub(crate) fn table(epoch: u64, states: [TargetState; 2]) -> RoutingTable {
        let target = |n: u8, state| TargetEntry {
            instance: format!("i{n}"),
            address: SocketAddr::from(([127, 0, 0, 1], u16::from(n))),
            unix: None,
            weight: 1,
            agent_check: None,
            state,
        };
        let proxy = ProxyEntry {
            max_connections: 9,
            drain_ms: 60_000,
            ..ProxyEntry::new(SocketAddr::from(([127, 0, 0, 1], 0)))
        };
        let route = RouteEntry {
            name: "r".into(),
            exclusive: true,
            cut_after_silence_ms: None,
            proxy: Some(proxy),
            dns: None,
            beacon: false,
            targets: vec![target(1, states[0]), target(2, states[1])],
        };
        RoutingTable { epoch, routes: vec![route], ..RoutingTable::empty("here") }
    }

    pub(crate) fn served(epoch: u64, states: [TargetState; 2]) -> Served {
        Served::new(table(epoch, states), None).unwrap()
    }

    #[tokio::test]
    async fn a_choice_made_under_an_older_table_is_not_registered() {
        let live = Live::new(served(1, [Serving, Standby]));
        let chosen = live.served().table.routes[0].targets[0].clone();
        assert!(live.register("r", &chosen).is_some());
        live.swap(served(2, [Fenced, Serving]));
        assert!(live.register("r", &chosen).is_none());
        live.swap(served(3, [Standby, Serving]));
        assert!(live.register("r", &chosen).is_none());
        live.close();
        assert!(live.register("r", &live.served().table.routes[0].targets[1]).is_none());
    }

    #[tokio::test]
    async fn a_cut_is_done_when_the_connection_is_gone_and_not_before() {
        let live = Live::new(served(1, [Serving, Standby]));
        let permit = live.register("r", &live.served().table.routes[0].targets[0]).unwrap();
        assert!(live.cuts_done(Duration::from_millis(1)).await);
        live.swap(served(2, [Fenced, Standby]));
        assert_eq!(*permit.order.borrow(), Order::Cut);
        assert!(!live.cuts_done(Duration::from_millis(1)).await);
        live.swap(served(3, [Serving, Standby]));
        assert_eq!(*permit.order.borrow(), Order::Cut, "a cut is never taken back");
        drop(permit);
        assert!(live.cuts_done(Duration::from_millis(1)).await);
    }

    #[tokio::test]
    async fn a_second_table_does_not_prolong_a_drain() {
        let live = Live::new(served(1, [Serving, Standby]));
        let permit = live.register("r", &live.served().table.routes[0].targets[0]).unwrap();
        live.swap(served(2, [Standby, Standby]));
        let order = *permit.order.borrow();
        assert!(matches!(order, Order::GoUntil(_)));
        live.swap(served(3, [TargetState::Down, Standby]));
        assert_eq!(*permit.order.borrow(), order);
        live.swap(served(4, [Serving, Standby]));
        assert_eq!(*permit.order.borrow(), Order::Go);
    }
}
