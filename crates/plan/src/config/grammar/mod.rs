//! The grammar as data: every mapping of a plan with its fields, what each takes, what holds without it, and what it is
//! for. Written once, used four times: lowering asks it for defaults and for the names of fields, `mainstay schema`
//! prints it, `check --print-effective` fills a plan up with it, and the reference page is made of it.
//!
//! The tables themselves are in `top`, `components`, `probes`, `actions`, `routes` and `operation`.

mod actions;
mod components;
mod operation;
mod probes;
mod routes;
mod top;

pub(crate) use actions::*;
pub(crate) use components::*;
pub(crate) use operation::*;
pub(crate) use probes::*;
pub(crate) use routes::*;
pub(crate) use top::*;

/// A mapping with known fields.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What it is called in the schema and on the reference page: `component`.
    pub(crate) name: &'static str,
    /// What it is, as a sentence without its subject.
    pub(crate) doc: &'static str,
    /// Its fields, in groups, so that shapes can share some.
    pub(crate) fields: &'static [&'static [Field]],
    /// What can't be said field by field.
    pub(crate) rules: &'static [Rule],
}

impl Shape {
    /// All fields, in the order in which they are shown.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().copied().flatten()
    }

    /// The field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.all().find(|it| it.name == name)
    }
}

/// What binds fields of one mapping together.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// Exactly one of them is there.
    OneOf(&'static [&'static str]),
    /// If the first is there, none of the others is.
    Alone(&'static str, &'static [&'static str]),
    /// If the first is there, so is one of the groups, whole.
    With(&'static str, &'static [&'static [&'static str]]),
}

/// One field of a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) doc: &'static str,
    pub(crate) presence: Presence,
    /// How a value may look, as it stands behind the colon.
    pub(crate) example: &'static str,
}

/// Whether a field must be there, and what holds without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It must be there.
    Needed,
    /// Without it there is none of what it describes.
    Optional,
    /// Without it this holds, read as if it stood there.
    Default(&'static str),
    /// Without it something holds that depends on other fields: said in words here, and by the one who reads it.
    Derived(&'static str),
}

/// An optional field.
pub(crate) const fn field(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, kind, doc, presence: Presence::Optional, example: "" }
}

impl Field {
    /// It must be there; missing, `example` is what is shown.
    pub(crate) const fn needed(self, example: &'static str) -> Field {
        Field { presence: Presence::Needed, example, ..self }
    }

    /// Without it, `value` holds.
    pub(crate) const fn or(self, value: &'static str) -> Field {
        Field { presence: Presence::Default(value), ..self }
    }

    /// Without it something holds that depends on others.
    pub(crate) const fn derived(self, words: &'static str) -> Field {
        Field { presence: Presence::Derived(words), ..self }
    }

    /// How a value may look.
    pub(crate) const fn such_as(self, example: &'static str) -> Field {
        Field { example, ..self }
    }
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The number of the grammar's version.
    Version,
    /// A name of the owner's: letters, digits, `-`, `_`, `.`, at most 63.
    Name,
    /// Text that is not empty.
    Text,
    /// Text that may be empty and may hold a secret.
    Content,
    /// A path; a relative one starts from the directory of its file.
    Path,
    /// `true` or `false`.
    Flag,
    /// A whole number in a range.
    Number(u32, u32),
    /// A duration, zero included.
    Duration,
    /// A duration above zero.
    Positive,
    /// Whole seconds up to a day.
    Ttl,
    /// Hours and minutes of the clock on the wall.
    TimeOfDay,
    /// How far a clock is ahead of UTC.
    UtcOffset,
    /// A percentage with up to four digits behind the point.
    Percent,
    /// A host (address or name) and a port.
    HostPort,
    /// An IP address.
    Ip,
    /// An IP address and a port.
    Socket,
    /// A list of IP addresses with ports.
    Sockets,
    /// A list of IP addresses.
    Addresses,
    /// A list of networks.
    Networks,
    /// A list of TLS server names.
    ServerNames,
    /// An HTTP or HTTPS URL.
    Url,
    /// A DNS name.
    DnsName,
    /// A program and its arguments.
    Argv,
    /// One of a few words.
    Word(fn() -> Vec<&'static str>),
    /// A status code, a range of them, or a list of both.
    Statuses,
    /// The name of something else in the plan.
    Ref(&'static str),
    /// A list of names of other things, at least so many.
    Refs(&'static str),
    /// A list of words.
    Words(fn() -> Vec<&'static str>),
    /// From text to text, which may hold secrets.
    Texts,
    /// A condition over observations.
    Expression,
    /// A mapping.
    Map(&'static Shape),
    /// From the owner's names to mappings.
    Named(&'static Shape),
    /// A list of mappings.
    List(&'static Shape),
    /// One thing out of several.
    One(&'static Choice),
    /// A list of such things.
    Many(&'static Choice),
    /// A list of file names.
    Files,
}

/// One thing out of several, told by its only key: `tcp: {…}`.
#[derive(Debug)]
pub(crate) struct Choice {
    /// What it is called in the schema, in messages and on the reference page: `probe`.
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) variants: &'static [Variant],
}

/// One of the things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) word: &'static str,
    pub(crate) behind: Behind,
}

/// What stands behind the word of a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behind {
    /// Nothing: the word stands alone.
    Nothing,
    /// A mapping; where none of its fields is needed, the word may stand alone, too.
    Map(&'static Shape),
    /// One value.
    Value(Kind),
}

impl Choice {
    /// Its words.
    pub(crate) fn words(&self) -> Vec<&'static str> {
        self.variants.iter().map(|it| it.word).collect()
    }

    /// The shape behind a word.
    pub(crate) fn shape(&self, word: &str) -> Option<&'static Shape> {
        self.variants.iter().find(|it| it.word == word).and_then(|it| match it.behind {
            Behind::Map(shape) => Some(shape),
            Behind::Nothing | Behind::Value(_) => None,
        })
    }
}

const fn variant(word: &'static str, shape: &'static Shape) -> Variant {
    Variant { word, behind: Behind::Map(shape) }
}

/// The words of an enum of ours, as a function that a table can hold.
macro_rules! words {
    ($type:ty) => {
        || <$type>::ALL.iter().map(|it| it.word()).collect()
    };
}
use words;
