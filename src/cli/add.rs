//! `suppressd add`: suppresses addresses by hand.

use clap::Args;

use super::arguments;
use super::completions;
use super::context::Context;
use super::failure::Outcome;
use super::table::Column;
use crate::admin::Command;
use crate::model::{Scope, Term};

/// The arguments of `add`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The addresses; `-` reads them from standard input, one a line
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Why, in a line
    #[arg(long, value_parser = arguments::note)]
    note: Option<String>,
    /// For how long: a duration such as 30d, or `forever` [default: forever]
    #[arg(long = "for", value_name = "DURATION", value_parser = arguments::term,
          allow_hyphen_values = true)]
    term: Option<Term>,
    /// Mail of this scope: `global` or `stream:NAME` [default: global]
    #[arg(long, value_parser = arguments::scope, add = completions::scopes())]
    scope: Option<Scope>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// The columns of `add` and `lift`.
pub(super) const COLUMNS: &[Column] = &[
    Column::Field("ADDRESS", "address"),
    Column::Field("SCOPE", "scope"),
    Column::Word("REASON", "reason"),
    Column::Field("DONE", "done"),
    Column::Field("NOTE", "note"),
    Column::Field("PROBLEM", "problem"),
];

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let seconds = match self.term {
            Some(Term::For(span)) => Some(span.as_secs()),
            Some(Term::Forever) | None => None,
        };
        let scope = arguments::text(self.scope.as_ref());
        let addresses = arguments::addresses(&self.addresses)?;
        let command = |addresses| Command::Add {
            addresses,
            scope: scope.clone(),
            seconds,
            note: self.note.clone(),
        };
        let commands: Vec<Command> = arguments::portions(&addresses).map(command).collect();
        context.show_portions("add", &commands, addresses.len(), self.json, COLUMNS)
    }
}
