//! Recoveries as text: a list, and one as a timeline.

use mainstay_api::{Lost, Phases, Recoveries, Recovery, Step};

use super::status::bytes;
use crate::clock::{age, span, utc, utc_seconds};
use crate::look::{Look, Table, Tone, labelled};

const BAR: usize = 40;

/// The newest first.
pub(crate) fn list(found: &Recoveries, look: Look) -> String {
    if found.recoveries.is_empty() {
        return "no recoveries so far\n".to_owned();
    }
    let mut table = Table::new(&["ID", "DETECTED", "COMPONENT", "STATUS", "TOOK", "HOW"]);
    for it in &found.recoveries {
        let took = it.time_to_recover_ns.map(span);
        let open = || if it.ended_ns.is_none() { age(found.now_ns, it.detected_ns) } else { "-".to_owned() };
        table.row(
            [
                (Tone::Strong, it.id.clone()),
                (Tone::Plain, utc_seconds(it.detected_ns)),
                (Tone::Plain, it.component.clone()),
                (tone(&it.status), it.status.clone()),
                (Tone::Plain, took.unwrap_or_else(open)),
                (Tone::Plain, how(it)),
            ],
            String::new(),
        );
    }
    table.render(look, 0)
}

fn how(it: &Recovery) -> String {
    match (&it.strategy, &it.instance, &it.completed, &it.waiting) {
        (Some(strategy), Some(instance), _, _) => format!("{strategy} to {instance}"),
        (_, _, Some(completed), _) => completed.clone(),
        (_, _, None, Some(waiting)) => format!("waits: {}", waiting.reason),
        (_, _, None, None) => it.tried.last().cloned().unwrap_or_else(|| "-".to_owned()),
    }
}

/// One, from the last good answer to its end.
pub(crate) fn timeline(it: &Recovery, look: Look) -> String {
    let start = it.last_good_ns.unwrap_or(it.detected_ns);
    let status = look.paint(tone(&it.status), &it.status);
    let mut out = format!("{}  {}: {status}\n", look.paint(Tone::Strong, &it.id), it.component);
    let mut line = |label: &str, text: &str| out.push_str(&labelled(look, 2, 11, label, text));
    match &it.planned {
        Some(planned) => line("planned", planned),
        None => line("failed", &format!("{} ({})", it.failed, it.scenario)),
    }
    if let Some(stopped) = it.stopped_ns {
        line("no writes", &format!("{} from the cut to the hand-over", span(stopped)));
    }
    if let Some(incident) = &it.incident {
        line("part of", incident);
    }
    if let Some(cause) = &it.rule {
        line("rule", &format!("{}, true since {}", cause.rule, utc(cause.since_ns)));
        for term in &cause.terms {
            line("saw", &format!("{} = {}", term.term, term.value));
        }
    } else if !it.evidence.is_empty() {
        line("because", &it.evidence.join("; "));
    }
    line("last good", &it.last_good_ns.map_or("never seen".to_owned(), utc));
    line("detected", &utc(it.detected_ns));
    if let Some(ended) = it.ended_ns {
        line("ended", &utc(ended));
    }
    if let Some(took) = it.time_to_recover_ns {
        line("took", &format!("{} from the last good answer", span(took)));
    }
    if let Some(rto) = it.rto_ns {
        line("budget", &budget(rto, it.spent_ns, it.ended_ns.is_some()));
    }
    if !it.approved_by.is_empty() {
        line("approved", &format!("by {}", it.approved_by.join(", ")));
    }
    if let Some(paused) = &it.paused {
        line("paused", &format!("before its next step {paused}; `mainstay resume {}` ends it", it.id));
    }
    if !it.plan.is_empty() {
        line("plan", it.plan.get(..12).unwrap_or(&it.plan));
    }
    if it.strategy.is_some() || it.completed.is_some() {
        line("how", &how(it));
    }
    for fence in &it.fences {
        let after = span(fence.confirmed_ns.saturating_sub(start));
        line("fenced", &format!("{} after {after}, confirmed by {}", fence.instance, fence.by));
    }
    match (&it.lost, it.lost_at_most_ns) {
        (Some(lost), most) => {
            line("lost", &counted(lost));
            if let Some(most) = most {
                line("said before", &format!("what was written within {} at most", span(most)));
            }
        }
        (None, Some(0)) => line("lost", "nothing that was acknowledged"),
        (None, Some(most)) => line("lost", &format!("what was written within {} at most", span(most))),
        (None, None) => {}
    }
    for tried in &it.tried {
        line("tried", tried);
    }
    if let Some(waiting) = &it.waiting {
        line("waits", &format!("since {}: {}", utc(waiting.since_ns), waiting.reason));
        line("until", &waiting.ends_when);
        line("to overrule", &waiting.way_out);
    }
    if it.time_to_recover_ns.is_some() {
        out.push('\n');
        out.push_str(&bars(&it.phases, look));
    }
    if !it.steps.is_empty() {
        out.push('\n');
        out.push_str(&steps(&it.steps, start, look));
    }
    out
}

/// What the old owner had alone, counted when it became a standby.
fn counted(lost: &Lost) -> String {
    let mut text = match lost.transactions {
        0 => "no transaction".to_owned(),
        1 => format!("1 transaction, {} of log", bytes(lost.bytes)),
        many => format!("{many} transactions, {} of log", bytes(lost.bytes)),
    };
    if let (Some(first), Some(last)) = (lost.first_ns, lost.last_ns) {
        text.push_str(&format!("; committed from {} to {}", utc_seconds(first), utc_seconds(last)));
    }
    if let Some(place) = &lost.kept_at {
        text.push_str(&format!("; kept in {place} on its machine"));
    }
    text
}

/// How much of the objective is spent, and how much is left.
fn budget(rto: u64, spent: u64, over: bool) -> String {
    let (rest, word) = if spent <= rto { (rto - spent, "left") } else { (spent - rto, "over") };
    let tense = if over { "were" } else { "are" };
    format!("{} of {} {tense} spent, {} {word}", span(spent), span(rto), span(rest))
}

/// Each phase where it lies within the whole; a phase too short to be seen is a dot.
fn bars(phases: &Phases, look: Look) -> String {
    let parts = [
        ("detect", phases.detect_ns),
        ("decide", phases.decide_ns),
        ("fence", phases.fence_ns),
        ("act", phases.act_ns),
        ("converge", phases.converge_ns),
    ];
    let whole: u64 = parts.iter().fold(0, |sum, it| sum.saturating_add(it.1));
    let column = |ns: u64| {
        let at = u128::from(ns) * (BAR as u128) / u128::from(whole.max(1));
        usize::try_from(at).unwrap_or(BAR).min(BAR)
    };
    let mut out = String::new();
    let mut before = 0_u64;
    for (name, ns) in parts {
        let (from, to) = (column(before), column(before.saturating_add(ns)));
        let bar = match to - from {
            0 if ns == 0 => String::new(),
            0 => ".".to_owned(),
            width => "#".repeat(width),
        };
        let bar = format!("{:from$}{bar}", "");
        let line = format!("  {name:<10}{:>9}  |{bar:<width$}|", span(ns), width = BAR + 1);
        out.push_str(&look.paint(if ns == 0 { Tone::Dim } else { Tone::Plain }, &line));
        out.push('\n');
        before = before.saturating_add(ns);
    }
    out
}

fn steps(steps: &[Step], start: u64, look: Look) -> String {
    let mut table = Table::new(&["AFTER", "PLANE", "OUTCOME", "TOOK", "STEP"]);
    for step in steps {
        let outcome = step.outcome.clone().unwrap_or_else(|| "running".to_owned());
        let again = if step.attempt > 1 { format!(" (attempt {})", step.attempt) } else { String::new() };
        let place = step.address.map(|it| format!(", now at {it}")).unwrap_or_default();
        let tone = match outcome.as_str() {
            "done" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Warn,
        };
        table.row(
            [
                (Tone::Plain, format!("+{}", span(step.started_ns.saturating_sub(start)))),
                (Tone::Plain, step.plane.clone().unwrap_or_else(|| "-".to_owned())),
                (tone, outcome),
                (Tone::Plain, step.ended_ns.map_or("-".to_owned(), |at| span(at.saturating_sub(step.started_ns)))),
                (Tone::Plain, format!("{}{again}{place}", step.name)),
            ],
            step.why.as_ref().map(|why| labelled(look, 4, 4, "why", why)).unwrap_or_default(),
        );
    }
    table.render(look, 2)
}

fn tone(status: &str) -> Tone {
    match status {
        "recovery_completed" => Tone::Good,
        "recovery_failed" => Tone::Bad,
        _ => Tone::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::golden;
    use crate::samples;

    #[test]
    fn a_recovery_is_a_timeline() {
        golden("recovery.txt", &timeline(&samples::recovery(), Look::PLAIN));
    }

    #[test]
    fn the_list_says_how_each_ended() {
        let failed = Recovery {
            id: "r7".to_owned(),
            status: "recovery_failed".to_owned(),
            completed: None,
            strategy: None,
            instance: None,
            time_to_recover_ns: None,
            ..samples::recovery()
        };
        let found = Recoveries { now_ns: samples::NOW, recoveries: vec![samples::recovery(), failed] };
        let text = list(&found, Look::PLAIN);
        golden("recoveries.txt", &text);
        assert!(text.lines().all(|it| it.chars().count() <= 80), "{text}");
        assert_eq!(list(&Recoveries { now_ns: 0, recoveries: Vec::new() }, Look::PLAIN), "no recoveries so far\n");
    }

    #[test]
    fn phases_of_any_size_stay_within_the_picture() {
        let phases = Phases { detect_ns: u64::MAX, decide_ns: u64::MAX, fence_ns: 1, act_ns: 0, converge_ns: 7 };
        for line in bars(&phases, Look::PLAIN).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(!bars(&Phases::default(), Look::PLAIN).contains('#'));
    }
}
