//! Decision rules: whether what follows from them is what their owner means.

use super::reading::Reading;
use crate::InstanceIx;
use crate::finding::{Code, Finding};
use crate::observation::{Health, Scenario};
use crate::probe::Watches;
use crate::rule::{Condition, Expr, Measure, Op, Rule, Scope, Subject, Term, Value};

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    for rule in &reading.plan.rules {
        match rule.then {
            Scenario::InstanceFailure | Scenario::ServiceFailure => {
                findings.extend(of_one(reading, rule));
                findings.extend(nothing_follows(reading, rule));
                findings.extend(of_the_unknown(reading, rule));
            }
            Scenario::AvailabilityZoneFailure | Scenario::RegionFailure => {}
        }
    }
}

/// A rule about whichever instance is the component that looks at one of them: after a takeover it still looks at the old one.
fn of_one(reading: &Reading<'_>, rule: &Rule) -> Option<Finding> {
    let Scope::Component(component) = rule.of else { return None };
    let planned = reading.plan.component(component);
    if planned.instances.len() < 2 {
        return None;
    }
    let mut terms = Vec::new();
    collect(&rule.when, &mut terms);
    let named = |term: &&Term| named_instance(reading, term).filter(|it| planned.instances.contains(it));
    // That a standby is ready is no reason to accuse it.
    let (term, instance) = terms.iter().find_map(|it| Some((it, named(it).filter(|it| *it == planned.original())?)))?;
    let name = &reading.plan.instance(instance).name;
    Some(
        Finding::new(
            Code::RuleOfOne,
            reading.outline.at(&["rules", &rule.name, "of"]),
            format!("rule `{}` is about whichever instance is `{}`, and looks at one", rule.name, planned.name),
        )
        .label(format!("`{}` speaks of the instance `{name}`", rule.words(term.at)))
        .help(format!("write `of: {{ instance: {name} }}`")),
    )
}

/// The instance that a term names.
fn named_instance(reading: &Reading<'_>, term: &Term) -> Option<InstanceIx> {
    match &term.what {
        Measure::Health(Subject::Instance(ix)) | Measure::Age { of: Subject::Instance(ix), .. } | Measure::Lag(ix) => {
            Some(*ix)
        }
        Measure::Latency { probe, .. } => match reading.plan.probe(*probe).watches {
            Watches::Instance(ix) => Some(ix),
            Watches::Control(_) | Watches::Witness(_) | Watches::Route(_) => None,
        },
        Measure::Health(Subject::Component(_) | Subject::Witness(_))
        | Measure::Age { of: Subject::Component(_) | Subject::Witness(_), .. }
        | Measure::Constant(_)
        | Measure::Count { .. }
        | Measure::Fraction { .. } => None,
    }
}

/// A rule about a component that has no ladder.
fn nothing_follows(reading: &Reading<'_>, rule: &Rule) -> Option<Finding> {
    let component = match &rule.of {
        Scope::Component(component) => *component,
        Scope::Instances(list) => reading.plan.instance(*list.first()?).component,
        Scope::All | Scope::Region(_) | Scope::Zone { .. } | Scope::Host(_) => return None,
    };
    let planned = reading.plan.component(component);
    planned.ladder.is_empty().then(|| {
        Finding::new(
            Code::RuleIdle,
            reading.outline.at(&["rules", &rule.name, "of"]),
            format!("nothing follows from rule `{}`", rule.name),
        )
        .label(format!("`{}` has no ladder", planned.name))
        .help("give it a `recovery`, or leave the rule out")
    })
}

/// A rule that can be true only while nobody knows anything of whom it accuses.
fn of_the_unknown(reading: &Reading<'_>, rule: &Rule) -> Option<Finding> {
    let accused = |of: &Subject| match (&rule.of, of) {
        (Scope::Component(component), Subject::Component(it)) => component == it,
        (Scope::Component(component), Subject::Instance(it)) => reading.plan.component(*component).instances == [*it],
        (Scope::Instances(list), Subject::Instance(it)) => list.contains(it),
        (_, _) => false,
    };
    let unknown = must_hold(&rule.when).into_iter().find(|expr| {
        let Condition::Compare { left, op: Op::Equal, right } = &expr.what else { return false };
        let ((Measure::Health(of), Measure::Constant(Value::Health(Health::Unknown)))
        | (Measure::Constant(Value::Health(Health::Unknown)), Measure::Health(of))) = (&left.what, &right.what)
        else {
            return false;
        };
        accused(of)
    })?;
    Some(
        Finding::new(
            Code::RuleOfUnknown,
            reading.outline.at(&["rules", &rule.name, "when"]),
            format!("rule `{}` is true only of what nobody knows anything of", rule.name),
        )
        .label(format!("`{}`: then nothing is done", rule.words(unknown.at)))
        .help("name in `health(…) == …` what its probes say when it has failed: `suspect` or `down`"),
    )
}

/// The parts without which an expression can't be true.
fn must_hold(expr: &Expr) -> Vec<&Expr> {
    match &expr.what {
        Condition::All(parts) => parts.iter().flat_map(must_hold).collect(),
        Condition::For { held, .. } => must_hold(held),
        Condition::Any(_) | Condition::Not(_) => Vec::new(),
        Condition::Compare { .. } => vec![expr],
    }
}

fn collect<'a>(expr: &'a Expr, terms: &mut Vec<&'a Term>) {
    match &expr.what {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|it| collect(it, terms)),
        Condition::Not(part) | Condition::For { held: part, .. } => collect(part, terms),
        Condition::Compare { left, right, .. } => terms.extend([left, right]),
    }
}
