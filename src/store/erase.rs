//! Taking an address out of the store, and what was made of it out of the disk.
//!
//! sled overwrites nothing that it has written, so its files go as a whole: the store is made again
//! from a checkpoint that is written without the address.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::codec::decode;
use super::keys::{CHANGED, LISTED, MASS, META, PUSHED, QUIET, RUNS, STANDING, TURN};
use super::open::CLEAN;
use super::{Batch, Paths, StoreError, Writer, set_aside_checkpoints, set_aside_stores};
use crate::journal::sync_dir;
use crate::model::{Address, Spellings, Turn};

/// Keys looked at before what has changed is committed.
const ERASE_KEYS: usize = 10_000;

impl Writer {
    /// Takes out every key of these addresses, and blanks them in what is kept of others. Says how
    /// many keys that were.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn erase(&mut self, people: &[(Address, Spellings)]) -> Result<u64, StoreError> {
        let (mut erasing, base) = (Erasing::default(), Arc::clone(self.base()));
        for prefix in [QUIET, STANDING] {
            let mut scan = base.scan_prefix(prefix);
            while scan.advance()? {
                erasing.look(self, people, scan.key(), scan.value())?;
            }
        }
        for pair in self.tree.clone().iter() {
            let (key, value) = pair?;
            if key != META && key != RUNS && !key.starts_with(&[CHANGED]) {
                erasing.look(self, people, &key, &value)?;
            }
        }
        self.commit_beside(erasing.batch)?;
        Ok(erasing.erased)
    }
}

/// What is erased so far.
#[derive(Default)]
struct Erasing {
    batch: Batch,
    erased: u64,
    looked: usize,
}

impl Erasing {
    fn look(
        &mut self,
        writer: &mut Writer,
        people: &[(Address, Spellings)],
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.looked += 1;
        if self.looked.is_multiple_of(ERASE_KEYS) {
            writer.commit_beside(std::mem::take(&mut self.batch))?;
        }
        let is_theirs = people.iter().any(|(address, _)| is_of(key, value, address));
        let mut kept = value.to_vec();
        let blank = |(_, spellings): &(Address, Spellings)| spellings.blank(&mut kept);
        if is_theirs || people.iter().map(blank).sum::<usize>() > 0 {
            writer.put(&mut self.batch, key.to_vec(), (!is_theirs).then_some(kept))?;
            self.erased += 1;
        }
        Ok(())
    }
}

/// Whether a key, or what it says, is about an address.
fn is_of(key: &[u8], value: &[u8], address: &Address) -> bool {
    let name = address.key().as_bytes();
    let begins = |place: &[u8]| place.strip_prefix(name).is_some_and(|rest| rest.starts_with(&[0]));
    let Some((prefix, rest)) = key.split_first() else { return false };
    match *prefix {
        STANDING | QUIET => begins(rest),
        MASS => rest.get(8..).is_some_and(begins),
        PUSHED => rest.strip_suffix(name).is_some_and(|head| head.ends_with(&[0])),
        LISTED => rest.iter().enumerate().any(|(at, byte)| *byte == 0 && begins(&rest[at + 1..])),
        TURN => decode::<Turn>(value)
            .is_ok_and(|turn| Address::parse(&turn.address).is_ok_and(|turned| turned == *address)),
        _ => false,
    }
}

/// Removes the store, which is to be made again of its checkpoint, and what was made of an earlier
/// one. Whoever still looks into it goes on with the files that are open.
///
/// # Errors
/// When the disk fails.
pub fn remove_made(paths: &Paths) -> Result<(), StoreError> {
    let (aside, checkpoint) = (&paths.quarantine, &paths.checkpoint);
    let image = checkpoint.join("standings.image");
    let mut gone: Vec<PathBuf> = vec![
        paths.sled.clone(),
        paths.sled.with_extension("before"),
        paths.sled.with_extension("next"),
        paths.base.clone(),
        aside.join("standings.image"),
        image,
        checkpoint.join(CLEAN),
    ];
    gone.extend(set_aside_stores(aside).into_iter().flatten());
    gone.extend(set_aside_checkpoints(aside)?);
    for path in gone {
        remove(&path)?;
    }
    for dir in [aside, checkpoint].into_iter().filter(|dir| dir.is_dir()) {
        sync_dir(dir)?;
    }
    Ok(paths.sled.parent().map_or(Ok(()), sync_dir)?)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
