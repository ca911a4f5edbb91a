//! Puts an export's rows into its file: whole or not at all, and only if they differ.
//!
//! Blocking. Writes beside the file and renames, so that a reader sees the old rows or the new.
//! Never leaves a half-written file behind, and never touches the file when it fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::cdb::{self, Constant};
use super::lmdb::{self, Bulk, Digest};
use super::text::{Lengths, Lines};
use super::{Row, Settings, Table};
use crate::model::Time;
use crate::store::StoreError;

/// The permissions of a file that neither the settings nor an older file give any.
const MODE: u32 = 0o644;

/// The permissions of the directories that are made for the file.
const DIRECTORY_MODE: u32 = 0o755;

/// What is read or written at once, in bytes.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// What must hold before fewer rows replace more.
#[derive(Clone, Copy)]
pub struct Guard {
    /// The largest unexplained loss, in percent of the rows of the present file.
    pub max_shrink: u8,
    /// Whether to write whatever is lost.
    pub force: bool,
    /// How many rows are known to be gone on purpose.
    pub explained: u64,
}

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

/// What has to be known of a file to change a part of it.
pub(super) enum Left {
    /// Nothing: it is made anew each time.
    Nothing,
    /// What an LMDB map holds.
    Map(Digest),
    /// Where the rows of a text are.
    Lines(Lengths),
}

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
    #[error("cannot {doing} {}: {source}; {hint}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
}

/// A new version of an export's file, in the making. It is dropped without a trace unless it is
/// finished.
pub struct Publication<'a> {
    settings: &'a Settings,
    making: Making,
}

/// What the rows are put into.
enum Making {
    Text(Lines),
    Lmdb(Bulk),
    Cdb(Constant),
}

impl<'a> Publication<'a> {
    /// Begins, beside the file that is there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn begin(settings: &'a Settings) -> Result<Publication<'a>, PublishError> {
        let path = &settings.path;
        let directory = directory_of(path);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE);
        builder.create(directory).map_err(|e| failed("create the directory", directory, e))?;
        let making = match settings.style.table {
            Table::Text => Making::Text(Lines::begin(path, settings.format.shape())?),
            Table::Lmdb => Making::Lmdb(Bulk::begin(path)?),
            Table::Cdb => Making::Cdb(Constant::begin(path)?),
        };
        Ok(Publication { settings, making })
    }

    /// Adds a row. They may come in any order; those out of the ascending order of keys can be
    /// held in memory until all are there. Of several rows with one key, one is kept.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn add(&mut self, row: Row<'_>) -> Result<(), PublishError> {
        match &mut self.making {
            Making::Text(lines) => lines.add(row),
            Making::Lmdb(bulk) => bulk.add(row),
            Making::Cdb(constant) => constant.add(row),
        }
    }

    /// Replaces the file, if it differs. An LMDB map always does.
    ///
    /// # Errors
    /// When the guard holds it back, or the file system refuses.
    pub fn finish(self, guard: Guard) -> Result<Outcome, PublishError> {
        self.finish_and_keep(guard).map(|(outcome, _)| outcome)
    }

    /// The same, with what the next change needs to know.
    pub(super) fn finish_and_keep(self, guard: Guard) -> Result<(Outcome, Left), PublishError> {
        let Publication { settings, making } = self;
        let is_map = matches!(making, Making::Lmdb(_));
        let (draft, rows, left) = match making {
            Making::Text(lines) => {
                let (draft, lengths) = lines.finish()?;
                (draft, lengths.len() as u64, Left::Lines(lengths))
            }
            Making::Cdb(constant) => {
                let (draft, rows) = constant.finish()?;
                (draft, rows, Left::Nothing)
            }
            Making::Lmdb(bulk) => {
                let (draft, digest) = bulk.finish()?;
                (draft, digest.rows, Left::Map(digest))
            }
        };
        let old = compare(settings, &draft, is_map)?;
        guard.check(old.as_ref().map_or(0, |old| old.rows), rows)?;
        let changed = old.as_ref().is_none_or(|old| !old.same);
        match old {
            Some(old) if old.same => fix_attributes(settings, &old.file)?,
            old => draft.replace(settings, old.map(|old| old.file).as_ref())?,
        }
        Ok((Outcome { rows, changed, partial: false }, left))
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

/// A file beside the target. Removed when dropped, unless it took the target's place.
pub(super) struct Draft {
    pub(super) path: PathBuf,
    in_place: bool,
}

/// The file that is there.
struct Old {
    file: File,
    rows: u64,
    same: bool,
}

impl Draft {
    /// A new, empty file that nobody else can read yet. A left-over of that name is replaced.
    pub(super) fn create(target: &Path, suffix: &str) -> Result<(Draft, File), PublishError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.{suffix}"));
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove the left-over", &path, e));
            }
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| failed("create", &path, e))?;
        Ok((Draft { path, in_place: false }, file))
    }

    pub(super) fn failed(&self, doing: &'static str, error: io::Error) -> PublishError {
        failed(doing, &self.path, error)
    }

    /// Makes it durable and renames it to the target.
    pub(super) fn replace(
        mut self,
        settings: &Settings,
        old: Option<&File>,
    ) -> Result<(), PublishError> {
        let file = File::open(&self.path).map_err(|e| self.failed("open", e))?;
        self.set_attributes(&file, settings, old)?;
        file.sync_all().map_err(|e| self.failed("sync", e))?;
        let target = &settings.path;
        fs::rename(&self.path, target).map_err(|e| failed("replace", target, e))?;
        self.in_place = true;
        let directory = directory_of(target);
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|e| failed("sync the directory", directory, e))
    }

    /// Before the rename, so that the MTA never meets a file that it may not read.
    fn set_attributes(
        &self,
        file: &File,
        settings: &Settings,
        old: Option<&File>,
    ) -> Result<(), PublishError> {
        let was = old.and_then(|old| old.metadata().ok());
        // The mode first: a file that was given away cannot be changed any more.
        let mode = settings.mode.or(was.as_ref().map(|was| was.mode() & 0o7777)).unwrap_or(MODE);
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(|e| self.failed("set the permissions of", e))?;
        if let Some(was) = was {
            // Not asked for, so not an error when it is not permitted. The group alone may be.
            if fchown(file, Some(was.uid()), Some(was.gid())).is_err() {
                let _ = fchown(file, None, Some(was.gid()));
            }
        }
        if settings.owner.is_some() || settings.group.is_some() {
            fchown(file, settings.owner, settings.group)
                .map_err(|e| self.failed("set the owner of", e))?;
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.in_place {
            // Nothing is lost if it stays: the next publication replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Counts the rows of the file that is there, and says whether the draft is the same.
fn compare(settings: &Settings, draft: &Draft, differs: bool) -> Result<Option<Old>, PublishError> {
    let target = &settings.path;
    let reading = |e| failed("read", target, e);
    let file = match File::open(target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(reading)?,
    };
    let (lines, same) = if differs { (0, false) } else { compare_bytes(&file, draft, target)? };
    let shape = settings.format.shape();
    let around = [shape.head, shape.foot].concat().matches('\n').count() as u64;
    // Of a file that is no map nothing is known that could be lost.
    let rows = match settings.style.table {
        Table::Text => lines.saturating_sub(around),
        Table::Lmdb => lmdb::rows_of(&file).unwrap_or(0),
        Table::Cdb => cdb::rows_of(&file).unwrap_or(0),
    };
    Ok(Some(Old { file, rows, same }))
}

/// Counts the lines of a file, and says whether the draft has the same bytes.
fn compare_bytes(file: &File, draft: &Draft, target: &Path) -> Result<(u64, bool), PublishError> {
    let reading = |e| failed("read", target, e);
    let mut old = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut new = open(&draft.path).map_err(|e| draft.failed("read", e))?;
    let (mut lines, mut same, mut last) = (0u64, true, b'\n');
    let mut other = vec![0; BUFFER_BYTES];
    loop {
        let chunk = old.fill_buf().map_err(reading)?;
        let Some(&end) = chunk.last() else { break };
        last = end;
        lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let other = &mut other[..chunk.len()];
        same = same && new.read_exact(other).is_ok() && other == chunk;
        let length = chunk.len();
        old.consume(length);
    }
    // A last line without an end is one, too.
    lines += u64::from(last != b'\n');
    let rest = new.fill_buf().map_err(|e| draft.failed("read", e))?;
    Ok((lines, same && rest.is_empty()))
}

fn open(path: &Path) -> io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?))
}

impl PublishError {
    /// The file cannot be read.
    pub(super) fn reading(path: &Path, source: io::Error) -> PublishError {
        failed("read", path, source)
    }
}

impl Guard {
    fn check(&self, old: u64, new: u64) -> Result<(), PublishError> {
        let lost = old.saturating_sub(new);
        if self.force || lost == 0 {
            return Ok(());
        }
        let unexplained = lost.saturating_sub(self.explained);
        let too_many =
            unexplained.saturating_mul(100) > u64::from(self.max_shrink).saturating_mul(old);
        let emptied = new == 0 && unexplained > 0;
        if too_many || emptied { Err(PublishError::Shrunk { old, new }) } else { Ok(()) }
    }
}

/// The rows are the same; the owner and the permissions might have been set anew.
pub(super) fn fix_attributes(settings: &Settings, old: &File) -> Result<(), PublishError> {
    let path = &settings.path;
    let is = old.metadata().map_err(|e| failed("read", path, e))?;
    let differs = |set: Option<u32>, is: u32| set.is_some_and(|set| set != is);
    if differs(settings.owner, is.uid()) || differs(settings.group, is.gid()) {
        fchown(old, settings.owner, settings.group)
            .map_err(|e| failed("set the owner of", path, e))?;
    }
    match settings.mode {
        Some(mode) if mode != is.mode() & 0o7777 => old
            .set_permissions(fs::Permissions::from_mode(mode))
            .map_err(|e| failed("set the permissions of", path, e)),
        _ => Ok(()),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> PublishError {
    PublishError::File { doing, path: path.to_owned(), hint: hint(doing, &source), source }
}

fn hint(doing: &str, error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::PermissionDenied if doing == "set the owner of" => {
            "only root can give files away: unset owner and group, or choose a group of ours"
        }
        Kind::PermissionDenied => {
            "let suppressd write to the directory (owner, mode, ReadWritePaths= of its unit)"
        }
        Kind::StorageFull | Kind::QuotaExceeded => "free some space; it is tried again",
        Kind::ReadOnlyFilesystem => "choose a writable path, or add it to ReadWritePaths=",
        Kind::CrossesDevices => "the file must not be a mount point: mount its directory instead",
        Kind::NotADirectory | Kind::AlreadyExists => "a part of its path is not a directory",
        Kind::IsADirectory | Kind::DirectoryNotEmpty => "there is a directory of that name",
        _ => "it is tried again",
    }
}

/// When a file was last changed, if there is one.
pub(super) fn modified(path: &Path) -> Option<Time> {
    fs::metadata(path).ok().map(|metadata| Time::from_seconds(metadata.mtime()))
}

#[cfg(test)]
mod tests {
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
