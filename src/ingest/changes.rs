//! The one place where a change of a verdict is told: which address, in which scope, from what to
//! what, and by which record of the journal.
//!
//! Exports, pushes, live pages and whoever else follows verdicts listen here. Only the last changes
//! are kept one by one, and only in memory: who is further behind, or has just begun, reads all
//! verdicts from the store. A suppression that ends with its term is no change that is told here.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::{Position, Reason, Scope};

/// Most changes that are known one by one.
const RECENT_MAX: usize = 65_536;

/// One change of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key of the address.
    pub address: Box<str>,
    /// The scope.
    pub scope: Scope,
    /// The weightiest reason that suppressed it before. `None`: nothing did.
    pub before: Option<Reason>,
    /// The weightiest that does now. The same as before where only its term or its sources differ.
    pub after: Option<Reason>,
    /// The record of the journal that has changed it.
    pub position: Position,
    /// What that record says stands by the order of our journal alone: by its date, a lift covers
    /// it.
    pub by_order: bool,
}

/// The changes since the start, numbered from 1. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<Told>);

#[derive(Debug)]
struct Told {
    /// Which process has numbered them: another begins at 1 again.
    run: u64,
    /// The number of the last change.
    last: watch::Sender<u64>,
    /// The last ones, up to that number.
    recent: Mutex<VecDeque<Change>>,
}

impl Default for Told {
    fn default() -> Told {
        // The keys of a hasher are random in each process.
        let run = RandomState::new().hash_one(());
        Told { run, last: watch::Sender::default(), recent: Mutex::default() }
    }
}

impl Changes {
    /// What tells the numbers of this process from those of any other.
    pub fn run(&self) -> u64 {
        self.0.run
    }

    /// Tells changes, in the order in which they were made.
    pub fn tell(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut recent = self.recent();
        let last = *self.0.last.borrow() + changes.len() as u64;
        recent.extend(changes);
        let excess = recent.len().saturating_sub(RECENT_MAX);
        recent.drain(..excess);
        // Before the next can be told: whoever is woken finds them.
        self.0.last.send_replace(last);
    }

    /// Tells that any verdict may be another: the store was opened, or the rules were exchanged.
    pub fn tell_all(&self) {
        let mut recent = self.recent();
        recent.clear();
        self.0.last.send_modify(|last| *last += 1);
    }

    /// The number of the last change.
    pub fn last(&self) -> u64 {
        *self.0.last.borrow()
    }

    /// Follows the number of the last change.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.0.last.subscribe()
    }

    /// The changes behind number `seen`, oldest first. `None`: they are not all known, and whoever
    /// asks has to read all verdicts.
    pub fn since(&self, seen: u64) -> Option<Vec<Change>> {
        self.with_since(seen, |changes| changes.cloned().collect())
    }

    /// The keys of the addresses that those are about, each once, sorted.
    pub fn addresses_since(&self, seen: u64) -> Option<Vec<Box<str>>> {
        let mut keys: Vec<Box<str>> = self
            .with_since(seen, |changes| changes.map(|change| change.address.clone()).collect())?;
        keys.sort_unstable();
        keys.dedup();
        Some(keys)
    }

    /// The number of the last change, and the last one of each verdict behind number `seen`, by its
    /// number. So a verdict has one number until it changes again, whoever asks from where.
    pub fn latest_since(&self, seen: u64) -> (u64, Option<Vec<(u64, Change)>>) {
        let (last, changes) = {
            let recent = self.recent();
            (self.last(), since(&recent, self.last(), seen).map(|some| some.cloned().collect()))
        };
        let latest = |changes: Vec<Change>| {
            let mut known = HashSet::new();
            let mut latest: Vec<(u64, Change)> = (seen + 1..).zip(changes).collect();
            latest.reverse();
            latest
                .retain(|(_, change)| known.insert((change.address.clone(), change.scope.clone())));
            latest.reverse();
            latest
        };
        (last, changes.map(latest))
    }

    fn with_since<T>(
        &self,
        seen: u64,
        take: impl FnOnce(&mut dyn Iterator<Item = &Change>) -> T,
    ) -> Option<T> {
        let recent = self.recent();
        Some(take(&mut since(&recent, self.last(), seen)?))
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.0.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those behind number `seen` of the ones that end with number `last`.
fn since(
    recent: &VecDeque<Change>,
    last: u64,
    seen: u64,
) -> Option<impl Iterator<Item = &Change> + use<'_>> {
    let missed = usize::try_from(last.saturating_sub(seen)).ok()?;
    Some(recent.range(recent.len().checked_sub(missed)?..))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(addresses: &[&str]) -> Vec<Change> {
        let change = |address: &&str| Change {
            address: (*address).into(),
            scope: Scope::Global,
            before: None,
            after: Some(Reason::Manual),
            position: Position::default(),
            by_order: false,
        };
        addresses.iter().map(change).collect()
    }

    fn keys(keys: &[&str]) -> Vec<Box<str>> {
        keys.iter().map(|key| (*key).into()).collect()
    }

    #[test]
    fn what_was_missed_is_known_or_known_to_be_unknown() {
        let told = Changes::default();
        let mut follower = told.follow();
        assert_eq!(told.addresses_since(0), Some(vec![]));
        told.tell(changes(&["b", "a"]));
        told.tell(changes(&["b"]));
        assert_eq!(told.addresses_since(0), Some(keys(&["a", "b"])));
        assert_eq!(told.since(0), Some(changes(&["b", "a", "b"])));
        assert_eq!(told.addresses_since(2), Some(keys(&["b"])));
        assert_eq!((told.since(3), told.last()), (Some(vec![]), 3));
        told.tell_all();
        assert_eq!(told.since(3), None, "change 4 was about nobody knows whom");
        assert_eq!(told.since(4), Some(vec![]));
        told.tell(changes(&["c"]));
        assert_eq!(told.addresses_since(4), Some(keys(&["c"])));
        assert_eq!(told.since(3), None);
        assert_eq!(*follower.borrow_and_update(), 5);
    }

    #[test]
    fn a_verdict_keeps_its_number_until_it_changes_again() {
        let told = Changes::default();
        let latest = |seen| {
            let (last, changes) = told.latest_since(seen);
            let named = |(number, change): (u64, Change)| (number, change.address.into_string());
            (last, changes.map(|some| some.into_iter().map(named).collect::<Vec<_>>()))
        };
        let named = |some: &[(u64, &str)]| -> Vec<(u64, String)> {
            some.iter().map(|(number, key)| (*number, (*key).to_owned())).collect()
        };
        told.tell(changes(&["a", "b", "a", "c"]));
        assert_eq!(latest(0), (4, Some(named(&[(2, "b"), (3, "a"), (4, "c")]))));
        assert_eq!(latest(2), (4, Some(named(&[(3, "a"), (4, "c")]))), "the same numbers");
        let mut scoped = changes(&["c"]);
        scoped[0].scope = Scope::Stream("news".into());
        told.tell(scoped);
        assert_eq!(latest(3), (5, Some(named(&[(4, "c"), (5, "c")]))), "each scope has its own");
        told.tell_all();
        assert_eq!(latest(3), (6, None));
        assert_eq!(latest(6), (6, Some(vec![])));
        assert_ne!(told.run(), Changes::default().run());
    }

    #[test]
    fn who_is_too_far_behind_must_look_at_all() {
        let told = Changes::default();
        for _ in 0..RECENT_MAX + 10 {
            told.tell(changes(&["a"]));
        }
        assert_eq!(told.since(9), None);
        assert_eq!(told.addresses_since(10), Some(keys(&["a"])));
    }
}
