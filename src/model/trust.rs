//! Which times are believed: the one place that judges them.
//!
//! Clocks differ by seconds, and a bad one by minutes. What is further ahead is nobody's clock but
//! a mistake, theirs or ours: it must not put a fact where no lift reaches it, nor a mark where
//! what comes before it is never asked for.

use std::time::Duration;

use super::Time;

/// How far two clocks may differ that are both believed.
pub const SKEW: Duration = Duration::from_secs(5 * 60);

/// A provider's time of an event, or ours where theirs is too far ahead of it.
pub fn believed(told: Time, received: Time) -> Time {
    if is_ahead(told, received) { received } else { told }
}

/// Whether a time is so far ahead of another that no believed clock explains it.
pub fn is_ahead(time: Time, other: Time) -> bool {
    time.nanos() > other.plus(SKEW).nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_believed_and_hours_are_not() {
        let now = Time::from_seconds(1_000_000);
        for (seconds, is_believed) in [(-400_000, true), (0, true), (300, true), (301, false)] {
            let told = Time::from_seconds(1_000_000 + seconds);
            assert_eq!(believed(told, now), if is_believed { told } else { now }, "{seconds}");
        }
    }
}
