//! The loop of the host process. What becomes of orders is in [`doing`].

mod doing;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_plan::Time;
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::{Answer, Concerns};
use mainstay_plan::routing::{RoutingTable, TrafficReport};
use mainstay_providers::{Asking, Beginner, ProbeAnswer};
use mainstay_store::Event;
use mainstay_wire::message::{
    Act, Answered, Ask, Ended, FromAgent, FromHost, Head, Held, Hello, Message, PROTOCOL, Renew, Sent, TrafficNews,
    Understood, Welcome,
};
use mainstay_wire::stream::StreamError;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::dial::{Attempts, Ends, Reached, reach};
use super::leases::LeaseSide;
use super::ledger::{Ledger, wall_ns};
use super::orders::{Entry, Orders, Verdict};
use super::paths::{PathNews, Paths};
use super::peers::{self, Asked, Said};
use super::session::Session;
use super::{HostError, Options};
use crate::clock::{Clock, boot_ns};
use crate::copy::kept::KeptCopy;
use crate::crash::{self, Moment};
use crate::hands::{Hands, Job, JobOf, Report};
use crate::links::words;
use crate::ration::Ration;
use crate::traffic::{Launch, TrafficLink};

/// How long good answers are gathered.
const GATHER: Duration = Duration::from_millis(2);

/// How many questions may be under way.
const ASKS: usize = 4096;

/// How often it looks whether something is let go, overdue or silent.
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// How often a host renews, where no agent has said so.
const RENEWS_EVERY: Duration = Duration::from_secs(1);

/// Questions to and from other hosts that may wait for the loop.
const AGREEMENTS: usize = 64;

/// How often it says that an order is still being done.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How much later than its deadline an order is given up that has not ended by itself.
const GRACE_NS: u64 = 1_000_000_000;

/// A connection that lasted so long is not counted as a failed attempt.
const LASTED: Duration = Duration::from_secs(10);

/// How often what the traffic process serves is said again.
const STANDS_EVERY: Duration = Duration::from_secs(10);

/// Batches of the agent's journal that may wait for the disk. The agent sends one at a time.
const BATCHES: usize = 4;

/// So long before its deadline an order is refused whose lease has not come.
const LEASE_COMES_BEFORE_NS: u64 = 100_000_000;

/// By how much this process may be late for a silence to be believed.
const LATENESS: Duration = Duration::from_millis(200);

/// So many refusals are journaled one by one...
const REFUSALS: u32 = 64;

/// ...within this time; of further ones, how many they were.
const REFUSALS_WITHIN: Duration = Duration::from_secs(600);

/// Said of an order that an earlier host process had begun.
const LOOKED_AT: &str = "the host process ended meanwhile: it looks what became of it";

/// What follows once a record is durable.
enum Then {
    Perform(String),
    Say(Ended),
    Nothing,
}

/// An order that is being done.
struct Doing {
    act: Box<Act>,
    /// When its time is over, in nanoseconds of `CLOCK_BOOTTIME`.
    until_ns: u64,
    /// `None`: its beginning is not durable yet.
    ticket: Option<u64>,
    /// Nothing is done: an earlier host process began it, and it is looked at what became of it.
    looked_at: bool,
    /// When it is said next that it goes on.
    progress: Instant,
    since: Instant,
}

/// A probe that was asked.
struct AskDone {
    session: u64,
    id: u64,
    arrived: Instant,
    got: ProbeAnswer,
}

/// The host at work.
pub(super) struct Work {
    options: Options,
    boot_id: String,
    started: Instant,
    hands: Hands,
    from_hands: mpsc::Receiver<Report>,
    ledger: Ledger<Then>,
    orders: Orders,
    refusals: Ration,
    leases: LeaseSide,
    doing: BTreeMap<String, Doing>,
    /// Orders that need a lease which is asked for, by key, and until when that can come.
    unleased: BTreeMap<String, (Box<Act>, u64)>,
    tickets: BTreeMap<u64, String>,
    next_ticket: u64,
    next_seq: u64,
    session: Option<Session>,
    sessions: u64,
    attempts: Attempts,
    reached: (mpsc::Sender<Reached>, mpsc::Receiver<Reached>),
    dialing: Option<JoinHandle<()>>,
    asked: (mpsc::Sender<AskDone>, mpsc::Receiver<AskDone>),
    asks: Arc<Semaphore>,
    /// Further paths to the agent, over which leases are renewed, too.
    paths: Paths,
    /// The highest epoch that was seen.
    epoch: Arc<AtomicU64>,
    /// Questions of other hosts.
    peers: (mpsc::Sender<Asked>, mpsc::Receiver<Asked>),
    /// What other hosts said to ours.
    said: (mpsc::Sender<Said>, mpsc::Receiver<Said>),
    /// Why something that is held may not stay, as it was said last, by instance.
    disagree: BTreeMap<String, String>,
    /// How often the agent wants to hear of this host.
    renews_every: Duration,
    answers: Vec<(Instant, Answered)>,
    flush: Option<Instant>,
    renew: Instant,
    look: Instant,
    traffic: Option<TrafficLink>,
    /// `None`: it keeps none.
    copying: Option<Copying>,
    /// Since when the agent is known to have said nothing, in nanoseconds of `CLOCK_BOOTTIME`.
    word_ns: Arc<AtomicU64>,
    /// The epoch and the trouble that were said last of the traffic process, and when.
    stands: Option<(u64, Vec<String>, Instant)>,
}

/// The copy of the agent's journal, kept by a task of its own: a disk may be slow.
struct Copying {
    head: Head,
    batches: mpsc::Sender<(u64, Vec<String>)>,
    kept: mpsc::Receiver<(u64, Result<Head, String>)>,
}

/// What woke the loop.
enum Woken {
    /// In this session, what became of a batch of the agent's journal.
    Copied(u64, Result<Head, String>),
    Journal(Event),
    Hands(Report),
    Asked(AskDone),
    Heard(Result<Option<Understood<FromAgent>>, StreamError>),
    /// Something is heard over a further path.
    Path(String, PathNews),
    /// Another host asks this one.
    PeerAsks(Asked),
    /// Other hosts have answered this one.
    PeersSaid(Said),
    Reached(String, Ends, Attempts),
    Due,
}

impl Copying {
    fn begin(state: &Path) -> Result<Copying, HostError> {
        let mut copy = KeptCopy::open(state).map_err(HostError::Copy)?;
        let (batches, mut wanted) = mpsc::channel::<(u64, Vec<String>)>(BATCHES);
        let (tell, kept) = mpsc::channel(BATCHES);
        let head = |(seq, hash): (u64, String)| Head { seq, hash };
        let now = head(copy.head());
        tokio::spawn(async move {
            while let Some((session, lines)) = wanted.recv().await {
                let became = copy.keep(&lines).await.map(head).map_err(|it| words(&it));
                if tell.send((session, became)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Copying { head: now, batches, kept })
    }
}

impl Work {
    /// Must be called inside a tokio runtime.
    pub(super) fn start(options: Options) -> Result<Work, HostError> {
        let state = &options.file.state;
        let (mut ledger, mut orders) = Ledger::open(state)?;
        let started = Entry::HostStarted { version: options.version.clone(), process: Beginner::this() };
        if ledger.append(&mut orders, &[started], Then::Nothing).is_err() {
            tracing::error!("the host's journal takes nothing");
        }
        let leases = LeaseSide::open(&options.file, options.keeper.clone()).map_err(HostError::Leases)?;
        let copying = options.file.keeps_journal.then(|| Copying::begin(state)).transpose()?;
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let (reports, from_hands) = mpsc::channel(1024);
        let hands = Hands::new(Clock::start(Time::ZERO), reports, state);
        let now = Instant::now();
        Ok(Work {
            boot_id,
            started: now,
            hands,
            from_hands,
            ledger,
            orders,
            refusals: Ration::new(REFUSALS, REFUSALS_WITHIN),
            leases,
            doing: BTreeMap::new(),
            unleased: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 1,
            next_seq: 1,
            session: None,
            sessions: 0,
            attempts: Attempts::default(),
            reached: mpsc::channel(1),
            dialing: None,
            asked: mpsc::channel(1024),
            asks: Arc::new(Semaphore::new(ASKS)),
            paths: Paths::new(),
            epoch: Arc::default(),
            peers: mpsc::channel(AGREEMENTS),
            said: mpsc::channel(AGREEMENTS),
            disagree: BTreeMap::new(),
            renews_every: RENEWS_EVERY,
            answers: Vec::new(),
            flush: None,
            renew: now,
            look: now,
            traffic: None,
            copying,
            word_ns: Arc::default(),
            stands: None,
            options,
        })
    }

    pub(super) async fn go_on(mut self) {
        if let Some(address) = self.options.file.listen {
            peers::listen(address, self.options.identity.clone(), self.peers.0.clone());
        }
        loop {
            if self.session.is_none() && self.dialing.is_none() {
                let (dial, agents) = (self.options.dial.clone(), self.options.file.agents.clone());
                self.dialing = Some(tokio::spawn(reach(dial, agents, self.attempts, self.reached.0.clone())));
            }
            let wake = self.wake();
            let heard = async {
                match &mut self.session {
                    Some(session) => session.from_agent.hear().await,
                    None => std::future::pending().await,
                }
            };
            let copied = async {
                match &mut self.copying {
                    Some(copying) => copying.kept.recv().await,
                    None => std::future::pending().await,
                }
            };
            let woken = tokio::select! {
                biased;
                Some(event) = self.ledger.events.recv() => Woken::Journal(event),
                Some(report) = self.from_hands.recv() => Woken::Hands(report),
                () = sleep_until(wake) => Woken::Due,
                Some(done) = self.asked.1.recv() => Woken::Asked(done),
                Some((session, kept)) = copied => Woken::Copied(session, kept),
                heard = heard => Woken::Heard(heard),
                Some((address, news)) = self.paths.news.1.recv() => Woken::Path(address, news),
                Some(asked) = self.peers.1.recv() => Woken::PeerAsks(asked),
                Some(said) = self.said.1.recv() => Woken::PeersSaid(said),
                Some((address, ends, attempts)) = self.reached.1.recv() => Woken::Reached(address, ends, attempts),
            };
            match woken {
                Woken::Journal(event) => self.on_journal(event),
                Woken::Hands(report) => self.on_report(report),
                Woken::Asked(done) => self.on_answer(done),
                Woken::Heard(heard) => self.on_heard(heard),
                Woken::Path(address, news) => self.on_path(&address, news),
                Woken::PeerAsks(asked) => self.on_peer_asks(asked),
                Woken::PeersSaid(said) => self.on_peers_said(said),
                Woken::Copied(session, kept) => self.on_copied(session, kept),
                Woken::Reached(address, ends, attempts) => self.on_reached(address, ends, attempts),
                Woken::Due => {}
            }
            self.on_time();
        }
    }

    fn wake(&self) -> Instant {
        let welcomed = self.session.as_ref().is_some_and(|it| it.welcome.is_some());
        let renew = (welcomed || self.paths.is_up()).then_some(self.renew);
        [self.flush, renew].into_iter().flatten().fold(self.look, Instant::min)
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if self.flush.is_some_and(|it| it <= now) {
            self.say_answers();
        }
        let welcome = self.session.as_ref().and_then(|it| it.welcome.as_ref());
        if let Some(welcome) = welcome {
            self.renews_every = Duration::from_millis(welcome.lease.renew_ms.max(10));
        }
        if self.renew <= now && (welcome.is_some() || self.paths.is_up()) {
            self.renew = now + self.renews_every;
            self.say_renewal();
        }
        if self.look > now {
            return;
        }
        self.look = now + LOOKS_EVERY;
        if self.leases.guards() {
            self.say_released();
            self.ask_others();
        }
        if let Some(session) = self.session.as_ref().filter(|it| it.silent() > it.patience()) {
            let why = format!("it was silent for {:.1} s", session.silent().as_secs_f64());
            self.hang_up(&why, false);
        }
        self.leave_a_path_that_is_cut();
        if let Some(many) = self.refusals.kept_back(now.into_std()) {
            tracing::warn!(many, "more orders were refused than are journaled one by one");
            let _ = self.ledger.append(&mut self.orders, &[Entry::OrdersRefused { many }], Then::Nothing);
        }
        self.give_up_what_is_overdue(now);
        self.begin_what_waited(true);
    }

    /// Where the agent is heard over another path, its silence over this one is no silence of the agent.
    fn leave_a_path_that_is_cut(&mut self) {
        let Some(session) = self.session.as_ref().filter(|it| it.welcome.is_some()) else { return };
        if session.silent() < self.renews_every * 3 {
            return;
        }
        let beside = self.paths.heard_beside(&session.address, self.renews_every * 2).map(str::to_owned);
        let at = beside.and_then(|beside| self.options.file.agents.iter().position(|it| *it == beside));
        if let Some(at) = at {
            self.hang_up("it is silent over this path, and not over another one", false);
            self.attempts = Attempts { address: at, failed: 0 };
        }
    }

    fn on_reached(&mut self, address: String, ends: Ends, attempts: Attempts) {
        self.dialing = None;
        self.attempts = attempts;
        self.sessions += 1;
        self.session = Some(Session::begin(self.sessions, address, ends));
        self.answers.clear();
        self.say(&FromHost::Hello(Box::new(self.hello())));
    }

    fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            version: self.options.version.clone(),
            boot_id: self.boot_id.clone(),
            up_ms: ms(self.started.elapsed()),
            epoch: self.orders.epoch(),
            may: self.options.file.may.clone(),
            guards: self.leases.guarded().to_vec(),
            serves: self.options.file.serves,
            listens: self.options.file.listen.is_some(),
            copy_head: self.copying.as_ref().map(|it| it.head.clone()),
            beside: None,
        }
    }

    fn on_heard(&mut self, heard: Result<Option<Understood<FromAgent>>, StreamError>) {
        let Some(session) = &mut self.session else { return };
        session.heard_ns = boot_ns();
        if session.welcome.is_some() && matches!(heard, Ok(Some(_))) {
            self.leases.heard_agent();
        }
        match heard {
            Ok(Some(Understood::Message(message))) => self.on_message(message),
            Ok(Some(Understood::Not(what))) => {
                tracing::warn!(what, "the agent said something that this version does not understand");
                self.say(&FromHost::not_understood(what));
            }
            Ok(None) => self.hang_up("it ended the connection", false),
            Err(error) => self.hang_up(&words(&error), false),
        }
    }

    fn on_message(&mut self, message: FromAgent) {
        let welcomed = self.session.as_ref().is_some_and(|it| it.welcome.is_some());
        match message {
            FromAgent::Welcome(welcome) => self.on_welcome(welcome),
            _ if !welcomed => self.hang_up("it spoke before it had introduced itself", true),
            FromAgent::Ask(ask) => self.on_ask(*ask),
            FromAgent::Act(act) => self.on_act(act),
            FromAgent::Cancel { key } => self.on_cancel(&key),
            FromAgent::Granted(granted) => {
                // It was said after that renewal had left: it counts from then, however long it was under way.
                self.heard_word_of(granted.seq);
                let epoch = self.session.as_ref().and_then(|it| it.welcome.as_ref()).map_or(0, |it| it.epoch);
                self.leases.granted(&granted, epoch);
                self.begin_what_waited(false);
            }
            FromAgent::Revoke(held) => self.on_revoke(&held),
            FromAgent::Stance(stance) => {
                // The agent waits to hear that it is known.
                if self.leases.stance(*stance) {
                    self.say_renewal();
                }
            }
            FromAgent::Serve { table } => self.on_table(*table),
            FromAgent::Copy { records } => self.on_copy(records),
            FromAgent::NotUnderstood { what } => tracing::warn!(what, "the agent did not understand this host"),
        }
    }

    fn on_welcome(&mut self, welcome: Welcome) {
        let Some(session) = &mut self.session else { return };
        let (epoch, site) = (welcome.epoch, welcome.site.clone());
        let (agent, address) = (welcome.agent.clone(), session.address.clone());
        let demote = Duration::from_millis(welcome.lease.demote_ms);
        let has_paths = welcome.paths;
        if let Err(why) = session.welcomed(welcome, self.orders.epoch()) {
            self.hang_up(&why, true);
            return;
        }
        tracing::info!(agent, address, epoch, "an agent was reached");
        if epoch > self.orders.epoch() {
            let seen = Entry::EpochSeen { epoch, site: site.clone() };
            if self.ledger.append(&mut self.orders, &[seen], Then::Nothing).is_err() {
                tracing::error!("the host's journal takes nothing");
            }
        }
        self.leases.heard_agent();
        // Before the traffic process is asked for the first time: silence counts from this word.
        self.heard_word_of(0);
        if self.options.file.serves && self.traffic.is_none() {
            let (launch, hands) = (self.launch(&site), self.hands.clone());
            self.traffic = Some(TrafficLink::keep_for(launch, hands, "here", self.word_ns.clone()));
        }
        let beside = if has_paths { self.options.file.paths_beside(&address) } else { &[] };
        let hello = self.hello();
        self.epoch.store(self.orders.epoch(), Ordering::Relaxed);
        self.paths.keep(beside, &self.options.dial, &hello, &self.epoch);
        self.leases.welcomed(demote);
        self.renew = Instant::now();
        self.say_released();
    }

    /// Where the agent is silent: what is held here asks the others whether it may stay.
    fn ask_others(&mut self) {
        for asks in self.leases.whom_to_ask(self.renews_every, self.orders.epoch()) {
            let (ask, said) = (self.options.ask_peer.clone(), self.said.0.clone());
            tokio::spawn(async move {
                let _ = said.send(peers::ask_all(ask, asks).await).await;
            });
        }
    }

    fn on_peers_said(&mut self, said: Said) {
        let Said { held, asked_boot_ns, outcome } = said;
        match outcome {
            Ok(by) => {
                self.disagree.remove(&held.instance);
                self.leases.agreed(&held, by, asked_boot_ns);
            }
            Err(why) => {
                if self.disagree.get(&held.instance) != Some(&why) {
                    tracing::warn!(instance = held.instance, why, "it may not stay what it is without its agent");
                    self.disagree.insert(held.instance, why);
                }
            }
        }
    }

    fn on_peer_asks(&mut self, asked: Asked) {
        let Asked { by, question, answer } = asked;
        let reply = self.leases.answer(&by, &question, self.orders.epoch());
        for refused in &reply.refused {
            tracing::info!(host = by, instance = refused.held.instance, why = refused.why, "it is not agreed to");
        }
        crash::point(|it| it == Moment::AfterPromise && !reply.agreed.is_empty());
        // Who does not wait any more has heard nothing, and may not rely on it.
        let _ = answer.send(reply);
    }

    fn on_copy(&mut self, records: Vec<String>) {
        let Some(session) = self.session.as_ref().map(|it| it.nth) else { return };
        let why = match &self.copying {
            None => "copy: the host's file does not let it keep the journal (`keeps_journal: true`)",
            Some(copying) if copying.batches.try_send((session, records)).is_err() => {
                "copy: the batches before it are not on the disk yet"
            }
            Some(_) => return,
        };
        self.say(&FromHost::not_understood(why.to_owned()));
    }

    fn on_copied(&mut self, session: u64, kept: Result<Head, String>) {
        let is_this = self.session.as_ref().is_some_and(|it| it.nth == session);
        match kept {
            Ok(head) => {
                if let Some(copying) = &mut self.copying {
                    copying.head = head.clone();
                }
                if is_this {
                    self.say(&FromHost::Copied(head));
                }
            }
            Err(why) => {
                tracing::error!(why, "the agent's journal can't be copied");
                if is_this {
                    self.say(&FromHost::not_understood(format!("copy: {why}")));
                }
            }
        }
    }

    fn heard_word_of(&mut self, seq: u64) {
        let said_at = self.session.as_ref().and_then(|it| it.said_at(Sent { seq, after_ms: 0 }));
        self.word_ns.fetch_max(said_at.unwrap_or(0), Ordering::Relaxed);
    }

    fn launch(&self, site: &str) -> Launch {
        let state = &self.options.file.state;
        let args = ["traffic".into(), "--follow".into(), "--state".into(), state.into(), "--site".into(), site.into()];
        Launch { program: self.options.program.clone(), args: args.into(), state_dir: state.clone() }
    }

    fn on_ask(&mut self, ask: Ask) {
        let Some(session) = &self.session else { return };
        let (session, id, arrived) = (session.nth, ask.id, Instant::now());
        let could_not = |why: String| AskDone { session, id, arrived, got: Answer::CouldNotAsk(why).into() };
        if let Err(why) = self.options.file.may.ask(&ask.probe) {
            return self.on_answer(could_not(format!("the host refuses: {why}")));
        }
        let Ok(turn) = self.asks.clone().try_acquire_owned() else {
            return self.on_answer(could_not(format!("{ASKS} probes are under way on the host")));
        };
        let (hands, done) = (self.hands.clone(), self.asked.0.clone());
        tokio::spawn(async move {
            let asking = Asking { at: ask.at, from: ask.from, timeout: Duration::from_millis(ask.timeout_ms) };
            let got = hands.ask(&ask.probe, asking, LATENESS).await;
            drop(turn);
            let _ = done.send(AskDone { session, id, arrived, got }).await;
        });
    }

    fn on_answer(&mut self, done: AskDone) {
        let AskDone { session, id, arrived, got } = done;
        if self.session.as_ref().is_none_or(|it| it.nth != session) {
            return;
        }
        let ProbeAnswer { answer, lag, role, concerns, position } = got;
        let Concerns { expiring, upkeep } = concerns;
        let is_good = answer == Answer::Good;
        let lag_ns = lag.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
        self.answers.push((arrived, Answered { id, answer, lag_ns, role, expiring, upkeep, position, took_ns: 0 }));
        if is_good {
            self.flush.get_or_insert(Instant::now() + GATHER);
        } else {
            self.say_answers();
        }
    }

    fn say_answers(&mut self) {
        self.flush = None;
        let took = |(arrived, answered): (Instant, Answered)| {
            let took_ns = u64::try_from(arrived.elapsed().as_nanos()).unwrap_or(u64::MAX);
            Answered { took_ns, ..answered }
        };
        let answers: Vec<Answered> = std::mem::take(&mut self.answers).into_iter().map(took).collect();
        if !answers.is_empty() {
            self.say(&FromHost::Answers(answers));
        }
    }

    /// Over every path: each may be cut.
    fn say_renewal(&mut self) {
        let (leases, next_seq) = (&mut self.leases, &mut self.next_seq);
        let mut renew = |silent: Duration| {
            let seq = *next_seq;
            *next_seq += 1;
            let (heard_ms, wall_ns) = (ms(silent), u64::try_from(wall_ns()).unwrap_or(0));
            let wish = leases.ask(seq);
            Renew { seq, heard_ms, wall_ns, holds: wish.holds, asks: wish.asks, stands: wish.stands }
        };
        let mut unsaid = None;
        if let Some(session) = self.session.as_mut().filter(|it| it.welcome.is_some()) {
            let renew = renew(session.silent());
            session.leaves(renew.seq);
            unsaid = session.to_agent.say(&FromHost::Renew(renew)).err();
        }
        self.paths.say(|silent| FromHost::Renew(renew(silent)));
        if let Some(unsaid) = unsaid {
            self.hang_up(&unsaid.to_string(), false);
        }
    }

    /// What concerns leases counts, over whichever path it comes.
    fn on_path(&mut self, address: &str, news: PathNews) {
        let is_new = matches!(news, PathNews::Up(..));
        let Some((message, epoch)) = self.paths.on(address, news) else {
            if is_new {
                self.renew = Instant::now();
            }
            return;
        };
        if epoch < self.orders.epoch() {
            return;
        }
        self.leases.heard_agent();
        match message {
            FromAgent::Granted(granted) => {
                self.leases.granted(&granted, epoch);
                self.begin_what_waited(false);
            }
            FromAgent::Stance(stance) => {
                if self.leases.stance(*stance) {
                    self.say_renewal();
                }
            }
            FromAgent::Revoke(held) => self.on_revoke(&held),
            FromAgent::Welcome(_)
            | FromAgent::Ask(_)
            | FromAgent::Act(_)
            | FromAgent::Cancel { .. }
            | FromAgent::Serve { .. }
            | FromAgent::Copy { .. }
            | FromAgent::NotUnderstood { .. } => {
                tracing::warn!(address, "the agent says over this path what it has to say elsewhere");
            }
        }
    }

    fn on_revoke(&mut self, held: &Held) {
        crash::point(|it| it == Moment::BeforeRevoked);
        tracing::warn!(instance = held.instance, "the agent takes its lease back");
        self.leases.revoked(held);
        crash::point(|it| it == Moment::AfterRevoked);
    }

    fn say_released(&mut self) {
        let to_agent = self.session.as_ref().filter(|it| it.welcome.is_some()).map(|it| it.to_agent.clone());
        self.leases.say_released(|held| {
            crash::point(|it| it == Moment::BeforeReleased);
            tracing::info!(instance = held.instance, "it acts no more, and the agent is told");
            let released = FromHost::Released(held);
            to_agent.as_ref().is_some_and(|it| it.say(&released).is_ok()) || self.paths.say_once(&released)
        });
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Ended { ticket, outcome } => {
                if let Some(key) = self.tickets.remove(&ticket) {
                    self.end(key, outcome);
                }
            }
            Report::TrafficServes { report, .. } => self.say_traffic_stands(report, true),
            Report::TrafficStands { report, .. } => self.say_traffic_stands(report, false),
            Report::TrafficApplied { epoch, .. } => self.say_traffic(TrafficNews::Applied { epoch }),
            Report::TrafficRefused { epoch, reason, .. } => {
                tracing::error!(epoch, reason, "the traffic process refused a routing table");
                self.say_traffic(TrafficNews::Refused { epoch, reason });
            }
            Report::ClientsFailed { instances } => self.say_traffic(TrafficNews::Failed { instances }),
            Report::TrafficLost { reason, .. } => {
                tracing::warn!(reason, "the traffic process can't be reached");
                self.stands = None;
                self.say_traffic(TrafficNews::Lost { reason });
            }
            Report::Unprepared { what } => tracing::warn!("{what}"),
            Report::Observed(_)
            | Report::AllObserved(_)
            | Report::Told { .. }
            | Report::HostRefused { .. }
            | Report::TrafficSilent { .. } => {}
        }
    }

    fn on_table(&mut self, table: RoutingTable) {
        match &self.traffic {
            Some(traffic) => traffic.serve(table),
            None => {
                let reason = "`serves` of the host's file is not true".to_owned();
                self.say_traffic(TrafficNews::Refused { epoch: table.epoch, reason });
            }
        }
    }

    /// What it serves is said when that is new, to a new connection, and now and then.
    fn say_traffic_stands(&mut self, report: Box<TrafficReport>, is_new: bool) {
        let Some(session) = self.session.as_mut().filter(|it| it.welcome.is_some()) else { return };
        let greets = std::mem::take(&mut session.greets) || is_new;
        let (epoch, trouble) = (report.table.epoch, report.trouble.clone());
        let is_known =
            |it: &(u64, Vec<String>, Instant)| it.0 == epoch && it.1 == trouble && it.2.elapsed() < STANDS_EVERY;
        if !greets && self.stands.as_ref().is_some_and(is_known) {
            return;
        }
        self.stands = Some((epoch, trouble, Instant::now()));
        self.say_traffic(if greets { TrafficNews::Serves(report) } else { TrafficNews::Stands(report) });
    }

    fn say_traffic(&mut self, news: TrafficNews) {
        if self.session.as_ref().is_some_and(|it| it.welcome.is_some()) {
            self.say(&FromHost::Traffic(news));
        }
    }

    fn say(&mut self, message: &FromHost) {
        if let Some(session) = &self.session
            && let Err(unsaid) = session.to_agent.say(message)
        {
            self.hang_up(&unsaid.to_string(), false);
        }
    }

    /// Ends the connection. `elsewhere`: the next attempt goes to the next address.
    fn hang_up(&mut self, why: &str, elsewhere: bool) {
        let Some(session) = self.session.take() else { return };
        tracing::warn!(address = session.address, why, "the agent is lost");
        let lasted = session.age() > LASTED && !elsewhere;
        self.attempts = Attempts {
            address: self.attempts.address + usize::from(elsewhere),
            failed: if lasted { 0 } else { self.attempts.failed.saturating_add(1) },
        };
        self.answers.clear();
        self.flush = None;
        // The agent asks again for what it still wants.
        self.unleased.clear();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(dialing) = self.dialing.take() {
            dialing.abort();
        }
    }
}

fn ms(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}
