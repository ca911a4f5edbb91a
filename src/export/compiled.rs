//! The tables that an export's command makes beside the file, such as `x.db` of `x`.
//!
//! Blocking. They are what the MTA reads: another hand at them is as bad as one at the file.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;

use super::file::Stamp;
use super::place::Places;

/// How the names of tables end. Nothing else beside the file is looked at: a lock or a log changes
/// for good reasons.
const ENDINGS: &[&str] =
    &["db", "lmdb", "mdb", "cdb", "dbm", "dir", "pag", "sdbm", "gdbm", "hash", "btree", "map"];

/// A table, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    path: PathBuf,
    stamp: Stamp,
    mode: u32,
}

/// Tables beside a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tables(Vec<Found>);

impl Found {
    fn at(path: PathBuf) -> Option<Found> {
        let meta = path.metadata().ok().filter(fs::Metadata::is_file)?;
        let stamp = Stamp::of(&path).ok()?;
        Some(Found { path, stamp, mode: meta.mode() & 0o7777 })
    }

    /// Gives it the permissions back that it had, if it is still the same file: a command that
    /// writes into it may need them, and leaves them as they are.
    fn let_read(&self) {
        let Some(now) = Found::at(self.path.clone()) else { return };
        if now.mode == self.mode || now.stamp.inode != self.stamp.inode {
            return;
        }
        let was = Permissions::from_mode(self.mode);
        let flags = O_NOFOLLOW | O_NONBLOCK;
        // What is not ours stays as it is: the command says what comes of it.
        let _ = match OpenOptions::new().read(true).custom_flags(flags).open(&self.path) {
            Ok(file) => file.set_permissions(was),
            // Root reads all, so nobody has it change another file by a link.
            Err(_) if !geteuid().is_root() => fs::set_permissions(&self.path, was),
            Err(error) => Err(error),
        };
    }
}

impl Tables {
    /// Those that are there, but for the files of exports, and the tables of other ones.
    pub(super) fn beside(file: &Path, places: &Places) -> Tables {
        let (name, stem) = (file.file_name(), file.file_stem());
        let stem = stem.filter(|stem| Some(*stem) != name);
        let named = |base: &std::ffi::OsStr, ending: &str| {
            let mut name = OsString::from(base);
            name.push(format!(".{ending}"));
            file.with_file_name(name)
        };
        let bases = name.into_iter().chain(stem);
        let all = bases.flat_map(|base| ENDINGS.iter().map(move |ending| named(base, ending)));
        // One of another's name is made by the command of that.
        let is_of =
            |path: &Path, of: &Path| of == path || of != file && of == path.with_extension("");
        let is_others = |path: &PathBuf| places.iter().any(|(_, of)| is_of(path, of));
        let own = all.filter(|path| path != file && !is_others(path));
        Tables(own.filter_map(Found::at).collect())
    }

    /// Of those that are there now, whatever was written since `before`, or is known as a table of
    /// the command.
    pub(super) fn written_since(self, before: &Tables, known: &Tables) -> Tables {
        let is_known = |found: &Found| known.0.iter().any(|known| known.path == found.path);
        let is_old = |found: &Found| before.0.contains(found) && !is_known(found);
        Tables(self.0.into_iter().filter(|found| !is_old(found)).collect())
    }

    /// The path of the first.
    pub(super) fn first(&self) -> Option<&Path> {
        self.0.first().map(|found| &*found.path)
    }

    /// The first that is not as it was, if any. What can be read no longer can be again.
    pub(super) fn harmed(&self) -> Option<PathBuf> {
        let harmed = |found: &&Found| Found::at(found.path.clone()).as_ref() != Some(*found);
        let first = self.0.iter().find(harmed)?;
        self.0.iter().for_each(Found::let_read);
        Some(first.path.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_beside_the_file_is_known_and_missed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let write = |name: &str| fs::write(path(name), "1").unwrap();
        let others = ["x.lmdb", "x.txt", "x.txt.x"];
        let (file, places) = (path("x.txt"), others.map(|name| (name.to_owned(), path(name))));
        let places = Places::from(places);
        for name in ["x.txt", "x.cdb", "x.lmdb", "y.db", "x.db.lock", "x.log"] {
            write(name);
        }
        let before = Tables::beside(&file, &places);
        for name in ["x.txt.db", "x.db", "x.lmdb", "x.log"] {
            write(name);
        }
        let made = Tables::beside(&file, &places).written_since(&before, &Tables::default());
        let whole = vec![("x".to_owned(), path("x"))];
        assert_eq!(Tables::beside(&file, &whole).0.len(), 1, "x.db is of x");
        let names: Vec<_> = made.0.iter().map(|found| found.path.clone()).collect();
        assert_eq!(names, [path("x.txt.db"), path("x.db")], "neither an export nor an older one");
        assert_eq!(made.harmed(), None);
        let again = Tables::beside(&file, &places);
        let known = again.clone().written_since(&again, &made);
        assert_eq!(known, made, "a command that leaves its table alone has made it all the same");
        fs::set_permissions(path("x.db"), Permissions::from_mode(0o000)).unwrap();
        assert_eq!(made.harmed(), Some(path("x.db")));
        assert_ne!(fs::metadata(path("x.db")).unwrap().mode() & 0o7777, 0, "it is as it was");
        fs::remove_file(path("x.txt.db")).unwrap();
        assert_eq!(made.harmed(), Some(path("x.txt.db")));
    }
}
