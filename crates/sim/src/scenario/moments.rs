//! The timeline: what was recorded after the failure, in its order, with what clients saw, each under one word.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_engine::record::StepRef;
use mainstay_engine::sentence::Teller;
use mainstay_engine::{Body, RecoveryId};
use mainstay_plan::observation::Health;
use mainstay_plan::strategy::Phase;
use mainstay_plan::{ComponentIx, Plan, Time};
use serde::Serialize;

use super::played::Played;
use super::told::listed;

/// What a moment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The failure itself.
    Lost,
    /// Something was seen.
    Detect,
    /// Something was decided.
    Decide,
    /// A guard was asked, and let it pass or held it.
    Guard,
    /// The old owner is kept from acting.
    Fence,
    /// The new owner is made one.
    Act,
    /// Clients are led elsewhere, and it is seen that they are served.
    Converge,
    /// Clients are served, or not any more.
    Clients,
    /// A recovery ended well.
    Recovered,
    /// Something did not work.
    Failed,
    /// The agent itself.
    Agent,
    /// People are told.
    Told,
}

impl Stage {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Stage::Lost => "lost",
            Stage::Detect => "detect",
            Stage::Decide => "decide",
            Stage::Guard => "guard",
            Stage::Fence => "fence",
            Stage::Act => "act",
            Stage::Converge => "converge",
            Stage::Clients => "clients",
            Stage::Recovered => "recovered",
            Stage::Failed => "failed",
            Stage::Agent => "agent",
            Stage::Told => "told",
        }
    }

    const fn of(phase: Phase) -> Stage {
        match phase {
            Phase::Detect => Stage::Detect,
            Phase::Decide => Stage::Decide,
            Phase::Fence => Stage::Fence,
            Phase::Act => Stage::Act,
            Phase::Converge => Stage::Converge,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// Seconds after the failure.
    pub at_s: f64,
    /// What it is about.
    pub stage: Stage,
    /// The component that it is about, where it is about one.
    pub component: Option<String>,
    /// What.
    pub text: String,
}

/// `2.35s`, `1m04.2s`: how long after the failure, as a moment of the timeline.
pub(crate) fn clock(seconds: f64) -> String {
    let sign = if seconds < -0.0005 { "-" } else { "" };
    let it = seconds.abs();
    match it {
        _ if it < 59.9995 => format!("{sign}{it:.3}s"),
        _ if it < 3599.95 => format!("{sign}{:.0}m{:04.1}s", (it / 60.0).floor(), it % 60.0),
        _ => format!("{sign}{:.0}h{:02.0}m", (it / 3600.0).floor(), ((it % 3600.0) / 60.0).floor()),
    }
}

fn span(it: Duration) -> String {
    crate::reliability::span(it.as_secs_f64())
}

/// Seconds from one moment to another, which may be before it.
pub(super) fn seconds(from: Time, to: Time) -> f64 {
    if to < from { -from.since(to).as_secs_f64() } else { to.since(from).as_secs_f64() }
}

/// All of what happened.
pub(super) fn of(plan: &Plan, played: &Played, lost: &str) -> Vec<Moment> {
    let failed = played.failed;
    let mut found = vec![Moment { at_s: 0.0, stage: Stage::Lost, component: None, text: lost.to_owned() }];
    let mut reader = Reader { plan, of: BTreeMap::new() };
    let mut teller = Teller::new(move |at| clock(seconds(failed, at)), span);
    for (seq, record) in &played.records {
        let mut told = teller.tell(&record.body);
        if let Body::NoticeSent { text, to, level, .. } = &record.body {
            let names: Vec<&str> = to.iter().map(String::as_str).collect();
            told = format!("{} ({}): {text}", listed(&names), level.word());
        }
        if let Some((stage, component)) = reader.read(*seq, &record.body) {
            found.push(Moment { at_s: seconds(failed, record.at), stage, component, text: told });
        }
    }
    for change in &played.changes {
        let route = plan.route(change.route);
        let what = if change.served { "clients are served again by" } else { "clients are not served by" };
        let owner = route.targets.first().map(|it| plan.component(plan.instance(it.instance).component).name.clone());
        let text = format!("{what} {}", route.name);
        found.push(Moment { at_s: seconds(failed, change.at), stage: Stage::Clients, component: owner, text });
    }
    // Sorting keeps the order of what comes at the same moment.
    found.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    found
}

/// Knows which component a record is about.
struct Reader<'a> {
    plan: &'a Plan,
    of: BTreeMap<RecoveryId, ComponentIx>,
}

impl Reader<'_> {
    /// What a record is about, and which component; `None`: it tells a reader nothing.
    fn read(&mut self, seq: u64, body: &Body) -> Option<(Stage, Option<String>)> {
        if let Body::FailureDetected { component, .. }
        | Body::SwitchStarted { component, .. }
        | Body::AdoptionStarted { component, .. } = body
            && let Some(ix) = self.plan.component_named(component)
        {
            self.of.insert(RecoveryId(seq), ix);
        }
        let stage = self.stage(body)?;
        Some((stage, self.component(body)))
    }

    fn named(&self, ix: ComponentIx) -> String {
        self.plan.component(ix).name.clone()
    }

    fn instance(&self, name: &str) -> Option<String> {
        self.plan.instance_named(name).map(|it| self.named(self.plan.instance(it).component))
    }

    fn recovery(&self, id: RecoveryId) -> Option<String> {
        self.of.get(&id).map(|it| self.named(*it))
    }

    fn phase(&self, step: StepRef) -> Stage {
        let ladder = self.of.get(&step.recovery).map(|it| &self.plan.component(*it).ladder);
        let play = ladder.and_then(|it| it.get(step.rung)).and_then(|it| it.plays.values().next());
        play.and_then(|it| it.steps.get(step.step)).map_or(Stage::Act, |it| Stage::of(it.kind.phase()))
    }

    fn stage(&self, body: &Body) -> Option<Stage> {
        Some(match body {
            Body::AgentStarted { .. }
            | Body::AgentStopped { .. }
            | Body::OwnLateness { .. }
            | Body::JournalLost { .. } => Stage::Agent,
            Body::HealthChanged { to: Health::Down | Health::Unknown | Health::Healthy, .. }
            | Body::CanaryChanged { .. }
            | Body::Impaired { .. }
            | Body::RuleFired { .. }
            | Body::FailureDetected { .. } => Stage::Detect,
            Body::WitnessesAnswered { .. }
            | Body::SignalsSeen { .. }
            | Body::ObserversAnswered { .. }
            | Body::PositionFrozen { .. }
            | Body::Held { .. }
            | Body::RouteHeld { .. }
            | Body::RouteFreed { .. }
            | Body::RecoveryInitiated { .. } => Stage::Guard,
            Body::NeighbourAnswered { .. }
            | Body::DependencyAnswered { .. }
            | Body::Classified { .. }
            | Body::IncidentOpened { .. }
            | Body::IncidentRecovered { .. }
            | Body::IncidentEnded { .. }
            | Body::RungStarted { .. }
            | Body::RungSkipped { .. }
            | Body::BreakerChanged { .. }
            | Body::RetryScheduled { .. }
            | Body::Commanded { .. }
            | Body::SwitchStarted { .. }
            | Body::AdoptionStarted { .. }
            | Body::SeenElsewhere { .. }
            | Body::ElsewhereOver { .. } => Stage::Decide,
            Body::FenceConfirmed { .. } | Body::FencePassedOver { .. } | Body::CutBySilence { .. } => Stage::Fence,
            Body::StepStarted { step, .. } | Body::StepEnded { step, .. } => self.phase(*step),
            Body::UndoStarted { .. } | Body::Bound { .. } | Body::Rejoined { .. } | Body::AddressChanged { .. } => {
                Stage::Act
            }
            Body::TablePublished { .. } | Body::RouteApplied { .. } => Stage::Converge,
            Body::RecoveryCompleted { .. } => Stage::Recovered,
            Body::StepTimedOut { .. }
            | Body::RungFailed { .. }
            | Body::RollbackStarted { .. }
            | Body::RouteRefused { .. }
            | Body::TrafficSilent { .. }
            | Body::BudgetExceeded { .. }
            | Body::SwitchUndone { .. }
            | Body::RecoveryFailed { .. } => Stage::Failed,
            Body::NoticeSent { .. } => Stage::Told,
            // What comes before a verdict, what is only kept, and what one agent alone has no part in.
            Body::HealthChanged { to: Health::Suspect, .. }
            | Body::PlanAdopted { .. }
            | Body::LeaseChanged { .. }
            | Body::PeerOrder { .. }
            | Body::HostRefused { .. }
            | Body::TrafficAhead { .. }
            | Body::RepairStarted { .. }
            | Body::RepairFailed { .. }
            | Body::RepairCompleted { .. }
            | Body::KeepingStarted { .. }
            | Body::KeepingCompleted { .. }
            | Body::KeepingFailed { .. }
            | Body::KeepingGaveWay { .. }
            | Body::KeepingOverdue { .. }
            | Body::InStepChanged { .. }
            | Body::RoleSeen { .. }
            | Body::ImpairmentEnded { .. }
            | Body::RuleCleared { .. }
            | Body::EvacuationHeld { .. }
            | Body::EvacuationSettled { .. }
            | Body::EvacuationExpires { .. }
            | Body::EvacuationEnded { .. }
            | Body::Told { .. }
            | Body::NoticeResent { .. } => return None,
        })
    }

    fn component(&self, body: &Body) -> Option<String> {
        match body {
            Body::FailureDetected { component, .. }
            | Body::SwitchStarted { component, .. }
            | Body::AdoptionStarted { component, .. }
            | Body::SeenElsewhere { component, .. }
            | Body::ElsewhereOver { component, .. }
            | Body::WitnessesAnswered { component, .. }
            | Body::SignalsSeen { component, .. }
            | Body::ObserversAnswered { component, .. }
            | Body::EvacuationHeld { component, .. }
            | Body::KeepingStarted { component, .. }
            | Body::KeepingCompleted { component, .. }
            | Body::KeepingFailed { component, .. }
            | Body::KeepingGaveWay { component, .. }
            | Body::KeepingOverdue { component, .. }
            | Body::Bound { component, .. } => Some(component.clone()),
            Body::HealthChanged { instance, .. }
            | Body::PositionFrozen { instance, .. }
            | Body::DependencyAnswered { instance, .. }
            | Body::RoleSeen { instance, .. }
            | Body::InStepChanged { instance, .. }
            | Body::Impaired { instance, .. }
            | Body::ImpairmentEnded { instance, .. }
            | Body::RepairStarted { instance, .. }
            | Body::RepairFailed { instance, .. }
            | Body::RepairCompleted { instance, .. }
            | Body::Rejoined { instance }
            | Body::AddressChanged { instance, .. } => self.instance(instance),
            Body::Classified { recovery, .. }
            | Body::Held { recovery, .. }
            | Body::RecoveryInitiated { recovery, .. }
            | Body::RungSkipped { recovery, .. }
            | Body::RungStarted { recovery, .. }
            | Body::RollbackStarted { recovery, .. }
            | Body::BudgetExceeded { recovery, .. }
            | Body::FenceConfirmed { recovery, .. }
            | Body::RungFailed { recovery, .. }
            | Body::SwitchUndone { recovery, .. }
            | Body::RecoveryCompleted { recovery, .. }
            | Body::RecoveryFailed { recovery, .. } => self.recovery(*recovery),
            Body::StepStarted { step, .. }
            | Body::StepEnded { step, .. }
            | Body::StepTimedOut { step, .. }
            | Body::RetryScheduled { step, .. }
            | Body::UndoStarted { step, .. }
            | Body::FencePassedOver { step, .. } => self.recovery(step.recovery),
            Body::RouteHeld { route, .. } | Body::RouteFreed { route } => {
                let found = self.plan.routes.iter().find(|it| it.name == *route)?.targets.first()?;
                Some(self.named(self.plan.instance(found.instance).component))
            }
            Body::AgentStarted { .. }
            | Body::AgentStopped { .. }
            | Body::PlanAdopted { .. }
            | Body::OwnLateness { .. }
            | Body::LeaseChanged { .. }
            | Body::PeerOrder { .. }
            | Body::HostRefused { .. }
            | Body::NeighbourAnswered { .. }
            | Body::RouteApplied { .. }
            | Body::RouteRefused { .. }
            | Body::TrafficSilent { .. }
            | Body::CutBySilence { .. }
            | Body::TrafficAhead { .. }
            | Body::TablePublished { .. }
            | Body::Commanded { .. }
            | Body::JournalLost { .. }
            | Body::CanaryChanged { .. }
            | Body::RuleFired { .. }
            | Body::RuleCleared { .. }
            | Body::Told { .. }
            | Body::NoticeSent { .. }
            | Body::NoticeResent { .. }
            | Body::IncidentOpened { .. }
            | Body::IncidentEnded { .. }
            | Body::IncidentRecovered { .. }
            | Body::EvacuationSettled { .. }
            | Body::EvacuationExpires { .. }
            | Body::EvacuationEnded { .. }
            | Body::BreakerChanged { .. } => None,
        }
    }
}
