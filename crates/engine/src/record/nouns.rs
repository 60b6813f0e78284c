//! What records speak of: recoveries, steps, notices, evidence, targets.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use mainstay_plan::Time;
use mainstay_plan::observation::LogPosition;
use mainstay_plan::routing::{RouteEntry, RoutingTable, TargetEntry, TargetState};
use serde::{Deserialize, Serialize};

use crate::codec::time_nanos;

/// Names a recovery: the sequence number of the record that opened it, written `r17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecoveryId(pub u64);

impl fmt::Display for RecoveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl FromStr for RecoveryId {
    type Err = String;

    fn from_str(text: &str) -> Result<RecoveryId, String> {
        text.strip_prefix('r').and_then(|digits| digits.parse().ok()).map(RecoveryId).ok_or_else(|| {
            format!("`{text}` is not a recovery; recoveries are named r1, r2, … (see `mainstay recoveries`)")
        })
    }
}

/// Names a notice: the sequence number of the record that opened it, written `n17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NoticeId(pub u64);

impl fmt::Display for NoticeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl FromStr for NoticeId {
    type Err = String;

    fn from_str(text: &str) -> Result<NoticeId, String> {
        text.strip_prefix('n')
            .and_then(|digits| digits.parse().ok())
            .map(NoticeId)
            .ok_or_else(|| format!("`{text}` is not a notice; notices are named n1, n2, … (see `mainstay notices`)"))
    }
}

/// Names an incident, a zone or a region that is lost: the sequence number of the record that opened it, written `i17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub u64);

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

/// One step of one recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepRef {
    /// The recovery.
    pub recovery: RecoveryId,
    /// The rung of the component's ladder, from 0.
    pub rung: usize,
    /// The step of the play, from 0.
    pub step: usize,
    /// From 1; grows with each try.
    pub attempt: u32,
}

/// What one probe contributed to a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The probe's name.
    pub probe: String,
    /// How many answers in a row.
    pub count: u32,
    /// Their word, and the detail of the last one.
    pub answer: String,
    /// When the first of them was asked.
    #[serde(with = "time_nanos")]
    pub since: Time,
}

/// Where an active instance was in its history, as an agent before this one was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPlaces {
    /// The instance's name.
    pub instance: String,
    /// Where, the oldest first.
    pub places: Vec<AskedPlace>,
}

/// A place in a history, and when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedPlace {
    /// When, on the timeline of whoever reads it.
    #[serde(with = "time_nanos")]
    pub asked: Time,
    /// Where.
    pub place: LogPosition,
}

/// A term of a rule, and its value when the rule fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermValue {
    /// As the rule's owner wrote it.
    pub term: String,
    /// `not known` where nobody has measured it.
    pub value: String,
}

impl TermValue {
    /// `TERM = VALUE` of each.
    pub fn list(terms: &[TermValue]) -> String {
        terms.iter().map(TermValue::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// `TERM = VALUE`
impl fmt::Display for TermValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.term, self.value)
    }
}

/// The owner of a route as a traffic process reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedTarget {
    /// The route's name.
    pub route: String,
    /// The instance's name.
    pub instance: String,
    /// What it may do there.
    pub state: TargetState,
    /// Where it is, if not where the plan says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

impl ReportedTarget {
    /// Every target of a table, each with its address.
    pub fn all_of(table: &RoutingTable) -> Vec<ReportedTarget> {
        let targets = table.routes.iter().flat_map(|route| route.targets.iter().map(move |it| (route, it)));
        let reported = |(route, target): (&RouteEntry, &TargetEntry)| ReportedTarget {
            route: route.name.clone(),
            instance: target.instance.clone(),
            state: target.state,
            address: Some(target.address.ip()),
        };
        targets.map(reported).collect()
    }
}
