//! Haraka lists: an address a line, for the plugin access (`rcpt_to.access.blacklist`).
//!
//! Haraka compares lower-cased texts, quotes and U-labels as they were sent.

use super::key::{each_spelling, require_name};
use super::{Entry, Format, Rows, Unfit};

const CONFIG: &str = "\
# config/plugins. Before what relays or delivers.
access

# config/access.ini
[check]
any=false
conn=false
mail=false
rcpt=true
[deny_msg]
rcpt=suppressed

# The export's path must be Haraka's config/rcpt_to.access.blacklist; it is
# {path}
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
