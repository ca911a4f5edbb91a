//! Records of a file with separated cells (RFC 4180), as they come.
//!
//! A quote that never closes costs its own line: what it would have swallowed is read again.

use std::io::{self, BufRead};

use super::lines::{Line, Lines};

/// Most lines of one record: texts have a few.
const RECORD_LINES_MAX: usize = 1_000;
/// Most bytes of them.
const RECORD_BYTES_MAX: usize = 256 << 10;

/// What may separate cells; the first is preferred.
const DELIMITERS: [u8; 4] = *b",;\t|";

/// Records that are looked at to find which does.
const PROBED: usize = 20;

/// The cells of a record.
pub(super) type Record = Vec<Vec<u8>>;

/// What came of reading a record, and the line it begins at.
pub(super) enum Got {
    Record(u64, Record),
    Bad(u64, &'static str),
    End,
}

/// Reads records.
pub(super) struct Records<R> {
    lines: Lines<R>,
    /// `None`: a line is one cell.
    delimiter: Option<u8>,
    /// Whether lines are those of an MTA's table, of which the key is the only cell.
    is_table: bool,
}

impl<R: BufRead> Records<R> {
    /// Finds out what separates cells, by the first lines.
    pub(super) fn new(mut lines: Lines<R>) -> io::Result<Records<R>> {
        let mut first = Vec::new();
        while first.len() < PROBED
            && let Some(line) = lines.next()?
        {
            first.push(line);
        }
        // Spreadsheets say it in a line of its own.
        let said = first.first().and_then(|line| match line.bytes.as_slice() {
            [b's', b'e', b'p', b'=', delimiter] => Some(*delimiter),
            _ => None,
        });
        if said.is_some() {
            first.remove(0);
        }
        let is_table = said.is_none() && is_table(&first);
        let delimiter = said.or_else(|| delimiter(&first)).filter(|_| !is_table);
        lines.put_back(first);
        Ok(Records { lines, delimiter, is_table })
    }

    /// Each line is one cell.
    pub(super) fn whole_lines(lines: Lines<R>) -> Records<R> {
        Records { lines, delimiter: None, is_table: false }
    }

    /// The next record that is not blank.
    pub(super) fn next(&mut self) -> io::Result<Got> {
        loop {
            let Some(line) = self.lines.next()? else { return Ok(Got::End) };
            let number = line.number;
            if line.is_cut {
                return Ok(Got::Bad(number, "the line is longer than 1 MiB"));
            }
            if line.bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Some(delimiter) = self.delimiter else {
                let mut cell = line.bytes;
                if self.is_table
                    && let Some((key, _)) = row_of_table(&cell)
                {
                    cell.truncate(key.len());
                }
                return Ok(Got::Record(number, vec![cell]));
            };
            return self.record(number, line, delimiter);
        }
    }

    fn record(&mut self, number: u64, first: Line, delimiter: u8) -> io::Result<Got> {
        let mut splitter = Splitter::new(delimiter);
        splitter.feed(&first.bytes);
        let (mut more, mut bytes): (Vec<Line>, usize) = (Vec::new(), first.bytes.len());
        while splitter.is_open() {
            let fits = more.len() < RECORD_LINES_MAX && bytes < RECORD_BYTES_MAX;
            let next = if fits { self.lines.next()? } else { None };
            let Some(line) = next else {
                self.lines.put_back(more);
                return Ok(Got::Bad(number, "a quote in it is never closed"));
            };
            bytes += line.bytes.len();
            splitter.feed(b"\n");
            splitter.feed(&line.bytes);
            more.push(line);
        }
        Ok(Got::Record(number, splitter.end()))
    }
}

/// Whether lines are those of a Postfix table that refuses addresses (access(5), transport(5)), as
/// we export it and as `postmap -s` shows it.
fn is_table(first: &[Line]) -> bool {
    let refuses = |line: &Line| {
        row_of_table(&line.bytes).is_some_and(|(key, action)| {
            let word = action.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            let is_code = word.len() == 3 && word.iter().all(u8::is_ascii_digit);
            let is_word = [&b"REJECT"[..], b"DISCARD", b"DEFER"];
            let is_word = is_word.iter().any(|known| known.eq_ignore_ascii_case(word));
            let is_transport = word.starts_with(b"error:") || word.starts_with(b"retry:");
            let is_code = is_code && matches!(word[0], b'4' | b'5');
            key.contains(&b'@') && (is_word || is_transport || is_code)
        })
    };
    let says = |line: &&Line| !line.bytes.trim_ascii().is_empty() && !line.bytes.starts_with(b"#");
    let mut rows = first.iter().filter(says).peekable();
    rows.peek().is_some() && rows.all(refuses)
}

/// The key of a line of a table, and what stands behind it. A quoted key may have blanks.
fn row_of_table(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let place = |blank: u8| line.iter().position(|byte| *byte == blank);
    let at = place(b'\t').or_else(|| place(b' '))?;
    Some((line[..at].trim_ascii_end(), line[at..].trim_ascii()))
}

/// What separates the cells of the first lines: that which cuts the most of them alike.
fn delimiter(first: &[Line]) -> Option<u8> {
    let score = |delimiter: &u8| {
        let counts = counts(first, *delimiter);
        let (header, rest) = counts.split_first()?;
        let alike = rest.iter().filter(|count| *count == header).count();
        (*header > 1 && (rest.is_empty() || alike > 0)).then_some((alike, *header))
    };
    let scored = DELIMITERS.iter().rev().filter_map(|d| Some((score(d)?, *d)));
    scored.max_by_key(|(score, _)| *score).map(|(_, delimiter)| delimiter)
}

/// How many cells each record has, as far as they are whole.
fn counts(lines: &[Line], delimiter: u8) -> Vec<usize> {
    let (mut counts, mut splitter) = (Vec::new(), Splitter::new(delimiter));
    let mut is_within = false;
    for line in lines.iter().filter(|line| !line.bytes.is_empty()) {
        if is_within {
            splitter.feed(b"\n");
        }
        splitter.feed(&line.bytes);
        is_within = splitter.is_open();
        if !is_within {
            let whole = std::mem::replace(&mut splitter, Splitter::new(delimiter));
            counts.push(whole.end().len());
        }
    }
    counts
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a cell.
    Start,
    Plain,
    Quoted,
    /// Behind a quote within quotes: the end, or the first of two.
    Quote,
}

struct Splitter {
    delimiter: u8,
    state: State,
    cells: Record,
    cell: Vec<u8>,
}

impl Splitter {
    fn new(delimiter: u8) -> Splitter {
        Splitter { delimiter, state: State::Start, cells: Vec::new(), cell: Vec::new() }
    }

    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.state = match (self.state, *byte) {
                (State::Start, b'"') => State::Quoted,
                (State::Quoted, b'"') => State::Quote,
                (State::Quote, b'"') => {
                    self.cell.push(b'"');
                    State::Quoted
                }
                (State::Quoted, byte) => {
                    self.cell.push(byte);
                    State::Quoted
                }
                (_, byte) if byte == self.delimiter => {
                    self.cells.push(std::mem::take(&mut self.cell));
                    State::Start
                }
                (State::Start, b' ') => State::Start,
                (_, byte) => {
                    self.cell.push(byte);
                    State::Plain
                }
            };
        }
    }

    fn end(mut self) -> Record {
        self.cells.push(self.cell);
        self.cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> Vec<String> {
        let mut records = Records::new(Lines::new(file.as_bytes())).unwrap();
        let mut read = Vec::new();
        loop {
            read.push(match records.next().unwrap() {
                Got::Record(line, cells) => {
                    let cells: Vec<_> = cells.iter().map(|c| String::from_utf8_lossy(c)).collect();
                    format!("{line}: {}", cells.join("|"))
                }
                Got::Bad(line, why) => format!("{line}! {why}"),
                Got::End => return read,
            });
        }
    }

    #[test]
    fn cells_are_what_was_written() {
        for (file, expected) in [
            ("a,b\n1,\"x, \"\"y\"\"\nz\"\n2,3\n", &["1: a|b", "2: 1|x, \"y\"\nz", "4: 2|3"][..]),
            ("a;b\r\n1;2,5\r\n", &["1: a|b", "2: 1|2,5"]),
            ("sep=;\na;b\n1,2;3\n", &["2: a|b", "3: 1,2|3"]),
            ("a\tb\n1\t2\n", &["1: a|b", "2: 1|2"]),
            (
                "a@x.test, BOUNCE\nb@x.test, COMPLAINT",
                &["1: a@x.test|BOUNCE", "2: b@x.test|COMPLAINT"],
            ),
            ("a@x.test\n\nb@x.test\n", &["1: a@x.test", "3: b@x.test"]),
            (
                "a,b\n1,\"x\n2,y\n3,z\n",
                &["1: a|b", "2! a quote in it is never closed", "3: 2|y", "4: 3|z"],
            ),
            ("", &[]),
        ] {
            assert_eq!(read(file), expected, "{file:?}");
        }
    }
}
