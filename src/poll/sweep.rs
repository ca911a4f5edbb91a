//! What has gone from a provider's list, where a source says that this means something.
//!
//! The whole list is compared with what it had told us. What is gone is told as `unlisted`, dated
//! safely before the reading began; a list that shrank by much, or has a row that nobody can read,
//! proves nothing. What had gone and is there again is told as the row it is: a list that is polled
//! by time would not show it. Never decides what is suppressed: the merging does.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use super::cursor::Mark;
use super::listing::Listing;
use super::outside::Outside;
use super::problem::RunError;
use super::run::Run;
use crate::clock;
use crate::model::trust::SKEW;
use crate::model::{Element, Event, Fact, Lifts, Reason, Scope, SourceName, Submission, Time};
use crate::provider::{Feed, Instruction, OWN, instruction_element};
use crate::store::{ListedRows, StoreError};
use crate::telemetry;

/// Most rows of a list that can be compared; they take 16 bytes each.
const ROWS_MAX: usize = 5_000_000;

/// So many may be gone in any case. Beyond, half of the list must still be there.
const FREE: usize = 10;

/// Most removals that one reading tells.
const GONE_MAX: usize = 100_000;

/// How far apart two readings are of a list on which nothing is left: a provider whose lists are
/// empty for a moment must not have everything lifted.
const EMPTY_APART: Duration = Duration::from_secs(60);

/// Removals in one record.
const GONE_AT_ONCE: usize = 1_000;

/// The rows of a list, by hash: two that share one would only keep a removal from being noticed,
/// until the next reading draws another key.
#[derive(Default)]
struct Seen {
    hasher: RandomState,
    rows: HashSet<u64>,
    /// Those that had gone before, and were not seen again.
    gone: HashSet<u64>,
}

/// One row that is gone.
struct Gone {
    address: String,
    scope: Scope,
    reason: Reason,
}

impl Seen {
    /// Before a reading, of what a list has told.
    fn before(told: ListedRows) -> Result<Seen, RunError> {
        let mut seen = Seen::default();
        for row in told {
            let row = row.map_err(RunError::Store)?;
            if row.sight.gone {
                seen.gone.insert(seen.hash(&row.address, &row.scope, row.reason));
            }
            if seen.gone.len() > ROWS_MAX {
                return Err(RunError::TooManyRows);
            }
        }
        Ok(seen)
    }

    /// Takes a row. Says whether it is back.
    fn add(&mut self, event: &Event) -> Result<bool, RunError> {
        let Some(Fact::Ground { reason, .. }) = event.fact() else { return Ok(false) };
        let hash = self.hash(event.address.key(), &event.scope, reason);
        self.rows.insert(hash);
        if self.rows.len() > ROWS_MAX {
            return Err(RunError::TooManyRows);
        }
        Ok(self.gone.remove(&hash))
    }

    fn hash(&self, address: &str, scope: &Scope, reason: Reason) -> u64 {
        self.hasher.hash_one((address, scope, reason))
    }

    /// What was told, and is not there any more. `span`: the times that the reading can speak of.
    fn missing(&self, told: ListedRows, span: (Time, Time)) -> Result<Vec<Gone>, RunError> {
        let (mut gone, mut held) = (Vec::new(), 0);
        for row in told {
            let row = row.map_err(RunError::Store)?;
            if row.sight.gone || row.sight.at < span.0 || row.sight.at > span.1 {
                continue;
            }
            held += 1;
            if !self.rows.contains(&self.hash(&row.address, &row.scope, row.reason)) {
                gone.push(Gone { address: row.address, scope: row.scope, reason: row.reason });
            }
            if gone.len() > GONE_MAX {
                return Err(RunError::Shrunk { gone: gone.len(), held });
            }
        }
        let explained = gone.len() <= FREE || gone.len() * 2 <= held;
        if explained { Ok(gone) } else { Err(RunError::Shrunk { gone: gone.len(), held }) }
    }
}

impl<O: Outside> Run<'_, O> {
    /// Compares every list that is due with what it had told.
    pub(super) async fn sweep(&mut self) -> Result<(), (String, RunError)> {
        for feed in self.settings().lists() {
            self.sweep_list(feed).await.map_err(|error| (feed.name.to_string(), error))?;
        }
        Ok(())
    }

    async fn sweep_list(&mut self, feed: &Feed) -> Result<(), RunError> {
        let key = format!("{}@scan", feed.name);
        let mark = self.mark(&key).await?;
        let started = clock::now();
        let last = mark.complete_until.filter(|_| self.caller.is_none() && !mark.is_void);
        if last.is_some_and(|last| started.since(last) < self.settings().scan) {
            return Ok(());
        }
        // What the list looked like when the reading began is what is told. What the provider has
        // dated shortly before that stays: its clock may be off.
        let through = started.minus(feed.settle + SKEW);
        let gone = match self.compare(feed, (started, through)).await {
            Ok(gone) => gone,
            Err(error) => {
                if error.is_of_the_list() {
                    telemetry::poll::removals_refused(
                        &self.settings().source,
                        &feed.name,
                        &error.to_string(),
                    );
                    // Read again at once, it would be no better.
                    self.keeping.put_cursor(&key, &mark.completed(started)).await?;
                }
                return Err(error);
            }
        };
        if !gone.is_empty() {
            telemetry::poll::removals(&self.settings().source, &feed.name, gone.len() as u64);
        }
        for chunk in gone.chunks(GONE_AT_ONCE) {
            let submission = self.unlisted(feed, chunk, through);
            self.keeping.submit(&submission).await?;
        }
        self.keeping.put_cursor(&key, &Mark::default().completed(started)).await
    }

    /// Reads the list, and says what is missing on it. That is believed only where a second
    /// reading misses it, too: a row may move past a reader. An empty list waits for that.
    async fn compare(
        &mut self,
        feed: &Feed,
        (started, through): (Time, Time),
    ) -> Result<Vec<Gone>, RunError> {
        let since = Listing::new(feed, started).since();
        let span = (since, through);
        let (outside, source) = (self.asking.outside.clone(), self.settings().source.clone());
        let name = feed.name.to_string();
        let seen = apart(move || Seen::before(outside.listed(&source, &name))).await?;
        let (seen, gone) = self.missing(feed, started, span, seen).await?;
        if gone.is_empty() {
            return Ok(gone);
        }
        if seen.rows.is_empty() {
            telemetry::poll::list_empty(&self.settings().source, &feed.name, EMPTY_APART);
            self.asking.pause(EMPTY_APART).await?;
        }
        Ok(self.missing(feed, started, span, seen).await?.1)
    }

    /// Reads the list to its end, and says what is missing there and in what was seen before. A row
    /// that cannot be read might be any that is missing; what is back is told nevertheless.
    async fn missing(
        &mut self,
        feed: &Feed,
        started: Time,
        span: (Time, Time),
        mut seen: Seen,
    ) -> Result<(Seen, Vec<Gone>), RunError> {
        let (mut listing, mut is_doubtful) = (Listing::new(feed, started), false);
        while let Some(rows) = listing.page(&mut self.asking).await? {
            self.check()?;
            let page = self.keeping.submission(&feed.name, rows, None);
            let (count, mut back) = (page.elements.len() as u64, Vec::new());
            for element in &page.elements {
                let Ok(events) = self.asking.outside.read(&page, element) else {
                    is_doubtful = true;
                    continue;
                };
                let mut is_back = false;
                for event in events {
                    is_back |= seen.add(&event)?;
                }
                back.extend(is_back.then(|| element.clone()));
            }
            self.returned(feed, back).await?;
            self.keeping.count(count);
        }
        if is_doubtful {
            return Err(RunError::Doubtful);
        }
        let (outside, source) = (self.asking.outside.clone(), self.settings().source.clone());
        let name = feed.name.to_string();
        apart(move || {
            let gone = seen.missing(outside.listed(&source, &name), span)?;
            Ok((seen, gone))
        })
        .await
    }

    /// Keeps rows that are back on the list.
    async fn returned(&mut self, feed: &Feed, back: Vec<Element>) -> Result<(), RunError> {
        if back.is_empty() {
            return Ok(());
        }
        telemetry::poll::returned(&self.settings().source, &feed.name, back.len() as u64);
        self.keeping.commit(&feed.name, back, None).await
    }

    /// What tells the store that rows are gone.
    fn unlisted(&self, feed: &Feed, gone: &[Gone], through: Time) -> Submission {
        let source: &SourceName = &self.settings().source;
        let element = |gone: &Gone| {
            instruction_element(&Instruction {
                add: false,
                address: gone.address.clone(),
                scope: gone.scope.clone(),
                at: through,
                until: None,
                note: Some(format!("gone from the list {}", feed.name)),
                lifts: Lifts { reason: Some(gone.reason), source: Some(source.clone()) },
            })
        };
        let elements = gone.iter().map(element).collect();
        Submission { provider: OWN.into(), ..self.keeping.submission(&feed.name, elements, None) }
    }
}

/// A look through the store, on a thread that may wait for the disk.
async fn apart<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, RunError> + Send + 'static,
) -> Result<T, RunError> {
    let failed = |_| RunError::Store(StoreError::Damaged("the look gave up".to_owned()));
    tokio::task::spawn_blocking(look).await.map_err(failed)?
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::super::budget::Budget;
    use super::super::run::Report;
    use super::super::stage::{Answer, Stage, settings};
    use super::*;
    use crate::provider::{Setting, by_name};
    use crate::store::{ListedRow, Sight};

    /// A run of a source whose only feed is a list, which had told of one address.
    async fn run(stage: &Stage) -> Report {
        let mut settings = settings();
        settings.settings.set("list_url", Setting::Text("http://localhost/list".to_owned()));
        settings.feeds = by_name("generic").unwrap().feeds()[1..].to_vec();
        settings.trust_removals = true;
        let sight = Sight { at: Time::from_seconds(1_000_000), gone: false };
        let (address, scope) = ("a@x.test".to_owned(), Scope::Global);
        stage.list([ListedRow { address, scope, reason: Reason::Complaint, sight }]);
        let (_stop, stopping) = watch::channel(false);
        let mut budget = Budget::default();
        Run::new(&settings, stage, &mut budget, None, stopping).go(None).await
    }

    fn unlisted(stage: &Stage) -> usize {
        let all = stage.submitted();
        all.iter().filter(|one| &*one.provider == OWN).map(|one| one.elements.len()).sum()
    }

    const EMPTY: Answer = Answer::Body(r#"{"suppressions":[],"next":null}"#);
    const BACK: Answer = Answer::Body(
        r#"{"suppressions":[{"address":"a@x.test","reason":"complaint"}],"next":null}"#,
    );

    #[tokio::test(start_paused = true)]
    async fn an_empty_list_is_believed_once_it_stayed_empty_for_a_while() {
        // The feed itself, the first reading, and the second.
        let stage = Stage::playing([EMPTY, EMPTY, EMPTY]);
        let started = Instant::now();
        let report = run(&stage).await;
        assert_eq!((report.failure, unlisted(&stage)), (None, 1));
        assert!(started.elapsed() >= EMPTY_APART, "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_empty_for_a_moment_lifts_nothing() {
        let stage = Stage::playing([EMPTY, EMPTY, BACK]);
        let report = run(&stage).await;
        assert_eq!((report.failure, unlisted(&stage)), (None, 0));
        assert_eq!(stage.asked().len(), 3);
    }
}
