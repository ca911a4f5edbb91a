//! Opening the store, checking that it is what it must be, and making it again if it is not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::attempt::Attempt;
use super::base::{self, Base};
use super::checkpoint::is_left_out;
use super::codec::{Layout, Meta, decode, encode, is_newer};
use super::disk::free_bytes;
use super::index::Index;
use super::keys::{META, RUNS};
use super::{Checkpoints, Reach, StoreError, Writer, checkpoints};
use crate::journal::{SEGMENT_HEADER, create_private, open_regular, private_dir, sync_dir};
use crate::model::Position;
use crate::telemetry;

/// What sled may keep in memory, in bytes as they are stored. Its real use is several times that.
const CACHE_BYTES: u64 = 8 << 20;
/// Keys put at once while loading a checkpoint.
const LOAD_KEYS: usize = 10_000;
/// About how many bytes of a checkpoint a standing takes.
const ROW_BYTES: u64 = 64;
/// Room that making the store again needs at the very least, in bytes.
const ROOM: u64 = 8 << 20;
/// The file in the checkpoint directory that says how a clean stop left sled's file.
pub(super) const CLEAN: &str = "clean";
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
    /// The runs of the base.
    pub base: PathBuf,
    /// The runs of the index.
    pub index: PathBuf,
    /// Where a store that cannot be used is moved.
    pub quarantine: PathBuf,
}

impl Paths {
    /// Where they are in a state directory.
    pub fn of(state: &Path) -> Paths {
        Paths {
            sled: state.join("sled"),
            checkpoint: state.join("checkpoint"),
            base: state.join("base"),
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
    pub(super) base: Arc<Base>,
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
pub fn open(
    paths: &Paths,
    checkpoints: &Checkpoints,
    journal: Reach,
    rotten: bool,
) -> Result<Opened, StoreError> {
    for dir in [&paths.quarantine, &paths.checkpoint, &paths.base] {
        private_dir(dir)?;
    }
    checkpoints::remove_drafts(&paths.checkpoint)?;
    set_newer_aside(paths)?;
    let attempt = Attempt::open(&paths.checkpoint)?;
    let index = Index::open(&paths.index, journal)?;
    let (before, _) = beside(paths);
    if before.exists() && !paths.sled.exists() {
        // The one that was to take its place had not come there.
        fs::rename(&before, &paths.sled)?;
    }
    let existed = paths.sled.exists();
    let clean = took_clean_mark(paths);
    let (why, empty) = match try_open(paths, clean) {
        Ok(Tried::Found(found)) => {
            return Ok(Opened { believed: clean, ..opened(found, index, paths, attempt, None)? });
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
    let newest = match checkpoints.newest_whole() {
        // The journal has all of it: nothing was trimmed.
        Err(StoreError::Newer(_)) if journal.0.segment <= 1 => None,
        newest => newest?,
    };
    let is_new = !existed || empty.is_some();
    let rotten = existed && (rotten || clean);
    let (aside, db) = match empty {
        Some(db) => (None, db),
        None => (if existed { move_aside(paths, rotten)? } else { None }, sled_at(&paths.sled)?),
    };
    let bytes = newest.map_or(Ok(0), |position| checkpoints.bytes(position))?;
    let mut loader = Loader::begin(&db, &paths.base, bytes / ROW_BYTES)?;
    if let Some(position) = newest {
        checkpoints.load(position, &mut loader)?;
    }
    let applied = Meta { applied: newest.unwrap_or_default(), ..Meta::default() };
    let (meta, base) = loader.finish(applied)?;
    // Where nothing was told yet, there was none.
    let fresh = is_new && newest.is_none() && !has_told(journal);
    if fresh {
        // From here on there is one, whatever becomes of this process.
        db.flush()?;
    }
    let rebuilt = (!fresh).then_some(Rebuilt { why, checkpoint: newest, aside, rotten });
    opened(Found { db, meta, base }, index, paths, attempt, rebuilt)
}

/// Whether anything was ever told in a journal that reaches so far.
fn has_told((_, end): Reach) -> bool {
    end > Position { segment: 1, offset: SEGMENT_HEADER }
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
    base: Base,
}

fn opened(
    found: Found,
    index: Index,
    paths: &Paths,
    attempt: Attempt,
    rebuilt: Option<Rebuilt>,
) -> Result<Opened, StoreError> {
    let Found { db, meta, base } = found;
    base.remove_others()?;
    // Of an earlier version, which had all of it once more.
    let _ = fs::remove_file(paths.checkpoint.join("standings.image"));
    let view = View { tree: (*db).clone(), base: Arc::new(base), index: Arc::new(index) };
    let writer = Writer::new(db, meta, paths, &view)?;
    Ok(Opened { writer, view: Arc::new(view), rebuilt, attempt, believed: false })
}

/// Opens what is there; says why it cannot be used. sled panics on some damage: that is caught.
fn try_open(paths: &Paths, clean: bool) -> Result<Tried, StoreError> {
    let Paths { sled, base, .. } = paths;
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
        if meta.layout < Layout::Based {
            bring_over(&db, meta, paths)?;
            drop(db);
            return Ok(Tried::Found(put_in_place(paths)?));
        }
        if !clean {
            add_up(&db, meta, |_, _| Ok(()))?;
        }
        let meta = if meta.layout == Layout::Based { base::gather(&db, meta)? } else { meta };
        let base = base_of(&db, base, true)?;
        Ok(Tried::Found(Found { db, meta, base }))
    }));
    attempt.unwrap_or_else(|_| Err(StoreError::Damaged("sled gave up on opening it".to_owned())))
}

/// The base that a store says. One that is ours is taken away where it is found damaged.
pub(super) fn base_of(tree: &sled::Tree, dir: &Path, is_ours: bool) -> Result<Base, StoreError> {
    let listed = tree.get(RUNS)?.map_or(Ok(Vec::new()), |bytes| decode(&bytes))?;
    let mut changed = BTreeMap::new();
    base::read(tree, |key, value| {
        changed.insert(key.into(), value.into());
    })?;
    Base::open(dir, &listed, changed, is_ours)
}

/// Makes a store beside one of an earlier version, which had everything in sled.
fn bring_over(old: &sled::Tree, meta: Meta, paths: &Paths) -> Result<(), StoreError> {
    let (before, next) = beside(paths);
    for old in [before, next.clone()] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    let db = sled_at(&next)?;
    let mut loader = Loader::begin(&db, &paths.base, meta.standings)?;
    add_up(old, meta, |key, value| if is_left_out(key) { Ok(()) } else { loader.put(key, value) })?;
    loader.finish(meta)?;
    db.flush()?;
    File::open(next.join("db"))?.sync_all()?;
    Ok(sync_dir(&next)?)
}

/// Puts that store in the place of the earlier one.
fn put_in_place(paths: &Paths) -> Result<Found, StoreError> {
    let (before, next) = beside(paths);
    fs::rename(&paths.sled, &before)?;
    fs::rename(&next, &paths.sled)?;
    paths.sled.parent().map_or(Ok(()), sync_dir)?;
    fs::remove_dir_all(&before)?;
    let db = sled_at(&paths.sled)?;
    let meta = db.get(META)?.ok_or_else(|| StoreError::Damaged("it was lost".to_owned()))?;
    let (meta, base) = (Meta::decode(&meta)?, base_of(&db, &paths.base, true)?);
    Ok(Found { db, meta, base })
}

/// Where sled is while another takes its place, and where that is made.
fn beside(paths: &Paths) -> (PathBuf, PathBuf) {
    (paths.sled.with_extension("before"), paths.sled.with_extension("next"))
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

/// Gives each key of a store with its value.
///
/// # Errors
/// When its content does not add up, a newer version has written of it, or `each` says so.
fn add_up(
    tree: &sled::Tree,
    meta: Meta,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (mut found, mut has_newer) = (Meta::default(), false);
    for pair in tree {
        let (key, value) = pair?;
        if key != META {
            found.account(&key, None, Some(&value));
            let form = key.first().zip(value.first());
            has_newer |= form.is_some_and(|(prefix, form)| is_newer(*prefix, *form));
            each(&key, &value)?;
        }
    }
    if !found.is_as(&meta) {
        return Err(StoreError::Damaged("its content did not add up".to_owned()));
    }
    // Only where all is as it was written: damage can look newer, too.
    if has_newer { Err(StoreError::Newer("a value of the store".to_owned())) } else { Ok(()) }
}

/// Fills an empty store: sled, and a run of the base.
pub(super) struct Loader<'a> {
    tree: &'a sled::Tree,
    dir: &'a Path,
    batch: sled::Batch,
    waiting: usize,
    meta: Meta,
    draft: base::Draft,
}

impl<'a> Loader<'a> {
    /// With about so many standings.
    fn begin(tree: &'a sled::Tree, dir: &'a Path, standings: u64) -> Result<Self, StoreError> {
        let (batch, meta) = (sled::Batch::default(), Meta::default());
        let draft = base::Draft::begin(dir, 1, standings)?;
        Ok(Loader { tree, dir, batch, waiting: 0, meta, draft })
    }

    /// Puts one key, which must be new; those of standings come in their order.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if Base::has(key) {
            self.meta.count(key, false, true);
            return Ok(self.draft.put(key, value)?);
        }
        self.meta.account(key, None, Some(value));
        self.batch.insert(key, value);
        self.waiting += 1;
        if self.waiting >= LOAD_KEYS {
            self.tree.apply_batch(std::mem::take(&mut self.batch))?;
            self.waiting = 0;
        }
        Ok(())
    }

    /// Ends it, as the state after what another store has applied.
    fn finish(mut self, other: Meta) -> Result<(Meta, Base), StoreError> {
        let base = Base::of(self.dir, self.draft)?;
        let runs = encode(&base.listed());
        self.meta.account(RUNS, None, Some(&runs));
        self.batch.insert(RUNS, runs);
        (self.meta.applied, self.meta.part) = (other.applied, other.part);
        self.batch.insert(META, self.meta.encode());
        self.tree.apply_batch(self.batch)?;
        Ok((self.meta, base))
    }
}

/// Moves a store to quarantine, in place of an earlier one.
fn move_aside(paths: &Paths, rotten: bool) -> io::Result<Option<PathBuf>> {
    let aside = paths.quarantine.join(if rotten { ROTTEN } else { BROKEN });
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    fs::rename(&paths.sled, &aside)?;
    if aside.is_dir() {
        fs::rename(&paths.base, aside.join("base"))?;
        private_dir(&paths.base)?;
    }
    Ok(Some(aside))
}

/// The stores in quarantine that were made again: what the disk has changed, and all others.
pub fn set_aside_stores(quarantine: &Path) -> [Option<PathBuf>; 2] {
    [ROTTEN, BROKEN].map(|name| Some(quarantine.join(name)).filter(|path| path.exists()))
}

/// Moves to quarantine what a newer version has left to make a start quick, and that this one would
/// write over.
fn set_newer_aside(paths: &Paths) -> io::Result<()> {
    let mark = paths.checkpoint.join(CLEAN);
    if is_newer_mark(&mark) {
        let aside = paths.quarantine.join(CLEAN);
        fs::rename(&mark, &aside)?;
        telemetry::ingest::newer_set_aside(&mark, &aside);
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
