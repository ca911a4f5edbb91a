//! TLS on the public listener, from PEM files.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::Tls;
use crate::model::Time;

/// Why a TLS identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has not what it must have.
    #[error("{path}: {error} (it must be a PEM file that suppressd may read)")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rustls::pki_types::pem::Error,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("{path}: {error} (give the key that belongs to http.tls.certificate)")]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why.
        error: rustls::Error,
    },
}

/// What the public listener shows of itself.
pub struct Identity {
    /// Begins TLS with it.
    pub acceptor: TlsAcceptor,
    /// When its certificate ends, if that can be told.
    pub end: Option<Time>,
}

/// Reads a TLS identity.
///
/// # Errors
/// When a file cannot be read or used.
pub fn identity(tls: &Tls) -> Result<Identity, TlsError> {
    let file = |path: &PathBuf| {
        let path = path.clone();
        move |error| TlsError::File { path, error }
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(file(&tls.certificate))?;
    let end = chain.first().and_then(end);
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(file(&tls.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |error| TlsError::Key { path: tls.key.clone(), error };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { acceptor: TlsAcceptor::from(Arc::new(config)), end })
}

/// When a certificate ends (RFC 5280, section 4.1.2.5).
fn end(certificate: &CertificateDer<'_>) -> Option<Time> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    i64::try_from(validity.not_after.to_unix_duration().as_secs()).ok().map(Time::from_seconds)
}
