//! The configuration, as the verbs need it: whole for `run` and `check`, one path for the others.
//!
//! An operator who may use the control socket need not be able to read every secret, so the other
//! verbs read that one key and mind nothing else.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::failure::Failure;
use crate::config::{self, Config, Environment, Problems};
use crate::control::client::CallError;

/// The configuration file, if none is named.
const DEFAULT_FILE: &str = "/etc/suppressd/config.toml";

/// The environment variable that names the configuration file.
const VARIABLE: &str = "SUPPRESSD_CONFIG";

/// The control socket, if none is configured.
pub(super) const DEFAULT_SOCKET: &str = "/run/suppressd/control.sock";

/// The file that the environment names.
pub(super) fn in_environment() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The file that is named, else the default one.
pub(super) fn file(named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| DEFAULT_FILE.into(), Path::to_owned)
}

/// The control socket that the file names, else the default one. Only a file that was named on the
/// command line must be readable.
pub(super) fn control_socket(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let file = file(named);
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(socket_in(&text).unwrap_or_else(|| DEFAULT_SOCKET.into())),
        Err(error) if named.is_some() => {
            Err(Failure::Configuration(format!("cannot read {}: {error}", file.display())))
        }
        Err(_) => Ok(DEFAULT_SOCKET.into()),
    }
}

/// Why the file is no TOML, if it is none: then it may name another socket than was found in it.
pub(super) fn syntax_fault(named: Option<&Path>) -> Option<Failure> {
    let file = file(named);
    let text = std::fs::read_to_string(&file).ok()?;
    let (_, errors) = DeTable::parse_recoverable(&text);
    let problems = load_for_a_look(&file).err().filter(|_| !errors.is_empty())?;
    Some(Failure::Configuration(problems.to_string()))
}

/// Why there is no answer. Where nobody listens, a file that is no TOML is the reason to tell.
pub(super) fn unanswered(error: CallError, named: Option<&Path>) -> Failure {
    let silent = matches!(error, CallError::NotRunning(_));
    let fault = silent.then(|| syntax_fault(named)).flatten();
    fault.unwrap_or_else(|| error.into())
}

fn socket_in(text: &str) -> Option<PathBuf> {
    text_in(text, "control", "socket")
}

fn text_in(text: &str, section: &str, key: &str) -> Option<PathBuf> {
    let (table, _) = DeTable::parse_recoverable(text);
    let value = table.get_ref().get(section)?.get_ref().get(key)?.get_ref();
    DeValue::as_str(value).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The names in a list of tables, such as `source`, whatever else is wrong with the file. None if
/// it cannot be read.
pub(super) fn names(named: Option<&Path>, list: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file(named)).unwrap_or_default();
    let (table, _) = DeTable::parse_recoverable(&text);
    let tables = table.get_ref().get(list).and_then(|list| list.get_ref().as_array());
    let name = |table: &Spanned<DeValue<'_>>| {
        table.get_ref().get("name")?.get_ref().as_str().map(str::to_owned)
    };
    tables.map_or_else(Vec::new, |tables| tables.iter().filter_map(name).collect())
}

/// The state directory that the file names, else the default one. The file must be readable.
pub(super) fn state_directory(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let file = file(named);
    let text = std::fs::read_to_string(&file);
    let text = text.map_err(|error| {
        Failure::Configuration(format!("cannot read {}: {error}", file.display()))
    })?;
    Ok(text_in(&text, "store", "path").unwrap_or_else(|| config::STORE_PATH.into()))
}

/// Loads it to be shown, not to be run: credentials that only the unit has are not missed.
pub(super) fn load_for_a_look(file: &Path) -> Result<Config, Problems> {
    config::load(file, &Environment::of_process().for_a_look())
}

/// The same of a block of configuration; `path` is what problems call it.
pub(super) fn load_block(path: &Path, block: &str) -> Result<Config, Problems> {
    let variables = |_: &str| None;
    config::parse(path, block, &Environment::new(variables, None).for_a_look())
}

/// Loads the whole configuration, or tells every problem at once.
pub(super) fn load(file: &Path) -> Result<Config, Problems> {
    config::load(file, &Environment::of_process())
}

/// What it makes, for people and for programs.
pub(super) fn report(config: &Config) -> (String, serde_json::Value) {
    (config::report(config), config::report_json(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_else_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        let text = "[[source]]\nname = \"a\"\n[[source]]\nprovider = 7\n[[source]]\nname = \"b\"\n";
        std::fs::write(&file, text).unwrap();
        assert_eq!(names(Some(&file), "source"), ["a", "b"]);
        assert!(names(Some(&file), "export").is_empty());
        assert!(names(Some(&directory.path().join("none")), "source").is_empty());
    }

    #[test]
    fn the_socket_is_found_whatever_else_is_wrong() {
        for text in [
            "[control]\nsocket = \"/x.sock\"\n",
            "nonsense = 7\n[control]\nsocket = \"/x.sock\"\n[http]\nlisten = false\n",
            "[control]\nsocket = \"/x.sock\"\n[broken\n",
            "control = { socket = '/x.sock' }\n",
        ] {
            assert_eq!(socket_in(text), Some("/x.sock".into()), "{text}");
        }
        for text in ["", "[control]\n", "control = 1", "[control]\nsocket = 1", "[[control]]\n"] {
            assert_eq!(socket_in(text), None, "{text}");
        }
    }
}
