//! `suppressd restore`: puts a backup into an empty state directory, while no daemon runs.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::{backup as made, configuration};
use crate::{backup, store};

const STEPS: &str = "\
On a host that had a state before:
  systemctl stop suppressd.socket suppressd.service
  mv /var/lib/suppressd /var/lib/suppressd.old
  install -d -m 0751 -o suppressd -g suppressd /var/lib/suppressd
  suppressd restore /var/backups/suppressd.backup
  systemctl start suppressd.service";

/// The arguments of `restore`.
#[derive(Debug, Args)]
#[command(after_help = STEPS)]
pub(super) struct Arguments {
    /// The backup; `-` reads standard input
    file: PathBuf,
    /// Print JSON, one object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Looks whether there is room for it, and puts it there.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let state = configuration::state_directory(context.config.as_deref())?;
        let failed = |why: String| Failure::Failed(format!("{}: {why}", state.display()));
        let unread = |error: io::Error| failed(error.to_string());
        if store::is_in_use(&state).map_err(unread)? {
            return Err(failed("a daemon runs with it: stop that first".to_owned()));
        }
        let alone = store::Alone::take_as_it_is(&state);
        let _alone = alone.map_err(|error| Failure::Failed(error.to_string()))?;
        if matches!(store::settle_restore(&state), Ok(true)) {
            let why = "a restore before this one broke off when all was there, and is in place \
                       now: start suppressd, or move it away";
            return Err(failed(why.to_owned()));
        }
        if let Some(there) = backup::obstacle(&state).map_err(unread)? {
            let there = there.display();
            return Err(failed(format!(
                "it is not empty ({there}): move it away, or what is in it"
            )));
        }
        let named = |why: String| Failure::Failed(format!("{}: {why}", self.file.display()));
        let input: Box<dyn Read> = if self.file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(&self.file).map_err(|error| named(error.to_string()))?)
        };
        let held = backup::restore(input, &state);
        let held = held.map_err(|error| named(format!("{error}; nothing was restored")))?;
        if self.json {
            context.out.json(&made::row(&held))?;
        } else {
            context.out.line(&made::shown("Restored", &held))?;
            context.out.line("The store is made of it at the next start.")?;
        }
        Ok(0)
    }
}
