//! Lines of a file in any of the encodings that programs write lists in, each of bounded length.
//!
//! UTF-16 becomes UTF-8 on the way. What is neither is taken for Windows-1252, cell by cell, where
//! it is text for people ([`text`]).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

/// Longest line, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// The characters of Windows-1252 from 0x80 to 0x9f; what it has none for is U+FFFD.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{fffd}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{fffd}', 'Ž',
    '\u{fffd}', '\u{fffd}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{fffd}',
    'ž', 'Ÿ',
];

/// Bytes as text, and whether they are UTF-8; else they are read as Windows-1252.
pub(super) fn text(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.into(), true);
    }
    let read = |byte: &u8| match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        byte => char::from(*byte),
    };
    (bytes.iter().map(read).collect::<String>().into(), false)
}

/// How UTF-16 lays out its units.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// A file as UTF-8, or as bytes that are not UTF-16; without its byte order mark.
pub(super) fn decoded<'r>(mut input: impl BufRead + 'r) -> io::Result<Box<dyn BufRead + 'r>> {
    let mut head = Vec::new();
    input.by_ref().take(4).read_to_end(&mut head)?;
    let (order, skip) = match head.as_slice() {
        [0xef, 0xbb, 0xbf, ..] => (None, 3),
        [0xff, 0xfe, ..] => (Some(Order::Little), 2),
        [0xfe, 0xff, ..] => (Some(Order::Big), 2),
        // Without a mark: what begins a list is ASCII.
        [a, 0, b, 0] if *a > 0 && *b > 0 => (Some(Order::Little), 0),
        [0, a, 0, b] if *a > 0 && *b > 0 => (Some(Order::Big), 0),
        _ => (None, 0),
    };
    let rest = io::Cursor::new(head.split_off(skip)).chain(input);
    match order {
        None => Ok(Box::new(rest)),
        Some(order) => Ok(Box::new(io::BufReader::new(Utf16 { input: rest, order, high: None }))),
    }
}

/// Turns UTF-16 into UTF-8.
struct Utf16<R> {
    input: R,
    order: Order,
    /// The first half of a pair.
    high: Option<u16>,
}

impl<R: BufRead> Utf16<R> {
    fn unit(&mut self) -> io::Result<Option<u16>> {
        let mut unit = [0; 2];
        match self.input.read_exact(&mut unit) {
            Ok(()) => Ok(Some(match self.order {
                Order::Little => u16::from_le_bytes(unit),
                Order::Big => u16::from_be_bytes(unit),
            })),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn next(&mut self) -> io::Result<Option<char>> {
        let Some(first) = self.high.take().map_or_else(|| self.unit(), |high| Ok(Some(high)))?
        else {
            return Ok(None);
        };
        let broken = Ok(Some(char::REPLACEMENT_CHARACTER));
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first.into()).map_or(broken, |c| Ok(Some(c)));
        }
        let second = self.unit()?;
        match char::decode_utf16([first].into_iter().chain(second)).next() {
            Some(Ok(c)) => Ok(Some(c)),
            _ => {
                self.high = second;
                broken
            }
        }
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled + 4 <= into.len()
            && let Some(c) = self.next()?
        {
            filled += c.encode_utf8(&mut into[filled..]).len();
        }
        Ok(filled)
    }
}

/// A line without its end, and its number from 1.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
    /// It was longer than it may be, and is cut.
    pub(super) is_cut: bool,
}

/// Reads lines, which can be put back.
pub(super) struct Lines<R> {
    input: R,
    /// What ends a line.
    end: u8,
    read: u64,
    back: VecDeque<Line>,
}

impl<R: BufRead> Lines<R> {
    #[cfg(test)]
    pub(super) fn new(input: R) -> Lines<R> {
        Lines::of(input, b"")
    }

    /// Those of a file that begins so. Where the lines of that end as on the first Macs, as some
    /// spreadsheets still write them, all do.
    pub(super) fn of(input: R, head: &[u8]) -> Lines<R> {
        let end = if head.contains(&b'\r') && !head.contains(&b'\n') { b'\r' } else { b'\n' };
        Lines { input, end, read: 0, back: VecDeque::new() }
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.back.pop_front() {
            return Ok(Some(line));
        }
        let mut bytes = Vec::new();
        let most = LINE_BYTES_MAX as u64;
        if self.input.by_ref().take(most).read_until(self.end, &mut bytes)? == 0 {
            return Ok(None);
        }
        self.read += 1;
        let is_cut = bytes.last() != Some(&self.end) && bytes.len() as u64 == most;
        if is_cut {
            self.input.skip_until(self.end)?;
        }
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        Ok(Some(Line { number: self.read, bytes, is_cut }))
    }

    /// Puts lines back, in their order, before what is still to be read.
    pub(super) fn put_back(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().rev() {
            self.back.push_front(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_comes_to_the_same_lines() {
        let text = "a@x.test;Müller 𝄞\r\nb@x.test;\n";
        let little = || text.encode_utf16().flat_map(u16::to_le_bytes);
        let big = || text.encode_utf16().flat_map(u16::to_be_bytes);
        for bytes in [
            text.as_bytes().to_vec(),
            [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat(),
            [0xff, 0xfe].into_iter().chain(little()).collect(),
            [0xfe, 0xff].into_iter().chain(big()).collect(),
            little().collect(),
            big().collect(),
        ] {
            let mut lines = Lines::new(decoded(&bytes[..]).unwrap());
            let first = lines.next().unwrap().unwrap();
            assert_eq!((first.number, &*first.bytes), (1, "a@x.test;Müller 𝄞".as_bytes()));
            assert_eq!(lines.next().unwrap().unwrap().bytes, b"b@x.test;");
            assert!(lines.next().unwrap().is_none());
        }
        assert_eq!(text_of(b"M\xfcller \x80"), ("Müller €".to_owned(), false));
        assert_eq!(text_of("é".as_bytes()), ("é".to_owned(), true));
    }

    #[test]
    fn lines_end_as_the_first_do() {
        for (file, expected) in [
            ("a\rb\r", &["a", "b"][..]),
            ("a\rb", &["a", "b"]),
            ("a\r\nb\rc\n", &["a", "b\rc"]),
            ("a\n\"b\rc\"\n", &["a", "\"b\rc\""]),
        ] {
            let mut lines = Lines::of(file.as_bytes(), file.as_bytes());
            let next = || Some(String::from_utf8(lines.next().unwrap()?.bytes).unwrap());
            assert_eq!(std::iter::from_fn(next).collect::<Vec<_>>(), expected, "{file:?}");
        }
    }

    fn text_of(bytes: &[u8]) -> (String, bool) {
        let (text, is_utf_8) = text(bytes);
        (text.into_owned(), is_utf_8)
    }

    #[test]
    fn half_a_pair_costs_a_character_and_no_more() {
        let units = [0x61_u16, 0xd834, 0x62, 0xdd1e, 0x63];
        let bytes: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(units.into_iter().flat_map(u16::to_le_bytes)).collect();
        let mut read = String::new();
        decoded(&bytes[..]).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, "a\u{fffd}b\u{fffd}c");
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let file = [&vec![b'x'; LINE_BYTES_MAX + 5][..], b"\nb@x.test"].concat();
        let mut lines = Lines::new(&file[..]);
        assert!(lines.next().unwrap().unwrap().is_cut);
        let next = lines.next().unwrap().unwrap();
        assert_eq!((next.number, &*next.bytes, next.is_cut), (2, &b"b@x.test"[..], false));
    }
}
