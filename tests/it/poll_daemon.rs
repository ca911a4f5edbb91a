//! The daemon against a provider's API: what a poll adds to the webhooks, and what stops neither.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use suppressd::clock;

use crate::support::child::Guarded;
use crate::support::client::{notify, request};
use crate::support::daemon::{Daemon, Home, PATIENCE, PROGRAM, source};
use crate::support::feed::{Fault, Feed, row};
use crate::support::wait_for;

/// Longest stop while a request is waited for: the limit for draining, and a busy machine.
const STOP_MAX: Duration = Duration::from_secs(20);

/// A `poll` line. Its schedule never calls: there is one run at the start, and then on order.
fn poll(feed: &Feed) -> String {
    let url = feed.url();
    format!("poll = {{ url = \"{url}\", bearer = \"s3cret\", cron = \"0 0 0 29 2 *\" }}\n")
}

/// A source that is only polled.
fn polled(name: &str, feed: &Feed) -> String {
    format!("[[source]]\nname = \"{name}\"\nprovider = \"generic\"\n{}", poll(feed))
}

/// A time some minutes ago, to the second.
fn ago(minutes: u64) -> String {
    clock::now().minus(Duration::from_secs(60 * minutes)).floor_second().to_string()
}

/// `count` hard bounces, one a minute, ending a minute ago; numbered from `from`.
fn bounces(from: usize, count: usize) -> Vec<Value> {
    let one = |n: usize| {
        let address = format!("user{}@example.org", from + n);
        row("hard_bounce", &address, &ago((count - n) as u64), &format!("m{}", from + n))
    };
    (0..count).map(one).collect()
}

/// Waits until a source has been read up to the present since the daemon's start.
fn until_polled(daemon: &Daemon, name: &str) {
    let current = || (!daemon.source(name)["lag_seconds"].is_null()).then_some(());
    wait_for("the first poll", PATIENCE, current);
}

/// A field of each row that a verb prints, ascending.
fn column(daemon: &Daemon, arguments: &[&str], key: &str) -> Vec<String> {
    let text = |row: &Value| row[key].as_str().unwrap().to_owned();
    let mut column: Vec<String> = daemon.rows(arguments).iter().map(text).collect();
    column.sort();
    column
}

/// The recipients of all events, ascending.
fn recipients(daemon: &Daemon) -> Vec<String> {
    column(daemon, &["events"], "address")
}

/// Each of the numbered recipients once.
fn each_once(count: usize) -> Vec<String> {
    let mut all: Vec<String> = (0..count).map(|n| format!("user{n}@example.org")).collect();
    all.sort();
    all
}

#[test]
fn a_host_without_a_webhook_has_what_the_feed_has() {
    for relative in [false, true] {
        let feed = Feed::start();
        feed.page_rows(10);
        feed.relative_next(relative);
        feed.require_bearer("s3cret");
        let mut rows = bounces(0, 25);
        // Rows come in any order.
        rows.reverse();
        rows.rotate_left(7);
        rows.swap(3, 20);
        feed.push(rows);
        let home = Home::bare(&polled("acme", &feed));
        let daemon = home.start().ready();
        until_polled(&daemon, "acme");
        assert_eq!(recipients(&daemon), each_once(25));
        assert_eq!(daemon.rows(&["list"]).len(), 25);
        wait_for("the export", PATIENCE, || (home.export().lines().count() == 25).then_some(()));
        let source = daemon.source("acme");
        assert_eq!((&source["poll_only"], &source["both"]), (&json!(25), &json!(0)));
        assert_eq!(source["missed_by_webhook"], Value::Null, "there is none to miss anything");
        assert_eq!(request(daemon.http, "POST", "/hooks/acme", &[], b"{}").status, 404);
        assert_eq!(feed.requests().len(), 3);
        daemon.stop();
    }
}

#[test]
fn an_event_that_came_both_ways_is_one() {
    let feed = Feed::start();
    let home = Home::bare(&format!("{}{}", source(), poll(&feed)));
    let daemon = home.start().ready();
    until_polled(&daemon, "test");
    let rows = bounces(0, 4);
    // 0: webhook, then poll. 1: poll alone. 2: poll, then webhook. 3: webhook alone.
    // Of one event, the webhook may know the time more precisely.
    let mut precise = rows[0].clone();
    precise["timestamp"] = rows[0]["timestamp"].as_str().unwrap().replace('Z', ".250Z").into();
    assert_eq!(notify(daemon.http, &precise.to_string()).status, 200);
    feed.push(rows[..3].to_vec());
    let summary = daemon.rows(&["poll", "test"]).remove(0);
    assert_eq!((&summary["rows"], &summary["new"]), (&json!(3), &json!(2)));
    assert_eq!(notify(daemon.http, &rows[2].to_string()).status, 200);
    assert_eq!(notify(daemon.http, &rows[3].to_string()).status, 200);
    let both = || (daemon.source("test")["webhook_only"] == 1).then_some(());
    wait_for("the last webhook", PATIENCE, both);

    assert_eq!(recipients(&daemon), each_once(4));
    for (n, first, origins) in [
        (0, "webhook", json!(["poll", "webhook"])),
        (1, "poll", json!(["poll"])),
        (2, "poll", json!(["poll", "webhook"])),
        (3, "webhook", json!(["webhook"])),
    ] {
        let mut found = daemon.rows(&["events", "--message-id", &format!("m{n}")]);
        assert_eq!(found.len(), 1);
        let mut found = found.remove(0);
        found["origins"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
        assert_eq!((&found["origin"], &found["origins"]), (&json!(first), &origins), "{n}");
    }
    let source = daemon.source("test");
    for (key, count) in
        [("webhook_only", 1), ("poll_only", 1), ("both", 2), ("missed_by_webhook", 1)]
    {
        assert_eq!(source[key], count, "{key}");
    }
    let by = |by| format!("suppressd_source_events{{source=\"test\",by=\"{by}\"}}");
    for (series, value) in [(by("webhook"), 1.0), (by("poll"), 1.0), (by("both"), 2.0)] {
        assert_eq!(daemon.metric(&series), Some(value), "{series}");
    }
    assert_eq!(daemon.metric("suppressd_missed_by_webhook{source=\"test\"}"), Some(1.0));
    // Asked again, nothing is new, and nothing is counted twice.
    assert_eq!(daemon.rows(&["poll", "test"])[0]["new"], 0);
    let counts = |row: &Value| ["webhook_only", "poll_only", "both"].map(|key| row[key].clone());
    assert_eq!(counts(&daemon.source("test")), counts(&source));
    daemon.stop();
}

#[test]
fn a_daemon_killed_in_the_middle_of_paging_ends_with_the_feeds_events() {
    let feed = Feed::start();
    feed.page_rows(10);
    feed.push(bounces(0, 100));
    let home = Home::bare(&polled("acme", &feed));
    let mut asked = 0;
    for pages in 1..4 {
        feed.pass(pages);
        feed.fault(Fault::Stall);
        asked = feed.requests().len() + pages + 1;
        let daemon = home.start();
        feed.until_asked(asked);
        // A page is asked for while the one before it is committed.
        let committed = "suppressd_poll_pages_total{source=\"acme\"}";
        wait_for("the pages", PATIENCE, || {
            (daemon.metric(committed) == Some(pages as f64)).then_some(())
        });
        daemon.kill();
    }
    let daemon = home.start().ready();
    until_polled(&daemon, "acme");
    assert_eq!(recipients(&daemon), each_once(100));
    assert!(feed.requests()[asked].target.contains("from=60"), "it goes on where it was");
    assert_eq!(daemon.rows(&["quarantine", "list"]).len(), 0);
    daemon.stop();
}

#[test]
fn a_stop_in_the_middle_of_a_slow_page_is_quick_and_loses_nothing() {
    let feed = Feed::start();
    feed.page_rows(10);
    feed.push(bounces(0, 30));
    feed.pass(1);
    feed.fault(Fault::Stall);
    let home = Home::bare(&polled("acme", &feed));
    let daemon = home.start().ready();
    feed.until_asked(2);
    let started = Instant::now();
    let log = daemon.stop();
    assert!(started.elapsed() < STOP_MAX, "{log}");
    assert!(!log.contains("did not end in time"), "{log}");
    let daemon = home.start().ready();
    until_polled(&daemon, "acme");
    assert_eq!(recipients(&daemon), each_once(30));
    daemon.stop();
}

#[test]
fn a_stop_ends_an_operators_run_too() {
    let feed = Feed::start();
    let home = Home::bare(&polled("acme", &feed));
    let daemon = home.start().ready();
    until_polled(&daemon, "acme");
    feed.push(bounces(0, 3));
    feed.fault(Fault::Stall);
    let asked = feed.requests().len() + 1;
    let mut command = Command::new(PROGRAM);
    command.args(["poll", "acme", "-c"]).arg(home.config());
    let run = Guarded::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    feed.until_asked(asked);
    let started = Instant::now();
    let log = daemon.stop();
    assert!(started.elapsed() < STOP_MAX, "{log}");
    assert!(!log.contains("did not end in time") && !log.contains("cut off"), "{log}");
    let output = run.output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopping"), "{output:?}");
}

#[test]
fn an_interval_polls_by_itself() {
    let feed = Feed::start();
    let poll = polled("acme", &feed).replace("cron = \"0 0 0 29 2 *\"", "every = \"1s\"");
    let home = Home::bare(&poll);
    let daemon = home.start().ready();
    for n in 0..3 {
        feed.push(bounces(n, 1));
        let known = || (recipients(&daemon) == each_once(n + 1)).then_some(());
        wait_for("the row", PATIENCE, known);
    }
    daemon.stop();
}

#[test]
fn who_asks_is_told_that_the_provider_wants_a_wait() {
    let feed = Feed::start();
    let home = Home::bare(&polled("acme", &feed));
    let daemon = home.start().ready();
    until_polled(&daemon, "acme");
    feed.fault(Fault::Status(429, vec![("retry-after", "1".to_owned())]));
    let said = String::from_utf8(daemon.cli(&["poll", "acme"]).stderr).unwrap();
    assert!(said.contains("acme: told to wait 1 s"), "{said}");
    daemon.until_logged("the provider told us to wait");
    daemon.stop();
}

#[test]
fn a_failed_run_leaves_the_cursor_and_the_next_has_everything() {
    let feed = Feed::start();
    let home = Home::bare(&polled("acme", &feed));
    let daemon = home.start().ready();
    until_polled(&daemon, "acme");
    let faults = [
        (Fault::Status(500, Vec::new()), "500"),
        (Fault::Status(503, vec![("retry-after", "3600".to_owned())]), "503"),
        (Fault::Status(429, vec![("retry-after", "3600".to_owned())]), "429"),
        (Fault::Html, "web page"),
        (Fault::Garbage, "cannot be read"),
        (Fault::Cut, ""),
        (Fault::Truncated, ""),
    ];
    for (number, (fault, says)) in faults.into_iter().enumerate() {
        feed.push(bounces(3 * number, 3));
        feed.fault(fault.clone());
        let asked = feed.requests().len();
        let failed = daemon.cli(&["poll", "acme"]);
        assert_eq!(failed.status.code(), Some(1), "{fault:?}");
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(said.contains(says), "{fault:?}: {said}");
        if says == "429" || says == "503" {
            // It waits, as it was told to; only an operator may ask before.
            let source = daemon.source("acme");
            assert_eq!(source["poll_state"], "backing off");
            let next = source["next_poll"].as_str().unwrap();
            let later = clock::now().plus(Duration::from_secs(3_000)).to_string();
            assert!(next > later.as_str(), "{next}");
            assert_eq!(feed.requests().len(), asked + 1);
        }
        let (code, summary) = daemon.answer(&["poll", "acme"]);
        assert_eq!((code, &summary[0]["error"]), (0, &Value::Null), "{fault:?}");
        assert_eq!(recipients(&daemon), each_once(3 * number + 3), "{fault:?}");
        let requests = feed.requests();
        assert_eq!(requests[asked].target, requests[asked + 1].target, "{fault:?}");
        assert_eq!(daemon.source("acme")["last_error"], Value::Null);
    }
    assert!(daemon.stop().contains("poll failed"));
}

#[test]
fn a_provider_that_asks_for_patience_is_asked_again_without_an_operator() {
    let feed = Feed::start();
    feed.page_rows(2);
    feed.push(bounces(0, 5));
    feed.pass(1);
    feed.fault(Fault::Status(429, vec![("retry-after", "2".to_owned())]));
    let home = Home::bare(&polled("acme", &feed));
    let daemon = home.start().ready();
    feed.until_asked(2);
    let refused = Instant::now();
    feed.until_asked(3);
    assert!(refused.elapsed() > Duration::from_millis(1_900), "{:?}", refused.elapsed());
    until_polled(&daemon, "acme");
    assert_eq!(recipients(&daemon), each_once(5));
    let requests = feed.requests();
    assert_eq!(requests[1].target, requests[2].target, "it goes on where it was");
    daemon.stop();
}

#[test]
fn refused_credentials_stop_one_source_until_an_operator_asks() {
    let (bad, good) = (Feed::start(), Feed::start());
    bad.require_bearer("another");
    bad.push(bounces(0, 2));
    good.push(bounces(2, 2));
    let home = Home::bare(&format!("{}{}", polled("bad", &bad), polled("good", &good)));
    let daemon = home.start().ready();
    until_polled(&daemon, "good");
    daemon.until_logged("polling stopped: the provider refuses the credentials");
    let source = daemon.source("bad");
    assert_eq!(source["poll_state"], "stopped: authentication");
    assert!(source["last_error"].as_str().unwrap().contains("401"), "{source}");
    assert_eq!(daemon.source("good")["poll_state"], "idle");
    assert_eq!(bad.requests().len(), 1);
    assert_eq!(daemon.cli(&["poll", "bad"]).status.code(), Some(1));
    assert_eq!(daemon.cli(&["poll", "good"]).status.code(), Some(0));
    let (code, rows) = daemon.answer(&["poll"]);
    assert_eq!((code, rows.len()), (1, 2), "both are told of, and one has failed");
    assert_eq!((&rows[1]["source"], &rows[1]["error"]), (&json!("good"), &Value::Null));
    bad.require_bearer("s3cret");
    assert_eq!(daemon.cli(&["poll", "bad"]).status.code(), Some(0));
    assert_eq!(daemon.source("bad")["poll_state"], "idle");
    assert_eq!(recipients(&daemon), each_once(4));
    let log = daemon.stop();
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn unreadable_rows_are_held_and_the_rest_is_kept() {
    let feed = Feed::start();
    let mut rows = bounces(0, 3);
    rows.insert(0, json!({ "event": "hard_bounce", "timestamp": ago(1) }));
    rows.insert(2, json!(7));
    rows.push(row("hard_bounce", "a@b@example.org", &ago(1), "odd"));
    feed.push(rows);
    let home = Home::bare(&polled("acme", &feed));
    let daemon = home.start().ready();
    until_polled(&daemon, "acme");
    assert_eq!(recipients(&daemon), each_once(3));
    assert_eq!(daemon.rows(&["quarantine", "list"]).len(), 3);
    assert_eq!(daemon.source("acme")["unreadable"], 3);
    let total = "suppressd_quarantined_total{source=\"acme\"}";
    assert_eq!(daemon.metric(total), Some(3.0));
    assert_eq!(daemon.metric("suppressd_quarantine_elements"), Some(3.0));
    // They come again with each overlap, and are no more for that.
    let held = || column(&daemon, &["quarantine", "list"], "id");
    let first = held();
    assert_eq!(daemon.cli(&["poll", "acme"]).status.code(), Some(0));
    assert_eq!(held(), first);
    assert_eq!(daemon.source("acme")["unreadable"], 3);
    assert_eq!(daemon.metric(total), Some(3.0));
    // What was dropped does not come back, and what is new does come.
    assert!(daemon.cli(&["quarantine", "drop", &first[0]]).status.success());
    feed.push([json!({ "event": "complaint", "timestamp": ago(0) })]);
    assert_eq!(daemon.cli(&["poll", "acme"]).status.code(), Some(0));
    let now = held();
    assert!(now.len() == 3 && !now.contains(&first[0]), "{now:?}");
    assert!(first[1..].iter().all(|id| now.contains(id)), "{now:?}");
    assert!(daemon.stop().contains("quarantine: could not understand"));
}

#[test]
fn an_operator_can_read_further_back() {
    let feed = Feed::start();
    let home = Home::bare(&polled("acme", &feed));
    let daemon = home.start().ready();
    until_polled(&daemon, "acme");
    let day = 24 * 60;
    feed.push([
        row("hard_bounce", "old@example.org", &ago(40 * day), "old"),
        row("complaint", "older@example.org", &ago(50 * day), "older"),
    ]);
    assert_eq!(daemon.rows(&["poll", "acme"])[0]["new"], 0, "they lie behind the cursor");
    let since = ago(45 * day);
    let (code, rows) = daemon.answer(&["poll", "acme", "--since", &since]);
    assert_eq!((code, rows.len()), (0, 1));
    for (key, value) in [("source", json!("acme")), ("rows", json!(1)), ("new", json!(1))] {
        assert_eq!(rows[0][key], value, "{key}");
    }
    let output = daemon.cli(&["poll", "acme", "--since", "60d"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("acme (events): pages 1, rows 2, new 1, "), "{said}");
    assert_eq!(recipients(&daemon), ["old@example.org", "older@example.org"]);
    for unknown in ["nobody", "operator"] {
        let output = daemon.cli(&["poll", unknown]);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
    }
    daemon.stop();
}
