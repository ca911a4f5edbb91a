//! Reading rows: fields as text for people, whatever the daemon left out.

use serde_json::Value;

use crate::shown::clean;

/// What stands for a field that is absent or empty.
pub(super) const ABSENT: &str = "-";

/// A number and its noun, whose plural ends in an s.
pub(super) fn many(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A field as one line of text; `-` when it is absent.
pub(super) fn text(row: &Value, key: &str) -> String {
    row.get(key).map_or_else(|| ABSENT.to_owned(), show)
}

/// A field as one line of text, if there is one.
pub(super) fn given(row: &Value, key: &str) -> Option<String> {
    Some(text(row, key)).filter(|text| text != ABSENT)
}

/// Whether a field is `true`.
pub(super) fn is(row: &Value, key: &str) -> bool {
    row.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// The elements of a field; none when it is absent or no list.
pub(super) fn list<'a>(row: &'a Value, key: &str) -> &'a [Value] {
    row.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// When a suppression ends: one without an end is for ever.
pub(super) fn until(row: &Value) -> String {
    match (given(row, "until"), given(row, "reason")) {
        (None, Some(_)) => "forever".to_owned(),
        (until, _) => until.unwrap_or_else(|| ABSENT.to_owned()),
    }
}

/// A value as one line of text.
pub(super) fn show(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => clean(text),
        Value::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(", "),
        Value::Number(_) => value.to_string(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| format!("{} {}", clean(key), show(value)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    if text.is_empty() { ABSENT.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_text_and_absent_ones_a_dash() {
        let row = json!({"s": "x\ny", "e": "", "n": null, "b": true, "l": ["a", 2], "o": {"k": 1}});
        for (key, shown) in
            [("s", "x y"), ("e", "-"), ("n", "-"), ("b", "yes"), ("l", "a, 2"), ("o", "k 1")]
        {
            assert_eq!(text(&row, key), shown, "{key}");
        }
        assert_eq!(text(&row, "none"), "-");
        assert_eq!(text(&json!("no object"), "s"), "-");
    }

    #[test]
    fn only_a_suppression_lasts_for_ever() {
        assert_eq!(until(&json!({"reason": "manual", "until": null})), "forever");
        assert_eq!(until(&json!({"reason": null, "until": null})), "-");
        assert_eq!(until(&json!({"reason": "manual", "until": "2026"})), "2026");
    }
}
