//! What has changed, for those who export: how much, and which addresses it was about.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Most changes whose addresses are known. Who is further behind has to look at all of them.
const RECENT_MAX: usize = 65_536;

/// What has changed since the start, for those who export. It only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes that can alter an export.
    pub verdicts: u64,
}

/// The addresses that the last changes were about.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    /// The number of the last change, as in [`Changes::verdicts`].
    last: u64,
    /// The keys of the addresses, up to that change.
    keys: VecDeque<Box<str>>,
}

impl Recent {
    /// Notes the changes before number `last`, each with the key of its address. Those that are
    /// missing were about nobody knows whom.
    pub fn note(&self, keys: Vec<Box<str>>, last: u64) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.last.saturating_add(keys.len() as u64) != last {
            queue.keys.clear();
        }
        queue.keys.extend(keys);
        let excess = queue.keys.len().saturating_sub(RECENT_MAX);
        queue.keys.drain(..excess);
        queue.last = last;
    }

    /// The keys of the addresses that have changed since change number `seen`, each once. `None`:
    /// they are not all known.
    pub fn since(&self, seen: u64) -> Option<Vec<Box<str>>> {
        let queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = usize::try_from(queue.last.saturating_sub(seen)).ok()?;
        let start = queue.keys.len().checked_sub(missed)?;
        let mut keys: Vec<Box<str>> = queue.keys.range(start..).cloned().collect();
        keys.sort_unstable();
        keys.dedup();
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Vec<Box<str>> {
        keys.iter().map(|key| (*key).into()).collect()
    }

    #[test]
    fn what_was_missed_is_known_or_known_to_be_unknown() {
        let recent = Recent::default();
        assert_eq!(recent.since(0), Some(vec![]));
        recent.note(keys(&["b", "a"]), 2);
        recent.note(keys(&["b"]), 3);
        assert_eq!(recent.since(0), Some(keys(&["a", "b"])));
        assert_eq!(recent.since(2), Some(keys(&["b"])));
        assert_eq!(recent.since(3), Some(vec![]));
        recent.note(vec![], 4);
        assert_eq!(recent.since(3), None, "change 4 was about nobody knows whom");
        assert_eq!(recent.since(4), Some(vec![]));
        recent.note(keys(&["c"]), 5);
        assert_eq!(recent.since(4), Some(keys(&["c"])));
        assert_eq!(recent.since(3), None);
    }

    #[test]
    fn who_is_too_far_behind_must_look_at_all() {
        let recent = Recent::default();
        for number in 1..=RECENT_MAX as u64 + 10 {
            recent.note(keys(&["a"]), number);
        }
        assert_eq!(recent.since(9), None);
        assert_eq!(recent.since(10), Some(keys(&["a"])));
    }
}
