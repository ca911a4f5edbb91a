//! `suppressd verify`: a state directory's journal, checkpoints, base, index and store, and the
//! exports.
//!
//! A running daemon is asked. Where none is running the files are read here, and none is changed.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;

use super::context::Context;
use super::failure::{FAILED, Failure, Outcome};
use super::table::{Column, Table};
use super::{backup as made, configuration};
use crate::admin::{Command, Configured, verify_stopped};
use crate::{backup, store};

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A state directory that no daemon has open, or a backup [default: store.path, running or not]
    #[arg(value_name = "PATH")]
    directory: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("PART", "component"),
    Column::Field("FILE", "file"),
    Column::Field("PLACE", "place"),
    Column::Field("FOUND", "detail"),
    Column::Field("PROBLEM", "problem"),
    Column::Field("CONSEQUENCE", "consequence"),
    Column::Field("HINT", "hint"),
];

const UNLOADED: &str = "the configuration cannot be loaded: see `suppressd check`";

impl Arguments {
    /// Looks, or has the daemon look, and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let is_named = self.directory.is_some();
        let state = match self.directory {
            Some(directory) if directory.is_dir() => directory,
            Some(file) if file.exists() => return verify_backup(&file, self.json, context),
            Some(missing) => return Err(unread(&missing, "there is no such directory")),
            None => configuration::state_directory(context.config.as_deref())?,
        };
        let journal = state.join("journal");
        let is_in_use = || store::is_in_use(&state).map_err(|error| unread(&state, error));
        if is_in_use()? {
            if is_named {
                let why = "a daemon has it open: ask that one, without naming the directory";
                return Err(unread(&state, why));
            }
            return context.show(&[Command::Verify], self.json, COLUMNS);
        }
        if !journal.is_dir() {
            let fault = configuration::syntax_fault(context.config.as_deref());
            let missing = || unread(&state, "there is no journal in it");
            return Err(fault.filter(|_| !is_named).unwrap_or_else(missing));
        }
        // Of a copy, or of another host's, the exports are not those of this configuration.
        let file = configuration::file(context.config.as_deref());
        let loaded = match is_named {
            true => Err("of a directory that is named only what is in it is looked at"),
            false => configuration::load(&file).map_err(|_| UNLOADED),
        };
        let loaded = loaded.as_ref();
        let configured = loaded
            .map(|config| Configured { exports: &config.exports, rules: &config.rules })
            .map_err(|why| *why);
        let rows = verify_stopped(&state, configured, &std::env::temp_dir());
        let rows = rows.map_err(|error| unread(&state, error))?;
        if is_in_use()? {
            return Err(unread(&state, "a daemon was started meanwhile: run this again"));
        }
        let mut table = Table::new(COLUMNS);
        for checked in &rows {
            let row = serde_json::to_value(checked).map_err(|error| unread(&state, error))?;
            if self.json { context.out.json(&row)? } else { table.row(&mut context.out, &row)? }
        }
        table.end(&mut context.out)?;
        let is_well = rows.iter().all(|checked| checked.problem.is_none());
        Ok(if is_well { 0 } else { FAILED })
    }
}

/// Whether this version may open a backup, and all its sums agree.
fn verify_backup(file: &Path, json: bool, context: &mut Context) -> Outcome {
    let opened = File::open(file).map_err(|error| unread(file, error))?;
    let held = backup::verify(opened).map_err(|error| unread(file, error))?;
    if json {
        context.out.json(&made::row(&held))?;
    } else {
        context.out.line(&made::shown("Whole:", &held))?;
    }
    Ok(0)
}

fn unread(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("{}: {why}", path.display()))
}
