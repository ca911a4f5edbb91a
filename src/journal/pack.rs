//! Packing segments that are complete: a compressed file takes the place of the plain one, whole
//! and synced, so that a stop at any point leaves one of the two.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use super::Reader;
use super::packed::write_packed;
use super::scan::{Head, Segment};
use super::segment::{self, Draft};
use super::writer::{RESERVE, free_bytes};

/// The ending of a packed segment that has not taken its place.
pub(super) const PACKING: &str = "pack";
/// The least that packing must save to be worth it: a part of the segment, and a block of the file
/// system.
const SAVED_PART: u64 = 10;
const SAVED_MIN: u64 = 4096;
/// Bytes that are compared at a time.
const COMPARED: usize = 1 << 20;

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// Segments below this are packed, or not worth it.
    pub done: u32,
    /// How many were packed.
    pub segments: u64,
    /// The bytes that they had.
    pub before: u64,
    /// And those that they have.
    pub after: u64,
}

impl Reader {
    /// Packs the segments from `from` on and before `below`, which must be complete, as long as it
    /// is to go on. What is damaged stays as it is, to be mended by who reads it.
    ///
    /// # Errors
    /// When the disk fails or is full. What was packed before stays packed.
    pub fn pack(&self, (from, below): (u32, u32), go_on: &dyn Fn() -> bool) -> io::Result<Packing> {
        let mut packing = Packing { done: from, ..Packing::default() };
        for number in segment::list(self.dir())?.into_iter().filter(|n| (from..below).contains(n)) {
            if let Some((before, after)) = self.pack_one(number, go_on)? {
                packing.segments += 1;
                packing.before += before;
                packing.after += after;
            }
            if !go_on() {
                return Ok(packing);
            }
            packing.done = number + 1;
        }
        packing.done = packing.done.max(below);
        Ok(packing)
    }

    /// Packs one, if that is worth it. Says how many bytes it had, and has.
    fn pack_one(&self, number: u32, go_on: &dyn Fn() -> bool) -> io::Result<Option<(u64, u64)>> {
        let path = segment::path(self.dir(), number);
        let plain = match Segment::at(self.dir(), number) {
            Ok(segment) => segment,
            // It was trimmed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = plain.file.metadata()?;
        let before = found.len();
        let Ok(length) = u32::try_from(before) else { return Ok(None) };
        if plain.packed.is_some() || before <= SAVED_MIN || !is_complete(&plain)? {
            return Ok(None);
        }
        // What is left is the writer's.
        if free_bytes(self.dir())? < RESERVE + before {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let draft = Draft::begin(&path, PACKING)?;
        let read = |bytes: &mut [u8], at: u64| fill(&plain, bytes, at as u32);
        let Some(after) = write_packed(&draft.file, (number, length), &read, go_on)? else {
            return Ok(None);
        };
        if before.saturating_sub(after) < (before / SAVED_PART).max(SAVED_MIN) {
            return Ok(None);
        }
        draft.sync(&found)?;
        compare(&plain, &Segment::open(number, segment::open_regular(draft.path(), false)?)?)?;
        let _alone = self.mending();
        let now = match fs::symlink_metadata(&path) {
            Ok(now) => now,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Else it was mended meanwhile, or another file has taken its place.
        if identity(&now) != identity(&found) {
            return Ok(None);
        }
        draft.place()?;
        self.close(number);
        Ok(Some((before, after)))
    }
}

/// The bytes of the plain segment that a file holds packed. `None`: it is not packed.
///
/// # Errors
/// When the disk fails.
pub fn packed_length(file: &File, number: u32) -> io::Result<Option<u64>> {
    let segment = Segment::open(number, file.try_clone()?)?;
    segment.packed.as_ref().map(|_| segment.length()).transpose()
}

fn is_complete(segment: &Segment) -> io::Result<bool> {
    let survey = segment.survey()?;
    Ok(segment.head()? == Head::Whole && survey.sealed && survey.holes.is_empty())
}

/// Sees to it that what was written is what was there.
fn compare(plain: &Segment, packed: &Segment) -> io::Result<()> {
    let length = plain.length()?;
    let bad = || io::Error::other("what was just packed is not what was written");
    if !packed.packed.as_ref().is_some_and(|it| it.is_whole() && it.length() == length) {
        return Err(bad());
    }
    let (mut one, mut other) = (vec![0; COMPARED], vec![0; COMPARED]);
    for at in (0..length).step_by(COMPARED) {
        let size = COMPARED.min((length - at) as usize);
        fill(plain, &mut one[..size], at as u32)?;
        fill(packed, &mut other[..size], at as u32)?;
        if one[..size] != other[..size] {
            return Err(bad());
        }
    }
    Ok(())
}

fn fill(segment: &Segment, bytes: &mut [u8], at: u32) -> io::Result<()> {
    let is_there = segment.read(bytes, at)?;
    is_there.then_some(()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// What changes with a file's content, or when another takes its place.
fn identity(meta: &Metadata) -> [i64; 5] {
    let (device, inode) = (meta.dev() as i64, meta.ino() as i64);
    [device, inode, meta.size() as i64, meta.ctime(), meta.ctime_nsec()]
}
