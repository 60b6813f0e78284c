//! Resolving names, and putting the plan together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::controls;
use super::fields::{At, Cx};
use super::hosts;
use super::link_operation::{Known, operation, prepared, role_is_held};
use super::link_routes::{listeners, route};
use super::plays;
use super::raw::{
    File, RawAct, RawComponent, RawFence, RawHow, RawInstance, RawProbe, RawRung, RawWitness, RawWitnessRule,
};
use super::references::{dependencies, series_apart, standby_owners, witness_rules};
use super::repairs;
use super::routes::NOWHERE;
use super::rules;
use super::switches;
use crate::action::Service;
use crate::component::{Component, Instance, Witness, WitnessRule};
use crate::finding::Span;
use crate::policy::SiteGuards;
use crate::probe::{Address, Probe, ProbeKind, ProbeTiming, Watches};
use crate::strategy::Rung;
use crate::{ComponentIx, InstanceIx, Plan, ProbeIx, RouteIx, WitnessIx};

/// Where the nouns of a plan stand in its file.
pub(crate) struct Places {
    /// The site.
    pub(crate) site: Span,
    /// By component.
    pub(crate) components: Vec<Span>,
    /// By instance.
    pub(crate) instances: Vec<Span>,
    /// By component and rung.
    pub(crate) rungs: Vec<Vec<Span>>,
    /// Sections that the agent does not act on.
    pub(crate) idle: Vec<At<&'static str>>,
}

/// A plan and where its nouns stand.
pub(crate) struct Linked {
    pub(crate) plan: Plan,
    pub(crate) places: Places,
}

/// What plays are compiled from: what the plan itself does not keep, by instance and by route.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) services: Vec<Option<Service>>,
    pub(super) activate: Vec<Vec<RawAct>>,
    pub(super) demote: Vec<Vec<RawAct>>,
    /// What repairs an instance, and where it is said.
    pub(super) repair: Vec<(Vec<RawAct>, Option<Span>)>,
    /// Where each probe says that the host of its instance asks it, by instance.
    pub(super) ask_from: Vec<Vec<Option<Span>>>,
    /// How long a switchover's catching up and verifying may take, by component.
    pub(super) switch_times: Vec<(Duration, Duration)>,
    pub(super) names: Vec<At<String>>,
    pub(super) fences: Vec<Option<(RawFence, Span)>>,
    pub(super) route_places: Vec<Span>,
    /// Whether what verifies the route is a TCP connection only, by route.
    pub(super) weak_verify: Vec<bool>,
    /// Whether some target of the route was not understood, by route.
    pub(super) incomplete: Vec<bool>,
    /// The targets, by route.
    pub(super) targets: Vec<BTreeSet<InstanceIx>>,
    /// Standbys that belong to no component.
    pub(super) unused: BTreeSet<String>,
}

pub(super) fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a file of 16 MiB holds fewer than 2^32 of anything")
}

/// What of a component waits until all names are known.
struct Waiting {
    ladder: Vec<RawRung>,
    witnesses: Option<RawWitnessRule>,
    depends_on: Vec<At<String>>,
}

/// Makes the plan. Where names do not resolve, an error is reported and the plan is not one to use.
pub(super) fn link(cx: &Cx<'_>, mut file: File) -> Linked {
    file.components.sort_by(|a, b| a.instance.name.value.cmp(&b.instance.name.value));
    file.witnesses.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    file.routes.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    let known = Known::of(&file);
    let mut parts = Parts::default();
    let mut standbys = standbys_by_component(cx, &mut file, &mut parts);
    listeners(cx, &file);
    series_apart(cx, &file);
    let mut plan = skeleton(&mut file);
    plan.prepared = prepared(cx, std::mem::take(&mut file.prepared));
    let (mut ladders, mut rules, mut depends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut roles, mut stays_at) = (Vec::new(), Vec::new());
    for (at, raw) in std::mem::take(&mut file.components).into_iter().enumerate() {
        roles.push(raw.approval_role);
        stays_at.push(raw.on_agent_loss_at);
        let own = standbys.remove(&at).unwrap_or_default();
        let waiting = component(&mut plan, &mut parts, ComponentIx(index(at)), raw, own);
        ladders.push(waiting.ladder);
        rules.push(waiting.witnesses);
        depends.push(waiting.depends_on);
    }
    for (at, raw) in std::mem::take(&mut file.witnesses).into_iter().enumerate() {
        witness(&mut plan, WitnessIx(index(at)), raw);
    }
    controls::link(cx, &mut plan, &parts, std::mem::take(&mut file.controls), &ladders);
    let instances: HashMap<String, InstanceIx> =
        plan.instances.iter().enumerate().map(|(at, it)| (it.name.clone(), InstanceIx(index(at)))).collect();
    dependencies(cx, &mut plan, &depends);
    let places: Vec<Span> = plan.components.iter().map(|it| parts.names[it.original().index()].span).collect();
    witness_rules(cx, &mut plan, rules, &places);
    operation(cx, &mut plan, &mut file, &known);
    let lease_at = file.link.as_ref().map(|it| it.lease_at);
    hosts::register(cx, &mut plan, std::mem::take(&mut file.hosts), file.link.take());
    for (ix, (name, ask_from)) in (0u32..).map(InstanceIx).zip(parts.names.iter().zip(&parts.ask_from)) {
        hosts::instance(cx, &plan, ix, name.span, ask_from);
    }
    for (component, at) in plan.components.iter().zip(roles) {
        let approval = component.guards.approval.as_ref();
        if let (Some((role, need)), Some(at)) = (approval.and_then(|it| Some((it.role.as_ref()?, it.quorum))), at) {
            role_is_held(cx, &plan, role, at, need);
        }
    }
    for (at, raw) in std::mem::take(&mut file.routes).into_iter().enumerate() {
        route(cx, &mut plan, &mut parts, &instances, RouteIx(index(at)), raw);
    }
    plan.rules = rules::resolve(cx, &plan, &file.rules);
    let places = Places {
        site: file.site_at,
        components: places,
        instances: parts.names.iter().map(|it| it.span).collect(),
        rungs: ladders.iter().map(|it| it.iter().map(|rung| rung.at).collect()).collect(),
        idle: std::mem::take(&mut file.idle),
    };
    for (at, ladder) in ladders.into_iter().enumerate() {
        let component = ComponentIx(index(at));
        let fence = lease_fence(&plan, &parts, component, &ladder);
        if let Some(fence) = fence {
            hosts::can_hold_leases(cx, &plan, &parts, component, fence);
        }
        let staying = hosts::Staying { at: stays_at[at], is_leased: fence.is_some(), lease_at };
        hosts::can_stay(cx, &plan, &parts, component, &staying);
        let rungs: Vec<Rung> =
            ladder.iter().map(|rung| plays::rung(cx, &plan, &parts, &instances, component, rung)).collect();
        let switches = switches::switches(cx, &plan, &parts, component, &ladder, &rungs);
        plan.components[at].switches = switches;
        let adoptions = switches::adoptions(cx, &plan, &parts, component, &ladder, &rungs);
        plan.components[at].adoptions = adoptions;
        let repairs = repairs::repairs(cx, &plan, &parts, component, &ladder);
        plan.components[at].repairs = repairs;
        plan.components[at].ladder = rungs;
    }
    Linked { plan, places }
}

/// Where it is said that a component is fenced by a lease.
fn lease_fence(plan: &Plan, parts: &Parts, component: ComponentIx, ladder: &[RawRung]) -> Option<Span> {
    let is_lease = |it: &(RawFence, Span)| it.0 == RawFence::Lease;
    let routes = plan.component(component).routes.iter().filter_map(|it| parts.fences[it.index()]);
    let own = ladder.iter().filter_map(|it| match &it.how {
        RawHow::Failover { fence, .. } => *fence,
        RawHow::Restart { .. } | RawHow::Restore { .. } | RawHow::Run { .. } => None,
    });
    routes.chain(own).find(is_lease).map(|it| it.1)
}

/// Takes the standbys out of the file, each to the component whose ladder names it.
fn standbys_by_component(cx: &Cx<'_>, file: &mut File, parts: &mut Parts) -> BTreeMap<usize, Vec<RawInstance>> {
    let owners = standby_owners(cx, file);
    let mut sorted: BTreeMap<usize, Vec<RawInstance>> = BTreeMap::new();
    for standby in std::mem::take(&mut file.standbys) {
        match owners.get(&standby.name.value) {
            Some(owner) => sorted.entry(*owner).or_default().push(standby),
            None => {
                parts.unused.insert(standby.name.value);
            }
        }
    }
    sorted
}

/// The plan without the nouns that refer to each other.
fn skeleton(file: &mut File) -> Plan {
    Plan {
        hash: String::new(),
        source: Arc::default(),
        site: file.site.clone(),
        state_dir: std::mem::take(&mut file.state_dir),
        mode: file.mode,
        on_journal_loss: file.on_journal_loss,
        allowances: file.allowances,
        probing: file.probing,
        dns_listen: file.dns_listen.as_ref().map(|it| it.value),
        secondaries: std::mem::take(&mut file.secondaries),
        beacon_listen: file.beacon_listen.as_ref().map(|it| it.value),
        beacon_tls: file.beacon_tls.take(),
        heartbeats: file.heartbeats.take().map(|it| it.value),
        components: Vec::new(),
        instances: Vec::new(),
        probes: Vec::new(),
        witnesses: Vec::new(),
        controls: Vec::new(),
        routes: Vec::new(),
        notifications: Vec::new(),
        escalation: Vec::new(),
        quiet: Vec::new(),
        guards: SiteGuards::default(),
        prepared: Vec::new(),
        rules: Vec::new(),
        evacuations: Vec::new(),
        drills: Vec::new(),
        agents: Vec::new(),
        hosts: Vec::new(),
        link: None,
        people: Vec::new(),
        coordination: None,
    }
}

/// Adds a witness. One whose probe could not be read gets a stand-in, so that its name is known.
fn witness(plan: &mut Plan, ix: WitnessIx, raw: RawWitness) {
    let second = std::time::Duration::from_secs(1);
    let probe = raw.probe.unwrap_or(RawProbe {
        kind: ProbeKind::Tcp { address: Address::Socket(NOWHERE) },
        from: Vec::new(),
        from_host: None,
        timing: ProbeTiming { interval: second, fast_interval: second, timeout: second, fall: 1, rise: 1 },
    });
    let probe = push_probe(plan, format!("witness/{}", raw.name.value), Watches::Witness(ix), probe);
    plan.witnesses.push(Witness { name: raw.name.value, location: raw.location, probe });
}

/// Adds a component with its instances.
fn component(
    plan: &mut Plan,
    parts: &mut Parts,
    ix: ComponentIx,
    raw: RawComponent,
    standbys: Vec<RawInstance>,
) -> Waiting {
    let name = raw.instance.name.value.clone();
    let instances = std::iter::once(raw.instance).chain(standbys).map(|it| instance(plan, parts, ix, it)).collect();
    plan.components.push(Component {
        name,
        kind: raw.kind,
        constraint: raw.constraint,
        criticality: raw.criticality,
        objectives: raw.objectives,
        depends_on: Vec::new(),
        instances,
        ladder: Vec::new(),
        guards: raw.guards,
        witnesses: WitnessRule::default(),
        routes: Vec::new(),
        rejoin: raw.rejoin,
        on_agent_loss: raw.on_agent_loss,
        backups: raw.backups.into_iter().map(|it| it.value).collect(),
        switches: Vec::new(),
        adoptions: Vec::new(),
        repairs: Vec::new(),
        failback: raw.failback,
    });
    parts.switch_times.push((raw.catch_up, raw.switch_verify));
    Waiting { ladder: raw.ladder, witnesses: raw.witnesses, depends_on: raw.depends_on }
}

fn instance(plan: &mut Plan, parts: &mut Parts, component: ComponentIx, raw: RawInstance) -> InstanceIx {
    let ix = InstanceIx(index(plan.instances.len()));
    let reports_lag = raw.probes.iter().any(|it| it.kind.reports_lag());
    let mut counts: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut probes = Vec::new();
    parts.ask_from.push(raw.probes.iter().map(|it| it.from_host).collect());
    for probe in raw.probes {
        let word = probe.kind.word();
        let count = counts.entry(word).or_insert(0);
        *count += 1;
        let name = match count {
            1 => format!("{}/{word}", raw.name.value),
            more => format!("{}/{word}-{more}", raw.name.value),
        };
        probes.push(push_probe(plan, name, Watches::Instance(ix), probe));
    }
    plan.instances.push(Instance {
        name: raw.name.value.clone(),
        component,
        location: raw.location,
        temperature: raw.temperature,
        probes,
        down_when: raw.down_when,
        reports_lag,
        shares: raw.shares,
        capacity: raw.capacity,
        postgres: raw.postgres,
    });
    parts.services.push(raw.service);
    parts.activate.push(raw.activate);
    parts.demote.push(raw.demote);
    parts.repair.push((raw.repair, raw.repair_at));
    parts.names.push(raw.name);
    ix
}

pub(super) fn push_probe(plan: &mut Plan, name: String, watches: Watches, raw: RawProbe) -> ProbeIx {
    let ix = ProbeIx(index(plan.probes.len()));
    let from_host = raw.from_host.is_some();
    plan.probes.push(Probe { name, watches, kind: raw.kind, from: raw.from, from_host, timing: raw.timing });
    ix
}
