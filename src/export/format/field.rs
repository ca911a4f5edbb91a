//! Texts as fields of CSV (RFC 4180) and JSON (RFC 8259), whatever is in them.

use std::borrow::Cow;

/// A field of CSV. Quoted where a reader could take it for more, or, with `;` as in some
/// countries' files, for less than one.
pub(super) fn csv(text: &str) -> Cow<'_, str> {
    let special = |b: u8| !b.is_ascii_graphic() && b < 0x80 || matches!(b, b'"' | b',' | b';');
    // All are looked at, as many at once as the processor can.
    if !text.bytes().fold(false, |any, b| any | special(b)) {
        return text.into();
    }
    format!("\"{}\"", text.replace('"', "\"\"")).into()
}

/// A string of JSON, with its quotes.
pub(super) fn json(text: &str) -> String {
    // Every text has such a form.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_field_is_quoted() {
        assert_eq!(csv("=a+b@x.test"), "=a+b@x.test");
        assert_eq!(csv("\"a b\"@x.test"), "\"\"\"a b\"\"@x.test\"");
        assert_eq!(csv("\"a,b\"@x.test"), "\"\"\"a,b\"\"@x.test\"");
        assert_eq!(csv("a;b"), "\"a;b\"");
        assert_eq!(json("\"a\\\\b\"@x.test"), r#""\"a\\\\b\"@x.test""#);
    }
}
