//! Checkpoints: the whole store in one plain file, from which it can be made again.
//!
//! ```text
//! "SUPCKPT2" position:u64, then for each key: length:u16 length:u32 key value,
//! then 0xffff, the number of keys:u64, and the CRC-32 of all before it:u32
//! ```
//! Numbers are little-endian. The first form had events and messages in it. Keys of standings are
//! in order. `Checkpoints` (`checkpoints.rs`) knows which there are.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::base::Base;
use super::codec::{is_newer, is_newer_form};
use super::keys::{CHANGED, COUNTS, EVENT, FLEET, HOLD, MESSAGE, META, QUIET, RUNS, STANDING};
use super::{StoreError, open::Loader};
use crate::journal::{create_private, open_regular};
use crate::model::Position;

/// The last byte is the number of the form: another form takes the next.
const MAGIC: &[u8; 8] = b"SUPCKPT2";
const FIRST_MAGIC: &[u8; 8] = b"SUPCKPT1";
const END: u16 = u16::MAX;
/// Longest key, in bytes: the next number means the end. For writing and reading.
const KEY_BYTES_MAX: u16 = END - 1;
/// Longest value, in bytes: what its number can say. For writing and reading: whatever the store
/// holds must be able to come back, and the checksum vouches for the length as for the rest.
const VALUE_BYTES_MAX: u32 = u32::MAX;
/// Bytes looked through at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Why a checkpoint is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Flaw {
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// A newer version wrote it, or a value in it.
    #[error("it was written by a newer version of suppressd")]
    Newer,
    /// It cannot be opened.
    #[error("it cannot be opened: {0}")]
    Closed(io::Error),
}

fn damaged(why: &str) -> Flaw {
    Flaw::Damaged(why.to_owned())
}

/// Keys whose values a checkpoint has as they were at its start.
const FIXED: [u8; 3] = [COUNTS, FLEET, HOLD];

/// The start of a checkpoint. The store goes on changing while it is written: merging is
/// idempotent, so what is newer does no harm. Only what is counted, the rule for masses, and how
/// much is known of other hosts must be as it was here.
pub struct Snapshot {
    tree: sled::Tree,
    base: Arc<Base>,
    applied: Position,
    fixed: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Snapshot {
    pub(super) fn take(
        tree: &sled::Tree,
        base: &Arc<Base>,
        applied: Position,
    ) -> Result<Snapshot, StoreError> {
        let mut fixed = Vec::new();
        for pair in FIXED.into_iter().flat_map(|prefix| tree.scan_prefix([prefix])) {
            let (key, value) = pair?;
            fixed.push((key.to_vec(), value.to_vec()));
        }
        Ok(Snapshot { tree: tree.clone(), base: Arc::clone(base), applied, fixed })
    }

    /// The position it stands for.
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// Writes it, synced; says how many keys it has.
    ///
    /// # Errors
    /// When the disk fails or the store is damaged.
    pub(super) fn write_draft(&self, draft: &Path) -> io::Result<u64> {
        let mut out = Sink { out: BufWriter::new(create_private(draft)?), crc: Default::default() };
        out.put(MAGIC)?;
        out.put(&self.applied.as_u64().to_le_bytes())?;
        let mut number: u64 = 0;
        for (key, value) in &self.fixed {
            out.pair(key, value)?;
            number += 1;
        }
        for pair in &self.tree {
            let (key, value) = pair.map_err(io::Error::other)?;
            let is_fixed = key.first().is_some_and(|prefix| FIXED.contains(prefix));
            if !is_left_out(&key) && !is_fixed {
                out.pair(&key, &value)?;
                number += 1;
            }
        }
        for prefix in [QUIET, STANDING] {
            let mut scan = self.base.scan_prefix(prefix);
            while scan.advance().map_err(io::Error::other)? {
                out.pair(scan.key(), scan.value())?;
                number += 1;
            }
        }
        out.put(&END.to_le_bytes())?;
        out.put(&number.to_le_bytes())?;
        let crc = out.crc.clone().finalize();
        out.put(&crc.to_le_bytes())?;
        out.out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        Ok(number)
    }
}

/// The position has a place of its own; the runs, and what has changed beside them, are of the
/// store itself; events and messages of earlier versions are in the index.
pub(super) fn is_left_out(key: &[u8]) -> bool {
    matches!(key.first(), Some(&CHANGED | &EVENT | &MESSAGE)) || key == META || key == RUNS
}

/// Reads a checkpoint to its end, and nothing of it is taken; says how many keys it has. It is read
/// from the disk, as far as the system lets us: what was written a moment ago is still in memory.
///
/// # Errors
/// When it is not whole, or not of this position.
pub(super) fn verify(path: &Path, position: Position) -> Result<u64, Flaw> {
    let mut input = Source::open(path, position)?;
    let mut number = 0;
    while let Some((key_length, value_length)) = input.lengths()? {
        let prefix = input.skip(u64::from(key_length))?;
        let form = input.skip(u64::from(value_length))?;
        if let (Some(prefix), Some(form)) = (prefix, form)
            && is_newer(prefix, form)
        {
            input.has_newer = true;
        }
        number += 1;
    }
    input.end(number)?;
    // Nobody else reads it soon.
    forget_pages(input.input.get_ref());
    Ok(number)
}

/// Puts every key of a checkpoint into an empty store. It was verified before.
///
/// # Errors
/// When it is not what it was then, or the store takes no more.
pub(super) fn load(
    path: &Path,
    position: Position,
    loader: &mut Loader<'_>,
) -> Result<(), StoreError> {
    let mut input = Source::open(path, position)?;
    let mut number = 0;
    while let Some((key_length, value_length)) = input.lengths()? {
        let key = input.bytes(u64::from(key_length))?;
        let value = input.bytes(u64::from(value_length))?;
        if !is_left_out(&key) {
            loader.put(&key, &value)?;
        }
        number += 1;
    }
    Ok(input.end(number)?)
}

impl From<Flaw> for StoreError {
    fn from(flaw: Flaw) -> StoreError {
        match flaw {
            Flaw::Newer => StoreError::Newer("the checkpoint".to_owned()),
            flaw => StoreError::Damaged(format!("the checkpoint: {flaw}")),
        }
    }
}

/// Lets the next reading of a synced file be one of the disk.
fn forget_pages(file: &File) {
    // Where it is not possible, memory is read, which is better than nothing.
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

struct Sink {
    out: BufWriter<File>,
    crc: crc32fast::Hasher,
}

impl Sink {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.out.write_all(bytes)
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let too_long = || io::Error::other("a key or value is longer than a checkpoint can hold");
        let key_length = u16::try_from(key.len()).ok().filter(|length| *length <= KEY_BYTES_MAX);
        let fits = value.len() as u64 <= u64::from(VALUE_BYTES_MAX);
        let value_length = fits.then_some(value.len() as u32);
        self.put(&key_length.ok_or_else(too_long)?.to_le_bytes())?;
        self.put(&value_length.ok_or_else(too_long)?.to_le_bytes())?;
        self.put(key)?;
        self.put(value)
    }
}

struct Source {
    input: BufReader<File>,
    crc: crc32fast::Hasher,
    /// Bytes that are still to come: no length goes beyond them, so none asks for too much memory.
    left: u64,
    has_newer: bool,
}

impl Source {
    /// Opens one, behind its head.
    fn open(path: &Path, position: Position) -> Result<Source, Flaw> {
        let file = open_regular(path, false).map_err(Flaw::Closed)?;
        forget_pages(&file);
        let left = file.metadata().map_err(Flaw::Closed)?.len();
        let input = BufReader::with_capacity(CHUNK_BYTES, file);
        let mut source = Source { input, crc: Default::default(), left, has_newer: false };
        let magic = source.take::<8>()?;
        if is_newer_form(magic, *MAGIC) {
            return Err(Flaw::Newer);
        }
        if ![MAGIC, FIRST_MAGIC].contains(&&magic) {
            return Err(damaged("it does not begin as a checkpoint does"));
        }
        if u64::from_le_bytes(source.take()?) != position.as_u64() {
            return Err(damaged("it stands for another position than its name says"));
        }
        Ok(source)
    }

    /// The lengths of the next key and its value. `None`: there is none any more.
    fn lengths(&mut self) -> Result<Option<(u16, u32)>, Flaw> {
        let key_length = u16::from_le_bytes(self.take()?);
        if key_length == END {
            return Ok(None);
        }
        Ok(Some((key_length, u32::from_le_bytes(self.take()?))))
    }

    /// What follows the last key.
    fn end(&mut self, number: u64) -> Result<(), Flaw> {
        if u64::from_le_bytes(self.take()?) != number {
            return Err(damaged("it does not have as many keys as it says"));
        }
        let crc = self.crc.clone().finalize();
        if u32::from_le_bytes(self.take()?) != crc || self.left != 0 {
            return Err(damaged("its checksum does not agree with its content"));
        }
        if self.has_newer { Err(Flaw::Newer) } else { Ok(()) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Flaw> {
        self.check(length)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Passes over some bytes, which count in the checksum; says the first of them.
    fn skip(&mut self, length: u64) -> Result<Option<u8>, Flaw> {
        self.check(length)?;
        let mut chunk = [0; 4096];
        let (mut first, mut left) = (None, length);
        while left > 0 {
            let part = &mut chunk[..left.min(4096) as usize];
            self.fill(part)?;
            left -= part.len() as u64;
            first = first.or(part.first().copied());
        }
        Ok(first)
    }

    fn check(&self, length: u64) -> Result<(), Flaw> {
        if length > self.left { Err(damaged("it ends too soon")) } else { Ok(()) }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Flaw> {
        self.check(bytes.len() as u64)?;
        let unread = |error| Flaw::Damaged(format!("it cannot be read: {error}"));
        self.input.read_exact(bytes).map_err(unread)?;
        self.left -= bytes.len() as u64;
        self.crc.update(bytes);
        Ok(())
    }
}
