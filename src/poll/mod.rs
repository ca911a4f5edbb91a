//! Polling: asking the providers for what the webhooks missed.
//!
//! `schedule` is pure and says when; `trigger` ticks; `runner` has a task per source, which looks
//! whether it is due; `run` asks and commits, page by page; `cursor` has the stored notation, which
//! nothing else reads. `listing` reads a provider's own list in whole, for those who compare.

mod ask;
mod budget;
mod caller;
#[cfg(test)]
mod capped;
mod cursor;
mod keep;
mod listing;
mod outbox;
mod outside;
mod pages;
mod plan;
mod problem;
mod run;
mod runner;
pub mod schedule;
mod seam;
mod shown;
mod slices;
#[cfg(test)]
mod stage;
mod sweep;
mod trigger;
mod window;

use std::time::Duration;

use serde::Serialize;

pub use cursor::{Mark, MarkError, Open};
pub use runner::{Polls, start};
pub use trigger::{TriggerError, check_cron};

use crate::model::{Reason, SourceName};
use crate::provider::{Adapter, Feed, Settings as ProviderSettings};

/// When a source is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Every {
    /// At this interval.
    Interval(Duration),
    /// At an interval that follows what the runs find.
    Adaptive(Bounds),
    /// By a cron expression with seconds, in UTC.
    Cron(String),
}

/// Between what an interval adapts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// One source's `poll` table.
#[derive(Clone)]
pub struct Settings {
    /// The source.
    pub source: SourceName,
    /// Its provider.
    pub provider: Adapter,
    /// The provider's own settings.
    pub settings: ProviderSettings,
    /// The feeds to ask, some of the provider's.
    pub feeds: Vec<Feed>,
    /// When.
    pub every: Every,
    /// Read again behind the cursor. `None`: as each feed says.
    pub overlap: Option<Duration>,
    /// How far the first poll reaches.
    pub backfill: Duration,
    /// How often a feed that can only be read in whole is read.
    pub scan: Duration,
    /// Whether what has gone from a list of the provider is to be lifted.
    pub trust_removals: bool,
    /// What is pushed to the provider's own list. `None`: nothing.
    pub push: Option<PushSettings>,
    /// Whether the source also has a webhook: what only the poll sees was then missed by it.
    pub has_webhook: bool,
}

/// One source's `push` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSettings {
    /// Suppressions of these reasons are pushed.
    pub reasons: Vec<Reason>,
    /// The settings of the API, with those that pushing alone needs.
    pub settings: ProviderSettings,
}

/// How a source's pushing stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PushStatus {
    /// Addresses that are to be put on the provider's list, or taken off it.
    pub waiting: u64,
    /// Addresses that we have put there.
    pub pushed: u64,
    /// Addresses that the provider has refused.
    pub refused: u64,
    /// Why it does not go on at present.
    pub error: Option<String>,
}

/// How far an operator's run has come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// The source.
    pub source: String,
    /// Pages committed so far.
    pub pages: u64,
    /// Rows in them.
    pub rows: u64,
    /// The part of the window that is read, 0 to 1, where it is known.
    pub part: Option<f64>,
    /// How long the provider has told us to wait, in seconds, if it does now.
    pub wait: Option<u64>,
}

/// What came of an operator's run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The source.
    pub source: String,
    /// The feeds that were asked.
    pub feeds: Vec<String>,
    /// Pages committed.
    pub pages: u64,
    /// Rows in them.
    pub rows: u64,
    /// Events that nothing had told before; `None` when the store could not say.
    pub new: Option<u64>,
    /// How long it took, in seconds.
    pub took: f64,
    /// Why it ended early. What was read before is kept.
    pub error: Option<String>,
}

/// How a source's polling stands. Times are RFC 3339, to the second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The source.
    pub source: String,
    /// `idle`, `running`, `backing off` or `stopped: authentication`.
    pub state: &'static str,
    /// When the last run started.
    pub last_start: Option<String>,
    /// When the last run without an error ended.
    pub last_success: Option<String>,
    /// How far the least complete feed is behind the present, in seconds; `None` while one has
    /// never been complete.
    pub lag_seconds: Option<u64>,
    /// How many runs have failed since one succeeded.
    pub failures: u32,
    /// What the last failure was, until a run succeeds.
    pub last_error: Option<String>,
    /// When it runs next; `None` while only a cron expression or an operator can say.
    pub next_due: Option<String>,
    /// The longest time that its schedule leaves between two runs.
    #[serde(skip)]
    pub interval: Duration,
    /// Whether its list is pushed to.
    #[serde(skip)]
    pub pushes: bool,
    /// How its pushing stands; `None` where nothing is pushed, and until that is known.
    pub push: Option<PushStatus>,
}

/// Why an operator's run did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// There is no such source, or it has no `poll` table.
    #[error("there is no source {0:?} that is polled")]
    NotPolled(String),
    /// It is polled, but for no list.
    #[error(
        "the source {0:?} is polled for no suppression list: its provider has none that can \
             be read, or `feeds` leaves it out"
    )]
    NoList(String),
    /// No source has a `poll` table.
    #[error("no source is polled; add `poll` to one")]
    NothingPolled,
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
}
