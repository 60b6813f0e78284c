//! From the text of a plan to a checked [`Plan`], or to every finding about it.
//!
//! Four passes, each of which goes on as far as the one before allows: text → spanned tree (`tree`) → nouns with their
//! defaults (`top`, `components`, `routes`, `probes`, `actions`) → names resolved and plays compiled (`references`, `link`, `link_routes`, `plays`) →
//! what the finished plan promises and does not promise (`lint`).

mod actions;
mod components;
mod expression;
pub(crate) mod fields;
mod link;
mod link_routes;
mod plays;
mod probes;
mod raw;
mod references;
mod routes;
#[cfg_attr(not(test), expect(dead_code, reason = "`top` and `link` call it once a plan has rules"))]
mod rules;
pub(crate) mod scalar;
mod suggest;
mod top;
mod tree;

use std::cell::{Cell, RefCell};
use std::path::Path;

use fields::Cx;
pub(crate) use link::Places;
pub use scalar::duration;

use crate::Plan;
use crate::finding::{Finding, Severity};

/// What came of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The plan, if no finding is an error.
    pub plan: Option<Plan>,
    /// What was found, in the order of the file.
    pub findings: Vec<Finding>,
}

/// How many names may be compared with wrong ones before suggestions stop.
const COMPARISONS: usize = 100_000;

/// Compiles the text of a plan. `file_name` is what findings call it; `base_dir` is what relative paths in it start
/// from: the directory of the file.
///
/// Reads nothing and asks nobody: whether paths exist and hosts answer is found out elsewhere.
pub fn compile(file_name: &str, text: &str, base_dir: &Path) -> Compiled {
    let mut findings = Vec::new();
    let plan = match tree::parse(text, &mut findings) {
        Some(root) => lower(&root, text, base_dir, &mut findings),
        None => None,
    };
    for finding in &mut findings {
        file_name.clone_into(&mut finding.file);
    }
    findings.sort_by(|a, b| (a.span.start, a.code, &a.message).cmp(&(b.span.start, b.code, &b.message)));
    findings.dedup();
    Compiled { plan, findings }
}

fn lower(root: &tree::Node, text: &str, base_dir: &Path, findings: &mut Vec<Finding>) -> Option<Plan> {
    let found = std::mem::take(findings);
    let cx = Cx { findings: RefCell::new(found), base_dir, field: Cell::new(""), comparisons: Cell::new(COMPARISONS) };
    let file = top::file(&cx, root);
    let linked = link::link(&cx, file, text);
    *findings = cx.findings.into_inner();
    if findings.iter().any(|it| it.severity == Severity::Error) {
        // What is unused or weak in a broken file may well be a consequence of what is broken.
        findings.retain(|it| it.severity == Severity::Error);
        return None;
    }
    findings.extend(crate::lint::lint(&linked.plan, &linked.places));
    Some(linked.plan)
}
