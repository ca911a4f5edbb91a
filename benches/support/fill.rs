//! A store full of suppressions, made the way a daemon makes it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use suppressd::model::{Element, Origin, SourceName, Submission};
use suppressd::rules::Rules;
use suppressd::{clock, ingest};
use tokio::runtime::Handle;

use crate::event;

/// Events in a submission that fills the store.
const FILL: u64 = 1_000;
/// For the retention.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A store with that many suppressions.
pub(crate) async fn fill(rows: u64, state: &Path) -> Result<ingest::Running> {
    let rules = Arc::new(Rules::default());
    let settings = ingest::Settings::new(state.to_owned(), 90 * DAY, rules, Arc::default());
    let running = ingest::start(settings, &Handle::current())?;
    running.ingest.ready().await;
    for first in (0..rows).step_by(FILL as usize) {
        let submission = submission(first..rows.min(first + FILL));
        let receipt = running.ingest.submit(&submission).await?;
        running.ingest.applied(receipt).await;
    }
    Ok(running)
}

/// The events of these numbers, as a webhook would bring them.
pub(crate) fn submission(numbers: Range<u64>) -> Submission {
    let element = |number| {
        let mut body = String::new();
        event::put(&mut body, number);
        Element { context: String::new(), body: body.into_bytes() }
    };
    Submission {
        source: SourceName::operator(),
        provider: "generic".into(),
        origin: Origin::Webhook,
        feed: "".into(),
        received_at: clock::now(),
        elements: numbers.map(element).collect(),
        cursor: None,
        released: Vec::new(),
    }
}
