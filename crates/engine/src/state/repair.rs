//! Folding what becomes of repairs: begun, an action at a time, ended; and what is known of an instance that needs one.

use mainstay_plan::component::Repair as Planned;
use mainstay_plan::strategy::Step;
use mainstay_plan::{InstanceIx, Time};

use super::State;
use crate::machine::{Machine, RepairInput, RepairLife, RepairState};
use crate::record::{Ended, OldOwner, RecoveryId, StepRef};

/// What is known of an instance that was displaced, as far as its repair goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mending {
    /// The repair under way.
    pub open: Option<Repair>,
    /// How many failed in a row.
    pub failed: u32,
    /// When it may be tried again, after one that failed.
    pub again: Option<Time>,
    /// It is not tried again by itself: nobody knows what the last one did, and it may be done only once.
    pub by_hand: bool,
    /// Why the last one failed.
    pub why: String,
    /// A person wants it done now.
    pub ordered: Option<Ordered>,
    /// Whether it was seen stopped by a fence, and has not been seen to run since.
    pub stopped: bool,
    /// Whether it is repaired because it went astray as a standby, and was displaced by no takeover.
    pub strayed: bool,
}

/// A person orders a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether that person accepts that it may still take writes.
    pub two_writers: bool,
}

/// A repair under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Its name.
    pub id: RecoveryId,
    /// The owner whose standby it is to be.
    pub owner: InstanceIx,
    /// Why the instance takes no writes, as far as it was known when it began.
    pub harmless: OldOwner,
    /// How many were tried before it in a row, and it.
    pub nth: u32,
    /// When it began.
    pub since: Time,
    /// How it stands.
    pub at: RepairState,
    /// The action that is next or being done.
    pub step: usize,
    /// How often that one was begun.
    pub attempt: u32,
    /// When it came to stand so.
    pub moved: Time,
    /// How the action ended, where it is broken, and whether it may be done again.
    pub ended: Option<(Ended, bool)>,
}

impl Mending {
    /// Nothing is left to repair; what is still being done is ended by a decision.
    pub(super) fn heal(&mut self) {
        *self = Mending { open: self.open.take(), ..Mending::default() };
    }
}

impl Repair {
    /// The action that is next, or being done.
    pub fn step_ref(&self) -> StepRef {
        StepRef { recovery: self.id, rung: 0, step: self.step, attempt: self.attempt }
    }
}

impl State {
    /// What makes an instance a standby of the owner again, where the plan says it.
    pub fn planned_repair(&self, instance: InstanceIx, owner: InstanceIx) -> Option<&Planned> {
        self.plan.component(self.plan.instance(instance).component).repair(instance, owner)
    }

    /// Whether the plan says how an instance is made a standby of its component's owner again.
    pub(crate) fn is_repaired(&self, instance: InstanceIx) -> bool {
        let owner = self.components[self.plan.instance(instance).component.index()].bound;
        self.planned_repair(instance, owner).is_some()
    }

    /// The repair of that name, and whose it is.
    pub fn open_repair(&self, id: RecoveryId) -> Option<(InstanceIx, &Repair)> {
        let ix = *self.repairs.get(&id)?;
        Some((ix, self.instances[ix.index()].mending.open.as_ref()?))
    }

    /// The repairs that are open, oldest first.
    pub fn open_repairs(&self) -> impl Iterator<Item = (InstanceIx, &Repair)> {
        self.repairs.keys().filter_map(|it| self.open_repair(*it))
    }

    /// The action of a repair, while this very try of it is being made.
    pub fn repairing(&self, step: StepRef) -> Option<(InstanceIx, &Step)> {
        let (ix, open) = self.open_repair(step.recovery)?;
        let runs = open.at == RepairState::Running && open.step_ref() == step;
        self.planned_repair(ix, open.owner)?.steps.get(step.step).filter(|_| runs).map(|it| (ix, it))
    }

    /// Whether an instance of a component could be repaired.
    pub(super) fn has_to_repair(&self, component: mainstay_plan::ComponentIx) -> bool {
        let planned = self.plan.component(component);
        !planned.repairs.is_empty()
            && planned
                .instances
                .iter()
                .map(|it| &self.instances[it.index()])
                .any(|it| it.displaced || it.astray_since().is_some() || it.mending.open.is_some())
    }

    pub(super) fn on_repair_started(&mut self, at: Time, id: RecoveryId, instance: &str, owner: &str, why: &OldOwner) {
        let (Some(ix), Some(owner)) = (self.instance(instance), self.instance(owner)) else { return };
        let was_standby = !self.instances[ix.index()].displaced;
        let mending = &mut self.instances[ix.index()].mending;
        let before = mending.open.as_ref().map_or(RepairState::Idle, |it| it.at);
        match RepairLife::step(before, RepairInput::Started) {
            Ok(to) => {
                mending.ordered = None;
                mending.strayed |= was_standby;
                // A standby that went astray is none until it is brought back.
                let (nth, step, attempt) = (mending.failed + 1, 0, 0);
                let harmless = why.clone();
                mending.open =
                    Some(Repair { id, owner, harmless, nth, since: at, at: to, step, attempt, moved: at, ended: None });
                self.repairs.insert(id, ix);
                self.instances[ix.index()].displaced = true;
            }
            Err(illegal) => self.note(Some(illegal)),
        }
    }

    /// Begins an action of a repair; whether it is one.
    pub(super) fn on_repair_step_started(&mut self, at: Time, step: StepRef) -> bool {
        let Some(ix) = self.repairs.get(&step.recovery).copied() else { return false };
        self.repair_moved(ix, at, RepairInput::StepStarted, |it| it.attempt = step.attempt);
        true
    }

    /// How an action of a repair ended; whether it is one.
    pub(super) fn on_repair_step_ended(&mut self, at: Time, step: StepRef, ended: &Ended) -> bool {
        if !self.repairs.contains_key(&step.recovery) {
            return false;
        }
        let Some((ix, planned)) = self.repairing(step) else { return true };
        let idempotent = planned.idempotent;
        let owner = self.instances[ix.index()].mending.open.as_ref().map(|it| it.owner);
        let last = owner.and_then(|it| self.planned_repair(ix, it)).is_none_or(|it| step.step + 1 >= it.steps.len());
        let is_done = matches!(
            ended,
            Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_)
        );
        let lost = if let Ended::DoneLosing(lost) = ended { Some(lost.clone()) } else { None };
        let input = match (is_done, last) {
            (true, false) => RepairInput::StepDone,
            (true, true) => RepairInput::LastStepDone,
            (false, _) => RepairInput::StepBroken,
        };
        self.repair_moved(ix, at, input, |it| {
            if is_done {
                (it.step, it.attempt) = (it.step + 1, 0);
            } else {
                it.ended = Some((ended.clone(), idempotent));
            }
        });
        if let Some(lost) = lost {
            self.writes_lost(ix, &lost);
        }
        self.acted_on.push(ix);
        // Whatever it was before, it has to be seen anew what it is now.
        self.doubt(at, ix);
        let instance = &mut self.instances[ix.index()];
        instance.role = None;
        instance.role_told.clear();
        instance.role_anew = at;
        true
    }

    pub(super) fn on_repair_failed(&mut self, at: Time, id: RecoveryId, why: &str, again: Option<Time>) {
        let Some(ix) = self.repairs.get(&id).copied() else { return };
        self.repair_moved(ix, at, RepairInput::Failed, |_| {});
        self.repairs.remove(&id);
        let mending = &mut self.instances[ix.index()].mending;
        mending.open = None;
        mending.failed += 1;
        mending.again = again;
        mending.by_hand = again.is_none();
        why.clone_into(&mut mending.why);
    }

    pub(super) fn on_repair_completed(&mut self, at: Time, id: RecoveryId) {
        let Some(ix) = self.repairs.get(&id).copied() else { return };
        self.repair_moved(ix, at, RepairInput::Completed, |_| {});
        self.repairs.remove(&id);
        self.instances[ix.index()].mending.open = None;
        self.rejoin(at, ix);
    }

    pub(super) fn on_repair_ordered(&mut self, instance: &str, ordered: Ordered) {
        if let Some(ix) = self.instance(instance) {
            self.instances[ix.index()].mending.ordered = Some(ordered);
        }
    }

    /// What is being done for repairs ends as unknown, and is done again where that does no harm.
    pub(super) fn interrupt_repairs(&mut self, at: Time, why: &str) {
        for ix in self.repairs.values().copied().collect::<Vec<_>>() {
            let Some(open) = &self.instances[ix.index()].mending.open else { continue };
            match open.at {
                RepairState::Running => {
                    let repeatable = self.repairing(open.step_ref()).is_none_or(|(_, step)| step.idempotent);
                    let unknown = (Ended::Unknown(why.to_owned()), repeatable);
                    match repeatable {
                        true => self.repair_moved(ix, at, RepairInput::InterruptedRepeatable, |_| {}),
                        false => {
                            self.repair_moved(ix, at, RepairInput::Interrupted, |it| it.ended = Some(unknown));
                        }
                    }
                }
                // It has to be seen anew, and has all the time for that.
                RepairState::Asked => {
                    if let Some(open) = &mut self.instances[ix.index()].mending.open {
                        open.moved = at;
                    }
                }
                RepairState::Idle | RepairState::Ready | RepairState::Broken => {}
            }
        }
    }

    /// What runs for repairs and may be done again is given up where it stands.
    pub(super) fn halt_repairs(&mut self, at: Time) -> Vec<StepRef> {
        let running = |(ix, open): (InstanceIx, &Repair)| {
            let step = open.step_ref();
            self.repairing(step).filter(|it| it.1.idempotent).map(|_| (ix, step))
        };
        let given_up: Vec<(InstanceIx, StepRef)> = self.open_repairs().filter_map(running).collect();
        for (ix, _) in &given_up {
            self.repair_moved(*ix, at, RepairInput::InterruptedRepeatable, |_| {});
            self.doubt(at, *ix);
        }
        given_up.into_iter().map(|it| it.1).collect()
    }

    fn repair_moved(&mut self, ix: InstanceIx, at: Time, input: RepairInput, change: impl FnOnce(&mut Repair)) {
        let Some(open) = &mut self.instances[ix.index()].mending.open else { return };
        match RepairLife::step(open.at, input) {
            Ok(to) => {
                open.at = to;
                open.moved = at;
                change(open);
            }
            Err(illegal) => self.note(Some(illegal)),
        }
    }
}
