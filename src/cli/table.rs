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

/// Narrowest that a column is made where the terminal is too narrow.
const WIDTH_MIN: usize = 6;

/// What stands between two columns.
const GAP: usize = 2;

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
    /// How wide a line may be; `None`: as wide as it is.
    fit: Option<usize>,
}

impl Table {
    /// A table whose widths come from its first thousand rows.
    pub(super) fn new(columns: &'static [Column]) -> Table {
        let widths = columns.iter().map(|column| column.head().len()).collect();
        Table {
            columns,
            widths,
            waiting: Vec::new(),
            measured: MEASURED_ROWS_MAX,
            begun: false,
            fit: None,
        }
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
        self.fit = out.width();
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
            if let Some(fit) = self.fit {
                shrink(&mut self.widths, fit);
            }
            rows.insert(0, self.columns.iter().map(|column| column.head().to_owned()).collect());
        }
        if self.fit.is_some() {
            elide(&mut rows, &self.widths);
        }
        rows.iter().map(|row| aligned(row, &self.widths)).collect()
    }
}

/// Takes from the widest columns until a line fits, or no column can give any more.
fn shrink(widths: &mut [usize], fit: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > fit {
        let Some(widest) = widths.iter_mut().max_by_key(|width| **width) else { return };
        if *widest <= WIDTH_MIN {
            return;
        }
        *widest -= 1;
    }
}

/// Cuts texts that are wider than their column, and shows that they go on.
fn elide(rows: &mut [Vec<String>], widths: &[usize]) {
    for (text, width) in rows.iter_mut().flat_map(|row| row.iter_mut().zip(widths)) {
        if text.chars().count() > *width {
            *text = text.chars().take(width.saturating_sub(1)).chain(['…']).collect();
        }
    }
}

/// The lines of a small table: its head and its rows; none without rows. `fit`: how wide a line
/// may be.
pub(super) fn lines(columns: &'static [Column], rows: &[Value], fit: Option<usize>) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut table = Table { fit, ..Table::new(columns) };
    let cells = |row| columns.iter().map(|column| column.text(row)).collect();
    table.waiting = rows.iter().map(cells).collect();
    table.take_lines()
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + GAP));
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
            lines(COLUMNS, &rows, None),
            ["NAME         UNTIL    N", "a-long-name  -        1", "ä            forever  -"]
        );
        let pushed = lines(COLUMNS, &[json!({"name": long})], None);
        assert_eq!(pushed[1], format!("{long}  -      -"));
        assert!(lines(COLUMNS, &[], None).is_empty());
    }

    #[test]
    fn a_narrow_terminal_shortens_the_widest_texts() {
        let rows = [json!({"name": "a-very-long-name-indeed", "n": 1}), json!({"name": "b"})];
        let shown = lines(COLUMNS, &rows, Some(24));
        assert_eq!(
            shown,
            ["NAME            UNTIL  N", "a-very-long-n…  -      1", "b               -      -",]
        );
    }
}
