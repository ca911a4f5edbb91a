//! Whether a notification is authentic. Everything here fails closed, over the raw bytes.
//!
//! The same checks also sign, so that `suppressd trigger` sends what a provider would.

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, header};
use sha2::Sha256;

use super::{Key, SettingError, Settings};
use crate::secret::Secret;

/// An inbound webhook request, as the checks and adapters see it.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, as received.
    pub body: &'a [u8],
}

/// Why a notification is not authentic. For the log; the sender is told nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The header that must authenticate it is not there.
    #[error("header {0} is missing")]
    Missing(HeaderName),
    /// The header is there more than once.
    #[error("header {0} is there more than once")]
    Repeated(HeaderName),
    /// The header's value has not the form it must have.
    #[error("header {0} is malformed")]
    Malformed(HeaderName),
    /// The signature or token does not match any of the source's secrets.
    #[error("header {0} does not match any secret of the source")]
    Mismatch(HeaderName),
    /// Basic credentials are missing or wrong: the sender is asked for them.
    #[error("Basic credentials are missing or wrong")]
    BasicWanted,
}

/// One way to authenticate. Several secrets are alternatives, for rotation.
#[derive(Clone, Debug)]
pub enum Check {
    /// The header holds the HMAC-SHA256 of the body in hex, after an optional prefix.
    HmacSha256Hex {
        /// The header.
        header: HeaderName,
        /// A prefix that may stand before the hex digits.
        prefix: &'static str,
        /// The keys.
        secrets: Vec<Secret>,
    },
    /// HTTP Basic (RFC 7617), each secret `user:password`.
    Basic(Vec<Secret>),
    /// A bearer token (RFC 6750).
    Bearer(Vec<Secret>),
    /// A header with a fixed value.
    Header(HeaderName, Vec<Secret>),
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
    /// Whether the notification passes.
    ///
    /// # Errors
    /// Says why it does not.
    pub fn verify(&self, notification: &Notification<'_>) -> Result<(), Refusal> {
        let headers = notification.headers;
        match self {
            Check::HmacSha256Hex { header, prefix, secrets } => {
                let given = only(headers, header)?;
                let digits = given.strip_prefix(prefix.as_bytes()).unwrap_or(given);
                let tag = HEXLOWER_PERMISSIVE
                    .decode(digits)
                    .map_err(|_| Refusal::Malformed(header.clone()))?;
                let matches =
                    |secret: &Secret| mac(secret, notification.body).verify_slice(&tag).is_ok();
                any(secrets, matches).then_some(()).ok_or(Refusal::Mismatch(header.clone()))
            }
            Check::Basic(secrets) => {
                let given = only(headers, &AUTHORIZATION).map_err(|_| Refusal::BasicWanted)?;
                let given = scheme(given, b"basic ").and_then(|text| BASE64.decode(text).ok());
                let given = given.ok_or(Refusal::BasicWanted)?;
                any(secrets, |s| same(s, &given)).then_some(()).ok_or(Refusal::BasicWanted)
            }
            Check::Bearer(secrets) => {
                let given = only(headers, &AUTHORIZATION)?;
                let token = scheme(given, b"bearer ").ok_or(Refusal::Malformed(AUTHORIZATION))?;
                any(secrets, |s| same(s, token))
                    .then_some(())
                    .ok_or(Refusal::Mismatch(AUTHORIZATION))
            }
            Check::Header(header, secrets) => {
                let given = only(headers, header)?;
                any(secrets, |s| same(s, given))
                    .then_some(())
                    .ok_or(Refusal::Mismatch(header.clone()))
            }
        }
    }

    /// Adds to `headers` what makes `body` pass this check, by the first of its secrets.
    ///
    /// # Errors
    /// Says why it cannot be signed here, and how to test it instead.
    pub fn sign(&self, headers: &mut HeaderMap, body: &[u8]) -> Result<(), String> {
        let (name, value) = match self {
            Check::HmacSha256Hex { header, secrets, .. } => {
                let tag = mac(first(secrets)?, body).finalize().into_bytes();
                (header, HEXLOWER.encode(&tag).into_bytes())
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
        headers.insert(name, value);
        Ok(())
    }
}

fn first(secrets: &[Secret]) -> Result<&Secret, String> {
    secrets.first().ok_or_else(|| "the source has no secret".to_owned())
}

fn mac(secret: &Secret, body: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "RFC 2104 takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal()).expect("any key length");
    mac.update(body);
    mac
}

/// Whether two values are the same, in a time that does not depend on where they differ.
fn same(secret: &Secret, given: &[u8]) -> bool {
    let tag = mac(secret, given).finalize().into_bytes();
    mac(secret, secret.reveal()).verify_slice(&tag).is_ok()
}

/// Tries every secret, without stopping at the one that matches.
fn any(secrets: &[Secret], matches: impl Fn(&Secret) -> bool) -> bool {
    secrets.iter().fold(false, |found, secret| matches(secret) | found)
}

/// The value of a header that must be there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| Refusal::Missing(name.clone()))?;
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
