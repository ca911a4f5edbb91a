//! What several tests need: the daemon as a process, and a plain HTTP client.

pub(crate) mod client;
pub(crate) mod daemon;

use std::time::{Duration, Instant};

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
