//! How much room there is for the state, and who may look where it lies.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What is free for us.
    pub free: u64,
    /// All of it.
    pub size: u64,
}

/// The disk is nearly full when less than a tenth of it is free, within these bounds, in bytes.
/// The lower one is well above what the journal leaves to the store.
const ROOM_PART: u64 = 10;
const ROOM_MIN: u64 = 32 << 20;
const ROOM_MAX: u64 = 1 << 30;

impl Room {
    /// Whether an administrator should make more.
    pub fn is_nearly_gone(&self) -> bool {
        self.free < (self.size / ROOM_PART).clamp(ROOM_MIN, ROOM_MAX)
    }
}

/// The room of the file system of a file or directory.
///
/// # Errors
/// When the path leads nowhere, or the file system does not say.
pub fn room(path: &Path) -> io::Result<Room> {
    let stat = statvfs(path).map_err(io::Error::from)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Ok(Room { free: bytes(stat.blocks_available()), size: bytes(stat.blocks()) })
}

/// What others than its owner must not do with the state directory: list it, or change what is in
/// it. That they go through it is wanted, for exports may stand in it.
const OTHERS: u32 = 0o026;

/// Whether others may list a directory, or change what is in it; not of one that is not there.
pub fn is_open_to_others(dir: &Path) -> bool {
    fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & OTHERS != 0)
}

/// Free room for us on the file system of a file or directory, in bytes.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    Ok(room(path)?.free)
}
