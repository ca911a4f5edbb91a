//! MailerSend: one event per notification, signed over the body.
//!
//! Payloads of version 1 nest the e-mail in the event, those of version 2 are flat: both are read.
//! Sources: developers.mailersend.com, account/webhooks, email/activity, email/recipients
//! (suppressions). A row of activity is what a webhook has in `data`, with the same id.

use std::time::Duration;

use http::HeaderName;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::wire::{self, Id, Json, Misfit, Part, Text, Texts, Told, When};
use super::{
    Check, Feed, Key, KeyKind, Notification, Page, PageError, PageRequest, Provider, Query, Sample,
    SettingError, Settings, Stamp, Unreadable, numbered,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Reason, Time};
use crate::secret::Secret;

/// The header that holds the signature.
const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// What signs the ping that comes before a webhook has a secret of its own. MailerSend publishes
/// it, so it proves nothing: only the ping is answered for it, and nothing is kept.
const PING_SECRET: &str = "test_Am3L1GuOIc4blLUuHqAPxxwkZaJyEk8G";
const PING: &str = "webhook.test";

/// How long an address stays on hold, where the event does not say.
const HOLD: Duration = Duration::from_secs(3 * 24 * 60 * 60);

const WEBHOOK_KEYS: &[Key] = &[Key::optional_secret("secret")];

/// The API.
const API: &str = "https://api.mailersend.com/v1";

const POLL_KEYS: &[Key] = &[
    Key::secret("api_key"),
    Key::required("domains", KeyKind::Texts),
    Key::optional_text("base_url"),
];

/// Rows of a page, the most that there can be.
const PAGE_ROWS: u64 = 100;

const FEEDS: &[Feed] = &[
    Feed::events("events").overlap(Duration::from_secs(3_600)),
    Feed::suppressions("bounces").whole(),
    Feed::suppressions("complaints").whole(),
    Feed::suppressions("unsubscribes").whole(),
    Feed::suppressions("blocklist").whole(),
    Feed::suppressions("on_hold").whole(),
];

/// The suppression lists: feed, path, and the cause of their rows. The block list is the sender's
/// own.
const LISTS: &[(&str, &str, Option<Reason>)] = &[
    ("bounces", "hard-bounces", Some(Reason::HardBounce)),
    ("complaints", "spam-complaints", Some(Reason::Complaint)),
    ("unsubscribes", "unsubscribes", Some(Reason::Unsubscribe)),
    ("blocklist", "blocklist", None),
    ("on_hold", "on-hold-list", None),
];

/// The events that are asked for (email/activity). Opens and clicks are only a burden.
const ASKED: &[&str] =
    &["delivered", "deferred", "soft_bounced", "hard_bounced", "spam_complaints", "unsubscribed"];

/// The event types (account/webhooks, "Available events"). That an address is on hold, or no
/// longer, is MailerSend's own list; it says nothing of what the recipient wants.
const TYPES: &[(&str, EventKind)] = &[
    ("activity.sent", EventKind::Accepted),
    ("activity.delivered", EventKind::Delivered),
    ("activity.deferred", EventKind::Deferred),
    ("activity.soft_bounced", EventKind::SoftBounce),
    ("activity.hard_bounced", EventKind::HardBounce),
    ("activity.spam_complaint", EventKind::Complaint),
    // As the API has it.
    ("activity.spam_complaints", EventKind::Complaint),
    ("activity.unsubscribed", EventKind::Unsubscribed),
    ("activity.opened", EventKind::Opened),
    ("activity.opened_unique", EventKind::Opened),
    ("activity.clicked", EventKind::Clicked),
    ("activity.clicked_unique", EventKind::Clicked),
    ("activity.suppressed", EventKind::Rejected),
    ("recipient.on_hold_added", EventKind::Listed),
    ("recipient.on_hold_removed", EventKind::Unlisted),
];

/// What starts the types that tell nothing of a recipient of ours.
const IGNORED: &[&str] = &[
    "activity.survey_",
    "sender_identity.",
    "inbound",
    "maintenance.",
    "email_single.",
    "email_list.",
    "bulk_email.",
    PING,
];

/// The types to tick.
const EVENT_TYPES: &[&str] = &[
    "activity.delivered",
    "activity.deferred",
    "activity.soft_bounced",
    "activity.hard_bounced",
    "activity.spam_complaint",
    "activity.unsubscribed",
    "recipient.on_hold_added",
    "recipient.on_hold_removed",
];

pub(super) struct MailerSend;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kind {
    #[serde(rename = "type")]
    name: Told,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    created_at: When,
    data: Part<Data>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    id: Id,
    created_at: When,
    /// Version 1: the e-mail. Version 2: the recipient's address.
    email: Json,
    /// The recipient's address, or an object with it.
    recipient: Json,
    message_id: Id,
    email_id: Id,
    tags: Texts,
    /// What else is known: of version 1, and of version 2. Empty ones are `[]` or null.
    morph: Json,
    meta: Json,
    reason: Text,
    readable_reason: Text,
    on_hold_until: When,
    /// Of a row of the block list: `exact` or `pattern`, and what it covers.
    #[serde(rename = "type")]
    form: Text,
    pattern: Told,
}

/// Where a page leads to.
#[derive(Deserialize)]
struct Links {
    next: Option<String>,
}

#[derive(Deserialize)]
struct Listing {
    links: Links,
}

impl Provider for MailerSend {
    fn name(&self) -> &'static str {
        "mailersend"
    }

    fn verification(&self) -> &'static str {
        "HMAC-SHA256 of the body, hex, in `Signature`"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        let secrets = settings.secrets("secret").to_vec();
        if secrets.is_empty() {
            return Ok(Vec::new());
        }
        if secrets.contains(&Secret::new(PING_SECRET)) {
            let hint = "copy the signing secret of the webhook itself";
            return Err(settings.problem("secret", "is the one that MailerSend publishes", hint));
        }
        Ok(vec![Check::hmac_of_body(SIGNATURE, "", secrets)])
    }

    fn event_types(&self) -> &'static [&'static str] {
        EVENT_TYPES
    }

    fn is_probe(&self, notification: &Notification<'_>) -> bool {
        let check = Check::hmac_of_body(SIGNATURE, "", vec![Secret::new(PING_SECRET)]);
        let is_ping = || {
            wire::object(notification.body).is_ok_and(|kind: Kind| kind.name.text() == Some(PING))
        };
        check.verify(notification, None).is_ok() && is_ping()
    }

    fn has_probes(&self) -> bool {
        true
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let unreadable =
            |error: Misfit| Unreadable(format!("not an event of MailerSend's: {error}"));
        if let Some((_, _, cause)) = LISTS.iter().find(|(feed, ..)| *feed == stamp.feed) {
            let data: Data = wire::object(&element.body).map_err(unreadable)?;
            return Ok(vec![data.listed(*cause, stamp)?]);
        }
        let kind: Kind = wire::object(&element.body).map_err(unreadable)?;
        let mut name = kind.name.need("type")?.to_owned();
        let is_row = stamp.feed == "events";
        if is_row {
            name = format!("activity.{name}");
        }
        let known = TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        if known.is_none() && IGNORED.iter().any(|start| name.starts_with(start)) {
            return Ok(Vec::new());
        }
        let Wire { created_at, data } = if is_row {
            let data: Data = wire::object(&element.body).map_err(unreadable)?;
            Wire { created_at: When::default(), data: Some(data).into() }
        } else {
            wire::object(&element.body).map_err(unreadable)?
        };
        let data = data.into_inner().unwrap_or_default();
        let recipient = data.recipient();
        if known.is_none() && recipient.is_none() {
            return Ok(Vec::new());
        }
        let recipient =
            recipient.ok_or_else(|| Unreadable("recipient: there is no text of it".to_owned()))?;
        let address = wire::mailbox(recipient)?;
        // The event's own time; the other one is that of the notification in version 1.
        let time = data.created_at.some().unwrap_or(&created_at);
        let at = time.utc("created_at", stamp.received_at)?;
        let diagnostic = data.diagnostic();
        let text = diagnostic.as_deref().unwrap_or("");
        let (smtp_code, enhanced_code) = (wire::smtp_code(text), wire::enhanced_code(text));
        let kind = known.unwrap_or(EventKind::Unknown);
        let is_failure = matches!(kind, EventKind::HardBounce | EventKind::SoftBounce)
            || kind == EventKind::Deferred;
        let word = name.trim_start_matches("activity.");
        let failure = is_failure.then(|| Failure::of([word]));
        let until = (kind == EventKind::Listed).then(|| data.held_until(at));
        let event = Event {
            failure,
            message_id: data.message_id(),
            smtp_code,
            enhanced_code,
            diagnostic,
            tags: data.tags(),
            url: data.detail("url"),
            user_agent: data.detail("user_agent"),
            provider_event_id: data.id.clone(),
            identity: data.id.clone(),
            until,
            ..stamp.event(self.name(), kind, name, address, at)
        };
        Ok(vec![event])
    }

    fn feeds(&self) -> &[Feed] {
        FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        POLL_KEYS
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let (domain, from) = place(query)?;
        let (page, limit) = numbered(from, PAGE_ROWS);
        let list = LISTS.iter().find(|(feed, ..)| *feed == query.feed);
        let mut url = match list {
            Some((_, path, _)) => query.api(API, &format!("suppressions/{path}"))?,
            None => query.api(API, &format!("activity/{domain}"))?,
        };
        let mut pairs = url.query_pairs_mut();
        if list.is_some() {
            pairs.append_pair("domain_id", domain);
        }
        pairs.append_pair("page", &page.to_string()).append_pair("limit", &limit.to_string());
        if list.is_none() {
            let until = wire::ceil_second(query.window.until);
            pairs.append_pair("date_from", &query.window.since.second().to_string());
            pairs.append_pair("date_to", &until.to_string());
            pairs.extend_pairs(ASKED.iter().map(|event| ("event[]", event)));
        }
        drop(pairs);
        Ok(PageRequest::get(url).bearer(query.secret("api_key")?))
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        let rows = wire::rows_under("data", body)?;
        let Listing { links } = wire::object(body)
            .map_err(|error| PageError(format!("not a page of MailerSend's: {error}")))?;
        let (domain, from) = place(query).map_err(|error| PageError(error.to_string()))?;
        let more = wire::filled(links.next).is_some();
        let token = |from: u64| format!("{domain} {from}");
        let mut page = Page::of_number(rows, numbered(from, PAGE_ROWS), more, token);
        if !more {
            let mut domains = query.settings.texts("domains").iter();
            domains.by_ref().find(|known| *known == domain);
            page.next = domains.next().map(|domain| format!("{domain} 0"));
        }
        Ok(page)
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let told = if kind == EventKind::Blocked { EventKind::HardBounce } else { kind };
        let (name, _) = TYPES.iter().find(|(_, known)| *known == told)?;
        let at = now.floor_second().to_string();
        let id = format!("sample{}", now.nanos());
        let morph = match kind {
            EventKind::HardBounce => json!({ "reason": "Host or domain name not found" }),
            EventKind::SoftBounce => json!({ "reason": "Mailbox full" }),
            EventKind::Blocked => json!({ "reason": "550 5.7.1 Message rejected as spam" }),
            EventKind::Clicked => json!({ "url": "https://example.com/" }),
            _ => Value::Null,
        };
        let body = json!({
            "type": name,
            "domain_id": "sample",
            "created_at": at,
            "webhook_id": "sample",
            "data": {
                "object": "activity",
                "id": id,
                "type": name.split_once('.').map(|(_, bare)| bare),
                "created_at": at,
                "email": {
                    "id": id,
                    "message": { "id": id },
                    "recipient": { "email": address.received() },
                },
                "morph": morph,
            },
        });
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

impl Data {
    fn recipient(&self) -> Option<&str> {
        let email = self.email.as_ref();
        let nested = email.and_then(|email| email.pointer("/recipient/email"));
        let flat = email.filter(|email| email.is_string());
        let own = self.recipient.as_ref();
        let own = own.and_then(|own| own.get("email").or(Some(own)));
        nested.or(flat).or(own).and_then(Value::as_str)
    }

    /// The id that the API answered with, or, where it is missing, that of the recipient's e-mail.
    fn message_id(&self) -> Option<String> {
        let email = self.email.as_ref();
        let text = |path: &str| email.and_then(|email| email.pointer(path)).and_then(Value::as_str);
        let text = |path: &str| text(path).filter(|id| !id.is_empty());
        let nested = text("/message/id").or(self.message_id.as_deref());
        nested.or(text("/id")).or(self.email_id.as_deref()).map(str::to_owned)
    }

    /// A detail of the event.
    fn detail(&self, name: &str) -> Option<String> {
        let holders = [&self.morph, &self.meta].into_iter().filter_map(|json| json.as_ref());
        let mut found = holders.filter_map(|holder| holder.get(name)).filter_map(Value::as_str);
        found.find(|text| !text.is_empty()).map(str::to_owned)
    }

    fn diagnostic(&self) -> Option<String> {
        // Of an unsubscription the plain reason is only the number of an answer.
        let plain = || self.detail("reason").or_else(|| self.reason.clone());
        let readable = || self.readable_reason.clone();
        self.detail("readable_reason")
            .or_else(readable)
            .or_else(plain)
            .filter(|text| !text.is_empty())
    }

    fn tags(&self) -> Vec<String> {
        let nested = self.email.as_ref().and_then(|email| email.get("tags"));
        let nested = nested.map(|tags| wire::parse::<Texts>(&tags.to_string()).unwrap_or_default());
        nested.map_or_else(|| self.tags.to_vec(), Vec::from)
    }

    /// A row of a suppression list.
    fn listed(&self, cause: Option<Reason>, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
        if self.form.as_deref() == Some("pattern") {
            let told = "a whole domain or pattern is listed: refuse it in the MTA itself";
            return Err(Unreadable(told.to_owned()));
        }
        let address = match self.recipient() {
            Some(recipient) => wire::mailbox(recipient)?,
            None => self.pattern.address("recipient")?,
        };
        let created = self.created_at.given();
        let at = self.created_at.some().map(|time| time.utc("created_at", stamp.received_at));
        let at = at.transpose()?;
        let undated = at.is_none();
        let at = at.unwrap_or(stamp.received_at);
        let is_hold = stamp.feed == "on_hold";
        Ok(Event {
            undated,
            reason: cause,
            until: is_hold.then(|| self.held_until(at)),
            diagnostic: self.diagnostic(),
            identity: Some(format!("{}:{}", stamp.feed, created.unwrap_or(""))),
            ..stamp.event("mailersend", EventKind::Listed, stamp.feed.to_owned(), address, at)
        })
    }

    /// When the hold that began at `at` ends.
    fn held_until(&self, at: Time) -> Time {
        // A hold ends ahead of us, where `wire::time` would not believe it.
        let far = Time::END;
        self.on_hold_until.utc("on_hold_until", far).unwrap_or(at.plus(HOLD))
    }
}

/// The domain that a query leads to, and how many of its rows are before the page: the token is
/// both.
fn place<'q>(query: &Query<'q>) -> Result<(&'q str, u64), SettingError> {
    let problem = |what, hint| query.settings.problem("domains", what, hint);
    let hint = "list the ids that MailerSend's page of each domain shows, as \"7z3m5jgrogdpyo6n\"";
    let domains = query.settings.texts("domains");
    let is_id = |text: &String| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !domains.iter().all(is_id) {
        return Err(problem("holds what is no id of a domain", hint));
    }
    let first = domains.first().ok_or_else(|| problem("is empty", hint))?;
    let Some(next) = query.next else { return Ok((first, 0)) };
    let parsed = next.split_once(' ').and_then(|(domain, from)| Some((domain, from.parse().ok()?)));
    let known = parsed.filter(|(domain, _)| domains.iter().any(|known| known == domain));
    known.ok_or_else(|| problem("no longer holds the domain that was being read", "read it anew"))
}

#[cfg(test)]
mod tests {
    use super::super::signed::{Sent, read_one, settings};
    use super::*;

    /// Vectors made by another program.
    const SECRET: &str = "mailersend-test-signing-secret";
    const BODY: &str = concat!(
        r#"{"type":"activity.hard_bounced","domain_id":"7z3m5jgrogdpyo6n","#,
        r#""created_at":"2026-06-15T10:32:12.520507Z","webhook_id":"x","#,
        r#""url":"https://hooks.example.com/webhook/mailersend","data":{"object":"activity","#,
        r#""id":"63fd251d5c00f8e52001fce6","type":"hard_bounced","#,
        r#""created_at":"2026-06-15T10:32:11.593000Z","email":{"id":"63fd1c1de225707fa905f0a8","#,
        r#""status":"rejected","message":{"id":"63fd25194d5edba3da09e044"},"#,
        r#""recipient":{"email":"invalid@example.com"}},"morph":{"object":"recipient_bounce","#,
        r#""reason":"Host or domain name not found"}}}"#,
    );
    const TAG: &str = "895c7dbadc7f27ef5e049cb1846cb0da6cb757e32bba6aa53effdcbf78869def";
    const PING_BODY: &str = r#"{"type":"webhook.test","message":"This is a ping test message"}"#;
    const PING_TAG: &str = "6ad951d2a998c3466ee0cee1e993145eb9e376ef5356c6a80c5d0f53c22d96ed";

    fn checks(secrets: &[&str]) -> Vec<Check> {
        MailerSend.checks(&settings(secrets)).unwrap()
    }

    #[test]
    fn the_known_signature_holds_and_nothing_else() {
        let sent = Sent::new(0, &[("signature", TAG)], BODY);
        sent.refused_when_damaged(&checks(&[SECRET]), "signature");
        assert_eq!(sent.verify(&checks(&["new", SECRET])), Ok(()), "one of two");
        assert!(sent.verify(&checks(&["another's"])).is_err());
    }

    #[test]
    fn the_published_secret_is_good_for_the_ping_only() {
        let ping = Sent::new(0, &[("signature", PING_TAG)], PING_BODY);
        assert!(MailerSend.is_probe(&ping.notification()));
        assert!(ping.verify(&checks(&[SECRET])).is_err());
        assert_eq!(MailerSend.checks(&settings(&[SECRET, PING_SECRET])).unwrap_err().key, "secret");
        let own = Sent::new(0, &[("signature", TAG)], BODY);
        assert!(!MailerSend.is_probe(&own.notification()));
        let published = Check::hmac_of_body(SIGNATURE, "", vec![Secret::new(PING_SECRET)]);
        for body in [BODY, "", r#"{"type":"webhook.tests"}"#, r#"["webhook.test"]"#] {
            let headers = http::HeaderMap::new();
            let (body, url) = (body.as_bytes().to_vec(), None);
            let mut draft = super::super::Draft::new(headers, body, url, own.now);
            published.sign(&mut draft).unwrap();
            assert!(!MailerSend.is_probe(&draft.notification()));
        }
        let unsigned = Sent::new(0, &[], PING_BODY);
        assert!(!MailerSend.is_probe(&unsigned.notification()));
    }

    #[test]
    fn only_ids_of_domains_are_asked_for() {
        use super::super::{Setting, Window};
        let asked = |domains: &[&str], next: Option<&str>| {
            let mut settings = Settings::default();
            settings.set("api_key", Setting::Secrets(vec![Secret::new("mlsn.1")]));
            let domains = domains.iter().map(|id| (*id).to_owned()).collect();
            settings.set("domains", Setting::Texts(domains));
            let now = Time::from_seconds(0);
            let window = Window { since: now, until: now };
            let query = Query { settings: &settings, feed: "events", window, next, now };
            MailerSend.page_request(&query).map(|request| request.url.path().to_owned())
        };
        assert_eq!(asked(&["a1", "b2"], Some("b2 3")).unwrap(), "/v1/activity/b2");
        for (domains, next) in [
            (&[][..], None),
            (&["example.com"], None),
            (&["a/../b"], None),
            (&[""], None),
            (&["a1"], Some("b2 3")),
            (&["a1"], Some("a1")),
        ] {
            assert_eq!(asked(domains, next).unwrap_err().key, "domains", "{domains:?} {next:?}");
        }
    }

    #[test]
    fn a_hold_ends_by_itself() {
        let until = |field: &str| {
            let body = format!(
                r#"{{"type":"recipient.on_hold_added","created_at":"2026-06-15T10:00:00.5Z",
                    "data":{{"email":"a@example.com"{field}}}}}"#
            );
            let received = Time::parse("2026-06-15T12:00:00Z").unwrap();
            let event = read_one(&MailerSend, &wire::element(body.as_bytes()), received);
            event.until.map(|until| until.to_string())
        };
        let said = |text: &str| until(&format!(r#","on_hold_until":"{text}""#));
        assert_eq!(said("2026-06-19T10:00:00Z").as_deref(), Some("2026-06-19T10:00:00Z"));
        assert_eq!(said("2026-06-19 10:00:00").as_deref(), Some("2026-06-19T10:00:00Z"));
        for text in [until(""), said("soon"), until(r#","on_hold_until":null"#)] {
            assert_eq!(text.as_deref(), Some("2026-06-18T10:00:00.5Z"));
        }
    }
}
