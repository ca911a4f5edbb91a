//! Rows of JSON as they come: one object a line, an array, or a document with the array inside.
//!
//! A list of a million rows is often one line, so that no more than a row is ever held. What
//! stands around an array is kept too: it tells whether the file is only a part. Where each line is
//! a document, one that is broken costs itself; in any other file it costs the rest.

use std::io::{self, BufRead};

use serde_json::{Map, Value};

/// Longest row, and longest of what stands around an array, in bytes.
const ROW_BYTES_MAX: usize = 1 << 20;

/// The names under which documents have their rows.
const LISTS: &[&[u8]] = &[
    b"SuppressedDestinationSummaries",
    b"Suppressions",
    b"Bounces",
    b"items",
    b"results",
    b"contacts",
    b"data",
    b"Data",
];

/// A piece of the file.
pub(super) enum Piece {
    /// A row, and the line it begins at.
    Row(u64, Vec<u8>),
    /// What stood around an array.
    Around(Vec<u8>),
    /// A line that cannot be read, where the next one can.
    Bad(u64, &'static str),
    /// Nothing further can be read.
    Broken(u64, &'static str),
    End,
}

/// An object whose rows are read while it is.
#[derive(Default)]
struct Around {
    text: Vec<u8>,
    /// What is open in it.
    open: Vec<u8>,
    /// Where the string began that was read last, behind its quote, and where it ended.
    last: (usize, usize),
    /// A colon was the last thing that was read.
    is_value: bool,
    /// It has such an array.
    has_list: bool,
    line: u64,
}

/// Reads pieces.
pub(super) struct Scanner<R> {
    input: R,
    line: u64,
    /// Whether each line is a document of its own.
    is_by_line: bool,
    around: Option<Around>,
    /// Within an array of rows.
    in_list: bool,
    is_over: bool,
}

const CUT: &str = "the file ends within a row: it is cut off";
const LONG: &str = "a row is longer than 1 MiB";
const STRANGE: &str = "it is no JSON from here on";
const BAD_LINE: &str = "the line is no JSON, or is cut off";

/// Whether each line of a file that begins so is a document: the first is, or most are.
fn is_by_line(head: &[u8], is_whole: bool) -> bool {
    let is_object = |line: &&[u8]| serde_json::from_slice::<Map<String, Value>>(line).is_ok();
    let mut lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
    if !is_whole {
        lines.pop();
    }
    lines.retain(|line| !line.trim_ascii().is_empty());
    let objects = lines.iter().copied().filter(is_object).count();
    lines.first().is_some_and(is_object) || objects > 0 && 2 * objects >= lines.len()
}

impl<R: BufRead> Scanner<R> {
    /// Of a file that begins so, or is all of it.
    pub(super) fn new(input: R, head: &[u8], is_whole: bool) -> Scanner<R> {
        let is_by_line = is_by_line(head, is_whole);
        Scanner { input, line: 1, is_by_line, around: None, in_list: false, is_over: false }
    }

    /// The next piece.
    pub(super) fn next(&mut self) -> io::Result<Piece> {
        if self.is_over {
            return Ok(Piece::End);
        }
        let piece = match self.piece()? {
            Piece::Broken(line, why) if self.is_by_line => {
                (self.around, self.in_list) = (None, false);
                self.skip_line()?;
                Piece::Bad(line, if why == LONG { LONG } else { BAD_LINE })
            }
            piece => piece,
        };
        self.is_over = matches!(piece, Piece::End | Piece::Broken(..));
        Ok(piece)
    }

    fn piece(&mut self) -> io::Result<Piece> {
        loop {
            if let Some(around) = self.around.take_if(|_| !self.in_list) {
                match self.go_on(around)? {
                    Some(piece) => return Ok(piece),
                    None => continue,
                }
            }
            let is_within = self.in_list || self.around.is_some();
            let Some(byte) = (if is_within { self.byte_within() } else { self.byte() })? else {
                let ended = !is_within;
                return Ok(if ended { Piece::End } else { Piece::Broken(self.line, CUT) });
            };
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => {}
                b']' if self.in_list => self.in_list = false,
                b'[' if !self.in_list => self.in_list = true,
                b'{' if !self.in_list => {
                    let (text, open) = (vec![b'{'], vec![b'{']);
                    self.around = Some(Around { text, open, line: self.line, ..Around::default() });
                }
                b'{' | b'"' if self.in_list => return self.row(byte),
                _ => return Ok(Piece::Broken(self.line, STRANGE)),
            }
        }
    }

    /// Reads on in an object until it ends, or an array of rows begins in it.
    fn go_on(&mut self, mut around: Around) -> io::Result<Option<Piece>> {
        while let Some(byte) = self.byte_within()? {
            if around.text.len() > ROW_BYTES_MAX {
                return Ok(Some(Piece::Broken(around.line, LONG)));
            }
            around.text.push(byte);
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'"' => {
                    let start = around.text.len();
                    if !self.string(&mut around.text)? {
                        break;
                    }
                    around.last = (start, around.text.len() - 1);
                }
                b'[' if around.begins_list() => {
                    around.has_list = true;
                    // What is in it goes its own way.
                    around.text.push(b']');
                    around.is_value = false;
                    self.in_list = true;
                    self.around = Some(around);
                    return Ok(None);
                }
                b'{' | b'[' => around.open.push(byte),
                b'}' | b']' => drop(around.open.pop()),
                _ => {}
            }
            around.is_value = byte == b':';
            if around.open.is_empty() {
                let Around { text, line, has_list, .. } = around;
                return Ok(Some(if has_list {
                    Piece::Around(text)
                } else {
                    Piece::Row(line, text)
                }));
            }
        }
        Ok(Some(Piece::Broken(around.line, CUT)))
    }

    /// Reads the rest of a row that begins with this byte.
    fn row(&mut self, first: u8) -> io::Result<Piece> {
        let (line, mut text, mut open) = (self.line, vec![first], 1_usize);
        if first == b'"' {
            let is_whole = self.string(&mut text)?;
            return Ok(if is_whole { Piece::Row(line, text) } else { Piece::Broken(line, CUT) });
        }
        while let Some(byte) = self.byte_within()? {
            if text.len() > ROW_BYTES_MAX {
                return Ok(Piece::Broken(line, LONG));
            }
            text.push(byte);
            match byte {
                b'"' if !self.string(&mut text)? => break,
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Ok(Piece::Row(line, text));
            }
        }
        Ok(Piece::Broken(line, CUT))
    }

    /// Reads the rest of a string, with its quote. Says whether it is whole.
    fn string(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let mut is_escaped = false;
        while let Some(byte) = self.byte_within()? {
            if text.len() > 2 * ROW_BYTES_MAX {
                return Ok(false);
            }
            text.push(byte);
            if byte == b'"' && !is_escaped {
                return Ok(true);
            }
            is_escaped = byte == b'\\' && !is_escaped;
        }
        Ok(false)
    }

    /// The next byte of what has begun; `None` at its end, or that of its line.
    fn byte_within(&mut self) -> io::Result<Option<u8>> {
        let ends = self.is_by_line && self.input.fill_buf()?.first() == Some(&b'\n');
        if ends { Ok(None) } else { self.byte() }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        while self.byte()?.is_some_and(|byte| byte != b'\n') {}
        Ok(())
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let Some(&byte) = self.input.fill_buf()?.first() else { return Ok(None) };
        self.input.consume(1);
        self.line += u64::from(byte == b'\n');
        Ok(Some(byte))
    }
}

impl Around {
    /// Whether the array that begins here, directly in this object or in one in it, has the rows.
    fn begins_list(&self) -> bool {
        let key = &self.text[self.last.0..self.last.1];
        let is_near = self.open.len() <= 2 && self.open.iter().all(|open| *open == b'{');
        self.is_value && is_near && LISTS.contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> Vec<String> {
        let mut scanner = Scanner::new(file.as_bytes(), file.as_bytes(), true);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let mut read = Vec::new();
        loop {
            read.push(match scanner.next().unwrap() {
                Piece::Row(line, row) => format!("{line}: {}", text(row)),
                Piece::Around(around) => format!("around {}", text(around)),
                Piece::Bad(line, why) => format!("{line}? {why}"),
                Piece::Broken(line, why) => format!("{line}! {why}"),
                Piece::End => return read,
            });
        }
    }

    #[test]
    fn rows_are_found_wherever_they_are() {
        for (file, expected) in [
            ("{\"a\":1}\n{\"a\":{\"b\":[2]}}\n", &["1: {\"a\":1}", "2: {\"a\":{\"b\":[2]}}"][..]),
            ("[{\"a\":\"]}\"},\n\"x@y.test\"]", &["1: {\"a\":\"]}\"}", "2: \"x@y.test\""]),
            (
                "{\"paging\":{\"next\":\"u\"},\"items\":[{\"a\":1},{\"a\":2}]}",
                &[
                    "1: {\"a\":1}",
                    "1: {\"a\":2}",
                    "around {\"paging\":{\"next\":\"u\"},\"items\":[]}",
                ],
            ),
            (
                "{ \"data\" : {\"results\": [ {\"t\":[\"*\"]} ], \"more\": 1} }",
                &["1: {\"t\":[\"*\"]}", "around { \"data\" : {\"results\": [], \"more\": 1} }"],
            ),
            ("{\"n\":\"items\",\"tags\":[1]}", &["1: {\"n\":\"items\",\"tags\":[1]}"]),
            ("{\"data\":[]}", &["around {\"data\":[]}"]),
            (
                "[{\"a\":1},{\"a\":",
                &["1: {\"a\":1}", "1! the file ends within a row: it is cut off"],
            ),
            ("[{\"a\":1}\n", &["1: {\"a\":1}", "2! the file ends within a row: it is cut off"]),
            ("[{\"a\":1}]\nb,c\n", &["1: {\"a\":1}", "2! it is no JSON from here on"]),
            (" ", &[]),
        ] {
            assert_eq!(read(file), expected, "{file}");
        }
    }

    #[test]
    fn a_line_that_is_broken_costs_itself() {
        for broken in [
            "{\"a\":\"cut",
            "{\"a\":1",
            "{\"a\":{\"b\":[1,",
            "{\"data\":[{\"a\":1},",
            "{\"data\":[{\"a\":",
            "# remark",
            "b,c",
            "]",
        ] {
            let bad = format!("? {BAD_LINE}");
            let file = format!("{{\"a\":1}}\n{broken}\n{{\"a\":2}}\n");
            let is_row = |line: &&String| !line.ends_with("{\"a\":1}") || line.starts_with('1');
            let lines = read(&file);
            let lines: Vec<_> = lines.iter().filter(is_row).collect();
            assert_eq!(lines, ["1: {\"a\":1}", &format!("2{bad}"), "3: {\"a\":2}"], "{broken}");
            // Also as the first line, and as the last.
            let lines = read(&format!("{broken}\n{{\"a\":2}}\n{{\"a\":3}}\n"));
            assert_eq!(lines.last().unwrap(), "3: {\"a\":3}", "{broken}");
            let lines = read(&format!("{{\"a\":2}}\n{broken}"));
            assert_eq!(lines.last().unwrap(), &format!("2{bad}"), "{broken}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(ROW_BYTES_MAX + 9));
        let lines = read(&format!("{{\"a\":1}}\n{long}\n{{\"a\":2}}"));
        assert_eq!(lines[1..], [format!("2? {LONG}"), "3: {\"a\":2}".to_owned()]);
        // A list in one document has no lines of its own.
        for file in ["{\"data\":[\n{\"a\":1},\n{\"a\":2}\n]}", "[\n{\"a\":1},\n{\"a\":\n2}]"] {
            assert!(read(file).iter().all(|line| !line.contains(['?', '!'])), "{file}");
        }
    }
}
