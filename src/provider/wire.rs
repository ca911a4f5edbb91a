//! Readings that the providers' formats share: addresses, times, status codes, JSON arrays.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

use super::{ELEMENTS_MAX, Unreadable};
use crate::model::{Address, Element, Time};

/// How far ahead of our clock an event's time may be. Beyond it our own time is taken: a wrong
/// clock at a provider must not put a fact where no lift reaches it.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Numbers above this are milliseconds since the epoch, not seconds (it is the year 5138).
const SECONDS_MAX: u64 = 100_000_000_000;

/// Cuts a JSON array into its members, or takes an object as the only one. All else is one
/// element that nobody will be able to read, and so ends in quarantine.
pub fn split_json(body: &[u8]) -> Vec<Element> {
    let parts = match body.trim_ascii_start().first() {
        Some(b'[') => members(body),
        _ => None,
    };
    match parts {
        Some(parts) => parts.into_iter().map(element).collect(),
        None => vec![element(body)],
    }
}

/// The members of a JSON array, verbatim. `None` when it is none, or has too many.
fn members(body: &[u8]) -> Option<Vec<&[u8]>> {
    // One member with bytes that are not UTF-8 must not cost the others: the cuts are found in a
    // copy of the same length that has something harmless in their place.
    let text = match std::str::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(harmless(body)),
    };
    let items: Vec<&RawValue> = serde_json::from_str(&text).ok()?;
    let start = text.as_ptr().addr();
    let cut = |item: &RawValue| {
        let from = item.get().as_ptr().addr().checked_sub(start)?;
        body.get(from..from + item.get().len())
    };
    if items.len() > ELEMENTS_MAX {
        return None;
    }
    items.into_iter().map(cut).collect()
}

/// The bytes, with a `?` for each that is not part of UTF-8.
fn harmless(body: &[u8]) -> String {
    let mut copy = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        copy.push_str(chunk.valid());
        copy.extend(chunk.invalid().iter().map(|_| '?'));
    }
    copy
}

/// Reads a JSON object. serde alone would also take an array of its values, in their order.
///
/// # Errors
/// When it is no object, or not one of this form.
pub fn object<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, serde_json::Error> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(serde::de::Error::custom("an array stands where an object must"));
    }
    serde_json::from_slice(body)
}

/// An element without context.
pub fn element(body: &[u8]) -> Element {
    Element { context: String::new(), body: body.to_vec() }
}

/// Reads a recipient: a bare address, or one in angle brackets.
///
/// # Errors
/// When it is not one plausible mailbox.
pub fn mailbox(text: &str) -> Result<Address, Unreadable> {
    let text = text.trim_matches(' ');
    let bare = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
    Address::parse(bare).map_err(|error| Unreadable(format!("recipient: {error}")))
}

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
    let latest = received_at.plus(AHEAD_MAX);
    Ok(if time.nanos() > latest.nanos() { received_at } else { time })
}

/// A number or a text, as text; for ids and codes that providers write either way.
///
/// # Errors
/// When it is neither.
pub fn loose_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Number(serde_json::Number),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Option::<Form>::deserialize(from)? {
        Some(Form::Text(text)) => Some(text),
        Some(Form::Number(number)) => Some(number.to_string()),
        Some(Form::Other(_)) | None => None,
    })
}

/// The SMTP reply code (RFC 5321 section 4.2) that a text is or starts with.
pub fn smtp_code(text: &str) -> Option<u16> {
    let digits = text.trim_start().split(|c: char| !c.is_ascii_digit()).next()?;
    if digits.len() != 3 {
        return None;
    }
    digits.parse().ok().filter(|code| (200..600).contains(code))
}

/// The first enhanced status code (RFC 3463 section 2) in a text.
pub fn enhanced_code(text: &str) -> Option<String> {
    let boundary = |c: char| !(c.is_ascii_alphanumeric() || c == '.');
    let word = text.split(boundary).map(|word| word.trim_end_matches('.'));
    word.filter(|word| is_enhanced(word)).map(str::to_owned).next()
}

fn is_enhanced(word: &str) -> bool {
    let mut parts = word.split('.');
    let class = matches!(parts.next(), Some("2" | "4" | "5"));
    let detail = |part: Option<&str>| {
        part.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    };
    class && detail(parts.next()) && detail(parts.next()) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_where_they_stand() {
        for (text, code, enhanced) in [
            ("550 5.1.1 User unknown", Some(550), Some("5.1.1")),
            ("550-5.7.26 blocked", Some(550), Some("5.7.26")),
            ("smtp; 550 #5.1.0 Address rejected.", None, Some("5.1.0")),
            ("(5.1.1).", None, Some("5.1.1")),
            ("seen from 5.1.1.9", None, None),
            ("1550 x", None, None),
            ("452 4.2.2 full", Some(452), Some("4.2.2")),
            ("999 nothing", None, None),
            ("", None, None),
        ] {
            assert_eq!(smtp_code(text), code, "{text:?}");
            assert_eq!(enhanced_code(text).as_deref(), enhanced, "{text:?}");
        }
    }

    #[test]
    fn bodies_are_cut_verbatim() {
        let bodies = |body: &str| -> Vec<String> {
            let text = |e: Element| String::from_utf8(e.body).unwrap();
            split_json(body.as_bytes()).into_iter().map(text).collect()
        };
        assert_eq!(bodies(" [ {\"a\" : 1}, 2 ] "), ["{\"a\" : 1}", "2"]);
        assert_eq!(bodies("[]"), Vec::<String>::new());
        assert_eq!(bodies("{\"a\":1}"), ["{\"a\":1}"]);
        assert_eq!(bodies("[1,"), ["[1,"]);
        assert_eq!(bodies("no"), ["no"]);
        assert_eq!(bodies(""), [""]);
    }

    #[test]
    fn a_member_that_is_not_utf8_is_cut_alone() {
        let cut: Vec<Vec<u8>> =
            split_json(b"[1,\"\xe9\xff\",\"\xc3\xa9\"]").into_iter().map(|e| e.body).collect();
        assert_eq!(cut, [&b"1"[..], b"\"\xe9\xff\"", b"\"\xc3\xa9\""]);
        assert_eq!(split_json(b"[1,\xff]").len(), 1);
    }

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
}
