//! The store: the only owner of sled. It holds what was concluded, never what was told.

use crate::model::{Address, Scope, SourceName, Standing};

/// The store cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It is being opened or rebuilt; try again.
    #[error("the store is not open yet")]
    NotReady,
    /// It is damaged; it will be rebuilt at the next start.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// How a source's events reached us, by number of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By webhook alone.
    pub webhook_only: u64,
    /// By poll alone.
    pub poll_only: u64,
    /// By both.
    pub both: u64,
}

/// Looks into the store. Cheap to clone; every edge that looks has one.
#[derive(Clone)]
pub struct Reader {}

/// One row of a scan over the standings: the address's key, the scope, the standing.
pub type StandingRow = (String, Scope, Standing);

impl Reader {
    /// The cursor of a feed, as last committed.
    pub fn cursor(&self, _source: &SourceName, _feed: &str) -> Result<Option<String>, StoreError> {
        Err(StoreError::NotReady)
    }

    /// How a source's events reached us.
    pub fn counts(&self, _source: &SourceName) -> Result<Counts, StoreError> {
        Err(StoreError::NotReady)
    }

    /// Every standing of one address, by scope.
    pub fn standings_of(&self, _address: &Address) -> Result<Vec<(Scope, Standing)>, StoreError> {
        Err(StoreError::NotReady)
    }

    /// Every standing that can suppress, ordered by the address's key, then the scope.
    pub fn standings(&self) -> Box<dyn Iterator<Item = Result<StandingRow, StoreError>> + Send> {
        Box::new(std::iter::empty())
    }
}
