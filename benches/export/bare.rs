//! The least that the same file can take: its rows are there, in no order, and are sorted where the
//! file wants that, written, synced and put in place by the library or the system alone.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags, WithoutTls};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use suppressd::export::Table;

/// Address space for a map, in bytes.
const SPACE: usize = 8 << 30;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Writes the same again.
pub(crate) fn write(table: Table, like: &Path) -> Result<Duration> {
    let (draft, target) = (like.with_extension("draft"), like.with_extension("bare"));
    let took = match table {
        Table::Text => text(like, &draft)?,
        Table::Lmdb => lmdb(pairs_of_map(like)?, &draft)?,
        Table::Cdb => cdb(&pairs_of_constant(like)?, &draft)?,
    };
    let started = Instant::now();
    File::open(&draft)?.sync_all()?;
    fs::rename(&draft, &target)?;
    File::open(like.parent().context("no directory")?)?.sync_all()?;
    let took = took + started.elapsed();
    fs::remove_file(&target)?;
    Ok(took)
}

/// Puts rows into the order of a hash of each.
fn shuffle(rows: &mut [impl Hash]) {
    rows.sort_by_cached_key(|row| {
        let mut hasher = DefaultHasher::new();
        row.hash(&mut hasher);
        hasher.finish()
    });
}

fn text(like: &Path, draft: &Path) -> Result<Duration> {
    let text = fs::read_to_string(like)?;
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    shuffle(&mut lines);
    let started = Instant::now();
    lines.sort_unstable();
    let mut out = BufWriter::with_capacity(256 << 10, File::create_new(draft)?);
    for line in &lines {
        out.write_all(line.as_bytes())?;
    }
    out.flush()?;
    Ok(started.elapsed())
}

fn lmdb(mut pairs: Pairs, draft: &Path) -> Result<Duration> {
    shuffle(&mut pairs);
    let started = Instant::now();
    pairs.sort_unstable();
    let env = open(draft, EnvFlags::NO_SYNC)?;
    let mut txn = env.write_txn()?;
    let map: Database<Bytes, Bytes> = env.create_database(&mut txn, None)?;
    for (key, value) in &pairs {
        map.put_with_flags(&mut txn, PutFlags::APPEND, key, value)?;
    }
    txn.commit()?;
    Ok(started.elapsed())
}

fn cdb(pairs: &Pairs, draft: &Path) -> Result<Duration> {
    let started = Instant::now();
    let mut map = cdb2::CDBMake::new(File::create_new(draft)?)?;
    for (key, value) in pairs {
        map.add(key, value)?;
    }
    map.finish()?;
    Ok(started.elapsed())
}

/// One change after another, of a copy.
pub(crate) enum Change {
    /// All of it is written again.
    Whole(Table, PathBuf),
    /// A durable insertion under the lock that readers of a map take.
    Map { env: Env<WithoutTls>, file: File, number: u64 },
}

impl Change {
    pub(crate) fn new(table: Table, like: &Path) -> Result<Change> {
        let copy = like.with_extension("copy");
        fs::copy(like, &copy)?;
        if table != Table::Lmdb {
            return Ok(Change::Whole(table, copy));
        }
        let file = File::options().read(true).write(true).open(&copy)?;
        file.sync_all()?;
        Ok(Change::Map { env: open(&copy, EnvFlags::empty())?, file, number: 0 })
    }

    pub(crate) fn once(&mut self) -> Result<Duration> {
        let (env, file, number) = match self {
            Change::Whole(table, path) => return write(*table, path),
            Change::Map { env, file, number } => (env, file, number),
        };
        *number += 1;
        let key = format!("bare{number}@example.com\0");
        let started = Instant::now();
        lock(file, libc::F_WRLCK)?;
        let mut txn = env.write_txn()?;
        lock(file, libc::F_RDLCK)?;
        let map: Database<Bytes, Bytes> = env.create_database(&mut txn, None)?;
        map.put(&mut txn, key.as_bytes(), b"550 5.1.1 suppressed: hard bounce\0")?;
        txn.commit()?;
        lock(file, libc::F_UNLCK)?;
        Ok(started.elapsed())
    }
}

fn lock(file: &File, kind: i32) -> Result<()> {
    let (l_type, l_whence) = (kind as i16, libc::SEEK_SET as i16);
    let whole = libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file, FcntlArg::F_OFD_SETLKW(&whole))?;
    Ok(())
}

#[expect(unsafe_code, reason = "LMDB reads its file through a memory map")]
fn open(path: &Path, flags: EnvFlags) -> Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(SPACE);
    // SAFETY: nobody else knows the file, and this thread alone uses it.
    let env = unsafe {
        options.flags(flags | EnvFlags::NO_SUB_DIR | EnvFlags::NO_LOCK);
        options.open(path)?
    };
    Ok(env)
}

fn pairs_of_map(path: &Path) -> Result<Pairs> {
    let env = open(path, EnvFlags::empty())?;
    let txn = env.read_txn()?;
    let map: Option<Database<Bytes, Bytes>> = env.open_database(&txn, None)?;
    let rows = map.context("no map")?;
    let rows = rows.iter(&txn)?.map(|row| row.map(|(key, value)| (key.into(), value.into())));
    Ok(rows.collect::<heed::Result<Pairs>>()?)
}

fn pairs_of_constant(path: &Path) -> Result<Pairs> {
    let map = cdb2::CDB::open(path)?;
    Ok(map.iter().collect::<std::io::Result<Pairs>>()?)
}
