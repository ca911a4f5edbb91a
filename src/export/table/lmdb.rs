//! An LMDB map as Postfix's `lmdb:` reads it: the only owner of heed.
//!
//! Blocking. A key and a value end in a NUL each. A new map is made beside the old one by `Bulk`;
//! one that is in use is changed in place by `Live`, a transaction a change set, under the lock
//! that Postfix takes: without it Postfix aborts.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, MdbError, PutFlags, RwTxn, WithoutTls};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::super::rows::Rows;
use super::pages::{Meta, has, visit};
use super::{
    Applied, Digest, Draft, Edits, FileError, Kept, Kind, Listed, Made, Making, Row, Shape, Stamp,
    hash, mark,
};

/// The least address space for a map, in bytes. It is no room on disk.
const MAP_BYTES_MIN: usize = 16 << 20;

/// Longest wait for the lock on a map, and how long to wait between two tries.
const LOCK_MAX: Duration = Duration::from_secs(5);
const LOCK_STEP: Duration = Duration::from_millis(20);

/// Bytes of rows that a transaction of a new map takes.
const BULK_BYTES: usize = 4 << 20;

type Map = Database<Bytes, Bytes>;

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

/// Whether the file is to blame, and not the disk.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
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
    fn begin(target: &Path, name: &str) -> Result<Bulk, FileError> {
        let (draft, _) = Draft::create(target, name)?;
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
        let stamp = Stamp::of_file(&file)?;
        if Meta::of(&file).is_none_or(|meta| meta.bytes() > stamp.bytes) {
            return Err(io::Error::other("it is no whole LMDB map"));
        }
        let map = Opened::new(path, EnvFlags::empty())?;
        let live = Live { map, file, stamp, digest };
        // LMDB opens the path by itself: it must have led to the same file all the while.
        if live.is_ours() { Ok(live) } else { Err(io::Error::other("somebody else replaced it")) }
    }

    /// Makes all the edits visible at once and durable. Says whether they changed anything, or
    /// `None` if somebody else has written or replaced the file.
    fn edit(&mut self, edits: &Edits) -> io::Result<Option<bool>> {
        let Live { map, file, stamp, digest: before } = self;
        let path = map.path.clone();
        let after = map.with(|env| {
            let lock = Lock::take(file)?;
            // Under the lock nobody writes who keeps to the rules; who cuts the file does not, and
            // is seen here unless it happens while the transaction lasts.
            if Stamp::of_file(file)? != *stamp || Stamp::of(&path)? != *stamp {
                return Ok(None);
            }
            let mut txn = env.write_txn()?;
            // Nobody else can begin to write now, and those who read may go on.
            lock.share()?;
            let digest = edit(env, &mut txn, edits, *before)?;
            if digest != *before {
                txn.commit()?;
            }
            Ok(Some(digest))
        })?;
        let Some(after) = after else { return Ok(None) };
        let changed = after != self.digest;
        self.digest = after;
        self.stamp = Stamp::of_file(&self.file)?;
        // What was written into a file that has been replaced meanwhile is seen by nobody.
        Ok(self.is_ours().then_some(changed))
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
        let here = Stamp::of_file(&self.file).ok();
        here == Some(self.stamp) && here == Stamp::of(&self.map.path).ok()
    }

    fn apply(&mut self, edits: &Edits) -> Result<Applied, FileError> {
        if !self.is_ours() {
            return Ok(Applied::Foreign);
        }
        let edited = self.edit(edits).map_err(|e| FileError::new("write", &self.map.path, e))?;
        Ok(match edited {
            Some(true) => Applied::InPlace,
            Some(false) => Applied::Same,
            None => Applied::Foreign,
        })
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
    /// Waits until nobody reads, and nobody else can begin; not for ever, since whoever may read
    /// the file can hold the lock.
    fn take(file: &File) -> io::Result<Lock<'_>> {
        let lock = Lock(file);
        let until = Instant::now() + LOCK_MAX;
        loop {
            match lock.set(libc::F_WRLCK) {
                Err(Errno::EAGAIN | Errno::EACCES) if Instant::now() < until => {
                    // There is no wait for such a lock that ends in time.
                    std::thread::park_timeout(LOCK_STEP);
                }
                Err(Errno::EAGAIN | Errno::EACCES) => return Err(held_by_others()),
                done => return done.map(|()| lock).map_err(io::Error::from),
            }
        }
    }

    /// Lets others read.
    fn share(&self) -> io::Result<()> {
        self.set(libc::F_RDLCK).map_err(io::Error::from)
    }

    fn set(&self, kind: i32) -> nix::Result<()> {
        // The whole file, however long it becomes.
        let (l_type, l_whence) = (kind as i16, libc::SEEK_SET as i16);
        let whole = libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
        loop {
            match fcntl(self.0, FcntlArg::F_OFD_SETLK(&whole)) {
                Err(Errno::EINTR) => {}
                done => return done.map(|_| ()),
            }
        }
    }
}

fn held_by_others() -> io::Error {
    let what = format!("another program has held its lock for {} s", LOCK_MAX.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, what)
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
        let mut bulk = Box::new(Bulk::begin(path, "draft").unwrap());
        for (key, value) in rows {
            bulk.add(Row { key: &key, value: &value }).unwrap();
        }
        let made = bulk.finish().unwrap();
        std::fs::rename(&made.draft.path, path).unwrap();
        (made.keep)(path).and_then(|kept| kept.digest()).unwrap()
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
        let mut live = Live::open(&path, digest).unwrap();
        let space = live.map.space;
        let mut edits = Edits::default();
        for n in 40_000..100_000 {
            let (key, value) = row(n);
            edits.puts.add(&[&key], &[&value]);
        }
        assert_eq!(live.edit(&edits).unwrap(), Some(true));
        assert!(live.map.space > space);
        assert_eq!(listed(&path), (0..100_000).map(row).collect::<Vec<_>>());
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
        assert_eq!(live.edit(&edits).unwrap(), Some(true));
        assert_eq!(live.edit(&edits).unwrap(), Some(false), "nothing changes the second time");
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
        let mut live = Live::open(&path, digest).unwrap();
        let mut edits = Edits::default();
        edits.puts.add(&["b"], &["2"]);
        let other = File::open(&path).unwrap();
        let lock = Lock(&other);
        lock.share().unwrap();
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
        assert!(Live::open(&path, digest).is_err());
        for text in ["", "no map"] {
            std::fs::write(&path, text).unwrap();
            assert!(Live::open(&path, digest).is_err());
            assert_eq!(listed(&path), []);
        }
    }
}
