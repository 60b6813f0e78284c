//! All components of a plan, those first that others depend on: a component is recovered when what it needs is.

use std::collections::BTreeMap;

use super::judge::{Judge, may_differ};
use super::{Condition, NoRecovery, OfComponent, Recovery, RestsOn, Unrecovered, Verdict};
use crate::location::FailureDomain;
use crate::{ComponentIx, Plan, Topology};

/// The cells of all components under these conditions; the first is [`Condition::None`]. Cells under others repeat it.
pub(super) fn all(plan: &Plan, conditions: &[Condition]) -> Vec<OfComponent> {
    let mut prover = Prover {
        plan,
        topology: Topology::of(plan),
        done: vec![None; plan.components.len()],
        marks: vec![0; plan.components.len()],
        mark: 0,
        on_host: BTreeMap::new(),
    };
    for component in &plan.components {
        let location = &plan.instance(component.original()).location;
        if let Some(host) = &location.host {
            *prover.on_host.entry((&location.region, host)).or_default() += 1;
        }
    }
    for component in dependencies_first(plan) {
        let proved = prover.component(component, conditions);
        prover.done[component.index()] = Some(proved);
    }
    let mut proved: Vec<OfComponent> = prover.done.into_iter().flatten().collect();
    super::turns::add(plan, &prover.topology, conditions, &mut proved);
    proved
}

/// Components in an order in which each follows all that it depends on. The plan has no circle: its compiler refuses one.
fn dependencies_first(plan: &Plan) -> Vec<ComponentIx> {
    let mut order = Vec::with_capacity(plan.components.len());
    let mut begun = vec![false; plan.components.len()];
    for start in (0u32..).map(ComponentIx).take(plan.components.len()) {
        let mut path = Vec::new();
        if !std::mem::replace(&mut begun[start.index()], true) {
            path.push((start, 0));
        }
        while let Some((component, next)) = path.last_mut() {
            match plan.component(*component).depends_on.get(*next) {
                Some(on) => {
                    *next += 1;
                    if !std::mem::replace(&mut begun[on.index()], true) {
                        path.push((*on, 0));
                    }
                }
                None => {
                    order.push(*component);
                    path.pop();
                }
            }
        }
    }
    order
}

struct Prover<'p> {
    plan: &'p Plan,
    topology: Topology,
    done: Vec<Option<OfComponent>>,
    /// Components that the walk numbered so has met.
    marks: Vec<u32>,
    mark: u32,
    /// Components by region and host: where one is alone, its host takes no dependency with it.
    on_host: BTreeMap<(&'p str, &'p str), u32>,
}

impl Prover<'_> {
    fn component(&mut self, ix: ComponentIx, conditions: &[Condition]) -> OfComponent {
        let component = self.plan.component(ix);
        let differs = Condition::ALL.map(|it| conditions.contains(&it) && may_differ(self.plan, component, it));
        let mut of = OfComponent { verdicts: Vec::new(), cells: Default::default() };
        for failure in FailureDomain::ALL {
            let needed = self.lost_dependencies(ix, failure);
            let own = Judge::new((self.plan, &self.topology), ix, failure, Condition::None).verdict();
            for condition in Condition::ALL {
                let same = !differs[condition.at()];
                let repeats = condition == Condition::CoordinationStoreGone || !conditions.contains(&condition);
                let cell = if condition != Condition::None && (repeats || (same && needed.is_empty())) {
                    of.cells[failure as usize][Condition::None.at()]
                } else {
                    let verdict = if same {
                        own.clone()
                    } else {
                        Judge::new((self.plan, &self.topology), ix, failure, condition).verdict()
                    };
                    of.intern(self.with_dependencies(verdict, &needed, failure, condition))
                };
                of.cells[failure as usize][condition.at()] = cell;
            }
        }
        of.verdicts.shrink_to_fit();
        of
    }

    /// What a component needs that is lost with it: dependencies in the lost domain, and behind those that are not, what
    /// they need in turn.
    fn lost_dependencies(&mut self, ix: ComponentIx, failure: FailureDomain) -> Vec<ComponentIx> {
        let component = self.plan.component(ix);
        if component.depends_on.is_empty() || failure == FailureDomain::Instance || self.is_alone(ix, failure) {
            return Vec::new();
        }
        let judge = Judge::new((self.plan, &self.topology), ix, failure, Condition::None);
        self.mark += 1;
        let mut found = Vec::new();
        let mut open: Vec<ComponentIx> = component.depends_on.iter().rev().copied().collect();
        while let Some(on) = open.pop() {
            if std::mem::replace(&mut self.marks[on.index()], self.mark) == self.mark {
                continue;
            }
            let on_component = self.plan.component(on);
            if judge.is_lost(on_component.original()) {
                found.push(on);
            } else {
                open.extend(on_component.depends_on.iter().rev());
            }
        }
        found
    }

    fn is_alone(&self, ix: ComponentIx, failure: FailureDomain) -> bool {
        let home = self.plan.instance(self.plan.component(ix).original());
        let others = home.location.host.as_ref().map_or(0, |host| {
            self.on_host.get(&(home.location.region.as_str(), host.as_str())).copied().unwrap_or_default()
        });
        failure == FailureDomain::Host && others < 2 && home.shares.is_empty()
    }

    fn with_dependencies(
        &self,
        own: Verdict,
        needed: &[ComponentIx],
        failure: FailureDomain,
        condition: Condition,
    ) -> Verdict {
        let proved = |on: ComponentIx| {
            self.done[on.index()].as_ref().map(|it| it.verdict(failure, condition)).expect("dependencies come first")
        };
        let unrecovered = |on: &ComponentIx| {
            let none = proved(*on).as_ref().err()?;
            let deeper = none.dependencies.first().filter(|_| none.because.is_empty());
            Some(Unrecovered { on: *on, root: deeper.map_or(*on, |it| it.root) })
        };
        let dependencies: Vec<Unrecovered> = needed.iter().filter_map(unrecovered).collect();
        match own {
            Err(none) => Err(NoRecovery { dependencies, ..none }),
            Ok(_) if !dependencies.is_empty() => {
                Err(NoRecovery { because: Vec::new(), changes: Vec::new(), dependencies })
            }
            Ok(mut recovery) => {
                let slowest = needed.iter().filter_map(|it| Some(proved(*it).as_ref().ok()?.completed)).max();
                wait(&mut recovery, slowest.unwrap_or_default());
                recovery.rests_on.extend(needed.iter().map(|it| RestsOn::Dependency(*it)));
                Ok(recovery)
            }
        }
    }
}

/// The first step waits until what it depends on is recovered, as far as its own detection and decision take less.
fn wait(recovery: &mut Recovery, until: std::time::Duration) {
    let mut added = std::time::Duration::ZERO;
    for (_, bound) in &mut recovery.bounds {
        added = until.saturating_sub(bound.detect + bound.decide);
        bound.dependencies = added;
    }
    recovery.completed += added;
}

impl OfComponent {
    /// The place of a verdict that is there already, or is added.
    pub(super) fn intern(&mut self, verdict: Verdict) -> u8 {
        let at = self.verdicts.iter().position(|it| *it == verdict).unwrap_or_else(|| {
            self.verdicts.push(verdict);
            self.verdicts.len() - 1
        });
        u8::try_from(at).expect("fewer verdicts than cells, and fewer than 256 cells")
    }
}
