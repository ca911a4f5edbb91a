//! `suppressd reload`: has the daemon read its configuration again, and waits for the outcome.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::configuration;
use super::context::Context;
use super::failure::{FAILED, Failure, Outcome};
use super::row;
use crate::admin::{Command, Reply};
use crate::control::client::{self, CallError};

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
        let answer = asked(context)?;
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

/// The daemon's answer. The file may name another socket than the one that the daemon was started
/// with: then it is asked on the usual one, if it has the same file.
fn asked(context: &mut Context) -> Result<Value, Failure> {
    let named = context.config.as_deref();
    let socket = configuration::control_socket(named)?;
    let usual = PathBuf::from(configuration::DEFAULT_SOCKET);
    let file = configuration::file(named);
    match ask(&socket, None) {
        Err(CallError::NotRunning(_)) if socket != usual => {}
        answer => return answer.map_err(|error| configuration::unanswered(error, named)),
    }
    let file = std::path::absolute(&file).unwrap_or(file);
    let answer = ask(&usual, Some(file)).map_err(|_| {
        if let Some(fault) = configuration::syntax_fault(named) {
            return fault;
        }
        let missed = CallError::NotRunning(socket.clone());
        Failure::Failed(format!(
            "{missed}\nIf control.socket was changed since suppressd was started, it still listens \
             on the old path: restart it, or have it read the file with \
             `systemctl kill -s HUP suppressd`"
        ))
    })?;
    context.out.note(&format!(
        "no answer on {}: suppressd still listens on {}",
        socket.display(),
        usual.display()
    ));
    Ok(answer)
}

fn ask(socket: &Path, file: Option<PathBuf>) -> Result<Value, CallError> {
    let mut answer = None;
    let ended = client::call(socket, &Command::Reload { file }, |reply| {
        if let Reply::Row { row } = reply {
            answer = Some(row);
        }
        ControlFlow::Continue(())
    });
    // It says how the reload went, and more of a failure than that there was one.
    match answer {
        Some(answer) => Ok(answer),
        None => Err(ended.err().unwrap_or(CallError::Ended)),
    }
}
