//! An answer as plain text of at most 100 columns, for names of the usual length.

use std::fmt::Write;

use super::moments::clock;
use super::told::{OfComponent, OfRoute, Part, Told};
use super::{Sayable, Stage};
use crate::reliability::report_text::{columns, labelled, wrap};
use crate::reliability::{Shown, span};

/// So many components are told, if nothing else is asked for.
const MOST: usize = 6;

/// So many scenarios of one sort are listed without being asked for all.
const NAMED: usize = 12;

impl Told {
    /// As plain text. Of a large plan only those components are told that took the longest or were not recovered, unless some
    /// are named, or all.
    pub fn text(&self, name: &str, shown: &Shown) -> String {
        let mut out = String::new();
        let ways = if self.ways == 1 { "one way".to_owned() } else { format!("{} ways", self.ways) };
        let _ = writeln!(out, "{name}: {}, played in {ways}; told is the one that took the longest", self.scenario);
        wrap(&mut out, "", "", &format!("in it {}", self.way));
        wrap(&mut out, "", "", self.model);
        out.push('\n');
        self.summary(&mut out);
        let told = self.shown(shown);
        for it in &told {
            out.push('\n');
            component(it, self, &mut out);
        }
        let left = self.components.len() - told.len();
        if left > 0 && *shown == Shown::Usual {
            let _ = writeln!(out, "\n{left} more: `--component NAME` tells one, `--all` all");
        }
        out.push('\n');
        self.timeline(&told, left > 0, &mut out);
        out.push('\n');
        if !self.not_played.is_empty() {
            out.push_str("not played:\n");
            self.not_played.iter().for_each(|it| wrap(&mut out, "  - ", "    ", it));
        }
        out.push_str("taken for granted:\n");
        self.taken.iter().for_each(|it| wrap(&mut out, "  - ", "    ", it));
        out
    }

    /// Those that are told.
    pub(crate) fn shown(&self, shown: &Shown) -> Vec<&OfComponent> {
        match shown {
            Shown::All => self.components.iter().collect(),
            Shown::Named(names) => self.components.iter().filter(|it| names.contains(&it.name)).collect(),
            Shown::Usual if self.components.len() <= MOST => self.components.iter().collect(),
            Shown::Usual => {
                let mut all: Vec<&OfComponent> = self.components.iter().collect();
                let badness = |it: &OfComponent| (it.lost && it.seconds.is_none(), it.seconds.unwrap_or_default());
                all.sort_by(|a, b| {
                    let (a, b) = (badness(a), badness(b));
                    b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
                });
                all.truncate(MOST);
                all
            }
        }
    }

    fn summary(&self, out: &mut String) {
        if let Some(first) = self.timeline.iter().find(|it| it.stage == Stage::Lost) {
            labelled(out, "lost", &first.text);
        }
        let lost: Vec<&OfComponent> = self.components.iter().filter(|it| it.lost).collect();
        let back = lost.iter().filter(|it| it.recovered_in == self.ways).count();
        let slowest = lost.iter().filter_map(|it| it.slowest_s).reduce(f64::max);
        let text = match (lost.len(), back) {
            (0, _) => "no component lost the instance that it is bound to: nothing has to be recovered".to_owned(),
            (1, 1) => {
                format!("the one component that was lost is, after at most {}", span(slowest.unwrap_or_default()))
            }
            (all, back) if all == back => {
                format!("all {all} components that were lost are, after at most {}", span(slowest.unwrap_or_default()))
            }
            (1, _) if lost[0].recovered_in == 0 => "the one component that was lost is not".to_owned(),
            (1, _) => "the one component that was lost is not in every way".to_owned(),
            (all, 0) if lost.iter().all(|it| it.recovered_in == 0) => {
                format!("none of the {all} components that were lost")
            }
            (all, 0) => format!("none of the {all} components that were lost is in every way"),
            (all, back) => format!("{back} of the {all} components that were lost are in every way"),
        };
        labelled(out, "recovered", &text);
        let not: Vec<&str> = lost.iter().filter(|it| it.recovered_in < self.ways).map(|it| it.name.as_str()).collect();
        if !not.is_empty() {
            labelled(out, "not", &few(&not));
        }
        let differ: Vec<&str> = lost.iter().filter(|it| !it.agrees).map(|it| it.name.as_str()).collect();
        if lost.is_empty() {
            return;
        }
        let text = match differ.as_slice() {
            [] => "each component came out as `mainstay check` proves it".to_owned(),
            some => format!("came out otherwise than `mainstay check` says: {}", few(some)),
        };
        labelled(out, "the proof", &text);
        let needy: Vec<&str> = self.affected.iter().map(|it| it.name.as_str()).collect();
        if !needy.is_empty() {
            labelled(out, "also out", &format!("{}: they need what is lost", few(&needy)));
        }
        let out_for = |it: &OfRoute| it.away.iter().any(|it| it.to_s.is_none());
        let gone: Vec<&str> = self.routes.iter().filter(|it| out_for(it)).map(|it| it.name.as_str()).collect();
        if !gone.is_empty() {
            labelled(out, "clients", &format!("not back by {}", few(&gone)));
        }
    }

    fn timeline(&self, told: &[&OfComponent], is_part: bool, out: &mut String) {
        out.push_str("what happened, from the failure on:\n");
        let is_told = |name: &str| told.iter().any(|it| it.name == name);
        let of_others = |it: &Option<String>| it.as_ref().is_some_and(|it| !is_told(it));
        let mine = self.timeline.iter().filter(|it| !of_others(&it.component));
        // Tables and messages of a large site speak of everybody.
        let quiet = |stage: Stage| is_part && matches!(stage, Stage::Converge | Stage::Told);
        for it in mine.filter(|it| !(it.component.is_none() && quiet(it.stage))) {
            let lead = format!("  {:>9}  {:<9}  ", clock(it.at_s), it.stage.word());
            wrap(out, &lead, &" ".repeat(lead.chars().count()), &it.text);
        }
    }
}

fn component(it: &OfComponent, of: &Told, out: &mut String) {
    let how = match (&it.by, &it.to) {
        (Some(by), Some(to)) => format!(", by {by} to {to}"),
        (Some(by), None) => format!(", by {by}"),
        (None, _) => String::new(),
    };
    let ways = |n: usize| if n == of.ways { "every way".to_owned() } else { format!("{n} of {} ways", of.ways) };
    let outcome = match it.recovered_in {
        _ if !it.lost => "not lost, and acted on all the same".to_owned(),
        0 => "not recovered".to_owned(),
        n => format!("recovered in {}{how}", ways(n)),
    };
    let _ = writeln!(out, "{}: {outcome}", it.name);
    if let (Some(quickest), Some(slowest)) = (it.quickest_s, it.slowest_s) {
        let rto = match (it.rto_s, it.rto_kept) {
            (Some(rto), Some(true)) => format!("; rto {} kept", span(rto)),
            (Some(rto), _) => format!("; rto {} missed", span(rto)),
            (None, _) => String::new(),
        };
        labelled(out, "took", &format!("{} to {}{rto}", span(quickest), span(slowest)));
        labelled(out, "of which", &parts(&it.parts));
    }
    match &it.proved {
        Some(bound) => {
            let to = format!("{} to {}", bound.strategy, bound.to);
            let clients = if bound.total_s > bound.completed_s + 1e-6 {
                format!(", {} for the last client", span(bound.total_s))
            } else {
                String::new()
            };
            labelled(out, "proved", &format!("{to} within {}{clients}", span(bound.completed_s)));
            labelled(out, "of which", &parts(&bound.parts));
        }
        None if it.lost => {
            labelled(out, "proved", "nothing recovers it:");
            it.unproved.iter().for_each(|it| wrap(out, "              - ", "                ", it));
        }
        None => {}
    }
    if it.lost {
        let lost = match (it.data_lost_s, it.rpo_s) {
            (Some(lost), Some(rpo)) => {
                let kept = if lost <= rpo { "kept" } else { "missed" };
                let lost = if lost > 0.0 { format!("up to {}", span(lost)) } else { "nothing".to_owned() };
                format!("{lost} ({}); rpo {} {kept}", it.data, span(rpo))
            }
            _ => it.data.clone(),
        };
        labelled(out, "data lost", &lost);
    }
    for route in of.routes.iter().filter(|route| route.component.as_ref() == Some(&it.name)) {
        labelled(out, "clients", &clients(route));
    }
    for held in it.held.iter().filter(|it| it.guard != "step") {
        let span = match held.to_s {
            Some(to) => format!("for {} from {}", span(to - held.from_s), clock(held.from_s)),
            None => format!("from {} to the end", clock(held.from_s)),
        };
        labelled(out, "held by", &format!("{} {span}: {}", held.guard, held.why));
    }
    if let Some(why) = &it.why_not {
        labelled(out, "why not", why);
    }
    if let Some(it) = &it.way_out {
        labelled(out, "it waits", it);
    }
    for (nth, change) in it.changes.iter().enumerate() {
        labelled(out, if nth == 0 { "to change" } else { "and" }, change);
    }
}

/// When clients of a route were not served.
pub(crate) fn clients(route: &OfRoute) -> String {
    let one = |it: &super::Away| match it.to_s {
        Some(to) => format!("for {} from {} to {}", span(to - it.from_s), clock(it.from_s), clock(to)),
        None => format!("from {} to the end", clock(it.from_s)),
    };
    let all: Vec<String> = route.away.iter().map(one).collect();
    let further = match route.further_s {
        more if more > 0.0 => format!("; up to {} more for who keeps an address or polls", span(more)),
        _ => String::new(),
    };
    format!("not served by {} {}{further}", route.name, all.join(", "))
}

fn parts(all: &[Part]) -> String {
    let some = all.iter().filter(|it| it.seconds >= 0.0005);
    some.map(|it| format!("{} {}", it.part, span(it.seconds))).collect::<Vec<_>>().join(", ")
}

/// The first of them, and how many more.
fn few(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let first = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

impl Sayable {
    /// As plain text.
    pub fn text(&self, name: &str) -> String {
        let mut out = format!("{name}: what can be lost\n\n");
        let head = ["scenario", "components", "proved", "standbys", "takes"].map(str::to_owned);
        let rows = self.scenarios.iter().map(|it| {
            let names: Vec<&str> = it.components.iter().map(String::as_str).collect();
            let agent = if it.agent { "the agent" } else { "" };
            let mut takes = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
            if names.len() > 3 {
                let _ = write!(takes, " and {} more", names.len() - 3);
            }
            let both = if takes.is_empty() || agent.is_empty() { "" } else { ", " };
            [
                it.scenario.clone(),
                it.components.len().to_string(),
                it.proved.to_string(),
                it.standbys.to_string(),
                format!("{agent}{both}{takes}"),
            ]
        });
        columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), &mut out);
        out.push_str("\nWith any of them one more thing may be missing, after a plus:\n\n");
        let widest = self.conditions.iter().map(|it| it.condition.len()).max().unwrap_or_default();
        for it in &self.conditions {
            let _ = writeln!(out, "    +{:widest$}  {}", it.condition, it.missing);
        }
        let example = self.scenarios.last().map_or("", |it| it.scenario.as_str());
        let condition = self.conditions.first().map_or("", |it| it.condition);
        let _ = writeln!(out, "\nFor example: --scenario {example}+{condition}");
        out
    }
}
