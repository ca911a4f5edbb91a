//! Mailtrap's Email Sending: events in a list, or one a line, signed over the body.
//!
//! Sources: docs.mailtrap.io/email-api-smtp/advanced/webhooks, and of the API "Email Logs" and
//! "Suppressions". The API lists messages by when they were sent; the events of each are asked for
//! one by one, and have no ids.

use std::time::Duration;

use http::HeaderName;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use url::Url;

use super::wire::{self, Id, Json, Misfit, Part, Text, Told, When};
use super::{
    Check, Feed, Key, Notification, Page, PageError, PageRequest, Provider, Query, Sample,
    SettingError, Settings, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Reason, Scope, Time};

/// The header that holds the signature.
const SIGNATURE: HeaderName = HeaderName::from_static("mailtrap-signature");

const WEBHOOK_KEYS: &[Key] = &[Key::optional_secret("secret")];

/// The API.
const API: &str = "https://mailtrap.io";

const POLL_KEYS: &[Key] = &[Key::secret("api_key"), Key::optional_text("base_url")];

/// A message is listed by when it was sent: what becomes of it later is found by reading again.
const FEEDS: &[Feed] = &[
    Feed::events("events").overlap(Duration::from_secs(72 * 3_600)),
    Feed::suppressions("suppressions"),
];

/// What a message must have met with to be asked about. A delivery would cost a request for each
/// message.
const ASKED: &[&str] = &["bounce", "soft_bounce", "spam", "unsubscribe", "reject", "suspension"];

/// What a row of events needs of its message.
const MESSAGE: &[&str] = &["message_id", "to", "sending_stream", "category", "custom_variables"];

/// Rows of a full page of suppressions, and the time between two: ten may be had in a minute.
const SUPPRESSIONS: usize = 1_000;
const SUPPRESSIONS_PAUSE: Duration = Duration::from_secs(6);

/// The types of suppressions. What is not here, such as `manual import`, is just listed.
const CAUSES: &[(&str, Reason)] = &[
    ("hard bounce", Reason::HardBounce),
    ("spam complaint", Reason::Complaint),
    ("unsubscription", Reason::Unsubscribe),
];

/// The event types ("Webhooks", "Event types"), in the spellings of webhooks and of the API.
const TYPES: &[(&str, EventKind)] = &[
    ("delivery", EventKind::Delivered),
    // Ten more attempts follow; they end in a delivery or a bounce.
    ("soft bounce", EventKind::Deferred),
    ("soft_bounce", EventKind::Deferred),
    ("bounce", EventKind::HardBounce),
    ("spam", EventKind::Complaint),
    ("spam_complaint", EventKind::Complaint),
    ("unsubscribe", EventKind::Unsubscribed),
    ("open", EventKind::Opened),
    ("click", EventKind::Clicked),
    ("suspension", EventKind::Failed),
    ("reject", EventKind::Rejected),
];

/// What a `reject` says if the recipient is on a suppression list. Mailtrap also refuses for the
/// sender's sake: then the address is on no list.
const LISTED: &str = "suppress";

/// The types to tick.
const EVENT_TYPES: &[&str] =
    &["delivery", "soft_bounce", "bounce", "spam_complaint", "unsubscribe", "suspension", "reject"];

pub(super) struct Mailtrap;

/// One event.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    event: Told,
    timestamp: When,
    email: Told,
    sending_stream: Text,
    message_id: Id,
    event_id: Id,
    response_code: Text,
    response: Text,
    bounce_category: Text,
    reason: Text,
    category: Text,
    custom_variables: Json,
    user_agent: Text,
    url: Text,
    /// Of a polled row.
    status: Text,
}

/// One event of a message, as the API has it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Row {
    event_type: Told,
    created_at: When,
    details: Part<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    email_service_provider_status: Text,
    email_service_provider_response: Text,
    bounce_category: Text,
    reject_reason: Text,
    spam_feedback_type: Text,
    click_url: Text,
}

/// The message that a row is of.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    message_id: Id,
    to: Told,
    sending_stream: Text,
    category: Text,
    custom_variables: Json,
}

/// One row of the suppression list.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Suppression {
    #[serde(rename = "type")]
    cause: Text,
    email: Told,
    created_at: When,
    sending_stream: Text,
    message_esp_response: Text,
}

#[derive(Deserialize)]
struct MessageId {
    message_id: String,
}

#[derive(Deserialize)]
struct SuppressionId {
    id: String,
}

#[derive(Deserialize)]
struct Following {
    next_page_cursor: Option<String>,
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
            Some(lines) => wire::elements(notification.body, lines),
            None => wire::split_under("events", notification.body),
        }
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let wire = match stamp.feed {
            "suppressions" => return suppression(element, stamp).map(|event| vec![event]),
            "events" => polled(element)?,
            _ => wire::object(&element.body).map_err(not_an_event)?,
        };
        let name = wire.event.need("event")?;
        let known = TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        if known.is_none() && wire.email.is_absent() {
            return Ok(Vec::new());
        }
        let address = wire.email.address("email")?;
        let at = wire.timestamp.at("timestamp", stamp.received_at)?;
        let diagnostic = wire.response.clone().or_else(|| wire.reason.clone());
        let text = diagnostic.as_deref().unwrap_or("");
        let code = wire.response_code.as_deref().or(wire.status.as_ref().map(|_| text));
        let smtp_code = code.and_then(wire::smtp_code);
        let status = wire.status.as_deref().and_then(wire::enhanced_code);
        let enhanced_code = status.or_else(|| wire::enhanced_code(text));
        let kind = match known.unwrap_or(EventKind::Unknown) {
            EventKind::Rejected if !text.to_lowercase().contains(LISTED) => EventKind::Blocked,
            kind => kind,
        };
        let failure = wire.failure(kind, name);
        let provider_kind = match wire.bounce_category.as_deref() {
            Some(category) => format!("{name}:{category}"),
            None => name.to_owned(),
        };
        let event = Event {
            failure,
            scope: match kind {
                // It ends one stream of a domain: the other goes on.
                EventKind::Unsubscribed => scope(wire.sending_stream.as_deref()),
                _ => Scope::Global,
            },
            message_id: wire.message_id.into(),
            smtp_code,
            enhanced_code,
            diagnostic,
            tags: wire.category.clone().into_iter().collect(),
            metadata: wire.custom_variables.own_data(),
            url: wire.url.into(),
            user_agent: wire.user_agent.into(),
            // No identity: the API tells the same event without this id.
            provider_event_id: wire.event_id.into(),
            ..stamp.event(self.name(), kind, provider_kind, address, at)
        };
        Ok(vec![event])
    }

    fn feeds(&self) -> &[Feed] {
        FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        POLL_KEYS
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let url = match (query.feed, query.next.and_then(|next| next.split_once(' '))) {
            ("suppressions", _) => suppressions_url(query)?,
            (_, Some(("message", id))) => query.api(API, &format!("api/email_logs/{id}"))?,
            (_, after) => logs_url(query, after.map(|(_, id)| id))?,
        };
        Ok(PageRequest::get(url).bearer(query.secret("api_key")?))
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        match (query.feed, query.next) {
            ("suppressions", _) => suppressions_page(body),
            (_, Some(next)) if next.starts_with("message ") => message_page(body),
            _ => logs_page(body),
        }
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let wanted = match kind {
            EventKind::Blocked | EventKind::SoftBounce => EventKind::HardBounce,
            kind => kind,
        };
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
            EventKind::HardBounce => {
                Some((550, "bounced (550 5.1.1 No such user)", "badrecipient"))
            }
            EventKind::Blocked => Some((550, "bounced (550 5.7.1 Refused)", "spam")),
            EventKind::SoftBounce => Some((552, "bounced (552 5.2.2 Full)", "overquota")),
            EventKind::Deferred => Some((450, "soft bounce (450 4.2.0 Later)", "transientfail")),
            _ => None,
        };
        if let Some((code, response, category)) = bounce {
            event["response_code"] = code.into();
            event["response"] = response.into();
            event["bounce_category"] = category.into();
        }
        if kind == EventKind::Rejected {
            event["reason"] = "The recipient is on the suppression list".into();
        }
        let body = json!({ "events": [event] });
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

impl Wire {
    /// What Mailtrap calls a failure: the category of a bounce, or the event itself.
    fn failure(&self, kind: EventKind, name: &str) -> Option<Failure> {
        match kind {
            EventKind::HardBounce | EventKind::Deferred => {
                Some(Failure::of(self.bounce_category.as_deref()))
            }
            EventKind::Blocked | EventKind::Failed => Some(Failure::of([name])),
            _ => None,
        }
    }
}

fn not_an_event(error: Misfit) -> Unreadable {
    Unreadable(format!("not an event of Mailtrap's: {error}"))
}

/// A polled row in the form of a webhook's event.
fn polled(element: &Element) -> Result<Wire, Unreadable> {
    let row: Row = wire::object(&element.body).map_err(not_an_event)?;
    let message: Message = wire::object(element.context.as_bytes()).map_err(not_an_event)?;
    let details = row.details.into_inner().unwrap_or_default();
    Ok(Wire {
        event: row.event_type,
        timestamp: row.created_at,
        email: message.to,
        sending_stream: message.sending_stream,
        message_id: message.message_id,
        response: details.email_service_provider_response,
        bounce_category: details.bounce_category,
        reason: if details.reject_reason.is_some() {
            details.reject_reason
        } else {
            details.spam_feedback_type
        },
        category: message.category,
        custom_variables: message.custom_variables,
        url: details.click_url,
        status: Some(details.email_service_provider_status.clone().unwrap_or_default()).into(),
        ..Wire::default()
    })
}

/// A row of the suppression list.
fn suppression(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let row: Suppression = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a suppression of Mailtrap's: {error}")))?;
    let address = row.email.address("email")?;
    let at = row.created_at.some().map(|time| time.utc("created_at", stamp.received_at));
    let at = at.transpose()?;
    let word = row.cause.clone().unwrap_or_default();
    let cause = CAUSES.iter().find(|(name, _)| *name == word).map(|(_, reason)| *reason);
    let stream = row.sending_stream.as_deref();
    let text = row.message_esp_response.as_deref().unwrap_or("");
    Ok(Event {
        scope: match cause {
            // A dead address is dead for both streams, and a complaint counts for both.
            Some(Reason::HardBounce | Reason::Complaint) => Scope::Global,
            _ => scope(stream),
        },
        reason: cause,
        undated: at.is_none(),
        smtp_code: wire::smtp_code(text),
        enhanced_code: wire::enhanced_code(text),
        identity: Some(format!("suppressions:{}", row.created_at.given().unwrap_or(""))),
        diagnostic: row.message_esp_response.clone(),
        ..stamp.event(
            Mailtrap.name(),
            EventKind::Listed,
            word,
            address,
            at.unwrap_or(stamp.received_at),
        )
    })
}

/// A list of messages. Unknown filters are ignored without a word, so these are as documented.
fn logs_url(query: &Query<'_>, after: Option<&str>) -> Result<Url, SettingError> {
    let mut url = query.api(API, "api/email_logs")?;
    let mut pairs = url.query_pairs_mut();
    pairs.append_pair("filters[sent_after]", &query.window.since.floor_second().to_string());
    let until = Time::from_seconds(wire::ceil_second(query.window.until));
    pairs.append_pair("filters[sent_before]", &until.to_string());
    pairs.append_pair("filters[events][operator]", "include_event");
    pairs.extend_pairs(ASKED.iter().map(|kind| ("filters[events][value][]", kind)));
    if let Some(id) = after {
        pairs.append_pair("search_after", id);
    }
    drop(pairs);
    Ok(url)
}

fn suppressions_url(query: &Query<'_>) -> Result<Url, SettingError> {
    let mut url = query.api(API, "api/suppressions")?;
    let until = Time::from_seconds(wire::ceil_second(query.window.until));
    url.query_pairs_mut()
        .append_pair("start_time", &query.window.since.floor_second().to_string())
        .append_pair("end_time", &until.to_string());
    if let Some(id) = query.next {
        url.query_pairs_mut().append_pair("last_id", id);
    }
    Ok(url)
}

/// Messages, each of which is asked about. One without an id is a row that nobody can read.
fn logs_page(body: &[u8]) -> Result<Page, PageError> {
    let (mut rows, mut details) = (Vec::new(), Vec::new());
    for row in wire::rows_under("messages", body)? {
        match wire::object(&row.body) {
            Ok(MessageId { message_id: id }) if is_id(&id) => details.push(format!("message {id}")),
            _ => rows.push(row),
        }
    }
    let Following { next_page_cursor: next } =
        wire::object(body).map_err(|error| PageError(format!("not a page of logs: {error}")))?;
    let next = wire::filled(next).map(|id| format!("after {id}"));
    Ok(Page { details, ..Page::new(rows, next) })
}

/// Whether it is an id, and not something that would lead elsewhere in a path.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The events of one message.
fn message_page(body: &[u8]) -> Result<Page, PageError> {
    let mut rows = wire::rows_under("events", body)?;
    let mut message: Map<String, Value> =
        wire::object(body).map_err(|error| PageError(format!("not a message: {error}")))?;
    message.retain(|key, _| MESSAGE.contains(&key.as_str()));
    let context = Value::Object(message).to_string();
    rows.iter_mut().for_each(|row| row.context.clone_from(&context));
    Ok(Page::new(rows, None))
}

fn suppressions_page(body: &[u8]) -> Result<Page, PageError> {
    let rows = wire::page_of_rows(body, "suppressions")?;
    let last = rows.last().filter(|_| rows.len() >= SUPPRESSIONS);
    let next = last.map(|row| wire::object(&row.body)).transpose();
    let next: Option<SuppressionId> =
        next.map_err(|_| PageError("the last row has no id".to_owned()))?;
    let wait = next.is_some().then_some(SUPPRESSIONS_PAUSE);
    Ok(Page { wait, ..Page::new(rows, next.map(|row| row.id)) })
}

/// The lines of a body with one event a line. `None` when it has another form: each line must
/// start as an object does, and the whole must be no JSON.
fn lines(body: &[u8]) -> Option<Vec<&[u8]>> {
    let body = wire::unmarked(body);
    let all = body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<&[u8]> = all.filter(|line| !line.is_empty()).collect();
    let fits = lines.len() > 1 && lines.iter().all(|line| line.starts_with(b"{"));
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
