//! One run over one source: page by page, each committed together with how far it reaches.
//!
//! A run never decides when it happens. Whatever ends it, what is committed is whole pages, and the
//! cursor leads to the first page that is not.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Settings;
use super::ask::Asking;
use super::budget::Budget;
use super::caller::Caller;
use super::cursor::{LEAP, Mark, VOID_REACH};
use super::keep::Keeping;
use super::outside::Outside;
use super::pages::Pages;
use super::problem::RunError;
use super::window::Place;
use crate::clock;
use crate::model::Time;
use crate::provider::{Feed, Rows, Window};
use crate::store::{Counts, StoreError};
use crate::telemetry;

/// Time between two looks at a store that is not open yet.
const STORE_RETRY: Duration = Duration::from_millis(250);

/// An operator's long window is read in pieces of this length, so that it can be read on where it
/// was cut, and shows how far it is.
const PIECE: Duration = Duration::from_secs(86_400);

/// What came of a run.
pub(super) struct Report {
    /// Pages committed.
    pub(super) pages: u64,
    /// Rows in them.
    pub(super) rows: u64,
    /// Events that this run was the first to tell; `None` when the store could not say.
    pub(super) new: Option<u64>,
    /// How the source's events have reached us, after the run.
    pub(super) counts: Option<Counts>,
    /// How long it took.
    pub(super) took: Duration,
    /// Until when each feed is completely read, as far as it was found out. Feeds that are always
    /// read in whole are not among them.
    pub(super) complete: Vec<(String, Option<Time>)>,
    /// The first failure, with its feed.
    pub(super) failure: Option<(String, RunError)>,
}

/// What has come of the feeds of a run so far.
#[derive(Default)]
struct Done<'a> {
    /// Those without a failure.
    read: Vec<&'a Feed>,
    complete: Vec<(String, Option<Time>)>,
    failure: Option<(String, RunError)>,
    before: Option<Counts>,
}

/// The name that the cursor of an operator's own window is stored under.
fn backfill_key(feed: &Feed) -> String {
    format!("{}@since", feed.name)
}

/// One run.
pub(super) struct Run<'a, O> {
    pub(super) asking: Asking<'a, O>,
    pub(super) keeping: Keeping<'a, O>,
    pub(super) caller: Option<&'a Caller>,
}

impl<'a, O: Outside> Run<'a, O> {
    /// A run that ends with `stop`.
    pub(super) fn new(
        settings: &'a Settings,
        outside: &'a O,
        budget: &'a mut Budget,
        caller: Option<&'a Caller>,
        stop: watch::Receiver<bool>,
    ) -> Run<'a, O> {
        if caller.is_some() {
            budget.forgive();
        }
        let keeping = Keeping::new(settings, outside, caller, stop.clone());
        Run { asking: Asking::new(settings, outside, budget, caller, stop), keeping, caller }
    }

    /// Reads every feed: by its cursor, or from `since` on.
    pub(super) async fn go(mut self, since: Option<Time>) -> Report {
        let started = Instant::now();
        self.asking.anew = since.is_some();
        let mut done = self.feeds(since).await;
        let was_cut = done.failure.as_ref().is_some_and(|(_, error)| error.ends_the_run());
        if since.is_some() && !was_cut {
            let forgotten = self.forget_backfills(&done.read).await;
            done.failure = done.failure.or(forgotten.err());
        }
        self.keeping.settle().await;
        if self.settings().trust_removals && since.is_none() && done.failure.is_none() {
            done.failure = self.sweep().await.err();
            self.keeping.settle().await;
        }
        let counts = self.keeping.counts();
        let told = |counts: Counts| counts.poll_only + counts.listed;
        let new = done.before.zip(counts).map(|(b, a)| told(a).saturating_sub(told(b)));
        let (pages, rows) = (self.keeping.pages, self.keeping.rows);
        let Done { complete, failure, .. } = done;
        Report { pages, rows, new, counts, took: started.elapsed(), complete, failure }
    }

    /// Reads the feeds one after the other, until one fails in a way that the others would, too.
    async fn feeds(&mut self, since: Option<Time>) -> Done<'a> {
        let mut done = Done::default();
        for (index, feed) in self.settings().feeds.iter().enumerate() {
            self.keeping.part = since.map(|_| index as f64 / self.settings().feeds.len() as f64);
            let result = match self.mark(&feed.name).await {
                Ok(mut mark) => {
                    // The store answers by now, which a count taken earlier could not rely on.
                    done.before = done.before.or_else(|| self.keeping.counts());
                    let result = self.feed(feed, &mut mark, since).await;
                    if feed.by_time {
                        done.complete.push((feed.name.to_string(), mark.complete_until));
                    }
                    result
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => done.read.push(feed),
                Err(error) => {
                    let ends = error.ends_the_run();
                    done.failure.get_or_insert((feed.name.to_string(), error));
                    if ends {
                        break;
                    }
                }
            }
        }
        done
    }

    /// Forgets how far an operator's window was read of the feeds that are done, now that all have
    /// had their turn: where that was cut, those that are done are not read again.
    async fn forget_backfills(&mut self, read: &[&'a Feed]) -> Result<(), (String, RunError)> {
        for feed in read.iter().filter(|feed| feed.by_time) {
            let forgotten = self.keeping.put_cursor(&backfill_key(feed), &Mark::default()).await;
            forgotten.map_err(|error| (feed.name.to_string(), error))?;
        }
        Ok(())
    }

    pub(super) fn settings(&self) -> &'a Settings {
        self.asking.settings
    }

    /// How far a feed has been read, once the store is open.
    pub(super) async fn mark(&mut self, key: &str) -> Result<Mark, RunError> {
        let source = &self.settings().source;
        loop {
            match self.asking.outside.cursor(source, key) {
                Ok(None) => return Ok(Mark::default()),
                Ok(Some(text)) => {
                    let mark = Mark::decode(&text).unwrap_or_else(|_| {
                        telemetry::poll::cursor_unreadable(source, key);
                        Mark::default()
                    });
                    let Some(believed) = mark.believed(clock::now()) else { return Ok(mark) };
                    telemetry::poll::mark_void(source, key, believed.complete_until);
                    return Ok(believed);
                }
                Err(StoreError::NotReady) => {
                    self.asking.pause(STORE_RETRY).await?;
                    // A store that is rebuilt takes its time, which is not the provider's.
                    self.asking.restart();
                }
                Err(error) => return Err(RunError::Store(error)),
            }
        }
    }

    /// Reads one feed up to the present.
    async fn feed(
        &mut self,
        feed: &Feed,
        mark: &mut Mark,
        since: Option<Time>,
    ) -> Result<(), RunError> {
        let (started, pages, rows) = (Instant::now(), self.keeping.pages, self.keeping.rows);
        match since.filter(|_| feed.by_time) {
            Some(since) => self.backfill(feed, mark, since).await?,
            None if self.is_due(feed, mark) => self.by_cursor(feed, mark).await?,
            None => return Ok(()),
        }
        let (pages, rows) = (self.keeping.pages - pages, self.keeping.rows - rows);
        let source = &self.settings().source;
        telemetry::poll::feed_finished(source, &feed.name, pages, rows, started.elapsed());
        Ok(())
    }

    /// A feed that can only be read in whole has a slower schedule of its own.
    fn is_due(&self, feed: &Feed, mark: &Mark) -> bool {
        let last = mark.complete_until.filter(|_| mark.open.is_none());
        feed.by_time
            || self.caller.is_some()
            || mark.is_void
            || last.is_none_or(|last| clock::now().since(last) >= self.settings().scan)
    }

    /// Reads on in the window that was left open, if one was, and then up to the present.
    async fn by_cursor(&mut self, feed: &Feed, mark: &mut Mark) -> Result<(), RunError> {
        self.resume(feed, &feed.name, mark).await?;
        let now = clock::now();
        let since = self.start(feed, mark, now);
        // Without a completed window, one that had to be started over still owes its own start.
        let owed = mark.open.as_ref().map_or(since, |open| open.window.since);
        let window = Window { since: since.min(owed), until: now };
        let place = Place { feed, key: &feed.name, settled: now.minus(feed.settle) };
        self.span(&place, window, 0.0, mark).await
    }

    /// Reads on in a window that was left open. One whose place is gone stays open.
    async fn resume(&mut self, feed: &Feed, key: &str, mark: &mut Mark) -> Result<(), RunError> {
        let Some(open) = mark.open.clone() else { return Ok(()) };
        let source = &self.settings().source;
        telemetry::poll::resumed(source, &feed.name, open.pages);
        let before = self.keeping.pages;
        let settled = open.window.until.minus(feed.settle);
        let place = Place { feed, key, settled };
        match self.window(&place, Pages::resumed(feed, open), mark).await {
            Ok(None) => Ok(()),
            // What is too full is read in halves when the window is read anew.
            Ok(Some(_)) => Ok(()),
            // The token has expired, or the API's address has changed under it.
            Err(error) if self.keeping.pages == before && error.is_of_the_token() => {
                telemetry::poll::started_over(source, &feed.name);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Where the next window of a feed starts.
    fn start(&self, feed: &Feed, mark: &Mark, now: Time) -> Time {
        let mut overlap = self.settings().overlap.unwrap_or(feed.overlap);
        let since = match mark.complete_until {
            Some(until) => {
                if now.since(until) > LEAP {
                    overlap = overlap.max(LEAP);
                }
                until.min(now).minus(overlap)
            }
            None if mark.is_void => self.reach(feed, now).min(now.minus(VOID_REACH)),
            None => self.reach(feed, now),
        };
        let Some(oldest) = feed.kept.map(|kept| now.minus(kept)) else { return since };
        if mark.complete_until.is_some_and(|until| until < oldest) {
            let lost = oldest.since(mark.complete_until.unwrap_or(oldest));
            telemetry::poll::beyond_reach(&self.settings().source, &feed.name, lost);
        }
        since.max(oldest)
    }

    /// How far back a first poll goes. A list as it stands now is read from its beginning: what is
    /// on it holds, however long ago it was put there.
    fn reach(&self, feed: &Feed, now: Time) -> Time {
        match feed.rows {
            Rows::Events => now.minus(self.settings().backfill),
            Rows::Suppressions => Time::from_seconds(0),
        }
    }

    /// Reads an operator's own window, in pieces. One that was cut is read on.
    async fn backfill(
        &mut self,
        feed: &Feed,
        mark: &mut Mark,
        since: Time,
    ) -> Result<(), RunError> {
        let key = backfill_key(feed);
        let now = clock::now();
        let mut back = self.mark(&key).await?;
        if back.resumes(since) {
            self.resume(feed, &key, &mut back).await?;
        } else {
            back = Mark { from: Some(since), ..Mark::default() };
        }
        let start = back.complete_until.map_or(since, |done| done.max(since)).min(now.max(since));
        let window = Window { since: start, until: now.max(since) };
        let pieces = if feed.bounded { window.pieces(PIECE) } else { vec![window] };
        let place = Place { feed, key: &key, settled: window.until };
        let feeds = self.settings().feeds.len() as f64;
        for piece in &pieces {
            let share = 1.0 / (feeds * pieces.len() as f64);
            self.span(&place, *piece, share, &mut back).await?;
        }
        if mark.joins(since, self.reach(feed, now)) {
            *mark = mark.completed(now.minus(feed.settle));
            self.keeping.put_cursor(&feed.name, mark).await?;
        }
        Ok(())
    }

    /// Reads a window, in halves where it holds more than the API lists. `share`: the part of the
    /// run that it is.
    async fn span(
        &mut self,
        place: &Place<'_>,
        window: Window,
        share: f64,
        mark: &mut Mark,
    ) -> Result<(), RunError> {
        let mut parts = vec![(window, share)];
        while let Some((window, share)) = parts.pop() {
            let pages = Pages::new(place.feed, window);
            match self.window(place, pages, mark).await? {
                Some([first, second]) => {
                    parts.extend([(second, share / 2.0), (first, share / 2.0)]);
                }
                None => {
                    self.keeping.part = self.keeping.part.map(|part| part + share);
                    self.keeping.tell();
                }
            }
        }
        Ok(())
    }

    /// Whether the run may go on.
    pub(super) fn check(&self) -> Result<(), RunError> {
        Caller::check(self.caller)?;
        self.asking.check()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ask::{RUN_MAX, WAITS_MAX};
    use super::super::budget::Allowances;
    use super::super::capped::{self, CAPPED};
    use super::super::stage::{Answer, Stage, settings};
    use tokio::sync::{mpsc, oneshot};

    use super::super::pages::PAGES_MAX;
    use super::*;
    use crate::fetch::FetchError;
    use crate::fetch::TOTAL_TIMEOUT;
    use crate::ingest::Refused;
    use crate::model::Origin;
    use crate::provider::{Adapter, Provider, Setting};
    use crate::secret::Secret;

    /// What the generic feed is read again behind its cursor.
    const OVERLAP: Duration = Duration::from_secs(900);

    /// Runs once over what the stage plays.
    async fn run(stage: &Stage, since: Option<Time>) -> Report {
        let (_stop, stopping) = watch::channel(false);
        let mut budget = Budget::default();
        Run::new(&settings(), stage, &mut budget, None, stopping).go(since).await
    }

    fn failure(report: &Report) -> &RunError {
        &report.failure.as_ref().unwrap().1
    }

    fn mark(stage: &Stage) -> Mark {
        mark_of(stage, "events")
    }

    fn mark_of(stage: &Stage, key: &str) -> Mark {
        Mark::decode(&stage.cursor_of(key).unwrap()).unwrap()
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
    async fn a_list_is_first_read_from_its_beginning() {
        let stage = Stage::playing([Answer::page(1, None)]);
        let mut settings = settings();
        settings.feeds[0].rows = Rows::Suppressions;
        let (_stop, stopping) = watch::channel(false);
        let mut budget = Budget::default();
        let report = Run::new(&settings, &stage, &mut budget, None, stopping).go(None).await;
        assert!(report.failure.is_none());
        assert_eq!(since_asked(&stage.asked()[0]), Time::from_seconds(0));
        assert!(near(mark(&stage).complete_until.unwrap(), clock::now()));
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
        assert_eq!(since, complete.minus(OVERLAP).floor_second());
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
    async fn what_is_read_while_a_record_is_synced_goes_in_the_next_one() {
        let pages = (1..=12).map(|page| (page < 12).then(|| format!("/p{}", page + 1)));
        let stage = Stage::playing(pages.map(|next| Answer::page(2, next.as_deref())));
        stage.sync_in(Duration::from_secs(1));
        let report = run(&stage, None).await;
        assert!(report.failure.is_none());
        assert_eq!((report.pages, report.rows), (12, 24));
        let submitted = stage.submitted();
        let rows: Vec<usize> = submitted.iter().map(|record| record.elements.len()).collect();
        assert_eq!(rows, [2, 8, 8, 6], "no more than may wait");
        let pages = submitted.iter().filter_map(|record| {
            Mark::decode(&record.cursor.as_ref()?.state).ok()?.open.map(|open| open.pages)
        });
        assert!(pages.eq([1, 5, 9]), "each cursor stands behind the last page of its record");
        assert!(near(mark(&stage).complete_until.unwrap(), clock::now()));
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
        assert_eq!(since_asked(&asked[4]), until.minus(OVERLAP).floor_second());
        assert!(mark(&stage).complete_until.unwrap() > until);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_has_expired_starts_its_window_over() {
        let expired = [410, 404, 403].map(|status| (status, true));
        for (status, over) in expired.into_iter().chain([401, 429, 500].map(|s| (s, false))) {
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
        let why = "no room".into();
        stage.refuse([Refused::Full { retry_after }, Refused::Unwritable { why, retry_after }]);
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

    /// Runs once over an API that lists at most three rows, and has details of each.
    async fn run_capped(stage: &Stage, since: Option<Time>) -> Report {
        let (_stop, stopping) = watch::channel(false);
        let feeds = CAPPED.feeds().to_vec();
        let settings = Settings { provider: Adapter::Known(&CAPPED), feeds, ..settings() };
        let mut budget = Budget::default();
        Run::new(&settings, stage, &mut budget, None, stopping).go(since).await
    }

    fn windows(stage: &Stage) -> Vec<Window> {
        stage.asked().iter().filter_map(|url| capped::window(url)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_full_is_read_in_halves_and_completed_with_its_details() {
        let stage = Stage::default();
        let now = clock::now();
        let ago = |minutes: u64| now.minus(Duration::from_secs(60 * minutes)).second();
        let times: Vec<i64> = [1, 2, 3, 3, 3, 3, 5, 300, 301, 302, 4_000].map(ago).to_vec();
        stage.show(times.clone());
        let report = run_capped(&stage, None).await;
        assert_eq!(report.failure, None);
        let mut read: Vec<i64> = stage
            .submitted()
            .iter()
            .flat_map(|s| &s.elements)
            .map(|row| String::from_utf8_lossy(&row.body).parse().unwrap())
            .collect();
        read.sort();
        read.dedup();
        let mut wanted = times;
        wanted.sort();
        wanted.dedup();
        assert_eq!(read, wanted, "nothing is left out, not even of a second that is too full");
        let complete = mark(&stage).complete_until.unwrap();
        let settle = CAPPED.feeds()[0].settle;
        assert!(near(complete, now.minus(settle)), "the last {settle:?} may still change");
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_as_it_was_told_is_asked_for_once() {
        let sendgrid = crate::provider::by_name("sendgrid").unwrap();
        let mut settings = Settings { provider: sendgrid.into(), ..settings() };
        settings.feeds = sendgrid.feeds()[..1].to_vec();
        let key = Setting::Secrets(vec![Secret::new(b"key".to_vec())]);
        settings.settings.set("api_key", key);
        let stage = Stage::default();
        let mut budget = Budget::default();
        let mut run = async |listing, since, fails: bool| {
            let before = stage.asked().len();
            let detail = Answer::Body(r#"{"events": []}"#);
            stage.play([Answer::Body(listing)].into_iter().chain([detail.clone(), detail]));
            stage.refuse(fails.then_some(Refused::Stopping));
            let (_stop, stopping) = watch::channel(false);
            let report = Run::new(&settings, &stage, &mut budget, None, stopping).go(since).await;
            assert_eq!(report.failure.is_some(), fails, "{:?}", report.failure);
            stage.drop_answers();
            stage.asked().len() - before - 1
        };
        let both = r#"{"messages": [{"sg_message_id": "a", "status": "bounced"},
            {"sg_message_id": "b", "status": "deferred"}]}"#;
        let other = r#"{"messages": [{"sg_message_id": "a", "status": "bounced"},
            {"sg_message_id": "b", "status": "bounced"}]}"#;
        let lag = Duration::from_secs(600);
        assert_eq!(run(both, None, true).await, 2, "what is not committed");
        tokio::time::advance(lag).await;
        assert_eq!(run(both, None, false).await, 2, "is asked for again");
        assert_eq!(run(both, None, false).await, 2, "the details may lag behind the listing");
        tokio::time::advance(lag).await;
        assert_eq!(run(both, None, false).await, 2, "so they are asked for once more");
        assert_eq!(run(both, None, false).await, 0);
        assert_eq!(run(other, None, false).await, 1, "more has become of one");
        let since = clock::now().minus(Duration::from_secs(60));
        assert_eq!(run(other, Some(since), false).await, 2, "an operator wants all of it");
    }

    #[tokio::test(start_paused = true)]
    async fn an_operators_window_is_read_on_where_it_was_cut() {
        let day = Duration::from_secs(86_400);
        let now = clock::now();
        let stage = Stage::default();
        stage.show((0..6).map(|n| now.minus(day * n).second()).collect());
        stage.fail_after(5);
        let since = now.minus(day * 5).minus(Duration::from_secs(60));
        let report = run_capped(&stage, Some(since)).await;
        assert!(matches!(report.failure, Some((_, RunError::Fetch(_)))));
        let cut = windows(&stage).len();
        let reached = mark_of(&stage, "events@since").complete_until.unwrap();
        assert_eq!(reached, since.plus(day * 2), "two days, with their details");
        assert_eq!(run_capped(&stage, Some(since)).await.failure, None);
        let again = windows(&stage);
        assert_eq!(again[cut].since, reached, "what was read is not read again");
        assert_eq!(mark_of(&stage, "events@since"), Mark::default());
        // Now that it is done, the same window is read anew.
        assert_eq!(run_capped(&stage, Some(since)).await.failure, None);
        assert_eq!(windows(&stage)[again.len()].since, since);
    }

    #[tokio::test(start_paused = true)]
    async fn a_relative_window_goes_on_until_it_ends_however_often_it_is_cut() {
        let stage = Stage::default();
        let begun = clock::now().minus(Duration::from_secs(5 * 86_400));
        let mut asked = Vec::new();
        for repeated in 0..4 {
            let next = format!("/p{repeated}");
            let cut = Answer::Status(429, None);
            let last = if repeated == 3 { Answer::page(1, None) } else { cut };
            let first = if repeated == 3 { vec![] } else { vec![Answer::page(1, Some(&next))] };
            stage.play(first.into_iter().chain([last]));
            // Each time it is asked for, the same span reaches less far back.
            let since = begun.plus(Duration::from_secs(3_600 * repeated));
            asked.push(run(&stage, Some(since)).await.failure.is_none());
        }
        assert_eq!(asked, [false, false, false, true]);
        let firsts = stage.asked().iter().filter(|url| url.contains("since=")).count();
        assert_eq!(firsts, 2, "its start once, and what has come since: {:?}", stage.asked());
        assert_eq!(mark_of(&stage, "events@since"), Mark::default());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_page_leads_to_is_bounded_and_a_stored_token_never_holds_a_feed_up() {
        let long = format!("/{}", "x".repeat(70_000));
        let stage = Stage::playing([Answer::page(2, Some(&long))]);
        let report = run(&stage, None).await;
        let bytes = "http://localhost".len() + long.len();
        assert_eq!(failure(&report), &RunError::LongToken { bytes });
        assert_eq!((report.rows, mark(&stage).open), (2, None), "its rows are kept");
        // One that an earlier release has stored cannot be made a request of.
        let window = r#""since":"2026-06-15T10:00:00Z","until":"2026-06-15T10:05:00Z""#;
        let open = format!(r#"{{{window},"next":"N","pages":1}}"#);
        stage.put_cursor("events", &format!(r#"{{"v":1,"open":{open}}}"#));
        stage.play([Answer::Error(FetchError::Unsendable("uri too long".to_owned()))]);
        assert!(run(&stage, None).await.failure.is_none());
        let since = Time::parse("2026-06-15T10:00:00Z").unwrap();
        assert!(since_asked(&stage.asked()[2]) <= since, "the window is read from its start");
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_keys_the_one_that_is_good_is_used() {
        let mut settings = settings();
        let keys = ["new", "old"].map(Secret::new).to_vec();
        settings.settings.set("bearer", Setting::Secrets(keys));
        let mut budget = Allowances::default().budget(&settings);
        let stage = Stage::playing([Answer::Status(401, None), Answer::page(1, Some("/p2"))]);
        let go = async |budget: &mut Budget| {
            let (_stop, stopping) = watch::channel(false);
            Run::new(&settings, &stage, budget, None, stopping).go(None).await.failure
        };
        assert_eq!(go(&mut budget).await, None);
        assert_eq!(stage.keys(), ["Bearer new", "Bearer old", "Bearer old"]);
        assert_eq!(go(&mut budget).await, None);
        assert_eq!(stage.keys()[3..], ["Bearer old"], "it is remembered");
        stage.play([Answer::Status(403, None), Answer::Status(401, None)]);
        let refused = Some(("events".to_owned(), RunError::Authentication { status: 401 }));
        assert_eq!(go(&mut budget).await, refused, "once all are");
        assert_eq!(stage.asked().len(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_without_times_is_read_in_whole_on_its_own_schedule() {
        let mut settings = settings();
        settings.feeds[0] = settings.feeds[0].clone().whole();
        let stage = Stage::default();
        let hours = |hours: u64| Duration::from_secs(3_600 * hours);
        let run = async |caller: Option<&Caller>| {
            let (_stop, stopping) = watch::channel(false);
            let mut budget = Budget::default();
            let report = Run::new(&settings, &stage, &mut budget, caller, stopping).go(None).await;
            assert_eq!((report.failure, report.complete), (None, vec![]));
            stage.asked().len()
        };
        assert_eq!(run(None).await, 1);
        assert_eq!(run(None).await, 1, "not due");
        let (progress, _steps) = mpsc::channel(1);
        let (reply, _answer) = oneshot::channel();
        assert_eq!(run(Some(&Caller { progress, reply })).await, 2, "an operator's order");
        let old = Mark { complete_until: Some(clock::now().minus(hours(25))), ..Mark::default() };
        stage.put_cursor("events", &old.encode());
        assert_eq!(run(None).await, 3, "a day has passed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_in_the_future_is_read_on_from_where_it_can_be_believed() {
        let now = clock::now();
        let (hours_ahead, year_ahead) = (now.plus(LEAP / 2), now.plus(LEAP * 365));
        for (until, since) in [
            (hours_ahead, hours_ahead.minus(LEAP).minus(OVERLAP)),
            (year_ahead, now.minus(VOID_REACH)),
        ] {
            let stage = Stage::playing([Answer::page(1, None)]);
            let ahead = Mark { complete_until: Some(until), ..Mark::default() };
            stage.put_cursor("events", &ahead.encode());
            assert!(run(&stage, None).await.failure.is_none());
            let asked = since_asked(&stage.asked()[0]);
            assert!(near(asked, since), "{asked} in place of {since}");
            assert!(near(mark(&stage).complete_until.unwrap(), now));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_operators_window_moves_the_cursor_only_without_a_gap() {
        let now = clock::now();
        let at = |minutes: u64| now.minus(Duration::from_secs(minutes * 60));
        let complete = Mark { complete_until: Some(at(60)), ..Mark::default() };
        for (since, moves) in [(at(90), true), (at(60), true), (at(30), false)] {
            let stage = Stage::playing([Answer::page(1, Some("/p2")), Answer::page(1, None)]);
            stage.put_cursor("events", &complete.encode());
            assert!(run(&stage, Some(since)).await.failure.is_none());
            assert_eq!(since_asked(&stage.asked()[0]), since.floor_second());
            let cursors: Vec<String> =
                stage.submitted().into_iter().filter_map(|s| Some(s.cursor?.feed)).collect();
            assert_eq!(cursors[..2], ["events@since"; 2], "two pages");
            let end = ["events", "events@since"];
            assert_eq!(cursors[2..], end[usize::from(!moves)..], "and the end");
            assert_eq!(mark_of(&stage, "events@since"), Mark::default());
            assert_eq!(mark(&stage).complete_until > complete.complete_until, moves);
        }
    }
}
