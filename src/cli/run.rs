//! `suppressd run`: the daemon itself, in the foreground.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;

use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::maps;
use crate::config::Problems;
use crate::daemon::{Misconfigured, Process};
use crate::export;

/// How long the allocator keeps free memory, in milliseconds (mimalloc's "Environment Options").
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// The arguments of `run`: none.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

impl Arguments {
    /// Runs until the daemon is told to stop.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        give_back();
        export::write_maps_by(maps::VERB);
        let failed = |error: anyhow::Error| Failure::Failed(format!("{error:#}"));
        // First, so that a SIGHUP does not kill while the configuration is read either.
        let process = Process::new().map_err(failed)?;
        let file = configuration::file(context.config.as_deref());
        let wrong = |problems: Problems| Failure::Configuration(problems.to_string());
        let config = configuration::load(&file).map_err(wrong)?;
        process.run(config, &file).map(|()| 0).map_err(|error| match error.is::<Misconfigured>() {
            true => Failure::Configuration(format!("{error:#}")),
            false => failed(error),
        })
    }
}

/// Starts the program anew in this process, with an allocator that gives memory back as soon as it
/// is free. By default that waits until the same thread asks for more, and what one storm took
/// stays for good; the allocator reads its options before `main`.
fn give_back() {
    if env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) {
        // It returns only where that cannot be done: then more memory is kept, no more.
        let _ = Command::new(program).arg0(name).args(arguments).env(PURGE_DELAY, "0").exec();
    }
}
