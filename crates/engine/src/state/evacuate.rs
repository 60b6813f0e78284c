//! Folding planned evacuations: what is being emptied, who was moved, and why the others stay.

use std::collections::BTreeMap;
use std::fmt;

use mainstay_plan::component::Failback;
use mainstay_plan::evacuation::Variant;
use mainstay_plan::{ComponentIx, DomainIx, InstanceIx, Time, Topology};

use super::{Recovery, RecoveryStatus, State};
use crate::evacuate::{STANDS, Stays, ways};
use crate::evacuation;
use crate::machine::{EvacuationInput, EvacuationLife, EvacuationState, Machine};
use crate::record::{IncidentId, RecoveryId};

/// A zone or a region that is being evacuated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evacuating {
    /// What it counts as where incidents are counted: one, however much it moves. Named after the record that began it.
    pub id: IncidentId,
    /// What is emptied.
    pub domain: DomainIx,
    /// The same as people write it.
    pub place: String,
    /// How far it is.
    pub status: EvacuationState,
    /// Whether whoever takes over is waited for until it is in step.
    pub graceful: bool,
    /// Who said it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Time,
    /// When it was said last.
    pub said: Time,
    /// It ends by itself then.
    pub until: Time,
    /// Whether people were told that it ends soon.
    pub told: bool,
    /// All components with an instance there, in the order in which they would go.
    pub order: Vec<ComponentIx>,
    /// Who lived there when it was said, and as which instance.
    pub lived: BTreeMap<ComponentIx, InstanceIx>,
    /// Who was moved, or should have been, since it was said last.
    pub tried: BTreeMap<ComponentIx, Tried>,
    /// How many were moved.
    pub moved: usize,
    /// Why others stay, and since when.
    pub held: BTreeMap<ComponentIx, (Stays, Time)>,
    /// Who was left, when whoever could leave had left.
    pub settled: Option<Vec<String>>,
}

/// What became of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The move.
    pub recovery: RecoveryId,
    /// Whether it worked.
    pub worked: bool,
    /// Why it did not.
    pub why: String,
}

/// Why it is not moved once more.
impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { recovery, worked, why } = self;
        if *worked {
            write!(f, "{recovery} has moved it, and it came back")
        } else {
            write!(f, "{recovery} failed: {why}")
        }
    }
}

impl Evacuating {
    /// Moves it on; what can't come changes nothing.
    fn moved_on(&mut self, input: EvacuationInput) {
        if let Ok(next) = EvacuationLife::step(self.status, input) {
            self.status = next;
        }
    }
}

impl State {
    /// The zone or region that people mean by `ZONE`, `REGION/ZONE` or `REGION`, if something can live there and the name means
    /// nothing else.
    pub fn place_named(&self, name: &str) -> Option<DomainIx> {
        let all = (0u32..).map(DomainIx).take(self.topology.domains.len());
        let means = |ix: &DomainIx| {
            let domain = self.topology.domain(*ix);
            let short = domain.zone.as_ref().unwrap_or(&domain.region);
            !domain.members.is_empty() && (domain.name() == name || short == name)
        };
        let mut found = all.filter(means);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// The names of all places where something can live.
    pub fn places(&self) -> Vec<String> {
        self.topology
            .domains
            .iter()
            .filter(|it| !it.members.is_empty())
            .map(mainstay_plan::topology::Domain::name)
            .collect()
    }

    /// The evacuation of what is named so.
    pub fn evacuation_of(&self, place: &str) -> Option<&Evacuating> {
        let domain = self.place_named(place)?;
        self.evacuating.values().find(|it| it.domain == domain)
    }

    /// The evacuation that an instance lives in.
    pub fn evacuated(&self, instance: InstanceIx) -> Option<&Evacuating> {
        self.evacuating.values().find(|it| self.lives_in(instance, it.domain))
    }

    /// Whether an instance lives in a zone or region.
    pub fn lives_in(&self, instance: InstanceIx, domain: DomainIx) -> bool {
        self.topology.place(instance).domains().any(|it| it == domain)
    }

    pub(super) fn on_evacuation(&mut self, place: &str, change: impl FnOnce(&mut Evacuating)) {
        let Some(id) = self.evacuation_of(place).map(|it| it.id) else { return };
        if let Some(it) = self.evacuating.get_mut(&id) {
            change(it);
        }
    }

    /// It is said for the first time, or once more.
    pub(super) fn on_evacuate(
        &mut self,
        at: Time,
        place: &str,
        until: Option<Time>,
        graceful: Option<bool>,
        by: &str,
        reason: &str,
    ) {
        let Some(domain) = self.place_named(place) else { return };
        let known = self.evacuation_of(place).map(|it| it.id);
        let id = known.unwrap_or(IncidentId(self.seq));
        let (order, lived) = self.order_of(domain);
        let planned = self.planned_variant(domain);
        let fresh = Evacuating {
            id,
            domain,
            place: self.topology.domain(domain).name(),
            status: EvacuationState::Moving,
            graceful: planned == Variant::Graceful,
            by: by.to_owned(),
            reason: reason.to_owned(),
            since: at,
            said: at,
            until: at + STANDS,
            told: false,
            order: Vec::new(),
            lived: BTreeMap::new(),
            tried: BTreeMap::new(),
            moved: 0,
            held: BTreeMap::new(),
            settled: None,
        };
        let it = self.evacuating.entry(id).or_insert(fresh);
        it.moved_on(EvacuationInput::Said);
        it.graceful = graceful.unwrap_or(it.graceful);
        it.said = at;
        if let Some(until) = until {
            it.until = until;
            it.told = false;
        }
        it.order = order;
        it.lived.extend(lived);
        it.settled = None;
        // What was tried and did not work is tried once more.
        it.tried.retain(|_, it| it.worked);
        let back: Vec<ComponentIx> = it.tried.keys().copied().collect();
        let ungraceful = !it.graceful;
        for component in back {
            let bound = self.components[component.index()].bound;
            if self.lives_in(bound, domain)
                && let Some(it) = self.evacuating.get_mut(&id)
            {
                it.tried.remove(&component);
            }
        }
        if ungraceful {
            self.hurry(at, id);
        }
        self.forget_steps(id);
    }

    /// Those that wait until the new owner is in step go on at once.
    fn hurry(&mut self, at: Time, id: IncidentId) {
        let ours: Vec<ComponentIx> =
            self.open_recoveries().filter(|it| it.evacuated == Some(id)).map(|it| it.component).collect();
        for component in ours {
            let open = self.components[component.index()].recovery.as_mut();
            if let Some(planned) = open.and_then(Recovery::planned_mut).filter(|it| it.graceful) {
                planned.graceful = false;
                self.pass_over_catching_up(at, component);
            }
        }
    }

    /// Whether those that may take over are in step is asked at once, and not believed from before. Where a component goes back
    /// by itself it was never forgotten.
    fn forget_steps(&mut self, id: IncidentId) {
        let Some(it) = self.evacuating.get(&id) else { return };
        let targets: Vec<InstanceIx> = (it.order.iter().copied())
            .filter(|component| self.lives_in(self.components[component.index()].bound, it.domain))
            .flat_map(|component| ways(self, component))
            .collect();
        for to in targets {
            let component = self.plan.component(self.plan.instance(to).component);
            if component.failback == Failback::Never || component.original() != to {
                self.instances[to.index()].in_step = false;
            }
            self.to_look_at.insert(to);
        }
    }

    /// Everybody with an instance there, in the order in which they would go, and who lives there now.
    fn order_of(&self, domain: DomainIx) -> (Vec<ComponentIx>, BTreeMap<ComponentIx, InstanceIx>) {
        let members = &self.topology.domain(domain).members;
        let all: std::collections::BTreeSet<ComponentIx> =
            members.iter().map(|it| self.plan.instance(*it).component).collect();
        let rank = |component: &ComponentIx| {
            let here = |it: &&InstanceIx| self.lives_in(**it, domain);
            let home = self.plan.component(*component).instances.iter().find(here);
            let entries =
                home.map(|it| evacuation::of(&self.plan, &self.topology, domain, &self.plan.instance(*it).location));
            let first = entries.and_then(|it| it.first().copied());
            (self.orders.rank(&self.plan, first, *component), *component)
        };
        let mut order: Vec<ComponentIx> = all.into_iter().collect();
        order.sort_by_key(rank);
        let bound = |it: &ComponentIx| (*it, self.components[it.index()].bound);
        let lived = order.iter().map(bound).filter(|it| self.lives_in(it.1, domain)).collect();
        (order, lived)
    }

    fn planned_variant(&self, domain: DomainIx) -> Variant {
        let domain = self.topology.domain(domain);
        let fits = |it: &&mainstay_plan::evacuation::Evacuation| it.region == domain.region && it.zone == domain.zone;
        self.plan.evacuations.iter().find(fits).map_or(Variant::Graceful, |it| it.variant)
    }

    pub(super) fn on_evacuation_held(&mut self, at: Time, place: &str, component: &str, why: &Stays) {
        let Some(component) = self.component(component) else { return };
        self.on_evacuation(place, |it| {
            it.held.insert(component, (why.clone(), at));
        });
    }

    pub(super) fn on_evacuation_settled(&mut self, place: &str, left: &[String]) {
        self.on_evacuation(place, |it| {
            it.moved_on(EvacuationInput::Settled);
            it.settled = Some(left.to_vec());
        });
    }

    /// It is over; what has begun goes on.
    pub(super) fn end_evacuation(&mut self, place: &str, how: EvacuationInput) {
        let Some(id) = self.evacuation_of(place).map(|it| it.id) else { return };
        if let Some(it) = self.evacuating.get_mut(&id) {
            it.moved_on(how);
        }
        self.evacuating.retain(|_, it| it.status != EvacuationState::Over);
    }

    /// A move of an evacuation has begun.
    pub(super) fn note_moving(&mut self, component: ComponentIx) {
        let recovery = self.components[component.index()].recovery.as_ref();
        let Some(id) = recovery.and_then(|it| it.evacuated) else { return };
        if let Some(it) = self.evacuating.get_mut(&id) {
            it.moved_on(EvacuationInput::MoveBegan);
            it.held.remove(&component);
            it.settled = None;
        }
    }

    /// A move of an evacuation has ended.
    pub(super) fn note_evacuated(&mut self, recovery: &Recovery) {
        let (Some(id), Some(planned)) = (recovery.evacuated, recovery.planned()) else { return };
        let worked = recovery.status == RecoveryStatus::RecoveryCompleted
            || self.components[recovery.component.index()].bound == planned.to;
        let why = recovery.tried.last().cloned().unwrap_or_default();
        if let Some(it) = self.evacuating.get_mut(&id) {
            it.moved += usize::from(worked);
            it.tried.insert(recovery.component, Tried { recovery: recovery.id, worked, why });
        }
    }

    /// Evacuations go on under another plan, with whoever it knows.
    pub(super) fn take_over_evacuations(&mut self, before: &Topology, evacuating: BTreeMap<IncidentId, Evacuating>) {
        for (id, was) in evacuating {
            let old = before.domain(was.domain);
            let Some(domain) = self.topology.named(&old.region, old.zone.as_deref()) else { continue };
            if self.topology.domain(domain).members.is_empty() {
                continue;
            }
            let (order, lived) = self.order_of(domain);
            let (tried, held) = (BTreeMap::new(), BTreeMap::new());
            let mut it = Evacuating { domain, order, lived, tried, held, settled: None, ..was };
            it.moved_on(EvacuationInput::PlanReplaced);
            self.evacuating.insert(id, it);
            self.forget_steps(id);
        }
    }
}
