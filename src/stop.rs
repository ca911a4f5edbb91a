//! The signal to stop, which every part of the daemon watches.

use tokio::sync::watch;

/// Waits until the signal is given, or nobody is left who could give it.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The guard that `wait_for` returns must not live on: it locks the signal.
    let _ = stop.wait_for(|stop| *stop).await;
}
