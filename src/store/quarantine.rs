//! What could not be read, and what could not be applied: where it is, and why.
//!
//! An element that its adapter does not understand is in quarantine. What is understood and still
//! cannot be applied, for a defect or for the form of its record, is set aside. Of both the payload
//! stays in the journal alone.

use super::index::{self, Row};
use super::keys::{self, QUARANTINE, SET_ASIDE};
use super::reader::strange_key;
use super::record::LastRecords;
use super::writer::guarded;
use super::{Batch, Reader, StoreError, Writer};
use crate::model::bounds::reason;
use crate::model::{
    Element, Payload, PayloadError, Position, QuarantineId, SourceName, Submission,
};

/// What is in quarantine or was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it is.
    pub id: QuarantineId,
    /// Why.
    pub reason: String,
    /// It was set aside.
    pub set_aside: bool,
    /// What it came with, and the element itself. `None` for a record as a whole, and if the
    /// journal no longer has it.
    pub told: Option<(Submission, Element)>,
}

/// What is done with each of them.
type EachQuarantined<'a> = &'a mut dyn FnMut(Quarantined) -> Result<(), StoreError>;

impl Writer {
    /// Puts an element into quarantine, with the reason in a line; says whether it is new there. A
    /// poll reads its overlap again each time, so the same bytes of a source are held once; and
    /// what an operator has dropped or replayed stays away.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn quarantine(
        &self,
        batch: &mut Batch,
        id: QuarantineId,
        source: &SourceName,
        element: &Element,
        why: &str,
    ) -> Result<bool, StoreError> {
        if self.note_unreadable(batch, id, source, element)? {
            self.counts_mut(batch, source)?.repeated += 1;
            return Ok(false);
        }
        self.counts_mut(batch, source)?.unreadable += 1;
        self.put(batch, keys::quarantine(id), Some(reason(why).into_bytes()))?;
        Ok(true)
    }

    /// Notes in the index what an element is that is not understood; says whether that was known
    /// before. In sled it would cost more than an event does, and hold others up for as long.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn note_unreadable(
        &self,
        batch: &mut Batch,
        id: QuarantineId,
        source: &SourceName,
        element: &Element,
    ) -> Result<bool, StoreError> {
        let (of, telling) = keys::held(source, &element.context, &element.body);
        let is_known = self.known(batch, of, telling, id)?.is_some()
            || guarded(|| self.tree.get(keys::held_earlier(telling)))?.is_some();
        if !is_known {
            batch.told.entry(index::row(of, telling, id)).or_default();
            batch.bytes += size_of::<Row>();
        }
        Ok(is_known)
    }

    /// Takes an element out of quarantine, or what was set aside.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn release(&self, batch: &mut Batch, id: QuarantineId) -> Result<(), StoreError> {
        self.put(batch, keys::set_aside(id), None)?;
        self.put(batch, keys::quarantine(id), None)
    }

    /// Notes that a record as a whole could not be applied.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn set_aside(
        &self,
        batch: &mut Batch,
        record: Position,
        reason: &str,
    ) -> Result<(), StoreError> {
        let id = QuarantineId { record, element: QuarantineId::WHOLE };
        if self.is_applied(record, id.element) {
            return Ok(());
        }
        self.put(batch, keys::set_aside(id), Some(reason.as_bytes().to_vec()))
    }

    /// Whether an element was not applied when its turn came, and nobody has taken it out since.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn is_kept(&self, batch: &mut Batch, id: QuarantineId) -> Result<bool, StoreError> {
        Ok(self.get(batch, keys::set_aside(id))?.is_some()
            || self.get(batch, keys::quarantine(id))?.is_some())
    }

    /// Notes that an element could not be applied. As in quarantine the same bytes of a source are
    /// held once, but for those that were `asked` for again.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn set_element_aside(
        &self,
        batch: &mut Batch,
        id: QuarantineId,
        source: &SourceName,
        element: &Element,
        asked: bool,
        reason: &str,
    ) -> Result<(), StoreError> {
        if self.is_applied(id.record, id.element) {
            return Ok(());
        }
        if self.note_unreadable(batch, id, source, element)? && !asked {
            self.counts_mut(batch, source)?.repeated += 1;
            return Ok(());
        }
        self.put(batch, keys::set_aside(id), Some(reason.as_bytes().to_vec()))
    }

    /// Whether anything of a record was set aside, and that is committed.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn has_set_aside(&self, record: Position) -> Result<bool, StoreError> {
        let mut prefix = keys::set_aside(QuarantineId { record, element: 0 });
        prefix.truncate(prefix.len() - size_of::<u32>());
        guarded(|| self.tree.scan_prefix(prefix).next().transpose()).map(|found| found.is_some())
    }

    /// Forgets what is in quarantine or was set aside and the journal no longer has. It is little.
    pub(super) fn forget_quarantine(
        &self,
        batch: &mut Batch,
        start: Position,
    ) -> Result<(), StoreError> {
        for prefix in [SET_ASIDE, QUARANTINE] {
            for key in self.tree.scan_prefix([prefix]).keys() {
                let key = key?;
                if keys::quarantine_id(&key).is_some_and(|id| id.record < start) {
                    self.put(batch, key.to_vec(), None)?;
                }
            }
        }
        Ok(())
    }
}

impl Reader {
    /// What is in quarantine or was set aside, oldest first.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn quarantined(&self) -> Result<Vec<QuarantineId>, StoreError> {
        let tree = self.tree()?;
        let mut ids = Vec::new();
        for prefix in [SET_ASIDE, QUARANTINE] {
            for key in tree.scan_prefix([prefix]).keys() {
                ids.push(keys::quarantine_id(&key?).ok_or_else(strange_key)?);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Goes through them. One that the journal no longer has is among them.
    ///
    /// # Errors
    /// When the store or the disk cannot answer, or `each` says so.
    pub fn visit_quarantined(&self, each: EachQuarantined<'_>) -> Result<(), StoreError> {
        let mut last = LastRecords::default();
        for id in self.quarantined()? {
            if let Some(held) = self.quarantined_in(id, &mut last)? {
                each(held)?;
            }
        }
        Ok(())
    }

    /// One of them. `None`: it is not there.
    ///
    /// # Errors
    /// When the store or the disk cannot answer.
    pub fn quarantined_element(&self, id: QuarantineId) -> Result<Option<Quarantined>, StoreError> {
        self.quarantined_in(id, &mut LastRecords::default())
    }

    /// The same, for whoever looks at one after the other.
    ///
    /// # Errors
    /// When the store or the disk cannot answer.
    pub fn quarantined_in(
        &self,
        id: QuarantineId,
        last: &mut LastRecords,
    ) -> Result<Option<Quarantined>, StoreError> {
        let tree = self.tree()?;
        let aside = tree.get(keys::set_aside(id))?;
        let set_aside = aside.is_some();
        let Some(reason) = aside.map_or_else(|| tree.get(keys::quarantine(id)), |r| Ok(Some(r)))?
        else {
            return Ok(None);
        };
        let reason = String::from_utf8_lossy(&reason).into_owned();
        let mut told = None;
        // A record as a whole may be one that cannot be read at all.
        if id.element != QuarantineId::WHOLE
            && let Some(payload) = last.at(&self.journal, id.record)?
        {
            told = payload.element(id.element).map(|element| (payload.head().clone(), element));
        }
        Ok(Some(Quarantined { id, reason, set_aside, told }))
    }

    /// A record that was set aside as a whole, to be told again. `None`: it is no more.
    ///
    /// # Errors
    /// When the disk fails; the other, when it is in no form that this version reads.
    pub fn record(
        &self,
        record: Position,
    ) -> Result<Option<Result<Payload, PayloadError>>, StoreError> {
        Ok(self.journal.read(record)?.map(Payload::open))
    }
}
