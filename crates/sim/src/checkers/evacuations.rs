//! G6: planned evacuations: no more go at the same time than the plan says, nobody goes into what is being evacuated by itself, and
//! each component is moved once, until somebody says it again.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::command::Command;
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::Plan;
use mainstay_plan::location::Location;

/// The model.
#[derive(Debug, Default)]
pub(super) struct Evacuations {
    /// Instance → where it lives.
    of: BTreeMap<String, Location>,
    /// How many may go at the same time, by region and zone, where the plan says it.
    at_once: BTreeMap<(String, Option<String>), usize>,
    /// What stands, by region and zone, and who was moved since it was said.
    standing: BTreeMap<(String, Option<String>), BTreeSet<String>>,
    moving: BTreeMap<RecoveryId, (String, Option<String>)>,
}

impl Evacuations {
    pub(super) fn new(plan: &Plan) -> Evacuations {
        let at_once = plan.evacuations.iter().map(|it| ((it.region.clone(), it.zone.clone()), it.at_once as usize));
        Evacuations {
            of: plan.instances.iter().map(|it| (it.name.clone(), it.location.clone())).collect(),
            at_once: at_once.collect(),
            ..Evacuations::default()
        }
    }

    /// The same facts under another plan, under which everybody is looked at anew.
    pub(super) fn under(&mut self, plan: &Plan) {
        let next = Evacuations::new(plan);
        self.of = next.of;
        self.at_once = next.at_once;
        self.moving.clear();
        self.standing.values_mut().for_each(BTreeSet::clear);
    }

    pub(super) fn forget_journal(&mut self) {
        self.standing.clear();
        self.moving.clear();
    }

    fn place(&self, name: &str) -> Option<(String, Option<String>)> {
        let full = |it: &Location| it.zone.as_ref().map(|zone| format!("{}/{zone}", it.region));
        let zone = self.of.values().find(|it| it.zone.as_deref() == Some(name) || full(it).as_deref() == Some(name));
        if let Some(found) = zone {
            return Some((found.region.clone(), found.zone.clone()));
        }
        self.of.values().find(|it| it.region == name).map(|it| (it.region.clone(), None))
    }

    fn is_left(&self, instance: &str) -> bool {
        let Some(place) = self.of.get(instance) else { return false };
        self.standing.contains_key(&(place.region.clone(), None))
            || self.standing.contains_key(&(place.region.clone(), place.zone.clone()))
    }

    pub(super) fn recorded(&mut self, seq: u64, record: &Record) {
        if let Body::Commanded { command: Command::Evacuate { place, .. }, .. } = &record.body {
            if let Some(place) = self.place(place) {
                self.standing.insert(place, BTreeSet::new());
            }
        } else if let Body::Commanded { command: Command::EndEvacuation { place, .. }, .. }
        | Body::EvacuationEnded { place } = &record.body
        {
            if let Some(place) = self.place(place) {
                self.standing.remove(&place);
            }
        } else if let Body::SwitchStarted { component, to, by, evacuation, .. } = &record.body {
            let by_itself = evacuation.is_some() || by == "the plan";
            assert!(
                !(by_itself && self.is_left(to)),
                "G6: {component} moves to {to} by itself, which is being evacuated"
            );
            let Some(place) = evacuation.as_ref().and_then(|it| self.place(it)) else { return };
            let others = self.moving.values().filter(|it| **it == place).count();
            // A region's zones may say more: here only that it is no more than either says.
            let at_once =
                self.at_once.get(&place).copied().unwrap_or_else(|| self.at_once.values().max().copied().unwrap_or(1));
            assert!(others < at_once, "G6: {component} leaves {place:?} beside {others} others, and {at_once} may");
            let moved = self.standing.get_mut(&place).is_some_and(|it| it.insert(component.clone()));
            assert!(moved, "G6: {component} leaves {place:?} once more, or nobody said that it shall");
            self.moving.insert(RecoveryId(seq), place);
        } else if let Body::RecoveryCompleted { recovery, .. } | Body::RecoveryFailed { recovery, .. } = &record.body {
            self.moving.remove(recovery);
        } else if let Body::PlanAdopted { .. } = &record.body {
            self.moving.clear();
        } else if let Body::Held { recovery, .. } = &record.body {
            // Who waits for a person holds nobody up.
            self.moving.remove(recovery);
        }
    }
}
