//! Postmark's API: bounces, dated in US Eastern time, and the suppressions of each stream.
//!
//! Source: Postmark, "Bounce API", "Suppressions API" and "Message Streams API". What leads to a
//! stream's suppressions is the streams that are still to be read.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::super::wire::{self, Text, Told, When};
use super::super::{
    Feed, Key, KeyKind, Page, PageError, PageRequest, Query, SettingError, Stamp, Unreadable,
};
use crate::model::{Element, Event, EventKind, Reason, Scope, Time};
use crate::secret::Secret;

const API: &str = "https://api.postmarkapp.com";

const HOUR: Duration = Duration::from_secs(3_600);

/// The feed of each stream's suppressions, which come in one piece.
pub(super) const SUPPRESSIONS: &str = "suppressions";

/// How long bounces are kept is not told; messages are for 45 days.
pub(super) const FEEDS: &[Feed] =
    &[Feed::events("bounces").overlap(HOUR), Feed::suppressions(SUPPRESSIONS).whole()];

pub(super) const POLL_KEYS: &[Key] = &[
    Key::secret("server_token"),
    Key::optional("streams", KeyKind::Texts),
    Key::optional_text("base_url"),
];

/// Most bounces of a page, and most that a listing has in all its pages.
const ROWS_MAX: u64 = 500;
const LISTED_MAX: u64 = 10_000;

/// Dates of the bounces' filter are in US Eastern time: its rule since 2007, as POSIX writes it.
const EASTERN: &str = "EST5EDT,M3.2.0,M11.1.0";

/// What stands between streams in a token. No stream has it in its id.
const BETWEEN: &str = ",";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bounces {
    total_count: u64,
    bounces: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dump {
    suppressions: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Streams {
    message_streams: Vec<Stream>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stream {
    #[serde(rename = "ID")]
    id: String,
    message_stream_type: String,
}

/// A row of a stream's suppressions.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Suppression {
    email_address: Told,
    suppression_reason: Text,
    origin: Text,
    created_at: When,
}

pub(super) fn request(query: &Query<'_>) -> Result<PageRequest, SettingError> {
    let url = match query.feed {
        SUPPRESSIONS => suppressions_url(query)?,
        _ => bounces_url(query)?,
    };
    let token = query.secret("server_token")?.clone();
    let request = PageRequest::get(url).header("accept", Secret::new("application/json"));
    Ok(request.header("x-postmark-server-token", token))
}

pub(super) fn page(query: &Query<'_>, body: &[u8]) -> Result<Page, PageError> {
    if query.feed != SUPPRESSIONS {
        return bounces(query, body);
    }
    let Some((stream, rest)) = stream(query) else {
        let listing: Streams = wire::page(body, "message streams")?;
        let sends = |stream: &Stream| stream.message_stream_type != "Inbound";
        let streams = listing.message_streams.into_iter().filter(sends);
        let ids = streams.map(|stream| stream.id).collect::<Vec<_>>().join(BETWEEN);
        return Ok(Page::new(Vec::new(), Some(ids).filter(|ids| !ids.is_empty())));
    };
    let dump: Dump = wire::page(body, "suppressions")?;
    let mut rows = wire::taken(dump.suppressions);
    for row in &mut rows {
        row.context.clone_from(&stream);
    }
    Ok(Page::new(rows, Some(rest).filter(|rest| !rest.is_empty())))
}

fn bounces_url(query: &Query<'_>) -> Result<Url, SettingError> {
    let offset = query.offset()?;
    let count = ROWS_MAX.min(LISTED_MAX.saturating_sub(offset));
    let mut url = query.api(API, "bounces")?;
    url.query_pairs_mut()
        .append_pair("count", &count.to_string())
        .append_pair("offset", &offset.to_string())
        .append_pair("fromdate", &eastern(query.window.since, -SignedDuration::from_hours(1)))
        .append_pair(
            "todate",
            &eastern(query.window.until.ceil_second(), SignedDuration::from_hours(1)),
        );
    Ok(url)
}

/// The second of a time in US Eastern time. In the hour that there is twice, in November, nobody
/// can tell which is meant: then it is moved out of it.
fn eastern(at: Time, outwards: SignedDuration) -> String {
    let zone = TimeZone::posix(EASTERN).unwrap_or(TimeZone::UTC);
    let local = zone.to_datetime(Timestamp::from_second(at.second()).unwrap_or_default());
    let is_twice = zone.to_ambiguous_timestamp(local).is_ambiguous();
    if is_twice { local.saturating_add(outwards).to_string() } else { local.to_string() }
}

fn bounces(query: &Query<'_>, body: &[u8]) -> Result<Page, PageError> {
    let listing: Bounces = wire::page(body, "bounces")?;
    let rows = wire::rows(&listing.bounces);
    let offset = query.offset().unwrap_or(0);
    let end = offset + rows.len() as u64;
    let is_more = !rows.is_empty() && end < listing.total_count.min(LISTED_MAX);
    let overfull = query.next.is_none() && listing.total_count > LISTED_MAX;
    Ok(Page { overfull, ..Page::counted(rows, offset, is_more, |from| from.to_string()) })
}

/// The stream that a page is of, and those that are still to be read; `None` where the streams are
/// to be asked for first.
fn stream(query: &Query<'_>) -> Option<(String, String)> {
    let named = query.settings.texts("streams");
    let all = query
        .next
        .map(str::to_owned)
        .or_else(|| (!named.is_empty()).then(|| named.join(BETWEEN)))?;
    let (stream, rest) = all.split_once(BETWEEN).unwrap_or((&all, ""));
    Some((stream.to_owned(), rest.to_owned()))
}

fn suppressions_url(query: &Query<'_>) -> Result<Url, SettingError> {
    let mut url = query.api(API, "message-streams")?;
    match stream(query) {
        None => {
            url.query_pairs_mut().append_pair("MessageStreamType", "All");
        }
        Some((stream, _)) => {
            // It has segments: whatever has none is no base.
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.extend([stream.as_str(), "suppressions", "dump"]);
            }
        }
    }
    Ok(url)
}

/// Reads a row of a stream's suppressions. Its context is the stream.
pub(super) fn listed(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let row: Suppression = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a row of Postmark's list: {error}")))?;
    let why = row.suppression_reason.as_deref().unwrap_or("");
    let (kind, in_stream) = super::suppressed(why, row.origin.as_deref().unwrap_or(""));
    let reason = match kind {
        EventKind::HardBounce => Some(Reason::HardBounce),
        EventKind::Complaint => Some(Reason::Complaint),
        EventKind::Unsubscribed => Some(Reason::Unsubscribe),
        _ => None,
    };
    let at = row.created_at.some().map(|time| time.at("CreatedAt", stamp.received_at));
    let time = row.created_at.given().zip(at.transpose()?);
    let scope = if in_stream { wire::stream(&element.context)? } else { Scope::Global };
    let event = stamp.listed(super::NAME, reason, row.email_address.address("EmailAddress")?, time);
    Ok(Event { scope, ..event })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_eastern_and_widened_where_an_hour_is_there_twice() {
        let hour = SignedDuration::from_hours(1);
        for (at, from, to) in [
            ("2026-01-15T12:00:00Z", "2026-01-15T07:00:00", "2026-01-15T07:00:00"),
            ("2026-06-15T12:00:00.9Z", "2026-06-15T08:00:00", "2026-06-15T08:00:00"),
            // Spring: 02:00 to 03:00 is not there.
            ("2026-03-08T06:59:59Z", "2026-03-08T01:59:59", "2026-03-08T01:59:59"),
            ("2026-03-08T07:00:00Z", "2026-03-08T03:00:00", "2026-03-08T03:00:00"),
            // Autumn: 01:00 to 02:00 is there twice.
            ("2026-11-01T04:59:59Z", "2026-11-01T00:59:59", "2026-11-01T00:59:59"),
            ("2026-11-01T05:00:00Z", "2026-11-01T00:00:00", "2026-11-01T02:00:00"),
            ("2026-11-01T05:30:00Z", "2026-11-01T00:30:00", "2026-11-01T02:30:00"),
            ("2026-11-01T06:30:00Z", "2026-11-01T00:30:00", "2026-11-01T02:30:00"),
            ("2026-11-01T06:59:59Z", "2026-11-01T00:59:59", "2026-11-01T02:59:59"),
            ("2026-11-01T07:00:00Z", "2026-11-01T02:00:00", "2026-11-01T02:00:00"),
        ] {
            let time = Time::parse(at).unwrap();
            assert_eq!(eastern(time, -hour), from, "{at}");
            assert_eq!(eastern(time, hour), to, "{at}");
        }
    }
}
