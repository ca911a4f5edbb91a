//! The store: the only owner of sled. It holds what was concluded, never what was told.
//!
//! Everything in it can be made again from the last checkpoint and the journal, and is, whenever
//! it will not open or is not what it must be. So nothing that is acknowledged rests on it.

mod alone;
mod attempt;
mod base;
mod checkpoint;
mod checkpoints;
mod codec;
mod disk;
mod erase;
mod events;
mod filter;
mod index;
mod keys;
mod listed;
mod masses;
mod note;
mod open;
mod paced;
mod peers;
mod place;
mod pushed;
mod quarantine;
mod reader;
mod record;
mod restored;
mod sealed;
mod stretch;
mod tiers;
mod turns;
mod verify;
mod writer;

pub use alone::{Alone, Hold, hold, is_in_use};
pub use attempt::{Attempt, Place};
pub use base::{Base, Made, Next, verify_base};
pub use checkpoint::Snapshot;
pub use checkpoints::{Checkpoints, newest_checkpoint, set_aside_checkpoints};
pub use codec::Counts;
pub use disk::{Room, is_open_to_others, room};
pub use erase::remove_made;
pub use events::{EventFilter, EventPlace, EventScan, Step, Told};
pub use index::{Index, verify_index};
pub use listed::{ListedKey, ListedRow, ListedRows, Sight};
pub use masses::{HeldRow, Kin, Mass, Rate};
pub use note::{Noted, Seen};
pub use open::{Opened, Paths, Rebuilt, View, open, set_aside_stores};
pub use pushed::PushedRows;
pub use quarantine::Quarantined;
pub use reader::{
    Pair, Reader, SET_ASIDE_MAX, StandingRow, StandingRows, Standings, Totals, Visit,
};
pub use record::LastRecords;
pub use restored::{DRAFT as RESTORE_DRAFT, place as place_restored, settle as settle_restore};
pub use turns::{TURNS, TurnPlace};
pub use verify::{verify_checkpoints, verify_stopped};
pub use writer::{Batch, Writer};

use std::io;

use nix::errno::Errno;

use crate::model::Position;

/// Where the journal begins and ends.
pub type Reach = (Position, Position);

/// The store cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It is being opened or rebuilt; try again.
    #[error("the store is not open yet")]
    NotReady,
    /// It is damaged; it will be rebuilt at the next start.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// There is no room on the disk.
    #[error("the disk of store.path is full ({0}): make room; it goes on by itself")]
    Full(String),
    /// The disk, or the system, does not let us; that says nothing about the store.
    #[error("the disk of store.path does not serve ({what}): look at it, and at its permissions")]
    Disk {
        /// What it says.
        what: String,
        /// It is not about the file: there are too many open ones, or we may not write.
        passing: bool,
    },
    /// Somebody has taken it away under us, or a part of it.
    #[error(
        "{0} was moved, removed, replaced or cut while it was open: it is made again by itself, of \
         a checkpoint and the journal; see who changes store.path"
    )]
    Moved(String),
    /// Somebody has sled's file open: another process, or whoever still reads of the store before.
    #[error("the store is in use: {0}; it is tried again, and left as it is")]
    InUse(String),
    /// A newer version wrote it. It is left as it is.
    #[error("{0} was written by a newer version of suppressd: start that version again")]
    Newer(String),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        use io::ErrorKind as Kind;
        let what = error.to_string();
        let errno = error.raw_os_error().map(Errno::from_raw);
        let too_many = matches!(errno, Some(Errno::EMFILE | Errno::ENFILE));
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded => StoreError::Full(what),
            // What was read is not what was written.
            Kind::InvalidData | Kind::UnexpectedEof => StoreError::Damaged(what),
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::OutOfMemory => {
                StoreError::Disk { what, passing: true }
            }
            _ => StoreError::Disk { what, passing: too_many },
        }
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> StoreError {
        match error {
            sled::Error::Io(error) if is_held(&error) => StoreError::InUse(error.to_string()),
            sled::Error::Io(error) => error.into(),
            other => StoreError::Damaged(other.to_string()),
        }
    }
}

/// Whether sled could not have the lock of its file. It says so in words alone.
fn is_held(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.to_string().starts_with("could not acquire lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_says_is_not_taken_for_damage() {
        let of = |errno: Errno| StoreError::from(io::Error::from(errno));
        for full in [Errno::ENOSPC, Errno::EDQUOT] {
            assert!(matches!(of(full), StoreError::Full(_)), "{full}");
        }
        for passing in [Errno::EACCES, Errno::EROFS, Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM] {
            let error = of(passing);
            assert!(
                matches!(error, StoreError::Disk { passing: true, .. }),
                "{passing}: {error:?}"
            );
        }
        assert!(matches!(of(Errno::EIO), StoreError::Disk { passing: false, .. }));
        let full = sled::Error::Io(Errno::ENOSPC.into());
        assert!(StoreError::from(full).to_string().contains("make room"));
        let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert!(matches!(StoreError::from(cut), StoreError::Damaged(_)));
    }
}
