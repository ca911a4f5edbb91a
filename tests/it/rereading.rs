//! An element may be read otherwise than when it was applied: after an upgrade, or by new rules.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use suppressd::ingest::{self, Running, Settings};
use suppressd::model::{Address, Element, EventKind, Origin, SourceName, Submission, Time};
use suppressd::provider::{Judge, Reading};
use suppressd::rules::Rules;
use suppressd::store::EventFilter;
use suppressd::verdict::own::{OwnRow, Words};
use tokio::runtime::Handle;

use super::support::client::event;
use super::support::daemon::PATIENCE;

async fn start(state: &Path, judge: Judge) -> Running {
    let reading = Arc::new(Reading { judge, ..Reading::default() });
    let retention = Duration::from_secs(90 * 86_400);
    let settings = Settings::new(state.to_owned(), retention, Arc::new(Rules::default()), reading);
    let running = ingest::start(settings, &Handle::current()).unwrap();
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
    running
}

fn kinds(running: &Running, filter: EventFilter) -> Vec<EventKind> {
    let mut scan = running.reader.events(filter).unwrap();
    std::iter::from_fn(|| scan.advance().unwrap()).map(|told| told.event.kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_shown_as_they_are_read_now_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), Judge::default()).await;
    let bodies = [
        event("hard_bounce", "a@x.test", "m1", 1),
        event("delivered", "a@x.test", "m0", 0),
        event("hard_bounce", "b@x.test", "m2", 2),
    ];
    let submission = Submission {
        source: SourceName::parse("test").unwrap(),
        provider: "generic".into(),
        origin: Origin::Webhook,
        feed: "".into(),
        received_at: Time::from_seconds(1_781_600_000),
        elements: bodies
            .iter()
            .map(|body| Element { context: String::new(), body: body.as_bytes().to_vec() })
            .collect(),
        cursor: None,
        released: Vec::new(),
    };
    let receipt = running.ingest.submit(&submission).await.unwrap();
    running.ingest.applied(receipt).await;
    running.stop(PATIENCE).await;

    let own = OwnRow::of_kind("a test".to_owned(), EventKind::Blocked);
    let own = vec![OwnRow { words: Some(Words::text("no such user")), ..own }];
    let running = start(folder.path(), Judge { own, ..Judge::default() }).await;
    use EventKind::{Blocked, Delivered};
    let of = |address: &str| EventFilter {
        address: Some(Address::parse(address).unwrap()),
        ..EventFilter::default()
    };
    assert_eq!(kinds(&running, EventFilter::default()), [Blocked, Delivered, Blocked]);
    assert_eq!(kinds(&running, of("a@x.test")), [Blocked, Delivered]);
    assert_eq!(kinds(&running, of("b@x.test")), [Blocked]);
    let by_message = EventFilter { message_id: Some("m2".to_owned()), ..EventFilter::default() };
    assert_eq!(kinds(&running, by_message), [Blocked]);
    running.stop(PATIENCE).await;
}
