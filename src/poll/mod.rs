//! Polling: asking the providers for what the webhooks missed.
//!
//! `schedule` is pure and says when; `runner` asks and commits; it alone knows the cursor's
//! notation.

use std::time::Duration;

use crate::model::SourceName;
use crate::provider::{Provider, Settings as ProviderSettings};

/// When a source is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Every {
    /// At this interval.
    Interval(Duration),
    /// By a cron expression with seconds, in UTC.
    Cron(String),
}

/// One source's `poll` table.
#[derive(Clone)]
pub struct Settings {
    /// The source.
    pub source: SourceName,
    /// Its provider.
    pub provider: &'static dyn Provider,
    /// The provider's own settings.
    pub settings: ProviderSettings,
    /// The feeds to ask, some of the provider's.
    pub feeds: Vec<String>,
    /// When.
    pub every: Every,
    /// Read again behind the cursor.
    pub overlap: Duration,
    /// How far the first poll reaches.
    pub backfill: Duration,
    /// Whether the source also has a webhook: what only the poll sees was then missed by it.
    pub has_webhook: bool,
}
