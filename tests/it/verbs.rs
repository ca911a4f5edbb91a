//! The verbs against a running daemon, and the private listener: names, filters, exit statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use suppressd::clock;

use crate::support::child::{Guarded, output};
use crate::support::client::{SECRET, event, notify, request, sign};
use crate::support::daemon::{Daemon, Home, PATIENCE, PROGRAM, source};
use crate::support::wait_for;

/// A second source, with the same secret.
fn second() -> String {
    source().replace("\"test\"", "\"second\"")
}

/// Sends an event to a source; it must be taken.
fn tell(daemon: &Daemon, source: &str, body: &str) {
    let signature = sign(SECRET, body.as_bytes());
    let headers = [("x-webhook-signature", signature.as_str())];
    let path = format!("/hooks/{source}");
    assert_eq!(request(daemon.http, "POST", &path, &headers, body.as_bytes()).status, 200);
}

/// An event at a time that is given as text.
fn at(kind: &str, address: &str, message: &str, time: &str) -> String {
    json!({ "event": kind, "recipient": address, "message_id": message, "timestamp": time })
        .to_string()
}

fn ago(minutes: u64) -> String {
    clock::now().minus(Duration::from_secs(60 * minutes)).floor_second().to_string()
}

/// Waits until so many events are applied.
fn until_events(daemon: &Daemon, count: usize) {
    wait_for("the events", PATIENCE, || (daemon.rows(&["events"]).len() == count).then_some(()));
}

/// A field of each row, as text, ascending.
fn column(rows: &[Value], key: &str) -> Vec<String> {
    let mut column: Vec<String> =
        rows.iter().map(|row| row[key].as_str().unwrap_or("null").to_owned()).collect();
    column.sort();
    column
}

#[track_caller]
fn assert_keys(row: &Value, keys: &str, extra: &[&str]) {
    let keys: BTreeSet<&str> = keys.split_whitespace().chain(extra.iter().copied()).collect();
    let has: BTreeSet<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(has, keys, "{row}");
}

fn suppressed(daemon: &Daemon, address: &str) -> bool {
    let (code, rows) = daemon.answer(&["lookup", address]);
    assert_eq!(rows[0]["suppressed"], code == 3, "{code}");
    code == 3
}

const EVENT: &str = "id source provider kind class address scope at received_at origin origins \
    message_id smtp_code enhanced_code diagnostic tags metadata machine url user_agent \
    provider_kind provider_event_id";

/// What `explain` shows of an event beyond that: why its class is what it is.
const WHY: &[&str] = &["rule", "evidence"];

const SUPPRESSION: &str = "address scope reason since until sources note";

#[test]
fn rows_have_the_fields_of_the_contract() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let body = json!({
        "event": "hard_bounce", "timestamp": "2026-06-15T12:32:11.500+02:00",
        "message_id": "msg_1", "recipient": "User@Example.com", "reason": "550 5.1.1 no such user",
        "smtp_code": 550, "event_id": "e1",
    });
    assert_eq!(notify(daemon.http, &body.to_string()).status, 200);
    until_events(&daemon, 1);
    let row = daemon.rows(&["events"]).remove(0);
    assert_keys(&row, EVENT, &[]);
    for (key, value) in [
        ("source", json!("test")),
        ("provider", json!("generic")),
        ("kind", json!("hard_bounce")),
        ("address", json!("User@Example.com")),
        ("scope", json!("global")),
        ("at", json!("2026-06-15T10:32:11.500Z")),
        ("origin", json!("webhook")),
        ("origins", json!(["webhook"])),
        ("message_id", json!("msg_1")),
        ("smtp_code", json!(550)),
        ("enhanced_code", json!("5.1.1")),
        ("diagnostic", json!("550 5.1.1 no such user")),
        ("tags", json!([])),
        ("url", Value::Null),
        ("user_agent", Value::Null),
        ("provider_kind", json!("hard_bounce")),
        ("provider_event_id", json!("e1")),
        ("machine", json!(false)),
        ("metadata", Value::Null),
    ] {
        assert_eq!(row[key], value, "{key}");
    }
    assert!(row["received_at"].as_str().unwrap().ends_with('Z'));
    let row = daemon.rows(&["list"]).remove(0);
    assert_keys(&row, SUPPRESSION, &[]);
    let expected = json!({
        "address": "User@Example.com", "scope": "global", "reason": "hard_bounce",
        "since": "2026-06-15T10:32:11.500Z", "until": null, "sources": ["test"], "note": null,
    });
    assert_eq!(row, expected);
    let (code, rows) = daemon.answer(&["lookup", "USER@example.com", "other@example.com"]);
    assert_eq!((code, rows.len()), (3, 2));
    assert_keys(&rows[0], SUPPRESSION, &["suppressed", "never", "forgotten", "exports"]);
    assert_keys(&rows[1], SUPPRESSION, &["suppressed", "never", "forgotten", "exports"]);
    assert_eq!(rows[0]["since"], "2026-06-15T10:32:11.500Z");
    assert_eq!((&rows[1]["suppressed"], &rows[1]["reason"]), (&json!(false), &Value::Null));
    assert_eq!(daemon.answer(&["lookup", "other@example.com"]).0, 0);
    assert!(suppressed(&daemon, "user@EXAMPLE.com"));
    daemon.stop();
}

/// Six suppressions of two sources and the operator.
fn six(daemon: &Daemon) {
    tell(daemon, "test", &event("hard_bounce", "a@one.example", "m1", 10));
    tell(daemon, "test", &event("complaint", "b@one.example", "m2", 20));
    tell(daemon, "second", &event("unsubscribed", "c@two.example", "m3", 30));
    tell(daemon, "second", &event("hard_bounce", "f@b\u{fc}cher.example", "m4", 40));
    assert!(daemon.cli(&["add", "d@two.example", "--note", "asked us to"]).status.success());
    let scoped = ["add", "e@two.example", "--scope", "stream:news"];
    assert!(daemon.cli(&scoped).status.success());
    wait_for("all", PATIENCE, || (daemon.rows(&["list"]).len() == 6).then_some(()));
}

#[test]
fn list_and_events_are_filtered() {
    let home = Home::new(&second());
    let daemon = home.start().ready();
    six(&daemon);
    for (filter, locals) in [
        (&[][..], "abcdef"),
        (&["--reason", "hard_bounce"], "af"),
        (&["--reason", "manual"], "de"),
        (&["--source", "second"], "cf"),
        (&["--source", "operator"], "de"),
        (&["--source", "nobody"], ""),
        (&["--domain", "one.example"], "ab"),
        (&["--domain", "example"], ""),
        (&["--domain", "B\u{dc}CHER.example"], "f"),
        (&["--domain", "xn--bcher-kva.example"], "f"),
        (&["--scope", "global"], "abcdf"),
        (&["--scope", "stream:news"], "e"),
        (&["--since", "2026-06-15T00:00:20Z", "--until", "2026-06-15T00:00:40Z"], "bc"),
        (&["--until", "2026-06-15T02:00:20+02:00"], "a"),
        (&["--source", "test", "--reason", "complaint"], "b"),
    ] {
        let found = column(&daemon.rows(&[&["list"], filter].concat()), "address");
        let found: String = found.iter().map(|address| &address[..1]).collect();
        assert_eq!(found, locals, "{filter:?}");
    }
    for (filter, messages) in [
        (&["--address", "A@ONE.example"][..], &["m1"][..]),
        (&["--message-id", "m2"], &["m2"]),
        (&["--kind", "hard_bounce"], &["m1", "m4"]),
        (&["--kind", "listed"], &["null", "null"]),
        (&["--source", "second"], &["m3", "m4"]),
        (&["--since", "2026-06-15T00:00:20Z", "--until", "2026-06-15T00:00:40Z"], &["m2", "m3"]),
        (&["--address", "a@one.example", "--kind", "complaint"], &[]),
        (&["--message-id", "m1", "--source", "second"], &[]),
    ] {
        let found = column(&daemon.rows(&[&["events"], filter].concat()), "message_id");
        assert_eq!(found, messages, "{filter:?}");
    }
    assert_eq!(daemon.answer(&["lookup", "e@two.example"]).0, 0);
    assert_eq!(daemon.answer(&["lookup", "e@two.example", "--scope", "stream:news"]).0, 3);
    daemon.stop();
}

#[test]
fn followed_events_come_as_they_are_told() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let mut command = Command::new(PROGRAM);
    // So that it makes no difference which comes first, the follower or the first event.
    let follow = ["events", "--follow", "-n", "9", "--json", "--kind", "complaint", "-c"];
    command.args(follow).arg(home.config());
    let mut follow = Guarded::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    for n in 0..3 {
        let message = format!("m{n}");
        tell(&daemon, "test", &event("hard_bounce", "a@x.example", &message, n));
        tell(&daemon, "test", &event("complaint", "b@x.example", &message, n));
        let row: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&row["kind"], &row["message_id"]), (&json!("complaint"), &json!(message)));
        assert_keys(&row, EVENT, &[]);
    }
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(lines.next().is_none());
    tell(&daemon, "test", &event("complaint", "c@x.example", "m9", 9));
    until_events(&daemon, 7);
    let series = "suppressd_control_commands_total{verb=\"events\",outcome=\"gone\"}";
    wait_for("the follower's end", PATIENCE, || (daemon.metric(series)? == 1.0).then_some(()));
    daemon.stop();
}

#[test]
fn a_lift_covers_the_past_and_nothing_that_follows() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let address = "user@example.com";
    let first = at("hard_bounce", address, "m1", &ago(60));
    tell(&daemon, "test", &first);
    wait_for("the bounce", PATIENCE, || suppressed(&daemon, address).then_some(()));
    let dry = daemon.rows(&["lift", address, "--dry-run"]);
    assert_eq!((&dry[0]["done"], &dry[0]["reason"]), (&json!(false), &json!("hard_bounce")));
    assert!(suppressed(&daemon, address));
    assert_eq!(daemon.rows(&["events"]).len(), 1, "a dry run leaves nothing behind");

    let (code, rows) = daemon.answer(&["lift", address, "--note", "called us"]);
    assert_eq!((code, &rows[0]["done"]), (0, &json!(true)));
    assert!(!suppressed(&daemon, address));
    // What is older arrives late, and what is known arrives again: the lift stands.
    tell(&daemon, "test", &at("hard_bounce", address, "m0", &ago(120)));
    tell(&daemon, "test", &first);
    until_events(&daemon, 3);
    let again = || (daemon.source("test")["repeated"] == 1).then_some(());
    wait_for("the repeated bounce", PATIENCE, again);
    assert!(!suppressed(&daemon, address));
    // Whoever wonders why it does not count is told.
    let late = &daemon.rows(&["explain", address])[0]["lifted_before_told"];
    assert_eq!(late.as_array().map(Vec::len), Some(1), "{late}");
    assert_eq!(late[0]["kind"], "hard_bounce");
    let told = String::from_utf8(daemon.cli(&["explain", address]).stdout).unwrap();
    assert!(told.contains("told after a lift and dated before it"), "{told}");
    assert_eq!(daemon.rows(&["list"]).len(), 0);
    tell(&daemon, "test", &at("hard_bounce", address, "m2", &clock::now().to_string()));
    wait_for("the newer bounce", PATIENCE, || suppressed(&daemon, address).then_some(()));
    let explained = daemon.rows(&["explain", address]).remove(0);
    explanation(&explained);
    // Over a restart, too.
    daemon.stop();
    let daemon = home.start().ready();
    assert_eq!(daemon.rows(&["explain", address])[0]["scopes"], explained["scopes"]);
    daemon.stop();
}

/// `explain` after three bounces and a lift.
fn explanation(row: &Value) {
    let keys = "address suppressed suppression never known scopes rules events events_left_out \
                exports forgotten";
    assert_keys(row, keys, &["lifted_before_told"]);
    assert_keys(&row["suppression"], SUPPRESSION, &[]);
    assert_eq!(row["events"].as_array().unwrap().len(), 4);
    for event in row["events"].as_array().unwrap() {
        let is_failure = event.get("rule").is_some();
        assert_keys(event, EVENT, if is_failure { WHY } else { &[] });
    }
    let scope = &row["scopes"][0];
    assert_eq!(scope["scope"], "global");
    assert_eq!(scope["lifts"].as_array().unwrap().len(), 1, "{scope}");
    assert_eq!(scope["findings"][0]["live"], true, "{scope}");
    assert_eq!(row["rules"]["hard_bounce"], "forever");
    let rule = json!({"count": 5, "within": "14d", "apart": "0s", "for": "30d"});
    assert_eq!(row["rules"]["soft_bounce"], rule);
    assert_eq!(row["exports"][0]["name"], "postfix");
}

#[test]
fn no_more_rows_are_shown_than_are_asked_for_and_quiet_says_the_answer_alone() {
    let home = Home::new("");
    let daemon = home.start().ready();
    tell(&daemon, "test", "[7, 8, 9]");
    wait_for("the payloads", PATIENCE, || {
        (daemon.rows(&["quarantine", "list"]).len() == 3).then_some(())
    });
    assert_eq!(daemon.rows(&["quarantine", "list", "-n", "2"]).len(), 2);
    for _ in 0..3 {
        assert_eq!(notify(daemon.http, "no JSON, and no signature").status, 200);
        let headers = [("x-webhook-signature", "00")];
        request(daemon.http, "POST", "/hooks/test", &headers, b"{}");
    }
    assert_eq!(daemon.rows(&["refused", "--limit", "2"]).len(), 2);
    let lines = |verb: &[&str]| {
        let output = daemon.cli(verb);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    assert_eq!(lines(&["add", "a@x.test", "--quiet"]), 2);
    assert!(lines(&["add", "b@x.test"]) > 2);
    daemon.stop();
}

#[test]
fn a_lift_can_be_limited_to_a_reason() {
    let home = Home::new(&second());
    let daemon = home.start().ready();
    let address = "user@example.com";
    tell(&daemon, "test", &event("hard_bounce", address, "m1", 1));
    tell(&daemon, "test", &event("complaint", address, "m2", 2));
    tell(&daemon, "second", &event("hard_bounce", "other@example.com", "m3", 3));
    until_events(&daemon, 3);
    let reasons = |daemon: &Daemon| column(&daemon.rows(&["list"]), "reason");
    assert_eq!(daemon.rows(&["lift", "--reason", "hard_bounce", "--yes"]).len(), 2);
    assert_eq!(reasons(&daemon), ["complaint"]);
    assert!(suppressed(&daemon, address));
    assert!(!suppressed(&daemon, "other@example.com"));
    assert!(daemon.cli(&["lift", address, "--source", "second"]).status.success());
    assert_eq!(reasons(&daemon), ["complaint"], "the other source never said so");
    assert!(daemon.cli(&["lift", address]).status.success());
    assert_eq!(reasons(&daemon), [""; 0]);
    daemon.stop();
}

#[test]
fn an_addition_has_its_note_and_its_end() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let before = clock::now();
    let (code, _) =
        daemon.answer(&["add", "a@x.example", "b@x.example", "--for", "2h", "--note", "why not"]);
    assert_eq!(code, 0);
    let rows = daemon.rows(&["list"]);
    assert_eq!(column(&rows, "address"), ["a@x.example", "b@x.example"]);
    for row in &rows {
        assert_eq!((&row["note"], &row["reason"]), (&json!("why not"), &json!("manual")));
        assert_eq!(row["sources"], json!(["operator"]));
        let until = suppressd::model::Time::parse(row["until"].as_str().unwrap()).unwrap();
        let span = until.since(before).as_secs();
        assert!((7_200..7_260).contains(&span), "{span}");
    }
    assert!(daemon.cli(&["add", "short@x.example", "--for", "2s"]).status.success());
    let exported = |text: &str| home.export().contains(text);
    wait_for("its row", PATIENCE, || exported("short@").then_some(()));
    wait_for("its end", PATIENCE, || (!suppressed(&daemon, "short@x.example")).then_some(()));
    wait_for("its row's end", PATIENCE, || (!exported("short@")).then_some(()));
    assert!(exported("a@x.example\t550 5.7.1 suppressed: manual"));
    daemon.stop();
}

#[test]
fn soft_bounces_count_by_message_and_a_delivery_resets_them() {
    let home = Home::new("");
    let daemon = home.start().ready();
    // One beginning, so that what is sent twice is the same to the second.
    let begin = clock::now().minus(Duration::from_secs(60 * 500));
    let minute = |n: u64| begin.plus(Duration::from_secs(60 * n)).floor_second().to_string();
    let soft = |address: &str, n: u64| {
        tell(&daemon, "test", &at("soft_bounce", address, &format!("m{n}"), &minute(n)));
    };
    for _ in 0..10 {
        soft("once@x.example", 1);
    }
    for n in 0..4 {
        soft("five@x.example", n);
        soft("reset@x.example", n);
    }
    tell(&daemon, "test", &at("delivered", "reset@x.example", "d", &minute(100)));
    until_events(&daemon, 10);
    assert_eq!(daemon.rows(&["list"]).len(), 0);
    soft("five@x.example", 4);
    // Older than the delivery, and newer: it takes five after it.
    soft("reset@x.example", 50);
    for n in 200..204 {
        soft("reset@x.example", n);
    }
    until_events(&daemon, 16);
    let rows = daemon.rows(&["list"]);
    assert_eq!(column(&rows, "address"), ["five@x.example"]);
    assert_eq!(rows[0]["reason"], "soft_bounces");
    assert!(rows[0]["until"].is_string());
    assert_eq!(daemon.source("test")["repeated"], 9);
    soft("reset@x.example", 204);
    wait_for("the fifth", PATIENCE, || suppressed(&daemon, "reset@x.example").then_some(()));
    daemon.stop();
}

#[test]
fn new_rules_judge_old_facts() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let day = 24 * 60;
    tell(&daemon, "test", &at("hard_bounce", "hard@x.example", "m", &ago(2 * day)));
    for n in 0..3 {
        let (message, time) = (format!("m{n}"), ago(60 + n));
        tell(&daemon, "test", &at("soft_bounce", "soft@x.example", &message, &time));
        tell(&daemon, "test", &at("blocked", "blocked@x.example", &message, &time));
    }
    until_events(&daemon, 7);
    assert_eq!(column(&daemon.rows(&["list"]), "address"), ["hard@x.example"]);
    daemon.stop();
    let rules = "[rules]\nhard_bounce = { for = \"1d\" }\n\
        soft_bounce = { count = 3, within = \"1d\", for = \"7d\" }\n\
        blocked = { count = 2, within = \"1d\", for = \"7d\" }\n";
    home.configure(&format!("{}{rules}", source()));
    let daemon = home.start().ready();
    let listed = column(&daemon.rows(&["list"]), "address");
    assert_eq!(listed, ["blocked@x.example", "soft@x.example"]);
    // What the new rules add is there at once. All that was there would go, which waits for a word.
    let rows = |count| (home.export().lines().count() == count).then_some(());
    wait_for("the additions", PATIENCE, || rows(3));
    // The file is there a moment before it is told of.
    let is_held = || (daemon.exported()["held_rows"] == 1).then_some(());
    wait_for("the row that is held", PATIENCE, is_held);
    assert_eq!(daemon.cli(&["export", "postfix", "--force"]).status.code(), Some(0));
    wait_for("the export", PATIENCE, || rows(2));
    assert!(!home.export().contains("hard@"));
    daemon.stop();
    home.configure(&source());
    let daemon = home.start().ready();
    assert_eq!(column(&daemon.rows(&["list"]), "address"), ["hard@x.example"]);
    daemon.stop();
}

#[test]
fn every_kind_of_the_generic_provider_can_be_triggered() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let kinds = [
        ("accepted", None),
        ("delivered", None),
        ("deferred", None),
        ("soft_bounce", None),
        ("hard_bounce", Some("hard_bounce")),
        ("blocked", None),
        ("complaint", Some("complaint")),
        ("unsubscribed", Some("unsubscribe")),
        ("resubscribed", None),
        ("rejected", Some("provider_listed")),
        ("failed", None),
        ("opened", None),
        ("clicked", None),
    ];
    for (kind, _) in kinds {
        let address = format!("{kind}@x.example");
        let (code, rows) = daemon.answer(&["trigger", "test", kind, &address]);
        assert_eq!((code, &rows[0]["status"]), (0, &json!(200)), "{kind}");
    }
    until_events(&daemon, kinds.len());
    for (kind, reason) in kinds {
        let events = daemon.rows(&["events", "--kind", kind]);
        assert_eq!(column(&events, "address"), [format!("{kind}@x.example")]);
        let found = daemon.rows(&["lookup", &format!("{kind}@x.example")]);
        assert_eq!(found[0]["reason"].as_str(), reason, "{kind}");
    }
    for arguments in [["test", "listed"], ["test", "unknown"], ["nobody", "complaint"]] {
        let output = daemon.cli(&[&["trigger"], &arguments[..], &["a@x.example"]].concat());
        assert_eq!(output.status.code(), Some(64), "{output:?}");
    }
    assert_eq!(daemon.rows(&["quarantine", "list"]).len(), 0);
    daemon.stop();
}

#[test]
fn programs_on_the_host_can_look_up() {
    let home = Home::new("");
    let daemon = home.start().ready();
    for address in ["user+tag@example.com", "\"a b\"@example.com", "jos\u{e9}@example.com"] {
        assert!(daemon.cli(&["add", address]).status.success());
    }
    assert!(daemon.cli(&["add", "s@example.com", "--scope", "stream:a b"]).status.success());
    let get =
        |path: &str| request(daemon.admin, "GET", &format!("/v1/suppressions/{path}"), &[], b"");
    for (path, status) in [
        ("user+tag@example.com", 200),
        ("user%2Btag%40example.com", 200),
        ("USER+TAG@EXAMPLE.COM", 200),
        ("user%20tag@example.com", 404),
        ("user@example.com", 404),
        ("tag@example.com", 404),
        ("%22a%20b%22@example.com", 200),
        ("jos%C3%A9@example.com", 200),
        ("jos%c3%a9@example.com?scope=global", 200),
        ("s@example.com", 404),
        ("s@example.com?scope=stream%3Aa%20b", 200),
        ("s@example.com?scope=stream:a+b", 200),
        ("s@example.com?scope=odd", 400),
        ("nobody", 400),
        ("a%40b%40example.com", 404),
        ("a%20b@example.com", 200),
        ("a%0ab@example.com", 400),
    ] {
        let answer = get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        if status == 200 {
            assert_eq!(body["reason"], "manual", "{path}");
            let text = SUPPRESSION.split_whitespace();
            assert!(text.into_iter().all(|key| body.get(key).is_some()), "{body}");
        }
    }
    assert!(daemon.cli(&["lift", "user+tag@example.com"]).status.success());
    assert_eq!(get("user+tag@example.com").status, 404);
    let post = request(daemon.admin, "POST", "/v1/suppressions/a@b.example", &[], b"");
    assert_ne!(post.status, 200, "nobody may change anything without a token");
    daemon.stop();
}

#[test]
fn programs_on_the_host_can_read_all_page_by_page() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let addresses: Vec<String> = (0..25).map(|n| format!("user{n:02}@example.com")).collect();
    let all: Vec<&str> = ["add"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
    assert!(daemon.cli(&all).status.success());
    assert!(daemon.cli(&["add", "user04@example.com", "--scope", "stream:x"]).status.success());
    let at = |path: &str| request(daemon.admin, "GET", path, &[], b"");
    let get = |query: &str| at(&format!("/v1/suppressions?{query}"));
    let (mut place, mut found, mut pages) =
        ("/v1/suppressions?limit=5&domain=example.com".to_owned(), Vec::new(), 0);
    loop {
        let page: Value = serde_json::from_str(&at(&place).body).unwrap();
        let rows = page["suppressions"].as_array().unwrap();
        found.extend(rows.iter().map(|row| row["address"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => place = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((found.len(), pages), (26, 6), "no page has more than five");
    found.dedup();
    assert_eq!(found, addresses);
    let of = |query: &str| -> usize {
        let page: Value = serde_json::from_str(&get(query).body).unwrap();
        page["suppressions"].as_array().unwrap().len()
    };
    assert_eq!((of("reason=manual"), of("reason=complaint"), of("source=operator")), (26, 0, 26));
    assert_eq!((of("domain=example.org"), of("scope=stream:x")), (0, 1));
    assert_eq!((of("since=2001-01-01T00:00:00Z"), of("since=2199-01-01T00:00:00Z")), (26, 0));
    for bad in ["limit=0", "limit=x", "reason=odd", "colour=red"] {
        assert_eq!(get(bad).status, 400, "{bad}");
    }
    daemon.stop();
}

#[test]
fn health_and_metrics_are_in_their_forms() {
    let home = Home::new(&second());
    let daemon = home.start().ready();
    six(&daemon);
    assert_eq!(notify(daemon.http, "not an event").status, 200);
    // A domain in U-labels has a second row; the stream's is not for this export.
    wait_for("the export", PATIENCE, || (home.export().lines().count() == 6).then_some(()));
    let rows = "suppressd_export_rows{export=\"postfix\"}";
    wait_for("its metric", PATIENCE, || (daemon.metric(rows)? == 6.0).then_some(()));
    let quarantined = || daemon.metric("suppressd_quarantine_elements").filter(|n| *n == 1.0);
    wait_for("quarantine", PATIENCE, quarantined);
    let get = |path: &str| request(daemon.admin, "GET", path, &[], b"");
    assert_eq!((get("/livez").status, &*get("/livez").body), (200, "ok\n"));
    let ready = get("/readyz");
    assert_eq!(ready.status, 200);
    let names = [
        "degraded quarantine",
        "ok intake",
        "ok store",
        "ok records",
        "ok journal",
        "ok checkpoints",
        "ok held",
        "ok disk",
        "ok configuration",
        "ok export postfix",
    ];
    let mut lines = ready.body.lines();
    assert_eq!(lines.next(), Some("degraded"), "what is not an event waits in quarantine");
    for (line, name) in lines.by_ref().zip(names) {
        assert!(line.starts_with(&format!("{name}: ")), "{line}");
    }
    assert_eq!(lines.next(), None);
    let metrics = get("/metrics");
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let samples = samples(&metrics.body);
    for (series, value) in [
        ("suppressd_ready", 1.0),
        ("suppressd_standings", 6.0),
        ("suppressd_webhooks_total{source=\"second\",outcome=\"accepted\"}", 2.0),
        (rows, 6.0),
    ] {
        assert_eq!(daemon.metric(series).or(samples.get(series).copied()), Some(value), "{series}");
    }
    assert!(!metrics.body.contains('@'));
    daemon.stop();
}

/// Reads the Prometheus text format, version 0.0.4, and holds it to its rules.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "summary", "histogram"].contains(&kind), "{line}");
            assert_eq!(types.insert(name.to_owned(), kind), None, "{line}");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("suppressd_") || name.starts_with("process_"), "{line}");
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(letter), "{line}");
        let family = ["_sum", "_count", "_bucket"].iter().find_map(|end| name.strip_suffix(end));
        let known = types.get(name).or_else(|| types.get(family?));
        let kind = known.unwrap_or_else(|| panic!("no type: {line}"));
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{line}");
        let earlier = samples.insert(series.to_owned(), value.parse().unwrap());
        assert_eq!(earlier, None, "{line}");
    }
    samples
}

#[test]
fn few_are_shown_where_few_are_wanted() {
    let home = Home::new("");
    let daemon = home.start().ready();
    for (number, address) in ["a@x.test", "b@x.test", "c@x.test"].iter().enumerate() {
        tell(&daemon, "test", &at("hard_bounce", address, "m", &ago(30 - number as u64)));
    }
    until_events(&daemon, 3);
    assert_eq!(
        column(&daemon.rows(&["list", "--limit", "2"]), "address"),
        ["a@x.test", "b@x.test"]
    );
    assert_eq!(column(&daemon.rows(&["events", "--limit", "1"]), "address"), ["c@x.test"]);
    assert_eq!(daemon.rows(&["list", "--limit", "9"]).len(), 3);
    for (verb, number, says) in [
        ("list", "0", "from 1 on"),
        ("list", "x", "from 1 on"),
        ("events", "0", "from 1 on"),
        ("events", "10001", "1 to 10000"),
    ] {
        let refused = daemon.cli(&[verb, "--limit", number]);
        let text = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(64), "{verb} --limit {number}");
        assert!(text.contains(says), "{verb} --limit {number}: {text}");
    }
    for id in [&["release", "x"][..], &["lift", "--held", "x"]] {
        let text = String::from_utf8(daemon.cli(id).stderr).unwrap();
        assert!(text.contains("`suppressd held` shows them"), "{id:?}: {text}");
    }
    daemon.stop();
}

#[test]
fn the_environment_names_the_file_and_quiet_says_no_more_than_the_answer() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let list = |more: &[&str]| {
        let mut program = Command::new(PROGRAM);
        program.args(["list", "--domain", "nothing.test"]).args(more);
        let output = output(program.env("SUPPRESSD_CONFIG", home.config()));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!((list(&[]).as_str(), list(&["--quiet"]).as_str()), ("Nothing matches.\n", ""));
    daemon.stop();
}
