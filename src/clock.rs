//! The only reader of the wall clock, and what notices that it was set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::{Time, trust};

/// The present instant, to the nanosecond. A clock before 1970 or beyond 2262 reads as an end.
pub fn now() -> Time {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX), 9)
}

/// The latest instant at which another host of the fleet was told something, or this one behind
/// that, in nanoseconds.
static HEARD: AtomicI64 = AtomicI64::new(i64::MIN);

/// The instant for what this host is told now: the present one, but behind all that was heard of
/// other hosts, whose clocks may be ahead by as much as a provider's. So what is told after a lift
/// is dated after it, on whichever hosts, this one too.
pub fn receipt() -> Time {
    let now = now();
    let behind = |heard: i64| {
        let heard = Time::from_nanos(heard, 9);
        (heard >= now && !trust::is_ahead(heard, now)).then(|| heard.just_after().nanos())
    };
    let heard = HEARD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, behind);
    heard.map_or(now, |heard| Time::from_nanos(heard, 9).just_after())
}

/// The latest instant that anything known here may be dated at.
pub fn latest() -> Time {
    let (now, heard) = (now(), Time::from_nanos(HEARD.load(Ordering::Relaxed), 9));
    if heard < now || trust::is_ahead(heard, now) { now } else { heard }
}

/// Notes when another host was told something that is known here by now.
pub fn hear(told: Time) {
    if !trust::is_ahead(told, now()) {
        HEARD.fetch_max(told.nanos(), Ordering::Relaxed);
    }
}

/// Whether what is told after a restart could be dated before that, if that was not noted.
pub fn outlasts_a_start(told: Time) -> bool {
    let now = now();
    told > now.plus(START_MIN) && !trust::is_ahead(told, now)
}

/// No start takes less time than this.
const START_MIN: Duration = Duration::from_millis(10);

/// A clock that is off by less than this is only being adjusted.
pub const STEP_MIN: Duration = Duration::from_secs(5);

/// How the wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It went ahead by so much more than time passed.
    Ahead(Duration),
    /// It went back by so much.
    Back(Duration),
}

/// Notices when the wall clock is set: it goes another way then than the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    wall: Time,
    monotonic: Instant,
}

impl Steps {
    /// Looks from now on: at this time of the wall clock, and this instant of the monotonic one.
    pub fn new(wall: Time, monotonic: Instant) -> Steps {
        Steps { wall, monotonic }
    }

    /// How the wall clock was set since the last look, if it was.
    pub fn look(&mut self, wall: Time, monotonic: Instant) -> Option<Step> {
        let expected = self.wall.plus(monotonic.saturating_duration_since(self.monotonic));
        *self = Steps { wall, monotonic };
        let (ahead, back) = (wall.since(expected), expected.since(wall));
        match () {
            () if ahead >= STEP_MIN => Some(Step::Ahead(ahead)),
            () if back >= STEP_MIN => Some(Step::Back(back)),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_follows_what_was_heard_and_what_was_told() {
        let heard = now().plus(Duration::from_millis(500));
        hear(heard);
        let (one, other) = (receipt(), receipt());
        assert!(heard < one && one < other, "{heard} {one} {other}");
    }

    #[test]
    fn a_step_is_told_from_time_that_passes() {
        let (wall, start) = (Time::from_seconds(1_000_000), Instant::now());
        let mut steps = Steps::new(wall, start);
        let seconds = Duration::from_secs;
        for (case, passed, shown, step) in [
            ("time passes", 10, 10, None),
            ("it is adjusted", 20, 24, None),
            ("it went ahead", 30, 7_234, Some(Step::Ahead(seconds(7_200)))),
            ("time passes", 40, 7_244, None),
            ("it is right again", 50, 50, Some(Step::Back(seconds(7_204)))),
            ("it went back", 60, 0, Some(Step::Back(seconds(60)))),
        ] {
            let found = steps.look(wall.plus(seconds(shown)), start + seconds(passed));
            assert_eq!(found, step, "{case}");
        }
    }
}
