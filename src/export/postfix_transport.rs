//! Postfix transport(5) tables, for `transport_maps`: every way out of the host is closed, by
//! error(8) for good or by retry(8) for now.
//!
//! Never writes `discard:`, which drops mail in silence.

use super::{Entry, Format, Rows, Shape, Table, Unfit, postfix};
use crate::model::reply::{self, Reply};

const CONFIG: &str = "\
# /etc/postfix/main.cf. First in the list: what else is in transport_maps comes after it.
transport_maps = {type}:{map}
";

/// `postfix-transport`.
pub(super) struct PostfixTransport;

impl Format for PostfixTransport {
    fn name(&self) -> &'static str {
        "postfix-transport"
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

    /// The transport stands for the SMTP code, which Postfix makes from it.
    fn answer(&self, reply: &str) -> String {
        let Some(parts) = Reply::parse(reply) else { return String::new() };
        let transport = if parts.permanent { "error" } else { "retry" };
        format!("{transport}:{} {}", parts.status(), parts.text)
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        postfix::rows(entry, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_become_transports() {
        for (reply, answer) in [
            ("5.1.1 suppressed: manual", "error:5.1.1 suppressed: manual"),
            ("4.7.1 later", "retry:4.7.1 later"),
            ("550 no", "error:5.0.0 no"),
            ("450 4.7.1 later", "retry:4.7.1 later"),
        ] {
            assert_eq!(PostfixTransport.check_reply(reply), Ok(()), "{reply}");
            assert_eq!(PostfixTransport.answer(reply), answer);
        }
    }
}
