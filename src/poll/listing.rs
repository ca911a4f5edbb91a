//! A provider's own list, read in whole from its first page to its last.
//!
//! Commits nothing and moves no cursor. A list that cannot be read to its end is an error, since
//! whoever reads it whole wants to know what is not on it.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Settings;
use super::ask::Asking;
use super::outside::Outside;
use super::pages::{After, PAGES_MAX, Pages, Sheet, Turn};
use super::problem::RunError;
use super::run::{Report, Run};
use crate::clock;
use crate::model::{Element, Submission, Time};
use crate::provider::{Feed, Rows, Window};

/// A list in the course of being read.
pub(super) struct Listing<'f> {
    feed: &'f Feed,
    since: Time,
    /// The windows that are still to be read, the earliest last.
    parts: Vec<Pages<'f>>,
    pages: u64,
}

impl<'f> Listing<'f> {
    /// The whole of a list, as far back as the provider keeps rows.
    pub(super) fn new(feed: &'f Feed, now: Time) -> Listing<'f> {
        let since = feed.kept.map_or(Time::from_seconds(0), |kept| now.minus(kept).floor_second());
        let parts = vec![Pages::new(feed, Window { since, until: now })];
        Listing { feed, since, parts, pages: 0 }
    }

    /// The first instant that it is read from.
    pub(super) fn since(&self) -> Time {
        self.since
    }

    /// The rows of the next page; `None` once the list is read to its end.
    pub(super) async fn page<O: Outside>(
        &mut self,
        asking: &mut Asking<'_, O>,
    ) -> Result<Option<Vec<Element>>, RunError> {
        while let Some(part) = self.parts.last_mut() {
            self.pages += 1;
            if self.pages > PAGES_MAX {
                return Err(RunError::TooManyPages);
            }
            match part.turn(asking).await? {
                Turn::Halves(halves) => {
                    self.parts.pop();
                    let halves = halves.into_iter().rev();
                    self.parts.extend(halves.map(|half| Pages::new(self.feed, half)));
                }
                Turn::Page(Sheet { overfull: true, .. }) => return Err(RunError::TooFull),
                Turn::Page(Sheet { rows, after, .. }) => {
                    match after {
                        After::Part | After::Open(_) | After::Again => {}
                        After::End => drop(self.parts.pop()),
                        After::Lost(error) => return Err(error),
                    }
                    return Ok(Some(rows));
                }
            }
        }
        Ok(None)
    }
}

impl<O: Outside> Run<'_, O> {
    /// Reads every list of the provider in whole, for whoever takes the pages.
    pub(super) async fn lists(mut self, to: &mpsc::Sender<Submission>) -> Report {
        let (started, mut failure) = (Instant::now(), None);
        for feed in self.settings().lists() {
            if let Err(error) = self.list(feed, to).await {
                failure = Some((feed.name.to_string(), error));
                break;
            }
        }
        let (took, complete) = (started.elapsed(), Vec::new());
        let (pages, rows) = (self.keeping.pages, self.keeping.rows);
        Report { pages, rows, new: None, counts: None, took, complete, failure }
    }

    async fn list(&mut self, feed: &Feed, to: &mpsc::Sender<Submission>) -> Result<(), RunError> {
        let mut listing = Listing::new(feed, clock::now());
        while let Some(rows) = listing.page(&mut self.asking).await? {
            self.check()?;
            let count = rows.len() as u64;
            let page = self.keeping.submission(&feed.name, rows, None);
            to.send(page).await.map_err(|_| RunError::Abandoned)?;
            self.keeping.count(count);
        }
        Ok(())
    }
}

impl Settings {
    /// The feeds that are the provider's own suppression lists.
    pub(super) fn lists(&self) -> impl Iterator<Item = &Feed> {
        self.feeds.iter().filter(|feed| feed.rows == Rows::Suppressions)
    }
}
