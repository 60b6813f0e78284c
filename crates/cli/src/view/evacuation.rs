//! Evacuations as text: how far one is, and what one would do.

use mainstay_api::{Evacuation, Foreseen, Leaving, Staying};

use crate::clock::{age, utc_seconds};
use crate::look::{Look, Table, Tone, labelled};

/// One line for the head of the status: whose it is, and how far.
pub(crate) fn line(it: &Evacuation, now: u64) -> String {
    let count = |is: &str| it.components.iter().filter(|of| of.is == is).count();
    let parts = [(count("gone"), "gone"), (count("moves"), "under way"), (count("stays"), "still there")];
    let parts: Vec<String> =
        parts.iter().filter(|it| it.0 > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let far = if parts.is_empty() { "nobody lived there".to_owned() } else { parts.join(", ") };
    let way = if it.graceful { "" } else { ", waiting for nothing" };
    let (ago, until) = (age(now, it.since_ns), utc_seconds(it.until_ns));
    format!("{} until {until} by {}, {ago} ago{way}: {}; {far}; `{}` ends it", it.place, it.by, it.reason, it.way_out)
}

/// Each component of it, in the order in which they go.
pub(crate) fn table(it: &Evacuation, now: u64, look: Look) -> String {
    let title = format!("LEAVES {}", it.place);
    let mut table = Table::new(&[&title, "FROM", "TO", "IS"]);
    for of in &it.components {
        let tone = match of.is.as_str() {
            "gone" => Tone::Good,
            "moves" => Tone::Plain,
            _ => Tone::Warn,
        };
        let by = of.recovery.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
        table.row(
            [
                (Tone::Strong, of.component.clone()),
                (Tone::Plain, of.from.clone()),
                (Tone::Plain, of.to.clone().unwrap_or_else(|| "-".to_owned())),
                (tone, format!("{}{by}", of.is)),
            ],
            of.why.as_ref().map(|it| why(it, now, look)).unwrap_or_default(),
        );
    }
    let mut out = table.render(look, 0);
    for name in &it.kept_out {
        out.push_str(&labelled(look, 2, 11, "stays away", &format!("{name}, which would go back by itself")));
    }
    out
}

fn why(it: &Staying, now: u64, look: Look) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| out.push_str(&labelled(look, 2, 11, label, text));
    let since = it.since_ns.map(|at| format!(" for {}", age(now, at))).unwrap_or_default();
    line("because", &format!("{} ({}{since})", it.reason, it.code));
    let by = it.until_ns.map(|at| format!(", by {}", utc_seconds(at))).unwrap_or_default();
    line("until", &format!("{}{by}", it.ends_when));
    line("to go on", &it.way_out);
    out
}

/// What it would do.
pub(crate) fn foreseen(it: &Foreseen, look: Look) -> String {
    let way = if it.graceful { "each waits until who takes over is in step" } else { "waiting for nothing" };
    let until = utc_seconds(it.until_ns);
    let mut out = format!("{} would be evacuated until {until}, {way}\n\n", look.paint(Tone::Strong, &it.place));
    if it.components.is_empty() {
        out.push_str("no component is active there\n");
    } else {
        let mut table = Table::new(&["", "COMPONENT", "FROM", "TO"]);
        for (nth, of) in it.components.iter().enumerate() {
            table.row(foreseen_row(nth, of), String::new());
        }
        out.push_str(&table.render(look, 0));
    }
    if !it.targets.is_empty() {
        out.push('\n');
        let mut table = Table::new(&["ROUTE", "TARGET", "WOULD"]);
        for of in &it.targets {
            let would = match &of.stays {
                None => (Tone::Plain, "leave".to_owned()),
                Some(why) => (Tone::Warn, format!("stay: {why}")),
            };
            table.row([(Tone::Strong, of.route.clone()), (Tone::Plain, of.instance.clone()), would], String::new());
        }
        out.push_str(&table.render(look, 0));
    }
    out
}

fn foreseen_row(nth: usize, of: &Leaving) -> [(Tone, String); 4] {
    let to = match (&of.to, &of.why) {
        (Some(to), _) => (Tone::Plain, to.clone()),
        (None, Some(why)) => (Tone::Warn, format!("stays: {}", why.reason)),
        (None, None) => (Tone::Warn, "stays".to_owned()),
    };
    [(Tone::Plain, (nth + 1).to_string()), (Tone::Strong, of.component.clone()), (Tone::Plain, of.from.clone()), to]
}
