//! One component under one failure and one condition, by itself: which rung survives, and what each lost one lacks.
//!
//! Intuition: a sceptic reads the ladder from the top. For each rung he writes down everything that it lacks, not only the
//! first thing, because whoever mends the plan wants the whole list. And he keeps in mind what a rung that fails leaves
//! behind: time, a step of which nobody knows whether it was done, or a takeover that went half way.

use std::time::Duration;

use super::losses::Loss;
use super::reasons::{Because, Reason, StepAt};
use super::{Change, Condition, NoRecovery, Recovery, Verdict};
use crate::action::Plane;
use crate::component::{Component, Temperature, Witness};
use crate::location::{FailureDomain, Location};
use crate::probe::{Address, Probe, ProbeKind, Whom};
use crate::route::Sharing;
use crate::strategy::{Play, Rung, StepKind, Strategy};
use crate::{ComponentIx, DomainIx, InstanceIx, Plan, Topology};

/// Whether a probe gets an answer under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It does.
    Answered,
    /// Whom it asks is known by name, and the name does not resolve: it says nothing.
    NotByName,
    /// Its host asks it, and is lost: it says nothing.
    NotByHost,
    /// It asks a name server that does not answer: it fails.
    InVain,
}

impl Asked {
    /// Whether it says neither that all is well nor that it is not.
    pub(super) const fn says_nothing(self) -> bool {
        matches!(self, Asked::NotByName | Asked::NotByHost)
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
    pub(super) bindings: Vec<InstanceIx>,
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
                losses.extend(self.rung_losses(at, rung, *bound, tried.time));
            }
            if losses.is_empty() {
                if common.is_empty() {
                    return Ok(self.slowest_choice(at, rung, &tried));
                }
                lost.push((at, losses));
                break;
            }
            self.fails(at, rung, &losses, &mut tried);
            lost.push((at, losses));
        }
        Err(self.nothing(&common, &lost, &tried))
    }

    /// The recovery by a rung that survives. Where the plan leaves a choice, which of its rungs is taken is known at the failure
    /// alone: the slowest of those that survive counts.
    fn slowest_choice(&self, at: usize, rung: &Rung, tried: &Tried) -> Recovery {
        let survives = |nth: usize, other: &Rung| {
            let mut losses = tried.bindings.iter().map(|it| self.rung_losses(nth, other, *it, tried.time));
            tried.blocked.is_empty() && losses.all(|it| it.is_empty())
        };
        let later = self.component.ladder.iter().enumerate().skip(at + 1);
        let others = later.filter(|(nth, it)| it.choice.is_some() && it.choice == rung.choice && survives(*nth, it));
        let first = self.recovery(at, rung, tried);
        others
            .map(|(nth, it)| self.recovery(nth, it, tried))
            .fold(first, |slowest, it| if it.worst().total() > slowest.worst().total() { it } else { slowest })
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
        let silent = || home.probes.iter().filter(|it| self.asked(self.plan.probe(**it)).says_nothing());
        let telling = home.probes.len() - silent().count();
        for probe in silent().take(home.down_when.saturating_sub(telling)) {
            losses.push(match self.asked(self.plan.probe(*probe)) {
                Asked::NotByHost => Loss::new(Reason::AskedByTheLost(self.home, *probe), Change::AskFromAgent(*probe)),
                Asked::NotByName | Asked::Answered | Asked::InVain => {
                    Loss::new(Reason::NotSeenDown(self.home), Change::UseAddress(*probe))
                }
            });
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

    pub(super) fn in_lost_domain(&self, location: &Location) -> bool {
        self.home_location().shares(location, self.failure)
    }

    /// Whether an instance is gone with the failed one: it is that one, or it shares its domain or a part of it.
    pub(super) fn is_lost(&self, instance: InstanceIx) -> bool {
        instance == self.home
            || self.in_lost_domain(&self.plan.instance(instance).location)
            || self.shared_part(instance).is_some()
    }

    /// Whether the machine of an instance is gone, and not only what ran on it.
    pub(super) fn machine_is_lost(&self, instance: InstanceIx) -> bool {
        if instance == self.home { self.failure != FailureDomain::Instance } else { self.is_lost(instance) }
    }

    /// A part that an instance and the failed one live on. A process that dies takes none down.
    pub(super) fn shared_part(&self, instance: InstanceIx) -> Option<usize> {
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
        let is_gone = |it: InstanceIx| self.machine_is_lost(it) && self.plan.asks(probe).is_some();
        if probe.watches.instance().is_some_and(is_gone) {
            return Asked::NotByHost;
        }
        if self.condition != Condition::DnsGone {
            return Asked::Answered;
        }
        self.asked_without_dns(&probe.kind)
    }

    fn asked_without_dns(&self, kind: &ProbeKind) -> Asked {
        match kind.whom() {
            Whom::Server(address) => of_address(address),
            // What can't be asked might have been good: it must change neither a good answer nor a failure.
            Whom::Several(composite) => {
                let enough = |asked| composite.enough(|it| self.asked_without_dns(it) == asked);
                let certain = enough(Asked::Answered) && !enough(Asked::NotByName);
                match composite.enough(|it| self.asked_without_dns(it) != Asked::InVain) {
                    true if certain => Asked::Answered,
                    true => Asked::NotByName,
                    false => Asked::InVain,
                }
            }
            Whom::NameServer(server) => {
                // A listener on every address is asked on one of them.
                let ours = self.plan.dns_listen.is_some_and(|it| {
                    it == server
                        || (it.ip().is_unspecified() && it.port() == server.port() && server.ip().is_loopback())
                });
                if ours { Asked::Answered } else { Asked::InVain }
            }
            Whom::Machine(_) | Whom::Nobody => Asked::Answered,
        }
    }

    pub(super) fn at(&self, rung: usize, from: InstanceIx, step: usize) -> StepAt {
        let small = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        StepAt { component: self.ix, rung: small(rung), from, step: small(step) }
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
}

fn of_address(address: &Address) -> Asked {
    match address {
        Address::Name { .. } => Asked::NotByName,
        // Asked of our own traffic process, as a client of a route does.
        Address::Socket(_) | Address::ResolvedBy { .. } => Asked::Answered,
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
        | Reason::ServedOn(_)
        | Reason::NeedLost(..)
        | Reason::LagUnknown(_)
        | Reason::LagStopped(_)
        | Reason::NeverStarted(_)
        | Reason::AgentsPathGone => true,
        Reason::AgentLost(_)
        | Reason::AgentsHostGone
        | Reason::Witnesses { .. }
        | Reason::NotSeenDown(_)
        | Reason::AskedByTheLost(..)
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
        | Reason::PlaceTooOld(..)
        | Reason::NotIdempotent(_)
        | Reason::Waits(_)
        | Reason::Unmet(..)
        | Reason::UndoWaits(_)
        | Reason::OutOfReach(_)
        | Reason::VerifiesByName(_)
        | Reason::VerifiesTooBriefly(..)
        | Reason::RouteStuck(_)
        | Reason::BackupLost(..)
        | Reason::RestoreTestFailed(..)
        | Reason::RestoreTooSlow(..)
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
