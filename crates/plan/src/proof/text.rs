//! The proof as plain text: a table for each component, and under it what the table rests on.

use std::time::Duration;

use super::{Cell, Condition, DataLoss, NoRecovery, Proof, Recovery};
use crate::RouteIx;
use crate::component::Component;
use crate::config::scalar::show_duration;
use crate::location::FailureDomain;

const COLUMNS: [&str; 12] = [
    "failure",
    "without",
    "recovery",
    "route",
    "worst case",
    "detect",
    "decide",
    "earlier",
    "fence",
    "act",
    "converge",
    "data lost",
];

/// What a component is called above its table.
pub(super) fn heading(component: &Component) -> String {
    let mut text = format!("{} ({}, {})", component.name, component.kind.word(), component.criticality.word());
    let objectives = &component.objectives;
    let rto = objectives.rto.map(|it| format!("rto {}", show_duration(it)));
    let rpo = objectives.rpo.map(|it| format!("rpo {}", show_duration(it)));
    let stated: Vec<String> = rto.into_iter().chain(rpo).collect();
    if !stated.is_empty() {
        text.push_str(": ");
        text.push_str(&stated.join(", "));
    }
    text
}

/// All tables.
pub(super) fn proof(proof: &Proof) -> String {
    let each = FailureDomain::ALL.len() * Condition::ALL.len();
    let tables: Vec<String> = proof.cells.chunks(each).map(|cells| component(proof, cells)).collect();
    tables.join("\n")
}

/// What is missing, in a word that fits under "without".
const fn without(condition: Condition) -> &'static str {
    match condition {
        Condition::None => "-",
        Condition::RegionalControlGone => "regional control",
        Condition::GlobalControlGone => "global control",
        Condition::AgentsHostGone => "agent's host",
        Condition::AgentRestarts => "agent, for a while",
    }
}

fn component(proof: &Proof, cells: &[Cell]) -> String {
    let mut rows: Vec<Vec<String>> = vec![COLUMNS.iter().map(|it| (*it).to_owned()).collect()];
    let mut missing: Vec<(String, &NoRecovery)> = Vec::new();
    let mut rests: Vec<(String, &Recovery)> = Vec::new();
    for row in cells.chunks(Condition::ALL.len()) {
        for (conditions, cell) in grouped(row) {
            match &cell.verdict {
                Ok(recovery) => {
                    rows.extend(recovery_rows(proof, cell, &conditions, recovery));
                    note(&mut rests, short(proof, recovery), recovery, |a, b| a.rests_on == b.rests_on);
                }
                // The same for every failure: said once, below.
                Err(none) if cell.condition == Condition::AgentsHostGone => {
                    note(&mut missing, "any failure, without the agent's host".to_owned(), none, |a, b| a == b);
                }
                Err(none) => {
                    let failure = cell.failure.word().to_owned();
                    let of = match conditions.as_str() {
                        "-" => failure.clone(),
                        other => format!("{failure}, without {other}"),
                    };
                    rows.push(vec![failure, conditions, "none".to_owned()]);
                    note(&mut missing, of, none, |a, b| a == b);
                }
            }
        }
    }
    let mut text = format!("{}\n{}", proof.names.headings[cells[0].component.index()], table(&rows));
    for (what, recovery) in rests {
        text.push_str(&format!("  {what} rests on\n"));
        for it in &recovery.rests_on {
            text.push_str(&format!("    - {it}\n"));
        }
    }
    for (of, none) in missing {
        text.push_str(&format!("  no recovery: {of}\n"));
        for it in &none.because {
            text.push_str(&format!("    - {it}\n"));
        }
        text.push_str(&format!("    to change: {}\n", none.change));
    }
    text
}

/// Adds `value` unless the same stands there already.
fn note<'a, T>(list: &mut Vec<(String, &'a T)>, of: String, value: &'a T, same: impl Fn(&T, &T) -> bool) {
    if !list.iter().any(|(name, it)| same(it, value) && (*name == of || !of.contains(" to "))) {
        list.push((of, value));
    }
}

/// Conditions of one failure that make no difference stand in one row with those before them.
fn grouped(cells: &[Cell]) -> Vec<(String, &Cell)> {
    let mut groups: Vec<(String, &Cell)> = Vec::new();
    for cell in cells {
        match groups.iter_mut().find(|(_, it)| it.verdict == cell.verdict) {
            Some((words, _)) => {
                words.push_str(", ");
                words.push_str(without(cell.condition));
            }
            None => groups.push((without(cell.condition).to_owned(), cell)),
        }
    }
    // Nothing at all makes a difference: neither do these conditions.
    if let [(words, _), (agent, _)] = groups.as_mut_slice()
        && agent == without(Condition::AgentsHostGone)
    {
        "-".clone_into(words);
    }
    groups
}

fn short(proof: &Proof, recovery: &Recovery) -> String {
    format!("{} to {}", recovery.strategy.word(), proof.names.instances[recovery.to.index()])
}

fn recovery_rows(proof: &Proof, cell: &Cell, conditions: &str, recovery: &Recovery) -> Vec<Vec<String>> {
    // Routes that converge alike share a row.
    let mut rows: Vec<(String, super::Bound)> = Vec::new();
    for (route, bound) in &recovery.bounds {
        let name = |it: RouteIx| proof.names.routes[it.index()].clone();
        let name = route.map_or_else(|| "-".to_owned(), name);
        match rows.iter_mut().find(|(_, it)| it == bound) {
            Some((names, _)) => {
                names.push_str(", ");
                names.push_str(&name);
            }
            None => rows.push((name, *bound)),
        }
    }
    let loss = match recovery.data_loss {
        DataLoss::NoState => "no state".to_owned(),
        DataLoss::AtMost(most) if most.is_zero() => "nothing".to_owned(),
        DataLoss::AtMost(most) => format!("up to {}", show_duration(most)),
        DataLoss::Unknown => "unknown".to_owned(),
    };
    let row = |(route, bound): (String, super::Bound)| {
        let mut row =
            vec![cell.failure.word().to_owned(), conditions.to_owned(), recovery.strategy.word().to_owned(), route];
        row.push(show_duration(bound.total()));
        row.extend(bound.parts().iter().map(|(_, it)| part(*it)));
        row.push(loss.clone());
        row
    };
    rows.into_iter().map(row).collect()
}

fn part(duration: Duration) -> String {
    if duration.is_zero() { "-".to_owned() } else { show_duration(duration) }
}

/// Columns as wide as their widest cell, two blanks between them, none at the end of a line.
fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|it| it.get(column)).map(|it| it.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        text.push_str(&format!("  {}\n", cells.join("  ").trim_end()));
    }
    text
}
