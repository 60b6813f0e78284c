//! What a sound plan still does not promise: its proof held against its objectives, and what experience says about probes
//! and witnesses.

use std::collections::BTreeMap;

use crate::action::{Action, Plane};
use crate::component::{Criticality, Temperature};
use crate::config::Places;
use crate::config::scalar::show_duration;
use crate::finding::{Code, Finding, Span};
use crate::location::FailureDomain;
use crate::probe::ProbeKind;
use crate::proof::{Bound, Condition, NoRecovery, Proof, Recovery};
use crate::strategy::{StepKind, Strategy};
use crate::{ComponentIx, Plan};

/// Findings about a plan that has no error.
pub(crate) fn lint(plan: &Plan, places: &Places) -> Vec<Finding> {
    let mut findings = Vec::new();
    if plan.witnesses.is_empty() {
        findings.push(
            Finding::new(Code::NoWitness, places.site, "the plan has no witness")
                .label("nothing tells this agent whether its own network works")
                .help("add under `witnesses` something outside the components' zones that always answers: a gateway, a name server"),
        );
    }
    for idle in &places.idle {
        findings.push(
            Finding::new(
                Code::Idle,
                idle.span,
                format!("`{}` is checked, and the agent does not act on it", idle.value),
            )
            .label("for people, for the proof and for `mainstay assess`"),
        );
    }
    let proof = Proof::without_conditions(plan);
    for (at, span) in places.components.iter().enumerate() {
        let component = ComponentIx(u32::try_from(at).expect("a component has an index"));
        recovery(&proof, component, *span, &mut findings);
        rungs(plan, component, *span, &places.rungs[at], &mut findings);
        probes(plan, component, places, &mut findings);
        hands(plan, component, places, &mut findings);
        let it = plan.component(component);
        if it.witnesses.need == 0 && !plan.witnesses.is_empty() && !it.ladder.is_empty() {
            findings.push(
                Finding::new(Code::NoWitness, *span, format!("no witness is asked before `{}` is recovered", it.name))
                    .label("needs no witness")
                    .help("add a witness outside its zone, or name some in `witnesses: { need: 1, of: […] }`"),
            );
        }
    }
    findings
}

/// The proof without further conditions, held against what is promised.
fn recovery(proof: &Proof<'_>, component: ComponentIx, span: Span, findings: &mut Vec<Finding>) {
    let it = proof.plan().component(component);
    let verdict = |failure| proof.cell(component, failure, Condition::None).map(|it| it.verdict);
    let unproved = |failure| Some((failure, verdict(failure)?.as_ref().err()?));
    if let Some((failure, none)) = unproved(FailureDomain::Instance) {
        let finding = Finding::new(Code::NoRecovery, span, format!("nothing recovers the loss of `{}`", it.name));
        findings.push(why(proof, component, failure, none, finding.label("down until a person acts")));
        return;
    }
    if let Some((failure, none)) = unproved(FailureDomain::Zone) {
        let message = format!("`{}` does not survive the loss of its zone", it.name);
        let finding = Finding::new(Code::ZoneLoss, span, message).label("lost with its zone");
        findings.push(why(proof, component, failure, none, finding));
    }
    let Some(rto) = it.objectives.rto else { return };
    let proved = FailureDomain::ALL.iter().filter_map(|failure| Some((*failure, verdict(*failure)?.as_ref().ok()?)));
    let slowest = proved.max_by_key(|(failure, it)| (it.worst().total(), std::cmp::Reverse(*failure)));
    if let Some((failure, recovery)) = slowest
        && recovery.worst().total() > rto
    {
        findings.push(over_rto(&it.name, span, failure, recovery, rto));
    }
}

/// What an unproved cell says of itself.
fn why(
    proof: &Proof<'_>,
    component: ComponentIx,
    failure: FailureDomain,
    none: &NoRecovery,
    finding: Finding,
) -> Finding {
    let Some(cell) = proof.cell(component, failure, Condition::None) else { return finding };
    finding.reason(proof.reasons(&cell, none).join("; ")).help(proof.change(&cell))
}

fn over_rto(name: &str, span: Span, failure: FailureDomain, recovery: &Recovery, rto: std::time::Duration) -> Finding {
    let bound: Bound = recovery.worst();
    let parts = bound.parts();
    let (largest, time) = parts.iter().max_by_key(|(_, it)| *it).copied().unwrap_or(("detect", bound.detect));
    let advice = match largest {
        "detect" => "shorten `interval`, `fast_interval` or `timeout` of its probes, or lower `fall`",
        "decide" => "shorten the witnesses' `timeout`",
        "dependencies" => "shorten the recovery of what it depends on, or drop a dependency that it can do without",
        "earlier rungs" => "shorten `timeout` and `verify_within` of the rungs before, or try this one earlier",
        "fence" => {
            "lower the allowances `forced_stop` and `route_apply` to what is measured, or fence by `traffic_cut`"
        }
        "act" => "shorten the `timeout` of its actions to what they really take",
        _ => "shorten the TTL, or put a proxy in front",
    };
    let total = show_duration(bound.total());
    let message = format!("a lost {} takes `{name}` up to {total}, its rto is {}", failure.word(), show_duration(rto));
    Finding::new(Code::OverRto, span, message)
        .label(format!("by {}, {} of it for {largest}", recovery.strategy.word(), show_duration(time)))
        .help(format!("{advice}; or raise the objective"))
}

/// What is weak about single rungs, and about all of them together.
fn rungs(plan: &Plan, component: ComponentIx, span: Span, places: &[Span], findings: &mut Vec<Finding>) {
    let it = plan.component(component);
    for (rung, at) in it.ladder.iter().zip(places) {
        if rung.strategy != Strategy::FailoverToStandby {
            continue;
        }
        let Some(to) = rung.plays.get(&it.original()).map(|play| plan.instance(play.to)) else { continue };
        if it.objectives.rpo.is_some() && !to.reports_lag {
            findings.push(
                Finding::new(
                    Code::LagUnknown,
                    *at,
                    format!("standby `{}` does not report how far it is behind", to.name),
                )
                .label(format!("the RPO guard will keep `{}` from taking over", to.name))
                .help(
                    "let one of its probes report the lag: `lag_header` of http, `lag: stdout` of command, or `file`",
                ),
            );
        }
        if it.criticality == Criticality::Critical && to.temperature == Temperature::Cold {
            findings.push(
                Finding::new(
                    Code::ColdStandby,
                    *at,
                    format!("`{}` is critical, and its standby `{}` is cold", it.name, to.name),
                )
                .label("has to be started first")
                .help("keep it running: `temperature: warm`"),
            );
        }
    }
    let all_control = !it.ladder.is_empty() && it.ladder.iter().all(|rung| rung.plane().is_control());
    if all_control {
        let worst = it.ladder.iter().map(crate::strategy::Rung::plane).min().unwrap_or(Plane::RegionalControl);
        findings.push(
            Finding::new(
                Code::ControlPlaneOnly,
                span,
                format!("every recovery of `{}` needs a control plane", it.name),
            )
            .label(format!("the best rung needs {}", worst.word()))
            .help("add `restart_service`, or a warm standby and `failover_to_standby`"),
        );
    }
}

/// Services that a step would look for on the wrong machine.
fn hands(plan: &Plan, component: ComponentIx, places: &Places, findings: &mut Vec<Finding>) {
    let steps =
        plan.component(component).ladder.iter().flat_map(|rung| rung.plays.values()).flat_map(|play| &play.steps);
    let services = steps.filter_map(|step| match &step.kind {
        StepKind::Act { on, action: Action::Service { service, .. } } => Some((*on, service)),
        StepKind::Act { .. }
        | StepKind::Stop { .. }
        | StepKind::CutTraffic { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Verify { .. } => None,
    });
    let mut found = BTreeMap::new();
    for (on, service) in services {
        if let Some(host) = plan.out_of_reach(on, service) {
            found.insert(on, (service.label(), host));
        }
    }
    for (on, (service, host)) in found {
        let instance = &plan.instance(on).name;
        findings.push(
            Finding::new(
                Code::NoHands,
                places.instances[on.index()],
                format!("`{service}` of `{instance}` is on `{host}`, where Mainstay has no hands"),
            )
            .label("its steps would act on the agent's machine")
            .help(
                "control it by commands that reach that host (`start`, `stop`, `status`, for example through ssh, without \
                 `pid_file`), or run the agent there",
            ),
        );
    }
}

fn probes(plan: &Plan, component: ComponentIx, places: &Places, findings: &mut Vec<Finding>) {
    for ix in &plan.component(component).instances {
        let instance = plan.instance(*ix);
        let mut kinds = instance.probes.iter().map(|it| &plan.probe(*it).kind);
        if kinds.all(|it| matches!(it, ProbeKind::Tcp { .. })) {
            findings.push(
                Finding::new(
                    Code::TcpOnly,
                    places.instances[ix.index()],
                    format!("`{}` is watched by TCP connections only", instance.name),
                )
                .label("a hanging server looks healthy")
                .help("add an `http` or `command` probe that asks the application something"),
            );
        }
    }
}
