//! Blocks of a run: sorted keys, each without what it shares with the one before, and their values.
//!
//! ```text
//! shared:u8 length of the rest:varint length of the value:varint rest value
//! ```

use std::io;
use std::ops::Range;

use crate::store::sealed::bad;

/// A block is ended when it has so many bytes.
const BYTES: usize = 4 << 10;

/// A block in the making.
#[derive(Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl Builder {
    /// Adds a key behind all before, and its value.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        let shared = if self.bytes.is_empty() { 0 } else { common(&self.last, key).min(255) };
        self.bytes.push(shared as u8);
        put_number(&mut self.bytes, key.len() - shared);
        put_number(&mut self.bytes, value.len());
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(value);
        self.last.clear();
        self.last.extend_from_slice(key);
    }

    /// The key that was put last.
    pub(super) fn last(&self) -> &[u8] {
        &self.last
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BYTES
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins the next one.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// How many bytes two keys begin with alike.
pub(super) fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

fn put_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Goes through a block.
#[derive(Default)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    at: usize,
    key: Vec<u8>,
    value: Range<usize>,
}

impl Entries {
    /// Begins with a block, or with another one.
    pub(super) fn begin(&mut self, bytes: Vec<u8>) {
        (self.bytes, self.at, self.value) = (bytes, 0, 0..0);
        self.key.clear();
    }

    /// Goes to the next entry; says whether there is one.
    ///
    /// # Errors
    /// When it is no block.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        let Some(shared) = self.bytes.get(self.at) else { return Ok(false) };
        let shared = usize::from(*shared);
        self.at += 1;
        let (rest, value) = (self.number()?, self.number()?);
        if shared > self.key.len() {
            return Err(bad());
        }
        self.key.truncate(shared);
        let rest = self.take(rest)?;
        self.key.extend_from_slice(&self.bytes[rest]);
        self.value = self.take(value)?;
        Ok(true)
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.bytes[self.value.clone()]
    }

    fn take(&mut self, length: usize) -> io::Result<Range<usize>> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let range = self.at..end.ok_or_else(bad)?;
        self.at = range.end;
        Ok(range)
    }

    fn number(&mut self) -> io::Result<usize> {
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(bad)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(number).map_err(|_| bad());
            }
        }
        Err(bad())
    }
}
