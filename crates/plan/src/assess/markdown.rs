//! The assessment as Markdown, to stand in a runbook: the summary, a table of strategies, a table of targets, the checklist.
//!
//! `- [x]` is yes and `- [ ]` no, as in any checklist; `- [?]` is what the plan can't answer, so that nobody takes it for
//! either.

use super::Assessment;
use super::readiness::{Answer, Group};
use super::text::{COLUMNS, evidence, notes, objectives, row, strategy, summary};

pub(super) fn assessment(it: &Assessment) -> String {
    let mut out = format!("# {}: what its plan is worth in a disaster\n\n", it.site);
    for (label, text) in summary(it) {
        out.push_str(&match label {
            "" => format!("  - {}\n", line(&text)),
            label => format!("- **{label}**: {}\n", line(&text)),
        });
    }
    strategies(&mut out, it);
    availability(&mut out, it);
    readiness(&mut out, it);
    if let Some(lines) = &it.hosts {
        out.push_str("\n## Hosts\n\n");
        for one in lines {
            question(&mut out, one.asks, one.answer, &one.evidence, one.change);
        }
    }
    out.push_str(&format!("\nAssumptions: {}.\n", line(it.availability.assumptions)));
    out
}

fn strategies(out: &mut String, it: &Assessment) {
    out.push_str("\n## Strategy, by component\n\n");
    out.push_str("| component | lost | has | usually needed | verdict |\n|---|---|---|---|---|\n");
    for component in &it.strategies.components {
        for judged in [&component.zone, &component.region] {
            let needs = judged.needs.map_or_else(|| "-".to_owned(), strategy);
            out.push_str(&format!(
                "| {} | {} | {} | {needs} | {} |\n",
                cell(&component.component),
                judged.lost.word(),
                strategy(judged.has),
                judged.verdict.word()
            ));
        }
    }
    for component in &it.strategies.components {
        let name = &component.component;
        out.push_str(&format!("\n**{}**{}\n\n", line(name), objectives(component.rto, component.rpo)));
        for judged in [&component.zone, &component.region] {
            for because in &judged.because {
                out.push_str(&format!("- {}: {}\n", judged.lost.word(), line(because)));
            }
            if let Some(change) = &judged.change {
                out.push_str(&format!("- {}, first change: {}\n", judged.lost.word(), line(change)));
            }
        }
    }
}

fn availability(out: &mut String, it: &Assessment) {
    out.push_str("\n## Availability\n\n");
    if it.availability.targets.is_empty() {
        out.push_str("No component states a target.\n");
        return;
    }
    out.push_str(&format!("| {} |\n|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len())));
    for target in &it.availability.targets {
        out.push_str(&format!("| {} |\n", row(target).map(|it| cell(&it)).join(" | ")));
    }
    out.push_str("\nFailures: how many a year of the worst proved length fit into what may be down.\n\n");
    for target in &it.availability.targets {
        for note in notes(target) {
            out.push_str(&format!("- {}: {}\n", line(&target.component), line(&note)));
        }
    }
}

fn readiness(out: &mut String, it: &Assessment) {
    out.push_str("\n## Readiness checklist\n\n`[x]` yes, `[ ]` no, `[?]` not known from the plan\n");
    for group in Group::ALL {
        out.push_str(&format!("\n### {}\n\n", group.title()));
        for one in it.readiness.lines.iter().filter(|it| it.group == group) {
            question(out, one.asks, one.answer, &one.evidence, one.change);
        }
    }
}

fn question(out: &mut String, asks: &str, answer: Answer, of: &[String], change: Option<&str>) {
    let mark = match answer {
        Answer::Yes => "[x]",
        Answer::No => "[ ]",
        Answer::NotKnown => "[?]",
    };
    out.push_str(&format!("- {mark} {asks}: {}\n", line(&evidence(answer, of))));
    if let Some(change) = change {
        out.push_str(&format!("  - to change: {}\n", line(change)));
    }
}

/// One line, in which nothing of the owner's becomes HTML.
fn line(text: &str) -> String {
    let one_line: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    one_line.replace('&', "&amp;").replace('<', "&lt;")
}

/// The same within a table.
fn cell(text: &str) -> String {
    line(text).replace('|', "\\|")
}
