//! `suppressd export`: writes the MTAs' files now, or prints what to tell an MTA of one.

use clap::Args;

use serde_json::json;

use super::completions;
use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::table::Column;
use crate::admin::{Command, there_are};
use crate::config::{Config, Problems};
use crate::export::{Settings, lines_to_paste};

/// The arguments of `export`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One export [default: all]
    #[arg(add = completions::exports())]
    name: Option<String>,
    /// Write even past the guards, such as `max_shrink`
    #[arg(long)]
    force: bool,
    /// Print the lines to paste into the MTA's configuration, and write nothing
    #[arg(long, requires = "name", conflicts_with = "force")]
    print_config: bool,
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
        if let (Some(name), true) = (&self.name, self.print_config) {
            return print_config(context, name, self.json);
        }
        let command = Command::Export { name: self.name, force: self.force };
        context.show(&[command], self.json, COLUMNS)
    }
}

/// From the configuration alone: the daemon need not run.
fn print_config(context: &mut Context, name: &str, as_json: bool) -> Outcome {
    let file = configuration::file(context.config.as_deref());
    let wrong = |problems: Problems| Failure::Configuration(problems.to_string());
    let config = configuration::load_for_a_look(&file).map_err(wrong)?;
    let export = config.exports.iter().find(|export| export.name == name);
    let export = export.ok_or_else(|| unknown(name, &config))?;
    // The MTA is started elsewhere.
    let path = std::path::absolute(&export.path).unwrap_or_else(|_| export.path.clone());
    let export = &Settings { path, ..export.clone() };
    let lines = lines_to_paste(export);
    if as_json {
        let (format, table) = (export.format.name(), export.style.table.as_str());
        let path = export.path.display().to_string();
        let row = json!({ "name": name, "format": format, "table": table, "path": path,
            "config": lines });
        context.out.json(&row)?;
    } else if lines.is_empty() {
        context.out.note("This format is for no one program: there is nothing to paste.");
    } else {
        context.out.line(lines.trim_end())?;
    }
    Ok(0)
}

fn unknown(name: &str, config: &Config) -> Failure {
    let names = there_are(config.exports.iter().map(|export| &*export.name));
    let lookups = match config.lookups.is_empty() {
        true => "",
        false => "; docs/mta/lookups.md has the lines for a [[lookup]]",
    };
    Failure::Usage(format!("there is no export named {name:?}{names}{lookups}"))
}
