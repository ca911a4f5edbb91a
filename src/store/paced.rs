//! Writing a large file beside everything else: little at a time, and synced often, so that the
//! journal's syncs on the same disk never wait for much.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::journal::create_private;

/// Written so much at a time, and synced so often, in bytes.
const BUFFER: usize = 256 << 10;
const SYNC: u64 = 8 << 20;

/// A file in the making.
pub(super) struct Paced {
    out: BufWriter<File>,
    unsynced: u64,
}

impl Paced {
    /// Begins a file, or begins it anew.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn create(path: &Path) -> io::Result<Paced> {
        let out = BufWriter::with_capacity(BUFFER, create_private(path)?);
        Ok(Paced { out, unsynced: 0 })
    }

    /// Adds some bytes.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC {
            self.out.flush()?;
            self.out.get_ref().sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Leaves all of it to the system.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Syncs all of it.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()
    }
}
