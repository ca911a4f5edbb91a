//! Grounds that are held back, since they came with a mass of others.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Reason, SourceName};

/// The number of a mass, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MassId(pub u64);

impl fmt::Display for MassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a source says for one reason is known, and suppresses nobody until an administrator has
/// let the mass go that it came with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The reason.
    pub reason: Reason,
    /// Whose telling is held.
    pub source: SourceName,
    /// The mass.
    pub mass: MassId,
}

impl Held {
    /// Whether a ground of this reason may be held at all: what a person has said never is.
    pub fn may_be(reason: Reason) -> bool {
        match reason {
            Reason::Complaint | Reason::Unsubscribe | Reason::Manual => false,
            Reason::HardBounce | Reason::Invalid | Reason::ProviderListed | Reason::SoftBounces => {
                true
            }
        }
    }
}
