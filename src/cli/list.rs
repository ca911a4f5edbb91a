//! `suppressd list`: the suppressions that a filter matches.

use clap::Args;

use super::arguments::{FilterArguments, Limit};
use super::context::Context;
use super::failure::Outcome;
use super::row;
use super::table::Column;
use crate::admin::Command;

/// The arguments of `list`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    filter: FilterArguments,
    #[command(flatten)]
    first: Limit,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// The columns of a suppression.
pub(super) const COLUMNS: &[Column] = &[
    Column::Field("ADDRESS", "address"),
    Column::Field("SCOPE", "scope"),
    Column::Word("REASON", "reason"),
    Column::Field("SINCE", "since"),
    Column::Made("UNTIL", row::until),
    Column::Field("SOURCES", "sources"),
    Column::Field("NOTE", "note"),
];

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let command = Command::List { filter: self.filter.filter()? };
        context.show_first(self.first.limit, &[command], self.json, COLUMNS)
    }
}
