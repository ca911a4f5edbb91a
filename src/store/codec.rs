//! The values of the store: each starts with the number of its form.

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::model::{Origin, Position, Time};

/// The form that values are written in. A change of any of them takes the next number.
const FORM: u8 = 1;

/// Where an event's element is, and how we were told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventRef {
    /// The record that told it first.
    pub(super) record: Position,
    /// The element in it.
    pub(super) element: u32,
    /// A bit for each [`Origin`] that told it.
    pub(super) origins: u8,
}

impl EventRef {
    /// The bit of an origin.
    pub(super) fn bit(origin: Origin) -> u8 {
        1 << origin as u8
    }

    /// The origins whose bits are set.
    pub(super) fn origins(self) -> Vec<Origin> {
        Origin::ALL.into_iter().filter(|origin| self.origins & Self::bit(*origin) != 0).collect()
    }
}

/// How a source's events reached us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events by webhook alone.
    pub webhook_only: u64,
    /// Events by poll alone.
    pub poll_only: u64,
    /// Events by both.
    pub both: u64,
    /// Rows of the provider's own suppression lists, which no webhook tells.
    pub listed: u64,
    /// Tellings of events that were known already in the same way.
    pub repeated: u64,
    /// Elements that could not be read.
    pub unreadable: u64,
    /// Events by the sender's fault.
    pub blocked: u64,
    /// When the last webhook came.
    pub last_webhook: Option<Time>,
    /// When the last page came.
    pub last_poll: Option<Time>,
}

/// What was applied, and what must be there then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// The end of what was applied.
    pub(super) applied: Position,
    /// How many keys there are, but for this one.
    pub(super) keys: u64,
    /// The sum of the checksums of all keys with their values.
    pub(super) sum: u64,
    /// How many of the keys are standings that say more than a delivery.
    pub(super) standings: u64,
    /// How many of the keys are elements in quarantine.
    pub(super) quarantined: u64,
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "a vector takes every byte, and no type here is odd")]
    postcard::to_extend(value, vec![FORM]).expect("values of the store have a form")
}

pub(super) fn decode<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&FORM, rest)) => postcard::from_bytes(rest).map_err(|_| damaged()),
        _ => Err(damaged()),
    }
}

fn damaged() -> StoreError {
    StoreError::Damaged("a value is not in a form that this version reads".to_owned())
}

/// The checksum of one key with its value.
pub(super) fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(value);
    u64::from(hash.finalize())
}
