//! Any plan, any step: it fails, it times out, nobody knows whether it was done, it is done and said to be unknown so that it
//! is repeated, and the agent dies before and after it is recorded and after it was done. Whatever happens, it ends in one of
//! three ways: the component serves (*the end*), it stands as if nothing had been tried (*the start*), or it *needs an
//! operator*, and says why.
//!
//! First every recovery is played without any trouble, to learn its steps. Then it is played again for every step and every
//! trouble. `cargo test -p mainstay-sim --test every_step -- --nocapture` shows what was tried and how it ended.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_engine::Body;
use mainstay_engine::record::Completion;
use mainstay_engine::state::{RecoveryStatus, State, UndoAt};
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::Health;
use mainstay_plan::policy::Mode;
use mainstay_plan::routing::TargetState;
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{ComponentIx, Plan, Surroundings};
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Crash, CrashKind, Server, World};

/// What may happen to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Fails,
    TimesOut,
    UnknownNotDone,
    UnknownButDone,
    CrashBefore,
    CrashAfterRecord,
    CrashAfterAct,
}

const TROUBLES: [Trouble; 7] = [
    Trouble::Fails,
    Trouble::TimesOut,
    Trouble::UnknownNotDone,
    Trouble::UnknownButDone,
    Trouble::CrashBefore,
    Trouble::CrashAfterRecord,
    Trouble::CrashAfterAct,
];

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The component serves, recovered or healthy by itself.
    Clean,
    /// The old owner is the owner, nothing is cut, and whatever was done to a standby is undone or was never done.
    Start,
    /// A person has to look, and is told at what.
    Operator,
}

/// One play of one failure.
struct Story {
    plan: Plan,
    component: ComponentIx,
    how: Server,
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl Story {
    /// A world in which all is well, and the component's instance fails. Cold standbys are kept running: what starts them is
    /// no concern of this test.
    fn begin(&self) -> World {
        let mut world = World::new(self.plan.clone());
        world.run_for(seconds(20));
        let state = world.engine().expect("the agent runs").state();
        let bound = state.components[self.component.index()].bound;
        assert_eq!(state.instances[bound.index()].health, Health::Healthy, "the world is well at first");
        let name = self.plan.instance(bound).name.clone();
        world.fault(Duration::ZERO, Fault::Server(name, self.how));
        world
    }

    /// Long enough for the whole ladder, with every retry of every rung.
    fn patience(&self) -> Duration {
        let ladder = &self.plan.component(self.component).ladder;
        let steps = ladder.iter().flat_map(|it| it.plays.values()).flat_map(|it| &it.steps);
        let longest = steps.map(|it| {
            let undo = it.undo.as_ref().map_or(Duration::ZERO, |it| it.timeout);
            (it.timeout + seconds(4)) * it.attempts
                + it.back_off.map_or(Duration::ZERO, |at| at.whole(it.attempts))
                + undo
        });
        longest.sum::<Duration>() + seconds(60)
    }

    /// The records of this component's steps, without any trouble.
    fn steps(&self) -> Vec<(u64, String)> {
        let mut world = self.begin();
        world.run_for(self.patience());
        let begun = |(seq, record): (u64, mainstay_engine::Record)| {
            if let Body::StepStarted { name, .. } = record.body { Some((seq, name)) } else { None }
        };
        world.journal().into_iter().filter_map(begun).collect()
    }

    fn play(&self, seq: u64, trouble: Trouble) -> (End, String) {
        let mut world = self.begin();
        let crash = |kind| Crash { seq, kind, down_for: seconds(2) };
        match trouble {
            Trouble::Fails => world.outcome_of(seq, Outcome::Failed("exit status 1".to_owned()), false),
            Trouble::TimesOut => world.never_ends(seq),
            Trouble::UnknownNotDone => world.outcome_of(seq, Outcome::Unknown("no answer".to_owned()), false),
            Trouble::UnknownButDone => world.outcome_of(seq, Outcome::Unknown("no answer".to_owned()), true),
            Trouble::CrashBefore => world.crash_at(crash(CrashKind::BeforeSync)),
            Trouble::CrashAfterRecord => world.crash_at(crash(CrashKind::AfterRecord)),
            Trouble::CrashAfterAct => world.crash_at(crash(CrashKind::BeforeOutcome)),
        }
        world.run_for(self.patience());
        replays(world.stored(), &self.plan);
        self.end(&world)
    }

    fn end(&self, world: &World) -> (End, String) {
        let state = world.engine().expect("the agent runs").state();
        let component = &state.components[self.component.index()];
        let health = state.instances[component.bound.index()].health;
        let last = state.history.iter().rev().find(|it| it.component == self.component);
        if let Some((_, waiting, _)) = mainstay_engine::status::waiting(state, self.component) {
            let id = component.recovery.as_ref().expect("what waits is open").id;
            // A recovery that failed is over; the one after it waits for the cool-down, which time ends.
            let why = last.map(|it| it.tried.join("; ")).unwrap_or_default();
            let text = format!("{waiting} ({}) {why}", waiting.way_out(id));
            let clean = last.is_some_and(|it| it.status == RecoveryStatus::RecoveryFailed) && self.is_as_before(state);
            return (if clean { End::Start } else { End::Operator }, text);
        }
        let last = last.expect("it failed, so a recovery was opened");
        match (&last.completion, health) {
            (Some(Completion::ByRung { .. } | Completion::ByItself), Health::Healthy) => {
                assert!(self.is_served(state), "it is completed, and no client is served");
                self.serves_where_it_is(world, state);
                (End::Clean, last.status.word().to_owned())
            }
            // Nobody said that it worked, and it did: it is called failed, and clients are served.
            (None, Health::Healthy) if self.is_served(state) => (End::Clean, last.tried.join("; ")),
            (completion, health) => panic!("it ends {completion:?} with {health:?}: {:?}", last.tried),
        }
    }

    /// Whether every exclusive route points at the instance that the component is bound to.
    fn is_served(&self, state: &State) -> bool {
        let bound = state.components[self.component.index()].bound;
        self.plan.component(self.component).routes.iter().all(|route| {
            let targets = self.plan.route(*route).targets.iter().zip(&state.routing.targets[route.index()]);
            let mut of_bound = targets.filter(|(it, _)| it.instance == bound);
            of_bound.any(|(_, it)| *it == TargetState::Serving)
        })
    }

    /// Clients are led to where the instance really is.
    fn serves_where_it_is(&self, world: &World, state: &State) {
        let bound = state.components[self.component.index()].bound;
        let name = &self.plan.instance(bound).name;
        for route in &self.plan.component(self.component).routes {
            let planned = self.plan.route(*route).targets.iter().find(|it| it.instance == bound);
            let planned = planned.map(|it| it.address.ip());
            let served = world.table.routes.iter().find(|it| it.name == self.plan.route(*route).name);
            let served = served.and_then(|it| it.targets.iter().find(|it| it.instance == *name));
            let is = world.homes.get(name).copied().or(planned);
            assert_eq!(served.map(|it| it.address.ip()), is, "clients are led to where {name} is not");
        }
    }

    /// Whether nothing of what was tried is left: nobody was displaced, nothing is cut.
    fn is_as_before(&self, state: &State) -> bool {
        let planned = self.plan.component(self.component);
        let component = &state.components[self.component.index()];
        let cut = component.recovery.as_ref().is_some_and(|it| it.cut);
        let displaced = planned.instances.iter().any(|it| state.instances[it.index()].displaced);
        component.bound == planned.original() && !cut && !displaced
    }
}

/// The plans of this directory, and one component of each shape of each example.
fn stories() -> Vec<(String, Story)> {
    let mut found = Vec::new();
    let folder = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in [folder("tests/plans"), folder("../../examples")] {
        let all = fs::read_dir(folder).expect("it is there").map(|it| it.expect("readable").path());
        files.extend(all.filter(|it| it.extension().is_some_and(|it| it == "yaml")));
    }
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        let name = file.file_stem().and_then(|it| it.to_str()).expect("a name").to_owned();
        let around = Surroundings {
            read: &|_| Err("it stands alone".to_owned()),
            variable: &|it| (it == "SHOP_PAGER_TOKEN").then(|| "hush".to_owned()),
            needs_secrets: false,
        };
        let compiled = mainstay_plan::compile_in("plan.yaml", text.as_str(), Path::new("/"), &around);
        let Some(plan) = compiled.plan else { panic!("{name}: {:#?}", compiled.findings) };
        for (component, shape) in shapes(&plan) {
            let name = format!("{name}/{} ({shape})", plan.component(component).name);
            for how in [Server::Dead, Server::Hung] {
                let story = Story { plan: undisturbed(plan.clone()), component, how };
                found.push((format!("{name} {how:?}"), story));
            }
            // Rungs that are only reached when others have failed are first here.
            for gone in 1..plan.component(component).ladder.len() {
                let mut plan = undisturbed(plan.clone());
                plan.components[component.index()].ladder.drain(..gone);
                let story = Story { plan, component, how: Server::Dead };
                found.push((format!("{name} from rung {}", gone + 1), story));
            }
        }
    }
    found
}

/// Whoever is asked approves; standbys run; recoveries of other components do not come in between.
fn undisturbed(mut plan: Plan) -> Plan {
    plan.mode = Mode::Act;
    for component in &mut plan.components {
        component.guards.approval = None;
        component.guards.cool_down = component.guards.cool_down.max(seconds(100_000));
    }
    // How long things may take says nothing about how they end, and virtual time is not for nothing.
    let rungs = plan.components.iter_mut().flat_map(|it| &mut it.ladder).flat_map(|it| it.plays.values_mut());
    for step in rungs.flat_map(|it| &mut it.steps) {
        step.timeout = step.timeout.min(seconds(5));
        if let Some(undo) = &mut step.undo {
            undo.timeout = undo.timeout.min(seconds(5));
        }
    }
    for instance in &mut plan.instances {
        instance.temperature = mainstay_plan::component::Temperature::Warm;
    }
    plan
}

/// Components whose ladders differ.
fn shapes(plan: &Plan) -> Vec<(ComponentIx, String)> {
    let mut seen = BTreeMap::new();
    for (ix, component) in (0u32..).map(ComponentIx).zip(&plan.components) {
        let kinds = |kind: &StepKind| match kind {
            StepKind::CutTraffic { .. } => "c",
            StepKind::Stop { .. } => "s",
            StepKind::EndLease { .. } => "l",
            StepKind::Act { .. } => "a",
            StepKind::Manual { .. } => "m",
            StepKind::TakeOver { .. } => "t",
            StepKind::CatchUp { .. } => "u",
            StepKind::Verify { .. } => "v",
        };
        let rungs = component.ladder.iter().filter_map(|it| it.plays.get(&component.original()));
        let shape: Vec<String> = rungs.map(|it| it.steps.iter().map(|it| kinds(&it.kind)).collect()).collect();
        if !shape.is_empty() {
            seen.entry(shape.join("-")).or_insert(ix);
        }
    }
    seen.into_iter().map(|(shape, ix)| (ix, shape)).collect()
}

#[test]
fn whatever_happens_to_any_step_it_ends_well_or_says_whom_it_needs() {
    let mut ends: BTreeMap<(Trouble, End), u32> = BTreeMap::new();
    let mut steps_tried = 0;
    for (name, story) in stories() {
        for (seq, step) in story.steps() {
            steps_tried += 1;
            for trouble in TROUBLES {
                let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story.play(seq, trouble)));
                let Ok((end, why)) = told else { panic!("{name}: {trouble:?} at record {seq}, `{step}`") };
                println!("{name}: {step}: {trouble:?} -> {end:?}: {why}");
                assert!(
                    end != End::Operator || !why.is_empty(),
                    "{name}: {step}: {trouble:?}: an operator is needed for nothing"
                );
                *ends.entry((trouble, end)).or_default() += 1;
            }
        }
    }
    println!("{steps_tried} steps: {ends:#?}");
    assert!(steps_tried > 100, "{steps_tried} steps are too few to say anything");
    for end in [End::Clean, End::Operator] {
        assert!(ends.keys().any(|it| it.1 == end), "nothing ended as {end:?}");
    }
}

/// A rung that fails after its steps were done is undone, the last step first, before the next rung is tried.
#[test]
fn what_a_failed_rung_did_is_undone_in_reverse_order() {
    let text = include_str!("plans/saga.yaml");
    let plan = mainstay_plan::config::compile("plan.yaml", text, Path::new("/")).plan.expect("it is sound");
    let story = Story { plan: undisturbed(plan), component: ComponentIx(0), how: Server::Dead };
    let mut world = story.begin();
    // The restart changes nothing, and the last step of the takeover always fails.
    world.breaks_command("up");
    world.breaks_command("open");
    world.run_for(story.patience());
    let did: Vec<&str> = world.done.iter().map(|it| it.1.as_str()).collect();
    let demoted = did.iter().position(|it| *it == "demote b").expect("the promotion is undone");
    let cooled = did.iter().position(|it| *it == "cool b").expect("the warm-up is undone");
    let promoted = did.iter().position(|it| *it == "promote c").expect("the next rung is tried");
    assert!(demoted < cooled && cooled < promoted, "{did:?}");
    let state = world.engine().expect("the agent runs").state();
    let bound = state.components[0].bound;
    assert_eq!(state.plan.instance(bound).name, "orders-db-c");
    let displaced = state.instance("orders-db-b").is_some_and(|it| state.instances[it.index()].displaced);
    assert!(!displaced, "what was undone can take over again");
    let closed = state.history.back().expect("it is over");
    assert_eq!(closed.status, RecoveryStatus::RecoveryCompleted);
    let left = closed.progress.iter().flat_map(|it| &it.steps).filter(|it| it.undo == UndoAt::Nothing).count();
    assert!(left > 0);
}
