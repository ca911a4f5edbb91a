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

/// Settings are exchanged: systemd waits for what follows, [`reloaded`] above all.
pub fn reloading() {
    // Both in one message (sd_notify(3), RELOADING=1).
    let told = NotifyState::monotonic_usec_now()
        .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now]));
    if let Err(error) = told {
        telemetry::health::notify_failed(error);
    }
}

/// They are exchanged, or left as they were; `status` says which, in a line.
pub fn reloaded(status: &str) {
    notify_all(&[NotifyState::Ready, NotifyState::Status(status)]);
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
    notify_all(&[state]);
}

fn notify_all(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        telemetry::health::notify_failed(error);
    }
}
