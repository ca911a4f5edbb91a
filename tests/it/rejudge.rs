//! An administrator's own rows, and what they make of what is stored.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::client::notify;
use crate::support::daemon::{Daemon, Home, PATIENCE, program, source};
use crate::support::wait_for;

fn tell(daemon: &Daemon, address: &str, second: u32, reason: &str) {
    let body = json!({
        "event": "hard_bounce",
        "timestamp": format!("2026-06-15T10:{:02}:{:02}Z", second / 60, second % 60),
        "message_id": format!("m{second}"),
        "recipient": address,
        "reason": reason,
        "smtp_code": 550,
    });
    assert_eq!(notify(daemon.http, &body.to_string()).status, 200);
}

fn reason(daemon: &Daemon, address: &str) -> Value {
    daemon.answer(&["lookup", address]).1.remove(0)["reason"].clone()
}

fn start(home: &Home, rows: &str) -> Daemon {
    home.configure(&format!("{}{rows}", source()));
    home.start().ready()
}

/// The rows of changes, as address, from and to; and the summary.
fn rejudged(daemon: &Daemon, arguments: &[&str]) -> (Vec<(Value, Value, Value)>, Value) {
    let mut rows = daemon.rows(&[&["rejudge"], arguments].concat());
    let summary = rows.pop().unwrap();
    let change = |row: Value| (row["address"].clone(), row["from"].clone(), row["to"].clone());
    let mut changes: Vec<_> = rows.into_iter().map(change).collect();
    changes.sort_by_key(|(address, ..)| address.to_string());
    (changes, summary)
}

const ROWS: &str = r#"
[[rules.reply]]
text = "user unknown at HOUSE one"
class = "content"
[[rules.reply]]
pattern = 'house (two|three)\b'
code = 550
enhanced = "x.7.0-9"
provider = "generic"
source = "test"
kind = "hard_bounce"
"#;

const TEXTS: &[(&str, &str)] = &[
    ("one@x.example", "550 5.1.1 User unknown at  house one"),
    ("two@x.example", "550 5.7.1 refused by House Two"),
    ("three@x.example", "550 5.1.9 refused by house three"),
    ("four@x.example", "550 5.1.1 user unknown"),
];

fn tell_all(daemon: &Daemon) {
    for (number, (address, text)) in (0..).zip(TEXTS) {
        tell(daemon, address, number, text);
    }
}

fn reasons(daemon: &Daemon) -> Vec<Value> {
    TEXTS.iter().map(|(address, _)| reason(daemon, address)).collect()
}

#[test]
fn own_rows_reach_what_is_stored_when_they_are_applied() {
    let (dead, clear) = (json!("hard_bounce"), Value::Null);
    let before = [dead.clone(), clear.clone(), clear.clone(), dead.clone()];
    let after = [clear.clone(), dead.clone(), clear.clone(), dead.clone()];
    let changes = vec![
        (json!("one@x.example"), dead.clone(), clear.clone()),
        (json!("two@x.example"), clear.clone(), dead.clone()),
    ];
    let home = Home::new("");
    let daemon = home.start().ready();
    tell_all(&daemon);
    assert_eq!(reasons(&daemon), before);
    let (none, summary) = rejudged(&daemon, &["--apply"]);
    assert_eq!((none, &summary["corrected"]), (vec![], &json!(0)), "nothing reads otherwise");
    daemon.stop();

    let daemon = start(&home, ROWS);
    assert_eq!(reasons(&daemon), before, "a row alone changes nothing");
    for arguments in [&[][..], &["--dry-run"]] {
        assert_eq!(rejudged(&daemon, arguments).0, changes);
    }
    let row = daemon.rows(&["rejudge"]).into_iter().find(|row| row["address"] == "one@x.example");
    let why = row.unwrap()["why"].as_str().unwrap().to_owned();
    assert!(why.contains("content by rules.reply[1]"), "{why}");
    assert_eq!(reasons(&daemon), before, "nor does a look");
    let (applied, summary) = rejudged(&daemon, &["--apply"]);
    assert_eq!(applied, changes);
    assert_eq!(summary["leaving"], json!([{ "export": "postfix", "rows": 1 }]));
    assert_eq!(reasons(&daemon), after);
    assert_eq!(rejudged(&daemon, &[]).0, []);
    wait_for("the export", PATIENCE, || {
        let text = home.export();
        (text.contains("two@x.example") && !text.contains("one@x.example")).then_some(())
    });
    daemon.stop();
    // What is new is judged so at once, and a store that is made again comes to the same.
    for part in ["sled", "checkpoint"] {
        std::fs::remove_dir_all(home.state().join(part)).unwrap();
    }
    let daemon = start(&home, ROWS);
    assert_eq!(reasons(&daemon), after);
    let event = daemon.rows(&["events", "--address", "one@x.example"]).remove(0);
    assert_eq!((&event["kind"], &event["class"]), (&json!("blocked"), &json!("content")));
    daemon.stop();
    // And back.
    let daemon = start(&home, "");
    assert_eq!(rejudged(&daemon, &["--apply"]).0.len(), 2);
    assert_eq!(reasons(&daemon), before);
    daemon.stop();
}

#[test]
fn what_an_operator_or_a_recipient_has_said_stays() {
    let home = Home::new("");
    let daemon = home.start().ready();
    for (number, address) in (0..).zip(["a@x.example", "b@x.example", "c@x.example"]) {
        tell(&daemon, address, number, "550 5.1.1 user unknown at house one");
    }
    daemon.cli(&["add", "a@x.example"]);
    let complaint = json!({
        "event": "spam_complaint", "timestamp": "2026-06-15T10:00:09Z", "message_id": "m9",
        "recipient": "b@x.example",
    });
    assert_eq!(notify(daemon.http, &complaint.to_string()).status, 200);
    tell(&daemon, "c@x.example", 40, "550 5.1.1 no such user");
    daemon.stop();
    let daemon = start(&home, ROWS);
    let (changes, summary) = rejudged(&daemon, &["--apply"]);
    assert_eq!(changes, [(json!("a@x.example"), json!("hard_bounce"), json!("manual"))]);
    assert_eq!(summary["corrected"], json!(3));
    for (address, expected) in
        [("a@x.example", "manual"), ("b@x.example", "complaint"), ("c@x.example", "hard_bounce")]
    {
        assert_eq!(reason(&daemon, address), json!(expected), "{address}");
    }
    assert_eq!(rejudged(&daemon, &[]).1["corrected"], json!(0));
    daemon.stop();
}

/// What an earlier run has made is taken back like anything else.
#[test]
fn what_other_rules_made_of_it_meanwhile_is_taken_back() {
    let home = Home::new("");
    let daemon = home.start().ready();
    tell(&daemon, "a@x.example", 1, "550 zz-one");
    tell(&daemon, "b@x.example", 2, "550 5.1.1 user unknown zz-two");
    daemon.stop();
    let row = |text: &str, class: &str| {
        format!("[[rules.reply]]\ntext = \"{text}\"\nclass = \"{class}\"\n")
    };
    let other = |class: &str| format!("{}{}", row("zz-one", class), row("zz-two", "full"));
    let (dead, clear) = (json!("hard_bounce"), Value::Null);
    for (rows, a, b) in [
        (other("no_mailbox"), &dead, &clear),
        (other("disabled"), &dead, &clear),
        (String::new(), &clear, &dead),
        (other("moved"), &dead, &clear),
        (other("policy"), &clear, &clear),
        (String::new(), &clear, &dead),
    ] {
        let daemon = start(&home, &rows);
        rejudged(&daemon, &["--apply"]);
        let reasons = [reason(&daemon, "a@x.example"), reason(&daemon, "b@x.example")];
        assert_eq!(reasons, [a.clone(), b.clone()], "{rows}");
        assert_eq!(rejudged(&daemon, &[]).1["corrected"], json!(0), "{rows}");
        let explained = daemon.rows(&["explain", "a@x.example"]).remove(0);
        let findings = explained["scopes"][0]["findings"].as_array().unwrap().clone();
        let is_dead = findings.iter().any(|finding| finding["reason"] == dead);
        assert_eq!(is_dead, *a == dead, "{explained}");
        daemon.stop();
    }
}

#[test]
fn it_is_broken_off_by_a_kill_and_goes_on() {
    let home = Home::new("");
    let daemon = home.start().ready();
    for number in 0..1_200 {
        let reason = "550 5.1.1 user unknown at house one";
        tell(&daemon, &format!("u{number}@x.example"), number, reason);
    }
    daemon.stop();
    let daemon = start(&home, ROWS);
    // The daemon is killed while a client reads the first of the rows.
    let mut client = std::process::Command::new(crate::support::daemon::PROGRAM);
    client.args(["rejudge", "--apply", "--json", "-c"]).arg(home.config());
    let mut client = client.stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_for("the first of it", PATIENCE, || {
        let is_begun = reason(&daemon, "u0@x.example").is_null();
        (is_begun || client.try_wait().unwrap().is_some()).then_some(())
    });
    daemon.kill();
    client.wait().unwrap();
    let daemon = home.start().ready();
    let (_, summary) = rejudged(&daemon, &["--apply"]);
    assert_eq!(summary["applied"], json!(true));
    let (left, summary) = rejudged(&daemon, &[]);
    assert_eq!((left, &summary["addresses"]), (vec![], &json!(1_200)));
    assert_eq!(daemon.rows(&["list"]), Vec::<Value>::new());
    daemon.stop();
}

#[test]
fn one_alone_applies_what_it_judges_at_a_time() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let one = |n: u32| {
        json!({
            "event": "hard_bounce",
            "timestamp": "2026-06-15T10:00:00Z",
            "message_id": format!("m{n}"),
            "recipient": format!("u{n}@x.example"),
            "reason": "550 5.1.1 user unknown at house one",
        })
    };
    let body = Value::Array((0..6_000).map(one).collect()).to_string();
    assert_eq!(notify(daemon.http, &body).status, 200);
    daemon.stop();
    let daemon = start(&home, ROWS);
    let mut first = Command::new(program())
        .arg("--config")
        .arg(home.config())
        .args(["rejudge", "--apply", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It has begun, and ends when all of its rows are read.
    let mut rows = BufReader::new(first.stdout.take().unwrap()).lines();
    assert!(rows.next().unwrap().unwrap().contains("change"));
    let second = daemon.cli(&["rejudge", "--apply"]);
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another `suppressd rejudge --apply` is under way"), "{said}");
    assert!(daemon.cli(&["rejudge", "--dry-run"]).status.success());
    assert_eq!(rows.count(), 6_000);
    assert!(first.wait().unwrap().success());
    assert_eq!(rejudged(&daemon, &["--apply"]).1["corrected"], json!(0));
    daemon.stop();
}
