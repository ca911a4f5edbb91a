//! One page of a feed: asked for as the provider allows, and made whole with its details.
//!
//! Never commits anything, and never moves a cursor.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use url::Url;

use super::Settings;
use super::budget::Budget;
use super::caller::Caller;
use super::outside::Outside;
use super::problem::RunError;
use super::slices::Slices;
use crate::clock;
use crate::fetch::{Fetched, TOTAL_TIMEOUT, on_disk};
use crate::provider::{Page, PageRequest, Query, Settings as ProviderSettings, Window};
use crate::stop::stopped;
use crate::telemetry;

/// Longest run.
pub(super) const RUN_MAX: Duration = Duration::from_secs(3_600);

/// Longest wait that a provider can ask for within a run; longer ones end it.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Shortest wait when a provider, or our own intake, asks for one.
pub(super) const WAIT_MIN: Duration = Duration::from_secs(1);

/// Most waits for one page.
pub(super) const WAITS_MAX: u32 = 5;

/// An answer that may be a page.
struct Answer {
    fetched: Fetched,
    /// What was asked.
    url: Url,
}

/// What is left of a page that is too long for memory.
pub(super) struct Rest {
    /// `None`: nothing is.
    slices: Option<Slices>,
    answer: Answer,
}

impl Rest {
    /// Whether nothing is.
    pub(super) fn is_over(&self) -> bool {
        self.slices.is_none()
    }
}

/// Asks one source, for the length of a run.
pub(super) struct Asking<'a, O> {
    /// The source.
    pub(super) settings: &'a Settings,
    /// What is asked.
    pub(super) outside: &'a O,
    pub(super) budget: &'a mut Budget,
    caller: Option<&'a Caller>,
    /// Whether to ask for what was told before, too.
    pub(super) anew: bool,
    /// The source's settings, with the secrets that it is asked with.
    keyed: ProviderSettings,
    /// How many sets of secrets were refused, one after the other.
    refused: usize,
    stop: watch::Receiver<bool>,
    deadline: Instant,
}

impl<'a, O: Outside> Asking<'a, O> {
    /// For a run that starts now, and ends with `stop`.
    pub(super) fn new(
        settings: &'a Settings,
        outside: &'a O,
        budget: &'a mut Budget,
        caller: Option<&'a Caller>,
        stop: watch::Receiver<bool>,
    ) -> Asking<'a, O> {
        let deadline = Instant::now() + RUN_MAX;
        let keyed = settings.settings.with_secret_set(budget.current());
        let (anew, refused) = (false, 0);
        Asking { settings, outside, budget, caller, anew, keyed, refused, stop, deadline }
    }

    /// Starts the time of the run anew.
    pub(super) fn restart(&mut self) {
        self.deadline = Instant::now() + RUN_MAX;
    }

    /// What leads to the page: its token, or the URL of the first.
    pub(super) fn token(
        &self,
        feed: &str,
        window: Window,
        next: Option<&str>,
    ) -> Result<String, RunError> {
        match next {
            Some(next) => Ok(next.to_owned()),
            None => self.request(feed, window, None).map(|request| request.url.into()),
        }
    }

    /// Gets a page as it stands; of one that is too long for memory its first rows, and the rest.
    pub(super) async fn listing(
        &mut self,
        feed: &str,
        window: Window,
        next: Option<&str>,
    ) -> Result<(Page, Option<Rest>), RunError> {
        let answer = self.one(feed, window, next).await?;
        if let Some(long) = answer.fetched.long.clone()
            && let Some(slices) =
                on_disk(move || Slices::of(long)).await.map_err(RunError::Fetch)?
        {
            let mut rest = Rest { slices: Some(slices), answer };
            let page = self.further(feed, window, next, &mut rest).await?;
            return match page.is_plain() {
                true => Ok((page, Some(rest))),
                false => self.whole(feed, window, next, rest.answer).await.map(|page| (page, None)),
            };
        }
        self.whole(feed, window, next, answer).await.map(|page| (page, None))
    }

    /// The next rows of a page that is too long for memory.
    pub(super) async fn further(
        &self,
        feed: &str,
        window: Window,
        next: Option<&str>,
        rest: &mut Rest,
    ) -> Result<Page, RunError> {
        let Some(mut slices) = rest.slices.take() else { return Ok(Page::default()) };
        let advance = move || slices.advance().map(|body| (slices, body));
        let (slices, body) = on_disk(advance).await.map_err(RunError::Fetch)?;
        rest.slices = Some(slices).filter(|slices| !slices.is_over());
        self.read(feed, window, next, &rest.answer, &body)
    }

    /// A page, all of it in memory.
    async fn whole(
        &self,
        feed: &str,
        window: Window,
        next: Option<&str>,
        mut answer: Answer,
    ) -> Result<Page, RunError> {
        let body = match answer.fetched.long.take() {
            Some(long) => {
                let read = on_disk(move || long.read(0, long.length()));
                read.await.map_err(RunError::Fetch)?
            }
            None => std::mem::take(&mut answer.fetched.body),
        };
        self.read(feed, window, next, &answer, &body)
    }

    fn read(
        &self,
        feed: &str,
        window: Window,
        next: Option<&str>,
        answer: &Answer,
        body: &[u8],
    ) -> Result<Page, RunError> {
        let (query, provider) = (query(&self.keyed, feed, window, next), &self.settings.provider);
        let page = provider.linked_page(&query, &answer.url, &answer.fetched.links, body);
        page.map_err(RunError::Page)
    }

    /// Gets what the rows of a page lack. It keeps the tokens of details that stay as they are, to
    /// be remembered once they are committed.
    pub(super) async fn complete(
        &mut self,
        feed: &str,
        window: Window,
        page: &mut Page,
    ) -> Result<(), RunError> {
        let (settled, anew) = (page.settled, self.anew);
        let known = |detail: &String| !anew && settled && self.budget.was_told(detail);
        page.details.retain(|detail| !known(detail));
        for detail in &page.details {
            self.check()?;
            match self.detail(feed, window, detail).await {
                Ok(more) => page.rows.extend(more.rows),
                // What has been forgotten meanwhile must not hold up all that is not.
                Err(RunError::Rejected { status: status @ (404 | 410) }) => {
                    telemetry::poll::detail_gone(&self.settings.source, feed, status);
                }
                Err(error) => return Err(error),
            }
        }
        if !settled {
            page.details.clear();
        }
        if let Some(wait) = page.wait {
            self.pause(wait.clamp(WAIT_MIN, WAIT_MAX)).await?;
        }
        Ok(())
    }

    async fn detail(&mut self, feed: &str, window: Window, detail: &str) -> Result<Page, RunError> {
        let answer = self.one(feed, window, Some(detail)).await?;
        self.whole(feed, window, Some(detail), answer).await
    }

    /// The answer to one request, with whatever key is accepted.
    async fn one(
        &mut self,
        feed: &str,
        window: Window,
        next: Option<&str>,
    ) -> Result<Answer, RunError> {
        loop {
            let request = self.request(feed, window, next)?;
            let fetched = self.fetch(&request).await?;
            if self.is_refused(&fetched) {
                if self.next_key() {
                    continue;
                }
                return Err(RunError::Authentication { status: fetched.status });
            }
            self.accepted();
            RunError::check(&fetched)?;
            return Ok(Answer { fetched, url: request.url });
        }
    }

    fn is_refused(&self, fetched: &Fetched) -> bool {
        match fetched.status {
            200 => false,
            401 | 403 => true,
            status => self.settings.provider.is_unauthorised(status, &fetched.body),
        }
    }

    /// Goes on to the next of the source's keys; whether there is one that was not refused yet.
    pub(super) fn next_key(&mut self) -> bool {
        self.refused += 1;
        if self.refused >= self.budget.sets() {
            return false;
        }
        self.budget.next_set();
        self.keyed = self.settings.settings.with_secret_set(self.budget.current());
        true
    }

    /// The key is good.
    pub(super) fn accepted(&mut self) {
        if std::mem::take(&mut self.refused) > 0 {
            telemetry::poll::key_changed(&self.settings.source, self.budget.current() + 1);
        }
    }

    /// Sends a request, as often as the provider asks for patience.
    pub(super) async fn fetch(&mut self, request: &PageRequest) -> Result<Fetched, RunError> {
        for waits in 0.. {
            self.turn().await?;
            let sent = self.send(request).await;
            self.budget.answered(Instant::now().into_std());
            let fetched = sent?;
            if let Some(wait) = fetched.spent {
                self.budget.hold((Instant::now() + wait).into_std());
            }
            if let (429, Some(wait)) = (fetched.status, fetched.retry_after) {
                self.budget.refuse((Instant::now() + wait).into_std());
            }
            match (fetched.status, fetched.retry_after) {
                (429 | 503, Some(wait)) if wait <= WAIT_MAX && waits < WAITS_MAX => {
                    let wait = wait.max(WAIT_MIN);
                    telemetry::poll::told_to_wait(&self.settings.source, wait);
                    self.caller.inspect(|caller| caller.wait(&self.settings.source, wait));
                    self.pause(wait).await?;
                }
                _ => return Ok(fetched),
            }
        }
        Err(RunError::Deadline)
    }

    async fn send(&self, request: &PageRequest) -> Result<Fetched, RunError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut stop = self.stop.clone();
        let fetched = tokio::select! {
            biased;
            () = stopped(&mut stop) => return Err(RunError::Stopping),
            fetched = self.outside.send(request, TOTAL_TIMEOUT.min(left)) => fetched,
        };
        // What the run's own end cut short is no fault of the provider's.
        let late = Instant::now() >= self.deadline;
        fetched.map_err(|error| if late { RunError::Deadline } else { RunError::Fetch(error) })
    }

    /// Waits until the budget has room for a request. A wait that is too long for a run ends it.
    async fn turn(&mut self) -> Result<(), RunError> {
        let wait = self.budget.spend(Instant::now().into_std(), WAIT_MAX);
        if wait.is_zero() {
            return Ok(());
        }
        if wait > WAIT_MAX {
            return Err(RunError::Throttled { status: 429, retry_after: Some(wait) });
        }
        self.pause(wait).await
    }

    /// Waits, unless the daemon stops meanwhile.
    pub(super) async fn pause(&self, span: Duration) -> Result<(), RunError> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stopped(&mut stop) => Err(RunError::Stopping),
            () = sleep(span) => Ok(()),
        }
    }

    /// Whether the run may go on.
    pub(super) fn check(&self) -> Result<(), RunError> {
        if *self.stop.borrow() {
            Err(RunError::Stopping)
        } else if Instant::now() >= self.deadline {
            Err(RunError::Deadline)
        } else {
            Ok(())
        }
    }

    fn request(
        &self,
        feed: &str,
        window: Window,
        next: Option<&str>,
    ) -> Result<PageRequest, RunError> {
        let query = query(&self.keyed, feed, window, next);
        self.settings.provider.page_request(&query).map_err(RunError::Request)
    }
}

fn query<'q>(
    settings: &'q ProviderSettings,
    feed: &'q str,
    window: Window,
    next: Option<&'q str>,
) -> Query<'q> {
    Query { settings, feed, window, next, now: clock::now() }
}
