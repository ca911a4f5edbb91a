//! Going through keys in order: of several runs, and of what has changed beside them.

use std::io;
use std::sync::Arc;

use super::block::Entries;
use super::run::Run;
use super::{Base, Changed};
use crate::store::StoreError;

/// Changes that are taken at once.
const CHANGES: usize = 512;

/// Where a scan is in a run.
struct Cursor {
    run: Arc<Run>,
    next: usize,
    entries: Entries,
    /// It stands at an entry.
    is_there: bool,
}

impl Cursor {
    /// At the first key that is not before `from`.
    fn at(run: &Arc<Run>, from: &[u8]) -> io::Result<Cursor> {
        let next = run.block_of(from).unwrap_or(0);
        let (run, entries) = (Arc::clone(run), Entries::default());
        let mut cursor = Cursor { run, next, entries, is_there: true };
        while cursor.is_there && (cursor.entries.key() < from || cursor.entries.key().is_empty()) {
            cursor.advance()?;
        }
        Ok(cursor)
    }

    fn advance(&mut self) -> io::Result<()> {
        self.is_there = self.run.told(self.entries.advance())?;
        while !self.is_there && self.next < self.run.blocks() {
            self.entries.begin(self.run.block(self.next)?);
            self.next += 1;
            self.is_there = self.run.told(self.entries.advance())?;
        }
        Ok(())
    }
}

/// Goes through runs: of a key that several have, the newest counts.
pub(super) struct Joined {
    /// The newest first.
    cursors: Vec<Cursor>,
    /// The one that stands at the present key.
    at: Option<usize>,
}

impl Joined {
    /// Begins before the first key that is not before `from`. The newest run is the last.
    ///
    /// # Errors
    /// When a run is damaged.
    pub(super) fn at(runs: &[Arc<Run>], from: &[u8]) -> io::Result<Joined> {
        let cursors = runs.iter().rev().map(|run| Cursor::at(run, from));
        Ok(Joined { cursors: cursors.collect::<io::Result<_>>()?, at: None })
    }

    /// Goes to the next key; says whether there is one.
    ///
    /// # Errors
    /// When a run is damaged.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        if let Some(at) = self.at {
            for older in at + 1..self.cursors.len() {
                let (cursor, present) = (&self.cursors[older], &self.cursors[at]);
                if cursor.is_there && cursor.entries.key() == present.entries.key() {
                    self.cursors[older].advance()?;
                }
            }
            self.cursors[at].advance()?;
        }
        let there = self.cursors.iter().enumerate().filter(|(_, cursor)| cursor.is_there);
        let least = there.min_by(|(_, a), (_, b)| a.entries.key().cmp(b.entries.key()));
        self.at = least.map(|(at, _)| at);
        Ok(self.at.is_some())
    }

    pub(super) fn key(&self) -> &[u8] {
        self.at.map_or(&[], |at| self.cursors[at].entries.key())
    }

    pub(super) fn value(&self) -> &[u8] {
        self.at.map_or(&[], |at| self.cursors[at].entries.value())
    }
}

/// Goes through all keys of a range: of the runs, and in their places those that have changed.
pub(in crate::store) struct Scan {
    base: Arc<Base>,
    /// The next key is not before it.
    from: Vec<u8>,
    /// It ends before this.
    end: Vec<u8>,
    /// The next changes, and before which key they are all.
    changes: std::vec::IntoIter<Changed>,
    up_to: Vec<u8>,
    /// The runs, which have what has changed no more, and the key that they stand at.
    runs: Arc<[Arc<Run>]>,
    joined: Option<Joined>,
    is_there: bool,
    /// The present entry.
    key: Vec<u8>,
    value: Vec<u8>,
    has_ended: bool,
}

impl Scan {
    pub(super) fn new(base: Arc<Base>, from: Vec<u8>, end: Vec<u8>) -> Scan {
        Scan {
            base,
            up_to: from.clone(),
            from,
            end,
            changes: Vec::new().into_iter(),
            runs: Arc::new([]),
            joined: None,
            is_there: false,
            key: Vec::new(),
            value: Vec::new(),
            has_ended: false,
        }
    }

    /// Goes to the next entry; says whether there is one.
    ///
    /// # Errors
    /// When a run is damaged. It has ended then.
    pub(in crate::store) fn advance(&mut self) -> Result<bool, StoreError> {
        if self.has_ended {
            return Ok(false);
        }
        let found = self.step();
        self.has_ended = !matches!(found, Ok(true));
        Ok(found?)
    }

    pub(in crate::store) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(in crate::store) fn value(&self) -> &[u8] {
        &self.value
    }

    fn step(&mut self) -> io::Result<bool> {
        loop {
            let change = self.changes.as_slice().first();
            let joined = self.joined.as_ref().filter(|_| self.is_there);
            let run = joined.map(Joined::key).filter(|key| *key < self.up_to.as_slice());
            let (from_runs, both) = match (run, change) {
                (None, None) if self.up_to >= self.end => return Ok(false),
                (None, None) => {
                    self.take_more()?;
                    continue;
                }
                (Some(run), Some((changed, _))) => (run < &**changed, run == &**changed),
                (run, _) => (run.is_some(), false),
            };
            self.key.clear();
            self.value.clear();
            if let Some(joined) = self.joined.as_mut().filter(|_| from_runs || both) {
                self.key.extend_from_slice(joined.key());
                self.value.extend_from_slice(joined.value());
                self.is_there = joined.advance()?;
            }
            if !from_runs && let Some((key, value)) = self.changes.next() {
                (self.key, self.value) = (key.into_vec(), value.into_vec());
            }
            // An empty one is gone.
            if !self.value.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Takes the next changes, and with them the runs: what is a change no more is in those.
    fn take_more(&mut self) -> io::Result<()> {
        std::mem::swap(&mut self.from, &mut self.up_to);
        let (changes, runs) = self.base.look(&self.from, &self.end, CHANGES);
        self.up_to = match changes.last() {
            // Right behind it.
            Some((last, _)) if changes.len() == CHANGES => [last, &[0][..]].concat(),
            _ => self.end.clone(),
        };
        if self.joined.is_none() || !Arc::ptr_eq(&runs, &self.runs) {
            let mut joined = Joined::at(&runs, &self.from)?;
            self.is_there = joined.advance()?;
            (self.joined, self.runs) = (Some(joined), runs);
        }
        self.changes = changes.into_iter();
        Ok(())
    }
}
