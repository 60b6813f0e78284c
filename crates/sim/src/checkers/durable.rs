//! S2: nothing is done before the record that justifies it is durable.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::effect::{Order, Telling};
use mainstay_engine::record::StepRef;
use mainstay_engine::{Body, NoticeId, Record};
use mainstay_plan::routing::RoutingTable;

/// The model.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// Steps whose intent is durable, and the record that says so.
    begun: BTreeMap<StepRef, u64>,
    /// Tables whose record is durable.
    published: BTreeSet<u64>,
    /// Messages whose record is durable.
    messages: BTreeSet<(NoticeId, u32)>,
}

impl Durable {
    pub(crate) fn begun_at(&self, step: StepRef) -> Option<u64> {
        self.begun.get(&step).copied()
    }

    pub(crate) fn recorded(&mut self, seq: u64, record: &Record) {
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
