//! What would be done, as text for whoever is on call.

use mainstay_plan::walkthrough::{Binding, ComponentWalk, MoveWalk, RepairWalk, RungWalk, StepWalk, Walkthrough};

use crate::look::{Look, Tone, clean, labelled, wrap};

/// Wide enough for most commands on one line, narrow enough for a runbook.
const WIDTH: usize = 100;
const LABEL: usize = 11;

/// All of it.
pub(crate) fn text(walk: &Walkthrough, look: Look) -> String {
    let width = if look.height.is_some() { look.width.min(WIDTH) } else { WIDTH };
    let look = Look { width, ..look };
    let mut out = format!("{}: what Mainstay would do, mode {}\n", strong(look, &walk.site), walk.mode);
    out.push_str(&format!("plan {}\n", walk.plan));
    for it in &walk.components {
        out.push('\n');
        out.push_str(&component(it, look));
    }
    out.push_str(&format!("\n{}\n", strong(look, "In every recovery")));
    for it in &walk.always {
        out.push_str(&item(look, 2, it));
    }
    out
}

fn strong(look: Look, text: &str) -> String {
    look.paint(Tone::Strong, &clean(text))
}

/// `- text`, wrapped.
fn item(look: Look, indent: usize, text: &str) -> String {
    let left = indent + 2;
    let lines = wrap(text, look.width.saturating_sub(left));
    format!("{:indent$}- {}\n", "", lines.join(&format!("\n{:left$}", "")))
}

/// A label with several things beside it, each on a line of its own.
fn several(look: Look, indent: usize, label: &str, texts: &[String]) -> String {
    let lines = texts.iter().enumerate().map(|(nth, text)| {
        let label = if nth == 0 { label } else { "" };
        labelled(look, indent, LABEL, label, text)
    });
    lines.collect()
}

fn component(it: &ComponentWalk, look: Look) -> String {
    let mut out = format!("{}  {}, {}\n", strong(look, &it.name), it.kind, it.criticality);
    if let Some(constraint) = &it.constraint {
        out.push_str(&labelled(look, 2, LABEL, "constraint", constraint));
    }
    if it.routes.is_empty() {
        out.push_str(&labelled(look, 2, LABEL, "routes", "none: clients reach it without Mainstay"));
    }
    out.push_str(&several(look, 2, "routes", &it.routes));
    out.push_str("  before anything is done, asked in this order; the first that objects is waited for\n");
    for guard in &it.guards {
        let overruled = guard.overruled_by.as_ref().map(|it| format!(" (to overrule: {it})"));
        let text = format!("{}{}", guard.must, overruled.unwrap_or_default());
        out.push_str(&labelled(look, 4, 16, guard.code, &text));
    }
    for one in &it.bindings {
        out.push('\n');
        out.push_str(&binding(one, look));
    }
    out
}

fn binding(it: &Binding, look: Look) -> String {
    let name = strong(look, &it.instance);
    let heading = if it.original { "When bound to" } else { "After a takeover, when bound to" };
    let mut out = format!("  {heading} {name} in {}\n", clean(&it.location));
    let of = it.down.of.len();
    let down = match (it.down.need, of) {
        (1, 1) => "this probe is down".to_owned(),
        (need, of) if need == of => "all of these probes are down".to_owned(),
        (1, of) => format!("1 of these {of} probes is down"),
        (need, of) => format!("{need} of these {of} probes are down"),
    };
    let mut texts = vec![down];
    texts.extend(it.down.of.iter().map(|it| format!("{}: {}; {}", it.name, it.asks, it.timing())));
    out.push_str(&several(look, 4, "failed when", &texts));
    if it.rungs.is_empty() {
        out.push_str(&labelled(look, 4, LABEL, "then", "nothing: it has no ladder, and waits for a person"));
    }
    for one in &it.rungs {
        out.push('\n');
        out.push_str(&rung(one, &it.instance, look));
    }
    for one in &it.moves {
        out.push('\n');
        out.push_str(&moved(one, look));
    }
    for one in &it.repairs {
        out.push('\n');
        out.push_str(&repaired(one, look));
    }
    out
}

/// A planned move: its steps by name. What they need and change stands with the rungs that have the same ones, and in JSON.
fn moved(it: &MoveWalk, look: Look) -> String {
    let heading = strong(look, &format!("Planned move to {}", it.to));
    let mut out = format!("    {heading}: {}\n", clean(&it.command));
    if let Some(when) = &it.by_itself {
        out.push_str(&labelled(look, 6, LABEL, "by itself", when));
    }
    out.push_str(&several(look, 6, "only if", &it.possible_when));
    for one in &it.steps {
        out.push_str(&line(one, look));
    }
    out.push_str(&several(look, 6, "if it fails", &it.if_it_fails));
    out
}

/// A repair: its steps by name.
fn repaired(it: &RepairWalk, look: Look) -> String {
    let heading = strong(look, &format!("Repair of {}", it.instance));
    let mut out = format!("    {heading}: by itself, or {}\n", clean(&it.command));
    out.push_str(&several(look, 6, "only if", &it.only_if));
    for one in &it.steps {
        out.push_str(&line(one, look));
    }
    out.push_str(&labelled(look, 6, LABEL, "then", "it is asked anew; a healthy standby can take over again"));
    out.push_str(&labelled(look, 6, LABEL, "if it fails", &it.if_it_fails));
    out
}

fn rung(it: &RungWalk, bound: &str, look: Look) -> String {
    let heading = strong(look, &format!("Rung {}: {}", it.number, it.strategy));
    let Some(to) = &it.to else { return format!("    {heading}, passed over: no way leads from here\n") };
    let towards = if to == bound { "of" } else { "to" };
    let mut out = format!("    {heading}, {towards} {}\n", clean(to));
    if it.accepts_two_writers {
        let text = "two writers are accepted by the plan: the old owner is not known to be gone";
        out.push_str(&labelled(look, 6, LABEL, "risk", text));
    }
    out.push_str(&several(look, 6, "only if", &it.possible_when));
    for one in &it.steps {
        out.push_str(&step(one, look));
    }
    out.push_str(&several(look, 6, "if it fails", &it.if_it_fails));
    out
}

fn step(it: &StepWalk, look: Look) -> String {
    let mut out = line(it, look);
    if let Some(other) = it.together_with {
        out.push_str(&labelled(look, 10, LABEL, "begins", &format!("together with step {other}")));
    }
    let needs: Vec<String> = it.needs.iter().map(|it| it.what.clone()).collect();
    out.push_str(&several(look, 10, "needs", &needs));
    out.push_str(&several(look, 10, "changes", &it.changes));
    if it.undo.by != "nothing" {
        out.push_str(&labelled(look, 10, LABEL, "taken back", &it.undo.how));
    }
    if !it.idempotent {
        out.push_str(&labelled(look, 10, LABEL, "to repeat", &it.repeat));
    }
    out
}

/// A step's number, name and limits.
fn line(it: &StepWalk, look: Look) -> String {
    let mark = if it.irreversible { "*" } else { " " };
    let number = format!("{}{mark}", it.number);
    let limits = it.limits();
    let name = clean(&it.name);
    let room = look.width.saturating_sub(10 + limits.chars().count() + 2);
    let lines = wrap(&name, room);
    let mut out = String::new();
    for (nth, line) in lines.iter().enumerate() {
        let number = if nth == 0 { number.as_str() } else { "" };
        let gap = look.width.saturating_sub(10 + line.chars().count() + limits.chars().count()).max(2);
        let limits = if nth == 0 { format!("{:gap$}{}", "", look.paint(Tone::Dim, &limits)) } else { String::new() };
        out.push_str(&format!("      {number:<4}{}{limits}\n", look.paint(Tone::Strong, line)));
    }
    out
}
