//! The same fact by webhook and by poll: one event, where the provider lets it be known again.
//!
//! And the rows of providers' own lists: why, and until when, an address is on them.

use std::path::Path;

use http::HeaderMap;
use serde_json::{Value, json};
use suppressd::model::{Element, Event, EventKind, Origin, Reason, SourceName};
use suppressd::provider::{Judge, Notification, Stamp, by_name, read_judged};

use crate::providers::received;

/// Reads an element of a provider's, as the applier does.
fn read(provider: &str, feed: &str, element: &Element) -> Event {
    let source = SourceName::parse("fixture").unwrap();
    let origin = if feed.is_empty() { Origin::Webhook } else { Origin::Poll };
    let stamp = Stamp { source: &source, origin, feed, received_at: received() };
    read_judged(by_name(provider).unwrap(), element, &stamp, &Judge::default()).unwrap().remove(0)
}

/// A polled row: JSON, or a record below its header.
fn polled(provider: &str, feed: &str, context: &str, row: &Value) -> Event {
    let body = row.as_str().map_or_else(|| row.to_string(), str::to_owned).into_bytes();
    read(provider, feed, &Element { context: context.to_owned(), body })
}

/// The first event of a webhook's fixture.
fn told(provider: &str, file: &str) -> Event {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/provider");
    let text = std::fs::read_to_string(root.join(provider).join(file)).unwrap();
    let (query, body) = match file.ends_with(".query") {
        true => (text.as_str(), ""),
        false => ("", text.as_str()),
    };
    let headers = HeaderMap::new();
    let sent = Notification {
        headers: &headers,
        query,
        body: body.as_bytes(),
        url: None,
        now: received(),
    };
    read(provider, "", &by_name(provider).unwrap().split(&sent)[0])
}

const HEADER: &str = "event_time,job_id,email,status,delivery_status,destination_response,\
    user_agent,url,metadata";

/// The rows that tell what a webhook's fixture does.
fn pairs() -> Vec<(&'static str, &'static str, Event)> {
    let dropped = told("scaleway-tem", "email_dropped.json");
    let replayed = json!({
        "id": "2f0b6a40-8b3e-4b3f-9d0a-0d7f4d1f3c11",
        "type": "email_dropped",
        "created_at": "2026-06-15T10:32:12Z",
        "data": json!({
            "id": dropped.identity,
            "type": "email_dropped",
            "created_at": "2026-06-15T10:32:11.250Z",
            "email_id": dropped.message_id,
            "email_to": "b@example.net",
            "email_response_code": 550,
            "email_response_message": "5.1.1 user unknown",
        }).to_string(),
    });
    let smtp2go = json!({
        "event": "hard-bounced", "date": "2026-06-15T10:32:11Z", "recipient": "user@example.com",
        "email_id": "1u0SwL-B9zBpi9ffUq-0004", "smtp_response": "550 5.1.1 User unknown",
    });
    let elastic = json!({
        "EventType": "Bounce", "EventDate": "2026-06-15T10:32:11", "To": "user@example.com",
        "MsgID": "EPWtkQzVcZa6HHBLtm06", "MessageCategory": "NoMailbox",
        "Message": "550 5.7.1 what the webhook does not tell",
    });
    let unisender = "2026-06-15 10:32:11,1a3Q2V-0000OZ-12,user@example.com,hard_bounced,\
        err_user_unknown,550 5.1.1 No such user,,,";
    let resend = json!({
        "object": "suppression", "id": "e169aa45-1ecf-4183-9955-b1499d5701d3",
        "email": "nobody@example.com", "origin": "bounce",
        "source_id": "4ef9a417-02e9-4d39-ad75-9611e0fcc33c",
        "created_at": "2026-06-15 10:32:11.126+00",
    });
    let events = |provider, context, row| polled(provider, "events", context, &row);
    vec![
        ("scaleway-tem", "email_dropped.json", events("scaleway-tem", "", replayed)),
        ("smtp2go", "bounce_hard.form", events("smtp2go", "", smtp2go)),
        ("elastic-email", "error_nomailbox.query", events("elastic-email", "", elastic)),
        ("unisender-go", "hard.json", events("unisender-go", HEADER, json!(unisender))),
        ("resend", "suppression_added.json", polled("resend", "suppressions", "", &resend)),
    ]
}

#[test]
fn a_fact_told_by_webhook_and_by_poll_is_one_event() {
    for (provider, file, row) in pairs() {
        let told = told(provider, file);
        assert_eq!(row.id(), told.id(), "{provider}: {row:?}");
        assert_eq!((row.reason, row.until), (told.reason, told.until), "{provider}");
        assert_eq!(row.message_id, told.message_id, "{provider}");
    }
}

#[test]
fn another_fact_is_another_event() {
    for (provider, file, row) in pairs() {
        let told = told(provider, file);
        let other = Event { kind: EventKind::Complaint, ..row.clone() };
        assert_ne!(other.id(), told.id(), "{provider}");
        let (message_id, identity) = match row.identity {
            Some(_) => (row.message_id.clone(), Some("another".to_owned())),
            None => (Some("another".to_owned()), None),
        };
        assert_ne!(Event { message_id, identity, ..row }.id(), told.id(), "{provider}");
    }
}

/// An address that is on SES's list for the bounce that its topic told of: two facts, one reason.
#[test]
fn a_bounce_and_the_listing_for_it_are_two_facts() {
    let bounce = told("amazon-ses", "bounce_permanent_general.json");
    let row = json!({
        "EmailAddress": bounce.address.received(), "Reason": "BOUNCE",
        "LastUpdateTime": 1_781_519_531,
    });
    let listed = polled("amazon-ses", "suppressions", "", &row);
    assert_eq!(listed.address.key(), bounce.address.key());
    assert_ne!(listed.id(), bounce.id());
    assert_eq!(listed.reason, Some(Reason::HardBounce));
}

#[test]
fn rows_of_lists_say_why_and_until_when() {
    let at = "2026-06-15T10:32:11Z";
    let plain = "2026-06-15 10:32:11";
    let three_days = Some("2026-06-18T10:32:11Z");
    let epoch = 1_781_519_531;
    let email = "a@b.test";
    let resend =
        |origin: &str| json!({ "id": "s", "email": email, "origin": origin, "created_at": at });
    let smtp2go =
        |reason: &str| json!({ "email_address": email, "reason": reason, "timestamp": plain });
    let elastic = json!({ "Email": email, "DateUpdated": at });
    let unisender = |cause: &str| json!({ "email": email, "cause": cause, "created": plain });
    let scaleway = |kind: &str, end: Option<&str>| {
        let mut row = json!({ "id": "b", "email": email, "created_at": at, "type": kind });
        row["ends_at"] = json!(end);
        row
    };
    let ses =
        |reason: &str| json!({ "EmailAddress": email, "Reason": reason, "LastUpdateTime": epoch });
    let (all, blocks) = ("suppressions", "blocklists");
    let rows = [
        ("resend", all, resend("bounce"), Some(Reason::HardBounce), None),
        ("resend", all, resend("complaint"), Some(Reason::Complaint), None),
        ("resend", all, resend("manual"), None, None),
        ("smtp2go", all, smtp2go("bounce"), Some(Reason::HardBounce), None),
        ("smtp2go", all, smtp2go("spam"), Some(Reason::Complaint), None),
        ("smtp2go", all, smtp2go("unsubscribe"), Some(Reason::Unsubscribe), None),
        ("smtp2go", all, smtp2go("compliance"), None, None),
        ("elastic-email", "bounces", elastic.clone(), Some(Reason::HardBounce), None),
        ("elastic-email", "complaints", elastic.clone(), Some(Reason::Complaint), None),
        ("elastic-email", "unsubscribes", elastic, Some(Reason::Unsubscribe), None),
        ("unisender-go", all, unisender("unsubscribed"), Some(Reason::Unsubscribe), None),
        ("unisender-go", all, unisender("complained"), Some(Reason::Complaint), None),
        ("unisender-go", all, unisender("permanent_unavailable"), Some(Reason::HardBounce), None),
        ("unisender-go", all, unisender("temporary_unavailable"), None, None),
        ("unisender-go", all, unisender("blocked"), None, None),
        (
            "scaleway-tem",
            blocks,
            scaleway("mailbox_not_found", None),
            Some(Reason::HardBounce),
            None,
        ),
        ("scaleway-tem", blocks, scaleway("mailbox_full", three_days), None, three_days),
        ("amazon-ses", all, ses("BOUNCE"), Some(Reason::HardBounce), None),
        ("amazon-ses", all, ses("COMPLAINT"), Some(Reason::Complaint), None),
        ("amazon-ses", all, ses("NOVEL"), None, None),
    ];
    for (provider, feed, row, reason, until) in rows {
        let event = polled(provider, feed, "", &row);
        assert_eq!((event.kind, event.reason), (EventKind::Listed, reason), "{provider} {row}");
        assert_eq!(event.until.map(|time| time.to_string()).as_deref(), until, "{provider} {row}");
        assert_eq!((event.at.second(), event.undated), (epoch, false), "{provider} {row}");
        let again = polled(provider, feed, "", &row);
        assert_eq!(again.id(), event.id(), "{provider}: a row that is read again");
    }
}

#[test]
fn an_address_that_is_listed_for_two_causes_has_two_facts() {
    let smtp2go = |reason: &str| {
        let at = "2026-06-15 10:32:11";
        let row = json!({ "email_address": "a@b.test", "reason": reason, "timestamp": at });
        polled("smtp2go", "suppressions", "", &row).id()
    };
    assert_ne!(smtp2go("bounce"), smtp2go("manual"));
    let unisender = |cause: &str| {
        let row = json!({ "email": "a@b.test", "cause": cause, "created": "2026-06-15 10:32:11" });
        polled("unisender-go", "suppressions", "", &row).id()
    };
    assert_ne!(unisender("complained"), unisender("unsubscribed"));
    let scaleway = |id: &str| {
        let at = "2026-06-15T10:32:11Z";
        let row =
            json!({ "id": id, "email": "a@b.test", "created_at": at, "type": "mailbox_full" });
        polled("scaleway-tem", "blocklists", "", &row).id()
    };
    assert_ne!(scaleway("1"), scaleway("2"));
}
