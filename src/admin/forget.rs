//! Forgetting people: what suppresses them is kept as a keyed hash, and all else of them is erased.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::suppressions::parse_addresses;
use super::{Admin, Failure, Fleet, Replies, blocking, exports, row, rows};
use crate::clock;
use crate::current::Current;
use crate::export::Listing;
use crate::fleet::Wish;
use crate::forgotten::{KeptGround, ToForget};
use crate::ingest::Erased;
use crate::model::{Address, Time};
use crate::stop::stopped;

/// What a dry run says of an export that has the address.
const TO_GO: &str = "it would no longer have the address: its format has no hashes";

/// What that means.
const UNLISTED: &str = "whoever reads a file without hashes alone, and asks no lookup, mails who \
    was forgotten again";

/// What is to be done about a host that has not forgotten.
const ELSEWHERE: &str = "run `suppressd forget` again when they can be reached";

/// How often it is looked whether there is another fleet.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Forgets whom other hosts of the fleet have forgotten, until it is told to stop.
pub async fn keep_forgetting(admin: Arc<Current<Admin>>, mut stop: watch::Receiver<bool>) {
    let serve = async {
        loop {
            let admin = admin.get();
            let Some(fleet) = &admin.fleet else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            let wish = tokio::time::timeout(LOOK_EVERY, fleet.to_forget()).await;
            let Ok(Some(Wish { addresses, begun })) = wish else { continue };
            let done = admin.forget_for_others(&addresses).await;
            // Who asked asks again if this does not reach it.
            let _ = begun.send(done.map_err(|failure| failure.error));
        }
    };
    tokio::select! {
        () = serve => {}
        () = stopped(&mut stop) => {}
    }
}

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
        let now = clock::now();
        let people = self.people_of(parsed.clone(), now).await?;
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
        let left = match &self.fleet {
            Some(fleet) if !dry_run => forget_elsewhere(fleet, &addresses, &mut end).await,
            _ => Vec::new(),
        };
        row(to, end).await?;
        match left.is_empty() {
            true => Ok(()),
            false => Err(Failure::failed(format!("not on {}: {ELSEWHERE}", left.join("; ")))),
        }
    }

    /// Has whom another host has forgotten erased here too, durably; it is done soon.
    async fn forget_for_others(self: &Arc<Self>, addresses: &[String]) -> Result<(), Failure> {
        self.ingest.level().await;
        let now = clock::now();
        let people = self.people_of(parse_addresses(addresses)?, now).await?;
        self.begin_forgetting(people, now).await
    }

    async fn people_of(
        self: &Arc<Self>,
        addresses: Vec<Address>,
        now: Time,
    ) -> Result<Vec<ToForget>, Failure> {
        let admin = Arc::clone(self);
        blocking(move || admin.people(&addresses, now)).await
    }

    /// Forgets them and waits until they are erased.
    async fn forget_all(
        self: &Arc<Self>,
        people: Vec<ToForget>,
        now: Time,
    ) -> Result<Erased, Failure> {
        self.begin_forgetting(people, now).await?;
        self.ingest.erased().await.map_err(Failure::failed)
    }

    /// Forgets them durably.
    async fn begin_forgetting(&self, people: Vec<ToForget>, now: Time) -> Result<(), Failure> {
        // Nothing is erased before the exports could see that it is on purpose.
        let postponed = self.ingest.postpone_erasing();
        let forgotten = Arc::clone(self.ingest.forgotten());
        let failed = |error| Failure::failed(format!("not forgotten: {error}"));
        blocking(move || forgotten.forget(people, now).map_err(failed)).await?;
        // What one of them could not do, its listing tells.
        let _ = self.exports.write(None, false).await;
        drop(postponed);
        Ok(())
    }

    /// Why each is suppressed at present, and what exports of hashes have of them.
    fn people(&self, people: &[Address], now: Time) -> Result<Vec<ToForget>, Failure> {
        let of = |address: &Address| {
            let known = self.ingest.forgotten().person(address.key());
            let mut grounds = known.map(|person| person.grounds).unwrap_or_default();
            for (scope, standing) in self.reader.standings_of(address)? {
                let live = self.rules.live(address.key(), &standing, now).into_iter();
                let kept = |it| KeptGround::standing(scope.clone(), &it, &standing, now);
                grounds.extend(live.map(kept));
            }
            let rows = self.exports.hashed(address.key(), now);
            Ok(ToForget { address: address.clone(), grounds, rows })
        };
        people.iter().map(of).collect()
    }
}

/// Has the other hosts forget; says which do not, and why.
async fn forget_elsewhere(fleet: &Fleet, addresses: &[String], end: &mut Value) -> Vec<String> {
    let told = fleet.forget(addresses).await;
    let host = |(host, problem): &(String, Option<String>)| {
        let forgotten = problem.is_none();
        json!({ "host": host, "forgotten": forgotten, "problem": problem })
    };
    end["hosts"] = told.iter().map(host).collect();
    let left = |(host, problem): (String, Option<String>)| Some(format!("{host}: {}", problem?));
    told.into_iter().filter_map(left).collect()
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
