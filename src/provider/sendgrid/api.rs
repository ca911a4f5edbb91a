//! SendGrid's API: the Email Logs, message by message, and the lists of suppressions.
//!
//! Source: Twilio SendGrid, "Email Logs API" and "Suppressions". The logs are asked for by when
//! messages were taken, and have no pages: what became of one is a request of its own.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::wire::{self, Id, Text, Told, When};
use super::super::{
    Feed, Key, Page, PageError, PageRequest, Query, SettingError, Stamp, Unreadable,
};
use crate::model::{Element, Event, EventKind, Failure, Reason, Scope};

/// Page "Email Logs API": a subuser in the EU has its data there alone.
const REGIONS: &[(&str, &str)] =
    &[("global", "https://api.sendgrid.com"), ("eu", "https://api.eu.sendgrid.com")];

const HOUR: Duration = Duration::from_secs(3_600);

/// SendGrid tries for so long: until then what becomes of a message can change.
const TRIES: Duration = Duration::from_secs(72 * HOUR.as_secs());

/// How long the logs are kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * HOUR.as_secs());

/// Most messages of a listing.
const MESSAGES_MAX: usize = 1_000;

/// Most rows of a page of a list.
const ROWS_MAX: usize = 500;

/// What became of the messages that are asked for. Of all others nothing is learnt that counts,
/// and each would cost a request.
const STATUSES: &str = "'bounced','blocked','dropped','deferred'";

/// The list that has no time filter and no pages.
const GROUPS: &str = "group_unsubscribes";

pub(super) const FEEDS: &[Feed] = &[
    Feed::events("events").overlap(TRIES).kept(KEPT),
    Feed::suppressions("bounces").overlap(HOUR),
    Feed::suppressions("blocks").overlap(HOUR),
    Feed::suppressions("complaints").overlap(HOUR),
    Feed::suppressions("invalid").overlap(HOUR),
    Feed::suppressions("unsubscribes").overlap(HOUR),
    Feed::suppressions(GROUPS).whole(),
];

pub(super) const POLL_KEYS: &[Key] =
    &[Key::secret("api_key"), Key::optional_text("region"), Key::optional_text("base_url")];

/// The lists: their feed, their path, and why an address is on them.
const LISTS: &[(&str, &str, Option<Reason>)] = &[
    ("bounces", "v3/suppression/bounces", Some(Reason::HardBounce)),
    ("blocks", "v3/suppression/blocks", None),
    ("complaints", "v3/suppression/spam_reports", Some(Reason::Complaint)),
    ("invalid", "v3/suppression/invalid_emails", Some(Reason::Invalid)),
    ("unsubscribes", "v3/suppression/unsubscribes", Some(Reason::Unsubscribe)),
    (GROUPS, "v3/asm/suppressions", Some(Reason::Unsubscribe)),
];

#[derive(Deserialize)]
struct Messages {
    messages: Vec<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    sg_message_id: Id,
    status: Text,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    to_email: Told,
    events: Vec<Box<RawValue>>,
}

/// A row of a list.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Row {
    email: Told,
    created: When,
    created_at: When,
    reason: Text,
    status: Text,
    group_id: Text,
}

pub(super) fn request(query: &Query<'_>) -> Result<PageRequest, SettingError> {
    let api = |path: &str| query.api(query.region(REGIONS)?, path);
    let path = LISTS.iter().find(|(feed, ..)| *feed == query.feed).map(|(_, path, _)| *path);
    let request = match (path, query.next) {
        (None, None) => PageRequest::post_json(api("v3/logs")?, &filter(query)),
        (None, Some(token)) => {
            let id = token.split_once(' ').map_or(token, |(_, id)| id);
            let mut url = api("v3/logs")?;
            // It has segments: whatever has none is no base.
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.push(id);
            }
            PageRequest::get(url)
        }
        (Some(path), _) if query.feed == GROUPS => PageRequest::get(api(path)?),
        (Some(path), _) => {
            let mut url = api(path)?;
            url.query_pairs_mut()
                .append_pair("start_time", &query.window.since.second().to_string())
                .append_pair("end_time", &query.window.until.second().to_string())
                .append_pair("limit", &ROWS_MAX.to_string())
                .append_pair("offset", &query.offset()?.to_string());
            PageRequest::get(url)
        }
    };
    Ok(request.bearer(query.secret("api_key")?))
}

fn filter(query: &Query<'_>) -> serde_json::Value {
    let (since, until) = (query.window.since.floor_second(), query.window.until.ceil_second());
    let filter = format!(
        "sg_message_id_created_at >= TIMESTAMP \"{since}\" AND \
         sg_message_id_created_at < TIMESTAMP \"{until}\" AND status IN ({STATUSES})"
    );
    json!({ "query": filter, "limit": MESSAGES_MAX })
}

pub(super) fn page(query: &Query<'_>, body: &[u8]) -> Result<Page, PageError> {
    if query.feed != "events" {
        let rows = wire::page_of_rows(body, "a list of suppressions")?;
        if query.feed == GROUPS {
            return Ok(Page::new(rows, None));
        }
        let (offset, is_full) = (query.offset().unwrap_or(0), rows.len() >= ROWS_MAX);
        return Ok(Page::counted(rows, offset, is_full, |from| from.to_string()));
    }
    if query.next.is_some() {
        let details: Details = wire::page(body, "a message's events")?;
        let mut rows = wire::rows(&details.events);
        for row in &mut rows {
            let names = wire::object(&row.body).is_ok_and(|row: Row| !row.email.is_absent());
            if !names && let Some(email) = details.to_email.text() {
                email.clone_into(&mut row.context);
            }
        }
        return Ok(Page::new(rows, None));
    }
    let listing: Messages = wire::page(body, "messages")?;
    let overfull = listing.messages.len() >= MESSAGES_MAX;
    let mut page = Page { overfull, settled: true, ..Page::default() };
    for row in &listing.messages {
        let message: Message = wire::object(row.get().as_bytes()).unwrap_or_default();
        match message.sg_message_id.as_deref() {
            // The status makes it another token once more is known of the message.
            Some(id) => {
                let status = message.status.as_deref().unwrap_or("");
                page.details.push(format!("{status} {id}"));
            }
            None => page.rows.push(wire::element(row.get().as_bytes())),
        }
    }
    Ok(page)
}

/// Whether rows of that feed are those of a list.
pub(super) fn is_list(feed: &str) -> bool {
    LISTS.iter().any(|(list, ..)| *list == feed)
}

/// Reads a row of a list.
pub(super) fn listed(element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    let row: Row = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a row of SendGrid's list: {error}")))?;
    let created = row.created.some().unwrap_or(&row.created_at);
    let at = created.some().map(|time| time.at("created", stamp.received_at)).transpose()?;
    let time = created.given().zip(at);
    let text = row.reason.as_deref().unwrap_or("").trim();
    let smtp_code = wire::said_code(text);
    let enhanced_code = super::enhanced_code(row.status.as_deref().unwrap_or(""), text);
    let reason = LISTS.iter().find(|(feed, ..)| *feed == stamp.feed).and_then(|row| row.2);
    let failure = (reason == Some(Reason::HardBounce)).then(Failure::default);
    let address = row.email.address("email")?;
    let event = stamp.listed(super::NAME, reason, address, time);
    // SendGrid goes on sending to who is on this list alone.
    let kind = if stamp.feed == "blocks" { EventKind::Blocked } else { event.kind };
    let scope = match row.group_id.as_deref() {
        Some(group) if stamp.feed == GROUPS => wire::stream(group)?,
        None if stamp.feed == GROUPS => {
            return Err(Unreadable("the row names no group".to_owned()));
        }
        _ => Scope::Global,
    };
    let diagnostic = wire::filled(text.to_owned());
    Ok(vec![Event { kind, scope, failure, smtp_code, enhanced_code, diagnostic, ..event }])
}
