//! What a stop in good order leaves beside an LMDB map, so that the next start need not make it
//! anew: which version of the file it is, and what it holds.
//!
//! Read once and removed: after a crash there is none, and the map is made anew.

use std::io;
use std::path::Path;

use super::super::note;
use super::{Digest, Stamp};

/// The form of the note's one line.
const FORM: &str = "2";

/// The one before, which says nothing of [`Stamp::changed`].
const OLD: &str = "1";

const KIND: &str = "state";

/// Leaves a mark.
pub(super) fn leave(map: &Path, stamp: Stamp, digest: Digest) -> io::Result<()> {
    let Stamp { inode, bytes, modified, changed, .. } = stamp;
    let Digest { rows, sum } = digest;
    note::leave(map, KIND, &format!("{FORM} {inode} {bytes} {modified} {changed} {rows} {sum}"))
}

/// Takes the mark: what the map holds, if it is the version that was marked.
pub(super) fn take(map: &Path) -> Option<Digest> {
    let line = note::read(map, KIND);
    // It must not come back after a crash, when it would speak of a map that has changed since.
    note::remove(map, KIND).ok()?;
    let line = line?;
    let now = Stamp::of(map).ok()?;
    let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
    let known = now.changed.to_string();
    if words.first() == Some(&OLD) && words.len() > 4 {
        words[0] = FORM;
        words.insert(4, &known);
    }
    let [FORM, inode, bytes, modified, changed, rows, sum] = *words.as_slice() else { return None };
    let stamp = Stamp {
        // A file system may have another number after a boot.
        device: now.device,
        inode: inode.parse().ok()?,
        bytes: bytes.parse().ok()?,
        modified: modified.parse().ok()?,
        changed: changed.parse().ok()?,
    };
    let digest = Digest { rows: rows.parse().ok()?, sum: sum.parse().ok()? };
    (now == stamp).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_believed_of_the_version_that_was_marked_only() {
        let directory = tempfile::tempdir().unwrap();
        let map = directory.path().join("f.lmdb");
        let digest = Digest { rows: 7, sum: 9 };
        let write = |text: &str| std::fs::write(&map, text).unwrap();
        write("rows");
        let stamp = Stamp::of(&map).unwrap();
        leave(&map, stamp, digest).unwrap();
        assert_eq!(take(&map), Some(digest));
        assert_eq!(take(&map), None, "once");
        let Stamp { inode, bytes, modified, .. } = stamp;
        note::leave(&map, KIND, &format!("1 {inode} {bytes} {modified} 7 9")).unwrap();
        assert_eq!(take(&map), Some(digest), "as the version before left it");
        leave(&map, Stamp { changed: stamp.changed - 1, ..stamp }, digest).unwrap();
        assert_eq!(take(&map), None, "changed, with the old time put back");
    }
}
