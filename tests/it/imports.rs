//! `suppressd import` against a running daemon: what it makes of a file, and what it leaves alone.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use suppressd::clock;

use crate::support::client::notify;
use crate::support::daemon::{Daemon, Home, PATIENCE, PROGRAM};
use crate::support::wait_for;

/// Imports a file and gives the exit status, the object that it printed, and what it said.
fn import(daemon: &Daemon, file: &Path, more: &[&str]) -> (i32, Value, String) {
    let arguments = [&["import", file.to_str().unwrap(), "--json"], more].concat();
    let output = daemon.cli(&arguments);
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), value, said)
}

fn written(home: &Home, name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = home.dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// What must come back as it was.
fn kept(rows: &[Value]) -> Vec<Value> {
    let keep = ["address", "scope", "reason", "since", "until", "note"];
    let of = |row: &Value| keep.iter().map(|key| (key.to_string(), row[*key].clone())).collect();
    let mut kept: Vec<Value> = rows.iter().map(of).map(Value::Object).collect();
    kept.sort_by_key(Value::to_string);
    kept
}

fn lookup(daemon: &Daemon, address: &str) -> Value {
    daemon.rows(&["lookup", address]).remove(0)
}

const RULES: &str = "[rules]\nhard_bounce = { for = \"400d\" }\n\
    soft_bounce = { count = 2, within = \"14d\", for = \"30d\" }\n";

const SCOPES: &str = "scopes = [\"global\", \"stream:news\", \"stream:a, \\\"b\\\"\"]\n";

#[test]
fn what_is_listed_and_exported_comes_back_as_it_was() {
    let home = Home::new(&format!(
        "[[export]]\nname = \"lines\"\nformat = \"json-lines\"\npath = \"lines.jsonl\"\n{SCOPES}\
         [[export]]\nname = \"cells\"\nformat = \"csv\"\npath = \"cells.csv\"\n{SCOPES}{RULES}"
    ));
    let text = std::fs::read_to_string(home.config()).unwrap();
    let placed = |name: &str| format!("{}/{name}", home.dir.display());
    let text = text.replace("\"lines.jsonl\"", &format!("{:?}", placed("lines.jsonl")));
    let text = text.replace("\"cells.csv\"", &format!("{:?}", placed("cells.csv")));
    std::fs::write(home.config(), text).unwrap();
    let daemon = home.start().ready();
    let at = |days: u64| clock::now().minus(std::time::Duration::from_secs(days * 86_400));
    for (kind, address, days) in [
        ("hard_bounce", "gone@example.com", 100),
        ("hard_bounce", "gone@example.com", 50),
        ("spam_complaint", "\"=odd, one\"@example.com", 30),
        ("soft_bounce", "full@example.com", 9),
        ("soft_bounce", "full@example.com", 5),
        ("soft_bounce", "full@example.com", 1),
    ] {
        let body = json!({ "event": kind, "recipient": address, "message_id": days.to_string(),
            "timestamp": at(days).to_string() });
        assert_eq!(notify(daemon.http, &body.to_string()).status, 200);
    }
    assert!(daemon.cli(&["add", "hand@example.com", "--note", "by letter"]).status.success());
    assert!(daemon.cli(&["add", "ends@example.com", "--for", "30d"]).status.success());
    for (address, scope) in [
        ("list@example.com", "stream:news"),
        ("list@example.com", "stream:a, \"b\""),
        ("gone@example.com", "stream:news"),
    ] {
        assert!(daemon.cli(&["add", address, "--scope", scope]).status.success());
    }
    let listed = kept(&daemon.rows(&["list"]));
    assert_eq!(listed.len(), 8);
    assert!(daemon.cli(&["export"]).status.success());
    // One scope of several ends.
    assert!(daemon.cli(&["add", "part@example.com"]).status.success());
    for scope in ["stream:news", "stream:a, \"b\""] {
        assert!(daemon.cli(&["add", "part@example.com", "--scope", scope]).status.success());
    }
    let lift = ["lift", "part@example.com", "--scope", "stream:news"];
    assert!(daemon.cli(&lift).status.success());
    let part = |text: &str| text.lines().filter(|line| line.contains("part@")).count();
    wait_for("the rows of two scopes", PATIENCE, || {
        let read = |name| std::fs::read_to_string(home.dir.join(name)).unwrap();
        (part(&read("lines.jsonl")) == 2 && part(&read("cells.csv")) == 2).then_some(())
    });
    let listed = kept(&daemon.rows(&["list"]));
    assert_eq!(listed.len(), 10);
    let lines: String = daemon.rows(&["list"]).iter().map(|row| format!("{row}\n")).collect();
    let exported = |name: &str| std::fs::read(home.dir.join(name)).unwrap();
    for (name, text, has_notes) in [
        ("list.jsonl", lines.into_bytes(), true),
        ("lines.jsonl", exported("lines.jsonl"), false),
        ("cells.csv", exported("cells.csv"), false),
    ] {
        let other = Home::new(RULES);
        let second = other.start().ready();
        let (code, told, said) = import(&second, &written(&other, name, text), &[]);
        assert_eq!((code, &told["format"]), (0, &json!("suppressd")), "{name}: {told} {said}");
        let mut expected = listed.clone();
        if !has_notes {
            // An export has no notes.
            expected.iter_mut().for_each(|row| row["note"] = Value::Null);
        }
        assert_eq!(kept(&second.rows(&["list"])), expected, "{name}");
    }
}

#[test]
fn a_file_that_is_imported_twice_changes_nothing() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let file = written(
        &home,
        "mixed.csv",
        "email,reason,date,note\na@x.test,bounce,2026-01-02,why\nb@x.test,spam,,\n\
         c@x.test,unsub,2026-01-02T03:04:05Z,\n",
    );
    let mut seen = Vec::new();
    // A name that nobody knows may be a slip; once there are rows of it, it is known.
    let (code, told, said) = import(&daemon, &file, &["--source", "old-host"]);
    assert_eq!((code, &told["imported"]), (64, &json!(0)), "{told}");
    assert!(said.contains("the configuration has: test, and operator; --new-source"), "{said}");
    assert_eq!(daemon.rows(&["list"]).len(), 0);
    for (more, new) in
        [(&["--source", "old-host", "--new-source"][..], 3), (&["--source", "old-host"], 0)]
    {
        let (code, told, _) = import(&daemon, &file, more);
        assert_eq!((code, &told["imported"]), (0, &json!(3)), "{told}");
        assert_eq!((&told["new"], &told["known"]), (&json!(new), &json!(3 - new)), "{told}");
        assert_eq!(
            (&told["lifted"], daemon.rows(&["list", "--source", "old-host"]).len()),
            (&json!(0), 3)
        );
        let list = daemon.rows(&["list"]);
        seen.push((list, daemon.rows(&["events"]).len()));
    }
    assert_eq!(seen[0], seen[1]);
    let (list, events) = &seen[0];
    assert_eq!((list.len(), *events), (3, 3));
    assert!(list.iter().all(|row| row["sources"] == json!(["old-host"])), "{list:?}");
    let events = daemon.rows(&["events", "--address", "a@x.test"]);
    assert_eq!(
        (&events[0]["origin"], &events[0]["kind"]),
        (&json!("import"), &json!("hard_bounce"))
    );
    assert_eq!(lookup(&daemon, "a@x.test")["note"], "why");
}

#[test]
fn an_import_never_weakens_and_a_later_lift_holds() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let head = "address,reason,since,until,note\n";
    let told = |name: &str, row: &str| {
        let file = written(&home, name, format!("{head}{row}\n"));
        let (code, told, said) = import(&daemon, &file, &[]);
        assert_eq!(code, 0, "{row}: {told} {said}");
        (told, said)
    };
    let put = |name: &str, row: &str| {
        let (told, said) = told(name, row);
        assert_eq!((&told["new"], &told["lifted"]), (&json!(1), &json!(0)), "{row}: {said}");
    };
    // What a lift outweighs is said to.
    let vain = |name: &str, row: &str, known: u64| {
        let (told, said) = told(name, row);
        assert_eq!((&told["known"], &told["lifted"]), (&json!(known), &json!(1)), "{row}");
        assert!(said.contains("A lift outweighs 1 row"), "{row}: {said}");
    };
    // Neither a later row nor an older one shortens what is there.
    put("1.csv", "a@x.test,manual,2026-01-02T00:00:00Z,,");
    put("2.csv", "a@x.test,manual,2026-02-02T00:00:00Z,2200-01-01T00:00:00Z,");
    assert_eq!(lookup(&daemon, "a@x.test")["until"], Value::Null);
    assert_eq!(lookup(&daemon, "a@x.test")["since"], "2026-01-02T00:00:00Z");
    put("3.csv", "b@x.test,manual,2026-02-02T00:00:00Z,2200-01-01T00:00:00Z,");
    put("4.csv", "b@x.test,manual,2026-01-02T00:00:00Z,,");
    assert_eq!(lookup(&daemon, "b@x.test")["until"], Value::Null);
    assert_eq!(lookup(&daemon, "b@x.test")["since"], "2026-01-02T00:00:00Z");
    put("5.csv", "c@x.test,manual,,2200-01-01T00:00:00Z,");
    put("6.csv", "c@x.test,manual,,,");
    assert_eq!(lookup(&daemon, "c@x.test")["until"], Value::Null);
    // What was lifted since stays lifted, and what came after the lift counts.
    assert!(daemon.cli(&["lift", "a@x.test"]).status.success());
    vain("7.csv", "a@x.test,manual,2026-01-02T00:00:00Z,,", 1);
    vain("8.csv", "a@x.test,complaint,2026-03-02T00:00:00Z,,", 0);
    assert_eq!(lookup(&daemon, "a@x.test")["suppressed"], false);
    let now = clock::now();
    put("9.csv", &format!("a@x.test,complaint,{now},,"));
    assert_eq!(lookup(&daemon, "a@x.test")["suppressed"], true);
    // Without a date it is the same row, and of when it came first.
    put("10.csv", "d@x.test,manual,,,");
    assert!(daemon.cli(&["lift", "d@x.test"]).status.success());
    vain("11.csv", "d@x.test,manual,,,", 1);
}

/// By the rules here a count of soft bounces suppresses for 30 days.
#[test]
fn what_the_rules_end_sooner_than_the_file_is_told() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let now = clock::now();
    let day = std::time::Duration::from_secs(86_400);
    let (past, recent) = (now.minus(40 * day), now.minus(day));
    let (late, soon) = (now.plus(300 * day), now.plus(2 * day));
    let text = format!(
        "address,reason,since,until\n\
         a@x.test,soft_bounces,{past},\n\
         b@x.test,soft_bounces,{recent},{late}\n\
         c@x.test,soft_bounces,{recent},{soon}\n\
         d@x.test,hard_bounce,{past},{late}\n"
    );
    let (code, told, said) = import(&daemon, &written(&home, "list.csv", text), &[]);
    assert_eq!((code, &told["ended"], &told["shortened"]), (0, &json!(1), &json!(1)), "{told}");
    assert!(said.contains("ended 1 row already") && said.contains("end 1 row sooner"), "{said}");
    let until = |address: &str| lookup(&daemon, address)["until"].clone();
    assert_eq!(lookup(&daemon, "a@x.test")["suppressed"], false);
    assert_eq!(until("c@x.test"), json!(soon.to_string()));
    assert_eq!(until("d@x.test"), json!(late.to_string()));
    assert!(until("b@x.test").as_str().unwrap() < late.to_string().as_str());
}

#[test]
fn what_follows_a_break_is_read_or_told_to_be_lost() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let lines = "{\"address\":\"a@x.test\",\"reason\":\"complaint\"}\n{\"address\":\"b@x.te\n\
                 {\"address\":\"c@x.test\",\"reason\":\"complaint\"}\n";
    let file = written(&home, "lines.jsonl", lines);
    let (code, told, _) = import(&daemon, &file, &["--skip-bad"]);
    assert_eq!((code, &told["bad"], &told["imported"]), (0, &json!(1), &json!(2)), "{told}");
    let list = "[{\"address\":\"d@x.test\",\"reason\":\"complaint\"},\n{\"address\":\"e@x.te";
    let file = written(&home, "list.json", list);
    let (code, told, said) = import(&daemon, &file, &["--skip-bad"]);
    assert_eq!((code, &told["imported"], &told["lost_from"]), (1, &json!(1), &json!(2)), "{told}");
    assert!(said.contains("nothing from line 2 on can be read"), "{said}");
    assert_eq!(daemon.rows(&["list"]).len(), 3);
}

#[test]
fn what_cannot_be_taken_whole_changes_nothing_unless_asked_to() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let bad = written(&home, "bad.csv", "email,reason\na@x.test,bounce\nnobody,bounce\n");
    let (code, told, said) = import(&daemon, &bad, &[]);
    assert_eq!((code, &told["bad_rows"][0]["line"], &told["imported"]), (1, &json!(3), &json!(0)));
    assert!(said.contains("--skip-bad"), "{said}");
    assert_eq!(daemon.rows(&["list"]).len(), 0);
    let (code, told, _) = import(&daemon, &bad, &["--skip-bad", "--dry-run"]);
    assert_eq!(
        (code, &told["reasons"], &told["imported"]),
        (0, &json!({"hard_bounce": 1}), &json!(0))
    );
    assert_eq!(daemon.rows(&["list"]).len(), 0);
    let (code, told, _) = import(&daemon, &bad, &["--skip-bad"]);
    assert_eq!((code, &told["bad"], &told["imported"]), (0, &json!(1), &json!(1)));
    assert_eq!(daemon.rows(&["list"]).len(), 1);
    let contacts = written(&home, "contacts.csv", "email,name\na@x.test,A\nb@x.test,B\n");
    let (code, _, said) = import(&daemon, &contacts, &["--skip-bad"]);
    assert!(code == 1 && said.contains("2 rows") && said.contains("--reason"), "{said}");
    assert_eq!(daemon.rows(&["list"]).len(), 1);
    let (code, _, said) =
        import(&daemon, &contacts, &["--source", "operator", "--reason", "manual"]);
    assert!(code == 64 && said.contains("another source"), "{said}");
}

#[test]
fn standard_input_and_packed_files_are_read_too() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let config = home.config();
    let text = "email,reason\na@x.test,bounce\n";
    let from_stdin = |bytes: &[u8]| {
        let mut child = Command::new(PROGRAM)
            .args(["import", "-", "--json", "-c", config.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["imported"].clone()
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let zip = |names: &[&str]| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for name in names {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let one = zip(&["readme.md", "rejects.csv", "__MACOSX/._rejects.csv"]);
    for bytes in [text.as_bytes(), &gzip.finish().unwrap(), &one] {
        assert_eq!(from_stdin(bytes), 1);
    }
    let fifo = home.dir.join("list.csv");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, text).unwrap()
    });
    assert_eq!(import(&daemon, &fifo, &[]).1["imported"], 1);
    writer.join().unwrap();
    let two = written(&home, "two.zip", zip(&["subscribed.csv", "cleaned.csv"]));
    let (code, _, said) = import(&daemon, &two, &[]);
    assert!(code == 1 && said.contains("subscribed.csv, cleaned.csv"), "{said}");
}

#[test]
fn rows_of_many_commands_all_come_in() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let rows: String = (0..10_000).map(|n| format!("u{n}@x.test,bounce,2026-01-02\n")).collect();
    let file = written(&home, "many.csv", format!("email,reason,date\n{rows}"));
    let (code, told, said) = import(&daemon, &file, &[]);
    assert_eq!((code, &told["imported"]), (0, &json!(10_000)), "{told} {said}");
    // When it ends, all of it holds.
    assert_eq!(lookup(&daemon, "u9999@x.test")["reason"], "hard_bounce");
    assert_eq!(daemon.rows(&["list"]).len(), 10_000);
}
