//! Durations and sizes as administrators write them: `30s`, `14d`, `64MiB`.

use std::time::Duration;

const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: &[(&str, u64)] =
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Longest duration, in days: a hundred years, so that sums of times stay in range.
const DAYS_MAX: u64 = 36_500;

/// Reads a duration: one or more numbers with `ms`, `s`, `m`, `h` or `d`, such as `1h30m`.
/// `None` when it is not that, or longer than a hundred years.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, factor) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = tail;
    }
    (millis <= DAYS_MAX * 86_400_000).then(|| Duration::from_millis(millis))
}

/// Writes a duration as it would be read, in the largest units that are exact.
pub fn show_duration(span: Duration) -> String {
    let mut millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in DURATION_UNITS.iter().rev() {
        if millis >= *factor {
            text.push_str(&format!("{}{unit}", millis / factor));
            millis %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Writes seconds as people read them: in the largest unit that they fill.
pub fn show_span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let unit = units.into_iter().find(|(size, _)| seconds >= *size);
    unit.map_or_else(|| "0 s".to_owned(), |(size, name)| format!("{} {name}", seconds / size))
}

/// Writes how long ago something was, in seconds; below 0 it is to come.
pub fn show_age(seconds: i64) -> String {
    match seconds {
        ..0 => format!("in {}", show_span(seconds.unsigned_abs())),
        0..5 => "now".to_owned(),
        _ => format!("{} ago", show_span(seconds.unsigned_abs())),
    }
}

/// Reads a size in bytes: a number with `B`, `KiB`, `MiB`, `GiB` or `TiB`.
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes a size as it would be read, in the largest unit that is exact.
pub fn show_size(bytes: u64) -> String {
    let exact =
        SIZE_UNITS.iter().filter(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    let (unit, factor) = exact.max_by_key(|(_, factor)| *factor).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["0B", "7B", "1KiB", "1025B", "32MiB", "3GiB", "2TiB"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
    }

    #[test]
    fn ages_are_in_the_largest_unit() {
        for (seconds, shown) in [
            (0, "now"),
            (60, "1 min ago"),
            (59 * 60, "59 min ago"),
            (86_460, "1 d ago"),
            (-5_400, "in 1 h"),
        ] {
            assert_eq!(show_age(seconds), shown);
        }
    }

    #[test]
    fn durations_read_and_show() {
        for (text, millis, shown) in [
            ("30s", 30_000, "30s"),
            ("5m", 300_000, "5m"),
            ("90m", 5_400_000, "1h30m"),
            ("14d", 1_209_600_000, "14d"),
            ("1h30m", 5_400_000, "1h30m"),
            ("250ms", 250, "250ms"),
            ("0s", 0, "0s"),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(show_duration(Duration::from_millis(millis)), shown);
        }
        for bad in ["", "5", "m", "5 m", "-5m", "5w", "5.5h", "40000d", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_read() {
        assert_eq!(size("8MiB"), Some(8 << 20));
        assert_eq!(size("1 GiB"), Some(1 << 30));
        for bad in ["", "8", "8MB", "MiB", "-1B", "99999999TiB"] {
            assert_eq!(size(bad), None, "{bad:?}");
        }
    }
}
