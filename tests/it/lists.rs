//! The provider's own list against ours, by the real daemon over real HTTP: how they differ, what
//! is gone from it, and what is pushed to it.

use std::time::Duration;

use serde_json::{Value, json};
use suppressd::clock;

use crate::support::client::notify;
use crate::support::daemon::{Daemon, Home, PATIENCE, source};
use crate::support::feed::{Fault, Feed, listed, row};
use crate::support::wait_for;

/// The `poll` table of a source that has a list, and never polls by itself after the start.
fn poll(feed: &Feed, more: &str) -> String {
    let (url, list) = (feed.url(), feed.list_url());
    format!("poll = {{ url = \"{url}\", list_url = \"{list}\", cron = \"0 0 0 29 2 *\"{more} }}\n")
}

/// A source `acme` that is polled, with other lines.
fn acme(feed: &Feed, more: &str, lines: &str) -> String {
    let poll = poll(feed, more);
    format!("[[source]]\nname = \"acme\"\nprovider = \"generic\"\n{poll}{lines}")
}

/// A source `acme` that pushes, beside the source `test`.
fn pushing(feed: &Feed, reasons: &str) -> String {
    let push = format!("push = {{ reasons = [{reasons}] }}\n");
    format!("{}{}", source(), acme(feed, "", &push))
}

/// The same source as a description of its API.
const DESCRIBED: &str = r#"
[[source]]
name = "acme"
provider = "custom"

[source.poll]
cron = "0 0 0 29 2 *"
secret = "s3cret"
auth = "bearer"

[[source.poll.feed]]
name = "list"
rows = "suppressions"
url = "LIST"
items = "/suppressions"
event = { recipient = "/address", time = "/since", map = [{ kind = "listed" }] }

[source.push]
reasons = ["complaint", "manual"]
words = { complaint = "spam" }
add = { method = "POST", url = "LIST", body = { address = "{address}", why = "{reason}" } }
remove = { method = "DELETE", url = "LIST?address={address}" }
"#;

/// A time some minutes ago, to the second.
fn ago(minutes: u64) -> String {
    clock::now().minus(Duration::from_secs(60 * minutes)).floor_second().to_string()
}

fn until_polled(daemon: &Daemon) {
    let done = || (!daemon.source("acme")["last_success"].is_null()).then_some(());
    wait_for("the first poll", PATIENCE, done);
}

fn poll_now(daemon: &Daemon) {
    let (code, rows) = daemon.answer(&["poll", "acme"]);
    assert_eq!(code, 0, "{rows:?}");
}

/// The suppressed addresses, each with its reason, ascending.
fn suppressed(daemon: &Daemon) -> Vec<String> {
    let rows = daemon.rows(&["list"]);
    let text = |row: &Value| {
        format!("{} {}", row["address"].as_str().unwrap(), row["reason"].as_str().unwrap())
    };
    let mut all: Vec<String> = rows.iter().map(text).collect();
    all.sort();
    all
}

/// What the source `acme` has told to be gone.
fn unlisted(daemon: &Daemon) -> Vec<Value> {
    daemon.rows(&["events", "--kind", "unlisted", "--source", "acme"])
}

/// A webhook of the source `test`. What was lifted in this second was so before it.
fn tell(daemon: &Daemon, event: &str, address: &str, message: &str) {
    let next_second = clock::now().plus(Duration::from_secs(1)).floor_second().to_string();
    let body = row(event, address, &next_second, message);
    assert_eq!(notify(daemon.http, &body.to_string()).status, 200);
}

/// Waits until the push has nothing left to do, having put so many on the list.
fn until_pushed(daemon: &Daemon, pushed: u64) {
    wait_for("the push", PATIENCE, || {
        let push = &daemon.source("acme")["push"];
        (push["waiting"] == 0 && push["pushed"] == pushed).then_some(())
    });
}

/// The addresses on the list, ascending.
fn there(feed: &Feed) -> Vec<String> {
    let address = |row: &Value| row["address"].as_str().unwrap().to_owned();
    let mut all: Vec<String> = feed.list().iter().map(address).collect();
    all.sort();
    all
}

#[test]
fn drift_shows_how_the_lists_differ_and_changes_nothing() {
    let feed = Feed::start();
    let home = Home::bare(&format!("{}{}", source(), acme(&feed, "", "")));
    feed.page_rows(2);
    feed.set_list([
        listed("same@example.org", "complaint", &ago(600)),
        listed("gone@example.org", "unsubscribe", &ago(500)),
        listed("other@example.org", "hard_bounce", &ago(400)),
    ]);
    let daemon = home.start().ready();
    until_polled(&daemon);
    tell(&daemon, "complaint", "theirs@example.org", "m1");
    feed.set_list([
        listed("same@example.org", "complaint", &ago(600)),
        listed("new@example.org", "invalid", &ago(300)),
        listed("Other@example.org", "complaint", &ago(200)),
        json!({ "no": "address" }),
        // Told by another source: we suppress it too.
        listed("theirs@example.org", "complaint", &ago(100)),
    ]);
    let before = (suppressed(&daemon), daemon.rows(&["events"]).len());
    let (code, rows) = daemon.answer(&["drift", "acme"]);
    assert_eq!(code, 0);
    let brief = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        [text("found"), text("address"), text("list"), text("there"), text("here")].join(" ")
    };
    let found: Vec<String> = rows[..3].iter().map(brief).collect();
    assert_eq!(
        found,
        [
            "only_there new@example.org suppressions invalid -",
            "different_reason Other@example.org suppressions complaint hard_bounce",
            "only_here gone@example.org - - unsubscribe",
        ]
    );
    let summary = &rows[3];
    for (key, value) in
        [("rows", 5), ("unreadable", 1), ("same", 2), ("only_there", 1), ("only_here", 1)]
    {
        assert_eq!(summary[key], value, "{key}: {summary}");
    }
    assert_eq!((suppressed(&daemon), daemon.rows(&["events"]).len()), before);
    let table = String::from_utf8(daemon.cli(&["drift", "acme"]).stdout).unwrap();
    assert!(table.contains("only here"), "{table}");
    assert!(table.contains("5 rows; 2 the same, 1 only there, 1 only here, 1 with"), "{table}");
    // What is not read to its end says nothing of what is missing there.
    feed.pass(1);
    feed.fault(Fault::Truncated);
    let (code, rows) = daemon.answer(&["drift", "acme"]);
    assert_eq!((code, rows.iter().any(|row| row["found"] == "only_here")), (1, false));
    for wrong in ["test", "nobody"] {
        assert_eq!(daemon.cli(&["drift", wrong]).status.code(), Some(64), "{wrong}");
    }
    daemon.stop();
}

#[test]
fn a_source_without_a_list_says_so() {
    let feed = Feed::start();
    let url = feed.url();
    let home = Home::bare(&format!(
        "[[source]]\nname = \"acme\"\nprovider = \"generic\"\npoll = {{ url = \"{url}\" }}\n"
    ));
    let daemon = home.start().ready();
    let output = daemon.cli(&["drift", "acme"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no suppression list"));
    daemon.stop();
}

#[test]
fn what_is_gone_from_a_list_is_lifted_only_where_that_is_trusted() {
    for trusted in [false, true] {
        let feed = Feed::start();
        let more = if trusted { ", trust_removals = true" } else { "" };
        let home = Home::bare(&format!("{}{}", source(), acme(&feed, more, "")));
        let all = [
            listed("stays@example.org", "complaint", &ago(600)),
            listed("gone@example.org", "hard_bounce", &ago(500)),
            listed("both@example.org", "unsubscribe", &ago(400)),
        ];
        feed.set_list(all.clone());
        let daemon = home.start().ready();
        until_polled(&daemon);
        // Another source has told it too: that stays.
        tell(&daemon, "unsubscribed", "both@example.org", "m1");
        // The list never told this one, nor may its source's events be lifted for it.
        feed.push([row("hard_bounce", "event@example.org", &ago(8), "m2")]);
        poll_now(&daemon);
        assert_eq!(suppressed(&daemon).len(), 4);

        // A run that does not reach the end lifts nothing.
        feed.set_list([all[0].clone()]);
        feed.pass(if trusted { 2 } else { 1 });
        feed.fault(Fault::Truncated);
        assert_eq!(daemon.cli(&["poll", "acme"]).status.code(), Some(1));
        assert_eq!(suppressed(&daemon).len(), 4);

        poll_now(&daemon);
        let left =
            ["both@example.org unsubscribe", "event@example.org hard_bounce"].map(str::to_owned);
        let mut expected = left.to_vec();
        expected.push("stays@example.org complaint".to_owned());
        if !trusted {
            expected.insert(2, "gone@example.org hard_bounce".to_owned());
        }
        assert_eq!(suppressed(&daemon), expected, "trusted: {trusted}");
        let told = unlisted(&daemon);
        assert_eq!(told.len(), if trusted { 2 } else { 0 }, "{told:?}");
        // Once is enough, and what is back stands again, though its date is the old one.
        poll_now(&daemon);
        assert_eq!(unlisted(&daemon).len(), told.len());
        feed.set_list(all.clone());
        poll_now(&daemon);
        assert_eq!(suppressed(&daemon).len(), 4);
        // So it is after a start.
        daemon.kill();
        let daemon = home.start().ready();
        assert_eq!(suppressed(&daemon).len(), 4);
        daemon.stop();
    }
}

#[test]
fn what_is_back_on_a_list_that_is_polled_by_time_stands_again() {
    let feed = Feed::start();
    feed.require_bearer("s3cret");
    let by_time = DESCRIBED.replace("items", "query = { since = \"{since}\" }\nitems");
    let by_time = by_time.replace("auth = ", "trust_removals = true\nauth = ");
    let by_time = by_time.split("[source.push]").next().unwrap();
    let home = Home::bare(&by_time.replace("LIST", &feed.list_url()));
    let [a, b] = ["a@example.org", "b@example.org"].map(|who| listed(who, "complaint", &ago(600)));
    feed.set_list([a.clone(), b.clone()]);
    let daemon = home.start().ready();
    until_polled(&daemon);
    assert_eq!(suppressed(&daemon).len(), 2);
    feed.set_list([a.clone()]);
    poll_now(&daemon);
    assert_eq!(suppressed(&daemon), ["a@example.org provider_listed"]);
    // No poll by time asks for a date that old. A row that cannot be read hides no other.
    feed.set_list([a, json!({ "odd": 1 }), b]);
    assert_eq!(daemon.cli(&["poll", "acme"]).status.code(), Some(1));
    assert_eq!(suppressed(&daemon).len(), 2);
    let told = daemon.rows(&["events", "--kind", "listed"]).len();
    assert_eq!(daemon.cli(&["poll", "acme"]).status.code(), Some(1));
    assert_eq!(daemon.rows(&["events", "--kind", "listed"]).len(), told, "it is told once");
    daemon.stop();
}

#[test]
fn what_was_undated_and_gone_stands_again_when_it_is_back() {
    let feed = Feed::start();
    let home = Home::bare(&acme(&feed, ", trust_removals = true", ""));
    let undated = json!({ "address": "a@example.org", "reason": "complaint" });
    feed.set_list([listed("b@example.org", "complaint", &ago(600)), undated.clone()]);
    let daemon = home.start().ready();
    until_polled(&daemon);
    assert_eq!(suppressed(&daemon).len(), 2);
    // An operator's lift holds against a row without a date, as long as it stays there.
    assert!(daemon.cli(&["lift", "a@example.org"]).status.success());
    poll_now(&daemon);
    assert_eq!(suppressed(&daemon), ["b@example.org complaint"]);
    // It was told so shortly ago that a provider's clock might explain it: nothing is lifted yet.
    feed.set_list([listed("b@example.org", "complaint", &ago(600))]);
    poll_now(&daemon);
    assert_eq!(unlisted(&daemon).len(), 0);
    daemon.stop();
}

#[test]
fn a_list_that_shrinks_by_much_or_cannot_be_read_is_not_believed() {
    let feed = Feed::start();
    let home = Home::bare(&acme(&feed, ", trust_removals = true", ""));
    let all: Vec<Value> = (0..12)
        .map(|n| listed(&format!("user{n}@example.org"), "complaint", &ago(600 + n)))
        .collect();
    feed.set_list(all.clone());
    let daemon = home.start().ready();
    until_polled(&daemon);
    for (rows, says) in [
        (Vec::new(), "12 of 12 rows are gone"),
        (all[..1].to_vec(), "11 of 12 rows are gone"),
        ([&all[1..], &[json!({ "odd": 1 })][..]].concat(), "cannot be read"),
    ] {
        feed.set_list(rows);
        let output = daemon.cli(&["poll", "acme"]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(says), "{said}");
        assert_eq!(suppressed(&daemon).len(), 12, "{says}");
    }
    feed.set_list(all[..6].to_vec());
    poll_now(&daemon);
    assert_eq!(suppressed(&daemon).len(), 6);
    assert!(daemon.stop().contains("is not believed"));
}

#[test]
fn what_we_suppress_is_pushed_and_taken_back_on_a_lift() {
    let feed = Feed::start();
    let home = Home::bare(&pushing(&feed, "\"complaint\", \"manual\""));
    feed.set_list([listed("own@example.org", "complaint", &ago(600))]);
    let daemon = home.start().ready();
    until_polled(&daemon);
    tell(&daemon, "complaint", "c@example.org", "m1");
    tell(&daemon, "hard_bounce", "h@example.org", "m2");
    // The provider itself has told this one: it is no affair of ours.
    tell(&daemon, "complaint", "own@example.org", "m3");
    assert!(daemon.cli(&["add", "m@example.org"]).status.success());
    until_pushed(&daemon, 2);
    assert_eq!(there(&feed), ["c@example.org", "m@example.org", "own@example.org"]);
    let mut writes = feed.writes();
    writes.sort();
    assert_eq!(writes, ["POST c@example.org", "POST m@example.org"]);
    let listed_metric = "suppressd_push_listed{source=\"acme\"}";
    wait_for("the metric", PATIENCE, || (daemon.metric(listed_metric) == Some(2.0)).then_some(()));

    // What is read back is our own, and no new ground.
    poll_now(&daemon);
    let found = daemon.rows(&["lookup", "c@example.org"]).remove(0);
    assert_eq!(found["sources"], json!(["test"]));
    assert_eq!(daemon.rows(&["events", "--source", "acme", "--kind", "listed"]).len(), 3);

    // A lift takes it off again, and nothing else; what the provider found itself stays.
    assert!(daemon.cli(&["lift", "c@example.org", "own@example.org"]).status.success());
    until_pushed(&daemon, 1);
    assert_eq!(there(&feed), ["m@example.org", "own@example.org"]);
    assert_eq!(feed.writes().len(), 3);
    poll_now(&daemon);
    assert_eq!(suppressed(&daemon), ["h@example.org hard_bounce", "m@example.org manual"]);

    // It is pushed again for a new cause.
    tell(&daemon, "complaint", "c@example.org", "m4");
    until_pushed(&daemon, 2);
    assert_eq!(feed.writes().len(), 4);
    // A start knows what was done.
    daemon.stop();
    let daemon = home.start().ready();
    until_pushed(&daemon, 2);
    assert_eq!(feed.writes().len(), 4);
    daemon.stop();

    // Who is never suppressed here is not to be there either.
    let never = "[rules]\nnever = [\"c@example.org\"]\n";
    home.configure(&format!("{}{never}", pushing(&feed, "\"complaint\", \"manual\"")));
    let daemon = home.start().ready();
    until_pushed(&daemon, 1);
    assert_eq!(there(&feed), ["m@example.org", "own@example.org"]);
    daemon.stop();
}

#[test]
fn a_described_list_is_written_to_as_a_known_one() {
    let feed = Feed::start();
    feed.require_bearer("s3cret");
    let home = Home::bare(&format!("{}{}", source(), DESCRIBED.replace("LIST", &feed.list_url())));
    feed.set_list([listed("own@example.org", "complaint", &ago(600))]);
    let daemon = home.start().ready();
    until_polled(&daemon);
    tell(&daemon, "complaint", "c+x/y@example.org", "m1");
    until_pushed(&daemon, 1);
    assert!(daemon.cli(&["add", "m@example.org", "own@example.org"]).status.success());
    until_pushed(&daemon, 2);
    assert_eq!(there(&feed), ["c+x/y@example.org", "m@example.org", "own@example.org"]);
    let requests = feed.requests();
    let why: Vec<&Value> =
        requests.iter().filter(|r| r.method == "POST").map(|r| &r.body["why"]).collect();
    assert_eq!(why, ["spam", "manual"]);

    // What is read back is our own, and no new ground.
    poll_now(&daemon);
    let found = daemon.rows(&["lookup", "c+x/y@example.org"]).remove(0);
    assert_eq!(found["sources"], json!(["test"]));

    assert!(daemon.cli(&["lift", "c+x/y@example.org"]).status.success());
    until_pushed(&daemon, 1);
    assert_eq!(there(&feed), ["m@example.org", "own@example.org"]);
    assert_eq!(
        feed.writes(),
        ["POST c+x/y@example.org", "POST m@example.org", "DELETE c+x/y@example.org",]
    );
    daemon.stop();
}

#[test]
fn a_place_that_is_new_gets_what_the_others_have() {
    let feed = Feed::start();
    feed.require_bearer("s3cret");
    let home = Home::bare("");
    let each = format!("{}?for={{each}}", feed.list_url());
    let described =
        DESCRIBED.replace("url = \"LIST\"\n", &format!("url = \"{}\"\n", feed.list_url()));
    let described = described.replace("LIST?", &format!("{each}&")).replace("LIST", &each);
    let with = |places: &str| {
        let text = described.replace("reasons = [", &format!("each = [{places}]\nreasons = ["));
        home.configure(&format!("{}{text}", source()));
        home.start().ready()
    };
    let asked = || {
        let requests = feed.requests().into_iter().filter(|request| request.method != "GET");
        let mut all: Vec<String> = requests
            .map(|request| {
                let place = request.target.split("for=").nth(1).unwrap().split('&').next().unwrap();
                format!("{} {place} {}", request.method, request.address())
            })
            .collect();
        all.sort();
        all
    };
    let daemon = with("\"a\"");
    until_polled(&daemon);
    assert!(daemon.cli(&["add", "m@example.org", "n@example.org"]).status.success());
    until_pushed(&daemon, 2);
    assert_eq!(asked(), ["POST a m@example.org", "POST a n@example.org"]);
    daemon.stop();

    // What refuses an address has no say in where it is already.
    feed.write_fault(Fault::Status(422, Vec::new()));
    let daemon = with("\"a\", \"b\"");
    wait_for("the new place", PATIENCE, || (asked().len() >= 5).then_some(()));
    until_pushed(&daemon, 2);
    // What is read back is our own still, and it is done once.
    poll_now(&daemon);
    daemon.stop();
    let daemon = with("\"a\", \"b\"");
    until_polled(&daemon);
    until_pushed(&daemon, 2);
    assert_eq!(suppressed(&daemon), ["m@example.org manual", "n@example.org manual"]);
    for row in daemon.rows(&["list"]) {
        assert_eq!(row["sources"], json!(["operator"]), "{row}");
    }
    let mut writes = asked();
    writes.retain(|write| write.starts_with("POST b"));
    assert_eq!(writes, ["POST b n@example.org"]);
    assert_eq!(asked().len(), 5);
    assert!(daemon.cli(&["lift", "m@example.org", "n@example.org"]).status.success());
    until_pushed(&daemon, 0);
    assert_eq!(asked().iter().filter(|write| write.starts_with("DELETE")).count(), 4);
    daemon.stop();

    // A place that was gone is new when it is back.
    let daemon = with("\"a\"");
    assert!(daemon.cli(&["add", "o@example.org"]).status.success());
    until_pushed(&daemon, 1);
    daemon.stop();
    let daemon = with("\"a\", \"b\"");
    wait_for("it", PATIENCE, || asked().contains(&"POST b o@example.org".to_owned()).then_some(()));
    daemon.stop();
}

#[test]
fn a_storm_of_refusals_delays_a_push_and_loses_none() {
    let feed = Feed::start();
    let home = Home::bare(&pushing(&feed, "\"manual\""));
    for _ in 0..3 {
        feed.write_fault(Fault::Status(429, vec![("retry-after", "1".to_owned())]));
    }
    feed.write_fault(Fault::Status(500, Vec::new()));
    feed.write_fault(Fault::Cut);
    // For good: this one address is refused, and told of.
    feed.write_fault(Fault::Status(422, Vec::new()));
    let daemon = home.start().ready();
    let addresses: Vec<String> = (0..5).map(|n| format!("user{n}@example.org")).collect();
    let arguments: Vec<&str> =
        ["add"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
    assert!(daemon.cli(&arguments).status.success());
    until_pushed(&daemon, 4);
    let push = daemon.source("acme")["push"].clone();
    assert_eq!((&push["refused"], &push["error"]), (&json!(1), &Value::Null), "{push}");
    // The write that was cut off was done; it was done again, and the list has it once.
    assert_eq!(there(&feed).len(), 5 - usize::from(!there(&feed).contains(&addresses[0])));
    let log = daemon.stop();
    assert_eq!(log.matches("the provider refuses to change its list").count(), 1, "{log}");
}

#[test]
fn refused_credentials_stop_pushing_and_nothing_else() {
    let feed = Feed::start();
    let home = Home::bare(&pushing(&feed, "\"manual\""));
    feed.write_fault(Fault::Status(403, Vec::new()));
    let daemon = home.start().ready();
    assert!(daemon.cli(&["add", "a@example.org", "b@example.org"]).status.success());
    daemon.until_logged("pushing to the provider's list failed");
    let error = || daemon.source("acme")["push"]["error"].as_str().map(str::to_owned);
    let error = wait_for("the error", PATIENCE, error);
    assert!(error.contains("403"), "{error}");
    poll_now(&daemon);
    assert_eq!(feed.writes().len(), 1);
    daemon.stop();
}

#[test]
fn a_kill_in_the_middle_of_a_push_repeats_it_and_takes_nothing_for_new() {
    let feed = Feed::start();
    let home = Home::bare(&pushing(&feed, "\"manual\""));
    let addresses: Vec<String> = (0..30).map(|n| format!("user{n:02}@example.org")).collect();
    let daemon = home.start().ready();
    until_polled(&daemon);
    let arguments: Vec<&str> =
        ["add"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
    assert!(daemon.cli(&arguments).status.success());
    wait_for("some writes", PATIENCE, || (feed.writes().len() >= 3).then_some(()));
    daemon.kill();
    // The list is read before anything is pushed on: all of it is ours.
    let daemon = home.start().ready();
    until_polled(&daemon);
    until_pushed(&daemon, 30);
    poll_now(&daemon);
    assert_eq!(there(&feed), addresses);
    assert!(feed.writes().len() <= 31, "{}", feed.writes().len());
    for row in daemon.rows(&["list"]) {
        assert_eq!(row["sources"], json!(["operator"]), "{row}");
    }
    // Killed again while they are taken off.
    assert!(daemon.cli(&["lift", "--reason", "manual", "--yes"]).status.success());
    wait_for("a removal", PATIENCE, || (there(&feed).len() < 30).then_some(()));
    daemon.kill();
    let daemon = home.start().ready();
    until_pushed(&daemon, 0);
    assert_eq!((there(&feed).len(), suppressed(&daemon).len()), (0, 0));
    daemon.stop();
}
