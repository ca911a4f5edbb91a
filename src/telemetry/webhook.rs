//! What the webhook listener has to say.

use std::fmt::Display;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tracing::{debug, info, warn};

/// A notification was taken.
pub fn accepted(source: &str, elements: usize, took: Duration) {
    answered(source, "accepted", took);
    debug!(source, elements, "webhook: accepted");
}

/// A notification was not authentic.
pub fn not_authentic(source: &str, peer: impl Display, reason: impl Display, took: Duration) {
    answered(source, "not_authentic", took);
    warn!(source, %peer, %reason, "webhook: not authentic, nothing was kept");
}

/// A notification was not taken, and its sender told to try again.
pub fn refused(source: &str, reason: impl Display, took: Duration) {
    answered(source, "refused", took);
    warn!(source, %reason, "webhook: refused for now");
}

fn answered(source: &str, outcome: &'static str, took: Duration) {
    counter!("suppressd_webhooks_total", "source" => source.to_owned(), "outcome" => outcome)
        .increment(1);
    histogram!("suppressd_webhook_seconds").record(took.as_secs_f64());
}

/// A subscription asked to be confirmed.
pub fn confirmed(source: &str, done: bool) {
    if done {
        info!(source, "webhook: the subscription is confirmed");
    } else {
        warn!(source, "webhook: the subscription could not be confirmed; the service asks again");
    }
}

/// A subscription asked to be confirmed, and the source says that it must not be.
pub fn confirmation_left(source: &str) {
    warn!(
        source,
        "webhook: a subscription waits to be confirmed by hand: webhook.confirm is false"
    );
}

/// A request was answered without being a notification.
pub fn request_refused(listener: &'static str, status: u16, peer: impl Display) {
    counter!(
        "suppressd_requests_refused_total",
        "listener" => listener, "status" => status.to_string()
    )
    .increment(1);
    debug!(listener, status, %peer, "http: request refused");
}

/// A listener is bound.
pub fn listening(listener: &'static str, on: impl Display) {
    info!(listener, %on, "listening");
}

/// A connection could not be accepted.
pub fn accept_failed(listener: &'static str, error: impl Display) {
    warn!(listener, %error, "http: a connection could not be accepted");
}

/// A connection ended in an error.
pub fn connection_failed(listener: &'static str, error: impl Display) {
    debug!(listener, %error, "http: a connection ended early");
}

/// How many connections are open.
pub fn connections(listener: &'static str, number: usize) {
    gauge!("suppressd_connections", "listener" => listener).set(number as f64);
}
