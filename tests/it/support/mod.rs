//! What several tests need: the daemon as a process, and a plain HTTP client.

pub(crate) mod api;
pub(crate) mod asker;
pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod counted;
pub(crate) mod daemon;
pub(crate) mod faketime;
pub(crate) mod feed;
pub(crate) mod fleet;
pub(crate) mod host;
pub(crate) mod mta;
pub(crate) mod nats;
pub(crate) mod page;
pub(crate) mod pebble;
pub(crate) mod postfix;
pub(crate) mod random;
pub(crate) mod relay;
pub(crate) mod sink;
pub(crate) mod smtp;
pub(crate) mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Sets a flag at the end of a test, whichever it is.
pub(crate) struct OnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks at a condition until it holds; fails the test when it does not in time.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        #[expect(clippy::disallowed_methods, reason = "between two looks at a condition")]
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a test may run. Where something it needs is missing, it says so and is skipped, unless
/// `SUPPRESSD_REQUIRE_ALL` is set: then it fails.
pub(crate) fn available(test: &str, missing: Option<String>) -> bool {
    let Some(missing) = missing else { return true };
    let required = std::env::var_os("SUPPRESSD_REQUIRE_ALL").is_some();
    assert!(!required, "{test} cannot run: {missing}");
    // Not by a macro: those are captured, and a skipped test must be seen.
    let line = format!("SKIPPED: {test}: {missing}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    false
}
