//! Postmark: one JSON object per notification, told apart by `RecordType`. Nothing is signed. Its
//! API has bounces, and the suppressions of each stream.
//!
//! Source: Postmark, "Webhooks overview", "Bounce webhook", "Subscription change webhook" and
//! "Bounce API", "Bounce types". Suppressions are per message stream, so these scopes are too.

mod api;

use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::wire::{self, Flag, Id, Json, Text, Texts, Told, When};
use super::{
    Feed, Key, Notification, Page, PageError, PageRequest, Provider, Query, Sample, SettingError,
    Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Scope, Time};

const NAME: &str = "postmark";

/// The stream of payloads that name none: each server's default transactional stream.
const DEFAULT_STREAM: &str = "outbound";

/// What the type of a bounce means.
enum Meaning {
    /// This, whatever the codes say.
    Is(EventKind),
    /// This, and only for the stream.
    Covers(EventKind),
    /// A failure that is judged.
    Failure,
}

/// Bounce types, by their name: the numbers of `TypeCode` differ among Postmark's own pages.
/// Source: "Bounce API", "Bounce types".
const BOUNCES: &[(&str, Meaning)] = &[
    ("HardBounce", Meaning::Failure),
    ("BadEmailAddress", Meaning::Failure),
    ("Transient", Meaning::Is(EventKind::Deferred)),
    ("SoftBounce", Meaning::Failure),
    ("DnsError", Meaning::Failure),
    ("Blocked", Meaning::Failure),
    // The receiving server takes the mail for spam; the recipient has not complained.
    ("SpamNotification", Meaning::Failure),
    ("DMARCPolicy", Meaning::Failure),
    ("VirusNotification", Meaning::Failure),
    ("SpamComplaint", Meaning::Is(EventKind::Complaint)),
    ("Unsubscribe", Meaning::Covers(EventKind::Unsubscribed)),
    ("Subscribe", Meaning::Covers(EventKind::Resubscribed)),
    ("ManuallyDeactivated", Meaning::Covers(EventKind::Rejected)),
    ("AutoResponder", Meaning::Is(EventKind::Unknown)),
    ("AddressChange", Meaning::Is(EventKind::Unknown)),
    ("OpenRelayTest", Meaning::Is(EventKind::Unknown)),
    ("ChallengeVerification", Meaning::Is(EventKind::Unknown)),
    ("Unconfirmed", Meaning::Is(EventKind::Unknown)),
    ("Unknown", Meaning::Is(EventKind::Unknown)),
    ("SMTPApiError", Meaning::Is(EventKind::Failed)),
    ("InboundError", Meaning::Is(EventKind::Failed)),
    ("TemplateRenderingFailed", Meaning::Is(EventKind::Failed)),
];

/// Bounces that are mails asking for something; they may come without an address or a time.
const MAILED_REQUESTS: &[&str] = &["Unsubscribe", "Subscribe"];

pub(super) struct Postmark;

/// One event.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Wire {
    /// Absent in the API, which has bounces only.
    record_type: Text,
    #[serde(rename = "ID")]
    id: Id,
    #[serde(rename = "Type")]
    bounce_type: Text,
    #[serde(rename = "ServerID")]
    server_id: Id,
    #[serde(rename = "MessageID")]
    message_id: Id,
    message_stream: Text,
    email: Told,
    recipient: Told,
    bounced_at: When,
    delivered_at: When,
    received_at: When,
    changed_at: When,
    details: Text,
    description: Text,
    /// Whether Postmark has stopped the address now.
    inactive: Flag,
    tag: Texts,
    metadata: Json,
    original_link: Text,
    user_agent: Text,
    origin: Text,
    suppress_sending: Flag,
    suppression_reason: Text,
}

/// What an event is.
struct Verdict {
    kind: EventKind,
    /// Whether it covers its stream only.
    in_stream: bool,
    provider_kind: String,
}

impl Provider for Postmark {
    fn name(&self) -> &'static str {
        NAME
    }

    fn times_differ(&self) -> bool {
        true
    }

    fn verification(&self) -> &'static str {
        "Basic credentials, or a header with a fixed value"
    }

    fn event_types(&self) -> &'static [&'static str] {
        &["Delivery", "Bounce", "Spam Complaint", "Subscription Change"]
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
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

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        api::page(query, body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        if stamp.feed == api::SUPPRESSIONS {
            return Ok(vec![api::listed(element, stamp)?]);
        }
        let mut wire: Wire = wire::object(&element.body)
            .map_err(|error| Unreadable(format!("not an event of Postmark: {error}")))?;
        match (stamp.feed, wire.record()) {
            ("", "") => return Err(Unreadable("RecordType: there is no text".to_owned())),
            ("", _) => {}
            _ => wire.record_type = Some("Bounce".to_owned()).into(),
        }
        let is_request = wire.is_mailed_request();
        let email = if wire.email.is_absent() { &wire.recipient } else { &wire.email };
        if wire.record() == "Inbound" || (is_request && email.is_absent()) {
            // A mail to us, or one whose sender Postmark does not tell.
            return Ok(Vec::new());
        }
        let address = email.address("Email")?;
        let at = match wire.time(stamp.received_at) {
            Err(_) if is_request => stamp.received_at,
            at => at?,
        };
        let details = wire.details.as_deref().unwrap_or("").trim();
        let smtp_code = wire::said_code(details);
        let enhanced_code = wire::enhanced_code(details);
        let Verdict { kind, in_stream, provider_kind } = wire.verdict();
        let is_failure = matches!(kind, EventKind::SoftBounce | EventKind::Failed)
            || kind == EventKind::Deferred;
        let failure =
            is_failure.then(|| Failure { said: Some(details.to_owned()), ..wire.failure() });
        let stream = wire.message_stream.as_deref().unwrap_or(DEFAULT_STREAM);
        let scope = if in_stream { wire::stream(stream)? } else { Scope::Global };
        // Postmark's own explanation of the type is no word of a server: it is only shown.
        let diagnostic = [Some(details), wire.description.as_deref()].into_iter().flatten();
        Ok(vec![Event {
            scope,
            failure,
            smtp_code,
            enhanced_code,
            diagnostic: diagnostic.into_iter().find(|text| !text.is_empty()).map(str::to_owned),
            metadata: wire.metadata.own_data(),
            provider_event_id: wire.id.clone(),
            identity: wire.identity(stream, at),
            message_id: wire.message_id.as_deref().and_then(wire::bare_id),
            tags: wire.tag.into(),
            url: wire.original_link.into(),
            user_agent: wire.user_agent.into(),
            ..stamp.event(self.name(), kind, provider_kind, address, at)
        }])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (record, bounce, details) = match kind {
            EventKind::Delivered => ("Delivery", "", "smtp;250 2.0.0 OK"),
            EventKind::Deferred => ("Bounce", "Transient", "smtp;451 4.3.0 Try later"),
            EventKind::SoftBounce => ("Bounce", "SoftBounce", "smtp;452 4.2.2 Mailbox full"),
            EventKind::HardBounce => ("Bounce", "HardBounce", "smtp;550 5.1.1 No such mailbox"),
            EventKind::Blocked => ("Bounce", "Blocked", "smtp;550 5.7.1 Refused by policy"),
            EventKind::Failed => ("Bounce", "SMTPApiError", "A sample of a failure"),
            EventKind::Rejected => ("Bounce", "ManuallyDeactivated", "A sample of a rejection"),
            EventKind::Complaint => ("SpamComplaint", "SpamComplaint", "A sample of a complaint"),
            EventKind::Unsubscribed | EventKind::Resubscribed => ("SubscriptionChange", "", ""),
            EventKind::Opened => ("Open", "", ""),
            EventKind::Clicked => ("Click", "", ""),
            _ => return None,
        };
        let mut body = json!({
            "RecordType": record,
            "MessageID": format!("00000000-0000-0000-0000-{:012x}", now.second()),
            "ServerID": 1,
            "MessageStream": DEFAULT_STREAM,
            "Metadata": {},
        });
        let at = now.floor_second().to_string();
        let (recipient, time) = match record {
            "Bounce" | "SpamComplaint" => ("Email", "BouncedAt"),
            "Delivery" => ("Recipient", "DeliveredAt"),
            "SubscriptionChange" => ("Recipient", "ChangedAt"),
            _ => ("Recipient", "ReceivedAt"),
        };
        body[recipient] = address.received().into();
        body[time] = at.into();
        if !bounce.is_empty() {
            body["ID"] = now.nanos().into();
            body["Type"] = bounce.into();
        }
        if !details.is_empty() {
            body["Details"] = details.into();
        }
        match kind {
            EventKind::Unsubscribed => {
                body["SuppressSending"] = true.into();
                body["SuppressionReason"] = "ManualSuppression".into();
                body["Origin"] = "Recipient".into();
            }
            EventKind::Resubscribed => body["SuppressSending"] = false.into(),
            EventKind::Clicked => body["OriginalLink"] = "https://example.com/".into(),
            _ => {}
        }
        let body = body.to_string().into_bytes();
        Some(Sample { content_type: "application/json", body })
    }
}

impl Wire {
    /// Each record type has one of these.
    fn time(&self, received_at: Time) -> Result<Time, Unreadable> {
        let times = [
            ("BouncedAt", &self.bounced_at),
            ("DeliveredAt", &self.delivered_at),
            ("ChangedAt", &self.changed_at),
            ("ReceivedAt", &self.received_at),
        ];
        let told = times.into_iter().find(|(_, time)| !time.is_absent());
        let (name, time) = told.unwrap_or(("the time", &self.bounced_at));
        time.at(name, received_at)
    }

    fn record(&self) -> &str {
        self.record_type.as_deref().unwrap_or("")
    }

    fn is_mailed_request(&self) -> bool {
        let bounce_type = self.bounce_type.as_deref().unwrap_or("");
        self.record() == "Bounce" && MAILED_REQUESTS.contains(&bounce_type)
    }

    /// What the API knows it by, too. Source: "Bounce API"; for a change, the stream's dump, which
    /// has whole seconds.
    fn identity(&self, stream: &str, at: Time) -> Option<String> {
        let server = self.server_id.as_deref().unwrap_or("");
        match self.record() {
            "Bounce" | "SpamComplaint" => {
                let id = self.id.as_deref()?;
                Some(format!("{server}:{id}"))
            }
            "SubscriptionChange" => Some(format!("change:{stream}:{}", at.second())),
            _ => None,
        }
    }

    fn verdict(&self) -> Verdict {
        let name = self.record();
        let plain = |kind| Verdict { kind, in_stream: false, provider_kind: name.to_owned() };
        match name {
            "Bounce" => self.bounce(),
            "SubscriptionChange" => self.change(),
            "Delivery" => plain(EventKind::Delivered),
            "SpamComplaint" => plain(EventKind::Complaint),
            "Open" => plain(EventKind::Opened),
            "Click" => plain(EventKind::Clicked),
            _ => plain(EventKind::Unknown),
        }
    }

    /// What Postmark calls a bounce; one that quotes no server counts by whether it has stopped the
    /// address now.
    fn failure(&self) -> Failure {
        let name = self.bounce_type.as_deref().unwrap_or("");
        let stopped = if self.inactive.is_on() { "inactive" } else { "" };
        Failure::of([format!("{name}/{stopped}").as_str(), name])
    }

    fn bounce(&self) -> Verdict {
        let name = self.bounce_type.as_deref().unwrap_or("");
        let row = BOUNCES.iter().find(|(known, _)| *known == name).map(|(_, meaning)| meaning);
        let (kind, in_stream) = match row {
            Some(Meaning::Is(kind)) => (*kind, false),
            Some(Meaning::Covers(kind)) => (*kind, true),
            Some(Meaning::Failure) => (EventKind::SoftBounce, false),
            None => (EventKind::Unknown, false),
        };
        let provider_kind = [self.record(), name].join(":");
        let provider_kind = provider_kind.trim_end_matches(':').to_owned();
        Verdict { kind, in_stream, provider_kind }
    }

    /// Source: "Subscription change webhook".
    fn change(&self) -> Verdict {
        let reason = self.suppression_reason.as_deref().unwrap_or("");
        let origin = self.origin.as_deref().unwrap_or("");
        let (kind, in_stream) = match *self.suppress_sending {
            None => (EventKind::Unknown, false),
            Some(false) => (EventKind::Resubscribed, true),
            Some(true) => suppressed(reason, origin),
        };
        let is_off = self.suppress_sending.is_on();
        let words = [self.record(), reason, origin];
        let words = if is_off { &words[..] } else { &words[..1] };
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        Verdict { kind, in_stream, provider_kind: words.join(":") }
    }
}

/// What a suppression is, and whether it covers its stream only.
fn suppressed(reason: &str, origin: &str) -> (EventKind, bool) {
    match (reason, origin) {
        // These tell of the address, not of the stream.
        ("HardBounce", _) => (EventKind::HardBounce, false),
        ("SpamComplaint", _) => (EventKind::Complaint, false),
        ("ManualSuppression", "Recipient") => (EventKind::Unsubscribed, true),
        _ => (EventKind::Rejected, true),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::provider::Settings;
    use crate::provider::signed::read_one;

    fn read(body: &Value) -> Event {
        let element = wire::element(body.to_string().as_bytes());
        read_one(&Postmark, &element, Time::from_seconds(1_800_000_000))
    }

    #[test]
    fn what_the_api_shows_too_is_recognised_by_it() {
        let mut bounce = json!({
            "RecordType": "Bounce", "ID": 901_542_550, "Type": "HardBounce", "ServerID": 23,
            "Email": "bounce@example.com", "BouncedAt": "2016-04-27T16:28:50.3963933-04:00",
        });
        assert_eq!(read(&bounce).identity.as_deref(), Some("23:901542550"));
        bounce["ServerID"] = Value::Null;
        assert_eq!(read(&bounce).identity.as_deref(), Some(":901542550"));
        bounce["ID"] = Value::Null;
        assert_eq!(read(&bounce).identity, None);
        let change = json!({
            "RecordType": "SubscriptionChange", "MessageStream": "news", "Origin": "Recipient",
            "ChangedAt": "2022-06-05T17:17:32.25Z", "Recipient": "john@example.com",
            "SuppressSending": true, "SuppressionReason": "ManualSuppression",
        });
        assert_eq!(read(&change).identity.as_deref(), Some("change:news:1654449452"));
    }

    #[test]
    fn it_has_no_check_of_its_own() {
        assert!(Postmark.checks(&Settings::default()).unwrap().is_empty());
    }
}
