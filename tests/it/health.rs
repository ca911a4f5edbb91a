//! The three words for health: what makes each, and that `/readyz`, `status` and the metrics agree.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, source};
use crate::support::feed::Feed;
use crate::support::wait_for;

/// What `status` says: its exit status, its word, and the first of its checks.
fn status(daemon: &Daemon) -> (i32, String, Value) {
    let (code, rows) = daemon.answer(&["status"]);
    let word = rows[0]["state"].as_str().unwrap().to_owned();
    (code, word, rows[0]["checks"][0].clone())
}

/// Waits until a check is degraded, and compares all who tell of it.
#[track_caller]
fn assert_degraded(daemon: &Daemon, check: &str, of: &str, words: &str) {
    let title = format!("{check} {of}");
    let start = format!("degraded {}: ", title.trim_end());
    let line = wait_for(&start, PATIENCE, || {
        let answer = daemon.readyz();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let mut lines = answer.body.lines();
        let word = lines.next().map(str::to_owned);
        let line = lines.find(|line| line.starts_with(&start) && line.contains(words))?.to_owned();
        assert_eq!(word.as_deref(), Some("degraded"));
        Some(line)
    });
    let (code, word, first) = status(daemon);
    assert_eq!((code, &*word, &first["name"]), (4, "degraded", &check.into()), "{first}");
    assert_eq!(first["of"].as_str().unwrap_or_default(), of);
    assert!(line.ends_with(first["detail"].as_str().unwrap()), "{line}\n{first}");
    let text = String::from_utf8(daemon.cli(&["status"]).stdout).unwrap();
    let wrong = text.lines().nth(4).unwrap();
    assert!(wrong.starts_with(&format!("  {} ", title.trim_end())), "what is wrong first: {text}");
    let check = format!("suppressd_check{{check=\"{check}\",of=\"{of}\"}}");
    for (series, value) in [
        (&*check, 1.0),
        ("suppressd_state{state=\"degraded\"}", 1.0),
        ("suppressd_state{state=\"ready\"}", 0.0),
        ("suppressd_ready", 1.0),
    ] {
        assert_eq!(daemon.metric(series), Some(value), "{series}");
    }
}

#[track_caller]
fn assert_well(daemon: &Daemon) {
    daemon.until_well();
    let (code, word, _) = status(daemon);
    assert_eq!((code, &*word), (0, "ready"));
    assert_eq!(daemon.metric("suppressd_state{state=\"ready\"}"), Some(1.0));
}

#[test]
fn what_needs_a_hand_is_told_everywhere_and_mended() {
    let home = Home::new("");
    let daemon = home.start().ready();
    assert_well(&daemon);
    assert!(daemon.metric("suppressd_disk_free_bytes").unwrap() > 0.0);
    // What cannot be understood.
    assert_eq!(notify(daemon.http, "not an event").status, 200);
    assert_degraded(&daemon, "quarantine", "", "suppressd quarantine list");
    daemon.rows(&["quarantine", "drop", "--all"]);
    assert_well(&daemon);
    // What was damaged.
    let note = home.state().join("quarantine/journal-1-0.damaged");
    fs::write(&note, "").unwrap();
    assert_degraded(&daemon, "journal", "", note.to_str().unwrap());
    fs::remove_file(note).unwrap();
    assert_well(&daemon);
    // A file that cannot be written: something is in the way.
    let export = home.dir.join("access");
    fs::remove_file(&export).unwrap();
    fs::create_dir_all(export.join("in the way")).unwrap();
    assert_degraded(&daemon, "export", "postfix", "access");
    daemon.until_logged("export not written");
    daemon.until_logged("somebody else has changed or removed the file of the export");
    assert!(!daemon.log().contains("made anew"), "{}", daemon.log());
    fs::remove_dir_all(&export).unwrap();
    // That it was mended is shown for a while.
    assert_degraded(&daemon, "export", "postfix", "it was made anew");
    daemon.stop();
}

/// A body of many bounces, and who is in the last.
fn many(number: u32) -> (String, String) {
    let address = |row: u32| format!("u{row}@n{number}.test");
    let rows = (0..10_000).map(|row| event("hard_bounce", &address(row), &address(row), 1));
    let rows: Vec<_> = rows.collect();
    (format!("[{}]", rows.join(",")), address(9_999))
}

/// What is told of a store that lacks `last`. `None`: it has that.
fn told_behind(daemon: &Daemon, last: &str) -> Option<()> {
    let status = daemon.rows(&["status"])[0]["store"].clone();
    let seconds = daemon.metric("suppressd_store_lag_seconds");
    let records = daemon.metric("suppressd_store_lag_records");
    if daemon.looked_up(last) == 200 {
        return None;
    }
    assert!(status["state"] == "behind" && status["lag_seconds"].as_f64() >= Some(1.0), "{status}");
    assert!(status["lag_records"].as_u64() >= Some(1), "{status}");
    assert!(seconds >= Some(1.0) && records >= Some(1.0), "{seconds:?} {records:?}");
    Some(())
}

#[test]
fn a_store_that_lacks_what_was_acknowledged_is_not_called_current() {
    let home = Home::new("");
    let daemon = home.start().ready();
    assert_well(&daemon);
    let (mut number, mut bodies, mut told) = (0, 1, None);
    // More at once, until it takes more than a second.
    while told.is_none() {
        assert!(bodies <= 64, "nothing was to be seen");
        let mut last = String::new();
        for _ in 0..bodies {
            let body;
            (body, last) = many(number);
            assert_eq!(notify(daemon.http, &body).status, 200);
            number += 1;
        }
        let acknowledged = Instant::now();
        loop {
            let waited = acknowledged.elapsed();
            let ready = daemon.readyz();
            if daemon.looked_up(&last) == 200 {
                break;
            }
            if waited > Duration::from_millis(1_100) {
                let behind = ready.body.contains("degraded store: ");
                assert!(behind && ready.body.contains(" s behind; "), "{}", ready.body);
                told = told.or_else(|| told_behind(&daemon, &last));
            }
        }
        bodies *= 2;
    }
    wait_for("a store that is current", PATIENCE, || {
        let ready = daemon.readyz().body;
        ready.contains("ok store: open and current").then_some(())
    });
    assert_eq!(daemon.metric("suppressd_store_lag_records"), Some(0.0));
    assert_eq!(daemon.metric("suppressd_store_lag_seconds"), Some(0.0));
    daemon.stop();
}

#[test]
fn an_export_that_is_held_back_is_degraded_until_it_is_forced() {
    let home = Home::new("");
    let rows: String = (0..10).map(|n| format!("lost{n}@x.test 550 5.1.1 old\n")).collect();
    fs::write(home.dir.join("access"), rows).unwrap();
    let daemon = home.start().ready();
    assert_degraded(&daemon, "export", "postfix", "suppressd export postfix --force");
    daemon.rows(&["export", "postfix", "--force"]);
    assert_well(&daemon);
    daemon.stop();
}

#[test]
fn a_poll_that_has_stopped_is_degraded() {
    let feed = Feed::start();
    feed.require_bearer("another");
    let poll = format!("poll = {{ url = \"{}\", bearer = \"s3cret\" }}\n", feed.url());
    let home = Home::bare(&format!("{}{poll}", source()));
    let daemon = home.start().ready();
    assert_degraded(&daemon, "poll", "test", "stopped: authentication");
    feed.require_bearer("s3cret");
    daemon.cli(&["poll"]);
    assert_well(&daemon);
    daemon.stop();
}

#[test]
fn a_source_that_is_silent_for_too_long_is_degraded() {
    let home = Home::bare(&format!("{}silent = \"5s\"\n", source()));
    let daemon = home.start().ready();
    assert_degraded(&daemon, "source", "test", "no webhook since the start");
    let body = event("delivered", "user@example.com", "m", 1);
    assert_eq!(notify(daemon.http, &body).status, 200);
    assert_well(&daemon);
    assert_degraded(&daemon, "source", "test", "longer than 5s");
    daemon.stop();
}

#[test]
fn a_certificate_that_has_ended_is_degraded() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    let (certificate, key) = (files.join("ended.pem"), files.join("key.pem"));
    let home = Home::new("");
    let tls = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    home.configure_http(&tls, &source());
    let daemon = home.start().ready();
    assert_degraded(&daemon, "certificate", "", "2026-01-01T00:00:00Z");
    let expiry = daemon.metric("suppressd_certificate_expiry_timestamp_seconds");
    assert_eq!(expiry, Some(1_767_225_600.0));
    daemon.stop();
}

#[test]
fn what_does_not_serve_is_not_ready() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let (state, away) = (home.state(), home.dir.join("away"));
    fs::rename(&state, &away).unwrap();
    wait_for("the loss", PATIENCE, || (daemon.readyz().status == 503).then_some(()));
    let (code, word, first) = status(&daemon);
    assert_eq!((code, &*word, first["state"].as_str()), (1, "not ready", Some("not ready")));
    assert_eq!(daemon.metric("suppressd_ready"), Some(0.0));
    assert_eq!(daemon.metric("suppressd_state{state=\"not_ready\"}"), Some(1.0));
    fs::rename(&away, &state).unwrap();
    assert_well(&daemon);
    daemon.stop();
}
