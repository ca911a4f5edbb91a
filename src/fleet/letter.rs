//! What hosts send each other, as bytes: letters with records, heads, questions and answers.
//!
//! Each starts with a byte for its form. Who sent a letter is the last word of its subject, which
//! the servers' permissions vouch for.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::forgotten::Key;
use crate::model::{Known, Position};

/// The form of all that is sent. A change takes the next number.
const FORM: u8 = 1;

/// Most parts that a record is cut into.
pub(super) const PARTS_MAX: u16 = 1_024;

/// What came is not for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LetterError {
    /// A newer version has written it.
    #[error("it is in form {0}, which only a newer suppressd reads")]
    Newer(u8),
    /// It is none of ours.
    #[error("it is not of a form that suppressd has written")]
    Strange,
}

/// Records of one life of a host, each following on the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// The life.
    pub(super) life: u64,
    /// The record before the first of these.
    pub(super) before: Position,
    /// Them, in their order.
    pub(super) items: Vec<Item>,
}

/// A record, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    /// Where it is in its host's journal.
    pub(super) at: Position,
    /// Which part, from 0.
    pub(super) part: u16,
    /// Of how many.
    pub(super) parts: u16,
    /// The checksum of the whole record.
    pub(super) crc: u32,
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub(super) body: Vec<u8>,
}

impl Item {
    /// The parts of a record, none longer than `most`.
    pub(super) fn cut(at: Position, record: &[u8], most: usize) -> Vec<Item> {
        let crc = crc32fast::hash(record);
        let chunks: Vec<&[u8]> = record.chunks(most.max(1)).collect();
        // A journal's record has a limit, far below so many parts.
        let parts = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
        let item = |(part, body): (u16, &&[u8])| Item { at, part, parts, crc, body: body.to_vec() };
        (0..parts).zip(&chunks).map(item).collect()
    }
}

/// What a host tells of itself every few seconds, outside the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The life of its journal.
    pub(super) life: u64,
    /// The last record that it has told others.
    pub(super) at: Position,
    /// Bytes of its journal that it has still to look through for others.
    pub(super) lag: u64,
    /// How much it knows of every life of every host.
    pub(super) seen: Vec<Known>,
    /// What its clock shows, in nanoseconds since 1970.
    pub(super) clock: i64,
    /// A hash of its rules, and of the names and providers of its sources.
    pub(super) rules: u64,
    /// The latter.
    pub(super) sources: u64,
    /// Its version.
    pub(super) version: String,
    /// The sources whose turn it has.
    pub(super) polls: Vec<String>,
    /// Of each forward that it tells, how much of what is known of every life.
    pub(super) forwarded: Vec<(String, Vec<Known>)>,
    /// A digest of those whom it has forgotten.
    pub(super) forgotten: u64,
    /// The others are asked to tell of themselves at once.
    pub(super) hello: bool,
}

/// A webhook's token that counts once, with what came with it, as hashes.
pub(super) type Token = ([u8; 32], [u8; 32]);

/// What is told outside the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// How a host stands.
    Head(Head),
    /// Tokens that were used there.
    Tokens(Vec<Token>),
}

/// Where an answer goes on, in the journal of who answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The record.
    pub(super) position: Position,
    /// The one before it, of those that are told.
    pub(super) before: Position,
    /// The part of it.
    pub(super) part: u16,
}

/// What one host asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// The records of a life between two places, the first of which is not meant.
    Records { host: Box<str>, life: u64, from: Position, upto: Position, on: Option<Mark> },
    /// A digest of the standings, by bucket.
    Digests,
    /// The standings behind an address, of some buckets.
    Standings { after: String, buckets: [u64; 4] },
    /// To ask the asker for the standings of these buckets.
    Repair { buckets: [u64; 4] },
    /// To forget these addresses, by hashes of these keys.
    Forget { addresses: Vec<String>, keys: Vec<Key> },
    /// Those who were forgotten behind a hash.
    Forgotten { after: Key },
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Letters, and where there are more.
    Records { letters: Vec<Letter>, on: Option<Mark> },
    /// The digests.
    Digests(Vec<u64>),
    /// Elements of standings.
    Standings {
        /// The elements.
        elements: Vec<serde_bytes::ByteBuf>,
        /// Their checksum.
        crc: u32,
        /// Behind which address there are more.
        on: Option<String>,
        /// How much of every life was known.
        seen: Vec<Known>,
        /// None of it is dated behind that, in nanoseconds since 1970.
        latest: i64,
    },
    /// The keys of hashes, and who was forgotten by them; behind which hash there are more.
    Forgotten { keys: Vec<Key>, lines: Vec<String>, on: Option<Key> },
    /// It is being done.
    Begun,
    /// Why it cannot be answered.
    Cannot(String),
}

/// The bytes of something that is sent.
pub(super) fn write(what: &impl Serialize) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "a vector takes every byte, and no type here is odd")]
    postcard::to_extend(what, vec![FORM]).expect("what is sent has a form")
}

/// What was sent as these bytes.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, LetterError> {
    match bytes.split_first() {
        Some((&FORM, rest)) => postcard::from_bytes(rest).map_err(|_| LetterError::Strange),
        Some((form, _)) if *form > FORM => Err(LetterError::Newer(*form)),
        _ => Err(LetterError::Strange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_cut_and_whole_again() {
        let at = Position { segment: 1, offset: 64 };
        for (length, parts) in [(1, 1), (10, 1), (11, 2), (30, 3)] {
            let record: Vec<u8> = (0..length).collect();
            let items = Item::cut(at, &record, 10);
            assert_eq!(items.len(), parts);
            assert!(items.iter().all(|item| usize::from(item.parts) == parts));
            let whole: Vec<u8> = items.iter().flat_map(|item| item.body.clone()).collect();
            assert_eq!(whole, record);
            assert_eq!(crc32fast::hash(&whole), items[0].crc);
        }
    }

    #[test]
    fn what_is_not_ours_is_told_from_what_is_newer() {
        let letter = Letter { life: 7, before: Position::default(), items: Vec::new() };
        let bytes = write(&letter);
        assert_eq!(read::<Letter>(&bytes), Ok(letter));
        assert_eq!(read::<Letter>(&bytes[..bytes.len() - 1]), Err(LetterError::Strange));
        assert_eq!(read::<Letter>(&[2, 0]), Err(LetterError::Newer(2)));
        assert_eq!(read::<Letter>(b""), Err(LetterError::Strange));
        assert_eq!(read::<Letter>(&[0, 0]), Err(LetterError::Strange));
    }
}
