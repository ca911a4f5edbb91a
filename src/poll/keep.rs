//! What a run has read, kept: in records with the cursor behind their rows, in the order of pages.
//!
//! Never asks the provider for anything.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::ask::{RUN_MAX, WAIT_MIN};
use super::caller::Caller;
use super::cursor::Mark;
use super::outside::Outside;
use super::problem::RunError;
use super::{Progress, Settings};
use crate::clock;
use crate::ingest::{Receipt, Refused};
use crate::model::{Cursor, Element, Origin, Submission};
use crate::stop::stopped;
use crate::store::Counts;
use crate::telemetry;

/// A record with so many bytes, or so many rows, takes no further row: what is applied at once must
/// fit into memory, whatever a page holds.
const PIECE_BYTES: usize = 2 << 20;
const PIECE_ROWS: usize = 10_000;

/// Keeps what one run reads.
pub(super) struct Keeping<'a, O> {
    settings: &'a Settings,
    outside: &'a O,
    caller: Option<&'a Caller>,
    stop: watch::Receiver<bool>,
    /// Pages committed.
    pub(super) pages: u64,
    /// Rows in them.
    pub(super) rows: u64,
    /// The part of an operator's window that is read, 0 to 1.
    pub(super) part: Option<f64>,
    last: Option<Receipt>,
    deadline: Instant,
}

impl<'a, O: Outside> Keeping<'a, O> {
    /// For a run that ends with `stop`.
    pub(super) fn new(
        settings: &'a Settings,
        outside: &'a O,
        caller: Option<&'a Caller>,
        stop: watch::Receiver<bool>,
    ) -> Keeping<'a, O> {
        let deadline = Instant::now() + RUN_MAX;
        let (pages, rows, part, last) = (0, 0, None, None);
        Keeping { settings, outside, caller, stop, pages, rows, part, last, deadline }
    }

    /// Commits rows in one record with the cursor behind them, if they are all that it stands for.
    /// Rows of more than a piece go in several, the cursor with the last: so a stop between them
    /// repeats rows and loses none.
    pub(super) async fn commit(
        &mut self,
        feed: &str,
        rows: Vec<Element>,
        cursor: Option<Cursor>,
    ) -> Result<(), RunError> {
        let mut rows = rows.into_iter().peekable();
        loop {
            let (mut piece, mut bytes) = (Vec::new(), 0);
            while piece.len() < PIECE_ROWS
                && bytes < PIECE_BYTES
                && let Some(row) = rows.next()
            {
                bytes += row.context.len() + row.body.len();
                piece.push(row);
            }
            if rows.peek().is_none() {
                return self.commit_piece(feed, piece, cursor).await;
            }
            self.commit_piece(feed, piece, None).await?;
        }
    }

    async fn commit_piece(
        &mut self,
        feed: &str,
        rows: Vec<Element>,
        last: Option<Cursor>,
    ) -> Result<(), RunError> {
        let mut pieces = vec![rows];
        while let Some(piece) = pieces.pop() {
            let cursor = last.clone().filter(|_| pieces.is_empty());
            let submission = self.submission(feed, piece, cursor);
            match self.submit(&submission).await {
                Ok(()) => {}
                Err(RunError::TooLarge) if submission.elements.len() > 1 => {
                    let mut first = submission.elements;
                    let rest = first.split_off(first.len() / 2);
                    pieces.extend([rest, first]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Counts a page that is committed.
    pub(super) fn count(&mut self, rows: u64) {
        self.pages += 1;
        self.rows += rows;
        telemetry::poll::page_read(&self.settings.source, rows);
        self.tell();
    }

    /// Stores a cursor without a page.
    pub(super) async fn put_cursor(&mut self, key: &str, mark: &Mark) -> Result<(), RunError> {
        let cursor = Cursor { feed: key.to_owned(), state: mark.encode() };
        let submission = self.submission(key, Vec::new(), Some(cursor));
        self.submit(&submission).await
    }

    /// A page of a feed, as the journal takes it.
    pub(super) fn submission(
        &self,
        feed: &str,
        elements: Vec<Element>,
        cursor: Option<Cursor>,
    ) -> Submission {
        Submission {
            source: self.settings.source.clone(),
            provider: self.settings.provider.name().into(),
            origin: Origin::Poll,
            feed: feed.into(),
            received_at: clock::receipt(),
            elements,
            cursor,
            released: Vec::new(),
        }
    }

    /// Submits until it is taken. Once begun, this is not broken off by a stop: the intake outlives
    /// the edges, and answers when it stops itself.
    pub(super) async fn submit(&mut self, submission: &Submission) -> Result<(), RunError> {
        loop {
            match self.outside.submit(submission).await {
                Ok(receipt) => {
                    self.last = Some(receipt);
                    return Ok(());
                }
                Err(Refused::Full { retry_after } | Refused::Unwritable { retry_after, .. }) => {
                    self.wait(retry_after.max(WAIT_MIN)).await?;
                }
                Err(Refused::TooLarge) => return Err(RunError::TooLarge),
                Err(Refused::Stopping) => return Err(RunError::Stopping),
            }
        }
    }

    /// Waits for room in the intake, unless the run ends before.
    async fn wait(&self, span: Duration) -> Result<(), RunError> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return Err(RunError::Stopping),
            () = sleep(span) => {}
        }
        if Instant::now() >= self.deadline {
            Err(RunError::Deadline)
        } else {
            Caller::check(self.caller)
        }
    }

    /// Waits until the store knows what this run has brought, its cursor above all.
    pub(super) async fn settle(&mut self) {
        if let Some(receipt) = self.last {
            let mut stop = self.stop.clone();
            tokio::select! {
                biased;
                () = stopped(&mut stop) => {}
                () = self.outside.applied(receipt) => {}
            }
        }
    }

    /// How the source's events have reached us; `None` when the store cannot say.
    pub(super) fn counts(&self) -> Option<Counts> {
        self.outside.counts(&self.settings.source).ok()
    }

    /// Tells whoever waits how far the run has come.
    pub(super) fn tell(&self) {
        if let Some(caller) = self.caller {
            let source = self.settings.source.to_string();
            // Progress that nobody takes in time is dropped.
            let (pages, rows) = (self.pages, self.rows);
            // Until a first part is done, only pages and rows say anything.
            let part = self.part.filter(|part| *part > 0.0);
            let _ = caller.progress.try_send(Progress { source, pages, rows, part, wait: None });
        }
    }
}
