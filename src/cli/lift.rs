//! `suppressd lift`: ends suppressions, of addresses or of all that a filter matches.

use clap::Args;

use super::add;
use super::arguments::{self, FilterArguments};
use super::context::Context;
use super::failure::{Failure, Outcome};
use crate::admin::{Command, ListFilter};

/// The arguments of `lift`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The addresses; `-` reads them from standard input, one a line
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,
    #[command(flatten)]
    filter: FilterArguments,
    /// Why, in a line
    #[arg(long, value_parser = arguments::note)]
    note: Option<String>,
    /// Only show what would be lifted
    #[arg(long)]
    dry_run: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Asks and prints. Without an address and without a filter it would lift everything: refused.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let filter = self.filter.filter()?;
        let addresses = arguments::addresses(&self.addresses)?;
        if addresses.is_empty() && filter == ListFilter::default() {
            let why = "lift needs an address, or a filter such as --domain or --reason; \
                       see `suppressd lift --help`";
            return Err(Failure::Usage(why.to_owned()));
        }
        let command = |addresses| Command::Lift {
            addresses,
            filter: filter.clone(),
            note: self.note.clone(),
            dry_run: self.dry_run,
        };
        let commands: Vec<Command> = if addresses.is_empty() {
            vec![command(Vec::new())]
        } else {
            arguments::portions(&addresses).map(command).collect()
        };
        context.show(&commands, self.json, add::COLUMNS)
    }
}
