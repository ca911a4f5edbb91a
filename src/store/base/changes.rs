//! What has changed of the base, as sled keeps it: in blocks of many keys, since one key costs sled
//! more than all else that an event does. They are numbered: a later one counts before an earlier.
//!
//! ```text
//! form:u8 block    as in a run
//! ```

use super::block::{Builder, Entries};
use super::{Changed, QUIET, STANDING};
use crate::store::StoreError;
use crate::store::codec::{Meta, is_newer};
use crate::store::keys::{self, CHANGED, META};
use crate::store::sealed::bad;

/// The form of a block.
pub(in crate::store) const FORM: u8 = 1;

/// The blocks of changes that are sorted by their keys.
pub(in crate::store) fn blocks(changes: &[Changed]) -> Vec<Vec<u8>> {
    let (mut blocks, mut block) = (Vec::new(), Builder::default());
    for (key, value) in changes {
        if block.is_full() {
            blocks.push([&[FORM], block.bytes()].concat());
            block.clear();
        }
        block.put(key, value);
    }
    if !block.is_empty() {
        blocks.push([&[FORM], block.bytes()].concat());
    }
    blocks
}

/// Gives all that has changed, the earliest first; of a key that has changed often, each change.
///
/// # Errors
/// When the store is damaged, or a newer version wrote of it.
pub(in crate::store) fn read(
    tree: &sled::Tree,
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<(), StoreError> {
    for pair in single(tree) {
        let (key, value) = pair?;
        each(&key, &value);
    }
    let mut entries = Entries::default();
    for pair in tree.scan_prefix([CHANGED]) {
        let (_, bytes) = pair?;
        let (form, block) = bytes.split_first().ok_or_else(bad)?;
        if *form > FORM {
            return Err(newer());
        }
        entries.begin(block.to_vec());
        while entries.advance()? {
            let (key, value) = (entries.key(), entries.value());
            if key.first().zip(value.first()).is_some_and(|(key, form)| is_newer(*key, *form)) {
                return Err(newer());
            }
            each(key, value);
        }
    }
    Ok(())
}

/// The number of the last block.
///
/// # Errors
/// When the store is damaged.
pub(in crate::store) fn last(tree: &sled::Tree) -> Result<u64, StoreError> {
    let last = tree.scan_prefix([CHANGED]).next_back().transpose()?;
    Ok(last.and_then(|(key, _)| keys::changed_number(&key)).unwrap_or_default())
}

/// Brings the changes of an earlier version, which had each key by itself, into blocks.
///
/// # Errors
/// When the store is damaged.
pub(in crate::store) fn gather(tree: &sled::Tree, mut meta: Meta) -> Result<Meta, StoreError> {
    let (mut batch, mut changes) = (sled::Batch::default(), Vec::<Changed>::new());
    for pair in single(tree) {
        let (key, value) = pair?;
        meta.account(&key, Some(&value), None);
        changes.push(((&*key).into(), (&*value).into()));
        batch.remove(key);
    }
    for (number, block) in (last(tree)? + 1..).zip(blocks(&changes)) {
        let key = keys::changed(number);
        meta.account(&key, None, Some(&block));
        batch.insert(key, block);
    }
    batch.insert(META, meta.encode());
    tree.apply_batch(batch)?;
    Ok(meta)
}

fn single(tree: &sled::Tree) -> impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>> {
    let tree = tree.clone();
    [QUIET, STANDING].into_iter().flat_map(move |prefix| tree.scan_prefix([prefix]))
}

fn newer() -> StoreError {
    StoreError::Newer("a value of the store".to_owned())
}
