//! Puts an export's rows into its file: whole or not at all, and only if they differ.
//!
//! Blocking. Writes beside the file and renames, so that a reader sees the old rows or the new.
//! Never touches the file when it fails.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use super::file::{self, BUFFER_BYTES, Draft, FileError, fix_attributes};
use super::guard::Guard;
use super::table::{Kept, Kind, Made, Making, kind};
use super::{Row, Settings};
use crate::store::StoreError;

/// What a publication did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The rows that the file has now.
    pub rows: u64,
    /// Whether they differ from what it had.
    pub changed: bool,
    /// Whether only what had changed was looked at.
    pub(super) partial: bool,
}

/// What a publication did, and the file for the next change.
pub(super) type Published = (Outcome, Option<Box<dyn Kept>>);

/// Why a file was not replaced. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The rows cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many rows would vanish without a known reason.
    #[error("{new} rows would replace {old}, and more are gone than can be explained")]
    Shrunk {
        /// The rows that the file has.
        old: u64,
        /// The rows that it would have.
        new: u64,
    },
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A new version of an export's file, in the making. It is dropped without a trace unless it is
/// finished.
pub struct Publication<'a> {
    settings: &'a Settings,
    kind: &'static dyn Kind,
    making: Box<dyn Making + Send>,
}

/// The file that is there.
struct Old {
    file: File,
    rows: u64,
    same: bool,
}

impl<'a> Publication<'a> {
    /// Begins, beside the file that is there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn begin(settings: &'a Settings) -> Result<Publication<'a>, PublishError> {
        let path = &settings.path;
        file::make_directory(path)?;
        let kind = kind(settings.style.table);
        Ok(Publication { settings, kind, making: kind.begin(path, settings.format.shape())? })
    }

    /// Adds a row. They may come in any order; those out of the ascending order of keys can be
    /// held in memory until all are there. Of several rows with one key, one is kept.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn add(&mut self, row: Row<'_>) -> Result<(), PublishError> {
        Ok(self.making.add(row)?)
    }

    /// Replaces the file, if it differs. An LMDB map always does.
    ///
    /// # Errors
    /// When the guard holds it back, or the file system refuses.
    pub fn finish(self, guard: Guard) -> Result<Outcome, PublishError> {
        self.finish_and_keep(guard).map(|(outcome, _)| outcome)
    }

    /// The same, with the file for the next change.
    pub(super) fn finish_and_keep(self, guard: Guard) -> Result<Published, PublishError> {
        let Publication { settings, kind, making } = self;
        let Made { draft, rows, keep } = making.finish()?;
        let old = compare(settings, kind, &draft, rows)?;
        let before = old.as_ref().map_or(0, |old| old.rows);
        if !guard.allows(before, rows) {
            return Err(PublishError::Shrunk { old: before, new: rows });
        }
        let changed = old.as_ref().is_none_or(|old| !old.same);
        match old {
            Some(old) if old.same => fix_attributes(settings, &old.file)?,
            old => draft.replace(settings, old.map(|old| old.file).as_ref())?,
        }
        Ok((Outcome { rows, changed, partial: false }, keep(&settings.path)))
    }
}

/// Makes an export's file without rows, if there is none: an MTA that is told of a file that is
/// not there refuses all mail for now.
///
/// # Errors
/// When the file system refuses.
pub fn make_if_missing(settings: &Settings) -> Result<(), PublishError> {
    if settings.path.exists() {
        return Ok(());
    }
    let nothing_lost = Guard { max_shrink: 0, force: false, explained: 0 };
    Publication::begin(settings)?.finish(nothing_lost).map(|_| ())
}

/// Says whether a draft of so many rows is the same as the file that is there, and how many rows
/// that has.
fn compare(
    settings: &Settings,
    kind: &dyn Kind,
    draft: &Draft,
    rows: u64,
) -> Result<Option<Old>, FileError> {
    let target = &settings.path;
    let reading = |e| FileError::new("read", target, e);
    let file = match File::open(target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(reading)?,
    };
    let same = kind.is_canonical() && has_bytes_of(&file, draft).map_err(reading)?;
    let shape = settings.format.shape();
    let rows = if same { rows } else { kind.count(&file, shape).map_err(reading)? };
    Ok(Some(Old { file, rows, same }))
}

/// Whether a file has the same bytes as a draft.
fn has_bytes_of(file: &File, draft: &Draft) -> io::Result<bool> {
    let mut old = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut new = file::open(&draft.path)?;
    let mut other = vec![0; BUFFER_BYTES];
    loop {
        let chunk = old.fill_buf()?;
        if chunk.is_empty() {
            return Ok(new.fill_buf()?.is_empty());
        }
        let other = &mut other[..chunk.len()];
        if new.read_exact(other).is_err() || other != chunk {
            return Ok(false);
        }
        let length = chunk.len();
        old.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    use super::super::test;
    use super::*;

    const OPEN: Guard = Guard { max_shrink: 50, force: false, explained: 0 };

    fn publish(settings: &Settings, keys: &[&str], guard: Guard) -> Result<Outcome, PublishError> {
        let mut publication = Publication::begin(settings)?;
        keys.iter().try_for_each(|key| publication.add(Row { key, value: "v" }))?;
        publication.finish(guard)
    }

    fn write(path: &Path, keys: &[&str], guard: Guard) -> Result<Outcome, PublishError> {
        publish(&test::settings(path), keys, guard)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn rows_are_sorted_and_each_key_comes_once() {
        let directory = tempfile::tempdir().unwrap();
        for (index, (keys, expected)) in [
            (&[][..], ""),
            (&["a", "b"], "a\tv\nb\tv\n"),
            (&["b", "b", "a", "c", "a", "b"], "a\tv\nb\tv\nc\tv\n"),
            (
                &["u@xn--x", "u@\u{fc}", "v@xn--x", "v@b\u{fc}"],
                "u@xn--x\tv\nu@\u{fc}\tv\nv@b\u{fc}\tv\nv@xn--x\tv\n",
            ),
            (&["\"a\tb\"@x", "\"a\"@x"], "\"a\tb\"@x\tv\n\"a\"@x\tv\n"),
            (&["c", "z", "d", "y"], "c\tv\nd\tv\ny\tv\nz\tv\n"),
        ]
        .into_iter()
        .enumerate()
        {
            let path = directory.path().join(format!("made/here/{index}"));
            let outcome = write(&path, keys, OPEN).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
            let rows = expected.lines().count() as u64;
            assert_eq!((outcome.rows, outcome.changed), (rows, true));
            let again = write(&path, keys, OPEN).unwrap();
            assert_eq!((again.rows, again.changed), (rows, false));
        }
        assert_eq!(names(&directory.path().join("made/here")).len(), 6, "no drafts stay");
    }

    #[test]
    fn a_file_of_the_same_rows_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        write(&path, &["a"], OPEN).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        write(&path, &["a"], OPEN).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        for keys in [&["a", "b"][..], &["a"], &["b"]] {
            assert!(write(&path, keys, OPEN).unwrap().changed, "{keys:?}");
        }
    }

    #[test]
    fn permissions_are_the_configured_or_the_old_or_the_usual() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
        write(&path, &["a"], OPEN).unwrap();
        assert_eq!(mode(), 0o644);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        write(&path, &["b"], OPEN).unwrap();
        assert_eq!(mode(), 0o600);
        let settings = Settings { mode: Some(0o640), ..test::settings(&path) };
        publish(&settings, &["b"], OPEN).unwrap();
        assert_eq!(mode(), 0o640, "same rows");
        let settings = Settings { mode: Some(0o604), ..settings };
        publish(&settings, &["c"], OPEN).unwrap();
        assert_eq!(mode(), 0o604);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(7), Some(8)).unwrap();
            write(&path, &["d"], OPEN).unwrap();
            let settings = Settings { group: Some(9), ..test::settings(&path) };
            let owner = || (fs::metadata(&path).unwrap().uid(), fs::metadata(&path).unwrap().gid());
            assert_eq!(owner(), (7, 8));
            publish(&settings, &["d"], OPEN).unwrap();
            assert_eq!(owner(), (7, 9));
            publish(&settings, &["e"], OPEN).unwrap();
            assert_eq!(owner(), (7, 9));
        }
    }

    #[test]
    fn the_guard_holds_back_what_cannot_be_explained() {
        let ten: Vec<String> = (0..10).map(|i| format!("k{i}")).collect();
        let ten: Vec<&str> = ten.iter().map(String::as_str).collect();
        for (old, new, explained, force, passes) in [
            (10, 5, 0, false, true),
            (10, 4, 0, false, false),
            (10, 4, 1, false, true),
            (10, 4, 0, true, true),
            (10, 0, 10, false, true),
            (10, 0, 9, false, false),
            (10, 0, 0, true, true),
            (1, 0, 0, false, false),
            (1, 0, 1, false, true),
            (0, 0, 0, false, true),
            (0, 10, 0, false, true),
            (5, 10, 0, false, true),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("f");
            write(&path, &ten[..old], OPEN).unwrap();
            let before = fs::read(&path).unwrap();
            let result = write(&path, &ten[..new], Guard { max_shrink: 50, force, explained });
            assert_eq!(result.is_ok(), passes, "{old} -> {new}: {result:?}");
            if !passes {
                assert!(matches!(result, Err(PublishError::Shrunk { .. })));
                assert_eq!(fs::read(&path).unwrap(), before);
            }
            assert_eq!(names(directory.path()), ["f"]);
        }
    }

    #[test]
    fn a_failure_leaves_everything_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        write(&path, &["a"], OPEN).unwrap();
        let settings = test::settings(&path);
        let mut publication = Publication::begin(&settings).unwrap();
        for key in ["b", "c", "a"] {
            publication.add(Row { key, value: "v" }).unwrap();
        }
        drop(publication);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\tv\n");
        assert_eq!(names(directory.path()), ["f"]);
        // A left-over of a crash, even as a link to elsewhere, is replaced and not followed.
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, "mine").unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.path().join(".f.suppressd-new")).unwrap();
        write(&path, &["b"], OPEN).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
        assert_eq!(fs::read_to_string(&path).unwrap(), "b\tv\n");
    }

    #[test]
    fn errors_name_the_file_and_say_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "").unwrap();
        let error = write(&path, &["a"], OPEN).unwrap_err().to_string();
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
        assert!(error.contains("there is a directory of that name"), "{error}");
        let error = write(&path.join("inside/g"), &["a"], OPEN).unwrap_err().to_string();
        assert!(error.contains("a part of its path is not a directory"), "{error}");
        assert_eq!(names(directory.path()), ["f"]);
    }
}
