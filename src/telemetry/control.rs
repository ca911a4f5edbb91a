//! Log lines and metrics of the control socket. Commands are named, never their addresses.

use tracing::{Level, debug, info, warn};

use super::fold;

/// What repeated lines are about.
const SOCKET: &str = "control.socket";

/// A command that changes something was answered to its end, or its client went away.
pub fn changed(verb: &'static str, uid: Option<u32>, outcome: &'static str) {
    const MESSAGE: &str = "command from the control socket";
    count(verb, outcome);
    let whose = uid.map_or_else(|| "nobody known".to_owned(), |uid| format!("uid {uid}"));
    if fold::first(Level::INFO, MESSAGE, &format!("{verb}: {outcome} to {whose}"), "") {
        info!(verb, uid, outcome, "{MESSAGE}");
    }
}

/// The same of a command that only looks, as scripts do often.
pub fn looked(verb: &'static str, uid: Option<u32>, outcome: &'static str) {
    count(verb, outcome);
    debug!(verb, uid, outcome, "question from the control socket");
}

fn count(verb: &'static str, outcome: &'static str) {
    metrics::counter!("suppressd_control_commands_total", "verb" => verb, "outcome" => outcome)
        .increment(1);
}

/// A request was no command. Why not is for its client: it may quote the request.
pub fn malformed(uid: Option<u32>) {
    const MESSAGE: &str = "the control socket got a request that is no command";
    metrics::counter!("suppressd_control_malformed_total").increment(1);
    if fold::first(Level::WARN, MESSAGE, SOCKET, "") {
        warn!(uid, "{MESSAGE}");
    }
}

/// A client did not read on in time.
pub fn slow(verb: &'static str, uid: Option<u32>) {
    const MESSAGE: &str = "a client of the control socket was too slow; its command ended";
    count(verb, "slow");
    if fold::first(Level::INFO, MESSAGE, SOCKET, verb) {
        info!(verb, uid, "{MESSAGE}");
    }
}

/// We waited for a client while another needed its place. `none`: it had asked for nothing.
pub fn displaced(verb: &'static str, uid: Option<u32>) {
    const MESSAGE: &str = "the control socket has no more places: a client that we waited for lost \
                           its own to another";
    count(verb, "displaced");
    if fold::first(Level::INFO, MESSAGE, SOCKET, verb) {
        info!(verb, uid, "{MESSAGE}");
    }
}

/// Commands that were still running when the time for stopping was up.
pub fn cut_off(commands: usize) {
    warn!(commands, "commands were cut off by the stop");
}
