//! Backups of a state directory in one file, made while a daemon goes on, and put back.
//!
//! A checkpoint and the journal are enough to make everything else again. Segments only grow, or
//! another file of the same takes their place, and a checkpoint never changes, so they are copied
//! from under a running daemon, up to a position that it names: all that it has acknowledged before
//! is in them. Never asks anything of the daemon.

mod form;

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use form::{Member, Reader, Writer};

pub use form::{About, BackupError};

use crate::forgotten::HASHES;
use crate::journal;
use crate::model::{Position, Time};
use crate::store::{RESTORE_DRAFT, place_restored};

/// What is written is synced each time that it is so many bytes more, so that a sync of the journal
/// on the same disk never waits for much of it.
const SYNC_BYTES: u64 = 8 << 20;
/// How often it is begun again when a checkpoint goes as it is to be opened.
const TRIES: usize = 5;

/// The folders of a state directory that are kept, and how the names in them end.
const KEPT: [(&str, &str); 2] = [("journal", ".seg"), ("checkpoint", ".checkpoint")];
/// The folder with the keys of the account and the certificate, which another host has of its own.
const KEYS: &str = "acme";

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it says of itself.
    pub about: About,
    /// How many files it has.
    pub files: u64,
    /// And how many bytes they have.
    pub bytes: u64,
}

/// Copies a state directory, with the journal up to `end`; else, with no daemon running, all of it.
/// `out` is synced by `sync` now and then.
///
/// # Errors
/// When a file cannot be read, or `out` not be written.
pub fn make<W: Write>(
    state: &Path,
    end: Option<Position>,
    now: Time,
    out: W,
    sync: impl Fn(&W) -> io::Result<()>,
    mut progress: impl FnMut(u64, u64),
) -> io::Result<(W, Held)> {
    let files = opened(state, end)?;
    let all: u64 = files.iter().map(|(member, _)| member.length).sum();
    let end = end.map_or_else(|| last(&files), Ok)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let about = About { made: now.second(), end, version };
    let counted = Counted { out, bytes: 0, unsynced: 0, sync: &sync };
    let mut writer = Writer::new(counted, &about)?;
    let mut bytes = 0;
    for (member, file) in &files {
        writer.file(member, BufReader::with_capacity(1 << 20, file))?;
        bytes += member.length;
        progress(bytes, all);
    }
    let out = writer.end()?.out;
    Ok((out, Held { about, files: files.len() as u64, bytes }))
}

/// Writes, and syncs now and then.
struct Counted<'s, W, S> {
    out: W,
    bytes: u64,
    unsynced: u64,
    sync: &'s S,
}

impl<W: Write, S: Fn(&W) -> io::Result<()>> Write for Counted<'_, W, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        if self.bytes - self.unsynced >= SYNC_BYTES {
            self.unsynced = self.bytes;
            (self.sync)(&self.out)?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The files that make a backup, open, so that none can go while it is made.
fn opened(state: &Path, end: Option<Position>) -> io::Result<Vec<(Member, File)>> {
    for _ in 1..TRIES {
        match try_open(state, end) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
    }
    try_open(state, end)
}

fn try_open(state: &Path, end: Option<Position>) -> io::Result<Vec<(Member, File)>> {
    let mut files = Vec::new();
    // The newest is enough. Before the journal: what goes meanwhile there is older than it.
    if let Some(name) = names(state, KEPT[1])?.pop() {
        files.push(open(state, name, None)?);
    }
    // Before the journal, too: it lacks what these stand for.
    if state.join(HASHES).exists() {
        files.push(open(state, HASHES.to_owned(), None)?);
    }
    for name in names(state, KEPT[0])? {
        let number = segment(&name);
        let limit = match end {
            Some(end) if number > Some(end.segment) => continue,
            Some(end) if number == Some(end.segment) => Some(u64::from(end.offset)),
            _ => None,
        };
        files.push(open(state, name, limit)?);
    }
    Ok(files)
}

fn open(state: &Path, name: String, limit: Option<u64>) -> io::Result<(Member, File)> {
    let path = state.join(&name);
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = File::open(&path).map_err(named)?;
    let meta = file.metadata().map_err(named)?;
    // A packed one is worth nothing in part.
    let limit = match limit {
        Some(limit) if packed_length(&name, &file).map_err(named)?.is_none() => limit,
        _ => u64::MAX,
    };
    let length = limit.min(meta.len());
    Ok((Member { name, modified: meta.mtime(), length }, file))
}

/// The files of a folder that are kept, ascending.
fn names(state: &Path, (folder, ending): (&str, &str)) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(state.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Some(name) = entry?.file_name().to_str().filter(|name| name.ends_with(ending)) {
            names.push(format!("{folder}/{name}"));
        }
    }
    names.retain(|name| is_kept(name));
    names.sort_unstable();
    Ok(names)
}

/// Whether a name is that of a file which a backup may have: the hashes of the forgotten, or digits
/// and hyphens, in its folder.
fn is_kept(name: &str) -> bool {
    let inside = |(folder, ending): &(&str, &str)| {
        let stem = name.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(ending)?;
        Some(!stem.is_empty() && stem.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
    };
    name == HASHES || KEPT.iter().any(|kept| inside(kept) == Some(true))
}

fn segment(name: &str) -> Option<u32> {
    name.strip_prefix("journal/")?.strip_suffix(".seg")?.parse().ok()
}

/// Where the journal ends that is among these files.
fn last(files: &[(Member, File)]) -> io::Result<Position> {
    let newest = files.iter().filter_map(|file| Some((segment(&file.0.name)?, file)));
    let Some((segment, (member, file))) = newest.max_by_key(|(number, _)| *number) else {
        return Ok(Position::default());
    };
    let length = packed_length(&member.name, file)?.unwrap_or(member.length);
    Ok(Position { segment, offset: u32::try_from(length).unwrap_or(u32::MAX) })
}

/// The bytes of a segment that is packed, as its positions count them.
fn packed_length(name: &str, file: &File) -> io::Result<Option<u64>> {
    segment(name).map_or(Ok(None), |number| journal::packed_length(file, number))
}

/// Reads all of a backup, and says what it holds.
///
/// # Errors
/// When it is damaged, of a newer version, or cannot be read.
pub fn verify(input: impl Read) -> Result<Held, BackupError> {
    each(input, |_| Ok(io::sink()), |_, _| Ok(()))
}

/// Reads a backup into what `begin` gives for each file, and `end` takes back.
fn each<T: Write>(
    input: impl Read,
    mut begin: impl FnMut(&Member) -> io::Result<T>,
    mut end: impl FnMut(&Member, T) -> io::Result<()>,
) -> Result<Held, BackupError> {
    let (mut reader, about) = Reader::new(BufReader::with_capacity(1 << 20, input))?;
    let (mut files, mut bytes) = (0, 0);
    while let Some(member) = reader.next()? {
        if !is_kept(&member.name) {
            let why = format!("{:?} is no file of a state directory", member.name);
            return Err(BackupError::Damaged(why));
        }
        let mut file = begin(&member)?;
        reader.bytes(&member, |part| file.write_all(part))?;
        end(&member, file)?;
        files += 1;
        bytes += member.length;
    }
    Ok(Held { about, files, bytes })
}

/// What keeps a state directory from being restored into.
///
/// # Errors
/// When it cannot be looked at.
pub fn obstacle(state: &Path) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(state) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        // What is left of one that broke off, what file systems have at their root, and what no
        // backup has.
        let beside = [RESTORE_DRAFT, "lost+found", KEYS];
        if !beside.iter().any(|name| entry.file_name() == *name) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Puts a backup into a state directory that is empty, or not there, and that no other process has.
/// The files belong to whom the directory does. All of it is read and durable before any of it has
/// its place. If it breaks off before, no daemon starts with what is there.
///
/// # Errors
/// When the backup cannot be used, or the disk fails: then the directory is as empty as before.
pub fn restore(input: impl Read, state: &Path) -> Result<Held, BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    let draft = state.join(RESTORE_DRAFT);
    remove(&draft)?;
    let restored = unpack(input, state, &draft);
    if restored.is_err() {
        // What is left would be in the way of a start.
        let _ = remove(&draft);
    }
    let held = restored?;
    place_restored(state)?;
    Ok(held)
}

fn unpack(input: impl Read, state: &Path, draft: &Path) -> Result<Held, BackupError> {
    let owner = fs::metadata(state)?;
    let own = |path: &Path| match chown(path, Some(owner.uid()), Some(owner.gid())) {
        // Only root can give files away; anybody else has made them his.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        owned => owned,
    };
    let folders = || KEPT.iter().map(|(folder, _)| draft.join(folder));
    for folder in [draft.to_owned()].into_iter().chain(folders()) {
        DirBuilder::new().mode(0o700).create(&folder)?;
        own(&folder)?;
    }
    File::open(state)?.sync_all()?;
    let begin = |member: &Member| {
        let path = draft.join(&member.name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        own(&path)?;
        Ok(file)
    };
    let end = |member: &Member, file: File| {
        let seconds = Duration::from_secs(u64::try_from(member.modified).unwrap_or(0));
        // Retention goes by it.
        file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + seconds))?;
        file.sync_all()
    };
    let held = each(input, begin, end)?;
    if let Some(last) = names(draft, KEPT[0])?.pop() {
        let file = OpenOptions::new().read(true).write(true).open(draft.join(&last))?;
        let meta = file.metadata()?;
        // What a running daemon was writing is kept up to its last record. Without room for a seal
        // it would pass for one that was cut.
        if packed_length(&last, &file)?.is_none() {
            file.set_len(meta.len() + journal::SEAL_SIZE)?;
            file.set_times(FileTimes::new().set_modified(meta.modified()?))?;
            file.sync_all()?;
        }
    }
    for folder in folders() {
        File::open(folder)?.sync_all()?;
    }
    File::open(draft)?.sync_all()?;
    Ok(held)
}

fn remove(draft: &Path) -> io::Result<()> {
    match fs::remove_dir_all(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
