//! The grammar as a page for people: every field with its type, its default and its meaning.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::grammar::{Behind, Choice, Kind, PLAN, Presence, Rule, Shape};

/// The reference page in Markdown.
pub fn reference() -> String {
    let mut page = Page { out: String::new(), waiting: Vec::new(), seen: BTreeSet::new() };
    page.shape(&PLAN);
    while !page.waiting.is_empty() {
        for section in std::mem::take(&mut page.waiting) {
            match section {
                Section::Shape(shape) => page.shape(shape),
                Section::Choice(choice) => page.choice(choice),
            }
        }
    }
    page.out
}

enum Section {
    Shape(&'static Shape),
    Choice(&'static Choice),
}

struct Page {
    out: String,
    waiting: Vec<Section>,
    seen: BTreeSet<&'static str>,
}

impl Page {
    fn shape(&mut self, shape: &'static Shape) {
        let _infallible = writeln!(self.out, "## {}\n\n{}\n", shape.name, sentence(shape.doc));
        self.fields(shape);
    }

    fn fields(&mut self, shape: &'static Shape) {
        if shape.all().next().is_none() {
            self.out.push_str("It has no fields.\n\n");
            return;
        }
        self.out.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
        for field in shape.all() {
            let default = match field.presence {
                Presence::Needed => "**needed**".to_owned(),
                Presence::Optional => "none".to_owned(),
                Presence::Default(text) => format!("`{text}`"),
                Presence::Derived(words) => words.to_owned(),
            };
            let kind = self.kind(field.kind);
            let _infallible = writeln!(self.out, "| `{}` | {kind} | {default} | {} |", field.name, field.doc);
        }
        self.out.push('\n');
        for rule in shape.rules {
            let list =
                |names: &[&str], and: &str| names.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(and);
            let text = match rule {
                Rule::OneOf(names) => format!("Exactly one of {} is there.", list(names, ", ")),
                Rule::Alone(name, others) => format!("With `{name}` there is no {}.", list(others, ", no ")),
                Rule::With(name, groups) => {
                    let groups: Vec<String> = groups.iter().map(|it| list(it, " and ")).collect();
                    format!("With `{name}` there is {}.", groups.join(", or "))
                }
            };
            let _infallible = writeln!(self.out, "{text}\n");
        }
    }

    fn choice(&mut self, choice: &'static Choice) {
        let _infallible =
            writeln!(self.out, "## {}\n\n{} One key says which: `WORD: {{…}}`.\n", choice.name, sentence(choice.doc));
        for variant in choice.variants {
            match variant.behind {
                Behind::Nothing => {
                    let _infallible = writeln!(self.out, "### `{}`\n\nThe word stands alone.\n", variant.word);
                }
                Behind::Value(kind) => {
                    let kind = self.kind(kind);
                    let _infallible = writeln!(self.out, "### `{}`\n\n`{}:` {kind}\n", variant.word, variant.word);
                }
                Behind::Map(shape) => {
                    let _infallible = writeln!(self.out, "### `{}`\n\n{}\n", variant.word, sentence(shape.doc));
                    self.fields(shape);
                }
            }
        }
    }

    fn kind(&mut self, kind: Kind) -> String {
        let words = |words: Vec<&str>| words.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
        match kind {
            Kind::Version => "`2`".to_owned(),
            Kind::Name => "name".to_owned(),
            Kind::Text => "text".to_owned(),
            Kind::Content => "text, may hold a secret".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::Flag => "`true`, `false`".to_owned(),
            Kind::Number(least, most) => format!("{least} to {most}"),
            Kind::Duration => "duration".to_owned(),
            Kind::Positive => "duration > 0".to_owned(),
            Kind::Ttl => "duration, whole seconds".to_owned(),
            Kind::TimeOfDay => "time of day".to_owned(),
            Kind::UtcOffset => "offset from UTC".to_owned(),
            Kind::Percent => "percent".to_owned(),
            Kind::HostPort => "`HOST:PORT`".to_owned(),
            Kind::Ip => "`IP`".to_owned(),
            Kind::Socket => "`IP:PORT`".to_owned(),
            Kind::Sockets => "list of `IP:PORT`".to_owned(),
            Kind::Addresses => "list of IP addresses".to_owned(),
            Kind::Networks => "list of networks: `IP/LENGTH`".to_owned(),
            Kind::ServerNames => "list of names: `NAME` or `*.NAME`".to_owned(),
            Kind::Url => "URL".to_owned(),
            Kind::DnsName => "DNS name".to_owned(),
            Kind::Argv => "command: a list".to_owned(),
            Kind::Word(all) => words(all()),
            Kind::Words(all) => format!("list of {}", words(all())),
            Kind::Statuses => "`200`, `200-399`, or a list".to_owned(),
            Kind::Ref(what) => format!("name of a {what}"),
            Kind::Refs(what) => format!("list of names: {what}"),
            Kind::Texts => "name → text, may hold secrets".to_owned(),
            Kind::Expression => "[expression](rules.md)".to_owned(),
            Kind::Files => "list of paths".to_owned(),
            Kind::Map(shape) => self.link(shape.name, Section::Shape(shape)),
            Kind::Named(shape) => format!("name → {}", self.link(shape.name, Section::Shape(shape))),
            Kind::List(shape) => format!("list of {}", self.link(shape.name, Section::Shape(shape))),
            Kind::One(choice) => self.link(choice.name, Section::Choice(choice)),
            Kind::Many(choice) => format!("list of {}", self.link(choice.name, Section::Choice(choice))),
        }
    }

    fn link(&mut self, name: &'static str, section: Section) -> String {
        if self.seen.insert(name) {
            self.waiting.push(section);
        }
        format!("[{name}](#{})", name.replace(' ', "-"))
    }
}

/// A phrase of the tables as a sentence.
fn sentence(phrase: &str) -> String {
    let mut letters = phrase.chars();
    let first = letters.next().map(|it| it.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
