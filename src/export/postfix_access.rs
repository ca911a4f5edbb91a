//! Postfix access(5) tables in text form, for `check_recipient_access` after `postmap`.
//!
//! A row is written only in a form that Postfix's smtpd was seen to match (3.7.11); every other
//! address is unfit. Never writes an action that drops mail, such as DISCARD, nor a domain's row.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Format, Row, Unfit};
use crate::model::{Address, Reason, Suppression};

/// Longest key, in bytes: LMDB takes 511, and `postmap` adds a NUL. One longer key would make it
/// give up the whole table.
const KEY_BYTES_MAX: usize = 510;

/// Longest reply with its placeholders filled in, in bytes. SMTP allows 512 for a whole line, and
/// Postfix adds the address.
const REPLY_BYTES_MAX: usize = 400;

/// What stands for the reason in a reply.
const PLACEHOLDER: &str = "{reason}";

/// `postfix-access`.
pub(super) struct PostfixAccess;

impl Format for PostfixAccess {
    fn name(&self) -> &'static str {
        "postfix-access"
    }

    fn default_reply(&self) -> &'static str {
        "5.1.1 suppressed: {reason}"
    }

    fn check_reply(&self, reply: &str) -> Result<(), String> {
        if reply.bytes().any(|b| b.is_ascii_control() || !b.is_ascii()) {
            return Err("must be one line of printable ASCII".to_owned());
        }
        if reply.replace(PLACEHOLDER, "").contains(['{', '}']) {
            return Err("knows no placeholder but {reason}".to_owned());
        }
        if Reason::ALL.iter().any(|reason| fill(reply, *reason).len() > REPLY_BYTES_MAX) {
            return Err(format!("must not be longer than {REPLY_BYTES_MAX} bytes"));
        }
        match prefix(reply) {
            Some(_) => Ok(()),
            None => Err("must be a code and a text, such as \"5.1.1 suppressed\", \
                 \"4.7.1 suppressed\" or \"550 5.1.1 suppressed\""
                .to_owned()),
        }
    }

    fn rows(
        &self,
        address: &Address,
        suppression: &Suppression,
        reply: &str,
    ) -> Result<Vec<Row>, Unfit> {
        let local = lookup_local(address.local());
        check_address(&local, address.domain())?;
        let prefix = prefix(reply).ok_or(Unfit("the reply has no code"))?;
        let value = format!("{prefix}{}", fill(reply, suppression.reason));
        let row = |domain: &str| Row { key: format!("{local}@{domain}"), value: value.clone() };
        let mut rows = vec![row(address.domain())];
        rows.extend(u_label(address.domain()).map(|domain| row(&domain)));
        // A U-label can be longer than its A-label. The plain row still holds then.
        rows.retain(|row| row.key.len() <= KEY_BYTES_MAX);
        if rows.is_empty() { Err(Unfit("the key is too long for LMDB")) } else { Ok(rows) }
    }

    fn separator(&self) -> &'static str {
        "\t"
    }
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

fn fill(reply: &str, reason: Reason) -> String {
    reply.replace(PLACEHOLDER, words(reason))
}

/// What must stand before a reply: an SMTP code, unless it has one. `None`: no reply of ours.
fn prefix(reply: &str) -> Option<&'static str> {
    let (code, text) = reply.split_once(' ')?;
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    match enhanced_class(code) {
        Some(b'5') => return Some("550 "),
        Some(_) => return Some("450 "),
        None => {}
    }
    let &[class @ (b'4' | b'5'), b'0'..=b'9', b'0'..=b'9'] = code.as_bytes() else {
        return None;
    };
    // Postfix needs a text, and the two codes of a reply must not contradict each other.
    let (next, rest) = text.split_once(' ').unwrap_or((text, ""));
    match enhanced_class(next) {
        Some(other) => (other == class && !rest.is_empty()).then_some(""),
        None => Some(""),
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

/// The local part as Postfix asks for it: it sees no need for quotes in white space beyond ASCII.
fn lookup_local(local: &str) -> String {
    let special = |c: char| c.is_ascii() && (c.is_whitespace() || "\"(),:;<>@[\\]".contains(c));
    match local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) if !inside.contains(special) => inside.to_owned(),
        _ => local.to_owned(),
    }
}

fn check_address(local: &str, domain: &str) -> Result<(), Unfit> {
    if local.starts_with('#') {
        // As it is, a comment; in quotes, a key that smtpd never asks for.
        return Err(Unfit("the local part starts with #"));
    }
    let Some(literal) = domain.strip_prefix('[') else {
        return check_domain(domain);
    };
    if local.contains(['%', '!', '@']) {
        return Err(Unfit("Postfix takes the local part for a route"));
    }
    let literal = literal.strip_suffix(']').unwrap_or(literal);
    let is_address = match literal.strip_prefix("ipv6:") {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => literal.parse::<Ipv4Addr>().is_ok(),
    };
    if is_address { Ok(()) } else { Err(Unfit("Postfix refuses the address literal")) }
}

/// Refuses what smtpd refuses itself: nothing was seen to match there.
fn check_domain(domain: &str) -> Result<(), Unfit> {
    if domain.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(Unfit("the domain is numeric"));
    }
    if domain.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err(Unfit("a label of the domain starts or ends with a hyphen"));
    }
    Ok(())
}

/// The domain in U-labels, if it has any and Postfix can tell it from other domains.
///
/// Postfix folds the case of both key and query: `faß.example` becomes `fass.example`, which is
/// somebody else's. Such a domain has a row in A-labels only.
fn u_label(domain: &str) -> Option<String> {
    // Only a name with an A-label has another form; most have none, and this is asked per row.
    if domain.starts_with('[') || !domain.contains("xn--") {
        return None;
    }
    let (unicode, result) = idna::domain_to_unicode(domain);
    if result.is_err() || unicode == domain {
        return None;
    }
    let folded = unicase::UniCase::unicode(&unicode).to_folded_case();
    let back = idna::domain_to_ascii(&folded).ok()?;
    (back == domain).then_some(folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Scope, Time, Until};

    fn keys(address: &str) -> Result<Vec<String>, Unfit> {
        let address = Address::parse(address).unwrap();
        let suppression = Suppression {
            address: address.received().into(),
            scope: Scope::Global,
            reason: Reason::HardBounce,
            since: Time::from_seconds(0),
            until: Until::Forever,
            sources: vec![],
            note: None,
        };
        let rows = PostfixAccess.rows(&address, &suppression, PostfixAccess.default_reply())?;
        assert!(rows.iter().all(|row| row.value == "550 5.1.1 suppressed: hard bounce"));
        Ok(rows.into_iter().map(|row| row.key).collect())
    }

    /// Each of these keys was seen to match at RCPT.
    #[test]
    fn keys_are_what_smtpd_asks_for() {
        for (address, expected) in [
            ("User+Tag@Example.COM", &["user+tag@example.com"][..]),
            ("\"John Smith\"@x.test", &["\"john smith\"@x.test"]),
            ("\" a  b \"@x.test", &["\" a  b \"@x.test"]),
            (r#""a\\"@x.test"#, &[r#""a\\"@x.test"#]),
            (r#""q \"r\""@x.test"#, &[r#""q \"r\""@x.test"#]),
            ("\"a@b\"@x.test", &["\"a@b\"@x.test"]),
            ("\"#x y\"@x.test", &["\"#x y\"@x.test"]),
            ("us#er@x.test", &["us#er@x.test"]),
            ("..x.@x.test", &["..x.@x.test"]),
            ("\"a\u{a0}b\"@x.test", &["a\u{a0}b@x.test"]),
            ("\"a\u{a0}b c\"@x.test", &["\"a\u{a0}b c\"@x.test"]),
            ("STRAßE@x.test", &["strasse@x.test"]),
            ("a@[127.0.0.1]", &["a@[127.0.0.1]"]),
            ("a@[IPv6:2001:DB8::1]", &["a@[ipv6:2001:db8::1]"]),
            ("a@BÜCHER.example", &["a@xn--bcher-kva.example", "a@bücher.example"]),
            ("a@faß.example", &["a@xn--fa-hia.example"]),
            ("a@βόλος.example", &["a@xn--nxasmm1c.example"]),
            ("a@fass.example", &["a@fass.example"]),
        ] {
            let keys = keys(address).unwrap();
            assert_eq!(keys, expected, "{address:?}");
        }
    }

    #[test]
    fn what_smtpd_would_not_match_is_unfit() {
        for address in [
            "#x@d.test",
            "\"#x\"@d.test",
            "\"#\u{a0}x\"@d.test",
            "a%b@[127.0.0.1]",
            "a!b@[127.0.0.1]",
            "\"a@b\"@[127.0.0.1]",
            "a@[x]",
            "a@[1.2]",
            "a@[ipv6:x]",
            "a@[::1]",
            "a@1.2.3.4",
            "a@-lead.test",
            "a@trail-.test",
            &format!("{}@x.test", "\u{390}".repeat(150)),
        ] {
            assert!(keys(address).is_err(), "{address:?}");
        }
        let growing = format!("{}@x.test", "\u{390}".repeat(80));
        assert_eq!(keys(&growing).map(|keys| keys[0].len()), Ok(80 * 6 + 7));
    }

    #[test]
    fn replies_get_the_code_that_postfix_needs() {
        for (reply, row) in [
            ("5.1.1 suppressed: {reason}", "550 5.1.1 suppressed: provider listed"),
            ("4.7.1 later", "450 4.7.1 later"),
            ("550 no {reason}, {reason}", "550 no provider listed, provider listed"),
            ("450 4.7.1 later", "450 4.7.1 later"),
            ("421 4.3.2 gone", "421 4.3.2 gone"),
        ] {
            assert_eq!(PostfixAccess.check_reply(reply), Ok(()), "{reply}");
            let filled = fill(reply, Reason::ProviderListed);
            assert_eq!(format!("{}{filled}", prefix(reply).unwrap()), row);
        }
        assert_eq!(PostfixAccess.check_reply(PostfixAccess.default_reply()), Ok(()));
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
            assert!(PostfixAccess.check_reply(reply).is_err(), "{reply:?}");
        }
    }
}
