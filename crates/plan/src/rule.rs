//! Decision rules: the owner's own knowledge of what a failure looks like, as a typed expression over observations.
//!
//! An expression is total: it has no loop, no arithmetic and nothing that can fail. Its truth has three values. A [`Term`]
//! that nobody has measured (no lag reported yet, no good answer within the window) makes its comparison *not known*, and
//! that spreads as little as it must: `and` with something false is false, `or` with something true is true, `not` leaves it.
//! A rule speaks only when its expression is true, and `for` counts only while it is true. The health `unknown` is a
//! value like the three others: `health(x) == unknown` is true or false.
//!
//! What this file does not do: read text (`config::expression`) and evaluate (the engine).

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use crate::config::scalar::show_duration;
use crate::location::Location;
use crate::observation::{Health, Scenario};
use crate::{ComponentIx, InstanceIx, Plan, ProbeIx, WitnessIx};

/// One rule: while `when` is true, `of` is taken to have met `then`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The text of `when` as its owner wrote it; each [`Piece`] in `when` is a part of it.
    pub text: String,
    /// The expression.
    pub when: Expr,
    /// What has happened.
    pub then: Scenario,
    /// To whom.
    pub of: Scope,
}

impl Rule {
    /// The words of the rule's owner for a part of `when`; empty if `piece` is of another rule.
    pub fn words(&self, piece: Piece) -> &str {
        self.text.get(piece.start..piece.end).unwrap_or("")
    }
}

/// A part of an expression's text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Something that is true, false or not known. Two are equal when they say the same, wherever they stand.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it says.
    pub what: Condition,
    /// Where it stands in [`Rule::text`], without parentheses around it.
    pub at: Piece,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        self.what == other.what
    }
}

impl Eq for Expr {}

/// What an expression says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `A and B and …`: two or more.
    All(Vec<Expr>),
    /// `A or B or …`: two or more.
    Any(Vec<Expr>),
    /// `not (A)`.
    Not(Box<Expr>),
    /// `A for 3s`: true once `held` has been true for all of `time`.
    For {
        /// What must hold.
        held: Box<Expr>,
        /// How long, without a break; above zero.
        time: Duration,
    },
    /// Two values of one type.
    Compare {
        /// The left one.
        left: Term,
        /// How they are compared; healths only by `==` and `!=`.
        op: Op,
        /// The right one.
        right: Term,
    },
}

/// A value: observed, or written down. Two are equal when they mean the same, wherever they stand.
#[derive(Clone, Debug)]
pub struct Term {
    /// Which value.
    pub what: Measure,
    /// Where it stands in [`Rule::text`].
    pub at: Piece,
}

impl PartialEq for Term {
    fn eq(&self, other: &Term) -> bool {
        self.what == other.what
    }
}

impl Eq for Term {}

/// What a term measures. An explanation of a rule is the value of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Written down.
    Constant(Value),
    /// `health(X)`; always known.
    Health(Subject),
    /// `count(HEALTH, SCOPE)`: how many instances of the scope have this health; always known.
    Count {
        /// Which health.
        health: Health,
        /// Among whom.
        scope: Scope,
    },
    /// `fraction(HEALTH, SCOPE)`: which part of the instances of the scope has this health; always known, because a scope is
    /// never empty.
    Fraction {
        /// Which health.
        health: Health,
        /// Among whom.
        scope: Scope,
    },
    /// `age(WHAT, X)`.
    Age {
        /// Since when.
        since: Since,
        /// Of whom.
        of: Subject,
    },
    /// `lag(X)`: how far the instance was behind the active one by the newest answer that reported it. Not known before.
    Lag(InstanceIx),
    /// `latency(pNN, PROBE, WINDOW)`: how long so many percent of the probe's good answers took at most. Not known
    /// while the window holds none.
    Latency {
        /// How many percent.
        percentile: Percentile,
        /// Whose answers.
        probe: ProbeIx,
        /// How far back, up to [`LONGEST_WINDOW`].
        window: Duration,
    },
}

impl Measure {
    /// The type of its value.
    pub const fn value_type(&self) -> ValueType {
        match self {
            Measure::Constant(value) => value.value_type(),
            Measure::Health(_) => ValueType::Health,
            Measure::Count { .. } => ValueType::Number,
            Measure::Fraction { .. } => ValueType::Fraction,
            Measure::Age { .. } | Measure::Lag(_) | Measure::Latency { .. } => ValueType::Duration,
        }
    }
}

/// The longest window of a latency: whoever evaluates must remember the answers of it.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(3600);

/// The types of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueType {
    /// A whole number from 0.
    Number,
    /// A part of a whole, from 0 to 1.
    Fraction,
    /// A span of time.
    Duration,
    /// One of the four healths.
    Health,
}

impl ValueType {
    /// The word for it in findings.
    pub const fn word(self) -> &'static str {
        match self {
            ValueType::Number => "number",
            ValueType::Fraction => "fraction",
            ValueType::Duration => "duration",
            ValueType::Health => "health",
        }
    }
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// `2`
    Number(u32),
    /// `50%` or `0.5`
    Fraction(Fraction),
    /// `800ms`
    Duration(Duration),
    /// `down`
    Health(Health),
}

impl Value {
    /// Its type.
    pub const fn value_type(&self) -> ValueType {
        match self {
            Value::Number(_) => ValueType::Number,
            Value::Fraction(_) => ValueType::Fraction,
            Value::Duration(_) => ValueType::Duration,
            Value::Health(_) => ValueType::Health,
        }
    }
}

/// As it would stand in an expression, but for fractions of other wholes than a million, which are cut to six digits.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Fraction(fraction) => write!(f, "{fraction}"),
            Value::Duration(duration) => f.write_str(&show_duration(*duration)),
            Value::Health(health) => f.write_str(health.word()),
        }
    }
}

/// So many of so many, compared exactly: 1 of 2 equals 50 of 100, and 1 of 3 is more than 0.333333.
#[derive(Clone, Copy, Debug)]
pub struct Fraction {
    part: u32,
    whole: u32,
}

impl Fraction {
    /// `part` of `whole`; `None` of nothing, and of less than the part.
    pub const fn new(part: u32, whole: u32) -> Option<Fraction> {
        if whole == 0 || part > whole { None } else { Some(Fraction { part, whole }) }
    }
}

impl Ord for Fraction {
    fn cmp(&self, other: &Fraction) -> Ordering {
        let (left, right) = (u64::from(self.part), u64::from(other.part));
        (left * u64::from(other.whole)).cmp(&(right * u64::from(self.whole)))
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Fraction) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fraction {
    fn eq(&self, other: &Fraction) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Fraction {}

/// A percentage with up to four digits behind the point: `50%`, `33.3333%`.
impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millionths = u64::from(self.part) * 1_000_000 / u64::from(self.whole);
        let (percent, rest) = (millionths / 10_000, millionths % 10_000);
        if rest == 0 {
            return write!(f, "{percent}%");
        }
        write!(f, "{percent}.{}%", format!("{rest:04}").trim_end_matches('0'))
    }
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

impl Op {
    /// All of them.
    pub const ALL: [Op; 6] = [Op::Equal, Op::NotEqual, Op::Less, Op::AtMost, Op::More, Op::AtLeast];

    /// How it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Op::Equal => "==",
            Op::NotEqual => "!=",
            Op::Less => "<",
            Op::AtMost => "<=",
            Op::More => ">",
            Op::AtLeast => ">=",
        }
    }

    /// Whether it asks for an order, which healths don't have.
    pub const fn asks_for_order(self) -> bool {
        match self {
            Op::Equal | Op::NotEqual => false,
            Op::Less | Op::AtMost | Op::More | Op::AtLeast => true,
        }
    }

    /// Whether it holds between two values. False between values of different types, and when healths are asked for
    /// their order: a checked expression has neither.
    pub fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::Number(left), Value::Number(right)) => left.cmp(right),
            (Value::Fraction(left), Value::Fraction(right)) => left.cmp(right),
            (Value::Duration(left), Value::Duration(right)) => left.cmp(right),
            (Value::Health(left), Value::Health(right)) if !self.asks_for_order() => left.cmp(right),
            (Value::Number(_) | Value::Fraction(_) | Value::Duration(_) | Value::Health(_), _) => return false,
        };
        self.fits(order)
    }

    /// Whether it holds between two values in this order.
    pub const fn fits(self, order: Ordering) -> bool {
        match self {
            Op::Equal => order.is_eq(),
            Op::NotEqual => order.is_ne(),
            Op::Less => order.is_lt(),
            Op::AtMost => order.is_le(),
            Op::More => order.is_gt(),
            Op::AtLeast => order.is_ge(),
        }
    }
}

/// Whose health or age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// `component X`, or `X` alone: whichever instance is the component at the moment.
    Component(ComponentIx),
    /// `instance X`: this one, whatever role it has.
    Instance(InstanceIx),
    /// `witness X`.
    Witness(WitnessIx),
}

/// What an age is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Since {
    /// `last_good`: the newest good answer of any of its probes. Not known before the first one.
    LastGood,
    /// `health`: the moment when it came into its present health. Always known: the agent's start counts as one.
    Health,
}

impl Since {
    /// Both.
    pub const ALL: [Since; 2] = [Since::LastGood, Since::Health];

    /// The word for it in expressions.
    pub const fn word(self) -> &'static str {
        match self {
            Since::LastGood => "last_good",
            Since::Health => "health",
        }
    }
}

/// A whole percentile from 1 to 99.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentile(u8);

impl Percentile {
    /// `percent` from 1 to 99.
    pub const fn new(percent: u8) -> Option<Percentile> {
        if percent >= 1 && percent <= 99 { Some(Percentile(percent)) } else { None }
    }

    /// How many percent.
    pub const fn percent(self) -> u8 {
        self.0
    }

    /// How many answers it takes for it to be anything but the slowest of them: 100 for p99, 20 for p95.
    pub const fn answers_needed(self) -> u32 {
        100_u32.div_ceil(100 - self.0 as u32)
    }
}

/// `p99`.
impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// A set of instances, never empty. Only what the plan places somewhere counts as being there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `all`
    All,
    /// `region us-east-1`
    Region(String),
    /// `zone us-east-1/us-east-1a`
    Zone {
        /// The region that it is part of.
        region: String,
        /// Its name.
        zone: String,
    },
    /// `host us-east-1/us-east-1a/db-1`: the region, the zone where the plan names one, the host.
    Host(Location),
    /// `component orders-db`: all instances that can be it.
    Component(ComponentIx),
    /// `[orders-db, orders-db-b]`: these, each once.
    Instances(Vec<InstanceIx>),
}

impl Scope {
    /// Whether an instance belongs to it.
    pub fn holds(&self, plan: &Plan, ix: InstanceIx) -> bool {
        let it = plan.instance(ix);
        match self {
            Scope::All => true,
            Scope::Region(region) => it.location.region == *region,
            Scope::Zone { region, zone } => it.location.region == *region && it.location.zone.as_ref() == Some(zone),
            Scope::Host(location) => it.location == *location,
            Scope::Component(component) => it.component == *component,
            Scope::Instances(list) => list.contains(&ix),
        }
    }

    /// Its instances, in the order of the plan.
    pub fn instances<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = InstanceIx> + 'a {
        let all = (0..plan.instances.len()).filter_map(|it| u32::try_from(it).ok()).map(InstanceIx);
        all.filter(|it| self.holds(plan, *it))
    }
}

impl Expr {
    /// The expression in full, with every name's kind: what is printed reads back as the same expression.
    pub fn show<'a>(&'a self, plan: &'a Plan) -> impl fmt::Display + 'a {
        Shown { plan, what: self }
    }
}

impl Term {
    /// The term in full, with every name's kind.
    pub fn show<'a>(&'a self, plan: &'a Plan) -> impl fmt::Display + 'a {
        Shown { plan, what: self }
    }
}

impl Scope {
    /// The scope as it stands in an expression.
    pub fn show<'a>(&'a self, plan: &'a Plan) -> impl fmt::Display + 'a {
        Shown { plan, what: self }
    }
}

/// Something of a plan, with the plan that knows its names.
struct Shown<'a, T> {
    plan: &'a Plan,
    what: &'a T,
}

impl<'a> Shown<'a, Expr> {
    /// As an operand: in parentheses, unless it is one comparison.
    fn operand(&self, f: &mut fmt::Formatter<'_>, what: &'a Expr) -> fmt::Result {
        let shown = what.show(self.plan);
        match what.what {
            Condition::Compare { .. } => write!(f, "{shown}"),
            Condition::All(_) | Condition::Any(_) | Condition::Not(_) | Condition::For { .. } => write!(f, "({shown})"),
        }
    }

    fn joined(&self, f: &mut fmt::Formatter<'_>, parts: &'a [Expr], word: &str) -> fmt::Result {
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                write!(f, " {word} ")?;
            }
            self.operand(f, part)?;
        }
        Ok(())
    }
}

impl fmt::Display for Shown<'_, Expr> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what.what {
            Condition::All(parts) => self.joined(f, parts, "and"),
            Condition::Any(parts) => self.joined(f, parts, "or"),
            Condition::Not(part) => write!(f, "not ({})", part.show(self.plan)),
            Condition::For { held, time } => {
                self.operand(f, held)?;
                write!(f, " for {}", show_duration(*time))
            }
            Condition::Compare { left, op, right } => {
                write!(f, "{} {} {}", left.show(self.plan), op.word(), right.show(self.plan))
            }
        }
    }
}

impl fmt::Display for Shown<'_, Term> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = |what| Shown { plan: self.plan, what };
        match &self.what.what {
            Measure::Constant(value) => write!(f, "{value}"),
            Measure::Health(of) => write!(f, "health({})", subject(of)),
            Measure::Count { health, scope } => write!(f, "count({}, {})", health.word(), scope.show(self.plan)),
            Measure::Fraction { health, scope } => write!(f, "fraction({}, {})", health.word(), scope.show(self.plan)),
            Measure::Age { since, of } => write!(f, "age({}, {})", since.word(), subject(of)),
            Measure::Lag(ix) => write!(f, "lag({})", Quoted(&self.plan.instance(*ix).name)),
            Measure::Latency { percentile, probe, window } => {
                let name = Quoted(&self.plan.probe(*probe).name);
                write!(f, "latency({percentile}, {name}, {})", show_duration(*window))
            }
        }
    }
}

impl fmt::Display for Shown<'_, Subject> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            Subject::Component(ix) => write!(f, "component {}", Quoted(&self.plan.component(*ix).name)),
            Subject::Instance(ix) => write!(f, "instance {}", Quoted(&self.plan.instance(*ix).name)),
            Subject::Witness(ix) => write!(f, "witness {}", Quoted(&self.plan.witness(*ix).name)),
        }
    }
}

impl fmt::Display for Shown<'_, Scope> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            Scope::All => f.write_str("all"),
            Scope::Region(region) => write!(f, "region {}", Quoted(region)),
            Scope::Zone { region, zone } => write!(f, "zone {}", Quoted(&format!("{region}/{zone}"))),
            Scope::Host(location) => write!(f, "host {}", Quoted(&location.to_string())),
            Scope::Component(ix) => write!(f, "component {}", Quoted(&self.plan.component(*ix).name)),
            Scope::Instances(list) => {
                for (at, ix) in list.iter().enumerate() {
                    let before = if at == 0 { "[" } else { ", " };
                    write!(f, "{before}{}", Quoted(&self.plan.instance(*ix).name))?;
                }
                f.write_str("]")
            }
        }
    }
}

/// Whether a character can stand in a word of an expression; whatever else a name holds, it is put into quotes.
pub(crate) fn is_word(it: char) -> bool {
    it.is_alphanumeric() || matches!(it, '_' | '-' | '.' | '/' | '%')
}

/// A name, in quotes where it needs them; a quote in it stands twice.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(is_word) {
            return f.write_str(self.0);
        }
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_exact() {
        let of = |part, whole| Fraction::new(part, whole).unwrap();
        assert_eq!(of(1, 2), of(500_000, 1_000_000));
        assert!(of(1, 3) > of(333_333, 1_000_000) && of(1, 3) < of(333_334, 1_000_000));
        assert!(of(u32::MAX, u32::MAX) == of(1, 1) && of(u32::MAX - 1, u32::MAX) < of(1, 1));
        assert!(Fraction::new(0, 0).is_none() && Fraction::new(2, 1).is_none());
        assert_eq!(of(1, 3).to_string(), "33.3333%");
        assert_eq!(of(1, 8).to_string(), "12.5%");
        assert_eq!((of(0, 5).to_string(), of(5, 5).to_string()), ("0%".to_owned(), "100%".to_owned()));
    }

    #[test]
    fn healths_have_no_order_and_types_do_not_mix() {
        let (down, healthy) = (Value::Health(Health::Down), Value::Health(Health::Healthy));
        assert!(Op::NotEqual.holds(&down, &healthy) && Op::Equal.holds(&down, &down));
        assert!(!Op::AtLeast.holds(&down, &down) && !Op::AtMost.holds(&down, &down));
        for op in Op::ALL {
            assert!(!op.holds(&Value::Number(1), &Value::Duration(Duration::from_secs(1))), "{}", op.word());
        }
    }

    #[test]
    fn a_percentile_needs_answers_to_be_more_than_the_slowest() {
        let needed = |percent| Percentile::new(percent).unwrap().answers_needed();
        assert_eq!((needed(50), needed(90), needed(95), needed(99)), (2, 10, 20, 100));
        assert!(Percentile::new(0).is_none() && Percentile::new(100).is_none());
    }

    #[test]
    fn names_are_quoted_where_they_need_it() {
        let shown = |name| Quoted(name).to_string();
        assert_eq!(shown("us-east-1/us-east-1a"), "us-east-1/us-east-1a");
        assert_eq!(shown("hall 2"), "\"hall 2\"");
        assert_eq!(shown("the \"old\" hall"), "\"the \"\"old\"\" hall\"");
        assert_eq!(shown(""), "\"\"");
    }
}
