//! The bounded queue: what does not fit is refused whole, and what was taken is kept.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use suppressd::ingest::{self, Ingest, Receipt, Refused, Running, Settings};
use suppressd::journal::PAYLOAD_MAX;
use suppressd::model::{Element, Origin, SourceName, Submission, Time};
use suppressd::rules::Rules;
use suppressd::store::EventFilter;
use tokio::runtime::Handle;

use super::support::client::event;
use super::support::daemon::PATIENCE;

/// Most bytes that may wait.
const MEMORY: usize = 32 << 20;

fn submission(elements: Vec<Vec<u8>>) -> Submission {
    let element = |body| Element { context: String::new(), body };
    Submission {
        source: SourceName::parse("test").unwrap(),
        provider: "generic".into(),
        origin: Origin::Webhook,
        feed: "".into(),
        received_at: Time::from_seconds(1_781_000_000),
        elements: elements.into_iter().map(element).collect(),
        cursor: None,
        released: Vec::new(),
    }
}

fn bounce(name: &str) -> Vec<u8> {
    event("hard_bounce", &format!("{name}@x.test"), "m", 1).into_bytes()
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Receipt, Refused>> + 'a>>;

/// Hands a submission over, and does not wait for the answer.
fn hand_over<'a>(
    ingest: &'a Ingest,
    submission: &'a Submission,
) -> Result<Answer<'a>, Result<Receipt, Refused>> {
    let mut answer: Answer<'a> = Box::pin(ingest.submit(submission));
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Ok(answer),
        Poll::Ready(answer) => Err(answer),
    }
}

fn addresses(running: &Running) -> BTreeSet<String> {
    let mut scan = running.reader.events(EventFilter::default()).unwrap();
    let mut found = BTreeSet::new();
    while let Some(told) = scan.advance().unwrap() {
        found.insert(told.event.address.key().to_owned());
    }
    found
}

async fn started(state: &tempfile::TempDir) -> Running {
    let retention = Duration::from_secs(90 * 86_400);
    let rules = Arc::new(Rules::default());
    let settings = Settings::new(state.path().to_owned(), retention, rules, Arc::default());
    let settings = Settings { memory: MEMORY, ..settings };
    let running = ingest::start(settings, &Handle::current()).unwrap();
    running.ingest.ready().await;
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_bytes_than_may_wait_are_refused() {
    let state = tempfile::tempdir().unwrap();
    let running = started(&state).await;
    // It is larger than all of the room, which it takes until it is synced.
    let large = submission(vec![bounce("large"), vec![b' '; MEMORY]]);
    let small = submission(vec![bounce("refused")]);
    let large = hand_over(&running.ingest, &large).unwrap();
    for _ in 0..100 {
        match hand_over(&running.ingest, &small) {
            Err(Err(Refused::Full { retry_after })) => assert!(!retry_after.is_zero()),
            _ => panic!("there was room"),
        }
    }
    large.await.unwrap();
    let last = running.ingest.submit(&submission(vec![bounce("after")])).await.unwrap();
    running.ingest.applied(last).await;
    let expected = ["after@x.test", "large@x.test"].map(str::to_owned);
    assert_eq!(addresses(&running), BTreeSet::from(expected));
    assert_eq!(running.stop(PATIENCE).await, Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_a_record_is_refused_and_takes_no_room() {
    let state = tempfile::tempdir().unwrap();
    let running = started(&state).await;
    // With what is around it in a record, it is over the limit.
    let huge = submission(vec![bounce("huge"), vec![b' '; PAYLOAD_MAX]]);
    assert_eq!(running.ingest.submit(&huge).await, Err(Refused::TooLarge));
    assert_eq!(running.ingest.room().used(), (0, MEMORY));
    let last = running.ingest.submit(&submission(vec![bounce("after")])).await.unwrap();
    running.ingest.applied(last).await;
    assert_eq!(addresses(&running), BTreeSet::from(["after@x.test".to_owned()]));
    assert_eq!(running.stop(PATIENCE).await, Vec::<&str>::new());
}

/// Hands over more than may wait while the committer is busy with a large one; says how many were
/// refused, and notes who was not.
async fn fill(
    ingest: &Ingest,
    round: usize,
    limit: usize,
    expected: &mut BTreeSet<String>,
) -> usize {
    let name = |number: usize| format!("small{round}-{number}");
    let padding = vec![b' '; MEMORY - (16 << 20)];
    let large = submission(vec![bounce(&format!("large{round}")), padding]);
    let small: Vec<Submission> =
        (0..limit + 500).map(|number| submission(vec![bounce(&name(number))])).collect();
    expected.insert(format!("large{round}@x.test"));
    let (mut refused, mut taken, mut answered) = (0, Vec::new(), 0);
    let large = hand_over(ingest, &large).unwrap();
    for (number, submission) in small.iter().enumerate() {
        match hand_over(ingest, submission) {
            Ok(answer) => {
                taken.push(answer);
                expected.insert(format!("{}@x.test", name(number)));
            }
            // The committer had time for it meanwhile.
            Err(Ok(_)) => {
                answered += 1;
                expected.insert(format!("{}@x.test", name(number)));
            }
            Err(Err(Refused::Full { .. })) => refused += 1,
            Err(Err(other)) => panic!("{other:?}"),
        }
    }
    // The large one has a place too until the committer takes it.
    let found = taken.len() + answered;
    assert!(found + 1 >= limit, "only {found} of {limit} found room");
    let mut last = large.await.unwrap();
    for answer in taken {
        last = answer.await.unwrap();
    }
    ingest.applied(last).await;
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_submissions_than_may_wait_are_refused() {
    let state = tempfile::tempdir().unwrap();
    let running = started(&state).await;
    let (_, limit) = running.ingest.waiting();
    let mut expected = BTreeSet::new();
    // On a busy machine the committer may be done with the large one before the others come.
    for round in 0..20 {
        if fill(&running.ingest, round, limit, &mut expected).await > 0 {
            break;
        }
        assert!(round < 19, "all of them found room, each time");
    }
    assert_eq!(addresses(&running), expected, "what was refused is not kept, all else is");
    assert_eq!(running.stop(PATIENCE).await, Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intake_that_stops_refuses() {
    let state = tempfile::tempdir().unwrap();
    let running = started(&state).await;
    let ingest = running.ingest.clone();
    let first = submission(vec![bounce("first")]);
    let pending = hand_over(&ingest, &first).unwrap();
    let stopping = tokio::spawn(running.stop(PATIENCE));
    assert!(pending.await.is_ok(), "what was taken is kept");
    assert_eq!(stopping.await.unwrap(), Vec::<&str>::new());
    assert_eq!(ingest.submit(&first).await, Err(Refused::Stopping));
    assert!(ingest.obstacle().is_some());
}
