//! What the webhook listener has to say.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge, histogram};
use tracing::{Level, debug, error, info, warn};

use super::fold;

/// What is counted of one source's webhook. Made once: finding a metric by its labels for each
/// notification would cost more than checking its signature.
#[derive(Clone)]
pub struct Meter {
    source: Box<str>,
    accepted: Counter,
    not_authentic: Counter,
    refused: Counter,
    seconds: Histogram,
}

impl Meter {
    /// That of a source.
    pub fn new(source: &str) -> Meter {
        let outcome = |outcome: &'static str| {
            counter!(
                "suppressd_webhooks_total", "source" => source.to_owned(), "outcome" => outcome
            )
        };
        Meter {
            source: source.into(),
            accepted: outcome("accepted"),
            not_authentic: outcome("not_authentic"),
            refused: outcome("refused"),
            seconds: histogram!("suppressd_webhook_seconds"),
        }
    }

    /// A notification was taken.
    pub fn accepted(&self, elements: usize, took: Duration) {
        self.accepted.increment(1);
        self.seconds.record(took.as_secs_f64());
        debug!(source = &*self.source, elements, "webhook: accepted");
    }

    /// A notification was not authentic.
    pub fn not_authentic(&self, peer: impl Display, reason: impl Display, took: Duration) {
        const MESSAGE: &str = "webhook: not authentic, nothing was kept";
        self.not_authentic.increment(1);
        self.seconds.record(took.as_secs_f64());
        let reason = reason.to_string();
        if fold::first(Level::WARN, MESSAGE, &self.source, &reason) {
            warn!(source = &*self.source, %peer, reason, "{MESSAGE}");
        }
    }

    /// A notification was not taken, and its sender told to try again.
    pub fn refused(&self, reason: impl Display, took: Duration) {
        const MESSAGE: &str = "webhook: refused for now";
        self.refused.increment(1);
        self.seconds.record(took.as_secs_f64());
        if fold::first(Level::WARN, MESSAGE, &self.source, &reason.to_string()) {
            warn!(source = &*self.source, %reason, "{MESSAGE}");
        }
    }
}

/// A subscription asked to be confirmed.
pub fn confirmed(source: &str, done: bool) {
    const MESSAGE: &str =
        "webhook: the subscription could not be confirmed; the service asks again";
    if done {
        info!(source, "webhook: the subscription is confirmed");
    } else if fold::first(Level::WARN, MESSAGE, source, "") {
        warn!(source, "{MESSAGE}");
    }
}

/// A subscription asked to be confirmed, and the source says that it must not be.
pub fn confirmation_left(source: &str) {
    const MESSAGE: &str =
        "webhook: a subscription waits to be confirmed by hand: webhook.confirm is false";
    if fold::first(Level::WARN, MESSAGE, source, "") {
        warn!(source, "{MESSAGE}");
    }
}

/// A request was answered without being a notification. `hook` is the name in its path, if it is
/// one that a source could have: whoever looks for a missing notification finds it by that.
pub fn request_refused(
    listener: &'static str,
    status: u16,
    peer: impl Display,
    hook: Option<&str>,
) {
    const MESSAGE: &str = "http: request refused";
    count_refused(listener, status);
    // A stranger chooses the name: it tells no kinds apart, or many names were many lines.
    if status >= 400 && fold_status(listener, status) {
        info!(listener, status, hook, %peer, "{MESSAGE}");
    }
}

fn count_refused(listener: &str, status: u16) {
    let labels = [("listener", listener.to_owned()), ("status", status.to_string())];
    counter!("suppressd_requests_refused_total", &labels).increment(1);
}

/// The status itself tells kinds apart: in a reason its digits would not.
fn fold_status(listener: &str, status: u16) -> bool {
    let about = format!("{listener} {status}");
    fold::first(Level::INFO, "http: request refused", &about, "")
}

/// A listener begins to accept: what it may have to refuse is counted from now on.
pub fn accepting(listener: &str) {
    gauge!("suppressd_connections", "listener" => listener.to_owned()).set(0.0);
    for name in ["suppressd_connections_refused_total", "suppressd_connections_displaced_total"] {
        counter!(name, "listener" => listener.to_owned()).increment(0);
    }
}

/// The statuses with which an HTTP listener refuses requests.
const REFUSALS: [u16; 12] = [400, 401, 403, 404, 405, 408, 411, 413, 415, 421, 431, 503];

/// Those with which a write is refused whatever it says; others say what is wrong with it.
const REFUSED_WRITES: [u16; 5] = [403, 408, 413, 415, 503];

/// Somebody with the token has changed something over HTTP, or tried to. `id`: of a mass, or of a
/// payload in quarantine.
pub fn written(what: &'static str, id: Option<&str>, peer: impl Display, status: u16) {
    const MESSAGE: &str = "write on the private listener";
    if REFUSED_WRITES.contains(&status) {
        count_refused("admin", status);
    }
    let about = format!("{what} {}: {status} to {peer}", id.unwrap_or_default());
    if fold::first(Level::INFO, MESSAGE, &about, "") {
        info!(what, id, %peer, status, "{MESSAGE}");
    }
}

/// An HTTP listener begins to serve.
pub fn serving(listener: &'static str) {
    for status in REFUSALS {
        let labels = [("listener", listener.to_owned()), ("status", status.to_string())];
        counter!("suppressd_requests_refused_total", &labels).increment(0);
    }
}

/// A listener is bound.
pub fn listening(listener: &'static str, on: impl Display) {
    info!(listener, %on, "listening");
}

/// The file of a Unix socket was removed or replaced. `error`: why it could not be made again.
pub fn socket_taken(listener: &str, path: &Path, error: Option<&io::Error>) {
    const MESSAGE: &str =
        "the file of a socket was removed or replaced: nobody connects until it can be made again";
    let path = path.display().to_string();
    match error {
        None => warn!(listener, path, "the file of a socket was removed or replaced: made again"),
        Some(error) => {
            if fold::first(Level::ERROR, MESSAGE, listener, &path) {
                error!(listener, path, %error, "{MESSAGE}");
            }
        }
    }
}

/// A connection could not be accepted.
pub fn accept_failed(listener: &str, error: impl Display) {
    const MESSAGE: &str = "a connection could not be accepted";
    if fold::first(Level::WARN, MESSAGE, listener, &error.to_string()) {
        warn!(listener, %error, "{MESSAGE}");
    }
}

/// A client was turned away: every place is taken by one that is being worked for.
pub fn no_place(listener: &str) {
    counter!("suppressd_connections_refused_total", "listener" => listener.to_owned()).increment(1);
    debug!(listener, "there was no place for a connection");
}

/// A connection that waited for its client was closed, since another needed its place.
pub fn gave_way(listener: &str) {
    let listener = listener.to_owned();
    counter!("suppressd_connections_displaced_total", "listener" => listener.clone()).increment(1);
    debug!(listener, "a connection was closed for another");
}

/// A connection ended in an error.
pub fn connection_failed(listener: &'static str, error: impl Display) {
    const MESSAGE: &str = "http: a connection ended early";
    if fold::first(Level::DEBUG, MESSAGE, listener, &error.to_string()) {
        debug!(listener, %error, "{MESSAGE}");
    }
}

/// How many connections are open.
pub fn connections(listener: &str, number: usize) {
    gauge!("suppressd_connections", "listener" => listener.to_owned()).set(number as f64);
}
