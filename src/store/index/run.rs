//! A run: the index of one stretch of the journal, in a file that never changes.
//!
//! ```text
//! "SUPINDX1" from:u64 to:u64
//! blocks of up to 110 rows of 37 bytes: address# id record element origins, and their CRC-32
//! blocks of up to 254 pairs of 16 bytes: message# address#, and their CRC-32
//! the first event of each block of rows, the first message of each block of pairs, the filter
//! rows:u64 pairs:u64 words of the filter:u64, the CRC-32 of all but the blocks, "SUPINDX1" again
//! ```
//! Numbers are little-endian, but for those in rows, which are sorted by. The sum of a block covers
//! its number too. Each block but the last of its kind is full.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::row::{EVENT, Event, NAME, Name, ROW, Row, address_of, event_of, rows_of};
use crate::model::Position;
use crate::store::filter::{Filter, Hashes};
use crate::store::keys::Hash;
use crate::store::place::is_whole;
use crate::store::sealed::{Flaw, Magic, SUM, Sealed, bad, number, sum};

/// The last byte is the number of the form: another form takes the next.
pub(super) const MAGIC: &Magic = b"SUPINDX1";
pub(super) const HEAD: usize = 24;
/// Bytes of a row with the origins behind it.
pub(super) const STORED: usize = ROW + 1;
/// Rows and pairs to a block.
pub(super) const ROWS: usize = 110;
pub(super) const NAMES: usize = 254;
const NUMBERS: usize = 24;
const FOOT: usize = NUMBERS + SUM + 8;

/// An open run.
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) from: Position,
    /// Where the stretch ends.
    pub(super) to: Position,
    pub(super) rows: u64,
    pub(super) names: u64,
    file: File,
    size: u64,
    events: Vec<Event>,
    messages: Vec<Hash>,
    filter: Filter,
}

/// How many blocks so many entries take, and how many bytes those have.
fn blocks(entries: u64, each: usize, size: usize) -> Option<(u64, u64)> {
    let blocks = entries.div_ceil(each as u64);
    let bytes = entries.checked_mul(size as u64)?.checked_add(blocks * SUM as u64)?;
    Some((blocks, bytes))
}

impl Run {
    /// Opens one: reads and checks all but its blocks.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn open(path: &Path) -> Result<Run, Flaw> {
        let sealed = Sealed::<HEAD, FOOT>::open(path, *MAGIC)?;
        let [rows, names, words] = [0, 8, 16].map(|at| number(&sealed.foot, at));
        let row_blocks = blocks(rows, ROWS, STORED).ok_or_else(bad)?;
        let name_blocks = blocks(names, NAMES, NAME).ok_or_else(bad)?;
        let tail_at = (HEAD as u64)
            .checked_add(row_blocks.1)
            .and_then(|at| at.checked_add(name_blocks.1))
            .ok_or_else(bad)?;
        let (events, messages) = (row_blocks.0 * EVENT as u64, name_blocks.0 * 8);
        let length = words.checked_mul(8).and_then(|filter| filter.checked_add(events + messages));
        let (bytes, _) = sealed.tail(tail_at, length)?;
        let (events, rest) = bytes.split_at(events as usize);
        let (messages, filter) = rest.split_at(messages as usize);
        let position = |at| Position::from_u64(number(&sealed.head, at));
        Ok(Run {
            path: path.to_owned(),
            from: position(8),
            to: position(16),
            rows,
            names,
            events: events.as_chunks().0.to_vec(),
            messages: messages.as_chunks().0.to_vec(),
            filter: Filter::from_bytes(filter),
            file: sealed.file,
            size: sealed.size,
        })
    }

    /// Whether it is where the next start looks for it, as long as it was.
    pub(super) fn is_in_place(&self) -> bool {
        is_whole(&self.file, self.size, &self.path)
    }

    /// Whether it may have rows of an event.
    pub(super) fn may_have(&self, event: Hashes) -> bool {
        self.filter.may_have(event)
    }

    /// Gives the rows of an event or of an address, by the start that they share.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(super) fn rows_of(&self, start: &[u8], each: &mut dyn FnMut(&Row, u8)) -> io::Result<()> {
        let (first, last) = rows_of(start);
        let (from, to) = (event_of(&first), event_of(&last));
        // The block before the first that begins with it, or behind it, may end with it.
        let block = self.events.partition_point(|event| *event < from).saturating_sub(1);
        for number in (block..self.events.len()).take_while(|block| self.events[*block] <= to) {
            for (row, origins) in self.block(number as u64)? {
                if row >= first && row <= last {
                    each(&row, origins);
                }
            }
        }
        Ok(())
    }

    /// Gives the addresses that a message was sent to.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(super) fn names_of(&self, message: Hash, each: &mut dyn FnMut(&Name)) -> io::Result<()> {
        let block = self.messages.partition_point(|first| *first < message).saturating_sub(1);
        let mine = |block: &usize| self.messages[*block] <= message;
        for number in (block..self.messages.len()).take_while(mine) {
            let names = self.name_block(number as u64)?;
            names.iter().filter(|name| name.starts_with(&message)).for_each(&mut *each);
        }
        Ok(())
    }

    /// Whether it has anything of one of these addresses.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(super) fn has_any_of(&self, addresses: &[Hash]) -> io::Result<bool> {
        let mut found = false;
        for address in addresses {
            self.rows_of(address, &mut |_, _| found = true)?;
        }
        for number in 0..self.name_blocks() {
            let names = if found { return Ok(true) } else { self.name_block(number)? };
            found = names.iter().any(|name| addresses.contains(&address_of(name)));
        }
        Ok(found)
    }

    /// Reads every block; says how many there are.
    ///
    /// # Errors
    /// When one is damaged.
    pub(super) fn verify(&self) -> io::Result<()> {
        let mut last = [0; ROW];
        for number in 0..self.row_blocks() {
            for (row, _) in self.block(number)? {
                if row < last {
                    return Err(bad());
                }
                last = row;
            }
        }
        (0..self.name_blocks()).try_for_each(|number| self.name_block(number).map(drop))
    }

    pub(super) fn row_blocks(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn name_blocks(&self) -> u64 {
        self.messages.len() as u64
    }

    /// The rows of a block, each with its origins.
    pub(super) fn block(&self, number: u64) -> io::Result<Vec<(Row, u8)>> {
        let bytes = self.read(HEAD as u64, number, (self.rows, ROWS, STORED))?;
        let split = |stored: &[u8; STORED]| {
            let mut row = [0; ROW];
            row.copy_from_slice(&stored[..ROW]);
            (row, stored[ROW])
        };
        Ok(bytes.as_chunks().0.iter().map(split).collect())
    }

    /// The pairs of a block.
    pub(super) fn name_block(&self, number: u64) -> io::Result<Vec<Name>> {
        let start = HEAD as u64 + blocks(self.rows, ROWS, STORED).ok_or_else(bad)?.1;
        Ok(self.read(start, number, (self.names, NAMES, NAME))?.as_chunks().0.to_vec())
    }

    fn read(
        &self,
        start: u64,
        number: u64,
        (entries, each, size): (u64, usize, usize),
    ) -> io::Result<Vec<u8>> {
        let before = number * each as u64;
        let here = entries.saturating_sub(before).min(each as u64) as usize * size;
        let mut bytes = vec![0; here + SUM];
        self.file.read_exact_at(&mut bytes, start + number * (each * size + SUM) as u64)?;
        let stored = bytes.split_off(here);
        if stored != sum(number, &bytes).to_le_bytes() { Err(bad()) } else { Ok(bytes) }
    }
}
