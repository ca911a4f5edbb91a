//! An LMDB map as Postfix's `lmdb:` reads it.
//!
//! Blocking. A key and a value end in a NUL each. `map` writes, in a process that `apart` starts;
//! what is read, is read page by page without a map.

mod apart;
mod map;

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::super::rows::Rows;
use super::pages::{self, Meta, has, visit};
use super::{
    Applied, Digest, Draft, Edits, FileError, Kept, Kind, Listed, Made, Making, Row, Shape, Stamp,
    is_damage, mark,
};
use apart::{Answer, Ask, Place, Writer};

pub use apart::{serve, write_maps_by};
#[cfg(test)]
pub(in super::super) use map::rows;

/// Bytes of rows that a transaction of a new map takes.
const BULK_BYTES: usize = 4 << 20;

/// Most looks at a map that is changed all the while.
const LOOKS_MAX: usize = 5;

/// LMDB maps.
pub(super) struct Lmdb;

impl Kind for Lmdb {
    fn begin(
        &self,
        path: &Path,
        draft: &str,
        _shape: &'static Shape,
    ) -> Result<Box<dyn Making + Send>, FileError> {
        Ok(Box::new(Bulk::begin(path, draft)?))
    }

    /// Of what is no map, or is damaged, nothing is known that could be lost.
    fn rows(
        &self,
        file: &File,
        _shape: &Shape,
        each: &mut dyn FnMut(Row<'_>) -> io::Result<()>,
    ) -> io::Result<Listed> {
        let Some(meta) = Meta::of(file) else { return Ok(Listed::Table(0)) };
        let mut rows = 0;
        let visited = visit(file, &meta, &mut |key, value| {
            let [key, value] = [key, value].map(|stored| String::from_utf8_lossy(text(stored)));
            rows += 1;
            each(Row { key: &key, value: &value })
        });
        match visited {
            Err(error) if !is_damage(&error) => Err(error),
            _ => Ok(Listed::Table(rows)),
        }
    }

    fn has(&self, file: &File, _shape: &Shape, key: &str) -> io::Result<bool> {
        let key = nul(key);
        let look = || Meta::of(file).map_or(Ok(false), |meta| has(file, &meta, &key));
        // Pages are used again while it is changed in place.
        look().or_else(|_| look())
    }

    /// A map that was changed in place meanwhile is looked at again: pages of two versions are no
    /// damage. Of one that always is, nothing is known.
    fn check(&self, file: &File) -> io::Result<()> {
        for _ in 0..LOOKS_MAX {
            let before = Meta::transaction(file);
            let found = pages::check(file);
            if found.is_ok() || Meta::transaction(file) == before {
                return found;
            }
        }
        Ok(())
    }

    fn is_canonical(&self) -> bool {
        false
    }

    fn resume(&self, path: &Path) -> Option<Box<dyn Kept>> {
        let digest = mark::take(path)?;
        let writer = Writer::start().ok()?;
        Some(Box::new(Live::open(writer, path, digest).ok()?))
    }
}

/// A text as Postfix stores it.
fn nul(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// The text of what is stored.
fn text(stored: &[u8]) -> &[u8] {
    stored.strip_suffix(&[0]).unwrap_or(stored)
}

/// An answer that belongs to another ask.
fn astray() -> io::Error {
    io::Error::other("the process that writes the map gave a wrong answer")
}

/// A new map in the making.
struct Bulk {
    draft: Draft,
    writer: Writer,
    rows: Rows,
    last: String,
    /// Rows that came behind a greater key.
    late: Rows,
    digest: Digest,
}

impl Making for Bulk {
    fn add(&mut self, row: Row<'_>) -> Result<(), FileError> {
        if self.digest.rows > 0 && row.key <= self.last.as_str() {
            if row.key != self.last {
                self.late.add(&[row.key], &[row.value]);
            }
            return Ok(());
        }
        self.digest.add(row);
        self.rows.add(&[row.key], &[row.value]);
        self.last.clear();
        self.last.push_str(row.key);
        if self.rows.bytes() < BULK_BYTES {
            return Ok(());
        }
        self.flush().map_err(|e| self.draft.failed("write", e))
    }

    fn finish(mut self: Box<Self>) -> Result<Made, FileError> {
        let digest = self.flush().and_then(|()| self.add_late());
        let digest = digest.map_err(|e| self.draft.failed("write", e))?;
        let Bulk { draft, writer, .. } = *self;
        let keep = move |path: &Path| -> Option<Box<dyn Kept>> {
            Some(Box::new(Live::open(writer, path, digest).ok()?))
        };
        Ok(Made { draft, rows: digest.rows, keep: Box::new(keep) })
    }
}

impl Bulk {
    /// An empty map beside the target.
    fn begin(target: &Path, name: &str) -> Result<Bulk, FileError> {
        let (draft, _) = Draft::create(target, name)?;
        let begin = || {
            let mut writer = Writer::start()?;
            writer.ask(&Ask::Begin(Place::new(&draft.path)))?;
            Ok(writer)
        };
        let writer = begin().map_err(|e| draft.failed("write", e))?;
        let (rows, last, late) = Default::default();
        Ok(Bulk { draft, writer, rows, last, late, digest: Digest::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.ask(&Ask::Append(Cow::Borrowed(&self.rows)))?;
        self.rows.clear();
        Ok(())
    }

    fn add_late(&mut self) -> io::Result<Digest> {
        if self.late.count() == 0 {
            return Ok(self.digest);
        }
        match self.writer.ask(&Ask::Insert(Cow::Borrowed(&self.late)))? {
            Answer::Added(late) => Ok(self.digest.and(late)),
            _ => Err(astray()),
        }
    }
}

/// A map that is in use, changed in place.
struct Live {
    path: PathBuf,
    writer: Writer,
    /// Which version of the file we have left.
    stamp: Stamp,
    digest: Digest,
}

impl Live {
    /// Opens a map that `Bulk` has made and that holds what `digest` says.
    fn open(mut writer: Writer, path: &Path, digest: Digest) -> io::Result<Live> {
        match writer.ask(&Ask::Open(Place::new(path), digest))? {
            Answer::Left(stamp, digest) => {
                Ok(Live { path: path.to_owned(), writer, stamp, digest })
            }
            _ => Err(astray()),
        }
    }

    fn edit(&mut self, edits: &Edits) -> io::Result<Applied> {
        match self.writer.ask(&Ask::Edit(Cow::Borrowed(edits)))? {
            Answer::Left(stamp, digest) => {
                let is_same = digest == self.digest;
                (self.stamp, self.digest) = (stamp, digest);
                Ok(if is_same { Applied::Same } else { Applied::InPlace })
            }
            Answer::Foreign => Ok(Applied::Foreign),
            _ => Err(astray()),
        }
    }
}

impl Kept for Live {
    fn rows(&self) -> u64 {
        self.digest.rows
    }

    fn digest(&self) -> Option<Digest> {
        Some(self.digest)
    }

    fn is_ours(&self, path: &Path) -> bool {
        Stamp::of(path).ok() == Some(self.stamp)
    }

    fn apply(&mut self, edits: &Edits) -> Result<Applied, FileError> {
        if !self.is_ours(&self.path) {
            return Ok(Applied::Foreign);
        }
        self.edit(edits).map_err(|error| {
            // A part of the change may be in the file. Nothing of ours makes it shorter.
            let now = Stamp::of(&self.path).ok();
            let is_ours =
                |now: &Stamp| now.inode == self.stamp.inode && now.bytes >= self.stamp.bytes;
            self.stamp = now.filter(is_ours).unwrap_or(self.stamp);
            FileError::new("write", &self.path, error)
        })
    }

    fn left(&self) -> Option<Stamp> {
        Some(self.stamp)
    }

    fn leave(&self) {
        // Without it, the next start makes the map anew.
        let _ = mark::leave(&self.path, self.stamp, self.digest);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::map::{LOCK_MAX, Lock, MAP_BYTES_MIN};
    use super::*;

    fn bulk(path: &Path, rows: impl Iterator<Item = (String, String)>) -> Digest {
        let mut bulk = Box::new(Bulk::begin(path, "draft").unwrap());
        for (key, value) in rows {
            bulk.add(Row { key: &key, value: &value }).unwrap();
        }
        let made = bulk.finish().unwrap();
        std::fs::rename(&made.draft.path, path).unwrap();
        (made.keep)(path).and_then(|kept| kept.digest()).unwrap()
    }

    fn live(path: &Path, digest: Digest) -> io::Result<Live> {
        Live::open(Writer::start().unwrap(), path, digest)
    }

    /// The rows as they are read without a map.
    fn listed(path: &Path) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let file = File::open(path).unwrap();
        let counted = Lmdb.rows(&file, &Shape::LINES, &mut |row| {
            found.push((row.key.to_owned(), row.value.to_owned()));
            Ok(())
        });
        assert_eq!(counted.unwrap(), Listed::Table(found.len() as u64));
        found
    }

    #[test]
    fn rows_are_there_however_they_come_and_the_map_grows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f.lmdb");
        let row = |n: u32| (format!("user{n:07}@example.com"), "v".repeat(1_000));
        // More than the least address space, twice.
        let mut numbers: Vec<u32> = (0..40_000).filter(|n| n % 1_000 != 7).collect();
        numbers.extend((0..40_000).filter(|n| n % 1_000 == 7));
        numbers.extend([5, 7]);
        let digest = bulk(&path, numbers.into_iter().map(row));
        assert_eq!(digest.rows, 40_000);
        let all = rows(&path);
        assert_eq!(all.len(), 40_000);
        assert!(all.iter().enumerate().all(|(n, found)| *found == row(n as u32)));
        assert!(path.metadata().unwrap().len() > 2 * MAP_BYTES_MIN as u64);
        assert_eq!(listed(&path), (0..40_000).map(row).collect::<Vec<_>>());
        let file = File::open(&path).unwrap();
        let has = |key: &str| Lmdb.has(&file, &Shape::LINES, key).unwrap();
        assert!((0..40_000).step_by(7).all(|n| has(&row(n).0)));
        assert!(!has("") && !has("user0000007") && !has(&row(40_000).0) && !has("zzz"));
        let mut live = live(&path, digest).unwrap();
        let mut edits = Edits::default();
        for n in 40_000..100_000 {
            let (key, value) = row(n);
            edits.puts.add(&[&key], &[&value]);
        }
        assert!(matches!(live.edit(&edits), Ok(Applied::InPlace)), "the space grows again");
        assert_eq!(listed(&path), (0..100_000).map(row).collect::<Vec<_>>());
    }

    #[test]
    fn the_digest_is_that_of_the_rows_whatever_led_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let row = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let digest = bulk(&path("a"), [row("a", "1"), row("b", "1"), row("c", "1")].into_iter());
        let mut live = live(&path("a"), digest).unwrap();
        let mut edits = Edits::default();
        edits.deletes.add(&["a"], &["whatever"]);
        edits.deletes.add(&["nothing"], &[]);
        edits.puts.add(&["b"], &["2"]);
        edits.puts.add(&["d"], &["3"]);
        assert!(matches!(live.edit(&edits), Ok(Applied::InPlace)));
        assert!(matches!(live.edit(&edits), Ok(Applied::Same)), "the second time");
        let expected = [row("b", "2"), row("c", "1"), row("d", "3")];
        assert_eq!(rows(&path("a")), expected);
        let fresh = bulk(&path("b"), expected.into_iter());
        assert_eq!(live.digest(), Some(fresh));
        assert_eq!(live.rows(), 3);
        File::options().append(true).open(path("a")).unwrap().set_len(1 << 20).unwrap();
        assert!(matches!(live.apply(&edits), Ok(Applied::Foreign)), "somebody else has written it");
    }

    /// Whoever can open a map can hold its lock, and cut or replace it.
    #[test]
    fn nobody_holds_a_change_up_for_ever_and_a_replaced_map_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f.lmdb");
        let digest = bulk(&path, [("a".to_owned(), "1".to_owned())].into_iter());
        let mut live = live(&path, digest).unwrap();
        let mut edits = Edits::default();
        edits.puts.add(&["b"], &["2"]);
        let other = File::open(&path).unwrap();
        let lock = Lock::shared(&other);
        let started = Instant::now();
        let error = live.apply(&edits).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("another program has held its lock for 5 s"), "{error}");
        assert!(started.elapsed() < 2 * LOCK_MAX);
        drop(lock);
        assert!(matches!(live.apply(&edits), Ok(Applied::InPlace)));
        let before = listed(&path);
        std::fs::copy(&path, directory.path().join("copy")).unwrap();
        std::fs::rename(directory.path().join("copy"), &path).unwrap();
        edits.puts.add(&["c"], &["3"]);
        assert!(matches!(live.apply(&edits), Ok(Applied::Foreign)));
        assert_eq!(listed(&path), before);
    }

    #[test]
    fn what_is_cut_or_no_map_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f.lmdb");
        let digest = bulk(&path, (0..10_000).map(|n| (format!("{n:05}"), "v".to_owned())));
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        assert!(live(&path, digest).is_err());
        for text in ["", "no map"] {
            std::fs::write(&path, text).unwrap();
            assert!(live(&path, digest).is_err());
            assert_eq!(listed(&path), []);
        }
    }

    #[test]
    fn no_bit_of_a_map_turns_unseen_and_is_felt() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f.lmdb");
        let row = |n: u32| (format!("user{n:07}@example.com"), "550 no".to_owned());
        bulk(&path, (0..300).map(row));
        let (whole, read) = (std::fs::read(&path).unwrap(), rows(&path));
        assert!(read.len() == 300 && Lmdb.check(&File::open(&path).unwrap()).is_ok());
        let mut unseen = 0;
        for at in (0..whole.len()).step_by(5) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(&path, damaged).unwrap();
            let file = File::open(&path).unwrap();
            if Lmdb.check(&file).is_ok() && listed(&path) == read {
                let has = |key: &String| Lmdb.has(&file, &Shape::LINES, key).unwrap();
                assert!(rows(&path) == read && read.iter().all(|(key, _)| has(key)), "byte {at}");
                unseen += 1;
            }
        }
        // What is free in the pages, and what LMDB only counts.
        assert!(unseen > 0);
        let empty = directory.path().join("empty.lmdb");
        bulk(&empty, std::iter::empty());
        assert!(Lmdb.check(&File::open(&empty).unwrap()).is_ok());
        std::fs::write(&empty, &whole[..2 * 4096]).unwrap();
        assert!(Lmdb.check(&File::open(&empty).unwrap()).is_err(), "it is cut");
    }
}
