//! The running exports as others see them: how each stands, and a way to have it written now.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::Settings;
use super::write::{Source, World};
use crate::clock;
use crate::ingest::Running;
use crate::journal;
use crate::model::{Filter, Time};
use crate::store::Visit;

/// How an export stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its format.
    pub format: &'static str,
    /// Its file.
    pub path: String,
    /// The rows in the file, as of `last_checked`.
    #[serde(skip)]
    pub rows: u64,
    /// The same; `None` before the first writing of this start has told.
    #[serde(rename = "rows")]
    pub known_rows: Option<u64>,
    /// Suppressed addresses that the format cannot carry.
    pub unfit: u64,
    /// When the file was last changed (RFC 3339).
    pub last_written: Option<String>,
    /// When the file was last found or made current (RFC 3339).
    pub last_checked: Option<String>,
    /// How often the file has been changed, over restarts too.
    pub generation: u64,
    /// Why the guard keeps rows that the store has no longer, if it does. Additions go on.
    pub held_back: Option<String>,
    /// Since when (RFC 3339).
    pub held_since: Option<String>,
    /// How many rows are kept so.
    pub held_rows: u64,
    /// How many that were kept so are gone: another hand took them while suppressd was stopped.
    pub lost_rows: u64,
    /// When somebody else was last seen to have changed, emptied or removed the file, if that was
    /// within ten minutes (RFC 3339). It was made anew.
    pub foreign: Option<String>,
    /// Why it could not be written, or why its command failed.
    pub error: Option<String>,
    /// Whether something is still to be written or run.
    pub pending: bool,
    /// Since when.
    #[serde(skip)]
    pub pending_since: Option<Time>,
    /// When the next writing or the command is due, if one is.
    #[serde(skip)]
    pub due: Option<Instant>,
    /// Whether the command has yet to end that makes of the file what the MTA reads.
    #[serde(skip)]
    pub uncompiled: bool,
    /// The least time from one writing to the next.
    #[serde(skip)]
    pub min_interval: Duration,
}

/// The running exports. Cheap to clone.
#[derive(Clone)]
pub struct Exports {
    pub(super) list: Arc<[Arc<Entry>]>,
    pub(super) world: World,
}

pub(super) struct Entry {
    pub(super) settings: Arc<Settings>,
    /// What tells as of when a comparison is.
    pub(super) now: Arc<dyn Fn() -> Time + Send + Sync>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) commands: mpsc::Sender<Write>,
}

/// An operator's wish to have an export written now.
pub(super) struct Write {
    pub(super) force: bool,
    pub(super) reply: oneshot::Sender<Status>,
}

/// Why an operator's wish could not even be tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is no such export.
    #[error("there is no export named {0:?}")]
    Unknown(String),
    /// The daemon is stopping.
    #[error("stopping")]
    Stopping,
}

impl Exports {
    /// No export yet. What is lost of the journal is kept or noted in `quarantine`.
    pub fn none(running: &Running, quarantine: PathBuf) -> Exports {
        let (every, one) = (running.reader.clone(), running.reader.clone());
        let source = Source {
            rules: Arc::clone(&running.policy.rules),
            standings: Arc::new(move |each: Visit<'_>| every.visit_standings(each)),
            of: Arc::new(move |key: &str| one.standings_under(key)),
            lacks: Arc::new(move || {
                journal::damaged_files(&quarantine).is_ok_and(|files| !files.is_empty())
            }),
            forgotten: Arc::clone(running.ingest.forgotten()),
        };
        let (changes, now) = (running.changes.clone(), Arc::new(clock::now));
        Exports {
            list: Arc::default(),
            world: World { source, changes, now, places: Arc::default() },
        }
    }

    /// The names of those that stay as they are under these settings. The others have to end before
    /// [`Exports::renewed`] starts others in their place.
    pub fn staying(&self, settings: &[Settings]) -> Vec<String> {
        let staying = self.list.iter().filter(|entry| settings.contains(&entry.settings));
        staying.map(|entry| entry.settings.name.clone()).collect()
    }

    /// The name of each export, and which suppressions it takes.
    pub fn filters(&self) -> Vec<(String, Filter)> {
        let of = |entry: &Arc<Entry>| (entry.settings.name.clone(), entry.settings.filter.clone());
        self.list.iter().map(of).collect()
    }

    /// How each export stands, in the order of the configuration.
    pub fn statuses(&self) -> Vec<Status> {
        self.list.iter().map(|entry| entry.status.borrow().clone()).collect()
    }

    /// Writes one export, or all, now, and tells how they stand then. One that has `held_back`,
    /// `error` or `pending` set is not current.
    ///
    /// # Errors
    /// When no export has the name, or the daemon is stopping.
    pub async fn write(&self, name: Option<&str>, force: bool) -> Result<Vec<Status>, WriteError> {
        let wanted = |entry: &&Arc<Entry>| name.is_none_or(|name| entry.settings.name == name);
        let mut replies = Vec::new();
        for entry in self.list.iter().filter(wanted) {
            let (reply, answer) = oneshot::channel();
            let sent = entry.commands.send(Write { force, reply }).await;
            sent.map_err(|_| WriteError::Stopping)?;
            replies.push(answer);
        }
        if let (Some(name), true) = (name, replies.is_empty()) {
            return Err(WriteError::Unknown(name.to_owned()));
        }
        let mut statuses = Vec::new();
        for answer in replies {
            statuses.push(answer.await.map_err(|_| WriteError::Stopping)?);
        }
        Ok(statuses)
    }
}

/// Whether Postfix reads that format.
pub(super) fn is_for_postfix(format: &str) -> bool {
    format.starts_with("postfix-")
}

impl Status {
    /// Whether Postfix reads the file.
    pub fn is_for_postfix(&self) -> bool {
        is_for_postfix(self.format)
    }

    /// What needs an administrator's hand, if anything does.
    pub fn problem(&self) -> Option<String> {
        let foreign = || {
            let at = self.foreign.as_ref()?;
            let what = format!("somebody else changed or removed the file at {at}");
            let hint = match self.is_for_postfix() {
                true => "; run `postfix reload` if Postfix still defers",
                false => "",
            };
            Some(format!("{what}; it was made anew{hint}"))
        };
        self.error.clone().or_else(|| self.held_back.clone()).or_else(foreign)
    }

    pub(super) fn new(settings: &Settings) -> Status {
        Status {
            name: settings.name.clone(),
            format: settings.format.name(),
            path: settings.path.display().to_string(),
            rows: 0,
            known_rows: None,
            unfit: 0,
            last_written: None,
            last_checked: None,
            generation: 0,
            held_back: None,
            held_since: None,
            held_rows: 0,
            lost_rows: 0,
            foreign: None,
            error: None,
            pending: true,
            pending_since: None,
            due: None,
            uncompiled: !settings.command.is_empty(),
            min_interval: settings.min_interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_made_anew_has_a_hint_for_postfix_alone() {
        let problem = |format| {
            let foreign = Some("2026-06-15T00:00:00Z".to_owned());
            Status { format, foreign, ..Status::default() }.problem().unwrap()
        };
        assert!(problem("postfix-transport").ends_with("`postfix reload` if Postfix still defers"));
        assert!(problem("exim").ends_with("; it was made anew"));
    }
}
