//! Opening the store, checking that it is what it must be, and making it again if it is not.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::statvfs::statvfs;

use super::attempt::Attempt;
use super::codec::Meta;
use super::image::{Draft, Image, Images};
use super::index::Index;
use super::keys::META;
use super::known::{Known, fill_beside};
use super::scan::Scan;
use super::{Checkpoints, Reach, StoreError, Writer, checkpoints};
use crate::journal::{create_private, open_regular, private_dir};
use crate::model::Position;
use crate::telemetry;

/// What sled may keep in memory, in bytes as they are stored. Its real use is more than three times
/// as much.
const CACHE_BYTES: u64 = 20 << 20;
/// Keys put at once while loading a checkpoint.
const LOAD_KEYS: usize = 10_000;
/// Room that making the store again needs at the very least, in bytes.
const ROOM: u64 = 8 << 20;
/// The file in the checkpoint directory that says how a clean stop left sled's file.
const CLEAN: &str = "clean";
/// What a sled is called in quarantine that a stop left whole and the disk has changed since: an
/// operator has to look, and take it away. And any other that could not be used, as a crash may
/// leave it.
const ROTTEN: &str = "sled.damaged";
const BROKEN: &str = "sled.broken";
/// The form of its one line, which begins with it. The first had no number.
const CLEAN_FORM: u32 = 2;
/// Longer than any mark, in bytes.
const MARK_BYTES_MAX: u64 = 4_096;

/// Where the store lives.
#[derive(Clone, Debug)]
pub struct Paths {
    /// sled's directory.
    pub sled: PathBuf,
    /// The checkpoints.
    pub checkpoint: PathBuf,
    /// The runs of the index.
    pub index: PathBuf,
    /// Where a sled that cannot be used is moved.
    pub quarantine: PathBuf,
}

impl Paths {
    /// Where they are in a state directory.
    pub fn of(state: &Path) -> Paths {
        Paths {
            sled: state.join("sled"),
            checkpoint: state.join("checkpoint"),
            index: state.join("index"),
            quarantine: state.join("quarantine"),
        }
    }
}

/// Why and from what the store was made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// What was wrong with it.
    pub why: String,
    /// The position of the checkpoint that it was loaded from; the journal does the rest.
    pub checkpoint: Option<Position>,
    /// Where the unusable one is now.
    pub aside: Option<PathBuf>,
    /// Whether it was whole, and the disk has changed it.
    pub rotten: bool,
}

/// An open store, for readers.
pub struct View {
    pub(super) tree: sled::Tree,
    pub(super) known: Arc<Known>,
    pub(super) images: Arc<Images>,
    pub(super) index: Arc<Index>,
}

/// An open store.
pub struct Opened {
    /// Writes to it.
    pub writer: Writer,
    /// What readers look into, once it is current.
    pub view: Arc<View>,
    /// Set when it had to be made again.
    pub rebuilt: Option<Rebuilt>,
    /// The note of what is being applied.
    pub attempt: Attempt,
    /// It was not looked through: a stop had left it whole.
    pub believed: bool,
}

/// Opens the store of a journal that reaches so far. One that does not open, or whose content does
/// not add up, is moved aside and loaded from the newest checkpoint. `rotten`: it was believed, and
/// then could not be read.
///
/// # Errors
/// When a new one cannot be made either: the disk is full or fails. When a newer version has
/// written it: then it is left as it is.
pub fn open(paths: &Paths, journal: Reach, rotten: bool) -> Result<Opened, StoreError> {
    for dir in [&paths.quarantine, &paths.checkpoint] {
        private_dir(dir)?;
    }
    checkpoints::remove_drafts(&paths.checkpoint)?;
    set_newer_aside(paths)?;
    let attempt = Attempt::open(&paths.checkpoint)?;
    let index = Index::open(&paths.index, journal)?;
    let existed = paths.sled.exists();
    let clean = took_clean_mark(paths);
    let (why, empty) = match try_open(paths, clean) {
        Ok(Tried::Found(found)) => {
            return Ok(Opened { believed: clean, ..opened(found, index, paths, attempt, None) });
        }
        // As a start leaves it that did not come far: nothing is lost, and nothing to be told.
        Ok(Tried::Empty(db)) if !clean => ("it was empty".to_owned(), Some(db)),
        Ok(Tried::Empty(_)) => ("it had lost all that it held".to_owned(), None),
        Err(StoreError::Damaged(why)) => (why, None),
        // Left as it is: the version that wrote it can go on with it.
        Err(error) => return Err(error),
    };
    if free_bytes(&paths.quarantine)? < ROOM {
        // Nothing could be made in its place; it may only want room itself.
        return Err(StoreError::Full(format!("it has to be made again: {why}")));
    }
    let checkpoints = Checkpoints::new(paths);
    let newest = checkpoints.newest_whole()?;
    let is_new = !existed || empty.is_some();
    let rotten = existed && (rotten || clean);
    let (aside, db) = match empty {
        Some(db) => (None, db),
        None => (if existed { move_aside(paths, rotten)? } else { None }, sled_at(&paths.sled)?),
    };
    let mut loader = Loader::new(&db, Draft::begin(&Image::path(&paths.checkpoint)));
    if let Some(position) = newest {
        checkpoints.load(position, &mut loader)?;
    }
    let (meta, image) = loader.finish(newest.unwrap_or_default())?;
    let fresh = is_new && newest.is_none();
    let rebuilt = (!fresh).then_some(Rebuilt { why, checkpoint: newest, aside, rotten });
    Ok(opened(Found { db, meta, image }, index, paths, attempt, rebuilt))
}

/// What there is where the store should be.
enum Tried {
    Found(Found),
    /// Nothing is in it yet.
    Empty(sled::Db),
}

/// A store that can be used.
struct Found {
    db: sled::Db,
    meta: Meta,
    image: Option<Image>,
}

fn opened(
    found: Found,
    index: Index,
    paths: &Paths,
    attempt: Attempt,
    rebuilt: Option<Rebuilt>,
) -> Opened {
    let Found { db, meta, image } = found;
    // What it has of events counts no more, and goes by and by.
    let meta = Meta { indexed: true, ..meta };
    let (tree, known) = ((*db).clone(), Arc::new(Known::new(meta.standings)));
    let images = Arc::new(Images::new(Image::path(&paths.checkpoint), image));
    fill_beside(&known, Scan::of(&images, tree.clone()));
    let view = Arc::new(View { tree, known, images, index: Arc::new(index) });
    let writer = Writer::new(db, meta, paths.sled.join("db"), &view);
    Opened { writer, view, rebuilt, attempt, believed: false }
}

/// Opens what is there; says why it cannot be used. sled panics on some damage: that is caught.
fn try_open(paths: &Paths, clean: bool) -> Result<Tried, StoreError> {
    let Paths { sled, checkpoint, .. } = paths;
    if !sled.exists() {
        return Err(StoreError::Damaged("it was missing".to_owned()));
    }
    let attempt = catch_unwind(AssertUnwindSafe(|| -> Result<_, StoreError> {
        let db = sled_at(sled).map_err(of_its_own)?;
        let Some(bytes) = db.get(META)? else {
            let empty = StoreError::Damaged("it had lost its position".to_owned());
            return if db.is_empty() { Ok(Tried::Empty(db)) } else { Err(empty) };
        };
        let meta = Meta::decode(&bytes)?;
        let path = Image::path(checkpoint);
        if clean {
            let image = Image::open(&path, meta.applied).ok();
            return Ok(Tried::Found(Found { db, meta, image }));
        }
        let mut draft = Draft::begin(&path);
        let (found, newer) = survey(&db, &mut draft)?;
        if found != (Meta { applied: Position::default(), part: 0, indexed: false, ..meta }) {
            return Err(StoreError::Damaged("its content did not add up".to_owned()));
        }
        // Only where all is as it was written: damage can look newer, too.
        newer.map_or(Ok(()), Err)?;
        Ok(Tried::Found(Found { db, meta, image: draft.finish().ok() }))
    }));
    attempt.unwrap_or_else(|_| Err(StoreError::Damaged("sled gave up on opening it".to_owned())))
}

/// What sled says of the file system is mostly of its own files, and those can be made again: but
/// not where the system lets nobody.
fn of_its_own(error: StoreError) -> StoreError {
    match error {
        StoreError::Disk { passing: false, what } => StoreError::Damaged(what),
        other => other,
    }
}

pub(super) fn sled_at(path: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        // We sync by ourselves, at checkpoints; a background thread could fail unseen.
        .flush_every_ms(None);
    let db = config.open()?;
    // Its files are as the umask has them.
    private_dir(path)?;
    Ok(db)
}

/// What the content of a store adds up to, and whether a newer version has written of it; with an
/// image of it.
fn survey(tree: &sled::Tree, draft: &mut Draft) -> Result<(Meta, Option<StoreError>), StoreError> {
    let (mut meta, mut newer) = (Meta::default(), None);
    for pair in tree {
        let (key, value) = pair?;
        if key != META {
            meta.account(&key, None, Some(&value));
            match draft.put_stored(&key, &value) {
                Err(error @ StoreError::Newer(_)) => newer = Some(error),
                other => other?,
            }
        }
    }
    Ok((meta, newer))
}

/// Fills an empty store.
pub(super) struct Loader<'a> {
    tree: &'a sled::Tree,
    batch: sled::Batch,
    waiting: usize,
    meta: Meta,
    draft: Draft,
}

impl<'a> Loader<'a> {
    fn new(tree: &'a sled::Tree, draft: Draft) -> Loader<'a> {
        let (batch, meta) = (sled::Batch::default(), Meta::default());
        Loader { tree, batch, waiting: 0, meta, draft }
    }

    /// Puts one key, which must be new.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.meta.account(key, None, Some(value));
        self.draft.put_stored(key, value)?;
        self.batch.insert(key, value);
        self.waiting += 1;
        if self.waiting >= LOAD_KEYS {
            self.tree.apply_batch(std::mem::take(&mut self.batch))?;
            self.waiting = 0;
        }
        Ok(())
    }

    fn finish(mut self, applied: Position) -> Result<(Meta, Option<Image>), StoreError> {
        (self.meta.applied, self.meta.indexed) = (applied, true);
        self.batch.insert(META, self.meta.encode());
        self.tree.apply_batch(self.batch)?;
        Ok((self.meta, self.draft.finish().ok()))
    }
}

/// Moves sled's directory to quarantine, in place of an earlier one.
fn move_aside(paths: &Paths, rotten: bool) -> io::Result<Option<PathBuf>> {
    let aside = paths.quarantine.join(if rotten { ROTTEN } else { BROKEN });
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    fs::rename(&paths.sled, &aside)?;
    Ok(Some(aside))
}

/// The stores in quarantine that were made again: what the disk has changed, and all others.
pub fn set_aside_stores(quarantine: &Path) -> [Option<PathBuf>; 2] {
    [ROTTEN, BROKEN].map(|name| Some(quarantine.join(name)).filter(|path| path.exists()))
}

/// Moves to quarantine what a newer version has left to make a start quick, and that this one would
/// write over.
fn set_newer_aside(paths: &Paths) -> io::Result<()> {
    let (mark, image) = (paths.checkpoint.join(CLEAN), Image::path(&paths.checkpoint));
    for (path, is_newer) in [(&mark, is_newer_mark(&mark)), (&image, Image::is_newer(&image))] {
        if is_newer {
            let aside = paths.quarantine.join(path.file_name().unwrap_or_default());
            fs::rename(path, &aside)?;
            telemetry::ingest::newer_set_aside(path, &aside);
        }
    }
    Ok(())
}

/// Notes how the last sync left sled's file, so that the next start need not look through it.
///
/// # Errors
/// When the disk fails; then the next start looks.
pub(super) fn leave_clean_mark(checkpoint: &Path, file: &Path) -> io::Result<()> {
    let mut mark = create_private(&checkpoint.join(CLEAN))?;
    mark.write_all(format!("{CLEAN_FORM} {}", fingerprint(file)?).as_bytes())?;
    mark.sync_all()
}

/// Takes the mark away; says whether it was there and sled's file is as it says.
fn took_clean_mark(paths: &Paths) -> bool {
    let mark = paths.checkpoint.join(CLEAN);
    let noted = noted(&mark);
    // Synced: after a power cut an old mark must not come back and vouch for a newer file.
    let sync = || File::open(&paths.checkpoint)?.sync_all();
    let gone = fs::remove_file(&mark).and_then(|()| sync()).is_ok();
    let now = fingerprint(&paths.sled.join("db"));
    let (Ok(noted), Ok(now)) = (noted, now) else { return false };
    gone && speaks_of(&noted, &now)
}

/// What a mark says. One of bytes that are no text says nothing that we know.
fn noted(mark: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    open_regular(mark, false)?.take(MARK_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a mark speaks of sled's file as it is now.
fn speaks_of(noted: &str, now: &str) -> bool {
    noted == format!("{CLEAN_FORM} {now}") || noted == now
}

/// Whether there is a mark, and it speaks of sled's file as it is now. `None`: there is none.
pub(super) fn clean_mark(paths: &Paths) -> (PathBuf, Option<bool>) {
    let mark = paths.checkpoint.join(CLEAN);
    let now = fingerprint(&paths.sled.join("db")).unwrap_or_default();
    let speaks = noted(&mark).ok().map(|noted| speaks_of(&noted, &now));
    (mark, speaks)
}

/// Whether a newer version left the mark.
pub(super) fn is_newer_mark(mark: &Path) -> bool {
    let noted = noted(mark).unwrap_or_default();
    let words: Vec<&str> = noted.split(' ').collect();
    // The first form has three words, of which the first is no number of a form.
    words.len() > 3 && words[0].parse().is_ok_and(|form: u32| form > CLEAN_FORM)
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What is free for us.
    pub free: u64,
    /// All of it.
    pub size: u64,
}

/// The room of the file system of a file or directory.
///
/// # Errors
/// When the path leads nowhere, or the file system does not say.
pub fn room(path: &Path) -> io::Result<Room> {
    let stat = statvfs(path).map_err(io::Error::from)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Ok(Room { free: bytes(stat.blocks_available()), size: bytes(stat.blocks()) })
}

/// Free room for us on the file system of a file or directory, in bytes.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    Ok(room(path)?.free)
}

fn fingerprint(file: &Path) -> io::Result<String> {
    let meta = fs::metadata(file)?;
    Ok(format!("{} {} {}.{}", meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_mark_speaks_of_the_file_as_it_was_left_and_once() {
        let state = tempfile::tempdir().unwrap();
        let at = |name: &str| state.path().join(name);
        let (sled, checkpoint) = (at("sled"), at("checkpoint"));
        let paths = Paths { sled, checkpoint, ..Paths::of(state.path()) };
        let file = paths.sled.join("db");
        fs::create_dir_all(&paths.sled).unwrap();
        fs::create_dir_all(&paths.checkpoint).unwrap();
        fs::write(&file, "as it was left").unwrap();
        leave_clean_mark(&paths.checkpoint, &file).unwrap();
        assert!(took_clean_mark(&paths));
        assert!(!took_clean_mark(&paths), "it was taken");
        leave_clean_mark(&paths.checkpoint, &file).unwrap();
        fs::write(&file, "as another one left it").unwrap();
        assert!(!took_clean_mark(&paths), "another file");
        leave_clean_mark(&paths.checkpoint, &file).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(!took_clean_mark(&paths), "no file");
    }
}
