//! The files of a plan and the world that they name: included files, variables from the environment.
//!
//! Nothing is read here: whoever compiles a plan hands over how a file is read and what a variable holds, so that
//! `check` on a laptop, an agent and a replay can each answer in their own way.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compact_str::CompactString;

use super::COMPARISONS;
use super::fields::in_words;
use super::grammar::PART;
use super::suggest::nearest;
use super::tree::{self, Entry, Node, Value};
use crate::finding::{Code, Finding, Label, Span};

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
    /// Whether secrets must be set. Who acts needs them; who checks a plan needs to know only that they have a name.
    pub needs_secrets: bool,
}

impl Surroundings<'_> {
    /// No file and no variable: for a plan that stands alone.
    pub const NONE: Surroundings<'static> = Surroundings {
        read: &|_| Err("no other file can be read here".to_owned()),
        variable: &|_| None,
        needs_secrets: true,
    };

    /// For the text that a journal keeps, which stands alone but for its secrets: decisions don't depend on those.
    pub const REPLAY: Surroundings<'static> = Surroundings {
        read: &|_| Err("a journal's plan stands alone".to_owned()),
        variable: &|_| None,
        needs_secrets: false,
    };
}

/// The most files of one plan.
const MOST_FILES: usize = 1000;

/// Reads the files that `root` includes, adds them to `files`, and puts their sections into `root`. Returns whether all of
/// them could be read.
pub(super) fn include(
    root: &mut Node,
    files: &mut Vec<SourceFile>,
    around: &Surroundings<'_>,
    upgrade: impl Fn(&mut Node),
    findings: &mut Vec<Finding>,
) -> bool {
    let Value::Map(entries) = &root.value else { return true };
    let version = entries.iter().find(|it| it.key == "version").and_then(|it| it.node.text()).map(str::to_owned);
    let Some(list) = entries.iter().find(|it| it.key == "include") else { return true };
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
                .help(format!("write `include: [{}]`", list.node.text().unwrap_or("routes.yaml"))),
            );
            return false;
        }
    };
    let mut whole = true;
    let mut merger = Merger { version, seen: HashMap::new() };
    for (name, span) in named {
        if files.len() >= MOST_FILES {
            findings.push(
                Finding::new(Code::Limit, span, format!("a plan has at most {MOST_FILES} files")).label("one too many"),
            );
            return false;
        }
        let Some(path) = files.first().map(|it| it.base_dir.join(&name)) else { return false };
        if let Some(finding) = no_part(&name, span, &path, &files[0]) {
            findings.extend(finding);
            whole = false;
            continue;
        }
        if files.iter().skip(1).any(|it| Path::new(&it.name) == path) {
            findings.push(
                Finding::new(Code::Include, span, format!("`{name}` is included twice"))
                    .label("again here")
                    .reason("everything in it would stand twice")
                    .help("include it once"),
            );
            continue;
        }
        let text = match (around.read)(&path) {
            Ok(text) => text,
            Err(why) => {
                let help = if name.contains(['*', '?']) {
                    "name each file: patterns are not expanded".to_owned()
                } else {
                    format!("it was looked for as `{}`: relative paths start from the including file", path.display())
                };
                findings
                    .push(Finding::new(Code::Include, span, format!("`{name}` can't be read")).label(why).help(help));
                whole = false;
                continue;
            }
        };
        let number = u16::try_from(files.len()).expect("fewer than a thousand files");
        let base_dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let part = tree::parse(&text, number, findings);
        files.push(SourceFile { name: path.display().to_string(), text: text.into(), base_dir });
        match part {
            Some(mut part) => {
                upgrade(&mut part);
                merger.merge(root, part, findings);
            }
            None => whole = false,
        }
    }
    whole
}

/// Whether a name is none of another file, and what there is to say about it.
fn no_part(name: &str, span: Span, path: &Path, plan: &SourceFile) -> Option<Option<Finding>> {
    // Reported where values are read.
    if name.trim().is_empty() {
        return Some(None);
    }
    if name.contains("${") {
        let finding = Finding::new(Code::Include, span, format!("`{name}` holds a variable"))
            .label("no variable is known here")
            .reason("an included file may name variables itself, so files are read before variables are replaced")
            .help("write the path out");
        return Some(Some(finding));
    }
    let own = Path::new(&plan.name).file_name().map(|it| plan.base_dir.join(it));
    if own.is_some_and(|it| it == path) {
        let finding = Finding::new(Code::Include, span, "the plan includes itself")
            .label("this same file")
            .reason("everything in it would stand twice")
            .help("remove it");
        return Some(Some(finding));
    }
    None
}

/// Puts the sections of included files into the plan.
struct Merger {
    version: Option<String>,
    /// The names of each section to which something was added, and where they stand.
    seen: HashMap<CompactString, HashMap<CompactString, Span>>,
}

impl Merger {
    fn merge(&mut self, root: &mut Node, part: Node, findings: &mut Vec<Finding>) {
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
                if section.node.text() != self.version.as_deref() {
                    findings.push(
                        Finding::new(
                            Code::Version,
                            section.node.spot(),
                            "an included file has the version of its plan",
                        )
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
                Some(there) => self.join(there, section, findings),
            }
        }
    }

    /// Adds a section to one that is there already.
    fn join(&mut self, there: &mut Entry, section: Entry, findings: &mut Vec<Finding>) {
        let single = matches!(section.key.as_str(), "guards" | "coordination");
        match (&mut there.node.value, section.node.value) {
            (Value::Map(entries), Value::Map(more)) if !single => {
                let seen = self
                    .seen
                    .entry(section.key)
                    .or_insert_with(|| entries.iter().map(|it| (it.key.clone(), it.key_span)).collect());
                for entry in more {
                    match seen.get(&entry.key) {
                        Some(first) => findings.push(
                            Finding::new(Code::DuplicateKey, entry.key_span, format!("`{}` stands twice", entry.key))
                                .label("again here")
                                .other(*first, "first here")
                                .help("keep one of them"),
                        ),
                        None => {
                            seen.insert(entry.key.clone(), entry.key_span);
                            entries.push(entry);
                        }
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
}

fn not_in_a_part(section: &Entry) -> Finding {
    let finding =
        Finding::new(Code::UnknownField, section.key_span, format!("an included file has no field `{}`", section.key));
    let names: Vec<&str> = PART.all().map(|it| it.name).collect();
    match nearest(&section.key, names.iter().copied()) {
        Some(near) => finding.label(format!("did you mean `{near}`?")).help(format!("write `{near}:`")),
        None if super::grammar::PLAN.field(&section.key).is_some() => finding
            .label("belongs into the plan's own file")
            .reason("what there is once in a plan has one place, so that nobody has to look for it")
            .help("move it there"),
        None => {
            let list: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
            finding.label("unknown field").help(format!("it has {}", in_words(&list, "and")))
        }
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

/// Which values of a plan hold variables: what is wrong with them may not be seen where they stand.
#[derive(Default)]
pub(super) struct Filled {
    /// Whether the plan has variables at all.
    pub(super) any: bool,
    /// By the file and the first byte of the value: its end, and name and place of its first variable.
    places: BTreeMap<(u16, u32), (u32, String, Span)>,
}

impl Filled {
    /// Shows where the value came from that a finding complains about.
    pub(super) fn explain(&self, finding: &mut Finding) {
        let (file, at) = (finding.span.file, finding.span.start);
        let before = self.places.range((file, 0)..=(file, at)).next_back();
        if let Some((_, (end, name, declared))) = before
            && at < *end
            && !matches!(finding.code, Code::VariableUnknown | Code::SecretShown | Code::Limit)
        {
            let text = format!("`${{{name}}}` comes from here");
            finding.others.push(Label { file: String::new(), span: *declared, text });
        }
    }
}

/// Replaces `${NAME}` in every value by what the environment holds.
pub(super) fn substitute(
    root: &mut Node,
    files: &[SourceFile],
    around: &Surroundings<'_>,
    findings: &mut Vec<Finding>,
) -> Filled {
    let Value::Map(entries) = &mut root.value else { return Filled::default() };
    let declared = entries.iter().find(|it| it.key == "variables");
    let has_any = declared.is_some();
    // Most plans have no variable in millions of values.
    if !has_any && !files.iter().any(|it| it.text.contains("${")) {
        return Filled::default();
    }
    let values = declared.map(|it| read_variables(&it.node, around, findings)).unwrap_or_default();
    let mut filler = Filler {
        variables: values,
        files,
        left: Some(MOST_FILLED_IN),
        comparisons: COMPARISONS,
        places: BTreeMap::new(),
        findings,
    };
    for entry in entries.iter_mut().filter(|it| it.key != "variables") {
        filler.replace(&mut entry.node);
    }
    let Filler { variables, places, findings, .. } = filler;
    for (name, variable) in variables.iter().filter(|(_, it)| !it.used) {
        findings.push(
            Finding::new(Code::VariableUnused, variable.at, format!("nothing uses the variable `{name}`"))
                .label(format!("no `${{{name}}}` in the plan"))
                .help("remove it"),
        );
    }
    Filled { any: has_any, places }
}

/// Stands for a secret that nobody needs to know.
const UNKNOWN_SECRET: &str = "(a secret)";

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
        let value = value.or_else(|| (secret && !around.needs_secrets).then(|| UNKNOWN_SECRET.to_owned()));
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

/// In texts longer than this a variable is not looked for: there may be as many as it has words.
const MOST_SEARCHED: usize = 4096;

/// The most bytes that variables may add to a plan.
const MOST_FILLED_IN: usize = 16 << 20;

/// Puts values in the place of variables.
struct Filler<'a> {
    variables: BTreeMap<String, Variable>,
    files: &'a [SourceFile],
    /// How many more bytes may be added; `None` after it was too much, which is said once.
    left: Option<usize>,
    /// How many more names may be compared for suggestions.
    comparisons: usize,
    places: BTreeMap<(u16, u32), (u32, String, Span)>,
    findings: &'a mut Vec<Finding>,
}

impl Filler<'_> {
    fn replace(&mut self, node: &mut Node) {
        let span = node.span;
        match &mut node.value {
            Value::Null => {}
            Value::List(items) => items.iter_mut().for_each(|it| self.replace(it)),
            Value::Map(entries) => entries.iter_mut().for_each(|it| self.replace(&mut it.node)),
            Value::Scalar { text, quoted } if text.contains("${") => match self.fill(text, span) {
                Some((filled, secret)) => {
                    // Between braces it can't stand without quotes; alone it is what it holds, a number too.
                    *quoted &= !(text.starts_with("${") && text.find('}') == Some(text.len() - 1));
                    if secret {
                        node.filled = Some(Box::new(tree::Filled::Secret(text.to_string())));
                    }
                    *text = filled.into();
                }
                None => node.filled = Some(Box::new(tree::Filled::Unknown)),
            },
            Value::Scalar { .. } => {}
        }
    }

    /// The text with its variables replaced, and whether one of them is a secret. `$${` stands for `${`. `None` if a
    /// value is not known, which was reported.
    fn fill(&mut self, text: &str, span: Span) -> Option<(String, bool)> {
        let (mut out, mut rest, mut secret, mut known) = (String::with_capacity(text.len()), text, false, true);
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at]);
                out.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                let at = self.exactly(span, "${", true);
                self.findings.push(
                    Finding::new(Code::VariableUnknown, at, "a variable that is not closed")
                        .label("`${` without `}`")
                        .reason("where its name ends is not clear")
                        .help("write `${NAME}`, or `$${` for the two characters themselves"),
                );
                return None;
            };
            let whole = &rest[at..=at + end];
            match self.variables.get_mut(&whole[2..whole.len() - 1]) {
                Some(variable) => {
                    variable.used = true;
                    let place = (span.end, whole[2..whole.len() - 1].to_owned(), variable.at);
                    self.places.entry((span.file, span.start)).or_insert(place);
                    secret |= variable.secret;
                    known &= variable.value.is_some();
                    let value = variable.value.as_deref().unwrap_or_default();
                    let left = self.left?.checked_sub(value.len());
                    if left.is_some() {
                        out.push_str(value);
                    }
                    self.left = left;
                    if left.is_none() {
                        self.too_much(span);
                        return None;
                    }
                }
                None => {
                    known = false;
                    self.unknown(&whole[2..whole.len() - 1], self.exactly(span, whole, false));
                }
            }
            rest = &rest[at + end + 1..];
        }
        out.push_str(rest);
        known.then_some((out, secret))
    }

    fn unknown(&mut self, name: &str, at: Span) {
        let finding = Finding::new(Code::VariableUnknown, at, format!("there is no variable `{name}`"));
        let names = self.variables.keys().map(String::as_str).take(self.comparisons);
        self.comparisons -= names.len();
        let near = nearest(name, names);
        self.findings.push(match near {
            Some(near) => finding.label(format!("did you mean `${{{near}}}`?")).help(format!("write `${{{near}}}`")),
            None => finding.label("unknown").help(format!(
                "name it: `variables: {{ {name}: {{ env: {} }} }}`, or write `$${{` for the two characters themselves",
                name.to_ascii_uppercase()
            )),
        });
    }

    fn too_much(&mut self, span: Span) {
        let message = format!("variables add more than {} MiB to the plan", MOST_FILLED_IN >> 20);
        self.findings.push(Finding::new(Code::Limit, span, message).label("too much from here on"));
    }

    /// The place of `part` in the text at `span`; all of the text, where that can't be said.
    fn exactly(&self, span: Span, part: &str, last: bool) -> Span {
        if span.range().len() > MOST_SEARCHED {
            return span;
        }
        let Some(text) = self.files.get(usize::from(span.file)).and_then(|it| it.text.get(span.range())) else {
            return span;
        };
        let Some(at) = (if last { text.rfind(part) } else { text.find(part) }) else { return span };
        let lines = text[..at].matches('\n').count();
        if lines > 0 {
            return span;
        }
        span.part(text, at..at + part.len())
    }
}
