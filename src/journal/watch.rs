//! Looks whether the segments that are complete are still the files that they were: what another
//! hand has cut, removed or put in the place of one is told within seconds, and not when the
//! journal is read next.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::format::SEGMENT_HEADER;
use super::{Reader, segment};
use crate::model::Position;

/// Most segments that are looked at in one look.
const LOOKED_AT: usize = 64;

/// Which file it is, and how long.
type Identity = [u64; 3];

/// The segments that were looked at, as they were then.
#[derive(Default)]
pub(super) struct Known {
    files: BTreeMap<u32, Identity>,
    /// The number that the next look begins with.
    next: u32,
}

impl Known {
    /// Forgets one: we have changed it, or are about to read it.
    pub(super) fn forget(&mut self, number: u32) {
        self.files.remove(&number);
    }
}

impl Reader {
    /// Notes what segments are like that are all complete.
    pub(super) fn note_all(&self, numbers: &[u32]) -> io::Result<()> {
        for number in numbers.iter().copied() {
            let found = identity(self.dir(), number)?;
            self.files().known.files.insert(number, found);
        }
        Ok(())
    }

    /// Looks at some of the segments that are complete, in turn. Where one is not as it was, tells
    /// what cannot be read of it any more, and keeps that aside; says whether there was one.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn look_at_some(&self) -> io::Result<bool> {
        let Some(number) = self.changed()? else { return Ok(false) };
        // What is open may be another file by now, or none.
        self.close(number);
        let from = Position { segment: number, offset: SEGMENT_HEADER };
        self.look_through_all(self.tail(from).whole())?;
        Ok(true)
    }

    /// One of the next segments that are not as they were.
    fn changed(&self) -> io::Result<Option<u32>> {
        // None is trimmed, packed or mended meanwhile.
        let _alone = self.mending();
        let mut there = segment::list(self.dir())?;
        let Some(newest) = there.pop() else { return Ok(None) };
        let mut files = self.files();
        let live = files.live.as_ref().map(|live| live.number);
        let known = &mut files.known;
        let missing = known.files.keys().find(|number| there.binary_search(number).is_err());
        if let Some(missing) = missing.copied().filter(|missing| *missing < newest) {
            return Ok(Some(missing));
        }
        // The writer looks at its own.
        there.retain(|number| Some(*number) != live);
        let begin = there.partition_point(|number| *number < known.next);
        for number in there[begin..].iter().take(LOOKED_AT) {
            known.next = number + 1;
            let found = identity(self.dir(), *number)?;
            if *known.files.entry(*number).or_insert(found) != found {
                return Ok(Some(*number));
            }
        }
        if begin + LOOKED_AT >= there.len() {
            known.next = 0;
        }
        Ok(None)
    }
}

fn identity(dir: &Path, number: u32) -> io::Result<Identity> {
    let found = fs::symlink_metadata(segment::path(dir, number))?;
    Ok([found.dev(), found.ino(), found.len()])
}
