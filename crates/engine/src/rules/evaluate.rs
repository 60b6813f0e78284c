//! The truth of an expression at a moment, and when it may change although nothing is observed.
//!
//! Truth has three values, and they have an order: false, not known, true. `and` is the least of its parts, `or` the
//! greatest, `not` turns the order round. `A for 3s` is `and` over time: the least that `A` was at any moment of the last three
//! seconds. What was before anybody looked is not known.

use std::time::Duration;

use mainstay_plan::Time;
use mainstay_plan::rule::{Condition, Expr, Measure, Op, Since, Subject, Term, Value};

/// True, false, or not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// It is not so.
    False,
    /// Something that it speaks of has not been measured.
    Unknown,
    /// It is so.
    True,
}

impl Truth {
    /// The word for it on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            Truth::False => "false",
            Truth::Unknown => "not known",
            Truth::True => "true",
        }
    }

    const fn not(self) -> Truth {
        match self {
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
            Truth::True => Truth::False,
        }
    }
}

impl From<bool> for Truth {
    fn from(it: bool) -> Truth {
        if it { Truth::True } else { Truth::False }
    }
}

/// What is observed at the moment.
pub(crate) trait Sight {
    /// The value of a term; `None`: nobody has measured it. Constants and ages are not asked for.
    fn value(&self, term: &Term) -> Option<Value>;

    /// What an age is counted from.
    fn base(&self, since: Since, of: Subject) -> Option<Time>;

    /// When the value of a term changes by time alone.
    fn expires(&self, term: &Term) -> Option<Time>;
}

/// What one `for` remembers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// What it held at the last look.
    value: Truth,
    /// The end of the last time in which it was false.
    false_until: Option<Time>,
    /// The end of the last time in which it was not true.
    not_true_until: Time,
}

impl Held {
    /// Nobody has looked before `now`.
    pub(crate) const fn from(now: Time) -> Held {
        Held { value: Truth::Unknown, false_until: None, not_true_until: now }
    }

    fn look(&mut self, value: Truth, now: Time) {
        if self.value == Truth::False {
            self.false_until = Some(now);
        }
        if self.value != Truth::True {
            self.not_true_until = now;
        }
        self.value = value;
    }
}

/// How many `for` an expression has.
pub(crate) fn count_held(expr: &Expr) -> usize {
    match &expr.what {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().map(count_held).sum(),
        Condition::Not(part) => count_held(part),
        Condition::For { held, .. } => 1 + count_held(held),
        Condition::Compare { .. } => 0,
    }
}

/// How far back an expression looks, `for` and windows added up.
pub(crate) fn looks_back(expr: &Expr) -> Duration {
    let window = |term: &Term| match &term.what {
        Measure::Latency { window, .. } => *window,
        Measure::Constant(_)
        | Measure::Health(_)
        | Measure::Count { .. }
        | Measure::Fraction { .. }
        | Measure::Age { .. }
        | Measure::Lag(_) => Duration::ZERO,
    };
    match &expr.what {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().map(looks_back).max().unwrap_or_default(),
        Condition::Not(part) => looks_back(part),
        Condition::For { held, time } => looks_back(held).saturating_add(*time),
        Condition::Compare { left, right, .. } => window(left).max(window(right)),
    }
}

/// Every term of an expression that is not a constant, wherever it stands.
pub(crate) fn all_terms(expr: &Expr) -> Vec<&Term> {
    fn collect<'a>(expr: &'a Expr, found: &mut Vec<&'a Term>) {
        match &expr.what {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|it| collect(it, found)),
            Condition::Not(part) | Condition::For { held: part, .. } => collect(part, found),
            Condition::Compare { left, right, .. } => {
                found.extend([left, right].into_iter().filter(|it| !matches!(it.what, Measure::Constant(_))));
            }
        }
    }
    let mut found = Vec::new();
    collect(expr, &mut found);
    found
}

/// The same, once each.
pub(crate) fn terms(expr: &Expr) -> Vec<&Term> {
    let mut found: Vec<&Term> = Vec::new();
    for term in all_terms(expr) {
        if !found.contains(&term) {
            found.push(term);
        }
    }
    found
}

/// One look at an expression.
pub(crate) struct Look<'a, S> {
    sight: &'a S,
    held: std::slice::IterMut<'a, Held>,
    now: Time,
    /// The next moment at which it may be something else by time alone.
    pub(crate) next: Option<Time>,
}

/// The truth of a part, and since when it has been so, where it is true.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) truth: Truth,
    pub(crate) since: Time,
}

impl<'a, S: Sight> Look<'a, S> {
    /// `held` has a place for each `for` of the expression, in the order of the text, and is kept from look to look.
    pub(crate) fn new(sight: &'a S, held: &'a mut [Held], now: Time) -> Look<'a, S> {
        Look { sight, held: held.iter_mut(), now, next: None }
    }

    /// Looks at all of it: a `for` must see each change, whatever the parts beside it say.
    pub(crate) fn condition(&mut self, expr: &Expr) -> Found {
        let now = self.now;
        match &expr.what {
            Condition::All(parts) => {
                let all: Vec<Found> = parts.iter().map(|it| self.condition(it)).collect();
                let truth = all.iter().map(|it| it.truth).min().unwrap_or(Truth::True);
                Found { truth, since: all.iter().map(|it| it.since).max().unwrap_or(now) }
            }
            Condition::Any(parts) => {
                let all: Vec<Found> = parts.iter().map(|it| self.condition(it)).collect();
                let truth = all.iter().map(|it| it.truth).max().unwrap_or(Truth::False);
                let since = all.iter().filter(|it| it.truth == Truth::True).map(|it| it.since).min();
                Found { truth, since: since.unwrap_or(now) }
            }
            Condition::Not(part) => Found { truth: self.condition(part).truth.not(), since: now },
            Condition::For { held, time } => self.held(held, *time),
            Condition::Compare { left, op, right } => Found { truth: self.compare(left, *op, right), since: now },
        }
    }

    fn held(&mut self, part: &Expr, time: Duration) -> Found {
        let memory = self.held.next().expect("a place for each `for` was made");
        let value = self.condition(part).truth;
        memory.look(value, self.now);
        let Held { false_until, not_true_until, .. } = *memory;
        let ends = |it: Time| it + time;
        let was_false = false_until.map(ends).filter(|it| *it > self.now);
        let was_not_true = Some(ends(not_true_until)).filter(|it| *it > self.now);
        let truth = match value {
            Truth::False => Truth::False,
            Truth::Unknown | Truth::True if was_false.is_some() => Truth::False,
            Truth::Unknown => Truth::Unknown,
            Truth::True if was_not_true.is_some() => Truth::Unknown,
            Truth::True => Truth::True,
        };
        match value {
            Truth::False => {}
            Truth::Unknown => self.may_change(was_false),
            Truth::True => {
                self.may_change(was_false);
                self.may_change(was_not_true);
            }
        }
        Found { truth, since: not_true_until }
    }

    fn compare(&mut self, left: &Term, op: Op, right: &Term) -> Truth {
        let (Some(a), Some(b)) = (self.value(left), self.value(right)) else { return Truth::Unknown };
        match (self.base(left), self.base(right)) {
            (Some(from), None) => self.crosses(from, op, &b),
            (None, Some(from)) => self.crosses(from, mirrored(op), &a),
            // Two ages grow side by side.
            (Some(_), Some(_)) | (None, None) => {}
        }
        Truth::from(op.holds(&a, &b))
    }

    /// The present value of a term.
    pub(crate) fn value(&mut self, term: &Term) -> Option<Value> {
        match &term.what {
            Measure::Constant(value) => Some(*value),
            Measure::Age { since, of } => self.sight.base(*since, *of).map(|it| Value::Duration(self.now.since(it))),
            Measure::Health(_)
            | Measure::Count { .. }
            | Measure::Fraction { .. }
            | Measure::Lag(_)
            | Measure::Latency { .. } => {
                self.may_change(self.sight.expires(term));
                self.sight.value(term)
            }
        }
    }

    fn base(&self, term: &Term) -> Option<Time> {
        match &term.what {
            Measure::Age { since, of } => self.sight.base(*since, *of),
            Measure::Constant(_)
            | Measure::Health(_)
            | Measure::Count { .. }
            | Measure::Fraction { .. }
            | Measure::Lag(_)
            | Measure::Latency { .. } => None,
        }
    }

    /// When an age that is counted from `from` reaches, and when it passes, what it is compared with.
    fn crosses(&mut self, from: Time, op: Op, with: &Value) {
        let Value::Duration(with) = with else { return };
        let reaches = from + *with;
        let passes = reaches + Duration::from_nanos(1);
        match op {
            Op::Less | Op::AtLeast => self.may_change(Some(reaches)),
            Op::AtMost | Op::More => self.may_change(Some(passes)),
            Op::Equal | Op::NotEqual => {
                self.may_change(Some(reaches));
                self.may_change(Some(passes));
            }
        }
    }

    fn may_change(&mut self, at: Option<Time>) {
        let at = at.filter(|it| *it > self.now);
        self.next = [self.next, at].into_iter().flatten().min();
    }
}

/// The same comparison with its sides swapped.
const fn mirrored(op: Op) -> Op {
    match op {
        Op::Equal => Op::Equal,
        Op::NotEqual => Op::NotEqual,
        Op::Less => Op::More,
        Op::AtMost => Op::AtLeast,
        Op::More => Op::Less,
        Op::AtLeast => Op::AtMost,
    }
}
