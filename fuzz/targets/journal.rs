//! A journal whose segment holds any bytes opens; what it gives back is what was written, whole.
//!
//! The first byte says how the rest is meant: as the segment itself, or as changes to a good one
//! (two bytes for the place, one for the new value), which gets past the checksums.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use suppressd::journal::{Entry, Journal, open};
use suppressd::model::Position;

/// What is in the good segment, and where.
struct Good {
    bytes: Vec<u8>,
    records: Vec<(Position, Vec<u8>)>,
}

type Records = Vec<(Position, Vec<u8>)>;

fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a directory");
        let (journal, quarantine) = (folder.path().join("journal"), folder.path().join("q"));
        let Journal { mut writer, .. } = open(&journal, &quarantine).expect("it opens");
        let mut records = Vec::new();
        for group in [&[30_usize, 5][..], &[41], &[24, 0, 19, 300], &[1]] {
            let payload = |length: &usize| vec![*length as u8 ^ 0x5a; *length];
            let payloads: Vec<Vec<u8>> = group.iter().map(payload).collect();
            let placed = writer.append(&payloads).expect("it is appended");
            records.extend(placed.iter().map(|placed| placed.record).zip(payloads));
        }
        let end = writer.end().offset as usize + 64;
        let bytes = fs::read(journal.join("0000000001.seg")).expect("the segment");
        Good { bytes: bytes[..end.min(bytes.len())].to_vec(), records }
    })
}

/// Opens it and reads everything; gives how much of it was damaged too.
fn found(folder: &Path) -> (Records, usize) {
    let journal = open(&folder.join("journal"), &folder.join("q")).expect("it opens");
    let Journal { writer, reader, recovery } = journal;
    let (mut records, mut damage) = (Vec::new(), recovery.damage.len());
    let mut tail = reader.tail(reader.start().expect("a start"));
    while let Some(entry) = tail.next(writer.end()).expect("it is read") {
        match entry {
            Entry::Record { position, payload } => {
                let alone = reader.read(position).expect("it is read");
                assert_eq!(alone.as_ref(), Some(&payload), "one by one as in a row");
                records.push((position, payload));
            }
            Entry::Damage(_) => damage += 1,
            Entry::Newer { .. } => break,
        }
    }
    (records, damage)
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    let good = good();
    let mut bytes = good.bytes.clone();
    let mut touched = Vec::new();
    let is_changed = mode & 1 == 1;
    if is_changed {
        for change in rest.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
            bytes[at] = change[2];
            touched.push(at);
        }
        // And it may end early.
        bytes.truncate(bytes.len() - usize::from(*mode >> 1).min(bytes.len()));
    } else {
        bytes = rest.to_vec();
    }
    let folder = tempfile::tempdir().expect("a directory");
    fs::create_dir(folder.path().join("journal")).expect("it is made");
    fs::write(folder.path().join("journal/0000000001.seg"), &bytes).expect("it is written");
    let (records, _) = found(folder.path());
    if is_changed {
        let mut known = good.records.iter();
        for record in &records {
            assert!(known.any(|good| good == record), "a record that nobody wrote, or its order");
        }
        whole_ones_are_there(good, &bytes, &touched, &records);
    }
    let (again, damage) = found(folder.path());
    assert_eq!((again, damage), (records, 0), "what was mended stays mended");
});

/// A record of an earlier group that nothing has touched is there still.
fn whole_ones_are_there(good: &Good, bytes: &[u8], touched: &[usize], records: &Records) {
    // The header and the newest group may be torn: nothing of it counts then.
    let firsts = [0, 2, 3].map(|index| good.records[index].0.offset as usize);
    let is_sound = |at: usize| bytes.get(at) == good.bytes.get(at);
    if !(0..firsts[0]).all(is_sound) || touched.iter().any(|at| *at >= firsts[2]) {
        return;
    }
    // Behind all changes there is a whole group, which says that those before it were synced.
    let last = good.records[6].0.offset as usize + 16 + 300;
    if bytes.len() < last {
        return;
    }
    for record in &good.records[..3] {
        let (start, length) = (record.0.offset as usize, record.1.len());
        if (start..start + 16 + length).all(is_sound) {
            assert!(records.contains(record), "a whole record was lost");
        }
    }
}
