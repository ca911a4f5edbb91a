//! Scaleway Transactional Email, by way of a topic of Topics and Events: SNS envelopes with an
//! event as JSON text in each.
//!
//! Source: Scaleway, "Understanding Webhook event payloads" and the descriptions of event types in
//! the API's `WebhookEvent`. It reports no complaints, opens, clicks or unsubscriptions.

use serde::Deserialize;
use serde_json::{Value, json};

use super::verify::{Envelope, SNS_KEYS, SnsService};
use super::wire::{self, TimeForm};
use super::{
    Ask, Check, Class, Key, Notification, Provider, Said, Sample, SettingError, Settings, Stamp,
    Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Time};

/// What a type means.
enum Meaning {
    /// This, whatever the server said.
    Is(EventKind),
    /// A failure for good, as the server's words have it.
    Dropped,
}

use Meaning::{Dropped, Is};

/// The types. `email_spam` is the verdict of Scaleway or of the recipient's server on the message:
/// no complaint of the recipient.
const TYPES: &[(&str, Meaning)] = &[
    ("email_queued", Is(EventKind::Accepted)),
    ("email_delivered", Is(EventKind::Delivered)),
    ("email_deferred", Is(EventKind::Deferred)),
    ("email_dropped", Dropped),
    ("email_mailbox_not_found", Dropped),
    ("email_spam", Is(EventKind::Blocked)),
    ("email_blocklisted", Is(EventKind::Rejected)),
    ("blocklist_created", Is(EventKind::Listed)),
];

pub(super) struct ScalewayTem;

#[derive(Deserialize)]
struct Wire {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    created_at: String,
    email_id: Option<String>,
    email_to: Option<String>,
    /// Of a new entry of a blocklist, if it has the form that the API gives it.
    email: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    email_response_code: Option<String>,
    email_response_message: Option<String>,
    /// The older name of the message.
    email_error: Option<String>,
    reason: Option<String>,
    ends_at: Option<String>,
}

impl Provider for ScalewayTem {
    fn name(&self) -> &'static str {
        "scaleway-tem"
    }

    fn verification(&self) -> &'static str {
        "SNS signature (RSA), from your topics only"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        SNS_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        Ok(vec![SnsService::Scaleway.check(settings)?])
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        vec![wire::element(notification.body)]
    }

    fn asks(&self, notification: &Notification<'_>) -> Option<Ask> {
        Envelope::parse(notification.body)?.ask(SnsService::Scaleway)
    }

    fn event_types(&self) -> &'static [&'static str] {
        &[
            "email_delivered",
            "email_deferred",
            "email_dropped",
            "email_mailbox_not_found",
            "email_spam",
            "email_blocklisted",
            "blocklist_created",
        ]
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let Some(message) = Envelope::message_of(element)? else { return Ok(Vec::new()) };
        let wire: Wire = wire::object(message.as_bytes())
            .map_err(|error| Unreadable(format!("not an event of Scaleway: {error}")))?;
        let recipient = wire::filled(wire.email_to).or(wire::filled(wire.email));
        let recipient =
            recipient.ok_or_else(|| Unreadable(format!("{} names no address", wire.kind)))?;
        let said = wire::filled(wire.email_response_message).or(wire::filled(wire.email_error));
        let said = said.or(wire::filled(wire.reason));
        let text = said.as_deref().unwrap_or("");
        let code = wire.email_response_code.as_deref().and_then(wire::smtp_code);
        let smtp_code = code.or_else(|| wire::smtp_code(text));
        let enhanced_code = wire::enhanced_code(text);
        let told = Said { smtp: smtp_code, enhanced: enhanced_code.as_deref(), text };
        let kind = match TYPES.iter().find(|(known, _)| *known == wire.kind) {
            Some((_, Is(kind))) => *kind,
            Some((_, Dropped)) => stamp.faults.kind(Class::Hard, &told),
            None => EventKind::Unknown,
        };
        let address = wire::mailbox(&recipient)?;
        let at = wire::time(&TimeForm::Text(wire.created_at), stamp.received_at)?;
        let id = wire::filled(wire.id);
        let event = Event {
            message_id: wire::filled(wire.email_id),
            smtp_code,
            enhanced_code,
            diagnostic: said,
            provider_event_id: id.clone(),
            identity: id,
            until: wire.ends_at.as_deref().and_then(Time::parse),
            ..stamp.event(self.name(), kind, wire.kind, address, at)
        };
        Ok(vec![event])
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (word, code, said) = match kind {
            EventKind::Accepted => ("email_queued", None, ""),
            EventKind::Delivered => ("email_delivered", Some(250), "2.0.0 OK"),
            EventKind::Deferred => ("email_deferred", Some(452), "4.2.2 mailbox full"),
            EventKind::HardBounce => ("email_dropped", Some(550), "5.1.1 user unknown"),
            EventKind::Blocked => ("email_spam", Some(550), "5.7.1 message is spam"),
            EventKind::Rejected => ("email_blocklisted", None, "recipient is blocklisted"),
            _ => return None,
        };
        let at = now.floor_second().to_string();
        let message: Value = json!({
            "id": format!("sample-{}", now.nanos()),
            "type": word,
            "domain_name": "example.com",
            "created_at": at,
            "email_queued_at": at,
            "email_id": format!("sample-{}", now.second()),
            "email_from": "sender@example.com",
            "email_to": address.received(),
            "email_headers": [],
            "email_response_code": code,
            "email_response_message": said,
        });
        Some(SnsService::Scaleway.sample(&message, now))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::provider::{Refusal, Setting};
    use crate::secret::Secret;

    const SIGNED: &str = include_str!("../../tests/fixtures/sns/notification_subject_v1.json");
    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:SES_Events";

    fn check(pinned: bool) -> Check {
        let mut settings = Settings::default();
        settings.set("topic_arns", Setting::Texts(vec![TOPIC.to_owned()]));
        if pinned {
            let pem = include_bytes!("../../tests/fixtures/sns/test_cert.pem");
            settings.set("certificate", Setting::Secrets(vec![Secret::new(*pem)]));
        }
        ScalewayTem.checks(&settings).unwrap().remove(0)
    }

    #[test]
    fn hosts_are_scaleways_and_the_form_is_that_of_sns() {
        let headers = HeaderMap::new();
        let wanted = |check: &Check, url: &str| {
            let mut envelope: Value = serde_json::from_str(SIGNED).unwrap();
            envelope["SigningCertURL"] = url.into();
            let body = envelope.to_string().into_bytes();
            let now = Time::from_seconds(1_781_519_600);
            let sent = Notification { headers: &headers, query: "", body: &body, url: None, now };
            let wanted = check.wanted(&sent)?;
            check.verify(&sent, None).or(wanted.map(|_| ()).ok_or(Refusal::CertificateUrl))
        };
        let place = "https://messaging.s3.fr-par.scw.cloud/fr-par/sns/sns_certificate_";
        assert_eq!(wanted(&check(false), &format!("{place}1.crt")), Ok(()));
        for url in [
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem".to_owned(),
            format!("{place}1.pem"),
            format!("{place}/../../../bucket/1.crt"),
            place.replace("scw.cloud", "scw.cloud.evil.example") + "1.crt",
            place.replace("https", "http") + "1.crt",
        ] {
            assert_eq!(wanted(&check(false), &url), Err(Refusal::CertificateUrl), "{url}");
        }
        assert_eq!(wanted(&check(true), "anything"), Ok(()));
    }

    #[test]
    fn only_scaleways_confirmations_are_fetched() {
        let headers = HeaderMap::new();
        let text = include_str!("../../tests/fixtures/sns/subscription_confirmation_v1.json");
        for (url, good) in [
            ("https://sns.mnq.fr-par.scaleway.com/?Action=ConfirmSubscription", true),
            ("https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription", false),
        ] {
            let mut envelope: Value = serde_json::from_str(text).unwrap();
            envelope["SubscribeURL"] = url.into();
            let body = envelope.to_string().into_bytes();
            let now = Time::from_seconds(1_781_519_600);
            let sent = Notification { headers: &headers, query: "", body: &body, url: None, now };
            assert_eq!(ScalewayTem.asks(&sent).is_some(), good, "{url}");
        }
    }
}
