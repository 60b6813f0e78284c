//! The arithmetic of bounds: how long each part may take at worst, by what the plan allows it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::judge::{Asked, Judge, Tried};
use super::{Bound, Condition};
use crate::action::Action;
use crate::backup::Backup;
use crate::component::Instance;
use crate::location::FailureDomain;
use crate::postgres::PostgresOp;
use crate::probe::{Probe, Watches};
use crate::route::{SECONDARY_REFRESH, Sharing};
use crate::strategy::{Phase, Play, Rung, Step, StepKind, Whom};
use crate::{DomainIx, InstanceIx, ProbeIx, RouteIx, Topology};

/// What a step waits between its attempts at most.
fn waits(step: &Step) -> Duration {
    step.back_off.map_or(Duration::ZERO, |it| it.whole(step.attempts))
}

/// The `k`-th smallest, from 1; the largest if there are fewer.
fn kth(mut times: Vec<Duration>, k: usize) -> Duration {
    times.sort_unstable();
    times.get(k.saturating_sub(1)).or(times.last()).copied().unwrap_or_default()
}

/// The `k`-th, from 1; `None` if there are fewer.
fn kth_of(times: &[Duration], k: usize) -> Option<Duration> {
    times.get(k.saturating_sub(1)).copied()
}

impl Judge<'_> {
    /// The probes of an instance whose failures count: they can be asked, or fail to get an answer.
    fn telling(&self, instance: InstanceIx) -> impl Iterator<Item = &Probe> {
        let probes = self.plan.instance(instance).probes.iter().map(|it| self.plan.probe(*it));
        probes.filter(|it| !self.asked(it).says_nothing())
    }

    fn slowest_needed(&self, instance: InstanceIx, time: impl Fn(&Probe) -> Duration) -> Duration {
        let planned = self.plan.instance(instance);
        if let [only] = planned.probes.as_slice() {
            let probe = self.plan.probe(*only);
            return if self.asked(probe).says_nothing() { Duration::ZERO } else { time(probe) };
        }
        kth(self.telling(instance).map(time).collect(), planned.down_when)
    }

    /// From the first failed answer to the last that is needed, both counted at their start.
    fn doubt(&self, probe: &Probe) -> Duration {
        self.plan.asks_again_within(probe) * (probe.timing.fall - 1)
    }

    /// interval + (fall − 1) × fast_interval + timeout + lateness, of the last probe that is needed: a failure just after a
    /// good answer is first asked about an interval later, and then `fall` answers must have failed. What waits for news
    /// waits as long as it may before that. Where a host asks, each answer may be under way for as long as lateness.
    pub(super) fn detect(&self, instance: InstanceIx) -> Duration {
        let within = |it: &Probe| self.plan.answers_within(it);
        let seen = |it: &Probe| it.kind.fails_after() + it.timing.interval + self.doubt(it) + within(it);
        let signals = self.component.guards.signals;
        let of_each_kind = if signals < 2 {
            Duration::ZERO
        } else {
            let kinds = self.kinds_telling().into_values();
            kth(kinds.map(|of| of.into_iter().map(seen).min().unwrap_or_default()).collect(), signals as usize)
        };
        self.slowest_needed(instance, seen).max(of_each_kind) + self.plan.allowances.lateness
    }

    /// The probes of the failed instance that say that it is down, by kind: each kind is one signal.
    pub(super) fn kinds_telling(&self) -> BTreeMap<&'static str, Vec<&Probe>> {
        let mut kinds: BTreeMap<&'static str, Vec<&Probe>> = BTreeMap::new();
        for probe in self.telling(self.home) {
            kinds.entry(probe.kind.word()).or_default().push(probe);
        }
        kinds
    }

    /// What the storm brake may take: of those that are lost together this one may be the last to begin, and each group that
    /// begins before it costs the brake's time.
    pub(super) fn brake(&self) -> Duration {
        let Some(brake) = self.plan.guards.storm_brake else { return Duration::ZERO };
        let groups = (self.lost - 1) / brake.at_most.max(1) as usize;
        brake.within.saturating_mul(u32::try_from(groups).unwrap_or(u32::MAX))
    }

    /// Of an instance that is asked at once, and is in doubt: after a restart of the agent, or after an action on it whose
    /// outcome nobody knows.
    fn look_again(&self, instance: InstanceIx) -> Duration {
        let down =
            self.slowest_needed(instance, |it| it.kind.fails_after() + self.doubt(it) + self.plan.answers_within(it));
        // One that is fit is known once each of its probes has answered.
        let fit = self.telling(instance).map(|it| self.plan.answers_within(it)).max().unwrap_or_default();
        down.max(fit) + self.plan.allowances.lateness
    }

    /// The shortest time that passes from the first failure of the instance to the verdict, counted between questions.
    pub(super) fn shortest_doubt(&self) -> Duration {
        self.telling(self.home).map(|it| it.timing.fast_interval * (it.timing.fall - 1)).min().unwrap_or_default()
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
        slowest.saturating_sub(self.patience)
    }

    /// One sync for the decision, the witnesses, and the neighbours' word.
    pub(super) fn decide(&self) -> Duration {
        self.plan.allowances.journal_sync + self.witnesses_beyond_doubt().max(self.correlation_beyond_doubt())
    }

    /// How long it may take until it is known what failed with the instance. Whoever is there answers the second question at
    /// the latest, as a witness does; whoever is lost is waited for until the window ends.
    fn correlation_beyond_doubt(&self) -> Duration {
        let window = self.plan.allowances.correlation;
        let domains = self.domains_beyond_doubt(window);
        let needed = self.component.depends_on.iter().map(|it| self.plan.component(*it).original());
        let answers = needed.filter(|it| !self.plan.instance(*it).probes.is_empty()).map(|it| {
            let well =
                self.answer_of(it, |times, of| kth_of(times, (of.probes.len() + 1).saturating_sub(of.down_when)));
            well.or_else(|| self.down_beyond_doubt(it)).unwrap_or(window)
        });
        answers.max().unwrap_or_default().max(domains).min(window)
    }

    fn domains_beyond_doubt(&self, window: Duration) -> Duration {
        let place = self.topology.place(self.home);
        let silent = |domain: DomainIx| {
            let all = self.all_down_beyond_doubt(domain);
            all.filter(|_| self.topology.domain(domain).witnesses.is_empty()).unwrap_or(window)
        };
        let first = |asked: &[InstanceIx], domain: DomainIx| {
            let instances = asked.iter().filter_map(|it| self.answer_of(*it, |times, _| times.first().copied()));
            let witnesses = self.topology.domain(domain).witnesses.iter().map(|it| self.plan.witness(*it));
            let witnesses = witnesses.filter(|it| self.witness_answers(it));
            let witnesses = witnesses.map(|it| self.beyond_doubt(self.plan.probe(it.probe)));
            instances.chain(witnesses).min()
        };
        let zone = place.zone.filter(|it| self.topology.domain(*it).is_told_apart);
        let of_zone = zone.map(|it| first(self.topology.zone_neighbours(self.home), it));
        if let Some(Some(lives)) = of_zone {
            return lives;
        }
        let region = Some(place.region).filter(|it| self.topology.domain(*it).is_told_apart);
        let of_region = region.map(|it| first(self.topology.region_neighbours(self.home), it));
        // What is lost is known when all of it is down.
        let zone_is_lost = zone.map(silent).unwrap_or_default();
        let region_says = match of_region {
            Some(Some(lives)) => lives,
            Some(None) => region.map(silent).unwrap_or_default(),
            None => Duration::ZERO,
        };
        zone_is_lost.max(region_says)
    }

    /// When everything in a lost domain is seen down, counted as the answers are. `None`: nobody can say, because it is too
    /// large to be asked at once, or because something in it is not lost or can't be asked.
    fn all_down_beyond_doubt(&self, domain: DomainIx) -> Option<Duration> {
        let members = &self.topology.domain(domain).members;
        if members.len() > Topology::ASKED_AT_ONCE {
            return None;
        }
        let runs = members.iter().copied().filter(|it| self.topology.runs(*it));
        runs.map(|it| self.down_beyond_doubt(it)).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// When another lost instance is seen down: it is asked at once, or once more when an answer was on its way.
    fn down_beyond_doubt(&self, instance: InstanceIx) -> Option<Duration> {
        let mut probes = self.plan.instance(instance).probes.iter().map(|it| self.plan.probe(*it));
        let told = self.is_lost(instance) && probes.all(|it| !self.asked(it).says_nothing());
        let slowest = || self.slowest_needed(instance, |it| self.doubt(it) + self.plan.answers_within(it) * 2);
        told.then(|| slowest().saturating_sub(self.patience))
    }

    /// The zone or region that is known to be lost before anything is done: all of it is seen down while its failure is
    /// waited for.
    pub(super) fn known_lost(&self) -> Option<DomainIx> {
        let window = self.plan.allowances.correlation;
        let place = self.topology.place(self.home);
        let far = match self.failure {
            FailureDomain::Instance | FailureDomain::Host => return None,
            FailureDomain::Zone => None,
            FailureDomain::Region => Some(place.region),
        };
        let told = |it: &DomainIx| {
            let domain = self.topology.domain(*it);
            let lost = self.all_down_beyond_doubt(*it).is_some_and(|it| it < window);
            domain.is_told_apart && lost
        };
        far.into_iter().chain(place.zone).find(told)
    }

    /// When the answers of an instance are there, the first first, counted from the earliest moment at which the failed one
    /// can be down. `None`: it says nothing.
    fn answer_of(
        &self,
        instance: InstanceIx,
        of: impl Fn(&[Duration], &Instance) -> Option<Duration>,
    ) -> Option<Duration> {
        let planned = self.plan.instance(instance);
        if self.is_lost(instance) || !self.is_in_reach(&planned.location) {
            return None;
        }
        let answers = |it: &&Probe| self.asked(it) == Asked::Answered;
        let probes = planned.probes.iter().map(|it| self.plan.probe(*it)).filter(answers);
        if let [_] = planned.probes.as_slice() {
            let time = probes.map(|it| self.beyond_doubt(it)).next();
            return of(time.as_slice(), planned);
        }
        let mut times: Vec<Duration> = probes.map(|it| self.beyond_doubt(it)).collect();
        times.sort_unstable();
        of(&times, planned)
    }

    fn beyond_doubt(&self, probe: &Probe) -> Duration {
        (self.plan.answers_within(probe) * 2).saturating_sub(self.patience)
    }

    /// The time of a step that works. Each step but the last follows a record that must be on the disk first; probes
    /// wait for none.
    fn step_time(&self, step: &Step) -> Duration {
        match &step.kind {
            // It may fail, and that it does is one more record.
            StepKind::Stop { or_cut: true, .. } => self.failing_time(step) + self.plan.allowances.journal_sync,
            StepKind::Act { .. } if let Some(within) = self.restores_within(step) => {
                self.plan.allowances.journal_sync + within
            }
            StepKind::Stop { .. } | StepKind::Act { .. } => {
                self.one_attempt(step) * step.attempts + waits(step) + self.arrival(step)
            }
            StepKind::Manual { .. }
            | StepKind::CatchUp { .. }
            | StepKind::CutTraffic { .. }
            | StepKind::EndLease { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Verify { .. } => self.one_attempt(step),
        }
    }

    /// How long a restore of a series that Mainstay takes needs at most where it works, if that was measured.
    fn restores_within(&self, step: &Step) -> Option<Duration> {
        let within = self.restored(step)?.1.restores_within()?;
        Some(within.min(step.timeout))
    }

    /// The series that a step restores by itself, with its place in the component's list.
    pub(super) fn restored(&self, step: &Step) -> Option<(usize, &Backup)> {
        let StepKind::Act { action, .. } = &step.kind else { return None };
        let Action::Postgres(postgres) = action.as_ref() else { return None };
        let PostgresOp::Restore { series } = &postgres.op else { return None };
        let mut all = self.component.backups.iter().enumerate();
        all.find(|it| it.1.postgres.as_ref() == Some(series))
    }

    /// Whoever is brought to another address is seen there before anything else is done, and routes lead there.
    fn arrival(&self, step: &Step) -> Duration {
        let allowed = &self.plan.allowances;
        match &step.kind {
            StepKind::Act { on, .. } if step.brings_address() => {
                self.look_again(*on) + allowed.journal_sync + allowed.route_apply
            }
            StepKind::Act { .. }
            | StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::Manual { .. }
            | StepKind::CatchUp { .. }
            | StepKind::CutTraffic { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Verify { .. } => Duration::ZERO,
        }
    }

    fn one_attempt(&self, step: &Step) -> Duration {
        let allowed = &self.plan.allowances;
        match &step.kind {
            StepKind::TakeOver { routes, .. } if routes.is_empty() => allowed.journal_sync,
            StepKind::CutTraffic { routes, .. } => {
                allowed.journal_sync + allowed.route_apply + self.silence_of_servers(routes)
            }
            StepKind::TakeOver { routes, .. } => {
                // Behind a cut whoever is silent is known to be so.
                let is_cut = routes.iter().any(|it| self.plan.route(*it).sharing == Sharing::Exclusive);
                let silence = if is_cut { Duration::ZERO } else { self.silence_of_servers(&[]) };
                allowed.journal_sync + allowed.route_apply + silence
            }
            StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::Act { .. }
            | StepKind::CatchUp { .. }
            | StepKind::Manual { .. } => allowed.journal_sync + step.timeout,
            StepKind::Verify { probes } => self.verify_time(probes),
        }
    }

    /// Whether a host is lost that serves the routes, too.
    pub(super) fn a_server_is_lost(&self) -> bool {
        let mut serving = self.plan.serving_hosts();
        self.failure != FailureDomain::Instance && serving.any(|it| self.in_lost_domain(&it.location))
    }

    /// What a routing step waits for a lost host that serves, too: until it is known to be silent, and until it has stopped
    /// serving these routes by itself.
    fn silence_of_servers(&self, cut: &[RouteIx]) -> Duration {
        if !self.a_server_is_lost() {
            return Duration::ZERO;
        }
        let cuts = cut.iter().filter_map(|it| self.plan.silence_cuts(*it));
        cuts.chain([self.plan.silence_noticed()]).max().unwrap_or_default()
    }

    /// One good answer from each of these probes. An instance's probe may be on its way when verifying begins, and counts
    /// only when it is asked again after that; so may a route's be, from a rung before. Where the failure was noticed because
    /// news stayed away, the instance is good again with the next.
    pub(super) fn verify_time(&self, probes: &[ProbeIx]) -> Duration {
        let by_news = !self.slowest_needed(self.home, |it| it.kind.fails_after()).is_zero();
        let answered = |it: &Probe| {
            let news = by_news && it.watches == Watches::Instance(self.home);
            let wait = if news { it.kind.good_after() } else { Duration::ZERO };
            wait + self.plan.answers_within(it) * 2
        };
        probes.iter().map(|it| answered(self.plan.probe(*it))).max().unwrap_or_default()
    }

    /// The time of a step that fails. After an action whose outcome nobody knows, what it was done to has to be seen before
    /// anything else is done, and with the failed instance the witnesses.
    fn failing_time(&self, step: &Step) -> Duration {
        let on = match &step.kind {
            StepKind::Stop { from, .. } => *from,
            StepKind::Act { on, .. } => *on,
            StepKind::CutTraffic { .. } if self.a_server_is_lost() => {
                return (self.plan.allowances.journal_sync + step.timeout) * step.attempts;
            }
            StepKind::CutTraffic { .. }
            | StepKind::EndLease { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Manual { .. } => return self.one_attempt(step),
            StepKind::Verify { .. } | StepKind::CatchUp { .. } => return step.timeout,
        };
        let attempt = self.one_attempt(step) + self.look_again(on) + self.witnesses_beyond_doubt();
        attempt * step.attempts + waits(step)
    }

    /// The time of a play that fails at the worst of its stages: those before it worked.
    pub(super) fn failing_play(&self, play: &Play) -> Duration {
        let (mut before, mut worst) = (Duration::ZERO, Duration::ZERO);
        for stage in play.stages() {
            let slowest = |time: &dyn Fn(&Step) -> Duration| stage.iter().map(time).max().unwrap_or_default();
            let works = slowest(&|it| self.step_time(it));
            // Whoever runs beside the step that fails is waited for.
            let undone = || -> Duration { play.steps.iter().map(|it| self.undo_time(it)).sum() };
            worst = worst.max(before + works.max(slowest(&|it| self.failing_time(it))) + undone());
            before += works;
        }
        worst
    }

    /// The time of taking a step back.
    fn undo_time(&self, step: &Step) -> Duration {
        step.undo.as_ref().map_or(Duration::ZERO, |it| self.plan.allowances.journal_sync + it.timeout)
    }

    /// The time until every rung of the ladder has failed.
    pub(super) fn whole_ladder(&self) -> Duration {
        let plays = self.component.ladder.iter().map(|it| it.plays.values().map(|it| self.failing_play(it)).max());
        plays.map(Option::unwrap_or_default).sum()
    }

    /// The longest that one attempt at a step of it takes, whether it works or not.
    pub(super) fn longest_attempt(&self, play: &Play) -> Duration {
        let longest = |it: &Step| match &it.kind {
            StepKind::Verify { .. } => it.timeout,
            StepKind::CutTraffic { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::Manual { .. }
            | StepKind::CatchUp { .. }
            | StepKind::Act { .. } => self.one_attempt(it).max(self.undo_time(it)),
        };
        play.steps.iter().map(longest).max().unwrap_or_default()
    }

    /// The bound without what routes add, and without dependencies. `to_see` are the instances that have to be seen
    /// anew if the agent restarts.
    pub(super) fn common(&self, play: &Play, rung: &Rung, tried: &Tried) -> Bound {
        // A stage takes as long as the slowest of its steps.
        let slowest =
            |stage: &[Step]| stage.iter().map(|it| (self.step_time(it), it.kind.phase())).max_by_key(|it| it.0);
        let stages: Vec<(Duration, Phase)> = play.stages().filter_map(slowest).collect();
        let phase = |phase: Phase| -> Duration { stages.iter().filter(|it| it.1 == phase).map(|it| it.0).sum() };
        let mut bound = Bound {
            detect: self.detect(self.home),
            decide: self.decide(),
            dependencies: Duration::ZERO,
            turn: Duration::ZERO,
            earlier_rungs: tried.time,
            fence: phase(Phase::Fence),
            act: phase(Phase::Act),
            converge: phase(Phase::Converge),
        };
        if self.condition == Condition::AgentRestarts {
            self.add_restart(&mut bound, play, rung, tried);
        }
        bound.decide += self.brake();
        bound
    }

    /// A restart costs its time, seeing anew, deciding anew, and the attempt that it fell into: that one is made again.
    fn add_restart(&self, bound: &mut Bound, play: &Play, rung: &Rung, tried: &Tried) {
        let asked_for = rung.only_if.iter().map(|it| match it.of {
            Whom::Component(ix) => self.plan.component(ix).original(),
            Whom::Instance(ix) => ix,
        });
        let seen = tried.seen.iter().copied().chain([self.home, play.to]).chain(asked_for);
        let look_again = seen.map(|it| self.look_again(it)).max().unwrap_or_default();
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
        let moves = play.to != self.home || play.brings_address();
        let copied = if self.plan.secondaries.is_empty() { Duration::ZERO } else { SECONDARY_REFRESH };
        let cached = route.dns.as_ref().filter(|_| route.proxy.is_none() && moves).map(|it| it.ttl + copied);
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
        let asked = self.telling(self.home).map(|it| self.plan.answers_within(it)).max().unwrap_or_default();
        asked + allowed.lateness + allowed.journal_sync + allowed.route_apply
    }
}
