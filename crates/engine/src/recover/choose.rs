//! Which rung comes next: the first that is possible now, or why each is not.

use std::collections::BTreeSet;

use mainstay_plan::component::Temperature;
use mainstay_plan::observation::Health;
use mainstay_plan::policy::OnJournalLoss;
use mainstay_plan::route::Sharing;
use mainstay_plan::strategy::{Play, Rung, Step, StepKind, Strategy, Whom};
use mainstay_plan::{InstanceIx, Time};

use crate::breaker::{self, Blocked};
use crate::command::Override;
use crate::crash_loop::{self, Looping};
use crate::gray::Impairment;
use crate::planted::{Fault, planted};
use crate::route::rules;
use crate::state::{Recovery, State};
use crate::waiting::WaitingOn;
use crate::{evacuate, evacuation, scenario};

/// Which rung comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one, or it is passed over with a reason.
    Rung(Result<usize, Passed>),
    /// None yet: something may still make one possible.
    Wait(WaitingOn),
    /// None is left.
    Exhausted,
}

/// A rung that is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Which.
    pub rung: usize,
    /// Its strategy.
    pub strategy: Strategy,
    /// Why.
    pub why: String,
    /// Only because a control plane is known to be down, or because it leads into what is being evacuated: it comes again.
    pub for_later: bool,
}

/// Chooses the next rung. While nothing was tried yet, a ladder without a possible rung is a wait, not a failure: a standby
/// may come back, an operator may accept the loss. Until then rungs that were passed over count again.
pub fn choose(state: &State, recovery: &Recovery, now: Time) -> Choice {
    let ladder = &state.plan.component(recovery.component).ladder;
    let untried = recovery.steps.is_empty();
    let mut first_passed = None;
    let (mut reasons, mut overrules) = (Vec::new(), BTreeSet::new());
    let (mut blocked, mut looping, mut put_off) = (Vec::new(), Vec::new(), None);
    for (rung, planned) in ladder.iter().enumerate() {
        let comes = untried || rung >= recovery.rung;
        if !(comes || recovery.for_later.contains(&rung)) || recovery.failed_rungs.contains(&rung) {
            continue;
        }
        let given_up = recovery.given_up.contains(&rung);
        let found = possible(state, recovery, planned, now);
        let is_looping = matches!(found, Possible::Looping(_));
        let comes_again = is_looping || matches!(found, Possible::Blocked(_));
        let mut is_left = false;
        let why = match found {
            _ if given_up => "given up by hand".to_owned(),
            Possible::Yes | Possible::Unseen(_) if let Some(why) = &recovery.skip => {
                let (why, for_later) = (why.clone(), false);
                let given_up = Passed { rung, strategy: planned.strategy, why, for_later };
                return Choice::Rung(Err(first_passed.unwrap_or(given_up)));
            }
            Possible::Blocked(by) => {
                let why = by.why(state);
                blocked.push((rung, by));
                why
            }
            Possible::Looping(it) => {
                let why = it.why(state, now);
                looping.push(it);
                why
            }
            Possible::Yes if comes => match elsewhere(state, recovery, rung, now) {
                Some(why) => {
                    is_left = true;
                    why
                }
                None => match steadier(state, recovery, rung, now) {
                    Some(why) => why,
                    None => match surer(state, recovery, rung, now) {
                        Some(why) => {
                            is_left = true;
                            why
                        }
                        None => return Choice::Rung(first_passed.map_or(Ok(rung), Err)),
                    },
                },
            },
            // What was put off comes after everything else.
            Possible::Yes => {
                put_off.get_or_insert(rung);
                continue;
            }
            Possible::No(why) => why,
            Possible::Guarded(guard, why) => {
                overrules.insert(guard);
                why
            }
            Possible::Held(waiting) => {
                return first_passed.map_or(Choice::Wait(waiting), |it| Choice::Rung(Err(it)));
            }
            Possible::Unseen(to) => match wait_to_see(state, to, now) {
                Ok(waiting) => return first_passed.map_or(Choice::Wait(waiting), |it| Choice::Rung(Err(it))),
                Err(why) => why,
            },
        };
        // What is left is said by the wait itself, with the moment.
        if !is_looping {
            reasons.push(format!("{}: {why}", planned.strategy.word()));
        }
        if rung >= recovery.rung && first_passed.is_none() {
            first_passed = Some(Passed { rung, strategy: planned.strategy, why, for_later: comes_again || is_left });
        }
    }
    if let Some(last) = put_off.map(Ok).or_else(|| last_resort(state, &blocked, &looping, &reasons)) {
        return match (last, first_passed.filter(|_| !untried)) {
            (_, Some(passed)) => Choice::Rung(Err(passed)),
            (Ok(rung), None) => Choice::Rung(Ok(rung)),
            (Err(waiting), None) => Choice::Wait(waiting),
        };
    }
    if untried {
        return Choice::Wait(WaitingOn::NoRungPossible { reasons, overrules: overrules.into_iter().collect() });
    }
    first_passed.map_or(Choice::Exhausted, |it| Choice::Rung(Err(it)))
}

/// What is left when nothing is possible but for control planes that are known to be down, and for crash loops: a rung whose plane
/// only failures speak against, or a wait.
fn last_resort(
    state: &State,
    blocked: &[(usize, Blocked)],
    looping: &[Looping],
    reasons: &[String],
) -> Option<Result<usize, WaitingOn>> {
    if let Some((rung, _)) = blocked.iter().find(|(_, it)| it.is_guess) {
        return Some(Ok(*rung));
    }
    let tried = blocked.iter().map(|it| &it.1).min_by_key(|it| (it.until.is_none(), it.until));
    let restarted = looping.iter().min_by_key(|it| it.until);
    match (tried, restarted) {
        (Some(tried), Some(restarted)) if tried.until.is_some_and(|it| it <= restarted.until) => {
            Some(Err(tried.waiting(state)))
        }
        (_, Some(restarted)) => Some(Err(restarted.waiting(state, reasons))),
        (Some(tried), None) => Some(Err(tried.waiting(state))),
        (None, None) => None,
    }
}

/// Why a takeover that is possible is passed over for now: it leads into what is being evacuated, and another rung may not.
fn elsewhere(state: &State, recovery: &Recovery, rung: usize, now: Time) -> Option<String> {
    let bound = state.components[recovery.component.index()].bound;
    let ladder = &state.plan.component(recovery.component).ladder;
    let leads_in = |rung: &Rung| {
        let to = rung.plays.get(&bound).map(|it| it.to).filter(|it| *it != bound);
        to.and_then(|it| evacuate::is_left(state, it))
    };
    let why = leads_in(&ladder[rung])?;
    let untried = recovery.steps.is_empty();
    let may = |(at, other): (usize, &Rung)| {
        let comes = (untried || at >= recovery.rung) && at != rung;
        let is_over = recovery.failed_rungs.contains(&at) || recovery.given_up.contains(&at);
        comes
            && !is_over
            && leads_in(other).is_none()
            && match possible(state, recovery, other, now) {
                Possible::Yes | Possible::Held(_) => true,
                Possible::Unseen(to) => wait_to_see(state, to, now).is_ok(),
                Possible::No(_) | Possible::Guarded(..) | Possible::Blocked(_) | Possible::Looping(_) => false,
            }
    };
    ladder.iter().enumerate().any(may).then_some(why)
}

/// Why a standby that is possible is passed over all the same: it is not steady, and a later rung leads to one that is. One
/// that is merely slow takes over, because it serves.
fn steadier(state: &State, recovery: &Recovery, rung: usize, now: Time) -> Option<String> {
    let bound = state.components[recovery.component.index()].bound;
    let ladder = &state.plan.component(recovery.component).ladder;
    let to = |rung: &Rung| rung.plays.get(&bound).map(|it| it.to).filter(|it| *it != bound);
    let unsteady = |ix: InstanceIx| {
        let impaired = &state.instances[ix.index()].impaired;
        [Impairment::Flapping, Impairment::OneSided].into_iter().find(|it| impaired.contains_key(it))
    };
    let this = to(&ladder[rung])?;
    let how = unsteady(this)?;
    let is_steady = |it: &&Rung| {
        let other = to(it).filter(|other| *other != this && unsteady(*other).is_none());
        other.is_some() && matches!(possible(state, recovery, it, now), Possible::Yes)
    };
    let other = to(ladder[rung + 1..].iter().find(is_steady)?)?;
    let (name, other) = (&state.plan.instance(this).name, &state.plan.instance(other).name);
    Some(format!("`{name}` is impaired ({}), and `{other}` is not", how.word()))
}

/// Why a standby that is possible is passed over for now: the plan leaves the choice, and another one loses less.
fn surer(state: &State, recovery: &Recovery, rung: usize, now: Time) -> Option<String> {
    let bound = state.components[recovery.component.index()].bound;
    let ladder = &state.plan.component(recovery.component).ladder;
    let choice = ladder[rung].choice.filter(|_| !planted(Fault::LessSureTakesOver))?;
    let to = |rung: &Rung| rung.plays.get(&bound).map(|it| it.to);
    let this = to(&ladder[rung])?;
    let may = |(at, other): &(usize, &Rung)| {
        let is_over = recovery.failed_rungs.contains(at) || recovery.given_up.contains(at);
        *at != rung
            && other.choice == Some(choice)
            && !is_over
            && matches!(possible(state, recovery, other, now), Possible::Yes)
    };
    let others = ladder.iter().enumerate().filter(may).filter_map(|(_, it)| to(it));
    let better = others.filter(|it| loses_less(state, *it, this));
    let best = better.reduce(|best, it| if loses_less(state, it, best) { it } else { best })?;
    let (name, other) = (&state.plan.instance(this).name, &state.plan.instance(best).name);
    let place = |it: InstanceIx| state.instances[it.index()].frozen_place.as_ref();
    if state.loss_of(best) == state.loss_of(this) {
        let more = place(best).zip(place(this)).map_or(0, |(best, this)| best.at - this.at);
        return Some(format!("`{other}` has {more} bytes more than `{name}`"));
    }
    let lost = |it: InstanceIx| state.loss_of(it).map_or("an unknown time".to_owned(), |it| format!("{it:?}"));
    Some(format!("`{other}` loses at most {}, and `{name}` {}", lost(best), lost(this)))
}

/// Whether a takeover by `a` loses less than one by `b`: in time, or in bytes where the time is the same.
pub(crate) fn loses_less(state: &State, a: InstanceIx, b: InstanceIx) -> bool {
    let place = |it: InstanceIx| state.instances[it.index()].frozen_place.as_ref();
    match (state.loss_of(a), state.loss_of(b)) {
        // Who has more loses less, also where nobody knows how much that is.
        (a_loss, b_loss) if a_loss == b_loss => {
            place(a).zip(place(b)).is_some_and(|(a, b)| a.is_comparable(b) && a.at > b.at)
        }
        (Some(a_loss), Some(b_loss)) => a_loss < b_loss,
        (known, other) => known.is_some() && other.is_none(),
    }
}

/// A rung, and why it is not possible now, if it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) rung: usize,
    pub(crate) strategy: Strategy,
    pub(crate) to: Option<String>,
    pub(crate) why: Option<String>,
}

/// Every rung of the ladder as [`choose`] weighs it, for people.
pub(crate) fn judged(state: &State, recovery: &Recovery, now: Time) -> Vec<Judged> {
    let bound = state.components[recovery.component.index()].bound;
    let judge = |(rung, planned): (usize, &Rung)| Judged {
        rung,
        strategy: planned.strategy,
        to: planned.plays.get(&bound).map(|it| state.plan.instance(it.to).name.clone()),
        why: match possible(state, recovery, planned, now) {
            Possible::Yes => None,
            Possible::Blocked(by) => Some(by.why(state)),
            Possible::Looping(it) => Some(it.why(state, now)),
            Possible::No(why) | Possible::Guarded(_, why) => Some(why),
            Possible::Held(waiting) => Some(waiting.to_string()),
            Possible::Unseen(to) => Some(match wait_to_see(state, to, now) {
                Ok(waiting) => waiting.to_string(),
                Err(why) => why,
            }),
        },
    };
    state.plan.component(recovery.component).ladder.iter().enumerate().map(judge).collect()
}

/// A standby that is not known (after a restart, say) is waited for as long as seeing it may take, and twice that, counted
/// from when it ceased to be known: one that nobody could ask for an hour has had its time.
pub(crate) fn wait_to_see(state: &State, to: InstanceIx, now: Time) -> Result<WaitingOn, String> {
    let instance = state.plan.instance(to);
    let patience = (instance.probes.iter())
        .map(|it| state.plan.probe(*it).timing)
        .map(|it| 2 * (it.interval + it.fall * it.fast_interval + it.timeout))
        .max()
        .unwrap_or_default();
    let until = state.instances[to.index()].unseen_since + patience;
    if until <= now {
        return Err(format!("`{}` could not be observed for {patience:?}", instance.name));
    }
    Ok(WaitingOn::Observation { instance: instance.name.clone(), until: Some(until) })
}

enum Possible {
    Yes,
    /// This instance has to be seen first.
    Unseen(InstanceIx),
    No(String),
    /// Not unless an operator overrules this.
    Guarded(Override, String),
    /// It is, but for this.
    Held(WaitingOn),
    /// A control plane that it needs is known to be down.
    Blocked(Blocked),
    /// What it would restart was restarted too often of late.
    Looping(Looping),
}

fn possible(state: &State, recovery: &Recovery, rung: &Rung, now: Time) -> Possible {
    let bound = state.components[recovery.component.index()].bound;
    let Some(play) = rung.plays.get(&bound) else {
        return Possible::No(format!("there is no way from `{}`", state.plan.instance(bound).name));
    };
    let blocked = breaker::blocked(state, recovery, play).filter(|it| !it.is_due(now));
    if let Some(why) = scenario::out_of_place(state, play.to) {
        return Possible::No(why);
    }
    for it in rung.only_if.iter().filter(|_| !planted(Fault::ConditionIgnored)) {
        let instance = match it.of {
            Whom::Component(ix) => state.components[ix.index()].bound,
            Whom::Instance(ix) => ix,
        };
        match state.instances[instance.index()].health {
            Health::Unknown | Health::Suspect => return Possible::Unseen(instance),
            health @ (Health::Healthy | Health::Down) if health == it.health => {}
            health @ (Health::Healthy | Health::Down) => {
                let name = it.of.name(&state.plan);
                return Possible::No(format!("only if `{name}` is {}, and it is {}", it.health.word(), health.word()));
            }
        }
    }
    if play.to == bound {
        // Whoever comes back at another address takes over from whoever may still be at the old one.
        if fence_of(play).is_some() && without_journal(state, recovery) {
            let why = "the journal can't be written, and a takeover without it is refused".to_owned();
            return Possible::Guarded(Override::JournalLost, why);
        }
        if let Some(looping) = crash_loop::found(state, recovery, rung, now) {
            return Possible::Looping(looping);
        }
        return blocked.map_or(Possible::Yes, Possible::Blocked);
    }
    let to = &state.instances[play.to.index()];
    let name = &state.plan.instance(play.to).name;
    if to.displaced && !planted(Fault::DisplacedTakesOver) {
        return Possible::No(format!("`{name}` was displaced and has not rejoined (mainstay adopt {name})"));
    }
    if let Some(accuser) = state.accuser(play.to) {
        return Possible::No(format!("`{name}` has failed, as rule `{}` says", accuser.rule));
    }
    match to.health {
        Health::Healthy => {}
        // It is stopped, and answers nothing until its activation starts it.
        Health::Down | Health::Unknown | Health::Suspect if is_started(state, play) => {}
        Health::Down => return Possible::No(format!("`{name}` is down")),
        Health::Unknown | Health::Suspect => return Possible::Unseen(play.to),
    }
    if let Some(why) = evacuation::no_room(state, recovery, play.to) {
        return Possible::Guarded(Override::Capacity, why);
    }
    if let Some(why) = too_much_loss(state, recovery, play.to) {
        return Possible::Guarded(Override::Rpo, why);
    }
    let exclusive = state
        .plan
        .component(recovery.component)
        .routes
        .iter()
        .any(|it| state.plan.route(*it).sharing == Sharing::Exclusive)
        || fence_of(play).is_some();
    if exclusive && without_journal(state, recovery) && !planted(Fault::JournalLossIgnored) {
        let why = "the journal can't be written, and a takeover without it is refused".to_owned();
        return Possible::Guarded(Override::JournalLost, why);
    }
    if let Some(blocked) = blocked {
        return Possible::Blocked(blocked);
    }
    rules::before_rung(state, recovery, play, now).map_or(Possible::Yes, Possible::Held)
}

/// Whether the journal is lost, and what is exclusive waits for one.
fn without_journal(state: &State, recovery: &Recovery) -> bool {
    let goes_on = state.plan.on_journal_loss == OnJournalLoss::Proceed;
    state.journal_lost.is_some() && !goes_on && !recovery.overrides.contains(&Override::JournalLost)
}

/// Whether the takeover is by a cold standby, which its activation starts.
pub(super) fn is_started(state: &State, play: &Play) -> bool {
    let is_cold = state.plan.instance(play.to).temperature == Temperature::Cold;
    is_cold && play.steps.iter().any(|it| acts_on(it, play.to))
}

pub(super) fn acts_on(step: &Step, instance: InstanceIx) -> bool {
    matches!(step.kind, StepKind::Act { on, .. } if on == instance)
}

/// The RPO guard: unknown counts as too much.
fn too_much_loss(state: &State, recovery: &Recovery, to: InstanceIx) -> Option<String> {
    let rpo = state.plan.component(recovery.component).objectives.rpo?;
    if recovery.overrides.contains(&Override::Rpo) {
        return None;
    }
    let name = &state.plan.instance(to).name;
    match state.loss_of(to) {
        None if planted(Fault::UnknownPositionTakesOver) => None,
        None => {
            let place = state.instances[to.index()].frozen_place.as_ref();
            let at = place.map(|it| format!(": it is at {it}")).unwrap_or_default();
            Some(format!("it is not known how far `{name}` lags behind{at}, and the RPO is {rpo:?}"))
        }
        Some(loss) if loss > rpo && !planted(Fault::LagOverRpoTakesOver) => {
            Some(format!("`{name}` may lag {loss:?} behind, more than the RPO of {rpo:?}"))
        }
        Some(_) => None,
    }
}

/// The fence of a takeover, in words.
pub(super) fn fence_of(play: &Play) -> Option<String> {
    let names: Vec<&str> = (play.steps.iter())
        .filter(|it| matches!(it.kind, StepKind::CutTraffic { .. } | StepKind::Stop { .. } | StepKind::EndLease { .. }))
        .map(|it| it.name.as_str())
        .collect();
    if play.accepts_two_writers {
        return Some("two_writers accepted by the plan".to_owned());
    }
    (!names.is_empty()).then(|| names.join(", "))
}
