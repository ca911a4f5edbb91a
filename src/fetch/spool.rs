//! A body that is too long for memory: in a file without a name, to be read from any place.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A long body. Its file is gone with the last of its clones, and with the process.
#[derive(Clone, Debug)]
pub struct Spool {
    file: Arc<File>,
    length: u64,
}

impl PartialEq for Spool {
    fn eq(&self, other: &Spool) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for Spool {}

impl Spool {
    /// An empty one in that directory.
    ///
    /// # Errors
    /// When there can be no file.
    pub fn begin(dir: &Path) -> io::Result<Spool> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("answer.{number}.draft"));
            let mut options = File::options();
            options.read(true).write(true).create_new(true).mode(0o600);
            match options.open(&path) {
                Ok(file) => {
                    fs::remove_file(&path)?;
                    return Ok(Spool { file: Arc::new(file), length: 0 });
                }
                // A kill between those two lines has left it behind.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    fs::remove_file(&path)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds to its end.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The bytes of a range, as far as there are any.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let length = to.min(self.length).saturating_sub(from);
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_read_from_any_place_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::begin(dir.path()).unwrap();
        let other = Spool::begin(dir.path()).unwrap();
        spool.add(b"one ").unwrap();
        spool.add(b"two").unwrap();
        assert_eq!(spool.read(0, spool.length()).unwrap(), b"one two");
        assert_eq!(spool.read(4, 100).unwrap(), b"two");
        assert_eq!((spool.read(7, 9).unwrap(), other.length()), (Vec::new(), 0));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
