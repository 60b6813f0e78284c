//! The agent's side of hosts on other machines: one link for each, whatever becomes of its connections.
//!
//! Nothing is decided here. A question goes out, an answer comes back, or it is said why none can: a host that is silent makes its
//! probes *could not ask*, which is unknown and never down. An order that went out and whose end was not heard is unknown; one
//! that never went out failed, because nothing was done.

mod crowd;
mod gate;
mod link;
mod path;
mod refusals;
mod registered;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use mainstay_plan::action::{Action, LeaseEnd, Outcome};
use mainstay_plan::observation::{Answer, Concerns};
use mainstay_plan::postgres::PostgresOp;
use mainstay_plan::probe::ProbeKind;
use mainstay_plan::routing::RoutingTable;
use mainstay_plan::{ProbeIx, Time};
use mainstay_providers::{Asking, ProbeAnswer};
use mainstay_wire::message::{
    Act, Answered, Ask, Ended, FromAgent, Head, Held, Hello, PROTOCOL, Promised, Sent, Stands, Welcome,
};
use mainstay_wire::stream::Outgoing;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::copy::growth::Growth;
use crate::copy::sender::Source;
use crate::hands::{Job, Report};
use crate::lease::book::{End, Holding};
use crate::lease::grantor::Grantor;

use refusals::Refusals;

pub(crate) use link::words;
pub use mainstay_wire::message::LeaseTimes;
pub use registered::{Registered, RegisteredHost};

/// How often a host is told again that a lease is taken back, until it is over.
const REVOKES_EVERY: Duration = Duration::from_secs(1);

/// How long after its silence a host is waited for with an order, beyond the time in which it would have been missed.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(3);

/// How long a silent host is waited for that is at work for a series of backups. Whoever asks again under another key finds in the folder what it
/// did, and who waits for longer keeps the machine's other series waiting.
const KEEPS_IN_SILENCE: Duration = Duration::from_secs(300);

/// How long after a stance was sent it is sent again to a host that does not say that it goes by it.
const STANCE_AGAIN: Duration = Duration::from_secs(10);

/// A copy of the journal that lacks something for so long is trouble.
const COPY_IS_LATE: Duration = Duration::from_secs(60);

/// How long it is shown that two machines came under one name.
const TWIN_SHOWN: Duration = Duration::from_secs(60);

/// Who the agent is to its hosts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, for people.
    pub agent: String,
    /// The site that it decides for.
    pub site: String,
    /// The version of its program.
    pub version: String,
    /// How leases are timed; `expires_ms` is also how long either side may be silent.
    pub lease: LeaseTimes,
    /// How much later than a probe's timeout an answer may come.
    pub allowance: Duration,
}

impl Settings {
    /// What a host is told first, on each of its connections.
    fn welcome(&self, host: &str, epoch: u64) -> Welcome {
        Welcome {
            protocol: PROTOCOL,
            host: host.to_owned(),
            agent: self.agent.clone(),
            site: self.site.clone(),
            version: self.version.clone(),
            epoch,
            lease: self.lease,
            paths: true,
        }
    }
}

/// The links to all hosts. Clones share them.
#[derive(Clone)]
pub struct Links {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    clock: Clock,
    reports: mpsc::Sender<Report>,
    grantor: Option<Arc<Grantor>>,
    /// Who may hold leases, as it was said last.
    wanted: watch::Sender<Vec<Holding>>,
    epoch: AtomicU64,
    next_id: AtomicU64,
    /// The number of the stance that all hosts were told of last.
    told: AtomicU64,
    state: Mutex<State>,
    /// The journal that is copied to hosts, if it is.
    source: OnceLock<Source>,
    /// How that journal grew.
    growth: Mutex<Growth>,
    /// The last record of which a host has said that it keeps it.
    copied: watch::Sender<u64>,
    refusals: Mutex<Refusals>,
    /// Why nobody can come in.
    door: Mutex<BTreeMap<SocketAddr, String>>,
}

struct State {
    registered: Arc<Registered>,
    hosts: BTreeMap<String, Host>,
    acts: BTreeMap<u64, Pending>,
}

/// One host.
struct Host {
    /// The number of its last connection.
    nth: u64,
    live: Option<Live>,
    /// Since when it is connected, or silent.
    since: Time,
    /// When it was last heard.
    heard: Option<Time>,
    lost: Option<String>,
    /// When another machine came under its name while it was connected.
    twin: Option<Time>,
    hello: Option<Hello>,
    address: Option<String>,
    rtt: Option<Duration>,
    clock_ahead_ms: Option<i64>,
    /// How long it has not heard us, as it says.
    deaf: Duration,
    holds: Vec<Held>,
    /// By what it goes while we are silent.
    stands: Option<Stands>,
    /// Further paths over which it renews its leases, by the address that it dials.
    paths: BTreeMap<String, path::Beside>,
    /// The number of the stance that was sent to it last, and when.
    stance_sent: Option<(u64, Time)>,
    doing: BTreeMap<String, String>,
    traffic: Option<ServedThere>,
    /// How far its copy of the journal goes, if it keeps one.
    copied: Option<watch::Sender<Head>>,
    asked: BTreeMap<u64, oneshot::Sender<Answered>>,
}

/// A connection that has begun.
struct Live {
    to_host: Outgoing<FromAgent>,
    /// The last renewal, and when it was heard.
    renewed: (u64, Time),
    /// Ends the connection's task.
    replaced: Arc<Notify>,
}

/// An order whose end is not known.
struct Pending {
    host: String,
    job: Job,
    until: Time,
    /// Whether it may have reached the host.
    said: bool,
}

/// What is known of an order that has not ended.
enum Still {
    Wait(Duration),
    Over(Outcome),
}

/// What the traffic process of a host serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedThere {
    /// The epoch of its table.
    pub epoch: u64,
    /// What it can't do at the moment.
    pub trouble: Vec<String>,
}

/// A host, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// Its name.
    pub name: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Since when it is connected, or was not heard any more.
    pub since: Time,
    /// Whether it was ever connected to this agent process.
    pub seen: bool,
    /// Why it was lost.
    pub lost: Option<String>,
    /// Lately, two machines came under its name.
    pub has_twin: bool,
    /// It is heard, but has not heard us for so long.
    pub deaf: Option<Duration>,
    /// Where it dialed from.
    pub address: Option<String>,
    /// What it said of itself.
    pub hello: Option<Hello>,
    /// From a question to its answer, without what the host took for it.
    pub rtt: Option<Duration>,
    /// By how much its wall clock is ahead of ours, in milliseconds.
    pub clock_ahead_ms: Option<i64>,
    /// Whose leases it holds.
    pub holds: Vec<Held>,
    /// What of that it holds by the word of other hosts, because it could not renew it.
    pub stays: Vec<Held>,
    /// To whom it gave its word that nothing on it takes over, and for how long from when it said so.
    pub promised: Vec<Promised>,
    /// Further paths over which it renews its leases: the address that it dials, whether it is heard over it, and since when.
    pub paths: Vec<(String, bool, Time)>,
    /// Orders that it is doing, by key, and how far they are.
    pub doing: BTreeMap<String, String>,
    /// What its traffic process serves.
    pub traffic: Option<ServedThere>,
    /// The last record of its copy of the journal, if it keeps one.
    pub copied: Option<u64>,
    /// How many records that copy lacks, and since when.
    pub copy_lacks: Option<(u64, Time)>,
    /// What it lacks of what the plan will ask of it.
    pub lacks: Vec<String>,
}

impl Links {
    /// Links that stamp with `clock` and report to `reports`; must be made inside a tokio runtime. Nobody is connected yet, and no host is known.
    pub fn new(
        settings: Settings,
        clock: Clock,
        reports: mpsc::Sender<Report>,
        grantor: Option<Arc<Grantor>>,
    ) -> Links {
        let state = State { registered: Arc::default(), hosts: BTreeMap::new(), acts: BTreeMap::new() };
        let (wanted, wishes) = watch::channel(Vec::new());
        let inner = Inner {
            settings,
            wanted,
            clock,
            reports,
            grantor,
            epoch: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            told: AtomicU64::new(0),
            state: Mutex::new(state),
            source: OnceLock::new(),
            growth: Mutex::default(),
            copied: watch::Sender::new(0),
            refusals: Mutex::default(),
            door: Mutex::default(),
        };
        let inner = Arc::new(inner);
        tokio::spawn(keep_granting(Arc::downgrade(&inner), wishes));
        Links { inner }
    }

    /// From the next connection of each host on, those that are to keep the journal get this one.
    pub fn copy_from(&self, source: Source) {
        let mut growing = source.clone();
        let _ = self.inner.source.set(source);
        let links = Arc::downgrade(&self.inner);
        let grown = move |seq| links.upgrade().map(|it| it.growth().grown(seq, it.clock.now()));
        grown(growing.durable());
        tokio::spawn(async move {
            while let Ok(seq) = growing.grows().await {
                if grown(seq).is_none() {
                    return;
                }
            }
        });
    }

    /// Waits until a host keeps the record of that number, or `patience` is over, or none is connected that keeps any. Whether one
    /// does is returned.
    pub async fn is_copied(&self, seq: u64, patience: Duration) -> bool {
        let keeps = |it: &Host| it.live.is_some() && it.copied.is_some();
        if !self.inner.state().hosts.values().any(keeps) {
            return false;
        }
        let mut copied = self.inner.copied.subscribe();
        matches!(timeout(patience, copied.wait_for(|it| *it >= seq)).await, Ok(Ok(_)))
    }

    /// The epoch under which the agent decides from now on.
    pub fn set_epoch(&self, epoch: u64) {
        self.inner.epoch.fetch_max(epoch, Ordering::Relaxed);
    }

    /// From now on these are the hosts. The connection of one that is none any more ends.
    pub fn register(&self, registered: Registered) {
        let now = self.inner.clock.now();
        let mut state = self.inner.state();
        state.hosts.retain(|name, host| {
            let stays = registered.hosts.contains_key(name);
            if let (false, Some(live)) = (stays, &host.live) {
                live.replaced.notify_one();
            }
            stays
        });
        if let Some(grantor) = &self.inner.grantor {
            grantor.may_stay(registered.homes.clone(), self.inner.heard_within());
        }
        for name in registered.hosts.keys() {
            state.hosts.entry(name.clone()).or_insert_with(|| Host::new(now));
        }
        state.registered = Arc::new(registered);
        drop(state);
        let links = self.clone();
        tokio::spawn(async move {
            sleep(links.inner.patience()).await;
            links.say_who_never_came(now).await;
        });
    }

    /// Whoever is a host since then and has not come is silent since then.
    async fn say_who_never_came(&self, since: Time) {
        let silent: Vec<String> = {
            let state = self.inner.state();
            let serves = |name: &String| state.registered.hosts.get(name).is_some_and(|it| it.serves);
            let never = state.hosts.iter().filter(|it| it.1.since == since && it.1.hello.is_none() && serves(it.0));
            never.map(|it| it.0.clone()).collect()
        };
        for process in silent {
            let _ = self.inner.reports.send(Report::TrafficSilent { process, since }).await;
        }
    }

    /// The host that asks a probe.
    pub fn asks(&self, probe: ProbeIx) -> Option<String> {
        self.inner.state().registered.asks(probe).map(str::to_owned)
    }

    /// The host that does this to an instance.
    pub fn does(&self, instance: &str, action: &Action) -> Option<String> {
        self.inner.state().registered.does(instance, action).map(str::to_owned)
    }

    /// The host that performs a job.
    pub(crate) fn performs(&self, job: &Job) -> Option<String> {
        if is_keeping(&job.action) { job.of.keeper.clone() } else { self.does(&job.of.instance, &job.action) }
    }

    /// All hosts, by name.
    pub fn view(&self) -> Vec<HostView> {
        let (state, now) = (self.inner.state(), self.inner.clock.now());
        let deaf_from = self.inner.deaf_from();
        let copied = |it: &Host| it.copied.as_ref().map(|it| it.borrow().seq);
        let growth = self.inner.growth();
        let view = |(name, host): (&String, &Host)| HostView {
            name: name.clone(),
            connected: host.live.is_some(),
            since: if host.live.is_some() { host.since } else { host.heard.unwrap_or(host.since) },
            seen: host.hello.is_some(),
            lost: host.lost.clone(),
            has_twin: host.twin.is_some_and(|it| now.since(it) < TWIN_SHOWN),
            deaf: (host.live.is_some() && host.deaf >= deaf_from).then_some(host.deaf),
            address: host.address.clone(),
            hello: host.hello.clone(),
            rtt: host.rtt,
            clock_ahead_ms: host.clock_ahead_ms,
            holds: host.holds.clone(),
            stays: host.stands.as_ref().map(|it| it.stays.clone()).unwrap_or_default(),
            promised: host.stands.as_ref().map(|it| it.promised.clone()).unwrap_or_default(),
            paths: host.paths.iter().map(|(address, it)| (address.clone(), it.is_up(), it.since)).collect(),
            doing: host.doing.clone(),
            traffic: host.traffic.clone(),
            copied: copied(host),
            copy_lacks: copied(host).and_then(|it| growth.lacks(it)),
            lacks: host.hello.as_ref().map(|it| state.registered.lacks(name, it)).unwrap_or_default(),
        };
        state.hosts.iter().map(view).collect()
    }

    /// Asks a probe on a host.
    ///
    /// # Errors
    /// Why there is no answer: that says nothing about what was asked.
    pub(crate) async fn ask(&self, host: &str, probe: &ProbeKind, asking: Asking) -> Result<ProbeAnswer, String> {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let timeout_ms = u64::try_from(asking.timeout.as_millis()).unwrap_or(u64::MAX);
        let ask = Ask { id, probe: probe.clone(), at: asking.at, from: asking.from, timeout_ms };
        let (sent, answer) = {
            let mut state = self.inner.state();
            let now = self.inner.clock.now();
            let Some(it) = state.hosts.get_mut(host) else { return Err(format!("host {host} is not in the plan")) };
            let Some(live) = &it.live else { return Err(it.silence(host, now)) };
            live.to_host
                .say(&FromAgent::Ask(Box::new(ask)))
                .map_err(|why| format!("host {host} takes no question: {why}"))?;
            let (answered, answer) = oneshot::channel();
            it.asked.insert(id, answered);
            (now, answer)
        };
        let patience = asking.timeout + self.inner.settings.allowance;
        let answered = timeout(patience, answer).await;
        let now = self.inner.clock.now();
        let mut state = self.inner.state();
        let Some(it) = state.hosts.get_mut(host) else {
            return Err(format!("host {host} is not in the plan any more"));
        };
        it.asked.remove(&id);
        match answered {
            Ok(Ok(answered)) => {
                let rtt = now.since(sent).saturating_sub(Duration::from_nanos(answered.took_ns));
                it.rtt = Some(it.rtt.map_or(rtt, |before| (before * 7 + rtt) / 8));
                Ok(of(answered))
            }
            Ok(Err(_)) => Err(it.silence(host, now)),
            Err(_) => Err(format!("host {host} did not answer within {} ms", patience.as_millis())),
        }
    }

    /// Has a host perform a job; its outcome is reported, unless it is cancelled first.
    pub(crate) fn act(&self, host: String, job: Job) {
        let now = self.inner.clock.now();
        let (ticket, until) = (job.ticket, now + job.timeout);
        let mut state = self.inner.state();
        let mut pending = Pending { host, job, until, said: false };
        let live = state.hosts.get(&pending.host).and_then(|it| it.live.as_ref());
        if let Some(live) = live {
            pending.said = live.to_host.say(&self.inner.order(live, &pending, now)).is_ok();
        }
        state.acts.insert(ticket, pending);
        drop(state);
        let links = self.clone();
        tokio::spawn(async move { links.give_up(ticket).await });
    }

    /// Waits until an order has ended, or nobody will say how.
    async fn give_up(&self, ticket: u64) {
        while let Some(still) = self.inner.still(ticket) {
            match still {
                Still::Wait(for_so_long) => sleep(for_so_long).await,
                Still::Over(outcome) => {
                    let _ = self.inner.reports.send(Report::Ended { ticket, outcome }).await;
                    return;
                }
            }
        }
    }

    /// Ends a job that is still being done. Nothing is reported of it any more. `false`: it is none of a host's.
    pub(crate) fn cancel(&self, ticket: u64) -> bool {
        let mut state = self.inner.state();
        let Some(pending) = state.acts.remove(&ticket) else { return false };
        if let Some(live) = state.hosts.get(&pending.host).and_then(|it| it.live.as_ref()) {
            let _ = live.to_host.say(&FromAgent::Cancel { key: pending.job.key });
        }
        true
    }

    /// Has the traffic processes of all hosts serve this table. One that is silent says what it serves when it is back.
    pub fn serve(&self, table: &RoutingTable) {
        let state = self.inner.state();
        for name in state.registered.hosts.iter().filter(|it| it.1.serves).map(|it| it.0) {
            if let Some(live) = state.hosts.get(name).and_then(|it| it.live.as_ref()) {
                let _ = live.to_host.say(&FromAgent::Serve { table: Box::new(table.clone()) });
            }
        }
    }

    /// Tells the hosts of these instances that they hold their leases no more.
    pub fn revoke(&self, all: impl IntoIterator<Item = Holding>) {
        let state = self.inner.state();
        for holding in all {
            let host = state.registered.host_of(&holding.instance);
            if let Some(to_host) = host.and_then(|it| state.hosts.get(it)).and_then(Host::to_host) {
                let Holding { component, instance } = holding;
                let _ = to_host.say(&FromAgent::Revoke(Held { component, instance }));
            }
        }
    }

    /// Takes a lease back, and waits until its instance acts no more.
    pub(crate) fn end_lease(&self, component: &str, instance: &str) -> impl Future<Output = Outcome> + Send + 'static {
        let holding = Holding { component: component.to_owned(), instance: instance.to_owned() };
        let links = self.clone();
        async move {
            let Some(grantor) = links.inner.grantor.clone() else {
                return Outcome::Unknown("this agent grants no leases".to_owned());
            };
            let ended = grantor.ended(&holding);
            tokio::pin!(ended);
            loop {
                // Again and again: a host that was silent may be back.
                links.revoke([holding.clone()]);
                tokio::select! {
                    end = &mut ended => {
                        links.say_stances().await;
                        return Outcome::LeaseOver(match end {
                            End::Released => LeaseEnd::Released,
                            End::RanOut => LeaseEnd::RanOut,
                        });
                    }
                    () = sleep(REVOKES_EVERY) => {}
                }
            }
        }
    }

    /// From now on these may hold leases, and nobody else. Who holds one and may no more is told. Never waits: the book may be
    /// on its way to the disk.
    pub fn grant(&self, wanted: impl IntoIterator<Item = Holding>) {
        self.inner.wanted.send_replace(wanted.into_iter().collect());
    }

    /// What is wrong with hosts, in sentences.
    pub fn trouble(&self) -> Vec<String> {
        let now = self.inner.clock.now();
        let of = |it: HostView| {
            let silent = (!it.connected).then(|| silence(&it.name, it.seen, it.since, now));
            let deaf = it.deaf.map(|for_so_long| {
                format!(
                    "the path from us to host {} is broken: it has not heard us for {:.1} s",
                    it.name,
                    for_so_long.as_secs_f64()
                )
            });
            let twin = it.has_twin.then(|| {
                format!("two machines come as host {}: one of them was copied; revoke it and join it under a name of its own", it.name)
            });
            let late = it.copy_lacks.filter(|(_, since)| now.since(*since) >= COPY_IS_LATE).map(|(records, since)| {
                let for_so_long = now.since(since).as_secs();
                format!("the copy of the journal on host {} lacks {records} records, for {for_so_long} s", it.name)
            });
            let cut = it.paths.iter().filter(|it| !it.1).map(|(address, _, since)| {
                format!("host {} is not heard over {address} for {} s", it.name, now.since(*since).as_secs())
            });
            let cut: Vec<String> = cut.collect();
            silent.into_iter().chain(cut).chain(deaf).chain(twin).chain(late).chain(it.lacks)
        };
        let door = self.inner.door_trouble().clone();
        door.into_values().chain(self.view().into_iter().flat_map(of)).collect()
    }
}

/// Passes on who may hold leases.
async fn keep_granting(links: Weak<Inner>, mut wishes: watch::Receiver<Vec<Holding>>) {
    while wishes.changed().await.is_ok() {
        let wanted = wishes.borrow_and_update().clone();
        let Some(links) = links.upgrade().map(|inner| Links { inner }) else { return };
        let Some(grantor) = links.inner.grantor.clone() else { return };
        match tokio::task::spawn_blocking(move || grantor.want(wanted)).await {
            Ok(unwanted) => {
                links.revoke(unwanted);
                links.say_stances().await;
            }
            Err(error) => tracing::error!(%error, "who may hold leases was not passed on"),
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn door_trouble(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, String>> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn growth(&self) -> MutexGuard<'_, Growth> {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a host may be silent.
    fn patience(&self) -> Duration {
        Duration::from_millis(self.settings.lease.expires_ms)
    }

    /// A host that has heard us so recently lets nobody stay without us.
    fn heard_within(&self) -> Duration {
        Duration::from_millis(self.settings.lease.renew_ms * 2) + self.settings.allowance
    }

    /// A host that has not heard us for so long would not hear an order either.
    fn deaf_from(&self) -> Duration {
        Duration::from_millis(self.settings.lease.renew_ms * 2 + 500)
    }

    fn order(&self, live: &Live, pending: &Pending, now: Time) -> FromAgent {
        let ms = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let Job { action, key, address, of, .. } = &pending.job;
        let (seq, heard) = live.renewed;
        FromAgent::Act(Box::new(Act {
            key: key.clone(),
            recovery: of.recovery,
            step: of.step.clone(),
            attempt: of.attempt,
            epoch: of.epoch,
            sent: Sent { seq, after_ms: ms(now.since(heard)) },
            deadline_ms: ms(pending.until.since(now)),
            instance: of.instance.clone(),
            component: of.component.clone(),
            address: *address,
            needs_lease: of.needs_lease,
            action: action.clone(),
        }))
    }

    /// Whether an order is still waited for; `None`: it has ended.
    fn still(&self, ticket: u64) -> Option<Still> {
        let mut state = self.state();
        let now = self.clock.now();
        let pending = state.acts.get(&ticket)?;
        let last = pending.until + self.settings.allowance;
        let silent = state.hosts.get(&pending.host).filter(|it| it.live.is_none());
        let awaited_for = match (pending.said, is_keeping(&pending.job.action)) {
            (false, _) => Some(self.patience() + COMES_BACK_WITHIN),
            (true, true) => Some(KEEPS_IN_SILENCE),
            (true, false) => None,
        };
        let silent_since = silent.map(|it| it.since.max(it.heard.unwrap_or(Time::ZERO)));
        let until = silent_since.zip(awaited_for).map_or(last, |(since, awaited_for)| last.min(since + awaited_for));
        if now < until {
            return Some(Still::Wait(until.since(now).clamp(Duration::from_millis(1), Duration::from_secs(1))));
        }
        let silence = match silent {
            Some(host) => host.silence(&pending.host, now),
            None => format!("host {} has not said how it ended", pending.host),
        };
        let outcome = match pending.said {
            true => Outcome::Unknown(silence),
            false => Outcome::Failed(format!("{silence}: nothing was done")),
        };
        state.acts.remove(&ticket);
        Some(Still::Over(outcome))
    }

    /// How an order ended, as its host says.
    fn ended(&self, host: &str, ended: Ended) -> Option<Report> {
        let mut state = self.state();
        if let Some(it) = state.hosts.get_mut(host) {
            it.doing.remove(&ended.key);
        }
        let is = |it: &Pending| it.host == host && it.job.key == ended.key && it.job.of.attempt == ended.attempt;
        let ticket = state.acts.iter().find(|it| is(it.1)).map(|it| *it.0)?;
        state.acts.remove(&ticket);
        if ended.done_before {
            tracing::info!(host, key = ended.key, outcome = ended.outcome.word(), "it was done before");
        }
        Some(Report::Ended { ticket, outcome: ended.outcome })
    }
}

impl Host {
    const fn new(now: Time) -> Host {
        Host {
            nth: 0,
            live: None,
            since: now,
            heard: None,
            lost: None,
            twin: None,
            hello: None,
            address: None,
            rtt: None,
            clock_ahead_ms: None,
            deaf: Duration::ZERO,
            holds: Vec::new(),
            stands: None,
            paths: BTreeMap::new(),
            stance_sent: None,
            doing: BTreeMap::new(),
            traffic: None,
            copied: None,
            asked: BTreeMap::new(),
        }
    }

    /// Where something about leases is said to it.
    fn to_host(&self) -> Option<&Outgoing<FromAgent>> {
        let beside = || self.paths.values().find_map(path::Beside::to_host);
        self.live.as_ref().map(|it| &it.to_host).or_else(beside)
    }

    fn silence(&self, name: &str, now: Time) -> String {
        silence(name, self.hello.is_some(), self.heard.unwrap_or(self.since), now)
    }
}

fn silence(name: &str, seen: bool, since: Time, now: Time) -> String {
    let seconds = now.since(since).as_secs();
    match seen {
        true => format!("host {name} is silent for {seconds} s"),
        false => format!("host {name} has not connected since this agent started, {seconds} s ago"),
    }
}

fn of(answered: Answered) -> ProbeAnswer {
    let Answered { answer, lag_ns, role, expiring, upkeep, position, .. } = answered;
    let concerns = Concerns { expiring, upkeep };
    ProbeAnswer { answer, lag: lag_ns.map(Duration::from_nanos), role, concerns, position }
}

/// Whether it is done for a series of backups.
fn is_keeping(action: &Action) -> bool {
    match action {
        Action::Postgres(postgres) => matches!(postgres.op, PostgresOp::Keep(_)),
        Action::Service { .. }
        | Action::Command { .. }
        | Action::TriggerFile { .. }
        | Action::Webhook { .. }
        | Action::EndLease { .. } => false,
    }
}

/// Says why a host can't be asked.
pub(crate) fn could_not_ask(why: String) -> ProbeAnswer {
    Answer::CouldNotAsk(why).into()
}

#[cfg(test)]
mod tests;
