//! What proves to a CA that a name leads here: a certificate for each name that it asks about.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// The protocol by which a CA asks, and nobody else (RFC 8737, section 6.2).
pub const PROTOCOL: &[u8] = b"acme-tls/1";

/// The certificates that answer, by name.
#[derive(Debug, Default)]
pub struct Challenges(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl Challenges {
    /// What a CA is shown that asks about a name.
    pub fn answer(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.all().get(&name.to_ascii_lowercase()).cloned()
    }

    /// Answers for a name from now on, by the digest of what the account and the CA agree on.
    pub(super) fn set(&self, name: &str, digest: &[u8]) -> Result<(), String> {
        let made = || {
            let mut params = CertificateParams::new([name.to_owned()])?;
            params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
            let key = KeyPair::generate()?;
            Ok::<_, rcgen::Error>((params.self_signed(&key)?, key))
        };
        let (certificate, key) = made().map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = ring::sign::any_supported_type(&key).map_err(|error| error.to_string())?;
        let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
        self.all().insert(name.to_ascii_lowercase(), Arc::new(shown));
        Ok(())
    }

    /// Answers nobody any more.
    pub(super) fn clear(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
