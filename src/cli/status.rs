//! `suppressd status`: how everything stands, in sections.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::context::Context;
use super::export;
use super::failure::{FAILED, Failure, Outcome};
use super::output::{Look, Output};
use super::row;
use super::table::{self, Column};
use crate::admin::Command;
use crate::shown::clean_lines;

/// The arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Show it anew every two seconds, until it is interrupted
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// How often it is shown anew.
const WATCH: Duration = Duration::from_secs(2);
/// Clears a terminal, and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";

const CHECKS: &[Column] = &[
    Column::Made("CHECK", check),
    Column::Word("STATE", "state"),
    Column::Field("DETAIL", "detail"),
];

/// Exit status: it serves, and needs a hand.
const DEGRADED: u8 = 4;

const SOURCES: &[Column] = &[
    Column::Field("SOURCE", "name"),
    Column::Field("PROVIDER", "provider"),
    Column::Field("LAST WEBHOOK", "last_webhook"),
    Column::Field("LAST POLL", "last_poll"),
    Column::Made("LAG", lag),
    Column::Field("WEBHOOK ONLY", "webhook_only"),
    Column::Field("POLL ONLY", "poll_only"),
    Column::Field("MISSED", "missed_by_webhook"),
    Column::Field("BOTH", "both"),
    Column::Field("POLL", "poll_state"),
    Column::Field("PUSH", "push"),
    Column::Field("LAST ERROR", "last_error"),
];

/// What has room on a terminal; `-w` shows all.
const SOURCES_BRIEF: &[Column] = &[
    Column::Field("SOURCE", "name"),
    Column::Field("LAST WEBHOOK", "last_webhook"),
    Column::Field("LAST POLL", "last_poll"),
    Column::Field("MISSED", "missed_by_webhook"),
    Column::Field("POLL", "poll_state"),
    Column::Field("PUSH", "push"),
    Column::Field("LAST ERROR", "last_error"),
];

const LOOKUPS: &[Column] = &[
    Column::Field("LOOKUP", "protocol"),
    Column::Field("CONNECTIONS", "connections"),
    Column::Field("QUERIES", "queries"),
    Column::Field("SUPPRESSED", "suppressed"),
    Column::Field("ERRORS", "errors"),
    Column::Field("MALFORMED", "malformed"),
    Column::Field("LISTEN", "listen"),
];

const FORWARDS: &[Column] = &[
    Column::Field("FORWARD", "name"),
    Column::Field("SENT", "sent"),
    Column::Made("LAG", lag),
    Column::Field("FAILURES", "failures"),
    Column::Field("LAST SUCCESS", "last_success"),
    Column::Field("TO", "to"),
    Column::Field("ERROR", "error"),
];

fn lag(row: &Value) -> String {
    if row::is(row, "elsewhere") {
        return "told elsewhere".to_owned();
    }
    row::given(row, "lag_seconds").map_or_else(|| row::ABSENT.to_owned(), |lag| format!("{lag}s"))
}

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        if self.watch {
            return watch(context);
        }
        let status = context.ask_one(&Command::Status)?;
        if self.json {
            context.out.json(&status)?;
        } else {
            print(&mut context.out, &status)?;
        }
        Ok(match row::text(&status, "state").as_str() {
            "ready" => 0,
            "degraded" => DEGRADED,
            _ => FAILED,
        })
    }
}

/// Shows it anew and anew, until it is interrupted. A daemon that is gone may come back.
fn watch(context: &mut Context) -> Outcome {
    let mut seen = false;
    loop {
        let asked = context.ask_one(&Command::Status);
        if context.out.look().person && (seen || asked.is_ok()) {
            context.out.text(CLEAR)?;
        }
        match asked {
            Ok(status) => print(&mut context.out, &status)?,
            Err(Failure::Failed(why)) if seen => context.out.line(&clean_lines(&why))?,
            Err(failure) => return Err(failure),
        }
        seen = true;
        context.out.flush()?;
        #[expect(clippy::disallowed_methods, reason = "between two looks of a person")]
        std::thread::sleep(WATCH);
    }
}

/// What a check is about, with whose it is.
fn check(check: &Value) -> String {
    let name = row::text(check, "name");
    row::given(check, "of").map_or_else(|| name.clone(), |of| format!("{name} {of}"))
}

fn print(out: &mut Output, status: &Value) -> Result<(), Failure> {
    let (version, state) = (row::text(status, "version"), row::text(status, "state"));
    out.toned(&format!("suppressd {version}: {state}"), table::tone_of(&state))?;
    // What is wrong comes first.
    let mut checks = row::list(status, "checks").to_vec();
    checks.sort_by_key(|check| row::text(check, "state") == "ok");
    section(out, "checks", CHECKS, &checks)?;
    let sources = if out.look().fit.is_some() { SOURCES_BRIEF } else { SOURCES };
    section(out, "sources", sources, row::list(status, "sources"))?;
    fields(out, "store", status.get("store"))?;
    fields(out, "queue", status.get("queue"))?;
    section(out, "exports", export::COLUMNS, row::list(status, "exports"))?;
    section(out, "lookups", LOOKUPS, row::list(status, "lookups"))?;
    section(out, "forwards", FORWARDS, row::list(status, "forwards"))?;
    fields(out, "fleet", status.get("fleet"))
}

/// A head and a table below it; nothing without rows.
pub(super) fn section(
    out: &mut Output,
    head: &str,
    columns: &'static [Column],
    rows: &[Value],
) -> Result<(), Failure> {
    let look = out.look();
    let fit = look.fit.map(|width| width.saturating_sub(2));
    let lines = table::lines(columns, rows, Look { fit, ..look });
    if !lines.is_empty() {
        out.line(&format!("\n{head}"))?;
    }
    lines.iter().try_for_each(|line| out.line(format!("  {line}").trim_end()))
}

/// A head and a line for each field of an object; nothing without fields.
pub(super) fn fields(out: &mut Output, head: &str, object: Option<&Value>) -> Result<(), Failure> {
    let Some(fields) = object.and_then(Value::as_object).filter(|fields| !fields.is_empty()) else {
        return Ok(());
    };
    out.line(&format!("\n{head}"))?;
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in fields {
        let name = name.replace('_', " ");
        out.line(&format!("  {name:width$}  {}", row::show(value)))?;
    }
    Ok(())
}
