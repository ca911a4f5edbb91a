//! Haraka lists: an address a line, for the plugin access (`rcpt_to.access.blacklist`).
//!
//! Haraka compares lower-cased texts, quotes and U-labels as they were sent.

use super::key::{each_spelling, require_name};
use super::{Entry, Format, Rows, Unfit};

const CONFIG: &str = "\
# config/plugins, before every plugin that accepts recipients:
access

# config/access.ini
[check]
any=false
conn=false
mail=false
rcpt=true
[deny_msg]
rcpt=5.7.1 suppressed

# config/rcpt_to.access.blacklist is the export, or a link to it that suppressd may touch, since
# Haraka looks at a file again when something happens in its own folder. In the [[export]] then:
# command = [\"/usr/bin/touch\", \"-h\", \"/etc/haraka/config/rcpt_to.access.blacklist\"]
";

/// `haraka`.
pub(super) struct Haraka;

impl Format for Haraka {
    fn name(&self) -> &'static str {
        "haraka"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        require_name(entry.domain)?;
        if entry.local.starts_with('#') {
            return Err(Unfit("the line would be a comment"));
        }
        // No space to us, and so in need of no quotes, but one to JavaScript.
        if entry.local.starts_with('\u{feff}') {
            return Err(Unfit("Haraka would trim it to another address"));
        }
        each_spelling(entry, |local, domain| rows.add(&[local, "@", domain], &[]));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test;

    #[test]
    fn what_haraka_would_read_otherwise_is_left_out() {
        for address in ["#a@x.test", "\u{feff}a@x.test", "a@[192.0.2.1]"] {
            assert!(test::rows("haraka", address).is_err(), "{address:?}");
        }
        assert!(test::rows("haraka", "a\u{feff}#b@x.test").is_ok());
    }
}
