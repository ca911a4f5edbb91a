//! What a source's task shows of itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::schedule::History;
use super::{PushStatus, Status};
use crate::model::{SourceName, Time, trust};

/// What a task shows.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) running: bool,
    /// Another host polls it.
    pub(super) elsewhere: bool,
    pub(super) history: History,
    pub(super) last_start: Option<Time>,
    pub(super) last_success: Option<Time>,
    pub(super) last_error: Option<String>,
    pub(super) next_due: Option<Time>,
    pub(super) complete: BTreeMap<String, Option<Time>>,
    pub(super) push: Option<PushStatus>,
}

impl Sheet {
    /// How the source stands.
    pub(super) fn status(&self, source: &SourceName, now: Time) -> Status {
        let state = match () {
            () if self.running => "running",
            () if self.elsewhere => "polled elsewhere",
            () if self.history.refused => "stopped: authentication",
            () if self.history.failures > 0 => "backing off",
            () => "idle",
        };
        Status {
            source: source.to_string(),
            state,
            last_start: self.last_start.map(|time| time.floor_second().to_string()),
            last_success: self.last_success.map(|time| time.floor_second().to_string()),
            lag_seconds: self.lag(now).map(|lag| lag.as_secs()),
            failures: self.history.failures,
            last_error: self.last_error.clone(),
            next_due: self.next_due.map(|time| time.floor_second().to_string()),
            push: self.push.clone(),
            interval: Duration::ZERO,
            pushes: false,
        }
    }

    /// How far the least complete feed is behind; `None` while one has never been complete, or is
    /// so only by a clock that was wrong.
    pub(super) fn lag(&self, now: Time) -> Option<Duration> {
        let complete: Option<Vec<Time>> = self.complete.values().copied().collect();
        let complete = complete?;
        let is_void = complete.iter().any(|until| trust::is_ahead(*until, now));
        complete.into_iter().min().filter(|_| !is_void).map(|until| now.since(until))
    }
}

/// A sheet is whole after every change, so one that a panic left locked is still good.
pub(super) fn open(sheet: &Mutex<Sheet>) -> MutexGuard<'_, Sheet> {
    sheet.lock().unwrap_or_else(PoisonError::into_inner)
}
