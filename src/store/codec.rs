//! The values of the store: each starts with the number of its form.
//!
//! Each type counts its own forms. A change takes the next number, and goes on reading the ones
//! before: stores and checkpoints of earlier releases have them.

use serde::{Deserialize, Serialize};

use super::{Mass, Rate, Sight, StoreError, base, keys};
use crate::model::{
    Cuts, Hold, Origin, Position, Pushed, Reach, Standing, Standing1, Standing2, StreamPlace,
    Stretch, Time, Turn,
};

/// A type that is a value of the store.
pub(super) trait Form: Sized {
    /// The form that values are written in.
    const NUMBER: u8 = 1;

    /// Reads a value of an earlier form. `None`: there was no such form, or these are not its
    /// bytes.
    fn earlier(_number: u8, _bytes: &[u8]) -> Option<Self> {
        None
    }
}

impl Form for Counts {}
impl Form for EventRef {}
impl Form for Position {}
impl Form for Pushed {}
impl Form for Turn {}
impl Form for Reach {}
impl Form for StreamPlace {}

/// The first form knew only clocks that were behind.
impl Form for Stretch {
    const NUMBER: u8 = 2;

    fn earlier(number: u8, bytes: &[u8]) -> Option<Stretch> {
        let was_ahead = [0];
        let first = [bytes, &was_ahead].concat();
        (number == 1).then(|| postcard::from_bytes(&first).ok())?
    }
}

impl Form for Standing {
    const NUMBER: u8 = 3;

    fn earlier(number: u8, bytes: &[u8]) -> Option<Standing> {
        match number {
            1 => postcard::from_bytes::<Standing1>(bytes).ok().map(Standing::from),
            2 => postcard::from_bytes::<Standing2>(bytes).ok().map(Standing::from),
            _ => None,
        }
    }
}

/// The deliveries of an address of which nothing else is known. The first form was a date alone.
impl Form for Cuts {
    const NUMBER: u8 = 2;

    fn earlier(number: u8, bytes: &[u8]) -> Option<Cuts> {
        let first = (number == 1).then(|| postcard::from_bytes::<Time>(bytes).ok())??;
        Some(Cuts::of(first))
    }
}

/// Where an event's element is, and how we were told of it. Earlier versions had it in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventRef {
    /// The record that told it first.
    pub(super) record: Position,
    /// The element in it.
    pub(super) element: u32,
    /// A bit for each [`Origin`] that told it, and [`EventRef::DATED_BY_US`].
    pub(super) origins: u8,
}

impl EventRef {
    /// It was told first with a time that was not believed, and so has ours.
    pub(super) const DATED_BY_US: u8 = 1 << 7;

    /// Whether it is known by this origin alone.
    pub(super) fn is_only_by(self, origin: Origin) -> bool {
        self.origins & !(Self::DATED_BY_US | Self::bit(Origin::Fleet)) == Self::bit(origin)
    }

    /// The bit of an origin.
    pub(super) fn bit(origin: Origin) -> u8 {
        1 << origin as u8
    }

    /// The origins whose bits are set.
    pub(super) fn origins(self) -> Vec<Origin> {
        Origin::ALL.into_iter().filter(|origin| self.origins & Self::bit(*origin) != 0).collect()
    }
}

/// How a source's events reached us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events by webhook alone.
    pub webhook_only: u64,
    /// Events by poll alone.
    pub poll_only: u64,
    /// Events by both.
    pub both: u64,
    /// Rows of the provider's own suppression lists, which no webhook tells.
    pub listed: u64,
    /// Tellings of events that were known already in the same way.
    pub repeated: u64,
    /// Elements that could not be read.
    pub unreadable: u64,
    /// Events by the sender's fault.
    pub blocked: u64,
    /// When the last webhook came.
    pub last_webhook: Option<Time>,
    /// When the last page came.
    pub last_poll: Option<Time>,
}

/// Where a store has its standings, the earliest way first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layout {
    /// In sled, and the events of the first releases, too.
    Events,
    /// In sled.
    Standings,
    /// In a base, and each that has changed in sled.
    Based,
    /// In a base, and what has changed in blocks in sled.
    #[default]
    Blocks,
}

/// The forms of a [`Meta`], between records and within one.
const META_FORMS: [(Layout, [u8; 2]); 4] = [
    (Layout::Events, [1, 2]),
    (Layout::Standings, [3, 4]),
    (Layout::Based, [5, 6]),
    (Layout::Blocks, META_NOW),
];
const META_NOW: [u8; 2] = [7, 8];

/// What was applied, and what must be there then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// The end of what was applied.
    pub(super) applied: Position,
    /// How many elements of the record that starts there are applied already.
    #[serde(skip)]
    pub(super) part: u32,
    /// Where its standings are. An earlier store is brought over as it is opened.
    #[serde(skip)]
    pub(super) layout: Layout,
    /// How many keys sled has, but for this one.
    pub(super) keys: u64,
    /// The sum of the checksums of all of them with their values.
    pub(super) sum: u64,
    /// How many standings say more than a delivery, in the base and beside it.
    pub(super) standings: u64,
    /// How many of the keys are elements in quarantine.
    pub(super) quarantined: u64,
}

impl Form for Meta {
    const NUMBER: u8 = META_NOW[0];
}

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = encode(self);
        if self.part > 0 {
            bytes[0] = META_NOW[1];
            bytes.extend_from_slice(&self.part.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Meta, StoreError> {
        let (form, mut rest) = bytes.split_first().ok_or_else(damaged)?;
        let of_it = META_FORMS.into_iter().find(|(_, forms)| forms.contains(form));
        let Some((layout, [_, within])) = of_it else {
            let what = || format!("the store (its position is in form {form})");
            return Err(if *form == 0 { damaged() } else { StoreError::Newer(what()) });
        };
        let mut part = 0;
        if *form == within {
            let (before, last) = rest.split_last_chunk().ok_or_else(damaged)?;
            (rest, part) = (before, u32::from_le_bytes(*last));
        }
        let meta: Meta = postcard::from_bytes(rest).map_err(|_| damaged())?;
        Ok(Meta { part, layout, ..meta })
    }
}

pub(super) fn encode<T: Form + Serialize>(value: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "a vector takes every byte, and no type here is odd")]
    postcard::to_extend(value, vec![T::NUMBER]).expect("values of the store have a form")
}

/// Reads a value, of this form or an earlier one.
///
/// # Errors
/// [`StoreError::Newer`] when a newer version wrote it.
pub(super) fn decode<'b, T: Form + Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, StoreError> {
    let (number, rest) = bytes.split_first().ok_or_else(damaged)?;
    if *number > T::NUMBER {
        return Err(StoreError::Newer("a value of the store".to_owned()));
    }
    if *number == T::NUMBER {
        return postcard::from_bytes(rest).map_err(|_| damaged());
    }
    T::earlier(*number, rest).ok_or_else(damaged)
}

/// Whether a value, by the prefix of its key and its first byte, was written by a newer version.
pub(super) fn is_newer(prefix: u8, form: u8) -> bool {
    let known = match prefix {
        keys::STRETCH => Stretch::NUMBER,
        keys::CHANGED => base::CHANGES_FORM,
        keys::EVENT => EventRef::NUMBER,
        keys::LISTED => Sight::NUMBER,
        keys::FLEET => Reach::NUMBER,
        keys::HELD | keys::MESSAGE => Position::NUMBER,
        keys::COUNTS => Counts::NUMBER,
        keys::PUSHED => Pushed::NUMBER,
        keys::TURN => Turn::NUMBER,
        keys::QUIET => Cuts::NUMBER,
        keys::STANDING => Standing::NUMBER,
        keys::MASS => Mass::NUMBER,
        keys::RATE => Rate::NUMBER,
        keys::HOLD => Option::<Hold>::NUMBER,
        // A cursor has a notation of its own; a reason is text.
        _ => return false,
    };
    form > known
}

/// Whether a file of ours, by its first 8 bytes, is of a newer form: the last of them is a digit
/// that counts the forms.
pub(super) fn is_newer_form(magic: [u8; 8], known: [u8; 8]) -> bool {
    magic[..7] == known[..7] && magic[7] > known[7] && magic[7].is_ascii_digit()
}

fn damaged() -> StoreError {
    StoreError::Damaged("a value is not in a form that this version reads".to_owned())
}

/// The checksum of one key with its value.
pub(super) fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(value);
    u64::from(hash.finalize())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Lifts, MessageKey, Reason, SourceName, Until};

    /// What was one number is two by now.
    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Pair(u8, u8);

    impl Form for Pair {
        const NUMBER: u8 = 2;

        fn earlier(number: u8, bytes: &[u8]) -> Option<Pair> {
            let first = (number == 1).then(|| postcard::from_bytes(bytes).ok())??;
            Some(Pair(first, 0))
        }
    }

    #[test]
    fn earlier_forms_are_read_and_newer_ones_are_told_apart_from_damage() {
        assert_eq!(encode(&Pair(7, 8)), [2, 7, 8]);
        assert_eq!(decode(&[2, 7, 8]), Ok(Pair(7, 8)));
        assert_eq!(decode(&[1, 7]), Ok(Pair(7, 0)));
        assert!(matches!(decode::<Pair>(&[3, 7, 8]), Err(StoreError::Newer(_))));
        for bad in [&[][..], &[0, 7, 8], &[1], &[2, 7]] {
            assert!(matches!(decode::<Pair>(bad), Err(StoreError::Damaged(_))), "{bad:?}");
        }
    }

    /// The second form of a standing had no classes, nothing unexplained and nothing held.
    #[test]
    fn a_standing_of_the_second_form_is_read() {
        let (source, at) = (SourceName::parse("acme").unwrap(), Time::from_seconds(1_780_000_000));
        let message = MessageKey::of(&source, Some("m"), at);
        let latest = (at, Until::Forever, [7_u8; 16], None::<&str>);
        let grounds = vec![((Reason::HardBounce, &source), (at, latest, None::<()>))];
        let soft = BTreeMap::from([(message, (None::<u64>, at, &source))]);
        let (blocked, lifts) = (BTreeMap::<MessageKey, ()>::new(), BTreeMap::<Lifts, Cuts>::new());
        let old = ("A@x.test", grounds, soft, blocked, Cuts::of(at), lifts);
        let mut bytes = postcard::to_extend(&old, vec![2]).unwrap();

        let standing: Standing = decode(&bytes).unwrap();
        assert_eq!(standing.spelling(), "A@x.test");
        let grounds: Vec<_> = standing.grounds().collect();
        let (reason, of, ground) = grounds[0];
        assert_eq!((grounds.len(), reason, of), (1, Reason::HardBounce, &source));
        assert_eq!((ground.first, ground.latest.at, ground.latest.class), (at, at, None));
        assert_eq!(standing.soft().iter().map(|bounce| bounce.at).collect::<Vec<_>>(), [at]);
        assert!(standing.unexplained().is_empty() && standing.held().is_empty());
        // It is written in the present form, and reads the same.
        let now = encode(&standing);
        assert_eq!((now[0], decode(&now)), (Standing::NUMBER, Ok(standing)));
        bytes.truncate(20);
        assert!(matches!(decode::<Standing>(&bytes), Err(StoreError::Damaged(_))));
    }

    #[test]
    fn the_position_says_by_its_form_what_is_in_the_store() {
        let applied = Position { segment: 3, offset: 88 };
        let meta = Meta { applied, keys: 1 << 40, sum: 7, standings: 300, ..Meta::default() };
        let within = Meta { part: 70_000, ..meta };
        for (layout, forms) in META_FORMS {
            for (meta, form) in [meta, within].into_iter().zip(forms) {
                let mut bytes = meta.encode();
                assert!(META_NOW.contains(&bytes[0]), "it is written in the present form");
                bytes[0] = form;
                assert_eq!(Meta::decode(&bytes), Ok(Meta { layout, ..meta }));
            }
        }
        for bytes in [&[][..], &[0, 1], &[1], &[2, 1], &[META_NOW[1]]] {
            assert!(matches!(Meta::decode(bytes), Err(StoreError::Damaged(_))), "{bytes:?}");
        }
        let next = META_NOW[1] + 1;
        assert!(matches!(Meta::decode(&[next]), Err(StoreError::Newer(_))));
    }
}
