//! Mandrill (Mailchimp Transactional): a form with one field that holds a JSON array of events.
//!
//! Source: Mailchimp Transactional, "Webhook Format" and "Authenticating webhook requests". The
//! API is in `api`.

mod api;

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::wire::{self, Id, Json, Part, Parts, Text, Texts, Told, When};
use super::{
    Check, Encoding, Feed, Form, Hash, Key, Mac, Notification, Page, PageError, PageRequest, Piece,
    Place, Provider, Query, Rate, Sample, Scheme, SettingError, Settings, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Reason, Time};
use http::HeaderName;

const SIGNATURE: HeaderName = HeaderName::from_static("x-mandrill-signature");

/// The field of the form that holds the events.
const FIELD: &str = "mandrill_events";

const WEBHOOK_KEYS: &[Key] = &[Key::optional_secret("secret"), Key::optional_text("url")];

/// What an event means: a kind, or nothing about a recipient. Bounces are judged.
type Meaning = Option<EventKind>;

/// Page "Webhook Format". `send` says that Mandrill took the message, `delivered` that the
/// recipient's server did.
const EVENTS: &[(&str, Meaning)] = &[
    ("send", Some(EventKind::Accepted)),
    ("delivered", Some(EventKind::Delivered)),
    ("deferral", Some(EventKind::Deferred)),
    ("hard_bounce", Some(EventKind::SoftBounce)),
    ("soft_bounce", Some(EventKind::SoftBounce)),
    ("spam", Some(EventKind::Complaint)),
    ("unsub", Some(EventKind::Unsubscribed)),
    ("open", Some(EventKind::Opened)),
    ("click", Some(EventKind::Clicked)),
    ("inbound", None),
];

/// Parts of a `bounce_description` that say that the message, or its sender, was not wanted, with
/// the number that stands for that in `bgtools_code`.
const UNWANTED: &[(&str, &str)] = &[("spam", "52"), ("policy", "50"), ("block", "50")];

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * HOUR.as_secs());

/// Why a message was not sent: `reject_reason` in the API's `/messages/send`; and for how long an
/// address stays on the denylist for it ("Reputation and Rejections"). A word that is not here says
/// of no address that it is listed.
const REFUSALS: &[(&str, EventKind, Option<Reason>, Option<Duration>)] = &[
    ("hard-bounce", EventKind::Rejected, None, Some(DAY.saturating_mul(7))),
    ("soft-bounce", EventKind::Rejected, None, Some(DAY)),
    ("spam", EventKind::Rejected, None, Some(DAY.saturating_mul(365))),
    ("unsub", EventKind::Rejected, None, Some(DAY.saturating_mul(365))),
    ("custom", EventKind::Rejected, None, None),
    ("invalid", EventKind::Rejected, Some(Reason::Invalid), None),
];

/// Why an entry of the denylist is there, where that holds for good, whenever the entry ends. A
/// soft bounce, or an entry by hand (`custom`), is just listed, and until its end.
const CAUSES: &[(&str, Reason)] = &[
    ("hard-bounce", Reason::HardBounce),
    ("spam", Reason::Complaint),
    ("unsub", Reason::Unsubscribe),
];

pub(super) struct Mandrill;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    event: Text,
    #[serde(rename = "type")]
    list: Text,
    action: Text,
    ts: When,
    #[serde(rename = "_id")]
    id: Id,
    msg: Part<Message>,
    reject: Part<Reject>,
    url: Text,
    user_agent: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    #[serde(rename = "_id")]
    id: Id,
    email: Told,
    diag: Text,
    bounce_description: Text,
    /// The number of a bounce's class.
    bgtools_code: Text,
    tags: Texts,
    metadata: Json,
    reject: Json,
    smtp_events: Parts<Attempt>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attempt {
    diag: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reject {
    reason: Text,
    detail: Text,
    email: Told,
    created_at: When,
    last_event_at: When,
    expires_at: When,
}

impl Provider for Mandrill {
    fn name(&self) -> &'static str {
        "mandrill"
    }

    fn times_differ(&self) -> bool {
        true
    }

    fn verification(&self) -> &'static str {
        "HMAC-SHA1 of the URL and the form, base64, in a header"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        let keys = settings.secrets("secret").to_vec();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let scheme = Scheme {
            place: Place::Header(SIGNATURE),
            encoding: Encoding::Base64,
            form: Form::Plain(String::new()),
            signed: vec![Piece::Url, Piece::SortedForm],
            stamp: None,
        };
        Ok(vec![Check::Mac(Mac { scheme, hash: Hash::Sha1, keys })])
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        match events_field(notification.body) {
            Some(events) => wire::split_json(events.as_bytes()),
            None => vec![wire::element(notification.body)],
        }
    }

    fn event_types(&self) -> &'static [&'static str] {
        &[
            "Message Is Sent",
            "Message Is Delayed",
            "Message Is Bounced",
            "Message Is Soft-Bounced",
            "Message Is Marked As Spam",
            "Message Recipient Unsubscribes",
            "Message Is Rejected",
            "Denylist changes",
        ]
    }

    /// Mandrill tries a URL with no events before it makes the key, and so signs with another.
    fn is_probe(&self, notification: &Notification<'_>) -> bool {
        let fields = form_urlencoded::parse(notification.body).count();
        fields == 1 && events_field(notification.body).is_some_and(|events| events.trim() == "[]")
    }

    fn has_probes(&self) -> bool {
        true
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        match stamp.feed {
            "events" => return Ok(api::message(element, stamp)?.into_iter().collect()),
            "suppressions" => return Ok(vec![api::entry(element, stamp)?]),
            _ => {}
        }
        let wire: Wire = wire::object(&element.body)
            .map_err(|error| Unreadable(format!("not an event of Mandrill: {error}")))?;
        let event = match (wire.event.as_deref(), wire.list.as_deref()) {
            (Some("reject"), _) => Some(wire.refused(stamp)?),
            (Some(word), _) => wire.message_event(word, stamp)?,
            (None, Some("blacklist" | "denylist")) => Some(wire.listing(stamp)?),
            (None, Some("whitelist" | "safelist" | "allowlist")) => None,
            (None, _) => return Err(Unreadable("the event has no type".to_owned())),
        };
        Ok(event.into_iter().collect())
    }

    fn feeds(&self) -> &[Feed] {
        api::FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        api::KEYS
    }

    fn rate(&self) -> Option<Rate> {
        Some(api::RATE)
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        api::request(query)
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        api::page(query, body)
    }

    fn is_unauthorised(&self, _status: u16, body: &[u8]) -> bool {
        api::is_bad_key(body)
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (word, description, said) = match kind {
            EventKind::Accepted => ("send", "", ""),
            EventKind::Delivered => ("delivered", "", ""),
            EventKind::Deferred => ("deferral", "", "smtp;452 4.2.2 The mailbox is full"),
            EventKind::HardBounce => {
                ("hard_bounce", "bad_mailbox", "smtp;550 5.1.1 The account does not exist")
            }
            EventKind::SoftBounce => {
                ("soft_bounce", "mailbox_full", "smtp;552 5.2.2 The mailbox is over quota")
            }
            EventKind::Blocked => {
                ("soft_bounce", "spam_block", "smtp;550 5.7.1 The message looks like spam")
            }
            EventKind::Complaint => ("spam", "", ""),
            EventKind::Unsubscribed => ("unsub", "", ""),
            EventKind::Rejected | EventKind::Failed => ("reject", "", ""),
            EventKind::Opened => ("open", "", ""),
            EventKind::Clicked => ("click", "", ""),
            EventKind::Listed => return Some(sample_of_list("add", address, now)),
            EventKind::Unlisted => return Some(sample_of_list("remove", address, now)),
            EventKind::Resubscribed | EventKind::Unknown => return None,
        };
        let id = format!("{:032x}", now.nanos());
        let mut msg = json!({ "ts": now.second(), "_id": id, "email": address.received(),
            "sender": "sender@example.com", "subject": "Sample", "tags": [], "metadata": [] });
        if !said.is_empty() {
            msg["diag"] = said.into();
        }
        if !description.is_empty() {
            msg["bounce_description"] = description.into();
        }
        if matches!(kind, EventKind::Rejected | EventKind::Failed) {
            let reason = if kind == EventKind::Failed { "rule" } else { "hard-bounce" };
            msg["reject"] = json!({ "reason": reason });
        }
        let mut event = json!({ "event": word, "msg": msg, "_id": id, "ts": now.second() });
        if kind == EventKind::Clicked {
            event["url"] = "https://example.com/".into();
        }
        Some(sample_of(&event))
    }
}

/// The form that holds an event.
fn sample_of(event: &Value) -> Sample {
    let events = json!([event]).to_string();
    let body = form_urlencoded::Serializer::new(String::new()).append_pair(FIELD, &events).finish();
    let content_type = "application/x-www-form-urlencoded";
    Sample { content_type, body: body.into_bytes() }
}

/// A change of the denylist.
fn sample_of_list(action: &str, address: &Address, now: Time) -> Sample {
    let reject = json!({ "reason": "hard-bounce", "email": address.received() });
    sample_of(&json!({ "type": "blacklist", "action": action, "reject": reject,
        "ts": now.second() }))
}

/// The events of a form, if it has one field with them.
fn events_field(body: &[u8]) -> Option<String> {
    let mut fields = form_urlencoded::parse(body).filter(|(name, _)| name == FIELD);
    let (_, events) = fields.next()?;
    fields.next().is_none().then(|| events.into_owned())
}

impl Wire {
    /// What happened to a message. `None` where it says nothing about a recipient.
    fn message_event(&self, word: &str, stamp: &Stamp<'_>) -> Result<Option<Event>, Unreadable> {
        let meaning = EVENTS.iter().find(|(known, _)| *known == word).map(|(_, meaning)| meaning);
        let none = Message::default();
        let description = self.msg.as_ref().unwrap_or(&none).bounce_description.as_deref();
        let kind = match meaning {
            None => EventKind::Unknown,
            Some(None) => return Ok(None),
            Some(Some(kind)) => *kind,
        };
        let is_failure = matches!(kind, EventKind::SoftBounce | EventKind::Deferred);
        let failure = is_failure.then(|| self.failure(word, description.unwrap_or("")));
        let word = match description.filter(|text| !text.is_empty()) {
            Some(description) => format!("{word}/{description}"),
            None => word.to_owned(),
        };
        let event = self.about_message(kind, word, stamp)?;
        Ok(Some(Event { failure, ..event }))
    }

    /// What Mandrill calls a bounce: the description with the event, by itself, its number, and the
    /// event.
    fn failure(&self, word: &str, description: &str) -> Failure {
        let code = self.msg.as_ref().and_then(|msg| msg.bgtools_code.as_deref()).unwrap_or("");
        let unwanted = UNWANTED.iter().find(|(part, _)| description.contains(part));
        let unwanted = unwanted.map_or("", |(_, code)| *code);
        let exact = format!("{word}/{description}");
        Failure::of([exact.as_str(), description, unwanted, code, word])
    }

    /// A message that Mandrill did not send.
    fn refused(&self, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
        let reject = self.msg.as_ref().and_then(|msg| msg.reject.as_ref());
        let reason = reject.and_then(|value| value.get("reason").unwrap_or(value).as_str());
        let reason = reason.unwrap_or("");
        let row = REFUSALS.iter().find(|(known, ..)| *known == reason);
        let kind = row.map_or(EventKind::Failed, |row| row.1);
        let word = if reason.is_empty() { "reject".to_owned() } else { format!("reject/{reason}") };
        let event = self.about_message(kind, word, stamp)?;
        let until = row.and_then(|row| row.3).map(|term| event.at.plus(term));
        let failure = (kind == EventKind::Failed).then(|| Failure::of([reason]));
        Ok(Event { reason: row.and_then(|row| row.2), until, failure, ..event })
    }

    /// A change of the denylist. Its entries end by themselves, and their end lifts nothing here.
    fn listing(&self, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
        let none = Reject::default();
        let reject = self.reject.as_ref().unwrap_or(&none);
        let action = self.action.as_deref().unwrap_or("");
        let kind = match action {
            "add" | "change" => EventKind::Listed,
            "remove" => EventKind::Unlisted,
            _ => EventKind::Unknown,
        };
        let reason = reject.reason.as_deref().unwrap_or("");
        let parts = [self.list.as_deref().unwrap_or(""), action, reason];
        let word = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        reject.event(kind, word, self.time(stamp)?, stamp)
    }

    fn about_message(
        &self,
        kind: EventKind,
        word: String,
        stamp: &Stamp<'_>,
    ) -> Result<Event, Unreadable> {
        let none = Message::default();
        let msg = self.msg.as_ref().unwrap_or(&none);
        let address = msg.email.address("msg.email")?;
        let said = self.said().unwrap_or("");
        let message_id = self.id.clone().or_else(|| msg.id.clone());
        // Once at most for each message; the API does not say when.
        let is_once = matches!(kind, EventKind::Complaint | EventKind::Unsubscribed);
        let once = message_id.clone().filter(|_| is_once);
        // Two links may be followed in one second; the API tells of none.
        let link = self.url.as_deref().filter(|_| kind == EventKind::Clicked);
        let time = self.ts.given().unwrap_or("");
        let link = message_id.as_deref().zip(link).map(|(id, link)| format!("{id} {time} {link}"));
        Ok(Event {
            identity: once.or(link),
            message_id,
            smtp_code: wire::smtp_code(wire::reply(said)),
            enhanced_code: wire::enhanced_code(said),
            diagnostic: wire::filled(said.to_owned()),
            tags: msg.tags.to_vec(),
            url: self.url.clone(),
            user_agent: self.user_agent.clone(),
            metadata: msg.metadata.own_data(),
            ..stamp.event(Mandrill.name(), kind, word, address, self.time(stamp)?)
        })
    }

    /// What the server said: of the bounce, or at the latest attempt.
    fn said(&self) -> Option<&str> {
        let msg = self.msg.as_ref()?;
        let attempts = msg.smtp_events.iter().rev().map(|attempt| &attempt.diag);
        std::iter::once(&msg.diag).chain(attempts).find_map(|text| text.as_deref())
    }

    /// When it happened; `ts` of the message is when it was sent.
    fn time(&self, stamp: &Stamp<'_>) -> Result<Time, Unreadable> {
        self.ts.at("ts", stamp.received_at)
    }
}

impl Reject {
    /// A change of the denylist. What it is there for holds for good, if it says so; else the entry
    /// ends by itself.
    fn event(
        &self,
        kind: EventKind,
        word: String,
        at: Time,
        stamp: &Stamp<'_>,
    ) -> Result<Event, Unreadable> {
        let cause = self.reason.as_deref().unwrap_or("");
        let cause = CAUSES.iter().find(|(known, _)| *known == cause).map(|(_, reason)| *reason);
        let reason = cause.filter(|_| kind == EventKind::Listed);
        let ends = self.expires_at.given();
        let ends = ends.filter(|_| kind == EventKind::Listed && cause.is_none());
        // Written as `2026-06-15 10:32:11`, in UTC (API, `/rejects/list`).
        let until = ends.and_then(|text| Time::parse(&format!("{}Z", text.trim_end_matches('Z'))));
        let diagnostic = self.detail.clone();
        let address = self.email.address("email")?;
        let event = stamp.event(Mandrill.name(), kind, word, address, at);
        Ok(Event { diagnostic, reason, until, ..event })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::provider::signed::read_one;
    use crate::provider::{Draft, Refusal, Setting};
    use crate::secret::Secret;

    const KEY: &str = "TEST_WEBHOOK_KEY";
    const URL: &str = "https://user:pass@hooks.example.com/webhook/mandrill?tenant=a";
    const BARE_URL: &str = "https://hooks.example.com/webhook/mandrill?tenant=a";
    const EVENTS: &str = concat!(
        r#"[{"event":"hard_bounce","msg":{"ts":1461095211,"email":"bounce@example.com","#,
        r#""_id":"abcdef012345789abcdef012345789","diag":"smtp;550 5.1.1 The email account "#,
        r#"that you tried to reach does not exist."},"_id":"abcdef012345789abcdef012345789","#,
        r#""ts":1461095246}]"#,
    );
    const TAG: &str = "42k441NaF/RcwlpLpsbVzwZFHYs=";

    fn form(events: &str) -> Vec<u8> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair(FIELD, events).finish().into_bytes()
    }

    fn check(keys: &[&str]) -> Check {
        let mut settings = Settings::default();
        let secrets = keys.iter().map(|key| Secret::new(*key)).collect();
        settings.set("secret", Setting::Secrets(secrets));
        Mandrill.checks(&settings).unwrap().remove(0)
    }

    fn sent<'a>(headers: &'a HeaderMap, url: Option<&'a str>, body: &'a [u8]) -> Notification<'a> {
        Notification { headers, query: "", body, url, now: Time::from_seconds(1_461_095_300) }
    }

    fn verify(keys: &[&str], tags: &[&str], url: &str, body: &[u8]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for tag in tags {
            headers.append(SIGNATURE, HeaderValue::from_str(tag).unwrap());
        }
        check(keys).verify(&sent(&headers, Some(url), body), None)
    }

    #[test]
    fn the_known_signatures_are_accepted() {
        let body = form(EVENTS);
        assert_eq!(verify(&[KEY], &[TAG], URL, &body), Ok(()));
        assert_eq!(verify(&["old", KEY], &[TAG], URL, &body), Ok(()), "a second secret");
        let bare = "+W5//NtPuin2Qy7UFgE9dIZCb3g=";
        assert_eq!(verify(&[KEY], &[bare], BARE_URL, &body), Ok(()));
        let empty = "NCnh+JjYnTztPs1y5KHpYAY3yxA=";
        assert_eq!(verify(&["test-webhook"], &[empty], URL, &form("[]")), Ok(()));
    }

    #[test]
    fn everything_else_is_refused() {
        let body = form(EVENTS);
        let name = || format!("header {SIGNATURE}");
        let mismatch = || Err(Refusal::Mismatch(name()));
        assert_eq!(verify(&["other"], &[TAG], URL, &body), mismatch());
        assert_eq!(verify(&[KEY], &[], URL, &body), Err(Refusal::Missing(name())));
        assert_eq!(verify(&[KEY], &[TAG, TAG], URL, &body), Err(Refusal::Repeated(SIGNATURE)));
        assert_eq!(verify(&[KEY], &["%%%"], URL, &body), Err(Refusal::Malformed(name())));
        assert_eq!(verify(&[KEY], &[""], URL, &body), mismatch());
        for url in [BARE_URL, &format!("{URL}/"), &URL.replace("https", "http"), ""] {
            assert_eq!(verify(&[KEY], &[TAG], url, &body), mismatch(), "{url}");
        }
        assert_eq!(verify(&[KEY], &[TAG], URL, b""), mismatch());
        assert_eq!(verify(&[KEY], &[TAG], URL, &form("[]")), mismatch());
        // Not every bit: those that change the case of a hexadecimal digit change nothing.
        for place in 0..body.len() {
            let mut changed = body.clone();
            changed[place] ^= 1;
            assert_eq!(verify(&[KEY], &[TAG], URL, &changed), mismatch(), "byte {place}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE, HeaderValue::from_static(TAG));
        assert_eq!(check(&[KEY]).verify(&sent(&headers, None, &body), None), Err(Refusal::NoUrl));
    }

    #[test]
    fn only_an_empty_list_is_a_probe() {
        let headers = HeaderMap::new();
        let is_probe = |body: &[u8]| Mandrill.is_probe(&sent(&headers, None, body));
        assert!(is_probe(&form("[]")));
        assert!(is_probe(b"mandrill_events=[]"));
        for body in [&b""[..], b"[]", b"x=[]", b"mandrill_events=[]&x=1", &form(EVENTS)] {
            assert!(!is_probe(body), "{}", String::from_utf8_lossy(body));
        }
        assert!(!is_probe(b"mandrill_events=[]&mandrill_events=[]"));
    }

    #[test]
    fn a_sample_is_signed_with_its_url() {
        let now = Time::from_seconds(1_781_519_600);
        let address = Address::parse("a@example.com").unwrap();
        let sample = Mandrill.sample(EventKind::Rejected, &address, now).unwrap();
        let url = Some(URL.to_owned());
        let mut draft = Draft::new(HeaderMap::new(), sample.body, url, now);
        check(&[KEY]).sign(&mut draft).unwrap();
        assert_eq!(check(&["new", KEY]).verify(&draft.notification(), None), Ok(()));
        draft.url = None;
        assert!(check(&[KEY]).sign(&mut draft).is_err());
    }

    #[test]
    fn an_expiring_entry_ends_and_a_bad_address_counts_as_invalid() {
        let read = |event: serde_json::Value| {
            let element = wire::element(event.to_string().as_bytes());
            read_one(&Mandrill, &element, Time::from_seconds(1_781_519_600))
        };
        let listed = |action: &str| {
            read(json!({ "type": "blacklist", "action": action, "ts": 1_781_519_500,
                "reject": { "reason": "soft-bounce", "email": "a@example.com",
                    "expires_at": "2026-07-15 10:32:11" } }))
        };
        assert_eq!(listed("add").until, Time::parse("2026-07-15T10:32:11Z"));
        assert_eq!((listed("remove").until, listed("remove").lifts), (None, None));
        let refused = |reason: &str| {
            let msg = json!({ "email": "a@example.com", "reject": { "reason": reason } });
            read(json!({ "event": "reject", "ts": 1_781_519_500, "msg": msg })).reason
        };
        assert_eq!(refused("invalid"), Some(Reason::Invalid));
        assert_eq!(refused("spam"), None);
    }
}
