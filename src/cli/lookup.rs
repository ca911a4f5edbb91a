//! `suppressd lookup`: whether addresses are suppressed, for people and for scripts.

use clap::Args;
use serde_json::Value;

use super::arguments;
use super::completions;
use super::context::Context;
use super::failure::Outcome;
use super::row;
use super::table::{Column, Table};
use crate::admin::Command;
use crate::model::Scope;

/// Exit status: some address is suppressed.
const SUPPRESSED: u8 = 3;

/// The arguments of `lookup`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The addresses; `-` reads them from standard input, one a line
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Mail of this scope: `global` or `stream:NAME` [default: global]
    #[arg(long, value_parser = arguments::scope, add = completions::scopes())]
    scope: Option<Scope>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("ADDRESS", "address"),
    Column::Made("SUPPRESSED", suppressed),
    Column::Word("REASON", "reason"),
    Column::Field("SCOPE", "scope"),
    Column::Field("SINCE", "since"),
    Column::Made("UNTIL", row::until),
    Column::Field("SOURCES", "sources"),
    Column::Field("NOTE", "note"),
    Column::Made("FILES", files),
];

/// The exports whose files have it, and what is wrong with the others.
fn files(row: &Value) -> String {
    let told = |export: &Value| {
        let name = row::text(export, "name");
        match (row::is(export, "listed"), row::is(export, "wanted")) {
            _ if row::is(export, "uncompiled") => {
                Some(format!("{name} ({})", row::text(export, "detail")))
            }
            (true, true) => Some(name),
            (false, false) => None,
            _ => Some(format!("{name} ({})", row::text(export, "detail"))),
        }
    };
    let told: Vec<String> = row::list(row, "exports").iter().filter_map(told).collect();
    if told.is_empty() { row::ABSENT.to_owned() } else { told.join(", ") }
}

/// The word of the verdict.
fn suppressed(row: &Value) -> String {
    if row::given(row, "never").is_some() {
        return "never".to_owned();
    }
    row::text(row, "suppressed")
}

impl Arguments {
    /// Asks and prints; the exit status is the verdict.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let addresses = arguments::addresses(&self.addresses)?;
        let scope = arguments::text(self.scope.as_ref());
        let mut table = Table::new(COLUMNS);
        let mut suppressed = false;
        let asked = arguments::portions(&addresses).try_for_each(|addresses| {
            let command = Command::Lookup { addresses, scope: scope.clone() };
            context.ask(&command, |out, row: Value| {
                suppressed |= row::is(&row, "suppressed");
                if self.json { out.json(&row) } else { table.row(out, &row) }
            })
        });
        // Rows that came before a failure are true, and are shown.
        table.end(&mut context.out)?;
        asked?;
        Ok(if suppressed { SUPPRESSED } else { 0 })
    }
}
