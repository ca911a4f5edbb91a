//! What a run may have, in ten bits each: most of what is asked for is in none of them.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler 2007): all bits of an entry are in one line of
//! the processor's cache. It is stored, so both hashes must be the same for good.

/// Words of 64 bits to a block.
const BLOCK: usize = 8;
/// Entries for which a block has room, and bits that each sets in it.
const ENTRIES: u64 = 51;
const BITS: u32 = 7;

/// Two hashes of an entry: the one finds its block, the other its bits there.
pub(super) type Hashes = (u64, u64);

/// The filter of a run.
pub(super) struct Filter(Vec<u64>);

impl Filter {
    /// One for so many entries. With more, it denies less.
    pub(super) fn new(entries: u64) -> Filter {
        Filter(vec![0; entries.div_ceil(ENTRIES) as usize * BLOCK])
    }

    /// From its words, as they are stored.
    pub(super) fn from_bytes(bytes: &[u8]) -> Filter {
        let words = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
        Filter(words.collect())
    }

    pub(super) fn bytes(&self) -> impl Iterator<Item = [u8; 8]> {
        self.0.iter().map(|word| word.to_le_bytes())
    }

    pub(super) fn insert(&mut self, entry: Hashes) {
        let (block, bits) = self.place(entry);
        for bit in bits {
            if let Some(word) = self.0.get_mut(block + bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// Whether it may have been inserted.
    pub(super) fn may_have(&self, entry: Hashes) -> bool {
        let (block, mut bits) = self.place(entry);
        bits.all(|bit| self.0.get(block + bit / 64).is_none_or(|word| word >> (bit % 64) & 1 == 1))
    }

    /// The first word of an entry's block, and its bits there.
    fn place(&self, (hash, bits): Hashes) -> (usize, impl Iterator<Item = usize> + use<>) {
        let blocks = self.0.len() / BLOCK;
        let block = ((u128::from(hash) * blocks as u128) >> 64) as usize * BLOCK;
        (block, (0..BITS).map(move |bit| (bits >> (bit * 9) & 511) as usize))
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn entry(number: u32) -> Hashes {
        let digest = Sha256::digest(number.to_le_bytes());
        let part = |at: usize| u64::from_le_bytes(digest[at..at + 8].try_into().unwrap());
        (part(0), part(8))
    }

    #[test]
    fn what_was_inserted_is_never_denied_and_little_else_is_not() {
        let mut filter = Filter::new(20_000);
        (0..20_000).for_each(|number| filter.insert(entry(number)));
        let bytes: Vec<u8> = filter.bytes().flatten().collect();
        assert!(bytes.len() < 26_000, "ten bits each");
        let filter = Filter::from_bytes(&bytes);
        assert!((0..20_000).all(|number| filter.may_have(entry(number))));
        let wrong = (20_000..120_000).filter(|number| filter.may_have(entry(*number))).count();
        assert!(wrong < 2_000, "{wrong} of 100,000");
    }
}
