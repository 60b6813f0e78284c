//! What each probe got lately, in bounded memory: the newest results, and how often each kind of them came since the start.
//!
//! It is for people. Nothing is decided from it, and it is lost with the process; changes of health stand in the journal.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mainstay_api as api;
use mainstay_engine::Engine;
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::Watches;
use mainstay_plan::{Plan, ProbeIx, Time};

/// How many results are kept of all probes together; eight bytes each.
const ROOM: usize = 1 << 20;
/// Of one probe: the fewest, however many probes there are, and the most.
const FEWEST: usize = 16;
const MOST: usize = 1024;
/// A moment is kept to a sixteenth of a second: 8 years of them fit.
const TICKS: u64 = 16;
/// Microseconds take this many bits of a result, its kind the others.
const TOOK_BITS: u32 = 29;
const LONGEST: u32 = (1 << TOOK_BITS) - 1;

/// What all probes of a plan got.
pub(crate) struct Past {
    since: Time,
    keeps: usize,
    probes: Vec<Of>,
}

/// What one probe got.
#[derive(Clone, Default)]
struct Of {
    results: VecDeque<Kept>,
    counts: [u64; KINDS.len()],
    late: u64,
}

/// One result: when it was there, and how long it took, with its kind.
#[derive(Clone, Copy)]
struct Kept {
    ticks: u32,
    took_and_kind: u32,
}

const GOOD: usize = 0;
const COULD_NOT_ASK: usize = 4;
const KINDS: [&str; 5] = ["good", "refused", "timed out", "wrong answer", "could not ask"];

fn kind(answer: &Answer) -> usize {
    match answer {
        Answer::Good => GOOD,
        Answer::Refused(_) => 1,
        Answer::TimedOut => 2,
        Answer::Wrong(_) => 3,
        Answer::CouldNotAsk(_) => COULD_NOT_ASK,
    }
}

impl Kept {
    fn kind(self) -> usize {
        (self.took_and_kind >> TOOK_BITS) as usize
    }

    fn took_ns(self) -> u64 {
        u64::from(self.took_and_kind & LONGEST) * 1000
    }
}

impl Past {
    pub(crate) fn new(plan: &Plan, now: Time) -> Past {
        let keeps = (ROOM / plan.probes.len().max(1)).clamp(FEWEST, MOST);
        Past { since: now, keeps, probes: vec![Of::default(); plan.probes.len()] }
    }

    /// Goes on under another plan: what a probe got stays with its name.
    pub(crate) fn carry_over(&mut self, before: &Plan, plan: &Plan) {
        let old = std::mem::take(&mut self.probes);
        let mut old: BTreeMap<&str, Of> = before.probes.iter().map(|it| it.name.as_str()).zip(old).collect();
        *self = Past { since: self.since, ..Past::new(plan, self.since) };
        for (of, probe) in self.probes.iter_mut().zip(&plan.probes) {
            *of = old.remove(probe.name.as_str()).unwrap_or_default();
            let beyond = of.results.len().saturating_sub(self.keeps);
            of.results.drain(..beyond);
        }
    }

    pub(crate) fn note(&mut self, probe: ProbeIx, ended: Time, took: Duration, answer: &Answer, is_late: bool) {
        let Some(of) = self.probes.get_mut(probe.index()) else { return };
        let kind = kind(answer);
        of.counts[kind] += 1;
        of.late += u64::from(is_late);
        if of.results.len() >= self.keeps {
            of.results.pop_front();
        }
        let ticks = u128::from(nanos(ended.since(self.since))) * u128::from(TICKS) / 1_000_000_000;
        let took = u32::try_from(took.as_micros()).unwrap_or(LONGEST).min(LONGEST);
        of.results.push_back(Kept {
            ticks: u32::try_from(ticks).unwrap_or(u32::MAX),
            took_and_kind: took | u32::try_from(kind).unwrap_or(0) << TOOK_BITS,
        });
    }

    /// The probes of that name, or of that instance, component or witness, each with its results; without a name all of them,
    /// without results.
    pub(crate) fn shown(&self, engine: &Engine, of: Option<&str>, now: Time) -> api::Probes {
        let plan = &*engine.state().plan;
        let asked = |ix: &ProbeIx| of.is_none_or(|it| is_of(plan, *ix, it));
        let probes = (0u32..).map(ProbeIx).take(plan.probes.len().min(self.probes.len())).filter(asked);
        let probes = probes.map(|ix| self.shown_probe(engine, ix, of.is_some())).collect();
        api::Probes { now_ns: now.as_nanos(), probes, names: Vec::new() }
    }

    fn shown_probe(&self, engine: &Engine, ix: ProbeIx, with_results: bool) -> api::ProbePast {
        let of = &self.probes[ix.index()];
        let mut good: Vec<u64> = of.results.iter().filter(|it| it.kind() == GOOD).map(|it| it.took_ns()).collect();
        good.sort_unstable();
        let percentile = |percent: usize| good.get((good.len() * percent).div_ceil(100).max(1) - 1).copied();
        let at = |it: &Kept| self.since.as_nanos() + u64::from(it.ticks) * (1_000_000_000 / TICKS);
        let result = |it: &Kept| api::ProbeResult {
            ended_ns: at(it),
            took_ns: it.took_ns(),
            answer: KINDS[it.kind().min(COULD_NOT_ASK)].to_owned(),
        };
        api::ProbePast {
            name: engine.state().plan.probe(ix).name.clone(),
            health: engine.soft().watch(ix).health.word().to_owned(),
            good: of.counts[GOOD],
            failed: of.counts[1..COULD_NOT_ASK].iter().sum(),
            could_not_ask: of.counts[COULD_NOT_ASK],
            late: of.late,
            kept: of.results.len(),
            kept_since_ns: of.results.front().map(at),
            p50_ns: percentile(50),
            p90_ns: percentile(90),
            p99_ns: percentile(99),
            max_ns: good.last().copied(),
            results: if with_results { of.results.iter().rev().map(result).collect() } else { Vec::new() },
        }
    }
}

fn is_of(plan: &Plan, ix: ProbeIx, name: &str) -> bool {
    let probe = plan.probe(ix);
    probe.name == name
        || match probe.watches {
            Watches::Instance(it) => {
                let instance = plan.instance(it);
                instance.name == name || plan.component(instance.component).name == name
            }
            Watches::Witness(it) => plan.witness(it).name == name,
            Watches::Route(it) => plan.route(it).name == name,
            Watches::Control(it) => plan.control(it).service == name,
        }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    const START: Time = Time::from_millis(1_000_000);

    fn plan(names: &[&str]) -> Arc<Plan> {
        let mut text = "version: 2\nsite: { name: s, region: eu }\ncomponents:\n".to_owned();
        for (name, nth) in names.iter().zip(1..) {
            let _infallible = writeln!(
                text,
                "  {name}: {{ type: cache, location: {{ region: eu, zone: a }}, probes: [{{ tcp: {{ address: \"10.0.0.1:{nth}\" }} }}] }}"
            );
        }
        Arc::new(mainstay_plan::compile("plan.yaml", &text, Path::new("/")).plan.expect("a sound plan"))
    }

    fn engine(plan: &Arc<Plan>) -> Engine {
        Engine::new(plan.clone(), "/", "test", [], START)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_newest_results_are_kept_and_all_are_counted() {
        let plan = plan(&["one", "two"]);
        let mut past = Past::new(&plan, START);
        for nth in 1..=2000u64 {
            past.note(ProbeIx(0), START + ms(nth * 1000), ms(nth % 100), &Answer::Good, nth % 1000 == 0);
        }
        past.note(ProbeIx(0), START + ms(2_001_500), ms(500), &Answer::TimedOut, false);
        past.note(ProbeIx(0), START + ms(2_002_500), Duration::MAX, &Answer::CouldNotAsk(String::new()), true);
        let all = past.shown(&engine(&plan), None, START);
        assert_eq!(all.probes.len(), 2);
        let (one, two) = (&all.probes[0], &all.probes[1]);
        assert_eq!((one.good, one.failed, one.could_not_ask, one.late, one.kept), (2000, 1, 1, 3, MOST));
        let percentiles = [one.p50_ns, one.p90_ns, one.p99_ns, one.max_ns].map(|it| it.map(|it| it / 1_000_000));
        assert_eq!(percentiles, [Some(50), Some(90), Some(99), Some(99)], "a failure has no latency");
        assert!(one.results.is_empty() && two.p50_ns.is_none() && two.kept_since_ns.is_none());

        let of_one = past.shown(&engine(&plan), Some("one"), START);
        assert_eq!(of_one.probes.len(), 1);
        let results = &of_one.probes[0].results;
        assert_eq!(results.len(), MOST);
        assert_eq!((results[1].answer.as_str(), results[1].took_ns), ("timed out", 500_000_000));
        assert_eq!(results[1].ended_ns, (START + ms(2_001_500)).as_nanos());
    }

    #[test]
    fn another_plan_leaves_what_has_the_same_name() {
        let (before, after) = (plan(&["one", "two"]), plan(&["zero", "two"]));
        let mut past = Past::new(&before, START);
        past.note(ProbeIx(0), START, ms(1), &Answer::Good, false);
        past.note(ProbeIx(1), START, ms(2), &Answer::Good, false);
        past.carry_over(&before, &after);
        let of = |name: &str| after.probes.iter().zip(&past.probes).find(|it| it.0.name == name).map(|it| it.1);
        assert_eq!(of("two/tcp").map(|it| (it.counts[GOOD], it.results[0].took_ns())), Some((1, 2_000_000)));
        assert_eq!(of("zero/tcp").map(|it| it.counts[GOOD]), Some(0));
    }

    #[test]
    fn memory_is_bounded_by_the_number_of_probes() {
        let plan = plan(&["one"]);
        let mut past = Past::new(&plan, START);
        assert_eq!(past.keeps, MOST);
        past.keeps = 3;
        for _ in 0..10 {
            past.note(ProbeIx(0), START, ms(1), &Answer::Good, false);
        }
        assert_eq!((past.probes[0].results.len(), size_of::<Kept>()), (3, 8));
    }
}
