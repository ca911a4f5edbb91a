//! `suppressd run`: the daemon itself, in the foreground.

use clap::Args;

use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use crate::daemon::Process;

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
        let config =
            configuration::load(&file).map_err(|(text, _)| Failure::Configuration(text))?;
        process.run(config, &file).map(|()| 0).map_err(failed)
    }
}
