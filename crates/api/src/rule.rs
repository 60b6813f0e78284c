//! Decision rules, and what they said when they began a recovery.

use serde::{Deserialize, Serialize};

use crate::Nanos;

/// A decision rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// `true`, `false` or `not known`.
    pub truth: String,
    /// Since when what it says has held, if it is true.
    pub since_ns: Option<Nanos>,
    /// What it says has happened: `instance_failure`, …
    pub then: String,
    /// To whom: `component orders-db`, `zone us-east-1/us-east-1a`, …
    pub of: String,
    /// The instance that has failed, as it says, if it is true and speaks of one.
    pub accuses: Option<String>,
    /// Why nothing follows from it at the moment, if it is true and nothing does.
    pub idle: Option<String>,
    /// Each of its terms with its value at the moment.
    pub terms: Vec<Term>,
    /// The same when it fired; empty if it is not true.
    pub fired: Vec<Term>,
}

/// A term of a rule, and a value of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// As it stands in the plan.
    pub term: String,
    /// `not known` where nobody has measured it.
    pub value: String,
}

/// A rule that began a recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The rule.
    pub rule: String,
    /// Since when what it says had held.
    pub since_ns: Nanos,
    /// Each of its terms with its value when it fired.
    pub terms: Vec<Term>,
}
