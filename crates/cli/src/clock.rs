//! Moments and durations for people.

use std::time::Duration;

use jiff::Timestamp;
use mainstay_api::Nanos;

/// A moment as UTC with milliseconds: `2026-01-02T03:04:05.678Z`.
pub(crate) fn utc(at: Nanos) -> String {
    match Timestamp::from_nanosecond(i128::from(at)) {
        Ok(it) => it.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        Err(_) => format!("{at}ns"),
    }
}

/// The same to the second.
pub(crate) fn utc_seconds(at: Nanos) -> String {
    match Timestamp::from_nanosecond(i128::from(at)) {
        Ok(it) => it.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => format!("{at}ns"),
    }
}

/// A duration in about three digits: `250ms`, `4.25s`, `3m12s`, `5h03m`, `12d4h`.
pub(crate) fn span(ns: u64) -> String {
    let ms = ns / 1_000_000;
    let s = ms / 1000;
    match s {
        0 if ms == 0 && ns > 0 => "under 1ms".to_owned(),
        0 if ms == 0 => "0s".to_owned(),
        0 => format!("{ms}ms"),
        1..=59 if ms.is_multiple_of(1000) => format!("{s}s"),
        1..=9 => format!("{s}.{:02}s", ms % 1000 / 10),
        10..=59 => format!("{s}.{}s", ms % 1000 / 100),
        60..=3599 => format!("{}m{:02}s", s / 60, s % 60),
        3600..=86_399 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// How long something has lasted, where fractions of a second would only flicker: `12s`, `3m12s`.
pub(crate) fn age(now: Nanos, since: Nanos) -> String {
    let ns = now.saturating_sub(since);
    if ns < 60_000_000_000 { format!("{}s", ns / 1_000_000_000) } else { span(ns) }
}

/// A duration on the command line, as a plan writes it: `30m`, `1h30m`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    mainstay_plan::config::duration(text).map_err(|why| format!("{why}; write it with units, as in `30m` or `1h30m`"))
}

/// Nanoseconds as they travel.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let spans = [0, 400_000, 250_000_000, 4_256_000_000, 12_340_000_000, 192_000_000_000, 18_180_000_000_000];
        let shown: Vec<String> = spans.into_iter().map(span).collect();
        assert_eq!(shown, ["0s", "under 1ms", "250ms", "4.25s", "12.3s", "3m12s", "5h03m"]);
        assert_eq!(span(u64::MAX), "213503d23h");
    }

    #[test]
    fn moments_are_utc() {
        assert_eq!(utc(1_767_323_045_678_900_000), "2026-01-02T03:04:05.678Z");
        assert_eq!(utc_seconds(0), "1970-01-01T00:00:00Z");
        assert!(utc(u64::MAX).starts_with("2554-"));
    }

    #[test]
    fn a_duration_without_a_unit_is_explained() {
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("30"), Err("`30` has no unit; write it with units, as in `30m` or `1h30m`".to_owned()));
    }
}
