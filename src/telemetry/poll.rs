//! What polling tells operators.

use std::time::Duration;

use metrics::{counter, gauge};
use tracing::{Level, debug, error, info, warn};

use super::fold;
use crate::model::{SourceName, Time};
use crate::units::show_duration;

/// A run has started.
pub fn run_started(source: &SourceName) {
    debug!(%source, "poll started");
}

/// The provider has told us to wait within a run.
pub fn told_to_wait(source: &SourceName, wait: Duration) {
    const MESSAGE: &str = "the provider told us to wait; the poll goes on then";
    if fold::first(Level::INFO, MESSAGE, source.as_str(), "") {
        info!(%source, wait = %show_duration(wait), "{MESSAGE}");
    }
}

/// A window that an earlier run left unfinished is read on.
pub fn resumed(source: &SourceName, feed: &str, pages: u64) {
    info!(%source, feed, pages, "poll resumed where it was interrupted");
}

/// The provider no longer knows the page at which a window was left: it is read from its start.
pub fn started_over(source: &SourceName, feed: &str) {
    info!(%source, feed, "the interrupted poll's page is gone; reading its window again");
}

/// A key was refused, and another of the source's is good.
pub fn key_changed(source: &SourceName, key: usize) {
    info!(%source, key, "the provider refused a key; going on with another of the list");
}

/// A feed's cursor cannot be read: the feed is read again from its backfill on.
pub fn cursor_unreadable(source: &SourceName, feed: &str) {
    warn!(%source, feed, "the stored cursor cannot be read; polling again from the backfill on");
}

/// A feed's mark lies ahead of the present: the clock was wrong when it was made, or is now.
pub fn mark_void(source: &SourceName, feed: &str, since: Option<Time>) {
    let since = since.map(|time| time.floor_second().to_string());
    error!(
        %source, feed, since = since.as_deref().unwrap_or("as far back as the first poll goes"),
        hint = "see that the host's clock is right, and is set before suppressd starts",
        "how far this feed was read lies in the future, so the clock was wrong: reading it again"
    );
}

/// What was not read in time is older than what the provider still shows.
pub fn beyond_reach(source: &SourceName, feed: &str, lost: Duration) {
    let span = show_duration(Duration::from_secs(lost.as_secs()));
    warn!(
        %source, feed, span,
        hint = "poll more often than the provider forgets",
        "events of this span are no longer shown by the provider"
    );
}

/// A second has more rows than the API lists.
pub fn too_full(source: &SourceName, feed: &str, at: Time) {
    const MESSAGE: &str =
        "this second has more rows than the provider lists; some of them cannot be read";
    if fold::first(Level::ERROR, MESSAGE, source.as_str(), feed) {
        error!(%source, feed, second = %at.floor_second(), "{MESSAGE}");
    }
}

/// The provider lists a message whose details it has forgotten.
pub fn detail_gone(source: &SourceName, feed: &str, status: u16) {
    const MESSAGE: &str = "a listed message has no details any more; nothing is read of it";
    if fold::first(Level::WARN, MESSAGE, source.as_str(), feed) {
        warn!(%source, feed, status, "{MESSAGE}");
    }
}

/// A page is committed.
pub fn page_read(source: &SourceName, rows: u64) {
    counter!("suppressd_poll_pages_total", "source" => source.to_string()).increment(1);
    counter!("suppressd_poll_rows_total", "source" => source.to_string()).increment(rows);
}

/// A feed has been read up to the present.
pub fn feed_finished(source: &SourceName, feed: &str, pages: u64, rows: u64, took: Duration) {
    info!(%source, feed, pages, rows, seconds = took.as_secs_f64(), "poll finished");
}

/// A run has succeeded.
pub fn run_succeeded(source: &SourceName) {
    outcome(source, "success");
}

/// A run has failed, and the next is due in `retry_in`.
pub fn run_failed(source: &SourceName, feed: &str, problem: &str, retry_in: Option<Duration>) {
    outcome(source, "failure");
    let retry_in = retry_in.map(|span| show_duration(Duration::from_secs(span.as_secs())));
    let retry_in = retry_in.as_deref().unwrap_or("the next call");
    const MESSAGE: &str = "poll failed";
    if fold::first(Level::WARN, MESSAGE, source.as_str(), problem) {
        warn!(%source, feed, error = problem, retry_in, "{MESSAGE}");
    }
}

/// The provider refuses our credentials: the source is not polled until an operator acts.
pub fn authentication_failed(source: &SourceName, feed: &str, problem: &str) {
    outcome(source, "authentication");
    error!(
        %source, feed, error = problem,
        hint = "renew the credential in the source's `poll` table and restart, \
                or run `suppressd poll` with this source's name",
        "polling stopped: the provider refuses the credentials"
    );
}

/// A run was ended by the daemon's stop or by the operator who asked for it.
pub fn run_ended_early(source: &SourceName, feed: &str, why: &str) {
    outcome(source, "interrupted");
    debug!(%source, feed, why, "poll interrupted");
}

/// Rows have gone from a provider's list, and what they said is lifted.
pub fn removals(source: &SourceName, feed: &str, rows: u64) {
    info!(%source, feed, rows, "rows are gone from the provider's list; they are lifted");
    counter!("suppressd_poll_removals_total", "source" => source.to_string()).increment(rows);
}

/// Rows that had gone from a provider's list are on it again, and stand again.
pub fn returned(source: &SourceName, feed: &str, rows: u64) {
    info!(%source, feed, rows, "rows are back on the provider's list; they stand again");
}

/// Nothing is on a list of which we know rows.
pub fn list_empty(source: &SourceName, feed: &str, apart: Duration) {
    let seconds = apart.as_secs();
    warn!(%source, feed, seconds, "nothing is on the provider's list any more; it is read again");
}

/// What has gone from a provider's list is not believed.
pub fn removals_refused(source: &SourceName, feed: &str, why: &str) {
    error!(%source, feed, why, "what is gone from the provider's list is not believed");
}

/// How the polling of a source stands.
#[derive(Clone, Copy, Debug)]
pub struct Stand {
    /// When it last succeeded, if it ever did.
    pub last_success: Option<Time>,
    /// The longest time from one poll to the next.
    pub interval: Duration,
    /// How far the least complete feed is behind.
    pub lag: Duration,
    /// Whether the credentials are refused.
    pub stopped: bool,
    /// How often it has failed since it succeeded.
    pub failures: u32,
}

/// A source is polled, and stands so.
pub fn stands(source: &str, stand: &Stand) {
    let label = || source.to_owned();
    for outcome in ["success", "failure", "authentication", "interrupted"] {
        counter!("suppressd_poll_runs_total", "source" => label(), "outcome" => outcome)
            .increment(0);
    }
    for name in
        ["suppressd_poll_pages_total", "suppressd_poll_rows_total", "suppressd_poll_removals_total"]
    {
        counter!(name, "source" => label()).increment(0);
    }
    for (name, value) in [
        // Unix seconds are far below 2^52, so the number is exact.
        ("suppressd_poll_last_success_timestamp_seconds", {
            stand.last_success.map_or(0, Time::second) as f64
        }),
        ("suppressd_poll_interval_seconds", stand.interval.as_secs_f64()),
        ("suppressd_poll_lag_seconds", stand.lag.as_secs_f64()),
        ("suppressd_poll_stopped", f64::from(u8::from(stand.stopped))),
        ("suppressd_poll_failures", f64::from(stand.failures)),
    ] {
        gauge!(name, "source" => label()).set(value);
    }
}

fn outcome(source: &SourceName, outcome: &'static str) {
    counter!("suppressd_poll_runs_total", "source" => source.to_string(), "outcome" => outcome)
        .increment(1);
}
