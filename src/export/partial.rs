//! Writes what has changed of an export, in the file that the last writing has left.
//!
//! Blocking. Gives up where that cannot be told of the changed addresses alone.

use std::sync::Arc;

use super::file::{self, Stamp};
use super::guard::Keys;
use super::publish::Outcome;
use super::rows::Edits;
use super::scan::Found;
use super::table::{Applied, Kept, Made};
use super::write::{Job, Written};
use super::{Rows, Settings};
use crate::ends::Ends;
use crate::telemetry::export as telemetry;

impl Job {
    /// Changes the rows of these addresses in the file that is there.
    ///
    /// # Errors
    /// When all of it has to be written; with the version of the file that we have left, if a
    /// failure of ours may have left another.
    pub(super) fn changes(mut self, keys: &[Box<str>]) -> Result<Written, Option<Stamp>> {
        let mut kept = self.base.take().ok_or(None)?;
        self.settings = Arc::new(self.settings.placed().map_err(|_| None)?);
        if !kept.is_ours(&self.settings.path) {
            return Err(None);
        }
        let (edits, ends) = self.edits(keys).ok_or(None)?;
        let applied = kept.apply(&edits).map_err(|error| {
            let Settings { name, path, .. } = &*self.settings;
            telemetry::not_in_place(name, path, &error.to_string());
            kept.left()
        })?;
        let (rows, changed, base) = match applied {
            Applied::Same => (kept.rows(), false, kept),
            Applied::InPlace => (kept.rows(), true, kept),
            Applied::Another(made) => (made.rows, true, self.put(made).ok_or(None)?),
            Applied::Foreign => return Err(None),
        };
        let held = self.still_held(&edits);
        let (count, lost) = (held.count() as u64, self.lost);
        let outcome = Outcome { rows, changed, held: count, lost, partial: true };
        let found = Found { ends, ..Found::default() };
        let written = Written::new(&self.settings.path, Ok(outcome), found, Some(base));
        Ok(Written { held, ..written })
    }

    /// The rows that are still held back after these edits: none of which the store tells again, or
    /// that went for a reason.
    fn still_held(&self, edits: &Edits) -> Arc<Rows> {
        let mut told = Keys::default();
        edits.puts.iter().chain(edits.deletes.iter()).for_each(|row| told.add(row.key));
        told.sort();
        if !self.kept.iter().any(|row| told.has(row.key)) {
            return Arc::clone(&self.kept);
        }
        let mut held = Rows::default();
        let untold = self.kept.iter().filter(|row| !told.has(row.key));
        untold.for_each(|row| held.add(&[row.key], &[row.value]));
        self.note(held.count() as u64, self.lost);
        Arc::new(held)
    }

    /// What the store says of these addresses, and when that ends.
    fn edits(&self, keys: &[Box<str>]) -> Option<(Edits, Ends)> {
        let (mut edits, mut ends) = (Edits::default(), Ends::default());
        let scan = self.scan(self.made.filter(|_| self.held));
        for key in keys {
            let standings = (self.source.of)(key).ok()?;
            scan.one(key, &standings, &mut ends, &mut edits)?;
        }
        Some((edits, ends))
    }

    /// Puts a table in the place of the file.
    fn put(&self, made: Made) -> Option<Box<dyn Kept>> {
        let old = file::read(&self.settings.path).ok()?;
        made.draft.replace(&self.settings, Some(&old)).ok()?;
        (made.keep)(&self.settings.path)
    }
}
