//! A provider's own list, read in whole from its first page to its last.
//!
//! Commits nothing and moves no cursor. A list that cannot be read to its end is an error, since
//! whoever reads it whole wants to know what is not on it.

use super::ask::Asking;
use super::problem::RunError;
use super::run::{Outside, PAGES_MAX, Tokens};
use crate::model::{Element, Time};
use crate::provider::{Feed, Window};

/// When a list begins, in Unix seconds: the year 2000, before there was any of the providers.
const BEGINNING: i64 = 946_684_800;

/// A list in the course of being read.
pub(super) struct Listing<'f> {
    feed: &'f Feed,
    /// The windows that are still to be read, the earliest last.
    parts: Vec<Window>,
    /// What leads to the next page of the last of them.
    next: Option<String>,
    seen: Tokens,
    pages: u64,
}

impl<'f> Listing<'f> {
    /// The whole of a list, as far back as the provider keeps rows.
    pub(super) fn new(feed: &'f Feed, now: Time) -> Listing<'f> {
        let since =
            feed.kept.map_or(Time::from_seconds(BEGINNING), |kept| now.minus(kept).floor_second());
        let parts = vec![Window { since, until: now }];
        Listing { feed, parts, next: None, seen: Tokens::default(), pages: 0 }
    }

    /// The first instant that it is read from.
    pub(super) fn since(&self) -> Time {
        self.parts.first().map_or(Time::from_seconds(BEGINNING), |window| window.since)
    }

    /// The rows of the next page; `None` once the list is read to its end.
    pub(super) async fn page<O: Outside>(
        &mut self,
        asking: &mut Asking<'_, O>,
    ) -> Result<Option<Vec<Element>>, RunError> {
        while let Some(window) = self.parts.last().copied() {
            asking.check()?;
            let (feed, next) = (&*self.feed.name, self.next.take());
            self.seen.add(&asking.token(feed, window, next.as_deref())?);
            self.pages += 1;
            if self.pages > PAGES_MAX {
                return Err(RunError::TooManyPages);
            }
            let page = asking.page(feed, window, next.as_deref()).await?;
            if page.overfull {
                let halves = window.halves().ok_or(RunError::TooFull)?;
                self.parts.pop();
                self.parts.extend(halves.into_iter().rev());
                continue;
            }
            match page.next {
                Some(next) if !self.seen.add(&next) => return Err(RunError::Repeated),
                Some(next) => self.next = Some(next),
                None => {
                    self.parts.pop();
                    self.seen = Tokens::default();
                }
            }
            return Ok(Some(page.rows));
        }
        Ok(None)
    }
}
