//! When a source is to be polled next. Pure: the instant and the chance are arguments.
//!
//! A daemon that was down has missed runs, and the cursor knows how far they reach: so every source
//! is due right after the start, whatever its schedule says.

use std::time::{Duration, Instant};

use super::{Bounds, Every};

/// Within this time after the start every source is polled once.
pub const START_WITHIN: Duration = Duration::from_secs(2);

/// The part of an interval by which a run may be late, so that many hosts do not ask at once.
pub const JITTER_PART: f64 = 0.1;

/// Most that a run is late for that reason.
pub const JITTER_MAX: Duration = Duration::from_secs(30);

/// Longest wait after the first failure; each further one doubles it.
pub const BACKOFF_BASE: Duration = Duration::from_secs(5);

/// Longest wait after any number of failures.
pub const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);

/// Shortest interval.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// What the schedule knows of a source's past, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// When the last run started.
    pub last_start: Option<Instant>,
    /// When its cron expression last called, if no run has started since.
    pub called: Option<Instant>,
    /// How many runs have failed since one succeeded.
    pub failures: u32,
    /// The provider does not want to be asked before.
    pub not_before: Option<Instant>,
    /// The present interval, where it adapts itself.
    pub interval: Duration,
    /// The provider refuses our credentials: only an operator starts the next run.
    pub refused: bool,
}

/// When to run next; `None`: not before something is called for. `random` is in `[0, 1)`.
pub fn next_due(every: &Every, history: &History, now: Instant, random: f64) -> Option<Instant> {
    if history.refused {
        return None;
    }
    let due = match (history.last_start, every) {
        (None, _) => Some(now + START_WITHIN.mul_f64(random)),
        (Some(_), _) if history.failures > 0 => Some(now + backoff(history.failures, random)),
        (Some(start), Every::Interval(_) | Every::Adaptive(_)) => {
            let span = match every {
                Every::Interval(span) => *span,
                _ => history.interval,
            };
            let span = span.max(INTERVAL_MIN);
            let jitter = span.mul_f64(JITTER_PART).min(JITTER_MAX).mul_f64(random);
            Some((start + span + jitter).max(now))
        }
        (Some(_), Every::Cron(_)) => history.called.map(|_| now),
    };
    due.map(|due| history.not_before.map_or(due, |earliest| due.max(earliest)))
}

/// What a finished run shows of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// Whether the run came after a failure, or after a time without runs.
    pub after_gap: bool,
    /// Whether it found what nothing had told before.
    pub found: bool,
    /// How long ago the last webhook came; `None` for a source without any.
    pub webhook_age: Option<Duration>,
}

/// The next interval of a source that adapts: the shortest after a gap, when webhooks have missed
/// something, or when none has come for as long as the longest interval; else twice the present.
/// Without webhooks everything comes by polling: what finds something is asked again sooner.
pub fn adapt(bounds: &Bounds, present: Duration, signs: &Signs) -> Duration {
    let silent = signs.webhook_age.is_some_and(|age| age > bounds.max);
    if signs.after_gap || signs.found || silent {
        return bounds.min;
    }
    present.saturating_mul(2).clamp(bounds.min, bounds.max)
}

/// Full jitter: anything from at once to the cap, which doubles with each failure.
pub fn backoff(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    BACKOFF_BASE.saturating_mul(1 << doublings).min(BACKOFF_MAX).mul_f64(random)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTES_5: Duration = Duration::from_secs(300);

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_interval_follows_what_a_run_finds() {
        let bounds = Bounds { min: secs(60.0), max: secs(900.0) };
        let calm = Signs { after_gap: false, found: false, webhook_age: Some(secs(10.0)) };
        for (present, signs, next) in [
            (60.0, calm, 120.0),
            (120.0, calm, 240.0),
            (800.0, calm, 900.0),
            (900.0, Signs { found: true, ..calm }, 60.0),
            (900.0, Signs { after_gap: true, ..calm }, 60.0),
            (900.0, Signs { webhook_age: Some(secs(901.0)), ..calm }, 60.0),
            (300.0, Signs { webhook_age: None, ..calm }, 600.0),
            (0.0, calm, 60.0),
        ] {
            assert_eq!(adapt(&bounds, secs(present), &signs), secs(next), "{present} {signs:?}");
        }
    }

    #[test]
    fn the_next_run_is_where_the_past_puts_it() {
        let base = Instant::now();
        let at = |seconds: u64| base + Duration::from_secs(seconds);
        let five = || Every::Interval(MINUTES_5);
        let hours = || Every::Interval(Duration::from_secs(7_200));
        let cron = || Every::Cron("0 0 * * * *".to_owned());
        let ran = History { last_start: Some(at(0)), ..History::default() };
        let failed = |failures| History { failures, ..ran };
        for (case, every, history, now, random, due) in [
            ("catch-up", five(), History::default(), 0, 0.5, Some(1.0)),
            ("catch-up by cron", cron(), History::default(), 0, 0.0, Some(0.0)),
            ("an interval", five(), ran, 10, 0.0, Some(300.0)),
            ("with jitter", five(), ran, 10, 0.5, Some(315.0)),
            ("jitter is capped", hours(), ran, 10, 0.5, Some(7_215.0)),
            ("a long run", five(), ran, 900, 0.0, Some(900.0)),
            ("cron waits", cron(), ran, 900, 0.5, None),
            ("cron calls", cron(), History { called: Some(at(5)), ..ran }, 5, 0.5, Some(5.0)),
            ("one failure", five(), failed(1), 100, 0.5, Some(102.5)),
            ("three failures", five(), failed(3), 100, 0.5, Some(110.0)),
            ("many failures", five(), failed(u32::MAX), 100, 0.5, Some(550.0)),
            ("cron after a failure", cron(), failed(1), 100, 0.5, Some(102.5)),
            ("refused", five(), History { refused: true, ..failed(1) }, 100, 0.5, None),
            (
                "told to wait",
                five(),
                History { not_before: Some(at(999)), ..failed(1) },
                100,
                0.5,
                Some(999.0),
            ),
        ] {
            let expected = due.map(|seconds| base + secs(seconds));
            assert_eq!(next_due(&every, &history, at(now), random), expected, "{case}");
        }
    }

    proptest! {
        #[test]
        fn never_too_early_and_never_too_late(
            interval in 0_u64..100_000,
            by_cron: bool,
            started in proptest::option::of(0_u64..100_000),
            called in proptest::option::of(0_u64..100_000),
            failures in 0_u32..200,
            wait in proptest::option::of(0_u64..3_600),
            later in 0_u64..100_000,
            random in 0.0..1.0_f64,
        ) {
            let base = Instant::now();
            let at = |seconds: u64| base + Duration::from_secs(seconds);
            let now = at(100_000 + later);
            let not_before = wait.map(|seconds| now + Duration::from_secs(seconds));
            let interval = Duration::from_secs(interval);
            let cron = Every::Cron(String::new());
            let every = if by_cron { cron } else { Every::Interval(interval) };
            let history = History {
                last_start: started.map(at),
                called: called.map(at),
                failures,
                not_before,
                interval,
                refused: false,
            };
            let due = next_due(&every, &history, now, random);
            if let Some(due) = due {
                prop_assert!(due >= now);
                prop_assert!(not_before.is_none_or(|earliest| due >= earliest));
                let latest = (now + BACKOFF_MAX).max(now + interval + JITTER_MAX);
                prop_assert!(due <= not_before.map_or(latest, |earliest| latest.max(earliest)));
            }
            let calm = by_cron && started.is_some() && called.is_none() && failures == 0;
            prop_assert_eq!(due.is_none(), calm);
            let refused = History { refused: true, ..history };
            prop_assert_eq!(next_due(&every, &refused, now, random), None);
        }
    }
}
