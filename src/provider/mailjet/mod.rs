//! Mailjet's Event API: one event, or the events of a second in an array, without a signature.
//!
//! Source: dev.mailjet.com/email/guides/webhooks, "Event Types" and "Possible values for errors".
//! The API is in `api`.

mod api;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::wire::{self, Flag, Id, Misfit, Text, Told, When};
use super::{
    Feed, Key, Notification, Page, PageError, PageRequest, Provider, Query, Sample, SettingError,
    Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Reason, Scope, Time};

/// The event types. `sent` is what the recipient's server accepted.
const TYPES: &[(&str, EventKind)] = &[
    ("sent", EventKind::Delivered),
    ("open", EventKind::Opened),
    ("click", EventKind::Clicked),
    ("bounce", EventKind::HardBounce),
    ("blocked", EventKind::Rejected),
    ("spam", EventKind::Complaint),
    ("unsub", EventKind::Unsubscribed),
    // Of the API only.
    ("deferred", EventKind::Deferred),
];

/// What a failure is, beside what the rules make of it.
#[derive(Clone, Copy)]
enum Means {
    /// The rules judge it.
    Judged,
    /// Mailjet did not send, for what is on its lists.
    Listed,
    /// Mailjet did not send to what can be no address.
    Invalid,
    /// It failed at Mailjet, or by what the sender did there.
    Failed,
}
use Means::{Failed, Invalid, Judged, Listed};

/// What an error means for a `bounce`, and for a `blocked`, which was not sent (page "Event API",
/// "Possible values for errors"). All others are judged, and have failed.
const ERRORS: &[(&str, Means, Means)] = &[
    ("user unknown", Judged, Listed),
    ("mailbox inactive", Judged, Listed),
    ("quota exceeded", Judged, Judged),
    ("blacklisted", Listed, Listed),
    ("spam reporter", Listed, Listed),
    ("invalid domain", Judged, Invalid),
    ("typofix", Judged, Invalid),
    ("no mail host", Judged, Judged),
    ("relay/access denied", Judged, Judged),
    ("sender blocked", Judged, Judged),
    ("content blocked", Judged, Judged),
    ("policy issue", Judged, Judged),
    ("preblocked", Listed, Listed),
    // A message that was twice in a campaign is no fault of its recipient's.
    ("duplicate in campaign", Failed, Failed),
];

/// The same where the error itself is not known, by what it is related to. What has failed at
/// Mailjet is told by the rules' table of its words.
const RELATED: &[(&str, Means, Means)] = &[("mailjet", Listed, Listed), ("spam", Judged, Judged)];

pub(super) struct Mailjet;

/// One event.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    event: Told,
    time: When,
    email: Told,
    /// Beyond what a double holds.
    #[serde(rename = "MessageID")]
    message_id: Id,
    hard_bounce: Flag,
    error_related_to: Text,
    error: Text,
    comment: Text,
    smtp_reply: Text,
    source: Text,
    mj_list_id: Text,
    customcampaign: Text,
    #[serde(rename = "CustomID")]
    custom_id: Text,
    #[serde(rename = "Payload")]
    payload: Text,
    url: Text,
    agent: Text,
}

impl Provider for Mailjet {
    fn name(&self) -> &'static str {
        "mailjet"
    }

    fn times_differ(&self) -> bool {
        true
    }

    fn verification(&self) -> &'static str {
        "HTTP Basic credentials in the URL"
    }

    fn event_types(&self) -> &'static [&'static str] {
        &["sent", "bounce", "blocked", "spam", "unsub"]
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let (wire, campaign) = match stamp.feed {
            "contacts" => return api::contact(element, stamp),
            "events" => api::polled(element)?,
            _ => (wire::object(&element.body).map_err(not_an_event)?, None),
        };
        let name = wire.event.need("event")?;
        let known = TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        if known.is_none() && wire.email.is_absent() {
            return Ok(Vec::new());
        }
        let address = wire.email.address("email")?;
        let at = wire.time.at("time", stamp.received_at)?;
        let words = wire.comment.as_deref().or(wire.smtp_reply.as_deref());
        // The reply to a delivery stands in brackets: "sent (250 2.0.0 OK …)".
        let text = words.map_or("", |words| words.strip_prefix("sent (").unwrap_or(words));
        let (smtp_code, enhanced_code) = (wire::smtp_code(text), wire::enhanced_code(text));
        let (kind, reason) = wire.kind(known.unwrap_or(EventKind::Unknown));
        // What Mailjet calls the error is no server's words, and is not searched for causes.
        let is_failure = matches!(kind, EventKind::SoftBounce | EventKind::Failed)
            || kind == EventKind::Deferred;
        let failure = is_failure.then(|| Failure { said: Some(text.to_owned()), ..wire.failure() });
        let diagnostic = words.or(wire.error.as_deref()).or(wire.source.as_deref());
        let event = Event {
            scope: campaign.filter(|_| kind == EventKind::Unsubscribed).unwrap_or(wire.scope(kind)),
            message_id: wire.message_id.as_deref().filter(|id| *id != "0").map(str::to_owned),
            failure,
            smtp_code,
            diagnostic: diagnostic.map(str::to_owned),
            tags: wire.customcampaign.as_deref().into_iter().map(str::to_owned).collect(),
            metadata: wire.metadata(),
            reason,
            enhanced_code,
            ..stamp.event(self.name(), kind, wire.provider_kind(), address, at)
        };
        Ok(vec![Event { url: wire.url.into(), user_agent: wire.agent.into(), ..event }])
    }

    fn feeds(&self) -> &[Feed] {
        api::FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        api::KEYS
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        api::request(query)
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        api::page(query, body)
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let wanted = match kind {
            EventKind::SoftBounce | EventKind::Blocked | EventKind::Deferred => {
                EventKind::HardBounce
            }
            EventKind::Failed => EventKind::Rejected,
            kind => kind,
        };
        let (name, _) = TYPES.iter().find(|(_, known)| *known == wanted)?;
        let mut event = json!({
            "event": name,
            "time": now.second(),
            // As large as real ones; the nanoseconds keep samples apart.
            "MessageID": now.nanos(),
            "email": address.received(),
            "mj_campaign_id": 0,
            "customcampaign": "",
            "CustomID": "",
            "Payload": "",
        });
        let failure = match kind {
            EventKind::HardBounce => Some((true, "recipient", "user unknown")),
            EventKind::SoftBounce => Some((false, "recipient", "quota exceeded")),
            EventKind::Deferred => Some((false, "domain", "greylisted")),
            EventKind::Blocked => Some((true, "spam", "content blocked")),
            EventKind::Rejected => Some((false, "mailjet", "preblocked")),
            EventKind::Failed => Some((false, "system", "system issue")),
            _ => None,
        };
        if let Some((hard, related, error)) = failure {
            event["hard_bounce"] = hard.into();
            event["blocked"] = hard.into();
            event["error_related_to"] = related.into();
            event["error"] = error.into();
        }
        match kind {
            EventKind::Delivered => event["smtp_reply"] = "250 2.0.0 OK".into(),
            EventKind::Clicked => event["url"] = "https://example.com/".into(),
            EventKind::Complaint => event["source"] = "sample".into(),
            _ => {}
        }
        let body = json!([event]);
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

impl Wire {
    /// What happened, and the reason where it is not the usual one of the kind.
    fn kind(&self, named: EventKind) -> (EventKind, Option<Reason>) {
        let bounced = match named {
            EventKind::HardBounce => true,
            EventKind::Rejected => false,
            kind => return (kind, None),
        };
        let words = [self.error.as_deref(), self.error_related_to.as_deref()];
        // Some payloads have the word of the error in the place of what it is related to.
        let is_error = |word: &str| words.contains(&Some(word));
        let row = ERRORS.iter().find(|(word, ..)| is_error(word));
        let row = row.or_else(|| RELATED.iter().find(|(word, ..)| is_error(word)));
        let means = row.map_or(if bounced { Judged } else { Failed }, |(_, bounce, blocked)| {
            if bounced { *bounce } else { *blocked }
        });
        let again = bounced && *self.hard_bounce != Some(true) && is_error("greylisted");
        match means {
            Judged if again => (EventKind::Deferred, None),
            Judged => (EventKind::SoftBounce, None),
            Listed => (EventKind::Rejected, None),
            Invalid => (EventKind::Rejected, Some(Reason::Invalid)),
            Failed => (EventKind::Failed, None),
        }
    }

    /// What Mailjet calls the error, in either place, and whether it calls it passing.
    fn failure(&self) -> Failure {
        let words = [self.error.as_deref(), self.error_related_to.as_deref()];
        let passing = (*self.hard_bounce == Some(false)).then_some("soft_bounce");
        Failure::of(words.into_iter().chain([passing]).flatten())
    }

    /// The type, and what went wrong in Mailjet's words: `bounce:domain:invalid domain`.
    fn provider_kind(&self) -> String {
        let words = [self.event.text(), self.error_related_to.as_deref(), self.error.as_deref()];
        words.into_iter().flatten().collect::<Vec<&str>>().join(":")
    }

    /// An unsubscription covers the list that the message went to, if it went to one.
    fn scope(&self, kind: EventKind) -> Scope {
        let list = self.mj_list_id.as_deref().filter(|id| *id != "0");
        let list = list.filter(|_| kind == EventKind::Unsubscribed);
        list.and_then(|id| Scope::parse(&format!("stream:{id}"))).unwrap_or_default()
    }

    /// The sender's own data on the message.
    fn metadata(&self) -> Option<String> {
        let mut data = Map::new();
        if let Some(id) = self.custom_id.as_deref() {
            data.insert("CustomID".to_owned(), Value::from(id));
        }
        if let Some(text) = self.payload.as_deref() {
            // Often JSON, but any text may stand there.
            let value = wire::parse(text).unwrap_or_else(|_| Value::from(text));
            data.insert("Payload".to_owned(), value);
        }
        (!data.is_empty()).then(|| Value::Object(data).to_string())
    }
}

fn not_an_event(error: Misfit) -> Unreadable {
    Unreadable(format!("not an event of Mailjet's: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::signed::{Sent, read_one};
    use super::super::{Setting, checks_of_credentials};
    use super::*;
    use crate::provider::Settings;
    use crate::secret::Secret;

    #[test]
    fn the_common_credentials_do_it() {
        let mut settings = Settings::default();
        assert!(Mailjet.checks(&settings).unwrap().is_empty());
        let secrets = ["new:pass", "user:pass"].map(Secret::new);
        settings.set("basic", Setting::Secrets(secrets.to_vec()));
        let checks = checks_of_credentials(&settings).unwrap();
        let sent = |value: &str| Sent::new(0, &[("authorization", value)], "{}").verify(&checks);
        assert_eq!(sent("Basic dXNlcjpwYXNz"), Ok(()));
        assert!(sent("Basic dXNlcjpwYXNzCg==").is_err());
    }

    #[test]
    fn an_address_that_cannot_be_is_invalid_and_not_just_listed() {
        let told = |related: &str, error: &str| {
            let body = json!({
                "event": "blocked", "time": 1_498_093_527, "email": "a@example.com",
                "error_related_to": related, "error": error,
            });
            let element = wire::element(body.to_string().as_bytes());
            let event = read_one(&Mailjet, &element, Time::from_seconds(1_500_000_000));
            (event.kind, event.reason)
        };
        assert_eq!(told("domain", "typofix"), (EventKind::Rejected, Some(Reason::Invalid)));
        assert_eq!(told("domain", "invalid domain"), (EventKind::Rejected, Some(Reason::Invalid)));
        assert_eq!(told("domain", "relay/access denied"), (EventKind::Blocked, None));
        assert_eq!(told("mailjet", "preblocked"), (EventKind::Rejected, None));
        assert_eq!(told("mailjet", "duplicate in campaign"), (EventKind::Failed, None));
        assert_eq!(told("novel", "novel"), (EventKind::Failed, None));
    }
}
