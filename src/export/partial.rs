//! Writes what has changed of an export, in the file that the last writing has left.
//!
//! Blocking. Gives up where that cannot be told of the changed addresses alone.

use std::sync::Arc;

use super::Settings;
use super::file;
use super::publish::Outcome;
use super::rows::Edits;
use super::scan::{Ends, Found};
use super::table::Applied;
use super::write::{Job, Written};
use crate::telemetry::export as telemetry;

impl Job {
    /// Changes the rows of these addresses in the file that is there. `None`: all of it has to be
    /// written.
    pub(super) fn changes(mut self, keys: &[Box<str>]) -> Option<Written> {
        let mut kept = self.base.take()?;
        self.settings = Arc::new(self.settings.placed().ok()?);
        let (mut edits, mut ends) = (Edits::default(), Ends::default());
        let scan = self.scan(self.made.filter(|_| self.held));
        for key in keys {
            let standings = (self.source.of)(key).ok()?;
            scan.one(key, &standings, &mut ends, &mut edits)?;
        }
        let applied = kept.apply(&edits).inspect_err(|error| {
            let Settings { name, path, .. } = &*self.settings;
            telemetry::not_in_place(name, path, &error.to_string());
        });
        let (rows, changed, base) = match applied.ok()? {
            Applied::Same => (kept.rows(), false, kept),
            Applied::InPlace => (kept.rows(), true, kept),
            Applied::Another(made) => {
                let old = file::read(&self.settings.path).ok()?;
                made.draft.replace(&self.settings, Some(&old)).ok()?;
                (made.rows, true, (made.keep)(&self.settings.path)?)
            }
            Applied::Foreign => return None,
        };
        // What is held back stays so.
        let outcome = Outcome { rows, changed, held: 0, partial: true };
        let found = Found { ends, ..Found::default() };
        Some(Written::new(&self.settings.path, Ok(outcome), found, Some(base)))
    }
}
