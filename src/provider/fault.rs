//! Whose fault a failure is, told apart once and for every provider.
//!
//! A recipient is never suppressed for what the sender did: reputation, content, policy. The
//! tables are data; an administrator's rows stand before ours (`rules.diagnostics`).

use crate::model::{EventKind, Reason};

/// What a provider makes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Permanent, by the recipient's fault.
    Hard,
    /// Transient, or given up.
    Soft,
    /// By the sender's fault.
    Blocked,
    /// Permanent, and it does not say whose fault it was.
    Unclear,
}

/// What is known of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said<'a> {
    /// The SMTP reply code.
    pub smtp: Option<u16>,
    /// The enhanced status code.
    pub enhanced: Option<&'a str>,
    /// What the server or the provider said.
    pub text: &'a str,
}

/// A text that tells whose fault a failure is, wherever it stands in a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The text, in lower case.
    pub text: String,
    /// What it means: `hard_bounce`, `soft_bounce` or `blocked`.
    pub kind: EventKind,
}

/// Refusals for the sender's sake. The second column says who answers so.
const SENDER: &[(&str, &str)] = &[
    ("spamhaus", "spamhaus.org: answers of servers that use its lists"),
    ("barracudacentral", "barracudacentral.org/rbl"),
    ("spamcop", "spamcop.net/bl.shtml"),
    ("blocklist", "generic wording of DNS block lists (RFC 6471)"),
    ("blacklist", "generic wording of DNS block lists"),
    ("blocked using", "Postfix reject_rbl_client, default_rbl_reply"),
    ("listed at", "wording of DNS block lists in default_rbl_reply texts"),
    ("poor reputation", "Google, 421 4.7.0 and 550 5.7.1"),
    ("low reputation", "Google, 550 5.7.1 very low reputation of the sending domain"),
    ("sender reputation", "Cisco and Proofpoint texts"),
    ("unsolicited mail", "Google, 550 5.7.1 likely unsolicited mail"),
    ("message contains spam", "generic content refusal"),
    ("considered spam", "generic content refusal"),
    ("spam message", "generic content refusal"),
    ("message rejected as spam", "generic content refusal"),
    ("content rejected", "Amazon SES ContentRejected and similar"),
    ("message content", "generic content refusal"),
    ("policy reasons", "RFC 5321, 4.2.1: 554 for policy reasons"),
    ("dmarc", "RFC 7489, 10.3: 550 5.7.1 by the domain's policy"),
    ("spf check", "RFC 7208, 8.4: 550 5.7.23"),
    ("dkim", "RFC 6376, 6.3"),
    ("not authenticated", "Google, 550 5.7.26 unauthenticated mail"),
    ("attachment", "refusal of a type of attachment"),
    ("message too large", "RFC 1870: 552 5.3.4"),
    ("message size exceeds", "Postfix, 552 5.3.4"),
];

/// A full mailbox.
const FULL: &[(&str, &str)] = &[
    ("mailbox full", "generic"),
    ("mailbox is full", "generic"),
    ("over quota", "Google, 452 4.2.2 and 552 5.2.2"),
    ("quota exceeded", "Dovecot, Exchange"),
    ("exceeded storage", "RFC 5321, 552"),
    ("insufficient storage", "RFC 5321, 452"),
];

/// An address that does not exist.
const RECIPIENT: &[(&str, &str)] = &[
    ("user unknown", "Sendmail, Postfix"),
    ("unknown user", "generic"),
    ("no such user", "Google, 550 5.1.1"),
    ("user not found", "generic"),
    ("does not exist", "Google, 550 5.1.1 the account does not exist"),
    ("no such mailbox", "generic"),
    ("no mailbox here", "Exim"),
    ("mailbox not found", "generic"),
    ("mailbox unavailable", "RFC 5321, 550"),
    ("invalid recipient", "OpenSMTPD and others"),
    ("recipient not found", "Exchange, 550 5.1.10"),
    ("recipientnotfound", "Exchange Online, 550 5.1.10 RESOLVER.ADR.RecipientNotFound"),
    ("unrouteable address", "Exim"),
    ("account has been disabled", "Google, 550 5.2.1"),
    ("account is disabled", "generic"),
    ("null mx", "RFC 7505, 556 5.1.10"),
    ("host or domain name not found", "Postfix, 5.4.4"),
    ("domain not found", "generic"),
];

/// Enhanced codes that say that the address is dead (RFC 3463; RFC 7505 for 5.1.10).
const DEAD: &[&str] = &["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"];

/// Enhanced codes of a failure by the message, not the address (RFC 3463, X.3.4, X.6).
const BY_MESSAGE: &[&str] = &["5.3.4", "5.2.3"];

/// What tells faults apart: our tables, and an administrator's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// An administrator's rows, which are looked at first.
    pub own: Vec<Diagnostic>,
}

impl Faults {
    /// Why an address is on a provider's list of bounces. It is listed in any case, but dead only
    /// if what the server said does not say otherwise.
    pub fn listed(&self, said: &Said<'_>) -> Option<Reason> {
        (self.kind(Class::Hard, said) == EventKind::HardBounce).then_some(Reason::HardBounce)
    }

    /// The kind of a failure.
    pub fn kind(&self, class: Class, said: &Said<'_>) -> EventKind {
        let text = said.text.to_lowercase();
        let names = |table: &[(&str, &str)]| table.iter().any(|(row, _)| text.contains(row));
        if let Some(row) = self.own.iter().find(|row| text.contains(&row.text)) {
            return row.kind;
        }
        let enhanced = said.enhanced.unwrap_or("");
        if enhanced.starts_with("5.7.") || enhanced.starts_with("5.6.") || names(SENDER) {
            return EventKind::Blocked;
        }
        if BY_MESSAGE.contains(&enhanced) {
            return EventKind::Blocked;
        }
        if enhanced.ends_with(".2.2") || names(FULL) {
            return EventKind::SoftBounce;
        }
        if DEAD.contains(&enhanced) {
            return EventKind::HardBounce;
        }
        if enhanced.starts_with("4.") || said.smtp.is_some_and(|code| (400..500).contains(&code)) {
            return EventKind::SoftBounce;
        }
        if names(RECIPIENT) && class != Class::Blocked {
            return EventKind::HardBounce;
        }
        match class {
            Class::Hard => EventKind::HardBounce,
            Class::Soft => EventKind::SoftBounce,
            Class::Blocked => EventKind::Blocked,
            Class::Unclear => EventKind::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(class: Class, smtp: u16, enhanced: &str, text: &str) -> EventKind {
        let smtp = Some(smtp).filter(|code| *code > 0);
        let enhanced = Some(enhanced).filter(|code| !code.is_empty());
        Faults::default().kind(class, &Said { smtp, enhanced, text })
    }

    #[test]
    fn a_recipient_is_never_blamed_for_the_sender() {
        use EventKind::{Blocked, Failed, HardBounce, SoftBounce};
        for (class, smtp, enhanced, text, expected) in [
            (Class::Hard, 550, "5.1.1", "550 5.1.1 no such user", HardBounce),
            (Class::Unclear, 550, "5.1.1", "", HardBounce),
            (Class::Soft, 550, "5.1.1", "", HardBounce),
            (Class::Hard, 556, "5.1.10", "Domain has null MX", HardBounce),
            (Class::Hard, 550, "5.2.1", "account disabled", HardBounce),
            (Class::Hard, 550, "5.7.1", "user unknown", Blocked),
            (Class::Hard, 550, "5.7.26", "", Blocked),
            (Class::Hard, 550, "5.1.1", "blocked using zen.spamhaus.org", Blocked),
            (Class::Hard, 554, "", "rejected for policy reasons", Blocked),
            (Class::Hard, 552, "5.2.2", "over quota", SoftBounce),
            (Class::Hard, 552, "", "Mailbox full", SoftBounce),
            (Class::Hard, 552, "5.3.4", "", Blocked),
            (Class::Hard, 450, "4.2.0", "", SoftBounce),
            (Class::Hard, 421, "", "try later", SoftBounce),
            (Class::Hard, 550, "", "", HardBounce),
            (Class::Unclear, 550, "", "", Failed),
            (Class::Unclear, 550, "", "550 No such user here", HardBounce),
            (Class::Blocked, 0, "", "no such user", Blocked),
            (Class::Soft, 0, "", "", SoftBounce),
        ] {
            assert_eq!(kind(class, smtp, enhanced, text), expected, "{class:?} {enhanced} {text}");
        }
    }

    #[test]
    fn an_administrators_rows_come_first() {
        let row = Diagnostic { text: "over quota".to_owned(), kind: EventKind::HardBounce };
        let faults = Faults { own: vec![row] };
        let said = Said { smtp: None, enhanced: Some("5.2.2"), text: "550 Over Quota" };
        assert_eq!(faults.kind(Class::Soft, &said), EventKind::HardBounce);
    }
}
