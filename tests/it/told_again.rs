//! A fact that a webhook tells and a poll tells again: one event, and two where they must differ.

use serde_json::{Value, json};
use suppressd::model::{Element, EventId, Origin, SourceName, Time};
use suppressd::provider::{Judge, Stamp, by_name, read_judged};

/// The identity of the one event of an element.
fn id(provider: &str, feed: &str, context: &str, body: &Value) -> EventId {
    let source = SourceName::parse("fixture").unwrap();
    let stamp = Stamp {
        source: &source,
        origin: if feed.is_empty() { Origin::Webhook } else { Origin::Poll },
        feed,
        received_at: Time::parse("2026-06-15T12:00:00Z").unwrap(),
    };
    let element = Element { context: context.to_owned(), body: body.to_string().into_bytes() };
    let events =
        read_judged(by_name(provider).unwrap(), &element, &stamp, &Judge::default()).unwrap();
    assert_eq!(events.len(), 1, "{provider}: {body}");
    events[0].id()
}

#[test]
fn brevo_tells_the_same_twice() {
    let told = |name: &str, at: i64| {
        let body = json!({ "event": name, "email": "a@example.com", "ts_epoch": at,
            "message-id": "<1@relay>", "link": "https://a/" });
        id("brevo", "", "", &body)
    };
    let polled = |name: &str, date: &str| {
        let row = json!({ "event": name, "email": "a@example.com", "date": date,
            "messageId": "<1@relay>", "link": "https://a/" });
        id("brevo", "events", "", &row)
    };
    for (webhook, api) in [
        ("request", "requests"),
        ("delivered", "delivered"),
        ("deferred", "deferred"),
        ("soft_bounce", "softBounces"),
        ("hard_bounce", "hardBounces"),
        ("invalid_email", "invalid"),
        ("blocked", "blocked"),
        ("error", "error"),
        ("spam", "spam"),
        ("unsubscribe", "unsubscribed"),
        ("opened", "opened"),
        ("proxy_open", "loadedByProxy"),
        ("click", "clicks"),
    ] {
        let told = told(webhook, 1_781_519_531_250);
        assert_eq!(told, polled(api, "2026-06-15T12:32:11.000+02:00"), "{webhook}");
        assert_ne!(told, polled(api, "2026-06-15T12:32:11Z"), "{webhook}");
    }
}

#[test]
fn mailjet_tells_the_same_twice() {
    let told = |name: &str, more: Value| {
        let mut body = json!({ "event": name, "time": 1_781_519_531,
            "email": "a@example.com", "MessageID": 12_345_678_901_234_567_u64 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        id("mailjet", "", "", &body)
    };
    let polled = |name: &str, state: u64, at: i64| {
        let message = json!({ "ID": 12_345_678_901_234_567_u64, "ContactAlt": "a@example.com",
            "StateID": state, "StatePermanent": state == 1 });
        let row = json!({ "EventAt": at, "EventType": name, "Comment": "" });
        id("mailjet", "events", &message.to_string(), &row)
    };
    let unknown = json!({ "hard_bounce": true, "error_related_to": "recipient",
        "error": "user unknown" });
    let full = json!({ "hard_bounce": false, "error_related_to": "recipient",
        "error": "quota exceeded" });
    let preblocked = json!({ "error_related_to": "mailjet", "error": "preblocked" });
    let none = json!({});
    for (name, more, api, state) in [
        ("bounce", &unknown, "bounced", 1),
        ("bounce", &unknown, "hardbounced", 1),
        ("bounce", &full, "softbounced", 3),
        ("blocked", &preblocked, "blocked", 14),
        ("spam", &none, "spam", 0),
        ("unsub", &none, "unsub", 0),
        ("sent", &none, "sent", 0),
        ("open", &none, "opened", 0),
        ("click", &none, "clicked", 0),
    ] {
        let told = told(name, more.clone());
        assert_eq!(told, polled(api, state, 1_781_519_531), "{name}");
        assert_ne!(told, polled(api, state, 1_781_519_540), "{name}");
    }
    assert_ne!(told("bounce", unknown), polled("blocked", 14, 1_781_519_531));
}

#[test]
fn mandrill_tells_the_same_twice() {
    let msg = json!({ "_id": "m1", "email": "a@example.com", "ts": 1_781_519_400 });
    let told = |name: &str| {
        let body = json!({ "event": name, "ts": 1_781_519_531, "_id": "m1", "msg": msg });
        id("mandrill", "", "", &body)
    };
    let polled = |state: &str, at: i64| {
        let mut row = msg.clone();
        row["state"] = state.into();
        row["smtp_events"] = json!([{ "ts": 1_781_519_450, "type": "deferred" },
            { "ts": at, "type": state }]);
        id("mandrill", "events", "", &row)
    };
    for (name, state) in
        [("send", "sent"), ("hard_bounce", "bounced"), ("soft_bounce", "soft-bounced")]
    {
        assert_eq!(told(name), polled(state, 1_781_519_531), "{name}");
        assert_ne!(told(name), polled(state, 1_781_519_540), "{name}");
    }
    // These happen once to a message, at whatever time.
    for (name, state) in [("spam", "spam"), ("unsub", "unsub")] {
        assert_eq!(told(name), polled(state, 1_781_519_540), "{name}");
    }
    let entry = json!({ "reason": "hard-bounce", "email": "a@example.com",
        "last_event_at": "2026-06-15 10:32:11", "expires_at": "2026-07-15 10:32:11" });
    let change = json!({ "type": "blacklist", "action": "add", "ts": 1_781_519_531,
        "reject": entry });
    let told = id("mandrill", "", "", &change);
    assert_eq!(told, id("mandrill", "suppressions", "", &entry));
    let mut later = entry.clone();
    later["last_event_at"] = "2026-06-16 10:32:11".into();
    assert_ne!(told, id("mandrill", "suppressions", "", &later));
}

#[test]
fn mailersend_tells_the_same_twice() {
    let row = |id: &str, name: &str| {
        json!({ "id": id, "type": name, "created_at": "2026-06-15T10:32:11.593000Z",
            "email": { "id": "e1", "recipient": { "email": "a@example.com" } } })
    };
    let told = |name: &str| {
        let body = json!({ "type": format!("activity.{name}"), "data": row("1", name) });
        id("mailersend", "", "", &body)
    };
    for (name, api) in [
        ("delivered", "delivered"),
        ("deferred", "deferred"),
        ("soft_bounced", "soft_bounced"),
        ("hard_bounced", "hard_bounced"),
        ("spam_complaint", "spam_complaints"),
        ("unsubscribed", "unsubscribed"),
    ] {
        assert_eq!(told(name), id("mailersend", "events", "", &row("1", api)), "{name}");
        assert_ne!(told(name), id("mailersend", "events", "", &row("2", api)), "{name}");
    }
}

#[test]
fn mailtrap_tells_the_same_twice() {
    let told = |name: &str| {
        let body = json!({ "event": name, "timestamp": 1_781_519_531, "email": "a@example.com",
            "sending_stream": "bulk", "message_id": "m1", "event_id": "e1" });
        id("mailtrap", "", "", &body)
    };
    let polled = |name: &str, at: &str| {
        let message = json!({ "message_id": "m1", "to": "a@example.com",
            "sending_stream": "bulk" });
        let row = json!({ "event_type": name, "created_at": at, "details": {} });
        id("mailtrap", "events", &message.to_string(), &row)
    };
    for (name, api) in [
        ("delivery", "delivery"),
        ("soft bounce", "soft_bounce"),
        ("bounce", "bounce"),
        ("spam", "spam"),
        ("unsubscribe", "unsubscribe"),
        ("reject", "reject"),
        ("suspension", "suspension"),
    ] {
        assert_eq!(told(name), polled(api, "2026-06-15T10:32:11.250Z"), "{name}");
        assert_ne!(told(name), polled(api, "2026-06-15T10:32:20Z"), "{name}");
    }
}
