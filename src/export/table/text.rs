//! A text file of rows, sorted by key, each key once.
//!
//! Blocking. Writes what comes in ascending order at once, and merges the rest in at the end.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::file::BUFFER_BYTES;
use super::super::rows::Rows;
use super::{Applied, Draft, Edits, FileError, Kind, Made, Making, Row, Shape, Stamp};

/// Text files.
pub(super) struct Text;

impl Kind for Text {
    fn begin(
        &self,
        path: &Path,
        shape: &'static Shape,
    ) -> Result<Box<dyn Making + Send>, FileError> {
        Ok(Box::new(Lines::begin(path, shape)?))
    }

    fn count(&self, file: &File, shape: &Shape) -> io::Result<u64> {
        let around = [shape.head, shape.foot].concat().matches('\n').count() as u64;
        Ok(lines_of(file)?.saturating_sub(around))
    }

    fn is_canonical(&self) -> bool {
        true
    }
}

/// How many lines a file has.
fn lines_of(file: &File) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    reader.rewind()?;
    let (mut lines, mut last) = (0u64, b'\n');
    loop {
        let chunk = reader.fill_buf()?;
        let Some(&end) = chunk.last() else { break };
        last = end;
        lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = chunk.len();
        reader.consume(length);
    }
    // A last line without an end is one, too.
    Ok(lines + u64::from(last != b'\n'))
}

/// The lengths of each row's key and of the whole row, in bytes, in the order of a file.
type Lengths = Vec<(u32, u32)>;

/// The file, while rows come.
struct Lines {
    target: PathBuf,
    file: Sorted,
    /// Rows that came behind a greater key, by how it begins: parts that fit into a processor's
    /// cache are sorted far sooner than all.
    late: BTreeMap<[u8; 2], Rows>,
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
    fn begin(target: &Path, shape: &'static Shape) -> Result<Lines, FileError> {
        let file = Sorted::begin(target, "suppressd-new", shape)?;
        Ok(Lines { target: target.to_owned(), file, late: BTreeMap::new() })
    }

    /// A second draft, of the first and the rows that came late, each key once.
    fn merge(self) -> Result<Sorted, FileError> {
        let Sorted { shape, draft, out, lengths, .. } = self.file;
        let mut merged = Sorted::begin(&self.target, "suppressd-merged", shape)?;
        let mut late = self.late.values().flat_map(Rows::sorted).peekable();
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
        if !self.file.lengths.is_empty() && row.key < self.file.last.as_str() {
            let mut bytes = row.key.bytes();
            let start = [(); 2].map(|()| bytes.next().unwrap_or_default());
            self.late.entry(start).or_default().add(&[row.key], &[row.value]);
            return Ok(());
        }
        self.file.add_new(row)
    }

    fn finish(self: Box<Self>) -> Result<Made, FileError> {
        let sorted = if self.late.is_empty() { self.file } else { self.merge()? };
        sorted.finish()
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

    fn finish(mut self) -> Result<Made, FileError> {
        let written = self.out.write_all(self.shape.foot.as_bytes());
        written.and_then(|()| self.out.flush()).map_err(|e| self.draft.failed("write", e))?;
        let Sorted { shape, draft, lengths, .. } = self;
        let rows = lengths.len() as u64;
        let keep = move |path: &Path| Kept::of(path, shape, lengths);
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

    fn is_ours(&self) -> bool {
        Stamp::of(&self.path).is_ok_and(|stamp| stamp == self.stamp)
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
        let file = File::open(&self.path).map_err(failed)?;
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
        if changed { new.finish().map(Applied::Another) } else { Ok(Applied::Same) }
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
    use super::*;

    const SHAPE: Shape = Shape {
        head: "head\r\n",
        open: "<",
        separator: ",",
        close: ">\r\n",
        foot: "end\n",
        joiner: "",
    };

    fn file(rows: &BTreeMap<String, String>) -> String {
        let lines = rows.iter().map(|(key, value)| format!("<{key},{value}>\r\n"));
        format!("head\r\n{}end\n", lines.collect::<String>())
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
            let mut lines = Text.begin(&path, &SHAPE).unwrap();
            before.iter().for_each(|(key, value)| lines.add(Row { key, value }).unwrap());
            let made = lines.finish().unwrap();
            std::fs::rename(&made.draft.path, &path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), file(&before));
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
