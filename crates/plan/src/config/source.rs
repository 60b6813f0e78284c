//! The files of a plan and the world that they name: included files, variables from the environment.
//!
//! Nothing is read here: whoever compiles a plan hands over how a file is read and what a variable holds, so that
//! `check` on a laptop, an agent and a replay can each answer in their own way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fields::in_words;
use super::grammar::PART;
use super::suggest::nearest;
use super::tree::{self, Entry, Node, Value};
use crate::finding::{Code, Finding, Span};

/// A file of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As its reader called it.
    pub name: String,
    /// What it holds.
    pub text: Arc<str>,
    /// What relative paths in it start from.
    pub(crate) base_dir: PathBuf,
}

impl SourceFile {
    /// A file that stands alone.
    pub fn new(name: &str, text: &str) -> SourceFile {
        SourceFile { name: name.to_owned(), text: text.into(), base_dir: PathBuf::new() }
    }
}

/// What a plan may ask of the world while it is compiled.
pub struct Surroundings<'a> {
    /// Reads an included file; the error is in words that fit behind "because".
    pub read: &'a dyn Fn(&Path) -> Result<String, String>,
    /// The value of an environment variable, if it is set.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    /// No file and no variable: for a plan that stands alone.
    pub const NONE: Surroundings<'static> =
        Surroundings { read: &|_| Err("no other file can be read here".to_owned()), variable: &|_| None };

    /// For the text that a journal keeps, which stands alone but for its secrets: decisions don't depend on those.
    pub const REPLAY: Surroundings<'static> = Surroundings {
        read: &|_| Err("a journal's plan stands alone".to_owned()),
        variable: &|_| Some("(a secret)".to_owned()),
    };
}

/// The most files of one plan.
const MOST_FILES: usize = 1000;

/// Reads the files that `root` includes, adds them to `files`, and puts their sections into `root`.
pub(super) fn include(
    root: &mut Node,
    files: &mut Vec<SourceFile>,
    around: &Surroundings<'_>,
    upgrade: impl Fn(&mut Node),
    findings: &mut Vec<Finding>,
) {
    let Value::Map(entries) = &root.value else { return };
    let version = entries.iter().find(|it| it.key == "version").and_then(|it| it.node.text()).map(str::to_owned);
    let Some(list) = entries.iter().find(|it| it.key == "include") else { return };
    let named: Vec<(String, Span)> = match &list.node.value {
        Value::Null => Vec::new(),
        Value::List(items) => items.iter().filter_map(|it| Some((it.text()?.to_owned(), it.span))).collect(),
        Value::Scalar { .. } | Value::Map(_) => {
            let found = list.node.describe();
            findings.push(
                Finding::new(
                    Code::WrongType,
                    list.node.spot(),
                    format!("`include` must be a list of files, this is {found}"),
                )
                .label(format!("{found}, not a list"))
                .help("write `include: [routes.yaml]`"),
            );
            return;
        }
    };
    for (name, span) in named {
        if files.len() >= MOST_FILES {
            findings.push(
                Finding::new(Code::Limit, span, format!("a plan has at most {MOST_FILES} files")).label("one too many"),
            );
            return;
        }
        let Some(path) = files.first().map(|it| it.base_dir.join(&name)) else { return };
        if files.iter().skip(1).any(|it| Path::new(&it.name) == path) {
            findings.push(
                Finding::new(Code::Include, span, format!("`{name}` is included twice"))
                    .label("again here")
                    .help("include it once"),
            );
            continue;
        }
        let text = match (around.read)(&path) {
            Ok(text) => text,
            Err(why) => {
                findings.push(Finding::new(Code::Include, span, format!("`{name}` can't be read")).label(why).help(
                    format!("it was looked for as `{}`: relative paths start from the including file", path.display()),
                ));
                continue;
            }
        };
        let number = u16::try_from(files.len()).expect("fewer than a thousand files");
        let base_dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let part = tree::parse(&text, number, findings);
        files.push(SourceFile { name: path.display().to_string(), text: text.into(), base_dir });
        if let Some(mut part) = part {
            upgrade(&mut part);
            merge(root, part, version.as_deref(), findings);
        }
    }
}

/// Puts the sections of an included file into the plan.
fn merge(root: &mut Node, part: Node, version: Option<&str>, findings: &mut Vec<Finding>) {
    let Value::Map(sections) = part.value else {
        findings.push(
            Finding::new(
                Code::WrongType,
                part.span,
                format!("an included file must be a mapping, this is {}", part.describe()),
            )
            .label("not a mapping")
            .help("write sections, such as `routes:`"),
        );
        return;
    };
    let Value::Map(all) = &mut root.value else { return };
    for section in sections {
        if section.key == "version" {
            if section.node.text() != version {
                findings.push(
                    Finding::new(Code::Version, section.node.spot(), "an included file has the version of its plan")
                        .label("another version")
                        .help("write it in the version of the plan, or leave `version` out here"),
                );
            }
            continue;
        }
        if PART.field(&section.key).is_none() {
            findings.push(not_in_a_part(&section));
            continue;
        }
        match all.iter_mut().find(|it| it.key == section.key) {
            None => all.push(section),
            Some(there) => join(there, section, findings),
        }
    }
}

fn not_in_a_part(section: &Entry) -> Finding {
    let finding =
        Finding::new(Code::UnknownField, section.key_span, format!("an included file has no field `{}`", section.key));
    let names: Vec<&str> = PART.all().map(|it| it.name).collect();
    match nearest(&section.key, names.iter().copied()) {
        Some(near) => finding.label(format!("did you mean `{near}`?")).help(format!("write `{near}:`")),
        None if super::grammar::PLAN.field(&section.key).is_some() => finding
            .label("stands in the plan's own file")
            .reason("what there is once in a plan has one place, so that nobody has to look for it"),
        None => {
            let list: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
            finding.label("unknown field").help(format!("it has {}", in_words(&list, "and")))
        }
    }
}

/// Adds a section to one that is there already.
fn join(there: &mut Entry, section: Entry, findings: &mut Vec<Finding>) {
    let single = matches!(section.key.as_str(), "guards" | "coordination");
    match (&mut there.node.value, section.node.value) {
        (Value::Map(entries), Value::Map(more)) if !single => {
            for entry in more {
                match entries.iter().find(|it| it.key == entry.key) {
                    Some(first) => findings.push(
                        Finding::new(Code::DuplicateKey, entry.key_span, format!("`{}` stands twice", entry.key))
                            .label("again here")
                            .other(first.key_span, "first here")
                            .help("keep one of them"),
                    ),
                    None => entries.push(entry),
                }
            }
        }
        (Value::List(items), Value::List(more)) => items.extend(more),
        (_, Value::Null) => {}
        (value @ Value::Null, more) => *value = more,
        (_, _) => findings.push(
            Finding::new(Code::DuplicateKey, section.key_span, format!("`{}` stands twice", section.key))
                .label("again here")
                .other(there.key_span, "first here")
                .help("keep one of them"),
        ),
    }
}

/// A variable of the plan.
struct Variable {
    /// `None` when it could not be found, which was reported.
    value: Option<String>,
    secret: bool,
    used: bool,
    at: Span,
}

/// Replaces `${NAME}` in every value by what the environment holds. Returns whether the plan has variables at all.
pub(super) fn substitute(
    root: &mut Node,
    texts: &[SourceFile],
    around: &Surroundings<'_>,
    findings: &mut Vec<Finding>,
) -> bool {
    let Value::Map(entries) = &mut root.value else { return false };
    let declared = entries.iter().find(|it| it.key == "variables");
    let has_any = declared.is_some();
    // Most plans have no variable in millions of values.
    if !has_any && !texts.iter().any(|it| it.text.contains("${")) {
        return false;
    }
    let mut variables = declared.map(|it| read_variables(&it.node, around, findings)).unwrap_or_default();
    for entry in entries.iter_mut().filter(|it| it.key != "variables") {
        replace(&mut entry.node, &mut variables, findings);
    }
    for (name, variable) in variables.iter().filter(|(_, it)| !it.used) {
        findings.push(
            Finding::new(Code::VariableUnused, variable.at, format!("nothing uses the variable `{name}`"))
                .label(format!("no `${{{name}}}` in the plan"))
                .help("remove it"),
        );
    }
    has_any
}

/// Lenient about what it can't read: lowering has the same node before it and reports it.
fn read_variables(node: &Node, around: &Surroundings<'_>, findings: &mut Vec<Finding>) -> BTreeMap<String, Variable> {
    let Value::Map(entries) = &node.value else { return BTreeMap::new() };
    let mut variables = BTreeMap::new();
    for entry in entries {
        let get = |name: &str| match &entry.node.value {
            Value::Map(fields) => fields.iter().find(|it| it.key == name).map(|it| &it.node),
            Value::Null | Value::Scalar { .. } | Value::List(_) => None,
        };
        let secret = get("secret").and_then(Node::text) == Some("true");
        let env = get("env").and_then(Node::text);
        let default = get("default").map(|it| it.text().unwrap_or_default().to_owned());
        let value = env.and_then(|it| (around.variable)(it)).or(default);
        if let (None, Some(env), Some(at)) = (&value, env, get("env")) {
            findings.push(
                Finding::new(Code::VariableUnset, at.span, format!("the environment variable `{env}` is not set"))
                    .label(format!("`${{{}}}` stands for it", entry.key))
                    .help(format!("set it where Mainstay runs (`{env}=… mainstay …`), or add a `default`")),
            );
        }
        variables.insert(entry.key.to_string(), Variable { value, secret, used: false, at: entry.key_span });
    }
    variables
}

fn replace(node: &mut Node, variables: &mut BTreeMap<String, Variable>, findings: &mut Vec<Finding>) {
    match &mut node.value {
        Value::Null => {}
        Value::List(items) => items.iter_mut().for_each(|it| replace(it, variables, findings)),
        Value::Map(entries) => entries.iter_mut().for_each(|it| replace(&mut it.node, variables, findings)),
        Value::Scalar { text, .. } if text.contains("${") => {
            let (filled, secret) = fill(text, node.span, variables, findings);
            if secret {
                node.secret = Some(Box::new(text.to_string()));
            }
            *text = filled.into();
        }
        Value::Scalar { .. } => {}
    }
}

/// The text with its variables replaced, and whether one of them is a secret. `$${` stands for `${`.
fn fill(
    text: &str,
    span: Span,
    variables: &mut BTreeMap<String, Variable>,
    findings: &mut Vec<Finding>,
) -> (String, bool) {
    let (mut out, mut rest, mut secret) = (String::with_capacity(text.len()), text, false);
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at]);
            out.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            findings.push(
                Finding::new(Code::VariableUnknown, span, "a variable that is not closed")
                    .label("`${` without `}`")
                    .help("write `${NAME}`, or `$${` for the two characters themselves"),
            );
            return (out, secret);
        };
        let name = &rest[at + 2..at + end];
        match variables.get_mut(name) {
            Some(variable) => {
                variable.used = true;
                secret |= variable.secret;
                out.push_str(variable.value.as_deref().unwrap_or("1"));
            }
            None => {
                let finding = Finding::new(Code::VariableUnknown, span, format!("there is no variable `{name}`"));
                findings.push(match nearest(name, variables.keys().map(String::as_str)) {
                    Some(near) => finding.label(format!("did you mean `${{{near}}}`?")).help(format!("write `${{{near}}}`")),
                    None => finding.label("unknown").help(format!(
                        "name it: `variables: {{ {name}: {{ env: {} }} }}`, or write `$${{` for the two characters themselves",
                        name.to_ascii_uppercase()
                    )),
                });
                out.push('1');
            }
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    (out, secret)
}
