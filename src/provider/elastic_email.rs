//! Elastic Email: unsigned, so behind credentials; one event per request, by GET in the query of
//! the URL, or, by its newer webhooks, as a JSON object.
//!
//! Sources: help.elasticemail.com, 4804685 and 2376855, "HTTP Web Notification".

use super::wire::{self, Fields};
use super::{Class, Faults, Notification, Provider, Said, Sample, Stamp, Unreadable};
use crate::model::{Address, Element, Event, EventKind, Time};

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

/// What a category makes of a failure.
#[derive(Clone, Copy)]
enum Means {
    /// This.
    Kind(EventKind),
    /// This, unless an administrator's rows tell otherwise.
    Class(Class),
}

/// The categories of `Error` (help.elasticemail.com, 2376855, `category`).
const CATEGORIES: &[(&str, Means)] = &[
    ("NoMailbox", Means::Class(Class::Hard)),
    ("Spam", Means::Kind(EventKind::Blocked)),
    ("BlackListed", Means::Kind(EventKind::Blocked)),
    ("SPFProblem", Means::Kind(EventKind::Blocked)),
    ("ContentFilter", Means::Kind(EventKind::Blocked)),
    ("WhitelistingProblem", Means::Kind(EventKind::Blocked)),
    ("GreyListed", Means::Class(Class::Soft)),
    ("Throttled", Means::Class(Class::Soft)),
    ("Timeout", Means::Class(Class::Soft)),
    ("ConnectionProblem", Means::Class(Class::Soft)),
    ("ConnectionTerminated", Means::Class(Class::Soft)),
    ("AccountProblem", Means::Class(Class::Soft)),
    // Whether the domain is gone, or its servers for a while, is not told.
    ("DNSProblem", Means::Class(Class::Soft)),
    ("ManualCancel", Means::Kind(EventKind::Failed)),
    ("CodeError", Means::Kind(EventKind::Failed)),
    ("NotDelivered", Means::Kind(EventKind::Failed)),
    ("Ignore", Means::Kind(EventKind::Failed)),
    ("Unknown", Means::Kind(EventKind::Failed)),
];

pub(super) struct ElasticEmail;

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

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let fields = Fields::parse(&element.body)?;
        let need =
            |name: &str| fields.get(name).ok_or_else(|| Unreadable(format!("{name}: is missing")));
        let status = need("status")?;
        let address = wire::mailbox(need("to")?)?;
        let date = need("date")?;
        let at = wire::utc_time(&spelled(date), stamp.received_at)?;
        let is_error = status.eq_ignore_ascii_case(ERROR);
        let category = fields.get("category").filter(|_| is_error);
        let kind = kind(status, category, stamp.faults);
        let words = [status].into_iter().chain(category);
        let provider_kind = words.collect::<Vec<&str>>().join(":");
        let message_id = fields.get("messageid").or_else(|| fields.get("transaction"));
        let postback = fields.get("postback");
        let event = Event {
            message_id: message_id.and_then(wire::bare_id),
            tags: fields.text("channel").into_iter().collect(),
            url: fields.text("target"),
            metadata: postback.map(|text| serde_json::json!({ "postback": text }).to_string()),
            ..stamp.event(self.name(), kind, provider_kind, address, at)
        };
        Ok(vec![event])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (status, category) = match kind {
            EventKind::HardBounce => (ERROR, "NoMailbox"),
            EventKind::SoftBounce => (ERROR, "ConnectionProblem"),
            EventKind::Blocked => (ERROR, "Spam"),
            EventKind::Failed => (ERROR, "ManualCancel"),
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

fn kind(status: &str, category: Option<&str>, faults: &Faults) -> EventKind {
    let same = |known: &str, given: &str| known.eq_ignore_ascii_case(given);
    if let Some((_, kind)) = STATUSES.iter().find(|(known, _)| same(known, status)) {
        return *kind;
    }
    if !same(ERROR, status) {
        return EventKind::Unknown;
    }
    // No word of the server is passed on: the category is all there is.
    let given = category.unwrap_or("");
    match CATEGORIES.iter().find(|(known, _)| same(known, given)) {
        Some((_, Means::Kind(kind))) => *kind,
        Some((_, Means::Class(class))) => faults.kind(*class, &Said::default()),
        None => faults.kind(Class::Unclear, &Said::default()),
    }
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
