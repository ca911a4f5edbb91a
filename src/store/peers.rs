//! What was told by the other hosts of a fleet: how far, and which segments of the journal have it.

use serde::{Deserialize, Serialize};

use super::codec::{Form, decode, encode};
use super::reader::strange_key;
use super::{Batch, Reader, StoreError, Writer, keys};
use crate::journal::Tail;
use crate::model::{Known, Peer, Position, Reach, StreamPlace};

/// Between which of a host's records those lie that a segment has copies of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copies {
    first: Position,
    last: Position,
}

impl Form for Copies {}

impl Writer {
    /// Notes that the record is a copy of another host's, and where the stream is read by now.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn note_copy(
        &self,
        batch: &mut Batch,
        peer: &Peer,
        record: Position,
    ) -> Result<(), StoreError> {
        if let Some(place) = &peer.place {
            self.put_stream_place(batch, place)?;
        }
        let Peer { host, life, before, at, .. } = peer;
        let key = keys::reach(host, *life);
        let mut reach = self.reach(batch, key.clone())?;
        if reach.add(*before, *at) {
            self.put(batch, key, Some(encode(&reach)))?;
        }
        let key = keys::copies(host, *life, record.segment);
        let known = self.get(batch, key.clone())?.map(decode::<Copies>).transpose()?;
        let known = known.unwrap_or(Copies { first: *at, last: *at });
        let copies = Copies { first: known.first.min(*at), last: known.last.max(*at) };
        self.put(batch, key, Some(encode(&copies)))
    }

    /// Notes where the fleet's stream is read up to.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_stream_place(
        &self,
        batch: &mut Batch,
        place: &StreamPlace,
    ) -> Result<(), StoreError> {
        self.put(batch, keys::STREAM_PLACE.to_vec(), Some(encode(place)))
    }

    /// Notes that all of a host's life is known up to there, however that came.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn raise_reach(&self, batch: &mut Batch, known: &Known) -> Result<(), StoreError> {
        let key = keys::reach(&known.host, known.life);
        let mut reach = self.reach(batch, key.clone())?;
        reach.raise(known.upto);
        self.put(batch, key, Some(encode(&reach)))
    }

    /// Forgets which segments have copies and are no more. It is little.
    pub(super) fn forget_copies(
        &self,
        batch: &mut Batch,
        start: Position,
    ) -> Result<(), StoreError> {
        for key in self.tree.scan_prefix(keys::COPIES).keys() {
            let key = key?;
            if keys::copies_segment(&key).is_some_and(|segment| segment < start.segment) {
                self.put(batch, key.to_vec(), None)?;
            }
        }
        Ok(())
    }

    fn reach(&self, batch: &mut Batch, key: Vec<u8>) -> Result<Reach, StoreError> {
        self.get(batch, key)?.map_or(Ok(Reach::default()), decode)
    }
}

impl Reader {
    /// Where the fleet's stream is read up to. `None`: nothing of it is.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn stream_place(&self) -> Result<Option<StreamPlace>, StoreError> {
        let stored = self.tree()?.get(keys::STREAM_PLACE)?;
        stored.map(|bytes| decode(&bytes)).transpose()
    }

    /// How much is known of each life of each host.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn reaches(&self) -> Result<Vec<(Box<str>, u64, Reach)>, StoreError> {
        let mut reaches = Vec::new();
        for pair in self.tree()?.scan_prefix(keys::REACHES) {
            let (key, value) = pair?;
            let (host, life) = keys::reach_parts(&key).ok_or_else(strange_key)?;
            reaches.push((host.into(), life, decode(&value)?));
        }
        Ok(reaches)
    }

    /// The segments that have copies of a host's records between two places, the first of which is
    /// not meant.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn segments_with(
        &self,
        host: &str,
        life: u64,
        (from, upto): (Position, Position),
    ) -> Result<Vec<u32>, StoreError> {
        let mut segments = Vec::new();
        for pair in self.tree()?.scan_prefix(keys::copies_of(host, life)) {
            let (key, value) = pair?;
            let copies: Copies = decode(&value)?;
            if copies.first <= upto && from < copies.last {
                segments.push(keys::copies_segment(&key).ok_or_else(strange_key)?);
            }
        }
        Ok(segments)
    }

    /// Reads on in the journal from a position.
    pub fn tail(&self, from: Position) -> Tail {
        self.journal.tail(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every later version has to read these.
    #[test]
    fn what_is_stored_of_other_hosts_has_this_form() {
        let at = |offset| Position { segment: 1, offset };
        let place = StreamPlace { created: 1, sequence: 300 };
        assert_eq!(encode(&place), [1, 2, 0xac, 2]);
        let mut reach = Reach::default();
        reach.raise(at(64));
        reach.add(at(100), at(120));
        assert_eq!(encode(&reach), [1, 1, 64, 1, 1, 100, 1, 120]);
        let copies = Copies { first: at(64), last: at(100) };
        assert_eq!(encode(&copies), [1, 1, 64, 1, 100]);
        // What is forgotten is looked for from the one to the other.
        assert!(!(keys::TURN..=keys::HELD).contains(&keys::FLEET));
        let (life, segment) = (7_u64.to_be_bytes(), 2_u32.to_be_bytes());
        assert_eq!(keys::reach("mx1", 7), [&b"wrmx1\0"[..], &life].concat());
        assert_eq!(keys::copies("mx1", 7, 2), [&b"wcmx1\0"[..], &life, &segment].concat());
        assert_eq!(keys::reach_parts(&keys::reach("mx1", 7)), Some(("mx1", 7)));
        assert_eq!(keys::copies_segment(&keys::copies("mx1", 7, 2)), Some(2));
    }
}
