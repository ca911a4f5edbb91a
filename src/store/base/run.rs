//! A run: sorted keys and values in a file that never changes.
//!
//! ```text
//! "SUPBASE1" number:u64
//! blocks (`block.rs`), each followed by its CRC-32
//! for each block: length of its separator:u16 separator length:u32
//! the filter
//! entries:u64 blocks:u64 bytes of the blocks:u64 of the separators:u64 words of the filter:u64,
//! the CRC-32 of all but the blocks, "SUPBASE1" again
//! ```
//! Numbers are little-endian. The sum of a block covers its number too. A separator stands behind
//! all keys of the block before, and not behind the first of its own. An empty value stands for a
//! key that is gone.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::Listed;
use super::block::Entries;
use crate::store::codec::is_newer;
use crate::store::filter::{Filter, Hashes};
use crate::store::place::is_whole;
use crate::store::sealed::{Flaw, Magic, SUM, Sealed, bad, number, sum};
use crate::telemetry;

/// The last byte is the number of the form: another form takes the next.
pub(super) const MAGIC: &Magic = b"SUPBASE1";
pub(super) const HEAD: usize = 16;
const NUMBERS: usize = 40;
const FOOT: usize = NUMBERS + SUM + 8;
/// What a run is called that was found damaged.
const DAMAGED: &str = "damaged";

/// An open run.
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) listed: Listed,
    pub(super) entries: u64,
    file: File,
    /// Where each block begins, and the last ends, with its sum.
    starts: Vec<u64>,
    separators: Separators,
    filter: Filter,
    damaged: AtomicBool,
    is_ours: bool,
}

/// The separators of the blocks, one behind the other.
#[derive(Default)]
struct Separators {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Separators {
    fn push(&mut self, separator: &[u8]) {
        self.bytes.extend_from_slice(separator);
        self.ends.push(self.bytes.len());
    }

    /// How many blocks begin at or before a key.
    fn up_to(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            let start = middle.checked_sub(1).map_or(0, |before| self.ends[before]);
            if &self.bytes[start..self.ends[middle]] <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl Run {
    /// Opens one: reads and checks all but its blocks.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn open(path: &Path) -> Result<Run, Flaw> {
        let sealed = Sealed::<HEAD, FOOT>::open(path, *MAGIC)?;
        let [entries, blocks, bytes, separators, words] =
            [0, 8, 16, 24, 32].map(|at| number(&sealed.foot, at));
        let tail_at = (HEAD as u64).checked_add(bytes).ok_or_else(bad)?;
        let length = words.checked_mul(8).and_then(|filter| filter.checked_add(separators));
        let (bytes, sum) = sealed.tail(tail_at, length)?;
        let (separators, filter) = bytes.split_at(separators as usize);
        let (starts, separators) = table(separators, blocks, tail_at)?;
        Ok(Run {
            path: path.to_owned(),
            listed: Listed { number: number(&sealed.head, 8), size: sealed.size, sum },
            entries,
            file: sealed.file,
            starts,
            separators,
            filter: Filter::from_bytes(filter),
            damaged: AtomicBool::new(false),
            is_ours: false,
        })
    }

    /// The same, where it has another name by now.
    pub(super) fn renamed(self, path: &Path) -> Run {
        Run { path: path.to_owned(), ..self }
    }

    /// The same, as the store's that is open or not: damage of that is told, and the next opening
    /// misses it.
    pub(super) fn owned(self, is_ours: bool) -> Run {
        Run { is_ours, ..self }
    }

    /// Whether it is where the next start looks for it, as long as it was.
    pub(super) fn is_in_place(&self) -> bool {
        is_whole(&self.file, self.listed.size, &self.path)
    }

    /// Whether it may have a key.
    pub(super) fn may_have(&self, key: Hashes) -> bool {
        self.filter.may_have(key)
    }

    /// The value of a key; an empty one if it is gone.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(super) fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(block) = self.block_of(key) else { return Ok(None) };
        let mut entries = Entries::default();
        entries.begin(self.block(block)?);
        while self.told(entries.advance())? {
            if entries.key() >= key {
                let is_it = entries.key() == key;
                return Ok(is_it.then(|| entries.value().to_vec()));
            }
        }
        Ok(None)
    }

    /// The block that has a key, if any has.
    pub(super) fn block_of(&self, key: &[u8]) -> Option<usize> {
        self.separators.up_to(key).checked_sub(1)
    }

    pub(super) fn blocks(&self) -> usize {
        self.separators.ends.len()
    }

    /// A block, as the store reads it: damage is told.
    ///
    /// # Errors
    /// When it is damaged.
    pub(super) fn block(&self, number: usize) -> io::Result<Vec<u8>> {
        self.told(self.read(number))
    }

    /// Whether it was found damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Tells damage, once. The next opening finds no such run then.
    pub(super) fn told<T>(&self, read: io::Result<T>) -> io::Result<T> {
        read.map_err(|error| {
            if !self.damaged.swap(true, Ordering::Relaxed) && self.is_ours {
                telemetry::ingest::base_damaged(&self.path, &error.to_string());
                // It is open as long as anybody looks into it.
                let _ = fs::rename(&self.path, self.path.with_extension(DAMAGED));
            }
            let text = format!("its base {}: {error}", self.path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    /// Reads all of it from the disk, as far as the system lets us; says how many entries there
    /// are.
    ///
    /// # Errors
    /// When it is not what was written, or a newer version wrote a value.
    pub(super) fn verify(&self) -> Result<u64, Flaw> {
        self.forget_pages();
        let (mut entries, mut last, mut found) = (Entries::default(), Vec::new(), 0);
        for number in 0..self.blocks() {
            entries.begin(self.read(number)?);
            while entries.advance()? {
                let (key, value) = (entries.key(), entries.value());
                if found > 0 && last.as_slice() >= key || self.block_of(key) != Some(number) {
                    return Err(bad().into());
                }
                if let (Some(prefix), Some(form)) = (key.first(), value.first())
                    && is_newer(*prefix, *form)
                {
                    return Err(Flaw::Newer);
                }
                last.clear();
                last.extend_from_slice(key);
                found += 1;
            }
        }
        if found == self.entries { Ok(found) } else { Err(bad().into()) }
    }

    fn forget_pages(&self) {
        // Where it is not possible, memory is read, which is better than nothing.
        let _ = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }

    fn read(&self, block: usize) -> io::Result<Vec<u8>> {
        let (Some(start), Some(end)) = (self.starts.get(block), self.starts.get(block + 1)) else {
            return Err(bad());
        };
        let mut bytes = vec![0; (end - start) as usize];
        self.file.read_exact_at(&mut bytes, *start)?;
        let stored = bytes.split_off(bytes.len() - SUM);
        if stored == sum(block as u64, &bytes).to_le_bytes() { Ok(bytes) } else { Err(bad()) }
    }
}

/// Where the blocks are, and what separates them, as it is stored.
fn table(mut bytes: &[u8], blocks: u64, end: u64) -> io::Result<(Vec<u64>, Separators)> {
    let (mut starts, mut separators) = (vec![HEAD as u64], Separators::default());
    let mut at = HEAD as u64;
    for _ in 0..blocks {
        let (length, rest) = bytes.split_first_chunk().ok_or_else(bad)?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (separator, rest) = rest.split_at_checked(length).ok_or_else(bad)?;
        let (length, rest) = rest.split_first_chunk().ok_or_else(bad)?;
        at += u64::from(u32::from_le_bytes(*length)) + SUM as u64;
        starts.push(at);
        separators.push(separator);
        bytes = rest;
    }
    if bytes.is_empty() && at == end { Ok((starts, separators)) } else { Err(bad()) }
}
