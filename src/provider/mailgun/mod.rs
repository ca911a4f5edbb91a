//! Mailgun: one JSON event per notification, with the signature in the body; events and lists of
//! each domain by its API.
//!
//! Source: Mailgun, "Webhooks" and "Event structure". The signature covers a timestamp and a token,
//! and not the event: see [`Provider::once`].

mod api;

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::wire::{self, Id, Json, Misfit, Part, Text, Texts, Told, When};
use super::{
    Check, Encoding, Feed, Form, Hash, Key, KeyKind, Mac, Notification, Page, PageError,
    PageRequest, Piece, Place, Provider, Query, Sample, Scheme, SettingError, Settings,
    SignedStamp, Stamp, Unreadable, text_at,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Time};

const NAME: &str = "mailgun";

const SIGNATURE: &str = "/signature/signature";
const TIMESTAMP: &str = "/signature/timestamp";
const TOKEN: &str = "/signature/token";

/// How old a signature may be, unless the source says less. Mailgun repeats a notification for 8
/// hours. Without a limit, moving digits between the timestamp and the token would make new tokens
/// of an old signature; and tokens are not remembered for longer than twice this.
const TOLERANCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Mailgun's own codes, and the reasons that they stand for.
const OWN_CODES: &[(&str, &str)] = &[
    ("498", "no mx"),
    ("499", "internal"),
    ("602", "old"),
    ("605", "suppress-bounce"),
    ("606", "suppress-unsubscribe"),
    ("607", "suppress-complaint"),
];

/// Those among them that look like codes of SMTP.
const INTERNAL: [u16; 2] = [498, 499];

/// Page "Event structure", without `failed`, which has its own rules.
const KINDS: &[(&str, EventKind)] = &[
    ("accepted", EventKind::Accepted),
    ("delivered", EventKind::Delivered),
    ("rejected", EventKind::Failed),
    ("complained", EventKind::Complaint),
    ("opened", EventKind::Opened),
    ("clicked", EventKind::Clicked),
    ("unsubscribed", EventKind::Unsubscribed),
];

/// Events about inbound mail and uploads: no fact about a recipient.
const IGNORED: &[&str] =
    &["stored", "list_member_uploaded", "list_member_upload_error", "list_uploaded"];

pub(super) struct Mailgun;

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "event-data")]
    event: Wire,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Wire {
    event: Told,
    id: Id,
    timestamp: When,
    recipient: Told,
    severity: Text,
    reason: Text,
    message: Part<Message>,
    delivery_status: Part<Delivery>,
    reject: Part<Reject>,
    tags: Texts,
    user_variables: Json,
    client_info: Part<Client>,
    url: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    headers: Part<Headers>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Headers {
    to: Text,
    message_id: Id,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Delivery {
    code: Text,
    last_code: Text,
    enhanced_code: Text,
    message: Text,
    last_message: Text,
    description: Text,
    bounce_type: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reject {
    reason: Text,
    description: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Client {
    user_agent: Text,
    client_type: Text,
    bot: Text,
}

impl Provider for Mailgun {
    fn name(&self) -> &'static str {
        NAME
    }

    fn verification(&self) -> &'static str {
        "HMAC-SHA256 of a timestamp and a token, in the body; each token once"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        const { &[Key::optional_secret("secret"), Key::optional("tolerance", KeyKind::Span)] }
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        let keys = settings.secrets("secret").to_vec();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let tolerance = settings.span("tolerance").unwrap_or(TOLERANCE);
        if tolerance > TOLERANCE {
            let hint = "set at most 24h: Mailgun tries again for 8 hours";
            return Err(settings.problem("tolerance", "is longer than tokens are known", hint));
        }
        let place = Some(Place::Pointer(TIMESTAMP.to_owned()));
        let scheme = Scheme {
            place: Place::Pointer(SIGNATURE.to_owned()),
            encoding: Encoding::Hex,
            form: Form::Plain(String::new()),
            signed: vec![Piece::Stamp, Piece::Pointer(TOKEN.to_owned())],
            stamp: Some(SignedStamp { place, millis: false, tolerance: Some(tolerance) }),
        };
        Ok(vec![Check::Mac(Mac { scheme, hash: Hash::Sha256, keys })])
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        vec![wire::element(notification.body)]
    }

    /// All that is signed. The token alone would not do: digits can be moved from the timestamp.
    fn once(&self, notification: &Notification<'_>) -> Option<String> {
        let text = |pointer| String::from_utf8(text_at(notification.body, pointer).ok()?).ok();
        Some(text(TIMESTAMP)? + &text(TOKEN)?)
    }

    fn event_types(&self) -> &'static [&'static str] {
        &[
            "Permanent Failure",
            "Temporary Failure",
            "Spam Complaints",
            "Unsubscribes",
            "Delivered Messages",
        ]
    }

    fn feeds(&self) -> &[Feed] {
        api::FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        api::POLL_KEYS
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        api::request(query)
    }

    fn page(&self, query: &Query<'_>, url: &Url, body: &[u8]) -> Result<Page, PageError> {
        api::page(query, url, body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let unfit = |error: Misfit| Unreadable(format!("not an event of Mailgun: {error}"));
        let wire: Wire = match stamp.feed {
            "" => wire::object::<Body>(&element.body).map_err(unfit)?.event,
            "events" => wire::object(&element.body).map_err(unfit)?,
            _ => return api::listed(element, stamp),
        };
        let name = wire.event.need("event")?;
        if IGNORED.contains(&name) {
            return Ok(Vec::new());
        }
        let at = wire.timestamp.at("timestamp", stamp.received_at)?;
        let told = wire.told();
        let (kind, failure, provider_kind) = match name {
            "failed" => {
                let (kind, failure) = wire.failure();
                (kind, Some(failure), wire.failure_word())
            }
            word => {
                let known = KINDS.iter().find(|(known, _)| *known == word);
                let kind = known.map_or(EventKind::Unknown, |row| row.1);
                let failure = (kind == EventKind::Failed).then(|| Failure::of([word]));
                (kind, failure, word.to_owned())
            }
        };
        // The id is unique within one day (page "Event structure"), and the same in the API.
        let identity = |id: &String| {
            let day: String = at.floor_second().to_string().chars().take(10).collect();
            format!("{id}/{day}")
        };
        let event_id = wire.id.clone();
        let headers = wire.message.as_ref().and_then(|message| message.headers.as_ref());
        let message_id = headers.and_then(|headers| headers.message_id.as_deref()).unwrap_or("");
        let message_id = message_id.trim_matches(['<', '>', ' ']).to_owned();
        let client = wire.client_info.as_ref();
        let event = |address: Address| Event {
            failure: failure.clone(),
            message_id: wire::filled(message_id.clone()),
            smtp_code: told.smtp,
            enhanced_code: told.enhanced.clone(),
            diagnostic: wire::filled(told.text.clone()),
            tags: wire.tags.to_vec(),
            url: wire.url.clone(),
            user_agent: client.and_then(|client| client.user_agent.clone()),
            machine: client.is_some_and(Client::is_machine),
            metadata: wire.metadata(),
            provider_event_id: event_id.clone(),
            identity: event_id.as_ref().map(identity),
            ..stamp.event(self.name(), kind, provider_kind.clone(), address, at)
        };
        Ok(wire.recipients()?.into_iter().map(event).collect())
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let failed = |severity: &str, reason: &str, code: u16, said: &str| {
            json!({ "event": "failed", "severity": severity, "reason": reason,
                "delivery-status": { "attempt-no": 1, "code": code, "message": said } })
        };
        let mut event = match kind {
            EventKind::Deferred => failed("temporary", "generic", 452, "4.2.2 Mailbox full"),
            EventKind::SoftBounce => failed("permanent", "old", 452, "4.2.2 Mailbox full"),
            EventKind::HardBounce => failed("permanent", "bounce", 550, "5.1.1 User unknown"),
            EventKind::Blocked => failed("permanent", "espblock", 550, "5.7.1 Refused by policy"),
            EventKind::Rejected => {
                let said = "Not delivering to previously bounced address";
                failed("permanent", "suppress-bounce", 605, said)
            }
            kind => {
                let (word, _) = KINDS.iter().find(|(_, known)| *known == kind)?;
                json!({ "event": word })
            }
        };
        if kind == EventKind::Clicked {
            event["url"] = "https://example.com/".into();
        }
        event["id"] = format!("sample-{}", now.nanos()).into();
        event["timestamp"] = now.second().into();
        event["recipient"] = address.received().into();
        let id = format!("sample.{}@example.com", now.nanos());
        event["message"] = json!({ "headers": { "message-id": id } });
        let body = json!({ "event-data": event }).to_string().into_bytes();
        Some(Sample { content_type: "application/json", body })
    }
}

/// What is known of a delivery.
struct Outcome {
    smtp: Option<u16>,
    enhanced: Option<String>,
    text: String,
}

impl Wire {
    fn told(&self) -> Outcome {
        let none = Delivery::default();
        let status = self.delivery_status.as_ref().unwrap_or(&none);
        let code = |text: &Text| {
            let code = text.as_deref().and_then(wire::smtp_code);
            code.filter(|code| !INTERNAL.contains(code))
        };
        let texts = [&status.message, &status.description];
        let text = texts.into_iter().find_map(|text| (**text).clone());
        let enhanced = status.enhanced_code.as_deref().and_then(wire::enhanced_code);
        let enhanced = enhanced.or_else(|| text.as_deref().and_then(wire::enhanced_code));
        // Beside a code of Mailgun's own stands what the server has said to the last attempt.
        let last = status.last_message.clone().filter(|_| code(&status.code).is_none());
        let text = match (text, last) {
            (Some(text), Some(last)) if text != last => Some(format!("{text}: {last}")),
            (text, last) => text.or(last),
        };
        let reject = self.reject.as_ref().map(|reject| {
            let parts = [&reject.reason, &reject.description].into_iter();
            parts.filter_map(|part| part.as_deref()).collect::<Vec<_>>().join(": ")
        });
        let text = text.or(reject).unwrap_or_default();
        Outcome { smtp: code(&status.code).or_else(|| code(&status.last_code)), enhanced, text }
    }

    /// What a `failed` event is: pages "Tracking failures" and "Event structure". Mailgun's own
    /// codes say more than its reason.
    fn failure(&self) -> (EventKind, Failure) {
        let none = Delivery::default();
        let status = self.delivery_status.as_ref().unwrap_or(&none);
        let reason = self.reason.as_deref().unwrap_or("");
        let own = [&status.code, &status.last_code];
        let is_own = |(code, _): &&(&str, &str)| own.iter().any(|own| own.as_deref() == Some(code));
        let word = OWN_CODES.iter().find(is_own).map_or("", |(_, word)| *word);
        // Dropped before any attempt, for what is on Mailgun's lists already.
        let kind = if self.severity.as_deref() == Some("temporary") {
            EventKind::Deferred
        } else if reason.starts_with("suppress-") || word.starts_with("suppress-") {
            EventKind::Rejected
        } else {
            EventKind::SoftBounce
        };
        let severity = self.severity.as_deref().filter(|severity| *severity == "internal");
        let bounce = status.bounce_type.as_deref();
        (kind, Failure::of([Some(word), severity, Some(reason), bounce].into_iter().flatten()))
    }

    /// As `failed/permanent/bounce`.
    fn failure_word(&self) -> String {
        let parts = [Some("failed"), self.severity.as_deref(), self.reason.as_deref()];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }

    /// The recipient; for a refused message, which names none, those in its `To`.
    fn recipients(&self) -> Result<Vec<Address>, Unreadable> {
        if !self.recipient.is_absent() || self.event.text() != Some("rejected") {
            return Ok(vec![self.recipient.address("recipient")?]);
        }
        let headers = self.message.as_ref().and_then(|message| message.headers.as_ref());
        let to = headers.and_then(|headers| headers.to.as_deref()).unwrap_or("");
        Ok(wire::mailboxes(to).into_iter().flatten().collect())
    }

    /// The sender's variables, unless there are none.
    fn metadata(&self) -> Option<String> {
        let given = self.user_variables.as_ref()?;
        // Now and then it is JSON in a JSON text.
        let inner = given.as_str().map(Json::of);
        let value = inner.as_deref().and_then(Option::as_ref).unwrap_or(given);
        let is_empty = match value {
            Value::Object(members) => members.is_empty(),
            Value::Array(members) => members.is_empty(),
            Value::String(text) => text.trim().is_empty(),
            value => value.is_null(),
        };
        (!is_empty).then(|| value.to_string())
    }
}

impl Client {
    /// Mailgun names the robots that it knows; Apple's fetches images that nobody looked at.
    fn is_machine(&self) -> bool {
        let named = self.bot.as_deref().is_some_and(|bot| !bot.is_empty() && bot != "gmail");
        named || self.client_type.as_deref() == Some("robot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Draft, Refusal, Setting};
    use crate::secret::Secret;
    use http::HeaderMap;

    const KEY: &str = "TEST_WEBHOOK_SIGNING_KEY";
    const STAMP: &str = "1534108637";
    const TOKEN_TEXT: &str = "651869375b9df3c98fc15c4889b102119add1235c38fc92824";
    const TAG: &str = "2a75affe24846ead9e37e614a5e7643a04abf4d5b49b34d224ede9af23a00ccc";

    fn check(keys: &[&str]) -> Check {
        let mut settings = Settings::default();
        let secrets = keys.iter().map(|key| Secret::new(*key)).collect();
        settings.set("secret", Setting::Secrets(secrets));
        Mailgun.checks(&settings).unwrap().remove(0)
    }

    fn body(stamp: &str, token: &str, tag: &str) -> String {
        json!({ "signature": { "timestamp": stamp, "token": token, "signature": tag },
            "event-data": { "event": "delivered" } })
        .to_string()
    }

    fn verify_at(keys: &[&str], body: &str, now: i64) -> Result<(), Refusal> {
        let headers = HeaderMap::new();
        let now = Time::from_seconds(now);
        let body = body.as_bytes();
        let sent = Notification { headers: &headers, query: "", body, url: None, now };
        check(keys).verify(&sent, None)
    }

    fn verify(keys: &[&str], body: &str) -> Result<(), Refusal> {
        verify_at(keys, body, 1_534_108_640)
    }

    #[test]
    fn the_known_signature_is_accepted() {
        let good = body(STAMP, TOKEN_TEXT, TAG);
        assert_eq!(verify(&[KEY], &good), Ok(()));
        assert_eq!(verify(&["old", KEY], &good), Ok(()), "a second secret");
        assert_eq!(verify(&[KEY], &good.replace(&format!("\"{STAMP}\""), STAMP)), Ok(()));
        let mismatch = Err(Refusal::Mismatch(format!("{SIGNATURE} in the body")));
        assert_eq!(verify(&["other"], &good), mismatch);
        let flipped = TAG.replace("2a75", "2a74");
        assert_eq!(verify(&[KEY], &body(STAMP, TOKEN_TEXT, &flipped)), mismatch);
        assert_eq!(verify(&[KEY], &body("1534108638", TOKEN_TEXT, TAG)), mismatch);
        assert_eq!(verify(&[KEY], &body(STAMP, &TOKEN_TEXT[1..], TAG)), mismatch);
        for odd in ["", "zz", &TAG[1..]] {
            assert!(verify(&[KEY], &body(STAMP, TOKEN_TEXT, odd)).is_err(), "{odd}");
        }
        for broken in ["", "{}", "[]", "{\"signature\":1}", "{\"signature\":{}}"] {
            assert!(matches!(verify(&[KEY], broken), Err(Refusal::Missing(_))), "{broken}");
        }
    }

    #[test]
    fn an_old_signature_is_stale_and_its_digits_cannot_be_moved() {
        let good = body(STAMP, TOKEN_TEXT, TAG);
        let day = 24 * 60 * 60;
        assert_eq!(verify_at(&[KEY], &good, 1_534_108_637 + day), Ok(()));
        for apart in [day + 1, -day - 1] {
            let found = verify_at(&[KEY], &good, 1_534_108_637 + apart);
            assert!(matches!(found, Err(Refusal::Stale(_))));
        }
        let shorter = body(&STAMP[..9], &format!("7{TOKEN_TEXT}"), TAG);
        let longer = body(&format!("{STAMP}6"), &TOKEN_TEXT[1..], TAG);
        for moved in [shorter, longer] {
            assert!(matches!(verify(&[KEY], &moved), Err(Refusal::Stale(_))), "{moved}");
        }
    }

    #[test]
    fn a_source_can_want_younger_signatures_but_no_older_ones() {
        let checks = |seconds: u64| {
            let mut settings = Settings::default();
            settings.set("secret", Setting::Secrets(vec![Secret::new(KEY)]));
            settings.set("tolerance", Setting::Span(Duration::from_secs(seconds)));
            Mailgun.checks(&settings)
        };
        let hour = checks(3600).unwrap().remove(0);
        let (headers, good) = (HeaderMap::new(), body(STAMP, TOKEN_TEXT, TAG));
        for (apart, fits) in [(3600, true), (-3600, true), (3601, false), (-3601, false)] {
            let now = Time::from_seconds(1_534_108_637 + apart);
            let body = good.as_bytes();
            let sent = Notification { headers: &headers, query: "", body, url: None, now };
            assert_eq!(hour.verify(&sent, None).is_ok(), fits, "{apart}");
        }
        assert!(checks(24 * 3600).is_ok());
        assert!(checks(24 * 3600 + 1).is_err());
    }

    #[test]
    fn what_is_signed_is_what_counts_once() {
        let headers = HeaderMap::new();
        let once = |body: &str| {
            let now = Time::from_seconds(0);
            let body = body.as_bytes();
            Mailgun.once(&Notification { headers: &headers, query: "", body, url: None, now })
        };
        let signed = Some(format!("{STAMP}{TOKEN_TEXT}"));
        assert_eq!(once(&body(STAMP, TOKEN_TEXT, TAG)), signed);
        assert_eq!(once(&body(&STAMP[..9], &format!("7{TOKEN_TEXT}"), TAG)), signed);
        // A key that is there twice is read as the check reads it.
        let twice = body(STAMP, TOKEN_TEXT, TAG).replacen('{', "{\"signature\":{},", 1);
        assert_eq!((once(&twice), verify(&[KEY], &twice)), (signed, Ok(())));
        assert_eq!(once("{}"), None);
    }

    #[test]
    fn a_sample_is_signed_in_its_body() {
        let now = Time::from_seconds(1_781_519_600);
        let address = Address::parse("a@example.com").unwrap();
        let sample = Mailgun.sample(EventKind::HardBounce, &address, now).unwrap();
        let mut draft = Draft::new(HeaderMap::new(), sample.body, None, now);
        check(&[KEY, "old"]).sign(&mut draft).unwrap();
        assert_eq!(check(&[KEY]).verify(&draft.notification(), None), Ok(()));
        let body: Value = serde_json::from_slice(&draft.body).unwrap();
        assert_eq!(body["event-data"]["event"], "failed");
        assert!(check(&["old"]).verify(&draft.notification(), None).is_err());
    }
}
