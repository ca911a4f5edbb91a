//! The private listener's API, as programs use it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::client::{Answer, Client, event, notify, request};
use super::support::daemon::{Daemon, Home, PATIENCE, source};
use super::support::wait_for;

const BEARER: &[(&str, &str)] = &[("authorization", "Bearer let-me-in")];

/// A daemon whose private listener has a token.
fn with_token() -> (Home, Daemon) {
    let home = Home::new("");
    let text = std::fs::read_to_string(home.config()).unwrap();
    let with = "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"let-me-in\"\n";
    let text = text.replace("[admin]\nlisten = \"127.0.0.1:0\"\n", with);
    std::fs::write(home.config(), text).unwrap();
    let daemon = home.start().ready();
    (home, daemon)
}

fn get(daemon: &Daemon, path: &str) -> Answer {
    request(daemon.admin, "GET", path, &[], b"")
}

fn post(daemon: &Daemon, body: &Value) -> Answer {
    request(daemon.admin, "POST", "/v1/suppressions", BEARER, body.to_string().as_bytes())
}

fn parsed(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn a_program_with_the_token_suppresses_and_lifts() {
    let (_home, daemon) = with_token();
    let one = json!({
        "address": "User@example.com", "reason": "complaint", "note": "by phone",
        "until": "2199-01-01T00:00:00Z",
    });
    for repetition in 0..2 {
        let answer = post(&daemon, &one);
        assert_eq!(answer.status, 200, "{repetition}: {}", answer.body);
        let row = parsed(&answer);
        assert_eq!((&row["suppressed"], &row["reason"]), (&json!(true), &json!("complaint")));
        assert_eq!((&row["until"], &row["note"]), (&one["until"], &one["note"]));
    }
    let many = json!([{ "address": "a@example.com" }, { "address": "b@example.com" }]);
    let rows = parsed(&post(&daemon, &many));
    assert_eq!(rows["suppressions"].as_array().unwrap().len(), 2);
    assert_eq!(rows["suppressions"][1]["reason"], "manual");
    assert_eq!(daemon.rows(&["list"]).len(), 3);

    let ended = json!({ "address": "c@example.com", "until": "2001-01-01T00:00:00Z" });
    assert_eq!(parsed(&post(&daemon, &ended))["suppressed"], false, "its term has ended already");
    let late = json!({ "address": "a@example.com", "until": "2001-01-01T00:00:00Z" });
    assert_eq!(parsed(&post(&daemon, &late))["suppressed"], true, "and takes nothing away");

    let lift = |address: &str, headers: &[(&str, &str)]| {
        let path = format!("/v1/suppressions/{address}?note=moved%20back");
        request(daemon.admin, "DELETE", &path, headers, b"")
    };
    let lifted = lift("user@example.com", BEARER);
    let what = json!({
        "address": "user@example.com", "lifted": [{ "scope": "global", "reason": "complaint" }],
    });
    assert_eq!((lifted.status, parsed(&lifted)), (200, what));
    assert_eq!(get(&daemon, "/v1/suppressions/user@example.com").status, 404);
    for never in ["user@example.com", "stranger@example.com"] {
        assert_eq!(lift(never, BEARER).status, 404, "{never}");
    }
    assert_eq!(daemon.rows(&["events", "--address", "stranger@example.com"]).len(), 0);
}

#[test]
fn nothing_is_changed_without_the_token_or_by_half() {
    let (_home, daemon) = with_token();
    let body = json!({ "address": "a@example.com" }).to_string();
    for headers in [&[][..], &[("authorization", "Bearer wrong")]] {
        let path = "/v1/suppressions";
        let answer = request(daemon.admin, "POST", path, headers, body.as_bytes());
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    let good = json!({ "address": "good@example.com" });
    let bad = [
        json!({ "address": "nobody" }),
        json!({ "address": "a@example.com", "reason": "odd" }),
        json!({ "address": "a@example.com", "reason": "soft_bounces" }),
        json!({ "address": "a@example.com", "until": "tomorrow" }),
        json!({ "address": "a@example.com", "note": "two\nlines" }),
        json!({ "address": "a@example.com", "scope": "odd" }),
        json!({ "address": "a@example.com", "colour": "red" }),
        json!({ "reason": "manual" }),
        json!("a@example.com"),
    ];
    for bad in bad {
        let answer = post(&daemon, &json!([good, bad]));
        assert_eq!(answer.status, 400, "{bad}: {}", answer.body);
        assert!(parsed(&answer)["error"].is_string());
    }
    let too_many = json!(vec![good.clone(); 1_001]);
    assert_eq!(post(&daemon, &too_many).status, 400);
    assert_eq!(daemon.rows(&["list"]).len(), 0, "all of a request, or nothing");

    let home = Home::new("");
    let closed = home.start().ready();
    let answer = request(closed.admin, "POST", "/v1/suppressions", BEARER, body.as_bytes());
    assert_eq!(answer.status, 403, "no token is configured");
}

#[test]
fn events_are_read_page_by_page_each_once() {
    let (_home, daemon) = with_token();
    let events: Vec<String> = (0..40)
        .map(|n| event("hard_bounce", &format!("u{n:02}@example.com"), &format!("m{n}"), n))
        .collect();
    assert_eq!(notify(daemon.http, &format!("[{}]", events[..25].join(","))).status, 200);
    for event in &events[25..] {
        assert_eq!(notify(daemon.http, event).status, 200);
    }
    daemon.until_suppressed("u39@example.com");
    for query in ["limit=7", "limit=1", "limit=1000", "limit=7&source=test"] {
        let (mut next, mut told) = (Some(format!("/v1/events?{query}")), Vec::new());
        while let Some(path) = next {
            let page = parsed(&get(&daemon, &path));
            let rows = page["events"].as_array().unwrap();
            told.extend(rows.iter().map(|row| row["recipient"].as_str().unwrap().to_owned()));
            next = page["next"].as_str().map(str::to_owned);
        }
        let all: Vec<String> = (0..40).map(|n| format!("u{n:02}@example.com")).collect();
        assert_eq!(told, all, "{query}");
    }
    let page = parsed(&get(&daemon, "/v1/events?address=u03@example.com"));
    let row = &page["events"][0];
    assert_eq!((page["events"].as_array().unwrap().len(), &page["next"]), (1, &Value::Null));
    assert_eq!((&row["event"], &row["message_id"]), (&json!("hard_bounce"), &json!("m3")));
    for (bad, status) in [
        ("limit=0", 400),
        ("limit=1&limit=1", 400),
        ("after=7", 400),
        ("kind=odd", 400),
        ("since=yesterday", 400),
        ("colour=red", 400),
        ("since=2199-01-01T00:00:00Z", 200),
        ("after=99.16.0", 200),
    ] {
        let answer = get(&daemon, &format!("/v1/events?{bad}"));
        assert_eq!(answer.status, status, "{bad}: {}", answer.body);
    }
}

#[test]
fn one_daemon_reads_the_events_of_another() {
    let (_home, first) = with_token();
    for (number, kind) in ["hard_bounce", "spam_complaint", "unsubscribed"].into_iter().enumerate()
    {
        let body = event(kind, &format!("{kind}@example.com"), "m", number as u32);
        assert_eq!(notify(first.http, &body).status, 200);
    }
    // What is about one stream is no more there, and what ends here ends there.
    let now = suppressd::clock::now();
    let day = Duration::from_secs(86_400);
    for (kind, minute, more) in [
        ("unsubscribed", 0, json!({ "recipient": "all@example.com" })),
        ("resubscribed", 1, json!({ "recipient": "all@example.com", "scope": "stream:11" })),
        ("unsubscribed", 2, json!({ "recipient": "one@example.com", "scope": "stream:10" })),
        (
            "rejected",
            3,
            json!({ "recipient": "end@example.com", "until": now.plus(day * 7).to_string() }),
        ),
    ] {
        let mut body = more;
        body["event"] = kind.into();
        body["timestamp"] =
            now.minus(day).plus(Duration::from_secs(60 * minute)).to_string().into();
        assert_eq!(notify(first.http, &body.to_string()).status, 200);
    }
    wait_for("the facts", PATIENCE, || (first.rows(&["list"]).len() == 6).then_some(()));
    let list = format!("list_url = \"http://{}/v1/suppressions\"\n", first.admin);
    for list_too in ["", &list] {
        let home = Home::bare(&format!(
            "[[source]]\nname = \"other\"\nprovider = \"generic\"\n[source.poll]\n\
             url = \"http://{}/v1/events\"\n{list_too}bearer = \"let-me-in\"\nevery = \"1h\"\n\
             backfill = \"300d\"\n",
            first.admin
        ));
        let second = home.start().ready();
        second.cli(&["poll", "other"]);
        let verdicts = |daemon: &Daemon| -> BTreeSet<String> {
            let keys = ["address", "reason", "scope", "until"];
            let rows = daemon.rows(&["list"]).into_iter();
            rows.map(|row| keys.map(|key| row[key].to_string()).join(" ")).collect()
        };
        let wanted = verdicts(&first);
        let same = || (verdicts(&second) == wanted).then_some(());
        wait_for("the same verdicts", PATIENCE, same);
    }
}

/// A source that reads another daemon's events, with any time in them.
fn reads(daemon: &Daemon) -> String {
    format!(
        "[[source]]\nname = \"other\"\nprovider = \"generic\"\n[source.poll]\n\
         url = \"http://{}/v1/events\"\nevery = \"1h\"\n",
        daemon.admin
    )
}

/// An event of `source`, of so many seconds ago.
fn told(address: &str, seconds: u64) -> String {
    let at = suppressd::clock::now().minus(Duration::from_secs(seconds)).floor_second();
    json!({ "event": "complaint", "timestamp": at.to_string(), "recipient": address,
        "message_id": "m" })
    .to_string()
}

#[test]
fn what_a_daemon_learns_late_is_read_by_another() {
    let first = Home::new("");
    let first = first.start().ready();
    let home = Home::bare(&reads(&first));
    let second = home.start().ready();
    second.cli(&["poll", "other"]);
    assert_eq!(notify(first.http, &told("late@example.com", 8 * 3_600)).status, 200);
    first.until_suppressed("late@example.com");
    assert!(second.cli(&["poll", "other"]).status.success());
    second.until_suppressed("late@example.com");
    let now = suppressd::clock::now().plus(Duration::from_secs(60));
    let page = parsed(&get(&first, &format!("/v1/events?since={now}")));
    assert_eq!(page["events"], json!([]), "neither happened nor told since");
}

#[test]
fn two_daemons_that_read_each_other_tell_nothing_again() {
    let home = Home::new("");
    let first = home.start().ready();
    let other = Home::bare(&reads(&first));
    let second = other.start().ready();
    home.configure(&format!("{}{}", source(), reads(&second)));
    assert!(first.cli(&["reload"]).status.success());
    assert_eq!(notify(first.http, &told("a@example.com", 60)).status, 200);
    first.until_suppressed("a@example.com");
    let mut counts = Vec::new();
    for _ in 0..4 {
        assert!(second.cli(&["poll", "other"]).status.success());
        assert!(first.cli(&["poll", "other"]).status.success());
        counts.push([&first, &second].map(|daemon| daemon.rows(&["events"]).len()));
    }
    // Its own, and the other's word of it.
    assert_eq!(counts[1..], [[2, 1]; 3], "{counts:?}");
}

#[test]
fn a_page_has_no_more_rows_than_it_was_asked_for() {
    let (_home, daemon) = with_token();
    let scopes = ["global", "stream:a", "stream:b b", "stream:ß"];
    let mut all: Vec<Value> =
        scopes.iter().map(|scope| json!({ "address": "m@x.test", "scope": scope })).collect();
    all.insert(0, json!({ "address": "a@x.test", "scope": "stream:a" }));
    all.push(json!({ "address": "m@x.test.example", "scope": "global" }));
    assert_eq!(post(&daemon, &json!(all)).status, 200);
    let named = |row: &Value| json!({ "address": row["address"], "scope": row["scope"] });
    let page = |path: &str| -> (Vec<Value>, Option<String>) {
        let page = parsed(&get(&daemon, path));
        let rows = page["suppressions"].as_array().unwrap().iter().map(named).collect();
        (rows, page["next"].as_str().map(str::to_owned))
    };
    for limit in [1, 2, 3, 5, 6, 100] {
        for query in ["", "&reason=manual", "&domain=x.test"] {
            let mut next = Some(format!("/v1/suppressions?limit={limit}{query}"));
            let mut told = Vec::new();
            while let Some(path) = next {
                let (rows, behind) = page(&path);
                assert!(rows.len() <= limit, "{path}: {rows:?}");
                told.extend(rows);
                next = behind;
            }
            let wanted = if query.contains("domain") { &all[..5] } else { &all[..] };
            assert_eq!(told, wanted, "{limit}{query}");
        }
    }
    // An address is behind all of its scopes, as earlier versions wrote it.
    assert_eq!(page("/v1/suppressions?after=m@x.test").0, all[5..]);
    assert_eq!(get(&daemon, "/v1/suppressions?after=m@x.test%0Aodd").status, 400);
    daemon.stop();
}

/// The events of a stream, as (name, data), and the last id that it has told.
struct Stream(BufReader<std::net::TcpStream>, String);

impl Stream {
    fn open(to: SocketAddr) -> Stream {
        Stream::behind(to, &[])
    }

    fn behind(to: SocketAddr, headers: &[(&str, &str)]) -> Stream {
        let mut stream = wait_for("a place among those who follow", PATIENCE, || {
            let mut client = Client::connect(to).unwrap();
            client.send("GET", "/v1/changes", headers, b"").unwrap();
            let mut stream = Stream(BufReader::new(client.0), String::new());
            (stream.line() == "HTTP/1.1 200 OK").then_some(stream)
        });
        while stream.line() != "retry: 5000" {}
        stream
    }

    /// One that goes on behind an id.
    fn again(to: SocketAddr, id: &str) -> Stream {
        Stream::behind(to, &[("last-event-id", id)])
    }

    /// The next verdicts, each as its id and its row.
    fn verdicts(&mut self, count: usize) -> Vec<(String, Value)> {
        let mut verdict = || {
            let (name, row) = self.next();
            assert_eq!(name, "verdict");
            (self.1.clone(), row)
        };
        std::iter::repeat_with(&mut verdict).take(count).collect()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    fn next(&mut self) -> (String, Value) {
        let mut name = String::new();
        loop {
            let line = self.line();
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            } else if let Some(id) = line.strip_prefix("id: ") {
                id.clone_into(&mut self.1);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[test]
fn changes_are_told_as_they_come() {
    let (_home, daemon) = with_token();
    // What the store tells at its start, that all may be other, is over once anything was applied.
    assert!(daemon.cli(&["add", "first@example.com"]).status.success());
    let mut stream = Stream::open(daemon.admin);
    for (lifts, suppressed) in [(false, true), (true, false)] {
        let verb = if lifts { "lift" } else { "add" };
        assert!(daemon.cli(&[verb, "a@example.com"]).status.success());
        let (name, row) = stream.next();
        assert_eq!(name, "verdict");
        assert_eq!(row["address"], "a@example.com");
        assert_eq!(row["suppressed"], suppressed, "{row}");
    }
    let streams: Vec<Stream> = (0..7).map(|_| Stream::open(daemon.admin)).collect();
    let answer = get(&daemon, "/v1/changes");
    assert_eq!(answer.status, 503, "only so many follow");
    assert!(answer.header("retry-after").is_some());
    drop((stream, streams));
    daemon.stop();
}

#[test]
fn the_place_of_who_follows_no_more_is_free_at_once() {
    let (_home, daemon) = with_token();
    let heads = [&[][..], &[("last-event-id", "nonsense")]];
    for number in 0..5 * 8 {
        let mut client = Client::connect(daemon.admin).unwrap();
        client.send("GET", "/v1/changes", heads[number % 2], b"").unwrap();
        let mut stream = Stream(BufReader::new(client.0), String::new());
        assert_eq!(stream.line(), "HTTP/1.1 200 OK", "{number}");
        while stream.line() != "retry: 5000" {}
        if number % 3 == 0 {
            // Whoever asks on in the same breath leaves as well.
            stream
                .0
                .get_mut()
                .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .unwrap();
        }
        let left = stream.0.get_ref().shutdown(Shutdown::Write);
        left.unwrap();
        // The end of the answer is the end of the turn.
        let mut rest = Vec::new();
        let _ = stream.0.read_to_end(&mut rest);
    }
    daemon.stop();
}

#[test]
fn who_follows_again_misses_nothing_or_is_told_to_read_all() {
    let (home, daemon) = with_token();
    let row = |address: &str, scope: &str| json!({ "address": address, "scope": scope });
    // What the store tells at its start is over once anything was applied.
    assert_eq!(post(&daemon, &row("first@x.test", "global")).status, 200);
    let mut stream = Stream::open(daemon.admin);
    while stream.1.is_empty() {
        let line = stream.line();
        stream.1 = line.strip_prefix("id: ").unwrap_or_default().to_owned();
    }
    // One that was cut off before the first change goes on too.
    let before = stream.1.clone();
    let many = [row("a@x.test", "stream:n"), row("a@x.test", "global"), row("b@x.test", "global")];
    assert_eq!(post(&daemon, &json!(many)).status, 200);
    let told = stream.verdicts(many.len());
    let scopes: Vec<_> = told.iter().map(|(_, row)| (&row["address"], &row["scope"])).collect();
    let wanted: Vec<_> = many.iter().map(|row| (&row["address"], &row["scope"])).collect();
    assert_eq!(scopes, wanted);
    let ids: BTreeSet<&String> = told.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), told.len(), "each has an id of its own: {told:?}");
    assert_eq!(Stream::again(daemon.admin, &before).verdicts(told.len()), told);
    for seen in 1..told.len() {
        let mut again = Stream::again(daemon.admin, &told[seen - 1].0);
        assert_eq!(again.verdicts(told.len() - seen), told[seen..], "behind {seen}");
    }
    let last = &told[told.len() - 1].0;
    let (run, _) = last.split_once('-').unwrap();
    let strange = [&format!("{run}-999999"), &format!("{run}-"), "5", "nonsense", "ä"];
    for id in strange {
        assert_eq!(Stream::again(daemon.admin, id).next().0, "reset", "{id}");
    }
    drop(stream);
    daemon.stop();
    let daemon = home.start().ready();
    assert_eq!(post(&daemon, &row("second@x.test", "global")).status, 200);
    let mut again = Stream::again(daemon.admin, last);
    assert_eq!(again.next().0, "reset", "that was told by another process");
    let seen = again.1.clone();
    assert_eq!(post(&daemon, &row("c@x.test", "global")).status, 200);
    let mut later = Stream::again(daemon.admin, &seen);
    assert_eq!(later.verdicts(1)[0].1["address"], "c@x.test");
    drop((again, later));
    daemon.stop();
}

#[test]
fn what_is_refused_is_counted_and_told_once() {
    let (_home, daemon) = with_token();
    let wrong = [("authorization", "Bearer wrong")];
    let strange = [("host", "rebound.example")];
    let coded = [BEARER[0], ("content-encoding", "gzip")];
    let large = [BEARER[0], ("content-length", "99999999")];
    let form = b"act=add&address=a%40example.com&token=wrong";
    for (method, path, headers, body, status) in [
        ("POST", "/v1/suppressions", &wrong[..], &b"{}"[..], 401),
        ("DELETE", "/v1/suppressions/a@example.com", &wrong, b"", 401),
        ("GET", "/v1/status", &strange, b"", 421),
        ("GET", "/nothing", &[], b"", 404),
        ("POST", "/v1/status", BEARER, b"", 405),
        ("POST", "/act", &[], form, 403),
        ("POST", "/v1/suppressions", &coded, b"{\"address\":\"a@example.com\"}", 415),
        ("POST", "/v1/suppressions", &large, b"", 413),
    ] {
        let counted = || {
            let text = get(&daemon, "/metrics").body;
            let labels = format!("listener=\"admin\",status=\"{status}\"");
            let series = format!("suppressd_requests_refused_total{{{labels}}} ");
            text.lines().find_map(|line| line.strip_prefix(&*series)?.parse::<u64>().ok())
        };
        let before = counted().unwrap();
        // What is too large by its head is answered before it comes.
        let answer = request(daemon.admin, method, path, headers, body);
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(counted(), Some(before + 1), "{method} {path}");
        daemon.until_logged(&format!("status={status}"));
    }
    let one = parsed(&request(daemon.admin, "POST", "/v1/suppressions", BEARER, b"\"x\""));
    let error = one["error"].as_str().unwrap();
    assert!(error.contains("expected an object with an address"), "{error}");
    assert_eq!(get(&daemon, "/v1/suppressions/a@example.com").status, 404);
    let log = daemon.stop();
    let lines = log.lines().filter(|line| line.contains("status=404"));
    assert_eq!(lines.count(), 1, "who is clear is no refusal: {log}");
    assert!(!log.contains("a@example.com"), "{log}");
}

#[test]
fn the_description_names_what_is_there() {
    let (_home, daemon) = with_token();
    let described = parsed(&get(&daemon, "/openapi.json"));
    let paths = described["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 10);
    for (path, methods) in paths {
        let path = path.replace("{address}", "a@example.com");
        let known = methods.as_object().unwrap();
        for method in ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "QUERY"] {
            if path == "/v1/changes" && method == "GET" {
                continue;
            }
            let answer = request(daemon.admin, method, &path, BEARER, b"");
            let status = answer.status.to_string();
            match known.get(&method.to_lowercase()) {
                Some(operation) => {
                    let responses = operation["responses"].as_object().unwrap();
                    assert!(responses.contains_key(&status), "{method} {path}: {status}");
                }
                None => {
                    assert_eq!(answer.status, 405, "{method} {path}");
                    let allowed = answer.header("allow").unwrap();
                    let missing = |name: &&String| !allowed.contains(&name.to_uppercase());
                    assert_eq!(known.keys().find(missing), None, "{method} {path}: {allowed}");
                }
            }
        }
    }
    let explained = parsed(&get(&daemon, "/v1/explain/a@example.com"));
    assert_eq!(explained["suppressed"], false);
    assert!(parsed(&get(&daemon, "/v1/status"))["checks"].is_array());
}

#[test]
fn a_webhook_that_was_turned_away_is_shown_with_why() {
    let (_home, daemon) = with_token();
    let body = event("hard_bounce", "a@example.com", "m", 1);
    let send = |path: &str, headers: &[(&str, &str)]| {
        request(daemon.http, "POST", path, headers, body.as_bytes()).status
    };
    assert_eq!(send("/hooks/test", &[("x-webhook-signature", "00")]), 400);
    assert_eq!(send("/hooks/test", &[]), 400);
    assert_eq!(send("/hooks/typo", &[]), 404);
    assert_eq!(notify(daemon.http, &body).status, 200);
    let rows = daemon.rows(&["refused"]);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let shown: Vec<_> = rows.iter().map(|row| (text(row, "source"), text(row, "reason"))).collect();
    assert_eq!(shown.len(), 3, "{rows:?}");
    assert!(shown[0].0 == "test" && shown[0].1.contains("signature"), "{shown:?}");
    assert!(shown[1].1.contains("signature"), "{shown:?}");
    assert_eq!((&*shown[2].0, &*shown[2].1), ("typo", "404 Not Found"));
    assert!(rows.iter().all(|row| row["peer"] == "127.0.0.1" && row["at"].is_string()));
    assert_eq!(daemon.rows(&["refused", "--source", "typo"]).len(), 1);
}

#[test]
#[ignore = "takes minutes: SCHEMATHESIS=.../bin/st cargo test -- --ignored schemathesis"]
fn schemathesis_finds_nothing() {
    let program = std::env::var_os("SCHEMATHESIS").expect("SCHEMATHESIS is the path of `st`");
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis");
    let (_home, daemon) = with_token();
    for number in 0..9 {
        let body = event("hard_bounce", &format!("u{number}@example.com"), "m", number);
        assert_eq!(notify(daemon.http, &body).status, 200);
    }
    daemon.until_suppressed("u8@example.com");
    for headers in [&[][..], &["-H", "Authorization: Bearer let-me-in"]] {
        let mut command = Command::new(&program);
        command.env("PYTHONPATH", &hooks).env("SCHEMATHESIS_HOOKS", "hooks");
        command.args(["run", &format!("http://{}/openapi.json", daemon.admin)]);
        // A stream has no end that could be waited for.
        command.args(["--exclude-path", "/v1/changes", "--seed", "7"]).args(headers);
        assert!(command.status().unwrap().success(), "{headers:?}");
    }
}
