//! Suppressions that a class of failure made, or a text: listed and lifted, and nothing else.

use std::time::Duration;

use serde_json::{Value, json};
use suppressd::clock;

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home};

fn tell(daemon: &Daemon, address: &str, second: u64, reason: &str) {
    // Soft bounces suppress for a time only: they have to be of today.
    let at = clock::now().minus(Duration::from_secs(3_600 - second));
    let body = json!({
        "event": "hard_bounce",
        "timestamp": at.to_string(),
        "message_id": format!("m{second}"),
        "recipient": address,
        "reason": reason,
        "smtp_code": 550,
    });
    assert_eq!(notify(daemon.http, &body.to_string()).status, 200);
}

fn addresses(daemon: &Daemon, arguments: &[&str]) -> Vec<Value> {
    let mut found: Vec<Value> =
        daemon.rows(arguments).into_iter().map(|row| row["address"].clone()).collect();
    found.sort_by_key(Value::to_string);
    found
}

fn reason(daemon: &Daemon, address: &str) -> Value {
    daemon.answer(&["lookup", address]).1.remove(0)["reason"].clone()
}

/// A dead mailbox, a closed one, and one of which both was said.
fn tell_all(daemon: &Daemon) {
    tell(daemon, "dead@x.test", 1, "550 5.1.1 user unknown");
    tell(daemon, "shut@x.test", 2, "550 this Mailbox  is disabled");
    tell(daemon, "both@x.test", 3, "550 5.1.1 user unknown");
    tell(daemon, "both@x.test", 4, "550 this mailbox is disabled");
    tell(daemon, "more@x.test", 5, "550 this mailbox is disabled");
    assert_eq!(notify(daemon.http, &event("complaint", "more@x.test", "c", 6)).status, 200);
    // As often as it takes, for one cause; and too seldom for either of two.
    for second in 10..15 {
        tell(daemon, "full@x.test", second, "552 5.2.2 mailbox full");
        let other = if second == 14 { "550 4.4.7 expired" } else { "552 5.2.2 mailbox full" };
        tell(daemon, "mixed@x.test", second + 10, other);
    }
}

#[test]
fn what_a_cause_made_alone_is_listed_and_lifted() {
    let home = Home::new("");
    let daemon = home.start().ready();
    tell_all(&daemon);
    for (arguments, found) in [
        (&["--class", "no_mailbox"][..], json!(["dead@x.test"])),
        (&["--class", "disabled"], json!(["more@x.test", "shut@x.test"])),
        (&["--class", "full"], json!(["full@x.test", "mixed@x.test"])),
        (&["--class", "expired"], json!(["mixed@x.test"])),
        (&["--class", "content"], json!([])),
        (&["--diagnostic", "MAILBOX IS disabled"], json!(["more@x.test", "shut@x.test"])),
        (&["--diagnostic", "disabled", "--class", "no_mailbox"], json!([])),
        (&["--class", "disabled", "--reason", "complaint"], json!([])),
    ] {
        let listed = addresses(&daemon, &[&["list"], arguments].concat());
        assert_eq!(json!(listed), found, "{arguments:?}");
    }
    // It shows, and it does not go on without a word.
    let lift = ["lift", "--class", "disabled"];
    assert_eq!(addresses(&daemon, &[&lift[..], &["--dry-run"]].concat()).len(), 2);
    assert!(!daemon.cli(&lift).status.success(), "nobody has said yes");
    assert_eq!(reason(&daemon, "shut@x.test"), "hard_bounce");

    assert_eq!(addresses(&daemon, &[&lift[..], &["--yes"]].concat()).len(), 2);
    for (address, left) in [
        ("shut@x.test", Value::Null),
        ("both@x.test", json!("hard_bounce")),
        ("dead@x.test", json!("hard_bounce")),
        ("more@x.test", json!("complaint")),
    ] {
        assert_eq!(reason(&daemon, address), left, "{address}");
    }
    // Of an address that is named, too.
    let named = daemon.rows(&["lift", "both@x.test", "dead@x.test", "--diagnostic", "unknown"]);
    let done: Vec<&Value> = named.iter().map(|row| &row["done"]).collect();
    assert_eq!(done, [&json!(false), &json!(true)]);
    assert_eq!(reason(&daemon, "both@x.test"), "hard_bounce");
    assert_eq!(reason(&daemon, "dead@x.test"), Value::Null);
    // A new failure stands again.
    tell(&daemon, "shut@x.test", 40, "550 this mailbox is disabled");
    assert_eq!(reason(&daemon, "shut@x.test"), Value::Null, "it happened before the lift");
    daemon.stop();
}
