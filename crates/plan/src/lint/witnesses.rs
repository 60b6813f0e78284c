//! Witnesses: whether their answer says anything about the path to what is recovered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::reading::{Reading, listed, machine, same_zone};
use crate::component::{Component, Criticality, Witness};
use crate::finding::{Code, Finding, Span};
use crate::location::FailureDomain;
use crate::{InstanceIx, WitnessIx};

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    if reading.plan.witnesses.is_empty() {
        return;
    }
    let machines = machines(reading);
    for witness in &reading.plan.witnesses {
        on_agents_host(reading, witness, findings);
        is_an_instance(reading, witness, &machines, findings);
    }
    // Many components ask the same witnesses: each set of them is spoken of once.
    let mut asked: BTreeMap<(&[WitnessIx], bool), &Component> = BTreeMap::new();
    for (_, component) in reading.components() {
        let rule = &component.witnesses;
        if rule.need > 0 && !component.ladder.is_empty() {
            let critical = component.criticality == Criticality::Critical;
            asked.entry((&rule.of, critical)).or_insert(component);
        }
    }
    for (of, component) in asked.iter().filter(|(key, _)| !key.1 || !asked.contains_key(&(key.0, false))) {
        one_machine(reading, of.0, component, findings);
    }
    for ((of, _), component) in asked.iter().filter(|((_, critical), _)| *critical) {
        near_the_agent(reading, of, component, findings);
    }
}

fn at(reading: &Reading<'_>, witness: &Witness, field: &str) -> Span {
    reading.outline.at(&["witnesses", &witness.name, field])
}

/// Which instance lives behind an address, as far as probes and routes tell.
fn machines(reading: &Reading<'_>) -> HashMap<IpAddr, InstanceIx> {
    let plan = reading.plan;
    let mut found = HashMap::new();
    for (_, component) in reading.components() {
        for ix in &component.instances {
            for probe in &plan.instance(*ix).probes {
                if let Some(ip) = machine(&plan.probe(*probe).kind) {
                    found.entry(ip).or_insert(*ix);
                }
            }
        }
    }
    for target in plan.routes.iter().flat_map(|it| &it.targets).filter(|it| !it.address.ip().is_loopback()) {
        found.entry(target.address.ip()).or_insert(target.instance);
    }
    found
}

fn on_agents_host(reading: &Reading<'_>, witness: &Witness, findings: &mut Vec<Finding>) {
    let home = &reading.plan.site.location;
    if !home.shares(&witness.location, FailureDomain::Host) {
        return;
    }
    findings.push(
        Finding::new(
            Code::WeakWitness,
            at(reading, witness, "location"),
            format!("witness `{}` is on the agent's own host", witness.name),
        )
        .label("answers without any network")
        .other(reading.outline.at(&["site"]), format!("the agent is on {home}"))
        .help("ask something that is reached over the network: a gateway, a name server"),
    );
}

fn is_an_instance(
    reading: &Reading<'_>,
    witness: &Witness,
    machines: &HashMap<IpAddr, InstanceIx>,
    findings: &mut Vec<Finding>,
) {
    let Some(ip) = machine(&reading.plan.probe(witness.probe).kind) else { return };
    let Some(ix) = machines.get(&ip) else { return };
    let instance = &reading.plan.instance(*ix).name;
    findings.push(
        Finding::new(
            Code::WeakWitness,
            at(reading, witness, "probe"),
            format!("witness `{}` is on the machine of `{instance}`", witness.name),
        )
        .label(format!("asks {ip}"))
        .other(reading.at_instance(*ix, &[]), "this is recovered, restarted and drilled itself")
        .help("ask something that has no part in what is recovered: a gateway, a name server, a switch"),
    );
}

/// Several witnesses that are one.
fn one_machine(reading: &Reading<'_>, of: &[WitnessIx], component: &Component, findings: &mut Vec<Finding>) {
    let witnesses: Vec<&Witness> = of.iter().map(|it| reading.plan.witness(*it)).collect();
    let [first, second, ..] = witnesses.as_slice() else { return };
    let shared = |it: &&Witness| first.location.shares(&it.location, FailureDomain::Host);
    let ips: BTreeSet<Option<IpAddr>> =
        witnesses.iter().map(|it| machine(&reading.plan.probe(it.probe).kind)).collect();
    let one_ip = ips.len() == 1 && !ips.contains(&None);
    if !witnesses.iter().all(shared) && !one_ip {
        return;
    }
    let names = listed(witnesses.iter().map(|it| it.name.as_str()));
    findings.push(
        Finding::new(
            Code::WeakWitness,
            at(reading, first, "location"),
            format!("the witnesses of `{}` are one machine: {names}", component.name),
        )
        .label("fails with the other")
        .other(at(reading, second, "location"), "on the same machine")
        .reason("when that machine fails, all of them are silent, and nothing is recovered meanwhile")
        .help("ask another machine too, in another zone"),
    );
}

fn near_the_agent(reading: &Reading<'_>, of: &[WitnessIx], component: &Component, findings: &mut Vec<Finding>) {
    let home = &reading.plan.site.location;
    let near = |it: &WitnessIx| same_zone(home, &reading.plan.witness(*it).location);
    if of.is_empty() || !of.iter().all(near) || same_zone(home, &reading.original(component).location) {
        return;
    }
    let first = reading.plan.witness(of[0]);
    let lives = &reading.original(component).location;
    findings.push(
        Finding::new(
            Code::WeakWitness,
            at(reading, first, "location"),
            format!("all witnesses of `{}`, which is critical, are in the agent's own zone", component.name),
        )
        .label("answers when that zone is cut off")
        .other(reading.at(component, &["location"]), format!("the path from {home} to {lives} is not witnessed"))
        .reason("when the agent's zone loses its network, these answer, everything else is silent, and looks down")
        .help("add a witness in a third zone, and ask for it: `witnesses: { need: 1, of: [THIRD] }`"),
    );
}
