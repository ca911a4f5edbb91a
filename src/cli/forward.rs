//! `suppressd forward`: looks after those who are told of events and suppressions.

use clap::{Args, Subcommand};

use super::arguments::time;
use super::context::Context;
use super::failure::Outcome;
use super::table::Column;
use crate::admin::Command;
use crate::model::Time;

/// The arguments of the verb.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell a receiver again what came or turned since a time; each with the id that it had
    Replay {
        /// The forward, by its name in the configuration
        name: String,
        /// From this time on
        #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
        since: Time,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
}

const COLUMNS: &[Column] =
    &[Column::Field("FORWARD", "name"), Column::Field("TO", "to"), Column::Field("SINCE", "since")];

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let Action::Replay { name, since, json } = self.action;
        let command = Command::ForwardReplay { name, since: since.to_string() };
        context.show(&[command], json, COLUMNS)
    }
}
