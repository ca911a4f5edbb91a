//! What makes two tellings one event: laws that every provider's fixtures are held to without
//! asking, through the real intake and into the real store.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use suppressd::ingest::{self, Running, Settings};
use suppressd::model::{Element, Origin, SourceName, Submission};
use suppressd::provider::{ALL, Adapter, Notification, Provider, Reading, by_name};
use suppressd::rules::Rules;
use suppressd::store::Pair;
use tokio::runtime::Handle;

use super::custom::{DESCRIBED, described};
use super::providers::{Sent, payloads, received};
use super::support::daemon::PATIENCE;

/// How often everything is told, at least: as often as the most patient provider tries.
const TELLINGS: usize = 10;

async fn start(state: &Path, provider: &Adapter) -> Running {
    let retention = Duration::from_secs(90 * 86_400);
    // As if a source had described it; the built-in ones are no other for that.
    let described = HashMap::from([(source(&**provider), provider.clone())]);
    let reading = Arc::new(Reading { described, ..Reading::default() });
    let rules = Arc::new(Rules::default());
    let settings = Settings::new(state.to_owned(), retention, rules, reading);
    let running = ingest::start(settings, &Handle::current()).unwrap();
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
    running
}

fn source(provider: &dyn Provider) -> SourceName {
    SourceName::parse(provider.name()).unwrap()
}

/// A submission of the telling of that number. All come within a second, so that no fixture whose
/// time is a second too far ahead to be believed becomes believable meanwhile.
fn told(provider: &dyn Provider, telling: usize, elements: Vec<Element>) -> Submission {
    let later = Duration::from_millis(50 * telling as u64);
    Submission {
        source: source(provider),
        provider: provider.name().into(),
        origin: Origin::Webhook,
        feed: "".into(),
        received_at: received().plus(later),
        elements,
        cursor: None,
        released: Vec::new(),
    }
}

async fn tell(running: &Running, submission: &Submission) {
    let receipt = running.ingest.submit(submission).await.unwrap();
    running.ingest.applied(receipt).await;
}

/// What the store concludes; not how often it was told, nor what nobody can read.
fn concluded(running: &Running) -> Vec<Pair> {
    let mut pairs = running.reader.everything().unwrap();
    pairs.retain(|(key, _)| key.first().is_some_and(|first| b"emqs".contains(first)));
    // The index has what nobody can read as told in no way.
    pairs.retain(|(key, value)| !key.starts_with(b"e") || !value.ends_with(&[0]));
    pairs
}

#[track_caller]
fn same(provider: &dyn Provider, what: &str, before: &[Pair], after: &[Pair]) {
    let changed = after.iter().filter(|pair| !before.contains(pair));
    let keys: Vec<String> = changed.map(|(key, _)| String::from_utf8_lossy(key).into()).collect();
    let name = provider.name();
    assert!(keys.is_empty(), "{name}: {what} changed {} keys: {keys:?}", keys.len());
    assert_eq!(before.len(), after.len(), "{name}: {what}");
}

/// The elements of a notification as a retry brings it: with other headers of the transport, and,
/// from the third on, a counter in the body, as some senders add one.
fn again(provider: &dyn Provider, sent: &Sent, telling: usize) -> Vec<Element> {
    let mut headers: HeaderMap = sent.headers.clone();
    let value = HeaderValue::from_str(&format!("attempt-{telling}")).unwrap();
    for name in ["id", "date", "user-agent", "x-request-id", "traceparent", "x-retry-count"] {
        headers.insert(name, value.clone());
    }
    let body = if telling < 3 { sent.body.clone() } else { counted(&sent.body, telling) };
    let notification = sent.notification();
    provider.split(&Notification { headers: &headers, body: &body, ..notification })
}

/// The body with a counter in it, if it is an object, an array of them, or a form.
fn counted(body: &[u8], telling: usize) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let start = text.find('{').filter(|at| matches!(text[..*at].trim(), "" | "["));
    match start {
        Some(at) if serde_json::from_str::<serde_json::Value>(&text).is_ok() => {
            let comma = if text[at + 1..].trim_start().starts_with('}') { "" } else { "," };
            let counter = format!("\"retry_count\":{telling}{comma}");
            [&body[..=at], counter.as_bytes(), &body[at + 1..]].concat()
        }
        _ if text.starts_with("mandrill_events=") => {
            [body.trim_ascii_end(), format!("&retry_count={telling}").as_bytes()].concat()
        }
        _ => body.to_vec(),
    }
}

/// Tells everything in `payloads` again and again.
async fn each_counts_once(adapter: Adapter, payloads: Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let (running, provider) = (start(folder.path(), &adapter).await, &*adapter);
    let sent: Vec<(PathBuf, Sent)> =
        payloads.into_iter().map(|path| (path.clone(), Sent::of(&path))).collect();
    for (_, one) in &sent {
        tell(&running, &told(provider, 0, provider.split(&one.notification()))).await;
    }
    let before = concluded(&running);
    let events = before.iter().filter(|(key, _)| key.starts_with(b"e")).count();
    assert!(events > 0, "{} has no event", provider.name());

    for telling in 1..TELLINGS {
        for (path, one) in &sent {
            let elements = again(provider, one, telling);
            tell(&running, &told(provider, telling, elements)).await;
            let what = format!("{}, telling {telling}", path.display());
            same(provider, &what, &before, &concluded(&running));
        }
    }

    // Batches with other members: everything at once, in turn, and every second one twice.
    let all: Vec<Element> =
        sent.iter().flat_map(|(_, one)| provider.split(&one.notification())).collect();
    let reversed = all.iter().rev().cloned().collect();
    let twice = all.iter().step_by(2).flat_map(|one| [one.clone(), one.clone()]).collect();
    for (what, batch) in
        [("a batch of all", all.clone()), ("its reverse", reversed), ("twins", twice)]
    {
        tell(&running, &told(provider, TELLINGS, batch)).await;
        same(provider, what, &before, &concluded(&running));
    }
    assert_eq!(running.stop(PATIENCE).await, Vec::<&str>::new());

    // And the other way round: the batch first, in reverse, comes to the same events.
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), &adapter).await;
    tell(&running, &told(provider, 0, all.into_iter().rev().collect())).await;
    let keys = |pairs: &[Pair]| pairs.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&concluded(&running)), keys(&before), "{}: in reverse", provider.name());
    assert_eq!(running.stop(PATIENCE).await, Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_of_every_provider_counts_once_however_often_it_is_told() {
    // What describes itself comes below.
    for provider in ALL.iter().filter(|provider| provider.name() != "custom") {
        each_counts_once((*provider).into(), payloads(*provider)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_of_a_described_provider_counts_once() {
    for (name, _) in DESCRIBED {
        each_counts_once(described(name).provider, payloads(by_name(name).unwrap())).await;
    }
}
