//! Writes all of an export: every row that the store has, in the place of those that are there.
//!
//! Blocking. Leaves a file alone that is known to hold just these.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::file::{self, FileError, Stamp, has_attributes, modified};
use super::guard::Guard;
use super::note;
use super::place::taken;
use super::publish::{Outcome, Publication, PublishError, Published};
use super::scan::Found;
use super::table::{Digest, Kept, Listed, kind};
use super::write::{Job, Left, Written};
use super::{ALL, Settings, Table};
use crate::store::StoreError;

/// The kind of the note that rows are held back, so that a start knows.
const HELD: &str = "held";

/// The kind of the note that tells in which form the file was written.
const FORM: &str = "form";

/// Whether rows are kept in a file that the store does not have.
pub(super) fn is_held(path: &Path) -> bool {
    note::read(path, HELD).is_some()
}

/// How many rows the note says are held back, and how many are lost of such. One of an older
/// version has the time alone.
pub(super) fn noted(path: &Path) -> Option<(u64, u64)> {
    let note = note::read(path, HELD)?;
    let mut numbers = note.split_ascii_whitespace().skip(1).map_while(|text| text.parse().ok());
    Some((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
}

impl Job {
    /// Writes all of it.
    pub(super) fn whole(mut self) -> Written {
        let placed = match taken(&self.settings, &self.places) {
            Some(other) => Err(FileError::shared(&self.settings, other)),
            None => self.settings.placed(),
        };
        match placed {
            Ok(settings) => self.settings = Arc::new(settings),
            Err(error) => {
                let path = &self.settings.path;
                return Written::new(path, Err(error.into()), Found::default(), None);
            }
        }
        let ours = self.ours();
        Written { foreign: ours.is_some(), ..self.over(ours) }
    }

    /// The rows that the file had when it was last ours, if somebody else has written it since.
    fn ours(&self) -> Option<u64> {
        let Left { stamp, rows, .. } = self.left;
        (Stamp::of(&self.settings.path).ok() != Some(stamp?)).then_some(rows)
    }

    /// What tells the rows of one form from those of another: nothing of the one is to be kept
    /// among the others.
    fn form(&self) -> String {
        let Settings { format, style, .. } = &*self.settings;
        [format.name(), style.table.as_str(), style.hash.name()].join(" ")
    }

    /// The rows that the file has in another form, in which it was written last.
    fn in_other_form(&self) -> Option<u64> {
        let path = &self.settings.path;
        let noted = note::read(path, FORM).filter(|noted| *noted != self.form())?;
        let mut words = noted.split(' ');
        let (format, table) = (words.next()?, words.next()?);
        let format = ALL.iter().find(|known| known.name() == format)?;
        let tables = [Table::Text, Table::Lmdb, Table::Cdb];
        let table = tables.into_iter().find(|known| known.as_str() == table)?;
        let file = file::read_own(&self.settings).ok()??;
        match kind(table).rows(&file, format.shape(), &mut |_| Ok(())).ok()? {
            Listed::Table(rows) | Listed::Other(rows) => Some(rows),
        }
    }

    fn note_form(&self) {
        let (path, form) = (&self.settings.path, self.form());
        if note::read(path, FORM).as_ref() != Some(&form) {
            // Without it, another form is taken for another hand's.
            let _ = note::leave(path, FORM, &form);
        }
    }

    fn over(mut self, ours: Option<u64>) -> Written {
        let (path, lost) = (self.settings.path.clone(), self.lost());
        let other_form = ours.is_none().then(|| self.in_other_form()).flatten();
        if let Some((kept, digest)) = self.known() {
            match self.check(digest) {
                Ok(Some((outcome, found))) => {
                    self.note(0, lost);
                    let outcome = Outcome { lost, ..outcome };
                    return Written::new(&path, Ok(outcome), found, Some(kept));
                }
                // Closed before another takes its place.
                Ok(None) => drop(kept),
                Err(error) => {
                    return Written::new(&path, Err(error), Found::default(), Some(kept));
                }
            }
        }
        // A store that lacks a part of the journal explains nothing that it does not know.
        self.held |= is_held(&path) || (self.source.lacks)();
        let (result, found) = self.publish(ours.or(other_form), other_form.is_some());
        match result {
            Ok(Published { outcome, held, kept }) => {
                self.note(outcome.held, lost);
                self.note_form();
                let outcome = Outcome { lost, ..outcome };
                let written = Written::new(&path, Ok(outcome), found, self.base(kept));
                Written { held: Arc::new(held), ..written }
            }
            Err(error) => Written::new(&path, Err(error), found, None),
        }
    }

    /// Leaves or takes away the note that rows are held back. Without it, all that is lost is that
    /// the next start judges by `max_shrink` anew.
    pub(super) fn note(&self, held: u64, lost: u64) {
        let path = &self.settings.path;
        let _ = match (held, lost) {
            (0, 0) => note::remove(path, HELD),
            now if noted(path) == Some(now) => Ok(()),
            _ => note::leave(path, HELD, &format!("{} {held} {lost}", self.now.floor_second())),
        };
    }

    /// How many of the rows that were held back are lost, until an operator accepts that: all that
    /// the file has too few, if another hand took them before this start.
    fn lost(&self) -> u64 {
        let Settings { path, style, format, .. } = &*self.settings;
        if self.force {
            return 0;
        }
        let Some((held, lost)) = noted(path).filter(|_| self.made.is_none()) else {
            return self.lost;
        };
        let rows = |file: File| kind(style.table).rows(&file, format.shape(), &mut |_| Ok(()));
        let found = match file::read_own(&self.settings).map(|file| file.map(rows)) {
            // Lines of another hand can be among those that are held back.
            Ok(Some(Ok(Listed::Table(rows) | Listed::Other(rows)))) => rows,
            Ok(None) => 0,
            // It is told as what keeps the file from being written.
            Ok(Some(Err(_))) | Err(_) => held,
        };
        lost + held.saturating_sub(found)
    }

    /// The file of which we know what it holds, if it is still there. While somebody is forgotten,
    /// nothing is to be left of any: a map keeps in it what it has removed. Who forces it has seen
    /// that it does not hold what we know.
    fn known(&mut self) -> Option<(Box<dyn Kept>, Digest)> {
        if self.source.forgotten.is_erasing() || self.force {
            return None;
        }
        let Settings { path, style, .. } = &*self.settings;
        let kept = self.base.take().or_else(|| kind(style.table).resume(path))?;
        let digest = kept.digest().filter(|_| kept.is_ours(path))?;
        Some((kept, digest))
    }

    /// Goes through all rows; says what was found if the file holds just these.
    fn check(&self, known: Digest) -> Result<Option<(Outcome, Found)>, PublishError> {
        let mut digest = Digest::default();
        let found = self.scan(None).run(&*self.source.standings, |row| {
            digest.add(row);
            Ok::<_, StoreError>(())
        })?;
        // One that is to have other attributes is another version: whoever writes it must know.
        let has_attributes = |file| has_attributes(&self.settings, &file).unwrap_or(true);
        let is_fit = file::read(&self.settings.path).map_or(true, has_attributes);
        if digest != known || !is_fit {
            return Ok(None);
        }
        let outcome =
            Outcome { rows: digest.rows, changed: false, held: 0, lost: 0, partial: false };
        Ok(Some((outcome, found)))
    }

    fn publish(
        &self,
        ours: Option<u64>,
        other_form: bool,
    ) -> (Result<Published, PublishError>, Found) {
        let Settings { path, max_shrink, .. } = &*self.settings;
        let before = self.made.or_else(|| modified(path));
        let filled = Publication::begin(&self.settings).and_then(|mut publication| {
            let standings = &*self.source.standings;
            let found = self.scan(before).run(standings, |row| publication.add(row))?;
            Ok((publication, found))
        });
        let (publication, mut found) = match filled {
            Ok(filled) => filled,
            Err(error) => return (Err(error), Found::default()),
        };
        let mut explained = std::mem::take(&mut found.gone);
        explained.sort();
        let (force, held, kept) = (self.force, self.held, Arc::clone(&self.kept));
        let (max_shrink, known) = (*max_shrink, self.left.known);
        let guard = Guard { max_shrink, force, explained, held, kept, ours, known, other_form };
        (publication.finish_and_keep(&guard), found)
    }
}
