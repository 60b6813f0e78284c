//! Hosts on other machines, as text.

use std::fmt::Write;

use mainstay_api::{Host, Hosts};

use crate::clock::age;
use crate::look::{Look, Table, Tone, labelled};

/// A line for each host, and what is to be known of it below.
pub(crate) fn list(found: &Hosts, look: Look) -> String {
    if found.hosts.is_empty() {
        return "the plan has no hosts\n".to_owned();
    }
    let mut table = Table::new(&["HOST", "STATE", "SINCE", "VERSION", "EPOCH", "RTT", "CLOCK", "LEASES"]);
    for it in &found.hosts {
        let (tone, state) = match it.state.as_str() {
            "connected" => (Tone::Good, "connected"),
            "path_broken" => (Tone::Warn, "does not hear us"),
            "never_seen" => (Tone::Warn, "never seen"),
            _ => (Tone::Bad, "silent"),
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let clock = it.clock_ahead_ms.map(|ms| format!("{ms:+} ms"));
        let leases = if it.holds.is_empty() { None } else { Some(it.holds.join(", ")) };
        table.row(
            [
                (Tone::Strong, it.name.clone()),
                (tone, state.to_owned()),
                (Tone::Plain, age(found.now_ns, it.since_ns)),
                (Tone::Plain, or_dash(it.version.clone())),
                (Tone::Plain, or_dash(it.epoch.map(|it| it.to_string()))),
                (Tone::Plain, or_dash(it.rtt_ns.map(|ns| format!("{:.1} ms", ns as f64 / 1e6)))),
                (Tone::Plain, or_dash(clock)),
                (Tone::Plain, or_dash(leases)),
            ],
            below(it, found.now_ns, look),
        );
    }
    let mut out = table.render(look, 0);
    if !found.trouble.is_empty() {
        out.push('\n');
        for trouble in &found.trouble {
            let _infallible = write!(out, "{}", labelled(look, 0, 7, "trouble", trouble));
        }
    }
    out
}

fn copied(it: &Host, seq: u64, now_ns: u64) -> String {
    match (it.copy_lacks, it.copy_lacks_since_ns) {
        (Some(lacks), Some(since_ns)) => {
            let (of, records) = (seq + lacks, if lacks == 1 { "record" } else { "records" });
            format!("copied up to record {seq} of {of}: {lacks} {records} behind, for {}", age(now_ns, since_ns))
        }
        _ => format!("copied up to record {seq}, the last one"),
    }
}

fn below(it: &Host, now_ns: u64, look: Look) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| {
        let _infallible = write!(out, "{}", labelled(look, 4, 8, label, text));
    };
    if let Some(address) = it.address.as_ref().filter(|_| it.state == "connected") {
        line("from", address);
    }
    if let Some(why) = it.lost.as_ref().filter(|_| it.state == "silent") {
        line("lost", why);
    }
    if let Some(ms) = it.deaf_ms {
        line("path", &format!("it has not heard this agent for {:.1} s: the path to it is broken", ms as f64 / 1e3));
    }
    for (label, all) in [("may", &it.may), ("guards", &it.guards), ("doing", &it.doing), ("lacks", &it.lacks)] {
        if !all.is_empty() {
            line(label, &all.join(", "));
        }
    }
    for (address, up, since_ns) in &it.paths {
        let word = if *up { "heard" } else { "cut" };
        line("path", &format!("{address}, {word} for {}", age(now_ns, *since_ns)));
    }
    if !it.stays.is_empty() {
        line(
            "stays",
            &format!("{}, by the word of the other hosts: its lease could not be renewed", it.stays.join(", ")),
        );
    }
    for (instance, left_ms) in &it.promised {
        let left = *left_ms as f64 / 1e3;
        line("promised", &format!("{instance} stays what it is: nothing here takes over for {left:.1} s more"));
    }
    if let Some(epoch) = it.serves_epoch {
        line("serves", &format!("table {epoch}"));
    }
    if let Some(seq) = it.copied {
        line("journal", &copied(it, seq, now_ns));
    }
    for trouble in &it.traffic_trouble {
        line("trouble", trouble);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, state: &str) -> Host {
        Host {
            name: name.to_owned(),
            state: state.to_owned(),
            since_ns: 3_000_000_000,
            lost: Some("it was silent for 6.0 s".to_owned()),
            address: Some("10.0.0.7".to_owned()),
            version: Some("0.1.0".to_owned()),
            epoch: Some(3),
            rtt_ns: Some(1_250_000),
            clock_ahead_ms: Some(-40),
            deaf_ms: None,
            holds: vec!["orders-db-b".to_owned()],
            paths: vec![("10.9.0.5:7400".to_owned(), false, 4_000_000_000)],
            stays: Vec::new(),
            promised: Vec::new(),
            guards: vec!["orders-db-b".to_owned()],
            may: vec!["service postgresql.service".to_owned()],
            lacks: Vec::new(),
            doing: Vec::new(),
            serves_epoch: None,
            copied: Some(41),
            copy_lacks: None,
            copy_lacks_since_ns: None,
            traffic_trouble: Vec::new(),
        }
    }

    #[test]
    fn each_state_has_its_own_words() {
        let deaf = Host { deaf_ms: Some(4500), ..host("db-b", "path_broken") };
        let behind = Host { copy_lacks: Some(16), copy_lacks_since_ns: Some(2_000_000_000), ..host("db-c", "silent") };
        let lacks = Host { lacks: vec!["host db-d does not guard x".to_owned()], ..host("db-d", "connected") };
        let stays = Host { stays: vec!["queue-a".to_owned()], ..host("db-a", "connected") };
        let promised = Host { promised: vec![("queue-a".to_owned(), 4_200)], ..host("db-b", "connected") };
        let hosts = vec![stays, promised, deaf, behind, lacks];
        let trouble = vec!["no host can connect: the port is taken".to_owned()];
        let found = Hosts { now_ns: 10_000_000_000, hosts, trouble };
        let text = list(&found, Look { colour: false, width: 120, height: None });
        for words in [
            "connected",
            "queue-a, by the word of the other hosts",
            "queue-a stays what it is: nothing here takes over for 4.2 s more",
            "10.9.0.5:7400, cut for 6s",
            "does not hear us",
            "it has not heard this agent for 4.5 s: the path to it is broken",
            "silent",
            "it was silent for 6.0 s",
            "-40 ms",
            "copied up to record 41, the last one",
            "copied up to record 41 of 57: 16 records behind, for 8s",
            "1.2 ms",
            "service postgresql.service",
            "host db-d does not guard x",
            "no host can connect: the port is taken",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
