//! What an odd type in one field may do, for every field of every fixture: never a panic, never a
//! loss, never a word of the payload in the reason, and, where nothing rests on the field, nothing.
//!
//! [`MATTERS`] has the fields on which kind, address, scope or identity rest; all others may hold
//! anything. A path is that of the field in its element: `/a/*/b` for members of a list, and
//! `/a/$json/b` in JSON that is a text. Before a `:` stands the feed, for rows of a poll.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use suppressd::model::{Element, Event, Origin, SourceName};
use suppressd::provider::{ALL, Judge, Provider, Stamp, Unreadable, read_judged};

use crate::feeds;
use crate::providers::{Sent, payloads, received};

/// What stands in a field's place. Nothing at all comes in addition.
fn replacements() -> [Value; 7] {
    [json!(null), json!(""), json!("x"), json!(7), json!([]), json!({}), json!(true)]
}

/// A word that no fixture has: it must be in no reason.
const SECRET: &str = "qzxv-secret-word";

/// The fields on which something of a provider's events rests.
struct Matters {
    provider: &'static str,
    /// Whom an event is about.
    address: &'static [&'static str],
    /// What it is and what it covers: its name, what the server said, the stream.
    kind: &'static [&'static str],
    /// When it was. Where there is no id, the event is known by it.
    time: &'static [&'static str],
    /// What it is known by.
    identity: &'static [&'static str],
}

/// The fields of SNS's envelope that are signed.
const ENVELOPE: &[&str] = &[
    "/Message",
    "/MessageId",
    "/Signature",
    "/SignatureVersion",
    "/SigningCertURL",
    "/Subject",
    "/SubscribeURL",
    "/Timestamp",
    "/Token",
    "/TopicArn",
    "/Type",
];

const MATTERS: &[Matters] = &[
    Matters {
        provider: "amazon-ses",
        address: &[
            "/Message/$json/bounce/bouncedRecipients/*/emailAddress",
            "/Message/$json/complaint/complainedRecipients/*/emailAddress",
            "/Message/$json/delivery/recipients/*",
            "/Message/$json/deliveryDelay/delayedRecipients/*/emailAddress",
            "/Message/$json/mail/destination/*",
            "/bounce/bouncedRecipients/*/emailAddress",
            "/detail/complaint/complainedRecipients/*/emailAddress",
            "suppressions:/EmailAddress",
        ],
        kind: &[
            "/Message/$json/bounce/bouncedRecipients/*/diagnosticCode",
            "/Message/$json/bounce/bounceSubType",
            "/Message/$json/bounce/bounceType",
            "/Message/$json/complaint/complaintFeedbackType",
            "/Message/$json/complaint/complaintSubType",
            "/Message/$json/eventType",
            "/Message/$json/notificationType",
            concat!(
                "/Message/$json/subscription/newTopicPreferences/topicSubscriptionStatus/*",
                "/subscriptionStatus"
            ),
            concat!(
                "/Message/$json/subscription/newTopicPreferences/topicSubscriptionStatus/*",
                "/topicName"
            ),
            "/Message/$json/subscription/newTopicPreferences/unsubscribeAll",
            "/Message/$json/subscription/oldTopicPreferences/unsubscribeAll",
            "/detail-type",
            "/detail/eventType",
            "/eventType",
        ],
        time: &[
            "/Message/$json/bounce/timestamp",
            "/Message/$json/complaint/timestamp",
            "/bounce/timestamp",
            "/detail/complaint/timestamp",
            "/Message/$json/click/timestamp",
            "/Message/$json/delivery/timestamp",
            "/Message/$json/deliveryDelay/timestamp",
            "/Message/$json/mail/timestamp",
            "/Message/$json/open/timestamp",
            "/Message/$json/subscription/timestamp",
            "suppressions:/LastUpdateTime",
        ],
        identity: &[
            "/Message/$json/bounce/feedbackId",
            "/Message/$json/complaint/feedbackId",
            "/Message/$json/mail/messageId",
            "/bounce/feedbackId",
            "/detail/complaint/feedbackId",
        ],
    },
    Matters {
        provider: "brevo",
        address: &["/email", "events:/email", "suppressions:/email"],
        kind: &[
            "/event",
            "/reason",
            "events:/event",
            "events:/reason",
            "suppressions:/reason/code",
            "suppressions:/senderEmail",
        ],
        time: &[
            "/s_epoch",
            "/ts",
            "/ts_epoch",
            "/ts_event",
            "events:/date",
            "suppressions:/blockedAt",
        ],
        identity: &["/link", "/message-id", "events:/link", "events:/messageId"],
    },
    Matters {
        provider: "custom",
        address: &["events:/to", "unsubscribes:/to"],
        kind: &["events:/text", "events:/event"],
        time: &["events:/at"],
        identity: &["events:/id"],
    },
    Matters {
        provider: "elastic-email",
        address: &[
            "/To",
            "/to",
            "bounces:/Email",
            "complaints:/Email",
            "events:/To",
            "unsubscribes:/Email",
        ],
        kind: &[
            "events:/Message",
            "events:/MessageCategory",
            "/Status",
            "/category",
            "/status",
            "events:/EventType",
        ],
        time: &[
            "/Date",
            "/date",
            "bounces:/DateUpdated",
            "complaints:/DateUpdated",
            "events:/EventDate",
            "unsubscribes:/DateUpdated",
        ],
        identity: &["/MessageID", "/messageid", "events:/MsgID"],
    },
    Matters {
        provider: "forward-email",
        address: &["/recipient"],
        kind: &["/response", "/bounce/category", "/message"],
        time: &["/bounced_at"],
        identity: &["/email_id"],
    },
    Matters {
        provider: "generic",
        address: &[
            "/recipient",
            "events:/recipient",
            "suppressions:/address",
            "suppressions:/recipient",
        ],
        kind: &["events:/reason", "/event", "/reason", "/scope", "/smtp_code", "events:/event"],
        time: &["/timestamp", "/until", "events:/timestamp", "suppressions:/since"],
        identity: &["/event_id", "/message_id", "events:/message_id"],
    },
    Matters {
        provider: "mailersend",
        address: &[
            "/data/email/recipient/email",
            "/data/recipient/email",
            "blocklist:/pattern",
            "bounces:/recipient/email",
            "complaints:/recipient/email",
            "events:/email/recipient/email",
            "on_hold:/recipient/email",
            "unsubscribes:/recipient/email",
        ],
        kind: &["/data/morph/reason", "/type", "events:/type"],
        time: &[
            "/data/created_at",
            "/created_at",
            "blocklist:/created_at",
            "bounces:/created_at",
            "complaints:/created_at",
            "events:/created_at",
            "on_hold:/created_at",
            "unsubscribes:/created_at",
        ],
        identity: &["/data/id", "events:/id"],
    },
    Matters {
        provider: "mailgun",
        address: &[
            "/event-data/message/headers/to",
            "/event-data/recipient",
            "bounces:/address",
            "complaints:/address",
            "events:/message/headers/to",
            "events:/recipient",
            "unsubscribes:/address",
        ],
        kind: &[
            "events:/delivery-status",
            "events:/delivery-status/message",
            "/event-data/delivery-status/bounce-type",
            "/event-data/delivery-status/code",
            "/event-data/delivery-status/message",
            "/event-data/event",
            "/event-data/reason",
            "/event-data/severity",
            "events:/event",
            "events:/severity",
            "unsubscribes:/tags/*",
        ],
        time: &[
            "/event-data/timestamp",
            "bounces:/created_at",
            "complaints:/created_at",
            "events:/timestamp",
            "unsubscribes:/created_at",
        ],
        identity: &["/event-data/id", "/event-data/message/headers/message-id", "events:/id"],
    },
    Matters {
        provider: "mailjet",
        address: &["/email", "contacts:/Email"],
        kind: &[
            "/error",
            "/event",
            "/hard_bounce",
            "/mj_list_id",
            "contacts:/IsExcludedFromCampaigns",
            "contacts:/IsSpamComplaining",
            "events:/EventType",
        ],
        time: &["/time", "contacts:/ExclusionFromCampaignsUpdatedAt", "events:/EventAt"],
        identity: &["/MessageID"],
    },
    Matters {
        provider: "mailtrap",
        address: &["/email", "suppressions:/email"],
        kind: &[
            "/bounce_category",
            "events:/details/email_service_provider_status",
            "events:/details/reject_reason",
            "/event",
            "/reason",
            "/response",
            "/sending_stream",
            "events:/details/bounce_category",
            "events:/event_type",
            "suppressions:/sending_stream",
            "suppressions:/type",
        ],
        time: &["/timestamp", "events:/created_at", "suppressions:/created_at"],
        identity: &["/message_id"],
    },
    Matters {
        provider: "mandrill",
        address: &["/msg/email", "/reject/email", "events:/email", "suppressions:/email"],
        kind: &[
            "/msg/bgtools_code",
            "events:/reject",
            "events:/reject/reason",
            "/action",
            "/event",
            "/msg/diag",
            "/msg/reject/reason",
            "/type",
            "events:/state",
        ],
        time: &[
            "/ts",
            "events:/smtp_events/*/ts",
            "events:/ts",
            "suppressions:/created_at",
            "suppressions:/last_event_at",
        ],
        identity: &["/_id", "/url", "events:/_id"],
    },
    Matters {
        provider: "postal",
        address: &["/payload/message/to", "/payload/original_message/to"],
        kind: &[
            "/event",
            "/payload/details",
            "/payload/message/direction",
            "/payload/original_message/direction",
            "/payload/output",
            "/payload/status",
        ],
        time: &["/payload/timestamp", "/timestamp"],
        identity: &["/payload/message/id", "/uuid"],
    },
    Matters {
        provider: "postmark",
        address: &["/Email", "/Recipient", "bounces:/Email", "suppressions:/EmailAddress"],
        kind: &[
            "/Inactive",
            "bounces:/Details",
            "/Details",
            "/MessageStream",
            "/Origin",
            "/RecordType",
            "/SuppressSending",
            "/SuppressionReason",
            "/Type",
            "bounces:/MessageStream",
            "bounces:/Type",
            "suppressions:/SuppressionReason",
        ],
        time: &[
            "/BouncedAt",
            "/ChangedAt",
            "/DeliveredAt",
            "/ReceivedAt",
            "bounces:/BouncedAt",
            "suppressions:/CreatedAt",
        ],
        identity: &["/ID", "/MessageID", "/ServerID", "bounces:/ID", "bounces:/ServerID"],
    },
    Matters {
        provider: "resend",
        address: &["/data/email", "/data/to/*", "events:/to/*", "suppressions:/email"],
        kind: &[
            "/data/bounce/diagnosticCode/*",
            "/data/bounce/message",
            "/data/bounce/subType",
            "/data/bounce/type",
            "/data/unsubscribed",
            "/type",
            "events:/last_event",
        ],
        time: &["/created_at", "events:/created_at", "suppressions:/created_at"],
        identity: &["/data/email_id", "/data/id", "events:/id", "suppressions:/id"],
    },
    Matters {
        provider: "scaleway-tem",
        address: &[
            "/Message/$json/email",
            "/Message/$json/email_to",
            "blocklists:/email",
            "events:/data/$json/email",
            "events:/data/$json/email_to",
            "events:/mail_rcpt",
        ],
        kind: &[
            "/Message/$json/email_error",
            "/Message/$json/email_response_message",
            "/Message/$json/type",
            "events:/data/$json/email_response_message",
            "events:/data/$json/type",
            "events:/flags/*",
            "events:/last_tries/*/message",
            "events:/status",
        ],
        time: &[
            "/Message/$json/created_at",
            "blocklists:/created_at",
            "blocklists:/updated_at",
            "events:/data/$json/created_at",
            "events:/last_tries/*/tried_at",
            "events:/updated_at",
        ],
        identity: &["/Message/$json/id", "blocklists:/id", "events:/data/$json/id", "events:/id"],
    },
    Matters {
        provider: "sendgrid",
        address: &[
            "/email",
            "blocks:/email",
            "bounces:/email",
            "complaints:/email",
            "events:/email",
            "group_unsubscribes:/email",
            "invalid:/email",
            "unsubscribes:/email",
        ],
        kind: &[
            "/asm_group_id",
            "/bounce_classification",
            "/event",
            "/reason",
            "events:/event",
            "events:/reason",
            "group_unsubscribes:/group_id",
        ],
        time: &[
            "/timestamp",
            "blocks:/created",
            "bounces:/created",
            "complaints:/created",
            "events:/timestamp",
            "group_unsubscribes:/created_at",
            "invalid:/created",
            "unsubscribes:/created",
        ],
        identity: &["/sg_event_id", "events:/sg_event_id"],
    },
    Matters {
        provider: "smtp2go",
        address: &["/rcpt", "events:/recipient"],
        kind: &[
            "/bounce",
            "/context",
            "/event",
            "/message",
            "events:/event",
            "events:/reason",
            "events:/smtp_response",
            "suppressions:/email_address",
            "suppressions:/reason",
        ],
        time: &["/time", "events:/date", "suppressions:/timestamp"],
        identity: &["/email_id", "events:/email_id"],
    },
    Matters {
        provider: "sparkpost",
        address: &[
            "/msys/gen_event/rcpt_to",
            "/msys/message_event/rcpt_to",
            "suppressions:/recipient",
        ],
        kind: &[
            "/msys/gen_event/type",
            "/msys/message_event/bounce_class",
            "/msys/message_event/fbtype",
            "/msys/message_event/raw_reason",
            "/msys/message_event/type",
            "/msys/novel_event/type",
            "/msys/track_event/type",
            "/msys/unsubscribe_event/list_id",
            "/msys/unsubscribe_event/type",
            "events:/list_id",
            "events:/raw_reason",
            "events:/type",
            "suppressions:/list_id",
            "suppressions:/type",
        ],
        time: &[
            "/msys/gen_event/timestamp",
            "/msys/message_event/timestamp",
            "/msys/novel_event/timestamp",
            "/msys/track_event/timestamp",
            "/msys/unsubscribe_event/timestamp",
            "events:/timestamp",
            "suppressions:/updated",
        ],
        identity: &[
            "/msys/gen_event/event_id",
            "/msys/message_event/event_id",
            "/msys/novel_event/event_id",
            "/msys/track_event/event_id",
            "/msys/unsubscribe_event/event_id",
            "events:/event_id",
        ],
    },
    Matters {
        provider: "standard-webhooks",
        address: &["/data/recipient", "/recipient"],
        kind: &["/reason", "/data/event", "/data/reason", "/type"],
        time: &["/data/timestamp", "/timestamp"],
        identity: &["/data/event_id"],
    },
    Matters {
        provider: "unisender-go",
        address: &["/email", "/event_data/email", "suppressions:/email"],
        kind: &[
            "/delivery_info",
            "/event_data/delivery_info/delivery_status",
            "/event_data/delivery_info/destination_response",
            "/event_data/status",
            "/event_name",
            "/events_by_user/*/events",
            "/status",
            "suppressions:/cause",
        ],
        time: &["/event_data/event_time", "/event_time", "suppressions:/created"],
        identity: &["/event_data/job_id", "/event_data/url", "/job_id"],
    },
];

impl Matters {
    fn all(&self) -> impl Iterator<Item = &'static str> {
        [self.address, self.kind, self.time, self.identity].into_iter().flatten().copied()
    }
}

/// The field of [`MATTERS`] that that one is, or that stands in it.
fn matters(provider: &str, feed: &str, path: &str) -> Option<&'static str> {
    let rows = MATTERS.iter().filter(|row| row.provider == provider).flat_map(Matters::all);
    let within = |row: &&str| {
        let (of, field) = row.split_once(':').unwrap_or(("", row));
        of == feed && (path == field || field.starts_with(&format!("{path}/")))
    };
    rows.chain(ENVELOPE.iter().copied()).find(within)
}

/// What must stay of an event.
fn facts(read: &Result<Vec<Event>, Unreadable>) -> Vec<String> {
    let Ok(events) = read else { return vec!["unreadable".to_owned()] };
    let fact = |event: &Event| {
        let (kind, address, scope) = (event.kind.as_str(), event.address.key(), &event.scope);
        format!("{kind} {address} {scope} {}", event.id())
    };
    events.iter().map(fact).collect()
}

/// A provider, a feed and a path.
type Place = (&'static str, String, String);

/// One element and how it is read.
struct Subject<'a> {
    provider: &'static str,
    name: String,
    feed: &'a str,
    element: Element,
    read: &'a dyn Fn(&Element) -> Result<Vec<Event>, Unreadable>,
}

impl Subject<'_> {
    /// Puts everything into each field, and tells the fields on which something rests.
    fn mutate(&self, found: &mut BTreeSet<Place>) {
        let Some(value) = object(&self.element.body) else { return };
        let before = facts(&(self.read)(&self.element));
        if before == ["unreadable"] {
            return;
        }
        for path in paths(&value, String::new()) {
            let generic = generic(&path);
            for with in replacements().map(Some).into_iter().chain([None, Some(json!(SECRET))]) {
                let body = with_field(&value, &path, with.clone()).to_string().into_bytes();
                let element = Element { body, ..self.element.clone() };
                let read = (self.read)(&element);
                if let Err(reason) = &read {
                    let place = format!("{} {generic}: {reason}", self.name);
                    assert!(!reason.0.contains(SECRET), "a payload is quoted: {place}");
                    assert!(!reason.0.contains("expected"), "serde's own words: {place}");
                }
                if facts(&read) != before {
                    found.insert((self.provider, self.feed.to_owned(), generic.clone()));
                }
            }
        }
    }
}

fn object(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body).ok().filter(Value::is_object).or_else(|| {
        // A form: adapters that take it take the same as JSON.
        let pairs = url::form_urlencoded::parse(body);
        let pairs: Map<String, Value> =
            pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
        let is_name =
            |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        (!pairs.is_empty() && pairs.keys().all(is_name)).then_some(Value::Object(pairs))
    })
}

/// The paths of all fields; those of JSON in a text, too.
fn paths(value: &Value, at: String) -> Vec<String> {
    let below = |key: &str, member: &Value| {
        let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        [vec![path.clone()], paths(member, path)].concat()
    };
    match value {
        Value::Object(members) => members.iter().flat_map(|(k, v)| below(k, v)).collect(),
        Value::Array(members) => {
            members.iter().enumerate().flat_map(|(n, v)| below(&n.to_string(), v)).collect()
        }
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ Value::Object(_)) => paths(&inner, format!("{at}/$json")),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A path with `*` in place of the numbers of members.
fn generic(path: &str) -> String {
    let part =
        |part: &str| if part.parse::<usize>().is_ok() { "*".into() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The same with something else, or nothing, in one field.
fn with_field(value: &Value, path: &str, with: Option<Value>) -> Value {
    if let Some((outer, inner)) = path.split_once("/$json") {
        let text = value.pointer(outer).and_then(Value::as_str).unwrap();
        let changed = with_field(&serde_json::from_str(text).unwrap(), inner, with).to_string();
        return with_field(value, outer, Some(changed.into()));
    }
    let mut value = value.clone();
    let (parent, key) = path.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    match (value.pointer_mut(parent).unwrap(), with) {
        (Value::Object(members), Some(with)) => drop(members.insert(key, with)),
        (Value::Object(members), None) => drop(members.remove(&key)),
        (Value::Array(members), Some(with)) => members[key.parse::<usize>().unwrap()] = with,
        (Value::Array(members), None) => drop(members.remove(key.parse().unwrap())),
        _ => unreachable!("{path} leads into no container"),
    }
    value
}

fn told(provider: &dyn Provider, element: &Element) -> Result<Vec<Event>, Unreadable> {
    let stamp = Stamp {
        source: &SourceName::parse("fixture").unwrap(),
        origin: Origin::Webhook,
        feed: "",
        received_at: received(),
    };
    read_judged(provider, element, &stamp, &Judge::default())
}

#[test]
fn only_what_an_event_rests_on_may_change_it() {
    let mut found = BTreeSet::new();
    for provider in ALL {
        for payload in payloads(*provider) {
            let name = payload.display().to_string();
            for element in provider.split(&Sent::of(&payload).notification()) {
                let read = |element: &Element| told(*provider, element);
                let (name, provider) = (name.clone(), provider.name());
                Subject { provider, name, feed: "", element, read: &read }.mutate(&mut found);
            }
        }
    }
    for case in feeds::cases() {
        for element in case.elements() {
            let read = |element: &Element| case.read_or_say(element);
            let (name, provider) = (case.name.clone(), case.provider.name());
            Subject { provider, name, feed: case.feed(), element, read: &read }.mutate(&mut found);
        }
    }
    let (mut odd, mut used) = (Vec::new(), BTreeSet::new());
    for (provider, feed, path) in &found {
        match matters(provider, feed, path) {
            Some(row) => drop(used.insert((*provider, row))),
            None => odd.push(format!("{provider} {feed}:{path}")),
        }
    }
    assert!(odd.is_empty(), "an event changes with\n{}", odd.join("\n"));
    let rows = MATTERS.iter().flat_map(|row| row.all().map(|field| (row.provider, field)));
    let unused: Vec<_> = rows.filter(|row| !used.contains(row)).collect();
    assert!(unused.is_empty(), "nothing rests on {unused:#?}");
}
