//! Lists that are asked for by offset or page number, while rows come and go at the provider: none
//! that was there all the time is missed, and none is lifted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::counted::{Counted, Row, Written, bare};
use crate::support::daemon::{Daemon, Home, PATIENCE};
use crate::support::random::Random;
use crate::support::wait_for;

/// A list: its source's provider and keys, how many rows it has, after how many requests it stands
/// still, and how it is written.
struct List {
    provider: &'static str,
    feed: &'static str,
    keys: &'static str,
    rows: usize,
    changes: usize,
    row: Row,
    written: Written,
}

fn sendgrid(address: &str, _: usize) -> Value {
    json!({ "created": 1_781_517_931, "email": address, "reason": "550 5.1.1 no",
        "status": "5.1.1" })
}

fn brevo(address: &str, _: usize) -> Value {
    json!({ "blockedAt": "2026-06-15T10:32:11.000Z", "email": address,
        "reason": { "code": "hardBounce", "message": "m" }, "senderEmail": "" })
}

fn elastic(address: &str, _: usize) -> Value {
    json!({ "DateUpdated": "2026-06-15T10:32:11Z", "Email": address, "ErrorCode": 550 })
}

fn mailersend(address: &str, number: usize) -> Value {
    json!({ "id": number.to_string(), "created_at": "2026-06-15T10:32:11.000000Z",
        "reason": "550 5.1.1 no", "type": "exact", "pattern": address,
        "recipient": { "id": format!("r{number}"), "email": address } })
}

fn scaleway(address: &str, number: usize) -> Value {
    json!({ "id": format!("b-{number}"), "domain_id": "d", "email": address, "ends_at": null,
        "created_at": "2026-06-15T10:32:11Z", "updated_at": "2026-06-15T10:32:12Z",
        "type": "mailbox_not_found", "reason": "5.1.1", "custom": false })
}

fn mailjet(address: &str, number: usize) -> Value {
    json!({ "ID": number, "Email": address, "IsSpamComplaining": true,
        "IsExcludedFromCampaigns": false, "CreatedAt": "2020-01-01T00:00:00Z" })
}

fn plain(address: &str, _: usize) -> Value {
    json!({ "address": address })
}

const SENDGRID: List = List {
    provider: "sendgrid",
    feed: "",
    keys: "api_key = \"k\"",
    rows: 1_300,
    changes: 100,
    row: sendgrid,
    written: bare,
};

const ELASTIC: List = List { provider: "elastic-email", rows: 2_300, row: elastic, ..SENDGRID };

const MAILERSEND: List = List {
    provider: "mailersend",
    keys: "api_key = \"k\", domains = [\"d\"]",
    rows: 430,
    row: mailersend,
    written: |rows, total, before| {
        let next = (before + rows.len() < total).then_some("https://api.mailersend.com/next");
        json!({ "data": rows, "links": { "next": next } })
    },
    ..SENDGRID
};

/// Every list that is counted.
fn lists() -> Vec<List> {
    let mut lists = Vec::new();
    for feed in ["bounces", "blocks", "complaints", "invalid", "unsubscribes"] {
        lists.push(List { feed, ..SENDGRID });
    }
    for feed in ["bounces", "complaints", "unsubscribes"] {
        lists.push(List { feed, ..ELASTIC });
    }
    for feed in ["blocklist", "bounces", "complaints", "on_hold", "unsubscribes"] {
        lists.push(List { feed, ..MAILERSEND });
    }
    lists.push(List {
        provider: "brevo",
        feed: "suppressions",
        rows: 430,
        row: brevo,
        written: |rows, total, _| json!({ "contacts": rows, "count": total }),
        ..SENDGRID
    });
    lists.push(List {
        provider: "scaleway-tem",
        feed: "blocklists",
        keys: "secret_key = \"k\", domain_ids = [\"d\"]",
        rows: 430,
        row: scaleway,
        written: |rows, total, _| json!({ "blocklists": rows, "total_count": total }),
        ..SENDGRID
    });
    lists.push(List {
        provider: "mailjet",
        feed: "contacts",
        keys: "api_key = \"k\", secret_key = \"s\"",
        rows: 2_300,
        row: mailjet,
        written: |rows, total, _| json!({ "Count": rows.len(), "Data": rows, "Total": total }),
        ..SENDGRID
    });
    lists
}

/// The lists of a described provider, whose pages overlap or cannot.
const DESCRIBED: &[&str] = &[
    "paging = { kind = \"offset\", size = 40 }\n\
     query = { limit = \"40\", offset = \"{offset}\" }",
    "paging = { kind = \"page\", size = 40 }\nquery = { limit = \"40\", page = \"{page}\" }",
];

fn described(name: &str, origin: &str, paging: &str) -> String {
    format!(
        "[[source]]\nname = {name:?}\nprovider = \"custom\"\n[source.poll]\n\
         cron = \"0 0 0 29 2 *\"\n[[source.poll.feed]]\nname = \"list\"\nrows = \"suppressions\"\n\
         url = \"{origin}/list\"\nitems = \"\"\n{paging}\n\
         event = {{ recipient = \"/address\", map = [{{ kind = \"listed\" }}] }}\n"
    )
}

/// The addresses of a source's events.
fn told(daemon: &Daemon, name: &str) -> BTreeSet<String> {
    let rows = daemon.rows(&["events", "--source", name]);
    rows.iter().map(|row| row["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn no_row_is_missed_while_others_come_and_go() {
    let mut random = Random::new();
    let (mut sources, mut running) = (String::new(), Vec::new());
    for List { provider, feed, keys, rows, changes, row, written } in lists() {
        let list = Counted::start((row, written), rows, changes, random.fork());
        let (name, origin) = (format!("{provider}-{feed}").replace('_', "-"), list.origin());
        sources.push_str(&format!(
            "[[source]]\nname = {name:?}\nprovider = {provider:?}\npoll = {{ {keys}, \
             base_url = \"{origin}\", feeds = [{feed:?}], cron = \"0 0 0 29 2 *\" }}\n"
        ));
        running.push((name, list));
    }
    for (paging, changes) in DESCRIBED.iter().zip([100, 4]) {
        let list = Counted::start((plain, bare), 150, changes, random.fork());
        let name = format!("described-{changes}");
        sources.push_str(&described(&name, &list.origin(), paging));
        running.push((name, list));
    }
    let home = Home::bare(&sources);
    let daemon = home.start().ready();
    for (name, list) in &running {
        wait_for(name, PATIENCE, || {
            let row = daemon.source(name);
            (!row["last_success"].is_null() || !row["last_error"].is_null()).then_some(())
        });
        assert!(daemon.source(name)["last_error"].is_null(), "{}", daemon.source(name));
        let told = told(&daemon, name);
        let missed: Vec<String> = list.stayed().difference(&told).cloned().collect();
        assert!(missed.is_empty(), "{name}: {missed:?} of {} requests", list.asked());
    }
    daemon.stop();
}

#[test]
fn what_stayed_on_a_moving_list_is_never_lifted() {
    let mut random = Random::new();
    // By page number, so that one reading alone does skip rows.
    let list = Counted::start((plain, bare), 150, 12, random.fork());
    let trusting = described("acme", &list.origin(), DESCRIBED[1])
        .replace("[source.poll]\n", "[source.poll]\ntrust_removals = true\n");
    let home = Home::bare(&trusting);
    let daemon = home.start().ready();
    for _ in 0..8 {
        daemon.cli(&["poll", "acme"]);
    }
    assert!(daemon.source("acme")["last_error"].is_null(), "{}", daemon.source("acme"));
    let lifted = daemon.rows(&["events", "--kind", "unlisted", "--source", "acme"]);
    let stayed = list.stayed();
    for row in &lifted {
        assert!(!stayed.contains(row["address"].as_str().unwrap()), "{row}");
    }
    assert!(stayed.is_subset(&told(&daemon, "acme")));
    daemon.stop();
}
