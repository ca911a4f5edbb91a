//! What hosts of a fleet tell each other of the forgotten: hashes and their keys, never addresses.

use std::io;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

use super::{Forgotten, Hash, form};

/// A key of hashes.
pub type Key = [u8; 32];

/// Most people that are told at once.
const TOGETHER: usize = 500;

/// Some of those who were forgotten, as another host learns of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// The keys of the hashes.
    pub keys: Vec<Key>,
    /// Of each, what the file has.
    pub lines: Vec<String>,
    /// Behind which hash there are more.
    pub on: Option<Hash>,
}

/// The hash of an address.
pub(super) fn hash(key: &Key, address: &str) -> Option<Hash> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(address.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

impl Forgotten {
    /// The same for two hosts that have forgotten the same hashes.
    pub fn digest(&self) -> u64 {
        let first = |hash: &Hash| u64::from_be_bytes(*hash.first_chunk().unwrap_or(&[0; 8]));
        self.read().people.keys().map(first).fold(0, u64::wrapping_add)
    }

    /// The keys of the hashes. The first is for who is forgotten next.
    pub fn keys(&self) -> Vec<Key> {
        self.read().keys.clone()
    }

    /// Those behind a hash, as many as are told at once.
    ///
    /// # Errors
    /// When a line cannot be written.
    pub fn shared(&self, after: &Hash) -> io::Result<Shared> {
        let inner = self.read();
        let mut behind: Vec<_> = inner.people.iter().filter(|(hash, _)| *hash > after).collect();
        behind.sort_unstable_by_key(|(hash, _)| **hash);
        let on = behind.get(TOGETHER - 1).filter(|_| behind.len() > TOGETHER);
        let on = on.map(|(hash, _)| **hash);
        let lines = behind.into_iter().take(TOGETHER);
        let lines = lines.map(|(hash, person)| form::person_line(hash, person));
        Ok(Shared { keys: inner.keys.clone(), lines: lines.collect::<io::Result<_>>()?, on })
    }

    /// Learns of those whom another host has forgotten; says how many are new here. Whoever is
    /// known already is told of in records.
    ///
    /// # Errors
    /// When a line is in no form that this version reads, or the disk fails.
    pub fn learn(&self, keys: &[Key], lines: &[String]) -> io::Result<usize> {
        let mut inner = self.write();
        let before = (inner.keys.len(), inner.people.len());
        let mut next = inner.clone();
        let new: Vec<Key> = keys.iter().filter(|key| !inner.keys.contains(key)).copied().collect();
        next.keys.extend(new);
        for line in lines {
            let (hash, person) = form::person(line)?;
            next.people.entry(hash).or_insert(person);
        }
        if (next.keys.len(), next.people.len()) != before {
            form::save_people(&self.state, &next)?;
            *inner = next;
        }
        Ok(inner.people.len() - before.1)
    }
}
