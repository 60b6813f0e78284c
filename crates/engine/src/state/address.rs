//! Folding where instances are.

use std::net::IpAddr;

use mainstay_plan::{ComponentIx, InstanceIx, Time};

use super::State;
use crate::record::{ReportedTarget, StepRef};

/// An instance that is not where the plan says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// Where it is. Each probe and each target keeps its port.
    pub address: IpAddr,
    /// The hosts at which the plan had it then: under a plan that has it at others, that plan counts.
    pub instead_of: Vec<String>,
    /// Since when.
    pub since: Time,
    /// Who says so.
    pub why: String,
}

/// Where an instance was said to be, until that is recorded as a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// `None`: where the plan says.
    pub address: Option<IpAddr>,
    /// The step that brought it there.
    pub step: Option<StepRef>,
    /// Who says so.
    pub why: String,
}

impl State {
    /// Where an instance is, if not where the plan says.
    pub fn address(&self, ix: InstanceIx) -> Option<IpAddr> {
        self.instances[ix.index()].elsewhere.as_ref().map(|it| it.address)
    }

    /// Whether clients are led to where the instances of a component are: tables that say so are served everywhere.
    pub(crate) fn leads_there(&self, component: ComponentIx) -> bool {
        let planned = self.plan.component(component);
        let published = |it| crate::route::is_published_where_it_is(self, it);
        let moved = planned.instances.iter().any(|it| self.address(*it).is_some());
        planned.routes.iter().all(|it| published(*it)) && (!moved || self.routes_converged())
    }

    /// Something says where an instance is.
    pub(super) fn arrives(&mut self, ix: InstanceIx, address: Option<IpAddr>, step: Option<StepRef>, why: String) {
        self.instances[ix.index()].arrival = Some(Arrival { address, step, why });
    }

    /// A traffic process that knows more than the journal serves it there.
    pub(super) fn on_served_at(&mut self, target: &ReportedTarget) {
        let Some(ix) = self.instance(&target.instance) else { return };
        if self.address(ix) != target.address {
            self.arrives(ix, target.address, None, "the traffic process serves it there".to_owned());
        }
    }

    /// What was seen of it where it was before does not count.
    pub(super) fn on_address(&mut self, at: Time, name: &str, now: Option<Whereabouts>, step: Option<StepRef>) {
        let Some(ix) = self.instance(name) else { return };
        let (was, is) = (self.address(ix), now.as_ref().map(|it| it.address));
        let instance = &mut self.instances[ix.index()];
        instance.arrival = None;
        instance.elsewhere = now;
        if let Some(step) = step {
            instance.came_from = Some((step, was));
        }
        if was != is {
            self.acted_on.push(ix);
            self.doubt(at, ix);
        }
    }

    /// Whoever was brought elsewhere by a step that was undone is where it was before.
    pub(super) fn on_undone(&mut self, ix: InstanceIx, step: StepRef) {
        let same = |it: &StepRef| (it.recovery, it.rung, it.step) == (step.recovery, step.rung, step.step);
        let Some((_, before)) = self.instances[ix.index()].came_from.take_if(|it| same(&it.0)) else { return };
        if before != self.address(ix) {
            self.arrives(ix, before, None, "what brought it to another address was undone".to_owned());
        }
    }
}
