//! Puts an export's rows into its file: whole or not at all, and only if they differ.
//!
//! Blocking. Writes beside the file and renames, so that a reader sees the old rows or the new.
//! Never touches the file when it fails.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use super::file::{self, BUFFER_BYTES, Draft, FileError, fix_attributes};
use super::guard::{Guard, Keys};
use super::table::{Kept, Kind, Listed, Made, Making, kind};
use super::{Row, Rows, Settings, Shape};
use crate::store::StoreError;

/// What a publication did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The rows that the file has now.
    pub rows: u64,
    /// Whether they differ from what it had.
    pub changed: bool,
    /// How many of them are only there because the guard holds back their removal.
    pub held: u64,
    /// How many that were held back are lost: another hand took the file while we were stopped.
    pub(super) lost: u64,
    /// Whether only what had changed was looked at.
    pub(super) partial: bool,
}

/// What a publication did and left.
pub(super) struct Published {
    pub(super) outcome: Outcome,
    /// The rows that are held back.
    pub(super) held: Rows,
    /// The file for the next change.
    pub(super) kept: Option<Box<dyn Kept>>,
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

/// The name of the draft of what the store has, and of one with rows in it that are held back.
const NEW: &str = "suppressd-new";
const UNION: &str = "suppressd-union";

/// What would be lost of the file that is there.
struct Loss {
    /// The rows that it has, or the lines.
    old: u64,
    /// How many of them would be gone for no known reason.
    gone: u64,
    /// Which. `None`: it is no table of ours, and takes none of our rows beside what it has.
    rows: Option<Rows>,
}

impl<'a> Publication<'a> {
    /// Begins, beside the file that is there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn begin(settings: &'a Settings) -> Result<Publication<'a>, PublishError> {
        let path = &settings.path;
        file::make_directory(path)?;
        file::is_free(path)?;
        let kind = kind(settings.style.table);
        Ok(Publication { settings, kind, making: kind.begin(path, NEW, settings.format.shape())? })
    }

    /// Adds a row. They may come in any order; those out of the ascending order of keys can be
    /// held in memory until all are there. Of several rows with one key, one is kept.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn add(&mut self, row: Row<'_>) -> Result<(), PublishError> {
        Ok(self.making.add(row)?)
    }

    /// Replaces the file, if it differs. An LMDB map always does. Rows that the guard does not let
    /// go stay beside the new ones.
    ///
    /// # Errors
    /// When the file system refuses, or the guard holds back all of it: the file is no table of
    /// ours, and has more in it than could be lost.
    pub fn finish(self, guard: &Guard) -> Result<Outcome, PublishError> {
        self.finish_and_keep(guard).map(|published| published.outcome)
    }

    /// The same, with the file for the next change.
    pub(super) fn finish_and_keep(self, guard: &Guard) -> Result<Published, PublishError> {
        let Publication { settings, kind, making } = self;
        let made = making.finish()?;
        let kept = kept(settings, kind, &made.draft, guard)?;
        let old = match file::read_own(settings)? {
            None if kept.count() == 0 => return Ok(place(settings, made, None, kept)?),
            old => old,
        };
        // Another's file cannot be given away, but it can be replaced.
        if kept.count() == 0
            && is_same(settings, kind, old.as_ref(), &made.draft)?
            && old.as_ref().is_some_and(|old| fix_attributes(settings, old).is_ok())
        {
            return Ok(unchanged(settings, made, kept));
        }
        // What somebody else has put there is no loss; what we had put there would be.
        let is_mended = guard.ours.is_some_and(|ours| guard.allows_numbers(ours, made.rows));
        if guard.force || kept.count() == 0 && is_mended {
            return Ok(place(settings, made, old.as_ref(), Rows::default())?);
        }
        if let Some(old) = guard.ours.filter(|_| guard.other_form) {
            return Err(PublishError::Shrunk { old, new: made.rows });
        }
        let Loss { old: before, gone, rows } =
            loss(settings, kind, &made.draft, old.as_ref(), kept, guard)?;
        if guard.allows(gone, before, made.rows) {
            return Ok(place(settings, made, old.as_ref(), Rows::default())?);
        }
        let Some(lost) = rows else {
            return Err(PublishError::Shrunk { old: before, new: made.rows });
        };
        let union = union(settings, kind, &made.draft, &lost)?;
        if is_same(settings, kind, old.as_ref(), &union.draft)? {
            return Ok(unchanged(settings, union, lost));
        }
        Ok(place(settings, union, old.as_ref(), lost)?)
    }
}

/// Puts a table in the place of the file that is there.
fn place(
    settings: &Settings,
    made: Made,
    old: Option<&File>,
    held: Rows,
) -> Result<Published, FileError> {
    let Made { draft, rows, keep } = made;
    draft.replace(settings, old)?;
    Ok(published(rows, true, held, keep(&settings.path)))
}

/// Leaves the file, which has the rows of this table.
fn unchanged(settings: &Settings, made: Made, held: Rows) -> Published {
    published(made.rows, false, held, (made.keep)(&settings.path))
}

fn published(rows: u64, changed: bool, held: Rows, kept: Option<Box<dyn Kept>>) -> Published {
    let outcome = Outcome { rows, changed, held: held.count() as u64, lost: 0, partial: false };
    Published { outcome, held, kept }
}

/// The rows that were held back already, and that the draft lacks and nobody can explain. The file
/// may have lost them by another hand.
fn kept(
    settings: &Settings,
    kind: &dyn Kind,
    draft: &Draft,
    guard: &Guard,
) -> Result<Rows, FileError> {
    let mut kept = Rows::default();
    if guard.force || guard.kept.count() == 0 {
        return Ok(kept);
    }
    let new = keys(settings, kind, draft)?;
    let is_gone = |row: &Row<'_>| !new.has(row.key) && !guard.explained.has(row.key);
    guard.kept.iter().filter(is_gone).for_each(|row| kept.add(&[row.key], &[row.value]));
    Ok(kept)
}

/// What would be lost of the old file, and of the rows that are kept, if the draft took its place.
fn loss(
    settings: &Settings,
    kind: &dyn Kind,
    draft: &Draft,
    old: Option<&File>,
    kept: Rows,
    guard: &Guard,
) -> Result<Loss, FileError> {
    let (mut new, mut lost) = (keys(settings, kind, draft)?, kept);
    let kept = lost.count();
    let of = |old: u64, lost: Rows| Loss { old, gone: lost.count() as u64, rows: Some(lost) };
    let Some(old) = old else { return Ok(of(0, lost)) };
    lost.iter().for_each(|row| new.add(row.key));
    new.sort();
    let (shape, mut stay) = (settings.format.shape(), 0);
    let failed = |e| FileError::new("read", &settings.path, e);
    let listed = kind.rows(old, shape, &mut |row| {
        if new.has(row.key) || guard.explained.has(row.key) {
            stay += 1;
        } else {
            lost.add(&[row.key], &[row.value]);
        }
        Ok(())
    });
    let lines = match listed.map_err(failed)? {
        Listed::Table(old) => return Ok(of(old, lost)),
        Listed::Other(lines) => lines,
    };
    // Ours are held back, and another hand took the file while we ran: its lines are no loss.
    let is_theirs = kept > 0 && guard.ours.is_some();
    let takes_ours = guard.known && !is_theirs && {
        let mut others = Rows::default();
        let takes_ours = kind.lines(old, shape, &mut |line| others.add_line(line));
        let unknown = others.iter().filter(|row| !new.has(row.key));
        unknown.for_each(|row| lost.add(&[row.key], &[]));
        takes_ours.map_err(failed)?
    };
    if takes_ours {
        return Ok(of(lines, lost));
    }
    if kept == 0 {
        return Ok(Loss { old: lines, gone: lines - stay, rows: None });
    }
    lost.truncate(kept);
    Ok(of(lines, lost))
}

fn keys(settings: &Settings, kind: &dyn Kind, draft: &Draft) -> Result<Keys, FileError> {
    let mut keys = Keys::default();
    each_row(kind, draft, settings.format.shape(), &mut |row| {
        keys.add(row.key);
        Ok(())
    })?;
    keys.sort();
    Ok(keys)
}

/// A table of the draft's rows and of those that are held back.
fn union(
    settings: &Settings,
    kind: &dyn Kind,
    draft: &Draft,
    held: &Rows,
) -> Result<Made, FileError> {
    let shape = settings.format.shape();
    let mut making = kind.begin(&settings.path, UNION, shape)?;
    let mut failed = None;
    let added = each_row(kind, draft, shape, &mut |row| {
        making.add(row).map_err(|error| {
            failed = Some(error);
            io::Error::other("not added")
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    added?;
    held.iter().try_for_each(|row| making.add(row))?;
    making.finish()
}

fn each_row(
    kind: &dyn Kind,
    draft: &Draft,
    shape: &Shape,
    each: &mut dyn FnMut(Row<'_>) -> io::Result<()>,
) -> Result<(), FileError> {
    let file = file::read(&draft.path).map_err(|e| draft.failed("read", e))?;
    kind.rows(&file, shape, each).map_err(|e| draft.failed("read", e))?;
    Ok(())
}

/// Makes an export's file without rows, if there is none: an MTA that is told of a file that is
/// not there refuses all mail for now.
///
/// # Errors
/// When the file system refuses.
pub fn make_if_missing(settings: &Settings) -> Result<(), PublishError> {
    let settings = settings.placed()?;
    if settings.path.exists() {
        return Ok(());
    }
    Publication::begin(&settings)?.finish(&Guard::new(0)).map(|_| ())
}

/// Whether the file that is there has the bytes of a draft, where that tells of the rows.
fn is_same(
    settings: &Settings,
    kind: &dyn Kind,
    old: Option<&File>,
    draft: &Draft,
) -> Result<bool, FileError> {
    let Some(old) = old.filter(|_| kind.is_canonical()) else { return Ok(false) };
    same_bytes(old, draft).map_err(|e| FileError::new("read", &settings.path, e))
}

fn same_bytes(mut file: &File, draft: &Draft) -> io::Result<bool> {
    file.rewind()?;
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
    use super::super::{Table, test};
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    const OPEN: u8 = 100;

    fn publish(settings: &Settings, keys: &[&str], most: u8) -> Result<Outcome, PublishError> {
        let mut publication = Publication::begin(settings)?;
        keys.iter().try_for_each(|key| publication.add(Row { key, value: "v" }))?;
        publication.finish(&Guard::new(most))
    }

    fn write(path: &Path, keys: &[&str], most: u8) -> Result<Outcome, PublishError> {
        publish(&test::settings(path), keys, most)
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
        for keys in [["b"], ["c"]] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
            publish(&test::settings(&path), &keys, OPEN).unwrap();
            assert_eq!(mode(), 0o644, "nobody could read it");
        }
        let settings = Settings { mode: Some(0o640), ..test::settings(&path) };
        publish(&settings, &["c"], OPEN).unwrap();
        assert_eq!(mode(), 0o640, "same rows");
        let settings = Settings { mode: Some(0o604), ..settings };
        publish(&settings, &["d"], OPEN).unwrap();
        assert_eq!(mode(), 0o604);
        for table in [Table::Text, Table::Lmdb, Table::Cdb] {
            let path = directory.path().join(table.as_str());
            let style = test::style_in(test::format("postfix-access"), table);
            let settings = Settings { mode: Some(0o600), style, ..test::settings(&path) };
            for key in ["a", "b"] {
                publish(&settings, &[key], OPEN).unwrap();
                let mode = fs::metadata(&path).unwrap().mode() & 0o7777;
                assert_eq!(mode, 0o600, "{table:?} where there was none");
                fs::remove_file(&path).unwrap();
            }
        }
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(7), Some(8)).unwrap();
            write(&path, &["e"], OPEN).unwrap();
            let settings = Settings { group: Some(9), ..test::settings(&path) };
            let owner = || (fs::metadata(&path).unwrap().uid(), fs::metadata(&path).unwrap().gid());
            assert_eq!(owner(), (7, 8));
            publish(&settings, &["e"], OPEN).unwrap();
            assert_eq!(owner(), (7, 9));
            publish(&settings, &["f"], OPEN).unwrap();
            assert_eq!(owner(), (7, 9));
        }
    }

    /// Additions pass, and removals wait that nobody can explain, whatever comes meanwhile.
    #[test]
    fn the_guard_holds_back_what_cannot_be_explained() {
        let numbered = |range: std::ops::Range<u32>| -> Vec<String> {
            range.map(|number| format!("k{number}")).collect()
        };
        for (old, new, explained, force, held, passes) in [
            (0..10, 0..5, 0..0, false, false, true),
            (0..10, 0..4, 0..0, false, false, false),
            (0..10, 0..4, 9..10, false, false, true),
            (0..10, 0..4, 0..4, false, false, false),
            (0..10, 0..4, 0..0, true, false, true),
            (0..10, 0..0, 0..10, false, false, true),
            (0..10, 0..0, 0..9, false, false, false),
            (0..10, 0..0, 0..0, true, false, true),
            (0..1, 0..0, 0..0, false, false, false),
            (0..0, 0..10, 0..0, false, false, true),
            (5..10, 0..10, 0..0, false, false, true),
            // Others have come meanwhile.
            (0..10, 10..20, 0..0, false, false, false),
            (0..10, 4..90, 0..0, false, false, true),
            (0..10, 4..90, 0..0, false, true, false),
            (0..10, 4..90, 0..4, false, true, true),
        ] {
            for table in [Table::Text, Table::Lmdb, Table::Cdb] {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("f");
                let mut settings = test::settings(&path);
                settings.style = test::style_in(settings.format, table);
                let [before, after] = [old.clone(), new.clone()].map(numbered);
                let texts = |all: &[String]| -> Vec<String> { all.to_vec() };
                let write = |keys: &[String], guard: &Guard| {
                    let mut publication = Publication::begin(&settings)?;
                    let mut keys = texts(keys);
                    keys.sort();
                    keys.iter().try_for_each(|key| publication.add(Row { key, value: "v" }))?;
                    publication.finish(guard)
                };
                write(&before, &Guard::new(50)).unwrap();
                let mut guard = Guard { force, held, ..Guard::new(50) };
                numbered(explained.clone()).iter().for_each(|key| guard.explained.add(key));
                guard.explained.sort();
                let outcome = write(&after, &guard).unwrap();
                let gone = numbered(explained.clone());
                let mut expected = after.clone();
                if !passes {
                    expected.extend(before.into_iter().filter(|key| !gone.contains(key)));
                }
                expected.sort();
                expected.dedup();
                let mut found = Vec::new();
                let file = File::open(&path).unwrap();
                let shape = settings.format.shape();
                kind(table)
                    .rows(&file, shape, &mut |row| {
                        found.push(row.key.to_owned());
                        Ok(())
                    })
                    .unwrap();
                found.sort();
                assert_eq!(found, expected, "{old:?} -> {new:?} without {explained:?}");
                for key in numbered(0..100) {
                    let has = kind(table).has(&file, shape, &key).unwrap();
                    assert_eq!(has, expected.contains(&key), "{table:?} {key}");
                }
                assert_eq!(outcome.rows, expected.len() as u64);
                assert_eq!(outcome.held > 0, !passes, "{old:?} -> {new:?} without {explained:?}");
                assert_eq!(names(directory.path()), ["f"]);
            }
        }
    }

    /// What the MTA reads is behind the link, so that is what is replaced.
    #[test]
    fn a_link_is_followed_to_what_the_mta_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("behind")).unwrap();
        std::os::unix::fs::symlink("behind/f", path("link")).unwrap();
        let settings = test::settings(&path("link"));
        make_if_missing(&settings).unwrap();
        assert_eq!(fs::read_to_string(path("behind/f")).unwrap(), "");
        let settings = settings.placed().unwrap();
        publish(&settings, &["a"], OPEN).unwrap();
        assert_eq!(fs::read_to_string(path("behind/f")).unwrap(), "a\tv\n");
        assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
        assert_eq!(names(&path("behind")), ["f"]);
        std::os::unix::fs::symlink("circle", path("circle")).unwrap();
        let error = test::settings(&path("circle")).placed().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("links in a circle"), "{error}");
    }

    /// Only root can leave one.
    #[test]
    fn a_file_that_we_may_not_read_is_replaced() {
        use nix::unistd::{Uid, geteuid, setfsuid};
        if !geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(directory.path(), Some(65_534), None).unwrap();
        for table in [Table::Text, Table::Lmdb, Table::Cdb] {
            let path = directory.path().join(table.as_str());
            let style = test::style_in(test::format("postfix-access"), table);
            let settings = Settings { style, ..test::settings(&path) };
            fs::write(&path, "an editor's copy\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            // Of this thread, and of those that it starts.
            setfsuid(Uid::from_raw(65_534));
            let refused = fs::read(&path).is_err();
            let outcome = publish(&settings, &["a"], 50);
            setfsuid(Uid::from_raw(0));
            assert!(refused, "it could be read");
            assert_eq!(outcome.unwrap().rows, 1, "{table:?}");
            let meta = fs::metadata(&path).unwrap();
            assert_eq!((meta.uid(), meta.mode() & 0o7777), (65_534, 0o644), "{table:?}");
        }
    }

    /// A file of somebody else at the path is not taken for a table of ours.
    #[test]
    fn what_is_no_table_of_ours_is_left_alone_if_much_would_be_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let text = "# my own\nexample.com smtp:[10.0.0.1]\n\n# more\n";
        fs::write(&path, text).unwrap();
        let held = write(&path, &["a"], 50);
        assert!(matches!(held, Err(PublishError::Shrunk { old: 4, new: 1 })), "{held:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(names(directory.path()), ["f"]);
        write(&path, &["a"], 100).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\tv\n");
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
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = write(&pipe, &["a"], OPEN).unwrap_err().to_string();
        assert!(error.contains("it is left as it is: remove it"), "{error}");
        assert_eq!(names(directory.path()).len(), 2, "no draft is left");
        assert!(!pipe.metadata().unwrap().is_file());
    }
}
