//! A CDB map, as Postfix, Exim and Rspamd read it: the only owner of cdb2.
//!
//! Blocking. No NUL ends a key or a value. It is made anew for every change.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use cdb2::CDBMake;

use super::super::file::BUFFER_BYTES;
use super::{Draft, FileError, Kind, Listed, Made, Making, Row, Shape};

/// What a file begins with: where each of 256 tables is, and how long, in four bytes each.
const HEADER_BYTES: usize = 2048;

/// Longest row, in bytes: far more than any of ours.
const ROW_BYTES_MAX: u64 = 1 << 20;

/// CDB maps.
pub(super) struct Cdb;

impl Kind for Cdb {
    fn begin(
        &self,
        path: &Path,
        draft: &str,
        _shape: &'static Shape,
    ) -> Result<Box<dyn Making + Send>, FileError> {
        let (draft, file) = Draft::create(path, draft)?;
        let map = CDBMake::new(file).map_err(|e| draft.failed("write", e))?;
        Ok(Box::new(Constant { draft, map, rows: 0, last: String::new() }))
    }

    fn rows(
        &self,
        file: &File,
        _shape: &Shape,
        each: &mut dyn FnMut(Row<'_>) -> io::Result<()>,
    ) -> io::Result<Listed> {
        let Some(end) = end_of_rows(file) else { return Ok(Listed::Table(0)) };
        let (mut reader, mut rows) = (BufReader::with_capacity(BUFFER_BYTES, file), 0);
        let mut at = reader.seek(io::SeekFrom::Start(HEADER_BYTES as u64))?;
        let mut text = Vec::new();
        while at < end {
            let [key, value] = [number(&mut reader)?, number(&mut reader)?];
            let length = u64::from(key) + u64::from(value);
            if length > ROW_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the CDB map is damaged"));
            }
            text.clear();
            text.resize(length as usize, 0);
            reader.read_exact(&mut text)?;
            let (key, value) = text.split_at(key as usize);
            let [key, value] = [key, value].map(String::from_utf8_lossy);
            each(Row { key: &key, value: &value })?;
            rows += 1;
            at += 8 + length;
        }
        Ok(Listed::Table(rows))
    }

    fn has(&self, file: &File, _shape: &Shape, key: &str) -> io::Result<bool> {
        let hash = hash(key.as_bytes());
        let [table, slots] = pair(file, u64::from(hash & 255) * 8)?;
        // An empty slot ends the search (cdb(5)).
        for step in 0..slots {
            let slot = (u64::from(hash >> 8) + u64::from(step)) % u64::from(slots);
            let [found, at] = pair(file, u64::from(table) + slot * 8)?;
            if at == 0 {
                break;
            }
            let [length, _] = pair(file, u64::from(at))?;
            if found == hash && length as usize == key.len() {
                let mut stored = vec![0; key.len()];
                file.read_exact_at(&mut stored, u64::from(at) + 8)?;
                if stored == key.as_bytes() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn is_canonical(&self) -> bool {
        true
    }
}

/// A new map in the making.
struct Constant {
    draft: Draft,
    map: CDBMake,
    rows: u64,
    last: String,
}

impl Making for Constant {
    /// Of several rows with one key, readers find the first.
    fn add(&mut self, row: Row<'_>) -> Result<(), FileError> {
        if self.rows > 0 && row.key == self.last {
            return Ok(());
        }
        let added = self.map.add(row.key.as_bytes(), row.value.as_bytes());
        added.map_err(|e| self.draft.failed("write", e))?;
        self.rows += 1;
        self.last.clear();
        self.last.push_str(row.key);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Made, FileError> {
        let Constant { draft, map, rows, .. } = *self;
        map.finish().map_err(|e| draft.failed("write", e))?;
        Ok(Made { draft, rows, keep: Box::new(|_| None) })
    }
}

/// Where the rows of a file end; `None` if it is no map.
fn end_of_rows(file: &File) -> Option<u64> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    let tables = header.chunks_exact(8).filter_map(|table| table.first_chunk::<4>());
    tables.map(|at| u64::from(u32::from_le_bytes(*at))).filter(|at| *at > 0).min()
}

/// The hash of a key (cdb(5)).
fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5381, |hash: u32, byte| (hash << 5).wrapping_add(hash) ^ u32::from(*byte))
}

/// Two numbers of four bytes each.
fn pair(file: &File, at: u64) -> io::Result<[u32; 2]> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at)?;
    let mut reader = &bytes[..];
    Ok([number(&mut reader)?, number(&mut reader)?])
}

fn number(reader: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}
