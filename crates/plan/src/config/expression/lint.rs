//! What is allowed in an expression, and probably not meant: conditions that never change, and times finer than what is
//! observed.

use std::time::Duration;

use super::Ink;
use super::names::Names;
use crate::ProbeIx;
use crate::config::scalar::show_duration;
use crate::finding::Code;
use crate::observation::Health;
use crate::rule::{Condition, Expr, Fraction, Measure, Op, Percentile, Piece, Since, Subject, Term, Value};

/// Warns about a checked expression.
pub(super) fn lint(ink: &Ink<'_>, names: &Names<'_>, expr: &Expr) {
    Lint { ink, names }.condition(expr);
}

struct Lint<'a> {
    ink: &'a Ink<'a>,
    names: &'a Names<'a>,
}

impl Lint<'_> {
    fn condition(&self, expr: &Expr) {
        match &expr.what {
            Condition::All(parts) => {
                self.healths(parts, true);
                parts.iter().for_each(|it| self.condition(it));
            }
            Condition::Any(parts) => {
                self.healths(parts, false);
                parts.iter().for_each(|it| self.condition(it));
            }
            Condition::Not(part) => self.condition(part),
            Condition::For { held, time } => {
                self.condition(held);
                self.held_too_shortly(expr, held, *time);
            }
            Condition::Compare { left, op, right } => self.compare(expr.at, left, *op, right),
        }
    }

    fn compare(&self, at: Piece, left: &Term, op: Op, right: &Term) {
        match self.always(left, op, right) {
            Some(always) => {
                let word = if always { "always" } else { "never" };
                let finding =
                    self.ink.finding(Code::NeverChanges, at, format!("{} is {word} true", self.ink.quote(at)));
                self.ink.report(
                    finding
                        .label(self.why(left, right))
                        .help("compare with a value that can be reached, or leave it out"),
                );
            }
            None => {
                self.age(left, right);
                self.age(right, left);
                self.few_answers(left);
                self.few_answers(right);
            }
        }
    }

    /// What a comparison always gives, if it is always the same.
    fn always(&self, left: &Term, op: Op, right: &Term) -> Option<bool> {
        if left == right {
            return Some(op.fits(std::cmp::Ordering::Equal));
        }
        let results: Vec<bool> = match (&left.what, &right.what) {
            (Measure::Constant(left), Measure::Constant(right)) => vec![op.holds(left, right)],
            (_, Measure::Constant(right)) => self.values(left, right).iter().map(|it| op.holds(it, right)).collect(),
            (Measure::Constant(left), _) => self.values(right, left).iter().map(|it| op.holds(left, it)).collect(),
            (_, _) => return None,
        };
        let first = *results.first()?;
        results.iter().all(|it| *it == first).then_some(first)
    }

    /// All values that a term can have, or, of durations, one of each sort in regard to `constant`.
    fn values(&self, term: &Term, constant: &Value) -> Vec<Value> {
        match &term.what {
            Measure::Constant(value) => vec![*value],
            Measure::Health(_) => Health::ALL.map(Value::Health).to_vec(),
            Measure::Count { scope, .. } => {
                let whole = self.size(scope.instances(self.names.plan).count());
                (0..=whole).map(Value::Number).collect()
            }
            Measure::Fraction { scope, .. } => {
                let whole = self.size(scope.instances(self.names.plan).count());
                (0..=whole).filter_map(|part| Fraction::new(part, whole)).map(Value::Fraction).collect()
            }
            Measure::Age { .. } | Measure::Lag(_) => around(constant, Duration::MAX),
            Measure::Latency { probe, .. } => around(constant, self.names.plan.probe(*probe).timing.timeout),
        }
    }

    fn size(&self, count: usize) -> u32 {
        u32::try_from(count).expect("instances have an index of 32 bits")
    }

    /// What holds a value in its bounds.
    fn why(&self, left: &Term, right: &Term) -> String {
        if left == right {
            return "twice the same".to_owned();
        }
        let observed = if matches!(left.what, Measure::Constant(_)) { right } else { left };
        match &observed.what {
            Measure::Constant(_) | Measure::Health(_) => "both are constants".to_owned(),
            Measure::Count { scope, .. } | Measure::Fraction { scope, .. } => {
                match scope.instances(self.names.plan).count() {
                    1 => "of 1 instance".to_owned(),
                    count => format!("of {count} instances"),
                }
            }
            Measure::Age { .. } | Measure::Lag(_) => "never below zero".to_owned(),
            Measure::Latency { probe, .. } => {
                let timeout = show_duration(self.names.plan.probe(*probe).timing.timeout);
                format!("a good answer takes {timeout} at most, the probe's `timeout`")
            }
        }
    }

    /// Comparisons of one health that exclude each other, or leave nothing out.
    fn healths(&self, parts: &[Expr], all: bool) {
        let mut seen: Vec<(Subject, Vec<Health>, Piece)> = Vec::new();
        for part in parts {
            let Some((subject, allowed)) = health_compared(part) else { continue };
            let Some((_, so_far, first)) = seen.iter_mut().find(|(it, _, _)| *it == subject) else {
                seen.push((subject, allowed, part.at));
                continue;
            };
            let keep = |it: &Health| {
                let (before, here) = (so_far.contains(it), allowed.contains(it));
                if all { before && here } else { before || here }
            };
            let together: Vec<Health> = Health::ALL.into_iter().filter(keep).collect();
            let (changes, word) = if all { (!together.is_empty(), "never") } else { (together.len() < 4, "always") };
            if changes {
                *so_far = together;
                continue;
            }
            let quote = self.ink.quote(*first);
            let finding =
                self.ink.finding(Code::NeverChanges, part.at, format!("together with {quote} this is {word} true"));
            let finding = self.ink.beside(finding, *first, "the same health");
            self.ink.report(if all {
                finding.label("one health at a time").help("join them by `or`")
            } else {
                finding.label("leaves no health out").help("join them by `and`, or leave both out")
            });
        }
    }

    /// An age that is passed between any two good answers.
    fn age(&self, term: &Term, other: &Term) {
        let (Measure::Age { since, of }, Measure::Constant(Value::Duration(time))) = (&term.what, &other.what) else {
            return;
        };
        let probes = self.names.probes_of(*of);
        let timings = probes.iter().map(|it| self.names.plan.probe(*it).timing);
        let (finest, word) = match since {
            Since::LastGood => (timings.map(|it| it.interval).min(), "interval"),
            Since::Health => (timings.map(|it| it.fast_interval).min(), "fast_interval"),
        };
        let Some(finest) = finest.filter(|it| time < it) else { return };
        let finest = show_duration(finest);
        let finding = self.ink.finding(
            Code::TooFine,
            other.at,
            format!("{} is less than the time from one answer to the next", self.ink.quote(other.at)),
        );
        let finding = self.ink.beside(finding, term.at, format!("its probes' shortest `{word}` is {finest}"));
        let finding = finding.label(format!("finer than {finest}")).help(format!("compare with more than {finest}"));
        self.ink.report(match since {
            Since::LastGood => {
                finding.reason("while all is well, the last good answer becomes this old again and again")
            }
            Since::Health => finding,
        });
    }

    /// A `for` within which no answer comes.
    fn held_too_shortly(&self, expr: &Expr, held: &Expr, time: Duration) {
        let mut probes = Vec::new();
        self.probes(held, &mut probes);
        let finest = probes.iter().map(|it| self.names.plan.probe(*it).timing.fast_interval).min();
        let Some(finest) = finest.filter(|it| time < *it) else { return };
        let finest = show_duration(finest);
        self.ink.report(
            self.ink
                .finding(
                    Code::TooFine,
                    expr.at,
                    format!("`for {}` is less than the time from one answer to the next", show_duration(time)),
                )
                .label(format!("its probes' shortest `fast_interval` is {finest}"))
                .help(format!("write `for {finest}` or more, or leave `for` out")),
        );
    }

    /// The probes that a condition speaks of.
    fn probes(&self, expr: &Expr, probes: &mut Vec<ProbeIx>) {
        match &expr.what {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|it| self.probes(it, probes)),
            Condition::Not(part) | Condition::For { held: part, .. } => self.probes(part, probes),
            Condition::Compare { left, right, .. } => {
                for term in [left, right] {
                    match &term.what {
                        Measure::Constant(_) => {}
                        Measure::Health(of) | Measure::Age { of, .. } => probes.extend(self.names.probes_of(*of)),
                        Measure::Count { scope, .. } | Measure::Fraction { scope, .. } => {
                            probes.extend(self.names.probes_of_all(scope.instances(self.names.plan)));
                        }
                        Measure::Lag(ix) => probes.extend(&self.names.plan.instance(*ix).probes),
                        Measure::Latency { probe, .. } => probes.push(*probe),
                    }
                }
            }
        }
    }

    /// A percentile of so few answers that it is the slowest of them.
    fn few_answers(&self, term: &Term) {
        let Measure::Latency { percentile, probe, window } = &term.what else { return };
        let probe = self.names.plan.probe(*probe);
        let interval = probe.timing.interval.max(Duration::from_nanos(1));
        let answers = window.as_nanos() / interval.as_nanos();
        if answers >= u128::from(percentile.answers_needed()) {
            return;
        }
        let enough = interval.saturating_mul(percentile.answers_needed());
        let lower = (50..percentile.percent()).rev().filter_map(Percentile::new);
        let lower = lower.into_iter().find(|it| u128::from(it.answers_needed()) <= answers);
        let lower = lower.map_or(String::new(), |it| format!(", or ask for `{it}`"));
        let message = match answers {
            0 => format!("a window of {} holds no answer", show_duration(*window)),
            1 => format!("`{percentile}` of 1 answer is that answer"),
            more => format!("`{percentile}` of {more} answers is the slowest of them"),
        };
        let finding = self.ink.finding(Code::TooFine, term.at, message);
        let finding = if answers == 0 { finding } else { finding.reason("a single slow answer would decide") };
        self.ink.report(
            finding
                .label(format!("one answer every {}", show_duration(interval)))
                .help(format!("use a window of {} or more{lower}", show_duration(enough))),
        );
    }
}

/// The subject and the healths that a comparison of a health with a constant lets through.
fn health_compared(expr: &Expr) -> Option<(Subject, Vec<Health>)> {
    let Condition::Compare { left, op, right } = &expr.what else { return None };
    let (subject, constant) = match (&left.what, &right.what) {
        (Measure::Health(subject), Measure::Constant(constant))
        | (Measure::Constant(constant), Measure::Health(subject)) => (*subject, constant),
        (_, _) => return None,
    };
    let allowed = Health::ALL.into_iter().filter(|it| op.holds(&Value::Health(*it), constant)).collect();
    Some((subject, allowed))
}

/// Durations from zero to `longest`: below, at and above a constant.
fn around(constant: &Value, longest: Duration) -> Vec<Value> {
    let Value::Duration(constant) = constant else { return Vec::new() };
    let step = Duration::from_nanos(1);
    let near =
        [Some(Duration::ZERO), constant.checked_sub(step), Some(*constant), constant.checked_add(step), Some(longest)];
    near.into_iter().flatten().filter(|it| *it <= longest).map(Value::Duration).collect()
}
