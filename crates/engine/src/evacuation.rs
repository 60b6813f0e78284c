//! An evacuation: the recoveries of a lost zone or region in the order that the plan gives them, so many at once, into zones
//! that have room.
//!
//! Intuition: a theatre is emptied row by row. Those named first go first, then those whom others wait for, then by how much they
//! matter; so many may be in the doors at once; and nobody is sent into a room that is full. Who can't walk at the moment holds
//! nobody up: he loses his place until he can.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_plan::component::Criticality;
use mainstay_plan::location::Location;
use mainstay_plan::{ComponentIx, DomainIx, InstanceIx, Plan, Topology};

use crate::command::Override;
use crate::state::{Recovery, State};
use crate::waiting::WaitingOn;

/// The place of a component in an evacuation; the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    first: u32,
    /// Those whom nobody waits for come after all others.
    needed: u32,
    criticality: Criticality,
}

/// The order of every evacuation of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    first: Vec<BTreeMap<ComponentIx, u32>>,
    needed: Vec<u32>,
}

impl Orders {
    /// Of a plan.
    pub fn of(plan: &Plan) -> Orders {
        let numbered = |it: &mainstay_plan::evacuation::Evacuation| it.first.iter().copied().zip(0u32..).collect();
        Orders { first: plan.evacuations.iter().map(numbered).collect(), needed: needed(plan) }
    }

    /// The place of a component in one of the plan's evacuations, or where the plan has none.
    pub(crate) fn rank(&self, plan: &Plan, evacuation: Option<usize>, component: ComponentIx) -> Rank {
        let first = evacuation.and_then(|it| self.first[it].get(&component)).copied();
        Rank {
            first: first.unwrap_or(u32::MAX),
            needed: self.needed[component.index()],
            criticality: plan.component(component).criticality,
        }
    }
}

/// For each component how many levels of dependencies are below it, if something depends on it.
fn needed(plan: &Plan) -> Vec<u32> {
    let all = || (0u32..).map(ComponentIx).take(plan.components.len());
    let mut dependents: Vec<Vec<ComponentIx>> = vec![Vec::new(); plan.components.len()];
    let mut missing: Vec<usize> = plan.components.iter().map(|it| it.depends_on.len()).collect();
    for component in all() {
        for on in &plan.component(component).depends_on {
            dependents[on.index()].push(component);
        }
    }
    let mut levels = vec![0; plan.components.len()];
    let mut open: Vec<ComponentIx> = all().filter(|it| missing[it.index()] == 0).collect();
    while let Some(next) = open.pop() {
        for dependent in &dependents[next.index()] {
            levels[dependent.index()] = levels[dependent.index()].max(levels[next.index()] + 1);
            missing[dependent.index()] -= 1;
            if missing[dependent.index()] == 0 {
                open.push(*dependent);
            }
        }
    }
    all().map(|it| if dependents[it.index()].is_empty() { u32::MAX } else { levels[it.index()] }).collect()
}

/// Who is under way in an evacuation, and who could be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// How many are being recovered, and don't wait for a person.
    pub running: u32,
    /// Those that nothing holds back but their turn.
    pub ready: BTreeSet<(Rank, ComponentIx)>,
    /// Those of them that were told to wait for it.
    pub told: BTreeSet<(Rank, ComponentIx)>,
}

/// Where a component stands in its evacuations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seat {
    running: Vec<usize>,
    ready: Vec<(usize, Rank)>,
    told: bool,
    /// Whether it waits for room.
    short: bool,
}

/// The evacuations that the recovery of what lived at `home` belongs to, given what is lost: the one of the zone (or of the
/// region, where that is its only zone), and of a region its own and the one of the zone that is part of it.
pub(crate) fn of(plan: &Plan, topology: &Topology, lost: DomainIx, home: &Location) -> Vec<usize> {
    let is_whole = topology.is_whole_region(lost);
    let lost = topology.domain(lost);
    let lost = (lost.region.as_str(), lost.zone.as_deref());
    let find =
        |zone: Option<&str>| plan.evacuations.iter().position(|it| it.region == lost.0 && it.zone.as_deref() == zone);
    if lost.1.is_some() {
        return find(lost.1).or_else(|| find(None).filter(|_| is_whole)).into_iter().collect();
    }
    let (region, zone) = (find(None), home.zone.as_deref().and_then(|it| find(Some(it))));
    let is_part = |zone: &usize| region.is_none_or(|it| plan.evacuations[it].parts.contains(zone));
    region.into_iter().chain(zone.filter(is_part)).collect()
}

impl State {
    /// Seats a component anew in its evacuations.
    pub(crate) fn reseat(&mut self, component: ComponentIx) {
        let seat = self.components[component.index()].recovery.as_ref().map(|it| self.seat(it)).unwrap_or_default();
        let before = self.seats.remove(&component).unwrap_or_default();
        if before != seat {
            for at in &before.running {
                self.queues[*at].running -= 1;
                self.queues_moved.insert(*at);
            }
            for (at, rank) in &before.ready {
                self.queues[*at].ready.remove(&(*rank, component));
                self.queues[*at].told.remove(&(*rank, component));
                self.queues_moved.insert(*at);
            }
            for at in &seat.running {
                self.queues[*at].running += 1;
            }
            for (at, rank) in &seat.ready {
                self.queues[*at].ready.insert((*rank, component));
                if seat.told {
                    self.queues[*at].told.insert((*rank, component));
                }
                self.queues_moved.insert(*at);
            }
            if before.short {
                self.short_of_room.remove(&component);
            }
            if seat.short {
                self.short_of_room.insert(component);
            }
        }
        if seat != Seat::default() {
            self.seats.insert(component, seat);
        }
    }

    /// The place of a component in the first of the evacuations that its open recovery is part of.
    pub(crate) fn rank(&self, component: ComponentIx) -> Option<Rank> {
        let recovery = self.components[component.index()].recovery.as_ref()?;
        recovery.evacuations.first().map(|it| self.orders.rank(&self.plan, Some(*it), component))
    }

    pub(crate) fn seat(&self, recovery: &Recovery) -> Seat {
        use crate::state::RecoveryStatus as S;
        let ready = || {
            let ranked = |it: &usize| (*it, self.orders.rank(&self.plan, Some(*it), recovery.component));
            let told = matches!(recovery.held, Some((WaitingOn::Turn { .. }, _)));
            Seat { ready: recovery.evacuations.iter().map(ranked).collect(), told, ..Seat::default() }
        };
        let running = || Seat { running: recovery.evacuations.clone(), ..Seat::default() };
        let short = |it: &WaitingOn| matches!(it, WaitingOn::NoRungPossible { overrules, .. } if overrules.contains(&Override::Capacity));
        match (recovery.status, &recovery.held) {
            (S::FailureDetected, None | Some((WaitingOn::Turn { .. } | WaitingOn::Correlation { .. }, _))) => ready(),
            (S::RecoveryInitiated | S::RecoveryInProgress, None | Some((WaitingOn::Observation { .. }, _))) => {
                running()
            }
            // Who waits for something else holds nobody up.
            (S::FailureDetected | S::RecoveryInitiated | S::RecoveryInProgress, Some((waiting, _))) => {
                Seat { short: short(waiting), ..Seat::default() }
            }
            (S::RecoveryCompleted | S::RecoveryFailed, _) => Seat::default(),
        }
    }

    /// Whose turn it may be, in the evacuations in which something moved.
    pub(crate) fn next_in_turn(&mut self) -> Vec<ComponentIx> {
        let mut next = Vec::new();
        for at in std::mem::take(&mut self.queues_moved) {
            let free = self.plan.evacuations[at].at_once.saturating_sub(self.queues[at].running);
            next.extend(self.queues[at].told.iter().take(free as usize).map(|it| it.1));
        }
        next
    }
}

/// The guard: a recovery of an evacuation waits until fewer than `at_once` are under way and nobody who could go is before it.
pub(crate) fn turn(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    if recovery.overrides.contains(&Override::Turn) {
        return None;
    }
    let waits = |at: &&usize| {
        let (planned, queue) = (&state.plan.evacuations[**at], &state.queues[**at]);
        let free = planned.at_once.saturating_sub(queue.running) as usize;
        let own = (state.orders.rank(&state.plan, Some(**at), recovery.component), recovery.component);
        let others = queue.ready.len() - usize::from(queue.ready.contains(&own));
        // Counted only as far as it matters: an evacuation of ten thousand asks this of each of them.
        others >= free && queue.ready.iter().take(free).all(|it| *it < own)
    };
    let at = *recovery.evacuations.iter().find(waits)?;
    let planned = &state.plan.evacuations[at];
    Some(WaitingOn::Turn { evacuation: planned.name.clone(), at_once: planned.at_once })
}

/// Why the zone of `to` has no room for it, if an evacuation that the recovery belongs to says how much there is.
pub(crate) fn no_room(state: &State, recovery: &Recovery, to: InstanceIx) -> Option<String> {
    if recovery.overrides.contains(&Override::Capacity) {
        return None;
    }
    is_full(state, &recovery.evacuations, to)
}

/// The same for what belongs to these evacuations of the plan.
pub(crate) fn is_full(state: &State, evacuations: &[usize], to: InstanceIx) -> Option<String> {
    let zone = state.topology.place(to).zone?;
    let place = state.topology.domain(zone);
    let units = evacuations.iter().flat_map(|it| &state.plan.evacuations[*it].capacity);
    let units = units
        .filter(|it| it.region == place.region && place.zone.as_ref() == Some(&it.zone))
        .map(|it| it.units)
        .min()?;
    let (active, needs) = (state.domains[zone.index()].active, state.plan.instance(to).capacity);
    if active + u64::from(needs) <= u64::from(units) {
        return None;
    }
    let name = &state.plan.instance(to).name;
    Some(format!("`{name}` needs {needs} units in {}, where {active} of {units} are taken", place.name()))
}
