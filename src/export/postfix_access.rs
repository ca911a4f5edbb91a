//! Postfix access(5) tables, for `check_recipient_access`: smtpd refuses at RCPT.
//!
//! Never writes an action that drops mail, such as DISCARD.

use super::{Entry, Format, Rows, Shape, Table, Unfit, postfix};
use crate::model::reply::{self, Reply};

const CONFIG: &str = "\
# /etc/postfix/main.cf. First in the list, before anything that permits.
smtpd_recipient_restrictions =
    check_recipient_access {type}:{map},
    permit_mynetworks,
    permit_sasl_authenticated,
    reject_unauth_destination
";

/// `postfix-access`.
pub(super) struct PostfixAccess;

impl Format for PostfixAccess {
    fn name(&self) -> &'static str {
        "postfix-access"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn called(&self, table: Table) -> [&'static str; 2] {
        postfix::called(table)
    }

    fn ending(&self, table: Table) -> &'static str {
        postfix::ending(table)
    }

    fn tables(&self) -> &'static [Table] {
        postfix::TABLES
    }

    fn shape(&self) -> &'static Shape {
        &postfix::SHAPE
    }

    fn default_reply(&self) -> Option<&'static str> {
        Some(reply::DEFAULT)
    }

    fn check_reply(&self, reply: &str) -> Result<(), String> {
        reply::check(reply).map(|_| ())
    }

    /// Postfix wants an SMTP code first.
    fn answer(&self, reply: &str) -> String {
        match Reply::parse(reply) {
            Some(parts) if parts.code.is_none() => format!("{} {reply}", parts.code()),
            _ => reply.to_owned(),
        }
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        postfix::rows(entry, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_get_the_code_that_postfix_needs() {
        for (reply, answer) in [
            ("5.1.1 suppressed: manual", "550 5.1.1 suppressed: manual"),
            ("4.7.1 later", "450 4.7.1 later"),
            ("550 no manual, manual", "550 no manual, manual"),
            ("450 4.7.1 later", "450 4.7.1 later"),
            ("421 4.3.2 gone", "421 4.3.2 gone"),
        ] {
            assert_eq!(PostfixAccess.check_reply(reply), Ok(()), "{reply}");
            assert_eq!(PostfixAccess.answer(reply), answer);
        }
    }
}
