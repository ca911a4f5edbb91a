//! The bytes of a packed segment: those of the plain one, all of them, compressed in blocks.
//!
//! ```text
//! packed   "SUPJRNL2" number:u32 crc:u32, table, blocks, table, "SUPJRNL2"
//! table    length:u32, (size:u32 crc:u32) of each block, length:u32, crc:u32
//! ```
//! `length` is that of the plain segment, so that a table can be read from both its ends; where one
//! of the two is damaged, the other serves. Each block is a zstd frame of [`BLOCK`] bytes, the last
//! one of the rest, with a CRC-32 of what is stored. A position means the place in the plain bytes:
//! nothing above knows which form a segment has. A block that cannot be read reads as zeros, which
//! are no record, so that damage is met as it is in a plain segment.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use super::format::{PACKED, SEGMENT_HEADER, header_of, segment_form};

/// Plain bytes in a block. To read one record is to unpack as much. With events like SendGrid's,
/// 32 KiB take 4 % more room, and 128 KiB take 2 % less (docs/performance.md).
const BLOCK: usize = 64 << 10;
/// zstd's level. Level 3 takes 1 % less room at most, and up to half as much CPU again.
const LEVEL: i32 = 1;
/// So many blocks are written between two syncs, so that no sync of the journal waits for many.
const SYNC_BLOCKS: usize = 128;
/// What a packed segment ends with: what its header begins with, and never with zeros.
const FOOT: usize = 8;

/// A packed segment's file, to read from.
pub(super) struct Packed {
    file: Arc<File>,
    table: Table,
    /// Where the first block starts.
    start: u64,
    has_table: bool,
    is_whole: bool,
    last: Mutex<Unpacked>,
}

/// The block that was unpacked last: what is read next is often in it too.
#[derive(Default)]
struct Unpacked {
    index: Option<usize>,
    bytes: Vec<u8>,
}

#[derive(Default, PartialEq, Eq)]
struct Table {
    /// Bytes of the plain segment.
    length: u32,
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Block {
    /// Where it ends, counted from the start of the first.
    end: u64,
    size: u32,
    crc: u32,
}

impl Packed {
    /// Opens a segment's file that is packed: by its header or, where that is damaged, by one of
    /// its tables. `None`: it is not.
    pub(super) fn open(file: &Arc<File>, number: u32) -> io::Result<Option<Packed>> {
        let mut head = [0; SEGMENT_HEADER as usize];
        if !read_exact(file, &mut head, 0)? {
            return Ok(None);
        }
        let form = segment_form(&head);
        if form.is_some_and(|form| form != PACKED) {
            return Ok(None);
        }
        let size = file.metadata()?.len();
        let front = Table::front(file, size)?;
        let back = Table::back(file, size)?;
        if form.is_none() && front.is_none() && back.is_none() {
            return Ok(None);
        }
        let mut foot = [0; FOOT];
        let is_whole = head == header_of(PACKED, number)
            && front.is_some()
            && front == back
            && read_exact(file, &mut foot, size.saturating_sub(FOOT as u64))?
            && foot == head[..FOOT];
        let has_table = front.is_some() || back.is_some();
        // With neither, nothing of it can be read.
        let table = front.or(back).unwrap_or_default();
        let start = u64::from(SEGMENT_HEADER) + table_size(table.length);
        let is_whole =
            is_whole && size == start + table.stored() + table_size(table.length) + FOOT as u64;
        let last = Mutex::default();
        Ok(Some(Packed { file: Arc::clone(file), table, start, has_table, is_whole, last }))
    }

    /// The bytes of the plain segment.
    pub(super) fn length(&self) -> u64 {
        u64::from(self.table.length)
    }

    /// Whether its header and both tables are what was written; blocks are not looked at.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Reads plain bytes from `at` on, as many as there are; says how many.
    pub(super) fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        // A panic while holding it leaves what is checked again.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        while done < bytes.len() && at + (done as u64) < self.length() {
            let from = at + done as u64;
            let index = (from / BLOCK as u64) as usize;
            if last.index != Some(index) {
                last.index = None;
                last.bytes = self.unpack(index)?.unwrap_or_else(|| vec![0; self.room(index)]);
                last.index = Some(index);
            }
            let rest = &last.bytes[(from % BLOCK as u64) as usize..];
            let count = rest.len().min(bytes.len() - done);
            bytes[done..done + count].copy_from_slice(&rest[..count]);
            done += count;
        }
        Ok(done)
    }

    /// Whether every block is known and can be read.
    pub(super) fn can_be_read(&self) -> io::Result<bool> {
        for index in 0..self.table.blocks.len() {
            if self.unpack(index)?.is_none() {
                return Ok(false);
            }
        }
        Ok(self.has_table)
    }

    /// Writes the plain bytes, with holes for what cannot be read.
    pub(super) fn write_plain(&self, out: &File) -> io::Result<()> {
        for index in 0..self.table.blocks.len() {
            if let Some(bytes) = self.unpack(index)? {
                out.write_all_at(&bytes, (index * BLOCK) as u64)?;
            }
        }
        out.set_len(self.length())
    }

    /// The plain bytes of a block. `None`: it cannot be read.
    fn unpack(&self, index: usize) -> io::Result<Option<Vec<u8>>> {
        let Block { end, size, crc } = self.table.blocks[index];
        let mut stored = vec![0; size as usize];
        let is_there = read_exact(&self.file, &mut stored, self.start + end - u64::from(size))?;
        if !is_there || crc32fast::hash(&stored) != crc {
            return Ok(None);
        }
        let room = self.room(index);
        Ok(zstd::bulk::decompress(&stored, room).ok().filter(|bytes| bytes.len() == room))
    }

    /// The plain bytes that a block stands for.
    fn room(&self, index: usize) -> usize {
        (self.table.length as usize - index * BLOCK).min(BLOCK)
    }
}

impl Table {
    fn front(file: &File, size: u64) -> io::Result<Option<Table>> {
        let mut length = [0; 4];
        let at = u64::from(SEGMENT_HEADER);
        if !read_exact(file, &mut length, at)? {
            return Ok(None);
        }
        Table::read(file, at, u32::from_le_bytes(length), size)
    }

    fn back(file: &File, size: u64) -> io::Result<Option<Table>> {
        let mut length = [0; 4];
        let Some(end) = size.checked_sub(FOOT as u64) else { return Ok(None) };
        let Some(at) = end.checked_sub(8) else { return Ok(None) };
        if !read_exact(file, &mut length, at)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes(length);
        let Some(at) = end.checked_sub(table_size(length)) else { return Ok(None) };
        Table::read(file, at, length, size)
    }

    /// The table at `at` of a file of `size` bytes. `None`: there is none.
    fn read(file: &File, at: u64, length: u32, size: u64) -> io::Result<Option<Table>> {
        if at + table_size(length) > size {
            return Ok(None);
        }
        let mut bytes = vec![0; table_size(length) as usize];
        if !read_exact(file, &mut bytes, at)? {
            return Ok(None);
        }
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let seal = bytes.len() - 4;
        if crc32fast::hash(&bytes[..seal]) != number(seal) || number(seal - 4) != length {
            return Ok(None);
        }
        let mut table = Table { length, blocks: Vec::new() };
        for at in (4..seal - 4).step_by(8) {
            table.add(number(at), number(at + 4));
        }
        let most = zstd::zstd_safe::compress_bound(BLOCK) as u32;
        Ok(Some(table).filter(|table| table.blocks.iter().all(|block| block.size <= most)))
    }

    fn add(&mut self, size: u32, crc: u32) {
        self.blocks.push(Block { end: self.stored() + u64::from(size), size, crc });
    }

    /// The bytes of all blocks.
    fn stored(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.end)
    }

    fn bytes(&self) -> Vec<u8> {
        let length = self.length.to_le_bytes();
        let mut bytes = length.to_vec();
        for block in &self.blocks {
            bytes.extend_from_slice(&block.size.to_le_bytes());
            bytes.extend_from_slice(&block.crc.to_le_bytes());
        }
        bytes.extend_from_slice(&length);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// The bytes of the table of a plain segment of `length` bytes.
fn table_size(length: u32) -> u64 {
    12 + 8 * u64::from(length).div_ceil(BLOCK as u64)
}

/// Packs `length` bytes, which `read` gives block by block, as those of segment `number`. Says how
/// many bytes that takes, and syncs nothing of the last ones. `None`: it is not to go on.
///
/// # Errors
/// When the disk fails.
pub(super) fn write_packed(
    out: &File,
    (number, length): (u32, u32),
    read: &dyn Fn(&mut [u8], u64) -> io::Result<()>,
    go_on: &dyn Fn() -> bool,
) -> io::Result<Option<u64>> {
    let mut table = Table { length, blocks: Vec::new() };
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let header = header_of(PACKED, number);
    let start = u64::from(SEGMENT_HEADER) + table_size(length);
    let mut plain = vec![0; BLOCK];
    for at in (0..u64::from(length)).step_by(BLOCK) {
        if !go_on() {
            return Ok(None);
        }
        let plain = &mut plain[..BLOCK.min((u64::from(length) - at) as usize)];
        read(plain, at)?;
        let stored = compressor.compress(plain)?;
        out.write_all_at(&stored, start + table.stored())?;
        table.add(stored.len() as u32, crc32fast::hash(&stored));
        if table.blocks.len().is_multiple_of(SYNC_BLOCKS) {
            out.sync_data()?;
        }
    }
    let bytes = table.bytes();
    let end = start + table.stored();
    out.write_all_at(&header, 0)?;
    out.write_all_at(&bytes, u64::from(SEGMENT_HEADER))?;
    out.write_all_at(&bytes, end)?;
    out.write_all_at(&header[..FOOT], end + bytes.len() as u64)?;
    Ok(Some(end + bytes.len() as u64 + FOOT as u64))
}

/// Fills `bytes` from `at`; false when the file ends before.
pub(super) fn read_exact(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
