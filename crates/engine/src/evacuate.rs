//! A planned evacuation: a zone or a region is emptied before it goes, or is left alone while somebody works there.
//!
//! Intuition: a fire drill, not a fire. Everybody leaves by the door that he would take in earnest, those first whom others wait
//! for, so many at a time, and nobody goes into a room that is full. Who can't walk says why, and holds up nobody. While the
//! sign hangs at the door nobody goes back in, unless there is nowhere else; and the sign comes down by itself.
//!
//! It is made of what there is: a planned move ([`crate::switch`]) for each component that lives there, in the order and within
//! the limits of the plan's evacuation ([`crate::evacuation`]), and a drain of the shared routes' targets
//! ([`crate::route::rules`]). What has begun is a recovery like any other; what has not is decided here, from the state and the
//! time alone.

mod shown;
mod stays;

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_plan::observation::Health;
use mainstay_plan::{ComponentIx, InstanceIx, Time};

use crate::evacuation;
use crate::lease::{May, Role};
use crate::record::Body;
use crate::recover::wait_to_see;
use crate::state::{Evacuating, Pause, Recovery, State};
use crate::switch;
use crate::waiting::WaitingOn;
pub(crate) use shown::preview;
pub use shown::{Foreseen, Part, PartIs, Preview, kept_out, parts};
pub use stays::Stays;

/// How long an evacuation stands where nobody says it.
pub const STANDS: Duration = Duration::from_secs(8 * 3600);

/// People are told so long before it ends by itself, or a quarter of its time where that is less.
const TOLD_BEFORE: Duration = Duration::from_secs(15 * 60);

/// How many move at the same time where the plan says nothing.
const AT_ONCE: u32 = 1;

/// Whether a component can leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// It lives elsewhere.
    Gone,
    /// It is being moved by this evacuation.
    Moves,
    /// It can, to this instance.
    To(InstanceIx),
    /// Not yet, or not at all.
    Not(Stays),
    /// Something has to be seen first, which takes until then at most.
    Unseen(Time),
}

/// The next decisions about all evacuations that stand, or none. After a move has begun others are looked at anew: there is
/// less room than before.
pub(crate) fn next(state: &State, now: Time) -> Vec<Body> {
    let decided = |it: &Evacuating| Some(next_of(state, it, now)).filter(|it| !it.is_empty());
    state.evacuating.values().find_map(decided).unwrap_or_default()
}

/// When [`next`] could say something else although no fact came in.
pub(crate) fn next_time(state: &State, now: Time) -> Option<Time> {
    let of = |it: &Evacuating| {
        let told = (!it.told).then(|| told_at(it));
        let held = it.held.values().filter_map(|(why, _)| why.until());
        let unseen = members(state, it).filter_map(|component| match leaves(state, it, component, now) {
            Leaves::Unseen(until) => Some(until),
            Leaves::Gone | Leaves::Moves | Leaves::To(_) | Leaves::Not(_) => None,
        });
        [Some(it.until), told].into_iter().flatten().chain(held).chain(unseen).filter(|it| *it > now).min()
    };
    state.evacuating.values().filter_map(of).min()
}

pub(crate) fn told_at(it: &Evacuating) -> Time {
    let whole = it.until.since(it.said);
    let after = whole.saturating_sub(TOLD_BEFORE.min(whole / 4));
    it.said + after
}

fn next_of(state: &State, it: &Evacuating, now: Time) -> Vec<Body> {
    let place = || it.place.clone();
    if it.until <= now {
        return vec![Body::EvacuationEnded { place: place() }];
    }
    if !it.told && told_at(it) <= now {
        return vec![Body::EvacuationExpires { place: place(), at: it.until }];
    }
    // Whoever has the lease moves things, and says so.
    if state.site.halted.is_some() || state.leadership.role == Role::Follower {
        return Vec::new();
    }
    let mut decided = Vec::new();
    let mut slots = Slots::of(state, it);
    let (mut left, mut is_settled) = (Vec::new(), true);
    for component in members(state, it) {
        let why = match leaves(state, it, component, now) {
            Leaves::Gone => {
                // It is on its way there, after a failure.
                let open = state.components[component.index()].recovery.as_ref();
                is_settled &= open.is_none_or(|open| open.evacuated != Some(it.id));
                continue;
            }
            Leaves::Moves => {
                is_settled = false;
                continue;
            }
            // It keeps its place for the moment that it takes to see it.
            Leaves::Unseen(_) => {
                is_settled = false;
                let _taken = slots.take(state, it, component);
                continue;
            }
            Leaves::To(to) => match slots.take(state, it, component) {
                Ok(()) => {
                    decided.push(started(state, it, component, to));
                    return decided;
                }
                Err(why) => why,
            },
            Leaves::Not(why) => why,
        };
        is_settled &= !why.ends_by_itself();
        let name = &state.plan.component(component).name;
        left.push(name.clone());
        if it.held.get(&component).is_none_or(|(known, _)| *known != why) {
            decided.push(Body::EvacuationHeld { place: place(), component: name.clone(), why });
        }
    }
    if is_settled && it.settled.as_ref() != Some(&left) {
        decided.push(Body::EvacuationSettled { place: place(), moved: it.moved, left });
    }
    decided
}

fn started(state: &State, it: &Evacuating, component: ComponentIx, to: InstanceIx) -> Body {
    let bound = state.components[component.index()].bound;
    Body::SwitchStarted {
        component: state.plan.component(component).name.clone(),
        from: state.plan.instance(bound).name.clone(),
        to: state.plan.instance(to).name.clone(),
        by: it.by.clone(),
        reason: it.reason.clone(),
        graceful: it.graceful,
        evacuation: Some(it.place.clone()),
    }
}

/// Whoever could be moved by it, in the order in which they go.
pub(crate) fn members<'a>(state: &'a State, it: &'a Evacuating) -> impl Iterator<Item = ComponentIx> + 'a {
    let lives = |component: &ComponentIx| {
        let bound = state.components[component.index()].bound;
        it.lived.contains_key(component) || state.lives_in(bound, it.domain)
    };
    it.order.iter().copied().filter(lives)
}

/// The places of those who are under way, by entry of the plan. What has no entry goes one at a time.
struct Slots {
    taken: BTreeMap<Option<usize>, u32>,
}

impl Slots {
    fn of(state: &State, it: &Evacuating) -> Slots {
        let mut taken = BTreeMap::new();
        for component in &it.order {
            let open = state.components[component.index()].recovery.as_ref();
            let ours = open.filter(|open| open.evacuated == Some(it.id) && !waits_for_a_person(open));
            for entry in ours.map(|_| entries(state, it, *component)).unwrap_or_default() {
                *taken.entry(entry).or_default() += 1;
            }
        }
        Slots { taken }
    }

    fn take(&mut self, state: &State, it: &Evacuating, component: ComponentIx) -> Result<(), Stays> {
        let entries = entries(state, it, component);
        let full = |entry: &&Option<usize>| {
            let at_once = at_once(state, **entry);
            // Those whom a loss has set in motion are in the same doors.
            let lost = entry.map_or(0, |at| state.queues[at].running);
            (self.taken.get(*entry).copied().unwrap_or(0) + lost >= at_once).then_some(at_once)
        };
        match entries.iter().find_map(|it| full(&it)) {
            Some(at_once) => Err(Stays::Turn { at_once }),
            None => {
                entries.into_iter().for_each(|it| *self.taken.entry(it).or_default() += 1);
                Ok(())
            }
        }
    }
}

fn at_once(state: &State, entry: Option<usize>) -> u32 {
    entry.map_or(AT_ONCE, |at| state.plan.evacuations[at].at_once)
}

/// The plan's entries that a component belongs to in this evacuation; one that is none where there are none.
fn entries(state: &State, it: &Evacuating, component: ComponentIx) -> Vec<Option<usize>> {
    let bound = state.components[component.index()].bound;
    let home = it.lived.get(&component).copied().unwrap_or(bound);
    let found = evacuation::of(&state.plan, &state.topology, it.domain, &state.plan.instance(home).location);
    if found.is_empty() { vec![None] } else { found.into_iter().map(Some).collect() }
}

/// Who waits for a person holds nobody up.
fn waits_for_a_person(open: &Recovery) -> bool {
    !matches!(open.held, None | Some((WaitingOn::Observation { .. }, _)))
}

/// Whether a component can leave now, but for its turn.
pub(crate) fn leaves(state: &State, it: &Evacuating, component: ComponentIx, now: Time) -> Leaves {
    let lasting = &state.components[component.index()];
    let planned = state.plan.component(component);
    if let Some(open) = &lasting.recovery {
        if open.evacuated == Some(it.id) && open.planned().is_some() {
            return Leaves::Moves;
        }
        if state.lives_in(lasting.bound, it.domain) {
            return Leaves::Not(Stays::UnderWay { recovery: open.id });
        }
    }
    if !state.lives_in(lasting.bound, it.domain) {
        return Leaves::Gone;
    }
    if let Some(halt) = &state.site.halted {
        return Leaves::Not(Stays::Halted { by: halt.by.clone(), reason: halt.reason.clone() });
    }
    if state.leadership.may(&state.plan) != May::Everything {
        return Leaves::Not(Stays::Lease {});
    }
    if let Some(tried) = it.tried.get(&component) {
        return Leaves::Not(Stays::Tried { recovery: tried.recovery, why: tried.to_string() });
    }
    if let Some((paused, Pause { until, by, reason, .. })) = state.pause_of(component, now) {
        let (component, by, reason) = (paused, by.clone(), reason.clone());
        return Leaves::Not(Stays::Paused { component, until: *until, by, reason });
    }
    let is_missing = |on: &&ComponentIx| {
        let on = &state.components[on.index()];
        on.recovery.is_some() || state.instances[on.bound.index()].health == Health::Down
    };
    if let Some(on) = planned.depends_on.iter().find(is_missing) {
        return Leaves::Not(Stays::Dependency { component: state.plan.component(*on).name.clone() });
    }
    way_out(state, it, component, now)
}

/// The first instance outside that the component can be moved to now, in the order of its ladder; or why there is none.
fn way_out(state: &State, it: &Evacuating, component: ComponentIx, now: Time) -> Leaves {
    let bound = state.components[component.index()].bound;
    let (mut reasons, mut full, mut unseen) = (Vec::new(), true, None);
    let outside = ways(state, component).into_iter().filter(|to| state.evacuated(*to).is_none());
    for to in outside {
        let missing = lacks(state, component, to, it.graceful);
        if missing.is_empty() {
            match no_room(state, it, component, to) {
                None => return Leaves::To(to),
                Some(why) => reasons.push(why),
            }
            continue;
        }
        full = false;
        // What is not known yet (after a restart, say) is waited for as long as it takes to see it.
        let unknown = |ix: &InstanceIx| state.instances[ix.index()].health == Health::Unknown;
        let seeing = [bound, to].into_iter().filter(unknown).filter_map(|ix| wait_to_see(state, ix, now).ok()?.until());
        unseen = seeing.chain(unseen).max();
        reasons.extend(missing.into_iter().filter(|why| !reasons.contains(why)).collect::<Vec<_>>());
    }
    if let Some(until) = unseen {
        return Leaves::Unseen(until);
    }
    if reasons.is_empty() {
        let name = &state.plan.instance(bound).name;
        let why = format!("no `failover_to_standby` leads from `{name}` to an instance outside");
        return Leaves::Not(Stays::NotPossible { reasons: vec![why], hurried: false });
    }
    if full {
        return Leaves::Not(Stays::NoRoom { reasons });
    }
    let hurried = |to: &InstanceIx| state.evacuated(*to).is_none() && lacks(state, component, *to, false).is_empty();
    let hurried = it.graceful && ways(state, component).iter().any(hurried);
    Leaves::Not(Stays::NotPossible { reasons, hurried })
}

/// What a planned move of it lacks; a graceful one waits until the new owner is nearly in step, because nobody can write
/// while it catches up.
fn lacks(state: &State, component: ComponentIx, to: InstanceIx, graceful: bool) -> Vec<String> {
    let mut missing = switch::missing(state, component, to, graceful);
    let instance = state.plan.instance(to);
    if graceful && missing.is_empty() && instance.reports_lag && !state.instances[to.index()].in_step {
        missing.push(format!("`{}` is not nearly in step", instance.name));
    }
    missing
}

/// Where planned moves lead from where a component is, in the order of its ladder.
pub(crate) fn ways(state: &State, component: ComponentIx) -> Vec<InstanceIx> {
    let bound = state.components[component.index()].bound;
    let planned = state.plan.component(component);
    let plays = planned.ladder.iter().filter_map(|it| it.plays.get(&bound)).map(|it| it.to);
    let mut ways: Vec<InstanceIx> = Vec::new();
    for to in plays.filter(|to| planned.switch(bound, *to).is_some()) {
        if !ways.contains(&to) {
            ways.push(to);
        }
    }
    ways
}

fn no_room(state: &State, it: &Evacuating, component: ComponentIx, to: InstanceIx) -> Option<String> {
    let entries: Vec<usize> = entries(state, it, component).into_iter().flatten().collect();
    evacuation::is_full(state, &entries, to)
}

/// Why a takeover does not lead there by itself while there is another way: what it is in is being left.
pub(crate) fn is_left(state: &State, to: InstanceIx) -> Option<String> {
    let it = state.evacuated(to)?;
    Some(format!(
        "`{}` is in {}, which is being evacuated by {}: {}",
        state.plan.instance(to).name,
        it.place,
        it.by,
        it.reason
    ))
}
