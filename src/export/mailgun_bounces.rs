//! Mailgun's import of bounces (`POST /v3/DOMAIN/bounces/import`), at most 25 MB a file.
//!
//! Source: Mailgun's OpenAPI description; times are those of RFC 2822.

use super::field::csv;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};
use crate::model::Reason;
use crate::model::reply::words;

const SHAPE: Shape = Shape {
    head: "address,code,error,created_at\r\n",
    separator: ",",
    close: "\r\n",
    ..Shape::LINES
};

const CONFIG: &str = "\
curl --user \"api:$MAILGUN_KEY\" --form \"file=@{path}\" \\
  https://api.mailgun.net/v3/$MAILGUN_DOMAIN/bounces/import
";

/// `mailgun-bounces`.
pub(super) struct MailgunBounces;

impl Format for MailgunBounces {
    fn name(&self) -> &'static str {
        "mailgun-bounces"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn reasons(&self) -> &'static [Reason] {
        &[
            Reason::HardBounce,
            Reason::Invalid,
            Reason::Manual,
            Reason::ProviderListed,
            Reason::SoftBounces,
        ]
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        let since = entry.since.to_rfc_2822();
        rows.add(&[&csv(&mailbox(entry))], &["550,", words(entry.reason), ",\"", &since, "\""]);
        Ok(())
    }
}
