//! SMTP2GO: unsigned, so behind credentials; one event per request, as a form or as JSON. Its API
//! is asked by a JSON body, for events and for suppressions of a span of time.
//!
//! Sources: developers.smtp2go.com, "Webhooks" and the OpenAPI description of its API.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use url::Url;

use super::wire::{self, Fields, Id, Json, Text, Told, When};
use super::{
    Feed, Key, Notification, Page, PageError, PageRequest, Provider, Query, Rate, Sample,
    SettingError, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Origin, Reason, Time};

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

const POLL_KEYS: &[Key] =
    &[Key::secret("api_key"), Key::optional_text("region"), Key::optional_text("base_url")];

/// The API's hosts. The first one finds the account's region itself.
const REGIONS: &[(&str, &str)] = &[
    ("any", "https://api.smtp2go.com/v3"),
    ("us", "https://us-api.smtp2go.com/v3"),
    ("eu", "https://eu-api.smtp2go.com/v3"),
    ("au", "https://au-api.smtp2go.com/v3"),
];

const EVENTS: &str = "events";
const FEEDS: &[Feed] = &[Feed::events(EVENTS), Feed::suppressions("suppressions")];

/// Most rows of a page of events. Suppressions come in pages of the API's own length.
const PAGE_ROWS: u32 = 1_000;

/// "Search activity": so many requests a minute.
const RATE: Rate = Rate { requests: 60, per: Duration::from_secs(60) };

/// What the API calls the events that are asked for, and how a webhook names each: by its event
/// and, of a bounce, its type.
const POLLED: &[(&str, &str, Option<&str>)] = &[
    ("delivered", "delivered", None),
    ("soft-bounced", "bounce", Some("soft")),
    ("hard-bounced", "bounce", Some("hard")),
    ("rejected", "reject", None),
    ("spam", "spam", None),
    ("unsubscribed", "unsubscribe", None),
    ("resubscribed", "resubscribe", None),
];

/// Why an address is suppressed. Those that are not here tell nothing of the recipient.
const CAUSES: &[(&str, Reason)] = &[
    ("spam", Reason::Complaint),
    ("unsubscribe", Reason::Unsubscribe),
    ("bounce", Reason::HardBounce),
];

/// What a refused key is told by, since the status is 400 as for any other mistake.
const REFUSED_KEY: &[&str] = &["PERMISSION_DENIED", "API Key", "api_key"];

pub(super) struct Smtp2go;

#[derive(Deserialize)]
struct WirePage {
    data: PageData,
}

#[derive(Deserialize)]
struct PageData {
    #[serde(alias = "results")]
    events: Vec<Box<RawValue>>,
    continue_token: Option<String>,
}

/// A row of the search of events.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Row {
    event: Told,
    recipient: Told,
    date: When,
    email_id: Id,
    smtp_response: Text,
    reason: Text,
    error: Text,
    custom_headers: Json,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Suppression {
    email_address: Told,
    reason: Told,
    timestamp: When,
    block_description: Text,
    complaint: Text,
}

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

    fn feeds(&self) -> &[Feed] {
        FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        POLL_KEYS
    }

    fn rate(&self) -> Option<Rate> {
        Some(RATE)
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let base = query.region(REGIONS)?;
        let is_events = query.feed == EVENTS;
        let url =
            query.api(base, if is_events { "activity/search" } else { "suppression/view" })?;
        let mut body = json!({
            "start_date": query.window.since.floor_second().to_string(),
            "end_date": query.window.until.ceil_second().to_string(),
        });
        if is_events {
            let types: Vec<&str> = POLLED.iter().map(|(name, _, _)| *name).collect();
            body["event_types"] = types.into();
            body["limit"] = PAGE_ROWS.into();
        } else {
            body["sort"] = "asc".into();
        }
        if let Some(token) = query.next {
            body["continue_token"] = token.into();
        }
        let key = query.secret("api_key")?.clone();
        Ok(PageRequest::post_json(url, &body).header("x-smtp2go-api-key", key))
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        let WirePage { data } = wire::page(body, query.feed)?;
        Ok(Page::new(wire::rows(&data.events), wire::filled(data.continue_token)))
    }

    fn is_unauthorised(&self, status: u16, body: &[u8]) -> bool {
        let text = String::from_utf8_lossy(body);
        status == 400 && REFUSED_KEY.iter().any(|word| text.contains(word))
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        match (stamp.origin, stamp.feed) {
            (Origin::Poll, EVENTS) => return polled(element, stamp).map(|event| vec![event]),
            (Origin::Poll, _) => return suppression(element, stamp).map(|event| vec![event]),
            _ => {}
        }
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
        let at = wire::utc_time(time, stamp.received_at)?;
        let diagnostic = fields.get("message").or_else(|| fields.get("context"));
        let text = diagnostic.unwrap_or("");
        let (smtp_code, enhanced_code) = (wire::smtp_code(text), wire::enhanced_code(text));
        let bounce = fields.get("bounce").filter(|_| name == "bounce");
        let context = fields.get("context").unwrap_or("");
        let kind = kind(name, text, context);
        let words = [name].into_iter().chain(bounce);
        let provider_kind = words.collect::<Vec<&str>>().join(":");
        let message_id = fields.get("email_id").or_else(|| fields.get("message-id"));
        // The context of a bounce tells where it failed, and is no server's.
        let is_bounce = kind == EventKind::SoftBounce;
        let said = is_bounce.then(|| fields.text("message").unwrap_or_default());
        let failure = failure(kind, bounce).map(|failure| Failure { said, ..failure });
        let event = Event {
            failure,
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
            EventKind::Failed => ("reject", "", "The sender domain is not verified"),
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

/// An event of the API's: the same as a webhook's, under other names.
fn polled(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let row: Row = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not an event of SMTP2GO's: {error}")))?;
    let name = row.event.need("event")?;
    let address = row.recipient.address("recipient")?;
    let at = row.date.utc("date", stamp.received_at)?;
    let context = [row.reason.as_deref(), row.error.as_deref()];
    let context = context.map(Option::unwrap_or_default).join(" ");
    let mut texts = [row.smtp_response, row.reason, row.error].into_iter();
    let diagnostic = texts.find_map(wire::filled);
    let text = diagnostic.as_deref().unwrap_or("");
    let (smtp_code, enhanced_code) = (wire::smtp_code(text), wire::enhanced_code(text));
    let known = POLLED.iter().find(|(known, _, _)| *known == name);
    let (told, bounce) = known.map_or((name, None), |(_, told, b)| (*told, *b));
    let kind = kind(told, text, &context);
    Ok(Event {
        failure: failure(kind, bounce),
        message_id: row.email_id.as_deref().and_then(wire::bare_id),
        smtp_code,
        diagnostic,
        metadata: row.custom_headers.own_data(),
        enhanced_code,
        ..stamp.event(Smtp2go.name(), kind, name.to_owned(), address, at)
    })
}

fn suppression(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let row: Suppression = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a suppression of SMTP2GO's: {error}")))?;
    let address = wire::listed(row.email_address.need("email_address")?)?;
    let at = row.timestamp.some().map(|time| time.utc("timestamp", stamp.received_at));
    let at = at.transpose()?;
    let word = row.reason.need("reason")?.to_owned();
    let reason = CAUSES.iter().find(|(cause, _)| *cause == word).map(|(_, reason)| *reason);
    // An address can be on the list for several reasons.
    let given = row.timestamp.given().map(|given| format!("{word}:{given}"));
    Ok(Event {
        diagnostic: row.block_description.clone().or(row.complaint.clone()),
        provider_kind: word,
        ..stamp.listed(Smtp2go.name(), reason, address, given.as_deref().zip(at))
    })
}

/// What an event is. A `reject` may be for the sender's sake; then the address is on no list.
fn kind(name: &str, text: &str, context: &str) -> EventKind {
    if let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == name) {
        return *kind;
    }
    match name {
        "bounce" => EventKind::SoftBounce,
        "reject" => {
            let text = format!("{text} {context}").to_lowercase();
            let by_sender = BY_SENDER.iter().any(|word| text.contains(word));
            let listed = text.contains(LISTED);
            if by_sender && !listed { EventKind::Failed } else { EventKind::Rejected }
        }
        _ => EventKind::Unknown,
    }
}

/// What is known of a failure: of a bounce its type, which is sorted by what the server said.
fn failure(kind: EventKind, bounce: Option<&str>) -> Option<Failure> {
    match kind {
        EventKind::SoftBounce => Some(Failure::of(bounce)),
        EventKind::Failed => Some(Failure::of(["reject"])),
        _ => None,
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
