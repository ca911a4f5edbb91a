//! The pages of one window: one task asks for them, the other commits them behind it. What is read
//! while a record is synced goes in the next one together.
//!
//! Never decides which window is read.

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::Instant;

use super::ask::Asking;
use super::cursor::{Mark, Open};
use super::keep::Keeping;
use super::listing::Tokens;
use super::outside::Outside;
use super::problem::RunError;
use super::run::{Caller, Run};
use crate::model::{Cursor, Element, Time};
use crate::provider::{Feed, Window};
use crate::telemetry;

/// Most pages of one window that one run reads. The next run goes on from there.
pub(super) const PAGES_MAX: u64 = 10_000;

/// Most pages that are read and wait to be committed.
const PAGES_AHEAD: usize = 4;

/// A record with so many rows takes no further page.
const ROWS_MAX: usize = 2_000;

/// Which cursor a window moves, and how far it may.
pub(super) struct Place<'a> {
    pub(super) feed: &'a Feed,
    /// The name that the cursor is stored under.
    pub(super) key: &'a str,
    /// Rows before this have had the time to appear.
    pub(super) settled: Time,
}

/// A window in the course of being read.
pub(super) struct Reading {
    pub(super) window: Window,
    pub(super) next: Option<String>,
    pub(super) pages: u64,
}

/// A page that was read.
struct Taken {
    rows: Vec<Element>,
    /// Of its rows, those that stay as they are.
    details: Vec<String>,
    /// How far the feed is read with it.
    following: Mark,
}

impl<O: Outside> Run<'_, O> {
    /// Reads a window's pages to its end, and commits them behind that. `Some`: it holds too much,
    /// and these are its halves.
    pub(super) async fn window(
        &mut self,
        place: &Place<'_>,
        reading: Reading,
        mark: &mut Mark,
    ) -> Result<Option<[Window; 2]>, RunError> {
        let (send, taken) = mpsc::channel(PAGES_AHEAD);
        let Run { asking, keeping, caller } = self;
        let mut details = Vec::new();
        let (kept, read) = {
            let read = read(asking, *caller, place, reading, mark.clone(), send);
            let keep = keep(keeping, place, taken, mark, &mut details);
            tokio::join!(biased; keep, read)
        };
        for (details, at) in details {
            asking.budget.remember(&details, at);
        }
        kept?;
        read
    }
}

/// Reads pages to the window's end. `Some`: it holds too much, and these are its halves.
async fn read<O: Outside>(
    asking: &mut Asking<'_, O>,
    caller: Option<&Caller>,
    place: &Place<'_>,
    mut reading: Reading,
    mark: Mark,
    send: Sender<Taken>,
) -> Result<Option<[Window; 2]>, RunError> {
    let (feed, window) = (&*place.feed.name, reading.window);
    let mut seen = Tokens::default();
    seen.add(&asking.token(feed, window, reading.next.as_deref())?);
    for _ in 0..PAGES_MAX {
        Caller::check(caller)?;
        asking.check()?;
        let page = asking.page(feed, window, reading.next.as_deref()).await?;
        if page.overfull {
            match window.halves() {
                Some(halves) => return Ok(Some(halves)),
                None => telemetry::poll::too_full(&asking.settings.source, feed, window.since),
            }
        }
        reading.pages += 1;
        reading.next = page.next;
        let repeated = reading.next.as_deref().is_some_and(|next| !seen.add(next));
        let following = reading.after(place, &mark, repeated);
        let taken = Taken { rows: page.rows, details: page.details, following };
        if send.send(taken).await.is_err() || reading.next.is_none() {
            // What could not be committed says so itself.
            return Ok(None);
        }
        if repeated {
            return Err(RunError::Repeated);
        }
        // To be committed at once, unless something is.
        tokio::task::yield_now().await;
    }
    Err(RunError::TooManyPages)
}

/// Commits what is read, and moves the mark; notes when which details were committed.
async fn keep<O: Outside>(
    keeping: &mut Keeping<'_, O>,
    place: &Place<'_>,
    mut taken: Receiver<Taken>,
    mark: &mut Mark,
    details: &mut Vec<(Vec<String>, std::time::Instant)>,
) -> Result<(), RunError> {
    while let Some(Taken { mut rows, details: mut settled, mut following }) = taken.recv().await {
        let mut counts = vec![rows.len()];
        while rows.len() < ROWS_MAX
            && let Ok(next) = taken.try_recv()
        {
            counts.push(next.rows.len());
            rows.extend(next.rows);
            settled.extend(next.details);
            following = next.following;
        }
        let cursor = Cursor { feed: place.key.to_owned(), state: following.encode() };
        keeping.commit(&place.feed.name, rows, cursor).await?;
        counts.into_iter().for_each(|rows| keeping.count(rows as u64));
        details.push((settled, Instant::now().into_std()));
        *mark = following;
    }
    Ok(())
}

impl Reading {
    /// How far the feed is read with the page just taken.
    ///
    /// A feed that goes in circles loses its place, so that the next run reads a new window from
    /// its start, and cannot be caught in the same circle for ever.
    fn after(&self, place: &Place<'_>, mark: &Mark, repeated: bool) -> Mark {
        match self.next.clone() {
            None => mark.completed(self.window.until.min(place.settled)),
            Some(_) if repeated => Mark { open: None, ..mark.clone() },
            Some(next) => {
                let (window, pages) = (self.window, self.pages);
                Mark { open: Some(Open { window, next, pages }), ..mark.clone() }
            }
        }
    }
}
