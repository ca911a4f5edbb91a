//! A CDB map, as Postfix, Exim and Rspamd read it: the only owner of cdb2.
//!
//! Blocking. No NUL ends a key or a value. It is made anew for every change.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cdb2::CDBMake;

use super::{Draft, FileError, Kind, Made, Making, Row, Shape};

/// What a file begins with: where each of 256 tables is, and how long, in four bytes each.
const HEADER_BYTES: usize = 2048;

/// CDB maps.
pub(super) struct Cdb;

impl Kind for Cdb {
    fn begin(
        &self,
        path: &Path,
        _shape: &'static Shape,
    ) -> Result<Box<dyn Making + Send>, FileError> {
        let (draft, file) = Draft::create(path, "suppressd-new")?;
        let map = CDBMake::new(file).map_err(|e| draft.failed("write", e))?;
        Ok(Box::new(Constant { draft, map, rows: 0, last: String::new() }))
    }

    fn count(&self, file: &File, _shape: &Shape) -> io::Result<u64> {
        Ok(rows_of(file).unwrap_or(0))
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

/// How many rows a file has; `None` if it is no map.
fn rows_of(file: &File) -> Option<u64> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    let lengths = header.chunks_exact(8).filter_map(|table| table.last_chunk::<4>());
    // Half of a table is empty.
    Some(lengths.map(|length| u64::from(u32::from_le_bytes(*length)) / 2).sum())
}
