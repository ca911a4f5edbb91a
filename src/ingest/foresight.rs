//! What would be held back of corrections, if they were applied now. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hold::{Masses, New};
use crate::model::{Correction, Held, Hold, MassId, Scope, Standing, Time};
use crate::rules::{Finding, Rules};
use crate::store::{Kin, Mass, Rate, Reader, StoreError};

/// A look ahead, over what the store has of masses.
pub struct Foresight {
    reader: Reader,
    rules: Arc<Rules>,
    hold: Option<Hold>,
    now: Time,
    rates: BTreeMap<Kin, Rate>,
    /// The masses that there would be, and the last that there is or would be.
    masses: BTreeMap<MassId, Mass>,
    last: MassId,
}

impl Foresight {
    /// Begins with what the store has.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn new(reader: Reader, rules: Arc<Rules>, now: Time) -> Result<Foresight, StoreError> {
        let (hold, last) = (reader.hold()?, reader.last_mass()?);
        let (rates, masses) = (BTreeMap::new(), BTreeMap::new());
        Ok(Foresight { reader, rules, hold, now, rates, masses, last })
    }

    /// Applies a correction to a standing as the applier would, behind those before it.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn apply(
        &mut self,
        correction: &Correction,
        standing: &mut Standing,
    ) -> Result<(), StoreError> {
        let address = &*correction.address;
        let (before, held) = (self.live(address, standing), standing.held().to_vec());
        correction.apply(standing);
        let after = self.live(address, standing);
        if before.is_empty() && !after.is_empty() {
            self.hold_corrected(correction, &held, standing, &after, self.now)?;
        }
        Ok(())
    }

    fn live(&self, address: &str, standing: &Standing) -> Vec<Finding> {
        self.rules.live(address, standing, self.now)
    }
}

impl Masses for Foresight {
    fn rule(&self) -> Option<Hold> {
        self.hold
    }

    fn rate(&mut self, kin: &Kin) -> Result<Rate, StoreError> {
        let known = self.rates.get(kin).cloned();
        known.map_or_else(|| self.reader.rate(kin), Ok)
    }

    fn put_rate(&mut self, kin: &Kin, rate: Rate) -> Result<(), StoreError> {
        self.rates.insert(kin.clone(), rate);
        Ok(())
    }

    fn mass(&mut self, id: MassId) -> Result<Option<Mass>, StoreError> {
        let known = self.masses.get(&id).cloned();
        known.map_or_else(|| self.reader.mass(id), |mass| Ok(Some(mass)))
    }

    fn next_mass(&mut self) -> Result<MassId, StoreError> {
        self.last.0 += 1;
        Ok(self.last)
    }

    /// Each address and scope is corrected once.
    fn take_left(&mut self, place: (&str, &Scope)) -> Result<Vec<Held>, StoreError> {
        self.reader.left(place)
    }

    fn note_held(&mut self, new: &New<'_>, kin: Kin, id: MassId) -> Result<(), StoreError> {
        let (since, last) = (new.at, new.at);
        let mass = Mass { kin, since, last, count: 1, released: false };
        self.masses.entry(id).or_insert(mass);
        Ok(())
    }
}
