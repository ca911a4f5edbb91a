//! Whoever waits for a run: where its progress and its end are told.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::problem::RunError;
use super::{Progress, Summary};
use crate::model::SourceName;

/// Whoever waits for a run.
pub(super) struct Caller {
    /// Where progress goes.
    pub(super) progress: mpsc::Sender<Progress>,
    /// Where the end goes. Once its receiver is gone, the run ends.
    pub(super) reply: oneshot::Sender<Summary>,
}

impl Caller {
    /// Whether whoever asked for the run still wants it.
    pub(super) fn check(caller: Option<&Caller>) -> Result<(), RunError> {
        let gone = caller.is_some_and(|caller| caller.reply.is_closed());
        if gone { Err(RunError::Abandoned) } else { Ok(()) }
    }

    /// Tells that the provider has told us to wait.
    pub(super) fn wait(&self, source: &SourceName, wait: Duration) {
        let (source, wait) = (source.to_string(), Some(wait.as_secs()));
        // Progress that nobody takes in time is dropped.
        let _ = self.progress.try_send(Progress { source, pages: 0, rows: 0, part: None, wait });
    }
}
