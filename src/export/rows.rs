//! The rows of one address, in one buffer that is used again for the next.

use std::ops::Range;

/// One row: what the reader looks up, and what it finds there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row<'a> {
    /// What the reader looks up; text files are sorted by it.
    pub key: &'a str,
    /// What it finds.
    pub value: &'a str,
}

/// Rows, in the order in which they were added.
#[derive(Debug, Default)]
pub struct Rows {
    text: String,
    /// Where each key and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Rows {
    /// Adds a row, from the parts of its key and of its value.
    pub fn add(&mut self, key: &[&str], value: &[&str]) {
        self.text.extend(key.iter().copied());
        let end_of_key = self.text.len();
        self.text.extend(value.iter().copied());
        self.ends.push((end_of_key, self.text.len()));
    }

    /// Every row.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let part = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        self.ends
            .iter()
            .zip(starts)
            .map(move |((key, end), start)| Row { key: part(start..*key), value: part(*key..*end) })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Drops all, and keeps the room.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

/// Changes to make together.
#[derive(Debug, Default)]
pub(super) struct Edits {
    /// Rows as they are to be.
    pub(super) puts: Rows,
    /// Keys that are to be gone, whatever their values.
    pub(super) deletes: Rows,
}
