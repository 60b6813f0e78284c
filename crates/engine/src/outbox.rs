//! What people are told: which records are worth a line, how loud, and in which words.

use crate::breaker::Position;
use crate::effect::NoticeLevel;
use crate::record::{Body, Completion};

/// What a record tells people, if it tells them anything.
pub(crate) fn notice(body: &Body) -> Option<(NoticeLevel, String)> {
    match body {
        Body::FailureDetected { component, instance, scenario, .. } => {
            Some((NoticeLevel::Warning, format!("{component}: {} of `{instance}` detected", scenario.word())))
        }
        Body::SwitchStarted { component, to, by, reason, .. } => {
            Some((NoticeLevel::Info, format!("{component}: planned switch to `{to}` by {by}: {reason}")))
        }
        Body::SwitchUndone { recovery, why } => {
            Some((NoticeLevel::Warning, format!("{recovery} is undone, the old owner is made active again: {why}")))
        }
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
        | Body::RungFailed { .. }
        | Body::Bound { .. }
        | Body::Rejoined { .. }
        | Body::TablePublished { .. }
        | Body::InStepChanged { .. }
        | Body::CanaryChanged { .. } => None,
    }
}
