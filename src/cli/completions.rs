//! `suppressd completions`: a script that completes our verbs, options and their values in a shell.
//!
//! The script asks the program itself at each key, so that the names of sources, exports and
//! lookups are those of the configuration at that moment.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use crate::config;
use crate::model::{Class, EventKind, Reason, SourceName};
use crate::provider;

/// What the script sets, to the name of the shell, where it asks the program.
const VARIABLE: &str = "SUPPRESSD_COMPLETE";

/// Our name, in the script.
const PROGRAM: &str = "suppressd";

/// The arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: clap_complete::Shell,
}

impl Arguments {
    /// Prints the script.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let (shells, name) = (Shells::builtins(), self.shell.to_string());
        let shell = shells.completer(&name);
        let shell = shell.ok_or_else(|| Failure::Usage(format!("no completions for {name}")))?;
        let mut script = Vec::new();
        shell
            .write_registration(VARIABLE, PROGRAM, PROGRAM, &program(), &mut script)
            .and_then(|()| writeln!(script, "# Completes {}, and their options.", verbs()))
            .map_err(|error| Failure::Failed(error.to_string()))?;
        context.out.bytes(&script).map(|()| 0)
    }
}

/// What the script calls: our name where PATH leads to this program, else its path.
fn program() -> String {
    let Ok(this) = std::env::current_exe() else { return PROGRAM.to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let same = |file: PathBuf| file.canonicalize().is_ok_and(|file| file == this);
    let found = std::env::split_paths(&path).any(|directory| same(directory.join(PROGRAM)));
    if found { PROGRAM.to_owned() } else { this.to_string_lossy().into_owned() }
}

fn verbs() -> String {
    let command = super::command();
    let names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    names.join(", ")
}

/// Answers the script, and ends the process, if it is the script that asks.
pub(super) fn answer() {
    CompleteEnv::with_factory(super::command).var(VARIABLE).bin(PROGRAM).complete();
}

/// The reasons of suppressions.
pub(super) fn reasons() -> ArgValueCandidates {
    fixed(|| Reason::ALL.map(Reason::as_str).into())
}

/// The kinds of events.
pub(super) fn kinds() -> ArgValueCandidates {
    fixed(|| EventKind::ALL.map(EventKind::as_str).into())
}

/// The classes of failures.
pub(super) fn classes() -> ArgValueCandidates {
    fixed(|| Class::ALL.map(|(_, name)| name).into())
}

/// The providers.
pub(super) fn providers() -> ArgValueCandidates {
    fixed(|| provider::ALL.iter().map(|provider| provider.name()).collect())
}

/// The pages of the providers, built in or described.
pub(super) fn pages() -> ArgValueCandidates {
    fixed(|| provider::GUIDES.iter().map(|page| page.name).collect())
}

/// The names of the configured sources.
pub(super) fn sources() -> ArgValueCandidates {
    ArgValueCandidates::new(|| configured("source"))
}

/// Those, and the names under which we tell ourselves.
pub(super) fn tellers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let own = [SourceName::operator(), SourceName::import()];
        let own = own.iter().map(|name| CompletionCandidate::new(name.as_str()));
        configured("source").into_iter().chain(own).collect()
    })
}

/// How scopes are written.
pub(super) fn scopes() -> ArgValueCandidates {
    fixed(|| vec!["global", "stream:"])
}

/// The keys of the configuration.
pub(super) fn keys() -> ArgValueCandidates {
    let all = || config::keys().into_iter().map(CompletionCandidate::new).collect();
    ArgValueCandidates::new(all)
}

/// The names of the configured exports.
pub(super) fn exports() -> ArgValueCandidates {
    ArgValueCandidates::new(|| configured("export"))
}

fn fixed(names: fn() -> Vec<&'static str>) -> ArgValueCandidates {
    ArgValueCandidates::new(move || names().into_iter().map(CompletionCandidate::new).collect())
}

/// The names in a list of tables, from the file that is named on the line or in the environment, or
/// the default one. None where it cannot be read: completion says nothing.
fn configured(list: &str) -> Vec<CompletionCandidate> {
    let file = named().or_else(configuration::in_environment);
    let names = configuration::names(file.as_deref(), list);
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The configuration file on the line that is completed, which the script hands on as arguments:
/// `-c FILE`, `-cFILE`, `--config FILE` or `--config=FILE`.
fn named() -> Option<PathBuf> {
    let words: Vec<_> = std::env::args_os().collect();
    let joined = |word: &OsStr| {
        let text = word.to_str()?;
        let file = text.strip_prefix("--config=").or_else(|| text.strip_prefix("-c"))?;
        (!file.is_empty()).then(|| PathBuf::from(file))
    };
    let is_option = |word: &OsStr| word == "-c" || word == "--config";
    let (at, word) =
        words.iter().enumerate().find(|(_, word)| is_option(word) || joined(word).is_some())?;
    joined(word).or_else(|| words.get(at + 1).map(PathBuf::from))
}
