//! Exports: files kept current for the host's MTAs.
//!
//! A format is pure: it turns suppressions into rows. `runner` decides when a file is written, and
//! `publish` alone touches it.

mod command;
mod postfix_access;
pub mod publish;
pub mod runner;
pub mod scan;
#[cfg(test)]
mod test;

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Address, Filter, Suppression};

/// Every format that an export can name. README's table is checked against this list.
pub static ALL: &[&dyn Format] = &[&postfix_access::PostfixAccess];

/// One row of a text export: its key, by which the file is sorted, and the whole line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// What the MTA looks up.
    pub key: String,
    /// What follows the key, without the line's end.
    pub value: String,
}

/// Why a format cannot carry an address. Such addresses are left out, counted and reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub &'static str);

/// One MTA's file format.
pub trait Format: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// The reply when the export sets none. `{reason}` stands for the reason, in words.
    fn default_reply(&self) -> &'static str;

    /// Whether a configured reply can be used.
    ///
    /// # Errors
    /// Says what it must be.
    fn check_reply(&self, reply: &str) -> Result<(), String>;

    /// The rows of one suppression: more than one where the MTA would look for other spellings.
    ///
    /// # Errors
    /// When the format cannot carry the address.
    fn rows(
        &self,
        address: &Address,
        suppression: &Suppression,
        reply: &str,
    ) -> Result<Vec<Row>, Unfit>;

    /// Separates key and value in a line.
    fn separator(&self) -> &'static str;
}

/// One `[[export]]`.
#[derive(Clone)]
pub struct Settings {
    /// Its name, unique among the exports.
    pub name: String,
    /// What a row says.
    pub format: &'static dyn Format,
    /// The file.
    pub path: PathBuf,
    /// Which suppressions it holds.
    pub filter: Filter,
    /// What the MTA answers; see [`Format::default_reply`].
    pub reply: String,
    /// The least time from one writing to the next.
    pub min_interval: Duration,
    /// The largest part of the rows that may vanish at once, in percent, 0 to 100.
    pub max_shrink: u8,
    /// A program and its arguments, run after each change of the file. Empty: none.
    pub command: Vec<String>,
    /// The file's owner, as a user id. `None`: as it was, or ours.
    pub owner: Option<u32>,
    /// The file's group, as a group id. `None`: as it was, or ours.
    pub group: Option<u32>,
    /// The file's permissions. `None`: as they were, or 0644.
    pub mode: Option<u32>,
}
