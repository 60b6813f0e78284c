//! Older versions of the grammar. A journal keeps the text of the plan that its decisions were made under, so every
//! version that ever was must be read for ever; a person's file is rewritten when the person wants it.
//!
//! A change of version is written once, as a change of the tree that also says which edits of the text make it. Lowering
//! knows the newest grammar only.

use super::tree::{self, Entry, Node, Value};
use crate::finding::{Code, Finding, Severity, Span};

/// The version that lowering reads.
pub(super) const NEWEST: &str = "2";
/// Those before it.
pub(super) const OLDER: [&str; 1] = ["1"];

/// A change of the text: `insert` goes in at byte `at`.
struct Edit {
    at: usize,
    remove: usize,
    insert: String,
}

/// The version that a file says it has.
pub(super) fn version(root: &Node) -> Option<&str> {
    let Value::Map(entries) = &root.value else { return None };
    entries.iter().find(|it| it.key == "version").and_then(|it| it.node.text())
}

/// Where it says so; where it begins, if it does not.
fn version_at(root: &Node) -> Span {
    let Value::Map(entries) = &root.value else { return root.spot() };
    entries.iter().find(|it| it.key == "version").map_or(root.spot(), |it| it.node.spot())
}

/// Makes a tree of version `from` one of the newest version.
pub(super) fn tree(root: &mut Node, from: Option<&str>) {
    edits(root, from, "");
}

/// A text in the newest version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgraded {
    /// The text; `None` when it is in the newest version already.
    pub text: Option<String>,
    /// The version that it was of.
    pub from: String,
    /// Files that it includes, which may be of the same version without saying so.
    pub includes: Vec<String>,
}

/// The text of a plan, or of an included file, in the newest version; comments and layout stay. A file that does not say
/// its version is of version `from`, or of the newest one.
///
/// # Errors
///
/// What is wrong with it, if it can't be read as YAML; or that it can't be rewritten without changing what it means.
pub fn upgrade(name: &str, text: &str, from: Option<&str>) -> Result<Upgraded, Vec<Finding>> {
    let mut findings = Vec::new();
    let root = tree::parse(text, 0, &mut findings);
    findings.retain(|it| it.severity == Severity::Error);
    let Some(mut root) = root.filter(|_| findings.is_empty()) else {
        findings.iter_mut().for_each(|it| name.clone_into(&mut it.file));
        return Err(findings);
    };
    let from = version(&root).or(from).unwrap_or(NEWEST).to_owned();
    if from != NEWEST && !OLDER.contains(&from.as_str()) {
        let mut finding = super::top::unknown_version(version_at(&root), &from);
        name.clone_into(&mut finding.file);
        return Err(vec![finding]);
    }
    let includes = includes(&root);
    let mut edits = edits(&mut root, Some(&from), text);
    if edits.is_empty() {
        return Ok(Upgraded { text: None, from, includes });
    }
    edits.sort_by_key(|it| it.at);
    let mut out = text.to_owned();
    for edit in edits.iter().rev() {
        out.replace_range(edit.at..edit.at + edit.remove, &edit.insert);
    }
    let written = tree::parse(&out, 0, &mut Vec::new());
    if written.is_none_or(|it| !means_the_same(&it, &root)) {
        let mut finding = Finding::new(Code::Unsupported, root.spot(), "this file can't be rewritten without changing what it means")
            .label("written in an unusual way")
            .help("write keys plainly (`key: value`, without `?`) and `${` without escapes, then upgrade it; or leave it: older versions are read for ever");
        name.clone_into(&mut finding.file);
        return Err(vec![finding]);
    }
    Ok(Upgraded { text: Some(out), from, includes })
}

fn includes(root: &Node) -> Vec<String> {
    let Value::Map(entries) = &root.value else { return Vec::new() };
    match entries.iter().find(|it| it.key == "include").map(|it| &it.node.value) {
        Some(Value::List(items)) => items.iter().filter_map(|it| Some(it.text()?.to_owned())).collect(),
        Some(Value::Null | Value::Scalar { .. } | Value::Map(_)) | None => Vec::new(),
    }
}

/// Whether two trees say the same, wherever it stands; the version aside.
fn means_the_same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar { text: a, quoted: x }, Value::Scalar { text: b, quoted: y }) => a == b && x == y,
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| means_the_same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            let same =
                |a: &Entry, b: &Entry| a.key == b.key && (a.key == "version" || means_the_same(&a.node, &b.node));
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Null | Value::Scalar { .. } | Value::List(_) | Value::Map(_), _) => false,
    }
}

fn edits(root: &mut Node, from: Option<&str>, text: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    if from == Some("1") {
        from_1(root, text, &mut edits);
    }
    edits
}

/// Version 2 gives notifications a `send`, so that a channel can also say where it lives; and reads `${NAME}`.
fn from_1(root: &mut Node, text: &str, edits: &mut Vec<Edit>) {
    escape_variables(root, text, edits);
    let Value::Map(entries) = &mut root.value else { return };
    for entry in entries {
        match entry.key.as_str() {
            "version" => edits.push(Edit {
                at: entry.node.span.range().start,
                remove: entry.node.span.range().len(),
                insert: NEWEST.to_owned(),
            }),
            "notifications" => {
                let Value::Map(channels) = &mut entry.node.value else { continue };
                channels.iter_mut().for_each(|it| wrap(it, "send", text, edits));
            }
            _ => {}
        }
    }
}

/// Puts the value of `entry` under a key of its own.
fn wrap(entry: &mut Entry, key: &str, text: &str, edits: &mut Vec<Edit>) {
    if !matches!(&entry.node.value, Value::Map(fields) if !fields.is_empty()) {
        return;
    }
    let span = entry.node.span;
    let inner = std::mem::replace(&mut entry.node, Node::new(span, Value::Null));
    let key_span = inner.spot();
    entry.node.value = Value::Map(vec![Entry { key: key.into(), key_span, node: inner }]);
    let Some(piece) = text.get(span.range()) else { return };
    if piece.starts_with('{') {
        edits.push(Edit { at: span.range().start, remove: 0, insert: format!("{{ {key}: ") });
        edits.push(Edit { at: span.range().end, remove: 0, insert: " }".to_owned() });
        return;
    }
    let key_at = key_span.range().start;
    let line_start = text[..key_at].rfind('\n').map_or(0, |it| it + 1);
    let indent = &text[line_start..key_at];
    edits.push(Edit { at: key_at, remove: 0, insert: format!("{key}:\n{indent}  ") });
    for (at, _) in piece.match_indices('\n') {
        let line = span.range().start + at + 1;
        if text[line..].trim_start_matches(' ').starts_with('\n') {
            continue;
        }
        edits.push(Edit { at: line, remove: 0, insert: "  ".to_owned() });
    }
}

/// `${` meant itself before there were variables.
fn escape_variables(node: &mut Node, text: &str, edits: &mut Vec<Edit>) {
    match &mut node.value {
        Value::Null => {}
        Value::List(items) => items.iter_mut().for_each(|it| escape_variables(it, text, edits)),
        Value::Map(entries) => entries.iter_mut().for_each(|it| escape_variables(&mut it.node, text, edits)),
        Value::Scalar { text: value, .. } => {
            if !value.contains("${") {
                return;
            }
            *value = value.replace("${", "$${").into();
            let piece = text.get(node.span.range()).unwrap_or_default();
            for (at, _) in piece.match_indices("${") {
                edits.push(Edit { at: node.span.range().start + at, remove: 0, insert: "$".to_owned() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgraded(text: &str) -> String {
        upgrade("plan.yaml", text, None).expect("it is YAML").text.expect("it is an older version")
    }

    #[test]
    fn notifications_get_a_send_and_everything_else_stays() {
        let old = "# ours\nversion: 1   # old\nnotifications:\n  a: { webhook: { url: \"http://x/\" } }   # flow\n  b:\n    command:\n      run: [echo]   # block\n\n      env: { A: b }\n  c: { command: { run: [x] }}\nmode: act\n";
        let new = "# ours\nversion: 2   # old\nnotifications:\n  a: { send: { webhook: { url: \"http://x/\" } } }   # flow\n  b:\n    send:\n      command:\n        run: [echo]   # block\n\n        env: { A: b }\n  c: { send: { command: { run: [x] }} }\nmode: act\n";
        assert_eq!(upgraded(old), new);
    }

    #[test]
    fn what_looks_like_a_variable_goes_on_meaning_itself() {
        assert_eq!(
            upgraded("version: 1\na: [\"${HOME}\", \"x${y}z\"]\n"),
            "version: 2\na: [\"$${HOME}\", \"x$${y}z\"]\n"
        );
    }

    #[test]
    fn the_newest_version_stays() {
        assert_eq!(upgrade("plan.yaml", "version: 2\n", None).map(|it| it.text), Ok(None));
    }

    #[test]
    fn what_is_no_yaml_is_not_touched() {
        let findings = upgrade("plan.yaml", "version: 1\na: [\n", None).expect_err("it is broken");
        assert!(findings.iter().all(|it| it.file == "plan.yaml") && !findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn what_would_mean_something_else_is_refused() {
        for odd in ["version: 1\nnotifications:\n  ? a\n  : command: { run: [x] }\n", "version: 1\na: \"\\x24{b}\"\n"] {
            let refused = upgrade("plan.yaml", odd, None).expect_err(odd);
            assert_eq!(refused[0].code, Code::Unsupported, "{odd}");
        }
    }

    #[test]
    fn an_included_file_is_of_the_version_that_is_named() {
        let part = "notifications: { a: { command: { run: [x] } } }\n";
        let upgraded = upgrade("part.yaml", part, Some("1")).expect("it is YAML").text;
        assert_eq!(upgraded.as_deref(), Some("notifications: { a: { send: { command: { run: [x] } } } }\n"));
        let whole = upgrade("plan.yaml", "version: 1\ninclude: [part.yaml]\n", None).expect("it is YAML");
        assert_eq!((whole.includes, whole.from), (vec!["part.yaml".to_owned()], "1".to_owned()));
    }
}
