//! The proof against the engine: every cell of every example is played in virtual time. What the proof promises happens
//! within the time that it says, and what it does not promise does not happen.

mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use mainstay_engine::record::Completion;
use mainstay_engine::state::RecoveryStatus;
use mainstay_engine::status;
use mainstay_plan::action::Plane;
use mainstay_plan::component::Temperature;
use mainstay_plan::location::{FailureDomain, Location};
use mainstay_plan::policy::Mode;
use mainstay_plan::proof::{Cell, Condition, NoRecovery, Reason, Recovery, RestsOn};
use mainstay_plan::routing::TargetState;
use mainstay_plan::strategy::Strategy;
use mainstay_plan::{ComponentIx, InstanceIx, Plan, Proof, RouteIx};
use mainstay_sim::world::Fault;
use mainstay_sim::{Broken, Pace, Server, World};

/// Cells that can't be played, with the reason. A cell that joins them has to be named here.
const NOT_PLAYED: &[(&str, &str)] = &[];

/// How long a world without a recovery is watched.
const WATCHED: Duration = Duration::from_secs(240);

/// Parts of the time between two questions of a probe at which the failure comes.
const PHASES: u32 = 3;

/// Moments at which the agent is killed, spread over the recovery.
const KILLS: u32 = 10;

/// The examples, with nobody to be asked.
fn plans() -> Vec<(String, Plan)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let entries = fs::read_dir(dir).expect("there are examples").map(|it| it.expect("readable").path());
    let mut paths: Vec<_> = entries.filter(|it| it.extension().is_some_and(|it| it == "yaml")).collect();
    paths.sort();
    let read = |it: &std::path::PathBuf| {
        let name = it.file_stem().and_then(|it| it.to_str()).expect("a name").to_owned();
        (name, asked_nobody(fixture::plan(&fs::read_to_string(it).expect("readable"))))
    };
    let mut plans: Vec<(String, Plan)> = paths.iter().map(read).collect();
    for (name, text) in [("sim/database", fixture::DATABASE), ("sim/files", fixture::FILES)] {
        plans.push((name.to_owned(), asked_nobody(fixture::plan(text))));
    }
    plans
}

/// A person's approval is not part of a bound.
fn asked_nobody(mut plan: Plan) -> Plan {
    plan.mode = Mode::Act;
    for component in &mut plan.components {
        component.guards.approval = None;
    }
    plan
}

/// How a world turns out where the plan leaves it open.
#[derive(Clone, Copy, Debug)]
struct Luck {
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
    fn all(condition: Condition) -> Vec<Luck> {
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
                all.extend((0..PHASES).map(|phase| Luck { pace, lost, hangs, phase, killed_at }));
            }
        }
        all
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
struct Played {
    /// The rung that completed the recovery, and when, counted from the failure.
    completed: Option<(usize, Duration)>,
    /// Whether the clients of all its routes are served.
    served: bool,
    /// Whether it began before something that it depends on was seen down.
    ahead: bool,
    text: String,
}

struct Stage<'a> {
    plan: &'a Plan,
    cell: Cell<'a>,
    home: InstanceIx,
}

impl Stage<'_> {
    fn home_location(&self) -> &Location {
        &self.plan.instance(self.home).location
    }

    fn takes(&self, location: &Location) -> bool {
        self.home_location().shares(location, self.cell.failure)
    }

    fn takes_instance(&self, ix: InstanceIx) -> bool {
        let (home, it) = (self.plan.instance(self.home), self.plan.instance(ix));
        let parts = self.cell.failure != FailureDomain::Instance && it.shares.iter().any(|it| home.shares.contains(it));
        ix == self.home || self.takes(&it.location) || parts
    }

    fn broken(&self, hangs: bool) -> Broken {
        let mut broken = Broken { hangs, ..Broken::default() };
        for (it, ix) in self.plan.instances.iter().zip((0u32..).map(InstanceIx)) {
            let machine = ix != self.home || self.cell.failure != FailureDomain::Instance;
            if self.takes_instance(ix) && machine {
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
        for (component, ix) in self.plan.components.iter().zip((0u32..).map(ComponentIx)) {
            for (at, rung) in component.ladder.iter().enumerate() {
                if self.rung_is_void(ix, rung.strategy, rung.backup) {
                    broken.rungs.insert((ix, at));
                }
            }
        }
        broken
    }

    /// Whether what a rung of the user's own is for is not there.
    fn rung_is_void(&self, ix: ComponentIx, strategy: Strategy, backup: Option<usize>) -> bool {
        let component = self.plan.component(ix);
        let far = matches!(self.cell.failure, FailureDomain::Zone | FailureDomain::Region);
        let lost = self.takes_instance(component.original());
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

    fn play(&self, luck: Luck, bound: Duration, usual: Duration, lags: &BTreeMap<InstanceIx, Duration>) -> Played {
        let plan = self.plan;
        let mut world = World::at_pace(plan.clone(), luck.pace);
        for (ix, lag) in lags {
            world.fault(Duration::ZERO, Fault::Lag(plan.instance(*ix).name.clone(), Some(*lag)));
        }
        if self.cell.condition == Condition::DnsGone {
            world.fault(Duration::ZERO, Fault::Breaks(Box::new(Broken { dns: true, ..Broken::default() })));
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
        played.ahead = self.began_ahead(&world);
        played.text = world.engine().map_or_else(String::new, |it| format!("{:#?}", status::recoveries(it.state())));
        played
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

    fn completed(&self, world: &World, failed: mainstay_plan::Time) -> Option<(usize, Duration)> {
        let recoveries = status::recoveries(world.engine()?.state());
        let mine = recoveries.into_iter().filter(|it| it.component == self.cell.component);
        // An agent that was away while its action had its effect finds the instance healthy, as if by itself.
        let by_rung = |it: &&mainstay_engine::state::Recovery| {
            it.status == RecoveryStatus::RecoveryCompleted
                && match it.completion {
                    Some(Completion::ByRung { .. }) => true,
                    Some(Completion::ByItself) => it.irreversible,
                    None => false,
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
        let Some(entry) = world.table.routes.iter().find(|it| it.name == route.name) else { return false };
        let serving: Vec<&str> = (entry.targets.iter())
            .filter(|it| it.state == TargetState::Serving)
            .map(|it| it.instance.as_str())
            .collect();
        // A shared route that has nothing else fails open.
        let open = !entry.exclusive && serving.is_empty();
        serving.iter().any(|it| up(it)) || (open && entry.targets.iter().any(|it| up(&it.instance)))
    }

    /// Nothing waits for a dependency that was not seen down yet.
    fn began_ahead(&self, world: &World) -> bool {
        let component = &self.plan.component(self.cell.component).name;
        let needs: BTreeSet<&str> = (self.plan.component(self.cell.component).depends_on.iter())
            .map(|it| self.plan.component(*it).name.as_str())
            .collect();
        for (_, record) in world.journal() {
            match &record.body {
                mainstay_engine::Body::FailureDetected { component: of, .. } if needs.contains(of.as_str()) => {
                    return false;
                }
                mainstay_engine::Body::StepStarted { step, .. } => {
                    let of = world.engine().and_then(|it| {
                        let all = status::recoveries(it.state());
                        all.into_iter().find(|it| it.id == step.recovery).map(|it| it.component_name.clone())
                    });
                    if of.as_ref() == Some(component) {
                        return !needs.is_empty();
                    }
                }
                _ => {}
            }
        }
        false
    }

    /// Why a cell can't be played.
    fn not_played(&self) -> Option<&'static str> {
        let cold = |it: &InstanceIx| self.plan.instance(*it).temperature == Temperature::Cold;
        let instances = &self.plan.component(self.cell.component).instances;
        (self.cell.condition == Condition::RegionalControlGone && instances.iter().any(cold))
            .then_some("a cold standby of this world needs nothing to be started")
    }
}

/// As far behind as the proof lets standbys be.
fn lags(recovery: &Recovery) -> BTreeMap<InstanceIx, Duration> {
    let lag = |it: &RestsOn| match it {
        RestsOn::StandbyLag(ix, most) => Some((*ix, *most)),
        _ => None,
    };
    recovery.rests_on.iter().filter_map(lag).collect()
}

/// Whether it depends on the moment alone that an unproved cell is recovered all the same.
fn may_be_lucky(none: &NoRecovery) -> bool {
    let lucky = |it: &Reason| {
        matches!(it, Reason::NotIdempotent(_) | Reason::Waits(_) | Reason::LagTooSeldom(..) | Reason::OutOfReach(_))
    };
    none.because.iter().any(|it| lucky(&it.why))
}

#[test]
fn every_cell_of_every_example_is_what_happens() {
    let mut complaints = Vec::new();
    let mut not_played: Vec<(String, &str)> = Vec::new();
    let (mut cells, mut runs, mut slack) = (0, 0, BTreeMap::<&str, f64>::new());
    for (name, plan) in plans() {
        let proof = Proof::of(&plan);
        for cell in proof.cells() {
            let stage = Stage { plan: &plan, cell, home: plan.component(cell.component).original() };
            let what = format!(
                "{name}: {} / {} / {}",
                plan.component(cell.component).name,
                cell.failure.word(),
                cell.condition.word()
            );
            if let Some(why) = stage.not_played() {
                not_played.push((what, why));
                continue;
            }
            cells += 1;
            let usual = proof.cell(cell.component, cell.failure, Condition::None).expect("a cell").verdict;
            let usual = usual.as_ref().map_or(Duration::from_secs(60), |it| it.completed);
            let lucks = Luck::all(cell.condition);
            runs += lucks.len();
            match cell.verdict {
                Ok(recovery) => {
                    let mut used: f64 = 0.0;
                    for luck in lucks {
                        let lags = lags(recovery);
                        let played = stage.play(luck, recovery.completed, usual, &lags);
                        match played.completed {
                            Some((rung, after))
                                if rung == recovery.rung && after <= recovery.completed && played.served =>
                            {
                                used = used.max(after.as_secs_f64() / recovery.completed.as_secs_f64());
                            }
                            other => complaints.push(format!(
                                "{what}: proved by rung {} within {:?}, but {other:?} (served: {}) with {luck:?}\n{}",
                                recovery.rung, recovery.completed, played.served, played.text
                            )),
                        }
                    }
                    let most = slack.entry(cell.condition.word()).or_default();
                    *most = most.max(used);
                }
                Err(none) => {
                    let mut recovered = 0;
                    for luck in &lucks {
                        let played = stage.play(*luck, WATCHED, usual, &BTreeMap::new());
                        if played.completed.is_some() && played.served && !played.ahead {
                            recovered += 1;
                            if !may_be_lucky(none) {
                                complaints.push(format!("{what}: not proved, but {played:?} with {luck:?}"));
                            }
                        }
                    }
                    if recovered == lucks.len() && may_be_lucky(none) {
                        complaints.push(format!("{what}: not proved, but recovered whatever happens"));
                    }
                }
            }
        }
    }
    println!("{cells} cells played in {runs} worlds; of the bound at most used: {slack:?}");
    let few: Vec<String> = complaints.iter().take(6).cloned().collect();
    assert!(complaints.is_empty(), "{} complaints, the first:\n{}", complaints.len(), few.join("\n"));
    let listed: Vec<(&str, &str)> = not_played.iter().map(|(what, why)| (what.as_str(), *why)).collect();
    assert_eq!(listed, NOT_PLAYED);
}
