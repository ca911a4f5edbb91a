//! For tests of adapters: reading one element, and a signed notification with every damage that
//! it must not survive.

use http::{HeaderMap, HeaderName};

use super::{Check, Judge, Notification, Provider, Refusal, Setting, Settings, Stamp, read_judged};
use crate::model::{Element, Event, Origin, SourceName, Time};
use crate::secret::Secret;

/// A notification as it was sent.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) now: Time,
}

/// The one event of an element that came by webhook.
pub(super) fn read_one(provider: &dyn Provider, element: &Element, received_at: Time) -> Event {
    let source = SourceName::parse("acme").unwrap();
    let (origin, feed) = (Origin::Webhook, "");
    let stamp = Stamp { source: &source, origin, feed, received_at };
    let mut events = read_judged(provider, element, &stamp, &Judge::default()).unwrap();
    assert_eq!(events.len(), 1);
    events.remove(0)
}

/// Settings with these secrets under `secret`.
pub(super) fn settings(secrets: &[&str]) -> Settings {
    let mut settings = Settings::default();
    let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(*text)).collect();
    settings.set("secret", Setting::Secrets(secrets));
    settings
}

impl Sent {
    pub(super) fn new(now: i64, headers: &[(&'static str, &str)], body: &str) -> Sent {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        Sent { headers: map, body: body.into(), now: Time::from_seconds(now) }
    }

    pub(super) fn notification(&self) -> Notification<'_> {
        let Sent { headers, body, now } = self;
        Notification { headers, query: "", body, url: None, now: *now }
    }

    /// Whether all checks hold; that there are any is asserted.
    pub(super) fn verify(&self, checks: &[Check]) -> Result<(), Refusal> {
        assert!(!checks.is_empty());
        checks.iter().try_for_each(|check| check.verify(&self.notification(), None))
    }

    /// Asserts that it is good as it is, and by no means once it is damaged. `signature` is the
    /// header with the signature.
    pub(super) fn refused_when_damaged(&self, checks: &[Check], signature: &'static str) {
        assert_eq!(self.verify(checks), Ok(()), "as it was sent");
        let refused = |damage: &str, change: &dyn Fn(&mut Sent)| {
            let mut sent = self.clone();
            change(&mut sent);
            assert!(sent.verify(checks).is_err(), "{damage}");
        };
        refused("an empty body", &|sent| sent.body.clear());
        refused("a longer body", &|sent| sent.body.push(b'\n'));
        for bit in 0..self.body.len() * 8 {
            refused("a bit of the body", &|sent| sent.body[bit / 8] ^= 1 << (bit % 8));
        }
        for name in self.headers.keys() {
            refused("a header is missing", &|sent| drop(sent.headers.remove(name)));
            refused("a header is there twice", &|sent| {
                sent.headers.append(name, sent.headers[name].clone());
            });
            refused("a header is another", &|sent| {
                let other = format!("{}0", sent.headers[name].to_str().unwrap());
                sent.headers.insert(name, other.parse().unwrap());
            });
        }
        for bad in ["", "%%%", "v1", "\u{e9}", "0"] {
            let value = http::HeaderValue::from_bytes(bad.as_bytes()).unwrap();
            refused("bad encoding", &|sent| drop(sent.headers.insert(signature, value.clone())));
        }
    }
}
