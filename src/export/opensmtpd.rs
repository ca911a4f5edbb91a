//! OpenSMTPD lists: an address a line, for `table … file:` and `match … for rcpt-to <…> reject`.
//!
//! Only what its SMTP server takes as a recipient at all: it answers 501 to quotes, to letters
//! beyond ASCII and to U-labels.

use super::key::{require_name, require_plain_ascii};
use super::{Entry, Format, Rows, Unfit};

const CONFIG: &str = "\
# /etc/smtpd.conf. The table with the others, the match before every other match.
table suppressed file:{path}
match from any for rcpt-to <suppressed> reject

# In the [[export]]: command = [\"/usr/sbin/smtpctl\", \"update\", \"table\", \"suppressed\"]
";

/// `opensmtpd`.
pub(super) struct OpenSmtpd;

impl Format for OpenSmtpd {
    fn name(&self) -> &'static str {
        "opensmtpd"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        require_plain_ascii(entry.local)?;
        require_name(entry.domain)?;
        if entry.local.starts_with('#') {
            return Err(Unfit("the line would be a comment"));
        }
        rows.add(&[entry.local, "@", entry.domain], &[]);
        Ok(())
    }
}
