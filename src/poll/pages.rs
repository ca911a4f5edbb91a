//! The pages of one window, in their order, each joined to the last.
//!
//! Commits nothing and moves no cursor: whoever takes a page is told what follows it.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::ask::{Asking, Rest};
use super::cursor::Open;
use super::outside::Outside;
use super::problem::RunError;
use super::seam::{Crossing, Seams};
use crate::model::Element;
use crate::provider::{Feed, Page, Window};

/// Most pages of one window that one run reads. The next run goes on from there.
pub(super) const PAGES_MAX: u64 = 10_000;

/// Longest token that leads to a page, in bytes. Providers' are some hundred; beyond 8 KiB many
/// servers refuse a request line, and beyond 64 KiB none can be made.
pub(super) const TOKEN_MAX: usize = 16 << 10;

/// A window in the course of being read.
pub(super) struct Pages<'f> {
    feed: &'f Feed,
    window: Window,
    next: Option<String>,
    /// Pages read, with those of earlier runs.
    count: u64,
    left: u64,
    seams: Seams,
    /// `None`: nothing was asked for yet.
    seen: Option<Tokens>,
    /// What is left of a page that is too long for memory.
    long: Option<Long>,
}

/// A page that comes in parts.
struct Long {
    rest: Rest,
    /// What led to it, and what follows it.
    token: Option<String>,
    after: After,
}

/// What a window comes to next.
pub(super) enum Turn {
    /// A page.
    Page(Sheet),
    /// It holds too much, and these are its halves.
    Halves([Window; 2]),
}

/// A page that joins the last one.
pub(super) struct Sheet {
    pub(super) rows: Vec<Element>,
    /// Of its rows, those that stay as they are.
    pub(super) details: Vec<String>,
    /// Whether the provider has more of the window than it lists, and it cannot be halved.
    pub(super) overfull: bool,
    pub(super) after: After,
}

/// What follows a page.
pub(super) enum After {
    /// More of the same page: it does not count before its end.
    Part,
    /// Another page, at this place.
    Open(Open),
    /// The window's first page again: only that shows what this reading skipped.
    Again,
    /// Nothing more.
    End,
    /// Its place is lost: what it leads to cannot be used.
    Lost(RunError),
}

impl<'f> Pages<'f> {
    /// A window from its first page on.
    pub(super) fn new(feed: &'f Feed, window: Window) -> Pages<'f> {
        let seams = Seams::default();
        Pages { feed, window, next: None, count: 0, left: PAGES_MAX, seams, seen: None, long: None }
    }

    /// A window that an earlier run left open.
    pub(super) fn resumed(feed: &'f Feed, open: Open) -> Pages<'f> {
        let seams = Seams::resumed(open.tail.as_deref());
        let (next, count) = (Some(open.next), open.pages);
        Pages { next, count, seams, ..Pages::new(feed, open.window) }
    }

    /// The window.
    pub(super) fn window(&self) -> Window {
        self.window
    }

    /// The next page, with what its rows lack. Not to be called behind the last.
    pub(super) async fn turn<O: Outside>(
        &mut self,
        asking: &mut Asking<'_, O>,
    ) -> Result<Turn, RunError> {
        asking.check()?;
        if let Some(long) = self.long.take() {
            return self.part(asking, long).await.map(Turn::Page);
        }
        loop {
            asking.check()?;
            if self.seen.is_none() {
                let mut seen = Tokens::default();
                seen.add(&asking.token(&self.feed.name, self.window, self.next.as_deref())?);
                self.seen = Some(seen);
            }
            self.left = self.left.checked_sub(1).ok_or(RunError::TooManyPages)?;
            let next = self.next.take();
            let name = &self.feed.name;
            let (mut page, rest) = asking.listing(name, self.window, next.as_deref()).await?;
            if let Some(halves) = self.window.halves().filter(|_| page.overfull) {
                return Ok(Turn::Halves(halves));
            }
            let is_counted = page.seam.is_some();
            if let Crossing::Back(token) = self.seams.cross(next.as_deref(), &mut page)? {
                self.next = token;
                continue;
            }
            asking.complete(&self.feed.name, self.window, &mut page).await?;
            self.count += 1;
            let after = self.after(page.next.take(), is_counted);
            let Page { rows, details, overfull, .. } = page;
            let after = self.or_part(rest, next, after);
            return Ok(Turn::Page(Sheet { rows, details, overfull, after }));
        }
    }

    /// The next part of a page that is too long for memory.
    async fn part<O: Outside>(
        &mut self,
        asking: &Asking<'_, O>,
        long: Long,
    ) -> Result<Sheet, RunError> {
        let Long { mut rest, token, after } = long;
        let name = &self.feed.name;
        let Page { rows, .. } =
            asking.further(name, self.window, token.as_deref(), &mut rest).await?;
        let after = self.or_part(Some(rest), token, after);
        Ok(Sheet { rows, details: Vec::new(), overfull: false, after })
    }

    /// What follows a page, or that more of it does.
    fn or_part(&mut self, rest: Option<Rest>, token: Option<String>, after: After) -> After {
        let Some(rest) = rest.filter(|rest| !rest.is_over()) else { return after };
        self.long = Some(Long { rest, token, after });
        After::Part
    }

    fn after(&mut self, next: Option<String>, is_counted: bool) -> After {
        match next {
            None => match self.seams.again() {
                Ok(true) => After::Again,
                Ok(false) => After::End,
                Err(error) => After::Lost(error),
            },
            Some(next) if next.len() > TOKEN_MAX => {
                After::Lost(RunError::LongToken { bytes: next.len() })
            }
            // What is counted goes on, or back, by itself.
            Some(next) if !is_counted && self.is_known(&next) => After::Lost(RunError::Repeated),
            Some(next) => {
                self.next = Some(next.clone());
                let tail = self.seams.tail().filter(|_| is_counted);
                After::Open(Open { window: self.window, next, pages: self.count, tail })
            }
        }
    }

    fn is_known(&mut self, next: &str) -> bool {
        self.seen.as_mut().is_some_and(|seen| !seen.add(next))
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
