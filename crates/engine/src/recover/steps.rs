//! How the steps of a stage go: each begins when nothing has to be seen first, is done again when that is safe, and the
//! rung fails when one of them has failed for good and none is being done any more.

use std::time::Duration;

use mainstay_plan::Time;
use mainstay_plan::observation::Health;
use mainstay_plan::strategy::{Play, Step, StepKind};

use super::choose::{acts_on, is_started};
use super::{cut_by_silence, late, patience, still_accused, undo, until};
use sha2::{Digest, Sha256};

use crate::adoption;
use crate::decide::{completed_by_itself, hold, observation};
use crate::elsewhere;
use crate::fence;
use crate::guard::{journal, observers, witnesses};
use crate::planted::{Fault, chance, planted};
use crate::record::{Body, Ended, StepRef};
use crate::state::{Progress, Recovery, State, StepAt, StepProgress};
use crate::waiting::WaitingOn;

/// What is to be done about one step.
enum Move {
    /// Record this.
    Record(Body),
    /// Nothing yet.
    Wait(WaitingOn),
    /// It can't be done any more, and its rung can't.
    Fail(String),
}

/// The rung that is tried, and its play.
struct Stand<'a> {
    state: &'a State,
    recovery: &'a Recovery,
    progress: &'a Progress,
    play: &'a Play,
    now: Time,
}

/// The next decision about the stage under way. What one step waits for holds no other step of its stage back; but when
/// one has failed for good, no other is begun, and the rung ends once none is being done.
pub(super) fn next(state: &State, recovery: &Recovery, progress: &Progress, play: &Play, now: Time) -> Option<Body> {
    let stand = Stand { state, recovery, progress, play, now };
    let (mut record, mut wait, mut fail, mut is_running) = (None, None, recovery.skip.clone(), false);
    for (at, step, of_step) in state.open_steps(recovery) {
        let next = match &of_step.at {
            StepAt::Running { since } if until(state, *since, step) <= now && !planted(Fault::StepNeverTimesOut) => {
                let why = still_accused(state, recovery, play, step).unwrap_or_else(|| late(state, at, step));
                return Some(Body::StepTimedOut { step: at, why });
            }
            // Whoever died can't be caught up with: its failure is recovered as one.
            StepAt::Running { .. } if stand.waits_for_the_dead(step) => {
                let why = "the old owner went down before it had handed over".to_owned();
                return Some(Body::StepTimedOut { step: at, why });
            }
            StepAt::Running { since } => {
                is_running = true;
                if let Some(body) = cut_by_silence(state, at, step, now) {
                    return Some(body);
                }
                match asked(at, step, *since) {
                    Some(waiting) => Move::Wait(waiting),
                    None => continue,
                }
            }
            StepAt::Waiting { until } if *until > now => continue,
            StepAt::Waiting { .. } | StepAt::Ready => stand.begin(at, step),
            StepAt::Ended(ended) => stand.after(at, step, of_step, ended),
            // It is over, and so not open.
            StepAt::PassedOver => continue,
        };
        match next {
            Move::Record(body) => record = record.or(Some(body)),
            Move::Wait(waiting) => wait = wait.or(Some(waiting)),
            Move::Fail(why) => fail = fail.or(Some(why)),
        }
    }
    if let Some(why) = fail {
        return (!is_running).then(|| undo::end(state, recovery, progress, play, &why));
    }
    record.or_else(|| wait.and_then(|it| hold(recovery, it)))
}

/// What a person is asked to do, while that is so.
fn asked(at: StepRef, step: &Step, since: Time) -> Option<WaitingOn> {
    match &step.kind {
        StepKind::Manual { ask, role, .. } => Some(WaitingOn::Manual {
            step: at,
            name: step.name.clone(),
            ask: ask.clone(),
            role: role.clone(),
            until: since + patience(step),
        }),
        StepKind::CutTraffic { .. }
        | StepKind::CatchUp { .. }
        | StepKind::Stop { .. }
        | StepKind::EndLease { .. }
        | StepKind::Act { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Verify { .. } => None,
    }
}

/// Between half of the wait and all of it, so that what failed together is not tried again together. It looks like chance
/// and is none: the same try always waits as long.
fn jittered(wait: Duration, site: &str, at: StepRef) -> Duration {
    let seed = format!("{site}/{}/{}/{}/{}", at.recovery, at.rung, at.step, at.attempt);
    let hash = Sha256::digest(seed.as_bytes());
    let share = u32::from(u16::from_be_bytes([hash[0], hash[1]])) ^ (chance(Fault::JitterOfChance) & 0xffff);
    wait / 2 + wait / 2 * share / u32::from(u16::MAX)
}

impl Stand<'_> {
    /// Begins a step, unless something has to be seen first: nothing that can't be taken back is done on a guess.
    fn begin(&self, at: StepRef, step: &Step) -> Move {
        let Stand { state, recovery, progress, play, now } = *self;
        // Nothing was done yet; or what is to be done once more, because nobody knows whether it was done, has had its
        // effect.
        let again = play.to == progress.from && at.attempt > 0 && matches!(step.kind, StepKind::Act { .. });
        let is_failure = recovery.planned().is_none();
        if is_failure && state.is_whole(progress.from) && (!recovery.irreversible || again) {
            return Move::Record(completed_by_itself(recovery, now));
        }
        if step.kind.is_irreversible()
            && let Some(instead) = self.objection()
        {
            return instead;
        }
        if let StepKind::TakeOver { to, .. } = &step.kind
            && state.components[recovery.component.index()].bound != *to
        {
            return Move::Record(Body::Bound {
                component: recovery.component_name.clone(),
                instance: state.plan.instance(*to).name.clone(),
                recovery: recovery.id,
            });
        }
        let tries = if planted(Fault::KeyOfEachTry) { at.attempt } else { 0 };
        let round = progress.steps[at.step].round + tries;
        let site = &state.plan.site.name;
        Move::Record(Body::StepStarted {
            step: StepRef { attempt: at.attempt + 1, ..at },
            name: step.name.clone(),
            key: format!("{site}/{}/{}/{}/{round}", at.recovery, at.rung + 1, at.step + 1),
            undo: step.undo.as_ref().map(|it| it.name.clone()),
        })
    }

    /// What keeps a step that can't be taken back from being begun.
    fn objection(&self) -> Option<Move> {
        let Stand { state, recovery, progress, play, .. } = *self;
        let failed = &state.instances[progress.from.index()];
        if let Some(waiting) = journal(state, recovery) {
            return Some(Move::Wait(waiting));
        }
        let bound = state.components[recovery.component.index()].bound;
        if let Some(instead) = self.somebody_else() {
            return Some(instead);
        }
        let adopts = recovery.planned().filter(|it| it.adopts.is_some());
        if adopts.is_some_and(|it| it.back) {
            return None;
        }
        if recovery.planned().is_none()
            && state.failing_since(recovery.component).is_some()
            && bound == progress.from
            && let Some(waiting) = witnesses(state, recovery).or_else(|| observers(state, recovery))
        {
            return Some(Move::Wait(waiting));
        }
        if recovery.planned().is_none()
            && failed.health == Health::Unknown
            && play.to != progress.from
            && !self.is_stopped()
            && !self.lease_is_over()
        {
            return Some(Move::Wait(observation(state, progress.from)));
        }
        let comes_back = play.to == progress.from && self.was_touched();
        if failed.health == Health::Healthy && bound == progress.from && self.was_stopped() && !comes_back {
            let name = &state.plan.instance(progress.from).name;
            return Some(Move::Fail(format!("`{name}` was stopped, and runs again")));
        }
        let is_started = play.to != progress.from && is_started(state, play);
        match state.instances[play.to.index()].health {
            Health::Unknown | Health::Suspect if is_started && !self.was_touched() => None,
            Health::Unknown | Health::Suspect => Some(Move::Wait(observation(state, play.to))),
            Health::Down if play.to != progress.from && !is_started => {
                let name = &state.plan.instance(play.to).name;
                Some(Move::Fail(format!("`{name}` went down before it could take over")))
            }
            Health::Down | Health::Healthy => None,
        }
    }

    /// Whether somebody else was there first, before the first thing that can't be taken back.
    fn somebody_else(&self) -> Option<Move> {
        let Stand { state, recovery, now, .. } = *self;
        if adoption::is_past_return(state, recovery) {
            return None;
        }
        let waiting = elsewhere::held(state, recovery, now)?;
        match recovery.planned() {
            None => Some(Move::Wait(waiting)),
            Some(planned) if planned.adopts.is_some() => None,
            // Nobody waits with what was planned while clients are cut off.
            Some(_) if matches!(waiting, WaitingOn::SomeoneElse { .. }) => Some(Move::Fail(waiting.to_string())),
            Some(_) => None,
        }
    }

    fn waits_for_the_dead(&self, step: &Step) -> bool {
        matches!(step.kind, StepKind::CatchUp { from, .. } if self.state.instances[from.index()].health == Health::Down)
    }

    /// Whether something was done in this rung to the instance that takes over.
    fn was_touched(&self) -> bool {
        let act = |nth: usize| self.play.steps.get(nth).is_some_and(|it| acts_on(it, self.play.to));
        self.recovery.steps.iter().any(|it| it.step.rung == self.recovery.rung && act(it.step.step))
    }

    fn was_stopped(&self) -> bool {
        // A stop that was passed over has no attempt.
        let mut steps = self.play.steps.iter().zip(&self.progress.steps);
        steps.any(|(step, stand)| matches!(step.kind, StepKind::Stop { .. }) && stand.is_done() && stand.attempt > 0)
    }

    /// Once a stop has been confirmed the old owner need not be seen again, unless we were away: someone may have started
    /// it.
    fn is_stopped(&self) -> bool {
        self.was_stopped() && !self.recovery.seeing_anew
    }

    /// Once its lease is over the old owner can't have it again before this rung ends, whoever was away.
    fn lease_is_over(&self) -> bool {
        let mut steps = self.play.steps.iter().zip(&self.progress.steps);
        steps.any(|(step, stand)| matches!(step.kind, StepKind::EndLease { .. }) && stand.is_done())
    }

    /// What follows a step that did not end well: the same step once more, under the rules of its beginning; a person; or
    /// the end of the rung.
    fn after(&self, at: StepRef, step: &Step, stand: &StepProgress, ended: &Ended) -> Move {
        let (unknown, why) = match ended {
            Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_) => {
                unreachable!("a step that is done is not open")
            }
            Ended::Failed(why) => (false, why),
            Ended::Unknown(why) => (true, why),
        };
        if unknown && !step.idempotent && !planted(Fault::UnknownRepeated) {
            return Move::Wait(WaitingOn::OutcomeUnknown { step: at, name: step.name.clone() });
        }
        if stand.failures < step.attempts {
            return match &step.back_off {
                None => self.begin(at, step),
                Some(back_off) => {
                    let wait = jittered(back_off.after(stand.failures), &self.state.plan.site.name, at);
                    Move::Record(Body::RetryScheduled { step: at, at: self.now + wait })
                }
            };
        }
        match fence::cut_instead(self.recovery, at, step, why) {
            Some(body) => Move::Record(body),
            None => Move::Fail(format!("{}: {why}", step.name)),
        }
    }
}
