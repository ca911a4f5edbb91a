//! What we have done about an address on a provider's own list.
//!
//! It is journalled before and after each request, so that nothing is done twice for good, nothing is
//! forgotten, and what we find there is known to be our own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Event, EventKind, Reason, Time};

/// How far a provider's clock may be off.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// How long a provider may take to show, or to forget, what we did.
const LATE: Duration = Duration::from_secs(15 * 60);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushVerb {
    /// The address is put on the list.
    Add,
    /// It is taken off the list.
    Remove,
}

/// How far it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushStage {
    /// It may have been done, or not.
    Begun,
    /// The provider has said so.
    Done,
    /// The provider has refused it for good.
    Refused,
}

/// The last thing that was done about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// What.
    pub verb: PushVerb,
    /// How far.
    pub stage: PushStage,
    /// When its adding began.
    pub began: Time,
    /// When its adding was done.
    pub added: Option<Time>,
    /// When this was noted.
    pub at: Time,
}

impl Pushed {
    /// Whether an event of the source shows nothing but what we did ourselves: a row that is dated
    /// as our own must be, or a refusal for no other cause than that the address is on the list.
    pub fn is_echo(&self, event: &Event) -> bool {
        let is_there = match self.verb {
            PushVerb::Add => self.stage != PushStage::Refused,
            PushVerb::Remove => event.received_at.nanos() <= self.at.plus(LATE).nanos(),
        };
        let last = self.added.unwrap_or(event.received_at).plus(LATE);
        let is_ours =
            event.at.nanos() >= self.began.minus(SKEW).nanos() && event.at.nanos() <= last.nanos();
        match event.kind {
            EventKind::Listed if event.undated => is_there,
            EventKind::Listed => is_ours,
            EventKind::Rejected => {
                is_there && matches!(event.reason, None | Some(Reason::ProviderListed))
            }
            _ => false,
        }
    }
}
