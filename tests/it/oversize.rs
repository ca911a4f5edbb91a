//! One value that is far longer than any should be: it must cost nothing that was acknowledged.
//!
//! Retention trims the journal on the word of checkpoints, so each must be one that can be read.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use suppressd::admin::ListFilter;
use suppressd::clock;
use suppressd::ingest::{self, Refused, Running, Settings};
use suppressd::model::bounds::{
    CURSOR_BYTES_MAX, FEED_BYTES_MAX, NOTE_BYTES_MAX, REASON_BYTES_MAX,
};
use suppressd::model::{
    Cursor, Element, Lifts, Origin, Position, Scope, SourceName, Submission, Time,
};
use suppressd::provider::{Instruction, OPERATOR, instruction_element};
use suppressd::rules::Rules;
use tokio::runtime::{Handle, Runtime};

use super::support::client::event;
use super::support::daemon::{Home, PATIENCE};

const DAY: Duration = Duration::from_secs(86_400);
/// Acknowledged hard bounces.
const BOUNCES: u32 = 1_000;
/// Bytes of what is too long.
const LONG: usize = 2 << 20;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Every submission is worth a checkpoint.
pub(crate) fn start(state: &Path) -> Running {
    let rules = Arc::new(Rules::default());
    let usual = Settings::new(state.to_owned(), 90 * DAY, rules, Arc::default());
    let settings = Settings { checkpoint_bytes: 1, sync_every: Duration::from_millis(20), ..usual };
    ingest::start(settings, &Handle::current()).unwrap()
}

pub(crate) fn submission(elements: Vec<Element>) -> Submission {
    Submission {
        source: SourceName::parse("test").unwrap(),
        provider: "generic".into(),
        origin: Origin::Webhook,
        feed: "".into(),
        received_at: Time::from_seconds(1_781_600_000),
        elements,
        cursor: None,
        released: Vec::new(),
    }
}

pub(crate) fn element(body: impl Into<Vec<u8>>) -> Element {
    Element { context: String::new(), body: body.into() }
}

fn bounces() -> Submission {
    let bounce = |n| event("hard_bounce", &format!("user{n}@x.test"), &format!("m{n}"), n);
    submission((0..BOUNCES).map(|n| element(bounce(n))).collect())
}

/// What is not an event: why it is not may be said with all of it.
fn payload() -> Submission {
    submission(vec![element(format!("\"{}\"", "x".repeat(LONG)))])
}

fn cursor() -> Submission {
    let state = "x".repeat(LONG);
    let cursor = Some(Cursor { feed: "events".into(), state });
    Submission { origin: Origin::Poll, feed: "events".into(), cursor, ..submission(Vec::new()) }
}

fn note() -> Submission {
    let instruction = Instruction {
        add: true,
        address: "by-hand@x.test".to_owned(),
        scope: Scope::Global,
        at: Time::from_seconds(1_781_600_000),
        until: None,
        note: Some("x".repeat(LONG)),
        lifts: Lifts::default(),
    };
    Submission {
        source: SourceName::operator(),
        provider: OPERATOR.into(),
        origin: Origin::Operator,
        ..submission(vec![instruction_element(&instruction)])
    }
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.collect();
    found.sort();
    found
}

/// Waits, on tokio's time, until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: in time"));
}

/// Has it applied, and a checkpoint written that has it.
pub(crate) async fn keep(state: &Path, running: &Running, submission: &Submission) -> Position {
    let receipt = running.ingest.submit(submission).await.unwrap();
    running.ingest.applied(receipt).await;
    let name = format!("{:010}-{:010}.checkpoint", receipt.end.segment, receipt.end.offset);
    let path = state.join("checkpoint").join(name);
    until("a checkpoint", || path.exists()).await;
    receipt.end
}

/// Puts it into the journal as an earlier release did, which had no bound for it.
fn append(state: &Path, submission: &Submission) {
    let (journal, quarantine) = (state.join("journal"), state.join("quarantine"));
    let mut journal = suppressd::journal::open(&journal, &quarantine).unwrap();
    journal.writer.append(&[submission.encode()]).unwrap();
    journal.writer.seal().unwrap();
}

fn standings(running: &Running) -> usize {
    let rows: Result<Vec<_>, _> = running.reader.standings().collect();
    rows.unwrap().iter().filter(|(address, ..)| address.starts_with("user")).count()
}

pub(crate) async fn stop(running: Running) {
    assert_eq!(running.stop(PATIENCE).await, Vec::<&str>::new());
}

/// Makes every segment older than the retention; says which there are.
pub(crate) fn make_old(state: &Path) -> Vec<PathBuf> {
    let now = Duration::from_nanos(u64::try_from(clock::now().nanos()).unwrap());
    let old = SystemTime::UNIX_EPOCH + now - 100 * DAY;
    let segments = files(&state.join("journal"));
    for segment in &segments {
        fs::File::open(segment).unwrap().set_modified(old).unwrap();
    }
    segments
}

async fn lose_nothing(state: &Path, long: &Submission) {
    let running = start(state);
    keep(state, &running, &bounces()).await;
    stop(running).await;
    append(state, long);
    for number in 0..3 {
        let running = start(state);
        tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
        let later = event("hard_bounce", "later@x.test", &format!("later{number}"), number);
        keep(state, &running, &submission(vec![element(later)])).await;
        stop(running).await;
    }
    let segments = make_old(state);
    let running = start(state);
    until("the first segment trimmed", || !segments[0].exists()).await;
    stop(running).await;
    fs::remove_dir_all(state.join("sled")).unwrap();
    let running = start(state);
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
    assert_eq!(standings(&running), BOUNCES as usize);
    stop(running).await;
    let aside = files(&state.join("quarantine"));
    assert!(aside.is_empty(), "nothing is lost, nothing is refused: {aside:?}");
}

#[test]
fn a_value_of_any_length_costs_nothing_that_was_acknowledged() {
    for long in [payload(), cursor(), note()] {
        let folder = tempfile::tempdir().unwrap();
        runtime().block_on(lose_nothing(folder.path(), &long));
    }
}

#[test]
fn what_is_too_long_is_refused_at_the_door() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let running = start(folder.path());
        let state = |bytes| Cursor { feed: "events".into(), state: "x".repeat(bytes) };
        let page = |cursor| Submission { cursor: Some(cursor), ..cursor_less() };
        let answer = running.ingest.submit(&page(state(CURSOR_BYTES_MAX + 1))).await;
        assert_eq!(answer, Err(Refused::TooLarge));
        let feed = Cursor { feed: "x".repeat(FEED_BYTES_MAX + 1), ..state(1) };
        assert_eq!(running.ingest.submit(&page(feed)).await, Err(Refused::TooLarge));
        assert!(running.ingest.submit(&page(state(CURSOR_BYTES_MAX))).await.is_ok());
        let receipt = running.ingest.submit(&payload()).await.unwrap();
        running.ingest.applied(receipt).await;
        tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
        let held = running.reader.quarantined().unwrap();
        let held = running.reader.quarantined_element(held[0]).unwrap().unwrap();
        assert!(held.reason.len() <= REASON_BYTES_MAX, "{}", held.reason.len());
        stop(running).await;
    });
}

fn cursor_less() -> Submission {
    Submission { origin: Origin::Poll, feed: "events".into(), ..submission(Vec::new()) }
}

#[test]
fn a_note_that_is_too_long_is_a_usage_error_that_names_the_limit() {
    let home = Home::new("");
    let daemon = home.start().ready();
    // Not by our own command line, which would not send it.
    let (to, note) = (["a@x.test"], "x".repeat(NOTE_BYTES_MAX + 1));
    let nothing = serde_json::to_value(ListFilter::default()).unwrap();
    for command in [
        json!({ "verb": "add", "addresses": to, "note": note }),
        json!({
            "verb": "lift", "addresses": to, "filter": nothing, "note": note, "dry_run": false,
        }),
    ] {
        let reply = ask(&home, &command);
        assert_eq!(reply["usage"], true, "{reply}");
        assert!(reply["error"].as_str().unwrap().contains("at most 4096 bytes"), "{reply}");
    }
    assert_eq!(daemon.rows(&["list"]), Vec::<Value>::new());
    let output = daemon.cli(&["add", "a@x.test", "--note", &"x".repeat(NOTE_BYTES_MAX + 1)]);
    assert_eq!(output.status.code(), Some(64));
    daemon.stop();
}

/// The first reply to a command.
fn ask(home: &Home, command: &Value) -> Value {
    let mut stream = UnixStream::connect(home.dir.join("control.sock")).unwrap();
    stream.write_all(format!("{command}\n").as_bytes()).unwrap();
    // The first line says that the command was heard.
    let line = BufReader::new(stream).lines().nth(1).unwrap().unwrap();
    serde_json::from_str(&line).unwrap()
}
