//! A stretch of the journal that was received by a clock that was wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Position, Time};

/// What is known once such a clock is right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// No record before this was received by it. The record that tells of it ends the stretch.
    /// The least of all positions, if only its times are known.
    pub from: Position,
    /// The least that the clock showed meanwhile.
    pub since: Time,
    /// The most that it showed.
    pub until: Time,
    /// By how much it was wrong.
    pub by: Duration,
    /// It was ahead; else it was behind.
    pub was_ahead: bool,
}

impl Stretch {
    /// One of a clock that was ahead, of which nobody saw the beginning.
    pub fn found(since: Time, until: Time, by: Duration) -> Stretch {
        Stretch { from: Position::default(), since, until, by, was_ahead: true }
    }

    /// Whether nobody saw where it begins, so that the clock may as well have been right.
    pub fn is_found(&self) -> bool {
        self.from == Position::default()
    }

    /// Whether the clock showed this while it was wrong.
    pub fn covers(&self, time: Time) -> bool {
        self.since <= time && time <= self.until
    }

    /// How a time is dated that the clock showed: later, if it was behind. What was dated too late
    /// stays so, since nothing that is merged is taken back: terms only last for longer by it.
    pub fn redate(&self, time: Time) -> Time {
        if self.covers(time) && !self.was_ahead { time.plus(self.by) } else { time }
    }
}
