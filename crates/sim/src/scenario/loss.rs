//! What a failure takes, and what is missing beside it: laid over a plan, and done to a world.
//!
//! It is worked out from the plan alone, by the rules of the proof: what is not stated may be the same, and what takes a host,
//! a zone or a region takes what its instances live on.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstay_plan::action::Plane;
use mainstay_plan::location::{FailureDomain, Location};
use mainstay_plan::proof::Condition;
use mainstay_plan::rule::{Condition as Says, Expr, Measure, Value};
use mainstay_plan::strategy::Strategy;
use mainstay_plan::{ComponentIx, InstanceIx, Plan};

use crate::world::Fault;
use crate::{Broken, Gray, Server, World};

/// What fails, and what else is missing.
#[derive(Clone, Debug)]
pub struct Loss<'a> {
    plan: &'a Plan,
    failure: FailureDomain,
    condition: Condition,
    /// What is lost is around here.
    at: Location,
    /// Lost whatever their place says.
    named: BTreeSet<InstanceIx>,
    /// What these and their dependencies live on is lost with them.
    roots: Vec<ComponentIx>,
}

impl<'a> Loss<'a> {
    /// As a cell of the proof says it: around the original instance of a component.
    pub fn around(plan: &'a Plan, component: ComponentIx, failure: FailureDomain, condition: Condition) -> Loss<'a> {
        let home = plan.component(component).original();
        let (at, named) = (plan.instance(home).location.clone(), BTreeSet::from([home]));
        Loss { plan, failure, condition, at, named, roots: vec![component] }
    }

    /// All of a place, or the `named` instances.
    pub(super) fn of(
        plan: &'a Plan,
        failure: FailureDomain,
        at: Location,
        named: BTreeSet<InstanceIx>,
        condition: Condition,
    ) -> Loss<'a> {
        let mut loss = Loss { plan, failure, condition, at, named, roots: Vec::new() };
        loss.roots = all(plan).filter(|it| loss.takes_instance(plan.component(*it).original())).collect();
        loss
    }

    /// What else is missing.
    pub const fn condition(&self) -> Condition {
        self.condition
    }

    /// Whether something that lives there is lost.
    pub fn takes(&self, location: &Location) -> bool {
        self.at.shares(location, self.failure)
    }

    /// Whether an instance is lost.
    pub fn takes_instance(&self, ix: InstanceIx) -> bool {
        self.named.contains(&ix) || self.takes(&self.plan.instance(ix).location) || self.takes_part_of(ix)
    }

    /// Whether the machine that the agent runs on is lost.
    pub fn takes_agent(&self) -> bool {
        self.condition == Condition::AgentsHostGone || self.takes(&self.plan.site.location)
    }

    /// Components whose original instance is lost.
    pub fn components(&self) -> impl Iterator<Item = ComponentIx> {
        all(self.plan).filter(|it| self.takes_instance(self.plan.component(*it).original()))
    }

    /// Whether an instance lives on a part that a failed one lives on, or something that it needs and is lost with it: what
    /// takes a zone down takes what any of them live on.
    pub(super) fn takes_part_of(&self, ix: InstanceIx) -> bool {
        let it = self.plan.instance(ix);
        if self.failure == FailureDomain::Instance || it.shares.is_empty() {
            return false;
        }
        let mut open = self.roots.clone();
        let mut seen: BTreeSet<ComponentIx> = open.iter().copied().collect();
        while let Some(next) = open.pop() {
            let component = self.plan.component(next);
            let original = self.plan.instance(component.original());
            let lost = self.named.contains(&component.original()) || self.takes(&original.location);
            if lost && it.shares.iter().any(|it| original.shares.contains(it)) {
                return true;
            }
            open.extend(component.depends_on.iter().copied().filter(|it| seen.insert(*it)));
        }
        false
    }

    /// What does not work any more. `hangs`: whether what can't be done runs into its timeout.
    pub fn broken(&self, hangs: bool) -> Broken {
        let mut broken = Broken { hangs, ..Broken::default() };
        for (it, ix) in self.plan.instances.iter().zip((0u32..).map(InstanceIx)) {
            let machine = !self.named.contains(&ix) || self.failure != FailureDomain::Instance;
            let cut_off = self.condition == Condition::AgentsPathGone && !self.is_local(ix);
            if (self.takes_instance(ix) && machine) || cut_off {
                broken.machines.insert(it.name.clone());
            }
        }
        match self.condition {
            Condition::RegionalControlGone => drop(broken.planes.insert(Plane::RegionalControl)),
            Condition::GlobalControlGone => drop(broken.planes.insert(Plane::GlobalControl)),
            Condition::DnsGone => broken.dns = true,
            Condition::None
            | Condition::AgentsHostGone
            | Condition::AgentsPathGone
            | Condition::CoordinationStoreGone
            | Condition::BackupsLocationGone
            | Condition::AgentRestarts => {}
        }
        broken.prepared =
            (0..self.plan.prepared.len()).filter(|it| self.takes(&self.plan.prepared[*it].location)).collect();
        for ix in all(self.plan) {
            for (at, rung) in self.plan.component(ix).ladder.iter().enumerate() {
                if self.rung_is_void(ix, rung.strategy, rung.backup) {
                    broken.rungs.insert((ix, at));
                }
            }
        }
        broken
    }

    fn is_local(&self, ix: InstanceIx) -> bool {
        self.plan.site.location.shares(&self.plan.instance(ix).location, FailureDomain::Host)
    }

    /// Whether what a rung of the user's own is for is not there.
    fn rung_is_void(&self, ix: ComponentIx, strategy: Strategy, backup: Option<usize>) -> bool {
        let component = self.plan.component(ix);
        let far = matches!(self.failure, FailureDomain::Zone | FailureDomain::Region);
        let lost = self.takes_instance(component.original());
        if self.condition == Condition::AgentsPathGone && !self.is_local(component.original()) {
            return !matches!(strategy, Strategy::RestartService | Strategy::FailoverToStandby);
        }
        match strategy {
            Strategy::RestartService | Strategy::FailoverToStandby => false,
            Strategy::ReplaceInstance | Strategy::ScaleOut => lost && far,
            Strategy::RestoreFromBackup => {
                let machine = lost && self.failure != FailureDomain::Instance;
                let gone = self.condition == Condition::BackupsLocationGone;
                let Some(backup) = backup.map(|it| &component.backups[it]) else { return machine || gone };
                let left: Vec<&Location> = backup.places().map(|it| it.0).filter(|it| !self.takes(it)).collect();
                let Some(first) = left.first() else { return true };
                machine || (gone && left.iter().all(|it| it == first))
            }
        }
    }

    /// Makes a world ready for it: what is missing from the beginning is missing, and nothing is so slow that it counts as
    /// failed by itself.
    pub fn prepare(&self, world: &mut World) {
        if self.condition == Condition::DnsGone {
            world.fault(Duration::ZERO, Fault::Breaks(Box::new(Broken { dns: true, ..Broken::default() })));
        }
        for (probe, takes) in no_slower(self.plan) {
            world.suffer_gray(Gray::Slow(probe, Some(takes)));
        }
    }

    /// Everything that is lost goes at once, and the condition with it. `looks`: how lost servers meet a question. The agent is
    /// killed after `killed`, where that is asked for.
    pub fn strike(&self, world: &mut World, looks: Server, hangs: bool, killed: Option<Duration>) {
        let now = Duration::ZERO;
        for (it, ix) in self.plan.instances.iter().zip((0u32..).map(InstanceIx)) {
            if self.takes_instance(ix) {
                world.fault(now, Fault::Server(it.name.clone(), looks));
            }
        }
        for it in self.plan.witnesses.iter().filter(|it| self.takes(&it.location)) {
            world.fault(now, Fault::Server(it.name.clone(), looks));
        }
        world.fault(now, Fault::Breaks(Box::new(self.broken(hangs))));
        if self.takes_agent() {
            world.fault(now, Fault::AgentsMachineGone);
        }
        if self.condition == Condition::AgentsPathGone {
            world.fault(now, Fault::OwnPath(true));
        }
        if let Some(after) = killed {
            world.fault(after, Fault::AgentKilled(self.plan.allowances.agent_restart));
        }
        world.run_for(now);
    }
}

fn all(plan: &Plan) -> impl Iterator<Item = ComponentIx> + use<> {
    (0u32..).map(ComponentIx).take(plan.components.len())
}

/// How long the answers of a probe may take at most if its instance is to count as whole: what a rule takes for slow is a
/// failure of its own.
fn no_slower(plan: &Plan) -> Vec<(String, Duration)> {
    fn collect(plan: &Plan, expr: &Expr, found: &mut Vec<(String, Duration)>) {
        match &expr.what {
            Says::All(parts) | Says::Any(parts) => parts.iter().for_each(|it| collect(plan, it, found)),
            Says::Not(part) | Says::For { held: part, .. } => collect(plan, part, found),
            Says::Compare { left, right, .. } => {
                if let (Measure::Latency { probe, .. }, Measure::Constant(Value::Duration(than))) =
                    (&left.what, &right.what)
                {
                    found.push((plan.probe(*probe).name.clone(), *than / 2));
                }
            }
        }
    }
    let mut found = Vec::new();
    plan.rules.iter().for_each(|it| collect(plan, &it.when, &mut found));
    found
}
