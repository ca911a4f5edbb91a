//! The folder of checkpoints: which there are, which of them are known to be whole, and what
//! becomes of those that are not.
//!
//! Nothing is trusted because it was written: each is read back before it has its name, and those
//! of before are read before the journal is trimmed on their word. One that is damaged is set
//! aside, so that it never pushes out a good one; one of a newer version is left where it is.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::checkpoint::{self, Flaw, Snapshot};
use super::open::Loader;
use super::{Paths, StoreError};
use crate::model::{Position, Time};
use crate::telemetry;

const SUFFIX: &str = "checkpoint";
/// The ending of what is being written.
pub(super) const DRAFT: &str = "draft";
/// How many whole ones are kept. The journal is never trimmed past the oldest of them.
const KEPT: usize = 2;

/// The checkpoints of a state directory.
pub struct Checkpoints {
    dir: PathBuf,
    quarantine: PathBuf,
    read: Mutex<Known>,
    /// Held while they are looked through or one is written: each is a long reading.
    working: Mutex<()>,
}

/// What this process has read to its end.
#[derive(Default)]
struct Known {
    whole: BTreeSet<Position>,
    newer: BTreeSet<Position>,
}

impl Known {
    fn has(&self, position: Position) -> bool {
        self.whole.contains(&position) || self.newer.contains(&position)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding it leaves each as good as it was.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Checkpoints {
    /// Of a state directory. Nothing is known of them yet.
    pub fn new(paths: &Paths) -> Checkpoints {
        let (dir, quarantine) = (paths.checkpoint.clone(), paths.quarantine.clone());
        Checkpoints { dir, quarantine, read: Mutex::default(), working: Mutex::default() }
    }

    /// Writes one, reads it back, and only then gives it its name; removes the oldest whole ones
    /// beyond those that are kept.
    ///
    /// # Errors
    /// When the disk fails or the store is damaged; then there is no new file.
    pub fn write(&self, snapshot: &Snapshot) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        self.verify()?;
        let _alone = locked(&self.working);
        let position = snapshot.applied();
        let path = path(&self.dir, position);
        let draft = path.with_extension(DRAFT);
        let written = write_and_verify(snapshot, &draft);
        if written.is_err() {
            // Where there was no room, half of it must not take what there is.
            let _ = fs::remove_file(&draft);
        }
        written?;
        fs::rename(&draft, &path)?;
        File::open(&self.dir)?.sync_all()?;
        locked(&self.read).whole.insert(position);
        for old in self.whole()?.iter().rev().skip(KEPT) {
            fs::remove_file(self::path(&self.dir, *old))?;
        }
        Ok(())
    }

    /// Removes all but one, and what is being written: something is to be in none of them.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn keep_only(&self, position: Position) -> io::Result<()> {
        let _alone = locked(&self.working);
        for other in list(&self.dir)?.into_iter().filter(|other| *other != position) {
            fs::remove_file(path(&self.dir, other))?;
        }
        remove_drafts(&self.dir)?;
        File::open(&self.dir)?.sync_all()
    }

    /// Reads every one that was not read before to its end. What is found damaged is set aside.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file not be opened.
    pub fn verify(&self) -> io::Result<()> {
        let _alone = locked(&self.working);
        for position in list(&self.dir)? {
            if locked(&self.read).has(position) {
                continue;
            }
            match checkpoint::verify(&path(&self.dir, position), position) {
                Ok(_) => {
                    locked(&self.read).whole.insert(position);
                }
                Err(Flaw::Closed(error)) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error);
                }
                Err(Flaw::Closed(_)) => {}
                Err(flaw) => self.refuse(position, &flaw)?,
            }
        }
        Ok(())
    }

    /// The position up to which the journal may be trimmed: the oldest of those that are kept,
    /// when there are as many that are known to be whole and were written after `since`. By a clock
    /// that has just been set ahead they were not, and nothing is old that seems to be.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn trim_point(&self, since: Time) -> io::Result<Option<Position>> {
        let whole = self.whole()?;
        let kept: Vec<Position> = whole.iter().rev().take(KEPT).copied().collect();
        for position in &kept {
            if fs::metadata(path(&self.dir, *position))?.mtime() < since.second() {
                return Ok(None);
            }
        }
        Ok(kept.get(KEPT - 1).copied())
    }

    /// How large the newest one is, in bytes; 0 without one.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn newest_bytes(&self) -> io::Result<u64> {
        list(&self.dir)?.last().map_or(Ok(0), |newest| self.bytes(*newest))
    }

    /// How large one is, in bytes.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn bytes(&self, position: Position) -> io::Result<u64> {
        Ok(fs::metadata(path(&self.dir, position))?.len())
    }

    /// Loads one that is whole.
    ///
    /// # Errors
    /// When it is so no more, or the store takes no more.
    pub(super) fn load(
        &self,
        position: Position,
        loader: &mut Loader<'_>,
    ) -> Result<(), StoreError> {
        checkpoint::load(&path(&self.dir, position), position, loader)
    }

    /// The newest whole one, which a store can be made of.
    ///
    /// # Errors
    /// When there is none but of a newer version, or one cannot be opened.
    pub(super) fn newest_whole(&self) -> Result<Option<Position>, StoreError> {
        let _alone = locked(&self.working);
        let mut newer = None;
        for position in list(&self.dir)?.into_iter().rev() {
            match checkpoint::verify(&path(&self.dir, position), position) {
                Ok(_) => return Ok(Some(position)),
                Err(Flaw::Closed(error)) => return Err(error.into()),
                Err(flaw) => {
                    self.refuse(position, &flaw)?;
                    newer = newer.or(matches!(flaw, Flaw::Newer).then_some(position));
                }
            }
        }
        match newer {
            Some(position) => Err(StoreError::Newer(format!("the checkpoint at {position}"))),
            None => Ok(None),
        }
    }

    /// Those that are known to be whole and are still there.
    fn whole(&self) -> io::Result<BTreeSet<Position>> {
        let there = list(&self.dir)?;
        let read = locked(&self.read);
        Ok(there.into_iter().filter(|position| read.whole.contains(position)).collect())
    }

    /// The files that were refused: those that were set aside, and those of a newer version. While
    /// there is one, an operator has to look.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn refused(&self) -> io::Result<Vec<PathBuf>> {
        let mut refused = set_aside_checkpoints(&self.quarantine)?;
        let newer = locked(&self.read).newer.clone();
        let there = list(&self.dir)?.into_iter().filter(|at| newer.contains(at));
        refused.extend(there.map(|at| path(&self.dir, at)));
        Ok(refused)
    }

    fn refuse(&self, position: Position, flaw: &Flaw) -> io::Result<()> {
        let path = path(&self.dir, position);
        if matches!(flaw, Flaw::Newer) {
            if locked(&self.read).newer.insert(position) {
                telemetry::ingest::checkpoint_refused(&path, flaw, &path);
            }
            return Ok(());
        }
        let aside = self.quarantine.join(path.file_name().unwrap_or_default());
        fs::rename(&path, &aside)?;
        for dir in [&self.quarantine, &self.dir] {
            File::open(dir)?.sync_all()?;
        }
        telemetry::ingest::checkpoint_refused(&path, flaw, &aside);
        Ok(())
    }
}

fn write_and_verify(snapshot: &Snapshot, draft: &Path) -> io::Result<()> {
    let written = snapshot.write_draft(draft)?;
    let read = checkpoint::verify(draft, snapshot.applied());
    match read.map_err(|flaw| io::Error::other(format!("what was just written: {flaw}")))? {
        read if read == written => Ok(()),
        _ => Err(io::Error::other("what was just written has lost keys")),
    }
}

/// Removes what a crash in the middle of writing has left.
pub(super) fn remove_drafts(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == DRAFT) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The position of the newest checkpoint, whole or not.
///
/// # Errors
/// When the directory cannot be read.
pub fn newest_checkpoint(dir: &Path) -> io::Result<Option<Position>> {
    Ok(list(dir)?.last().copied())
}

/// The checkpoints in quarantine: each was refused.
///
/// # Errors
/// When the directory cannot be read.
pub fn set_aside_checkpoints(quarantine: &Path) -> io::Result<Vec<PathBuf>> {
    let aside = list(quarantine)?;
    Ok(aside.into_iter().map(|position| path(quarantine, position)).collect())
}

pub(super) fn path(dir: &Path, position: Position) -> PathBuf {
    dir.join(format!("{:010}-{:010}.{SUFFIX}", position.segment, position.offset))
}

/// The positions of the checkpoints in a directory, ascending.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Position>> {
    let mut positions = Vec::new();
    if !dir.exists() {
        return Ok(positions);
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some((stem, SUFFIX)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        let Some((segment, offset)) = stem.split_once('-') else { continue };
        if let (Ok(segment), Ok(offset)) = (segment.parse(), offset.parse()) {
            positions.push(Position { segment, offset });
        }
    }
    positions.sort_unstable();
    Ok(positions)
}
