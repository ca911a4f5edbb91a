//! Noting events: each is known by where it was told, in the index.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::codec::EventRef;
use super::index::{self, Index, Row};
use super::keys::{self, Hash};
use super::{Batch, StoreError, Writer};
use crate::model::{Event, EventId, EventKind, Origin, Position, QuarantineId, Time};

/// By how many seconds the times of one event may differ between a webhook and the API.
const TOLERANCE: u64 = 2;

/// Whether an event was known, and by whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Whether it was known.
    pub seen: Seen,
    /// It was told first with a time that was not believed: then it keeps ours for good, even
    /// should the provider's be believed by now.
    pub dated_by_us: bool,
}

/// Whether an event was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is new.
    First,
    /// It was known, but not in this way.
    NewOrigin,
    /// It was known in this way.
    Again,
}

/// The time itself, and those within [`TOLERANCE`] of it, the nearest first.
fn nearby(at: Time) -> impl Iterator<Item = Time> {
    let around = (1..=TOLERANCE).map(Duration::from_secs);
    std::iter::once(at).chain(around.flat_map(move |span| [at.minus(span), at.plus(span)]))
}

impl Writer {
    /// Notes an event that the element at `place` tells.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn note_event(
        &self,
        batch: &mut Batch,
        event: &Event,
        id: EventId,
        place: QuarantineId,
    ) -> Result<Noted, StoreError> {
        self.note_told(batch, event, id, place, false)
    }

    /// The same, of an event that another host was told in the way that it says.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn note_told(
        &self,
        batch: &mut Batch,
        event: &Event,
        id: EventId,
        place: QuarantineId,
        by_peer: bool,
    ) -> Result<Noted, StoreError> {
        let address = keys::hash(event.address.key());
        let disbelieved = event.told_at.is_some_and(|told| told != Time::END);
        let by_us = if disbelieved { EventRef::DATED_BY_US } else { 0 };
        let bit = EventRef::bit(event.origin);
        let by_peer = if by_peer { EventRef::bit(Origin::Fleet) } else { 0 };
        let (seen, origins) = match self.known(batch, address, id, place)? {
            Some(known) if known.origins & bit != 0 => (Seen::Again, known.origins),
            Some(known) => (Seen::NewOrigin, known.origins | bit),
            None => (Seen::First, bit | by_us),
        };
        if seen != Seen::Again {
            let news = if seen == Seen::First { bit | by_us } else { bit } | by_peer;
            *batch.told.entry(index::row(address, id, place)).or_default() |= news;
            batch.bytes += size_of::<Row>();
        }
        let looked_up = !matches!(event.kind, EventKind::Opened | EventKind::Clicked);
        if let Some(message) = event.message_id.as_deref().filter(|_| looked_up) {
            batch.names.insert(index::name(keys::hash(message), address));
        }
        if !self.is_applied(place.record, place.element) {
            self.count(batch, event, seen)?;
        }
        Ok(Noted { seen, dated_by_us: (origins | by_us) & EventRef::DATED_BY_US != 0 })
    }

    /// What was known of an event before an element told it, in this batch or before.
    pub(super) fn known(
        &self,
        batch: &Batch,
        address: Hash,
        id: EventId,
        place: QuarantineId,
    ) -> Result<Option<EventRef>, StoreError> {
        let mut known = self.index.told(address, id, place)?;
        index::join_all(&mut known, &batch.told, address, id);
        Ok(known)
    }

    /// The time under which an event is known that the provider's other way has told with a time
    /// that differs a little. `None`: it has no such twin, or is known by its own time.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn twin(
        &self,
        batch: &Batch,
        event: &Event,
        place: QuarantineId,
    ) -> Result<Option<Time>, StoreError> {
        if !event.loose || !matches!(event.origin, Origin::Webhook | Origin::Poll) {
            return Ok(None);
        }
        let address = keys::hash(event.address.key());
        let own = EventRef::bit(event.origin);
        let mut told_by_both = None;
        for at in nearby(event.at) {
            let id = event.id_at(at);
            let Some(known) = self.known(batch, address, id, place)? else { continue };
            if at == event.at {
                return Ok(None);
            }
            if known.origins & own == 0 {
                return Ok(Some(at));
            }
            // One that only this way has told is another event.
            if !known.is_only_by(event.origin) {
                told_by_both = told_by_both.or(Some(at));
            }
        }
        Ok(told_by_both)
    }

    fn count(&self, batch: &mut Batch, event: &Event, seen: Seen) -> Result<(), StoreError> {
        let counts = self.counts_mut(batch, &event.source)?;
        match (seen, event.origin) {
            (Seen::First, Origin::Poll) if event.kind == EventKind::Listed => counts.listed += 1,
            (Seen::First, Origin::Webhook) => counts.webhook_only += 1,
            (Seen::First, Origin::Poll) => counts.poll_only += 1,
            (Seen::NewOrigin, Origin::Webhook) => {
                counts.poll_only = counts.poll_only.saturating_sub(1);
                counts.both += 1;
            }
            (Seen::NewOrigin, Origin::Poll) => {
                counts.webhook_only = counts.webhook_only.saturating_sub(1);
                counts.both += 1;
            }
            (Seen::Again, _) => counts.repeated += 1,
            (Seen::First | Seen::NewOrigin, Origin::Operator | Origin::Import | Origin::Fleet) => {}
        }
        if seen == Seen::First && event.kind == EventKind::Blocked {
            counts.blocked += 1;
        }
        Ok(())
    }

    /// Where to go through the journal again for what the index lacks of what is applied: a record,
    /// and an element of it.
    pub fn gap(&mut self, start: Position) -> Option<(Position, u32)> {
        let from = self.index.kept().max((start, 0));
        // Of a record that is applied in part, it may lack that part.
        let lacks = from < self.at();
        if lacks {
            self.reached = from;
        }
        lacks.then_some(from)
    }

    /// Whether the index has all that is applied.
    pub fn is_level(&self) -> bool {
        self.reached >= self.at()
    }

    /// Makes a run of what the index has in memory, where a record has just ended; says whether it
    /// is one.
    ///
    /// # Errors
    /// When the disk fails: then it stays in memory.
    pub fn flush_index(&self) -> io::Result<bool> {
        let (to, part) = self.reached;
        if part == 0 {
            self.index.flush(to)?;
        }
        Ok(part == 0)
    }

    /// Keeps what the index has in memory of a record that is applied in part, where the death of
    /// this process does not reach it.
    ///
    /// # Errors
    /// When the disk fails: then the next life goes through more of the record again.
    pub fn keep_index(&self) -> io::Result<()> {
        let (record, part) = self.reached;
        if part > 0 { self.index.keep(record) } else { Ok(()) }
    }

    /// Whether the index has so much in memory that nothing more can be applied: a record of any
    /// size has room.
    ///
    /// # Errors
    /// When it has.
    pub fn check_index(&self) -> Result<(), StoreError> {
        self.index.check()?;
        if self.reached.1 == 0 && self.index.is_overfull() {
            return Err(StoreError::Full("no run of its index can be written".to_owned()));
        }
        Ok(())
    }

    /// Where events were told.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }
}
