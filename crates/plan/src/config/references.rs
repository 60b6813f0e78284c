//! Resolving names: standbys to components, dependencies, witnesses.

use std::collections::{BTreeSet, HashMap};

use super::fields::{At, Cx, in_words};
use super::link::index;
use super::raw::{File, RawHow, RawWitnessRule};
use crate::component::{Witness, WitnessRule};
use crate::finding::{Code, Finding, Span};
use crate::location::FailureDomain;
use crate::{ComponentIx, Plan, WitnessIx};

/// Which component each standby belongs to: the one whose ladder names it. Also finds names that stand for two things.
pub(super) fn standby_owners(cx: &Cx<'_>, file: &File) -> HashMap<String, usize> {
    let standbys: HashMap<&str, Span> = file.standbys.iter().map(|it| (it.name.value.as_str(), it.name.span)).collect();
    for component in &file.components {
        let name = &component.instance.name;
        if let Some(span) = standbys.get(name.value.as_str()) {
            cx.report(
                Finding::new(Code::NameTaken, *span, format!("`{}` is a component and a standby", name.value))
                    .label("a standby")
                    .other(name.span, "a component")
                    .help("give the standby a name of its own"),
            );
        }
    }
    let mut owners: HashMap<String, (usize, Span)> = HashMap::new();
    let mut disputed: BTreeSet<&str> = BTreeSet::new();
    for (at, component) in file.components.iter().enumerate() {
        for rung in &component.ladder {
            let RawHow::Failover { standby: Some(named), .. } = &rung.how else { continue };
            if !standbys.contains_key(named.value.as_str()) {
                unknown(cx, named, "standby", file.standbys.iter().map(|it| it.name.value.as_str()));
                continue;
            }
            match owners.get(&named.value) {
                Some((owner, first)) if *owner != at => {
                    cx.report(
                        Finding::new(
                            Code::StandbyShared,
                            named.span,
                            format!("standby `{}` has two components", named.value),
                        )
                        .label(format!("for `{}`", component.instance.name.value))
                        .other(*first, format!("for `{}`", file.components[*owner].instance.name.value))
                        .help("give each component a standby of its own"),
                    );
                    disputed.insert(named.value.as_str());
                }
                Some(_) => {}
                None => {
                    owners.insert(named.value.clone(), (at, named.span));
                }
            }
        }
    }
    for standby in &file.standbys {
        if !owners.contains_key(&standby.name.value) {
            let name = &standby.name.value;
            cx.report(
                Finding::new(Code::StandbyUnused, standby.name.span, format!("nothing uses the standby `{name}`"))
                    .label("in no component's `recovery`")
                    .help(format!("add `- failover_to_standby: {{ standby: {name} }}` to its component, or remove it")),
            );
        }
    }
    // To give a disputed standby to either side would make mistakes out of everything that belongs to the other.
    let undisputed = owners.into_iter().filter(|(name, _)| !disputed.contains(name.as_str()));
    undisputed.map(|(name, (owner, _))| (name, owner)).collect()
}

/// Reports a name that nothing has.
pub(super) fn unknown<'n>(cx: &Cx<'_>, name: &At<String>, what: &str, names: impl Iterator<Item = &'n str> + Clone) {
    let finding = Finding::new(Code::UnknownReference, name.span, format!("there is no {what} `{}`", name.value));
    let few: Vec<String> = names.clone().take(6).map(|it| format!("`{it}`")).collect();
    cx.report(match cx.nearest(&name.value, names) {
        Some(near) => finding.label(format!("did you mean `{near}`?")).help(format!("write `{near}`")),
        None if few.is_empty() => finding.label(format!("the plan has no {what}")).help("add it, or remove this name"),
        None if few.len() == 1 => finding.label("unknown").help(format!("there is only {}", few[0])),
        None if few.len() < 6 => finding.label("unknown").help(format!("there are {}", in_words(&few, "and"))),
        None => finding.label("unknown").help(format!("there are {} and others", few.join(", "))),
    });
}

/// Reports a name that no component has. `plan` has its components and instances.
pub(super) fn no_component(cx: &Cx<'_>, plan: &Plan, name: &At<String>) {
    let Some(standby) = plan.instance_named(&name.value) else {
        return unknown(cx, name, "component", plan.components.iter().map(|it| it.name.as_str()));
    };
    let owner = &plan.component(plan.instance(standby).component).name;
    cx.report(
        Finding::new(Code::UnknownReference, name.span, format!("`{}` is no component", name.value))
            .label(format!("a standby of `{owner}`"))
            .help(format!("write `{owner}`")),
    );
}

pub(super) fn dependencies(cx: &Cx<'_>, plan: &mut Plan, depends: &[Vec<At<String>>]) {
    let by_name: HashMap<String, ComponentIx> =
        plan.components.iter().enumerate().map(|(at, it)| (it.name.clone(), ComponentIx(index(at)))).collect();
    for (at, names) in depends.iter().enumerate() {
        let mut seen = BTreeSet::new();
        for name in names {
            match by_name.get(&name.value) {
                Some(other) if !seen.insert(*other) => {}
                Some(other) => plan.components[at].depends_on.push(*other),
                None if plan
                    .instance_named(&name.value)
                    .is_some_and(|it| plan.instance(it).component.index() == at) =>
                {
                    cx.report(
                        Finding::new(Code::UnknownReference, name.span, format!("`{}` is no component", name.value))
                            .label("its own standby")
                            .reason(
                                "a component does not wait for its own standby: its ladder says when that takes over",
                            )
                            .help("remove it"),
                    );
                }
                None => no_component(cx, plan, name),
            }
        }
    }
    cycles(cx, plan, depends);
}

/// Reports each circle of dependencies once: a walk along dependencies that comes back to where it still is.
fn cycles(cx: &Cx<'_>, plan: &Plan, depends: &[Vec<At<String>>]) {
    const NEW: u8 = 0;
    const ON_PATH: u8 = 1;
    const DONE: u8 = 2;
    let mut left = 20;
    let mut state = vec![NEW; plan.components.len()];
    for start in 0..plan.components.len() {
        if state[start] != NEW {
            continue;
        }
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        state[start] = ON_PATH;
        while let Some((at, next)) = path.last_mut() {
            let Some(other) = plan.components[*at].depends_on.get(*next).map(|it| it.index()) else {
                state[*at] = DONE;
                path.pop();
                continue;
            };
            let from = *at;
            *next += 1;
            match state[other] {
                NEW => {
                    state[other] = ON_PATH;
                    path.push((other, 0));
                }
                ON_PATH if left > 0 => {
                    left -= 1;
                    let begin = path.iter().position(|(it, _)| *it == other).unwrap_or(0);
                    let mut names: Vec<&str> =
                        path[begin..].iter().map(|(it, _)| plan.components[*it].name.as_str()).collect();
                    names.push(&plan.components[other].name);
                    if names.len() > 8 {
                        names.splice(4..names.len() - 3, ["…"]);
                    }
                    let circle = names.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(" → ");
                    let wanted = &plan.components[other].name;
                    let span = depends[from].iter().find(|it| it.value == *wanted).map(|it| it.span);
                    cx.report(
                        Finding::new(Code::Cycle, span.unwrap_or_default(), format!("a circle: {circle}"))
                            .label("this closes the circle")
                            .help("remove the dependency that recovery can do without"),
                    );
                }
                _ => {}
            }
        }
    }
}

pub(super) fn witness_rules(cx: &Cx<'_>, plan: &mut Plan, rules: Vec<Option<RawWitnessRule>>, places: &[Span]) {
    let by_name: HashMap<&str, WitnessIx> =
        plan.witnesses.iter().enumerate().map(|(at, it)| (it.name.as_str(), WitnessIx(index(at)))).collect();
    let mut found = Vec::new();
    for ((component, rule), component_at) in plan.components.iter().zip(rules).zip(places.iter().copied()) {
        let home = &plan.instances[component.original().index()].location;
        let outside = || -> Vec<WitnessIx> {
            let all = plan.witnesses.iter().enumerate();
            let fits = |it: &Witness| home.zone.is_none() || !home.shares(&it.location, FailureDomain::Zone);
            all.filter(|(_, it)| fits(it)).map(|(at, _)| WitnessIx(index(at))).collect()
        };
        let names = |of: &[WitnessIx]| {
            let names: Vec<&str> = of.iter().map(|it| plan.witness(*it).name.as_str()).collect();
            format!("[{}]", names.join(", "))
        };
        let Some(rule) = rule else {
            let of = outside();
            let need = usize::from(!of.is_empty());
            cx.derive(component_at, "witnesses", || format!("{{ need: {need}, of: {} }}", names(&of)));
            found.push(WitnessRule { need, of });
            continue;
        };
        let of = match &rule.of {
            None => outside(),
            Some(names) => {
                let mut of = Vec::new();
                for name in names {
                    match by_name.get(name.value.as_str()) {
                        Some(ix) if of.contains(ix) => {}
                        Some(ix) => of.push(*ix),
                        None => unknown(cx, name, "witness", plan.witnesses.iter().map(|it| it.name.as_str())),
                    }
                }
                of
            }
        };
        let need = rule.need.unwrap_or(usize::from(!of.is_empty()));
        cx.derive(rule.at, "need", || need.to_string());
        cx.derive(rule.at, "of", || names(&of));
        let named = rule.of.as_ref().map_or(of.len(), Vec::len);
        if need > named {
            cx.report(
                Finding::new(
                    Code::WitnessNeed,
                    rule.at,
                    format!("`need` is {need}, the number of witnesses is {named}"),
                )
                .label("more than there are")
                .help("name more witnesses in `of`, or lower `need`"),
            );
        }
        found.push(WitnessRule { need, of });
    }
    for (component, rule) in plan.components.iter_mut().zip(found) {
        component.witnesses = rule;
    }
}

/// Each series that Mainstay keeps has a folder for itself on its machine, and a place for itself in a bucket.
pub(super) fn series_apart(cx: &Cx<'_>, file: &File) {
    let all = file.components.iter().flat_map(|component| {
        let of = &component.instance.name.value;
        component.backups.iter().filter_map(move |it| Some((of, it, it.value.postgres.as_deref()?)))
    });
    let ours: Vec<_> = all.collect();
    for (nth, (component, series, kept)) in ours.iter().enumerate() {
        for (other_component, other, other_kept) in &ours[..nth] {
            // Files lie on the machine of their series.
            if series.value.location != other.value.location {
                continue;
            }
            let is_folder = kept.folder == other_kept.folder;
            let bucket = kept.buckets.iter().find(|it| other_kept.buckets.contains(it));
            let Some(place) = Some(&kept.folder).filter(|_| is_folder).or(bucket) else { continue };
            let message = format!(
                "`{}` of `{component}` and `{}` of `{other_component}` are kept in one place: {}",
                series.value.name,
                other.value.name,
                place.display()
            );
            cx.report(
                Finding::new(Code::SeriesTogether, series.span, message)
                    .label("this is another series' place")
                    .other(other.span, "the series that has it")
                    .help("give each series a folder of its own; and for a bucket a file of its own, whose `prefix` no other has"),
            );
        }
    }
}
