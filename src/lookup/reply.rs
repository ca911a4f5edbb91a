//! What an MTA is told to do with mail to a suppressed address, in the words of its tables.
//!
//! All replies are made once, for each reason and style: answering a query copies one of them.

use crate::model::Reason;
use crate::model::reply::{Refusals, Reply};

/// Which table of an MTA the answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Postfix's access(5), and whatever takes an SMTP reply: `550 5.1.1 text`.
    Access,
    /// Postfix's transport(5): `error:5.1.1 text`.
    Transport,
    /// Sendmail's access map: `ERROR:5.1.1:"550 text"`.
    Sendmail,
}

impl Style {
    /// Every style.
    pub const ALL: [Style; 3] = [Style::Access, Style::Transport, Style::Sendmail];

    /// Its name in the configuration, and as a table's name in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Style::Access => "access",
            Style::Transport => "transport",
            Style::Sendmail => "sendmail",
        }
    }

    /// From its name.
    pub fn parse(text: &str) -> Option<Style> {
        Style::ALL.into_iter().find(|style| style.as_str() == text)
    }
}

/// One reply in every style, for every reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replies([[Box<str>; Reason::ALL.len()]; Style::ALL.len()]);

impl Replies {
    /// From the configured replies, each of which was checked.
    pub fn new(refusals: &Refusals) -> Replies {
        let write = |style, reason| {
            let filled = refusals.get(reason);
            Reply::parse(&filled).map_or(Box::default(), |reply| write(&reply, style).into())
        };
        Replies(Style::ALL.map(|style| Reason::ALL.map(|reason| write(style, reason))))
    }

    /// The reply of a style for a reason.
    pub fn get(&self, style: Style, reason: Reason) -> &str {
        let place = Reason::ALL.iter().position(|known| *known == reason).unwrap_or_default();
        &self.0[style as usize][place]
    }
}

/// A reply in the words of a table.
fn write(reply: &Reply<'_>, style: Style) -> String {
    let Reply { status, text, permanent, .. } = *reply;
    match (style, status) {
        (Style::Access, Some(status)) => format!("{} {status} {text}", reply.code()),
        (Style::Access, None) => format!("{} {text}", reply.code()),
        // error(8) makes every code a permanent one.
        (Style::Transport, _) if permanent => format!("error:{} {text}", reply.status()),
        (Style::Transport, _) => format!("retry:{} {text}", reply.status()),
        // Without the quotes Sendmail drops a space.
        (Style::Sendmail, _) => {
            let text = text.replace(is_rewritten, "'");
            format!("ERROR:{}:\"{} {text}\"", reply.status(), reply.code())
        }
    }
}

/// What Sendmail's rules may take for something else, such as `%1`.
fn is_rewritten(c: char) -> bool {
    !c.is_ascii_alphanumeric() && !" .,:;/=@'_+-{}".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_written_in_every_style() {
        for (reply, expected) in [
            (
                "5.1.1 suppressed: {reason}",
                [
                    "550 5.1.1 suppressed: hard bounce",
                    "error:5.1.1 suppressed: hard bounce",
                    "ERROR:5.1.1:\"550 suppressed: hard bounce\"",
                ],
            ),
            ("4.7.1 later", ["450 4.7.1 later", "retry:4.7.1 later", "ERROR:4.7.1:\"450 later\""]),
            ("554 5.7.1 a b", ["554 5.7.1 a b", "error:5.7.1 a b", "ERROR:5.7.1:\"554 a b\""]),
            ("451 wait", ["451 wait", "retry:4.0.0 wait", "ERROR:4.0.0:\"451 wait\""]),
            (
                "550 \"q\" %1",
                ["550 \"q\" %1", "error:5.0.0 \"q\" %1", "ERROR:5.0.0:\"550 'q' '1\""],
            ),
            ("550 5.1 x", ["550 5.1 x", "error:5.0.0 5.1 x", "ERROR:5.0.0:\"550 5.1 x\""]),
        ] {
            let replies = Replies::new(&Refusals::same(reply));
            let made = Style::ALL.map(|style| replies.get(style, Reason::HardBounce));
            assert_eq!(made, expected, "{reply}");
        }
        let replies = Replies::new(&Refusals::default());
        for (reason, expected) in [
            (Reason::Complaint, "550 5.7.1 suppressed: complaint"),
            (Reason::HardBounce, "550 5.1.1 suppressed: hard bounce"),
            (Reason::Invalid, "550 5.1.3 suppressed: invalid"),
            (Reason::Unsubscribe, "550 5.7.1 suppressed: unsubscribe"),
            (Reason::Manual, "550 5.7.1 suppressed: manual"),
            (Reason::ProviderListed, "550 5.7.1 suppressed: provider listed"),
            (Reason::SoftBounces, "550 5.2.0 suppressed: soft bounces"),
        ] {
            assert_eq!(replies.get(Style::Access, reason), expected);
        }
    }
}
