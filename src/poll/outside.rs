//! What a run touches beside itself: the provider's API, the intake and the store.
//!
//! A trait, so that runs can be played on a stage. Never decides anything.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::plan::{self, Aim, Plan};
use crate::fetch::{FetchError, Fetched, Fetcher};
use crate::ingest::{Ingest, Receipt, Refused};
use crate::model::{Element, Event, SourceName, Submission};
use crate::provider::{PageRequest, Unreadable};
use crate::rules::Rules;
use crate::store::{Counts, ListedRows, Reader, StoreError};
use crate::turns::Turns;

/// Everything that a run touches: the provider's API, the intake and the store.
pub(super) trait Outside: Clone + Send + Sync + 'static {
    /// Makes one request.
    fn send(
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

    /// The events of a row that is not committed.
    fn read(&self, page: &Submission, row: &Element) -> Result<Vec<Event>, Unreadable>;

    /// What a list of a source has told.
    fn listed(&self, source: &SourceName, feed: &str) -> ListedRows;

    /// What is to be pushed.
    fn plan(&self, aim: &Aim<'_>) -> Result<Plan, StoreError>;

    /// How a source's events reached us.
    fn counts(&self, source: &SourceName) -> Result<Counts, StoreError>;

    /// Whether it is this host that polls a source.
    fn turns(&self) -> Turns {
        Turns::always()
    }
}

/// The daemon itself, as runs see it.
#[derive(Clone)]
pub(super) struct Daemon {
    pub(super) fetcher: Fetcher,
    pub(super) ingest: Ingest,
    pub(super) reader: Reader,
    pub(super) rules: Arc<Rules>,
    pub(super) turns: Turns,
}

impl Outside for Daemon {
    async fn send(&self, request: &PageRequest, total: Duration) -> Result<Fetched, FetchError> {
        self.fetcher.send(request, total).await
    }

    async fn submit(&self, submission: &Submission) -> Result<Receipt, Refused> {
        self.ingest.submit(submission).await
    }

    async fn applied(&self, receipt: Receipt) {
        self.ingest.applied(receipt).await;
    }

    fn cursor(&self, source: &SourceName, feed: &str) -> Result<Option<String>, StoreError> {
        self.reader.cursor(source, feed)
    }

    fn read(&self, page: &Submission, row: &Element) -> Result<Vec<Event>, Unreadable> {
        self.reader.read(page, row)
    }

    fn listed(&self, source: &SourceName, feed: &str) -> ListedRows {
        self.reader.listed(source, feed)
    }

    fn plan(&self, aim: &Aim<'_>) -> Result<Plan, StoreError> {
        plan::plan(&self.reader, &self.rules, aim)
    }

    fn counts(&self, source: &SourceName) -> Result<Counts, StoreError> {
        self.reader.counts(source)
    }
    fn turns(&self) -> Turns {
        self.turns.clone()
    }
}
