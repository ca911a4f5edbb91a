//! The guard before an export's file: how much may vanish from it without a reason.
//!
//! Counts rows that vanish, whatever comes meanwhile. What it holds back are removals alone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::Rows;

/// Keys of rows, as hashes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys {
    hashes: Vec<u64>,
    sorted: bool,
}

impl Keys {
    /// Adds a key.
    pub(super) fn add(&mut self, key: &str) {
        self.hashes.push(hash(key));
        self.sorted = false;
    }

    /// To be called when all are there, before one is looked for.
    pub(super) fn sort(&mut self) {
        self.hashes.sort_unstable();
        self.sorted = true;
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        debug_assert!(self.sorted || self.hashes.is_empty(), "sort them first");
        self.hashes.binary_search(&hash(key)).is_ok()
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.hashes.len() as u64
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// So many percent are no bound: nothing is held back for its number.
const ALL: u8 = 100;

/// What must hold before rows vanish.
#[derive(Debug)]
pub struct Guard {
    /// The largest unexplained loss, in percent of the rows of the present file.
    pub max_shrink: u8,
    /// Whether to write whatever is lost.
    pub force: bool,
    /// The rows that are known to be gone on purpose.
    pub explained: Keys,
    /// Whether rows are held back already: then each that nobody can explain is.
    pub held: bool,
    /// The rows that the last writing held back. They stay, whatever became of the file since.
    pub kept: Arc<Rows>,
    /// The rows that the file had when it was last ours, if somebody else has written it since.
    pub ours: Option<u64>,
    /// Whether we have ever written the file: what another hand puts there later takes our rows
    /// beside its own lines. A file that we never wrote is left alone.
    pub known: bool,
    /// Whether we wrote it in another form: its rows can be replaced, and never joined with ours.
    pub other_form: bool,
}

impl Guard {
    /// One that knows no reason, and lets so many percent go.
    pub fn new(max_shrink: u8) -> Guard {
        Guard {
            max_shrink,
            force: false,
            explained: Keys::default(),
            held: false,
            kept: Arc::default(),
            ours: None,
            known: false,
            other_form: false,
        }
    }

    /// Whether so many rows may vanish of those that are there, for no known reason.
    pub(super) fn allows(&self, unexplained: u64, old: u64, new: u64) -> bool {
        if self.force || unexplained == 0 {
            return true;
        }
        let most = u64::from(self.max_shrink).saturating_mul(old);
        let too_many = unexplained.saturating_mul(ALL.into()) > most;
        !self.held && (self.max_shrink >= ALL || !too_many && new > 0)
    }

    /// The same, where only the numbers of rows are known.
    pub(super) fn allows_numbers(&self, old: u64, new: u64) -> bool {
        let lost = old.saturating_sub(new);
        self.allows(lost.saturating_sub(self.explained.count()), old, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_percent_is_no_bound() {
        for (old, new) in [(10, 0), (10, 1), (0, 3)] {
            assert!(Guard::new(100).allows(10, old, new), "{old} -> {new}");
            assert!(!Guard::new(99).allows(10, old, new), "{old} -> {new}");
            let held = Guard { held: true, ..Guard::new(100) };
            assert!(!held.allows(10, old, new), "what is held waits for a word");
        }
    }
}
