//! Telling other programs: each event and each turn of a verdict, once it is durable and applied.
//!
//! A task per forward, from a cursor that is journalled like a poll's: what was told before it is
//! told again after a crash, with the same id, and nothing is left out. Nothing waits for a
//! receiver but what is told to it.

mod file;
mod post;
mod runner;
mod unsaid;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::mpsc;
use url::Url;

pub use runner::start;
pub use unsaid::PART;

use crate::model::{EventKind, Time};
use crate::secret::Secret;

/// One `[[forward]]`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Who is told.
    pub to: Receiver,
    /// Of what.
    pub subjects: Subjects,
}

impl Settings {
    /// Whether every host of a fleet would tell the same receiver: a file is each host's own.
    pub fn is_shared(&self) -> bool {
        matches!(self.to, Receiver::Url { .. })
    }
}

/// Who is told.
#[derive(Clone, Debug)]
pub enum Receiver {
    /// A program, by Standard Webhooks.
    Url {
        /// Where it is.
        url: Url,
        /// The keys; each signs.
        keys: Vec<Secret>,
    },
    /// A file of JSON lines.
    File(PathBuf),
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Receiver::Url { url, .. } => without_secrets(url).fmt(f),
            Receiver::File(path) => path.display().fmt(f),
        }
    }
}

/// An address as it is shown: a password or a query can hold a secret.
fn without_secrets(url: &Url) -> Url {
    let mut shown = url.clone();
    if shown.query().is_some() {
        shown.set_query(Some("..."));
    }
    // It fails only where an address can have none.
    if shown.password().is_some() {
        let _ = shown.set_password(Some("..."));
    }
    shown
}

/// Of what somebody is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Suppressions that begin.
    pub added: bool,
    /// Suppressions that are lifted.
    pub lifted: bool,
    /// Events of these kinds.
    pub kinds: Vec<EventKind>,
}

impl Subjects {
    /// The name of suppressions that begin.
    pub const ADDED: &'static str = "suppression.added";
    /// The name of suppressions that are lifted.
    pub const LIFTED: &'static str = "suppression.lifted";

    /// Adds what a name stands for. `None`: it stands for nothing.
    pub fn add(&mut self, name: &str) -> Option<()> {
        match name {
            Subjects::ADDED => self.added = true,
            Subjects::LIFTED => self.lifted = true,
            _ => self.kinds.push(EventKind::parse(name.strip_prefix("event.")?)?),
        }
        Some(())
    }

    /// Whether turns of verdicts are among them.
    pub fn has_turns(&self) -> bool {
        self.added || self.lifted
    }
}

/// How a forward stands. Times are RFC 3339, to the second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Who is told: the URL, or the file.
    pub to: String,
    /// Whether another host of the fleet tells it at present.
    pub elsewhere: bool,
    /// How much was passed over since the start, since another host has told it.
    pub passed: u64,
    /// How much was told since the start.
    pub sent: u64,
    /// How often telling has failed since it last succeeded.
    pub failures: u64,
    /// Why it failed last, until it succeeds.
    pub error: Option<String>,
    /// When it last succeeded.
    pub last_success: Option<String>,
    /// Since when something waits to be told; `None`: nothing does.
    pub waiting_since: Option<String>,
    /// For how long, in seconds.
    pub lag_seconds: u64,
}

/// The running forwards. Cheap to clone.
#[derive(Clone, Default)]
pub struct Forwards(Arc<[Entry]>);

struct Entry {
    name: String,
    stand: Arc<Mutex<Stand>>,
    replays: mpsc::Sender<Time>,
}

/// What a task shows.
#[derive(Clone, Debug, Default)]
struct Stand {
    status: Status,
    waiting: Option<Time>,
    last_success: Option<Time>,
}

impl Entry {
    fn stand(&self) -> Stand {
        self.stand.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn to(&self) -> String {
        self.stand().status.to
    }
}

impl Forwards {
    /// How each stands at `now`, in the order of the configuration.
    pub fn statuses(&self, now: Time) -> Vec<Status> {
        let status = |entry: &Entry| {
            let stand = entry.stand();
            Status {
                last_success: stand.last_success.map(|at| at.floor_second().to_string()),
                waiting_since: stand.waiting.map(|at| at.floor_second().to_string()),
                lag_seconds: stand.waiting.map_or(0, |since| now.since(since).as_secs()),
                ..stand.status
            }
        };
        self.0.iter().map(status).collect()
    }

    /// Tells again what turned or came since a time. `false`: there is no such forward, or it ends.
    pub async fn replay(&self, name: &str, since: Time) -> bool {
        let Some(entry) = self.0.iter().find(|entry| entry.name == name) else { return false };
        entry.replays.send(since).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_is_shown_without_secrets() {
        for (url, shown) in [
            ("https://app.test/in", "https://app.test/in"),
            ("https://app.test/in?token=hunter2", "https://app.test/in?..."),
            ("https://me:hunter2@app.test/", "https://me:...@app.test/"),
        ] {
            let to = Receiver::Url { url: url.parse().unwrap(), keys: Vec::new() };
            assert_eq!(to.to_string(), shown);
        }
    }
}
