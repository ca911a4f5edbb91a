//! Whether a notification is authentic. Everything here fails closed, over the raw bytes.
//!
//! The same checks also sign, so that `suppressd trigger` sends what a provider would.

mod mac;
mod pieces;
mod pointer;
mod public_key;
mod sns;
mod substitute;

use std::time::Duration;

use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, header};
use url::{Url, form_urlencoded};

pub use mac::{Hash, Mac};
pub use pieces::{Encoding, Form, Piece, Place, Scheme, Stamp};
pub(super) use pieces::{payload, text_at};
pub use public_key::{Algorithm, Key as PublicKeyBytes, PublicKey};
pub use sns::{Envelope, SNS_KEYS, Sns, SnsService};
pub use substitute::{PLACEHOLDER, Substitute};

use super::{Key, SettingError, Settings};
use crate::model::Time;
use crate::secret::Secret;
use mac::same;

/// An inbound webhook request, as the checks and adapters see it.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What stands behind the `?` of its URL.
    pub query: &'a str,
    /// Its body, as received.
    pub body: &'a [u8],
    /// The URL that the provider calls, as it was entered there, where that is known.
    pub url: Option<&'a str>,
    /// When it came.
    pub now: Time,
}

/// A sample notification that is being signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its headers.
    pub headers: HeaderMap,
    /// What stands behind the `?` of its URL.
    pub query: String,
    /// Its body.
    pub body: Vec<u8>,
    /// The URL that the provider calls, as it was entered there, where that is known.
    pub url: Option<String>,
    /// When it is sent.
    pub now: Time,
}

impl Draft {
    /// One with nothing in its query.
    pub fn new(headers: HeaderMap, body: Vec<u8>, url: Option<String>, now: Time) -> Draft {
        Draft { headers, query: String::new(), body, url, now }
    }

    /// As it will be received.
    pub fn notification(&self) -> Notification<'_> {
        let Draft { headers, query, body, url, now } = self;
        Notification { headers, query, body, url: url.as_deref(), now: *now }
    }
}

/// Why a notification is not authentic. For the log; the sender is told nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What must authenticate it is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// The header is there more than once.
    #[error("header {0} is there more than once")]
    Repeated(HeaderName),
    /// The value has not the form it must have.
    #[error("{0} is malformed")]
    Malformed(String),
    /// The signature or token does not match any of the source's secrets.
    #[error("{0} does not match any secret of the source")]
    Mismatch(String),
    /// The signed timestamp is too far from our clock.
    #[error("the timestamp is {} s from our clock, more than webhook.tolerance", .0.as_secs())]
    Stale(Duration),
    /// The scheme signs the URL, and it is not known.
    #[error("the URL is signed, but neither webhook.url nor http.public_url is set")]
    NoUrl,
    /// The topic is none of the source's.
    #[error("the topic is not in webhook.topic_arns")]
    Topic,
    /// The certificate is not where one of the service would be.
    #[error("the certificate's URL is none of the service's")]
    CertificateUrl,
    /// The certificate cannot be used.
    #[error("the certificate cannot be had or read")]
    Certificate,
    /// It is too old, or too far ahead, for a certificate to be fetched for it.
    #[error("the envelope's time is {} s from our clock: no certificate is fetched", .0.as_secs())]
    Untimely(Duration),
    /// Basic credentials are missing or wrong: the sender is asked for them.
    #[error("Basic credentials are missing or wrong")]
    BasicWanted,
    /// What was signed came before with another body, which the signature does not cover.
    #[error("its token came before, with another body")]
    Replayed,
}

/// One way to authenticate. Several secrets are alternatives, for rotation.
#[derive(Clone, Debug)]
pub enum Check {
    /// An HMAC over pieces of the request.
    Mac(Mac),
    /// A signature over pieces of the request.
    PublicKey(PublicKey),
    /// An SNS envelope.
    Sns(Sns),
    /// The scheme of Unisender Go.
    Substitute(Substitute),
    /// Any of several.
    Any(Vec<Check>),
    /// HTTP Basic (RFC 7617), each secret `user:password`.
    Basic(Vec<Secret>),
    /// A bearer token (RFC 6750).
    Bearer(Vec<Secret>),
    /// A header with a fixed value.
    Header(HeaderName, Vec<Secret>),
    /// A field of the URL's query with a fixed value.
    Query(String, Vec<Secret>),
}

/// The credentials that may be added to any provider's webhook.
pub const CREDENTIAL_KEYS: &[Key] = &[
    Key::optional_secret("basic"),
    Key::optional_secret("bearer"),
    Key::optional_text("header_name"),
    Key::optional_secret("header_value"),
];

/// The checks of the credentials that any provider's webhook may have.
///
/// # Errors
/// When they are incomplete or have not the form they must have.
pub fn checks_of_credentials(settings: &Settings) -> Result<Vec<Check>, SettingError> {
    let mut checks = Vec::new();
    let basic = settings.secrets("basic");
    if basic.iter().any(|secret| !secret.reveal().contains(&b':')) {
        return Err(settings.problem("basic", "has no colon", "write it as \"user:password\""));
    }
    if basic.iter().any(|secret| secret.reveal().trim_ascii().ends_with(b":")) {
        let hint = "write it as \"user:password\": without a password it proves nothing";
        return Err(settings.problem("basic", "has an empty password", hint));
    }
    if !basic.is_empty() {
        checks.push(Check::Basic(basic.to_vec()));
    }
    let bearer = settings.secrets("bearer");
    if !bearer.is_empty() {
        checks.push(Check::Bearer(bearer.to_vec()));
    }
    match (settings.text("header_name"), settings.secrets("header_value")) {
        (None, []) => {}
        (Some(_), []) => {
            let hint = "give the value that the provider sends in that header";
            return Err(settings.problem("header_value", "is missing beside header_name", hint));
        }
        (None, _) => {
            let hint = "give the name of the header that holds the value";
            return Err(settings.problem("header_name", "is missing beside header_value", hint));
        }
        (Some(name), values) => {
            let header = header_name(settings, "header_name", name)?;
            checks.push(Check::Header(header, values.to_vec()));
        }
    }
    Ok(checks)
}

/// A header's name from a setting.
///
/// # Errors
/// When the text cannot be a header's name.
pub(super) fn header_name(
    settings: &Settings,
    key: &str,
    text: &str,
) -> Result<HeaderName, SettingError> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        settings.problem(key, "is not the name of an HTTP header", "use letters, digits and -")
    })
}

impl Check {
    /// An HMAC-SHA256 of the body, in hex, in a header.
    pub fn hmac_of_body(header: HeaderName, prefix: &str, keys: Vec<Secret>) -> Check {
        let scheme = Scheme {
            place: Place::Header(header),
            encoding: Encoding::Hex,
            form: Form::Plain(prefix.to_owned()),
            signed: vec![Piece::Body],
            stamp: None,
        };
        Check::Mac(Mac { scheme, hash: Hash::Sha256, keys })
    }

    /// Whether it needs the URL that the provider calls ([`Notification::url`]).
    pub fn signs_url(&self) -> bool {
        match self {
            Check::Mac(mac) => mac.scheme.signed.contains(&Piece::Url),
            Check::PublicKey(key) => key.scheme.signed.contains(&Piece::Url),
            Check::Any(checks) => checks.iter().all(Check::signs_url),
            _ => false,
        }
    }

    /// What must be fetched before [`Check::verify`] can tell, where that is allowed at all.
    ///
    /// # Errors
    /// When the notification is refused already.
    pub fn wanted(&self, notification: &Notification<'_>) -> Result<Option<Url>, Refusal> {
        match self {
            Check::Sns(sns) => sns.wanted(notification),
            _ => Ok(None),
        }
    }

    /// Whether the notification passes. `fetched` is what [`Check::wanted`] named.
    ///
    /// # Errors
    /// Says why it does not.
    pub fn verify(
        &self,
        notification: &Notification<'_>,
        fetched: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        let headers = notification.headers;
        let authorization = || only(headers, &AUTHORIZATION);
        let name = |header: &HeaderName| Place::Header(header.clone()).name();
        match self {
            Check::Mac(mac) => mac.verify(notification),
            Check::PublicKey(key) => key.verify(notification),
            Check::Sns(sns) => sns.verify(notification, fetched),
            Check::Substitute(substitute) => substitute.verify(notification),
            Check::Any(checks) => first_good(checks, |check| check.verify(notification, fetched)),
            Check::Basic(secrets) => {
                let given = authorization().map_err(|_| Refusal::BasicWanted)?;
                let given = scheme(given, b"basic ").and_then(|text| BASE64.decode(text).ok());
                let given = given.ok_or(Refusal::BasicWanted)?;
                any(secrets, |s| same(s, &given)).then_some(()).ok_or(Refusal::BasicWanted)
            }
            Check::Bearer(secrets) => {
                let token = scheme(authorization()?, b"bearer ");
                let token = token.ok_or_else(|| Refusal::Malformed(name(&AUTHORIZATION)))?;
                let right = any(secrets, |s| same(s, token));
                right.then_some(()).ok_or_else(|| Refusal::Mismatch(name(&AUTHORIZATION)))
            }
            Check::Header(header, secrets) => {
                let given = only(headers, header)?;
                let right = any(secrets, |s| same(s, given));
                right.then_some(()).ok_or_else(|| Refusal::Mismatch(name(header)))
            }
            Check::Query(field, secrets) => {
                let place = || format!("{field} in the URL's query");
                let pairs = form_urlencoded::parse(notification.query.as_bytes());
                let mut given = pairs.filter(|(name, _)| name == field).map(|(_, value)| value);
                let value = given.next().ok_or_else(|| Refusal::Missing(place()))?;
                if given.next().is_some() {
                    return Err(Refusal::Malformed(place()));
                }
                let right = any(secrets, |s| same(s, value.as_bytes()));
                right.then_some(()).ok_or_else(|| Refusal::Mismatch(place()))
            }
        }
    }

    /// Whether a notification with this head can pass, whatever its body is.
    ///
    /// # Errors
    /// Says why it cannot.
    pub fn verify_head(&self, headers: &HeaderMap, query: &str, now: Time) -> Result<(), Refusal> {
        let head = Notification { headers, query, body: b"", url: None, now };
        match self {
            Check::Mac(mac) => mac.scheme.verify_head(&head),
            Check::PublicKey(key) => key.scheme.verify_head(&head),
            // All that these look at is in the body.
            Check::Sns(_) | Check::Substitute(_) => Ok(()),
            Check::Any(checks) => {
                first_good(checks, |check| check.verify_head(headers, query, now))
            }
            Check::Basic(_) | Check::Bearer(_) | Check::Header(..) | Check::Query(..) => {
                self.verify(&head, None)
            }
        }
    }

    /// Adds to a draft what makes it pass this check, by the first of its secrets.
    ///
    /// # Errors
    /// Says why it cannot be signed here, and how to test it instead.
    pub fn sign(&self, draft: &mut Draft) -> Result<(), String> {
        let (name, value) = match self {
            Check::Mac(mac) => return mac.sign(draft),
            Check::PublicKey(key) => return key.sign(draft),
            Check::Substitute(substitute) => return substitute.sign(draft),
            Check::Any(checks) => {
                let mut outcome = Err("the source has no check".to_owned());
                for check in checks {
                    // One that cannot sign after all must leave nothing of its try behind.
                    let mut tried = draft.clone();
                    outcome = check.sign(&mut tried);
                    if outcome.is_ok() {
                        *draft = tried;
                        break;
                    }
                }
                return outcome;
            }
            Check::Sns(_) => {
                let how = "only the service can sign for this source: publish a test message to \
                    its topic, such as a mail to the provider's bounce simulator";
                return Err(how.to_owned());
            }
            Check::Query(field, secrets) => {
                let unfit = || "the secret is no text, which a query needs".to_owned();
                let value = first(secrets)?.reveal_text().ok_or_else(unfit)?;
                let query = std::mem::take(&mut draft.query);
                let mut query = form_urlencoded::Serializer::new(query);
                draft.query = query.append_pair(field, value).finish();
                return Ok(());
            }
            Check::Basic(secrets) => {
                let text = format!("Basic {}", BASE64.encode(first(secrets)?.reveal()));
                (&AUTHORIZATION, text.into_bytes())
            }
            Check::Bearer(secrets) => {
                (&AUTHORIZATION, [b"Bearer ", first(secrets)?.reveal()].concat())
            }
            Check::Header(name, secrets) => (name, first(secrets)?.reveal().to_vec()),
        };
        let value = HeaderValue::from_bytes(&value)
            .map_err(|_| "the secret cannot stand in an HTTP header".to_owned())?;
        draft.headers.insert(name, value);
        Ok(())
    }
}

/// Whether one of several checks is passed; else the most telling refusal.
fn first_good(
    checks: &[Check],
    passes: impl Fn(&Check) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut refusal = Err(Refusal::Missing("a signature".to_owned()));
    for check in checks {
        match passes(check) {
            Ok(()) => return Ok(()),
            // That a header is not there says least.
            Err(Refusal::Missing(_)) if refusal.is_err() => {}
            other => refusal = other,
        }
    }
    refusal
}

fn first(secrets: &[Secret]) -> Result<&Secret, String> {
    secrets.first().ok_or_else(|| "the source has no secret".to_owned())
}

/// Tries every secret, without stopping at the one that matches.
fn any(secrets: &[Secret], matches: impl Fn(&Secret) -> bool) -> bool {
    secrets.iter().fold(false, |found, secret| matches(secret) | found)
}

/// The value of a header that must be there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| Refusal::Missing(format!("header {name}")))?;
    if values.next().is_some() {
        return Err(Refusal::Repeated(name.clone()));
    }
    Ok(value.as_bytes().trim_ascii())
}

/// What follows the scheme's name, which is compared without regard to case (RFC 9110, 11.1).
fn scheme<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (scheme, rest) = value.split_at_checked(name.len())?;
    scheme.eq_ignore_ascii_case(name).then(|| rest.trim_ascii())
}

/// The challenge that goes with an answer to [`Refusal::BasicWanted`].
pub const BASIC_CHALLENGE: (HeaderName, &str) =
    (header::WWW_AUTHENTICATE, "Basic realm=\"suppressd\", charset=\"UTF-8\"");
