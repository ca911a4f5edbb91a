//! Metrics that are brought up to date when they are asked for, and the daemon's own lines.

use std::fmt::Display;
use std::time::Duration;

use metrics::{counter, gauge};
use tracing::{error, info, warn};

use crate::model::{Stretch, Time};
use crate::units::show_duration;

/// How much the store holds, and what could not be applied.
pub fn totals(standings: u64, quarantined: u64, set_aside: usize) {
    gauge!("suppressd_set_aside").set(set_aside as f64);
    gauge!("suppressd_standings").set(standings as f64);
    gauge!("suppressd_quarantine_elements").set(quarantined as f64);
}

/// How many addresses were forgotten.
pub fn forgotten(addresses: usize) {
    gauge!("suppressd_forgotten_addresses").set(addresses as f64);
}

/// Masses of new suppressions that are held back, and how many suppressions those are.
pub fn held(masses: usize, suppressions: u64) {
    gauge!("suppressd_held_masses").set(masses as f64);
    gauge!("suppressd_held_suppressions").set(suppressions as f64);
}

/// Whether the daemon is ready.
pub fn ready(ready: bool) {
    gauge!("suppressd_ready").set(f64::from(u8::from(ready)));
}

/// Which of the three states the daemon is in.
pub fn state(state: &'static str, holds: bool) {
    gauge!("suppressd_state", "state" => state.replace(' ', "_")).set(f64::from(holds));
}

/// How a check stands: 0 ok, 1 degraded, 2 not ready. `of` is an export, a source or nothing.
pub fn check(check: &'static str, of: &str, health: u8) {
    gauge!("suppressd_check", "check" => check, "of" => of.to_owned()).set(f64::from(health));
}

/// The room on the disk of the state directory, in bytes.
pub fn disk(free: u64, size: u64) {
    gauge!("suppressd_disk_free_bytes").set(free as f64);
    gauge!("suppressd_disk_size_bytes").set(size as f64);
}

/// When the certificate of the public listener ends, as Unix time.
pub fn certificate(end: i64) {
    gauge!("suppressd_certificate_expiry_timestamp_seconds").set(end as f64);
}

/// How a source's events reached us.
pub fn origins(source: &str, webhook_only: u64, poll_only: u64, both: u64) {
    for (by, events) in [("webhook", webhook_only), ("poll", poll_only), ("both", both)] {
        gauge!("suppressd_source_events", "source" => source.to_owned(), "by" => by)
            .set(events as f64);
    }
}

/// Events that only the poll saw, of a source that has a webhook.
pub fn missed(source: &str, events: u64) {
    gauge!("suppressd_missed_by_webhook", "source" => source.to_owned()).set(events as f64);
}

/// What the configuration says and most times does not mean.
pub fn doubtful(key: &str, what: &str, hint: &str) {
    warn!(key, what, hint, "the configuration may not say what is meant");
}

/// What the wall clock shows, in seconds since the epoch.
pub fn clock(seconds: i64) {
    gauge!("suppressd_clock_timestamp_seconds").set(seconds as f64);
}

/// The wall clock was set ahead, or the host slept.
pub fn clock_ahead(by: Duration) {
    counter!("suppressd_clock_steps_total", "direction" => "ahead").increment(1);
    let by = show_duration(Duration::from_secs(by.as_secs()));
    warn!(
        by,
        hint = "see that the host's clock is right, and is set before suppressd starts",
        "the clock went ahead: what ends by then ends now, and is live again should it go back"
    );
}

/// The wall clock was set back.
pub fn clock_back(by: Duration) {
    counter!("suppressd_clock_steps_total", "direction" => "back").increment(1);
    let by = show_duration(Duration::from_secs(by.as_secs()));
    warn!(
        by,
        hint = "see that the host's clock is right, and is set before suppressd starts",
        "the clock went back: what had ended meanwhile is live again; exports are made anew, and \
         feeds are read again from before it was wrong"
    );
}

/// The wall clock was wrong, and is right again.
pub fn clock_was_wrong(stretch: &Stretch) {
    let by = show_duration(Duration::from_secs(stretch.by.as_secs()));
    if stretch.is_found() {
        warn!(
            by,
            "the clock was ahead, or is behind now: what was received meanwhile is merged again, \
             behind the lifts that it came after"
        );
        return;
    }
    if stretch.was_ahead {
        warn!(
            by,
            "the clock was ahead: what was received meanwhile is merged again, behind the lifts \
             that it came after"
        );
        return;
    }
    warn!(
        by,
        "the clock was behind: what was received meanwhile is merged again, dated as it should be"
    );
}

/// When a source's last webhook came, in seconds since the epoch.
pub fn last_webhook(source: &str, at: Option<i64>) {
    gauge!("suppressd_last_webhook_timestamp_seconds", "source" => source.to_owned())
        .set(at.unwrap_or(0) as f64);
}

/// How long a source may say nothing.
pub fn silence_limit(source: &str, limit: Option<Duration>) {
    gauge!("suppressd_silence_limit_seconds", "source" => source.to_owned())
        .set(limit.unwrap_or_default().as_secs_f64());
}

/// How many suppressions of one reason and source are in force.
pub fn suppressions(reason: &'static str, source: &str, number: u64) {
    gauge!("suppressd_suppressions", "reason" => reason, "source" => source.to_owned())
        .set(number as f64);
}

/// The daemon starts.
pub fn starting(version: &str, configuration: impl Display) {
    info!(version, %configuration, "starting");
}

/// The daemon is ready.
pub fn started(seconds: f64) {
    info!(seconds, "ready");
}

/// The daemon was told to stop.
pub fn stopping(signal: &str) {
    info!(signal, "stopping");
}

/// The configuration is read again.
pub fn reloading(configuration: impl Display) {
    info!(%configuration, "reloading");
}

/// It is in force.
pub fn reloaded(seconds: f64) {
    info!(seconds, "reloaded");
    counter!("suppressd_reloads_total", "outcome" => "done").increment(1);
}

/// It is not.
pub fn reload_failed() {
    counter!("suppressd_reloads_total", "outcome" => "failed").increment(1);
    error!("reload failed: the settings of before are in force");
}

/// Why it is not.
pub fn fault(problem: &str) {
    error!(problem, "the configuration cannot be applied");
}

/// What has changed in it, and is not in force before a restart.
pub fn needs_restart(key: &str) {
    warn!(key, "this has changed in the configuration, and needs a restart");
}

/// A part of the daemon did not end in time.
pub fn straggler(name: &str) {
    error!(name, "stopping: did not end in time, and was cut off");
}

/// A part of the daemon ended by itself, which it must not.
pub fn ended_early(name: &str) {
    error!(name, "a part of suppressd ended by itself; stopping, so that it is started again");
}

/// The daemon has stopped.
pub fn stopped() {
    info!("stopped");
}

/// systemd could not be told something.
pub fn notify_failed(error: impl Display) {
    warn!(%error, "systemd could not be notified");
}

/// A new certificate is shown from now on.
pub fn certificate_read(end: Option<Time>) {
    let end = end.map_or_else(|| "unknown".to_owned(), |end| end.to_string());
    info!(end, "the certificate was read again");
}

/// What has become of the certificate's files cannot be used.
pub fn certificate_unusable(error: impl Display) {
    error!(%error, "the certificate has changed, and cannot be used: the one of before goes on");
}

/// The term of the certificate has ended, or soon will.
pub fn certificate_term(term: &str) {
    warn!("the certificate of the public listener: {term}; renew it: a new one is taken by itself");
}
