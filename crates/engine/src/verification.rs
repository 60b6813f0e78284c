//! Verifications under way: which steps wait for a good answer of which probes. Soft state, as all that is observed.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_plan::{ProbeIx, Time};

use crate::record::StepRef;

/// Steps that verify, and the probes that each of them still waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verifications {
    steps: BTreeMap<StepRef, Verification>,
    /// The same by probe: when a zone is lost, thousands of steps wait at once, each for probes of its own.
    of_probe: BTreeMap<ProbeIx, BTreeSet<StepRef>>,
}

#[derive(Clone, Debug)]
struct Verification {
    since: Time,
    missing: BTreeSet<ProbeIx>,
}

impl Verifications {
    /// Whether nothing is missing any more; `None`: the step has not begun to verify.
    pub(crate) fn is_complete(&self, step: StepRef) -> Option<bool> {
        self.steps.get(&step).map(|it| it.missing.is_empty())
    }

    /// From now on good answers to questions asked since then count for the step.
    pub(crate) fn begin(&mut self, step: StepRef, since: Time, probes: &[ProbeIx]) {
        for probe in probes {
            self.of_probe.entry(*probe).or_default().insert(step);
        }
        self.steps.insert(step, Verification { since, missing: probes.iter().copied().collect() });
    }

    /// A good answer to a question that was asked then.
    pub(crate) fn answered(&mut self, probe: ProbeIx, asked: Time) {
        let Some(waiting) = self.of_probe.get(&probe) else { return };
        let served = |it: &StepRef| self.steps.get(it).is_some_and(|it| asked >= it.since);
        let served: Vec<StepRef> = waiting.iter().copied().filter(served).collect();
        for step in served {
            self.no_more(probe, step);
            if let Some(verification) = self.steps.get_mut(&step) {
                verification.missing.remove(&probe);
            }
        }
    }

    /// Whether some step waits for an answer of this probe.
    pub(crate) fn awaits(&self, probe: ProbeIx) -> bool {
        self.of_probe.contains_key(&probe)
    }

    /// Keeps the steps for which this holds.
    pub(crate) fn retain(&mut self, holds: impl Fn(StepRef) -> bool) {
        let ended: Vec<StepRef> = self.steps.keys().copied().filter(|it| !holds(*it)).collect();
        for step in ended {
            for probe in self.steps.remove(&step).map(|it| it.missing).unwrap_or_default() {
                self.no_more(probe, step);
            }
        }
    }

    fn no_more(&mut self, probe: ProbeIx, step: StepRef) {
        if let Some(waiting) = self.of_probe.get_mut(&probe) {
            waiting.remove(&step);
            if waiting.is_empty() {
                self.of_probe.remove(&probe);
            }
        }
    }
}
