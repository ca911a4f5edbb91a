//! The reply that an administrator configures: an SMTP refusal with the reason in words.
//!
//! Never written as it is: formats and protocols put its parts into the words of an MTA's tables.

use super::Reason;

/// The reply for each reason, before the reason stands in it in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals([Box<str>; Reason::ALL.len()]);

impl Default for Refusals {
    /// What an MTA says unless it is told otherwise.
    fn default() -> Refusals {
        Refusals(Reason::ALL.map(|reason| usual(reason).into()))
    }
}

impl Refusals {
    /// The same reply for every reason.
    pub fn same(reply: &str) -> Refusals {
        Refusals(Reason::ALL.map(|_| reply.into()))
    }

    /// Another reply for one reason.
    pub fn set(&mut self, reason: Reason, reply: &str) {
        let replies = Reason::ALL.iter().zip(&mut self.0);
        for (_, known) in replies.filter(|(known, _)| **known == reason) {
            *known = reply.into();
        }
    }

    /// The reply for a reason, with its words.
    pub fn get(&self, reason: Reason) -> String {
        let mut replies = Reason::ALL.iter().zip(&self.0);
        let reply = replies.find(|(known, _)| **known == reason).map_or("", |(_, reply)| reply);
        fill(reply, reason)
    }
}

/// The code that is true of a reason (RFC 3463, section 3; registered by RFC 5248). X.1.1: there is
/// no such mailbox; X.1.3: there can be none; X.2.0: something is wrong with the mailbox; X.7.1: we
/// do not deliver, whatever the mailbox.
pub fn usual(reason: Reason) -> &'static str {
    match reason {
        Reason::HardBounce => "5.1.1 suppressed: {reason}",
        Reason::Invalid => "5.1.3 suppressed: {reason}",
        Reason::SoftBounces => "5.2.0 suppressed: {reason}",
        Reason::Complaint | Reason::Unsubscribe | Reason::Manual | Reason::ProviderListed => {
            "5.7.1 suppressed: {reason}"
        }
    }
}

/// Longest reply with its placeholders filled in, in bytes. SMTP allows 512 for a whole line, and
/// MTAs add the address.
const REPLY_BYTES_MAX: usize = 400;

/// What stands for the reason in a reply.
const PLACEHOLDER: &str = "{reason}";

/// A refusal, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The SMTP code, such as 550, if it has one.
    pub code: Option<&'a str>,
    /// The enhanced status code, such as 5.1.1, if it has one.
    pub status: Option<&'a str>,
    /// What follows the codes.
    pub text: &'a str,
    /// Whether it is for good: of class 5, not 4.
    pub permanent: bool,
}

impl<'a> Reply<'a> {
    /// `None`: it has no code, no text, or codes that contradict each other.
    pub fn parse(reply: &'a str) -> Option<Reply<'a>> {
        let (first, text) = reply.split_once(' ').filter(|(_, text)| !text.trim().is_empty())?;
        if let Some(class) = enhanced_class(first) {
            let permanent = class == b'5';
            return Some(Reply { code: None, status: Some(first), text, permanent });
        }
        let &[class @ (b'4' | b'5'), b'0'..=b'9', b'0'..=b'9'] = first.as_bytes() else {
            return None;
        };
        let (code, permanent) = (Some(first), class == b'5');
        let text = text.trim_start();
        let (next, rest) = text.split_once(' ').unwrap_or((text, ""));
        match enhanced_class(next) {
            Some(other) if other != class || rest.trim().is_empty() => None,
            Some(_) => Some(Reply { code, status: Some(next), text: rest, permanent }),
            None => Some(Reply { code, status: None, text, permanent }),
        }
    }

    /// The SMTP code, or the usual one of its class.
    pub fn code(&self) -> &'a str {
        self.code.unwrap_or(if self.permanent { "550" } else { "450" })
    }

    /// The enhanced code, or the undefined one of its class.
    pub fn status(&self) -> &'a str {
        self.status.unwrap_or(if self.permanent { "5.0.0" } else { "4.0.0" })
    }
}

/// The class of an enhanced status code (RFC 3463), if it is one of failure.
fn enhanced_class(word: &str) -> Option<u8> {
    let number =
        |part: &str| matches!(part.len(), 1..=3) && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts = word.split('.');
    let class = parts.next().filter(|class| matches!(*class, "4" | "5"))?;
    let fits = parts.next().is_some_and(number) && parts.next().is_some_and(number);
    (fits && parts.next().is_none()).then(|| class.as_bytes()[0])
}

/// Whether a configured reply is a refusal on one line.
///
/// # Errors
/// Says what it must be.
pub fn check(reply: &str) -> Result<Reply<'_>, String> {
    if reply.bytes().any(|b| b.is_ascii_control() || !b.is_ascii()) {
        return Err("must be one line of printable ASCII".to_owned());
    }
    if reply.replace(PLACEHOLDER, "").contains(['{', '}']) {
        return Err("knows no placeholder but {reason}".to_owned());
    }
    if Reason::ALL.iter().any(|reason| fill(reply, *reason).len() > REPLY_BYTES_MAX) {
        return Err(format!("must not be longer than {REPLY_BYTES_MAX} bytes"));
    }
    Reply::parse(reply).ok_or_else(|| {
        "must be a code and a text, such as \"5.1.1 suppressed\", \"4.7.1 suppressed\" or \
         \"550 5.1.1 suppressed\""
            .to_owned()
    })
}

/// The same, where the reader can refuse for good only.
///
/// # Errors
/// Says what it must be.
pub fn check_permanent(reply: &str) -> Result<Reply<'_>, String> {
    let checked = check(reply)?;
    if checked.permanent {
        return Ok(checked);
    }
    Err("must be a refusal for good: this MTA has no other here".to_owned())
}

/// A reply with a reason in words.
pub fn fill(reply: &str, reason: Reason) -> String {
    reply.replace(PLACEHOLDER, words(reason))
}

/// The reason as a sender should read it.
pub fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::HardBounce => "hard bounce",
        Reason::Complaint => "complaint",
        Reason::SoftBounces => "soft bounces",
        Reason::Unsubscribe => "unsubscribe",
        Reason::Invalid => "invalid",
        Reason::ProviderListed => "provider listed",
        Reason::Manual => "manual",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_or_made() {
        for (reply, parts) in [
            ("5.1.1 suppressed", ("550", "5.1.1", "suppressed")),
            ("4.7.1 later", ("450", "4.7.1", "later")),
            ("550 no", ("550", "5.0.0", "no")),
            ("421 4.3.2 gone away", ("421", "4.3.2", "gone away")),
            ("554 5 x", ("554", "5.0.0", "5 x")),
        ] {
            let reply = check(reply).unwrap();
            assert_eq!((reply.code(), reply.status(), reply.text), parts);
        }
        assert!(check_permanent("450 4.7.1 later").is_err());
        assert_eq!(fill("550 {reason}, {reason}", Reason::Manual), "550 manual, manual");
    }

    #[test]
    fn each_reason_has_its_own_reply() {
        let mut refusals = Refusals::default();
        for reason in Reason::ALL {
            assert!(check_permanent(usual(reason)).is_ok());
        }
        assert_eq!(refusals.get(Reason::HardBounce), "5.1.1 suppressed: hard bounce");
        assert_eq!(refusals.get(Reason::Complaint), "5.7.1 suppressed: complaint");
        refusals.set(Reason::Complaint, "4.7.1 {reason}: later");
        assert_eq!(refusals.get(Reason::Complaint), "4.7.1 complaint: later");
        assert_eq!(refusals.get(Reason::Invalid), "5.1.3 suppressed: invalid");
        assert_eq!(Refusals::same("550 no").get(Reason::Manual), "550 no");
    }

    #[test]
    fn replies_that_are_no_refusal_are_refused() {
        for reply in [
            "",
            " ",
            "5.1.1",
            "5.1.1 ",
            "550",
            "550 5.1.1",
            "550 4.1.1 text",
            "450 5.1.1 text",
            "250 2.1.5 ok",
            "2.1.5 ok",
            "5.1 text",
            "5.1.1.1 text",
            "5.1.1234 text",
            "5..1 text",
            "5500 text",
            " 550 text",
            "DISCARD quietly",
            "OK",
            "REJECT suppressed",
            "FILTER smtp:[x]",
            "REDIRECT a@x.test",
            "550 line\nuser@x.test OK",
            "550 line\rx",
            "550 a\tb",
            "550 gr\u{fc}n",
            "550 {address}",
            "550 {reason",
            "550 reason}",
            "550 {{reason}}",
            &format!("550 {}", "x".repeat(397)),
            &format!("550 {}", "{reason}".repeat(40)),
        ] {
            assert!(check(reply).is_err(), "{reply:?}");
        }
    }
}
