//! Brevo's import of contacts (`fileBody`): a column of addresses. To be sent with
//! `emailBlacklist: true`, without which the addresses would be subscribed.
//!
//! Source: developers.brevo.com, import-contacts.

use super::field::csv;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};

const SHAPE: Shape = Shape { head: "EMAIL\r\n", close: "\r\n", ..Shape::LINES };

/// `brevo`.
pub(super) struct Brevo;

impl Format for Brevo {
    fn name(&self) -> &'static str {
        "brevo"
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        rows.add(&[&csv(&mailbox(entry))], &[]);
        Ok(())
    }
}
