//! What must hold of an event, or of an answer: a value at a place of it, compared.

use serde::Deserialize;
use serde_json::Value;

use super::pointer::{found, lookup, text};

/// Something that must hold of an event.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Condition {
    pub(super) ptr: String,
    pub(super) eq: Option<Value>,
    #[serde(rename = "in")]
    pub(super) among: Option<Vec<Value>>,
    pub(super) prefix: Option<String>,
    pub(super) contains: Option<String>,
    /// A number below this.
    pub(super) lt: Option<f64>,
    /// A number that is this or above.
    pub(super) ge: Option<f64>,
    pub(super) exists: Option<bool>,
}

impl Condition {
    /// Whether it holds. Several in one table must all hold.
    pub(in super::super) fn holds(&self, value: &Value) -> bool {
        self.is_met(lookup(value, &self.ptr))
    }

    /// The same of a text of JSON, of which only what it asks for is read.
    pub(in super::super) fn holds_in(&self, text: &str) -> bool {
        self.is_met(found(text, &self.ptr).as_ref())
    }

    fn is_met(&self, found: Option<&Value>) -> bool {
        let found = found.filter(|value| !value.is_null());
        let is_text = |test: &dyn Fn(&str) -> bool| found.and_then(text).is_some_and(|t| test(&t));
        let is_number = |test: &dyn Fn(f64) -> bool| {
            is_text(&|text| text.trim().parse().is_ok_and(|number: f64| test(number)))
        };
        self.exists.is_none_or(|exists| exists == found.is_some())
            && self.eq.as_ref().is_none_or(|eq| found == Some(eq))
            && self.among.as_ref().is_none_or(|list| found.is_some_and(|v| list.contains(v)))
            && self.prefix.as_deref().is_none_or(|p| is_text(&|t| t.starts_with(p)))
            && self.contains.as_deref().is_none_or(|p| is_text(&|t| t.contains(p)))
            && self.lt.is_none_or(|end| is_number(&|number| number < end))
            && self.ge.is_none_or(|least| is_number(&|number| number >= least))
    }
}
