//! The rows of `csv` for spreadsheets, which take what begins like one for a formula.
//!
//! Source: OWASP, "CSV Injection". Not for programs: they would get such an address wrong.

use super::csv::{SHAPE, add};
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};

/// `csv-guarded`.
pub(super) struct CsvGuarded;

impl Format for CsvGuarded {
    fn name(&self) -> &'static str {
        "csv-guarded"
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn is_by_scope(&self) -> bool {
        true
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        let mut address = mailbox(entry);
        if address.starts_with(is_guarded) {
            address.insert(0, '\'');
        }
        add(&address, entry, rows);
        Ok(())
    }
}

/// What a formula can begin with, also in the wide forms that some countries' spreadsheets take;
/// and the guard itself, so that no two addresses become one.
fn is_guarded(first: char) -> bool {
    matches!(first, '=' | '+' | '-' | '@' | '\'' | '＝' | '＋' | '－' | '＠')
}

#[cfg(test)]
mod tests {
    use super::super::test;

    #[test]
    fn what_would_be_a_formula_is_guarded() {
        for (address, plain, guarded) in [
            ("a@x.test", "a@x.test", "a@x.test"),
            ("=1+1@x.test", "=1+1@x.test", "'=1+1@x.test"),
            ("+a@x.test", "+a@x.test", "'+a@x.test"),
            ("'=a@x.test", "'=a@x.test", "''=a@x.test"),
            ("＝a@x.test", "＝a@x.test", "'＝a@x.test"),
            ("\"=a b\"@x.test", "\"\"\"=a b\"\"@x.test\"", "\"\"\"=a b\"\"@x.test\""),
        ] {
            for (format, expected) in [("csv", plain), ("csv-guarded", guarded)] {
                let keys = test::rows(format, address).map(test::keys);
                assert_eq!(keys, Ok(vec![format!("{expected},global")]), "{format}: {address}");
            }
        }
    }
}
