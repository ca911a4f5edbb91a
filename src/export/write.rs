//! One writing of an export: what it is given, and what it finds and leaves. `whole` writes all
//! of it, `partial` what has changed.
//!
//! Blocking. Decides nothing about when.

use std::path::Path;
use std::sync::Arc;

use super::file::Stamp;
use super::place::Places;
use super::publish::{Outcome, PublishError};
use super::scan::{Found, Scan};
use super::table::Kept;
use super::{Rows, Settings};
use crate::current::Current;
use crate::forgotten::Forgotten;
use crate::ingest::Changes;
use crate::model::{Scope, Standing, Time};
use crate::rules::Rules;
use crate::store::{Standings, StoreError};

type Lookup = dyn Fn(&str) -> Result<Vec<(Scope, Standing)>, StoreError> + Send + Sync;

/// What a writing needs of the store and the rules.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) rules: Arc<Current<Rules>>,
    /// Every standing, ordered by the address's key.
    pub(super) standings: Arc<Standings<'static>>,
    /// Those of one address.
    pub(super) of: Arc<Lookup>,
    /// Whether parts of the journal are lost: a store that was made from it may lack standings.
    pub(super) lacks: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Who was forgotten.
    pub(super) forgotten: Arc<Forgotten>,
}

/// What exports need of the rest. Cheap to clone.
#[derive(Clone)]
pub(super) struct World {
    pub(super) source: Source,
    /// Where every change of a verdict is told.
    pub(super) changes: Changes,
    pub(super) now: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Which exports there are, and where.
    pub(super) places: Arc<Current<Places>>,
}

/// What the last writing has left.
pub(super) struct Left {
    /// Which version of the file; unknown before the first writing of this start.
    pub(super) stamp: Option<Stamp>,
    /// How many rows it had.
    pub(super) rows: u64,
    /// Whether we have ever written it.
    pub(super) known: bool,
}

/// What a writing is asked for.
pub(super) struct Job {
    /// The rules that it is written by.
    pub(super) rules: Arc<Rules>,
    /// Those by which the present file was written, if they are others.
    pub(super) past: Option<Arc<Rules>>,
    pub(super) settings: Arc<Settings>,
    pub(super) source: Source,
    /// Which exports there are, and where.
    pub(super) places: Arc<Places>,
    /// As of when.
    pub(super) now: Time,
    /// As of when the present file is; `None` before the first writing.
    pub(super) made: Option<Time>,
    /// Whether to write whatever is lost.
    pub(super) force: bool,
    /// Whether rows are held back.
    pub(super) held: bool,
    /// Which, as far as the last writing knew.
    pub(super) kept: Arc<Rows>,
    /// How many are lost, as far as the last writing knew.
    pub(super) lost: u64,
    pub(super) left: Left,
    /// The file that the last writing left, if a part of it can be changed.
    pub(super) base: Option<Box<dyn Kept>>,
}

/// What a writing has found and left.
pub(super) struct Written {
    pub(super) result: Result<Outcome, PublishError>,
    pub(super) found: Found,
    /// The rows that are held back, if the writing has succeeded.
    pub(super) held: Arc<Rows>,
    pub(super) base: Option<Box<dyn Kept>>,
    /// Which version of the file there is now.
    pub(super) stamp: Option<Stamp>,
    /// Whether somebody else had written or removed the file.
    pub(super) foreign: bool,
}

impl Written {
    pub(super) fn new(
        path: &Path,
        result: Result<Outcome, PublishError>,
        found: Found,
        base: Option<Box<dyn Kept>>,
    ) -> Written {
        Written {
            result,
            found,
            held: Arc::default(),
            base,
            stamp: Stamp::of(path).ok(),
            foreign: false,
        }
    }
}

impl Job {
    pub(super) fn scan(&self, before: Option<Time>) -> Scan<'_> {
        let (rules, settings) = (&self.rules, &self.settings);
        let (past, forgotten) = (self.past.as_deref(), &self.source.forgotten);
        Scan { rules, settings, forgotten, now: self.now, before, past }
    }

    /// The file for the next change, if what a row belongs to can be told of it alone.
    pub(super) fn base(&self, kept: Option<Box<dyn Kept>>) -> Option<Box<dyn Kept>> {
        kept.filter(|_| !self.settings.format.shares_keys())
    }
}
