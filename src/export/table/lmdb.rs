//! An LMDB map as Postfix's `lmdb:` reads it: the only owner of heed.
//!
//! Blocking. A key and a value end in a NUL each. A new map is made beside the old one by `Bulk`;
//! one that is in use is changed in place by `Live`, a transaction a change set, under the lock
//! that Postfix takes: without it Postfix aborts.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, MdbError, PutFlags, RwTxn, WithoutTls};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::super::rows::Rows;
use super::{
    Applied, Digest, Draft, Edits, FileError, Kept, Kind, Made, Making, Row, Shape, Stamp, hash,
    mark,
};

/// The least address space for a map, in bytes. It is no room on disk.
const MAP_BYTES_MIN: usize = 16 << 20;

/// Bytes of rows that a transaction of a new map takes.
const BULK_BYTES: usize = 4 << 20;

/// The length of a page, and of what is read of each of the first two.
const PAGE_BYTES: u64 = 4096;
const META_BYTES: usize = 136;

/// What these begin with: LMDB's magic number, and version 1.
const MAGIC: u64 = 0x1_beef_c0de;

type Map = Database<Bytes, Bytes>;

/// LMDB maps.
pub(super) struct Lmdb;

impl Kind for Lmdb {
    fn begin(
        &self,
        path: &Path,
        _shape: &'static Shape,
    ) -> Result<Box<dyn Making + Send>, FileError> {
        Ok(Box::new(Bulk::begin(path)?))
    }

    fn count(&self, file: &File, _shape: &Shape) -> io::Result<u64> {
        Ok(rows_of(file).unwrap_or(0))
    }

    fn is_canonical(&self) -> bool {
        false
    }

    fn resume(&self, path: &Path) -> Option<Box<dyn Kept>> {
        let digest = mark::take(path)?;
        Some(Box::new(Live::open(path, digest).ok()?))
    }
}

/// A map that is open, with as much address space as it needs.
struct Opened {
    path: PathBuf,
    flags: EnvFlags,
    /// Address space, in bytes.
    space: usize,
    /// `None` only while it is opened anew.
    env: Option<Env<WithoutTls>>,
}

impl Opened {
    fn new(path: &Path, flags: EnvFlags) -> io::Result<Opened> {
        let bytes = path.metadata()?.len();
        let space = usize::try_from(bytes).unwrap_or(usize::MAX / 4).saturating_mul(2);
        let mut opened = Opened { path: path.to_owned(), flags, space, env: None };
        opened.open().map_err(plain)?;
        Ok(opened)
    }

    fn open(&mut self) -> heed::Result<()> {
        self.space = self.space.next_power_of_two().max(MAP_BYTES_MIN);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(self.space);
        let flags = self.flags | EnvFlags::NO_SUB_DIR | EnvFlags::NO_LOCK;
        // The one before must be closed, or this would be the same.
        self.env = None;
        #[expect(unsafe_code, reason = "LMDB reads its file through a memory map")]
        // SAFETY: it is undefined behaviour if the file changes under its map against LMDB's rules.
        // - The file is a draft of ours that nobody else knows, or a finished map of ours that
        //   `Bulk` made whole and synced: `Live::open` is called with no other.
        // - `NO_LOCK` wants the caller to see to it that there is one writer: all who write such a
        //   map, we and Postfix's tools, hold the whole-file lock while a transaction begins. We
        //   read in our own write transactions only.
        // - `Live::apply` looks before each transaction whether the file is the one that it left,
        //   so that one that others wrote, cut or replaced is not looked into.
        // - heed does not open one path twice.
        unsafe {
            self.env = Some(options.flags(flags).open(&self.path)?);
        }
        Ok(())
    }

    /// Does `work`, and again with more space if there was too little.
    fn with<T>(
        &mut self,
        mut work: impl FnMut(&Env<WithoutTls>) -> heed::Result<T>,
    ) -> io::Result<T> {
        loop {
            let Some(env) = &self.env else { return Err(io::Error::other("it is not open")) };
            match work(env) {
                Err(heed::Error::Mdb(MdbError::MapFull)) => {
                    self.space = self.space.saturating_mul(2);
                    self.open().map_err(plain)?;
                }
                done => return done.map_err(plain),
            }
        }
    }
}

/// What the file's first pages say of it, the newer one of the two. Read without a map: a damaged
/// file cannot be looked into. `None`: it is not in the form that Postfix and we write.
fn meta(file: &File) -> Option<[u8; META_BYTES]> {
    let read = |page: u64| {
        let mut meta = [0; META_BYTES];
        file.read_exact_at(&mut meta, page * PAGE_BYTES + 16).ok()?;
        (number(&meta, 0) == MAGIC).then_some(meta)
    };
    [read(0), read(1)].into_iter().flatten().max_by_key(|meta| number(meta, 128))
}

fn number(meta: &[u8; META_BYTES], at: usize) -> u64 {
    meta.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// How many rows a file has; `None` if it is no map.
fn rows_of(file: &File) -> Option<u64> {
    meta(file).map(|meta| number(&meta, 104))
}

/// A new map in the making.
struct Bulk {
    draft: Draft,
    map: Opened,
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
        let keep = move |path: &Path| -> Option<Box<dyn Kept>> {
            Some(Box::new(Live::open(path, digest).ok()?))
        };
        Ok(Made { draft: self.draft, rows: digest.rows, keep: Box::new(keep) })
    }
}

impl Bulk {
    /// An empty map beside the target.
    fn begin(target: &Path) -> Result<Bulk, FileError> {
        let (draft, _) = Draft::create(target, "suppressd-new")?;
        // It is synced as a whole before it takes the target's place.
        let map = Opened::new(&draft.path, EnvFlags::NO_SYNC);
        let map = map.map_err(|e| draft.failed("write", e))?;
        let (rows, last, late) = Default::default();
        Ok(Bulk { draft, map, rows, last, late, digest: Digest::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        let rows = &self.rows;
        self.map.with(|env| {
            let mut txn = env.write_txn()?;
            let map: Map = env.create_database(&mut txn, None)?;
            for row in rows.iter() {
                map.put_with_flags(&mut txn, PutFlags::APPEND, &nul(row.key), &nul(row.value))?;
            }
            txn.commit()
        })?;
        self.rows.clear();
        Ok(())
    }

    fn add_late(&mut self) -> io::Result<Digest> {
        let (late, before) = (&self.late, self.digest);
        self.map.with(|env| {
            let mut digest = before;
            let mut txn = env.write_txn()?;
            let map: Map = env.create_database(&mut txn, None)?;
            for row in late.iter() {
                let (stored_key, stored_value) = (nul(row.key), nul(row.value));
                if map.get(&txn, &stored_key)?.is_none() {
                    map.put(&mut txn, &stored_key, &stored_value)?;
                    digest.add(row);
                }
            }
            txn.commit()?;
            Ok(digest)
        })
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

fn plain(error: heed::Error) -> io::Error {
    match error {
        heed::Error::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// A map that is in use, changed in place.
struct Live {
    map: Opened,
    /// On which the lock is taken. It lasts until it is given back, whatever LMDB closes.
    file: File,
    stamp: Stamp,
    digest: Digest,
}

impl Live {
    /// Opens a map that `Bulk` has made and that holds what `digest` says.
    fn open(path: &Path, digest: Digest) -> io::Result<Live> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let stamp = Stamp::of(path)?;
        let whole = |meta: [u8; META_BYTES]| (number(&meta, 120) + 1) * PAGE_BYTES <= stamp.bytes;
        if !meta(&file).is_some_and(whole) {
            return Err(io::Error::other("it is no whole LMDB map"));
        }
        Ok(Live { map: Opened::new(path, EnvFlags::empty())?, file, stamp, digest })
    }

    /// Makes all the edits visible at once and durable. Says whether they changed anything.
    fn edit(&mut self, edits: &Edits) -> io::Result<bool> {
        let (file, before) = (&self.file, self.digest);
        let after = self.map.with(|env| {
            let lock = Lock::take(file)?;
            let mut txn = env.write_txn()?;
            // Nobody else can begin to write now, and those who read may go on.
            lock.share()?;
            let digest = edit(env, &mut txn, edits, before)?;
            if digest != before {
                txn.commit()?;
            }
            Ok(digest)
        })?;
        self.digest = after;
        self.stamp = Stamp::of(&self.map.path)?;
        Ok(after != before)
    }
}

impl Kept for Live {
    fn rows(&self) -> u64 {
        self.digest.rows
    }

    fn digest(&self) -> Option<Digest> {
        Some(self.digest)
    }

    fn is_ours(&self) -> bool {
        Stamp::of(&self.map.path).is_ok_and(|stamp| stamp == self.stamp)
    }

    fn apply(&mut self, edits: &Edits) -> Result<Applied, FileError> {
        if !self.is_ours() {
            return Ok(Applied::Foreign);
        }
        let changed = self.edit(edits).map_err(|e| FileError::new("write", &self.map.path, e))?;
        Ok(if changed { Applied::InPlace } else { Applied::Same })
    }

    fn leave(&self) {
        // Without it, the next start makes the map anew.
        let _ = mark::leave(&self.map.path, self.stamp, self.digest);
    }
}

/// Makes the edits; gives the digest of what there is then.
fn edit(
    env: &Env<WithoutTls>,
    txn: &mut RwTxn<'_>,
    edits: &Edits,
    mut digest: Digest,
) -> heed::Result<Digest> {
    let map: Map = env.create_database(txn, None)?;
    for row in edits.deletes.iter() {
        let key = nul(row.key);
        let before = map.get(txn, &key)?.map(|value| hash(row.key.as_bytes(), text(value)));
        if let Some(before) = before {
            map.delete(txn, &key)?;
            digest.remove(before);
        }
    }
    for row in edits.puts.iter() {
        let (key, value) = (nul(row.key), nul(row.value));
        let before = map.get(txn, &key)?;
        if before == Some(&*value) {
            continue;
        }
        if let Some(before) = before {
            digest.remove(hash(row.key.as_bytes(), text(before)));
        }
        map.put(txn, &key, &value)?;
        digest.add(row);
    }
    Ok(digest)
}

/// The lock that all who use such a map take on its whole file: shared to read and write, alone to
/// begin to write.
struct Lock<'a>(&'a File);

impl Lock<'_> {
    /// Waits until nobody reads, and nobody else can begin.
    fn take(file: &File) -> io::Result<Lock<'_>> {
        let lock = Lock(file);
        lock.set(libc::F_WRLCK)?;
        Ok(lock)
    }

    /// Lets others read.
    fn share(&self) -> io::Result<()> {
        self.set(libc::F_RDLCK)
    }

    fn set(&self, kind: i32) -> io::Result<()> {
        // The whole file, however long it becomes.
        let (l_type, l_whence) = (kind as i16, libc::SEEK_SET as i16);
        let whole = libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
        loop {
            match fcntl(self.0, FcntlArg::F_OFD_SETLKW(&whole)) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // It ends with the file at the latest.
        let _ = self.set(libc::F_UNLCK);
    }
}

/// Every row of a map, for tests.
#[cfg(test)]
pub(in super::super) fn rows(path: &Path) -> Vec<(String, String)> {
    let copy = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(path, copy.path()).unwrap();
    let opened = Opened::new(copy.path(), EnvFlags::empty()).unwrap();
    let env = opened.env.as_ref().unwrap();
    let txn = env.read_txn().unwrap();
    let Some(map): Option<Map> = env.open_database(&txn, None).unwrap() else { return vec![] };
    let string = |stored: &[u8]| {
        assert_eq!(stored.last(), Some(&0), "Postfix wants a NUL at the end");
        String::from_utf8(text(stored).to_vec()).unwrap()
    };
    let rows = map.iter(&txn).unwrap().map(|row| row.unwrap());
    rows.map(|(key, value)| (string(key), string(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(path: &Path, rows: impl Iterator<Item = (String, String)>) -> Digest {
        let mut bulk = Box::new(Bulk::begin(path).unwrap());
        for (key, value) in rows {
            bulk.add(Row { key: &key, value: &value }).unwrap();
        }
        let made = bulk.finish().unwrap();
        std::fs::rename(&made.draft.path, path).unwrap();
        (made.keep)(path).and_then(|kept| kept.digest()).unwrap()
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
        assert_eq!(rows_of(&File::open(&path).unwrap()), Some(40_000));
        let mut live = Live::open(&path, digest).unwrap();
        let space = live.map.space;
        let mut edits = Edits::default();
        for n in 40_000..100_000 {
            let (key, value) = row(n);
            edits.puts.add(&[&key], &[&value]);
        }
        assert!(live.edit(&edits).unwrap());
        assert!(live.map.space > space);
        assert_eq!(rows_of(&File::open(&path).unwrap()), Some(100_000));
    }

    #[test]
    fn the_digest_is_that_of_the_rows_whatever_led_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let row = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let digest = bulk(&path("a"), [row("a", "1"), row("b", "1"), row("c", "1")].into_iter());
        let mut live = Live::open(&path("a"), digest).unwrap();
        let mut edits = Edits::default();
        edits.deletes.add(&["a"], &["whatever"]);
        edits.deletes.add(&["nothing"], &[]);
        edits.puts.add(&["b"], &["2"]);
        edits.puts.add(&["d"], &["3"]);
        assert!(live.edit(&edits).unwrap());
        assert!(!live.edit(&edits).unwrap(), "nothing changes the second time");
        let expected = [row("b", "2"), row("c", "1"), row("d", "3")];
        assert_eq!(rows(&path("a")), expected);
        let fresh = bulk(&path("b"), expected.into_iter());
        assert_eq!(live.digest(), Some(fresh));
        assert_eq!(live.rows(), 3);
        File::options().append(true).open(path("a")).unwrap().set_len(1 << 20).unwrap();
        assert!(matches!(live.apply(&edits), Ok(Applied::Foreign)), "somebody else has written it");
    }

    #[test]
    fn what_is_cut_or_no_map_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f.lmdb");
        let digest = bulk(&path, (0..10_000).map(|n| (format!("{n:05}"), "v".to_owned())));
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        assert!(Live::open(&path, digest).is_err());
        for text in ["", "no map"] {
            std::fs::write(&path, text).unwrap();
            assert!(Live::open(&path, digest).is_err());
            assert_eq!(rows_of(&File::open(&path).unwrap()), None);
        }
    }
}
