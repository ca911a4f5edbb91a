//! Numbers in a reply's text: which of them are a reply code that a server gave.

use super::codes::Enhanced;

/// What follows a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Next {
    #[default]
    Other,
    Code,
    Unit,
}

impl Next {
    pub(super) fn of(behind: &str) -> Next {
        let word = behind.split_whitespace().next().unwrap_or_default();
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        match bare {
            _ if Enhanced::parse(bare).is_some() => Next::Code,
            _ if UNITS.iter().any(|unit| bare.eq_ignore_ascii_case(unit)) => Next::Unit,
            _ => Next::Other,
        }
    }
}

/// What is counted or measured: a number before it is no reply code.
const UNITS: &[&str] = &[
    "days",
    "hours",
    "minutes",
    "seconds",
    "times",
    "messages",
    "recipients",
    "users",
    "kb",
    "mb",
    "bytes",
];

/// What a server's reply is quoted behind: `said: 450`, `error 451`.
pub(super) const QUOTES: &[&str] = &[
    "said",
    "says",
    "reply",
    "replied",
    "response",
    "responded",
    "returned",
    "returns",
    "error",
    "status",
    "code",
    "smtp",
    "esmtp",
    "got",
    "server",
    "host",
];

/// A reply code in front of something else.
pub(super) fn leading_reply(token: &str) -> Option<(u16, &str)> {
    let (digits, rest) = token.split_at_checked(3)?;
    let reply: u16 = digits.parse().ok()?;
    // A mailbox may begin with three digits: `421@qq.com`, `421-4.7.0@x.example`.
    let is_mailbox = rest.starts_with('@') || rest.contains('@') && !rest.contains([' ', ':']);
    let ends = rest.chars().next().is_none_or(|c| !c.is_alphanumeric() && c != '.' && c != '_');
    let ends = ends && !is_mailbox;
    ((400..600).contains(&reply) && ends && digits.is_ascii()).then_some((reply, rest))
}

/// Whether a word is a reply code by which a server takes what it is given: `250`, `252-2.1.5`.
pub(super) fn agrees(token: &str) -> bool {
    matches!(token.as_bytes(), [b'2', b'5', b'0'..=b'9'] | [b'2', b'5', b'0'..=b'9', b'-', ..])
}
