//! What hangs on what: from an instance, a probe, a component or a scope to the rules that speak of it. Made once for a plan,
//! so that an observation costs the same whatever the plan's size; of a plan without rules it holds nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_plan::observation::Health;
use mainstay_plan::probe::Watches;
use mainstay_plan::rule::{Expr, Measure, Scope, Since, Subject, Term};
use mainstay_plan::{ComponentIx, InstanceIx, Plan, ProbeIx, Time, WitnessIx};

use super::evaluate::all_terms;
use super::memory::Latencies;

/// A rule, by its place in the plan.
pub(super) type RuleIx = u32;

/// An instance that some rule speaks of.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) instance: InstanceIx,
    /// Its health as rules see it, and the moment when it came into it.
    pub(super) health: Health,
    pub(super) since: Time,
    /// What was seen before does not count.
    pub(super) forgotten: Option<Time>,
    /// Rules that name it, or its component.
    pub(super) rules: Vec<RuleIx>,
    /// Scopes that it belongs to.
    pub(super) scopes: Vec<u32>,
}

/// A set of instances that some rule counts.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) whole: u32,
    pub(super) by_health: [u32; Health::ALL.len()],
    pub(super) rules: Vec<RuleIx>,
}

/// A witness that some rule speaks of.
#[derive(Clone, Debug)]
pub(super) struct Attested {
    pub(super) health: Health,
    pub(super) since: Time,
    pub(super) rules: Vec<RuleIx>,
}

/// Whose answers, and which of the latencies they go into.
#[derive(Clone, Debug, Default)]
pub(super) struct Listened {
    pub(super) rules: Vec<RuleIx>,
    pub(super) latencies: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// By instance: its place in `watched`; empty without rules.
    places: Vec<Option<u32>>,
    pub(super) watched: Vec<Watched>,
    pub(super) scopes: Vec<Counted>,
    pub(super) witnesses: BTreeMap<WitnessIx, Attested>,
    /// By probe: whether it stands in `listened`; empty without rules.
    listens: Vec<bool>,
    pub(super) listened: BTreeMap<ProbeIx, Listened>,
    pub(super) latencies: Vec<Latencies>,
    /// Rules that speak of whichever instance is this component.
    pub(super) components: BTreeMap<ComponentIx, Vec<RuleIx>>,
    /// By rule and place in its text: which of `scopes`, or of `latencies`.
    of_term: BTreeMap<(RuleIx, usize), usize>,
}

impl Index {
    pub(super) fn of(plan: &Plan, now: Time) -> Index {
        let mut index = Index::default();
        if plan.rules.is_empty() {
            return index;
        }
        index.places = vec![None; plan.instances.len()];
        index.listens = vec![false; plan.probes.len()];
        let mut known_scopes: BTreeMap<String, usize> = BTreeMap::new();
        let mut known_latencies: BTreeMap<(ProbeIx, Duration), usize> = BTreeMap::new();
        for (rule, ix) in plan.rules.iter().zip(0u32..) {
            for term in all_terms(&rule.when) {
                match &term.what {
                    Measure::Constant(_) => {}
                    Measure::Health(of) => index.subject(plan, *of, ix, now, false),
                    Measure::Age { since, of } => index.subject(plan, *of, ix, now, *since == Since::LastGood),
                    Measure::Count { scope, .. } | Measure::Fraction { scope, .. } => {
                        let next = index.scopes.len();
                        let at = *known_scopes.entry(scope.show(plan).to_string()).or_insert(next);
                        if at == next {
                            index.scope(plan, scope, now);
                        }
                        index.scopes[at].rules.push(ix);
                        index.of_term.insert((ix, term.at.start), at);
                    }
                    Measure::Lag(instance) => index.instance(plan, *instance, ix, now, true),
                    Measure::Latency { probe, window, .. } => {
                        let next = index.latencies.len();
                        let at = *known_latencies.entry((*probe, *window)).or_insert(next);
                        if at == next {
                            index.latencies.push(Latencies::new(*window));
                            index.listened.entry(*probe).or_default().latencies.push(at);
                        }
                        index.of_term.insert((ix, term.at.start), at);
                        index.listen(*probe, ix);
                        // Whatever is done to the instance makes its answers of before worthless.
                        if let Watches::Instance(instance) = plan.probe(*probe).watches {
                            index.instance(plan, instance, ix, now, false);
                        }
                    }
                }
            }
        }
        index
    }

    fn subject(&mut self, plan: &Plan, of: Subject, rule: RuleIx, now: Time, each_answer: bool) {
        match of {
            Subject::Component(component) => {
                add(self.components.entry(component).or_default(), rule);
                for instance in &plan.component(component).instances {
                    self.instance(plan, *instance, rule, now, each_answer);
                }
            }
            Subject::Instance(instance) => self.instance(plan, instance, rule, now, each_answer),
            Subject::Witness(witness) => {
                let unseen = || Attested { health: Health::Unknown, since: now, rules: Vec::new() };
                add(&mut self.witnesses.entry(witness).or_insert_with(unseen).rules, rule);
                self.listen(plan.witness(witness).probe, rule);
            }
        }
    }

    fn instance(&mut self, plan: &Plan, instance: InstanceIx, rule: RuleIx, now: Time, each_answer: bool) {
        add(&mut self.watch(instance, now).rules, rule);
        if each_answer {
            plan.instance(instance).probes.iter().for_each(|it| self.listen(*it, rule));
        }
    }

    fn scope(&mut self, plan: &Plan, scope: &Scope, now: Time) {
        let at = u32::try_from(self.scopes.len()).expect("a term each, and rules are numbered by 32 bits");
        let mut counted = Counted { whole: 0, by_health: [0; Health::ALL.len()], rules: Vec::new() };
        for instance in scope.instances(plan) {
            let watched = self.watch(instance, now);
            watched.scopes.push(at);
            counted.whole += 1;
            counted.by_health[place(watched.health)] += 1;
        }
        self.scopes.push(counted);
    }

    fn watch(&mut self, instance: InstanceIx, now: Time) -> &mut Watched {
        let next = u32::try_from(self.watched.len()).expect("instances have an index of 32 bits");
        let at = *self.places[instance.index()].get_or_insert(next);
        if at == next {
            let (rules, scopes) = (Vec::new(), Vec::new());
            self.watched.push(Watched {
                instance,
                health: Health::Unknown,
                since: now,
                forgotten: None,
                rules,
                scopes,
            });
        }
        &mut self.watched[at as usize]
    }

    fn listen(&mut self, probe: ProbeIx, rule: RuleIx) {
        self.listens[probe.index()] = true;
        add(&mut self.listened.entry(probe).or_default().rules, rule);
    }

    /// Who listens to the answers of a probe.
    pub(super) fn listened_to(&self, probe: ProbeIx) -> Option<&Listened> {
        let listens = self.listens.get(probe.index()).copied().unwrap_or(false);
        if listens { self.listened.get(&probe) } else { None }
    }

    /// A good answer took so long.
    pub(super) fn take(&mut self, probe: ProbeIx, ended: Time, latency: Duration) {
        let Some(listened) = self.listened.get(&probe) else { return };
        for at in &listened.latencies {
            self.latencies[*at].push(ended, latency);
        }
    }

    /// Where an instance stands in `watched`, if some rule speaks of it.
    pub(super) fn place_of(&self, instance: InstanceIx) -> Option<usize> {
        self.places.get(instance.index()).copied().flatten().map(|it| it as usize)
    }

    /// Which of `scopes`, or of `latencies`, a term is about.
    pub(super) fn of_term(&self, rule: RuleIx, term: &Term) -> Option<usize> {
        self.of_term.get(&(rule, term.at.start)).copied()
    }

    /// The windows that an expression looks into.
    pub(super) fn windows_of(&self, rule: RuleIx, expr: &Expr) -> Vec<usize> {
        let latencies = all_terms(expr).into_iter().filter(|it| matches!(it.what, Measure::Latency { .. }));
        latencies.filter_map(|it| self.of_term(rule, it)).collect()
    }

    /// An instance is in another health from `now` on; gives the rules that may say something else.
    pub(super) fn turn(&mut self, at: usize, health: Health, now: Time) -> Vec<RuleIx> {
        let watched = &mut self.watched[at];
        let before = std::mem::replace(&mut watched.health, health);
        watched.since = now;
        let mut rules = watched.rules.clone();
        for scope in &watched.scopes {
            let counted = &mut self.scopes[*scope as usize];
            counted.by_health[place(before)] -= 1;
            counted.by_health[place(health)] += 1;
            rules.extend(&counted.rules);
        }
        rules
    }
}

fn add(to: &mut Vec<RuleIx>, rule: RuleIx) {
    // Rules come in order, so that one which is there already is the last.
    if to.last() != Some(&rule) {
        to.push(rule);
    }
}

/// Where a health stands in [`Health::ALL`].
pub(super) const fn place(health: Health) -> usize {
    match health {
        Health::Healthy => 0,
        Health::Suspect => 1,
        Health::Down => 2,
        Health::Unknown => 3,
    }
}
