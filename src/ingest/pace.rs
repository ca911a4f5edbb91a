//! How the applier gives way to intake where there are too few cores for both.
//!
//! Somebody waits for intake, and nobody for the applier. Threads cannot be given a lower priority
//! without `unsafe`, so the applier looks how long it had to wait for a core, and if that is long,
//! pauses after a batch. Never while there is much behind: then it must get on.

use std::fs;
use std::time::{Duration, Instant};

/// A batch of fewer bytes shows that the applier keeps up: then it need not give way.
const BATCH_BYTES_MIN: u64 = 128 << 10;
/// How far the store may be behind, in bytes, while the applier still gives way.
const GIVE_WAY_BYTES: u64 = 256 << 20;
/// The part of the time that it must have waited for a core: one in so many.
const WAITED_PART: u32 = 5;
/// How long it pauses, as a multiple of what the batch took, and at most.
const PAUSE_TIMES: u32 = 3;
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Where the kernel says how long the calling thread had to wait for a core.
const SCHEDULED: &str = "/proc/thread-self/schedstat";

/// What the applier knows of its last batch.
pub(super) struct Pace {
    started: Instant,
    waited: Option<Duration>,
}

impl Pace {
    /// Begins a batch.
    pub(super) fn start() -> Pace {
        Pace { started: Instant::now(), waited: waited() }
    }

    /// How long to pause after a batch of so many bytes, with so many behind; usually not at all.
    pub(super) fn pause(&self, batch: u64, behind: u64) -> Option<Duration> {
        if batch < BATCH_BYTES_MIN {
            return None;
        }
        let waited = waited()?.checked_sub(self.waited?)?;
        pause(self.started.elapsed(), waited, behind)
    }
}

fn pause(took: Duration, waited: Duration, behind: u64) -> Option<Duration> {
    let crowded = waited > took / WAITED_PART;
    (crowded && behind < GIVE_WAY_BYTES).then(|| (took * PAUSE_TIMES).min(PAUSE_MAX))
}

/// How long this thread has waited for a core since it began. `None`: the kernel does not say.
fn waited() -> Option<Duration> {
    let text = fs::read_to_string(SCHEDULED).ok()?;
    text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_way_only_where_cores_are_few_and_little_is_behind() {
        let ms = Duration::from_millis;
        for (took, waited, behind, expected) in [
            (ms(10), ms(0), 0, None),
            (ms(10), ms(2), 0, None),
            (ms(10), ms(3), 0, Some(ms(30))),
            (ms(10), ms(3), GIVE_WAY_BYTES, None),
            (ms(900), ms(800), 0, Some(PAUSE_MAX)),
        ] {
            assert_eq!(pause(took, waited, behind), expected, "{took:?} {waited:?} {behind}");
        }
    }

    #[test]
    fn the_kernel_says_how_long_a_thread_has_waited() {
        assert!(waited().is_some());
    }
}
