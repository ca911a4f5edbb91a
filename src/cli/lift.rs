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
    /// Lift all that the filter matches without asking
    #[arg(long)]
    yes: bool,
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
        let command = |addresses, dry_run| Command::Lift {
            addresses,
            filter: filter.clone(),
            note: self.note.clone(),
            dry_run,
        };
        if addresses.is_empty() && !self.dry_run && !self.yes {
            let mut count = 0_u64;
            context.ask(&command(Vec::new(), true), |_, _| {
                count += 1;
                Ok(())
            })?;
            if count > 0 {
                context.confirm(&format!("this lifts {count} suppressions"), false)?;
            }
        }
        let commands: Vec<Command> = if addresses.is_empty() {
            vec![command(Vec::new(), self.dry_run)]
        } else {
            arguments::portions(&addresses).map(|some| command(some, self.dry_run)).collect()
        };
        context.show(&commands, self.json, add::COLUMNS)
    }
}
