//! Whether the files that are open are those that the next start will find.
//!
//! sled and the runs are read and written by what was opened: whoever takes their files away, or
//! cuts them, is noticed by nobody who reads.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Paths, StoreError, Writer};

/// sled gives back the room at the end of its file by so many bytes, and never all of it.
const SLED_SEGMENT: u64 = 512 << 10;
/// After so many looks without a write, sled does not do so any more.
const AT_REST: u32 = 5;

/// Where the files of an open store were.
pub(super) struct Places {
    /// While this is another one, all of it is elsewhere, and the journal tells.
    state: Place,
    ours: Vec<Place>,
    /// sled's file, how it was, and since how many looks nothing was written.
    file: PathBuf,
    looks: Looks,
    rests: u32,
    /// Something was written since the last look.
    written: AtomicBool,
    /// How long sled's file was when it was looked at last, and whether it was found cut.
    length: AtomicU64,
    cut: AtomicBool,
}

/// How long a file is, and when it was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looks {
    length: u64,
    written: (i64, i64),
}

impl Looks {
    fn of(path: &Path) -> io::Result<Looks> {
        let meta = fs::metadata(path)?;
        Ok(Looks { length: meta.len(), written: (meta.mtime(), meta.mtime_nsec()) })
    }
}

/// A file or directory, and where it was.
struct Place {
    path: PathBuf,
    id: (u64, u64),
}

/// What is told apart by it.
fn id(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

impl Place {
    fn of(path: &Path) -> io::Result<Place> {
        Ok(Place { path: path.to_owned(), id: id(&fs::metadata(path)?) })
    }

    fn is_there(&self) -> bool {
        match fs::metadata(&self.path) {
            Ok(there) => id(&there) == self.id,
            // Of any other, nobody can tell.
            Err(error) => !is_gone(&error),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a run that is open is at its path, as long as it was.
pub(super) fn is_whole(run: &File, size: u64, path: &Path) -> bool {
    match (run.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => id(&open) == id(&there) && there.len() == size,
        (_, Err(error)) => !is_gone(&error),
        (Err(_), Ok(_)) => true,
    }
}

impl Places {
    /// Of a store that was just opened.
    pub(super) fn of(paths: &Paths) -> io::Result<Places> {
        let file = paths.sled.join("db");
        let of_sled = ["conf", "blobs"].map(|name| paths.sled.join(name));
        let of_sled = of_sled.iter().filter(|path| path.exists());
        let all = [&paths.sled, &file, &paths.base, &paths.index].into_iter().chain(of_sled);
        let ours = all.map(|path| Place::of(path)).collect::<io::Result<_>>()?;
        let state = Place::of(paths.sled.parent().unwrap_or(&paths.sled))?;
        let looks = Looks::of(&file)?;
        let (length, written, cut) = (looks.length.into(), true.into(), false.into());
        Ok(Places { state, ours, file, looks, rests: 0, written, length, cut })
    }

    /// sled's file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Something is written, and so sled may change its file. It is measured before: what is
    /// written hides that it was cut.
    pub(super) fn write(&self) {
        self.written.store(true, Ordering::Relaxed);
        self.measure();
    }

    /// Notes how long sled's file is.
    pub(super) fn measure(&self) {
        let Ok(meta) = fs::metadata(&self.file) else { return };
        let before = self.length.swap(meta.len(), Ordering::Relaxed);
        if was_cut(before, meta.len()) {
            self.cut.store(true, Ordering::Relaxed);
        }
    }

    /// What is not there any more.
    fn missing(&self) -> Option<PathBuf> {
        let missing = self.ours.iter().find(|place| !place.is_there());
        missing.map(|place| place.path.clone())
    }

    /// sled's file, if somebody else has cut or written it since the last look.
    fn changed(&mut self) -> Option<PathBuf> {
        self.rests = if self.written.swap(false, Ordering::Relaxed) { 0 } else { self.rests + 1 };
        self.measure();
        let looks = Looks::of(&self.file).ok()?;
        let before = std::mem::replace(&mut self.looks, looks);
        // sled does nothing any more.
        let was_changed = self.rests >= AT_REST && looks != before;
        (was_changed || *self.cut.get_mut()).then(|| self.file.clone())
    }
}

impl Writer {
    /// Looks whether all of the store is where the next start looks for it.
    ///
    /// # Errors
    /// When it is not: then it is to be opened again.
    pub fn look(&mut self) -> Result<(), StoreError> {
        self.check_index()?;
        let missing = self.places.missing().or_else(|| self.places.changed());
        let missing = missing.or_else(|| self.base().missing()).or_else(|| self.index.missing());
        // Where all of it is elsewhere, the journal is too, and that is told there.
        match missing.filter(|_| self.is_home()) {
            Some(path) => Err(StoreError::Moved(path.display().to_string())),
            None => Ok(()),
        }
    }

    /// Whether the next start finds this sled where it looks for it.
    pub fn is_where_it_was(&self) -> bool {
        self.places.missing().is_none()
    }

    /// Whether the state directory is where it was.
    pub fn is_home(&self) -> bool {
        self.places.state.is_there()
    }
}

/// Whether somebody else has cut sled's file: sled gives back whole segments.
fn was_cut(before: u64, length: u64) -> bool {
    length < before && (length == 0 || !length.is_multiple_of(SLED_SEGMENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sled_gives_back_is_told_from_what_others_cut() {
        let before = 3 * SLED_SEGMENT;
        for (length, expected) in [
            (before, false),
            (before + 1, false),
            (SLED_SEGMENT, false),
            (SLED_SEGMENT - 1, true),
            (0, true),
        ] {
            assert_eq!(was_cut(before, length), expected, "{length}");
        }
    }
}
