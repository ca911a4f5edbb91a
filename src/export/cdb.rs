//! A CDB map, as Postfix, Exim and Rspamd read it: the only owner of cdb2.
//!
//! Blocking. No NUL ends a key or a value. It is made anew for every change.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cdb2::CDBMake;

use super::Row;
use super::publish::{Draft, PublishError};

/// What a file begins with: where each of 256 tables is, and how long, in four bytes each.
const HEADER_BYTES: usize = 2048;

/// A new map in the making.
pub(super) struct Constant {
    draft: Draft,
    map: CDBMake,
    rows: u64,
    last: String,
}

impl Constant {
    /// An empty map beside the target.
    pub(super) fn begin(target: &Path) -> Result<Constant, PublishError> {
        let (draft, file) = Draft::create(target, "suppressd-new")?;
        let map = CDBMake::new(file).map_err(|e| draft.failed("write", e))?;
        Ok(Constant { draft, map, rows: 0, last: String::new() })
    }

    /// Adds a row. Of several with one key, readers find the first.
    pub(super) fn add(&mut self, row: Row<'_>) -> Result<(), PublishError> {
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

    /// The whole draft, and how many rows it has.
    pub(super) fn finish(self) -> Result<(Draft, u64), PublishError> {
        self.map.finish().map_err(|e| self.draft.failed("write", e))?;
        Ok((self.draft, self.rows))
    }
}

/// How many rows a file has; `None` if it is no map.
pub(super) fn rows_of(file: &File) -> Option<u64> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    let lengths = header.chunks_exact(8).filter_map(|table| table.last_chunk::<4>());
    // Half of a table is empty.
    Some(lengths.map(|length| u64::from(u32::from_le_bytes(*length)) / 2).sum())
}
