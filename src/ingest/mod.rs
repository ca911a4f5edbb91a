//! The one way in: hand over a submission, and be answered when it is durable.

use std::time::Duration;

use crate::model::{Position, Submission};

/// Why a submission was not taken. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is waiting.
    #[error("intake is full")]
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk is full or nearly so.
    #[error("the disk is full")]
    DiskFull {
        /// When to try again.
        retry_after: Duration,
    },
    /// It is larger than a record can be.
    #[error("the submission is too large")]
    TooLarge,
    /// The daemon is stopping.
    #[error("stopping")]
    Stopping,
}

/// Proof that a submission is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where its record is.
    pub record: Position,
    /// Where the next one is: the store has applied it when it has come this far.
    pub end: Position,
}

/// Takes submissions. Cheap to clone; every edge that changes state has one.
#[derive(Clone)]
pub struct Ingest {}

impl Ingest {
    /// Appends a submission to the journal. The answer comes when it is synced to disk.
    pub async fn submit(&self, _submission: &Submission) -> Result<Receipt, Refused> {
        Err(Refused::Stopping)
    }

    /// Waits until the store has applied what a receipt stands for.
    pub async fn applied(&self, _receipt: Receipt) {}
}

/// How far the verdicts have moved since the daemon started. Sent through a `watch` channel to
/// whoever keeps something current.
///
/// Both numbers only grow. A change is sent when the store shows it; `released` must be raised no
/// later than `verdicts`, or a guard sees removals that nobody has explained yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Grows with every change that can alter an export.
    pub verdicts: u64,
    /// Removals that were intended, in addresses: lifts, and deliveries that reset a count.
    pub released: u64,
}
