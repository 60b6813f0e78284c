//! What was ordered, what was done, and what is answered to an order that comes again. Pure: it is told what there is, and says
//! what is to be journaled, done and answered.
//!
//! An order is known by its key. Once it is begun under that key, it is begun again only when the agent decided on another
//! attempt *and* doing it again does no harm: it was seen to fail, or it is idempotent. Everything else that comes under the key is
//! answered with what became of it. What a host process was doing when it ended is looked at where that can be seen.

use std::collections::BTreeMap;

use mainstay_plan::action::Outcome;
use mainstay_wire::message::{Act, Ended};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many orders are remembered; of those beyond it, the oldest that has ended is forgotten.
const REMEMBERED: usize = 4096;

/// What the host's journal holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A host process started: what was begun and has no end was interrupted.
    HostStarted {
        /// The version of the program.
        version: String,
        /// Its session, as the kernel counts them: what it leaves running may be found there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<i32>,
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
        /// The session of that process.
        session: Option<i32>,
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
    /// The session of the host process that began it.
    session: Option<i32>,
    /// Whether that process ended while it was doing this.
    interrupted: bool,
    nth: u64,
}

/// The orders of one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    epoch: u64,
    /// The session of the host process that is running.
    session: Option<i32>,
    orders: BTreeMap<String, Order>,
    begun: u64,
    /// The refusal that was journaled last: the same one again is not journaled again.
    refused: Option<Entry>,
}

impl Orders {
    /// Takes in what is, or is going to be, in the journal.
    pub(crate) fn fold(&mut self, entry: &Entry) {
        match entry {
            Entry::HostStarted { session, .. } => {
                self.session = *session;
                for order in self.orders.values_mut().filter(|it| it.outcome.is_none()) {
                    let why = "the host process ended while it was doing this".to_owned();
                    (order.outcome, order.interrupted) = (Some(Outcome::Unknown(why)), true);
                }
            }
            Entry::EpochSeen { epoch, .. } => self.epoch = self.epoch.max(*epoch),
            Entry::OrderBegun { key, attempt, content, idempotent, .. } => {
                self.begun += 1;
                let (content, idempotent) = (content.clone(), *idempotent);
                let (session, nth) = (self.session, self.begun);
                let order =
                    Order { content, attempt: *attempt, idempotent, outcome: None, session, interrupted: false, nth };
                self.orders.insert(key.clone(), order);
                self.forget();
            }
            Entry::OrderEnded { key, outcome } => {
                if let Some(order) = self.orders.get_mut(key) {
                    (order.outcome, order.interrupted) = (Some(outcome.clone()), false);
                }
            }
            Entry::OrderRefused { .. } => self.refused = Some(entry.clone()),
        }
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
                Some(Outcome::Done | Outcome::DoneAt(_) | Outcome::LeaseOver(_)) => false,
            };
            if let (Some(outcome), false) = (&order.outcome, again) {
                let (session, otherwise) = (order.session, answer(outcome));
                return match order.interrupted && act.action.can_be_seen() {
                    true => Verdict::Look { session, otherwise },
                    false => Verdict::Answer(otherwise),
                };
            }
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

    fn forget(&mut self) {
        if self.orders.len() > REMEMBERED {
            let ended = self.orders.iter().filter(|it| it.1.outcome.is_some());
            if let Some(oldest) = ended.min_by_key(|it| it.1.nth).map(|it| it.0.clone()) {
                self.orders.remove(&oldest);
            }
        }
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
            Verdict::Begin(entries) => entries.iter().for_each(|it| orders.fold(it)),
            Verdict::Refuse(entry, _) => orders.fold(entry),
            Verdict::Wait | Verdict::Answer(_) | Verdict::Look { .. } => {}
        }
        verdict
    }

    fn end(orders: &mut Orders, key: &str, outcome: Outcome) {
        orders.fold(&Entry::OrderEnded { key: key.to_owned(), outcome });
    }

    fn started(session: Option<i32>) -> Entry {
        Entry::HostStarted { version: String::new(), session }
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
            orders.fold(&started(None));
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
        orders.fold(&started(Some(7)));
        take(&mut orders, &act);
        orders.fold(&started(Some(8)));
        for _ in 0..2 {
            let Verdict::Look { session, otherwise } = take(&mut orders, &act) else { panic!("it can be seen") };
            assert_eq!((session, otherwise.outcome.word(), otherwise.done_before), (Some(7), "unknown", true));
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

    #[test]
    fn the_oldest_that_ended_is_forgotten() {
        let mut orders = Orders::default();
        for nth in 0..REMEMBERED + 10 {
            take(&mut orders, &act(&nth.to_string()));
            if nth > 0 {
                end(&mut orders, &nth.to_string(), Outcome::Done);
            }
        }
        assert_eq!(orders.orders.len(), REMEMBERED);
        assert!(orders.is_under_way("0"));
        assert!(!orders.orders.contains_key("1"));
    }
}
