//! A stretch of the journal that was received by a clock that was behind.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Position, Time};

/// What is known once such a clock is right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// No record before this was received by it. The record that tells of it ends the stretch.
    pub from: Position,
    /// What the clock showed when it fell behind.
    pub since: Time,
    /// What it showed when it was set right.
    pub until: Time,
    /// By how much it was behind.
    pub by: Duration,
}

impl Behind {
    /// Whether the clock showed this while it was behind.
    pub fn covers(&self, time: Time) -> bool {
        self.since <= time && time <= self.until
    }

    /// What the clock should have shown.
    pub fn right(&self, time: Time) -> Time {
        if self.covers(time) { time.plus(self.by) } else { time }
    }
}
