//! What people are told: which records are worth a line, how loud, in which words, and to which notice the line belongs.
//! Whoever adds a kind of record says it here.
//!
//! The board itself is [`crate::state::notices`]; what is told, repeated and escalated is decided here, like everything
//! else from the state and the time alone, and is recorded before anybody is told.

use mainstay_plan::Time;
use mainstay_plan::backup::KeepingJob;
use mainstay_plan::notification::NoticeLevel;
use mainstay_plan::observation::{Health, Scenario};

use crate::breaker::Position;
use crate::command::Command;
use crate::elsewhere;
use crate::evacuate::{Stays, told_at};
use crate::gray::Impairment;
use crate::machine::IncidentState;
use crate::record::{Body, Completion, Ended, IncidentId, RecoveryId, StepRef, TermValue};
use crate::scenario;
use crate::state::notices::{About, Draft, Fate, Stage, Topic};
use crate::state::{Recovery, State};
use crate::waiting::{WaitingOn, plainly};

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

/// What a record is about, if it is about something that people should know: asked before it is folded. What it says is
/// [`line()`], and where that says nothing, what stands here.
pub(crate) fn about(state: &State, body: &Body) -> Option<About> {
    let says = |topic, stage, text: String| {
        Some(About { topic, stage, recovery: None, fate: None, says: Some((NoticeLevel::Info, text)) })
    };
    let of = |topic, stage| Some(About { topic, stage, recovery: None, fate: None, says: None });
    match body {
        Body::FailureDetected { component, incident, .. } => {
            let recovery = Some(RecoveryId(state.seq));
            let (topic, fate) = (topic(state, component, *incident), Some((component.clone(), Fate::UnderWay)));
            Some(About { topic, stage: Stage::Stands, recovery, fate, says: None })
        }
        Body::AdoptionStarted { component, .. } => Some(About {
            topic: Topic::Component(component.clone()),
            stage: Stage::Stands,
            recovery: Some(RecoveryId(state.seq)),
            fate: Some((component.clone(), Fate::UnderWay)),
            says: None,
        }),
        Body::SwitchStarted { component, evacuation, .. } => Some(About {
            topic: match evacuation {
                Some(place) => Topic::Evacuation(place.clone()),
                None => Topic::Component(component.clone()),
            },
            stage: Stage::Stands,
            recovery: Some(RecoveryId(state.seq)),
            fate: Some((component.clone(), Fate::UnderWay)),
            says: None,
        }),
        Body::Classified { recovery, .. }
        | Body::SwitchUndone { recovery, .. }
        | Body::Held { recovery, .. }
        | Body::RollbackStarted { recovery, .. }
        | Body::BudgetExceeded { recovery, .. } => of_recovery(state, *recovery, Stage::Stands, Fate::UnderWay),
        Body::RecoveryCompleted { recovery, .. } => {
            let about = of_recovery(state, *recovery, Stage::Over, Fate::Whole)?;
            let says = Some((NoticeLevel::Info, format!("{recovery} completed")));
            Some(if about.stage == Stage::Over { About { says, ..about } } else { about })
        }
        Body::RecoveryFailed { recovery, .. } => {
            let component = state.open_recovery(*recovery)?.component;
            let bound = state.components[component.index()].bound;
            let whole = state.instances[bound.index()].health == Health::Healthy;
            of_recovery(state, *recovery, if whole { Stage::Over } else { Stage::Stands }, Fate::Failed)
        }
        Body::HealthChanged { instance, to: Health::Healthy, .. } => whole_again(state, instance),
        Body::SeenElsewhere { component, .. } => of(Topic::Owner(component.clone()), Stage::Stands),
        Body::ElsewhereOver { component, .. } => of(Topic::Owner(component.clone()), Stage::Over),
        Body::IncidentOpened { .. } => of(Topic::Incident(IncidentId(state.seq)), Stage::Stands),
        Body::IncidentEnded { incident, .. } => {
            let open = state.incidents.get(incident).is_some_and(|it| it.open > 0);
            of(Topic::Incident(*incident), if open { Stage::Stands } else { Stage::Over })
        }
        Body::IncidentRecovered { incident, .. } => {
            let back = state.incidents.get(incident).is_some_and(|it| it.status == IncidentState::Back);
            of(Topic::Incident(*incident), if back { Stage::Over } else { Stage::Stands })
        }
        // Told once, and again when a person has to look; the log has the others.
        Body::RepairFailed { repair, instance, again, .. } => {
            let nth = state.open_repair(*repair)?.1.nth;
            let is_news = nth == 1 || again.is_none();
            is_news.then(|| of(Topic::Repair(instance.clone()), Stage::Stands)).flatten()
        }
        Body::RepairCompleted { instance, .. } => {
            let topic = Topic::Repair(instance.clone());
            let stage = if state.notices.stands(&topic) { Stage::Over } else { Stage::Once };
            of(topic, stage)
        }
        // Told once, and again when it is overdue. What goes well is told only where something was wrong.
        Body::KeepingFailed { keeping, component, series, job, .. } => {
            let is_news = state.open_keeping(*keeping)?.2.nth == 1;
            is_news.then(|| of(keeping_of(component, series, *job), Stage::Stands)).flatten()
        }
        Body::KeepingOverdue { component, series, job, .. } => of(keeping_of(component, series, *job), Stage::Stands),
        Body::KeepingCompleted { component, series, job, .. } => {
            let topic = keeping_of(component, series, *job);
            state.notices.stands(&topic).then(|| of(topic, Stage::Over)).flatten()
        }
        Body::StepEnded { step, ended: Ended::DoneLosing(lost) } if lost.transactions > 0 => {
            let topic = Topic::Repair(lost_by(state, *step)?);
            let stage = if state.notices.stands(&topic) { Stage::Stands } else { Stage::Once };
            of(topic, stage)
        }
        Body::JournalLost { .. } => of(Topic::Journal, Stage::Stands),
        Body::AgentStarted { .. } if state.journal_lost.is_some() => {
            let text = "an agent was started, with a journal that can be written".to_owned();
            says(Topic::Journal, Stage::Over, text)
        }
        Body::LeaseChanged { role, .. } => {
            of(Topic::Lease, if role.leads_or_follows() { Stage::Over } else { Stage::Stands })
        }
        Body::PeerOrder { taken: false, .. } => of(Topic::Lease, Stage::Once),
        Body::TrafficAhead { process, .. } => of(Topic::Traffic(process.clone()), Stage::Once),
        // Nobody has to answer: what follows from a rule has a topic of its own.
        Body::Impaired { instance, .. } | Body::ImpairmentEnded { instance, .. } => {
            of(Topic::Instance(instance.clone()), Stage::Once)
        }
        Body::RuleFired { rule, .. } => of(Topic::Rule(rule.clone()), Stage::Once),
        Body::RouteRefused { process, .. } | Body::TrafficSilent { process, .. } => {
            of(Topic::Traffic(process.clone()), Stage::Stands)
        }
        Body::RouteApplied { process, epoch }
            if (state.routing.refused.is_some() || state.routing.was_silent.contains(process))
                && *epoch >= state.routing.epoch =>
        {
            let text = format!("traffic process `{process}` serves the newest table");
            says(Topic::Traffic(process.clone()), Stage::Over, text)
        }
        Body::RouteHeld { route, .. } => of(Topic::Route(route.clone()), Stage::Stands),
        Body::RouteFreed { route } => {
            let text = format!("nothing of route {route} is held back any more");
            says(Topic::Route(route.clone()), Stage::Over, text)
        }
        Body::BreakerChanged { service, region, to, .. } => {
            let stage = match to {
                Position::Open | Position::HalfOpen | Position::HeldOpen => Stage::Stands,
                Position::Closed | Position::HeldClosed => Stage::Over,
            };
            of(Topic::ControlPlane { service: service.clone(), region: region.clone() }, stage)
        }
        Body::Commanded { command: Command::Evacuate { place, .. }, .. } => {
            of(evacuation(state, place)?, Stage::Stands)
        }
        Body::EvacuationHeld { place, .. }
        | Body::EvacuationSettled { place, .. }
        | Body::EvacuationExpires { place, .. } => of(evacuation(state, place)?, Stage::Stands),
        Body::EvacuationEnded { place } => of(evacuation(state, place)?, Stage::Over),
        Body::Commanded { command: Command::EndEvacuation { place, .. }, .. } => {
            of(evacuation(state, place)?, Stage::Over)
        }
        Body::Commanded { command: Command::Halt { .. }, .. } => of(Topic::Halt, Stage::Stands),
        Body::Commanded { command: Command::Continue { .. }, .. } => of(Topic::Halt, Stage::Over),
        Body::AgentStarted { .. }
        | Body::AgentStopped { .. }
        | Body::PlanAdopted { .. }
        | Body::HealthChanged { .. }
        | Body::RuleCleared { .. }
        | Body::OwnLateness { .. }
        | Body::SignalsSeen { .. }
        | Body::FenceConfirmed { .. }
        | Body::FencePassedOver { .. }
        | Body::WitnessesAnswered { .. }
        | Body::ObserversAnswered { .. }
        | Body::NeighbourAnswered { .. }
        | Body::DependencyAnswered { .. }
        | Body::PositionFrozen { .. }
        | Body::StepEnded { .. }
        | Body::RouteApplied { .. }
        | Body::Commanded { .. }
        | Body::RecoveryInitiated { .. }
        | Body::RungSkipped { .. }
        | Body::RungStarted { .. }
        | Body::StepStarted { .. }
        | Body::StepTimedOut { .. }
        | Body::RetryScheduled { .. }
        | Body::UndoStarted { .. }
        | Body::RungFailed { .. }
        | Body::CutBySilence { .. }
        | Body::Bound { .. }
        | Body::RepairStarted { .. }
        | Body::KeepingStarted { .. }
        | Body::KeepingGaveWay { .. }
        | Body::Rejoined { .. }
        | Body::AddressChanged { .. }
        | Body::TablePublished { .. }
        | Body::InStepChanged { .. }
        | Body::RoleSeen { .. }
        | Body::CanaryChanged { .. }
        | Body::NoticeSent { .. }
        | Body::NoticeResent { .. }
        | Body::PeerOrder { .. }
        | Body::HostRefused { .. }
        | Body::Told { .. } => None,
    }
}

/// The instance that a step has made a standby, while that is known.
fn lost_by(state: &State, step: StepRef) -> Option<String> {
    let repaired = state.open_repair(step.recovery).map(|it| it.0);
    let moved = || {
        let play = state.play(state.open_recovery(step.recovery)?)?;
        Some(play.steps.get(step.step)?.kind.action()?.0)
    };
    repaired.or_else(moved).map(|it| state.plan.instance(it).name.clone())
}

fn evacuation(state: &State, place: &str) -> Option<Topic> {
    state.place_named(place).map(|it| Topic::Evacuation(state.topology.domain(it).name()))
}

fn keeping_of(component: &str, series: &str, job: KeepingJob) -> Topic {
    Topic::Keeping { component: component.to_owned(), series: series.to_owned(), job }
}

/// What is lost with its zone is told of with the zone, as long as that stands.
fn topic(state: &State, component: &str, incident: Option<IncidentId>) -> Topic {
    let incident = incident.map(Topic::Incident).filter(|it| state.notices.stands(it));
    incident.unwrap_or_else(|| Topic::Component(component.to_owned()))
}

fn of_recovery(state: &State, id: RecoveryId, stage: Stage, fate: Fate) -> Option<About> {
    let recovery = state.open_recovery(id)?;
    let planned = recovery.evacuated.filter(|_| recovery.planned().is_some());
    let topic = match planned.and_then(|it| state.evacuating.get(&it)) {
        Some(it) => Topic::Evacuation(it.place.clone()),
        None => topic(state, &recovery.component_name, recovery.incident),
    };
    // The incident, or the evacuation, stands although one of its components is whole.
    let stage = if matches!(topic, Topic::Incident(_) | Topic::Evacuation(_)) { Stage::Stands } else { stage };
    Some(About { topic, stage, recovery: Some(id), fate: Some((recovery.component_name.clone(), fate)), says: None })
}

/// A component whose recovery failed, and that is healthy nevertheless.
fn whole_again(state: &State, instance: &str) -> Option<About> {
    let ix = state.instance(instance)?;
    let component = state.plan.instance(ix).component;
    let lasting = &state.components[component.index()];
    let topic = Topic::Component(state.plan.component(component).name.clone());
    if lasting.recovery.is_some() || lasting.bound != ix || !state.notices.stands(&topic) {
        return None;
    }
    let text = format!("{topic}: `{instance}` is healthy again");
    let says = Some((NoticeLevel::Info, text));
    Some(About { topic, stage: Stage::Over, recovery: None, fate: None, says })
}

/// A record as a line for people and for the log, if it is worth one: asked once it is folded. They hear of a failure once it is known what failed, and of a lost
/// zone once rather than of each that lived there.
pub(crate) fn line(state: &State, body: &Body) -> Option<(NoticeLevel, String)> {
    match body {
        Body::FailureDetected { component, instance, scenario, rule: Some(rule), .. } => {
            let text = format!("{component}: {} of `{instance}` detected by rule `{rule}`", scenario.word());
            Some((NoticeLevel::Warning, text))
        }
        Body::AddressChanged { instance, address, why, .. } => {
            let place = address.map_or_else(|| "where the plan says".to_owned(), |it| format!("at {it}"));
            Some((NoticeLevel::Info, format!("`{instance}` is {place} from now on: {why}")))
        }
        Body::Impaired { instance, how, evidence } => {
            let then = match state.instance(instance).filter(|_| *how == Impairment::Astray) {
                Some(ix) if state.is_repaired(ix) => "it is brought back soon unless it follows by itself",
                Some(_) | None => "nothing is done about it",
            };
            let text = format!("`{instance}` is impaired ({}): {evidence}; {then}", how.word());
            Some((NoticeLevel::Warning, text))
        }
        Body::ImpairmentEnded { instance, how } => {
            Some((NoticeLevel::Info, format!("`{instance}` is not impaired any more ({})", how.word())))
        }
        Body::RuleFired { rule, terms, .. } => {
            Some((NoticeLevel::Warning, format!("rule `{rule}` is true: {}", TermValue::list(terms))))
        }
        Body::FailureDetected { incident: Some(_), .. }
        | Body::Held { waiting: WaitingOn::Correlation { .. } | WaitingOn::Turn { .. }, .. } => None,
        // How far it is stands in the status; people hear of what goes wrong, and of the end.
        Body::SwitchStarted { evacuation: Some(_), .. } => None,
        Body::Commanded { command: Command::Evacuate { place, reason, .. }, by } => {
            let it = state.evacuation_of(place)?;
            let (place, long) = (&it.place, plainly(it.until.since(it.said)));
            let way = if it.graceful { "" } else { ", without waiting until anything is in step" };
            let text = format!("{by} evacuates {place} for {long}{way}: {reason}");
            Some((NoticeLevel::Info, text))
        }
        Body::Commanded { command: Command::EndEvacuation { place, reason }, by } => {
            let place = state.topology.domain(state.place_named(place)?).name();
            Some((NoticeLevel::Info, format!("{by} ends the evacuation of {place}: {reason}")))
        }
        Body::EvacuationHeld { place, component, why } => match why {
            Stays::NoRoom { .. } | Stays::NotPossible { .. } | Stays::Tried { .. } | Stays::Paused { .. } => {
                let way_out = why.way_out(place, component);
                Some((NoticeLevel::Warning, format!("{component} stays in {place}: {why}; to go on: {way_out}")))
            }
            Stays::Halted { .. }
            | Stays::Lease {}
            | Stays::UnderWay { .. }
            | Stays::Dependency { .. }
            | Stays::Turn { .. } => None,
        },
        Body::EvacuationSettled { place, moved, left } if left.is_empty() => {
            Some((NoticeLevel::Info, format!("nothing is active in {place} any more: {moved} moved")))
        }
        Body::EvacuationSettled { place, moved, left } => Some((
            NoticeLevel::Warning,
            format!("whoever could leave {place} has left: {moved} moved, still there: {}", left.join(", ")),
        )),
        Body::EvacuationExpires { place, at } => {
            let left = state.evacuation_of(place).map(|it| plainly(at.since(told_at(it)))).unwrap_or_default();
            let text =
                format!("the evacuation of {place} ends in {left} by itself; longer: mainstay evacuate {place} --for");
            Some((NoticeLevel::Warning, text))
        }
        Body::EvacuationEnded { place } => {
            let text = format!("the evacuation of {place} is over: its time is; nothing is moved back because of that");
            Some((NoticeLevel::Info, text))
        }
        Body::SwitchStarted { component, to, by, reason, .. } => {
            Some((NoticeLevel::Info, format!("{component}: planned switch to `{to}` by {by}: {reason}")))
        }
        Body::SeenElsewhere { component, bound, active, evidence } => {
            let level = if active.len() > 1 { NoticeLevel::Error } else { NoticeLevel::Warning };
            let says = elsewhere::says(active, bound, evidence);
            let other = active.iter().find(|it| *it != bound).map_or("INSTANCE", String::as_str);
            let help = elsewhere::help(active, other);
            Some((level, format!("{component}: {says}; nothing is recovered meanwhile; {help}")))
        }
        Body::ElsewhereOver { component, why } => {
            Some((NoticeLevel::Info, format!("{component} is where it should be: {why}")))
        }
        Body::AdoptionStarted { component, to, by, reason, .. } => {
            Some((NoticeLevel::Info, format!("{component}: adoption of `{to}` by {by}: {reason}")))
        }
        Body::SwitchUndone { recovery, why, adopted: true } => {
            Some((NoticeLevel::Warning, format!("{recovery} is undone, the route is given back: {why}")))
        }
        Body::SwitchUndone { recovery, why, adopted: false } => {
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
        Body::IncidentRecovered { incident, recovered, failed } => {
            let level = if *failed > 0 { NoticeLevel::Error } else { NoticeLevel::Info };
            let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
            let text = format!("{incident}: the last of its recoveries has ended, {recovered} recovered{failed}");
            Some((level, text))
        }
        Body::RecoveryCompleted { recovery, .. }
            if is_in_incident(state, *recovery) || is_in_evacuation(state, *recovery) =>
        {
            None
        }
        Body::Held { recovery, waiting: WaitingOn::Dependency { .. } } if is_in_incident(state, *recovery) => None,
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
                Completion::Adopted { instance } => {
                    format!("{recovery} completed: `{instance}` is adopted, and serves")
                }
                Completion::ByItself => format!("{recovery} closed: healthy again without us"),
                Completion::BySomeoneElse { instance } => {
                    format!("{recovery} closed: somebody else has made `{instance}` active, which is adopted")
                }
            },
        )),
        Body::RepairStarted { instance, owner, nth, .. } => {
            let again = if *nth > 1 { format!(", try {nth}") } else { String::new() };
            Some((NoticeLevel::Info, format!("`{instance}` is being made a standby of `{owner}` again{again}")))
        }
        Body::RepairFailed { instance, why, again, .. } => {
            let next = match again {
                Some(_) => "it is tried again by itself".to_owned(),
                None => {
                    format!("it is not tried again by itself; when somebody has looked: mainstay repair {instance}")
                }
            };
            Some((NoticeLevel::Warning, format!("`{instance}` was not repaired: {why}; {next}")))
        }
        // That nothing was lost is told by the end of the repair alone.
        Body::StepEnded { step, ended: Ended::DoneLosing(lost) } if lost.transactions > 0 => {
            let instance = lost_by(state, *step)?;
            let component = state.instance(&instance).map(|it| state.plan.instance(it).component);
            let of = |it: &&Recovery| Some(it.component) == component && it.lost.as_ref() == Some(lost);
            let of = state.open_recoveries().find(of).or_else(|| state.history.iter().rev().find(of));
            let of = of.map(|it| format!("{}: ", it.id)).unwrap_or_default();
            Some((NoticeLevel::Warning, format!("{of}`{instance}` alone had what the new owner has not: {lost}")))
        }
        Body::RepairCompleted { instance, .. } => {
            Some((NoticeLevel::Info, format!("`{instance}` is repaired: a healthy standby that can take over again")))
        }
        Body::KeepingFailed { component, series, job, why, .. } => {
            let text = format!("the {job} of {component} `{series}` failed: {why}; it is tried again by itself");
            Some((NoticeLevel::Warning, text))
        }
        Body::KeepingOverdue { component, series, job, last } => {
            let text = match last {
                Some(_) => format!("the {job} of {component} `{series}` is overdue: the last good one is too old"),
                None => format!("the {job} of {component} `{series}` is overdue: there is no good one"),
            };
            Some((NoticeLevel::Warning, text))
        }
        Body::KeepingGaveWay { component, series, job, why, .. } => {
            let text = format!("the {job} of {component} `{series}` is given up for now: {why}");
            Some((NoticeLevel::Info, text))
        }
        Body::KeepingCompleted { component, series, job, seen, .. } => {
            let what = match (job, &seen.newest, &seen.tested) {
                (KeepingJob::Backup, Some(it), _) => format!("{} is there", it.name),
                (KeepingJob::RestoreTest, _, Some(it)) => format!("{} was restored, and it works", it.backup),
                (KeepingJob::Backup, None, _) | (KeepingJob::RestoreTest, _, None) => "there is none".to_owned(),
            };
            Some((NoticeLevel::Info, format!("the {job} of {component} `{series}`: {what}")))
        }
        Body::RouteHeld { route, targets, objection } => {
            let text = format!(
                "route {route} keeps {} on: {objection}; to overrule: {}",
                targets.join(", "),
                objection.way_out(route)
            );
            Some((NoticeLevel::Warning, text))
        }
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
            Position::Closed | Position::HeldClosed => {
                Some((NoticeLevel::Info, format!("control plane {service} in {region} counts as working: {why}")))
            }
            Position::HalfOpen => None,
        },
        Body::JournalLost { reason } => Some((NoticeLevel::Error, format!("the journal is lost: {reason}"))),
        Body::Commanded { command: Command::Halt { reason }, by } => {
            Some((NoticeLevel::Error, format!("{by} stopped all action: {reason}; to go on: mainstay continue")))
        }
        Body::Commanded { command: Command::Continue { reason }, by } => {
            Some((NoticeLevel::Info, format!("{by} lets action go on: {reason}")))
        }
        Body::TrafficAhead { process, epoch, .. } => Some((
            NoticeLevel::Warning,
            format!(
                "traffic process `{process}` serves epoch {epoch}, later than this journal knows: taken over as it is"
            ),
        )),
        Body::LeaseChanged { role, epoch, why, .. } => {
            let level = if role.leads_or_follows() { NoticeLevel::Info } else { NoticeLevel::Warning };
            Some((level, format!("this agent is {} from here on, epoch {epoch}: {why}", role.word())))
        }
        Body::PeerOrder { from, epoch, what, taken: false } => {
            Some((NoticeLevel::Warning, format!("an order of {from} was refused, its epoch {epoch} is over: {what}")))
        }
        Body::TrafficSilent { process, .. } => {
            Some((NoticeLevel::Warning, format!("traffic process `{process}` is silent: what it serves is not known")))
        }
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
        | Body::SignalsSeen { .. }
        | Body::ObserversAnswered { .. }
        | Body::NeighbourAnswered { .. }
        | Body::DependencyAnswered { .. }
        | Body::PositionFrozen { .. }
        | Body::StepEnded { .. }
        | Body::RouteApplied { .. }
        | Body::Commanded { .. }
        | Body::RuleCleared { .. }
        | Body::RecoveryInitiated { .. }
        | Body::RungSkipped { .. }
        | Body::RungStarted { .. }
        | Body::StepStarted { .. }
        | Body::StepTimedOut { .. }
        | Body::FenceConfirmed { .. }
        | Body::FencePassedOver { .. }
        | Body::RetryScheduled { .. }
        | Body::UndoStarted { .. }
        | Body::CutBySilence { .. }
        | Body::RungFailed { .. }
        | Body::Bound { .. }
        | Body::KeepingStarted { .. }
        | Body::Rejoined { .. }
        | Body::RouteFreed { .. }
        | Body::TablePublished { .. }
        | Body::InStepChanged { .. }
        | Body::RoleSeen { .. }
        | Body::CanaryChanged { .. }
        | Body::NoticeSent { .. }
        | Body::NoticeResent { .. }
        | Body::PeerOrder { .. }
        | Body::HostRefused { .. }
        | Body::Told { .. } => None,
    }
}

fn detected(component: &str, instance: &str, scenario: Scenario) -> (NoticeLevel, String) {
    (NoticeLevel::Warning, format!("{component}: {} of `{instance}` detected", scenario.word()))
}

fn is_in_incident(state: &State, id: RecoveryId) -> bool {
    let closed = || state.history.iter().rev().find(|it| it.id == id);
    state.open_recovery(id).or_else(closed).is_some_and(|it| it.incident.is_some())
}

/// Whether it is a planned move of an evacuation that stands.
fn is_in_evacuation(state: &State, id: RecoveryId) -> bool {
    let closed = || state.history.iter().rev().find(|it| it.id == id);
    let moves = state.open_recovery(id).or_else(closed).filter(|it| it.planned().is_some());
    moves.and_then(|it| it.evacuated).is_some_and(|it| state.evacuating.contains_key(&it))
}
