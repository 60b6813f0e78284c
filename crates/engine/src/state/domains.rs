//! What lasts about zones and regions: how many of their instances are down, whether something there answered, and the
//! incident that they are in. Counted as records are folded, so that asking costs the same whatever lives there.

use mainstay_plan::component::Temperature;
use mainstay_plan::observation::{Health, Scenario};
use mainstay_plan::{ComponentIx, DomainIx, InstanceIx, Time};

use super::{Recovery, RecoveryStatus, State};
use crate::evacuation;
use crate::machine::{IncidentInput, IncidentLife, IncidentState, Machine};
use crate::record::IncidentId;

/// What lasts about a zone or a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainState {
    /// Instances that answer while all is well: those that run, and are no displaced owners of before.
    pub expected: u32,
    /// Of these: down.
    pub down: u32,
    /// Of these: not known.
    pub unknown: u32,
    /// Instances that are healthy, whatever they are.
    pub healthy: u32,
    /// How much of its capacity is taken: by what is active there, or is about to be.
    pub active: u64,
    /// Something there answered a question that was asked then.
    pub answered: Time,
    /// What did.
    pub answered_by: String,
    /// Failures there that came close together, the newest of them.
    pub burst: Option<Burst>,
    /// The incident that it is lost in: its own, or its region's.
    pub incident: Option<IncidentId>,
}

/// Failures that came close together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// When the first failed answer of the first was asked.
    pub first: Time,
    /// The same of the last.
    pub newest: Time,
    /// When the first of them was seen down.
    pub started: Time,
    /// Whether they are on two hosts at least.
    pub two_hosts: bool,
    /// Whether they are in two zones at least.
    pub two_zones: bool,
    instance: InstanceIx,
    zone: Option<DomainIx>,
}

/// A zone or a region that is lost, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Its name.
    pub id: IncidentId,
    /// What it is.
    pub scenario: Scenario,
    /// What is lost.
    pub domain: DomainIx,
    /// When it was recognised.
    pub opened: Time,
    /// When the first failed observation was asked.
    pub first_failed: Time,
    /// Why it was called so.
    pub evidence: Vec<String>,
    /// How it stands; one that is over is forgotten.
    pub status: IncidentState,
    /// How many recoveries of it are open.
    pub open: usize,
    /// How many of what lived there were recovered.
    pub recovered: usize,
    /// How many recoveries of it failed.
    pub failed: usize,
}

/// What an instance adds to the counts of its domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    expected: bool,
    down: bool,
    unknown: bool,
    healthy: bool,
    active: bool,
}

impl State {
    fn counted_as(&self, ix: InstanceIx) -> Standing {
        let (instance, planned) = (&self.instances[ix.index()], self.plan.instance(ix));
        let bound = self.components[planned.component.index()].bound == ix;
        let runs = !planned.probes.is_empty() && (bound || planned.temperature != Temperature::Cold);
        let expected = runs && !instance.displaced;
        Standing {
            expected,
            down: expected && instance.health == Health::Down,
            unknown: expected && instance.health == Health::Unknown,
            healthy: instance.health == Health::Healthy,
            active: bound || self.is_taken_over_by(ix),
        }
    }

    fn is_taken_over_by(&self, ix: InstanceIx) -> bool {
        let recovery = self.components[self.plan.instance(ix).component.index()].recovery.as_ref();
        recovery.and_then(|it| self.play(it)).is_some_and(|it| it.to == ix)
    }

    /// Counts the instances of a component anew.
    pub(super) fn recount(&mut self, component: ComponentIx) {
        let plan = self.plan.clone();
        for ix in &plan.component(component).instances {
            let now = self.counted_as(*ix);
            let before = std::mem::replace(&mut self.standings[ix.index()], now);
            if now == before {
                continue;
            }
            for domain in self.topology.place(*ix).domains() {
                let domain = &mut self.domains[domain.index()];
                let change = |count: &mut u32, was: bool, is: bool| {
                    *count = (*count + u32::from(is)).saturating_sub(u32::from(was));
                };
                change(&mut domain.expected, before.expected, now.expected);
                change(&mut domain.down, before.down, now.down);
                change(&mut domain.unknown, before.unknown, now.unknown);
                change(&mut domain.healthy, before.healthy, now.healthy);
                let units = u64::from(plan.instance(*ix).capacity);
                let (was, is) = (u64::from(before.active) * units, u64::from(now.active) * units);
                domain.active = (domain.active + is).saturating_sub(was);
                self.room_freed |= is < was && !plan.evacuations.is_empty();
            }
        }
        self.count_touched(component);
        if self.has_to_repair(component) {
            self.to_repair.insert(component);
        } else {
            self.to_repair.remove(&component);
        }
    }

    /// Notes whether a component is down, in recovery, or not whole again after one. What an incident or an evacuation explains is
    /// no news about the site: it stays explained until it is whole again.
    fn count_touched(&mut self, ix: ComponentIx) {
        let (touched, explained) = self.touched(ix);
        self.components[ix.index()].explained = explained;
        self.site.set_touched(ix, touched && explained.is_none());
    }

    fn touched(&self, ix: ComponentIx) -> (bool, Option<IncidentId>) {
        let component = &self.components[ix.index()];
        let down = self.instances[component.bound.index()].health == Health::Down;
        let displaced = self.plan.component(ix).instances.iter().any(|it| self.instances[it.index()].displaced);
        let touched = component.recovery.is_some() || down || displaced;
        let lost = down.then(|| crate::scenario::lost_with(self, component.bound)).flatten();
        let lost = lost.or_else(|| self.evacuated(component.bound).filter(|_| down).map(|it| it.id));
        let recovery = component.recovery.as_ref().and_then(|it| it.incident.or(it.evacuated));
        let incident = recovery.or(lost).or(component.explained);
        (touched, incident.filter(|_| touched))
    }

    /// Counts everything anew.
    pub(super) fn recount_all(&mut self) {
        for component in (0u32..).map(ComponentIx).take(self.components.len()) {
            self.recount(component);
        }
    }

    /// What is counted while records are folded, where it is not what a count from scratch gives: the instances of zones and
    /// regions, the places in evacuations, and the components that the blast radius counts. For tests: it costs as much as
    /// there are instances.
    pub fn miscounted(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut anew = vec![[0u64; 5]; self.domains.len()];
        for ix in (0u32..).map(InstanceIx).take(self.instances.len()) {
            let Standing { expected, down, unknown, healthy, active } = self.counted_as(ix);
            let units = u64::from(active) * u64::from(self.plan.instance(ix).capacity);
            let adds = [u64::from(expected), u64::from(down), u64::from(unknown), u64::from(healthy), units];
            for domain in self.topology.place(ix).domains() {
                anew[domain.index()].iter_mut().zip(adds).for_each(|(count, it)| *count += it);
            }
        }
        for ((was, is), planned) in self.domains.iter().zip(anew).zip(&self.topology.domains) {
            let counts = [was.expected, was.down, was.unknown, was.healthy].map(u64::from);
            let counts = [counts[0], counts[1], counts[2], counts[3], was.active];
            if counts != is {
                wrong.push(format!(
                    "{}: expected, down, unknown, healthy, active are {is:?}, not {counts:?}",
                    planned.name()
                ));
            }
        }
        for ix in (0u32..).map(ComponentIx).take(self.components.len()) {
            let name = &self.plan.component(ix).name;
            let recovery = self.components[ix.index()].recovery.as_ref();
            let (seat, known) = (recovery.map(|it| self.seat(it)).unwrap_or_default(), self.seats.get(&ix));
            if known.cloned().unwrap_or_default() != seat {
                wrong.push(format!("{name} has the seat {known:?}, not {seat:?}"));
            }
            let (touched, explained) = self.touched(ix);
            if self.site.is_touched(ix) != (touched && explained.is_none()) {
                wrong.push(format!("{name} counts for the blast radius, or does not: {touched} {explained:?}"));
            }
        }
        for incident in self.incidents.values() {
            let open = self.open_recoveries().filter(|it| it.incident == Some(incident.id)).count();
            if open != incident.open {
                wrong.push(format!("{} has {open} open recoveries, not {}", incident.id, incident.open));
            }
        }
        wrong
    }

    /// An instance went down: alone, or with others that went down a moment ago.
    pub(super) fn note_failure(&mut self, at: Time, ix: InstanceIx, since: Time) {
        let plan = self.plan.clone();
        let window = plan.allowances.correlation;
        let place = self.topology.place(ix);
        for domain in place.domains() {
            let domain = &mut self.domains[domain.index()];
            let fresh = Burst {
                first: since,
                newest: since,
                started: at,
                two_hosts: false,
                two_zones: false,
                instance: ix,
                zone: place.zone,
            };
            match &mut domain.burst {
                Some(burst) if since + window < burst.first => {}
                Some(burst) if since <= burst.newest + window => {
                    let host = |it: InstanceIx| plan.instance(it).location.host.as_ref();
                    let same = host(ix).is_some() && host(ix) == host(burst.instance);
                    burst.two_hosts |= ix != burst.instance && !same;
                    burst.two_zones |= place.zone.is_some() && burst.zone.is_some() && place.zone != burst.zone;
                    burst.zone = burst.zone.or(place.zone);
                    burst.first = burst.first.min(since);
                    burst.newest = burst.newest.max(since);
                }
                Some(_) | None => domain.burst = Some(fresh),
            }
        }
    }

    /// An instance is healthy: what failed there before has another cause than what fails next.
    pub(super) fn note_life(&mut self, ix: InstanceIx) {
        for domain in self.topology.place(ix).domains() {
            self.domains[domain.index()].burst = None;
        }
    }

    pub(super) fn on_answered(&mut self, region: &str, zone: Option<&str>, by: &str, asked: Time) {
        let domains = [self.topology.named(region, zone), self.topology.named(region, None)];
        for domain in domains.into_iter().flatten() {
            let domain = &mut self.domains[domain.index()];
            if asked > domain.answered {
                domain.answered = asked;
                by.clone_into(&mut domain.answered_by);
            }
        }
    }

    pub(super) fn on_incident_opened(
        &mut self,
        at: Time,
        id: IncidentId,
        scenario: Scenario,
        domain: DomainIx,
        first_failed: Time,
        evidence: &[String],
    ) {
        let opened = Incident {
            id,
            scenario,
            domain,
            opened: at,
            first_failed,
            evidence: evidence.to_vec(),
            status: IncidentState::Lost,
            open: 0,
            recovered: 0,
            failed: 0,
        };
        let topology = self.topology.clone();
        for part in topology.domain(domain).parts.iter().chain([&domain]) {
            let before = self.domains[part.index()].incident.replace(id);
            // A region takes the incidents of its zones over.
            if let Some(before) = before {
                self.incident_moved(before, IncidentInput::TakenOver);
            }
        }
        self.incidents.insert(id, opened);
        let merged: Vec<ComponentIx> = self.open_in(domain).collect();
        for component in merged {
            if let Some(recovery) = &mut self.components[component.index()].recovery {
                let before = recovery.incident.replace(id).filter(|it| *it != id);
                recovery.scenario = scenario;
                if let Some(before) = before {
                    self.moves_on_from(before);
                }
                self.joins(id);
            }
            self.count_touched(component);
            self.join_evacuations(component);
            self.reseat(component);
        }
    }

    /// A recovery that belongs to an incident takes part in what the plan says about the loss of that.
    pub(super) fn join_evacuations(&mut self, component: ComponentIx) {
        let bound = self.components[component.index()].bound;
        let Some(recovery) = &mut self.components[component.index()].recovery else { return };
        let Some(incident) = recovery.incident.and_then(|it| self.incidents.get(&it)) else { return };
        let home = &self.plan.instance(bound).location;
        recovery.evacuations = evacuation::of(&self.plan, &self.topology, incident.domain, home);
    }

    pub(super) fn on_incident_ended(&mut self, id: IncidentId) {
        let open = self.incidents.get(&id).is_some_and(|it| it.open > 0);
        self.incident_moved(id, if open { IncidentInput::EndedBefore } else { IncidentInput::Ended });
    }

    /// Moves an incident on. What is not lost any more is lost no more for its zone either, unless its region has taken it over.
    pub(super) fn incident_moved(&mut self, id: IncidentId, input: IncidentInput) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        let moved = IncidentLife::step(incident.status, input);
        match moved {
            Ok(next) => incident.status = next,
            Err(illegal) => return self.note(Some(illegal)),
        }
        match incident.status {
            IncidentState::Lost | IncidentState::Recovered => return,
            IncidentState::Back => {}
            IncidentState::Over => {
                self.incidents.remove(&id);
            }
        }
        for domain in self.domains.iter_mut().filter(|it| it.incident == Some(id)) {
            domain.incident = None;
            domain.burst = None;
        }
    }

    /// A recovery is part of an incident from here on.
    pub(super) fn joins(&mut self, id: IncidentId) {
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.open += 1;
            self.incident_moved(id, IncidentInput::Joined);
        }
    }

    /// A recovery belongs to another incident from here on. The one before is over if nobody is left of whom something could be
    /// said.
    fn moves_on_from(&mut self, before: IncidentId) {
        let Some(incident) = self.incidents.get_mut(&before) else { return };
        incident.open = incident.open.saturating_sub(1);
        let empty = incident.open == 0 && incident.recovered + incident.failed == 0;
        if empty && incident.status == IncidentState::Back {
            self.incident_moved(before, IncidentInput::TakenOver);
        }
    }

    /// A recovery has ended, and with it perhaps the last of its incident.
    pub(super) fn leaves_incident(&mut self, recovery: &Recovery) {
        let Some(incident) = recovery.incident.and_then(|it| self.incidents.get_mut(&it)) else { return };
        incident.open = incident.open.saturating_sub(1);
        if recovery.status == RecoveryStatus::RecoveryFailed {
            incident.failed += 1;
        } else {
            incident.recovered += 1;
        }
    }

    /// Components with an open recovery whose instance lives there.
    pub(crate) fn open_in(&self, domain: DomainIx) -> impl Iterator<Item = ComponentIx> {
        let there = move |it: &ComponentIx| {
            let bound = self.components[it.index()].bound;
            self.topology.place(bound).domains().any(|it| it == domain)
        };
        self.open.values().copied().filter(there)
    }
}
