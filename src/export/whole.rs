//! Writes all of an export: every row that the store has, in the place of those that are there.
//!
//! Blocking. Leaves a file alone that is known to hold just these.

use std::fs::File;

use super::Settings;
use super::file::{fix_attributes, modified};
use super::guard::Guard;
use super::publish::{Outcome, Publication, PublishError, Published};
use super::scan::Found;
use super::table::{Digest, Kept, kind};
use super::write::{Job, Written};
use crate::store::StoreError;

impl Job {
    /// Writes all of it. `explained` gives the rows that are known to be gone on purpose beside
    /// those that have ended; it is asked when all standings have been read.
    pub(super) fn whole(mut self, explained: impl Fn() -> u64) -> Written {
        if let Some((kept, digest)) = self.known() {
            match self.check(digest) {
                Ok(Some((outcome, found))) => {
                    return Written { result: Ok(outcome), found, base: Some(kept) };
                }
                // Closed before another takes its place.
                Ok(None) => drop(kept),
                Err(error) => {
                    return Written {
                        result: Err(error),
                        found: Found::default(),
                        base: Some(kept),
                    };
                }
            }
        }
        let (result, found) = self.publish(explained);
        match result {
            Ok((outcome, kept)) => Written { result: Ok(outcome), found, base: self.base(kept) },
            Err(error) => Written { result: Err(error), found, base: None },
        }
    }

    /// The file of which we know what it holds, if it is still there.
    fn known(&mut self) -> Option<(Box<dyn Kept>, Digest)> {
        let Settings { path, style, .. } = &*self.settings;
        let kept = self.base.take().or_else(|| kind(style.table).resume(path))?;
        let digest = kept.digest().filter(|_| kept.is_ours())?;
        Some((kept, digest))
    }

    /// Goes through all rows; says what was found if the file holds just these.
    fn check(&self, known: Digest) -> Result<Option<(Outcome, Found)>, PublishError> {
        let mut digest = Digest::default();
        let found = self.scan(None).run(&*self.source.standings, |row| {
            digest.add(row);
            Ok::<_, StoreError>(())
        })?;
        if digest != known {
            return Ok(None);
        }
        let outcome = Outcome { rows: digest.rows, changed: false, partial: false };
        if let Ok(file) = File::open(&self.settings.path) {
            fix_attributes(&self.settings, &file)?;
        }
        Ok(Some((outcome, found)))
    }

    fn publish(&self, explained: impl Fn() -> u64) -> (Result<Published, PublishError>, Found) {
        let Settings { path, max_shrink, .. } = &*self.settings;
        let before = self.made.or_else(|| modified(path));
        let filled = Publication::begin(&self.settings).and_then(|mut publication| {
            let standings = &*self.source.standings;
            let found = self.scan(before).run(standings, |row| publication.add(row))?;
            Ok((publication, found))
        });
        let (publication, found) = match filled {
            Ok(filled) => filled,
            Err(error) => return (Err(error), Found::default()),
        };
        let explained = found.expired.saturating_add(explained());
        let guard = Guard { max_shrink: *max_shrink, force: self.force, explained };
        (publication.finish_and_keep(guard), found)
    }
}
