//! Blanking in segments that are complete: what is to go is overwritten in a copy, which then takes
//! the segment's place. No length and no place changes, so each position means what it did. The
//! copy is plain, whatever the segment was: it is packed when segments are looked at next.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::Reader;
use super::format::{Header, Kind, Place, RECORD_HEADER, SEGMENT_HEADER, checksum, record_size};
use super::scan::Segment;
use super::segment::{self, Draft, remove_drafts};

/// Blanks a payload in place; says how many parts of it have changed.
pub(super) type BlankPayload<'a> = &'a mut dyn FnMut(&mut Vec<u8>) -> usize;
/// Blanks any other bytes in place; says how many parts of them have changed.
pub(super) type BlankBytes<'a> = &'a mut dyn FnMut(&mut [u8]) -> usize;

/// The ending of a copy that has not taken its place.
const DRAFT: &str = "blank";

/// What was blanked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blanked {
    /// Segments, or files.
    pub files: u64,
    /// Elements.
    pub elements: u64,
}

impl Reader {
    /// Blanks in the segments from `from` on and before `below`, which must be complete; none is
    /// trimmed meanwhile. `keep`: only counts.
    ///
    /// # Errors
    /// When the disk fails, or it is not to go on; then some are blanked and some are not.
    pub fn blank(
        &self,
        (from, below): (u32, u32),
        keep: bool,
        payload: BlankPayload<'_>,
        other: BlankBytes<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> io::Result<Blanked> {
        let mut blanked = Blanked::default();
        let dir = self.dir();
        if !keep {
            remove_drafts(dir, &[DRAFT])?;
        }
        for number in segment::list(dir)?.into_iter().filter(|n| (from..below).contains(n)) {
            if !go_on() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let mut bytes = self.all_of(number, keep)?;
            let parts = blank_segment(number, &mut bytes, payload, other);
            if parts == 0 {
                continue;
            }
            blanked.files += 1;
            blanked.elements += parts as u64;
            if !keep {
                replace(&segment::path(dir, number), &bytes)?;
                self.close(number);
            }
        }
        Ok(blanked)
    }

    /// The bytes of a segment. What is compressed and cannot be read cannot be blanked: the segment
    /// is mended before, and blanked where it is kept aside. With `keep`, nothing is changed.
    fn all_of(&self, number: u32, keep: bool) -> io::Result<Vec<u8>> {
        let (bytes, is_whole) = Segment::at(self.dir(), number)?.bytes()?;
        if is_whole || keep {
            return Ok(bytes);
        }
        self.look_through(number)?;
        let (bytes, is_whole) = Segment::at(self.dir(), number)?.bytes()?;
        let why = || io::Error::other(format!("segment {number} is damaged and not mended yet"));
        if is_whole { Ok(bytes) } else { Err(why()) }
    }
}

/// Blanks in each file of a folder, whatever is in it. What a packed segment holds takes its place,
/// without what cannot be read of it.
///
/// # Errors
/// When the disk fails.
pub fn blank_files(dir: &Path, keep: bool, other: BlankBytes<'_>) -> io::Result<u64> {
    let mut files = 0;
    if !dir.is_dir() {
        return Ok(0);
    }
    if !keep {
        remove_drafts(dir, &[DRAFT])?;
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !path.is_file() {
            continue;
        }
        let (mut bytes, is_whole) = Segment::open(0, File::open(&path)?)?.bytes()?;
        if other(&mut bytes) > 0 || !is_whole {
            files += 1;
            if !keep {
                replace(&path, &bytes)?;
            }
        }
    }
    Ok(files)
}

fn blank_segment(
    number: u32,
    bytes: &mut [u8],
    payload: BlankPayload<'_>,
    other: BlankBytes<'_>,
) -> usize {
    let (mut at, mut parts, mut from) = (SEGMENT_HEADER as usize, 0, SEGMENT_HEADER as usize);
    while at + (RECORD_HEADER as usize) <= bytes.len() {
        let Some(end) = record(number, bytes, at) else {
            at += super::format::ALIGN as usize;
            continue;
        };
        // What lies before is no record: damage, and what a skip was laid over.
        parts += other(&mut bytes[from..at]);
        parts += blank_record(number, &mut bytes[at..end.0], at, end.1, payload);
        (at, from) = (end.2, end.2);
    }
    let rest = from.min(bytes.len());
    parts + other(&mut bytes[rest..])
}

/// Where the payload of the whole record at `at` ends, its header, and where the next may start.
fn record(number: u32, bytes: &[u8], at: usize) -> Option<(usize, Header, usize)> {
    let header = Header::parse(&bytes[at..])?;
    if header.kind == Kind::Skip {
        return None;
    }
    let start = at + RECORD_HEADER as usize;
    let end = start.checked_add(header.length as usize).filter(|end| *end <= bytes.len())?;
    let place = Place { segment: number, offset: at as u32 };
    let is_whole = checksum(place, &header, &bytes[start..end]) == header.crc;
    let next = at + record_size(header.length) as usize;
    is_whole.then_some((end, header, next.min(bytes.len())))
}

fn blank_record(
    number: u32,
    bytes: &mut [u8],
    at: usize,
    header: Header,
    payload: BlankPayload<'_>,
) -> usize {
    let start = RECORD_HEADER as usize;
    let mut content = bytes[start..].to_vec();
    let parts = if header.kind == Kind::Data { payload(&mut content) } else { 0 };
    if parts == 0 || content.len() != header.length as usize {
        return 0;
    }
    let place = Place { segment: number, offset: at as u32 };
    let crc = checksum(place, &header, &content);
    bytes[start - 4..start].copy_from_slice(&crc.to_le_bytes());
    bytes[start..].copy_from_slice(&content);
    parts
}

/// Puts other bytes in the place of a file.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let before = fs::metadata(path)?;
    let mut draft = Draft::begin(path, DRAFT)?;
    draft.file.write_all(bytes)?;
    draft.sync(&before)?;
    draft.place()
}
