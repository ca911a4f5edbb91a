//! A record is applied in parts: however many elements it has, whenever the daemon is killed.

use std::fs;

use suppressd::ingest::Running;
use suppressd::model::{Cursor, Element, Origin, QuarantineId, SourceName, Submission};

use super::rebuild::{assert_same, copy, element, everything, runtime, start, stop, submission};
use super::support::client::{event, notify};
use super::support::daemon::{Home, PATIENCE};
use super::support::random::Random;
use super::support::wait_for;

/// Elements of a record that takes several batches.
const ELEMENTS: u32 = 10_000;
/// Kills while one record is applied.
const KILLS: usize = 6;

fn bounce(number: u32) -> String {
    event("hard_bounce", &format!("user{number}@x.test"), "m", number)
}

/// The step of the record that is being applied, as the daemon has noted it.
fn step(home: &Home) -> u64 {
    let note = fs::read_to_string(home.state().join("checkpoint/attempt")).unwrap_or_default();
    let step = note.split_whitespace().nth(3).and_then(|step| step.parse().ok());
    step.unwrap_or(0)
}

#[test]
fn a_record_shows_by_parts_and_its_cursor_with_the_last() {
    let state = tempfile::tempdir().unwrap();
    let page: Vec<Element> = (0..ELEMENTS).map(|number| element(&bounce(number))).collect();
    let cursor = Cursor { feed: "events".into(), state: "at the end".into() };
    let page = Submission { cursor: Some(cursor), ..submission(Origin::Poll, 1, page) };
    let source = SourceName::parse("test").unwrap();
    runtime().block_on(async {
        let running = start(state.path());
        running.ingest.ready().await;
        let receipt = running.ingest.submit(&page).await.unwrap();
        let mut progress = running.ingest.progress();
        let mut seen = Vec::new();
        while *progress.borrow_and_update() < receipt.end {
            let cursor = running.reader.cursor(&source, "events").unwrap();
            let totals = running.reader.totals().unwrap();
            if cursor.is_none() {
                seen.push(totals.standings);
            }
            tokio::time::timeout(PATIENCE, progress.changed()).await.unwrap().unwrap();
        }
        assert!(seen.iter().any(|n| (1..u64::from(ELEMENTS)).contains(n)), "{seen:?}");
        let cursor = running.reader.cursor(&source, "events").unwrap();
        assert_eq!(cursor.as_deref(), Some("at the end"));
        let counts = running.reader.counts(&source).unwrap();
        assert_eq!((counts.poll_only, counts.repeated), (u64::from(ELEMENTS), 0));
        stop(running).await;
    });
}

#[test]
fn kills_within_a_record_lose_nothing_and_count_nothing_twice() {
    let mut random = Random::new();
    let home = Home::new("");
    let daemon = home.start().ready();
    let bounces: Vec<String> = (0..ELEMENTS).map(bounce).collect();
    assert_eq!(notify(daemon.http, &format!("[{}]", bounces.join(","))).status, 200);
    daemon.kill();
    let mut within = 0;
    for kill in 1..=KILLS {
        let daemon = home.start();
        // The first ones early: a record that is through gives no more chances.
        let goal = random.below(u64::from(ELEMENTS) * kill as u64 / KILLS as u64);
        wait_for("a place in the record", PATIENCE, || {
            (step(&home) >= goal || daemon.readyz().status == 200).then_some(())
        });
        daemon.kill();
        within += u32::from(step(&home) > 1);
    }
    assert!(within > 0, "no kill came while the record was applied");
    let daemon = home.start().ready();
    assert_eq!(daemon.rows(&["list"]).len(), ELEMENTS as usize);
    assert_eq!(daemon.rows(&["events"]).len(), ELEMENTS as usize);
    let source = daemon.source("test");
    assert_eq!(source["webhook_only"], ELEMENTS);
    assert_eq!(source["repeated"], 0);
    daemon.stop();
    let again = tempfile::tempdir().unwrap();
    copy(&home.state(), again.path());
    fs::remove_dir_all(again.path().join("sled")).unwrap();
    fs::remove_dir_all(again.path().join("checkpoint")).unwrap();
    let runtime = runtime();
    let found = runtime.block_on(everything(&home.state()));
    let expected = runtime.block_on(everything(again.path()));
    assert_same("applied in many lives", &found, &expected);
}

/// How many keys sled has of each prefix that has to do with what cannot be read.
fn keys_of_unreadable(running: &Running) -> [usize; 2] {
    let pairs = running.reader.everything().unwrap();
    [b'h', b'z'].map(|prefix| pairs.iter().filter(|(key, _)| key.starts_with(&[prefix])).count())
}

/// A key costs sled more than all else that an event does: of what cannot be read it has no more
/// keys than are listed, in their order, so that a body of such holds nobody up for longer.
#[test]
fn what_cannot_be_read_is_one_key_and_known_again_without_the_index() {
    const UNREADABLE: usize = 2_000;
    let state = tempfile::tempdir().unwrap();
    let body = |number: usize| element(&format!("{{\"no\":\"event\",\"number\":{number}}}"));
    let told = |number| submission(Origin::Webhook, number, (0..UNREADABLE).map(body).collect());
    let operator =
        |released| Submission { released, ..submission(Origin::Operator, 3, Vec::new()) };
    let tell = async |submissions: &[Submission]| {
        let running = start(state.path());
        running.ingest.ready().await;
        for submission in submissions {
            let receipt = running.ingest.submit(submission).await.unwrap();
            running.ingest.applied(receipt).await;
        }
        let ids: Vec<QuarantineId> = running.reader.quarantined().unwrap();
        let (keys, source) = (keys_of_unreadable(&running), SourceName::parse("test").unwrap());
        let counts = running.reader.counts(&source).unwrap();
        stop(running).await;
        (ids, keys, (counts.unreadable, counts.repeated))
    };
    runtime().block_on(async {
        let all = UNREADABLE as u64;
        let (ids, keys, counts) = tell(&[told(1), told(2)]).await;
        assert_eq!((ids.len(), keys, counts), (UNREADABLE, [0, UNREADABLE], (all, all)));
        // What an operator has dropped stays away, too.
        let (left, keys, _) = tell(&[operator(ids[..500].to_vec())]).await;
        assert_eq!((left.as_slice(), keys), (&ids[500..], [0, UNREADABLE - 500]));
        for gone in [&["index"][..], &["index", "sled", "base", "checkpoint"]] {
            gone.iter().for_each(|it| fs::remove_dir_all(state.path().join(it)).unwrap());
            let (found, keys, counts) = tell(&[told(4)]).await;
            assert_eq!((&found, keys), (&left, [0, UNREADABLE - 500]), "{gone:?}");
            assert_eq!(counts.0, all, "{gone:?}");
        }
    });
}
