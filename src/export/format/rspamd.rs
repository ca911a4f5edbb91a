//! Rspamd maps: an address a line, for a multimap of `type = "rcpt"`.
//!
//! Rspamd looks up the address without `+tag`, for gmail.com without dots too, and local part and
//! domain alone. Never writes what it would find for another mailbox.

use std::borrow::Cow;

use super::key::{require_name, require_plain_ascii};
use super::{Entry, Format, Rows, Table, Unfit};

/// The domain in whose local parts Rspamd ignores dots, as its provider does: they are one mailbox.
const DOTLESS: &str = "gmail.com";

const CONFIG: &str = "\
# /etc/rspamd/local.d/multimap.conf
SUPPRESSED_RECIPIENT {
  type = \"rcpt\";
  map = \"{scheme}://{path}\";
  prefilter = true;
  action = \"reject\";
  message = \"suppressed recipient\";
}

# /etc/rspamd/local.d/options.inc, since maps are looked at every five minutes otherwise:
map_watch_interval = 10s;
";

/// `rspamd`.
pub(super) struct Rspamd;

impl Format for Rspamd {
    fn name(&self) -> &'static str {
        "rspamd"
    }

    fn shares_keys(&self) -> bool {
        true
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn tables(&self) -> &'static [Table] {
        &[Table::Text, Table::Cdb]
    }

    fn called(&self, table: Table) -> [&'static str; 2] {
        match table {
            Table::Text => ["file"; 2],
            Table::Lmdb | Table::Cdb => ["cdb"; 2],
        }
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        // In a CDB map, Rspamd takes the value for a weight.
        let value = if entry.style.table == Table::Cdb { ["1"] } else { [""] };
        rows.add(&[&lookup_local(entry)?, "@", entry.domain], &value);
        Ok(())
    }
}

/// The local part as Rspamd looks it up.
///
/// # Errors
/// When it would not find the address, or take it for another.
pub(super) fn lookup_local<'a>(entry: &Entry<'a>) -> Result<Cow<'a, str>, Unfit> {
    require_plain_ascii(entry.local)?;
    require_name(entry.domain)?;
    if entry.local.contains('#') {
        return Err(Unfit("# would start a comment"));
    }
    let tag = entry.local.char_indices().skip(1).find(|(_, c)| *c == '+');
    if entry.domain != DOTLESS {
        if tag.is_some() {
            return Err(Unfit("Rspamd looks up the address without what follows +"));
        }
        return Ok(entry.local.into());
    }
    let bare = entry.local[..tag.map_or(entry.local.len(), |(at, _)| at)].replace('.', "");
    if bare.is_empty() { Err(Unfit("nothing but dots")) } else { Ok(bare.into()) }
}

#[cfg(test)]
mod tests {
    use super::super::test;

    #[test]
    fn keys_are_what_is_looked_up() {
        for (address, expected) in [
            ("User@x.test", "user@x.test"),
            ("+tag@x.test", "+tag@x.test"),
            ("John.Q+tag@gmail.com", "johnq@gmail.com"),
        ] {
            assert_eq!(test::keys(test::rows("rspamd", address).unwrap()), [expected]);
        }
        for address in
            ["a#b@x.test", "a+b@x.test", "...@gmail.com", "\"a b\"@x.test", "a@[1.2.3.4]"]
        {
            assert!(test::rows("rspamd", address).is_err(), "{address}");
        }
    }
}
