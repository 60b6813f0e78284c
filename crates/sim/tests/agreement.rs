//! The model of a plan against the engine: the same failures, played through both.
//!
//! What the engine took, phase by phase, is in its journal. A model that is given these as measured times, as a user would, has
//! to reach the same times to recover as other runs of the engine, which it was not given. And its default, anything
//! between nothing and the bound, has to be found out by the same test: it is an assumption, and no measurement.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mainstay_engine::record::Completion;
use mainstay_engine::{Body, status};
use mainstay_plan::location::FailureDomain;
use mainstay_plan::policy::Mode;
use mainstay_plan::proof::{Cell, Condition, Recovery};
use mainstay_plan::{ComponentIx, InstanceIx, Plan, Proof, Surroundings};
use mainstay_sim::reliability::measured::part;
use mainstay_sim::reliability::model::{Model, Part};
use mainstay_sim::reliability::rates_file::{self, PhaseTime};
use mainstay_sim::reliability::{Chance, Distribution, Options, Rates, trials};
use mainstay_sim::world::Fault;
use mainstay_sim::{Broken, Pace, Server, World};

/// Runs of the engine that the model is given, and as many that it is not.
const RUNS: usize = 24;

/// The distance of two samples that chance exceeds once in a thousand times, in parts of √((n + m) / nm) (Kolmogorov, Smirnov).
const ONCE_IN_A_THOUSAND: f64 = 1.95;

const PLANS: [&str; 2] = ["single-database", "warm-standby"];

fn plan(name: &str) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/{name}.yaml"));
    let around =
        Surroundings { read: &|_| Err("it stands alone".to_owned()), variable: &|_| None, needs_secrets: false };
    let text = fs::read_to_string(path).expect("readable");
    let mut plan = mainstay_plan::compile_in("plan.yaml", text, Path::new("/"), &around).plan.expect("it is a plan");
    plan.mode = Mode::Act;
    plan
}

/// What one run of the engine took, in seconds.
struct Run {
    /// By part of the model.
    parts: Vec<(Part, f64)>,
    total: f64,
}

/// The failure of a cell, at a moment that has nothing to do with the probes.
fn run(plan: &Plan, cell: Cell<'_>, recovery: &Recovery, pace: Pace, chance: &mut Chance) -> Run {
    let home = plan.component(cell.component).original();
    let here = &plan.instance(home).location;
    let mut world = World::at_pace(plan.clone(), pace);
    let slowest = plan.probes.iter().map(|it| it.timing.interval).max().unwrap_or_default();
    world.run_for(slowest * 4 + slowest.mul_f64(chance.unit()));
    let failed = world.now;
    let mut broken = Broken::default();
    for (it, ix) in plan.instances.iter().zip((0u32..).map(InstanceIx)) {
        if ix == home || here.shares(&it.location, cell.failure) {
            world.fault(Duration::ZERO, Fault::Server(it.name.clone(), Server::Dead));
            if cell.failure != FailureDomain::Instance {
                broken.machines.insert(it.name.clone());
            }
        }
    }
    for it in plan.witnesses.iter().filter(|it| here.shares(&it.location, cell.failure)) {
        world.fault(Duration::ZERO, Fault::Server(it.name.clone(), Server::Dead));
    }
    world.fault(Duration::ZERO, Fault::Breaks(Box::new(broken)));
    world.run_for(recovery.completed + Duration::from_secs(5));
    let name = &plan.component(cell.component).name;
    let recoveries = status::recoveries(world.engine().expect("the agent runs").state());
    let mine = recoveries.iter().find(|it| it.component_name == *name);
    let (mine, ended) = mine.map(|it| (it.id, it.ended)).unzip();
    let mut phases = None;
    for (_, record) in world.journal() {
        if let Body::RecoveryCompleted { recovery: id, how: Completion::ByRung { strategy, .. }, phases_ns } =
            record.body
            && Some(id) == mine
            && strategy == recovery.strategy
        {
            phases = Some(phases_ns);
        }
    }
    let phases = phases.unwrap_or_else(|| panic!("{name} / {}: it is proved", cell.failure.word()));
    let mut parts: Vec<(Part, f64)> = phases.iter().map(|(phase, ns)| (part(phase.0), *ns as f64 / 1e9)).collect();
    // The journal's clock starts at the last good answer, for nobody knows more; here the failure itself is known.
    let total = ended.flatten().expect("it has ended").since(failed).as_secs_f64();
    let by_journal: f64 = parts.iter().map(|it| it.1).sum();
    parts.iter_mut().filter(|it| it.0 == Part::Detect).for_each(|it| it.1 -= by_journal - total);
    Run { parts, total }
}

/// What the model takes for such failures, with everything working.
fn modelled(proof: &Proof<'_>, cell: Cell<'_>, given: Option<&[Run]>) -> Vec<f64> {
    const WELL: &str = "starts: 100\nrestarts: 100\nrestores: 100\ndetected: 100\ntraffic: several
failures: { instance: { mttf: 20d, repair: 1m }, host: { mttf: 30d, repair: 1m }, zone: { mttf: 40d, repair: 1m }, region: { mttf: 50d, repair: 1m } }";
    let rates = Rates::of(rates_file::read(WELL).expect("they are right"));
    let mut model = Model::of(proof, rates).expect("they fit");
    // The agent is there; that it is away now and then is no part of what is compared.
    model.agent.clear();
    let name = &proof.plan().component(cell.component).name;
    let at = model.members.iter().position(|it| it.name == *name).expect("it is there");
    model.members[at].cool_down = 0.0;
    let way = &mut model.members[at].ways[cell.failure as usize][0];
    for (part, timed) in &mut way.times {
        let Some(runs) = given else { continue };
        // The journal counts a rung that failed as part of what was done then; the proof keeps it apart.
        let of = |it: &Run| it.parts.iter().filter(|it| it.0 == *part).map(|it| it.1).sum();
        timed.law = PhaseTime::Of(Distribution::empirical(runs.iter().map(of).collect()));
        timed.bound = f64::INFINITY;
    }
    let options = Options { trials: 60, years: 1.0, seed: 3, confidence: 0.95 };
    let tally = trials::play(&model, &options);
    let mine = tally.outages[at].iter().filter(|it| it.kind.domain() == cell.failure && it.way == Some(0));
    mine.map(|it| it.total() - it.parts[Part::Held as usize]).collect()
}

/// The largest distance of two samples' distributions (Kolmogorov, Smirnov). What differs by less than a millisecond is the same.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    const SAME_S: f64 = 0.001;
    let up_to = |of: &[f64], at: f64| of.iter().filter(|it| **it <= at).count() as f64 / of.len() as f64;
    let one = |at: &f64| {
        let (below, above) = (at - SAME_S, at + SAME_S);
        // As near as the two come within a millisecond.
        let over = up_to(a, below) - up_to(b, above);
        let under = up_to(b, below) - up_to(a, above);
        over.max(under)
    };
    a.iter().chain(b).map(one).fold(0.0, f64::max)
}

fn differ(a: &[f64], b: &[f64]) -> bool {
    let (n, m) = (a.len() as f64, b.len() as f64);
    distance(a, b) > ONCE_IN_A_THOUSAND * ((n + m) / (n * m)).sqrt()
}

#[test]
fn a_model_that_was_given_measured_times_agrees_with_the_engine() {
    let (mut compared, mut found_out, mut complaints) = (0, 0, Vec::new());
    let mut chance = Chance::new(20_260_105, 0);
    for name in PLANS {
        let plan = plan(name);
        let proof = Proof::of(&plan);
        for component in (0u32..).map(ComponentIx).take(plan.components.len()) {
            for failure in FailureDomain::ALL {
                let cell = proof.cell(component, failure, Condition::None).expect("a cell");
                let Ok(recovery) = cell.verdict else { continue };
                // Who waits for whom is worked out by the model itself, and measured by nobody.
                if !recovery.worst().dependencies.is_zero() {
                    continue;
                }
                for pace in [Pace::Quick, Pace::Allowed] {
                    let mut runs = |_| run(&plan, cell, recovery, pace, &mut chance);
                    let (given, others): (Vec<Run>, Vec<Run>) =
                        ((0..RUNS).map(&mut runs).collect(), (0..RUNS).map(&mut runs).collect());
                    let engine: Vec<f64> = others.iter().map(|it| it.total).collect();
                    let what = format!("{name}: {} / {} / {pace:?}", plan.component(component).name, failure.word());
                    let measured = modelled(&proof, cell, Some(&given));
                    compared += 1;
                    println!(
                        "{what}: {:.3} with measured times, {:.3} without; {}",
                        distance(&measured, &engine),
                        distance(&modelled(&proof, cell, None), &engine),
                        measured.len()
                    );
                    if differ(&measured, &engine) {
                        complaints.push(format!("{what}: {:.3} apart\n{engine:?}", distance(&measured, &engine)));
                    }
                    found_out += usize::from(differ(&modelled(&proof, cell, None), &engine));
                }
            }
        }
    }
    println!("{compared} cells at a pace agree; the default is told from the engine in {found_out} of them");
    assert!(compared >= 16, "{compared}");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(found_out * 10 >= compared * 9, "a comparison that finds nothing out: {found_out} of {compared}");
}
