//! Making runs: of what has changed, and one of several. Each is written beside everything else, by
//! whoever has the time; the writer lets it count.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::draft::Draft;
use super::run::Run;
use super::scan::Joined;
use super::{Base, Listed, filter_of};
use crate::store::disk::free_bytes;
use crate::store::tiers;

/// So many runs of a size become one.
const FAN: usize = 4;
/// Keys that are looked at in one go.
const STEP: usize = 1_024;
/// Room that a run of several leaves to others, in bytes: the journal needs it more.
const ROOM: u64 = 64 << 20;

/// A run that is to be written.
pub struct Next {
    base: Arc<Base>,
    number: u64,
    /// Those that it takes in, the oldest first. None: it is made of what has changed.
    runs: Vec<Arc<Run>>,
    /// The last block of changes that it will have.
    block: u64,
    /// They are the oldest: what is gone need not be noted any more.
    is_oldest: bool,
}

/// A run that was written.
pub struct Made {
    pub(super) run: Arc<Run>,
    pub(super) replaces: Vec<Arc<Run>>,
    block: u64,
}

impl Base {
    /// The run that is to be made of what has changed, if that is so many keys. It is in blocks up
    /// to that one.
    pub(in crate::store) fn next(self: &Arc<Base>, keys: usize, block: u64) -> Option<Next> {
        let is_due = self.changes() >= keys.max(1);
        is_due.then(|| Next { block, ..self.begin(Vec::new(), false) })
    }

    /// The run that is to be made of several, where one of so many keys is of the smallest size.
    pub(in crate::store) fn next_merge(self: &Arc<Base>, keys: usize) -> Option<Next> {
        let runs = self.runs();
        let sizes: Vec<u64> = runs.iter().map(|run| run.entries).collect();
        let first = tiers::due(&sizes, FAN, 2 * keys as u64)?;
        Some(self.begin(runs[first..].to_vec(), first == 0))
    }

    fn begin(self: &Arc<Base>, runs: Vec<Arc<Run>>, is_oldest: bool) -> Next {
        let mut inner = self.write();
        let number = inner.next;
        inner.next += 1;
        Next { base: Arc::clone(self), number, runs, block: 0, is_oldest }
    }

    /// The runs that count as soon as one does that was made.
    pub(in crate::store) fn listed_with(&self, made: &Made) -> Vec<Listed> {
        with(&self.runs(), made).iter().map(|run| run.listed).collect()
    }

    /// Lets a run count, in place of those that it has taken in.
    pub(in crate::store) fn adopt(&self, made: &Made) {
        let mut inner = self.write();
        inner.runs = with(&inner.runs, made);
    }
}

fn with(runs: &[Arc<Run>], made: &Made) -> Arc<[Arc<Run>]> {
    let is_old = |run: &Arc<Run>| made.replaces.iter().any(|old| Arc::ptr_eq(old, run));
    let at = runs.iter().position(is_old).unwrap_or(runs.len());
    let mut all: Vec<Arc<Run>> = runs.iter().filter(|run| !is_old(run)).cloned().collect();
    all.insert(at, Arc::clone(&made.run));
    all.into()
}

impl Next {
    /// Writes it.
    ///
    /// # Errors
    /// When the disk fails, a run is damaged, or nobody wants it any more.
    pub fn write(self) -> io::Result<Made> {
        let run = if self.runs.is_empty() { self.of_changes()? } else { self.of_runs()? };
        Ok(Made { run: Arc::new(run), replaces: self.runs, block: self.block })
    }

    fn of_changes(&self) -> io::Result<Run> {
        let base = &self.base;
        let mut draft = Draft::begin(&base.dir, self.number, base.changes() as u64)?;
        let mut from = Vec::new();
        loop {
            self.go_on()?;
            let (changes, _) = base.look(&from, &[u8::MAX], STEP);
            for (key, value) in &changes {
                draft.put(key, value)?;
            }
            let Some((last, _)) = changes.last() else { return draft.finish() };
            from = [last, &[0][..]].concat();
        }
    }

    fn of_runs(&self) -> io::Result<Run> {
        let base = &self.base;
        let bytes: u64 = self.runs.iter().map(|run| run.listed.size).sum();
        if free_bytes(&base.dir)? < bytes + ROOM {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let entries = self.runs.iter().map(|run| run.entries).sum();
        let mut draft = Draft::begin(&base.dir, self.number, entries)?;
        let (mut joined, mut number) = (Joined::at(&self.runs, &[])?, 0_usize);
        while joined.advance()? {
            if number.is_multiple_of(STEP) {
                self.go_on()?;
            }
            number += 1;
            if !self.is_oldest || !joined.value().is_empty() {
                draft.put(joined.key(), joined.value())?;
            }
        }
        draft.finish()
    }

    fn go_on(&self) -> io::Result<()> {
        let given_up = self.base.given_up.load(Ordering::Relaxed);
        if given_up { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

impl Made {
    /// What it has, to be taken out of the changes.
    pub(in crate::store) fn settling(&self) -> io::Result<Settling> {
        let entries = Joined::at(&[Arc::clone(&self.run)], &[])?;
        Ok(Settling { entries, block: self.block })
    }

    /// Whether it was made of others.
    pub(in crate::store) fn is_merge(&self) -> bool {
        !self.replaces.is_empty()
    }

    /// Removes the files of those that it has taken in, once it counts whatever happens. Those that
    /// stay go at the next start.
    pub(in crate::store) fn remove_replaced(&self) {
        for run in &self.replaces {
            let _ = fs::remove_file(&run.path);
        }
    }
}

/// Takes out of the changes what a run has.
pub(in crate::store) struct Settling {
    entries: Joined,
    /// The last block that goes.
    pub(in crate::store) block: u64,
}

impl Settling {
    /// Takes the next entries out of memory that are what has changed, of as many as are looked at
    /// in one go. Says whether there can be more.
    ///
    /// # Errors
    /// When the run is damaged.
    pub(in crate::store) fn go_on(&mut self, base: &Base) -> io::Result<bool> {
        let mut inner = base.write();
        for _ in 0..STEP {
            if !self.entries.advance()? {
                inner.filter = filter_of(&inner.changed);
                return Ok(false);
            }
            let (key, value) = (self.entries.key(), self.entries.value());
            if inner.changed.get(key).is_some_and(|changed| **changed == *value) {
                inner.changed.remove(key);
            }
        }
        Ok(true)
    }
}
