//! How much room there is for the state.

use std::io;
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

/// Free room for us on the file system of a file or directory, in bytes.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    Ok(room(path)?.free)
}
