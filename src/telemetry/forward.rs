//! What telling other programs has to say. Names of forwards only, never whom it was about.

use std::time::Duration;

use metrics::{counter, gauge};
use tracing::{Level, debug, info, warn};

use super::fold;

/// A forward is there, whether it has told anything or not.
pub fn known(forward: &str) {
    for name in ["suppressd_forward_sent_total", "suppressd_forward_failures_total"] {
        counter!(name, "forward" => forward.to_owned()).increment(0);
    }
}

/// How a forward stands: how long something waits, and when it last told something.
pub fn stands(forward: &str, lag: Duration, last_success: Option<i64>) {
    known(forward);
    gauge!("suppressd_forward_lag_seconds", "forward" => forward.to_owned()).set(lag.as_secs_f64());
    gauge!("suppressd_forward_last_success_timestamp_seconds", "forward" => forward.to_owned())
        .set(last_success.unwrap_or(0) as f64);
}

/// A message was taken.
pub fn taken(forward: &str) {
    counter!("suppressd_forward_sent_total", "forward" => forward.to_owned()).increment(1);
}

/// A message was not taken, and is told again; `first`: not for this reason since one was taken.
pub fn failed(forward: &str, error: &str, first: bool) {
    const MESSAGE: &str = "forward: not taken; it is told again, and nothing is left out";
    counter!("suppressd_forward_failures_total", "forward" => forward.to_owned()).increment(1);
    if !first {
        debug!(forward, error, "forward: not taken again");
    } else if fold::first(Level::WARN, MESSAGE, forward, error) {
        warn!(forward, error, "{MESSAGE}");
    }
}

/// A message was taken after others were not.
pub fn recovered(forward: &str) {
    const MESSAGE: &str = "forward: taken again";
    if fold::first(Level::INFO, MESSAGE, forward, "") {
        info!(forward, "{MESSAGE}");
    }
}
