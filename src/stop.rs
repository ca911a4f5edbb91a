//! The signal to stop, and the parts of the daemon that wait for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

/// Waits until the signal is given, or nobody is left who could give it.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The guard that `wait_for` returns must not live on: it locks the signal.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A part of the daemon that runs by itself until it is told to stop. Dropping it tells it so.
pub struct Part {
    name: String,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Part {
    /// Starts it. What `work` is given is its signal to stop.
    pub fn start<F>(name: impl Into<String>, work: impl FnOnce(watch::Receiver<bool>) -> F) -> Part
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopping) = watch::channel(false);
        Part { name: name.into(), stop, task: tokio::spawn(work(stopping)) }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells it to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it panicked.
    pub async fn ended(&mut self) -> Result<(), JoinError> {
        // What has ended before must not be asked again.
        if self.task.is_finished() { Ok(()) } else { (&mut self.task).await }
    }

    /// Whether it has ended; wakes the task when it does.
    pub fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.task.is_finished() {
            return Poll::Ready(());
        }
        Pin::new(&mut self.task).poll(context).map(drop)
    }

    /// Ends it where it is.
    pub fn abort(&self) {
        self.task.abort();
    }
}
