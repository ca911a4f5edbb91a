//! A submission as it lies in the journal, read one element at a time.
//!
//! What is read takes no more memory than its own bytes, however many elements it has.

use serde::Deserialize;

use super::submission::{COPY, FORM, NEWEST};
use super::{Cursor, Element, Origin, Peer, QuarantineId, SourceName, Submission, Time};

/// Why the bytes of a record are no submission to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A newer version has written them, in the form of this number.
    #[error("it is in form {0}; this version reads no form beyond {NEWEST}")]
    Newer(u8),
    /// No version has written them so.
    #[error("it is in no form that any version has written")]
    Strange,
}

/// A submission's bytes.
#[derive(Clone, Debug)]
pub struct Payload {
    bytes: Vec<u8>,
    /// All but the elements.
    head: Submission,
    /// Whose it is a copy of.
    peer: Option<Peer>,
    count: u32,
    /// Where the first element starts.
    first: usize,
    /// Where the next one starts, and its number.
    at: usize,
    next: u32,
}

/// What stands before the elements.
#[derive(Deserialize)]
struct Before {
    source: SourceName,
    provider: Box<str>,
    origin: Origin,
    feed: Box<str>,
    received_at: Time,
    /// How many elements follow.
    count: u32,
}

/// What stands behind them.
#[derive(Deserialize)]
struct Behind {
    cursor: Option<Cursor>,
    released: Vec<QuarantineId>,
}

/// An element where it lies.
#[derive(Deserialize)]
struct Lying<'b> {
    context: &'b str,
    body: &'b [u8],
}

impl Payload {
    /// Looks through the bytes of a record.
    ///
    /// # Errors
    /// When they are no submission in a form that this version reads.
    pub fn open(bytes: Vec<u8>) -> Result<Payload, PayloadError> {
        let (peer, at) = match bytes.first() {
            Some(&FORM) => (None, 1),
            Some(&COPY) => take::<Peer>(&bytes, 1).map(|(peer, at)| (Some(peer), at))?,
            Some(form) if *form > NEWEST => return Err(PayloadError::Newer(*form)),
            _ => return Err(PayloadError::Strange),
        };
        let (before, mut at) = take::<Before>(&bytes, at)?;
        let first = at;
        for _ in 0..before.count {
            (_, at) = take::<Lying<'_>>(&bytes, at)?;
        }
        let (behind, _) = take::<Behind>(&bytes, at)?;
        let Before { source, provider, origin, feed, received_at, count } = before;
        let Behind { cursor, released } = behind;
        let elements = Vec::new();
        let head =
            Submission { source, provider, origin, feed, received_at, elements, cursor, released };
        Ok(Payload { bytes, head, peer, count, first, at: first, next: 0 })
    }

    /// How many bytes it has in memory.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// All of the submission but its elements.
    pub fn head(&self) -> &Submission {
        &self.head
    }

    /// Whose record it is a copy of. `None`: this host was told it itself.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// How many elements there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The number of the next element.
    pub fn next_number(&self) -> u32 {
        self.next
    }

    /// How many of its bytes lie before the next element.
    pub fn passed(&self) -> usize {
        self.at
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The next element, with its number. `None`: there are no more.
    pub fn advance(&mut self) -> Option<(u32, Element)> {
        if self.next >= self.count {
            return None;
        }
        // All of them were looked at when it was opened.
        let (lying, at) = take::<Lying<'_>>(&self.bytes, self.at).ok()?;
        let element = Element { context: lying.context.to_owned(), body: lying.body.to_vec() };
        let number = self.next;
        (self.at, self.next) = (at, number + 1);
        Some((number, element))
    }

    /// Goes to the element of that number, or behind the last one.
    pub fn go_to(&mut self, number: u32) {
        if number < self.next {
            (self.at, self.next) = (self.first, 0);
        }
        while self.next < number.min(self.count) {
            let Ok((_, at)) = take::<Lying<'_>>(&self.bytes, self.at) else { return };
            (self.at, self.next) = (at, self.next + 1);
        }
    }

    /// The element of that number. `None`: there are not so many.
    pub fn element(&mut self, number: u32) -> Option<Element> {
        self.go_to(number);
        self.advance().filter(|(found, _)| *found == number).map(|(_, element)| element)
    }
}

/// Takes one value that starts at `at`; says where it ends.
fn take<'b, T: Deserialize<'b>>(bytes: &'b [u8], at: usize) -> Result<(T, usize), PayloadError> {
    let rest = bytes.get(at..).ok_or(PayloadError::Strange)?;
    let (value, rest) = postcard::take_from_bytes(rest).map_err(|_| PayloadError::Strange)?;
    Ok((value, bytes.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(elements: u32) -> Submission {
        let element = |number: u32| Element {
            context: if number.is_multiple_of(3) { format!("id-{number}") } else { String::new() },
            body: vec![7; number as usize % 300],
        };
        Submission {
            source: SourceName::parse("a").unwrap(),
            provider: "generic".into(),
            origin: Origin::Poll,
            feed: "events".into(),
            received_at: Time::from_nanos(5, 9),
            elements: (0..elements).map(element).collect(),
            cursor: Some(Cursor { feed: "events".into(), state: "{}".into() }),
            released: vec!["1-16-0".parse().unwrap()],
        }
    }

    #[test]
    fn it_is_the_submission_piece_by_piece() {
        for count in [0, 1, 127, 128, 700] {
            let whole = submission(count);
            let mut payload = Payload::open(whole.encode()).unwrap();
            let found: Vec<Element> =
                std::iter::from_fn(|| payload.advance()).map(|(_, element)| element).collect();
            assert_eq!(found, whole.elements);
            assert_eq!(payload.head(), &Submission { elements: Vec::new(), ..whole.clone() });
            for number in [0, count / 2, count.saturating_sub(1), count, 3] {
                let expected = whole.elements.get(number as usize).cloned();
                assert_eq!(payload.element(number), expected, "{number} of {count}");
            }
        }
    }

    #[test]
    fn what_is_no_submission_is_told_from_what_is_a_newer_one() {
        let whole = submission(3).encode();
        for length in 0..whole.len() {
            let error = Payload::open(whole[..length].to_vec()).unwrap_err();
            assert_eq!(error, PayloadError::Strange, "{length}");
        }
        let form = |form: u8| Payload::open([&[form], &whole[1..]].concat()).map(|_| ());
        assert_eq!(form(0), Err(PayloadError::Strange));
        assert_eq!(form(FORM), Ok(()));
        assert_eq!(form(NEWEST + 1), Err(PayloadError::Newer(NEWEST + 1)));
    }
}
