//! What the index says: of an event that an element told it, and of a message to whom it went.

use crate::model::{EventId, Position, QuarantineId};
use crate::store::filter::Hashes;
use crate::store::keys::Hash;

/// An event and a place that told it: the hash of its address, its id, the record and the element;
/// numbers are big-endian, so that the places of an event follow each other.
pub(in crate::store) type Row = [u8; ROW];
pub(super) const ROW: usize = EVENT + 12;
/// The part of a row that names the event.
pub(super) const EVENT: usize = 24;
/// A message and an address that it was sent to, by their hashes.
pub(in crate::store) type Name = [u8; NAME];
pub(super) const NAME: usize = 16;

/// What is the same in all rows of an event.
pub(super) type Event = [u8; EVENT];

pub(super) fn event(address: Hash, id: EventId) -> Event {
    let mut event = [0; EVENT];
    event[..8].copy_from_slice(&address);
    event[8..].copy_from_slice(id.bytes());
    event
}

/// What the filter of a run asks for: an event is hashes already.
pub(super) fn hashes(event: &Event) -> Hashes {
    let part = |at: usize| event[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
    (part(0) ^ part(8), part(16))
}

/// The id of an event.
pub(super) fn id(event: &Event) -> EventId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&event[8..]);
    EventId::from_bytes(bytes)
}

/// The row of an event that an element told.
pub(in crate::store) fn row(address: Hash, id: EventId, place: QuarantineId) -> Row {
    let mut row = [0; ROW];
    row[..EVENT].copy_from_slice(&event(address, id));
    row[EVENT..EVENT + 8].copy_from_slice(&place.record.as_u64().to_be_bytes());
    row[EVENT + 8..].copy_from_slice(&place.element.to_be_bytes());
    row
}

/// The event of a row.
pub(super) fn event_of(row: &Row) -> Event {
    let mut event = [0; EVENT];
    event.copy_from_slice(&row[..EVENT]);
    event
}

/// The place of a row.
pub(super) fn place(row: &Row) -> QuarantineId {
    let (mut record, mut element) = ([0; 8], [0; 4]);
    record.copy_from_slice(&row[EVENT..EVENT + 8]);
    element.copy_from_slice(&row[EVENT + 8..]);
    let record = Position::from_u64(u64::from_be_bytes(record));
    QuarantineId { record, element: u32::from_be_bytes(element) }
}

/// The first row that an event, or an address, can have, and the last.
pub(super) fn rows_of(event: &[u8]) -> (Row, Row) {
    let (mut first, mut last) = ([0; ROW], [u8::MAX; ROW]);
    first[..event.len()].copy_from_slice(event);
    last[..event.len()].copy_from_slice(event);
    (first, last)
}

/// A message to an address.
pub(in crate::store) fn name(message: Hash, address: Hash) -> Name {
    let mut name = [0; NAME];
    name[..8].copy_from_slice(&message);
    name[8..].copy_from_slice(&address);
    name
}

/// The address that a message was sent to.
pub(super) fn address_of(name: &Name) -> Hash {
    let mut address = Hash::default();
    address.copy_from_slice(&name[8..]);
    address
}
