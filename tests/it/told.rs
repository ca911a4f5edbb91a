//! What the verbs tell of the exports' files: what an MTA finds there, whatever the store says.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{SECRET, event, notify, request, sign};
use crate::support::daemon::{Daemon, Home, PATIENCE, source};
use crate::support::wait_for;

/// What a row says of an export: whether the file has the address, and how that comes.
fn told<'a>(row: &'a Value, export: &str) -> (&'a Value, &'a str) {
    let exports = row["exports"].as_array().unwrap();
    let one = exports.iter().find(|row| row["name"] == export).unwrap();
    (&one["listed"], one["detail"].as_str().unwrap())
}

const LATE: &str = "not yet in the file; pending: it is written once in 1h at most";

/// What a verb prints for people.
fn text(daemon: &Daemon, arguments: &[&str]) -> String {
    String::from_utf8(daemon.cli(arguments).stdout).unwrap()
}

/// Waits until what is said of an address and an export is what it is to be.
fn until_told(daemon: &Daemon, address: &str, export: &str, fits: impl Fn(&str) -> bool) {
    wait_for(export, PATIENCE, || {
        let row = daemon.rows(&["lookup", address]).remove(0);
        fits(told(&row, export).1).then_some(())
    });
}

fn exports(home: &Home) -> String {
    let one = |name: &str, more: &str| {
        let path = home.dir.join(name.replace('-', ".")).display().to_string();
        format!("[[export]]\nname = \"{name}\"\npath = \"{path}\"\n{more}\n")
    };
    [
        one("map-lmdb", "format = \"postfix-transport\"\ntable = \"lmdb\""),
        one("map-cdb", "format = \"postfix-access\"\ntable = \"cdb\""),
        one("complaints", "format = \"plain\"\nreasons = [\"complaint\"]"),
        one("late", "format = \"plain\"\nmin_interval = \"1h\""),
    ]
    .concat()
}

#[test]
fn an_addition_and_a_lift_say_what_the_files_have() {
    let home = Home::new("");
    home.configure(&format!("{}{}", source(), exports(&home)));
    let daemon = home.start().ready();
    daemon.until_well();
    let added = daemon.rows(&["add", "a@x.test"]).remove(0);
    let elsewhere = "not of its reasons, sources or scopes";
    assert_eq!(told(&added, "complaints"), (&json!(false), elsewhere));
    assert_eq!(told(&added, "late"), (&json!(false), LATE));
    for export in ["postfix", "map-lmdb", "map-cdb"] {
        until_told(&daemon, "a@x.test", export, |said| said == "in the file");
    }
    let looked = daemon.rows(&["lookup", "a@x.test", "b@x.test"]);
    assert_eq!(told(&looked[0], "map-lmdb").0, true);
    assert_eq!(told(&looked[1], "map-lmdb"), (&json!(false), "not in the file"));
    let explained = daemon.rows(&["explain", "a@x.test"]).remove(0);
    assert_eq!(told(&explained, "map-cdb").0, true);
    assert_eq!(told(&explained, "late"), (&json!(false), LATE));
    let shown = text(&daemon, &["lookup", "a@x.test"]);
    assert!(shown.contains("late (not yet in the file"), "{shown}");
    let lifted = daemon.rows(&["lift", "a@x.test"]).remove(0);
    for export in ["postfix", "map-lmdb", "map-cdb"] {
        until_told(&daemon, "a@x.test", export, |said| said == "not in the file");
    }
    assert!(lifted["hint"].as_str().unwrap().contains("postfix reload"));
    daemon.rows(&["add", "b@x.test"]);
    let shown = text(&daemon, &["lift", "b@x.test"]);
    assert!(shown.contains("\n\ncomplaints: not in the file\n"), "{shown}");
    assert_eq!(shown.matches("postfix reload").count(), 1, "{shown}");
    daemon.stop();
}

#[test]
fn a_lift_speaks_of_postfix_only_where_it_may_ask() {
    let home = Home::new("");
    let lookup = "[[lookup]]\nlisten = \"127.0.0.1:0\"\nprotocol = ";
    let sendmail = format!("{}{lookup}\"socketmap\"\nstyle = \"sendmail\"\n", source());
    for (more, speaks) in [("", false), ("\"policy\"\n", true)] {
        let more = if more.is_empty() { String::new() } else { format!("{lookup}{more}") };
        home.configure(&format!("{sendmail}{more}"));
        let text = fs::read_to_string(home.config()).unwrap();
        fs::write(home.config(), text.replace("postfix-access", "exim")).unwrap();
        let daemon = home.start().ready();
        daemon.until_well();
        daemon.rows(&["add", "a@x.test"]);
        let lifted = daemon.rows(&["lift", "a@x.test"]).remove(0);
        assert_eq!(lifted["hint"].is_string(), speaks, "{lifted}");
        daemon.stop();
    }
}

#[test]
fn a_change_waits_neither_for_an_interval_nor_for_a_slow_command() {
    let home = Home::new("");
    let slow = home.dir.join("slow").display().to_string();
    let export = format!(
        "[[export]]\nname = \"slow\"\nformat = \"plain\"\npath = \"{slow}\"\n\
         min_interval = \"0s\"\ncommand = [\"/bin/sleep\", \"20\"]\n"
    );
    home.configure(&format!("{}{}{export}", source(), exports(&home)));
    let daemon = home.start().ready();
    let started = Instant::now();
    const COMMANDS: u32 = 20;
    for n in 0..COMMANDS {
        let added = daemon.rows(&["add", &format!("a{n}@x.test")]).remove(0);
        assert!(told(&added, "slow").1.contains("; pending"), "{added}");
        assert_eq!(told(&added, "late"), (&json!(false), LATE));
    }
    // Each takes as long as it may wait, and what a process takes on a busy machine.
    let took = started.elapsed();
    assert!(took < COMMANDS * Duration::from_secs(1), "{took:?}");
    daemon.kill();
}

#[test]
fn a_file_that_is_held_back_or_cannot_be_written_is_told() {
    let home = Home::new("");
    let rows: String = (0..10).map(|n| format!("lost{n}@x.test\t550 5.1.1 old\n")).collect();
    fs::write(home.dir.join("access"), rows).unwrap();
    let blocked = home.dir.join("blocked");
    let other = format!(
        "[[export]]\nname = \"blocked\"\nformat = \"plain\"\npath = {:?}\n",
        blocked.display().to_string()
    );
    home.configure(&format!("{}{other}", source()));
    let daemon = home.start().ready();
    fs::remove_file(&blocked).unwrap();
    fs::create_dir_all(blocked.join("in the way")).unwrap();
    daemon.rows(&["add", "a@x.test"]);
    // Additions go on.
    until_told(&daemon, "a@x.test", "postfix", |said| said == "in the file");
    until_told(&daemon, "a@x.test", "blocked", |said| said.contains("blocked"));
    let lost = daemon.rows(&["explain", "lost3@x.test"]).remove(0);
    assert_eq!((&lost["suppressed"], &lost["known"]), (&json!(false), &json!(false)));
    let (listed, detail) = told(&lost, "postfix");
    assert_eq!(listed, true);
    assert!(detail.contains("run: suppressd export postfix --force"), "{detail}");
    // What is explained goes, and the answer waits for that, though not long on a busy machine.
    let is_gone = |n: u32| {
        let address = format!("b{n}@x.test");
        daemon.rows(&["add", &address]);
        until_told(&daemon, &address, "postfix", |said| said == "in the file");
        let lifted = daemon.rows(&["lift", &address]).remove(0);
        told(&lifted, "postfix").1 == "not in the file"
    };
    assert!((0..20).any(is_gone));
    daemon.stop();
}

#[test]
fn what_is_suppressed_without_an_explanation_can_be_lifted() {
    let rules = "[rules]\nunexplained = { count = 1, within = \"36500d\", for = \"forever\" }\n";
    let home = Home::new(rules);
    let daemon = home.start().ready();
    let body = json!({ "event": "hard_bounce", "recipient": "odd@x.test", "message_id": "m",
        "timestamp": "2026-06-15T10:32:11Z", "smtp_code": 554, "reason": "554 qqq" });
    assert_eq!(notify(daemon.http, &body.to_string()).status, 200);
    daemon.until_suppressed("odd@x.test");
    assert_eq!(daemon.rows(&["events"])[0]["class"], "unexplained");
    let said = String::from_utf8(daemon.cli(&["explain", "odd@x.test"]).stdout).unwrap();
    let refusals = said.split("refusals that nothing explains").nth(1).unwrap();
    assert!(refusals.contains("2026-06-15T10:32:11Z"), "{said}");
    let (code, rows) = daemon.answer(&["lift", "odd@x.test"]);
    assert_eq!((code, &rows[0]["done"]), (0, &json!(true)), "{}", rows[0]);
    assert!(!rows[0]["hint"].as_str().unwrap().contains("was not suppressed"));
    assert_eq!(daemon.looked_up("odd@x.test"), 404);
    // The second time it covers what may come late, and says that there was nothing.
    let (code, rows) = daemon.answer(&["lift", "odd@x.test"]);
    assert_eq!((code, &rows[0]["done"], &rows[0]["reason"]), (0, &json!(true), &Value::Null));
    assert!(rows[0]["hint"].as_str().unwrap().starts_with("was not suppressed"), "{}", rows[0]);
    daemon.stop();
}

#[test]
fn what_nobody_has_heard_of_is_told_and_changes_nothing() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let (code, rows) = daemon.answer(&["lift", "typo@x.test"]);
    assert_eq!((code, &rows[0]["done"]), (1, &json!(false)));
    assert_eq!(rows[0]["problem"], "was not suppressed: nothing is known of it");
    assert!(daemon.rows(&["events"]).is_empty());
    let shown = text(&daemon, &["explain", "typo@x.test"]);
    assert!(
        shown.starts_with("typo@x.test is not suppressed: nothing is known of it\n"),
        "{shown}"
    );
    for verb in [
        &["list", "--source", "nosuch"][..],
        &["lift", "--source", "nosuch", "--yes"],
        &["lift", "--source", "nosuch"],
        &["events", "--source", "nosuch"],
        &["source", "retire", "nosuch", "--yes"],
        &["trigger", "nosuch", "delivered", "a@x.test"],
    ] {
        let ended = daemon.cli(verb);
        let says = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{verb:?}: {says}");
        assert!(says.contains("nosuch") && says.contains("test"), "{verb:?}: {says}");
    }
    daemon.stop();
}

#[test]
fn a_lift_by_filter_is_asked_for() {
    let home = Home::new("");
    let daemon = home.start().ready();
    daemon.rows(&["add", "a@x.test", "b@x.test"]);
    let refused = daemon.cli(&["lift", "--domain", "x.test"]);
    assert_eq!(refused.status.code(), Some(64));
    let says = String::from_utf8(refused.stderr).unwrap();
    assert!(says.contains("this lifts 2 suppressions: nothing was done; --yes"), "{says}");
    assert_eq!(daemon.rows(&["list"]).len(), 2);
    assert_eq!(daemon.rows(&["lift", "--domain", "x.test", "--dry-run"]).len(), 2);
    assert_eq!(daemon.rows(&["lift", "--domain", "x.test", "--yes"]).len(), 2);
    assert!(daemon.rows(&["list"]).is_empty());
    daemon.stop();
}

#[test]
fn a_source_that_is_gone_is_retired() {
    let home = Home::new("");
    home.configure(&format!("{}{}", source(), source().replace("\"test\"", "\"gone\"")));
    let daemon = home.start().ready();
    let bounce = |address: &str| event("hard_bounce", address, "m", 1);
    for address in ["a@x.test", "b@x.test"] {
        let (body, path) = (bounce(address), "/hooks/gone");
        let signature = sign(SECRET, body.as_bytes());
        let headers = [("x-webhook-signature", signature.as_str())];
        let answer = request(daemon.http, "POST", path, &headers, body.as_bytes());
        assert_eq!(answer.status, 200);
    }
    assert_eq!(notify(daemon.http, &bounce("b@x.test")).status, 200);
    let refused = daemon.cli(&["source", "retire", "gone", "--yes"]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("is in use"));
    let refused = daemon.cli(&["source", "retire", "operator", "--yes"]);
    let says = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64));
    assert!(says.contains("built in") && says.contains("lift --source operator"), "{says}");
    daemon.stop();
    home.configure(&source());
    let daemon = home.start().ready();
    assert_eq!(daemon.rows(&["list", "--source", "gone"]).len(), 2, "they go on");
    assert_eq!(daemon.cli(&["source", "retire", "gone"]).status.code(), Some(64), "it asks");
    let counted = daemon.rows(&["source", "retire", "gone", "--dry-run"]).remove(0);
    assert_eq!((&counted["standings"], &counted["freed"]), (&json!(2), &json!(1)));
    let retired = daemon.rows(&["source", "retire", "gone", "--yes"]).remove(0);
    assert_eq!((&retired["ended"], &retired["done"]), (&json!(2), &json!(true)));
    let again = daemon.rows(&["source", "retire", "gone", "--yes"]).remove(0);
    assert_eq!((&again["standings"], &again["ended"]), (&json!(0), &json!(0)), "it was done");
    let again = daemon.cli(&["source", "retire", "gone", "--yes"]);
    let says = String::from_utf8(again.stdout).unwrap();
    assert_eq!((again.status.code(), says.contains("nothing to do")), (Some(0), true), "{says}");
    let left: Vec<Value> = daemon.rows(&["list"]);
    assert_eq!((left.len(), &left[0]["address"]), (1, &json!("b@x.test")));
    wait_for("the end of the row", PATIENCE, || {
        let text = home.export();
        (!text.contains("a@x.test") && text.contains("b@x.test")).then_some(())
    });
    assert_eq!(daemon.health(), "ready", "the guard knows why the row has gone");
    daemon.stop();
    let daemon = home.start().ready();
    assert_eq!(daemon.rows(&["list"]), left, "it was journalled");
    let explained = daemon.rows(&["explain", "b@x.test"]).remove(0);
    assert!(explained["exports"][0]["generation"].as_u64().unwrap() > 1, "{explained}");
    daemon.stop();
}
