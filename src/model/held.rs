//! Grounds that are held back, since they came with a mass of others.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Reason, SourceName};

/// What makes a mass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// So many new suppressions are none yet.
    pub count: u32,
    /// Within this span.
    pub within: Duration,
    /// Those of different sources are different masses.
    pub by_source: bool,
    /// Those of different domains are.
    pub by_domain: bool,
    /// Those of different classes are.
    pub by_class: bool,
}

impl Default for Hold {
    fn default() -> Hold {
        let within = Duration::from_secs(60 * 60);
        Hold { count: 500, within, by_source: true, by_domain: true, by_class: true }
    }
}

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
