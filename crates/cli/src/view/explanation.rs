//! Why a decision was taken, as text.

use mainstay_engine::explain::{Answer, Explanation, Verdict};

use crate::clock::utc;
use crate::look::{Look, Tone, clean, labelled};

/// One page.
pub(crate) fn page(it: &Explanation, look: Look) -> String {
    let what = if it.is_decision { "decided" } else { "a fact from outside" };
    let name = look.paint(Tone::Strong, &format!("record {}", it.seq));
    let mut out = format!("{name}  {}  {} ({what})\n  {}\n", utc(it.at_ns), it.kind, clean(&it.says));
    if !it.is_decision {
        out.push_str("\nFacts have no reasons of ours. ");
        out.push_str(&match it.related.as_slice() {
            [] => "Nothing was decided because of it.\n".to_owned(),
            followed => format!("What was decided then: {}\n", numbers(followed)),
        });
        return out;
    }
    let mut section = |title: &str, lines: Vec<(String, String)>| {
        if lines.is_empty() {
            return;
        }
        let column = lines.iter().map(|it| it.0.chars().count()).max().unwrap_or(0).min(28);
        out.push_str(&format!("\n{title}\n"));
        for (label, text) in lines {
            out.push_str(&labelled(look, 2, column, &label, &clean(&text)));
        }
    };
    let led = it.led_to_it.iter().map(|it| (it.seq.to_string(), it.says.clone())).collect::<Vec<_>>();
    let led = if led.is_empty() {
        vec![("-".to_owned(), "no new fact: it follows from the decision before, or from the time".to_owned())]
    } else {
        led
    };
    section("What led to it", led);
    section("What was known", it.known.iter().map(|it| (it.about.clone(), it.says.clone())).collect());
    let guard = |it: &mainstay_engine::explain::Asked| {
        let answer = match it.answer {
            Answer::Passed => "nothing against it".to_owned(),
            Answer::Overruled => "overruled by a person".to_owned(),
            Answer::Objected => "HOLDS IT BACK".to_owned(),
            Answer::NotAsked => "not asked: one before it objects".to_owned(),
        };
        (it.guard.to_owned(), it.why.iter().fold(answer, |text, why| format!("{text}: {why}")))
    };
    section("Guards, in the order in which they are asked", it.guards.iter().map(guard).collect());
    let rung = |it: &mainstay_engine::explain::Weighed| {
        let to = it.to.iter().fold(it.strategy.to_owned(), |text, to| format!("{text} to {to}"));
        let verdict = match it.verdict {
            Verdict::Chosen => "chosen",
            Verdict::PassedOver => "passed over",
            Verdict::Possible => "possible; one before it was chosen",
            Verdict::Over => "had its turn before",
        };
        let why = it.why.as_ref().filter(|_| it.verdict == Verdict::PassedOver);
        (format!("{} {to}", it.rung), why.iter().fold(verdict.to_owned(), |text, why| format!("{text}: {why}")))
    };
    section("The ladder", it.rungs.iter().map(rung).collect());
    let change = |it: &mainstay_engine::explain::Change| {
        let word = |state| mainstay_engine::sentence::target_word(state);
        (it.route.clone(), format!("{}: {} -> {}", it.instance, word(it.from), word(it.to)))
    };
    section("What it changes for clients", it.routes.iter().map(change).collect());
    let again = match &it.again.instead {
        None => "This version decides the same.".to_owned(),
        Some(instead) => format!("This version decides something else: {}", clean(instead)),
    };
    out.push_str(&format!("\n{again}\n"));
    if let Some(recovery) = &it.recovery {
        out.push_str(&format!("Other decisions of {recovery}: {}\n", numbers(&it.related)));
    }
    out
}

fn numbers(all: &[u64]) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    all.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
