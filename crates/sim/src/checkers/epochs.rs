//! S9: epochs only grow, an epoch names one table, and nobody is sent an older one than is served.

use std::collections::BTreeMap;

use mainstay_plan::routing::RoutingTable;

/// The model.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    /// The highest that this agent has sent.
    highest: u64,
    /// What is served.
    served: u64,
    /// What each epoch said, as this agent sent it.
    said: BTreeMap<u64, RoutingTable>,
}

impl Epochs {
    /// Orders begin anew, what is served does not.
    pub(super) fn agent_started(&mut self) {
        self.highest = 0;
        self.said.clear();
    }

    /// Addresses may change with the plan, under the same epoch.
    pub(super) fn plan_changed(&mut self) {
        self.said.clear();
    }

    pub(super) fn ordered(&mut self, table: &RoutingTable) {
        let epoch = table.epoch;
        assert!(epoch >= self.highest, "S9: epoch {epoch} is sent after {}", self.highest);
        assert!(epoch >= self.served, "S9: epoch {epoch} is sent, and {} is served", self.served);
        self.highest = epoch;
        if let Some(before) = self.said.insert(epoch, table.clone()) {
            assert!(before == *table, "S9: epoch {epoch} names two tables");
        }
        self.said.retain(|it, _| *it >= epoch);
    }

    pub(super) fn applied(&mut self, table: &RoutingTable) {
        assert!(table.epoch >= self.served, "S9: epoch {} is served after {}", table.epoch, self.served);
        self.served = table.epoch;
    }
}
