//! `suppressd fleet`: the other hosts that know the same, and what they know of each other.

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Outcome;
use super::row;
use super::status::{fields, section};
use super::table::Column;
use crate::admin::Command;

/// The arguments of `fleet`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compare the standings with those of all other hosts, and mend what differs
    Repair(Repair),
}

/// The arguments of `fleet repair`.
#[derive(Debug, Args)]
struct Repair {
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const HOSTS: &[Column] = &[
    Column::Field("HOST", "host"),
    Column::Word("STATE", "state"),
    Column::Field("HEARD", "heard"),
    Column::Field("TOLD", "told"),
    Column::Field("KNOWN", "known"),
    Column::Field("LEVEL", "level"),
    Column::Field("LAG", "lag_bytes"),
    Column::Field("CLOCK", "clock_seconds"),
    Column::Field("RULES AGREE", "rules_agree"),
    Column::Field("SOURCES AGREE", "sources_agree"),
    Column::Field("POLLS", "polls"),
    Column::Field("DIFFERS", "differs"),
    Column::Field("VERSION", "version"),
];

const REPAIRED: &[Column] =
    &[Column::Field("HOST", "host"), Column::Field("STILL DIFFERS", "differs")];

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        if let Some(Verb::Repair(repair)) = self.verb {
            return context.show(&[Command::FleetRepair], repair.json, REPAIRED);
        }
        let answer = context.ask_one(&Command::Fleet)?;
        if self.json {
            context.out.json(&answer)?;
            return Ok(0);
        }
        fields(&mut context.out, "fleet", answer.get("fleet"))?;
        section(&mut context.out, "hosts", HOSTS, row::list(&answer, "hosts"))?;
        Ok(0)
    }
}
