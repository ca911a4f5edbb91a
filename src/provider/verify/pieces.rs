//! What a signature covers and where it stands, as data.
//!
//! The same description verifies and signs, so that a sample is signed as its provider would.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER};
use data_encoding::{Encoding as Alphabet, HEXLOWER_PERMISSIVE};
use http::header::{HeaderName, HeaderValue};
use percent_encoding::NON_ALPHANUMERIC;
use serde_json::Value;

use super::{Draft, Notification, Refusal, only, pointer};
use crate::model::Time;
use crate::provider::wire;
use std::borrow::Cow;
use std::time::Duration;

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A fixed text.
    Text(String),
    /// The body, as received.
    Body,
    /// The URL that the provider calls, as it was entered there.
    Url,
    /// The timestamp's text, as received.
    Stamp,
    /// A header's value.
    Header(HeaderName),
    /// A text in the JSON body, by pointer (RFC 6901).
    Pointer(String),
    /// The fields of a form body, sorted by name: names and values without separators.
    SortedForm,
    /// What the one field of a form body holds: see `payload`.
    Payload,
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a header.
    Header(HeaderName),
    /// In the JSON body, by pointer (RFC 6901).
    Pointer(String),
}

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal, either case.
    Hex,
    /// Base64 (RFC 4648, section 4).
    Base64,
    /// Base64 for URLs (RFC 4648, section 5).
    Base64Url,
    /// Base64 (RFC 4648, section 4), percent-encoded as in a URL (RFC 3986, section 2.1).
    Base64Percent,
}

/// How signatures stand in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Alone, after a prefix that may be missing.
    Plain(String),
    /// `t=…,v1=…[,v1=…]`, with commas or semicolons: the names of the timestamp and of the
    /// signatures.
    Pairs(String, String),
    /// `v1,… v1,…`: the version before each signature, a list with spaces.
    List(String),
}

/// A signed timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Where it stands; `None`: among the pairs of the signature's header.
    pub place: Option<Place>,
    /// Whether it counts milliseconds, not seconds.
    pub millis: bool,
    /// How far it may be from our clock, either way. `None`: as far as it likes.
    pub tolerance: Option<Duration>,
}

/// What is signed, and where the signature stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Where the signature stands.
    pub place: Place,
    /// How its bytes are written.
    pub encoding: Encoding,
    /// How it stands there.
    pub form: Form,
    /// What it covers.
    pub signed: Vec<Piece>,
    /// The timestamp, if one is signed.
    pub stamp: Option<Stamp>,
}

/// The signatures that stand in their place, and the timestamp if it stands there too.
type Given<'g> = (Vec<Vec<u8>>, Option<&'g [u8]>);

/// What a notification gives a scheme to check.
pub(super) struct Claim {
    /// The signatures it bears; one of them must be right.
    pub(super) signatures: Vec<Vec<u8>>,
    /// The bytes that were signed.
    pub(super) message: Vec<u8>,
}

impl Encoding {
    /// Reads bytes. Base64 is taken with and without its padding.
    pub(super) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        let either = |padded: Alphabet, bare: Alphabet| {
            padded.decode(text).or_else(|_| bare.decode(text)).ok()
        };
        match self {
            Encoding::Hex => HEXLOWER_PERMISSIVE.decode(text).ok(),
            Encoding::Base64 => either(BASE64, BASE64_NOPAD),
            Encoding::Base64Url => either(BASE64URL, BASE64URL_NOPAD),
            Encoding::Base64Percent => {
                let plain: Vec<u8> = percent_encoding::percent_decode(text).collect();
                Encoding::Base64.decode(&plain)
            }
        }
    }

    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Hex => HEXLOWER.encode(bytes),
            Encoding::Base64 => BASE64.encode(bytes),
            Encoding::Base64Url => BASE64URL.encode(bytes),
            Encoding::Base64Percent => {
                let plain = BASE64.encode(bytes);
                percent_encoding::utf8_percent_encode(&plain, NON_ALPHANUMERIC).to_string()
            }
        }
    }
}

impl Place {
    /// The name of the place, for refusals.
    pub(super) fn name(&self) -> String {
        match self {
            Place::Header(name) => format!("header {name}"),
            Place::Pointer(pointer) => format!("{pointer} in the body"),
        }
    }

    fn value(&self, notification: &Notification<'_>) -> Result<Vec<u8>, Refusal> {
        match self {
            Place::Header(name) => only(notification.headers, name).map(<[u8]>::to_vec),
            Place::Pointer(pointer) => text_at(notification.body, pointer),
        }
    }

    fn put(&self, draft: &mut Draft, value: &str) -> Result<(), String> {
        match self {
            Place::Header(name) => put_header(draft, name, value),
            Place::Pointer(pointer) => put_text(draft, pointer, value),
        }
    }
}

impl Scheme {
    /// What is signed of a notification that has a signature.
    pub fn message(&self, notification: &Notification<'_>) -> Option<Vec<u8>> {
        self.claim(notification).ok().map(|claim| claim.message)
    }

    /// What a notification claims; its timestamp is checked already.
    pub(super) fn claim(&self, notification: &Notification<'_>) -> Result<Claim, Refusal> {
        let given = self.place.value(notification)?;
        let (signatures, stamp) = self.signatures(&given)?;
        let stamp = match &self.stamp {
            None => Vec::new(),
            Some(rule) => self.stamp(rule, stamp, notification)?,
        };
        let mut message = Vec::new();
        for piece in &self.signed {
            piece.append(notification, &stamp, &mut message)?;
        }
        Ok(Claim { signatures, message })
    }

    /// Refuses what cannot be authentic whatever its body is.
    pub(super) fn verify_head(&self, notification: &Notification<'_>) -> Result<(), Refusal> {
        let in_head = |place: &Place| matches!(place, Place::Header(_));
        if !in_head(&self.place) {
            return Ok(());
        }
        let given = self.place.value(notification)?;
        let (_, stamp) = self.signatures(&given)?;
        if let Some(rule) = &self.stamp
            && rule.place.as_ref().is_none_or(in_head)
        {
            self.stamp(rule, stamp, notification)?;
        }
        let headers = self.signed.iter().filter(|piece| matches!(piece, Piece::Header(_)));
        headers.into_iter().try_for_each(|piece| piece.append(notification, &[], &mut Vec::new()))
    }

    /// The signatures that stand in their place, and the timestamp if it stands there too.
    fn signatures<'g>(&self, given: &'g [u8]) -> Result<Given<'g>, Refusal> {
        let (stamp, texts) = self.form.split(given);
        let signatures: Vec<Vec<u8>> =
            texts.into_iter().filter_map(|text| self.encoding.decode(text)).collect();
        if signatures.is_empty() {
            return Err(Refusal::Malformed(self.place.name()));
        }
        Ok((signatures, stamp))
    }

    /// The timestamp, as received, if it is near enough.
    fn stamp(
        &self,
        rule: &Stamp,
        beside: Option<&[u8]>,
        notification: &Notification<'_>,
    ) -> Result<Vec<u8>, Refusal> {
        let malformed = || Refusal::Malformed(self.place.name());
        let text = match &rule.place {
            Some(place) => place.value(notification)?,
            None => beside.ok_or_else(malformed)?.to_vec(),
        };
        rule.check(&text, notification.now)?;
        Ok(text)
    }

    /// Readies a draft: everything that is signed is put in, then the signature that `sign` makes.
    pub(super) fn sign(
        &self,
        draft: &mut Draft,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, String>,
    ) -> Result<(), String> {
        let seconds = draft.now.second();
        let stamp = match &self.stamp {
            None => String::new(),
            Some(rule) => {
                let text = if rule.millis { seconds * 1_000 } else { seconds }.to_string();
                if let Some(place) = &rule.place {
                    place.put(draft, &text)?;
                }
                text
            }
        };
        let token = format!("{:032x}", draft.now.nanos());
        for piece in &self.signed {
            match piece {
                Piece::Header(name) if !draft.headers.contains_key(name) => {
                    put_header(draft, name, &token)?;
                }
                Piece::Pointer(pointer) if text_at(&draft.body, pointer).is_err() => {
                    put_text(draft, pointer, &token)?;
                }
                _ => {}
            }
        }
        let mut message = Vec::new();
        for piece in &self.signed {
            let refused = |refusal: Refusal| refusal.to_string();
            piece.append(&draft.notification(), stamp.as_bytes(), &mut message).map_err(refused)?;
        }
        let signature = self.encoding.encode(&sign(&message)?);
        self.place.put(draft, &self.form.join(&stamp, &signature))
    }
}

impl Form {
    /// The timestamp, if it stands here, and the texts of the signatures.
    fn split<'a>(&self, given: &'a [u8]) -> (Option<&'a [u8]>, Vec<&'a [u8]>) {
        match self {
            Form::Plain(prefix) => {
                let bare = given.strip_prefix(prefix.as_bytes()).unwrap_or(given);
                (None, vec![bare])
            }
            Form::Pairs(stamp, signature) => {
                let pairs = given.split(|b| b",;".contains(b)).map(<[u8]>::trim_ascii);
                let values = |name: &str| -> Vec<&'a [u8]> {
                    let value = |pair: &'a [u8]| {
                        pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
                    };
                    pairs.clone().filter_map(value).collect()
                };
                (values(stamp).first().copied(), values(signature))
            }
            Form::List(version) => {
                let entry = |entry: &'a [u8]| {
                    entry.strip_prefix(version.as_bytes()).and_then(|rest| rest.strip_prefix(b","))
                };
                (None, given.split(|b| *b == b' ').filter_map(entry).collect())
            }
        }
    }

    fn join(&self, stamp: &str, signature: &str) -> String {
        match self {
            Form::Plain(_) => signature.to_owned(),
            Form::Pairs(time, name) => format!("{time}={stamp},{name}={signature}"),
            Form::List(version) => format!("{version},{signature}"),
        }
    }
}

impl Stamp {
    fn check(&self, text: &[u8], now: Time) -> Result<(), Refusal> {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        let number = number.ok_or_else(|| Refusal::Malformed("the timestamp".to_owned()))?;
        let seconds = if self.millis { number / 1_000 } else { number };
        let given = Time::from_seconds(seconds);
        let apart = now.since(given).max(given.since(now));
        match self.tolerance {
            Some(tolerance) if apart > tolerance => Err(Refusal::Stale(apart)),
            _ => Ok(()),
        }
    }
}

impl Piece {
    fn append(
        &self,
        notification: &Notification<'_>,
        stamp: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        match self {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Body => out.extend_from_slice(notification.body),
            Piece::Url => {
                let url = notification.url.ok_or(Refusal::NoUrl)?;
                out.extend_from_slice(url.as_bytes());
            }
            Piece::Stamp => out.extend_from_slice(stamp),
            Piece::Header(name) => out.extend_from_slice(only(notification.headers, name)?),
            Piece::Pointer(pointer) => out.extend(text_at(notification.body, pointer)?),
            Piece::SortedForm => {
                let mut fields = fields_of(notification.body).ok_or_else(too_many_fields)?;
                fields.sort();
                out.extend(fields.into_iter().flat_map(|(name, value)| [name, value]).flatten());
            }
            Piece::Payload => out.extend_from_slice(&payload(notification.body)),
        }
        Ok(())
    }
}

/// Most fields of a form that is signed; providers send one or two. Each takes memory before
/// anything is known of its sender.
const FIELDS_MAX: usize = 1_000;

fn too_many_fields() -> Refusal {
    Refusal::Malformed("the form".to_owned())
}

/// The fields of a form (WHATWG URL, "application/x-www-form-urlencoded parsing"), to the byte:
/// what is no UTF-8 must not pass for something else that is none.
/// `None`: there are too many.
fn fields_of(form: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let fields = form.split(|byte| *byte == b'&').filter(|field| !field.is_empty());
    let pair = |field: &[u8]| {
        let mut parts = field.splitn(2, |byte| *byte == b'=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        (decoded(name), decoded(value))
    };
    let known: Vec<&[u8]> = fields.take(FIELDS_MAX + 1).collect();
    (known.len() <= FIELDS_MAX).then(|| known.into_iter().map(pair).collect())
}

fn decoded(part: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = part.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    percent_encoding::percent_decode(&spaced).collect()
}

/// What a form with one field holds, whatever the field is called: JSON, decoded. A body that is
/// JSON itself is its own payload.
pub(in crate::provider) fn payload(body: &[u8]) -> Cow<'_, [u8]> {
    let is_json = matches!(wire::unmarked(body).trim_ascii_start().first(), Some(b'{' | b'['));
    match body.iter().position(|byte| *byte == b'=').filter(|_| !is_json) {
        Some(at) => Cow::Owned(decoded(&body[at + 1..])),
        None => Cow::Borrowed(body),
    }
}

/// A text or number in a JSON body, as text.
pub(in crate::provider) fn text_at(body: &[u8], pointer: &str) -> Result<Vec<u8>, Refusal> {
    let missing = || Refusal::Missing(Place::Pointer(pointer.to_owned()).name());
    let text = String::from_utf8_lossy(wire::unmarked(body));
    pointer::find(text.as_bytes(), pointer).map(String::into_bytes).ok_or_else(missing)
}

fn put_header(draft: &mut Draft, name: &HeaderName, value: &str) -> Result<(), String> {
    let value = HeaderValue::from_str(value)
        .map_err(|_| format!("the value for header {name} cannot stand in a header"))?;
    draft.headers.insert(name, value);
    Ok(())
}

/// Puts a text into a JSON body, making what is missing on its way.
fn put_text(draft: &mut Draft, pointer: &str, text: &str) -> Result<(), String> {
    let unfit = || format!("the sample's body has no place for {pointer}");
    let mut body: Value = serde_json::from_slice(&draft.body).map_err(|_| unfit())?;
    if !wire::put(&mut body, pointer, text.into()) {
        return Err(unfit());
    }
    draft.body = body.to_string().into_bytes();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_signed_to_the_byte() {
        let fields = |form: &[u8]| fields_of(form).unwrap();
        let pair = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
        assert_eq!(
            fields(b"a=b+c&&%3D=%26&d"),
            [pair(b"a", b"b c"), pair(b"=", b"&"), pair(b"d", b"")]
        );
        assert_eq!(fields(b"a=b=c"), [pair(b"a", b"b=c")]);
        // Neither is UTF-8, and each is itself.
        assert_ne!(fields(b"a=%d3"), fields(b"a=%d4"));
        assert_ne!(fields(b"a=\xd3"), fields(b"a=\xd4"));
        assert_eq!(fields(b"a=\xd3"), fields(b"a=%D3"));
        assert_eq!(fields_of(&b"a&".repeat(FIELDS_MAX)).unwrap().len(), FIELDS_MAX);
        assert_eq!(fields_of(&b"a&".repeat(FIELDS_MAX + 1)), None);
    }
}
