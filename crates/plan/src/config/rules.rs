//! The section `rules`: reading each rule (`rule`), and resolving its names once the plan has all of them (`resolve`).

use std::collections::BTreeSet;

use super::expression::{Names, Written, expression, written};
use super::fields::{At, Cx, Fields};
use super::grammar::{RULE, RULE_SCOPE};
use super::references::{no_component, unknown};
use super::tree::{Entry, Node, Value};
use super::values;
use crate::Plan;
use crate::finding::{Code, Finding, Span};
use crate::observation::Scenario;
use crate::rule::{Rule, Scope};

/// A rule whose names are not resolved.
pub(super) struct RawRule {
    name: String,
    when: Option<Written>,
    then: Option<At<Scenario>>,
    of: Option<At<RawOf>>,
}

/// To whom it happened.
enum RawOf {
    Component(At<String>),
    Instance(At<String>),
    Region(At<String>),
    Zone { region: At<String>, zone: At<String> },
}

impl RawOf {
    /// What it is, for people.
    const fn what(&self) -> &'static str {
        match self {
            RawOf::Component(_) => "a component",
            RawOf::Instance(_) => "an instance",
            RawOf::Region(_) => "a region",
            RawOf::Zone { .. } => "a zone",
        }
    }

    const fn fits(&self, then: Scenario) -> bool {
        match self {
            RawOf::Component(_) | RawOf::Instance(_) => match then {
                Scenario::InstanceFailure | Scenario::ServiceFailure => true,
                Scenario::AvailabilityZoneFailure | Scenario::RegionFailure => false,
            },
            RawOf::Region(_) => matches!(then, Scenario::RegionFailure),
            RawOf::Zone { .. } => matches!(then, Scenario::AvailabilityZoneFailure),
        }
    }
}

/// Reads one entry of `rules`.
pub(super) fn rule<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawRule {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("rule `{}`", entry.key), &RULE);
    let when = fields.read("when", written).filter(|_| !is_cut(&entry.node));
    let then = fields.read("then", |cx, node| {
        let value = values::word(cx, node, &Scenario::ALL, Scenario::word)?;
        Some(At { value, span: node.span })
    });
    let of = fields.take("of").and_then(|it| of(cx, &it.node, it.key_span));
    fields.finish();
    let of = of.filter(|of| then.as_ref().is_none_or(|then| fitting(cx, then, of)));
    RawRule { name: entry.key.to_string(), when, then, of }
}

/// Whether a comma between braces cut the expression, which is reported as the field that it makes.
fn is_cut(node: &Node) -> bool {
    let Value::Map(entries) = &node.value else { return false };
    entries.iter().any(|it| RULE.field(&it.key).is_none() && matches!(it.node.value, Value::Null))
}

fn of<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> Option<At<RawOf>> {
    let mut fields = Fields::open(cx, Some(node), at, "`of`", &RULE_SCOPE);
    let before = cx.findings.borrow().len();
    let component = fields.read("component", values::at_text);
    let instance = fields.read("instance", values::at_text);
    let zone = fields.read("zone", values::at_text);
    let region = fields.read("region", values::at_text);
    if zone.is_some() && !fields.has("region") {
        fields.miss("region");
    }
    fields.finish();
    if cx.findings.borrow().len() > before {
        return None;
    }
    let span = node.spot();
    let value = match (component, instance, region, zone) {
        (Some(component), None, None, None) => RawOf::Component(component),
        (None, Some(instance), None, None) => RawOf::Instance(instance),
        (None, None, Some(region), None) => RawOf::Region(region),
        (None, None, Some(region), Some(zone)) => RawOf::Zone { region, zone },
        (None, None, None, _) => {
            cx.report(
                Finding::new(Code::Empty, at, "`of` names nobody")
                    .label("who has failed?")
                    .help("write `{ component: NAME }`, `{ instance: NAME }`, `{ region: NAME }` or `{ region: NAME, zone: NAME }`"),
            );
            return None;
        }
        (_, _, _, _) => {
            cx.report(
                Finding::new(Code::Contradiction, span, "`of` names more than one thing")
                    .label("which of them has failed?")
                    .help("keep one, or write a rule for each"),
            );
            return None;
        }
    };
    Some(At { value, span })
}

/// Whether `then` can happen to `of`; if not, it is reported.
fn fitting(cx: &Cx<'_>, then: &At<Scenario>, of: &At<RawOf>) -> bool {
    if of.value.fits(then.value) {
        return true;
    }
    let (word, what) = (then.value.word(), of.value.what());
    let wanted = match then.value {
        Scenario::InstanceFailure | Scenario::ServiceFailure => "`of: { component: NAME }`",
        Scenario::AvailabilityZoneFailure => "`of: { region: NAME, zone: NAME }`",
        Scenario::RegionFailure => "`of: { region: NAME }`",
    };
    cx.report(
        Finding::new(Code::Contradiction, of.span, format!("`{word}` can't happen to {what}"))
            .label(what)
            .other(then.span, "what has happened")
            .help(format!("write {wanted}, or another `then`")),
    );
    false
}

/// The rules, by name. `plan` has its components, instances, probes and witnesses. Rules that can't be resolved are reported
/// and left out.
pub(super) fn resolve(cx: &Cx<'_>, plan: &Plan, raws: &[RawRule]) -> Vec<Rule> {
    let names = Names::of(plan);
    let mut rules: Vec<Rule> = raws.iter().filter_map(|it| one(cx, plan, &names, it)).collect();
    rules.sort_by(|a, b| a.name.cmp(&b.name));
    rules
}

fn one(cx: &Cx<'_>, plan: &Plan, names: &Names<'_>, raw: &RawRule) -> Option<Rule> {
    let when = raw.when.as_ref().map(|it| (it.text.clone(), expression(cx, it, names)));
    let of = raw.of.as_ref().and_then(|it| scope(cx, plan, &it.value));
    let (text, when) = when?;
    Some(Rule { name: raw.name.clone(), text, when: when?, then: raw.then.as_ref()?.value, of: of? })
}

fn scope(cx: &Cx<'_>, plan: &Plan, of: &RawOf) -> Option<Scope> {
    let locations = plan.instances.iter().map(|it| &it.location);
    match of {
        RawOf::Component(name) => {
            let found = plan.component_named(&name.value).map(Scope::Component);
            if found.is_none() {
                no_component(cx, plan, name);
            }
            found
        }
        RawOf::Instance(name) => {
            let found = plan.instance_named(&name.value).map(|it| Scope::Instances(vec![it]));
            found.or_else(|| missing(cx, name, "instance", plan.instances.iter().map(|it| it.name.as_str()).collect()))
        }
        RawOf::Region(name) => region(cx, plan, name).map(Scope::Region),
        RawOf::Zone { region: in_region, zone } => {
            let region = region(cx, plan, in_region)?;
            let zones: BTreeSet<&str> =
                locations.filter(|it| it.region == region).filter_map(|it| it.zone.as_deref()).collect();
            if zones.contains(zone.value.as_str()) {
                return Some(Scope::Zone { region, zone: zone.value.clone() });
            }
            missing(cx, zone, "zone", zones)
        }
    }
}

/// A region with an instance in it.
fn region(cx: &Cx<'_>, plan: &Plan, name: &At<String>) -> Option<String> {
    let regions: BTreeSet<&str> = plan.instances.iter().map(|it| it.location.region.as_str()).collect();
    if regions.contains(name.value.as_str()) {
        return Some(name.value.clone());
    }
    missing(cx, name, "region", regions)
}

fn missing<T>(cx: &Cx<'_>, name: &At<String>, what: &str, names: BTreeSet<&str>) -> Option<T> {
    unknown(cx, name, what, names.iter().copied());
    None
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::tree;

    /// The rules of this text under the plan of one database with a standby, and what is said about them.
    fn read(text: &str) -> (Vec<Rule>, Vec<String>) {
        let source = include_str!("../../../../examples/single-database.yaml");
        let plan = crate::compile("plan.yaml", source, Path::new("/")).plan.unwrap();
        let mut findings = Vec::new();
        let root = tree::parse(text, 0, &mut findings).unwrap();
        let cx = Cx {
            findings: RefCell::new(findings),
            base_dirs: &[PathBuf::from("/")],
            field: Cell::new(""),
            comparisons: Cell::new(1000),
            derived: RefCell::default(),
            deriving: false,
            postgres: std::cell::RefCell::new(None),
        };
        let Value::Map(entries) = &root.value else { panic!("{text} holds no rules") };
        let raws: Vec<RawRule> = entries.iter().map(|it| rule(&cx, it)).collect();
        let rules = resolve(&cx, &plan, &raws);
        let findings = cx.findings.into_inner();
        let told = |it: &Finding| {
            let help = it.help.as_deref().unwrap_or("");
            format!("{} at `{}`: {} → {help}", it.code.text(), &text[it.span.range()], it.message)
        };
        (rules, findings.iter().map(told).collect())
    }

    fn told(fields: &str) -> Vec<String> {
        let (rules, findings) = read(&format!("lost: {{ when: \"health(orders-db) == down\", {fields} }}\n"));
        assert_eq!(rules.is_empty(), !findings.is_empty());
        findings
    }

    #[test]
    fn rules_stand_by_name_with_what_they_say() {
        let (rules, findings) = read(
            "zone:\n  when: fraction(down, zone us-east-1a) >= 50%\n  then: availability_zone_failure\n  of: { region: us-east-1, zone: us-east-1a }\n\
             db:\n  when: health(orders-db) == down\n  then: service_failure\n  of: { component: orders-db }\n\
             standby:\n  when: lag(orders-db-b) > 1m\n  then: instance_failure\n  of: { instance: orders-db-b }\n\
             region:\n  when: fraction(down, all) == 1\n  then: region_failure\n  of: { region: us-east-1 }\n",
        );
        assert!(findings.is_empty(), "{findings:#?}");
        let said: Vec<(&str, &str, &str)> =
            rules.iter().map(|it| (it.name.as_str(), it.text.as_str(), it.then.word())).collect();
        assert_eq!(
            said,
            [
                ("db", "health(orders-db) == down", "service_failure"),
                ("region", "fraction(down, all) == 1", "region_failure"),
                ("standby", "lag(orders-db-b) > 1m", "instance_failure"),
                ("zone", "fraction(down, zone us-east-1a) >= 50%", "availability_zone_failure"),
            ]
        );
        assert_eq!(rules[3].of, Scope::Zone { region: "us-east-1".to_owned(), zone: "us-east-1a".to_owned() });
    }

    #[test]
    fn what_happens_fits_to_whom() {
        assert!(told("then: service_failure, of: { instance: orders-db-b }").is_empty());
        assert_eq!(
            told("then: availability_zone_failure, of: { component: orders-db }"),
            [
                "MS0113 at `component`: `availability_zone_failure` can't happen to a component → write `of: { region: NAME, zone: NAME }`, or another `then`"
            ]
        );
        assert_eq!(
            told("then: region_failure, of: { region: us-east-1, zone: us-east-1a }"),
            [
                "MS0113 at `region`: `region_failure` can't happen to a zone → write `of: { region: NAME }`, or another `then`"
            ]
        );
    }

    #[test]
    fn of_is_one_thing_that_is_there() {
        let of = |of: &str| told(&format!("then: service_failure, of: {of}"));
        assert_eq!(
            of("{}"),
            [
                "MS0110 at `of`: `of` names nobody → write `{ component: NAME }`, `{ instance: NAME }`, `{ region: NAME }` or `{ region: NAME, zone: NAME }`"
            ]
        );
        assert_eq!(
            of("{ component: orders-db, region: us-east-1 }"),
            ["MS0113 at `component`: `of` names more than one thing → keep one, or write a rule for each"]
        );
        assert_eq!(
            of("{ component: orders-bd }"),
            ["MS0201 at `orders-bd`: there is no component `orders-bd` → write `orders-db`"]
        );
        assert_eq!(
            of("{ zone: us-east-1a }"),
            ["MS0101 at `of`: `of` has no `region` → add for example `region: berlin`"]
        );
        assert_eq!(
            told("then: availability_zone_failure, of: { region: us-east-1, zone: us-east-1c }"),
            ["MS0201 at `us-east-1c`: there is no zone `us-east-1c` → write `us-east-1a`"]
        );
    }
}
