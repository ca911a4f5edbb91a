//! Mailgun's API: the events and the lists of each domain, one domain after the other.
//!
//! Source: Mailgun, "Events" and "Suppressions". What leads to a page is the number of its domain,
//! and behind a space the path that the page before gave.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use url::{Position, Url};

use super::super::wire::{self, Text, Texts, Told, When};
use super::super::{
    Feed, Key, KeyKind, Page, PageError, PageRequest, Query, SettingError, Stamp, Unreadable,
};
use crate::model::{Element, Event, Failure, Reason};

/// The data of a domain are in one region only.
const REGIONS: &[(&str, &str)] =
    &[("us", "https://api.mailgun.net"), ("eu", "https://api.eu.mailgun.net")];

/// Most events of a page, and most rows of a list's.
const EVENTS_MAX: &str = "300";
const ROWS_MAX: &str = "1000";

/// What is asked for: what the webhook is ticked for.
const POLLED: &str = "failed OR complained OR unsubscribed OR rejected OR delivered";

const MINUTE: Duration = Duration::from_secs(60);

/// A page can be trusted once its newest event is half an hour old: page "Events", "Event polling".
const SETTLE: Duration = Duration::from_secs(30 * MINUTE.as_secs());

/// The longest that any plan keeps events.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * MINUTE.as_secs());

/// Lists are in the order of their addresses, and cannot be asked by time.
pub(super) const FEEDS: &[Feed] = &[
    Feed::events("events").settle(SETTLE).kept(KEPT),
    Feed::suppressions("bounces").whole(),
    Feed::suppressions("complaints").whole(),
    Feed::suppressions("unsubscribes").whole(),
];

pub(super) const POLL_KEYS: &[Key] = &[
    Key::secret("api_key"),
    Key::required("domains", KeyKind::Texts),
    Key::optional_text("region"),
    Key::optional_text("base_url"),
];

#[derive(Deserialize)]
struct WirePage {
    items: Vec<Box<RawValue>>,
    paging: Paging,
}

#[derive(Deserialize)]
struct Paging {
    next: Option<String>,
}

/// A row of a list.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Row {
    address: Told,
    created_at: When,
    code: Text,
    error: Text,
    tags: Texts,
}

pub(super) fn request(query: &Query<'_>) -> Result<PageRequest, SettingError> {
    Ok(PageRequest::get(url(query)?).basic(b"api", query.secret("api_key")?.reveal()))
}

pub(super) fn page(query: &Query<'_>, url: &Url, body: &[u8]) -> Result<Page, PageError> {
    let page: WirePage = wire::page(body, "events or of a list")?;
    let rows = wire::rows(&page.items);
    let number = domain(query).0;
    // There is always a URL, and behind the last page there are empty ones.
    let next = page.paging.next.as_deref().filter(|_| !rows.is_empty());
    let next = next.and_then(|next| url.join(next).ok());
    let path = next.as_ref().map(|next| &next[Position::BeforePath..]);
    let path = path.filter(|path| *path != &url[Position::BeforePath..]);
    let token = path.map(|path| format!("{number} {path}"));
    let following = number.saturating_add(1);
    let is_one = query.settings.texts("domains").len() > following;
    Ok(Page::new(rows, token.or_else(|| is_one.then(|| following.to_string()))))
}

/// Which of the domains a page is of, and the path that leads to it unless it is the first.
fn domain<'q>(query: &Query<'q>) -> (usize, Option<&'q str>) {
    let token = query.next.unwrap_or("0");
    let (number, path) =
        token.split_once(' ').map_or((token, None), |(number, path)| (number, Some(path)));
    // What is no number is no domain either.
    (number.parse().unwrap_or(usize::MAX), path)
}

fn url(query: &Query<'_>) -> Result<Url, SettingError> {
    let base = query.api(query.region(REGIONS)?, "v3")?;
    let (number, path) = domain(query);
    if path.is_some() {
        // The path alone: whatever host it was given with, the key stays with ours.
        return Query { next: path, ..*query }.next_url(&base);
    }
    let domain = query.settings.texts("domains").get(number).filter(|name| !name.is_empty());
    let domain = domain.ok_or_else(|| {
        let hint = "name the sending domains, such as [\"mg.example.org\"]";
        query.settings.problem("domains", "lacks a domain", hint)
    })?;
    let mut url = base;
    // It has segments: whatever has none is no base.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend([domain.as_str(), query.feed]);
    }
    if query.feed == "events" {
        url.query_pairs_mut()
            .append_pair("begin", &query.window.since.second().to_string())
            .append_pair("end", &query.window.until.ceil_second().second().to_string())
            .append_pair("ascending", "yes")
            .append_pair("limit", EVENTS_MAX)
            .append_pair("event", POLLED);
    } else {
        url.query_pairs_mut().append_pair("limit", ROWS_MAX);
    }
    Ok(url)
}

/// Reads a row of a list: an unsubscription for each of its tags.
pub(super) fn listed(element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    let row: Row = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a row of Mailgun's list: {error}")))?;
    let read = |text: &str| {
        wire::mail_time(text, stamp.received_at).or_else(|_| wire::time(text, stamp.received_at))
    };
    let at = row.created_at.some().map(|time| time.read("created_at", read)).transpose()?;
    let time = row.created_at.given().zip(at);
    let text = row.error.as_deref().unwrap_or("").trim();
    let smtp_code = row.code.as_deref().and_then(wire::smtp_code);
    let smtp_code = smtp_code.filter(|code| !super::INTERNAL.contains(code));
    let enhanced_code = wire::enhanced_code(text);
    let reason = match stamp.feed {
        "bounces" => Some(Reason::HardBounce),
        "complaints" => Some(Reason::Complaint),
        _ => Some(Reason::Unsubscribe),
    };
    let event = stamp.listed(super::NAME, reason, row.address.address("address")?, time);
    let diagnostic = wire::filled(Some(text.to_owned()));
    let failure = (stamp.feed == "bounces").then(Failure::default);
    let event = Event { failure, smtp_code, enhanced_code, diagnostic, ..event };
    let tags: &[String] = if stamp.feed == "unsubscribes" { &row.tags } else { &[] };
    // `*` stands for all mail of the domain; so does having no tag.
    if tags.is_empty() || tags.iter().any(|tag| tag == "*") {
        return Ok(vec![event]);
    }
    let scoped = |tag: &String| Ok(Event { scope: wire::stream(tag)?, ..event.clone() });
    tags.iter().map(scoped).collect()
}
