//! The journal by itself: what it gives back after every kind of torn end and damage.

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use suppressd::journal::{self, Damage, Entry, Journal, OpenError, Placed};
use suppressd::model::{Position, Time};

use super::rebuild::copy;

/// Bytes of a record's header.
const HEADER: usize = 16;

/// A directory with a journal.
pub(super) struct Place {
    pub(super) dir: tempfile::TempDir,
}

/// A record that was written: where, in which group, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    placed: Placed,
    group: usize,
    payload: Vec<u8>,
}

/// What an opening gives back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) torn: u64,
    pub(super) damage: Vec<Damage>,
    pub(super) records: Vec<(Position, Vec<u8>)>,
}

impl Place {
    pub(super) fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.dir.path().join("quarantine")
    }

    pub(super) fn segment(&self, number: u32) -> PathBuf {
        self.journal().join(format!("{number:010}.seg"))
    }

    pub(super) fn open(&self) -> Journal {
        journal::open(&self.journal(), &self.quarantine()).unwrap()
    }

    /// A journal whose first segment holds these bytes.
    fn holding(bytes: &[u8]) -> Place {
        let place = Place::new();
        fs::create_dir(place.journal()).unwrap();
        fs::write(place.segment(1), bytes).unwrap();
        place
    }

    /// Opens it, and reads everything.
    pub(super) fn found(&self) -> Found {
        let Journal { writer, reader, recovery } = self.open();
        let mut found = Found { torn: recovery.torn, damage: recovery.damage, records: Vec::new() };
        let mut tail = reader.tail(reader.start().unwrap());
        while let Some(entry) = tail.next(writer.end()).unwrap() {
            match entry {
                Entry::Record { position, payload } => {
                    assert_eq!(reader.read(position).unwrap().as_ref(), Some(&payload));
                    found.records.push((position, payload));
                }
                Entry::Damage(damage) => found.damage.push(damage),
                Entry::Newer { position, .. } => panic!("{position} is of a newer form"),
            }
        }
        found
    }

    fn damaged(&self) -> Vec<PathBuf> {
        journal::damaged_files(&self.quarantine()).unwrap()
    }
}

impl Written {
    /// The bytes of the record that its checksum covers.
    fn bytes(&self) -> Range<usize> {
        let start = self.placed.record.offset as usize;
        start..start + HEADER + self.payload.len()
    }

    fn end(&self) -> usize {
        self.placed.end.offset as usize
    }

    fn pair(&self) -> (Position, Vec<u8>) {
        (self.placed.record, self.payload.clone())
    }
}

/// Some bytes that differ from number to number, and hold zeros too.
fn noise(number: usize, length: usize) -> Vec<u8> {
    let mut state = number as u32 + 1;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(byte).collect()
}

/// Appends groups of records with payloads of these lengths.
fn append(journal: &mut Journal, groups: &[Vec<usize>]) -> Vec<Written> {
    let mut all = Vec::new();
    for (group, lengths) in groups.iter().enumerate() {
        let first = all.len();
        let payload = |(index, length): (usize, &usize)| noise(first + index, *length);
        let payloads: Vec<Vec<u8>> = lengths.iter().enumerate().map(payload).collect();
        let placed = journal.writer.append(&payloads).unwrap();
        let written = placed.into_iter().zip(payloads);
        all.extend(written.map(|(placed, payload)| Written { placed, group, payload }));
    }
    all
}

/// The bytes of a segment that was being written when the power went, and what is in it. Behind
/// its records there is a little of the room that was taken ahead.
fn crashed(groups: &[Vec<usize>]) -> (Vec<u8>, Vec<Written>) {
    let place = Place::new();
    let written = append(&mut place.open(), groups);
    let mut bytes = vec![0; written.last().unwrap().end() + 512];
    fs::File::open(place.segment(1)).unwrap().read_exact(&mut bytes).unwrap();
    (bytes, written)
}

/// Three groups: of two, one and three records.
fn small() -> (Vec<u8>, Vec<Written>) {
    crashed(&[vec![30, 5], vec![41], vec![24, 0, 19]])
}

/// The first segment of [`small`], complete.
fn sealed() -> (Vec<u8>, Vec<Written>) {
    let (bytes, written) = small();
    let place = Place::holding(&bytes);
    assert_eq!(place.found().torn, 0);
    (fs::read(place.segment(1)).unwrap(), written)
}

fn pairs<'a>(written: impl IntoIterator<Item = &'a Written>) -> Vec<(Position, Vec<u8>)> {
    written.into_iter().map(Written::pair).collect()
}

/// A segment with these bytes opens with these records and a torn end of so many bytes.
#[track_caller]
fn check_torn(bytes: &[u8], expected: &[Written], torn: usize, case: &str) {
    let place = Place::holding(bytes);
    let found = place.found();
    let expected = pairs(expected);
    assert_eq!((found.torn, found.damage), (torn as u64, Vec::new()), "{case}");
    assert_eq!(found.records, expected, "{case}");
    assert!(place.damaged().is_empty(), "{case}");
    let kept = fs::read_dir(place.quarantine()).unwrap().count();
    assert_eq!(kept, usize::from(torn > 0), "{case}: what was cut off is kept aside");
    let again = place.found();
    assert_eq!(again, Found { torn: 0, damage: Vec::new(), records: expected }, "{case}");
}

/// A segment with these bytes opens with these records and one report of damage.
#[track_caller]
fn check_damage(bytes: &[u8], expected: &[(Position, Vec<u8>)], case: &str) -> (Place, Damage) {
    let place = Place::holding(bytes);
    let mut found = place.found();
    assert_eq!(found.records, expected, "{case}");
    assert_eq!((found.torn, found.damage.len()), (0, 1), "{case}: {:?}", found.damage);
    check_aside(&place, &found.damage[0], bytes, case);
    let again = place.found();
    assert_eq!((again.torn, again.damage), (0, Vec::new()), "{case}");
    assert_eq!(again.records, expected, "{case}");
    (place, found.damage.remove(0))
}

/// The copy that was kept aside is the segment as it was.
#[track_caller]
fn check_aside(place: &Place, damage: &Damage, bytes: &[u8], case: &str) {
    let aside = damage.aside.clone().unwrap();
    assert_eq!(place.damaged(), std::slice::from_ref(&aside), "{case}");
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(fs::read(aside).unwrap() == bytes[..used], "{case}: the copy differs");
}

#[test]
fn records_come_back_over_several_segments() {
    let place = Place::new();
    let mut journal = place.open();
    let large = 40 << 20;
    let groups = [vec![1, 0, 77], vec![large], vec![8], vec![large, 3], vec![large], vec![9]];
    let written = append(&mut journal, &groups);
    let end = journal.writer.end();
    assert!(end.segment >= 3, "large payloads take new segments: {end}");
    for record in &written {
        let read = journal.reader.read(record.placed.record).unwrap();
        assert!(read.as_ref() == Some(&record.payload), "{}", record.placed.record);
    }
    assert_eq!(journal.reader.read(end).unwrap(), None);
    assert_eq!(journal.reader.read(Position { segment: 99, offset: 16 }).unwrap(), None);
    for from in [0, 2, 5] {
        let mut tail = journal.reader.tail(written[from].placed.record);
        for record in &written[from..] {
            let Some(Entry::Record { position, payload }) = tail.next(end).unwrap() else {
                panic!("{} is missing", record.placed.record);
            };
            assert_eq!(position, record.placed.record);
            assert!(payload == record.payload, "{position}");
        }
        assert!(tail.next(end).unwrap().is_none());
        assert_eq!(tail.position(), end);
    }
    drop(journal);
    let found = place.found();
    assert_eq!((found.torn, found.damage), (0, Vec::new()));
    assert!(found.records == pairs(&written), "all of it is there after a crash");
}

#[test]
fn a_segment_cut_anywhere_in_its_last_group_opens_with_the_whole_records_before() {
    let (bytes, written) = small();
    for cut in written[3].bytes().start..=written[5].end() {
        let whole = written.iter().filter(|w| w.end() <= cut);
        let case = format!("cut at {cut}");
        let (_, damage) = check_damage(&bytes[..cut], &pairs(whole.clone()), &case);
        // A crash leaves the room behind its records: what is not there was acknowledged, for all
        // that anybody knows.
        let damage = damage.lost.unwrap();
        let end = whole.clone().next_back().unwrap().end();
        assert!(damage.starts_with(&format!("The segment 1 ends at byte {end}, ")), "{damage}");
    }
}

#[test]
fn a_damaged_header_is_told_and_written_again() {
    for (bytes, written) in [small(), sealed()] {
        for at in [0, 7, 8, 15] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            let (place, damage) = check_damage(&bytes, &pairs(&written), &format!("byte {at}"));
            assert_eq!((damage.from, damage.bytes), (Position { segment: 1, offset: 0 }, 16));
            let looked = journal::verify(&place.journal(), None, &|_| true).unwrap();
            assert!(looked.rows.iter().all(|row| row.problem.is_none()), "{:?}", looked.rows);
        }
    }
    // Left by a crash before anything was written.
    let place = Place::holding(&[0; 4_096]);
    let found = place.found();
    assert_eq!((found.torn, found.damage.len(), found.records.len()), (0, 0, 0));
    let looked = journal::verify(&place.journal(), None, &|_| true).unwrap();
    assert!(looked.rows.iter().all(|row| row.problem.is_none()), "{:?}", looked.rows);
}

#[test]
fn whoever_reads_a_damaged_record_or_segment_has_it_told() {
    let (place, written) = three_segments();
    let Journal { writer, reader, .. } = place.open();
    let turn = |segment: u32, at: usize| {
        let mut bytes = fs::read(place.segment(segment)).unwrap();
        bytes[at] ^= 1;
        fs::write(place.segment(segment), bytes).unwrap();
    };
    turn(1, written[1].bytes().end - 1);
    turn(2, 9);
    // No record starts there, and nothing is damaged where one does.
    let odd = Position { segment: 3, offset: written[6].placed.record.offset + 8 };
    assert_eq!(reader.read(odd).unwrap(), None);
    assert!(place.damaged().is_empty());
    assert_eq!(reader.read(written[1].placed.record).unwrap(), None);
    assert_eq!(reader.read(written[3].placed.record).unwrap(), Some(written[3].payload.clone()));
    let offset = written[1].placed.record.offset;
    let named = [format!("journal-1-{offset}.damaged"), "journal-2-0.damaged".to_owned()];
    assert_eq!(place.damaged(), named.map(|name| place.quarantine().join(name)));
    drop(writer);
    let found = place.found();
    assert_eq!((found.damage.len(), found.records.len()), (0, written.len() - 1));
}

#[test]
fn a_journal_tells_what_it_lacks_of_a_segment() {
    let (place, written) = three_segments();
    let (whole, end) = (written[3].placed, written[5].placed.end);
    let reader = place.open().reader;
    assert_eq!(reader.ends_before(end).unwrap(), None);
    assert_eq!(reader.ends_before(Position { segment: 9, offset: 99 }).unwrap(), None);
    let file = fs::File::options().write(true).open(place.segment(2)).unwrap();
    file.set_len(u64::from(whole.end.offset) + 16).unwrap();
    assert_eq!(reader.ends_before(whole.end).unwrap(), None);
    assert_eq!(reader.ends_before(end).unwrap(), Some(whole.end));
}

#[test]
fn a_last_group_that_was_not_all_written_counts_up_to_there() {
    let (bytes, written) = small();
    let last = written[3].bytes().start..written[5].end();
    for (what, fill) in [("zeros", None), ("noise", Some(7))] {
        // A disk writes eight bytes at once at least: of a header, a part that is no noise.
        let at_once = |from: &usize| fill.is_none() || from.is_multiple_of(8);
        for from in last.clone().filter(at_once) {
            let mut torn = bytes.clone();
            let tail = noise(fill.unwrap_or(0), last.end - from);
            torn[from..last.end].fill(0);
            if fill.is_some() {
                torn[from..last.end].copy_from_slice(&tail);
            }
            let same = |w: &&Written| torn[w.bytes()] == bytes[w.bytes()];
            let whole: Vec<Written> = written.iter().take_while(same).cloned().collect();
            let end = whole.last().unwrap().end();
            let used = torn[end..].iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            check_torn(&torn, &whole, used, &format!("{what} from {from}"));
        }
    }
}

#[test]
fn pages_of_the_last_group_written_out_of_order_do_not_count() {
    let (mut bytes, written) = small();
    // The first record of the group did not reach the disk, those behind it did.
    bytes[written[3].bytes()].fill(0);
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    check_torn(&bytes, &written[..3], used - written[3].bytes().start, "a hole in the last group");
}

/// The bytes of a record that are flipped, one at a time: each field, and some of the payload.
fn bytes_to_flip(record: &Written) -> Vec<usize> {
    let range = record.bytes();
    let payload = range.start + HEADER..range.end;
    let header = [0, 1, 2, 3, 4, 7, 8, 11, 12, 15].map(|byte| range.start + byte);
    let middle = payload.start + payload.len() / 2;
    let some = [payload.start, middle, payload.end.saturating_sub(1)];
    header.into_iter().chain(some.into_iter().filter(|at| payload.contains(at))).collect()
}

#[test]
fn a_flipped_byte_costs_one_record_and_no_more() {
    let (newest, written) = small();
    let (sealed, _) = sealed();
    // In the segment that was being written, the last group may be torn; all before it was synced.
    for (what, bytes, victims) in [("newest", newest, 3), ("sealed", sealed, 6)] {
        for victim in &written[..victims] {
            let others = pairs(written.iter().filter(|record| *record != victim));
            for at in bytes_to_flip(victim) {
                let mut bytes = bytes.clone();
                bytes[at] ^= 0x10;
                check_damage(&bytes, &others, &format!("{what}: byte {at}"));
            }
        }
    }
}

#[test]
fn a_range_of_zeros_or_noise_costs_what_it_touches() {
    let (newest, written) = small();
    let (sealed, _) = sealed();
    let inside = |record: &Written| record.bytes().start + 3;
    for (what, bytes, ends) in [("newest", newest, 3), ("sealed", sealed, 6)] {
        for (first, last) in (0..ends).flat_map(|a| (a..ends).map(move |b| (a, b))) {
            let range = inside(&written[first])..written[last].bytes().end;
            let others = pairs(written[..first].iter().chain(&written[last + 1..]));
            for fill in [vec![0; range.len()], noise(99, range.len())] {
                let mut bytes = bytes.clone();
                bytes[range.clone()].copy_from_slice(&fill);
                check_damage(&bytes, &others, &format!("{what}: {range:?}"));
            }
        }
    }
}

#[test]
fn bytes_of_a_record_inside_a_payload_are_no_record() {
    let place = Place::new();
    let mut journal = place.open();
    append(&mut journal, &[vec![40], vec![24]]);
    let inner = fs::read(place.segment(1)).unwrap()[..200].to_vec();
    // At every distance from the next multiple of eight.
    let payloads: Vec<Vec<u8>> = (0..8).map(|n| [vec![1; n], inner.clone()].concat()).collect();
    let placed = journal.writer.append(&payloads).unwrap();
    append(&mut journal, &[vec![12]]);
    drop(journal);
    let mut bytes = fs::read(place.segment(1)).unwrap();
    let all = place.found();
    assert_eq!(all.records.len(), 11);
    bytes.truncate(placed[7].end.offset as usize + 256);
    for (index, placed) in placed.iter().enumerate() {
        let mut bytes = bytes.clone();
        bytes[placed.record.offset as usize] ^= 1;
        let mut others = all.records.clone();
        others.remove(2 + index);
        check_damage(&bytes, &others, &format!("record {index}"));
    }
}

/// Three segments with a group each, the last one unfinished.
fn three_segments() -> (Place, Vec<Written>) {
    let place = Place::new();
    let mut written = Vec::new();
    for _ in 0..3 {
        written.extend(append(&mut place.open(), &[vec![10, 20, 30]]));
    }
    drop(place.open());
    (place, written)
}

#[test]
fn a_missing_segment_is_noticed_once() {
    let (place, written) = three_segments();
    fs::remove_file(place.segment(2)).unwrap();
    let found = place.found();
    assert_eq!(found.records, pairs(written[..3].iter().chain(&written[6..])));
    assert_eq!(found.damage.len(), 1);
    assert_eq!(found.damage[0].from, Position { segment: 2, offset: 16 });
    assert_eq!(place.damaged(), [found.damage[0].aside.clone().unwrap()]);
    let again = place.found();
    assert_eq!((again.damage, again.records), (Vec::new(), found.records));
}

#[test]
fn a_first_segment_that_was_not_applied_is_missed() {
    for is_whole in [false, true] {
        let (place, written) = three_segments();
        fs::remove_file(place.segment(1)).unwrap();
        let Journal { reader, writer, .. } = place.open();
        let start = Position { segment: 1, offset: 16 };
        let tail = reader.tail(start);
        let mut tail = if is_whole { tail.whole() } else { tail };
        let first = tail.next(writer.end()).unwrap().unwrap();
        match first {
            Entry::Damage(damage) => assert!(is_whole && damage.from == start, "{damage:?}"),
            Entry::Record { position, .. } => {
                assert!(!is_whole && position == written[3].placed.record, "{position}");
            }
            Entry::Newer { .. } => unreachable!(),
        }
    }
}

#[test]
fn a_shortened_segment_in_the_middle_costs_what_was_cut() {
    let (whole, written) = three_segments();
    let segments = [1, 2, 3].map(|number| fs::read(whole.segment(number)).unwrap());
    for cut in 0..segments[1].len() {
        let place = Place::holding(&segments[0]);
        fs::write(place.segment(2), &segments[1][..cut]).unwrap();
        fs::write(place.segment(3), &segments[2]).unwrap();
        let found = place.found();
        let kept = |record: &&Written| record.placed.record.segment != 2 || record.end() <= cut;
        assert_eq!(found.records, pairs(written.iter().filter(kept)), "cut at {cut}");
        assert_eq!((found.damage.len(), place.damaged().len()), (1, 1), "cut at {cut}");
        let again = place.found();
        assert_eq!((again.damage, again.records), (Vec::new(), found.records), "cut at {cut}");
    }
}

#[test]
fn trimming_stops_at_the_checkpoint() {
    let (place, written) = three_segments();
    let Journal { writer, reader, .. } = place.open();
    let old = reader.start().unwrap();
    let later = Time::from_seconds(Time::parse("2100-01-01T00:00:00Z").unwrap().second());
    let checkpoint = written[7].placed.record;
    assert_eq!(reader.trim(checkpoint, Time::from_seconds(0)).unwrap(), 0, "all of it is new");
    assert_eq!(reader.trim(old, later).unwrap(), 0);
    assert_eq!(reader.trim(checkpoint, later).unwrap(), 2);
    assert_eq!(reader.trim(checkpoint, later).unwrap(), 0);
    assert_eq!(reader.start().unwrap(), written[6].placed.record);
    assert_eq!(reader.read(written[0].placed.record).unwrap(), None);
    // Who was still reading there goes on with what is left, and nobody calls that damage.
    let mut tail = reader.tail(old);
    for record in &written[6..] {
        let entry = tail.next(writer.end()).unwrap();
        assert!(matches!(entry, Some(Entry::Record { position, .. })
            if position == record.placed.record));
    }
    assert!(tail.next(writer.end()).unwrap().is_none());
    assert!(place.damaged().is_empty());
}

#[test]
fn a_second_opening_is_refused() {
    let place = Place::new();
    let first = place.open();
    let second = journal::open(&place.journal(), &place.quarantine());
    assert!(matches!(second, Err(OpenError::InUse(path)) if path == place.journal()));
    drop(first);
    place.open();
}

#[test]
fn a_reader_beside_the_writer_sees_whole_records_only() {
    const GROUPS: usize = 300;
    let place = Place::new();
    let Journal { mut writer, reader, .. } = place.open();
    let start = writer.end();
    let committed = AtomicU64::new(start.as_u64());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for group in 0..GROUPS {
                let payload = |index| noise(group * 3 + index, 50 + group % 7 * 100);
                writer.append(&[payload(0), payload(1), payload(2)]).unwrap();
                committed.store(writer.end().as_u64(), Ordering::Release);
            }
        });
        let mut tail = reader.tail(start);
        let mut seen = 0;
        while seen < GROUPS * 3 {
            let end = Position::from_u64(committed.load(Ordering::Acquire));
            let Some(entry) = tail.next(end).unwrap() else {
                std::thread::yield_now();
                continue;
            };
            let Entry::Record { payload, .. } = entry else { panic!("{entry:?}") };
            assert_eq!(payload, noise(seen, 50 + seen / 3 % 7 * 100));
            seen += 1;
        }
    });
}

#[test]
fn readers_that_meet_the_same_damage_report_it_once() {
    let (mut bytes, written) = sealed();
    bytes[written[1].bytes().start] ^= 1;
    let place = Place::holding(&bytes);
    let Journal { writer, reader, recovery } = place.open();
    // The newest segment is looked through at opening: begin another, and damage the old one.
    assert_eq!(recovery.damage.len(), 1);
    fs::remove_file(&place.damaged()[0]).unwrap();
    bytes[written[4].bytes().start] ^= 1;
    fs::write(place.segment(1), &bytes).unwrap();
    let reports: usize = std::thread::scope(|scope| {
        let read = || {
            let mut tail = reader.tail(reader.start().unwrap());
            let (mut reports, mut records) = (0, 0);
            while let Some(entry) = tail.next(writer.end()).unwrap() {
                match entry {
                    Entry::Record { .. } => records += 1,
                    Entry::Damage(_) => reports += 1,
                    Entry::Newer { position, .. } => panic!("{position} is of a newer form"),
                }
            }
            assert_eq!(records, written.len() - 2);
            reports
        };
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(read)).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert_eq!(reports, 2, "one for each of the two places");
    assert_eq!(place.damaged().len(), 2);
}

/// What the rules say of a segment without a seal that was cut at `cut` and then hit at `hit`.
fn expected(written: &[Written], cut: usize, hit: Option<usize>) -> Vec<(Position, Vec<u8>)> {
    let whole: Vec<&Written> = written.iter().filter(|record| record.end() <= cut).collect();
    let is_hit = |record: &&&Written| hit.is_some_and(|at| record.bytes().contains(&at));
    let Some(victim) = whole.iter().find(is_hit) else {
        return pairs(whole);
    };
    let newest = whole.iter().filter(|record| !is_hit(record)).map(|record| record.group).max();
    if newest > Some(victim.group) {
        pairs(whole.iter().filter(|record| !is_hit(record)).copied())
    } else {
        pairs(whole.iter().take_while(|record| !is_hit(record)).copied())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_sizes_any_cut_any_flip(
        groups in prop::collection::vec(prop::collection::vec(0usize..1500, 1..6), 1..8),
        cut in any::<prop::sample::Index>(),
        flip in prop::option::of((any::<prop::sample::Index>(), 0u8..8)),
    ) {
        let (mut bytes, written) = crashed(&groups);
        let cut = HEADER + cut.index(bytes.len() - HEADER) + 1;
        bytes.truncate(cut);
        let mut hit = None;
        if let Some((index, bit)) = flip {
            let at = index.index(bytes.len());
            bytes[at] ^= 1 << bit;
            hit = Some(at);
        }
        let place = Place::holding(&bytes);
        let found = place.found();
        prop_assert_eq!(&found.records, &expected(&written, cut, hit));
        prop_assert_eq!(place.damaged().len(), found.damage.len());
        let again = place.found();
        prop_assert_eq!(again.records, found.records);
        prop_assert_eq!((again.torn, again.damage), (0, Vec::new()));
    }
}

#[test]
fn what_was_acknowledged_is_read_where_it_was_written() {
    let place = Place::new();
    let Journal { mut writer, reader, .. } = place.open();
    let first = writer.append(&[b"first".to_vec()]).unwrap()[0];
    let (journal, away) = (place.journal(), place.dir.path().join("away"));
    fs::rename(&journal, &away).unwrap();
    copy(&away, &journal);
    // A reader comes upon the copy before the journal is put back.
    assert_eq!(reader.read(first.record).unwrap().as_deref(), Some(&b"first"[..]));
    fs::remove_dir_all(&journal).unwrap();
    fs::rename(&away, &journal).unwrap();
    writer.append(&[b"second".to_vec()]).unwrap();
    let next = reader.tail(first.end).next(writer.end()).unwrap();
    assert!(matches!(next, Some(Entry::Record { payload, .. }) if payload == b"second"));
}

#[test]
fn no_segment_of_another_directory_is_read() {
    let place = Place::new();
    let mut journal = place.open();
    let written = append(&mut journal, &[vec![30]]);
    drop(journal);
    // That one is sealed, and not open yet.
    let Journal { writer, reader, .. } = place.open();
    let other = Place::new();
    append(&mut other.open(), &[vec![7]]);
    let away = place.dir.path().join("away");
    fs::rename(place.journal(), &away).unwrap();
    fs::rename(other.journal(), place.journal()).unwrap();
    assert_eq!(reader.read(written[0].placed.record).unwrap(), Some(written[0].payload.clone()));
    let mut tail = reader.tail(reader.start().unwrap());
    let next = tail.next(writer.end()).unwrap();
    assert!(matches!(next, Some(Entry::Record { payload, .. }) if payload == written[0].payload));
    assert!(place.damaged().is_empty());
}

#[test]
fn a_whole_record_of_a_newer_form_is_no_damage() {
    let (bytes, written) = sealed();
    let newer = &written[3];
    let start = newer.placed.record.offset as usize;
    for (kind, form) in [(1, 1), (4, 0), (255, 255)] {
        let mut bytes = bytes.clone();
        (bytes[start + 2], bytes[start + 3]) = (kind, form);
        // Changed alone it is damage.
        check_damage(&bytes, &pairs(written.iter().filter(|w| w.placed != newer.placed)), "alone");
        let mut crc = crc32fast::Hasher::new();
        crc.update(&1_u32.to_le_bytes());
        crc.update(&newer.placed.record.offset.to_le_bytes());
        crc.update(&bytes[start..start + 12]);
        crc.update(&newer.payload);
        bytes[start + 12..start + 16].copy_from_slice(&crc.finalize().to_le_bytes());
        let place = Place::holding(&bytes);
        let Journal { writer, reader, recovery } = place.open();
        assert_eq!((recovery.torn, recovery.damage.len()), (0, 0));
        let mut tail = reader.tail(reader.start().unwrap());
        for before in &written[..3] {
            let next = tail.next(writer.end()).unwrap();
            assert!(
                matches!(next, Some(Entry::Record { payload, .. }) if payload == before.payload)
            );
        }
        // However often it is met.
        for _ in 0..2 {
            let Some(Entry::Newer { position, form }) = tail.next(writer.end()).unwrap() else {
                panic!("{kind} {form}");
            };
            assert_eq!((position, form), (newer.placed.record, kind));
        }
        drop(writer);
        assert_eq!(fs::read(place.segment(1)).unwrap(), bytes, "it is left as it is");
        let looked = journal::verify(&place.journal(), None, &|_| true).unwrap();
        let ill = looked.rows.iter().filter_map(|row| row.problem.as_deref());
        let newer = "a record is not in a form that this version reads";
        assert_eq!(ill.collect::<Vec<_>>(), [newer]);
    }
}
