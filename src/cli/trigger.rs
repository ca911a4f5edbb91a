//! `suppressd trigger`: a correctly signed sample notification, through the real listener.

use clap::Args;
use serde_json::Value;

use super::arguments;
use super::completions;
use super::context::Context;
use super::failure::{FAILED, Outcome};
use super::row;
use crate::admin::Command;
use crate::model::{EventKind, SourceName};

/// The arguments of `trigger`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The source that it pretends to come from
    #[arg(value_parser = arguments::source, add = completions::sources())]
    source: SourceName,
    /// The kind of event, such as `hard_bounce`
    #[arg(value_parser = arguments::kind, add = completions::kinds())]
    kind: EventKind,
    /// The recipient
    #[arg(value_parser = arguments::address)]
    address: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Asks and prints; any answer but 200 is a failure.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let answer = context.ask_one(&Command::Trigger {
            source: self.source.to_string(),
            kind: self.kind.to_string(),
            address: self.address,
        })?;
        let accepted = answer.get("status").and_then(Value::as_u64) == Some(200);
        if self.json {
            context.out.json(&answer)?;
        } else {
            let (url, status) = (row::text(&answer, "url"), row::text(&answer, "status"));
            let took = row::given(&answer, "took_ms").map(|took| format!(" in {took} ms"));
            let took = took.unwrap_or_default();
            context.out.line(&format!("POST {url}: status {status}{took}"))?;
            if let Some(body) = row::given(&answer, "body") {
                context.out.line(body.trim_end())?;
            }
        }
        if accepted {
            return Ok(0);
        }
        if !self.json {
            context.out.flush()?;
            context.out.note("The notification was not accepted: the daemon's log says why.");
        }
        Ok(FAILED)
    }
}
