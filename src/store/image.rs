//! The image: every standing once more, in a plain file in sled's order, for whoever wants all of
//! them. sled takes a microsecond and more to fetch one, a file a small part of that.
//!
//! ```text
//! "SUPIMAG1", then blocks: length:u32 CRC-32:u32, and in each for each standing length:u16
//! length:u32 key gist. A stop in good order adds what is left to know: a `Left`, its length:u32,
//! its CRC-32:u32, and "SUPIMAG1" again
//! ```
//! Numbers are little-endian. Nothing rests on it: without it, or where it is damaged, sled is asked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use super::codec::{decode, encode};
use super::keys::STANDING;
use super::{StoreError, reader::strange_key};
use crate::model::{Gist, Position, Standing};

const MAGIC: &[u8; 8] = b"SUPIMAG1";
/// A block is ended when it has this many bytes.
const BLOCK_BYTES: usize = 64 << 10;
/// Longest block that is believed, in bytes: a standing is bounded far below.
const BLOCK_BYTES_MAX: u32 = 4 << 20;
/// Length and checksum of a block, in bytes.
const HEAD_BYTES: usize = 8;
/// Length, checksum and magic number behind a `Left`, in bytes.
const TAIL_BYTES: usize = 16;
/// Rows of sled that are read at once.
const ROWS: usize = 512;
/// As soon as an eighth of the standings has changed, but within these bounds, a new image is
/// wanted. With twice that, there is none any more: what has changed is kept in memory.
const CHANGED_MIN: u64 = 1 << 15;
const CHANGED_MAX: u64 = 1 << 18;

/// The standings that have changed since an image was begun: by their keys their gists, as they are
/// stored in it; `None` for one that is gone.
type Changes = BTreeMap<Box<[u8]>, Option<Box<[u8]>>>;
type Changed = Mutex<Changes>;

/// What is done with the key of each standing, and its gist.
type Each<'a> = &'a mut dyn FnMut(&[u8], &Gist<'_>) -> Result<(), StoreError>;

/// The image that there is, and the one that is being written.
pub(super) struct Images {
    path: PathBuf,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    image: Option<Arc<Image>>,
    /// What has changed since the next one was begun.
    next: Option<Arc<Changed>>,
}

/// A whole image.
pub(super) struct Image {
    file: File,
    /// Where its blocks end, in bytes.
    end: u64,
    rows: u64,
    changed: Arc<Changed>,
    /// A block of it could not be read.
    damaged: AtomicBool,
}

/// What the next start has to know of an image.
#[derive(Serialize, Deserialize)]
struct Left {
    /// Of which state of the store it is, with what has changed.
    applied: Position,
    end: u64,
    rows: u64,
    changed: Changes,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding it leaves each as good as it was.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bad() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a whole image of the standings")
}

impl Images {
    /// Goes on with an image, or with none.
    pub(super) fn new(path: PathBuf, image: Option<Image>) -> Images {
        if image.is_none() {
            // Should it stay, it does not pass for one of this store.
            let _ = fs::remove_file(&path);
        }
        let now = Now { image: image.map(Arc::new), next: None };
        Images { path, now: Mutex::new(now) }
    }

    fn current(&self) -> Option<Arc<Image>> {
        locked(&self.now).image.clone().filter(|image| !image.damaged.load(Ordering::Relaxed))
    }

    /// Notes what is about to change: keys, and their values as they will be.
    ///
    /// # Errors
    /// When a value has not the form of a standing.
    pub(super) fn note<'k>(
        &self,
        changes: impl Iterator<Item = (&'k [u8], Option<&'k [u8]>)>,
    ) -> Result<(), StoreError> {
        let mut now = locked(&self.now);
        let Now { image, next } = &mut *now;
        let changed = image.as_ref().map(|image| &image.changed);
        let mut sets: Vec<_> = changed.into_iter().chain(&*next).map(|set| locked(set)).collect();
        if sets.is_empty() {
            return Ok(());
        }
        for (key, value) in changes.filter(|(key, _)| key.first() == Some(&STANDING)) {
            let standing = value.map(decode::<Standing>).transpose()?;
            let gist = standing.map(|standing| Box::from(encode(&Gist::of(&standing))));
            for set in &mut sets {
                set.insert(key.into(), gist.clone());
            }
        }
        drop(sets);
        image.take_if(|image| image.changes() >= 2 * room(image.rows));
        next.take_if(|next| locked(next).len() as u64 >= 2 * CHANGED_MAX);
        Ok(())
    }

    /// Begins the next image, if one is wanted.
    pub(super) fn next(images: &Arc<Images>, tree: &sled::Tree) -> Option<NextImage> {
        let mut now = locked(&images.now);
        now.image.take_if(|image| image.damaged.load(Ordering::Relaxed));
        let wanted = now.image.as_ref().is_none_or(|image| image.changes() >= room(image.rows));
        if !wanted || now.next.is_some() {
            return None;
        }
        let changed = Arc::<Changed>::default();
        now.next = Some(Arc::clone(&changed));
        let scan = Scan::new(now.image.clone(), tree.clone());
        Some(NextImage { images: Arc::downgrade(images), path: images.path.clone(), changed, scan })
    }

    /// Leaves what the next start has to know, and wants no other image any more.
    ///
    /// # Errors
    /// When the disk fails: the next start does without.
    pub(super) fn leave(&self, applied: Position) -> io::Result<()> {
        let mut now = locked(&self.now);
        now.next = None;
        now.image.as_ref().map_or(Ok(()), |image| image.leave(applied))
    }

    fn is_next(&self, changed: &Arc<Changed>) -> bool {
        locked(&self.now).next.as_ref().is_some_and(|next| Arc::ptr_eq(next, changed))
    }
}

/// How many standings may have changed beside an image of that many.
fn room(rows: u64) -> u64 {
    (rows / 8).clamp(CHANGED_MIN, CHANGED_MAX)
}

/// An image that is to be written beside everything else.
pub struct NextImage {
    images: Weak<Images>,
    path: PathBuf,
    changed: Arc<Changed>,
    scan: Scan,
}

impl NextImage {
    /// Writes it, and puts it in place of the one before. Ends early when nobody wants it any more.
    ///
    /// # Errors
    /// When the disk fails or the store is damaged: there is none then, or the one before.
    pub fn write(mut self) -> Result<(), StoreError> {
        let mut draft = Draft::begin(&self.path);
        loop {
            let images = self.images.upgrade();
            if !images.is_some_and(|images| images.is_next(&self.changed)) {
                return Ok(());
            }
            let put = &mut |key: &[u8], gist: &Gist<'_>| {
                draft.put(key, gist);
                Ok(())
            };
            if !self.scan.more(put)? {
                break;
            }
        }
        let Some(images) = self.images.upgrade() else { return Ok(()) };
        let mut now = locked(&images.now);
        if self.take_from(&mut now) {
            let image = Image { changed: Arc::clone(&self.changed), ..draft.finish()? };
            now.image = Some(Arc::new(image));
        }
        Ok(())
    }

    /// Takes it away as the next one; says whether it was.
    fn take_from(&self, now: &mut Now) -> bool {
        now.next.take_if(|next| Arc::ptr_eq(next, &self.changed)).is_some()
    }
}

impl Drop for NextImage {
    fn drop(&mut self) {
        if let Some(images) = self.images.upgrade() {
            self.take_from(&mut locked(&images.now));
        }
    }
}

impl Image {
    /// Where it is, among the checkpoints.
    pub(super) fn path(checkpoint: &Path) -> PathBuf {
        checkpoint.join("standings.image")
    }

    /// Opens the one that a stop in good order left, if it is of that state of the store.
    ///
    /// # Errors
    /// When it is not, or cannot be read.
    pub(super) fn open(path: &Path, applied: Position) -> io::Result<Image> {
        let file = File::options().read(true).write(true).open(path)?;
        let tail = file.metadata()?.len().checked_sub(TAIL_BYTES as u64).ok_or_else(bad)?;
        let mut bytes = [0; TAIL_BYTES];
        file.read_exact_at(&mut bytes, tail)?;
        let start = tail.checked_sub(u64::from(number(&bytes, 0))).ok_or_else(bad)?;
        let mut left = vec![0; (tail - start) as usize];
        file.read_exact_at(&mut left, start)?;
        if bytes.get(8..) != Some(MAGIC) || crc32fast::hash(&left) != number(&bytes, 4) {
            return Err(bad());
        }
        let left: Left = decode(&left).map_err(io::Error::other)?;
        if left.applied != applied {
            return Err(bad());
        }
        let Left { end, rows, changed, .. } = left;
        let (changed, damaged) = (Arc::new(Mutex::new(changed)), AtomicBool::new(false));
        Ok(Image { file, end, rows, changed, damaged })
    }

    fn leave(&self, applied: Position) -> io::Result<()> {
        let changed = locked(&self.changed).clone();
        let left = encode(&Left { applied, end: self.end, rows: self.rows, changed });
        let length = u32::try_from(left.len()).map_err(io::Error::other)?.to_le_bytes();
        let sum = crc32fast::hash(&left).to_le_bytes();
        self.file.set_len(self.end)?;
        self.file.write_all_at(&[&left[..], &length, &sum, MAGIC].concat(), self.end)
    }

    fn changes(&self) -> u64 {
        locked(&self.changed).len() as u64
    }

    /// What has changed behind a key, and up to another.
    fn changed_in(&self, after: &[u8], up_to: Option<&[u8]>) -> Changes {
        let behind = (Bound::Excluded(after), up_to.map_or(Bound::Unbounded, Bound::Included));
        let changed = locked(&self.changed);
        changed.range::<[u8], _>(behind).map(|(key, gist)| (key.clone(), gist.clone())).collect()
    }

    /// Reads the block at a place; `None` at the end.
    fn block(&self, at: u64) -> io::Result<Option<Vec<u8>>> {
        if at >= self.end {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        self.file.read_exact_at(&mut head, at)?;
        let length = number(&head, 0);
        if length > BLOCK_BYTES_MAX {
            return Err(bad());
        }
        let mut block = vec![0; length as usize];
        self.file.read_exact_at(&mut block, at + HEAD_BYTES as u64)?;
        if crc32fast::hash(&block) != number(&head, 4) {
            return Err(bad());
        }
        Ok(Some(block))
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
}

/// An image in the making: a failure shows at its end. Removed when dropped before that.
pub(super) struct Draft {
    target: PathBuf,
    path: PathBuf,
    out: io::Result<BufWriter<File>>,
    block: Vec<u8>,
    end: u64,
    rows: u64,
}

impl Draft {
    pub(super) fn begin(target: &Path) -> Draft {
        let path = target.with_extension(super::checkpoint::DRAFT);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let mut draft = Draft {
            target: target.to_owned(),
            path,
            out: file.map(|file| BufWriter::with_capacity(4 * BLOCK_BYTES, file)),
            block: Vec::new(),
            end: 0,
            rows: 0,
        };
        draft.write(MAGIC);
        draft
    }

    /// Adds what sled has, if it is a standing. They come in the order of keys.
    ///
    /// # Errors
    /// When the store is damaged.
    pub(super) fn put_stored(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if key.first() == Some(&STANDING) {
            self.put(key, &Gist::of(&decode::<Standing>(value)?));
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], gist: &Gist<'_>) {
        let value = encode(gist);
        if self.block.len() >= BLOCK_BYTES {
            self.flush();
        }
        // A key that does not fit into its number cannot be in sled either.
        self.block.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.block.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(&value);
        self.rows += 1;
    }

    fn flush(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.write(&(block.len() as u32).to_le_bytes());
        self.write(&crc32fast::hash(&block).to_le_bytes());
        self.write(&block);
        self.block = block;
        self.block.clear();
    }

    fn write(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        if let Ok(out) = &mut self.out
            && let Err(error) = out.write_all(bytes)
        {
            self.out = Err(error);
        }
    }

    /// Puts it in place. Not synced: what a power cut takes from it, its checksums tell.
    pub(super) fn finish(mut self) -> io::Result<Image> {
        if !self.block.is_empty() {
            self.flush();
        }
        let out = std::mem::replace(&mut self.out, Err(bad()))?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(&self.path, &self.target)?;
        let (end, rows, changed) = (self.end, self.rows, Arc::default());
        Ok(Image { file, end, rows, changed, damaged: AtomicBool::new(false) })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is not there when it was put in place; and a start removes what stays.
        let _ = fs::remove_file(&self.path);
    }
}

/// All standings in the order of their keys: of the image, or from sled.
pub(super) struct Scan {
    tree: sled::Tree,
    /// With the place of its next block.
    image: Option<(Arc<Image>, u64)>,
    /// All up to this key were given.
    last: Vec<u8>,
}

impl Scan {
    pub(super) fn new(image: Option<Arc<Image>>, tree: sled::Tree) -> Scan {
        let image = image.map(|image| (image, MAGIC.len() as u64));
        Scan { tree, image, last: vec![STANDING] }
    }

    /// From the image that there is, if any.
    pub(super) fn of(images: &Images, tree: sled::Tree) -> Scan {
        Scan::new(images.current(), tree)
    }

    /// Gives the next ones; says whether there can be more.
    ///
    /// # Errors
    /// When the store is damaged, or `each` says so.
    pub(super) fn more(&mut self, each: Each<'_>) -> Result<bool, StoreError> {
        let Some((image, at)) = &mut self.image else { return self.more_of_sled(each) };
        match image.block(*at) {
            Ok(Some(block)) => {
                let last = last_key(&block).ok_or_else(strange_key)?;
                merge(&block, &image.changed_in(&self.last, Some(last)), each)?;
                *at += (HEAD_BYTES + block.len()) as u64;
                self.last.clear();
                self.last.extend_from_slice(last);
                Ok(true)
            }
            Ok(None) => {
                merge(&[], &image.changed_in(&self.last, None), each)?;
                Ok(false)
            }
            Err(_) => {
                // sled has the rest too, and there will be another.
                image.damaged.store(true, Ordering::Relaxed);
                self.image = None;
                Ok(true)
            }
        }
    }

    fn more_of_sled(&mut self, each: Each<'_>) -> Result<bool, StoreError> {
        let behind = (Bound::Excluded(self.last.clone()), Bound::Excluded(vec![STANDING + 1]));
        let mut rows = 0;
        for pair in self.tree.range::<Vec<u8>, _>(behind).take(ROWS) {
            let (key, value) = pair?;
            each(&key, &Gist::of(&decode(&value)?))?;
            self.last.clear();
            self.last.extend_from_slice(&key);
            rows += 1;
        }
        Ok(rows == ROWS)
    }
}

/// The next key of a block with its gist, which is cut off.
fn pair<'b>(block: &mut &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
    let (key_length, rest) = block.split_first_chunk()?;
    let (gist_length, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*key_length)))?;
    let (gist, rest) = rest.split_at_checked(u32::from_le_bytes(*gist_length) as usize)?;
    *block = rest;
    Some((key, gist))
}

fn last_key(mut block: &[u8]) -> Option<&[u8]> {
    std::iter::from_fn(|| pair(&mut block)).last().map(|(key, _)| key)
}

/// Gives a block's pairs, and in their places those that have changed.
fn merge(mut block: &[u8], changes: &Changes, each: Each<'_>) -> Result<(), StoreError> {
    let mut changes = changes.iter().map(|(key, gist)| (&**key, gist.as_deref())).peekable();
    while let Some((key, gist)) = pair(&mut block) {
        let mut gist = Some(gist);
        while let Some((changed, newer)) = changes.next_if(|(changed, _)| *changed <= key) {
            if changed == key {
                gist = newer;
            } else if let Some(newer) = newer {
                each(changed, &decode(newer)?)?;
            }
        }
        if let Some(gist) = gist {
            each(key, &decode(gist)?)?;
        }
    }
    for (key, gist) in changes {
        if let Some(gist) = gist {
            each(key, &decode(gist)?)?;
        }
    }
    Ok(())
}
