//! What may hold a recovery back, in the order in which a careful person would ask: may we be the broken part, did someone ask
//! us to keep still, does something else have to come first, how far may we go alone, is it too soon, and is it too much?

use std::collections::BTreeSet;

use mainstay_plan::Time;
use mainstay_plan::observation::Health;
use mainstay_plan::policy::{AfterFailure, Mode, OnJournalLoss};
use mainstay_plan::route::Sharing;
use mainstay_plan::strategy::{OnExpiry, Step, StepKind};

use crate::command::Override;
use crate::lease::{May, Role};
use crate::planted::{Fault, planted};
use crate::state::{Pause, Recovery, RecoveryStatus, State};
use crate::waiting::{Unacknowledged, WaitingOn};
use crate::{elsewhere, evacuation, scenario};

/// Whether too few witnesses have answered since the component's instance went down. Asked before a recovery begins, and
/// again under way: who starts anew, or slept, may be cut off now.
pub(crate) fn witnesses(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let component = &state.components[recovery.component.index()];
    let rule = &state.plan.component(recovery.component).witnesses;
    let since = state.failing_since(recovery.component).unwrap_or(state.instances[component.bound.index()].since);
    let witnessed = component.witnessed.is_some_and(|it| it >= since);
    let asked = rule.need > 0 && !planted(Fault::WitnessesNotAsked);
    let missing = asked && !witnessed && !recovery.overrides.contains(&Override::Witnesses);
    missing.then(|| WaitingOn::Witnesses {
        need: rule.need,
        of: rule.of.iter().map(|it| state.plan.witness(*it).name.clone()).collect(),
    })
}

/// Whether too few agents see it down, or one sees it healthy. An agent that nothing connects to others asks none.
pub(crate) fn observers(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let component = &state.components[recovery.component.index()];
    let need = state.plan.component(recovery.component).guards.observers? as usize;
    if state.leadership.role == Role::Sole || recovery.overrides.contains(&Override::Observers) {
        return None;
    }
    let since = state.instances[component.bound.index()].since;
    let observed = component.observed.as_ref().filter(|it| it.since >= since);
    let have = 1 + observed.map_or(0, |it| it.down.len());
    let healthy = observed.map(|it| it.healthy.clone()).unwrap_or_default();
    let of = 1 + state.plan.agents.len();
    (have < need || !healthy.is_empty()).then_some(WaitingOn::Observers { need, have, of, healthy })
}

/// Whether the journal is lost and the plan says that nothing is done then.
pub(crate) fn journal(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let holds =
        state.plan.on_journal_loss == OnJournalLoss::Hold && !recovery.overrides.contains(&Override::JournalLost);
    (state.journal_lost.is_some() && holds).then_some(WaitingOn::JournalLost {})
}

/// Whether another agent decides, or may. Asked before anything new is begun, at any stage of a recovery.
pub(crate) fn lease(state: &State, recovery: &Recovery, _: Time) -> Option<WaitingOn> {
    if recovery.overrides.contains(&Override::Lease) {
        return None;
    }
    let held = match state.leadership.may(&state.plan) {
        May::Everything => false,
        May::Shared => is_exclusive(state, recovery),
        May::Nothing => true,
    };
    let alone = state.leadership.role == Role::Alone;
    held.then(|| WaitingOn::Lease { leader: state.leadership.leader.clone(), alone })
}

/// Whether its recovery could give something exclusive two owners, if another agent recovered it as well.
fn is_exclusive(state: &State, recovery: &Recovery) -> bool {
    let planned = state.plan.component(recovery.component);
    let on_route = planned.routes.iter().any(|it| state.plan.route(*it).sharing == Sharing::Exclusive);
    let fences =
        |it: &Step| matches!(it.kind, StepKind::Stop { .. } | StepKind::CutTraffic { .. } | StepKind::EndLease { .. });
    let mut plays = planned.ladder.iter().flat_map(|it| it.plays.values());
    on_route || plays.any(|it| it.accepts_two_writers || it.steps.iter().any(fences))
}

/// A guard: what it has against a recovery now.
pub(crate) type Guard = fn(&State, &Recovery, Time) -> Option<WaitingOn>;

/// All guards, by the code of their waits, in the order in which they are asked.
pub(crate) const ALL: [(&str, Guard); 18] = [
    ("halted", |state, _, _| halted(state)),
    ("lease", lease),
    ("journal_lost", |state, recovery, _| journal(state, recovery)),
    ("witnesses", |state, recovery, _| witnesses(state, recovery)),
    ("observers", |state, recovery, _| observers(state, recovery)),
    ("signals", |state, recovery, _| signals(state, recovery)),
    ("correlation", scenario::correlation),
    ("traffic", traffic),
    ("someone_else", elsewhere::held),
    ("paused", pause),
    ("dependency", dependency),
    ("observe_mode", observe_mode),
    ("cool_down", cool_down),
    ("acknowledgement", acknowledgement),
    ("blast_radius", |state, recovery, _| blast_radius(state, recovery)),
    ("approval", approval),
    ("turn", |state, recovery, _| evacuation::turn(state, recovery)),
    // The last, because who passes it begins and counts.
    ("storm_brake", storm_brake),
];

/// The first guard that holds a recovery back now.
pub fn first(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    ALL.iter().find_map(|(_, guard)| guard(state, recovery, now))
}

/// Whether an operator has stopped all action. Asked before everything, also under way.
pub(crate) fn halted(state: &State) -> Option<WaitingOn> {
    let halt = state.site.halted.as_ref().filter(|_| !planted(Fault::HaltIgnored))?;
    Some(WaitingOn::Halted { by: halt.by.clone(), reason: halt.reason.clone() })
}

/// Whether too few signals of different kinds say that the component's instance is down.
fn signals(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let component = &state.components[recovery.component.index()];
    let need = state.plan.component(recovery.component).guards.signals;
    let bound = &state.instances[component.bound.index()];
    // A rule that accuses what its probes do not find down is a statement of the plan's own.
    let (since, by_rule) = (bound.since, bound.health != Health::Down);
    let seen =
        need < 2 || planted(Fault::SignalsNotCounted) || by_rule || component.signalled.is_some_and(|it| it >= since);
    (!seen && !recovery.overrides.contains(&Override::Signals)).then_some(WaitingOn::Signals { need })
}

fn traffic(state: &State, recovery: &Recovery, _: Time) -> Option<WaitingOn> {
    let has_routes = !state.plan.component(recovery.component).routes.is_empty();
    let matters = has_routes && !recovery.overrides.contains(&Override::JournalLost);
    (matters && state.routing.epoch == 0 && !state.traffic_was_heard()).then_some(WaitingOn::Traffic {})
}

fn pause(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    if planted(Fault::PauseIgnored) {
        return None;
    }
    let (component, pause) = state.pause_of(recovery.component, now)?;
    let Pause { by, reason, owner, until, since: _ } = pause.clone();
    Some(WaitingOn::Paused { component, until, by, reason, owner })
}

fn dependency(state: &State, recovery: &Recovery, _: Time) -> Option<WaitingOn> {
    let missing = state.plan.component(recovery.component).depends_on.iter().copied().find(|it| {
        let on = &state.components[it.index()];
        on.recovery.is_some() || state.instances[on.bound.index()].health == Health::Down
    });
    let on = missing
        .filter(|_| !planted(Fault::DependencyIgnored) && !recovery.overrides.contains(&Override::Dependency))?;
    Some(WaitingOn::Dependency { component: state.plan.component(on).name.clone() })
}

fn observe_mode(state: &State, recovery: &Recovery, _: Time) -> Option<WaitingOn> {
    let observes = state.plan.mode == Mode::Observe && !recovery.overrides.contains(&Override::ObserveMode);
    (observes && !planted(Fault::ObserveModeActs)).then_some(WaitingOn::ObserveMode {})
}

fn cool_down(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    let long = state.plan.component(recovery.component).guards.cool_down;
    let until = state.components[recovery.component.index()].last_ended.map(|it| it + long).filter(|it| *it > now)?;
    let asked = !recovery.overrides.contains(&Override::CoolDown) && !planted(Fault::CoolDownIgnored);
    asked.then_some(WaitingOn::CoolDown { until })
}

/// Whether a person has to look at what happened to the component before.
fn acknowledgement(state: &State, recovery: &Recovery, _: Time) -> Option<WaitingOn> {
    if recovery.planned().is_some() || planted(Fault::AcknowledgementIgnored) {
        return None;
    }
    let component = &state.components[recovery.component.index()];
    let planned = state.plan.component(recovery.component);
    let asks = |why| WaitingOn::Acknowledgement { component: planned.name.clone(), why };
    let failed = component.unacknowledged.filter(|_| planned.guards.after_failure == AfterFailure::Acknowledge);
    if let Some(before) = failed {
        return Some(asks(Unacknowledged::Failed { recovery: before }));
    }
    let limit = planned.guards.flapping?;
    let nth = component.begun.len().checked_sub(limit.at_most as usize)?;
    let flaps = *component.begun.get(nth)? + limit.within > recovery.opened;
    let within_ns = u64::try_from(limit.within.as_nanos()).unwrap_or(u64::MAX);
    flaps.then(|| asks(Unacknowledged::Flapping { times: limit.at_most, within_ns }))
}

/// Whether more of the site would be down or moved after this recovery than the plan allows. The component itself counts in
/// any case: it is down now, and moved or just recovered afterwards.
pub(crate) fn blast_radius(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let radius = state.plan.guards.blast_radius?;
    let of = state.components.len();
    let (would_be, allowed) = (state.site.touched_with(recovery.component), radius.allowed(of));
    // What an incident or an evacuation explains adds nothing to what is not explained.
    let explained = recovery.incident.or(recovery.evacuated).is_some()
        || recovery.planned().is_some()
        || recovery.overrides.contains(&Override::BlastRadius);
    let judged = would_be - usize::from(planted(Fault::RadiusJudgedBefore));
    let over = judged > allowed && !explained;
    over.then_some(WaitingOn::BlastRadius { would_be, of, allowed })
}

/// Whether as many recoveries have begun lately as the plan lets begin.
pub(crate) fn storm_brake(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    let brake = state.plan.guards.storm_brake?;
    let counted = recovery.incident.or(recovery.evacuated).is_some_and(|it| state.site.counts(it));
    let passes = counted
        || planted(Fault::BrakeOff)
        || recovery.planned().is_some()
        || recovery.overrides.contains(&Override::StormBrake);
    let until = state.site.brake_frees(brake, now).filter(|_| !passes)?;
    let within_ns = u64::try_from(brake.within.as_nanos()).unwrap_or(u64::MAX);
    Some(WaitingOn::StormBrake { at_most: brake.at_most, within_ns, until })
}

/// Whether too few people have approved it, and the plan does not say that their silence means yes.
fn approval(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    let asked = Asked::of(state, recovery)?;
    let given = asked.given(state, recovery, now);
    let silent = asked.expires.is_some_and(|it| it <= now) && asked.on_expiry == OnExpiry::Proceed;
    let need = if planted(Fault::QuorumNotCounted) { 1 } else { asked.need };
    (given.len() < need as usize && !silent).then_some(WaitingOn::Approval {
        expires: asked.expires,
        need: asked.need,
        given,
        role: asked.role.map(str::to_owned),
    })
}

/// When people can no longer approve a recovery that has not begun, if that ends.
pub(crate) fn question_ends(state: &State, recovery: &Recovery) -> Option<Time> {
    let begins = recovery.status == RecoveryStatus::FailureDetected;
    Asked::of(state, recovery).filter(|_| begins)?.expires
}

/// How the approval was had, for the record; `None`: nobody was asked.
pub(crate) fn approved(state: &State, recovery: &Recovery, now: Time) -> Option<String> {
    let asked = Asked::of(state, recovery)?;
    let given = asked.given(state, recovery, now);
    if given.len() < asked.need as usize {
        return Some("nobody answered in time, and the plan goes on then".to_owned());
    }
    let advance = &state.components[recovery.component.index()].advance;
    let said = |by: &String| match advance.get(by).filter(|_| !recovery.approved_by.contains(by)) {
        Some(it) => format!("{by} in advance ({})", it.reason),
        None => by.clone(),
    };
    Some(format!("approved by {}", given.iter().map(said).collect::<Vec<_>>().join(", ")))
}

/// What is asked of people before a recovery begins.
pub(crate) struct Asked<'a> {
    expires: Option<Time>,
    /// How many different people must approve.
    pub(crate) need: u32,
    /// The role that it takes.
    pub(crate) role: Option<&'a str>,
    on_expiry: OnExpiry,
}

impl<'a> Asked<'a> {
    pub(crate) fn of(state: &'a State, recovery: &Recovery) -> Option<Asked<'a>> {
        match &state.plan.component(recovery.component).guards.approval {
            Some(approval) => Some(Asked {
                expires: Some(recovery.opened + approval.expires),
                need: approval.quorum,
                role: approval.role.as_deref(),
                on_expiry: approval.on_expiry,
            }),
            None if state.plan.mode == Mode::Recommend => {
                Some(Asked { expires: None, need: 1, role: None, on_expiry: OnExpiry::Fail })
            }
            None => None,
        }
    }

    /// Who has approved it, now or in advance. Each person counts once, and only with the role.
    pub(crate) fn given(&self, state: &State, recovery: &Recovery, now: Time) -> Vec<String> {
        let advance = &state.components[recovery.component.index()].advance;
        let in_advance =
            advance.iter().filter(|(_, it)| it.until > now || planted(Fault::ApprovalOutlivesExpiry)).map(|(by, _)| by);
        let all: BTreeSet<&String> = recovery.approved_by.iter().chain(in_advance).collect();
        all.into_iter().filter(|it| state.plan.may(it, self.role)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mainstay_plan::Walkthrough;

    use super::ALL;

    /// What `mainstay plan` says is asked, and in which order, is what is asked.
    #[test]
    fn a_walkthrough_tells_every_guard_in_its_turn() {
        let text = include_str!("../tests/timelines/plans/two-agents.yaml")
            .replace("state: ./state\n", "state: ./state\nmode: observe\non_journal_loss: hold\n")
            .replace("lag_header: lag", "lag_header: lag, role_header: role")
            .replace("    guards: { cool_down: 10s }\n", "    depends_on: [disk]\n    guards: { cool_down: 10s, signals: 2, observers: { need: 2 }, after_failure: acknowledge, approval: { expires: 5m } }\n")
            .replace("standbys:\n", "  disk:\n    type: file_system\n    location: { region: r1, zone: z1 }\n    probes:\n      - tcp: { address: \"10.0.4.1:80\" }\nstandbys:\n")
            + "guards: { storm_brake: { at_most: 1, within: 1m }, blast_radius: { share: 50 } }\nevacuations: { leave: { of: { region: r1, zone: z1 } } }\n";
        let compiled = mainstay_plan::compile("plan.yaml", &text, Path::new("/"));
        let plan = compiled.plan.unwrap_or_else(|| panic!("it is sound: {:#?}", compiled.findings));
        let walk = Walkthrough::of(&plan, |it| it.name == "orders-db");
        let told: Vec<&str> = walk.components[0].guards.iter().map(|it| it.code).collect();
        let mut asked: Vec<&str> = ALL.iter().map(|it| it.0).collect();
        asked.push("no_rung_possible");
        assert_eq!(told, asked);
    }
}
