//! What people see of evacuations: how far one is, and what one would do.

use mainstay_plan::route::Sharing;
use mainstay_plan::routing::TargetState;
use mainstay_plan::{ComponentIx, InstanceIx, RouteIx, Time};

use super::{Leaves, Stays, leaves, members};
use crate::command::{Command, Refusal};
use crate::record::{Body, Record, RecoveryId};
use crate::route::rules;
use crate::state::{Evacuating, State};
use crate::status::check_command;

/// One component of an evacuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The component.
    pub component: ComponentIx,
    /// What it was when the evacuation was said, or is.
    pub from: InstanceIx,
    /// How it stands.
    pub is: PartIs,
}

/// How a component of an evacuation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartIs {
    /// It lives elsewhere; by which move, if it was one of these.
    Gone {
        /// The instance that it is now.
        to: InstanceIx,
        /// The move.
        by: Option<RecoveryId>,
    },
    /// It is being moved.
    Moves {
        /// To this instance.
        to: InstanceIx,
        /// The move.
        by: RecoveryId,
    },
    /// It stays for now: why, and since when.
    Stays(Stays, Time),
    /// It goes as soon as everything was seen.
    Next,
}

/// How far an evacuation is, in the order in which its components go.
pub fn parts(state: &State, it: &Evacuating, now: Time) -> Vec<Part> {
    let part = |component: ComponentIx| {
        let lasting = &state.components[component.index()];
        let from = it.lived.get(&component).copied().unwrap_or(lasting.bound);
        let is = match leaves(state, it, component, now) {
            Leaves::Gone => PartIs::Gone { to: lasting.bound, by: it.tried.get(&component).map(|it| it.recovery) },
            Leaves::Moves => {
                let open = lasting.recovery.as_ref();
                let to = open.and_then(|it| it.planned()).map_or(lasting.bound, |it| it.to);
                PartIs::Moves { to, by: open.map_or(RecoveryId(0), |it| it.id) }
            }
            // Its turn, or whatever was recorded last; a halt and a lease are nobody's in particular.
            Leaves::To(_) | Leaves::Unseen(_) => match it.held.get(&component) {
                Some((why, since)) => PartIs::Stays(why.clone(), *since),
                None => PartIs::Next,
            },
            Leaves::Not(why) => {
                let since = match &why {
                    Stays::Halted { .. } => state.site.halted.as_ref().map(|it| it.since),
                    Stays::Lease {} => Some(state.leadership.since),
                    Stays::Paused { .. }
                    | Stays::UnderWay { .. }
                    | Stays::Dependency { .. }
                    | Stays::Turn { .. }
                    | Stays::NoRoom { .. }
                    | Stays::NotPossible { .. }
                    | Stays::Tried { .. } => it.held.get(&component).map(|it| it.1),
                };
                PartIs::Stays(why, since.unwrap_or(it.since))
            }
        };
        Part { component, from, is }
    };
    members(state, it).map(part).collect()
}

/// Components that would go back into what is evacuated by themselves, and don't while it stands.
pub fn kept_out(state: &State, it: &Evacuating) -> Vec<ComponentIx> {
    let would = |component: &ComponentIx| {
        let planned = state.plan.component(*component);
        let original = planned.original();
        let away = state.components[component.index()].bound != original && state.lives_in(original, it.domain);
        away && planned.failback != mainstay_plan::component::Failback::Never
    };
    it.order.iter().copied().filter(would).collect()
}

/// What an evacuation would do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What is evacuated, in full.
    pub place: String,
    /// Whether whoever takes over would be waited for.
    pub graceful: bool,
    /// When it would end by itself.
    pub until: Time,
    /// The components that live there, in the order in which they would go.
    pub moves: Vec<Foreseen>,
    /// Targets of shared routes there that serve: whether each would be taken off, and if not, why.
    pub targets: Vec<(RouteIx, InstanceIx, Option<String>)>,
}

/// What would become of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// The component.
    pub component: ComponentIx,
    /// What it is.
    pub from: InstanceIx,
    /// Where it would go, or why it would stay.
    pub to: Result<InstanceIx, Stays>,
}

/// What would be done if it was said now. `in_step` says whether a standby is nearly in step. What can't be foreseen is what
/// goes wrong on the way.
pub(crate) fn preview(
    state: &State,
    command: &Command,
    by: &str,
    now: Time,
    in_step: impl Fn(InstanceIx) -> bool,
) -> Result<Preview, Refusal> {
    check_command(state, command, by)?;
    let mut trial = state.clone();
    let said = Body::Commanded { command: command.clone(), by: by.to_owned() };
    let seq = trial.seq + 1;
    trial.apply(seq, &Record { at: now, body: said });
    for to in std::mem::take(&mut trial.to_look_at) {
        trial.instances[to.index()].in_step = in_step(to);
    }
    let Command::Evacuate { place, .. } = command else { unreachable!("nothing else is foreseen") };
    let unknown = || Refusal::NotEvacuated { place: place.clone() };
    let Some(it) = trial.evacuation_of(place).cloned() else { return Err(unknown()) };
    let targets = targets(&trial, state, &it, now);
    let mut moves = Vec::new();
    for component in members(&trial, &it).collect::<Vec<_>>() {
        let from = trial.components[component.index()].bound;
        let to = match leaves(&trial, &it, component, now) {
            Leaves::Gone | Leaves::Moves => continue,
            Leaves::To(to) => Ok(to),
            Leaves::Not(why) => Err(why),
            Leaves::Unseen(_) => {
                let reasons = vec!["not everything that it takes was seen yet".to_owned()];
                Err(Stays::NotPossible { reasons, hurried: false })
            }
        };
        if let Ok(to) = to {
            // What goes there takes room from those who come after it.
            let (name, instance) = (trial.plan.component(component).name.clone(), trial.plan.instance(to).name.clone());
            let bound = Body::Bound { component: name, instance, recovery: RecoveryId(seq) };
            let seq = trial.seq + 1;
            trial.apply(seq, &Record { at: now, body: bound });
        }
        moves.push(Foreseen { component, from, to });
    }
    Ok(Preview { place: it.place, graceful: it.graceful, until: it.until, moves, targets })
}

fn targets(trial: &State, state: &State, it: &Evacuating, now: Time) -> Vec<(RouteIx, InstanceIx, Option<String>)> {
    let mut found = Vec::new();
    for (at, route) in (0u32..).map(RouteIx).zip(&state.plan.routes) {
        if route.sharing != Sharing::Shared {
            continue;
        }
        let (after, kept) = rules::ruled_route(trial, at, now);
        for ((target, was), is) in route.targets.iter().zip(&state.routing.targets[at.index()]).zip(after) {
            if *was != TargetState::Serving || !state.lives_in(target.instance, it.domain) {
                continue;
            }
            let why = kept.as_ref().map(|it| it.objection.to_string()).filter(|_| is == TargetState::Serving);
            found.push((at, target.instance, why));
        }
    }
    found
}
