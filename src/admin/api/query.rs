//! The query of a page: each field once, and none that is not known.

use std::str::FromStr;

use url::form_urlencoded::Serializer;

use crate::admin::Failure;

/// Rows of a page, unless the question says how many; and the most that it can ask for.
const ROWS: usize = 100;
const ROWS_MAX: usize = 10_000;

/// The field that says where a page begins.
pub(super) const AFTER: &str = "after";

/// The fields of a query, taken one by one.
pub(super) struct Query {
    fields: Vec<(String, String)>,
    /// The fields that the next page has too.
    kept: Vec<(String, String)>,
}

impl Query {
    /// By the fields of a request.
    ///
    /// # Errors
    /// When one stands there twice.
    pub(super) fn new(fields: Vec<(String, String)>) -> Result<Query, Failure> {
        for (index, (name, _)) in fields.iter().enumerate() {
            if fields[..index].iter().any(|(before, _)| before == name) {
                return Err(Failure::usage(format!("{name:?} is given twice")));
            }
        }
        let kept = fields.iter().filter(|(name, _)| name != AFTER).cloned().collect();
        Ok(Query { fields, kept })
    }

    /// The value of a field, if it is given.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.fields.iter().position(|(known, _)| known == name)?;
        Some(self.fields.swap_remove(at).1)
    }

    /// How many rows a page has at most.
    pub(super) fn limit(&mut self) -> Result<usize, Failure> {
        let Some(text) = self.take("limit") else { return Ok(ROWS) };
        match usize::from_str(&text) {
            Ok(number @ 1..=ROWS_MAX) => Ok(number),
            _ => Err(Failure::usage(format!("limit is 1 to {ROWS_MAX}"))),
        }
    }

    /// Refuses what nobody has taken. Gives what the next page is asked for with.
    pub(super) fn finish(self) -> Result<Next, Failure> {
        match self.fields.first() {
            Some((name, _)) => Err(Failure::usage(format!("there is no field {name:?}"))),
            None => Ok(Next(self.kept)),
        }
    }
}

/// The fields that all pages of a question share.
pub(super) struct Next(Vec<(String, String)>);

impl Next {
    /// The URL of the page behind a place.
    pub(super) fn url(&self, path: &str, after: &str) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair(AFTER, after).extend_pairs(&self.0);
        format!("{path}?{}", query.finish())
    }
}
