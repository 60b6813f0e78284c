//! What people are told: which records are worth a line, how loud, in which words, and to which notice the line belongs.
//! Whoever adds a kind of record says it here.
//!
//! The board itself is [`crate::state::notices`]; what is told, repeated and escalated is decided here, like everything
//! else from the state and the time alone, and is recorded before anybody is told.

use mainstay_plan::Time;
use mainstay_plan::notification::NoticeLevel;
use mainstay_plan::observation::Health;

use crate::record::{Body, Completion, RecoveryId};
use crate::state::State;
use crate::state::notices::{Draft, Happening, Stage, Topic};

/// The next message that is due, or the next channel that is tried again.
pub(crate) fn next(state: &State, now: Time) -> Option<Body> {
    if let Some((at, notice)) = state.notices.first_due()
        && at <= now
    {
        let Draft { nth, escalated, level, text, to } = state.notices.draft(&state.plan, notice, now)?;
        return Some(Body::NoticeSent { notice, nth, escalated, level, text, to });
    }
    let (_, channel, message) = state.notices.first_again().filter(|it| it.0 <= now)?;
    Some(Body::NoticeResent { channel: channel.to_owned(), notice: message.notice, nth: message.nth })
}

/// When [`next`] could say something although no fact came in.
pub(crate) fn next_time(state: &State) -> Option<Time> {
    [state.notices.first_due().map(|it| it.0), state.notices.first_again().map(|it| it.0)].into_iter().flatten().min()
}

/// What a record tells people, if it tells them anything: asked before the record is folded.
pub(crate) fn happening(state: &State, body: &Body) -> Option<Happening> {
    let of_recovery = |id: RecoveryId, stage: Stage| {
        let recovery = state.open_recovery(id)?;
        Some((Topic::Component(recovery.component_name.clone()), stage, Some(id)))
    };
    let (topic, stage, recovery) = match body {
        Body::FailureDetected { component, .. } => {
            (Topic::Component(component.clone()), Stage::Stands, Some(RecoveryId(state.seq)))
        }
        Body::Held { recovery, .. } => of_recovery(*recovery, Stage::Stands)?,
        Body::RecoveryCompleted { recovery, .. } => of_recovery(*recovery, Stage::Over)?,
        Body::RecoveryFailed { recovery, .. } => {
            let component = state.open_recovery(*recovery)?.component;
            let bound = state.components[component.index()].bound;
            let whole = state.instances[bound.index()].health == Health::Healthy;
            of_recovery(*recovery, if whole { Stage::Over } else { Stage::Stands })?
        }
        Body::HealthChanged { instance, to: Health::Healthy, .. } => return whole_again(state, instance),
        Body::JournalLost { .. } => (Topic::Journal, Stage::Stands, None),
        Body::AgentStarted { .. } if state.journal_lost.is_some() => {
            let text = "an agent was started, with a journal that can be written".to_owned();
            let (level, topic) = (NoticeLevel::Info, Topic::Journal);
            return Some(Happening { topic, level, text, stage: Stage::Over, recovery: None });
        }
        Body::TrafficAhead { process, .. } => (Topic::Traffic(process.clone()), Stage::Once, None),
        Body::RouteRefused { process, .. } => (Topic::Traffic(process.clone()), Stage::Stands, None),
        Body::RouteApplied { process, epoch } if state.routing.refused.is_some() && *epoch >= state.routing.epoch => {
            let text = format!("traffic process `{process}` serves the newest table");
            let topic = Topic::Traffic(process.clone());
            return Some(Happening { topic, level: NoticeLevel::Info, text, stage: Stage::Over, recovery: None });
        }
        Body::AgentStarted { .. }
        | Body::AgentStopped { .. }
        | Body::PlanAdopted { .. }
        | Body::HealthChanged { .. }
        | Body::OwnLateness { .. }
        | Body::WitnessesAnswered { .. }
        | Body::PositionFrozen { .. }
        | Body::StepEnded { .. }
        | Body::RouteApplied { .. }
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
        | Body::NoticeSent { .. }
        | Body::NoticeResent { .. }
        | Body::Told { .. } => return None,
    };
    let (level, text) = line(body)?;
    Some(Happening { topic, level, text, stage, recovery })
}

/// A component whose recovery failed, and that is healthy nevertheless.
fn whole_again(state: &State, instance: &str) -> Option<Happening> {
    let ix = state.instance(instance)?;
    let component = state.plan.instance(ix).component;
    let lasting = &state.components[component.index()];
    if lasting.recovery.is_some() || lasting.bound != ix {
        return None;
    }
    let name = &state.plan.component(component).name;
    let text = format!("{name}: `{instance}` is healthy again");
    let topic = Topic::Component(name.clone());
    Some(Happening { topic, level: NoticeLevel::Info, text, stage: Stage::Over, recovery: None })
}

/// A record as a line for people and for the log, if it is worth one.
pub(crate) fn line(body: &Body) -> Option<(NoticeLevel, String)> {
    match body {
        Body::FailureDetected { component, instance, scenario, .. } => {
            Some((NoticeLevel::Warning, format!("{component}: {} of `{instance}` detected", scenario.word())))
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
        Body::RouteRefused { process, epoch, reason } => Some((
            NoticeLevel::Error,
            format!("traffic process `{process}` refused the table of epoch {epoch}: {reason}"),
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
        | Body::NoticeSent { .. }
        | Body::NoticeResent { .. }
        | Body::Told { .. } => None,
    }
}
