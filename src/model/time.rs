//! Instants with the precision they were told to us in, and how long a suppression lasts.
//!
//! Never reads a clock: `clock::now` makes the only `Time` that is not parsed or computed.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::{Deserialize, Serialize};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// An instant in UTC, with the number of fractional digits that its source gave.
///
/// Ordered by instant; the digits only break ties, so that merging stays commutative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time {
    nanos: i64,
    digits: u8,
}

impl Time {
    /// The last instant there is.
    pub const END: Time = Time::from_nanos(i64::MAX, 9);

    /// From nanoseconds since the Unix epoch, shown with `digits` (0 to 9) fractional digits.
    pub const fn from_nanos(nanos: i64, digits: u8) -> Time {
        Time { nanos, digits: if digits > 9 { 9 } else { digits } }
    }

    /// From whole seconds since the Unix epoch; saturates at the ends of the range (1677, 2262).
    pub fn from_seconds(seconds: i64) -> Time {
        // To whole seconds at the ends too, so that every time reads again as itself.
        let most = i64::MAX / NANOS_PER_SECOND;
        Time { nanos: seconds.clamp(-most, most) * NANOS_PER_SECOND, digits: 0 }
    }

    /// From RFC 3339 text with any offset. `None` when it is not that, or beyond 1677 to 2262.
    pub fn parse(text: &str) -> Option<Time> {
        let text = text.trim();
        // RFC 3339 section 5.6 wants a date, a time and an offset; jiff alone would take less.
        let bytes = text.as_bytes();
        if bytes.len() < 20 || !matches!(bytes[10], b'T' | b't' | b' ') {
            return None;
        }
        let stamp: Timestamp = text.parse().ok()?;
        let nanos = i64::try_from(stamp.as_nanosecond()).ok()?;
        let rest = bytes.get(19..)?;
        let (fraction, offset) = match rest.split_first() {
            Some((b'.' | b',', rest)) => {
                rest.split_at(rest.iter().take_while(|b| b.is_ascii_digit()).count())
            }
            _ => (&[][..], rest),
        };
        let digits = u8::try_from(fraction.len()).ok()?;
        is_offset(offset).then_some(Time { nanos, digits })
    }

    /// Nanoseconds since the Unix epoch.
    pub fn nanos(self) -> i64 {
        self.nanos
    }

    /// The whole second it lies in, as seconds since the Unix epoch.
    pub fn second(self) -> i64 {
        self.nanos.div_euclid(NANOS_PER_SECOND)
    }

    /// The start of the whole second it lies in, shown without a fraction.
    pub fn floor_second(self) -> Time {
        Time::from_seconds(self.second())
    }

    /// The first whole second that is not before it.
    pub fn ceil_second(self) -> Time {
        Time::from_seconds(self.second() + i64::from(self.nanos % NANOS_PER_SECOND != 0))
    }

    /// Later by `span`, saturating.
    #[must_use]
    pub fn plus(self, span: Duration) -> Time {
        Time { nanos: self.nanos.saturating_add(span_nanos(span)), digits: self.digits }
    }

    /// Earlier by `span`, saturating.
    #[must_use]
    pub fn minus(self, span: Duration) -> Time {
        Time { nanos: self.nanos.saturating_sub(span_nanos(span)), digits: self.digits }
    }

    /// The last instant before this one.
    #[must_use]
    pub fn just_before(self) -> Time {
        Time { nanos: self.nanos.saturating_sub(1), digits: 9 }
    }

    /// The first instant after this one.
    #[must_use]
    pub fn just_after(self) -> Time {
        Time { nanos: self.nanos.saturating_add(1), digits: 9 }
    }

    /// As in the header of a message (RFC 2822), in UTC and whole seconds.
    pub fn to_rfc_2822(self) -> String {
        let stamp = Timestamp::from_second(self.second());
        let text = stamp.and_then(|s| rfc2822::DateTimePrinter::new().timestamp_to_string(&s));
        // jiff tells UTC from the zone of a place by the sign, which few readers know.
        let known = |text: String| text.strip_suffix("-0000").map(|text| [text, "+0000"].concat());
        text.ok().and_then(known).unwrap_or_else(|| self.to_string())
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Time) -> Duration {
        let nanos = self.nanos.saturating_sub(earlier.nanos);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

/// `Z`, or hours with or without minutes, of what is an offset by some standard: others have
/// seconds too, or the name of a zone behind it.
fn is_offset(text: &[u8]) -> bool {
    match text {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', rest @ ..] => {
            rest.len() <= 5 && rest.iter().all(|b| b.is_ascii_digit() || *b == b':')
        }
        _ => false,
    }
}

fn span_nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_nanosecond(i128::from(self.nanos)) {
            Ok(stamp) => write!(f, "{stamp:.*}", usize::from(self.digits)),
            Err(_) => f.write_str("out of range"),
        }
    }
}

/// How long something holds after the fact that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// For this long after the latest fact.
    For(Duration),
    /// Until a lift.
    Forever,
}

impl Term {
    /// The end of a term that starts at `start`.
    pub fn end(self, start: Time) -> Until {
        match self {
            Term::For(span) => Until::At(start.plus(span)),
            Term::Forever => Until::Forever,
        }
    }
}

/// When something ends. Ordered: a later end is greater, no end at all is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Until {
    /// It holds before this instant, and no longer at it.
    At(Time),
    /// It has no end.
    Forever,
}

impl Until {
    /// Whether it still holds at `now`; the end itself is outside.
    pub fn holds_at(self, now: Time) -> bool {
        match self {
            Until::At(end) => now.nanos < end.nanos,
            Until::Forever => true,
        }
    }

    /// The end, if there is one.
    pub fn time(self) -> Option<Time> {
        match self {
            Until::At(end) => Some(end),
            Until::Forever => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_range_read_again() {
        for seconds in [i64::MIN, -30_000_000_000, 30_000_000_000, i64::MAX] {
            let time = Time::from_seconds(seconds);
            assert_eq!(Time::parse(&time.to_string()), Some(time), "{time}");
        }
    }

    #[test]
    fn rfc3339_keeps_its_precision_and_turns_to_utc() {
        for (given, shown) in [
            ("2026-06-15T10:32:11Z", "2026-06-15T10:32:11Z"),
            ("2026-06-15T10:32:11.500Z", "2026-06-15T10:32:11.500Z"),
            ("2026-06-15T12:32:11.123456789+02:00", "2026-06-15T10:32:11.123456789Z"),
            ("2026-06-15t10:32:11z", "2026-06-15T10:32:11Z"),
            ("2026-06-15 12:32:11+0200", "2026-06-15T10:32:11Z"),
            ("2026-06-15T10:32:11,25-00", "2026-06-15T10:32:11.25Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
        ] {
            assert_eq!(
                Time::parse(given).map(|t| t.to_string()).as_deref(),
                Some(shown),
                "{given}"
            );
        }
        for bad in [
            "",
            "2026-06-15",
            "2026-06-15T10:32:11",
            "2026-06-15T10:32+02:00",
            "2026-06-15T10:32:11+02:20:22",
            "2026-06-15T10:32:12,1256+022022.2020211",
            "2026-06-15T10:32:11Z[UTC]",
            "yesterday",
            "9999-01-01T00:00:00Z",
        ] {
            assert_eq!(Time::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_end_is_exact() {
        let end = Time::from_seconds(1_000);
        assert!(Until::At(end).holds_at(end.just_before()));
        assert!(!Until::At(end).holds_at(end));
        assert!(Until::Forever.holds_at(end));
        assert!(Until::At(end) < Until::Forever);
    }

    #[test]
    fn mail_headers_have_their_own_form() {
        let time = Time::parse("2026-11-01T12:00:00.5+02:00").unwrap();
        assert_eq!(time.to_rfc_2822(), "Sun, 1 Nov 2026 10:00:00 +0000");
    }

    #[test]
    fn seconds_floor_before_the_epoch_too() {
        assert_eq!(Time::from_nanos(-1, 9).second(), -1);
        assert_eq!(Time::from_nanos(1_999_999_999, 9).second(), 1);
        for (nanos, second) in [(-1, 0), (0, 0), (1, 1), (1_000_000_000, 1), (-1_000_000_001, -1)] {
            assert_eq!(Time::from_nanos(nanos, 9).ceil_second(), Time::from_seconds(second));
        }
    }
}
