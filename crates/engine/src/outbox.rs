//! What people are told: which records are worth a line, how loud, and in which words.

use crate::breaker::Position;
use mainstay_plan::observation::Scenario;

use crate::effect::NoticeLevel;
use crate::record::{Body, Completion, RecoveryId};
use crate::scenario;
use crate::state::State;
use crate::waiting::WaitingOn;

/// What a record tells people, if it tells them anything. They hear of a failure once it is known what failed, and of a lost
/// zone once rather than of each that lived there.
pub(crate) fn notice(state: &State, body: &Body) -> Option<(NoticeLevel, String)> {
    match body {
        Body::FailureDetected { incident: Some(_), .. } | Body::Held { waiting: WaitingOn::Correlation { .. }, .. } => {
            None
        }
        Body::SwitchStarted { component, to, by, reason, .. } => {
            Some((NoticeLevel::Info, format!("{component}: planned switch to `{to}` by {by}: {reason}")))
        }
        Body::SwitchUndone { recovery, why } => {
            Some((NoticeLevel::Warning, format!("{recovery} is undone, the old owner is made active again: {why}")))
        }
        Body::FailureDetected { component, instance, scenario, .. } => {
            let recovery = state.components[state.component(component)?.index()].recovery.as_ref()?;
            let open = scenario::correlation(state, recovery, recovery.opened).is_some();
            (!open).then(|| detected(component, instance, *scenario))
        }
        Body::Classified { recovery, scenario, .. } => {
            let recovery = state.open_recovery(*recovery)?;
            Some(detected(&recovery.component_name, &recovery.failed, *scenario))
        }
        Body::IncidentOpened { scenario, region, zone, evidence, .. } => {
            let what = zone.as_ref().map_or_else(|| region.clone(), |zone| format!("{region}/{zone}"));
            Some((NoticeLevel::Error, format!("{what} is lost ({}): {}", scenario.word(), evidence.join("; "))))
        }
        Body::IncidentEnded { incident, why } => Some((NoticeLevel::Info, format!("{incident} is over: {why}"))),
        Body::RecoveryCompleted { recovery, .. } if is_in_incident(state, *recovery) => None,
        Body::Held { recovery, waiting } => {
            let text = format!("{recovery} waits: {waiting}; to overrule: {}", waiting.way_out(*recovery));
            Some((NoticeLevel::Warning, text))
        }
        Body::RecoveryCompleted { recovery, how, .. } => Some((
            NoticeLevel::Info,
            match how {
                Completion::ByRung { strategy, instance } => {
                    format!("{recovery} completed by {}: `{instance}` serves", strategy.word())
                }
                Completion::Switched { instance } => format!("{recovery} completed as planned: `{instance}` serves"),
                Completion::ByItself => format!("{recovery} closed: healthy again without us"),
            },
        )),
        Body::BudgetExceeded { recovery, rto_ns } => {
            let rto = std::time::Duration::from_nanos(*rto_ns);
            Some((NoticeLevel::Error, format!("{recovery} takes longer than the objective of {rto:?}; it goes on")))
        }
        Body::RollbackStarted { recovery, why, .. } => {
            Some((NoticeLevel::Warning, format!("{recovery} takes back what it did: {why}")))
        }
        Body::RecoveryFailed { recovery, why } => Some((NoticeLevel::Error, format!("{recovery} failed: {why}"))),
        Body::BreakerChanged { service, region, to, why, .. } => match to {
            Position::Open | Position::HeldOpen => {
                Some((NoticeLevel::Warning, format!("control plane {service} in {region} counts as down: {why}")))
            }
            Position::Closed => {
                Some((NoticeLevel::Info, format!("control plane {service} in {region} counts as working: {why}")))
            }
            Position::HalfOpen | Position::HeldClosed => None,
        },
        Body::JournalLost { reason } => Some((NoticeLevel::Error, format!("the journal is lost: {reason}"))),
        Body::TrafficAhead { process, epoch, .. } => Some((
            NoticeLevel::Warning,
            format!(
                "traffic process `{process}` serves epoch {epoch}, later than this journal knows: taken over as it is"
            ),
        )),
        Body::AgentStarted { .. }
        | Body::AgentStopped { .. }
        | Body::PlanAdopted { .. }
        | Body::HealthChanged { .. }
        | Body::OwnLateness { .. }
        | Body::WitnessesAnswered { .. }
        | Body::NeighbourAnswered { .. }
        | Body::DependencyAnswered { .. }
        | Body::PositionFrozen { .. }
        | Body::StepEnded { .. }
        | Body::RouteApplied { .. }
        | Body::RouteRefused { .. }
        | Body::Commanded { .. }
        | Body::RecoveryInitiated { .. }
        | Body::RungSkipped { .. }
        | Body::RungStarted { .. }
        | Body::StepStarted { .. }
        | Body::StepTimedOut { .. }
        | Body::RetryScheduled { .. }
        | Body::UndoStarted { .. }
        | Body::RungFailed { .. }
        | Body::Bound { .. }
        | Body::Rejoined { .. }
        | Body::TablePublished { .. }
        | Body::InStepChanged { .. }
        | Body::CanaryChanged { .. } => None,
    }
}

fn detected(component: &str, instance: &str, scenario: Scenario) -> (NoticeLevel, String) {
    (NoticeLevel::Warning, format!("{component}: {} of `{instance}` detected", scenario.word()))
}

fn is_in_incident(state: &State, id: RecoveryId) -> bool {
    let closed = || state.history.iter().rev().find(|it| it.id == id);
    state.open_recovery(id).or_else(closed).is_some_and(|it| it.incident.is_some())
}
