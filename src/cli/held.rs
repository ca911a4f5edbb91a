//! `suppressd held` and `suppressd release`: masses of new suppressions that are held back.

use clap::Args;

use super::arguments::{self, Limit};
use super::context::Context;
use super::failure::Outcome;
use super::table::Column;
use crate::admin::Command;

/// The arguments of `held`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    first: Limit,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("ID", "id"),
    Column::Field("SOURCE", "source"),
    Column::Field("DOMAIN", "domain"),
    Column::Field("CLASS", "class"),
    Column::Word("STATE", "state"),
    Column::Field("COUNT", "count"),
    Column::Field("SINCE", "since"),
    Column::Field("LAST", "last"),
    Column::Field("EXAMPLES", "examples"),
];

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        context.show_first(self.first.limit, &[Command::Held], self.json, COLUMNS)
    }
}

/// The arguments of `release`.
#[derive(Debug, Args)]
pub(super) struct Release {
    /// The mass, by the id that `held` shows
    #[arg(value_parser = arguments::mass)]
    id: u64,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const RELEASED: &[Column] = &[
    Column::Field("ID", "id"),
    Column::Field("SOURCE", "source"),
    Column::Field("DOMAIN", "domain"),
    Column::Field("CLASS", "class"),
    Column::Field("RELEASED", "released"),
];

impl Release {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        context.show(&[Command::Release { id: self.id }], self.json, RELEASED)
    }
}
