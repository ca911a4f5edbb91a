//! Flat notifications, which come as a JSON object or as a form.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::field::flat;
use super::{first, object};
use crate::provider::Unreadable;

/// The fields of a flat notification, a JSON object or a form.
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads them. Values of JSON that are no text, number, true or false are left out.
    ///
    /// # Errors
    /// When it starts as a JSON object and is none.
    pub fn parse(body: &[u8]) -> Result<Fields, Unreadable> {
        if first(body) != Some(b'{') {
            let pairs = url::form_urlencoded::parse(body);
            return Ok(Fields(pairs.map(|(k, v)| (k.into_owned(), v.into_owned())).collect()));
        }
        let fields: BTreeMap<String, Box<RawValue>> =
            object(body).map_err(|error| Unreadable(format!("not an object: {error}")))?;
        Ok(Fields(flat(fields)))
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
