//! The only reader of the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::Time;

/// The present instant, to the nanosecond. A clock before 1970 or beyond 2262 reads as an end.
pub fn now() -> Time {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX), 9)
}
