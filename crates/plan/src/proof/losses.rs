//! What a rung lacks under one failure and one condition: everything, not only the first thing.

use std::time::Duration;

use super::judge::{Asked, Judge};
use super::reasons::{Reason, StepAt};
use super::{Change, Condition};
use crate::action::{Action, Plane, Service};
use crate::component::Temperature;
use crate::config::scalar;
use crate::location::{FailureDomain, Location};
use crate::observation::Health;
use crate::observation::PLACES_KEPT;
use crate::postgres::PostgresOp;
use crate::probe::{Address, Probe};
use crate::route::Sharing;
use crate::strategy::{Play, Rung, Step, StepKind, Strategy, Whom};
use crate::{InstanceIx, ProbeIx, RouteIx};

/// Something that a rung lacks. Without a change only another rung helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) why: Reason,
    pub(super) change: Option<Change>,
}

impl Loss {
    pub(super) const fn new(why: Reason, change: Change) -> Loss {
        Loss { why, change: Some(change) }
    }

    pub(super) const fn for_good(why: Reason) -> Loss {
        Loss { why, change: None }
    }
}

impl<'a> Judge<'a> {
    /// Everything that a rung lacks when the component is bound to `bound`, and earlier rungs took so long.
    pub(super) fn rung_losses(&self, at: usize, rung: &Rung, bound: InstanceIx, spent: Duration) -> Vec<Loss> {
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
            self.standby_losses(play, rung.strategy, spent, &mut losses);
        }
        self.precondition_losses(at, rung, &mut losses);
        if rung.strategy == Strategy::RestoreFromBackup {
            losses.extend(self.backup_loss(at, rung));
        }
        let ends_lease = play.steps.iter().any(|it| matches!(it.kind, StepKind::EndLease { .. }));
        if self.a_server_is_lost() && !ends_lease {
            let cut = play.steps.iter().filter_map(|it| match &it.kind {
                StepKind::CutTraffic { routes, .. } => Some(routes),
                StepKind::Stop { .. }
                | StepKind::EndLease { .. }
                | StepKind::CatchUp { .. }
                | StepKind::Act { .. }
                | StepKind::Manual { .. }
                | StepKind::TakeOver { .. }
                | StepKind::Verify { .. } => None,
            });
            let goes_on = cut.flatten().filter(|it| self.plan.silence_cuts(**it).is_none());
            losses.extend(goes_on.map(|it| Loss::new(Reason::ServedOn(*it), Change::CutOnSilence(*it))));
        }
        for (nth, step) in play.steps.iter().enumerate() {
            losses.extend(self.restore_loss(self.at(at, bound, nth), step));
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

    fn standby_losses(&self, play: &Play, strategy: Strategy, spent: Duration, losses: &mut Vec<Loss>) {
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
            if self.is_asked_in_vain(*probe) {
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
        } else if let Some(age) = self.age_when_restarted(to, spent).filter(|it| *it > rpo) {
            losses.push(Loss::new(Reason::PlaceTooOld(to, age), Change::AllowLoss(self.ix, age)));
        }
    }

    /// Whether nobody answers it for want of a name. That the machine of an instance is lost is said of the instance.
    fn is_asked_in_vain(&self, probe: ProbeIx) -> bool {
        match self.asked(self.plan.probe(probe)) {
            Asked::NotByName | Asked::InVain => true,
            Asked::Answered | Asked::NotByHost => false,
        }
    }

    /// How old what a standby reported of its lag may be when its component is seen down: it was asked an interval before,
    /// unless it was asked once more while the failure was in doubt. The guard adds this age to the lag.
    pub(super) fn age_of_lag(&self, standby: InstanceIx) -> Duration {
        let newest = self.lag_probes(standby).map(|it| it.timing.interval + self.plan.answers_within(it)).min();
        newest.unwrap_or_default().saturating_sub(self.patience) + self.age_of_place(standby)
    }

    /// How old what is known of the active instance may be when an agent that was killed on the way sees it down; `None`: no agent is,
    /// or the standby says by itself how far it lags. What the next agent finds was kept an interval ago, and the active one was asked an
    /// interval before that; then the failure was seen, earlier rungs were tried, and nobody looked while no agent was there.
    pub(super) fn age_when_restarted(&self, standby: InstanceIx, spent: Duration) -> Option<Duration> {
        let says_where = self.lag_probes(standby).all(|it| it.kind.reports_place());
        (self.condition == Condition::AgentRestarts && says_where).then(|| {
            let allowed = &self.plan.allowances;
            let seen = self.detect(self.home) + self.decide() + self.brake() + spent;
            self.age_of_place(standby) * 2 + seen + allowed.agent_restart + allowed.lateness * 2
        })
    }

    /// How far a standby may lag so that the agent that is killed on the way leaves it fit to take over, where that counts: up to
    /// there each place of the active one is kept.
    pub(super) fn kept_lag(&self, standby: InstanceIx, spent: Duration) -> Option<Duration> {
        let age = self.age_when_restarted(standby, spent)?;
        let probes = self.plan.instance(self.home).probes.iter().map(|it| self.plan.probe(*it));
        let tellers = probes.filter(|it| it.kind.reports_place()).count().max(1);
        let each = self.age_of_place(standby) / u32::try_from(tellers).unwrap_or(u32::MAX);
        let kept = each * u32::try_from(PLACES_KEPT - 2).unwrap_or(u32::MAX);
        Some(self.component.objectives.rpo?.saturating_sub(age).min(kept))
    }

    /// How long before the failure the active instance may have said last where it is: what it acknowledged since then no place of a
    /// standby shows.
    fn age_of_place(&self, standby: InstanceIx) -> Duration {
        let places = |of: InstanceIx| {
            let probes = self.plan.instance(of).probes.iter().map(|it| self.plan.probe(*it));
            probes.filter(|it| it.kind.reports_place()).map(|it| it.timing.interval).min()
        };
        places(standby).and_then(|_| places(self.home)).unwrap_or_default()
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
                for probe in probes.iter().filter(|it| self.is_asked_in_vain(**it)) {
                    losses.push(Loss::new(Reason::VerifiesByName(*probe), Change::UseAddress(*probe)));
                }
                let needs = self.verify_time(probes);
                if step.timeout <= needs {
                    losses.push(Loss::new(Reason::VerifiesTooBriefly(at, needs), Change::VerifyLonger(at, needs)));
                }
            }
            // It is over in its time, whether or not anybody on the other side hears of it.
            StepKind::EndLease { .. } => {}
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
    pub(super) fn is_stuck(&self, route: RouteIx) -> bool {
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

    /// What restore tests say against a restore.
    fn restore_loss(&self, at: StepAt, step: &Step) -> Option<Loss> {
        let (nth, backup) = self.restored(step)?;
        let of = u32::try_from(nth).unwrap_or(u32::MAX);
        if backup.measured.is_some_and(|it| it.failed) {
            return Some(Loss::for_good(Reason::RestoreTestFailed(self.ix, of)));
        }
        let is_slow = backup.restores_within().is_some_and(|it| it > step.timeout);
        is_slow.then(|| Loss::for_good(Reason::RestoreTooSlow(self.ix, of, at)))
    }

    /// The first place of a backup that is there, and the loss from there.
    pub(super) fn backup_place(&self, backup: usize) -> Option<(u32, Duration)> {
        let places = self.component.backups.get(backup)?.places().zip(0u32..);
        let mut there = places.filter(|((location, _), _)| !self.in_lost_domain(location));
        let ((first, loss), at) = there.next()?;
        if self.condition != Condition::BackupsLocationGone {
            return Some((at, loss));
        }
        let narrowest = narrowest(first);
        there.find(|((other, _), _)| !first.shares(other, narrowest)).map(|((_, loss), at)| (at, loss))
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

fn by_name(address: &Address) -> bool {
    matches!(address, Address::Name { .. })
}

fn follows_by_name(op: &PostgresOp) -> bool {
    match op {
        PostgresOp::Promote | PostgresOp::Restore { .. } => false,
        PostgresOp::Keep(keeping) => keeping.servers.iter().any(|it| by_name(&it.address)),
        PostgresOp::Follow { leader } | PostgresOp::Rejoin { leader, .. } => by_name(&leader.address),
    }
}

pub(super) fn acts_by_name(action: &Action) -> bool {
    match action {
        Action::Webhook { url, .. } => scalar::url(url).is_ok_and(|it| matches!(it.address, Address::Name { .. })),
        Action::Postgres(postgres) => by_name(&postgres.server.address) || follows_by_name(&postgres.op),
        Action::Service { .. } | Action::Command { .. } | Action::TriggerFile { .. } | Action::EndLease { .. } => false,
    }
}

fn service_of(step: &Step) -> Option<(InstanceIx, &Service)> {
    match &step.kind {
        StepKind::Stop { from, service, .. } => Some((*from, service)),
        StepKind::Act { on, action } => match action.as_ref() {
            Action::Service { service, .. } => Some((*on, service)),
            Action::Command { .. }
            | Action::TriggerFile { .. }
            | Action::Webhook { .. }
            | Action::Postgres(_)
            | Action::EndLease { .. } => None,
        },
        StepKind::EndLease { .. }
        | StepKind::Manual { .. }
        | StepKind::CatchUp { .. }
        | StepKind::CutTraffic { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Verify { .. } => None,
    }
}
