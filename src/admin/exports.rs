//! What the exports' files say of addresses, for the verbs that tell of one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Admin, Failure};
use crate::clock;
use crate::export::Listing;

/// How long a change may take to reach the files before it is told to be pending.
const SOON: Duration = Duration::from_millis(150);

/// Most addresses of one command that are looked up in the files.
pub(super) const TOLD_MAX: usize = 1_000;

impl Admin {
    /// What the files say of addresses, once a change has reached them, or could not in time.
    pub(super) async fn listed_soon(
        &self,
        keys: Vec<String>,
    ) -> Result<Vec<Vec<Listing>>, Failure> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.exports.settled(&keys.into(), clock::now, SOON).await?)
    }
}

/// The rows of one address.
pub(super) fn rows(listings: &[Listing]) -> Vec<Value> {
    let row = |listing: &Listing| {
        json!({
            "name": listing.name,
            "format": listing.format,
            "listed": listing.listed,
            "wanted": listing.wanted,
            "uncompiled": listing.is_uncompiled,
            "detail": listing.detail,
        })
    };
    listings.iter().map(row).collect()
}

/// How many addresses the files say what of.
pub(super) fn summary(listings: &[Vec<Listing>]) -> Vec<Value> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for listing in listings.iter().flatten() {
        *counts.entry((&listing.name, &listing.detail)).or_default() += 1;
    }
    let row = |((name, detail), addresses)| {
        let addresses: u64 = addresses;
        json!({ "name": name, "detail": detail, "addresses": addresses })
    };
    counts.into_iter().map(row).collect()
}
