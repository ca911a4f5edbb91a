//! Signatures by a key that only the provider has: ECDSA, RSA, Ed25519.

use data_encoding::{BASE64, BASE64_NOPAD};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_cert::der::{Decode, DecodePem, Encode};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::{Draft, Notification, Refusal, Scheme};

/// The kind of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256, the signature in DER.
    EcdsaP256,
    /// RSA PKCS#1 v1.5 with SHA-1; only where a provider offers nothing better.
    RsaSha1,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaSha256,
    /// Ed25519.
    Ed25519,
}

/// A public key, as the algorithm wants its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// A signature over pieces of the request.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// What is signed, and where the signature stands.
    pub scheme: Scheme,
    /// The kind of signature.
    pub algorithm: Algorithm,
    /// The keys, any of which is good.
    pub keys: Vec<Key>,
}

impl Algorithm {
    fn ring(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Algorithm::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
            Algorithm::RsaSha1 => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::RsaSha256 => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            Algorithm::Ed25519 => &ED25519,
        }
    }

    /// Whether `signature` is that of `message` by `key`.
    pub(super) fn verify(self, key: &Key, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.ring(), &key.0).verify(message, signature).is_ok()
    }
}

impl Key {
    /// From a SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), in PEM or base64 without armour.
    /// `None` when it is none.
    pub fn from_spki_text(text: &str) -> Option<Key> {
        let text = text.trim();
        let info = if text.starts_with("-----BEGIN") {
            SubjectPublicKeyInfoOwned::from_pem(text).ok()?
        } else {
            let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            let der = BASE64.decode(bare.as_bytes()).ok()?;
            SubjectPublicKeyInfoOwned::from_der(&der).ok()?
        };
        Key::from_info(&info)
    }

    /// From a certificate (RFC 5280), in PEM; the first, where there are several.
    pub fn from_certificate(pem: &[u8]) -> Option<Key> {
        let certificate = x509_cert::Certificate::load_pem_chain(pem).ok()?.into_iter().next()?;
        Key::from_info(certificate.tbs_certificate().subject_public_key_info())
    }

    /// From the 32 bytes of an Ed25519 key in base64, after `whpk_` if that is there.
    pub fn from_ed25519_text(text: &str) -> Option<Key> {
        let text = text.trim();
        let bare = text.strip_prefix("whpk_").unwrap_or(text).as_bytes();
        let bytes = BASE64.decode(bare).or_else(|_| BASE64_NOPAD.decode(bare)).ok()?;
        (bytes.len() == 32).then_some(Key(bytes))
    }

    fn from_info(info: &SubjectPublicKeyInfoOwned) -> Option<Key> {
        // A whole number of bytes, or it is no key of a kind we know.
        info.to_der().ok()?;
        info.subject_public_key.as_bytes().map(|bytes| Key(bytes.to_vec()))
    }
}

impl PublicKey {
    pub(super) fn verify(&self, notification: &Notification<'_>) -> Result<(), Refusal> {
        let claim = self.scheme.claim(notification)?;
        let right = |key: &Key| {
            let mut signatures = claim.signatures.iter();
            signatures.any(|signature| self.algorithm.verify(key, &claim.message, signature))
        };
        // Public keys are public: there is nothing to learn from how long this takes.
        let found = self.keys.iter().any(right);
        found.then_some(()).ok_or(Refusal::Mismatch(self.scheme.place.name()))
    }

    pub(super) fn sign(&self, _draft: &mut Draft) -> Result<(), String> {
        Err("only the provider can sign for this source: use the test button of its webhook page"
            .to_owned())
    }
}
