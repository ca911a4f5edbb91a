//! `suppressd quarantine`: payloads that were authentic but not understood.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::arguments::Limit;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::row;
use super::table::Column;
use crate::admin::Command;
use crate::shown::clean_lines;

/// The arguments of `quarantine`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the payloads
    List {
        #[command(flatten)]
        first: Limit,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one payload
    Show {
        /// Its id, as `list` shows it
        id: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Read payloads again, as after an upgrade or a mended kind map
    Replay {
        /// Their ids, as `list` shows them [default: all]
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// All of them, as without an id
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Forget payloads for good
    Drop(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// Their ids, as `list` shows them
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("ID", "id"),
    Column::Field("SOURCE", "source"),
    Column::Field("PROVIDER", "provider"),
    Column::Field("ORIGIN", "origin"),
    Column::Field("RECEIVED", "received_at"),
    Column::Field("BYTES", "bytes"),
    Column::Field("PROBLEM", "problem"),
];

const DONE_COLUMNS: &[Column] = &[
    Column::Field("ID", "id"),
    Column::Field("DONE", "done"),
    Column::Field("PROBLEM", "problem"),
];

const SHOWN: &[&str] =
    &["id", "source", "provider", "origin", "received_at", "bytes", "problem", "context"];

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        match self.verb {
            Verb::List { first, json } => list(context, first.limit, json),
            Verb::Show { id, json } => {
                let payload = context.ask_one(&Command::QuarantineShow { id })?;
                if json {
                    context.out.json(&payload)?;
                } else {
                    show(&mut context.out, &payload)?;
                }
                Ok(0)
            }
            // It can be done again and loses nothing, so that none need be named.
            Verb::Replay { ids, json, .. } => {
                context.show(&[Command::QuarantineReplay { ids }], json, DONE_COLUMNS)
            }
            Verb::Drop(which) => {
                let command = Command::QuarantineDrop { ids: which.ids };
                context.show(&[command], which.json, DONE_COLUMNS)
            }
        }
    }
}

/// Every row here tells a problem, the payload's own: none is a problem of this command.
fn list(context: &mut Context, limit: Option<u64>, json: bool) -> Outcome {
    context.show_first(limit, &[Command::QuarantineList], json, COLUMNS).map(|_| 0)
}

fn show(out: &mut Output, payload: &Value) -> Result<(), Failure> {
    for key in SHOWN {
        let name = key.replace('_', " ");
        out.line(&format!("{name:11}  {}", row::text(payload, key)))?;
    }
    let body = payload.get("payload").and_then(Value::as_str).unwrap_or_default();
    out.line(&format!("\n{}", clean_lines(body)))
}
