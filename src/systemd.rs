//! Telling systemd how it goes: ready, stopping, alive. Without systemd all of it does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::stop::stopped;
use crate::telemetry;

/// Everything is up.
pub fn ready() {
    notify(NotifyState::Ready);
}

/// The daemon drains and ends.
pub fn stopping() {
    notify(NotifyState::Stopping);
}

/// Says that the daemon is alive, at half the interval that systemd asks for, until `stop`.
pub async fn keep_alive(mut stop: watch::Receiver<bool>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut beat = tokio::time::interval((limit / 2).max(Duration::from_millis(100)));
    loop {
        tokio::select! {
            _ = beat.tick() => notify(NotifyState::Watchdog),
            () = stopped(&mut stop) => return,
        }
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        telemetry::health::notify_failed(error);
    }
}
