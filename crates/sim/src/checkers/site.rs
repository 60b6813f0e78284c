//! S6: no more recoveries begin than the storm brake lets begin, and no more of the site is moved or down than the blast radius
//! allows. And nothing at all is done while an operator has stopped all action.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::command::{Command, Override};
use mainstay_engine::record::IncidentId;
use mainstay_engine::record::OldOwner;
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::location::Location;
use mainstay_plan::observation::Health;
use mainstay_plan::policy::SiteGuards;
use mainstay_plan::{Plan, Time};

/// The model: it counts less than the engine may, never more.
#[derive(Debug, Default)]
pub(super) struct Site {
    guards: SiteGuards,
    components: usize,
    /// Instance → its component, and its region and zone.
    of: BTreeMap<String, (String, Location)>,
    /// Components that an incident explains, and which.
    explained: BTreeMap<String, IncidentId>,
    /// Components that failed before the zone or region that they live in was evacuated: they count for themselves, and for
    /// nobody else any more.
    left: BTreeSet<String>,
    /// Incidents of which a recovery has begun.
    counted: BTreeSet<IncidentId>,
    /// What is being evacuated, by its name.
    evacuated: BTreeMap<String, IncidentId>,
    /// Components that leave with it.
    moving: BTreeMap<String, IncidentId>,
    open: BTreeMap<RecoveryId, String>,
    bound: BTreeMap<String, String>,
    displaced: BTreeSet<String>,
    /// Instances that are down: what was explained stays so between a recovery that failed and the next one.
    down: BTreeSet<String>,
    /// Adoptions from an owner that was a standby already.
    settled: BTreeSet<RecoveryId>,
    begun: Vec<Time>,
    overridden: BTreeMap<RecoveryId, BTreeSet<Override>>,
    halted: bool,
}

impl Site {
    pub(super) fn new(plan: &Plan) -> Site {
        let of = plan.instances.iter().map(|it| {
            let component = plan.component(it.component).name.clone();
            (it.name.clone(), (component, it.location.clone()))
        });
        Site { guards: plan.guards, components: plan.components.len(), of: of.collect(), ..Site::default() }
    }

    /// The same facts under another plan: recoveries end with the plan before.
    pub(super) fn under(&mut self, plan: &Plan) {
        let next = Site::new(plan);
        self.guards = next.guards;
        self.components = next.components;
        self.of = next.of;
        self.displaced.retain(|it| self.of.contains_key(it));
    }

    pub(super) fn forget_journal(&mut self) {
        *self = Site {
            guards: self.guards,
            components: self.components,
            of: std::mem::take(&mut self.of),
            ..Site::default()
        };
    }

    pub(super) fn recorded(&mut self, seq: u64, record: &Record) {
        self.stopped(seq, &record.body);
        if let Body::FailureDetected { component, incident, .. } = &record.body {
            self.open.insert(RecoveryId(seq), component.clone());
            self.moving.remove(component);
            if let Some(incident) = incident.or_else(|| self.evacuates(component)) {
                self.explained.insert(component.clone(), incident);
            }
        } else if let Body::SwitchStarted { component, evacuation, .. } = &record.body {
            self.moving.remove(component);
            let id = evacuation.as_ref().and_then(|it| self.evacuated.get(it));
            self.moving.extend(id.map(|id| (component.clone(), *id)));
        } else if let Body::EvacuationEnded { place } = &record.body {
            self.evacuated.remove(place);
        } else if let Body::IncidentOpened { region, zone, .. } = &record.body {
            self.is_lost(IncidentId(seq), region, zone.as_deref());
        } else if let Body::RecoveryCompleted { recovery, .. } | Body::RecoveryFailed { recovery, .. } = &record.body {
            self.open.remove(recovery);
        } else if let Body::PlanAdopted { .. } = &record.body {
            self.open.clear();
        } else if let Body::AdoptionStarted { old_owner: OldOwner::SeenStandby {}, .. } = &record.body {
            self.settled.insert(RecoveryId(seq));
        } else if let Body::Bound { component, instance, recovery } = &record.body {
            let before = self.bound.insert(component.clone(), instance.clone()).unwrap_or_else(|| component.clone());
            if before != *instance && !self.settled.contains(recovery) {
                self.displaced.insert(before);
            }
            // What an evacuation moves it explains.
            self.explained.extend(self.moving.remove(component).map(|it| (component.clone(), it)));
            self.displaced.remove(instance);
        } else if let Body::Rejoined { instance } | Body::RepairCompleted { instance, .. } = &record.body {
            self.displaced.remove(instance);
        } else if let Body::TrafficAhead { .. } = &record.body {
            self.displaced.clear();
        } else if let Body::AgentStarted { .. } = &record.body {
            self.down.clear();
        } else if let Body::HealthChanged { instance, to, .. } = &record.body {
            if *to == Health::Down {
                self.down.insert(instance.clone());
            } else {
                self.down.remove(instance);
            }
        } else if let Body::RecoveryInitiated { recovery, .. } = &record.body {
            self.begins(*recovery, record.at);
        } else if let Body::Commanded { command, .. } = &record.body {
            self.commanded(seq, command);
        }
        if !self.explained.is_empty() || !self.left.is_empty() {
            let touched: BTreeSet<String> = self.touched().cloned().collect();
            let (bound, down) = (&self.bound, &self.down);
            let is_down = |it: &String| down.contains(bound.get(it).unwrap_or(it));
            self.explained.retain(|it, _| touched.contains(it) || is_down(it));
            self.left.retain(|it| touched.contains(it));
        }
    }

    /// Components with an open recovery, or not whole again after one.
    fn touched(&self) -> impl Iterator<Item = &String> {
        let moved = self.displaced.iter().filter_map(|it| self.of.get(it)).map(|it| &it.0);
        self.open.values().chain(moved)
    }

    fn is_lost(&mut self, incident: IncidentId, region: &str, zone: Option<&str>) {
        for component in self.open.values() {
            let bound = self.bound.get(component).unwrap_or(component);
            let there = self
                .of
                .get(bound)
                .is_some_and(|(_, it)| it.region == region && zone.is_none_or(|zone| it.zone.as_deref() == Some(zone)));
            if there {
                self.explained.insert(component.clone(), incident);
            }
        }
    }

    /// The name of a zone or region, however it was written.
    fn place(&self, name: &str) -> Option<String> {
        let of = |it: &Location| it.zone.as_ref().map(|zone| (format!("{}/{zone}", it.region), zone.clone()));
        let zones = self.of.values().filter_map(|it| of(&it.1));
        let regions = self.of.values().map(|it| (it.1.region.clone(), it.1.region.clone()));
        zones.chain(regions).find(|(full, short)| full == name || short == name).map(|it| it.0)
    }

    /// The evacuation that a component lives in.
    fn evacuates(&self, component: &String) -> Option<IncidentId> {
        let place = &self.of.get(self.bound.get(component).unwrap_or(component))?.1;
        let zone = place.zone.as_ref().map(|zone| format!("{}/{zone}", place.region));
        zone.and_then(|it| self.evacuated.get(&it)).or_else(|| self.evacuated.get(&place.region)).copied()
    }

    fn commanded(&mut self, seq: u64, command: &Command) {
        if let Command::Approve { recovery, overrides, .. } = command {
            self.overridden.entry(*recovery).or_default().extend(overrides);
        } else if let Command::Adopt { instance, .. } = command {
            self.displaced.remove(instance);
        } else if let Command::Halt { .. } = command {
            self.halted = true;
        } else if let Command::Continue { .. } = command {
            self.halted = false;
        } else if let Command::Evacuate { place, .. } = command {
            let place = self.place(place);
            self.evacuated.entry(place.unwrap_or_default()).or_insert(IncidentId(seq));
            let left: Vec<String> = self.open.values().filter(|it| self.evacuates(it).is_some()).cloned().collect();
            self.left.extend(left);
        } else if let Command::EndEvacuation { place, .. } = command {
            let place = self.place(place);
            self.evacuated.remove(&place.unwrap_or_default());
        }
    }

    fn begins(&mut self, recovery: RecoveryId, at: Time) {
        let overruled = |it| self.overridden.get(&recovery).is_some_and(|all| all.contains(&it));
        let incident = self.open.get(&recovery).and_then(|it| self.explained.get(it)).copied();
        let again = incident.is_some_and(|it| self.counted.contains(&it));
        if let Some(brake) = self.guards.storm_brake.filter(|_| !overruled(Override::StormBrake) && !again) {
            let lately = self.begun.iter().filter(|it| **it + brake.within > at).count();
            assert!(lately < brake.at_most as usize, "S6: {recovery} begins, and {lately} have begun lately");
        }
        let explained = overruled(Override::BlastRadius) || incident.is_some();
        if let Some(radius) = self.guards.blast_radius.filter(|_| !explained) {
            let touched: BTreeSet<&String> = self.touched().filter(|it| self.is_news(it, recovery)).collect();
            let allowed = radius.allowed(self.components);
            assert!(touched.len() <= allowed, "S6: {recovery} begins, and {touched:?} are more than {allowed}");
        }
        if !again {
            self.begun.push(at);
        }
        self.counted.extend(incident);
    }

    /// Whether a component counts when this recovery begins.
    fn is_news(&self, component: &String, recovery: RecoveryId) -> bool {
        let own = self.open.get(&recovery) == Some(component);
        !self.explained.contains_key(component) && (own || !self.left.contains(component))
    }

    fn stopped(&self, seq: u64, body: &Body) {
        let acts = matches!(
            body,
            Body::RecoveryInitiated { .. }
                | Body::RungStarted { .. }
                | Body::StepStarted { .. }
                | Body::Bound { .. }
                | Body::RepairStarted { .. }
                | Body::RepairCompleted { .. }
                | Body::Rejoined { .. }
                | Body::TablePublished { .. }
        );
        assert!(!(acts && self.halted), "S6: record {seq} acts while all action is stopped: {body:?}");
    }
}
