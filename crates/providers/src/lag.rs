//! Reading a replication lag from text.

use std::time::Duration;

/// Reads a duration with a unit (`250ms`, `1.5s`, `2m`) or plain seconds (`0.25`). `None` when it is anything else: a lag
/// that can't be read is not known, which is no failure of what was asked.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let number_len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_len);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit.trim() {
        "" | "s" | "sec" => number,
        "ms" => number / 1e3,
        "us" | "µs" => number / 1e6,
        "ns" => number / 1e9,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_plain_seconds_are_read() {
        for (text, millis) in
            [("250ms", 250), ("3s", 3000), ("1.5s", 1500), ("0.25", 250), (" 7 ", 7000), ("2 m", 120_000)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not_known() {
        for text in ["", "-1", "soon", "1.2.3", "3 parsecs", "ms", "1e400", "NaN", "inf", "9".repeat(400).as_str()] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
