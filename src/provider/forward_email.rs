//! Forward Email: its bounce webhook, an HMAC of the body in a header, one bounce per request.
//!
//! Sources: forwardemail.net, FAQ, "Do you support bounce webhooks"; forwardemail.net's
//! `helpers/process-email.js`; listmonk, `internal/bounce/webhooks/forwardemail.go`.

use http::HeaderName;
use serde::Deserialize;

use super::wire::{self, Id, Part, Text, Told, When};
use super::{
    Check, Key, Notification, Provider, Sample, SettingError, Settings, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Time};

/// The header that holds the signature.
const SIGNATURE_HEADER: &str = "x-webhook-signature";

const WEBHOOK_KEYS: &[Key] = &[Key::optional_secret("secret")];

pub(super) struct ForwardEmail;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    recipient: Told,
    bounced_at: When,
    email_id: Id,
    message: Text,
    response: Text,
    response_code: Text,
    bounce: Part<Bounce>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Bounce {
    action: Text,
    message: Text,
    category: Text,
    code: Text,
    /// Usually a text such as `5.1.1`, but its type varies.
    status: Text,
}

impl Provider for ForwardEmail {
    fn name(&self) -> &'static str {
        "forward-email"
    }

    fn verification(&self) -> &'static str {
        "HMAC-SHA256 of the body, hex, in a header"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        let secrets = settings.secrets("secret").to_vec();
        if secrets.is_empty() {
            return Ok(Vec::new());
        }
        let header = HeaderName::from_static(SIGNATURE_HEADER);
        Ok(vec![Check::hmac_of_body(header, "", secrets)])
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let wire: Wire = wire::object(&element.body)
            .map_err(|error| Unreadable(format!("not a bounce of Forward Email: {error}")))?;
        let bounce = wire.bounce.into_inner().unwrap_or_default();
        let said = [wire.response, bounce.message, wire.message];
        let diagnostic = said.into_iter().find_map(wire::filled);
        let text = diagnostic.as_deref().unwrap_or("");
        let codes = [wire.response_code.as_deref(), bounce.code.as_deref(), Some(text)];
        let smtp_code = codes.into_iter().flatten().find_map(wire::smtp_code);
        let statuses = [bounce.status.as_deref(), Some(text)];
        let enhanced_code = statuses.into_iter().flatten().find_map(wire::enhanced_code);
        let action: Option<String> = bounce.action.into();
        let category: Option<String> = bounce.category.into();
        // Bounces are told once it is given up, whatever the action was called: the class decides.
        let kind = EventKind::SoftBounce;
        let failure = failure(action.as_deref(), category.as_deref());
        let words = ["bounce".to_owned()].into_iter().chain(action).chain(category);
        let provider_kind = words.collect::<Vec<String>>().join(":");
        let address = wire.recipient.address("recipient")?;
        let at = wire.bounced_at.at("bounced_at", stamp.received_at)?;
        let event = Event {
            failure: Some(failure),
            message_id: wire.email_id.into(),
            smtp_code,
            enhanced_code,
            diagnostic,
            ..stamp.event(self.name(), kind, provider_kind, address, at)
        };
        Ok(vec![event])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (category, code, status, text) = match kind {
            EventKind::HardBounce => ("recipient", 550, "5.1.1", "user unknown"),
            EventKind::SoftBounce => ("capacity", 452, "4.2.2", "mailbox full"),
            EventKind::Blocked => ("spam", 550, "5.7.1", "refused by policy"),
            _ => return None,
        };
        let response = format!("{code} {status} {text}");
        let body = serde_json::json!({
            "email_id": format!("{:024x}", now.nanos()),
            "recipient": address.received(),
            "message": response,
            "response": response,
            "response_code": code,
            "truth_source": address.domain(),
            "bounce": {
                "action": "reject",
                "message": text,
                "category": category,
                "code": code,
                "status": status,
                "line": 1,
            },
            "bounced_at": now.floor_second().to_string(),
        });
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

/// What it calls the bounce: what it would do with the category, the category by itself, and what
/// it would do.
fn failure(action: Option<&str>, category: Option<&str>) -> Failure {
    let both = action.zip(category).map(|(action, category)| format!("{action}/{category}"));
    Failure::of(both.as_deref().into_iter().chain(category).chain(action))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::provider::{Draft, Refusal, Setting};
    use crate::secret::Secret;

    /// The key, a body, and its signature, made by another program.
    const SECRET: &str = "forwardemail-test-key";
    const BODY: &str = include_str!("../../tests/fixtures/provider/forward-email/vector.json");
    const TAG: &str = "235750db862b5d5779248aed9908590d789543ea7cc9ba475e1e39e825767434";

    fn check(secrets: &[&str]) -> Check {
        let mut settings = Settings::default();
        let secrets = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        settings.set("secret", Setting::Secrets(secrets));
        let mut checks = ForwardEmail.checks(&settings).unwrap();
        assert_eq!(checks.len(), 1);
        checks.remove(0)
    }

    fn verify(check: &Check, values: &[&str], body: &[u8]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SIGNATURE_HEADER, HeaderValue::from_str(value).unwrap());
        }
        let now = Time::from_seconds(1_781_519_531);
        check.verify(&Notification { headers: &headers, query: "", body, url: None, now }, None)
    }

    #[test]
    fn only_the_known_signature_is_accepted() {
        let (one, body) = (&check(&[SECRET]), BODY.as_bytes());
        assert_eq!(verify(one, &[TAG], body), Ok(()));
        assert_eq!(verify(one, &[&TAG.to_uppercase()], body), Ok(()));
        for secrets in [["old", SECRET], [SECRET, "new"]] {
            assert_eq!(verify(&check(&secrets), &[TAG], body), Ok(()), "rotation");
        }
        assert!(matches!(verify(one, &[], body), Err(Refusal::Missing(_))));
        assert!(matches!(verify(one, &[TAG, TAG], body), Err(Refusal::Repeated(_))));
        for bad in ["", "zz", &TAG[1..], &TAG[2..], &TAG.replacen('2', "3", 1)] {
            assert!(verify(one, &[bad], body).is_err(), "{bad}");
        }
        assert!(verify(one, &[TAG], b"").is_err());
        assert!(verify(one, &[TAG], format!("{BODY}\n").as_bytes()).is_err());
        for bit in 0..body.len() * 8 {
            let mut body = body.to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(one, &[TAG], &body).is_err(), "bit {bit}");
        }
        assert!(verify(&check(&["another source's"]), &[TAG], body).is_err());
        assert!(ForwardEmail.checks(&Settings::default()).unwrap().is_empty());
    }

    #[test]
    fn a_sample_is_signed_as_the_provider_would() {
        let now = Time::from_seconds(1_781_519_531);
        let address = Address::parse("user@example.com").unwrap();
        let body = ForwardEmail.sample(EventKind::HardBounce, &address, now).unwrap().body;
        let mut draft = Draft::new(HeaderMap::new(), body, None, now);
        check(&[SECRET]).sign(&mut draft).unwrap();
        assert_eq!(check(&["new", SECRET]).verify(&draft.notification(), None), Ok(()));
        assert!(check(&["new"]).verify(&draft.notification(), None).is_err());
    }
}
