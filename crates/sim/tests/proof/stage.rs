//! One cell, played: a world in which exactly that is lost and missing, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_engine::record::Completion;
use mainstay_engine::state::RecoveryStatus;
use mainstay_engine::{Body, status};
use mainstay_plan::action::Plane;
use mainstay_plan::location::{FailureDomain, Location};
use mainstay_plan::proof::{Cell, Condition, NoRecovery, Reason, Recovery, RestsOn};
use mainstay_plan::rule::{Condition as Says, Expr, Measure, Value};
use mainstay_plan::strategy::Strategy;
use mainstay_plan::{ComponentIx, InstanceIx, Plan, RouteIx, Time};
use mainstay_sim::world::Fault;
use mainstay_sim::{Broken, Gray, Pace, Server, World};

/// Parts of the time between two questions of a probe at which the failure comes.
const PHASES: u32 = 3;

/// Moments at which the agent is killed, spread over the recovery.
const KILLS: u32 = 10;

/// How a world turns out where the plan leaves it open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Luck {
    pace: Pace,
    /// How lost servers look.
    lost: Server,
    /// Whether what can't be done runs into its timeout.
    hangs: bool,
    phase: u32,
    /// Of the time that it takes without being killed, in parts of [`KILLS`].
    killed_at: Option<u32>,
}

impl Luck {
    pub(crate) fn all(condition: Condition) -> Vec<Luck> {
        let mut all = Vec::new();
        for (pace, lost, hangs) in [
            (Pace::Quick, Server::Dead, false),
            (Pace::Quick, Server::Hung, true),
            (Pace::Allowed, Server::Dead, false),
            (Pace::Allowed, Server::Hung, true),
        ] {
            let kills: Vec<Option<u32>> = match condition {
                Condition::AgentRestarts => (0..KILLS).map(Some).collect(),
                Condition::None
                | Condition::RegionalControlGone
                | Condition::GlobalControlGone
                | Condition::AgentsHostGone
                | Condition::AgentsPathGone
                | Condition::CoordinationStoreGone
                | Condition::DnsGone
                | Condition::BackupsLocationGone => vec![None],
            };
            for killed_at in kills {
                // With many moments to be killed at, one phase for each is enough.
                let phases = killed_at.map_or(0..PHASES, |it| it % PHASES..it % PHASES + 1);
                all.extend(phases.map(|phase| Luck { pace, lost, hangs, phase, killed_at }));
            }
        }
        all
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Played {
    /// The rung that completed the recovery, and when, counted from the failure.
    pub(crate) completed: Option<(usize, Duration)>,
    /// Whether the clients of all its routes are served.
    pub(crate) served: bool,
    /// Whether the clients of all that it depends on are served, it among them.
    pub(crate) needs_served: bool,
    /// Whether it began before something that it depends on was seen down.
    pub(crate) ahead: bool,
}

/// Worlds that were played. Many conditions make no difference to what happens, and one world is played once.
pub(crate) type Seen = BTreeMap<String, Played>;

/// How long the answers of a probe may take at most if its instance is to count as whole: what a rule takes for slow is a
/// failure of its own.
fn no_slower(plan: &Plan) -> Vec<(String, Duration)> {
    fn collect(plan: &Plan, expr: &Expr, found: &mut Vec<(String, Duration)>) {
        match &expr.what {
            Says::All(parts) | Says::Any(parts) => parts.iter().for_each(|it| collect(plan, it, found)),
            Says::Not(part) | Says::For { held: part, .. } => collect(plan, part, found),
            Says::Compare { left, right, .. } => {
                if let (Measure::Latency { probe, .. }, Measure::Constant(Value::Duration(than))) =
                    (&left.what, &right.what)
                {
                    found.push((plan.probe(*probe).name.clone(), *than / 2));
                }
            }
        }
    }
    let mut found = Vec::new();
    plan.rules.iter().for_each(|it| collect(plan, &it.when, &mut found));
    found
}

pub(crate) struct Stage<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) cell: Cell<'a>,
    /// The instance that fails.
    pub(crate) home: InstanceIx,
}

impl Stage<'_> {
    fn home_location(&self) -> &Location {
        &self.plan.instance(self.home).location
    }

    fn takes(&self, location: &Location) -> bool {
        self.home_location().shares(location, self.cell.failure)
    }

    fn takes_instance(&self, ix: InstanceIx) -> bool {
        ix == self.home || self.takes(&self.plan.instance(ix).location) || self.takes_part_of(ix)
    }

    /// Whether an instance lives on a part that the failed one lives on, or something that it needs and is lost with it: what
    /// takes a zone down takes what any of them live on.
    fn takes_part_of(&self, ix: InstanceIx) -> bool {
        if self.cell.failure == FailureDomain::Instance {
            return false;
        }
        let it = self.plan.instance(ix);
        let mut open = vec![self.cell.component];
        let mut seen = BTreeSet::new();
        while let Some(next) = open.pop().filter(|_| !it.shares.is_empty()) {
            let component = self.plan.component(next);
            let original = self.plan.instance(component.original());
            let lost = next == self.cell.component || self.takes(&original.location);
            if lost && it.shares.iter().any(|it| original.shares.contains(it)) {
                return true;
            }
            open.extend(component.depends_on.iter().copied().filter(|it| seen.insert(*it)));
        }
        false
    }

    fn broken(&self, hangs: bool) -> Broken {
        let mut broken = Broken { hangs, ..Broken::default() };
        for (it, ix) in self.plan.instances.iter().zip((0u32..).map(InstanceIx)) {
            let machine = ix != self.home || self.cell.failure != FailureDomain::Instance;
            let cut_off = self.cell.condition == Condition::AgentsPathGone && !self.is_local(ix);
            if (self.takes_instance(ix) && machine) || cut_off {
                broken.machines.insert(it.name.clone());
            }
        }
        match self.cell.condition {
            Condition::RegionalControlGone => drop(broken.planes.insert(Plane::RegionalControl)),
            Condition::GlobalControlGone => drop(broken.planes.insert(Plane::GlobalControl)),
            Condition::DnsGone => broken.dns = true,
            Condition::None
            | Condition::AgentsHostGone
            | Condition::AgentsPathGone
            | Condition::CoordinationStoreGone
            | Condition::BackupsLocationGone
            | Condition::AgentRestarts => {}
        }
        broken.prepared =
            (0..self.plan.prepared.len()).filter(|it| self.takes(&self.plan.prepared[*it].location)).collect();
        for (component, ix) in self.plan.components.iter().zip((0u32..).map(ComponentIx)) {
            for (at, rung) in component.ladder.iter().enumerate() {
                if self.rung_is_void(ix, rung.strategy, rung.backup) {
                    broken.rungs.insert((ix, at));
                }
            }
        }
        broken
    }

    fn is_local(&self, ix: InstanceIx) -> bool {
        self.plan.site.location.shares(&self.plan.instance(ix).location, FailureDomain::Host)
    }

    /// Whether what a rung of the user's own is for is not there.
    fn rung_is_void(&self, ix: ComponentIx, strategy: Strategy, backup: Option<usize>) -> bool {
        let component = self.plan.component(ix);
        let far = matches!(self.cell.failure, FailureDomain::Zone | FailureDomain::Region);
        let lost = self.takes_instance(component.original());
        if self.cell.condition == Condition::AgentsPathGone && !self.is_local(component.original()) {
            return !matches!(strategy, Strategy::RestartService | Strategy::FailoverToStandby);
        }
        match strategy {
            Strategy::RestartService | Strategy::FailoverToStandby => false,
            Strategy::ReplaceInstance | Strategy::ScaleOut => lost && far,
            Strategy::RestoreFromBackup => {
                let machine = lost && self.cell.failure != FailureDomain::Instance;
                let gone = self.cell.condition == Condition::BackupsLocationGone;
                let Some(backup) = backup.map(|it| &component.backups[it]) else { return machine || gone };
                let left: Vec<&Location> = backup.places().map(|it| it.0).filter(|it| !self.takes(it)).collect();
                let Some(first) = left.first() else { return true };
                machine || (gone && left.iter().all(|it| it == first))
            }
        }
    }

    /// All that makes one world differ from another, as long as plan, component and failure are the same.
    fn world(&self, luck: Luck, bound: Duration, usual: Duration, lags: &BTreeMap<InstanceIx, Duration>) -> String {
        let own = [Condition::DnsGone, Condition::AgentsHostGone, Condition::AgentsPathGone];
        let own = own.into_iter().find(|it| *it == self.cell.condition);
        format!("{own:?} {luck:?} {bound:?} {usual:?} {lags:?} {:?}", self.broken(luck.hangs))
    }

    /// Plays a world, or remembers it; with itself, if it was played.
    pub(crate) fn play(
        &self,
        luck: Luck,
        bound: Duration,
        usual: Duration,
        lags: &BTreeMap<InstanceIx, Duration>,
        seen: &mut Seen,
    ) -> (Played, Option<World>) {
        let key = self.world(luck, bound, usual, lags);
        if let Some(played) = seen.get(&key) {
            return (*played, None);
        }
        let plan = self.plan;
        let mut world = World::at_pace(plan.clone(), luck.pace);
        for (ix, lag) in lags {
            world.fault(Duration::ZERO, Fault::Lag(plan.instance(*ix).name.clone(), Some(*lag)));
        }
        if self.cell.condition == Condition::DnsGone {
            world.fault(Duration::ZERO, Fault::Breaks(Box::new(Broken { dns: true, ..Broken::default() })));
        }
        for (probe, takes) in no_slower(plan) {
            world.suffer_gray(Gray::Slow(probe, Some(takes)));
        }
        let slowest = plan.probes.iter().map(|it| it.timing.interval).max().unwrap_or_default();
        world.run_for(slowest * 4 + slowest * luck.phase / PHASES + Duration::from_millis(7));
        self.strike(&mut world, luck, usual);
        let failed = world.now;
        let mut played = Played::default();
        let until = failed + bound.max(Duration::from_secs(1)) + Duration::from_secs(1);
        while world.now < until && played.completed.is_none() {
            world.run_for(Duration::from_millis(250).min(until.since(world.now)));
            played.completed = self.completed(&world, failed);
        }
        world.run_for(Duration::from_secs(5));
        played.served = (plan.component(self.cell.component).routes.iter()).all(|it| self.is_served(&world, *it));
        played.needs_served = self.needs_are_served(&world);
        played.ahead = self.began_ahead(&world);
        seen.insert(key, played);
        (played, Some(world))
    }

    /// Everything in the lost domain goes at once, and the condition with it.
    fn strike(&self, world: &mut World, luck: Luck, usual: Duration) {
        let now = Duration::ZERO;
        for (it, ix) in self.plan.instances.iter().zip((0u32..).map(InstanceIx)) {
            if self.takes_instance(ix) {
                world.fault(now, Fault::Server(it.name.clone(), luck.lost));
            }
        }
        for it in self.plan.witnesses.iter().filter(|it| self.takes(&it.location)) {
            world.fault(now, Fault::Server(it.name.clone(), luck.lost));
        }
        world.fault(now, Fault::Breaks(Box::new(self.broken(luck.hangs))));
        let gone = self.cell.condition == Condition::AgentsHostGone;
        if gone || self.takes(&self.plan.site.location) {
            world.fault(now, Fault::AgentsMachineGone);
        }
        if self.cell.condition == Condition::AgentsPathGone {
            world.fault(now, Fault::OwnPath(true));
        }
        if let Some(part) = luck.killed_at {
            world.fault(usual * part / KILLS, Fault::AgentKilled(self.plan.allowances.agent_restart));
        }
        world.run_for(now);
    }

    fn completed(&self, world: &World, failed: Time) -> Option<(usize, Duration)> {
        let recoveries = status::recoveries(world.engine()?.state());
        let mine = recoveries.into_iter().filter(|it| it.component == self.cell.component);
        // An agent that was away while its action had its effect finds the instance healthy, as if by itself.
        let by_rung = |it: &&mainstay_engine::state::Recovery| {
            it.status == RecoveryStatus::RecoveryCompleted
                && match it.completion {
                    Some(Completion::ByRung { .. } | Completion::Switched { .. } | Completion::Adopted { .. }) => true,
                    Some(Completion::ByItself) => it.irreversible,
                    Some(Completion::BySomeoneElse { .. }) | None => false,
                }
        };
        let done = mine.filter(by_rung).filter_map(|it| Some((it.rung, it.ended?.since(failed)))).min_by_key(|it| it.1);
        done.filter(|(_, after)| !after.is_zero())
    }

    /// What clients of a route get. Those who know a name alone, and can't resolve it, stay where they were.
    fn is_served(&self, world: &World, ix: RouteIx) -> bool {
        let route = self.plan.route(ix);
        let up = |name: &str| world.servers[name] == Server::Up;
        if self.cell.condition == Condition::DnsGone && route.dns.is_some() && route.proxy.is_none() {
            return up(&self.plan.instance(self.home).name);
        }
        world.open_to_clients(ix).into_iter().any(up)
    }

    fn needs_are_served(&self, world: &World) -> bool {
        let mut open = self.plan.component(self.cell.component).depends_on.clone();
        let mut seen = BTreeSet::new();
        while let Some(next) = open.pop() {
            if !seen.insert(next) {
                continue;
            }
            let component = self.plan.component(next);
            let home = component.original();
            let served = |it: &RouteIx| {
                let route = self.plan.route(*it);
                let by_name_alone = route.dns.is_some() && route.proxy.is_none();
                if self.cell.condition == Condition::DnsGone && by_name_alone {
                    return world.servers[&self.plan.instance(home).name] == Server::Up;
                }
                self.is_served(world, *it)
            };
            if !component.routes.iter().all(served) {
                return false;
            }
            open.extend(&component.depends_on);
        }
        true
    }

    /// Nothing waits for a dependency that was not seen down yet.
    fn began_ahead(&self, world: &World) -> bool {
        let component = &self.plan.component(self.cell.component).name;
        let needs: BTreeSet<&str> = (self.plan.component(self.cell.component).depends_on.iter())
            .map(|it| self.plan.component(*it).name.as_str())
            .collect();
        if needs.is_empty() {
            return false;
        }
        let Some(engine) = world.engine() else { return false };
        let recoveries = status::recoveries(engine.state());
        for (_, record) in world.journal() {
            if let Body::FailureDetected { component: of, .. } = &record.body
                && needs.contains(of.as_str())
            {
                return false;
            }
            if let Body::StepStarted { step, .. } = &record.body
                && recoveries.iter().any(|it| it.id == step.recovery && it.component_name == *component)
            {
                return true;
            }
        }
        false
    }
}

/// What happened, for a complaint.
pub(crate) fn told(world: Option<&World>) -> String {
    let Some(world) = world else { return "as in a world before".to_owned() };
    let said = |(_, it): (u64, mainstay_engine::Record)| format!("{:?} {:?}", it.at, it.body);
    world.journal().into_iter().map(said).collect::<Vec<String>>().join("\n")
}

/// As far behind as the proof lets standbys be.
pub(crate) fn lags(recovery: &Recovery) -> BTreeMap<InstanceIx, Duration> {
    let lag = |it: &RestsOn| if let RestsOn::StandbyLag(ix, most) = it { Some((*ix, *most)) } else { None };
    recovery.rests_on.iter().filter_map(lag).collect()
}

/// Whether it depends on the moment alone that an unproved cell is recovered all the same.
pub(crate) fn may_be_lucky(none: &NoRecovery) -> bool {
    let lucky = |it: &Reason| {
        matches!(
            it,
            Reason::NotIdempotent(_)
                | Reason::Waits(_)
                | Reason::UndoWaits(_)
                | Reason::LagTooSeldom(..)
                // Those that are seen down before there are too many are recovered.
                | Reason::BlastRadius { .. }
                | Reason::OutOfReach(_)
                | Reason::VerifiesTooBriefly(..)
        )
    };
    none.because.iter().any(|it| lucky(&it.why))
}
