//! What the providers' own lists have told, row by row, and whether it is still there.
//!
//! A row is noted when a list tells it, and marked when the list has been found without it: so what
//! comes back is known to be new, whatever its date says.

use serde::{Deserialize, Serialize};

use super::codec::{Form, decode, encode};
use super::{Batch, Reader, StoreError, Writer, keys};
use crate::model::{Reason, Scope, SourceName, Time};

/// Which row.
#[derive(Clone, Copy, Debug)]
pub struct ListedKey<'a> {
    /// Whose list.
    pub source: &'a SourceName,
    /// Which of its lists.
    pub feed: &'a str,
    /// The address's key.
    pub address: &'a str,
    /// The scope.
    pub scope: &'a Scope,
    /// Why it is there.
    pub reason: Reason,
}

/// What is known of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// Since when it is there, or was told first.
    pub at: Time,
    /// The list was found without it.
    pub gone: bool,
}

impl Form for Sight {}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRow {
    /// The address's key.
    pub address: String,
    /// The scope.
    pub scope: Scope,
    /// Why it is there.
    pub reason: Reason,
    /// What is known of it.
    pub sight: Sight,
}

/// The rows of a list.
pub type ListedRows = Box<dyn Iterator<Item = Result<ListedRow, StoreError>> + Send>;

impl Writer {
    /// What is known of a row of a list.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn sight(
        &self,
        batch: &mut Batch,
        row: &ListedKey<'_>,
    ) -> Result<Option<Sight>, StoreError> {
        self.get(batch, keys::listed(row))?.map(decode).transpose()
    }

    /// Notes what is known of a row of a list.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_sight(
        &self,
        batch: &mut Batch,
        row: &ListedKey<'_>,
        sight: Sight,
    ) -> Result<(), StoreError> {
        self.put(batch, keys::listed(row), Some(encode(&sight)))
    }
}

impl Reader {
    /// Every row that a list of a source has told.
    pub fn listed(&self, source: &SourceName, feed: &str) -> ListedRows {
        let tree = match self.tree() {
            Ok(tree) => tree,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let prefix = keys::listed_by(source, feed);
        let length = prefix.len();
        Box::new(tree.scan_prefix(prefix).map(move |pair| {
            let (key, value) = pair?;
            let parts = keys::listed_parts(&key[length..]);
            let (address, scope, reason) = parts.ok_or_else(super::reader::strange_key)?;
            Ok(ListedRow { address, scope, reason, sight: decode(&value)? })
        }))
    }
}
