//! What programs ask and tell over HTTP: one question, one bounded answer in JSON.
//!
//! Whatever looks at the store blocks: HTTP calls it where it may.

mod change;
mod feed;
mod page;
mod query;
mod write;

use serde_json::{Value, json};

pub use change::VerdictChange;

use self::query::Query;
use super::suppressions::{parse_address, parse_scope};
use super::{Admin, Failure, rows};
use crate::model::{Address, Suppression};

/// The answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// What was asked for, or what was done, as JSON.
    Found(String),
    /// The address is not suppressed.
    Clear,
    /// The request cannot be understood.
    BadRequest(String),
    /// It cannot be carried out now; it can be tried again.
    Unavailable(String),
}

impl From<Result<String, Failure>> for Answered {
    fn from(result: Result<String, Failure>) -> Answered {
        match result {
            Ok(text) => Answered::Found(text),
            Err(failure) if failure.usage => Answered::BadRequest(failure.error),
            Err(failure) => Answered::Unavailable(failure.error),
        }
    }
}

impl Admin {
    /// The verdict on one address, by the fields of a query: `scope`.
    pub fn suppression(&self, address: &str, fields: Vec<(String, String)>) -> Answered {
        match self.verdict_on(address.trim(), fields) {
            Ok(None) => Answered::Clear,
            Ok(Some(found)) => Answered::Found(rows::suppression(&found).to_string()),
            Err(failure) => Answered::from(Err(failure)),
        }
    }

    fn verdict_on(
        &self,
        address: &str,
        fields: Vec<(String, String)>,
    ) -> Result<Option<Suppression>, Failure> {
        let mut query = Query::new(fields)?;
        let scope = query.take("scope");
        query.finish()?;
        let scope = parse_scope(scope.as_deref().unwrap_or("global"))?;
        let mut readings = Address::readings(address).peekable();
        if readings.peek().is_none() {
            parse_address(address)?;
        }
        for reading in readings {
            if let Some(found) = self.verdict(&reading, &scope)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// How everything stands.
    pub fn state(&self) -> Answered {
        Answered::Found(self.status().to_string())
    }

    /// Everything behind the verdict on one address.
    pub fn explained(&self, address: &str) -> Answered {
        let explained = parse_address(address).and_then(|address| self.explanation(&address));
        explained.map(|value| value.to_string()).into()
    }
}

/// A page: its rows, and where the next one is.
fn page(key: &str, rows: &[String], next: Option<String>) -> String {
    format!("{{\"{key}\":[{}],\"next\":{}}}", rows.join(","), json!(next))
}

/// A row without the fields that are absent.
fn sparse(row: Value) -> Value {
    match row {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    }
}
