//! Who may hold which component's lease: the agent's side. Pure: the time comes in, grants come out.
//!
//! A lease is of a *component*, and one of its instances holds it at a time. It is given to another one only when the holder
//! has said that it let go, or when the whole [`Terms`] since its last grant have passed, in which its machine has ended what it
//! guards. Who holds is [`Kept`] on the disk *before* a grant leaves, so that an agent that starts knows whom to wait for.
//!
//! That a lease ran out says something of an instance only if it ever held one: a machine that was never asked keeps nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_plan::Time;
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
}

/// A lease that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Out {
    instance: String,
    until: Time,
}

/// The leases of one site.
#[derive(Clone, Debug)]
pub struct Book {
    terms: Terms,
    out: BTreeMap<String, Out>,
    wanted: BTreeMap<String, String>,
    /// How each instance that is known to act no more came to that.
    ended: BTreeMap<Holding, End>,
    kept: Kept,
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
        Book { terms, out, wanted: BTreeMap::new(), ended, kept }
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
    pub fn want(&mut self, wanted: impl IntoIterator<Item = Holding>) -> Vec<Holding> {
        self.wanted = wanted.into_iter().map(|it| (it.component, it.instance)).collect();
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
            self.ended.remove(&holding);
            let out = Out { instance: holding.instance.clone(), until: now + self.terms.whole() };
            self.out.insert(holding.component.clone(), out);
            self.keep(&holding.component);
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
        self.ended.insert(holding.clone(), End::Released);
        self.keep(&holding.component);
    }

    /// How it came that this instance acts no more; `None` while it may.
    pub fn ended(&mut self, holding: &Holding, now: Time) -> Option<End> {
        self.look(&holding.component, now);
        self.ended.get(holding).copied()
    }

    /// Who holds a component's lease, and when that is over if nothing is heard any more.
    pub fn holder(&mut self, component: &str, now: Time) -> Option<(&str, Time)> {
        self.look(component, now);
        self.out.get(component).map(|it| (it.instance.as_str(), it.until))
    }

    /// Notices that a lease has run out.
    fn look(&mut self, component: &str, now: Time) {
        if let Some(out) = self.out.get(component).filter(|it| it.until <= now) {
            let holding = Holding { component: component.to_owned(), instance: out.instance.clone() };
            self.out.remove(component);
            self.ended.insert(holding, End::RanOut);
            self.keep(component);
        }
    }

    fn keep(&mut self, component: &str) {
        let whole = u64::try_from(self.terms.whole().as_nanos()).unwrap_or(u64::MAX);
        let ended = self.ended.keys().filter(|it| it.component == component).map(|it| it.instance.clone());
        let lease = KeptLease { holder: self.out.get(component).map(|it| it.instance.clone()), ended: ended.collect() };
        self.kept.whole_ns = self.kept.whole_ns.max(whole);
        self.kept.leases.insert(component.to_owned(), lease);
    }
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
        assert_eq!(book.want([db("a")]), []);
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
        assert_eq!(book.want([db("b")]), [db("a")], "it is to be told");
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
        book.want([db("b")]);
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
        book.want([]);
        assert_eq!(book.renew(at(1_000), &[db("a")]), []);
        assert_eq!(book.ended(&db("a"), at(8_500)), Some(End::RanOut), "asking again did not lengthen it");
    }

    #[test]
    fn who_never_held_is_not_known_to_act_no_more() {
        let mut book = new();
        book.want([]);
        assert_eq!(book.ended(&db("a"), at(1_000_000)), None, "its machine was never asked to keep a lease");
        book.released(&db("a"), at(1_000_001));
        assert_eq!(book.ended(&db("a"), at(1_000_001)), Some(End::Released));
        book.want([db("a")]);
        book.renew(at(1_000_002), &[db("a")]);
        assert_eq!(book.ended(&db("a"), at(1_000_003)), None, "it acts again");
    }

    #[test]
    fn an_agent_that_starts_waits_for_whom_the_one_before_has_granted() {
        let mut book = new();
        book.renew(at(0), &[db("a")]);
        let mut next = reopened(&book, at(100));
        next.want([db("a")]);
        assert_eq!(next.renew(at(101), &[db("a")]), [db("a")], "the holder goes on at once");

        let mut next = reopened(&book, at(100));
        next.want([db("b")]);
        assert_eq!(next.renew(at(8_599), &[db("b")]), [], "it may have been granted until the last moment");
        assert_eq!(next.renew(at(8_600), &[db("b")]), [db("b")]);

        book.want([]);
        book.released(&db("a"), at(200));
        let mut next = reopened(&book, at(300));
        next.want([db("b")]);
        assert!(next.ended(&db("a"), at(300)).is_some());
        assert_eq!(next.renew(at(301), &[db("b")]), [db("b")]);
    }

    #[test]
    fn terms_that_were_longer_before_are_waited_for() {
        let mut book = new();
        book.renew(at(0), &[db("a")]);
        let short = Terms { expires: Duration::from_secs(1), ..TERMS };
        let mut next = Book::open(short, book.kept().clone(), at(0));
        next.want([db("b")]);
        assert_eq!(next.renew(at(8_499), &[db("b")]), []);
        assert_eq!(next.renew(at(8_500), &[db("b")]), [db("b")]);
    }
}
