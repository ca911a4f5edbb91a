//! Tries what `run` will need, as the user that this process is: `check --deep`.
//!
//! Changes nothing: directories are looked at, ports are bound and left again.

mod paths;
mod ports;
mod sandbox;
mod tls;
mod unit;
mod user;

use std::path::{self, Path};

use crate::config::{Config, Problem, Weight};
use crate::export::{self, find_program};
use crate::forward::Receiver;
use crate::http::{Key, Tls};
use crate::listen::{Entry, Listen};
use crate::model::Time;

use paths::Host;
use sandbox::Spot;
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
    found.extend(paths::directory("store.path", None, &config.store.path));
    found.extend(paths::room("store.path", &config.store.path));
    found.extend(paths::open_to_others("store.path", &config.store.path));
    for (index, export) in config.exports.iter().enumerate() {
        found.extend(of_export(&host, index, export));
    }
    let places = places(config);
    for place in &places {
        if let Listen::Unix(path) = &place.entry.listen {
            found.extend(paths::directory(&place.key, None, folder(path)));
            found.extend(host.group(&place.key, None, place.entry.group));
        }
    }
    found.extend(ports::taken(&places, &config.control.socket));
    let of_tls = |remark: &Problem| {
        remark.weight == Weight::Unchecked && remark.path.starts_with("http.tls")
    };
    // A key that only the unit has cannot be looked at here.
    if !config.remarks.iter().any(of_tls) {
        let tls = config.http.tls.iter();
        found.extend(tls.clone().flat_map(|tls| tls::fault("http.tls", tls, now)));
        let called = config.http.public_url.as_ref();
        found.extend(tls.flat_map(|tls| tls::stranger("http.tls", tls, called)));
    }
    let fleets = config.fleet.as_ref().and_then(|fleet| fleet.certificate.clone());
    let fleets = fleets.map(|(certificate, key)| Tls { certificate, key: Key::File(key) });
    found.extend(fleets.and_then(|identity| tls::fault("fleet.tls", &identity, now)));
    found
}

/// What of the configuration, which is that file, the unit does not allow, as far as that can be
/// read in its own.
pub fn by_unit(config: &Config, file: &Path) -> Vec<Problem> {
    let unit = Unit::installed_or_ours();
    let places = places(config);
    let mut found = unit.forbidden(&places);
    found.extend(unit.exceeded(&config.http));
    found.extend(unit::untaken_socket(&places));
    let beside = trial(file);
    let is_tried = |spot: &Spot| beside.as_ref().is_some_and(|at| spot.directory.starts_with(at));
    let spots = spots(config, &places).into_iter();
    let spots = spots.filter(|spot| spot.directory.is_absolute() && !is_tried(spot));
    found.extend(spots.filter_map(|spot| unit.kept(&spot)));
    for (index, export) in config.exports.iter().enumerate() {
        let key = format!("export[{}].command", index + 1);
        found.extend(unit.refused(&key, &export.name, &export.command));
    }
    found
}

/// The directory of a configuration that is elsewhere than the unit has it: what is in there, too,
/// is only tried.
fn trial(file: &Path) -> Option<path::PathBuf> {
    let file = path::absolute(file).ok().filter(|file| !file.starts_with("/etc"))?;
    file.parent().map(Path::to_owned)
}

/// The directories of all that others are to find, and of the store.
fn spots(config: &Config, places: &[Place]) -> Vec<Spot> {
    let spot = |key: String, name: Option<&String>, directory: &Path, better| Spot {
        key,
        name: name.cloned(),
        directory: directory.to_owned(),
        better,
    };
    let (state, export) = ("/var/lib/suppressd", "/var/lib/suppressd/export");
    let mut spots = vec![spot("store.path".to_owned(), None, &config.store.path, state)];
    for place in places {
        if let Listen::Unix(path) = &place.entry.listen {
            spots.push(spot(place.key.clone(), None, folder(path), "/run/suppressd"));
        }
    }
    for (index, one) in config.exports.iter().enumerate() {
        let key = format!("export[{}].path", index + 1);
        spots.push(spot(key, Some(&one.name), folder(&one.path), export));
    }
    for (index, one) in config.forwards.iter().enumerate() {
        if let Receiver::File(path) = &one.to {
            let key = format!("forward[{}].file", index + 1);
            spots.push(spot(key, Some(&one.name), folder(path), export));
        }
    }
    spots
}

fn of_export(host: &Host, index: usize, export: &export::Settings) -> Vec<Problem> {
    let key = |key: &str| format!("export[{}].{key}", index + 1);
    let name = Some(&*export.name);
    let mut found = Vec::new();
    found.extend(paths::directory(&key("path"), name, folder(&export.path)));
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
