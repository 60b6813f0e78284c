//! What failed, as the smallest cause that explains what was seen: an instance, its service, its zone, its region. Whether it
//! is our own path is what the witnesses are for.
//!
//! Intuition: one dark window is a bulb; a dark house is a fuse; a dark street is the power station. Before we change a bulb we
//! look out of the window, as long as that costs next to nothing: a neighbour that answers ends the wait at once, and so do
//! neighbours that are all down. The same look shows whether what a component depends on failed with it.
//!
//! A lost zone or region is an *incident*: one failure, into which the recoveries of all that lived there are merged.

use mainstay_plan::observation::{Health, Scenario};
use mainstay_plan::{ComponentIx, DomainIx, InstanceIx, Time};

use crate::command::Override;
use crate::machine::IncidentState;
use crate::record::{Body, IncidentId};
use crate::state::{FiredRule, Incident, Recovery, State};
use crate::waiting::WaitingOn;

/// How many instances a piece of evidence names.
const NAMED: usize = 8;

/// What is not known yet about the cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether something in this zone or region still lives.
    Lives(DomainIx),
    /// Whether this, which the component depends on, is well.
    Well(InstanceIx),
}

/// The first open question about a component whose bound instance is down, while its window is open.
pub fn question(state: &State, component: ComponentIx, now: Time) -> Option<Question> {
    let bound = state.components[component.index()].bound;
    let instance = &state.instances[bound.index()];
    let window = state.plan.allowances.correlation;
    if instance.health != Health::Down || instance.down_at + window <= now {
        return None;
    }
    if let Some(domain) = domain_in_question(state, bound) {
        return Some(Question::Lives(domain));
    }
    dependency_in_question(state, component, instance.since).map(Question::Well)
}

fn domain_in_question(state: &State, bound: InstanceIx) -> Option<DomainIx> {
    let since = state.instances[bound.index()].since;
    let place = state.topology.place(bound);
    let is_open = |ix: &DomainIx| {
        let domain = &state.domains[ix.index()];
        state.topology.domain(*ix).is_told_apart && domain.answered < since && !is_settled(state, *ix)
    };
    if place.zone.is_some_and(|it| state.domains[it.index()].answered >= since) {
        return None;
    }
    place.domains().find(is_open)
}

/// Whether no answer from there can change anything: it is known to be lost, or everything that could answer is down.
pub fn is_settled(state: &State, ix: DomainIx) -> bool {
    let domain = &state.domains[ix.index()];
    domain.incident.is_some() || (domain.down == domain.expected && state.topology.domain(ix).witnesses.is_empty())
}

/// What is down, or being recovered, is waited for by a guard of its own.
fn dependency_in_question(state: &State, component: ComponentIx, since: Time) -> Option<InstanceIx> {
    let on = state.plan.component(component).depends_on.iter().map(|it| &state.components[it.index()]);
    let just_recovered = |ended: Option<Time>| ended.is_some_and(|it| it >= since);
    on.filter(|it| it.recovery.is_none() && !just_recovered(it.last_ended)).map(|it| it.bound).find(|it| {
        let instance = &state.instances[it.index()];
        instance.health != Health::Down && instance.answered < since && !state.plan.instance(*it).probes.is_empty()
    })
}

/// The guard: a recovery waits while it is not known what failed.
pub(crate) fn correlation(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    if recovery.classified || recovery.overrides.contains(&Override::Correlation) {
        return None;
    }
    let of = match question(state, recovery.component, now)? {
        Question::Lives(domain) => state.topology.domain(domain).name(),
        Question::Well(instance) => state.plan.instance(instance).name.clone(),
    };
    let bound = state.components[recovery.component.index()].bound;
    let until = state.instances[bound.index()].down_at + state.plan.allowances.correlation;
    Some(WaitingOn::Correlation { of, until })
}

/// The incident that an instance is lost in.
pub fn lost_with(state: &State, instance: InstanceIx) -> Option<IncidentId> {
    state.topology.place(instance).domains().find_map(|it| state.domains[it.index()].incident)
}

/// The scenario of a failure of the bound instance, by what is known, and why.
pub(crate) fn explain(state: &State, component: ComponentIx) -> (Scenario, Option<IncidentId>, Vec<String>) {
    let bound = state.components[component.index()].bound;
    let instance = &state.instances[bound.index()];
    let name = &state.plan.instance(bound).name;
    if let Some(id) = lost_with(state, bound) {
        let scenario = state.incidents.get(&id).map_or(Scenario::AvailabilityZoneFailure, |it| it.scenario);
        return (scenario, Some(id), vec![format!("it lives in what is lost with {id}")]);
    }
    let mut evidence = Vec::new();
    if instance.partly_answering {
        evidence.push(format!("another probe of `{name}` answers"));
    }
    let place = state.topology.place(bound);
    let lives = |it: &DomainIx| state.domains[it.index()].answered >= instance.since;
    if let Some(domain) = place.domains().find(lives) {
        let by = &state.domains[domain.index()].answered_by;
        evidence.push(format!("{} lives: `{by}` answered", state.topology.domain(domain).name()));
    } else {
        evidence.extend(place.domains().find_map(|it| not_told(state, it)));
    }
    let on = state.plan.component(component).depends_on.iter().map(|it| state.components[it.index()].bound);
    let well: Vec<String> = (on.filter(|it| state.instances[it.index()].answered >= instance.since).take(NAMED))
        .map(|it| format!("`{}`", state.plan.instance(it).name))
        .collect();
    if !well.is_empty() {
        evidence.push(format!("what it depends on answered: {}", well.join(", ")));
    }
    let scenario = if instance.partly_answering { Scenario::ServiceFailure } else { Scenario::InstanceFailure };
    (scenario, None, evidence)
}

/// Why nothing is said about a domain in which nobody answered.
fn not_told(state: &State, ix: DomainIx) -> Option<String> {
    let (domain, planned) = (&state.domains[ix.index()], state.topology.domain(ix));
    planned.is_told_apart.then(|| {
        let name = planned.name();
        format!(
            "nobody answered in {name}, where {} of {} are down: too little to call it lost",
            domain.down, domain.expected
        )
    })
}

/// The next decision about a zone or region, or `None`.
pub fn next(state: &State, ix: DomainIx, now: Time) -> Option<Body> {
    let domain = &state.domains[ix.index()];
    if let Some(recovered) = recovered(state, ix) {
        return Some(recovered);
    }
    if let Some(id) = domain.incident {
        let own = state.incidents.get(&id).is_some_and(|it| it.domain == ix);
        // What a rule calls lost may live in parts: it is over when the rule says so, too.
        let over = own && domain.healthy > 0 && state.accuser_of_domain(ix).is_none();
        return over.then(|| ended(state, ix, id));
    }
    if let Some(accuser) = state.accuser_of_domain(ix) {
        return Some(opened_by(state, ix, accuser));
    }
    is_lost(state, ix, now).then(|| opened(state, ix))
}

/// When time alone may make it lost: the end of the window in which what could not be asked is waited for.
pub(crate) fn next_time(state: &State, ix: DomainIx, now: Time) -> Option<Time> {
    let domain = &state.domains[ix.index()];
    let is_open = domain.incident.is_none() && state.topology.domain(ix).is_told_apart;
    let burst = domain.burst.as_ref().filter(|_| is_open)?;
    Some(burst.started + state.plan.allowances.correlation).filter(|it| *it > now)
}

/// That the last recovery of an incident has ended, unless it was said. Of what is back there may be several.
fn recovered(state: &State, ix: DomainIx) -> Option<Body> {
    let is_news = |it: &&Incident| {
        let waits = matches!(it.status, IncidentState::Lost | IncidentState::Back);
        it.domain == ix && waits && it.open == 0 && it.recovered + it.failed > 0
    };
    let Incident { id, recovered, failed, .. } = state.incidents.values().find(is_news)?;
    Some(Body::IncidentRecovered { incident: *id, recovered: *recovered, failed: *failed })
}

/// All that should answer are down, on two hosts at least (a region: in two zones), at about the same time. What could not be
/// asked is waited for until the window ends, and says nothing then.
fn is_lost(state: &State, ix: DomainIx, now: Time) -> bool {
    let (domain, planned) = (&state.domains[ix.index()], state.topology.domain(ix));
    let window = state.plan.allowances.correlation;
    let Some(burst) = domain.burst.as_ref().filter(|_| planned.is_told_apart && !window.is_zero()) else {
        return false;
    };
    let apart = if planned.zone.is_some() || planned.parts.is_empty() { burst.two_hosts } else { burst.two_zones };
    let waited = burst.started + window <= now;
    let silent = domain.down == domain.expected && (planned.witnesses.is_empty() || waited);
    let as_far_as_asked = waited && domain.down + domain.unknown == domain.expected;
    apart && domain.down > 0 && domain.healthy == 0 && domain.answered < burst.newest && (silent || as_far_as_asked)
}

/// Opened because a rule says so.
fn opened_by(state: &State, ix: DomainIx, accuser: &FiredRule) -> Body {
    let planned = state.topology.domain(ix);
    let mut evidence = vec![format!("rule `{}` says so", accuser.rule)];
    evidence.extend(accuser.terms.iter().map(ToString::to_string));
    Body::IncidentOpened {
        scenario: accuser.then,
        region: planned.region.clone(),
        zone: planned.zone.clone(),
        first_failed: accuser.since,
        evidence,
    }
}

fn opened(state: &State, ix: DomainIx) -> Body {
    let (domain, planned) = (&state.domains[ix.index()], state.topology.domain(ix));
    let down = planned.members.iter().filter(|it| state.instances[it.index()].health == Health::Down);
    let named: Vec<&str> = down.take(NAMED).map(|it| state.plan.instance(*it).name.as_str()).collect();
    let more = (domain.down as usize).saturating_sub(named.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let mut evidence = vec![format!("{} of {} are down: {}{more}", domain.down, domain.expected, named.join(", "))];
    if domain.unknown > 0 {
        evidence.push(format!("{} could not be asked", domain.unknown));
    }
    evidence.push(format!("nothing in {} answered since", planned.name()));
    if let Some(parent) = planned.parent {
        let region = &state.domains[parent.index()];
        let lives = domain.burst.as_ref().is_some_and(|it| region.answered >= it.first);
        evidence.extend(lives.then(|| format!("{} lives: `{}` answered", planned.region, region.answered_by)));
    }
    Body::IncidentOpened {
        scenario: scenario_of(planned.zone.is_some()),
        region: planned.region.clone(),
        zone: planned.zone.clone(),
        first_failed: domain.burst.as_ref().map_or(Time::ZERO, |it| it.first),
        evidence,
    }
}

const fn scenario_of(zone: bool) -> Scenario {
    if zone { Scenario::AvailabilityZoneFailure } else { Scenario::RegionFailure }
}

fn ended(state: &State, ix: DomainIx, incident: IncidentId) -> Body {
    let members = &state.topology.domain(ix).members;
    let back = members.iter().find(|it| state.instances[it.index()].health == Health::Healthy);
    let name = back.map_or("something in it", |it| state.plan.instance(*it).name.as_str());
    Body::IncidentEnded { incident, why: format!("`{name}` is healthy again") }
}

/// Why a rung that works on `to`, or leads to it, can't help now: it is in what is lost.
pub(crate) fn out_of_place(state: &State, to: InstanceIx) -> Option<String> {
    let id = lost_with(state, to).filter(|_| state.instances[to.index()].health != Health::Healthy)?;
    let domain = state.incidents.get(&id).map(|it| state.topology.domain(it.domain).name());
    Some(format!("`{}` is in {}, which is lost ({id})", state.plan.instance(to).name, domain.unwrap_or_default()))
}
