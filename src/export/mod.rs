//! Exports: files kept current for the host's MTAs.
//!
//! `format` says what a row is, `table` what holds the rows. `runner` decides when a file is
//! written, `write` what of it; `publish` puts it in place.

mod command;
mod compare;
mod compiled;
mod due;
mod file;
pub mod format;
pub mod guard;
pub mod handle;
mod listed;
mod note;
mod partial;
mod place;
pub mod publish;
mod rows;
pub mod runner;
pub mod scan;
mod table;
#[cfg(test)]
mod test;
mod whole;
mod write;

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Filter;

pub use command::find as find_program;
pub use compare::{not_compared, verify_stopped};
pub use file::READ;
pub use format::{ALL, Entry, Format, Hash, Shape, Style, Unfit};
pub use listed::{Keys, Listing};
pub use rows::{Row, Rows};
pub use table::{serve_maps, write_maps_by};

/// What holds the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Lines.
    Text,
    /// An LMDB map, which is changed in place.
    Lmdb,
    /// A constant database, which is made anew for each change.
    Cdb,
}

impl Table {
    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Text => "text",
            Table::Lmdb => "lmdb",
            Table::Cdb => "cdb",
        }
    }
}

/// The lines that make an MTA ask an export's file.
pub fn lines_to_paste(settings: &Settings) -> String {
    let path = settings.path.display().to_string();
    let table = settings.style.table;
    let map = path.strip_suffix(settings.format.ending(table)).unwrap_or(&path);
    let [kind, scheme] = settings.format.called(table);
    let kind = match settings.format.uncompiled() {
        Some(uncompiled) if table == Table::Text && settings.command.is_empty() => uncompiled,
        _ => kind,
    };
    let lines = settings.format.config().replace("{type}", kind).replace("{scheme}", scheme);
    lines.replace("{path}", &path).replace("{map}", map)
}

/// One `[[export]]`.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// Its name, unique among the exports.
    pub name: String,
    /// What a row says.
    pub format: &'static dyn Format,
    /// How it says it.
    pub style: Style,
    /// The file.
    pub path: PathBuf,
    /// Which suppressions it holds.
    pub filter: Filter,
    /// The least time from one writing to the next.
    pub min_interval: Duration,
    /// The largest part of the rows that may vanish at once, in percent, 0 to 100: all of them.
    pub max_shrink: u8,
    /// A program and its arguments, run after each change of the file. Empty: none.
    pub command: Vec<String>,
    /// The file's owner, as a user id. `None`: as it was, or ours.
    pub owner: Option<u32>,
    /// The file's group, as a group id. `None`: as it was, or ours.
    pub group: Option<u32>,
    /// The file's permissions. `None`: as they were, if anybody may read it then, else 0644.
    pub mode: Option<u32>,
}
