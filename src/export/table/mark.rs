//! What a stop in good order leaves beside an LMDB map, so that the next start need not make it
//! anew: which version of the file it is, and what it holds.
//!
//! Read once and removed: after a crash there is none, and the map is made anew.

use std::io;
use std::path::Path;

use super::super::note;
use super::{Digest, Stamp};

/// The form of the note's one line.
const FORM: &str = "1";

const KIND: &str = "state";

/// Leaves a mark.
pub(super) fn leave(map: &Path, stamp: Stamp, digest: Digest) -> io::Result<()> {
    let Stamp { inode, bytes, modified } = stamp;
    let Digest { rows, sum } = digest;
    note::leave(map, KIND, &format!("{FORM} {inode} {bytes} {modified} {rows} {sum}"))
}

/// Takes the mark: what the map holds, if it is the version that was marked.
pub(super) fn take(map: &Path) -> Option<Digest> {
    let line = note::read(map, KIND);
    // It must not come back after a crash, when it would speak of a map that has changed since.
    note::remove(map, KIND).ok()?;
    let line = line?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [FORM, inode, bytes, modified, rows, sum] = *words.as_slice() else { return None };
    let stamp = Stamp {
        inode: inode.parse().ok()?,
        bytes: bytes.parse().ok()?,
        modified: modified.parse().ok()?,
    };
    let digest = Digest { rows: rows.parse().ok()?, sum: sum.parse().ok()? };
    Stamp::of(map).is_ok_and(|now| now == stamp).then_some(digest)
}
