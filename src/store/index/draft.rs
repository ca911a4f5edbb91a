//! Writing a run: rows and pairs as they are sorted, then what finds them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::row::{Event, NAME, Name, Row, event_of, hashes};
use super::run::{HEAD, MAGIC, NAMES, ROWS, STORED};
use crate::model::Position;
use crate::store::checkpoints::DRAFT;
use crate::store::filter::Filter;
use crate::store::keys::Hash;
use crate::store::paced::Paced;
use crate::store::sealed::sum;

pub(super) const SUFFIX: &str = "index";

/// The file of the run of a stretch.
pub(super) fn path(dir: &Path, from: Position, to: Position) -> PathBuf {
    let number = |at: Position| format!("{:010}-{:010}", at.segment, at.offset);
    dir.join(format!("{}-{}.{SUFFIX}", number(from), number(to)))
}

/// The stretch that a file's name says.
pub(super) fn stretch(path: &Path) -> Option<(Position, Position)> {
    let name = path.file_name()?.to_str()?;
    let mut numbers = name.strip_suffix(SUFFIX)?.strip_suffix('.')?.split('-').map(str::parse);
    let mut position = || {
        let (segment, offset) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Position { segment, offset })
    };
    let stretch = (position()?, position()?);
    numbers.next().is_none().then_some(stretch)
}

/// A run in the making. All rows come first, in order, then all pairs.
pub(super) struct Draft {
    path: PathBuf,
    draft: PathBuf,
    head: [u8; HEAD],
    out: Paced,
    block: Vec<u8>,
    rows: u64,
    names: u64,
    events: Vec<Event>,
    messages: Vec<Hash>,
    last: Event,
    filter: Filter,
}

impl Draft {
    /// Begins the run of a stretch that has no more than that many rows.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn begin(
        dir: &Path,
        (from, to): (Position, Position),
        rows: u64,
    ) -> io::Result<Draft> {
        Draft::at(path(dir, from, to), (from, to), rows)
    }

    /// The same, in a file of another name.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn at(
        path: PathBuf,
        (from, to): (Position, Position),
        rows: u64,
    ) -> io::Result<Draft> {
        let draft = path.with_extension(DRAFT);
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8..16].copy_from_slice(&from.as_u64().to_le_bytes());
        head[16..].copy_from_slice(&to.as_u64().to_le_bytes());
        let mut out = Paced::create(&draft)?;
        out.put(&head)?;
        Ok(Draft {
            path,
            draft,
            head,
            out,
            block: Vec::new(),
            rows: 0,
            names: 0,
            events: Vec::new(),
            messages: Vec::new(),
            last: Event::default(),
            filter: Filter::new(rows),
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn row(&mut self, row: &Row, origins: u8) -> io::Result<()> {
        let event = event_of(row);
        if self.block.is_empty() {
            self.events.push(event);
        }
        if self.rows == 0 || event != self.last {
            self.filter.insert(hashes(&event));
            self.last = event;
        }
        self.block.extend_from_slice(row);
        self.block.push(origins);
        self.rows += 1;
        if self.block.len() >= ROWS * STORED { self.flush() } else { Ok(()) }
    }

    /// Adds a pair; no row follows.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn name(&mut self, name: &Name) -> io::Result<()> {
        if self.names == 0 {
            self.flush()?;
        }
        if self.block.is_empty() {
            let mut message = Hash::default();
            message.copy_from_slice(&name[..8]);
            self.messages.push(message);
        }
        self.block.extend_from_slice(name);
        self.names += 1;
        if self.block.len() >= NAMES * NAME { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let (events, messages) = (self.events.len() as u64, self.messages.len() as u64);
        let number = if self.names == 0 { events } else { messages } - 1;
        self.out.put(&self.block)?;
        self.out.put(&sum(number, &self.block).to_le_bytes())?;
        self.block.clear();
        Ok(())
    }

    /// Puts it in place, synced; says where.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn finish(mut self) -> io::Result<PathBuf> {
        self.end()?;
        self.out.sync()?;
        fs::rename(&self.draft, &self.path)?;
        Ok(self.path)
    }

    /// Puts it in place, for as long as the machine runs.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn leave(mut self) -> io::Result<()> {
        self.end()?;
        self.out.flush()?;
        fs::rename(&self.draft, &self.path)
    }

    fn end(&mut self) -> io::Result<()> {
        self.flush()?;
        let mut hash = crc32fast::Hasher::new();
        hash.update(&self.head);
        let out = &mut self.out;
        let mut put = |bytes: &[u8]| {
            hash.update(bytes);
            out.put(bytes)
        };
        self.events.iter().try_for_each(|event| put(event))?;
        self.messages.iter().try_for_each(|message| put(message))?;
        self.filter.bytes().try_for_each(|word| put(&word))?;
        put(&self.rows.to_le_bytes())?;
        put(&self.names.to_le_bytes())?;
        put(&(self.filter.bytes().count() as u64).to_le_bytes())?;
        let sum = hash.finalize().to_le_bytes();
        out.put(&sum)?;
        out.put(MAGIC)
    }
}
