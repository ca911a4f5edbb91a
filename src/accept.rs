//! The loop of a listener: accepts within a limit, and lets what was accepted end at a stop.
//!
//! Never reads or writes a connection: whoever serves it does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::listen::{Connection, Listener};
use crate::stop::stopped;
use crate::telemetry;

/// The wait after an accept that failed: the usual reason is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves each connection until `stop` turns true, then lets those that are open end until `drain`
/// has passed. Beyond `connections_max`, more wait to be accepted. `name` is for logs and metrics.
/// Says how many connections had to be cut off.
pub async fn accept_all<F>(
    name: &str,
    listener: Listener,
    connections_max: usize,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
    serve: impl Fn(Connection) -> F,
) -> usize
where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            accepted = accept(&listener, Arc::clone(&places)) => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((connection, place)) => {
                let serving = serve(connection);
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
                telemetry::webhook::connections(name, connections.len());
            }
            Err(error) => {
                telemetry::webhook::accept_failed(name, error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let deadline = Instant::now() + drain;
    while let Ok(Some(_)) = tokio::time::timeout_at(deadline, connections.join_next()).await {}
    let cut = connections.len();
    connections.shutdown().await;
    cut
}

/// Accepts when there is a place for one more.
async fn accept(
    listener: &Listener,
    places: Arc<Semaphore>,
) -> io::Result<(Connection, OwnedSemaphorePermit)> {
    let place = places.acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?, place))
}
