//! The templates of a described provider's requests: what stands for times, places and rows.
//!
//! A template never leaves its place: what is filled in is escaped by whoever puts it there, and
//! here where it goes into the text of a URL.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::fmt::strtime;
use serde::Deserialize;
use serde_json::Value;

use super::event::text;
use crate::model::Time;

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Several(Vec<String>),
}

/// What the templates of one request can use: blanks, as `{since}`, and what stands for each.
/// `None`: what holds it is left out.
pub(super) struct Blanks(pub(super) Vec<(&'static str, Option<Value>)>);

impl Texts {
    pub(super) fn all(&self) -> &[String] {
        match self {
            Texts::One(text) => std::slice::from_ref(text),
            Texts::Several(texts) => texts,
        }
    }
}

impl Blanks {
    /// The template with its blanks filled; `None` where it is left out.
    pub(super) fn fill(&self, template: &str) -> Option<String> {
        self.fill_with(template, Some)
    }

    /// The same of a URL, in which no value breaks out of its place.
    pub(super) fn fill_url(&self, template: &str) -> Option<String> {
        self.fill_with(template, encoded)
    }

    /// What was filled in is not looked at again: an address may have braces.
    fn fill_with(&self, template: &str, put: fn(String) -> Option<String>) -> Option<String> {
        let (mut filled, mut rest) = (String::new(), template);
        while let Some(brace) = rest.find('{') {
            filled.push_str(&rest[..brace]);
            rest = &rest[brace..];
            let known = self.0.iter().find(|(blank, _)| rest.starts_with(blank));
            let (blank, value) = match known {
                Some((blank, value)) => (*blank, put(text(value.as_ref()?)?)?),
                None => ("{", "{".to_owned()),
            };
            filled.push_str(&value);
            rest = &rest[blank.len()..];
        }
        Some(filled + rest)
    }

    /// The same of a body. A text that is one blank takes its value, which may be a number.
    pub(super) fn fill_tree(&self, template: &Value) -> Option<Value> {
        Some(match template {
            Value::String(template) => {
                let whole = self.0.iter().find(|(blank, _)| blank == template);
                match whole {
                    Some((_, value)) => value.clone()?,
                    None => self.fill(template)?.into(),
                }
            }
            Value::Array(items) => items.iter().filter_map(|item| self.fill_tree(item)).collect(),
            Value::Object(members) => {
                let one =
                    |(key, item): (&String, &Value)| Some((key.clone(), self.fill_tree(item)?));
                Value::Object(members.iter().filter_map(one).collect())
            }
            other => other.clone(),
        })
    }
}

/// A time as requests have it. `None`: there is no such form.
pub(super) fn shown(format: &str, time: Time) -> Option<Value> {
    let stamp = Timestamp::from_second(time.second()).ok()?;
    Some(match format {
        "rfc3339" => time.to_string().into(),
        "unix_s" => time.second().into(),
        "unix_ms" => time.second().checked_mul(1_000)?.into(),
        "date" => strtime::format("%Y-%m-%d", stamp).ok()?.into(),
        "rfc2822" => DateTimePrinter::new().timestamp_to_string(&stamp).ok()?.into(),
        pattern if pattern.contains('%') => strtime::format(pattern, stamp).ok()?.into(),
        _ => return None,
    })
}

/// The template of a URL with what the row has at the pointers in it.
pub(super) fn filled(template: &str, row: &Value) -> Option<String> {
    let mut parts = template.split("{/");
    let mut url = parts.next()?.to_owned();
    for part in parts {
        let (pointer, rest) = part.split_once('}')?;
        let value = row.pointer(&format!("/{pointer}")).and_then(text)?;
        url.push_str(&encoded(value)?);
        url.push_str(rest);
    }
    Some(url)
}

/// A value as a segment of a path or in a query: it may break out of neither.
fn encoded(value: String) -> Option<String> {
    if ["", ".", ".."].contains(&value.as_str()) {
        return None;
    }
    let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    Some(value.replace('+', "%20"))
}

/// The members of `over` in place of those of `base`.
pub(super) fn merged(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut merged = base.clone();
            merged.extend(over.clone());
            Value::Object(merged)
        }
        (base, Value::Null) => base.clone(),
        (_, over) => over.clone(),
    }
}
