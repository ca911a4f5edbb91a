//! All that the first page of the dashboard shows, bounded however much there is.

use serde_json::Value;

use super::trends::Point;
use super::{Admin, Failure};
use crate::clock;
use crate::model::Time;
use crate::store::StoreError;

/// Most refused webhooks, and most payloads in quarantine, that are shown.
const ROWS_MAX: usize = 20;

/// How everything stands. The values are the rows of `--json`.
#[derive(Clone, Debug)]
pub struct Overview {
    /// As of when.
    pub now: Time,
    /// The row of `status`.
    pub status: Value,
    /// The last day.
    pub points: Vec<Point>,
    /// Suppressions in force, when they were last counted. `None`: not since the start.
    pub suppressions: Option<u64>,
    /// The rows of `held`.
    pub held: Vec<Value>,
    /// The last rows of `refused`, newest first.
    pub refused: Vec<Value>,
    /// The first rows of `quarantine list`.
    pub quarantine: Vec<Value>,
}

impl Admin {
    /// How everything stands. It blocks on the store; what the store cannot tell is left out.
    pub fn overview(&self) -> Overview {
        let refused = self.webhooks.refusals().since(0);
        let refused = refused.iter().rev().take(ROWS_MAX).map(super::refused::shown).collect();
        Overview {
            now: clock::now(),
            status: self.status(),
            points: self.census.trends.points(),
            suppressions: self.census.total(),
            held: self.mass_rows().unwrap_or_default(),
            refused,
            quarantine: self.quarantine_start(),
        }
    }

    fn quarantine_start(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        // It ends with an error when there is enough, or when the store does not answer.
        let _ = self.reader.visit_quarantined(&mut |held| {
            rows.push(super::quarantine::summary(&held));
            if rows.len() < ROWS_MAX { Ok(()) } else { Err(StoreError::NotReady) }
        });
        rows
    }

    /// The row of `explain` for an address.
    ///
    /// # Errors
    /// What is wrong with it, or with the store, in words.
    pub fn explain_row(&self, address: &str) -> Result<Value, String> {
        let address = super::suppressions::parse_address(address);
        let row = address.and_then(|address| self.explanation(&address));
        row.map_err(|Failure { error, .. }| error)
    }
}
