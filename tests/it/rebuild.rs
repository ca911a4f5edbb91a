//! The store is made again from checkpoint and journal, key for key, whatever becomes of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use suppressd::ingest::{self, Running, Settings};
use suppressd::journal;
use suppressd::model::{
    Address, Cursor, Cuts, Element, Event, EventKind, Filter, Lifts, Origin, Position,
    QuarantineId, Scope, SourceName, Standing, Submission, Time,
};
use suppressd::provider::{Instruction, OPERATOR, instruction_element};
use suppressd::rules::Rules;
use suppressd::store::{Batch, Checkpoints, Opened, Pair, Paths, Reader, StoreError, Writer};
use tokio::runtime::{Handle, Runtime};

use super::support::client::event;
use super::support::daemon::{Home, PATIENCE};
use super::support::wait_for;
use super::{base, facts, retention};

const KINDS: [&str; 7] = [
    "hard_bounce",
    "soft_bounce",
    "delivered",
    "spam_complaint",
    "unsubscribed",
    "opened",
    "clicked",
];
/// Submissions that the state holds.
const SUBMISSIONS: u32 = 600;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn settings(state: &Path) -> Settings {
    Settings {
        checkpoint_bytes: 8 << 10,
        base_keys: 64,
        sync_every: Duration::from_millis(50),
        ..Settings::new(
            state.to_owned(),
            Duration::from_secs(90 * 86_400),
            Arc::new(Rules::default()),
            Arc::default(),
        )
    }
}

pub(crate) fn start(state: &Path) -> Running {
    ingest::start(settings(state), &Handle::current()).unwrap()
}

pub(crate) async fn stop(running: Running) {
    assert_eq!(running.stop(PATIENCE).await, Vec::<&str>::new());
}

fn at(second: u32) -> Time {
    Time::from_seconds(1_781_000_000 + i64::from(second))
}

pub(crate) fn submission(origin: Origin, number: u32, elements: Vec<Element>) -> Submission {
    let operator = origin == Origin::Operator;
    Submission {
        source: SourceName::parse(if operator { "operator" } else { "test" }).unwrap(),
        provider: if operator { OPERATOR } else { "generic" }.into(),
        origin,
        feed: if origin == Origin::Poll { "events" } else { "" }.into(),
        received_at: at(number),
        elements,
        cursor: None,
        released: Vec::new(),
    }
}

pub(crate) fn element(text: &str) -> Element {
    Element { context: String::new(), body: text.as_bytes().to_vec() }
}

/// One telling: its kind, address and message repeat in different rhythms.
fn telling(number: u32) -> Element {
    let kind = KINDS[number as usize % KINDS.len()];
    let address = format!("User{}@x{}.test", number % 97, number % 5);
    element(&event(kind, &address, &format!("m{}", number % 211), number % 311))
}

/// A submission of any kind. Some tell what an earlier one told, by the other way.
fn any_submission(number: u32, held: Option<QuarantineId>) -> Submission {
    match number % 10 {
        0..=3 => submission(Origin::Webhook, number, vec![telling(number)]),
        4 => submission(Origin::Webhook, number, vec![telling(number), telling(number - 4)]),
        5 => {
            let page = (number.saturating_sub(40)..number).step_by(7).map(telling).collect();
            let cursor = Cursor { feed: "events".into(), state: format!("at {number}") };
            Submission { cursor: Some(cursor), ..submission(Origin::Poll, number, page) }
        }
        6 => submission(Origin::Webhook, number, vec![element("7"), telling(number)]),
        7 | 8 => {
            let instruction = Instruction {
                add: number % 10 == 7,
                address: format!("user{}@x{}.test", number % 97, number % 5),
                scope: Scope::Global,
                at: at(number),
                until: None,
                note: Some("by hand".to_owned()),
                lifts: Lifts::default(),
            };
            submission(Origin::Operator, number, vec![instruction_element(&instruction)])
        }
        _ => Submission {
            released: held.into_iter().collect(),
            ..submission(Origin::Operator, number, Vec::new())
        },
    }
}

/// Submits all kinds, so that several checkpoints are written meanwhile.
pub(crate) async fn feed(running: &Running, numbers: std::ops::Range<u32>) {
    let mut held = None;
    for number in numbers {
        let submission = any_submission(number, held);
        let receipt = running.ingest.submit(&submission).await.unwrap();
        if number % 10 == 6 {
            // Every second one stays in quarantine.
            let id = QuarantineId { record: receipt.record, element: 0 };
            held = Some(id).filter(|_| number % 20 == 6);
        }
        if number % 25 == 0 {
            running.ingest.applied(receipt).await;
        }
    }
}

pub(crate) async fn everything(state: &Path) -> Vec<Pair> {
    let running = start(state);
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.expect("ready in time");
    let pairs = running.reader.everything().unwrap();
    stop(running).await;
    pairs
}

/// A state directory with everything in it, stopped, and what its store holds.
pub(crate) fn fed(runtime: &Runtime) -> (tempfile::TempDir, Vec<Pair>) {
    let state = tempfile::tempdir().unwrap();
    let pairs = runtime.block_on(async {
        let running = start(state.path());
        feed(&running, 0..SUBMISSIONS).await;
        stop(running).await;
        everything(state.path()).await
    });
    assert_eq!(checkpoints(state.path()).len(), 2);
    assert!(pairs.len() > 500, "{}", pairs.len());
    (state, pairs)
}

fn checkpoints(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state.join("checkpoint")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "checkpoint")).collect();
    files.sort();
    files
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn differing(one: &[Pair], other: &[Pair]) -> Vec<String> {
    let show = |(key, value): &Pair| {
        format!("{} = {value:?}", String::from_utf8_lossy(key).escape_debug())
    };
    let only = |a: &[Pair], b: &[Pair]| -> Vec<String> {
        let b: std::collections::BTreeSet<&Pair> = b.iter().collect();
        a.iter().filter(|pair| !b.contains(pair)).map(show).collect()
    };
    let (gone, come) = (only(one, other), only(other, one));
    gone.into_iter()
        .map(|s| format!("- {s}"))
        .chain(come.iter().map(|s| format!("+ {s}")))
        .collect()
}

#[track_caller]
pub(crate) fn assert_same(what: &str, found: &[Pair], expected: &[Pair]) {
    let differing = differing(expected, found);
    assert!(differing.is_empty(), "{what}:\n{}", differing.join("\n"));
}

fn noise(bytes: &mut [u8]) {
    let mut state = 77_u32;
    for byte in bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
}

/// Changes a file's bytes.
pub(crate) fn change(file: &Path, with: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    with(&mut bytes);
    fs::write(file, bytes).unwrap();
}

/// A way of harming a state directory.
type Harm = (&'static str, fn(&Path));

fn db(state: &Path) -> PathBuf {
    state.join("sled/db")
}

/// The runs of the base.
pub(crate) fn runs(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state.join("base")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files
}

/// The bytes of sled's file that are in use.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

const HARMS: &[Harm] = &[
    ("nothing", |_| ()),
    ("no sled", |state| fs::remove_dir_all(state.join("sled")).unwrap()),
    ("an empty db", |state| change(&db(state), Vec::clear)),
    ("half of the db", |state| change(&db(state), |b| b.truncate(used(b) / 2))),
    ("a quarter of the db", |state| change(&db(state), |b| b.truncate(used(b) / 4))),
    ("all but a byte of what is used", |state| change(&db(state), |b| b.truncate(used(b) - 1))),
    ("all but a byte", |state| change(&db(state), |b| b.truncate(b.len() - 1))),
    ("noise for a db", |state| change(&db(state), |b| noise(b))),
    ("noise in the middle", |state| {
        change(&db(state), |b| {
            let used = used(b);
            noise(&mut b[used / 3..used / 2]);
        });
    }),
    ("zeros in the middle", |state| {
        change(&db(state), |b| {
            let used = used(b);
            b[used / 3..used / 2].fill(0);
        });
    }),
    ("noise at the start", |state| change(&db(state), |b| noise(&mut b[..4096]))),
    ("no conf", |state| fs::remove_file(state.join("sled/conf")).unwrap()),
    ("noise for a conf", |state| change(&state.join("sled/conf"), |b| noise(b))),
    ("a file for sled", |state| {
        fs::remove_dir_all(state.join("sled")).unwrap();
        fs::write(state.join("sled"), "x").unwrap();
    }),
    ("no base", |state| fs::remove_dir_all(state.join("base")).unwrap()),
    ("no first run", |state| fs::remove_file(&runs(state)[0]).unwrap()),
    ("no last run", |state| fs::remove_file(runs(state).last().unwrap()).unwrap()),
    ("an empty run", |state| change(&runs(state)[0], Vec::clear)),
    ("a cut run", |state| change(&runs(state)[0], |b| b.truncate(b.len() / 2))),
    ("a damaged end of a run", |state| {
        change(&runs(state)[0], |b| {
            let at = b.len() - 30;
            b[at] ^= 1;
        });
    }),
    ("one run for another", |state| {
        let runs = runs(state);
        fs::copy(&runs[0], runs.last().unwrap()).unwrap();
    }),
    ("what a crash leaves of a run", |state| {
        fs::write(state.join("base/0000000900.draft"), "x").unwrap();
        fs::copy(&runs(state)[0], state.join("base/0000000901.run")).unwrap();
    }),
    ("no sled and no base", |state| {
        fs::remove_dir_all(state.join("sled")).unwrap();
        fs::remove_dir_all(state.join("base")).unwrap();
    }),
    ("no sled and no newest checkpoint", |state| {
        fs::remove_dir_all(state.join("sled")).unwrap();
        fs::remove_file(checkpoints(state).last().unwrap()).unwrap();
    }),
    ("no sled and a broken newest checkpoint", |state| {
        fs::remove_dir_all(state.join("sled")).unwrap();
        let newest = checkpoints(state).pop().unwrap();
        change(&newest, |b| {
            let half = b.len() / 2;
            b[half] ^= 1;
        });
    }),
    ("no sled and a cut newest checkpoint", |state| {
        fs::remove_dir_all(state.join("sled")).unwrap();
        change(&checkpoints(state).pop().unwrap(), |b| b.truncate(b.len() / 2));
    }),
    ("no sled and no checkpoint that is whole", |state| {
        fs::remove_dir_all(state.join("sled")).unwrap();
        checkpoints(state).iter().for_each(|file| change(file, |b| noise(b)));
    }),
    ("the journal alone", |state| {
        fs::remove_dir_all(state.join("sled")).unwrap();
        fs::remove_dir_all(state.join("checkpoint")).unwrap();
    }),
];

#[test]
fn whatever_becomes_of_sled_the_store_is_the_same() {
    let runtime = runtime();
    let (state, expected) = fed(&runtime);
    for (what, harm) in HARMS {
        let copied = tempfile::tempdir().unwrap();
        copy(state.path(), copied.path());
        harm(copied.path());
        let found = runtime.block_on(everything(copied.path()));
        assert_same(what, &found, &expected);
        let again = runtime.block_on(everything(copied.path()));
        assert_same(&format!("{what}, started again"), &again, &expected);
    }
}

#[test]
fn a_mark_of_a_clean_stop_does_not_vouch_for_another_file() {
    let runtime = runtime();
    let (state, expected) = fed(&runtime);
    let mark = state.path().join("checkpoint/clean");
    let old_mark = fs::read(&mark).unwrap();
    // The mark comes back, as after a power cut, for a sled that has gone on since.
    runtime.block_on(async {
        let running = start(state.path());
        running.ingest.ready().await;
        assert!(!mark.exists(), "it is taken away at the start");
        feed(&running, SUBMISSIONS..SUBMISSIONS + 50).await;
        stop(running).await;
    });
    let grown = runtime.block_on(everything(state.path()));
    assert!(grown.len() > expected.len());
    change(&db(state.path()), |b| {
        let used = used(b);
        noise(&mut b[used / 2..used / 2 + 600]);
    });
    fs::write(&mark, old_mark).unwrap();
    let found = runtime.block_on(everything(state.path()));
    assert_same("an old mark", &found, &grown);
}

#[test]
fn a_sled_that_rots_in_silence_is_not_believed() {
    let runtime = runtime();
    let (state, expected) = fed(&runtime);
    let file = db(state.path());
    let meta = fs::metadata(&file).unwrap();
    change(&file, |b| {
        let used = used(b);
        noise(&mut b[used / 3..used / 2]);
    });
    // As a disk does it: the file's own dates know nothing of it.
    let then = SystemTime::UNIX_EPOCH
        + Duration::new(meta.mtime().unsigned_abs(), meta.mtime_nsec() as u32);
    fs::File::options().append(true).open(&file).unwrap().set_modified(then).unwrap();
    // The first start may believe it; what it then meets must show, and the next must mend it.
    runtime.block_on(async {
        let running = start(state.path());
        running.ingest.ready().await;
        let read = running.reader.everything();
        assert!(read.is_err() || read.unwrap() == expected, "wrong answers");
        drop(running.stop(PATIENCE).await);
    });
    let _ = fs::remove_file(state.path().join("checkpoint/clean"));
    let found = runtime.block_on(everything(state.path()));
    assert_same("rot", &found, &expected);
}

#[test]
fn intake_goes_on_while_the_store_is_rebuilt_and_nobody_sees_half_of_it() {
    let runtime = runtime();
    let (state, before) = fed(&runtime);
    fs::remove_dir_all(state.path().join("sled")).unwrap();
    fs::remove_dir_all(state.path().join("checkpoint")).unwrap();
    let found = runtime.block_on(async {
        let running = start(state.path());
        let reader = running.reader.clone();
        let looked = tokio::task::spawn_blocking(move || {
            wait_for("the store", PATIENCE, || match reader.everything() {
                Err(StoreError::NotReady) => None,
                all => Some(all.unwrap()),
            })
        });
        feed(&running, SUBMISSIONS..SUBMISSIONS + 100).await;
        let first = looked.await.unwrap();
        assert!(first.len() >= before.len(), "{} of {}", first.len(), before.len());
        stop(running).await;
        everything(state.path()).await
    });
    // The same, told in one life: but its journal has other places.
    let other = tempfile::tempdir().unwrap();
    let expected = runtime.block_on(async {
        let running = start(other.path());
        feed(&running, 0..SUBMISSIONS + 100).await;
        stop(running).await;
        everything(other.path()).await
    });
    let standings = |pairs: &[Pair]| -> Vec<Pair> {
        let told = pairs.iter().filter(|(key, _)| b"csq".contains(&key[0]));
        told.map(|(key, value)| (key.clone(), without_places(key[0], value))).collect()
    };
    assert_same("standings", &standings(&found), &standings(&expected));
}

/// A stop in the middle of a rebuild is one in order, and the next start goes on.
#[test]
fn a_rebuild_is_stopped_in_order() {
    let home = Home::new("");
    let runtime = runtime();
    let state = home.state();
    runtime.block_on(async {
        let running = start(&state);
        feed(&running, 0..SUBMISSIONS).await;
        stop(running).await;
    });
    for gone in ["sled", "checkpoint", "index"] {
        fs::remove_dir_all(state.join(gone)).unwrap();
    }
    let daemon = home.start();
    daemon.until_logged("listening");
    let log = daemon.stop();
    assert!(!log.contains("ERROR"), "{log}");
    let daemon = home.start().ready();
    assert!(!daemon.stop().contains("ERROR"));
}

/// A value of the store without the places in the journal that it has.
fn without_places(kind: u8, value: &[u8]) -> Vec<u8> {
    let text = match kind {
        b's' => {
            let standing: Standing = postcard::from_bytes(&value[1..]).unwrap();
            let grounds: Vec<_> = standing.grounds().collect();
            let lifts: Vec<_> = standing.lifts().collect();
            let (soft, blocked) = (standing.soft(), standing.blocked());
            let delivered = standing.delivered();
            format!(
                "{} {grounds:?} {soft:?} {blocked:?} {delivered:?} {lifts:?}",
                standing.spelling()
            )
        }
        b'q' => format!("{:?}", postcard::from_bytes::<Cuts>(&value[1..]).unwrap().through()),
        _ => return value.to_vec(),
    };
    text.into_bytes()
}

/// Applies a telling of an event in a batch of its own, as the one at this offset of the journal.
fn tell(writer: &mut Writer, event: &Event, offset: u32) {
    let record = Position { segment: 1, offset };
    let place = QuarantineId { record, element: 0 };
    let mut batch = Batch::default();
    writer.note_event(&mut batch, event, event.id(), place).unwrap();
    writer.commit(batch, Position { offset: offset + 8, ..record }).unwrap();
}

#[test]
fn a_checkpoint_is_the_store_as_it_was_when_it_was_begun() {
    let state = tempfile::tempdir().unwrap();
    let paths = Paths::of(state.path());
    let pushed = Event { origin: Origin::Webhook, ..facts::event("a", EventKind::Opened, at(1)) };
    let polled = Event { origin: Origin::Poll, ..pushed.clone() };
    let other = facts::event("a", EventKind::Clicked, at(2));
    let mut opened = base::open(state.path());
    tell(&mut opened.writer, &pushed, 16);
    let snapshot = opened.writer.snapshot().unwrap();
    // All of this comes while the checkpoint is being written, and again from the journal.
    let meanwhile = |writer: &mut Writer| {
        tell(writer, &polled, 24);
        tell(writer, &other, 32);
        tell(writer, &polled, 40);
    };
    meanwhile(&mut opened.writer);
    Checkpoints::new(&paths).write(&snapshot).unwrap();
    let journal = journal::open(&state.path().join("journal"), &paths.quarantine).unwrap();
    let everything = |opened: &Opened| {
        let reader = Reader::new(journal.reader.clone(), Arc::default());
        reader.attach(&opened.view);
        reader.everything().unwrap()
    };
    let expected = everything(&opened);
    // It knows more by now than the checkpoint, and still what was known there.
    assert!(opened.writer.flush_index().unwrap());
    drop(opened);
    fs::remove_dir_all(&paths.sled).unwrap();
    fs::write(paths.checkpoint.join("1-9.draft"), "half").unwrap();
    let mut rebuilt = base::open(state.path());
    assert_eq!(rebuilt.writer.applied(), Position { segment: 1, offset: 24 });
    assert!(!paths.checkpoint.join("1-9.draft").exists(), "what a crash left is removed");
    meanwhile(&mut rebuilt.writer);
    assert_same("from the checkpoint", &everything(&rebuilt), &expected);
}

#[test]
fn a_journal_that_was_lost_is_noted_and_what_follows_is_kept() {
    let runtime = runtime();
    let (state, _) = fed(&runtime);
    fs::remove_dir_all(state.path().join("journal")).unwrap();
    let last = runtime.block_on(async {
        let running = start(state.path());
        running.ingest.ready().await;
        let late = submission(
            Origin::Webhook,
            1,
            vec![element(&event("hard_bounce", "late@x.test", "late", 1))],
        );
        let receipt = running.ingest.submit(&late).await.unwrap();
        running.ingest.applied(receipt).await;
        let all = running.reader.everything().unwrap();
        stop(running).await;
        (receipt, all)
    });
    let noted = journal::damaged_files(&state.path().join("quarantine")).unwrap();
    assert_eq!(noted.len(), 1, "{noted:?}");
    // What came after the loss stands behind every checkpoint, so a rebuild has it too.
    fs::remove_dir_all(state.path().join("sled")).unwrap();
    let found = runtime.block_on(everything(state.path()));
    let late = |pairs: &[Pair]| pairs.iter().any(|(key, _)| key.starts_with(b"slate@x.test"));
    assert!(late(&last.1) && late(&found), "{:?}", last.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_suppressed_is_so_while_the_store_fails() {
    let folder = tempfile::tempdir().unwrap();
    let running = retention::start(folder.path());
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
    retention::submit(&running, &[&event("hard_bounce", "known@x.test", "m1", 1)]).await;
    let verdict = |address: &str| {
        let (rules, address) = (Rules::default(), Address::parse(address).unwrap());
        let (scopes, filter, now) = ([Scope::Global], Filter::default(), suppressd::clock::now());
        let found = running.reader.verdict(&rules, &address, &scopes, &filter, now)?;
        Ok::<_, StoreError>(found.is_some())
    };
    assert_eq!((verdict("known@x.test"), verdict("other@x.test")), (Ok(true), Ok(false)));
    let full = StoreError::Full("no room".to_owned());
    for _ in 0..2 {
        running.reader.fail(full.clone());
        let expected = (Ok(true), Err(full.clone()));
        assert_eq!((verdict("known@x.test"), verdict("other@x.test")), expected);
    }
    running.stop(PATIENCE).await;
}

/// The files of a folder of the state.
fn files(state: &Path, folder: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(state.join(folder)).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_run_that_is_taken_away_while_it_is_open_is_told_and_made_again() {
    let runtime = runtime();
    let (state, expected) = fed(&runtime);
    for (folder, is_cut) in [("base", false), ("base", true), ("index", false), ("index", true)] {
        let running = runtime.block_on(async {
            let running = start(state.path());
            running.ingest.ready().await;
            running
        });
        let run = files(state.path(), folder).pop().unwrap();
        let length = fs::metadata(&run).unwrap().len();
        match is_cut {
            true => {
                fs::File::options().write(true).open(&run).unwrap().set_len(length - 1).unwrap()
            }
            false => fs::remove_file(&run).unwrap(),
        }
        let moved = StoreError::Moved(run.display().to_string());
        wait_for("it to be told", PATIENCE, || {
            (running.reader.everything().err().as_ref() == Some(&moved)).then_some(())
        });
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, running.ingest.ready()).await.expect("ready again");
            let found = running.reader.everything().unwrap();
            assert_same(&format!("{folder}, cut: {is_cut}"), &found, &expected);
            stop(running).await;
        });
    }
}

#[test]
fn checkpoints_that_are_taken_away_are_written_again_where_the_journal_needs_them() {
    let runtime = runtime();
    let (state, _) = fed(&runtime);
    let expected = runtime.block_on(async {
        let running = start(state.path());
        feed(&running, SUBMISSIONS..SUBMISSIONS + 300).await;
        stop(running).await;
        everything(state.path()).await
    });
    // As retention leaves it: both checkpoints are behind that segment.
    assert_eq!(files(state.path(), "journal").len(), 2);
    fs::remove_file(state.path().join("journal/0000000001.seg")).unwrap();
    let running = runtime.block_on(async {
        let running = start(state.path());
        running.ingest.ready().await;
        running
    });
    fs::remove_dir_all(state.path().join("checkpoint")).unwrap();
    wait_for("a checkpoint", PATIENCE, || {
        let folder = state.path().join("checkpoint");
        (folder.exists() && !checkpoints(state.path()).is_empty()).then_some(())
    });
    runtime.block_on(stop(running));
    fs::remove_dir_all(state.path().join("sled")).unwrap();
    let found = runtime.block_on(everything(state.path()));
    let standings = |pairs: &[Pair]| pairs.iter().filter(|(key, _)| key[0] == b's').count();
    assert_eq!(standings(&found), standings(&expected));
}
