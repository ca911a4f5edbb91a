//! Making one run of several that follow each other, so that a look touches few.

use std::io;
use std::sync::Arc;

use super::draft::Draft;
use super::row::{Name, Row, address_of, place};
use super::run::Run;
use crate::model::Position;
use crate::store::keys::Hash;
use crate::store::tiers;

/// So many runs of a size become one.
const FAN: usize = 8;
/// Rows up to which a run is of the smallest size.
const SMALL: u64 = super::ROWS_MAX as u64 * 2;

/// How many of the newest runs are to become one, if they are enough.
pub(super) fn due(runs: &[Arc<Run>]) -> Option<&[Arc<Run>]> {
    let rows: Vec<u64> = runs.iter().map(|run| run.rows).collect();
    runs.get(tiers::due(&rows, FAN, SMALL)?..)
}

/// Where a merge is in a run.
struct Cursor<T> {
    run: Arc<Run>,
    next: u64,
    block: std::vec::IntoIter<T>,
    first: Option<T>,
}

impl<T: Copy> Cursor<T> {
    fn advance(
        &mut self,
        blocks: fn(&Run) -> u64,
        block: fn(&Run, u64) -> io::Result<Vec<T>>,
    ) -> io::Result<()> {
        self.first = self.block.next();
        while self.first.is_none() && self.next < blocks(&self.run) {
            self.block = block(&self.run, self.next)?.into_iter();
            self.next += 1;
            self.first = self.block.next();
        }
        Ok(())
    }
}

/// Gives all that runs have, in order.
fn each<T: Copy + Ord>(
    runs: &[Arc<Run>],
    blocks: fn(&Run) -> u64,
    block: fn(&Run, u64) -> io::Result<Vec<T>>,
    mut each: impl FnMut(T) -> io::Result<()>,
) -> io::Result<()> {
    let mut cursors = Vec::new();
    for run in runs {
        let (run, block_none) = (Arc::clone(run), Vec::new().into_iter());
        let mut cursor = Cursor { run, next: 0, block: block_none, first: None };
        cursor.advance(blocks, block)?;
        cursors.push(cursor);
    }
    loop {
        let least = cursors.iter_mut().filter(|cursor| cursor.first.is_some());
        let Some(cursor) = least.min_by_key(|cursor| cursor.first) else { return Ok(()) };
        if let Some(first) = cursor.first {
            each(first)?;
        }
        cursor.advance(blocks, block)?;
    }
}

/// Writes the rows and pairs of runs into one, without what lies before `start`, and what is of
/// those that are `gone`.
///
/// # Errors
/// When the disk fails, or a run is damaged.
pub(super) fn write(
    runs: &[Arc<Run>],
    start: Position,
    gone: &[Hash],
    mut draft: Draft,
) -> io::Result<()> {
    let mut last: Option<(Row, u8)> = None;
    each(runs, Run::row_blocks, Run::block, |(row, origins)| {
        match &mut last {
            Some((same, known)) if *same == row => *known |= origins,
            _ if place(&row).record < start || gone.iter().any(|of| row.starts_with(of)) => {}
            before => {
                if let Some((row, origins)) = before.replace((row, origins)) {
                    draft.row(&row, origins)?;
                }
            }
        }
        Ok(())
    })?;
    if let Some((row, origins)) = last {
        draft.row(&row, origins)?;
    }
    let mut last: Option<Name> = None;
    each(runs, Run::name_blocks, Run::name_block, |name| {
        let again = last.replace(name) == Some(name);
        if again || gone.contains(&address_of(&name)) { Ok(()) } else { draft.name(&name) }
    })?;
    draft.finish().map(drop)
}
