//! `suppressd drift`: how a provider's own suppression list differs from ours.

use clap::Args;
use serde_json::Value;

use super::arguments::{self, Limit};
use super::completions;
use super::context::Context;
use super::failure::Outcome;
use super::row;
use super::table::Column;
use crate::admin::Command;
use crate::model::SourceName;

/// The arguments of `drift`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The source whose provider is asked
    #[arg(value_parser = arguments::source, add = completions::sources())]
    source: SourceName,
    #[command(flatten)]
    first: Limit,
    /// Print JSON, one object a line, the last with the counts
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Made("FOUND", found),
    Column::Field("ADDRESS", "address"),
    Column::Field("SCOPE", "scope"),
    Column::Field("LIST", "list"),
    Column::Field("THERE", "there"),
    Column::Field("HERE", "here"),
    Column::Field("SINCE", "since"),
];

fn found(row: &Value) -> String {
    row::text(row, "found").replace('_', " ")
}

impl Arguments {
    /// Asks, shows progress on a terminal, prints the differences, and counts at the end.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let command = Command::Drift { source: self.source.to_string() };
        context.show_counted(self.first.limit, &command, self.json, COLUMNS, summary)
    }
}

fn summary(row: &Value) -> String {
    let count = |key| row::given(row, key).unwrap_or_else(|| "0".to_owned());
    format!(
        "{} ({}): {} rows; {} the same, {} only there, {} only here, {} with a different reason, \
         {} unreadable",
        row::text(row, "source"),
        row::text(row, "lists"),
        count("rows"),
        count("same"),
        count("only_there"),
        count("only_here"),
        count("different_reason"),
        count("unreadable"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_counts_are_one_line() {
        let row = json!({"found": "summary", "source": "acme", "lists": ["bounces", "complaints"],
            "rows": 9, "unreadable": 1, "same": 3, "only_there": 2, "only_here": 1,
            "different_reason": 3, "took": 0.2});
        let line = "acme (bounces, complaints): 9 rows; 3 the same, 2 only there, 1 only here, \
                    3 with a different reason, 1 unreadable";
        assert_eq!(summary(&row), line);
    }
}
