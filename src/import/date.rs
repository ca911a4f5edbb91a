//! Times as exports write them.
//!
//! A time without a zone is UTC, and said to be so. Days and months are told apart by what cannot
//! be the other, or by what the operator says; never guessed.

use crate::model::Time;
use crate::provider::wire;

/// What comes first in `01/02/2026`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOrder {
    /// The day.
    DayFirst,
    /// The month.
    MonthFirst,
}

/// A time, and whether its zone was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dated {
    pub(super) time: Time,
    pub(super) is_zoned: bool,
}

/// Reads a time.
///
/// # Errors
/// Says what is wrong with it, with a hint.
pub(super) fn time(text: &str, order: Option<DateOrder>) -> Result<Dated, String> {
    let text = text.trim();
    // As seconds it would be a day before 1974.
    if let Some(day) = compact_day(text) {
        let time = Time::parse(&format!("{day}T00:00:00Z"));
        let time = time.ok_or_else(|| format!("{text:?} is a time in no known form"))?;
        return Ok(Dated { time, is_zoned: false });
    }
    if let Ok(time) = wire::utc_time(text, Time::END) {
        let has_zone = text.len() < 11 || !text.contains([':', 'T']) || ends_in_zone(text);
        return Ok(Dated { time, is_zoned: has_zone });
    }
    if let Ok(time) = wire::mail_time(text, Time::END) {
        return Ok(Dated { time, is_zoned: true });
    }
    let mut words = text.split([' ', 'T']).filter(|word| !word.is_empty());
    let day = day(words.next().unwrap_or_default(), order)?;
    let clock = words.next().unwrap_or("00:00:00");
    let clock = if clock.matches(':').count() == 1 { format!("{clock}:00") } else { clock.into() };
    // Go writes the offset in a word of its own, and the zone's name behind it.
    let zone = words.next().filter(|word| word.starts_with(['+', '-']));
    let time = Time::parse(&format!("{day}T{clock}{}", zone.unwrap_or("Z")));
    let time = time.ok_or_else(|| format!("{text:?} is a time in no known form"))?;
    Ok(Dated { time, is_zoned: zone.is_some() })
}

/// A day in eight digits (ISO 8601, basic), as RFC 3339 has it.
fn compact_day(text: &str) -> Option<String> {
    let is_day = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_day.then(|| format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]))
}

/// Whether a text of RFC 3339 has its zone.
fn ends_in_zone(text: &str) -> bool {
    text.ends_with(['Z', 'z']) || text.get(19..).is_some_and(|rest| rest.contains(['+', '-']))
}

/// A day as RFC 3339 has it.
fn day(text: &str, order: Option<DateOrder>) -> Result<String, String> {
    let strange = || format!("{text:?} is a time in no known form");
    let parts: Vec<&str> = text.split(['-', '/', '.']).collect();
    let number = |part: &str| part.parse::<u16>().ok().filter(|_| part.len() <= 4);
    let [Some(a), Some(b), Some(c)] = [0, 1, 2].map(|at| parts.get(at).and_then(|p| number(p)))
    else {
        return Err(strange());
    };
    if parts.len() != 3 {
        return Err(strange());
    }
    if parts[0].len() == 4 {
        return Ok(format!("{a:04}-{b:02}-{c:02}"));
    }
    if parts[2].len() != 4 {
        return Err(strange());
    }
    let (day, month) = match order {
        // With a point or a hyphen, the day is first wherever people write so.
        _ if !text.contains('/') => (a, b),
        Some(DateOrder::DayFirst) => (a, b),
        Some(DateOrder::MonthFirst) => (b, a),
        None if a > 12 || a == b => (a, b),
        None if b > 12 => (b, a),
        None => {
            let hint = "say `--dates day-first` or `--dates month-first`";
            return Err(format!("{text:?} may be of two days; {hint}"));
        }
    };
    Ok(format!("{c:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (given, expected, is_zoned) in [
            ("1790083507", "2026-09-22T13:25:07Z", true),
            ("1790083507.5", "2026-09-22T13:25:07.5Z", true),
            ("1790083507123", "2026-09-22T13:25:07.123Z", true),
            ("2026-05-06T18:11:58Z", "2026-05-06T18:11:58Z", true),
            ("2019-12-17T08:58:33-05:00", "2019-12-17T13:58:33Z", true),
            ("2026-05-04T10:11:12.345000+00:00", "2026-05-04T10:11:12.345000Z", true),
            ("2026-05-06 18:11:58", "2026-05-06T18:11:58Z", false),
            ("2026-05-06 18:11", "2026-05-06T18:11:00Z", false),
            ("2026-05-06", "2026-05-06T00:00:00Z", false),
            ("Mon, 06 May 2024 18:11:58 UTC", "2024-05-06T18:11:58Z", true),
            ("2026-05-06 18:11:58.123456 +0000 UTC", "2026-05-06T18:11:58.123456Z", true),
            ("2026-05-06 20:11:58 +0200 CEST", "2026-05-06T18:11:58Z", true),
            ("12-04-2022 09:30", "2022-04-12T09:30:00Z", false),
            ("20260131", "2026-01-31T00:00:00Z", false),
            ("31/12/2025", "2025-12-31T00:00:00Z", false),
            ("12/31/2025 10:00", "2025-12-31T10:00:00Z", false),
        ] {
            let dated = time(given, None).map(|d| (d.time.to_string(), d.is_zoned));
            assert_eq!(dated, Ok((expected.to_owned(), is_zoned)), "{given}");
        }
        for bad in ["", "soon", "2026-13-01", "1/2/26", "06 May", "32/32/2026", "20261301"] {
            assert!(time(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_day_that_may_be_another_is_asked_for() {
        let read = |order| time("01/02/2026", order).map(|dated| dated.time.to_string());
        assert!(read(None).unwrap_err().contains("--dates day-first"));
        assert_eq!(read(Some(DateOrder::DayFirst)).unwrap(), "2026-02-01T00:00:00Z");
        assert_eq!(read(Some(DateOrder::MonthFirst)).unwrap(), "2026-01-02T00:00:00Z");
    }
}
