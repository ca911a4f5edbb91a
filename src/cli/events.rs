//! `suppressd events`: normalised events, one line each, and those to come with `--follow`.

use clap::Args;
use serde_json::Value;

use super::arguments;
use super::completions;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::row;
use super::table::{Column, Table};
use crate::admin::{Command, EventQuery};
use crate::model::{Class, EventKind, SourceName, Time};

/// The arguments of `events`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only to this address
    #[arg(long, value_parser = arguments::address)]
    address: Option<String>,
    /// Only of this message
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Only of this kind
    #[arg(long, value_parser = arguments::kind, add = completions::kinds())]
    kind: Option<EventKind>,
    /// Only failures of this class
    #[arg(long, value_parser = arguments::class, add = completions::classes())]
    class: Option<Class>,
    /// Only of this source
    #[arg(long, value_parser = arguments::source, add = completions::tellers())]
    source: Option<SourceName>,
    /// Only at or after this time
    #[arg(long, value_name = "TIME", value_parser = arguments::time, allow_hyphen_values = true)]
    since: Option<Time>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = arguments::time, allow_hyphen_values = true)]
    until: Option<Time>,
    /// No more than the last N of those that are known
    #[arg(short = 'n', long, value_name = "N", value_parser = arguments::last_events)]
    limit: Option<u32>,
    /// Show events as they come, from now on; with --limit or --since, those before too
    #[arg(long, conflicts_with = "until")]
    follow: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// The columns of an event.
pub(super) const COLUMNS: &[Column] = &[
    Column::Field("AT", "at"),
    Column::Word("KIND", "kind"),
    Column::Field("CLASS", "class"),
    Column::Field("ADDRESS", "address"),
    Column::Field("SCOPE", "scope"),
    Column::Field("SOURCE", "source"),
    Column::Made("ORIGIN", origin),
    Column::Field("MESSAGE", "message_id"),
    Column::Made("DETAIL", detail),
];

/// Widths for a table that cannot wait for its rows: a time, the longest kind, usual addresses.
const LIVE_WIDTHS: &[usize] = &[20, 12, 14, 30, 6, 14, 13, 20];

/// Every way in which it was told.
pub(super) fn origin(event: &Value) -> String {
    // The plural has every way that it reached us.
    row::given(event, "origins").unwrap_or_else(|| row::text(event, "origin"))
}

/// What the other server said, else the codes alone, else what the event is about. A code that the
/// words begin with is said once.
pub(super) fn detail(event: &Value) -> String {
    let words = row::given(event, "diagnostic").or_else(|| row::given(event, "url"));
    let words = words.unwrap_or_default();
    let mut rest = words.as_str();
    let mut parts = Vec::new();
    if let Some(code) = row::given(event, "smtp_code") {
        rest = rest.strip_prefix(&code).unwrap_or(rest).trim_start_matches([' ', '-']);
        parts.push(code);
    }
    if let Some(code) = row::given(event, "enhanced_code")
        && !rest.split([' ', '-', '#']).take(2).any(|word| word == code)
    {
        parts.push(code);
    }
    parts.extend(Some(rest.to_owned()).filter(|rest| !rest.is_empty()));
    if parts.is_empty() { row::ABSENT.to_owned() } else { parts.join(" ") }
}

impl Arguments {
    /// Asks and prints; with `--follow` each line at once.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        arguments::check_span(self.since, self.until)?;
        if self.limit == Some(0) && !self.follow {
            // Of those to come there may be none before.
            let why = "--limit 0 shows nothing: it is a number from 1 on";
            return Err(Failure::Usage(why.to_owned()));
        }
        let query = EventQuery {
            address: self.address,
            message_id: self.message_id,
            kind: arguments::text(self.kind.as_ref()),
            class: arguments::text(self.class.as_ref()),
            source: arguments::text(self.source.as_ref()),
            since: arguments::text(self.since.as_ref()),
            until: arguments::text(self.until.as_ref()),
            limit: self.limit.or((self.follow && self.since.is_none()).then_some(0)),
        };
        let command = Command::Events { query, follow: self.follow };
        if self.follow {
            follow(context, &command, self.json).map(|()| 0)
        } else {
            context.show(&[command], self.json, COLUMNS)
        }
    }
}

fn follow(context: &mut Context, command: &Command, json: bool) -> Result<(), Failure> {
    let mut table = Table::live(COLUMNS, LIVE_WIDTHS);
    context.ask(command, |out, row| {
        if json {
            out.json(&row)?;
        } else {
            table.row(out, &row)?;
        }
        out.flush()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn detail_says_the_codes_once() {
        for (event, shown) in [
            (json!({"smtp_code": 550, "diagnostic": "550 5.1.1 no"}), "550 5.1.1 no"),
            (json!({"smtp_code": 550, "diagnostic": "no such user"}), "550 no such user"),
            (
                json!({"smtp_code": 550, "enhanced_code": "5.1.1", "diagnostic": "5.1.1 no"}),
                "550 5.1.1 no",
            ),
            (
                json!({"smtp_code": 550, "enhanced_code": "5.1.1", "diagnostic": "550-5.1.1 no"}),
                "550 5.1.1 no",
            ),
            (
                json!({"smtp_code": 550, "enhanced_code": "5.1.1", "diagnostic": "550 no"}),
                "550 5.1.1 no",
            ),
            (json!({"enhanced_code": "5.1.1", "diagnostic": "550 5.1.1 no"}), "550 5.1.1 no"),
            (json!({"smtp_code": 550, "enhanced_code": "5.1.1"}), "550 5.1.1"),
            (json!({"url": "https://x.example/"}), "https://x.example/"),
            (json!({}), "-"),
        ] {
            assert_eq!(detail(&event), shown);
        }
    }
}
