//! Guards and rules of routes: what one signal alone can move, and rules that hold nothing back, or everything.

use std::collections::BTreeSet;

use super::reading::Reading;
use crate::component::{Component, Criticality};
use crate::finding::{Code, Finding};
use crate::route::{Route, Sharing};

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    findings.extend(one_signal(reading));
    for route in &reading.plan.routes {
        own_gate(reading, route, findings);
        findings.extend(at_least(reading, route));
    }
}

/// Critical components that one kind of probe can move. One finding for all of them: it is one habit.
fn one_signal(reading: &Reading<'_>) -> Option<Finding> {
    let kind_of = |component: &Component| {
        let probes = &reading.original(component).probes;
        let kinds: BTreeSet<&str> = probes.iter().map(|it| reading.plan.probe(*it).kind.word()).collect();
        kinds.first().copied().filter(|_| kinds.len() == 1)
    };
    let critical = reading.components().map(|it| it.1);
    let critical = critical.filter(|it| it.criticality == Criticality::Critical && !it.ladder.is_empty());
    let all: Vec<(&Component, &str)> = critical.filter_map(|it| Some((it, kind_of(it)?))).collect();
    let (component, kind) = *all.first()?;
    let more = match all.len() - 1 {
        0 => String::new(),
        1 => " (so does it for one more)".to_owned(),
        more => format!(" (so does it for {more} more)"),
    };
    let message = format!("`{}` is critical, and one kind of probe decides that it is down{more}", component.name);
    Some(
        Finding::new(Code::OneSignal, reading.at(component, &["probes"]), message)
            .label(format!("only `{kind}` is asked"))
            .help("add a probe of another kind, and ask for both before anything is done: `guards: { signals: 2 }`"),
    )
}

/// A gate that is down whenever the route has to change for it.
fn own_gate(reading: &Reading<'_>, route: &Route, findings: &mut Vec<Finding>) {
    let own = |it: &&crate::ComponentIx| {
        route.targets.iter().any(|target| reading.plan.instance(target.instance).component == **it)
    };
    for gate in route.rules.gates.iter().filter(own) {
        let name = &reading.plan.component(*gate).name;
        let message =
            format!("route `{}` may not change while `{name}`, which it leads to, is not healthy", route.name);
        findings.push(
            Finding::new(Code::VainRule, reading.outline.at(&["routes", &route.name, "rules", "gates"]), message)
                .label("closed whenever it is needed")
                .help("name only components that must be well for others to be moved"),
        );
    }
}

/// A number of targets that nothing can keep to.
fn at_least(reading: &Reading<'_>, route: &Route) -> Option<Finding> {
    let own = route.rules.at_least.map(|it| (it, ["routes", route.name.as_str(), "rules", "at_least"]));
    if route.sharing == Sharing::Exclusive {
        let (_, path) = own?;
        let message = format!("`at_least` says nothing about `{}`, which is exclusive", route.name);
        return Some(
            Finding::new(Code::VainRule, reading.outline.at(&path), message)
                .label("empty between the fence and the takeover")
                .help("leave it out; `gates` and `wait` hold for exclusive routes"),
        );
    }
    let need = reading.plan.guards.minimum_healthy.filter(|it| *it as usize >= route.targets.len() && *it > 1)?;
    let message = format!(
        "`minimum_healthy` is {need}, and route `{}` has {} {}",
        route.name,
        route.targets.len(),
        if route.targets.len() == 1 { "target" } else { "targets" }
    );
    Some(
        Finding::new(Code::VainRule, reading.outline.at(&["guards", "minimum_healthy"]), message)
            .label("nothing ever leaves it, whatever is down")
            .help("lower it, or give the route more targets"),
    )
}
