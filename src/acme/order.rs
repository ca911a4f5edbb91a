//! One order: the account, the proof for each name, the certificate. Knows the protocol's library.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use instant_acme::{
    Account, AccountBuilder, AuthorizationStatus, BodyWrapper, BytesResponse,
    CertificateIdentifier, ChallengeType, Error, HttpClient, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, CertificateSigningRequest, DistinguishedName, KeyPair};
use tokio::task::spawn_blocking;

use super::kept::{self, Folder};
use super::{Challenges, Settings};
use crate::fetch::{FetchError, Fetcher};
use crate::telemetry;

/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a CA is asked whether it is done: soon at first, for two minutes in all.
const POLLS: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// What a CA says of an account that it does not know any more (RFC 8555, section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// What it says of a nonce that it does not take (section 6.5), however new: there are others.
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";

/// Most characters that are told of what a CA says.
const WHY_MAX: usize = 400;

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In words.
    pub(super) why: String,
    /// Whether the CA answered, and will say the same soon after.
    pub(super) is_refusal: bool,
}

impl Failure {
    pub(super) fn unreached(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), is_refusal: false }
    }

    pub(super) fn refused(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), is_refusal: true }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Api(problem) if problem.r#type.as_deref() == Some(BAD_NONCE) => {
                Failure::unreached(said(&problem))
            }
            Error::Api(problem) => Failure::refused(said(&problem)),
            other => Failure::unreached(other.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::unreached(format!("the account cannot be kept: {error}"))
    }
}

/// What a CA says, on one line and not too long.
fn said(problem: &Problem) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    problem.to_string().chars().map(plain).take(WHY_MAX).collect()
}

/// Asks a CA for a certificate.
pub(super) struct Asking<'a> {
    pub(super) settings: &'a Settings,
    pub(super) folder: &'a Folder,
    pub(super) fetcher: Fetcher,
}

impl Asking<'_> {
    /// A new key and the chain for it, in PEM.
    pub(super) async fn certificate(
        &self,
        challenges: &Challenges,
        replaced: Option<&str>,
    ) -> Result<String, Failure> {
        let names = &self.settings.domains;
        let identifiers: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
        let account = self.account().await?;
        let wanted = NewOrder::new(&identifiers);
        let ordered = match account.new_order(&replacing(&identifiers, replaced)).await {
            Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
                telemetry::acme::forgotten(&self.settings.directory);
                self.new_account().await?.new_order(&wanted).await
            }
            // What it replaces may be another account's, or replaced already.
            Err(_) if replaced.is_some() => account.new_order(&wanted).await,
            ordered => ordered,
        };
        let mut order = ordered?;
        prove(&mut order, challenges).await?;
        let made = request(names).map_err(|error| Failure::unreached(error.to_string()));
        let (request, key) = made?;
        order.finalize_csr(request.der()).await?;
        let chain = order.poll_certificate(&POLLS).await?;
        Ok(key.serialize_pem() + &chain)
    }

    /// The account that is kept, or a new one.
    async fn account(&self) -> Result<Account, Failure> {
        let (folder, settings) = (self.folder.clone(), self.settings.clone());
        let kept = spawn_blocking(move || folder.account(&settings)).await;
        match kept.map_err(io::Error::other)? {
            Some(credentials) => Ok(self.builder().from_credentials(credentials).await?),
            None => self.new_account().await,
        }
    }

    async fn new_account(&self) -> Result<Account, Failure> {
        let contact: Vec<String> =
            self.settings.contact.iter().map(|address| format!("mailto:{address}")).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = self.settings.directory.to_string();
        let (account, credentials) = self.builder().create(&wanted, directory, None).await?;
        let (folder, kept) = (self.folder.clone(), kept::Account::new(self.settings, credentials));
        let stored = spawn_blocking(move || folder.store_account(&kept)).await;
        stored.map_err(io::Error::other).and_then(|stored| stored)?;
        telemetry::acme::account(&self.settings.directory);
        Ok(account)
    }

    fn builder(&self) -> AccountBuilder {
        Account::builder_with_http(Box::new(Http(self.fetcher.clone())))
    }
}

/// An order in the place of a certificate: a CA's limits do not count it.
fn replacing<'a>(identifiers: &'a [Identifier], replaced: Option<&'a str>) -> NewOrder<'a> {
    let order = NewOrder::new(identifiers);
    let Some((key, serial)) = replaced.and_then(|id| id.split_once('.')) else { return order };
    order.replaces(CertificateIdentifier {
        authority_key_identifier: key.into(),
        serial: serial.into(),
    })
}

/// A key, and what asks for a certificate of it. The names stand in no subject (RFC 8555, 7.4).
fn request(names: &[String]) -> Result<(CertificateSigningRequest, KeyPair), rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate()?;
    Ok((params.serialize_request(&key)?, key))
}

/// Proves that each name of an order leads here.
async fn prove(order: &mut Order, challenges: &Challenges) -> Result<(), Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(Failure::refused(format!("the CA does not offer TLS-ALPN-01 for {name}")));
        };
        let digest = challenge.key_authorization().digest();
        challenges.set(&name, digest.as_ref()).map_err(Failure::unreached)?;
        challenge.set_ready().await?;
    }
    match order.poll_ready(&POLLS).await {
        Ok(OrderStatus::Ready | OrderStatus::Valid) => Ok(()),
        Ok(_) | Err(Error::Api(_)) => Err(unproven(order).await),
        Err(error) => Err(error.into()),
    }
}

/// Which names a CA could not find here, and what it met in place of them.
async fn unproven(order: &mut Order) -> Failure {
    let mut found = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let errors = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        let name = state.identifier();
        found.extend(errors.map(|error| format!("{name}: {}", said(error))));
    }
    let found = if found.is_empty() { "no reason is told".to_owned() } else { found.join("; ") };
    let hint = "port 443 of each name must lead to http.listen, past no proxy that ends TLS";
    Failure::refused(format!("the CA could not verify what it was asked to: {found}; {hint}"))
}

/// Our own client, in the library's terms.
struct Http(Fetcher);

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for Http {
    fn request(&self, request: http::Request<BodyWrapper<Bytes>>) -> Answer {
        let fetcher = self.0.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            // We are the client; the library is not.
            head.headers.remove(http::header::USER_AGENT);
            let Ok(body) = body.collect().await;
            let request = http::Request::from_parts(head, body.to_bytes().to_vec());
            let answer = fetcher.exchange(request, REQUEST_TIMEOUT).await;
            let failed = |error: FetchError| Error::Other(Box::new(error));
            let (parts, body) = answer.map_err(failed)?.into_parts();
            Ok(BytesResponse { parts, body: Box::new(Bytes::from(body)) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_that_is_not_taken_is_no_refusal() {
        for (kind, is_refusal) in [("badNonce", false), ("rateLimited", true)] {
            let text =
                format!("{{\"type\":\"urn:ietf:params:acme:error:{kind}\",\"detail\":\"x\"}}");
            let problem: Problem = serde_json::from_str(&text).unwrap();
            assert_eq!(Failure::from(Error::Api(problem)).is_refusal, is_refusal, "{kind}");
        }
    }
}
