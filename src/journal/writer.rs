//! The one writer: groups of records, one sync each.
//!
//! After an error nothing of the group counts: the segment is cut back to the last good end before
//! anything else is written.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, Flock, fallocate};
use nix::sys::statvfs::statvfs;

use super::format::{Kind, Place, SEGMENT_HEADER, put_record, record_size, segment_header};
use super::reader::Reader;
use super::scan::Segment;
use super::segment;
use crate::model::Position;

/// Largest payload, in bytes: as much has to be in memory when it is applied. Longer ones that an
/// earlier version has written are still read.
pub const PAYLOAD_MAX: usize = 64 << 20;
/// What is kept of the room for a group, in bytes.
const BUFFER_KEPT: usize = 4 << 20;

/// Largest and smallest segment, in bytes. Between them a segment takes a part of the free room.
const SEGMENT_MAX: u64 = 64 << 20;
const SEGMENT_MIN: u64 = 4 << 20;
/// The part of the free room that a segment may take.
const SEGMENT_PART: u64 = 16;

/// Zeros are written so far ahead of the records, in bytes. Room that was only reserved has to be
/// noted as written by the file system at each sync; room that was written before has not, and a
/// sync of a group into it takes half the time.
const ZEROS_AHEAD: u64 = 1 << 20;

/// Intake stops while less than this is free, in bytes: the store must be able to finish.
pub const RESERVE: u64 = 8 << 20;
/// Most room that is left besides for what is still to be applied, in bytes.
const OWED_MAX: u64 = 256 << 20;

/// Why a group was not written. Nothing of it is in the journal.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk is full, or nearly so.
    #[error("no room left on the disk; make some, and it goes on by itself")]
    Full,
    /// The disk fails.
    #[error("the journal cannot be written: {0}")]
    Io(#[from] io::Error),
    /// Somebody has moved it, or put something else in its place.
    #[error(
        "{0} is not the file or directory that was opened: it was moved, removed or replaced. Put \
         back the one that was there, or restart suppressd with the one that shall count"
    )]
    Moved(PathBuf),
    /// Somebody has cut it.
    #[error(
        "{0} was cut while it was open, and lacks what was in it: what is applied of that is kept \
         in a checkpoint. Restart suppressd, and see who changes store.path"
    )]
    Cut(PathBuf),
}

impl AppendError {
    /// Whether the next start does not find what was written.
    pub fn is_of_a_hand(&self) -> bool {
        matches!(self, AppendError::Moved(_) | AppendError::Cut(_))
    }
}

/// Where a record was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its start.
    pub record: Position,
    /// The start of what follows.
    pub end: Position,
}

/// Appends to the journal. There is one, and it has the journal's lock.
pub struct Writer {
    dir: PathBuf,
    current: Option<Current>,
    next_number: u32,
    buffer: Vec<u8>,
    /// Room that the store needs for what is still to be applied, in bytes.
    owed: u64,
    /// Keeps every other process out; the directory itself.
    lock: Flock<File>,
    /// Reads what was written by the same handle.
    reader: Reader,
}

struct Current {
    number: u32,
    file: Arc<File>,
    /// Where the next record goes; all before it is synced.
    end: u32,
    /// How far the file's room goes.
    capacity: u64,
    /// How far it was written, with records or zeros.
    written: u64,
    /// A write failed: what lies behind `end` must be cut off first.
    dirty: bool,
    /// Somebody else has made it shorter: what was cut does not come back by writing on.
    is_cut: AtomicBool,
}

impl Writer {
    pub(super) fn new(dir: &Path, next: u32, lock: Flock<File>, reader: Reader) -> Writer {
        let (dir, buffer) = (dir.to_owned(), Vec::new());
        Writer { dir, current: None, next_number: next, buffer, owed: 0, lock, reader }
    }

    /// Appends the payloads as one group and syncs it. Says where each one is.
    ///
    /// # Errors
    /// When there is no room or the disk fails; then nothing was appended.
    pub fn append(&mut self, payloads: &[Vec<u8>]) -> Result<Vec<Placed>, AppendError> {
        self.check()?;
        let sizes = payloads.iter().map(|payload| record_size(payload.len() as u32));
        let needed = sizes.sum::<u64>();
        self.make_room(needed)?;
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("there is no segment").into());
        };
        self.buffer.clear();
        let mut placed = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let place = current.place(self.buffer.len());
            put_record(&mut self.buffer, place, Kind::Data, current.end, payload);
            let end = current.place(self.buffer.len());
            placed.push(Placed { record: position(place), end: position(end) });
        }
        let start = current.end;
        current.write(&mut self.buffer)?;
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        // Behind the sync: what is in a place where the next start does not look is not kept.
        if let Err(moved) = self.look() {
            if let Some(current) = &mut self.current {
                current.end = start;
                current.dirty = true;
            }
            return Err(moved);
        }
        Ok(placed)
    }

    /// Looks whether the directory and the segment are what their paths lead to, and the segment is
    /// as long as it was made.
    ///
    /// # Errors
    /// When they are not.
    pub fn look(&self) -> Result<(), AppendError> {
        in_place(&self.lock, &self.dir)?;
        match &self.current {
            Some(current) => current.look(&segment::path(&self.dir, current.number)),
            None => Ok(()),
        }
    }

    /// Whether a group of usual size could be appended, as far as that is known before.
    ///
    /// # Errors
    /// When it could not.
    pub fn check(&self) -> Result<(), AppendError> {
        self.look()?;
        let needed = RESERVE + self.owed;
        if free_bytes(&self.dir)? < needed { Err(AppendError::Full) } else { Ok(()) }
    }

    /// Leaves room for so many bytes of the journal that are still to be applied: the store takes
    /// about as much again for them.
    pub fn leave_room(&mut self, unapplied: u64) {
        self.owed = unapplied.min(OWED_MAX);
    }

    /// Where the next record will start, as far as that is known before it is written.
    pub fn end(&self) -> Position {
        match &self.current {
            Some(current) => Position { segment: current.number, offset: current.end },
            None => Position { segment: self.next_number, offset: SEGMENT_HEADER },
        }
    }

    /// Sees to it that no new segment has a number below this.
    pub fn number_from(&mut self, number: u32) {
        self.next_number = self.next_number.max(number);
    }

    /// Completes the segment that is being written.
    ///
    /// # Errors
    /// When the disk fails; the next start completes it then.
    pub fn seal(&mut self) -> Result<(), AppendError> {
        if let Some(current) = &mut self.current {
            let path = segment::path(&self.dir, current.number);
            if current.is_short()? {
                // A seal would hide that.
                return Err(AppendError::Cut(path));
            }
            current.seal()?;
            self.current = None;
        }
        Ok(())
    }

    /// Sees to it that there is a clean segment with room for `needed` more bytes and a seal.
    fn make_room(&mut self, needed: u64) -> Result<(), AppendError> {
        let wanted = needed + record_size(0);
        if let Some(current) = &mut self.current {
            if current.dirty {
                current.cut()?;
            }
            if u64::from(current.end) + wanted <= current.capacity {
                return Ok(());
            }
        }
        self.seal()?;
        let usual = (free_bytes(&self.dir)? / SEGMENT_PART).clamp(SEGMENT_MIN, SEGMENT_MAX);
        let capacity = usual.max(u64::from(SEGMENT_HEADER) + wanted);
        let made = create(&self.dir, self.next_number, capacity)?;
        let segment = Segment::plain(made.number, Arc::clone(&made.file));
        self.reader.files().go_live(segment);
        self.current = Some(made);
        self.next_number += 1;
        Ok(())
    }
}

impl Current {
    fn place(&self, ahead: usize) -> Place {
        Place { segment: self.number, offset: self.end + ahead as u32 }
    }

    fn look(&self, path: &Path) -> Result<(), AppendError> {
        in_place(&self.file, path)?;
        if self.is_short()? { Err(AppendError::Cut(path.to_owned())) } else { Ok(()) }
    }

    /// Whether somebody else has made it shorter: its room was taken before anything was written.
    fn is_short(&self) -> io::Result<bool> {
        let least = if self.dirty { u64::from(self.end) } else { self.capacity };
        let is_short = self.file.metadata()?.len() < least;
        Ok(self.is_cut.fetch_or(is_short, Ordering::Relaxed) || is_short)
    }

    /// Writes a group and syncs it; with it zeros behind it, when those of before are used up.
    fn write(&mut self, group: &mut Vec<u8>) -> Result<(), AppendError> {
        let (start, length) = (u64::from(self.end), group.len());
        let end = start + length as u64;
        let ahead = self.capacity.min(end + ZEROS_AHEAD);
        // A large group is worth its own sync, and would only be written with as much again.
        if end > self.written && ahead > end && (length as u64) < ZEROS_AHEAD / 4 {
            group.resize((ahead - start) as usize, 0);
        }
        self.dirty = true;
        self.file.write_all_at(group, start).map_err(classify)?;
        self.file.sync_data().map_err(classify)?;
        self.dirty = false;
        self.written = self.written.max(start + group.len() as u64);
        self.end += length as u32;
        Ok(())
    }

    /// Cuts off what a failed write may have left, and takes the room again.
    fn cut(&mut self) -> Result<(), AppendError> {
        self.file.set_len(u64::from(self.end)).map_err(classify)?;
        reserve(&self.file, self.capacity)?;
        self.file.sync_all().map_err(classify)?;
        self.written = u64::from(self.end);
        self.dirty = false;
        Ok(())
    }

    fn seal(&mut self) -> Result<(), AppendError> {
        let place = self.place(0);
        write_seal(&self.file, place).map_err(classify)?;
        Ok(())
    }
}

/// Ends a segment at `place` with a seal, cuts what lies behind, and syncs.
pub(super) fn write_seal(file: &File, place: Place) -> io::Result<()> {
    let mut bytes = Vec::new();
    put_record(&mut bytes, place, Kind::Seal, place.offset, &[]);
    file.write_all_at(&bytes, u64::from(place.offset))?;
    file.set_len(u64::from(place.offset) + bytes.len() as u64)?;
    file.sync_all()
}

/// Makes segment `number` with room for `capacity` bytes, durable by name.
fn create(dir: &Path, number: u32, capacity: u64) -> Result<Current, AppendError> {
    let path = segment::path(dir, number);
    let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = made.map_err(classify)?;
    let prepare = || -> Result<(), AppendError> {
        reserve(&file, capacity)?;
        file.write_all_at(&segment_header(number), 0).map_err(classify)?;
        file.sync_all().map_err(classify)?;
        segment::sync_dir(dir).map_err(classify)
    };
    if let Err(error) = prepare() {
        // Without room there is no segment: the same number is tried again.
        fs::remove_file(&path)?;
        return Err(error);
    }
    let written = u64::from(SEGMENT_HEADER);
    let file = Arc::new(file);
    let (end, dirty, is_cut) = (SEGMENT_HEADER, false, AtomicBool::new(false));
    Ok(Current { number, file, end, capacity, written, dirty, is_cut })
}

/// Takes room for a file up to `capacity` bytes, so that its size never changes while it is
/// written: that halves the cost of a sync.
fn reserve(file: &File, capacity: u64) -> Result<(), AppendError> {
    let length = i64::try_from(capacity).map_err(io::Error::other)?;
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(()),
        // File systems that cannot take room ahead still take writes.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => file.set_len(capacity).map_err(classify),
        Err(errno) => Err(classify(errno.into())),
    }
}

/// Whether a path leads to what is open.
fn in_place(open: &File, path: &Path) -> Result<(), AppendError> {
    let identity = |meta: &fs::Metadata| (meta.dev(), meta.ino());
    match fs::metadata(path) {
        Ok(there) if identity(&there) == identity(&open.metadata()?) => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Err(AppendError::Moved(path.to_owned())),
    }
}

fn classify(error: io::Error) -> AppendError {
    if is_full(&error) { AppendError::Full } else { AppendError::Io(error) }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Free room for us on the file system of `dir`, in bytes.
pub(super) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = statvfs(dir).map_err(io::Error::from)?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

fn position(place: Place) -> Position {
    Position { segment: place.segment, offset: place.offset }
}
