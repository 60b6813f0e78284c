//! What fails together beyond a zone: primary and standby, agent and primary, a credential and what it is needed for.

use std::collections::BTreeSet;

use super::reading::{Reading, same_zone};
use crate::InstanceIx;
use crate::agents::{Agent, AgentRole};
use crate::component::{Component, Criticality};
use crate::finding::{Code, Finding};
use crate::location::{FailureDomain, SharedPart};
use crate::prepared::PreparedKind;
use crate::strategy::Strategy;

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    for (_, component) in reading.components() {
        for standby in reading.standbys(component).collect::<BTreeSet<_>>() {
            findings.extend(one_host(reading, component, standby));
            findings.extend(shared_parts(reading, component, standby));
        }
        findings.extend(agent_with_primary(reading, component));
        findings.extend(agent_with_standbys(reading, component));
        prepared(reading, component, findings);
    }
}

fn one_host(reading: &Reading<'_>, component: &Component, standby: InstanceIx) -> Option<Finding> {
    let (own, other) = (reading.original(component), reading.plan.instance(standby));
    if !own.location.shares(&other.location, FailureDomain::Host) {
        return None;
    }
    let host = own.location.host.as_deref().unwrap_or_default();
    let message = format!("`{}` and its standby `{}` are on one host: {host}", own.name, other.name);
    Some(
        Finding::new(Code::SharedFate, reading.at_instance(standby, &["location", "host"]), message)
            .label("the standby")
            .other(reading.at(component, &["location", "host"]), "what it stands by for")
            .help(format!("move `{}` to another host, in another zone if there is one", other.name)),
    )
}

fn shared_parts(reading: &Reading<'_>, component: &Component, standby: InstanceIx) -> Option<Finding> {
    let (own, other) = (reading.original(component), reading.plan.instance(standby));
    if own.shares.is_empty() || other.shares.is_empty() {
        return None;
    }
    let theirs: BTreeSet<&SharedPart> = other.shares.iter().collect();
    let both: Vec<String> = own
        .shares
        .iter()
        .filter(|it| theirs.contains(it))
        .map(|it| format!("{} `{}`", it.kind.word(), it.name))
        .collect();
    if both.is_empty() {
        return None;
    }
    let what = both.join(", ");
    Some(
        Finding::new(
            Code::SharedFate,
            reading.at_instance(standby, &["shares"]),
            format!("`{}` and its standby `{}` both live on {what}", own.name, other.name),
        )
        .label("the standby")
        .other(reading.at(component, &["shares"]), "what it stands by for")
        .help(format!("give `{}` its own: another key, switch, name server, feed or volume", other.name)),
    )
}

/// Whether another agent decides when the site's own is gone.
fn has_successor(reading: &Reading<'_>) -> bool {
    let home = &reading.plan.site.location;
    let elsewhere = |it: &&Agent| !home.shares(&it.location, FailureDomain::Host);
    reading.plan.agents.iter().filter(elsewhere).any(|it| it.role == AgentRole::Successor)
}

fn agent_with_primary(reading: &Reading<'_>, component: &Component) -> Option<Finding> {
    let (home, own) = (&reading.plan.site.location, reading.original(component));
    let shared = home.shares(&own.location, FailureDomain::Host);
    reading.standbys(component).next().filter(|_| shared && !has_successor(reading))?;
    let host = home.host.as_deref().unwrap_or_default();
    Some(
        Finding::new(
            Code::SharedFate,
            reading.at(component, &["location", "host"]),
            format!("`{}` and the agent that would recover it are on one host: {host}", component.name),
        )
        .label("lost together, and its standby stays a standby")
        .other(reading.outline.at(&["site", "host"]), "the agent")
        .help("run the agent on a third host"),
    )
}

fn agent_with_standbys(reading: &Reading<'_>, component: &Component) -> Option<Finding> {
    let home = &reading.plan.site.location;
    if component.criticality != Criticality::Critical || has_successor(reading) {
        return None;
    }
    let first = reading.standbys(component).next()?;
    let on_it = |it: InstanceIx| home.shares(&reading.plan.instance(it).location, FailureDomain::Host);
    if !reading.standbys(component).all(on_it) {
        return None;
    }
    let host = home.host.as_deref().unwrap_or_default();
    Some(
        Finding::new(
            Code::SharedFate,
            reading.at_instance(first, &["location", "host"]),
            format!("the agent and every standby of `{}`, which is critical, are on one host: {host}", component.name),
        )
        .label("after a takeover it is lost with the agent")
        .other(reading.outline.at(&["site", "host"]), "the agent")
        .help("run the agent on a third host"),
    )
}

/// What a takeover needs and what is kept where the primary is lost.
fn prepared(reading: &Reading<'_>, component: &Component, findings: &mut Vec<Finding>) {
    let own = reading.original(component);
    let takeovers = component.ladder.iter().filter(|it| it.strategy == Strategy::FailoverToStandby);
    let steps = takeovers.filter_map(|it| it.plays.get(&component.original())).flat_map(|it| &it.steps);
    let needs: BTreeSet<usize> = steps.flat_map(|it| it.needs.iter().copied()).collect();
    for at in needs {
        let it = &reading.plan.prepared[at];
        // What is kept with the agent is there when the agent is.
        if !same_zone(&own.location, &it.location) || same_zone(&it.location, &reading.plan.site.location) {
            continue;
        }
        let section = match it.kind {
            PreparedKind::Credential => "credentials",
            PreparedKind::CacheEntry { .. } => "cache",
        };
        findings.push(
            Finding::new(
                Code::SharedFate,
                reading.outline.at(&[section, &it.name, "location"]),
                format!(
                    "{} `{}`, which a takeover from `{}` needs, is kept in the same zone",
                    it.kind.word(),
                    it.name,
                    component.name
                ),
            )
            .label(format!("lost with {}", it.location))
            .other(reading.at(component, &["location"]), "what is taken over from")
            .help("keep it with the agent: leave its `location` out"),
        );
    }
}
