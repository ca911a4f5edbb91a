//! Which addresses may have a standing, in two bytes each. Most lookups and most new events are of
//! others, and need not ask sled.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler 2007) of the standings' keys that grows by
//! parts. It never denies one that is there: until all of the store is in it, it denies none.

use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::StoreError;
use super::keys::STANDING;
use super::scan::Scan;

/// Keys for which the first part has room at least, and at most. Each further one has twice that.
const ROOM_MIN: u64 = 1 << 16;
const ROOM_MAX: u64 = 1 << 24;
/// More parts than any store can fill.
const PARTS: usize = 40;
/// Keys to a word of 64 bits, and the bits that each sets there.
const KEYS_PER_WORD: u64 = 4;
const BITS: u32 = 4;

/// The keys that may be there.
pub(super) struct Known {
    /// Keys for which the first part has room.
    room: u64,
    parts: [OnceLock<Part>; PARTS],
    /// Every key of the store is in it.
    whole: AtomicBool,
}

struct Part {
    words: Box<[AtomicU64]>,
    keys: AtomicU64,
}

impl Known {
    /// An empty one, for a store that has that many standings.
    pub(super) fn new(standings: u64) -> Known {
        // What is there, and a quarter more.
        let room = standings.saturating_add(standings / 4).clamp(ROOM_MIN, ROOM_MAX);
        Known { room, parts: [const { OnceLock::new() }; PARTS], whole: AtomicBool::new(false) }
    }

    /// Reads what is stored under any key, unless it is a standing's that is surely not there.
    ///
    /// # Errors
    /// When the store is damaged.
    pub(super) fn get(&self, tree: &sled::Tree, key: &[u8]) -> sled::Result<Option<sled::IVec>> {
        let is_denied = key.first() == Some(&STANDING) && !self.may_have(key);
        if is_denied { Ok(None) } else { tree.get(key) }
    }

    /// Notes a key, before it can be read; none but a standing's is kept.
    pub(super) fn insert(&self, key: &[u8]) {
        if key.first() != Some(&STANDING) {
            return;
        }
        let (hash, mut room) = (hash(key), self.room);
        for part in &self.parts {
            let part = part.get_or_init(|| Part::new(room));
            if part.keys.load(Ordering::Relaxed) < room {
                return part.insert(hash);
            }
            room *= 2;
        }
    }

    /// Whether there may be a standing of that key.
    fn may_have(&self, key: &[u8]) -> bool {
        if !self.whole.load(Ordering::Acquire) {
            return true;
        }
        let hash = hash(key);
        self.parts.iter().map_while(OnceLock::get).any(|part| part.may_have(hash))
    }

    /// Reads every standing's key of a store into it. Ends early when nobody else has it any more.
    ///
    /// # Errors
    /// When the store is damaged: it never becomes whole then.
    pub(super) fn fill(known: &Weak<Known>, mut scan: Scan) -> Result<(), StoreError> {
        loop {
            let Some(known) = known.upgrade() else { return Ok(()) };
            let insert = &mut |key: &[u8], _: &[u8]| {
                known.insert(key);
                Ok(())
            };
            if !scan.more(insert)? {
                known.whole.store(true, Ordering::Release);
                return Ok(());
            }
        }
    }
}

impl Part {
    fn new(room: u64) -> Part {
        let words = (0..room.div_ceil(KEYS_PER_WORD)).map(|_| AtomicU64::new(0)).collect();
        Part { words, keys: AtomicU64::new(0) }
    }

    fn insert(&self, hash: u64) {
        let (word, bits) = self.place(hash);
        if let Some(word) = self.words.get(word) {
            word.fetch_or(bits, Ordering::Relaxed);
        }
        self.keys.fetch_add(1, Ordering::Relaxed);
    }

    fn may_have(&self, hash: u64) -> bool {
        let (word, bits) = self.place(hash);
        self.words.get(word).is_none_or(|word| word.load(Ordering::Relaxed) & bits == bits)
    }

    /// The word that has the bits of a key, and these.
    fn place(&self, hash: u64) -> (usize, u64) {
        let word = (u128::from(hash) * self.words.len() as u128) >> 64;
        let bits = (0..BITS).map(|bit| 1 << (hash >> (bit * 6) & 63)).fold(0, |a, b: u64| a | b);
        (word as usize, bits)
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

/// Fills it beside everything else.
pub(super) fn fill_beside(known: &Arc<Known>, scan: Scan) {
    let known = Arc::downgrade(known);
    // Without the thread, or if it fails, every key may be there, as before. Whoever reads the
    // same damage next shows it.
    let _ = std::thread::Builder::new().name("known".to_owned()).spawn(move || {
        let _ = Known::fill(&known, scan);
    });
}

#[cfg(test)]
mod tests {
    use super::super::codec::encode;
    use super::*;
    use crate::model::Standing;

    fn key(number: u32) -> Vec<u8> {
        [&[STANDING], format!("user-{number}@x.test\0").as_bytes()].concat()
    }

    #[test]
    fn what_is_there_is_never_denied_and_little_else_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let db = sled::open(directory.path()).unwrap();
        let standing = encode(&Standing::default());
        (0..10_000).for_each(|number| drop(db.insert(key(number), &*standing).unwrap()));
        db.insert(b"r", b"").unwrap();
        db.insert(b"t", b"").unwrap();
        let known = Arc::new(Known::new(0));
        assert!(known.may_have(&key(77_777)), "nobody knows yet");
        Known::fill(&Arc::downgrade(&known), Scan::new(None, (*db).clone())).unwrap();
        // Into more parts than one.
        (10_000..300_000).for_each(|number| known.insert(&key(number)));
        assert!(known.parts[1].get().is_some());
        assert!((0..300_000).all(|number| known.may_have(&key(number))));
        let wrong = (300_000..400_000).filter(|number| known.may_have(&key(*number))).count();
        assert!(wrong < 4_000, "{wrong} of 100,000");
    }

    #[test]
    fn one_that_nobody_has_is_not_filled() {
        let directory = tempfile::tempdir().unwrap();
        let db = sled::open(directory.path()).unwrap();
        let known = Arc::new(Known::new(0));
        let weak = Arc::downgrade(&known);
        drop(known);
        assert_eq!(Known::fill(&weak, Scan::new(None, (*db).clone())), Ok(()));
    }
}
