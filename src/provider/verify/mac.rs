//! Message authentication codes: HMAC over pieces of the request (RFC 2104), several keys at once.

use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::{Draft, Notification, Refusal, Scheme, any, first};
use crate::secret::Secret;

/// The hash of an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1; only where a provider offers nothing better.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// An HMAC over pieces of the request.
#[derive(Clone, Debug)]
pub struct Mac {
    /// What is signed, and where the signature stands.
    pub scheme: Scheme,
    /// The hash.
    pub hash: Hash,
    /// The keys, any of which is good.
    pub keys: Vec<Secret>,
}

impl Mac {
    pub(super) fn verify(&self, notification: &Notification<'_>) -> Result<(), Refusal> {
        let claim = self.scheme.claim(notification)?;
        let right = |key: &Secret| {
            let matches = |tag: &Vec<u8>| self.hash.verify(key, &claim.message, tag);
            // No early end, here either: all tags are looked at.
            claim.signatures.iter().fold(false, |found, tag| matches(tag) | found)
        };
        any(&self.keys, right).then_some(()).ok_or(Refusal::Mismatch(self.scheme.place.name()))
    }

    pub(super) fn sign(&self, draft: &mut Draft) -> Result<(), String> {
        let key = first(&self.keys)?;
        self.scheme.sign(draft, |message| Ok(self.hash.tag(key, message)))
    }
}

impl Hash {
    /// Compares in constant time.
    fn verify(self, key: &Secret, message: &[u8], tag: &[u8]) -> bool {
        match self {
            Hash::Sha1 => fed::<Hmac<Sha1>>(key, message).verify_slice(tag).is_ok(),
            Hash::Sha256 => fed::<Hmac<Sha256>>(key, message).verify_slice(tag).is_ok(),
            Hash::Sha512 => fed::<Hmac<Sha512>>(key, message).verify_slice(tag).is_ok(),
        }
    }

    /// The tag of a message.
    pub(in crate::provider) fn tag(self, key: &Secret, message: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha1 => fed::<Hmac<Sha1>>(key, message).finalize().into_bytes().to_vec(),
            Hash::Sha256 => fed::<Hmac<Sha256>>(key, message).finalize().into_bytes().to_vec(),
            Hash::Sha512 => fed::<Hmac<Sha512>>(key, message).finalize().into_bytes().to_vec(),
        }
    }
}

/// A MAC that has taken the message.
fn fed<M: hmac::Mac + KeyInit>(key: &Secret, message: &[u8]) -> M {
    #[expect(clippy::expect_used, reason = "RFC 2104 takes a key of any length")]
    let mut mac = <M as KeyInit>::new_from_slice(key.reveal()).expect("any key length");
    mac.update(message);
    mac
}

/// Whether two values are the same, in a time that does not depend on where they differ.
pub(super) fn same(secret: &Secret, given: &[u8]) -> bool {
    Hash::Sha256.verify(secret, secret.reveal(), &Hash::Sha256.tag(secret, given))
}
