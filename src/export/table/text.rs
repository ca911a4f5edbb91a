//! A text file of rows, sorted by key, each key once.
//!
//! Blocking. Writes what comes in ascending order at once, and merges the rest in at the end.
//! Lines that are no rows come last: of two lines with one key, readers take the first.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::file::{self, BUFFER_BYTES};
use super::super::rows::Rows;
use super::{Applied, Draft, Edits, FileError, Kind, Listed, Made, Making, Row, Shape, Stamp};

/// Longest line that can be a row, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// Text files.
pub(super) struct Text;

impl Kind for Text {
    fn begin(
        &self,
        path: &Path,
        draft: &str,
        shape: &'static Shape,
    ) -> Result<Box<dyn Making + Send>, FileError> {
        Ok(Box::new(Lines::begin(path, draft, shape)?))
    }

    fn rows(
        &self,
        file: &File,
        shape: &Shape,
        each: &mut dyn FnMut(Row<'_>) -> io::Result<()>,
    ) -> io::Result<Listed> {
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        reader.rewind()?;
        let (mut lines, mut rows, mut line) = (0, 0, Vec::new());
        while reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
            if !is_around(&text, shape) {
                lines += 1;
                if let Some(row) = row(&text, shape) {
                    each(row)?;
                    rows += 1;
                }
            }
            line.clear();
        }
        Ok(if rows == lines { Listed::Table(rows) } else { Listed::Other(lines) })
    }

    fn lines(&self, file: &File, shape: &Shape, each: &mut dyn FnMut(&str)) -> io::Result<bool> {
        // What is one value from its head to its foot has no place for them.
        if !shape.joiner.is_empty() || !shape.foot.is_empty() {
            return Ok(false);
        }
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        reader.rewind()?;
        let mut line = Vec::new();
        while reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
            let is_whole = (line.len() as u64) < LINE_BYTES_MAX;
            let text = str::from_utf8(line.strip_suffix(b"\n").unwrap_or(&line));
            // One that goes on with the line before, as readers take it, would go on with another.
            let goes_on =
                |text: &str| text.starts_with([' ', '\t']) && !text.trim_start().is_empty();
            let Some(text) = text.ok().filter(|text| is_whole && !goes_on(text)) else {
                return Ok(false);
            };
            if !is_around(text, shape) && row(text, shape).is_none() {
                each(text);
            }
            line.clear();
        }
        Ok(true)
    }

    /// By halves: the rows are sorted by their keys.
    fn has(&self, file: &File, shape: &Shape, key: &str) -> io::Result<bool> {
        let (mut low, mut high) = (0, file.metadata()?.len());
        let mut reader = BufReader::new(file);
        // The first row that begins at or behind a place is before the key, it, or behind it.
        while low < high {
            let middle = low.midpoint(high);
            match first_row(&mut reader, middle, shape, key)? {
                Some((_, Ordering::Equal)) => return Ok(true),
                Some((end, Ordering::Less)) => low = end,
                Some((_, Ordering::Greater)) | None => high = middle,
            }
        }
        Ok(false)
    }

    fn is_canonical(&self) -> bool {
        true
    }
}

/// The first row of which a line begins at or behind a place: where it ends, and how its key
/// stands to another. `None`: there is no more.
fn first_row(
    reader: &mut BufReader<&File>,
    place: u64,
    shape: &Shape,
    key: &str,
) -> io::Result<Option<(u64, Ordering)>> {
    let (mut line, mut at) = (Vec::new(), place.saturating_sub(1));
    reader.seek(io::SeekFrom::Start(at))?;
    if place > 0 {
        // Up to the end of the line before.
        at += reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? as u64;
    }
    loop {
        line.clear();
        let length = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(None);
        }
        at += length as u64;
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
        let found = row(&text, shape).filter(|_| !is_around(&text, shape));
        if let Some(row) = found {
            return Ok(Some((at, row.key.cmp(key))));
        }
    }
}

/// Whether a line stands before or behind all rows.
fn is_around(line: &str, shape: &Shape) -> bool {
    let is_of = |around: &str| around.lines().any(|known| known == line.trim_end());
    is_of(shape.head) || is_of(shape.foot)
}

/// The row that a line is, if it is one.
fn row<'a>(line: &'a str, shape: &Shape) -> Option<Row<'a>> {
    let (open, close) = (shape.open.trim_start_matches('\n'), shape.close.trim_end_matches('\n'));
    let line = line.strip_suffix(shape.joiner).unwrap_or(line);
    let inside = line.strip_prefix(open)?.strip_suffix(close)?;
    if shape.separator.is_empty() {
        return (!inside.is_empty()).then_some(Row { key: inside, value: "" });
    }
    // In CSV a quote is doubled; elsewhere a backslash stands before it.
    let is_csv = shape.close == "\r\n";
    let (mut quoted, mut escaped, mut cells) = (false, false, 0);
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted && !is_csv,
            b'"' => quoted = !quoted && shape.quotes,
            _ => {}
        }
        if quoted || !inside.as_bytes()[at..].starts_with(shape.separator.as_bytes()) {
            continue;
        }
        cells += 1;
        if cells == shape.key_cells {
            return Some(Row { key: &inside[..at], value: &inside[at + shape.separator.len()..] });
        }
    }
    None
}

/// The lengths of each row's key and of the whole row, in bytes, in the order of a file.
type Lengths = Vec<(u32, u32)>;

/// The file, while rows come.
struct Lines {
    target: PathBuf,
    /// The name of the draft.
    name: String,
    file: Sorted,
    /// Rows that came behind a greater key, by how it begins: parts that fit into a processor's
    /// cache are sorted far sooner than all.
    late: BTreeMap<[u8; 2], Rows>,
    /// What comes behind the rows.
    others: Others,
}

/// Lines that are no rows.
#[derive(Default)]
struct Others {
    text: String,
    count: u64,
}

/// A file of rows that come in ascending order.
struct Sorted {
    shape: &'static Shape,
    draft: Draft,
    out: BufWriter<File>,
    lengths: Lengths,
    last: String,
}

impl Lines {
    /// An empty draft beside the target.
    fn begin(target: &Path, name: &str, shape: &'static Shape) -> Result<Lines, FileError> {
        let file = Sorted::begin(target, name, shape)?;
        let (target, name) = (target.to_owned(), name.to_owned());
        Ok(Lines { target, name, file, late: BTreeMap::new(), others: Others::default() })
    }

    /// A second draft, of the first and the rows that came late, each key once.
    fn merge(self) -> Result<Sorted, FileError> {
        let Lines { target, name, file, late, .. } = self;
        let Sorted { shape, draft, out, lengths, .. } = file;
        let mut merged = Sorted::begin(&target, &format!("{name}-merged"), shape)?;
        let mut late = late.values().flat_map(Rows::sorted).peekable();
        let file = out.into_inner().map_err(|e| draft.failed("write", e.into_error()))?;
        read(
            file,
            shape,
            &lengths,
            |e| draft.failed("read", e),
            |row| {
                while let Some(before) = late.next_if(|late| late.key < row.key) {
                    merged.add_new(before)?;
                }
                merged.add_new(row)
            },
        )?;
        late.try_for_each(|row| merged.add_new(row))?;
        Ok(merged)
    }
}

impl Making for Lines {
    fn add(&mut self, row: Row<'_>) -> Result<(), FileError> {
        if let Some(line) = row.line() {
            self.others.text.extend([line, "\n"]);
            self.others.count += 1;
            return Ok(());
        }
        if !self.file.lengths.is_empty() && row.key < self.file.last.as_str() {
            let mut bytes = row.key.bytes();
            let start = [(); 2].map(|()| bytes.next().unwrap_or_default());
            self.late.entry(start).or_default().add(&[row.key], &[row.value]);
            return Ok(());
        }
        self.file.add_new(row)
    }

    fn finish(mut self: Box<Self>) -> Result<Made, FileError> {
        let others = std::mem::take(&mut self.others);
        let sorted = if self.late.is_empty() { self.file } else { self.merge()? };
        sorted.finish(&others)
    }
}

impl Sorted {
    fn begin(target: &Path, suffix: &str, shape: &'static Shape) -> Result<Sorted, FileError> {
        let (draft, file) = Draft::create(target, suffix)?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        out.write_all(shape.head.as_bytes()).map_err(|e| draft.failed("write", e))?;
        Ok(Sorted { shape, draft, out, lengths: Vec::new(), last: String::new() })
    }

    /// Adds a row, unless the one before has its key.
    fn add_new(&mut self, row: Row<'_>) -> Result<(), FileError> {
        if !self.lengths.is_empty() && row.key == self.last {
            return Ok(());
        }
        self.add(row)
    }

    fn add(&mut self, row: Row<'_>) -> Result<(), FileError> {
        let Shape { open, separator, close, joiner, .. } = self.shape;
        let joiner = if self.lengths.is_empty() { "" } else { joiner };
        let parts = [joiner, open, row.key, separator, row.value, close];
        let written = parts.iter().try_for_each(|part| self.out.write_all(part.as_bytes()));
        written.map_err(|e| self.draft.failed("write", e))?;
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        // An address is far shorter than 4 GiB, however it is written.
        self.lengths.push((row.key.len() as u32, length as u32));
        self.last.clear();
        self.last.push_str(row.key);
        Ok(())
    }

    /// Adds rows of another file as they are.
    fn copy(
        &mut self,
        mut from: &File,
        starts: &[u64],
        lengths: &Lengths,
        rows: Range<usize>,
    ) -> Result<(), FileError> {
        let at = |row: usize| starts.get(row).copied().unwrap_or(0);
        let (start, end) = (at(rows.start), at(rows.end));
        let copied = self.out.flush().and_then(|()| {
            from.seek(io::SeekFrom::Start(start))?;
            io::copy(&mut from.take(end - start), self.out.get_mut())
        });
        match copied {
            Ok(bytes) if bytes == end - start => {}
            Ok(_) => return Err(self.draft.failed("write", io::ErrorKind::UnexpectedEof.into())),
            Err(error) => return Err(self.draft.failed("write", error)),
        }
        self.lengths.extend(lengths.get(rows).unwrap_or_default());
        Ok(())
    }

    fn finish(mut self, others: &Others) -> Result<Made, FileError> {
        let behind = [&*others.text, self.shape.foot];
        let written = behind.iter().try_for_each(|part| self.out.write_all(part.as_bytes()));
        written.and_then(|()| self.out.flush()).map_err(|e| self.draft.failed("write", e))?;
        let Sorted { shape, draft, lengths, .. } = self;
        let (rows, is_of_rows) = (lengths.len() as u64 + others.count, others.count == 0);
        let keep = move |path: &Path| Kept::of(path, shape, lengths).filter(|_| is_of_rows);
        Ok(Made { draft, rows, keep: Box::new(keep) })
    }
}

/// Reads every row of a file.
fn read(
    mut file: File,
    shape: &Shape,
    lengths: &Lengths,
    failed: impl Fn(io::Error) -> FileError,
    mut each: impl FnMut(Row<'_>) -> Result<(), FileError>,
) -> Result<(), FileError> {
    file.seek(io::SeekFrom::Start(shape.head.len() as u64)).map_err(&failed)?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut text = String::new();
    for (index, (key, length)) in lengths.iter().enumerate() {
        text.clear();
        reader.by_ref().take(u64::from(*length)).read_to_string(&mut text).map_err(&failed)?;
        let joiner = if index == 0 { "" } else { shape.joiner };
        let start = joiner.len() + shape.open.len();
        let end = start + *key as usize;
        let value = end + shape.separator.len()..text.len().saturating_sub(shape.close.len());
        let part = |range| text.get(range).unwrap_or_default();
        each(Row { key: part(start..end), value: part(value) })?;
    }
    Ok(())
}

/// A file that we wrote, without anything between its rows, and where these are.
struct Kept {
    path: PathBuf,
    shape: &'static Shape,
    lengths: Lengths,
    stamp: Stamp,
}

impl super::Kept for Kept {
    fn rows(&self) -> u64 {
        self.lengths.len() as u64
    }

    fn is_ours(&self, path: &Path) -> bool {
        Stamp::of(path).is_ok_and(|stamp| stamp == self.stamp)
    }

    /// Makes a copy with the edits in it.
    fn apply(&mut self, edits: &Edits) -> Result<Applied, FileError> {
        let failed = |e| FileError::new("read", &self.path, e);
        if Stamp::of(&self.path).map_err(failed)? != self.stamp {
            return Ok(Applied::Foreign);
        }
        let gone = edits.deletes.iter().map(|row| (row.key, None));
        let here = edits.puts.iter().map(|row| (row.key, Some(row.value)));
        let edits: BTreeMap<&str, Option<&str>> = gone.chain(here).collect();
        let file = file::read(&self.path).map_err(failed)?;
        let mut new = Sorted::begin(&self.path, "suppressd-new", self.shape)?;
        let (starts, mut done, mut changed) = (self.starts(), 0, false);
        for (key, value) in edits {
            let (place, row) = self.find(&file, &starts, key).map_err(failed)?;
            if row.as_deref() == value {
                continue;
            }
            new.copy(&file, &starts, &self.lengths, done..place)?;
            done = place + usize::from(row.is_some());
            changed = true;
            if let Some(value) = value {
                new.add(Row { key, value })?;
            }
        }
        new.copy(&file, &starts, &self.lengths, done..self.lengths.len())?;
        if changed {
            new.finish(&Others::default()).map(Applied::Another)
        } else {
            Ok(Applied::Same)
        }
    }
}

impl Kept {
    /// The file as it is now. `None`: something is between its rows, or it is not there.
    fn of(path: &Path, shape: &'static Shape, lengths: Lengths) -> Option<Box<dyn super::Kept>> {
        let stamp = Stamp::of(path).ok().filter(|_| shape.joiner.is_empty())?;
        Some(Box::new(Kept { path: path.to_owned(), shape, lengths, stamp }))
    }

    /// Where each row starts, and the last ends.
    fn starts(&self) -> Vec<u64> {
        let mut end = self.shape.head.len() as u64;
        let ends = self.lengths.iter().map(|(_, length)| {
            end += u64::from(*length);
            end
        });
        std::iter::once(self.shape.head.len() as u64).chain(ends).collect()
    }

    /// The number of the row with a key and its value, or of the one that comes behind it.
    fn find(&self, file: &File, starts: &[u64], key: &str) -> io::Result<(usize, Option<String>)> {
        let read = |start: u64, length: usize| {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, start)?;
            io::Result::Ok(bytes)
        };
        let Shape { open, separator, close, .. } = self.shape;
        let start = |row: usize| starts.get(row).map_or(0, |start| start + open.len() as u64);
        let (mut low, mut high) = (0, self.lengths.len());
        while low < high {
            let middle = low.midpoint(high);
            let (length, whole) = self.lengths.get(middle).copied().unwrap_or_default();
            let found = read(start(middle), length as usize)?;
            match found.as_slice().cmp(key.as_bytes()) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => {
                    let around = open.len() + key.len() + separator.len() + close.len();
                    let before = (key.len() + separator.len()) as u64;
                    let value = read(start(middle) + before, whole as usize - around)?;
                    return Ok((middle, Some(String::from_utf8_lossy(&value).into_owned())));
                }
            }
        }
        Ok((low, None))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::test;
    use super::*;

    const SHAPE: Shape = Shape {
        head: "head\r\n",
        open: "<",
        separator: ",",
        key_cells: 1,
        close: ">\r\n",
        foot: "end\n",
        joiner: "",
        quotes: true,
    };

    fn file(rows: &BTreeMap<String, String>) -> String {
        let lines = rows.iter().map(|(key, value)| format!("<{key},{value}>\r\n"));
        format!("head\r\n{}end\n", lines.collect::<String>())
    }

    /// Whatever stands in a row, in any format, it is read as it was written.
    #[test]
    fn every_format_is_read_back_as_it_was_written() {
        let addresses = [
            "user@x.test",
            "\"a b\"@x.test",
            "\"a,b;c: d e\"@x.test",
            r#""a\"b\\"@x.test"#,
            "\"a@b\"@x.test",
            "=a+b{c}@x.test",
            "a'b@x.test",
            "stra\u{df}e@b\u{fc}cher.test",
            "a@[127.0.0.1]",
        ];
        for format in super::super::super::ALL {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("f");
            let mut expected = Vec::new();
            for address in addresses {
                expected.extend(test::rows(format.name(), address).unwrap_or_default());
            }
            expected.sort();
            expected.dedup_by(|a, b| a.0 == b.0);
            let mut lines = Text.begin(&path, "draft", format.shape()).unwrap();
            expected.iter().for_each(|(key, value)| lines.add(Row { key, value }).unwrap());
            let made = lines.finish().unwrap();
            let (mut found, file) = (Vec::new(), File::open(&made.draft.path).unwrap());
            let listed = Text.rows(&file, format.shape(), &mut |row| {
                found.push((row.key.to_owned(), row.value.to_owned()));
                Ok(())
            });
            assert_eq!(found, expected, "{}", format.name());
            assert_eq!(listed.unwrap(), Listed::Table(expected.len() as u64), "{}", format.name());
            for (key, _) in &expected {
                let has = |key: &str| Text.has(&file, format.shape(), key).unwrap();
                assert!(has(key) && !has(&format!("{key}!")), "{} {key}", format.name());
            }
        }
    }

    proptest::proptest! {
        /// A copy with edits in it is what is written anew from the rows that there are then.
        #[test]
        fn edits_make_the_file_that_would_be_written_anew(
            before in proptest::collection::btree_map("[a-e]{1,3}", "[x-z]{0,2}", 0..30),
            edits in proptest::collection::btree_map(
                "[a-e]{1,3}", proptest::option::of("[x-z]{0,2}"), 0..10,
            ),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("f");
            let mut lines = Text.begin(&path, "draft", &SHAPE).unwrap();
            before.iter().for_each(|(key, value)| lines.add(Row { key, value }).unwrap());
            let made = lines.finish().unwrap();
            std::fs::rename(&made.draft.path, &path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), file(&before));
            let there = File::open(&path).unwrap();
            for key in before.keys().chain(edits.keys()) {
                let has = Text.has(&there, &SHAPE, key).unwrap();
                proptest::prop_assert_eq!(has, before.contains_key(key), "{}", key);
            }
            let mut kept = (made.keep)(&path).unwrap();
            let (mut after, mut given) = (before.clone(), Edits::default());
            for (key, value) in &edits {
                match value {
                    Some(value) => {
                        given.puts.add(&[key], &[value]);
                        after.insert(key.clone(), value.clone());
                    }
                    None => {
                        given.deletes.add(&[key], &["whatever"]);
                        after.remove(key);
                    }
                }
            }
            match kept.apply(&given).unwrap() {
                Applied::Same => assert_eq!(before, after),
                Applied::Another(made) => {
                    assert_ne!(before, after);
                    assert_eq!(std::fs::read_to_string(&made.draft.path).unwrap(), file(&after));
                    assert_eq!(made.rows, after.len() as u64);
                }
                Applied::InPlace => panic!("a text is not changed in place"),
                Applied::Foreign => panic!("nobody else has written it"),
            }
        }
    }
}
