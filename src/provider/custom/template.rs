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

/// What the templates of one request can use.
pub(super) struct Blanks {
    pub(super) since: Value,
    pub(super) until: Value,
    pub(super) offset: u64,
    pub(super) page: u64,
    pub(super) cursor: Option<String>,
}

impl Texts {
    pub(super) fn all(&self) -> &[String] {
        match self {
            Texts::One(text) => std::slice::from_ref(text),
            Texts::Several(texts) => texts,
        }
    }
}

impl Blanks {
    fn values(&self) -> [(&'static str, Value); 4] {
        [
            ("{since}", self.since.clone()),
            ("{until}", self.until.clone()),
            ("{offset}", self.offset.into()),
            ("{page}", self.page.into()),
        ]
    }

    /// The template with its blanks filled; `None` where there is no cursor yet.
    pub(super) fn fill(&self, template: &str) -> Option<String> {
        let mut filled = template.to_owned();
        for (blank, value) in self.values() {
            if filled.contains(blank) {
                filled = filled.replace(blank, &text(&value)?);
            }
        }
        if filled.contains("{cursor}") {
            filled = filled.replace("{cursor}", self.cursor.as_deref()?);
        }
        Some(filled)
    }

    /// The same of a body. A text that is one blank takes its value, which may be a number.
    pub(super) fn fill_tree(&self, template: &Value) -> Option<Value> {
        Some(match template {
            Value::String(template) => {
                let whole = self.values().into_iter().find(|(blank, _)| blank == template);
                match whole {
                    Some((_, value)) => value,
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
        // As a segment of a path or a value of a query: neither may break out of its place.
        if ["", ".", ".."].contains(&value.as_str()) {
            return None;
        }
        let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        url.push_str(&value.replace('+', "%20"));
        url.push_str(rest);
    }
    Some(url)
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
