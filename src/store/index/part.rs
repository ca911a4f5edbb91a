//! What was told since the last run, by a part of a record too: in a file of the form of a run,
//! should the process die before the record ends. However large that is, the next life goes on in
//! it from about there, and not from its beginning again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::row::{Name, Row, place};
use super::run::Run;
use super::{Index, gone};
use crate::model::Position;

const NAME: &str = "within.part";

/// What was kept.
#[derive(Default)]
pub(super) struct Part {
    pub(super) rows: BTreeMap<Row, u8>,
    pub(super) names: BTreeSet<Name>,
    /// The record that is told in part, and the element before which nothing is missing.
    pub(super) reached: (Position, u32),
}

impl Index {
    /// Keeps what is in memory where the death of this process does not reach it, while a record is
    /// applied. Not synced: after a power cut the journal tells it again.
    ///
    /// # Errors
    /// When the disk fails.
    pub(in crate::store) fn keep(&self, record: Position) -> io::Result<()> {
        let inner = self.read();
        let (stretch, rows) = ((inner.covered, record), inner.rows.len() as u64);
        let mut draft = Draft::at(path(&self.dir), stretch, rows)?;
        inner.rows.iter().try_for_each(|(row, origins)| draft.row(row, *origins))?;
        inner.names.iter().try_for_each(|name| draft.name(name))?;
        draft.leave()
    }
}

/// What was kept behind where the runs end, of a journal that ends there. Any other is removed, as
/// is one that was not written whole.
///
/// # Errors
/// When the disk fails.
pub(super) fn take(dir: &Path, covered: Position, end: Position) -> io::Result<Option<Part>> {
    let is_next = |run: &Run| run.from == covered && run.to >= covered && run.to < end;
    let run = Run::open(&path(dir)).ok().filter(is_next);
    let part = run.and_then(|run| read(&run).ok());
    if part.is_none() {
        remove(dir)?;
    }
    Ok(part)
}

/// Removes what was kept: a run has it by now, or nobody is to have it.
///
/// # Errors
/// When the disk fails.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    gone(&path(dir))
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

fn read(run: &Run) -> io::Result<Part> {
    let mut part = Part { reached: (run.to, 0), ..Part::default() };
    for block in 0..run.row_blocks() {
        part.rows.extend(run.block(block)?);
    }
    for block in 0..run.name_blocks() {
        part.names.extend(run.name_block(block)?);
    }
    let places = part.rows.keys().map(place).filter(|place| place.record == run.to);
    // It may have told more than that.
    part.reached.1 = places.map(|place| place.element).max().unwrap_or(0);
    Ok(part)
}
