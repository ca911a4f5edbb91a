//! What operators read about live lookups. Who was asked for is never told.

use std::fmt::Display;

use metrics::{counter, gauge};
use tracing::{Level, debug, info, warn};

use super::fold;

/// What a listener has answered since the start, by outcome.
pub fn counted(
    protocol: &'static str,
    listener: &str,
    connections: u64,
    answers: [(&'static str, u64); 3],
    malformed: u64,
) {
    let label = || listener.to_owned();
    gauge!("suppressd_lookup_connections", "protocol" => protocol, "listener" => label())
        .set(connections as f64);
    for (answer, queries) in answers {
        counter!(
            "suppressd_lookup_queries_total",
            "protocol" => protocol, "listener" => label(), "answer" => answer
        )
        .absolute(queries);
    }
    counter!("suppressd_lookup_malformed_total", "protocol" => protocol, "listener" => label())
        .absolute(malformed);
}

/// The store cannot answer; told once until it can again.
pub fn cannot_answer(listener: &str, error: impl Display, open: bool) {
    let message = match open {
        true => "lookup: cannot answer; mail is let through (on_error = open)",
        false => "lookup: cannot answer; mail is put off (on_error = closed)",
    };
    if fold::first(Level::WARN, message, listener, &error.to_string()) {
        warn!(listener, %error, "{message}");
    }
}

/// It cannot be listened there by now.
pub fn unheard(listener: &str, why: &str) {
    const MESSAGE: &str = "lookup: not listening yet; it is tried again";
    if fold::first(Level::WARN, MESSAGE, listener, why) {
        warn!(listener, why, "{MESSAGE}");
    }
}

/// The store can answer again.
pub fn answers_again(listener: &str) {
    const MESSAGE: &str = "lookup: answers again";
    if fold::first(Level::INFO, MESSAGE, listener, "") {
        info!(listener, "{MESSAGE}");
    }
}

/// A connection sent what is no query.
pub fn malformed(protocol: &'static str, listener: &str) {
    const MESSAGE: &str = "lookup: a connection sent what is no query; closed";
    if fold::first(Level::DEBUG, MESSAGE, listener, protocol) {
        debug!(protocol, listener, "{MESSAGE}");
    }
}

/// A connection ended in an error, or was too slow.
pub fn connection_failed(listener: &str, error: impl Display) {
    const MESSAGE: &str = "lookup: a connection ended early";
    if fold::first(Level::DEBUG, MESSAGE, listener, &error.to_string()) {
        debug!(listener, %error, "{MESSAGE}");
    }
}
