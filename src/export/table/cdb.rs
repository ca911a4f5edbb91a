//! A CDB map, as Postfix, Exim and Rspamd read it: the only owner of cdb2.
//!
//! Blocking. No NUL ends a key or a value. It is made anew for every change.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use cdb2::CDBMake;

use super::super::file::BUFFER_BYTES;
use super::{Draft, FileError, Kind, Listed, Made, Making, Row, Shape, is_damage};

/// What a file begins with: where each of 256 tables is, and how long, in four bytes each.
const HEADER_BYTES: usize = 8 * TABLES;
const TABLES: usize = 256;

/// Longest row, in bytes: far more than any of ours.
const ROW_BYTES_MAX: u64 = 1 << 20;

/// CDB maps.
pub(super) struct Cdb;

impl Kind for Cdb {
    fn begin(
        &self,
        path: &Path,
        draft: &str,
        _shape: &'static Shape,
    ) -> Result<Box<dyn Making + Send>, FileError> {
        let (draft, file) = Draft::create(path, draft)?;
        let map = CDBMake::new(file).map_err(|e| draft.failed("write", e))?;
        Ok(Box::new(Constant { draft, map, rows: 0, last: String::new() }))
    }

    /// Of what is no map, or is damaged, nothing is known that could be lost.
    fn rows(
        &self,
        file: &File,
        _shape: &Shape,
        each: &mut dyn FnMut(Row<'_>) -> io::Result<()>,
    ) -> io::Result<Listed> {
        let Some(end) = end_of_rows(file) else { return Ok(Listed::Table(0)) };
        let mut rows = 0;
        let walked = walk(file, end, &mut |row| {
            let [key, value] = [row.key, row.value].map(String::from_utf8_lossy);
            rows += 1;
            each(Row { key: &key, value: &value })
        });
        match walked {
            Err(error) if !is_damage(&error) => Err(error),
            _ => Ok(Listed::Table(rows)),
        }
    }

    /// Compares what stands around the rows with what a map of these rows has, byte for byte.
    fn check(&self, file: &File) -> io::Result<()> {
        let mut slots = Slots::default();
        if let Some(end) = end_of_rows(file) {
            walk(file, end, &mut |row| {
                slots.add(&row);
                Ok(())
            })?;
        }
        slots.are_in(file)
    }

    fn has(&self, file: &File, _shape: &Shape, key: &str) -> io::Result<bool> {
        let hash = hash(key.as_bytes());
        let [table, slots] = pair(file, u64::from(hash & 255) * 8)?;
        // An empty slot ends the search (cdb(5)).
        for step in 0..slots {
            let slot = (u64::from(hash >> 8) + u64::from(step)) % u64::from(slots);
            let [found, at] = pair(file, u64::from(table) + slot * 8)?;
            if at == 0 {
                break;
            }
            let [length, _] = pair(file, u64::from(at))?;
            if found == hash && length as usize == key.len() {
                let mut stored = vec![0; key.len()];
                file.read_exact_at(&mut stored, u64::from(at) + 8)?;
                if stored == key.as_bytes() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn is_canonical(&self) -> bool {
        true
    }
}

/// A new map in the making.
struct Constant {
    draft: Draft,
    map: CDBMake,
    rows: u64,
    last: String,
}

impl Making for Constant {
    /// Of several rows with one key, readers find the first.
    fn add(&mut self, row: Row<'_>) -> Result<(), FileError> {
        if self.rows > 0 && row.key == self.last {
            return Ok(());
        }
        let added = self.map.add(row.key.as_bytes(), row.value.as_bytes());
        added.map_err(|e| self.draft.failed("write", e))?;
        self.rows += 1;
        self.last.clear();
        self.last.push_str(row.key);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Made, FileError> {
        let Constant { draft, map, rows, .. } = *self;
        map.finish().map_err(|e| draft.failed("write", e))?;
        Ok(Made { draft, rows, keep: Box::new(|_| None) })
    }
}

/// The hash and the place of each row, by the table that has it.
struct Slots {
    tables: Vec<Vec<Slot>>,
    /// Where the rows end.
    end: u64,
}

/// The hash of a key, and where its row is; both are nought where there is none.
type Slot = (u32, u32);

impl Default for Slots {
    fn default() -> Slots {
        Slots { tables: vec![Vec::new(); TABLES], end: HEADER_BYTES as u64 }
    }
}

impl Slots {
    fn add(&mut self, row: &Walked<'_>) {
        let hash = hash(row.key);
        self.tables[hash as usize % TABLES].push((hash, row.at));
        self.end = row.end;
    }

    /// Whether a file has the header and the tables that follow from these, and nothing behind.
    fn are_in(self, file: &File) -> io::Result<()> {
        let (mut header, mut at) = (Vec::with_capacity(HEADER_BYTES), self.end);
        for rows in &self.tables {
            let table = table(rows);
            header.extend(packed([at as u32, table.len() as u32]));
            let bytes: Vec<u8> = table.into_iter().flat_map(|(a, b)| packed([a, b])).collect();
            has_bytes(file, at, &bytes)?;
            at += bytes.len() as u64;
        }
        has_bytes(file, 0, &header)?;
        if file.metadata()?.len() == at { Ok(()) } else { Err(damaged()) }
    }
}

/// The table of these rows: twice as many slots, each row in the first free one from that of its
/// hash on (cdb(5)).
fn table(rows: &[Slot]) -> Vec<Slot> {
    let mut table = vec![(0, 0); 2 * rows.len()];
    for (hash, at) in rows {
        let mut slot = (hash >> 8) as usize % table.len();
        while table[slot].1 != 0 {
            slot = (slot + 1) % table.len();
        }
        table[slot] = (*hash, *at);
    }
    table
}

fn has_bytes(file: &File, at: u64, expected: &[u8]) -> io::Result<()> {
    let mut bytes = vec![0; expected.len()];
    file.read_exact_at(&mut bytes, at)?;
    if bytes == expected { Ok(()) } else { Err(damaged()) }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the CDB map is damaged")
}

/// A row, and from where to where it is.
struct Walked<'a> {
    key: &'a [u8],
    value: &'a [u8],
    at: u32,
    end: u64,
}

/// Calls `each` with every row before `end`.
fn walk(
    file: &File,
    end: u64,
    each: &mut dyn FnMut(Walked<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut at = reader.seek(io::SeekFrom::Start(HEADER_BYTES as u64))?;
    let mut text = Vec::new();
    while at < end {
        let [key, value] = [number(&mut reader)?, number(&mut reader)?];
        let length = u64::from(key) + u64::from(value);
        if length > ROW_BYTES_MAX {
            return Err(damaged());
        }
        text.clear();
        text.resize(length as usize, 0);
        reader.read_exact(&mut text)?;
        let (key, value) = text.split_at(key as usize);
        // The places of a map have four bytes.
        let place = u32::try_from(at).map_err(|_| damaged())?;
        at += 8 + length;
        each(Walked { key, value, at: place, end: at })?;
    }
    Ok(())
}

/// Where the rows of a file end; `None` if it is no map.
fn end_of_rows(file: &File) -> Option<u64> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    let tables = header.chunks_exact(8).filter_map(|table| table.first_chunk::<4>());
    tables.map(|at| u64::from(u32::from_le_bytes(*at))).filter(|at| *at > 0).min()
}

/// The hash of a key (cdb(5)).
fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5381, |hash: u32, byte| (hash << 5).wrapping_add(hash) ^ u32::from(*byte))
}

fn packed([one, two]: [u32; 2]) -> [u8; 8] {
    (u64::from(one) | u64::from(two) << 32).to_le_bytes()
}

/// Two numbers of four bytes each.
fn pair(file: &File, at: u64) -> io::Result<[u32; 2]> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at)?;
    let mut reader = &bytes[..];
    Ok([number(&mut reader)?, number(&mut reader)?])
}

fn number(reader: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map of so many rows, as it is written.
    fn map(directory: &Path, rows: u32) -> Vec<u8> {
        let path = directory.join("map.cdb");
        let mut making = Cdb.begin(&path, "new", &Shape::LINES).unwrap();
        for row in 0..rows {
            let key = format!("{row:04}@x.test");
            making.add(Row { key: &key, value: "550 no" }).unwrap();
        }
        std::fs::read(&making.finish().unwrap().draft.path).unwrap()
    }

    fn found(bytes: &[u8]) -> (io::Result<Vec<String>>, io::Result<()>) {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        let mut rows = Vec::new();
        let read = Cdb.rows(&file, &Shape::LINES, &mut |row| {
            rows.push(format!("{} {}", row.key, row.value));
            Ok(())
        });
        (read.map(|_| rows), Cdb.check(&file))
    }

    #[test]
    fn no_bit_of_a_map_turns_unseen() {
        let directory = tempfile::tempdir().unwrap();
        for rows in [0, 1, 300] {
            let whole = map(directory.path(), rows);
            let (read, checked) = found(&whole);
            let read = read.unwrap();
            assert!(checked.is_ok() && read.len() == rows as usize, "{rows}");
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << (at % 8);
                let (again, checked) = found(&damaged);
                let is_seen = checked.is_err() || again.is_ok_and(|again| again != read);
                assert!(is_seen, "{rows} rows, byte {at}");
            }
            for cut in [0, 1, 8, HEADER_BYTES].map(|cut| whole.len() - cut.min(whole.len())) {
                assert_eq!(found(&whole[..cut]).1.is_ok(), cut == whole.len(), "{rows} {cut}");
            }
            assert!(found(&[&whole[..], b"\0"].concat()).1.is_err(), "{rows}");
        }
    }
}
