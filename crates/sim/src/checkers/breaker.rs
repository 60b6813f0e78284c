//! G4: a breaker closes as soon as its canary answers.

use std::collections::BTreeMap;

use mainstay_engine::breaker::Position;
use mainstay_engine::{Body, Record};
use mainstay_plan::Time;
use mainstay_plan::observation::Health;

type Plane = (String, String);

/// The model.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    position: BTreeMap<Plane, Position>,
    /// Breakers that have to close, and since when.
    due: BTreeMap<Plane, Time>,
}

impl Breakers {
    pub(super) fn recorded(&mut self, record: &Record) {
        if let Body::AgentStarted { .. } | Body::PlanAdopted { .. } = &record.body {
            self.due.clear();
        }
        let late = self.due.iter().find(|it| *it.1 < record.at);
        assert!(late.is_none(), "G4: the breaker {late:?} is still open, and its canary answers");
        if let Body::BreakerChanged { service, region, to, .. } = &record.body {
            let plane = (service.clone(), region.clone());
            self.due.remove(&plane);
            self.position.insert(plane, *to);
        } else if let Body::CanaryChanged { service, region, to: Health::Healthy, .. } = &record.body {
            let plane = (service.clone(), region.clone());
            if let Some(Position::Open | Position::HalfOpen) = self.position.get(&plane) {
                self.due.insert(plane, record.at);
            }
        } else if let Body::CanaryChanged { service, region, .. } = &record.body {
            self.due.remove(&(service.clone(), region.clone()));
        }
    }
}
