//! What cannot be applied is set aside and told, and everything behind it goes on; what only a
//! newer version can apply waits for that version.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use suppressd::ingest;
use suppressd::journal;
use suppressd::model::{Element, Event, Origin, QuarantineId, SourceName, Submission};
use suppressd::provider::{Adapter, Notification, Provider, Reading, Stamp, Unreadable, by_name};
use tokio::runtime::Handle;

use super::rebuild::{element, runtime, settings, stop, submission};
use super::support::client::{event, notify};
use super::support::daemon::{Daemon, Home, PATIENCE};
use super::support::wait_for;

/// The first byte of a submission of the next version.
const NEWER: u8 = 3;

/// Records that take several lives to apply, a life in time of the processor, so that it is one on
/// a busy host too, and how many lives there are at most.
const RECORDS: usize = 24_000;
/// The same of elements of one record.
const ELEMENTS: usize = 30_000;
const LIFE: Duration = Duration::from_millis(600);
const LIVES_MAX: usize = 40;

fn bounce(name: &str) -> String {
    event("hard_bounce", &format!("{name}@x.test"), "m", 1)
}

fn payload(names: &[&str]) -> Vec<u8> {
    let elements = names.iter().map(|name| element(&bounce(name))).collect();
    submission(Origin::Webhook, 1, elements).encode()
}

/// How much time of the processor a process took.
fn worked(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // proc(5): behind the name, utime and stime are the 12th and 13th, in hundredths of a second.
    let (_, numbers) = stat.rsplit_once(')').unwrap();
    let times = numbers.split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * times.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>())
}

/// A journal with these payloads, each a record.
fn journal_of(state: &Path, payloads: &[Vec<u8>]) -> Vec<QuarantineId> {
    fs::create_dir_all(state).unwrap();
    let opened = journal::open(&state.join("journal"), &state.join("quarantine")).unwrap();
    let mut writer = opened.writer;
    let placed = writer.append(payloads).unwrap();
    writer.seal().unwrap();
    let whole = |record| QuarantineId { record, element: QuarantineId::WHOLE };
    placed.iter().map(|placed| whole(placed.record)).collect()
}

fn listed(daemon: &Daemon) -> Vec<String> {
    let rows = daemon.rows(&["list"]);
    let mut names: Vec<String> = rows
        .iter()
        .map(|row| row["address"].as_str().unwrap().trim_end_matches("@x.test").to_owned())
        .collect();
    names.sort();
    names
}

fn held(daemon: &Daemon) -> Vec<Value> {
    daemon.rows(&["quarantine", "list"])
}

/// Says of a step that the process died as it did it, alone, and so often before, and that the
/// store knows nothing.
fn died_at(home: &Home, id: QuarantineId, step: u32, deaths: u32) {
    for gone in ["sled", "checkpoint"] {
        let _ = fs::remove_dir_all(home.state().join(gone));
    }
    let checkpoint = home.state().join("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    let (segment, offset) = (id.record.segment, id.record.offset);
    let note = format!("alone {segment} {offset} {step} {deaths}");
    fs::write(checkpoint.join("attempt"), note).unwrap();
}

#[track_caller]
fn check_told(daemon: &Daemon, number: u64) {
    let answer = daemon.readyz();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let text = format!("{number} elements or records could not be applied");
    assert_eq!(answer.body.contains(&text), number > 0, "{}", answer.body);
    assert_eq!(daemon.rows(&["status"])[0]["store"]["set_aside"], number);
    assert_eq!(daemon.metric("suppressd_set_aside"), Some(number as f64));
}

#[test]
fn an_element_of_which_the_process_dies_is_set_aside_and_can_be_replayed() {
    let home = Home::new("");
    let ids = journal_of(&home.state(), &[payload(&["a", "b", "c"]), payload(&["d"])]);
    died_at(&home, ids[0], 2, 4);
    let daemon = home.start().ready();
    assert_eq!(listed(&daemon), ["a", "c", "d"]);
    check_told(&daemon, 1);
    assert_eq!(daemon.log().matches("could not apply this").count(), 1);
    let held = held(&daemon);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0]["id"], "1-16-1");
    assert_eq!(held[0]["source"], "test");
    assert_eq!(held[0]["set_aside"], true);
    daemon.stop();
    let daemon = home.start().ready();
    check_told(&daemon, 1);
    let replayed = daemon.rows(&["quarantine", "replay", "1-16-1"]);
    assert_eq!(replayed[0]["done"], true, "{replayed:?}");
    assert_eq!(listed(&daemon), ["a", "b", "c", "d"]);
    check_told(&daemon, 0);
}

#[test]
fn a_record_of_which_the_process_dies_is_set_aside_and_can_be_replayed() {
    let home = Home::new("");
    let ids = journal_of(&home.state(), &[payload(&["a"]), payload(&["b", "c"]), payload(&["d"])]);
    died_at(&home, ids[1], 0, 4);
    let daemon = home.start().ready();
    assert_eq!(listed(&daemon), ["a", "d"]);
    check_told(&daemon, 1);
    let id = ids[1].to_string();
    assert_eq!(held(&daemon)[0]["id"], *id);
    daemon.rows(&["quarantine", "replay", &id]);
    assert_eq!(listed(&daemon), ["a", "b", "c", "d"]);
    check_told(&daemon, 0);
}

/// Kills one life after the other of a daemon that has this to apply, until it is through.
fn kill_until_through(payloads: &[Vec<u8>], rows: usize) {
    let home = Home::new("");
    journal_of(&home.state(), payloads);
    let mut lives = 0;
    let daemon = loop {
        lives += 1;
        assert!(lives < LIVES_MAX, "it never comes to an end");
        let daemon = home.start();
        let has_come = || daemon.log().contains("store: ready");
        let is_over = || (has_come() || worked(daemon.pid()) >= LIFE).then_some(());
        wait_for("a life", PATIENCE, is_over);
        if has_come() {
            break daemon.ready();
        }
        daemon.kill();
    };
    println!("{lives} lives");
    assert!(lives > 2, "so few lives show nothing");
    assert_eq!(daemon.rows(&["list"]).len(), rows);
    check_told(&daemon, 0);
}

fn names(number: usize) -> Vec<String> {
    (0..number).map(|number| format!("u{number}")).collect()
}

#[test]
fn kills_from_outside_set_nothing_aside_and_each_life_comes_further() {
    let payloads: Vec<Vec<u8>> = names(RECORDS).iter().map(|name| payload(&[name])).collect();
    kill_until_through(&payloads, RECORDS);
}

#[test]
fn each_life_comes_further_within_one_record_too() {
    let names = names(ELEMENTS);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    kill_until_through(&[payload(&names)], ELEMENTS);
}

#[test]
fn a_record_in_no_form_is_set_aside_and_can_be_dropped() {
    let home = Home::new("");
    let strange = vec![0, 1, 2, 3];
    let cut = payload(&["cut"])[..30].to_vec();
    let ids = journal_of(&home.state(), &[payload(&["a"]), strange, payload(&["b"]), cut]);
    let daemon = home.start().ready();
    assert_eq!(listed(&daemon), ["a", "b"]);
    check_told(&daemon, 2);
    let replayed = daemon.answer(&["quarantine", "replay"]).1;
    assert!(replayed.iter().all(|row| row["done"] == false), "{replayed:?}");
    daemon.rows(&["quarantine", "drop", &ids[1].to_string(), &ids[3].to_string()]);
    check_told(&daemon, 0);
}

#[test]
fn a_record_of_a_newer_version_waits_for_that_version() {
    let (home, upgraded) = (Home::new(""), Home::new(""));
    let known = [payload(&["a"]), payload(&["b"]), payload(&["c"])];
    let mut newer = known.clone();
    newer[1][0] = NEWER;
    journal_of(&home.state(), &newer);
    journal_of(&upgraded.state(), &known);
    for life in 0..2 {
        let daemon = home.start();
        daemon.until_logged("newer suppressd");
        let answer = daemon.readyz();
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("in form 3"), "{}", answer.body);
        assert!(answer.body.contains("start the newer version again"), "{}", answer.body);
        assert_eq!(notify(daemon.http, &bounce(&format!("d{life}"))).status, 200);
        let log = daemon.stop();
        assert_eq!(log.matches("newer suppressd").count(), 1, "{log}");
    }
    // The newer version reads what this one could not.
    let segment = "journal/0000000001.seg";
    fs::copy(upgraded.state().join(segment), home.state().join(segment)).unwrap();
    let daemon = home.start().ready();
    assert_eq!(listed(&daemon), ["a", "b", "c", "d0", "d1"]);
}

#[test]
fn a_store_of_a_newer_version_is_left_as_it_is() {
    let home = Home::new("");
    let daemon = home.start().ready();
    assert_eq!(notify(daemon.http, &bounce("a")).status, 200);
    daemon.until_suppressed("a@x.test");
    daemon.stop();
    let put = |key: &[u8], form: u8| {
        let db = sled::open(home.state().join("sled")).unwrap();
        let mut value = db.get(key).unwrap().unwrap().to_vec();
        let before = std::mem::replace(&mut value[0], form);
        db.insert(key, value).unwrap();
        db.flush().unwrap();
        before
    };
    let before = put(b"\0meta", 77);
    let daemon = home.start();
    daemon.until_logged("newer version of suppressd");
    let answer = wait_for("readiness to say so", PATIENCE, || {
        let answer = daemon.readyz();
        answer.body.contains("its position is in form 77").then_some(answer)
    });
    assert_eq!(answer.status, 503);
    assert_eq!(notify(daemon.http, &bounce("b")).status, 200);
    let failures = || daemon.metric("suppressd_store_failures_total").filter(|n| *n >= 3.0);
    wait_for("further tries", PATIENCE, failures);
    let log = daemon.stop();
    assert_eq!(log.matches("store: failed").count(), 1, "told once:\n{log}");
    assert!(!home.state().join("quarantine/sled.broken").exists());
    put(b"\0meta", before);
    let daemon = home.start().ready();
    assert_eq!(listed(&daemon), ["a", "b"]);
}

#[test]
fn what_the_journal_has_lost_is_listed_as_lost() {
    let home = Home::new("");
    let daemon = home.start().ready();
    assert_eq!(notify(daemon.http, "7").status, 200);
    daemon.stop();
    let daemon = home.start().ready();
    assert_eq!(notify(daemon.http, "8").status, 200);
    wait_for("both", PATIENCE, || (held(&daemon).len() == 2).then_some(()));
    daemon.stop();
    fs::remove_file(home.state().join("journal/0000000001.seg")).unwrap();
    let daemon = home.start();
    // It is degraded until an operator has taken the note away that tells of the loss.
    daemon.until_logged("a segment is missing");
    daemon.until_logged("store: ready");
    let daemon = daemon.ready();
    assert_eq!(daemon.health(), "degraded");
    let note = home.state().join("quarantine/journal-1-0-lost.damaged");
    assert!(daemon.readyz().body.contains(note.to_str().unwrap()));
    fs::remove_file(note).unwrap();
    let held = held(&daemon);
    assert_eq!((&held[0]["lost"], &held[1]["lost"]), (&true.into(), &false.into()), "{held:?}");
    assert_eq!(held[1]["source"], "test");
    let replayed = daemon.answer(&["quarantine", "replay", "--all"]).1;
    assert_eq!(replayed.len(), 2, "{replayed:?}");
    assert!(replayed[0]["problem"].as_str().unwrap().contains("no longer has it"));
    daemon.rows(&["quarantine", "drop", "--all"]);
    assert!(daemon.rows(&["quarantine", "list"]).is_empty());
}

/// The generic provider, with a defect: behind one body it panics where nobody expects it.
struct Defective {
    armed: AtomicBool,
}

impl Provider for Defective {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn verification(&self) -> &'static str {
        ""
    }

    fn split(&self, _: &Notification<'_>) -> Vec<Element> {
        Vec::new()
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let bad = element.body.windows(3).any(|bytes| bytes == b"bad");
        self.armed.store(bad, Ordering::Relaxed);
        by_name("generic").unwrap().read(element, stamp)
    }

    fn times_differ(&self) -> bool {
        assert!(!self.armed.swap(false, Ordering::Relaxed), "a defect, as a test has it");
        false
    }
}

#[test]
fn a_defect_costs_the_elements_that_it_is_about_and_no_other() {
    let state = tempfile::tempdir().unwrap();
    let source = SourceName::parse("test").unwrap();
    let defective = Arc::new(Defective { armed: false.into() });
    let described = [(source.clone(), Adapter::Described(defective.clone()))].into();
    let reading = Arc::new(Reading { described, ..Reading::default() });
    let names = ["a", "bad1", "b", "bad2", "c"];
    let told = |released: Vec<QuarantineId>| Submission {
        released,
        ..submission(Origin::Webhook, 1, names.map(|name| element(&bounce(name))).to_vec())
    };
    runtime().block_on(async {
        let settings = settings(state.path());
        settings.policy.reading.set(reading);
        let running = ingest::start(settings, &Handle::current()).unwrap();
        let first = running.ingest.submit(&told(Vec::new())).await.unwrap();
        let behind = submission(Origin::Webhook, 2, vec![element(&bounce("d"))]);
        let receipt = running.ingest.submit(&behind).await.unwrap();
        tokio::time::timeout(PATIENCE, running.ingest.applied(receipt)).await.unwrap();
        assert!(running.ingest.is_ready());
        let bad = |n| QuarantineId { record: first.record, element: n };
        assert_eq!(running.reader.quarantined().unwrap(), [bad(1), bad(3)]);
        assert_eq!(running.reader.totals().unwrap().standings, 4);
        // What comes again is held once; what is told again on purpose stays where it was, and is
        // noted in its new place.
        for (released, expected) in [(vec![], 2), (vec![bad(1)], 4)] {
            let again = running.ingest.submit(&told(released)).await.unwrap();
            tokio::time::timeout(PATIENCE, running.ingest.applied(again)).await.unwrap();
            assert_eq!(running.reader.totals().unwrap().set_aside, expected);
        }
        let counts = running.reader.counts(&source).unwrap();
        assert_eq!(counts.webhook_only, 4, "events are counted once");
        stop(running).await;
    });
    // Its own restart finds everything as it was.
    runtime().block_on(async {
        let running = ingest::start(settings(state.path()), &Handle::current()).unwrap();
        tokio::time::timeout(Duration::from_secs(60), running.ingest.ready()).await.unwrap();
        assert_eq!(running.reader.totals().unwrap().set_aside, 4);
        stop(running).await;
    });
}
