//! Addresses that the rules never suppress: their facts are kept, and nothing follows from them.

use std::fs;

use serde_json::{Value, json};

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, source};
use crate::support::wait_for;

const NEVER: &str = "[rules]\nnever = [\"postmaster@mail.example\", \"@exempt.example\"]\n";

const OTHERS: &[&str] = &["other@mail.example", "user@sub.exempt.example"];

/// Most of all that is suppressed, so that no guard would let it go unexplained.
const EXEMPT: &[&str] = &[
    "postmaster@mail.example",
    "a@exempt.example",
    "b@exempt.example",
    "c@exempt.example",
    "d@exempt.example",
];

/// The daemon with those rules, an export as text and one that is changed in place.
fn start(home: &Home, rules: &str) -> Daemon {
    let map = format!(
        "[[export]]\nname = \"map\"\nformat = \"postfix-access\"\ntable = \"lmdb\"\n\
         path = \"{}/map.lmdb\"\n",
        home.dir.display()
    );
    home.configure(&format!("{}{map}{rules}", source()));
    home.start().ready()
}

/// The exports that hold anything but these many rows, or hold any back.
fn until_rows(daemon: &Daemon, rows: usize) {
    wait_for("the exports", PATIENCE, || {
        let status = daemon.rows(&["status"]).remove(0);
        let exports = status["exports"].as_array()?;
        let rest =
            |e: &Value| e["rows"] == rows && e["pending"] == false && e["held_back"].is_null();
        exports.iter().all(rest).then_some(())
    });
}

fn tell(daemon: &Daemon, kind: &str, address: &str, second: u32) {
    let body = event(kind, address, &format!("m{second}"), second);
    assert_eq!(notify(daemon.http, &body).status, 200);
}

#[test]
fn an_exempt_address_is_nowhere_suppressed_and_its_facts_are_kept() {
    let home = Home::new("");
    let daemon = start(&home, "");
    for (second, address) in (0..).zip(OTHERS.iter().chain(EXEMPT)) {
        tell(&daemon, "spam_complaint", address, second);
    }
    until_rows(&daemon, OTHERS.len() + EXEMPT.len());
    daemon.stop();

    let daemon = start(&home, NEVER);
    until_rows(&daemon, OTHERS.len());
    tell(&daemon, "hard_bounce", "new@exempt.example", 30);
    tell(&daemon, "hard_bounce", "new@mail.example", 31);
    until_rows(&daemon, OTHERS.len() + 1);
    assert!(!home.export().contains("@exempt.example\t"), "{}", home.export());
    let listed = daemon.rows(&["list"]);
    assert_eq!(listed.len(), OTHERS.len() + 1, "{listed:?}");
    for (address, entry) in [
        ("POSTMASTER@mail.example", "postmaster@mail.example"),
        ("new@exempt.example", "@exempt.example"),
    ] {
        let (code, rows) = daemon.answer(&["lookup", address]);
        assert_eq!((code, &rows[0]["suppressed"]), (0, &json!(false)), "{rows:?}");
        assert_eq!(rows[0]["never"], json!(entry));
        assert_eq!(daemon.looked_up(address), 404);
        let explained = daemon.rows(&["explain", address]).remove(0);
        assert_eq!((&explained["never"], &explained["suppressed"]), (&json!(entry), &json!(false)));
        let findings = &explained["scopes"][0]["findings"];
        assert_eq!((&findings[0]["exempt"], &findings[0]["live"]), (&json!(true), &json!(false)));
        let (code, rows) = daemon.answer(&["add", address]);
        assert_eq!((code, &rows[0]["done"]), (1, &json!(false)), "{rows:?}");
        assert!(rows[0]["problem"].as_str().unwrap().contains(entry), "{rows:?}");
    }
    let read = |arguments: &[&str]| String::from_utf8(daemon.cli(arguments).stdout).unwrap();
    let said = "new@exempt.example is never suppressed: [rules] never has @exempt.example";
    assert!(read(&["explain", "new@exempt.example"]).starts_with(said));
    assert!(read(&["lookup", "new@exempt.example"]).contains("\tnever\t"));
    daemon.stop();

    let daemon = start(&home, "");
    until_rows(&daemon, OTHERS.len() + EXEMPT.len() + 2);
    assert_eq!(daemon.answer(&["lookup", "a@exempt.example"]).0, 3);
    daemon.stop();
}

#[test]
fn a_whole_domain_is_no_address() {
    let home = Home::new("");
    let daemon = home.start().ready();
    for pattern in ["*@evil.example", "@evil.example"] {
        for verb in ["add", "lift", "lookup", "explain"] {
            let output = daemon.cli(&[verb, pattern]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(64), "{verb} {pattern}: {said}");
            assert!(said.contains("names a whole domain"), "{verb} {pattern}: {said}");
        }
        let line = json!({ "verb": "add", "addresses": [pattern] }).to_string() + "\n";
        assert!(!daemon.control(&line), "what speaks to the socket itself is refused too");
    }
    let file = home.dir.join("addresses");
    fs::write(&file, "good@evil.example\n*@evil.example\n").unwrap();
    let mut command = std::process::Command::new(crate::support::daemon::PROGRAM);
    command.args(["add", "-", "-c"]).arg(home.config()).stdin(fs::File::open(file).unwrap());
    assert_eq!(command.output().unwrap().status.code(), Some(64));
    assert_eq!(daemon.rows(&["list"]).len(), 0);
    daemon.stop();
}
