//! What a turn in an evacuation costs: `at_once` recoveries go at the same time, so each may wait for the work of all others.
//!
//! Intuition: with k doors, nobody stands in the queue for longer than all the others need, divided by k; that somebody is
//! waited for on the way, by whom others depend on, is counted where dependencies are (Graham's bound for lists of jobs).

use std::time::Duration;

use super::judge::Judge;
use super::{Condition, OfComponent, Verdict};
use crate::evacuation::Evacuation;
use crate::location::FailureDomain;
use crate::{ComponentIx, Plan, Topology};

/// Adds the wait to every cell that an evacuation concerns.
pub(super) fn add(plan: &Plan, topology: &Topology, conditions: &[Condition], of: &mut [OfComponent]) {
    for (at, evacuation) in plan.evacuations.iter().enumerate() {
        let members: Vec<ComponentIx> = (0u32..)
            .map(ComponentIx)
            .take(plan.components.len())
            .filter(|it| is_member(plan, evacuation, *it))
            .collect();
        if members.len() <= evacuation.at_once as usize {
            continue;
        }
        let failures =
            [FailureDomain::Zone, FailureDomain::Region].into_iter().filter(|it| counts(plan, topology, at, *it));
        for failure in failures.collect::<Vec<_>>() {
            for condition in Condition::ALL.into_iter().filter(|it| conditions.contains(it)) {
                let busy = |it: &ComponentIx| {
                    let judge = || Judge::new((plan, topology), *it, failure, condition);
                    busy(of[it.index()].verdict(failure, condition), judge)
                };
                let each: Vec<Duration> = members.iter().map(busy).collect();
                let all: Duration = each.iter().sum();
                for (member, own) in members.iter().zip(&each) {
                    of[member.index()].wait(failure, condition, all.saturating_sub(*own) / evacuation.at_once);
                }
            }
        }
    }
}

fn is_member(plan: &Plan, evacuation: &Evacuation, component: ComponentIx) -> bool {
    let home = &plan.instance(plan.component(component).original()).location;
    home.region == evacuation.region && (evacuation.zone.is_none() || evacuation.zone == home.zone)
}

/// Whether an evacuation is carried out at such a loss: that of a zone also as a part of its region's, that of a region also
/// for its only zone.
fn counts(plan: &Plan, topology: &Topology, at: usize, failure: FailureDomain) -> bool {
    let evacuation = &plan.evacuations[at];
    let region = topology.named(&evacuation.region, None).map(|it| topology.domain(it));
    let one_zone = || region.is_some_and(|it| it.parts.iter().any(|it| topology.is_whole_region(*it)));
    match (failure, &evacuation.zone) {
        (FailureDomain::Instance | FailureDomain::Host, _) => false,
        (FailureDomain::Zone, None) => one_zone(),
        (FailureDomain::Zone, Some(_)) | (FailureDomain::Region, None) => true,
        (FailureDomain::Region, Some(_)) => {
            let whole = plan.evacuations.iter().find(|it| it.zone.is_none() && it.region == evacuation.region);
            whole.is_none_or(|it| it.parts.contains(&at))
        }
    }
}

/// How long it takes a place: from its beginning to its end, or until its last rung has failed.
fn busy<'a>(verdict: &Verdict, judge: impl Fn() -> Judge<'a>) -> Duration {
    match verdict {
        Ok(recovery) => {
            let before = recovery.bounds.first().map(|(_, it)| it.detect + it.decide + it.dependencies + it.turn);
            recovery.completed.saturating_sub(before.unwrap_or_default())
        }
        Err(_) => judge().whole_ladder(),
    }
}

impl OfComponent {
    fn wait(&mut self, failure: FailureDomain, condition: Condition, turn: Duration) {
        let mut verdict = self.verdict(failure, condition).clone();
        if let Ok(recovery) = &mut verdict {
            recovery.completed += turn;
            for (_, bound) in &mut recovery.bounds {
                bound.turn += turn;
            }
        }
        self.cells[failure as usize][condition.at()] = self.intern(verdict);
    }
}
