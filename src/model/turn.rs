//! A verdict that has turned: who is suppressed now and was not, or was and is not.

use serde::{Deserialize, Serialize};

use super::{Reason, Scope, SourceName, Time, Until};

/// A verdict that has turned, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The address, as received.
    pub address: Box<str>,
    /// The scope.
    pub scope: Scope,
    /// Whether it is suppressed now.
    pub added: bool,
    /// Why it is, or was.
    pub reason: Reason,
    /// Who told that; nobody where it is lifted.
    pub sources: Vec<SourceName>,
    /// Since when it is.
    pub since: Option<Time>,
    /// Until when it is.
    pub until: Until,
    /// An operator's note.
    pub note: Option<Box<str>>,
    /// When it turned, by our clock.
    pub at: Time,
}
