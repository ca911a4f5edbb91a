//! A bounded set of transient failures, one per message, that merges in any order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Class, MessageKey, SourceName, Time};

/// Most failures kept: the latest this many. A rule's count cannot be larger.
pub const TALLY_MAX: usize = 32;

/// One transient failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bounce {
    /// It stands despite the lifts and deliveries that were recorded before this one, whatever
    /// their dates.
    pub despite: Option<u64>,
    /// When it happened.
    pub at: Time,
    /// Who told it.
    pub source: SourceName,
    /// Why it failed, where that is known.
    pub class: Option<Class>,
}

impl Bounce {
    /// One that its date alone orders.
    pub fn at(at: Time, source: SourceName) -> Bounce {
        Bounce { despite: None, at, source, class: None }
    }
}

/// The latest [`TALLY_MAX`] transient failures, keyed by message, so that a retry counts once.
///
/// A message that is told at several times keeps the latest, and the latest place. Both then only
/// grow, so what falls out can never be wanted again, and the set is the same in whatever order it
/// was filled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally(BTreeMap<MessageKey, Bounce>);

impl Tally {
    /// Adds a failure; says whether anything changed.
    pub fn add(&mut self, message: MessageKey, bounce: Bounce) -> bool {
        match self.0.get_mut(&message) {
            Some(known) => {
                let despite = known.despite.max(bounce.despite);
                let order = |bounce: &Bounce| (bounce.at, bounce.source.clone(), bounce.class);
                let (at, source, class) = order(known).max(order(&bounce));
                let merged = Bounce { despite, at, source, class };
                return std::mem::replace(known, merged) != *known;
            }
            None => {
                if self.0.len() >= TALLY_MAX && !self.make_room(message, &bounce) {
                    return false;
                }
                self.0.insert(message, bounce);
            }
        }
        true
    }

    /// The failures of earlier forms of the store.
    pub(super) fn from_parts(parts: impl Iterator<Item = (MessageKey, Bounce)>) -> Tally {
        Tally(parts.collect())
    }

    /// The failures, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Bounce> {
        self.0.values()
    }

    /// The failures with their messages.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (MessageKey, &Bounce)> {
        self.0.iter().map(|(message, bounce)| (*message, bounce))
    }

    /// That of a message.
    pub(super) fn get(&self, message: MessageKey) -> Option<&Bounce> {
        self.0.get(&message)
    }

    /// Takes a message away; says whether it was there.
    pub(super) fn remove(&mut self, message: MessageKey) -> bool {
        self.0.remove(&message).is_some()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops the least one if the new one is greater.
    fn make_room(&mut self, message: MessageKey, bounce: &Bounce) -> bool {
        let least = self.0.iter().map(|(key, known)| (known.clone(), *key)).min();
        match least {
            Some((known, key)) if (&known, key) < (bounce, message) => {
                self.0.remove(&key);
                true
            }
            _ => false,
        }
    }
}
