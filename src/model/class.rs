//! The classes of failure, and what follows from each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::EventKind;

/// Why a message did not arrive. README.md and docs/verdict.md explain each.
///
/// It is stored by its place here: a new one comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// There is no such mailbox.
    NoMailbox,
    /// There is no such domain, or it takes no mail.
    NoDomain,
    /// The mailbox is closed, suspended or abandoned.
    Disabled,
    /// The mailbox moved, or belongs to somebody else now.
    Moved,
    /// The mailbox is full.
    Full,
    /// The mailbox gets too much mail at present.
    RecipientRate,
    /// The recipient's server could not be reached.
    Unreachable,
    /// The message waited too long in a queue.
    Expired,
    /// The recipient's domain could not be resolved for now.
    Dns,
    /// The receiving system had trouble of its own; greylisting too.
    System,
    /// The message went in circles.
    Loop,
    /// The sender's address, network or domain has a bad name.
    Reputation,
    /// What the message says or how it is made.
    Content,
    /// A rule of the receiver, or the recipient's own wish.
    Policy,
    /// SPF, DKIM, DMARC, reverse DNS, or a login.
    Authentication,
    /// The address of the sender.
    SenderAddress,
    /// The server does not take mail for that domain from us.
    Relay,
    /// The sender sends too much or too fast.
    Rate,
    /// The SMTP dialogue.
    Protocol,
    /// The message is too large.
    MessageSize,
    /// Nothing tells.
    Unexplained,
}

/// Whose fault a class is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The address is dead.
    Recipient,
    /// The mailbox or the way there is in trouble.
    Passing,
    /// The sender did it.
    Sender,
    /// Nobody knows.
    Unknown,
}

impl Class {
    /// Every class, with its name.
    pub const ALL: [(Class, &'static str); 21] = [
        (Class::NoMailbox, "no_mailbox"),
        (Class::NoDomain, "no_domain"),
        (Class::Disabled, "disabled"),
        (Class::Moved, "moved"),
        (Class::Full, "full"),
        (Class::RecipientRate, "recipient_rate"),
        (Class::Unreachable, "unreachable"),
        (Class::Expired, "expired"),
        (Class::Dns, "dns"),
        (Class::System, "system"),
        (Class::Loop, "loop"),
        (Class::Reputation, "reputation"),
        (Class::Content, "content"),
        (Class::Policy, "policy"),
        (Class::Authentication, "authentication"),
        (Class::SenderAddress, "sender_address"),
        (Class::Relay, "relay"),
        (Class::Rate, "rate"),
        (Class::Protocol, "protocol"),
        (Class::MessageSize, "message_size"),
        (Class::Unexplained, "unexplained"),
    ];

    /// Its name in output.
    pub fn as_str(self) -> &'static str {
        Class::ALL.iter().find(|(class, _)| *class == self).map_or("", |(_, name)| name)
    }

    /// From its name.
    pub fn parse(text: &str) -> Option<Class> {
        Class::ALL.iter().find(|(_, name)| *name == text).map(|(class, _)| *class)
    }

    /// Whose fault it is.
    pub fn fault(self) -> Fault {
        match self {
            Class::NoMailbox | Class::NoDomain | Class::Disabled | Class::Moved => Fault::Recipient,
            Class::Full
            | Class::RecipientRate
            | Class::Unreachable
            | Class::Expired
            | Class::Dns
            | Class::System
            | Class::Loop => Fault::Passing,
            Class::Reputation
            | Class::Content
            | Class::Policy
            | Class::Authentication
            | Class::SenderAddress
            | Class::Relay
            | Class::Rate
            | Class::Protocol
            | Class::MessageSize => Fault::Sender,
            Class::Unexplained => Fault::Unknown,
        }
    }

    /// The kind of event that a final failure of this class is.
    pub fn kind(self) -> EventKind {
        match self.fault() {
            Fault::Recipient => EventKind::HardBounce,
            Fault::Passing | Fault::Unknown => EventKind::SoftBounce,
            Fault::Sender => EventKind::Blocked,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A class, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The class.
    pub class: Class,
    /// What decided: the file of rules, or the administrator's row.
    pub rule: String,
    /// What of the failure it was decided by: words, a code, or the provider's own word.
    pub evidence: String,
    /// Where that is documented.
    pub source: String,
}

/// What a provider knows of a failure, beside the codes and the text of the event, and what
/// follows from all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The provider's own words for it, the most exact first.
    pub words: Vec<String>,
    /// What a server said, where the event's diagnostic says more, or something else. Empty: no
    /// server is quoted, and no code of the event is a server's.
    pub said: Option<String>,
    /// The provider calls it final, and nothing says why: so `provider::Judge` has found.
    pub unexplained: bool,
    /// Why it failed. Adapters leave that to `provider::Judge`.
    pub judgement: Option<Judgement>,
}

impl Failure {
    /// Of a provider that calls it so; the most exact word comes first, and empty ones are none.
    pub fn of<'w>(words: impl IntoIterator<Item = &'w str>) -> Failure {
        let words = words.into_iter().filter(|word| !word.is_empty());
        Failure { words: words.map(str::to_owned).collect(), ..Failure::default() }
    }
}
