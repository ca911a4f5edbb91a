//! Brevo's import of contacts (`fileBody`): a column of addresses. To be sent with
//! `emailBlacklist: true`, without which the addresses would be subscribed.
//!
//! Source: developers.brevo.com, import-contacts.

use super::field::csv;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};

const SHAPE: Shape = Shape { head: "EMAIL\r\n", close: "\r\n", ..Shape::LINES };

const CONFIG: &str = "\
jq --raw-input --slurp '{fileBody: ., listIds: [1], emailBlacklist: true}' {path} |
  curl --header \"api-key: $BREVO_KEY\" --header \"Content-Type: application/json\" \\
    --data-binary @- https://api.brevo.com/v3/contacts/import
";

/// `brevo`.
pub(super) struct Brevo;

impl Format for Brevo {
    fn name(&self) -> &'static str {
        "brevo"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        rows.add(&[&csv(&mailbox(entry))], &[]);
        Ok(())
    }
}
