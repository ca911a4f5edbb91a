//! Comma-separated values (RFC 4180): a header, then a row for each scope of each address.
//!
//! For programs. A local part can begin with `=` or `+`, which spreadsheets take for a formula: for
//! them there is `csv-guarded`.

use super::field::csv;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};

pub(super) const SHAPE: Shape = Shape {
    head: "address,scope,reason,since,until\r\n",
    separator: ",",
    key_cells: 2,
    close: "\r\n",
    ..Shape::LINES
};

/// `csv`.
pub(super) struct Csv;

impl Format for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn is_by_scope(&self) -> bool {
        true
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        add(&mailbox(entry), entry, rows);
        Ok(())
    }
}

/// Adds the row of an address that is written like this.
pub(super) fn add(address: &str, entry: &Entry<'_>, rows: &mut Rows) {
    let until = entry.until.time().map(|time| time.to_string()).unwrap_or_default();
    let value = [entry.reason.as_str(), ",", &entry.since.to_string(), ",", &until];
    rows.add(&[&csv(address), ",", &csv(&entry.scope.to_string())], &value);
}
