//! Brevo, once Sendinblue: transactional webhooks, one event or an array. Nothing is signed.
//!
//! Source: Brevo developers, "Transactional webhooks", "Batched webhooks" and "Secure webhook
//! calls"; of the API "Get all your transactional email activity" and "Get the list of blocked or
//! unsubscribed transactional contacts". Events have no id, and of a webhook's times only
//! `ts_epoch` is in UTC. The API knows days only.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::wire::{self, Id, Json, Part, Text, Texts, Told, When};
use super::{
    Feed, Key, Notification, Page, PageError, PageRequest, Provider, Query, Rate, Sample,
    SettingError, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Reason, Scope, Time};

/// The API.
const API: &str = "https://api.brevo.com/v3";

const POLL_KEYS: &[Key] = &[Key::secret("api_key"), Key::optional_text("base_url")];

/// A day of the API's.
const DAY: Duration = Duration::from_secs(86_400);

/// Days are those of the account's time zone, which may be so far behind UTC, or ahead of it.
const ZONE_BEHIND: Duration = Duration::from_secs(12 * 3_600);
const ZONE_AHEAD: Duration = Duration::from_secs(14 * 3_600);

/// Rows of a page: what the API gives unasked, and the most that it gives of blocked contacts.
const EVENT_ROWS: usize = 2_500;
const CONTACT_ROWS: usize = 100;

/// A query may span 90 days; two are left for those that the zone adds.
const FEEDS: &[Feed] = &[
    Feed::events("events").overlap(DAY.saturating_mul(2)).kept(DAY.saturating_mul(88)),
    Feed::suppressions("suppressions").overlap(DAY.saturating_mul(2)),
];

/// Source: "Transactional webhooks", and below these the names that the API has for them.
const EVENTS: &[(&str, EventKind)] = &[
    ("request", EventKind::Accepted),
    ("delivered", EventKind::Delivered),
    // Brevo still tries, even where the server said 550.
    ("deferred", EventKind::Deferred),
    // These are judged.
    ("soft_bounce", EventKind::SoftBounce),
    ("hard_bounce", EventKind::SoftBounce),
    ("invalid_email", EventKind::SoftBounce),
    // The recipient is on Brevo's own list, or the sender is.
    ("blocked", EventKind::Rejected),
    ("error", EventKind::Failed),
    ("spam", EventKind::Complaint),
    ("complaint", EventKind::Complaint),
    ("unsubscribe", EventKind::Unsubscribed),
    ("unsubscribed", EventKind::Unsubscribed),
    ("opened", EventKind::Opened),
    ("unique_opened", EventKind::Opened),
    ("proxy_open", EventKind::Opened),
    ("unique_proxy_open", EventKind::Opened),
    ("click", EventKind::Clicked),
    ("requests", EventKind::Accepted),
    // The first is hard or soft: it does not say which.
    ("bounces", EventKind::SoftBounce),
    ("softBounces", EventKind::SoftBounce),
    ("hardBounces", EventKind::SoftBounce),
    ("invalid", EventKind::SoftBounce),
    ("loadedByProxy", EventKind::Opened),
    ("clicks", EventKind::Clicked),
];

/// Why a contact is blocked (`reason.code`). What is not here, such as `adminBlocked`, is just
/// listed.
const CAUSES: &[(&str, Reason)] = &[
    ("hardBounce", Reason::HardBounce),
    ("contactFlaggedAsSpam", Reason::Complaint),
    ("unsubscribedViaEmail", Reason::Unsubscribe),
    ("unsubscribedViaMA", Reason::Unsubscribe),
    ("unsubscribedViaApi", Reason::Unsubscribe),
];

/// Opens by a mail program's proxy, such as Apple's, not by a person.
const MACHINES: &[&str] = &["proxy_open", "unique_proxy_open", "loadedByProxy"];

/// How the names of events begin that are about a contact or about mail to us, not a message.
const IGNORED: &[&str] = &["list_addition", "contact_updated", "contact_deleted", "inbound"];

pub(super) struct Brevo;

/// One event.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    event: Told,
    email: Told,
    ts_epoch: When,
    s_epoch: When,
    ts_event: When,
    ts: When,
    /// Of a polled row: with the zone's offset.
    date: When,
    #[serde(rename = "message-id")]
    message_id: Id,
    #[serde(rename = "messageId")]
    polled_id: Id,
    reason: Text,
    tags: Texts,
    tag: Texts,
    #[serde(rename = "X-Mailin-custom")]
    custom: Json,
    link: Text,
    user_agent: Text,
}

/// One blocked contact.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Contact {
    email: Told,
    sender_email: Text,
    reason: Part<Cause>,
    blocked_at: When,
}

/// Why it is blocked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    code: Text,
    message: Text,
}

/// How many contacts are blocked in all.
#[derive(Deserialize)]
struct Count {
    count: u64,
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
        if stamp.feed == "suppressions" {
            return contact(element, stamp).map(|event| vec![event]);
        }
        let wire: Wire = wire::object(&element.body)
            .map_err(|error| Unreadable(format!("not an event of Brevo: {error}")))?;
        let name = wire.event.need("event")?;
        if IGNORED.iter().any(|start| name.starts_with(start)) {
            return Ok(Vec::new());
        }
        let address = wire.email.address("email")?;
        let at = wire.time(stamp)?;
        let reason = wire.reason.as_deref().unwrap_or("").trim();
        let smtp_code = wire::said_code(reason);
        let enhanced_code = wire::enhanced_code(reason);
        let row = EVENTS.iter().find(|(known, _)| *known == name);
        let kind = match row.map_or(EventKind::Unknown, |(_, kind)| *kind) {
            EventKind::Rejected if !is_of_recipient(reason) => EventKind::Failed,
            kind => kind,
        };
        let is_failure = matches!(kind, EventKind::SoftBounce | EventKind::Failed)
            || kind == EventKind::Deferred;
        let message_id = wire.message_id.as_deref().or(wire.polled_id.as_deref());
        let message_id = message_id.and_then(wire::bare_id);
        // Two links can be followed within a second; all else is told apart without help.
        let link = wire.link.as_deref().filter(|_| kind == EventKind::Clicked);
        let id = message_id.as_deref().unwrap_or("");
        let identity = link.map(|link| format!("{id} {} {link}", at.second()));
        Ok(vec![Event {
            failure: is_failure.then(|| Failure::of([name])),
            smtp_code,
            enhanced_code,
            diagnostic: (!reason.is_empty()).then(|| reason.to_owned()),
            tags: wire.tags(),
            metadata: wire.metadata(),
            machine: MACHINES.contains(&name),
            message_id,
            identity,
            url: wire.link.clone(),
            user_agent: wire.user_agent.clone(),
            ..stamp.event(self.name(), kind, name.to_owned(), address, at)
        }])
    }

    fn feeds(&self) -> &[Feed] {
        FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        POLL_KEYS
    }

    /// Of every listing that Brevo names no limit of its own for.
    fn rate(&self) -> Option<Rate> {
        Some(Rate { requests: 100, per: Duration::from_secs(3_600) })
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let (path, rows) = match query.feed {
            "suppressions" => ("smtp/blockedContacts", CONTACT_ROWS),
            _ => ("smtp/statistics/events", EVENT_ROWS),
        };
        let mut url = query.api(API, path)?;
        let window = query.window;
        let last = window.until.plus(ZONE_AHEAD).min(query.now.max(window.until));
        url.query_pairs_mut()
            .append_pair("startDate", &wire::day(window.since.minus(ZONE_BEHIND)))
            .append_pair("endDate", &wire::day(last))
            .append_pair("limit", &rows.to_string())
            .append_pair("offset", query.next.unwrap_or("0"))
            .append_pair("sort", "asc");
        let key = query.secret("api_key")?;
        Ok(PageRequest::get(url).header("api-key", key.clone()))
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        let offset = query.offset().map_err(|error| PageError(error.to_string()))?;
        let is_events = query.feed == "events";
        let rows = match wire::rows_under(if is_events { "events" } else { "contacts" }, body) {
            // So it says that there are none.
            Err(_) if is_empty_object(body) => Vec::new(),
            rows => rows?,
        };
        let end = offset + rows.len() as u64;
        let more = match wire::object(body) {
            Ok(Count { count }) if !is_events => end < count && !rows.is_empty(),
            _ => rows.len() >= if is_events { EVENT_ROWS } else { CONTACT_ROWS },
        };
        Ok(Page::counted(rows, offset, more, |from| from.to_string()))
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
    /// are in the account's time zone: off by hours, but the same over retries. A polled row has
    /// a date.
    fn time(&self, stamp: &Stamp<'_>) -> Result<Time, Unreadable> {
        if stamp.feed == "events" {
            return self.date.at("date", stamp.received_at);
        }
        let times = [
            ("ts_epoch", &self.ts_epoch),
            ("s_epoch", &self.s_epoch),
            ("ts_event", &self.ts_event),
            ("ts", &self.ts),
        ];
        let told = times.into_iter().find(|(_, time)| !time.is_absent());
        let (name, time) = told.unwrap_or(times[0]);
        time.at(name, stamp.received_at)
    }

    /// `tags`, or `tag`: a text, a list, or a list written as JSON into a text.
    fn tags(&self) -> Vec<String> {
        match self.tag.as_slice() {
            _ if !self.tags.is_empty() => self.tags.clone(),
            [text] => wire::parse(text).unwrap_or_else(|_| self.tag.clone()),
            _ => self.tag.clone(),
        }
    }

    /// The value of the sender's header, which may be JSON itself.
    fn metadata(&self) -> Option<String> {
        let text = match &*self.custom {
            Some(Value::String(text)) => text.trim(),
            _ => return self.custom.own_data(),
        };
        let inner = Json::of(text).clone().filter(Value::is_object);
        let value = inner.unwrap_or_else(|| Value::String(text.to_owned()));
        (!text.is_empty()).then(|| value.to_string())
    }
}

/// Whether a message was blocked since its recipient is on the list, and not its sender: "due to
/// blacklist user".
fn is_of_recipient(reason: &str) -> bool {
    let reason = reason.to_lowercase();
    let names = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    names(&["user", "contact", "recipient"]) && !names(&["sender"])
}

/// A contact that Brevo sends nothing to.
fn contact(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let row: Contact = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a blocked contact of Brevo: {error}")))?;
    let address = row.email.address("email")?;
    let at = row.blocked_at.some().map(|time| time.utc("blockedAt", stamp.received_at));
    let undated = at.is_none();
    let at = at.transpose()?.unwrap_or(stamp.received_at);
    let Cause { code, message } = row.reason.into_inner().unwrap_or_default();
    let code = code.clone().unwrap_or_default();
    let reason = CAUSES.iter().find(|(known, _)| *known == code).map(|(_, reason)| *reason);
    let sender = wire::filled(row.sender_email);
    let scope = match (reason, sender) {
        // A dead address is dead for all, and a complaint counts for all.
        (Some(Reason::HardBounce | Reason::Complaint), _) | (_, None) => Scope::Global,
        (_, Some(sender)) => wire::stream(&sender)?,
    };
    let listed = row.blocked_at.given().unwrap_or("");
    Ok(Event {
        scope,
        reason,
        undated,
        identity: Some(format!("suppressions:{listed}")),
        diagnostic: wire::filled(message),
        ..stamp.event(Brevo.name(), EventKind::Listed, code, address, at)
    })
}

fn is_empty_object(body: &[u8]) -> bool {
    wire::object::<Map<String, Value>>(body).is_ok_and(|members| members.is_empty())
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
