//! What was told is found at any place, in memory and in runs; and no damage to a run passes.

use super::*;
use crate::model::Origin;

const END: Position = QuarantineId::LAST.record;

fn id(number: u32) -> EventId {
    let mut bytes = [0; 16];
    // In places of their own, as hashes are.
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
    bytes[8..12].copy_from_slice(&number.wrapping_mul(0x85eb_ca6b).to_be_bytes());
    EventId::from_bytes(bytes)
}

fn address(number: u32) -> Hash {
    u64::from(number % 97).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn at(offset: u32) -> QuarantineId {
    QuarantineId { record: Position { segment: 1 + offset / 1_000, offset }, element: 0 }
}

fn open(dir: &Path) -> Index {
    Index::open(dir, (Position::default(), END)).unwrap()
}

/// Tells events, by webhook first and every third by poll in the next record but one.
fn tell(index: &Index, numbers: std::ops::Range<u32>) {
    let (mut rows, mut names) = (BTreeMap::new(), BTreeSet::new());
    for number in numbers {
        let row = |place| row(address(number), id(number), at(place));
        rows.insert(row(number), EventRef::bit(Origin::Webhook));
        if number.is_multiple_of(3) {
            rows.insert(row(number + 2), EventRef::bit(Origin::Poll));
        }
        names.insert(name(address(number + 1), address(number)));
    }
    index.add(rows, names);
}

fn assert_told(index: &Index, numbers: std::ops::Range<u32>) {
    for number in numbers.clone() {
        let found = index.told(address(number), id(number), QuarantineId::LAST).unwrap().unwrap();
        let QuarantineId { record, element } = at(number);
        assert_eq!((found.record, found.element), (record, element), "{number}");
        assert_eq!(found.origins().len(), if number % 3 == 0 { 2 } else { 1 }, "{number}");
        assert!(index.addresses_of(address(number + 1)).unwrap().contains(&address(number)));
    }
    let events: usize = (0..97).map(|n| index.events_of(address(n)).unwrap().count()).sum();
    assert_eq!(events, numbers.len());
    let behind = numbers.end;
    assert!(index.told(address(behind), id(behind), QuarantineId::LAST).unwrap().is_none());
}

#[test]
fn what_was_told_is_found_in_memory_and_in_runs_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let count = || fs::read_dir(dir.path()).unwrap().count();
    for step in 0..20 {
        tell(&index, step * 400..(step + 1) * 400);
        assert_told(&index, 0..(step + 1) * 400);
        index.flush(at((step + 1) * 400).record).unwrap();
        if index.is_merge_due() {
            index.merge().unwrap();
        }
        assert!(count() < 8, "{step}: {}", count());
    }
    assert_told(&index, 0..8_000);
    assert!(verify_index(dir.path()).unwrap().iter().all(|row| row.problem.is_none()));
    let index = open(dir.path());
    assert_eq!(index.covered(), at(8_000).record);
    assert_told(&index, 0..8_000);
    // What the journal has no more is forgotten, at once.
    index.trim(at(5_000).record).unwrap();
    assert!(index.told(address(4_997), id(4_997), QuarantineId::LAST).unwrap().is_none());
    assert_told_from(&index, 5_000, 8_000);
}

fn assert_told_from(index: &Index, from: u32, to: u32) {
    for number in from..to {
        assert!(index.told(address(number), id(number), QuarantineId::LAST).unwrap().is_some());
    }
}

#[test]
fn what_comes_later_is_not_known_at_a_place_that_is_gone_through_again() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    tell(&index, 0..100);
    let of = |index: &Index, number: u32, place: u32| {
        let found = index.told(address(number), id(number), at(place)).unwrap();
        found.map_or(0, |found| found.origins().len())
    };
    assert_eq!([30, 31, 32, 33].map(|place| of(&index, 30, place)), [2; 4], "it was not there");
    index.flush(at(200).record).unwrap();
    let index = open(dir.path());
    assert_eq!([29, 30, 31, 32, 33].map(|place| of(&index, 30, place)), [0, 0, 1, 1, 2]);
    // As often as it is told there.
    tell(&index, 0..100);
    assert_eq!([30, 31, 32, 33].map(|place| of(&index, 30, place)), [0, 1, 1, 2]);
    assert_eq!(of(&index, 30, 300), 2);
}

/// A folder with the run of some events alone, and its file.
fn one_run() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    tell(&index, 0..300);
    index.flush(at(400).record).unwrap();
    let file = files(dir.path()).unwrap().remove(0).2;
    (dir, file)
}

#[test]
fn every_damage_to_a_run_is_found_and_none_is_believed() {
    let (dir, file) = one_run();
    let whole = fs::read(&file).unwrap();
    let problem = || verify_index(dir.path()).unwrap()[0].problem.is_some();
    assert!(!problem());
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert!(problem(), "changed at {at}");
    }
    for length in (0..whole.len()).step_by(7) {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(problem(), "cut at {length}");
        assert_eq!(open(dir.path()).covered(), Position::default(), "cut at {length}");
        assert!(!file.exists());
    }
    fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
    assert!(problem(), "longer");
    let other = draft::path(dir.path(), Position::default(), at(300).record);
    fs::rename(&file, &other).unwrap();
    fs::write(&other, &whole).unwrap();
    assert!(problem(), "another name");
}

#[test]
fn damage_that_a_look_finds_is_told_and_its_run_is_removed() {
    let (dir, file) = one_run();
    let index = open(dir.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes[run::HEAD..run::HEAD + 100].fill(7);
    fs::write(&file, bytes).unwrap();
    let looks = (0..300).map(|n| index.told(address(n), id(n), QuarantineId::LAST));
    assert!(looks.into_iter().any(|found| matches!(found, Err(StoreError::Damaged(_)))));
    assert!(index.check().is_err() && !file.exists());
    assert_eq!(open(dir.path()).covered(), Position::default());
}

#[test]
fn a_gap_takes_what_is_behind_it_and_what_a_merge_has_taken_in_goes() {
    let (dir, first) = one_run();
    let index = open(dir.path());
    let next = |from: u32| {
        tell(&index, from..from + 10);
        index.flush(at(from + 100).record).unwrap();
    };
    (400..1_000).step_by(100).for_each(next);
    let spare = fs::read(&first).unwrap();
    tell(&index, 1_000..1_010);
    index.flush(at(1_100).record).unwrap();
    index.merge().unwrap();
    assert_eq!(files(dir.path()).unwrap().len(), 1);
    fs::write(&first, &spare).unwrap();
    assert_eq!(open(dir.path()).covered(), at(1_100).record);
    assert!(!first.exists(), "all of it is in the other");
    tell(&index, 1_100..1_110);
    index.flush(at(1_200).record).unwrap();
    tell(&index, 1_200..1_210);
    index.flush(at(1_300).record).unwrap();
    let runs = files(dir.path()).unwrap();
    fs::remove_file(&runs[1].2).unwrap();
    assert_eq!(open(dir.path()).covered(), at(1_100).record);
    assert!(!runs[2].2.exists());
    // Nor is it believed what goes beyond the journal.
    let short = Index::open(dir.path(), (Position::default(), at(1_000).record)).unwrap();
    assert_eq!(short.covered(), Position::default());
}

#[test]
fn what_a_newer_version_wrote_is_left_as_it_is() {
    let (dir, file) = one_run();
    let mut bytes = fs::read(&file).unwrap();
    bytes[7] += 1;
    fs::write(&file, &bytes).unwrap();
    let opened = Index::open(dir.path(), (Position::default(), END));
    assert!(matches!(opened, Err(StoreError::Newer(_))));
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert!(verify_index(dir.path()).unwrap()[0].problem.as_ref().unwrap().contains("newer"));
}

#[test]
fn whom_it_erases_is_in_no_run_and_all_others_are() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let ann = Address::parse("ann@one.test").unwrap();
    let of_ann = hash(ann.key());
    for step in 0..3 {
        let numbers = step * 400..(step + 1) * 400;
        tell(&index, numbers.clone());
        if step != 1 {
            let rows = BTreeMap::from([(row(of_ann, id(step), at(numbers.start)), 1)]);
            index.add(rows, BTreeSet::from([name(address(step), of_ann)]));
        }
        index.flush(at(numbers.end).record).unwrap();
    }
    let sizes = || {
        let files = files(dir.path()).unwrap().into_iter();
        files.map(|(.., path)| fs::metadata(path).unwrap().len()).collect::<Vec<_>>()
    };
    let before = sizes();
    assert_eq!(index.events_of(of_ann).unwrap().count(), 2);
    index.erase(&[ann]).unwrap();
    for index in [&index, &open(dir.path())] {
        assert_eq!(index.events_of(of_ann).unwrap().count(), 0);
        assert!(!index.addresses_of(address(2)).unwrap().contains(&of_ann));
        assert_eq!(index.covered(), at(1_200).record);
        assert_told(index, 0..1_200);
    }
    let is_smaller: Vec<bool> = before.iter().zip(sizes()).map(|(b, now)| now < *b).collect();
    assert_eq!(is_smaller, [true, false, true]);
}

#[test]
fn what_is_kept_of_a_record_is_there_for_the_next_life_alone() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    tell(&index, 0..500);
    index.flush(at(500).record).unwrap();
    assert_eq!(open(dir.path()).kept(), (at(500).record, 0), "nothing was kept");
    let record = at(700).record;
    let within = |element| QuarantineId { record, element };
    tell(&index, 500..600);
    let rows = [3, 8].map(|element| row(address(700), id(700 + element), within(element)));
    index.add(rows.into_iter().map(|row| (row, 1)).collect(), BTreeSet::new());
    index.keep(record).unwrap();

    let next = open(dir.path());
    assert_eq!((next.covered(), next.kept()), (at(500).record, (record, 8)));
    assert_eq!(next.read().rows, index.read().rows);
    assert_eq!(next.read().names, index.read().names);
    let told = |element: u32, at| next.told(address(700), id(700 + element), within(at)).unwrap();
    assert!(told(3, 4).is_some() && told(8, 9).is_some());
    assert!(told(3, 3).is_none() && told(8, 4).is_none(), "what comes later is not known yet");
    // A run has it, and what was kept is gone.
    let file = dir.path().join("within.part");
    let kept = fs::read(&file).unwrap();
    index.flush(at(701).record).unwrap();
    assert!(!file.exists());
    fs::write(&file, &kept).unwrap();
    assert_eq!(open(dir.path()).kept(), (at(701).record, 0), "it is of before");
    assert!(!file.exists());
}

#[test]
fn what_was_kept_and_is_not_whole_or_goes_too_far_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    tell(&index, 0..300);
    index.keep(at(299).record).unwrap();
    let file = dir.path().join("within.part");
    let kept = fs::read(&file).unwrap();
    let kept_of = |bytes: &[u8], end| {
        fs::write(&file, bytes).unwrap();
        Index::open(dir.path(), (Position::default(), end)).unwrap().kept()
    };
    assert_eq!(kept_of(&kept, END), (at(299).record, 0));
    assert_eq!(kept_of(&kept, at(299).record), (Position::default(), 0), "the journal was cut");
    for byte in (0..kept.len()).step_by(37) {
        let mut bytes = kept.clone();
        bytes[byte] ^= 1;
        assert_eq!(kept_of(&bytes, END), (Position::default(), 0), "{byte}");
        assert_eq!(kept_of(&kept[..byte], END), (Position::default(), 0), "{byte}");
    }
}
