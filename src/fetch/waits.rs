//! How long an answer asks us to wait, in whatever header.

use std::time::Duration;

use http::HeaderMap;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::model::Time;

/// Longest wait that an answer can ask for; more is cut to this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Above this a reset header holds an instant in Unix seconds, else a number of seconds to wait.
const EPOCH_FROM: u64 = 1_000_000_000;

/// Headers that tell when a rate limit ends: SendGrid, MailerSend and Mailgun, the IETF's draft
/// (Resend), Brevo. See `providers/`, each under its rate limits.
const RESET_HEADERS: &[&str] = &["x-ratelimit-reset", "ratelimit-reset", "x-sib-ratelimit-reset"];

/// Pairs of headers: how many requests are left, and when there are more. The last pair is
/// MailerSend's daily quota, whose reset is a date (RFC 3339).
const LEFT_HEADERS: &[(&str, &str)] = &[
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-sib-ratelimit-remaining", "x-sib-ratelimit-reset"),
    ("x-apiquota-remaining", "x-apiquota-reset"),
];

/// The value of a header, if it is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// How long an answer asks us to wait: the later of `Retry-After` (RFC 9110 section 10.2.3) and,
/// for a 429, of the reset headers.
pub(super) fn retry_after(headers: &HeaderMap, status: u16, now: Time) -> Option<Duration> {
    let asked = text(headers, http::header::RETRY_AFTER.as_str())
        .and_then(|value| seconds(value).or_else(|| until_date(value, now)));
    let resets = RESET_HEADERS.iter().filter(|_| status == 429);
    let reset = resets.filter_map(|name| reset(text(headers, name)?, now)).max();
    asked.max(reset).map(|wait| wait.min(RETRY_AFTER_MAX))
}

/// How long a rate limit has no more room: the latest reset of those that are used up.
pub(super) fn spent(headers: &HeaderMap, now: Time) -> Option<Duration> {
    let used_up = LEFT_HEADERS.iter().filter(|(left, _)| text(headers, left) == Some("0"));
    let wait = used_up.filter_map(|(_, name)| reset(text(headers, name)?, now)).max();
    wait.map(|wait| wait.min(RETRY_AFTER_MAX))
}

/// Whole seconds; a fraction, which some servers send, is rounded up.
fn seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    // Digits that do not fit are an enormous wait, which the cap cuts.
    let whole = whole.parse::<u64>().unwrap_or(u64::MAX);
    Some(Duration::from_secs(whole.saturating_add(u64::from(!fraction.is_empty()))))
}

fn until_date(value: &str, now: Time) -> Option<Duration> {
    let date = DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Time::from_seconds(date.as_second()).since(now))
}

fn reset(value: &str, now: Time) -> Option<Duration> {
    let Some(wait) = seconds(value) else {
        return Time::parse(value).map(|date| date.since(now));
    };
    if wait.as_secs() <= EPOCH_FROM {
        return Some(wait);
    }
    let instant = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    Some(Time::from_seconds(instant).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_in_every_form() {
        let now = Time::parse("2026-06-15T10:00:00Z").unwrap();
        let epoch = now.second() + 90;
        for (status, header, value, wait) in [
            (503, "retry-after", "7", Some(7)),
            (503, "retry-after", " 7 ", Some(7)),
            (429, "retry-after", "0", Some(0)),
            (429, "retry-after", "1.25", Some(2)),
            (429, "retry-after", "Mon, 15 Jun 2026 10:01:30 GMT", Some(90)),
            (429, "retry-after", "Mon, 15 Jun 2026 09:00:00 GMT", Some(0)),
            (429, "retry-after", "86400", Some(3_600)),
            (429, "retry-after", "99999999999999999999999", Some(3_600)),
            (429, "retry-after", "soon", None),
            (429, "retry-after", "-5", None),
            (429, "retry-after", "", None),
            (429, "x-ratelimit-reset", "30", Some(30)),
            (429, "ratelimit-reset", &epoch.to_string(), Some(90)),
            (429, "x-sib-ratelimit-reset", "12", Some(12)),
            (429, "x-ratelimit-reset", "2026-06-15", None),
            (429, "x-ratelimit-reset", "2026-06-15T10:00:40Z", Some(40)),
            (503, "x-ratelimit-reset", "30", None),
            (200, "x-ratelimit-reset", "30", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header, value.parse().unwrap());
            let expected = wait.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, status, now), expected, "{status} {header}: {value}");
        }
    }

    #[test]
    fn the_later_of_two_waits_counts() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "5".parse().unwrap());
        headers.insert("x-ratelimit-reset", "30".parse().unwrap());
        let now = Time::from_seconds(0);
        assert_eq!(retry_after(&headers, 429, now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after(&headers, 503, now), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_limit_that_is_used_up_is_waited_for() {
        let now = Time::parse("2026-06-15T10:00:00Z").unwrap();
        for (left, reset, wait) in [
            (("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30"), Some(30)),
            (("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "30"), None),
            (("ratelimit-remaining", "0"), ("ratelimit-reset", "1"), Some(1)),
            (("x-sib-ratelimit-remaining", "0"), ("x-sib-ratelimit-reset", "9"), Some(9)),
            (("x-sib-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9"), None),
            (("x-apiquota-remaining", "0"), ("x-apiquota-reset", "2026-06-15T10:01:00Z"), Some(60)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(left.0, left.1.parse().unwrap());
            headers.insert(reset.0, reset.1.parse().unwrap());
            assert_eq!(spent(&headers, now), wait.map(Duration::from_secs), "{left:?} {reset:?}");
        }
    }
}
