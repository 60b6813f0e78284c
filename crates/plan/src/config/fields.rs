//! The toolkit for lowering: reading the fields of a mapping, one by one, with every mistake collected.
//!
//! Which fields there are, which of them must be there and what holds without them is the grammar's affair; a [`Fields`]
//! holds a mapping against its [`Shape`] and reports what is unknown or missing. Readers return `None` after they have
//! reported what is wrong, and their callers go on with a stand-in: no plan comes out of a file with an error in it, so
//! a stand-in is never acted on.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use super::grammar::{Behind, Choice, Kind, Presence, Rule, Shape};
use super::scalar;
use super::suggest::nearest;
use super::tree::{Entry, Node, Value};
use super::values;
use crate::finding::{Code, Finding, Severity, Span};
use crate::postgres::PostgresServer;

/// What the whole lowering shares.
pub(crate) struct Cx<'a> {
    pub(crate) findings: RefCell<Vec<Finding>>,
    /// What relative paths start from, by file.
    pub(crate) base_dirs: &'a [PathBuf],
    /// The field that is being read, for messages.
    pub(crate) field: Cell<&'static str>,
    /// How many more names may be compared for suggestions: a file full of wrong names must not take for ever.
    pub(crate) comparisons: Cell<usize>,
    /// What holds in place of fields that are not there, by the place of their mapping and their name: for those whose
    /// default is not the same everywhere.
    pub(crate) derived: RefCell<Derived>,
    /// Whether anybody wants to know that.
    pub(crate) deriving: bool,
    /// The PostgreSQL server of the instance that is being read, which its probes ask.
    pub(crate) postgres: RefCell<Option<PostgresServer>>,
}

/// Values of fields that were derived from others, as they would stand in a file.
pub(crate) type Derived = HashMap<(Span, &'static str), String>;

impl Cx<'_> {
    pub(crate) fn report(&self, finding: Finding) {
        self.findings.borrow_mut().push(finding);
    }

    /// Whether an error was found so far.
    pub(crate) fn is_broken(&self) -> bool {
        self.findings.borrow().iter().any(|it| it.severity == Severity::Error)
    }

    /// The nearest of `names`, as long as there is time for it.
    pub(crate) fn nearest<'n>(&self, name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
        let left = self.comparisons.get();
        let mut used = 0;
        let found = nearest(name, names.take(left).inspect(|_| used += 1));
        self.comparisons.set(left - used);
        found
    }

    /// Notes what holds in place of a field that is not there.
    pub(crate) fn derive(&self, at: Span, name: &'static str, value: impl FnOnce() -> String) {
        if self.deriving {
            self.derived.borrow_mut().insert((at, name), value());
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// The fields of one mapping.
pub(crate) struct Fields<'a> {
    pub(crate) cx: &'a Cx<'a>,
    /// What it describes, for people: `` component `orders-db` ``.
    pub(crate) what: String,
    /// Where to point when something is missing.
    pub(crate) at: Span,
    shape: &'static Shape,
    entries: &'a [Entry],
    /// Fields that were read, to see that the grammar promises nothing that is not.
    read: Vec<&'static str>,
    /// Whether it is not all there, which was reported: its missing fields would be the same mistake told again.
    broken: bool,
    /// The word of a choice that stands alone, without a mapping behind it.
    alone: Option<&'static str>,
}

/// The one key of a mapping that says which of several things it is.
pub(crate) struct Chosen<'a> {
    pub(crate) word: &'static str,
    pub(crate) at: Span,
    pub(crate) node: Option<&'a Node>,
    /// What stands behind the word.
    pub(crate) shape: Option<&'static Shape>,
}

impl<'a> Fields<'a> {
    /// The fields of `node`, which describes `what`; nothing at all counts as no fields. `at` is the key before it.
    pub(crate) fn open(
        cx: &'a Cx<'a>,
        node: Option<&'a Node>,
        at: Span,
        what: impl Into<String>,
        shape: &'static Shape,
    ) -> Fields<'a> {
        let what = what.into();
        let mut fields = Fields { cx, what, at, shape, entries: &[], read: Vec::new(), broken: false, alone: None };
        match node.map(|it| (&it.value, it)) {
            None | Some((Value::Null, _)) => {}
            Some((Value::Map(entries), _)) => fields.entries = entries,
            Some((Value::Scalar { .. } | Value::List(_), node)) => {
                cx.report(
                    not_type(cx, node, &fields.what, "a mapping of fields")
                        .help(format!("write for example `{}`", shape_like(shape, node))),
                );
                fields.broken = true;
            }
        }
        fields
    }

    /// The fields behind the word of a choice.
    pub(crate) fn behind(cx: &'a Cx<'a>, chosen: &Chosen<'a>, what: impl Into<String>) -> Fields<'a> {
        static NOTHING: Shape = Shape { name: "nothing", doc: "no fields", fields: &[], rules: &[] };
        let mut fields = Fields::open(cx, chosen.node, chosen.at, what, chosen.shape.unwrap_or(&NOTHING));
        fields.alone = chosen.node.is_none().then_some(chosen.word);
        fields
    }

    /// Says that more may stand where nothing could be read, so that no field is called missing.
    pub(crate) fn leave_gaps(&mut self) {
        self.broken = true;
    }

    /// The field `name`, if it is there.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'a Entry> {
        debug_assert!(self.shape.field(name).is_some(), "the grammar's {} has no `{name}`", self.shape.name);
        if cfg!(debug_assertions) {
            self.read.push(name);
        }
        self.cx.field.set(name);
        self.entries.iter().find(|it| it.key == name)
    }

    /// Whether the grammar knows the field here.
    pub(crate) fn may_have(&self, name: &str) -> bool {
        self.shape.field(name).is_some()
    }

    /// Whether the mapping has the field, without taking it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|it| it.key == name)
    }

    /// Where the value of the field stands, if it is there.
    pub(crate) fn place(&self, name: &str) -> Option<Span> {
        self.entries.iter().find(|it| it.key == name).map(|it| it.node.spot())
    }

    /// Where the name of the field stands, if it is there.
    pub(crate) fn key_place(&self, name: &str) -> Option<Span> {
        self.entries.iter().find(|it| it.key == name).map(|it| it.key_span)
    }

    /// Reads a field.
    pub(crate) fn read<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a Cx<'a>, &'a Node) -> Option<T>,
    ) -> Option<T> {
        let entry = self.take(name)?;
        read(self.cx, &entry.node)
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        self.shape.field(name).map(|it| it.kind)
    }

    /// What holds without the field, if the grammar says so.
    fn default(&self, name: &str) -> Option<&'static str> {
        match self.shape.field(name)?.presence {
            Presence::Default(text) => Some(text),
            Presence::Needed | Presence::Optional | Presence::Derived(_) => None,
        }
    }

    /// A duration, or the grammar's default for it. Above zero where the grammar says so.
    pub(crate) fn maybe_duration(&mut self, name: &'static str) -> Option<Duration> {
        let zero = matches!(self.kind(name), Some(Kind::Duration | Kind::Ttl));
        match self.take(name) {
            Some(entry) if zero => values::duration(self.cx, &entry.node),
            Some(entry) => values::positive(self.cx, &entry.node),
            None => self.default(name).and_then(|it| scalar::duration(it).ok()),
        }
    }

    /// The same where there always is one; a stand-in when it could not be read.
    pub(crate) fn duration(&mut self, name: &'static str) -> Duration {
        self.maybe_duration(name).unwrap_or(Duration::from_secs(1))
    }

    /// A duration whose default depends on others.
    pub(crate) fn duration_or(&mut self, name: &'static str, derived: Duration) -> Duration {
        match self.maybe_duration(name) {
            Some(value) => value,
            None => {
                self.cx.derive(self.at, name, || scalar::show_duration(derived));
                derived
            }
        }
    }

    /// A whole number in the range that the grammar gives, or its default.
    pub(crate) fn maybe_number(&mut self, name: &'static str) -> Option<u32> {
        let Some(Kind::Number(least, most)) = self.kind(name) else { return None };
        match self.take(name) {
            Some(entry) => values::number(self.cx, &entry.node, least..=most),
            None => self.default(name).and_then(|it| it.parse().ok()),
        }
    }

    /// The same where there always is one; a stand-in when it could not be read.
    pub(crate) fn number(&mut self, name: &'static str) -> u32 {
        self.maybe_number(name).unwrap_or(1)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        match self.take(name) {
            Some(entry) => values::flag(self.cx, &entry.node).unwrap_or(false),
            None => self.default(name) == Some("true"),
        }
    }

    /// One of a few words, or the grammar's default.
    pub(crate) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        all: &[T],
        word: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        match self.take(name) {
            Some(entry) => values::word(self.cx, &entry.node, all, word),
            None => self.default(name).and_then(|it| all.iter().copied().find(|one| word(*one) == it)),
        }
    }

    /// Text, or the grammar's default.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name) {
            Some(entry) => values::text(self.cx, &entry.node),
            None => self.default(name).map(str::to_owned),
        }
    }

    /// Reports that `name` is missing although the grammar can't say so: it depends on other fields.
    pub(crate) fn miss(&self, name: &'static str) {
        if !self.broken {
            self.report_missing(name);
        }
    }

    /// The same where one of several would do.
    pub(crate) fn miss_one_of(&self, names: &[&'static str]) {
        if self.broken {
            return;
        }
        let list: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
        let example = |name: &str| self.shape.field(name).map_or("", |it| it.example);
        let help: Vec<String> = names.iter().map(|it| format!("`{it}: {}`", example(it))).collect();
        self.cx.report(
            Finding::new(Code::MissingField, self.at, format!("{} has neither {}", self.what, in_words(&list, "nor")))
                .label("one of them is missing here")
                .help(format!("add for example {}", in_words(&help, "or"))),
        );
    }

    /// Reports the fields that the grammar does not know and those that are missing. A misspelt field that had to be
    /// there is one mistake, not two.
    pub(crate) fn finish(mut self) {
        for field in self.shape.all() {
            debug_assert!(self.read.contains(&field.name), "nobody reads `{}` of {}", field.name, self.shape.name);
        }
        let mut meant: Vec<&str> = Vec::new();
        // Asked once: there may be as many unknown fields as a file has lines.
        let free: Vec<&'static str> = self.shape.all().map(|it| it.name).filter(|it| !self.has(it)).collect();
        for entry in self.entries {
            if self.shape.field(&entry.key).is_some() {
                continue;
            }
            if entry.key == "<<" {
                // Reported as what it is; what it would have merged is not missing.
                self.broken = true;
                continue;
            }
            let (finding, instead) = self.unknown_field(entry, &free);
            meant.extend(instead);
            self.cx.report(finding);
        }
        for field in self.shape.all() {
            let needed = field.presence == Presence::Needed;
            if needed && !self.broken && !self.has(field.name) && !meant.contains(&field.name) {
                self.report_missing(field.name);
            }
        }
    }

    /// What is to be said about a field that the grammar does not know, and the one that was meant.
    fn unknown_field(&self, entry: &Entry, free: &[&'static str]) -> (Finding, Option<&'static str>) {
        let key = &entry.key;
        let finding = |message: String| Finding::new(Code::UnknownField, entry.key_span, message);
        let unknown = finding(format!("{} {} no field `{key}`", self.what, self.has_or_have()));
        if matches!(entry.node.value, Value::Null)
            && key.contains(|it: char| !it.is_alphanumeric() && it != '_' && it != '-')
        {
            let cut = finding(format!("`{key}` is no field of {}", self.what))
                .label("cut off from what stands before it")
                .reason("between braces a comma ends a value")
                .help("put a value that holds a comma into quotes");
            return (cut, None);
        }
        if let Some(near) = self.cx.nearest(key, free.iter().copied()) {
            let near = self.shape.field(near).map_or("", |it| it.name);
            return (unknown.label(format!("did you mean `{near}`?")).help(format!("write `{near}:`")), Some(near));
        }
        if let Some(outer) = self.shape.all().find(|it| holds(it.kind, key)) {
            let in_a_list = matches!(outer.kind, Kind::Many(_));
            let (open, close) = if in_a_list { ("[{", "}]") } else { ("{", "}") };
            let example = format!("{}: {open} {key}: … {close}", outer.name);
            let finding = unknown.label(format!("belongs under `{}`", outer.name)).help(format!("write `{example}`"));
            return (finding, Some(outer.name));
        }
        let known: Vec<String> = self.shape.all().map(|it| format!("`{}`", it.name)).collect();
        let help = match known.as_slice() {
            [] => "remove it: there is nothing to say here".to_owned(),
            [_, ..] => format!("there {} {}", if known.len() == 1 { "is" } else { "are" }, in_words(&known, "and")),
        };
        (unknown.label("unknown field").help(help), None)
    }

    fn has_or_have(&self) -> &'static str {
        if self.what.starts_with("these ") { "have" } else { "has" }
    }

    fn report_missing(&self, name: &'static str) {
        let message = format!("{} {} no `{name}`", self.what, self.has_or_have());
        let finding = Finding::new(Code::MissingField, self.at, message).label(format!("`{name}` is missing here"));
        let example = self.shape.field(name).map_or("", |it| it.example);
        self.cx.report(match (example, self.alone) {
            ("", _) => finding,
            (example, None) => finding.help(format!("add for example `{name}: {example}`")),
            (example, Some(word)) => finding.help(format!("write for example `{word}: {{ {name}: {example} }}`")),
        });
    }
}

/// Whether a field of this kind has `key` in it.
fn holds(kind: Kind, key: &str) -> bool {
    if let Kind::Map(shape) = kind {
        return shape.field(key).is_some();
    }
    let (Kind::One(choice) | Kind::Many(choice)) = kind else { return false };
    choice.variants.iter().any(|it| it.word == key && !matches!(it.behind, Behind::Nothing))
}

/// How a mapping of this shape may look. Where the value that stands in its place can only be one of its fields, it is put in.
fn shape_like(shape: &Shape, node: &Node) -> String {
    let one_of = shape.rules.iter().find_map(|it| match it {
        Rule::OneOf(names) => shape.field(names.first()?),
        Rule::Alone(..) | Rule::With(..) => None,
    });
    let mut fields: Vec<_> = shape.all().filter(|it| it.presence == Presence::Needed).collect();
    fields.extend(one_of);
    if fields.is_empty() {
        fields.extend(shape.all().find(|it| !it.example.is_empty()).or_else(|| shape.all().next()));
    }
    let value = |field: &&super::grammar::Field| {
        let address = matches!(field.kind, Kind::HostPort | Kind::Socket | Kind::Url);
        let alone = matches!(field.kind, Kind::Ref(_) | Kind::Path) && fields.len() == 1;
        let is_it = alone || address && node.text().is_some_and(|it| it.contains(':'));
        match (node.text(), field.presence) {
            (Some(text), _) if is_it && text.contains(':') => format!("{}: \"{text}\"", field.name),
            (Some(text), _) if is_it => format!("{}: {text}", field.name),
            (_, Presence::Default(value)) if field.example.is_empty() => format!("{}: {value}", field.name),
            (_, _) => format!("{}: {}", field.name, field.example),
        }
    };
    let list: Vec<String> = fields.iter().map(value).collect();
    if list.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", list.join(", ")) }
}

/// "`a`, `b` and `c`".
pub(crate) fn in_words(words: &[String], and: &str) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} {and} {last}", most.join(", ")),
    }
}

/// Stands for the name of the field that is being read.
pub(crate) const THIS: &str = "this field";

/// Reports that `node` is not `expected`.
pub(crate) fn wrong_type(cx: &Cx<'_>, node: &Node, what: &str, expected: &str) {
    cx.report(not_type(cx, node, what, expected));
}

pub(super) fn not_type(cx: &Cx<'_>, node: &Node, what: &str, expected: &str) -> Finding {
    let found = node.describe();
    let field = format!("`{}`", cx.field.get());
    let what = if what == THIS { &field } else { what };
    Finding::new(Code::WrongType, node.spot(), format!("{what} must be {expected}, this is {found}"))
        .label(format!("{found}, not {expected}"))
}

/// Reports that `node` is not a list of something.
pub(super) fn no_list(cx: &Cx<'_>, node: &Node, expected: &str) {
    let finding = not_type(cx, node, THIS, expected);
    cx.report(match &node.value {
        Value::Scalar { text, quoted: true } => finding.help(format!("write `[\"{text}\"]`")),
        Value::Scalar { text, .. } => finding.help(format!("write `[{text}]`")),
        Value::Map(_) => finding.help("begin each entry of the list with `- `"),
        Value::Null => finding.help("write the list behind it, or remove it"),
        Value::List(_) => finding,
    });
}

/// The one thing of `choice` that `node` is: `tcp: {…}`, or `tcp` alone where all its fields have defaults.
pub(crate) fn choose<'a>(cx: &'a Cx<'a>, node: &'a Node, choice: &'static Choice) -> Option<Chosen<'a>> {
    let (what, words) = (choice.name, choice.words());
    let unknown = |word: &str, span: Span| {
        let finding = Finding::new(Code::UnknownWord, span, format!("there is no {what} `{word}`"));
        let list: Vec<String> = words.iter().map(|it| format!("`{it}`")).collect();
        cx.report(match cx.nearest(word, words.iter().copied()) {
            Some(near) => finding.label(format!("did you mean `{near}`?")).help(format!("write `{near}:`")),
            None => finding.label("unknown").help(format!("there are {}", in_words(&list, "and"))),
        });
    };
    match &node.value {
        Value::Scalar { text, .. } => match words.iter().find(|it| *it == text) {
            Some(word) => Some(Chosen { word, at: node.span, node: None, shape: choice.shape(word) }),
            None => {
                unknown(text, node.span);
                None
            }
        },
        Value::Map(entries) => match entries.as_slice() {
            [] => {
                wrong_type(cx, node, &format!("a {what}"), "one choice such as `tcp: {…}`");
                None
            }
            [entry] => match words.iter().find(|it| **it == entry.key) {
                Some(word) => {
                    Some(Chosen { word, at: entry.key_span, node: Some(&entry.node), shape: choice.shape(word) })
                }
                None => {
                    unknown(&entry.key, entry.key_span);
                    None
                }
            },
            [first, rest @ ..] => {
                let finding = Finding::new(Code::Variant, rest[0].key_span, format!("a {what} has more than one key"));
                cx.report(match (words.iter().find(|it| **it == first.key), &first.node.value) {
                    (Some(word), Value::Null) => finding
                        .label(format!("this belongs under `{word}`"))
                        .other(first.key_span, "its fields begin on the next line")
                        .help(format!("indent the fields of `{word}` further than `{word}` itself")),
                    _ => finding
                        .label("a second key")
                        .other(first.key_span, "the first")
                        .help(format!("begin each {what} with a `-` of its own")),
                });
                None
            }
        },
        Value::Null | Value::List(_) => {
            wrong_type(cx, node, &format!("a {what}"), "one choice such as `NAME: {…}`");
            None
        }
    }
}

/// The items of a list.
pub(crate) fn items<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<&'a [Node]> {
    match &node.value {
        Value::List(items) => Some(items),
        Value::Null | Value::Scalar { .. } | Value::Map(_) => {
            no_list(cx, node, "a list");
            None
        }
    }
}

/// The entries of a mapping from names of the user's to something.
pub(crate) fn named<'a>(cx: &'a Cx<'a>, node: &'a Node, what: &str) -> &'a [Entry] {
    match &node.value {
        Value::Null => &[],
        Value::Map(entries) => {
            for entry in entries {
                if let Err(why) = scalar::name(&entry.key) {
                    cx.report(
                        Finding::new(Code::BadName, entry.key_span, format!("`{}` is no name for a {what}", entry.key))
                            .label(why)
                            .help("use letters, digits, `-`, `_` and `.`, up to 63 of them"),
                    );
                }
            }
            entries
        }
        Value::Scalar { .. } | Value::List(_) => {
            let finding = not_type(cx, node, THIS, &format!("a mapping from names to {what}s"));
            cx.report(finding.help("write `NAME:` in place of each `-`, and its fields below, further to the right"));
            &[]
        }
    }
}
