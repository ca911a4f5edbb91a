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

/// What glibc's allocator reads before `main` (mallopt(3)): one arena for all threads, so that what
/// one frees serves the others, and the bytes free at its end that it gives back at once.
const ALLOCATOR: [(&str, &str); 2] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

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

/// Starts the program anew in this process with an allocator that keeps little of what is free. By
/// default each thread has an arena of its own, and what one storm took in it stays for good.
fn give_back() {
    if ALLOCATOR.iter().any(|(name, _)| env::var_os(name).is_some()) {
        return;
    }
    let mut arguments = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) {
        // It returns only where that cannot be done: then more memory is kept, no more.
        let _ = Command::new(program).arg0(name).args(arguments).envs(ALLOCATOR).exec();
    }
}
