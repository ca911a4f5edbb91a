//! The index of the journal: where each event was told, and to whom each message went. What no
//! longer changes lies in runs, one for each stretch of the journal; the newest is in memory.
//!
//! All of it can be told again by reading the journal, and is where a run is missing or damaged:
//! so nothing that is acknowledged rests on it. It knows at which place each event was told in
//! which way, and so can say what was known at any place: a replay finds what it found before.

mod draft;
mod merge;
mod part;
mod row;
mod run;
mod verify;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use draft::{Draft, stretch};
use part::Part;
use row::{Event, address_of, event, event_of, hashes, id, place, rows_of};
use run::Run;

pub(super) use row::{Name, Row, name, row};
pub use verify::verify_index;

use super::checkpoints::remove_drafts;
use super::codec::EventRef;
use super::filter::Filter;
use super::keys::{Hash, hash};
use super::{Reach, StoreError};
use crate::journal::{private_dir, sync_dir};
use crate::model::{Address, EventId, Position, QuarantineId};
use crate::store::sealed::Flaw;
use crate::telemetry;

/// Rows that are kept in memory, about fifty bytes each, before they become a run.
pub(super) const ROWS_MAX: usize = 1 << 16;
/// So many times as many are kept where no run can be written.
const OVERFULL: usize = 8;

/// The index, for the one who adds to it and for those who look.
pub struct Index {
    dir: PathBuf,
    inner: RwLock<Inner>,
    /// How far it went at the start. What is told before was told once.
    told: Position,
    /// How far a run went at the start that went further than the journal.
    lost: Option<Position>,
    /// A run could not be read. It is removed; the next opening has the journal tell it again.
    damaged: AtomicBool,
}

struct Inner {
    /// In the order of their stretches, which follow each other.
    runs: Vec<Arc<Run>>,
    /// How far they go.
    covered: Position,
    /// How far it went at the start with what an earlier life had kept of a record.
    kept: (Position, u32),
    /// Where the journal begins: what lies before is forgotten.
    start: Position,
    rows: BTreeMap<Row, u8>,
    /// The events that those may be of.
    filter: Filter,
    names: BTreeSet<Name>,
}

impl Index {
    /// Opens the index of a journal that reaches from `start` to `end`. Runs that cannot be used,
    /// and all behind them, are removed.
    ///
    /// # Errors
    /// When a newer version wrote one, or the disk fails.
    pub(super) fn open(dir: &Path, (start, end): Reach) -> Result<Index, StoreError> {
        private_dir(dir)?;
        remove_drafts(dir)?;
        let (mut runs, mut covered, mut lost) = (Vec::new(), Position::default(), None);
        let mut files = files(dir)?.into_iter();
        for (from, to, path) in files.by_ref() {
            if to <= covered {
                // A merge has taken it in, and did not come to remove it.
                fs::remove_file(path)?;
                continue;
            }
            let follows = from <= covered.max(start) && to <= end;
            match Run::open(&path) {
                Ok(run) if follows && (run.from, run.to) == (from, to) => {
                    covered = to;
                    runs.push(Arc::new(run));
                }
                Err(Flaw::Newer) => {
                    return Err(StoreError::Newer(path.display().to_string()));
                }
                found => {
                    lost = Some(to).filter(|to| found.is_ok() && *to > end);
                    let why = found.err().map_or("a part before it is missing".into(), text);
                    telemetry::ingest::index_damaged(&path, &why);
                    fs::remove_file(path)?;
                    break;
                }
            }
        }
        for (.., path) in files {
            fs::remove_file(path)?;
        }
        let part = part::take(dir, covered, end)?;
        let told = part.as_ref().map_or(covered, |part| {
            // Of that record, too.
            let (record, _) = part.reached;
            Position { offset: record.offset + 1, ..record }
        });
        let Part { rows, names, reached: kept } =
            part.unwrap_or_else(|| Part { reached: (covered, 0), ..Part::default() });
        let filter = Filter::new(ROWS_MAX as u64);
        let (before, none) = (BTreeMap::new(), BTreeSet::new());
        let inner = Inner { runs, covered, kept, start, rows: before, filter, names: none };
        let (dir, damaged) = (dir.to_owned(), AtomicBool::new(false));
        let index = Index { dir, inner: RwLock::new(inner), told, lost, damaged };
        index.add(rows, names);
        Ok(index)
    }

    /// How far it went at the start, if that was further than the journal.
    pub fn lost(&self) -> Option<Position> {
        self.lost
    }

    /// How far it goes without what is in memory.
    pub fn covered(&self) -> Position {
        self.read().covered
    }

    /// How far it went at the start: to a record, and an element of it.
    pub(super) fn kept(&self) -> (Position, u32) {
        self.read().kept
    }

    /// What is known of an event at a place: by all that was told before. `None`: nothing.
    ///
    /// # Errors
    /// When a run is damaged.
    pub(super) fn told(
        &self,
        address: Hash,
        id: EventId,
        at: QuarantineId,
    ) -> Result<Option<EventRef>, StoreError> {
        // Behind what was there at the start, nothing is told that comes later.
        let at = Some(at).filter(|at| at.record < self.told);
        let (event, mut found) = (event(address, id), None);
        self.look(&event, true, &mut |row, origins| {
            let place = place(row);
            if at.is_none_or(|at| place < at) {
                join(&mut found, place, origins);
            }
        })?;
        Ok(found)
    }

    /// All events of an address.
    ///
    /// # Errors
    /// When a run is damaged.
    pub(super) fn events_of(
        &self,
        address: Hash,
    ) -> Result<impl Iterator<Item = (EventId, EventRef)>, StoreError> {
        let mut events: BTreeMap<Event, Option<EventRef>> = BTreeMap::new();
        self.look(&address, false, &mut |row, origins| {
            join(events.entry(event_of(row)).or_default(), place(row), origins);
        })?;
        Ok(events.into_iter().filter_map(|(event, found)| Some((id(&event), found?))))
    }

    /// Whom a message was sent to.
    ///
    /// # Errors
    /// When a run is damaged.
    pub(super) fn addresses_of(&self, message: Hash) -> Result<BTreeSet<Hash>, StoreError> {
        let inner = self.read();
        let mut addresses = BTreeSet::new();
        let (first, last) = (name(message, [0; 8]), name(message, [u8::MAX; 8]));
        addresses.extend(inner.names.range(first..=last).map(address_of));
        for run in &inner.runs {
            let each = &mut |name: &Name| addresses.extend([address_of(name)]);
            run.names_of(message, each).map_err(|error| self.damage(run, error))?;
        }
        Ok(addresses)
    }

    /// Gives the rows that start so, of an event or an address.
    fn look(
        &self,
        start: &[u8],
        is_event: bool,
        each: &mut dyn FnMut(&Row, u8),
    ) -> Result<(), StoreError> {
        let inner = self.read();
        let begin = inner.start;
        let each = &mut |row: &Row, origins| {
            if place(row).record >= begin {
                each(row, origins);
            }
        };
        let (first, last) = rows_of(start);
        let hashes = hashes(&event_of(&first));
        if !is_event || inner.filter.may_have(hashes) {
            inner.rows.range(first..=last).for_each(|(row, origins)| each(row, *origins));
        }
        for run in inner.runs.iter().filter(|run| !is_event || run.may_have(hashes)) {
            run.rows_of(start, each).map_err(|error| self.damage(run, error))?;
        }
        Ok(())
    }

    /// Adds what a batch has told.
    pub(super) fn add(&self, rows: BTreeMap<Row, u8>, names: BTreeSet<Name>) {
        if rows.is_empty() && names.is_empty() {
            return;
        }
        let mut inner = self.write();
        for (row, origins) in rows {
            inner.filter.insert(hashes(&event_of(&row)));
            *inner.rows.entry(row).or_default() |= origins;
        }
        inner.names.extend(names);
    }

    /// Whether so much is in memory that it should become a run.
    pub fn is_full(&self) -> bool {
        self.read().rows.len() >= ROWS_MAX
    }

    /// Whether more is in memory than there may be where no run can be written.
    pub(super) fn is_overfull(&self) -> bool {
        self.read().rows.len() > OVERFULL * ROWS_MAX
    }

    /// Makes a run of what is in memory, and of all that was told up to `to`.
    ///
    /// # Errors
    /// When the disk fails: then it stays in memory.
    pub(super) fn flush(&self, to: Position) -> io::Result<()> {
        let run = {
            let inner = self.read();
            if to <= inner.covered {
                return Ok(());
            }
            let from = inner.covered;
            let write = || {
                let mut draft = Draft::begin(&self.dir, (from, to), inner.rows.len() as u64)?;
                inner.rows.iter().try_for_each(|(row, origins)| draft.row(row, *origins))?;
                inner.names.iter().try_for_each(|name| draft.name(name))?;
                draft.finish().map(drop)
            };
            // Its name may be lost with the power: then the journal tells it again. On the
            // journal's disk each sync is one that a sender waits for.
            self.opened((from, to), write())?
        };
        let mut inner = self.write();
        inner.covered = to;
        inner.runs.push(Arc::new(run));
        (inner.rows, inner.names) = Default::default();
        inner.filter = Filter::new(ROWS_MAX as u64);
        drop(inner);
        // One that stays is of before, and not taken.
        let _ = part::remove(&self.dir);
        Ok(())
    }

    /// The run of a stretch that takes the place of others, and was just written: for good.
    fn made(&self, stretch: Reach, written: io::Result<()>) -> io::Result<Run> {
        self.opened(stretch, written.and_then(|()| sync_dir(&self.dir)))
    }

    /// The run of a stretch that was just written, or else not left half.
    fn opened(&self, (from, to): Reach, written: io::Result<()>) -> io::Result<Run> {
        let path = draft::path(&self.dir, from, to);
        let opened =
            written.and_then(|()| Run::open(&path).map_err(|flaw| io::Error::other(text(flaw))));
        if opened.is_err() {
            // Where there was no room, half of it must not take what there is.
            let _ = fs::remove_file(path.with_extension(super::checkpoints::DRAFT));
        }
        opened
    }

    /// Whether there are enough runs to make one of them.
    pub fn is_merge_due(&self) -> bool {
        merge::due(&self.read().runs).is_some()
    }

    /// Makes one run of several, if there are enough. Takes as long as they are large.
    ///
    /// # Errors
    /// When the disk fails: then all is as before.
    pub fn merge(&self) -> io::Result<()> {
        let (runs, start) = {
            let inner = self.read();
            let Some(runs) = merge::due(&inner.runs) else { return Ok(()) };
            (runs.to_vec(), inner.start)
        };
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(()) };
        let stretch = (first.from, last.to);
        let rows = runs.iter().map(|run| run.rows).sum();
        let write = || merge::write(&runs, start, &[], Draft::begin(&self.dir, stretch, rows)?);
        let run = self.made(stretch, write()).inspect_err(|_| self.look_for_damage(&runs))?;
        let run = Arc::new(run);
        let mut inner = self.write();
        let is_old = |run: &Arc<Run>| runs.iter().any(|old| Arc::ptr_eq(old, run));
        // What was trimmed meanwhile is not missed.
        let at = inner.runs.iter().position(is_old).unwrap_or(0);
        inner.runs.retain(|run| !is_old(run));
        inner.runs.insert(at, run);
        drop(inner);
        runs.iter().try_for_each(|run| gone(&run.path))
    }

    /// Takes out of the runs what is of these addresses; nobody makes one of several meanwhile.
    /// Each that has any of it is written anew, in the place of its file.
    ///
    /// # Errors
    /// When the disk fails: then some are without it.
    pub fn erase(&self, people: &[Address]) -> io::Result<()> {
        part::remove(&self.dir)?;
        let gone: Vec<Hash> = people.iter().map(|it| hash(it.key())).collect();
        let (runs, start) = {
            let inner = self.read();
            (inner.runs.clone(), inner.start)
        };
        for old in runs {
            let told = |error| {
                self.look_for_damage(std::slice::from_ref(&old));
                error
            };
            if !old.has_any_of(&gone).map_err(told)? {
                continue;
            }
            let stretch = (old.from, old.to);
            let draft = Draft::begin(&self.dir, stretch, old.rows)?;
            let written = merge::write(&[Arc::clone(&old)], start, &gone, draft);
            let run = Arc::new(self.made(stretch, written)?);
            let mut inner = self.write();
            let same = inner.runs.iter_mut().find(|run| Arc::ptr_eq(run, &old));
            same.into_iter().for_each(|place| *place = Arc::clone(&run));
        }
        Ok(())
    }

    /// Removes the runs that go further than `end`, where the journal has been cut.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn cut(&self, end: Position) -> io::Result<()> {
        let mut inner = self.write();
        let gone: Vec<_> = inner.runs.extract_if(.., |run| run.to > end).collect();
        inner.covered = inner.runs.last().map_or(Position::default(), |run| run.to);
        inner.kept = (inner.covered, 0);
        drop(inner);
        gone.iter().try_for_each(|run| self::gone(&run.path))
    }

    /// Forgets what lies before the journal's start.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn trim(&self, start: Position) -> io::Result<()> {
        let mut inner = self.write();
        inner.start = start;
        let old: Vec<_> = inner.runs.extract_if(.., |run| run.to <= start).collect();
        drop(inner);
        old.iter().try_for_each(|run| gone(&run.path))
    }

    /// Whether it can be looked into.
    ///
    /// # Errors
    /// When a run was found damaged, and has to be told again.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let is_damaged = self.damaged.load(Ordering::Relaxed);
        if is_damaged { Err(StoreError::Damaged("a part of its index".to_owned())) } else { Ok(()) }
    }

    fn look_for_damage(&self, runs: &[Arc<Run>]) {
        for run in runs {
            if let Err(error) = run.verify() {
                self.damage(run, error);
            }
        }
    }

    fn damage(&self, run: &Run, error: io::Error) -> StoreError {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            telemetry::ingest::index_damaged(&run.path, &error.to_string());
        }
        // It is open as long as anybody looks into it; the next opening finds it missing.
        let _ = fs::remove_file(&run.path);
        StoreError::Damaged(format!("its index {}: {error}", run.path.display()))
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        // A panic while holding it leaves what was in it.
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All events and all messages' addresses, for comparing two of them.
    ///
    /// # Errors
    /// When a run is damaged.
    #[expect(clippy::type_complexity, reason = "for comparing alone")]
    pub(super) fn everything(
        &self,
    ) -> Result<(BTreeMap<(Hash, EventId), EventRef>, BTreeSet<Name>), StoreError> {
        let (mut addresses, mut names) = (BTreeSet::new(), self.read().names.clone());
        self.look(&[], false, &mut |row, _| {
            addresses.extend(row.first_chunk::<8>().copied());
        })?;
        for run in &self.read().runs {
            for block in 0..run.name_blocks() {
                names.extend(run.name_block(block).map_err(|error| self.damage(run, error))?);
            }
        }
        let mut events = BTreeMap::new();
        for address in addresses {
            events.extend(self.events_of(address)?.map(|(id, found)| ((address, id), found)));
        }
        Ok((events, names))
    }
}

fn text(flaw: Flaw) -> String {
    match flaw {
        Flaw::Newer => "a newer version wrote it".to_owned(),
        Flaw::Bad(error) => error.to_string(),
    }
}

fn gone(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Adds what the rows of a batch say of an event.
pub(super) fn join_all(
    found: &mut Option<EventRef>,
    rows: &BTreeMap<Row, u8>,
    address: Hash,
    id: EventId,
) {
    let (first, last) = rows_of(&event(address, id));
    rows.range(first..=last).for_each(|(row, origins)| join(found, place(row), *origins));
}

/// Adds what a row says to what others said of the event.
fn join(found: &mut Option<EventRef>, place: QuarantineId, origins: u8) {
    let QuarantineId { record, element } = place;
    let known = found.get_or_insert(EventRef { record, element, origins });
    known.origins |= origins;
    if place < (QuarantineId { record: known.record, element: known.element }) {
        (known.record, known.element) = (record, element);
    }
}

/// The runs of a folder, in the order of their stretches: of two that begin at one place the longer
/// first.
fn files(dir: &Path) -> io::Result<Vec<(Position, Position, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some((from, to)) = stretch(&path) {
            files.push((from, to, path));
        }
    }
    files.sort_by_key(|(from, to, _)| (*from, Reverse(*to)));
    Ok(files)
}
