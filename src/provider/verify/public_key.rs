//! Signatures by a key that only the provider has: ECDSA, RSA, Ed25519.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};
use http::HeaderName;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use x509_cert::der::asn1::{Any, UintRef};
use x509_cert::der::{Decode, DecodePem, Encode, Tag};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::{Draft, Notification, Refusal, Scheme, only};

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
pub struct Key {
    bytes: Vec<u8>,
    /// What a set of keys calls it.
    id: Option<String>,
}

/// A signature over pieces of the request.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// What is signed, and where the signature stands.
    pub scheme: Scheme,
    /// The kind of signature.
    pub algorithm: Algorithm,
    /// The keys, any of which is good.
    pub keys: Vec<Key>,
    /// The header that names the key, where there is one: of keys with a name, no other is tried.
    pub key_id: Option<HeaderName>,
}

/// One key of a set (RFC 7517, section 4; RFC 7518, section 6.3.1).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
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
        UnparsedPublicKey::new(self.ring(), &key.bytes).verify(message, signature).is_ok()
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
        (bytes.len() == 32).then_some(Key { bytes, id: None })
    }

    fn from_info(info: &SubjectPublicKeyInfoOwned) -> Option<Key> {
        // A whole number of bytes, or it is no key of a kind we know.
        info.to_der().ok()?;
        let bytes = info.subject_public_key.as_bytes()?.to_vec();
        Some(Key { bytes, id: None })
    }

    /// The RSA keys of a set of keys as JSON (RFC 7517, section 5). `None` when it has none, or one
    /// of them cannot be read.
    pub fn from_jwks(text: &str) -> Option<Vec<Key>> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Jwk>,
        }
        let set: Set = serde_json::from_str(text).ok()?;
        let keys = set.keys.into_iter().filter(|key| key.kty == "RSA").map(Key::from_jwk);
        keys.collect::<Option<Vec<Key>>>().filter(|keys| !keys.is_empty())
    }

    /// As an RSAPublicKey (RFC 8017, appendix A.1.1).
    fn from_jwk(jwk: Jwk) -> Option<Key> {
        let number = |text: Option<String>| {
            let bytes = BASE64URL_NOPAD.decode(text?.trim_end_matches('=').as_bytes()).ok()?;
            UintRef::new(&bytes).ok()?.to_der().ok()
        };
        let numbers = [number(jwk.n)?, number(jwk.e)?].concat();
        let bytes = Any::new(Tag::Sequence, numbers).ok()?.to_der().ok()?;
        Some(Key { bytes, id: jwk.kid })
    }
}

impl PublicKey {
    pub(super) fn verify(&self, notification: &Notification<'_>) -> Result<(), Refusal> {
        let claim = self.scheme.claim(notification)?;
        let named = match &self.key_id {
            Some(name) if notification.headers.contains_key(name) => {
                Some(only(notification.headers, name)?)
            }
            _ => None,
        };
        let meant = |key: &&Key| match (&key.id, named) {
            (Some(id), Some(named)) => id.as_bytes() == named,
            _ => true,
        };
        let right = |key: &Key| {
            let mut signatures = claim.signatures.iter();
            signatures.any(|signature| self.algorithm.verify(key, &claim.message, signature))
        };
        // Public keys are public: there is nothing to learn from how long this takes.
        let found = self.keys.iter().filter(meant).any(right);
        found.then_some(()).ok_or(Refusal::Mismatch(self.scheme.place.name()))
    }

    pub(super) fn sign(&self, _draft: &mut Draft) -> Result<(), String> {
        Err("only the provider can sign for this source: use the test button of its webhook page"
            .to_owned())
    }
}
