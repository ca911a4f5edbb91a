//! A notification that is told again, byte for byte: answered, counted and shown, and journalled
//! once. And why that changes nothing: the store says the same as if it were journalled each time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use suppressd::ingest::{self, Running, Settings};
use suppressd::model::{Element, Lifts, Origin, QuarantineId, Scope, SourceName, Submission, Time};
use suppressd::provider::{Instruction, OPERATOR, instruction_element};
use suppressd::rules::Rules;
use suppressd::store::Pair;
use tokio::runtime::Handle;

use crate::support::client::{Client, event};
use crate::support::daemon::{Home, PATIENCE};
use crate::support::wait_for;

/// What is in the journal's segments, without the room that they have taken in advance.
fn journalled(home: &Home, text: &str) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(home.state().join("journal")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            let bytes = std::fs::read(path).unwrap();
            found += bytes.windows(text.len()).filter(|part| *part == text.as_bytes()).count();
        }
    }
    found
}

#[test]
fn a_replay_storm_is_journalled_once_and_shows() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let body = event("hard_bounce", "user@example.com", "told-again", 1);
    let mut client = Client::connect(daemon.http).unwrap();
    assert_eq!(client.notify(&body).unwrap().status, 200);
    daemon.until_suppressed("user@example.com");
    let first = daemon.source("test")["last_webhook"].clone();
    for _ in 0..500 {
        assert_eq!(client.notify(&body).unwrap().status, 200);
    }
    assert_eq!(journalled(&home, "told-again"), 1);
    let source = daemon.source("test");
    assert_eq!((&source["webhook_only"], &source["repeated"]), (&1.into(), &500.into()));
    assert!(source["last_webhook"].as_str().unwrap() > first.as_str().unwrap(), "{source}");
    let repeated = "suppressd_repeated_total{source=\"test\",origin=\"webhook\"}";
    assert_eq!(daemon.metric(repeated), Some(500.0));
    // Another body is no repetition, and neither is the same one after a start.
    let other = event("hard_bounce", "other@example.com", "told-again", 1);
    assert_eq!(client.notify(&other).unwrap().status, 200);
    daemon.until_suppressed("other@example.com");
    assert_eq!(journalled(&home, "told-again"), 2);
    daemon.stop();
    let daemon = home.start().ready();
    let mut client = Client::connect(daemon.http).unwrap();
    for _ in 0..3 {
        assert_eq!(client.notify(&body).unwrap().status, 200);
    }
    assert_eq!(journalled(&home, "told-again"), 3);
    wait_for("the count", PATIENCE, || (daemon.source("test")["repeated"] == 3).then_some(()));
    daemon.stop();
}

async fn start(state: &Path) -> Running {
    let retention = Duration::from_secs(90 * 86_400);
    let rules = Arc::new(Rules::default());
    let settings = Settings::new(state.to_owned(), retention, rules, Arc::default());
    let running = ingest::start(settings, &Handle::current()).unwrap();
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
    running
}

fn at(second: i64) -> Time {
    Time::from_seconds(1_781_519_600 + second)
}

fn submission(second: i64, bodies: &[&str]) -> Submission {
    let element = |text: &&str| Element { context: String::new(), body: text.as_bytes().into() };
    Submission {
        source: SourceName::parse("test").unwrap(),
        provider: "generic".into(),
        origin: Origin::Webhook,
        feed: "".into(),
        received_at: at(second),
        elements: bodies.iter().map(element).collect(),
        cursor: None,
        released: Vec::new(),
    }
}

fn by_hand(second: i64, add: bool, address: &str) -> Submission {
    let instruction = Instruction {
        add,
        address: address.to_owned(),
        scope: Scope::Global,
        at: at(second),
        until: None,
        note: None,
        lifts: Lifts::default(),
    };
    Submission {
        source: SourceName::operator(),
        provider: OPERATOR.into(),
        origin: Origin::Operator,
        elements: vec![instruction_element(&instruction)],
        ..submission(second, &[])
    }
}

/// Notifications of every kind that may matter: with a time that is believed, and with one that is
/// not, so that they have ours; of two events; unreadable.
const TOLD: &[&[&str]] = &[
    &[r#"{"event":"hard_bounce","recipient":"a@x.test","timestamp":"2026-06-15T10:00:00Z"}"#],
    &[r#"{"event":"complaint","recipient":"b@x.test","timestamp":"2030-01-01T00:00:00Z"}"#],
    &[r#"{"event":"soft_bounce","recipient":"c@x.test","timestamp":"2030-01-01T00:00:00Z"}"#],
    &[
        r#"{"event":"soft_bounce","recipient":"c@x.test","timestamp":"2030-01-01T00:00:01Z"}"#,
        r#"{"event":"delivered","recipient":"c@x.test","timestamp":"2026-06-15T09:00:00Z"}"#,
    ],
    &[r#"{"event":"unsubscribed","recipient":"d@x.test","timestamp":"2030-01-01T00:00:00Z"}"#],
    &["no event", r#"{"event":"hard_bounce"}"#],
    &[r#"{"event":"hard_bounce","recipient":"e@x.test","timestamp":"2030-01-01T00:00:00Z"}"#],
];

/// What the store concludes of `x.test`; not how often it was told.
fn concluded(running: &Running) -> Vec<Pair> {
    let mut pairs = running.reader.everything().unwrap();
    let is_other = |key: &[u8]| key.windows(OTHER.len()).any(|part| part == OTHER.as_bytes());
    pairs.retain(|(key, _)| matches!(key.first(), Some(b's' | b'q')) && !is_other(key));
    pairs
}

/// Whom the records are about that stand where the repetitions would. A standing keeps the places
/// in the journal of what is ordered by them, so that both journals must be equally long.
const OTHER: &str = "y.test";

/// Tells everything, with lifts, additions and a dropped quarantine between the repetitions.
async fn told(repeat: bool) -> (Vec<Pair>, Vec<Vec<u8>>) {
    let state = tempfile::tempdir().unwrap();
    let running = start(state.path()).await;
    let submit = async |submission: &Submission| {
        let receipt = running.ingest.submit(submission).await.unwrap();
        running.ingest.applied(receipt).await;
        receipt
    };
    let mut held = Vec::new();
    for (number, bodies) in (0..).zip(TOLD) {
        held.push(submit(&submission(number, bodies)).await.record);
    }
    let again = async |from: i64| {
        let about = if repeat { "x.test" } else { OTHER };
        for (number, bodies) in (from..).zip(TOLD) {
            let bodies: Vec<String> =
                bodies.iter().map(|body| body.replace("x.test", about)).collect();
            let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
            submit(&submission(number, &bodies)).await;
        }
    };
    again(100).await;
    for address in ["a@x.test", "b@x.test", "c@x.test"] {
        submit(&by_hand(200, false, address)).await;
    }
    again(300).await;
    submit(&by_hand(400, true, "a@x.test")).await;
    submit(&by_hand(401, false, "a@x.test")).await;
    let dropped = QuarantineId { record: held[5], element: 0 };
    submit(&Submission { released: vec![dropped], ..submission(402, &[]) }).await;
    again(500).await;
    let quarantined = running.reader.everything().unwrap().into_iter();
    let quarantined = quarantined.filter(|(key, _)| key.first() == Some(&b'z'));
    // Where in the journal is another matter.
    let reasons = quarantined.map(|(_, reason)| reason).collect();
    let found = concluded(&running);
    running.stop(PATIENCE).await;
    (found, reasons)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_again_and_journalled_changes_nothing() {
    let (once, again) = (told(false).await, told(true).await);
    assert!(once.0.len() >= 4, "{} standings", once.0.len());
    assert_eq!(once.1.len(), 1, "one is dropped, and stays away");
    assert!(once == again, "{} and {} standings differ", once.0.len(), again.0.len());
}

/// The provider's other way knows the event and does not name its message.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_both_ways_tell_counts_once() {
    for kind in ["soft_bounce", "blocked"] {
        let state = tempfile::tempdir().unwrap();
        let running = start(state.path()).await;
        let tell = async |submission: Submission| {
            let receipt = running.ingest.submit(&submission).await.unwrap();
            running.ingest.applied(receipt).await;
            concluded(&running)
        };
        let event = |message: &str| {
            format!(
                "{{\"event\":\"{kind}\",\"recipient\":\"a@x.test\",\"event_id\":\"1\",\
                 \"timestamp\":\"2026-06-15T10:00:00Z\"{message}}}"
            )
        };
        let first = tell(submission(0, &[&event(",\"message_id\":\"m\"")])).await;
        assert_eq!(first.len(), 1, "{kind}");
        let polled = submission(1, &[&event("")]);
        let second =
            tell(Submission { origin: Origin::Poll, feed: "events".into(), ..polled }).await;
        assert!(first == second, "{kind}");
        running.stop(PATIENCE).await;
    }
}
