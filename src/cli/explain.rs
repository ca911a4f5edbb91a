//! `suppressd explain`: everything behind the verdict on an address, as a readable block.

use clap::Args;
use serde_json::Value;

use super::arguments;
use super::context::Context;
use super::events;
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::row;
use super::status::{fields, section};
use super::table::Column;
use crate::admin::Command;

/// The arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The address
    #[arg(value_parser = arguments::address)]
    address: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const FINDINGS: &[Column] = &[
    Column::Field("GROUND", "reason"),
    Column::Made("STANDS", stands),
    Column::Field("SINCE", "since"),
    Column::Made("UNTIL", row::until),
    Column::Field("SOURCES", "sources"),
    Column::Field("NOTE", "note"),
];

const LIFTS: &[Column] = &[
    Column::Made("LIFTED", |lift| row::given(lift, "reason").unwrap_or_else(|| "all".to_owned())),
    Column::Made("OF", |lift| row::given(lift, "source").unwrap_or_else(|| "all".to_owned())),
    Column::Field("THROUGH", "through"),
];

const SOFT_BOUNCES: &[Column] =
    &[Column::Field("SOFT BOUNCE AT", "at"), Column::Field("SOURCE", "source")];

const UNEXPLAINED: &[Column] =
    &[Column::Field("REFUSED AT", "at"), Column::Field("SOURCE", "source")];

const LATE: &[Column] = &[
    Column::Word("KIND", "kind"),
    Column::Field("SOURCE", "source"),
    Column::Field("DATED", "at"),
    Column::Field("TOLD", "received_at"),
    Column::Field("LIFTED THROUGH", "lifted"),
];

const EVENTS: &[Column] = &[
    Column::Field("AT", "at"),
    Column::Word("KIND", "kind"),
    Column::Field("CLASS", "class"),
    Column::Made("RULE", rule),
    Column::Field("SCOPE", "scope"),
    Column::Field("SOURCE", "source"),
    Column::Made("ORIGIN", events::origin),
    Column::Field("MESSAGE", "message_id"),
    Column::Made("DETAIL", events::detail),
];

const EXPORTS: &[Column] = &[
    Column::Field("EXPORT", "name"),
    Column::Field("LISTED", "listed"),
    Column::Field("DETAIL", "detail"),
    Column::Field("GENERATION", "generation"),
    Column::Field("LAST WRITTEN", "last_written"),
];

/// The rule that gave a failure its class, with what it was found by.
fn rule(event: &Value) -> String {
    let parts = ["rule", "evidence"].into_iter().filter_map(|key| row::given(event, key));
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { row::ABSENT.to_owned() } else { parts.join(": ") }
}

fn stands(finding: &Value) -> String {
    if let Some(mass) = row::given(finding, "held") {
        return format!("no, held with mass {mass}");
    }
    let stands = if row::is(finding, "exempt") {
        "no, exempt"
    } else if finding.get("lifted").is_some_and(|at| at.is_string() || *at == true) {
        "no, lifted"
    } else if row::is(finding, "live") {
        "yes"
    } else {
        "no"
    };
    stands.to_owned()
}

impl Arguments {
    /// Asks and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let answer = context.ask_one(&Command::Explain { address: self.address })?;
        if self.json {
            context.out.json(&answer)?;
        } else {
            print(&mut context.out, &answer)?;
        }
        Ok(0)
    }
}

fn print(out: &mut Output, answer: &Value) -> Result<(), Failure> {
    verdict(out, answer)?;
    if let Some(person) = answer.get("forgotten").filter(|person| person.is_object()) {
        let (since, told) = (row::text(person, "since"), person.get("told"));
        let told = row::many(told.and_then(Value::as_u64).unwrap_or_default(), "event");
        out.line(&format!("  forgotten at {since}; since then {told} counted, none kept"))?;
    }
    for scope in row::list(answer, "scopes") {
        print_scope(out, scope)?;
    }
    let late = "told after a lift and dated before it, so that it does not suppress again";
    section(out, late, LATE, row::list(answer, "lifted_before_told"))?;
    fields(out, "rules", answer.get("rules"))?;
    section(out, "events", EVENTS, row::list(answer, "events"))?;
    section(out, "exports", EXPORTS, row::list(answer, "exports"))
}

fn verdict(out: &mut Output, answer: &Value) -> Result<(), Failure> {
    let address = row::text(answer, "address");
    if let Some(entry) = row::given(answer, "never") {
        return out.line(&format!("{address} is never suppressed: [rules] never has {entry}"));
    }
    if !row::is(answer, "suppressed") {
        let known = answer.get("known").and_then(Value::as_bool).unwrap_or(true);
        let is_forgotten = answer.get("forgotten").is_some_and(Value::is_object);
        let unknown = match known {
            true => "",
            false if is_forgotten => ": it was forgotten, and nothing suppresses it any more",
            false => ": nothing is known of it",
        };
        return out.line(&format!("{address} is not suppressed{unknown}"));
    }
    let Some(suppression) = answer.get("suppression").filter(|value| value.is_object()) else {
        return out.line(&format!("{address} is suppressed"));
    };
    out.line(&format!(
        "{address} is suppressed: {} ({})",
        row::text(suppression, "reason"),
        row::text(suppression, "scope")
    ))?;
    let (since, until) = (row::text(suppression, "since"), row::until(suppression));
    out.line(&format!("  since {since}, until {until}"))?;
    for (name, key) in [("told by", "sources"), ("note:", "note")] {
        if let Some(text) = row::given(suppression, key) {
            out.line(&format!("  {name} {text}"))?;
        }
    }
    Ok(())
}

fn print_scope(out: &mut Output, scope: &Value) -> Result<(), Failure> {
    let name = row::text(scope, "scope");
    let (bounces, blocked) = (row::list(scope, "soft_bounces"), row::list(scope, "blocked"));
    let delivered = row::given(scope, "delivered");
    if delivered.is_some() || !blocked.is_empty() {
        out.line(&format!("\n{name}"))?;
    }
    if let Some(delivered) = delivered {
        out.line(&format!("  last delivered {delivered}"))?;
    }
    if !blocked.is_empty() {
        out.line(&format!("  blocked, which is not the recipient's fault: {}", blocked.len()))?;
    }
    section(out, &format!("{name}: grounds"), FINDINGS, row::list(scope, "findings"))?;
    section(out, &format!("{name}: lifts"), LIFTS, row::list(scope, "lifts"))?;
    section(out, &format!("{name}: soft bounces that count"), SOFT_BOUNCES, bounces)?;
    let unexplained = row::list(scope, "unexplained");
    section(out, &format!("{name}: refusals that nothing explains"), UNEXPLAINED, unexplained)
}
