//! Notes of ours beside an export's file, a line each.
//!
//! Blocking. Follows no link, and believes no note that somebody else has left: who can write to
//! the directory could have us write or read elsewhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_NOFOLLOW;
use nix::unistd::geteuid;

use super::file::directory_of;

/// Longest note, in bytes.
const BYTES_MAX: u64 = 512;

/// How a note ends, so that one that was cut is none.
const END: &str = " end\n";

fn beside(file: &Path, kind: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.suppressd-{kind}"))
}

/// Leaves a note, durably, in the place of an older one.
pub(super) fn leave(file: &Path, kind: &str, text: &str) -> io::Result<()> {
    remove(file, kind)?;
    write(file, kind, text)?.sync_all()?;
    sync_directory(file)
}

/// The same for what may be lost with the power.
pub(super) fn jot(file: &Path, kind: &str, text: &str) -> io::Result<()> {
    match fs::remove_file(beside(file, kind)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => write(file, kind, text).map(drop),
    }
}

fn write(file: &Path, kind: &str, text: &str) -> io::Result<File> {
    let path = beside(file, kind);
    let mut note = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    write!(note, "{text}{END}")?;
    Ok(note)
}

/// The note, if there is a whole one of ours.
pub(super) fn read(file: &Path, kind: &str) -> Option<String> {
    let path = beside(file, kind);
    let note = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path).ok()?;
    let meta = note.metadata().ok()?;
    if !meta.is_file() || meta.uid() != geteuid().as_raw() {
        return None;
    }
    let mut text = String::new();
    note.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text.strip_suffix(END)?.to_owned())
}

/// Takes the note away, durably, whatever is there.
pub(super) fn remove(file: &Path, kind: &str) -> io::Result<()> {
    match fs::remove_file(beside(file, kind)) {
        Ok(()) => sync_directory(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_directory(file: &Path) -> io::Result<()> {
    File::open(directory_of(file))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_left_and_a_cut_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        assert_eq!(read(&file, "state"), None);
        leave(&file, "state", "1 2 3").unwrap();
        leave(&file, "state", "1 2 4").unwrap();
        assert_eq!(read(&file, "state").as_deref(), Some("1 2 4"));
        fs::write(directory.path().join(".f.suppressd-state"), "1 2 4 e").unwrap();
        assert_eq!(read(&file, "state"), None);
        remove(&file, "state").unwrap();
        remove(&file, "state").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, other) = (directory.path().join("f"), directory.path().join("other"));
        fs::write(&other, "1 end\n").unwrap();
        symlink(&other, directory.path().join(".f.suppressd-state")).unwrap();
        assert_eq!(read(&file, "state"), None);
        leave(&file, "state", "2").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "1 end\n");
        assert_eq!(read(&file, "state").as_deref(), Some("2"));
    }
}
