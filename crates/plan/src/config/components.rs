//! Lowering components, standbys and witnesses.

use std::time::Duration;

use super::actions::{acts, plane, service};
use super::fields::{self, At, Cx, Fields, choice, items};
use super::probes::{probe, probes};
use super::raw::{RawComponent, RawHow, RawInstance, RawRung, RawWitness, RawWitnessRule};
use super::tree::{Entry, Node};
use crate::action::Plane;
use crate::component::{ComponentKind, Constraint, ConstraintKind, Criticality, Objectives, Rejoin, Temperature};
use crate::finding::{Code, Finding, Span};
use crate::location::Location;
use crate::policy::{Approval, Guards};
use crate::strategy::Strategy;

/// One component: `NAME: {…}`.
pub(super) fn component<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawComponent {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("component `{}`", entry.key));
    let kind = fields
        .must("type", |cx, node| fields::word(cx, node, &ComponentKind::ALL, ComponentKind::word))
        .unwrap_or(ComponentKind::Database);
    let instance = instance(&mut fields, entry, Temperature::Hot);
    let constraint = fields.take("constraint").and_then(|it| constraint(cx, &it.node, it.key_span));
    let criticality = fields
        .read("criticality", |cx, node| fields::word(cx, node, &Criticality::ALL, Criticality::word))
        .unwrap_or(Criticality::Important);
    let objectives = fields.take("objectives").map(|it| objectives(cx, &it.node, it.key_span)).unwrap_or_default();
    let depends_on = fields.read("depends_on", names).unwrap_or_default();
    let witnesses = fields.take("witnesses").map(|it| witness_rule(cx, &it.node, it.key_span));
    let rejoin =
        fields.read("rejoin", |cx, node| fields::word(cx, node, &Rejoin::ALL, Rejoin::word)).unwrap_or(Rejoin::ByHand);
    let guards = guards(cx, fields.take("guards"), entry.key_span);
    let ladder = fields
        .read("recovery", items)
        .map(|rungs| rungs.iter().filter_map(|it| rung(cx, it)).collect())
        .unwrap_or_default();
    fields.finish();
    RawComponent { instance, kind, constraint, criticality, objectives, depends_on, witnesses, rejoin, guards, ladder }
}

/// One standby: `NAME: {…}`.
pub(super) fn standby<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawInstance {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("standby `{}`", entry.key));
    let temperature = fields
        .read("temperature", |cx, node| fields::word(cx, node, &Temperature::ALL, Temperature::word))
        .unwrap_or(Temperature::Warm);
    let instance = instance(&mut fields, entry, temperature);
    fields.finish();
    instance
}

/// What a component's own instance and a standby have in common.
fn instance<'a>(fields: &mut Fields<'a>, entry: &'a Entry, temperature: Temperature) -> RawInstance {
    let cx = fields.cx;
    let location = must_location(fields);
    let service = fields.take("service").and_then(|it| service(cx, &it.node, it.key_span));
    let listed = fields.need("probes");
    let probes = listed.map(|it| probes(cx, &it.node)).unwrap_or_default();
    if let Some(Entry { key_span, node, .. }) = listed
        && items_len(node) == Some(0)
    {
        cx.report(
            Finding::new(Code::Empty, *key_span, format!("{} has no probe", fields.what))
                .label("at least one, please")
                .reason("without a probe nobody learns that it failed, or that it is fit to take over"),
        );
    }
    let down_when = fields.number("down_when", 1..=1000, 1);
    if let (Some(at), Some(count)) = (fields.place("down_when"), listed.and_then(|it| items_len(&it.node)))
        && down_when as usize > count
        && count > 0
    {
        cx.report(
            Finding::new(Code::DownWhen, at, format!("`down_when` is {down_when}, the number of probes is {count}"))
                .label("more than there are")
                .help(format!("write {count} or less, or add probes")),
        );
    }
    let activate = fields.take("activate").map(|it| acts(cx, &it.node)).unwrap_or_default();
    RawInstance {
        name: At { value: entry.key.clone(), span: entry.key_span },
        location,
        temperature,
        service,
        probes,
        down_when: down_when as usize,
        activate,
    }
}

fn items_len(node: &Node) -> Option<usize> {
    match &node.value {
        super::tree::Value::List(items) => Some(items.len()),
        super::tree::Value::Null | super::tree::Value::Scalar { .. } | super::tree::Value::Map(_) => None,
    }
}

/// One witness: `NAME: {…}`.
pub(super) fn witness<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawWitness {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("witness `{}`", entry.key));
    let location = must_location(&mut fields);
    let probe = fields.must("probe", probe);
    fields.finish();
    RawWitness { name: At { value: entry.key.clone(), span: entry.key_span }, location, probe }
}

fn must_location(fields: &mut Fields<'_>) -> Location {
    let cx = fields.cx;
    let nowhere = Location { region: String::new(), zone: None, host: None };
    fields.need("location").map_or(nowhere, |it| {
        let mut inner = Fields::open(cx, Some(&it.node), it.key_span, "this location");
        let location = location(&mut inner);
        inner.finish();
        location
    })
}

/// Region, zone and host, which `fields` may hold beside others.
pub(super) fn location(fields: &mut Fields<'_>) -> Location {
    Location { region: fields.must_text("region"), zone: fields.text("zone"), host: fields.text("host") }
}

fn constraint<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> Option<Constraint> {
    let mut fields = Fields::open(cx, Some(node), at, "this constraint");
    let reason = fields.must_text("reason");
    let kind = fields.must("kind", |cx, node| fields::word(cx, node, &ConstraintKind::ALL, ConstraintKind::word));
    fields.finish();
    Some(Constraint { kind: kind?, reason })
}

fn objectives<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> Objectives {
    let mut fields = Fields::open(cx, Some(node), at, "these objectives");
    let rto = fields.read("rto", fields::positive);
    let rpo = fields.read("rpo", fields::duration);
    let availability_ppm = fields.read("availability", fields::percent_ppm);
    fields.finish();
    Objectives { rto, rpo, availability_ppm }
}

/// A list of names, each with its place.
fn names(cx: &Cx<'_>, node: &Node) -> Option<Vec<At<String>>> {
    match &node.value {
        super::tree::Value::List(items) => Some(items.iter().filter_map(|it| fields::at_text(cx, it)).collect()),
        super::tree::Value::Null | super::tree::Value::Scalar { .. } | super::tree::Value::Map(_) => {
            fields::wrong_type(cx, node, fields::THIS, "a list of names");
            None
        }
    }
}

fn witness_rule<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> RawWitnessRule {
    let mut fields = Fields::open(cx, Some(node), at, "this rule of witnesses");
    let need = fields.read("need", |cx, node| fields::number(cx, node, 0..=1000)).map(|it| it as usize);
    let of = fields.read("of", names);
    fields.finish();
    RawWitnessRule { at, need, of }
}

fn guards<'a>(cx: &'a Cx<'a>, entry: Option<&'a Entry>, at: Span) -> Guards {
    let at = entry.map_or(at, |it| it.key_span);
    let mut fields = Fields::open(cx, entry.map(|it| &it.node), at, "these guards");
    let cool_down = fields.duration("cool_down", Duration::from_secs(600));
    let approval = fields.take("approval").map(|it| {
        let mut inner = Fields::open(cx, Some(&it.node), it.key_span, "this approval");
        let expires = inner.must("expires", fields::positive).unwrap_or(Duration::from_secs(1));
        inner.finish();
        Approval { expires }
    });
    fields.finish();
    Guards { cool_down, approval }
}

fn rung<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<RawRung> {
    let words = Strategy::ALL.map(Strategy::word);
    let choice = choice(cx, node, "strategy", &words)?;
    let strategy = Strategy::ALL.into_iter().find(|it| it.word() == choice.word)?;
    let mut fields = Fields::open(cx, choice.node, choice.at, format!("`{}`", choice.word));
    let mut within = Duration::from_secs(10);
    let how = match strategy {
        Strategy::RestartService => RawHow::Restart {
            timeout: fields.positive("timeout", Duration::from_secs(30)),
            attempts: fields.number("attempts", 1..=100, 1),
        },
        Strategy::FailoverToStandby => {
            let standby = fields.must("standby", fields::at_text);
            let fence = fields.read("fence", |cx, node| {
                fields::word(cx, node, &["stop"], |it| it)?;
                Some(node.span)
            });
            let accept = fields.read("accept_risk", accepted);
            RawHow::Failover { standby, fence, accept }
        }
        Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut => {
            within = Duration::from_secs(60);
            RawHow::Run {
                strategy,
                argv: fields.must("run", fields::argv).unwrap_or_default(),
                timeout: fields.positive("timeout", Duration::from_secs(1800)),
                plane: plane(&mut fields, Plane::RegionalControl),
                idempotent: fields.flag("idempotent"),
            }
        }
    };
    let verify_within = fields.positive("verify_within", within);
    fields.finish();
    Some(RawRung { at: choice.at, how, verify_within })
}

/// The risks that a plan accepts by name; so far there is one.
fn accepted<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<Span> {
    let mut found = None;
    for item in items(cx, node)? {
        if fields::word(cx, item, &["two_writers"], |it| it).is_some() {
            found = Some(item.span);
        }
    }
    found
}
