//! The records of the journal that were read last, for whoever goes through elements in order.

use std::collections::VecDeque;

use super::StoreError;
use crate::journal;
use crate::model::{Payload, Position};

/// Most records that are kept, and most bytes of them all, unless one alone has more: the events of
/// an address are in few, and those of the addresses beside it in the same.
const RECORDS_MAX: usize = 8;
const BYTES_MAX: usize = 4 << 20;

/// Keeps the last records.
#[derive(Default)]
pub struct LastRecords {
    /// The latest in front.
    records: VecDeque<(Position, Payload)>,
}

impl LastRecords {
    /// The record at a position. `None`: it is no more, or cannot be read.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn at(
        &mut self,
        journal: &journal::Reader,
        record: Position,
    ) -> Result<Option<&mut Payload>, StoreError> {
        match self.records.iter().position(|(known, _)| *known == record) {
            Some(0) => {}
            Some(place) => {
                let known = self.records.remove(place);
                known.into_iter().for_each(|known| self.records.push_front(known));
            }
            None => {
                // First, so that there are never two large ones.
                self.keep(RECORDS_MAX - 1);
                let payload = journal.read(record)?.and_then(|bytes| Payload::open(bytes).ok());
                let Some(payload) = payload else { return Ok(None) };
                self.records.push_front((record, payload));
            }
        }
        Ok(self.records.front_mut().map(|(_, payload)| payload))
    }

    /// Drops the oldest, as long as there are too many, or too many bytes.
    fn keep(&mut self, most: usize) {
        let bytes = |records: &VecDeque<(Position, Payload)>| {
            records.iter().map(|(_, payload)| payload.bytes()).sum::<usize>()
        };
        while self.records.len() > most || bytes(&self.records) > BYTES_MAX {
            self.records.pop_back();
        }
    }
}
