//! The plan's decision rules, looked at whenever what they speak of may have changed. That a rule becomes true, and that it
//! ceases to be, is a *fact*: [`Body::RuleFired`] and [`Body::RuleCleared`]. Nothing is decided here.
//!
//! Intuition: each rule sleeps until someone pulls at its string. An answer pulls at the rules that listen to its probe, a
//! change of health at the rules that name or count the instance, and the clock at those whose age, window or `for` runs out. What
//! nobody pulls at is not looked at, so that ten thousand components cost no more than those that a rule names.
//!
//! A rule that was true when the agent died, slept, or did something to an instance is not taken back because the memory of it
//! is gone: it stays as it is until it is known again, for as long as it looks back at most.

pub mod evaluate;
mod index;
pub mod memory;

use std::collections::BTreeSet;
use std::time::Duration;

use mainstay_plan::observation::Health;
use mainstay_plan::rule::{Fraction, Measure, Since, Subject, Term, Value};
use mainstay_plan::{InstanceIx, Plan, ProbeIx, Time};

use crate::observe::{Soft, Taken};
use crate::record::{Body, TermValue};
use crate::state::State;
use evaluate::{Held, Look, Sight, Truth, count_held, looks_back, terms};
use index::{Index, RuleIx, place};

/// What is remembered for the rules. Soft: lost at a restart.
#[derive(Clone, Debug)]
pub struct Rules {
    each: Vec<Memory>,
    index: Index,
    /// Rules to be looked at.
    touched: BTreeSet<RuleIx>,
    /// Rules by when they may change although nothing is observed.
    timers: BTreeSet<(Time, RuleIx)>,
    /// Ages are not counted from before this: we slept.
    awake_since: Time,
    /// Everything has to be looked at.
    all: bool,
    /// The longest that a probe may take to say something: before that, an instance can't be known again.
    longest_wait: Duration,
    looked: Time,
}

/// What is remembered for one rule.
#[derive(Clone, Debug)]
struct Memory {
    truth: Truth,
    /// Since when it has been true, where it is.
    since: Time,
    held: Vec<Held>,
    timer: Option<Time>,
    /// Until then it is not taken back for being not known.
    stays_until: Time,
    looks_back: Duration,
    /// The windows that it looks into.
    latencies: Vec<usize>,
}

/// A rule as it is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its name.
    pub rule: String,
    /// Its truth.
    pub truth: Truth,
    /// The value of each term; `None`: nobody has measured it.
    pub terms: Vec<(String, Option<Value>)>,
}

impl Rules {
    /// Nothing was seen before `now`.
    pub fn new(plan: &Plan, now: Time) -> Rules {
        let wait = |it: &mainstay_plan::probe::Probe| 2 * (it.timing.interval + it.timing.timeout);
        let longest_wait = plan.probes.iter().map(wait).max().unwrap_or_default();
        let index = Index::of(plan, now);
        let memory = |(rule, ix): (&mainstay_plan::rule::Rule, RuleIx)| {
            let looks_back = looks_back(&rule.when);
            Memory {
                truth: Truth::Unknown,
                since: now,
                held: vec![Held::from(now); count_held(&rule.when)],
                timer: None,
                stays_until: now + looks_back + longest_wait,
                looks_back,
                latencies: index.windows_of(ix, &rule.when),
            }
        };
        Rules {
            each: plan.rules.iter().zip(0u32..).map(memory).collect(),
            index,
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            awake_since: Time::ZERO,
            all: !plan.rules.is_empty(),
            longest_wait,
            looked: now,
        }
    }

    /// A probe answered.
    pub(crate) fn answered(&mut self, probe: ProbeIx, taken: &Taken) {
        let Some(listened) = self.index.listened_to(probe) else { return };
        self.touched.extend(&listened.rules);
        if let Some(latency) = taken.latency {
            self.index.take(probe, taken.ended, latency);
        }
    }

    /// We were late: no age grew and nothing held while we slept.
    pub(crate) fn distrust(&mut self, now: Time) {
        self.awake_since = now;
        self.all = !self.each.is_empty();
        for rule in (0u32..).take(self.each.len()) {
            self.begin_again(rule, now);
        }
    }

    /// What was seen of an instance does not count any more.
    pub(crate) fn forget(&mut self, plan: &Plan, instance: InstanceIx, now: Time) {
        let Some(at) = self.index.place_of(instance) else { return };
        self.index.watched[at].forgotten = Some(now);
        for probe in &plan.instance(instance).probes {
            let latencies = self.index.listened_to(*probe).map(|it| it.latencies.clone());
            latencies.into_iter().flatten().for_each(|it| self.index.latencies[it].clear());
        }
        for rule in self.index.watched[at].rules.clone() {
            self.begin_again(rule, now);
            self.touched.insert(rule);
        }
    }

    fn begin_again(&mut self, rule: RuleIx, now: Time) {
        let memory = &mut self.each[rule as usize];
        memory.held.fill(Held::from(now));
        memory.stays_until = now + memory.looks_back + self.longest_wait;
    }

    /// When a rule may change although nothing is observed.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let at_once = self.all || !self.touched.is_empty();
        if at_once { Some(self.looked) } else { self.timers.first().map(|it| it.0) }
    }

    /// Rules that fired, and that ceased, since the last call. `seen` are the instances that were observed since.
    pub(crate) fn facts(&mut self, state: &State, soft: &Soft, seen: &BTreeSet<InstanceIx>, now: Time) -> Vec<Body> {
        if self.each.is_empty() {
            return Vec::new();
        }
        self.looked = now;
        self.look_around(state, soft, seen, now);
        while let Some((_, rule)) = self.timers.first().copied().filter(|it| it.0 <= now) {
            self.set_timer(rule, None);
            self.touched.insert(rule);
        }
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter_map(|it| self.look_at(state, soft, it, now)).collect()
    }

    /// Notices changes of health, and of what is bound to what.
    fn look_around(&mut self, state: &State, soft: &Soft, seen: &BTreeSet<InstanceIx>, now: Time) {
        let all = std::mem::take(&mut self.all);
        let places: Vec<usize> = if all {
            self.touched.extend((0u32..).take(self.each.len()));
            (0..self.index.watched.len()).collect()
        } else {
            seen.iter().filter_map(|it| self.index.place_of(*it)).collect()
        };
        for at in places {
            let watched = &self.index.watched[at];
            let health = shown_health(state, soft, watched.instance);
            if health != watched.health {
                let rules = self.index.turn(at, health, now);
                self.touched.extend(rules);
            }
        }
        for (witness, attested) in &mut self.index.witnesses {
            let health = soft.watch(state.plan.witness(*witness).probe).health;
            if health != attested.health {
                (attested.health, attested.since) = (health, now);
                self.touched.extend(&attested.rules);
            }
        }
    }

    /// A component is another instance now: what held of the one before says nothing about it.
    pub(crate) fn rebound(&mut self, component: mainstay_plan::ComponentIx, now: Time) {
        let rules = self.index.components.get(&component).cloned().unwrap_or_default();
        for rule in rules {
            self.each[rule as usize].held.fill(Held::from(now));
            self.touched.insert(rule);
        }
    }

    fn look_at(&mut self, state: &State, soft: &Soft, rule: RuleIx, now: Time) -> Option<Body> {
        let planned = &state.plan.rules[rule as usize];
        for at in &self.each[rule as usize].latencies {
            self.index.latencies[*at].expire(now);
        }
        let mut held = std::mem::take(&mut self.each[rule as usize].held);
        let sight = View { index: &self.index, awake_since: self.awake_since, state, soft, rule };
        let mut look = Look::new(&sight, &mut held, now);
        let found = look.condition(&planned.when);
        let mut next = look.next;
        let fired = state.fired(rule as usize).is_some();
        let body = match found.truth {
            Truth::True => (!fired).then(|| Body::RuleFired {
                rule: planned.name.clone(),
                since: found.since,
                terms: self.values(state, soft, rule, now).iter().map(shown).collect(),
            }),
            Truth::Unknown if fired && self.each[rule as usize].stays_until > now => {
                next = [next, Some(self.each[rule as usize].stays_until)].into_iter().flatten().min();
                None
            }
            Truth::False | Truth::Unknown => fired.then(|| Body::RuleCleared { rule: planned.name.clone() }),
        };
        let memory = &mut self.each[rule as usize];
        (memory.held, memory.truth, memory.since) = (held, found.truth, found.since);
        self.set_timer(rule, next);
        body
    }

    fn set_timer(&mut self, rule: RuleIx, at: Option<Time>) {
        let timer = &mut self.each[rule as usize].timer;
        if *timer == at {
            return;
        }
        if let Some(before) = std::mem::replace(timer, at) {
            self.timers.remove(&(before, rule));
        }
        self.timers.extend(at.map(|it| (it, rule)));
    }

    fn values(&self, state: &State, soft: &Soft, rule: RuleIx, now: Time) -> Vec<(String, Option<Value>)> {
        let sight = View { index: &self.index, awake_since: self.awake_since, state, soft, rule };
        let mut look = Look::new(&sight, &mut [], now);
        let planned = &state.plan.rules[rule as usize];
        terms(&planned.when).iter().map(|it| (planned.words(it.at).to_owned(), look.value(it))).collect()
    }

    /// Every rule as it was at the last look, with its terms as they are now.
    pub(crate) fn present(&self, state: &State, soft: &Soft, now: Time) -> Vec<Present> {
        let rules = state.plan.rules.iter().zip(&self.each).zip(0u32..);
        rules
            .map(|((planned, memory), ix)| Present {
                rule: planned.name.clone(),
                truth: memory.truth,
                terms: self.values(state, soft, ix, now),
            })
            .collect()
    }
}

/// A term and its value, in words.
pub fn shown((term, value): &(String, Option<Value>)) -> TermValue {
    let whole_millis = |it: Duration| if it < Duration::from_millis(10) { it } else { floor(it) };
    let value = match value {
        None => "not known".to_owned(),
        Some(Value::Duration(duration)) => Value::Duration(whole_millis(*duration)).to_string(),
        Some(other @ (Value::Number(_) | Value::Fraction(_) | Value::Health(_))) => other.to_string(),
    };
    TermValue { term: term.clone(), value }
}

fn floor(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// The health of an instance as people and rules see it: what lasts, or *suspect* while the probes of a healthy one are in
/// doubt.
pub fn shown_health(state: &State, soft: &Soft, ix: InstanceIx) -> Health {
    match (state.instances[ix.index()].health, soft.verdict(&state.plan, ix)) {
        (Health::Healthy, Health::Suspect) => Health::Suspect,
        (lasting, _) => lasting,
    }
}

/// What one rule sees.
struct View<'a> {
    index: &'a Index,
    awake_since: Time,
    state: &'a State,
    soft: &'a Soft,
    rule: RuleIx,
}

impl View<'_> {
    fn instance_of(&self, of: Subject) -> Option<InstanceIx> {
        match of {
            Subject::Component(component) => Some(self.state.components[component.index()].bound),
            Subject::Instance(instance) => Some(instance),
            Subject::Witness(_) => None,
        }
    }

    fn watched(&self, of: Subject) -> Option<&index::Watched> {
        let at = self.index.place_of(self.instance_of(of)?)?;
        Some(&self.index.watched[at])
    }

    fn witness(&self, of: Subject) -> Option<(&index::Attested, ProbeIx)> {
        let Subject::Witness(witness) = of else { return None };
        Some((self.index.witnesses.get(&witness)?, self.state.plan.witness(witness).probe))
    }

    fn health(&self, of: Subject) -> Health {
        let instance = || self.watched(of).map(|it| it.health);
        self.witness(of).map(|it| it.0.health).or_else(instance).unwrap_or(Health::Unknown)
    }
}

impl Sight for View<'_> {
    fn value(&self, term: &Term) -> Option<Value> {
        let about = || self.index.of_term(self.rule, term);
        match &term.what {
            Measure::Constant(value) => Some(*value),
            Measure::Health(of) => Some(Value::Health(self.health(*of))),
            Measure::Count { health, .. } => {
                Some(Value::Number(self.index.scopes.get(about()?)?.by_health[place(*health)]))
            }
            Measure::Fraction { health, .. } => {
                let counted = self.index.scopes.get(about()?)?;
                Fraction::new(counted.by_health[place(*health)], counted.whole).map(Value::Fraction)
            }
            Measure::Age { .. } => None,
            Measure::Lag(instance) => self.soft.lag(*instance).map(Value::Duration),
            Measure::Latency { percentile, .. } => {
                self.index.latencies.get(about()?)?.percentile(*percentile).map(Value::Duration)
            }
        }
    }

    /// Neither an age nor a change of health is counted from before we woke up.
    fn base(&self, since: Since, of: Subject) -> Option<Time> {
        match (self.witness(of), since) {
            (Some((attested, _)), Since::Health) => Some(attested.since),
            (Some((_, probe)), Since::LastGood) => Some(self.soft.watch(probe).last_good?.max(self.awake_since)),
            (None, Since::Health) => self.watched(of).map(|it| it.since),
            (None, Since::LastGood) => {
                let watched = self.watched(of)?;
                let probes = &self.state.plan.instance(watched.instance).probes;
                let last = probes.iter().filter_map(|it| self.soft.watch(*it).last_good).max()?;
                Some(last.max(self.awake_since).max(watched.forgotten.unwrap_or_default()))
            }
        }
    }

    fn expires(&self, term: &Term) -> Option<Time> {
        match &term.what {
            Measure::Latency { .. } => self.index.latencies.get(self.index.of_term(self.rule, term)?)?.expires(),
            Measure::Constant(_)
            | Measure::Health(_)
            | Measure::Count { .. }
            | Measure::Fraction { .. }
            | Measure::Age { .. }
            | Measure::Lag(_) => None,
        }
    }
}
