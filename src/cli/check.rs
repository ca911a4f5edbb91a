//! `suppressd check`: loads the configuration as `run` would, and opens nothing.

use clap::Args;

use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};

/// The arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Prints what the configuration makes, or every problem with it.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let file = configuration::file(context.config.as_deref());
        match configuration::load(&file) {
            Ok(config) => {
                let (text, json) = configuration::report(&config);
                if self.json {
                    context.out.json(&json)?;
                } else {
                    context.out.line(text.trim_end())?;
                }
                Ok(0)
            }
            Err((text, json)) => {
                if self.json {
                    context.out.json(&json)?;
                }
                Err(Failure::Configuration(text))
            }
        }
    }
}
