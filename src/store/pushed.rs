//! What we did on the providers' own lists, by source and address: the last step of each.

use super::codec::{decode, encode};
use super::{Batch, Reader, StoreError, Writer, keys};
use crate::model::{Pushed, SourceName};

/// The steps of a source: each address's key with its last one.
pub type PushedRows = Box<dyn Iterator<Item = Result<(String, Pushed), StoreError>> + Send>;

impl Writer {
    /// The last step about an address.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn pushed(
        &self,
        batch: &mut Batch,
        source: &SourceName,
        address: &str,
    ) -> Result<Option<Pushed>, StoreError> {
        self.get(batch, keys::pushed(source, address))?.map(decode).transpose()
    }

    /// Notes a step about an address.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_pushed(
        &self,
        batch: &mut Batch,
        source: &SourceName,
        address: &str,
        step: Pushed,
    ) -> Result<(), StoreError> {
        self.put(batch, keys::pushed(source, address), Some(encode(&step)))
    }
}

impl Reader {
    /// The last step about the address of that key.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn pushed(&self, source: &SourceName, address: &str) -> Result<Option<Pushed>, StoreError> {
        let stored = self.tree()?.get(keys::pushed(source, address))?;
        stored.map(|bytes| decode(&bytes)).transpose()
    }

    /// Every step of a source.
    pub fn all_pushed(&self, source: &SourceName) -> PushedRows {
        let tree = match self.tree() {
            Ok(tree) => tree,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let prefix = keys::pushed(source, "");
        let length = prefix.len();
        Box::new(tree.scan_prefix(prefix).map(move |pair| {
            let (key, value) = pair?;
            let address = std::str::from_utf8(&key[length..]);
            let address = address.map_err(|_| super::reader::strange_key())?;
            Ok((address.to_owned(), decode(&value)?))
        }))
    }
}
