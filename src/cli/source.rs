//! `suppressd source`: looks after the sources themselves.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::arguments;
use super::context::Context;
use super::failure::Outcome;
use super::files::Files;
use super::row;
use crate::admin::Command;
use crate::model::SourceName;

/// The arguments of `source`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// End the grounds of a source that is gone from the configuration
    Retire(Retire),
}

/// The arguments of `source retire`.
#[derive(Debug, Args)]
struct Retire {
    /// The source
    #[arg(value_parser = arguments::source)]
    name: SourceName,
    /// Why, in a line
    #[arg(long, value_parser = arguments::note)]
    note: Option<String>,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        match self.verb {
            Verb::Retire(retire) => retire.run(context),
        }
    }
}

impl Retire {
    fn run(self, context: &mut Context) -> Outcome {
        let source = self.name.to_string();
        let command =
            |dry_run| Command::Retire { source: source.clone(), note: self.note.clone(), dry_run };
        let mut answer = context.ask_one(&command(true))?;
        let count = |answer: &Value, key| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
        let (standings, freed) = (count(&answer, "standings"), count(&answer, "freed"));
        let rests = format!(
            "addresses that rest on {source}: {standings}; nothing else suppresses {freed} of them"
        );
        if !self.dry_run && standings > 0 {
            context.confirm(&rests, self.yes)?;
            answer = context.ask_one(&command(false))?;
        }
        if self.json {
            context.out.json(&answer)?;
            return Ok(0);
        }
        if standings == 0 {
            context.out.line(&format!("no address rests on {source}: there is nothing to do"))?;
        } else if row::is(&answer, "done") {
            let ended = count(&answer, "ended");
            context.out.line(&format!("{source}: ended the grounds of addresses: {ended}"))?;
        } else {
            context.out.line(&rests)?;
        }
        let mut files = Files::default();
        files.take(&answer);
        files.print(&mut context.out)?;
        Ok(0)
    }
}
