//! `suppressd run`: the daemon itself, in the foreground.

use clap::Args;

use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use crate::daemon;

/// The arguments of `run`: none.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

impl Arguments {
    /// Runs until the daemon is told to stop.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let file = configuration::file(context.config.as_deref());
        let config =
            configuration::load(&file).map_err(|(text, _)| Failure::Configuration(text))?;
        let ended = daemon::run(config, &file);
        ended.map(|()| 0).map_err(|error| Failure::Failed(format!("{error:#}")))
    }
}
