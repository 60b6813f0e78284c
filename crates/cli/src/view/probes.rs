//! What probes got, as text.

use mainstay_api::{ProbePast, Probes};

use super::status::tone;
use crate::clock::{age, span, utc};
use crate::look::{Look, Table, Tone, labelled};

/// A line for each probe, and its results below it.
pub(crate) fn list(found: &Probes, look: Look) -> String {
    if found.probes.is_empty() {
        return "the plan has no probes\n".to_owned();
    }
    let mut table = Table::new(&["PROBE", "HEALTH", "GOOD", "FAILED", "NOT ASKED", "LATE", "P50", "P99", "OVER"]);
    for it in &found.probes {
        let took = |ns: Option<u64>| ns.map_or("-".to_owned(), exact);
        table.row(
            [
                (Tone::Strong, it.name.clone()),
                (tone(&it.health), it.health.clone()),
                (Tone::Plain, it.good.to_string()),
                (if it.failed > 0 { Tone::Warn } else { Tone::Plain }, it.failed.to_string()),
                (Tone::Plain, it.could_not_ask.to_string()),
                (Tone::Plain, it.late.to_string()),
                (Tone::Plain, took(it.p50_ns)),
                (Tone::Plain, took(it.p99_ns)),
                (Tone::Plain, it.kept_since_ns.map_or("-".to_owned(), |since| age(found.now_ns, since))),
            ],
            results(it, look),
        );
    }
    let mut out = table.render(look, 0);
    if !found.names.is_empty() {
        out.push('\n');
        out.push_str(&names(found, look));
    }
    out
}

fn names(found: &Probes, look: Look) -> String {
    let mut table = Table::new(&["HOST NAME", "RESOLVED", "ADDRESSES"]);
    for it in &found.names {
        let resolved = it.found_ns.map_or("never".to_owned(), |at| format!("{} ago", age(found.now_ns, at)));
        let addresses: Vec<String> = it.addresses.iter().map(ToString::to_string).collect();
        let tone = if it.trouble.is_some() { Tone::Warn } else { Tone::Plain };
        let below = it.trouble.as_ref().map(|why| labelled(look, 2, 8, "trouble", why)).unwrap_or_default();
        let addresses = if addresses.is_empty() { "-".to_owned() } else { addresses.join(", ") };
        table.row([(Tone::Strong, it.host.clone()), (tone, resolved), (Tone::Plain, addresses)], below);
    }
    table.render(look, 0)
}

fn results(it: &ProbePast, look: Look) -> String {
    let line = |result: &mainstay_api::ProbeResult| {
        let tone = match result.answer.as_str() {
            "good" => Tone::Good,
            "could not ask" => Tone::Warn,
            _ => Tone::Bad,
        };
        let answer = look.paint(tone, &result.answer);
        format!("    {}  {answer}, {}\n", utc(result.ended_ns), exact(result.took_ns))
    };
    it.results.iter().map(line).collect()
}

/// A time that is often below a millisecond: `85us`, `1.25ms`, `31ms`.
fn exact(ns: u64) -> String {
    let us = ns / 1000;
    match us {
        0..=999 => format!("{us}us"),
        1000..=9_999 => format!("{}.{:02}ms", us / 1000, us % 1000 / 10),
        _ => span(ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::golden;
    use crate::samples;

    #[test]
    fn probes_have_a_line_each_and_their_results_below() {
        golden("probes.txt", &list(&samples::probes(), Look { width: 100, ..Look::PLAIN }));
    }

    #[test]
    fn short_times_are_exact() {
        assert_eq!([85_400, 1_257_000, 31_400_000, 2_300_000_000].map(exact), ["85us", "1.25ms", "31ms", "2.30s"]);
    }
}
