//! Reads the times of events in every form that providers write, and writes those of requests.

use jiff::fmt::rfc2822::DateTimeParser;

use crate::model::Time;
use crate::model::trust::believed;
use crate::provider::Unreadable;

/// Numbers above this are milliseconds since the epoch, not seconds (it is the year 5138).
const SECONDS_MAX: u64 = 100_000_000_000;

/// Digits of a fraction of a second that count.
const DIGITS_MAX: usize = 9;

/// Reads an event's time: RFC 3339, or a number of seconds or, where that is the only sensible
/// reading, of milliseconds since the epoch.
///
/// # Errors
/// When it is none.
pub fn time(text: &str, received_at: Time) -> Result<Time, Unreadable> {
    let text = text.trim();
    let time = number(text).or_else(|| rfc_3339(text));
    let unfit = "it is no time as RFC 3339 has it, and no number of seconds";
    let time = time.ok_or_else(|| Unreadable(unfit.to_owned()))?;
    Ok(believed(time, received_at))
}

/// A time of RFC 3339. Nine digits of a fraction count; some programs write more.
fn rfc_3339(text: &str) -> Option<Time> {
    let (start, rest) = match text.split_once(['.', ',']) {
        Some((start, rest)) => (start, rest),
        None => return Time::parse(text),
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, zone) = rest.split_at(digits);
    Time::parse(&format!("{start}.{}{zone}", &fraction[..digits.min(DIGITS_MAX)]))
}

/// Seconds or milliseconds since the epoch.
fn number(text: &str) -> Option<Time> {
    match text.parse::<i64>() {
        Ok(n) if n.unsigned_abs() <= SECONDS_MAX => Some(Time::from_seconds(n)),
        Ok(n) => n.checked_mul(1_000_000).map(|nanos| Time::from_nanos(nanos, 3)),
        Err(_) => decimal(text),
    }
}

/// The same with a fraction, digit by digit: as a float it would lose some.
fn decimal(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let is_millis = whole.unsigned_abs() > SECONDS_MAX;
    let (unit, before) = if is_millis { (1_000_000, 3) } else { (1_000_000_000, 0) };
    let fraction = &fraction[..fraction.len().min(DIGITS_MAX - before)];
    let width = DIGITS_MAX - before;
    let nanos: i64 = format!("{fraction:0<width$}").parse().ok()?;
    let nanos = whole.checked_mul(unit)?.checked_add(nanos)?;
    Some(Time::from_nanos(nanos, u8::try_from(before + fraction.len()).ok()?))
}

/// A JSON number without an exponent, to the millisecond where it has one.
pub(super) fn plain(number: &str) -> String {
    match number.parse::<f64>() {
        Ok(value) if number.contains(['e', 'E']) => format!("{value:.3}"),
        _ => number.to_owned(),
    }
}

/// Reads a time as [`time`] does, or as a text of RFC 3339 without a zone, which is then UTC.
///
/// # Errors
/// When it is none.
pub fn utc_time(text: &str, received_at: Time) -> Result<Time, Unreadable> {
    let text = text.trim();
    let time = number(text).or_else(|| rfc_3339(text)).or_else(|| rfc_3339(&format!("{text}Z")));
    let time = time.ok_or_else(|| Unreadable("it is a time in no known form".to_owned()))?;
    Ok(believed(time, received_at))
}

/// Reads a time as a decimal number of seconds since the epoch, in JSON or bare.
///
/// # Errors
/// When it is none, or beyond the range of times.
pub fn decimal_time(text: &str, received_at: Time) -> Result<Time, Unreadable> {
    let time = decimal(text.trim_matches('"'));
    let time = time.ok_or_else(|| Unreadable("it is no number of seconds".to_owned()))?;
    Ok(believed(time, received_at))
}

/// Reads a time as mail has it (RFC 5322, section 3.3), with the zone's name if it is UTC's.
///
/// # Errors
/// When it is none.
pub fn mail_time(text: &str, received_at: Time) -> Result<Time, Unreadable> {
    let text = text.trim().replace("UTC", "GMT");
    let time = DateTimeParser::new().parse_timestamp(&text);
    let time = time.map_err(|_| Unreadable("it is no time as mail has it".to_owned()))?;
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
        assert_eq!(time("2200-01-01T00:00:00Z", now), Ok(now));
        assert_eq!(time("1000000000", now), Ok(now));
        let millis = time("999999999123", now).unwrap();
        assert_eq!(millis.to_string(), "2001-09-09T01:46:39.123Z");
        assert!(time("soon", now).is_err());
    }

    #[test]
    fn numbers_may_be_written_as_texts() {
        let now = Time::parse("2026-06-15T12:00:00Z").unwrap();
        for text in ["1454442600", " 1454442600 ", "2016-02-02T19:50:00Z", "1454442600000"] {
            assert_eq!(time(text, now).unwrap().second(), 1_454_442_600, "{text}");
        }
        for bad in ["soon", "1454442600 s", "1.5.5", "", "-", "--1"] {
            assert!(time(bad, now).is_err(), "{bad}");
        }
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
