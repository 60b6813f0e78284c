//! Who may hold which component's lease: the agent's side. Pure: the time comes in, grants come out.
//!
//! A lease is of a *component*, and one of its instances holds it at a time. It is given to another one only when the holder
//! has said that it let go, or when the whole [`Terms`] since its last grant have passed, in which its machine has ended what it
//! guards. Who holds is [`Kept`] on the disk *before* a grant leaves, so that an agent that starts knows whom to wait for.
//!
//! Where a component may stay what it is while the agent is gone, its holder asks the hosts of the other instances ([`Stance`]), and
//! may go on when its lease is over. Then that it ran out is not enough: one of those whom it asks has to say that it agrees no
//! more, and that nothing which it has promised still binds it. What hosts are told is numbered, so that each can say by what it
//! goes.
//!
//! That a lease ran out says something of an instance only if it ever held one: a machine that was never asked keeps nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use mainstay_plan::Time;
use mainstay_wire::message::{Held, MayStay, PeerAt, Stance, Stands, Stays};
use serde::{Deserialize, Serialize};

/// How long a lease is good, and how long after it what was guarded may still act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// From when the holder asked, on its clock.
    pub expires: Duration,
    /// For the holder's machine to stop or demote what it guards, and to see it.
    pub demote: Duration,
    /// What the two clocks may come apart meanwhile.
    pub drift: Duration,
    /// How late the holder's machine may notice the end.
    pub lateness: Duration,
}

impl Terms {
    /// From a grant until nothing acts under it any more.
    pub fn whole(&self) -> Duration {
        self.expires + self.demote + self.drift + self.lateness
    }
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its holder's machine has seen what it guards stopped or demoted, and said so.
    Released,
    /// Nothing was heard, and the whole terms have passed.
    RanOut,
}

/// One instance of one component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holding {
    /// The component.
    pub component: String,
    /// Which of its instances.
    pub instance: String,
}

/// What outlives the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The longest [`Terms::whole`] under which anything may be out, in nanoseconds.
    pub whole_ns: u64,
    /// By component.
    pub leases: BTreeMap<String, KeptLease>,
}

/// What outlives the agent of one component's lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLease {
    /// To which instance it was granted last, unless that one has let go.
    pub holder: Option<String>,
    /// Instances that have held it, or were ended on request, and are known to act no more.
    pub ended: BTreeSet<String>,
    /// Whom the holder may ask while the agent is silent: what it was told, the newest last. It goes by one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Told>,
}

/// Whom a holder may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// From the stance of this number on.
    pub nth: u64,
    /// The host that was told.
    pub host: String,
    /// These hosts have to agree; if there are none, it may not stay.
    pub peers: BTreeSet<String>,
}

/// Where the instances of a component live that may stay what it is: by instance, its host and where that one is asked.
pub type Homes = BTreeMap<String, (String, SocketAddr)>;

/// A lease that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Out {
    instance: String,
    until: Time,
}

/// By which stance a host goes, as it has said.
#[derive(Clone, Debug)]
struct Known {
    nth: u64,
    promised: Vec<Held>,
}

/// The leases of one site.
#[derive(Clone, Debug)]
pub struct Book {
    terms: Terms,
    out: BTreeMap<String, Out>,
    wanted: BTreeMap<String, String>,
    /// Whether it was said yet who may hold.
    is_asked: bool,
    /// How each instance that is known to act no more came to that.
    ended: BTreeMap<Holding, End>,
    kept: Kept,
    /// Of components that may stay while the agent is silent.
    homes: BTreeMap<String, Homes>,
    /// Nobody agrees who has heard the agent within this time.
    silent: Duration,
    /// The number of the newest stance.
    nth: u64,
    /// By component: the first stance that says who holds it now, and whom he asks.
    since: BTreeMap<String, u64>,
    known: BTreeMap<String, Known>,
}

impl Book {
    /// A book that is opened at `now` with what the agent before has kept: what it granted may have been granted just now.
    pub fn open(terms: Terms, kept: Kept, now: Time) -> Book {
        let whole = terms.whole().max(Duration::from_nanos(kept.whole_ns));
        let (mut out, mut ended) = (BTreeMap::new(), BTreeMap::new());
        for (component, lease) in &kept.leases {
            if let Some(instance) = &lease.holder {
                out.insert(component.clone(), Out { instance: instance.clone(), until: now + whole });
            }
            for instance in &lease.ended {
                let holding = Holding { component: component.clone(), instance: instance.clone() };
                ended.insert(holding, End::RanOut);
            }
        }
        let nth = now.as_nanos();
        let since = kept.leases.keys().map(|it| (it.clone(), nth)).collect();
        Book {
            terms,
            out,
            wanted: BTreeMap::new(),
            is_asked: false,
            ended,
            kept,
            homes: BTreeMap::new(),
            silent: Duration::ZERO,
            nth,
            since,
            known: BTreeMap::new(),
        }
    }

    /// From now on these components may stay what they are while the agent is silent, if whoever could take over has heard nothing of
    /// it for `silent` and agrees.
    pub fn may_stay(&mut self, homes: BTreeMap<String, Homes>, silent: Duration, now: Time) {
        if (&self.homes, self.silent) == (&homes, silent) {
            return;
        }
        let all: BTreeSet<String> = self.homes.keys().chain(homes.keys()).cloned().collect();
        (self.homes, self.silent) = (homes, silent);
        all.iter().for_each(|it| self.is_new(it, now));
    }

    /// Who holds a component, or whom he asks, is another one from now on.
    fn is_new(&mut self, component: &str, now: Time) {
        // A stance of an agent before this one has a lower number: the time never goes back.
        self.nth = now.as_nanos().max(self.nth + 1);
        self.since.insert(component.to_owned(), self.nth);
    }

    /// The number of the newest stance.
    pub const fn newest(&self) -> u64 {
        self.nth
    }

    /// The first stance that says who holds this now; 0 where nobody may stay without the agent.
    pub fn since(&self, component: &str) -> u64 {
        if self.homes.contains_key(component) { self.since.get(component).copied().unwrap_or(self.nth) } else { 0 }
    }

    /// A host says by which stance it goes; the agent decides under `epoch`.
    pub fn stands(&mut self, host: &str, stands: &Stands, epoch: u64, now: Time) {
        if stands.epoch != epoch {
            return;
        }
        if stands.nth > self.nth {
            // Of an agent before this one, whose clock was ahead: what is said from now on is newer.
            self.nth = stands.nth;
            let all: Vec<String> = self.since.keys().cloned().collect();
            all.iter().for_each(|it| self.is_new(it, now));
            return;
        }
        let promised = stands.promised.iter().map(|it| it.held.clone()).collect();
        self.known.insert(host.to_owned(), Known { nth: stands.nth, promised });
        for lease in self.kept.leases.values_mut().filter(|it| it.told.last().is_some_and(|it| it.host == host)) {
            if let Some(at) = lease.told.iter().rposition(|it| it.nth <= stands.nth) {
                lease.told.drain(..at);
            }
            if let [only] = lease.told.as_slice()
                && only.peers.is_empty()
            {
                lease.told.clear();
            }
        }
        let components: Vec<String> = self.out.keys().cloned().collect();
        components.iter().for_each(|it| self.look(it, now));
    }

    /// What a host is to do while the agent is silent, if it has not said that it goes by that. If [`Book::kept`] has changed, it is
    /// to be on the disk before this leaves.
    pub fn stance(&mut self, host: &str, epoch: u64) -> Option<Stance> {
        let known = self.known.get(host).map(|it| it.nth);
        let lives_here = self.homes.values().any(|it| it.values().any(|it| it.0 == host));
        if !self.is_asked || known == Some(self.nth) || (known.is_none() && !lives_here) {
            return None;
        }
        let ms = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let mut stance = Stance {
            epoch,
            nth: self.nth,
            silent_ms: ms(self.silent),
            expires_ms: ms(self.terms.expires),
            whole_ms: ms(self.terms.whole()),
            ..Stance::default()
        };
        for (component, homes) in &self.homes {
            let held = |instance: &String| Held { component: component.clone(), instance: instance.clone() };
            if let Some((instance, (home, _))) = self.wanted.get(component).and_then(|it| Some((it, homes.get(it)?))) {
                let peers = self.peers(component, instance);
                if home == host {
                    stance.stays.push(Stays { held: held(instance), peers });
                } else if peers.iter().any(|it| it.host == host) {
                    stance.agrees.push(MayStay { held: held(instance), host: home.clone() });
                }
            }
            let over = homes.keys().filter(|it| self.ended.contains_key(&of(component, it)));
            stance.over.extend(over.map(held));
        }
        let out: Vec<String> = self.out.keys().cloned().collect();
        out.iter().for_each(|it| self.tell(it));
        Some(stance)
    }

    /// Whom an instance asks that holds this component.
    fn peers(&self, component: &str, instance: &str) -> Vec<PeerAt> {
        let Some(homes) = self.homes.get(component) else { return Vec::new() };
        let Some((home, _)) = homes.get(instance) else { return Vec::new() };
        let others = homes.values().filter(|it| it.0 != *home);
        let peers: BTreeSet<PeerAt> =
            others.map(|(host, address)| PeerAt { host: host.clone(), address: *address }).collect();
        peers.into_iter().collect()
    }

    /// What the holder may go by from now on, as the newest stance says it.
    fn tell(&mut self, component: &str) {
        let Some(out) = self.out.get(component) else { return };
        let may_stay = self.wanted.get(component) == Some(&out.instance);
        let asks = if may_stay { self.peers(component, &out.instance) } else { Vec::new() };
        let peers: BTreeSet<String> = asks.into_iter().map(|it| it.host).collect();
        let host = self.homes.get(component).and_then(|it| it.get(&out.instance)).map(|it| it.0.clone());
        let lease = self.kept.leases.entry(component.to_owned()).or_default();
        let host = host.or_else(|| lease.told.last().map(|it| it.host.clone()));
        let is_known = lease.told.last().map_or(peers.is_empty(), |it| it.peers == peers);
        if let (false, Some(host)) = (is_known, host) {
            lease.told.push(Told { nth: self.nth, host, peers });
        }
    }

    /// Whether the holder of a component can't stay without the agent any more: of each set of hosts that he may ask, one is known to
    /// agree no more, and to be bound by nothing.
    fn stays_no_more(&self, component: &str, holder: &str) -> bool {
        let Some(lease) = self.kept.leases.get(component) else { return true };
        if lease.told.is_empty() {
            return true;
        }
        let since = self.since.get(component).copied().unwrap_or(self.nth);
        let promised = Held { component: component.to_owned(), instance: holder.to_owned() };
        let is_free =
            |host: &String| self.known.get(host).is_some_and(|it| it.nth >= since && !it.promised.contains(&promised));
        self.wanted.get(component).map(String::as_str) != Some(holder)
            && lease.told.iter().all(|it| it.peers.is_empty() || it.peers.iter().any(is_free))
    }

    /// Other terms, for grants from now on.
    pub const fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// What is to be on the disk before anything else leaves.
    pub const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// From now on these may hold, one for each component, and nobody else. Who holds and may no more is returned: its machine
    /// is to be told.
    pub fn want(&mut self, wanted: impl IntoIterator<Item = Holding>, now: Time) -> Vec<Holding> {
        let wanted: BTreeMap<String, String> = wanted.into_iter().map(|it| (it.component, it.instance)).collect();
        let before = std::mem::replace(&mut self.wanted, wanted);
        self.is_asked = true;
        let all: BTreeSet<String> = self.homes.keys().chain(self.kept.leases.keys()).cloned().collect();
        for component in all {
            if before.get(&component) != self.wanted.get(&component) {
                self.is_new(&component, now);
            }
        }
        let unwanted = self.out.iter().filter(|(component, out)| self.wanted.get(*component) != Some(&out.instance));
        unwanted
            .map(|(component, out)| Holding { component: component.clone(), instance: out.instance.clone() })
            .collect()
    }

    /// A machine asks at `now` for what lives there. What it gets is good for [`Terms::expires`] from when it asked. If
    /// [`Book::kept`] has changed, it is to be on the disk before the grant leaves.
    pub fn renew(&mut self, now: Time, lives_there: &[Holding]) -> Vec<Holding> {
        let wanted = |it: &&Holding| self.wanted.get(&it.component) == Some(&it.instance);
        let asked: Vec<Holding> = lives_there.iter().filter(wanted).cloned().collect();
        let mut granted = Vec::new();
        for holding in asked {
            self.look(&holding.component, now);
            if self.out.get(&holding.component).is_some_and(|it| it.instance != holding.instance) {
                continue;
            }
            let is_first = self.ended.remove(&holding).is_some() || !self.out.contains_key(&holding.component);
            if is_first && self.homes.contains_key(&holding.component) {
                self.is_new(&holding.component, now);
            }
            let out = Out { instance: holding.instance.clone(), until: now + self.terms.whole() };
            self.out.insert(holding.component.clone(), out);
            self.keep(&holding.component);
            self.tell(&holding.component);
            granted.push(holding);
        }
        granted
    }

    /// The machine of this instance has seen, after it was told to let go or its lease was over, that it does not act any more.
    pub fn released(&mut self, holding: &Holding, now: Time) {
        self.look(&holding.component, now);
        if self.out.get(&holding.component).is_some_and(|it| it.instance == holding.instance) {
            self.out.remove(&holding.component);
        }
        self.has_ended(holding, End::Released, now);
    }

    /// How it came that this instance acts no more; `None` while it may.
    pub fn ended(&mut self, holding: &Holding, now: Time) -> Option<End> {
        self.look(&holding.component, now);
        self.ended.get(holding).copied()
    }

    fn has_ended(&mut self, holding: &Holding, how: End, now: Time) {
        if self.ended.insert(holding.clone(), how).is_none() && self.homes.contains_key(&holding.component) {
            // Whoever was bound to let it stay is told.
            self.is_new(&holding.component, now);
        }
        self.keep(&holding.component);
    }

    /// Who holds a component's lease, and when that is over if nothing is heard any more.
    pub fn holder(&mut self, component: &str, now: Time) -> Option<(&str, Time)> {
        self.look(component, now);
        self.out.get(component).map(|it| (it.instance.as_str(), it.until))
    }

    /// Notices that a lease has run out.
    fn look(&mut self, component: &str, now: Time) {
        let over = self.out.get(component).filter(|it| it.until <= now && self.stays_no_more(component, &it.instance));
        if let Some(holding) = over.map(|it| of(component, &it.instance)) {
            self.out.remove(component);
            self.has_ended(&holding, End::RanOut, now);
        }
    }

    fn keep(&mut self, component: &str) {
        let whole = u64::try_from(self.terms.whole().as_nanos()).unwrap_or(u64::MAX);
        let ended = self.ended.keys().filter(|it| it.component == component).map(|it| it.instance.clone());
        let (holder, ended) = (self.out.get(component).map(|it| it.instance.clone()), ended.collect());
        let lease = self.kept.leases.entry(component.to_owned()).or_default();
        if lease.holder != holder {
            lease.told.clear();
        }
        (lease.holder, lease.ended) = (holder, ended);
        self.kept.whole_ns = self.kept.whole_ns.max(whole);
    }
}

fn of(component: &str, instance: &str) -> Holding {
    Holding { component: component.to_owned(), instance: instance.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        expires: Duration::from_secs(6),
        demote: Duration::from_secs(2),
        drift: Duration::from_millis(200),
        lateness: Duration::from_millis(300),
    };

    fn at(ms: u64) -> Time {
        Time::from_millis(1_000_000 + ms)
    }

    fn db(instance: &str) -> Holding {
        Holding { component: "db".to_owned(), instance: instance.to_owned() }
    }

    /// A book in which nobody ever held anything, and `a` may.
    fn new() -> Book {
        let mut book = Book::open(TERMS, Kept::default(), at(0));
        assert_eq!(book.want([db("a")], at(0)), []);
        book
    }

    /// The same book after the agent was killed and started again.
    fn reopened(book: &Book, now: Time) -> Book {
        Book::open(TERMS, book.kept().clone(), now)
    }

    #[test]
    fn one_at_a_time_and_the_next_only_after_the_whole_terms() {
        let mut book = new();
        assert_eq!(book.renew(at(0), &[db("a")]), [db("a")]);
        assert_eq!(book.renew(at(0), &[db("b")]), [], "it is not wanted");
        assert_eq!(book.want([db("b")], at(0)), [db("a")], "it is to be told");
        assert_eq!(book.renew(at(8_499), &[db("b")]), [], "the other may still act");
        assert_eq!(book.ended(&db("a"), at(8_499)), None);
        assert_eq!(book.ended(&db("a"), at(8_500)), Some(End::RanOut));
        assert_eq!(book.renew(at(8_500), &[db("b")]), [db("b")]);
        assert_eq!(book.holder("db", at(8_501)), Some(("b", at(17_000))));
        assert_eq!(book.ended(&db("a"), at(8_501)), Some(End::RanOut), "it still acts no more");
    }

    #[test]
    fn who_lets_go_is_not_waited_for() {
        let mut book = new();
        book.renew(at(0), &[db("a")]);
        book.want([db("b")], at(0));
        book.released(&db("b"), at(10));
        assert_eq!(book.ended(&db("a"), at(10)), None, "another one's word is not its own");
        assert_eq!(book.renew(at(15), &[db("b")]), []);
        book.released(&db("a"), at(20));
        assert_eq!(book.ended(&db("a"), at(20)), Some(End::Released));
        assert_eq!(book.renew(at(21), &[db("b")]), [db("b")]);
        book.released(&db("a"), at(30));
        assert_eq!(
            book.holder("db", at(30)).map(|it| it.0),
            Some("b"),
            "a late word of the old holder changes nothing"
        );
    }

    #[test]
    fn who_is_not_wanted_is_not_renewed() {
        let mut book = new();
        book.renew(at(0), &[db("a")]);
        book.want([], at(0));
        assert_eq!(book.renew(at(1_000), &[db("a")]), []);
        assert_eq!(book.ended(&db("a"), at(8_500)), Some(End::RanOut), "asking again did not lengthen it");
    }

    #[test]
    fn who_never_held_is_not_known_to_act_no_more() {
        let mut book = new();
        book.want([], at(0));
        assert_eq!(book.ended(&db("a"), at(1_000_000)), None, "its machine was never asked to keep a lease");
        book.released(&db("a"), at(1_000_001));
        assert_eq!(book.ended(&db("a"), at(1_000_001)), Some(End::Released));
        book.want([db("a")], at(0));
        book.renew(at(1_000_002), &[db("a")]);
        assert_eq!(book.ended(&db("a"), at(1_000_003)), None, "it acts again");
    }

    #[test]
    fn an_agent_that_starts_waits_for_whom_the_one_before_has_granted() {
        let mut book = new();
        book.renew(at(0), &[db("a")]);
        let mut next = reopened(&book, at(100));
        next.want([db("a")], at(0));
        assert_eq!(next.renew(at(101), &[db("a")]), [db("a")], "the holder goes on at once");

        let mut next = reopened(&book, at(100));
        next.want([db("b")], at(0));
        assert_eq!(next.renew(at(8_599), &[db("b")]), [], "it may have been granted until the last moment");
        assert_eq!(next.renew(at(8_600), &[db("b")]), [db("b")]);

        book.want([], at(0));
        book.released(&db("a"), at(200));
        let mut next = reopened(&book, at(300));
        next.want([db("b")], at(0));
        assert!(next.ended(&db("a"), at(300)).is_some());
        assert_eq!(next.renew(at(301), &[db("b")]), [db("b")]);
    }

    #[test]
    fn terms_that_were_longer_before_are_waited_for() {
        let mut book = new();
        book.renew(at(0), &[db("a")]);
        let short = Terms { expires: Duration::from_secs(1), ..TERMS };
        let mut next = Book::open(short, book.kept().clone(), at(0));
        next.want([db("b")], at(0));
        assert_eq!(next.renew(at(8_499), &[db("b")]), []);
        assert_eq!(next.renew(at(8_500), &[db("b")]), [db("b")]);
    }

    const SILENT: Duration = Duration::from_secs(2);

    /// `a`, `b` and `c` live on hosts of these names, and whoever is the component may stay.
    fn homes(instances: &[&str]) -> BTreeMap<String, Homes> {
        let home = |it: &&str| ((*it).to_owned(), (format!("on-{it}"), ([127, 0, 0, 1], 1).into()));
        BTreeMap::from([("db".to_owned(), instances.iter().map(home).collect())])
    }

    /// The same book, with three instances of which `a` holds the lease and may stay, since a moment ago; and its host knows.
    fn staying() -> Book {
        let mut book = Book::open(TERMS, Kept::default(), at(0));
        book.may_stay(homes(&["a", "b", "c"]), SILENT, at(0));
        assert_eq!(book.stance("on-a", 3), None, "it was not said yet who may hold");
        book.want([db("a")], at(0));
        book.renew(at(0), &[db("a")]);
        for host in ["on-a", "on-b", "on-c"] {
            says(&mut book, host, &[], at(0));
        }
        book
    }

    /// A host takes the newest stance and says so, with what binds it still.
    fn says(book: &mut Book, host: &str, promised: &[&str], now: Time) {
        let nth = book.stance(host, 3).map_or(book.nth, |it| it.nth);
        book.stands(host, &stands(nth, promised), 3, now);
    }

    fn stands(nth: u64, promised: &[&str]) -> Stands {
        let promised = promised.iter().map(|it| mainstay_wire::message::Promised { held: held(it), left_ms: 1 });
        Stands { epoch: 3, nth, promised: promised.collect(), stays: Vec::new() }
    }

    fn held(instance: &str) -> Held {
        Held { component: "db".to_owned(), instance: instance.to_owned() }
    }

    #[test]
    fn each_host_is_told_whom_to_ask_and_whom_to_agree_to() {
        let mut book = new();
        assert_eq!(book.stance("on-a", 3), None, "nothing may stay");
        assert_eq!(book.since("db"), 0);
        book.may_stay(homes(&["a", "b", "c"]), SILENT, at(0));
        book.renew(at(0), &[db("a")]);
        let holder = book.stance("on-a", 3).expect("it is new");
        let asks: Vec<&str> = holder.stays[0].peers.iter().map(|it| it.host.as_str()).collect();
        assert_eq!((&holder.stays[0].held, asks), (&held("a"), vec!["on-b", "on-c"]));
        assert_eq!((holder.silent_ms, holder.expires_ms, holder.whole_ms), (2_000, 6_000, 8_500));
        assert!(holder.agrees.is_empty() && holder.nth >= book.since("db"));
        let other = book.stance("on-b", 3).expect("it is new");
        assert_eq!(other.agrees, [MayStay { held: held("a"), host: "on-a".to_owned() }]);
        assert!(other.stays.is_empty());
        assert_eq!(book.stance("on-x", 3), None, "nothing lives there");
        book.stands("on-b", &stands(other.nth, &[]), 3, at(1));
        assert_eq!(book.stance("on-b", 3), None, "it says that it goes by it");
        book.stands("on-b", &stands(other.nth, &[]), 2, at(1));
        book.want([db("b")], at(2));
        assert_eq!(book.stance("on-b", 3).expect("it is new").agrees, [], "b does not hold it yet, and may");
    }

    #[test]
    fn whoever_may_stay_has_run_out_only_when_one_of_the_others_agrees_no_more() {
        let mut book = staying();
        book.want([db("b")], at(100));
        assert_eq!(book.ended(&db("a"), at(60_000)), None, "both may have agreed that it stays");
        assert_eq!(book.renew(at(60_000), &[db("b")]), []);
        let before = stands(book.nth - 1, &[]);
        book.stands("on-b", &before, 3, at(60_000));
        assert_eq!(book.ended(&db("a"), at(60_000)), None, "it says by what it went before");
        says(&mut book, "on-b", &["a"], at(60_001));
        assert_eq!(book.ended(&db("a"), at(60_001)), None, "it has promised it, and that binds it");
        says(&mut book, "on-b", &[], at(60_002));
        assert_eq!(book.ended(&db("a"), at(60_002)), Some(End::RanOut), "one is enough: each would have to agree");
        let told = book.stance("on-c", 3).expect("it is new");
        assert_eq!(
            (told.over, told.agrees),
            (vec![held("a")], vec![MayStay { held: held("b"), host: "on-b".to_owned() }])
        );
        assert_eq!(book.renew(at(60_003), &[db("b")]), [db("b")]);
    }

    #[test]
    fn the_word_of_one_who_never_agreed_counts_only_after_the_whole_terms() {
        let mut book = staying();
        book.want([], at(100));
        says(&mut book, "on-b", &[], at(101));
        assert_eq!(book.ended(&db("a"), at(8_499)), None);
        assert_eq!(book.ended(&db("a"), at(8_500)), Some(End::RanOut));
    }

    #[test]
    fn a_word_of_before_the_holder_was_wanted_again_is_worth_nothing() {
        let mut book = staying();
        book.want([], at(100));
        says(&mut book, "on-b", &[], at(101));
        book.want([db("a")], at(102));
        book.want([], at(103));
        assert_eq!(book.ended(&db("a"), at(60_000)), None, "it may have heard the one, and not the other");
        says(&mut book, "on-b", &[], at(60_001));
        assert!(book.ended(&db("a"), at(60_001)).is_some());
    }

    #[test]
    fn who_lets_go_needs_nobodys_word() {
        let mut book = staying();
        book.want([db("b")], at(100));
        book.released(&db("a"), at(101));
        assert_eq!(book.ended(&db("a"), at(101)), Some(End::Released));
        assert_eq!(book.renew(at(102), &[db("b")]), [db("b")]);
        assert_eq!(book.stance("on-c", 3).expect("it is new").over, [held("a")], "whoever was bound is told");
    }

    #[test]
    fn an_agent_that_starts_knows_whom_the_holder_may_have_asked() {
        let book = staying();
        let mut next = reopened(&book, at(100));
        next.may_stay(homes(&["a", "b", "c"]), SILENT, at(100));
        next.want([db("b")], at(100));
        assert_eq!(next.ended(&db("a"), at(60_000)), None);
        says(&mut next, "on-c", &[], at(60_001));
        assert!(next.ended(&db("a"), at(60_001)).is_some());
    }

    #[test]
    fn the_holder_may_ask_as_it_was_told_before_until_it_says_otherwise() {
        let mut book = staying();
        // A third host is one no more, and another one comes.
        book.may_stay(homes(&["a", "b", "d"]), SILENT, at(100));
        book.renew(at(101), &[db("a")]);
        let mut other = book.clone();
        other.want([], at(102));
        says(&mut other, "on-d", &[], at(103));
        assert_eq!(other.ended(&db("a"), at(60_000)), None, "it may still ask b and c");
        says(&mut other, "on-b", &[], at(60_001));
        assert!(other.ended(&db("a"), at(60_001)).is_some(), "b is among both");
        says(&mut book, "on-a", &[], at(102));
        book.want([], at(103));
        says(&mut book, "on-d", &[], at(104));
        assert!(book.ended(&db("a"), at(60_000)).is_some(), "it has said that it asks b and d");
    }

    #[test]
    fn who_may_stay_no_more_and_says_so_runs_out_by_itself() {
        let mut book = staying();
        book.may_stay(BTreeMap::new(), SILENT, at(100));
        let mut silent = book.clone();
        silent.want([], at(101));
        assert_eq!(silent.ended(&db("a"), at(60_000)), None, "it may not have heard that");
        book.renew(at(101), &[db("a")]);
        says(&mut book, "on-a", &[], at(102));
        book.want([], at(103));
        assert_eq!(book.ended(&db("a"), at(60_000)), Some(End::RanOut));
    }

    #[test]
    fn stances_of_an_agent_whose_clock_was_ahead_are_outnumbered() {
        let mut book = staying();
        let far = book.nth + 1_000_000_000_000;
        book.stands("on-b", &stands(far, &[]), 3, at(100));
        assert!(book.stance("on-b", 3).expect("it is new").nth > far);
        book.want([], at(101));
        assert_eq!(book.ended(&db("a"), at(60_000)), None, "what it said was said to another agent");
    }
}
