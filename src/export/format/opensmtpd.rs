//! OpenSMTPD lists: an address a line, for `table … file:` and `match … for rcpt-to <…> reject`.
//!
//! Only what its SMTP server takes as a recipient at all: it answers 501 to quotes, to letters
//! beyond ASCII and to U-labels.

use super::key::{require_name, require_plain_ascii};
use super::{Entry, Format, Rows, Shape, Unfit};

/// OpenSMTPD takes a file without rows for no table at all, and does not start: "may not be used
/// for lookups". So the first row names nobody.
const SHAPE: Shape = Shape { head: "nobody@suppressd.invalid\n", ..Shape::LINES };

const CONFIG: &str = "\
# /etc/smtpd.conf, among the tables:
table suppressed file:{path}

# Before every other match:
match from any for rcpt-to <suppressed> reject

# In the [[export]]; only root may run it:
# command = [\"/usr/sbin/smtpctl\", \"update\", \"table\", \"suppressed\"]
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

    fn shape(&self) -> &'static Shape {
        &SHAPE
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
