//! The promise as a whole: a provider's webhook makes a real Postfix refuse the address.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE};
use crate::support::mta::code_of;
use crate::support::postfix::Postfix;
use crate::support::{available, wait_for};

/// A configuration whose export is compiled for Postfix whenever it changes.
fn host() -> Home {
    let home = Home::new("");
    let text = std::fs::read_to_string(home.config()).unwrap();
    let command = format!("command = [\"postmap\", \"lmdb:{}/access\"]\n[[source]]", dir(&home));
    std::fs::write(home.config(), text.replacen("[[source]]", &command, 1)).unwrap();
    home
}

fn dir(home: &Home) -> String {
    home.dir.display().to_string()
}

/// Waits until the compiled table is there.
fn until_compiled(home: &Home) {
    let table = home.dir.join("access.lmdb");
    wait_for("the table", PATIENCE, || table.exists().then_some(()));
}

/// The answer to a recipient, in a session of its own: a server keeps its table while it lasts.
fn rcpt(postfix: &Postfix, address: &str) -> (u16, String) {
    postfix.session().rcpt(address)
}

/// Waits until Postfix answers with a code; gives the time and the text.
fn until_answered(postfix: &Postfix, address: &str, code: u16) -> (Duration, String) {
    let started = Instant::now();
    let text = wait_for("Postfix's answer", Duration::from_secs(30), || {
        let (got, text) = rcpt(postfix, address);
        (got == code).then_some(text)
    });
    (started.elapsed(), text)
}

#[track_caller]
fn assert_ours(text: &str, reason: &str) {
    let end = format!(": suppressed: {reason}");
    assert!(text.starts_with(code_of(reason)) && text.ends_with(&end), "{text}");
}

#[test]
fn a_webhook_makes_postfix_refuse_and_a_lift_makes_it_accept_again() {
    if !available("a_webhook_makes_postfix_refuse", Postfix::missing()) {
        return;
    }
    let home = host();
    // Postfix's own user must reach the table.
    open_to_all(&home.dir);
    let daemon = home.start().ready();
    until_compiled(&home);
    let postfix = Postfix::start(&home.dir.join("access"));
    assert_eq!(rcpt(&postfix, "user@example.com").0, 250);

    assert_eq!(notify(daemon.http, &event("hard_bounce", "User@example.com", "m", 1)).status, 200);
    let (took, text) = until_answered(&postfix, "user@example.com", 550);
    eprintln!("from the webhook's answer to Postfix's refusal: {took:?}");
    assert_ours(&text, "hard bounce");
    assert_eq!(rcpt(&postfix, "user2@example.com").0, 250);
    assert_eq!(rcpt(&postfix, "user@example.org").0, 250);

    assert!(daemon.cli(&["lift", "user@EXAMPLE.com"]).status.success());
    until_answered(&postfix, "user@example.com", 250);
    assert!(daemon.cli(&["add", "by-hand@example.com"]).status.success());
    let (_, text) = until_answered(&postfix, "by-hand@example.com", 550);
    assert_ours(&text, "manual");
    unfit(&daemon, &postfix);
    assert!(!postfix.log().contains("fatal"), "{}", postfix.log());
    daemon.stop();
}

/// What the table cannot carry is left out, counted, and harms nobody.
fn unfit(daemon: &Daemon, postfix: &Postfix) {
    let body = event("hard_bounce", "#hash@example.com", "m2", 2);
    assert_eq!(notify(daemon.http, &body).status, 200);
    wait_for("the count", PATIENCE, || (daemon.exported()["unfit"] == 1).then_some(()));
    assert_eq!(daemon.metric("suppressd_export_unfit{export=\"postfix\"}"), Some(1.0));
    assert_eq!(daemon.exported()["rows"], 1);
    daemon.until_logged("that the format cannot carry are left out");
    assert_eq!(daemon.rows(&["lookup", "#hash@example.com"])[0]["suppressed"], true);
    assert_eq!(notify(daemon.http, &event("complaint", "last@example.com", "m3", 3)).status, 200);
    let (_, text) = until_answered(postfix, "last@example.com", 550);
    assert_ours(&text, "complaint");
    assert_eq!(rcpt(postfix, "by-hand@example.com").0, 550);
    assert_eq!(rcpt(postfix, "hash@example.com").0, 250);
    assert_eq!(daemon.exported()["error"], serde_json::Value::Null);
}

fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}
