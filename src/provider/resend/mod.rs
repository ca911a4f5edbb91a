//! Resend: Standard Webhooks with Svix's headers, one event each.
//!
//! An event names all recipients of its message, not the one it is about. So with more than one
//! recipient nothing is held against any of them, unless the server's words name them.
//! What happens once to a message is known by the message, which the API lists too.
//! Source: resend.com/docs/webhooks, "Event Types".

mod api;

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::standard_webhooks::{self, SVIX, WEBHOOK};
use super::wire::{self, Flag, Id, Json, Misfit, Part, Text, Texts, Told, When};
use super::{
    Check, Feed, Key, KeyKind, Notification, Page, PageError, PageRequest, Provider, Query, Rate,
    Sample, SettingError, Settings, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Origin, Reason, Time};

const WEBHOOK_KEYS: &[Key] =
    &[Key::optional_secret("secret"), Key::optional("tolerance", KeyKind::Span)];

/// The event types (resend.com/docs/webhooks/event-types). Bounces are looked at more closely.
const TYPES: &[(&str, EventKind)] = &[
    ("email.sent", EventKind::Accepted),
    ("email.scheduled", EventKind::Accepted),
    ("email.delivered", EventKind::Delivered),
    ("email.delivery_delayed", EventKind::Deferred),
    ("email.bounced", EventKind::HardBounce),
    ("email.suppressed", EventKind::Rejected),
    ("email.complained", EventKind::Complaint),
    ("email.opened", EventKind::Opened),
    ("email.clicked", EventKind::Clicked),
    ("email.failed", EventKind::Failed),
    ("contact.updated", EventKind::Unsubscribed),
    ("suppression.added", EventKind::Listed),
    ("suppression.removed", EventKind::Unlisted),
];

/// What starts the types that tell nothing of a recipient of ours.
const IGNORED: &[&str] = &["email.received", "contact.", "domain."];

/// What becomes of a message once for each recipient: known by the message, since the API has the
/// same of it. Deferrals, opens and clicks may come again.
const ONCE: &[&str] = &[
    "email.sent",
    "email.scheduled",
    "email.delivered",
    "email.bounced",
    "email.suppressed",
    "email.complained",
    "email.failed",
];

/// Sub-types of a bounce that say that Resend did not even try.
const SUPPRESSED: &[&str] = &["Suppressed", "OnAccountSuppressionList"];

/// The types to tick.
const EVENT_TYPES: &[&str] = &[
    "email.bounced",
    "email.complained",
    "email.delivered",
    "email.delivery_delayed",
    "email.failed",
    "email.suppressed",
    "contact.updated",
    "suppression.added",
    "suppression.removed",
];

pub(super) struct Resend;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kind {
    #[serde(rename = "type")]
    name: Told,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    created_at: When,
    data: Part<Data>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    /// The recipients of the message: a list, or one.
    to: Texts,
    /// The address of a contact or a suppression.
    email: Told,
    unsubscribed: Flag,
    /// The id of a suppression.
    id: Id,
    origin: Text,
    source_id: Id,
    email_id: Id,
    message_id: Id,
    tags: Json,
    bounce: Part<Bounce>,
    suppressed: Part<Suppressed>,
    failed: Part<Failed>,
    click: Part<Click>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Bounce {
    #[serde(rename = "type")]
    class: Text,
    sub_type: Text,
    message: Text,
    diagnostic_code: Texts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Suppressed {
    #[serde(rename = "type")]
    class: Text,
    message: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Failed {
    reason: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Click {
    link: Text,
    user_agent: Text,
}

impl Provider for Resend {
    fn name(&self) -> &'static str {
        "resend"
    }

    fn times_differ(&self) -> bool {
        true
    }

    fn verification(&self) -> &'static str {
        "Standard Webhooks (`svix-*` headers): HMAC-SHA256 of id, timestamp and body"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        standard_webhooks::checks(settings, &[SVIX, WEBHOOK])
    }

    fn event_types(&self) -> &'static [&'static str] {
        EVENT_TYPES
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        standard_webhooks::elements(notification)
    }

    fn feeds(&self) -> &[Feed] {
        api::FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        api::POLL_KEYS
    }

    fn rate(&self) -> Option<Rate> {
        Some(api::RATE)
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        api::page_request(query)
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        api::page(query, body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        if stamp.origin == Origin::Poll {
            return api::read(element, stamp);
        }
        let unreadable = |error: Misfit| Unreadable(format!("not an event of Resend's: {error}"));
        let kind: Kind = wire::object(&element.body).map_err(unreadable)?;
        let name = kind.name.need("type")?.to_owned();
        let known = TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        if known.is_none() && IGNORED.iter().any(|start| name.starts_with(start)) {
            return Ok(Vec::new());
        }
        let wire: Wire = wire::object(&element.body).map_err(unreadable)?;
        let at = wire.created_at.at("created_at", stamp.received_at)?;
        let data = wire.data.into_inner().unwrap_or_default();
        let told = Notice { name, at, context: &element.context, data };
        match known {
            Some(EventKind::Unsubscribed) if !told.data.unsubscribed.is_on() => Ok(Vec::new()),
            Some(kind @ EventKind::Unsubscribed) => told.of_address(kind, stamp),
            Some(kind @ (EventKind::Listed | EventKind::Unlisted)) => told.of_address(kind, stamp),
            Some(kind) => told.of_message(kind, stamp),
            None => told.of_message(EventKind::Unknown, stamp),
        }
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (class, sub_type, code) = match kind {
            EventKind::SoftBounce => ("Transient", "MailboxFull", "smtp; 452 4.2.2 mailbox full"),
            EventKind::Blocked => ("Transient", "ContentRejected", "smtp; 550 5.7.1 refused"),
            _ => ("Permanent", "General", "smtp; 550 5.1.1 user unknown"),
        };
        let wanted = match kind {
            EventKind::SoftBounce | EventKind::Blocked => EventKind::HardBounce,
            kind => kind,
        };
        let (name, _) = TYPES.iter().find(|(_, known)| *known == wanted)?;
        let at = now.floor_second().to_string();
        let id = format!("sample-{}", now.nanos());
        let mut data = json!({
            "email_id": id,
            "from": "Acme <onboarding@example.com>",
            "to": [address.received()],
            "subject": "Sample",
            "created_at": at,
        });
        match wanted {
            EventKind::HardBounce => {
                data["bounce"] = json!({
                    "type": class,
                    "subType": sub_type,
                    "message": "A sample.",
                    "diagnosticCode": [code],
                });
            }
            EventKind::Unsubscribed => {
                data = json!({ "id": id, "email": address.received(), "unsubscribed": true });
            }
            EventKind::Listed | EventKind::Unlisted => {
                data = json!({ "id": id, "email": address.received(), "origin": "manual" });
            }
            EventKind::Clicked => {
                data["click"] = json!({ "link": "https://example.com/", "userAgent": "sample" });
            }
            _ => {}
        }
        let body = json!({ "type": name, "created_at": at, "data": data });
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

/// An event, before its recipients are told apart.
struct Notice<'a> {
    name: String,
    at: Time,
    context: &'a str,
    data: Data,
}

impl Notice<'_> {
    /// The one event about a contact or a suppression.
    fn of_address(&self, kind: EventKind, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let address = self.data.email.address("data.email")?;
        let mut event = self.event(kind, &[self.data.origin.as_deref()], address, stamp);
        event.message_id = self.data.source_id.clone();
        if kind != EventKind::Unsubscribed {
            // The id of the suppression is in the API's list too; that of the notification is not.
            event.identity = self.data.id.clone().or(event.identity);
        }
        if kind == EventKind::Listed {
            event.reason = match self.data.origin.as_deref() {
                Some("bounce") => Some(Reason::HardBounce),
                Some("complaint") => Some(Reason::Complaint),
                _ => None,
            };
        }
        Ok(vec![event])
    }

    /// The events about a message: one per recipient that it can be laid to.
    fn of_message(&self, kind: EventKind, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let recipients = &self.data.to;
        if recipients.is_empty() && kind == EventKind::Unknown {
            return Ok(Vec::new());
        }
        let mut recipients: Vec<Address> =
            recipients.iter().map(|text| wire::mailbox(text)).collect::<Result<_, _>>()?;
        // Named twice, it is still the only one.
        let mut known = HashSet::new();
        recipients.retain(|address| known.insert(address.key().to_owned()));
        if let [address] = recipients.as_slice() {
            let said = self.diagnostics().into_iter().next();
            return Ok(vec![self.laid_to(address, kind, said, stamp)]);
        }
        if recipients.is_empty() {
            return Err(Unreadable("recipient: there is none".to_owned()));
        }
        let codes = self.diagnostics();
        let named: Vec<Event> = recipients
            .iter()
            .filter_map(|address| {
                let code = codes.iter().find(|code| names(code, address))?;
                Some(self.laid_to(address, kind, Some(code.clone()), stamp))
            })
            .collect();
        if !named.is_empty() {
            return Ok(named);
        }
        let of_all = matches!(kind, EventKind::Accepted | EventKind::Failed);
        let unclear = |address: &Address| {
            let mut event = self.laid_to(address, kind, codes.first().cloned(), stamp);
            if !of_all {
                event.kind = EventKind::Unknown;
                event.identity = event.provider_event_id.clone();
                event.provider_kind.push_str(":ambiguous");
            }
            event
        };
        Ok(recipients.iter().map(unclear).collect())
    }

    /// What the servers said: one text per recipient that bounced.
    fn diagnostics(&self) -> Vec<String> {
        let bounce = self.data.bounce.as_ref();
        bounce.map_or_else(Vec::new, |bounce| bounce.diagnostic_code.to_vec())
    }

    /// The event about a message for one recipient, of whom the server said `code`.
    fn laid_to(
        &self,
        address: &Address,
        kind: EventKind,
        code: Option<String>,
        stamp: &Stamp<'_>,
    ) -> Event {
        let data = &self.data;
        let bounce = data.bounce.as_ref();
        let none = Bounce::default();
        let suppressed = data.suppressed.as_ref();
        let message = match kind {
            EventKind::Rejected => suppressed.and_then(|s| s.message.clone()),
            EventKind::Failed => data.failed.as_ref().and_then(|failed| failed.reason.clone()),
            _ => bounce.and_then(|bounce| bounce.message.clone()),
        };
        let is_quoted = code.is_some();
        let diagnostic = code.or(message);
        let text = diagnostic.as_deref().unwrap_or("");
        // "smtp; 550 5.1.1 …" (RFC 3464, section 2.3.6): the type stands before the words.
        let said = text.strip_prefix("smtp;").unwrap_or(text).trim_start();
        let smtp_code = wire::smtp_code(said);
        let enhanced_code = wire::enhanced_code(said);
        let (kind, details) = match (kind, bounce) {
            (EventKind::HardBounce, bounce) => {
                let bounce = bounce.unwrap_or(&none);
                let details = [bounce.class.as_deref(), bounce.sub_type.as_deref()];
                (bounce.kind(), details)
            }
            (kind, _) => (kind, [suppressed.and_then(|s| s.class.as_deref()), None]),
        };
        let failure = match kind {
            EventKind::SoftBounce | EventKind::Deferred => {
                let [class, sub_type] = details.map(Option::unwrap_or_default);
                let words = format!("{class}/{sub_type}");
                // Resend's own sentence about the type is no word of a server.
                let said = if is_quoted { said } else { "" }.to_owned();
                Some(Failure { said: Some(said), ..Failure::of([words.as_str(), class]) })
            }
            EventKind::Failed => Some(Failure::of(["failed"])),
            _ => None,
        };
        let click = data.click.as_ref();
        let event = self.event(kind, &details, address.clone(), stamp);
        let of_message = data.email_id.as_deref().filter(|_| ONCE.contains(&&*self.name));
        let identity = of_message.map(|id| format!("{} of {id}", self.name));
        Event {
            identity: identity.or_else(|| event.identity.clone()),
            failure,
            message_id: data.email_id.clone().or_else(|| data.message_id.as_deref().map(bare)),
            smtp_code,
            enhanced_code,
            diagnostic,
            tags: tags((*data.tags).as_ref()),
            url: click.and_then(|click| click.link.clone()),
            user_agent: click.and_then(|click| click.user_agent.clone()),
            ..event
        }
    }

    fn event(
        &self,
        kind: EventKind,
        details: &[Option<&str>],
        address: Address,
        stamp: &Stamp<'_>,
    ) -> Event {
        let words = [Some(self.name.as_str())].into_iter().chain(details.iter().copied());
        let provider_kind: Vec<&str> = words.flatten().collect();
        let id = Some(self.context.to_owned()).filter(|id| !id.is_empty());
        Event {
            provider_event_id: id.clone(),
            identity: id,
            ..stamp.event(Resend.name(), kind, provider_kind.join(":"), address, self.at)
        }
    }
}

impl Bounce {
    /// What a bounce is (resend.com/docs/dashboard/emails/email-bounces). That Resend had the
    /// address on its list is decided before any code. Old payloads have no type.
    fn kind(&self) -> EventKind {
        let sub_type = self.sub_type.as_deref().unwrap_or("");
        let message = self.message.as_deref().unwrap_or("");
        if SUPPRESSED.contains(&sub_type) || message.contains("suppression list") {
            return EventKind::Rejected;
        }
        EventKind::SoftBounce
    }
}

/// The tags of a message, `name=value` each; older payloads have a list of pairs.
fn tags(value: Option<&Value>) -> Vec<String> {
    let tag = |name: &str, value: &Value| {
        value.as_str().map_or_else(|| format!("{name}={value}"), |text| format!("{name}={text}"))
    };
    match value {
        Some(Value::Object(pairs)) => pairs.iter().map(|(name, value)| tag(name, value)).collect(),
        Some(Value::Array(pairs)) => {
            let pair = |pair: &Value| Some(tag(pair.get("name")?.as_str()?, pair.get("value")?));
            pairs.iter().filter_map(pair).collect()
        }
        _ => Vec::new(),
    }
}

/// A Message-ID without its angle brackets.
fn bare(id: &str) -> String {
    id.trim().trim_start_matches('<').trim_end_matches('>').to_owned()
}

/// Whether a text names an address as one of its words.
fn names(text: &str, address: &Address) -> bool {
    let ends = |c: char| c.is_whitespace() || "<>()[]{}:;,\"'".contains(c);
    let mut words = text.split(ends).map(|word| word.trim_end_matches('.'));
    words.any(|word| Address::parse(word).is_ok_and(|named| named.key() == address.key()))
}

#[cfg(test)]
mod tests {
    use super::super::signed::{Sent, read_one, settings};
    use super::*;

    /// Vectors made by another program: one body, signed with two secrets.
    const OLD: &str = "whsec_cmVzZW5kLWV4YW1wbGUtc2VjcmV0LWtleS0zMmJ5dGU=";
    const NEW: &str = "whsec_cmVzZW5kLXJvdGF0ZWQtc2VjcmV0LWtleS0zMmJ5dGU=";
    const BY_OLD: &str = "v1,P5pOjeBMvtb7fyanC35iELjUmZOju3vpRVIa+sYdidA=";
    const BY_NEW: &str = "v1,vIdx0tEyXQE3q5E6dgHVjWBwGAIpojO0MuCke8QiuYw=";
    /// By a sender that takes the secret's text as the key.
    const BY_TEXT: &str = "v1,r285/x/bk1fWMsgyQvUfFcrVrT5oahBjpc3IREr2ciA=";
    const BODY: &str = concat!(
        r#"{"type":"email.bounced","created_at":"2026-06-15T10:32:11.126Z","data":{"#,
        r#""email_id":"56761188-7520-42d8-8898-ff6fc54ce618","#,
        r#""from":"Acme <onboarding@example.com>","to":["nobody@example.com"],"subject":"Hi","#,
        r#""created_at":"2026-06-15T10:32:08.894Z","bounce":{"type":"Permanent","#,
        r#""subType":"General","message":"hard bounce","#,
        r#""diagnosticCode":["smtp; 550 5.1.1 user unknown"]}}}"#,
    );

    fn sent(signature: &str) -> Sent {
        let headers = [
            ("svix-id", "msg_2abcDEF0123456789abcdefghij"),
            ("svix-timestamp", "1781519532"),
            ("svix-signature", signature),
        ];
        Sent::new(1_781_519_532, &headers, BODY)
    }

    fn checks(secrets: &[&str]) -> Vec<Check> {
        Resend.checks(&settings(secrets)).unwrap()
    }

    #[test]
    fn the_known_signatures_hold_for_their_secrets() {
        sent(BY_OLD).refused_when_damaged(&checks(&[OLD]), "svix-signature");
        let both = format!("{BY_OLD} {BY_NEW}");
        for secrets in [&[OLD][..], &[NEW], &[NEW, OLD]] {
            assert_eq!(sent(&both).verify(&checks(secrets)), Ok(()));
        }
        assert_eq!(sent(BY_NEW).verify(&checks(&[OLD, NEW])), Ok(()));
        assert!(sent(BY_NEW).verify(&checks(&[OLD])).is_err(), "another's secret");
        assert!(sent(BY_TEXT).verify(&checks(&[OLD])).is_err(), "a key that is not decoded");
    }

    #[test]
    fn a_sender_that_does_not_decode_its_secret_is_understood_where_that_is_set() {
        let mut settings = settings(&[OLD]);
        settings.set("secret_decoding", super::super::Setting::Text("utf8".to_owned()));
        let checks = standard_webhooks::checks(&settings, &[SVIX]).unwrap();
        assert_eq!(sent(BY_TEXT).verify(&checks), Ok(()));
        assert!(sent(BY_OLD).verify(&checks).is_err());
    }

    #[test]
    fn an_event_is_recognised_by_its_message_or_notification_and_a_listing_by_its_own_id() {
        let identity = |body: &str| {
            let element = Element { context: "msg_1".to_owned(), body: body.into() };
            read_one(&Resend, &element, Time::parse("2026-06-15T12:00:00Z").unwrap()).identity
        };
        let of_message = "email.bounced of 56761188-7520-42d8-8898-ff6fc54ce618";
        assert_eq!(identity(BODY).as_deref(), Some(of_message));
        let late = BODY.replace("email.bounced", "email.delivery_delayed");
        assert_eq!(identity(&late).as_deref(), Some("msg_1"), "there may be another");
        let listed = r#"{"type":"suppression.added","created_at":"2026-06-15T10:32:11.126Z",
            "data":{"id":"e169aa45","email":"a@example.com","origin":"manual"}}"#;
        assert_eq!(identity(listed).as_deref(), Some("e169aa45"));
    }

    #[test]
    fn a_name_is_found_as_a_word_only() {
        let bob = Address::parse("bob@example.com").unwrap();
        for text in
            ["<Bob@Example.com>: no such user", "550 bob@example.com.", "to:bob@example.com"]
        {
            assert!(names(text, &bob), "{text}");
        }
        for text in ["<jimbob@example.com>", "bob@example.com.test", "bob", ""] {
            assert!(!names(text, &bob), "{text}");
        }
    }
}
