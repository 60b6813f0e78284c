//! The arithmetic of bounds: how long each part may take at worst, by what the plan allows it.

use std::time::Duration;

use super::judge::{Asked, Judge, Tried};
use super::{Bound, Condition};
use crate::probe::Probe;
use crate::route::Sharing;
use crate::strategy::{Phase, Play, Step, StepKind};
use crate::{InstanceIx, ProbeIx, RouteIx};

/// From the first failed answer to the last that is needed, both counted at their start.
pub(super) fn doubt(probe: &Probe) -> Duration {
    probe.timing.fast_interval * (probe.timing.fall - 1)
}

/// The `k`-th smallest, from 1; the largest if there are fewer.
fn kth(mut times: Vec<Duration>, k: usize) -> Duration {
    times.sort_unstable();
    times.get(k.saturating_sub(1)).or(times.last()).copied().unwrap_or_default()
}

impl Judge<'_> {
    /// The probes of an instance whose failures count: they can be asked, or fail to get an answer.
    fn telling(&self, instance: InstanceIx) -> impl Iterator<Item = &Probe> {
        let probes = self.plan.instance(instance).probes.iter().map(|it| self.plan.probe(*it));
        probes.filter(|it| self.asked(it) != Asked::NotByName)
    }

    fn slowest_needed(&self, instance: InstanceIx, time: impl Fn(&Probe) -> Duration) -> Duration {
        kth(self.telling(instance).map(time).collect(), self.plan.instance(instance).down_when)
    }

    /// interval + (fall − 1) × fast_interval + timeout + lateness, of the last probe that is needed: a failure just after a
    /// good answer is first asked about an interval later, and then `fall` answers must have failed.
    pub(super) fn detect(&self, instance: InstanceIx) -> Duration {
        self.slowest_needed(instance, |it| it.timing.interval + doubt(it) + it.timing.timeout)
            + self.plan.allowances.lateness
    }

    /// Of an instance that is asked at once, and is in doubt: after a restart of the agent, or after an action on it whose
    /// outcome nobody knows.
    fn look_again(&self, instance: InstanceIx) -> Duration {
        let down = self.slowest_needed(instance, |it| doubt(it) + it.timing.timeout);
        // One that is fit is known once each of its probes has answered.
        let fit = self.telling(instance).map(|it| it.timing.timeout).max().unwrap_or_default();
        down.max(fit) + self.plan.allowances.lateness
    }

    /// The shortest time that passes from the first failure of an instance to the verdict, counted between questions.
    pub(super) fn patience(&self, instance: InstanceIx) -> Duration {
        self.telling(instance).map(doubt).min().unwrap_or_default()
    }

    /// What the witnesses need beyond the time of doubt: they are asked from the first failed observation on, and the answer
    /// that counts may be the second one.
    fn witnesses_beyond_doubt(&self) -> Duration {
        let rule = &self.component.witnesses;
        if rule.need == 0 {
            return Duration::ZERO;
        }
        let there = rule.of.iter().map(|it| self.plan.witness(*it)).filter(|it| self.witness_answers(it));
        let slowest = kth(there.map(|it| self.plan.probe(it.probe).timing.timeout * 2).collect(), rule.need);
        slowest.saturating_sub(self.patience(self.home))
    }

    /// One sync for the decision, and the witnesses.
    pub(super) fn decide(&self) -> Duration {
        self.plan.allowances.journal_sync + self.witnesses_beyond_doubt()
    }

    /// The time of a step that works. Each step but the last follows a record that must be on the disk first; probes
    /// wait for none.
    fn step_time(&self, step: &Step) -> Duration {
        match &step.kind {
            StepKind::Stop { .. } | StepKind::Act { .. } => self.one_attempt(step) * step.attempts,
            StepKind::CutTraffic { .. }
            | StepKind::TakeOver { .. }
            | StepKind::CatchUp { .. }
            | StepKind::Verify { .. } => self.one_attempt(step),
        }
    }

    fn one_attempt(&self, step: &Step) -> Duration {
        let allowed = &self.plan.allowances;
        match &step.kind {
            StepKind::TakeOver { routes, .. } if routes.is_empty() => allowed.journal_sync,
            StepKind::CutTraffic { .. } | StepKind::TakeOver { .. } => allowed.journal_sync + allowed.route_apply,
            StepKind::Stop { .. } | StepKind::Act { .. } | StepKind::CatchUp { .. } => {
                allowed.journal_sync + step.timeout
            }
            StepKind::Verify { probes } => self.verify_time(probes),
        }
    }

    /// One good answer from each of these probes. An instance's probe may be on its way when verifying begins, and counts
    /// only when it is asked again after that; so may a route's be, from a rung before.
    pub(super) fn verify_time(&self, probes: &[ProbeIx]) -> Duration {
        let answered = |it: &ProbeIx| self.plan.probe(*it).timing.timeout * 2;
        probes.iter().map(answered).max().unwrap_or_default()
    }

    /// The time of a step that fails. After an action whose outcome nobody knows, what it was done to has to be seen before
    /// anything else is done, and with the failed instance the witnesses.
    fn failing_time(&self, step: &Step) -> Duration {
        let on = match &step.kind {
            StepKind::Stop { from, .. } => *from,
            StepKind::Act { on, .. } => *on,
            StepKind::CutTraffic { .. } | StepKind::TakeOver { .. } => return self.one_attempt(step),
            StepKind::Verify { .. } | StepKind::CatchUp { .. } => return step.timeout,
        };
        let attempt = self.one_attempt(step) + self.look_again(on) + self.witnesses_beyond_doubt();
        attempt * step.attempts
    }

    /// The time of a play that fails at the worst of its stages: those before it worked.
    pub(super) fn failing_play(&self, play: &Play) -> Duration {
        let (mut before, mut worst) = (Duration::ZERO, Duration::ZERO);
        for stage in play.stages() {
            let slowest = |time: &dyn Fn(&Step) -> Duration| stage.iter().map(time).max().unwrap_or_default();
            let works = slowest(&|it| self.step_time(it));
            // Whoever runs beside the step that fails is waited for.
            worst = worst.max(before + works.max(slowest(&|it| self.failing_time(it))));
            before += works;
        }
        worst
    }

    /// The longest that one attempt at a step of it takes, whether it works or not.
    pub(super) fn longest_attempt(&self, play: &Play) -> Duration {
        let longest = |it: &Step| match &it.kind {
            StepKind::Verify { .. } | StepKind::CatchUp { .. } => it.timeout,
            StepKind::CutTraffic { .. } | StepKind::TakeOver { .. } | StepKind::Stop { .. } | StepKind::Act { .. } => {
                self.one_attempt(it)
            }
        };
        play.steps.iter().map(longest).max().unwrap_or_default()
    }

    /// The bound without what routes add, and without dependencies. `to_see` are the instances that have to be seen
    /// anew if the agent restarts.
    pub(super) fn common(&self, play: &Play, tried: &Tried) -> Bound {
        // A stage takes as long as the slowest of its steps.
        let slowest =
            |stage: &[Step]| stage.iter().map(|it| (self.step_time(it), it.kind.phase())).max_by_key(|it| it.0);
        let stages: Vec<(Duration, Phase)> = play.stages().filter_map(slowest).collect();
        let phase = |phase: Phase| -> Duration { stages.iter().filter(|it| it.1 == phase).map(|it| it.0).sum() };
        let mut bound = Bound {
            detect: self.detect(self.home),
            decide: self.decide(),
            dependencies: Duration::ZERO,
            earlier_rungs: tried.time,
            fence: phase(Phase::Fence),
            act: phase(Phase::Act),
            converge: phase(Phase::Converge),
        };
        if self.condition == Condition::AgentRestarts {
            self.add_restart(&mut bound, play, tried);
        }
        bound
    }

    /// A restart costs its time, seeing anew, deciding anew, and the attempt that it fell into: that one is made again.
    fn add_restart(&self, bound: &mut Bound, play: &Play, tried: &Tried) {
        let seen = tried.seen.iter().chain([&self.home, &play.to]);
        let look_again = seen.map(|it| self.look_again(*it)).max().unwrap_or_default();
        bound.detect += self.plan.allowances.agent_restart + look_again;
        bound.decide *= 2;
        let longest = play.steps.iter().max_by_key(|it| self.one_attempt(it));
        let (phase, again) = longest.map_or((Phase::Act, Duration::ZERO), |it| (it.kind.phase(), self.one_attempt(it)));
        if tried.longest > again {
            bound.earlier_rungs += tried.longest;
            return;
        }
        match phase {
            Phase::Fence => bound.fence += again,
            Phase::Converge => bound.converge += again,
            Phase::Detect | Phase::Decide | Phase::Act => bound.act += again,
        }
    }

    /// What those who come by a route need after the agent is done: old answers of DNS (with a proxy the answer never
    /// changes), and whoever polls.
    pub(super) fn after_completion(&self, route: RouteIx, play: &Play) -> Duration {
        let route = self.plan.route(route);
        let moves = play.to != self.home;
        let cached = route.dns.as_ref().filter(|_| route.proxy.is_none() && moves).map(|it| it.ttl);
        let is_polled = route.beacon || !route.agent_check.is_empty();
        let polled = route.polled.filter(|_| is_polled && (moves || route.sharing == Sharing::Shared));
        let seen_by_poller = polled.map(|it| {
            // A target that was down is back on once it is seen healthy again.
            let back = if moves { Duration::ZERO } else { self.back_on() };
            back + it.every * it.threshold
        });
        cached.unwrap_or_default().max(seen_by_poller.unwrap_or_default())
    }

    fn back_on(&self) -> Duration {
        let allowed = &self.plan.allowances;
        let asked = self.telling(self.home).map(|it| it.timing.timeout).max().unwrap_or_default();
        asked + allowed.lateness + allowed.journal_sync + allowed.route_apply
    }
}
