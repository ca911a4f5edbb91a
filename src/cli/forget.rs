//! `suppressd forget`: erases people, and keeps a hash by which they stay suppressed.

use clap::Args;
use serde_json::Value;

use super::arguments;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::row::{self, many};
use super::table::Column;
use crate::admin::Command;

/// The arguments of `forget`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The addresses; `-` reads them from standard input, one a line
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Only count what would be erased
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Print JSON, one object a line, the last with the counts
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("ADDRESS", "address"),
    Column::Field("FORGOTTEN", "forgotten"),
    Column::Field("SUPPRESSED", "suppressed"),
    Column::Made("EXPORTS", exports),
];

/// What becomes of the address in each export.
fn exports(row: &Value) -> String {
    let told =
        |export: &Value| format!("{}: {}", row::text(export, "name"), row::text(export, "detail"));
    let told: Vec<String> = row::list(row, "exports").iter().map(told).collect();
    if told.is_empty() { row::ABSENT.to_owned() } else { told.join("; ") }
}

impl Arguments {
    /// Asks, waits until all is erased, and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let addresses = arguments::addresses(&self.addresses)?;
        if addresses.is_empty() {
            return Err(Failure::Usage("forget needs an address".to_owned()));
        }
        if !self.dry_run {
            let people = many(addresses.len() as u64, "address");
            let what = format!(
                "this erases all that was told of {people}, for good; backups have it still"
            );
            context.confirm(&what, self.yes)?;
        }
        let command = Command::Forget { addresses, dry_run: self.dry_run };
        context.show_counted(None, &command, self.json, COLUMNS, summary)
    }
}

fn summary(row: &Value) -> String {
    let count = |key: &str, noun: &str| {
        many(row.get(key).and_then(Value::as_u64).unwrap_or_default(), noun)
    };
    let (elements, segments) = (count("elements", "notification"), count("segments", "segment"));
    let (quarantined, keys) = (count("quarantined", "file"), count("keys", "key"));
    let of_journal =
        format!("{elements} in {segments} of the journal, {quarantined} in quarantine");
    let told = match row::is(row, "done") {
        true => format!("erased: {of_journal}, {keys} of the store. Backups have it still"),
        false => format!("to be erased: {of_journal}. Nothing was changed"),
    };
    let others: Vec<String> = row::list(row, "hosts")
        .iter()
        .filter(|host| row::is(host, "forgotten"))
        .map(|host| row::text(host, "host"))
        .collect();
    let told = match others.is_empty() {
        true => told,
        false => format!("{told}\nforgotten too on {}", others.join(", ")),
    };
    row::given(row, "hint").map_or(told.clone(), |hint| format!("{told}\n{hint}"))
}
