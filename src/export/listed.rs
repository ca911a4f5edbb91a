//! What an export's file says of an address: what the MTA finds there, whatever the store says.
//!
//! Only looks: at the file that is in place, by key, as its reader does.

use std::fs::File;
use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Settings;
use super::file;
use super::handle::{Entry, Exports, Status};
use super::scan::Scan;
use super::table::kind;
use super::write::Source;
use crate::forgotten::{Forgotten, HashRows};
use crate::model::{Filter, Gist, Scope, Standing, Time};
use crate::rules::Rules;
use crate::store::StoreError;
use crate::units::show_duration;

/// What an export's file says of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The export's name.
    pub name: String,
    /// Its format.
    pub format: &'static str,
    /// Whether it has hashes, and so may go on with an address that is forgotten.
    pub is_hashed: bool,
    /// Whether the file has the address; `None` where it cannot be read.
    pub listed: Option<bool>,
    /// Whether it is to have it.
    pub wanted: bool,
    /// Whether it is there only because the guard holds back its removal.
    pub is_held: bool,
    /// Whether the MTA may still find what the file said before: its command has yet to end.
    pub is_uncompiled: bool,
    /// How that comes, in words, with a hint where something is wrong.
    pub detail: String,
    /// Whether nothing is to be waited for: it is as it is to be, or does not become so by itself.
    settled: bool,
}

/// What is told of an address that was forgotten and is suppressed, where it has no row.
const GONE: &str = "not in the file: it was forgotten, and this format has no hashes";

/// Addresses of which a listing is asked, by their keys.
pub type Keys = std::sync::Arc<[String]>;

impl Exports {
    /// What each file says of each address now, in the order of the addresses, then of the exports.
    /// It blocks.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn listings(&self, keys: &Keys, now: Time) -> Result<Vec<Vec<Listing>>, StoreError> {
        let files: Vec<io::Result<File>> =
            self.list.iter().map(|export| file::read(&export.settings.path)).collect();
        let Source { rules, of, forgotten, .. } = &self.world.source;
        let rules = rules.get();
        let one = |key: &String| {
            let standings = of(key)?;
            let of = Of { rules: &rules, forgotten, key, standings: &standings, now };
            Ok(self
                .list
                .iter()
                .zip(&files)
                .map(|(export, file)| of.listing(export, file))
                .collect())
        };
        keys.iter().map(one).collect()
    }

    /// The rows that exports of hashes have for an address, by what makes the hash.
    pub fn hashed(&self, key: &str, now: Time) -> HashRows {
        let Source { rules, forgotten, .. } = &self.world.source;
        let rules = rules.get();
        let all = self.list.iter().map(|export| &*export.settings);
        let rows = all.filter(|settings| settings.format.hashes()).map(|settings| {
            let rules = &rules;
            let scan = Scan { rules, settings, forgotten, now, before: None, past: None };
            let rows = scan.look(key, &[]).1.unwrap_or_default();
            let keys = rows.iter().map(|row| row.key.to_owned()).collect();
            (settings.style.hash.name().to_owned(), keys)
        });
        rows.collect()
    }

    /// The same, once the files say what they are to say, or are known not to do so within `limit`:
    /// because nothing is written before, or a writing or a command takes longer.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn settled(
        &self,
        keys: &Keys,
        now: impl Fn() -> Time,
        limit: Duration,
    ) -> Result<Vec<Vec<Listing>>, StoreError> {
        let deadline = Instant::now() + limit;
        let mut statuses: Vec<_> = self.list.iter().map(|export| export.status.clone()).collect();
        loop {
            // Before the look: what is written during it wakes us.
            statuses.iter_mut().for_each(|status| status.mark_unchanged());
            let (exports, asked, at) = (self.clone(), Keys::clone(keys), now());
            let looked = tokio::task::spawn_blocking(move || exports.listings(&asked, at)).await;
            let found = looked.map_err(|error| StoreError::Damaged(error.to_string()))??;
            let soon = |status: &watch::Receiver<Status>| {
                status.borrow().due.is_none_or(|due| due <= deadline)
            };
            let unsettled = |export: usize| {
                found.iter().any(|of| of.get(export).is_some_and(|listing| !listing.settled))
            };
            let mut waiting = statuses.iter_mut().enumerate();
            let waiting = waiting.find(|(export, status)| unsettled(*export) && soon(status));
            let Some((_, status)) = waiting else { return Ok(found) };
            if !matches!(timeout_at(deadline, status.changed()).await, Ok(Ok(()))) {
                return Ok(found);
            }
        }
    }
}

/// One address, and what the store has of it.
struct Of<'a> {
    rules: &'a Rules,
    forgotten: &'a Forgotten,
    key: &'a str,
    standings: &'a [(Scope, Standing)],
    now: Time,
}

impl Of<'_> {
    fn listing(&self, export: &Entry, file: &io::Result<File>) -> Listing {
        let settings = &*export.settings;
        let status = export.status.borrow().clone();
        let Of { rules, forgotten, now, .. } = *self;
        let scan = Scan { rules, settings, forgotten, now, before: None, past: None };
        let (wanted, rows) = scan.look(self.key, self.standings);
        let fit = rows.is_some();
        let listed = match file {
            Ok(file) => {
                let kind = kind(settings.style.table);
                let has = |key: &str| kind.has(file, settings.format.shape(), key);
                let rows = rows.unwrap_or_default();
                let found: io::Result<Vec<bool>> = rows.iter().map(|row| has(row.key)).collect();
                // One of several is enough for a reader to find it, and too few to have all found.
                found.map(|found| match wanted {
                    true => !found.is_empty() && found.iter().all(|found| *found),
                    false => found.contains(&true),
                })
            }
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        let (detail, settled) = match &listed {
            Ok(_) if wanted && !fit => {
                ("not in the file: its format cannot carry this address".to_owned(), true)
            }
            Ok(true) if wanted => compiled("in the file", &status),
            Ok(false) if wanted => match &status.held_back {
                // Additions are on their way all the same, unless the file is not ours.
                Some(held) if !status.pending => (format!("not in the file: {held}"), false),
                _ => not_yet("not yet in the file", settings, &status),
            },
            Ok(true) if settings.format.shares_keys() && !status.pending => {
                ("in the file, by another address that its reader cannot tell apart".into(), true)
            }
            Ok(true) => match &status.held_back {
                // What a lift explains goes all the same.
                Some(held) => (format!("still in the file: {held}"), false),
                None => not_yet("still in the file", settings, &status),
            },
            Ok(false) if forgotten.is_suppressed(self.key, &settings.filter, now) => {
                compiled(GONE, &status)
            }
            Ok(false) if self.is_suppressed() => {
                compiled("not of its reasons, sources or scopes", &status)
            }
            Ok(false) => compiled("not in the file", &status),
            Err(error) => not_yet(&format!("the file cannot be read ({error})"), settings, &status),
        };
        let listed = listed.ok();
        let is_stray = listed == Some(true) && !wanted && !settings.format.shares_keys();
        Listing {
            name: settings.name.clone(),
            format: settings.format.name(),
            is_hashed: settings.format.hashes(),
            listed,
            wanted,
            is_held: is_stray && status.held_back.is_some(),
            is_uncompiled: status.uncompiled,
            detail,
            settled,
        }
    }

    /// Whether it is suppressed at all, for whatever reason and scope.
    fn is_suppressed(&self) -> bool {
        let (rules, all) = (self.rules, Filter::default());
        let is_forgotten = self.forgotten.is_suppressed(self.key, &all, self.now);
        is_forgotten
            || self.standings.iter().any(|(scope, standing)| {
                rules.verdict(self.key, &Gist::of(standing), scope, &all, self.now).is_some()
            })
    }
}

/// What the file says, the MTA finds once the command has run, where there is one: that a row is
/// there, and that it is not.
fn compiled(what: &str, status: &Status) -> (String, bool) {
    match &status.error {
        Some(error) if status.uncompiled => (format!("{what}, but: {error}"), true),
        None if status.uncompiled => {
            (format!("{what}; pending: its command has yet to end"), false)
        }
        _ => (what.to_owned(), true),
    }
}

fn not_yet(what: &str, settings: &Settings, status: &Status) -> (String, bool) {
    let often = settings.min_interval;
    match &status.error {
        Some(error) => (format!("{what}: {error}"), true),
        None if status.pending && !often.is_zero() => {
            let often = show_duration(often);
            (format!("{what}; pending: it is written once in {often} at most"), false)
        }
        None if status.pending => (format!("{what}; pending"), false),
        None => (what.to_owned(), false),
    }
}
