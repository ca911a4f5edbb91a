//! Standard Webhooks: any sender that signs as the specification says and tells events in the
//! form of the generic provider.
//!
//! The signature scheme is Svix's too, so adapters of providers that send by Svix use it from
//! here. Source: standard-webhooks/standard-webhooks, spec/standard-webhooks.md.

use std::time::Duration;

use data_encoding::{BASE64, BASE64_NOPAD};
use http::HeaderMap;
use http::header::HeaderName;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::generic::{self, Generic};
use super::wire::{self, Misfit, Part, Told, When};
use super::{
    Algorithm, Check, Encoding, Form, Hash, Key, KeyKind, Mac, Notification, Piece, Place,
    Provider, PublicKey, PublicKeyBytes, Sample, Scheme, SettingError, Settings, SignedStamp,
    Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Time};
use crate::secret::Secret;

/// How far the signed timestamp may be from our clock, either way: that of the reference libraries.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Shortest key, in bytes. The specification wants 24; 128 bits is what nobody can guess.
const KEY_BYTES_MIN: usize = 16;

const WEBHOOK_KEYS: &[Key] = &[
    Key::optional_secret("secret"),
    Key::optional("tolerance", KeyKind::Span),
    Key::optional_text("secret_decoding"),
];

/// The three headers of a signed notification. Those of two trios are never mixed.
pub(super) struct Trio {
    id: &'static str,
    timestamp: &'static str,
    signature: &'static str,
}

/// The headers of the specification.
pub(super) const WEBHOOK: Trio =
    Trio { id: "webhook-id", timestamp: "webhook-timestamp", signature: "webhook-signature" };

/// The headers of senders that use Svix.
pub(super) const SVIX: Trio =
    Trio { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" };

pub(super) struct StandardWebhooks;

/// What stands around an event.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Root {
    #[serde(rename = "type")]
    kind: Told,
    timestamp: When,
    data: Part<generic::Wire>,
}

impl Provider for StandardWebhooks {
    fn name(&self) -> &'static str {
        "standard-webhooks"
    }

    fn verification(&self) -> &'static str {
        "Standard Webhooks: HMAC-SHA256 or Ed25519 of id, timestamp and body"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        checks(settings, &[WEBHOOK, SVIX])
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        elements(notification)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let unreadable = |error: Misfit| Unreadable(format!("not an event of this form: {error}"));
        let root: Root = wire::object(&element.body).map_err(unreadable)?;
        let event: generic::Wire = wire::object(&element.body).map_err(unreadable)?;
        let inner = root.data.into_inner().filter(generic::Wire::has_recipient);
        let mut wire = inner.unwrap_or(event);
        let kind = if root.kind.is_absent() { wire.kind() } else { &root.kind };
        let kind = kind.need("type")?.to_owned();
        // Types are written with dots, the thing before what happened to it: `message.bounced`.
        let name = kind.rsplit('.').next().unwrap_or(&kind);
        if !wire.has_recipient() && generic::kind(name) == EventKind::Unknown {
            return Ok(Vec::new());
        }
        wire.complete(name, root.timestamp);
        let mut event = Event { provider_kind: kind, ..wire.event(self.name(), stamp)? };
        if !element.context.is_empty() {
            event.provider_event_id = Some(element.context.clone());
            event.identity = Some(element.context.clone());
        }
        Ok(vec![event])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let sample = Generic.sample(kind, address, now)?;
        let mut data: Map<String, Value> = serde_json::from_slice(&sample.body).ok()?;
        let (name, at) = (data.remove("event")?, data.remove("timestamp")?);
        let kind = format!("message.{}", name.as_str()?);
        let body = json!({ "type": kind, "timestamp": at, "data": data });
        Some(Sample { body: body.to_string().into_bytes(), ..sample })
    }
}

/// The check of any of these trios, by the secrets of the source's settings.
///
/// # Errors
/// When a secret or another setting cannot be used.
pub(super) fn checks(settings: &Settings, trios: &[Trio]) -> Result<Vec<Check>, SettingError> {
    let as_text = match settings.text("secret_decoding") {
        None | Some("whsec") => false,
        Some("utf8") => true,
        Some(_) => {
            let hint = "write \"whsec\" (base64, the standard) or \"utf8\" (the text itself)";
            return Err(settings.problem("secret_decoding", "is not known", hint));
        }
    };
    let is_public = |secret: &&Secret| !as_text && secret.reveal().starts_with(b"whpk_");
    let (public, shared): (Vec<&Secret>, Vec<&Secret>) =
        settings.secrets("secret").iter().partition(is_public);
    let bad = || {
        let hint = "copy it as the provider shows it, \"whsec_…\" and all";
        settings.problem("secret", "is not a signing secret of Standard Webhooks", hint)
    };
    let key = |secret: &&Secret| if as_text { text_key(secret) } else { base64_key(secret) };
    let shared: Option<Vec<Secret>> = shared.iter().map(key).collect();
    let shared = shared.ok_or_else(bad)?;
    let public_key =
        |secret: &&Secret| secret.reveal_text().and_then(PublicKeyBytes::from_ed25519_text);
    let public: Option<Vec<PublicKeyBytes>> = public.iter().map(public_key).collect();
    let public = public.ok_or_else(bad)?;

    let tolerance = settings.span("tolerance").unwrap_or(TOLERANCE);
    let mut checks = Vec::new();
    for trio in trios {
        if !shared.is_empty() {
            let (scheme, keys) = (trio.scheme("v1", tolerance), shared.clone());
            checks.push(Check::Mac(Mac { scheme, hash: Hash::Sha256, keys }));
        }
        if !public.is_empty() {
            let (scheme, keys) = (trio.scheme("v1a", tolerance), public.clone());
            let algorithm = Algorithm::Ed25519;
            checks.push(Check::PublicKey(PublicKey { scheme, algorithm, keys, key_id: None }));
        }
    }
    Ok(if checks.is_empty() { checks } else { vec![Check::Any(checks)] })
}

impl Trio {
    fn scheme(&self, version: &str, tolerance: Duration) -> Scheme {
        let header = HeaderName::from_static;
        let dot = || Piece::Text(".".to_owned());
        Scheme {
            place: Place::Header(header(self.signature)),
            encoding: Encoding::Base64,
            form: Form::List(version.to_owned()),
            signed: vec![Piece::Header(header(self.id)), dot(), Piece::Stamp, dot(), Piece::Body],
            stamp: Some(SignedStamp {
                place: Some(Place::Header(header(self.timestamp))),
                millis: false,
                tolerance: Some(tolerance),
            }),
        }
    }
}

/// The key of a signing secret, as senders and receivers write it: `whsec_…`. `None`: it is none.
pub fn signing_key(secret: &Secret) -> Option<Secret> {
    base64_key(secret)
}

/// A key in base64, with or without `whsec_` before it and padding behind it.
fn base64_key(secret: &Secret) -> Option<Secret> {
    let text = secret.reveal().trim_ascii();
    let bare = text.strip_prefix(b"whsec_").unwrap_or(text);
    let key = BASE64.decode(bare).or_else(|_| BASE64_NOPAD.decode(bare)).ok()?;
    (key.len() >= KEY_BYTES_MIN).then(|| Secret::new(key))
}

/// A key that is the whole text, prefix and all, as some senders take it.
fn text_key(secret: &Secret) -> Option<Secret> {
    (secret.reveal().len() >= KEY_BYTES_MIN).then(|| secret.clone())
}

/// The elements of a notification. Each has the notification's id as context, which is the same
/// over retries; members of an array, which the specification does not know, have their number too.
pub(super) fn elements(notification: &Notification<'_>) -> Vec<Element> {
    let id = id(notification.headers);
    let mut elements = wire::split_json(notification.body);
    let is_batch = elements.len() > 1;
    for (index, element) in elements.iter_mut().enumerate().filter(|_| !id.is_empty()) {
        element.context = if is_batch { format!("{id}/{index}") } else { id.clone() };
    }
    elements
}

/// The notification's id. Where both trios are there and differ, one is not signed: then none.
fn id(headers: &HeaderMap) -> String {
    let value = |trio: &Trio| headers.get(trio.id).and_then(|value| value.to_str().ok());
    let id = match (value(&WEBHOOK), value(&SVIX)) {
        (Some(one), None) | (None, Some(one)) => one,
        (Some(one), Some(other)) if one == other => one,
        _ => "",
    };
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::signed::{Sent, settings};
    use super::super::{Draft, Refusal, Setting};
    use super::*;

    /// The vector of the reference libraries' tests, and one with an Ed25519 key made by another
    /// program.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const PUBLIC: &str = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &str = r#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const SIGNATURE_ED25519: &str = concat!(
        "v1a,yoUrgEkc12aGqm0n4Sydmdz55xJfTz4AsAgieHFjmkR7LJtqVCZOQYzvvHjI5kAey+r4iaBGxTFRrl2iBQxt",
        "DQ==",
    );

    fn sent(trio: &Trio, signature: &str) -> Sent {
        let headers = [(trio.id, ID), (trio.timestamp, "1614265330"), (trio.signature, signature)];
        Sent::new(1_614_265_330, &headers, BODY)
    }

    fn own_checks(secrets: &[&str]) -> Vec<Check> {
        StandardWebhooks.checks(&settings(secrets)).unwrap()
    }

    /// What has two ids cannot be signed by the first trio: nothing of that try is left.
    #[test]
    fn a_sample_has_the_headers_of_one_trio() {
        let mut headers = HeaderMap::new();
        headers.append(WEBHOOK.id, "a".parse().unwrap());
        headers.append(WEBHOOK.id, "b".parse().unwrap());
        let (body, now) = (BODY.as_bytes().to_vec(), Time::from_seconds(1_614_265_330));
        let mut draft = Draft::new(headers, body, None, now);
        own_checks(&[SECRET])[0].sign(&mut draft).unwrap();
        assert!(!draft.headers.contains_key(WEBHOOK.timestamp));
        assert!(draft.headers.contains_key(SVIX.timestamp));
    }

    #[test]
    fn the_known_signatures_hold_and_nothing_else() {
        for trio in [WEBHOOK, SVIX] {
            for (secret, signature) in [(SECRET, SIGNATURE), (PUBLIC, SIGNATURE_ED25519)] {
                let sent = sent(&trio, signature);
                sent.refused_when_damaged(&own_checks(&[secret]), trio.signature);
                let others = ["whsec_cmVzZW5kLWV4YW1wbGUtc2VjcmV0LWtleS0zMmJ5dGU=", secret];
                assert_eq!(sent.verify(&own_checks(&others)), Ok(()), "one of two");
                assert!(sent.verify(&own_checks(&others[..1])).is_err(), "another's secret");
            }
            let bare = SECRET.strip_prefix("whsec_").unwrap();
            assert_eq!(sent(&trio, SIGNATURE).verify(&own_checks(&[bare])), Ok(()));
        }
    }

    #[test]
    fn any_signature_of_a_list_is_good_and_unknown_versions_are_passed_over() {
        let list = format!("v1,AAAA v2,{} {SIGNATURE_ED25519} {SIGNATURE}", "A".repeat(44));
        assert_eq!(sent(&WEBHOOK, &list).verify(&own_checks(&[SECRET])), Ok(()));
        assert_eq!(sent(&WEBHOOK, &list).verify(&own_checks(&[PUBLIC])), Ok(()));
        for wrong in [SIGNATURE.strip_prefix("v1,").unwrap(), &SIGNATURE.replace("v1", "v2"), "v1,"]
        {
            assert!(sent(&WEBHOOK, wrong).verify(&own_checks(&[SECRET])).is_err(), "{wrong}");
        }
        let as_other = SIGNATURE_ED25519.replace("v1a", "v1");
        assert!(sent(&WEBHOOK, &as_other).verify(&own_checks(&[SECRET, PUBLIC])).is_err());
    }

    #[test]
    fn headers_of_two_trios_are_not_mixed() {
        let headers =
            [(SVIX.id, ID), (WEBHOOK.timestamp, "1614265330"), (WEBHOOK.signature, SIGNATURE)];
        let mixed = Sent::new(1_614_265_330, &headers, BODY);
        assert!(mixed.verify(&own_checks(&[SECRET])).is_err());
    }

    #[test]
    fn a_stale_timestamp_is_refused() {
        let mut sent = sent(&WEBHOOK, SIGNATURE);
        for (seconds, holds) in [(300, true), (301, false), (-300, true), (-301, false)] {
            sent.now = Time::from_seconds(1_614_265_330 + seconds);
            let stale = Err(Refusal::Stale(Duration::from_secs(301)));
            let expected = if holds { Ok(()) } else { stale };
            assert_eq!(sent.verify(&own_checks(&[SECRET])), expected, "{seconds}");
        }
        let mut wider = settings(&[SECRET]);
        wider.set("tolerance", Setting::Span(Duration::from_secs(600)));
        assert_eq!(sent.verify(&StandardWebhooks.checks(&wider).unwrap()), Ok(()));
    }

    #[test]
    fn secrets_that_cannot_be_keys_are_refused() {
        assert!(StandardWebhooks.checks(&settings(&[])).unwrap().is_empty());
        for bad in ["whsec_", "whsec_AAAA", "no base64 at all, but long", "whpk_AAAA", "whpk_"] {
            let error = StandardWebhooks.checks(&settings(&[bad])).unwrap_err();
            assert_eq!(error.key, "secret", "{bad}");
        }
        let mut odd = settings(&[SECRET]);
        odd.set("secret_decoding", Setting::Text("hex".to_owned()));
        assert_eq!(StandardWebhooks.checks(&odd).unwrap_err().key, "secret_decoding");
    }

    #[test]
    fn an_id_that_may_not_be_signed_is_not_taken() {
        let contexts = |headers: &[(&'static str, &str)], body: &str| -> Vec<String> {
            let sent = Sent::new(0, headers, body);
            elements(&sent.notification()).into_iter().map(|e| e.context).collect()
        };
        assert_eq!(contexts(&[("webhook-id", "a")], "{}"), ["a"]);
        assert_eq!(contexts(&[("svix-id", "a")], "[{}]"), ["a"]);
        assert_eq!(contexts(&[("svix-id", "a"), ("webhook-id", "a")], "{}"), ["a"]);
        assert_eq!(contexts(&[("svix-id", "a"), ("webhook-id", "b")], "{}"), [""]);
        assert_eq!(contexts(&[("webhook-id", "a")], "[{},{}]"), ["a/0", "a/1"]);
        assert_eq!(contexts(&[], "[{},{}]"), ["", ""]);
    }
}
