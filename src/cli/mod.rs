//! The command line: one file per verb, each a set of arguments and a `run`.
//!
//! Verbs other than `run`, `check`, `config`, `classify`, `providers`, `completions` and `man` send
//! one command over the control socket and print what comes back; `verify` looks by itself where no
//! daemon is running. Nothing here opens the store or talks to a provider.

mod add;
mod arguments;
mod backup;
mod check;
mod classify;
mod completions;
mod config;
mod configuration;
mod confirm;
mod context;
mod drift;
mod events;
mod examples;
mod explain;
mod export;
mod failure;
mod files;
mod fleet;
mod forget;
mod forward;
mod held;
mod import;
mod input;
mod lift;
mod list;
mod lookup;
mod man;
mod maps;
mod output;
mod poll;
mod providers;
mod quarantine;
mod refused;
mod rejudge;
mod reload;
mod restore;
mod row;
mod run;
mod source;
mod status;
mod table;
mod trigger;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use context::Context;
use failure::{Failure, Outcome};
use output::Output;

use crate::telemetry::log;

const AFTER_HELP: &str = "\
Times are RFC 3339, a date, or a duration back from now: 2026-06-15T10:32:11Z, 2026-06-15, 2h, 7d.
An ADDRESS of `-` reads addresses from standard input, one a line (lookup, add, lift, forget).

Exit status: 0 done; 1 failed, or not wholly done; 3 `lookup` found a suppressed address;
4 `status` is degraded: it serves, and something needs a hand; 64 wrong usage; 78 wrong or
unreadable configuration.

A list of rows has a tab between fields unless it goes to a terminal; of `status` and `explain` a
program reads --json.

Environment: SUPPRESSD_CONFIG names the configuration file; SUPPRESSD_LOG says what `run` logs;
NO_COLOR leaves the terminal without colours.";

/// Keeps a mail host's suppression lists true to what its e-mail providers report.
#[derive(Debug, Parser)]
#[command(name = "suppressd", version, after_help = AFTER_HELP)]
struct Cli {
    /// The configuration file [default: $SUPPRESSD_CONFIG, else /etc/suppressd/config.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print no notes and no progress: only the answer, and what is wrong
    #[arg(short, long, global = true)]
    quiet: bool,

    /// Show tables in full, however wide the terminal is
    #[arg(short, long, global = true)]
    wide: bool,

    #[command(subcommand)]
    verb: Verb,
}

/// Every verb; each doc comment is its line of help.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon in the foreground
    Run(run::Arguments),
    /// Check the configuration, and show the webhooks, polls and exports it makes
    Check(check::Arguments),
    /// Show what the configuration sets that is not so by default; of a key, what it means
    Config(config::Arguments),
    /// Tell what a reply of a server means: whose fault it is, and which rule says so
    Classify(classify::Arguments),
    /// Have the daemon read its configuration again: exit 78 if it is wrong, and nothing changes
    Reload(reload::Arguments),
    /// Show how the sources, the store, the queue and the exports stand
    Status(status::Arguments),
    /// Tell whether addresses are suppressed: exit 0 if none is, 3 if some are
    Lookup(lookup::Arguments),
    /// Show every fact, lift, rule and export behind the verdict on an address
    Explain(explain::Arguments),
    /// List suppressions
    List(list::Arguments),
    /// Suppress addresses by hand
    Add(add::Arguments),
    /// Lift suppressions, of addresses or of all that a filter matches
    Lift(lift::Arguments),
    /// Erase what was told of addresses, and keep a hash by which they stay suppressed
    Forget(forget::Arguments),
    /// Look after the sources: end the grounds of one that is gone
    Source(source::Arguments),
    /// List masses of new suppressions that are held back
    Held(held::Arguments),
    /// Let such a mass go
    Release(held::Release),
    /// Read the journal again under the present rules, and show what changes
    Rejudge(rejudge::Arguments),
    /// List events, oldest first
    Events(events::Arguments),
    /// Show the webhooks that were turned away last, and why
    Refused(refused::Arguments),
    /// List the providers and what each can do; print the configuration to begin with for one
    Providers(providers::Arguments),
    /// Poll sources now
    Poll(poll::Arguments),
    /// Compare a provider's own suppression list with ours
    Drift(drift::Arguments),
    /// Write exports now
    Export(export::Arguments),
    /// Look after those who are told of events and suppressions: tell one again
    Forward(forward::Arguments),
    /// Import a list of suppressions: a provider's export, ours, CSV, JSON lines or plain addresses
    Import(import::Arguments),
    /// Send a correctly signed sample notification to the running daemon
    Trigger(trigger::Arguments),
    /// Look after payloads that were authentic but not understood
    Quarantine(quarantine::Arguments),
    /// Show the other hosts that know the same, or mend what differs
    Fleet(fleet::Arguments),
    /// Keep the state in one file, while the daemon runs or not
    Backup(backup::Arguments),
    /// Put a backup into an empty state directory
    Restore(restore::Arguments),
    /// Verify the state directory: journal, checkpoints, base and store against each other; or a
    /// backup
    Verify(verify::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Print the manual page, of one verb or of all
    Man(man::Arguments),
}

/// The whole program, from the process's arguments to its exit status.
pub fn main() -> ExitCode {
    if maps::served() {
        return ExitCode::SUCCESS;
    }
    completions::answer();
    ExitCode::from(run_with(std::env::args_os().collect()))
}

fn run_with(arguments: Vec<OsString>) -> u8 {
    let mut context = Context { config: None, out: Output::new() };
    // What is no command line may have been meant to start the daemon.
    let mut starts = true;
    let outcome = match parse(arguments) {
        Ok(cli) => {
            context.config = cli.config.or_else(configuration::in_environment);
            context.out.quiet(cli.quiet);
            context.out.set_wide(cli.wide);
            starts = matches!(cli.verb, Verb::Run(_));
            dispatch(cli.verb, &mut context)
        }
        Err(error) if error.use_stderr() => Err(Failure::Clap(error.to_string())),
        Err(help) => context.out.text(&help.to_string()).map(|()| 0),
    };
    match outcome.and_then(|code| context.out.flush().map(|()| code)) {
        Ok(code) => code,
        Err(failure) => {
            context.out.complain(&failure, starts && log::is_journal());
            failure.code()
        }
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
}

fn dispatch(verb: Verb, context: &mut Context) -> Outcome {
    match verb {
        Verb::Run(arguments) => arguments.run(context),
        Verb::Check(arguments) => arguments.run(context),
        Verb::Config(arguments) => arguments.run(context),
        Verb::Classify(arguments) => arguments.run(context),
        Verb::Reload(arguments) => arguments.run(context),
        Verb::Status(arguments) => arguments.run(context),
        Verb::Lookup(arguments) => arguments.run(context),
        Verb::Explain(arguments) => arguments.run(context),
        Verb::List(arguments) => arguments.run(context),
        Verb::Add(arguments) => arguments.run(context),
        Verb::Lift(arguments) => arguments.run(context),
        Verb::Forget(arguments) => arguments.run(context),
        Verb::Source(arguments) => arguments.run(context),
        Verb::Held(arguments) => arguments.run(context),
        Verb::Release(arguments) => arguments.run(context),
        Verb::Rejudge(arguments) => arguments.run(context),
        Verb::Events(arguments) => arguments.run(context),
        Verb::Refused(arguments) => arguments.run(context),
        Verb::Providers(arguments) => arguments.run(context),
        Verb::Poll(arguments) => arguments.run(context),
        Verb::Drift(arguments) => arguments.run(context),
        Verb::Export(arguments) => arguments.run(context),
        Verb::Forward(arguments) => arguments.run(context),
        Verb::Import(arguments) => arguments.run(context),
        Verb::Trigger(arguments) => arguments.run(context),
        Verb::Quarantine(arguments) => arguments.run(context),
        Verb::Fleet(arguments) => arguments.run(context),
        Verb::Backup(arguments) => arguments.run(context),
        Verb::Restore(arguments) => arguments.run(context),
        Verb::Verify(arguments) => arguments.run(context),
        Verb::Completions(arguments) => arguments.run(context),
        Verb::Man(arguments) => arguments.run(context),
    }
}

/// The command line as clap has it, for completions and the manual page.
fn command() -> clap::Command {
    examples::add(Cli::command())
}
