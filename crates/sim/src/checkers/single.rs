//! S1: at most one recovery runs on a component, and at no instant do two targets of an exclusive route accept its clients.

use mainstay_engine::{Body, Record};
use mainstay_plan::routing::{RoutingTable, TargetState};

use super::facts::Facts;

pub(super) fn recorded(record: &Record, facts: &Facts) {
    let (Body::FailureDetected { component, .. }
    | Body::SwitchStarted { component, .. }
    | Body::AdoptionStarted { component, .. }) = &record.body
    else {
        return;
    };
    let before = facts.of.get(component);
    assert!(before.is_none(), "S1: a second recovery of {component} while {before:?} is open");
}

/// What is served from now on.
pub(super) fn applied(table: &RoutingTable) {
    assert_eq!(table.validate(), Ok(()), "S1: a table that no traffic process may serve");
}

pub(super) fn after_step(table: &RoutingTable) {
    for route in table.routes.iter().filter(|it| it.exclusive) {
        let serving = route.targets.iter().filter(|it| it.state == TargetState::Serving).count();
        assert!(serving <= 1, "S1: {} has {serving} owners", route.name);
    }
}
