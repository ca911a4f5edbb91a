//! The generic provider: plain JSON, an HMAC of the body in a header, a feed with `since`/`next`,
//! and, where there is one, a list of suppressions that is read in whole.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::verify::header_name;
use super::wire::{self, Id, Misfit, Text, Told, When};
use super::{
    Check, Feed, Key, Notification, Page, PageError, PageRequest, Provider, Query, Sample,
    SettingError, Settings, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Reason, Scope, Time};

/// The header that holds the signature unless the source names another.
const SIGNATURE_HEADER: &str = "X-Webhook-Signature";

/// Rows asked for per page.
const PAGE_ROWS: &str = "500";

const WEBHOOK_KEYS: &[Key] = &[Key::optional_secret("secret"), Key::optional_text("header")];
const FEEDS: &[Feed] = &[
    Feed::events("events").settle(Duration::ZERO).unbounded(),
    Feed::suppressions(LIST).settle(Duration::ZERO).whole(),
];
const POLL_KEYS: &[Key] =
    &[Key::optional_text("url"), Key::optional_secret("bearer"), Key::optional_text(LIST_URL)];

/// The feed of what the other side itself suppresses, and the setting that says where it is.
const LIST: &str = "suppressions";
const LIST_URL: &str = "list_url";

/// What the format calls each kind, after folding case, `-` and spaces.
const KINDS: &[(&str, EventKind)] = &[
    ("accepted", EventKind::Accepted),
    ("delivered", EventKind::Delivered),
    ("delivery", EventKind::Delivered),
    ("deferred", EventKind::Deferred),
    ("delayed", EventKind::Deferred),
    ("soft_fail", EventKind::Deferred),
    ("soft_bounce", EventKind::SoftBounce),
    ("soft_bounced", EventKind::SoftBounce),
    ("hard_bounce", EventKind::HardBounce),
    ("hard_bounced", EventKind::HardBounce),
    ("bounce", EventKind::HardBounce),
    ("bounced", EventKind::HardBounce),
    ("blocked", EventKind::Blocked),
    ("policy", EventKind::Blocked),
    ("spam_complaint", EventKind::Complaint),
    ("complaint", EventKind::Complaint),
    ("complained", EventKind::Complaint),
    ("spam", EventKind::Complaint),
    ("abuse", EventKind::Complaint),
    ("fbl", EventKind::Complaint),
    ("unsubscribed", EventKind::Unsubscribed),
    ("unsubscribe", EventKind::Unsubscribed),
    ("resubscribed", EventKind::Resubscribed),
    ("resubscribe", EventKind::Resubscribed),
    ("dropped", EventKind::Rejected),
    ("rejected", EventKind::Rejected),
    ("suppressed", EventKind::Rejected),
    ("failed", EventKind::Failed),
    ("opened", EventKind::Opened),
    ("open", EventKind::Opened),
    ("clicked", EventKind::Clicked),
    ("click", EventKind::Clicked),
];

pub(super) struct Generic;

/// One event in the wire form of the format.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wire {
    event: Told,
    timestamp: When,
    recipient: Told,
    message_id: Id,
    event_id: Id,
    reason: Text,
    smtp_code: Text,
    url: Text,
    user_agent: Text,
    /// `global` or `stream:NAME`, as our own pages have it.
    scope: Text,
    /// When what it says ends by itself, if it does.
    until: When,
}

/// One suppression in the wire form of the list.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WireListed {
    address: Told,
    recipient: Told,
    reason: Text,
    since: When,
    /// When it ends by itself, if it does.
    until: When,
    /// `global` or `stream:NAME`, as our own pages have it.
    scope: Text,
}

#[derive(Deserialize)]
struct WirePage {
    events: Vec<Box<RawValue>>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct WireList {
    suppressions: Vec<Box<RawValue>>,
    next: Option<String>,
}

impl Provider for Generic {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn verification(&self) -> &'static str {
        "HMAC-SHA256 of the body, hex, in a header"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        let header = settings.text("header").unwrap_or(SIGNATURE_HEADER);
        let header = header_name(settings, "header", header)?;
        let secrets = settings.secrets("secret").to_vec();
        if secrets.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Check::hmac_of_body(header, "sha256=", secrets)])
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let bad = |error: Misfit| Unreadable(format!("not an event of this format: {error}"));
        if stamp.feed == LIST {
            let wire: WireListed = wire::object(&element.body).map_err(bad)?;
            return Ok(vec![wire.event(self.name(), stamp)?]);
        }
        let wire: Wire = wire::object(&element.body).map_err(bad)?;
        Ok(vec![wire.event(self.name(), stamp)?])
    }

    fn feeds(&self) -> &[Feed] {
        FEEDS
    }

    fn has_feed(&self, feed: &str, settings: &Settings) -> bool {
        // One of the two must be there; without either, `url` is what is missing.
        let has_list = settings.text(LIST_URL).is_some();
        if feed == LIST { has_list } else { !has_list || settings.text("url").is_some() }
    }

    fn poll_keys(&self) -> &'static [Key] {
        POLL_KEYS
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let key = if query.feed == LIST { LIST_URL } else { "url" };
        if query.settings.text(key).is_none() {
            return Err(query.settings.problem(key, "is missing", "write url, list_url, or both"));
        }
        let base = query.url(key, None)?;
        let url = match query.next {
            Some(_) => query.next_url(&base)?,
            None if query.feed == LIST => base,
            None => {
                let mut url = base;
                url.query_pairs_mut()
                    .append_pair("since", &query.window.since.floor_second().to_string())
                    .append_pair("limit", PAGE_ROWS);
                url
            }
        };
        let request = PageRequest::get(url);
        Ok(match query.settings.secrets("bearer").first() {
            Some(token) => request.bearer(token),
            None => request,
        })
    }

    fn page(&self, query: &Query<'_>, url: &Url, body: &[u8]) -> Result<Page, PageError> {
        let bad = |error: Misfit| PageError(format!("not a page of {}: {error}", query.feed));
        let (rows, next) = if query.feed == LIST {
            let WireList { suppressions, next } = wire::object(body).map_err(bad)?;
            (suppressions, next)
        } else {
            let WirePage { events, next } = wire::object(body).map_err(bad)?;
            (events, next)
        };
        let rows = wire::taken(rows);
        let next = match next.as_deref() {
            None | Some("") => None,
            Some(next) => {
                let bad = |_| PageError("`next` is not a URL".to_owned());
                Some(url.join(next).map_err(bad)?.into())
            }
        };
        Ok(Page::new(rows, next))
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (name, _) = KINDS.iter().find(|(_, known)| *known == kind)?;
        let mut body = serde_json::json!({
            "event": name,
            "timestamp": now.floor_second().to_string(),
            "message_id": format!("msg_sample_{}", now.nanos()),
            "recipient": address.received(),
        });
        if let Some((code, text)) = sample_reply(kind) {
            body["smtp_code"] = code.into();
            body["reason"] = text.into();
        }
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

/// What a server says in a sample of a failure: the code, and the whole reply.
pub(super) fn sample_reply(kind: EventKind) -> Option<(u16, &'static str)> {
    match kind {
        EventKind::HardBounce => Some((550, "550 5.1.1 The mailbox does not exist")),
        EventKind::SoftBounce => Some((452, "452 4.2.2 The mailbox is full")),
        EventKind::Blocked => Some((550, "550 5.7.1 Refused by policy")),
        EventKind::Deferred => Some((451, "451 4.7.1 Greylisted, try again later")),
        _ => None,
    }
}

impl Wire {
    /// Whether it says whom it is about.
    pub(super) fn has_recipient(&self) -> bool {
        !self.recipient.is_absent()
    }

    /// What it says to have happened.
    pub(super) fn kind(&self) -> &Told {
        &self.event
    }

    /// Puts in what was told around it: what happened, and when, unless it says that itself.
    pub(super) fn complete(&mut self, event: &str, timestamp: When) {
        self.event = event.into();
        if self.timestamp.is_absent() {
            self.timestamp = timestamp;
        }
    }

    /// The event, as told by a provider of this form.
    ///
    /// # Errors
    /// When its recipient or its time cannot be read.
    pub(super) fn event(
        self,
        provider: &'static str,
        stamp: &Stamp<'_>,
    ) -> Result<Event, Unreadable> {
        let name = self.event.need("event")?;
        let diagnostic = wire::filled(self.reason);
        let said = diagnostic.as_deref().unwrap_or("");
        let smtp_code =
            self.smtp_code.as_deref().and_then(wire::smtp_code).or_else(|| wire::smtp_code(said));
        let event_id: Option<String> = self.event_id.into();
        let enhanced_code = wire::enhanced_code(said);
        let kind = kind(name);
        let address = self.recipient.address("recipient")?;
        let at = self.timestamp.at("timestamp", stamp.received_at)?;
        let scope = wire::filled(self.scope);
        let scope = scope.as_deref().map_or(Some(Scope::Global), Scope::parse);
        // Of a scope that is not ours, nothing may lift what covers all mail.
        if scope.is_none() && kind == EventKind::Resubscribed {
            return Err(Unreadable("scope: neither global nor stream:NAME".to_owned()));
        }
        let is_failure = matches!(
            kind,
            EventKind::HardBounce
                | EventKind::SoftBounce
                | EventKind::Blocked
                | EventKind::Deferred
                | EventKind::Failed
        );
        Ok(Event {
            failure: is_failure.then(|| Failure::of([kind.as_str()])),
            message_id: self.message_id.into(),
            smtp_code,
            enhanced_code,
            diagnostic,
            url: self.url.into(),
            user_agent: self.user_agent.into(),
            scope: scope.unwrap_or_default(),
            until: end(&self.until)?,
            provider_event_id: event_id.clone(),
            identity: event_id,
            ..stamp.event(provider, kind, name.to_owned(), address, at)
        })
    }
}

impl WireListed {
    /// A sight of it on the list. Reasons that rest on what we
    /// have not seen say no more than that.
    fn event(self, provider: &'static str, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
        let told = if self.address.is_absent() { self.recipient } else { self.address };
        let address = told.address("address")?;
        let since = self.since.some().map(|since| since.at("since", stamp.received_at));
        let since = since.transpose()?;
        let until = end(&self.until)?;
        let name = wire::filled(self.reason);
        let own = [Reason::SoftBounces, Reason::ProviderListed];
        let reason = name.as_deref().and_then(Reason::parse).filter(|reason| !own.contains(reason));
        let word = name.unwrap_or_else(|| LIST.to_owned());
        let scope = wire::filled(self.scope);
        let mut identity = since.map_or(LIST.to_owned(), |since| format!("{LIST}:{since}"));
        // One that ends at another time than was told before is news.
        identity.extend(until.map(|until| format!(":{until}")));
        let at = since.unwrap_or(stamp.received_at);
        Ok(Event {
            reason,
            until,
            scope: scope.as_deref().and_then(Scope::parse).unwrap_or_default(),
            identity: Some(identity),
            undated: since.is_none(),
            ..stamp.event(provider, EventKind::Listed, word, address, at)
        })
    }
}

/// When something ends by itself. That lies in the future, where an event's own time would not be
/// believed.
fn end(until: &When) -> Result<Option<Time>, Unreadable> {
    let read = |until: &When| until.read("until", |text| wire::time(text, Time::END));
    until.some().map(read).transpose()
}

/// The kind of that name.
pub(super) fn kind(name: &str) -> EventKind {
    let folded = name.trim().to_ascii_lowercase().replace(['-', ' '], "_");
    let known = KINDS.iter().find(|(known, _)| *known == folded);
    known.map_or(EventKind::Unknown, |(_, kind)| *kind)
}
