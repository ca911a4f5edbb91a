//! TLS on the public listener, from PEM files that are read again when they change, whoever writes
//! them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate as Parsed;
use x509_cert::der::Decode;

use super::{Key, Tls};
use crate::acme::{self, Challenges};
use crate::admin::Certificate;
use crate::clock;
use crate::current::Current;
use crate::model::Time;
use crate::stop::stopped;
use crate::telemetry;

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why a TLS identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has not what it must have.
    #[error("{place}: {error} (it must be a PEM file that suppressd may read)")]
    File {
        /// The file, or what else holds it.
        place: String,
        /// Why.
        error: pem::Error,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("{place}: {error} (give the key that belongs to the certificate)")]
    Key {
        /// The key's file, or what else holds it.
        place: String,
        /// Why.
        error: rustls::Error,
    },
}

/// What the public listener shows of itself.
#[derive(Debug)]
pub struct Identity {
    tls: Tls,
    /// What answers a CA. `None`: the files are not ours.
    challenges: Option<Arc<Challenges>>,
    /// The files that were read.
    read: Vec<Option<Version>>,
    shown: Current<Option<Arc<CertifiedKey>>>,
    state: Arc<Current<Certificate>>,
}

impl Identity {
    /// Reads the files. With `challenges` they are those of a [`acme::Keeper`]: until it has made
    /// them, nothing is shown, and no handshake succeeds.
    ///
    /// # Errors
    /// When one cannot be read or used.
    pub fn read(tls: &Tls, challenges: Option<Arc<Challenges>>) -> Result<Arc<Identity>, TlsError> {
        let versions = tls.versions();
        let (shown, end) = match read(tls) {
            Ok((shown, end)) => (Some(Arc::new(shown)), end),
            Err(_) if challenges.is_some() => (None, None),
            Err(error) => return Err(error),
        };
        Ok(Arc::new(Identity {
            tls: tls.clone(),
            challenges,
            read: versions,
            shown: Current::new(shown),
            state: Arc::new(Current::new(Certificate { end, problem: None })),
        }))
    }

    /// How its certificate stands, now and later.
    pub fn state(&self) -> Arc<Current<Certificate>> {
        Arc::clone(&self.state)
    }

    /// Whether a client that calls that host would take its certificate for it; also where that
    /// cannot be told.
    pub fn is_of(&self, host: &str) -> bool {
        let shown = self.shown.get();
        let first = shown.as_ref().as_ref().and_then(|shown| shown.cert.first());
        let parsed = first.and_then(|first| ParsedCertificate::try_from(first).ok());
        let name = ServerName::try_from(host).ok();
        parsed.zip(name).is_none_or(|(parsed, name)| verify_server_name(&parsed, &name).is_ok())
    }

    /// Tells if the term of its certificate has ended or soon will, and somebody must renew it.
    pub fn tell_term(&self) {
        let term = self.state.get().term(clock::now());
        if let Some(term) = term.filter(|_| self.challenges.is_none()) {
            telemetry::health::certificate_term(&term);
        }
    }

    /// Begins TLS with the certificate that there is then.
    ///
    /// # Errors
    /// When there can be no TLS at all.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let unusable = |error| TlsError::Key { place: self.tls.key.place(), error };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if self.challenges.is_some() {
            config.alpn_protocols.push(acme::PROTOCOL.to_vec());
        }
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again whenever they change, until the stop. What cannot be used of them is
    /// told, and the certificate of before goes on: between two writings they may not fit.
    pub async fn watch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut seen = self.read.clone();
        while timeout(LOOK_EVERY, stopped(&mut stop)).await.is_err() {
            let (identity, before) = (Arc::clone(&self), seen.clone());
            let look = move || {
                let now = identity.tls.versions();
                if now != before {
                    identity.renew();
                }
                now
            };
            if let Ok(now) = tokio::task::spawn_blocking(look).await {
                seen = now;
            }
        }
    }

    fn renew(&self) {
        match read(&self.tls) {
            Ok((shown, end)) => {
                self.shown.set(Some(Arc::new(shown)));
                self.state.set(Certificate { end, problem: None });
                telemetry::health::certificate_read(end);
                self.tell_term();
            }
            Err(error) => {
                let end = self.state.get().end;
                telemetry::health::certificate_unusable(&error);
                self.state.set(Certificate { end, problem: Some(error.to_string()) });
            }
        }
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(challenges) = self.challenges.as_ref().filter(|_| is_of_ca(&hello)) {
            return challenges.answer(hello.server_name()?);
        }
        (*self.shown.get()).clone()
    }
}

/// Whether a CA asks, which offers this protocol and no other (RFC 8737, section 3).
fn is_of_ca(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offered| {
        offered.next() == Some(acme::PROTOCOL) && offered.next().is_none()
    })
}

/// What tells one version of a file from another.
type Version = (u64, u64, u64, i64, i64);

impl Tls {
    /// The present versions of its files; `None` of one that is not there.
    fn versions(&self) -> Vec<Option<Version>> {
        let version = |path: &Path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
        };
        let key = match &self.key {
            Key::File(path) => Some(path),
            Key::Secret(_) => None,
        };
        [Some(&self.certificate), key].into_iter().flatten().map(|path| version(path)).collect()
    }
}

impl Key {
    fn place(&self) -> String {
        match self {
            Key::File(path) => path.display().to_string(),
            Key::Secret(_) => "http.tls.key".to_owned(),
        }
    }

    fn read(&self) -> Result<PrivateKeyDer<'static>, pem::Error> {
        match self {
            Key::File(path) => PrivateKeyDer::from_pem_file(path),
            Key::Secret(secret) => PrivateKeyDer::from_pem_slice(secret.reveal()),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The chain with its key, and when its first certificate ends, if that can be told.
fn read(tls: &Tls) -> Result<(CertifiedKey, Option<Time>), TlsError> {
    let in_file = |path: &PathBuf| {
        let place = path.display().to_string();
        move |error| TlsError::File { place, error }
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(in_file(&tls.certificate))?;
    let end = chain.first().and_then(end);
    let place = || tls.key.place();
    let key = tls.key.read().map_err(|error| TlsError::File { place: place(), error })?;
    let shown = CertifiedKey::from_der(chain, key, &provider());
    Ok((shown.map_err(|error| TlsError::Key { place: place(), error })?, end))
}

/// When a certificate ends (RFC 5280, section 4.1.2.5).
fn end(certificate: &CertificateDer<'_>) -> Option<Time> {
    let certificate = Parsed::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    i64::try_from(validity.not_after.to_unix_duration().as_secs()).ok().map(Time::from_seconds)
}
