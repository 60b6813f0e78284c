//! What was ordered, what was done, and what is answered to an order that comes again. Pure: it is told what there is, and says
//! what is to be journaled, done and answered.
//!
//! An order is known by its key. Once it is begun under that key, it is begun again only when the agent decided on another
//! attempt *and* doing it again does no harm: it was seen to fail, or it is idempotent. Everything else that comes under the key is
//! answered with what became of it. What a host process was doing when it ended is looked at where that can be seen.
//!
//! Nothing is forgotten that may still be asked for. An agent asks for the steps of recoveries that are open, and of those a component
//! has one at a time: with the first order of a later recovery to the same instance, the earlier one is over. Its orders are kept
//! for a month nevertheless, for an agent that goes on from an old copy of the journal.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_plan::action::Outcome;
use mainstay_providers::Beginner;
use mainstay_wire::message::{Act, Ended};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How long the orders of a recovery are remembered that is over.
const REMEMBERED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often it is looked what can be forgotten.
const FORGETS_EVERY: Duration = Duration::from_secs(3600);

/// How many orders are remembered. No agent in its right mind gives so many in a month: of further ones, none is taken.
const REMEMBERED: usize = 1 << 16;

/// What the host's journal holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A host process started: what was begun and has no end was interrupted.
    HostStarted {
        /// The version of the program.
        version: String,
        /// By which it can be seen what it leaves running.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<Beginner>,
    },
    /// An agent decides under a higher epoch than any before it: orders of a lower one are refused from here on.
    EpochSeen {
        /// The epoch.
        epoch: u64,
        /// Of which site.
        site: String,
    },
    /// An order is about to be performed.
    OrderBegun {
        /// Its idempotency key.
        key: String,
        /// Which attempt.
        attempt: u32,
        /// The epoch that it was given under.
        epoch: u64,
        /// The recovery.
        recovery: u64,
        /// The step.
        step: String,
        /// The instance that it is done to.
        instance: String,
        /// SHA-256 of what is done to what, in lower-case hexadecimal: what it is may hold a secret.
        content: String,
        /// Whether doing it twice does no more than doing it once.
        idempotent: bool,
    },
    /// An order ended.
    OrderEnded {
        /// Its idempotency key.
        key: String,
        /// How.
        outcome: Outcome,
    },
    /// An order was refused, and nothing was done.
    OrderRefused {
        /// Its idempotency key.
        key: String,
        /// Which attempt.
        attempt: u32,
        /// The epoch that it was given under.
        epoch: u64,
        /// Why.
        why: String,
    },
    /// Further orders were refused, too many for a record each.
    OrdersRefused {
        /// How many.
        many: u64,
    },
}

impl Entry {
    /// The kind of its record.
    pub const fn kind(&self) -> &'static str {
        match self {
            Entry::HostStarted { .. } => "host_started",
            Entry::EpochSeen { .. } => "epoch_seen",
            Entry::OrderBegun { .. } => "order_begun",
            Entry::OrderEnded { .. } => "order_ended",
            Entry::OrderRefused { .. } => "order_refused",
            Entry::OrdersRefused { .. } => "orders_refused",
        }
    }
}

/// What is to be done with an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Journal these; once they are durable, perform it.
    Begin(Vec<Entry>),
    /// It is being done: its end will be the answer.
    Wait,
    /// It has ended before: answer this.
    Answer(Ended),
    /// The host process that did it has ended meanwhile: look what became of it, and answer that. If it can't be looked at, this
    /// is the answer.
    Look {
        /// That process.
        begun_by: Option<Beginner>,
        /// The answer, if there is no better one.
        otherwise: Ended,
    },
    /// Journal this; once it is durable, answer that.
    Refuse(Entry, Ended),
}

/// One order that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order {
    content: String,
    attempt: u32,
    idempotent: bool,
    outcome: Option<Outcome>,
    /// The host process that began it.
    begun_by: Option<Beginner>,
    /// Whether that process ended while it was doing this.
    interrupted: bool,
    recovery: u64,
    instance: String,
    /// When it was begun, by the wall clock, in nanoseconds since the Unix epoch.
    begun_ns: i64,
}

/// The orders of one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    epoch: u64,
    /// The host process that is running.
    process: Option<Beginner>,
    orders: BTreeMap<String, Order>,
    /// By instance: the latest recovery that did something to it.
    latest: BTreeMap<String, u64>,
    /// When it was looked last what can be forgotten, by the wall clock.
    looked_ns: i64,
    /// The refusal that was journaled last: the same one again is not journaled again.
    refused: Option<Entry>,
}

impl Orders {
    /// Takes in what is, or is going to be, in the journal; the wall clock beside it, in nanoseconds since the Unix epoch.
    pub(crate) fn fold(&mut self, entry: &Entry, wall_ns: i64) {
        match entry {
            Entry::HostStarted { process, .. } => {
                self.process = *process;
                for order in self.orders.values_mut().filter(|it| it.outcome.is_none()) {
                    let why = "the host process ended while it was doing this".to_owned();
                    (order.outcome, order.interrupted) = (Some(Outcome::Unknown(why)), true);
                }
            }
            Entry::EpochSeen { epoch, .. } => self.epoch = self.epoch.max(*epoch),
            Entry::OrderBegun { key, attempt, content, idempotent, recovery, instance, .. } => {
                let latest = self.latest.entry(instance.clone()).or_default();
                *latest = (*latest).max(*recovery);
                let order = Order {
                    content: content.clone(),
                    attempt: *attempt,
                    idempotent: *idempotent,
                    outcome: None,
                    begun_by: self.process,
                    interrupted: false,
                    recovery: *recovery,
                    instance: instance.clone(),
                    begun_ns: wall_ns,
                };
                self.orders.insert(key.clone(), order);
            }
            Entry::OrderEnded { key, outcome } => {
                if let Some(order) = self.orders.get_mut(key) {
                    (order.outcome, order.interrupted) = (Some(outcome.clone()), false);
                }
            }
            Entry::OrderRefused { .. } => self.refused = Some(entry.clone()),
            Entry::OrdersRefused { .. } => {}
        }
        self.forget(wall_ns);
    }

    /// The highest epoch that was seen.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether an order of this key is being done, or was, or may have been.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.orders.get(key).is_some_and(|it| !matches!(it.outcome, Some(Outcome::Failed(_))))
    }

    /// An order has come. What it returns is to be folded by whoever journals it. `objection` says why it would not be done now.
    pub(crate) fn take(&self, act: &Act, site: &str, objection: impl FnOnce() -> Option<String>) -> Verdict {
        if act.epoch < self.epoch {
            return self.refuse(act, format!("epoch {} is over: {} was seen", act.epoch, self.epoch));
        }
        let content = content(act);
        if let Some(order) = self.orders.get(&act.key) {
            if order.content != content {
                return self.refuse(act, "its key was used for another order".to_owned());
            }
            let answer = |outcome: &Outcome| Ended {
                key: act.key.clone(),
                attempt: act.attempt,
                outcome: outcome.clone(),
                done_before: true,
            };
            let again = match &order.outcome {
                None => return Verdict::Wait,
                Some(Outcome::Failed(_)) => act.attempt > order.attempt,
                Some(Outcome::Unknown(_)) => act.attempt > order.attempt && order.idempotent,
                Some(
                    Outcome::Done
                    | Outcome::DoneAt(_)
                    | Outcome::LeaseOver(_)
                    | Outcome::DoneLosing(_)
                    | Outcome::Kept(_),
                ) => false,
            };
            if let (Some(outcome), false) = (&order.outcome, again) {
                let (begun_by, otherwise) = (order.begun_by, answer(outcome));
                return match order.interrupted && act.action.can_be_seen() {
                    true => Verdict::Look { begun_by, otherwise },
                    false => Verdict::Answer(otherwise),
                };
            }
        }
        if self.orders.len() >= REMEMBERED && !self.orders.contains_key(&act.key) {
            return self.refuse(act, format!("{REMEMBERED} orders are remembered, and a month has not passed"));
        }
        if let Some(why) = objection() {
            return self.refuse(act, why);
        }
        let mut entries = Vec::new();
        if act.epoch > self.epoch {
            entries.push(Entry::EpochSeen { epoch: act.epoch, site: site.to_owned() });
        }
        entries.push(Entry::OrderBegun {
            key: act.key.clone(),
            attempt: act.attempt,
            epoch: act.epoch,
            recovery: act.recovery,
            step: act.step.clone(),
            instance: act.instance.clone(),
            content,
            idempotent: act.action.is_idempotent(),
        });
        Verdict::Begin(entries)
    }

    fn refuse(&self, act: &Act, why: String) -> Verdict {
        let (key, attempt) = (act.key.clone(), act.attempt);
        let ended = Ended { key, attempt, outcome: Outcome::Failed(why.clone()), done_before: false };
        let refused = Entry::OrderRefused { key: act.key.clone(), attempt: act.attempt, epoch: act.epoch, why };
        if self.refused.as_ref() == Some(&refused) { Verdict::Answer(ended) } else { Verdict::Refuse(refused, ended) }
    }

    /// Forgets what ended long ago and is asked for no more.
    fn forget(&mut self, wall_ns: i64) {
        let ns = |it: Duration| i64::try_from(it.as_nanos()).unwrap_or(i64::MAX);
        if wall_ns.saturating_sub(self.looked_ns) < ns(FORGETS_EVERY) {
            return;
        }
        self.looked_ns = wall_ns;
        let month = ns(REMEMBERED_FOR);
        let Orders { orders, latest, .. } = self;
        orders.retain(|_, it| {
            let is_over = it.outcome.is_some() && latest.get(&it.instance).is_some_and(|latest| it.recovery < *latest);
            !is_over || wall_ns.saturating_sub(it.begun_ns) < month
        });
    }
}

/// What is done to what. When and by whom it was ordered is no part of it.
fn content(act: &Act) -> String {
    let Act { instance, component, address, needs_lease, action, recovery, step, .. } = act;
    let all = (instance, component, address, needs_lease, action, recovery, step);
    let json = serde_json::to_vec(&all).expect("an order has no map with keys that are not text");
    Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use mainstay_plan::action::{Action, Plane};
    use mainstay_wire::message::Sent;

    use super::*;

    fn act(key: &str) -> Act {
        Act {
            key: key.to_owned(),
            recovery: 17,
            step: "promote".to_owned(),
            attempt: 1,
            epoch: 3,
            sent: Sent { seq: 0, after_ms: 0 },
            deadline_ms: 1000,
            instance: "db-b".to_owned(),
            component: "db".to_owned(),
            address: None,
            needs_lease: false,
            action: command(true),
        }
    }

    fn command(idempotent: bool) -> Action {
        let argv = vec!["/bin/promote".to_owned()];
        Action::Command { argv, env: BTreeMap::new(), plane: Plane::Local, idempotent, reports_address: false }
    }

    /// Takes it as the daemon does; what is journaled is folded.
    fn take(orders: &mut Orders, act: &Act) -> Verdict {
        let verdict = orders.take(act, "s", || None);
        match &verdict {
            Verdict::Begin(entries) => entries.iter().for_each(|it| orders.fold(it, 0)),
            Verdict::Refuse(entry, _) => orders.fold(entry, 0),
            Verdict::Wait | Verdict::Answer(_) | Verdict::Look { .. } => {}
        }
        verdict
    }

    fn end(orders: &mut Orders, key: &str, outcome: Outcome) {
        orders.fold(&Entry::OrderEnded { key: key.to_owned(), outcome }, 0);
    }

    fn started(session: Option<i32>) -> Entry {
        Entry::HostStarted { version: String::new(), process: session.map(|session| Beginner { session, since: 0 }) }
    }

    fn failed(why: &str) -> Outcome {
        Outcome::Failed(why.to_owned())
    }

    impl Orders {
        fn is_under_way(&self, key: &str) -> bool {
            self.orders.get(key).is_some_and(|it| it.outcome.is_none())
        }
    }

    #[test]
    fn what_was_done_is_not_done_again() {
        let mut orders = Orders::default();
        assert!(matches!(take(&mut orders, &act("k")), Verdict::Begin(all) if all.len() == 2));
        assert_eq!(take(&mut orders, &act("k")), Verdict::Wait, "it is being done");
        end(&mut orders, "k", Outcome::Done);
        for attempt in 1..4 {
            let Verdict::Answer(ended) = take(&mut orders, &Act { attempt, ..act("k") }) else { panic!("{attempt}") };
            assert_eq!((ended.outcome, ended.done_before), (Outcome::Done, true));
        }
    }

    #[test]
    fn what_failed_is_done_again_when_the_agent_decided_so() {
        let mut orders = Orders::default();
        take(&mut orders, &act("k"));
        end(&mut orders, "k", failed("no"));
        assert!(matches!(take(&mut orders, &act("k")), Verdict::Answer(it) if it.outcome == failed("no")));
        assert!(matches!(take(&mut orders, &Act { attempt: 2, ..act("k") }), Verdict::Begin(_)));
        assert_eq!(take(&mut orders, &act("k")), Verdict::Wait, "the first attempt comes late");
    }

    #[test]
    fn what_may_have_been_done_is_done_again_only_if_that_does_no_harm() {
        for idempotent in [true, false] {
            let mut orders = Orders::default();
            let act = Act { action: command(idempotent), ..act("k") };
            take(&mut orders, &act);
            orders.fold(&started(None), 0);
            assert!(matches!(take(&mut orders, &act), Verdict::Answer(it) if it.outcome.word() == "unknown"));
            let again = take(&mut orders, &Act { attempt: 2, ..act });
            assert_eq!(matches!(again, Verdict::Begin(_)), idempotent, "{again:?}");
        }
    }

    #[test]
    fn what_was_interrupted_is_looked_at_where_it_can_be_seen_and_once() {
        let (path, content) = ("/tmp/promote".into(), String::new());
        let act = Act { action: Action::TriggerFile { path, content }, ..act("k") };
        let mut orders = Orders::default();
        orders.fold(&started(Some(7)), 0);
        take(&mut orders, &act);
        orders.fold(&started(Some(8)), 0);
        for _ in 0..2 {
            let Verdict::Look { begun_by, otherwise } = take(&mut orders, &act) else { panic!("it can be seen") };
            assert_eq!(
                (begun_by.map(|it| it.session), otherwise.outcome.word(), otherwise.done_before),
                (Some(7), "unknown", true)
            );
        }
        let mut again = orders.clone();
        assert!(matches!(take(&mut again, &Act { attempt: 2, ..act.clone() }), Verdict::Begin(_)));
        for became in [Outcome::Done, failed("no"), Outcome::Unknown("who knows".to_owned())] {
            let mut orders = orders.clone();
            end(&mut orders, "k", became.clone());
            assert!(matches!(take(&mut orders, &act), Verdict::Answer(it) if it.outcome == became));
        }
    }

    #[test]
    fn another_content_under_the_same_key_is_refused() {
        let mut orders = Orders::default();
        take(&mut orders, &act("k"));
        for other in [
            Act { instance: "db-a".to_owned(), ..act("k") },
            Act { action: command(false), ..act("k") },
            Act { needs_lease: true, ..act("k") },
            Act { address: Some([10, 0, 0, 1].into()), ..act("k") },
        ] {
            let (Verdict::Refuse(_, ended) | Verdict::Answer(ended)) = take(&mut orders, &other) else {
                panic!("{other:?}")
            };
            assert_eq!(ended.outcome, failed("its key was used for another order"));
        }
        assert!(orders.is_under_way("k"), "the first one goes on");
    }

    #[test]
    fn a_lower_epoch_is_refused_also_for_what_was_done() {
        let mut orders = Orders::default();
        take(&mut orders, &act("k"));
        end(&mut orders, "k", Outcome::Done);
        take(&mut orders, &Act { epoch: 4, ..act("l") });
        for key in ["k", "m"] {
            let Verdict::Refuse(entry, ended) = take(&mut orders, &act(key)) else { panic!("{key}") };
            assert_eq!(ended.outcome, failed("epoch 3 is over: 4 was seen"));
            assert_eq!(entry.kind(), "order_refused");
        }
        assert!(matches!(take(&mut orders, &act("m")), Verdict::Answer(_)), "the same refusal is journaled once");
    }

    #[test]
    fn an_objection_counts_for_what_would_be_done_alone() {
        let mut orders = Orders::default();
        let objection = || Some("not in `may`".to_owned());
        assert!(matches!(orders.take(&act("k"), "s", objection), Verdict::Refuse(..)));
        take(&mut orders, &act("k"));
        end(&mut orders, "k", Outcome::Done);
        assert!(matches!(orders.take(&act("k"), "s", objection), Verdict::Answer(_)), "it was done before");
    }

    /// The order of a recovery, done at that second.
    fn done_at(orders: &mut Orders, recovery: u64, instance: &str, second: u64) -> Act {
        let act = Act { recovery, instance: instance.to_owned(), ..act(&format!("{instance}/{recovery}")) };
        let Verdict::Begin(entries) = orders.take(&act, "s", || None) else { panic!("{act:?}") };
        let wall_ns = i64::try_from(second * 1_000_000_000).expect("it is soon");
        entries.iter().for_each(|it| orders.fold(it, wall_ns));
        end(orders, &act.key, Outcome::Done);
        act
    }

    fn is_known(orders: &mut Orders, act: &Act) -> bool {
        matches!(orders.take(act, "s", || None), Verdict::Answer(it) if it.done_before)
    }

    #[test]
    fn nothing_is_forgotten_that_may_still_be_asked_for() {
        let mut orders = Orders::default();
        let month = REMEMBERED_FOR.as_secs();
        // A recovery that waits for a person, while ten thousand of others come and go.
        let open = done_at(&mut orders, 1, "db-b", 0);
        let early = done_at(&mut orders, 2, "web", 0);
        for nth in 3..10_000 {
            done_at(&mut orders, nth, "web", month - 3601);
        }
        assert!(is_known(&mut orders, &early), "its recovery is over, and it is no month ago");
        done_at(&mut orders, 10_000, "web", month);
        assert!(!orders.orders.contains_key(&early.key));
        assert!(is_known(&mut orders, &open), "however long it waits");
        done_at(&mut orders, 10_001, "web", 100 * month);
        assert_eq!(orders.orders.len(), 2, "the others are over, and long ago");
        assert!(is_known(&mut orders, &open));
    }

    #[test]
    fn what_is_being_done_is_not_forgotten() {
        let mut orders = Orders::default();
        take(&mut orders, &Act { instance: "web".to_owned(), ..act("k") });
        done_at(&mut orders, 100, "web", 100 * REMEMBERED_FOR.as_secs());
        assert!(orders.is_under_way("k"));
    }

    #[test]
    fn more_orders_than_can_be_remembered_are_not_taken() {
        let mut orders = Orders::default();
        let known = done_at(&mut orders, 1, "db-b", 0);
        let one = orders.orders[&known.key].clone();
        orders.orders.extend((0..REMEMBERED).map(|nth| (nth.to_string(), one.clone())));
        let Verdict::Refuse(_, ended) = take(&mut orders, &act("k")) else { panic!("it would be forgotten") };
        assert_eq!(ended.outcome, failed("65536 orders are remembered, and a month has not passed"));
        assert!(is_known(&mut orders, &known));
    }
}
