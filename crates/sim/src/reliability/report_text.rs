//! A report as plain text of at most 100 columns, for names of the usual length.

use std::fmt::Write;

use super::estimate::Estimate;
use super::rates::Assumption;
use super::report::{Downtime, OfComponent, Percentiles, Report, Spends};
use super::spans::span;

const WIDTH: usize = 100;

/// Shares below this are left out where the largest are listed.
const SMALL: f64 = 0.005;

/// So many components are shown, if nothing else is asked for.
const MOST: usize = 10;

/// Which components are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All of a small plan; of a large one, those that spend the most.
    Usual,
    /// All of them.
    All,
    /// Those of these names.
    Named(Vec<String>),
}

impl Report {
    /// As plain text. Of a large plan only those components are shown that spend the most, unless some are `named`, or all.
    pub fn text(&self, name: &str, shown: &Shown) -> String {
        let mut out = heading(name, self.trials, self.years, self.seed);
        wrap(&mut out, "", "", self.model);
        out.push('\n');
        self.site(&mut out);
        let mine = self.shown(shown);
        let others = self.components.len() - mine.len();
        for it in mine {
            out.push('\n');
            self.component(it, &mut out);
        }
        if others > 0 && *shown == Shown::Usual {
            let _ = writeln!(out, "\n{others} more spend less: `--component NAME` shows one, `--all` all");
        }
        out.push('\n');
        rests_on(&self.assumptions, &self.left_out, &mut out);
        out
    }

    /// Those that are shown.
    pub(crate) fn shown(&self, shown: &Shown) -> Vec<&OfComponent> {
        let most: Vec<&str> = self.site.spends.iter().take(MOST).map(|it| it.name.as_str()).collect();
        let is_shown = |it: &&OfComponent| match shown {
            Shown::All => true,
            Shown::Named(names) => names.contains(&it.name),
            Shown::Usual => self.components.len() <= MOST || most.contains(&it.name.as_str()),
        };
        self.components.iter().filter(is_shown).collect()
    }

    fn site(&self, out: &mut String) {
        if let Some(it) = &self.site.downtime {
            downtime(out, "everything", it, self);
        }
        let list = |all: &[Spends]| {
            let large = all.iter().filter(|it| it.share >= SMALL).take(MOST);
            let mut said: Vec<String> = large.map(|it| format!("{} {}", it.name, share(it.share))).collect();
            if said.len() < all.len() {
                let rest = all.iter().skip(said.len()).map(|it| it.share).sum();
                said.push(format!("{} others {}", all.len() - said.len(), share(rest)));
            }
            said.join(", ")
        };
        if !self.site.spends.is_empty() {
            labelled(out, "spent by", &list(&self.site.spends));
            labelled(out, "because of", &list(&self.site.because_of));
        }
    }

    fn component(&self, it: &OfComponent, out: &mut String) {
        let _ = writeln!(out, "{}: {:.2} failures a year", it.name, it.failures_a_year);
        if let Some(clients) = &it.clients {
            downtime(out, "its clients", clients, self);
        }
        if let Some(own) = &it.own {
            downtime(out, "itself", own, self);
        }
        if let Some(minutes) = it.expected_minutes_a_year {
            let text = format!("{} a year down itself, each failure counted alone", span(minutes * 60.0));
            labelled(out, "worked out", &text);
        }
        if let Some(slo) = &it.slo {
            let met = slo.met.map_or(String::new(), |it| format!(": met in {} of all", shares(&it)));
            let allowed = span(slo.allowed_minutes * 60.0);
            labelled(out, "target", &format!("{} % allows {allowed} a year{met}", slo.target * 100.0));
        }
        rto(it, out);
        parts(it, out);
        let ladder = it.parts.iter().filter(|it| it.part != "repair" && it.longest > 0.0);
        if let Some(most) = ladder.max_by(|a, b| a.longest.total_cmp(&b.longest)) {
            labelled(
                out,
                "dominated",
                &format!("by {}: the longest part of {} of recoveries", most.part, share(most.longest)),
            );
        }
        if let Some(rpo) = &it.rpo {
            let lost = match &rpo.when_lost {
                None => "nothing".to_owned(),
                Some(it) => format!("{:.2} times a year; then {}", rpo.losing_a_year, percentiles(it)),
            };
            let kept = format!("rpo {} kept in {}", span(rpo.objective_s), shares(&rpo.kept));
            labelled(out, "data lost", &format!("{lost}; {kept}"));
        }
        let ended: Vec<String> = it.ended_by.iter().map(|it| format!("{} {}", it.what, share(it.share))).collect();
        if !ended.is_empty() {
            labelled(out, "ended by", &ended.join(", "));
        }
        let held = it.guards.iter().map(|it| {
            let time = if it.minutes_a_year > 0.0 {
                format!(", {} a year in all", span(it.minutes_a_year * 60.0))
            } else {
                String::new()
            };
            format!("{} {:.3} times a year{time}", it.guard, it.a_year)
        });
        let held: Vec<String> = held.collect();
        if !held.is_empty() {
            labelled(out, "held by", &held.join("; "));
        }
        if it.times_are_of_the_first {
            labelled(out, "times", "of the first outages; there were more than are kept");
        }
    }
}

/// The seed and the options come first.
pub(crate) fn heading(name: &str, trials: usize, years: f64, seed: u64) -> String {
    format!("{name}: {}\n", about_histories(trials, years, seed))
}

/// How much was played, from which seed.
pub(crate) fn about_histories(trials: usize, years: f64, seed: u64) -> String {
    let each = if (years - 1.0).abs() < 1e-9 { "a year".to_owned() } else { format!("{years} years") };
    format!("{trials} histories of {each} each, seed {seed}")
}

fn downtime(out: &mut String, who: &str, it: &Downtime, of: &Report) {
    let minutes = |it: f64| span(it * 60.0);
    let mean = &it.minutes_a_year;
    let history = if (of.years - 1.0).abs() < 1e-9 { "years" } else { "histories" };
    let text = format!(
        "{:.4} % up; {} a year down ({} to {} at {:.0} %); half of all {history} at most {}, 95 % {}, 99 % {}",
        it.availability.value * 100.0,
        minutes(mean.value),
        minutes(mean.low),
        minutes(mean.high),
        of.confidence * 100.0,
        minutes(it.p50_minutes.value),
        minutes(it.p95_minutes.value),
        minutes(it.p99_minutes.value),
    );
    labelled(out, who, &text);
}

fn rto(it: &OfComponent, out: &mut String) {
    let mut rows = vec![
        ["lost", "a year", "proved", "rto", "half", "95 %", "(interval)", "99 %", "most", "kept", "beyond proof"]
            .map(str::to_owned),
    ];
    for row in &it.rto {
        let time = |it: Option<f64>| it.map_or("-".to_owned(), span);
        let share_of = |it: &Option<Estimate>| it.map_or("-".to_owned(), |it| share(it.value));
        let times = &row.seconds;
        rows.push([
            row.lost.to_owned(),
            format!("{:.3}", row.a_year),
            row.proved_s.map_or("none".to_owned(), span),
            time(row.objective_s),
            span(times.p50.value),
            span(times.p95.value),
            format!("({} to {})", span(times.p95.low), span(times.p95.high)),
            span(times.p99.value),
            span(times.most),
            share_of(&row.kept),
            share_of(&row.beyond_proof),
        ]);
    }
    if rows.len() > 1 {
        columns(&rows, out);
    }
}

fn parts(it: &OfComponent, out: &mut String) {
    let mut rows = vec![["part", "of the time", "mean", "half", "95 %", "99 %", "longest in"].map(str::to_owned)];
    for row in &it.parts {
        let repair = row.part == "repair";
        let times = &row.seconds;
        rows.push([
            row.part.to_owned(),
            if repair { format!("{} of all", share(row.share)) } else { share(row.share) },
            span(row.mean_s),
            span(times.p50.value),
            span(times.p95.value),
            span(times.p99.value),
            if repair { "-".to_owned() } else { share(row.longest) },
        ]);
    }
    if rows.len() > 1 {
        columns(&rows, out);
    }
}

/// What a report was made of.
pub(crate) fn rests_on(assumptions: &[Assumption], left_out: &[String], out: &mut String) {
    let (given, assumed): (Vec<&Assumption>, Vec<&Assumption>) = assumptions.iter().partition(|it| it.given);
    let list = |head: &str, all: &[&Assumption], out: &mut String| {
        if all.is_empty() {
            return;
        }
        let _ = writeln!(out, "{head}");
        let widest = all.iter().map(|it| it.what.chars().count()).max().unwrap_or_default();
        for it in all {
            let first = format!("  {:widest$}  ", it.what);
            wrap(out, &first, &" ".repeat(first.chars().count()), &it.value);
        }
    };
    list("given:", &given, out);
    list("assumed by default, and no measurement of anything; `--rates FILE` says better:", &assumed, out);
    if !left_out.is_empty() {
        out.push_str("not in the model:\n");
    }
    left_out.iter().for_each(|it| wrap(out, "  - ", "    ", it));
}

fn percentiles(it: &Percentiles) -> String {
    format!(
        "half at most {}, 95 % {}, 99 % {}, most {}",
        span(it.p50.value),
        span(it.p95.value),
        span(it.p99.value),
        span(it.most)
    )
}

/// `12 %`, `0.31 %`: two digits are enough, and all that are near certainty.
pub(crate) fn share(it: f64) -> String {
    let percent = it * 100.0;
    let digits = match percent.min(100.0 - percent) {
        0.0 => 0,
        it if it < 0.1 => 3,
        it if it < 1.0 => 2,
        it if it < 10.0 => 1,
        _ => 0,
    };
    format!("{percent:.digits$} %")
}

fn shares(it: &Estimate) -> String {
    format!("{} ({} to {})", share(it.value), share(it.low), share(it.high))
}

pub(crate) fn labelled(out: &mut String, label: &str, text: &str) {
    wrap(out, &format!("  {label:<12}"), "              ", text);
}

/// Columns as wide as their widest cell, two blanks between them.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]], out: &mut String) {
    let width = |column: usize| rows.iter().map(|it| it[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        out.push_str("  ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(out, "  {cell:width$}", width = *width);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
}

/// Words on lines of at most [`WIDTH`], further lines behind `further`.
pub(crate) fn wrap(out: &mut String, first: &str, further: &str, text: &str) {
    let mut line = first.to_owned();
    let mut fresh = true;
    for word in words(text) {
        if !fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            further.clone_into(&mut line);
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(&word);
        fresh = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Between blanks; a percent sign stays with its number.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(last) if word.starts_with('%') => {
                last.push(' ');
                last.push_str(word);
            }
            Some(_) | None => words.push(word.to_owned()),
        }
    }
    words
}
