//! Looking through a whole journal without changing anything: no mending, no making, no lock.

use std::io;
use std::path::Path;

use super::format::{Kind, SEGMENT_HEADER};
use super::scan::{Head, Segment};
use super::segment;
use crate::model::{Checked, Position};

const PART: &str = "journal";
/// Most problems that are told one by one.
const PROBLEMS_MAX: usize = 1_000;

const LOST: &str = "what was told there cannot be read again: a rebuild of the store is without it";
const RUN: &str = "start suppressd: it keeps a copy in quarantine/ and goes on behind the damage; \
                   then look at the disk";
const UPGRADE: &str = "start the version of suppressd that wrote it";

/// What was found, and how far the journal reaches.
#[derive(Debug, Default)]
pub struct Verified {
    /// A row for the journal, and one for each problem.
    pub rows: Vec<Checked>,
    /// Where the oldest record may start.
    pub start: Position,
    /// Where the last one ends.
    pub end: Position,
}

/// Whether a payload is one that this version reads.
pub type Decodes<'a> = &'a dyn Fn(&[u8]) -> bool;

/// Reads every record, up to `committed`, the end of what is, while somebody goes on writing.
///
/// # Errors
/// When the directory cannot be read.
pub fn verify(
    dir: &Path,
    committed: Option<Position>,
    decodes: Decodes<'_>,
) -> io::Result<Verified> {
    let numbers = segment::list(dir)?;
    let first = numbers.first().copied().unwrap_or(1);
    let mut look = Look { dir, committed, decodes, rows: Vec::new(), records: 0, bytes: 0 };
    let mut end = Position { segment: first, offset: SEGMENT_HEADER };
    let mut expected = first;
    for (index, number) in numbers.iter().copied().enumerate() {
        if committed.is_some_and(|committed| number > committed.segment) {
            break;
        }
        if number != expected {
            let problem = format!("the segments from {expected} to {} are missing", number - 1);
            look.ill(number, SEGMENT_HEADER, problem, LOST, RUN);
        }
        expected = number + 1;
        end = match look.segment(number, index + 1 == numbers.len()) {
            Ok(end) => end,
            // It was trimmed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && committed.is_some() => end,
            Err(error) => {
                let hint = "look at the disk, and at the file's owner and mode";
                look.ill(number, 0, format!("it cannot be read: {error}"), LOST, hint);
                end
            }
        };
    }
    let Look { mut rows, records, bytes, .. } = look;
    let detail = format!("{} segments, {bytes} bytes, {records} records", numbers.len());
    rows.insert(0, Checked::well(PART, dir, detail));
    let start = Position { segment: first, offset: SEGMENT_HEADER };
    Ok(Verified { rows, start, end })
}

struct Look<'a> {
    dir: &'a Path,
    committed: Option<Position>,
    decodes: Decodes<'a>,
    rows: Vec<Checked>,
    records: u64,
    bytes: u64,
}

impl Look<'_> {
    fn ill(
        &mut self,
        number: u32,
        offset: u32,
        problem: String,
        consequence: &'static str,
        hint: &'static str,
    ) {
        if self.rows.len() < PROBLEMS_MAX {
            let file = segment::path(self.dir, number);
            let place = Position { segment: number, offset };
            self.rows.push(Checked::ill(PART, &file, problem, consequence, hint).at(place));
        }
    }

    /// Looks through one segment; says where the record behind its last one is, or would be.
    fn segment(&mut self, number: u32, is_last: bool) -> io::Result<Position> {
        let segment = Segment::at(self.dir, number)?;
        let length = segment.length()?;
        self.bytes += length;
        if !self.header(&segment)? {
            return Ok(Position { segment: number, offset: SEGMENT_HEADER });
        }
        let live = self.committed.filter(|committed| committed.segment == number);
        let limit = live.map_or(length, |live| u64::from(live.offset).min(length));
        let mut at = SEGMENT_HEADER;
        while u64::from(at) < limit {
            match segment.record(at, limit)? {
                Some(record) if record.header.kind == Kind::Seal => {
                    return Ok(Position { segment: number + 1, offset: SEGMENT_HEADER });
                }
                Some(record) => {
                    match record.header.kind {
                        Kind::Data => self.record(number, at, &record.payload),
                        Kind::Newer(..) => self.unread(number, at),
                        Kind::Skip | Kind::Seal => {}
                    }
                    at = record.end;
                }
                None => match segment.next_record(at, limit)? {
                    Some(next) => {
                        let problem = format!("{} bytes are no record", next - at);
                        self.ill(number, at, problem, LOST, RUN);
                        at = next;
                    }
                    None => break,
                },
            }
        }
        // One that is packed was complete.
        let may_be_torn = is_last && segment.packed.is_none();
        self.rest(&segment, at, limit, live.is_some(), may_be_torn)?;
        Ok(Position { segment: number, offset: at })
    }

    /// Whether the records behind a header can be looked at.
    fn header(&mut self, segment: &Segment) -> io::Result<bool> {
        let head = segment.head()?;
        if head == Head::Newer {
            let problem = "it was written by a newer version of suppressd".to_owned();
            let consequence = "this version does not start with it";
            self.ill(segment.number, 0, problem, consequence, UPGRADE);
            return Ok(false);
        }
        if head != Head::Whole {
            let part =
                if segment.packed.is_some() { "header or one of its tables" } else { "header" };
            let problem = format!("its {part} is damaged");
            let consequence = "none: each record has its own place and checksum";
            self.ill(segment.number, 0, problem, consequence, RUN);
        }
        Ok(true)
    }

    fn record(&mut self, number: u32, at: u32, payload: &[u8]) {
        self.records += 1;
        if !(self.decodes)(payload) {
            self.unread(number, at);
        }
    }

    fn unread(&mut self, number: u32, at: u32) {
        let problem = "a record is not in a form that this version reads".to_owned();
        let consequence = "what it tells is not in the store";
        self.ill(number, at, problem, consequence, UPGRADE);
    }

    /// What lies behind the last whole record.
    fn rest(
        &mut self,
        segment: &Segment,
        at: u32,
        limit: u64,
        is_live: bool,
        is_last: bool,
    ) -> io::Result<()> {
        let left = limit.saturating_sub(u64::from(at));
        let is_blank = segment.is_blank(at, limit)?;
        if is_last && !is_live && segment.is_cut(at, limit)? {
            let problem = "it was cut: it ends before its room does".to_owned();
            self.ill(segment.number, at, problem, LOST, RUN);
            return Ok(());
        }
        if is_last && is_blank && !is_live || is_live && left == 0 {
            return Ok(());
        }
        if is_last && !is_live {
            let problem = format!("the last {left} bytes are no record");
            let consequence = "none if a crash cut a write short; otherwise it was acknowledged";
            self.ill(segment.number, at, problem, consequence, RUN);
        } else {
            self.ill(segment.number, at, "it has no proper end".to_owned(), LOST, RUN);
        }
        Ok(())
    }
}
