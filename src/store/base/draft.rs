//! Writing a run: keys as they are sorted, then what finds them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::block::{Builder, common};
use super::hashes;
use super::run::{HEAD, MAGIC, Run};
use crate::journal::sync_dir;
use crate::store::checkpoints::DRAFT;
use crate::store::filter::Filter;
use crate::store::paced::Paced;
use crate::store::sealed::{Flaw, SUM, sum};

pub(super) const SUFFIX: &str = "run";

/// The file of the run with a number.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.{SUFFIX}"))
}

/// A run in the making. Removed when dropped before its end.
pub(in crate::store) struct Draft {
    dir: PathBuf,
    path: PathBuf,
    draft: PathBuf,
    head: [u8; HEAD],
    out: Paced,
    block: Builder,
    /// What finds the blocks, as it is stored, and how many bytes they have.
    table: Vec<u8>,
    blocks: u64,
    bytes: u64,
    entries: u64,
    filter: Filter,
}

impl Draft {
    /// Begins one for about so many entries.
    ///
    /// # Errors
    /// When the disk fails.
    pub(in crate::store) fn begin(dir: &Path, number: u64, entries: u64) -> io::Result<Draft> {
        let path = path(dir, number);
        let draft = path.with_extension(DRAFT);
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8..].copy_from_slice(&number.to_le_bytes());
        let mut out = Paced::create(&draft)?;
        out.put(&head)?;
        Ok(Draft {
            dir: dir.to_owned(),
            path,
            draft,
            head,
            out,
            block: Builder::default(),
            table: Vec::new(),
            blocks: 0,
            bytes: 0,
            entries: 0,
            filter: Filter::new(entries),
        })
    }

    /// Adds a key and its value, which is empty if it is gone.
    ///
    /// # Errors
    /// When the disk fails, or it does not stand behind all before.
    pub(in crate::store) fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let last = self.block.last();
        if self.entries > 0 && last >= key {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its keys are not in order"));
        }
        if self.block.is_full() {
            self.flush()?;
        }
        if self.block.is_empty() {
            let last = self.block.last();
            let separator = &key[..key.len().min(common(last, key) + 1)];
            let length = u16::try_from(separator.len()).map_err(io::Error::other)?;
            self.table.extend_from_slice(&length.to_le_bytes());
            self.table.extend_from_slice(separator);
        }
        self.block.put(key, value);
        self.filter.insert(hashes(key));
        self.entries += 1;
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = self.block.bytes();
        let length = u32::try_from(block.len()).map_err(io::Error::other)?;
        self.out.put(block)?;
        self.out.put(&sum(self.blocks, block).to_le_bytes())?;
        self.table.extend_from_slice(&length.to_le_bytes());
        self.blocks += 1;
        self.bytes += u64::from(length) + SUM as u64;
        self.block.clear();
        Ok(())
    }

    /// Puts it in place, synced, and reads all of it back.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn finish(mut self) -> io::Result<Run> {
        self.flush()?;
        let mut hash = crc32fast::Hasher::new();
        hash.update(&self.head);
        let mut put = |bytes: &[u8]| {
            hash.update(bytes);
            self.out.put(bytes)
        };
        put(&self.table)?;
        self.filter.bytes().try_for_each(|word| put(&word))?;
        let words = self.filter.bytes().count() as u64;
        for number in [self.entries, self.blocks, self.bytes, self.table.len() as u64, words] {
            put(&number.to_le_bytes())?;
        }
        let sum = hash.finalize().to_le_bytes();
        self.out.put(&sum)?;
        self.out.put(MAGIC)?;
        self.out.sync()?;
        let run = read_back(&self.draft)?;
        fs::rename(&self.draft, &self.path)?;
        sync_dir(&self.dir)?;
        Ok(run.renamed(&self.path).owned(true))
    }
}

/// What was just written, if it is whole.
fn read_back(draft: &Path) -> io::Result<Run> {
    let run = Run::open(draft).and_then(|run| run.verify().map(|_| run));
    run.map_err(|flaw| match flaw {
        Flaw::Newer => io::Error::other("a newer version wrote of it"),
        Flaw::Bad(error) => io::Error::other(format!("what was just written: {error}")),
    })
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is not there when it was put in place; and a start removes what stays.
        let _ = fs::remove_file(&self.draft);
    }
}
