//! Notices as text.

use mainstay_api::{Channel, Notice, Notices};

use crate::clock::{age, utc_seconds};
use crate::look::{Look, Table, Tone, labelled};

/// What stands, and with `all` what is over; then the channels.
pub(crate) fn list(found: &Notices, all: bool, look: Look) -> String {
    let now = found.now_ns;
    let (standing, over): (Vec<&Notice>, Vec<&Notice>) = found.notices.iter().partition(|it| it.over_ns.is_none());
    let shown: Vec<&Notice> = if all { standing.iter().chain(&over).copied().collect() } else { standing };
    let mut out = String::new();
    if shown.is_empty() {
        out.push_str("nothing stands that people should know\n");
    } else {
        let mut table = Table::new(&["NOTICE", "ABOUT", "LEVEL", "OPENED", "SEEN BY", "STANDS"]);
        for it in shown {
            let seen = it.acknowledged.as_ref().map_or("nobody".to_owned(), |it| it.by.clone());
            let stands = it.over_ns.map_or("yes".to_owned(), |at| format!("over {} ago", age(now, at)));
            table.row(
                [
                    (Tone::Strong, it.id.clone()),
                    (Tone::Plain, it.about.clone()),
                    (tone(&it.level), it.level.clone()),
                    (Tone::Plain, format!("{} ago", age(now, it.opened_ns))),
                    (Tone::Plain, seen),
                    (Tone::Plain, stands),
                ],
                below(it, look),
            );
        }
        out.push_str(&table.render(look, 0));
    }
    if !found.channels.is_empty() {
        out.push('\n');
        let mut table = Table::new(&["CHANNEL", "STATE", "WAITING", "TRIED AGAIN"]);
        for it in &found.channels {
            let (tone, state) = if it.failures == 0 {
                (Tone::Good, "carries".to_owned())
            } else {
                (Tone::Bad, format!("failed {} times in a row", it.failures))
            };
            table.row(
                [
                    (Tone::Strong, it.name.clone()),
                    (tone, state),
                    (Tone::Plain, it.waiting.to_string()),
                    (Tone::Plain, it.again_ns.map_or("-".to_owned(), utc_seconds)),
                ],
                trouble(it, look),
            );
        }
        out.push_str(&table.render(look, 0));
    }
    out
}

fn below(it: &Notice, look: Look) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| out.push_str(&labelled(look, 2, 8, label, text));
    line("says", &it.text);
    if !it.recoveries.is_empty() {
        line("see", &format!("mainstay recoveries show {}", it.recoveries[it.recoveries.len() - 1]));
    }
    let told: Vec<String> = (it.told.iter())
        .map(|it| if it.arrived { it.channel.clone() } else { format!("{} (not arrived yet)", it.channel) })
        .collect();
    if !told.is_empty() {
        line("told", &told.join(", "));
    }
    if let Some(seen) = &it.acknowledged {
        line("seen", &format!("{} by {}: {}", utc_seconds(seen.at_ns), seen.by, seen.reason));
    }
    out
}

fn trouble(it: &Channel, look: Look) -> String {
    let mut out = String::new();
    if let Some(why) = it.trouble.as_ref().filter(|_| it.failures > 0) {
        out.push_str(&labelled(look, 2, 8, "trouble", why));
    }
    if it.dropped > 0 {
        let text = format!("{} messages gave way to newer ones; the journal has them", it.dropped);
        out.push_str(&labelled(look, 2, 8, "dropped", &text));
    }
    out
}

fn tone(level: &str) -> Tone {
    match level {
        "error" => Tone::Bad,
        "warning" => Tone::Warn,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use mainstay_api::{Acknowledged, ToldOver};

    use super::*;
    use crate::golden::golden;
    use crate::samples::NOW;

    const SECOND: u64 = 1_000_000_000;

    fn sample() -> Notices {
        let told = |channel: &str, arrived| ToldOver { channel: channel.to_owned(), arrived };
        let standing = Notice {
            id: "n52".to_owned(),
            about: "orders-db".to_owned(),
            level: "warning".to_owned(),
            text:
                "r52 waits: fewer than 1 of the witnesses dns-b, gateway answered since it failed: our own path may be \
                   broken; to overrule: mainstay approve r52 --override witnesses"
                    .to_owned(),
            opened_ns: NOW - 900 * SECOND,
            over_ns: None,
            acknowledged: None,
            recoveries: vec!["r52".to_owned()],
            messages: 3,
            escalated: 1,
            told: vec![told("on-call", false), told("phone", true)],
        };
        let over = Notice {
            id: "n17".to_owned(),
            about: "session-cache".to_owned(),
            level: "error".to_owned(),
            text: "session-cache: `session-cache-a` is healthy again".to_owned(),
            opened_ns: NOW - 9000 * SECOND,
            over_ns: Some(NOW - 7200 * SECOND),
            acknowledged: Some(Acknowledged {
                by: "ada".to_owned(),
                at_ns: NOW - 8000 * SECOND,
                reason: "the rack is without power".to_owned(),
            }),
            recoveries: vec!["r17".to_owned(), "r31".to_owned()],
            told: vec![told("on-call", true)],
            ..standing.clone()
        };
        let channel = |name: &str| Channel {
            name: name.to_owned(),
            waiting: 0,
            failures: 0,
            trouble: None,
            again_ns: None,
            dropped: 0,
        };
        let failing = Channel {
            waiting: 2,
            failures: 4,
            trouble: Some("connection refused".to_owned()),
            again_ns: Some(NOW + 40 * SECOND),
            dropped: 3,
            ..channel("on-call")
        };
        Notices { now_ns: NOW, notices: vec![standing, over], channels: vec![failing, channel("phone")] }
    }

    #[test]
    fn notices_fit_on_eighty_columns() {
        let text = list(&sample(), true, Look::PLAIN);
        golden("notices.txt", &text);
        let long: Vec<&str> = text.lines().filter(|it| it.chars().count() > 80).collect();
        assert!(long.is_empty(), "{long:#?}");
    }

    #[test]
    fn what_is_over_is_shown_when_asked_for() {
        let text = list(&sample(), false, Look::PLAIN);
        assert!(text.contains("n52") && !text.contains("n17"), "{text}");
    }
}
