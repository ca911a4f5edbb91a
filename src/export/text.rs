//! A text file of rows, sorted by key, each key once.
//!
//! Blocking. Writes what comes in ascending order at once, and merges the rest in at the end.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::publish::{BUFFER_BYTES, Draft, PublishError};
use super::{Row, Shape};

/// The file, while rows come.
pub(super) struct Lines {
    target: PathBuf,
    file: Sorted,
    /// Rows that came behind a greater key.
    late: Vec<(String, String)>,
}

/// A file of rows that come in ascending order.
struct Sorted {
    shape: &'static Shape,
    draft: Draft,
    out: BufWriter<File>,
    /// The lengths of each row's key and of the whole row, in bytes.
    lengths: Vec<(u32, u32)>,
    last: String,
}

impl Lines {
    /// An empty draft beside the target.
    pub(super) fn begin(target: &Path, shape: &'static Shape) -> Result<Lines, PublishError> {
        let file = Sorted::begin(target, "suppressd-new", shape)?;
        Ok(Lines { target: target.to_owned(), file, late: Vec::new() })
    }

    /// Adds a row, unless one with its key is there.
    pub(super) fn add(&mut self, row: Row<'_>) -> Result<(), PublishError> {
        if !self.file.lengths.is_empty() && row.key <= self.file.last.as_str() {
            if row.key != self.file.last {
                self.late.push((row.key.to_owned(), row.value.to_owned()));
            }
            return Ok(());
        }
        self.file.add(row)
    }

    /// The whole draft, and how many rows it has.
    pub(super) fn finish(mut self) -> Result<(Draft, u64), PublishError> {
        if self.late.is_empty() {
            return self.file.finish();
        }
        self.late.sort();
        self.late.dedup_by(|next, kept| next.0 == kept.0);
        self.merge()?.finish()
    }

    /// A second draft, of the first and the rows that came late, each key once.
    fn merge(self) -> Result<Sorted, PublishError> {
        let shape = self.file.shape;
        let mut merged = Sorted::begin(&self.target, "suppressd-merged", shape)?;
        let late = self.late.iter().map(|(key, value)| Row { key, value });
        let mut late = late.peekable();
        self.file.read(|row| {
            while let Some(before) = late.next_if(|late| late.key < row.key) {
                merged.add(before)?;
            }
            late.next_if(|late| late.key == row.key);
            merged.add(row)
        })?;
        late.try_for_each(|row| merged.add(row))?;
        Ok(merged)
    }
}

impl Sorted {
    fn begin(target: &Path, suffix: &str, shape: &'static Shape) -> Result<Sorted, PublishError> {
        let (draft, file) = Draft::create(target, suffix)?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        out.write_all(shape.head.as_bytes()).map_err(|e| draft.failed("write", e))?;
        Ok(Sorted { shape, draft, out, lengths: Vec::new(), last: String::new() })
    }

    fn add(&mut self, row: Row<'_>) -> Result<(), PublishError> {
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

    /// Reads every row back.
    fn read(
        self,
        mut each: impl FnMut(Row<'_>) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        let Sorted { shape, draft, out, lengths, .. } = self;
        let failed = |e| draft.failed("read", e);
        let mut file = out.into_inner().map_err(|e| draft.failed("write", e.into_error()))?;
        file.seek(std::io::SeekFrom::Start(shape.head.len() as u64)).map_err(failed)?;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut text = String::new();
        for (index, (key, length)) in lengths.into_iter().enumerate() {
            text.clear();
            reader.by_ref().take(length.into()).read_to_string(&mut text).map_err(failed)?;
            let joiner = if index == 0 { "" } else { shape.joiner };
            let start = joiner.len() + shape.open.len();
            let end = start + key as usize;
            let value = end + shape.separator.len()..text.len().saturating_sub(shape.close.len());
            let part = |range| text.get(range).unwrap_or_default();
            each(Row { key: part(start..end), value: part(value) })?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Draft, u64), PublishError> {
        let written = self.out.write_all(self.shape.foot.as_bytes());
        written.and_then(|()| self.out.flush()).map_err(|e| self.draft.failed("write", e))?;
        Ok((self.draft, self.lengths.len() as u64))
    }
}
