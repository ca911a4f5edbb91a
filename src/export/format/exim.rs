//! Exim lists: `key: text`, for an lsearch lookup whose text Exim gives as its refusal.
//!
//! The key is the address with the bare local part, as Exim has it in `$local_part`. Never made
//! for wildlsearch, which would run what a key says.

use super::key::{each_spelling, require_name, unquoted};
use super::{Entry, Format, Rows, Shape, Table, Unfit};
use crate::model::reply;

const SHAPE: Shape = Shape { separator: ": ", ..Shape::LINES };

const CONFIG: &str = "\
# In the main section:
SUPPRESSED = ${lookup {${lc:$local_part}@${lc:$domain}} {type}{{path}}{$value}}

# First in the ACL that acl_smtp_rcpt names, for the answer at RCPT:
  deny
    condition = ${if !eq{SUPPRESSED}{}}
    message = SUPPRESSED

# First of the routers, for every other way, such as sendmail(1), aliases and the queue:
suppressed:
  driver = redirect
  allow_fail
  data = ${if !eq{SUPPRESSED}{}{:fail: SUPPRESSED}}
";

/// `exim`.
pub(super) struct Exim;

impl Format for Exim {
    fn name(&self) -> &'static str {
        "exim"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn tables(&self) -> &'static [Table] {
        &[Table::Text, Table::Cdb]
    }

    fn called(&self, table: Table) -> [&'static str; 2] {
        match table {
            Table::Text => ["lsearch"; 2],
            Table::Lmdb | Table::Cdb => ["cdb"; 2],
        }
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn has_replies(&self) -> bool {
        true
    }

    fn check_reply(&self, reply: &str) -> Result<(), String> {
        reply::check_permanent(reply).map(|_| ())
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        require_name(entry.domain)?;
        each_spelling(entry, |local, domain| {
            let local = unquoted(local);
            if entry.style.table == Table::Text && needs_quotes(&local) {
                let escaped = local.replace('\\', "\\\\").replace('"', "\\\"");
                rows.add(&["\"", &escaped, "@", domain, "\""], &[entry.answer()]);
            } else {
                rows.add(&[&local, "@", domain], &[entry.answer()]);
            }
        });
        Ok(())
    }
}

/// Whether lsearch would end the key early, or take the line for a comment.
fn needs_quotes(local: &str) -> bool {
    let special = |c: char| c.is_whitespace() || matches!(c, ':' | '"' | '\\');
    local.starts_with('#') || local.contains(special)
}

#[cfg(test)]
mod tests {
    use super::super::test;

    #[test]
    fn keys_are_bare_and_quoted_as_a_whole() {
        for (address, expected) in [
            ("User@Example.com", "user@example.com"),
            ("\"john smith\"@x.test", "\"john smith@x.test\""),
            ("\"we:ird\"@x.test", "\"we:ird@x.test\""),
            ("\"a@b\"@x.test", "a@b@x.test"),
            ("#hash@x.test", "\"#hash@x.test\""),
            (r#""q\"x"@x.test"#, r#""q\"x@x.test""#),
            (r#""back\\slash"@x.test"#, r#""back\\slash@x.test""#),
        ] {
            assert_eq!(test::keys(test::rows("exim", address).unwrap()), [expected]);
        }
        assert!(test::rows("exim", "a@[127.0.0.1]").is_err());
    }
}
