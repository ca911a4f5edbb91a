//! Identities: what makes two tellings of a fact one event.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{EventKind, Scope, SourceName, Time};

/// The identity of an event, the same for every retry and for webhook and poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId([u8; 16]);

/// What an event is recognised by.
#[derive(Clone, Copy, Debug)]
pub struct IdentityParts<'a> {
    /// The source that told it.
    pub source: &'a SourceName,
    /// Its kind.
    pub kind: EventKind,
    /// The key of its address.
    pub address: &'a str,
    /// What it covers.
    pub scope: &'a Scope,
    /// The provider's id of the event, where one is stable over retries.
    pub strong: Option<&'a str>,
    /// The message's id, else empty.
    pub message_id: &'a str,
    /// When it happened; only the whole second counts.
    pub at: Time,
}

impl EventId {
    /// The identity of what `parts` describe: by the strong id if there is one, else composed.
    pub fn of(parts: &IdentityParts<'_>) -> EventId {
        let mut hash = Sha256::new();
        field(&mut hash, parts.source.as_str().as_bytes());
        field(&mut hash, parts.kind.as_str().as_bytes());
        field(&mut hash, parts.address.as_bytes());
        if let Scope::Stream(name) = parts.scope {
            field(&mut hash, b"stream");
            field(&mut hash, name.as_bytes());
        }
        match parts.strong {
            Some(id) => {
                field(&mut hash, b"id");
                field(&mut hash, id.as_bytes());
            }
            None => {
                field(&mut hash, b"composed");
                field(&mut hash, parts.message_id.as_bytes());
                field(&mut hash, &parts.at.second().to_be_bytes());
            }
        }
        EventId(first_bytes(&hash.finalize()))
    }

    /// Its 16 bytes.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> EventId {
        EventId(bytes)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// What distinct messages are told apart by when bounces are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageKey(u64);

impl MessageKey {
    /// Of a message by its id, or, where it has none, by the second of the event.
    pub fn of(source: &SourceName, message_id: Option<&str>, at: Time) -> MessageKey {
        let mut hash = Sha256::new();
        field(&mut hash, source.as_str().as_bytes());
        match message_id {
            Some(id) => field(&mut hash, id.as_bytes()),
            None => hash.update(at.second().to_be_bytes()),
        }
        MessageKey(u64::from_be_bytes(first_bytes(&hash.finalize())))
    }
}

/// Adds a field with its length, so that neighbouring fields cannot run into each other.
fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn first_bytes<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&digest[..N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_follows_what_it_should_and_nothing_else() {
        let source = SourceName::parse("a").unwrap();
        let other = SourceName::parse("b").unwrap();
        let base = IdentityParts {
            source: &source,
            kind: EventKind::HardBounce,
            address: "x@y.test",
            scope: &Scope::Global,
            strong: None,
            message_id: "m",
            at: Time::from_nanos(1_200_000_000, 3),
        };
        let news = Scope::Stream("news".into());
        let id = EventId::of(&base);
        let same_second = Time::from_nanos(1_900_000_000, 9);
        assert_eq!(id, EventId::of(&IdentityParts { at: same_second, ..base }));
        for changed in [
            IdentityParts { source: &other, ..base },
            IdentityParts { kind: EventKind::SoftBounce, ..base },
            IdentityParts { address: "z@y.test", ..base },
            IdentityParts { message_id: "n", ..base },
            IdentityParts { scope: &news, ..base },
            IdentityParts { at: Time::from_seconds(2), ..base },
            IdentityParts { strong: Some("e"), ..base },
        ] {
            assert_ne!(id, EventId::of(&changed), "{changed:?}");
        }
        let strong = IdentityParts { strong: Some("e"), ..base };
        let moved = IdentityParts { message_id: "n", at: Time::from_seconds(9), ..strong };
        assert_eq!(EventId::of(&strong), EventId::of(&moved));
    }
}
