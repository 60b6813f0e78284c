//! Which plane an operation runs on: one table of AWS's operations and of our own actions, with the evidence for each row.
//!
//! It is what `mainstay planes` prints and what `docs/planes.md` is generated from. It decides nothing: a step's plane is
//! what its action says, and a test holds the rows of our own actions against that.

mod table;

use serde::{Serialize, Serializer};

use crate::action::Plane;

pub use table::{OURS, TABLE};

/// Operations of one service that run on the same plane for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Whose operations, as people call the service.
    pub service: &'static str,
    /// API names as the service spells them, and things that happen, in words. A name that ends in `*` stands for all that
    /// begin like it.
    pub operations: &'static [&'static str],
    /// The plane that they run on.
    #[serde(serialize_with = "word")]
    pub plane: Plane,
    /// Regions that must be there for it: where a global control plane is pinned to, or where a recovery control has its
    /// endpoints. Empty: the region of the resource.
    pub homes: &'static [&'static str],
    /// Where it catches people; may be empty.
    pub note: &'static str,
    /// How the plane is known.
    pub evidence: Evidence,
    /// Where it is written down: a URL, or a file of this repository.
    pub source: &'static str,
}

/// How the plane of a row is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The service's owner says it on the page named.
    Documented,
    /// The service's published API model says it.
    ApiModel,
    /// No page names the operation; it follows from the rule on the page named.
    Inferred,
    /// It is what our own code does.
    Code,
}

impl Evidence {
    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Evidence::Documented => "documented",
            Evidence::ApiModel => "api_model",
            Evidence::Inferred => "inferred",
            Evidence::Code => "code",
        }
    }
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn word<S: Serializer>(plane: &Plane, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(plane.word())
}

impl Row {
    const fn new(
        service: &'static str,
        plane: Plane,
        operations: &'static [&'static str],
        (evidence, source): (Evidence, &'static str),
    ) -> Row {
        Row { service, operations, plane, homes: &[], note: "", evidence, source }
    }

    const fn homes(self, homes: &'static [&'static str]) -> Row {
        Row { homes, ..self }
    }

    const fn note(self, note: &'static str) -> Row {
        Row { note, ..self }
    }

    /// Whether it is of a service that people would call `name`: `ec2`, `route53` and `Auto Scaling` find theirs.
    pub fn is_of(&self, name: &str) -> bool {
        let wanted = folded(name);
        let words: Vec<String> = self.service.split(' ').map(folded).collect();
        !wanted.is_empty() && (0..words.len()).any(|at| words[at..].concat().starts_with(&wanted))
    }
}

/// The rows that name an operation, in any service, and how each spells it. A name counts before a `*` that covers it. Case
/// and punctuation count for nothing, so that `ec2:StartInstances` and `start-instances` are found too; a service before the
/// colon leaves only its own rows.
pub fn find(operation: &str) -> Vec<(&'static Row, &'static str)> {
    let (service, name) = operation.rsplit_once(':').unwrap_or(("", operation));
    let wanted = folded(name);
    // What nobody here calls a service by says nothing about whose operation it is.
    let known = rows().any(|row| row.is_of(service));
    let all = || {
        rows()
            .filter(|row| !known || row.is_of(service))
            .flat_map(|row| row.operations.iter().map(move |name| (row, *name)))
    };
    let exact: Vec<_> = all().filter(|(_, name)| folded(name) == wanted).collect();
    if !exact.is_empty() || wanted.is_empty() {
        return exact;
    }
    let covers = |name: &str| name.strip_suffix('*').is_some_and(|start| wanted.starts_with(&folded(start)));
    all().filter(|(_, name)| covers(name)).collect()
}

/// All rows: first those of our own actions.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    OURS.iter().chain(TABLE)
}

fn folded(text: &str) -> String {
    text.chars().filter(|it| it.is_ascii_alphanumeric()).map(|it| it.to_ascii_lowercase()).collect()
}

/// The table in Markdown, for the book.
pub fn markdown() -> String {
    let mut out = String::from("| service | operations | plane | to know | evidence |\n|---|---|---|---|---|\n");
    for row in rows() {
        let operations: Vec<String> = row.operations.iter().map(|it| marked(it)).collect();
        let homes = if row.homes.is_empty() { String::new() } else { format!(" in {}", row.homes.join(", ")) };
        let source =
            if row.source.starts_with("https://") { row.source.to_owned() } else { format!("../{}", row.source) };
        out.push_str(&format!(
            "| {} | {} | `{}`{homes} | {} | [{}]({source}) |\n",
            row.service,
            operations.join(", "),
            row.plane.word(),
            row.note,
            row.evidence.word().replace('_', " "),
        ));
    }
    out
}

/// Names in code font; what is said in words stays words.
fn marked(operation: &str) -> String {
    let api = !operation.contains(' ') && operation.starts_with(|it: char| it.is_ascii_uppercase());
    if api || operation.contains('_') { format!("`{operation}`") } else { operation.to_owned() }
}
