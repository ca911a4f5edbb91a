//! When an export is due: at a change, at the end of a suppression, after a failure.
//!
//! Keeps the least interval between writings, and the waits after failures. Writes nothing.

use std::time::Duration;

use tokio::time::Instant;

use crate::ends::Ends;
use crate::model::Time;

/// Wait after a failure; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Wait for a store that is being opened, if no change comes before.
const READY_WAIT: Duration = Duration::from_secs(1);

/// After a writing of many changes comes a rest, of so many times what it took, and no longer than
/// this: under a storm what is written at once then is more, and costs less.
const REST: u32 = 3;
const REST_MAX: Duration = Duration::from_millis(200);

/// Changes that are many.
pub(super) const MANY: usize = 64;

/// Longest sleep towards an end, so that a wall clock that was set is noticed.
pub(super) const LOOK_MAX: Duration = Duration::from_secs(10);

/// A failure that is being retried.
#[derive(Default)]
pub(super) struct Retry {
    error: Option<String>,
    wait: Duration,
}

impl Retry {
    /// Notes a failure; gives the wait, and whether it is another failure than the last.
    pub(super) fn again(&mut self, error: String) -> (Duration, bool) {
        let first = self.error.as_ref() != Some(&error);
        self.error = Some(error);
        self.wait = (self.wait * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        (self.wait, first)
    }

    /// The last failure, if nothing has succeeded since.
    pub(super) fn error(&self) -> Option<&String> {
        self.error.as_ref()
    }
}

/// When to write next.
pub(super) struct Due {
    /// When, if something is to be written.
    at: Option<Instant>,
    /// Before this, no change is written.
    free: Instant,
    /// The least time from one writing to the next.
    interval: Duration,
    failure: Retry,
    /// When the next suppressions end.
    ends: Ends,
    /// Whether all of it is due.
    whole: bool,
}

impl Due {
    /// At once.
    pub(super) fn now(interval: Duration) -> Due {
        let now = Instant::now();
        let (failure, ends) = (Retry::default(), Ends::default());
        Due { at: Some(now), free: now, interval, failure, ends, whole: false }
    }

    /// When something is to be written, if anything is.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Whether something is to be written, now or later.
    pub(super) fn is_pending(&self) -> bool {
        self.at.is_some()
    }

    /// Why the last writing has failed, if it has.
    pub(super) fn error(&self) -> Option<&String> {
        self.failure.error()
    }

    /// When to look again.
    pub(super) fn wake(&self, now: Time) -> Instant {
        let far = Instant::now() + LOOK_MAX;
        let end = |end: Time| Instant::now() + end.since(now).min(LOOK_MAX);
        self.at.or_else(|| self.ends.next().map(end)).unwrap_or(far)
    }

    /// Notes ends that have come; says whether to write.
    pub(super) fn has_come(&mut self, now: Time) -> bool {
        let ended = self.ends.next().is_some_and(|end| end.nanos() <= now.nanos());
        if self.at.is_none() && ended {
            self.at = Some(self.free.max(Instant::now()));
        }
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// Something has changed. While the file cannot be written, its retry is due, and no change
    /// hastens that.
    pub(super) fn changed(&mut self) {
        if self.failure.error().is_none() {
            let soon = self.free.max(Instant::now());
            self.at = Some(self.at.map_or(soon, |at| at.min(soon)));
        }
    }

    /// Somebody else has written or removed the file: all of it is due.
    pub(super) fn is_foreign(&mut self) {
        self.whole = true;
        self.changed();
    }

    /// The wall clock was set: what has ended by the old one may be live by the new one, so all of
    /// it is due.
    pub(super) fn clock_stepped(&mut self) {
        self.whole = true;
        self.changed();
    }

    /// Takes whether all of it is to be written, not only what has changed.
    pub(super) fn take_whole(&mut self) -> bool {
        std::mem::take(&mut self.whole)
    }

    /// Takes the addresses whose ends have come. `None`: there may be more than are known.
    pub(super) fn take_ended(&mut self, now: Time) -> Option<Vec<Box<str>>> {
        self.ends.take_due(now)
    }

    /// A writing has ended, whatever came of it, that began at an instant and was of many changes.
    pub(super) fn tried(&mut self, begun: Instant, many: bool) {
        let rest = if many { (REST * begun.elapsed()).min(REST_MAX) } else { Duration::ZERO };
        self.free = Instant::now() + self.interval.max(rest);
    }

    /// The file is current; these ends were found, of all suppressions or of those that changed.
    pub(super) fn current(&mut self, found: Ends, partial: bool) {
        if partial {
            self.ends.join(found);
        } else {
            self.ends = found;
        }
        self.rest();
    }

    /// The guard keeps the file as it is, until something changes.
    pub(super) fn held(&mut self, found: Ends) {
        self.ends = found;
        self.rest();
    }

    fn rest(&mut self) {
        self.failure = Retry::default();
        self.at = None;
    }

    /// The store is being opened. The change that makes it ready is written at once.
    pub(super) fn not_ready(&mut self) {
        self.free = Instant::now();
        self.at = Some(Instant::now() + READY_WAIT);
    }

    /// A writing has failed; says whether it is another failure than the last.
    pub(super) fn failed(&mut self, error: &str) -> bool {
        let (wait, first) = self.failure.again(error.to_owned());
        self.at = Some(Instant::now() + wait);
        first
    }
}
