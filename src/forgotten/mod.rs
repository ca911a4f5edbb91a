//! Who was forgotten: keyed hashes of addresses, and why each is suppressed all the same.
//!
//! Beside them, until it is done, the addresses that are still to be erased: they are in the
//! journal until then. Nothing here erases anything. Both files are small, and written as a whole.

mod form;
mod person;
mod share;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::model::{Address, Filter, Scope, SourceName, Suppression, Time};

pub use form::HASHES;
pub use person::{KeptGround, KeptLift, Person};
pub use share::{Key, Shared};

/// What a suppression says of itself that is known by a hash alone.
const NOTE: &str = "forgotten, suppressed";

type Hash = [u8; 32];

/// Who was forgotten, and who is still to be erased.
pub struct Forgotten {
    state: PathBuf,
    inner: RwLock<Inner>,
}

#[derive(Clone, Default)]
struct Inner {
    /// The first is made with the first who is forgotten; the others are other hosts'.
    keys: Vec<Key>,
    /// By the hash of each, under any of the keys.
    people: HashMap<Hash, Person>,
    pending: BTreeMap<String, Pending>,
}

/// Keys of rows in exports of hashes, by what makes the hash.
pub type HashRows = BTreeMap<String, Vec<String>>;

/// Somebody who is to be forgotten.
#[derive(Clone, Debug)]
pub struct ToForget {
    /// Who.
    pub address: Address,
    /// Why they are suppressed.
    pub grounds: Vec<KeptGround>,
    /// Their rows in exports of hashes.
    pub rows: HashRows,
}

/// In which segments an address is still to be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The first that may have it.
    pub from: u32,
    /// The last that something was told in since it was forgotten.
    pub to: u32,
    /// Whether more than the journal may have it.
    pub everywhere: bool,
}

/// What was told of somebody who was forgotten.
#[derive(Clone, Debug)]
pub struct ToldLater {
    /// Of whom.
    pub address: Address,
    /// The segment that it is in.
    pub segment: u32,
    /// What it suppresses, if it does.
    pub ground: Option<KeptGround>,
    /// What it ends, if it does.
    pub lift: Option<KeptLift>,
    /// When it came.
    pub received: Time,
}

impl Forgotten {
    /// Those of a state directory.
    ///
    /// # Errors
    /// When a file cannot be read, or is in no form that this version has written: whoever is
    /// forgotten in it would be mailed again.
    pub fn open(state: &Path) -> io::Result<Forgotten> {
        let forgotten = Forgotten::look(state)?;
        let mut inner = forgotten.write();
        let before = inner.pending.len();
        // Of whom there is no hash, nothing was changed yet: a crash came before it began, and
        // without a hash nobody would be suppressed.
        let mut pending = std::mem::take(&mut inner.pending);
        pending.retain(|address, _| inner.find(address).next().is_some());
        inner.pending = pending;
        if inner.pending.len() != before {
            form::save_pending(state, &inner.pending)?;
        }
        drop(inner);
        Ok(forgotten)
    }

    /// The same, for whoever changes nothing.
    ///
    /// # Errors
    /// The same.
    pub fn look(state: &Path) -> io::Result<Forgotten> {
        let inner = RwLock::new(form::read(state)?);
        Ok(Forgotten { state: state.to_owned(), inner })
    }

    /// Nobody, of no directory.
    pub fn nobody() -> Forgotten {
        Forgotten { state: PathBuf::new(), inner: RwLock::default() }
    }

    /// Forgets people: durably, before anything of them is erased.
    ///
    /// # Errors
    /// When the disk fails; then they may be forgotten all the same.
    pub fn forget(&self, people: Vec<ToForget>, now: Time) -> io::Result<()> {
        let mut inner = self.write();
        let before = inner.clone();
        let noted = self.note(&mut inner, people, now);
        if noted.is_err() {
            // Nothing may be erased of whom no hash is durable.
            *inner = before;
        }
        noted
    }

    fn note(&self, inner: &mut Inner, people: Vec<ToForget>, now: Time) -> io::Result<()> {
        if inner.keys.is_empty() {
            let mut key = Key::default();
            SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("no random bytes"))?;
            inner.keys.push(key);
        }
        for ToForget { address, .. } in &people {
            let pending = inner.pending.entry(address.key().to_owned());
            let pending = pending.or_insert(Pending { from: 0, to: 0, everywhere: true });
            (pending.from, pending.everywhere) = (0, true);
        }
        form::save_pending(&self.state, &inner.pending)?;
        for ToForget { address, grounds, rows } in people {
            // Whom another host has forgotten has a hash by its key.
            let hashes = inner.hashes(address.key());
            let known = hashes.iter().find(|hash| inner.people.contains_key(*hash));
            let Some(hash) = known.or(hashes.first()) else { continue };
            let person = inner.people.entry(*hash).or_insert_with(|| Person::new(now));
            grounds.into_iter().for_each(|ground| person.add(ground));
            person.rows.extend(rows);
        }
        form::save_people(&self.state, inner)
    }

    /// Adds why people are suppressed who were forgotten.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn add(&self, grounds: Vec<(&Address, KeptGround)>) -> io::Result<()> {
        let mut inner = self.write();
        for (address, ground) in grounds {
            if let Some(person) = inner.find_mut(address.key()) {
                person.add(ground);
            }
        }
        form::save_people(&self.state, &inner)
    }

    /// Ends what a source alone has told of people who were forgotten; says of how many it told
    /// anything, and how many of these nothing else suppresses. With `dry_run` it only counts.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn retire(&self, source: &SourceName, dry_run: bool, now: Time) -> io::Result<(u64, u64)> {
        let mut inner = self.write();
        let (mut of_it, mut freed) = (0, 0);
        for kept in inner.people.values_mut() {
            let mut person = kept.clone();
            if !person.retire(source) {
                continue;
            }
            let all = Filter::default();
            let [was, is] = [&*kept, &person].map(|it| it.live(&all, now).next().is_some());
            of_it += 1;
            freed += u64::from(was && !is);
            if !dry_run {
                *kept = person;
            }
        }
        if of_it > 0 && !dry_run {
            form::save_people(&self.state, &inner)?;
        }
        Ok((of_it, freed))
    }

    /// Whether they were forgotten.
    pub fn has(&self, address: &str) -> bool {
        self.read().find(address).next().is_some()
    }

    /// What is known of somebody who was forgotten.
    pub fn person(&self, address: &str) -> Option<Person> {
        let inner = self.read();
        inner.find(address).cloned().reduce(Person::with)
    }

    /// Why an address that was forgotten is suppressed in one of these scopes.
    pub fn suppression(
        &self,
        address: &Address,
        scopes: &[Scope],
        filter: &Filter,
        now: Time,
    ) -> Option<Suppression> {
        let inner = self.read();
        let in_scope = |ground: &&KeptGround| scopes.contains(&ground.scope);
        let live = inner.find(address.key()).flat_map(|person| person.live(filter, now));
        let live = live.filter(in_scope);
        let KeptGround { scope, reason, since, until, .. } =
            live.min_by_key(|it| it.reason)?.clone();
        Some(Suppression {
            address: address.received().into(),
            scope,
            reason,
            since,
            until,
            sources: Vec::new(),
            note: Some(NOTE.into()),
        })
    }

    /// The rows that one of them has in exports of these hashes, while suppressed.
    pub fn rows_of(&self, address: &str, hash: &str, filter: &Filter, now: Time) -> Vec<String> {
        let inner = self.read();
        let rows = inner.find(address).flat_map(|person| person.live_rows(hash, filter, now));
        rows.cloned().collect()
    }

    /// The rows that all of them have there.
    pub fn rows(&self, hash: &str, filter: &Filter, now: Time) -> Vec<String> {
        let inner = self.read();
        let rows = inner.people.values().flat_map(|it| it.live_rows(hash, filter, now));
        rows.cloned().collect()
    }

    /// When the next of these rows is to go.
    pub fn next_end(&self, hash: &str, filter: &Filter, now: Time) -> Option<Time> {
        let inner = self.read();
        let with_rows = inner.people.values().filter(|person| person.rows.contains_key(hash));
        let ends = with_rows
            .filter_map(|person| person.live(filter, now).map(|ground| ground.until).max()?.time());
        ends.min_by_key(|end| end.nanos())
    }

    /// The rows there of those whom nothing suppresses any more.
    pub fn rows_let_go(&self, hash: &str, now: Time) -> Vec<String> {
        let inner = self.read();
        let all = Filter::default();
        let over = inner.people.values().filter(|person| person.live(&all, now).next().is_none());
        over.filter_map(|person| person.rows.get(hash)).flatten().cloned().collect()
    }

    /// Whether somebody who was forgotten is suppressed for what the filter admits.
    pub fn is_suppressed(&self, address: &str, filter: &Filter, now: Time) -> bool {
        let inner = self.read();
        inner.find(address).any(|person| person.live(filter, now).next().is_some())
    }

    /// How many were forgotten.
    pub fn count(&self) -> usize {
        self.read().people.len()
    }

    /// Notes what was told of people who were forgotten, and where, so that it is erased soon.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn tell(&self, told: Vec<ToldLater>) -> io::Result<()> {
        let mut inner = self.write();
        for ToldLater { address, segment, ground, lift, received } in told {
            let new = Pending { from: segment, to: segment, everywhere: false };
            let pending = inner.pending.entry(address.key().to_owned()).or_insert(new);
            (pending.from, pending.to) = (pending.from.min(segment), pending.to.max(segment));
            if let Some(lift) = lift {
                inner.each_of(address.key(), |person| person.lift(lift.clone()));
                continue;
            }
            let Some(person) = inner.find_mut(address.key()) else { continue };
            person.last = person.last.max(Some(received));
            person.told = person.told.saturating_add(1);
            ground.into_iter().for_each(|ground| person.add(ground));
        }
        form::save_pending(&self.state, &inner.pending)?;
        form::save_people(&self.state, &inner)
    }

    /// What is still to be erased.
    pub fn pending(&self) -> BTreeMap<String, Pending> {
        self.read().pending.clone()
    }

    /// Whether there is anybody of whom more than the journal may have something.
    pub fn is_erasing(&self) -> bool {
        self.read().pending.values().any(|pending| pending.everywhere)
    }

    /// Whether more than the journal may still have an address.
    pub fn is_everywhere(&self, address: &str) -> bool {
        self.read().pending.get(address).is_some_and(|pending| pending.everywhere)
    }

    /// Notes that these are erased from the segments before `below`, and from all else.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn erased(&self, done: &BTreeMap<String, Pending>, below: u32) -> io::Result<()> {
        let mut inner = self.write();
        inner.pending.retain(|address, pending| {
            let Some(done) = done.get(address) else { return true };
            // Asked for once more meanwhile, it begins again.
            let is_new = pending.everywhere && !done.everywhere;
            if !is_new {
                *pending = Pending { from: below, everywhere: false, ..*pending };
            }
            is_new || pending.to >= below
        });
        form::save_pending(&self.state, &inner.pending)
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The hashes of an address, by each key.
    fn hashes(&self, address: &str) -> Vec<Hash> {
        self.keys.iter().filter_map(|key| share::hash(key, address)).collect()
    }

    /// All that is known of somebody: hosts that forgot the same person have a hash each.
    fn find(&self, address: &str) -> impl Iterator<Item = &Person> {
        self.hashes(address).into_iter().filter_map(move |hash| self.people.get(&hash))
    }

    fn find_mut(&mut self, address: &str) -> Option<&mut Person> {
        let hash = self.hashes(address).into_iter().find(|hash| self.people.contains_key(hash))?;
        self.people.get_mut(&hash)
    }

    fn each_of(&mut self, address: &str, each: impl Fn(&mut Person)) {
        for hash in self.hashes(address) {
            self.people.get_mut(&hash).into_iter().for_each(&each);
        }
    }
}
