//! Reading the journal for others: what this host was told itself, and its copies of what others
//! were. It blocks.

use std::io;

use super::letter::{Item, Letter, Mark};
use super::life::Life;
use crate::journal::{Entry, Tail};
use crate::model::{Element, Position, Submission};
use crate::provider::{OWN, TURNED, turned};
use crate::store::{Reader, StoreError};

/// Small records go together, up to so many bytes.
const LETTER_BYTES: usize = 256 << 10;
/// Most bytes that are read at once to be told.
const BATCH_BYTES: usize = 4 << 20;
/// Most bytes that are looked through at once.
const LOOK_BYTES: usize = 32 << 20;
/// Within so many bytes a record of our own has the beginning of its first element.
const HEAD_BYTES: usize = 512;
/// Most bytes of records in one answer.
pub(super) const PAGE_BYTES: usize = 512 << 10;

/// Why the journal could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The disk fails.
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] io::Error),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What comes next, to be told.
pub(super) struct Batch {
    /// Letters, each with where its last record is if all of that is in it.
    pub(super) letters: Vec<(Letter, Option<Position>)>,
    /// Up to where the journal was looked through.
    pub(super) read: Position,
}

/// Letters that are being filled.
struct Filling {
    letters: Vec<(Letter, Option<Position>)>,
    life: u64,
    before: Position,
    bytes: usize,
    most: usize,
}

impl Filling {
    fn new(life: u64, before: Position, most: usize) -> Filling {
        Filling { letters: Vec::new(), life, before, bytes: 0, most }
    }

    /// Adds a record behind the last one.
    fn add(&mut self, at: Position, record: &[u8]) {
        let before = self.before;
        self.bytes += record.len();
        let items = Item::cut(at, record, self.most);
        let room = LETTER_BYTES.min(self.most);
        let last = self.letters.last_mut().filter(|(letter, whole)| {
            let bytes: usize = letter.items.iter().map(|item| item.body.len()).sum();
            *whole == Some(before) && bytes + record.len() <= room
        });
        if let ([item], Some((letter, whole))) = (&items[..], last) {
            letter.items.push(item.clone());
            *whole = Some(at);
        } else {
            for item in items {
                let whole = (item.part + 1 == item.parts).then_some(at);
                let letter = Letter { life: self.life, before, items: vec![item] };
                self.letters.push((letter, whole));
            }
        }
        self.before = at;
    }
}

/// What this host was told itself, from where a life is told up to. `most`: bytes in one message.
pub(super) fn own(
    reader: &Reader,
    life: Life,
    end: Position,
    most: usize,
) -> Result<Batch, ReadError> {
    let start = reader.journal_start()?;
    // What was trimmed before it could be told is a hole to others, and told to be one.
    let before = if start > life.read { life.told.max(start) } else { life.told };
    let mut tail = reader.tail(life.read.max(start));
    let mut filling = Filling::new(life.number, before, most);
    let mut looked = 0;
    while filling.bytes < BATCH_BYTES && looked < LOOK_BYTES {
        let Some((position, record)) = next(&mut tail, end)? else { break };
        looked += record.len();
        if position > life.told && is_for_others(&record) {
            filling.add(position, &record);
        }
    }
    Ok(Batch { letters: filling.letters, read: tail.position() })
}

/// A page of an answer that is being filled.
#[derive(Default)]
struct Page {
    life: u64,
    letters: Vec<Letter>,
    bytes: usize,
    /// Where the next one goes on, once this one is full.
    on: Option<Mark>,
}

impl Page {
    /// Adds a record behind the one before it, from a part on; says whether there was room.
    fn add(&mut self, before: Position, at: Position, record: &[u8], from: u16) -> bool {
        for item in Item::cut(at, record, PAGE_BYTES).into_iter().skip(from.into()) {
            if self.bytes > 0 && self.bytes + item.body.len() > PAGE_BYTES {
                self.on = Some(Mark { position: at, before, part: item.part });
                return false;
            }
            self.bytes += item.body.len();
            self.letters.push(Letter { life: self.life, before, items: vec![item] });
        }
        true
    }
}

/// A page of what this host was told itself, behind one place and up to another.
pub(super) fn own_page(
    reader: &Reader,
    life: Life,
    (from, upto): (Position, Position),
    on: Option<Mark>,
    end: Position,
) -> Result<(Vec<Letter>, Option<Mark>), ReadError> {
    let start = reader.journal_start()?;
    let told = from.max(life.root);
    let first = told.max(life.first);
    let on = on.unwrap_or(Mark { position: first, before: told, part: 0 });
    // What is no more in the journal stays a hole.
    let mut before = if start > on.position { on.before.max(start) } else { on.before };
    let mut tail = reader.tail(on.position.max(start));
    let (mut page, mut looked) = (Page { life: life.number, ..Page::default() }, 0);
    // What is read ends where the journal does: anything else would look like damage.
    while let Some((at, record)) = next(&mut tail, end)?.filter(|(at, _)| *at <= upto) {
        if at <= told || !is_for_others(&record) {
            looked += record.len();
        } else if page.add(before, at, &record, if at == on.position { on.part } else { 0 }) {
            (before, looked) = (at, looked + record.len());
        } else {
            break;
        }
        if looked > LOOK_BYTES {
            page.on = Some(Mark { position: tail.position(), before, part: 0 });
            break;
        }
    }
    Ok((page.letters, page.on))
}

/// A page of the copies that this host has of another's records, likewise.
pub(super) fn copies_page(
    reader: &Reader,
    (host, life): (&str, u64),
    (from, upto): (Position, Position),
    on: Option<Mark>,
) -> Result<(Vec<Letter>, Option<Mark>), ReadError> {
    let (start, end) = (reader.journal_start()?, reader.totals()?.applied);
    let (mut page, mut looked) = (Page { life, ..Page::default() }, 0);
    let on = on.unwrap_or_default();
    let segments = reader.segments_with(host, life, (from, upto))?;
    for segment in segments.into_iter().filter(|segment| *segment >= on.position.segment) {
        let first = Position { segment, offset: start.offset };
        let mut tail = reader.tail(first.max(on.position).max(start));
        while let Some((position, record)) = next(&mut tail, end)? {
            if position.segment > segment {
                break;
            }
            looked += record.len();
            let wanted = Submission::original(&record).filter(|(peer, _)| {
                &*peer.host == host && peer.life == life && peer.at > from && peer.at <= upto
            });
            if let Some((peer, record)) = wanted {
                let part = if position == on.position { on.part } else { 0 };
                if !page.add(peer.before, peer.at, &record, part) {
                    page.on = page.on.map(|mark| Mark { position, ..mark });
                    return Ok((page.letters, page.on));
                }
            }
            if looked > LOOK_BYTES {
                page.on = Some(Mark { position: tail.position(), ..Mark::default() });
                return Ok((page.letters, page.on));
            }
        }
    }
    Ok((page.letters, None))
}

/// Whether a record says something to other hosts. What has turned by itself they see themselves.
fn is_for_others(record: &[u8]) -> bool {
    let has_turns = || {
        let submission = Submission::decode(record);
        submission.is_ok_and(|it| &*it.provider == OWN && it.elements.iter().any(is_turn))
    };
    let head = &record[..record.len().min(HEAD_BYTES)];
    let may_have = head.windows(TURNED.len()).any(|bytes| bytes == TURNED);
    Submission::is_for_others(record) && !(may_have && has_turns())
}

fn is_turn(element: &Element) -> bool {
    turned(element).is_some()
}

/// The next record before `end`. What is damaged is stepped over: who applies it has told of it.
fn next(tail: &mut Tail, end: Position) -> Result<Option<(Position, Vec<u8>)>, ReadError> {
    loop {
        match tail.next(end)? {
            Some(Entry::Record { position, payload }) => return Ok(Some((position, payload))),
            Some(Entry::Damage(_)) => {}
            Some(Entry::Newer { .. }) | None => return Ok(None),
        }
    }
}
