//! The proof against the engine: every cell of every example, and cells of plans drawn by chance, are played in virtual
//! time. What the proof promises happens within the time that it says, and what it does not promise does not happen.

#![expect(clippy::print_stdout, reason = "how much was played is worth knowing")]

mod five_hundred;
mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use mainstay_plan::location::FailureDomain;
use mainstay_plan::policy::Mode;
use mainstay_plan::proof::{Cell, Condition, NoRecovery, Recovery};
use mainstay_plan::strategy::{OnExpiry, StepKind};
use mainstay_plan::{ComponentIx, Plan, Proof, Surroundings};

use mainstay_sim::drawn;
use mainstay_sim::scenario::Luck;

use stage::{Seen, Stage, lags, may_be_lucky, told};

/// How long a world without a recovery is watched.
const WATCHED: Duration = Duration::from_secs(240);

/// The examples, with nobody to be asked.
fn plans() -> Vec<(String, Plan)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let entries = fs::read_dir(dir).expect("there are examples").map(|it| it.expect("readable").path());
    let mut paths: Vec<_> = entries.filter(|it| it.extension().is_some_and(|it| it == "yaml")).collect();
    paths.sort();
    let read = |it: &std::path::PathBuf| {
        let name = it.file_stem().and_then(|it| it.to_str()).expect("a name").to_owned();
        (name, asked_nobody(compiled(&fs::read_to_string(it).expect("readable"))))
    };
    let mut plans: Vec<(String, Plan)> = paths.iter().map(read).collect();
    for (name, text) in [
        ("sim/database", include_str!("../plans/database.yaml")),
        ("sim/files", include_str!("../plans/files.yaml")),
        ("sim/restored", include_str!("../plans/restored.yaml")),
    ] {
        plans.push((name.to_owned(), asked_nobody(compiled(text))));
    }
    plans
}

/// A person's approval is not part of a bound.
fn asked_nobody(mut plan: Plan) -> Plan {
    plan.mode = Mode::Act;
    for component in &mut plan.components {
        component.guards.approval = None;
        for play in component.ladder.iter_mut().flat_map(|it| it.plays.values_mut()) {
            for step in &mut play.steps {
                if let StepKind::Manual { on_expiry, .. } = &mut step.kind {
                    *on_expiry = OnExpiry::Proceed;
                }
            }
        }
    }
    plan
}

fn compiled(text: &str) -> Plan {
    let around = Surroundings {
        read: &|_| Err("it stands alone".to_owned()),
        variable: &|it| (it == "SHOP_PAGER_TOKEN").then(|| "hush".to_owned()),
        needs_secrets: true,
    };
    let compiled = mainstay_plan::compile_in("plan.yaml", text, Path::new("/"), &around);
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

/// Drawn unless somebody asks for others.
const SEEDS: std::ops::Range<u64> = 0..40;

/// Each of these once showed that proof and engine did not agree: a witness asked too early, clients of a name that stay
/// behind, and an agent that is cut off from all but its own machine.
const TELLING: [u64; 3] = [108, 152, 403];

/// The seeds to draw plans from.
fn drawn_seeds() -> Vec<u64> {
    let Ok(asked) = std::env::var("MAINSTAY_SEEDS") else { return SEEDS.chain(TELLING).collect() };
    let number = |it: &str| it.parse().expect("MAINSTAY_SEEDS is a number, or FROM..TO");
    match asked.split_once("..") {
        Some((from, to)) => (number(from)..number(to)).collect(),
        None => vec![number(&asked)],
    }
}

/// What was played, and what was not as it should be.
#[derive(Default)]
struct Tally {
    cells: usize,
    proved: usize,
    worlds: usize,
    /// By condition, how much of the bound was used at most.
    used: BTreeMap<&'static str, f64>,
    complaints: Vec<String>,
    /// Whether a rung that the proof does not count on may be lucky and come first.
    earlier_may_do: bool,
}

impl Tally {
    /// All cells of a component, each with every `nth` luck.
    fn play_all(&mut self, name: &str, proof: &Proof<'_>, component: ComponentIx, nth: usize) {
        for failure in FailureDomain::ALL {
            let mut seen = Seen::new();
            for cell in Condition::ALL.into_iter().filter_map(|it| proof.cell(component, failure, it)) {
                let lucks: Vec<Luck> = Luck::all(cell.condition).into_iter().step_by(nth).collect();
                self.play(&mut seen, name, proof, cell, &lucks);
            }
        }
    }

    /// `seen` belongs to one component and one failure.
    fn play(&mut self, seen: &mut Seen, name: &str, proof: &Proof<'_>, cell: Cell<'_>, lucks: &[Luck]) {
        let plan = proof.plan();
        let stage = Stage { plan, cell, home: plan.component(cell.component).original() };
        let component = &plan.component(cell.component).name;
        let what = format!("{name}: {component} / {} / {}", cell.failure.word(), cell.condition.word());
        let usual = proof.cell(cell.component, cell.failure, Condition::None).expect("a cell").verdict;
        let usual = usual.as_ref().map_or(Duration::from_secs(60), |it| it.completed);
        self.cells += 1;
        match cell.verdict {
            Ok(recovery) => self.promised(seen, &what, &stage, recovery, usual, lucks),
            Err(none) => self.not_promised(seen, &what, &stage, none, usual, lucks),
        }
    }

    fn promised(
        &mut self,
        seen: &mut Seen,
        what: &str,
        stage: &Stage<'_>,
        recovery: &Recovery,
        usual: Duration,
        lucks: &[Luck],
    ) {
        self.proved += 1;
        let bound = recovery.completed;
        for luck in lucks {
            let (played, world) = stage.play(*luck, bound, usual, &lags(recovery), seen);
            self.worlds += usize::from(world.is_some());
            match played.completed {
                Some((rung, after))
                    if (stage.is_proved(rung, recovery.rung) || (self.earlier_may_do && rung < recovery.rung))
                        && after <= bound
                        && played.served =>
                {
                    let used = self.used.entry(stage.cell.condition.word()).or_default();
                    *used = used.max(after.as_secs_f64() / bound.as_secs_f64());
                }
                other => self.complaints.push(format!(
                    "{what}: proved by rung {} within {bound:?}, but {other:?} (served: {}) with {luck:?}\n{}",
                    recovery.rung,
                    played.served,
                    told(world.as_ref())
                )),
            }
        }
    }

    fn not_promised(
        &mut self,
        seen: &mut Seen,
        what: &str,
        stage: &Stage<'_>,
        none: &NoRecovery,
        usual: Duration,
        lucks: &[Luck],
    ) {
        let mut recovered = 0;
        for luck in lucks {
            let (played, world) = stage.play(*luck, WATCHED, usual, &BTreeMap::new(), seen);
            self.worlds += usize::from(world.is_some());
            if played.completed.is_some() && played.served && played.needs_served && !played.ahead {
                recovered += 1;
                if !may_be_lucky(none) {
                    let (after, text) = (played.completed, told(world.as_ref()));
                    self.complaints.push(format!("{what}: not proved ({none:?}), but {after:?} with {luck:?}\n{text}"));
                }
            }
        }
        if recovered == lucks.len() && may_be_lucky(none) && lucks.len() >= Luck::all(Condition::AgentRestarts).len() {
            self.complaints.push(format!("{what}: not proved, but recovered whatever happens: {none:?}"));
        }
    }

    fn end(self) {
        println!(
            "{} cells ({} of them proved) played in {} worlds; of the bound at most used: {:?}",
            self.cells, self.proved, self.worlds, self.used
        );
        let lines: Vec<&str> = self.complaints.iter().filter_map(|it| it.lines().next()).collect();
        assert!(
            self.complaints.is_empty(),
            "{} complaints:\n{}\nthe first:\n{}",
            lines.len(),
            lines.join("\n"),
            self.complaints[0]
        );
    }
}

#[test]
fn every_cell_of_every_example_is_what_happens() {
    let (mut tally, mut components) = (Tally::default(), 0);
    for (name, plan) in plans() {
        let proof = Proof::of(&plan);
        components += plan.components.len();
        for component in (0u32..).map(ComponentIx).take(plan.components.len()) {
            tally.play_all(&name, &proof, component, 1);
        }
    }
    assert_eq!(tally.cells, components * FailureDomain::ALL.len() * Condition::ALL.len(), "none is left out");
    tally.end();
}

/// A hall of five, one after the other.
#[test]
fn an_evacuation_keeps_its_bounds() {
    let text = include_str!("../../../engine/tests/timelines/plans/hall.yaml");
    let evacuation = "evacuations:\n  leave: { of: { region: berlin, zone: hall-1 }, at_once: 1 }\nstandbys:";
    let plan = asked_nobody(compiled(&text.replace("standbys:", evacuation)));
    let proof = Proof::of(&plan);
    let mut tally = Tally::default();
    for component in (0u32..).map(ComponentIx).take(plan.components.len()) {
        let mut seen = Seen::new();
        for condition in [Condition::None, Condition::AgentRestarts] {
            let cell = proof.cell(component, FailureDomain::Zone, condition).expect("a cell");
            tally.play(&mut seen, "hall", &proof, cell, &Luck::all(condition));
        }
    }
    assert_eq!(tally.proved, tally.cells, "each of them is proved");
    tally.end();
}

/// Of the five hundred one of each shape, each in a plan that is cut down to what it needs.
#[test]
fn cells_of_the_large_example_are_what_happens() {
    let site = five_hundred::whole();
    let whole = asked_nobody(compiled(&site));
    let mut tally = Tally::default();
    // Whether neighbours answer depends on who is there, so the two are compared without them.
    let alone = |text: &str| asked_nobody(compiled(&text.replace("correlation: 2s", "correlation: 0s")));
    let whole_alone = alone(&site);
    let of_whole = Proof::of(&whole_alone);
    for name in five_hundred::SHAPES {
        let text = five_hundred::cut_down(&site, &whole, name);
        let (plan, plan_alone) = (asked_nobody(compiled(&text)), alone(&text));
        let (proof, proof_alone) = (Proof::of(&plan), Proof::of(&plan_alone));
        let ix = |plan: &Plan| plan.component_named(name).expect("it is there");
        for (failure, condition) in
            FailureDomain::ALL.into_iter().flat_map(|it| Condition::ALL.map(|other| (it, other)))
        {
            let promised = |proof: &Proof<'_>, ix| {
                let cell = proof.cell(ix, failure, condition).expect("a cell");
                cell.verdict.as_ref().ok().map(|it| (it.rung, it.completed))
            };
            let (cut, all) = (promised(&proof_alone, ix(&plan)), promised(&of_whole, ix(&whole)));
            assert_eq!(cut, all, "{name} / {} / {}: nothing that counts was cut", failure.word(), condition.word());
        }
        tally.play_all("five-hundred", &proof, ix(&plan), 5);
    }
    tally.end();
}

/// A few cells of each of many plans. `MAINSTAY_SEEDS` draws more of them: a number, or `FROM..TO`.
#[test]
fn cells_of_plans_drawn_by_chance_are_what_happens() {
    let mut tally = Tally { earlier_may_do: true, ..Tally::default() };
    for seed in drawn_seeds() {
        let mut chance = drawn::Chance::new(seed);
        let Some(plan) = drawn::plan(&mut chance) else { continue };
        let plan = asked_nobody(plan);
        let proof = Proof::of(&plan);
        let cells: Vec<Cell<'_>> = proof.cells().collect();
        for _ in 0..12 {
            let cell = cells[chance.below(cells.len())];
            let lucks = Luck::all(cell.condition);
            let few: Vec<Luck> = (0..4).map(|_| lucks[chance.below(lucks.len())]).collect();
            tally.play(&mut Seen::new(), &format!("seed {seed}"), &proof, cell, &few);
        }
        if !tally.complaints.is_empty() {
            println!("{}", plan.source);
            break;
        }
    }
    assert!(tally.proved * 5 > tally.cells, "{} of {} cells proved: the plans are too poor", tally.proved, tally.cells);
    tally.end();
}
