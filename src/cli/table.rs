//! Plain aligned columns, as wide as what is in them.
//!
//! The widths come from the first rows, so that a list of millions is printed in little memory.

use serde_json::Value;

use super::failure::Failure;
use super::output::Output;
use super::row;

/// Rows that are measured before the first is printed.
const MEASURED_ROWS_MAX: usize = 1_000;

/// Widest that a column is padded to, in characters; a longer text pushes its own line only.
const WIDTH_MAX: usize = 60;

/// One column: its head, and its text for a row.
pub(super) enum Column {
    /// The field of that name.
    Field(&'static str, &'static str),
    /// What a function makes of the row.
    Made(&'static str, fn(&Value) -> String),
}

impl Column {
    fn head(&self) -> &'static str {
        match self {
            Column::Field(head, _) | Column::Made(head, _) => head,
        }
    }

    fn text(&self, row: &Value) -> String {
        match self {
            Column::Field(_, key) => row::text(row, key),
            Column::Made(_, text) => text(row),
        }
    }
}

/// A table that is printed as its rows come.
pub(super) struct Table {
    columns: &'static [Column],
    widths: Vec<usize>,
    waiting: Vec<Vec<String>>,
    measured: usize,
    begun: bool,
}

impl Table {
    /// A table whose widths come from its first thousand rows.
    pub(super) fn new(columns: &'static [Column]) -> Table {
        let widths = columns.iter().map(|column| column.head().len()).collect();
        Table { columns, widths, waiting: Vec::new(), measured: MEASURED_ROWS_MAX, begun: false }
    }

    /// A table whose rows are printed at once, at least this wide.
    pub(super) fn live(columns: &'static [Column], widths: &[usize]) -> Table {
        let mut table = Table { measured: 1, ..Table::new(columns) };
        for (width, least) in table.widths.iter_mut().zip(widths) {
            *width = (*width).max(*least);
        }
        table
    }

    /// Adds a row, and prints what can be.
    pub(super) fn row(&mut self, out: &mut Output, row: &Value) -> Result<(), Failure> {
        self.waiting.push(self.columns.iter().map(|column| column.text(row)).collect());
        if self.begun || self.waiting.len() >= self.measured { self.print(out) } else { Ok(()) }
    }

    /// Prints what is left, and tells whether there was any row.
    pub(super) fn end(&mut self, out: &mut Output) -> Result<bool, Failure> {
        if !self.waiting.is_empty() {
            self.print(out)?;
        }
        Ok(self.begun)
    }

    fn print(&mut self, out: &mut Output) -> Result<(), Failure> {
        for line in self.take_lines() {
            out.line(&line)?;
        }
        Ok(())
    }

    fn take_lines(&mut self) -> Vec<String> {
        let mut rows = std::mem::take(&mut self.waiting);
        if !self.begun {
            self.begun = true;
            for row in &rows {
                for (width, text) in self.widths.iter_mut().zip(row) {
                    *width = (*width).max(text.chars().count().min(WIDTH_MAX));
                }
            }
            rows.insert(0, self.columns.iter().map(|column| column.head().to_owned()).collect());
        }
        rows.iter().map(|row| aligned(row, &self.widths)).collect()
    }
}

/// The lines of a small table: its head and its rows; none without rows.
pub(super) fn lines(columns: &'static [Column], rows: &[Value]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(columns);
    let cells = |row| columns.iter().map(|column| column.text(row)).collect();
    table.waiting = rows.iter().map(cells).collect();
    table.take_lines()
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column::Field("NAME", "name"),
        Column::Made("UNTIL", row::until),
        Column::Field("N", "n"),
    ];

    #[test]
    fn columns_are_as_wide_as_their_texts() {
        let long = "x".repeat(WIDTH_MAX + 5);
        let rows =
            [json!({"name": "a-long-name", "n": 1}), json!({"name": "ä", "reason": "manual"})];
        assert_eq!(
            lines(COLUMNS, &rows),
            ["NAME         UNTIL    N", "a-long-name  -        1", "ä            forever  -"]
        );
        let pushed = lines(COLUMNS, &[json!({"name": long})]);
        assert_eq!(pushed[1], format!("{long}  -      -"));
        assert!(lines(COLUMNS, &[]).is_empty());
    }
}
