//! Tries what `run` will need, as the user that this process is: `check --deep`.
//!
//! Changes nothing: directories are looked at, ports are bound and left again.

mod paths;
mod ports;
mod tls;
mod unit;
mod user;

use std::path::Path;

use crate::config::{Config, Problem, Weight};
use crate::export::{self, find_program};
use crate::listen::{Entry, Listen};
use crate::model::Time;

use paths::Host;
use unit::Unit;

pub use user::{UserError, become_named, become_units};

/// One place in the configuration that listens.
struct Place {
    key: String,
    entry: Entry,
}

/// All that would not work, and what the unit must be told.
pub fn deep(config: &Config, now: Time) -> Vec<Problem> {
    let unit = Unit::installed();
    let host = Host::new(unit.as_ref());
    let mut found = Vec::new();
    found.extend(host.directory("store.path", None, &config.store.path));
    found.extend(paths::room("store.path", &config.store.path));
    for (index, export) in config.exports.iter().enumerate() {
        found.extend(of_export(&host, index, export));
    }
    let places = places(config);
    for place in &places {
        if let Listen::Unix(path) = &place.entry.listen {
            found.extend(host.directory(&place.key, None, folder(path)));
            found.extend(host.group(&place.key, None, place.entry.group));
        }
    }
    found.extend(ports::taken(&places, &config.control.socket));
    let of_tls = |remark: &Problem| {
        remark.weight == Weight::Unchecked && remark.path.starts_with("http.tls")
    };
    // A key that only the unit has cannot be looked at here.
    if !config.remarks.iter().any(of_tls) {
        found.extend(config.http.tls.iter().flat_map(|identity| tls::fault(identity, now)));
    }
    found
}

/// What of the configuration the unit does not allow, as far as that can be read in its file.
pub fn by_unit(config: &Config) -> Vec<Problem> {
    let unit = Unit::installed_or_ours();
    let mut found = unit.forbidden(&places(config));
    for (index, export) in config.exports.iter().enumerate() {
        let key = format!("export[{}].command", index + 1);
        found.extend(unit.refused(&key, &export.name, &export.command));
    }
    found
}

fn of_export(host: &Host, index: usize, export: &export::Settings) -> Vec<Problem> {
    let key = |key: &str| format!("export[{}].{key}", index + 1);
    let name = Some(&*export.name);
    let mut found = Vec::new();
    found.extend(host.directory(&key("path"), name, folder(&export.path)));
    found.extend(host.owner(&key("owner"), name, export.owner));
    found.extend(host.group(&key("group"), name, export.group));
    let program = export.command.first();
    if program.is_some_and(|program| find_program(program).is_none()) {
        let what = "names no program that can be run here".to_owned();
        let hint = "name a program that exists and may be run by its whole path";
        found.push(Problem::late(&key("command"), name, what, hint));
    } else if program.is_some_and(|program| Path::new(program).ends_with("postfix"))
        && !host.is_root()
    {
        let what = "only root can run postfix(1), and suppressd is another user".to_owned();
        let hint = unit::ROOTS_HINT;
        found.push(Problem::late(&key("command"), name, what, hint));
    }
    found
}

/// Everything that listens, with its key.
fn places(config: &Config) -> Vec<Place> {
    let place = |key: &str, entry: Entry| Place { key: key.to_owned(), entry };
    let public = config.http.listen.iter().map(|entry| place("http.listen", entry.clone()));
    let others = [
        place("admin.listen", config.admin.listen.clone()),
        place("control.socket", config.control.entry()),
    ];
    let lookups = config.lookups.iter().enumerate();
    let lookups = lookups
        .map(|(index, lookup)| place(&format!("lookup[{}].listen", index + 1), lookup.entry()));
    public.chain(others).chain(lookups).collect()
}

/// The directory of a file.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
