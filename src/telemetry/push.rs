//! What pushing to the providers' own lists tells operators.

use metrics::{counter, gauge};
use tracing::{Level, info, warn};

use super::fold;
use crate::model::SourceName;

/// How a source's pushing stands.
pub fn stands(source: &SourceName, waiting: u64, pushed: u64, refused: u64) {
    let set = |name: &'static str, value: u64| {
        gauge!(name, "source" => source.to_string()).set(value as f64);
    };
    set("suppressd_push_waiting", waiting);
    set("suppressd_push_listed", pushed);
    set("suppressd_push_refused", refused);
}

/// A source's list is pushed to, whether anything has been or not.
pub fn known(source: &str) {
    for verb in ["add", "remove"] {
        counter!("suppressd_pushes_total", "source" => source.to_owned(), "verb" => verb)
            .increment(0);
    }
    for name in ["suppressd_push_waiting", "suppressd_push_listed", "suppressd_push_refused"] {
        gauge!(name, "source" => source.to_owned()).increment(0.0);
    }
}

/// An address was put on the provider's list, or taken off it, or refused for good.
pub fn done(source: &SourceName, add: bool) {
    let verb = if add { "add" } else { "remove" };
    counter!("suppressd_pushes_total", "source" => source.to_string(), "verb" => verb).increment(1);
}

/// The provider will not take an address, or not let go of it.
pub fn refused(source: &SourceName, add: bool) {
    const MESSAGE: &str = "the provider refuses to change its list for an address";
    let verb = if add { "add" } else { "remove" };
    if fold::first(Level::WARN, MESSAGE, source.as_str(), verb) {
        warn!(%source, verb, "{MESSAGE}");
    }
}

/// Pushing has failed in a way that is not known yet; it goes on by itself.
pub fn failed(source: &SourceName, error: &str) {
    const MESSAGE: &str = "pushing to the provider's list failed; it is tried again";
    let hint = "the credential of `poll` needs the right to change the provider's list";
    if fold::first(Level::WARN, MESSAGE, source.as_str(), error) {
        warn!(%source, error, hint, "{MESSAGE}");
    }
}

/// Pushing works again.
pub fn recovered(source: &SourceName) {
    const MESSAGE: &str = "pushing to the provider's list works again";
    if fold::first(Level::INFO, MESSAGE, source.as_str(), "") {
        info!(%source, "{MESSAGE}");
    }
}
