//! A hash a line, in lower-case hex, of each address in lower case: for uploads to those who have
//! the addresses as well.
//!
//! Sorted by hash, so that the order tells nothing. A hash is no secret: whoever guesses the
//! address has it.

use data_encoding::HEXLOWER;
use md5::Md5;
use sha2::{Digest, Sha256};

use super::key::each_spelling;
use super::{Entry, Format, Hash, Rows, Unfit};

/// `hashed`.
pub(super) struct Hashed;

impl Format for Hashed {
    fn name(&self) -> &'static str {
        "hashed"
    }

    fn hashes(&self) -> bool {
        true
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        let hash = match entry.style.hash {
            Hash::Sha256 => hash::<Sha256>,
            Hash::Md5 => hash::<Md5>,
        };
        each_spelling(entry, |local, domain| rows.add(&[&hash(local, domain)], &[]));
        Ok(())
    }
}

/// The hash of an address, in hexadecimal digits.
fn hash<D: Digest>(local: &str, domain: &str) -> String {
    HEXLOWER.encode(&D::new().chain_update(local).chain_update("@").chain_update(domain).finalize())
}
