//! The two names under which a restore puts files together in a state directory, so that one that
//! breaks off never passes for a state: of the first nothing has its place, of the second all is
//! durable, and whoever comes next gives it its place.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::Paths;
use crate::forgotten::HASHES;
use crate::journal::OpenError;

/// Where files stand until all of them are there.
pub const DRAFT: &str = ".restore";
/// Where they stand then, until each has its place.
const WHOLE: &str = ".restored";

/// What a restore has put together, in the order in which it has its place: those who were
/// forgotten before what lacks them, and the checkpoint before a journal that may begin late.
const PARTS: [&str; 3] = [HASHES, "checkpoint", "journal"];

/// Gives a draft its place. All in it must be durable.
///
/// # Errors
/// When the disk fails. If all of it has its place already, or it is known as whole, [`settle`]
/// goes on.
pub fn place(state: &Path) -> io::Result<()> {
    fs::rename(state.join(DRAFT), state.join(WHOLE))?;
    File::open(state)?.sync_all()?;
    settle_whole(state)
}

/// Ends a restore that broke off when all was there; says whether there was one.
fn settle_whole(state: &Path) -> io::Result<()> {
    let whole = state.join(WHOLE);
    for part in PARTS {
        let from = whole.join(part);
        if from.try_exists()? {
            fs::rename(from, state.join(part))?;
        }
    }
    fs::remove_dir(whole)?;
    File::open(state)?.sync_all()
}

/// Ends a restore that broke off, if all of it was there; whoever calls has the directory alone.
///
/// # Errors
/// When it was not all there, or the disk fails: what there is, is no state then.
pub fn settle(state: &Path) -> Result<bool, OpenError> {
    let of = |error| OpenError::Io { path: state.to_owned(), error };
    if state.join(WHOLE).try_exists().map_err(of)? {
        settle_whole(state).map_err(of)?;
        return Ok(true);
    }
    let draft = state.join(DRAFT);
    // One of an earlier version may have been left beside a state that was begun since.
    if draft.try_exists().map_err(of)? && !Paths::of(state).sled.try_exists().map_err(of)? {
        return Err(OpenError::HalfRestored(draft));
    }
    Ok(false)
}
