//! `suppressd run`: the daemon itself, in the foreground.

use clap::Args;

use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use crate::config::Problems;
use crate::daemon::{Misconfigured, Process};

/// The arguments of `run`: none.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

impl Arguments {
    /// Runs until the daemon is told to stop.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
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
