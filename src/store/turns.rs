//! Verdicts that have turned, in the order of the journal, for those who are told of each once.
//!
//! They are kept as long as the journal keeps what turned them, and only where somebody wants them.

use std::ops::Bound;

use super::codec::{decode, encode};
use super::{Batch, Reader, StoreError, Writer, keys};
use crate::model::{Position, Turn};

/// Where a turn stands: behind the record and the element that made it. Its order is the journal's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TurnPlace {
    /// The record.
    pub record: Position,
    /// The element in it, from 1; 0 for what was merged again before it.
    pub element: u32,
    /// What tells turns of one element apart.
    pub number: u32,
}

impl TurnPlace {
    /// That of the turn of an address in a scope.
    pub fn of(record: Position, element: u32, turn: &Turn) -> TurnPlace {
        let text = format!("{}\0{}\0{}", turn.address, turn.scope, turn.added);
        let [a, b, c, d, ..] = keys::hash(&text);
        // Events of an element stand before its turns.
        TurnPlace { record, element, number: u32::from_be_bytes([a, b, c, d]) | TURNS }
    }
}

/// Numbers from here on are those of turns.
pub const TURNS: u32 = 1 << 31;

impl Writer {
    /// Notes a turn.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_turn(
        &self,
        batch: &mut Batch,
        place: TurnPlace,
        turn: &Turn,
    ) -> Result<(), StoreError> {
        self.put(batch, keys::turn(place), Some(encode(turn)))
    }
}

impl Reader {
    /// Up to `limit` turns behind a place, in their order.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn turns_behind(
        &self,
        place: TurnPlace,
        limit: usize,
    ) -> Result<Vec<(TurnPlace, Turn)>, StoreError> {
        let from = Bound::Excluded(keys::turn(place));
        let range = (from, Bound::Excluded(vec![keys::TURN + 1]));
        let rows = self.tree()?.range::<Vec<u8>, _>(range).take(limit);
        let row = |pair: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = pair?;
            let place = keys::turn_place(&key).ok_or_else(super::reader::strange_key)?;
            Ok((place, decode(&value)?))
        };
        rows.map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Reason, Scope, SourceName, Time, Until};

    /// As the release that began to keep turns has written it: key and value.
    const KEY: &[u8] = b"f\0\0\0\x01\0\0\0\xa0\0\0\0\x01\x9c\xe6\xed\xf3";
    const VALUE: &[u8] = b"\x01\x0dGone@one.test\0\x01\x01\x01\x03app\
        \x01\x80\xb0\xa9\xe9\xab\x8e\x88\xec\x31\0\x01\0\x8e\xba\xec\xcc\xb1\x8e\x88\xec\x31\x09";

    #[test]
    fn a_turn_is_kept_as_it_ever_was() {
        let turn = Turn {
            address: "Gone@one.test".into(),
            scope: Scope::Global,
            added: true,
            reason: Reason::HardBounce,
            sources: vec![SourceName::parse("app").unwrap()],
            since: Time::parse("2026-11-28T01:09:50Z"),
            until: Until::Forever,
            note: None,
            at: Time::parse("2026-11-28T01:09:50.775447175Z").unwrap(),
        };
        let place = TurnPlace::of(Position { segment: 1, offset: 160 }, 1, &turn);
        assert_eq!((&keys::turn(place)[..], &encode(&turn)[..]), (KEY, VALUE));
        assert_eq!((keys::turn_place(KEY), decode::<Turn>(VALUE).unwrap()), (Some(place), turn));
    }
}
