//! The proof as plain text: a table for each component, and under it what its rows refer to by number.
//!
//! Lines hold at most 100 columns, as far as names let them.

use std::collections::HashSet;
use std::fmt::Write;

use super::{Bound, Cell, Condition, DataLoss, NoRecovery, Proof, Recovery, RestsOn, Verdict};
use crate::component::{Component, Repair};
use crate::config::scalar::show_duration;
use crate::location::FailureDomain;
use crate::{ComponentIx, InstanceIx, Plan};

const WIDTH: usize = 100;

const COLUMNS: [&str; 6] = ["failure", "without", "recovery", "worst case", "rto", "data lost"];

const FOOT: &str = "A condition that has no row changes nothing: for it holds the row “-” of the same failure.\n";

/// What is said once for the whole plan: those cells have no rows.
const FOR_ALL: &str = "Without the agent's host nobody decides, and the traffic process that runs there is gone too. Without the \
                       agent's path to anything else nothing is done, unless a row says so: nobody vouches for what the \
                       agent sees.";

/// What a component is called above its table.
fn heading(component: &Component) -> String {
    let mut text = format!("{} ({}, {})", component.name, component.kind.word(), component.criticality.word());
    let objectives = &component.objectives;
    let rto = objectives.rto.map(|it| format!("rto {}", show_duration(it)));
    let rpo = objectives.rpo.map(|it| format!("rpo {}", show_duration(it)));
    let regional = objectives.region_rto.map(|it| format!("region rto {}", show_duration(it)));
    let stated: Vec<String> = rto.into_iter().chain(regional).chain(rpo).collect();
    if !stated.is_empty() {
        text.push_str(": ");
        text.push_str(&stated.join(", "));
    }
    text
}

/// The table of one component, with what its rows refer to.
pub(super) fn table_of(proof: &Proof<'_>, ix: ComponentIx) -> String {
    let mut text = String::new();
    component(proof, ix, &mut text);
    text.push('\n');
    text
}

/// What stands under all tables.
pub(super) fn foot() -> String {
    let mut text = FOOT.to_owned();
    wrap(&mut text, "", "", FOR_ALL);
    text
}

/// One row: a failure, the conditions under which it ends like this, and the verdict.
struct Row<'a> {
    failure: FailureDomain,
    conditions: Vec<Condition>,
    cell: Cell<'a>,
    number: usize,
}

fn component(proof: &Proof<'_>, ix: ComponentIx, text: &mut String) {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut numbered: Vec<Cell<'_>> = Vec::new();
    for failure in FailureDomain::ALL {
        let first = rows.len();
        for cell in Condition::ALL.into_iter().filter_map(|it| proof.cell(ix, failure, it)) {
            if is_said_for_all(&cell) {
                continue;
            }
            if let Some(row) = rows[first..].iter_mut().find(|it| it.cell.verdict == cell.verdict) {
                row.conditions.push(cell.condition);
                continue;
            }
            let number = numbered.iter().position(|it| it.verdict == cell.verdict).unwrap_or_else(|| {
                numbered.push(cell);
                numbered.len() - 1
            });
            rows.push(Row { failure, conditions: vec![cell.condition], cell, number });
        }
    }
    let plan = proof.plan;
    text.push_str(&heading(plan.component(ix)));
    text.push('\n');
    let mut lines = vec![COLUMNS.map(str::to_owned)];
    lines.extend(rows.iter().map(|it| row(plan.component(ix), it)));
    columns(&lines, text);
    for (at, cell) in numbered.iter().enumerate() {
        match cell.verdict {
            Ok(recovery) => self::recovery(plan, at, recovery, &numbered[..at], text),
            Err(none) => no_recovery(proof, at, cell, none, &numbered[..at], text),
        }
    }
    for said in without_agent(plan, ix).into_iter().chain(repaired(plan, ix)) {
        wrap(text, "  ", "  ", &said);
    }
}

/// For how long a component has one leg less after a takeover, where what was displaced is repaired without a person.
fn repaired(plan: &Plan, ix: ComponentIx) -> Option<String> {
    let component = plan.component(ix);
    let longest = component.repairs.iter().map(Repair::longest).max()?;
    let repaired = |it: &&InstanceIx| component.repairs.iter().any(|repair| repair.instance == **it);
    let names = |all: &[&InstanceIx]| {
        let all: Vec<&str> = all.iter().map(|it| plan.instance(**it).name.as_str()).collect();
        match all.split_last() {
            Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
            Some((only, _)) => (*only).to_owned(),
            None => String::new(),
        }
    };
    let (by_itself, by_hand): (Vec<&InstanceIx>, Vec<&InstanceIx>) = component.instances.iter().partition(repaired);
    let is = if by_itself.len() == 1 { "is" } else { "are" };
    let rest = match by_hand.as_slice() {
        [] => String::new(),
        _ => format!(" {} by hand (`mainstay adopt`).", names(&by_hand)),
    };
    Some(format!(
        "After a takeover {} {is} repaired without a person: protected again within {} from when its machine is there, if the \
         first try works.{rest}",
        names(&by_itself),
        show_duration(longest)
    ))
}

/// What becomes of a component under a lease when the agent is gone for longer than that.
fn without_agent(plan: &Plan, ix: ComponentIx) -> Option<String> {
    if !plan.is_leased(ix) {
        return None;
    }
    let component = plan.component(ix);
    let home = plan.host_of(component.original()).map(|it| plan.host(it).name.as_str())?;
    let term = show_duration(plan.link.as_ref().map(|it| it.lease.expires + it.lease.demote).unwrap_or_default());
    let mut others: Vec<&str> = (component.instances.iter())
        .filter_map(|it| plan.host_of(*it))
        .map(|it| plan.host(it).name.as_str())
        .filter(|it| *it != home)
        .collect();
    others.sort_unstable();
    others.dedup();
    Some(match plan.stays(ix) {
        true => format!(
            "Without the agent's host it stays what it is as long as {} {}; {home} stops or demotes it within {term} otherwise.",
            others.join(" and "),
            if others.len() == 1 { "agrees" } else { "agree" }
        ),
        false => format!(
            "Without the agent's host {home} stops or demotes it within {term}: nobody renews its lease (`on_agent_loss: demote`)."
        ),
    })
}

fn is_said_for_all(cell: &Cell<'_>) -> bool {
    let unconditional = matches!(cell.condition, Condition::AgentsHostGone | Condition::AgentsPathGone);
    unconditional && cell.verdict.is_err()
}

fn row(component: &Component, row: &Row<'_>) -> [String; 6] {
    let without = match row.conditions.as_slice() {
        // What stands under "-" is what the other rows do not name.
        [Condition::None, ..] => Condition::None.missing().to_owned(),
        some => some.iter().map(|it| it.missing()).collect::<Vec<_>>().join(", "),
    };
    let number = row.number + 1;
    let failure = row.failure.word().to_owned();
    let Ok(recovery) = row.cell.verdict else {
        return [failure, without, format!("[{number}] none"), String::new(), String::new(), String::new()];
    };
    let total = recovery.worst().total();
    let met = match component.objectives.rto_for(row.failure) {
        Some(rto) if total <= rto => "met",
        Some(_) => "missed",
        None => "-",
    };
    let recovery_word = format!("[{number}] {}", recovery.strategy.word());
    [failure, without, recovery_word, show_duration(total), met.to_owned(), loss(recovery.data_loss)]
}

fn loss(loss: DataLoss) -> String {
    match loss {
        DataLoss::NoState => "no state".to_owned(),
        DataLoss::AtMost(most) if most.is_zero() => "nothing".to_owned(),
        DataLoss::AtMost(most) => format!("up to {}", show_duration(most)),
        DataLoss::Unknown => "unknown".to_owned(),
    }
}

fn recovery(plan: &Plan, at: usize, recovery: &Recovery, before: &[Cell<'_>], text: &mut String) {
    let head = format!("  [{}] {} to {}", at + 1, recovery.strategy.word(), plan.instance(recovery.to).name);
    let rests_on = |skip: &[RestsOn]| {
        let each = recovery.rests_on.iter().filter(|it| !skip.contains(it)).map(|it| it.said(plan).to_string());
        each.collect::<Vec<_>>().join("; ")
    };
    // The richest of those before that this one adds to.
    let like = (before.iter().enumerate())
        .filter_map(|(at, it)| Some((at, it.verdict.as_ref().ok()?)))
        .filter(|(_, it)| it.rung == recovery.rung && it.rests_on.iter().all(|it| recovery.rests_on.contains(it)))
        .max_by_key(|(_, it)| (it.rests_on.len(), it.bounds == recovery.bounds));
    let more = like.map(|(_, it)| rests_on(&it.rests_on)).filter(|it| !it.is_empty());
    if let (Some((other, same)), Some(more)) = (like, &more)
        && same.bounds == recovery.bounds
    {
        wrap(text, &format!("{head}, as [{}]; rests on ", other + 1), "        ", more);
        return;
    }
    text.push_str(&head);
    text.push('\n');
    for line in sums(plan, recovery) {
        wrap(text, "      ", "        ", &line);
    }
    let rests_on = match (like, more) {
        (Some((other, _)), None) => format!("rests on the same as [{}]", other + 1),
        (Some((other, _)), Some(more)) => format!("rests on the same as [{}]; {more}", other + 1),
        (None, _) => format!("rests on {}", rests_on(&[])),
    };
    wrap(text, "      ", "        ", &rests_on);
}

/// The worst case as a sum of its parts; routes that converge alike share a line.
fn sums(plan: &Plan, recovery: &Recovery) -> Vec<String> {
    let mut sums: Vec<(Vec<&str>, Bound)> = Vec::new();
    for (route, bound) in &recovery.bounds {
        let name: Vec<&str> = route.map(|it| plan.route(it).name.as_str()).into_iter().collect();
        match sums.iter_mut().find(|(_, it)| it == bound) {
            Some((names, _)) => names.extend(name),
            None => sums.push((name, *bound)),
        }
    }
    let line = |(names, bound): (Vec<&str>, Bound)| {
        let parts: Vec<String> = (bound.parts().iter())
            .filter(|(_, it)| !it.is_zero())
            .map(|(name, it)| format!("{name} {}", show_duration(*it)))
            .collect();
        let by = if names.is_empty() { String::new() } else { format!("by {}: ", names.join(", ")) };
        format!("{by}{} = {}", show_duration(bound.total()), parts.join(" + "))
    };
    sums.into_iter().map(line).collect()
}

fn no_recovery(
    proof: &Proof<'_>,
    at: usize,
    cell: &Cell<'_>,
    none: &NoRecovery,
    before: &[Cell<'_>],
    text: &mut String,
) {
    let changes = proof.nearest_changes(cell);
    let others = before.iter().enumerate().rev().filter_map(|(at, it)| Some((at, it, it.verdict.as_ref().err()?)));
    let like = others.into_iter().find(|(_, _, it)| {
        it.dependencies == none.dependencies && it.because.iter().all(|it| none.because.contains(it))
    });
    let _ = write!(text, "  [{}] none", at + 1);
    let mut further = none.clone();
    if let Some((other, _, theirs)) = like {
        further.because.retain(|it| !theirs.because.contains(it));
        further.dependencies.clear();
        let _ = write!(text, ", as [{}]; and", other + 1);
    }
    text.push('\n');
    for reason in proof.reasons(cell, &further) {
        wrap(text, "      - ", "        ", &reason);
    }
    if let Some((other, theirs, _)) = like
        && proof.nearest_changes(theirs) == changes
    {
        let _ = writeln!(text, "      to change: the same as [{}]", other + 1);
        return;
    }
    for (nth, change) in changes.iter().enumerate() {
        let lead = if nth == 0 { "      to change: " } else { "             and " };
        wrap(text, lead, "        ", &change.said(proof.plan).to_string());
    }
}

impl Proof<'_> {
    /// Why there is no recovery, in words: what the component itself lacks, then the dependencies that nothing recovers,
    /// each with the first of its reasons. What two rungs lack in the same words is said once.
    pub fn reasons(&self, cell: &Cell<'_>, none: &NoRecovery) -> Vec<String> {
        let own = none.because.iter().map(|it| it.said(self.plan).to_string());
        let name = |ix: ComponentIx| &self.plan.component(ix).name;
        let dependency = |it: &super::Unrecovered| {
            let root: Option<&Verdict> = self.cell(it.root, cell.failure, cell.condition).map(|it| it.verdict);
            let why = match root {
                Some(Err(none)) => none.because.first().map(|it| it.said(self.plan).to_string()),
                Some(Ok(_)) | None => None,
            };
            let through = if it.root == it.on { String::new() } else { format!(" because of `{}`", name(it.root)) };
            let why = why.map(|it| format!(": {it}")).unwrap_or_default();
            format!("it needs `{}`, which is not recovered{through}{why}", name(it.on))
        };
        let mut seen = HashSet::new();
        own.chain(none.dependencies.iter().map(dependency)).filter(|it| seen.insert(it.clone())).collect()
    }
}

/// Columns as wide as their widest cell, two blanks between them, none at the end of a line.
pub(super) fn columns<const N: usize>(rows: &[[String; N]], text: &mut String) {
    let width = |column: usize| rows.iter().map(|it| it[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "  {cell:width$}", width = *width);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

/// Adds `said` behind `first`, broken between words, further lines behind `further`. Code stays whole.
pub(super) fn wrap(text: &mut String, first: &str, further: &str, said: &str) {
    text.push_str(first);
    let (indent, mut used) = (further.chars().count(), first.chars().count());
    let mut is_empty = first.trim().is_empty();
    let mut in_code = false;
    let breaks = |it: char| {
        in_code ^= it == '`';
        it == ' ' && !in_code
    };
    let mut blank = false;
    for word in said.split(breaks).filter(|it| !it.is_empty()) {
        let length = word.chars().count();
        if !is_empty && used + usize::from(blank) + length > WIDTH {
            text.push('\n');
            text.push_str(further);
            used = indent;
            blank = false;
        }
        if blank {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += length;
        is_empty = false;
        blank = true;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::wrap;

    fn wrapped(first: &str, further: &str, said: &str) -> String {
        let mut text = String::new();
        wrap(&mut text, first, further, said);
        text
    }

    #[test]
    fn lines_are_broken_between_words_and_long_words_are_kept() {
        let text = "word ".repeat(40);
        let lines = wrapped("  - ", "    ", &text);
        assert!(lines.lines().all(|it| it.len() <= 100), "{lines}");
        assert_eq!(lines.split_whitespace().filter(|it| *it == "word").count(), 40);
        let long = "x".repeat(150);
        assert_eq!(wrapped("", "  ", &format!("a {long} b")), format!("a\n  {long}\n  b\n"));
    }
}
