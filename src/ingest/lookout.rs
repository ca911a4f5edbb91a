//! Looks out for hands that take the files of an open store, or of the journal, away.
//!
//! While the journal is not in its place, what was told is perhaps nowhere but in what was made of
//! it: so the store stays open, and is kept as it is, synced and in a checkpoint. A store whose own
//! files are gone is opened again, once the rest has all that is in it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::applier::{Applier, Session};
use super::chores::Chores;
use crate::model::Position;
use crate::store::{StoreError, Writer, newest_checkpoint};

/// How often it looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The wait before a checkpoint is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What was seen, and done for it.
pub(super) struct Lookout {
    looked: Instant,
    /// Until where all is synced since something was away, and a checkpoint was wanted last.
    kept: Option<(Position, Instant)>,
}

impl Lookout {
    pub(super) fn new() -> Lookout {
        Lookout { looked: Instant::now(), kept: None }
    }
}

impl Applier {
    /// Whether the journal is not where the next start looks for it.
    pub(super) fn is_moved(&self) -> bool {
        self.shared.moved.load(Ordering::Acquire)
    }

    /// Looks whether all is in its place, when that is due, and keeps what the rest does not have.
    ///
    /// # Errors
    /// When the store is to be opened again.
    pub(super) fn look_out(
        &self,
        session: &mut Session,
        chores: &mut Chores,
    ) -> Result<(), StoreError> {
        if session.lookout.looked.elapsed() < LOOK_EVERY || chores.are_files_left() {
            return Ok(());
        }
        session.lookout.looked = Instant::now();
        // With a journal that has all that no checkpoint has, nothing is lost by opening it again.
        let is_moved = self.is_moved() || !self.journal.is_in_place();
        if is_moved || self.lacks_start(self.journal.start()?)? {
            return self.keep(session, chores);
        }
        // What it has no more is in a checkpoint then. Whoever reads it next tells why it fails.
        if self.journal.look_at_some().unwrap_or(true) {
            return self.keep(session, chores);
        }
        session.lookout.kept = None;
        session.writer.look()
    }

    /// Leaves everything so that the next start finds what is applied.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn end(&self, mut session: Session, mut chores: Chores) -> Result<(), StoreError> {
        if self.is_moved() {
            self.keep(&mut session, &mut chores)?;
            chores.work(&self.settings, None, &mut session.writer, false)?;
        }
        chores.finish(&self.settings, &session.writer, true)
    }

    /// Syncs what was applied, and has it in a checkpoint.
    fn keep(&self, session: &mut Session, chores: &mut Chores) -> Result<(), StoreError> {
        let Session { writer, lookout, .. } = session;
        let applied = writer.applied();
        let is_kept = |(to, at): (Position, Instant)| to == applied && at.elapsed() < AGAIN;
        if lookout.kept.is_some_and(is_kept) {
            return Ok(());
        }
        lookout.kept = Some((applied, Instant::now()));
        // Where sled's own files are gone, the checkpoint has it.
        let _ = writer.sync();
        if self.is_in_no_checkpoint(writer)? {
            chores.want_checkpoint(&self.settings);
        }
        Ok(())
    }

    /// Whether no checkpoint has what is applied. Where the whole state directory is elsewhere,
    /// none is made in another.
    fn is_in_no_checkpoint(&self, writer: &Writer) -> Result<bool, StoreError> {
        let newest = newest_checkpoint(&self.settings.store().checkpoint)?;
        Ok(writer.is_home() && newest.is_none_or(|newest| newest < writer.applied()))
    }
}
