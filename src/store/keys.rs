//! The keys of the store's one tree, by prefix.
//!
//! ```text
//! b record               a stretch of the journal that is still to be merged again
//! c source 0 feed        a feed's cursor
//! d number               what has changed of the base, in blocks
//! e address# event-id    where an event is in the journal: of earlier versions, now in the index
//! l source 0 feed 0 address 0 stream 0 reason    a row that a provider's list has told
//! f record element number    a verdict that has turned there
//! h payload##            where an unreadable element was first told: of earlier versions too
//! m message# address#    which addresses a message's events are about: of earlier versions too
//! n source               how a source's events reached us
//! o                      the number of the last mass that was held
//! o mass                 a mass that is held
//! o mass address 0 stream    a standing that it holds
//! p source 0 address     what we did on a provider's own list
//! q address 0 stream     the last delivery, where nothing else is known: in the base
//! r source 0 domain 0 class    how many new suppressions there were of late
//! s address 0 stream     a standing that says more: in the base
//! t                      by which rule masses are held
//! w c host 0 life segment    of which stretch of a host's life a segment has copies
//! w p                    how far the fleet's stream is read
//! w r host 0 life        how much of a host's life is known
//! x quarantine-id        what could not be applied, and why
//! z quarantine-id        why an element could not be read
//! ```
//! `#` is a hash of 8 bytes, `##` of 16. `q` stands before `s`: a scan that races a standing's
//! change from the one to the other sees it at least once. Those of `q` and `s` are in the base
//! (`base/`), whose runs lie beside the tree; the tree has what has changed since, in blocks, with
//! an empty value for what is gone. Earlier versions had each changed key in it by itself.

use sha2::{Digest, Sha256};

use super::{Kin, ListedKey, TurnPlace};
use crate::model::{EventId, MassId, Position, QuarantineId, Reason, Scope, SourceName};

/// What was applied, and what must be there. It and the next have no prefix letter.
pub(super) const META: &[u8] = b"\0meta";
/// Which runs of the base count.
pub(super) const RUNS: &[u8] = b"\0runs";

pub(super) const STRETCH: u8 = b'b';
pub(super) const CURSOR: u8 = b'c';
pub(super) const CHANGED: u8 = b'd';
pub(super) const EVENT: u8 = b'e';
pub(super) const TURN: u8 = b'f';
pub(super) const HELD: u8 = b'h';
pub(super) const LISTED: u8 = b'l';
pub(super) const MESSAGE: u8 = b'm';
pub(super) const COUNTS: u8 = b'n';
pub(super) const MASS: u8 = b'o';
pub(super) const PUSHED: u8 = b'p';
pub(super) const QUIET: u8 = b'q';
pub(super) const RATE: u8 = b'r';
pub(super) const STANDING: u8 = b's';
pub(super) const HOLD: u8 = b't';
pub(super) const FLEET: u8 = b'w';
pub(super) const SET_ASIDE: u8 = b'x';
pub(super) const QUARANTINE: u8 = b'z';

/// The hash that stands for an address or a message in a key.
pub(super) type Hash = [u8; 8];

/// Hashes an address's key or a message's id.
pub(super) fn hash(text: &str) -> Hash {
    let digest = Sha256::digest(text.as_bytes());
    let mut hash = Hash::default();
    hash.copy_from_slice(&digest[..8]);
    hash
}

pub(super) fn stretch(record: Position) -> Vec<u8> {
    [&[STRETCH], &record.as_u64().to_be_bytes()[..]].concat()
}

/// The record in the key of a stretch.
pub(super) fn stretch_record(key: &[u8]) -> Option<Position> {
    let number = key.last_chunk::<8>().filter(|_| key.len() == 9)?;
    Some(Position::from_u64(u64::from_be_bytes(*number)))
}

/// A block of what has changed of the base.
pub(super) fn changed(number: u64) -> Vec<u8> {
    [&[CHANGED], &number.to_be_bytes()[..]].concat()
}

/// The number in its key.
pub(super) fn changed_number(key: &[u8]) -> Option<u64> {
    key.last_chunk().filter(|_| key.len() == 9).map(|number| u64::from_be_bytes(*number))
}

pub(super) fn cursor(source: &SourceName, feed: &str) -> Vec<u8> {
    [&[CURSOR], source.as_str().as_bytes(), &[0], feed.as_bytes()].concat()
}

pub(super) fn turn(place: TurnPlace) -> Vec<u8> {
    let TurnPlace { record, element, number } = place;
    let record = record.as_u64().to_be_bytes();
    [&[TURN], &record[..], &element.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// The place in the key of a turn.
pub(super) fn turn_place(key: &[u8]) -> Option<TurnPlace> {
    let (record, rest) = key.get(1..)?.split_first_chunk::<8>()?;
    let (element, rest) = rest.split_first_chunk::<4>()?;
    let number = rest.first_chunk::<4>().filter(|_| rest.len() == 4)?;
    Some(TurnPlace {
        record: Position::from_u64(u64::from_be_bytes(*record)),
        element: u32::from_be_bytes(*element),
        number: u32::from_be_bytes(*number),
    })
}

/// How far the fleet's stream is read.
pub(super) const STREAM_PLACE: &[u8] = b"wp";
/// How much is known of the hosts' lives.
pub(super) const REACHES: &[u8] = b"wr";

pub(super) fn reach(host: &str, life: u64) -> Vec<u8> {
    [REACHES, host.as_bytes(), &[0], &life.to_be_bytes()].concat()
}

/// The host and its life in the key of a reach.
pub(super) fn reach_parts(key: &[u8]) -> Option<(&str, u64)> {
    let (host, life) = key.strip_prefix(REACHES)?.split_last_chunk::<8>()?;
    let host = std::str::from_utf8(host.strip_suffix(&[0])?).ok()?;
    Some((host, u64::from_be_bytes(*life)))
}

/// The segments that have copies of a host's life.
pub(super) fn copies_of(host: &str, life: u64) -> Vec<u8> {
    [COPIES, host.as_bytes(), &[0], &life.to_be_bytes()].concat()
}

/// The segments that have copies of anything.
pub(super) const COPIES: &[u8] = b"wc";

pub(super) fn copies(host: &str, life: u64, segment: u32) -> Vec<u8> {
    [&copies_of(host, life)[..], &segment.to_be_bytes()].concat()
}

/// The segment in such a key.
pub(super) fn copies_segment(key: &[u8]) -> Option<u32> {
    key.last_chunk().map(|segment| u32::from_be_bytes(*segment))
}

pub(super) fn listed(row: &ListedKey<'_>) -> Vec<u8> {
    let reason = row.reason.as_str().as_bytes();
    let place = standing(0, row.address, row.scope);
    [&listed_by(row.source, row.feed), &place[1..], &[0], reason].concat()
}

/// All the rows that a list of a source has told.
pub(super) fn listed_by(source: &SourceName, feed: &str) -> Vec<u8> {
    [&[LISTED], source.as_str().as_bytes(), &[0], feed.as_bytes(), &[0]].concat()
}

/// The address, the scope and the reason in the key of a row, behind [`listed_by`].
pub(super) fn listed_parts(rest: &[u8]) -> Option<(String, Scope, Reason)> {
    let last = rest.iter().rposition(|byte| *byte == 0)?;
    let reason = Reason::parse(std::str::from_utf8(&rest[last + 1..]).ok()?)?;
    let place = [&[0], &rest[..last]].concat();
    let (address, scope) = standing_parts(&place)?;
    Some((address.to_owned(), scope, reason))
}

pub(super) fn pushed(source: &SourceName, address: &str) -> Vec<u8> {
    [&[PUSHED], source.as_str().as_bytes(), &[0], address.as_bytes()].concat()
}

pub(super) fn counts(source: &SourceName) -> Vec<u8> {
    [&[COUNTS], source.as_str().as_bytes()].concat()
}

pub(super) fn standing(prefix: u8, address: &str, scope: &Scope) -> Vec<u8> {
    let stream = match scope {
        Scope::Global => "",
        Scope::Stream(name) => name,
    };
    [&[prefix], address.as_bytes(), &[0], stream.as_bytes()].concat()
}

/// All the scopes of one address: from which key on, and before which.
pub(super) fn standings_of(prefix: u8, address: &str) -> (Vec<u8>, Vec<u8>) {
    let all = |end| [&[prefix], address.as_bytes(), &[end]].concat();
    (all(0), all(1))
}

/// The address and the scope in the key of a standing.
pub(super) fn standing_parts(key: &[u8]) -> Option<(&str, Scope)> {
    let text = std::str::from_utf8(key.get(1..)?).ok()?;
    let (address, stream) = text.split_once('\0')?;
    let scope = if stream.is_empty() { Scope::Global } else { Scope::Stream(stream.into()) };
    Some((address, scope))
}

pub(super) fn mass(id: MassId) -> Vec<u8> {
    [&[MASS], &id.0.to_be_bytes()[..]].concat()
}

pub(super) fn held_by(id: MassId, address: &str, scope: &Scope) -> Vec<u8> {
    [&mass(id), &standing(0, address, scope)[1..]].concat()
}

/// The mass in the key of one, or of a standing that it holds.
pub(super) fn mass_id(key: &[u8]) -> Option<MassId> {
    key.get(1..)?.first_chunk().map(|id| MassId(u64::from_be_bytes(*id)))
}

pub(super) fn rate(kin: &Kin) -> Vec<u8> {
    let Kin { source, domain, class } = kin;
    [&[RATE], source.as_bytes(), &[0], domain.as_bytes(), &[0], class.as_bytes()].concat()
}

/// What makes two tellings of an unreadable element one: in the index a hash that is no address's
/// stands for its source, and another, in place of an event's id, for what it is.
pub(super) fn held(source: &SourceName, context: &str, body: &[u8]) -> (Hash, EventId) {
    let name = source.as_str();
    let parts = [name.as_bytes(), &[0], context.as_bytes(), &[0], body];
    let digest = Sha256::digest(parts.concat());
    let mut telling = [0; 16];
    telling.copy_from_slice(&digest[..16]);
    (hash(&format!("unreadable {name}")), EventId::from_bytes(telling))
}

/// The key under which earlier versions noted that.
pub(super) fn held_earlier(telling: EventId) -> Vec<u8> {
    [&[HELD], &telling.bytes()[..]].concat()
}

pub(super) fn quarantine(id: QuarantineId) -> Vec<u8> {
    placed(QUARANTINE, id)
}

pub(super) fn set_aside(id: QuarantineId) -> Vec<u8> {
    placed(SET_ASIDE, id)
}

fn placed(prefix: u8, id: QuarantineId) -> Vec<u8> {
    let record = id.record.as_u64().to_be_bytes();
    [&[prefix], &record[..], &id.element.to_be_bytes()].concat()
}

/// The id in the key of what is in quarantine or was set aside.
pub(super) fn quarantine_id(key: &[u8]) -> Option<QuarantineId> {
    let (record, rest) = key.get(1..)?.split_first_chunk::<8>()?;
    let element = rest.first_chunk::<4>().filter(|_| rest.len() == 4)?;
    let record = Position::from_u64(u64::from_be_bytes(*record));
    Some(QuarantineId { record, element: u32::from_be_bytes(*element) })
}
