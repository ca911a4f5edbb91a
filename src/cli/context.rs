//! What every verb is given: where the daemon is, and where to print.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::Value;

use super::configuration;
use super::failure::{FAILED, Failure, Outcome};
use super::files::Files;
use super::output::Output;
use super::row::{self, many};
use super::table::{Column, Table};
use crate::admin::{Command, Reply};
use crate::control::client::{self, CallError};

/// Commands of one verb that are under way at once: each waits for the disk and for the exports.
const AT_ONCE: usize = 4;

/// The surroundings of a verb.
#[derive(Debug)]
pub(super) struct Context {
    /// The configuration file, if one was named.
    pub(super) config: Option<PathBuf>,
    /// Where it prints.
    pub(super) out: Output,
}

impl Context {
    /// Sends a command and hands on each row.
    pub(super) fn ask(
        &mut self,
        command: &Command,
        mut on_row: impl FnMut(&mut Output, Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let socket = configuration::control_socket(self.config.as_deref())?;
        let out = &mut self.out;
        let mut ended = Ok(());
        let called = client::call(&socket, command, |reply| {
            match reply {
                Reply::Row { row } => ended = on_row(out, row),
                Reply::Progress { what, wait: Some(wait), .. } => {
                    out.note(&format!("{what}: told to wait {wait} s"));
                }
                Reply::Progress { what, pages, rows, part, .. } => {
                    out.progress(&what, pages, rows, part);
                }
                Reply::Heard | Reply::Done | Reply::Failed { .. } => {}
            }
            if ended.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        ended?;
        called.map_err(|error| configuration::unanswered(error, self.config.as_deref()))
    }

    /// Sends a command and prints its rows as a table, and the summary as a line; or all as JSON
    /// lines. Of more rows than `limit` the rest is counted.
    pub(super) fn show_counted(
        &mut self,
        limit: Option<u64>,
        command: &Command,
        json: bool,
        columns: &'static [Column],
        summary: fn(&Value) -> String,
    ) -> Outcome {
        let mut table = Table::new(columns);
        let (mut counts, mut left) = (None, limit.unwrap_or(u64::MAX));
        let asked = self.ask(command, |out, row| {
            let is_summary = row::text(&row, "found") == "summary";
            let is_shown = is_summary || left > 0;
            left -= u64::from(is_shown && !is_summary);
            if is_shown && json {
                return out.json(&row);
            }
            if is_summary {
                counts = Some(summary(&row));
                return Ok(());
            }
            if is_shown { table.row(out, &row) } else { Ok(()) }
        });
        // Rows that came before a failure are true, and are shown.
        table.end(&mut self.out)?;
        counts.map_or(Ok(()), |line| self.out.line(&line))?;
        asked?;
        Ok(0)
    }

    /// Sends commands and prints all their rows as one table, or as JSON lines. A row that tells a
    /// problem makes the exit status 1.
    pub(super) fn show(
        &mut self,
        commands: &[Command],
        json: bool,
        columns: &'static [Column],
    ) -> Outcome {
        self.show_first(None, commands, json, columns)
    }

    /// The same, but no more than so many rows.
    pub(super) fn show_first(
        &mut self,
        limit: Option<u64>,
        commands: &[Command],
        json: bool,
        columns: &'static [Column],
    ) -> Outcome {
        let mut left = limit.unwrap_or(u64::MAX);
        let mut table = Table::new(columns);
        let mut files = Files::default();
        let mut troubled = 0_u64;
        let mut asked = Ok(());
        for command in commands {
            asked = self.ask(command, |out, row| {
                // Whoever has enough closes, and that ends the command.
                left = left.checked_sub(1).ok_or(Failure::Closed)?;
                troubled += u64::from(is_troubled(&row));
                files.take(&row);
                if json { out.json(&row) } else { table.row(out, &row) }
            });
            if asked.is_err() {
                break;
            }
        }
        // Rows that came before a failure are true, and are shown.
        let any = table.end(&mut self.out)?;
        if !json {
            files.print(&mut self.out)?;
        }
        match asked {
            Err(Failure::Closed) if left == 0 => {}
            asked => asked?,
        }
        if !any && !json {
            self.out.note("Nothing matches.");
        }
        Ok(if troubled == 0 { 0 } else { FAILED })
    }

    /// The same of commands that are the portions of one, so many rows in all: several at once, and
    /// with their progress. None is begun once one has failed.
    pub(super) fn show_portions(
        &mut self,
        verb: &str,
        commands: &[Command],
        all: usize,
        json: bool,
        columns: &'static [Column],
    ) -> Outcome {
        if commands.len() < 2 {
            return self.show(commands, json, columns);
        }
        let socket = configuration::control_socket(self.config.as_deref())?;
        let (mut table, mut files) = (Table::new(columns), Files::default());
        let (mut rows, mut troubled, mut asked) = (0_u64, 0_u64, Ok(()));
        'portions: for some in commands.chunks(AT_ONCE) {
            for (answers, ended) in answers(&socket, some) {
                for row in answers {
                    rows += 1;
                    troubled += u64::from(is_troubled(&row));
                    files.take(&row);
                    let out = &mut self.out;
                    let shown = if json { out.json(&row) } else { table.row(out, &row) };
                    if let Err(closed) = shown {
                        asked = Err(closed);
                        break 'portions;
                    }
                }
                let unanswered = |error| configuration::unanswered(error, self.config.as_deref());
                asked = asked.and(ended.map_err(unanswered));
            }
            if asked.is_err() {
                break;
            }
            self.out.progress(verb, 0, rows, Some(rows as f64 / all.max(1) as f64));
        }
        // Rows that came before a failure are true, and are shown.
        table.end(&mut self.out)?;
        if !json {
            files.print(&mut self.out)?;
        }
        if asked.as_ref().is_err_and(|failure| !matches!(failure, Failure::Closed)) && rows > 0 {
            let again = "do it again: what is done already stays as it is";
            self.out.note(&format!("{verb} ended after {} of {all}; {again}.", many(rows, "row")));
        }
        asked?;
        Ok(if troubled == 0 { 0 } else { FAILED })
    }

    /// Sends a command that is answered with one row.
    pub(super) fn ask_one(&mut self, command: &Command) -> Result<Value, Failure> {
        let mut answer = None;
        self.ask(command, |_, row| {
            answer = Some(row);
            Ok(())
        })?;
        answer.ok_or_else(|| Failure::Failed("suppressd gave no answer".to_owned()))
    }
}

/// The rows of each command, and how it ended. They are under way together.
fn answers(socket: &Path, commands: &[Command]) -> Vec<(Vec<Value>, Result<(), CallError>)> {
    let answer = |command| {
        let mut rows = Vec::new();
        let ended = client::call(socket, command, |reply| {
            if let Reply::Row { row } = reply {
                rows.push(row);
            }
            ControlFlow::Continue(())
        });
        (rows, ended)
    };
    thread::scope(|scope| {
        let asked: Vec<_> =
            commands.iter().map(|command| scope.spawn(move || answer(command))).collect();
        let gave_up = |_| (Vec::new(), Err(CallError::Ended));
        asked.into_iter().map(|asked| asked.join().unwrap_or_else(gave_up)).collect()
    })
}

/// Whether a row says that its part of the command was not done.
pub(super) fn is_troubled(row: &Value) -> bool {
    ["problem", "error", "held_back"].iter().any(|key| match row.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    })
}
