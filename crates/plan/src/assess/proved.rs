//! What the assessment takes from the proof, and nothing else does: the verdict for a failure without further conditions.

use std::time::Duration;

use crate::location::FailureDomain;
use crate::proof::{Condition, DataLoss, NoRecovery, Proof};
use crate::strategy::Strategy;
use crate::{ComponentIx, InstanceIx, Plan};

/// A recovery that the proof proves.
pub(super) struct Proved {
    pub(super) strategy: Strategy,
    pub(super) to: InstanceIx,
    pub(super) worst: Duration,
    pub(super) loss: DataLoss,
    /// Whether it is still proved while no regional and, apart from that, while no global control plane answers.
    pub(super) without_control: bool,
}

pub(super) struct Verdicts(Proof);

impl Verdicts {
    pub(super) fn of(plan: &Plan) -> Verdicts {
        Verdicts(Proof::of(plan))
    }

    /// What the proof says about `component` when `failure` is lost.
    pub(super) fn verdict(&self, component: ComponentIx, failure: FailureDomain) -> Result<Proved, &NoRecovery> {
        let at = |condition| &self.0.cell(component, failure, condition).expect("the proof is of this plan").verdict;
        let recovery = at(Condition::None).as_ref()?;
        let without = [Condition::RegionalControlGone, Condition::GlobalControlGone];
        Ok(Proved {
            strategy: recovery.strategy,
            to: recovery.to,
            worst: recovery.worst().total(),
            loss: recovery.data_loss,
            without_control: without.into_iter().all(|it| at(it).is_ok()),
        })
    }

    /// The longest proved recovery of `component`, with the smallest failure that takes so long; and the failures that
    /// nothing is proved for.
    pub(super) fn slowest(&self, component: ComponentIx) -> (Option<(FailureDomain, Duration)>, Vec<FailureDomain>) {
        let mut slowest: Option<(FailureDomain, Duration)> = None;
        let mut unproved = Vec::new();
        for failure in FailureDomain::ALL {
            match self.verdict(component, failure) {
                Ok(it) if slowest.is_none_or(|(_, most)| it.worst > most) => slowest = Some((failure, it.worst)),
                Ok(_) => {}
                Err(_) => unproved.push(failure),
            }
        }
        (slowest, unproved)
    }
}
