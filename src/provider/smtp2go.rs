//! SMTP2GO: unsigned, so behind credentials; one event per request, as a form or as JSON.
//!
//! Sources: developers.smtp2go.com, "Webhooks" and the OpenAPI description of its API.

use serde_json::{Map, Value};

use super::wire::{self, Fields};
use super::{Class, Faults, Notification, Provider, Said, Sample, Stamp, Unreadable};
use crate::model::{Address, Element, Event, EventKind, Time};

/// What to tick: opens and clicks say nothing of whether an address may be mailed.
const EVENT_TYPES: &[&str] =
    &["delivered", "bounce", "spam", "unsubscribe", "resubscribe", "reject"];

/// Events whose kind needs no second look.
const KINDS: &[(&str, EventKind)] = &[
    ("processed", EventKind::Accepted),
    ("delivered", EventKind::Delivered),
    ("spam", EventKind::Complaint),
    ("unsubscribe", EventKind::Unsubscribed),
    ("resubscribe", EventKind::Resubscribed),
    ("open", EventKind::Opened),
    ("click", EventKind::Clicked),
];

/// Events of text messages, whose recipients are telephone numbers.
const IGNORED: &[&str] = &["opt-out"];
const IGNORED_PREFIX: &str = "sms_";

/// What a `reject` says that is the sender's affair: an unverified sender, a sandbox.
const BY_SENDER: &[&str] = &["sandbox", "unverified", "not verified", "sender"];

/// What it says, before all else, when the recipient is on the provider's list.
const LISTED: &str = "suppress";

/// How the names of headers start that the sender chose to have in its notifications.
const OWN_HEADER: &str = "x-";

pub(super) struct Smtp2go;

impl Provider for Smtp2go {
    fn name(&self) -> &'static str {
        "smtp2go"
    }

    fn times_differ(&self) -> bool {
        true
    }

    fn verification(&self) -> &'static str {
        "no signature: Basic, bearer or a fixed header"
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn event_types(&self) -> &'static [&'static str] {
        EVENT_TYPES
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let fields = Fields::parse(&element.body)?;
        let missing = |what: &str| Unreadable(format!("{what}: is missing"));
        let name = fields.get("event").ok_or_else(|| missing("event"))?;
        if name.starts_with(IGNORED_PREFIX) || IGNORED.contains(&name) {
            return Ok(Vec::new());
        }
        // `recipients` has all of the message: what befell one of them is not told of the others.
        let address = match fields.get("rcpt") {
            Some(recipient) => wire::mailbox(recipient)?,
            None if name == "processed" => return Ok(Vec::new()),
            None => return Err(missing("recipient")),
        };
        let time = fields.get("time").ok_or_else(|| missing("time"))?;
        let at = wire::utc_time(time, stamp.received_at)
            .or_else(|_| wire::decimal_time(time, stamp.received_at))?;
        let diagnostic = fields.get("message").or_else(|| fields.get("context"));
        let text = diagnostic.unwrap_or("");
        let (smtp_code, enhanced_code) = (wire::smtp_code(text), wire::enhanced_code(text));
        let said = Said { smtp: smtp_code, enhanced: enhanced_code.as_deref(), text };
        let bounce = fields.get("bounce").filter(|_| name == "bounce");
        let context = fields.get("context").unwrap_or("");
        let kind = kind(name, bounce, context, &said, stamp.faults);
        let words = [name].into_iter().chain(bounce);
        let provider_kind = words.collect::<Vec<&str>>().join(":");
        let message_id = fields.get("email_id").or_else(|| fields.get("message-id"));
        let event = Event {
            message_id: message_id.and_then(wire::bare_id),
            smtp_code,
            diagnostic: diagnostic.map(str::to_owned),
            url: fields.text("url"),
            user_agent: fields.text("user-agent"),
            metadata: own_headers(&fields),
            enhanced_code,
            ..stamp.event(self.name(), kind, provider_kind, address, at)
        };
        Ok(vec![event])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (name, bounce, message) = match kind {
            EventKind::HardBounce => ("bounce", "hard", "550 5.1.1 The mailbox does not exist"),
            EventKind::SoftBounce => ("bounce", "soft", "452 4.2.2 The mailbox is full"),
            EventKind::Blocked => ("bounce", "hard", "550 5.7.1 Refused by policy"),
            EventKind::Rejected => ("reject", "", "The address is suppressed"),
            _ => (KINDS.iter().find(|(_, known)| *known == kind)?.0, "", ""),
        };
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("event", name)
            .append_pair("time", &now.floor_second().to_string())
            .append_pair("email_id", &format!("sample-{}", now.nanos()))
            .append_pair("rcpt", address.received())
            .append_pair("sender", "sender@example.com");
        for (name, value) in [("bounce", bounce), ("message", message)] {
            if !value.is_empty() {
                form.append_pair(name, value);
            }
        }
        let body = form.finish().into_bytes();
        Some(Sample { content_type: "application/x-www-form-urlencoded", body })
    }
}

fn kind(
    name: &str,
    bounce: Option<&str>,
    context: &str,
    said: &Said<'_>,
    faults: &Faults,
) -> EventKind {
    if let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == name) {
        return *kind;
    }
    match (name, bounce) {
        ("bounce", Some("hard")) => faults.kind(Class::Hard, said),
        ("bounce", Some("soft")) => faults.kind(Class::Soft, said),
        ("bounce", _) => faults.kind(Class::Unclear, said),
        ("reject", _) => {
            let text = format!("{} {context}", said.text).to_lowercase();
            let by_sender = BY_SENDER.iter().any(|word| text.contains(word));
            let listed = text.contains(LISTED);
            if by_sender && !listed { EventKind::Failed } else { EventKind::Rejected }
        }
        _ => EventKind::Unknown,
    }
}

/// The headers of the message that the sender chose to have in its notifications, as JSON.
fn own_headers(fields: &Fields) -> Option<String> {
    let own = |(name, _): &&(String, String)| name.to_ascii_lowercase().starts_with(OWN_HEADER);
    let pair = |(name, value): &(String, String)| (name.clone(), Value::from(value.as_str()));
    let data: Map<String, Value> = fields.iter().filter(own).map(pair).collect();
    (!data.is_empty()).then(|| Value::Object(data).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Settings;
    use crate::provider::checks_of_credentials;

    #[test]
    fn it_has_no_check_of_its_own() {
        // So a source without credentials is refused when the configuration is loaded.
        let settings = Settings::default();
        assert!(Smtp2go.checks(&settings).unwrap().is_empty());
        assert!(checks_of_credentials(&settings).unwrap().is_empty());
    }
}
