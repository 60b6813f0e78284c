//! A trial: from one seed a plan, a subset of the kinds of fault, and what happens when. First everything may break, and
//! nothing that must always hold may be broken by it; then everything works again, people do what they are asked for, and
//! all of it has to be well, or to say whom it waits for.
//!
//! The same seed gives the same trial, event by event, on every machine and however it was built.

mod coverage;
mod faults;
mod moments;
pub(crate) mod people;
mod plans;
mod promise;
mod rare;
mod shrink;
mod story;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::time::Duration;

use mainstay_engine::replay::replay_read;
use mainstay_engine::state::State;
use mainstay_engine::status;
use mainstay_plan::observation::Health;
use mainstay_plan::{ComponentIx, Plan};

pub use coverage::{Coverage, EXCUSED};
pub use faults::{FaultKind, What};
pub use moments::Moment;
pub use plans::{Stage, count as plans_count, named, stage};
pub use promise::{Kept, Promise};
pub use shrink::shrink;
pub use story::tell;

use crate::broken::Pace;
use crate::checkers::{self, Checkers};
use crate::dice::Dice;
use crate::world::{Crash, Fault, Server, World};

/// An invariant that was violated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its code, as in the table of [`crate::checkers`]; `panic` where the engine itself gave up.
    pub code: String,
    /// What was seen.
    pub text: String,
}

/// Something that happens, and when.
#[derive(Clone, Debug)]
pub struct Item {
    /// What is waited for after the one before, if anything.
    pub moment: Option<Moment>,
    /// How long after that.
    pub after: Duration,
    /// Of which kind it is.
    pub kind: FaultKind,
    /// What.
    pub what: What,
}

/// What a trial is made of.
#[derive(Clone, Debug)]
pub struct Trial {
    /// All of it follows from this.
    pub seed: u64,
    /// The plan.
    pub stage: Arc<Stage>,
    /// The kinds of fault that are switched on.
    pub kinds: BTreeSet<FaultKind>,
    /// Whether, before anything else, one failure is watched on which the proof has an opinion: which promise, and how it
    /// fails.
    pub promise: Option<(usize, Server)>,
    /// What happens.
    pub script: Vec<Item>,
}

/// What came of a trial.
#[derive(Debug)]
pub struct Run {
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// The world as it was in the end, or when that was seen.
    pub world: World,
    /// What was reached.
    pub coverage: Coverage,
}

/// What follows soon follows within so many milliseconds.
const SOON: u64 = 300;

/// What follows at once follows before anything that takes long is over.
const AT_ONCE: u64 = 20;

/// An agent that is started with another plan is away so long.
const RESTART: Duration = Duration::from_millis(500);

/// At most so many things happen.
const LONGEST: u64 = 14;

/// How long everything works before the trial ends, at most: cool-downs and back-offs have to pass, and what hung before has
/// the time that its step has.
const HEALED: Duration = Duration::from_secs(1800);

/// How long the last message to people may be on its way in the end.
const CARRIED: Duration = Duration::from_secs(30);

impl Trial {
    /// Draws the trial of a seed.
    pub fn of(seed: u64) -> Trial {
        let mut dice = Dice::new(seed);
        let mut found = None;
        while found.is_none() {
            // Those that are not drawn are made to have what is rare.
            let of = if dice.once_in(2) { plans::named_count() } else { plans::count() };
            found = stage(dice.below(of));
        }
        let mut later = Dice::named(seed, "plans that came later");
        if later.once_in(20) {
            found = stage(plans::count() + later.below(plans::LATER));
        }
        let mut trial = Trial::on(seed, found.expect("it was just found"), &mut dice);
        trial.goes_wrong_later(&mut Dice::named(seed, "kinds that came later"));
        trial.begins_rarely(&mut Dice::named(seed, "what is rare"));
        trial.crash_loops(&mut Dice::named(seed, "crash loops"));
        trial
    }

    /// Half of the seeds have kinds of faults that came later, among what they had before.
    fn goes_wrong_later(&mut self, dice: &mut Dice) {
        if dice.once_in(2) {
            return;
        }
        let share = 1 + dice.below(4);
        let later = FaultKind::ALL.iter().copied().filter(|it| it.came_later() && !it.is_apart());
        let on: Vec<FaultKind> = later.filter(|_| dice.once_in(share)).collect();
        for _ in 0..=dice.below(4) {
            let Some(kind) = dice.pick(&on) else { return };
            let at = usize::try_from(dice.below(self.script.len() as u64 + 1)).unwrap_or(0);
            let next = self.script.get(at).map_or(Duration::from_secs(4), |it| it.after);
            let after = dice.millis(u64::try_from(next.as_millis()).unwrap_or(0));
            if let Some(what) = faults::draw(kind, dice, &self.stage.plan) {
                if let Some(next) = self.script.get_mut(at) {
                    next.after -= after;
                }
                self.script.insert(at, Item { moment: None, after, kind, what });
                self.kinds.insert(kind);
            }
        }
    }

    /// Draws the trial of a seed on a plan.
    pub fn on(seed: u64, stage: Arc<Stage>, dice: &mut Dice) -> Trial {
        // Few kinds together go deeper than all of them at once.
        let share = 2 + dice.below(4);
        let mut kinds: BTreeSet<FaultKind> =
            FaultKind::ALL.iter().copied().filter(|it| !it.came_later() && dice.once_in(share)).collect();
        if dice.once_in(2) {
            kinds.extend(faults::apt(&stage.plan));
        }
        Trial::among(seed, stage, kinds, dice)
    }

    /// Draws the trial of a seed on a plan, with these kinds of faults and the failure of servers.
    pub fn among(seed: u64, stage: Arc<Stage>, mut kinds: BTreeSet<FaultKind>, dice: &mut Dice) -> Trial {
        kinds.insert(FaultKind::Server);
        let on: Vec<FaultKind> = kinds.iter().copied().collect();
        let chosen = dice.below(stage.promises.len() as u64 * 3);
        let how = if dice.once_in(2) { Server::Dead } else { Server::Hung };
        let promise = usize::try_from(chosen).ok().filter(|it| *it < stage.promises.len()).map(|it| (it, how));
        let interval = stage.plan.probes.iter().map(|it| it.timing.interval).max().unwrap_or_default();
        let pause = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).clamp(500, 5_000) * 6;
        let mut script = Vec::new();
        for _ in 0..=dice.below(LONGEST) {
            let mut often = faults::apt(&stage.plan);
            often.extend([FaultKind::Server, FaultKind::Server, FaultKind::People, FaultKind::People]);
            let common = often.into_iter().filter(|it| kinds.contains(it)).collect::<Vec<_>>();
            let kind = if dice.once_in(3) { dice.pick(&common) } else { dice.pick(&on) };
            // What comes in the middle of something else finds more than what comes when all is calm.
            let moment = if dice.once_in(3) { Moment::draw(dice, &stage.plan) } else { None };
            let soon = moment.is_some() || dice.once_in(4);
            let at_once = soon && dice.once_in(2);
            let after = dice.millis(if at_once {
                AT_ONCE
            } else if soon {
                SOON
            } else {
                pause
            });
            let apt = moment.filter(|_| dice.once_in(2)).and_then(|it| dice.pick(it.apt()));
            let Some(kind) = apt.or(kind) else { continue };
            kinds.extend(apt);
            if let Some(what) = faults::draw(kind, dice, &stage.plan) {
                script.push(Item { moment, after, kind, what });
            }
        }
        Trial { seed, stage, kinds, promise, script }
    }

    /// Plays it.
    pub fn run(&self) -> Run {
        self.run_in(World::of(self.stage.plan.clone(), Pace::Quick))
    }

    /// Plays it, and hashes everything that goes into the engine and comes out of it; see [`World::digest`].
    pub fn digest(&self) -> String {
        let mut world = World::of(self.stage.plan.clone(), Pace::Quick);
        world.is_hashed();
        let run = self.run_in(world);
        let violation = run.violation.map_or_else(String::new, |it| format!(" {}", it.code));
        run.world.digest().expect("it was asked for") + &violation
    }

    fn run_in(&self, mut world: World) -> Run {
        let mut coverage = Coverage::default();
        let violation = caught(|| self.play(&mut world, &mut coverage)).err();
        coverage.ended(&world, self);
        Run { violation, world, coverage }
    }

    /// Plays it and tells it: whether everything held, and the story of it. A trial in which something did not is told as
    /// small as it gets, if `shrinks`.
    pub fn told(self, shrinks: bool) -> (bool, String) {
        let run = self.run();
        match &run.violation {
            None => (true, tell(&self, &run)),
            Some(violation) => {
                let smaller = if shrinks { shrink(&self, violation).0 } else { self };
                (false, tell(&smaller, &smaller.run()))
            }
        }
    }

    fn play(&self, world: &mut World, coverage: &mut Coverage) {
        if let Some((nth, how)) = self.promise {
            let kept = promise::keep(world, &self.stage.promises[nth], how);
            coverage.promised(kept);
        }
        let usual = self.stage.plan.probes.iter().map(|it| it.timing.interval).max().unwrap_or_default();
        world.run_for(usual * 2 + Duration::from_secs(1));
        let mut lost = false;
        for item in &self.script {
            if let Some(moment) = item.moment {
                moment.wait(world);
            }
            world.run_for(item.after);
            self.happens(world, &item.what, coverage, &mut lost);
            world.run_for(Duration::ZERO);
            look(world);
        }
        world.run_for(usual * 3);
        look(world);
        self.heal(world, coverage);
        if !lost {
            self.adds_up(world);
        }
        self.replays(world);
    }

    fn happens(&self, world: &mut World, what: &What, coverage: &mut Coverage, lost: &mut bool) {
        if !matches!(what, What::Fault(_) | What::Say(_)) {
            world.happened.push((world.clock(), what.told()));
        }
        match what {
            What::Fault(fault) => world.fault(Duration::ZERO, fault.clone()),
            What::Crash(kind, ahead, down_for) => {
                let seq = world.engine().map_or(0, |it| it.state().seq) + ahead;
                world.crash_at(Crash { seq, kind: *kind, down_for: *down_for });
            }
            What::Torn(kind, down_for) => world.tears_behind(kind, *down_for),
            What::JournalGone(down_for) => {
                *lost = true;
                world.lose_journal(*down_for);
            }
            What::Say(seed) => {
                let now = world.clock();
                let said = world.engine().and_then(|it| people::at_a_whim(it, now, &mut Dice::new(*seed)));
                if let Some((command, by)) = said {
                    coverage.said(&world.speak(command, by));
                }
            }
            What::Reload(next) => {
                // The agent refuses a new plan while a recovery is open, unless it is started with it.
                let open = world.engine().is_none_or(|it| it.state().open_recoveries().next().is_some());
                let plan = if *next { self.stage.next.as_ref() } else { Some(&self.stage.plan) };
                let is_new = |it: &&Arc<Plan>| it.hash != world.plan.hash;
                let Some(plan) = plan.filter(is_new).filter(|_| !world.is_asleep()) else { return };
                if open {
                    world.restarts_under((**plan).clone(), RESTART);
                } else {
                    world.fault(Duration::ZERO, Fault::Reload(Box::new((**plan).clone())));
                }
            }
        }
    }

    /// Everything works again, and whoever is asked does what is asked for, until all is well.
    fn heal(&self, world: &mut World, coverage: &mut Coverage) {
        world.heal();
        let until = world.now + HEALED + longest_step(&self.stage.plan);
        let mut calm = 0;
        while world.now < until && calm < 2 {
            world.run_for(people::TAKES);
            look(world);
            world.outsiders_withdraw();
            let Some(engine) = world.engine() else { continue };
            let done = |key: &str| world.done.iter().any(|(it, _)| it.contains(key));
            for (command, by) in people::as_asked(engine, done) {
                coverage.said(&world.speak(command, by));
            }
            calm = if is_well(world) { calm + 1 } else { 0 };
        }
        let until = world.now + CARRIED;
        while world.now < until && !world.engine().is_some_and(|it| everything_was_told(it.state())) {
            world.run_for(Duration::from_secs(1));
        }
        let engine = world.engine().expect("nothing keeps the agent from running");
        Checkers::after_healing(engine);
        let state = engine.state();
        for (ix, component) in (0u32..).map(ComponentIx).zip(&state.components) {
            let name = &state.plan.component(ix).name;
            let health = state.instances[component.bound.index()].health;
            let waits = status::waiting(state, ix).map(|it| it.1);
            assert!(
                health == Health::Healthy || waits.is_some(),
                "L2: everything works, {name} is {} and nobody says why",
                health.word()
            );
        }
        if let Some((route, held)) = state.routing.held.first_key_value() {
            panic!("L2: everything works, and {} is held: {}", state.plan.route(*route).name, held.kept.objection);
        }
        for channel in &state.plan.notifications {
            let left = state.notices.tray(&channel.name).map_or(0, |it| it.messages.len());
            assert_eq!(left, 0, "L2: everything works, and {} was not told everything", channel.name);
        }
    }

    /// The time to recover, phase by phase, is the whole time.
    fn adds_up(&self, world: &World) {
        let Some(engine) = world.engine() else { return };
        for recovery in status::recoveries(engine.state()).into_iter().filter(|it| it.ended.is_some()) {
            let ended = recovery.ended.expect("it was just asked for");
            let whole = ended.since(recovery.last_good.unwrap_or(recovery.first_failed));
            let sum: Duration = recovery.phases.values().sum();
            assert_eq!(sum, whole, "G5: the phases of {} don't add up", recovery.id);
        }
    }

    fn replays(&self, world: &World) {
        let plans = [Some(&self.stage.plan), self.stage.next.as_ref()];
        let of = |source: &str, _: &str| plans.into_iter().flatten().find(|it| *it.source == *source).cloned();
        checkers::keeps_facts(world.written());
        match replay_read(world.written(), of) {
            Ok(replayed) => {
                assert!(replayed.misfits.is_empty(), "S10: records came where they can't come: {:?}", replayed.misfits);
            }
            Err(error) => panic!("S10: {error}"),
        }
    }
}

/// L2, if an agent is there to be asked.
fn look(world: &World) {
    if let Some(engine) = world.engine().filter(|_| !world.is_asleep()) {
        Checkers::look(engine, world.clock());
    }
}

fn is_well(world: &World) -> bool {
    let Some(engine) = world.engine() else { return false };
    let state = engine.state();
    let bound = |it: &mainstay_engine::state::ComponentState| state.instances[it.bound.index()].health;
    state.open_recoveries().next().is_none()
        && state.components.iter().all(|it| bound(it) == Health::Healthy)
        && state.routing.held.is_empty()
        && everything_was_told(state)
}

fn everything_was_told(state: &State) -> bool {
    state.plan.notifications.iter().all(|it| state.notices.tray(&it.name).is_none_or(|it| it.messages.is_empty()))
}

/// The time of the step that may take longest: one that nothing is heard of hangs for as long.
fn longest_step(plan: &Plan) -> Duration {
    let plays = plan.components.iter().flat_map(|it| &it.ladder).flat_map(|it| it.plays.values());
    plays.flat_map(|it| &it.steps).map(|it| it.timeout * it.attempts).max().unwrap_or_default()
}

impl Violation {
    fn of(panic: &(dyn std::any::Any + Send)) -> Violation {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned())).unwrap_or_default();
        // `assert_eq!` says what was compared in front of what it means.
        let said = text.split("failed: ").nth(1).unwrap_or(&text);
        let code = said.split(':').next().unwrap_or_default();
        let is_code = code.len() <= 3 && code.starts_with(['S', 'L', 'G']);
        Violation { code: if is_code { code.to_owned() } else { "panic".to_owned() }, text: said.to_owned() }
    }
}

std::thread_local! {
    static IN_TRIAL: Cell<bool> = const { Cell::new(false) };
}

/// Plays something; a checker that panics is an invariant that was violated.
pub(crate) fn caught<T>(play: impl FnOnce() -> T) -> Result<T, Violation> {
    quiet_panics();
    IN_TRIAL.set(true);
    let caught = catch_unwind(AssertUnwindSafe(play));
    IN_TRIAL.set(false);
    caught.map_err(|panic| Violation::of(panic.as_ref()))
}

/// A violation is told by whoever runs the trial, not by the panic.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IN_TRIAL.get() {
                usual(panic);
            }
        }));
    });
}
