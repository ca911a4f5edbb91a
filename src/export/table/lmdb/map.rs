//! The map itself, by LMDB: the only owner of heed. What runs here runs apart from the daemon,
//! since a file that another hand cuts while it is mapped ends the process (SIGBUS).
//!
//! Blocking. A new map is filled by `Fresh`; one that is in use is changed in place by `InUse`, a
//! transaction a change set, under the lock that Postfix takes: without it Postfix aborts.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, MdbError, PutFlags, RwTxn, WithoutTls};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::unistd::{Whence, lseek};

use super::super::super::rows::{Edits, Rows};
use super::super::pages::Meta;
use super::super::{Digest, Stamp, hash};
use super::{nul, text};

/// The least address space for a map, in bytes. It is no room on disk.
pub(super) const MAP_BYTES_MIN: usize = 16 << 20;

/// Longest wait for the lock on a map, and how long to wait between two tries.
pub(super) const LOCK_MAX: Duration = Duration::from_secs(5);
const LOCK_STEP: Duration = Duration::from_millis(20);

type Map = Database<Bytes, Bytes>;

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
        // - The file is a draft of ours that nobody else knows, or a finished map of ours that was
        //   made by `Fresh` and synced: `InUse::open` is called with no other.
        // - `NO_LOCK` wants the caller to see to it that there is one writer: all who write such a
        //   map, we and Postfix's tools, hold the whole-file lock while a transaction begins. We
        //   read in our own write transactions only.
        // - `InUse::edit` looks before each transaction whether the file is the one that it left,
        //   so that one that others wrote, cut or replaced is not looked into. Who cuts it while
        //   the transaction lasts ends this process, which holds nothing but maps.
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

/// A new map in the making, in a draft that is synced as a whole before it takes a map's place.
pub(super) struct Fresh(Opened);

impl Fresh {
    /// In an empty file.
    pub(super) fn begin(path: &Path) -> io::Result<Fresh> {
        Ok(Fresh(Opened::new(path, EnvFlags::NO_SYNC)?))
    }

    /// Adds rows whose keys ascend, and stand behind all that are there.
    pub(super) fn append(&mut self, rows: &Rows) -> io::Result<()> {
        self.0.with(|env| {
            let mut txn = env.write_txn()?;
            let map: Map = env.create_database(&mut txn, None)?;
            for row in rows.iter() {
                map.put_with_flags(&mut txn, PutFlags::APPEND, &nul(row.key), &nul(row.value))?;
            }
            txn.commit()
        })
    }

    /// Adds those rows whose keys are not there, wherever they belong; gives the digest of these.
    pub(super) fn insert(&mut self, rows: &Rows) -> io::Result<Digest> {
        self.0.with(|env| {
            let mut digest = Digest::default();
            let mut txn = env.write_txn()?;
            let map: Map = env.create_database(&mut txn, None)?;
            for row in rows.iter() {
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

fn plain(error: heed::Error) -> io::Error {
    match error {
        heed::Error::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// A map that is in use.
pub(super) struct InUse {
    map: Opened,
    /// On which the lock is taken. It lasts until it is given back, whatever LMDB closes.
    file: File,
    stamp: Stamp,
    /// Where the first hole in it begins, in bytes; its end where there is none.
    hole: u64,
    digest: Digest,
}

/// What came of edits.
pub(super) enum Edited {
    /// The file is this version now, and holds this.
    Left(Stamp, Digest),
    /// Somebody else has written, cut or replaced the file.
    Foreign,
}

impl InUse {
    /// Opens a map that `Fresh` has filled and that holds what `digest` says.
    pub(super) fn open(path: &Path, digest: Digest) -> io::Result<InUse> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let stamp = Stamp::of_file(&file)?;
        if Meta::of(&file).is_none_or(|meta| meta.bytes() > stamp.bytes) {
            return Err(io::Error::other("it is no whole LMDB map"));
        }
        let map = Opened::new(path, EnvFlags::empty())?;
        let hole = first_hole(&file)?;
        let opened = InUse { map, file, stamp, hole, digest };
        // LMDB opens the path by itself: it must have led to the same file all the while.
        match opened.is_ours() {
            true => Ok(opened),
            false => Err(io::Error::other("somebody else replaced it")),
        }
    }

    /// Which version of the file it is.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn is_ours(&self) -> bool {
        let here = Stamp::of_file(&self.file).ok();
        here == Some(self.stamp) && here == Stamp::of(&self.map.path).ok()
    }

    /// Makes all the edits visible at once and durable.
    pub(super) fn edit(&mut self, edits: &Edits) -> io::Result<Edited> {
        let InUse { map, file, stamp, digest: before, .. } = self;
        let path = map.path.clone();
        let after = map.with(|env| {
            let lock = Lock::take(file)?;
            // Under the lock nobody writes who keeps to the rules; who cuts the file does not.
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
        let Some(after) = after else { return Ok(Edited::Foreign) };
        let (bytes, hole) = (self.stamp.bytes, self.hole);
        (self.digest, self.stamp) = (after, Stamp::of_file(&self.file)?);
        self.hole = first_hole(&self.file)?;
        // What was cut off meanwhile is missing, or is a hole before what we have written.
        let is_cut = self.stamp.bytes < bytes || self.hole < hole.min(bytes);
        // What was written into a file that has been replaced meanwhile is seen by nobody.
        let is_ours = !is_cut && self.is_ours();
        Ok(if is_ours { Edited::Left(self.stamp, self.digest) } else { Edited::Foreign })
    }
}

/// Where the first hole begins, in bytes; the end of a file without one. A file system that knows
/// of no holes tells of none.
fn first_hole(file: &File) -> io::Result<u64> {
    let place = lseek(file, 0, Whence::SeekHole)?;
    Ok(u64::try_from(place).unwrap_or_default())
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
pub(super) struct Lock<'a>(&'a File);

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

    /// As a reader has it.
    #[cfg(test)]
    pub(super) fn shared(file: &File) -> Lock<'_> {
        let lock = Lock(file);
        lock.share().unwrap();
        lock
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
pub(in super::super::super) fn rows(path: &Path) -> Vec<(String, String)> {
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
