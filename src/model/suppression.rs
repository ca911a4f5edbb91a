//! The verdict: a "do not send", with why, since when and until when.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Scope, SourceName, Time, Until};

/// Why an address is suppressed. Ordered by weight: of several live reasons the first is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The recipient reported a message as spam.
    Complaint,
    /// The mailbox or its domain does not exist.
    HardBounce,
    /// The provider says that the address cannot exist.
    Invalid,
    /// The recipient asked for no more mail.
    Unsubscribe,
    /// An operator added it by hand.
    Manual,
    /// It is on the provider's own suppression list.
    ProviderListed,
    /// Repeated soft bounces, as the rules count them.
    SoftBounces,
}

impl Reason {
    /// Every reason, in order of weight.
    pub const ALL: [Reason; 7] = [
        Reason::Complaint,
        Reason::HardBounce,
        Reason::Invalid,
        Reason::Unsubscribe,
        Reason::Manual,
        Reason::ProviderListed,
        Reason::SoftBounces,
    ];

    /// Its name in configuration, files and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Complaint => "complaint",
            Reason::HardBounce => "hard_bounce",
            Reason::Invalid => "invalid",
            Reason::Unsubscribe => "unsubscribe",
            Reason::Manual => "manual",
            Reason::ProviderListed => "provider_listed",
            Reason::SoftBounces => "soft_bounces",
        }
    }

    /// From its name.
    pub fn parse(text: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A derived "do not send". Made by the rules from a standing; never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// The address as a provider or operator spelled it.
    pub address: Box<str>,
    /// What it covers.
    pub scope: Scope,
    /// The weightiest of the live reasons.
    pub reason: Reason,
    /// When the earliest of the live reasons began.
    pub since: Time,
    /// When the last of the live reasons ends.
    pub until: Until,
    /// The sources of the live reasons, sorted.
    pub sources: Vec<SourceName>,
    /// An operator's note, if one was given.
    pub note: Option<Box<str>>,
}
