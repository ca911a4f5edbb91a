//! Segment files: their names, and syncing what a name means.

use std::fs::{self, DirBuilder, File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

const SUFFIX: &str = "seg";

/// The file of segment `number`.
pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}.{SUFFIX}"))
}

/// The numbers of the segments in a directory, ascending. Other files are none of ours.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some((stem, SUFFIX)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        numbers.extend(stem.parse::<u32>().ok());
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A file that is to take the place of another. Removed when dropped before that.
pub(super) struct Draft {
    to: PathBuf,
    path: PathBuf,
    pub(super) file: File,
}

impl Draft {
    /// Begins one beside the file `to`, with another ending: each work has one of its own.
    pub(super) fn begin(to: &Path, ending: &str) -> io::Result<Draft> {
        let path = to.with_extension(ending);
        let file = create_private(&path)?;
        Ok(Draft { to: to.to_owned(), path, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs it, dated as the file whose place it takes: retention goes by that.
    pub(super) fn sync(&self, before: &Metadata) -> io::Result<()> {
        self.file.set_times(FileTimes::new().set_modified(before.modified()?))?;
        self.file.sync_all()
    }

    /// Puts it in place.
    pub(super) fn place(self) -> io::Result<()> {
        fs::rename(&self.path, &self.to)?;
        self.to.parent().map_or(Ok(()), sync_dir)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is not there when it was put in place; and what stays, a start removes.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes drafts that a crash has left.
pub(super) fn remove_drafts(dir: &Path, endings: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| endings.contains(&ending)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Makes a directory for us alone, with what is above it. One that is there is made so, with the
/// files in it, whoever made it and by whatever umask. Says whether that was possible.
pub(crate) fn private_dir(dir: &Path) -> io::Result<bool> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut is_ours = tighten(dir, 0o700)?;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        is_ours &= tighten(&path, if path.is_dir() { 0o700 } else { 0o600 })?;
    }
    Ok(is_ours)
}

/// Opens a file of ours to be read, or also written. What is no regular file is none of ours: to
/// wait for what a FIFO or a device says could take for ever.
///
/// # Errors
/// When there is none.
pub(crate) fn open_regular(path: &Path, write: bool) -> io::Result<File> {
    let irregular = || {
        let what = "a FIFO, a device, a socket, a directory or a link";
        io::Error::other(format!("{} is no regular file but {what}: move it away", path.display()))
    };
    let mut options = OpenOptions::new();
    options.read(true).write(write).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    match options.open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(irregular()),
        Err(error) => Err(match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ELOOP | Errno::ENXIO | Errno::EISDIR | Errno::ENODEV) => irregular(),
            _ => error,
        }),
    }
}

/// Makes a file for us alone, or empties it.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)
}

fn tighten(path: &Path, mode: u32) -> io::Result<bool> {
    if fs::symlink_metadata(path)?.mode() & 0o077 == 0 {
        return Ok(true);
    }
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Ok(()) => Ok(true),
        // It belongs to another user, who let us in.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
