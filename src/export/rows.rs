//! The rows of one address, in one buffer that is used again for the next.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One row: what the reader looks up, and what it finds there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row<'a> {
    /// What the reader looks up; text files are sorted by it.
    pub key: &'a str,
    /// What it finds.
    pub value: &'a str,
}

/// How the key of a line begins that is no row, but stays: no other key holds a line break.
const LINE: &str = "\n";

impl<'a> Row<'a> {
    /// The line, if it is one that is no row.
    pub(super) fn line(&self) -> Option<&'a str> {
        self.key.strip_prefix(LINE)
    }
}

/// Rows, in the order in which they were added.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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

    /// Adds a line of another hand that is no row.
    pub(super) fn add_line(&mut self, line: &str) {
        self.add(&[LINE, line], &[]);
    }

    /// Every row.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.ends.len()).map(|number| self.row(number))
    }

    /// Every row, in ascending order.
    pub fn sorted(&self) -> impl Iterator<Item = Row<'_>> {
        // Most are told apart by how they begin, without a look at their texts.
        let start = |row: Row<'_>| {
            let mut start = [0; 8];
            start.iter_mut().zip(row.key.bytes()).for_each(|(to, from)| *to = from);
            u64::from_be_bytes(start)
        };
        let mut rows: Vec<(u64, Row<'_>)> = self.iter().map(|row| (start(row), row)).collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, row)| row)
    }

    fn row(&self, number: usize) -> Row<'_> {
        let before = number.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = before.map_or(0, |(_, end)| *end);
        let (key, end) = self.ends.get(number).copied().unwrap_or((start, start));
        let part = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        Row { key: part(start..key), value: part(key..end) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Drops all but so many of the first.
    pub fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.text.truncate(self.ends.last().map_or(0, |(_, end)| *end));
    }

    /// Drops all, and keeps the room.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

/// Changes to make together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Edits {
    /// Rows as they are to be.
    pub(super) puts: Rows,
    /// Keys that are to be gone, whatever their values.
    pub(super) deletes: Rows,
}
