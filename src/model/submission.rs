//! What is handed to the journal: the verbatim elements of one notification or page.
//!
//! The bytes of a journal record's payload are made and read here, and nowhere else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Origin, Peer, SourceName, Time};

/// The first byte of an encoded submission. A change of its form takes the next number.
pub(super) const FORM: u8 = 1;
/// The first byte of a copy of another host's submission: whose it is stands before all else, and
/// the rest is as it was there.
pub(super) const COPY: u8 = 2;
/// No version has written a form beyond this one.
pub(super) const NEWEST: u8 = COPY;

/// Where a record starts in the journal: its segment's number, and the byte in it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// The number of the segment.
    pub segment: u32,
    /// The byte in the segment's file.
    pub offset: u32,
}

impl Position {
    /// As one number that orders as the position does.
    pub fn as_u64(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }

    /// From that number.
    pub fn from_u64(number: u64) -> Position {
        // Both halves fit by construction: the shift and the mask leave 32 bits each.
        Position { segment: (number >> 32) as u32, offset: (number & 0xffff_ffff) as u32 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// Where one element is: its record, and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QuarantineId {
    /// The record.
    pub record: Position,
    /// The number of the element in the record, from 0; or [`QuarantineId::WHOLE`].
    pub element: u32,
}

/// What stands in the place of an element's number where a record as a whole is meant.
const WHOLE: &str = "record";
/// What takes the place of each byte of a blank element.
const BLANK: u8 = b' ';

impl QuarantineId {
    /// The number that stands for a record as a whole: none has so many elements.
    pub const WHOLE: u32 = u32::MAX;

    /// Behind all that there can be.
    pub const LAST: QuarantineId = QuarantineId {
        record: Position { segment: u32::MAX, offset: u32::MAX },
        element: QuarantineId::WHOLE,
    };
}

impl fmt::Display for QuarantineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { segment, offset } = self.record;
        match self.element {
            QuarantineId::WHOLE => write!(f, "{segment}-{offset}-{WHOLE}"),
            element => write!(f, "{segment}-{offset}-{element}"),
        }
    }
}

impl FromStr for QuarantineId {
    type Err = SubmissionError;

    fn from_str(text: &str) -> Result<QuarantineId, SubmissionError> {
        let number = |part: &str| part.parse::<u32>().map_err(|_| SubmissionError);
        let parts: Vec<&str> = text.split('-').collect();
        let &[segment, offset, element] = parts.as_slice() else { return Err(SubmissionError) };
        let record = Position { segment: number(segment)?, offset: number(offset)? };
        let element = if element == WHOLE { QuarantineId::WHOLE } else { number(element)? };
        Ok(QuarantineId { record, element })
    }
}

/// The bytes are not what this program, or a program as new, has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not in a form that this version reads")]
pub struct SubmissionError;

/// One event as it was received, before any reading of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// What the adapter needs beside the bytes (an id from a header); usually empty.
    pub context: String,
    /// The bytes, verbatim.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl Element {
    /// Whether it is what is left of one that told of nobody but people who were forgotten.
    pub fn is_blank(&self) -> bool {
        !self.body.is_empty() && self.body.iter().all(|byte| *byte == BLANK)
    }

    /// Leaves nothing of it but its length.
    pub fn blank(&mut self) {
        self.context = " ".repeat(self.context.len());
        self.body.fill(BLANK);
    }
}

/// How far a feed has been read. Its content belongs to the poller alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The feed.
    pub feed: String,
    /// The poller's own notation.
    pub state: String,
}

/// Everything that one notification, page or command brings, committed as one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Who told it.
    pub source: SourceName,
    /// The provider, by name: what reads the elements.
    pub provider: Box<str>,
    /// How it reached us.
    pub origin: Origin,
    /// The feed that a page is of; empty for all else.
    pub feed: Box<str>,
    /// When it reached us.
    pub received_at: Time,
    /// The elements, in the order received.
    pub elements: Vec<Element>,
    /// How far the feed has been read with this page.
    pub cursor: Option<Cursor>,
    /// Quarantined elements that this replaces, or drops.
    pub released: Vec<QuarantineId>,
}

impl Submission {
    /// What this host says itself: an operator's words, or its own conclusions, without a cursor.
    pub fn ours(
        source: SourceName,
        provider: &str,
        elements: Vec<Element>,
        received_at: Time,
    ) -> Submission {
        Submission {
            source,
            provider: provider.into(),
            origin: Origin::Operator,
            feed: "".into(),
            received_at,
            elements,
            cursor: None,
            released: Vec::new(),
        }
    }

    /// The bytes for the journal.
    pub fn encode(&self) -> Vec<u8> {
        let room = 64 + self.elements.iter().map(|e| e.body.len() + 16).sum::<usize>();
        let mut bytes = Vec::with_capacity(room);
        bytes.push(FORM);
        #[expect(
            clippy::expect_used,
            reason = "a vector takes every byte, and no type here is odd"
        )]
        postcard::to_extend(self, bytes).expect("a submission always has a form")
    }

    /// The bytes for the journal of what another host was told, as its own journal has it.
    ///
    /// # Errors
    /// When `bytes` are not of the form that a host writes of what it was told itself.
    pub fn encode_copy(peer: &Peer, bytes: &[u8]) -> Result<Vec<u8>, SubmissionError> {
        let Some((&FORM, rest)) = bytes.split_first() else { return Err(SubmissionError) };
        let mut copy = Vec::with_capacity(128 + bytes.len());
        copy.push(COPY);
        let mut copy = postcard::to_extend(peer, copy).map_err(|_| SubmissionError)?;
        copy.extend_from_slice(rest);
        Ok(copy)
    }

    /// Of a copy of another host's submission: whose it is, and the bytes as its journal has them.
    /// `None`: it is no copy.
    pub fn original(bytes: &[u8]) -> Option<(Peer, Vec<u8>)> {
        let (&COPY, rest) = bytes.split_first()? else { return None };
        let (peer, rest) = postcard::take_from_bytes(rest).ok()?;
        Some((peer, [&[FORM], rest].concat()))
    }

    /// Whether a record's bytes are what this host was told itself, in the form of this version,
    /// and say something to other hosts. What only moves a cursor of our own does not.
    pub fn is_for_others(bytes: &[u8]) -> bool {
        let Some((&FORM, rest)) = bytes.split_first() else { return false };
        let head = postcard::from_bytes::<(SourceName, &str, Origin, &str, Time, u32)>(rest);
        head.is_ok_and(|(source, .., elements)| elements > 0 || source != SourceName::operator())
    }

    /// From the bytes in the journal.
    ///
    /// # Errors
    /// When they are of another form.
    pub fn decode(bytes: &[u8]) -> Result<Submission, SubmissionError> {
        let rest = match bytes.split_first() {
            Some((&FORM, rest)) => rest,
            Some((&COPY, rest)) => {
                postcard::take_from_bytes::<Peer>(rest).map_err(|_| SubmissionError)?.1
            }
            _ => return Err(SubmissionError),
        };
        postcard::from_bytes(rest).map_err(|_| SubmissionError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_back() {
        let submission = Submission {
            source: SourceName::parse("a").unwrap(),
            provider: "generic".into(),
            origin: Origin::Poll,
            feed: "events".into(),
            received_at: Time::from_nanos(5, 9),
            elements: vec![Element { context: String::new(), body: vec![0, 255, 10] }],
            cursor: Some(Cursor { feed: "events".into(), state: "{}".into() }),
            released: vec!["1-16-0".parse().unwrap()],
        };
        let bytes = submission.encode();
        assert_eq!(Submission::decode(&bytes), Ok(submission));
        assert_eq!(Submission::decode(&bytes[..bytes.len() - 1]), Err(SubmissionError));
        assert_eq!(Submission::decode(&[9]), Err(SubmissionError));
        assert_eq!(Submission::decode(&[]), Err(SubmissionError));
    }

    #[test]
    fn a_copy_says_whose_it_is_and_is_the_same_beside() {
        let source = SourceName::parse("a").unwrap();
        let own = Submission {
            source,
            provider: "generic".into(),
            origin: Origin::Webhook,
            feed: "".into(),
            received_at: Time::from_nanos(5, 9),
            elements: vec![Element { context: String::new(), body: vec![1, 2] }],
            cursor: None,
            released: Vec::new(),
        };
        let at = Position { segment: 3, offset: 4_096 };
        let before = Position { segment: 2, offset: 64 };
        let peer = Peer { host: "mx1".into(), life: u64::MAX, before, at, place: None };
        let bytes = own.encode();
        let copy = Submission::encode_copy(&peer, &bytes).unwrap();
        assert!(Submission::is_for_others(&bytes) && !Submission::is_for_others(&copy));
        assert_eq!(Submission::decode(&copy), Ok(own.clone()));
        let cursor = Some(Cursor { feed: "forward/app".to_owned(), state: String::new() });
        let polled = Submission { elements: Vec::new(), cursor, ..own };
        assert!(Submission::is_for_others(&polled.encode()), "an empty page");
        let forwarded = Submission { source: SourceName::operator(), ..polled };
        assert!(!Submission::is_for_others(&forwarded.encode()));
        assert_eq!(Submission::original(&copy), Some((peer.clone(), bytes.clone())));
        // As every later version has to read it.
        let mut pinned = vec![2, 3, b'm', b'x', b'1'];
        pinned.extend([&[0xff; 9][..], &[1, 2, 64, 3, 0x80, 0x20, 0], &bytes[1..]].concat());
        assert_eq!(copy, pinned);
        assert_eq!(Submission::original(&bytes), None);
        assert!(Submission::encode_copy(&peer, &copy).is_err(), "a copy of a copy");
        assert!(Submission::encode_copy(&peer, &[]).is_err());
    }

    #[test]
    fn positions_order_as_numbers() {
        let early = Position { segment: 1, offset: u32::MAX };
        let late = Position { segment: 2, offset: 0 };
        assert!(early < late && early.as_u64() < late.as_u64());
        assert_eq!(Position::from_u64(early.as_u64()), early);
    }

    #[test]
    fn quarantine_ids_read_back() {
        let id = QuarantineId { record: Position { segment: 3, offset: 88 }, element: 2 };
        assert_eq!(id.to_string().parse(), Ok(id));
        let whole = QuarantineId { element: QuarantineId::WHOLE, ..id };
        assert_eq!(whole.to_string(), "3-88-record");
        assert_eq!(whole.to_string().parse(), Ok(whole));
        assert!("3-88".parse::<QuarantineId>().is_err());
        assert!("3-88-2-1".parse::<QuarantineId>().is_err());
    }
}
