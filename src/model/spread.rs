//! A bounded set of failures that says whether they lie far apart, however many there are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bounce, MessageKey, Tally};

/// Most days of which a failure is kept: the latest this many.
const DAYS_MAX: usize = 32;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The latest failures, and beside them the latest of each of the last days (UTC) that had any.
///
/// The latest alone would all be of one day where much is sent, and never say that an address has
/// failed for weeks. Each day keeps its greatest, and the latest days stay, so the set is the same
/// in whatever order it was filled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    recent: Tally,
    days: BTreeMap<i32, (Bounce, MessageKey)>,
}

impl Spread {
    /// Adds a failure; says whether anything changed.
    pub fn add(&mut self, message: MessageKey, bounce: Bounce) -> bool {
        // Every time that there is lies within some 300 years of 1970.
        let day = bounce.at.second().div_euclid(DAY_SECONDS) as i32;
        let of_day = (bounce.clone(), message);
        let changed = self.recent.add(message, bounce);
        match self.days.get(&day) {
            Some(known) if *known >= of_day => return changed,
            Some(_) => {}
            None if self.days.len() >= DAYS_MAX => {
                if self.days.first_key_value().is_some_and(|(first, _)| day < *first) {
                    return changed;
                }
                self.days.pop_first();
            }
            None => {}
        }
        self.days.insert(day, of_day);
        true
    }

    /// The failures, one per message, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Bounce> {
        self.pairs().map(|(_, bounce)| bounce)
    }

    /// The failures with their messages.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (MessageKey, &Bounce)> {
        let days = self.days.values().map(|(bounce, message)| (*message, bounce));
        let each: BTreeMap<MessageKey, &Bounce> = days.chain(self.recent.pairs()).collect();
        each.into_iter()
    }

    /// The latest of a message.
    pub(super) fn get(&self, message: MessageKey) -> Option<&Bounce> {
        let of_days = self.days.values().filter(|(_, known)| *known == message);
        self.recent.get(message).into_iter().chain(of_days.map(|(bounce, _)| bounce)).max()
    }

    /// Takes away what is known of a message; says whether anything was.
    pub(super) fn remove(&mut self, message: MessageKey) -> bool {
        let before = self.days.len();
        self.days.retain(|_, (_, known)| *known != message);
        self.recent.remove(message) || self.days.len() < before
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.days.is_empty()
    }
}
