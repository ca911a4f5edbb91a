//! A list that comes in one piece and is too long for memory, cut into pages of the same form that
//! have a part of its rows each.
//!
//! An adapter reads each of them as it would read the whole. Only JSON is cut, between the members
//! of its longest array that is in no other one.

use std::io;

use crate::fetch::Spool;

/// About how many bytes of rows a page is given.
const SLICE_BYTES: usize = 1 << 20;

/// Most bytes before the rows and behind them, which every page has.
const FRAME_MAX: u64 = 64 << 10;

/// Deepest nesting that is followed. Adapters read no deeper.
const DEPTH_MAX: usize = 128;

/// Bytes that are read at once.
const READ_BYTES: u64 = 256 << 10;

/// What is still to be read of a page.
pub(super) struct Slices {
    whole: Spool,
    /// What stands before the rows, and behind them.
    before: Vec<u8>,
    behind: Vec<u8>,
    /// The rows that are left. `None`: there are no more.
    rest: Option<(u64, u64)>,
    most: usize,
}

/// Where a reader of JSON is: within which brackets, and whether in a string.
#[derive(Default)]
struct Reading {
    open: Vec<u8>,
    in_string: bool,
    escaped: bool,
}

/// What a byte is in its place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Opens,
    Closes,
    Comma,
    Other,
    /// It cannot stand there.
    Wrong,
}

impl Reading {
    fn take(&mut self, byte: u8) -> Mark {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Mark::Other;
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' | b'{' if self.open.len() < DEPTH_MAX => {
                self.open.push(byte);
                return Mark::Opens;
            }
            b'[' | b'{' => return Mark::Wrong,
            // In ASCII each stands two behind the one that it closes.
            b']' | b'}' if self.open.pop() == Some(byte - 2) => return Mark::Closes,
            b']' | b'}' => return Mark::Wrong,
            b',' => return Mark::Comma,
            _ => {}
        }
        Mark::Other
    }

    /// Whether it is in an array that is in another one.
    fn arrays(&self) -> usize {
        self.open.iter().filter(|open| **open == b'[').count()
    }
}

impl Slices {
    /// Of a body that is one JSON value, whole, and nearly all of it one array. `None`: it is not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn of(whole: Spool) -> io::Result<Option<Slices>> {
        Slices::with(whole, SLICE_BYTES)
    }

    fn with(whole: Spool, most: usize) -> io::Result<Option<Slices>> {
        let Some((from, to)) = longest_array(&whole)? else { return Ok(None) };
        if from + (whole.length() - to) > FRAME_MAX {
            return Ok(None);
        }
        let (before, behind) = (whole.read(0, from)?, whole.read(to, whole.length())?);
        Ok(Some(Slices { whole, before, behind, rest: Some((from, to)), most }))
    }

    /// The next page. It has no rows where there are no more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn advance(&mut self) -> io::Result<Vec<u8>> {
        let (from, to) = self.rest.unwrap_or_default();
        let (mut page, mut reading) = (self.before.clone(), Reading::default());
        let (start, mut at) = (page.len(), from);
        while at < to {
            let bytes = self.whole.read(at, to.min(at + READ_BYTES))?;
            for (index, byte) in bytes.iter().enumerate() {
                let is_between = reading.take(*byte) == Mark::Comma && reading.open.is_empty();
                if is_between && page.len() - start + index >= self.most {
                    page.extend_from_slice(bytes.get(..index).unwrap_or_default());
                    page.extend_from_slice(&self.behind);
                    self.rest = Some((at + index as u64 + 1, to));
                    return Ok(page);
                }
            }
            page.extend_from_slice(&bytes);
            at += bytes.len() as u64;
        }
        self.rest = None;
        page.extend_from_slice(&self.behind);
        Ok(page)
    }

    /// Whether there are no more.
    pub(super) fn is_over(&self) -> bool {
        self.rest.is_none()
    }
}

/// Where the members of the longest array lie that is in no other one. `None`: there is none, or
/// the brackets do not match.
fn longest_array(whole: &Spool) -> io::Result<Option<(u64, u64)>> {
    let (mut reading, mut longest, mut from, mut at) = (Reading::default(), None, 0, 0);
    while at < whole.length() {
        let bytes = whole.read(at, at + READ_BYTES)?;
        for (place, byte) in (at..).zip(&bytes) {
            match reading.take(*byte) {
                Mark::Opens if *byte == b'[' && reading.arrays() == 1 => from = place + 1,
                Mark::Closes if *byte == b']' && reading.arrays() == 0 => {
                    let known = longest.map_or(0, |(from, to)| to - from);
                    longest = longest.filter(|_| known >= place - from).or(Some((from, place)));
                }
                Mark::Wrong => return Ok(None),
                _ => {}
            }
        }
        at += bytes.len() as u64;
    }
    let is_whole = reading.open.is_empty() && !reading.in_string;
    Ok(longest.filter(|_| is_whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(text: &str) -> Spool {
        let mut spool = Spool::begin(tempfile::tempdir().unwrap().path()).unwrap();
        spool.add(text.as_bytes()).unwrap();
        spool
    }

    fn pages(text: &str, most: usize) -> Option<Vec<String>> {
        let mut slices = Slices::with(spool(text), most).unwrap()?;
        let mut pages = Vec::new();
        while !slices.is_over() {
            pages.push(String::from_utf8(slices.advance().unwrap()).unwrap());
        }
        Some(pages)
    }

    #[test]
    fn the_pages_have_the_frame_of_the_whole_and_all_of_its_rows_once() {
        let rows = r#"{"a":"x],[\"\\"}, [1,[2,3]] ,"é,]{",4,{"b":{}}"#;
        for (before, behind) in [
            ("[", "]"),
            (r#"{"n":[1,2],"rows":["#, r#"],"next":"[,"}"#),
            (r#"{"d":{"r":["#, "]}} "),
        ] {
            let whole = format!("{before}{rows}{behind}");
            for most in 0..whole.len() {
                let pages = pages(&whole, most).unwrap();
                let part = |page: &String| -> String {
                    page.strip_prefix(before).unwrap().strip_suffix(behind).unwrap().to_owned()
                };
                let parts: Vec<String> = pages.iter().map(part).collect();
                assert_eq!(parts.join(","), rows, "{most}");
                assert!(most > 0 || pages.len() == 5);
                let is_json =
                    |page: &String| serde_json::from_str::<serde_json::Value>(page).is_ok();
                assert!(pages.iter().all(is_json), "{pages:?}");
            }
        }
        assert_eq!(pages("[]", 10).unwrap(), ["[]"]);
    }

    #[test]
    fn what_is_not_whole_is_not_cut() {
        for text in ["", "{}", "a,b\n1,2\n", "[1,2", "[1,2}", "[1]]", r#"["a]"#, r#"{"a":[1,2}"#] {
            assert_eq!(pages(text, 1), None, "{text}");
        }
        assert_eq!(pages(&"[".repeat(DEPTH_MAX + 1), 1), None);
        let long = "x".repeat(FRAME_MAX as usize);
        assert_eq!(pages(&format!("{{\"a\":\"{long}\",\"b\":[1]}}"), 1), None);
    }
}
