//! What rests on hosts: whether what happened survives the agent's machine, whose hands are all on one machine, what fences when
//! a machine is lost, and what a plan can't show about machines.

use serde::Serialize;

use super::readiness::{Answer, Each, answered};
use crate::component::Component;
use crate::config::scalar::show_duration;
use crate::location::FailureDomain;
use crate::route::{OnSilence, Sharing};
use crate::strategy::StepKind;
use crate::{ComponentIx, InstanceIx, Plan};

/// One question about hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostLine {
    /// The question, as a statement.
    pub asks: &'static str,
    /// The answer.
    pub answer: Answer,
    /// By name: what shows it, what lacks it, or why it is not known.
    pub evidence: Vec<String>,
    /// What to change, where the answer is no.
    pub change: Option<&'static str>,
}

type Question = (&'static str, fn(&Plan) -> Vec<Each>, &'static str);

const QUESTIONS: [Question; 6] = [
    (
        "What happened outlives the agent's machine",
        journal,
        "let a host outside the agent's zone keep the journal: `keeps_journal: true`, here and in its own file",
    ),
    ("No component has all its hands on one machine", hands, "add a standby on another machine"),
    (
        "What fences needs nothing of a machine that is lost",
        fences,
        "fence by a lease; or let a host that is silent cut by itself: `on_silence: { cut: { after: … } }`",
    ),
    (
        "A restart of the agent ends no lease",
        leases,
        "let a lease last longer: `expires`; or say how fast the agent is back: `allowances: { agent_restart: … }`",
    ),
    ("Every host has joined, with a certificate that is good", joined, ""),
    ("A lease ends also where host and keeper stand still", unkept, ""),
];

/// `None` where the plan has no hosts.
pub(super) fn of(plan: &Plan) -> Option<Vec<HostLine>> {
    let line = |(asks, look, change): &Question| {
        let (answer, evidence) = answered(look(plan));
        let change = Some(*change).filter(|_| answer == Answer::No);
        HostLine { asks, answer, evidence, change }
    };
    (!plan.hosts.is_empty()).then(|| QUESTIONS.iter().map(line).collect())
}

fn components(plan: &Plan) -> impl Iterator<Item = (ComponentIx, &Component)> {
    super::components(plan).map(|ix| (ix, plan.component(ix)))
}

fn journal(plan: &Plan) -> Vec<Each> {
    let agent = &plan.site.location;
    let keeping: Vec<_> = plan.hosts.iter().filter(|it| it.keeps_journal).collect();
    if keeping.is_empty() {
        return vec![Each::Missing("no host keeps a copy of the journal: it is lost with the agent's disk".to_owned())];
    }
    let near = |it: &crate::hosts::Host| agent.shares(&it.location, FailureDomain::Zone);
    if keeping.iter().all(|it| near(it)) {
        let say = |it: &&crate::hosts::Host| Each::Missing(format!("{} keeps it, in the agent's own zone", it.name));
        return keeping.iter().map(say).collect();
    }
    keeping.iter().map(|it| Each::Shown(format!("{} keeps it, in {}", it.name, it.location))).collect()
}

fn hands(plan: &Plan) -> Vec<Each> {
    let on_hosts = components(plan).filter(|(_, it)| it.instances.iter().any(|it| plan.host_of(*it).is_some()));
    let look = |(_, it): (ComponentIx, &Component)| {
        let first = plan.host_of(it.original());
        match first.filter(|_| it.instances.iter().all(|it| plan.host_of(*it) == first)) {
            Some(host) => {
                let host = &plan.host(host).name;
                Each::Missing(format!("{}: when {host} is silent, nothing can be done to it", it.name))
            }
            None => {
                let places = it.instances.iter().map(|it| plan.instance(*it).location.to_string());
                Each::Shown(format!("{}: {}", it.name, places.collect::<Vec<_>>().join(" and ")))
            }
        }
    };
    or_nobody(on_hosts.map(look).collect())
}

fn or_nobody(all: Vec<Each>) -> Vec<Each> {
    if all.is_empty() { vec![Each::Shown("no component lives on a host".to_owned())] } else { all }
}

/// What is done to the old owner when a component is taken over, where that lives on a host.
fn fences(plan: &Plan) -> Vec<Each> {
    or_nobody(components(plan).filter_map(|(ix, it)| fence(plan, ix, it)).collect())
}

fn fence(plan: &Plan, ix: ComponentIx, it: &Component) -> Option<Each> {
    let home: InstanceIx = it.original();
    let host = &plan.host(plan.host_of(home)?).name;
    if plan.is_leased(ix) {
        let term = plan.lease_term().map(show_duration).unwrap_or_default();
        return Some(Each::Shown(format!("{}: its lease is over {term} after it was granted last", it.name)));
    }
    let plays = || it.ladder.iter().filter_map(|rung| rung.plays.get(&home));
    let steps = || plays().flat_map(|it| &it.steps).map(|it| &it.kind);
    let stops = |kind: &StepKind| matches!(kind, StepKind::Stop { or_cut: false, .. });
    if steps().any(stops) {
        return Some(Each::Missing(format!("{}: it is stopped by {host}, on the machine that is lost", it.name)));
    }
    let cut =
        steps().find_map(|kind| if let StepKind::CutTraffic { routes, .. } = kind { Some(routes) } else { None })?;
    let mut serving =
        plan.serving_hosts().filter(|other| plan.instance(home).location.shares(&other.location, FailureDomain::Zone));
    let kept = cut
        .iter()
        .map(|it| plan.route(*it))
        .find(|it| it.sharing == Sharing::Exclusive && matches!(it.on_silence, OnSilence::Keep));
    Some(match (serving.next(), kept) {
        (Some(other), Some(route)) => Each::Missing(format!(
            "{}: {} serves {} in the zone of {host}, and goes on when it is silent",
            it.name, other.name, route.name
        )),
        (Some(_), None) | (None, _) => Each::Shown(format!("{}: its traffic is cut", it.name)),
    })
}

fn leases(plan: &Plan) -> Vec<Each> {
    let leased: Vec<&str> = components(plan).filter(|it| plan.is_leased(it.0)).map(|it| it.1.name.as_str()).collect();
    let Some(lease) = plan.link.as_ref().map(|it| it.lease).filter(|_| !leased.is_empty()) else {
        return vec![Each::Shown("no component lives by a lease".to_owned())];
    };
    let away = plan.allowances.agent_restart + lease.renew + plan.allowances.lateness;
    let (away_for, lasts) = (show_duration(away), show_duration(lease.expires));
    let text = format!("{}: no lease is renewed for {away_for} at most, and one lasts {lasts}", leased.join(", "));
    vec![if away < lease.expires { Each::Shown(text) } else { Each::Missing(text) }]
}

fn joined(_: &Plan) -> Vec<Each> {
    vec![Each::Unclear("certificates stand in no plan; `mainstay enroll list` says it".to_owned())]
}

fn unkept(plan: &Plan) -> Vec<Each> {
    if !components(plan).any(|it| plan.is_leased(it.0)) {
        return vec![Each::Shown("no component lives by a lease".to_owned())];
    }
    vec![Each::Unclear(
        "a watchdog stands in each host's own file, and a leash where the service is started".to_owned(),
    )]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const PLAN: &str = r#"version: 2
site: { name: s, region: r1, zone: z3, host: ops }
link: { listen: "10.0.3.5:7400", lease: { renew: 1s, expires: 6s, demote: 2s, drift: 200ms } }
allowances: { lateness: 200ms, agent_restart: 1s, forced_stop: 2s }
hosts:
  db-1: { region: r1, zone: z1, serves: true }
  db-2: { region: r1, zone: z2 }
components:
  db:
    type: database
    location: { region: r1, zone: z1, host: db-1 }
    constraint: { reason: licence, kind: technical }
    service: { unit: postgresql.service }
    probes: [{ http: { url: "http://10.0.1.10:8008/" } }]
    activate: [{ command: { run: [promote], idempotent: true } }]
    recovery: [{ failover_to_standby: { standby: db-b } }]
standbys:
  db-b:
    location: { region: r1, zone: z2, host: db-2 }
    service: { unit: postgresql.service }
    probes: [{ http: { url: "http://10.0.2.10:8008/" } }]
    activate: [{ command: { run: [promote], idempotent: true } }]
routes:
  orders:
    exclusive: { fence: stop }
    proxy: { listen: "10.0.9.1:6432" }
    targets:
      - { component: db, address: "10.0.1.10:5432" }
      - { standby: db-b, address: "10.0.2.10:5432" }
"#;

    /// The answers to all questions of the plan with this change.
    fn answers(from: &str, to: &str) -> Vec<(Answer, String)> {
        assert!(PLAN.contains(from), "{from}");
        let compiled = crate::compile("plan.yaml", &PLAN.replace(from, to), Path::new("/"));
        let plan = compiled.plan.unwrap_or_else(|| panic!("{:?}", compiled.findings));
        let lines = of(&plan).expect("it has hosts");
        lines.into_iter().map(|it| (it.answer, it.evidence.join("; "))).collect()
    }

    #[test]
    fn a_copy_of_the_journal_counts_outside_the_agents_zone() {
        let (answer, why) = &answers("db-2: { region: r1, zone: z2 }", "db-2: { region: r1, zone: z2 }")[0];
        assert_eq!(
            (*answer, why.as_str()),
            (Answer::No, "no host keeps a copy of the journal: it is lost with the agent's disk")
        );
        let keeps = "db-2: { region: r1, zone: z2, keeps_journal: true }";
        let (answer, why) = &answers("db-2: { region: r1, zone: z2 }", keeps)[0];
        assert_eq!((*answer, why.starts_with("db-2 keeps it")), (Answer::Yes, true), "{why}");
        let near = "db-2: { region: r1, zone: z2 }\n  ops-2: { region: r1, zone: z3, keeps_journal: true }";
        let (answer, why) = &answers("db-2: { region: r1, zone: z2 }", near)[0];
        assert_eq!((*answer, why.as_str()), (Answer::No, "ops-2 keeps it, in the agent's own zone"));
    }

    #[test]
    fn hands_on_one_machine_alone_are_named() {
        assert_eq!(answers("z2, host: db-2", "z2, host: db-2")[1].0, Answer::Yes);
        let (answer, why) = &answers("z2, host: db-2", "z1, host: db-1")[1];
        assert_eq!((*answer, why.as_str()), (Answer::No, "db: when db-1 is silent, nothing can be done to it"));
    }

    #[test]
    fn a_fence_that_needs_the_lost_machine_is_named() {
        let (answer, why) = &answers("fence: stop", "fence: stop")[2];
        assert_eq!((*answer, why.as_str()), (Answer::No, "db: it is stopped by db-1, on the machine that is lost"));
        let (answer, why) = &answers("fence: stop", "fence: lease")[2];
        assert_eq!((*answer, why.as_str()), (Answer::Yes, "db: its lease is over 8s400ms after it was granted last"));
        let (answer, why) = &answers("fence: stop", "fence: traffic_cut")[2];
        let expected = "db: db-1 serves orders in the zone of db-1, and goes on when it is silent";
        assert_eq!((*answer, why.as_str()), (Answer::No, expected));
        let cuts = "exclusive: { fence: traffic_cut }\n    on_silence: { cut: { after: 8s } }";
        assert_eq!(answers("exclusive: { fence: stop }", cuts)[2].0, Answer::Yes);
    }

    #[test]
    fn a_restart_that_outlasts_a_lease_is_named() {
        let leased = |restart: &str| answers("agent_restart: 1s, forced_stop: 2s }", restart)[3].0;
        assert_eq!(leased("agent_restart: 1s, forced_stop: 2s }"), Answer::Yes, "there is no lease");
        let text = PLAN.replace("fence: stop", "fence: lease").replace("agent_restart: 1s", "agent_restart: 5s");
        let plan = crate::compile("plan.yaml", &text, Path::new("/")).plan.expect("a sound plan");
        let lines = of(&plan).expect("it has hosts");
        assert_eq!(lines[3].answer, Answer::No, "{:?}", lines[3].evidence);
        assert_eq!(lines[4].answer, Answer::NotKnown);
        assert_eq!(lines[5].answer, Answer::NotKnown);
    }
}
