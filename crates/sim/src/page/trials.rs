//! Many years of a plan as a page.

use std::collections::BTreeSet;

use mainstay_plan::Plan;

use super::draw::{Anchor, Drawing, inside, width};
use super::scenario::class;
use super::spread::{self, Spread};
use super::{Page, WIDTH, map};
use crate::reliability::history::Outage;
use crate::reliability::model::{Model, TRAFFIC};
use crate::reliability::rates::Kind;
use crate::reliability::report::{Downtime, OfComponent, Percentiles, Report, Slo, Spends};
use crate::reliability::report_text::{about_histories, share};
use crate::reliability::trials::Tally;
use crate::reliability::{Shown, YEAR_S, span};

/// Rows of a picture of shares, at most.
const MOST: usize = 12;

/// What a page is made of beside the report.
pub struct Drawn<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its model.
    pub model: &'a Model,
    /// All that was counted: distributions are drawn from it.
    pub tally: &'a Tally,
}

impl Report {
    /// As a page of its own.
    pub fn html(&self, drawn: &Drawn<'_>, shown: &Shown) -> String {
        let name = &drawn.plan.site.name;
        let about = about_histories(self.trials, self.years, self.seed);
        let model = format!("What this is: {}.", self.model);
        let mut page = Page::new(&format!("{name}: how often, how long, and what for"), &[&about, &model]);
        self.cards(&mut page);
        self.spends(&mut page);
        self.downtime(&mut page, drawn, shown);
        page.heading("What fails together");
        let caption = "Regions, their zones, hosts where the plan names them, and what lives there: one failure takes a whole box. How often is \
                       what the rates say.";
        page.figure(&map::draw(drawn.plan, &often(drawn.model), &BTreeSet::new(), false), caption);
        let mine = self.shown(shown);
        for it in &mine {
            self.component_page(&mut page, it, drawn);
        }
        let left = self.components.len() - mine.len();
        if left > 0 && *shown == Shown::Usual {
            page.paragraph(
                "about",
                &format!("{left} more components spend less: `--component NAME` shows one, `--all` all."),
            );
        }
        page.assumptions(&self.assumptions, &self.left_out);
        page.finish()
    }

    fn cards(&self, page: &mut Page) {
        let mut all = Vec::new();
        if let Some(it) = &self.site.downtime {
            let sure = format!("at {:.0} %", self.confidence * 100.0);
            all.push((
                "everything is up".to_owned(),
                format!("{:.4} %", it.availability.value * 100.0),
                format!("{:.4} to {:.4} % {sure}", it.availability.low * 100.0, it.availability.high * 100.0),
            ));
            let mean = &it.minutes_a_year;
            all.push((
                "down a year, on average".to_owned(),
                span(mean.value * 60.0),
                format!("{} to {} {sure}", span(mean.low * 60.0), span(mean.high * 60.0)),
            ));
            all.push((
                format!("half of all {} at most", self.histories()),
                span(it.p50_minutes.value * 60.0),
                format!("95 % {}, 99 % {}", span(it.p95_minutes.value * 60.0), span(it.p99_minutes.value * 60.0)),
            ));
        }
        if let Some(it) = self.site.spends.first() {
            all.push(("spends the most".to_owned(), it.name.clone(), format!("{} of the downtime", share(it.share))));
        }
        page.figures(&all);
    }

    fn histories(&self) -> &'static str {
        if (self.years - 1.0).abs() < 1e-9 { "years" } else { "histories" }
    }

    fn spends(&self, page: &mut Page) {
        if self.site.spends.is_empty() {
            return;
        }
        page.heading("Who spends the downtime, and on what");
        let caption = "Of the time in which something that clients need is down; whoever is down at the same time shares it evenly.";
        page.figure(&shares("By component", &self.site.spends), caption);
        page.figure(&shares("By cause", &self.site.because_of), "The same time by what failed.");
        let mut budgets: Vec<_> =
            (self.components.iter()).filter_map(|it| Some((it, it.slo.as_ref()?, it.clients.as_ref()?))).collect();
        let used = |it: &(&OfComponent, &Slo, &Downtime)| {
            it.2.minutes_a_year.value / it.1.allowed_minutes.max(f64::MIN_POSITIVE)
        };
        budgets.sort_by(|a, b| used(b).total_cmp(&used(a)));
        let rows: Vec<[String; 5]> = (budgets.iter())
            .map(|it| {
                let used = used(it);
                let (it, slo, clients) = *it;
                [
                    it.name.clone(),
                    format!("{} %", slo.target * 100.0),
                    span(slo.allowed_minutes * 60.0),
                    format!("{} ({})", span(clients.minutes_a_year.value * 60.0), share(used)),
                    slo.met.map_or("–".to_owned(), |it| {
                        format!("{} ({} to {})", share(it.value), share(it.low), share(it.high))
                    }),
                ]
            })
            .take(MOST)
            .collect();
        if !rows.is_empty() {
            page.subheading("Error budgets");
            page.table(["component", " target", " allows a year", " its clients' share of it", " met in"], &rows);
        }
    }

    fn downtime(&self, page: &mut Page, drawn: &Drawn<'_>, shown: &Shown) {
        let mine: Vec<&OfComponent> = self.shown(shown);
        let mut rows = Vec::new();
        let of = |it: &Downtime| Percentiles {
            p50: seconds(&it.p50_minutes),
            p95: seconds(&it.p95_minutes),
            p99: seconds(&it.p99_minutes),
            most: 0.0,
        };
        let strictest = drawn.model.members.iter().filter_map(|it| it.slo_ppm).max();
        let allowed = |ppm: u32| mainstay_plan::assess::allowed(ppm).year.as_secs_f64() * self.years;
        if let Some(it) = &self.site.downtime {
            let name = "everything".to_owned();
            let below = strictest.map_or(String::new(), |_| "strictest target".to_owned());
            rows.push(Spread {
                name,
                below,
                values: &drawn.tally.site,
                percentiles: of(it),
                objective: strictest.map(allowed),
                bound: None,
            });
        }
        for (at, member) in drawn.model.members.iter().enumerate().filter(|it| it.1.name != TRAFFIC) {
            let Some(it) = mine.iter().find(|it| it.name == member.name) else { continue };
            let Some(clients) = &it.clients else { continue };
            rows.push(Spread {
                name: it.name.clone(),
                below: "its clients".to_owned(),
                values: &drawn.tally.down[at],
                percentiles: of(clients),
                objective: member.slo_ppm.map(allowed),
                bound: None,
            });
        }
        if rows.is_empty() {
            return;
        }
        page.heading("Downtime");
        let each = if (self.years - 1.0).abs() < 1e-9 { "a year" } else { "a history" };
        let caption = format!(
            "How long clients are not served in {each}, over all that were played. The objective is what the availability target allows. The axis is logarithmic."
        );
        page.figure(&spread::draw("Downtime", &format!("down in {each}"), &rows, "no downtime"), &caption);
    }

    fn component_page(&self, page: &mut Page, it: &OfComponent, drawn: &Drawn<'_>) {
        let Some(at) = drawn.model.members.iter().position(|member| member.name == it.name) else { return };
        let outages = &drawn.tally.outages[at];
        page.heading(&it.name);
        page.paragraph("about", &self.about_component(it));
        let of_kind =
            |lost: &str| -> Vec<f64> { outages.iter().filter(|it| word(it.kind) == lost).map(Outage::total).collect() };
        let values: Vec<Vec<f64>> = it.rto.iter().map(|it| of_kind(it.lost)).collect();
        let rows: Vec<Spread<'_>> = (it.rto.iter().zip(&values))
            .map(|(row, values)| Spread {
                name: format!("{} lost", row.lost),
                below: format!("{:.3} a year", row.a_year),
                values,
                percentiles: row.seconds,
                objective: row.objective_s,
                bound: row.proved_s,
            })
            .collect();
        if !rows.is_empty() {
            page.subheading("Time to recover, by what was lost");
            let caption = "Repairs and recoveries by people are in it. The axis is logarithmic, and each row is as high as its own tallest bar.";
            page.figure(&spread::draw("Time to recover", "time to recover", &rows, "at once"), caption);
            self.rto_table(page, it);
        }
        if it.parts.iter().any(|it| it.part != "repair") {
            page.subheading("Where the time of recoveries goes");
            page.figure(&parts(it), "Mean time of each part over all outages, repairs left out.");
        }
        if let Some(rpo) = it.rpo.as_ref().filter(|it| it.when_lost.is_some()) {
            let losses: Vec<f64> = outages.iter().filter_map(|it| it.loss).collect();
            let row = Spread {
                name: "work lost".to_owned(),
                below: format!("{:.2} times a year", rpo.losing_a_year),
                values: &losses,
                percentiles: rpo.when_lost.unwrap_or(rpo.seconds),
                objective: Some(rpo.objective_s),
                bound: None,
            };
            page.subheading("Work lost");
            let caption = format!(
                "Over all recoveries by the ladder; percentiles are of those that lose anything. The rpo of {} is kept in {} ({} to {}).",
                span(rpo.objective_s),
                share(rpo.kept.value),
                share(rpo.kept.low),
                share(rpo.kept.high)
            );
            page.figure(&spread::draw("Work lost", "work lost", &[row], "nothing"), &caption);
        }
        let mut said: Vec<String> = Vec::new();
        let ended: Vec<String> = it.ended_by.iter().map(|it| format!("{} {}", it.what, share(it.share))).collect();
        if !ended.is_empty() {
            said.push(format!("ended by: {}", ended.join(", ")));
        }
        said.extend(it.guards.iter().map(|it| {
            format!(
                "held by {}: {:.3} times a year, {} a year in all",
                it.guard,
                it.a_year,
                span(it.minutes_a_year * 60.0)
            )
        }));
        if it.unseen_a_year > 0.0 {
            said.push(format!("seen by no probe: {:.4} times a year", it.unseen_a_year));
        }
        if it.times_are_of_the_first {
            said.push("times are of the first outages; there were more than are kept".to_owned());
        }
        page.list(&said);
    }

    fn about_component(&self, it: &OfComponent) -> String {
        let mut text = format!("{:.2} failures a year.", it.failures_a_year);
        let minutes = |it: f64| span(it * 60.0);
        if let (Some(clients), Some(own)) = (&it.clients, &it.own) {
            let (low, high) = (minutes(clients.minutes_a_year.low), minutes(clients.minutes_a_year.high));
            text += &format!(
                " Its clients are {:.4} % up, {} a year down ({low} to {high}); itself it is down {} a year",
                clients.availability.value * 100.0,
                minutes(clients.minutes_a_year.value),
                minutes(own.minutes_a_year.value)
            );
            text += &match it.expected_minutes_a_year {
                Some(exact) => format!(", and {} if worked out without trials, each failure alone.", minutes(exact)),
                None => ".".to_owned(),
            };
        }
        if let Some(slo) = &it.slo {
            let met = slo.met.map_or(String::new(), |it| format!(", which is met in {} of all", share(it.value)));
            text += &format!(
                " Its target of {} % allows {} a year{met}.",
                slo.target * 100.0,
                minutes(slo.allowed_minutes)
            );
        }
        let ladder = it.parts.iter().filter(|it| it.part != "repair" && it.longest > 0.0);
        if let Some(most) = ladder.max_by(|a, b| a.longest.total_cmp(&b.longest)) {
            text += &format!(" Dominated by {}: the longest part of {} of recoveries.", most.part, share(most.longest));
        }
        text
    }

    fn rto_table(&self, page: &mut Page, it: &OfComponent) {
        let time = |it: Option<f64>| it.map_or("–".to_owned(), span);
        let shared =
            |it: &Option<crate::reliability::Estimate>| it.as_ref().map_or("–".to_owned(), |it| share(it.value));
        let row = |it: &crate::reliability::report::Rto| {
            let s = &it.seconds;
            [
                it.lost.to_owned(),
                format!("{:.3}", it.a_year),
                it.proved_s.map_or("none".to_owned(), span),
                time(it.objective_s),
                span(s.p50.value),
                format!("{} ({} to {})", span(s.p95.value), span(s.p95.low), span(s.p95.high)),
                span(s.p99.value),
                span(s.most),
                shared(&it.kept),
                shared(&it.beyond_proof),
            ]
        };
        let rows: Vec<[String; 10]> = it.rto.iter().map(row).collect();
        page.table(
            [
                "lost",
                " a year",
                " proved",
                " rto",
                " half",
                " 95 % (interval)",
                " 99 %",
                " most",
                " kept",
                " beyond proof",
            ],
            &rows,
        );
    }
}

fn seconds(minutes: &crate::reliability::Estimate) -> crate::reliability::Estimate {
    crate::reliability::Estimate { value: minutes.value * 60.0, low: minutes.low * 60.0, high: minutes.high * 60.0 }
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Instance => "instance",
        Kind::Host => "host",
        Kind::SharedPart => "shared part",
        Kind::Zone => "zone",
        Kind::Region => "region",
    }
}

/// By path: how often a zone or a region fails.
fn often(model: &Model) -> map::Notes {
    let places = model.sources.iter().filter(|it| matches!(it.kind, Kind::Zone | Kind::Region));
    let note = |mean: f64| match YEAR_S / mean {
        often if often >= 1.0 => format!("lost {often:.1} times a year"),
        _ => format!("lost once in {}", span(mean)),
    };
    places.filter_map(|it| Some((it.name.split_once(' ')?.1.to_owned(), note(it.fails.mean())))).collect()
}

/// Bars with a name, minutes and a share each.
fn shares(title: &str, all: &[Spends]) -> String {
    const LEFT: f64 = 190.0;
    const ROW: f64 = 22.0;
    let mut drawing = Drawing::new(title);
    drawing.text("b", (0.0, 14.0), Anchor::Start, title, 400.0);
    let mut rows: Vec<(String, f64, f64)> =
        all.iter().take(MOST).map(|it| (it.name.clone(), it.minutes_a_year, it.share)).collect();
    if all.len() > MOST {
        let rest = all.iter().skip(MOST);
        let (minutes, part) = rest.fold((0.0, 0.0), |sum, it| (sum.0 + it.minutes_a_year, sum.1 + it.share));
        rows.push((format!("{} others", all.len() - MOST), minutes, part));
    }
    let most = rows.iter().map(|it| it.2).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    for (at, (name, minutes, part)) in rows.iter().enumerate() {
        let y = 24.0 + ROW * at as f64;
        drawing.text("", (0.0, y + 12.0), Anchor::Start, name, LEFT - 12.0);
        let w = part / most * (WIDTH - LEFT - 210.0);
        drawing.rect("bar", (LEFT, y + 1.0), (w.max(1.0), 15.0), &format!("{name}: {}", share(*part)));
        let text = format!("{}, {} a year", share(*part), span(minutes * 60.0));
        drawing.text("d", (LEFT + w + 8.0, y + 12.0), Anchor::Start, &text, 200.0);
    }
    drawing.finish()
}

/// The mean of each part, one behind the other.
fn parts(it: &OfComponent) -> String {
    let mut drawing = Drawing::new(&format!("Parts of recoveries of {}", it.name));
    let some: Vec<_> = it.parts.iter().filter(|it| it.part != "repair").collect();
    let all: f64 = some.iter().map(|it| it.mean_s).sum::<f64>().max(f64::MIN_POSITIVE);
    let mut x = 0.0;
    for it in &some {
        let w = it.mean_s / all * (WIDTH - 2.0);
        drawing.rect(class(it.part), (x, 2.0), (w, 26.0), &format!("{} {}", it.part, span(it.mean_s)));
        if w > width(&span(it.mean_s), "on") + 8.0 {
            drawing.text(inside(class(it.part)), (x + 4.0, 19.0), Anchor::Start, &span(it.mean_s), w);
        }
        x += w;
    }
    let labels: Vec<(&str, String)> = some
        .iter()
        .map(|it| {
            let text = format!(
                "{}: {} on average, 95 % {}, longest in {}",
                it.part,
                span(it.mean_s),
                span(it.seconds.p95.value),
                share(it.longest)
            );
            (class(it.part), text)
        })
        .collect();
    let signs: Vec<(&str, &str)> = labels.iter().map(|(class, text)| (*class, text.as_str())).collect();
    drawing.legend(42.0, &signs);
    drawing.finish()
}
