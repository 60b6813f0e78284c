//! One cell, played: a world in which exactly that is lost and missing, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_engine::{Body, status};
use mainstay_plan::proof::{Cell, Condition, NoRecovery, Reason, Recovery, RestsOn};
use mainstay_plan::{InstanceIx, Plan, RouteIx, Time};
use mainstay_sim::scenario::{KILLS, Loss, Luck, PHASES, recovered};
use mainstay_sim::world::Fault;
use mainstay_sim::{Server, World};

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

pub(crate) struct Stage<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) cell: Cell<'a>,
    /// The instance that fails.
    pub(crate) home: InstanceIx,
}

impl Stage<'_> {
    /// Whether a rung is the one that was proved, or another of its choice: which of them loses least is seen in the failure alone.
    pub(crate) fn is_proved(&self, rung: usize, proved: usize) -> bool {
        let ladder = &self.plan.component(self.cell.component).ladder;
        rung == proved || ladder[rung].choice.is_some() && ladder[rung].choice == ladder[proved].choice
    }

    fn loss(&self) -> Loss<'_> {
        Loss::around(self.plan, self.cell.component, self.cell.failure, self.cell.condition)
    }

    /// All that makes one world differ from another, as long as plan, component and failure are the same.
    fn world(&self, luck: Luck, bound: Duration, usual: Duration, lags: &BTreeMap<InstanceIx, Duration>) -> String {
        let own = [Condition::DnsGone, Condition::AgentsHostGone, Condition::AgentsPathGone];
        let own = own.into_iter().find(|it| *it == self.cell.condition);
        format!("{own:?} {luck:?} {bound:?} {usual:?} {lags:?} {:?}", self.loss().broken(luck.hangs))
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
        self.loss().prepare(&mut world);
        let slowest = plan.probes.iter().map(|it| it.timing.interval).max().unwrap_or_default();
        world.run_for(slowest * 4 + slowest * luck.phase / PHASES + Duration::from_millis(7));
        let killed = luck.killed_at.map(|part| usual * part / KILLS);
        self.loss().strike(&mut world, luck.lost, luck.hangs, killed);
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

    fn completed(&self, world: &World, failed: Time) -> Option<(usize, Duration)> {
        let recoveries = status::recoveries(world.engine()?.state());
        let mine = recoveries.into_iter().filter(|it| it.component == self.cell.component);
        mine.filter_map(|it| Some((it.rung, recovered(it, failed)?))).min_by_key(|it| it.1)
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
                | Reason::PlaceTooOld(..)
                // Those that are seen down before there are too many are recovered.
                | Reason::BlastRadius { .. }
                | Reason::OutOfReach(_)
                | Reason::VerifiesTooBriefly(..)
        )
    };
    none.because.iter().any(|it| lucky(&it.why))
}
