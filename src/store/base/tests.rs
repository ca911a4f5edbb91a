//! Whatever is in runs and whatever is beside them, a look and a scan say what was put last; and no
//! damage to a run passes.

use std::collections::BTreeMap;

use super::*;
use crate::store::codec::Meta;
use crate::store::keys;

/// Keys that make a run.
const KEYS: usize = 300;

/// A base, what must be in it, and random numbers.
struct Bench {
    dir: tempfile::TempDir,
    base: Arc<Base>,
    model: BTreeMap<Vec<u8>, Vec<u8>>,
    random: u64,
}

fn key(number: u64) -> Vec<u8> {
    let (prefix, stream) = if number.is_multiple_of(7) { ("q", "") } else { ("s", "news") };
    let stream = if number.is_multiple_of(11) { stream } else { "" };
    format!("{prefix}user-{:05}@x{}.test\0{stream}", number % 4_000, number % 3).into_bytes()
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let base = Arc::new(Base::new(dir.path(), Arc::new([]), BTreeMap::new()));
        Bench { dir, base, model: BTreeMap::new(), random: 7 }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % below
    }

    fn put(&mut self, key: Vec<u8>, value: &[u8]) {
        self.base.change(vec![(key.as_slice().into(), value.into())]);
        if value.is_empty() {
            self.model.remove(&key);
        } else {
            self.model.insert(key, value.to_vec());
        }
    }

    /// Puts and removes some.
    fn change(&mut self, number: usize) {
        for _ in 0..number {
            let (key, length) = (key(self.random(9_000)), self.random(90) as usize);
            let value = if length < 20 { Vec::new() } else { vec![1; length] };
            self.put(key, &value);
        }
    }

    /// What the writer does with a run that was made.
    fn adopt(&self, made: &Made) {
        self.base.adopt(made);
        made.remove_replaced();
        if !made.is_merge() {
            let mut settling = made.settling().unwrap();
            while settling.go_on(&self.base).unwrap() {}
        }
    }

    fn run(&self) {
        self.adopt(&self.base.next(1, 0).unwrap().write().unwrap());
    }

    fn assert_same(&self) {
        let mut found = BTreeMap::new();
        for prefix in [QUIET, STANDING] {
            let mut scan = self.base.scan_prefix(prefix);
            let mut last = Vec::new();
            while scan.advance().unwrap() {
                assert!(*last < *scan.key(), "in order, and once");
                last = scan.key().to_vec();
                found.insert(last.clone(), scan.value().to_vec());
            }
        }
        assert_eq!(found, self.model);
        for number in (0..9_000).step_by(13) {
            let key = key(number);
            assert_eq!(self.base.get(&key).unwrap().as_ref(), self.model.get(&key), "{number}");
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<PathBuf> = files.collect();
        files.sort();
        files
    }

    /// As the next start finds it.
    fn opened(&self) -> Result<Base, StoreError> {
        let changed = self.base.read().changed.clone();
        Base::open(self.dir.path(), &self.base.listed(), changed, true)
    }
}

#[test]
fn what_was_put_last_is_found_in_runs_and_beside_them() {
    let mut bench = Bench::new();
    for step in 0..40 {
        bench.change(KEYS);
        if step % 3 == 0 {
            bench.assert_same();
        }
        if let Some(next) = bench.base.next(KEYS / 2, 0) {
            // What changes while it is written counts before it, whether it has that or not.
            bench.change(20);
            let made = next.write().unwrap();
            bench.change(20);
            bench.adopt(&made);
        }
        if let Some(merge) = bench.base.next_merge(KEYS) {
            bench.change(20);
            let made = merge.write().unwrap();
            bench.run();
            bench.adopt(&made);
        }
        assert!(bench.base.runs().len() < 10, "{step}");
    }
    bench.assert_same();
    assert_eq!(bench.files().len(), bench.base.runs().len());
    bench.base = Arc::new(bench.opened().unwrap());
    bench.assert_same();
    assert!(verify_base(bench.dir.path()).unwrap().iter().all(|row| row.problem.is_none()));
}

#[test]
fn a_scan_misses_nothing_that_moves_into_a_run_meanwhile() {
    let mut bench = Bench::new();
    bench.change(3_000);
    bench.run();
    bench.change(3_000);
    let before = bench.model.clone();
    let mut scan = bench.base.scan_prefix(STANDING);
    let mut found = BTreeMap::new();
    for step in 0.. {
        if step % 400 == 0 && step < 2_000 {
            bench.change(200);
            bench.run();
            if let Some(merge) = bench.base.next_merge(1) {
                bench.adopt(&merge.write().unwrap());
            }
        }
        if !scan.advance().unwrap() {
            break;
        }
        found.insert(scan.key().to_vec(), scan.value().to_vec());
    }
    // Each is as it was at the start, or as it became since.
    for (key, value) in &found {
        let as_before = before.get(key) == Some(value);
        assert!(as_before || bench.model.get(key) != before.get(key) || !before.contains_key(key));
    }
    let stays = |key: &&Vec<u8>| key[0] == STANDING && bench.model.get(*key) == before.get(*key);
    let missed: Vec<_> =
        before.keys().filter(stays).filter(|key| !found.contains_key(*key)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn what_is_gone_leaves_nothing_in_the_oldest_run() {
    let mut bench = Bench::new();
    for round in 0..4_u8 {
        (0..500)
            .for_each(|number| bench.put(key(number), if round % 2 == 0 { b"\x01x" } else { b"" }));
        bench.run();
    }
    bench.assert_same();
    let sizes: Vec<u64> = bench.base.runs().iter().map(|run| run.entries).collect();
    assert!(sizes.iter().all(|size| *size > 300), "what is gone is noted: {sizes:?}");
    bench.adopt(&bench.base.next_merge(KEYS).unwrap().write().unwrap());
    bench.assert_same();
    assert_eq!(bench.base.runs().iter().map(|run| run.entries).collect::<Vec<_>>(), [0]);
    bench.change(100);
    bench.run();
    bench.assert_same();
}

#[test]
fn values_of_any_length_are_kept() {
    let mut bench = Bench::new();
    for (number, length) in [1, 127, 128, 5_000, 70_000, 3 << 20].into_iter().enumerate() {
        bench.put(key(number as u64 + 1), &vec![1; length]);
    }
    bench.put([&[STANDING][..], &[b'k'; 60_000]].concat(), b"\x01of a long key");
    bench.run();
    bench.assert_same();
}

#[test]
fn one_that_nobody_wants_is_not_written() {
    let mut bench = Bench::new();
    bench.change(100);
    let next = bench.base.next(1, 0).unwrap();
    bench.base.give_up();
    assert_eq!(next.write().err().map(|error| error.kind()), Some(io::ErrorKind::Interrupted));
    assert!(bench.files().is_empty());
}

/// A base with one run, and its file.
fn one_run() -> (Bench, PathBuf) {
    let mut bench = Bench::new();
    bench.change(400);
    bench.run();
    let file = bench.files().remove(0);
    (bench, file)
}

#[test]
fn every_damage_to_a_run_is_found_and_none_is_believed() {
    let (bench, file) = one_run();
    let whole = fs::read(&file).unwrap();
    let problem = || verify_base(bench.dir.path()).unwrap()[0].problem.is_some();
    assert!(!problem());
    let refused = || matches!(bench.opened(), Err(StoreError::Damaged(_)));
    for at in (0..whole.len()).step_by(61).chain(0..40).chain(whole.len() - 80..whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert!(problem(), "changed at {at}");
        if let Ok(base) = bench.opened() {
            let all = bench.model.iter().map(|(key, value)| (base.get(key), value));
            let (good, bad): (Vec<_>, Vec<_>) = all.partition(|(found, _)| found.is_ok());
            assert!(
                good.iter().all(|(found, value)| found.as_ref().unwrap().as_ref() == Some(value))
            );
            assert!(!bad.is_empty() && base.check().is_err(), "{at}");
            assert!(!file.exists() && refused(), "{at}: the next opening misses it");
        }
        let _ = fs::remove_file(file.with_extension("damaged"));
    }
    for length in (0..whole.len()).step_by(211) {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(problem() && refused(), "cut at {length}");
    }
    fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
    assert!(problem() && refused(), "longer");
    fs::write(&file, &whole).unwrap();
    assert!(!problem() && bench.opened().is_ok());
}

#[test]
fn another_run_is_not_taken_for_the_one_that_counts() {
    let (mut bench, file) = one_run();
    let spare = fs::read(&file).unwrap();
    bench.change(400);
    bench.run();
    let second = bench.files().remove(1);
    fs::write(&second, &spare).unwrap();
    assert!(matches!(bench.opened(), Err(StoreError::Damaged(_))));
    fs::remove_file(&second).unwrap();
    assert!(matches!(bench.opened(), Err(StoreError::Damaged(_))));
}

#[test]
fn what_a_newer_version_wrote_is_left_as_it_is() {
    let (bench, file) = one_run();
    let mut bytes = fs::read(&file).unwrap();
    bytes[7] += 1;
    fs::write(&file, &bytes).unwrap();
    assert!(matches!(bench.opened(), Err(StoreError::Newer(_))));
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert!(verify_base(bench.dir.path()).unwrap()[0].problem.as_ref().unwrap().contains("newer"));
}

#[test]
fn what_a_crash_leaves_is_removed() {
    let (mut bench, _) = one_run();
    fs::write(bench.dir.path().join("0000000007.draft"), "x").unwrap();
    fs::write(bench.dir.path().join("0000000009.run"), "x").unwrap();
    bench.base = Arc::new(bench.opened().unwrap());
    bench.base.remove_others().unwrap();
    assert_eq!(bench.files().len(), 1);
    bench.assert_same();
}

/// All that a tree says has changed.
fn changes_of(tree: &sled::Tree) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut changes = BTreeMap::new();
    read(tree, |key, value| drop(changes.insert(key.to_vec(), value.to_vec()))).unwrap();
    changes
}

#[test]
fn changes_are_kept_in_few_blocks_and_those_of_earlier_versions_become_such() {
    let db = sled::Config::new().temporary(true).open().unwrap();
    let (mut meta, mut model) = (Meta::default(), BTreeMap::new());
    for number in 0..2_000 {
        let value = if number % 9 == 0 { Vec::new() } else { vec![1; 60] };
        meta.account(&key(number), None, Some(&value));
        db.insert(key(number), value.as_slice()).unwrap();
        model.insert(key(number), value);
    }
    assert_eq!(changes_of(&db), model);
    let meta = gather(&db, meta).unwrap();
    assert_eq!(changes_of(&db), model);
    let blocks = last(&db).unwrap();
    assert!((20..100).contains(&blocks), "{blocks}");
    assert_eq!((db.len() as u64, meta.keys), (blocks + 1, blocks));
    // A later block counts before an earlier one.
    let later: Changed = (key(5).as_slice().into(), b"\x01later".as_slice().into());
    db.insert(keys::changed(blocks + 1), super::blocks(&[later]).remove(0)).unwrap();
    assert_eq!(changes_of(&db)[&key(5)], b"\x01later");
    db.insert(keys::changed(blocks + 2), &[CHANGES_FORM + 1]).unwrap();
    assert!(matches!(read(&db, |_, _| ()), Err(StoreError::Newer(_))));
}
