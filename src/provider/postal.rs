//! Postal: signed by the installation's own RSA key, one event per request.
//!
//! Sources: postalserver/postal, `app/services/webhook_delivery_service.rb`,
//! `app/models/webhook_event.rb`, `lib/postal/message_db/delivery.rb`.

use http::HeaderName;

use serde::Deserialize;

use super::wire::{self, Id, Part, Text, Told, When};
use super::{
    Algorithm, Check, Encoding, Form, Key, Notification, Piece, Place, Provider, PublicKey,
    PublicKeyBytes, Sample, Scheme, SettingError, Settings, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Time};
use crate::secret::Secret;

/// Newer versions send both, older ones only the second.
const SIGNATURES: &[(&str, Algorithm)] =
    &[("x-postal-signature-256", Algorithm::RsaSha256), ("x-postal-signature", Algorithm::RsaSha1)];

/// Names the key, as the set of keys of the installation does.
const KEY_ID: HeaderName = HeaderName::from_static("x-postal-signature-kid");

const WEBHOOK_KEYS: &[Key] = &[Key::optional_secret("public_key")];

/// What to tick: opens and clicks say nothing of whether an address may be mailed.
const EVENT_TYPES: &[&str] =
    &["MessageSent", "MessageDelayed", "MessageDeliveryFailed", "MessageHeld", "MessageBounced"];

/// Events whose kind needs no second look (`app/models/webhook_event.rb`).
const KINDS: &[(&str, EventKind)] = &[
    ("MessageSent", EventKind::Delivered),
    ("MessageDelayed", EventKind::Deferred),
    // A report that came later. It has no status code, so it proves nothing permanent.
    ("MessageBounced", EventKind::SoftBounce),
    ("MessageLinkClicked", EventKind::Clicked),
    ("MessageLoaded", EventKind::Opened),
];

/// Events of the installation, not of a message.
const IGNORED: &[&str] = &["DomainDNSError", "SendLimitApproaching", "SendLimitExceeded"];

/// What Postal decided by itself, as `details` says it, and what the rules call it
/// (`app/lib/message_dequeuer`, `outgoing_message_processor.rb`).
const OWN: &[(&str, &str, EventKind)] = &[
    ("Maximum number of delivery attempts", "exhausted", EventKind::SoftBounce),
    ("Message is likely spam", "likely spam", EventKind::Blocked),
    ("Message's domain no longer exist", "own fault", EventKind::Failed),
    ("Raw message has been removed", "own fault", EventKind::Failed),
    ("doesn't have an RCPT to", "own fault", EventKind::Failed),
];

/// What `details` says when the recipient is on Postal's own list.
const LISTED: &str = "is on the suppression list";

pub(super) struct Postal;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    event: Told,
    timestamp: When,
    payload: Part<Payload>,
    uuid: Id,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload {
    message: Part<Message>,
    original_message: Part<Message>,
    timestamp: When,
    status: Text,
    details: Text,
    output: Text,
    url: Text,
    user_agent: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    id: Id,
    direction: Text,
    message_id: Id,
    to: Told,
    tag: Text,
}

impl Provider for Postal {
    fn name(&self) -> &'static str {
        "postal"
    }

    fn verification(&self) -> &'static str {
        "RSA signature of the body by the installation's key, in a header"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        let texts = settings.secrets("public_key");
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let keys = texts.iter().map(|text| public_keys(settings, text));
        let keys = keys.collect::<Result<Vec<_>, SettingError>>()?.concat();
        let check = |(header, algorithm): &(&'static str, Algorithm)| {
            let scheme = Scheme {
                place: Place::Header(HeaderName::from_static(header)),
                encoding: Encoding::Base64,
                form: Form::Plain(String::new()),
                signed: vec![Piece::Body],
                stamp: None,
            };
            let (algorithm, keys, key_id) = (*algorithm, keys.clone(), Some(KEY_ID));
            Check::PublicKey(PublicKey { scheme, algorithm, keys, key_id })
        };
        Ok(vec![Check::Any(SIGNATURES.iter().map(check).collect())])
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn event_types(&self) -> &'static [&'static str] {
        EVENT_TYPES
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let wire: Wire = wire::object(&element.body)
            .map_err(|error| Unreadable(format!("not an event of Postal: {error}")))?;
        let name = wire.event.need("event")?;
        if IGNORED.contains(&name) {
            return Ok(Vec::new());
        }
        let payload = wire.payload.into_inner().unwrap_or_default();
        let message = payload.original_message.into_inner().or(payload.message.into_inner());
        let message = message.ok_or_else(|| Unreadable("the event has no message".to_owned()))?;
        if message.direction.as_deref().is_some_and(|direction| direction != "outgoing") {
            return Ok(Vec::new());
        }
        let address = message.to.address("to")?;
        let time = if payload.timestamp.is_absent() { wire.timestamp } else { payload.timestamp };
        let at = time.at("timestamp", stamp.received_at)?;
        let seconds = time.given().unwrap_or("");
        let details = payload.details.as_deref().unwrap_or("");
        let output = payload.output.as_deref().unwrap_or("").trim();
        let (kind, failure) = kind(name, details, output);
        let status: Option<String> = payload.status.into();
        // Two webhooks at Postal give one event two uuids; its row in the API has none.
        let row = message.id.as_ref().zip(status.as_ref());
        let row = row.map(|(id, status)| format!("{id}:{status}:{seconds}"));
        let uuid: Option<String> = wire.uuid.into();
        let provider_kind = match status {
            Some(status) => format!("{name}:{status}"),
            None => name.to_owned(),
        };
        let said = if output.is_empty() { details } else { output };
        let event = Event {
            failure,
            message_id: message.message_id.as_deref().and_then(wire::bare_id),
            smtp_code: wire::smtp_code(output),
            enhanced_code: wire::enhanced_code(output),
            diagnostic: wire::filled(said.to_owned()),
            tags: message.tag.clone().into_iter().collect(),
            url: payload.url.into(),
            user_agent: payload.user_agent.into(),
            identity: row.or_else(|| uuid.clone()),
            provider_event_id: uuid,
            ..stamp.event(self.name(), kind, provider_kind, address, at)
        };
        Ok(vec![event])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let to = address.received();
        let listed = format!("Recipient ({to}) {LISTED} (reason: too many hard fails)");
        let (event, status, details, output) = match kind {
            EventKind::Delivered => ("MessageSent", "Sent", "Accepted", "250 2.0.0 OK"),
            EventKind::Deferred => {
                ("MessageDelayed", "SoftFail", "Temporary SMTP delivery error", "451 4.3.0 Busy")
            }
            EventKind::SoftBounce => {
                let details = "Maximum number of delivery attempts (18) has been reached.";
                ("MessageDeliveryFailed", "HardFail", details, "")
            }
            EventKind::HardBounce => {
                let output = "550 5.1.1 The mailbox does not exist";
                ("MessageDeliveryFailed", "HardFail", "Permanent SMTP delivery error", output)
            }
            EventKind::Blocked => {
                let output = "550 5.7.1 Refused by policy";
                ("MessageDeliveryFailed", "HardFail", "Permanent SMTP delivery error", output)
            }
            EventKind::Rejected => ("MessageHeld", "Held", listed.as_str(), ""),
            EventKind::Failed => ("MessageHeld", "Held", "Server is in development mode", ""),
            EventKind::Opened => ("MessageLoaded", "", "", ""),
            EventKind::Clicked => ("MessageLinkClicked", "", "", ""),
            _ => return None,
        };
        let seconds = now.second();
        let mut payload = serde_json::json!({ "message": {
            "id": 1571,
            "token": "MzWWQPubXXWz",
            "direction": "outgoing",
            "message_id": format!("sample-{}@rp.postal.example.com", now.nanos()),
            "to": to,
            "tag": null,
        }});
        if !status.is_empty() {
            payload["status"] = status.into();
            payload["details"] = details.into();
            payload["output"] = output.into();
            payload["timestamp"] = seconds.into();
        }
        let uuid = format!("{:032x}", now.nanos());
        let body = serde_json::json!({
            "event": event, "timestamp": seconds, "payload": payload, "uuid": uuid,
        });
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

/// The keys of the installation's page of keys, or the one of its DKIM record or of a PEM file.
fn public_keys(settings: &Settings, text: &Secret) -> Result<Vec<PublicKeyBytes>, SettingError> {
    let text = std::str::from_utf8(text.reveal()).unwrap_or("").trim();
    let tag = |field: &'_ str| field.trim().strip_prefix("p=").map(str::to_owned);
    let record = text.starts_with("v=DKIM1").then(|| text.split(';').find_map(tag)).flatten();
    let keys = if text.starts_with('{') {
        PublicKeyBytes::from_jwks(text)
    } else {
        PublicKeyBytes::from_spki_text(record.as_deref().unwrap_or(text)).map(|key| vec![key])
    };
    keys.ok_or_else(|| {
        let hint = "give the output of `postal default-dkim-record`, its p= value, a PEM file, or \
            what https://<postal host>/.well-known/jwks.json says";
        settings.problem("public_key", "is not a public key", hint)
    })
}

/// The kind of an event, and what is known of a failure. Only what a server said is its reply.
fn kind(event: &str, details: &str, output: &str) -> (EventKind, Option<Failure>) {
    let failure = |word| Some(Failure { said: Some(output.to_owned()), ..Failure::of([word]) });
    if let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == event) {
        let is_failure = matches!(kind, EventKind::SoftBounce | EventKind::Deferred);
        return (*kind, if is_failure { failure(event) } else { None });
    }
    match event {
        "MessageHeld" if details.contains(LISTED) => (EventKind::Rejected, None),
        "MessageHeld" => (EventKind::Failed, failure("held")),
        "MessageDeliveryFailed" => {
            let own = OWN.iter().find(|(text, ..)| details.contains(text));
            let (word, kind) = own.map_or(("HardFail", EventKind::SoftBounce), |o| (o.1, o.2));
            (kind, failure(word))
        }
        _ => (EventKind::Unknown, None),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::provider::signed::read_one;
    use crate::provider::{Draft, Refusal, Setting};

    /// A key made for this test, and what another program signed with it.
    const KEY: &str = concat!(
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAw59XfL2wd8FMwisl1JMj/Ubb3pTten91VACx",
        "MqNuoiiCAP5pNX18HZZsqQOhn5ALu9ptOkKviUgDI57sNJCInwTSVJJFuQJiOMZvbKGswmpG1u1mFiRl",
        "lIxU3sz7BiNsvb5NYvhm/BDXl/ltGmZ/05Oj3m1KbNdBk50yMswbEXWaeLYDJBl7OalVyQdcsHrWNh69",
        "hQJNJsfJi78s3eaBBARi8NVfRc8GWbayzeTpZ1ddXaqCx1wHBPnDR0Dd29Ozn0/re3eCXuPoXNoAVeIJ",
        "dWFMXDjKEH0IZf/FnObclKrUny51KY9khKT3WDXe3ytBNKj9xyDhtnSpVty18vGy+QIDAQAB",
    );
    const SHA1: &str = concat!(
        "wdvEXm9f6NZ0amAFHCwwXyNyk3naInMJrqp3TdFUCSM4JAz0tBnLsN8wSpUSyaRTxljzcgdlxd0EiEQR",
        "Ub8Mc82gjGO2igO+XTweFD3yyqdjRiIGa47dwJRnHTXZWDgezQhYSsAEul48JYJ09sjWoR1pxE0baQiV",
        "UIvkWL+0K9kWG+3ke4Haa6RPSytTmH20dkZm/aAum4WixYuMe6Mq9yoVe+qPYpnViUlJ/G8vUq4yRU4U",
        "yL7i/YBu7Etk0u6n86Ghi+CLXIyIQy6JDDtTtD0LyrNJaA5HvCLxdcb/1E6h1rxfDxCcv7j5n3Dd/4PB",
        "+gAbB5l4koJUE4nMFJU6/Q==",
    );
    const SHA256: &str = concat!(
        "RtZmNeEovX6Q292o4y31IPiuRo9VtxYuxJFEEeMb5F1fwj/i6X1KG0E9x+LUnbudS/2K+CJSZV0ZFpSx",
        "H0K1VaXWhwb9qTcGPEguxWXnxpfRy6JqwJMkSBsWZmOqpjnuCorA27dxo4W/Rfl226ezvrSj0m0nPU0R",
        "RCyUSSDfOJ3qWrNdq7rDSR8LCOoAGvUFDpkAw2G0sD3mCdj7JNm6avCA2/2kAaRCeZjkjb94O/0mjfAF",
        "Rruf3cXkQYisXQxKZEtEGxC0W/wCNrgFUHtu2YEIwBM2MKmdXJ8QC/NHZBDKBwY+Qn70m18M942grjio",
        "0bC/zMVdpDJIuT+Pg+HRcg==",
    );
    const BODY: &str = concat!(
        r#"{"event":"MessageDeliveryFailed","timestamp":1606753101.084981,"payload":{"messa"#,
        r#"ge":{"id":1571,"token":"MzWWQPubXXWz","direction":"outgoing","message_id":"cfb29"#,
        r#"da8ed1e4ed5a6c8a0f24d7a9ef3@rp.postal.example.com","to":"failed@example.com","fr"#,
        r#"om":"test@example.com","subject":"s","timestamp":1606753318.072171,"spam_status""#,
        r#":"NotChecked","tag":null},"status":"HardFail","details":"Permanent SMTP delivery"#,
        r#" error","output":"550 5.1.1 user unknown","sent_with_ssl":true,"timestamp":16067"#,
        r#"53318.7010343,"time":0.4},"uuid":"5fec5077-dae7-4989-94d5-e1963f3e9181"}"#,
    );

    /// Another key, which signed nothing here.
    const OTHER_KEY: &str = concat!(
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAzoMbjbrRZn34JkPky+t28+Em6zPGiibjgMn7",
        "VsvkUFcHAce0gmj1csrh9OgdMKLPb8YPFc0Cde3egTAoTXao6PitasGC1mqe432/3ABI/uMlvQ3czUXq",
        "VxDEnGA6qhNH09BTad3agQGaLYk7oekYEkHxGCxiVStVUjumhe2WQrR60H9TZgQuE8PxyIkInccL3/P7",
        "Ic0kqJROvolY43hLsgM+aj6RlD8RoGAhOZN7hRXQqDzPndmMm2V1m1r9e9XzZP5sXrSiDAKICQ3InPVo",
        "dgiyPH9thB6EDbEm7smNb4FeeggX+S4bMEEFlT+DswBgXnLwDTCIAz5ZYU2qEXUH9QIDAQAB",
    );

    fn check(keys: &[&str]) -> Check {
        let mut settings = Settings::default();
        let keys = keys.iter().map(|key| Secret::new(*key)).collect();
        settings.set("public_key", Setting::Secrets(keys));
        let mut checks = Postal.checks(&settings).unwrap();
        assert_eq!(checks.len(), 1);
        checks.remove(0)
    }

    fn verify(check: &Check, pairs: &[(usize, &str)], body: &[u8]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for (index, value) in pairs {
            let name = HeaderName::from_static(SIGNATURES[*index].0);
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let now = Time::from_seconds(1_606_753_101);
        check.verify(&Notification { headers: &headers, query: "", body, url: None, now }, None)
    }

    #[test]
    fn the_known_signatures_are_accepted() {
        let body = BODY.as_bytes();
        assert_eq!(BODY.len(), 552);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{KEY}\n-----END PUBLIC KEY-----\n");
        let pem = wrapped(&pem);
        let record = format!("v=DKIM1; t=s; h=sha256; p={KEY};");
        for key in [KEY, &pem, &record] {
            let check = check(&[key]);
            assert_eq!(verify(&check, &[(0, SHA256), (1, SHA1)], body), Ok(()));
            assert_eq!(verify(&check, &[(0, SHA256)], body), Ok(()), "SHA-256 alone");
            assert_eq!(verify(&check, &[(1, SHA1)], body), Ok(()), "an older version");
        }
        assert_eq!(verify(&check(&[OTHER_KEY, KEY]), &[(0, SHA256)], body), Ok(()), "rotation");
    }

    /// The number of [`KEY`] as a set of keys writes it (RFC 7518, section 6.3.1.1).
    const MODULUS: &str = concat!(
        "w59XfL2wd8FMwisl1JMj_Ubb3pTten91VACxMqNuoiiCAP5pNX18HZZsqQOhn5ALu9ptOkKviUgDI57s",
        "NJCInwTSVJJFuQJiOMZvbKGswmpG1u1mFiRllIxU3sz7BiNsvb5NYvhm_BDXl_ltGmZ_05Oj3m1KbNdB",
        "k50yMswbEXWaeLYDJBl7OalVyQdcsHrWNh69hQJNJsfJi78s3eaBBARi8NVfRc8GWbayzeTpZ1ddXaqC",
        "x1wHBPnDR0Dd29Ozn0_re3eCXuPoXNoAVeIJdWFMXDjKEH0IZf_FnObclKrUny51KY9khKT3WDXe3ytB",
        "NKj9xyDhtnSpVty18vGy-Q",
    );

    fn jwk(id: &str) -> String {
        format!(
            r#"{{"kty":"RSA","kid":"{id}","use":"sig","alg":"RS256","n":"{MODULUS}","e":"AQAB"}}"#
        )
    }

    #[test]
    fn a_set_of_keys_is_taken_and_the_header_names_one_of_them() {
        let ours = check(&[&format!(r#"{{"keys":[{{"kty":"EC"}},{}]}}"#, jwk("a"))]);
        let beside_one_without_a_name = check(&[&format!(r#"{{"keys":[{}]}}"#, jwk("a")), KEY]);
        let sent = |check: &Check, ids: &[&str], body: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(SIGNATURES[0].0, HeaderValue::from_static(SHA256));
            for id in ids {
                headers.append(KEY_ID, HeaderValue::from_str(id).unwrap());
            }
            let now = Time::from_seconds(1_606_753_101);
            let sent = Notification { headers: &headers, query: "", body, url: None, now };
            check.verify(&sent, None)
        };
        let mismatch = || Err(Refusal::Mismatch(format!("header {}", SIGNATURES[0].0)));
        let body = BODY.as_bytes();
        assert_eq!(sent(&ours, &["a"], body), Ok(()));
        assert_eq!(sent(&ours, &[], body), Ok(()), "an older version names none");
        assert_eq!(sent(&ours, &["b"], body), mismatch(), "another key is meant");
        assert_eq!(sent(&ours, &["a", "a"], body), Err(Refusal::Repeated(KEY_ID)));
        assert_eq!(sent(&ours, &["a"], &body[1..]), mismatch());
        assert_eq!(sent(&beside_one_without_a_name, &["b"], body), Ok(()));
    }

    #[test]
    fn what_is_no_set_of_keys_is_refused() {
        let odd = r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB"}]}"#;
        for text in ["{", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"EC"}]}"#, odd] {
            let mut settings = Settings::default();
            settings.set("public_key", Setting::Secrets(vec![Secret::new(text)]));
            assert!(Postal.checks(&settings).is_err(), "{text}");
        }
    }

    /// The base64 of a PEM text in lines of 64, as tools write it.
    fn wrapped(pem: &str) -> String {
        let line = |line: &str| {
            let chunks = line.as_bytes().chunks(64).map(|c| String::from_utf8(c.to_vec()).unwrap());
            chunks.collect::<Vec<_>>().join("\n")
        };
        pem.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn all_else_is_refused() {
        let (check, body) = (&check(&[KEY]), BODY.as_bytes());
        let refused = |pairs: &[(usize, &str)], body: &[u8]| {
            let found = verify(check, pairs, body);
            assert!(found.is_err(), "{pairs:?}");
            found
        };
        assert!(matches!(refused(&[], body), Err(Refusal::Missing(_))));
        refused(&[(0, SHA256), (0, SHA256)], body).unwrap_err();
        refused(&[(1, SHA1), (1, SHA1)], body).unwrap_err();
        refused(&[(0, SHA1)], body).unwrap_err();
        refused(&[(1, SHA256)], body).unwrap_err();
        refused(&[(0, SHA256), (1, SHA1)], b"").unwrap_err();
        refused(&[(0, SHA256), (1, SHA1)], format!("{BODY}\n").as_bytes()).unwrap_err();
        let flipped = SHA256.replacen('R', "S", 1);
        for bad in ["", "garbage", "%%%", &SHA256[1..], &flipped, &format!("sha256={SHA256}")] {
            refused(&[(0, bad)], body).unwrap_err();
        }
        for bit in [0, 7, 8 * 100, 8 * 300 + 3, 8 * 551 + 1] {
            let mut body = body.to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            refused(&[(0, SHA256), (1, SHA1)], &body).unwrap_err();
        }
        let other = self::check(&[OTHER_KEY]);
        assert!(verify(&other, &[(0, SHA256), (1, SHA1)], body).is_err(), "another source's key");
    }

    #[test]
    fn a_key_that_is_none_is_told_at_once() {
        for bad in ["", "no key", "v=DKIM1; p=", "-----BEGIN PUBLIC KEY-----\nAA==\n"] {
            let mut settings = Settings::default();
            settings.set("public_key", Setting::Secrets(vec![Secret::new(bad)]));
            assert_eq!(Postal.checks(&settings).unwrap_err().key, "public_key", "{bad}");
        }
        assert!(Postal.checks(&Settings::default()).unwrap().is_empty());
    }

    #[test]
    fn a_sample_is_not_signed_and_it_is_said_how_to_test() {
        let now = Time::from_seconds(1_781_519_531);
        let body = BODY.as_bytes().to_vec();
        let mut draft = Draft::new(HeaderMap::new(), body, None, now);
        let told = check(&[KEY]).sign(&mut draft).unwrap_err();
        assert!(told.starts_with("only the provider can sign"), "{told}");
    }

    #[test]
    fn an_event_is_known_again() {
        let event = |body: &str| {
            read_one(&Postal, &wire::element(body.as_bytes()), Time::from_seconds(1_700_000_000))
        };
        let first = event(BODY);
        assert_eq!(first.identity.as_deref(), Some("1571:HardFail:1606753318.7010343"));
        assert_eq!(first.at.to_string(), "2020-11-30T16:21:58.7010343Z");
        let other_webhook = BODY.replace("5fec5077", "00000000");
        assert_eq!(event(&other_webhook).id(), first.id());
        let other_time = BODY.replace("7010343", "7010344");
        assert_ne!(event(&other_time).id(), first.id());
    }
}
