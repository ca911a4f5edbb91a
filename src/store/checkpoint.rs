//! Checkpoints: the whole store in one plain file, from which it can be made again.
//!
//! ```text
//! "SUPCKPT1" position:u64, then for each key: length:u16 length:u32 key value,
//! then 0xffff, the number of keys:u64, and the CRC-32 of all before it:u32
//! ```
//! Numbers are little-endian. The two newest are kept; the journal is never trimmed past the older.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::codec::{EventRef, decode};
use super::keys::{COUNTS, EVENT, META};
use super::{StoreError, open::Loader};
use crate::model::{Position, Time};

const MAGIC: &[u8; 8] = b"SUPCKPT1";
const END: u16 = u16::MAX;
const SUFFIX: &str = "checkpoint";
/// The ending of one that is being written.
pub(super) const DRAFT: &str = "draft";
/// How many are kept.
const KEPT: usize = 2;
/// Longest value that is believed, in bytes: standings are bounded far below.
const VALUE_MAX: u32 = 1 << 20;

/// The start of a checkpoint. The store goes on changing while it is written: merging is
/// idempotent, so what is newer does no harm. Only what is counted must be as it was here.
pub struct Snapshot {
    tree: sled::Tree,
    applied: Position,
    counts: Vec<(Vec<u8>, Vec<u8>)>,
    earlier: Arc<Earlier>,
}

/// The events that were told in another way too since a snapshot was taken, as they were there:
/// when the journal tells it again, that must be news again to be counted.
#[derive(Default)]
pub(super) struct Earlier(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

impl Earlier {
    /// Keeps the value that a key had, unless it changed before.
    pub(super) fn note(&self, key: &[u8], value: &[u8]) {
        if key.first() == Some(&EVENT) {
            self.values().entry(key.to_vec()).or_insert_with(|| value.to_vec());
        }
    }

    fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.values().get(key).cloned()
    }

    fn values(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Vec<u8>>> {
        // A panic while holding it leaves the map as good as it was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    pub(super) fn take(tree: &sled::Tree, applied: Position) -> Result<Snapshot, StoreError> {
        let mut counts = Vec::new();
        for pair in tree.scan_prefix([COUNTS]) {
            let (key, value) = pair?;
            counts.push((key.to_vec(), value.to_vec()));
        }
        Ok(Snapshot { tree: tree.clone(), applied, counts, earlier: Arc::default() })
    }

    /// Where changes are to be noted as long as this is being written.
    pub(super) fn earlier(&self) -> Weak<Earlier> {
        Arc::downgrade(&self.earlier)
    }

    /// The position it stands for.
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// Writes it into `dir`, and removes the oldest beyond those that are kept.
    ///
    /// # Errors
    /// When the disk fails or the store is damaged; then there is no new file.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = path(dir, self.applied);
        let draft = path.with_extension(DRAFT);
        let written = self.write_draft(&draft);
        if written.is_err() {
            // Where there was no room, half of it must not take what there is.
            let _ = fs::remove_file(&draft);
        }
        written?;
        fs::rename(&draft, &path)?;
        File::open(dir)?.sync_all()?;
        for old in list(dir)?.iter().rev().skip(KEPT) {
            fs::remove_file(self::path(dir, *old))?;
        }
        Ok(())
    }

    fn write_draft(&self, draft: &Path) -> io::Result<()> {
        let mut out = Sink { out: BufWriter::new(File::create(draft)?), crc: Default::default() };
        out.put(MAGIC)?;
        out.put(&self.applied.as_u64().to_le_bytes())?;
        let mut number: u64 = 0;
        for (key, value) in &self.counts {
            out.pair(key, value)?;
            number += 1;
        }
        for pair in &self.tree {
            let (key, value) = pair.map_err(io::Error::other)?;
            if self.leaves_out(&key, &value) {
                continue;
            }
            // Looked up behind the read: what is changed is noted before.
            let earlier = self.earlier.value(&key);
            out.pair(&key, earlier.as_deref().unwrap_or(&value))?;
            number += 1;
        }
        out.put(&END.to_le_bytes())?;
        out.put(&number.to_le_bytes())?;
        let crc = out.crc.clone().finalize();
        out.put(&crc.to_le_bytes())?;
        out.out.into_inner().map_err(|error| error.into_error())?.sync_all()
    }

    /// Counts were taken at the start; events that are newer come again from the journal, and
    /// must then be new to be counted.
    fn leaves_out(&self, key: &[u8], value: &[u8]) -> bool {
        match key.first() {
            Some(&COUNTS) => true,
            Some(&EVENT) => {
                decode::<EventRef>(value).is_ok_and(|entry| entry.record >= self.applied)
            }
            _ => key == META,
        }
    }
}

/// Removes what a crash in the middle of writing has left.
pub(super) fn remove_drafts(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == DRAFT) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The position up to which the journal may be trimmed: that of the older of two checkpoints, if
/// both were written after `since`. By a clock that has just been set ahead they were not, and
/// nothing is old that seems to be.
///
/// # Errors
/// When the directory cannot be read.
pub fn trim_point(dir: &Path, since: Time) -> io::Result<Option<Position>> {
    let positions = list(dir)?;
    let Some(older) = positions.iter().rev().nth(KEPT - 1) else { return Ok(None) };
    for position in positions.iter().rev().take(KEPT) {
        if fs::metadata(path(dir, *position))?.mtime() < since.second() {
            return Ok(None);
        }
    }
    Ok(Some(*older))
}

/// The position of the newest checkpoint.
///
/// # Errors
/// When the directory cannot be read.
pub fn newest_checkpoint(dir: &Path) -> io::Result<Option<Position>> {
    Ok(list(dir)?.last().copied())
}

/// Loads the newest checkpoint that is whole; says its position. `None`: there is none.
pub(super) fn load(dir: &Path, loader: &mut Loader<'_>) -> Result<Option<Position>, StoreError> {
    for position in list(dir)?.into_iter().rev() {
        let path = path(dir, position);
        // Checked whole before a key of it is taken.
        if read(&path, &mut |_, _| Ok(())).is_ok() {
            read(&path, &mut |key, value| loader.put(key, value).map_err(io::Error::other))?;
            return Ok(Some(position));
        }
    }
    Ok(None)
}

/// What is done with each key and its value.
type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> io::Result<()>;

fn read(path: &Path, each: Each<'_>) -> io::Result<()> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a whole checkpoint");
    let mut input = Source { input: BufReader::new(File::open(path)?), crc: Default::default() };
    if &input.take::<8>()? != MAGIC {
        return Err(bad());
    }
    input.take::<8>()?;
    let mut number: u64 = 0;
    loop {
        let key_length = u16::from_le_bytes(input.take()?);
        if key_length == END {
            break;
        }
        let value_length = u32::from_le_bytes(input.take()?);
        if value_length > VALUE_MAX {
            return Err(bad());
        }
        let key = input.bytes(usize::from(key_length))?;
        let value = input.bytes(value_length as usize)?;
        each(&key, &value)?;
        number += 1;
    }
    let expected = u64::from_le_bytes(input.take()?);
    let crc = input.crc.clone().finalize();
    if expected != number || u32::from_le_bytes(input.take()?) != crc {
        return Err(bad());
    }
    Ok(())
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
        let key_length = u16::try_from(key.len()).map_err(io::Error::other)?;
        let value_length = u32::try_from(value.len()).map_err(io::Error::other)?;
        self.put(&key_length.to_le_bytes())?;
        self.put(&value_length.to_le_bytes())?;
        self.put(key)?;
        self.put(value)
    }
}

struct Source {
    input: BufReader<File>,
    crc: crc32fast::Hasher,
}

impl Source {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.crc.update(&bytes);
        Ok(bytes)
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes)?;
        self.crc.update(&bytes);
        Ok(bytes)
    }
}

fn path(dir: &Path, position: Position) -> PathBuf {
    dir.join(format!("{:010}-{:010}.{SUFFIX}", position.segment, position.offset))
}

/// The positions of the checkpoints in a directory, ascending.
fn list(dir: &Path) -> io::Result<Vec<Position>> {
    let mut positions = Vec::new();
    if !dir.exists() {
        return Ok(positions);
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some((stem, SUFFIX)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        let Some((segment, offset)) = stem.split_once('-') else { continue };
        if let (Ok(segment), Ok(offset)) = (segment.parse(), offset.parse()) {
            positions.push(Position { segment, offset });
        }
    }
    positions.sort_unstable();
    Ok(positions)
}
