//! `suppressd refused`: webhooks that were turned away, and why.

use clap::Args;

use super::arguments::Limit;
use super::completions;
use super::context::Context;
use super::failure::Outcome;
use super::table::{Column, Table};
use crate::admin::Command;

/// The arguments of `refused`.
#[derive(Debug, Args)]
#[command(after_help = "\
The daemon keeps the last 500 since its start. Nothing of what they held is shown or kept.")]
pub(super) struct Arguments {
    /// Only of this source, by the name in the webhook's path
    #[arg(long, add = completions::sources())]
    source: Option<String>,
    /// Go on with them as they come
    #[arg(long, conflicts_with = "limit")]
    follow: bool,
    #[command(flatten)]
    first: Limit,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("AT", "at"),
    Column::Field("SOURCE", "source"),
    Column::Field("PEER", "peer"),
    Column::Field("REASON", "reason"),
];

/// Widths for a table that cannot wait for its rows.
const LIVE_WIDTHS: &[usize] = &[20, 14, 15, 40];

impl Arguments {
    /// Asks and prints; with `--follow` each line at once.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let command = Command::Refused { source: self.source, follow: self.follow };
        if !self.follow {
            return context.show_first(self.first.limit, &[command], self.json, COLUMNS);
        }
        let mut table = Table::live(COLUMNS, LIVE_WIDTHS);
        context.ask(&command, |out, row| {
            if self.json {
                out.json(&row)?
            } else {
                table.row(out, &row)?
            }
            out.flush()
        })?;
        Ok(0)
    }
}
