//! One JSON object a line, for each scope of each address:
//! `{"address":…,"scope":…,"reason":…,"since":…,"until":…}`, times in RFC 3339.

use super::field::json;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};

const SHAPE: Shape =
    Shape { open: "{\"address\":", separator: ",", key_cells: 2, close: "}\n", ..Shape::LINES };

/// `json-lines`.
pub(super) struct JsonLines;

impl Format for JsonLines {
    fn name(&self) -> &'static str {
        "json-lines"
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn is_by_scope(&self) -> bool {
        true
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        let (reason, since) = (entry.reason.as_str(), entry.since.to_string());
        let until = entry.until.time().map_or("null".to_owned(), |time| format!("\"{time}\""));
        let value = ["\"reason\":\"", reason, "\",\"since\":\"", &since, "\",\"until\":", &until];
        let scope = json(&entry.scope.to_string());
        rows.add(&[&json(&mailbox(entry)), ",\"scope\":", &scope], &value);
        Ok(())
    }
}
