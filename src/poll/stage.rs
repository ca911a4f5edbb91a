//! A provider, an intake and a store that play what a test tells them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::capped;
use super::outside::Outside;
use super::plan::{Aim, Plan};
use super::{Every, Settings};
use crate::fetch::{FetchError, Fetched};
use crate::ingest::{Receipt, Refused};
use crate::model::{Element, Event, Position, SourceName, Submission};
use crate::provider::{self, PageRequest, Reading, Setting, Unreadable, read_element};
use crate::store::{Counts, ListedRow, ListedRows, StoreError};

/// What the provider does next. With nothing left to play it answers with an empty last page.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Body(&'static str),
    Page {
        rows: usize,
        next: Option<String>,
    },
    Status(u16, Option<u64>),
    Html,
    Error(FetchError),
    /// Takes so many seconds, then plays on; times out when it has less.
    Slow(u64),
}

impl Answer {
    pub(super) fn page(rows: usize, next: Option<&str>) -> Answer {
        Answer::Page { rows, next: next.map(str::to_owned) }
    }
}

/// The stage. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Stage {
    props: Arc<Mutex<Props>>,
    asked: Arc<Notify>,
}

#[derive(Default)]
struct Props {
    answers: VecDeque<Answer>,
    asked: Vec<String>,
    keys: Vec<String>,
    at_once: usize,
    most_at_once: usize,
    refusals: VecDeque<Refused>,
    submitted: Vec<Submission>,
    rows_max: Option<usize>,
    sync: Duration,
    rows: u64,
    cursors: HashMap<String, String>,
    closed_for: u32,
    shown: Vec<i64>,
    fails_after: Option<usize>,
    listed: Vec<ListedRow>,
}

impl Stage {
    pub(super) fn playing(answers: impl IntoIterator<Item = Answer>) -> Stage {
        let stage = Stage::default();
        stage.play(answers);
        stage
    }

    pub(super) fn play(&self, answers: impl IntoIterator<Item = Answer>) {
        self.props().answers.extend(answers);
    }

    /// Leaves out what is still to be played.
    pub(super) fn drop_answers(&self) {
        self.props().answers.clear();
    }

    /// What has happened at these seconds, for the provider that lists little.
    pub(super) fn show(&self, seconds: Vec<i64>) {
        self.props().shown = seconds;
    }

    /// What a list had told.
    pub(super) fn list(&self, rows: impl IntoIterator<Item = ListedRow>) {
        self.props().listed.extend(rows);
    }

    /// After so many more requests one fails.
    pub(super) fn fail_after(&self, requests: usize) {
        self.props().fails_after = Some(requests);
    }

    pub(super) fn refuse(&self, refusals: impl IntoIterator<Item = Refused>) {
        self.props().refusals.extend(refusals);
    }

    pub(super) fn rows_max(&self, max: usize) {
        self.props().rows_max = Some(max);
    }

    /// How long a record takes to be durable.
    pub(super) fn sync_in(&self, sync: Duration) {
        self.props().sync = sync;
    }

    pub(super) fn open_after(&self, looks: u32) {
        self.props().closed_for = looks;
    }

    pub(super) fn put_cursor(&self, feed: &str, state: &str) {
        self.props().cursors.insert(feed.to_owned(), state.to_owned());
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.props().asked.clone()
    }

    /// The `Authorization` of each request.
    pub(super) fn keys(&self) -> Vec<String> {
        self.props().keys.clone()
    }

    /// Waits for so many requests.
    pub(super) async fn asked_at_least(&self, count: usize) {
        while self.asked().len() < count {
            self.asked.notified().await;
        }
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.props().most_at_once
    }

    pub(super) fn submitted(&self) -> Vec<Submission> {
        self.props().submitted.clone()
    }

    pub(super) fn cursor_of(&self, feed: &str) -> Option<String> {
        self.props().cursors.get(feed).cloned()
    }

    fn props(&self) -> MutexGuard<'_, Props> {
        self.props.lock().unwrap()
    }

    async fn answer(&self, mut left: Duration) -> Result<Fetched, FetchError> {
        loop {
            let answer = self.props().answers.pop_front().unwrap_or(Answer::page(0, None));
            let (status, retry_after, media, body) = match answer {
                Answer::Body(body) => (200, None, "application/json", body.to_owned()),
                Answer::Page { rows, next } => {
                    let base = self.props().rows;
                    let events: Vec<_> =
                        (0..rows).map(|n| serde_json::json!({ "n": base + n as u64 })).collect();
                    let page = serde_json::json!({ "events": events, "next": next });
                    (200, None, "application/json", page.to_string())
                }
                Answer::Status(status, wait) => (status, wait, "text/plain", String::new()),
                Answer::Html => (200, None, "text/html", "<html>".to_owned()),
                Answer::Error(error) => return Err(error),
                Answer::Slow(seconds) => {
                    let span = Duration::from_secs(seconds).min(left);
                    sleep(span).await;
                    left -= span;
                    if left.is_zero() {
                        return Err(FetchError::Timeout);
                    }
                    continue;
                }
            };
            let retry_after = retry_after.map(Duration::from_secs);
            let content_type = Some(media.to_owned());
            return Ok(Fetched {
                status,
                retry_after,
                spent: None,
                content_type,
                links: String::new(),
                body: body.into_bytes(),
                long: None,
            });
        }
    }
}

impl Outside for Stage {
    async fn send(&self, request: &PageRequest, total: Duration) -> Result<Fetched, FetchError> {
        {
            let mut props = self.props();
            props.asked.push(request.url.to_string());
            let key = request.headers.iter().find(|(name, _)| name == "authorization");
            let key = key.and_then(|(_, key)| key.reveal_text()).unwrap_or_default().to_owned();
            props.keys.push(key);
            props.at_once += 1;
            props.most_at_once = props.most_at_once.max(props.at_once);
            self.asked.notify_one();
            let left = props.fails_after.take();
            if left == Some(0) {
                return Err(FetchError::Timeout);
            }
            props.fails_after = left.map(|left| left - 1);
            if request.url.path() == "/capped" {
                let body = capped::answer(request.url.as_str(), &props.shown);
                props.at_once -= 1;
                return Ok(json(body));
            }
        }
        let answer = self.answer(total).await;
        self.props().at_once -= 1;
        answer
    }

    async fn submit(&self, submission: &Submission) -> Result<Receipt, Refused> {
        let sync = self.props().sync;
        if !sync.is_zero() {
            sleep(sync).await;
        }
        let mut props = self.props();
        if let Some(refused) = props.refusals.pop_front() {
            return Err(refused);
        }
        if props.rows_max.is_some_and(|max| submission.elements.len() > max) {
            return Err(Refused::TooLarge);
        }
        if let Some(cursor) = &submission.cursor {
            props.cursors.insert(cursor.feed.clone(), cursor.state.clone());
        }
        props.rows += submission.elements.len() as u64;
        props.submitted.push(submission.clone());
        Ok(Receipt { record: Position::default(), end: Position::default() })
    }

    async fn applied(&self, _receipt: Receipt) {}

    fn cursor(&self, _source: &SourceName, feed: &str) -> Result<Option<String>, StoreError> {
        let mut props = self.props();
        if props.closed_for > 0 {
            props.closed_for -= 1;
            return Err(StoreError::NotReady);
        }
        Ok(props.cursors.get(feed).cloned())
    }

    fn read(&self, page: &Submission, row: &Element) -> Result<Vec<Event>, Unreadable> {
        if self.props().listed.is_empty() {
            return Ok(Vec::new());
        }
        read_element(&Reading::default(), page, row)
    }

    fn listed(&self, _source: &SourceName, _feed: &str) -> ListedRows {
        Box::new(self.props().listed.clone().into_iter().map(Ok))
    }

    fn plan(&self, _aim: &Aim<'_>) -> Result<Plan, StoreError> {
        Ok(Plan::default())
    }

    fn counts(&self, _source: &SourceName) -> Result<Counts, StoreError> {
        Ok(Counts { poll_only: self.props().rows, ..Counts::default() })
    }
}

fn json(body: String) -> Fetched {
    let content_type = Some("application/json".to_owned());
    let body = body.into_bytes();
    let links = String::new();
    Fetched { status: 200, retry_after: None, spent: None, content_type, links, body, long: None }
}

/// A source that polls the stage as a generic feed.
pub(super) fn settings() -> Settings {
    let mut keys = provider::Settings::default();
    keys.set("url", Setting::Text("http://localhost/events".to_owned()));
    Settings {
        source: SourceName::parse("acme").unwrap(),
        provider: provider::by_name("generic").unwrap().into(),
        settings: keys,
        feeds: provider::by_name("generic").unwrap().feeds()[..1].to_vec(),
        every: Every::Interval(Duration::from_secs(300)),
        overlap: None,
        backfill: Duration::from_secs(30 * 86_400),
        scan: Duration::from_secs(86_400),
        trust_removals: false,
        push: None,
        has_webhook: false,
    }
}
