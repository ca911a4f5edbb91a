//! An address as a regular expression, for readers whose maps hold nothing else: Postfix's
//! `regexp:` and `pcre:` (regexp_table(5), pcre_table(5)), and Rspamd's maps with `regexp = true`.
//!
//! Each is anchored and escaped, so that it matches its address and no other. Readers fold ASCII
//! letters alone: other letters of a domain stand in both cases, local parts with others are unfit.

use super::key::folded_u_label;
use super::{Entry, Format, Rows, Shape, Table, Unfit};
use super::{postfix, rspamd};
use crate::model::reply;

/// What means more than itself in an expression, or ends it.
const SPECIAL: &str = "\\^$.[]|()*+?{}/";

/// A row: the expression, and what follows from it.
const SHAPE: Shape = Shape { open: "/^", quotes: false, ..Shape::LINES };
const POSTFIX_SHAPE: Shape = Shape { separator: "$/ ", ..SHAPE };
const RSPAMD_SHAPE: Shape = Shape { separator: "$/i", ..SHAPE };

/// `postfix-regexp`.
pub(super) struct Postfix;

impl Format for Postfix {
    fn name(&self) -> &'static str {
        "postfix-regexp"
    }

    fn config(&self) -> &'static str {
        "\
# /etc/postfix/main.cf. First in the list, before anything that permits.
smtpd_recipient_restrictions =
    check_recipient_access {type}:{map},
    permit_mynetworks,
    permit_sasl_authenticated,
    reject_unauth_destination
"
    }

    fn called(&self, _table: Table) -> [&'static str; 2] {
        ["regexp"; 2]
    }

    fn shape(&self) -> &'static Shape {
        &POSTFIX_SHAPE
    }

    fn has_replies(&self) -> bool {
        true
    }

    fn check_reply(&self, reply: &str) -> Result<(), String> {
        reply::check(reply).map(|_| ())
    }

    /// A dollar would stand for a part of what was matched.
    fn answer(&self, reply: &str) -> String {
        postfix::action(reply).replace('$', "$$")
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        let local = postfix::lookup_local(entry.local);
        if !local.is_ascii() {
            return Err(Unfit("the local part is not ASCII"));
        }
        postfix::check_lookup(local, entry.domain)?;
        let wide = folded_u_label(entry.domain);
        for domain in [Some(entry.domain), wide.as_deref()].into_iter().flatten() {
            rows.add(&[&expression(local), "@", &expression(domain)], &[entry.answer()]);
        }
        Ok(())
    }
}

/// `rspamd-regexp`.
pub(super) struct Rspamd;

impl Format for Rspamd {
    fn name(&self) -> &'static str {
        "rspamd-regexp"
    }

    fn config(&self) -> &'static str {
        "\
# /etc/rspamd/local.d/multimap.conf
SUPPRESSED_RECIPIENT {
  type = \"rcpt\";
  map = \"file://{path}\";
  regexp = true;
  prefilter = true;
  action = \"reject\";
  message = \"suppressed recipient\";
}
"
    }

    fn shape(&self) -> &'static Shape {
        &RSPAMD_SHAPE
    }

    fn shares_keys(&self) -> bool {
        true
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        let local = rspamd::lookup_local(entry)?;
        rows.add(&[&expression(&local), "@", &expression(entry.domain)], &[]);
        Ok(())
    }
}

/// What matches a text and nothing else, but for the case of its letters.
fn expression(text: &str) -> String {
    let mut expression = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if SPECIAL.contains(c) {
            expression.push('\\');
        }
        let upper: String = c.to_uppercase().collect();
        if c.is_ascii() || upper == c.to_string() {
            expression.push(c);
        } else {
            expression.push_str(&format!("({c}|{upper})"));
        }
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::super::test;
    use super::*;

    #[test]
    fn an_expression_matches_itself_alone() {
        for (address, expected) in [
            ("User+Tag@Example.COM", &["user\\+tag@example\\.com"][..]),
            ("a.b/c@x.test", &["a\\.b\\/c@x\\.test"]),
            ("$^*?{}|@x.test", &["\\$\\^\\*\\?\\{\\}\\|@x\\.test"]),
            ("#x@d.test", &["#x@d\\.test"]),
            ("\"a (b)\"@x.test", &["\"a \\(b\\)\"@x\\.test"]),
            ("a@B\u{dc}CHER.test", &["a@xn--bcher-kva\\.test", "a@b(\u{fc}|\u{dc})cher\\.test"]),
        ] {
            let rows = test::rows("postfix-regexp", address).unwrap();
            assert_eq!(test::keys(rows), expected, "{address}");
        }
        assert!(test::rows("postfix-regexp", "jos\u{e9}@x.test").is_err());
        for address in ["a#b@x.test", "\"a b\"@x.test", "jos\u{e9}@x.test", "a@[127.0.0.1]"] {
            assert!(test::rows("rspamd-regexp", address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_reply_stands_for_itself() {
        assert_eq!(Postfix.answer("5.1.1 costs $1"), "550 5.1.1 costs $$1");
    }
}
