//! A plan with everything filled in: one file, all defaults in their places, variables replaced.
//!
//! It is what `check --print-effective` prints, and what the journal keeps of a plan that has included files or variables:
//! a text that stands alone and means the same. Secrets stay `${NAME}`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::fields::Derived;
use super::grammar::{Behind, Choice, Field, Kind, PLAN, Presence, Shape};
use super::tree::{Entry, Node, Value};
use super::upgrade::NEWEST;
use crate::finding::Span;

struct Printer<'a> {
    derived: &'a Derived,
    base_dirs: &'a [PathBuf],
    /// Whether what was filled in is marked by a comment.
    marked: bool,
    out: String,
}

/// Prints the plan `root`. `marked`: what the file does not say itself is followed by a comment.
pub(super) fn print(root: &Node, derived: &Derived, base_dirs: &[PathBuf], marked: bool) -> String {
    let mut printer = Printer { derived, base_dirs, marked, out: String::new() };
    let Value::Map(entries) = &root.value else { return String::new() };
    printer.fields(entries, root.spot(), &PLAN, 0);
    printer.out
}

impl Printer<'_> {
    fn line(&mut self, indent: usize, text: &str) {
        let _infallible = writeln!(self.out, "{:indent$}{text}", "");
    }

    /// The fields of a mapping, in the grammar's order; `at` is where lowering said the mapping is.
    fn fields(&mut self, entries: &[Entry], at: Span, shape: &'static Shape, indent: usize) {
        for field in shape.all() {
            match entries.iter().find(|it| it.key == field.name) {
                Some(_) if field.name == "include" => {}
                Some(_) if field.name == "version" => self.line(indent, &format!("version: {NEWEST}")),
                Some(entry) if field.name == "variables" => self.variables(entry, indent),
                Some(entry) => self.field(entry, field, indent),
                None => self.absent(field, at, indent),
            }
        }
    }

    /// Of the variables only the secret ones are left: the others are replaced.
    fn variables(&mut self, entry: &Entry, indent: usize) {
        let Value::Map(variables) = &entry.node.value else { return };
        let is_secret = |it: &&Entry| match &it.node.value {
            Value::Map(fields) => fields.iter().any(|it| it.key == "secret" && it.node.text() == Some("true")),
            Value::Null | Value::Scalar { .. } | Value::List(_) => false,
        };
        let mut secrets = variables.iter().filter(is_secret).peekable();
        if secrets.peek().is_none() {
            return;
        }
        self.line(indent, "variables:");
        for secret in secrets {
            self.line(indent + 2, &format!("{}:", quoted(&secret.key, true)));
            if let Value::Map(entries) = &secret.node.value {
                self.fields(entries, secret.key_span, &super::grammar::VARIABLE, indent + 4);
            }
        }
    }

    fn absent(&mut self, field: &Field, at: Span, indent: usize) {
        let (value, mark) = match field.presence {
            Presence::Needed | Presence::Optional => return,
            Presence::Default("{}") => {
                if let Kind::Map(shape) = field.kind {
                    self.line(indent, &format!("{}:", field.name));
                    self.fields(&[], at, shape, indent + 2);
                }
                return;
            }
            Presence::Default(text) => (text.to_owned(), "default"),
            Presence::Derived(words) => match self.derived.get(&(at, field.name)) {
                // One that depends on whether another field is there, and on nothing else.
                Some(text) if text == words => (text.clone(), "default"),
                Some(text) => (text.clone(), words),
                None => return,
            },
        };
        let mark = if self.marked { format!("   # {mark}") } else { String::new() };
        self.line(indent, &format!("{}: {value}{mark}", field.name));
    }

    fn field(&mut self, entry: &Entry, field: &Field, indent: usize) {
        let key = field.name;
        let node = &entry.node;
        match (field.kind, &node.value) {
            (Kind::Map(shape), value) => {
                let entries: &[Entry] = if let Value::Map(entries) = value { entries } else { &[] };
                if entries.is_empty() && shape.fields.iter().all(|it| it.is_empty()) {
                    return self.line(indent, &format!("{key}: {{}}"));
                }
                self.line(indent, &format!("{key}:"));
                let before = self.out.len();
                self.fields(entries, entry.key_span, shape, indent + 2);
                if self.out.len() == before {
                    self.out.truncate(self.out.len() - 1);
                    self.out.push_str(" {}\n");
                }
            }
            (Kind::Named(shape), Value::Map(entries)) => {
                self.line(indent, &format!("{key}:"));
                for entry in entries {
                    self.line(indent + 2, &format!("{}:", quoted(&entry.key, true)));
                    let fields: &[Entry] = if let Value::Map(fields) = &entry.node.value { fields } else { &[] };
                    self.fields(fields, entry.key_span, shape, indent + 4);
                }
            }
            (Kind::List(shape), Value::List(items)) => self.list(key, items, indent, |it, item| {
                let entries: &[Entry] = if let Value::Map(entries) = &item.value { entries } else { &[] };
                it.fields(entries, item.spot(), shape, indent + 4);
            }),
            (Kind::Many(choice), Value::List(items)) => {
                self.list(key, items, indent, |it, item| it.chosen(item, choice, indent + 4));
            }
            (Kind::One(choice), Value::Map(_)) => {
                self.line(indent, &format!("{key}:"));
                self.chosen(node, choice, indent + 2);
            }
            (Kind::Path, _) => {
                let text = self.path(node);
                self.line(indent, &format!("{key}: {text}"));
            }
            (_, Value::Null) => self.line(indent, &format!("{key}:")),
            (_, _) => self.line(indent, &format!("{key}: {}", flow(node))),
        }
    }

    /// A list of mappings: each is printed, then its first line gets a dash.
    fn list(&mut self, key: &str, items: &[Node], indent: usize, print: impl Fn(&mut Self, &Node)) {
        if items.is_empty() {
            return self.line(indent, &format!("{key}: []"));
        }
        self.line(indent, &format!("{key}:"));
        for item in items {
            let start = self.out.len();
            print(self, item);
            if self.out.len() == start {
                self.line(indent + 2, "- {}");
            } else {
                self.out.replace_range(start + indent + 2..start + indent + 4, "- ");
            }
        }
    }

    fn chosen(&mut self, node: &Node, choice: &'static Choice, indent: usize) {
        let (word, at, value) = match &node.value {
            Value::Scalar { text, .. } => (text.as_str(), node.span, None),
            Value::Map(entries) => match entries.first() {
                Some(entry) => (entry.key.as_str(), entry.key_span, Some(&entry.node)),
                None => return,
            },
            Value::Null | Value::List(_) => return,
        };
        match choice.variants.iter().find(|it| it.word == word).map(|it| it.behind) {
            Some(Behind::Map(shape)) => {
                let entries: &[Entry] =
                    if let Some(Node { value: Value::Map(entries), .. }) = value { entries } else { &[] };
                self.line(indent, &format!("{word}:"));
                self.fields(entries, at, shape, indent + 2);
            }
            Some(Behind::Nothing) => self.line(indent, word),
            Some(Behind::Value(_)) => {
                let value = value.map(flow).unwrap_or_default();
                self.line(indent, &format!("{word}: {value}"));
            }
            None => {}
        }
    }

    /// A path of an included file starts from that file; printed, it starts from the plan's own.
    fn path(&self, node: &Node) -> String {
        let text = node.text().unwrap_or_default();
        let (Some(home), Some(base)) = (self.base_dirs.first(), self.base_dirs.get(usize::from(node.span.file))) else {
            return quoted(text, true);
        };
        if node.span.file == 0 || Path::new(text).is_absolute() {
            return quoted(text, true);
        }
        let whole = base.join(text);
        let shown = whole.strip_prefix(home).unwrap_or(&whole);
        quoted(&shown.display().to_string(), true)
    }
}

/// A value on one line.
fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar { text, quoted } => match node.secret() {
            Some(raw) => format!("\"{}\"", escaped(raw)),
            None => self::quoted(&text.replace("${", "$${"), *quoted),
        },
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let each: Vec<String> =
                entries.iter().map(|it| format!("{}: {}", quoted(&it.key, true), flow(&it.node))).collect();
            format!("{{ {} }}", each.join(", "))
        }
    }
}

/// Text as a YAML scalar; `text` that was plain may stay plain where it can't be taken for something else.
fn quoted(text: &str, was_quoted: bool) -> String {
    let first = text.chars().next();
    let safe = first.is_some_and(|it| it.is_ascii_alphanumeric() || matches!(it, '/' | '.' | '_'))
        && text
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.' | '/' | '%' | '+' | ' ' | '=' | '@'))
        && !text.ends_with(' ');
    let ambiguous =
        was_quoted && (text.parse::<f64>().is_ok() || matches!(text, "true" | "false" | "null" | "yes" | "no"));
    if safe && !ambiguous && text != "null" { text.to_owned() } else { format!("\"{}\"", escaped(text)) }
}

/// For between double quotes, as YAML and JSON read it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            it if it.is_control() || matches!(it, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(it));
            }
            it => out.push(it),
        }
    }
    out
}
