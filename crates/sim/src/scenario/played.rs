//! One world, played: what the engine recorded, and when clients were served.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_engine::record::Completion;
use mainstay_engine::state::{Recovery, RecoveryStatus};
use mainstay_engine::{Command, Record, RecoveryId, status};
use mainstay_plan::proof::Condition;
use mainstay_plan::{ComponentIx, InstanceIx, Plan, RouteIx, Time};

use super::{KILLS, Loss, Luck, PHASES};
use crate::world::Fault;
use crate::{Gray, Pace, Server, World};

/// After the last recovery the world goes on for so long, for clients and for what comes after.
const AFTER: Duration = Duration::from_secs(5);

/// What is played, whatever the luck.
pub(super) struct Stage<'a> {
    pub(super) plan: &'a Plan,
    pub(super) loss: &'a Loss<'a>,
    /// What is to be recovered.
    pub(super) lost: Vec<ComponentIx>,
    /// How long it is watched at most.
    pub(super) watched: Duration,
    /// What a recovery takes at most without a condition: within it the agent is killed, if it is.
    pub(super) usual: Duration,
    /// How far standbys are behind, at most.
    pub(super) lags: BTreeMap<InstanceIx, Duration>,
    /// How long people take to do what they are asked for; `None`: nobody does.
    pub(super) people: Option<Duration>,
}

/// A route whose clients are served from here on, or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) at: Time,
    pub(super) route: RouteIx,
    pub(super) served: bool,
}

/// What came of it.
pub(super) struct Played {
    pub(super) luck: Luck,
    pub(super) failed: Time,
    pub(super) changes: Vec<Change>,
    pub(super) records: Vec<(u64, Record)>,
    /// All that began after the failure; empty where no agent is left.
    pub(super) recoveries: Vec<Recovery>,
    pub(super) agent_left: bool,
    pub(super) ended: Time,
}

impl Stage<'_> {
    /// Plays it once.
    pub(super) fn play(&self, luck: Luck) -> Played {
        let mut world = World::at_pace(self.plan.clone(), luck.pace);
        if luck.pace == Pace::Allowed {
            // Any slower would be an impairment of its own.
            for probe in &self.plan.probes {
                world.suffer_gray(Gray::Slow(probe.name.clone(), Some(probe.timing.timeout * 3 / 4)));
            }
            for (ix, lag) in &self.lags {
                world.fault(Duration::ZERO, Fault::Lag(self.plan.instance(*ix).name.clone(), Some(*lag)));
            }
        }
        self.loss.prepare(&mut world);
        let slowest = self.plan.probes.iter().map(|it| it.timing.interval).max().unwrap_or_default();
        world.run_for(slowest * 4 + slowest * luck.phase / PHASES + Duration::from_millis(7));
        let killed = luck.killed_at.map(|part| self.usual * part / KILLS);
        let mut served: Vec<bool> = self.routes().map(|it| self.served(&world, it)).collect();
        let (failed, seen) = (world.now, world.stored().len());
        self.loss.strike(&mut world, luck.lost, luck.hangs, killed);
        let mut changes = Vec::new();
        let (mut shifts, mut seq, mut said) = (u64::MAX, u64::MAX, BTreeSet::new());
        let mut until = failed + self.watched;
        let mut is_over = false;
        while world.now < until {
            if world.shifts() != shifts {
                shifts = world.shifts();
                self.look(&world, &mut served, &mut changes);
            }
            let now = world.engine().map_or(0, |it| it.state().seq);
            if now != seq && !is_over {
                seq = now;
                is_over = self.is_over(&world, failed);
                until = if is_over { world.now + AFTER } else { until };
            }
            let next = world.next_event().unwrap_or(until).min(until);
            let due = self.ask_people(&mut world, &mut said).map_or(next, |it| it.min(next));
            let span = due.since(world.now).max(Duration::from_nanos(1));
            world.run_for(span);
        }
        if world.engine().is_none() && !self.loss.takes_agent() {
            // It was killed late, and comes back.
            world.run_for(self.plan.allowances.agent_restart + AFTER);
        }
        self.look(&world, &mut served, &mut changes);
        let recoveries = world.engine().map(|it| status::recoveries(it.state())).unwrap_or_default();
        Played {
            luck,
            failed,
            changes,
            recoveries: recoveries.into_iter().filter(|it| it.opened >= failed).cloned().collect(),
            records: world.journal().split_off(seen.min(world.stored().len())),
            agent_left: world.engine().is_some(),
            ended: world.now,
        }
    }

    fn routes(&self) -> impl Iterator<Item = RouteIx> + use<> {
        (0u32..).map(RouteIx).take(self.plan.routes.len())
    }

    fn look(&self, world: &World, served: &mut [bool], changes: &mut Vec<Change>) {
        for (route, before) in self.routes().zip(served) {
            let now = self.served(world, route);
            if now != *before {
                *before = now;
                changes.push(Change { at: world.now, route, served: now });
            }
        }
    }

    /// What clients of a route get. Those who know a name alone, and can't resolve it, stay where they were.
    fn served(&self, world: &World, ix: RouteIx) -> bool {
        let route = self.plan.route(ix);
        if self.loss.condition() == Condition::DnsGone && route.dns.is_some() && route.proxy.is_none() {
            let home = route.targets.first().map(|it| self.plan.instance(it.instance));
            return home.is_some_and(|it| world.servers[&it.name] == Server::Up);
        }
        world.behind(ix) == Server::Up
    }

    fn is_over(&self, world: &World, failed: Time) -> bool {
        let Some(engine) = world.engine() else { return false };
        let all = status::recoveries(engine.state());
        let is_recovered =
            |ix: &ComponentIx| all.iter().any(|it| it.component == *ix && recovered(it, failed).is_some());
        !self.lost.is_empty() && self.lost.iter().all(is_recovered)
    }

    /// Lets people do what they have been asked for long enough; says when the next of them is due.
    fn ask_people(&self, world: &mut World, said: &mut BTreeSet<(RecoveryId, Time)>) -> Option<Time> {
        let takes = self.people?;
        let state = world.engine()?.state();
        let asks =
            |ix: &ComponentIx| status::waiting(state, *ix).filter(|it| ["approval", "manual"].contains(&it.1.code()));
        let asked = (0u32..).map(ComponentIx).take(self.plan.components.len());
        let asked: Vec<_> = asked.filter_map(|it| asks(&it)).filter(|it| !said.contains(&(it.0, it.2))).collect();
        let mut due = None;
        for (recovery, _, since) in asked {
            let at = since + takes;
            if at > world.clock() {
                due = due.into_iter().chain([at]).min();
                continue;
            }
            said.insert((recovery, since));
            for by in self.people() {
                let reason = "played: a person does what is asked for".to_owned();
                let approve = Command::Approve { recovery, overrides: Vec::new(), outcome: None, reason };
                // Whoever may not, or is one too many, is refused.
                let _ = world.speak(approve, &by);
            }
        }
        due
    }

    /// Who can be asked: those whom the plan names, and two whom it does not.
    fn people(&self) -> Vec<String> {
        let named = self.plan.people.iter().map(|it| it.name.clone());
        named.chain(["operator".to_owned(), "another operator".to_owned()]).collect()
    }
}

/// When a recovery ended by what it did, counted from the failure.
pub fn recovered(it: &Recovery, failed: Time) -> Option<Duration> {
    // An agent that was away while its action had its effect finds the instance healthy, as if by itself.
    let by_rung = it.status == RecoveryStatus::RecoveryCompleted
        && match it.completion {
            Some(Completion::ByRung { .. } | Completion::Switched { .. } | Completion::Adopted { .. }) => true,
            Some(Completion::ByItself) => it.irreversible,
            Some(Completion::BySomeoneElse { .. }) | None => false,
        };
    it.ended.filter(|it| by_rung && *it > failed).map(|it| it.since(failed))
}
