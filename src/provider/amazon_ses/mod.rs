//! Amazon SES, by way of an SNS topic: one envelope per event, with an event as JSON text in it.
//!
//! Source: Amazon SES Developer Guide, "Contents of event data that Amazon SES publishes to Amazon
//! SNS" and "Amazon SNS notification contents". Both forms are read: event publishing
//! (`eventType`) and feedback notifications of an identity (`notificationType`); with credentials
//! in place of topics, also without an envelope (raw delivery) and in that of EventBridge.

mod api;
mod event;
mod sample;
mod sigv4;

pub(super) use api::sign;
pub(super) use sigv4::encode;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use url::Url;

use super::verify::{Envelope, SNS_KEYS, SnsService};
use super::wire;
use super::{
    Ask, CREDENTIAL_KEYS, Check, Feed, Key, Notification, Page, PageError, PageRequest, Provider,
    Query, Rate, Sample, SettingError, Settings, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Origin, Time};

/// What SES publishes once, to try a new event destination.
const VALIDATED: &str = "Successfully validated SNS topic";

pub(super) struct AmazonSes;

impl Provider for AmazonSes {
    fn name(&self) -> &'static str {
        "amazon-ses"
    }

    fn verification(&self) -> &'static str {
        "SNS signature (RSA), from your topics only"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        SNS_KEYS
    }

    /// What SNS delivers raw, and what EventBridge sends, is not signed: without topics the
    /// credentials that every source can have must do.
    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        let mut credentials = CREDENTIAL_KEYS.iter().map(|key| settings.secrets(key.name));
        if settings.texts("topic_arns").is_empty() && credentials.any(|given| !given.is_empty()) {
            return Ok(Vec::new());
        }
        Ok(vec![SnsService::Amazon.check(settings)?])
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        vec![wire::element(notification.body)]
    }

    fn asks(&self, notification: &Notification<'_>) -> Option<Ask> {
        Envelope::parse(notification.body)?.ask(SnsService::Amazon)
    }

    fn event_types(&self) -> &'static [&'static str] {
        &[
            "Hard bounces (BOUNCE)",
            "Complaints (COMPLAINT)",
            "Deliveries (DELIVERY)",
            "Delivery delays (DELIVERY_DELAY)",
            "Rejects (REJECT)",
            "Rendering failures (RENDERING_FAILURE)",
            "Subscriptions (SUBSCRIPTION)",
        ]
    }

    fn feeds(&self) -> &[Feed] {
        api::FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        api::POLL_KEYS
    }

    fn rate(&self) -> Option<Rate> {
        Some(api::RATE)
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
        let message = match bare(&element.body) {
            Some(message) => message,
            None => match Envelope::message_of(element)? {
                Some(message) => message.into_bytes(),
                None => return Ok(Vec::new()),
            },
        };
        if message.starts_with(VALIDATED.as_bytes()) {
            return Ok(Vec::new());
        }
        event::read(&message, stamp)
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let message = sample::message(kind, address.received(), &now.floor_second().to_string())?;
        Some(SnsService::Amazon.sample(&message, now))
    }
}

/// An event that came without an SNS envelope: as it is, by raw delivery, or in the envelope of
/// EventBridge (Amazon EventBridge User Guide, "Event structure").
fn bare(body: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Outside {
        detail_type: Option<IgnoredAny>,
        detail: Option<Box<RawValue>>,
        mail: Option<IgnoredAny>,
        #[serde(rename = "eventType")]
        event_type: Option<IgnoredAny>,
        #[serde(rename = "notificationType")]
        notification_type: Option<IgnoredAny>,
    }
    if body.starts_with(VALIDATED.as_bytes()) {
        return Some(body.to_vec());
    }
    let outside: Outside = wire::object(body).ok()?;
    match outside {
        Outside { detail_type: Some(_), detail: Some(detail), .. } => Some(detail.get().into()),
        Outside { mail: Some(_), .. }
        | Outside { event_type: Some(_), .. }
        | Outside { notification_type: Some(_), .. } => Some(body.to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use serde_json::Value;

    use super::*;
    use crate::provider::{Draft, Refusal, Setting};
    use crate::secret::Secret;

    const CERTIFICATE: &[u8] = include_bytes!("../../../tests/fixtures/sns/test_cert.pem");
    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:SES_Events";
    const SIGNED: [&[u8]; 6] = [
        include_bytes!("../../../tests/fixtures/sns/notification_subject_v1.json"),
        include_bytes!("../../../tests/fixtures/sns/notification_subject_v2.json"),
        include_bytes!("../../../tests/fixtures/sns/notification_nosubject_v1.json"),
        include_bytes!("../../../tests/fixtures/sns/notification_nosubject_v2.json"),
        include_bytes!("../../../tests/fixtures/sns/subscription_confirmation_v1.json"),
        include_bytes!("../../../tests/fixtures/sns/subscription_confirmation_v2.json"),
    ];

    fn check(topics: &[&str], pinned: bool) -> Check {
        let mut settings = Settings::default();
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        settings.set("topic_arns", Setting::Texts(topics));
        if pinned {
            let secrets = vec![Secret::new([b"\n", CERTIFICATE].concat())];
            settings.set("certificate", Setting::Secrets(secrets));
        }
        AmazonSes.checks(&settings).unwrap().remove(0)
    }

    fn sent<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Notification<'a> {
        let now = Time::from_seconds(1_781_519_600);
        Notification { headers, query: "", body, url: None, now }
    }

    fn verify(check: &Check, body: &[u8]) -> Result<(), Refusal> {
        let headers = HeaderMap::new();
        let sent = sent(&headers, body);
        let fetched = check.wanted(&sent)?.map(|_| CERTIFICATE);
        check.verify(&sent, fetched)
    }

    fn mismatch() -> Result<(), Refusal> {
        Err(Refusal::Mismatch("the SNS envelope's Signature".to_owned()))
    }

    #[test]
    fn envelopes_of_our_topics_are_accepted() {
        for body in SIGNED {
            assert_eq!(verify(&check(&[TOPIC], false), body), Ok(()));
            assert_eq!(verify(&check(&["arn:else", TOPIC], true), body), Ok(()));
            assert_eq!(verify(&check(&["arn:else"], true), body), Err(Refusal::Topic));
            let part = &TOPIC[..TOPIC.len() - 1];
            assert_eq!(verify(&check(&[part], true), body), Err(Refusal::Topic));
        }
    }

    #[test]
    fn a_changed_envelope_is_refused() {
        let check = check(&[TOPIC], true);
        for body in SIGNED {
            let envelope: Value = serde_json::from_slice(body).unwrap();
            for field in ["Message", "MessageId", "Subject", "Timestamp", "Token", "SubscribeURL"] {
                let Some(text) = envelope[field].as_str() else { continue };
                for other in [format!("{text} "), text[1..].to_owned(), String::new()] {
                    let mut changed = envelope.clone();
                    changed[field] = other.into();
                    assert_eq!(verify(&check, changed.to_string().as_bytes()), mismatch());
                }
            }
            for (field, value) in [
                ("SignatureVersion", "3"),
                ("Type", "UnsubscribeConfirmation"),
                ("Type", "Else"),
                ("Signature", ""),
                ("Signature", "%%%"),
                ("Signature", "AAAA"),
            ] {
                let mut changed = envelope.clone();
                changed[field] = value.into();
                let found = verify(&check, changed.to_string().as_bytes());
                let same = field == "Type" && envelope["Type"] == value;
                assert_eq!(found, if same { Ok(()) } else { mismatch() }, "{field} {value}");
            }
        }
        for broken in [&b""[..], b"{}", b"[]", b"\xff", &SIGNED[0][..100]] {
            let malformed = Refusal::Malformed("the SNS envelope".to_owned());
            assert_eq!(verify(&check, broken), Err(malformed));
        }
    }

    #[test]
    fn a_certificate_comes_from_amazon_only() {
        let check = check(&[TOPIC], false);
        let headers = HeaderMap::new();
        for (url, good) in [
            ("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem", true),
            // Another region's than the topic's.
            ("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem", false),
            ("https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-1.pem", false),
            ("https://sns.us-east-1.amazonaws.com.cn/SimpleNotificationService-1.pem", false),
            ("http://sns.us-east-1.amazonaws.com/a.pem", false),
            ("https://sns.us-east-1.amazonaws.com:8443/a.pem", false),
            ("https://user@sns.us-east-1.amazonaws.com/a.pem", false),
            ("https://sns.us-east-1.amazonaws.com/a.crt", false),
            ("https://sns.us-east-1.amazonaws.com/a.pem?x=.pem", false),
            ("https://sns.us-east-1.amazonaws.com.evil.example/a.pem", false),
            ("https://evil.example/sns.us-east-1.amazonaws.com/a.pem", false),
            ("https://sns.x.evil.amazonaws.com/a.pem", false),
            ("https://messaging.s3.fr-par.scw.cloud/fr-par/sns/sns_certificate_1.crt", false),
            ("no url", false),
        ] {
            let mut envelope: Value = serde_json::from_slice(SIGNED[0]).unwrap();
            envelope["SigningCertURL"] = url.into();
            let body = envelope.to_string().into_bytes();
            let wanted = check.wanted(&sent(&headers, &body));
            let expected =
                if good { Ok(Url::parse(url).ok()) } else { Err(Refusal::CertificateUrl) };
            assert_eq!(wanted, expected, "{url}");
        }
        let unfetched = check.verify(&sent(&headers, SIGNED[0]), None);
        assert_eq!(unfetched, Err(Refusal::Certificate));
        let rubbish = check.verify(&sent(&headers, SIGNED[0]), Some(b"rubbish"));
        assert_eq!(rubbish, Err(Refusal::Certificate));
    }

    #[test]
    fn a_topic_of_china_has_its_hosts() {
        let topic = "arn:aws-cn:sns:cn-north-1:123456789012:SES_Events";
        for (host, good) in [("amazonaws.com.cn", true), ("amazonaws.com", false)] {
            let url = format!("https://sns.cn-north-1.{host}/SimpleNotificationService-1.pem");
            let mut envelope: Value = serde_json::from_slice(SIGNED[0]).unwrap();
            envelope["SigningCertURL"] = url.into();
            envelope["TopicArn"] = topic.into();
            let body = envelope.to_string().into_bytes();
            let headers = HeaderMap::new();
            assert_eq!(check(&[topic], false).wanted(&sent(&headers, &body)).is_ok(), good);
        }
    }

    #[test]
    fn no_certificate_is_fetched_for_what_cannot_be_right() {
        let check = check(&[TOPIC], false);
        let headers = HeaderMap::new();
        let malformed = || Err(Refusal::Malformed("the SNS envelope's Timestamp".to_owned()));
        let topic = || Err(Refusal::Topic);
        let short = data_encoding::BASE64.encode(&[7; 64]);
        for (field, value, expected) in [
            ("SignatureVersion", "3", mismatch()),
            ("Signature", "%%%", mismatch()),
            ("Signature", &short, mismatch()),
            ("Type", "Else", mismatch()),
            ("TopicArn", "arn:aws:sns:us-east-1:1:else", topic()),
            ("Timestamp", "yesterday", malformed()),
        ] {
            let mut envelope: Value = serde_json::from_slice(SIGNED[0]).unwrap();
            envelope[field] = value.into();
            let body = envelope.to_string().into_bytes();
            let wanted = check.wanted(&sent(&headers, &body)).map(|_| ());
            assert_eq!(wanted, expected, "{field} {value}");
        }
        let at = |days: i64| {
            let now = Time::from_seconds(1_781_519_600 + days * 86_400);
            check.wanted(&Notification { now, ..sent(&headers, SIGNED[0]) })
        };
        for (days, good) in [(-2, false), (0, true), (29, true), (31, false)] {
            let untimely = matches!(at(days), Err(Refusal::Untimely(_)));
            assert_eq!(untimely, !good, "{days}");
        }
    }

    #[test]
    fn only_a_subscription_is_confirmed_and_only_at_amazon() {
        let headers = HeaderMap::new();
        let ask = |body: &[u8]| AmazonSes.asks(&sent(&headers, body));
        assert_eq!(ask(SIGNED[0]), None);
        let Some(Ask::Confirm(url)) = ask(SIGNED[4]) else { panic!("it asks") };
        assert_eq!(url.host_str(), Some("sns.us-east-1.amazonaws.com"));
        for (field, value) in [
            ("Type", "UnsubscribeConfirmation"),
            ("SubscribeURL", "https://evil.example/"),
            ("SubscribeURL", "http://sns.us-east-1.amazonaws.com/"),
            ("SubscribeURL", "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"),
            ("TopicArn", "arn:aws:sns:eu-west-1:123456789012:SES_Events"),
        ] {
            let mut envelope: Value = serde_json::from_slice(SIGNED[4]).unwrap();
            envelope[field] = value.into();
            assert_eq!(ask(envelope.to_string().as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn settings_that_would_let_anyone_in_are_refused() {
        let mut settings = Settings::default();
        assert_eq!(AmazonSes.checks(&settings).unwrap_err().key, "topic_arns");
        settings.set("topic_arns", Setting::Texts(vec![TOPIC.to_owned()]));
        settings.set("certificate", Setting::Secrets(vec![Secret::new("/etc/x.pem")]));
        assert_eq!(AmazonSes.checks(&settings).unwrap_err().key, "certificate");
    }

    #[test]
    fn nobody_else_can_sign() {
        let address = Address::parse("a@example.com").unwrap();
        let now = Time::from_seconds(1_781_519_600);
        let sample = AmazonSes.sample(EventKind::HardBounce, &address, now).unwrap();
        let mut draft = Draft::new(HeaderMap::new(), sample.body, None, now);
        assert!(check(&[TOPIC], true).sign(&mut draft).is_err());
    }
}
