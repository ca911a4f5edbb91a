//! Finding one value in a JSON body by a pointer (RFC 6901), without keeping the rest.
//!
//! It is done before anything is known of the sender: a tree of the whole body would take many
//! times its bytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The text or number that a pointer leads to, as text. `None`: there is none.
pub(super) fn find(body: &[u8], pointer: &str) -> Option<String> {
    let tokens: Vec<String> = match pointer.strip_prefix('/') {
        Some(rest) => rest.split('/').map(|t| t.replace("~1", "/").replace("~0", "~")).collect(),
        None if pointer.is_empty() => Vec::new(),
        None => return None,
    };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let found = Seek(&tokens).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    found
}

/// Looks for what the tokens lead to. With a name that stands twice, the last one counts.
struct Seek<'t>(&'t [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Seek<'_> {
    fn value<E>(&self, text: impl ToString) -> Result<Option<String>, E> {
        Ok(self.0.is_empty().then(|| text.to_string()))
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        self.value(text)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        self.value(number)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        self.value(number)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        let number = serde_json::Number::from_f64(number);
        Ok(number.and_then(|number| self.value::<E>(number).ok().flatten()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key_seed(Names(self.0.first()))? {
            if key {
                found = map.next_value_seed(Seek(&self.0[1..]))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let is_number = |t: &&String| **t == "0" || !t.starts_with(['0', '+']);
        let wanted = self.0.first().filter(is_number).and_then(|t| t.parse::<usize>().ok());
        let (mut at, mut found) = (0, None);
        loop {
            if Some(at) == wanted {
                match items.next_element_seed(Seek(&self.0[1..]))? {
                    Some(value) => found = value,
                    None => return Ok(found),
                }
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at += 1;
        }
    }
}

/// Whether a name is the wanted one.
struct Names<'t>(Option<&'t String>);

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Names<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(self.0.is_some_and(|wanted| wanted == name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn it_finds_what_a_tree_of_the_whole_would_show() {
        let bodies = [
            r#"{"a":{"b/c":"x","d~e":7,"f":[1.50,-2,{"g":"h"}]},"n":null,"t":true,"":"empty"}"#,
            r#"{"a":"first","a":{"b/c":"last"}}"#,
            r#"{"a":{"b/c":"first"},"a":"last"}"#,
            r#"["zero",["x","y"],{"01":"o"}]"#,
            "\"text\"",
            "12",
            "{\"a\":",
            "{} x",
            "",
        ];
        let pointers = [
            "",
            "/a",
            "/a/b~1c",
            "/a/d~0e",
            "/a/f/0",
            "/a/f/1",
            "/a/f/2/g",
            "/a/f/00",
            "/a/f/9",
            "/n",
            "/t",
            "/",
            "a",
            "/0",
            "/1/1",
            "/+1",
            "/2/01",
            "/a/f",
            "/a/b~1c/x",
        ];
        for body in bodies {
            for pointer in pointers {
                let whole: Option<Value> = serde_json::from_str(body).ok();
                let expected = match whole.as_ref().and_then(|whole| whole.pointer(pointer)) {
                    Some(Value::String(text)) => Some(text.clone()),
                    Some(Value::Number(number)) => Some(number.to_string()),
                    _ => None,
                };
                assert_eq!(find(body.as_bytes(), pointer), expected, "{pointer} in {body}");
            }
        }
    }
}
