//! The proof of a large plan on one page: how many components survive what, the slowest of them, and why the others don't.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use super::reasons::Reason;
use super::text::{columns, wrap};
use super::{Condition, Proof};
use crate::ComponentIx;
use crate::config::scalar::show_duration;
use crate::location::FailureDomain;
use crate::strategy::Strategy::FailoverToStandby;

/// How many reasons are told.
const REASONS: usize = 12;

/// How the components fare when one failure meets one condition.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    proved: usize,
    unproved: usize,
    over: usize,
    slowest: Option<(Duration, ComponentIx)>,
}

pub(super) fn summary(proof: &Proof<'_>) -> String {
    let mut rows =
        vec![["failure", "without", "survived", "not", "over rto", "worst case", "slowest"].map(str::to_owned)];
    for failure in FailureDomain::ALL {
        let plain = count(proof, failure, Condition::None);
        rows.push(row(proof, failure, Condition::None, &plain));
        let others = Condition::ALL.into_iter().filter(|it| *it != Condition::None);
        rows.extend(others.filter_map(|condition| {
            let found = count(proof, failure, condition);
            (found != plain).then(|| row(proof, failure, condition, &found))
        }));
    }
    let mut text = String::new();
    columns(&rows, &mut text);
    let reasons = reasons(proof);
    if !reasons.is_empty() {
        text.push_str("\n  not survived, because\n");
    }
    for (why, (times, example)) in reasons.iter().take(REASONS) {
        let name = &proof.plan.component(*example).name;
        let more = if *times == 1 { "" } else { " and others" };
        wrap(&mut text, &format!("  {times:>7}  "), "           ", &format!("{why} ({name}{more})"));
    }
    if reasons.len() > REASONS {
        text.push_str(&format!("           and {} other reasons\n", reasons.len() - REASONS));
    }
    text
}

fn count(proof: &Proof<'_>, failure: FailureDomain, condition: Condition) -> Count {
    let mut count = Count::default();
    for ix in (0u32..).map(ComponentIx).take(proof.components.len()) {
        let Some(cell) = proof.cell(ix, failure, condition) else { continue };
        let Ok(recovery) = cell.verdict else {
            count.unproved += 1;
            continue;
        };
        let worst = recovery.worst().total();
        let objectives = &proof.plan.component(ix).objectives;
        count.proved += 1;
        count.over += usize::from(objectives.rto_for(failure).is_some_and(|rto| worst > rto));
        if count.slowest.is_none_or(|(most, _)| worst > most) {
            count.slowest = Some((worst, ix));
        }
    }
    count
}

fn row(proof: &Proof<'_>, failure: FailureDomain, condition: Condition, count: &Count) -> [String; 7] {
    let number = |it: usize| if it == 0 { "-".to_owned() } else { it.to_string() };
    let (worst, slowest) = match count.slowest {
        Some((worst, ix)) => (show_duration(worst), proof.plan.component(ix).name.clone()),
        None => ("-".to_owned(), String::new()),
    };
    let words = [failure.word().to_owned(), condition.missing().to_owned()];
    let [failure, condition] = words;
    [failure, condition, number(count.proved), number(count.unproved), number(count.over), worst, slowest]
}

/// Why components don't survive a failure that nothing else meets: the commonest kind of reason first, each as the first
/// component says it. Of a component only its nearest reason is told.
fn reasons(proof: &Proof<'_>) -> Vec<(String, (usize, ComponentIx))> {
    let mut kinds: Vec<(FailureDomain, Option<Discriminant<Reason>>)> = Vec::new();
    let mut found: Vec<(String, (usize, ComponentIx))> = Vec::new();
    for ix in (0u32..).map(ComponentIx).take(proof.components.len()) {
        for failure in FailureDomain::ALL {
            let Some(cell) = proof.cell(ix, failure, Condition::None) else { continue };
            let Err(none) = cell.verdict else { continue };
            // A standby that is there already needs the least to be of use.
            let ladder = &proof.plan.component(ix).ladder;
            let takes_over = |rung: usize| ladder.get(rung).is_some_and(|it| it.strategy == FailoverToStandby);
            let nearest = none.because.iter().position(|it| it.rung.is_some_and(takes_over)).unwrap_or_default();
            let kind = (failure, none.because.get(nearest).map(|it| discriminant(&it.why)));
            if let Some(at) = kinds.iter().position(|it| *it == kind) {
                found[at].1.0 += 1;
                continue;
            }
            let why = match none.because.get(nearest) {
                Some(why) => why.said(proof.plan).to_string(),
                None => "what it depends on is not recovered".to_owned(),
            };
            kinds.push(kind);
            found.push((format!("{}: {why}", failure.word()), (1, ix)));
        }
    }
    found.sort_by_key(|(_, (times, _))| std::cmp::Reverse(*times));
    found
}
