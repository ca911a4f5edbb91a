//! What the files of runs share: a head, blocks each with a sum of its own, and a tail with a foot
//! whose sum covers all but the blocks. None changes once it is whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::codec::is_newer_form;
use crate::journal::open_regular;

/// Bytes of a sum.
pub(super) const SUM: usize = 4;
/// The mark that a file begins and ends with. Its last byte is the number of the form.
pub(super) type Magic = [u8; 8];

/// What is wrong with a file.
#[derive(Debug)]
pub(super) enum Flaw {
    /// A newer version wrote it, or of it.
    Newer,
    /// It cannot be read, or is not what was written.
    Bad(io::Error),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Flaw {
        Flaw::Bad(error)
    }
}

impl Flaw {
    /// What is wrong, and what to do: `remedy`, where it cannot be read.
    pub(super) fn told(&self, remedy: &'static str) -> (String, &'static str) {
        match self {
            Flaw::Newer => (
                "it was written by a newer version of suppressd".to_owned(),
                "start the version of suppressd that wrote it",
            ),
            Flaw::Bad(error) => (format!("it cannot be read: {error}"), remedy),
        }
    }
}

pub(super) fn bad() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not what was written")
}

/// The checksum of a block, which covers its number.
pub(super) fn sum(number: u64, block: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&number.to_le_bytes());
    hash.update(block);
    hash.finalize()
}

pub(super) fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// A file that is opened, with its head and its foot: numbers, the sum and the mark.
pub(super) struct Sealed<const HEAD: usize, const FOOT: usize> {
    pub(super) file: File,
    /// Bytes of the file.
    pub(super) size: u64,
    pub(super) head: [u8; HEAD],
    pub(super) foot: [u8; FOOT],
    magic: Magic,
}

impl<const HEAD: usize, const FOOT: usize> Sealed<HEAD, FOOT> {
    /// Opens one. Its numbers are not to be believed before `tail` has found them right.
    ///
    /// # Errors
    /// When it is of a newer form, or cannot be read.
    pub(super) fn open(path: &Path, magic: Magic) -> Result<Self, Flaw> {
        let file = open_regular(path, false)?;
        let size = file.metadata()?.len();
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0)?;
        if head.first_chunk().is_some_and(|found| is_newer_form(*found, magic)) {
            return Err(Flaw::Newer);
        }
        let mut sealed = Sealed { file, size, head, foot: [0; FOOT], magic };
        let foot_at = sealed.foot_at()?;
        sealed.file.read_exact_at(&mut sealed.foot, foot_at)?;
        Ok(sealed)
    }

    /// What stands between the blocks, which end at `from`, and the foot, and the sum. It must have
    /// `length` bytes.
    ///
    /// # Errors
    /// When it is not what was written.
    pub(super) fn tail(&self, from: u64, length: Option<u64>) -> io::Result<(Vec<u8>, u32)> {
        let found = self.foot_at()?.checked_sub(from).ok_or_else(bad)?;
        if length != Some(found) {
            return Err(bad());
        }
        // As long as the file has it.
        let mut bytes = vec![0; found as usize];
        self.file.read_exact_at(&mut bytes, from)?;
        let (numbers, seal) = self.foot.split_at(FOOT - SUM - self.magic.len());
        let mut hash = crc32fast::Hasher::new();
        [&self.head[..], &bytes, numbers].iter().for_each(|part| hash.update(part));
        let sum = hash.finalize();
        let is_sealed = seal[..SUM] == sum.to_le_bytes() && seal[SUM..] == self.magic;
        if is_sealed && self.head.starts_with(&self.magic) { Ok((bytes, sum)) } else { Err(bad()) }
    }

    fn foot_at(&self) -> io::Result<u64> {
        let rest = self.size.checked_sub((HEAD + FOOT) as u64).ok_or_else(bad)?;
        Ok(rest + HEAD as u64)
    }
}
