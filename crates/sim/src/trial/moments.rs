//! Moments that are rare and over soon: a trial can wait for one, and strike then.

use std::time::Duration;

use mainstay_engine::breaker::Position;
use mainstay_engine::machine::{EvacuationState, IncidentState, Standing, StepState, TrayState, UndoState};
use mainstay_engine::state::{Recovery, RecoveryStatus, State, StepProgress};
use mainstay_plan::Plan;

use super::FaultKind;
use crate::dice::Dice;
use crate::world::World;

/// A trial looks this often whether a moment has come.
const LOOK: Duration = Duration::from_millis(5);

/// It waits so long for one that does not come.
const PATIENCE: Duration = Duration::from_secs(8);

/// When something happens, if not just some time after what happened before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A recovery is that far.
    Recovery(RecoveryStatus),
    /// A recovery was let begin, and waits before its first rung.
    HeldBeforeRung,
    /// A step of a recovery stands so.
    Step(StepState),
    /// The undo of a step stands so.
    Undo(UndoState),
    /// The breaker of a control plane stands so.
    Breaker(Position),
    /// A channel's tray stands so.
    Tray(TrayState),
    /// An incident stands so.
    Incident(IncidentState),
    /// An evacuation stands so.
    Evacuation(EvacuationState),
    /// A traffic process stands so.
    Traffic(Standing),
    /// Somebody has seen a notice that still stands.
    Seen,
}

impl Moment {
    /// Draws one that may come under this plan.
    pub(super) fn draw(dice: &mut Dice, plan: &Plan) -> Option<Moment> {
        use Moment as M;
        let mut all = vec![
            M::Recovery(RecoveryStatus::FailureDetected),
            M::Recovery(RecoveryStatus::RecoveryInitiated),
            M::Recovery(RecoveryStatus::RecoveryInProgress),
            M::HeldBeforeRung,
            M::Step(StepState::Running),
            M::Step(StepState::Waiting),
            M::Step(StepState::Failed),
            M::Step(StepState::Unknown),
            M::Step(StepState::PassedOver),
            M::Incident(IncidentState::Lost),
            M::Incident(IncidentState::Recovered),
            M::Incident(IncidentState::Back),
            M::Evacuation(EvacuationState::Moving),
            M::Evacuation(EvacuationState::Settled),
            M::Traffic(Standing::Unheard),
            M::Traffic(Standing::Behind),
            M::Traffic(Standing::Refuses),
        ];
        let plays = plan.components.iter().flat_map(|it| &it.ladder).flat_map(|it| it.plays.values());
        if plays.flat_map(|it| &it.steps).any(|it| it.undo.is_some()) {
            let undos =
                [UndoState::Registered, UndoState::Doubtful, UndoState::Running, UndoState::Failed, UndoState::Unknown];
            all.extend(undos.map(M::Undo));
            all.extend(undos.map(M::Undo));
        }
        if !plan.controls.is_empty() {
            all.extend(Position::ALL.map(M::Breaker));
            all.extend(Position::ALL.map(M::Breaker));
        }
        if !plan.notifications.is_empty() {
            all.extend([M::Tray(TrayState::OnItsWay), M::Tray(TrayState::Pauses), M::Tray(TrayState::Pauses), M::Seen]);
        }
        dice.pick(&all)
    }

    /// What happens then finds most if it is one of these.
    pub(super) const fn apt(self) -> &'static [FaultKind] {
        use FaultKind as K;
        match self {
            Moment::Recovery(_) | Moment::HeldBeforeRung => &[K::People, K::People, K::Reload, K::Zone],
            Moment::Step(StepState::Running) => &[K::Killed, K::Outcome, K::People],
            Moment::Step(StepState::PassedOver) => &[K::Outcome, K::Link, K::People],
            Moment::Step(
                StepState::Ready | StepState::Waiting | StepState::Failed | StepState::Unknown | StepState::Done,
            ) => &[K::People],
            Moment::Undo(UndoState::Running) => &[K::Killed, K::Killed, K::Outcome],
            Moment::Undo(UndoState::Registered) => &[K::Outcome, K::Command, K::Killed],
            Moment::Undo(
                UndoState::Nothing | UndoState::Doubtful | UndoState::Failed | UndoState::Unknown | UndoState::Done,
            ) => &[K::People, K::People, K::Outcome],
            Moment::Breaker(_) | Moment::Seen => &[K::People],
            Moment::Tray(_) => &[K::Channel, K::Killed],
            Moment::Incident(_) => &[K::Zone, K::Back, K::Reload],
            Moment::Evacuation(_) => &[K::People, K::Reload],
            Moment::Traffic(_) => &[K::Refuses, K::Traffic],
        }
    }

    /// Lets time pass until it has come, or will not.
    pub(super) fn wait(self, world: &mut World) {
        let until = world.now + PATIENCE;
        while world.now < until && !world.engine().is_some_and(|it| self.is_now(it.state())) {
            world.run_for(LOOK);
        }
    }

    fn is_now(self, state: &State) -> bool {
        let steps = |is: &dyn Fn(&StepProgress) -> bool| {
            let all = |it: &Recovery| it.progress.as_ref().is_some_and(|it| it.steps.iter().any(is));
            state.open_recoveries().any(all)
        };
        match self {
            Moment::Recovery(status) => state.open_recoveries().any(|it| it.status == status),
            Moment::HeldBeforeRung => {
                let begun = |it: &Recovery| it.status == RecoveryStatus::RecoveryInitiated && it.held.is_some();
                state.open_recoveries().any(begun)
            }
            Moment::Step(at) => steps(&|it| it.at.state() == at),
            Moment::Undo(at) => steps(&|it| it.undo.state() == at),
            Moment::Breaker(position) => state.controls.iter().any(|it| it.position == position),
            Moment::Tray(at) => {
                let names = state.plan.notifications.iter().map(|it| &it.name);
                names.filter_map(|it| state.notices.tray(it)).any(|it| it.state() == at)
            }
            Moment::Incident(status) => state.incidents.values().any(|it| it.status == status),
            Moment::Evacuation(status) => state.evacuating.values().any(|it| it.status == status),
            Moment::Traffic(Standing::Unheard) => state.routing.standing.is_empty(),
            Moment::Traffic(standing) => state.routing.standing.values().any(|it| *it == standing),
            Moment::Seen => state.notices.standing().any(|it| it.acknowledged.is_some()),
        }
    }
}
