//! Amazon SNS envelopes, versions 1 and 2, and those of Scaleway's topics, which have their form.
//!
//! A valid signature only proves that the service sent it: anyone can have a topic. So the topic
//! must be on the source's list before anything else is looked at. Source: Amazon SNS Developer
//! Guide, "Verifying the signatures of Amazon SNS messages".

use std::ops::RangeInclusive;
use std::time::Duration;

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::public_key::{Algorithm, Key};
use super::{Check, Notification, Refusal, SettingError, Settings};
use crate::model::{Element, Time};
use crate::provider::{self, Ask, KeyKind, Sample, Unreadable, wire};
use crate::secret::Secret;

/// The settings of a webhook that gets envelopes.
pub const SNS_KEYS: &[provider::Key] = &[
    provider::Key::optional("topic_arns", KeyKind::Texts),
    provider::Key::optional_secret("certificate"),
    provider::Key::optional("confirm", KeyKind::Flag),
];

/// Lengths of RSA signatures, in bytes: keys of 1024 to 8192 bits.
const SIGNATURE_LENGTHS: RangeInclusive<usize> = 128..=1024;
/// How far from our clock an envelope may be for a certificate to be fetched for it. The service
/// tries for hours, and for weeks at most (Amazon SNS, "message delivery retries").
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);
const BEHIND_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Whose envelopes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnsService {
    /// Amazon's.
    Amazon,
    /// Scaleway's Topics and Events.
    Scaleway,
}

/// The check of an SNS envelope.
#[derive(Clone, Debug)]
pub struct Sns {
    /// Whose.
    pub service: SnsService,
    /// The topics that are ours.
    pub topic_arns: Vec<String>,
    /// The keys of pinned certificates, any of which is good; none: the certificate is fetched.
    pub pinned: Vec<Key>,
}

/// An SNS envelope.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Envelope {
    /// `Notification`, `SubscriptionConfirmation` or `UnsubscribeConfirmation`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The same over retries.
    pub message_id: String,
    /// The topic.
    pub topic_arn: String,
    /// The event, as JSON text, or a sentence.
    pub message: String,
    /// Only some notifications have one.
    pub subject: Option<String>,
    /// When it was published.
    pub timestamp: String,
    /// Of confirmations.
    pub token: Option<String>,
    /// Of confirmations: what to fetch.
    #[serde(rename = "SubscribeURL")]
    pub subscribe_url: Option<String>,
    /// `1` (SHA-1) or `2` (SHA-256).
    pub signature_version: String,
    /// In base64.
    pub signature: String,
    /// Where the certificate is.
    #[serde(rename = "SigningCertURL", alias = "SigningCertUrl")]
    pub signing_cert_url: String,
}

/// An envelope's signature, and what it covers.
struct Signed {
    algorithm: Algorithm,
    message: String,
    signature: Vec<u8>,
}

fn mismatch() -> Refusal {
    Refusal::Mismatch("the SNS envelope's Signature".to_owned())
}

impl Envelope {
    /// Reads an envelope from a body.
    pub fn parse(body: &[u8]) -> Option<Envelope> {
        wire::object(body).ok()
    }

    /// What it asks for. The end of a subscription is not confirmed: that would undo it.
    pub fn ask(&self, service: SnsService) -> Option<Ask> {
        let url = self.subscribe_url.as_deref().filter(|_| self.kind == "SubscriptionConfirmation");
        let url = url.and_then(|url| Url::parse(url).ok());
        url.filter(|url| service.admits_confirmation(url, &self.topic_arn)).map(Ask::Confirm)
    }

    /// The message of an element that is an envelope; `None`: it only tells that a subscription
    /// has ended.
    ///
    /// # Errors
    /// When it is no envelope, or a confirmation that could not be asked for.
    pub fn message_of(element: &Element) -> Result<Option<String>, Unreadable> {
        let envelope = Envelope::parse(&element.body)
            .ok_or_else(|| Unreadable("not an SNS envelope".to_owned()))?;
        match envelope.kind.as_str() {
            "Notification" => Ok(Some(envelope.message)),
            "UnsubscribeConfirmation" => Ok(None),
            _ => {
                Err(Unreadable("the confirmation leads to none of the service's hosts".to_owned()))
            }
        }
    }

    /// What a key must verify.
    fn signed(&self) -> Result<Signed, Refusal> {
        let algorithm = match self.signature_version.as_str() {
            "1" => Algorithm::RsaSha1,
            "2" => Algorithm::RsaSha256,
            _ => return Err(mismatch()),
        };
        let message = self.canonical().ok_or_else(mismatch)?;
        let signature = BASE64.decode(self.signature.as_bytes()).map_err(|_| mismatch())?;
        if !SIGNATURE_LENGTHS.contains(&signature.len()) {
            return Err(mismatch());
        }
        Ok(Signed { algorithm, message, signature })
    }

    /// The bytes that are signed: each field in its order, name and value on lines of their own.
    pub(super) fn canonical(&self) -> Option<String> {
        let text = |value: &Option<String>| value.clone();
        let some = |value: &str| Some(value.to_owned());
        let fields: Vec<(&str, Option<String>)> = match self.kind.as_str() {
            "Notification" => vec![
                ("Message", some(&self.message)),
                ("MessageId", some(&self.message_id)),
                ("Subject", text(&self.subject)),
                ("Timestamp", some(&self.timestamp)),
                ("TopicArn", some(&self.topic_arn)),
                ("Type", some(&self.kind)),
            ],
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => vec![
                ("Message", some(&self.message)),
                ("MessageId", some(&self.message_id)),
                ("SubscribeURL", text(&self.subscribe_url)),
                ("Timestamp", some(&self.timestamp)),
                ("Token", text(&self.token)),
                ("TopicArn", some(&self.topic_arn)),
                ("Type", some(&self.kind)),
            ],
            _ => return None,
        };
        let line =
            |(name, value): (&str, Option<String>)| value.map(|value| format!("{name}\n{value}\n"));
        Some(fields.into_iter().filter_map(line).collect())
    }
}

impl SnsService {
    /// The check that these settings ask for.
    ///
    /// # Errors
    /// When there is no topic, or a pinned certificate cannot be read.
    pub fn check(self, settings: &Settings) -> Result<Check, SettingError> {
        let topic_arns = settings.texts("topic_arns").to_vec();
        if topic_arns.is_empty() {
            let hint = "name your topics: the service signs for everybody's";
            return Err(settings.problem("topic_arns", "names no topic", hint));
        }
        let key = |pem: &Secret| Key::from_certificate(pem.reveal().trim_ascii());
        let pinned = settings.secrets("certificate").iter().map(key).collect::<Option<Vec<_>>>();
        let pinned = pinned.ok_or_else(|| {
            let hint = "give the PEM text itself, or { file = \"…\" }";
            settings.problem("certificate", "is no certificate in PEM", hint)
        })?;
        Ok(Check::Sns(Sns { service: self, topic_arns, pinned }))
    }

    /// A sample envelope with that message. Nobody but the service can sign it.
    pub fn sample(self, message: &Value, now: Time) -> Sample {
        let (topic, certificate) = match self {
            SnsService::Amazon => (
                "arn:aws:sns:us-east-1:123456789012:sample",
                "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-sample.pem",
            ),
            SnsService::Scaleway => (
                "arn:scw:sns:fr-par:project-00000000-0000-0000-0000-000000000000:sample",
                "https://messaging.s3.fr-par.scw.cloud/fr-par/sns/sns_certificate_sample.crt",
            ),
        };
        let body = json!({
            "Type": "Notification",
            "MessageId": format!("{:032x}", now.nanos()),
            "TopicArn": topic,
            "Message": message.to_string(),
            "Timestamp": now.to_string(),
            "SignatureVersion": "2",
            "Signature": "",
            "SigningCertURL": certificate,
        });
        let content_type = "text/plain; charset=UTF-8";
        Sample { content_type, body: body.to_string().into_bytes() }
    }

    /// Where the certificate of a topic may come from.
    fn admits_certificate(self, url: &Url, topic_arn: &str) -> bool {
        let Some(region) = self.region(topic_arn) else { return false };
        let path = url.path();
        let safe = !path.contains("..") && url.query().is_none() && url.fragment().is_none();
        match self {
            SnsService::Amazon => is_host(url, &amazon(region)) && safe && path.ends_with(".pem"),
            SnsService::Scaleway => {
                is_host(url, &format!("messaging.s3.{region}.scw.cloud"))
                    && safe
                    && path.starts_with(&format!("/{region}/sns/sns_certificate_"))
                    && path.ends_with(".crt")
            }
        }
    }

    /// What may be fetched to confirm a subscription to a topic.
    fn admits_confirmation(self, url: &Url, topic_arn: &str) -> bool {
        let Some(region) = self.region(topic_arn) else { return false };
        match self {
            SnsService::Amazon => is_host(url, &amazon(region)),
            SnsService::Scaleway => is_host(url, &format!("sns.mnq.{region}.scaleway.com")),
        }
    }

    /// The region of a topic: `arn:<partition>:sns:<region>:<account>:<name>`.
    fn region(self, topic_arn: &str) -> Option<&str> {
        let mut parts = topic_arn.splitn(6, ':');
        let [arn, partition, service, region] = std::array::from_fn(|_| parts.next().unwrap_or(""));
        let is_ours = match self {
            SnsService::Amazon => partition.starts_with("aws"),
            SnsService::Scaleway => partition == "scw",
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_region = region.len() >= 3 && region.bytes().all(plain);
        (arn == "arn" && service == "sns" && is_ours && is_region).then_some(region)
    }
}

/// Amazon's host for a region. Those of China end otherwise (Amazon SNS, "endpoints and quotas").
fn amazon(region: &str) -> String {
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("sns.{region}.amazonaws.com{end}")
}

/// Whether a URL has that host, and neither a port nor credentials.
fn is_host(url: &Url, host: &str) -> bool {
    url.host_str() == Some(host)
        && url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

impl Sns {
    /// The envelope, if its topic is ours and it may be looked at.
    fn envelope(&self, notification: &Notification<'_>) -> Result<Envelope, Refusal> {
        let envelope = Envelope::parse(notification.body)
            .ok_or_else(|| Refusal::Malformed("the SNS envelope".to_owned()))?;
        if !self.topic_arns.contains(&envelope.topic_arn) {
            return Err(Refusal::Topic);
        }
        Ok(envelope)
    }

    /// The certificate that must be fetched before the notification can be verified. All that can
    /// be told without it is told first: who knows a topic must not make us fetch in vain.
    pub(super) fn wanted(&self, notification: &Notification<'_>) -> Result<Option<Url>, Refusal> {
        if !self.pinned.is_empty() {
            return Ok(None);
        }
        let envelope = self.envelope(notification)?;
        envelope.signed()?;
        let published = Time::parse(&envelope.timestamp)
            .ok_or_else(|| Refusal::Malformed("the SNS envelope's Timestamp".to_owned()))?;
        let (ahead, behind) =
            (published.since(notification.now), notification.now.since(published));
        if ahead > AHEAD_MAX || behind > BEHIND_MAX {
            return Err(Refusal::Untimely(ahead.max(behind)));
        }
        let url = Url::parse(&envelope.signing_cert_url).ok();
        let url = url.filter(|url| self.service.admits_certificate(url, &envelope.topic_arn));
        url.map(Some).ok_or(Refusal::CertificateUrl)
    }

    pub(super) fn verify(
        &self,
        notification: &Notification<'_>,
        fetched: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        let envelope = self.envelope(notification)?;
        let Signed { algorithm, message, signature } = envelope.signed()?;
        let keys = match self.pinned.as_slice() {
            [] => vec![fetched.and_then(Key::from_certificate).ok_or(Refusal::Certificate)?],
            pinned => pinned.to_vec(),
        };
        let right = keys.iter().any(|key| algorithm.verify(key, message.as_bytes(), &signature));
        right.then_some(()).ok_or_else(mismatch)
    }
}
