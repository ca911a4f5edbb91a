//! Mandrill's API: messages by day and state, and the denylist, in whole.
//!
//! Every call is a POST with the key in its body. The denylist is answered up to 1000 entries; a
//! longer one is exported, waited for, and fetched as a zip archive. Source: Mailchimp
//! Transactional API, "messages/search", "rejects/list", "exports/rejects"; help page "How to
//! Search Outbound Activity".

use std::io::{Cursor, Read};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use zip::ZipArchive;

use super::super::wire::{self, Misfit, Parts, Record, Text, Told, When};
use super::super::{
    Feed, Key, Page, PageError, PageRequest, Query, Rate, SettingError, Stamp, Unreadable,
};
use super::{Message, Reject, Wire};
use crate::model::{Element, Event, EventKind};

const API: &str = "https://mandrillapp.com/api/1.3";

pub(super) const KEYS: &[Key] = &[Key::secret("api_key"), Key::optional_text("base_url")];

/// Of `/messages/search`, which no header tells.
pub(super) const RATE: Rate = Rate { requests: 20, per: Duration::from_secs(60) };

const DAY: Duration = Duration::from_secs(86_400);

/// Messages are found by when they were sent. Those that bounced are kept for 90 days.
pub(super) const FEEDS: &[Feed] = &[
    Feed::events("events").overlap(DAY.saturating_mul(3)).kept(DAY.saturating_mul(90)),
    Feed::suppressions("suppressions").whole(),
];

/// Rows of a full answer, the most that there can be.
const ROWS_MAX: usize = 1_000;

/// How long an export is waited for between two looks, and how often.
const EXPORT_PAUSE: Duration = Duration::from_secs(10);
const EXPORT_LOOKS: u32 = 180;

/// Largest list in an export, in bytes.
const EXPORT_MAX: u64 = 512 << 20;

/// The file in an export.
const EXPORT_FILE: &str = "rejects.csv";

/// The channel of messages that are no mail: they have a number in place of an address.
const SMS: &str = "sms";

/// The states of messages, and what a webhook calls what led to them.
const STATES: &[(&str, &str)] = &[
    ("sent", "send"),
    ("bounced", "hard_bounce"),
    ("soft-bounced", "soft_bounce"),
    ("rejected", "reject"),
    ("spam", "spam"),
    ("unsub", "unsub"),
    ("deferred", "deferral"),
];

/// The states that are asked for. There are too many deliveries for a search without pages.
const ASKED: &[&str] = &["bounced", "soft-bounced", "rejected", "spam", "unsub", "deferred"];

/// What a search has of a message beside what a webhook has.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Sent {
    ts: When,
    state: Told,
    /// `sms` of what is no mail.
    channel: Text,
    smtp_events: Parts<Attempt>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attempt {
    ts: When,
    #[serde(rename = "type")]
    state: Text,
}

/// How an export stands.
#[derive(Deserialize)]
struct Export {
    id: String,
    state: String,
    result_url: Option<String>,
}

/// What stands in place of an answer.
#[derive(Deserialize)]
struct Refusal {
    status: String,
    name: String,
}

/// Whether an answer says that the key is wrong, whatever its status is.
pub(super) fn is_bad_key(body: &[u8]) -> bool {
    let refusal: Result<Refusal, _> = wire::object(body);
    refusal.is_ok_and(|refusal| refusal.status == "error" && refusal.name == "Invalid_Key")
}

pub(super) fn request(query: &Query<'_>) -> Result<PageRequest, SettingError> {
    let key = query.secret("api_key")?.reveal_text();
    let bad = || query.settings.problem("api_key", "is no text", "copy it from Mandrill's page");
    let key = key.ok_or_else(bad)?;
    let (step, argument) = query.next.map(split).unwrap_or_default();
    let (path, body) = match (query.feed, step) {
        (_, "fetch") => return fetch(query, argument),
        ("events", _) => ("messages/search", search(query, key, argument)),
        (_, "export") => ("exports/rejects", json!({ "key": key })),
        (_, "look") => ("exports/info", json!({ "key": key, "id": split(argument).1 })),
        _ => ("rejects/list", json!({ "key": key, "include_expired": false })),
    };
    Ok(PageRequest::post_json(query.api(API, path)?, &body))
}

pub(super) fn page(query: &Query<'_>, body: &[u8]) -> Result<Page, PageError> {
    let (step, argument) = query.next.map(split).unwrap_or_default();
    match (query.feed, step) {
        ("events", _) => found(query, argument, body),
        (_, "fetch") => exported(body),
        (_, "export") => waiting(0, body),
        (_, "look") => waiting(split(argument).0.parse().unwrap_or(EXPORT_LOOKS), body),
        _ => {
            let rows = wire::page_of_rows(body, "rows")?;
            let is_cut = rows.len() >= ROWS_MAX;
            Ok(Page::new(rows, is_cut.then(|| "export".to_owned())))
        }
    }
}

/// A token's first word, and the rest.
fn split(token: &str) -> (&str, &str) {
    token.split_once(' ').unwrap_or((token, ""))
}

/// A search by days: one more is asked for, as `date_to` may stand for the start of its day.
/// `state`: of the asked ones only that.
fn search(query: &Query<'_>, key: &str, state: &str) -> Value {
    let term = |state: &&str| format!("state:\"{state}\"");
    let terms: Vec<String> = match state {
        "" => ASKED.iter().map(term).collect(),
        state => vec![term(&state)],
    };
    json!({
        "key": key,
        "query": terms.join(" OR "),
        "date_from": wire::day(query.window.since),
        "date_to": wire::day(query.window.until.just_before().plus(DAY)),
        "limit": ROWS_MAX,
    })
}

/// The messages of some days: too many are asked for in fewer days, and those of a single day
/// state by state.
fn found(query: &Query<'_>, state: &str, body: &[u8]) -> Result<Page, PageError> {
    let rows = wire::page_of_rows(body, "rows")?;
    let window = query.window;
    let is_full = rows.len() >= ROWS_MAX && state.is_empty();
    let is_day = wire::day(window.since) == wire::day(window.until.just_before());
    let next = match ASKED.iter().position(|known| *known == state) {
        Some(place) => ASKED.get(place + 1),
        None if is_full && is_day => ASKED.first(),
        None => None,
    };
    let next = next.map(|state| format!("state {state}"));
    Ok(Page { overfull: is_full && !is_day, ..Page::new(rows, next) })
}

/// An export that is being made, or is there: it is fetched as part of this page, since where it
/// is does not stay good.
fn waiting(looks: u32, body: &[u8]) -> Result<Page, PageError> {
    let export: Export =
        wire::object(body).map_err(|error| PageError(format!("not an export: {error}")))?;
    match (export.state.as_str(), export.result_url) {
        ("complete", Some(url)) => {
            Ok(Page { details: vec![format!("fetch {url}")], ..Page::default() })
        }
        ("waiting" | "working", _) if looks < EXPORT_LOOKS => {
            let next = format!("look {} {}", looks + 1, export.id);
            Ok(Page { wait: Some(EXPORT_PAUSE), ..Page::new(Vec::new(), Some(next)) })
        }
        ("waiting" | "working", _) => Err(PageError("the export is not getting ready".to_owned())),
        _ => Err(PageError("the export has failed or is gone".to_owned())),
    }
}

/// The export itself lies elsewhere. Its URL is all that it takes: no key goes there.
fn fetch(query: &Query<'_>, url: &str) -> Result<PageRequest, SettingError> {
    let base = query.api(API, "")?;
    let url = base.join(url).ok();
    let url = url.filter(|url| url.scheme() == "https" || url.origin() == base.origin());
    url.map(PageRequest::get).ok_or_else(|| {
        let hint = "it must be an https URL; ask Mandrill";
        query.settings.problem("base_url", "leads to an export that cannot be fetched", hint)
    })
}

/// The rows of an exported list, each with the header that says what its fields are.
fn exported(body: &[u8]) -> Result<Page, PageError> {
    let bytes = unzip(body)?;
    Ok(Page::new(wire::records(&bytes, &["email"])?, None))
}

fn unzip(body: &[u8]) -> Result<Vec<u8>, PageError> {
    let bad = || PageError(format!("the export is no whole archive with {EXPORT_FILE}"));
    let mut archive = ZipArchive::new(Cursor::new(body)).map_err(|_| bad())?;
    let file = archive.by_name(EXPORT_FILE).map_err(|_| bad())?;
    let mut bytes = Vec::new();
    let read = file.take(EXPORT_MAX + 1).read_to_end(&mut bytes).map_err(|_| bad())?;
    if read as u64 > EXPORT_MAX {
        return Err(PageError(format!("the list is larger than {} MiB", EXPORT_MAX >> 20)));
    }
    Ok(bytes)
}

/// Reads a message of a search: what its state says has happened.
pub(super) fn message(element: &Element, stamp: &Stamp<'_>) -> Result<Option<Event>, Unreadable> {
    let bad = |error: Misfit| Unreadable(format!("not a message of Mandrill: {error}"));
    let sent: Sent = wire::object(&element.body).map_err(bad)?;
    if sent.channel.as_deref() == Some(SMS) {
        return Ok(None);
    }
    let msg: Message = wire::object(&element.body).map_err(bad)?;
    let state = sent.state.need("state")?;
    let row = STATES.iter().find(|(known, _)| *known == state);
    let word = row.map_or(state, |(_, word)| *word).to_owned();
    // What a recipient does later has no time of its own here.
    let undated = matches!(state, "spam" | "unsub");
    let wire = Wire { ts: sent.time(), msg: Some(msg).into(), ..Wire::default() };
    let event = match word.as_str() {
        "reject" => Some(wire.refused(stamp)?),
        word => wire.message_event(word, stamp)?,
    };
    let seen = |event| Event { undated, at: stamp.received_at, ..event };
    Ok(if undated { event.map(seen) } else { event })
}

impl Sent {
    /// When it came to its state: at the attempt that led there, else when it was sent.
    fn time(&self) -> When {
        let state = self.state.text().unwrap_or("");
        let was_tried = !matches!(state, "rejected" | "spam" | "unsub");
        let attempts = self.smtp_events.iter().filter(|a| was_tried && a.ts.given().is_some());
        let led = attempts.clone().rev().find(|a| a.state.as_deref() == Some(state));
        let last = led.or(attempts.clone().next_back()).map_or(&self.ts, |attempt| &attempt.ts);
        last.clone()
    }
}

/// Reads an entry of the denylist: JSON, or a row of an export below its header.
pub(super) fn entry(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let reject = if element.context.is_empty() {
        let bad =
            |error: Misfit| Unreadable(format!("not an entry of Mandrill's denylist: {error}"));
        wire::object(&element.body).map_err(bad)?
    } else {
        row(element)?
    };
    let times = [("last_event_at", &reject.last_event_at), ("created_at", &reject.created_at)];
    let at = times.into_iter().find(|(_, time)| !time.is_absent());
    let at = at.map(|(name, time)| time.utc(name, stamp.received_at)).transpose()?;
    let word = format!("denylist/{}", reject.reason.as_deref().unwrap_or(""));
    let event = reject.event(EventKind::Listed, word, at.unwrap_or(stamp.received_at), stamp)?;
    let undated = at.is_none();
    // With a time it is the same event as the webhook's about the entry.
    Ok(Event { undated, identity: undated.then(|| "suppressions".to_owned()), ..event })
}

/// A row of an export.
fn row(element: &Element) -> Result<Reject, Unreadable> {
    let record = Record::parse(element)?;
    let get = |name: &str| record.get(name);
    Ok(Reject {
        reason: get("reason").into(),
        detail: get("detail").into(),
        email: get("email").unwrap_or_default().into(),
        created_at: When::of(get("created_at")),
        last_event_at: When::of(get("last_event_at")),
        expires_at: When::of(get("expires_at")),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::super::super::{Setting, Settings, Window};
    use super::*;
    use crate::model::{Origin, SourceName, Time};
    use crate::secret::Secret;

    fn archive(name: &str, text: &str) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn only_a_whole_archive_with_the_list_is_read() {
        let whole = archive(EXPORT_FILE, "Email,Reason\r\na@example.com,spam\r\n");
        let rows = exported(&whole).unwrap().rows;
        assert_eq!(
            rows,
            [Element { context: "Email,Reason".into(), body: b"a@example.com,spam".into() }]
        );
        for end in 0..whole.len() {
            assert!(exported(&whole[..end]).is_err(), "cut at {end}");
        }
        assert!(exported(&archive("activity.csv", "email\n")).is_err(), "another file");
        assert!(exported(&archive(EXPORT_FILE, "<html></html>")).is_err(), "no list");
        assert!(exported(&archive(EXPORT_FILE, "email,reason\n")).unwrap().rows.is_empty());
    }

    #[test]
    fn a_message_that_is_no_mail_says_nothing_and_is_read() {
        let source = SourceName::parse("acme").unwrap();
        let stamp = Stamp {
            source: &source,
            origin: Origin::Poll,
            feed: "events",
            received_at: Time::from_seconds(1_800_000_000),
        };
        let read = |row: serde_json::Value| {
            let element = Element { context: String::new(), body: row.to_string().into() };
            message(&element, &stamp)
        };
        let sms = json!({ "ts": 1_700_000_000, "_id": "a1", "channel": "sms", "state": "bounced",
            "to": "+15550100", "from": "+15550199" });
        assert_eq!(read(sms), Ok(None));
        for channel in [json!("email"), json!(null)] {
            let mail = json!({ "ts": 1_700_000_000, "_id": "a1", "channel": channel,
                "state": "bounced", "email": "a@example.com" });
            let event = read(mail).unwrap().unwrap();
            assert_eq!(event.kind, EventKind::SoftBounce);
        }
    }

    #[test]
    fn an_export_that_does_not_come_is_given_up() {
        let state = |state: &str| json!({ "id": "1", "state": state }).to_string();
        let next = waiting(0, state("waiting").as_bytes()).unwrap();
        assert_eq!((next.next.as_deref(), next.wait), (Some("look 1 1"), Some(EXPORT_PAUSE)));
        assert!(waiting(EXPORT_LOOKS, state("working").as_bytes()).is_err());
        for gone in ["error", "expired", "complete"] {
            assert!(waiting(0, state(gone).as_bytes()).is_err(), "{gone}");
        }
    }

    #[test]
    fn a_wrong_key_is_told_by_the_body() {
        let told = |name: &str| json!({ "status": "error", "code": -1, "name": name }).to_string();
        assert!(is_bad_key(told("Invalid_Key").as_bytes()));
        assert!(!is_bad_key(told("ValidationError").as_bytes()));
        assert!(!is_bad_key(b"<html>") && !is_bad_key(b""));
    }

    #[test]
    fn an_export_is_fetched_without_the_key_and_not_in_the_clear() {
        let mut settings = Settings::default();
        settings.set("api_key", Setting::Secrets(vec![Secret::new("k3y")]));
        let now = Time::from_seconds(0);
        let asked = |next: &str| {
            let window = Window { since: now, until: now };
            let feed = "suppressions";
            request(&Query { settings: &settings, feed, window, next: Some(next), now })
        };
        let fetched = asked("fetch https://files.example.com/a.zip?sig=b%20c").unwrap();
        assert_eq!(fetched.url.as_str(), "https://files.example.com/a.zip?sig=b%20c");
        assert!(fetched.headers.is_empty() && fetched.body.is_none());
        for url in ["http://files.example.com/a.zip", "http://127.0.0.1/", "file:///etc/passwd"] {
            assert!(asked(&format!("fetch {url}")).is_err(), "{url}");
        }
    }
}
