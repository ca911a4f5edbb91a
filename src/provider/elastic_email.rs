//! Elastic Email: unsigned, so behind credentials; one event per request, by GET in the query of
//! the URL, or, by its newer webhooks, as a JSON object. Its API lists events by time, and the
//! addresses of three lists in whole.
//!
//! Sources: help.elasticemail.com, 4804685 and 2376855, "HTTP Web Notification"; the API's
//! OpenAPI description (version 4), "Events" and "Suppressions".

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::wire::{self, Fields, Id, Text, Told, When};
use super::{
    Feed, Key, Notification, Page, PageError, PageRequest, Provider, Query, Sample, SettingError,
    Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Origin, Reason, Time};

/// What to tick: opens and clicks say nothing of whether an address may be mailed.
const EVENT_TYPES: &[&str] = &["Sent", "Unsubscribed", "Complaints", "Bounce / Error"];

/// Statuses whose kind needs no second look.
const STATUSES: &[(&str, EventKind)] = &[
    ("Sent", EventKind::Delivered),
    ("Opened", EventKind::Opened),
    ("Clicked", EventKind::Clicked),
    ("Unsubscribed", EventKind::Unsubscribed),
    ("AbuseReport", EventKind::Complaint),
];

/// The status of every failure.
const ERROR: &str = "Error";

/// The categories of `Error` (help.elasticemail.com, 2376855, `category`; v4 API,
/// `MessageCategory`) that are no failures of delivery: it was not sent, for what is on the
/// account's list, or it failed at the service. `NotDelivered` is none of them: the service says
/// it of an address on a list, and of a message of which nothing came within two days, so it is
/// counted; its lists, which a poll reads, tell for good. Those that are to be judged are so by
/// their names alone: webhooks do not tell what a server said, and an event must be the same by
/// either way.
const CATEGORIES: &[(&str, EventKind)] = &[
    ("NoMailbox", EventKind::SoftBounce),
    ("AccountProblem", EventKind::SoftBounce),
    ("DNSProblem", EventKind::SoftBounce),
    ("Spam", EventKind::SoftBounce),
    ("BlackListed", EventKind::SoftBounce),
    ("SPFProblem", EventKind::SoftBounce),
    ("WhitelistingProblem", EventKind::SoftBounce),
    ("ContentFilter", EventKind::SoftBounce),
    ("GreyListed", EventKind::SoftBounce),
    ("Throttled", EventKind::SoftBounce),
    ("Timeout", EventKind::SoftBounce),
    ("ConnectionProblem", EventKind::SoftBounce),
    ("ConnectionTerminated", EventKind::SoftBounce),
    ("NotDelivered", EventKind::SoftBounce),
    ("Ignore", EventKind::Rejected),
    ("NotDeliveredCancelled", EventKind::Failed),
    ("ManualCancel", EventKind::Failed),
    ("CodeError", EventKind::Failed),
    ("Unknown", EventKind::Failed),
];

const API: &str = "https://api.elasticemail.com/v4";

const POLL_KEYS: &[Key] = &[Key::secret("api_key"), Key::optional_text("base_url")];

const EVENTS: &str = "events";
const FEEDS: &[Feed] = &[
    Feed::events(EVENTS),
    Feed::suppressions("bounces").whole(),
    Feed::suppressions("complaints").whole(),
    Feed::suppressions("unsubscribes").whole(),
];

/// Why an address is on a list.
const LISTS: &[(&str, Reason)] = &[
    ("bounces", Reason::HardBounce),
    ("complaints", Reason::Complaint),
    ("unsubscribes", Reason::Unsubscribe),
];

/// Most rows of a page.
const PAGE_ROWS: u64 = 1_000;

const SECOND: Duration = Duration::from_secs(1);

/// The types of events that are asked for, and the status that a webhook has for each.
const POLLED: &[(&str, &str)] = &[
    ("Sent", "Sent"),
    ("Bounce", ERROR),
    ("Complaint", "AbuseReport"),
    ("Unsubscribe", "Unsubscribed"),
    ("FailedAttempt", ""),
];

/// The type of an attempt after which there will be another.
const ATTEMPT: &str = "FailedAttempt";

pub(super) struct ElasticEmail;

/// An event of the API's.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Row {
    event_type: Told,
    to: Told,
    event_date: When,
    #[serde(rename = "MsgID")]
    message: Id,
    #[serde(rename = "TransactionID")]
    transaction: Id,
    channel_name: Text,
    message_category: Text,
    #[serde(rename = "Message")]
    said: Text,
}

/// What a row is for paging.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Place {
    event_date: When,
}

/// A row of a list.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    email: Told,
    error_code: Text,
    friendly_error_message: Text,
    date_updated: When,
}

impl Provider for ElasticEmail {
    fn name(&self) -> &'static str {
        "elastic-email"
    }

    fn times_differ(&self) -> bool {
        true
    }

    fn verification(&self) -> &'static str {
        "no signature: Basic, bearer or a fixed header"
    }

    fn by_query(&self) -> bool {
        true
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        let Notification { query, body, .. } = notification;
        if body.is_empty() {
            return vec![wire::element(query.as_bytes())];
        }
        wire::split_json(body)
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

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let limit = PAGE_ROWS.to_string();
        let url = if query.feed == EVENTS {
            let mut url = query.api(API, "events")?;
            let (from, offset) = place(query)?;
            url.query_pairs_mut()
                .extend_pairs(POLLED.iter().map(|(name, _)| ("eventTypes", *name)))
                .append_pair("from", &zoneless(from))
                .append_pair("to", &zoneless(query.window.until.ceil_second()))
                .append_pair("orderBy", "DateAscending")
                .append_pair("limit", &limit)
                .append_pair("offset", &offset.to_string());
            url
        } else {
            let mut url = query.api(API, &format!("suppressions/{}", query.feed))?;
            url.query_pairs_mut()
                .append_pair("limit", &limit)
                .append_pair("offset", &query.offset()?.to_string());
            url
        };
        let key = query.secret("api_key")?.clone();
        Ok(PageRequest::get(url).header("x-elasticemail-apikey", key))
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        let rows = wire::page_of_rows(body, query.feed)?;
        let count = rows.len() as u64;
        let misplaced = |error: SettingError| PageError(error.to_string());
        if query.feed != EVENTS {
            let offset = query.offset().map_err(misplaced)?;
            let is_full = count >= PAGE_ROWS;
            return Ok(Page::counted(rows, offset, is_full, |from| from.to_string()));
        }
        if count < PAGE_ROWS {
            return Ok(Page::new(rows, None));
        }
        let (from, offset) = place(query).map_err(misplaced)?;
        let last = rows.iter().rev().find_map(|row| wire::object::<Place>(&row.body).ok());
        let last = last.and_then(|last| dated(last.event_date.given()?, query.now).ok());
        // From before the second of the last row on, as `from` may leave out its own second. More
        // rows than a page in so short a time are counted.
        let last = last.map(|last| last.floor_second().minus(SECOND));
        let next = match last.filter(|last| *last > from) {
            Some(last) => format!("{last} 0"),
            None => format!("{from} {}", offset + count),
        };
        Ok(Page::new(rows, Some(next)))
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        match (stamp.origin, stamp.feed) {
            (Origin::Poll, EVENTS) => return polled(element, stamp).map(|event| vec![event]),
            (Origin::Poll, _) => return listed(element, stamp).map(|event| vec![event]),
            _ => {}
        }
        let fields = Fields::parse(&element.body)?;
        let need =
            |name: &str| fields.get(name).ok_or_else(|| Unreadable(format!("{name}: is missing")));
        let status = need("status")?;
        let address = wire::mailbox(need("to")?)?;
        let date = need("date")?;
        let at = dated(date, stamp.received_at)?;
        let is_error = status.eq_ignore_ascii_case(ERROR);
        let category = fields.get("category").filter(|_| is_error);
        let kind = kind(status, category);
        let words = [status].into_iter().chain(category);
        let provider_kind = words.collect::<Vec<&str>>().join(":");
        let message_id = fields.get("messageid").or_else(|| fields.get("transaction"));
        let postback = fields.get("postback");
        let event = Event {
            failure: failure(kind, category),
            message_id: message_id.and_then(wire::bare_id),
            tags: fields.text("channel").into_iter().collect(),
            url: fields.text("target"),
            metadata: postback.map(|text| serde_json::json!({ "postback": text }).to_string()),
            ..stamp.event(self.name(), kind, provider_kind, address, at)
        };
        Ok(vec![event])
    }

    fn kinds_polled(&self) -> &'static [EventKind] {
        &[EventKind::Deferred]
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (status, category) = match kind {
            EventKind::HardBounce => (ERROR, "NoMailbox"),
            EventKind::SoftBounce => (ERROR, "ConnectionProblem"),
            EventKind::Blocked => (ERROR, "Spam"),
            EventKind::Failed => (ERROR, "ManualCancel"),
            EventKind::Rejected => (ERROR, "Ignore"),
            _ => (STATUSES.iter().find(|(_, known)| *known == kind)?.0, ""),
        };
        let mut body = serde_json::json!({
            "transaction": format!("sample-{}", now.nanos()),
            "messageid": format!("sample-{}", now.nanos()),
            "to": address.received(),
            "from": "sender@example.com",
            "date": now.floor_second().to_string(),
            "status": status,
        });
        if !category.is_empty() {
            body["category"] = category.into();
        }
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

/// Where a page of events starts: the second, and the number of its rows that are read.
fn place(query: &Query<'_>) -> Result<(Time, u64), SettingError> {
    let Some(next) = query.next else { return Ok((query.window.since.floor_second(), 0)) };
    let parts = next.split_once(' ');
    let place = parts.and_then(|(from, offset)| Some((Time::parse(from)?, offset.parse().ok()?)));
    place.ok_or_else(|| query.misplaced())
}

/// A time as the API takes it: in UTC, without a zone.
fn zoneless(time: Time) -> String {
    time.to_string().trim_end_matches('Z').to_owned()
}

/// An event of the API's: the same as a webhook's, under other names.
fn polled(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let row: Row = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not an event of Elastic Email's: {error}")))?;
    let name = row.event_type.need("EventType")?.to_owned();
    let address = row.to.address("To")?;
    let at = row.event_date.read("EventDate", |text| dated(text, stamp.received_at))?;
    let status = POLLED.iter().find(|(known, _)| *known == name).map(|(_, status)| *status);
    let is_error = status == Some(ERROR);
    let category = row.message_category.clone().filter(|_| is_error);
    let diagnostic: Option<String> = row.said.into();
    let text = diagnostic.as_deref().unwrap_or("");
    let (smtp_code, enhanced_code) = (wire::said_code(text), wire::enhanced_code(text));
    let kind = match name.as_str() {
        ATTEMPT => EventKind::Deferred,
        _ => kind(status.unwrap_or(&name), category.as_deref()),
    };
    let failure = failure(kind, category.as_deref());
    let provider_kind = [name].into_iter().chain(category).collect::<Vec<_>>().join(":");
    let message_id = row.message.clone().or(row.transaction.into());
    Ok(Event {
        failure,
        message_id: message_id.as_deref().and_then(wire::bare_id),
        smtp_code,
        diagnostic,
        tags: row.channel_name.clone().into_iter().collect(),
        enhanced_code,
        ..stamp.event(ElasticEmail.name(), kind, provider_kind, address, at)
    })
}

/// A row of a list.
fn listed(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let row: Listed = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a row of {}: {error}", stamp.feed)))?;
    let address = wire::listed(row.email.need("Email")?)?;
    let read = |text: &str| dated(text, stamp.received_at);
    let at = row.date_updated.some().map(|date| date.read("DateUpdated", read)).transpose()?;
    let reason = LISTS.iter().find(|(list, _)| *list == stamp.feed).map(|(_, reason)| *reason);
    let diagnostic: Option<String> = row.friendly_error_message.into();
    let said = diagnostic.as_deref().unwrap_or("");
    let smtp_code = row.error_code.as_deref().and_then(wire::smtp_code);
    Ok(Event {
        smtp_code: smtp_code.or_else(|| wire::said_code(said)),
        enhanced_code: wire::enhanced_code(said),
        diagnostic,
        ..stamp.listed(ElasticEmail.name(), reason, address, row.date_updated.given().zip(at))
    })
}

/// What a status means.
fn kind(status: &str, category: Option<&str>) -> EventKind {
    let same = |known: &str, given: &str| known.eq_ignore_ascii_case(given);
    if let Some((_, kind)) = STATUSES.iter().find(|(known, _)| same(known, status)) {
        return *kind;
    }
    if !same(ERROR, status) {
        return EventKind::Unknown;
    }
    category.and_then(named).unwrap_or(EventKind::SoftBounce)
}

/// What is known of a failure, if it is one: its category; a server's words only where that says
/// nothing.
fn failure(kind: EventKind, category: Option<&str>) -> Option<Failure> {
    let is_failure = matches!(kind, EventKind::SoftBounce | EventKind::Failed);
    let said = category.and_then(named).map(|_| String::new());
    let failure = || Failure { said, ..Failure::of(category) };
    (is_failure || kind == EventKind::Deferred).then(failure)
}

/// What a category means, if it is a known one.
fn named(category: &str) -> Option<EventKind> {
    let row = CATEGORIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(category));
    row.map(|(_, kind)| *kind)
}

/// A date in one of the forms that the service has.
fn dated(date: &str, received_at: Time) -> Result<Time, Unreadable> {
    wire::utc_time(&spelled(date), received_at)
}

/// A date as `6/15/2026 10:32:11 AM` in the order of RFC 3339; any other is left as it is.
fn spelled(date: &str) -> String {
    let american = || {
        let mut words = date.split_whitespace();
        let (day, time, half) = (words.next()?, words.next()?, words.next()?);
        let mut parts = day.split('/').map(|part| part.parse::<u16>().ok());
        let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
        let (hour, rest) = time.split_once(':')?;
        let hour = hour.parse::<u8>().ok().filter(|hour| (1..=12).contains(hour))? % 12;
        let hour = match half.to_ascii_uppercase().as_str() {
            "AM" => hour,
            "PM" => hour + 12,
            _ => return None,
        };
        let rfc = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{rest}Z");
        (words.next().is_none() && parts.next().is_none()).then_some(rfc)
    };
    american().unwrap_or_else(|| date.to_owned())
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
        assert!(ElasticEmail.checks(&settings).unwrap().is_empty());
        assert!(checks_of_credentials(&settings).unwrap().is_empty());
    }

    #[test]
    fn dates_are_read_in_every_form() {
        let now = Time::from_seconds(1_781_600_000);
        for (date, shown) in [
            ("6/15/2026 1:05:09 PM", "2026-06-15T13:05:09Z"),
            ("06/15/2026 01:05:09 pm", "2026-06-15T13:05:09Z"),
            ("6/5/2026 12:00:00 AM", "2026-06-05T00:00:00Z"),
            ("6/5/2026 12:00:00 PM", "2026-06-05T12:00:00Z"),
            ("2026-06-15T13:05:09", "2026-06-15T13:05:09Z"),
            ("2026-06-15 13:05:09", "2026-06-15T13:05:09Z"),
            ("2026-06-15T13:05:09.1234567Z", "2026-06-15T13:05:09.1234567Z"),
        ] {
            let read = wire::utc_time(&spelled(date), now).map(|time| time.to_string());
            assert_eq!(read.as_deref(), Ok(shown), "{date}");
        }
        for bad in ["", "soon", "15/6/2026 1:05:09 PM", "6/15/2026 13:05:09 PM", "6/15/2026"] {
            assert!(wire::utc_time(&spelled(bad), now).is_err(), "{bad}");
        }
    }
}
