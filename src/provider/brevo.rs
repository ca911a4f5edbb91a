//! Brevo, once Sendinblue: transactional webhooks, one event or an array. Nothing is signed.
//!
//! Source: Brevo developers, "Transactional webhooks", "Batched webhooks" and "Secure webhook
//! calls". Events have no id, and of their times only `ts_epoch` is in UTC.

use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::{self, TimeForm};
use super::{Class, Notification, Provider, Said, Sample, Stamp, Unreadable};
use crate::model::{Address, Element, Event, EventKind, Time};

/// What an event means.
#[derive(Clone, Copy)]
enum Meaning {
    /// This, whatever the codes say.
    Is(EventKind),
    /// A failure, by whose fault the codes say.
    Fault(Class),
}

/// Source: "Transactional webhooks".
const EVENTS: &[(&str, Meaning)] = &[
    ("request", Meaning::Is(EventKind::Accepted)),
    ("delivered", Meaning::Is(EventKind::Delivered)),
    // Brevo still tries, even where the server said 550.
    ("deferred", Meaning::Is(EventKind::Deferred)),
    ("soft_bounce", Meaning::Fault(Class::Soft)),
    ("hard_bounce", Meaning::Fault(Class::Hard)),
    ("invalid_email", Meaning::Is(EventKind::HardBounce)),
    // It is on Brevo's own list.
    ("blocked", Meaning::Is(EventKind::Rejected)),
    ("error", Meaning::Is(EventKind::Failed)),
    ("spam", Meaning::Is(EventKind::Complaint)),
    ("complaint", Meaning::Is(EventKind::Complaint)),
    ("unsubscribe", Meaning::Is(EventKind::Unsubscribed)),
    ("unsubscribed", Meaning::Is(EventKind::Unsubscribed)),
    ("opened", Meaning::Is(EventKind::Opened)),
    ("unique_opened", Meaning::Is(EventKind::Opened)),
    ("proxy_open", Meaning::Is(EventKind::Opened)),
    ("unique_proxy_open", Meaning::Is(EventKind::Opened)),
    ("click", Meaning::Is(EventKind::Clicked)),
];

/// Opens by a mail program's proxy, such as Apple's, not by a person.
const MACHINES: &[&str] = &["proxy_open", "unique_proxy_open"];

/// How the names of events begin that are about a contact or about mail to us, not a message.
const IGNORED: &[&str] = &["list_addition", "contact_updated", "contact_deleted", "inbound"];

pub(super) struct Brevo;

/// One event.
#[derive(Deserialize)]
struct Wire {
    event: String,
    #[serde(default, deserialize_with = "wire::loose_text")]
    email: Option<String>,
    ts_epoch: Option<TimeForm>,
    s_epoch: Option<TimeForm>,
    ts_event: Option<TimeForm>,
    ts: Option<TimeForm>,
    #[serde(rename = "message-id", default, deserialize_with = "wire::loose_text")]
    message_id: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_texts")]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "wire::loose_texts")]
    tag: Vec<String>,
    #[serde(rename = "X-Mailin-custom", default)]
    custom: Value,
    #[serde(default, deserialize_with = "wire::loose_text")]
    link: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    user_agent: Option<String>,
}

impl Provider for Brevo {
    fn name(&self) -> &'static str {
        "brevo"
    }

    fn times_differ(&self) -> bool {
        true
    }

    fn verification(&self) -> &'static str {
        "Basic credentials, a bearer token, or a header with a fixed value"
    }

    fn event_types(&self) -> &'static [&'static str] {
        &[
            "delivered",
            "deferred",
            "softBounce",
            "hardBounce",
            "invalid",
            "blocked",
            "error",
            "spam",
            "unsubscribed",
        ]
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let wire: Wire = wire::object(&element.body)
            .map_err(|error| Unreadable(format!("not an event of Brevo: {error}")))?;
        if IGNORED.iter().any(|start| wire.event.starts_with(start)) {
            return Ok(Vec::new());
        }
        let address = wire::mailbox(wire.email.as_deref().unwrap_or(""))?;
        let at = wire.time().ok_or_else(|| Unreadable("there is no time".to_owned()))?;
        let at = wire::loose_time(at, stamp.received_at)?;
        let reason = wire.reason.as_deref().unwrap_or("").trim();
        let smtp_code = wire::said_code(reason);
        let enhanced_code = wire::enhanced_code(reason);
        let said = Said { smtp: smtp_code, enhanced: enhanced_code.as_deref(), text: reason };
        let row = EVENTS.iter().find(|(known, _)| *known == wire.event);
        let kind = match row.map(|(_, meaning)| *meaning) {
            Some(Meaning::Is(kind)) => kind,
            Some(Meaning::Fault(class)) => stamp.faults.kind(class, &said),
            None => EventKind::Unknown,
        };
        let message_id = wire.message_id.as_deref().and_then(wire::bare_id);
        // Two links can be followed within a second; all else is told apart without help.
        let link = wire.link.as_deref().filter(|_| kind == EventKind::Clicked);
        let id = message_id.as_deref().unwrap_or("");
        let identity = link.map(|link| format!("{id} {} {link}", at.second()));
        Ok(vec![Event {
            smtp_code,
            enhanced_code,
            diagnostic: (!reason.is_empty()).then(|| reason.to_owned()),
            tags: wire.tags(),
            metadata: wire.metadata(),
            machine: MACHINES.contains(&wire.event.as_str()),
            message_id,
            identity,
            url: wire.link,
            user_agent: wire.user_agent,
            ..stamp.event(self.name(), kind, wire.event, address, at)
        }])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (name, reason) = match kind {
            EventKind::Accepted => ("request", ""),
            EventKind::Delivered => ("delivered", ""),
            EventKind::Deferred => ("deferred", "451 4.3.0 Try later"),
            EventKind::SoftBounce => ("soft_bounce", "452 4.2.2 The mailbox is full"),
            EventKind::HardBounce => {
                ("hard_bounce", " RecipientError: 550 5.1.1 The mailbox does not exist")
            }
            EventKind::Blocked => ("hard_bounce", "550 5.7.1 Refused by policy"),
            EventKind::Rejected => ("blocked", "blocked : due to blacklist user"),
            EventKind::Failed => ("error", "A sample of a failure"),
            EventKind::Complaint => ("spam", ""),
            EventKind::Unsubscribed => ("unsubscribed", ""),
            EventKind::Opened => ("opened", ""),
            EventKind::Clicked => ("click", ""),
            _ => return None,
        };
        let mut body = json!({
            "event": name,
            "email": address.received(),
            "id": 1,
            "ts": now.second(),
            "ts_event": now.second(),
            "ts_epoch": now.nanos().div_euclid(1_000_000),
            "message-id": format!("<{}@sample.invalid>", now.nanos()),
        });
        if !reason.is_empty() {
            body["reason"] = reason.into();
        }
        if kind == EventKind::Clicked {
            body["link"] = "https://example.com/".into();
        }
        let body = body.to_string().into_bytes();
        Some(Sample { content_type: "application/json", body })
    }
}

impl Wire {
    /// The time in UTC, in milliseconds (some samples have seconds, or another name). The others
    /// are in the account's time zone: off by hours, but the same over retries.
    fn time(&self) -> Option<&TimeForm> {
        let times = [&self.ts_epoch, &self.s_epoch, &self.ts_event, &self.ts];
        times.into_iter().flatten().next()
    }

    /// `tags`, or `tag`: a text, a list, or a list written as JSON into a text.
    fn tags(&self) -> Vec<String> {
        match self.tag.as_slice() {
            _ if !self.tags.is_empty() => self.tags.clone(),
            [text] => serde_json::from_str(text).unwrap_or_else(|_| self.tag.clone()),
            _ => self.tag.clone(),
        }
    }

    /// The value of the sender's header, which may be JSON itself.
    fn metadata(&self) -> Option<String> {
        let text = match &self.custom {
            Value::String(text) => text.trim(),
            Value::Object(map) if !map.is_empty() => return Some(self.custom.to_string()),
            _ => return None,
        };
        let inner = serde_json::from_str(text).ok().filter(Value::is_object);
        let value = inner.unwrap_or_else(|| Value::String(text.to_owned()));
        (!text.is_empty()).then(|| value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Settings;
    use crate::provider::signed::read_one;

    fn read(body: &Value) -> Event {
        let element = wire::element(body.to_string().as_bytes());
        read_one(&Brevo, &element, Time::from_seconds(1_800_000_000))
    }

    #[test]
    fn only_links_need_an_identity_of_their_own() {
        let click = |link: &str| {
            read(&json!({
                "event": "click", "email": "a@example.com", "ts_epoch": 1_604_933_654_000_i64,
                "message-id": "<1@relay>", "link": link,
            }))
        };
        assert_eq!(click("https://a/").identity.as_deref(), Some("1@relay 1604933654 https://a/"));
        assert_ne!(click("https://a/").id(), click("https://b/").id());
        let bounce = |at: i64, id: &str| {
            read(&json!({
                "event": "hard_bounce", "email": "a@example.com", "ts_epoch": at,
                "message-id": id,
            }))
        };
        assert_eq!(bounce(1_604_933_654_000, "<1@relay>").identity, None);
        let [one, other] = [(1_604_933_654_123, "<1@relay>"), (1_604_933_654, "1@relay")];
        assert_eq!(bounce(one.0, one.1).id(), bounce(other.0, other.1).id());
    }

    #[test]
    fn it_has_no_check_of_its_own() {
        assert!(Brevo.checks(&Settings::default()).unwrap().is_empty());
    }
}
