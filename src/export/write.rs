//! One writing of an export: all of it, or an LMDB map's changes alone.
//!
//! Blocking. Decides nothing about when; keeps what an LMDB map needs from one writing to the next.

use std::fs::File;
use std::sync::Arc;

use super::lmdb::{Digest, Live};
use super::publish::{Guard, Left, Outcome, Publication, PublishError, fix_attributes, modified};
use super::scan::{Ends, Found, Scan};
use super::text::{Edited, Kept};
use super::{Edits, Settings, Table, mark};
use crate::model::{Scope, Standing, Time};
use crate::rules::Rules;
use crate::store::{StoreError, Visit};

type Standings = dyn Fn(Visit<'_>) -> Result<(), StoreError> + Send + Sync;
type Lookup = dyn Fn(&str) -> Result<Vec<(Scope, Standing)>, StoreError> + Send + Sync;

/// What a writing needs of the store and the rules.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) rules: Arc<Rules>,
    /// Every standing, ordered by the address's key.
    pub(super) standings: Arc<Standings>,
    /// Those of one address.
    pub(super) of: Arc<Lookup>,
}

/// What a writing is asked for.
pub(super) struct Job {
    pub(super) settings: Arc<Settings>,
    pub(super) source: Source,
    /// As of when.
    pub(super) now: Time,
    /// As of when the present file is; `None` before the first writing.
    pub(super) made: Option<Time>,
    /// Whether to write whatever is lost.
    pub(super) force: bool,
    /// The file that the last writing left, if a part of it can be changed.
    pub(super) base: Option<Base>,
}

/// A file of ours of which a part can be changed.
pub(super) enum Base {
    /// A map, in place.
    Map(Live),
    /// A text, by a copy with the changes in it.
    Lines(Kept),
}

impl Base {
    /// Leaves a mark for the next start.
    pub(super) fn leave_mark(&self, settings: &Settings) {
        if let Base::Map(live) = self {
            // Without it, the next start makes the map anew.
            let _ = mark::leave(&settings.path, live.stamp(), live.digest());
        }
    }
}

/// What a writing has found and left.
pub(super) struct Written {
    pub(super) result: Result<Outcome, PublishError>,
    pub(super) found: Found,
    pub(super) base: Option<Base>,
}

impl Job {
    /// Writes all of it. `explained` gives the rows that are known to be gone on purpose beside
    /// those that have ended; it is asked when all standings have been read.
    pub(super) fn whole(mut self, explained: impl Fn() -> u64) -> Written {
        let live = self.known_map();
        if let Some(live) = live {
            match self.check(live.digest()) {
                Ok(Some((outcome, found))) => {
                    return Written { result: Ok(outcome), found, base: Some(Base::Map(live)) };
                }
                // Closed before another takes its place.
                Ok(None) => drop(live),
                Err(error) => {
                    let (found, base) = (Found::default(), Some(Base::Map(live)));
                    return Written { result: Err(error), found, base };
                }
            }
        }
        let (result, found) = self.publish(explained);
        match result {
            Ok((outcome, left)) => Written { result: Ok(outcome), found, base: self.base_of(left) },
            Err(error) => Written { result: Err(error), found, base: None },
        }
    }

    /// The map of which we know what it holds, if it is still there.
    fn known_map(&mut self) -> Option<Live> {
        let path = &self.settings.path;
        let live = match self.base.take() {
            Some(Base::Map(live)) => Some(live),
            None if self.settings.style.table == Table::Lmdb => {
                mark::take(path).and_then(|digest| Live::open(path, digest).ok())
            }
            Some(Base::Lines(_)) | None => None,
        };
        live.filter(Live::is_ours)
    }

    /// What a part can be changed of, now that all of it was written.
    fn base_of(&self, left: Left) -> Option<Base> {
        let Settings { path, format, .. } = &*self.settings;
        match left {
            Left::Map(digest) => Live::open(path, digest).ok().map(Base::Map),
            Left::Lines(lengths) if !format.shares_keys() && format.shape().joiner.is_empty() => {
                Kept::new(path, format.shape(), lengths).ok().map(Base::Lines)
            }
            Left::Lines(_) | Left::Nothing => None,
        }
    }

    fn scan(&self, before: Option<Time>) -> Scan<'_> {
        let (rules, settings) = (&self.source.rules, &self.settings);
        Scan { rules, settings, now: self.now, before }
    }

    /// Goes through all rows; says what was found if the map holds just these.
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

    fn publish(
        &self,
        explained: impl Fn() -> u64,
    ) -> (Result<(Outcome, Left), PublishError>, Found) {
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

    /// Changes the rows of these addresses in the file that is there. `None`: all of it has to be
    /// written.
    pub(super) fn changes(mut self, keys: &[Box<str>]) -> Option<Written> {
        let base = self.base.take()?;
        let (mut edits, mut ends) = (Edits::default(), Ends::default());
        let scan = self.scan(None);
        for key in keys {
            let standings = (self.source.of)(key).ok()?;
            scan.one(key, &standings, &mut ends, &mut edits)?;
        }
        let (rows, changed, base) = match base {
            Base::Map(mut live) => {
                let changed = live.apply(&edits).ok()?;
                (live.digest().rows, changed, Base::Map(live))
            }
            Base::Lines(kept) => match kept.edited(&edits).ok()? {
                Edited::Same => (kept.rows(), false, Base::Lines(kept)),
                Edited::New(draft, lengths) => {
                    let old = File::open(&self.settings.path).ok()?;
                    draft.replace(&self.settings, Some(&old)).ok()?;
                    (lengths.len() as u64, true, self.base_of(Left::Lines(lengths))?)
                }
                Edited::Foreign => return None,
            },
        };
        let outcome = Outcome { rows, changed, partial: true };
        let found = Found { ends, ..Found::default() };
        Some(Written { result: Ok(outcome), found, base: Some(base) })
    }
}
