//! `suppressd reload`: has the daemon read its configuration again, and waits for the outcome.

use clap::Args;
use serde_json::Value;

use super::context::Context;
use super::failure::{FAILED, Failure, Outcome};
use super::row;
use crate::admin::Command;

/// The arguments of `reload`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let answer = context.ask_one(&Command::Reload)?;
        let list = |key| answer.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let done = row::is(&answer, "reloaded");
        let is_wrong = !list("problems").is_empty();
        if self.json {
            context.out.json(&answer)?;
            return Ok(match (done, is_wrong) {
                (true, _) => 0,
                (false, false) => FAILED,
                (false, true) => Failure::Configuration(String::new()).code(),
            });
        }
        for warning in list("warnings").iter().filter_map(Value::as_str) {
            context.out.note(warning);
        }
        if !done {
            let why = answer.get("error").and_then(Value::as_str).unwrap_or_default();
            let told = format!("reload failed, and the settings of before are in force:\n{why}");
            return Err(if is_wrong {
                Failure::Configuration(told)
            } else {
                Failure::Failed(told)
            });
        }
        context.out.line(&format!("{} is in force.", row::text(&answer, "file")))?;
        for key in list("restart").iter().filter_map(Value::as_str) {
            context.out.line(&format!("{key} has changed: that needs a restart."))?;
        }
        Ok(0)
    }
}
