//! Where applying begins: behind what is applied, once it is clear that all of that is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::applier::{Applier, Session};
use crate::journal;
use crate::model::Position;
use crate::store::{self, Batch, Opened, StoreError, View, Writer};
use crate::telemetry;

impl Applier {
    /// Opens the store, and begins behind what is applied of a journal that ends there. Says
    /// whether it was believed as it is. `erased`: it was removed to be made again.
    pub(super) fn open_store(
        &mut self,
        end: Position,
        erased: bool,
    ) -> Result<(Session, Arc<View>, bool), StoreError> {
        let reach = (self.journal.start()?, end);
        let opened = store::open(&self.settings.store(), &self.checkpoints, reach, self.rotten)?;
        self.rotten = false;
        opened.rebuilt.iter().filter(|_| !erased).for_each(tell_rebuilt);
        self.attached = false;
        let behind = self.journal.bytes_between(opened.writer.applied(), end)?;
        self.shared.lag.store(behind, Ordering::Relaxed);
        let Opened { mut writer, view, attempt, believed, .. } = opened;
        let from = self.starting_point(&mut writer, end)?;
        Ok((Session::new((writer, attempt), &self.journal, from), view, believed))
    }

    /// Where to go on, as a record and an element of it: behind what is applied, but no further
    /// than there is anything; or where the index lacks what is applied.
    pub(super) fn starting_point(
        &self,
        writer: &mut Writer,
        end: Position,
    ) -> Result<(Position, u32), StoreError> {
        let (start, applied) = (self.journal.start()?, writer.applied());
        if applied > end {
            let text = format!("The store had taken it up to {applied}; it now ends at {end}.\n");
            self.note_loss(end, &text)?;
            // What is there may not be what the store has seen, and twice does no harm.
            let from = start.min(end);
            writer.go_back(from);
            return Ok((from, 0));
        }
        // Of a record that is applied in part, there must be something.
        let part = u32::from(writer.applied_within() > 0);
        let seen = Position { offset: applied.offset + part, ..applied };
        if let Some(cut) = self.journal.ends_before(seen)? {
            let text =
                format!("The store had taken it up to {applied}; its segment ends at {cut}.\n");
            self.note_loss(applied, &text)?;
            let next = Position { segment: applied.segment + 1, ..start };
            // Told once, and the store has what was there.
            writer.commit(Batch::default(), next)?;
            return Ok((next, 0));
        }
        if applied.segment < start.segment && start.segment > 1 {
            let text = format!("The store has taken it up to {applied}; it starts at {start}.\n");
            self.note_loss(applied, &text)?;
        } else if self.lacks_start(start)? {
            let first = start.segment;
            let text =
                format!("It begins at segment {first}, and no checkpoint covers what is before.\n");
            self.note_loss(Position { segment: 1, offset: 0 }, &text)?;
        }
        self.look_for_indexed(writer)?;
        let from = applied.max(start).min(end);
        let within = if from == applied { writer.applied_within() } else { 0 };
        Ok(writer.gap(start).unwrap_or((from, within)))
    }

    /// Whether a store that is made again would be without what was told before `start`: nothing is
    /// trimmed but behind a checkpoint.
    pub(super) fn lacks_start(&self, start: Position) -> Result<bool, StoreError> {
        let newest = store::newest_checkpoint(&self.settings.store().checkpoint)?;
        Ok(start.segment > 1 && newest.is_none_or(|newest| newest.segment < start.segment))
    }

    fn note_loss(&self, from: Position, text: &str) -> Result<(), StoreError> {
        let note = journal::note_loss(&self.settings.quarantine(), from, text);
        note?.tell();
        Ok(())
    }

    /// Tells where the journal lacks what the index had taken: nothing else may know of it, where
    /// the store's own position is in the next segment, or the store is made again.
    fn look_for_indexed(&self, writer: &Writer) -> Result<(), StoreError> {
        let index = writer.index();
        let covered = index.covered();
        let cut = self.journal.ends_before(covered)?;
        if let Some(seen) = index.lost().or(cut.map(|_| covered)) {
            let text = format!("The index had taken it up to {seen}; that is there no more.\n");
            self.note_loss(seen, &text)?;
        }
        // Told once.
        cut.map_or(Ok(()), |cut| Ok(index.cut(cut)?))
    }
}

fn tell_rebuilt(rebuilt: &store::Rebuilt) {
    let aside = rebuilt.aside.as_deref();
    if rebuilt.rotten {
        telemetry::ingest::store_rotten(&rebuilt.why, aside);
    }
    telemetry::ingest::store_rebuilt(&rebuilt.why, rebuilt.checkpoint, aside);
}
