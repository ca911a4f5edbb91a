//! A row by the names of its columns, whatever kind of file it was in.
//!
//! Names are compared without case, blanks and marks: `Email Address`, `email_address` and
//! `emailAddress` are one.

use serde_json::{Map, Value};

use super::lines::text;
use super::records::Record;

/// A name as it is compared.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The cells of a row, each with its name. A name may be there twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cells {
    pub(super) names: Vec<String>,
    values: Vec<String>,
    /// Cells that were not UTF-8.
    broken: Vec<usize>,
    /// More cells than names.
    pub(super) is_too_long: bool,
}

impl Cells {
    /// For rows with these columns.
    pub(super) fn named(names: Vec<String>) -> Cells {
        Cells { names, ..Cells::default() }
    }

    /// Takes the cells of the next record.
    pub(super) fn fill(&mut self, record: &Record) {
        self.broken.clear();
        self.values.resize(self.names.len(), String::new());
        for (at, value) in self.values.iter_mut().enumerate() {
            let (cell, is_utf_8) = text(record.get(at).map_or(&[][..], Vec::as_slice));
            value.clear();
            value.push_str(cell.trim());
            if !is_utf_8 {
                self.broken.push(at);
            }
        }
        let beyond = record.get(self.names.len()..).unwrap_or_default();
        self.is_too_long = beyond.iter().any(|cell| !cell.is_empty());
    }

    /// Takes the fields of an object, and those of objects in it.
    pub(super) fn take(&mut self, object: Map<String, Value>) {
        *self = Cells::default();
        for (name, value) in object {
            match value {
                Value::Object(inner) => {
                    for (below, value) in inner {
                        self.add(plain(&format!("{name}{below}")), &value);
                    }
                }
                value => self.add(plain(&name), &value),
            }
        }
    }

    fn add(&mut self, name: String, value: &Value) {
        let word = |value: &Value| match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(is) => is.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        };
        let text = match value {
            Value::Array(all) => all.iter().map(word).collect::<Vec<_>>().join(","),
            value => word(value),
        };
        self.names.push(name);
        self.values.push(text);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// What stands under a name, the last of several that is not empty; else empty.
    pub(super) fn get(&self, name: &str) -> &str {
        let named = self.names.iter().zip(&self.values).filter(|(known, _)| *known == name);
        named.map(|(_, value)| value.as_str()).rfind(|value| !value.is_empty()).unwrap_or("")
    }

    /// The first of these names under which there is anything, and that.
    pub(super) fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &str)> {
        let filled = |name: &&'n str| Some((*name, self.get(name))).filter(|(_, v)| !v.is_empty());
        names.iter().find_map(filled)
    }

    /// Whether what stands under a name was UTF-8.
    pub(super) fn is_whole(&self, name: &str) -> bool {
        !self.broken.iter().any(|at| self.names[*at] == name)
    }

    /// Whether it says yes.
    pub(super) fn is_on(&self, name: &str) -> bool {
        matches!(plain(self.get(name)).as_str(), "true" | "yes" | "y" | "1" | "t" | "on" | "x")
    }
}
