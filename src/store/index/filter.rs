//! Which events a run may have, in ten bits each: most that are asked for are new, and no run has
//! them.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler 2007): all bits of an event are in one line of
//! the processor's cache. An event is two hashes already, so nothing is hashed here.

use super::row::Event;

/// Words of 64 bits to a block.
const BLOCK: usize = 8;
/// Events for which a block has room, and bits that each sets in it.
const EVENTS: u64 = 51;
const BITS: u32 = 7;

/// The filter of a run.
pub(super) struct Filter(Vec<u64>);

impl Filter {
    /// One for so many events.
    pub(super) fn new(events: u64) -> Filter {
        Filter(vec![0; events.div_ceil(EVENTS) as usize * BLOCK])
    }

    /// From its words, as they are stored.
    pub(super) fn from_bytes(bytes: &[u8]) -> Filter {
        let words = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
        Filter(words.collect())
    }

    pub(super) fn bytes(&self) -> impl Iterator<Item = [u8; 8]> {
        self.0.iter().map(|word| word.to_le_bytes())
    }

    pub(super) fn insert(&mut self, event: &Event) {
        let (block, bits) = self.place(event);
        for bit in bits {
            if let Some(word) = self.0.get_mut(block + bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// Whether it may have been inserted.
    pub(super) fn may_have(&self, event: &Event) -> bool {
        let (block, mut bits) = self.place(event);
        bits.all(|bit| self.0.get(block + bit / 64).is_none_or(|word| word >> (bit % 64) & 1 == 1))
    }

    /// The first word of an event's block, and its bits there.
    fn place(&self, event: &Event) -> (usize, impl Iterator<Item = usize> + use<>) {
        let part = |at: usize| event[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let (hash, bits) = (part(0) ^ part(8), part(16));
        let blocks = self.0.len() / BLOCK;
        let block = ((u128::from(hash) * blocks as u128) >> 64) as usize * BLOCK;
        (block, (0..BITS).map(move |bit| (bits >> (bit * 9) & 511) as usize))
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn event(number: u32) -> Event {
        let digest = Sha256::digest(number.to_le_bytes());
        digest[..24].try_into().unwrap()
    }

    #[test]
    fn what_was_inserted_is_never_denied_and_little_else_is_not() {
        let mut filter = Filter::new(20_000);
        (0..20_000).for_each(|number| filter.insert(&event(number)));
        let bytes: Vec<u8> = filter.bytes().flatten().collect();
        assert!(bytes.len() < 26_000, "ten bits each");
        let filter = Filter::from_bytes(&bytes);
        assert!((0..20_000).all(|number| filter.may_have(&event(number))));
        let wrong = (20_000..120_000).filter(|number| filter.may_have(&event(*number))).count();
        assert!(wrong < 2_000, "{wrong} of 100,000");
    }
}
