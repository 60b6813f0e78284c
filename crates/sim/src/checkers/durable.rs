//! S2: nothing is done before the record that justifies it is durable.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::effect::{Order, Telling};
use mainstay_engine::record::{Ended, StepRef};
use mainstay_engine::{Body, NoticeId, Record, RecoveryId};
use mainstay_plan::routing::RoutingTable;

use super::facts::Facts;

/// The model.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// Steps whose intent is durable, and the record that says so.
    begun: BTreeMap<StepRef, u64>,
    /// Tables whose record is durable.
    published: BTreeSet<u64>,
    /// Messages whose record is durable.
    messages: BTreeSet<(NoticeId, u32)>,
    /// Steps that end a lease.
    ends_lease: BTreeSet<StepRef>,
    /// Recoveries in whose rung the old owner's lease is over.
    over: BTreeSet<RecoveryId>,
}

impl Durable {
    pub(crate) fn begun_at(&self, step: StepRef) -> Option<u64> {
        self.begun.get(&step).copied()
    }

    pub(crate) fn recorded(&mut self, seq: u64, record: &Record) {
        self.leases(record);
        if let Body::StepStarted { step, .. } | Body::UndoStarted { step, .. } = &record.body {
            self.begun.insert(*step, seq);
        } else if let Body::TablePublished { epoch, .. } = &record.body {
            self.published.insert(*epoch);
        } else if let Body::TrafficAhead { epoch, .. } = &record.body {
            self.published.insert(*epoch);
        } else if let Body::NoticeSent { notice, nth, .. } = &record.body {
            self.messages.insert((*notice, *nth));
        } else if let Body::NoticeResent { notice, nth, .. } = &record.body {
            assert!(self.messages.contains(&(*notice, *nth)), "S2: {notice}/{nth} is sent again and never was");
        }
    }

    /// Whether it is durable that the lease of whoever was the component is over.
    pub(super) fn lease_is_over(&self, component: &str, facts: &Facts) -> bool {
        facts.of.get(component).is_some_and(|it| self.over.contains(it))
    }

    fn leases(&mut self, record: &Record) {
        if let Body::StepStarted { step, name, .. } = &record.body {
            if name.starts_with("end the lease of ") {
                self.ends_lease.insert(*step);
            }
        } else if let Body::StepEnded {
            step,
            ended: Ended::Done | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_),
        } = &record.body
        {
            if self.ends_lease.contains(step) {
                self.over.insert(step.recovery);
            }
        } else if let Body::RungFailed { recovery, .. } | Body::SwitchUndone { recovery, .. } = &record.body {
            self.over.remove(recovery);
        }
    }

    pub(crate) fn acted(&self, order: &Order) {
        assert!(self.begun.contains_key(&order.step), "S2: {:?} is done before its record is durable", order.step);
    }

    pub(crate) fn told(&self, telling: &Telling) {
        let message = (telling.notice, telling.nth);
        assert!(self.messages.contains(&message), "S2: {message:?} is told before its record is durable");
    }

    pub(crate) fn ordered(&self, table: &RoutingTable) {
        let epoch = table.epoch;
        assert!(self.published.contains(&epoch), "S2: epoch {epoch} is sent before its record is durable");
    }
}
