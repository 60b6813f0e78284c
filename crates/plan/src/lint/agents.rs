//! Several agents: who takes over from whom, who watches with us, and what happens when they can't speak to each other.

use super::reading::{Reading, listed};
use crate::agents::{AgentRole, Alone};
use crate::config::scalar::show_duration;
use crate::finding::{Code, Finding};

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    findings.extend(pairing(reading));
    findings.extend(alone(reading));
    findings.extend(observers(reading));
    findings.extend(restart_ends_leases(reading));
}

/// Successors without a place to agree, or such a place for one agent alone.
fn pairing(reading: &Reading<'_>) -> Option<Finding> {
    let successor = reading.plan.agents.iter().find(|it| it.role == AgentRole::Successor);
    match (successor, &reading.plan.coordination) {
        (Some(successor), None) => Some(
            Finding::new(
                Code::NoCoordination,
                reading.outline.at(&["agents", &successor.name]),
                format!("`{}` may decide too, and nothing says which of two agents decides", successor.name),
            )
            .label("a successor without `coordination`")
            .help("add `coordination: { store: etcd, location: { region: REGION } }`; or make it `role: hands`"),
        ),
        (None, Some(_)) => Some(
            Finding::new(
                Code::NoCoordination,
                reading.outline.at(&["coordination"]),
                "only one agent may decide, and it needs a lease for that",
            )
            .label("the store is one more thing that can fail")
            .help("add an agent with `role: successor` on another host; or leave `coordination` out"),
        ),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// Two agents that both act on something exclusive because neither reaches the store.
fn alone(reading: &Reading<'_>) -> Option<Finding> {
    let coordination = reading.plan.coordination.as_ref().filter(|it| it.alone == Alone::Proceed)?;
    let exclusive: Vec<&str> = (reading.components().map(|(_, it)| it))
        .filter(|it| reading.is_exclusive(it))
        .map(|it| it.name.as_str())
        .collect();
    let first = exclusive.first()?;
    let message =
        format!("without the store two agents may act on what is exclusive: {}", listed(exclusive.iter().copied()));
    Some(
        Finding::new(Code::AloneExclusive, reading.outline.at(&["coordination", "alone"]), message)
            .label(format!("each agent that can't reach {} proceeds", coordination.store.word()))
            .other(reading.outline.at(&["components", first]), "one owner at a time")
            .help("write `alone: shared_only`, which holds back what is exclusive"),
    )
}

/// A restart of the agent that outlasts the leases of its hosts: whoever holds one stops what is healthy.
fn restart_ends_leases(reading: &Reading<'_>) -> Option<Finding> {
    let (plan, lease) = (reading.plan, reading.plan.link.as_ref()?.lease);
    let first = reading.components().find(|(ix, _)| plan.is_leased(*ix) && !plan.stays(*ix))?.1;
    let allowed = &plan.allowances;
    let away = allowed.agent_restart + lease.renew + allowed.lateness;
    if away < lease.expires {
        return None;
    }
    let show = show_duration;
    let message = format!("a restart of the agent stops `{}`, which is healthy", first.name);
    let sum = format!(
        "the allowance agent_restart {} + renew {} + the allowance lateness {} are {}, and a lease lasts {}",
        show(allowed.agent_restart),
        show(lease.renew),
        show(allowed.lateness),
        show(away),
        show(lease.expires)
    );
    Some(
        Finding::new(Code::RestartEndsLeases, reading.outline.at(&["link"]), message)
            .label(sum)
            .other(reading.outline.at(&["components", &first.name]), "lives by a lease")
            .help(format!("let a lease last longer: `expires: {}`; or say how fast the agent is back: `allowances: {{ agent_restart: … }}`", show(away * 3 / 2))),
    )
}

/// More observers asked for than there are agents.
fn observers(reading: &Reading<'_>) -> Vec<Finding> {
    let agents = 1 + reading.plan.agents.len();
    let asks = reading.components().map(|(_, it)| it);
    asks.filter_map(|component| {
        let need = component.guards.observers.filter(|it| *it as usize > agents)?;
        let message = format!("`{}` wants {need} agents to see it down, and there are {agents}", component.name);
        Some(
            Finding::new(Code::ObserverNeed, reading.at(component, &["guards", "observers", "need"]), message)
                .label("never so many")
                .help("add agents, or write a smaller number"),
        )
    })
    .collect()
}
