//! What we have done about an address on a provider's own list.
//!
//! It is journalled before and after each request, so that nothing is forgotten, and what we find
//! there is known to be our own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trust::SKEW;
use super::{Event, EventKind, Reason, Time};

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

impl PushVerb {
    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            PushVerb::Add => "add",
            PushVerb::Remove => "remove",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Origin, Scope, SourceName};

    fn at(seconds: i64) -> Time {
        Time::from_seconds(seconds)
    }

    fn event(kind: EventKind, seconds: i64) -> Event {
        Event {
            source: SourceName::parse("acme").unwrap(),
            provider: "generic".into(),
            kind,
            address: Address::parse("a@x.test").unwrap(),
            scope: Scope::Global,
            at: at(seconds),
            told_at: None,
            received_at: at(seconds),
            origin: Origin::Poll,
            failure: None,
            message_id: None,
            smtp_code: None,
            enhanced_code: None,
            diagnostic: None,
            tags: Vec::new(),
            url: None,
            user_agent: None,
            provider_kind: String::new(),
            provider_event_id: None,
            identity: None,
            machine: false,
            metadata: None,
            reason: None,
            until: None,
            undated: false,
            loose: false,
            lifts: None,
        }
    }

    #[test]
    fn only_what_we_did_ourselves_is_an_echo() {
        let added = Pushed {
            verb: PushVerb::Add,
            stage: PushStage::Done,
            began: at(10_000),
            added: Some(at(10_100)),
            at: at(10_100),
        };
        let begun = Pushed { stage: PushStage::Begun, added: None, at: at(10_000), ..added };
        let refused = Pushed { stage: PushStage::Refused, added: None, ..added };
        let removed = Pushed { verb: PushVerb::Remove, at: at(50_000), ..added };
        for (name, step, seconds, is_echo) in [
            ("dated before", added, 9_699, false),
            ("within the skew", added, 9_700, true),
            ("a little late", added, 11_000, true),
            ("found out by the provider itself", added, 11_001, false),
            ("cut off before the answer", begun, 40_000, true),
            ("read after the removal", removed, 10_050, true),
            ("listed again after the removal", removed, 50_001, false),
        ] {
            assert_eq!(step.is_echo(&event(EventKind::Listed, seconds)), is_echo, "{name}");
        }
        for (step, seconds, is_echo) in [
            (added, 90_000, true),
            (refused, 10_200, false),
            (removed, 50_900, true),
            (removed, 50_901, false),
        ] {
            let undated = Event { undated: true, ..event(EventKind::Listed, seconds) };
            assert_eq!(step.is_echo(&undated), is_echo, "{step:?} {seconds}");
            let rejected = event(EventKind::Rejected, seconds);
            assert_eq!(step.is_echo(&rejected), is_echo, "{step:?} {seconds}");
            // A cause that is not our adding is the provider's own knowledge.
            let known = Event { reason: Some(Reason::HardBounce), ..rejected };
            assert!(!step.is_echo(&known));
        }
        assert!(!added.is_echo(&event(EventKind::Complaint, 10_050)));
    }
}
