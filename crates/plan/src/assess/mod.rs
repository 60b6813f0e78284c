//! The assessment: what kind of disaster recovery a plan really is, what its availability targets mean and add up to, and
//! how ready it is by the usual checklist.
//!
//! It is a computation over the plan and its proof. What the plan does not say is answered *not known*; a recovery counts
//! where the proof proves it, and nowhere else.

mod availability;
mod hosts;
mod markdown;
pub mod probability;
mod proved;
mod readiness;
mod strategy;
mod text;

use std::time::Duration;

use serde::{Serialize, Serializer};

pub use availability::{Allowed, Availability, Copies, Dependencies, Failures, Sum, Target, allowed};
pub use hosts::HostLine;
pub use readiness::{Answer, Group, Line, Readiness};
pub use strategy::{ComponentStrategy, DrStrategy, Judged, Loss, Row, Strategies, TABLE, Verdict, Weakest, needed_for};
pub(crate) use text::percent;

use crate::location::FailureDomain;
use crate::policy::Mode;
use crate::{ComponentIx, Plan};

/// Everything that is said about one plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assessment {
    /// Whom the plan decides for.
    pub site: String,
    /// How far it goes by itself.
    #[serde(serialize_with = "mode")]
    pub mode: Mode,
    /// The components that clients need: those with routes and everything that they depend on; all of them in a plan without
    /// routes.
    pub clients_need: Vec<String>,
    /// Which kind of disaster recovery it is.
    pub strategies: Strategies,
    /// What its availability targets mean.
    pub availability: Availability,
    /// The checklist.
    pub readiness: Readiness,
    /// What rests on hosts, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<HostLine>>,
}

impl Assessment {
    /// Assesses a plan, which is proved for it.
    pub fn of(plan: &Plan) -> Assessment {
        let verdicts = proved::Verdicts::of(plan);
        let needed = clients_need(plan);
        let strategies = Strategies::of(plan, &verdicts, &needed);
        Assessment {
            site: plan.site.name.clone(),
            mode: plan.mode,
            clients_need: needed.iter().map(|it| plan.component(*it).name.clone()).collect(),
            availability: Availability::of(plan, &verdicts, &needed),
            readiness: Readiness::of(plan, &verdicts),
            hosts: hosts::of(plan),
            strategies,
        }
    }

    /// As plain text of at most 100 columns, for names of the usual length.
    pub fn text(&self) -> String {
        text::assessment(self)
    }

    /// As Markdown, to stand in a runbook.
    pub fn markdown(&self) -> String {
        markdown::assessment(self)
    }
}

fn components(plan: &Plan) -> impl Iterator<Item = ComponentIx> {
    (0..plan.components.len()).map(|at| ComponentIx(u32::try_from(at).expect("a component has an index")))
}

fn clients_need(plan: &Plan) -> Vec<ComponentIx> {
    let entries: Vec<ComponentIx> = components(plan).filter(|it| !plan.component(*it).routes.is_empty()).collect();
    if entries.is_empty() {
        return components(plan).collect();
    }
    let below = entries.iter().flat_map(|it| depends_on(plan, *it));
    let mut all: Vec<ComponentIx> = entries.iter().copied().chain(below).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Everything that `component` depends on, directly and through others, by place in the plan.
fn depends_on(plan: &Plan, component: ComponentIx) -> Vec<ComponentIx> {
    let mut found: Vec<ComponentIx> = Vec::new();
    let mut open = plan.component(component).depends_on.clone();
    while let Some(next) = open.pop() {
        if !found.contains(&next) {
            found.push(next);
            open.extend(&plan.component(next).depends_on);
        }
    }
    found.sort_unstable();
    found
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's shape")]
fn domain<S: Serializer>(failure: &FailureDomain, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(failure.word())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's shape")]
fn mode<S: Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mode.word())
}

fn domains<S: Serializer>(failures: &[FailureDomain], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(failures.iter().map(|it| it.word()))
}

fn micros<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// Rounded up: a bound must not look better than it is.
fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(whole_millis(*duration))
}

fn some_millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(it) => millis(it, serializer),
        None => serializer.serialize_none(),
    }
}
