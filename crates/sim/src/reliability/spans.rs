//! Seconds for people.

/// `340ms`, `4.2s`, `3m20s`, `4h10m`, `12d4h`, `5y`: two units at most, for nothing here is known better.
pub fn span(seconds: f64) -> String {
    if seconds.is_infinite() {
        return "for ever".to_owned();
    }
    if seconds < 0.0005 {
        return "0s".to_owned();
    }
    if seconds < 0.9995 {
        return format!("{:.0}ms", seconds * 1000.0);
    }
    if seconds < 59.95 {
        let text = format!("{seconds:.1}");
        return format!("{}s", text.strip_suffix(".0").unwrap_or(&text));
    }
    let units = [("y", 31_536_000), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let whole = seconds.round() as u64;
    let first = units.iter().position(|(_, size)| whole >= *size).unwrap_or(4);
    // The second unit is rounded, which may fill the first.
    let (step, below) = (units[first].1, units.get(first + 1));
    let Some((name, small)) = below else { return format!("{whole}s") };
    let small_units = (seconds / *small as f64).round() as u64;
    let (large, rest) = (small_units * small / step, small_units * small % step / small);
    let rest = if rest == 0 { String::new() } else { format!("{rest}{name}") };
    format!("{large}{}{rest}", units[first].0)
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn two_units_say_enough() {
        for (seconds, text) in [
            (0.0, "0s"),
            (0.34, "340ms"),
            (0.9999, "1s"),
            (4.0, "4s"),
            (4.24, "4.2s"),
            (59.99, "1m"),
            (200.4, "3m20s"),
            (3599.8, "1h"),
            (15_000.0, "4h10m"),
            (86_400.0 * 12.0 + 14_400.0, "12d4h"),
            (31_536_000.0 * 3.0, "3y"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
