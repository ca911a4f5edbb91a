//! Reads single fields that providers write in more than one form: ids, codes, texts, own data.

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::Scope;
use crate::provider::Unreadable;

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

/// The text, unless it is empty.
pub fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
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

/// The sender's own data as JSON text; `None` when it is no object, or empty.
pub fn own_data(raw: Option<&RawValue>) -> Option<String> {
    let data: serde_json::Map<String, Value> = serde_json::from_str(raw?.get()).ok()?;
    (!data.is_empty()).then(|| Value::Object(data).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loose_forms_are_read() {
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
}
