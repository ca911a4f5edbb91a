//! The pages of one window: one task asks for them, the other commits them behind it. What is read
//! while a record is synced goes in the next one together.
//!
//! Never decides which window is read.

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::Instant;

use super::ask::Asking;
use super::caller::Caller;
use super::cursor::Mark;
use super::keep::Keeping;
use super::outside::Outside;
use super::pages::{After, Pages, Turn};
use super::problem::RunError;
use super::run::Run;
use crate::model::{Cursor, Element, Time};
use crate::provider::{Feed, Window};
use crate::telemetry;

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

/// A page that was read.
struct Taken {
    rows: Vec<Element>,
    /// Of its rows, those that stay as they are.
    details: Vec<String>,
    /// How far the feed is read with it. `None`: as far as before, since more of the page follows.
    following: Option<Mark>,
}

impl<O: Outside> Run<'_, O> {
    /// Reads a window's pages to its end, and commits them behind that. `Some`: it holds too much,
    /// and these are its halves.
    pub(super) async fn window(
        &mut self,
        place: &Place<'_>,
        pages: Pages<'_>,
        mark: &mut Mark,
    ) -> Result<Option<[Window; 2]>, RunError> {
        let (send, taken) = mpsc::channel(PAGES_AHEAD);
        let Run { asking, keeping, caller } = self;
        let mut details = Vec::new();
        let (kept, read) = {
            let read = read(asking, *caller, place, pages, mark.clone(), send);
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
    mut pages: Pages<'_>,
    mark: Mark,
    send: Sender<Taken>,
) -> Result<Option<[Window; 2]>, RunError> {
    loop {
        Caller::check(caller)?;
        let sheet = match pages.turn(asking).await? {
            Turn::Halves(halves) => return Ok(Some(halves)),
            Turn::Page(sheet) => sheet,
        };
        let (window, feed) = (pages.window(), &*place.feed.name);
        if sheet.overfull {
            telemetry::poll::too_full(&asking.settings.source, feed, window.since);
        }
        let following = following(place, &mark, window, &sheet.after);
        let taken = Taken { rows: sheet.rows, details: sheet.details, following };
        let is_taken = send.send(taken).await.is_ok();
        match sheet.after {
            After::End => return Ok(None),
            // What could not be committed says so itself.
            _ if !is_taken => return Ok(None),
            After::Lost(error) => return Err(error),
            After::Part | After::Open(_) | After::Again => {}
        }
        // To be committed at once, unless something is.
        tokio::task::yield_now().await;
    }
}

/// How far a feed is read with a page.
///
/// One that loses its place is read anew from its window's start by the next run, and cannot be
/// caught in the same circle for ever.
fn following(place: &Place<'_>, mark: &Mark, window: Window, after: &After) -> Option<Mark> {
    match after {
        After::Part => None,
        After::End => Some(mark.completed(window.until.min(place.settled))),
        After::Again | After::Lost(_) => Some(Mark { open: None, ..mark.clone() }),
        After::Open(open) => Some(Mark { open: Some(open.clone()), ..mark.clone() }),
    }
}

/// Commits what is read, and moves the mark; notes when which details were committed.
async fn keep<O: Outside>(
    keeping: &mut Keeping<'_, O>,
    place: &Place<'_>,
    mut taken: Receiver<Taken>,
    mark: &mut Mark,
    details: &mut Vec<(Vec<String>, std::time::Instant)>,
) -> Result<(), RunError> {
    // Of the page of which more follows.
    let mut part = 0;
    while let Some(Taken { mut rows, details: mut settled, mut following }) = taken.recv().await {
        let mut counts = Vec::new();
        let mut count = |rows: &[Element], is_whole: bool| {
            part += rows.len() as u64;
            if is_whole {
                counts.push(std::mem::take(&mut part));
            }
        };
        count(&rows, following.is_some());
        while rows.len() < ROWS_MAX
            && let Ok(next) = taken.try_recv()
        {
            count(&next.rows, next.following.is_some());
            rows.extend(next.rows);
            settled.extend(next.details);
            following = next.following.or(following);
        }
        let state = following.as_ref().map(Mark::encode);
        let cursor = state.map(|state| Cursor { feed: place.key.to_owned(), state });
        keeping.commit(&place.feed.name, rows, cursor).await?;
        counts.into_iter().for_each(|rows| keeping.count(rows));
        details.push((settled, Instant::now().into_std()));
        *mark = following.unwrap_or(mark.clone());
    }
    Ok(())
}
