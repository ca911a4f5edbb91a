//! Log lines and metrics of the control socket. Commands are named, never their addresses.

use std::io;

/// A command that changes something was answered to its end, or its client went away.
pub fn changed(verb: &'static str, uid: Option<u32>, outcome: &'static str) {
    count(verb, outcome);
    tracing::info!(verb, uid, outcome, "command from the control socket");
}

/// The same of a command that only looks, as scripts do often.
pub fn looked(verb: &'static str, uid: Option<u32>, outcome: &'static str) {
    count(verb, outcome);
    tracing::debug!(verb, uid, outcome, "question from the control socket");
}

fn count(verb: &'static str, outcome: &'static str) {
    metrics::counter!("suppressd_control_commands_total", "verb" => verb, "outcome" => outcome)
        .increment(1);
}

/// A request was no command.
pub fn malformed(uid: Option<u32>, why: &str) {
    metrics::counter!("suppressd_control_malformed_total").increment(1);
    tracing::warn!(uid, why, "the control socket got a request that is no command");
}

/// A connection was turned away, because `limit` were open.
pub fn full(limit: usize) {
    metrics::counter!("suppressd_control_refused_total").increment(1);
    tracing::warn!(limit, "too many commands at once on the control socket");
}

/// A connection could not be accepted.
pub fn accept_failed(error: &io::Error) {
    tracing::warn!(%error, "the control socket could not accept a connection");
}

/// Commands that were still running when the time for stopping was up.
pub fn cut_off(commands: usize) {
    tracing::warn!(commands, "commands were cut off by the stop");
}
