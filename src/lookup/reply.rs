//! What an MTA is told to do with mail to a suppressed address, in the words of its tables.
//!
//! All replies are made once, for each reason and style: answering a query copies one of them.

use crate::model::Reason;

/// What is replied unless the configuration says so.
pub const DEFAULT_REPLY: &str = "5.1.1 suppressed: {reason}";

/// Longest reply with its placeholder filled in, in bytes. SMTP allows 512 for a whole line, and
/// the MTA adds the address.
const REPLY_BYTES_MAX: usize = 400;

/// What stands for the reason in a reply.
const PLACEHOLDER: &str = "{reason}";

const WANTED: &str = "must be a code and a text, such as \"5.1.1 suppressed\", \
     \"4.7.1 suppressed\" or \"550 5.1.1 suppressed\"";

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
    /// From a configured reply, in which `{reason}` stands for the reason, in words.
    ///
    /// # Errors
    /// Says what it must be.
    pub fn parse(reply: &str) -> Result<Replies, String> {
        if reply.bytes().any(|b| b.is_ascii_control() || !b.is_ascii()) {
            return Err("must be one line of printable ASCII".to_owned());
        }
        if reply.replace(PLACEHOLDER, "").contains(['{', '}']) {
            return Err("knows no placeholder but {reason}".to_owned());
        }
        let parts = Parts::parse(reply).ok_or(WANTED)?;
        let fill = |style| {
            Reason::ALL.map(|reason| parts.write(style).replace(PLACEHOLDER, words(reason)).into())
        };
        let replies = Replies(Style::ALL.map(fill));
        if replies.0.iter().flatten().all(|text| text.len() <= REPLY_BYTES_MAX) {
            Ok(replies)
        } else {
            Err(format!("must not be longer than {REPLY_BYTES_MAX} bytes"))
        }
    }

    /// The reply of a style for a reason.
    pub fn get(&self, style: Style, reason: Reason) -> &str {
        let place = Reason::ALL.iter().position(|known| *known == reason).unwrap_or_default();
        &self.0[style as usize][place]
    }
}

/// The parts of a reply.
struct Parts<'a> {
    /// The SMTP code.
    code: &'a str,
    /// The enhanced status code (RFC 3463), if it has one.
    enhanced: Option<&'a str>,
    text: &'a str,
}

impl<'a> Parts<'a> {
    fn parse(reply: &'a str) -> Option<Parts<'a>> {
        let (first, rest) = word(reply);
        let (code, (enhanced, text)) = if let Some(class) = enhanced_class(first) {
            (if class == b'5' { "550" } else { "450" }, (Some(first), rest))
        } else {
            let (next, after) = word(rest);
            let enhanced = enhanced_class(next);
            // The two codes of a reply must not contradict each other.
            let agree = enhanced.is_none_or(|class| first.as_bytes().first() == Some(&class));
            let is_code = matches!(first.as_bytes(), [b'4' | b'5', b'0'..=b'9', b'0'..=b'9']);
            let parts = if enhanced.is_some() { (Some(next), after) } else { (None, rest) };
            (Some(first).filter(|_| is_code && agree)?, parts)
        };
        (!text.is_empty()).then_some(Parts { code, enhanced, text })
    }

    fn write(&self, style: Style) -> String {
        let Parts { code, enhanced, text } = *self;
        let permanent = code.starts_with('5');
        let status = enhanced.unwrap_or(if permanent { "5.0.0" } else { "4.0.0" });
        match (style, enhanced) {
            (Style::Access, Some(enhanced)) => format!("{code} {enhanced} {text}"),
            (Style::Access, None) => format!("{code} {text}"),
            // error(8) makes every code a permanent one.
            (Style::Transport, _) if permanent => format!("error:{status} {text}"),
            (Style::Transport, _) => format!("retry:{status} {text}"),
            // Without the quotes Sendmail drops a space.
            (Style::Sendmail, _) => {
                format!("ERROR:{status}:\"{code} {}\"", text.replace(is_rewritten, "'"))
            }
        }
    }
}

/// What Sendmail's rules may take for something else, such as `%1`.
fn is_rewritten(c: char) -> bool {
    !c.is_ascii_alphanumeric() && !" .,:;/=@'_+-{}".contains(c)
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    (first, rest.trim())
}

/// The class of an enhanced status code, if it is one of failure.
fn enhanced_class(word: &str) -> Option<u8> {
    let number =
        |part: &str| matches!(part.len(), 1..=3) && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts = word.split('.');
    let class = parts.next().filter(|class| matches!(*class, "4" | "5"))?;
    let fits = parts.next().is_some_and(number) && parts.next().is_some_and(number);
    (fits && parts.next().is_none()).then(|| class.as_bytes()[0])
}

/// The reason as a sender should read it.
fn words(reason: Reason) -> &'static str {
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
    fn a_reply_is_written_in_every_style() {
        for (reply, expected) in [
            (
                DEFAULT_REPLY,
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
            let replies = Replies::parse(reply).unwrap();
            let made = Style::ALL.map(|style| replies.get(style, Reason::HardBounce));
            assert_eq!(made, expected, "{reply}");
        }
        let replies = Replies::parse(DEFAULT_REPLY).unwrap();
        for reason in Reason::ALL {
            let expected = format!("550 5.1.1 suppressed: {}", reason.as_str().replace('_', " "));
            assert_eq!(replies.get(Style::Access, reason), expected);
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for reply in [
            "",
            "550",
            "5.1.1",
            "5.1.1 ",
            "550 5.1.1",
            "550 4.7.1 contradiction",
            "450 5.1.1 contradiction",
            "250 ok",
            "2.0.0 ok",
            "5501 text",
            "DISCARD quietly",
            "OK",
            "DUNNO",
            "REJECT suppressed",
            "FILTER smtp:[x]",
            "action=550 x",
            "550 line\naction=OK",
            "550 a\tb",
            "550 gr\u{fc}n",
            "550 {address}",
            "550 {reason",
            &format!("550 {}", "x".repeat(400)),
            &format!("550 {}", "{reason}".repeat(40)),
        ] {
            assert!(Replies::parse(reply).is_err(), "{reply:?}");
        }
    }
}
