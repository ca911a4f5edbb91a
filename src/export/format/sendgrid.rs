//! SendGrid's addition to the global suppressions (`POST /v3/asm/suppressions/global`), as one
//! body.
//!
//! Source: SendGrid's OpenAPI description.

use super::field::json;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};

const SHAPE: Shape = Shape {
    head: "{\"recipient_emails\":[",
    open: "\n",
    separator: "",
    close: "",
    joiner: ",",
    foot: "\n]}\n",
    ..Shape::LINES
};

const CONFIG: &str = "\
curl --header \"Authorization: Bearer $SENDGRID_KEY\" \\
  --header \"Content-Type: application/json\" --data-binary \"@{path}\" \\
  https://api.sendgrid.com/v3/asm/suppressions/global
";

/// `sendgrid`.
pub(super) struct SendGrid;

impl Format for SendGrid {
    fn name(&self) -> &'static str {
        "sendgrid"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        rows.add(&[&json(&mailbox(entry))], &[]);
        Ok(())
    }
}
