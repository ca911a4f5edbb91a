//! Readings that the providers' formats share: addresses, times, status codes, JSON arrays.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{ELEMENTS_MAX, PageError, Unreadable};
use crate::model::{Address, Element, Scope, Time};

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
    members_by(body, |text| serde_json::from_str(text).ok())
}

/// The parts of a body that `find` names, verbatim. `None` when it finds none, or too many.
pub fn members_by(
    body: &[u8],
    find: impl for<'a> Fn(&'a str) -> Option<Vec<&'a RawValue>>,
) -> Option<Vec<&[u8]>> {
    // One member with bytes that are not UTF-8 must not cost the others: the cuts are found in a
    // copy of the same length that has something harmless in their place.
    let text = match std::str::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(harmless(body)),
    };
    let items = find(&text)?;
    let start = text.as_ptr().addr();
    let part = |item: &&RawValue| {
        let from = item.get().as_ptr().addr().checked_sub(start)?;
        body.get(from..from + item.get().len())
    };
    if items.len() > ELEMENTS_MAX {
        return None;
    }
    items.iter().map(part).collect()
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

/// Reads a JSON object. serde alone would also take an array of its values, in their order. Bytes
/// that are not UTF-8 are replaced: they stand in what a server said, and must not cost the rest.
///
/// # Errors
/// When it is no object, or not one of this form.
pub fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(serde::de::Error::custom("an array stands where an object must"));
    }
    serde_json::from_str(&String::from_utf8_lossy(body))
}

/// Reads a page that is a JSON object, or refuses it as no page of `what`.
///
/// # Errors
/// When it is no object, or not one of this form.
pub fn page<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, PageError> {
    object(body).map_err(|error| PageError(format!("not a page of {what}: {error}")))
}

/// Reads a page that is a JSON array of rows, or refuses it as no page of `what`.
///
/// # Errors
/// When it is no array.
pub fn page_of_rows(body: &[u8], what: &str) -> Result<Vec<Element>, PageError> {
    let items: Vec<Box<RawValue>> = serde_json::from_str(&String::from_utf8_lossy(body))
        .map_err(|error| PageError(format!("not a page of {what}: {error}")))?;
    Ok(rows(&items))
}

/// The rows of a page, verbatim.
pub fn rows(items: &[Box<RawValue>]) -> Vec<Element> {
    items.iter().map(|item| element(item.get().as_bytes())).collect()
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

/// Reads an address of a provider's list.
///
/// # Errors
/// When it is not one plausible mailbox: some lists hold whole domains too.
pub fn listed(text: &str) -> Result<Address, Unreadable> {
    let domain = "a whole domain is listed: let the MTA refuse it, since only addresses are kept";
    let text = text.trim();
    match text.rsplit_once('@') {
        None | Some(("" | "*", _)) if !text.is_empty() => Err(Unreadable(domain.to_owned())),
        _ => mailbox(text),
    }
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
    Ok(believed(time, received_at))
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

/// Cuts the array under `name` of a JSON object into its members. All else is cut as
/// [`split_json`] does.
pub fn split_under(name: &str, body: &[u8]) -> Vec<Element> {
    match members_under(name, body) {
        Some(parts) => parts.into_iter().map(element).collect(),
        None => split_json(body),
    }
}

/// The members of the array under `name` of a JSON object, verbatim.
fn members_under<'b>(name: &str, body: &'b [u8]) -> Option<Vec<&'b [u8]>> {
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    let found = || {
        members_by(body, |text| {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            serde_json::from_str(fields.get(name)?.get()).ok()
        })
    };
    is_object.then(found).flatten()
}

/// The rows of a page that is a JSON object with an array under `name`.
///
/// # Errors
/// When it is none, or has too many rows.
pub fn rows_under(name: &str, body: &[u8]) -> Result<Vec<Element>, PageError> {
    let parts = members_under(name, body);
    let parts = parts.ok_or_else(|| PageError(format!("there is no list of {name}")))?;
    Ok(parts.into_iter().map(element).collect())
}

/// The day of a time in UTC, as `2026-06-15`.
pub fn day(time: Time) -> String {
    time.to_string().chars().take("2026-06-15".len()).collect()
}

/// The first whole second that is not before a time, since the epoch.
pub fn ceil_second(time: Time) -> i64 {
    time.second() + i64::from(time.floor_second().nanos() < time.nanos())
}

/// The SMTP reply code that a text starts with, or that follows a colon or semicolon in it, as in
/// `RecipientError: 550 …` and `smtp; 550 …` (RFC 3464, section 2.3.6).
pub fn said_code(text: &str) -> Option<u16> {
    let reply = |part: &str| {
        let part = part.trim_start();
        // Not the end of an IPv6 address or of a time.
        let is_reply = matches!(part.as_bytes().get(3), Some(b' ' | b'-'));
        smtp_code(part).filter(|_| is_reply)
    };
    smtp_code(text).or_else(|| text.split([':', ';']).skip(1).find_map(reply))
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

/// A list of texts, or a single one; what is neither is left out.
///
/// # Errors
/// When it is no JSON.
pub fn loose_texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let text = |value: Value| match value {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    };
    Ok(match Value::deserialize(from)? {
        Value::Array(values) => values.into_iter().filter_map(text).collect(),
        value => text(value).into_iter().collect(),
    })
}

/// An id without the angle brackets of a Message-ID (RFC 5322, section 3.6.4), if any is left.
pub fn bare_id(text: &str) -> Option<String> {
    let text = text.trim();
    let bare = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// The scope of a provider's stream, group or list.
///
/// # Errors
/// When there is none of that name.
pub fn stream(name: &str) -> Result<Scope, Unreadable> {
    Scope::parse(&format!("stream:{name}"))
        .ok_or_else(|| Unreadable("what it covers has no name".to_owned()))
}

/// An event's time, or ours where its clock is far ahead of ours.
pub fn believed(time: Time, received_at: Time) -> Time {
    let latest = received_at.plus(AHEAD_MAX);
    if time.nanos() > latest.nanos() { received_at } else { time }
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

/// The text, unless it is empty.
pub fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// The sender's own data as JSON text; `None` when it is no object, or empty.
pub fn own_data(raw: Option<&RawValue>) -> Option<String> {
    let data: serde_json::Map<String, Value> = serde_json::from_str(raw?.get()).ok()?;
    (!data.is_empty()).then(|| Value::Object(data).to_string())
}

/// The fields of a flat notification, a JSON object or a form.
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads them. Values of JSON that are no text, number, true or false are left out.
    ///
    /// # Errors
    /// When it starts as a JSON object and is none.
    pub fn parse(body: &[u8]) -> Result<Fields, Unreadable> {
        if body.trim_ascii_start().first() != Some(&b'{') {
            let pairs = url::form_urlencoded::parse(body);
            return Ok(Fields(pairs.map(|(k, v)| (k.into_owned(), v.into_owned())).collect()));
        }
        let map: serde_json::Map<String, Value> =
            object(body).map_err(|error| Unreadable(format!("not an object: {error}")))?;
        let field = |(name, value): (String, Value)| match value {
            Value::String(text) => Some((name, text)),
            Value::Number(_) | Value::Bool(_) => Some((name, value.to_string())),
            _ => None,
        };
        Ok(Fields(map.into_iter().filter_map(field).collect()))
    }

    /// The first field of that name, in either case, that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let named = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        let mut values = self.0.iter().filter(named).map(|(_, value)| value.trim());
        values.find(|value| !value.is_empty())
    }

    /// The field of that name, owned.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// All fields, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }
}

/// A diagnostic without the type that may stand before it, as in `smtp; 550 5.1.1 no such user`
/// (RFC 3464, section 2.3.6).
pub fn reply(text: &str) -> &str {
    match text.split_once(';') {
        Some((kind, rest)) if kind.trim().eq_ignore_ascii_case("smtp") => rest.trim_start(),
        _ => text,
    }
}

/// The recipients of a header such as `To` (RFC 5322, section 3.4), without their names.
pub fn mailboxes(header: &str) -> Vec<Result<Address, Unreadable>> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for c in header.chars() {
        if c == ',' && !quoted {
            parts.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.map(|part| mailbox(part.rfind('<').map_or(part, |at| &part[at..]))).collect()
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
    fn members_below_a_name_are_cut_verbatim() {
        let bodies = |body: &[u8]| -> Vec<Vec<u8>> {
            split_under("events", body).into_iter().map(|e| e.body).collect()
        };
        let two = b" {\"v\":1, \"events\" : [ {\"a\" : \"\xff\"}, 2 ] } ";
        assert_eq!(bodies(two), [&b"{\"a\" : \"\xff\"}"[..], b"2"]);
        assert_eq!(bodies(b"[1,{\"events\":[]}]"), [&b"1"[..], b"{\"events\":[]}"]);
        assert_eq!(bodies(b"{\"events\":[]}"), Vec::<Vec<u8>>::new());
        for whole in [&b"{\"events\":3}"[..], b"{\"a\":1}", b"{\"events\":[1,", b"", b"no"] {
            assert_eq!(bodies(whole), [whole]);
        }
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

    #[test]
    fn a_reply_is_found_behind_what_introduces_it() {
        for (text, code) in [
            ("550 5.1.1 no such user", Some(550)),
            ("smtp;550 5.1.1 no such user", Some(550)),
            (" RecipientError: 550 5.5.0 not taken", Some(550)),
            ("Status: 5.7.1\r\nDiagnostic-Code: smtp; 554-denied", Some(554)),
            ("connect to mx[2001:db8::250]: timed out", None),
            ("after 12:400", None),
            ("Blocked : due to 550 things", None),
        ] {
            assert_eq!(said_code(text), code, "{text:?}");
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
    fn loose_forms_are_read() {
        let now = Time::parse("2026-06-15T12:00:00Z").unwrap();
        for text in ["1454442600", " 1454442600 ", "2016-02-02T19:50:00Z", "1454442600000"] {
            let time = loose_time(&TimeForm::Text(text.to_owned()), now).unwrap();
            assert_eq!(time.second(), 1_454_442_600, "{text}");
        }
        assert!(loose_time(&TimeForm::Text("soon".to_owned()), now).is_err());
        let texts =
            |json: &str| loose_texts(&mut serde_json::Deserializer::from_str(json)).unwrap();
        assert_eq!(texts(r#"["a","",3,"b"]"#), ["a", "b"]);
        assert_eq!(texts(r#""a""#), ["a"]);
        assert!(texts("{}").is_empty() && texts(r#""""#).is_empty());
        assert_eq!(bare_id(" <a@b> ").as_deref(), Some("a@b"));
        assert_eq!(bare_id("a@b").as_deref(), Some("a@b"));
        assert!(bare_id("<>").is_none() && bare_id("").is_none());
        assert!(stream("").is_err() && stream("a\nb").is_err());
        assert_eq!(stream("news").unwrap().to_string(), "stream:news");
    }

    #[test]
    fn headers_and_diagnostics_are_taken_apart() {
        let known = |header: &str| -> Vec<String> {
            let text = |a: Result<Address, Unreadable>| {
                a.map_or("bad".to_owned(), |address| address.received().to_owned())
            };
            mailboxes(header).into_iter().map(text).collect()
        };
        assert_eq!(known("a@b.example"), ["a@b.example"]);
        assert_eq!(known("A <a@b.example>, c@d.example ,"), ["a@b.example", "c@d.example"]);
        assert_eq!(known("\"Doe, \\\"J\\\"\" <j@b.example>"), ["j@b.example"]);
        assert_eq!(known("undisclosed-recipients:;"), ["bad"]);
        assert_eq!(known(" "), Vec::<String>::new());
        assert_eq!(reply("smtp; 550 5.1.1 x; y"), "550 5.1.1 x; y");
        assert_eq!(reply("SMTP;550 x"), "550 x");
        assert_eq!(reply("550 a; b"), "550 a; b");
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
    fn a_listed_domain_is_told_from_an_address() {
        assert_eq!(listed("a@example.com").unwrap().received(), "a@example.com");
        for domain in ["example.com", "@example.com", "*@example.com"] {
            let error = listed(domain).unwrap_err();
            assert!(error.0.starts_with("a whole domain is listed"), "{domain}");
            assert!(!error.0.contains(domain), "{error}");
        }
        assert!(listed("a b@example.com").is_err_and(|error| error.0.starts_with("recipient")));
    }

    #[test]
    fn rows_are_cut_of_pages_only() {
        let texts = |rows: Result<Vec<Element>, PageError>| -> Option<Vec<Vec<u8>>> {
            rows.ok().map(|rows| rows.into_iter().map(|row| row.body).collect())
        };
        assert_eq!(
            texts(page_of_rows(b" [ {} , 2]", "rows")),
            Some(vec![b"{}".to_vec(), b"2".to_vec()])
        );
        assert_eq!(texts(rows_under("a", b"{\"b\":1,\"a\":[3]}")), Some(vec![b"3".to_vec()]));
        for body in ["", "{}", "{\"a\":{}}", "[1,", "{\"a\":[1]", "null", "\"a\"", "<html>"] {
            assert_eq!(texts(page_of_rows(body.as_bytes(), "rows")), None, "{body}");
            assert_eq!(texts(rows_under("a", body.as_bytes())), None, "{body}");
        }
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
    fn fields_are_found_in_either_case() {
        for body in [
            &b"Event=bounce&x=&x=a%20b+c&n=7"[..],
            b"{\"EVENT\":\"bounce\",\"x\":\"a b c\",\"n\":7}",
        ] {
            let fields = Fields::parse(body).unwrap();
            assert_eq!(fields.get("event"), Some("bounce"));
            assert_eq!(fields.get("X"), Some("a b c"));
            assert_eq!(fields.get("n"), Some("7"));
            assert_eq!(fields.get("no"), None);
        }
        assert!(Fields::parse(b"{\"a\"").is_err());
    }
}
