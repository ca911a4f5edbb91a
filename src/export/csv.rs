//! Comma-separated values (RFC 4180): a header, then a row for each address.
//!
//! A local part can begin with `=` or `+`, which spreadsheets take for a formula: import the
//! column as text.

use super::field::csv;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};

const SHAPE: Shape =
    Shape { head: "address,reason,since,until\r\n", separator: ",", close: "\r\n", ..Shape::LINES };

/// `csv`.
pub(super) struct Csv;

impl Format for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        let until = entry.until.time().map(|time| time.to_string()).unwrap_or_default();
        let value = [entry.reason.as_str(), ",", &entry.since.to_string(), ",", &until];
        rows.add(&[&csv(&mailbox(entry))], &value);
        Ok(())
    }
}
