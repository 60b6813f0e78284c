//! The assessment as plain text: first what a manager reads, then the details.

use std::time::Duration;

use super::readiness::{Answer, Group};
use super::strategy::{DrStrategy, Strategies, TABLE, Verdict, Weakest};
use super::{Assessment, Target};
use crate::config::scalar::show_duration;
use crate::location::FailureDomain;
use crate::policy::Mode;

/// In characters.
const WIDTH: usize = 100;
/// A name that is longer stands on a line of its own.
const NAME: usize = 24;
/// Names and reasons beyond these are counted, not listed; JSON has them all.
const LISTED: usize = 6;

pub(super) fn assessment(it: &Assessment) -> String {
    let mut out = format!("{}: what its plan is worth in a disaster\n\n", it.site);
    for (label, text) in summary(it) {
        labelled(&mut out, 2, 13, label, &text);
    }
    strategies(&mut out, &it.strategies);
    availability(&mut out, it);
    readiness(&mut out, it);
    if let Some(lines) = &it.hosts {
        out.push_str("\nHosts\n\n");
        for line in lines {
            question(&mut out, "  ", line.asks, line.answer, &line.evidence, line.change);
        }
    }
    out.push_str("\nAssumptions\n\n");
    wrapped(&mut out, "  ", "  ", &format!("{}.", it.availability.assumptions));
    out
}

/// The few lines that say it all, each with its label.
pub(super) fn summary(it: &Assessment) -> Vec<(&'static str, String)> {
    let readiness = &it.readiness;
    let mut lines = vec![
        ("a lost zone", weakest(&it.strategies.zone)),
        ("a lost region", weakest(&it.strategies.region)),
        ("availability", promised(it)),
    ];
    for target in &it.availability.targets {
        if let Some(text) = contradiction(target) {
            lines.push(("", format!("{}: {text}", target.component)));
        }
    }
    let answers = format!("{} yes, {} no, {} not known", readiness.yes, readiness.no, readiness.not_known);
    lines.push(("readiness", format!("{answers}, of {} questions", readiness.lines.len())));
    lines.push(("clients need", listed(&it.clients_need)));
    match it.mode {
        Mode::Act => {}
        Mode::Recommend => lines.push(("but", "`mode: recommend`: each recovery waits for a person".to_owned())),
        Mode::Observe => {
            lines.push(("but", "`mode: observe`: nothing is recovered until the plan says `act`".to_owned()))
        }
    }
    lines
}

fn weakest(it: &Weakest) -> String {
    let has = match it.has {
        DrStrategy::None => "nothing that is proved".to_owned(),
        DrStrategy::BackupAndRestore
        | DrStrategy::PilotLight
        | DrStrategy::WarmStandby
        | DrStrategy::MultiSiteActiveActive => strategy(it.has),
    };
    let mut text = format!("{has}: {}", it.verdict.word());
    if it.verdict != Verdict::Enough {
        text.push_str(&format!(" ({})", listed(&it.components)));
    }
    if let Some(worst) = it.worst {
        text.push_str(&format!("; each of its components is back within {}", show_duration(worst)));
    }
    if let (Verdict::TooLittle, Some(needs)) = (it.verdict, it.needs) {
        text.push_str(&format!("; the objectives usually need {}", strategy(needs)));
    }
    text
}

/// With its cost.
pub(super) fn strategy(it: DrStrategy) -> String {
    match it {
        DrStrategy::None => it.word().to_owned(),
        DrStrategy::BackupAndRestore
        | DrStrategy::PilotLight
        | DrStrategy::WarmStandby
        | DrStrategy::MultiSiteActiveActive => format!("{} {}", it.word(), it.cost()),
    }
}

fn promised(it: &Assessment) -> String {
    let Some(sum) = &it.availability.workload else {
        return "no target is stated for what clients need, so nothing is promised".to_owned();
    };
    let without = &it.availability.without_target;
    let at_most = if without.is_empty() { "" } else { "at most " };
    let mut text = format!("{at_most}{}, {} down a year", percent_up(sum.unavailability), about(sum.down_a_year));
    if !without.is_empty() {
        text.push_str(&format!("; no target is stated for {}", listed(without)));
    }
    text
}

/// A target that its dependencies don't let it meet, in a sentence.
pub(super) fn contradiction(target: &Target) -> Option<String> {
    let below = target.dependencies.as_ref()?;
    let of: Vec<String> = below.of.iter().map(|(name, ppm)| format!("{name} {}", percent(*ppm))).collect();
    let target = percent(target.availability_ppm);
    if below.contradiction {
        let sum = percent_up(below.unavailability);
        Some(format!("{target} contradicts what it depends on, which gives {sum} at best ({})", listed(&of)))
    } else if !of.is_empty() && below.left_a_year.is_zero() && below.unavailability > 0.0 {
        Some(format!("{target} leaves nothing for its own failures beside what it depends on ({})", listed(&of)))
    } else {
        None
    }
}

fn strategies(out: &mut String, it: &Strategies) {
    out.push_str("\nStrategy, by component\n");
    for component in &it.components {
        out.push_str(&format!("\n  {}{}\n", component.component, objectives(component.rto, component.rpo)));
        for judged in [&component.zone, &component.region] {
            let head = format!("{}: {}", strategy(judged.has), judged.verdict.word());
            labelled(out, 4, 6, judged.lost.word(), &head);
            for because in &judged.because {
                wrapped(out, "            - ", "              ", because);
            }
            if let Some(change) = &judged.change {
                wrapped(out, "            first change: ", "              ", change);
            }
        }
    }
    out.push_str("\n  What objectives usually need: the cheapest strategy whose times are not over theirs\n\n");
    out.push_str("  strategy                  rto from  rpo from  cost  in the usual words\n");
    for row in TABLE {
        let from = |it: Duration| if it.is_zero() { "0s".to_owned() } else { show_duration(it) };
        let line = format!(
            "  {:24}  {:8}  {:8}  {:4}  rto {}, rpo {}",
            row.strategy.word(),
            from(row.rto_from),
            from(row.rpo_from),
            row.strategy.cost(),
            row.rto_words,
            row.rpo_words
        );
        out.push_str(&line);
        out.push('\n');
    }
    wrapped(out, "  ", "  ", "The words are those of the usual comparison of strategies, the limits our choice.");
}

pub(super) fn objectives(rto: Option<Duration>, rpo: Option<Duration>) -> String {
    let rto = rto.map(|it| format!("rto {}", show_duration(it)));
    let rpo = rpo.map(|it| format!("rpo {}", show_duration(it)));
    let stated: Vec<String> = rto.into_iter().chain(rpo).collect();
    if stated.is_empty() { " (no rto, no rpo)".to_owned() } else { format!(" ({})", stated.join(", ")) }
}

pub(super) const COLUMNS: [&str; 7] =
    ["component", "target", "down a year", "a month", "a week", "failures", "budget share"];

fn availability(out: &mut String, it: &Assessment) {
    out.push_str("\nAvailability\n\n");
    if it.availability.targets.is_empty() {
        let text =
            "No component states a target. `objectives: { availability: 99.95 }` states one: 4h22m48s down a year.";
        wrapped(out, "  ", "  ", text);
        return;
    }
    let rows: Vec<[String; 7]> = it.availability.targets.iter().map(row).collect();
    let width = |at: usize| {
        let cells = rows.iter().map(|it| it[at].chars().count()).filter(|it| at > 0 || *it <= NAME);
        cells.chain([COLUMNS[at].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    for cells in std::iter::once(&COLUMNS.map(str::to_owned)).chain(&rows) {
        let mut line = String::from("  ");
        for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            line.push_str(&format!("{cell:width$}  ", width = *width));
            if at == 0 && cell.chars().count() > *width {
                line.push_str(&format!("\n  {:width$}  ", "", width = *width));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push('\n');
    wrapped(out, "  ", "  ", "Failures: how many a year of the worst proved length fit into what may be down.");
    for target in &it.availability.targets {
        for note in notes(target) {
            wrapped(out, "  - ", "    ", &format!("{}: {note}", target.component));
        }
    }
    if let Some(sum) = &it.availability.workload {
        let text = format!("all that clients need: {} in a row, {}", counted(sum.targets), promised(it));
        wrapped(out, "  - ", "    ", &text);
    }
}

fn counted(targets: usize) -> String {
    format!("{targets} target{}", if targets == 1 { "" } else { "s" })
}

/// One component in the columns of [`COLUMNS`].
pub(super) fn row(it: &Target) -> [String; 7] {
    [
        it.component.clone(),
        percent(it.availability_ppm),
        exact(it.allowed.year),
        exact(it.allowed.month),
        exact(it.allowed.week),
        it.failures.map_or_else(|| "-".to_owned(), |it| it.fit_a_year.to_string()),
        it.share_of_budget.map_or_else(|| "-".to_owned(), |it| format!("{:.1} %", it * 100.0)),
    ]
}

/// What the row does not say.
pub(super) fn notes(it: &Target) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(failures) = &it.failures {
        let (worst, lost) = (show_duration(failures.worst), failures.failure.word());
        notes.push(if failures.fit_a_year == 0 {
            format!("one lost {lost} may take {worst}, which is more than a year allows")
        } else {
            format!("the worst proved length is {worst}, for a lost {lost}")
        });
    }
    if !it.until_a_person_acts.is_empty() {
        let lost: Vec<String> = it.until_a_person_acts.iter().map(|it: &FailureDomain| it.word().to_owned()).collect();
        notes.push(format!("no bound is proved for a lost {}: that lasts until a person acts", lost.join(" or ")));
    }
    if let Some(below) = &it.dependencies {
        match contradiction(it) {
            Some(text) => notes.push(text),
            None if !below.of.is_empty() => notes.push(format!(
                "beside what it depends on, {} a year are left for its own failures",
                about(below.left_a_year)
            )),
            None => {}
        }
        if !below.without_target.is_empty() {
            let what = listed(&below.without_target);
            notes.push(format!("it depends on {what} without a target: whether its own can be met is not known"));
        }
    }
    if let Some(copies) = &it.copies {
        notes.push(format!(
            "{} of {} instances that share nothing must be up: each alone would have to reach {}, if switching took no time",
            copies.needed,
            copies.of,
            percent_up(copies.unavailability_each)
        ));
    }
    notes
}

fn readiness(out: &mut String, it: &Assessment) {
    out.push_str("\nReadiness checklist\n");
    for group in Group::ALL {
        out.push_str(&format!("\n  {}\n", group.title()));
        for line in it.readiness.lines.iter().filter(|it| it.group == group) {
            question(out, "    ", line.asks, line.answer, &line.evidence, line.change);
        }
    }
}

fn question(out: &mut String, indent: &str, asks: &str, answer: Answer, of: &[String], change: Option<&str>) {
    let mark = match answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::NotKnown => "?",
    };
    out.push_str(&format!("{indent}{mark:3}  {asks}\n"));
    let under = format!("{indent}     ");
    wrapped(out, &under, &under, &evidence(answer, of));
    if let Some(change) = change {
        wrapped(out, &format!("{under}to change: "), &format!("{under}  "), change);
    }
}

/// The evidence in one sentence.
pub(super) fn evidence(answer: Answer, of: &[String]) -> String {
    let evidence = shortened(of, "; ");
    match answer {
        Answer::Yes | Answer::No => evidence,
        Answer::NotKnown => format!("not known, because {evidence}"),
    }
}

/// Names, as many as can be read.
pub(super) fn listed(names: &[String]) -> String {
    shortened(names, ", ")
}

fn shortened(items: &[String], between: &str) -> String {
    let mut text = items.iter().take(LISTED).cloned().collect::<Vec<_>>().join(between);
    if items.len() > LISTED {
        text.push_str(&format!("{between}and {} more", items.len() - LISTED));
    }
    text
}

/// Parts per million as a percentage, exactly.
pub(crate) fn percent(ppm: u32) -> String {
    let digits = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// What is left beside an unavailability, to six digits behind the point: a third of a second a year.
pub(super) fn percent_up(down: f64) -> String {
    let digits = format!("{:.6}", (1.0 - down) * 100.0);
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// All of it: an allowance is not rounded.
pub(super) fn exact(duration: Duration) -> String {
    let micros = duration.as_micros() % 1000;
    let whole = Duration::from_micros(u64::try_from(duration.as_micros() - micros).unwrap_or(u64::MAX));
    match (whole.is_zero(), micros) {
        (_, 0) => show_duration(whole),
        (true, _) => format!("{micros}us"),
        (false, _) => format!("{}{micros}us", show_duration(whole)),
    }
}

/// To the nearest second, for what was computed from several numbers; to the nearest millisecond below a minute.
pub(super) fn about(duration: Duration) -> String {
    let step: u64 = if duration >= Duration::from_mins(1) { 1_000_000 } else { 1000 };
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    show_duration(Duration::from_micros((micros.saturating_add(step / 2)) / step * step))
}

fn labelled(out: &mut String, indent: usize, column: usize, label: &str, text: &str) {
    let first = format!("{:indent$}{label:column$}  ", "");
    let left = " ".repeat(indent + column + 2);
    wrapped(out, &first, &left, text);
}

/// Words on lines of at most [`WIDTH`]; a longer word stays whole. Control characters, which names of the owner's own may
/// hold, are blanks.
fn wrapped(out: &mut String, first: &str, left: &str, text: &str) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split(|it: char| it == ' ' || it.is_control()).filter(|it| !it.is_empty()) {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            left.clone_into(&mut line);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_shown_exactly() {
        for (ppm, text) in [(999_500, "99.95 %"), (990_000, "99 %"), (1_000_000, "100 %"), (999_999, "99.9999 %")] {
            assert_eq!(percent(ppm), text);
            assert_eq!(percent_up(1.0 - f64::from(ppm) / 1e6), text);
        }
        assert_eq!(percent_up(0.000_599_95), "99.940005 %");
    }

    #[test]
    fn allowances_are_shown_to_the_microsecond() {
        for (micros, text) in [
            (15_768_000_000, "4h22m48s"),
            (315_360_000, "5m15s360ms"),
            (604_800, "604ms800us"),
            (800, "800us"),
            (0, "0s"),
        ] {
            assert_eq!(exact(Duration::from_micros(micros)), text);
        }
        assert_eq!(about(Duration::from_micros(15_768_499_999)), "4h22m48s");
        assert_eq!(about(Duration::from_micros(1_499)), "1ms");
    }

    #[test]
    fn lines_end_before_the_screen_does() {
        let mut out = String::new();
        wrapped(&mut out, "  - ", "    ", &format!("{}\u{1b}[2J", "word ".repeat(60)));
        assert!(out.lines().count() > 3 && out.lines().all(|it| it.len() <= WIDTH), "{out}");
        assert!(!out.contains('\u{1b}'), "{out}");
    }
}
