//! Forgetting people: what suppresses them is kept as a keyed hash, and all else of them is erased.

use std::sync::Arc;

use serde_json::{Value, json};

use super::suppressions::parse_addresses;
use super::{Admin, Failure, Replies, blocking, exports, row, rows};
use crate::clock;
use crate::export::Listing;
use crate::forgotten::{KeptGround, ToForget};
use crate::ingest::Erased;
use crate::model::{Address, Filter, Time};

/// What a dry run says of an export that has the address.
const TO_GO: &str = "it would no longer have the address: its format has no hashes";

/// What that means.
const UNLISTED: &str = "whoever reads a file without hashes alone, and asks no lookup, mails who \
    was forgotten again";

impl Admin {
    pub(super) async fn forget(
        self: &Arc<Self>,
        addresses: Vec<String>,
        dry_run: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        let parsed = parse_addresses(&addresses)?;
        if parsed.is_empty() {
            return Err(Failure::usage("name the addresses to forget"));
        }
        let (admin, asked, now) = (Arc::clone(self), parsed.clone(), clock::now());
        let people = blocking(move || admin.people(&asked, now)).await?;
        let erased = match dry_run {
            true => {
                let (ingest, reading) = (self.ingest.clone(), self.reader.reading());
                let count = move || ingest.erasable(&parsed, &reading).map_err(Failure::failed);
                blocking(count).await?
            }
            false => self.forget_all(people.clone(), now).await?,
        };
        let keys = people.iter().map(|person| person.address.key().to_owned()).collect();
        let listings = self.listed_soon(keys).await?;
        let mut is_unlisted = false;
        for (person, listings) in people.iter().zip(&listings) {
            let is_told = |listing: &Listing| !listing.is_hashed && listing.listed == Some(dry_run);
            is_unlisted |= !person.grounds.is_empty() && listings.iter().any(is_told);
            row(to, answer(person, listings, dry_run)).await?;
        }
        let mut end = summary(erased, people.len(), dry_run);
        end["hint"] = is_unlisted.then_some(UNLISTED).into();
        row(to, end).await
    }

    /// Forgets them and waits until they are erased.
    async fn forget_all(
        self: &Arc<Self>,
        people: Vec<ToForget>,
        now: Time,
    ) -> Result<Erased, Failure> {
        // Nothing is erased before the exports could see that it is on purpose.
        let postponed = self.ingest.postpone_erasing();
        let forgotten = Arc::clone(self.ingest.forgotten());
        let failed = |error| Failure::failed(format!("not forgotten: {error}"));
        blocking(move || forgotten.forget(people, now).map_err(failed)).await?;
        // What one of them could not do, its listing tells.
        let _ = self.exports.write(None, false).await;
        drop(postponed);
        self.ingest.erased().await.map_err(Failure::failed)
    }

    /// Why each is suppressed at present, and what exports of hashes have of them.
    fn people(&self, people: &[Address], now: Time) -> Result<Vec<ToForget>, Failure> {
        let of = |address: &Address| {
            let known = self.ingest.forgotten().person(address.key());
            let mut grounds = known.map(|person| person.grounds).unwrap_or_default();
            for (scope, standing) in self.reader.standings_of(address)? {
                let findings = self.rules.findings(address.key(), &standing, &Filter::default());
                let live = findings.into_iter().filter(|finding| finding.is_live(now));
                grounds.extend(live.map(|found| KeptGround::of(scope.clone(), &found)));
            }
            let rows = self.exports.hashed(address.key(), now);
            Ok(ToForget { address: address.clone(), grounds, rows })
        };
        people.iter().map(of).collect()
    }
}

/// The row of an address.
fn answer(person: &ToForget, listings: &[Listing], dry_run: bool) -> Value {
    let mut exports = exports::rows(listings);
    for (row, listing) in exports.iter_mut().zip(listings) {
        if dry_run && listing.listed == Some(true) && !listing.is_hashed {
            row["detail"] = TO_GO.into();
        }
    }
    json!({
        "address": person.address.received(),
        "forgotten": !dry_run,
        "suppressed": !person.grounds.is_empty(),
        "grounds": person.grounds.iter().map(rows::ground).collect::<Vec<_>>(),
        "exports": exports,
    })
}

fn summary(erased: Erased, people: usize, dry_run: bool) -> Value {
    let Erased { segments, elements, quarantined, keys } = erased;
    json!({
        "found": "summary",
        "people": people,
        "segments": segments,
        "elements": elements,
        "quarantined": quarantined,
        "keys": keys,
        "done": !dry_run,
    })
}
