//! Postfix's tables. access(5), for `check_recipient_access`: smtpd refuses at RCPT. transport(5),
//! for `transport_maps`: every way out is closed, by error(8) for good or by retry(8) for now.
//!
//! A key is written only in a form that Postfix 3.7.11 was seen to match; every other address is
//! unfit. Never a domain's row: an access table would take it for its subdomains, too. Never
//! DISCARD or `discard:`, which drop mail in silence.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::key::folded_u_label;
use super::{Entry, Format, Rows, Shape, Table, Unfit};
use crate::model::reply::{self, Reply};

/// Longest key, in bytes: LMDB takes 511, and a NUL is added. `postmap` gives up the whole table
/// for one longer key.
const KEY_BYTES_MAX: usize = 510;

/// A row of text: key, tab, value.
const SHAPE: Shape = Shape { separator: "\t", ..Shape::LINES };

/// One of the tables that Postfix asks about a recipient.
pub(super) struct Postfix {
    name: &'static str,
    config: &'static str,
    /// What a row's value is, from the reply.
    answer: fn(&str) -> String,
}

/// `postfix-access`.
pub(super) static ACCESS: Postfix = Postfix {
    name: "postfix-access",
    config: "\
# /etc/postfix/main.cf. First in the list, before anything that permits.
smtpd_recipient_restrictions =
    check_recipient_access {type}:{map},
    permit_mynetworks,
    permit_sasl_authenticated,
    reject_unauth_destination
",
    answer: action,
};

/// `postfix-transport`.
pub(super) static TRANSPORT: Postfix = Postfix {
    name: "postfix-transport",
    config: "\
# /etc/postfix/main.cf. First in the list: what else is in transport_maps comes after it.
transport_maps = {type}:{map}
",
    answer: transport,
};

/// smtpd wants an SMTP code first.
pub(super) fn action(reply: &str) -> String {
    match Reply::parse(reply) {
        Some(parts) if parts.code.is_none() => format!("{} {reply}", parts.code()),
        _ => reply.to_owned(),
    }
}

/// The transport stands for the SMTP code, which Postfix makes from it.
fn transport(reply: &str) -> String {
    let Some(parts) = Reply::parse(reply) else { return String::new() };
    let transport = if parts.permanent { "error" } else { "retry" };
    format!("{transport}:{} {}", parts.status(), parts.text)
}

impl Format for Postfix {
    fn name(&self) -> &'static str {
        self.name
    }

    fn config(&self) -> &'static str {
        self.config
    }

    fn uncompiled(&self) -> Option<&'static str> {
        Some("texthash")
    }

    /// Text is compiled by `postmap`.
    fn called(&self, table: Table) -> [&'static str; 2] {
        match table {
            Table::Text | Table::Lmdb => ["lmdb"; 2],
            Table::Cdb => ["cdb"; 2],
        }
    }

    /// Postfix adds these to the name of a map.
    fn ending(&self, table: Table) -> &'static str {
        match table {
            Table::Text => "",
            Table::Lmdb => ".lmdb",
            Table::Cdb => ".cdb",
        }
    }

    fn tables(&self) -> &'static [Table] {
        &[Table::Text, Table::Lmdb, Table::Cdb]
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn has_replies(&self) -> bool {
        true
    }

    fn check_reply(&self, reply: &str) -> Result<(), String> {
        reply::check(reply).map(|_| ())
    }

    fn answer(&self, reply: &str) -> String {
        (self.answer)(reply)
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        add(entry, rows)
    }
}

/// Adds the rows of one address.
///
/// # Errors
/// When Postfix would not find them, or would find them for others.
fn add(entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
    let local = lookup_local(entry.local);
    check(local, entry.domain, entry.style.table)?;
    let wide = folded_u_label(entry.domain);
    let before = rows.count();
    for domain in [Some(entry.domain), wide.as_deref()].into_iter().flatten() {
        // A U-label can be longer than its A-label. The plain row still holds then.
        let fits = local.len() + 1 + domain.len() <= KEY_BYTES_MAX;
        if fits || entry.style.table == Table::Cdb {
            rows.add(&[local, "@", domain], &[entry.answer()]);
        }
    }
    if rows.count() > before { Ok(()) } else { Err(Unfit("the key is too long for LMDB")) }
}

/// The local part as Postfix asks for it: it sees no need for quotes in white space beyond ASCII.
pub(super) fn lookup_local(local: &str) -> &str {
    let special = |c: char| c.is_ascii() && (c.is_whitespace() || "\"(),:;<>@[\\]".contains(c));
    match local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) if !inside.contains(special) => inside,
        _ => local,
    }
}

fn check(local: &str, domain: &str, table: Table) -> Result<(), Unfit> {
    if table == Table::Text && local.starts_with('#') {
        // As it is, a comment; in quotes, a key that Postfix never asks for.
        return Err(Unfit("the local part starts with #"));
    }
    check_lookup(local, domain)
}

/// Refuses what smtpd was not seen to match, whatever holds the rows.
pub(super) fn check_lookup(local: &str, domain: &str) -> Result<(), Unfit> {
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

#[cfg(test)]
mod tests {
    use super::super::test;
    use super::*;

    fn keys(address: &str) -> Result<Vec<String>, Unfit> {
        test::rows("postfix-access", address).map(test::keys)
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
    fn replies_become_actions_and_transports() {
        for (reply, action, transport) in [
            (
                "5.1.1 suppressed: manual",
                "550 5.1.1 suppressed: manual",
                "error:5.1.1 suppressed: manual",
            ),
            ("4.7.1 later", "450 4.7.1 later", "retry:4.7.1 later"),
            ("550 no", "550 no", "error:5.0.0 no"),
            ("550 no manual, manual", "550 no manual, manual", "error:5.0.0 no manual, manual"),
            ("450 4.7.1 later", "450 4.7.1 later", "retry:4.7.1 later"),
            ("421 4.3.2 gone", "421 4.3.2 gone", "retry:4.3.2 gone"),
        ] {
            for (format, answer) in [(&ACCESS, action), (&TRANSPORT, transport)] {
                assert_eq!(format.check_reply(reply), Ok(()), "{reply}");
                assert_eq!(format.answer(reply), answer);
            }
        }
    }
}
