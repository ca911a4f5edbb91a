//! Who is believed: laws that every provider's webhook is held to without asking.
//!
//! `tests/fixtures/every-source.toml` has a source for each, by its own scheme where it has one.
//! Samples of those that we can sign, and notifications that only their provider could sign
//! (`tests/fixtures/signed`), are damaged in every way; none may pass and say something else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use suppressd::config::{self, Environment};
use suppressd::model::{Address, EventKind, Time};
use suppressd::provider::{ALL, Check, Draft, Notification};
use suppressd::webhook::Settings;

use super::providers::{header_lines, received, rows};

/// A source, and a notification that it believes.
struct Known {
    source: Settings,
    sent: Draft,
    /// The headers that were there before it was signed: they prove nothing.
    bare: HeaderMap,
}

fn sources(path: &Path) -> Vec<Settings> {
    let environment = Environment::new(|_| None, None);
    config::load(path, &environment).unwrap_or_else(|problems| panic!("{problems}")).webhooks
}

fn every_source() -> Vec<Settings> {
    sources(Path::new("tests/fixtures/every-source.toml"))
}

/// What the provider itself has signed, where we cannot.
fn captured(name: &str) -> Known {
    let path = Path::new("tests/fixtures/signed").join(name);
    let source = sources(&path.with_extension("toml")).remove(0);
    let text = fs::read(path.with_extension("request")).unwrap();
    let end = text.windows(2).position(|two| two == b"\n\n").unwrap();
    let mut headers = header_lines(std::str::from_utf8(&text[..end]).unwrap());
    let mut bare = HeaderMap::new();
    bare.extend(headers.remove("content-type").map(|kind| (http::header::CONTENT_TYPE, kind)));
    headers.extend(bare.clone());
    let (body, now) = (text[end + 2..].to_vec(), received());
    Known { sent: Draft::new(headers, body, source.url.clone(), now), source, bare }
}

/// A sample, signed by every check of the source. `None`: only the provider can sign.
fn sample(source: Settings) -> Option<Known> {
    let address = Address::parse("user@example.com").unwrap();
    let told = |kind| source.provider.sample(kind, &address, received());
    let body = match told(EventKind::HardBounce).or_else(|| told(EventKind::SoftBounce)) {
        Some(sample) => sample.body,
        // What is described in the configuration has no samples.
        None => br#"{"events":[{"event":"bounce","email":"user@example.com"}]}"#.to_vec(),
    };
    let (headers, url, now) = (HeaderMap::new(), source.url.clone(), received());
    let mut sent = Draft::new(headers, body, url, now);
    let is_signed = source.checks.iter().all(|check| check.sign(&mut sent).is_ok());
    is_signed.then_some(Known { source, sent, bare: HeaderMap::new() })
}

fn known() -> Vec<Known> {
    let known = every_source().into_iter().map(|source| {
        let name = source.source.as_str().to_owned();
        sample(source).unwrap_or_else(|| captured(&name))
    });
    known.collect()
}

fn passes(source: &Settings, sent: &Notification<'_>) -> bool {
    !source.checks.is_empty() && source.checks.iter().all(|check| check.verify(sent, None).is_ok())
}

fn is_credential(check: &Check) -> bool {
    matches!(check, Check::Basic(_) | Check::Bearer(_) | Check::Header(..))
}

impl Known {
    /// Whether only what it has shown before is said by a changed notification that passes: the
    /// same events, or what the daemon will know by its token and refuse.
    fn says_the_same(&self, changed: &Draft) -> bool {
        let provider = &*self.source.provider;
        let (first, second) = (self.sent.notification(), changed.notification());
        let token = provider.once(&second);
        rows(provider, &second) == rows(provider, &first)
            || (token.is_some() && token == provider.once(&first))
    }

    #[track_caller]
    fn holds(&self, changed: &Draft, damage: &str) {
        let passed = passes(&self.source, &changed.notification());
        assert!(!passed || self.says_the_same(changed), "{}: {damage}", self.source.source);
    }

    #[track_caller]
    fn refused(&self, changed: &Draft, damage: &str) {
        let passed = passes(&self.source, &changed.notification());
        assert!(!passed, "{}: {damage}", self.source.source);
    }

    /// The headers that prove something.
    fn proofs(&self) -> Vec<HeaderName> {
        let names = self.sent.headers.keys();
        names.filter(|name| !self.bare.contains_key(*name)).cloned().collect()
    }

    fn is_signed(&self) -> bool {
        !self.source.checks.iter().all(is_credential)
    }
}

#[test]
fn every_provider_has_a_source_and_a_notification_that_it_believes() {
    let known = known();
    let names: BTreeSet<&str> = known.iter().map(|k| k.source.provider.name()).collect();
    assert_eq!(names, ALL.iter().map(|provider| provider.name()).collect());
    for known in &known {
        let (source, sent) = (&known.source, known.sent.notification());
        assert!(passes(source, &sent), "{}", source.source);
        assert!(!rows(&*source.provider, &sent).is_empty(), "{}", source.source);
    }
}

#[test]
fn a_changed_body_says_nothing_new() {
    for known in known().iter().filter(|known| known.is_signed()) {
        let sent = &known.sent;
        let changed = |body: Vec<u8>| Draft { body, ..sent.clone() };
        known.refused(&changed(Vec::new()), "an empty body");
        for body in [&b"{}"[..], b"[]", b"null", b"\0", b"mandrill_events=%5B%5D"] {
            known.refused(&changed(body.to_vec()), "another body");
        }
        known.holds(&changed([&sent.body[..], b"\n"].concat()), "a longer body");
        known.holds(&changed([b" ", &sent.body[..]].concat()), "a longer body");
        known.holds(&changed(sent.body[..sent.body.len() - 1].to_vec()), "a shorter body");
        known.holds(&changed([&sent.body[..], &sent.body].concat()), "a body twice");
        for bit in 0..sent.body.len() * 8 {
            let mut body = sent.body.clone();
            body[bit / 8] ^= 1 << (bit % 8);
            known.holds(&changed(body), &format!("bit {bit} of the body"));
        }
    }
}

#[test]
fn every_header_that_proves_something_must_be_there_once_and_right() {
    for known in known() {
        let mut bare = known.sent.clone();
        bare.headers = known.bare.clone();
        let proofs = known.proofs();
        let in_body = proofs.is_empty();
        assert_eq!(passes(&known.source, &bare.notification()), in_body, "nothing in the headers");
        for name in &proofs {
            let with = |values: &[HeaderValue]| {
                let mut changed = known.sent.clone();
                changed.headers.remove(name);
                changed.headers.extend(values.iter().map(|value| (name.clone(), value.clone())));
                changed
            };
            let value = known.sent.headers[name].clone();
            known.refused(&with(&[]), "a header is missing");
            known.refused(&with(&[value.clone(), value.clone()]), "a header is there twice");
            for bad in ["", " ", "%%%", "zz", "v1", "v1,", "=", "\u{e9}", "0", "0000", "t=1,v1="] {
                let bad = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
                known.refused(&with(std::slice::from_ref(&bad)), "a header is no such thing");
                known.refused(&with(&[bad, value.clone()]), "and the right one beside it");
            }
            for (place, bit) in (0..value.len()).flat_map(|at| [(at, 1), (at, 2), (at, 4)]) {
                let mut bytes = value.as_bytes().to_vec();
                bytes[place] ^= bit;
                let Ok(flipped) = HeaderValue::from_bytes(&bytes) else { continue };
                known.holds(&with(&[flipped]), &format!("byte {place} of {name} is another"));
            }
        }
    }
}

#[test]
fn what_one_source_believes_no_other_does() {
    let known = known();
    for (number, one) in known.iter().enumerate() {
        for (_, other) in known.iter().enumerate().filter(|(index, _)| *index != number) {
            // A service signs with one key for all its topics, and Scaleway's form is Amazon's.
            let names = [one, other].map(|known| known.source.provider.name());
            if names.iter().all(|name| ["amazon-ses", "scaleway-tem"].contains(name)) {
                continue;
            }
            let passed = passes(&other.source, &one.sent.notification());
            assert!(!passed, "{} believes {}", other.source.source, one.source.source);
        }
    }
}

#[test]
fn another_key_is_no_key() {
    // The keys of every source here are others than those of the provider's own notifications.
    for source in every_source() {
        let path = Path::new("tests/fixtures/signed").join(source.source.as_str());
        if path.with_extension("request").exists() {
            let known = captured(source.source.as_str());
            assert!(!passes(&source, &known.sent.notification()), "{}", source.source);
        }
    }
    let text = fs::read_to_string("tests/fixtures/every-source.toml").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("others.toml");
    // `whsec_` is followed by base64, so that one letter of it is changed.
    fs::write(&path, text.replace("suppressd-key", "another-key").replace("whsec_a", "whsec_b"))
        .unwrap();
    let others = sources(&path);
    for (known, other) in known().iter().zip(&others) {
        assert_eq!(known.source.source, other.source);
        let (name, by) = (&known.source.source, &known.sent);
        let can_sign = !known.proofs().is_empty() || known.is_signed();
        assert!(can_sign && !passes(other, &by.notification()), "{name}");
    }
}

/// How far from our clock a check lets a signed time be.
fn tolerance(check: &Check) -> Option<Duration> {
    match check {
        Check::Mac(mac) => mac.scheme.stamp.as_ref()?.tolerance,
        Check::Any(checks) => checks.iter().find_map(tolerance),
        _ => None,
    }
}

#[test]
fn a_signed_time_is_believed_within_its_tolerance_and_no_longer() {
    let mut timed = BTreeSet::new();
    for known in known() {
        let Some(tolerance) = known.source.checks.iter().find_map(tolerance) else { continue };
        timed.insert(known.source.provider.name());
        let at = |now: Time| Draft { now, ..known.sent.clone() };
        let second = Duration::from_secs(1);
        for (now, fits) in [
            (received().plus(tolerance), true),
            (received().minus(tolerance), true),
            (received().plus(tolerance + second), false),
            (received().minus(tolerance + second), false),
        ] {
            let passed = passes(&known.source, &at(now).notification());
            assert_eq!(passed, fits, "{} at {now}", known.source.source);
        }
    }
    assert!(timed.is_superset(&BTreeSet::from(["mailgun", "resend", "standard-webhooks"])));
}
