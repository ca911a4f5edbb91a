//! How far the applier has come in the journal: to a record, an element of it, an event of that.
//!
//! Only one record is in memory, as its bytes, and one element of it. What one step cannot do is
//! set aside by whoever asked for it; here it is only stepped over.

use super::apply::{Events, Merge};
use crate::journal::{self, Entry, Tail};
use crate::model::{Payload, PayloadError, Position, QuarantineId};
use crate::store::{Place, StoreError, Writer};

/// Why something was set aside.
pub(super) const DEFECT: &str =
    "a defect of suppressd: it panicked, or died again and again, as it applied this";
pub(super) const STRANGE: &str = "it is whole, but in no form that any version has written";

/// Reads on in the journal, step by step.
pub(super) struct Progress {
    tail: Tail,
    open: Option<Open>,
    /// Elements of the record that comes next that are applied already, and where it is.
    applied: (Position, u32),
    /// Bytes of payloads that were taken.
    taken: u64,
    /// Nothing further can be read by this version.
    halted: bool,
}

/// A record that is being applied.
struct Open {
    position: Position,
    payload: Payload,
    /// The element that was read last, and its events that are still to be merged.
    element: u32,
    events: Events,
    /// Something of it was set aside.
    is_whole: bool,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It was done.
    Done,
    /// There is a record in the form of this number, which only a newer version reads.
    Newer(u8),
    /// There is a record in no form that any version has written: it has to be set aside.
    Strange,
}

impl Progress {
    /// Goes on from `start`, within a record of which that many elements are applied.
    pub(super) fn new(journal: &journal::Reader, start: Position, applied: u32) -> Progress {
        // Only what is applied is trimmed.
        let (tail, applied) = (journal.tail(start).whole(), (start, applied));
        Progress { tail, open: None, applied, taken: 0, halted: false }
    }

    /// Goes back to where the last batch ended.
    pub(super) fn rewind(&mut self, journal: &journal::Reader, record: Position, applied: u32) {
        match &mut self.open {
            // Before its first element it is begun again: that it came is noted then.
            Some(open) if open.position == record && applied > 0 => {
                open.payload.go_to(applied);
                open.events = Events::default();
            }
            _ => *self = Progress { taken: self.taken, ..Progress::new(journal, record, applied) },
        }
    }

    /// What is done next.
    pub(super) fn place(&self) -> Place {
        match &self.open {
            None => Place { record: self.tail.position(), step: 0 },
            Some(open) => Place { record: open.position, step: open.applied() + 1 },
        }
    }

    /// All before this record is applied, and so many of its elements.
    pub(super) fn reached(&self) -> (Position, u32) {
        match &self.open {
            None => (self.tail.position(), 0),
            Some(open) => (open.position, open.applied()),
        }
    }

    /// Whether there is more before `end` that this version can read.
    pub(super) fn has_more(&self, end: Position) -> bool {
        !self.halted && (self.open.is_some() || self.tail.position() < end)
    }

    /// Bytes of payloads that were taken since the start.
    pub(super) fn taken(&self) -> u64 {
        self.taken + self.open.as_ref().map_or(0, |open| open.payload.passed() as u64)
    }

    /// Takes one step: begins a record, merges an element of it, or ends it.
    ///
    /// # Errors
    /// When the store or the disk fails.
    pub(super) fn step(
        &mut self,
        merge: &mut Merge<'_>,
        end: Position,
    ) -> Result<Step, StoreError> {
        let Some(open) = &mut self.open else { return self.next_record(merge, end) };
        merge.is_copy = open.payload.peer().is_some();
        if open.events.len() == 0 {
            let Some((number, element)) = open.payload.advance() else {
                let is_whole = open.is_whole(merge.writer)?;
                merge.end(open.payload.head(), open.position, is_whole)?;
                if let Some(peer) = open.payload.peer() {
                    merge.end_copy(peer, open.position)?;
                }
                self.close();
                return Ok(Step::Done);
            };
            open.element = number;
            open.events = merge.element(open.payload.head(), open.id(), &element)?;
        }
        let id = open.id();
        merge.events(&open.payload.head().feed, id, &mut open.events)?;
        Ok(Step::Done)
    }

    fn next_record(&mut self, merge: &mut Merge<'_>, end: Position) -> Result<Step, StoreError> {
        let before = self.tail.position();
        let (position, bytes) = match self.tail.next(end)? {
            Some(Entry::Record { position, payload }) => (position, payload),
            Some(Entry::Damage(damage)) => {
                damage.tell();
                return Ok(Step::Done);
            }
            Some(Entry::Newer { form, .. }) => {
                self.halted = true;
                return Ok(Step::Newer(form));
            }
            None => return Ok(Step::Done),
        };
        let mut payload = match Payload::open(bytes) {
            Ok(payload) => payload,
            Err(error) => {
                self.tail = self.tail.at(position);
                return Ok(match error {
                    PayloadError::Newer(form) => {
                        self.halted = true;
                        Step::Newer(form)
                    }
                    PayloadError::Strange => Step::Strange,
                });
            }
        };
        merge.begin(payload.head(), position)?;
        if self.applied.0 == before {
            payload.go_to(self.applied.1);
        }
        let events = Events::default();
        self.open = Some(Open { position, payload, element: 0, events, is_whole: true });
        Ok(Step::Done)
    }

    /// Steps over what cannot be done, and notes that it is set aside.
    ///
    /// # Errors
    /// When the store or the disk fails.
    pub(super) fn set_aside(
        &mut self,
        merge: &mut Merge<'_>,
        end: Position,
        reason: &str,
    ) -> Result<QuarantineId, StoreError> {
        let (writer, batch) = (merge.writer, &mut merge.batch);
        let Some(open) = &mut self.open else {
            let id = self.place().id(0);
            writer.set_aside(batch, id.record, reason)?;
            self.tail.pass_over(end)?;
            return Ok(id);
        };
        open.events = Events::default();
        open.is_whole = false;
        let Some((number, element)) = open.payload.advance() else {
            let id = QuarantineId { record: open.position, element: QuarantineId::WHOLE };
            writer.set_aside(batch, id.record, reason)?;
            self.close();
            return Ok(id);
        };
        open.element = number;
        let (id, head) = (open.id(), open.payload.head());
        let asked = !head.released.is_empty();
        writer.set_element_aside(batch, id, &head.source, &element, asked, reason)?;
        Ok(id)
    }

    fn close(&mut self) {
        self.taken += self.open.take().map_or(0, |open| open.payload.size() as u64);
    }
}

impl Open {
    /// Its elements that are applied. One of which events are still to be merged is not.
    fn applied(&self) -> u32 {
        let next = self.payload.next_number();
        if self.events.len() == 0 { next } else { self.element }
    }

    /// Whether all of it is applied, in this life or an earlier one.
    fn is_whole(&self, writer: &Writer) -> Result<bool, StoreError> {
        let is_asked = !self.payload.head().released.is_empty();
        Ok(self.is_whole && !(is_asked && writer.has_set_aside(self.position)?))
    }

    fn id(&self) -> QuarantineId {
        QuarantineId { record: self.position, element: self.element }
    }
}
