//! How a described provider proves itself: the knobs of a signature.

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use http::header::HeaderName;
use serde::Deserialize;

use super::super::verify::{
    Algorithm, Check, Encoding, Form, Hash, Mac, Piece, Place, PublicKey, PublicKeyBytes, Scheme,
    Stamp,
};
use super::super::{SettingError, Settings};
use crate::secret::Secret;
use crate::units;

/// The `verify` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proof {
    #[serde(rename = "type")]
    kind: String,
    /// The field of the URL's query that holds the secret.
    name: Option<String>,
    header: Option<String>,
    pointer: Option<String>,
    hash: Option<String>,
    encoding: Option<String>,
    parse: Option<String>,
    signed: Option<String>,
    timestamp: Option<String>,
    unit: Option<String>,
    tolerance: Option<String>,
    secret_decoding: Option<String>,
    /// Whether what is signed is believed with one body only.
    #[serde(default)]
    once: bool,
}

/// A problem with one of the knobs: which, and what to write.
type Knob<T> = Result<T, (&'static str, &'static str)>;

/// A key that does nothing, what that means, and what to do.
type Doubt = (&'static str, &'static str, &'static str);

impl Proof {
    pub(super) fn check(&self, settings: &Settings) -> Result<Check, SettingError> {
        let problem = |(knob, hint): (&'static str, &'static str)| {
            let is_secret = knob == "secret";
            let key = if is_secret { knob.to_owned() } else { format!("verify.{knob}") };
            settings.problem(&key, "cannot be used", hint)
        };
        if self.kind == "query" {
            return self.in_query(settings).map_err(problem);
        }
        let scheme = self.scheme().map_err(problem)?;
        let algorithm = match self.kind.as_str() {
            "hmac" => {
                let hash = self.hash().map_err(problem)?;
                let keys = self.keys(settings).map_err(problem)?;
                return Ok(Check::Mac(Mac { scheme, hash, keys }));
            }
            "ecdsa-p256" => Algorithm::EcdsaP256,
            "rsa-sha256" => Algorithm::RsaSha256,
            "ed25519" => Algorithm::Ed25519,
            _ => {
                let hint = "write hmac, ecdsa-p256, rsa-sha256, ed25519 or query; for basic, \
                    bearer and header_name no verify is needed";
                return Err(problem(("type", hint)));
            }
        };
        let keys = public_keys(settings, algorithm)?;
        Ok(Check::PublicKey(PublicKey { scheme, algorithm, keys, key_id: None }))
    }

    /// What it looks at, in a few words.
    pub(super) fn words(&self) -> String {
        let hash = self.hash.as_deref().unwrap_or("sha256").to_ascii_uppercase();
        let what = match self.kind.as_str() {
            "query" => {
                let name = self.name.as_deref().unwrap_or_default();
                return format!("a secret as {name} in the URL's query");
            }
            "hmac" => format!("HMAC-{hash}"),
            "ed25519" => "Ed25519 signature".to_owned(),
            kind => format!("{} signature", kind.to_ascii_uppercase()),
        };
        match (&self.header, &self.pointer) {
            (Some(header), _) => format!("{what} in header {header}"),
            (None, place) => format!("{what} at {} in the body", place.as_deref().unwrap_or("?")),
        }
    }

    /// Whether what a form holds is signed.
    pub(super) fn signs_payload(&self) -> bool {
        self.signed.as_deref().is_some_and(|signed| signed.contains("{payload}"))
    }

    /// Whether a header is among what is signed. A secret in the URL signs nothing, and covers as
    /// little of the body.
    pub(super) fn covers(&self, name: &str) -> bool {
        let Ok(scheme) = self.scheme() else { return true };
        let is_named = |header: &HeaderName| header.as_str().eq_ignore_ascii_case(name);
        let is_stamp =
            |stamp: &Stamp| matches!(&stamp.place, Some(Place::Header(header)) if is_named(header));
        let has_stamp = scheme.stamp.as_ref().is_some_and(is_stamp);
        scheme.signed.iter().any(|piece| match piece {
            Piece::Header(header) => is_named(header),
            Piece::Stamp => has_stamp,
            _ => false,
        })
    }

    /// What of it does nothing: the key, what that means, and what to do.
    pub(super) fn doubts(&self, settings: &Settings) -> Vec<Doubt> {
        let has = |key: &str| !settings.secrets(key).is_empty();
        let is_mac = self.kind == "hmac";
        let by_secret = is_mac || self.kind == "query";
        let signs = |blank: &str| self.signed.as_deref().is_some_and(|text| text.contains(blank));
        let covers_body =
            self.signed.is_none() || ["{body", "{payload", "{form"].map(signs).contains(&true);
        let unused = "is used by no verify of this type";
        let remove = "remove it";
        let doubts = [
            (!by_secret && has("secret"), ("secret", unused, remove)),
            (by_secret && has("public_key"), ("public_key", unused, remove)),
            (!is_mac && self.hash.is_some(), ("verify.hash", unused, remove)),
            (!is_mac && self.secret_decoding.is_some(), ("verify.secret_decoding", unused, remove)),
            (
                self.unit.is_some() && self.timestamp.is_none(),
                ("verify.unit", "stands without verify.timestamp, whose unit it is", remove),
            ),
            (self.once && covers_body, ("verify.once", "does nothing: the body is signed", remove)),
        ];
        doubts.into_iter().filter(|(is_so, _)| *is_so).map(|(_, doubt)| doubt).collect()
    }

    /// The secret as a field of the URL's query.
    fn in_query(&self, settings: &Settings) -> Knob<Check> {
        let hint = "name the field of the query, such as \"code\" for …/hooks/NAME?code=SECRET";
        let name = self.name.clone().filter(|name| !name.is_empty()).ok_or(("name", hint))?;
        let keys = settings.secrets("secret");
        let is_text = |key: &Secret| key.reveal_text().is_some_and(|text| !text.trim().is_empty());
        if keys.is_empty() || !keys.iter().all(is_text) {
            return Err(("secret", "a query needs one, and that is a line of text"));
        }
        Ok(Check::Query(name, keys.to_vec()))
    }

    /// How it is signed, where what is signed does not cover the body, and counts once.
    pub(super) fn once(&self) -> Option<Scheme> {
        if self.once { self.scheme().ok() } else { None }
    }

    fn scheme(&self) -> Knob<Scheme> {
        let place = match (&self.header, &self.pointer) {
            (Some(name), None) => Place::Header(header(name).map_err(|hint| ("header", hint))?),
            (None, Some(pointer)) => Place::Pointer(pointer.clone()),
            _ => return Err(("header", "name a header, or a pointer into the body: one of them")),
        };
        let stamp = self.timestamp.as_deref().map(|text| self.stamp(text)).transpose()?;
        let signed = self.signed.as_deref().unwrap_or("{body}");
        let signed = pieces(signed).map_err(|hint| ("signed", hint))?;
        self.proves_something(&signed, stamp.as_ref())?;
        Ok(Scheme { place, encoding: self.encoding()?, form: self.form()?, signed, stamp })
    }

    /// Whether what is signed proves what it seems to: that the body is the sender's, and its time.
    fn proves_something(&self, signed: &[Piece], stamp: Option<&Stamp>) -> Knob<()> {
        let is_body =
            |piece: &Piece| matches!(piece, Piece::Body | Piece::SortedForm | Piece::Payload);
        let covers_body = signed.iter().any(is_body);
        let changes =
            |piece: &Piece| matches!(piece, Piece::Stamp | Piece::Header(_) | Piece::Pointer(_));
        let once = self.once && signed.iter().any(changes);
        if !(covers_body || once) {
            let hint = "sign {body}, {payload} or {form}: anything could be sent under a signature \
                without it; where the provider signs a token only, that token and once = true";
            return Err(("signed", hint));
        }
        let has_stamp = signed.iter().any(|piece| matches!(piece, Piece::Stamp));
        let Some(stamp) = stamp else {
            return match (has_stamp, &self.tolerance) {
                (true, _) => Err(("signed", "{timestamp} needs verify.timestamp beside it")),
                (false, Some(_)) => Err(("tolerance", "it needs verify.timestamp beside it")),
                (false, None) => Ok(()),
            };
        };
        let covered = match &stamp.place {
            None => false,
            Some(Place::Header(name)) => {
                signed.iter().any(|piece| matches!(piece, Piece::Header(other) if other == name))
            }
            Some(Place::Pointer(pointer)) => {
                let same = |piece: &Piece| matches!(piece, Piece::Pointer(it) if it == pointer);
                covers_body || signed.iter().any(same)
            }
        };
        if has_stamp || covered {
            return Ok(());
        }
        Err((
            "timestamp",
            "it is not signed, so that anybody could change it: put {timestamp} \
            into verify.signed as the provider does, or leave it out",
        ))
    }

    fn encoding(&self) -> Knob<Encoding> {
        match self.encoding.as_deref() {
            None | Some("hex") => Ok(Encoding::Hex),
            Some("base64") => Ok(Encoding::Base64),
            Some("base64url") => Ok(Encoding::Base64Url),
            Some("base64-percent") => Ok(Encoding::Base64Percent),
            Some(_) => Err(("encoding", "write hex, base64, base64url or base64-percent")),
        }
    }

    fn hash(&self) -> Knob<Hash> {
        match self.hash.as_deref() {
            None | Some("sha256") => Ok(Hash::Sha256),
            Some("sha512") => Ok(Hash::Sha512),
            Some("sha1") => Ok(Hash::Sha1),
            Some(_) => Err(("hash", "write sha256, sha512 or sha1")),
        }
    }

    fn form(&self) -> Knob<Form> {
        let hint = "write plain, prefix:TEXT, kv:TIME,SIGNATURE or list:VERSION";
        let text = self.parse.as_deref().unwrap_or("plain");
        match text.split_once(':') {
            None if text == "plain" => Ok(Form::Plain(String::new())),
            Some(("prefix", prefix)) => Ok(Form::Plain(prefix.to_owned())),
            Some(("list", version)) => Ok(Form::List(version.trim_end_matches(',').to_owned())),
            Some(("kv", names)) => match names.split_once(',') {
                Some((time, name)) => Ok(Form::Pairs(time.to_owned(), name.to_owned())),
                None => Err(("parse", hint)),
            },
            _ => Err(("parse", hint)),
        }
    }

    fn stamp(&self, text: &str) -> Knob<Stamp> {
        let hint = "write header:NAME, pointer:/PATH, or signature where it is among its pairs";
        let place = match text.split_once(':') {
            None if text == "signature" => None,
            Some(("header", name)) => {
                Some(Place::Header(header(name).map_err(|hint| ("timestamp", hint))?))
            }
            Some(("pointer", pointer)) => Some(Place::Pointer(pointer.to_owned())),
            _ => return Err(("timestamp", hint)),
        };
        let millis = match self.unit.as_deref() {
            None | Some("s") => false,
            Some("ms") => true,
            Some(_) => return Err(("unit", "write s or ms")),
        };
        let span = |text: &str| units::duration(text).ok_or(("tolerance", "write 300s or so"));
        Ok(Stamp { place, millis, tolerance: self.tolerance.as_deref().map(span).transpose()? })
    }

    fn keys(&self, settings: &Settings) -> Knob<Vec<Secret>> {
        let secrets = settings.secrets("secret");
        if secrets.is_empty() {
            return Err(("type", "an hmac needs webhook.secret"));
        }
        let base64 = |bytes: &[u8]| BASE64.decode(bytes).or_else(|_| BASE64_NOPAD.decode(bytes));
        let decode = |secret: &Secret| -> Knob<Secret> {
            let bytes = secret.reveal().trim_ascii();
            let bad = |_| ("secret", "it is not written as verify.secret_decoding says");
            match self.secret_decoding.as_deref() {
                None | Some("utf8") => Ok(secret.clone()),
                Some("hex") => HEXLOWER_PERMISSIVE.decode(bytes).map(Secret::new).map_err(bad),
                Some("base64") => base64(bytes).map(Secret::new).map_err(bad),
                Some("whsec") => {
                    let bare = bytes.strip_prefix(b"whsec_").unwrap_or(bytes);
                    base64(bare).map(Secret::new).map_err(bad)
                }
                Some(_) => Err(("secret_decoding", "write utf8, hex, base64 or whsec")),
            }
        };
        let keys: Vec<Secret> = secrets.iter().map(decode).collect::<Knob<_>>()?;
        if keys.iter().any(|key| key.reveal().trim_ascii().is_empty()) {
            let hint = "webhook.secret is a key of no bytes, which protects nothing; set one";
            return Err(("secret", hint));
        }
        Ok(keys)
    }
}

fn public_keys(
    settings: &Settings,
    algorithm: Algorithm,
) -> Result<Vec<PublicKeyBytes>, SettingError> {
    let hint = "give the key in PEM, or its SubjectPublicKeyInfo in base64";
    let read = |secret: &Secret| {
        let text = secret.reveal_text()?;
        match algorithm {
            Algorithm::Ed25519 => {
                PublicKeyBytes::from_ed25519_text(text).or(PublicKeyBytes::from_spki_text(text))
            }
            _ => PublicKeyBytes::from_spki_text(text),
        }
    };
    let keys = settings.secrets("public_key");
    let keys: Option<Vec<PublicKeyBytes>> = keys.iter().map(read).collect();
    keys.filter(|keys| !keys.is_empty())
        .ok_or_else(|| settings.problem("public_key", "is missing or no public key", hint))
}

fn header(name: &str) -> Result<HeaderName, &'static str> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| "use letters, digits and - in its name")
}

/// A template such as `{timestamp}.{body}`.
fn pieces(template: &str) -> Result<Vec<Piece>, &'static str> {
    let hint = "use {body} {payload} {timestamp} {url} {form} {header:NAME} {ptr:/PATH} and plain \
        text";
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, tail)) = rest.split_once('{') {
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let (name, after) = tail.split_once('}').ok_or(hint)?;
        pieces.push(match name.split_once(':') {
            None => match name {
                "body" => Piece::Body,
                "timestamp" => Piece::Stamp,
                "url" => Piece::Url,
                "form" => Piece::SortedForm,
                "payload" => Piece::Payload,
                _ => return Err(hint),
            },
            Some(("header", name)) => Piece::Header(header(name)?),
            Some(("ptr", pointer)) => Piece::Pointer(pointer.to_owned()),
            Some(_) => return Err(hint),
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}
