//! The API of Unisender Go and UniOne: dumps of events, and the list of suppressions.
//!
//! A dump is ordered, waited for, fetched file by file and removed. Each step is a page, and what
//! follows it is its token, so that a run which was cut goes on where it was.
//! Source: docs.unione.io, "Web API", the methods event-dump and suppression.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Data, Delivery, MESSAGE_EVENT, UnisenderGo};
use crate::model::{Element, Event, Reason, Time};
use crate::provider::wire::{self, Id, Json, Record, Text, Told, When};
use crate::provider::{
    Feed, Key, Page, PageError, PageRequest, Provider, Query, SettingError, Stamp, Unreadable,
};

pub(super) const POLL_KEYS: &[Key] =
    &[Key::secret("api_key"), Key::optional_text("region"), Key::optional_text("base_url")];

/// The hosts of the two brands; an account is on one of them.
const REGIONS: &[(&str, &str)] = &[
    ("go1", "https://go1.unisender.ru/ru/transactional/api/v1"),
    ("go2", "https://go2.unisender.ru/ru/transactional/api/v1"),
    ("unione", "https://api.unione.io/en/transactional/api/v1"),
    ("us1", "https://us1.unione.io/en/transactional/api/v1"),
    ("eu1", "https://eu1.unione.io/en/transactional/api/v1"),
];

const EVENTS: &str = "events";

/// Events are kept for up to 32 days.
pub(super) const FEEDS: &[Feed] = &[
    Feed::events(EVENTS).kept(Duration::from_secs(32 * 86_400)),
    Feed::suppressions("suppressions").unbounded(),
];

/// Most events of a dump. It could hold more, but a file must be small enough to be fetched.
const DUMP_ROWS: usize = 20_000;

/// The columns of a dump.
const COLUMNS: &[&str] = &[
    "event_time",
    "job_id",
    "email",
    "status",
    "delivery_status",
    "destination_response",
    "user_agent",
    "url",
    "metadata",
];

/// Rows of a page of suppressions: what the API gives unasked. It documents no greater number.
const PAGE_ROWS: u32 = 50;

/// Between two looks whether a dump is ready.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Before a dump that failed is ordered anew.
const ORDER_AGAIN: Duration = Duration::from_secs(60);

/// Why an address is suppressed. Those that are not here tell nothing for good.
const CAUSES: &[(&str, Reason)] = &[
    ("unsubscribed", Reason::Unsubscribe),
    ("permanent_unavailable", Reason::HardBounce),
    ("complained", Reason::Complaint),
];

/// What is asked for next. Its words are those of the token.
enum Step<'a> {
    /// Order a dump; the number tells a repeated order from the one before.
    Order { order: u32 },
    /// See whether it is ready.
    Look { dump: &'a str, order: u32, look: u32 },
    /// Fetch the first of these files; so many rows were in those before.
    Fetch { dump: &'a str, rows: usize, files: Vec<&'a str> },
    /// Remove it; whether it held as much as it may.
    Remove { dump: &'a str, full: bool },
}

impl<'a> Step<'a> {
    fn of(query: &Query<'a>) -> Result<Step<'a>, SettingError> {
        let Some(token) = query.next else { return Ok(Step::Order { order: 1 }) };
        Step::parse(token).ok_or_else(|| query.misplaced())
    }

    fn parse(token: &'a str) -> Option<Step<'a>> {
        let mut words = token.split(' ');
        let (name, first) = (words.next()?, words.next()?);
        Some(match name {
            "order" => Step::Order { order: first.parse().ok()? },
            "look" => {
                let (order, look) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                Step::Look { dump: first, order, look }
            }
            "fetch" => {
                let rows = words.next()?.parse().ok()?;
                Step::Fetch { dump: first, rows, files: words.collect() }
            }
            "remove" => Step::Remove { dump: first, full: words.next()? == "full" },
            _ => return None,
        })
    }

    fn token(&self) -> String {
        match self {
            Step::Order { order } => format!("order {order}"),
            Step::Look { dump, order, look } => format!("look {dump} {order} {look}"),
            Step::Fetch { dump, rows, files } => format!("fetch {dump} {rows} {}", files.join(" ")),
            Step::Remove { dump, full } => {
                format!("remove {dump} {}", if *full { "full" } else { "whole" })
            }
        }
    }

    /// A page that leads there.
    fn page(&self, rows: Vec<Element>, wait: Option<Duration>) -> Page {
        Page { wait, ..Page::new(rows, Some(self.token())) }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ordered {
    dump_id: Id,
}

#[derive(Deserialize)]
struct Looked {
    status: String,
    event_dump: Option<Dump>,
}

#[derive(Deserialize)]
struct Dump {
    dump_status: String,
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    url: String,
}

#[derive(Deserialize)]
struct Removed {
    #[serde(rename = "status")]
    _status: String,
}

#[derive(Deserialize)]
struct Suppressions {
    suppressions: Vec<Box<RawValue>>,
    cursor: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Suppression {
    email: Told,
    cause: Text,
    created: When,
}

pub(super) fn page_request(query: &Query<'_>) -> Result<PageRequest, SettingError> {
    if query.feed != EVENTS {
        let mut body = json!({ "start_time": plain(query.window.since), "limit": PAGE_ROWS });
        if let Some(cursor) = query.next {
            body["cursor"] = cursor.into();
        }
        return post(query, "suppression/list.json", &body);
    }
    match Step::of(query)? {
        Step::Order { .. } => {
            let body = json!({
                "start_time": plain(query.window.since),
                "end_time": plain(query.window.until.ceil_second()),
                "limit": DUMP_ROWS,
                "dump_fields": COLUMNS,
                "delimiter": ",",
                "format": "csv",
            });
            post(query, "event-dump/create.json", &body)
        }
        Step::Look { dump, .. } => post(query, "event-dump/get.json", &json!({ "dump_id": dump })),
        Step::Fetch { files, .. } => fetch(query, files.first().copied().unwrap_or("")),
        Step::Remove { dump, .. } => {
            post(query, "event-dump/delete.json", &json!({ "dump_id": dump }))
        }
    }
}

fn post(query: &Query<'_>, method: &str, body: &Value) -> Result<PageRequest, SettingError> {
    let url = query.api(query.region(REGIONS)?, method)?;
    let key = query.secret("api_key")?.clone();
    Ok(PageRequest::post_json(url, body).header("x-api-key", key))
}

/// A file may be on another host, which must not learn the key.
fn fetch(query: &Query<'_>, file: &str) -> Result<PageRequest, SettingError> {
    let api = query.api(query.region(REGIONS)?, "event-dump/get.json")?;
    match api.join(file) {
        Ok(url) if url.origin() == api.origin() => {
            let key = query.secret("api_key")?.clone();
            Ok(PageRequest::get(url).header("x-api-key", key))
        }
        Ok(url) if url.scheme() == "https" => Ok(PageRequest::get(url)),
        _ => {
            let hint = "the dump is ordered anew";
            Err(query.settings.problem("poll", "the dump's file is at no https URL", hint))
        }
    }
}

/// A time as the API takes it, in whole seconds of UTC.
fn plain(time: Time) -> String {
    time.floor_second().to_string().replace('T', " ").replace('Z', "")
}

pub(super) fn page(query: &Query<'_>, body: &[u8]) -> Result<Page, PageError> {
    if query.feed != EVENTS {
        let page: Suppressions = wire::page(body, query.feed)?;
        let rows = wire::rows(&page.suppressions);
        let cursor = wire::filled(page.cursor).filter(|_| !rows.is_empty());
        return Ok(Page::new(rows, cursor));
    }
    match Step::of(query).map_err(|error| PageError(error.to_string()))? {
        Step::Order { order } => {
            let ordered: Ordered = wire::page(body, "orders of a dump")?;
            let dump = ordered.dump_id.clone().filter(|id| !id.contains(' '));
            let dump = dump.ok_or_else(|| PageError("the dump has no id".to_owned()))?;
            Ok(Step::Look { dump: &dump, order, look: 1 }.page(Vec::new(), Some(LOOK_AGAIN)))
        }
        Step::Look { dump, order, look } => looked(dump, order, look, body),
        Step::Fetch { dump, rows, files } => {
            if wire::is_cut(body) {
                return Err(PageError("the file was cut short".to_owned()));
            }
            let elements = wire::records(body, COLUMNS)?;
            let rows = rows + elements.len();
            let step = match files[..] {
                [] | [_] => Step::Remove { dump, full: rows >= DUMP_ROWS },
                [_, ref files @ ..] => Step::Fetch { dump, rows, files: files.to_vec() },
            };
            Ok(step.page(elements, None))
        }
        Step::Remove { full, .. } => {
            let Removed { .. } = wire::page(body, "removals of a dump")?;
            // The window is read again in halves.
            Ok(Page { overfull: full, ..Page::default() })
        }
    }
}

/// What a look at a dump shows. One that is lost is ordered anew: its token would fail for ever.
fn looked(dump: &str, order: u32, look: u32, body: &[u8]) -> Result<Page, PageError> {
    let looked: Looked = wire::page(body, "dumps")?;
    let anew = || Step::Order { order: order + 1 }.page(Vec::new(), Some(ORDER_AGAIN));
    let found = match looked.event_dump {
        Some(found) => found,
        None if looked.status == "error" => return Ok(anew()),
        None => return Err(PageError("there is no dump in the answer".to_owned())),
    };
    let files: Vec<&str> = found.files.iter().map(|file| file.url.as_str()).collect();
    match found.dump_status.as_str() {
        "ready" if files.iter().any(|file| file.contains(' ')) => {
            Err(PageError("the URL of a file has a space in it".to_owned()))
        }
        "ready" if files.is_empty() => {
            Ok(Step::Remove { dump, full: false }.page(Vec::new(), None))
        }
        "ready" => Ok(Step::Fetch { dump, rows: 0, files }.page(Vec::new(), None)),
        "failed" => Ok(anew()),
        // It is queued, or in process.
        _ => Ok(Step::Look { dump, order, look: look + 1 }.page(Vec::new(), Some(LOOK_AGAIN))),
    }
}

pub(super) fn read(element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    if stamp.feed != EVENTS {
        return suppression(element, stamp).map(|event| vec![event]);
    }
    let record = Record::parse(element)?;
    if !record.is_whole() {
        return Err(Unreadable("the record has not as many fields as the header".to_owned()));
    }
    let text = |column: &str| record.get(column);
    let data = Data {
        job_id: text("job_id").into(),
        email: text("email").unwrap_or_default().into(),
        status: text("status").into(),
        event_time: When::of(text("event_time")),
        url: text("url").into(),
        metadata: Json::of(text("metadata").as_deref().unwrap_or("")),
        delivery_info: Some(Delivery {
            delivery_status: text("delivery_status").into(),
            destination_response: text("destination_response").into(),
            user_agent: text("user_agent").into(),
        })
        .into(),
    };
    data.event(MESSAGE_EVENT, stamp).map(|event| vec![event])
}

fn suppression(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let row: Suppression = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a suppression: {error}")))?;
    let address = wire::listed(row.email.need("email")?)?;
    let at = row.created.some().map(|time| time.utc("created", stamp.received_at)).transpose()?;
    let word = row.cause.clone().unwrap_or_default();
    let reason = CAUSES.iter().find(|(cause, _)| *cause == word).map(|(_, reason)| *reason);
    // An address can be on the list for several causes.
    let given = row.created.given().map(|created| format!("{word}:{created}"));
    let listed = stamp.listed(UnisenderGo.name(), reason, address, given.as_deref().zip(at));
    Ok(Event { provider_kind: word, ..listed })
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::provider::{Setting, Settings, Window};
    use crate::secret::Secret;

    /// The page that an answer comes to at a place.
    fn page_at(next: Option<&str>, answer: &str) -> Result<Page, PageError> {
        let settings = Settings::default();
        let now = Time::from_seconds(0);
        let window = Window { since: now, until: now };
        page(&Query { settings: &settings, feed: EVENTS, window, next, now }, answer.as_bytes())
    }

    #[test]
    fn a_dump_that_is_lost_is_ordered_anew_and_no_token_comes_twice() {
        let answers = [
            r#"{"status":"success","dump_id":"d"}"#,
            r#"{"status":"success","event_dump":{"dump_id":"d","dump_status":"queued"}}"#,
            r#"{"status":"success","event_dump":{"dump_id":"d","dump_status":"failed"}}"#,
            r#"{"status":"success","dump_id":"e"}"#,
            r#"{"status":"error","code":1,"message":"no such dump"}"#,
        ];
        let wanted = ["look d 1 1", "look d 1 2", "order 2", "look e 2 1", "order 3"];
        let mut next: Option<String> = None;
        for (answer, wanted) in answers.iter().zip(wanted) {
            let page = page_at(next.as_deref(), answer).unwrap();
            assert!(page.wait.is_some() && page.rows.is_empty(), "{wanted}");
            next = page.next;
            assert_eq!(next.as_deref(), Some(wanted));
        }
    }

    #[test]
    fn a_dump_that_is_full_is_removed_before_its_window_is_halved() {
        let row = "2026-06-15 10:32:11,j,a@example.com,delivered,,,,,\n";
        let file = format!("{}\n{}", COLUMNS.join(","), row.repeat(DUMP_ROWS / 2));
        let page = page_at(Some("fetch d 0 /1.csv /2.csv"), &file).unwrap();
        assert_eq!(page.next.as_deref(), Some("fetch d 10000 /2.csv"));
        let page = page_at(page.next.as_deref(), &file).unwrap();
        assert_eq!((page.next.as_deref(), page.overfull), (Some("remove d full"), false));
        let page = page_at(page.next.as_deref(), r#"{"status":"success"}"#).unwrap();
        assert_eq!((page.next, page.overfull), (None, true));
    }

    #[test]
    fn the_key_goes_to_the_api_only() {
        let mut settings = Settings::default();
        settings.set("api_key", Setting::Secrets(vec![Secret::new("key")]));
        let now = Time::from_seconds(0);
        let window = Window { since: now, until: now };
        let request = |next: &str| {
            page_request(&Query {
                settings: &settings,
                feed: EVENTS,
                window,
                next: Some(next),
                now,
            })
        };
        for (file, keys) in [
            ("/d/1.csv", 1),
            ("https://go1.unisender.ru/d/1.csv", 1),
            ("https://go1.unisender.ru:8443/d/1.csv", 0),
            ("https://files.example.com/d/1.csv?token=x", 0),
        ] {
            let request = request(&format!("fetch d 0 {file}")).unwrap();
            assert_eq!(request.headers.len(), keys, "{file}");
        }
        for bad in ["fetch d 0 http://files.example.com/1.csv", "fetch d 0 file:///etc/passwd"] {
            assert!(request(bad).is_err(), "{bad}");
        }
        for bad in ["", "fetch", "look d", "order x", "else d"] {
            assert!(request(bad).is_err(), "{bad}");
        }
        let hosts = |url: Url| url.host_str().map(str::to_owned);
        assert_eq!(hosts(request("order 1").unwrap().url).as_deref(), Some("go1.unisender.ru"));
    }
}
