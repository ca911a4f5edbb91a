//! What operators read about live lookups. Who was asked for is never told.

use std::fmt::Display;

use metrics::{counter, gauge};
use tracing::{debug, info, warn};

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
    if open {
        warn!(listener, %error, "lookup: cannot answer; mail is let through (on_error = open)");
    } else {
        warn!(listener, %error, "lookup: cannot answer; mail is put off (on_error = closed)");
    }
}

/// The store can answer again.
pub fn answers_again(listener: &str) {
    info!(listener, "lookup: answers again");
}

/// A connection sent what is no query.
pub fn malformed(protocol: &'static str, listener: &str) {
    debug!(protocol, listener, "lookup: a connection sent what is no query; closed");
}

/// A connection ended in an error, or was too slow.
pub fn connection_failed(listener: &str, error: impl Display) {
    debug!(listener, %error, "lookup: a connection ended early");
}
