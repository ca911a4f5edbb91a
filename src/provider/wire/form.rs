//! Flat notifications, which come as a JSON object or as a form.

use serde_json::Value;

use super::object;
use crate::provider::Unreadable;

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

#[cfg(test)]
mod tests {
    use super::*;

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
