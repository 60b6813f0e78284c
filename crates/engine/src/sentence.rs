//! A record as a sentence: in `journal show`, in the explanation of a decision, and in the timelines that test the engine.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mainstay_plan::Time;
use mainstay_plan::action::{LeaseEnd, LostWrites};
use mainstay_plan::backup::{KeepingJob, SeriesSeen};
use mainstay_plan::routing::TargetState;

use crate::breaker::Position;
use crate::elsewhere;
use crate::record::{Completion, Ended, Evidence, LastPlaces, OldOwner, ReportedTarget, StepRef, TermValue};
use crate::{Body, Command, Override};

/// Tells records one after the other, and remembers what later ones speak of. How moments and durations look is the
/// caller's business.
pub struct Teller {
    moment: Box<dyn Fn(Time) -> String>,
    span: fn(Duration) -> String,
    steps: BTreeMap<StepRef, String>,
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Teller {
    /// Nothing was told yet.
    pub fn new(moment: impl Fn(Time) -> String + 'static, span: fn(Duration) -> String) -> Teller {
        Teller { moment: Box::new(moment), span, steps: BTreeMap::new() }
    }

    /// A moment, as this teller shows it.
    pub fn moment(&self, at: Time) -> String {
        (self.moment)(at)
    }

    /// A duration, as this teller shows it.
    pub fn span(&self, span: Duration) -> String {
        (self.span)(span)
    }

    /// What a record says.
    pub fn tell(&mut self, body: &Body) -> String {
        if let Body::StepStarted { step, name, .. } | Body::UndoStarted { step, name, .. } = body {
            self.steps.insert(*step, name.clone());
        }
        self.fact(body).or_else(|| self.decision(body)).unwrap_or_default()
    }

    fn step(&self, step: &StepRef) -> String {
        let name = match self.steps.get(step) {
            Some(name) => name.clone(),
            None => format!("step {} of rung {}", step.step + 1, step.rung + 1),
        };
        // An undo has a try of its own, whatever the step had before.
        let again = if step.attempt > 1 && !name.starts_with("undo ") {
            format!(" (attempt {})", step.attempt)
        } else {
            String::new()
        };
        format!("{}: {name}{again}", step.recovery)
    }

    fn nanos(&self, ns: u64) -> String {
        (self.span)(Duration::from_nanos(ns))
    }

    fn lost(&self, lost: &LostWrites) -> String {
        let moment = |seconds: u64| self.moment(Time::from_millis(seconds.saturating_mul(1000)));
        let times =
            lost.committed.map(|(first, last)| format!(", committed from {} to {}", moment(first), moment(last)));
        format!("{lost}{}", times.unwrap_or_default())
    }

    fn kept(&self, job: KeepingJob, seen: &SeriesSeen) -> String {
        let span = |ms: u64| (self.span)(Duration::from_millis(ms));
        match (job, seen.done, &seen.newest, &seen.tested) {
            (KeepingJob::Backup, true, Some(it), _) => format!(
                "{} is taken from the {} {} and verified, {} bytes in {}",
                it.name,
                it.role,
                it.from,
                it.bytes,
                span(it.took_ms)
            ),
            (KeepingJob::Backup, false, Some(it), _) => {
                format!("none is due, {} was begun {} ago", it.name, span(it.age_ms))
            }
            (KeepingJob::RestoreTest, true, _, Some(it)) => {
                format!("{} was restored in {} and removed again", it.backup, span(it.took_ms))
            }
            (KeepingJob::RestoreTest, false, _, Some(it)) => {
                format!("none is due, {} was restored {} ago", it.backup, span(it.age_ms))
            }
            (KeepingJob::Backup, _, None, _) | (KeepingJob::RestoreTest, _, _, None) => {
                "its folder holds none".to_owned()
            }
        }
    }

    fn fact(&self, body: &Body) -> Option<String> {
        Some(match body {
            Body::AgentStarted { engine, version, coordinated, places } => {
                let among = if *coordinated { ", one of several" } else { "" };
                let place = |it: &LastPlaces| {
                    let newest = it.places.last()?;
                    Some(format!("; {} was at {} at {}", it.instance, newest.place, self.moment(newest.asked)))
                };
                let places: String = places.iter().filter_map(place).collect();
                format!("agent {version} started (engine {engine}){among}{places}")
            }
            Body::LeaseChanged { role, epoch, why, .. } => {
                format!("{} from here on, epoch {epoch}: {why}", role.word())
            }
            Body::PeerOrder { from, epoch, what, taken } => {
                let became = if *taken { "taken" } else { "refused, the epoch is over" };
                format!("{from} orders under epoch {epoch}: {what}: {became}")
            }
            Body::HostRefused { who, why } => format!("{who} came as a host and was turned away: {why}"),
            Body::AgentStopped { reason } => format!("agent stopped: {reason}"),
            Body::PlanAdopted { hash, .. } => format!("plan {} adopted", short(hash)),
            Body::HealthChanged { instance, from, to, since, evidence, .. } => format!(
                "{instance}: {} -> {} since {}{}",
                from.word(),
                to.word(),
                (self.moment)(*since),
                shown_evidence(evidence)
            ),
            Body::OwnLateness { late_ns } => {
                format!("we were late by {}: what was seen meanwhile is not believed", self.nanos(*late_ns))
            }
            Body::WitnessesAnswered { component, answered, since } => format!(
                "{component}: {} answered since {}, so our own path works",
                answered.join(", "),
                (self.moment)(*since)
            ),
            Body::SignalsSeen { component, probes, .. } => {
                format!("{component}: signals of different kinds say that it is down: {}", probes.join(", "))
            }
            Body::NeighbourAnswered { region, zone, by, asked } => {
                let place = zone.as_ref().map_or_else(|| region.clone(), |zone| format!("{region}/{zone}"));
                format!("{place} lives: {by} answered what was asked at {}", (self.moment)(*asked))
            }
            Body::DependencyAnswered { instance, asked } => {
                format!("{instance} was well when it was asked at {}", (self.moment)(*asked))
            }
            Body::ObserversAnswered { component, down, healthy, .. } => {
                let who = |it: &[String]| if it.is_empty() { "nobody".to_owned() } else { it.join(", ") };
                format!("{component}: {} see it down too, {} healthy", who(down), who(healthy))
            }
            Body::PositionFrozen { instance, loss_ns, place, lacks } => {
                let lost = match loss_ns {
                    Some(loss) => format!("{instance} would lose at most {}", self.nanos(*loss)),
                    None => format!("{instance} did not say how much it would lose"),
                };
                let lacks = lacks.map(|it| format!(", {it} bytes behind")).unwrap_or_default();
                let place = place.as_ref().map(|it| format!("; it is at {it}{lacks}")).unwrap_or_default();
                format!("{lost}{place}")
            }
            Body::StepEnded { step, ended } => match ended {
                Ended::Done => format!("{}: done", self.step(step)),
                Ended::DoneAt(address) => format!("{}: done, at {address}", self.step(step)),
                Ended::LeaseOver(how) => format!("{}: done, {}", self.step(step), lease_over(*how)),
                Ended::DoneLosing(lost) => format!("{}: done; {}", self.step(step), self.lost(lost)),
                Ended::Kept(_) => format!("{}: done", self.step(step)),
                Ended::Failed(why) => format!("{}: failed: {why}", self.step(step)),
                Ended::Unknown(why) => format!("{}: unknown whether it was done: {why}", self.step(step)),
            },
            Body::RouteApplied { process, epoch } => format!("traffic process {process} serves epoch {epoch}"),
            Body::RouteRefused { process, epoch, reason } => {
                format!("traffic process {process} refused epoch {epoch}: {reason}")
            }
            Body::TrafficSilent { process, since } => {
                format!(
                    "traffic process {process} is silent; a word of the agent may have reached it until {}",
                    self.moment(*since)
                )
            }
            Body::TrafficAhead { process, epoch, targets } => format!(
                "traffic process {process} is ahead with epoch {epoch}, which holds from here on: {}",
                shown_targets(targets)
            ),
            Body::Commanded { command, by } => format!("{by}: {}", self.command(command)),
            Body::JournalLost { reason } => format!("the journal can't be written any more: {reason}"),
            Body::RoleSeen { instance, role, evidence } => {
                format!("{instance} says that its role is {} ({})", role.word(), evidence.join("; "))
            }
            Body::InStepChanged { instance, in_step: true } => format!("{instance} is nearly in step"),
            Body::InStepChanged { instance, in_step: false } => format!("{instance} is not in step"),
            Body::CanaryChanged { service, region, to, since, evidence } => format!(
                "canary of {service} in {region}: {} since {}{}",
                to.word(),
                (self.moment)(*since),
                shown_evidence(std::slice::from_ref(evidence))
            ),
            Body::Impaired { instance, how, evidence } => {
                format!("{instance} is impaired ({}): {evidence}", how.word())
            }
            Body::ImpairmentEnded { instance, how } => format!("{instance} is not impaired any more ({})", how.word()),
            Body::RuleFired { rule, since, terms } => {
                format!("rule {rule} is true since {}: {}", (self.moment)(*since), TermValue::list(terms))
            }
            Body::RuleCleared { rule } => format!("rule {rule} is not true any more"),
            Body::Told { channel, notice, nth, ended } => {
                let message = format!("{notice}, message {nth}, over {channel}");
                match ended {
                    Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_) => {
                        format!("{message}: arrived")
                    }
                    Ended::Failed(why) => format!("{message}: did not arrive: {why}"),
                    Ended::Unknown(why) => format!("{message}: unknown whether it arrived: {why}"),
                }
            }
            Body::FailureDetected { .. }
            | Body::SwitchStarted { .. }
            | Body::SeenElsewhere { .. }
            | Body::ElsewhereOver { .. }
            | Body::AdoptionStarted { .. }
            | Body::SwitchUndone { .. }
            | Body::EvacuationHeld { .. }
            | Body::EvacuationSettled { .. }
            | Body::EvacuationExpires { .. }
            | Body::EvacuationEnded { .. }
            | Body::Classified { .. }
            | Body::IncidentOpened { .. }
            | Body::IncidentEnded { .. }
            | Body::IncidentRecovered { .. }
            | Body::Held { .. }
            | Body::RecoveryInitiated { .. }
            | Body::RungSkipped { .. }
            | Body::RungStarted { .. }
            | Body::StepStarted { .. }
            | Body::StepTimedOut { .. }
            | Body::FenceConfirmed { .. }
            | Body::FencePassedOver { .. }
            | Body::RetryScheduled { .. }
            | Body::RollbackStarted { .. }
            | Body::UndoStarted { .. }
            | Body::BudgetExceeded { .. }
            | Body::RungFailed { .. }
            | Body::CutBySilence { .. }
            | Body::Bound { .. }
            | Body::Rejoined { .. }
            | Body::RepairStarted { .. }
            | Body::RepairFailed { .. }
            | Body::RepairCompleted { .. }
            | Body::KeepingStarted { .. }
            | Body::KeepingCompleted { .. }
            | Body::KeepingFailed { .. }
            | Body::KeepingGaveWay { .. }
            | Body::KeepingOverdue { .. }
            | Body::AddressChanged { .. }
            | Body::RouteHeld { .. }
            | Body::RouteFreed { .. }
            | Body::TablePublished { .. }
            | Body::BreakerChanged { .. }
            | Body::RecoveryCompleted { .. }
            | Body::RecoveryFailed { .. }
            | Body::NoticeSent { .. }
            | Body::NoticeResent { .. } => return None,
        })
    }

    fn decision(&self, body: &Body) -> Option<String> {
        Some(match body {
            Body::FailureDetected { component, instance, scenario, rule: Some(rule), .. } => {
                format!("{component} failed on {instance}: {}, as rule {rule} says", scenario.word())
            }
            Body::FailureDetected { component, instance, scenario, last_good, rule: None, .. } => {
                let good = last_good.map(|it| format!(", last good {}", (self.moment)(it))).unwrap_or_default();
                format!("{component} failed on {instance}: {}{good}", scenario.word())
            }
            Body::SwitchStarted { component, from, to, by, reason, graceful, evacuation } => {
                let way = if *graceful { "" } else { ", without waiting until it is in step" };
                let part = evacuation.as_ref().map(|it| format!(", in the evacuation of {it}")).unwrap_or_default();
                format!("planned switch of {component} from {from} to {to} by {by}{part}{way}: {reason}")
            }
            Body::EvacuationHeld { place, component, why } => format!("{component} stays in {place}: {why}"),
            Body::EvacuationSettled { place, moved, left } if left.is_empty() => {
                format!("nothing is active in {place} any more, {moved} moved")
            }
            Body::EvacuationSettled { place, moved, left } => {
                format!("whoever could leave {place} has left, {moved} moved; still there: {}", left.join(", "))
            }
            Body::EvacuationExpires { place, at } => {
                format!("the evacuation of {place} ends at {} by itself", (self.moment)(*at))
            }
            Body::EvacuationEnded { place } => format!("the evacuation of {place} is over: its time is"),
            Body::SeenElsewhere { component, bound, active, evidence } => {
                format!("{component}: {}", elsewhere::says(active, bound, evidence))
            }
            Body::ElsewhereOver { component, why } => format!("{component} is where it should be: {why}"),
            Body::AdoptionStarted { component, from, to, by, reason, old_owner } => {
                format!("adoption of {to} as {component} instead of {from} by {by}, {old_owner}: {reason}")
            }
            Body::SwitchUndone { recovery, why, adopted: true } => {
                format!("{recovery}: undone, the route is given back: {why}")
            }
            Body::SwitchUndone { recovery, why, adopted: false } => {
                format!("{recovery}: undone, the old owner is made active again: {why}")
            }
            Body::Classified { recovery, scenario, evidence } => {
                format!("{recovery} is {}: {}", scenario.word(), evidence.join("; "))
            }
            Body::IncidentOpened { scenario, region, zone, evidence, .. } => {
                let place = zone.as_ref().map_or_else(|| region.clone(), |zone| format!("{region}/{zone}"));
                format!("{place} is lost ({}): {}", scenario.word(), evidence.join("; "))
            }
            Body::IncidentEnded { incident, why } => format!("{incident} is over: {why}"),
            Body::IncidentRecovered { incident, recovered, failed: 0 } => {
                format!("{incident}: the last of its recoveries has ended, {recovered} recovered")
            }
            Body::IncidentRecovered { incident, recovered, failed } => {
                format!("{incident}: the last of its recoveries has ended, {recovered} recovered, {failed} failed")
            }
            Body::Held { recovery, waiting } => format!("{recovery} waits: {waiting}"),
            Body::RecoveryInitiated { recovery, overruled, approval } => {
                let approved = approval.as_ref().map(|it| format!(", {it}")).unwrap_or_default();
                match overruled.as_slice() {
                    [] => format!("{recovery} begins: the guards let it pass{approved}"),
                    all => format!("{recovery} begins: an operator overruled {}{approved}", all.join(", ")),
                }
            }
            Body::RungSkipped { recovery, rung, strategy, why, .. } => {
                format!("{recovery}: rung {} ({}) passed over: {why}", rung + 1, strategy.word())
            }
            Body::RungStarted { recovery, rung, strategy, to, fence } => {
                let fence = fence.as_ref().map(|it| format!(", fence: {it}")).unwrap_or_default();
                format!("{recovery}: rung {} ({}) to {to}{fence}", rung + 1, strategy.word())
            }
            Body::StepStarted { step, undo, .. } => {
                let undo = undo.as_ref().map(|it| format!(" (its undo: {it})")).unwrap_or_default();
                format!("{} ...{undo}", self.step(step))
            }
            Body::UndoStarted { step, name, .. } => format!("{}: {name} ...", step.recovery),
            Body::RetryScheduled { step, at } => format!("{}: again at {}", self.step(step), (self.moment)(*at)),
            Body::RollbackStarted { recovery, rung, why } => {
                format!("{recovery}: rung {} is taken back: {why}", rung + 1)
            }
            Body::BudgetExceeded { recovery, rto_ns } => {
                format!("{recovery} takes longer than the objective of {}", self.nanos(*rto_ns))
            }
            Body::StepTimedOut { step, why } => format!("{}: timed out: {why}", self.step(step)),
            Body::FenceConfirmed { recovery, instance, by, .. } => {
                format!("{recovery}: fence of {instance} confirmed by {by}")
            }
            Body::FencePassedOver { step, why, .. } => format!("{}: passed over: {why}", self.step(step)),
            Body::CutBySilence { process, routes } => {
                format!("traffic process {process}, which is silent, has cut {} by itself", routes.join(", "))
            }
            Body::RungFailed { recovery, rung, why } => format!("{recovery}: rung {} failed: {why}", rung + 1),
            Body::Bound { component, instance, recovery } => {
                format!("{component} is {instance} from here on ({recovery})")
            }
            Body::Rejoined { instance } => format!("{instance} can take over again"),
            Body::RepairStarted { instance, owner, nth, harmless, by, reason, .. } => {
                let again = if *nth > 1 { format!(", try {nth}") } else { String::new() };
                let ordered = by.as_ref().map(|by| format!(", ordered by {by}: {}", reason.as_deref().unwrap_or("")));
                format!(
                    "{instance} is made a standby of {owner} again{again}, {}{}",
                    of_repaired(harmless),
                    ordered.unwrap_or_default()
                )
            }
            Body::RepairFailed { repair, instance, why, again, .. } => {
                let next =
                    again.map_or("by hand from here on".to_owned(), |it| format!("again at {}", (self.moment)(it)));
                format!("{repair}: {instance} was not repaired: {why}; {next}")
            }
            Body::RepairCompleted { repair, instance } => {
                format!("{repair}: {instance} is a healthy standby, and can take over again")
            }
            Body::KeepingStarted { component, series, job, nth } => {
                let again = if *nth > 1 { format!(", try {nth}") } else { String::new() };
                format!("{job} of {component} {series}: one is due{again}")
            }
            Body::KeepingCompleted { keeping, component, series, job, seen } => {
                format!("{keeping}: {job} of {component} {series}: {}", self.kept(*job, seen))
            }
            Body::KeepingFailed { keeping, component, series, job, why, again } => {
                format!("{keeping}: {job} of {component} {series} failed: {why}; again at {}", self.moment(*again))
            }
            Body::KeepingGaveWay { keeping, component, series, job, why, .. } => {
                format!("{keeping}: {job} of {component} {series} is given up for now: {why}")
            }
            Body::KeepingOverdue { component, series, job, last } => match last {
                Some(last) => {
                    format!("{job} of {component} {series} is overdue: the last good one is of {}", self.moment(*last))
                }
                None => format!("{job} of {component} {series} is overdue: there is none"),
            },
            Body::AddressChanged { instance, address: Some(address), why, .. } => {
                format!("{instance} is at {address} from here on: {why}")
            }
            Body::AddressChanged { instance, address: None, why, .. } => {
                format!("{instance} is where the plan says from here on: {why}")
            }
            Body::RouteHeld { route, targets, objection } => {
                format!("route {route} keeps {} on: {objection}", targets.join(", "))
            }
            Body::RouteFreed { route } => format!("nothing of route {route} is held back any more"),
            Body::TablePublished { epoch, targets } => format!("epoch {epoch}: {}", shown_targets(targets)),
            Body::BreakerChanged { service, region, to, why, by, .. } => {
                let word = match to {
                    Position::Closed => "counts as working",
                    Position::Open => "counts as down",
                    Position::HalfOpen => "is tried again",
                    Position::HeldOpen => "is left alone",
                    Position::HeldClosed => "is tried whatever happens",
                };
                let by = by.map(|it| format!(" by {it}")).unwrap_or_default();
                format!("control plane {service} in {region} {word}{by}: {why}")
            }
            Body::RecoveryCompleted { recovery, how, phases_ns } => {
                let whole = phases_ns.iter().map(|it| it.1).sum();
                match how {
                    Completion::ByRung { strategy, instance } => {
                        format!("{recovery} completed by {} to {instance} in {}", strategy.word(), self.nanos(whole))
                    }
                    Completion::Switched { instance } => {
                        format!("{recovery} completed: {instance} has taken over as planned in {}", self.nanos(whole))
                    }
                    Completion::Adopted { instance } => {
                        format!("{recovery} completed: {instance} is adopted in {}", self.nanos(whole))
                    }
                    Completion::ByItself => format!("{recovery} completed: healthy again before anything was done"),
                    Completion::BySomeoneElse { instance } => {
                        format!("{recovery} completed: somebody else has made {instance} active, which is adopted")
                    }
                }
            }
            Body::RecoveryFailed { recovery, why } => format!("{recovery} failed: {why}"),
            Body::NoticeSent { level, text, to, .. } => {
                format!("tell {} ({}): {text}", to.join(", "), level.word())
            }
            Body::NoticeResent { channel, notice, nth } => {
                format!("{notice}, message {nth}, over {channel}: tried again")
            }
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
            | Body::RouteRefused { .. }
            | Body::TrafficSilent { .. }
            | Body::TrafficAhead { .. }
            | Body::Commanded { .. }
            | Body::JournalLost { .. }
            | Body::InStepChanged { .. }
            | Body::RoleSeen { .. }
            | Body::CanaryChanged { .. }
            | Body::Impaired { .. }
            | Body::ImpairmentEnded { .. }
            | Body::RuleFired { .. }
            | Body::RuleCleared { .. }
            | Body::Told { .. }
            | Body::LeaseChanged { .. }
            | Body::PeerOrder { .. }
            | Body::HostRefused { .. } => return None,
        })
    }

    /// What an operator said.
    fn command(&self, command: &Command) -> String {
        let whom = |component: &Option<String>| component.clone().unwrap_or_else(|| "all components".to_owned());
        match command {
            Command::Recover { component, reason } => format!("recover {component}: {reason}"),
            Command::Approve { recovery, overrides, outcome, reason } => {
                let words: Vec<&str> = overrides.iter().map(|it: &Override| it.word()).collect();
                let overruled =
                    if words.is_empty() { String::new() } else { format!(", overruling {}", words.join(", ")) };
                let outcome = match outcome {
                    None => "",
                    Some(true) => ", the step was done",
                    Some(false) => ", the step was not done",
                };
                format!("approve {recovery}{overruled}{outcome}: {reason}")
            }
            Command::Abort { recovery, reason } => format!("abort {recovery}: {reason}"),
            Command::Pause { component, until, reason, owner } => {
                let owner = owner.as_ref().map(|it| format!(" for {it}")).unwrap_or_default();
                format!("pause {}{owner} until {}: {reason}", whom(component), (self.moment)(*until))
            }
            Command::Resume { component } => format!("resume {}", whom(component)),
            Command::Drain { what, until, reason } => {
                format!("drain {what} until {}: {reason}", (self.moment)(*until))
            }
            Command::Undrain { what } => format!("end the drain of {what}"),
            Command::Evacuate { place, until, graceful, reason } => {
                let until = until.map(|it| format!(" until {}", (self.moment)(it))).unwrap_or_default();
                let way = match graceful {
                    None => "",
                    Some(true) => ", gracefully",
                    Some(false) => ", at once",
                };
                format!("evacuate {place}{until}{way}: {reason}")
            }
            Command::EndEvacuation { place, reason } => format!("end the evacuation of {place}: {reason}"),
            Command::RouteOverride { route, rule, reason } => {
                format!("overrule {} of route {route} once: {reason}", rule.word())
            }
            Command::Halt { reason } => format!("stop all action: {reason}"),
            Command::Continue { reason } => format!("go on: {reason}"),
            Command::Switch { component, to, graceful, reason } => {
                let way = if *graceful { "" } else { ", ungraceful" };
                format!("switch {component} to {to}{way}: {reason}")
            }
            Command::Failback { component, reason } => format!("failback {component}: {reason}"),
            Command::Breaker { service, region, hold, reason } => {
                let of = region.as_ref().map(|it| format!(" in {it}")).unwrap_or_default();
                format!("breaker {service}{of} {}: {reason}", hold.word())
            }
            Command::PauseRecovery { recovery, reason } => format!("pause {recovery}: {reason}"),
            Command::ResumeRecovery { recovery } => format!("resume {recovery}"),
            Command::Skip { recovery, reason } => format!("skip what {recovery} waits for: {reason}"),
            Command::Retry { recovery, reason } => format!("retry {recovery}: {reason}"),
            Command::ApproveInAdvance { component, until, reason } => {
                format!("approve in advance until {} a recovery of {component}: {reason}", (self.moment)(*until))
            }
            Command::Revoke { component } => format!("revoke approvals in advance of {component}"),
            Command::Repair { instance, two_writers, reason } => {
                let accepts = if *two_writers { ", whatever it may write" } else { "" };
                format!("repair {instance}{accepts}: {reason}")
            }
            Command::Adopt { instance, role, anyway, two_writers, address, reason } => {
                let role = role.map(|it| format!(" as {}", it.word())).unwrap_or_default();
                let place = address.map(|it| format!(" at {it}")).unwrap_or_default();
                let anyway = if *anyway { ", whatever it says itself" } else { "" };
                let two = if *two_writers { ", accepting two writers" } else { "" };
                format!("adopt {instance}{role}{place}{anyway}{two}: {reason}")
            }
            Command::Acknowledge { what, reason } => format!("acknowledge {what}: {reason}"),
        }
    }
}

/// Enough of a hash to tell two apart.
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// Why an instance that is repaired takes no writes. One that went astray never was an owner.
fn of_repaired(why: &OldOwner) -> String {
    match why {
        OldOwner::SeenStandby {} => "it says that it is a standby".to_owned(),
        OldOwner::CutOff {}
        | OldOwner::Stopped {}
        | OldOwner::LeaseEnds {}
        | OldOwner::NotExclusive {}
        | OldOwner::TwoWriters { .. } => why.to_string(),
    }
}

fn shown_evidence(evidence: &[Evidence]) -> String {
    let each = evidence.iter().map(|it| match it.count {
        0 | 1 => format!("{}: {}", it.probe, it.answer),
        count => format!("{}: {count} times {}", it.probe, it.answer),
    });
    if evidence.is_empty() { String::new() } else { format!(" ({})", each.collect::<Vec<_>>().join("; ")) }
}

/// As the status calls it too.
pub const fn target_word(state: TargetState) -> &'static str {
    match state {
        TargetState::Serving => "serving",
        TargetState::Standby => "standby",
        TargetState::Draining => "draining",
        TargetState::Down => "down",
        TargetState::Fenced => "fenced",
    }
}

fn shown_targets(targets: &[ReportedTarget]) -> String {
    let mut by_route: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for target in targets {
        let place = target.address.map(|it| format!(" at {it}")).unwrap_or_default();
        let shown = format!("{} {}{place}", target.instance, target_word(target.state));
        by_route.entry(&target.route).or_default().push(shown);
    }
    let each: Vec<String> =
        by_route.iter().map(|(route, targets)| format!("{route} = {}", targets.join(", "))).collect();
    if each.is_empty() { "no routes".to_owned() } else { each.join("; ") }
}

const fn lease_over(how: LeaseEnd) -> &'static str {
    match how {
        LeaseEnd::Released => "what it was held for is stopped or demoted",
        LeaseEnd::RanOut => "it has run out",
        LeaseEnd::NotHeld => "nobody held it",
    }
}
