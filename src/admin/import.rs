//! `import`: rows of a file, which the command line has read.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::suppressions::parse_source;
use super::{Admin, Failure, Replies, Reply, row};
use crate::clock;
use crate::ingest::{Imports, Refused};
use crate::model::trust::believed;
use crate::model::{Element, Origin, SourceName, Submission, Time, Until};
use crate::provider::{IMPORT, Imported};
use crate::rules::Rules;

/// An import waits while the store has so many bytes to catch up with: intake must not be full of
/// it, and refuse webhooks.
const LAG_BYTES_MAX: u64 = 256 << 20;
/// Longest wait before it is looked again.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Admin {
    /// The source that rows are attributed to. One of which nobody has heard is a typo, unless it
    /// is said to be new.
    pub(super) fn import_source(
        &self,
        named: Option<&str>,
        is_new: bool,
    ) -> Result<SourceName, Failure> {
        let source = named.map_or_else(|| Ok(SourceName::import()), parse_source)?;
        if source == SourceName::operator() {
            return Err(Failure::usage("a file is no operator: name another source"));
        }
        if named.is_none() || is_new {
            return Ok(source);
        }
        self.check_sources(std::slice::from_ref(&source)).map_err(|failure| Failure {
            error: format!("{}; --new-source takes it all the same", failure.error),
            ..failure
        })?;
        Ok(source)
    }

    pub(super) async fn import(
        &self,
        source: SourceName,
        rows: Vec<Imported>,
        apply: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        let before = self.ingest.imports(&source);
        let now = clock::receipt();
        let taken = rows.len();
        let mut judged = Judged::default();
        let element = |row| element(row, &self.rules, now, &mut judged);
        let elements = rows.into_iter().map(element).collect::<Result<Vec<Element>, Failure>>()?;
        let is_configured = self.sources.iter().any(|known| known.name == source);
        if taken > 0 {
            self.take(source.clone(), elements, now, to).await?;
        }
        if apply {
            self.until_applied(to).await?;
        }
        let sums = |of: Imports| json!({ "new": of.new, "known": of.known, "lifted": of.lifted });
        let answer = json!({
            "taken": taken,
            "ended": judged.ended,
            "shortened": judged.shortened,
            "configured": is_configured,
            "before": sums(before),
            "after": sums(self.ingest.imports(&source)),
        });
        row(to, answer).await
    }

    /// Hands rows in as soon as there is room for them.
    async fn take(
        &self,
        source: SourceName,
        elements: Vec<Element>,
        received_at: Time,
        to: &Replies,
    ) -> Result<(), Failure> {
        let submission = Submission {
            source,
            provider: IMPORT.into(),
            origin: Origin::Import,
            feed: "".into(),
            received_at,
            elements,
            cursor: None,
            released: Vec::new(),
        };
        let mut progress = self.ingest.progress();
        loop {
            if self.ingest.lag_bytes() <= LAG_BYTES_MAX {
                match self.ingest.submit(&submission).await {
                    Ok(_) => return Ok(()),
                    Err(Refused::Full { .. }) => {}
                    Err(refused) => return Err(refused.into()),
                }
            }
            // Also how it is noticed that nobody waits for it any more.
            tell(to, "waiting for the store", None).await?;
            let _ = timeout(LOOK_EVERY, progress.changed()).await;
        }
    }

    /// Waits until the store has applied what is durable now.
    async fn until_applied(&self, to: &Replies) -> Result<(), Failure> {
        let end = self.ingest.committed();
        let all = self.ingest.lag_bytes().max(1);
        let mut progress = self.ingest.progress();
        while *progress.borrow_and_update() < end {
            let left = self.ingest.lag_bytes().min(all);
            tell(to, "applying", Some(1.0 - left as f64 / all as f64)).await?;
            if let Ok(Err(_)) = timeout(LOOK_EVERY, progress.changed()).await {
                return Err(Failure::failed("suppressd is stopping; what it took is durable"));
            }
        }
        Ok(())
    }
}

async fn tell(to: &Replies, what: &str, part: Option<f64>) -> Result<(), Failure> {
    let what = what.to_owned();
    let reply = Reply::Progress { what, pages: 0, rows: 0, part, wait: None };
    to.send(reply).await.map_err(super::unheard)
}

/// What the rules make of rows, whatever else is known of their addresses.
#[derive(Default)]
struct Judged {
    /// Rows that suppress nobody: by the rules they have ended.
    ended: u64,
    /// Rows that end sooner than they say.
    shortened: u64,
}

/// The element of a row. Where the rules end a suppression after its last fact, that fact is found
/// from the end: so it comes back as it was, unless they have it end sooner.
fn element(
    mut row: Imported,
    rules: &Rules,
    now: Time,
    judged: &mut Judged,
) -> Result<Element, Failure> {
    let read = row.understood().map_err(Failure::usage)?;
    let mut at = believed(read.since.unwrap_or(now), now);
    if let (Some(since), Some(until)) = (read.since, read.until) {
        let last = rules.last_fact(read.reason, until).map(|last| last.min(now));
        let last = last.filter(|last| last.nanos() > since.nanos());
        at = last.unwrap_or(at);
        row.last = last.map(|last| last.to_string());
    }
    let said = read.until.map_or(Until::Forever, Until::At);
    let end = rules.end(read.reason, at, said);
    judged.ended += u64::from(!end.holds_at(now));
    judged.shortened += u64::from(read.until.is_some() && end != said && end.holds_at(now));
    Ok(row.element())
}
