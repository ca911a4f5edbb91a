//! Resend's API: its e-mails, the newest first, with what last became of each; its suppressions.
//!
//! It lists no events: of an e-mail only the last one is known, neither when it happened nor what
//! the server said. So an event is as old as its e-mail, and a bounce, which may be of either
//! kind, is a soft one: the dead addresses are on the list of suppressions.
//! Source: resend.com/docs/api-reference, "List Sent Emails", "List Suppressions".

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Data, Notice, TYPES};
use crate::model::{Element, Event, EventKind};
use crate::provider::wire::{self, Id, Text, Texts, Told, When};
use crate::provider::{
    Feed, Key, Page, PageError, PageRequest, Query, Rate, SettingError, Stamp, Unreadable,
};

const API: &str = "https://api.resend.com";

/// Most rows of a page.
const PAGE_ROWS: &str = "100";

pub(super) const POLL_KEYS: &[Key] = &[Key::secret("api_key"), Key::optional_text("base_url")];

const EVENTS: &str = "events";

/// An e-mail can bounce, or be complained of, days after it was made.
pub(super) const FEEDS: &[Feed] = &[
    Feed::events(EVENTS).overlap(Duration::from_secs(72 * 3_600)).unbounded(),
    Feed::suppressions("suppressions").whole(),
];

/// Page "Rate Limit": of all keys of a team together.
pub(super) const RATE: Rate = Rate { requests: 2, per: Duration::from_secs(1) };

/// What has not become of an e-mail yet, or never will.
const PENDING: &[&str] = &["queued", "canceled"];

#[derive(Deserialize)]
struct WirePage {
    data: Vec<Box<RawValue>>,
    has_more: bool,
}

/// What a row is for paging.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Place {
    id: Id,
    created_at: When,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Email {
    id: Id,
    created_at: When,
    to: Texts,
    last_event: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Suppression {
    id: Id,
    email: Told,
    origin: Text,
    source_id: Id,
    created_at: When,
}

pub(super) fn page_request(query: &Query<'_>) -> Result<PageRequest, SettingError> {
    let path = if query.feed == EVENTS { "emails" } else { "suppressions" };
    let mut url = query.api(API, path)?;
    url.query_pairs_mut().append_pair("limit", PAGE_ROWS);
    if let Some(last) = query.next {
        url.query_pairs_mut().append_pair("after", last);
    }
    Ok(PageRequest::get(url).bearer(query.secret("api_key")?))
}

pub(super) fn page(query: &Query<'_>, body: &[u8]) -> Result<Page, PageError> {
    let page: WirePage = wire::page(body, query.feed)?;
    let rows = wire::rows(&page.data);
    if !page.has_more || rows.is_empty() {
        return Ok(Page::new(rows, None));
    }
    let place = |row: &Element| {
        let place: Place = wire::object(&row.body).ok()?;
        Some(((*place.id).clone()?, place.created_at))
    };
    let last = rows.iter().rev().find_map(place);
    let (id, made) = last.ok_or_else(|| PageError("no row has an id to go on from".to_owned()))?;
    let made = made.utc("created_at", query.now).ok();
    // What follows is older still.
    let is_past = query.feed == EVENTS && made.is_some_and(|made| made < query.window.since);
    Ok(Page::new(rows, Some(id).filter(|_| !is_past)))
}

pub(super) fn read(element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    if stamp.feed == EVENTS { email(element, stamp) } else { suppression(element, stamp) }
}

fn email(element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    let row: Email = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not an e-mail of Resend's: {error}")))?;
    let last = row.last_event.clone().filter(|last| !PENDING.contains(&last.as_str()));
    let Some(last) = last else { return Ok(Vec::new()) };
    let name = format!("email.{last}");
    let kind = match TYPES.iter().find(|(known, _)| *known == name) {
        Some((_, kind)) => *kind,
        None => EventKind::Unknown,
    };
    let at = row.created_at.utc("created_at", stamp.received_at)?;
    let data = Data { to: row.to, email_id: row.id, ..Data::default() };
    Notice { name, at, context: "", data }.of_message(kind, stamp)
}

fn suppression(element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    let row: Suppression = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a suppression of Resend's: {error}")))?;
    let at = row.created_at.utc("created_at", stamp.received_at)?;
    let data = Data {
        id: row.id,
        email: row.email,
        origin: row.origin,
        source_id: row.source_id,
        ..Data::default()
    };
    Notice { name: "suppression.added".to_owned(), at, context: "", data }
        .of_address(EventKind::Listed, stamp)
}
