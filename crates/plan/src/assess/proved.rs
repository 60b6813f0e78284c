//! What the assessment takes from the proof, and nothing else does: the verdict for a failure without further conditions.

use std::time::Duration;

use crate::location::FailureDomain;
use crate::proof::{Condition, DataLoss, Proof};
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

/// Why nothing is proved, and what would change that.
pub(super) struct Unproved {
    pub(super) because: Vec<String>,
    pub(super) change: String,
}

pub(super) struct Verdicts<'p>(Proof<'p>);

impl<'p> Verdicts<'p> {
    pub(super) fn of(plan: &'p Plan) -> Verdicts<'p> {
        Verdicts(Proof::of(plan))
    }

    /// What the proof says about `component` when `failure` is lost.
    pub(super) fn verdict(&self, component: ComponentIx, failure: FailureDomain) -> Result<Proved, Unproved> {
        let at = |condition| self.0.cell(component, failure, condition).expect("the proof is of this plan");
        let cell = at(Condition::None);
        let recovery = cell
            .verdict
            .as_ref()
            .map_err(|none| Unproved { because: self.0.reasons(&cell, none), change: self.0.change(&cell) })?;
        let without = [Condition::RegionalControlGone, Condition::GlobalControlGone];
        Ok(Proved {
            strategy: recovery.strategy,
            to: recovery.to,
            worst: recovery.worst().total(),
            loss: recovery.data_loss,
            without_control: without.into_iter().all(|it| at(it).verdict.is_ok()),
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
