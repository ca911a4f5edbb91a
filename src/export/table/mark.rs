//! What a stop in good order leaves beside an LMDB map, so that the next start need not make it
//! anew: which version of the file it is, and what it holds.
//!
//! Read once and removed: after a crash there is none, and the map is made anew.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Digest, Stamp};

/// The form of the file's one line. It ends so that a line that was cut is none.
const FORM: &str = "1";
const END: &str = "end";

fn beside(map: &Path) -> PathBuf {
    let name = map.file_name().unwrap_or_default().to_string_lossy();
    map.with_file_name(format!(".{name}.suppressd-state"))
}

/// Leaves a mark.
pub(super) fn leave(map: &Path, stamp: Stamp, digest: Digest) -> io::Result<()> {
    let Stamp { inode, bytes, modified } = stamp;
    let Digest { rows, sum } = digest;
    let mut file = File::create(beside(map))?;
    writeln!(file, "{FORM} {inode} {bytes} {modified} {rows} {sum} {END}")?;
    file.sync_all()
}

/// Takes the mark: what the map holds, if it is the version that was marked.
pub(super) fn take(map: &Path) -> Option<Digest> {
    let path = beside(map);
    let line = fs::read_to_string(&path).ok()?;
    // It must not come back after a crash, when it would speak of a map that has changed since.
    fs::remove_file(&path).ok()?;
    File::open(map.parent()?).and_then(|directory| directory.sync_all()).ok()?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [FORM, inode, bytes, modified, rows, sum, END] = *words.as_slice() else { return None };
    let stamp = Stamp {
        inode: inode.parse().ok()?,
        bytes: bytes.parse().ok()?,
        modified: modified.parse().ok()?,
    };
    let digest = Digest { rows: rows.parse().ok()?, sum: sum.parse().ok()? };
    Stamp::of(map).is_ok_and(|now| now == stamp).then_some(digest)
}
