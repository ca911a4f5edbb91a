//! Finding events: by address or message through the index, all else through the journal.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};

use super::codec::EventRef;
use super::keys::{self, Hash};
use super::record::LastRecords;
use super::{Reader, StoreError};
use crate::journal::{Damage, Entry, Tail};
use crate::model::{
    Address, Class, Event, EventId, EventKind, Origin, Payload, Position, QuarantineId, SourceName,
    Time, trust,
};
use crate::telemetry;

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// To this address.
    pub address: Option<Address>,
    /// Of this message.
    pub message_id: Option<String>,
    /// Of this kind.
    pub kind: Option<EventKind>,
    /// Of this class.
    pub class: Option<Class>,
    /// Of this source.
    pub source: Option<SourceName>,
    /// At or after this time.
    pub since: Option<Time>,
    /// What was told since then counts as well, whatever its own time is.
    pub or_told: bool,
    /// Before this time.
    pub until: Option<Time>,
    /// Only what the rules judge: failures, and what lists tell.
    pub judged: bool,
}

/// An event, and how we were told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its identity.
    pub id: EventId,
    /// The event, as it was told first.
    pub event: Event,
    /// Every way in which it was told.
    pub origins: Vec<Origin>,
    /// Where it was told first.
    pub place: EventPlace,
}

/// A place in the journal: a record, and the number of an element in it.
pub type EventPlace = (Position, u32);

/// What one step of a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An event that matches.
    Told(Box<Told>),
    /// Nothing that matches in so many elements.
    Passed(usize),
    /// Nothing: all that there is now was read.
    End,
}

/// Goes through the events that match, oldest first.
pub struct EventScan {
    reader: Reader,
    filter: EventFilter,
    /// Events that the index named.
    indexed: VecDeque<Indexed>,
    /// The record that one of them is in.
    last: LastRecords,
    /// Events of the record that was read last.
    ready: VecDeque<Told>,
    /// That record, if it has more of them, and its next element.
    rest: Option<EventPlace>,
    tail: Tail,
}

/// Most events that a scan keeps ready, and after how many bytes of elements it has enough: whoever
/// is told of them may take long, and a record may have very many. What is left is read again.
const READY_MAX: usize = 512;
const READY_BYTES: usize = 128 << 10;

/// An event as the index names it: where it is, to whom, and its id as it was applied.
type Indexed = (EventRef, Hash, EventId);

impl EventFilter {
    fn admits(&self, event: &Event) -> bool {
        let told = event.received_at.nanos();
        let is_since = |since: Time| {
            event.at.nanos() >= since.nanos() || self.or_told && told >= since.nanos()
        };
        self.address.as_ref().is_none_or(|address| *address == event.address)
            && self.message_id.as_deref().is_none_or(|id| event.message_id.as_deref() == Some(id))
            && self.kind.is_none_or(|kind| kind == event.kind)
            && self.class.is_none_or(|class| event.class() == Some(class))
            && self.source.as_ref().is_none_or(|source| *source == event.source)
            && self.since.is_none_or(is_since)
            && self.until.is_none_or(|until| event.at.nanos() < until.nanos())
            && (!self.judged || event.failure.is_some())
    }
}

impl Reader {
    /// The events that match. The scan can be asked again when more has been applied.
    ///
    /// # Errors
    /// When the store or the journal cannot answer.
    pub fn events(&self, filter: EventFilter) -> Result<EventScan, StoreError> {
        self.events_from(filter, EventPlace::default())
    }

    /// Those of them that were first told at a place or behind it.
    ///
    /// # Errors
    /// When the store or the journal cannot answer.
    pub fn events_from(
        &self,
        filter: EventFilter,
        from: EventPlace,
    ) -> Result<EventScan, StoreError> {
        let addresses = match (&filter.address, &filter.message_id) {
            (Some(address), _) => vec![keys::hash(address.key())],
            (None, Some(message)) => {
                self.view()?.index.addresses_of(keys::hash(message))?.into_iter().collect()
            }
            (None, None) => Vec::new(),
        };
        // Read first: what is applied meanwhile comes through the journal, once and not twice. So
        // does a record that is applied in part.
        let applied = self.applied()?;
        let mut indexed = BTreeMap::new();
        for address in &addresses {
            for (id, entry) in self.view()?.index.events_of(*address)? {
                if entry.record < applied && (entry.record, entry.element) >= from {
                    indexed.insert((entry.record, entry.element, id), (entry, *address, id));
                }
            }
        }
        let indexed: VecDeque<Indexed> = indexed.into_values().collect();
        // An opening or a click alone leaves no index of its message: then the journal is read.
        let whole = addresses.is_empty();
        let start = if whole { self.journal.start()? } else { applied };
        let rest = (from.0 >= start && from.1 > 0).then_some(from);
        let mut tail = self.journal.tail(start.max(from.0));
        if rest.is_some() {
            tail.pass_over(self.applied()?)?;
        }
        Ok(EventScan {
            reader: self.clone(),
            filter,
            indexed,
            last: LastRecords::default(),
            ready: VecDeque::new(),
            rest,
            tail,
        })
    }

    /// The events of an address, oldest first. What was read for it is kept in `last`, for the
    /// addresses that are asked about next.
    ///
    /// # Errors
    /// When the store or the journal cannot answer.
    pub fn events_of(
        &self,
        address: &Address,
        last: &mut LastRecords,
    ) -> Result<Vec<Told>, StoreError> {
        let filter = EventFilter { address: Some(address.clone()), ..EventFilter::default() };
        let mut scan = EventScan { last: std::mem::take(last), ..self.events(filter)? };
        let mut events = Vec::new();
        while let Some(indexed) = scan.indexed.pop_front() {
            events.extend(scan.tell(indexed)?.filter(|told| scan.filter.admits(&told.event)));
        }
        *last = std::mem::take(&mut scan.last);
        // What has been applied meanwhile.
        while let Some(told) = scan.advance()? {
            events.push(told);
        }
        Ok(events)
    }

    /// The entry of an event, under its id or under the one that it had when it was applied.
    fn entry(
        &self,
        event: &Event,
        place: (Position, u32),
    ) -> Result<Option<(EventId, EventRef)>, StoreError> {
        let index = &self.view()?.index;
        let (address, id) = (keys::hash(event.address.key()), event.id());
        if let Some(entry) = index.told(address, id, QuarantineId::LAST)? {
            return Ok(Some((id, entry)));
        }
        let is_there = |(_, entry): &(_, EventRef)| (entry.record, entry.element) == place;
        Ok(index.events_of(address)?.find(is_there))
    }

    fn applied(&self) -> Result<Position, StoreError> {
        self.totals().map(|totals| totals.applied)
    }
}

/// An event as it is shown: what another host was told has come to us from there.
fn as_told(event: Event, is_copy: bool) -> Event {
    let origin = if is_copy { Origin::Fleet } else { event.origin };
    Event { origin, ..event }
}

impl EventScan {
    /// The next event that matches. `None`: there is none yet.
    ///
    /// # Errors
    /// When the store or the journal cannot answer.
    pub fn advance(&mut self) -> Result<Option<Told>, StoreError> {
        loop {
            match self.step()? {
                Step::Told(told) => return Ok(Some(*told)),
                Step::Passed(_) => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// Passes over all but the last of those that the index names; says how many that were.
    pub fn keep_last(&mut self, number: usize) -> usize {
        let passed = self.indexed.len().saturating_sub(number);
        self.indexed.drain(..passed).count()
    }

    /// Reads on by one record at most.
    ///
    /// # Errors
    /// When the store or the journal cannot answer.
    pub fn step(&mut self) -> Result<Step, StoreError> {
        if let Some(indexed) = self.indexed.pop_front() {
            let told = self.tell(indexed)?.filter(|told| self.filter.admits(&told.event));
            return Ok(told.map_or(Step::Passed(1), |told| Step::Told(Box::new(told))));
        }
        self.last = LastRecords::default();
        if let Some(told) = self.ready.pop_front() {
            return Ok(Step::Told(Box::new(told)));
        }
        // However many follow, one of them at a time has a whole record in memory.
        let turn = Arc::clone(&self.reader.turn);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = if let Some((position, from)) = self.rest.take() {
            match self.reader.journal.read(position)? {
                Some(payload) => self.take(position, from, payload)?,
                None => 0,
            }
        } else {
            match self.tail.next(self.reader.applied()?)? {
                Some(Entry::Record { position, payload }) => self.take(position, 0, payload)?,
                Some(Entry::Damage(Damage { from, bytes, aside, .. })) => {
                    telemetry::ingest::journal_damaged(from, bytes, aside.as_deref());
                    0
                }
                // Nothing behind it is applied.
                Some(Entry::Newer { .. }) | None => return Ok(Step::End),
            }
        };
        let told = self.ready.pop_front();
        Ok(told.map_or(Step::Passed(passed), |told| Step::Told(Box::new(told))))
    }

    /// Where a later scan goes on.
    pub fn place(&self) -> EventPlace {
        let indexed = self.indexed.front().map(|(entry, ..)| (entry.record, entry.element));
        let ready = || self.ready.front().map(|told| told.place);
        indexed.or_else(ready).or(self.rest).unwrap_or((self.tail.position(), 0))
    }

    /// What the index names. An adapter, or a configuration, that reads the element otherwise than
    /// when it was applied may give it another id: then it is the event of the address.
    fn tell(&mut self, (entry, address, id): Indexed) -> Result<Option<Told>, StoreError> {
        let payload = self.last.at(&self.reader.journal, entry.record)?;
        let element = payload.and_then(|p| Some((p.element(entry.element)?, &*p)));
        let read = |(element, payload): (_, &Payload)| {
            let events = self.reader.read(payload.head(), &element).ok()?;
            Some((events, payload.peer().is_some()))
        };
        let (mut events, is_copy) = element.and_then(read).unwrap_or_default();
        let same = events.iter().position(|event| event.id() == id);
        let of_address = |event: &Event| keys::hash(event.address.key()) == address;
        let index = same.or_else(|| events.iter().position(of_address));
        let told = |index| Told {
            id,
            event: as_told(events.swap_remove(index), is_copy),
            origins: entry.origins(),
            place: (entry.record, entry.element),
        };
        Ok(index.map(told))
    }

    /// Readies the events of a record, from an element on, that were told first there and match. A
    /// payload that cannot be read has none. Says how many elements were looked at.
    fn take(
        &mut self,
        position: Position,
        from: u32,
        payload: Vec<u8>,
    ) -> Result<usize, StoreError> {
        let Ok(mut payload) = Payload::open(payload) else { return Ok(1) };
        let received = payload.head().received_at;
        if self.filter.since.is_some_and(|since| trust::is_ahead(since, received)) {
            // Nothing in it is believed to have happened so late.
            return Ok(1);
        }
        payload.go_to(from);
        let (mut looked, mut bytes) = (1, 0);
        while let Some((number, element)) = payload.advance() {
            if self.ready.len() >= READY_MAX || bytes >= READY_BYTES {
                self.rest = Some((position, number));
                return Ok(looked);
            }
            looked += 1;
            bytes += element.body.len();
            let place = (position, number);
            for event in self.reader.read(payload.head(), &element).unwrap_or_default() {
                if !self.filter.admits(&event) {
                    continue;
                }
                let Some((id, entry)) = self.reader.entry(&event, place)? else { continue };
                if (entry.record, entry.element) == place {
                    let origins = entry.origins();
                    let event = as_told(event, payload.peer().is_some());
                    self.ready.push_back(Told { id, event, origins, place });
                }
            }
        }
        Ok(looked)
    }
}
