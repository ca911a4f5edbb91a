//! Masses of new suppressions that are held back: which there are, who is in each, and how many
//! new ones came of late of each source, domain and class.
//!
//! Whether a ground is held stands in its standing; here is what finds it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::codec::{Form, decode, encode};
use super::keys::{self, HOLD, MASS, RATE};
use super::reader::strange_key;
use super::{Batch, Reader, StoreError, Writer};
use crate::model::{Held, Hold, MassId, Scope, Time};

/// What the suppressions of a mass have in common. What masses are not told apart by is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kin {
    /// The source that told them.
    pub source: Box<str>,
    /// The domain of their addresses.
    pub domain: Box<str>,
    /// The class of the failures, or what else they are.
    pub class: Box<str>,
}

/// A mass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mass {
    /// What they have in common.
    pub kin: Kin,
    /// When the first of them happened that is held.
    pub since: Time,
    /// When the latest did.
    pub last: Time,
    /// How many are held.
    pub count: u64,
    /// It is being let go.
    pub released: bool,
}

/// How many new suppressions of a kin there were of late.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// By slots of time.
    pub slots: BTreeMap<u64, u32>,
    /// When the latest of them was received, in seconds.
    pub received: i64,
    /// The mass that they belong to, if there is one.
    pub mass: Option<MassId>,
    /// The mass was let go: the rest of it is not held.
    pub passes: bool,
}

impl Form for Mass {}
impl Form for Rate {}

impl Form for MassId {}
impl Form for Vec<Held> {}
impl Form for Option<Hold> {}

/// Under the number of no mass stands what masses held before a correction took its grounds.
const LEFT: MassId = MassId(0);

/// An address and a scope that a mass holds.
pub type HeldRow = (String, Scope);

impl Writer {
    /// By which rule masses are held, by the journal: `Some(None)`, nothing is; `None`, it does not
    /// say so.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn hold(&self, batch: &mut Batch) -> Result<Option<Option<Hold>>, StoreError> {
        self.get(batch, vec![HOLD])?.map(decode).transpose()
    }

    /// Notes that.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_hold(&self, batch: &mut Batch, hold: Option<Hold>) -> Result<(), StoreError> {
        self.put(batch, vec![HOLD], Some(encode(&hold)))
    }

    /// How many new suppressions of a kin there were of late.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn rate(&self, batch: &mut Batch, kin: &Kin) -> Result<Rate, StoreError> {
        let stored = self.get(batch, keys::rate(kin))?;
        Ok(stored.map(decode).transpose()?.unwrap_or_default())
    }

    /// Notes that.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_rate(&self, batch: &mut Batch, kin: &Kin, rate: &Rate) -> Result<(), StoreError> {
        self.put(batch, keys::rate(kin), Some(encode(rate)))
    }

    /// A mass.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn mass(&self, batch: &mut Batch, id: MassId) -> Result<Option<Mass>, StoreError> {
        self.get(batch, keys::mass(id))?.map(decode).transpose()
    }

    /// Notes a mass, or that there is none any more.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_mass(
        &self,
        batch: &mut Batch,
        id: MassId,
        mass: Option<&Mass>,
    ) -> Result<(), StoreError> {
        self.put(batch, keys::mass(id), mass.map(encode))
    }

    /// The number of a mass that is to be.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn next_mass(&self, batch: &mut Batch) -> Result<MassId, StoreError> {
        let last = self.get(batch, vec![MASS])?.map(decode::<MassId>).transpose()?;
        let next = MassId(last.map_or(1, |MassId(last)| last + 1));
        self.put(batch, vec![MASS], Some(encode(&next)))?;
        Ok(next)
    }

    /// Notes that a mass holds an address, or no longer does; says whether that is new.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_held(
        &self,
        batch: &mut Batch,
        id: MassId,
        (address, scope): (&str, &Scope),
        is_held: bool,
    ) -> Result<bool, StoreError> {
        let key = keys::held_by(id, address, scope);
        let was_held = self.get(batch, key.clone())?.is_some();
        if was_held != is_held {
            self.put(batch, key, is_held.then(|| encode(&id)))?;
        }
        Ok(was_held != is_held)
    }

    /// Notes what was held of an address, and is nothing by the present rules.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn put_left(
        &self,
        batch: &mut Batch,
        (address, scope): (&str, &Scope),
        held: &Vec<Held>,
    ) -> Result<(), StoreError> {
        self.put(batch, keys::held_by(LEFT, address, scope), Some(encode(held)))
    }

    /// What was noted so, which is forgotten.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn take_left(
        &self,
        batch: &mut Batch,
        (address, scope): (&str, &Scope),
    ) -> Result<Vec<Held>, StoreError> {
        let key = keys::held_by(LEFT, address, scope);
        let held = self.get(batch, key.clone())?.map(decode).transpose()?;
        if held.is_some() {
            self.put(batch, key, None)?;
        }
        Ok(held.unwrap_or_default())
    }

    /// Forgets the rates of which nothing was received since `before`.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn forget_rates(&self, batch: &mut Batch, before: Time) -> Result<(), StoreError> {
        for pair in self.tree.scan_prefix([RATE]) {
            let (key, value) = pair?;
            if decode::<Rate>(&value)?.received < before.second() {
                self.put(batch, key.to_vec(), None)?;
            }
        }
        Ok(())
    }
}

impl Reader {
    /// By which rule masses are held, by the journal. `None`: nothing is, or it does not say so.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn hold(&self) -> Result<Option<Hold>, StoreError> {
        let stored = self.tree()?.get([HOLD])?;
        Ok(stored.map(|stored| decode(&stored)).transpose()?.flatten())
    }

    /// How many new suppressions of a kin there were of late.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn rate(&self, kin: &Kin) -> Result<Rate, StoreError> {
        let stored = self.tree()?.get(keys::rate(kin))?;
        Ok(stored.map(|stored| decode(&stored)).transpose()?.unwrap_or_default())
    }

    /// A mass.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn mass(&self, id: MassId) -> Result<Option<Mass>, StoreError> {
        let stored = self.tree()?.get(keys::mass(id))?;
        stored.map(|stored| decode(&stored)).transpose()
    }

    /// The number of the last mass that there was; 0: there was none.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn last_mass(&self) -> Result<MassId, StoreError> {
        let stored = self.tree()?.get([MASS])?;
        Ok(stored.map(|stored| decode(&stored)).transpose()?.unwrap_or(MassId(0)))
    }

    /// What was held of an address, and is nothing by the present rules.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn left(&self, (address, scope): (&str, &Scope)) -> Result<Vec<Held>, StoreError> {
        let stored = self.tree()?.get(keys::held_by(LEFT, address, scope))?;
        Ok(stored.map(|stored| decode(&stored)).transpose()?.unwrap_or_default())
    }

    /// The masses that are held, oldest first; not those of which nothing is held any more.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn masses(&self) -> Result<Vec<(MassId, Mass)>, StoreError> {
        let (tree, mut masses) = (self.tree()?, Vec::new());
        let mut from = vec![MASS, 0];
        // From mass to mass, past the addresses of each.
        while let Some(pair) = tree.range(from..vec![MASS + 1]).next() {
            let (key, value) = pair?;
            let id = keys::mass_id(&key).ok_or_else(strange_key)?;
            if *keys::mass(id) == *key {
                let mass: Mass = decode(&value)?;
                // Too few may be counted; see where they are freed.
                if mass.released || mass.count > 0 || !self.held_by(id, 1)?.is_empty() {
                    masses.push((id, mass));
                }
            }
            let Some(next) = id.0.checked_add(1) else { break };
            from = keys::mass(MassId(next));
        }
        Ok(masses)
    }

    /// Up to `limit` of the addresses that a mass holds.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn held_by(&self, id: MassId, limit: usize) -> Result<Vec<HeldRow>, StoreError> {
        let prefix = keys::mass(id);
        let rows = self.tree()?.scan_prefix(&prefix).filter_map(|pair| match pair {
            Ok((key, _)) if key.len() == prefix.len() => None,
            Ok((key, _)) => {
                let row = keys::standing_parts(&key[prefix.len() - 1..]);
                let row = row.map(|(address, scope)| (address.to_owned(), scope));
                Some(row.ok_or_else(strange_key))
            }
            Err(error) => Some(Err(error.into())),
        });
        rows.take(limit).collect()
    }
}
