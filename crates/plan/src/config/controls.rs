//! Control planes: those that the plan declares, and those that its actions name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fields::{At, Cx, Fields};
use super::grammar::CONTROL_PLANE;
use super::hosts::of_no_instance;
use super::link::{Parts, index, push_probe};
use super::probes::probe;
use super::raw::{ActKind, RawHow, RawProbe, RawRung};
use super::tree::Entry;
use super::values;
use crate::action::Plane;
use crate::control::ControlPlane;
use crate::finding::{Code, Finding, Span};
use crate::probe::Watches;
use crate::{ControlIx, InstanceIx, Plan};

/// What an action says of the control plane that it needs.
#[derive(Clone, Default)]
pub(crate) struct RawWhere {
    pub(crate) service: Option<At<String>>,
    pub(crate) region: Option<String>,
}

/// An entry of `control_planes`.
pub(crate) struct RawControl {
    at: Span,
    plane: Plane,
    service: String,
    region: String,
    canary: Option<RawProbe>,
    opens_after: u32,
    retry_after: Duration,
}

/// The planes that an entry may be about.
const PLANES: [Plane; 4] = [Plane::Data, Plane::RecoveryControl, Plane::RegionalControl, Plane::GlobalControl];

/// The words for them.
pub(super) fn plane_words() -> Vec<&'static str> {
    PLANES.iter().map(|it| it.word()).collect()
}

/// One entry: `NAME: {…}`.
pub(super) fn control<'a>(cx: &'a Cx<'a>, entry: &'a Entry, home: &str) -> RawControl {
    let what = format!("control plane `{}`", entry.key);
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, what, &CONTROL_PLANE);
    let service = fields.read("service", values::name).unwrap_or_else(|| {
        cx.derive(entry.key_span, "service", || entry.key.to_string());
        entry.key.to_string()
    });
    let region = fields.text("region").unwrap_or_else(|| {
        cx.derive(entry.key_span, "region", || home.to_owned());
        home.to_owned()
    });
    let control = RawControl {
        at: entry.key_span,
        plane: fields.word("plane", &PLANES, Plane::word).unwrap_or(Plane::RegionalControl),
        service,
        region,
        canary: fields.read("canary", |cx, node| probe(cx, node).inspect(|it| of_no_instance(cx, it.from_host))),
        opens_after: fields.number("opens_after"),
        retry_after: fields.duration("retry_after"),
    };
    fields.finish();
    control
}

/// What an action says of its control plane, beside `plane`.
pub(super) fn needed(fields: &mut Fields<'_>, plane: Plane) -> RawWhere {
    let service = fields.read("service", |cx, node| {
        let value = values::name(cx, node)?;
        Some(At { value, span: node.span })
    });
    let region = fields.text("region");
    if let Some(service) = service.as_ref().filter(|_| !PLANES.contains(&plane)) {
        let message = format!("`service` names whose plane it is, and `plane` is `{}`", plane.word());
        fields.cx.report(
            Finding::new(Code::Contradiction, service.span, message)
                .label("has no effect")
                .help("say on which plane it runs (`plane: regional_control`, for example), or remove `service`"),
        );
    }
    RawWhere { service, region }
}

/// Puts the control planes into the plan: what it declares, and what its actions name.
pub(super) fn link(cx: &Cx<'_>, plan: &mut Plan, parts: &Parts, declared: Vec<RawControl>, ladders: &[Vec<RawRung>]) {
    let mut all: BTreeMap<(String, String), (ControlPlane, Span, Option<RawProbe>)> = BTreeMap::new();
    for raw in declared {
        let key = (raw.service.clone(), raw.region.clone());
        let control = ControlPlane {
            service: raw.service,
            region: raw.region,
            plane: raw.plane,
            canary: None,
            opens_after: raw.opens_after,
            retry_after: raw.retry_after,
            declared: true,
        };
        if let Some((first, at, _)) = all.get(&key) {
            cx.report(
                Finding::new(Code::NameTaken, raw.at, format!("{} stands here twice", first.label()))
                    .label("again here")
                    .other(*at, "first here")
                    .help("give one of them another `service` or `region`"),
            );
        }
        all.insert(key, (control, raw.at, raw.canary));
    }
    let mut used: BTreeSet<(String, String)> = BTreeSet::new();
    for (plane, stated, at, there) in named(plan, parts, ladders) {
        let Some((service, region)) = key(plan, plane, &stated, there) else { continue };
        used.insert((service.clone(), region.clone()));
        let control = ControlPlane {
            service: service.clone(),
            region: region.clone(),
            plane,
            canary: None,
            opens_after: ControlPlane::OPENS_AFTER,
            retry_after: ControlPlane::RETRY_AFTER,
            declared: false,
        };
        let known = all.entry((service, region)).or_insert((control, at, None));
        if known.0.plane != plane {
            let message = format!("`{}` is on plane `{}` here", known.0.service, plane.word());
            cx.report(
                Finding::new(Code::Contradiction, stated.service.map_or(at, |it| it.span), message)
                    .label("another plane")
                    .other(known.1, format!("`{}` here", known.0.plane.word()))
                    .reason("what fails together has one name, and the planes of a service fail apart")
                    .help("give one of them another `service`, or the same `plane`"),
            );
        }
    }
    for ((service, region), (mut control, at, canary)) in all {
        if control.declared && !used.contains(&(service.clone(), region.clone())) {
            cx.report(
                Finding::new(Code::ControlUnused, at, format!("nothing needs {}", control.label()))
                    .label("asked, and of no use")
                    .help(format!("name it at an action: `plane: {}, service: {service}`", control.plane.word())),
            );
        }
        let ix = ControlIx(index(plan.controls.len()));
        let name = format!("control/{service}/{region}");
        control.canary = canary.map(|it| push_probe(plan, name, Watches::Control(ix), it));
        plan.controls.push(control);
    }
}

/// Every action of the plan that might need one: its plane, what it says, and the instance that it is done to.
fn named(plan: &Plan, parts: &Parts, ladders: &[Vec<RawRung>]) -> Vec<(Plane, RawWhere, Span, InstanceIx)> {
    let mut found = Vec::new();
    for (at, acts) in parts
        .activate
        .iter()
        .enumerate()
        .chain(parts.demote.iter().enumerate())
        .chain(parts.repair.iter().map(|it| &it.0).enumerate())
    {
        for act in acts {
            if let ActKind::Other(action) = &act.what {
                found.push((action.plane(), act.whose.clone(), act.at, InstanceIx(index(at))));
            }
        }
    }
    for (component, ladder) in plan.components.iter().zip(ladders) {
        for rung in ladder {
            if let RawHow::Run { run, .. } = &rung.how {
                let each = component.instances.iter().map(|it| (run.plane, run.whose.clone(), rung.at, *it));
                found.extend(each);
            }
        }
    }
    found
}

fn key(plan: &Plan, plane: Plane, stated: &RawWhere, there: InstanceIx) -> Option<(String, String)> {
    let local = &plan.instance(there).location.region;
    let region = match plane {
        Plane::Local | Plane::ServiceRun => return None,
        Plane::Data if stated.service.is_none() => return None,
        Plane::Data | Plane::RegionalControl => local,
        Plane::RecoveryControl | Plane::GlobalControl => &plan.site.location.region,
    };
    let service = stated.service.as_ref().map_or(plane.word(), |it| &it.value);
    Some((service.to_owned(), stated.region.as_ref().unwrap_or(region).clone()))
}

/// The control plane that an action on `plane`, done to `there`, needs.
pub(super) fn control_of(plan: &Plan, plane: Plane, stated: &RawWhere, there: InstanceIx) -> Option<ControlIx> {
    let (service, region) = key(plan, plane, stated, there)?;
    plan.control_named(&service, &region)
}
