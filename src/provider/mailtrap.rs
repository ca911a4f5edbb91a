//! Mailtrap's Email Sending: events in a list, or one a line, signed over the body.
//!
//! Source: docs.mailtrap.io/email-api-smtp/advanced/webhooks.

use http::HeaderName;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::wire::{self, TimeForm};
use super::{
    Check, Class, ELEMENTS_MAX, Key, Notification, Provider, Said, Sample, SettingError, Settings,
    Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Scope, Time};

/// The header that holds the signature.
const SIGNATURE: HeaderName = HeaderName::from_static("mailtrap-signature");

const WEBHOOK_KEYS: &[Key] = &[Key::optional_secret("secret")];

/// The event types ("Webhooks", "Event types"), in the spellings of webhooks and of the API.
const TYPES: &[(&str, EventKind)] = &[
    ("delivery", EventKind::Delivered),
    ("soft bounce", EventKind::SoftBounce),
    ("soft_bounce", EventKind::SoftBounce),
    ("bounce", EventKind::HardBounce),
    ("spam", EventKind::Complaint),
    ("spam_complaint", EventKind::Complaint),
    ("unsubscribe", EventKind::Unsubscribed),
    ("open", EventKind::Opened),
    ("click", EventKind::Clicked),
    ("suspension", EventKind::Failed),
    ("reject", EventKind::Rejected),
];

/// What a category of bounces has in it that is the sender's fault. The categories are not listed
/// anywhere; seen are `hard`, `unavailable` and `invalid_recipient`.
const BLOCKED: &[&str] = &["spam", "policy", "block"];

/// The types to tick.
const EVENT_TYPES: &[&str] =
    &["delivery", "soft_bounce", "bounce", "spam_complaint", "unsubscribe", "suspension", "reject"];

pub(super) struct Mailtrap;

/// One event.
#[derive(Deserialize)]
struct Wire {
    event: String,
    timestamp: Option<TimeForm>,
    email: Option<String>,
    sending_stream: Option<String>,
    message_id: Option<String>,
    event_id: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    response_code: Option<String>,
    response: Option<String>,
    bounce_category: Option<String>,
    reason: Option<String>,
    category: Option<String>,
    custom_variables: Option<Map<String, Value>>,
    user_agent: Option<String>,
    url: Option<String>,
}

impl Provider for Mailtrap {
    fn name(&self) -> &'static str {
        "mailtrap"
    }

    fn times_differ(&self) -> bool {
        true
    }

    fn verification(&self) -> &'static str {
        "HMAC-SHA256 of the body, hex, in `Mailtrap-Signature`"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        let secrets = settings.secrets("secret").to_vec();
        if secrets.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Check::hmac_of_body(SIGNATURE, "", secrets)])
    }

    fn event_types(&self) -> &'static [&'static str] {
        EVENT_TYPES
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        match lines(notification.body) {
            Some(lines) => lines.into_iter().map(wire::element).collect(),
            None => wire::split_under("events", notification.body),
        }
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let wire: Wire = wire::object(&element.body)
            .map_err(|error| Unreadable(format!("not an event of Mailtrap's: {error}")))?;
        let known = TYPES.iter().find(|(known, _)| *known == wire.event).map(|(_, kind)| *kind);
        if known.is_none() && wire.email.is_none() {
            return Ok(Vec::new());
        }
        let address = wire::mailbox(wire.email.as_deref().unwrap_or(""))?;
        let form = wire.timestamp.as_ref();
        let form = form.ok_or_else(|| Unreadable("the time is missing".to_owned()))?;
        let at = wire::time(form, stamp.received_at)?;
        let diagnostic = wire.response.as_ref().or(wire.reason.as_ref());
        let diagnostic = diagnostic.filter(|text| !text.is_empty()).cloned();
        let text = diagnostic.as_deref().unwrap_or("");
        let smtp_code = wire.response_code.as_deref().and_then(wire::smtp_code);
        let enhanced_code = wire::enhanced_code(text);
        let said = Said { smtp: smtp_code, enhanced: enhanced_code.as_deref(), text };
        let kind = wire.kind(known.unwrap_or(EventKind::Unknown), &said, stamp);
        let category = wire.bounce_category.as_deref().filter(|text| !text.is_empty());
        let provider_kind = match category {
            Some(category) => format!("{}:{category}", wire.event),
            None => wire.event,
        };
        let event = Event {
            scope: match kind {
                // It ends one stream of a domain: the other goes on.
                EventKind::Unsubscribed => scope(wire.sending_stream.as_deref()),
                _ => Scope::Global,
            },
            message_id: wire.message_id.filter(|id| !id.is_empty()),
            smtp_code,
            enhanced_code,
            diagnostic,
            tags: wire.category.into_iter().filter(|tag| !tag.is_empty()).collect(),
            metadata: wire.custom_variables.map(|data| Value::Object(data).to_string()),
            url: wire.url,
            user_agent: wire.user_agent,
            // No identity: the API tells the same event without this id.
            provider_event_id: wire.event_id,
            ..stamp.event(self.name(), kind, provider_kind, address, at)
        };
        Ok(vec![event])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let wanted = if kind == EventKind::Blocked { EventKind::HardBounce } else { kind };
        let (name, _) = TYPES.iter().find(|(_, known)| *known == wanted)?;
        let mut event = json!({
            "event": name,
            "timestamp": now.second(),
            "sending_stream": "transactional",
            "message_id": format!("sample-{}", now.nanos()),
            "event_id": format!("sample-event-{}", now.nanos()),
            "email": address.received(),
        });
        let bounce = match kind {
            EventKind::HardBounce => Some((550, "bounced (550 5.1.1 No such user)", "hard")),
            EventKind::Blocked => Some((550, "bounced (550 5.7.1 Refused)", "spam")),
            EventKind::SoftBounce => Some((450, "soft bounce (450 4.2.0 Later)", "unavailable")),
            _ => None,
        };
        if let Some((code, response, category)) = bounce {
            event["response_code"] = code.into();
            event["response"] = response.into();
            event["bounce_category"] = category.into();
        }
        let body = json!({ "events": [event] });
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

impl Wire {
    /// What came of the message. What the category says is decided before any code.
    fn kind(&self, named: EventKind, said: &Said<'_>, stamp: &Stamp<'_>) -> EventKind {
        let category = self.bounce_category.as_deref().unwrap_or("").to_lowercase();
        let by_sender = BLOCKED.iter().any(|word| category.contains(word));
        match named {
            EventKind::HardBounce | EventKind::SoftBounce if by_sender => EventKind::Blocked,
            EventKind::HardBounce => stamp.faults.kind(Class::Hard, said),
            EventKind::SoftBounce => stamp.faults.kind(Class::Soft, said),
            // Mailtrap also refuses for the sender's sake; then the address is on no list.
            EventKind::Rejected => match stamp.faults.kind(Class::Unclear, said) {
                EventKind::Blocked => EventKind::Blocked,
                _ => EventKind::Rejected,
            },
            kind => kind,
        }
    }
}

/// The lines of a body with one event a line. `None` when it has another form: each line must
/// start as an object does, and the whole must be no JSON.
fn lines(body: &[u8]) -> Option<Vec<&[u8]>> {
    let all = body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<&[u8]> = all.filter(|line| !line.is_empty()).take(ELEMENTS_MAX + 1).collect();
    let several = (2..=ELEMENTS_MAX).contains(&lines.len());
    let fits = several && lines.iter().all(|line| line.starts_with(b"{"));
    (fits && serde_json::from_slice::<IgnoredAny>(body).is_err()).then_some(lines)
}

/// What an unsubscription covers.
fn scope(stream: Option<&str>) -> Scope {
    // `any` is both streams.
    let stream = stream.filter(|stream| *stream != "any");
    stream.and_then(|name| Scope::parse(&format!("stream:{name}"))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::signed::{Sent, settings};
    use super::*;

    /// The vector of Mailtrap's own libraries.
    const SECRET: &str = "8d9a3c0e7f5b2d4a6c1e9f8b3a7d5c2e";
    const BODY: &str = concat!(
        r#"{"event":"delivery","sending_stream":"transactional","category":"welcome","#,
        r#""message_id":"a8b1d8f6-1f8d-4a3c-9b2e-1a2b3c4d5e6f","email":"recipient@example.com","#,
        r#""event_id":"f1e2d3c4-b5a6-7890-1234-567890abcdef","timestamp":1716070000}"#,
    );
    const TAG: &str = "6d262e2611cd09be1f948382b5c611d63b0e585c4c9c5e40139d6ac3876d5433";

    #[test]
    fn the_known_signature_holds_and_nothing_else() {
        let checks = |secrets: &[&str]| Mailtrap.checks(&settings(secrets)).unwrap();
        let sent = Sent::new(0, &[("mailtrap-signature", TAG)], BODY);
        sent.refused_when_damaged(&checks(&[SECRET]), "mailtrap-signature");
        assert_eq!(sent.verify(&checks(&["new", SECRET])), Ok(()), "one of two");
        assert!(sent.verify(&checks(&["another's"])).is_err());
        assert!(checks(&[]).is_empty(), "the common credentials do it");
    }

    #[test]
    fn each_form_of_a_batch_is_cut() {
        let cut = |body: &str| -> Vec<String> {
            let text = |e: Element| String::from_utf8(e.body).unwrap();
            let sent = Sent::new(0, &[], body);
            Mailtrap.split(&sent.notification()).into_iter().map(text).collect()
        };
        assert_eq!(cut("{\"events\":[{\"a\": 1},{\"b\":2}]}"), ["{\"a\": 1}", "{\"b\":2}"]);
        assert_eq!(cut("{\"a\":1}\r\n\n{\"b\":2}\n"), ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(cut("{\"a\":1}\n{\"b\":\n{\"c\":3}"), ["{\"a\":1}", "{\"b\":", "{\"c\":3}"]);
        assert_eq!(cut("[{\"a\":1},{\"b\":2}]"), ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(cut("{\"events\":[]}"), Vec::<String>::new());
        for whole in ["{\"a\":1}\n", "{\n{", "{\n\"a\": {\n}\n}", "{\"a\":1}\nno", ""] {
            let expected: &[&str] = if whole == "{\n{" { &["{", "{"] } else { &[whole] };
            assert_eq!(cut(whole), expected, "{whole:?}");
        }
    }
}
