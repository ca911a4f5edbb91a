//! Twilio SendGrid: the Event Webhook, signed with ECDSA; the logs and lists of its API.
//!
//! Source: Twilio SendGrid, "Event Webhook Reference" and "Getting Started with the Event Webhook
//! Security Features". The body is an array; custom arguments stand among the event's own keys.

mod api;

use std::collections::BTreeMap;

use http::HeaderName;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::wire::{self, Flag, Id, Json, Misfit, Text, Texts, Told, When};
use super::{
    Algorithm, Check, Encoding, Feed, Form, Key, Notification, Page, PageError, PageRequest, Piece,
    Place, Provider, PublicKey, PublicKeyBytes, Query, Sample, Scheme, SettingError, Settings,
    SignedStamp, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Origin, Reason, Scope, Time};
use crate::secret::Secret;

const NAME: &str = "sendgrid";

const SIGNATURE_HEADER: HeaderName =
    HeaderName::from_static("x-twilio-email-event-webhook-signature");
const TIMESTAMP_HEADER: HeaderName =
    HeaderName::from_static("x-twilio-email-event-webhook-timestamp");

const WEBHOOK_KEYS: &[Key] = &[Key::optional_secret("public_key")];

/// That SendGrid was asked to send, which its logs begin with: nothing has come of it yet.
const RECEIVED: &str = "received";

/// What each event means, save `bounce` and the drops, which have tables of their own.
/// Source: "Event Webhook Reference", "Delivery events" and "Engagement events".
const KINDS: &[(&str, EventKind)] = &[
    ("processed", EventKind::Accepted),
    ("deferred", EventKind::Deferred),
    ("delivered", EventKind::Delivered),
    ("spamreport", EventKind::Complaint),
    ("open", EventKind::Opened),
    ("click", EventKind::Clicked),
    ("unsubscribe", EventKind::Unsubscribed),
    ("group_unsubscribe", EventKind::Unsubscribed),
    ("group_resubscribe", EventKind::Resubscribed),
];

/// Why mail was dropped, in lower case. SendGrid did not even try: no drop is a new bounce.
/// Source: "Event Webhook Reference", "Dropped".
const DROPS: &[(&str, EventKind, Option<Reason>)] = &[
    ("bounced address", EventKind::Rejected, None),
    ("spam reporting address", EventKind::Rejected, None),
    ("unsubscribed address", EventKind::Rejected, None),
    ("invalid", EventKind::Rejected, Some(Reason::Invalid)),
    ("spam content", EventKind::Failed, None),
    ("invalid smtpapi header", EventKind::Failed, None),
    ("recipient list over package quota", EventKind::Failed, None),
];

/// The drop that is by an unsubscription, which may be one of a group.
const UNSUBSCRIBED_DROP: &str = "unsubscribed address";

/// How SendGrid says that its own search for the recipient's servers has failed.
const OWN_LOOKUP: &str = "unable to get mx info";

/// SendGrid's own keys that become no field of an event; what is not here is a custom argument.
const OWN_KEYS: &[&str] = &[
    "attempt",
    "cert_err",
    "domain",
    "ip",
    "mc_auto_id",
    "mc_auto_name",
    "mc_pod_id",
    "mc_stats",
    "newsletter",
    "marketing_campaign_id",
    "marketing_campaign_name",
    "marketing_campaign_split_id",
    "marketing_campaign_version",
    "phase_id",
    "pool",
    "post_type",
    "send_at",
    "sg_content_type",
    "sg_template_id",
    "sg_template_name",
    "sg_user_id",
    "singlesend_id",
    "singlesend_name",
    "template_hash",
    "template_id",
    "template_version_id",
    "tls",
    "url_offset",
];

/// The keys that become fields of an event.
const FIELDS: &[&str] = &[
    "event",
    "email",
    "timestamp",
    "sg_event_id",
    "sg_message_id",
    "smtp-id",
    "type",
    "bounce_classification",
    "status",
    "reason",
    "response",
    "asm_group_id",
    "category",
    "url",
    "useragent",
    "sg_machine_open",
];

pub(super) struct SendGrid;

/// One event. Custom arguments stand beside these, and may collide with any of them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    event: Told,
    email: Told,
    timestamp: When,
    sg_event_id: Id,
    sg_message_id: Id,
    #[serde(rename = "smtp-id")]
    smtp_id: Id,
    #[serde(rename = "type")]
    bounce_type: Text,
    bounce_classification: Text,
    status: Text,
    reason: Text,
    response: Text,
    asm_group_id: Text,
    category: Texts,
    url: Text,
    useragent: Text,
    sg_machine_open: Flag,
    /// Of a row of the logs, which has them by themselves.
    custom_args: Json,
}

/// What an event is.
struct Verdict {
    kind: EventKind,
    reason: Option<Reason>,
    scope: Scope,
    provider_kind: String,
}

impl Provider for SendGrid {
    fn name(&self) -> &'static str {
        NAME
    }

    fn verification(&self) -> &'static str {
        "ECDSA signature (P-256) of the timestamp and the body"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        let key = |secret: &Secret| {
            let text = std::str::from_utf8(secret.reveal()).ok();
            text.and_then(PublicKeyBytes::from_spki_text).ok_or_else(|| {
                let hint = "copy the verification key of the webhook's security settings";
                settings.problem("public_key", "is no public key in base64 or PEM", hint)
            })
        };
        let keys = settings.secrets("public_key").iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let stamp = SignedStamp {
            place: Some(Place::Header(TIMESTAMP_HEADER)),
            millis: false,
            // A retry may come 24 hours later, and nothing says that it is signed anew.
            tolerance: None,
        };
        let scheme = Scheme {
            place: Place::Header(SIGNATURE_HEADER),
            encoding: Encoding::Base64,
            form: Form::Plain(String::new()),
            signed: vec![Piece::Stamp, Piece::Body],
            stamp: Some(stamp),
        };
        let algorithm = Algorithm::EcdsaP256;
        Ok(vec![Check::PublicKey(PublicKey { scheme, algorithm, keys, key_id: None })])
    }

    fn event_types(&self) -> &'static [&'static str] {
        &[
            "Deferred",
            "Delivered",
            "Bounced",
            "Dropped",
            "Spam Reports",
            "Unsubscribes",
            "Group Unsubscribes",
            "Group Resubscribes",
        ]
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
        if api::is_list(stamp.feed) {
            return api::listed(element, stamp);
        }
        let unfit = |error: Misfit| Unreadable(format!("not an event of SendGrid: {error}"));
        let wire: Wire = wire::object(&element.body).map_err(unfit)?;
        let name = wire.event.need("event")?;
        // The logs may leave it to the message to say whose an event was.
        let of_message = wire.email.is_absent() && !element.context.is_empty();
        let email = if of_message { element.context.as_str().into() } else { wire.email.clone() };
        if name.starts_with("account_") || name == RECEIVED || (is_drop(name) && email.is_absent())
        {
            // About the account or a request, or a drop of mail to nobody.
            return Ok(Vec::new());
        }
        let address = email.address("email")?;
        let at = wire.timestamp.at("timestamp", stamp.received_at)?;
        let said = wire.said().unwrap_or("");
        let status = wire.status.as_deref().unwrap_or("");
        let smtp_code = wire::said_code(said).or_else(|| wire::smtp_code(status));
        let enhanced_code = enhanced_code(status, said);
        let Verdict { kind, reason, scope, provider_kind } = wire.verdict(said)?;
        let event_id = wire.sg_event_id.clone();
        let metadata = wire.arguments(element, stamp.origin).map_err(unfit)?;
        Ok(vec![Event {
            scope,
            failure: wire.failure(kind, said),
            message_id: wire.message_id(),
            smtp_code,
            enhanced_code,
            diagnostic: wire.said().map(str::to_owned),
            tags: wire.category.into(),
            url: wire.url.into(),
            user_agent: wire.useragent.into(),
            provider_event_id: event_id.clone(),
            identity: event_id,
            machine: wire.sg_machine_open.is_on(),
            metadata,
            reason,
            ..stamp.event(self.name(), kind, provider_kind, address, at)
        }])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let mut body = json!({
            "email": address.received(),
            "event": sample_name(kind)?,
            "timestamp": now.second(),
            "sg_event_id": format!("c2FtcGxl{}", now.nanos()),
            "sg_message_id": format!("sample{}.recvd-sample-1-1.0", now.nanos()),
            "smtp-id": format!("<{}@sample.invalid>", now.nanos()),
        });
        let more = match kind {
            EventKind::Delivered => json!({ "response": "250 2.0.0 OK" }),
            EventKind::Deferred => json!({ "response": "451 4.3.0 Try later", "attempt": "1" }),
            EventKind::HardBounce => json!({
                "type": "bounce", "bounce_classification": "Invalid Address", "status": "5.1.1",
                "reason": "550 5.1.1 The mailbox does not exist",
            }),
            EventKind::SoftBounce => json!({
                "type": "blocked", "bounce_classification": "Mailbox Unavailable",
                "status": "4.2.2", "reason": "452 4.2.2 The mailbox is full",
            }),
            EventKind::Blocked => json!({
                "type": "blocked", "bounce_classification": "Reputation", "status": "5.7.1",
                "reason": "550 5.7.1 Refused by policy",
            }),
            EventKind::Rejected => json!({ "reason": "Bounced Address" }),
            EventKind::Failed => json!({ "reason": "Spam Content" }),
            EventKind::Resubscribed => json!({ "asm_group_id": 10 }),
            EventKind::Clicked => json!({ "url": "https://example.com/" }),
            _ => json!({}),
        };
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        // SendGrid ends its bodies so, and signs that too.
        let body = format!("[{body}]\r\n").into_bytes();
        Some(Sample { content_type: "application/json;charset=utf-8", body })
    }
}

impl Wire {
    /// What the recipient's server or SendGrid said.
    fn said(&self) -> Option<&str> {
        [&self.reason, &self.response].into_iter().find_map(|text| text.as_deref()).map(str::trim)
    }

    /// The Message-ID; without one, what the API that sends answered as `X-Message-Id`.
    fn message_id(&self) -> Option<String> {
        let sent = || self.sg_message_id.as_deref()?.split('.').next().map(str::to_owned);
        self.smtp_id
            .as_deref()
            .and_then(wire::bare_id)
            .or_else(|| sent().filter(|id| !id.is_empty()))
    }

    /// The custom arguments. The API has them by themselves.
    fn arguments(&self, element: &Element, origin: Origin) -> Result<Option<String>, Misfit> {
        if origin == Origin::Poll {
            return Ok(self.custom_args.own_data());
        }
        let all: BTreeMap<String, Json> = wire::object(&element.body)?;
        let own = all.iter().filter(|(key, _)| is_custom(key));
        let own = own.filter_map(|(key, value)| Some((key.clone(), value.as_ref()?.clone())));
        Ok(wire::own_data(&own.collect()))
    }

    fn verdict(&self, said: &str) -> Result<Verdict, Unreadable> {
        let name = self.event.text().unwrap_or("");
        let group = || wire::stream(self.asm_group_id.as_deref().unwrap_or(""));
        let verdict =
            |kind, reason, scope, provider_kind| Ok(Verdict { kind, reason, scope, provider_kind });
        match name {
            "bounce" => {
                let class = self.bounce_classification.as_deref();
                let words = [Some(name), self.bounce_type.as_deref(), class];
                let words: Vec<&str> = words.into_iter().flatten().filter(is_some).collect();
                verdict(EventKind::SoftBounce, None, Scope::Global, words.join(":"))
            }
            name if is_drop(name) => {
                let why = said.to_lowercase();
                let Some((row, kind, reason)) = DROPS.iter().find(|(row, ..)| is_reason(&why, row))
                else {
                    return verdict(EventKind::Failed, None, Scope::Global, name.to_owned());
                };
                // What is known is that mail of this group was refused, not all mail.
                let in_group = *row == UNSUBSCRIBED_DROP && self.asm_group_id.is_some();
                let scope = if in_group { group()? } else { Scope::Global };
                verdict(*kind, *reason, scope, format!("{name}:{said}"))
            }
            "group_unsubscribe" | "group_resubscribe" => {
                verdict(known(name), None, group()?, name.to_owned())
            }
            _ => verdict(known(name), None, Scope::Global, name.to_owned()),
        }
    }

    /// What SendGrid calls a failure: of a bounce the class first, which says more than the type.
    fn failure(&self, kind: EventKind, said: &str) -> Option<Failure> {
        let texts = [&self.bounce_classification, &self.bounce_type];
        let words = texts.into_iter().filter_map(|word| word.as_deref());
        match kind {
            EventKind::SoftBounce if said.starts_with(OWN_LOOKUP) => Some(Failure::of(["no mx"])),
            EventKind::SoftBounce => Some(Failure::of(words)),
            EventKind::Deferred => Some(Failure::default()),
            EventKind::Failed => {
                let why = said.to_lowercase();
                let row = DROPS.iter().find(|(row, ..)| is_reason(&why, row));
                Some(Failure::of(row.map(|(row, ..)| *row)))
            }
            _ => None,
        }
    }
}

fn known(name: &str) -> EventKind {
    let row = KINDS.iter().find(|(known, _)| *known == name);
    row.map_or(EventKind::Unknown, |(_, kind)| *kind)
}

/// Whether an event is a drop, in a webhook or in the logs.
fn is_drop(name: &str) -> bool {
    matches!(name, "dropped" | "cancel_drop" | "drop")
}

/// Whether a drop's reason is that of a row; `Spam Content` has an explanation behind it.
fn is_reason(why: &str, row: &str) -> bool {
    why == row || (row == "spam content" && why.starts_with(row))
}

/// The enhanced code of the field, unless the text says it more precisely than `x.0.0`.
fn enhanced_code(status: &str, said: &str) -> Option<String> {
    let given = wire::enhanced_code(status);
    match given {
        Some(code) if !code.ends_with(".0.0") => Some(code),
        vague => wire::enhanced_code(said).or(vague),
    }
}

fn is_custom(key: &str) -> bool {
    !OWN_KEYS.contains(&key) && !FIELDS.contains(&key)
}

fn is_some(text: &&str) -> bool {
    !text.is_empty()
}

fn sample_name(kind: EventKind) -> Option<&'static str> {
    match kind {
        EventKind::HardBounce | EventKind::SoftBounce | EventKind::Blocked => Some("bounce"),
        EventKind::Rejected | EventKind::Failed => Some("dropped"),
        _ => KINDS.iter().find(|(_, known)| *known == kind).map(|(name, _)| *name),
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use http::HeaderMap;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;
    use crate::provider::signed::read_one;
    use crate::provider::{Refusal, Setting};

    /// The vector of SendGrid's own libraries (sendgrid-go, `helpers/eventwebhook`).
    const KEY: &str = concat!(
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62",
        "gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
    );
    const STAMP: &str = "1600112502";
    const SIGNATURE: &str = concat!(
        "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15Tlu",
        "LtEZtM=",
    );
    const BODY: &str = concat!(
        r#"[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","#,
        r#""sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA","#,
        r#""sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-"#,
        r#"5F5FC76C-9.0","#,
        r#""smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","#,
        r#""timestamp":1600112492}]"#,
        "\r\n",
    );

    fn check(keys: &[&str]) -> Check {
        let mut settings = Settings::default();
        let secrets = keys.iter().map(|key| Secret::new(*key)).collect();
        settings.set("public_key", Setting::Secrets(secrets));
        SendGrid.checks(&settings).unwrap().remove(0)
    }

    /// Headers: signatures, then timestamps.
    fn verify(check: &Check, given: [&[&str]; 2], body: &[u8]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, values) in [SIGNATURE_HEADER, TIMESTAMP_HEADER].iter().zip(given) {
            for value in values {
                headers.append(name, value.parse().unwrap());
            }
        }
        let now = Time::parse("2026-06-15T12:00:00Z").unwrap();
        check.verify(&Notification { headers: &headers, query: "", body, url: None, now }, None)
    }

    /// A key that is not SendGrid's: its public half, and its signature of the vector's message.
    fn stranger() -> (String, String) {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, made.as_ref(), &random).unwrap();
        let head = BASE64.decode(KEY.as_bytes()).unwrap()[..26].to_vec();
        let public = BASE64.encode(&[head, pair.public_key().as_ref().to_vec()].concat());
        let signed = pair.sign(&random, format!("{STAMP}{BODY}").as_bytes()).unwrap();
        (public, BASE64.encode(signed.as_ref()))
    }

    #[test]
    fn the_official_vector_is_accepted() {
        let body = BODY.as_bytes();
        assert_eq!(body.len(), 327);
        // Years after it was signed, too: retries are not signed anew.
        assert_eq!(verify(&check(&[KEY]), [&[SIGNATURE], &[STAMP]], body), Ok(()));
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n",
            &KEY[..64],
            &KEY[64..]
        );
        assert_eq!(verify(&check(&[&pem]), [&[SIGNATURE], &[STAMP]], body), Ok(()));
        let (other, foreign) = stranger();
        for keys in [[KEY, &other], [&other, KEY]] {
            for signature in [SIGNATURE, &foreign] {
                assert_eq!(verify(&check(&keys), [&[signature], &[STAMP]], body), Ok(()));
            }
        }
    }

    #[test]
    fn all_else_is_refused() {
        let body = BODY.as_bytes();
        let check = &check(&[KEY]);
        let name = || format!("header {SIGNATURE_HEADER}");
        let mismatch = Err(Refusal::Mismatch(name()));
        let (other, foreign) = stranger();
        assert_eq!(verify(check, [&[&foreign], &[STAMP]], body), mismatch, "another's signature");
        assert_eq!(verify(&self::check(&[&other]), [&[SIGNATURE], &[STAMP]], body), mismatch);
        for bit in 0..body.len() * 8 {
            let mut body = body.to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(check, [&[SIGNATURE], &[STAMP]], &body), mismatch, "bit {bit}");
        }
        assert_eq!(verify(check, [&[SIGNATURE], &[STAMP]], b""), mismatch);
        assert_eq!(verify(check, [&[SIGNATURE], &[STAMP]], body.trim_ascii_end()), mismatch);
        assert_eq!(verify(check, [&[SIGNATURE], &["1600112503"]], body), mismatch);
        assert_eq!(verify(check, [&[], &[STAMP]], body), Err(Refusal::Missing(name())));
        let no_stamp = Refusal::Missing(format!("header {TIMESTAMP_HEADER}"));
        assert_eq!(verify(check, [&[SIGNATURE], &[]], body), Err(no_stamp));
        let twice = verify(check, [&[SIGNATURE, SIGNATURE], &[STAMP]], body);
        assert_eq!(twice, Err(Refusal::Repeated(SIGNATURE_HEADER)));
        let twice = verify(check, [&[SIGNATURE], &[STAMP, STAMP]], body);
        assert_eq!(twice, Err(Refusal::Repeated(TIMESTAMP_HEADER)));
        for bad in ["%%%", "MEUC!", &SIGNATURE[1..]] {
            let found = verify(check, [&[bad], &[STAMP]], body);
            assert_eq!(found, Err(Refusal::Malformed(name())), "{bad}");
        }
        assert_eq!(verify(check, [&[""], &[STAMP]], body), mismatch);
        assert_eq!(verify(check, [&[&SIGNATURE[..92]], &[STAMP]], body), mismatch, "cut short");
        let odd_stamp = verify(check, [&[SIGNATURE], &["now"]], body);
        assert_eq!(odd_stamp, Err(Refusal::Malformed("the timestamp".to_owned())));
    }

    #[test]
    fn a_drop_keeps_its_reason_and_an_event_its_identity() {
        for (word, reason) in [("Bounced Address", None), ("Invalid", Some(Reason::Invalid))] {
            let body = BODY.trim_ascii_end().replace("Bounced Address", word);
            let element = wire::element(&body.as_bytes()[1..body.len() - 1]);
            let event = read_one(&SendGrid, &element, Time::from_seconds(1_600_112_503));
            assert_eq!(event.kind, EventKind::Rejected, "{word}");
            assert_eq!(event.reason, reason, "{word}");
            let id = Some("ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA");
            assert_eq!(event.identity.as_deref(), id);
        }
    }

    #[test]
    fn an_event_without_an_address_is_its_messages() {
        for (name, said, kind) in [
            ("drop", "Bounced Address", EventKind::Rejected),
            ("bounce", "550 5.1.1 user unknown", EventKind::HardBounce),
            ("deferred", "451 4.3.0 Try later", EventKind::Deferred),
            ("spamreport", "", EventKind::Complaint),
        ] {
            for email in [json!(""), json!(" "), Value::Null] {
                let row = json!({
                    "event": name, "email": email, "reason": said, "timestamp": 1_600_112_492,
                });
                let context = "gone@example.com".to_owned();
                let element = Element { context, body: row.to_string().into() };
                let event = read_one(&SendGrid, &element, Time::from_seconds(1_600_112_503));
                assert_eq!((event.address.key(), event.kind), ("gone@example.com", kind), "{row}");
            }
        }
    }

    #[test]
    fn a_key_that_is_none_is_a_problem() {
        for bad in ["", "MFkw", "-----BEGIN PUBLIC KEY-----\n"] {
            let mut settings = Settings::default();
            settings.set("public_key", Setting::Secrets(vec![Secret::new(bad)]));
            assert_eq!(SendGrid.checks(&settings).unwrap_err().key, "public_key", "{bad}");
        }
        assert!(SendGrid.checks(&Settings::default()).unwrap().is_empty());
    }
}
