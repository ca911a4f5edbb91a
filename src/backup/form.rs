//! The form of a backup: one file with others in it, and a running checksum behind each piece.
//!
//! ```text
//! "SUPBKUP1" made:i64 end:u64 version:text sum
//! then for each file: 1:u8 name:text modified:i64 length:u64 sum, and its bytes, a sum behind each
//! MiB and at its end; then 0:u8, the number of files:u32, sum
//! ```
//! Numbers are little-endian; a text has its length before it, as u16. A sum is the CRC-32 of all
//! before it, sums too: so no byte, and no order, can change unnoticed.

use std::io::{self, Read, Write};

use crate::model::Position;

/// The last byte is the number of the form: another form takes the next.
const MAGIC: &[u8; 8] = b"SUPBKUP1";
const FILE: u8 = 1;
const END: u8 = 0;
/// Bytes between two sums.
const CHUNK: usize = 1 << 20;
/// Longest text, in bytes: names have about thirty.
const TEXT_MAX: usize = 256;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// When it was made, in seconds since the Unix epoch.
    pub made: i64,
    /// Up to where it has the journal.
    pub end: Position,
    /// The version that made it.
    pub version: String,
}

/// A file in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its path below the state directory.
    pub(super) name: String,
    /// When it was changed, in seconds since the Unix epoch.
    pub(super) modified: i64,
    /// How long it is, in bytes.
    pub(super) length: u64,
}

/// Why something is no backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A newer version wrote it.
    #[error("it was made by a newer version of suppressd, in form {0}")]
    Newer(char),
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn damaged(why: impl Into<String>) -> BackupError {
    BackupError::Damaged(why.into())
}

/// Writes a backup.
pub(super) struct Writer<W> {
    out: W,
    sum: crc32fast::Hasher,
    files: u32,
    chunk: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, about: &About) -> io::Result<Writer<W>> {
        let mut writer = Writer { out, sum: Default::default(), files: 0, chunk: vec![0; CHUNK] };
        writer.put(MAGIC)?;
        writer.put(&about.made.to_le_bytes())?;
        writer.put(&about.end.as_u64().to_le_bytes())?;
        writer.text(&about.version)?;
        writer.sum()?;
        Ok(writer)
    }

    /// Adds a file: exactly as much of it as its length says.
    pub(super) fn file(&mut self, member: &Member, mut bytes: impl Read) -> io::Result<()> {
        self.files += 1;
        self.put(&[FILE])?;
        self.text(&member.name)?;
        self.put(&member.modified.to_le_bytes())?;
        self.put(&member.length.to_le_bytes())?;
        self.sum()?;
        let mut left = member.length;
        let mut chunk = std::mem::take(&mut self.chunk);
        while left > 0 {
            let part = &mut chunk[..left.min(CHUNK as u64) as usize];
            bytes.read_exact(part)?;
            self.put(part)?;
            self.sum()?;
            left -= part.len() as u64;
        }
        self.chunk = chunk;
        Ok(())
    }

    /// Ends it, and gives back what it was written to.
    pub(super) fn end(mut self) -> io::Result<W> {
        self.put(&[END])?;
        self.put(&self.files.to_le_bytes())?;
        self.sum()?;
        Ok(self.out)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let length = u16::try_from(text.len()).ok().filter(|_| text.len() <= TEXT_MAX);
        let length = length.ok_or_else(|| io::Error::other("a name is too long for a backup"))?;
        self.put(&length.to_le_bytes())?;
        self.put(text.as_bytes())
    }

    fn sum(&mut self) -> io::Result<()> {
        let sum = self.sum.clone().finalize();
        self.put(&sum.to_le_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Reads a backup.
pub(super) struct Reader<R> {
    input: R,
    sum: crc32fast::Hasher,
    files: u32,
    chunk: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Result<(Reader<R>, About), BackupError> {
        let mut reader = Reader { input, sum: Default::default(), files: 0, chunk: vec![0; CHUNK] };
        let magic = reader.array::<8>()?;
        if magic != *MAGIC {
            let number = magic[7];
            let is_newer = magic[..7] == MAGIC[..7] && number > MAGIC[7] && number.is_ascii_digit();
            return Err(if is_newer {
                BackupError::Newer(char::from(number))
            } else {
                damaged("it does not begin as a backup of suppressd does")
            });
        }
        let made = i64::from_le_bytes(reader.array()?);
        let end = Position::from_u64(u64::from_le_bytes(reader.array()?));
        let version = reader.text()?;
        reader.sum("its head")?;
        Ok((reader, About { made, end, version }))
    }

    /// The next file, whose bytes [`Reader::bytes`] must take. `None`: that was all.
    pub(super) fn next(&mut self) -> Result<Option<Member>, BackupError> {
        if self.array::<1>()? == [FILE] {
            let name = self.text()?;
            let modified = i64::from_le_bytes(self.array()?);
            let length = u64::from_le_bytes(self.array()?);
            self.sum("the head of a file")?;
            self.files += 1;
            return Ok(Some(Member { name, modified, length }));
        }
        let files = u32::from_le_bytes(self.array()?);
        self.sum("its end")?;
        if files != self.files {
            return Err(damaged("it has not as many files as it says"));
        }
        match self.input.read(&mut [0])? {
            0 => Ok(None),
            _ => Err(damaged("something follows its end")),
        }
    }

    /// Hands on the bytes of a file, each piece when its sum agrees.
    pub(super) fn bytes(
        &mut self,
        member: &Member,
        mut to: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), BackupError> {
        let mut left = member.length;
        let mut chunk = std::mem::take(&mut self.chunk);
        while left > 0 {
            let part = &mut chunk[..left.min(CHUNK as u64) as usize];
            self.fill(part)?;
            self.sum(&member.name)?;
            to(part)?;
            left -= part.len() as u64;
        }
        self.chunk = chunk;
        Ok(())
    }

    fn text(&mut self) -> Result<String, BackupError> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        if length > TEXT_MAX {
            return Err(damaged("a name in it is too long"));
        }
        let mut text = vec![0; length];
        self.fill(&mut text)?;
        String::from_utf8(text).map_err(|_| damaged("a name in it is no text"))
    }

    fn sum(&mut self, of: &str) -> Result<(), BackupError> {
        let sum = self.sum.clone().finalize();
        if u32::from_le_bytes(self.array()?) != sum {
            return Err(damaged(format!("a checksum does not agree with what it is of: {of}")));
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends too soon"),
            _ => BackupError::Io(error),
        })?;
        self.sum.update(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<u8> {
        let about = About {
            made: 5,
            end: Position { segment: 2, offset: 16 },
            version: "1.2.3".to_owned(),
        };
        let mut writer = Writer::new(Vec::new(), &about).unwrap();
        for (name, bytes) in [("a", &b"first"[..]), ("b", b""), ("c", &[7; 3000])] {
            let member = Member { name: name.to_owned(), modified: 9, length: bytes.len() as u64 };
            writer.file(&member, bytes).unwrap();
        }
        writer.end().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<(String, usize)>, BackupError> {
        let (mut reader, _) = Reader::new(bytes)?;
        let mut files = Vec::new();
        while let Some(member) = reader.next()? {
            let mut length = 0;
            reader.bytes(&member, |part| {
                length += part.len();
                Ok(())
            })?;
            files.push((member.name, length));
        }
        Ok(files)
    }

    #[test]
    fn what_was_written_is_read_and_every_damage_is_found() {
        let whole = made();
        let expected = [("a".to_owned(), 5), ("b".to_owned(), 0), ("c".to_owned(), 3000)];
        assert_eq!(read(&whole).unwrap(), expected);
        for at in 0..whole.len() {
            assert!(read(&whole[..at]).is_err(), "cut at {at}");
            for bit in [1, 0x80] {
                let mut bytes = whole.clone();
                bytes[at] ^= bit;
                assert!(read(&bytes).is_err(), "changed at {at}");
            }
        }
        assert!(read(&[&whole[..], b"x"].concat()).is_err());
        let mut newer = whole;
        newer[7] = b'2';
        assert!(matches!(read(&newer), Err(BackupError::Newer('2'))));
    }
}
