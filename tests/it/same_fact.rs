//! Where the API shows a webhook's own event again, in its form: every fixture is one event by
//! both. A row of a list is another fact than the event that led to it.

use serde_json::{Value, json};
use suppressd::model::{Element, Event, Origin, SourceName};
use suppressd::provider::{Judge, Stamp, by_name, read_judged};

use crate::providers::{payloads, received};

/// The webhook's element as the API has it, if the API has it at all.
type Form = fn(&Value) -> Option<Value>;

/// The provider, its feed, the form, and how many of its fixtures' events the feed has at least.
const FEEDS: &[(&str, &str, Form, usize)] = &[
    ("mailgun", "events", mailgun, 25),
    ("postmark", "bounces", postmark, 20),
    ("sendgrid", "events", sendgrid, 30),
    ("sparkpost", "events", sparkpost, 30),
];

fn mailgun(sent: &Value) -> Option<Value> {
    Some(sent["event-data"].clone())
}

fn postmark(sent: &Value) -> Option<Value> {
    let has = ["Bounce", "SpamComplaint"].into_iter().any(|name| sent["RecordType"] == name);
    let mut row = sent.clone();
    row.as_object_mut()?.remove("RecordType");
    has.then_some(row)
}

fn sendgrid(sent: &Value) -> Option<Value> {
    let mut row = sent.clone();
    row.as_object_mut()?.insert("custom_args".to_owned(), json!({ "order": "77" }));
    Some(row)
}

fn sparkpost(sent: &Value) -> Option<Value> {
    let event = sent["msys"].as_object()?.values().next()?;
    let mut row = event.clone();
    let at = event["timestamp"].as_str()?.parse().ok()?;
    row["timestamp"] = suppressd::model::Time::from_seconds(at).to_string().into();
    Some(row)
}

/// The events of a row, as the applier reads them. Without a feed it came by webhook.
fn read(provider: &str, feed: &str, row: &Value) -> Option<Vec<Event>> {
    let source = SourceName::parse("fixture").unwrap();
    let origin = if feed.is_empty() { Origin::Webhook } else { Origin::Poll };
    let stamp = Stamp { source: &source, origin, feed, received_at: received() };
    let element = Element { context: String::new(), body: row.to_string().into_bytes() };
    read_judged(by_name(provider).unwrap(), &element, &stamp, &Judge::default()).ok()
}

/// The elements of a provider's fixtures.
fn sent(provider: &str) -> Vec<Value> {
    let files = payloads(by_name(provider).unwrap()).into_iter();
    let bodies = files.filter_map(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok());
    let elements = bodies.flat_map(|body: Value| match body {
        Value::Array(elements) => elements,
        element => vec![element],
    });
    elements.collect()
}

#[test]
fn every_event_that_both_tell_is_one() {
    for (provider, feed, form, least) in FEEDS {
        let mut shown = 0;
        for sent in sent(provider) {
            let Some(row) = form(&sent) else { continue };
            let (Some(told), Some(polled)) =
                (read(provider, "", &sent), read(provider, feed, &row))
            else {
                continue;
            };
            assert_eq!(told.len(), polled.len(), "{provider}: {sent}");
            for (told, polled) in told.iter().zip(&polled) {
                // Without an id of its own, it is known by its message and its second.
                assert_eq!(told.id(), polled.id(), "{provider}: {sent}");
                assert_eq!(told.fact(), polled.fact(), "{provider}: {sent}");
                shown += 1;
            }
        }
        assert!(shown >= *least, "{provider} shows {shown}");
    }
}

#[test]
fn what_happens_once_to_a_message_of_resend_is_one_whenever_it_is_told() {
    let id = |feed: &str, row: &Value| read("resend", feed, row).unwrap()[0].id();
    let told = |what: &str, at: &str| {
        json!({ "type": format!("email.{what}"), "created_at": format!("2026-06-15T{at}Z"),
            "data": { "email_id": "e1", "to": ["User@example.com"] } })
    };
    // The API has the time of the message, not of what became of it.
    let listed = |what: &str| {
        json!({ "id": "e1", "to": ["user@example.com"], "last_event": what,
            "created_at": "2026-06-13 09:00:00.000001+00" })
    };
    for what in ["sent", "delivered", "complained", "suppressed", "failed"] {
        assert_eq!(id("", &told(what, "10:32:11")), id("events", &listed(what)), "{what}");
    }
    let twice = json!({ "type": "email.complained", "created_at": "2026-06-15T10:32:11Z",
        "data": { "email_id": "e1", "to": ["user@example.com", "User@Example.com"] } });
    assert_eq!(id("", &twice), id("events", &listed("complained")), "one mailbox, named twice");
    for what in ["opened", "clicked", "delivery_delayed"] {
        assert_ne!(id("", &told(what, "10:32:11")), id("", &told(what, "10:33:11")), "{what}");
    }
}

#[test]
fn what_differs_is_two_events() {
    let bounce = |id: u64| {
        json!({ "ID": id, "Type": "HardBounce", "ServerID": 23, "Email": "user@example.com",
            "BouncedAt": "2026-06-15T10:32:11Z", "Details": "smtp;550 5.1.1 unknown" })
    };
    let id = |provider: &str, feed: &str, row: &Value| read(provider, feed, row).unwrap()[0].id();
    assert_ne!(id("postmark", "bounces", &bounce(1)), id("postmark", "bounces", &bounce(2)));
    let listed = |at: u64| {
        let row = json!({ "email": "user@example.com", "created": at });
        id("sendgrid", "complaints", &row)
    };
    assert_eq!(listed(1_781_519_531), listed(1_781_519_531), "read again");
    assert_ne!(listed(1_781_519_531), listed(1_781_519_532), "listed again");
    let complaint = json!({ "event": "spamreport", "email": "user@example.com",
        "timestamp": 1_781_519_531 });
    assert_ne!(id("sendgrid", "", &complaint), listed(1_781_519_531));
    let row = |mail: &str| {
        json!({ "recipient": "user@example.com", "type": mail, "source": "Manually Added",
            "updated": "2026-06-15T10:32:11+00:00" })
    };
    let on_list = |mail: &str| id("sparkpost", "suppressions", &row(mail));
    assert_ne!(on_list("transactional"), on_list("non_transactional"));
}
