//! The record of the journal that was read last, for whoever goes through elements in order.

use super::StoreError;
use crate::journal;
use crate::model::{Payload, Position};

/// Keeps one record.
#[derive(Default)]
pub(super) struct LastRecord(Option<(Position, Payload)>);

impl LastRecord {
    /// The record at a position. `None`: it is no more, or cannot be read.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn at(
        &mut self,
        journal: &journal::Reader,
        record: Position,
    ) -> Result<Option<&mut Payload>, StoreError> {
        if self.0.as_ref().is_none_or(|(known, _)| *known != record) {
            // First, so that there are never two of them.
            self.0 = None;
            let payload = journal.read(record)?;
            self.0 = payload.and_then(|bytes| Some((record, Payload::open(bytes).ok()?)));
        }
        Ok(self.0.as_mut().map(|(_, payload)| payload))
    }
}
