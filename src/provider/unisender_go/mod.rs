//! Unisender Go and UniOne, one platform under two brands: batches that are signed in the body.
//!
//! Sources: godocs.unisender.ru and docs.unione.io, "Webhook" and "Email statuses"; anymail,
//! `anymail/webhooks/unisender_go.py`.

mod api;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use url::Url;

use super::wire::{self, Id, Json, Misfit, Part, Text, Told, When};
use super::{
    Check, Feed, Key, Notification, PLACEHOLDER, Page, PageError, PageRequest, Provider, Query,
    Sample, SettingError, Settings, Stamp, Substitute, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Origin, Time};

const WEBHOOK_KEYS: &[Key] = &[Key::optional_secret("secret")];

/// What to tick: opens and clicks say nothing of whether an address may be mailed.
const EVENT_TYPES: &[&str] =
    &["delivered", "soft_bounced", "hard_bounced", "unsubscribed", "subscribed", "spam"];

/// The event that tells of a message; the other one tells of a server that blocks the sender.
const MESSAGE_EVENT: &str = "transactional_email_status";
const SERVER_EVENT: &str = "transactional_spam_block";

/// Statuses whose kind needs no second look (docs.unione.io, "Email statuses").
const STATUSES: &[(&str, EventKind)] = &[
    ("accepted", EventKind::Accepted),
    ("sent", EventKind::Accepted),
    ("delivered", EventKind::Delivered),
    // The platform goes on trying for 24 to 48 hours.
    ("soft_bounced", EventKind::Deferred),
    ("unsubscribed", EventKind::Unsubscribed),
    ("subscribed", EventKind::Resubscribed),
    ("opened", EventKind::Opened),
    ("clicked", EventKind::Clicked),
];

/// Detailed statuses of `hard_bounced` (docs.unione.io, "Email statuses", extended ones) that are
/// no refusal by a server: what is on the platform's list, what is still tried, and what failed on
/// our side. All others are judged.
const DETAILS: &[(&str, EventKind)] = &[
    ("err_unsubscribed", EventKind::Rejected),
    ("err_unreachable", EventKind::Rejected),
    ("err_skip_letter", EventKind::Rejected),
    ("err_not_available", EventKind::Rejected),
    ("err_will_retry", EventKind::Deferred),
    ("err_resend", EventKind::Deferred),
    ("err_retry_letter", EventKind::Deferred),
    ("err_src_invalid", EventKind::Failed),
    ("err_not_allowed", EventKind::Failed),
    ("err_over_quota", EventKind::Failed),
    ("err_lost", EventKind::Failed),
    ("err_internal", EventKind::Failed),
];

/// How the detailed statuses of mail start that was not sent because of earlier failures.
const SKIPPED: &str = "skip_dup_";

/// The detailed status of mail that the server put into its spam folder, as no person did; the
/// platform lists the address all the same.
const SPAM_FOLDER: &str = "ok_spam_folder";

pub(super) struct UnisenderGo;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    event_name: Text,
    event_data: Option<Box<RawValue>>,
    /// Only in a body that could not be cut.
    events_by_user: Option<Vec<Empty>>,
}

#[derive(Deserialize)]
struct Empty {
    events: Vec<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    job_id: Id,
    email: Told,
    status: Text,
    event_time: When,
    url: Text,
    metadata: Json,
    delivery_info: Part<Delivery>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delivery {
    delivery_status: Text,
    destination_response: Text,
    user_agent: Text,
}

impl Provider for UnisenderGo {
    fn name(&self) -> &'static str {
        "unisender-go"
    }

    fn times_differ(&self) -> bool {
        true
    }

    fn verification(&self) -> &'static str {
        "MD5 of the body with the API key in place of its `auth`"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        let keys = settings.secrets("secret").to_vec();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Check::Substitute(Substitute { keys })])
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        let body = notification.body;
        let is_object = wire::first(body) == Some(b'{');
        let events = is_object.then(|| wire::members_by(wire::unmarked(body), events)).flatten();
        match events {
            Some(events) if !events.is_empty() => events.into_iter().map(wire::element).collect(),
            // One flat event, or what nobody can cut.
            _ => vec![wire::element(body)],
        }
    }

    /// The format `json_post_gzip`.
    fn takes_gzip(&self) -> bool {
        true
    }

    fn event_types(&self) -> &'static [&'static str] {
        EVENT_TYPES
    }

    fn feeds(&self) -> &[Feed] {
        api::FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        api::POLL_KEYS
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        api::page_request(query)
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        api::page(query, body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        if stamp.origin == Origin::Poll {
            return api::read(element, stamp);
        }
        let unfit = |error: Misfit| Unreadable(format!("not an event of Unisender Go: {error}"));
        let wire: Wire = wire::object(&element.body).map_err(unfit)?;
        let none = wire
            .events_by_user
            .is_some_and(|users| users.iter().all(|user| user.events.is_empty()));
        let name = wire.event_name.clone().unwrap_or_default();
        if none || name == SERVER_EVENT {
            return Ok(Vec::new());
        }
        // Without batches the data stands beside the name.
        let data: Data = match wire.event_data {
            Some(data) => wire::object(data.get().as_bytes()).map_err(unfit)?,
            None => wire::object(&element.body).map_err(unfit)?,
        };
        data.event(&name, stamp).map(|event| vec![event])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (status, detail, response) = match kind {
            EventKind::Accepted => ("sent", "", ""),
            EventKind::Delivered => ("delivered", "", ""),
            EventKind::Deferred => ("soft_bounced", "err_will_retry", "451 4.3.0 Try again later"),
            EventKind::SoftBounce => ("hard_bounced", "err_mailbox_full", "552 5.2.2 Full"),
            EventKind::HardBounce => ("hard_bounced", "err_user_unknown", "550 5.1.1 No such user"),
            EventKind::Blocked => ("hard_bounced", "err_spam_rejected", "550 5.7.1 Spam rejected"),
            EventKind::Rejected => ("hard_bounced", "err_unreachable", ""),
            EventKind::Failed => ("hard_bounced", "err_lost", ""),
            EventKind::Complaint => ("spam", "", ""),
            EventKind::Unsubscribed => ("unsubscribed", "", ""),
            EventKind::Resubscribed => ("subscribed", "", ""),
            EventKind::Opened => ("opened", "", ""),
            EventKind::Clicked => ("clicked", "", ""),
            _ => return None,
        };
        let mut data = serde_json::json!({
            "job_id": format!("sample-{}", now.nanos()),
            "email": address.received(),
            "status": status,
            "event_time": now.floor_second().to_string().replace('T', " ").replace('Z', ""),
        });
        if !detail.is_empty() {
            data["delivery_info"] = serde_json::json!({
                "delivery_status": detail, "destination_response": response,
            });
        }
        let event = serde_json::json!({ "event_name": MESSAGE_EVENT, "event_data": data });
        let user = serde_json::json!({ "user_id": 456, "events": [event] });
        let body = serde_json::json!({ "auth": PLACEHOLDER, "events_by_user": [user] });
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

impl Data {
    /// The event of that name.
    fn event(self, name: &str, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
        let address = self.email.address("email")?;
        let at = self.event_time.utc("event_time", stamp.received_at)?;
        let time = self.event_time.given().unwrap_or("");
        let info = self.delivery_info.into_inner().unwrap_or_default();
        let detail: Option<String> = info.delivery_status.into();
        let status = self.status.clone().unwrap_or_default();
        let diagnostic: Option<String> = info.destination_response.into();
        let text = diagnostic.as_deref().unwrap_or("");
        let (smtp_code, enhanced_code) = (wire::smtp_code(text), wire::enhanced_code(text));
        let kind = match name {
            MESSAGE_EVENT => kind(&status, detail.as_deref()),
            _ => EventKind::Unknown,
        };
        let is_failure = matches!(kind, EventKind::SoftBounce | EventKind::Failed)
            || kind == EventKind::Deferred;
        let failure = is_failure.then(|| Failure::of(detail.as_deref()));
        let url: Option<String> = self.url.into();
        let message_id: Option<String> = self.job_id.into();
        let identity = message_id.as_ref().map(|job| {
            // The columns that the dump of events has too; the recipient is in it already.
            format!("{job}/{status}/{time}/{}", url.as_deref().unwrap_or(""))
        });
        let word = if name == MESSAGE_EVENT { status } else { name.to_owned() };
        let provider_kind = [word].into_iter().chain(detail).collect::<Vec<_>>().join(":");
        Ok(Event {
            failure,
            message_id,
            smtp_code,
            enhanced_code,
            diagnostic,
            url,
            user_agent: info.user_agent.into(),
            metadata: self.metadata.own_data(),
            identity,
            ..stamp.event(UnisenderGo.name(), kind, provider_kind, address, at)
        })
    }
}

/// The events of a batch.
fn events(text: &str) -> Option<Vec<&RawValue>> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        events_by_user: Vec<User<'a>>,
    }
    #[derive(Deserialize)]
    struct User<'a> {
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
    }
    let body: Body<'_> = serde_json::from_str(text).ok()?;
    Some(body.events_by_user.into_iter().flat_map(|user| user.events).collect())
}

/// The kind of an event by its status and, where there is one, its detailed status.
fn kind(status: &str, detail: Option<&str>) -> EventKind {
    if let Some((_, kind)) = STATUSES.iter().find(|(name, _)| *name == status) {
        return *kind;
    }
    match (status, detail) {
        ("spam", Some(SPAM_FOLDER)) => EventKind::Listed,
        ("spam", _) => EventKind::Complaint,
        ("hard_bounced", Some(detail)) if detail.starts_with(SKIPPED) => EventKind::Rejected,
        ("hard_bounced", detail) => {
            let row = DETAILS.iter().find(|(name, _)| Some(*name) == detail);
            row.map_or(EventKind::SoftBounce, |(_, kind)| *kind)
        }
        _ => EventKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::provider::signed::read_one;
    use crate::provider::{Draft, Refusal, Setting};
    use crate::secret::Secret;

    /// A recorded body, and the key it was signed with, which its owner has withdrawn.
    const SECRET: &str = "6mjstx9gwi7qj8eni6m77hfiiw6aifmss154y4ze";
    const BODY: &str = include_str!("../../../tests/fixtures/provider/unisender-go/vector.json");
    const AUTH: &str = "b3cb4d6aef9d07095805c39e792e0542";

    fn check(secrets: &[&str]) -> Check {
        let mut settings = Settings::default();
        let secrets = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        settings.set("secret", Setting::Secrets(secrets));
        let mut checks = UnisenderGo.checks(&settings).unwrap();
        assert_eq!(checks.len(), 1);
        checks.remove(0)
    }

    fn verify(check: &Check, body: &[u8]) -> Result<(), Refusal> {
        let headers = HeaderMap::new();
        let now = Time::from_seconds(1_725_825_401);
        check.verify(&Notification { headers: &headers, query: "", body, url: None, now }, None)
    }

    #[test]
    fn only_the_known_signature_is_accepted() {
        let one = &check(&[SECRET]);
        assert_eq!(BODY.len(), 525);
        assert_eq!(verify(one, BODY.as_bytes()), Ok(()));
        for secrets in [["old", SECRET], [SECRET, "new"]] {
            assert_eq!(verify(&check(&secrets), BODY.as_bytes()), Ok(()), "rotation");
        }
        assert!(verify(&check(&["another source's"]), BODY.as_bytes()).is_err());
        let flipped = AUTH.replacen('b', "a", 1);
        let longer = format!("{AUTH}0");
        for bad in ["", "{", "\\u0022", &AUTH[1..], &AUTH.to_uppercase(), &longer, &flipped] {
            assert!(verify(one, BODY.replace(AUTH, bad).as_bytes()).is_err(), "{bad}");
        }
        let bare = BODY.replace(&format!("\"auth\":\"{AUTH}\","), "");
        let twice = BODY.replace("Testing", AUTH);
        for body in ["", "{}", "null", &bare, &twice, &format!("{BODY}\n")] {
            assert!(verify(one, body.as_bytes()).is_err(), "{body}");
        }
        for bit in 0..BODY.len() * 8 {
            let mut body = BODY.as_bytes().to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(one, &body).is_err(), "bit {bit}");
        }
        assert!(UnisenderGo.checks(&Settings::default()).unwrap().is_empty());
    }

    #[test]
    fn a_sample_is_signed_as_the_provider_would() {
        let now = Time::from_seconds(1_781_519_531);
        let address = Address::parse("user@example.com").unwrap();
        let body = UnisenderGo.sample(EventKind::HardBounce, &address, now).unwrap().body;
        let mut draft = Draft::new(HeaderMap::new(), body, None, now);
        check(&[SECRET]).sign(&mut draft).unwrap();
        assert_eq!(check(&["new", SECRET]).verify(&draft.notification(), None), Ok(()));
        assert!(check(&["new"]).verify(&draft.notification(), None).is_err());
    }

    #[test]
    fn a_body_with_another_place_for_the_signature_is_not_signed() {
        let zeros = "0".repeat(32);
        for body in [
            format!(r#"{{"aut":"{zeros}"}}"#),
            format!(r#"{{"auth":"x","b":"{zeros}"}}"#),
            format!(r#"{{"auth":"{zeros}","b":"{zeros}"}}"#),
        ] {
            let (body, now) = (body.into_bytes(), Time::from_seconds(0));
            let mut draft = Draft::new(HeaderMap::new(), body, None, now);
            assert!(check(&[SECRET]).sign(&mut draft).is_err());
        }
    }

    #[test]
    fn events_are_cut_verbatim_and_known_again() {
        let headers = HeaderMap::new();
        let now = Time::from_seconds(1_781_519_531);
        let body = BODY.as_bytes();
        let sent = Notification { headers: &headers, query: "", body, url: None, now };
        let elements = UnisenderGo.split(&sent);
        assert_eq!(elements.len(), 1);
        let text = std::str::from_utf8(&elements[0].body).unwrap();
        assert!(BODY.contains(text) && text.contains(r"https:\/\/example.com"));
        let event = |element: &Element| read_one(&UnisenderGo, element, now);
        let first = event(&elements[0]);
        let identity = "1sn15Z-0007Le-GtVN/clicked/2024-09-08 19:56:41/https://example.com";
        assert_eq!(first.identity.as_deref(), Some(identity));
        let other = text.replace("example.com", "example.org");
        assert_ne!(event(&wire::element(other.as_bytes())).id(), first.id());
    }
}
