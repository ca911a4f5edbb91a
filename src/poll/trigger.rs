//! The clockwork: a heartbeat each second, and a call for each cron expression, in UTC.
//!
//! The scheduler neither guards against overlaps nor catches up nor awaits its jobs, so its jobs do
//! nothing but send a tick that may be dropped. What a tick means is the runner's to decide.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::stop::stopped;

/// Each second.
const HEARTBEAT: &str = "* * * * * *";

/// The clockwork cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// A cron expression is not one.
    #[error("{0:?} is not a cron expression of six fields, seconds first")]
    Cron(String),
    /// The scheduler did not start.
    #[error("the scheduler does not start: {0}")]
    Scheduler(String),
}

/// Whether a text is a cron expression that a source can have.
///
/// # Errors
/// Says what is expected when it is not.
pub fn check_cron(expression: &str) -> Result<(), TriggerError> {
    job(expression, Vec::new()).map(|_| ())
}

/// Starts the clockwork. It sends to every receiver of `beats` each second, and to the receiver of
/// each call when its expression says so; it ends with `stop`.
pub(super) async fn start(
    beats: Vec<mpsc::Sender<()>>,
    calls: Vec<(String, mpsc::Sender<()>)>,
    mut stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, TriggerError> {
    let failed = |error| TriggerError::Scheduler(format!("{error:?}"));
    let mut scheduler = JobScheduler::new().await.map_err(failed)?;
    scheduler.add(job(HEARTBEAT, beats)?).await.map_err(failed)?;
    for (expression, call) in calls {
        scheduler.add(job(&expression, vec![call])?).await.map_err(failed)?;
    }
    scheduler.start().await.map_err(failed)?;
    Ok(tokio::spawn(async move {
        stopped(&mut stop).await;
        // Its error would say that a shutdown hook failed, and there is none.
        let _ = scheduler.shutdown().await;
    }))
}

fn job(expression: &str, ticks: Vec<mpsc::Sender<()>>) -> Result<Job, TriggerError> {
    let tick = move |_, _| {
        for sender in &ticks {
            // A full channel holds a tick already, and two are worth no more than one.
            let _ = sender.try_send(());
        }
    };
    Job::new(expression, tick).map_err(|_| TriggerError::Cron(expression.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_expressions_have_six_fields() {
        for good in ["0 */5 * * * *", "30 0 3 * * 1-5", "* * * * * *", "0 0 0 1 1,7 *"] {
            assert_eq!(check_cron(good), Ok(()), "{good}");
        }
        for bad in ["", "*/5 * * * *", "61 * * * * *", "every five minutes", "0 0 0 32 * *"] {
            assert_eq!(check_cron(bad), Err(TriggerError::Cron(bad.to_owned())), "{bad}");
        }
    }

    #[tokio::test]
    async fn it_beats_and_calls_until_it_is_stopped() {
        let (beat, mut beats) = mpsc::channel(1);
        let (call, mut calls) = mpsc::channel(1);
        let (stop, stopping) = watch::channel(false);
        let called = vec![("* * * * * *".to_owned(), call)];
        let task = start(vec![beat], called, stopping).await.unwrap();
        assert_eq!(beats.recv().await, Some(()));
        assert_eq!(calls.recv().await, Some(()));
        assert_eq!(beats.recv().await, Some(()));
        stop.send(true).unwrap();
        task.await.unwrap();
    }
}
