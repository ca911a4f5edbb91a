//! `suppressd poll`: asks the providers now, or again over a window.

use clap::Args;
use serde_json::Value;

use super::arguments;
use super::completions;
use super::context::{Context, is_troubled};
use super::failure::{FAILED, Outcome};
use super::row;
use crate::admin::Command;
use crate::model::{SourceName, Time};

/// The arguments of `poll`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One source [default: all that are polled]
    #[arg(value_parser = arguments::source, add = completions::sources())]
    source: Option<SourceName>,
    /// Read again from this time on, instead of from where the last poll ended
    #[arg(long, value_name = "TIME", value_parser = arguments::time, allow_hyphen_values = true)]
    since: Option<Time>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Asks, shows progress on a terminal, and prints a line for each source as it is done.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let command = Command::Poll {
            source: arguments::text(self.source.as_ref()),
            since: arguments::text(self.since.as_ref()),
        };
        let mut any = false;
        let mut troubled = false;
        context.ask(&command, |out, row| {
            any = true;
            troubled |= is_troubled(&row);
            if self.json {
                out.json(&row)?;
            } else {
                out.line(&summary(&row))?;
            }
            out.flush()
        })?;
        if !any && !self.json {
            context.out.note("No source is polled.");
        }
        Ok(if troubled { FAILED } else { 0 })
    }
}

fn summary(row: &Value) -> String {
    let count = |key| row::given(row, key).unwrap_or_else(|| "0".to_owned());
    let (pages, rows, new) = (count("pages"), count("rows"), count("new"));
    let mut line = row::text(row, "source");
    if let Some(feeds) = row::given(row, "feeds") {
        line.push_str(&format!(" ({feeds})"));
    }
    line.push_str(&format!(": pages {pages}, rows {rows}, new {new}"));
    match row.get("took") {
        Some(Value::Number(seconds)) => line.push_str(&format!(", {seconds}s")),
        _ => line.extend(row::given(row, "took").map(|took| format!(", {took}"))),
    }
    line.extend(row::given(row, "error").map(|error| format!("; FAILED: {error}")));
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_source_is_one_line() {
        let row = json!({"source": "acme", "feeds": ["events"], "pages": 2, "rows": 30, "new": 4,
            "took": "1.2s", "error": null});
        assert_eq!(summary(&row), "acme (events): pages 2, rows 30, new 4, 1.2s");
        let row = json!({"source": "acme", "took": 1.5, "error": "401 from the API"});
        assert_eq!(summary(&row), "acme: pages 0, rows 0, new 0, 1.5s; FAILED: 401 from the API");
    }
}
