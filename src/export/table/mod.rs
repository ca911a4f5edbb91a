//! What holds an export's rows: a kind of table each, behind what `publish` and `write` know of it.
//!
//! Blocking. A table is made beside the file that is there (`Making`); what is in place may be kept
//! (`Kept`), so that a part of it can be changed.

mod cdb;
mod lmdb;
mod mark;
mod pages;
mod text;

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::file::{Draft, FileError, Stamp};
use super::rows::{Edits, Row};
use super::{Shape, Table};

pub use lmdb::{serve as serve_maps, write_maps_by};

#[cfg(test)]
pub(super) use lmdb::rows as rows_of_map;

/// One kind of table.
pub(super) trait Kind: Sync {
    /// An empty draft of that name beside the file at `path`.
    fn begin(
        &self,
        path: &Path,
        draft: &str,
        shape: &'static Shape,
    ) -> Result<Box<dyn Making + Send>, FileError>;

    /// Calls `each` with every row of a file, which need not be ours.
    fn rows(
        &self,
        file: &File,
        shape: &Shape,
        each: &mut dyn FnMut(Row<'_>) -> io::Result<()>,
    ) -> io::Result<Listed>;

    /// Calls `each` with every line of a file that is no row, and says whether a table of this kind
    /// can hold such beside its rows, as they are.
    fn lines(&self, _file: &File, _shape: &Shape, _each: &mut dyn FnMut(&str)) -> io::Result<bool> {
        Ok(false)
    }

    /// Whether a file has a row of that key, found as a reader finds it: without reading all.
    fn has(&self, file: &File, shape: &Shape, key: &str) -> io::Result<bool>;

    /// Whether a reader finds each of the rows that `rows` calls with. An error says that it does
    /// not, or that the file cannot be read.
    fn check(&self, _file: &File) -> io::Result<()> {
        Ok(())
    }

    /// Whether the same rows make the same bytes.
    fn is_canonical(&self) -> bool;

    /// The file as a stop in good order has left it.
    fn resume(&self, _path: &Path) -> Option<Box<dyn Kept>> {
        None
    }
}

/// Whether the file is to blame for an error, and not the disk.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// A table of this kind, with so many rows.
    Table(u64),
    /// None, but a text of so many lines.
    Other(u64),
}

/// A table, while rows come.
pub(super) trait Making {
    /// Adds a row. They may come in any order; of several with one key, one is kept. A line that
    /// is no row ([`Row::line`]) comes behind them all.
    fn add(&mut self, row: Row<'_>) -> Result<(), FileError>;

    /// All of it, not yet in place.
    fn finish(self: Box<Self>) -> Result<Made, FileError>;
}

/// A whole table that is not yet in place.
pub(super) struct Made {
    pub(super) draft: Draft,
    pub(super) rows: u64,
    /// Opens the file at a path that holds these rows now.
    pub(super) keep: Keep,
}

/// `None`: the file has to be made anew for each change.
pub(super) type Keep = Box<dyn FnOnce(&Path) -> Option<Box<dyn Kept>> + Send>;

/// A file of ours of which a part can be changed.
pub(super) trait Kept: Send {
    /// How many rows it has.
    fn rows(&self) -> u64;

    /// What it holds, where that is known without reading it.
    fn digest(&self) -> Option<Digest> {
        None
    }

    /// Whether that path leads to it, and nobody else has written it. What is kept was opened where
    /// a link led then.
    fn is_ours(&self, path: &Path) -> bool;

    /// Makes all the edits visible at once.
    fn apply(&mut self, edits: &Edits) -> Result<Applied, FileError>;

    /// Which version of the file we have left, where also a change that fails may leave another.
    fn left(&self) -> Option<Stamp> {
        None
    }

    /// Leaves what the next start needs to go on with it.
    fn leave(&self) {}
}

/// What came of edits.
pub(super) enum Applied {
    /// Nothing had to be changed.
    Same,
    /// The file was changed in place.
    InPlace,
    /// Another file, to be put in its place.
    Another(Made),
    /// Nothing: somebody else has written it.
    Foreign,
}

/// The kind of a table.
pub(super) fn kind(table: Table) -> &'static dyn Kind {
    match table {
        Table::Text => &text::Text,
        Table::Lmdb => &lmdb::Lmdb,
        Table::Cdb => &cdb::Cdb,
    }
}

/// What a map holds: the number of its rows, and a sum over all of them that does not depend on
/// their order. Two maps of the same digest have the same rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest {
    pub(super) rows: u64,
    pub(super) sum: u64,
}

impl Digest {
    pub(super) fn add(&mut self, row: Row<'_>) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(row.key.as_bytes(), row.value.as_bytes()));
    }

    /// Of the rows of both, which have no key in common.
    fn and(self, other: Digest) -> Digest {
        Digest { rows: self.rows.wrapping_add(other.rows), sum: self.sum.wrapping_add(other.sum) }
    }

    fn remove(&mut self, hash: u64) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash);
    }
}

fn hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, value).hash(&mut hasher);
    hasher.finish()
}
