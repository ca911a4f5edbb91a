//! The index of the journal is made again, key for key, whatever becomes of its files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use suppressd::model::Checked;
use suppressd::store::{EventFilter, verify_index};

use super::rebuild::{assert_same, copy, everything, fed, feed, runtime, start, stop};
use super::support::daemon::PATIENCE;

fn runs(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state.join("index")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files
}

fn change(file: &Path, with: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    with(&mut bytes);
    fs::write(file, bytes).unwrap();
}

fn assert_whole(state: &Path) {
    let rows: Vec<Checked> = verify_index(&state.join("index")).unwrap();
    assert!(rows.iter().all(|row| row.problem.is_none()), "{rows:?}");
}

/// A way of harming a state directory.
type Harm = (&'static str, fn(&Path));

const HARMS: &[Harm] = &[
    ("no index", |state| fs::remove_dir_all(state.join("index")).unwrap()),
    ("no first run", |state| fs::remove_file(&runs(state)[0]).unwrap()),
    ("no last run", |state| fs::remove_file(runs(state).last().unwrap()).unwrap()),
    ("an empty run", |state| change(&runs(state)[0], Vec::clear)),
    ("a cut run", |state| change(&runs(state)[0], |b| b.truncate(b.len() / 2))),
    ("a damaged head", |state| change(&runs(state)[0], |b| b[9] ^= 1)),
    // It shows when it is looked into, if at all.
    ("a damaged block", |state| change(&runs(state)[0], |b| b[100] ^= 1)),
    ("a damaged end", |state| {
        change(&runs(state)[0], |b| {
            let at = b.len() - 30;
            b[at] ^= 1;
        });
    }),
    ("what a crash leaves", |state| {
        fs::write(state.join("index/0000000001-0000000016-0000000001-0000000900.draft"), "x")
            .unwrap();
    }),
];

#[test]
fn whatever_becomes_of_the_index_it_is_the_same() {
    let runtime = runtime();
    let (state, expected) = fed(&runtime);
    assert!(runs(state.path()).len() > 1, "{:?}", runs(state.path()));
    for (what, harm) in HARMS {
        for without_sled in [false, true] {
            let copied = tempfile::tempdir().unwrap();
            copy(state.path(), copied.path());
            harm(copied.path());
            if without_sled {
                fs::remove_dir_all(copied.path().join("sled")).unwrap();
            }
            if *what == "a damaged block" {
                // Whoever compares all looks into every block.
                assert!(verify_index(&copied.path().join("index")).unwrap()[0].problem.is_some());
                runtime.block_on(look_until_whole(copied.path()));
            }
            let found = runtime.block_on(everything(copied.path()));
            assert_same(&format!("{what}, without sled: {without_sled}"), &found, &expected);
            assert_whole(copied.path());
        }
    }
}

/// Looks at all of a store: what is damaged shows, and the store makes it again while it runs.
async fn look_until_whole(state: &Path) {
    let running = start(state);
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.expect("ready in time");
    let looking = async {
        while running.reader.everything().is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("whole in time");
    stop(running).await;
}

#[test]
fn an_index_that_is_ahead_of_the_store_tells_what_was_known_there() {
    let runtime = runtime();
    let state = tempfile::tempdir().unwrap();
    let (sled, old) = (state.path().join("sled"), state.path().join("old"));
    let numbers = |numbers: std::ops::Range<u32>| {
        runtime.block_on(async {
            let running = start(state.path());
            feed(&running, numbers).await;
            stop(running).await;
        });
    };
    numbers(0..200);
    copy(&sled, &old);
    numbers(200..400);
    let expected = runtime.block_on(everything(state.path()));
    // As after a power cut: sled's file is as it was synced last.
    fs::remove_dir_all(&sled).unwrap();
    fs::rename(&old, &sled).unwrap();
    let found = runtime.block_on(everything(state.path()));
    assert_same("an older sled", &found, &expected);
}

#[test]
fn events_are_found_while_runs_are_made_and_merged() {
    let runtime = runtime();
    let state = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let running = start(state.path());
        running.ingest.ready().await;
        let filter = EventFilter { message_id: Some("m1".to_owned()), ..EventFilter::default() };
        let mut last = 0;
        for step in 0..30 {
            feed(&running, step * 40..(step + 1) * 40).await;
            running.ingest.level().await;
            let mut scan = running.reader.events(filter.clone()).unwrap();
            let found = std::iter::from_fn(|| scan.advance().unwrap()).count();
            assert!(found >= last, "{step}: {found} of {last}");
            last = found;
        }
        assert!(last > 3, "{last}");
        stop(running).await;
    });
    assert!(runs(state.path()).len() < 16, "{:?}", runs(state.path()));
    assert_whole(state.path());
}
