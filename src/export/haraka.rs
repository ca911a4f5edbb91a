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
rcpt=5.1.1 suppressed

# config/rcpt_to.access.blacklist is the export, or a link to it:
# ln -s {path} /etc/haraka/config/rcpt_to.access.blacklist
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
        each_spelling(entry, |local, domain| rows.add(&[local, "@", domain], &[]));
        Ok(())
    }
}
