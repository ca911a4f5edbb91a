//! `suppressd lift`: ends suppressions, of addresses or of all that a filter matches.

use clap::Args;

use super::add;
use super::arguments::{self, FilterArguments};
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::row::many;
use crate::admin::{Command, ListFilter};

/// The arguments of `lift`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The addresses; `-` reads them from standard input, one a line
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,
    #[command(flatten)]
    filter: FilterArguments,
    /// All that a mass holds which is held back, by the id that `held` shows
    #[arg(long, value_name = "ID", conflicts_with_all = ["addresses", "FilterArguments"],
        value_parser = arguments::mass)]
    held: Option<u64>,
    /// Why, in a line
    #[arg(long, value_parser = arguments::note)]
    note: Option<String>,
    /// Only show what would be lifted
    #[arg(long)]
    dry_run: bool,
    /// Lift all that the filter matches, or the mass holds, without asking
    #[arg(long)]
    yes: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Asks and prints. Without an address and without a filter it would lift everything: refused.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        if let Some(id) = self.held {
            let note = &self.note;
            let command = |dry_run| Command::LiftHeld { id, note: note.clone(), dry_run };
            self.ask_first(context, &command(true))?;
            return context.show(&[command(self.dry_run)], self.json, add::COLUMNS);
        }
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
        if addresses.is_empty() {
            self.ask_first(context, &command(Vec::new(), true))?;
        }
        let commands: Vec<Command> = if addresses.is_empty() {
            vec![command(Vec::new(), self.dry_run)]
        } else {
            arguments::portions(&addresses).map(|some| command(some, self.dry_run)).collect()
        };
        context.show_portions("lift", &commands, addresses.len(), self.json, add::COLUMNS)
    }

    /// Asks whether to lift as much as this command, which only looks, finds.
    fn ask_first(&self, context: &mut Context, look: &Command) -> Result<(), Failure> {
        if self.dry_run || self.yes {
            return Ok(());
        }
        let mut count = 0_u64;
        context.ask(look, |_, _| {
            count += 1;
            Ok(())
        })?;
        if count == 0 {
            return Ok(());
        }
        context.confirm(&format!("this lifts {}", many(count, "suppression")), false)
    }
}
