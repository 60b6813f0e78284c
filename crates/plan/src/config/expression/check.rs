//! From what stands in an expression to what it means: names resolved, types checked, every mistake told.

use std::time::Duration;

use super::Ink;
use super::arguments::percentile_of;
use super::names::Names;
use super::parser::{Argument, ArgumentKind, Raw, RawKind, RawTerm, Word};
use crate::config::fields::in_words;
use crate::config::scalar;
use crate::finding::Code;
use crate::observation::Health;
use crate::rule::{Condition, Expr, Fraction, Measure, Op, Piece, Since, Term, Value, ValueType};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Health,
    Count,
    Fraction,
    Age,
    Lag,
    Latency,
}

impl Function {
    const ALL: [Function; 6] =
        [Function::Health, Function::Count, Function::Fraction, Function::Age, Function::Lag, Function::Latency];

    const fn word(self) -> &'static str {
        match self {
            Function::Health => "health",
            Function::Count => "count",
            Function::Fraction => "fraction",
            Function::Age => "age",
            Function::Lag => "lag",
            Function::Latency => "latency",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Function::Health => "health(orders-db)",
            Function::Count => "count(down, zone us-east-1/us-east-1a)",
            Function::Fraction => "fraction(down, zone us-east-1/us-east-1a)",
            Function::Age => "age(last_good, orders-db)",
            Function::Lag => "lag(orders-db-b)",
            Function::Latency => "latency(p95, orders-db/http, 1m)",
        }
    }

    const fn arguments(self) -> &'static str {
        match self {
            Function::Health | Function::Lag => "1 argument",
            Function::Count | Function::Fraction | Function::Age => "2 arguments",
            Function::Latency => "3 arguments",
        }
    }

    /// Whether its first argument can be this word.
    fn begins_with(self, word: &str) -> bool {
        match self {
            Function::Health | Function::Lag => false,
            Function::Count | Function::Fraction => Health::ALL.into_iter().any(|it| it.word() == word),
            Function::Age => Since::ALL.into_iter().any(|it| it.word() == word),
            Function::Latency => percentile_of(word).is_some(),
        }
    }
}

/// The condition that `raw` is; `None` after something was reported.
pub(super) fn condition(ink: &Ink<'_>, names: &Names<'_>, raw: &Raw) -> Option<Expr> {
    Check { ink, names }.condition(raw)
}

pub(super) struct Check<'a> {
    pub(super) ink: &'a Ink<'a>,
    pub(super) names: &'a Names<'a>,
}

impl Check<'_> {
    fn condition(&self, raw: &Raw) -> Option<Expr> {
        let what = match &raw.kind {
            RawKind::All(parts) => Condition::All(self.conditions(parts)?),
            RawKind::Any(parts) => Condition::Any(self.conditions(parts)?),
            RawKind::Not(part) => Condition::Not(Box::new(self.condition(part)?)),
            RawKind::For(part, time) => {
                let (held, time) = (self.condition(part), self.positive(time));
                Condition::For { held: Box::new(held?), time: time? }
            }
            RawKind::Compare(left, op, right) => self.compare(raw.at, left, *op, right)?,
            RawKind::Bare(term) => {
                self.bare(term);
                return None;
            }
            RawKind::Broken => return None,
        };
        Some(Expr { what, at: raw.at })
    }

    /// All of them are looked at, also behind one that is wrong.
    fn conditions(&self, parts: &[Raw]) -> Option<Vec<Expr>> {
        let parts: Vec<Option<Expr>> = parts.iter().map(|it| self.condition(it)).collect();
        parts.into_iter().collect()
    }

    fn bare(&self, raw: &RawTerm) {
        let Some(term) = self.term(raw) else { return };
        let of_type = term.what.value_type();
        let quote = self.ink.quote(raw.at);
        let finding = self.ink.finding(
            Code::ExpressionTypes,
            raw.at,
            format!("{quote} is a {}, where a condition should stand", of_type.word()),
        );
        let example = match of_type {
            ValueType::Number => ">= 2",
            ValueType::Fraction => ">= 50%",
            ValueType::Duration => "> 10s",
            ValueType::Health => "== down",
        };
        let finding = finding.label("compared with nothing").reason("only a comparison is true or false");
        self.ink.report(match raw.arguments {
            Some(_) => finding.help(format!("compare it, for example `{} {example}`", self.ink.text(raw.at))),
            None => finding.help("compare an observation with it, for example `health(orders-db) == down`"),
        });
    }

    fn compare(&self, at: Piece, left: &RawTerm, op: Op, right: &RawTerm) -> Option<Condition> {
        let (left, right) = (self.term(left), self.term(right));
        let (mut left, mut right) = (left?, right?);
        as_fraction(&mut left, &right);
        as_fraction(&mut right, &left);
        let (a, b) = (left.what.value_type(), right.what.value_type());
        if a != b {
            self.different(&left, &right);
            return None;
        }
        if a == ValueType::Health && op.asks_for_order() {
            self.ink.report(
                self.ink
                    .finding(Code::ExpressionTypes, at, format!("`{}` between healths", op.word()))
                    .label("healths have no order")
                    .reason("`unknown` is neither better nor worse than `down`: it says that nobody knows")
                    .help("use `==` or `!=`, and `or` between several"),
            );
            return None;
        }
        Some(Condition::Compare { left, op, right })
    }

    fn different(&self, left: &Term, right: &Term) {
        let (a, b) = (left.what.value_type().word(), right.what.value_type().word());
        let message = format!("{} is a {a}, {} is a {b}", self.ink.quote(left.at), self.ink.quote(right.at));
        let finding = self.ink.finding(Code::ExpressionTypes, right.at, message);
        let finding = self.ink.beside(finding, left.at, format!("a {a}")).label(format!("a {b}"));
        // What is written down gives way to what is observed.
        let (observed, written) = match (&left.what, &right.what) {
            (Measure::Constant(_), other) if !matches!(other, Measure::Constant(_)) => (right, left),
            (_, _) => (left, right),
        };
        let text = self.ink.text(written.at);
        let help = match (observed.what.value_type(), &written.what) {
            (ValueType::Duration, Measure::Constant(Value::Number(_))) => {
                format!("write `{text}ms`, `{text}s` or `{text}m`")
            }
            (ValueType::Fraction, Measure::Constant(Value::Number(number @ 0..=100))) => format!("write `{number}%`"),
            (ValueType::Number, Measure::Constant(Value::Fraction(_))) => {
                "write a whole number, or use `fraction(…)` in place of `count(…)`".to_owned()
            }
            (ValueType::Number, _) => format!("compare {} with a whole number", self.ink.quote(observed.at)),
            (ValueType::Fraction, _) => {
                format!("compare {} with a fraction such as `50%` or `0.5`", self.ink.quote(observed.at))
            }
            (ValueType::Duration, _) => {
                format!("compare {} with a duration such as `800ms` or `1m30s`", self.ink.quote(observed.at))
            }
            (ValueType::Health, _) => {
                format!("compare {} with `healthy`, `suspect`, `down` or `unknown`", self.ink.quote(observed.at))
            }
        };
        self.ink.report(finding.help(help));
    }

    fn term(&self, raw: &RawTerm) -> Option<Term> {
        let what = match &raw.arguments {
            None => Measure::Constant(self.constant(&raw.word)?),
            Some(arguments) => self.call(raw, arguments)?,
        };
        Some(Term { what, at: raw.at })
    }

    fn constant(&self, word: &Word) -> Option<Value> {
        let text = word.text.as_str();
        if word.quoted {
            self.no_value(word);
            return None;
        }
        if let Some(health) = Health::ALL.into_iter().find(|it| it.word() == text) {
            return Some(Value::Health(health));
        }
        if !text.starts_with(|it: char| it.is_ascii_digit() || matches!(it, '-' | '.')) {
            self.no_value(word);
            return None;
        }
        if text.bytes().all(|it| it.is_ascii_digit()) {
            let number = text.parse().ok().map(Value::Number);
            if number.is_none() {
                self.bad_number(word, "there are never so many instances");
            }
            return number;
        }
        if text.bytes().all(|it| it.is_ascii_digit() || matches!(it, b'.' | b'%' | b'-')) {
            return self.fraction(word).map(Value::Fraction);
        }
        self.duration(word).map(Value::Duration)
    }

    /// `50%`, `33.3333%`, `0.5`, `0.333333`.
    fn fraction(&self, word: &Word) -> Option<Fraction> {
        let (number, digits) = match word.text.strip_suffix('%') {
            Some(percent) => (percent, 4),
            None => (word.text.as_str(), 6),
        };
        let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
        let all_digits = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(rest) {
            self.bad_number(word, "neither like `2`, nor like `50%` or `0.5`");
            return None;
        }
        if rest.len() > digits {
            self.bad_number(word, &format!("more than {digits} digits behind the point"));
            return None;
        }
        let millionths = format!("{whole}{rest:0<digits$}").parse::<u32>().ok();
        let fraction = millionths.and_then(|it| Fraction::new(it, 1_000_000));
        if fraction.is_none() {
            self.bad_number(word, "more than all of them");
        }
        fraction
    }

    fn bad_number(&self, word: &Word, why: &str) {
        self.ink.report(
            self.ink
                .finding(
                    Code::BadNumber,
                    word.at,
                    format!("{} is no number that can stand here", self.ink.quote(word.at)),
                )
                .label(why)
                .help("write a count as `2`, a fraction as `50%` or `0.5`, a time as `800ms`"),
        );
    }

    /// Reports a word that is no value.
    fn no_value(&self, word: &Word) {
        let text = word.text.as_str();
        let quote = self.ink.quote(word.at);
        let finding = self.ink.finding(Code::UnknownWord, word.at, format!("{quote} is no value"));
        let healths = Health::ALL.into_iter().map(Health::word);
        let functions = Function::ALL.into_iter().map(Function::word);
        if let Some(function) = Function::ALL.into_iter().find(|it| it.word() == text) {
            self.ink.report(finding.label("of what?").help(format!("write it like `{}`", function.example())));
        } else if self.names.probes.contains_key(text) {
            let help = format!("say what is meant of it, for example `latency(p95, {text}, 1m)`");
            self.ink.report(finding.label("a probe").help(help));
        } else if !matches!(self.names.subject(text), Ok(None)) {
            let help = format!("say what is meant of it, for example `health({text})`");
            self.ink.report(finding.label("a name").help(help));
        } else if let Some(near) = self.ink.cx.nearest(text, healths.chain(functions)) {
            self.ink.report(finding.label(format!("did you mean `{near}`?")).help(format!("write `{near}`")));
        } else {
            self.ink.report(finding.label("unknown").help(
                "values are `2`, `50%`, `800ms`, a health such as `down`, or an observation such as `health(NAME)`",
            ));
        }
    }

    fn duration(&self, word: &Word) -> Option<Duration> {
        match scalar::duration(&word.text) {
            Ok(duration) if !word.quoted => Some(duration),
            Ok(_) => {
                self.bad_duration(word, "it is a name in quotes");
                None
            }
            Err(why) => {
                self.bad_duration(word, &why);
                None
            }
        }
    }

    fn bad_duration(&self, word: &Word, why: &str) {
        self.ink.report(
            self.ink
                .finding(Code::BadDuration, word.at, format!("{} is no duration", self.ink.quote(word.at)))
                .label(why)
                .help("use whole numbers with `ms`, `s`, `m`, `h` or `d`: `250ms`, `1m30s`"),
        );
    }

    /// A duration above zero.
    pub(super) fn positive(&self, word: &Word) -> Option<Duration> {
        let duration = self.duration(word)?;
        if duration.is_zero() {
            self.ink.report(
                self.ink
                    .finding(Code::BadDuration, word.at, "this can't be zero")
                    .label("more than zero, please")
                    .reason("it would be over before it began"),
            );
            return None;
        }
        Some(duration)
    }

    fn call(&self, raw: &RawTerm, arguments: &[Argument]) -> Option<Measure> {
        let Some(function) = Function::ALL.into_iter().find(|it| it.word() == raw.word.text) else {
            self.no_function(&raw.word);
            return None;
        };
        if self.swapped(function, arguments) {
            return None;
        }
        match (function, arguments) {
            (Function::Health, [of]) => {
                let of = self.subject(of)?;
                self.is_probed(of, raw.at)?;
                Some(Measure::Health(of))
            }
            (Function::Count, [health, scope]) => {
                let (health, scope) = (self.health(health), self.scope(scope));
                Some(Measure::Count { health: health?, scope: scope? })
            }
            (Function::Fraction, [health, scope]) => {
                let (health, scope) = (self.health(health), self.scope(scope));
                Some(Measure::Fraction { health: health?, scope: scope? })
            }
            (Function::Age, [since, of]) => {
                let since = self.choose(since, &Since::ALL.map(|it| (it.word(), it)), "`age` is counted from");
                let of = self.subject(of);
                let (since, of) = (since?, of?);
                self.is_probed(of, raw.at)?;
                Some(Measure::Age { since, of })
            }
            (Function::Lag, [of]) => self.lag(of).map(Measure::Lag),
            (Function::Latency, [percentile, probe, window]) => {
                let (percentile, probe) = (self.percentile(percentile), self.probe(probe));
                let window = self.window(window);
                Some(Measure::Latency { percentile: percentile?, probe: probe?, window: window? })
            }
            (
                Function::Health
                | Function::Count
                | Function::Fraction
                | Function::Age
                | Function::Lag
                | Function::Latency,
                _,
            ) => {
                let (word, wanted, given) = (function.word(), function.arguments(), arguments.len());
                self.ink.report(
                    self.ink
                        .finding(Code::Expression, raw.at, format!("`{word}` takes {wanted}, not {given}"))
                        .label(format!("{given} given"))
                        .help(format!("write it like `{}`", function.example())),
                );
                None
            }
        }
    }

    /// Whether what has to come first comes second, which is reported.
    fn swapped(&self, function: Function, arguments: &[Argument]) -> bool {
        let begins = |argument: &Argument| match &argument.kind {
            ArgumentKind::One(word) => function.begins_with(&word.text),
            ArgumentKind::Two(..) | ArgumentKind::List(_) => false,
        };
        let [first, second, rest @ ..] = arguments else { return false };
        if begins(first) || !begins(second) {
            return false;
        }
        let order: Vec<&str> = [second, first].into_iter().chain(rest).map(|it| self.ink.text(it.at)).collect();
        let quote = self.ink.quote(second.at);
        self.ink.report(
            self.ink
                .finding(Code::Expression, second.at, format!("{quote} comes first in `{}`", function.word()))
                .label("not second")
                .help(format!("write `{}({})`", function.word(), order.join(", "))),
        );
        true
    }

    fn no_function(&self, word: &Word) {
        let finding =
            self.ink.finding(Code::UnknownWord, word.at, format!("there is no function {}", self.ink.quote(word.at)));
        let names = Function::ALL.into_iter().map(Function::word);
        let list: Vec<String> = names.clone().map(|it| format!("`{it}`")).collect();
        self.ink.report(match self.ink.cx.nearest(&word.text, names) {
            Some(near) => finding.label(format!("did you mean `{near}`?")).help(format!("write `{near}(…)`")),
            None => finding.label("unknown").help(format!("there are {}", in_words(&list, "and"))),
        });
    }
}

/// `0` and `1` beside a fraction are fractions.
fn as_fraction(term: &mut Term, other: &Term) {
    if other.what.value_type() != ValueType::Fraction {
        return;
    }
    if let Measure::Constant(Value::Number(number @ 0..=1)) = term.what
        && let Some(fraction) = Fraction::new(number, 1)
    {
        term.what = Measure::Constant(Value::Fraction(fraction));
    }
}
