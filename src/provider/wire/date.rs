//! Reads the times of events in every form that providers write, and writes those of requests.

use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;

use crate::model::Time;
use crate::model::trust::believed;
use crate::provider::Unreadable;

/// Numbers above this are milliseconds since the epoch, not seconds (it is the year 5138).
const SECONDS_MAX: u64 = 100_000_000_000;

/// A time as RFC 3339 text, or as a number of seconds or milliseconds since the epoch.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum TimeForm {
    /// RFC 3339.
    Text(String),
    /// Seconds, or milliseconds where that is the only sensible reading.
    Number(i64),
}

/// Reads an event's time.
///
/// # Errors
/// When it is none.
pub fn time(form: &TimeForm, received_at: Time) -> Result<Time, Unreadable> {
    let time = match form {
        TimeForm::Text(text) => Time::parse(text),
        TimeForm::Number(n) if n.unsigned_abs() <= SECONDS_MAX => Some(Time::from_seconds(*n)),
        TimeForm::Number(n) => n.checked_mul(1_000_000).map(|nanos| Time::from_nanos(nanos, 3)),
    };
    let time = time.ok_or_else(|| Unreadable("the time is not RFC 3339".to_owned()))?;
    Ok(believed(time, received_at))
}

/// Reads an event's time where the number may be written as a text.
///
/// # Errors
/// When it is none.
pub fn loose_time(form: &TimeForm, received_at: Time) -> Result<Time, Unreadable> {
    match form {
        TimeForm::Text(text) => match text.trim().parse() {
            Ok(number) => time(&TimeForm::Number(number), received_at),
            Err(_) => time(form, received_at),
        },
        TimeForm::Number(_) => time(form, received_at),
    }
}

/// Reads a time as RFC 3339 text, or as such a text without a zone, which is then UTC.
///
/// # Errors
/// When it is none.
pub fn utc_time(text: &str, received_at: Time) -> Result<Time, Unreadable> {
    let text = text.trim();
    let time = Time::parse(text).or_else(|| Time::parse(&format!("{text}Z")));
    let time = time.ok_or_else(|| Unreadable("the time is in no known form".to_owned()))?;
    Ok(believed(time, received_at))
}

/// Reads a time as a decimal number of seconds since the epoch, in JSON or bare, digit by digit:
/// as a float it would lose some.
///
/// # Errors
/// When it is none, or beyond the range of times.
pub fn decimal_time(text: &str, received_at: Time) -> Result<Time, Unreadable> {
    let text = text.trim_matches('"');
    let parse = || {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !plain(whole) || !plain(fraction) {
            return None;
        }
        let fraction = &fraction[..fraction.len().min(9)];
        let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
        let whole = whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?;
        let digits = u8::try_from(fraction.len()).ok()?;
        Some(Time::from_nanos(whole.checked_add(nanos)?, digits))
    };
    let time = parse().ok_or_else(|| Unreadable("the time is no number of seconds".to_owned()))?;
    Ok(believed(time, received_at))
}

/// Reads a time as mail has it (RFC 5322, section 3.3), with the zone's name if it is UTC's.
///
/// # Errors
/// When it is none.
pub fn mail_time(text: &str, received_at: Time) -> Result<Time, Unreadable> {
    let text = text.trim().replace("UTC", "GMT");
    let time = DateTimeParser::new().parse_timestamp(&text);
    let time = time.map_err(|_| Unreadable("the time is none as mail has it".to_owned()))?;
    Ok(believed(Time::from_seconds(time.as_second()), received_at))
}

/// The day of a time in UTC, as `2026-06-15`.
pub fn day(time: Time) -> String {
    time.to_string().chars().take("2026-06-15".len()).collect()
}

/// The first whole second that is not before a time, since the epoch.
pub fn ceil_second(time: Time) -> i64 {
    time.second() + i64::from(time.floor_second().nanos() < time.nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_far_ahead_is_not_believed() {
        let now = Time::from_seconds(1_000_000_000);
        let ahead = TimeForm::Text("2200-01-01T00:00:00Z".to_owned());
        assert_eq!(time(&ahead, now), Ok(now));
        assert_eq!(time(&TimeForm::Number(1_000_000_000), now), Ok(now));
        let millis = time(&TimeForm::Number(999_999_999_123), now).unwrap();
        assert_eq!(millis.to_string(), "2001-09-09T01:46:39.123Z");
        assert!(time(&TimeForm::Text("soon".to_owned()), now).is_err());
    }

    #[test]
    fn numbers_may_be_written_as_texts() {
        let now = Time::parse("2026-06-15T12:00:00Z").unwrap();
        for text in ["1454442600", " 1454442600 ", "2016-02-02T19:50:00Z", "1454442600000"] {
            let time = loose_time(&TimeForm::Text(text.to_owned()), now).unwrap();
            assert_eq!(time.second(), 1_454_442_600, "{text}");
        }
        assert!(loose_time(&TimeForm::Text("soon".to_owned()), now).is_err());
    }

    #[test]
    fn a_decimal_time_keeps_every_digit() {
        let now = Time::from_seconds(1_700_000_000);
        for (text, shown) in [
            ("1606753318.7010343", "2020-11-30T16:21:58.7010343Z"),
            ("1606753101.354368", "2020-11-30T16:18:21.354368Z"),
            ("1606753101.0", "2020-11-30T16:18:21.0Z"),
            ("1606753101", "2020-11-30T16:18:21Z"),
            ("1606753101.1234567891", "2020-11-30T16:18:21.123456789Z"),
            ("4000000000.5", "2023-11-14T22:13:20Z"),
            ("\"1606753101.5\"", "2020-11-30T16:18:21.5Z"),
        ] {
            assert_eq!(decimal_time(text, now).unwrap().to_string(), shown, "{text}");
        }
        for bad in ["", ".", ".5", "-1", "1e9", "1.6e9", "null", "9223372037", "1.2.3"] {
            assert!(decimal_time(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_utc() {
        let now = Time::from_seconds(1_781_519_531);
        for text in ["2026-06-15 10:32:11", "2026-06-15T10:32:11", "2026-06-15 12:32:11+02:00"] {
            let read = utc_time(text, now).unwrap().to_string();
            assert_eq!(read, "2026-06-15T10:32:11Z", "{text}");
        }
        assert!(utc_time("15.06.2026", now).is_err());
    }

    #[test]
    fn a_time_as_mail_has_it_is_read() {
        let now = Time::from_seconds(1_781_519_531);
        for zone in ["GMT", "UTC", "+0000", "-0000", "UT"] {
            let time = mail_time(&format!("Fri, 21 Oct 2011 11:02:55 {zone}"), now);
            assert_eq!(time.unwrap().to_string(), "2011-10-21T11:02:55Z", "{zone}");
        }
        assert!(mail_time("2011-10-21T11:02:55Z", now).is_err());
    }

    #[test]
    fn times_are_widened_outwards() {
        for (text, up, on) in [
            ("2026-06-15T23:59:59.5Z", 1_781_568_000, "2026-06-15"),
            ("2026-06-15T23:59:59Z", 1_781_567_999, "2026-06-15"),
            ("1969-12-31T23:59:59.5Z", 0, "1969-12-31"),
        ] {
            let time = Time::parse(text).unwrap();
            assert_eq!((ceil_second(time), day(time).as_str()), (up, on), "{text}");
        }
    }
}
