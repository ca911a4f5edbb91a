//! Stretches of the journal that are to be merged again, since the clock was wrong meanwhile.

use super::codec::{decode, encode};
use super::reader::strange_key;
use super::writer::guarded;
use super::{Batch, StoreError, Writer, keys};
use crate::model::{Event, Position, QuarantineId, Stretch};

impl Writer {
    /// Notes that the record tells of a stretch before it that is to be merged again.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_stretch(
        &self,
        batch: &mut Batch,
        record: Position,
        stretch: &Stretch,
    ) -> Result<(), StoreError> {
        self.put(batch, keys::stretch(record), Some(encode(stretch)))
    }

    /// The first such stretch, and which record tells of it.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn stretch(&self) -> Result<Option<(Position, Stretch)>, StoreError> {
        let first = guarded(|| self.tree.scan_prefix([keys::STRETCH]).next().transpose())?;
        let Some((key, value)) = first else { return Ok(None) };
        let record = keys::stretch_record(&key).ok_or_else(strange_key)?;
        Ok(Some((record, decode(&value)?)))
    }

    /// Notes that it was merged again.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn end_stretch(&self, batch: &mut Batch, record: Position) -> Result<(), StoreError> {
        self.put(batch, keys::stretch(record), None)
    }

    /// Whether it was at `place` that an event was told first.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn is_told_first(&self, event: &Event, place: QuarantineId) -> Result<bool, StoreError> {
        let address = keys::hash(event.address.key());
        let known = self.index.told(address, event.id(), QuarantineId::LAST)?;
        Ok(known
            .is_some_and(|known| (known.record, known.element) == (place.record, place.element)))
    }
}
