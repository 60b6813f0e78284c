//! `mainstay planes`: which operation runs on which plane.

use mainstay_plan::action::Plane;
use mainstay_plan::planes::{Row, find, rows};
use mainstay_plan::strategy::Strategy;
use serde::Serialize;

use super::Cx;
use crate::exit::{Answer, Code, Failure};
use crate::look::{Look, Tone, labelled, say, say_json, wrap};

/// Left of what stands beside a plane: the longest of their words, and room.
const BESIDE: usize = 20;
/// A name this far from what was typed is another name.
const SLIPS: usize = 3;

/// Say which operation runs on which plane
///
/// A control plane may be gone exactly when everybody recovers. Without an operation, prints the whole table, with where
/// it is written down; with one, what is known about it in any service. Case and punctuation count for nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay planes StartInstances
  mainstay planes ec2:start-instances
  mainstay planes --service route53
  mainstay planes --plane data
  mainstay planes --json | jq -r '.rows[] | select(.evidence == \"inferred\") | .operations[]'

Exit codes:
  0  it is known
  1  the table knows no such operation")]
pub(crate) struct Planes {
    /// An operation: StartInstances, ChangeResourceRecordSets, …
    operation: Option<String>,
    /// Only this service: ec2, route53, …
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only this plane
    #[arg(long, value_name = "WORD", value_parser = Plane::ALL.map(Plane::word))]
    plane: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    rows: Vec<&'static Row>,
}

impl Planes {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        if let Some(service) = self.service.as_deref().filter(|name| !rows().any(|it| it.is_of(name))) {
            return Err(no_service(service));
        }
        let wanted = |row: &Row| {
            self.service.as_deref().is_none_or(|it| row.is_of(it))
                && self.plane.as_deref().is_none_or(|it| row.plane.word() == it)
        };
        let (found, text) = match &self.operation {
            Some(operation) => {
                let found: Vec<_> = find(operation).into_iter().filter(|(row, _)| wanted(row)).collect();
                if found.is_empty() {
                    return Err(self.no_operation(operation, wanted));
                }
                let texts: Vec<String> = found.iter().map(|(row, name)| one(cx.look, row, name, operation)).collect();
                (found.into_iter().map(|(row, _)| row).collect(), texts.join("\n"))
            }
            None => {
                let found: Vec<&Row> = rows().filter(|row| wanted(row)).collect();
                if found.is_empty() {
                    return Err(Failure::new(Code::No, "the table has no operation of this service on this plane"));
                }
                let text = table(cx.look, &found);
                (found, text)
            }
        };
        if self.json {
            say_json(&Report { rows: found })?
        } else {
            say(&text)?
        }
        Ok(Answer::Yes)
    }

    fn no_operation(&self, operation: &str, wanted: impl Fn(&Row) -> bool) -> Failure {
        let among = if self.service.is_some() || self.plane.is_some() { " among these rows" } else { "" };
        let names = rows().filter(|row| wanted(row)).flat_map(|row| row.operations).copied();
        let strategy = Strategy::ALL.iter().any(|it| it.word() == operation);
        let help = match nearest(operation, names) {
            _ if strategy => "a strategy takes several steps: `mainstay plan FILE` names the plane of each".to_owned(),
            Some(name) => format!("the nearest name is `{name}`"),
            None => "by AWS's own rule, what creates, reads, updates, deletes or lists a resource runs on a control \
                     plane; `mainstay planes` prints what is known"
                .to_owned(),
        };
        Failure::new(Code::No, format!("the table knows no operation `{operation}`{among}")).help(help)
    }
}

fn no_service(name: &str) -> Failure {
    let mut services: Vec<&str> = rows().map(|it| it.service).collect();
    services.dedup();
    Failure::new(Code::No, format!("the table knows no service `{name}`"))
        .help(format!("it knows {}", services.join(", ")))
}

/// What was probably meant.
fn nearest(name: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let folded = |it: &str| it.replace('-', "").to_ascii_lowercase();
    let wanted = folded(name.rsplit(':').next().unwrap_or(name));
    let slips = SLIPS.min(wanted.chars().count() / 3);
    let near = names.map(|it| (strsim::osa_distance(&wanted, &folded(it)), it));
    near.filter(|(distance, _)| *distance <= slips).min_by_key(|(distance, _)| *distance).map(|(_, it)| it)
}

/// What is known about one operation. Many services have operations that begin like those for which a `*` stands.
fn one(look: Look, row: &Row, name: &str, asked: &str) -> String {
    let sure = !name.ends_with('*') || asked.contains(['*', ':']);
    let name = look.paint(Tone::Strong, name);
    let mut out = if sure {
        format!("{name} of {}\n", row.service)
    } else {
        format!("{asked}, if it is of {}: {name}\n", row.service)
    };
    let mut line = |label: &str, text: &str| out.push_str(&labelled(look, 2, 8, label, text));
    line("plane", &format!("{}: {}", row.plane.word(), meaning(row.plane)));
    if !row.homes.is_empty() {
        line("home", &row.homes.join(", "));
    }
    if !row.note.is_empty() {
        line("note", row.note);
    }
    line("evidence", &row.evidence.word().replace('_', " "));
    // A link that is broken over two lines can't be followed.
    out.push_str(&format!("{:12}{}\n", "", row.source));
    out
}

const fn meaning(plane: Plane) -> &'static str {
    match plane {
        Plane::Local => "this machine, or our own agents",
        Plane::Data => "a service's data plane",
        Plane::RecoveryControl => "a control made for recovery, run like a data plane",
        Plane::ServiceRun => "the service does it by itself; there is nothing to call",
        Plane::RegionalControl => "a regional control plane, which may be gone exactly when everybody recovers",
        Plane::GlobalControl => "a control plane that is pinned to one region, for the whole world",
    }
}

const fn tone(plane: Plane) -> Tone {
    match plane {
        Plane::Local | Plane::Data | Plane::RecoveryControl | Plane::ServiceRun => Tone::Good,
        Plane::RegionalControl => Tone::Warn,
        Plane::GlobalControl => Tone::Bad,
    }
}

/// The rows by service, and below them where each is written down.
fn table(look: Look, found: &[&Row]) -> String {
    let mut out = String::new();
    let mut sources: Vec<&str> = Vec::new();
    let mut service = "";
    for row in found {
        if row.service != service {
            service = row.service;
            out.push_str(&format!("{}\n", look.paint(Tone::Strong, service)));
        }
        let number = sources.iter().position(|it| *it == row.source).unwrap_or_else(|| {
            sources.push(row.source);
            sources.len() - 1
        });
        out.push_str(&entry(look, row, number + 1));
    }
    out.push_str(&format!("\n{}\n", look.paint(Tone::Strong, "Sources")));
    for (at, source) in sources.iter().enumerate() {
        out.push_str(&format!("  [{}] {source}\n", at + 1));
    }
    out
}

/// A plane, its operations beside it, and below those what is to be known about them.
fn entry(look: Look, row: &Row, source: usize) -> String {
    let width = look.width - BESIDE;
    let indent = format!("\n{:BESIDE$}", "");
    let mut out = format!("  {}", look.paint(tone(row.plane), &format!("{:1$}", row.plane.word(), BESIDE - 2)));
    out.push_str(&wrap(&row.operations.join(", "), width).join(&indent));
    let home = if row.homes.is_empty() { String::new() } else { format!("in {}; ", row.homes.join(", ")) };
    let note = if row.note.is_empty() { String::new() } else { format!("{}; ", row.note) };
    let about = format!("{home}{note}{} [{source}]", row.evidence.word().replace('_', " "));
    for line in wrap(&about, width) {
        out.push_str(&indent);
        out.push_str(&look.paint(Tone::Dim, &line));
    }
    out.push('\n');
    out
}
