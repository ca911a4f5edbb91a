//! Postmark's creation of suppressions (`POST /message-streams/STREAM/suppressions`), as one
//! body.
//!
//! Source: postmarkapp.com, Suppressions API.

use super::field::json;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};

const SHAPE: Shape = Shape {
    head: "{\"Suppressions\":[",
    open: "\n{\"EmailAddress\":",
    separator: "",
    close: "}",
    joiner: ",",
    foot: "\n]}\n",
    ..Shape::LINES
};

const CONFIG: &str = "\
curl --header \"X-Postmark-Server-Token: $POSTMARK_TOKEN\" \\
  --header \"Content-Type: application/json\" --data-binary \"@{path}\" \\
  https://api.postmarkapp.com/message-streams/$POSTMARK_STREAM/suppressions
";

/// `postmark`.
pub(super) struct Postmark;

impl Format for Postmark {
    fn name(&self) -> &'static str {
        "postmark"
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
