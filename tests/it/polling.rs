//! Polling from the API to the store: what is read, what is kept, and how it goes on after a cut.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use suppressd::clock;
use suppressd::fetch::Fetcher;
use suppressd::ingest::{self, Running};
use suppressd::model::{Address, SourceName, Time};
use suppressd::poll::{self, Every, Polls, Settings, Summary};
use suppressd::provider::{self, Setting};
use suppressd::rules::Rules;
use suppressd::secret::Secret;
use suppressd::stop::Part;
use suppressd::turns::Turns;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::support::feed::{Fault, Feed, row};

/// Longest stop.
const SOON: Duration = Duration::from_secs(20);

/// Intake, store and poller, as the daemon puts them together.
struct Polling {
    running: Running,
    polls: Polls,
    parts: Vec<Part>,
}

impl Polling {
    /// Polls by a cron expression that never calls: once at the start, and then on order.
    async fn start(state: &Path, feeds: &[(&str, &Feed)]) -> Polling {
        let rules = Arc::new(Rules::default());
        let retention = Duration::from_secs(90 * 86_400);
        let settings =
            ingest::Settings::new(state.to_owned(), retention, rules.clone(), Arc::default());
        let running = ingest::start(settings, &Handle::current()).unwrap();
        let polls = feeds.iter().map(|(name, feed)| settings_of(name, feed)).collect();
        let fetcher = Fetcher::new().unwrap();
        let (before, turns) = (Polls::default(), Turns::always());
        let started = poll::start(polls, fetcher, &running, rules, &before, turns);
        let (polls, parts) = started.unwrap();
        Polling { running, polls, parts }
    }

    async fn run(&self, source: &str, since: Option<Time>) -> Summary {
        let (progress, mut steps) = mpsc::channel(16);
        let run = self.polls.run_now(Some(source), since, progress);
        let take = async { while steps.recv().await.is_some() {} };
        tokio::join!(run, take).0.unwrap().remove(0)
    }

    fn knows(&self, address: &str) -> bool {
        let address = Address::parse(address).unwrap();
        !self.running.reader.standings_of(&address).unwrap().is_empty()
    }

    async fn stop(mut self) {
        for part in &mut self.parts {
            part.stop();
            part.ended().await.unwrap();
        }
        assert_eq!(self.running.stop(SOON).await, Vec::<&str>::new());
    }
}

fn settings_of(name: &str, feed: &Feed) -> Settings {
    let mut settings = provider::Settings::default();
    settings.set("url", Setting::Text(feed.url()));
    settings.set("bearer", Setting::Secrets(vec![Secret::new("s3cret")]));
    Settings {
        source: SourceName::parse(name).unwrap(),
        provider: provider::by_name("generic").unwrap().into(),
        settings,
        feeds: provider::by_name("generic").unwrap().feeds()[..1].to_vec(),
        every: Every::Cron("0 0 0 29 2 *".to_owned()),
        overlap: None,
        scan: Duration::from_secs(86_400),
        trust_removals: false,
        push: None,
        backfill: Duration::from_secs(30 * 86_400),
        has_webhook: false,
    }
}

/// `count` hard bounces, one a minute, ending now; recipients are numbered from `from`.
fn bounces(from: usize, count: usize) -> Vec<serde_json::Value> {
    let at = |n: usize| clock::now().minus(Duration::from_secs(60 * (count - n) as u64));
    let one = |n| {
        let (user, at) = (format!("user{}@example.org", from + n), at(n).floor_second());
        row("hard_bounce", &user, &at.to_string(), &format!("m{}", from + n))
    };
    (0..count).map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_known_once_and_a_second_run_finds_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let feed = Feed::start();
    feed.page_rows(10);
    feed.push(bounces(0, 95));
    let polling = Polling::start(folder.path(), &[("acme", &feed)]).await;
    let first = polling.run("acme", None).await;
    assert_eq!((first.error, first.pages, first.rows, first.new), (None, 10, 95, Some(95)));
    assert!((0..95).all(|n| polling.knows(&format!("user{n}@example.org"))));
    let again = polling.run("acme", None).await;
    // The overlap reads the last quarter of an hour again.
    assert!((14..=16).contains(&again.rows), "{again:?}");
    assert_eq!((again.error, again.new), (None, Some(0)));
    feed.push(bounces(95, 3));
    assert_eq!(polling.run("acme", None).await.new, Some(3));
    let status = polling.polls.statuses().remove(0);
    assert_eq!((status.failures, status.last_error), (0, None));
    polling.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_goes_on_after_a_restart() {
    let faults = [
        Fault::Cut,
        Fault::Truncated,
        Fault::Garbage,
        Fault::Html,
        Fault::Status(500, Vec::new()),
        Fault::Status(302, vec![("location", "https://evil.test/".to_owned())]),
    ];
    for fault in faults {
        let folder = tempfile::tempdir().unwrap();
        let feed = Feed::start();
        feed.page_rows(10);
        feed.relative_next(true);
        feed.push(bounces(0, 40));
        feed.pass(2);
        feed.fault(fault.clone());
        let polling = Polling::start(folder.path(), &[("acme", &feed)]).await;
        let first = polling.run("acme", None).await;
        assert!(first.error.is_some(), "{fault:?}");
        assert_eq!((first.pages, first.new), (2, Some(20)), "{fault:?}");
        polling.stop().await;

        let asked = feed.requests().len();
        let polling = Polling::start(folder.path(), &[("acme", &feed)]).await;
        let second = polling.run("acme", None).await;
        assert_eq!((second.error, second.new), (None, Some(20)), "{fault:?}");
        assert!(feed.requests()[asked].target.contains("from=20"), "{fault:?}");
        assert!((0..40).all(|n| polling.knows(&format!("user{n}@example.org"))));
        polling.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_in_circles_is_left_and_nothing_of_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let feed = Feed::start();
    feed.page_rows(10);
    feed.push(bounces(0, 30));
    feed.pass(1);
    feed.fault(Fault::RepeatNext);
    let polling = Polling::start(folder.path(), &[("acme", &feed)]).await;
    let first = polling.run("acme", None).await;
    assert!(first.error.unwrap().contains("circles"));
    assert_eq!(first.new, Some(20));
    let second = polling.run("acme", None).await;
    assert_eq!((second.error, second.rows, second.new), (None, 30, Some(10)));
    polling.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sources_failure_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (Feed::start(), Feed::start());
    good.push(bounces(0, 5));
    bad.require_bearer("another");
    let polling = Polling::start(folder.path(), &[("bad", &bad), ("good", &good)]).await;
    assert!(polling.run("bad", None).await.error.unwrap().contains("401"));
    assert_eq!(polling.run("good", None).await.error, None);
    let statuses = polling.polls.statuses();
    assert_eq!(statuses[0].state, "stopped: authentication");
    assert_eq!((statuses[1].state, statuses[1].failures), ("idle", 0));
    assert!(polling.knows("user4@example.org"));
    polling.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_window_reads_what_lies_behind() {
    let folder = tempfile::tempdir().unwrap();
    let feed = Feed::start();
    let polling = Polling::start(folder.path(), &[("acme", &feed)]).await;
    assert_eq!(polling.run("acme", None).await.rows, 0);
    let old = clock::now().minus(Duration::from_secs(40 * 86_400));
    feed.push([row("hard_bounce", "old@example.org", &old.to_string(), "old")]);
    assert_eq!(polling.run("acme", None).await.new, Some(0));
    let since = old.minus(Duration::from_secs(60));
    assert_eq!(polling.run("acme", Some(since)).await.new, Some(1));
    assert!(polling.knows("old@example.org"));
    polling.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_page_is_quick_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let feed = Feed::start();
    feed.page_rows(10);
    feed.push(bounces(0, 20));
    feed.pass(1);
    feed.fault(Fault::Stall);
    let polling = Polling::start(folder.path(), &[("acme", &feed)]).await;
    let polls = polling.polls.clone();
    let (progress, mut steps) = mpsc::channel(16);
    let run = tokio::spawn(async move { polls.run_now(None, None, progress).await });
    // The first page is committed, and the second never comes.
    assert_eq!(steps.recv().await.map(|step| step.rows), Some(10));
    tokio::task::block_in_place(|| feed.until_asked(2));
    polling.stop().await;
    assert!(run.await.unwrap().is_ok_and(|summaries| summaries[0].error.is_some()));
    let polling = Polling::start(folder.path(), &[("acme", &feed)]).await;
    let rest = polling.run("acme", None).await;
    assert_eq!((rest.error, rest.new), (None, Some(10)));
    polling.stop().await;
}
