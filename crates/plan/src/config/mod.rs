//! From the text of a plan to a checked [`Plan`], or to every finding about it.
//!
//! Passes, each of which goes on as far as the one before allows: text → spanned tree (`tree`), made one of the newest
//! version (`upgrade`), with included files and variables put in (`source`) → nouns with their defaults (`top`,
//! `components`, `routes`, `probes`, `actions`, `operation`, `rules`), held against the grammar (`grammar`) → names resolved and
//! plays compiled (`references`, `link`, `link_routes`, `link_operation`, `rules` with `expression`, `plays`) → what the finished plan promises and
//! does not promise (`lint`).

mod actions;
mod components;
mod controls;
mod effective;
mod expression;
mod fields;
pub(crate) mod grammar;
mod hosts;
mod link;
mod link_operation;
mod link_routes;
mod notifications;
mod operation;
mod outline;
mod plays;
mod postgres;
mod probes;
mod raw;
mod reference;
mod references;
mod repairs;
mod routes;
mod rules;
pub(crate) mod scalar;
mod schema;
mod source;
mod suggest;
mod switches;
mod syntax;
mod top;
mod tree;
mod upgrade;
mod values;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fields::Cx;
pub(crate) use link::Places;
pub(crate) use outline::Outline;
pub use reference::reference;
pub use scalar::duration;
pub use schema::{part_schema, schema};
use sha2::{Digest, Sha256};
pub use source::{SourceFile, Surroundings};
pub use tree::MAX_BYTES;
pub use upgrade::{Upgraded, upgrade};

use crate::Plan;
use crate::finding::{Code, Finding, Severity, Span};

/// What came of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The plan, if no finding is an error.
    pub plan: Option<Plan>,
    /// What was found, in the order of the files.
    pub findings: Vec<Finding>,
    /// The files: the one that was named, then those that it includes.
    pub files: Vec<SourceFile>,
}

/// How many names may be compared with wrong ones before suggestions stop.
const COMPARISONS: usize = 100_000;

/// Compiles the text of a plan that stands alone. `file_name` is what findings call it; `base_dir` is what relative paths
/// in it start from: the directory of the file.
///
/// Reads nothing and asks nobody: whether paths exist and hosts answer is found out elsewhere.
pub fn compile(file_name: &str, text: &str, base_dir: &Path) -> Compiled {
    compile_in(file_name, text, base_dir, &Surroundings::NONE)
}

/// The same for a plan that may include files and name variables of the environment.
pub fn compile_in(file_name: &str, text: impl Into<Arc<str>>, base_dir: &Path, around: &Surroundings<'_>) -> Compiled {
    all_passes(file_name, text.into(), base_dir, around, false).0
}

/// The same, and the plan as one text with everything filled in: what the files do not say is marked by comments, secrets
/// stay `${NAME}`. `None` if there is no plan.
pub fn effective(
    file_name: &str,
    text: impl Into<Arc<str>>,
    base_dir: &Path,
    around: &Surroundings<'_>,
) -> (Compiled, Option<String>) {
    all_passes(file_name, text.into(), base_dir, around, true)
}

fn all_passes(
    file_name: &str,
    text: Arc<str>,
    base_dir: &Path,
    around: &Surroundings<'_>,
    print: bool,
) -> (Compiled, Option<String>) {
    let mut findings = Vec::new();
    let mut files =
        vec![SourceFile { name: file_name.to_owned(), text: Arc::clone(&text), base_dir: base_dir.to_owned() }];
    let (mut plan, mut printed) = (None, None);
    let all = tree::parse(&text, 0, &mut findings);
    let mut whole = all.is_some();
    if let Some(mut root) = all.or_else(|| syntax::before(&text, &mut findings)) {
        let version = upgrade::version(&root).map(str::to_owned);
        let upgrade = |node: &mut tree::Node| upgrade::tree(node, version.as_deref());
        upgrade(&mut root);
        whole &= source::include(&mut root, &mut files, around, upgrade, &mut findings);
        let mut found = Vec::new();
        let filled = source::substitute(&mut root, &files, around, &mut found);
        // In a file with gaps these may be consequences of what could not be read.
        found.retain(|it| whole || !matches!(it.code, Code::VariableUnknown | Code::VariableUnused));
        findings.append(&mut found);
        let base_dirs: Vec<PathBuf> = files.iter().map(|it| it.base_dir.clone()).collect();
        if whole {
            let source = (files.len() == 1 && !filled.any).then_some(text);
            (plan, printed) = lower(root, source, &base_dirs, print, &mut findings);
        } else {
            judge_part(&root, &base_dirs, &mut findings);
        }
        findings.iter_mut().for_each(|it| filled.explain(it));
    }
    let name = |file: u16| files.get(usize::from(file)).map(|it| it.name.clone()).unwrap_or_default();
    let mut counters: HashMap<u16, tree::Places<'_>> = HashMap::new();
    let mut counted = |span: &mut Span| {
        if let (0, Some(file)) = (span.line, files.get(usize::from(span.file))) {
            let counter = counters.entry(span.file).or_insert_with(|| tree::Places::new(&file.text, span.file));
            let range = span.range();
            *span = Span { end: span.end, ..counter.span(range.start, range.end) };
        }
    };
    for finding in &mut findings {
        counted(&mut finding.span);
        finding.file = name(finding.span.file);
        for other in &mut finding.others {
            counted(&mut other.span);
            other.file = name(other.span.file);
        }
    }
    let order = |it: &Finding| (it.span.file, it.span.start, it.code);
    findings.sort_by(|a, b| (order(a), &a.message).cmp(&(order(b), &b.message)));
    findings.dedup();
    (Compiled { plan, findings, files }, printed)
}

fn context(base_dirs: &[PathBuf], findings: Vec<Finding>) -> Cx<'_> {
    Cx {
        findings: RefCell::new(findings),
        base_dirs,
        field: Cell::new(""),
        comparisons: Cell::new(COMPARISONS),
        derived: RefCell::new(HashMap::new()),
        deriving: false,
        postgres: RefCell::new(None),
    }
}

/// Judges a plan of which something could not be read: what stands there, and nothing that the rest could mend.
fn judge_part(root: &tree::Node, base_dirs: &[PathBuf], findings: &mut Vec<Finding>) {
    let cx = context(base_dirs, std::mem::take(findings));
    top::file(&cx, root, false);
    *findings = cx.findings.into_inner();
    findings.retain(|it| it.severity == Severity::Error);
}

/// `source` is the plan's text, if that stands alone.
fn lower(
    root: tree::Node,
    source: Option<Arc<str>>,
    base_dirs: &[PathBuf],
    print: bool,
    findings: &mut Vec<Finding>,
) -> (Option<Plan>, Option<String>) {
    let mut cx = context(base_dirs, std::mem::take(findings));
    cx.deriving = print || source.is_none();
    let file = top::file(&cx, &root, true);
    // A tree is larger than all that was read from it.
    let outline = Outline::of(&root);
    let root = (print || source.is_none()).then_some(root);
    let mut linked = link::link(&cx, file);
    let derived = cx.derived.into_inner();
    *findings = cx.findings.into_inner();
    if findings.iter().any(|it| it.severity == Severity::Error) {
        // What is unused or weak in a broken file may well be a consequence of what is broken.
        findings.retain(|it| it.severity == Severity::Error);
        return (None, None);
    }
    // What the journal keeps must stand alone.
    let printed = |marked| root.as_ref().map(|it| effective::print(it, &derived, base_dirs, marked));
    let source = source.or_else(|| printed(false).map(Arc::from)).unwrap_or_default();
    linked.plan.hash = Sha256::digest(source.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    linked.plan.source = source;
    findings.extend(crate::lint::lint(&linked.plan, &linked.places, &outline));
    (Some(linked.plan), if print { printed(true) } else { None })
}
