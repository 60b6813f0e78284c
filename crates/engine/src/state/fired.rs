//! Rules that are true, as far as the journal knows, and whom they accuse.

use mainstay_plan::observation::{Health, Scenario};
use mainstay_plan::rule::{Rule, Scope};
use mainstay_plan::{ComponentIx, DomainIx, InstanceIx, Plan, Time};
use std::collections::BTreeMap;

use super::State;
use crate::record::TermValue;

/// A rule that fired and has not ceased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiredRule {
    /// Its name.
    pub rule: String,
    /// When it was seen to be true.
    pub at: Time,
    /// Since when what it says has held.
    pub since: Time,
    /// The value of each of its terms when it fired.
    pub terms: Vec<TermValue>,
    /// What has happened, as it says.
    pub then: Scenario,
    /// The instance that has failed, as it says. A rule about a component speaks of whatever was the component when it fired: a
    /// takeover does not make the new one guilty.
    pub accused: Option<InstanceIx>,
    /// The zone or region that is lost, as it says.
    pub domain: Option<DomainIx>,
}

/// Rules by the component that they speak of.
pub(super) fn by_component(plan: &Plan) -> BTreeMap<ComponentIx, Vec<usize>> {
    let mut found: BTreeMap<ComponentIx, Vec<usize>> = BTreeMap::new();
    for (at, rule) in plan.rules.iter().enumerate() {
        if let Some(component) = component_of(plan, rule) {
            found.entry(component).or_default().push(at);
        }
    }
    found
}

/// The component that a rule speaks of, if it speaks of one.
pub(crate) fn component_of(plan: &Plan, rule: &Rule) -> Option<ComponentIx> {
    match (rule.then, &rule.of) {
        (Scenario::InstanceFailure | Scenario::ServiceFailure, Scope::Component(component)) => Some(*component),
        (Scenario::InstanceFailure | Scenario::ServiceFailure, Scope::Instances(list)) => {
            list.first().map(|it| plan.instance(*it).component)
        }
        (Scenario::InstanceFailure | Scenario::ServiceFailure, _)
        | (Scenario::AvailabilityZoneFailure | Scenario::RegionFailure, _) => None,
    }
}

impl State {
    /// A rule that is true, by its place in the plan.
    pub fn fired(&self, rule: usize) -> Option<&FiredRule> {
        self.fired.get(&rule)
    }

    /// All rules that are true, in the order of the plan.
    pub fn fired_rules(&self) -> impl Iterator<Item = &FiredRule> {
        self.fired.values()
    }

    /// The first rule that says that this instance has failed.
    pub fn accuser(&self, instance: InstanceIx) -> Option<&FiredRule> {
        let rules = self.rules_of.get(&self.plan.instance(instance).component)?;
        rules.iter().filter_map(|it| self.fired.get(it)).find(|it| it.accused == Some(instance))
    }

    /// The zone or region that a rule speaks of, if it speaks of one.
    pub(crate) fn domain_of_rule(&self, rule: usize) -> Option<DomainIx> {
        match &self.plan.rules[rule].of {
            Scope::Region(region) => self.topology.named(region, None),
            Scope::Zone { region, zone } => self.topology.named(region, Some(zone)),
            Scope::All | Scope::Host(_) | Scope::Component(_) | Scope::Instances(_) => None,
        }
    }

    /// The first rule that says that a zone or region is lost.
    pub(crate) fn accuser_of_domain(&self, domain: DomainIx) -> Option<&FiredRule> {
        self.fired.values().find(|it| it.domain == Some(domain))
    }

    /// Since when the instance that a component is bound to has failed, by its probes or by a rule.
    pub(crate) fn failing_since(&self, component: ComponentIx) -> Option<Time> {
        let bound = self.components[component.index()].bound;
        let instance = &self.instances[bound.index()];
        let down = (instance.health == Health::Down).then_some(instance.since);
        down.or_else(|| self.accuser(bound).map(|it| it.since))
    }

    /// Whether an instance does what it should: its probes find it healthy, and no rule says otherwise.
    pub(crate) fn is_whole(&self, instance: InstanceIx) -> bool {
        self.instances[instance.index()].health == Health::Healthy && self.accuser(instance).is_none()
    }

    pub(super) fn on_rule_fired(&mut self, at: Time, name: &str, since: Time, terms: &[TermValue]) {
        let Some(ix) = self.names.rules.get(name).copied() else { return };
        let rule = &self.plan.rules[ix];
        let accused = component_of(&self.plan, rule).map(|component| match &rule.of {
            Scope::Instances(list) => list[0],
            Scope::All | Scope::Region(_) | Scope::Zone { .. } | Scope::Host(_) | Scope::Component(_) => {
                self.components[component.index()].bound
            }
        });
        let (domain, rule, then) = (self.domain_of_rule(ix), rule.name.clone(), rule.then);
        self.fired.insert(ix, FiredRule { rule, at, since, terms: terms.to_vec(), then, accused, domain });
    }

    pub(super) fn on_rule_cleared(&mut self, name: &str) {
        if let Some(ix) = self.names.rules.get(name) {
            self.fired.remove(ix);
        }
    }
}
