//! SparkPost (Bird): an array of events, each wrapped as `{"msys":{"<class>":{…}}}`. Nothing is
//! signed. Its API has the same events bare, and the suppression list.
//!
//! Source: SparkPost, "Webhooks", "Events" and "Suppression List" of the API reference, and "Bounce
//! classification codes" of the support pages.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::Url;

use super::wire::{self, Id, Json, Misfit, Text, Texts, Told, When};
use super::{
    Feed, Key, Notification, Page, PageError, PageRequest, Provider, Query, Sample, SettingError,
    Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Reason, Scope, Time};
use crate::secret::Secret;

const NAME: &str = "sparkpost";

/// Classes that tell nothing of a recipient: mail relayed inwards, A/B tests, ingested batches.
const IGNORED_CLASSES: &[&str] = &["relay_event", "relay_message", "ab_test_event", "ingest_event"];

/// Types within other classes that tell nothing of a recipient.
const IGNORED_TYPES: &[&str] = &["sms_status", "relay_", "ab_test_"];

/// What an event means.
#[derive(Clone, Copy)]
enum Meaning {
    /// This, whatever the codes say.
    Is(EventKind),
    /// As `bounce_class` says.
    Bounce,
}

/// Source: API reference, "Events", "Event types".
const TYPES: &[(&str, Meaning)] = &[
    ("injection", Meaning::Is(EventKind::Accepted)),
    ("delivery", Meaning::Is(EventKind::Delivered)),
    ("delay", Meaning::Is(EventKind::Deferred)),
    ("bounce", Meaning::Bounce),
    ("out_of_band", Meaning::Bounce),
    ("policy_rejection", Meaning::Is(EventKind::Failed)),
    ("generation_rejection", Meaning::Is(EventKind::Failed)),
    ("generation_failure", Meaning::Is(EventKind::Failed)),
    ("spam_complaint", Meaning::Is(EventKind::Complaint)),
    ("open", Meaning::Is(EventKind::Opened)),
    ("initial_open", Meaning::Is(EventKind::Opened)),
    ("amp_open", Meaning::Is(EventKind::Opened)),
    ("amp_initial_open", Meaning::Is(EventKind::Opened)),
    ("click", Meaning::Is(EventKind::Clicked)),
    ("amp_click", Meaning::Is(EventKind::Clicked)),
    ("list_unsubscribe", Meaning::Is(EventKind::Unsubscribed)),
    ("link_unsubscribe", Meaning::Is(EventKind::Unsubscribed)),
];

/// The class of a mail that came back and asks to subscribe: it says nothing of what was sent.
const SUBSCRIBE: &str = "80";

/// Classes of what is no bounce, but a mail that came back: an auto-reply, a challenge; and one,
/// classed as hard, that asks to unsubscribe. All others are judged. Source: support pages, "Bounce
/// classification codes".
const BOUNCE_CLASSES: &[(&str, EventKind)] =
    &[("60", EventKind::Unknown), ("100", EventKind::Unknown), ("90", EventKind::Unsubscribed)];

/// Events in which SparkPost may say that it would not send, because of its own list.
const REFUSALS: &[&str] = &["bounce", "out_of_band", "policy_rejection", "generation_rejection"];

/// How it says that.
const SUPPRESSED: &[&str] =
    &["recipient address was suppressed", "due to customer policy", "due to system policy"];

/// Types of feedback reports (RFC 5965, RFC 6430, RFC 6591) that are no complaints.
const NO_COMPLAINTS: &[&str] = &["not-spam", "auth-failure"];

const REGIONS: &[(&str, &str)] =
    &[("us", "https://api.sparkpost.com/api/v1"), ("eu", "https://api.eu.sparkpost.com/api/v1")];

const MINUTE: Duration = Duration::from_secs(60);

/// How long events are kept.
const KEPT: Duration = Duration::from_secs(10 * 24 * 60 * MINUTE.as_secs());

/// How far a search of the suppression list can be behind.
const STALE: Duration = Duration::from_secs(20 * MINUTE.as_secs());

const SUPPRESSIONS: &str = "suppressions";

const FEEDS: &[Feed] =
    &[Feed::events("events").kept(KEPT), Feed::suppressions(SUPPRESSIONS).settle(STALE)];

const POLL_KEYS: &[Key] = &[
    Key::secret("api_key"),
    Key::optional_text("subaccount"),
    Key::optional_text("region"),
    Key::optional_text("base_url"),
];

/// Events of a page, each of some kilobytes; rows of a page of the list, which are short.
const EVENTS_MAX: &str = "1000";
const ROWS_MAX: &str = "10000";

/// Why an address is on the list; of other sources no more is known than that it is.
/// Source: API reference, "Suppression List".
const SOURCES: &[(&str, Reason)] = &[
    ("Spam Complaint", Reason::Complaint),
    ("List Unsubscribe", Reason::Unsubscribe),
    ("Unsubscribe Link", Reason::Unsubscribe),
    ("Bounce Rule", Reason::HardBounce),
];

pub(super) struct SparkPost;

#[derive(Deserialize)]
struct WirePage {
    results: Vec<Box<RawValue>>,
    /// `{"next": …}`, or a list of `{"rel": "next", "href": …}`.
    #[serde(default)]
    links: Value,
}

/// A row of the suppression list.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Row {
    recipient: Told,
    #[serde(rename = "type")]
    mail: Text,
    source: Text,
    description: Text,
    created: When,
    updated: When,
    list_id: Text,
}

#[derive(Deserialize)]
struct Envelope {
    msys: BTreeMap<String, Box<RawValue>>,
}

/// One event. SparkPost writes numbers as texts.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(rename = "type")]
    name: Told,
    rcpt_to: Told,
    raw_rcpt_to: Told,
    timestamp: When,
    event_id: Id,
    message_id: Id,
    bounce_class: Text,
    error_code: Text,
    raw_reason: Text,
    reason: Text,
    fbtype: Text,
    list_id: Text,
    target_link_url: Text,
    user_agent: Text,
    user_agent_parsed: Json,
    rcpt_tags: Texts,
    rcpt_meta: Json,
}

impl Provider for SparkPost {
    fn name(&self) -> &'static str {
        NAME
    }

    fn verification(&self) -> &'static str {
        "Basic credentials, or a header with a fixed value"
    }

    fn event_types(&self) -> &'static [&'static str] {
        &[
            "delivery",
            "delay",
            "bounce",
            "out_of_band",
            "policy_rejection",
            "generation_failure",
            "generation_rejection",
            "spam_complaint",
            "list_unsubscribe",
            "link_unsubscribe",
        ]
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn feeds(&self) -> &[Feed] {
        FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        POLL_KEYS
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let is_list = query.feed == SUPPRESSIONS;
        let path = if is_list { "suppression-list" } else { "events/message" };
        let mut url = query.api(query.region(REGIONS)?, path)?;
        if query.next.is_some() {
            url = query.next_url(&url)?;
        } else {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("from", &query.window.since.floor_second().to_string());
            pairs.append_pair("to", &query.window.until.ceil_second().to_string());
            if is_list {
                pairs.append_pair("sort", "asc").append_pair("per_page", ROWS_MAX);
            } else {
                pairs.append_pair("events", &self.event_types().join(","));
                pairs.append_pair("per_page", EVENTS_MAX);
            }
            pairs.append_pair("cursor", "initial");
        }
        let key = query.secret("api_key")?.clone();
        let request = PageRequest::get(url).header("authorization", key);
        Ok(match query.settings.text("subaccount") {
            Some(number) => request.header("x-msys-subaccount", Secret::new(number)),
            None => request,
        })
    }

    fn page(&self, _query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        let page: WirePage = wire::page(body, "results")?;
        let is_next = |link: &&Value| link["rel"] == "next";
        let listed = page.links.as_array().and_then(|links| links.iter().find(is_next));
        let next = listed.map_or(&page.links["next"], |link| &link["href"]).as_str();
        let next = next.filter(|next| !page.results.is_empty() && !next.is_empty());
        Ok(Page::new(wire::rows(&page.results), next.map(str::to_owned)))
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let unfit = |error: Misfit| Unreadable(format!("not an event of SparkPost: {error}"));
        match stamp.feed {
            "" => {}
            SUPPRESSIONS => return Ok(vec![listed(element, stamp)?]),
            _ => return wire::object::<Wire>(&element.body).map_err(unfit)?.events(stamp),
        }
        let envelope: Envelope = wire::object(&element.body).map_err(unfit)?;
        // It is empty when SparkPost only asks whether we are there.
        let mut events = Vec::new();
        for (class, value) in envelope.msys {
            if IGNORED_CLASSES.contains(&class.as_str()) {
                continue;
            }
            let wire: Wire = wire::object(value.get().as_bytes()).map_err(unfit)?;
            events.extend(wire.events(stamp)?);
        }
        Ok(events)
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (class, name, bounce_class, reason) = match kind {
            EventKind::Accepted => ("message_event", "injection", "", ""),
            EventKind::Delivered => ("message_event", "delivery", "", ""),
            EventKind::Deferred => ("message_event", "delay", "21", "451 4.3.0 Try later"),
            EventKind::SoftBounce => ("message_event", "bounce", "22", "452 4.2.2 Mailbox full"),
            EventKind::HardBounce => ("message_event", "bounce", "10", "550 5.1.1 User unknown"),
            EventKind::Blocked => ("message_event", "bounce", "50", "550 5.7.1 Refused by policy"),
            EventKind::Rejected => {
                let said = "554 5.7.1 recipient address was suppressed due to customer policy";
                ("gen_event", "generation_rejection", "25", said)
            }
            EventKind::Failed => ("gen_event", "generation_failure", "", "554 5.3.0 Failed"),
            EventKind::Complaint => ("message_event", "spam_complaint", "", ""),
            EventKind::Unsubscribed => ("unsubscribe_event", "link_unsubscribe", "", ""),
            EventKind::Opened => ("track_event", "open", "", ""),
            EventKind::Clicked => ("track_event", "click", "", ""),
            _ => return None,
        };
        let mut event = json!({
            "type": name,
            "event_id": now.nanos().to_string(),
            "message_id": format!("sample{:x}", now.nanos()),
            "rcpt_to": address.received().to_lowercase(),
            "raw_rcpt_to": address.received(),
            "timestamp": now.second().to_string(),
        });
        if !bounce_class.is_empty() {
            event["bounce_class"] = bounce_class.into();
        }
        if !reason.is_empty() {
            event["error_code"] = reason.get(..3).unwrap_or("").into();
            event["raw_reason"] = reason.into();
            event["reason"] = reason.into();
        }
        match kind {
            EventKind::Complaint => event["fbtype"] = "abuse".into(),
            EventKind::Clicked => event["target_link_url"] = "https://example.com/".into(),
            _ => {}
        }
        let body = json!([{ "msys": { class: event } }]).to_string().into_bytes();
        Some(Sample { content_type: "application/json", body })
    }
}

/// Whether a program opened a message before anybody looked at it.
fn is_prefetched(parsed: &Value) -> bool {
    parsed["is_prefetched"] == Value::Bool(true)
}

/// Reads a row of the suppression list. An address can be on it twice, for two types of mail, and
/// a row that is changed is a new one.
fn listed(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let row: Row = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a row of SparkPost's list: {error}")))?;
    let text = row.description.as_deref().unwrap_or("").trim();
    let smtp_code = wire::said_code(text);
    let enhanced_code = wire::enhanced_code(text);
    let source = row.source.as_deref().unwrap_or("");
    let reason = SOURCES.iter().find(|(known, _)| *known == source).map(|row| row.1);
    let failure = (reason == Some(Reason::HardBounce)).then(Failure::default);
    let mail = row.mail.as_deref().unwrap_or("");
    let time = row.updated.some().unwrap_or(&row.created);
    let at = time.some().map(|time| time.at("updated", stamp.received_at)).transpose()?;
    let given = time.given().map(|given| format!("{mail}:{given}"));
    let time = given.as_deref().zip(at);
    let address = row.recipient.address("recipient")?;
    let scope = match row.list_id.as_deref() {
        Some(list) => wire::stream(list)?,
        None => Scope::Global,
    };
    let words = [SUPPRESSIONS, mail, source].into_iter().filter(|word| !word.is_empty());
    Ok(Event {
        scope,
        failure,
        smtp_code,
        enhanced_code,
        diagnostic: wire::filled(text.to_owned()),
        provider_kind: words.collect::<Vec<&str>>().join(":"),
        ..stamp.listed(NAME, reason, address, time)
    })
}

impl Wire {
    /// The event, unless it tells nothing of a recipient.
    fn events(self, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let name = self.name.need("type")?;
        let is_bounce = matches!(name, "bounce" | "out_of_band");
        let asks = is_bounce && self.bounce_class.as_deref() == Some(SUBSCRIBE);
        if asks || IGNORED_TYPES.iter().any(|start| name.starts_with(start)) {
            return Ok(Vec::new());
        }
        Ok(vec![self.event(stamp)?])
    }

    fn event(self, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
        // `rcpt_to` is in lower case; an odd raw address must not cost the event.
        let raw = self.raw_rcpt_to.address("raw_rcpt_to").ok();
        let address = match raw {
            Some(address) => address,
            None => self.rcpt_to.address("rcpt_to")?,
        };
        let at = self.timestamp.at("timestamp", stamp.received_at)?;
        let text = self.said().map(str::to_owned);
        let said = text.as_deref().unwrap_or("");
        let error_code = self.error_code.as_deref().and_then(wire::smtp_code);
        let smtp_code = error_code.or_else(|| wire::said_code(said));
        let enhanced_code = wire::enhanced_code(said);
        let kind = self.kind();
        let failure = self.failure(kind);
        let list = self.list_id.as_deref();
        let scope = match list {
            Some(list) if kind == EventKind::Unsubscribed => wire::stream(list)?,
            _ => Scope::Global,
        };
        let provider_kind = self.provider_kind();
        let id: Option<String> = self.event_id.into();
        Ok(Event {
            scope,
            failure,
            message_id: self.message_id.as_deref().and_then(wire::bare_id),
            smtp_code,
            enhanced_code,
            diagnostic: text,
            tags: self.rcpt_tags.into(),
            url: self.target_link_url.into(),
            user_agent: self.user_agent.into(),
            provider_event_id: id.clone(),
            identity: id,
            machine: self.user_agent_parsed.as_ref().is_some_and(is_prefetched),
            metadata: self.rcpt_meta.own_data(),
            ..stamp.event(NAME, kind, provider_kind, address, at)
        })
    }

    /// The server's words: whole, or with addresses taken out.
    fn said(&self) -> Option<&str> {
        let texts = [self.raw_reason.as_deref(), self.reason.as_deref()];
        texts.into_iter().flatten().map(str::trim).find(|text| !text.is_empty())
    }

    /// The type, with what makes it special.
    fn provider_kind(&self) -> String {
        let name = self.name.text().unwrap_or("");
        let more = match name {
            "bounce" | "out_of_band" => self.bounce_class.as_deref(),
            "spam_complaint" => self.fbtype.as_deref(),
            _ => None,
        };
        let words = [Some(name), more];
        words.into_iter().flatten().collect::<Vec<&str>>().join(":")
    }

    /// What SparkPost calls a failure: the class of a bounce, or the type.
    fn failure(&self, kind: EventKind) -> Option<Failure> {
        match kind {
            EventKind::SoftBounce | EventKind::Deferred => {
                Some(Failure::of(self.bounce_class.as_deref()))
            }
            EventKind::Failed => Some(Failure::of(self.name.text())),
            _ => None,
        }
    }

    fn kind(&self) -> EventKind {
        let name = self.name.text().unwrap_or("");
        if REFUSALS.contains(&name) && self.is_suppressed() {
            return EventKind::Rejected;
        }
        let fbtype = self.fbtype.as_deref().unwrap_or("").to_ascii_lowercase();
        if name == "spam_complaint" && NO_COMPLAINTS.contains(&fbtype.as_str()) {
            return EventKind::Unknown;
        }
        match TYPES.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning) {
            Some(Meaning::Is(kind)) => kind,
            Some(Meaning::Bounce) => {
                let class = self.bounce_class.as_deref().unwrap_or("");
                let row = BOUNCE_CLASSES.iter().find(|(known, _)| *known == class);
                row.map_or(EventKind::SoftBounce, |(_, kind)| *kind)
            }
            None => EventKind::Unknown,
        }
    }

    /// Whether SparkPost would not send because the address is on its own list.
    fn is_suppressed(&self) -> bool {
        let texts = [&self.raw_reason, &self.reason].into_iter().filter_map(|text| text.as_deref());
        let mut texts = texts.map(str::to_lowercase);
        texts.any(|text| SUPPRESSED.iter().any(|known| text.contains(known)))
    }
}
