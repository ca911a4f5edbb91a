//! SparkPost (Bird): an array of events, each wrapped as `{"msys":{"<class>":{…}}}`. Nothing is
//! signed.
//!
//! Source: SparkPost, "Webhooks" and "Events" of the API reference, and "Bounce classification
//! codes" of the support pages.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::{self, TimeForm};
use super::{Class, Notification, Provider, Said, Sample, Stamp, Unreadable};
use crate::model::{Address, Element, Event, EventKind, Scope, Time};

/// Classes that tell nothing of a recipient: mail relayed inwards, A/B tests, ingested batches.
const IGNORED_CLASSES: &[&str] = &["relay_event", "relay_message", "ab_test_event", "ingest_event"];

/// Types within other classes that tell nothing of a recipient.
const IGNORED_TYPES: &[&str] = &["sms_status", "relay_", "ab_test_"];

/// What an event or a class of bounces means.
#[derive(Clone, Copy)]
enum Meaning {
    /// This, whatever the codes say.
    Is(EventKind),
    /// A failure, by whose fault the codes say.
    Fault(Class),
    /// As `bounce_class` says.
    Bounce,
}

/// Source: API reference, "Events", "Event types".
const TYPES: &[(&str, Meaning)] = &[
    ("injection", Meaning::Is(EventKind::Accepted)),
    ("delivery", Meaning::Is(EventKind::Delivered)),
    ("delay", Meaning::Is(EventKind::Deferred)),
    ("bounce", Meaning::Bounce),
    ("out_of_band", Meaning::Bounce),
    ("policy_rejection", Meaning::Is(EventKind::Failed)),
    ("generation_rejection", Meaning::Is(EventKind::Failed)),
    ("generation_failure", Meaning::Is(EventKind::Failed)),
    ("spam_complaint", Meaning::Is(EventKind::Complaint)),
    ("open", Meaning::Is(EventKind::Opened)),
    ("initial_open", Meaning::Is(EventKind::Opened)),
    ("amp_open", Meaning::Is(EventKind::Opened)),
    ("amp_initial_open", Meaning::Is(EventKind::Opened)),
    ("click", Meaning::Is(EventKind::Clicked)),
    ("amp_click", Meaning::Is(EventKind::Clicked)),
    ("list_unsubscribe", Meaning::Is(EventKind::Unsubscribed)),
    ("link_unsubscribe", Meaning::Is(EventKind::Unsubscribed)),
];

/// Source: support pages, "Bounce classification codes".
const BOUNCE_CLASSES: &[(&str, Meaning)] = &[
    ("1", Meaning::Fault(Class::Unclear)),
    ("10", Meaning::Fault(Class::Hard)),
    ("20", Meaning::Fault(Class::Soft)),
    ("21", Meaning::Fault(Class::Soft)),
    ("22", Meaning::Fault(Class::Soft)),
    ("23", Meaning::Fault(Class::Soft)),
    ("24", Meaning::Fault(Class::Soft)),
    // An administrator's rule, such as SparkPost's own suppression list.
    ("25", Meaning::Is(EventKind::Rejected)),
    ("30", Meaning::Fault(Class::Hard)),
    ("40", Meaning::Fault(Class::Soft)),
    ("50", Meaning::Is(EventKind::Blocked)),
    ("51", Meaning::Is(EventKind::Blocked)),
    ("52", Meaning::Is(EventKind::Blocked)),
    ("53", Meaning::Is(EventKind::Blocked)),
    ("54", Meaning::Is(EventKind::Blocked)),
    // No bounces, but mails that came back: an auto-reply, a subscription, a challenge.
    ("60", Meaning::Is(EventKind::Unknown)),
    ("80", Meaning::Is(EventKind::Unknown)),
    ("100", Meaning::Is(EventKind::Unknown)),
    ("70", Meaning::Fault(Class::Soft)),
    // Classed as hard, but it is a mail that asks to unsubscribe.
    ("90", Meaning::Is(EventKind::Unsubscribed)),
];

/// Events in which SparkPost may say that it would not send, because of its own list.
const REFUSALS: &[&str] = &["bounce", "out_of_band", "policy_rejection", "generation_rejection"];

/// How it says that.
const SUPPRESSED: &[&str] =
    &["recipient address was suppressed", "suppressed due to customer policy"];

/// Types of feedback reports (RFC 5965, RFC 6430, RFC 6591) that are no complaints.
const NO_COMPLAINTS: &[&str] = &["not-spam", "auth-failure"];

pub(super) struct SparkPost;

#[derive(Deserialize)]
struct Envelope {
    msys: BTreeMap<String, Value>,
}

/// One event. SparkPost writes numbers as texts.
#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "type")]
    name: String,
    rcpt_to: Option<String>,
    raw_rcpt_to: Option<String>,
    timestamp: Option<TimeForm>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    event_id: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    message_id: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    bounce_class: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    error_code: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    raw_reason: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    fbtype: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    list_id: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    target_link_url: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    user_agent: Option<String>,
    #[serde(default)]
    user_agent_parsed: Value,
    #[serde(default, deserialize_with = "wire::loose_texts")]
    rcpt_tags: Vec<String>,
    #[serde(default)]
    rcpt_meta: Value,
}

impl Provider for SparkPost {
    fn name(&self) -> &'static str {
        "sparkpost"
    }

    fn verification(&self) -> &'static str {
        "Basic credentials, or a header with a fixed value"
    }

    fn event_types(&self) -> &'static [&'static str] {
        &[
            "delivery",
            "delay",
            "bounce",
            "out_of_band",
            "policy_rejection",
            "generation_failure",
            "generation_rejection",
            "spam_complaint",
            "list_unsubscribe",
            "link_unsubscribe",
        ]
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let unfit = |error| Unreadable(format!("not an event of SparkPost: {error}"));
        let envelope: Envelope = wire::object(&element.body).map_err(unfit)?;
        // It is empty when SparkPost only asks whether we are there.
        let mut events = Vec::new();
        for (class, value) in envelope.msys {
            if IGNORED_CLASSES.contains(&class.as_str()) {
                continue;
            }
            if !value.is_object() {
                return Err(Unreadable(format!("{class} is no object")));
            }
            let wire: Wire = serde_json::from_value(value).map_err(unfit)?;
            if !IGNORED_TYPES.iter().any(|start| wire.name.starts_with(start)) {
                events.push(wire.event(self.name(), stamp)?);
            }
        }
        Ok(events)
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (class, name, bounce_class, reason) = match kind {
            EventKind::Accepted => ("message_event", "injection", "", ""),
            EventKind::Delivered => ("message_event", "delivery", "", ""),
            EventKind::Deferred => ("message_event", "delay", "21", "451 4.3.0 Try later"),
            EventKind::SoftBounce => ("message_event", "bounce", "22", "452 4.2.2 Mailbox full"),
            EventKind::HardBounce => ("message_event", "bounce", "10", "550 5.1.1 User unknown"),
            EventKind::Blocked => ("message_event", "bounce", "50", "550 5.7.1 Refused by policy"),
            EventKind::Rejected => {
                let said = "554 5.7.1 recipient address was suppressed due to customer policy";
                ("gen_event", "generation_rejection", "25", said)
            }
            EventKind::Failed => ("gen_event", "generation_failure", "", "554 5.3.0 Failed"),
            EventKind::Complaint => ("message_event", "spam_complaint", "", ""),
            EventKind::Unsubscribed => ("unsubscribe_event", "link_unsubscribe", "", ""),
            EventKind::Opened => ("track_event", "open", "", ""),
            EventKind::Clicked => ("track_event", "click", "", ""),
            _ => return None,
        };
        let mut event = json!({
            "type": name,
            "event_id": now.nanos().to_string(),
            "message_id": format!("sample{:x}", now.nanos()),
            "rcpt_to": address.received().to_lowercase(),
            "raw_rcpt_to": address.received(),
            "timestamp": now.second().to_string(),
        });
        if !bounce_class.is_empty() {
            event["bounce_class"] = bounce_class.into();
        }
        if !reason.is_empty() {
            event["error_code"] = reason.get(..3).unwrap_or("").into();
            event["raw_reason"] = reason.into();
            event["reason"] = reason.into();
        }
        match kind {
            EventKind::Complaint => event["fbtype"] = "abuse".into(),
            EventKind::Clicked => event["target_link_url"] = "https://example.com/".into(),
            _ => {}
        }
        let body = json!([{ "msys": { class: event } }]).to_string().into_bytes();
        Some(Sample { content_type: "application/json", body })
    }
}

impl Wire {
    fn event(self, provider: &'static str, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
        // `rcpt_to` is in lower case; an odd raw address must not cost the event.
        let raw = self.raw_rcpt_to.as_deref().and_then(|text| wire::mailbox(text).ok());
        let address = match raw {
            Some(address) => address,
            None => wire::mailbox(self.rcpt_to.as_deref().unwrap_or(""))?,
        };
        let at =
            self.timestamp.as_ref().ok_or_else(|| Unreadable("there is no time".to_owned()))?;
        let at = wire::loose_time(at, stamp.received_at)?;
        let text = self.said().map(str::to_owned);
        let said = text.as_deref().unwrap_or("");
        let error_code = self.error_code.as_deref().and_then(wire::smtp_code);
        let smtp_code = error_code.or_else(|| wire::said_code(said));
        let enhanced_code = wire::enhanced_code(said);
        let facts = Said { smtp: smtp_code, enhanced: enhanced_code.as_deref(), text: said };
        let kind = self.kind(&facts, stamp);
        let list = self.list_id.as_deref().filter(|list| !list.is_empty());
        let scope = match list {
            Some(list) if kind == EventKind::Unsubscribed => wire::stream(list)?,
            _ => Scope::Global,
        };
        let provider_kind = self.provider_kind();
        let id = self.event_id.filter(|id| !id.is_empty());
        let has_meta = self.rcpt_meta.as_object().is_some_and(|meta| !meta.is_empty());
        Ok(Event {
            scope,
            message_id: self.message_id.as_deref().and_then(wire::bare_id),
            smtp_code,
            enhanced_code,
            diagnostic: text,
            tags: self.rcpt_tags,
            url: self.target_link_url,
            user_agent: self.user_agent,
            provider_event_id: id.clone(),
            identity: id,
            machine: self.user_agent_parsed["is_prefetched"] == Value::Bool(true),
            metadata: has_meta.then(|| self.rcpt_meta.to_string()),
            ..stamp.event(provider, kind, provider_kind, address, at)
        })
    }

    /// The server's words: whole, or with addresses taken out.
    fn said(&self) -> Option<&str> {
        let texts = [self.raw_reason.as_deref(), self.reason.as_deref()];
        texts.into_iter().flatten().map(str::trim).find(|text| !text.is_empty())
    }

    /// The type, with what makes it special.
    fn provider_kind(&self) -> String {
        let more = match self.name.as_str() {
            "bounce" | "out_of_band" => self.bounce_class.as_deref(),
            "spam_complaint" => self.fbtype.as_deref(),
            _ => None,
        };
        let words = [Some(self.name.as_str()), more.filter(|text| !text.is_empty())];
        words.into_iter().flatten().collect::<Vec<&str>>().join(":")
    }

    fn kind(&self, said: &Said<'_>, stamp: &Stamp<'_>) -> EventKind {
        let name = self.name.as_str();
        let find = |table: &[(&str, Meaning)], key: &str| {
            table.iter().find(|(known, _)| *known == key).map(|(_, meaning)| *meaning)
        };
        if REFUSALS.contains(&name) && self.is_suppressed() {
            return EventKind::Rejected;
        }
        let fbtype = self.fbtype.as_deref().unwrap_or("").to_ascii_lowercase();
        if name == "spam_complaint" && NO_COMPLAINTS.contains(&fbtype.as_str()) {
            return EventKind::Unknown;
        }
        let class = || {
            let class = self.bounce_class.as_deref().unwrap_or("");
            find(BOUNCE_CLASSES, class).unwrap_or(Meaning::Fault(Class::Unclear))
        };
        let meaning = match find(TYPES, name) {
            Some(Meaning::Bounce) => class(),
            Some(meaning) => meaning,
            None => Meaning::Is(EventKind::Unknown),
        };
        match meaning {
            Meaning::Is(kind) => kind,
            Meaning::Fault(class) => stamp.faults.kind(class, said),
            Meaning::Bounce => EventKind::Unknown,
        }
    }

    /// Whether SparkPost would not send because the address is on its own list.
    fn is_suppressed(&self) -> bool {
        let texts = [&self.raw_reason, &self.reason].into_iter().flatten();
        let mut texts = texts.map(|text| text.to_lowercase());
        texts.any(|text| SUPPRESSED.iter().any(|known| text.contains(known)))
    }
}
