//! One component under one failure and one condition, by itself: which rung survives, and what each lost one lacks.
//!
//! Intuition: a sceptic reads the ladder from the top. For each rung he writes down everything that it lacks, not only the
//! first thing, because whoever mends the plan wants the whole list. And he keeps in mind what a rung that fails leaves
//! behind: time, a step of which nobody knows whether it was done, or a takeover that went half way.

use std::time::Duration;

use super::reasons::{Because, Reason, StepAt};
use super::rests_on::RestsOn;
use super::{Bound, Change, Condition, DataLoss, NoRecovery, Recovery, Verdict};
use crate::action::{Action, Plane, Service};
use crate::component::{Component, Temperature, Witness};
use crate::config::scalar;
use crate::location::{FailureDomain, Location};
use crate::observation::Health;
use crate::policy::Mode;
use crate::probe::{Address, Probe, ProbeKind};
use crate::route::Sharing;
use crate::strategy::{OnExpiry, Play, Rung, Step, StepKind, Strategy, Whom};
use crate::{ComponentIx, DomainIx, InstanceIx, Plan, RouteIx, Topology};

/// Whether a probe gets an answer under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It does.
    Answered,
    /// Whom it asks is known by name, and the name does not resolve: it says nothing.
    NotByName,
    /// It asks a name server that does not answer: it fails.
    InVain,
}

/// Something that a rung lacks. Without a change only another rung helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Loss {
    why: Reason,
    change: Option<Change>,
}

impl Loss {
    const fn new(why: Reason, change: Change) -> Loss {
        Loss { why, change: Some(change) }
    }

    const fn for_good(why: Reason) -> Loss {
        Loss { why, change: None }
    }
}

/// What the rungs that were tried leave behind.
#[derive(Debug)]
pub(super) struct Tried {
    /// The time that they took.
    pub(super) time: Duration,
    /// Their longest attempt at a step.
    pub(super) longest: Duration,
    /// Instances that the engine looked at for them.
    pub(super) seen: Vec<InstanceIx>,
    /// What the component may be bound to by now.
    bindings: Vec<InstanceIx>,
    /// Steps that may leave the ladder waiting for a person.
    blocked: Vec<Loss>,
    /// The first rung that left more behind than time.
    first_trace: Option<usize>,
    /// The zone or region that is known to be lost.
    known_lost: Option<DomainIx>,
}

#[derive(Debug)]
pub(super) struct Judge<'a> {
    pub(super) plan: &'a Plan,
    pub(super) topology: &'a Topology,
    pub(super) ix: ComponentIx,
    pub(super) component: &'a Component,
    /// The instance that fails.
    pub(super) home: InstanceIx,
    pub(super) failure: FailureDomain,
    pub(super) condition: Condition,
    /// How many components are lost together, this one among them.
    pub(super) lost: usize,
    /// The shortest time from the first failure of the instance to the verdict, counted between questions.
    pub(super) patience: Duration,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        (plan, topology): (&'a Plan, &'a Topology),
        ix: ComponentIx,
        failure: FailureDomain,
        condition: Condition,
    ) -> Judge<'a> {
        let component = plan.component(ix);
        let home = component.original();
        let mut judge =
            Judge { plan, topology, ix, component, home, failure, condition, lost: 1, patience: Duration::ZERO };
        judge.patience = judge.shortest_doubt();
        judge
    }

    /// The same where so many components are lost together.
    pub(super) fn among(self, lost: usize) -> Judge<'a> {
        Judge { lost, ..self }
    }

    /// The answer, as if everything that the component depends on were there.
    pub(super) fn verdict(&self) -> Verdict {
        let common = self.nobody_decides();
        let mut tried = Tried {
            time: Duration::ZERO,
            longest: Duration::ZERO,
            seen: Vec::new(),
            bindings: vec![self.home],
            blocked: Vec::new(),
            first_trace: None,
            known_lost: self.known_lost(),
        };
        let mut lost: Vec<(usize, Vec<Loss>)> = Vec::new();
        for (at, rung) in self.component.ladder.iter().enumerate() {
            let mut losses = tried.blocked.clone();
            for bound in &tried.bindings {
                losses.extend(self.rung_losses(at, rung, *bound));
            }
            if losses.is_empty() {
                if common.is_empty() {
                    return Ok(self.recovery(at, rung, &tried));
                }
                lost.push((at, losses));
                break;
            }
            self.fails(at, rung, &losses, &mut tried);
            lost.push((at, losses));
        }
        Err(self.nothing(&common, &lost, &tried))
    }

    /// What is needed before any rung is tried: an agent, witnesses that can answer, and probes that see the failure.
    fn nobody_decides(&self) -> Vec<Loss> {
        let nothing = |why| vec![Loss::new(why, Change::NotInThisVersion(self.condition))];
        if self.condition == Condition::AgentsHostGone {
            return nothing(Reason::AgentsHostGone);
        }
        let rule = &self.component.witnesses;
        let left = rule.of.iter().filter(|it| self.witness_answers(self.plan.witness(**it))).count();
        if self.condition == Condition::AgentsPathGone && left < rule.need {
            return nothing(Reason::AgentsPathGone);
        }
        let mut losses = Vec::new();
        if self.in_lost_domain(&self.plan.site.location) {
            losses.push(Loss::new(Reason::AgentLost(self.failure), Change::MoveAgent(self.ix, self.failure)));
        }
        if let Some(more) = rule.need.checked_sub(left).filter(|it| *it > 0) {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            let change = Change::AddWitnesses(self.ix, self.failure, more);
            losses.push(Loss::new(Reason::Witnesses { need: rule.need, left }, change));
        }
        let home = self.plan.instance(self.home);
        let by_name = || home.probes.iter().filter(|it| self.asked(self.plan.probe(**it)) == Asked::NotByName);
        let telling = home.probes.len() - by_name().count();
        for probe in by_name().take(home.down_when.saturating_sub(telling)) {
            losses.push(Loss::new(Reason::NotSeenDown(self.home), Change::UseAddress(*probe)));
        }
        losses.extend(self.held_back());
        losses
    }

    /// Guards that let nothing begin, however long it takes.
    fn held_back(&self) -> impl Iterator<Item = Loss> {
        let small = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let (need, have) = (self.component.guards.signals, small(self.kinds_telling().len()));
        let signals = (need > 1 && have < need).then(|| {
            let have = have.max(1);
            Loss::new(Reason::Signals { need, have }, Change::AskSignals(self.ix, have))
        });
        let radius = self.plan.guards.blast_radius.map(|it| it.allowed(self.plan.components.len()));
        let radius = radius.filter(|it| self.lost > *it).map(|allowed| {
            let (lost, allowed) = (small(self.lost), small(allowed));
            Loss::new(Reason::BlastRadius { lost, allowed }, Change::AllowTouched(lost))
        });
        signals.into_iter().chain(radius)
    }

    pub(super) fn home_location(&self) -> &'a Location {
        &self.plan.instance(self.home).location
    }

    fn in_lost_domain(&self, location: &Location) -> bool {
        self.home_location().shares(location, self.failure)
    }

    /// Whether an instance is gone with the failed one: it is that one, or it shares its domain or a part of it.
    pub(super) fn is_lost(&self, instance: InstanceIx) -> bool {
        instance == self.home
            || self.in_lost_domain(&self.plan.instance(instance).location)
            || self.shared_part(instance).is_some()
    }

    /// Whether the machine of an instance is gone, and not only what ran on it.
    fn machine_is_lost(&self, instance: InstanceIx) -> bool {
        if instance == self.home { self.failure != FailureDomain::Instance } else { self.is_lost(instance) }
    }

    /// A part that an instance and the failed one live on. A process that dies takes none down.
    fn shared_part(&self, instance: InstanceIx) -> Option<usize> {
        let parts = &self.plan.instance(self.home).shares;
        if self.failure == FailureDomain::Instance || parts.is_empty() {
            return None;
        }
        self.plan.instance(instance).shares.iter().position(|it| parts.contains(it))
    }

    pub(super) fn is_in_reach(&self, location: &Location) -> bool {
        self.condition != Condition::AgentsPathGone || self.plan.site.location.shares(location, FailureDomain::Host)
    }

    pub(super) fn witness_answers(&self, witness: &Witness) -> bool {
        !self.in_lost_domain(&witness.location)
            && self.is_in_reach(&witness.location)
            && self.asked(self.plan.probe(witness.probe)) == Asked::Answered
    }

    pub(super) fn asked(&self, probe: &Probe) -> Asked {
        if self.condition != Condition::DnsGone {
            return Asked::Answered;
        }
        match &probe.kind {
            ProbeKind::Tcp { address } => of_address(address),
            ProbeKind::Http(http) => of_address(&http.address),
            ProbeKind::Dns { server, .. } => {
                // A listener on every address is asked on one of them.
                let ours = self.plan.dns_listen.is_some_and(|it| {
                    it == *server
                        || (it.ip().is_unspecified() && it.port() == server.port() && server.ip().is_loopback())
                });
                if ours { Asked::Answered } else { Asked::InVain }
            }
            ProbeKind::Command { .. } | ProbeKind::Process { .. } | ProbeKind::FileFreshness { .. } => Asked::Answered,
        }
    }

    fn at(&self, rung: usize, from: InstanceIx, step: usize) -> StepAt {
        let small = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        StepAt { component: self.ix, rung: small(rung), from, step: small(step) }
    }

    /// Everything that a rung lacks when the component is bound to `bound`.
    fn rung_losses(&self, at: usize, rung: &Rung, bound: InstanceIx) -> Vec<Loss> {
        let Some(play) = rung.plays.get(&bound) else {
            return vec![match rung.strategy {
                Strategy::RestartService if self.machine_is_lost(bound) => {
                    Loss::for_good(Reason::MachineLost(self.failure))
                }
                Strategy::RestartService => Loss::new(Reason::NoPlay(bound), Change::GiveService(bound)),
                Strategy::FailoverToStandby
                | Strategy::RestoreFromBackup
                | Strategy::ReplaceInstance
                | Strategy::ScaleOut => Loss::for_good(Reason::NoPlay(bound)),
            }];
        };
        if let Some(why) = self.place_is_lost(rung, play, bound) {
            return vec![Loss::for_good(why)];
        }
        let mut losses = Vec::new();
        let stops = play.steps.iter().any(|it| matches!(it.kind, StepKind::Stop { or_cut: false, .. }));
        let touched = [Some(play.to), stops.then_some(bound)];
        if touched.into_iter().flatten().any(|it| !self.is_in_reach(&self.plan.instance(it).location)) {
            losses.push(Loss::new(Reason::AgentsPathGone, Change::NotInThisVersion(self.condition)));
        }
        if play.to != bound {
            self.standby_losses(play, rung.strategy, &mut losses);
        }
        self.precondition_losses(at, rung, &mut losses);
        if rung.strategy == Strategy::RestoreFromBackup {
            losses.extend(self.backup_loss(at, rung));
        }
        for (nth, step) in play.steps.iter().enumerate() {
            self.step_losses(self.at(at, bound, nth), step, &mut losses);
        }
        if self.condition == Condition::DnsGone && (play.to != bound || play.brings_address()) {
            let stuck = self.component.routes.iter().filter(|it| self.is_stuck(**it));
            losses.extend(stuck.map(|it| Loss::new(Reason::RouteStuck(*it), Change::PutProxy(*it))));
        }
        losses
    }

    /// Why no change of this rung could help: it works in a place that is lost.
    fn place_is_lost(&self, rung: &Rung, play: &Play, bound: InstanceIx) -> Option<Reason> {
        let far = matches!(self.failure, FailureDomain::Zone | FailureDomain::Region);
        match rung.strategy {
            Strategy::RestartService => self.machine_is_lost(bound).then_some(Reason::MachineLost(self.failure)),
            Strategy::RestoreFromBackup => {
                (play.to == bound && self.machine_is_lost(bound)).then_some(Reason::RestoredToLost(self.failure))
            }
            Strategy::ReplaceInstance | Strategy::ScaleOut => {
                (play.to == bound && far).then_some(Reason::NotElsewhere(self.failure))
            }
            // The way back to the instance that failed.
            Strategy::FailoverToStandby => {
                (play.to == self.home).then_some(Reason::StandbyLost(self.home, self.failure))
            }
        }
    }

    fn standby_losses(&self, play: &Play, strategy: Strategy, losses: &mut Vec<Loss>) {
        let to = play.to;
        let standby = self.plan.instance(to);
        let is_cold = standby.temperature == Temperature::Cold;
        let is_acted_on = play.steps.iter().any(|it| matches!(it.kind, StepKind::Act { on, .. } if on == to));
        if self.in_lost_domain(&standby.location) {
            losses.push(Loss::new(Reason::StandbyLost(to, self.failure), Change::MoveStandby(to, self.failure)));
        }
        if let Some(part) = self.shared_part(to) {
            let part = u32::try_from(part).unwrap_or(u32::MAX);
            losses.push(Loss::new(Reason::StandbyShares(to, part), Change::Separate(to, part)));
        }
        if is_cold && !is_acted_on {
            losses.push(Loss::new(Reason::NeverStarted(to), Change::KeepWarm(to)));
        } else if is_cold && self.condition == Condition::RegionalControlGone {
            losses.push(Loss::new(Reason::StandbyCold(to), Change::KeepWarm(to)));
        }
        for probe in &standby.probes {
            if self.asked(self.plan.probe(*probe)) != Asked::Answered {
                losses.push(Loss::new(Reason::StandbyUnseen(to, *probe), Change::UseAddress(*probe)));
            }
        }
        let Some(rpo) = self.component.objectives.rpo.filter(|_| strategy == Strategy::FailoverToStandby) else {
            return;
        };
        if !standby.reports_lag {
            losses.push(Loss::new(Reason::LagUnknown(to), Change::ReportLag(to)));
        } else if self.lag_probes(to).next().is_none() {
            losses.push(Loss::new(Reason::LagStopped(to), Change::KeepWarm(to)));
        } else if self.age_of_lag(to) > rpo {
            let most = rpo + self.patience;
            losses.push(Loss::new(Reason::LagTooSeldom(to, self.age_of_lag(to)), Change::AskLagMoreOften(to, most)));
        }
    }

    /// How old what a standby reported of its lag may be when its component is seen down: it was asked an interval before,
    /// unless it was asked once more while the failure was in doubt. The guard adds this age to the lag.
    fn age_of_lag(&self, standby: InstanceIx) -> Duration {
        let newest = self.lag_probes(standby).map(|it| it.timing.interval + it.timing.timeout).min();
        newest.unwrap_or_default().saturating_sub(self.patience)
    }

    /// The probes that say how far a standby is behind, as it waits: one that is cold is stopped.
    fn lag_probes(&self, standby: InstanceIx) -> impl Iterator<Item = &'a Probe> {
        let standby = self.plan.instance(standby);
        let stopped = standby.temperature == Temperature::Cold;
        let probes = standby.probes.iter().map(|it| self.plan.probe(*it));
        probes.filter(move |it| if stopped { it.kind.reports_lag_when_stopped() } else { it.kind.reports_lag() })
    }

    fn step_losses(&self, at: StepAt, step: &Step, losses: &mut Vec<Loss>) {
        let gone = match self.condition {
            Condition::RegionalControlGone => step.plane == Plane::RegionalControl,
            Condition::GlobalControlGone => step.plane == Plane::GlobalControl,
            Condition::None
            | Condition::AgentsHostGone
            | Condition::AgentsPathGone
            | Condition::CoordinationStoreGone
            | Condition::DnsGone
            | Condition::BackupsLocationGone
            | Condition::AgentRestarts => false,
        };
        if gone {
            losses.push(Loss::new(Reason::ControlGone(at, step.plane), Change::WithoutControl(at)));
        }
        if self.condition == Condition::AgentRestarts && !step.idempotent {
            losses.push(Loss::new(Reason::NotIdempotent(at), Change::MakeIdempotent(at)));
        }
        for need in &step.needs {
            let (location, need) = (&self.plan.prepared[*need].location, u32::try_from(*need).unwrap_or(u32::MAX));
            if self.in_lost_domain(location) {
                let change = Change::MovePrepared(need, self.ix, self.failure);
                losses.push(Loss::new(Reason::NeedLost(at, need), change));
            } else if !self.is_in_reach(location) {
                losses.push(Loss::new(Reason::AgentsPathGone, Change::NotInThisVersion(self.condition)));
            }
        }
        if let Some((on, service)) = service_of(step)
            && self.plan.out_of_reach(on, service).is_some()
        {
            losses.push(Loss::new(Reason::OutOfReach(at), Change::ReachService(on)));
        }
        match &step.kind {
            StepKind::Stop { from, or_cut: false, .. } if self.machine_is_lost(*from) => {
                self.stop_losses(*from, losses)
            }
            StepKind::Act { action, .. } if self.condition == Condition::DnsGone && acts_by_name(action) => {
                losses.push(Loss::new(Reason::ActsByName(at), Change::UseAddressIn(at)));
            }
            StepKind::Verify { probes } => {
                for probe in probes.iter().filter(|it| self.asked(self.plan.probe(**it)) != Asked::Answered) {
                    losses.push(Loss::new(Reason::VerifiesByName(*probe), Change::UseAddress(*probe)));
                }
                let needs = self.verify_time(probes);
                if step.timeout <= needs {
                    losses.push(Loss::new(Reason::VerifiesTooBriefly(at, needs), Change::VerifyLonger(at, needs)));
                }
            }
            StepKind::Stop { .. }
            | StepKind::Act { .. }
            | StepKind::Manual { .. }
            | StepKind::CatchUp { .. }
            | StepKind::CutTraffic { .. }
            | StepKind::TakeOver { .. } => {}
        }
    }

    /// Preconditions of a rung that need not hold when this fails: what must be healthy may be lost, what must be down is
    /// known to be so only where it is lost.
    fn precondition_losses(&self, at: usize, rung: &Rung, losses: &mut Vec<Loss>) {
        for (nth, it) in rung.only_if.iter().enumerate() {
            let instance = match it.of {
                Whom::Component(ix) => self.plan.component(ix).original(),
                Whom::Instance(ix) => ix,
            };
            let lost = self.in_lost_domain(&self.plan.instance(instance).location);
            if lost == (it.health == Health::Healthy) {
                let small = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
                let why = Reason::Unmet(self.ix, small(at), small(nth));
                losses.push(Loss::new(why, Change::DropPrecondition(self.ix, small(at), small(nth))));
            }
        }
    }

    /// A stop that can't be confirmed is replaced by a cut on every route that has an owner.
    fn stop_losses(&self, from: InstanceIx, losses: &mut Vec<Loss>) {
        let why = Reason::StopUnconfirmed(from, self.failure);
        let mut owned = self.exclusive_routes().peekable();
        if owned.peek().is_none() {
            losses.push(Loss::new(why, Change::AddRoute(self.ix)));
        }
        losses.extend(owned.map(|it| Loss::new(why, Change::FenceByCut(it))));
    }

    fn exclusive_routes(&self) -> impl Iterator<Item = RouteIx> {
        self.component.routes.iter().copied().filter(|it| self.plan.route(*it).sharing == Sharing::Exclusive)
    }

    /// Whether clients of a route have nothing but a name, which nobody but us resolves now.
    fn is_stuck(&self, route: RouteIx) -> bool {
        let route = self.plan.route(route);
        route.dns.is_some() && route.proxy.is_none()
    }

    fn backup_loss(&self, at: usize, rung: &Rung) -> Option<Loss> {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        match rung.backup {
            None if self.condition == Condition::BackupsLocationGone => {
                Some(Loss::new(Reason::BackupUnplaced, Change::NameBackup(self.ix, at)))
            }
            None => None,
            Some(backup) if self.backup_place(backup).is_none() => {
                let backup = u32::try_from(backup).unwrap_or(u32::MAX);
                let change = Change::CopyBackup(self.ix, backup, self.failure);
                Some(Loss::new(Reason::BackupLost(self.ix, backup), change))
            }
            Some(_) => None,
        }
    }

    /// The first place of a backup that is there, and the loss from there.
    fn backup_place(&self, backup: usize) -> Option<(u32, Duration)> {
        let places = self.component.backups.get(backup)?.places().zip(0u32..);
        let mut there = places.filter(|((location, _), _)| !self.in_lost_domain(location));
        let ((first, loss), at) = there.next()?;
        if self.condition != Condition::BackupsLocationGone {
            return Some((at, loss));
        }
        let narrowest = narrowest(first);
        there.find(|((other, _), _)| !first.shares(other, narrowest)).map(|((_, loss), at)| (at, loss))
    }

    /// What a rung that does not survive leaves behind. Some are passed over without a step: the engine knows beforehand.
    fn fails(&self, at: usize, rung: &Rung, losses: &[Loss], tried: &mut Tried) {
        let passed_over = losses
            .iter()
            .any(|it| matches!(it.why, Reason::LagUnknown(_) | Reason::LagStopped(_) | Reason::NeverStarted(_)));
        // What is in a zone that is known to be lost is not even tried.
        let known =
            |to: InstanceIx| tried.known_lost.is_some_and(|it| self.topology.place(to).domains().any(|at| at == it));
        let plays = || {
            let of = tried.bindings.iter().filter_map(|it| Some((*it, rung.plays.get(it)?)));
            of.filter(|(_, play)| !known(play.to))
        };
        if passed_over || plays().next().is_none() {
            return;
        }
        tried.time += plays().map(|(_, play)| self.failing_play(play)).max().unwrap_or_default();
        tried.longest =
            plays().map(|(_, play)| self.longest_attempt(play)).max().unwrap_or_default().max(tried.longest);
        let mut bindings = tried.bindings.clone();
        // Whoever verifies through our own DNS sees the new owner, and the ladder ends, whatever other clients see.
        let mut blocked: Vec<Loss> = Vec::new();
        if !ends_before_takeover(losses) && !losses.iter().any(|it| is_unfit(it.why)) {
            blocked.extend(losses.iter().filter(|it| matches!(it.why, Reason::RouteStuck(_))));
        }
        for (bound, play) in plays() {
            tried.seen.push(play.to);
            for (nth, step) in play.steps.iter().enumerate() {
                let at = self.at(at, bound, nth);
                if !step.idempotent {
                    debug_assert!(matches!(step.kind, StepKind::Act { .. }), "everything else may be repeated");
                    blocked.push(Loss::new(Reason::Waits(at), Change::MakeIdempotent(at)));
                }
                if step.undo.is_some() {
                    blocked.push(Loss::new(Reason::UndoWaits(at), Change::DropUndo(at)));
                }
            }
            if play.to != bound && !ends_before_takeover(losses) && !bindings.contains(&play.to) {
                bindings.push(play.to);
            }
        }
        if !blocked.is_empty() || bindings.len() > tried.bindings.len() {
            tried.first_trace.get_or_insert(at);
        }
        for loss in blocked {
            if !tried.blocked.contains(&loss) {
                tried.blocked.push(loss);
            }
        }
        tried.bindings = bindings;
    }

    fn nothing(&self, common: &[Loss], lost: &[(usize, Vec<Loss>)], tried: &Tried) -> NoRecovery {
        let because = |rung, loss: &Loss| Because { component: self.ix, rung, why: loss.why };
        let mut reasons: Vec<Because> = common.iter().map(|it| because(None, it)).collect();
        for (rung, losses) in lost {
            reasons.extend(losses.iter().map(|it| because(Some(*rung), it)));
        }
        if self.component.ladder.is_empty() {
            reasons.push(Because { component: self.ix, rung: None, why: Reason::NoLadder });
        }
        let mut once: Vec<Because> = Vec::new();
        for reason in reasons {
            if !once.contains(&reason) {
                once.push(reason);
            }
        }
        NoRecovery { because: once, changes: self.smallest(common, lost, tried), dependencies: Vec::new() }
    }

    /// The shortest list of changes that mends one rung, or adds one.
    fn smallest(&self, common: &[Loss], lost: &[(usize, Vec<Loss>)], tried: &Tried) -> Vec<Change> {
        if matches!(self.condition, Condition::AgentsHostGone | Condition::AgentsPathGone) {
            return vec![Change::NotInThisVersion(self.condition)];
        }
        let common: Vec<Change> = common.iter().filter_map(|it| it.change).collect();
        let with = |more: Vec<Change>| {
            let mut list = common.clone();
            for change in more {
                change.add_to(&mut list, self.plan);
            }
            list
        };
        let mended = |(rung, losses): &(usize, Vec<Loss>)| {
            let changes: Option<Vec<Change>> = losses.iter().map(|it| it.change).collect();
            let takeover = self.component.ladder[*rung].strategy == Strategy::FailoverToStandby;
            Some((with(changes?), takeover))
        };
        let mut lists: Vec<(Vec<Change>, bool)> = lost.iter().filter_map(mended).collect();
        lists.push((with(self.one_more_standby(tried)), false));
        // A standby that is there already needs the least to be of use.
        let best = lists.into_iter().min_by_key(|(list, takeover)| (list.len(), !*takeover));
        best.map(|(list, _)| list).unwrap_or_default()
    }

    /// A standby of its own, with what a takeover by it needs.
    fn one_more_standby(&self, tried: &Tried) -> Vec<Change> {
        let at = tried.first_trace.unwrap_or(self.component.ladder.len());
        let mut changes = vec![Change::AddStandby(self.ix, self.failure, u32::try_from(at).unwrap_or(u32::MAX))];
        if self.component.routes.is_empty() {
            changes.push(Change::AddRoute(self.ix));
        }
        let takeovers = || {
            let rungs = self.component.ladder.iter().filter(|it| it.strategy == Strategy::FailoverToStandby);
            rungs.filter_map(|it| it.plays.get(&self.home))
        };
        let stops = |play: &Play| play.steps.iter().any(|it| matches!(it.kind, StepKind::Stop { or_cut: false, .. }));
        let is_cut = takeovers().next().is_some() && takeovers().all(|it| !stops(it) && !it.accepts_two_writers);
        for route in &self.component.routes {
            let it = self.plan.route(*route);
            let exclusive = it.sharing == Sharing::Exclusive;
            if exclusive && !is_cut {
                changes.push(Change::FenceByCut(*route));
            } else if self.condition == Condition::DnsGone && self.is_stuck(*route) {
                changes.push(Change::PutProxy(*route));
            }
            let unasked = it.verify.iter().filter(|it| self.asked(self.plan.probe(**it)) != Asked::Answered);
            changes.extend(unasked.map(|it| Change::UseAddress(*it)));
        }
        changes
    }

    fn recovery(&self, at: usize, rung: &Rung, tried: &Tried) -> Recovery {
        let plays = tried.bindings.iter().filter_map(|it| rung.plays.get(it));
        let bound = plays.map(|it| self.common(it, rung, tried)).max_by_key(Bound::total).unwrap_or_default();
        let play = &rung.plays[&self.home];
        let routes: Vec<Option<RouteIx>> = match self.component.routes.as_slice() {
            [] => vec![None],
            routes => routes.iter().copied().map(Some).collect(),
        };
        let with_route = |route: Option<RouteIx>| {
            let after = route.map_or(Duration::ZERO, |it| self.after_completion(it, play));
            (route, Bound { converge: bound.converge + after, ..bound })
        };
        Recovery {
            rung: at,
            strategy: rung.strategy,
            to: play.to,
            plane: play.steps.iter().map(|it| it.plane).max().unwrap_or(Plane::Local),
            bounds: routes.into_iter().map(with_route).collect(),
            completed: bound.total(),
            data_loss: self.data_loss(rung),
            rests_on: self.rests_on(at, rung, play),
        }
    }

    fn data_loss(&self, rung: &Rung) -> DataLoss {
        let Some(rpo) = self.component.objectives.rpo else { return DataLoss::NoState };
        match rung.strategy {
            Strategy::RestartService => DataLoss::AtMost(Duration::ZERO),
            Strategy::FailoverToStandby => DataLoss::AtMost(rpo),
            Strategy::RestoreFromBackup => {
                let place = rung.backup.and_then(|it| self.backup_place(it));
                place.map_or(DataLoss::Unknown, |(_, loss)| DataLoss::AtMost(loss))
            }
            Strategy::ReplaceInstance | Strategy::ScaleOut => DataLoss::Unknown,
        }
    }

    fn rests_on(&self, at: usize, rung: &Rung, play: &Play) -> Vec<RestsOn> {
        let mut list = vec![RestsOn::Agent];
        let moves = play.to != self.home;
        let arrives = play.brings_address();
        if moves {
            list.push(RestsOn::Standby(play.to));
            let rpo = self.component.objectives.rpo.filter(|_| rung.strategy == Strategy::FailoverToStandby);
            list.extend(rpo.map(|it| RestsOn::StandbyLag(play.to, it.saturating_sub(self.age_of_lag(play.to)))));
        }
        let rule = &self.component.witnesses;
        list.extend(rung.only_if.iter().map(|it| RestsOn::Precondition(*it)));
        if rule.need > 0 {
            list.push(RestsOn::Witnesses(self.ix, u32::try_from(rule.need).unwrap_or(u32::MAX)));
        }
        if self.plan.mode == Mode::Observe {
            list.push(RestsOn::ModeAct);
        } else if self.plan.mode == Mode::Recommend || self.component.guards.approval.is_some() {
            list.push(RestsOn::Approval);
        }
        if rung.strategy == Strategy::RestoreFromBackup {
            let small = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
            list.push(match rung.backup.and_then(|it| Some((it, self.backup_place(it)?.0))) {
                Some((backup, place)) => RestsOn::Backup(self.ix, small(backup), place),
                None => RestsOn::UnnamedBackup(self.at(at, self.home, 0)),
            });
        }
        for (nth, step) in play.steps.iter().enumerate() {
            self.step_rests_on(self.at(at, self.home, nth), play, step, &mut list);
        }
        if moves || arrives {
            for route in &self.component.routes {
                let it = self.plan.route(*route);
                list.extend(it.proxy.as_ref().map(|_| RestsOn::Proxy(*route)));
                list.extend(self.is_stuck(*route).then_some(RestsOn::DnsName(*route)));
            }
        }
        for route in &self.component.routes {
            let it = self.plan.route(*route);
            if (it.beacon || !it.agent_check.is_empty()) && (moves || arrives || it.sharing == Sharing::Shared) {
                let known = it.polled.is_some();
                list.push(if known { RestsOn::Poller(*route) } else { RestsOn::UnknownPoller(*route) });
            }
        }
        if play.accepts_two_writers {
            list.push(RestsOn::TwoWriters);
        }
        list
    }

    fn step_rests_on(&self, at: StepAt, play: &Play, step: &Step, list: &mut Vec<RestsOn>) {
        let mut once = |it: RestsOn| {
            if !list.contains(&it) {
                list.push(it);
            }
        };
        for need in &step.needs {
            once(RestsOn::Prepared(u32::try_from(*need).unwrap_or(u32::MAX)));
        }
        let without_dns = self.condition == Condition::DnsGone;
        match &step.kind {
            StepKind::CutTraffic { .. } if !play.accepts_two_writers => once(RestsOn::TrafficProcess),
            StepKind::Stop { or_cut: false, .. } => once(RestsOn::SeenStopped(at)),
            // The cut before it counts where this fails.
            StepKind::Stop { or_cut: true, .. } => {}
            StepKind::Act { on, .. } => {
                once(RestsOn::Action(at));
                if step.brings_address() {
                    once(RestsOn::ComesBackThere(*on));
                }
            }
            StepKind::Manual { on_expiry: OnExpiry::Fail, .. } => once(RestsOn::Person(at)),
            StepKind::Manual { on_expiry: OnExpiry::Proceed, .. }
            | StepKind::CutTraffic { .. }
            | StepKind::CatchUp { .. }
            | StepKind::TakeOver { .. } => {}
            StepKind::Verify { probes } if without_dns => {
                let homes = &self.plan.instance(self.home).probes;
                let tos = &self.plan.instance(play.to).probes;
                for probe in homes.iter().chain(tos).chain(probes) {
                    if let ProbeKind::Command { .. } = self.plan.probe(*probe).kind {
                        once(RestsOn::ProbeWithoutDns(*probe));
                    }
                }
            }
            StepKind::Verify { .. } => {}
        }
        if without_dns && runs_a_command(step) {
            once(RestsOn::CommandWithoutDns(at));
        }
    }
}

/// The smallest domain that a location names: whatever takes that down takes down what is there.
fn narrowest(location: &Location) -> FailureDomain {
    match (&location.host, &location.zone) {
        (Some(_), _) => FailureDomain::Host,
        (None, Some(_)) => FailureDomain::Zone,
        (None, None) => FailureDomain::Region,
    }
}

fn of_address(address: &Address) -> Asked {
    match address {
        Address::Name { .. } => Asked::NotByName,
        // Asked of our own traffic process, as a client of a route does.
        Address::Socket(_) | Address::ResolvedBy { .. } => Asked::Answered,
    }
}

pub(super) fn acts_by_name(action: &Action) -> bool {
    match action {
        Action::Webhook { url, .. } => scalar::url(url).is_ok_and(|it| matches!(it.address, Address::Name { .. })),
        Action::Service { .. } | Action::Command { .. } | Action::TriggerFile { .. } => false,
    }
}

fn service_of(step: &Step) -> Option<(InstanceIx, &Service)> {
    match &step.kind {
        StepKind::Stop { from, service, .. } => Some((*from, service)),
        StepKind::Act { on, action } => match action.as_ref() {
            Action::Service { service, .. } => Some((*on, service)),
            Action::Command { .. } | Action::TriggerFile { .. } | Action::Webhook { .. } => None,
        },
        StepKind::Manual { .. }
        | StepKind::CatchUp { .. }
        | StepKind::CutTraffic { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Verify { .. } => None,
    }
}

/// Whether it runs something of the user's, into which nobody can look.
fn runs_a_command(step: &Step) -> bool {
    let declared = |it: &Service| matches!(it, Service::Declared { .. });
    match &step.kind {
        StepKind::Stop { service, .. } => declared(service),
        StepKind::Act { action, .. } => match action.as_ref() {
            Action::Service { service, .. } => declared(service),
            Action::Command { .. } => true,
            Action::TriggerFile { .. } | Action::Webhook { .. } => false,
        },
        StepKind::Manual { .. }
        | StepKind::CatchUp { .. }
        | StepKind::CutTraffic { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Verify { .. } => false,
    }
}

/// Whether the standby can't be verified for sure.
const fn is_unfit(why: Reason) -> bool {
    matches!(why, Reason::StandbyLost(..) | Reason::StandbyShares(..))
}

/// Whether a rung that lacks this fails for sure before its standby is the component.
fn ends_before_takeover(losses: &[Loss]) -> bool {
    losses.iter().any(|it| match it.why {
        Reason::ControlGone(..)
        | Reason::ActsByName(_)
        | Reason::StopUnconfirmed(..)
        | Reason::NeedLost(..)
        | Reason::LagUnknown(_)
        | Reason::LagStopped(_)
        | Reason::NeverStarted(_)
        | Reason::AgentsPathGone => true,
        Reason::AgentLost(_)
        | Reason::AgentsHostGone
        | Reason::Witnesses { .. }
        | Reason::NotSeenDown(_)
        | Reason::Signals { .. }
        | Reason::BlastRadius { .. }
        | Reason::NoLadder
        | Reason::NoPlay(_)
        | Reason::MachineLost(_)
        | Reason::RestoredToLost(_)
        | Reason::NotElsewhere(_)
        | Reason::StandbyLost(..)
        | Reason::StandbyShares(..)
        | Reason::StandbyCold(_)
        | Reason::StandbyUnseen(..)
        | Reason::LagTooSeldom(..)
        | Reason::NotIdempotent(_)
        | Reason::Waits(_)
        | Reason::Unmet(..)
        | Reason::UndoWaits(_)
        | Reason::OutOfReach(_)
        | Reason::VerifiesByName(_)
        | Reason::VerifiesTooBriefly(..)
        | Reason::RouteStuck(_)
        | Reason::BackupLost(..)
        | Reason::BackupUnplaced => false,
    })
}

/// Whether anything of a component could be different under a condition. Saying yes too often costs time alone.
pub(super) fn may_differ(plan: &Plan, component: &Component, condition: Condition) -> bool {
    let mut steps = component.ladder.iter().flat_map(|it| it.plays.values()).flat_map(|it| &it.steps);
    match condition {
        Condition::None | Condition::CoordinationStoreGone => false,
        Condition::RegionalControlGone => {
            let mut instances = component.instances.iter().map(|it| plan.instance(*it));
            instances.any(|it| it.temperature == Temperature::Cold)
                || steps.any(|it| it.plane == Plane::RegionalControl)
        }
        Condition::GlobalControlGone => steps.any(|it| it.plane == Plane::GlobalControl),
        Condition::BackupsLocationGone => component.ladder.iter().any(|it| it.strategy == Strategy::RestoreFromBackup),
        Condition::AgentsHostGone | Condition::AgentsPathGone | Condition::DnsGone | Condition::AgentRestarts => true,
    }
}
