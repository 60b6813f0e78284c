//! What trials have reached: transitions, waits, refusals, rules of routes, kinds of records, kinds of faults and pairs of
//! them. What was never reached was never tried.

use std::collections::BTreeMap;

use mainstay_engine::command::Refusal;
use mainstay_engine::route::rules::RouteRule;
use mainstay_engine::watched::{self, Transitions};
use mainstay_engine::{machine, reasons};

use super::{FaultKind, Kept, Trial};
use crate::checkers::Census;
use crate::hosted::{Hosted, TroubleKind};
use crate::several::{MischiefKind, Several, Site};
use crate::world::World;

/// What trials can't reach, and why: a name, or how names begin. Whatever is reached all the same refutes its reason, and the
/// trials fail.
pub const EXCUSED: &[(&str, &str)] = &[
    ("refusal owner_missing", "both versions of a plan know the same instances; see engine/tests/timelines"),
    ("wait acknowledgements", "it is counted as the step that it is a part of"),
    ("transition A channel: pauses, told: ", LATE_WORD),
    ("transition A notice: stands, news that is louder than what was seen", "what nobody has seen yet is plain news"),
    ("transition A traffic process: unheard, route_refused", SAYS_FIRST),
    ("transition An agent among others: alone, agent_started, without a store", SAME_STORE),
    ("transition An agent among others: candidate, agent_started, without a store", SAME_STORE),
    ("transition An agent among others: follower, agent_started, without a store", SAME_STORE),
    ("transition An agent among others: leader, agent_started, without a store", SAME_STORE),
    ("transition An agent among others: leader, a higher epoch was seen", LAID_DOWN),
    ("transition An agent among others: leader, another one holds the lease", LAID_DOWN),
    ("transition A traffic process: unheard, traffic_ahead, of another process", ONE_PROCESS),
    ("transition A traffic process: behind, traffic_ahead, of another process", ONE_PROCESS),
    ("transition A traffic process: refuses, traffic_ahead, of another process", ONE_PROCESS),
    ("transition A traffic process: serves, traffic_ahead, of another process", ONE_PROCESS),
    ("transition A traffic process: refuses, route_refused, of an older table", IN_ORDER),
    ("transition The undo of a step: registered, step_started, of a step with an undo", RUNS),
    ("transition The undo of a step: registered, `approve --outcome not-done`", RUNS),
    ("transition The undo of a step: failed, undo_started", "a person retries it first, which makes it doubtful"),
    ("transition The undo of a step: unknown, undo_started", "a person retries it first, which makes it doubtful"),
    ("transition breaker of a control plane: closed, an action worked", NO_SIGNAL),
    ("transition breaker of a control plane: closed, the canary answers", NO_SIGNAL),
    ("transition breaker of a control plane: closed, an operator lets it go", SAID_ALREADY),
    ("transition breaker of a control plane: open, enough rungs failed", NO_SIGNAL),
    ("transition breaker of a control plane: open, the canary goes down", NO_SIGNAL),
    ("transition breaker of a control plane: open, an operator lets it go", SAID_ALREADY),
    ("transition breaker of a control plane: half_open, the canary goes down", "whoever tries finds out, and says so"),
    ("transition breaker of a control plane: half_open, an operator lets it go", SAID_ALREADY),
    ("transition breaker of a control plane: held_open, enough rungs failed", HELD),
    ("transition breaker of a control plane: held_open, an action worked", HELD),
    ("transition breaker of a control plane: held_open, the canary", HELD),
    ("transition breaker of a control plane: held_open, an operator holds it open", SAID_ALREADY),
    ("transition breaker of a control plane: held_closed, enough rungs failed", HELD),
    ("transition breaker of a control plane: held_closed, an action worked", HELD),
    ("transition breaker of a control plane: held_closed, the canary", HELD),
    ("transition breaker of a control plane: held_closed, an operator holds it closed", SAID_ALREADY),
];

const LATE_WORD: &str =
    "a word about a message that is not on its way is no fact, and is dropped before it is recorded";
const SAME_STORE: &str = "agents of a trial have the same store from their first start to the last";
const LAID_DOWN: &str = "it lays the lease down before anybody else can get one: S1 is violated else";
const SAYS_FIRST: &str = "a process that connects says what it serves before it answers to a table";
const ONE_PROCESS: &str = "one machine has one traffic process";
const IN_ORDER: &str = "a process answers to tables in the order in which they come";
const RUNS: &str = "its step runs or is done: once it is not known whether it was done, the undo is doubtful";
const NO_SIGNAL: &str = "what changes nothing is no signal: the breaker is not asked";
const SAID_ALREADY: &str = "an operator who says what is so already is heard, and changes nothing";
const HELD: &str = "an operator's word counts alone until it is taken back: the breaker is not asked";

/// Counts.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Trials.
    pub trials: u64,
    /// Recoveries that were completed or failed.
    pub recoveries: u64,
    /// Records.
    pub records: u64,
    /// Virtual time, in seconds.
    pub seconds: u64,
    /// Promises of the proof that were watched, and those that a guard took back.
    pub promises: (u64, u64),
    transitions: Transitions,
    seen: BTreeMap<String, u64>,
    pairs: BTreeMap<(FaultKind, FaultKind), u64>,
}

impl Coverage {
    pub(super) fn promised(&mut self, kept: Kept) {
        match kept {
            Kept::InTime => self.promises.0 += 1,
            Kept::Guarded(_) => self.promises.1 += 1,
        }
    }

    pub(super) fn said(&mut self, answer: &Result<(), Refusal>) {
        if let Err(refusal) = answer {
            self.note(format!("refusal {}", refusal.code()), 1);
        }
    }

    fn note(&mut self, what: String, times: u64) {
        *self.seen.entry(what).or_default() += times;
    }

    pub(super) fn ended(&mut self, world: &World, trial: &Trial) {
        self.trials += 1;
        self.transitions = watched::transitions();
        let census = &world.checkers.census;
        self.counted(census);
        self.seconds += world.now.as_nanos() / 1_000_000_000 - 1000;
        let mut struck: Vec<FaultKind> = trial.script.iter().map(|it| it.kind).collect();
        struck.sort_unstable();
        struck.dedup();
        for (nth, kind) in struck.iter().enumerate() {
            self.note(format!("fault {}", kind.word()), 1);
            for other in &struck[nth + 1..] {
                *self.pairs.entry((*kind, *other)).or_default() += 1;
            }
        }
    }

    /// A trial with several agents has ended.
    pub(crate) fn ended_among(&mut self, trial: &Several, site: &Site) {
        self.transitions = watched::transitions();
        let mut census = Census::default();
        site.records().for_each(|it| census.recorded(it));
        self.counted(&census);
        let mut struck: Vec<MischiefKind> = trial.script.iter().map(|it| it.1).collect();
        struck.sort_unstable();
        struck.dedup();
        for (nth, kind) in struck.iter().enumerate() {
            self.note(format!("fault among several: {}", kind.word()), 1);
            for other in &struck[nth + 1..] {
                self.note(format!("pair among several: {} + {}", kind.word(), other.word()), 1);
            }
        }
    }

    /// A trial with hosts has ended.
    pub(crate) fn ended_with_hosts(&mut self, world: &World, trial: &Hosted) {
        self.transitions = watched::transitions();
        self.counted(&world.checkers.census);
        let struck: Vec<TroubleKind> = trial.kinds().into_iter().collect();
        for (nth, kind) in struck.iter().enumerate() {
            self.note(format!("fault with hosts: {}", kind.word()), 1);
            for other in &struck[nth + 1..] {
                self.note(format!("pair with hosts: {} + {}", kind.word(), other.word()), 1);
            }
        }
    }

    fn counted(&mut self, census: &Census) {
        self.records += census.records;
        self.recoveries += census.recoveries;
        for (wait, times) in &census.waits {
            self.note(format!("wait {wait}"), *times);
        }
        for (rule, times) in &census.rules {
            self.note(format!("rule {rule}"), *times);
        }
    }

    /// Adds what others have reached.
    pub fn add(&mut self, other: Coverage) {
        self.trials += other.trials;
        self.recoveries += other.recoveries;
        self.records += other.records;
        self.seconds += other.seconds;
        self.promises = (self.promises.0 + other.promises.0, self.promises.1 + other.promises.1);
        for (what, times) in other.transitions {
            *self.transitions.entry(what).or_default() += times;
        }
        for (what, times) in other.seen {
            *self.seen.entry(what).or_default() += times;
        }
        for (what, times) in other.pairs {
            *self.pairs.entry(what).or_default() += times;
        }
    }

    /// Everything that there is to reach, with how often it was.
    pub fn all(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for table in machine::all() {
            for (input, cells) in &table.rows {
                for (state, next) in table.states.iter().zip(cells) {
                    if next.is_some() {
                        let times = self.transitions.get(&(table.name, *state, *input)).copied().unwrap_or(0);
                        all.insert(format!("transition {}: {state}, {input}", table.name), times);
                    }
                }
            }
        }
        let seen = |what: String| {
            let times = self.seen.get(&what).copied().unwrap_or(0);
            (what, times)
        };
        all.extend(reasons::waits().iter().map(|it| seen(format!("wait {}", it.code()))));
        all.extend(reasons::refusals().iter().map(|it| seen(format!("refusal {}", it.code()))));
        all.extend(RouteRule::ALL.iter().map(|it| seen(format!("rule {}", it.word()))));
        for (nth, kind) in MischiefKind::ALL.iter().enumerate() {
            all.extend([seen(format!("fault among several: {}", kind.word()))]);
            for other in &MischiefKind::ALL[nth + 1..] {
                all.extend([seen(format!("pair among several: {} + {}", kind.word(), other.word()))]);
            }
        }
        for (nth, kind) in TroubleKind::ALL.iter().enumerate() {
            all.extend([seen(format!("fault with hosts: {}", kind.word()))]);
            for other in &TroubleKind::ALL[nth + 1..] {
                all.extend([seen(format!("pair with hosts: {} + {}", kind.word(), other.word()))]);
            }
        }
        for (nth, kind) in FaultKind::ALL.iter().enumerate() {
            all.extend([seen(format!("fault {}", kind.word()))]);
            for other in &FaultKind::ALL[nth + 1..] {
                let times = self.pairs.get(&(*kind, *other)).copied().unwrap_or(0);
                all.insert(format!("pair {} + {}", kind.word(), other.word()), times);
            }
        }
        all
    }

    /// What was not reached and is not excused.
    pub fn lacking(&self) -> Vec<String> {
        let excused = |it: &str| EXCUSED.iter().any(|(what, _)| it.starts_with(what));
        self.all().into_iter().filter(|(what, times)| *times == 0 && !excused(what)).map(|it| it.0).collect()
    }

    /// What was reached although it is excused: the reason is wrong.
    pub fn wrongly_excused(&self) -> Vec<String> {
        let excused = |it: &str| EXCUSED.iter().any(|(what, _)| it.starts_with(what));
        self.all().into_iter().filter(|(what, times)| *times > 0 && excused(what)).map(|it| it.0).collect()
    }

    /// A few lines for people.
    pub fn summary(&self) -> String {
        let all = self.all();
        let mut lines = String::new();
        for class in ["transition", "wait", "refusal", "rule", "fault", "pair"] {
            let of = || all.iter().filter(|it| it.0.starts_with(class));
            let reached = of().filter(|it| *it.1 > 0).count();
            let rarest = of().filter(|it| *it.1 > 0).min_by_key(|it| it.1);
            let rarest = rarest.map_or_else(String::new, |(what, times)| format!(", the rarest {times} times: {what}"));
            lines += &format!("{class}s: {reached} of {}{rarest}\n", of().count());
        }
        lines
    }
}
