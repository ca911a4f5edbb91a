//! `suppressd export`: writes the MTAs' files now.

use clap::Args;

use super::context::Context;
use super::failure::Outcome;
use super::table::Column;
use crate::admin::Command;

/// The arguments of `export`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One export [default: all]
    name: Option<String>,
    /// Write even past the guards, such as `max_shrink`
    #[arg(long)]
    force: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// The columns of an export, here and in `status`.
pub(super) const COLUMNS: &[Column] = &[
    Column::Field("EXPORT", "name"),
    Column::Field("FORMAT", "format"),
    Column::Field("ROWS", "rows"),
    Column::Field("UNFIT", "unfit"),
    Column::Field("LAST WRITTEN", "last_written"),
    Column::Field("PATH", "path"),
    Column::Field("HELD BACK", "held_back"),
    Column::Field("ERROR", "error"),
];

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let command = Command::Export { name: self.name, force: self.force };
        context.show(&[command], self.json, COLUMNS)
    }
}
