//! What a sound plan says that can't be what its owner means: its proof held against its objectives, its parts held against
//! each other, and what experience says about probes, witnesses, backups and people.
//!
//! Every finding names the numbers and a change that can be pasted. Where two of them would say the same, the one that is
//! nearer to the cause speaks. All of it takes a time that is linear in the plan.

mod agents;
mod backups;
mod evacuations;
mod guards;
mod heartbeats;
mod ladder;
mod objectives;
mod people;
mod probes;
mod reading;
mod routes;
mod rules;
mod shared_fate;
mod witnesses;

use std::time::Duration;

use reading::Reading;

use crate::action::Plane;
use crate::component::{Criticality, Temperature};
use crate::config::scalar::show_duration;
use crate::config::{Outline, Places};
use crate::finding::{Code, Finding, Span};
use crate::location::FailureDomain;
use crate::proof::{Bound, Condition, NoRecovery, Proof, Recovery};
use crate::strategy::Strategy;
use crate::{ComponentIx, Plan};

const MONTH: Duration = Duration::from_secs(30 * 86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Findings about a plan that has no error.
pub(crate) fn lint(plan: &Plan, places: &Places, outline: &Outline) -> Vec<Finding> {
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
        probes::tcp_only(plan, component, places, &mut findings);
        ladder::hands(plan, component, places, &mut findings);
        let it = plan.component(component);
        if it.witnesses.need == 0 && !plan.witnesses.is_empty() && !it.ladder.is_empty() {
            findings.push(
                Finding::new(Code::NoWitness, *span, format!("no witness is asked before `{}` is recovered", it.name))
                    .label("needs no witness")
                    .help("add a witness outside its zone, or name some in `witnesses: { need: 1, of: […] }`"),
            );
        }
    }
    let reading = Reading::of(&proof, outline);
    objectives::lint(&reading, &mut findings);
    routes::lint(&reading, &mut findings);
    backups::lint(&reading, &mut findings);
    probes::lint(&reading, &mut findings);
    heartbeats::lint(&reading, &mut findings);
    witnesses::lint(&reading, &mut findings);
    ladder::lint(&reading, &mut findings);
    people::lint(&reading, &mut findings);
    agents::lint(&reading, &mut findings);
    shared_fate::lint(&reading, &mut findings);
    evacuations::lint(&reading, &mut findings);
    guards::lint(&reading, &mut findings);
    rules::lint(&reading, &mut findings);
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
    let over = FailureDomain::ALL.iter().filter_map(|failure| {
        let recovery = verdict(*failure)?.as_ref().ok()?;
        let rto = it.objectives.rto_for(*failure)?;
        (recovery.worst().total() > rto).then_some((*failure, recovery, rto))
    });
    let slowest = over.max_by_key(|(failure, it, _)| (it.worst().total(), std::cmp::Reverse(*failure)));
    if let Some((failure, recovery, rto)) = slowest {
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
        "turn" => "raise `at_once` of the evacuation",
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
