//! Mailgun's import of complaints (`POST /v3/DOMAIN/complaints/import`), at most 25 MB a file.
//!
//! Source: Mailgun's OpenAPI description; times are those of RFC 2822.

use super::field::csv;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};
use crate::model::Reason;

const SHAPE: Shape =
    Shape { head: "address,created_at\r\n", separator: ",", close: "\r\n", ..Shape::LINES };

const CONFIG: &str = "\
curl --user \"api:$MAILGUN_KEY\" --form \"file=@{path}\" \\
  https://api.mailgun.net/v3/$MAILGUN_DOMAIN/complaints/import
";

/// `mailgun-complaints`.
pub(super) struct MailgunComplaints;

impl Format for MailgunComplaints {
    fn name(&self) -> &'static str {
        "mailgun-complaints"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn reasons(&self) -> &'static [Reason] {
        &[Reason::Complaint]
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        let since = entry.since.to_rfc_2822();
        rows.add(&[&csv(&mailbox(entry))], &["\"", &since, "\""]);
        Ok(())
    }
}
