//! Whatever turns a verdict, forwards tell of it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, source};
use crate::support::wait_for;

/// A verdict that has turned, in short.
type Turn = (String, String, String);

fn turn(kind: &str, address: &str, reason: &str) -> Turn {
    (format!("suppression.{kind}"), address.to_owned(), reason.to_owned())
}

fn added(address: &str, reason: &str) -> Turn {
    turn("added", address, reason)
}

fn lifted(address: &str, reason: &str) -> Turn {
    turn("lifted", address, reason)
}

/// A home whose file is told of all turns.
fn home() -> Home {
    let home = Home::new("");
    configure(&home, "");
    home
}

fn configure(home: &Home, more: &str) {
    let path = home.dir.join("turns.jsonl");
    let forward = format!("[[forward]]\nname = \"turns\"\nfile = \"{}\"\n", path.display());
    home.configure(&(source() + &forward + more));
}

#[track_caller]
fn reload(daemon: &Daemon) {
    assert_eq!(daemon.answer(&["reload"]).1[0]["reloaded"], true);
}

/// What the file was told, in its order. What a crash had told again has the same id.
fn told(home: &Home) -> Vec<Turn> {
    let text = fs::read_to_string(home.dir.join("turns.jsonl")).unwrap_or_default();
    let mut lines: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut ids = BTreeSet::new();
    lines.retain(|line| ids.insert(line["id"].to_string()));
    let lines = lines.into_iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines
        .map(|line| {
            let data = &line["data"];
            (text(&line["type"]), text(&data["address"]), text(&data["reason"]))
        })
        .collect()
}

/// Waits until that is the last that was told, and these before it since the last call.
#[track_caller]
fn expect(home: &Home, seen: &mut usize, turns: &[Turn]) {
    wait_for("the turns", PATIENCE, || (told(home).len() >= *seen + turns.len()).then_some(()));
    assert_eq!(told(home)[*seen..], *turns);
    *seen += turns.len();
}

/// Tells of a person's complaint: whatever else was to be told before is told by then.
fn mark(daemon: &Daemon, number: u32) -> Turn {
    let address = format!("mark{number}@x.test");
    notify(daemon.http, &event("complaint", &address, &address, number));
    added(&address, "complaint")
}

#[test]
fn an_end_is_told_when_it_comes_and_not_when_it_was_put_off() {
    let (home, mut seen) = (home(), 0);
    let daemon = home.start().ready();
    for (address, term) in [("kept@x.test", "1s"), ("kept@x.test", "1h"), ("short@x.test", "2s")] {
        daemon.rows(&["add", address, "--for", term]);
    }
    let begun = [added("kept@x.test", "manual"), added("short@x.test", "manual")];
    expect(&home, &mut seen, &begun);
    expect(&home, &mut seen, &[lifted("short@x.test", "manual")]);
    // One that ends while nobody runs, and what comes behind its end.
    daemon.rows(&["add", "asleep@x.test", "--for", "2s"]);
    expect(&home, &mut seen, &[added("asleep@x.test", "manual")]);
    daemon.kill();
    let daemon = home.start().ready();
    expect(&home, &mut seen, &[lifted("asleep@x.test", "manual")]);
    daemon.rows(&["add", "asleep@x.test", "--for", "2s"]);
    let again = [added("asleep@x.test", "manual"), lifted("asleep@x.test", "manual")];
    expect(&home, &mut seen, &again);
    // Nothing is told once more after a crash.
    daemon.kill();
    let daemon = home.start().ready();
    let last = mark(&daemon, 1);
    expect(&home, &mut seen, &[last]);
}

#[test]
fn other_rules_are_told_at_a_reload_and_at_a_start() {
    let (home, mut seen) = (home(), 0);
    let daemon = home.start().ready();
    notify(daemon.http, &event("soft_bounce", "soft@x.test", "1", 1));
    notify(daemon.http, &event("hard_bounce", "hard@x.test", "2", 2));
    expect(&home, &mut seen, &[added("hard@x.test", "hard_bounce")]);
    let one = "[rules]\nsoft_bounce = { count = 1, within = \"1d\", for = \"forever\" }\n";
    configure(&home, one);
    reload(&daemon);
    expect(&home, &mut seen, &[added("soft@x.test", "soft_bounces")]);
    configure(&home, &format!("{one}never = [\"hard@x.test\"]\n"));
    reload(&daemon);
    expect(&home, &mut seen, &[lifted("hard@x.test", "hard_bounce")]);
    // What comes while it is exempt says nothing; a restart with the same rules neither.
    notify(daemon.http, &event("complaint", "hard@x.test", "3", 3));
    daemon.kill();
    let daemon = home.start().ready();
    let last = mark(&daemon, 10);
    expect(&home, &mut seen, &[last]);
    daemon.stop();
    configure(&home, "");
    let daemon = home.start().ready();
    let turns = [added("hard@x.test", "complaint"), lifted("soft@x.test", "soft_bounces")];
    expect(&home, &mut seen, &turns);
    reload(&daemon);
    let last = mark(&daemon, 20);
    expect(&home, &mut seen, &[last]);
}

#[test]
fn what_is_judged_again_let_go_and_forgotten_is_told_as_it_turns() {
    let (home, mut seen) = (home(), 0);
    let hold = "[hold]\nnew = { count = 2, within = \"1h\" }\n";
    configure(&home, hold);
    let daemon = home.start().ready();
    for number in 1..=4 {
        let address = format!("m{number}@x.test");
        notify(daemon.http, &event("hard_bounce", &address, &address, number));
    }
    let held = wait_for("the mass", PATIENCE, || {
        daemon.rows(&["held"]).pop().filter(|mass| mass["count"] == 2)
    });
    let reason = |address: &str| added(address, "hard_bounce");
    expect(&home, &mut seen, &[reason("m1@x.test"), reason("m2@x.test")]);
    let id = held["id"].to_string();
    assert_eq!(daemon.answer(&["release", &id]).0, 0);
    expect(&home, &mut seen, &[reason("m3@x.test"), reason("m4@x.test")]);
    let row = "[[rules.reply]]\ntext = \"no such user\"\nclass = \"content\"\n";
    configure(&home, &format!("{hold}{row}"));
    reload(&daemon);
    let (code, _) = daemon.answer(&["rejudge", "--apply"]);
    assert_eq!(code, 0);
    wait_for("the lifts", PATIENCE, || (told(&home).len() >= seen + 4).then_some(()));
    let mut turns = told(&home).split_off(seen);
    turns.sort();
    let all = (1..=4).map(|n| lifted(&format!("m{n}@x.test"), "hard_bounce"));
    assert_eq!(turns, all.collect::<Vec<_>>());
    seen += 4;
    // Who is forgotten stays suppressed, and nobody is told of them again.
    daemon.rows(&["add", "ann@y.test", "--for", "2s"]);
    daemon.rows(&["add", "bob@y.test", "--for", "3s"]);
    assert_eq!(daemon.answer(&["forget", "ann@y.test", "--yes"]).0, 0);
    let begun = [added("ann@y.test", "manual"), added("bob@y.test", "manual")];
    expect(&home, &mut seen, &begun);
    expect(&home, &mut seen, &[lifted("bob@y.test", "manual")]);
    let last = mark(&daemon, 30);
    expect(&home, &mut seen, &[last]);
    assert_eq!(json!(daemon.looked_up("bob@y.test")), 404);
}
