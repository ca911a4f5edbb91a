//! Files beside an export's own, and how one takes its place: whole or not at all.
//!
//! Blocking. Knows no rows. Never leaves a half-written file behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::libc::{EIO, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::model::Time;

/// The permissions of a file that neither the settings nor an older file give any.
const MODE: u32 = 0o644;

/// The permissions of which a file needs one: to be read by anybody.
pub const READ: u32 = 0o444;

/// The permission of the owner to read.
const OWNER_READ: u32 = 0o400;

/// The permissions of the directories that are made for the file: those of the unit's own.
const DIRECTORY_MODE: u32 = 0o751;

/// What is read or written at once, in bytes.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// The file system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}; {hint}", path.display())]
pub struct FileError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
    hint: &'static str,
}

impl FileError {
    /// What was tried, with which file, and why it did not work.
    pub(super) fn new(doing: &'static str, path: &Path, source: io::Error) -> FileError {
        FileError { doing, path: path.to_owned(), hint: hint(doing, &source), source }
    }

    /// The path leads to the file of another export: each would undo what the other writes.
    pub(super) fn shared(settings: &Settings, other: &str) -> FileError {
        let Settings { name, path, .. } = settings;
        let why = format!("it leads to the file of the export {other:?}, not to one of {name:?}");
        let hint = "remove the link, or choose another path";
        FileError { doing: "write", path: path.clone(), source: io::Error::other(why), hint }
    }
}

/// Which version of a file there is: what any writing, replacing or giving away changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) bytes: u64,
    pub(super) modified: i128,
    /// The change of its content or attributes: unlike `modified`, nobody can set it.
    pub(super) changed: i128,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> io::Result<Stamp> {
        Ok(Stamp::new(&path.metadata()?))
    }

    /// Of a file that is open, wherever its path leads by now.
    pub(super) fn of_file(file: &File) -> io::Result<Stamp> {
        Ok(Stamp::new(&file.metadata()?))
    }

    fn new(meta: &fs::Metadata) -> Stamp {
        let nanos =
            |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            modified: nanos(meta.mtime(), meta.mtime_nsec()),
            changed: nanos(meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A file beside the target. Removed when dropped, unless it took the target's place.
pub(super) struct Draft {
    pub(super) path: PathBuf,
    target: PathBuf,
    inode: u64,
    in_place: bool,
}

impl Draft {
    /// A new, empty file that nobody else can read yet. A left-over of that name is replaced.
    pub(super) fn create(target: &Path, suffix: &str) -> Result<(Draft, File), FileError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.{suffix}"));
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::new("remove the left-over", &path, e));
            }
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| FileError::new("create", &path, e))?;
        let inode = file.metadata().map_err(|e| FileError::new("read", &path, e))?.ino();
        Ok((Draft { path, target: target.to_owned(), inode, in_place: false }, file))
    }

    pub(super) fn failed(&self, doing: &'static str, error: io::Error) -> FileError {
        FileError::new(doing, &self.path, error)
    }

    /// The file that was created, and no other that has taken its place.
    fn open(&self) -> io::Result<File> {
        let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(&self.path)?;
        let is_ours = file.metadata()?.ino() == self.inode;
        if is_ours { Ok(file) } else { Err(io::Error::other("somebody else has replaced it")) }
    }

    /// Makes it durable and renames it to the target.
    pub(super) fn replace(
        mut self,
        settings: &Settings,
        old: Option<&File>,
    ) -> Result<(), FileError> {
        let file = self.open().map_err(|e| self.failed("open", e))?;
        self.set_attributes(&file, settings, old)?;
        file.sync_all().map_err(|e| self.failed("sync", e))?;
        let target = &self.target;
        fs::rename(&self.path, target).map_err(|e| FileError::new("replace", target, e))?;
        self.in_place = true;
        let directory = directory_of(target);
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|e| FileError::new("sync the directory", directory, e))
    }

    /// Before the rename, so that the MTA never meets a file that it may not read.
    fn set_attributes(
        &self,
        file: &File,
        settings: &Settings,
        old: Option<&File>,
    ) -> Result<(), FileError> {
        let was = old.and_then(|old| old.metadata().ok());
        // The mode first: a file that was given away cannot be changed any more.
        let kept = was.as_ref().map(|was| was.mode() & 0o7777);
        let mode = wanted_mode(settings, kept).or(kept).unwrap_or(MODE);
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

/// The permissions that a file is to have, whatever it has: those of the settings, or the usual
/// ones where nobody may read it. That serves no MTA, so nobody means it.
fn wanted_mode(settings: &Settings, is: Option<u32>) -> Option<u32> {
    settings.mode.or(is.filter(|is| is & READ == 0).map(|_| MODE))
}

/// Whether a file has the owner and the permissions that the settings name, or some that serve.
pub(super) fn has_attributes(settings: &Settings, file: &File) -> io::Result<bool> {
    let is = file.metadata()?;
    let has = |set: Option<u32>, is: u32| set.is_none_or(|set| set == is);
    let mode = is.mode() & 0o7777;
    Ok(has(settings.owner, is.uid())
        && has(settings.group, is.gid())
        && has(wanted_mode(settings, Some(mode)), mode))
}

/// The rows are the same; the owner and the permissions might have been set anew.
pub(super) fn fix_attributes(settings: &Settings, old: &File) -> Result<(), FileError> {
    let path = &settings.path;
    let is = old.metadata().map_err(|e| FileError::new("read", path, e))?;
    let differs = |set: Option<u32>, is: u32| set.is_some_and(|set| set != is);
    if differs(settings.owner, is.uid()) || differs(settings.group, is.gid()) {
        fchown(old, settings.owner, settings.group)
            .map_err(|e| FileError::new("set the owner of", path, e))?;
    }
    let mode = is.mode() & 0o7777;
    match wanted_mode(settings, Some(mode)) {
        Some(wanted) if wanted != mode => old
            .set_permissions(fs::Permissions::from_mode(wanted))
            .map_err(|e| FileError::new("set the permissions of", path, e)),
        _ => Ok(()),
    }
}

/// Opens the file that is there, if any. One of ours that not even we may read is made readable
/// first: it has to be compared. Another's that we may not read is none: nothing is known of it
/// that could be lost, and it is replaced.
pub(super) fn read_own(settings: &Settings) -> Result<Option<File>, FileError> {
    let path = &settings.path;
    let opened = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && let_read(settings) => {
            read(path)
        }
        opened => opened,
    };
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied
                && path.metadata().is_ok_and(|meta| meta.is_file()) =>
        {
            Ok(None)
        }
        opened => opened.map(Some).map_err(|e| FileError::new("read", path, e)),
    }
}

/// Whether a file of ours can take that place. Beside what is no file, nothing is even begun.
pub(super) fn is_free(path: &Path) -> Result<(), FileError> {
    match path.metadata() {
        Ok(meta) if !meta.is_file() => Err(FileError::new("read", path, no_file(&meta))),
        _ => Ok(()),
    }
}

/// Gives a file of ours, which its owner may not read, permissions that serve; says whether it did.
/// Root needs none, so nobody has it change another file by a link.
fn let_read(settings: &Settings) -> bool {
    let Settings { path, mode, .. } = settings;
    let is_ours = |meta: fs::Metadata| {
        meta.is_file() && meta.uid() == geteuid().as_raw() && meta.mode() & OWNER_READ == 0
    };
    !geteuid().is_root()
        && fs::symlink_metadata(path).is_ok_and(is_ours)
        && fs::set_permissions(path, fs::Permissions::from_mode(mode.unwrap_or(MODE))).is_ok()
}

/// Most links that lead from one to the next.
const LINKS_MAX: usize = 8;

impl Settings {
    /// The same, with the file that the path leads to: a link is followed, since what the MTA reads
    /// is behind it.
    pub(super) fn placed(&self) -> Result<Settings, FileError> {
        Ok(Settings { path: follow(&self.path)?, ..self.clone() })
    }
}

/// The file that a path leads to.
pub(super) fn follow(from: &Path) -> Result<PathBuf, FileError> {
    let mut path = from.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_symlink() => {
                let failed = |e| FileError::new("follow the link", &path, e);
                if ![0, geteuid().as_raw()].contains(&meta.uid()) {
                    return Err(failed(io::Error::other("it is another user's")));
                }
                path = directory_of(&path).join(fs::read_link(&path).map_err(failed)?);
            }
            // A link that leads nowhere is no wish to have directories made there.
            _ if path != from && !directory_of(&path).is_dir() => {
                let what = format!("{} is no directory", directory_of(&path).display());
                return Err(FileError::new("follow the link", from, io::Error::other(what)));
            }
            // Whatever is in the way is told by who writes.
            _ => return Ok(path),
        }
    }
    Err(FileError::new("follow the link", from, io::Error::other("links in a circle")))
}

/// Makes the directory that a file is to be in, and those on the way. The MTA must get through,
/// whatever the umask is.
pub(super) fn make_directory(path: &Path) -> Result<(), FileError> {
    let directory = directory_of(path);
    let is_missing = |at: &&Path| !at.as_os_str().is_empty() && !at.is_dir();
    let missing: Vec<&Path> = directory.ancestors().take_while(is_missing).collect();
    missing.into_iter().rev().try_for_each(|at| {
        make_one(at).map_err(|e| FileError::new("create the directory", directory, e))
    })
}

fn make_one(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        // Somebody else was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => return Ok(()),
        made => made?,
    }
    let made = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(directory)?;
    made.set_permissions(fs::Permissions::from_mode(DIRECTORY_MODE))
}

/// Opens a file to be read from its start to its end.
pub(super) fn open(path: &Path) -> io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(BUFFER_BYTES, read(path)?))
}

/// Opens what another hand may have put there: a pipe holds nobody up.
///
/// # Errors
/// Also when it is a directory, or no regular file otherwise, which is `Unsupported`.
pub(super) fn read(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() { Ok(file) } else { Err(no_file(&meta)) }
}

/// Why what is there cannot be read or replaced.
fn no_file(meta: &fs::Metadata) -> io::Error {
    if meta.is_dir() {
        return io::ErrorKind::IsADirectory.into();
    }
    io::Error::new(io::ErrorKind::Unsupported, "it is no regular file")
}

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn hint(doing: &str, error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        // As a tmpfs says that it is full to who writes by a map.
        _ if error.raw_os_error() == Some(EIO) => {
            "the disk is full or fails: free some space, and look at its log; it is tried again"
        }
        Kind::PermissionDenied if doing == "set the owner of" => {
            "only root can give files away: unset owner and group, or choose a group of ours"
        }
        Kind::PermissionDenied if matches!(doing, "read" | "follow the link") => {
            "let suppressd read it (its owner and mode, and those of the directories on the way)"
        }
        Kind::PermissionDenied => {
            "let suppressd write to the directory (owner, mode, ReadWritePaths= of its unit)"
        }
        Kind::StorageFull | Kind::QuotaExceeded => "free some space; it is tried again",
        Kind::ReadOnlyFilesystem => {
            "choose a writable path, or add it to ReadWritePaths=; if it is there, restart \
             suppressd: a directory that was made anew is not the one that the unit let in"
        }
        Kind::CrossesDevices => "the file must not be a mount point: mount its directory instead",
        Kind::NotADirectory | Kind::AlreadyExists => "a part of its path is not a directory",
        Kind::Unsupported => "it is left as it is: remove it, or choose another path",
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
    use super::*;

    #[test]
    fn a_refusal_names_what_has_to_be_permitted() {
        let hint = |doing| FileError::new(doing, Path::new("/f"), nix::Error::EACCES.into());
        assert!(hint("read").to_string().contains("let suppressd read it (its owner and mode"));
        assert!(hint("create").to_string().contains("let suppressd write to the directory"));
        let error = FileError::new("create", Path::new("/f"), nix::Error::EROFS.into()).to_string();
        assert!(error.contains("add it to ReadWritePaths=; if it is there, restart"), "{error}");
    }
}
