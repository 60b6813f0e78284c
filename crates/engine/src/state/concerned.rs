//! Whom a record concerns: what has to be counted anew, and looked at again.

use mainstay_plan::{ComponentIx, DomainIx};

use super::{State, component_of};
use crate::record::Body;

/// Whom a record concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concerned {
    /// Everybody.
    All,
    /// A component, and what depends on it.
    Component(ComponentIx),
    /// A zone or region, and whoever waits for its word.
    Domain(DomainIx),
    /// All components with an open recovery.
    Open,
    /// Nobody.
    Nobody,
    /// Nobody, and no route either: people are told.
    Outbox,
}

impl State {
    pub(crate) fn concerned(&self, body: &Body) -> Concerned {
        let state = self;
        let component = |name: &str| state.component(name).map_or(Concerned::Nobody, Concerned::Component);
        let instance = |name: &str| {
            let of = |it| Concerned::Component(state.plan.instance(it).component);
            state.instance(name).map_or(Concerned::Nobody, of)
        };
        let recovery = |id| state.open_recovery(id).map_or(Concerned::Nobody, |it| Concerned::Component(it.component));
        let domain = |region: &str, zone: Option<&str>| {
            state.topology.named(region, zone).map_or(Concerned::Nobody, Concerned::Domain)
        };
        match body {
            Body::AgentStarted { .. }
            | Body::AgentStopped { .. }
            | Body::PlanAdopted { .. }
            | Body::LeaseChanged { .. }
            | Body::OwnLateness { .. }
            | Body::TrafficAhead { .. }
            | Body::Commanded { .. }
            | Body::JournalLost { .. } => Concerned::All,
            Body::PeerOrder { .. } | Body::HostRefused { .. } => Concerned::Nobody,
            Body::Told { .. } | Body::NoticeSent { .. } | Body::NoticeResent { .. } => Concerned::Outbox,
            Body::RouteApplied { .. }
            | Body::RouteRefused { .. }
            | Body::TrafficSilent { .. }
            | Body::CutBySilence { .. }
            | Body::TablePublished { .. }
            | Body::BreakerChanged { .. } => Concerned::Open,
            Body::CanaryChanged { .. } => Concerned::Nobody,
            Body::RouteHeld { .. } | Body::RouteFreed { .. } => Concerned::Nobody,
            // Where components may go, and go back to, changes.
            Body::EvacuationEnded { .. } => Concerned::All,
            Body::EvacuationHeld { .. } | Body::EvacuationSettled { .. } | Body::EvacuationExpires { .. } => {
                Concerned::Nobody
            }
            Body::NeighbourAnswered { region, zone, .. } => domain(region, zone.as_deref()),
            Body::IncidentOpened { region, zone, .. } => domain(region, zone.as_deref()),
            Body::IncidentEnded { incident, .. } | Body::IncidentRecovered { incident, .. } => {
                state.incidents.get(incident).map_or(Concerned::Nobody, |it| Concerned::Domain(it.domain))
            }
            Body::HealthChanged { instance: name, .. }
            | Body::InStepChanged { instance: name, .. }
            | Body::RoleSeen { instance: name, .. }
            | Body::DependencyAnswered { instance: name, .. }
            | Body::PositionFrozen { instance: name, .. }
            | Body::Impaired { instance: name, .. }
            | Body::ImpairmentEnded { instance: name, .. }
            | Body::AddressChanged { instance: name, .. }
            | Body::RepairStarted { instance: name, .. }
            | Body::RepairFailed { instance: name, .. }
            | Body::RepairCompleted { instance: name, .. }
            | Body::Rejoined { instance: name } => instance(name),
            Body::RuleFired { rule, .. } | Body::RuleCleared { rule } => {
                let component = |it: usize| component_of(&state.plan, &state.plan.rules[it]).map(Concerned::Component);
                let domain = |it: usize| state.domain_of_rule(it).map(Concerned::Domain);
                state.rule(rule).and_then(|it| component(it).or_else(|| domain(it))).unwrap_or(Concerned::Nobody)
            }
            Body::WitnessesAnswered { component: name, .. }
            | Body::SignalsSeen { component: name, .. }
            | Body::ObserversAnswered { component: name, .. }
            | Body::FailureDetected { component: name, .. }
            | Body::SwitchStarted { component: name, .. }
            | Body::SeenElsewhere { component: name, .. }
            | Body::ElsewhereOver { component: name, .. }
            | Body::AdoptionStarted { component: name, .. }
            | Body::KeepingStarted { component: name, .. }
            | Body::KeepingCompleted { component: name, .. }
            | Body::KeepingFailed { component: name, .. }
            | Body::KeepingGaveWay { component: name, .. }
            | Body::KeepingOverdue { component: name, .. }
            | Body::Bound { component: name, .. } => component(name),
            Body::StepEnded { step, .. }
            | Body::StepStarted { step, .. }
            | Body::UndoStarted { step, .. }
            | Body::RetryScheduled { step, .. }
            | Body::FencePassedOver { step, .. }
            | Body::StepTimedOut { step, .. } => match state.open_repair(step.recovery) {
                Some((ix, _)) => Concerned::Component(state.plan.instance(ix).component),
                None => match state.open_keeping(step.recovery) {
                    Some((component, ..)) => Concerned::Component(component),
                    None => recovery(step.recovery),
                },
            },
            Body::Classified { recovery: id, .. }
            | Body::Held { recovery: id, .. }
            | Body::RecoveryInitiated { recovery: id, .. }
            | Body::RungSkipped { recovery: id, .. }
            | Body::RungStarted { recovery: id, .. }
            | Body::RungFailed { recovery: id, .. }
            | Body::FenceConfirmed { recovery: id, .. }
            | Body::RollbackStarted { recovery: id, .. }
            | Body::SwitchUndone { recovery: id, .. }
            | Body::BudgetExceeded { recovery: id, .. }
            | Body::RecoveryCompleted { recovery: id, .. }
            | Body::RecoveryFailed { recovery: id, .. } => recovery(*id),
        }
    }
}
