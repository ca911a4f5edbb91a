//! The base: nearly all standings, in sorted files that never change, the runs; and what has
//! changed since, in memory and, in blocks, in sled. So memory, and the time that opening takes,
//! follow the changes.
//!
//! A change counts before any run, and a newer run before an older one. What is in a run is taken
//! out of memory as far as it is the same, and then the blocks go that there were when the run was
//! begun, the earliest first: so at any point in between nothing is missing. Which runs count, sled
//! says (`keys::RUNS`).

mod block;
mod changes;
mod draft;
mod make;
mod run;
mod scan;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use run::Run;

pub(super) use changes::{FORM as CHANGES_FORM, blocks, gather, last, read};
pub(super) use draft::Draft;
pub(super) use make::Settling;
pub use make::{Made, Next};
pub(super) use scan::Scan;
pub use verify::verify_base;

use super::StoreError;
use super::codec::Form;
use super::filter::{Filter, Hashes};
use super::keys::{QUIET, STANDING};
use super::sealed::{Flaw, bad};

/// A run that counts: which file, and what must be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    number: u64,
    /// In bytes.
    size: u64,
    /// The checksum of all but the blocks.
    sum: u32,
}

/// The runs that count, the oldest first.
impl Form for Vec<Listed> {}

/// Changes for which their filter has room at least: as many as there usually are.
const FILTERED: u64 = 1 << 17;

/// A key that has changed, and its value, which is empty if it is gone.
pub(super) type Changed = (Box<[u8]>, Box<[u8]>);

/// The standings, for the one who changes them and for those who look.
pub struct Base {
    dir: PathBuf,
    inner: RwLock<Inner>,
    /// Nobody wants the runs any more that are being written.
    given_up: AtomicBool,
}

struct Inner {
    changed: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// What may be there: most keys that are asked for are not, and finding that out in a large map
    /// costs more than all runs together.
    filter: Filter,
    /// The oldest first.
    runs: Arc<[Arc<Run>]>,
    /// The number of the next run.
    next: u64,
}

/// What the filter of a run asks for: stored, and so the same for good. FNV-1a, and what spreads
/// its bits.
fn hashes(key: &[u8]) -> Hashes {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    let spread = |hash: u64| {
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    };
    (spread(hash), spread(hash ^ 0x9e37_79b9_7f4a_7c15))
}

impl Base {
    /// Whether a key is one of the base.
    pub(super) fn has(key: &[u8]) -> bool {
        matches!(key.first(), Some(&QUIET | &STANDING))
    }

    /// Opens the runs that count, and takes what has changed since. Where they are ours, one that
    /// is found damaged later is taken away.
    ///
    /// # Errors
    /// When a newer version wrote one, or one is missing or damaged.
    pub(super) fn open(
        dir: &Path,
        listed: &[Listed],
        changed: BTreeMap<Box<[u8]>, Box<[u8]>>,
        is_ours: bool,
    ) -> Result<Base, StoreError> {
        let run = |listed: &Listed| Ok(Arc::new(open(dir, *listed)?.owned(is_ours)));
        let runs = listed.iter().map(run);
        Ok(Base::new(dir, runs.collect::<Result<_, StoreError>>()?, changed))
    }

    /// Of the run that has everything, if there is anything.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn of(dir: &Path, all: Draft) -> io::Result<Base> {
        let run = if all.is_empty() { None } else { Some(Arc::new(all.finish()?)) };
        Ok(Base::new(dir, run.into_iter().collect(), BTreeMap::new()))
    }

    fn new(dir: &Path, runs: Arc<[Arc<Run>]>, changed: BTreeMap<Box<[u8]>, Box<[u8]>>) -> Base {
        let last = runs.iter().map(|run| run.listed.number).max();
        let (filter, next) = (filter_of(&changed), last.map_or(1, |last| last + 1));
        let inner = Inner { changed, filter, runs, next };
        Base { dir: dir.to_owned(), inner: RwLock::new(inner), given_up: AtomicBool::new(false) }
    }

    /// Removes every file that is none of its runs: what a crash has left of one in the making, and
    /// those that a merge has taken in.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn remove_others(&self) -> io::Result<()> {
        let runs = self.runs();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if runs.iter().all(|run| run.path != path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The runs that count.
    pub(super) fn listed(&self) -> Vec<Listed> {
        self.runs().iter().map(|run| run.listed).collect()
    }

    /// What is stored under a key.
    ///
    /// # Errors
    /// When a run is damaged.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let hashes = hashes(key);
        let runs = {
            let inner = self.read();
            if inner.filter.may_have(hashes)
                && let Some(value) = inner.changed.get(key)
            {
                return Ok(Some(value.to_vec()).filter(|value| !value.is_empty()));
            }
            Arc::clone(&inner.runs)
        };
        for run in runs.iter().rev().filter(|run| run.may_have(hashes)) {
            if let Some(value) = run.get(key)? {
                return Ok(Some(value).filter(|value| !value.is_empty()));
            }
        }
        Ok(None)
    }

    /// All keys from one on and before another.
    pub(super) fn scan(self: &Arc<Base>, from: Vec<u8>, end: Vec<u8>) -> Scan {
        Scan::new(Arc::clone(self), from, end)
    }

    /// All keys of a prefix.
    pub(super) fn scan_prefix(self: &Arc<Base>, prefix: u8) -> Scan {
        self.scan(vec![prefix], vec![prefix + 1])
    }

    /// Changes keys, all at once: those that look see none or all.
    pub(super) fn change(&self, changes: Vec<Changed>) {
        let mut inner = self.write();
        changes.iter().for_each(|(key, _)| inner.filter.insert(hashes(key)));
        inner.changed.extend(changes);
    }

    /// How many keys have changed.
    pub fn changes(&self) -> usize {
        self.read().changed.len()
    }

    /// Up to so many changes from a key on and before another, and the runs beside them.
    fn look(&self, from: &[u8], end: &[u8], limit: usize) -> (Vec<Changed>, Arc<[Arc<Run>]>) {
        let inner = self.read();
        let range = (Bound::Included(from), Bound::Excluded(end));
        let range = inner.changed.range::<[u8], _>(range).take(limit);
        let changes = range.map(|(key, value)| (key.clone(), value.clone())).collect();
        (changes, Arc::clone(&inner.runs))
    }

    /// Whether it can be looked into.
    ///
    /// # Errors
    /// When a run was found damaged: all has to be made again.
    pub fn check(&self) -> Result<(), StoreError> {
        match self.runs().iter().find(|run| run.is_damaged()) {
            Some(run) => Err(StoreError::Damaged(format!("its base {}", run.path.display()))),
            None => Ok(()),
        }
    }

    /// Lets what is being written end early: nobody wants it any more.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    fn runs(&self) -> Arc<[Arc<Run>]> {
        Arc::clone(&self.read().runs)
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        // A panic while holding it leaves what was in it.
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filter of what has changed.
fn filter_of(changed: &BTreeMap<Box<[u8]>, Box<[u8]>>) -> Filter {
    let mut filter = Filter::new(FILTERED.max(changed.len() as u64));
    changed.keys().for_each(|key| filter.insert(hashes(key)));
    filter
}

/// Opens a run that counts.
fn open(dir: &Path, listed: Listed) -> Result<Run, StoreError> {
    let path = draft::path(dir, listed.number);
    match Run::open(&path) {
        Ok(run) if run.listed == listed => Ok(run),
        Ok(_) => Err(not_so(&path, &bad())),
        Err(Flaw::Newer) => Err(StoreError::Newer(path.display().to_string())),
        Err(Flaw::Bad(error)) => {
            let damaged = not_so(&path, &error);
            let of_the_system = StoreError::from(error);
            let passes = matches!(of_the_system, StoreError::Disk { passing: true, .. });
            Err(if passes { of_the_system } else { damaged })
        }
    }
}

fn not_so(path: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("its base {}: {why}", path.display()))
}
