//! Packed segments: whatever happens to one, the journal gives back what it would of a plain one.

use std::cell::Cell;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use suppressd::journal::{self, Entry, Journal};
use suppressd::model::{Position, Time};

use crate::journal::{Found, Place};
use crate::rebuild::copy;
use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, cli};
use crate::support::wait_for;

/// Plain bytes in a block.
const BLOCK: usize = 64 << 10;

type Records = Vec<(Position, Vec<u8>)>;

/// A journal of so many complete segments, of three blocks each, and what is in it.
fn written(segments: u32) -> (Place, Records) {
    let place = Place::new();
    for segment in 0..segments {
        let Journal { mut writer, .. } = place.open();
        for group in 0..4 {
            let numbers = (0..200).map(|number| (segment * 4 + group) * 200 + number);
            let bounce = |n| event("hard_bounce", &format!("user{n}@x.test"), "m", n);
            writer.append(&numbers.map(|n| bounce(n).into_bytes()).collect::<Vec<_>>()).unwrap();
        }
    }
    let records = place.found().records;
    assert_eq!(records.len(), segments as usize * 800);
    (place, records)
}

impl Place {
    fn copy(&self) -> Place {
        let other = Place::new();
        copy(self.dir.path(), other.dir.path());
        other
    }

    /// Packs all segments; says how many.
    fn pack(&self) -> u64 {
        self.open().reader.pack((0, u32::MAX), &|| true).unwrap().segments
    }

    /// What `verify` names.
    fn problems(&self) -> usize {
        journal::verify(&self.journal(), None, &|_| true).unwrap().rows.len() - 1
    }

    /// The names in the journal's folder.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.journal()).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What is damaged is told, once or as the head and the end of a segment, and kept aside; it
    /// costs these records and no more, and is mended.
    #[track_caller]
    fn check_damage(&self, number: u32, kept: &Records, most: usize, case: &str) {
        let bytes = fs::read(self.segment(number)).unwrap();
        assert!(self.problems() > 0, "{case}: verify names it");
        let found = self.found();
        assert!(found.records == *kept, "{case}: {} records", found.records.len());
        assert!(found.torn == 0 && (1..=most).contains(&found.damage.len()), "{case}");
        let first = found.damage[0].aside.clone().unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        assert!(fs::read(first).unwrap() == bytes[..used], "{case}: the copy differs");
        let again = self.found();
        assert_eq!((again.torn, again.damage), (0, Vec::new()), "{case}");
        assert!(again.records == *kept, "{case}");
    }
}

fn segment(state: &Path, number: u32) -> PathBuf {
    state.join(format!("journal/{number:010}.seg"))
}

fn is_packed(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SUPJRNL2"))
}

/// The blocks of a packed segment: where each lies in the file, as ARCHITECTURE's forms say.
fn blocks(bytes: &[u8]) -> Vec<Range<usize>> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let count = number(16).div_ceil(BLOCK);
    let mut at = 16 + 12 + 8 * count;
    let mut block = |index| {
        let start = at;
        at += number(20 + 8 * index);
        start..at
    };
    (0..count).map(&mut block).collect()
}

/// The records of which nothing lies in a block of a segment.
fn outside(records: &Records, segment: u32, blocks: Range<usize>) -> Records {
    let (start, end) = (blocks.start * BLOCK, blocks.end * BLOCK);
    let is_outside = |(position, payload): &&(Position, Vec<u8>)| {
        let at = position.offset as usize;
        position.segment != segment || at + 16 + payload.len() <= start || at >= end
    };
    records.iter().filter(is_outside).cloned().collect()
}

#[test]
fn a_packed_segment_gives_back_all_of_the_plain_one() {
    let (place, records) = written(3);
    let meta = |number| fs::metadata(place.segment(number)).unwrap();
    let before = [1, 2, 3].map(meta);
    let between = |place: &Place| {
        let Journal { writer, reader, .. } = place.open();
        reader.bytes_between(reader.start().unwrap(), writer.end()).unwrap()
    };
    let bytes = between(&place);
    let Journal { reader, .. } = place.open();
    let mut tail = reader.tail(records[0].0);
    let end = Position { segment: 4, offset: 16 };
    tail.next(end).unwrap().unwrap();
    let packing = reader.pack((0, 9), &|| true).unwrap();
    assert_eq!((packing.segments, packing.done), (3, 9));
    assert!(packing.after * 3 < packing.before, "{packing:?}");
    for (position, payload) in records.iter().step_by(97).chain(records.iter().rev().step_by(61)) {
        assert!(reader.read(*position).unwrap().as_ref() == Some(payload), "{position}");
    }
    let Some(Entry::Record { position, .. }) = tail.next(end).unwrap() else {
        panic!("it goes on")
    };
    assert_eq!(position, records[1].0);
    assert_eq!(reader.pack((0, 9), &|| true).unwrap().segments, 0, "all of them are packed");
    drop((tail, reader));
    for (number, before) in (1..).zip(before) {
        let packed = meta(number);
        assert!(is_packed(&place.segment(number)) && packed.len() * 3 < before.len());
        assert_eq!((packed.mtime(), packed.mode()), (before.mtime(), before.mode()));
    }
    assert_eq!(place.problems(), 0);
    assert_eq!(between(&place), bytes, "lag is counted in plain bytes");
    assert_eq!(place.found(), Found { torn: 0, damage: Vec::new(), records });
    assert_eq!(place.names().len(), 3);
}

#[test]
fn a_flipped_byte_of_a_packed_segment_costs_its_block_and_no_more() {
    let (place, records) = written(2);
    assert_eq!(place.pack(), 2);
    // The newest is recovered at the start, an older one mended by who reads it.
    for number in [1, 2] {
        let bytes = fs::read(place.segment(number)).unwrap();
        let blocks = blocks(&bytes);
        let (start, end) = (blocks[0].start, blocks[2].end);
        let tables = [0, 8, 16, 20, start - 1, end, end + 20, bytes.len() - 9, bytes.len() - 1];
        let inside = blocks.iter().flat_map(|block| [block.start, block.end - 1]);
        for at in tables.into_iter().chain(inside) {
            let place = place.copy();
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x20;
            fs::write(place.segment(number), &bytes).unwrap();
            let kept = match blocks.iter().position(|block| block.contains(&at)) {
                Some(hit) => outside(&records, number, hit..hit + 1),
                None => records.clone(),
            };
            place.check_damage(number, &kept, 1, &format!("segment {number}, byte {at}"));
        }
    }
}

#[test]
fn a_packed_segment_that_was_cut_gives_back_the_blocks_before() {
    let (place, records) = written(2);
    assert_eq!(place.pack(), 2);
    for number in [1, 2] {
        let bytes = fs::read(place.segment(number)).unwrap();
        let blocks = blocks(&bytes);
        let (start, end) = (blocks[0].start, blocks[2].end);
        for cut in [20, start - 1, start, blocks[1].start, blocks[1].end - 1, end, bytes.len() - 1]
        {
            let place = place.copy();
            fs::write(place.segment(number), &bytes[..cut]).unwrap();
            let whole = blocks.iter().filter(|block| block.end <= cut && start <= cut).count();
            let kept = outside(&records, number, whole..3);
            place.check_damage(number, &kept, 2, &format!("segment {number}, cut at {cut}"));
        }
        let place = place.copy();
        let mut front = bytes.clone();
        front[..start].fill(0xff);
        fs::write(place.segment(number), &front).unwrap();
        place.check_damage(number, &records, 1, "without all that is in front");
    }
}

#[test]
fn what_happens_to_a_segment_while_it_is_packed_counts() {
    let (place, records) = written(2);
    let Journal { reader, .. } = place.open();
    let first = fs::read(place.segment(1)).unwrap();
    let rounds = Cell::new(0);
    // At each place that can be: behind the last block nothing is asked any more.
    let at = |round: u32, work: &dyn Fn()| {
        rounds.set(0);
        let go_on = || {
            rounds.set(rounds.get() + 1);
            if rounds.get() == round {
                work();
            }
            true
        };
        reader.pack((1, 2), &go_on).map(|packing| packing.segments)
    };
    let touched = at(2, &|| fs::write(place.segment(1), &first).unwrap());
    assert_eq!(touched.unwrap(), 0, "it may hold something else");
    assert!(fs::read(place.segment(1)).unwrap() == first);
    let other = at(3, &|| {
        fs::write(place.dir.path().join("other"), &first).unwrap();
        fs::rename(place.dir.path().join("other"), place.segment(1)).unwrap();
    });
    assert_eq!(other.unwrap(), 0, "it is another file");
    let none = reader.pack((1, 2), &|| false).unwrap();
    assert_eq!((none.segments, none.done), (0, 1), "it was not to go on");
    assert_eq!(place.names(), ["0000000001.seg", "0000000002.seg"]);
    let far = Time::from_seconds(i64::MAX / 2);
    let trimmed = at(3, &|| {
        assert_eq!(reader.trim(Position { segment: 2, offset: 16 }, far).unwrap(), 1);
    });
    assert_eq!((trimmed.unwrap(), place.names()), (0, vec!["0000000002.seg".to_owned()]));
    assert_eq!(reader.pack((0, 9), &|| true).unwrap().segments, 1);
    drop(reader);
    assert!(place.found().records == outside(&records, 1, 0..3));
}

#[test]
fn what_a_stop_has_left_of_packing_goes_at_the_next_start() {
    let (place, records) = written(2);
    let plain = fs::read(place.segment(1)).unwrap();
    assert_eq!(place.pack(), 2);
    let packed = fs::read(place.segment(1)).unwrap();
    for cut in [0, 16, 900, packed.len()] {
        fs::write(place.segment(1), &plain).unwrap();
        fs::write(place.segment(1).with_extension("pack"), &packed[..cut]).unwrap();
        fs::write(place.segment(2).with_extension("plain"), &plain[..cut]).unwrap();
        let found = place.found();
        assert!(found.damage.is_empty() && found.records == records, "{cut}");
        assert_eq!(place.names(), ["0000000001.seg", "0000000002.seg"]);
    }
}

#[test]
fn what_is_damaged_or_saves_nothing_stays_plain() {
    let (place, _) = written(1);
    let mut bytes = fs::read(place.segment(1)).unwrap();
    bytes[70_000] ^= 1;
    fs::write(place.segment(1), &bytes).unwrap();
    let Journal { mut writer, reader, .. } = place.open();
    bytes[70_000] ^= 2;
    fs::write(place.segment(1), &bytes).unwrap();
    assert_eq!(reader.pack((0, 9), &|| true).unwrap().segments, 0, "it is to be mended before");
    assert!(fs::read(place.segment(1)).unwrap() == bytes);
    bytes[70_000] ^= 3;
    bytes[9] ^= 1;
    fs::write(place.segment(1), &bytes).unwrap();
    assert_eq!(reader.pack((0, 9), &|| true).unwrap().segments, 0, "so is its header");
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    writer.append(&[(0..200_000).map(|_| noise()).collect()]).unwrap();
    writer.seal().unwrap();
    assert_eq!(reader.pack((2, 9), &|| true).unwrap().segments, 0);
    assert!(!is_packed(&place.segment(2)));
}

/// Has the daemon be told of so many recipients.
fn told(daemon: &Daemon, numbers: Range<u32>) {
    let bounce = |n: u32| event("hard_bounce", &format!("user{n}@x.test"), &format!("m{n}"), n);
    for start in numbers.clone().step_by(20) {
        let some = (start..numbers.end.min(start + 20)).map(bounce).collect::<Vec<_>>();
        assert_eq!(notify(daemon.http, &format!("[{}]", some.join(","))).status, 200);
    }
}

/// A state of two complete segments, and a daemon that has begun the third: so it packs those.
fn packing(home: &Home) -> Daemon {
    for round in 0..2 {
        let daemon = home.start().ready();
        told(&daemon, round * 500..round * 500 + 500);
        daemon.stop();
    }
    let daemon = home.start().ready();
    told(&daemon, 1000..1010);
    daemon
}

fn until_packed(home: &Home, number: u32) {
    wait_for("packing", PATIENCE, || is_packed(&segment(&home.state(), number)).then_some(()));
}

fn events(daemon: &Daemon) -> Vec<String> {
    let rows = daemon.rows(&["events"]);
    let mut all: Vec<String> = rows.iter().map(|row| row["address"].to_string()).collect();
    all.sort();
    all
}

fn all() -> Vec<String> {
    let mut all: Vec<String> = (0..1010).map(|n| format!("\"user{n}@x.test\"")).collect();
    all.sort();
    all
}

#[track_caller]
fn assert_all(daemon: &Daemon) {
    wait_for("all events", PATIENCE, || (events(daemon).len() == 1010).then_some(()));
    assert_eq!(events(daemon), all());
    assert_eq!(daemon.rows(&["list"]).len(), 1010);
}

#[test]
fn a_daemon_packs_what_is_complete_and_misses_nothing_of_it() {
    let home = Home::new("");
    let daemon = packing(&home);
    (1..=2).for_each(|number| until_packed(&home, number));
    assert!(!is_packed(&segment(&home.state(), 3)), "it is being written");
    assert_all(&daemon);
    assert_eq!(daemon.answer(&["verify"]).0, 0);
    let backup = home.dir.join("b.backup");
    assert!(daemon.cli(&["backup", backup.to_str().unwrap()]).status.success());
    daemon.stop();
    for made in ["sled", "base", "checkpoint", "index"] {
        fs::remove_dir_all(home.state().join(made)).unwrap();
    }
    let daemon = home.start().ready();
    assert_all(&daemon);
    daemon.until_well();
    daemon.stop();
    // The newest of a backup may be packed, too.
    fs::remove_file(segment(&home.state(), 3)).unwrap();
    for made in ["sled", "base", "checkpoint", "index"] {
        fs::remove_dir_all(home.state().join(made)).unwrap();
    }
    let cut = home.dir.join("cut.backup");
    let made = cli(&home.config(), &["backup", cut.to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
    for (file, count) in [(&backup, 1010), (&cut, 1000)] {
        let other = Home::new("");
        let restored = cli(&other.config(), &["restore", file.to_str().unwrap()]);
        assert!(restored.status.success(), "{restored:?}");
        assert!(is_packed(&segment(&other.state(), 2)));
        let daemon = other.start().ready();
        wait_for("the events", PATIENCE, || (events(&daemon).len() == count).then_some(()));
        daemon.until_well();
        assert_eq!(daemon.answer(&["verify"]).0, 0);
        daemon.stop();
    }
}

#[test]
fn a_kill_while_segments_are_packed_loses_nothing() {
    let home = Home::new("");
    packing(&home).kill();
    let plain = Home::new("");
    for round in 0..6 {
        fs::remove_dir_all(plain.state()).unwrap_or_default();
        copy(&home.state(), &plain.state());
        let daemon = plain.start();
        // Later from round to round.
        wait_for("packing", PATIENCE, || {
            let names = fs::read_dir(plain.state().join("journal")).unwrap();
            let is_begun = names
                .map_while(Result::ok)
                .any(|entry| entry.path().extension().is_some_and(|ending| ending == "pack"));
            let is_done = is_packed(&segment(&plain.state(), 1 + round % 2));
            (is_done || is_begun && round < 4).then_some(())
        });
        daemon.kill();
        let daemon = plain.start().ready();
        assert_all(&daemon);
        (1..=2).for_each(|number| until_packed(&plain, number));
        assert_eq!(daemon.answer(&["verify"]).0, 0, "round {round}");
        daemon.stop();
    }
}

#[test]
fn damage_to_what_is_packed_is_told_once_and_mended() {
    let home = Home::new("");
    let daemon = packing(&home);
    (1..=2).for_each(|number| until_packed(&home, number));
    daemon.stop();
    let oldest = segment(&home.state(), 1);
    let mut bytes = fs::read(&oldest).unwrap();
    let hit = blocks(&bytes)[0].start + 100;
    bytes[hit] ^= 1;
    fs::write(&oldest, &bytes).unwrap();
    let daemon = home.start().ready();
    wait_for("it to be told", PATIENCE, || daemon.readyz().body.contains(".damaged").then_some(()));
    wait_for("mending", PATIENCE, || (!is_packed(&oldest)).then_some(()));
    assert_eq!(daemon.rows(&["list"]).len(), 1010, "what was concluded stays");
    let left = events(&daemon);
    assert!(left.len() < 1010 && left.contains(&"\"user499@x.test\"".to_owned()), "{}", left.len());
    let quarantine = home.state().join("quarantine");
    let kept = fs::read_dir(&quarantine).unwrap().map(|entry| entry.unwrap().path());
    let mut kept: Vec<PathBuf> = kept.collect();
    kept.sort();
    assert!(fs::read(&kept[0]).unwrap() == bytes, "the copy is the segment as it was");
    kept.iter().for_each(|path| fs::remove_file(path).unwrap());
    daemon.until_well();
    daemon.stop();
    let daemon = home.start().ready();
    daemon.until_logged("looked through what was applied before the start");
    assert_eq!((daemon.health(), events(&daemon)), ("ready".to_owned(), left));
    until_packed(&home, 1);
    assert_eq!(daemon.answer(&["verify"]).0, 0);
    daemon.stop();
}

/// Whether a payload that the journal gives back, or a file in quarantine, names somebody.
fn is_named(home: &Home, name: &str) -> bool {
    let Journal { writer, reader, .. } =
        journal::open(&home.state().join("journal"), &home.state().join("quarantine")).unwrap();
    let has = |bytes: &[u8]| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    let mut tail = reader.tail(reader.start().unwrap());
    while let Some(entry) = tail.next(writer.end()).unwrap() {
        let Entry::Record { payload, .. } = entry else { panic!("{entry:?}") };
        if has(&payload) {
            return true;
        }
    }
    let files = fs::read_dir(home.state().join("quarantine")).unwrap();
    files.map(|file| fs::read(file.unwrap().path()).unwrap()).any(|bytes| has(&bytes))
}

#[test]
fn who_is_forgotten_goes_from_what_is_packed() {
    let home = Home::new("");
    let daemon = packing(&home);
    (1..=2).for_each(|number| until_packed(&home, number));
    daemon.stop();
    assert!(is_named(&home, "user250@"));
    // A copy of a damaged one has them, too, and may have them where nobody can look.
    let mut bytes = fs::read(segment(&home.state(), 1)).unwrap();
    let last = blocks(&bytes).pop().unwrap();
    bytes[last.end - 1] ^= 1;
    let copies = ["journal-1-900.damaged", "journal-1-901.damaged"];
    let copies = copies.map(|name| home.state().join("quarantine").join(name));
    fs::write(&copies[0], &bytes).unwrap();
    fs::copy(segment(&home.state(), 2), &copies[1]).unwrap();
    let daemon = home.start().ready();
    let done = daemon.rows(&["forget", "user250@x.test", "--yes"]);
    assert_eq!(done[0]["forgotten"], true, "{done:?}");
    assert_eq!(daemon.looked_up("user250@x.test"), 200);
    assert!(!is_packed(&copies[0]), "nobody knows what the damaged block has");
    assert!(is_packed(&copies[1]), "it has nobody who was forgotten");
    (1..=2).for_each(|number| until_packed(&home, number));
    assert_eq!(events(&daemon).len(), 1009);
    daemon.stop();
    assert!(!is_named(&home, "user250@"));
    assert!(is_named(&home, "user251@"));
    copies.iter().for_each(|copy| fs::remove_file(copy).unwrap());
    assert!(cli(&home.config(), &["verify"]).status.success());
}
