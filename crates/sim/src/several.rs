//! Trials with several agents: two or three of them, each with a journal and a clock of its own, a store that grants one lease, and
//! a network between them that breaks in one direction, in both, or is slow. First everything may come between them; then all of
//! it works again, and one of them has to lead and make everything well.
//!
//! Each agent drives the real engine through the same driver as on its machine. The same seed gives the same trial.

mod agent;
mod mischief;
mod site;
mod store;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use mainstay_engine::lease::Role;
use mainstay_engine::replay::replay;
use mainstay_engine::sentence::Teller;
use mainstay_plan::observation::Health;
use mainstay_plan::{Plan, Time};

pub use mischief::{Mischief, MischiefKind};
pub use site::Site;

use crate::checkers::Checkers;
use crate::dice::Dice;
use crate::trial::{Coverage, Violation, caught, people};

/// One seed in so many has a trial with several agents, too.
const ONE_IN: u64 = 4;

/// At most so many things happen.
const LONGEST: u64 = 12;

/// How long everything works before the trial ends, at most.
const HEALED: Duration = Duration::from_secs(900);

const DATABASE: &str = include_str!("../tests/plans/database.yaml");
const FILES: &str = include_str!("../tests/plans/files.yaml");
const SHOP: &str = include_str!("../tests/plans/shop.yaml");
const WATCHFUL: &str = include_str!("../tests/plans/watchful.yaml");
const TWO_STANDBYS: &str = include_str!("../../engine/tests/timelines/plans/two-standbys.yaml");
const WEB: &str = include_str!("../../engine/tests/timelines/plans/web.yaml");

/// A plan: what it is called, its text, what is replaced in it, and what an agent does that is alone.
type Text = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

const TEXTS: [Text; 8] = [
    ("database", DATABASE, &[], "hold"),
    ("database, repeated", DATABASE, &[("idempotent: false", "idempotent: true"), ("by_hand", "when_healthy")], "hold"),
    ("database, observed by two", DATABASE, &[("cool_down: 10s", "cool_down: 1s, observers: { need: 2 }")], "hold"),
    ("files", FILES, &[("by_hand", "when_healthy"), ("cool_down: 10s", "cool_down: 1s")], "hold"),
    ("shop", SHOP, &[], "shared_only"),
    ("watchful", WATCHFUL, &[], "hold"),
    ("two standbys", TWO_STANDBYS, &[], "hold"),
    ("web", WEB, &[], "shared_only"),
];

static PLANS: LazyLock<Vec<(&'static str, Arc<Plan>)>> = LazyLock::new(|| TEXTS.iter().map(compiled).collect());

fn compiled((name, text, changes, alone): &Text) -> (&'static str, Arc<Plan>) {
    let text = changes.iter().fold((*text).to_owned(), |text, (from, to)| text.replace(from, to));
    let text = format!(
        "{text}
agents:
  ops-2: {{ role: successor, region: r1, zone: z2, host: ops-2 }}
  ops-3: {{ role: successor, region: r1, zone: z1, host: ops-3 }}
coordination:
  store: etcd
  location: {{ region: r1 }}
  lease: {{ renew: 1s, expires: 5s, drift: 500ms }}
  alone: {alone}
"
    );
    let compiled = mainstay_plan::config::compile("plan.yaml", &text, Path::new("/"));
    let plan = compiled.plan.unwrap_or_else(|| panic!("{name}: {:#?}", compiled.findings));
    (name, Arc::new(plan))
}

/// A trial with several agents.
#[derive(Clone, Debug)]
pub struct Several {
    /// All of it follows from this.
    pub seed: u64,
    /// What its plan is called here.
    pub name: &'static str,
    plan: Arc<Plan>,
    /// How fast the clock of each agent runs, in parts per thousand.
    rates: Vec<u64>,
    /// What may happen.
    pub kinds: BTreeSet<MischiefKind>,
    /// What happens, and how long after the one before.
    pub script: Vec<(Duration, MischiefKind, Mischief)>,
}

/// What came of it.
#[derive(Debug)]
pub struct Ended {
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// The site as it was in the end, or when that was seen.
    pub site: Site,
    /// What was reached.
    pub coverage: Coverage,
}

impl Several {
    /// The trial with several agents that a seed has, if it has one.
    pub fn of(seed: u64) -> Option<Several> {
        let mut dice = Dice::named(seed, "several agents");
        dice.once_in(ONE_IN).then(|| Several::drawn(seed, &mut dice))
    }

    /// Draws one for this seed, whether it has one or not.
    pub fn drawn(seed: u64, dice: &mut Dice) -> Several {
        let share = 1 + dice.below(4);
        let kinds = MischiefKind::ALL.iter().copied().filter(|_| dice.once_in(share)).collect();
        Several::among(seed, kinds, dice)
    }

    /// Draws one with these kinds of mischief, and the failure of servers.
    pub fn among(seed: u64, mut kinds: BTreeSet<MischiefKind>, dice: &mut Dice) -> Several {
        kinds.insert(MischiefKind::Server);
        let nth = usize::try_from(dice.below(TEXTS.len() as u64)).unwrap_or(0);
        let (name, plan) = PLANS[nth].clone();
        let rates: Vec<u64> = (0..2 + dice.below(2)).map(|_| 970 + dice.below(61)).collect();
        let on: Vec<MischiefKind> = kinds.iter().copied().collect();
        let mut script = Vec::new();
        for _ in 0..=dice.below(LONGEST) {
            let kind = if dice.once_in(3) { MischiefKind::Server } else { dice.pick(&on).unwrap_or(on[0]) };
            let after = dice.millis(5_000);
            script.extend(mischief::draw(kind, dice, &plan, rates.len()).map(|it| (after, kind, it)));
        }
        Several { seed, name, plan, rates, kinds, script }
    }

    /// Plays it.
    pub fn run(&self) -> Ended {
        let mut site = Site::new(self.plan.clone(), &self.rates);
        let violation = caught(|| self.play(&mut site)).err();
        let mut coverage = Coverage::default();
        coverage.ended_among(self, &site);
        Ended { violation, site, coverage }
    }

    fn play(&self, site: &mut Site) {
        site.run_for(Duration::from_secs(4));
        for (after, _, what) in &self.script {
            site.run_for(*after);
            site.suffer(what);
            site.run_for(Duration::ZERO);
            look(site);
        }
        site.run_for(Duration::from_secs(3));
        look(site);
        site.heal();
        self.becomes_well(site);
        for nth in 0..site.agents() {
            let compile = |_: &str, _: &str| Some((*self.plan).clone());
            match replay(site.stored(nth), compile) {
                Ok(it) => assert!(it.misfits.is_empty(), "S10: records came where they can't come: {:?}", it.misfits),
                Err(error) => panic!("S10: {error}"),
            }
        }
    }

    /// One of them leads, the others follow it, and whoever is asked does what is asked for, until all is well.
    fn becomes_well(&self, site: &mut Site) {
        let until = site.now + HEALED;
        let mut calm = 0;
        while site.now < until && calm < 2 {
            site.run_for(people::TAKES);
            look(site);
            let Some(leader) = site.leader() else { continue };
            let engine = site.engine(leader).expect("it leads");
            for (command, by) in people::as_asked(engine, |key| site.was_done(key)) {
                site.speak(leader, command, by);
            }
            calm = if self.is_well(site) { calm + 1 } else { 0 };
        }
        let roles: Vec<Option<Role>> = (0..site.agents()).map(|it| site.role(it)).collect();
        let lead = roles.iter().filter(|it| **it == Some(Role::Leader)).count();
        let follow = roles.iter().filter(|it| **it == Some(Role::Follower)).count();
        assert!(lead == 1 && follow + 1 == roles.len(), "L1: everything works, and nobody leads alone: {roles:?}");
        let engine = site.leader().and_then(|it| site.engine(it)).expect("one leads");
        Checkers::after_healing(engine);
        let state = engine.state();
        for (component, planned) in state.components.iter().zip(&self.plan.components) {
            let health = state.instances[component.bound.index()].health;
            let waits = component.recovery.is_some();
            assert!(
                health == Health::Healthy || waits,
                "L2: everything works, and {} is {}",
                planned.name,
                health.word()
            );
        }
        site.serves_what_is_bound();
    }

    fn is_well(&self, site: &Site) -> bool {
        let Some(leader) = site.leader() else { return false };
        let follow = (0..site.agents()).filter(|it| site.role(*it) == Some(Role::Follower)).count();
        let Some(engine) = site.engine(leader).filter(|_| follow + 1 == site.agents()) else { return false };
        let state = engine.state();
        state.open_recoveries().next().is_none()
            && state.components.iter().all(|it| state.instances[it.bound.index()].health == Health::Healthy)
            && state.routing.held.is_empty()
    }

    /// A smaller trial that violates the same invariant.
    pub fn shrink(&self, violation: &Violation) -> Several {
        let mut best = self.clone();
        let fails = |it: &Several| it.run().violation.is_some_and(|it| it.code == violation.code);
        let mut at = 0;
        while at < best.script.len() {
            let mut smaller = best.clone();
            let (passed, ..) = smaller.script.remove(at);
            let hasty = smaller.clone();
            if let Some(next) = smaller.script.get_mut(at) {
                next.0 += passed;
            }
            match [hasty, smaller].into_iter().find(fails) {
                Some(found) => best = found,
                None => at += 1,
            }
        }
        best.kinds = best.script.iter().map(|it| it.1).collect();
        best
    }

    /// Whether everything held, and its story: as small as it gets where something did not, if that is wanted.
    pub fn told(self, shrinks: bool) -> (bool, String) {
        let ended = self.run();
        let Some(violation) = ended.violation.as_ref().filter(|_| shrinks) else {
            return (ended.violation.is_none(), self.tell(&ended));
        };
        let smaller = self.shrink(violation);
        (false, smaller.tell(&smaller.run()))
    }

    /// Tells what it is, what happened, and how it ended.
    pub fn tell(&self, ended: &Ended) -> String {
        let kinds: Vec<&str> = self.kinds.iter().map(|it| it.word()).collect();
        let agents = self.rates.len();
        let mut text = format!("seed {}: {agents} agents on {}, with {}\n", self.seed, self.name, kinds.join(", "));
        let mut lines: Vec<(Time, String)> = ended.site.happened.clone();
        for nth in 0..agents {
            let mut teller = Teller::new(moment, |it| format!("{it:?}"));
            let name = ended.site.name(nth);
            let told = ended.site.told(nth).into_iter();
            lines.extend(told.map(|(at, seq, record)| (at, format!("{name} {seq:>3} {}", teller.tell(&record.body)))));
        }
        lines.sort_by_key(|it| it.0);
        for (at, line) in lines {
            text += &format!("{:>12}  {line}\n", moment(at));
        }
        let end = moment(ended.site.now);
        match &ended.violation {
            Some(it) => text + &format!("{end:>12}  VIOLATED {}\n", it.text),
            None => text + &format!("{end:>12}  all is well\n"),
        }
    }
}

fn moment(at: Time) -> String {
    format!("{:.3} s", at.since(site::BEGIN).as_secs_f64())
}

/// L2, of everybody who is awake.
fn look(site: &Site) {
    for nth in 0..site.agents() {
        if let Some(engine) = site.engine(nth).filter(|_| !site.sleeps(nth)) {
            Checkers::look(engine, site.clock(nth));
        }
    }
}
