//! One writing of an export: all of it, or an LMDB map's changes alone.
//!
//! Blocking. Decides nothing about when; keeps what an LMDB map needs from one writing to the next.

use std::fs::File;
use std::sync::Arc;

use super::lmdb::{Digest, Live};
use super::publish::{Guard, Outcome, Publication, PublishError, fix_attributes, modified};
use super::scan::{Ends, Found, Scan};
use super::{Edits, Settings, Table, mark};
use crate::model::{Scope, Standing, Time};
use crate::rules::Rules;
use crate::store::{StandingRow, StoreError};

type Standings = Box<dyn Iterator<Item = Result<StandingRow, StoreError>> + Send>;
type Lookup = dyn Fn(&str) -> Result<Vec<(Scope, Standing)>, StoreError> + Send + Sync;

/// What a writing needs of the store and the rules.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) rules: Arc<Rules>,
    /// Every standing, ordered by the address's key.
    pub(super) standings: Arc<dyn Fn() -> Standings + Send + Sync>,
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
    /// The map that the last writing left, if it can be changed in place.
    pub(super) live: Option<Live>,
}

/// What a writing has found and left.
pub(super) struct Written {
    pub(super) result: Result<Outcome, PublishError>,
    pub(super) found: Found,
    pub(super) live: Option<Live>,
}

impl Job {
    /// Writes all of it. `explained` gives the rows that are known to be gone on purpose beside
    /// those that have ended; it is asked when all standings have been read.
    pub(super) fn whole(mut self, explained: impl Fn() -> u64) -> Written {
        let is_map = self.settings.style.table == Table::Lmdb;
        if is_map && self.live.is_none() {
            let digest = mark::take(&self.settings.path);
            self.live = digest.and_then(|digest| Live::open(&self.settings.path, digest).ok());
        }
        self.live.take_if(|live| !live.is_ours());
        if let Some(digest) = self.live.as_ref().map(Live::digest) {
            match self.check(digest) {
                Ok(Some((outcome, found))) => {
                    return Written { result: Ok(outcome), found, live: self.live };
                }
                Ok(None) => {}
                Err(error) => {
                    return Written {
                        result: Err(error),
                        found: Found::default(),
                        live: self.live,
                    };
                }
            }
        }
        // Closed before another takes its place.
        self.live = None;
        match self.publish(explained) {
            Ok((result, found)) => {
                let digest = result.as_ref().ok().and_then(|outcome| outcome.digest);
                let path = &self.settings.path;
                let live = digest.and_then(|digest| Live::open(path, digest).ok());
                Written { result, found, live }
            }
            Err(error) => Written { result: Err(error), found: Found::default(), live: None },
        }
    }

    fn scan(&self, before: Option<Time>) -> Scan<'_> {
        let (rules, settings) = (&self.source.rules, &self.settings);
        Scan { rules, settings, now: self.now, before }
    }

    /// Goes through all rows; says what was found if the map holds just these.
    fn check(&self, known: Digest) -> Result<Option<(Outcome, Found)>, PublishError> {
        let mut digest = Digest::default();
        let found = self.scan(None).run((self.source.standings)(), |row| {
            digest.add(row);
            Ok::<_, StoreError>(())
        })?;
        if digest != known {
            return Ok(None);
        }
        let outcome = Outcome { rows: digest.rows, changed: false, digest: None, in_place: false };
        if let Ok(file) = File::open(&self.settings.path) {
            fix_attributes(&self.settings, &file)?;
        }
        Ok(Some((outcome, found)))
    }

    fn publish(
        &self,
        explained: impl Fn() -> u64,
    ) -> Result<(Result<Outcome, PublishError>, Found), PublishError> {
        let Settings { path, max_shrink, .. } = &*self.settings;
        let before = self.made.or_else(|| modified(path));
        let mut publication = Publication::begin(&self.settings)?;
        let standings = (self.source.standings)();
        let found = self.scan(before).run(standings, |row| publication.add(row))?;
        let explained = found.expired.saturating_add(explained());
        let guard = Guard { max_shrink: *max_shrink, force: self.force, explained };
        Ok((publication.finish(guard), found))
    }

    /// Changes the rows of these addresses in the map that is there. `None`: all of it has to be
    /// written.
    pub(super) fn changes(mut self, keys: &[Box<str>]) -> Option<Written> {
        let mut live = self.live.take()?;
        let (mut edits, mut ends) = (Edits::default(), Ends::default());
        let scan = self.scan(None);
        for key in keys {
            let standings = (self.source.of)(key).ok()?;
            scan.one(key, &standings, &mut ends, &mut edits)?;
        }
        let changed = live.apply(&edits).ok()?;
        let Digest { rows, .. } = live.digest();
        let outcome = Outcome { rows, changed, digest: None, in_place: true };
        let found = Found { ends, ..Found::default() };
        Some(Written { result: Ok(outcome), found, live: Some(live) })
    }
}
