//! One run over one source: page by page, each committed together with how far it reaches.
//!
//! A run never decides when it happens. Whatever ends it, what is committed is whole pages, and the
//! cursor leads to the first page that is not.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use super::cursor::{Mark, Open};
use super::problem::RunError;
use super::{Progress, Settings, Summary};
use crate::clock;
use crate::fetch::{FetchError, Fetched, TOTAL_TIMEOUT};
use crate::ingest::{Receipt, Refused};
use crate::model::{Cursor, Element, Origin, SourceName, Submission, Time};
use crate::provider::{Page, PageRequest, Window};
use crate::stop::stopped;
use crate::store::{Counts, StoreError};
use crate::telemetry;

/// Longest run.
pub(super) const RUN_MAX: Duration = Duration::from_secs(3_600);

/// Most pages of one window that one run reads. The next run goes on from there.
pub(super) const PAGES_MAX: u64 = 10_000;

/// Longest wait that a provider can ask for within a run; longer ones end it.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Shortest wait when a provider, or our own intake, asks for one.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// Most waits for one page.
pub(super) const WAITS_MAX: u32 = 5;

/// Time between two looks at a store that is not open yet.
const STORE_RETRY: Duration = Duration::from_millis(250);

/// Everything that a run touches: the provider's API, the intake and the store.
pub(super) trait Outside: Clone + Send + Sync + 'static {
    /// Gets one page.
    fn get(
        &self,
        request: &PageRequest,
        total: Duration,
    ) -> impl Future<Output = Result<Fetched, FetchError>> + Send;

    /// Hands a page to the journal.
    fn submit(
        &self,
        submission: &Submission,
    ) -> impl Future<Output = Result<Receipt, Refused>> + Send;

    /// Waits until the store has applied a page.
    fn applied(&self, receipt: Receipt) -> impl Future<Output = ()> + Send;

    /// A feed's cursor.
    fn cursor(&self, source: &SourceName, feed: &str) -> Result<Option<String>, StoreError>;

    /// How a source's events reached us.
    fn counts(&self, source: &SourceName) -> Result<Counts, StoreError>;
}

/// Whoever waits for a run.
pub(super) struct Caller {
    /// Where progress goes.
    pub(super) progress: mpsc::Sender<Progress>,
    /// Where the end goes. Once its receiver is gone, the run ends.
    pub(super) reply: oneshot::Sender<Summary>,
}

/// What came of a run.
pub(super) struct Report {
    /// Pages committed.
    pub(super) pages: u64,
    /// Rows in them.
    pub(super) rows: u64,
    /// Events that this run was the first to tell; `None` when the store could not say.
    pub(super) new: Option<u64>,
    /// How long it took.
    pub(super) took: Duration,
    /// Until when each feed is completely read, as far as it was found out.
    pub(super) complete: Vec<(String, Option<Time>)>,
    /// The first failure, with its feed.
    pub(super) failure: Option<(String, RunError)>,
}

/// One run.
pub(super) struct Run<'a, O> {
    settings: &'a Settings,
    outside: &'a O,
    caller: Option<&'a Caller>,
    stop: watch::Receiver<bool>,
    deadline: Instant,
    pages: u64,
    rows: u64,
    last: Option<Receipt>,
}

/// A window in the course of being read.
struct Reading<'a> {
    feed: &'a str,
    window: Window,
    next: Option<String>,
    pages: u64,
    /// Whether its pages move the cursor: an operator's own window does at most at its end.
    moves: bool,
    /// Whether its end closes the cursor's window.
    closes: bool,
}

impl<'a, O: Outside> Run<'a, O> {
    /// A run that ends with `stop`.
    pub(super) fn new(
        settings: &'a Settings,
        outside: &'a O,
        caller: Option<&'a Caller>,
        stop: watch::Receiver<bool>,
    ) -> Run<'a, O> {
        let deadline = Instant::now() + RUN_MAX;
        Run { settings, outside, caller, stop, deadline, pages: 0, rows: 0, last: None }
    }

    /// Reads every feed: by its cursor, or from `since` on.
    pub(super) async fn go(mut self, since: Option<Time>) -> Report {
        let started = Instant::now();
        let mut complete = Vec::new();
        let mut failure = None;
        let mut before = None;
        for feed in &self.settings.feeds {
            let result = match self.mark(feed).await {
                Ok(mut mark) => {
                    // The store answers by now, which a count taken earlier could not rely on.
                    before = before.or_else(|| self.counts());
                    let result = self.feed(feed, &mut mark, since).await;
                    complete.push((feed.clone(), mark.complete_until));
                    result
                }
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                let ends = error.ends_the_run();
                failure.get_or_insert((feed.clone(), error));
                if ends {
                    break;
                }
            }
        }
        self.settle().await;
        let after = self.counts();
        let new = before.zip(after).map(|(b, a)| a.poll_only.saturating_sub(b.poll_only));
        let took = started.elapsed();
        Report { pages: self.pages, rows: self.rows, new, took, complete, failure }
    }

    /// How far a feed has been read, once the store is open.
    async fn mark(&mut self, feed: &str) -> Result<Mark, RunError> {
        let source = &self.settings.source;
        loop {
            match self.outside.cursor(source, feed) {
                Ok(None) => return Ok(Mark::default()),
                Ok(Some(text)) => {
                    return Ok(Mark::decode(&text).unwrap_or_else(|_| {
                        telemetry::poll::cursor_unreadable(source, feed);
                        Mark::default()
                    }));
                }
                Err(StoreError::NotReady) => {
                    self.pause(STORE_RETRY).await?;
                    // A store that is rebuilt takes its time, which is not the provider's.
                    self.deadline = Instant::now() + RUN_MAX;
                }
                Err(error) => return Err(RunError::Store(error)),
            }
        }
    }

    /// Reads one feed up to the present.
    async fn feed(
        &mut self,
        feed: &str,
        mark: &mut Mark,
        since: Option<Time>,
    ) -> Result<(), RunError> {
        let (started, pages, rows) = (Instant::now(), self.pages, self.rows);
        match since {
            Some(since) => {
                let now = clock::now();
                let closes = mark.joins(since, now.minus(self.settings.backfill));
                let window = Window { since, until: now.max(since) };
                let reading = Reading { feed, window, next: None, pages: 0, moves: false, closes };
                self.window(reading, mark).await?;
            }
            None => self.by_cursor(feed, mark).await?,
        }
        let (pages, rows) = (self.pages - pages, self.rows - rows);
        telemetry::poll::feed_finished(&self.settings.source, feed, pages, rows, started.elapsed());
        Ok(())
    }

    /// Reads on in the window that was left open, if one was, and then up to the present.
    async fn by_cursor(&mut self, feed: &str, mark: &mut Mark) -> Result<(), RunError> {
        let left = mark.open.clone();
        if let Some(Open { window, next, pages }) = left.clone() {
            telemetry::poll::resumed(&self.settings.source, feed, pages);
            let before = self.pages;
            let reading =
                Reading { feed, window, next: Some(next), pages, moves: true, closes: true };
            match self.window(reading, mark).await {
                Ok(()) => {}
                // The token has expired, or the API's address has changed under it.
                Err(error) if self.pages == before && error.is_of_the_token() => {
                    telemetry::poll::started_over(&self.settings.source, feed);
                }
                Err(error) => return Err(error),
            }
        }
        let now = clock::now();
        let since = match mark.complete_until {
            Some(until) => until.min(now).minus(self.settings.overlap),
            None => now.minus(self.settings.backfill),
        };
        // Without a completed window, one that had to be started over still owes its own start.
        let owed = mark.open.as_ref().map_or(since, |open| open.window.since);
        let window = Window { since: since.min(owed), until: now };
        let reading = Reading { feed, window, next: None, pages: 0, moves: true, closes: true };
        self.window(reading, mark).await
    }

    /// Reads a window's pages to its end.
    async fn window(&mut self, mut reading: Reading<'_>, mark: &mut Mark) -> Result<(), RunError> {
        let provider = self.settings.provider;
        let mut seen = Tokens::default();
        for _ in 0..PAGES_MAX {
            self.check()?;
            let next = reading.next.as_deref();
            let request = provider
                .page_request(&self.settings.settings, reading.feed, &reading.window, next)
                .map_err(RunError::Request)?;
            seen.add(next.unwrap_or(request.url.as_str()));
            let page = self.page(reading.feed, &request).await?;
            reading.pages += 1;
            let repeated = page.next.as_deref().is_some_and(|next| !seen.add(next));
            let (following, moves) = reading.after(mark, page.next.as_deref(), repeated);
            let cursor =
                moves.then(|| Cursor { feed: reading.feed.to_owned(), state: following.encode() });
            self.commit(reading.feed, page.rows, cursor).await?;
            *mark = following;
            if repeated {
                return Err(RunError::Repeated);
            }
            match page.next {
                None => return Ok(()),
                next => reading.next = next,
            }
        }
        Err(RunError::TooManyPages)
    }

    /// Gets a page and reads it, waiting as the provider asks.
    async fn page(&mut self, feed: &str, request: &PageRequest) -> Result<Page, RunError> {
        let mut waits = 0;
        let fetched = loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let mut stop = self.stop.clone();
            let fetched = tokio::select! {
                biased;
                () = stopped(&mut stop) => return Err(RunError::Stopping),
                fetched = self.outside.get(request, TOTAL_TIMEOUT.min(left)) => fetched,
            };
            // What the run's own end cut short is no fault of the provider's.
            let late = Instant::now() >= self.deadline;
            let fetched =
                fetched.map_err(|e| if late { RunError::Deadline } else { RunError::Fetch(e) })?;
            match (fetched.status, fetched.retry_after) {
                (429 | 503, Some(wait)) if wait <= WAIT_MAX && waits < WAITS_MAX => {
                    waits += 1;
                    self.pause(wait.max(WAIT_MIN)).await?;
                }
                _ => break fetched,
            }
        };
        RunError::check(&fetched)?;
        self.settings.provider.page(feed, &request.url, &fetched.body).map_err(RunError::Page)
    }

    /// Commits a page in one record with the cursor behind it. Rows too many for a record go in
    /// several, the cursor with the last: so a stop between them repeats rows and loses none.
    async fn commit(
        &mut self,
        feed: &str,
        rows: Vec<Element>,
        cursor: Option<Cursor>,
    ) -> Result<(), RunError> {
        let count = rows.len() as u64;
        let mut pieces = vec![rows];
        while let Some(piece) = pieces.pop() {
            let submission = Submission {
                source: self.settings.source.clone(),
                provider: self.settings.provider.name().into(),
                origin: Origin::Poll,
                feed: feed.into(),
                received_at: clock::now(),
                elements: piece,
                cursor: if pieces.is_empty() { cursor.clone() } else { None },
                released: Vec::new(),
            };
            match self.submit(&submission).await {
                Ok(receipt) => self.last = Some(receipt),
                Err(RunError::TooLarge) if submission.elements.len() > 1 => {
                    let mut first = submission.elements;
                    let rest = first.split_off(first.len() / 2);
                    pieces.extend([rest, first]);
                }
                Err(error) => return Err(error),
            }
        }
        self.pages += 1;
        self.rows += count;
        telemetry::poll::page_read(&self.settings.source, count);
        self.tell();
        Ok(())
    }

    /// Submits until it is taken. Once begun, this is not broken off by a stop: the intake outlives
    /// the edges, and answers when it stops itself.
    async fn submit(&mut self, submission: &Submission) -> Result<Receipt, RunError> {
        loop {
            match self.outside.submit(submission).await {
                Ok(receipt) => return Ok(receipt),
                Err(Refused::Full { retry_after } | Refused::DiskFull { retry_after }) => {
                    self.pause(retry_after.max(WAIT_MIN)).await?;
                    self.check()?;
                }
                Err(Refused::TooLarge) => return Err(RunError::TooLarge),
                Err(Refused::Stopping) => return Err(RunError::Stopping),
            }
        }
    }

    /// Waits until the store knows what this run has brought, its cursor above all.
    async fn settle(&mut self) {
        if let Some(receipt) = self.last {
            let mut stop = self.stop.clone();
            tokio::select! {
                biased;
                () = stopped(&mut stop) => {}
                () = self.outside.applied(receipt) => {}
            }
        }
    }

    async fn pause(&self, span: Duration) -> Result<(), RunError> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stopped(&mut stop) => Err(RunError::Stopping),
            () = sleep(span) => Ok(()),
        }
    }

    /// Whether the run may go on.
    fn check(&self) -> Result<(), RunError> {
        if *self.stop.borrow() {
            Err(RunError::Stopping)
        } else if self.caller.is_some_and(|caller| caller.reply.is_closed()) {
            Err(RunError::Abandoned)
        } else if Instant::now() >= self.deadline {
            Err(RunError::Deadline)
        } else {
            Ok(())
        }
    }

    fn counts(&self) -> Option<Counts> {
        self.outside.counts(&self.settings.source).ok()
    }

    fn tell(&self) {
        if let Some(caller) = self.caller {
            let source = self.settings.source.to_string();
            // Windows have no known number of pages. Progress that nobody takes in time is dropped.
            let progress = Progress { source, pages: self.pages, rows: self.rows, part: None };
            let _ = caller.progress.try_send(progress);
        }
    }
}

impl Reading<'_> {
    /// How far the feed is read with the page just taken, and whether to commit that.
    ///
    /// A feed that goes in circles loses its place, so that the next run reads a new window from
    /// its start, and cannot be caught in the same circle for ever.
    fn after(&self, mark: &Mark, next: Option<&str>, repeated: bool) -> (Mark, bool) {
        match next {
            None if self.closes => (mark.completed(self.window.until), true),
            None => (mark.clone(), false),
            Some(_) if !self.moves => (mark.clone(), false),
            Some(_) if repeated => (Mark { complete_until: mark.complete_until, open: None }, true),
            Some(next) => {
                let (window, next, pages) = (self.window, next.to_owned(), self.pages);
                let open = Some(Open { window, next, pages });
                (Mark { complete_until: mark.complete_until, open }, true)
            }
        }
    }
}

/// The pages that a window has led to: at most [`PAGES_MAX`] of them, by hash, as tokens are long.
#[derive(Default)]
struct Tokens {
    hasher: RandomState,
    seen: HashSet<u64>,
}

impl Tokens {
    /// Adds a token; says whether it is new.
    fn add(&mut self, token: &str) -> bool {
        self.seen.insert(self.hasher.hash_one(token))
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::{Answer, Stage, settings};
    use super::*;

    /// Runs once over what the stage plays.
    async fn run(stage: &Stage, since: Option<Time>) -> Report {
        let (_stop, stopping) = watch::channel(false);
        Run::new(&settings(), stage, None, stopping).go(since).await
    }

    fn failure(report: &Report) -> &RunError {
        &report.failure.as_ref().unwrap().1
    }

    fn mark(stage: &Stage) -> Mark {
        Mark::decode(&stage.cursor_of("events").unwrap()).unwrap()
    }

    fn since_asked(url: &str) -> Time {
        let url = url::Url::parse(url).unwrap();
        let (_, since) = url.query_pairs().find(|(name, _)| name == "since").unwrap();
        Time::parse(&since).unwrap()
    }

    /// Whether two times are the same but for the time that a test takes.
    fn near(a: Time, b: Time) -> bool {
        a.since(b).max(b.since(a)) < Duration::from_secs(100)
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_poll_reaches_back_and_a_second_overlaps() {
        let stage = Stage::playing([
            Answer::page(2, Some("/p2")),
            Answer::page(0, Some("p3")),
            Answer::page(1, None),
        ]);
        let report = run(&stage, None).await;
        assert!(report.failure.is_none());
        assert_eq!((report.pages, report.rows, report.new), (3, 3, Some(3)));
        let complete = mark(&stage).complete_until.unwrap();
        assert!(near(complete, clock::now()));
        let asked = stage.asked();
        assert!(near(since_asked(&asked[0]), complete.minus(settings().backfill)));
        assert_eq!(asked[1..], ["http://localhost/p2", "http://localhost/p3"]);

        assert!(run(&stage, None).await.failure.is_none());
        let since = since_asked(&stage.asked()[3]);
        assert_eq!(since, complete.minus(settings().overlap).floor_second());
        assert!(mark(&stage).complete_until.unwrap() >= complete);
    }

    #[tokio::test(start_paused = true)]
    async fn every_page_is_one_record_with_its_cursor() {
        let stage = Stage::playing([Answer::page(2, Some("/p2")), Answer::page(0, None)]);
        run(&stage, None).await;
        let submitted = stage.submitted();
        assert_eq!(submitted.len(), 2);
        for submission in &submitted {
            assert_eq!((submission.origin, &*submission.feed), (Origin::Poll, "events"));
            assert_eq!(submission.cursor.as_ref().unwrap().feed, "events");
        }
        let first = Mark::decode(&submitted[0].cursor.as_ref().unwrap().state).unwrap();
        let open = first.open.unwrap();
        assert_eq!((open.next.as_str(), open.pages), ("http://localhost/p2", 1));
        assert_eq!(first.complete_until, None);
        let last = Mark::decode(&submitted[1].cursor.as_ref().unwrap().state).unwrap();
        assert_eq!((last.complete_until, last.open), (Some(open.window.until), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_none_fails_the_run_and_leaves_the_cursor() {
        for (answer, error) in [
            (Answer::Status(401, None), RunError::Authentication { status: 401 }),
            (Answer::Status(404, None), RunError::Rejected { status: 404 }),
            (Answer::Status(500, None), RunError::Faulty { status: 500 }),
            (Answer::Status(204, None), RunError::Odd { status: 204 }),
            (Answer::Status(429, None), RunError::Throttled { status: 429, retry_after: None }),
            (Answer::Html, RunError::WebPage),
            (Answer::Error(FetchError::Timeout), RunError::Fetch(FetchError::Timeout)),
        ] {
            let stage = Stage::playing([Answer::page(1, Some("/p2")), answer]);
            let report = run(&stage, None).await;
            assert_eq!(failure(&report), &error);
            assert_eq!((report.pages, report.rows), (1, 1));
            assert!(mark(&stage).open.unwrap().next.ends_with("/p2"));
        }
        let stage = Stage::playing([Answer::Body("{\"events\":[{]}")]);
        let report = run(&stage, None).await;
        assert!(matches!(failure(&report), RunError::Page(_)));
        assert_eq!(stage.cursor_of("events"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_window_is_read_on_and_then_up_to_the_present() {
        let stage =
            Stage::playing([Answer::page(1, Some("/p2")), Answer::Error(FetchError::Timeout)]);
        run(&stage, None).await;
        let until = mark(&stage).open.unwrap().window.until;
        stage.play([Answer::page(1, Some("/p3")), Answer::page(1, None)]);
        let report = run(&stage, None).await;
        assert!(report.failure.is_none());
        let asked = stage.asked();
        assert_eq!(asked[2..4], ["http://localhost/p2", "http://localhost/p3"]);
        assert_eq!(since_asked(&asked[4]), until.minus(settings().overlap).floor_second());
        assert!(mark(&stage).complete_until.unwrap() > until);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_has_expired_starts_its_window_over() {
        for (status, over) in [(410, true), (404, true), (401, false), (429, false), (500, false)] {
            let stage = Stage::playing([Answer::page(1, Some("/p2")), Answer::Status(500, None)]);
            run(&stage, None).await;
            let since = mark(&stage).open.unwrap().window.since;
            stage.play([Answer::Status(status, None)]);
            let report = run(&stage, None).await;
            assert_eq!(report.failure.is_none(), over, "{status}");
            let asked = stage.asked();
            assert_eq!(asked[2], "http://localhost/p2");
            if over {
                assert_eq!(since_asked(&asked[3]), since.floor_second());
            } else {
                assert!(mark(&stage).open.is_some(), "{status}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_page_that_is_rejected_does_not_start_over() {
        let stage = Stage::playing([Answer::page(1, Some("/p2")), Answer::Status(410, None)]);
        assert_eq!(failure(&run(&stage, None).await), &RunError::Rejected { status: 410 });
        assert_eq!(stage.asked().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_feed_in_circles_keeps_its_rows_and_loses_its_place() {
        let stage = Stage::playing([
            Answer::page(1, Some("/p2")),
            Answer::page(1, Some("/p3")),
            Answer::page(1, Some("/p2")),
        ]);
        let report = run(&stage, None).await;
        assert_eq!(failure(&report), &RunError::Repeated);
        assert_eq!(report.rows, 3);
        assert_eq!(mark(&stage), Mark::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_feed_without_end_ends_and_is_read_on_next_time() {
        let stage = Stage::default();
        stage.play((0..=PAGES_MAX).map(|page| Answer::page(0, Some(&format!("/p{page}")))));
        let report = run(&stage, None).await;
        assert_eq!(failure(&report), &RunError::TooManyPages);
        assert_eq!(report.pages, PAGES_MAX);
        assert_eq!(mark(&stage).open.unwrap().pages, PAGES_MAX);
        assert!(run(&stage, None).await.failure.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_provider_is_waited_for_but_not_for_ever() {
        let busy = || Answer::Status(503, Some(20));
        let stage = Stage::playing([busy(), Answer::Status(429, Some(0)), Answer::page(1, None)]);
        let started = Instant::now();
        let report = run(&stage, None).await;
        assert!(report.failure.is_none());
        assert_eq!(started.elapsed().as_secs(), 21);

        let stage = Stage::playing((0..10).map(|_| busy()));
        let waited = Some(Duration::from_secs(20));
        let error = RunError::Throttled { status: 503, retry_after: waited };
        assert_eq!(failure(&run(&stage, None).await), &error);
        assert_eq!(stage.asked().len(), WAITS_MAX as usize + 1);

        let stage = Stage::playing([Answer::Status(429, Some(61)), Answer::page(1, None)]);
        let waited = Some(Duration::from_secs(61));
        let error = RunError::Throttled { status: 429, retry_after: waited };
        assert_eq!(failure(&run(&stage, None).await), &error);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_has_a_deadline_and_goes_on_later() {
        let stage = Stage::default();
        let pages = (0..500).map(|n| [Answer::Slow(50), Answer::page(1, Some(&format!("/{n}")))]);
        stage.play(pages.flatten());
        let started = Instant::now();
        let report = run(&stage, None).await;
        assert_eq!(failure(&report), &RunError::Deadline);
        let took = started.elapsed();
        assert!(took >= RUN_MAX && took <= RUN_MAX + TOTAL_TIMEOUT, "{took:?}");
        assert!(report.pages > 0 && mark(&stage).open.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_intake_is_waited_for() {
        let stage = Stage::playing([Answer::page(2, None)]);
        let retry_after = Duration::from_secs(7);
        stage.refuse([Refused::Full { retry_after }, Refused::DiskFull { retry_after }]);
        let started = Instant::now();
        let report = run(&stage, None).await;
        assert!(report.failure.is_none());
        assert_eq!((started.elapsed().as_secs(), stage.submitted().len()), (14, 1));

        stage.refuse([Refused::Stopping]);
        assert_eq!(failure(&run(&stage, None).await), &RunError::Stopping);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_too_large_for_a_record_is_split_with_its_cursor_last() {
        let stage = Stage::playing([Answer::page(5, None)]);
        stage.rows_max(2);
        let report = run(&stage, None).await;
        assert_eq!((report.failure.is_none(), report.pages, report.rows), (true, 1, 5));
        let submitted = stage.submitted();
        let bodies: Vec<_> = submitted.iter().flat_map(|s| s.elements.clone()).collect();
        assert_eq!(bodies.len(), 5);
        assert!(bodies.windows(2).all(|pair| pair[0].body < pair[1].body));
        let (last, others) = submitted.split_last().unwrap();
        assert!(last.cursor.is_some() && others.iter().all(|s| s.cursor.is_none()));

        let stage = Stage::playing([Answer::page(1, None)]);
        stage.rows_max(0);
        assert_eq!(failure(&run(&stage, None).await), &RunError::TooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_waited_for_and_a_damaged_cursor_is_none() {
        let stage = Stage::default();
        stage.open_after(20);
        stage.put_cursor("events", "{damaged");
        let report = run(&stage, None).await;
        assert!(report.failure.is_none());
        let since = since_asked(&stage.asked()[0]);
        assert!(near(since, clock::now().minus(settings().backfill)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_operators_window_moves_the_cursor_only_without_a_gap() {
        let now = clock::now();
        let at = |minutes: u64| now.minus(Duration::from_secs(minutes * 60));
        let complete = Mark { complete_until: Some(at(60)), open: None };
        for (since, moves) in [(at(90), true), (at(60), true), (at(30), false)] {
            let stage = Stage::playing([Answer::page(1, Some("/p2")), Answer::page(1, None)]);
            stage.put_cursor("events", &complete.encode());
            assert!(run(&stage, Some(since)).await.failure.is_none());
            assert_eq!(since_asked(&stage.asked()[0]), since.floor_second());
            assert_eq!(stage.submitted()[0].cursor, None);
            assert_eq!(stage.submitted()[1].cursor.is_some(), moves);
            assert_eq!(mark(&stage).complete_until > complete.complete_until, moves);
        }
    }
}
