//! The image: every standing once more, in a plain file in sled's order, for whoever wants all of
//! them. sled takes a microsecond and more to fetch one, a file a small part of that.
//!
//! ```text
//! "SUPIMAG2", then blocks: length:u32 CRC-32:u32, and in each for each standing length:u16
//! length:u32 key gist. A stop in good order adds what is left to know: a `Left`, its length:u32,
//! its CRC-32:u32, and "SUPIMAG2" again
//! ```
//! Numbers are little-endian. Nothing rests on it: without it, or where it is damaged, sled is
//! asked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Bound;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::codec::{Form, decode, encode, is_newer_form};
use super::keys::{self, STANDING};
use super::open::free_bytes;
use super::scan::Scan;
use crate::journal::open_regular;
use crate::model::{Gist, Position, Standing};

/// The last byte is the number of the form: another form, of gists too, takes the next.
const MAGIC: &[u8; 8] = b"SUPIMAG3";
/// A block is ended when it has this many bytes.
const BLOCK_BYTES: usize = 64 << 10;
/// Length and checksum of a block, in bytes.
const HEAD_BYTES: usize = 8;
/// Length, checksum and magic number behind a `Left`, in bytes.
const TAIL_BYTES: usize = 16;
/// Room that is left to others, in bytes: an image is worth less than a journal that goes on.
const ROOM: u64 = 32 << 20;
/// As soon as an eighth of the standings has changed, but within these bounds, a new image is
/// wanted. With twice that, there is none any more: what has changed is kept in memory.
const CHANGED_MIN: u64 = 1 << 14;
const CHANGED_MAX: u64 = 1 << 18;

/// The standings that have changed since an image was begun: by their keys their gists, as they are
/// stored in it; `None` for one that is gone.
pub(super) type Changes = BTreeMap<Box<[u8]>, Option<Box<[u8]>>>;
type Changed = Mutex<Changes>;

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

impl Form for Left {}

/// The gist of a standing as an image has it, of its key and value in sled.
///
/// # Errors
/// When the value has not the form of a standing.
pub(super) fn stored_gist(key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
    let address = keys::standing_parts(key).map_or("", |(address, _)| address);
    Ok(encode(&Gist::of(&decode::<Standing>(value)?).beside(address)))
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

    /// What there is, without an image that was found damaged.
    fn now(&self) -> MutexGuard<'_, Now> {
        let mut now = locked(&self.now);
        now.image.take_if(|image| image.damaged.load(Ordering::Relaxed));
        now
    }

    pub(super) fn current(&self) -> Option<Arc<Image>> {
        self.now().image.clone()
    }

    /// Notes what is about to change: keys, and their values as they will be.
    ///
    /// # Errors
    /// When a value has not the form of a standing.
    pub(super) fn note<'k>(
        &self,
        changes: impl Iterator<Item = (&'k [u8], Option<&'k [u8]>)>,
    ) -> Result<(), StoreError> {
        let mut now = self.now();
        let Now { image, next } = &mut *now;
        let changed = image.as_ref().map(|image| &image.changed);
        let mut sets: Vec<_> = changed.into_iter().chain(&*next).map(|set| locked(set)).collect();
        if sets.is_empty() {
            return Ok(());
        }
        for (key, value) in changes.filter(|(key, _)| key.first() == Some(&STANDING)) {
            let gist = value.map(|value| stored_gist(key, value)).transpose()?;
            let gist = gist.map(Vec::into_boxed_slice);
            for set in &mut sets {
                set.insert(key.into(), gist.clone());
            }
        }
        drop(sets);
        let most = 2 * room(image.as_ref().map_or(0, |image| image.rows));
        image.take_if(|image| image.changes() >= most);
        next.take_if(|next| locked(next).len() as u64 >= most);
        Ok(())
    }

    /// Begins the next image, if one is wanted.
    pub(super) fn next(images: &Arc<Images>, tree: &sled::Tree) -> Option<NextImage> {
        let mut now = images.now();
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
        let mut now = self.now();
        now.next = None;
        now.image.as_ref().map_or(Ok(()), |image| image.leave(applied))
    }

    fn is_next(&self, changed: &Arc<Changed>) -> bool {
        self.now().next.as_ref().is_some_and(|next| Arc::ptr_eq(next, changed))
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
            let put = &mut |key: &[u8], gist: &[u8]| {
                draft.put(key, gist);
                Ok(())
            };
            if !self.scan.more(put)? {
                break;
            }
        }
        let Some(images) = self.images.upgrade() else { return Ok(()) };
        let mut now = images.now();
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
            self.take_from(&mut images.now());
        }
    }
}

impl Image {
    /// Where its first block is, in bytes.
    pub(super) const START: u64 = MAGIC.len() as u64;

    /// Where it is, among the checkpoints.
    pub(super) fn path(checkpoint: &Path) -> PathBuf {
        checkpoint.join("standings.image")
    }

    /// Whether a newer version wrote it.
    pub(super) fn is_newer(path: &Path) -> bool {
        let mut magic = [0; MAGIC.len()];
        let read = open_regular(path, false).and_then(|file| file.read_exact_at(&mut magic, 0));
        read.is_ok() && is_newer_form(magic, *MAGIC)
    }

    /// Opens the one that a stop in good order left, if it is of that state of the store.
    ///
    /// # Errors
    /// When it is not, or cannot be read.
    pub(super) fn open(path: &Path, applied: Position) -> io::Result<Image> {
        Image::of(open_regular(path, true)?, applied)
    }

    /// The same, of a file that may be open for reading alone.
    ///
    /// # Errors
    /// As above.
    pub(super) fn of(file: File, applied: Position) -> io::Result<Image> {
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
    pub(super) fn changed_in(&self, after: &[u8], up_to: Option<&[u8]>) -> Changes {
        let behind = (Bound::Excluded(after), up_to.map_or(Bound::Unbounded, Bound::Included));
        let changed = locked(&self.changed);
        changed.range::<[u8], _>(behind).map(|(key, gist)| (key.clone(), gist.clone())).collect()
    }

    /// Whether a key has changed since it was written.
    pub(super) fn has_changed(&self, key: &[u8]) -> bool {
        locked(&self.changed).contains_key(key)
    }

    /// Lets no scan begin with it any more.
    pub(super) fn give_up(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Reads the block at a place; says where the next one is. `None` at the end.
    ///
    /// # Errors
    /// When it is damaged.
    pub(super) fn block(&self, at: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
        if at >= self.end {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        self.file.read_exact_at(&mut head, at)?;
        let length = number(&head, 0);
        let start = at + HEAD_BYTES as u64;
        // Whatever was written is read, and nothing that the file cannot hold.
        if start + u64::from(length) > self.end {
            return Err(bad());
        }
        let mut block = vec![0; length as usize];
        self.file.read_exact_at(&mut block, start)?;
        if crc32fast::hash(&block) != number(&head, 4) {
            return Err(bad());
        }
        Ok(Some((block, start + u64::from(length))))
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
        let path = target.with_extension(super::checkpoints::DRAFT);
        // What stays of another is not written into: somebody may still hold it.
        let _ = fs::remove_file(&path);
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
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
            self.put(key, &stored_gist(key, value)?);
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], gist: &[u8]) {
        if self.block.len() >= BLOCK_BYTES {
            self.flush();
        }
        // A key that does not fit into its number cannot be in sled either.
        self.block.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.block.extend_from_slice(&(gist.len() as u32).to_le_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(gist);
        self.rows += 1;
    }

    fn flush(&mut self) {
        if let Ok(0..ROOM) = free_bytes(&self.path) {
            self.out = Err(io::ErrorKind::StorageFull.into());
        }
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

/// The keys of a block with their gists.
pub(super) fn pairs(mut block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (key_length, rest) = block.split_first_chunk()?;
        let (gist_length, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*key_length)))?;
        let (gist, rest) = rest.split_at_checked(u32::from_le_bytes(*gist_length) as usize)?;
        block = rest;
        Some((key, gist))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventId, Fact, Latest, Reason, SourceName, Telling, Time, Until};

    /// Standings in sled, and their images.
    struct Bench {
        directory: tempfile::TempDir,
        db: sled::Db,
        images: Arc<Images>,
    }

    fn key(number: u32, stream: &str) -> Vec<u8> {
        [&[STANDING], format!("user-{number:05}@x.test\0{stream}").as_bytes()].concat()
    }

    /// A standing of one ground, or of two.
    fn standing(at: i64, grounds: usize) -> Vec<u8> {
        let mut standing = Standing::default();
        for reason in [Reason::HardBounce, Reason::Complaint].into_iter().take(grounds) {
            let (at, until, note) = (Time::from_seconds(at), Until::Forever, None);
            let (evidence, class) = (EventId::from_bytes([7; 16]), None);
            let latest = Latest { at, until, evidence, class, note };
            let source = SourceName::operator();
            let fact = Fact::Ground { reason, source, latest };
            standing.merge("User@X.test", fact, &Telling::BY_DATE);
        }
        encode(&standing)
    }

    impl Bench {
        /// Every second number is there, of which every hundredth has a stream too.
        fn new() -> Bench {
            let directory = tempfile::tempdir().unwrap();
            let db = sled::open(directory.path().join("sled")).unwrap();
            db.insert(b"r", b"").unwrap();
            db.insert(b"t", b"").unwrap();
            for number in (0..6_000).step_by(2) {
                db.insert(key(number, ""), standing(1, 1)).unwrap();
                if number % 200 == 0 {
                    db.insert(key(number, "news"), standing(1, 2)).unwrap();
                }
            }
            let images = Arc::new(Images::new(Image::path(directory.path()), None));
            let bench = Bench { directory, db, images };
            bench.image();
            bench
        }

        fn path(&self) -> PathBuf {
            Image::path(self.directory.path())
        }

        fn next(&self) -> Option<NextImage> {
            Images::next(&self.images, &self.db)
        }

        fn image(&self) {
            self.next().unwrap().write().unwrap();
        }

        fn set(&self, changes: &[(Vec<u8>, Option<Vec<u8>>)]) {
            self.images.note(changes.iter().map(|(k, v)| (&**k, v.as_deref()))).unwrap();
            for (key, value) in changes {
                match value {
                    Some(value) => self.db.insert(key, &**value).unwrap(),
                    None => self.db.remove(key).unwrap(),
                };
            }
        }

        /// Whether there is an image, with all that sled has.
        fn is_current(&self) -> bool {
            let image = self.images.current();
            let has_image = image.is_some();
            let scan = Scan::new(image, (*self.db).clone());
            assert_eq!(rows(scan), rows(Scan::new(None, (*self.db).clone())));
            has_image
        }
    }

    fn rows(mut scan: Scan) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        let row = &mut |key: &[u8], gist: &[u8]| {
            rows.push((key.to_vec(), gist.to_vec()));
            Ok(())
        };
        while scan.more(row).unwrap() {}
        rows
    }

    #[test]
    fn an_image_with_what_has_changed_is_what_sled_has() {
        let bench = Bench::new();
        assert!(bench.is_current());
        assert!(bench.path().metadata().unwrap().len() > 2 * BLOCK_BYTES as u64);
        assert!(bench.next().is_none(), "nothing has changed");
        bench.set(&[
            (b"r".to_vec(), None),
            (key(0, ""), None),
            (key(1, ""), Some(standing(2, 1))),
            (key(2_000, ""), Some(standing(3, 2))),
            (key(2_000, "a"), Some(standing(3, 1))),
            (key(2_000, "news"), None),
            (key(2_001, "z"), Some(standing(4, 1))),
            (key(5_998, ""), Some(standing(5, 1))),
            (key(5_999, ""), Some(standing(5, 1))),
            (key(99_999, ""), Some(standing(6, 1))),
        ]);
        assert!(bench.is_current());
        bench.set(&[
            (key(1, ""), None),
            (key(99_999, ""), None),
            (key(0, ""), Some(standing(9, 2))),
        ]);
        assert!(bench.is_current());
    }

    #[test]
    fn what_changes_while_the_next_one_is_written_is_in_it() {
        let bench = Bench::new();
        let many = |from: u32| (from..).take(CHANGED_MIN as usize);
        let set = |number| (key(number, "b"), Some(standing(7, 1)));
        bench.set(&many(10_000).map(set).collect::<Vec<_>>());
        let next = bench.next().unwrap();
        assert!(bench.next().is_none(), "one is on its way");
        bench.set(&[(key(10_000, "b"), None), (key(3, ""), Some(standing(8, 2)))]);
        assert!(bench.is_current());
        next.write().unwrap();
        assert!(bench.is_current());
        bench.set(&[(key(10_001, "b"), None)]);
        assert!(bench.is_current());
        // As many once more are too many to keep; and one that is not written in time is dropped.
        bench.set(&many(100_000).chain(many(200_000)).map(set).collect::<Vec<_>>());
        assert!(!bench.is_current());
        bench.image();
        assert!(bench.is_current());
    }

    #[test]
    fn a_start_goes_on_with_what_a_stop_has_left() {
        let bench = Bench::new();
        let at = |offset| Position { segment: 1, offset };
        bench.set(&[(key(1, ""), Some(standing(2, 1))), (key(2, ""), None)]);
        assert!(Image::open(&bench.path(), at(7)).is_err(), "nothing is left yet");
        bench.images.leave(at(7)).unwrap();
        assert!(Image::open(&bench.path(), at(8)).is_err(), "of another state");
        let image = Image::open(&bench.path(), at(7)).unwrap();
        let bench = Bench { images: Arc::new(Images::new(bench.path(), Some(image))), ..bench };
        assert!(bench.is_current());
        bench.set(&[(key(3, ""), Some(standing(2, 1)))]);
        bench.images.leave(at(9)).unwrap();
        let whole = fs::read(bench.path()).unwrap();
        for cut in 1..whole.len().min(300) {
            fs::write(bench.path(), &whole[..whole.len() - cut]).unwrap();
            assert!(Image::open(&bench.path(), at(9)).is_err(), "{cut}");
        }
        fs::write(bench.path(), &whole).unwrap();
        assert!(Image::open(&bench.path(), at(9)).is_ok());
        let _ = Images::new(bench.path(), None);
        assert!(!bench.path().exists(), "one that is not of this store is removed");
    }

    #[test]
    fn where_it_is_damaged_sled_is_asked() {
        let bench = Bench::new();
        let whole = fs::read(bench.path()).unwrap();
        for at in [8, 12, 40, BLOCK_BYTES + 60, 2 * BLOCK_BYTES, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(bench.path(), bytes).unwrap();
            assert!(bench.is_current(), "nobody knows yet: {at}");
            assert!(!bench.is_current(), "{at}");
            bench.image();
            assert!(bench.is_current());
        }
    }

    #[test]
    fn one_that_nobody_wants_is_not_written() {
        let bench = Bench::new();
        fs::remove_file(bench.path()).unwrap();
        let images = Images::new(bench.path(), None);
        let bench = Bench { images: Arc::new(images), ..bench };
        let next = bench.next().unwrap();
        bench.images.leave(Position::default()).unwrap();
        next.write().unwrap();
        assert!(!bench.path().exists());
        drop(bench.next().unwrap());
        let next = bench.next().expect("one that gave up stands in nobody's way");
        let Bench { directory, images, .. } = bench;
        drop(images);
        next.write().unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "sled alone");
    }
}
