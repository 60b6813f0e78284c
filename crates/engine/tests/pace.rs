//! When probes are asked: at their own pace, spread where there are many, and never later than the plan says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::{Engine, Input};
use mainstay_plan::observation::{Answer, Concerns, Observation};
use mainstay_plan::{Plan, ProbeIx, Time};

const MANY: u32 = 500;
const INTERVAL: Duration = Duration::from_secs(1);

fn plan() -> Arc<Plan> {
    let mut text = "version: 2\nsite: { name: s, region: eu }\ncomponents:\n".to_owned();
    for nth in 0..MANY {
        let _infallible = writeln!(
            text,
            "  c{nth}: {{ type: cache, location: {{ region: eu, zone: a }}, probes: [{{ tcp: {{ address: \"10.0.0.1:{}\", interval: \
             1s, fast_interval: 600ms }} }}] }}",
            nth + 1
        );
    }
    Arc::new(mainstay_plan::compile("plan.yaml", &text, Path::new("/")).plan.expect("a sound plan"))
}

/// An agent whose loop comes round so long after it was asked to, and whose probes answer 3 ms after they are asked.
struct Agent {
    driver: Driver,
    now: Time,
    asked: BTreeMap<ProbeIx, Vec<Time>>,
    answers: BTreeMap<Time, Vec<ProbeIx>>,
}

impl Agent {
    fn start() -> Agent {
        let now = Time::from_millis(1_000_000);
        let driver = Driver::new(Engine::new(plan(), "/", "test", [], now));
        Agent { driver, now, asked: BTreeMap::new(), answers: BTreeMap::new() }
    }

    fn run(&mut self, lasts: Duration, late: Duration) {
        let end = self.now + lasts;
        while self.now < end {
            let answered = self.answers.first_key_value().map(|it| *it.0);
            let due = self.driver.engine().next_wakeup().map(|it| it.0);
            self.now = self.now.max(answered.into_iter().chain(due).min().expect("something is due") + late);
            let later = self.answers.split_off(&(self.now + Duration::from_nanos(1)));
            let ready = std::mem::replace(&mut self.answers, later);
            let inputs: Vec<Input> =
                (ready.into_iter().flat_map(|(ended, all)| all.into_iter().map(move |it| (ended, it))))
                    .map(|(ended, probe)| {
                        let started = *self.asked[&probe].last().expect("it was asked");
                        let (answer, lag, role, concerns, position) = (Answer::Good, None, None, Concerns::NONE, None);
                        Input::Observation(Observation { probe, started, ended, answer, lag, role, concerns, position })
                    })
                    .collect();
            for todo in self.driver.turn(self.now, inputs).todo {
                if let Todo::Probe(probe, _) = todo {
                    self.asked.entry(probe).or_default().push(self.now);
                    self.answers.entry(self.now + Duration::from_millis(3)).or_default().push(probe);
                }
            }
        }
    }

    /// How many questions there were in each 10 ms of the last second.
    fn busiest(&self) -> usize {
        let last = self.now.as_nanos() - 1_000_000_000;
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for at in self.asked.values().flatten().filter(|it| it.as_nanos() > last) {
            *counts.entry(at.as_nanos() / 10_000_000).or_default() += 1;
        }
        counts.into_values().max().unwrap_or_default()
    }
}

#[test]
fn many_probes_are_spread_and_keep_their_pace() {
    let mut agent = Agent::start();
    agent.run(Duration::from_secs(6), Duration::ZERO);
    // 500 in a second are 5 in 10 ms.
    assert!(agent.busiest() <= 8, "{}", agent.busiest());
    for (probe, asked) in &agent.asked {
        let gaps: Vec<Duration> = asked.windows(2).map(|it| it[1].since(it[0])).collect();
        assert!(gaps.iter().all(|it| *it <= INTERVAL), "{probe:?} {gaps:?}");
        assert_eq!(gaps.last(), Some(&INTERVAL), "{probe:?} {gaps:?}");
    }
}

#[test]
fn a_loop_that_is_a_little_late_does_not_slow_the_pace() {
    let mut agent = Agent::start();
    agent.run(Duration::from_secs(5), Duration::ZERO);
    let before: usize = agent.asked.values().map(Vec::len).sum();
    agent.run(Duration::from_secs(10), Duration::from_millis(20));
    let after: usize = agent.asked.values().map(Vec::len).sum();
    assert!(after - before >= 10 * MANY as usize - MANY as usize / 10, "{}", after - before);
    let soft = agent.driver.engine().soft();
    let late = (0..MANY).map(|it| soft.watch(ProbeIx(it)).late).max();
    assert!(late.is_some_and(|it| it >= Duration::from_millis(20) && it < Duration::from_millis(60)), "{late:?}");
}
