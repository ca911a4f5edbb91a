//! What is kept for how long: payloads and events go, suppressions stay.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use suppressd::ingest::{self, Running, Settings};
use suppressd::model::{
    Address, Element, Filter, Hold, Origin, Scope, SourceName, Submission, Time,
};
use suppressd::rules::Rules;
use suppressd::store::EventFilter;
use tokio::runtime::Handle;

use super::support::client::event;
use super::support::daemon::PATIENCE;

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn start(state: &Path) -> Running {
    start_holding(state, None)
}

fn start_holding(state: &Path, hold: Option<Hold>) -> Running {
    let rules = Arc::new(Rules::default());
    let usual = Settings::new(state.to_owned(), 90 * DAY, rules, Arc::default());
    // Every submission is worth a checkpoint, so that there are two soon.
    let settings = Settings { checkpoint_bytes: 1, sync_every: Duration::from_millis(20), ..usual };
    settings.policy.hold.set(hold);
    ingest::start(settings, &Handle::current()).unwrap()
}

fn is_suppressed(running: &Running, address: &str) -> bool {
    let (rules, now) = (Rules::default(), suppressd::clock::now());
    let address = Address::parse(address).unwrap();
    let (scopes, filter) = ([Scope::Global], Filter::default());
    running.reader.verdict(&rules, &address, &scopes, &filter, now).unwrap().is_some()
}

/// Has a segment be a hundred days old.
pub(crate) fn make_old(segment: &Path) {
    let hundred_days_ago = SystemTime::UNIX_EPOCH
        + Duration::from_nanos(u64::try_from(suppressd::clock::now().nanos()).unwrap())
        - 100 * DAY;
    File::open(segment).unwrap().set_modified(hundred_days_ago).unwrap();
}

pub(crate) async fn submit(running: &Running, bodies: &[&str]) {
    let element = |body: &&str| Element { context: String::new(), body: body.as_bytes().to_vec() };
    let submission = Submission {
        source: SourceName::parse("test").unwrap(),
        provider: "generic".into(),
        origin: Origin::Webhook,
        feed: "".into(),
        received_at: Time::from_seconds(1_781_600_000),
        elements: bodies.iter().map(element).collect(),
        cursor: None,
        released: Vec::new(),
    };
    let receipt = running.ingest.submit(&submission).await.unwrap();
    running.ingest.applied(receipt).await;
}

pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    // There is no folder before its first file.
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
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

fn addresses(running: &Running) -> Vec<String> {
    let mut scan = running.reader.events(EventFilter::default()).unwrap();
    std::iter::from_fn(|| scan.advance().unwrap())
        .map(|told| told.event.address.received().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_payloads_go_and_what_follows_from_them_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, checkpoint) = (folder.path().join("journal"), folder.path().join("checkpoint"));
    let old = event("hard_bounce", "old@x.test", "m1", 1);
    let new = event("hard_bounce", "new@x.test", "m2", 2);
    for bodies in [&[old.as_str(), "7"][..], &[new.as_str()]] {
        let running = start(folder.path());
        let before = files(&checkpoint, "checkpoint").pop();
        submit(&running, bodies).await;
        until("a checkpoint", || files(&checkpoint, "checkpoint").pop() != before).await;
        running.stop(PATIENCE).await;
    }
    let segments = files(&journal, "seg");
    make_old(&segments[0]);

    let running = start(folder.path());
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
    until("the old segment gone", || !segments[0].exists()).await;
    until("the old element forgotten", || running.reader.quarantined().unwrap().is_empty()).await;
    assert_eq!(addresses(&running), ["new@x.test"], "the event goes with its payload");
    let verdict = |address: &str| is_suppressed(&running, address);
    assert!(verdict("old@x.test") && verdict("new@x.test"), "suppressions stay");
    assert!(segments[1].exists(), "what is young enough stays");
    running.stop(PATIENCE).await;
}

/// Neither a restart, nor a checkpoint in the place of the journal, nor a configuration without the
/// table lets a mass go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_stays_so_when_its_payloads_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, checkpoint) = (folder.path().join("journal"), folder.path().join("checkpoint"));
    let hold = Some(Hold { count: 3, ..Hold::default() });
    let bounce = |n: u32| event("hard_bounce", &format!("u{n}@x.test"), &format!("m{n}"), n);
    let mass: Vec<String> = (0..8).map(bounce).collect();
    let other = event("hard_bounce", "new@y.test", "m9", 9);
    for bodies in [mass, vec![other]] {
        let running = start_holding(folder.path(), hold);
        tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
        let before = files(&checkpoint, "checkpoint").pop();
        submit(&running, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
        until("a checkpoint", || files(&checkpoint, "checkpoint").pop() != before).await;
        running.stop(PATIENCE).await;
    }
    let segments = files(&journal, "seg");
    make_old(&segments[0]);
    let running = start_holding(folder.path(), hold);
    until("the old segment gone", || !segments[0].exists()).await;
    running.stop(PATIENCE).await;
    fs::remove_dir_all(folder.path().join("sled")).unwrap();

    let running = start(folder.path());
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
    let masses = running.reader.masses().unwrap();
    assert_eq!(masses.iter().map(|(_, mass)| mass.count).collect::<Vec<_>>(), [5]);
    for (address, expected) in [("u2@x.test", true), ("u3@x.test", false), ("new@y.test", true)] {
        assert_eq!(is_suppressed(&running, address), expected, "{address}");
    }
    running.stop(PATIENCE).await;
}
