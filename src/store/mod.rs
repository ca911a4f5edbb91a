//! The store: the only owner of sled. It holds what was concluded, never what was told.
//!
//! Everything in it can be made again from the last checkpoint and the journal, and is, whenever
//! it will not open or is not what it must be. So nothing that is acknowledged rests on it.

mod checkpoint;
mod codec;
mod events;
mod image;
mod keys;
mod known;
mod listed;
mod open;
mod pushed;
mod reader;
mod scan;
mod writer;

pub use checkpoint::{Snapshot, newest_checkpoint, trim_point};
pub use codec::Counts;
pub use events::{EventFilter, EventScan, Told};
pub use image::NextImage;
pub use listed::{ListedKey, ListedRow, ListedRows, Sight};
pub use open::{Opened, Paths, Rebuilt, View, open};
pub use pushed::PushedRows;
pub use reader::{Pair, Quarantined, Reader, StandingRow, StandingRows, Totals, Visit};
pub use writer::{Batch, Noted, Seen, Writer};

/// The store cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It is being opened or rebuilt; try again.
    #[error("the store is not open yet")]
    NotReady,
    /// It is damaged; it will be rebuilt at the next start.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A newer version wrote it. It is left as it is.
    #[error("{0} was written by a newer version of suppressd: start that version again")]
    Newer(String),
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> StoreError {
        StoreError::Damaged(error.to_string())
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> StoreError {
        StoreError::Damaged(error.to_string())
    }
}
