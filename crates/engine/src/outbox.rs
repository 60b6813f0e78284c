//! What people are told: which records are worth a line, how loud, and in which words.

use crate::effect::NoticeLevel;
use crate::record::{Body, Completion, TermValue};

/// What a record tells people, if it tells them anything.
pub(crate) fn notice(body: &Body) -> Option<(NoticeLevel, String)> {
    match body {
        Body::FailureDetected { component, instance, scenario, rule, .. } => {
            let by = rule.as_ref().map_or(String::new(), |it| format!(" by rule `{it}`"));
            Some((NoticeLevel::Warning, format!("{component}: {} of `{instance}` detected{by}", scenario.word())))
        }
        Body::RuleFired { rule, terms, .. } => {
            Some((NoticeLevel::Warning, format!("rule `{rule}` is true: {}", TermValue::list(terms))))
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
                Completion::ByItself => format!("{recovery} closed: healthy again without us"),
            },
        )),
        Body::RecoveryFailed { recovery, why } => Some((NoticeLevel::Error, format!("{recovery} failed: {why}"))),
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
        | Body::RuleCleared { .. }
        | Body::RecoveryInitiated { .. }
        | Body::RungSkipped { .. }
        | Body::RungStarted { .. }
        | Body::StepStarted { .. }
        | Body::StepTimedOut { .. }
        | Body::RungFailed { .. }
        | Body::Bound { .. }
        | Body::Rejoined { .. }
        | Body::TablePublished { .. } => None,
    }
}
