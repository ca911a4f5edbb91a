//! JSON as providers send it: with a byte order mark, bytes that are not UTF-8, half a surrogate.
//!
//! Signatures are checked on the bytes before: what is mended here was authentic. Errors tell what
//! is wrong and where, and quote nothing.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Map, Value};

/// What some programs put before their JSON (RFC 8259, section 8.1, lets a reader ignore it).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a text is not the JSON that is wanted, in words that quote nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit(Cow<'static, str>);

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<serde_json::Error> for Misfit {
    /// serde's own words have the value in them.
    fn from(error: serde_json::Error) -> Misfit {
        let what = match error.classify() {
            Category::Eof => "the JSON is cut short",
            Category::Data => "a field is missing or of another type",
            Category::Syntax | Category::Io => "it is no JSON",
        };
        Misfit(match (error.line(), error.column()) {
            (0, _) => what.into(),
            (line, column) => format!("{what} (line {line}, column {column})").into(),
        })
    }
}

/// A body without the byte order mark that it may start with.
pub fn unmarked(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

/// The first byte of a body that is no white space.
pub fn first(body: &[u8]) -> Option<u8> {
    unmarked(body).trim_ascii_start().first().copied()
}

/// Reads JSON. Half a surrogate pair stands for no character (RFC 8259, section 8.2): it is read
/// as U+FFFD, since it must not cost the rest.
///
/// # Errors
/// When it is no JSON, or not of this form.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Misfit> {
    serde_json::from_str(text).or_else(|error| match mended(text) {
        Some(mended) => serde_json::from_str(&mended).map_err(Misfit::from),
        None => Err(error.into()),
    })
}

/// Reads a JSON object. serde alone would also take an array of its values, in their order. Bytes
/// that are not UTF-8 are replaced: they stand in what a server said, and must not cost the rest.
///
/// # Errors
/// When it is no object, or not one of this form.
pub fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Misfit> {
    let stands = match first(body) {
        Some(b'{') => return parse(&String::from_utf8_lossy(unmarked(body))),
        None => "nothing",
        Some(b'[') => "an array",
        Some(b'"') => "a text",
        Some(b'-' | b'0'..=b'9') => "a number",
        Some(_) => return Err(Misfit("it is no JSON object".into())),
    };
    Err(Misfit(format!("{stands} stands where an object must").into()))
}

/// Most members that [`put`] makes of an array.
const PUT_MAX: usize = 64;

/// Puts a value where a JSON pointer (RFC 6901) leads to, in which `*` stands for the first member,
/// and makes what is missing on its way. Says whether there is such a place.
pub fn put(whole: &mut Value, pointer: &str, value: Value) -> bool {
    let mut here = whole;
    for name in pointer.split('/').skip(1) {
        let mut name = name.replace("~1", "/").replace("~0", "~");
        let number = if name == "*" { Some(0) } else { name.parse::<usize>().ok() };
        if here.is_null() {
            *here = if number.is_some() { Value::Array(Vec::new()) } else { Map::new().into() };
        }
        if let (Value::Object(members), "*") = (&*here, &*name) {
            name = members.keys().next().cloned().unwrap_or(name);
        }
        here = match (here, number) {
            (Value::Object(members), _) => members.entry(name).or_insert(Value::Null),
            (Value::Array(members), Some(number)) if number < PUT_MAX => {
                if members.len() <= number {
                    members.resize(number + 1, Value::Null);
                }
                &mut members[number]
            }
            _ => return false,
        };
    }
    *here = value;
    true
}

/// A text of the same length whose halves of surrogate pairs are U+FFFD. `None`: it has none.
pub fn mended(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut at, mut halves) = (0, Vec::new());
    while let Some(found) = bytes[at..].iter().position(|b| *b == b'\\') {
        at += found;
        at += match (escaped(bytes, at), escaped(bytes, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                halves.push(at);
                6
            }
            // A character that is escaped is no start of an escape.
            _ => 2,
        };
        at = at.min(bytes.len());
    }
    let mut mended = text.to_owned();
    for at in &halves {
        mended.replace_range(at + 2..at + 6, "fffd");
    }
    (!halves.is_empty()).then_some(mended)
}

/// The number of a `\u` escape that starts there.
fn escaped(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at.checked_add(6)?)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn half_a_surrogate_pair_costs_one_character() {
        for (text, read) in [
            (r#""\ud800""#, "\u{fffd}"),
            (r#""a\udc00b""#, "a\u{fffd}b"),
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ud800\n""#, "\u{fffd}\n"),
            (r#""\\ud800\uD800""#, "\\ud800\u{fffd}"),
            (r#""\ud800\\""#, "\u{fffd}\\"),
        ] {
            assert_eq!(parse::<String>(text).as_deref(), Ok(read), "{text}");
            assert!(mended(text).is_none_or(|mended| mended.len() == text.len()));
        }
        let object: Map<String, Value> = object(br#"{"a\ud800":1,"b":2}"#).unwrap();
        assert_eq!(object["b"], 2);
        for broken in [r#""\u12""#, r#""\ud8""#, "\"\\", r#""\uD8é""#, "\"\\u+123\""] {
            assert!(parse::<String>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn an_error_names_the_place_and_no_value() {
        let error = |body: &str| object::<std::collections::BTreeMap<String, u8>>(body.as_bytes());
        for (body, said) in [
            ("", "nothing stands where an object must"),
            ("[1]", "an array stands where an object must"),
            (" 17", "a number stands where an object must"),
            ("\"secret\"", "a text stands where an object must"),
            ("secret", "it is no JSON object"),
            ("{\"a\":1", "the JSON is cut short (line 1, column 6)"),
            ("{\"a\":\"secret\"}", "a field is missing or of another type (line 1, column 13)"),
            ("{\"secret\"}", "it is no JSON (line 1, column 10)"),
        ] {
            assert_eq!(error(body).unwrap_err().to_string(), said, "{body}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let marked = b"\xef\xbb\xbf {\"a\":1}";
        assert_eq!(object::<Map<String, Value>>(marked).unwrap().len(), 1);
        assert_eq!(
            (first(marked), first(b"\xef\xbb\xbf"), first(b" [")),
            (Some(b'{'), None, Some(b'['))
        );
    }
}
