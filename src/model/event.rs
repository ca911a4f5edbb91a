//! One normalised fact about one recipient, as every provider's events come out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Address, Bounce, Class, EventId, Fact, Failure, IdentityParts, Latest, Lift, MessageKey,
    Reason, Scope, SourceName, Time, Until,
};

/// What happened. README.md tells, under Words, what each one suppresses as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The provider took the message.
    Accepted,
    /// The recipient's server took the message.
    Delivered,
    /// The provider is still trying.
    Deferred,
    /// The provider gave up, or counts a transient failure.
    SoftBounce,
    /// The mailbox or its domain does not exist.
    HardBounce,
    /// Refused for the sender's reputation, content or policy: never the recipient's fault.
    Blocked,
    /// The recipient reported spam.
    Complaint,
    /// The recipient wants no more mail.
    Unsubscribed,
    /// The recipient wants mail again.
    Resubscribed,
    /// The provider refused to send: the address is on its own list, or invalid.
    Rejected,
    /// It failed for another reason.
    Failed,
    /// The message was opened.
    Opened,
    /// A link was followed.
    Clicked,
    /// Seen on a suppression list: the provider's, or, from an operator, ours.
    Listed,
    /// Gone from such a list.
    Unlisted,
    /// A type that the adapter does not know.
    Unknown,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 16] = [
        EventKind::Accepted,
        EventKind::Delivered,
        EventKind::Deferred,
        EventKind::SoftBounce,
        EventKind::HardBounce,
        EventKind::Blocked,
        EventKind::Complaint,
        EventKind::Unsubscribed,
        EventKind::Resubscribed,
        EventKind::Rejected,
        EventKind::Failed,
        EventKind::Opened,
        EventKind::Clicked,
        EventKind::Listed,
        EventKind::Unlisted,
        EventKind::Unknown,
    ];

    /// Those among which rules decide.
    const JUDGED: [EventKind; 4] =
        [EventKind::SoftBounce, EventKind::HardBounce, EventKind::Blocked, EventKind::Failed];

    /// Its name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Accepted => "accepted",
            EventKind::Delivered => "delivered",
            EventKind::Deferred => "deferred",
            EventKind::SoftBounce => "soft_bounce",
            EventKind::HardBounce => "hard_bounce",
            EventKind::Blocked => "blocked",
            EventKind::Complaint => "complaint",
            EventKind::Unsubscribed => "unsubscribed",
            EventKind::Resubscribed => "resubscribed",
            EventKind::Rejected => "rejected",
            EventKind::Failed => "failed",
            EventKind::Opened => "opened",
            EventKind::Clicked => "clicked",
            EventKind::Listed => "listed",
            EventKind::Unlisted => "unlisted",
            EventKind::Unknown => "unknown",
        }
    }

    /// From its name.
    pub fn parse(text: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a fact reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// The provider called us.
    Webhook,
    /// We asked the provider.
    Poll,
    /// An operator's command.
    Operator,
    /// A file that an operator imported.
    Import,
    /// Another mail host of ours, which was told in one of these ways.
    Fleet,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Origin; 5] =
        [Origin::Webhook, Origin::Poll, Origin::Operator, Origin::Import, Origin::Fleet];

    /// Its name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Webhook => "webhook",
            Origin::Poll => "poll",
            Origin::Operator => "operator",
            Origin::Import => "import",
            Origin::Fleet => "fleet",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operator's lift covers beyond the address and the scope. `None` covers all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lifts {
    /// Only grounds of this reason.
    pub reason: Option<Reason>,
    /// Only grounds of this source.
    pub source: Option<SourceName>,
}

/// One normalised fact about one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which source told it.
    pub source: SourceName,
    /// Which provider that is, by name.
    pub provider: Box<str>,
    /// What happened.
    pub kind: EventKind,
    /// To whom.
    pub address: Address,
    /// For which mail.
    pub scope: Scope,
    /// When it happened.
    pub at: Time,
    /// Where `at` is our own time, and so another at each retry: when it happened by the provider's
    /// word, which is not believed but still what the event is recognised by; the end of time where
    /// it has said nothing.
    pub told_at: Option<Time>,
    /// When we were told first.
    pub received_at: Time,
    /// How we were told.
    pub origin: Origin,
    /// What is known of a failure, beside the codes and the diagnostic.
    pub failure: Option<Failure>,
    /// The message's id.
    pub message_id: Option<String>,
    /// The SMTP reply code, 200 to 599.
    pub smtp_code: Option<u16>,
    /// The enhanced status code (RFC 3463), such as `5.1.1`.
    pub enhanced_code: Option<String>,
    /// What the recipient's server or the provider said; an operator's note.
    pub diagnostic: Option<String>,
    /// The sender's tags on the message.
    pub tags: Vec<String>,
    /// The link that was followed.
    pub url: Option<String>,
    /// The program that opened or followed.
    pub user_agent: Option<String>,
    /// What the provider calls this kind.
    pub provider_kind: String,
    /// The provider's id of the event.
    pub provider_event_id: Option<String>,
    /// What the event is recognised by, where something is stable over retries and in the API.
    pub identity: Option<String>,
    /// Whether a program, not a person, opened or followed.
    pub machine: bool,
    /// The sender's own data on the message, as JSON.
    pub metadata: Option<String>,
    /// The reason it is a ground for, where that differs from what the kind says.
    pub reason: Option<Reason>,
    /// When the ground ends by itself, where the teller said so.
    pub until: Option<Time>,
    /// Whether the provider's webhook and its API give times that differ by a second or two, and
    /// nothing better to recognise the event by.
    pub loose: bool,
    /// Whether the teller gave no time: `at` is then when we were told first. Told again, it is
    /// nothing new, whatever has been lifted since.
    pub undated: bool,
    /// For an `unlisted` of an operator: what is lifted.
    pub lifts: Option<Lifts>,
}

impl Event {
    /// Its identity.
    pub fn id(&self) -> EventId {
        self.id_at(self.at)
    }

    /// Its identity, if it had happened at that time.
    pub fn id_at(&self, at: Time) -> EventId {
        self.id_as(self.kind, at)
    }

    /// Every identity that rules may give it: of a failure, they say the kind.
    pub(super) fn ids(&self) -> impl Iterator<Item = EventId> {
        let judged = if self.failure.is_some() { &EventKind::JUDGED[..] } else { &[] };
        let kinds = judged.iter().copied().chain([self.kind]);
        kinds.map(|kind| self.id_as(kind, self.at))
    }

    fn id_as(&self, kind: EventKind, at: Time) -> EventId {
        EventId::of(&IdentityParts {
            source: &self.source,
            kind,
            address: self.address.key(),
            scope: &self.scope,
            strong: self.identity.as_deref(),
            message_id: self.message_id.as_deref().unwrap_or(""),
            at: self.told_at.unwrap_or(at),
        })
    }

    /// Why it failed, if it is a failure.
    pub fn class(&self) -> Option<Class> {
        Some(self.failure.as_ref()?.judgement.as_ref()?.class)
    }

    fn is_unexplained(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.unexplained)
    }

    /// What it adds to the standing of its address and scope, if anything.
    pub fn fact(&self) -> Option<Fact> {
        match self.kind {
            EventKind::HardBounce => Some(self.ground(Reason::HardBounce)),
            EventKind::Complaint => Some(self.ground(Reason::Complaint)),
            EventKind::Unsubscribed => Some(self.ground(Reason::Unsubscribe)),
            EventKind::Rejected => Some(self.ground(Reason::ProviderListed)),
            EventKind::Listed if self.origin == Origin::Operator => {
                Some(self.ground(Reason::Manual))
            }
            EventKind::Listed => Some(self.ground(Reason::ProviderListed)),
            EventKind::SoftBounce if self.is_unexplained() => {
                Some(Fact::Unexplained(self.message_key(), self.bounce()))
            }
            EventKind::SoftBounce => Some(Fact::SoftBounce(self.message_key(), self.bounce())),
            EventKind::Blocked => Some(Fact::Blocked(self.message_key(), self.bounce())),
            EventKind::Delivered => Some(Fact::Delivered(self.at)),
            EventKind::Resubscribed => Some(Fact::Lift(self.resubscription())),
            EventKind::Unlisted => self.lifts.clone().map(|covers| {
                // An operator's lift covers facts at its instant; see `resubscription`.
                Fact::Lift(Lift { covers, through: self.at, theirs: false })
            }),
            EventKind::Accepted
            | EventKind::Deferred
            | EventKind::Failed
            | EventKind::Opened
            | EventKind::Clicked
            | EventKind::Unknown => None,
        }
    }

    fn ground(&self, usual: Reason) -> Fact {
        let is_noted = matches!(self.origin, Origin::Operator | Origin::Import);
        let note = self.diagnostic.clone().filter(|_| is_noted);
        Fact::Ground {
            reason: self.reason.unwrap_or(usual),
            source: self.source.clone(),
            latest: Latest {
                at: self.at,
                until: self.until.map_or(Until::Forever, Until::At),
                evidence: self.id(),
                class: self.class(),
                note: note.map(String::into_boxed_str),
            },
        }
    }

    /// A provider's resubscription ends its own unsubscription only; a tie favours suppression.
    fn resubscription(&self) -> Lift {
        let covers = Lifts { reason: Some(Reason::Unsubscribe), source: Some(self.source.clone()) };
        Lift { covers, through: self.at.just_before(), theirs: true }
    }

    /// What its message is counted by.
    pub(super) fn message_key(&self) -> MessageKey {
        let id = self.message_id.as_deref().or(self.identity.as_deref());
        MessageKey::of(&self.source, id, self.told_at.unwrap_or(self.at))
    }

    fn bounce(&self) -> Bounce {
        Bounce { class: self.class(), ..Bounce::at(self.at, self.source.clone()) }
    }
}
