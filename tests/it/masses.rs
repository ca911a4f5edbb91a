//! Masses of new suppressions, held back until an administrator has looked at them.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use suppressd::clock;

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, program, source};
use crate::support::feed::{Feed, row};
use crate::support::wait_for;

/// Twenty an hour are none yet.
const HOLD: &str = "[hold]\nnew = { count = 20, within = \"1h\" }\n";

/// The addresses of a domain that are told in one notification.
fn tell(daemon: &Daemon, kind: &str, domain: &str, numbers: std::ops::Range<u32>) {
    let one = |n: u32| event(kind, &format!("u{n}@{domain}"), &format!("{kind}{n}"), 30 + n);
    let body: Vec<String> = numbers.map(one).collect();
    assert_eq!(notify(daemon.http, &format!("[{}]", body.join(","))).status, 200);
}

/// Waits until so many rows are exported, and nothing else is to come.
fn until_exported(home: &Home, daemon: &Daemon, rows: usize) {
    wait_for("the export", PATIENCE, || {
        let pending = daemon.exported()["pending"] != false;
        let written = home.export().lines().filter(|line| line.contains('@')).count();
        (!pending && written == rows).then_some(())
    });
}

fn held(daemon: &Daemon) -> Vec<(Value, Value, Value)> {
    let row = |row: Value| (row["id"].clone(), row["domain"].clone(), row["count"].clone());
    daemon.rows(&["held"]).into_iter().map(row).collect()
}

fn is_suppressed(daemon: &Daemon, address: &str) -> bool {
    daemon.answer(&["lookup", address]).0 == 3
}

#[test]
fn a_mass_is_held_and_what_people_say_is_not() {
    let home = Home::new(HOLD);
    let daemon = home.start().ready();
    tell(&daemon, "hard_bounce", "small.example", 0..20);
    tell(&daemon, "hard_bounce", "big.example", 0..80);
    tell(&daemon, "spam_complaint", "big.example", 60..62);
    tell(&daemon, "unsubscribed", "big.example", 62..64);
    daemon.cli(&["add", "u64@big.example"]);
    until_exported(&home, &daemon, 20 + 20 + 5);
    assert_eq!(held(&daemon), [(json!(1), json!("big.example"), json!(60))]);
    let shown = daemon.rows(&["held"]).remove(0);
    assert_eq!((&shown["source"], &shown["class"]), (&json!("test"), &json!("no_mailbox")));
    assert_eq!(shown["since"], json!("2026-06-15T00:00:50Z"));
    assert_eq!(shown["examples"].as_array().unwrap().len(), 5);
    for (number, suppressed) in [(19, true), (20, false), (61, true), (63, true), (64, true)] {
        let address = format!("u{number}@big.example");
        assert_eq!(is_suppressed(&daemon, &address), suppressed, "{address}");
    }
    // It is told where one looks, and the fact is there.
    daemon.until_logged("unusually many new suppressions");
    assert_eq!(daemon.metric("suppressd_held_suppressions"), Some(60.0));
    let status = daemon.rows(&["status"]).remove(0);
    let check = status["checks"].as_array().unwrap().iter().find(|check| check["name"] == "held");
    assert!(
        check.unwrap()["detail"]
            .as_str()
            .unwrap()
            .starts_with("masses of new suppressions: 1, with 60")
    );
    let explained = daemon.rows(&["explain", "u20@big.example"]).remove(0);
    let finding = &explained["scopes"][0]["findings"][0];
    assert_eq!((&finding["held"], &finding["live"]), (&json!(1), &json!(false)));
    let said = String::from_utf8(daemon.cli(&["explain", "u20@big.example"]).stdout).unwrap();
    assert!(said.contains("held with mass 1"), "{said}");
    let looked_up = |address| String::from_utf8(daemon.cli(&["lookup", address]).stdout).unwrap();
    let said = looked_up("u20@big.example");
    assert!(said.contains("held with mass 1; see `suppressd held`"), "{said}");
    assert!(!looked_up("u19@big.example").contains("held"));
    assert!(!looked_up("nobody@big.example").contains("held"));
    daemon.stop();
}

#[test]
fn what_is_held_stays_so_over_kills_and_a_rebuild() {
    let home = Home::new(HOLD);
    let daemon = home.start().ready();
    tell(&daemon, "hard_bounce", "big.example", 0..30);
    daemon.kill();
    let daemon = home.start().ready();
    tell(&daemon, "hard_bounce", "big.example", 30..50);
    until_exported(&home, &daemon, 20);
    assert_eq!(held(&daemon), [(json!(1), json!("big.example"), json!(30))]);
    daemon.stop();
    for part in ["sled", "checkpoint"] {
        std::fs::remove_dir_all(home.state().join(part)).unwrap();
    }
    let daemon = home.start().ready();
    until_exported(&home, &daemon, 20);
    assert_eq!(held(&daemon), [(json!(1), json!("big.example"), json!(30))]);
    // Told again it is nothing new.
    tell(&daemon, "hard_bounce", "big.example", 0..50);
    assert_eq!(held(&daemon), [(json!(1), json!("big.example"), json!(30))]);
    daemon.stop();
    // Nor is it forgotten when the table is taken out of the configuration.
    home.configure(&source());
    let daemon = home.start().ready();
    assert!(!is_suppressed(&daemon, "u40@big.example"));
    assert_eq!(daemon.answer(&["release", "1"]).0, 0);
    until_exported(&home, &daemon, 50);
    assert_eq!(held(&daemon), []);
    daemon.stop();
}

#[test]
fn what_was_held_stays_so_by_whatever_rule_the_store_is_made_again() {
    let home = Home::new(HOLD);
    let daemon = home.start().ready();
    tell(&daemon, "hard_bounce", "big.example", 0..50);
    daemon.stop();
    for other in [HOLD.replace("20", "9000"), String::new()] {
        for part in ["sled", "checkpoint"] {
            std::fs::remove_dir_all(home.state().join(part)).unwrap();
        }
        home.configure(&format!("{}{other}", source()));
        let daemon = home.start().ready();
        assert_eq!(held(&daemon), [(json!(1), json!("big.example"), json!(30))], "{other}");
        daemon.stop();
    }
    // What comes from then on follows the new rule; and back, at a reload.
    let daemon = home.start().ready();
    tell(&daemon, "hard_bounce", "later.example", 0..50);
    assert_eq!(held(&daemon).len(), 1);
    home.configure(&format!("{}{HOLD}", source()));
    assert!(daemon.cli(&["reload"]).status.success());
    tell(&daemon, "hard_bounce", "last.example", 0..50);
    let both =
        [(json!(1), json!("big.example"), json!(30)), (json!(2), json!("last.example"), json!(30))];
    assert_eq!(held(&daemon), both);
    daemon.stop();
    for part in ["sled", "checkpoint"] {
        std::fs::remove_dir_all(home.state().join(part)).unwrap();
    }
    let daemon = home.start().ready();
    assert_eq!(held(&daemon), both);
    assert!(is_suppressed(&daemon, "u45@later.example"));
    daemon.stop();
}

/// Rows by which what was nobody's fault is dead.
const HOUSE: &str = "[[rules.reply]]\ntext = \"zz-house\"\nclass = \"no_mailbox\"\n";

#[test]
fn what_is_judged_again_in_mass_is_held_too() {
    let home = Home::new(HOLD);
    let daemon = home.start().ready();
    let one = |n: u32| {
        let told = event("hard_bounce", &format!("u{n}@big.example"), &format!("m{n}"), 30 + n);
        let mut told: Value = serde_json::from_str(&told).unwrap();
        told["reason"] = json!("550 zz-house");
        told
    };
    let body = Value::Array((0..50).map(one).collect()).to_string();
    assert_eq!(notify(daemon.http, &body).status, 200);
    daemon.stop();
    home.configure(&format!("{}{HOLD}{HOUSE}", source()));
    let daemon = home.start().ready();
    let summary = daemon.rows(&["rejudge", "--apply"]).pop().unwrap();
    assert_eq!((&summary["changed"], &summary["held"]), (&json!(50), &json!(30)));
    until_exported(&home, &daemon, 20);
    assert_eq!(held(&daemon), [(json!(1), json!("big.example"), json!(30))]);
    let class = daemon.rows(&["held"]).remove(0)["class"].clone();
    assert_eq!(class, json!("no_mailbox"));
    assert_eq!(daemon.rows(&["rejudge"]).pop().unwrap()["corrected"], json!(0));
    assert_eq!(daemon.answer(&["release", "1"]).0, 0);
    until_exported(&home, &daemon, 50);
    daemon.stop();
    // Without the row nobody is dead any more.
    home.configure(&format!("{}{HOLD}", source()));
    let daemon = home.start().ready();
    assert_eq!(daemon.rows(&["rejudge", "--apply"]).pop().unwrap()["changed"], json!(50));
    until_exported(&home, &daemon, 0);
    assert_eq!(held(&daemon), []);
    daemon.stop();
}

#[test]
fn a_mass_is_let_go_or_ended() {
    let home = Home::new(HOLD);
    let daemon = home.start().ready();
    tell(&daemon, "hard_bounce", "true.example", 0..40);
    tell(&daemon, "hard_bounce", "false.example", 0..40);
    until_exported(&home, &daemon, 40);
    let (code, rows) = daemon.answer(&["release", "1"]);
    assert_eq!((code, &rows[0]["released"]), (0, &json!(20)));
    until_exported(&home, &daemon, 60);
    // What still comes of it is not held.
    tell(&daemon, "hard_bounce", "true.example", 40..50);
    until_exported(&home, &daemon, 70);

    assert_eq!(daemon.rows(&["lift", "--held", "2", "--dry-run"]).len(), 20);
    assert_eq!(held(&daemon), [(json!(2), json!("false.example"), json!(20))]);
    // Nobody is there to be asked.
    let refused = daemon.cli(&["lift", "--held", "2"]);
    assert_eq!(refused.status.code(), Some(64));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("this lifts 20 suppressions: nothing was done"), "{said}");
    assert_eq!(held(&daemon), [(json!(2), json!("false.example"), json!(20))]);
    let lifted = daemon.rows(&["lift", "--held", "2", "--yes", "--note", "an outage"]);
    assert_eq!((lifted.len(), &lifted[0]["done"]), (20, &json!(true)));
    assert_eq!(held(&daemon), []);
    assert!(
        is_suppressed(&daemon, "u5@false.example") && !is_suppressed(&daemon, "u30@false.example")
    );
    // A complaint counts, and a bounce that comes later does too.
    tell(&daemon, "spam_complaint", "false.example", 30..31);
    assert!(is_suppressed(&daemon, "u30@false.example"));
    for verb in [&["release", "2"][..], &["lift", "--held", "2"]] {
        assert_eq!(daemon.answer(verb).0, 64, "there is none any more");
    }
    until_exported(&home, &daemon, 71);
    daemon.stop();
}

#[test]
fn history_that_comes_in_bulk_is_no_mass() {
    let feed = Feed::start();
    let ago = |seconds: u64| {
        let time = clock::now().minus(Duration::from_secs(seconds)).floor_second();
        time.to_string()
    };
    let row = |domain: &str, n: u64, at: u64| {
        row("hard_bounce", &format!("u{n}@{domain}"), &ago(at), &format!("{domain}{n}"))
    };
    // All of an hour, but long ago; of today, but over many hours; and a mass of today.
    feed.push((0..60).map(|n| row("old.example", n, 20 * 86_400 + n)));
    feed.push((0..60).map(|n| row("slow.example", n, 600 + n * 1_200)));
    feed.push((0..60).map(|n| row("new.example", n, 600 + n)));
    let poll = format!("poll = {{ url = \"{}\", cron = \"0 0 0 29 2 *\" }}\n", feed.url());
    let home =
        Home::bare(&format!("[[source]]\nname = \"api\"\nprovider = \"generic\"\n{poll}{HOLD}"));
    let daemon = home.start().ready();
    until_exported(&home, &daemon, 60 + 60 + 20);
    assert_eq!(held(&daemon), [(json!(1), json!("new.example"), json!(40))]);
    daemon.stop();
}

#[test]
fn masses_are_told_apart_as_the_table_says() {
    let home = Home::new(&format!("{HOLD}by = [\"source\"]\n"));
    let daemon = home.start().ready();
    tell(&daemon, "hard_bounce", "a.example", 0..15);
    tell(&daemon, "hard_bounce", "b.example", 0..15);
    until_exported(&home, &daemon, 20);
    assert_eq!(held(&daemon), [(json!(1), Value::Null, json!(10))]);
    daemon.stop();
}

#[test]
fn what_is_lifted_by_itself_is_of_no_mass() {
    let home = Home::new(HOLD);
    let daemon = home.start().ready();
    tell(&daemon, "hard_bounce", "true.example", 0..23);
    until_exported(&home, &daemon, 20);
    for left in [2, 1, 0] {
        let address = format!("u{}@true.example", 22 - left);
        assert_eq!(daemon.answer(&["lift", &address]).0, 0);
        let of = (left > 0).then(|| (json!(1), json!("true.example"), json!(left)));
        assert_eq!(held(&daemon), Vec::from_iter(of));
    }
    assert_eq!(daemon.health(), "ready");
    daemon.stop();
}

/// The sender's fault, says a row of the house, of what was told as dead.
const NO_FAULT: &str = "[[rules.reply]]\ntext = \"zz-house\"\nclass = \"policy\"\n";

#[test]
fn a_row_that_is_tried_and_taken_out_again_leaves_all_as_it_was() {
    // Without a table all stand; with it, 30 of 50 are held.
    for (table, live) in [("", 50), (HOLD, 20)] {
        let home = Home::new(table);
        let daemon = home.start().ready();
        let one = |n: u32| {
            let told = event("hard_bounce", &format!("u{n}@big.example"), &format!("m{n}"), 30 + n);
            let mut told: Value = serde_json::from_str(&told).unwrap();
            told["reason"] = json!("550 5.1.1 zz-house");
            told
        };
        let body = Value::Array((0..50).map(one).collect()).to_string();
        assert_eq!(notify(daemon.http, &body).status, 200);
        until_exported(&home, &daemon, live);
        let before = held(&daemon);
        daemon.stop();
        for (row, rows) in [(NO_FAULT, 0), ("", live)] {
            home.configure(&format!("{}{HOLD}{row}", source()));
            let daemon = home.start().ready();
            let summary = daemon.rows(&["rejudge", "--apply"]).pop().unwrap();
            assert_eq!(summary["corrected"], json!(50), "{table}");
            until_exported(&home, &daemon, rows);
            let now = if row.is_empty() { before.clone() } else { Vec::new() };
            assert_eq!(held(&daemon), now, "{table}");
            daemon.stop();
        }
    }
}

/// The addresses that a run changes, each with the mass that holds it; and how many are held.
fn rejudged(daemon: &Daemon, arguments: &[&str]) -> (Vec<(Value, Value)>, Value) {
    let mut rows = daemon.rows(&[&["rejudge"], arguments].concat());
    let summary = rows.pop().unwrap();
    let row = |row: Value| (row["address"].clone(), row["held"].clone());
    (rows.into_iter().map(row).collect(), summary["held"].clone())
}

#[test]
fn a_dry_run_foresees_what_is_held() {
    let dead = |text: &str| format!("[[rules.reply]]\ntext = \"{text}\"\nclass = \"disabled\"\n");
    let home = Home::new(HOLD);
    let daemon = home.start().ready();
    let one = |text: &str, domain: &str, n: u32| {
        let address = format!("u{n}@{domain}");
        let told = event("hard_bounce", &address, &format!("{text}{n}"), 30 + n);
        let mut told: Value = serde_json::from_str(&told).unwrap();
        told["reason"] = json!(format!("550 {text}"));
        told
    };
    let of = |text: &'static str, domain: &'static str, numbers: std::ops::Range<u32>| {
        numbers.map(move |n| one(text, domain, n))
    };
    let told = of("zz-one", "a.example", 0..30).chain(of("zz-two", "a.example", 30..45)).chain(of(
        "zz-two",
        "b.example",
        0..25,
    ));
    let body = Value::Array(told.collect()).to_string();
    assert_eq!(notify(daemon.http, &body).status, 200);
    daemon.stop();
    // First a new mass; then more of it, beside another one.
    let rows = dead("zz-one");
    let second = format!("{rows}{}", dead("zz-two"));
    for (rows, changed, masses) in [(rows, 30, vec![(1, 10)]), (second, 40, vec![(1, 15), (2, 5)])]
    {
        home.configure(&format!("{}{HOLD}{rows}", source()));
        let daemon = home.start().ready();
        let (foreseen, count) = rejudged(&daemon, &["--dry-run"]);
        assert_eq!(foreseen.len(), changed);
        let of_mass = |id: u64| foreseen.iter().filter(|(_, held)| *held == json!(id)).count();
        for (id, held) in &masses {
            assert_eq!(of_mass(*id), *held, "{id}");
        }
        let all: usize = masses.iter().map(|(_, held)| held).sum();
        assert_eq!(count, json!(all));
        assert_eq!(rejudged(&daemon, &["--apply"]), (foreseen, count));
        daemon.stop();
    }
}

#[test]
fn a_release_that_a_kill_breaks_off_is_finished_by_the_next_start() {
    let home = Home::new(HOLD);
    let daemon = home.start().ready();
    tell(&daemon, "hard_bounce", "big.example", 0..4_020);
    until_exported(&home, &daemon, 20);
    let mut release = Command::new(program())
        .arg("--config")
        .arg(home.config())
        .args(["--quiet", "release", "1"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = || held(&daemon).first().is_none_or(|(_, _, count)| *count != 4_000).then_some(());
    wait_for("the release", PATIENCE, begun);
    daemon.kill();
    release.wait().unwrap();
    let daemon = home.start().ready();
    wait_for("the rest of it", PATIENCE, || held(&daemon).is_empty().then_some(()));
    until_exported(&home, &daemon, 4_020);
    daemon.stop();
}
